// Package torchfile reads the tensors of files that torch.save wrote (.pth, .pt, .bin), without running
// anything in them.
//
// Such a file holds a pickle, which is a program: Python runs whatever function it names. Here a small
// interpreter knows the instructions that a state dict needs, and calls the functions that make tensors and
// dicts. Any other name, class or instruction is refused with its place in the file. Bytes, instructions, values,
// nesting, sizes and strides are bounded before memory is taken; no tensor has more elements than its storage has in the file.
//
// Both layouts are read: the zip archive of PyTorch 1.6 and later (archive/data.pkl, archive/data/0, …,
// archive/byteorder), and the sequence of pickles of before. Nested dicts and lists are flattened, with dots between
// their keys; what is not a tensor is left out.
//
// Sources: torch/serialization.py and torch/_utils.py of PyTorch; Lib/pickletools.py of Python describes the
// instructions.
package torchfile

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"relsim/checkpoints"
	"relsim/regular"
)

// The bounds of the tensors of a file.
const (
	maxTensors = 1 << 17
	maxNodes   = 1 << 20 // values in dicts and lists
	maxDepth   = 16      // of dicts and lists in one another
	maxName    = 1024    // bytes
)

// Info says what a tensor of a file is.
type Info struct {
	DType checkpoints.DType
	Shape []int
}

// File is an open file. Its methods may be called from several goroutines at once; values are read
// when they are asked for.
type File struct {
	name  string
	r     io.ReaderAt
	close func() error
	views map[string]*view
	names []string
	swap  bool // values are big-endian
}

// Open opens a file of tensors. It reads their names and shapes only.
func Open(path string) (*File, error) {
	r, size, err := regular.Open(path)
	if err != nil {
		return nil, fmt.Errorf("torchfile: open: %w", err)
	}
	f, err := newFile(r, size, filepath.Base(path))
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("torchfile: open %s: %w", path, err)
	}
	f.close = r.Close
	return f, nil
}

// NewFile reads the names and shapes of a file of the given size from r. The file's Close does nothing.
func NewFile(r io.ReaderAt, size int64) (*File, error) {
	f, err := newFile(r, size, "file of tensors")
	if err != nil {
		return nil, fmt.Errorf("torchfile: read: %w", err)
	}
	return f, nil
}

func newFile(r io.ReaderAt, size int64, name string) (*File, error) {
	f := &File{name: name, r: r, close: func() error { return nil }, views: map[string]*view{}}
	var head [4]byte
	if n, err := r.ReadAt(head[:], 0); n < len(head) {
		return nil, fmt.Errorf("%d bytes, too short for a file of PyTorch: %w", size, ended(err))
	}
	var root any
	var err error
	if bytes.Equal(head[:], []byte("PK\x03\x04")) {
		root, err = f.readZip(size)
	} else {
		root, err = f.readLegacy(size)
	}
	if err != nil {
		return nil, err
	}
	if _, ok := root.(*dict); !ok {
		return nil, fmt.Errorf("%s where a dict of tensors is wanted, such as a model's state_dict", describe(root))
	}
	nodes := 0
	if err := f.collect("", root, 0, &nodes); err != nil {
		return nil, err
	}
	f.names = slices.Sorted(maps.Keys(f.views))
	return f, nil
}

// collect finds the tensors in a value.
func (f *File) collect(name string, v any, depth int, nodes *int) error {
	if *nodes++; *nodes > maxNodes {
		return fmt.Errorf("more than %d values in dicts and lists", maxNodes)
	}
	if depth > maxDepth {
		return fmt.Errorf("dicts and lists are more than %d deep in one another, at %.100q", maxDepth, name)
	}
	within := func(key string, v any) error {
		if name != "" {
			key = name + "." + key
		}
		if len(key) > maxName {
			return fmt.Errorf("a name of %d bytes, more than %d: %.100q…", len(key), maxName, key)
		}
		return f.collect(key, v, depth+1, nodes)
	}
	switch v := v.(type) {
	case *view:
		if _, ok := f.views[name]; ok {
			return fmt.Errorf("tensor %q stands twice in the file", name)
		}
		if len(f.views) == maxTensors {
			return fmt.Errorf("more than %d tensors", maxTensors)
		}
		f.views[name] = v
	case *dict:
		for i, key := range v.keys {
			var text string
			switch key := key.(type) {
			case string:
				text = key
			case int64:
				text = strconv.FormatInt(key, 10)
			default:
				if *nodes++; *nodes > maxNodes {
					return fmt.Errorf("more than %d values in dicts and lists", maxNodes)
				}
				continue // no name
			}
			if err := within(text, v.values[i]); err != nil {
				return err
			}
		}
	case *list:
		return collectItems(v.items, within)
	case tuple:
		return collectItems(v, within)
	}
	return nil
}

func collectItems(items []any, within func(string, any) error) error {
	for i, item := range items {
		if err := within(strconv.Itoa(i), item); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the file.
func (f *File) Close() error { return f.close() }

// Names returns the names of the tensors, sorted.
func (f *File) Names() []string { return slices.Clone(f.names) }

// Info returns what tensor name is, and whether the file has it.
func (f *File) Info(name string) (Info, bool) {
	v, ok := f.views[name]
	if !ok {
		return Info{}, false
	}
	info := Info{DType: v.storage.dtype, Shape: make([]int, len(v.shape))}
	for i, d := range v.shape {
		info.Shape[i] = int(d)
	}
	return info, true
}

// Tensor reads a tensor, row by row whatever its strides are in the file.
func (f *File) Tensor(name string) (checkpoints.Tensor, error) {
	v, ok := f.views[name]
	if !ok {
		return checkpoints.Tensor{}, fmt.Errorf("torchfile: %s: no tensor %q", f.name, name)
	}
	data, err := f.values(v)
	if err != nil {
		return checkpoints.Tensor{}, fmt.Errorf("torchfile: %s: tensor %q: %w", f.name, name, err)
	}
	info, _ := f.Info(name)
	return checkpoints.Tensor{Name: name, DType: info.DType, Shape: info.Shape, Data: data}, nil
}

// Float32 reads a tensor of any type as float32, rounded to nearest, and returns its shape with it.
func (f *File) Float32(name string) ([]float32, []int, error) {
	t, err := f.Tensor(name)
	if err != nil {
		return nil, nil, err
	}
	values, err := checkpoints.Float32s(t)
	return values, t.Shape, err
}

// values reads the elements of a view, little-endian.
func (f *File) values(v *view) ([]byte, error) {
	size := int64(v.storage.dtype.Size())
	n := v.elements()
	if n == 0 {
		return []byte{}, nil
	}
	if n > math.MaxInt/size {
		return nil, fmt.Errorf("%d elements of %s do not fit in memory", n, v.storage.dtype)
	}
	extent, rows := int64(1), int64(1) // elements from first to last, and the strides of rows
	contiguous := true
	for i := len(v.shape) - 1; i >= 0; i-- {
		d := v.shape[i]
		if d > 1 {
			contiguous = contiguous && v.stride[i] == rows
			extent += (d - 1) * v.stride[i]
		}
		rows *= d
	}
	raw, err := f.window(v.storage, v.offset*size, extent*size)
	if err != nil {
		return nil, err
	}
	if !contiguous {
		raw = gather(raw, v, int(size), n)
	}
	if f.swap {
		for at := 0; at < len(raw); at += int(size) {
			slices.Reverse(raw[at : at+int(size)])
		}
	}
	return raw, nil
}

// gather brings n elements of the given size, which begin at raw, into the order of rows.
func gather(raw []byte, v *view, size int, n int64) []byte {
	out := make([]byte, 0, n*int64(size))
	index := make([]int64, len(v.shape))
	for at := int64(0); ; {
		out = append(out, raw[at*int64(size):][:size]...)
		i := len(index) - 1
		for ; i >= 0; i-- {
			if index[i]++; index[i] < v.shape[i] {
				at += v.stride[i]
				break
			}
			at -= (v.shape[i] - 1) * v.stride[i]
			index[i] = 0
		}
		if i < 0 {
			return out
		}
	}
}

var errChecksum = errors.New("the checksum is another one: the file is damaged")

// window reads some bytes of a storage, whose checksum is compared where there is one.
func (f *File) window(s *storage, from, n int64) ([]byte, error) {
	whole := s.elements * int64(s.dtype.Size())
	if n > math.MaxInt {
		return nil, fmt.Errorf("storage %s: %d bytes do not fit in memory", s.key, n)
	}
	b := make([]byte, n)
	if err := readAt(f.r, b, s.offset+from); err != nil {
		return nil, fmt.Errorf("storage %s: %w", s.key, err)
	}
	if !s.check {
		return b, nil
	}
	sum := uint32(0)
	if n == whole {
		sum = crc32.ChecksumIEEE(b)
	} else {
		h := crc32.NewIEEE()
		if _, err := io.Copy(h, io.NewSectionReader(f.r, s.offset, whole)); err != nil {
			return nil, fmt.Errorf("storage %s: %w", s.key, err)
		}
		sum = h.Sum32()
	}
	if sum != s.crc {
		return nil, fmt.Errorf("storage %s: %w", s.key, errChecksum)
	}
	return b, nil
}

// readAt fills b from offset off.
func readAt(r io.ReaderAt, b []byte, off int64) error {
	if n, err := r.ReadAt(b, off); n < len(b) {
		return fmt.Errorf("read %d bytes at %d: %w", len(b), off, ended(err))
	}
	return nil
}
