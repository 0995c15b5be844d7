//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package cuda

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"relsim/dynlib"
)

// toolkit is a library that comes with CUDA's toolkit, or with Python's packages of it, and not with the driver.
type toolkit struct {
	name     string   // as people know it
	env      string   // variable that names its file
	versions []string // of the file's name, newest first
	file     func(version string) string
}

// open opens the library: the one that the environment names, or else the first of those that are found. The error says
// where it was looked for.
func (k toolkit) open() (*dynlib.Library, error) {
	if given := os.Getenv(k.env); given != "" {
		lib, err := dynlib.Open(given)
		if err != nil {
			return nil, fmt.Errorf("cuda: %w: %s (%s=%s): %w", ErrUnavailable, k.name, k.env, given, err)
		}
		return lib, nil
	}
	// Names alone are what the loader searches for; a path is tried only where a file is.
	var names []string
	for _, version := range k.versions {
		names = append(names, k.file(version))
	}
	folders := toolkitFolders()
	for _, version := range k.versions {
		for _, folder := range folders {
			if path := filepath.Join(folder, k.file(version)); isFile(path) {
				names = append(names, path)
			}
		}
	}
	lib, err := dynlib.Open(names...)
	if err != nil {
		return nil, fmt.Errorf("cuda: %w: %s is not installed, or not where it is looked for: the loader's folders, %s (%s names its file): %w",
			ErrUnavailable, k.name, strings.Join(append(folders, toolkitHints...), ", "), k.env, err)
	}
	return lib, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// existing returns the folders that the patterns match, without repetition; those of later versions first where one pattern
// matches several.
func existing(patterns ...string) []string {
	var folders []string
	for _, pattern := range patterns {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			continue
		}
		slices.SortFunc(matches, func(a, b string) int { return strings.Compare(b, a) })
		for _, match := range matches {
			if info, err := os.Stat(match); err == nil && info.IsDir() && !slices.Contains(folders, match) {
				folders = append(folders, match)
			}
		}
	}
	return folders
}

// under joins the value of each environment variable that is set with each of the paths.
func under(variables []string, paths ...string) []string {
	var list []string
	for _, variable := range variables {
		if root := os.Getenv(variable); root != "" {
			for _, path := range paths {
				list = append(list, filepath.Join(root, path))
			}
		}
	}
	return list
}
