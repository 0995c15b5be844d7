package formats

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrExists says that what is to be written is there already.
var ErrExists = errors.New("exists already")

// ErrNotOurs says that a folder holds something that [Write] has not written.
var ErrNotOurs = errors.New("holds other files; choose an empty or new folder")

// manifestFile marks a folder that [Write] made. Its dot hides it from those who list pictures or shards.
const manifestFile = ".relsim-data.json"

// manifestFormat is the first field of every manifest.
const manifestFormat = "relsim data 1"

// manifest says which files of a folder are ours.
type manifest struct {
	Format string `json:"format"` // always manifestFormat
	Files  int    `json:"files"`
	Names  string `json:"names"` // SHA-256 of the sorted paths, each with a line end, in hex
}

// staging is where an output goes: files and folders that are made beside, and moved there together.
type staging struct {
	force bool
	moves []stagedMove
	above []string // folders that were made for it, the outermost first
}

type stagedMove struct {
	staged, final string
	folder        bool
	aside         string // where what was there before waits, in a folder of its own; "": there was nothing
	done          bool
}

// add makes room for a file, or a folder, that will be moved to path, and returns where to write it.
func (p *staging) add(path string, folder bool) (string, error) {
	final, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if err := replaceable(final, folder, p.force); err != nil {
		return "", err
	}
	if err := p.makeAbove(filepath.Dir(final)); err != nil {
		return "", err
	}
	name := "." + filepath.Base(final) + ".partial-*"
	var staged string
	if folder {
		staged, err = os.MkdirTemp(filepath.Dir(final), name)
	} else {
		var f *os.File
		if f, err = os.CreateTemp(filepath.Dir(final), name); err == nil {
			staged, err = f.Name(), f.Close()
		}
	}
	if err != nil {
		return "", err
	}
	p.moves = append(p.moves, stagedMove{staged: staged, final: final, folder: folder})
	return staged, nil
}

// makeAbove makes the folders that an output stands in, and notes which ones were not there.
func (p *staging) makeAbove(dir string) error {
	var missing []string
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil || !errors.Is(err, fs.ErrNotExist) || d == filepath.Dir(d) {
			break
		}
		missing = append(missing, d)
	}
	slices.Reverse(missing)
	for _, d := range missing {
		if err := os.Mkdir(d, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		p.above = append(p.above, d)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is not a folder", dir)
	}
	return nil
}

// replaceable returns an error unless path may become an output: because nothing is there, or an empty folder, or by
// force an earlier file, or a folder that Write has made and nobody has added to.
func replaceable(path string, folder, force bool) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !folder {
		switch {
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is no regular file", path)
		case !force:
			return fmt.Errorf("%s: %w", path, ErrExists)
		}
		return nil
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	switch {
	case len(entries) == 0:
		return nil
	case !force:
		return fmt.Errorf("%s: %w", path, ErrExists)
	}
	return isOurs(path)
}

// isOurs returns an error unless a folder holds what its manifest says, and nothing else.
func isOurs(dir string) error {
	var want manifest
	text, err := readRegular(filepath.Join(dir, manifestFile), 1<<16)
	if err != nil || json.Unmarshal(text, &want) != nil || want.Format != manifestFormat {
		return fmt.Errorf("%s: %w", dir, ErrNotOurs)
	}
	have, err := manifestOf(dir)
	if err != nil {
		return err
	}
	if have != want {
		return fmt.Errorf("%s has changed since it was written: %d files, not the %d of then: it %w", dir, have.Files, want.Files, ErrNotOurs)
	}
	return nil
}

// readRegular reads a regular file of at most so many bytes.
func readRegular(path string, most int64) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("%s: not a regular file of at most %d bytes", path, most)
	}
	return os.ReadFile(path)
}

// manifestOf lists what is in a folder, but for the manifest.
func manifestOf(dir string) (manifest, error) {
	var names []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || rel == manifestFile {
			return err
		}
		if rel = filepath.ToSlash(rel); entry.IsDir() {
			rel += "/"
		}
		names = append(names, rel)
		return nil
	})
	if err != nil {
		return manifest{}, err
	}
	slices.Sort(names)
	hash := sha256.New()
	for _, name := range names {
		io.WriteString(hash, name+"\n")
	}
	return manifest{Format: manifestFormat, Files: len(names), Names: hex.EncodeToString(hash.Sum(nil))}, nil
}

// commit moves everything to its place. When one move fails, those before are taken back.
func (p *staging) commit() error {
	for i := range p.moves {
		m := &p.moves[i]
		if !m.folder {
			if err := os.Chmod(m.staged, 0o644); err != nil {
				return err
			}
			continue
		}
		if err := p.finishFolder(m.staged); err != nil {
			return err
		}
	}
	for i := range p.moves {
		if err := p.moves[i].do(p.force); err != nil {
			return errors.Join(err, p.undo())
		}
	}
	var err error
	for _, m := range p.moves {
		err = errors.Join(err, syncFolder(filepath.Dir(m.final)))
		if m.aside != "" {
			err = errors.Join(err, os.RemoveAll(m.aside))
		}
	}
	p.moves, p.above = nil, nil
	return err
}

// finishFolder writes the manifest of a folder, and brings all of it to the disk.
func (p *staging) finishFolder(dir string) error {
	m, err := manifestOf(dir)
	if err != nil {
		return err
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(dir, manifestFile), append(text, '\n')); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	return syncTree(dir)
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// rename is os.Rename; a test puts a failing one in its place.
var rename = os.Rename

// do moves one output to its place. What is there goes aside first.
func (m *stagedMove) do(force bool) error {
	if err := replaceable(m.final, m.folder, force); err != nil { // again: time has passed
		return err
	}
	if _, err := os.Lstat(m.final); err == nil {
		aside, err := os.MkdirTemp(filepath.Dir(m.final), "."+filepath.Base(m.final)+".old-*")
		if err != nil {
			return err
		}
		if err := rename(m.final, filepath.Join(aside, filepath.Base(m.final))); err != nil {
			return errors.Join(err, os.Remove(aside))
		}
		m.aside = aside
	}
	if err := rename(m.staged, m.final); err != nil {
		return errors.Join(err, m.back())
	}
	m.done = true
	return nil
}

// back puts what was there before to its place again.
func (m *stagedMove) back() error {
	if m.aside == "" {
		return nil
	}
	kept := filepath.Join(m.aside, filepath.Base(m.final))
	if err := rename(kept, m.final); err != nil {
		return fmt.Errorf("the earlier output is in %s: %w", kept, err)
	}
	aside := m.aside
	m.aside = ""
	return os.Remove(aside)
}

// undo takes the moves back that were done.
func (p *staging) undo() error {
	var err error
	for i := range p.moves {
		if m := &p.moves[i]; m.done {
			if e := rename(m.final, m.staged); e != nil {
				err = errors.Join(err, e)
				continue
			}
			m.done = false
			err = errors.Join(err, m.back())
		}
	}
	return err
}

// discard removes what was not committed: what is beside, and the folders that were made for it.
func (p *staging) discard() error {
	var err error
	for _, m := range p.moves {
		err = errors.Join(err, os.RemoveAll(m.staged))
	}
	for _, d := range slices.Backward(p.above) {
		if os.Remove(d) != nil { // somebody else uses it by now
			break
		}
	}
	p.moves, p.above = nil, nil
	return err
}

// syncFolder brings the names in a folder to the disk. Not every system can.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	f.Sync()
	return f.Close()
}

// cleanSpec is a destination without a slash at its end, and whether there was one: then it is a folder.
func cleanSpec(dst string) (string, bool) {
	slash := strings.HasSuffix(dst, "/") || strings.HasSuffix(dst, string(filepath.Separator))
	return filepath.Clean(dst), slash
}
