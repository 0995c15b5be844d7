package checkpoints

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"unicode/utf8"
)

// Encode writes tensors as a safetensors file to w, in the order of the
// reference implementation: by type, widest first, then by name. The header is
// padded to 8 bytes, so that every tensor is aligned to its type. The same input
// gives the same bytes, whatever order the tensors come in.
func Encode(w io.Writer, tensors []Tensor, metadata map[string]string) error {
	if err := encode(w, tensors, metadata); err != nil {
		return fmt.Errorf("checkpoints: encode: %w", err)
	}
	return nil
}

func encode(w io.Writer, tensors []Tensor, metadata map[string]string) error {
	sorted := slices.Clone(tensors)
	slices.SortStableFunc(sorted, func(a, b Tensor) int {
		if d := slices.Index(dtypes, a.DType) - slices.Index(dtypes, b.DType); d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
	header, err := encodeHeader(sorted, metadata)
	if err != nil {
		return err
	}
	var prefix [8]byte
	binary.LittleEndian.PutUint64(prefix[:], uint64(len(header)))
	for _, b := range [][]byte{prefix[:], header} {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	for _, t := range sorted {
		if _, err := w.Write(t.Data); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
	}
	return nil
}

// encodeHeader makes the padded JSON header of tensors in the order of the file.
func encodeHeader(tensors []Tensor, metadata map[string]string) ([]byte, error) {
	var b bytes.Buffer
	// Encoder instead of Marshal: it can leave <, > and & as they are.
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	put := func(v any) error {
		err := e.Encode(v)
		b.Truncate(b.Len() - 1) // the line feed
		return err
	}
	entry := func(key string, value any) error {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		if err := put(key); err != nil {
			return err
		}
		b.WriteByte(':')
		return put(value)
	}
	b.WriteByte('{')
	if len(metadata) > 0 {
		for _, k := range slices.Sorted(maps.Keys(metadata)) {
			if !utf8.ValidString(k) || !utf8.ValidString(metadata[k]) {
				return nil, fmt.Errorf("metadata %q is not UTF-8", k)
			}
		}
		if err := entry(metadataKey, metadata); err != nil {
			return nil, err
		}
	}
	offset := 0
	seen := make(map[string]bool, len(tensors))
	for _, t := range tensors {
		switch {
		case seen[t.Name]:
			return nil, fmt.Errorf("tensor %q is there twice", t.Name)
		case t.Name == metadataKey:
			return nil, fmt.Errorf("tensor %q: the name is reserved", t.Name)
		case !utf8.ValidString(t.Name):
			return nil, fmt.Errorf("tensor %q: the name is not UTF-8", t.Name)
		}
		seen[t.Name] = true
		if _, err := t.check(); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		shape := t.Shape
		if shape == nil {
			shape = []int{}
		}
		err := entry(t.Name, struct {
			DType   DType  `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}{t.DType, shape, [2]int{offset, offset + len(t.Data)}})
		if err != nil {
			return nil, err
		}
		offset += len(t.Data)
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	if b.Len() > maxHeader {
		return nil, fmt.Errorf("header of %d bytes, more than the limit of %d", b.Len(), maxHeader)
	}
	return b.Bytes(), nil
}

// Write writes tensors as a safetensors file. It writes beside, syncs and
// renames: path holds the old content or the new one, whole. See [Encode].
func Write(path string, tensors []Tensor, metadata map[string]string) error {
	err := WriteFile(path, func(w io.Writer) error { return encode(w, tensors, metadata) })
	if err != nil {
		return fmt.Errorf("checkpoints: write %s: %w", path, err)
	}
	return nil
}

// WriteFile makes the file at path what write writes, all or nothing: it is
// written beside, synced and renamed. After an error the old file is as it was. Of
// processes that write one path at a time, the last one wins.
func WriteFile(path string, write func(io.Writer) error) error {
	name := fmt.Sprintf("%s%d-%d-%s", tempPrefix, os.Getpid(), writes.Add(1), filepath.Base(path))
	beside := filepath.Join(filepath.Dir(path), name)
	if err := writeFile(beside, write); err != nil {
		return errors.Join(err, os.RemoveAll(beside))
	}
	if err := os.Rename(beside, path); err != nil {
		return errors.Join(err, os.RemoveAll(beside))
	}
	return syncDir(filepath.Dir(path))
}

// writes numbers the files that this process writes beside others.
var writes atomic.Int64

// create opens a file for writing. Tests put one in its place that runs full.
var create = func(path string) (file, error) { return os.Create(path) }

type file interface {
	io.WriteCloser
	Sync() error
}

// writeFile makes a file and sees that it is on the disk.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir sees that the names in a folder are on the disk. Windows has no such
// call and needs none.
func syncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
