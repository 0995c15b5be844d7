package checkpoints

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"

	"relsim/regular"
)

// maxHeader bounds the JSON header, as in the reference implementation.
const maxHeader = 100_000_000

// metadataKey is the entry of the header that holds free text, not a tensor.
const metadataKey = "__metadata__"

// Info says what a tensor of a file is.
type Info struct {
	DType DType
	Shape []int
	start int64 // of the data, from the file's beginning
	bytes int64
}

// File is an open safetensors file. Its methods may be called from several
// goroutines at once; data is read when it is asked for.
type File struct {
	name     string
	r        io.ReaderAt
	close    func() error
	names    []string
	index    map[string]Info
	metadata map[string]string
}

// Open opens a safetensors file. It reads and checks the header only.
func Open(path string) (*File, error) {
	f, size, err := regular.Open(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoints: open: %w", err)
	}
	file, err := newFile(f, size, filepath.Base(path))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("checkpoints: open %s: %w", path, err)
	}
	file.close = f.Close
	return file, nil
}

// NewFile reads the header of a safetensors file of the given size from r. The
// file's Close does nothing.
func NewFile(r io.ReaderAt, size int64) (*File, error) {
	f, err := newFile(r, size, "safetensors")
	if err != nil {
		return nil, fmt.Errorf("checkpoints: read header: %w", err)
	}
	return f, nil
}

func newFile(r io.ReaderAt, size int64, name string) (*File, error) {
	var prefix [8]byte
	if size < int64(len(prefix)) {
		return nil, fmt.Errorf("%d bytes, too short for a safetensors file", size)
	}
	if err := readAt(r, prefix[:], 0); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(prefix[:])
	if n > maxHeader {
		return nil, fmt.Errorf("header of %d bytes, more than the limit of %d", n, maxHeader)
	}
	if n > uint64(size-8) {
		return nil, fmt.Errorf("header of %d bytes in a file of %d", n, size)
	}
	header := make([]byte, n)
	if err := readAt(r, header, 8); err != nil {
		return nil, err
	}
	f := &File{name: name, r: r, close: func() error { return nil }}
	if err := f.parse(header, 8+int64(n), size); err != nil {
		return nil, err
	}
	return f, nil
}

// readAt fills b from offset off.
func readAt(r io.ReaderAt, b []byte, off int64) error {
	if n, err := r.ReadAt(b, off); n < len(b) {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read %d bytes at %d: %w", len(b), off, err)
	}
	return nil
}

// parse reads the header. The data runs from start to end of the file. Every
// byte of it must belong to one tensor.
func (f *File) parse(header []byte, start, end int64) error {
	if len(header) == 0 || header[0] != '{' {
		return errors.New("the header does not begin with {")
	}
	if !utf8.Valid(header) {
		return errors.New("the header is not UTF-8")
	}
	f.index = make(map[string]Info)
	d := json.NewDecoder(bytes.NewReader(header))
	d.UseNumber()
	seenMetadata := false
	err := object(d, func(key string) error {
		if key == metadataKey {
			if seenMetadata {
				return fmt.Errorf("%s stands twice in the header", metadataKey)
			}
			seenMetadata = true
			return f.parseMetadata(d)
		}
		if _, ok := f.index[key]; ok {
			return fmt.Errorf("tensor %q stands twice in the header", key)
		}
		info, err := parseInfo(d, start, end)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", key, err)
		}
		f.index[key] = info
		return nil
	})
	if err != nil {
		return err
	}
	if rest := bytes.Trim(header[d.InputOffset():], " \t\r\n\x00"); len(rest) > 0 {
		return errors.New("the header goes on after its JSON object")
	}
	return f.checkCover(start, end)
}

// checkCover sorts the names, and refuses tensors that overlap and bytes that
// belong to none.
func (f *File) checkCover(start, end int64) error {
	f.names = slices.Collect(maps.Keys(f.index))
	slices.SortFunc(f.names, func(a, b string) int {
		ia, ib := f.index[a], f.index[b]
		if ia.start != ib.start {
			if ia.start < ib.start {
				return -1
			}
			return 1
		}
		if ia.bytes != ib.bytes { // an empty tensor may share its place
			if ia.bytes < ib.bytes {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	at, before := start, ""
	for _, name := range f.names {
		info := f.index[name]
		switch {
		case info.start < at:
			return fmt.Errorf("tensors %q and %q overlap", before, name)
		case info.start > at:
			return fmt.Errorf("%d bytes before tensor %q belong to none", info.start-at, name)
		}
		at, before = info.start+info.bytes, name
	}
	if at != end {
		return fmt.Errorf("%d bytes after the last tensor belong to none", end-at)
	}
	slices.Sort(f.names)
	return nil
}

// parseMetadata reads an object of strings.
func (f *File) parseMetadata(d *json.Decoder) error {
	f.metadata = make(map[string]string)
	return object(d, func(key string) error {
		if _, ok := f.metadata[key]; ok {
			return fmt.Errorf("%s: %q stands twice", metadataKey, key)
		}
		value, err := token[string](d, "a string")
		if err != nil {
			return fmt.Errorf("%s: %q: %w", metadataKey, key, err)
		}
		f.metadata[key] = value
		return nil
	})
}

// parseInfo reads {"dtype": …, "shape": […], "data_offsets": [begin, end]}; the
// offsets count from start and must stay within end.
func parseInfo(d *json.Decoder, start, end int64) (Info, error) {
	var info Info
	var offsets []int64
	seen := make(map[string]bool, 3)
	err := object(d, func(key string) error {
		if seen[key] {
			return fmt.Errorf("%q stands twice", key)
		}
		seen[key] = true
		switch key {
		case "dtype":
			s, err := token[string](d, "a string")
			if err != nil {
				return fmt.Errorf("dtype: %w", err)
			}
			info.DType = DType(s)
			if info.DType.Size() == 0 {
				return fmt.Errorf("unknown dtype %q", s)
			}
			return nil
		case "shape":
			sides, err := integers(d)
			if err != nil {
				return fmt.Errorf("shape: %w", err)
			}
			info.Shape = make([]int, len(sides))
			for i, v := range sides {
				if v > math.MaxInt {
					return fmt.Errorf("shape: side of %d", v)
				}
				info.Shape[i] = int(v)
			}
			return nil
		case "data_offsets":
			var err error
			if offsets, err = integers(d); err != nil {
				return fmt.Errorf("data_offsets: %w", err)
			}
			return nil
		}
		var other json.RawMessage
		return d.Decode(&other)
	})
	if err != nil {
		return Info{}, err
	}
	for _, key := range []string{"dtype", "shape", "data_offsets"} {
		if !seen[key] {
			return Info{}, fmt.Errorf("missing %q", key)
		}
	}
	if len(offsets) != 2 || offsets[0] > offsets[1] || offsets[1] > end-start {
		return Info{}, fmt.Errorf("data_offsets %v in %d bytes of data", offsets, end-start)
	}
	n, err := elements(info.Shape)
	if err != nil {
		return Info{}, err
	}
	info.start, info.bytes = start+offsets[0], offsets[1]-offsets[0]
	size := int64(info.DType.Size())
	if n > math.MaxInt64/size || n*size != info.bytes {
		return Info{}, fmt.Errorf("shape %v of %s takes another number of bytes than %d", info.Shape, info.DType, info.bytes)
	}
	return info, nil
}

// object reads a JSON object and calls f after each key, to read the value.
func object(d *json.Decoder, f func(key string) error) error {
	open, err := token[json.Delim](d, "an object")
	if err != nil {
		return err
	}
	if open != '{' {
		return errors.New("an array where the header wants an object")
	}
	for d.More() {
		key, err := token[string](d, "a name")
		if err != nil {
			return err
		}
		if err := f(key); err != nil {
			return err
		}
	}
	_, err = token[json.Delim](d, "}")
	return err
}

// integers reads a JSON array of whole numbers, 0 or more.
func integers(d *json.Decoder) ([]int64, error) {
	open, err := token[json.Delim](d, "an array")
	if err != nil {
		return nil, err
	}
	if open != '[' {
		return nil, errors.New("an object where the header wants an array")
	}
	list := []int64{}
	for d.More() {
		number, err := token[json.Number](d, "a number")
		if err != nil {
			return nil, err
		}
		v, err := number.Int64()
		if err != nil || v < 0 {
			return nil, fmt.Errorf("%s, want a whole number from 0 to 2⁶³-1", number)
		}
		list = append(list, v)
	}
	_, err = token[json.Delim](d, "]")
	return list, err
}

// token reads the next token, which must be a T.
func token[T json.Delim | json.Number | string](d *json.Decoder, want string) (T, error) {
	var zero T
	t, err := d.Token()
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return zero, fmt.Errorf("the header is not JSON: %w", err)
	}
	v, ok := t.(T)
	if !ok {
		return zero, fmt.Errorf("%v where the header wants %s", t, want)
	}
	return v, nil
}

// Close closes the file.
func (f *File) Close() error { return f.close() }

// Names returns the names of the tensors, sorted.
func (f *File) Names() []string { return slices.Clone(f.names) }

// Info returns what tensor name is, and whether the file has it.
func (f *File) Info(name string) (Info, bool) {
	info, ok := f.index[name]
	info.Shape = slices.Clone(info.Shape)
	return info, ok
}

// Metadata returns the free text of the header. It may be nil.
func (f *File) Metadata() map[string]string { return maps.Clone(f.metadata) }

// Bytes reads the data of a tensor as it is stored.
func (f *File) Bytes(name string) ([]byte, error) {
	info, err := f.lookup(name)
	if err != nil {
		return nil, err
	}
	if info.bytes > math.MaxInt {
		return nil, fmt.Errorf("checkpoints: %s: tensor %q: %d bytes do not fit in memory", f.name, name, info.bytes)
	}
	b := make([]byte, info.bytes)
	if err := readAt(f.r, b, info.start); err != nil {
		return nil, fmt.Errorf("checkpoints: %s: tensor %q: %w", f.name, name, err)
	}
	return b, nil
}

// Float32 reads a tensor of any type as float32, rounded to nearest, and returns
// its shape with it; false is 0 and true is 1.
func (f *File) Float32(name string) ([]float32, []int, error) {
	info, err := f.lookup(name)
	if err != nil {
		return nil, nil, err
	}
	dst := make([]float32, info.bytes/int64(info.DType.Size()))
	if err := f.readFloat32(name, info, dst); err != nil {
		return nil, nil, err
	}
	return dst, slices.Clone(info.Shape), nil
}

// Int64 reads a tensor of an integer type or BOOL, and returns its shape with
// it. A value of U64 that does not fit is an error.
func (f *File) Int64(name string) ([]int64, []int, error) {
	info, err := f.lookup(name)
	if err != nil {
		return nil, nil, err
	}
	if info.DType.float() {
		return nil, nil, fmt.Errorf("checkpoints: %s: tensor %q: %s where integers are asked for", f.name, name, info.DType)
	}
	b, err := f.Bytes(name)
	if err != nil {
		return nil, nil, err
	}
	dst := make([]int64, len(b)/info.DType.Size())
	for i := range dst {
		dst[i] = integer(b, i, info.DType)
		if info.DType == U64 && dst[i] < 0 {
			return nil, nil, fmt.Errorf("checkpoints: %s: tensor %q: %d does not fit in 64 bits with a sign", f.name, name, uint64(dst[i]))
		}
	}
	return dst, slices.Clone(info.Shape), nil
}

// float says that values of d are floating-point numbers.
func (d DType) float() bool { return d == F64 || d == F32 || d == F16 || d == BF16 }

// Tensor reads a tensor.
func (f *File) Tensor(name string) (Tensor, error) {
	b, err := f.Bytes(name)
	if err != nil {
		return Tensor{}, err
	}
	info, _ := f.Info(name)
	return Tensor{Name: name, DType: info.DType, Shape: info.Shape, Data: b}, nil
}

func (f *File) lookup(name string) (Info, error) {
	info, ok := f.index[name]
	if !ok {
		return Info{}, fmt.Errorf("checkpoints: %s: no tensor %q", f.name, name)
	}
	return info, nil
}

// ReadFloat32 fills dst with the values of a tensor of any type from value first
// on, row-major, as float32, rounded to nearest. Of type F32 they are read straight
// into dst, of others a piece at a time. Several goroutines may read parts of one tensor.
func (f *File) ReadFloat32(name string, dst []float32, first int) error {
	info, err := f.lookup(name)
	if err != nil {
		return err
	}
	if n := info.bytes / int64(info.DType.Size()); first < 0 || int64(first) > n || int64(len(dst)) > n-int64(first) {
		return fmt.Errorf("checkpoints: %s: tensor %q: %d values from %d on of %d", f.name, name, len(dst), first, n)
	}
	info.start += int64(first) * int64(info.DType.Size())
	return f.readFloat32(name, info, dst)
}

// pieces holds what is read of other types before it is converted.
var pieces = sync.Pool{New: func() any { return new([1 << 18]byte) }}

// littleEndian says that float32 lies in memory as it does in a file.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// readFloat32 reads the first len(dst) values of a tensor.
func (f *File) readFloat32(name string, info Info, dst []float32) error {
	if len(dst) == 0 {
		return nil
	}
	fail := func(err error) error { return fmt.Errorf("checkpoints: %s: tensor %q: %w", f.name, name, err) }
	if info.DType == F32 && littleEndian {
		if err := readAt(f.r, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(dst))), 4*len(dst)), info.start); err != nil {
			return fail(err)
		}
		return nil
	}
	size := info.DType.Size()
	kept := pieces.Get().(*[1 << 18]byte)
	defer pieces.Put(kept)
	buf := kept[:min(len(kept), len(dst)*size)]
	for at := info.start; len(dst) > 0; {
		n := min(len(dst), len(buf)/size)
		if err := readAt(f.r, buf[:n*size], at); err != nil {
			return fail(err)
		}
		toFloat32(dst[:n], buf, info.DType)
		dst = dst[n:]
		at += int64(n * size)
	}
	return nil
}
