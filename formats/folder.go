package formats

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	stdpath "path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"relsim/dataloader"
	"relsim/regular"
)

// openFolder opens a folder of pictures, those in folders in it included, by their paths. Beside a picture a.jpg may
// stand a.txt with its captions, one a line, and a.json, an object with the keys of JSON lines, as img2dataset writes
// it; captions of the former win. The ID of a picture is its path in the folder, without the ending where no other
// picture has the same. Names that begin with a dot are left out, and so are links to folders; a link to a file that
// lies elsewhere is an error.
func openFolder(ctx context.Context, paths []string, _ Options) (dataloader.Dataset, error) {
	dir := paths[0]
	w := walk{dir: dir, files: make(map[string]bool)}
	var err error
	if w.root, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("formats: open folder: %w", err)
	}
	if w.root, err = filepath.Abs(w.root); err != nil {
		return nil, fmt.Errorf("formats: open folder: %w", err)
	}
	if err := w.list(ctx); err != nil {
		return nil, err
	}
	if len(w.pictures) == 0 {
		return nil, fmt.Errorf("formats: %s: no pictures in the folder: want files that end in %s", dir, strings.Join(extensions, ", "))
	}
	stems := make(map[string]int, len(w.pictures))
	for _, name := range w.pictures {
		stems[withoutEnding(name)]++
	}
	hash := sha256.New()
	items := make([]dataloader.Item, len(w.pictures))
	for i, name := range w.pictures {
		if i%256 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		it, err := w.beside(name)
		if err != nil {
			return nil, fmt.Errorf("formats: %w", err)
		}
		it.ID = withoutEnding(name)
		if stems[it.ID] > 1 {
			it.ID = name
		}
		it.File, it.Path = name, filepath.Join(dir, filepath.FromSlash(name))
		items[i] = it
		said, err := json.Marshal(it.Captions)
		if err != nil {
			return nil, fmt.Errorf("formats: %s: %w", name, err)
		}
		fmt.Fprintf(hash, "%q %q %s %q %q %q %q %q %d %d %d %v %t %t\n", name, it.Caption, said, it.Literal, it.Relation, it.Split,
			it.Pair, it.URL, it.Family, it.Profile, it.Count, it.Ink, it.HeldOut, it.Gravity)
	}
	name := filepath.Base(w.root)
	return dataloader.NewRows(name, hex.EncodeToString(hash.Sum(nil)[:16]), items, nil), nil
}

// walk lists a folder. Names are paths in it, with slashes.
type walk struct {
	dir, root string // as it was named, and where it really is
	pictures  []string
	files     map[string]bool // that may stand beside a picture
}

// list finds pictures, sorted, and the files beside them.
func (w *walk) list(ctx context.Context) error {
	seen := 0
	err := filepath.WalkDir(w.root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if seen++; seen%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if path == w.root {
			return nil
		}
		if strings.HasPrefix(entry.Name(), ".") {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		inside, err := filepath.Rel(w.root, path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(inside)
		picture := dataloader.IsPictureName(name)
		ending := stdpath.Ext(name)
		if beside := ending == ".txt" || ending == ".json"; entry.IsDir() || !picture && !beside {
			return nil
		}
		if entry.Type()&fs.ModeSymlink != 0 {
			if folder, err := w.link(path); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			} else if folder {
				return nil
			}
		}
		if picture {
			w.pictures = append(w.pictures, name)
		} else {
			w.files[name] = true
		}
		return nil
	})
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("formats: list %s: %w", w.dir, err)
	}
	slices.Sort(w.pictures)
	return nil
}

// link follows a link. It is an error if it leads out of the folder; one that leads nowhere is a file that is missing.
func (w *walk) link(path string) (folder bool, err error) {
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if inside, err := filepath.Rel(w.root, target); err != nil || !filepath.IsLocal(inside) {
		return false, errors.New("a link that leads out of the folder")
	}
	info, err := os.Stat(target)
	return err == nil && info.IsDir(), err
}

// beside reads what stands beside a picture. An error names the file, and its line where that is known.
func (w *walk) beside(picture string) (dataloader.Item, error) {
	it := dataloader.Item{Family: -1, Profile: -1}
	stem := withoutEnding(picture)
	if name := stem + ".json"; w.files[name] {
		text, err := w.read(name)
		if err != nil {
			return it, err
		}
		if it, err = parseSidecar(text); err != nil {
			return it, fmt.Errorf("%s: %w", name, err)
		}
	}
	if name := stem + ".txt"; w.files[name] {
		text, err := w.read(name)
		if err != nil {
			return it, err
		}
		list, err := parseCaptions(text)
		if err != nil {
			return it, fmt.Errorf("%s:%w", name, err)
		}
		if len(list) > 0 {
			setCaptions(&it, list)
		}
	}
	return it, nil
}

// read reads a file that stands beside a picture, of at most maxLine bytes.
func (w *walk) read(name string) ([]byte, error) {
	return regular.Read(filepath.Join(w.dir, filepath.FromSlash(name)), maxLine)
}

// parseCaptions reads the captions of a picture, one a line. An error begins with the line.
func parseCaptions(text []byte) ([]string, error) {
	text = bytes.TrimPrefix(text, []byte(byteOrderMark))
	var list []string
	for i, line := range strings.Split(string(text), "\n") {
		if !utf8.ValidString(line) {
			return nil, fmt.Errorf("%d: not UTF-8", i+1)
		}
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	return list, nil
}

// parseSidecar reads the object that stands beside a picture: the keys of JSON lines, and img2dataset's url. What it
// says of the picture's name is passed by.
func parseSidecar(text []byte) (dataloader.Item, error) {
	text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte(byteOrderMark)))
	it, err := parseObject(text)
	if err != nil {
		return it, err
	}
	if it.URL == "" {
		var other struct {
			URL any `json:"url"`
		}
		if err := json.Unmarshal(text, &other); err != nil {
			return it, fmt.Errorf("not a JSON object: %w", err)
		}
		it.URL, _ = other.URL.(string)
	}
	it.ID = ""
	return it, nil
}
