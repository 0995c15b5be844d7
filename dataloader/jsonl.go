package dataloader

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"unicode/utf8"
)

// maxLine bounds a row of a JSONL file, in bytes.
const maxLine = 1 << 20

// extensions are the endings that are tried, in this order, for an image_hash
// that has none.
var extensions = []string{".png", ".jpg", ".jpeg", ".webp"}

// OpenJSONL opens a data set of one JSON object per line:
//
//	{"image_hash": "4f0c…", "caption": "{Subject} growing step by step", "url_link": "https://…"}
//
// Only image_hash is needed; literal_caption, relation, family, profile, pair,
// split, count, ink, held_out and gravity are read when they are there, and other keys
// are passed by. Quotes around a whole caption are taken off. The picture is
// imageDir/<image_hash> with the ending .png, .jpg, .jpeg or .webp, or with none
// when image_hash holds it already. The content, not the ending, says what
// format it is; [DefaultLimits] bounds it. An empty imageDir means the folder
// images beside the file.
//
// A row that cannot be read is an error that names its line. A picture that is
// missing or broken is one only when it is asked for: see [Loader].
//
// The fingerprint is a hash of the file's bytes; the pictures are not part of it.
func OpenJSONL(path, imageDir string) (Dataset, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("dataloader: open rows: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, fmt.Errorf("dataloader: open rows: %s is a folder, want a file of JSON lines", path)
	}
	if imageDir == "" {
		imageDir = filepath.Join(filepath.Dir(path), "images")
	}
	info, err := os.Stat(imageDir)
	if err != nil {
		return nil, fmt.Errorf("dataloader: open image folder of %s: %w", path, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("dataloader: open image folder of %s: %s is not a folder", path, imageDir)
	}
	d := &rows{name: filepath.Base(path)}
	hash := sha256.New()
	if d.items, err = readRows(io.TeeReader(f, hash), d.name); err != nil {
		return nil, err
	}
	d.fingerprint = hex.EncodeToString(hash.Sum(nil)[:16])
	if err := d.findPictures(imageDir); err != nil {
		return nil, err
	}
	return d, nil
}

// findPictures sets the Path of every item from one listing of dir. An item
// whose picture is not there gets the first name that was looked for.
func (d *rows) findPictures(dir string) error {
	type found struct {
		name string
		rank int // 0 for the exact name, 1+k for extensions[k]
	}
	wanted := make(map[string]found, len(d.items))
	for i := range d.items {
		wanted[d.items[i].ID] = found{rank: len(extensions) + 1}
	}
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("dataloader: list image folder: %w", err)
	}
	defer f.Close()
	note := func(id, name string, rank int) {
		if best, ok := wanted[id]; ok && (rank < best.rank || rank == best.rank && name < best.name) {
			wanted[id] = found{name, rank}
		}
	}
	for {
		names, err := f.Readdirnames(4096)
		for _, name := range names {
			note(name, name, 0)
			ext := filepath.Ext(name)
			for k, e := range extensions {
				if strings.EqualFold(ext, e) {
					note(name[:len(name)-len(ext)], name, 1+k)
				}
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("dataloader: list image folder: %w", err)
		}
	}
	for i := range d.items {
		it := &d.items[i]
		name := wanted[it.ID].name
		if name == "" {
			name = it.ID
			if !hasImageExtension(name) {
				name += extensions[0]
			}
		}
		it.Path = filepath.Join(dir, name)
	}
	return nil
}

func hasImageExtension(name string) bool {
	for _, e := range extensions {
		if strings.EqualFold(filepath.Ext(name), e) {
			return true
		}
	}
	return false
}

// readRows reads a JSONL file; name stands for it in errors. Blank lines are
// passed by.
func readRows(r io.Reader, name string) ([]Item, error) {
	var items []Item
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	line := 0
	for s.Scan() {
		line++
		b := s.Bytes()
		if line == 1 {
			b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
		}
		if b = bytes.TrimSpace(b); len(b) == 0 {
			continue
		}
		it, err := parseRow(b)
		if err != nil {
			return nil, fmt.Errorf("dataloader: %s:%d: %w", name, line, err)
		}
		it.File, it.Line = name, line
		items = append(items, it)
	}
	if err := s.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return nil, fmt.Errorf("dataloader: %s:%d: line longer than %d bytes", name, line+1, maxLine)
		}
		return nil, fmt.Errorf("dataloader: %s:%d: %w", name, line+1, err)
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("dataloader: %s: no rows: want one JSON object per line", name)
	}
	return items, nil
}

// row is the form of a line. A pointer tells a missing key from a zero.
type row struct {
	ImageHash *string  `json:"image_hash"`
	Caption   *string  `json:"caption"`
	URLLink   *string  `json:"url_link"`
	Literal   *string  `json:"literal_caption"`
	Relation  *string  `json:"relation"`
	Split     *string  `json:"split"`
	Family    *int     `json:"family"`
	Profile   *int     `json:"profile"`
	Pair      *string  `json:"pair"`
	Count     *int     `json:"count"`
	Ink       *float64 `json:"ink"`
	HeldOut   *bool    `json:"held_out"`
	Gravity   *bool    `json:"gravity"`
}

// parseRow reads one line without its end.
func parseRow(b []byte) (Item, error) {
	if !utf8.Valid(b) {
		return Item{}, errors.New("not UTF-8")
	}
	if b[0] != '{' {
		return Item{}, errors.New("not a JSON object")
	}
	var r row
	if err := json.Unmarshal(b, &r); err != nil {
		var typeErr *json.UnmarshalTypeError
		if errors.As(err, &typeErr) {
			return Item{}, fmt.Errorf("%q is %s, want %s", typeErr.Field, article(typeErr.Value), kindName(typeErr.Type.Kind()))
		}
		return Item{}, fmt.Errorf("not a JSON object: %w", err)
	}
	if r.ImageHash == nil || *r.ImageHash == "" {
		return Item{}, errors.New(`missing "image_hash"`)
	}
	if err := checkHash(*r.ImageHash); err != nil {
		return Item{}, err
	}
	return Item{
		ID:       *r.ImageHash,
		URL:      deref(r.URLLink, ""),
		Caption:  unquote(deref(r.Caption, "")),
		Literal:  unquote(deref(r.Literal, "")),
		Relation: deref(r.Relation, ""),
		Split:    deref(r.Split, ""),
		Family:   deref(r.Family, -1),
		Profile:  deref(r.Profile, -1),
		Pair:     deref(r.Pair, ""),
		Count:    deref(r.Count, 0),
		Ink:      deref(r.Ink, 0),
		HeldOut:  deref(r.HeldOut, false),
		Gravity:  deref(r.Gravity, false),
	}, nil
}

func deref[T any](p *T, missing T) T {
	if p == nil {
		return missing
	}
	return *p
}

// kindName says in words what a field of this kind takes.
func kindName(k reflect.Kind) string {
	switch k {
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	}
	return article(k.String())
}

func article(noun string) string {
	if strings.IndexByte("aeiou", noun[0]) >= 0 {
		return "an " + noun
	}
	return "a " + noun
}

// checkHash refuses an image_hash that is more than a file's name: with it a row
// could have any file of the machine read.
func checkHash(hash string) error {
	refuse := func(why string) error {
		if len(hash) > 80 {
			hash = hash[:80]
		}
		return fmt.Errorf(`"image_hash" %q %s: want the name of a file in the image folder`, hash, why)
	}
	switch {
	case strings.ContainsAny(hash, `/\`):
		return refuse("holds a path separator")
	case strings.Contains(hash, ".."):
		return refuse(`holds ".."`)
	case hash == ".":
		return refuse("is a folder")
	case len(hash) > 255:
		return refuse("is longer than 255 bytes")
	case filepath.IsAbs(hash) || filepath.VolumeName(hash) != "":
		return refuse("is absolute")
	}
	for _, r := range hash {
		if r < ' ' || r == 0x7f {
			return refuse("holds a control character")
		}
	}
	return nil
}

// unquote takes one pair of quotes off that stands around the whole caption, as
// language models like to write it. Quotes that also occur inside belong to the
// caption.
func unquote(s string) string {
	s = strings.TrimSpace(s)
	for _, q := range [...][2]string{{`"`, `"`}, {`'`, `'`}, {"“", "”"}, {"‘", "’"}} {
		if len(s) < len(q[0])+len(q[1]) || !strings.HasPrefix(s, q[0]) || !strings.HasSuffix(s, q[1]) {
			continue
		}
		inside := s[len(q[0]) : len(s)-len(q[1])]
		if !strings.Contains(inside, q[0]) && !strings.Contains(inside, q[1]) {
			return strings.TrimSpace(inside)
		}
	}
	return s
}
