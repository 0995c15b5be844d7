package download

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"relsim/checkpoints"
)

const isWindows = runtime.GOOS == "windows"

// ledger is the open ledger of a run: a file that lines are appended to, and what the last line of each row says.
// Of a row, as little as a run needs is kept in memory.
type ledger struct {
	path    string
	file    ledgerFile
	opened  fs.FileInfo
	size    int64 // bytes that are whole
	entries map[string]entry
	damaged []int // numbers of lines that could not be read
	reasons map[string]string
}

// entry is the last state of a row.
type entry struct {
	status string
	reason string
	tries  int
	bytes  int64
	url    uint64 // urlHash of the address; 0: none
	offset int64  // of its line
}

// ledgerFile is an *os.File. Tests put one in its place that runs full.
type ledgerFile interface {
	io.WriteCloser
	io.Seeker
	Stat() (fs.FileInfo, error)
	Sync() error
	Truncate(size int64) error
}

// openLedger opens the ledger of a folder to append to it, makes it if there is none, and cuts off a line that was
// not finished. A ledger that is mostly lines of the past is written anew. The caller holds the lock of the folder.
func openLedger(dir string) (*ledger, error) {
	l := &ledger{path: filepath.Join(dir, LedgerName), reasons: make(map[string]string)}
	info, err := l.read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l.damaged = info.damaged
	if info.lines > 2*len(l.entries)+1000 {
		if err := l.compact(); err != nil {
			return nil, fmt.Errorf("download: write ledger anew: %w", err)
		}
		if info, err = l.read(); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, fmt.Errorf("download: open ledger: %w", err)
	}
	l.file, l.size = f, info.size
	if l.opened, err = f.Stat(); err == nil && l.opened.Size() > l.size {
		err = f.Truncate(l.size)
	}
	if err == nil {
		_, err = f.Seek(l.size, io.SeekStart)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("download: open ledger: %w", errors.Join(err, f.Close()))
	}
	return l, nil
}

func (l *ledger) read() (ledgerInfo, error) {
	l.entries = make(map[string]entry)
	return readLedger(l.path, func(id string, s State, offset int64, _ []byte) { l.note(id, s, offset) })
}

// note takes in a line.
func (l *ledger) note(id string, s State, offset int64) {
	for _, p := range []*string{&s.Status, &s.Reason} { // few different ones
		if kept, ok := l.reasons[*p]; ok {
			*p = kept
		} else if len(l.reasons) < 10_000 {
			l.reasons[*p] = *p
		}
	}
	e := entry{status: s.Status, reason: s.Reason, tries: s.Tries, bytes: s.Bytes, offset: offset}
	if s.URL != "" {
		e.url = urlHash(s.URL)
	}
	l.entries[id] = e
}

// compact writes the ledger anew, with the last line of each row.
func (l *ledger) compact() error {
	return checkpoints.WriteFile(l.path, func(w io.Writer) error {
		var failed error
		_, err := readLedger(l.path, func(id string, _ State, offset int64, text []byte) {
			if l.entries[id].offset == offset && failed == nil {
				_, failed = w.Write(append(text, '\n'))
			}
		})
		return errors.Join(err, failed)
	})
}

// update is a new state of a row.
type update struct {
	id    string
	state State
}

// append writes new states; they are on the disk when it returns. If it fails, none of them counts.
func (l *ledger) append(updates []update) error {
	var text []byte
	offsets := make([]int64, len(updates))
	for i, u := range updates {
		offsets[i] = l.size + int64(len(text))
		var err error
		if text, err = appendLine(text, u.id, u.state); err != nil {
			return fmt.Errorf("download: write ledger: %w", err)
		}
	}
	_, err := l.file.Write(text)
	if err == nil {
		err = l.file.Sync()
	}
	if err == nil {
		err = l.named()
	}
	if err != nil { // half a line must not stand in the way of what comes later
		if l.file.Truncate(l.size) == nil {
			l.file.Seek(l.size, io.SeekStart)
		}
		return fmt.Errorf("download: write ledger: %w", err)
	}
	l.size += int64(len(text))
	for i, u := range updates {
		l.note(u.id, u.state, offsets[i])
	}
	return nil
}

// named returns an error if the file that is written has not its name any more: someone has moved the folder.
func (l *ledger) named() error {
	info, err := os.Stat(l.path)
	if err != nil {
		return err
	}
	if !os.SameFile(info, l.opened) {
		return fmt.Errorf("%s has been replaced by another file", l.path)
	}
	return nil
}

func (l *ledger) close() error { return l.file.Close() }

// hasPictureEnding tells whether a name ends as pictures do.
func hasPictureEnding(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".png", ".jpg", ".jpeg", ".webp":
		return true
	}
	return false
}
