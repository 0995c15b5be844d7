//go:build linux && amd64

package fake

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// keptDrivers is the number of built drivers that the cache keeps.
const keptDrivers = 8

// cached makes a file by build, or copies what an earlier build of the same parts left in the user's cache: every test of a
// package builds the driver in a process of its own. Trouble with the cache costs time, and nothing else.
func cached(path string, parts []string, build func() error) error {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d\n%s", len(part), part)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return build()
	}
	folder := filepath.Join(base, "relsim", "fake")
	entry := filepath.Join(folder, hex.EncodeToString(h.Sum(nil))+".so")
	if copyFile(path, entry) == nil {
		return nil
	}
	if err := build(); err != nil {
		return err
	}
	if os.MkdirAll(folder, 0o700) == nil && copyFile(entry, path) == nil {
		forget(folder)
	}
	return nil
}

// copyFile writes beside and renames: tests of several packages run at a time.
func copyFile(to, from string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(to), ".fake*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o700)
	}
	if err == nil {
		err = os.Rename(f.Name(), to)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// forget removes all but the newest entries of the cache.
func forget(folder string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	var infos []fs.FileInfo
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && strings.HasSuffix(entry.Name(), ".so") {
			infos = append(infos, info)
		}
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for _, info := range infos[min(keptDrivers, len(infos)):] {
		os.Remove(filepath.Join(folder, info.Name()))
	}
}
