package scenes

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Row is one line of a JSONL file. The first three fields are those of the paper's data.
type Row struct {
	ImageHash string  `json:"image_hash"`
	Caption   string  `json:"caption"`
	URLLink   string  `json:"url_link"` // path of the picture from the folder of the data set
	Relation  string  `json:"relation"`
	Family    int     `json:"family"`
	Literal   string  `json:"literal_caption"`
	Profile   int     `json:"profile"`
	Split     string  `json:"split"`
	Count     int     `json:"count"`
	Ink       float64 `json:"ink"`
	HeldOut   bool    `json:"held_out"`
	Gravity   bool    `json:"gravity"`
	// Pair is the image_hash of the true picture of a near miss.
	Pair string `json:"pair,omitempty"`
}

// Options says how [Write] works.
type Options struct {
	Workers int // 0: one for each core
	// TrainPictures ends train after so many pictures; 0 writes all.
	TrainPictures int
	// Progress, when set, is called now and then with the number of pictures written and to write. Calls may come
	// from several goroutines.
	Progress func(done, total int)
}

// Summary says what [Write] has written. It is the content of the folder's scenes.json.
type Summary struct {
	Format   string         `json:"format"` // always FormatName
	Config   Config         `json:"config"`
	Pictures map[string]int `json:"pictures"` // by split
}

// FormatName marks a folder that [Write] made.
const FormatName = "relsim scenes 1"

const (
	summaryFile = "scenes.json"
	imageFolder = "images"
)

// ErrNotOurs says that a folder holds something that [Write] has not written.
var ErrNotOurs = errors.New("the folder holds other files; choose an empty or new one")

// Write writes the benchmark to a folder: train.jsonl, val.jsonl, test.jsonl and near_miss.jsonl with one [Row] a
// line, the pictures as images/<image_hash>.png, and scenes.json with the [Summary].
//
// The folder is made beside dir and moved there when it is whole. An earlier output of Write is replaced; a folder
// that holds anything else is refused with [ErrNotOurs]. When ctx ends, what was written so far is removed.
func Write(ctx context.Context, dir string, cfg Config, o Options) (Summary, error) {
	sum := Summary{Format: FormatName, Config: cfg, Pictures: map[string]int{}}
	if err := cfg.Validate(); err != nil {
		return sum, err
	}
	if all := cfg.TrainProfiles * cfg.Twins; o.TrainPictures < 0 || o.TrainPictures > all {
		return sum, fmt.Errorf("scenes: write: %d training pictures: outside 0 to %d", o.TrainPictures, all)
	}
	dir = filepath.Clean(dir)
	if err := replaceable(dir); err != nil {
		return sum, fmt.Errorf("scenes: write: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return sum, fmt.Errorf("scenes: write: %w", err)
	}
	beside, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".partial-*")
	if err != nil {
		return sum, fmt.Errorf("scenes: write: %w", err)
	}
	defer os.RemoveAll(beside)
	if err := writeSplits(ctx, beside, cfg, o, sum.Pictures); err != nil {
		return sum, err
	}
	text, err := json.MarshalIndent(sum, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(beside, summaryFile), append(text, '\n'), 0o644)
	}
	if err == nil {
		err = os.Chmod(beside, 0o755)
	}
	if err == nil {
		err = moveInto(beside, dir)
	}
	if err != nil {
		return sum, fmt.Errorf("scenes: write: %w", err)
	}
	return sum, nil
}

// writeSplits writes all splits to dir and counts them.
func writeSplits(ctx context.Context, dir string, cfg Config, o Options, counts map[string]int) error {
	if err := os.Mkdir(filepath.Join(dir, imageFolder), 0o755); err != nil {
		return fmt.Errorf("scenes: write: %w", err)
	}
	sets, total := make([]*Set, 0, 4), 0
	for _, split := range Splits() {
		s, err := Open(cfg, split)
		if err != nil {
			return err
		}
		n := s.Len()
		if split == Train && o.TrainPictures > 0 {
			n = o.TrainPictures
		}
		sets = append(sets, s)
		counts[split] = n
		total += n
	}
	var done atomic.Int64
	var encoders sync.Pool
	work := func(p *Picture) error {
		e, _ := encoders.Get().(*encoder)
		if e == nil {
			e = newEncoder(cfg.Size)
		}
		defer encoders.Put(e)
		if err := e.write(filepath.Join(dir, filepath.FromSlash(imagePath(p.Hash))), p.Pix); err != nil {
			return fmt.Errorf("scenes: write: %w", err)
		}
		if n := int(done.Add(1)); o.Progress != nil && (n%64 == 0 || n == total) {
			o.Progress(n, total)
		}
		return nil
	}
	seen := make(hashes, total)
	trueHash := make([]string, 0, counts[Test])
	for _, s := range sets {
		f, err := os.Create(filepath.Join(dir, s.Split()+".jsonl"))
		if err != nil {
			return fmt.Errorf("scenes: write: %w", err)
		}
		w := bufio.NewWriter(f)
		lines := json.NewEncoder(w)
		lines.SetEscapeHTML(false)
		err = s.stream(ctx, o.Workers, counts[s.Split()], work, func(p *Picture) error {
			if err := seen.add(p); err != nil {
				return err
			}
			row := rowOf(p)
			switch {
			case p.Split == Test:
				trueHash = append(trueHash, p.Hash)
			case p.Pair >= 0:
				row.Pair = trueHash[p.Pair]
			}
			return lines.Encode(row)
		})
		if err = errors.Join(err, w.Flush(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func imagePath(hash string) string { return imageFolder + "/" + hash + ".png" }

// rowOf returns the line of a picture, its Pair aside.
func rowOf(p *Picture) Row {
	return Row{ImageHash: p.Hash, Caption: p.Caption, URLLink: imagePath(p.Hash), Relation: p.Relation, Family: p.Family,
		Literal: p.Literal, Profile: p.Profile, Split: p.Split, Count: p.Count, Ink: p.Ink, HeldOut: p.HeldOut, Gravity: p.Gravity}
}

// encoder writes pictures as PNG files and keeps its memory between them.
type encoder struct {
	png   png.Encoder
	img   *image.NRGBA
	file  bytes.Buffer
	store *png.EncoderBuffer
}

func newEncoder(size int) *encoder {
	e := &encoder{img: image.NewNRGBA(image.Rect(0, 0, size, size))}
	e.png.CompressionLevel = png.BestSpeed
	e.png.BufferPool = e
	return e
}

// Get and Put make e a pool of one buffer.
func (e *encoder) Get() *png.EncoderBuffer  { return e.store }
func (e *encoder) Put(b *png.EncoderBuffer) { e.store = b }

// write encodes RGB pixels to a file.
func (e *encoder) write(path string, pix []byte) error {
	for i, j := 0, 0; i < len(pix); i, j = i+3, j+4 {
		e.img.Pix[j], e.img.Pix[j+1], e.img.Pix[j+2], e.img.Pix[j+3] = pix[i], pix[i+1], pix[i+2], 255
	}
	e.file.Reset()
	if err := e.png.Encode(&e.file, e.img); err != nil {
		return err
	}
	return os.WriteFile(path, e.file.Bytes(), 0o644)
}

// replaceable reports an error unless dir does not exist, is empty, or holds what Write has written and nothing else.
func replaceable(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return nil
	}
	var sum Summary
	text, err := os.ReadFile(filepath.Join(dir, summaryFile))
	if err != nil || json.Unmarshal(text, &sum) != nil || sum.Format != FormatName {
		return fmt.Errorf("%s: %w", dir, ErrNotOurs)
	}
	known := []string{summaryFile, imageFolder}
	for _, split := range Splits() {
		known = append(known, split+".jsonl")
	}
	for _, e := range entries {
		if !slices.Contains(known, e.Name()) {
			return fmt.Errorf("%s: %s: %w", dir, e.Name(), ErrNotOurs)
		}
	}
	images, err := os.ReadDir(filepath.Join(dir, imageFolder))
	if err != nil {
		return err
	}
	for _, e := range images {
		if hash, ok := strings.CutSuffix(e.Name(), ".png"); !ok || len(hash) != 32 || strings.Trim(hash, "0123456789abcdef") != "" {
			return fmt.Errorf("%s: %s: %w", dir, filepath.Join(imageFolder, e.Name()), ErrNotOurs)
		}
	}
	return nil
}

// rename is os.Rename; a test puts a failing one in its place.
var rename = os.Rename

// moveInto moves a finished folder to its place, where nothing, an empty folder or an earlier output is. The earlier
// output stays until the new one is in place; if it can be neither replaced nor put back, the error says where it is.
func moveInto(from, dir string) error {
	err := rename(from, dir) // replaces an empty folder on Unix
	if err == nil {
		return nil
	}
	if _, statErr := os.Stat(dir); statErr != nil {
		return err
	}
	old, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".old-*")
	if err != nil {
		return err
	}
	kept := filepath.Join(old, filepath.Base(dir))
	if err := rename(dir, kept); err != nil {
		return errors.Join(err, os.Remove(old))
	}
	if err := rename(from, dir); err != nil {
		if back := rename(kept, dir); back != nil {
			return errors.Join(err, fmt.Errorf("the earlier output is in %s: %w", kept, back))
		}
		return errors.Join(err, os.Remove(old))
	}
	return os.RemoveAll(old)
}
