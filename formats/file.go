package formats

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"relsim/regular"
)

// A packed file may hold so many bytes, and beyond that so many times its own: no list of rows is packed tighter.
const (
	freeBytes  = 64 << 20
	mostPacked = 100
)

// file is an open file of rows, unpacked where it is packed by gzip.
type file struct {
	*bufio.Reader
	closers []io.Closer
}

// openFile opens a regular file: another, such as a pipe, would block.
func openFile(path string) (*file, error) {
	f, size, err := regular.Open(path)
	if err != nil {
		return nil, errors.Unwrap(err) // the caller says the path
	}
	r := &file{bufio.NewReaderSize(f, 64<<10), []io.Closer{f}}
	if magic, _ := r.Peek(2); !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return r, nil
	}
	z, err := gzip.NewReader(r.Reader)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("unpack: %w", err)
	}
	most := max(freeBytes, mostPacked*size)
	r.Reader = bufio.NewReaderSize(&bounded{z, most, most}, 64<<10)
	r.closers = append(r.closers, z)
	return r, nil
}

func (f *file) Close() error {
	var err error
	for _, c := range f.closers {
		err = errors.Join(err, c.Close())
	}
	return err
}

// head returns the first bytes, without a mark of the order of bytes. They are read again.
func (f *file) head() ([]byte, error) {
	head, err := f.Peek(headBytes)
	if err != nil && err != io.EOF {
		return nil, err
	}
	return bytes.TrimPrefix(head, []byte(byteOrderMark)), nil
}

// byteOrderMark begins some files of UTF-8.
const byteOrderMark = "\xef\xbb\xbf"

// bounded passes on so many bytes, and then fails.
type bounded struct {
	r          io.Reader
	left, most int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("unpack: more than %d bytes, which no list of rows of this length holds", b.most)
	}
	if err != nil && err != io.EOF {
		err = fmt.Errorf("unpack: %w", err)
	}
	return n, err
}

// plainName returns the name of a file in lower case, without the ending of a packed one.
func plainName(path string) string {
	return strings.TrimSuffix(strings.ToLower(filepath.Base(path)), ".gz")
}
