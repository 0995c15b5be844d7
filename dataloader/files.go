package dataloader

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Files returns the set of the pictures in some files. The ID of each is its path; nothing else is known of it. A
// file that is missing or broken is an error only when its picture is asked for.
func Files(name string, paths []string) Dataset {
	d := &rows{name: name}
	hash := sha256.New()
	for _, path := range paths {
		fmt.Fprintf(hash, "%q\n", path)
		d.items = append(d.items, Item{ID: path, Path: path, Family: -1, Profile: -1})
	}
	d.fingerprint = hex.EncodeToString(hash.Sum(nil)[:16])
	return d
}

// ListPictures returns the paths of the pictures in a folder, by their names: files that end in .png, .jpg,
// .jpeg or .webp. Folders in it are not looked into, and names that begin with a dot are left out.
func ListPictures(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return nil, fmt.Errorf("dataloader: list pictures: %w", err)
	}
	var paths []string
	for _, entry := range entries {
		if name := entry.Name(); !entry.IsDir() && !strings.HasPrefix(name, ".") && IsPictureName(name) {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	return paths, nil
}

// extensions are the endings of pictures.
var extensions = []string{".png", ".jpg", ".jpeg", ".webp"}

// IsPictureName reports whether the name of a file ends as those of pictures do: in .png, .jpg, .jpeg or .webp.
func IsPictureName(name string) bool {
	for _, e := range extensions {
		if strings.EqualFold(filepath.Ext(name), e) {
			return true
		}
	}
	return false
}
