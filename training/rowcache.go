package training

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"relsim/checkpoints"
)

// Bounds of a cache of rows: of one file, and of all in a folder.
const (
	rowFileBytes   = 1 << 30
	rowFolderBytes = 4 << 30
)

const (
	rowSuffix  = ".rows"
	rowMagic   = "relsim rows 1\n\x00\x00"
	rowHeading = len(rowMagic) + sha256.Size + 4 + 4 // magic, model, width, rows
)

// rowKey is the SHA-256 of a text.
type rowKey = [sha256.Size]byte

// rowCache keeps, in one file of a folder for each model, the embedding that the model gave a text: a row of width
// numbers by the hash of the text. The model is known by a hash of all that its rows depend on.
//
//	magic, model (32), width u32, rows u32, rows × (hash of the text (32), width × f32), SHA-256 of all before (32)
//
// Integers and numbers are little-endian. The file is written beside, synced and renamed: processes that save at one
// time leave the rows of one of them, whole.
type rowCache struct {
	path  string
	model rowKey
	width int
	limit int64 // bytes of the file
	rows  map[rowKey][]float32
	used  map[rowKey]bool // asked for or added by this process
}

// openRows reads what the folder holds of a model. The error says why nothing could be read of a file that is there;
// the cache is empty then, and may be filled and saved.
func openRows(folder string, model rowKey, width int) (*rowCache, error) {
	c := &rowCache{
		path:  filepath.Join(folder, hex.EncodeToString(model[:16])+rowSuffix),
		model: model, width: width, limit: rowFileBytes,
		rows: map[rowKey][]float32{}, used: map[rowKey]bool{},
	}
	rows, err := c.read()
	if err != nil {
		return c, err
	}
	c.rows = rows
	return c, nil
}

// get returns the row of a text, nil if there is none.
func (c *rowCache) get(text string) []float32 {
	key := sha256.Sum256([]byte(text))
	row := c.rows[key]
	if row != nil {
		c.used[key] = true
	}
	return row
}

// put adds the row of a text, which is not to be changed afterwards.
func (c *rowCache) put(text string, row []float32) {
	key := sha256.Sum256([]byte(text))
	c.rows[key], c.used[key] = row, true
}

// entry is the size of a row in the file.
func (c *rowCache) entry() int64 { return int64(sha256.Size + 4*c.width) }

// read reads the file; no file is no rows.
func (c *rowCache) read() (map[rowKey][]float32, error) {
	fail := func(err error) (map[rowKey][]float32, error) {
		return nil, fmt.Errorf("training: cache %s: %w", c.path, err)
	}
	info, err := os.Lstat(c.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return map[rowKey][]float32{}, nil
	case err != nil:
		return fail(err)
	case !info.Mode().IsRegular():
		return fail(errors.New("not a regular file"))
	case info.Size() > c.limit:
		return fail(fmt.Errorf("%d bytes, at most %d are allowed", info.Size(), c.limit))
	}
	f, err := os.Open(c.path)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, c.limit+1))
	if err != nil {
		return fail(err)
	}
	rows, err := c.parse(data)
	if err != nil {
		return fail(err)
	}
	return rows, nil
}

// parse checks the content of a file and takes it apart.
func (c *rowCache) parse(data []byte) (map[rowKey][]float32, error) {
	body := len(data) - sha256.Size
	if body < rowHeading || string(data[:len(rowMagic)]) != rowMagic {
		return nil, errors.New("damaged: no such file of rows")
	}
	if sum := sha256.Sum256(data[:body]); !bytes.Equal(sum[:], data[body:]) {
		return nil, errors.New("damaged: its checksum is another")
	}
	rest := data[len(rowMagic):body]
	if !bytes.Equal(rest[:sha256.Size], c.model[:]) {
		return nil, errors.New("of another model")
	}
	rest = rest[sha256.Size:]
	width, n := binary.LittleEndian.Uint32(rest), binary.LittleEndian.Uint32(rest[4:])
	rest = rest[8:]
	if int64(width) != int64(c.width) || int64(len(rest)) != int64(n)*c.entry() {
		return nil, fmt.Errorf("damaged: %d rows of %d numbers in %d bytes, want rows of %d", n, width, len(rest), c.width)
	}
	rows := make(map[rowKey][]float32, n)
	values := make([]float32, int(n)*c.width)
	for range n {
		key := rowKey(rest)
		row := values[:c.width:c.width]
		values = values[c.width:]
		for i := range row {
			row[i] = math.Float32frombits(binary.LittleEndian.Uint32(rest[sha256.Size+4*i:]))
		}
		rows[key] = row
		rest = rest[c.entry():]
	}
	return rows, nil
}

// save writes the rows, with those that another process has saved since. What does not fit into the bound is left out,
// the rows that this process did not use first. Files of other models go, the oldest first, as far as the folder is
// too large.
func (c *rowCache) save() error {
	if others, err := c.read(); err == nil {
		for key, row := range others {
			if c.rows[key] == nil {
				c.rows[key] = row
			}
		}
	}
	keys := make([]rowKey, 0, len(c.rows))
	for key := range c.rows {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b rowKey) int {
		if c.used[a] != c.used[b] {
			if c.used[a] {
				return -1
			}
			return 1
		}
		return bytes.Compare(a[:], b[:])
	})
	if most := (c.limit - int64(rowHeading+sha256.Size)) / c.entry(); int64(len(keys)) > most {
		keys = keys[:max(most, 0)]
	}
	if err := c.write(keys); err != nil {
		return fmt.Errorf("training: cache %s: %w", c.path, err)
	}
	trimFolder(filepath.Dir(c.path), filepath.Base(c.path), rowFolderBytes)
	return nil
}

// write replaces the file.
func (c *rowCache) write(keys []rowKey) error {
	if err := os.MkdirAll(filepath.Dir(c.path), 0o777); err != nil {
		return err
	}
	return checkpoints.WriteFile(c.path, func(w io.Writer) error { return c.encode(w, keys) })
}

func (c *rowCache) encode(f io.Writer, keys []rowKey) error {
	sum := sha256.New()
	w := io.MultiWriter(f, sum)
	head := append([]byte(rowMagic), c.model[:]...)
	head = binary.LittleEndian.AppendUint32(head, uint32(c.width))
	head = binary.LittleEndian.AppendUint32(head, uint32(len(keys)))
	if _, err := w.Write(head); err != nil {
		return err
	}
	var entry []byte
	for _, key := range keys {
		entry = append(entry[:0], key[:]...)
		for _, v := range c.rows[key] {
			entry = binary.LittleEndian.AppendUint32(entry, math.Float32bits(v))
		}
		if _, err := w.Write(entry); err != nil {
			return err
		}
	}
	_, err := f.Write(sum.Sum(nil))
	return err
}

// trimFolder removes files of rows, the oldest first and never the one named, until the rest is within the limit. It is
// housekeeping: what cannot be removed stays.
func trimFolder(folder, keep string, limit int64) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	var files []fs.FileInfo
	var total int64
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && filepath.Ext(e.Name()) == rowSuffix {
			files = append(files, info)
			total += info.Size()
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for _, info := range files {
		if total <= limit {
			return
		}
		if info.Name() != keep && os.Remove(filepath.Join(folder, info.Name())) == nil {
			total -= info.Size()
		}
	}
}
