package formats

import (
	"container/list"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// mostOpen bounds the files of a data set that are open at a time.
const mostOpen = 64

// openFiles reads at any place of many files, of which few are open at a time: those read last. Its methods may be called
// from several goroutines.
type openFiles struct {
	mu    sync.Mutex
	files []*openedFile
	last  list.List // of open *openedFile, the one read last in front
}

// openedFile is one of them, as it was when it was added: one that is another by now is not read.
type openedFile struct {
	path    string
	size    int64
	changed time.Time

	f     *os.File // nil: not open
	users int
	place *list.Element // nil: not open, or being closed
}

var errChanged = errors.New("the file has changed since the data set was opened")

// add adds a file, and returns its number.
func (o *openFiles) add(path string) (int, os.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, nil, err
	}
	if !info.Mode().IsRegular() {
		return 0, nil, fmt.Errorf("%s: not a regular file", path)
	}
	o.files = append(o.files, &openedFile{path: path, size: info.Size(), changed: info.ModTime()})
	return len(o.files) - 1, info, nil
}

// acquire opens file k, if it is not.
func (o *openFiles) acquire(k int) (*os.File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.files[k]
	if f.f == nil {
		file, err := os.Open(f.path)
		if err != nil {
			return nil, err
		}
		info, err := file.Stat()
		if err == nil && (info.Size() != f.size || !info.ModTime().Equal(f.changed)) {
			err = errChanged
		}
		if err != nil {
			file.Close()
			return nil, err
		}
		f.f, f.place = file, o.last.PushFront(f)
		for at := o.last.Back(); at != nil && o.last.Len() > mostOpen; {
			old, before := at.Value.(*openedFile), at.Prev()
			if old.users == 0 && old != f {
				o.last.Remove(at)
				old.f.Close()
				old.f, old.place = nil, nil
			}
			at = before
		}
	} else {
		o.last.MoveToFront(f.place)
	}
	f.users++
	return f.f, nil
}

func (o *openFiles) release(k int) {
	o.mu.Lock()
	o.files[k].users--
	o.mu.Unlock()
}

// readAt fills b from a place in file k.
func (o *openFiles) readAt(k int, b []byte, at int64) error {
	f, err := o.acquire(k)
	if err != nil {
		return err
	}
	defer o.release(k)
	n, err := f.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// fileReader reads at any place of one of the files.
type fileReader struct {
	files *openFiles
	k     int
}

func (r fileReader) ReadAt(b []byte, at int64) (int, error) {
	f, err := r.files.acquire(r.k)
	if err != nil {
		return 0, err
	}
	defer r.files.release(r.k)
	return f.ReadAt(b, at)
}
