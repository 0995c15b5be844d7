package download

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"relsim/checkpoints"
)

// partPrefix begins the names of files that are not whole.
const partPrefix = ".part-"

// part makes a file beside the pictures, for one that is on its way.
func (r *run) part() (*os.File, error) {
	name := fmt.Sprintf("%s%d-%d", partPrefix, os.Getpid(), r.parts.Add(1))
	r.names.Lock()
	defer r.names.Unlock()
	return os.OpenFile(filepath.Join(r.o.Dir, imagesDir, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
}

// rename moves a file to its place. Names are made one after the other: threads that wait for a folder in the kernel
// spin, and took more time than all else.
func (r *run) rename(from, to string) error {
	r.names.Lock()
	defer r.names.Unlock()
	return os.Rename(from, to)
}

// removeParts removes what a run has left that was ended by force.
func (r *run) removeParts() error {
	for _, pattern := range []string{partPrefix + "*", filepath.Join("*", partPrefix+"*")} {
		left, err := filepath.Glob(filepath.Join(quoteGlob(filepath.Join(r.o.Dir, imagesDir)), pattern))
		if err != nil {
			return err
		}
		for _, path := range left {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("download: %w", err)
			}
		}
	}
	return nil
}

// quoteGlob makes a path a pattern that it alone fits.
func quoteGlob(path string) string {
	if isWindows {
		return path // there is no quoting, and no name has a star
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// store puts a picture at its places, whole and on the disk but for its names in their folders, which are the caller's
// to sync. It returns these folders, and the path of the first place.
func (r *run) store(t *task, k *key, p *picture, b *body) (first string, dirs []string, err error) {
	for _, base := range k.bases {
		name := file(base, p.ext)
		path := filepath.Join(r.o.Dir, filepath.FromSlash(name))
		dir := filepath.Dir(path)
		if first == "" {
			first = name
		}
		old := t.stale
		if t.adopt != "" && strings.TrimSuffix(t.adopt, filepath.Ext(t.adopt)) == strings.TrimSuffix(path, filepath.Ext(path)) {
			old = t.adopt
			if p.note == "" && (path == old || p.ext == ".jpg" && strings.EqualFold(filepath.Ext(old), ".jpeg")) {
				if first == name {
					first = strings.TrimSuffix(name, filepath.Ext(name)) + filepath.Ext(old)
				}
				dirs = append(dirs, dir)
				continue // it lies there
			}
		}
		if err := r.makeDir(dir); err != nil {
			return "", nil, err
		}
		if b != nil && b.file != nil && &p.data[0] == &b.data[0] { // as received, and in a file already
			err = errors.Join(b.file.Sync(), b.file.Close())
			part := b.file.Name()
			b.file = nil
			if err == nil {
				err = r.rename(part, path)
			}
			if err != nil {
				os.Remove(part)
				return "", nil, err
			}
		} else if err := r.write(path, p.data); err != nil {
			return "", nil, err
		}
		dirs = append(dirs, dir)
		if old != "" && filepath.Dir(old) == dir && old != path {
			os.Remove(old) // else readers might prefer it
		}
	}
	return first, dirs, nil
}

// makeDir makes a folder of a group.
func (r *run) makeDir(dir string) error {
	if _, ok := r.dirs.Load(dir); ok {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o777); err == nil {
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return err
		}
	} else if !errors.Is(err, os.ErrExist) {
		return err
	}
	r.dirs.Store(dir, true)
	return nil
}

// write writes a file beside its place, and moves it there when it is whole and on the disk.
func (r *run) write(path string, data []byte) error {
	f, err := r.part()
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = r.rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// keepRows copies the file of rows into the folder, so that the folder can be used without it.
func keepRows(from, dir string) error {
	to := filepath.Join(dir, filepath.Base(from))
	if same(from, to) {
		return nil
	}
	f, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("download: copy rows: %w", err)
	}
	defer f.Close()
	err = checkpoints.WriteFile(to, func(w io.Writer) error {
		_, err := io.Copy(w, f)
		return err
	})
	if err != nil {
		return fmt.Errorf("download: copy rows to %s: %w", to, err)
	}
	return nil
}

// same tells whether two paths are one file, or hold the same.
func same(a, b string) bool {
	ia, err := os.Stat(a)
	if err != nil {
		return false
	}
	ib, err := os.Stat(b)
	if err != nil {
		return false
	}
	if os.SameFile(ia, ib) {
		return true
	}
	if ia.Size() != ib.Size() {
		return false
	}
	fa, err := os.Open(a)
	if err != nil {
		return false
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return false
	}
	defer fb.Close()
	ba, bb := make([]byte, 1<<16), make([]byte, 1<<16)
	for {
		na, erra := io.ReadFull(fa, ba)
		nb, errb := io.ReadFull(fb, bb)
		if na != nb || string(ba[:na]) != string(bb[:nb]) {
			return false
		}
		if erra != nil || errb != nil {
			return erra == errb
		}
	}
}
