package formats

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	stdpath "path"
	"path/filepath"
	"strings"

	"relsim/dataloader"
)

// extensions are the endings that are tried, in this order, for an image_hash that has none.
var extensions = []string{".png", ".jpg", ".jpeg", ".webp"}

// imageFolder returns the folder of the pictures of a file of rows: images, or the folder images beside the file, which
// need not be there if the rows are bare.
func imageFolder(path, images string, bare bool) (string, error) {
	beside := images == ""
	if beside {
		images = filepath.Join(filepath.Dir(path), "images")
	}
	info, err := os.Stat(images)
	if beside && bare && errors.Is(err, fs.ErrNotExist) {
		return images, nil
	}
	if err != nil {
		return "", fmt.Errorf("formats: open image folder of %s: %w", path, err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("formats: open image folder of %s: %s is not a folder", path, images)
	}
	return images, nil
}

// findPictures sets the Path of every item from one listing of dir: the picture is dir/<image_hash> with the ending .png,
// .jpg, .jpeg or .webp, or with none when image_hash holds it already. The content, not the ending, says what format it
// is. An item whose picture is not there gets the first name that was looked for.
func findPictures(items []dataloader.Item, dir string) error {
	type found struct {
		name string
		rank int // 0 for the exact name, 1+k for extensions[k]
	}
	wanted := make(map[string]found, len(items))
	for i := range items {
		wanted[items[i].ID] = found{rank: len(extensions) + 1}
	}
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) { // of bare rows
		f, err = nil, nil
	}
	if err != nil {
		return fmt.Errorf("formats: list image folder: %w", err)
	}
	defer f.Close() // which nil allows
	note := func(id, name string, rank int) {
		if best, ok := wanted[id]; ok && (rank < best.rank || rank == best.rank && name < best.name) {
			wanted[id] = found{name, rank}
		}
	}
	for f != nil {
		names, err := f.Readdirnames(4096)
		for _, name := range names {
			note(name, name, 0)
			ext := filepath.Ext(name)
			for k, e := range extensions {
				if strings.EqualFold(ext, e) {
					note(name[:len(name)-len(ext)], name, 1+k)
				}
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("formats: list image folder: %w", err)
		}
	}
	for i := range items {
		it := &items[i]
		name := wanted[it.ID].name
		if name == "" {
			name = it.ID
			if !dataloader.IsPictureName(name) {
				name += extensions[0]
			}
		}
		it.Path = filepath.Join(dir, name)
	}
	return nil
}

// checkHash refuses an image_hash that is more than a file's name: with it a row could have any file of the machine
// read.
func checkHash(hash string) error {
	refuse := func(why string) error {
		if len(hash) > 80 {
			hash = hash[:80]
		}
		return fmt.Errorf(`"image_hash" %q %s: want the name of a file in the image folder`, hash, why)
	}
	switch {
	case strings.ContainsAny(hash, `/\`):
		return refuse("holds a path separator")
	case strings.Contains(hash, ".."):
		return refuse(`holds ".."`)
	case hash == ".":
		return refuse("is a folder")
	case len(hash) > 255:
		return refuse("is longer than 255 bytes")
	case filepath.IsAbs(hash) || filepath.VolumeName(hash) != "":
		return refuse("is absolute")
	}
	for _, r := range hash {
		if r < ' ' || r == 0x7f {
			return refuse("holds a control character")
		}
	}
	return nil
}

// checkPath returns the path of a picture in the image folder, with slashes and as short as it can be. An absolute one
// is taken: [findFiles] asks whether it lies in the folder.
func checkPath(path string) (string, error) {
	shown := path
	if len(shown) > 80 {
		shown = shown[:80]
	}
	slashed := strings.ReplaceAll(path, `\`, "/")
	switch {
	case len(path) > 4096:
		return "", fmt.Errorf("%q is longer than 4096 bytes", shown)
	case strings.IndexFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0:
		return "", fmt.Errorf("%q holds a control character", shown)
	case stdpath.Clean(slashed) == ".":
		return "", fmt.Errorf("%q is a folder", shown)
	case filepath.IsAbs(path):
		return filepath.ToSlash(filepath.Clean(path)), nil
	case !filepath.IsLocal(filepath.FromSlash(slashed)) || strings.HasPrefix(slashed, "/") || filepath.VolumeName(path) != "":
		return "", fmt.Errorf("%q leads out of the image folder", shown)
	}
	return stdpath.Clean(slashed), nil
}

// withoutEnding returns a path without the ending of a picture.
func withoutEnding(path string) string {
	stem := path[:len(path)-len(filepath.Ext(path))]
	if !dataloader.IsPictureName(path) || stem == "" || strings.HasSuffix(stem, "/") { // .png is a name
		return path
	}
	return stem
}

// betterFolder returns the folder that holds more of the first files; a where both hold as many.
func betterFolder(files []string, a, b string) string {
	const most = 100
	held := func(dir string) (n int) {
		for _, file := range files[:min(most, len(files))] {
			if info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(file))); err == nil && info.Mode().IsRegular() {
				n++
			}
		}
		return n
	}
	if held(b) > held(a) {
		return b
	}
	return a
}

// findFiles sets the Path of every item from the path of its picture in the folder dir. Where that has no ending of a
// picture, it is found as [findPictures] does it. Absolute paths have to lie in dir; then IDs are made of what follows.
func findFiles(items []dataloader.Item, files []string, dir string) error {
	root, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("formats: %w", err)
	}
	short := make(map[string][]int) // items whose pictures have no ending, by their folder
	for i, file := range files {
		it := &items[i]
		if native := filepath.FromSlash(file); filepath.IsAbs(native) {
			inside, err := filepath.Rel(root, native)
			if err != nil || !filepath.IsLocal(inside) {
				return fmt.Errorf("formats: %s: %s lies outside of the image folder %s", it.Row(), file, root)
			}
			if it.ID == withoutEnding(file) {
				it.ID = withoutEnding(filepath.ToSlash(inside))
			}
			file = filepath.ToSlash(inside)
		}
		it.Path = filepath.Join(dir, filepath.FromSlash(file))
		if !dataloader.IsPictureName(file) {
			folder := filepath.Dir(it.Path)
			short[folder] = append(short[folder], i)
		}
	}
	for folder, indices := range short {
		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			continue // the pictures are missing
		}
		named := make([]dataloader.Item, len(indices))
		for k, i := range indices {
			named[k].ID = filepath.Base(items[i].Path)
		}
		if err := findPictures(named, folder); err != nil {
			return err
		}
		for k, i := range indices {
			items[i].Path = named[k].Path
		}
	}
	return nil
}
