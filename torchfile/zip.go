package torchfile

import (
	"archive/zip"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// The bounds of an archive.
const (
	maxEntries   = 1 << 18
	maxDirectory = 64 << 20 // bytes
)

// limited is a reader that gives no more than left bytes.
type limited struct {
	r    io.ReaderAt
	left int
}

var errDirectory = fmt.Errorf("the archive's list of entries takes more than %d bytes", maxDirectory)

func (l *limited) ReadAt(b []byte, off int64) (int, error) {
	if l.left -= len(b); l.left < 0 {
		return 0, errDirectory
	}
	return l.r.ReadAt(b, off)
}

// readZip reads the layout of PyTorch 1.6 and later: NAME/data.pkl, NAME/data/KEY for each storage, not compressed, and
// NAME/byteorder.
func (f *File) readZip(size int64) (any, error) {
	if err := checkEntries(f.r, size); err != nil {
		return nil, err
	}
	directory := &limited{f.r, maxDirectory}
	archive, err := zip.NewReader(directory, size)
	if err != nil {
		return nil, fmt.Errorf("not a whole zip archive: %w", err)
	}
	directory.left = math.MaxInt // what follows is bounded by the number of entries
	entries, err := place(archive, size)
	if err != nil {
		return nil, err
	}
	prefix := ""
	for name := range entries {
		if dir, base, ok := strings.Cut(name, "/"); ok && base == "data.pkl" {
			if prefix != "" {
				return nil, fmt.Errorf("both %sdata.pkl and %s", prefix, name)
			}
			prefix = dir + "/"
		}
	}
	if prefix == "" {
		return nil, errors.New("the archive has no NAME/data.pkl: not a file of PyTorch")
	}
	if _, ok := entries[prefix+"constants.pkl"]; ok {
		return nil, fmt.Errorf("the archive has %sconstants.pkl: a TorchScript program, which is not read; save its state_dict", prefix)
	}
	if e, ok := entries[prefix+"byteorder"]; ok {
		text, err := e.read(f.r, 16)
		if err != nil {
			return nil, fmt.Errorf("%sbyteorder: %w", prefix, err)
		}
		switch strings.TrimSpace(string(text)) {
		case "little":
		case "big":
			f.swap = true
		default:
			return nil, fmt.Errorf("%sbyteorder is %.20q, want little or big", prefix, text)
		}
	}
	e := entries[prefix+"data.pkl"]
	if e.bytes > maxPickle {
		return nil, fmt.Errorf("%sdata.pkl has %d bytes, more than %d", prefix, e.bytes, maxPickle)
	}
	pickle, err := e.read(f.r, maxPickle)
	if err != nil {
		return nil, fmt.Errorf("%sdata.pkl: %w", prefix, err)
	}
	u := &unpickler{in: newInput(bytes.NewReader(pickle), 0, int64(len(pickle))), storages: map[string]*storage{}, file: size}
	root, err := u.load()
	if err != nil {
		return nil, fmt.Errorf("%sdata.pkl: %w", prefix, err)
	}
	for key, s := range u.storages {
		name := prefix + "data/" + key
		e, ok := entries[name]
		if !ok {
			return nil, fmt.Errorf("the archive has no %s, which a tensor wants", name)
		}
		if err := e.check(); err != nil {
			return nil, err
		}
		if want := s.elements * int64(s.dtype.Size()); e.bytes != want {
			return nil, fmt.Errorf("%s has %d bytes, want %d for %d elements of %s", name, e.bytes, want, s.elements, s.dtype)
		}
		s.offset, s.crc, s.check = e.offset, e.crc, true
	}
	return root, nil
}

// entry is where the bytes of an entry lie.
type entry struct {
	name          string
	offset, bytes int64
	crc           uint32
	plain         bool // not compressed
}

// check makes sure that an entry can be read as it lies there. PyTorch compresses no tensors.
func (e entry) check() error {
	if !e.plain {
		return fmt.Errorf("%.100q is compressed, which PyTorch does not do", e.name)
	}
	return nil
}

// read reads a small entry.
func (e entry) read(r io.ReaderAt, most int64) ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	if e.bytes > most {
		return nil, fmt.Errorf("%d bytes, more than %d", e.bytes, most)
	}
	s := &storage{key: e.name, dtype: "U8", elements: e.bytes, offset: e.offset, crc: e.crc, check: true}
	return (&File{r: r}).window(s, 0, e.bytes)
}

// place finds the bytes of the entries, and makes sure that they lie in the file, apart from one another.
func place(archive *zip.Reader, size int64) (map[string]entry, error) {
	entries := make(map[string]entry, len(archive.File))
	list := make([]entry, 0, len(archive.File))
	for _, z := range archive.File {
		if _, ok := entries[z.Name]; ok {
			return nil, fmt.Errorf("entry %.100q stands twice in the archive", z.Name)
		}
		from, err := z.DataOffset()
		if err != nil {
			return nil, fmt.Errorf("entry %.100q: %w", z.Name, err)
		}
		if from < 0 || from > size || z.CompressedSize64 > uint64(size-from) {
			return nil, fmt.Errorf("entry %.100q: %d bytes from %d in a file of %d", z.Name, z.CompressedSize64, from, size)
		}
		plain := z.Method == zip.Store && z.CompressedSize64 == z.UncompressedSize64
		e := entry{z.Name, from, int64(z.CompressedSize64), z.CRC32, plain}
		entries[z.Name] = e
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b entry) int { return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.bytes, b.bytes)) })
	for i := 1; i < len(list); i++ {
		if before := list[i-1]; before.offset+before.bytes > list[i].offset {
			return nil, fmt.Errorf("entries %.100q and %.100q overlap", before.name, list[i].name)
		}
	}
	return entries, nil
}

// checkEntries looks at the number of entries that the archive's end claims, before a list of that length is made.
// It finds the end as archive/zip does.
func checkEntries(r io.ReaderAt, size int64) error {
	const length = 22
	var block []byte
	at := -1
	for _, n := range []int64{1024, 65 * 1024} {
		n = min(n, size)
		block = make([]byte, n)
		if err := readAt(r, block, size-n); err != nil {
			return err
		}
		for i := len(block) - length; i >= 0 && at < 0; i-- {
			if bytes.Equal(block[i:i+4], []byte("PK\x05\x06")) && i+length+int(binary.LittleEndian.Uint16(block[i+20:])) <= len(block) {
				at = i
			}
		}
		if at >= 0 {
			break
		}
	}
	if at < 0 {
		return errors.New("not a whole zip archive: its end is missing")
	}
	count := uint64(binary.LittleEndian.Uint16(block[at+10:]))
	// A locator of 20 bytes before the end leads to the record with wider numbers.
	if end := size - int64(len(block)) + int64(at); end >= 20 {
		var locator [20]byte
		if err := readAt(r, locator[:], end-20); err != nil {
			return err
		}
		if bytes.Equal(locator[:4], []byte("PK\x06\x07")) {
			offset := binary.LittleEndian.Uint64(locator[8:])
			var record [56]byte
			if offset <= uint64(size) && size-int64(offset) >= int64(len(record)) {
				if err := readAt(r, record[:], int64(offset)); err != nil {
					return err
				}
				count = max(count, binary.LittleEndian.Uint64(record[32:]))
			}
		}
	}
	if count > maxEntries {
		return fmt.Errorf("the archive claims %d entries, more than %d", count, maxEntries)
	}
	return nil
}
