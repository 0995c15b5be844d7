//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package cuda

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
			return nil, missingf("cuda: %s (%s=%s): %v", k.name, k.env, given, err)
		}
		return lib, nil
	}
	driver := 0
	if d, err := opened(); err == nil {
		driver = d.version
	}
	folders := toolkitFolders("")
	lib, failed := openFirst(k.names(folders, driver))
	if lib != nil {
		return lib, nil
	}
	return nil, missingf("cuda: %s is not installed, or not where it is looked for: the loader's folders, %s (%s names its file)%s",
		k.name, strings.Join(toolkitHints, ", "), k.env, failed)
}

// names returns what is to be opened, the best first: names alone, which the loader searches for, and then files that are there,
// folder by folder. Versions that are newer than the driver's come after all others: as a rule it refuses them.
func (k toolkit) names(folders []string, driver int) []string {
	var names []string
	add := func(newer bool) {
		var versions []string
		for _, version := range k.versions {
			if (driver > 0 && major(version) > driver/1000) == newer {
				versions = append(versions, version)
				names = append(names, k.file(version))
			}
		}
		for _, folder := range folders {
			for _, version := range versions {
				if path := filepath.Join(folder, k.file(version)); isFile(path) {
					names = append(names, path)
				}
			}
		}
	}
	add(false)
	add(true)
	return names
}

// major is the first number of a version in a name: 12 of "12", "12.4" and of "124", as Windows has it; 0 of none.
func major(version string) int {
	digits, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	if n >= 100 {
		return n / 10
	}
	return n
}

// openFirst opens the first of several names that can be opened. Otherwise failed says why those cannot that are there.
func openFirst(names []string) (lib *dynlib.Library, failed string) {
	for _, name := range names {
		lib, err := dynlib.Open(name)
		if err == nil {
			return lib, ""
		}
		if !absent(name, err) {
			failed += ": " + err.Error()
		}
	}
	return nil, failed
}

// absent says whether an error of a name alone is that there is no such library, and not that it lacks another one.
func absent(name string, err error) bool {
	text := err.Error()
	return !strings.ContainsAny(name, `/\\`) && (strings.HasPrefix(text, name+": cannot open") || strings.Contains(text, "could not be found"))
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
		slices.SortFunc(matches, func(a, b string) int { return compareVersions(b, a) })
		for _, match := range matches {
			if info, err := os.Stat(match); err == nil && info.IsDir() && !slices.Contains(folders, match) {
				folders = append(folders, match)
			}
		}
	}
	return folders
}

// compareVersions orders names with numbers by the numbers: python3.9 before python3.12.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		n, m := leadingDigits(a), leadingDigits(b)
		if n == 0 || m == 0 {
			if a[0] != b[0] {
				return int(a[0]) - int(b[0])
			}
			a, b = a[1:], b[1:]
			continue
		}
		x, y := strings.TrimLeft(a[:n], "0"), strings.TrimLeft(b[:m], "0")
		if c := cmp.Or(len(x)-len(y), strings.Compare(x, y)); c != 0 {
			return c
		}
		a, b = a[n:], b[m:]
	}
	return len(a) - len(b)
}

func leadingDigits(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789"))
}

// pythons returns the folders of PATH that have a Python. So a virtual environment is found that has not been activated.
func pythons(file string) []string {
	var folders []string
	for _, folder := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.IsAbs(folder) && isFile(filepath.Join(folder, file)) {
			folders = append(folders, folder)
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
