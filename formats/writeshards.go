package formats

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"relsim/dataloader"
)

// maxKey bounds the key of a sample, so that names need no extended headers.
const maxKey = 80

// sampleKeys gives the samples of shards their keys.
type sampleKeys struct {
	taken map[string]bool
	next  map[string]int
}

func newSampleKeys() *sampleKeys { return &sampleKeys{map[string]bool{}, map[string]int{}} }

// of returns a key of its own for an ID: the ID itself where it is made of letters, digits, - and _ alone. WebDataset cuts
// names at their first dot, and a key is a file's name where shards are unpacked.
func (k *sampleKeys) of(id string) string {
	base := sampleKey(id)
	key := base
	for k.taken[key] {
		n := max(k.next[base], 2)
		k.next[base] = n + 1
		key = fmt.Sprintf("%s-%d", base, n)
	}
	k.taken[key] = true
	return key
}

func sampleKey(id string) string {
	mapped := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '_'
	}, id)
	// Names that begin with two underscores are metadata to WebDataset, and with - options to programs.
	if mapped == id && id != "" && len(id) <= maxKey && !strings.HasPrefix(id, "__") && id[0] != '-' {
		return id
	}
	mapped = strings.Trim(mapped, "_-")
	return strings.TrimPrefix(mapped[:min(len(mapped), maxKey-17)]+"-"+hashHex(id), "-")
}

// cutter numbers the files of an output that is cut into several, and counts what each holds.
type cutter struct {
	l      *layout
	w      *Written
	dir    string // "": the output is a single file
	size   int64  // of a shard, in bytes
	rows   int
	number int // of the next one
	inRows int
	inSize int64
}

// openCut prepares the shards of a part.
func (l *layout) openCut(part Part, o WriteOptions, w *Written) (cutter, error) {
	s := cutter{l: l, w: w, size: o.ShardSize, rows: o.ShardRows}
	if s.size == 0 {
		s.size = DefaultShardSize
	}
	if s.rows == 0 {
		s.rows = DefaultShardRows
	}
	if l.file != "" {
		w.Path = l.file
		return s, nil
	}
	var err error
	s.dir, w.Path, err = l.partFolder(part)
	return s, err
}

// full reports whether a row of so many bytes begins a new shard.
func (s *cutter) full(n int) bool {
	return s.dir != "" && s.inRows > 0 && (s.inRows >= s.rows || s.inSize+int64(n) > s.size)
}

// create opens the next shard.
func (s *cutter) create() (*os.File, error) {
	path := s.l.stagedFile
	if s.dir != "" {
		path = filepath.Join(s.dir, s.l.shards.name(s.number))
	}
	s.number++
	s.w.Shards++
	s.inRows, s.inSize = 0, 0
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
}

func (s *cutter) count(n int) {
	s.inRows++
	s.inSize += int64(n)
	s.w.Pictures++
	s.w.Bytes += int64(n)
}

// tarSink writes samples into tar files as WebDataset reads them: key.jpg (or .png, .webp), key.txt with the first
// caption, key.json with the row.
type tarSink struct {
	cutter
	keys *sampleKeys
	json bytes.Buffer
	file *os.File
	buf  *bufio.Writer
	tar  *tar.Writer
}

func (l *layout) openShards(part Part, o WriteOptions, w *Written) (sink, error) {
	cut, err := l.openCut(part, o, w)
	return &tarSink{cutter: cut, keys: newSampleKeys()}, err
}

func (s *tarSink) add(it dataloader.Item, p loaded) error {
	if id := fileID(it.ID); id != it.ID { // so that a shard can become rows that name files
		it.ID = id
		s.w.Renamed++
	}
	s.json.Reset()
	if err := appendRow(&s.json, &it); err != nil {
		return unfit{err}
	}
	if s.full(len(p.data)) {
		if err := s.finish(); err != nil {
			return err
		}
	}
	if s.file == nil {
		if err := s.begin(); err != nil {
			return err
		}
	}
	key := s.keys.of(it.ID)
	for _, m := range []struct {
		ext  string
		data []byte
	}{{p.ext, p.data}, {".txt", []byte(protected(it.Caption))}, {".json", s.json.Bytes()}} {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: key + m.ext, Size: int64(len(m.data)), Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if err := s.tar.WriteHeader(h); err != nil {
			return err
		}
		if _, err := s.tar.Write(m.data); err != nil {
			return err
		}
	}
	s.count(len(p.data))
	return nil
}

// begin opens the next shard.
func (s *tarSink) begin() error {
	f, err := s.create()
	if err != nil {
		return err
	}
	s.file, s.buf = f, bufio.NewWriterSize(f, 1<<16)
	s.tar = tar.NewWriter(s.buf)
	return nil
}

// finish ends a shard.
func (s *tarSink) finish() error {
	if s.file == nil {
		return nil
	}
	err := errors.Join(s.tar.Close(), s.buf.Flush())
	if err == nil {
		err = s.file.Sync()
	}
	err = errors.Join(err, s.file.Close())
	s.file = nil
	return err
}

func (s *tarSink) close() error {
	if s.number == 0 { // no rows
		if err := s.begin(); err != nil {
			return err
		}
	}
	return s.finish()
}
