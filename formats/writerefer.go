package formats

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"relsim/dataloader"
)

// PictureFolder returns the folder in which, or below which, all pictures of a data set lie as files of their own: what
// [WriteOptions].Refer wants. It is "" where pictures are inside of other files, or have no folder in common.
func PictureFolder(ds dataloader.Dataset) string {
	var common []string
	for i := range ds.Len() {
		it := ds.Item(i)
		if it.Path == "" || it.Member != "" {
			return ""
		}
		dir := filepath.Dir(it.Path)
		if it.Group != "" && filepath.Base(dir) == "group_"+it.Group {
			dir = filepath.Dir(dir)
		}
		parts := strings.Split(filepath.ToSlash(dir), "/")
		if i == 0 {
			common = parts
			continue
		}
		n := 0
		for n < min(len(parts), len(common)) && parts[n] == common[n] {
			n++
		}
		common = common[:n]
	}
	switch {
	case len(common) == 0:
		return ""
	case len(common) == 1 && common[0] == "":
		return string(filepath.Separator)
	}
	return filepath.FromSlash(strings.Join(common, "/"))
}

// link makes images in a folder a link to another folder, relative to the place that the former will have, so that both can
// be moved together. Where the system has no links it reports false.
func link(folder, staged, final string) (bool, error) {
	info, err := os.Stat(folder)
	if err != nil {
		return false, err
	}
	if !info.IsDir() {
		return false, fmt.Errorf("%s is not a folder", folder)
	}
	target, err := filepath.Abs(folder)
	if err != nil {
		return false, err
	}
	if real, err := filepath.EvalSymlinks(target); err == nil {
		target = real
	}
	above, err := filepath.EvalSymlinks(filepath.Dir(staged))
	if err != nil {
		return false, err
	}
	if rel, err := filepath.Rel(filepath.Join(above, filepath.Base(final)), target); err == nil {
		target = rel
	}
	return os.Symlink(target, filepath.Join(staged, imagesName)) == nil, nil
}

// referTo returns the path of an item's picture in the folder that rows refer to.
func (l *layout) referTo(it *dataloader.Item) (string, error) {
	path, err := filepath.Rel(l.refer, it.Path)
	if it.Path == "" || it.Member != "" || err != nil || !filepath.IsLocal(path) {
		return "", unfit{fmt.Errorf("its picture %s is no file in %s, to which the rows refer", it.Picture(), l.refer)}
	}
	return filepath.ToSlash(path), nil
}

// referByID checks that readers find an item's picture by its ID.
func (l *layout) referByID(it *dataloader.Item) error {
	path, err := l.referTo(it)
	switch {
	case err != nil:
		return err
	case strings.Contains(path, "/") || checkHash(it.ID) != nil || path != it.ID && stem(path) != it.ID:
		return unfit{fmt.Errorf("its picture %s is not called by its ID in %s, to which the rows refer: want a table", it.Path, l.refer)}
	}
	return nil
}
