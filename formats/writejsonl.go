package formats

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"strings"

	"relsim/dataloader"
)

// rowFile is a file that is written, packed by gzip where its name says so.
type rowFile struct {
	*bufio.Writer
	zip  *gzip.Writer
	file *os.File
}

// createRows opens the file at path; name is the one that it will have.
func createRows(path, name string) (*rowFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	r := &rowFile{file: f}
	var to io.Writer = f
	if strings.HasSuffix(strings.ToLower(name), ".gz") {
		r.zip = gzip.NewWriter(f) // without a name and a time: the same rows give the same bytes
		to = r.zip
	}
	r.Writer = bufio.NewWriterSize(to, 1<<16)
	return r, nil
}

func (f *rowFile) close() error {
	err := f.Flush()
	if f.zip != nil {
		err = errors.Join(err, f.zip.Close())
	}
	if err == nil {
		err = f.file.Sync()
	}
	return errors.Join(err, f.file.Close())
}

// keep stores the picture of a row in the folder of pictures, and gives the row the ID that it has there.
func (l *layout) keep(it *dataloader.Item, p loaded, w *Written) (name string, err error) {
	if l.refer != "" {
		return "", l.referByID(it)
	}
	if l.store == nil {
		if id := fileID(it.ID); id != it.ID {
			it.ID = id
			w.Renamed++
		}
		return "", nil
	}
	files, bytes := l.store.files, l.store.bytes
	at, err := l.store.put(it.ID, p)
	if err != nil {
		return "", err
	}
	if at.id != it.ID {
		it.ID = at.id
		w.Renamed++
	}
	w.Pictures += l.store.files - files
	w.Bytes += l.store.bytes - bytes
	return at.name, nil
}

// jsonlSink writes rows as JSON objects.
type jsonlSink struct {
	l    *layout
	w    *Written
	file *rowFile
	line bytes.Buffer
}

func (l *layout) openJSONL(part Part, w *Written) (sink, error) {
	staged, final := l.rowsFile(part)
	w.Path, w.Images = final, l.images
	f, err := createRows(staged, final)
	if err != nil {
		return nil, err
	}
	return &jsonlSink{l: l, w: w, file: f}, nil
}

func (s *jsonlSink) add(it dataloader.Item, p loaded) error {
	s.line.Reset()
	if err := appendRow(&s.line, &it); err != nil { // before the picture is stored
		return unfit{err}
	}
	id := it.ID
	if _, err := s.l.keep(&it, p, s.w); err != nil {
		return err
	}
	if it.ID != id {
		s.line.Reset()
		if err := appendRow(&s.line, &it); err != nil {
			return err
		}
	}
	s.line.WriteByte('\n')
	_, err := s.file.Write(s.line.Bytes())
	return err
}

func (s *jsonlSink) close() error { return s.file.close() }
