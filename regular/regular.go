// Package regular opens regular files and nothing else: opening a pipe would wait for who writes to it, and a device has no
// end.
package regular

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

var errOther = errors.New("not a regular file")

// Open opens a file to read, and returns its size. The error is a [*fs.PathError].
func Open(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, &fs.PathError{Op: "open", Path: path, Err: errOther}
	}
	f, err := os.Open(path)
	return f, info.Size(), err
}

// Read reads a file of at most so many bytes. More is an error, also where it grows meanwhile.
func Read(path string, most int64) ([]byte, error) {
	f, size, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > most {
		return nil, fmt.Errorf("%s: %d bytes, at most %d are allowed", path, size, most)
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s: more than %d bytes, which are allowed", path, most)
	}
	return data, err
}
