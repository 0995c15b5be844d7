package formats

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// mostFiles bounds the files that one name stands for.
const mostFiles = 1 << 20

// Expand returns the files that the name of a data set stands for, as WebDataset writes them: "a.tar::b.tar" are two,
// "{000000..000113}.tar" are 114, and "{train,val}.tar" are two. "*.tar" are those that are there, by name. What is there under the name as it stands is that.
func Expand(spec string) ([]string, error) {
	if spec == "" {
		return nil, fmt.Errorf("formats: the name of a data set is empty")
	}
	if _, err := os.Lstat(spec); err == nil {
		return []string{spec}, nil
	}
	var paths []string
	for part := range strings.SplitSeq(spec, "::") {
		if part == "" {
			return nil, fmt.Errorf("formats: %s: an empty name beside %q", spec, "::")
		}
		more, err := braces(part, mostFiles-len(paths))
		if err != nil {
			return nil, fmt.Errorf("formats: %s: %w", spec, err)
		}
		for _, path := range more {
			found, err := glob(path)
			if err != nil {
				return nil, fmt.Errorf("formats: %s: %w", spec, err)
			}
			paths = append(paths, found...)
		}
		if len(paths) > mostFiles {
			return nil, fmt.Errorf("formats: %s: more than %d files", spec, mostFiles)
		}
	}
	return paths, nil
}

// glob returns the files that a name with *, ? or [ stands for, by name; itself where it is one, or has none of these.
func glob(path string) ([]string, error) {
	if !strings.ContainsAny(path, "*?[") {
		return []string{path}, nil
	}
	if _, err := os.Lstat(path); err == nil {
		return []string{path}, nil
	}
	found, err := filepath.Glob(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no file is named like %s", path)
	}
	slices.Sort(found)
	return found, nil
}

// braces returns the names that one with ranges and choices in braces stands for, at most most of them.
func braces(s string, most int) ([]string, error) {
	list := []string{""}
	extend := func(parts []string) error {
		if len(parts) > most/max(len(list), 1) {
			return fmt.Errorf("more than %d files", mostFiles)
		}
		next := make([]string, 0, len(list)*len(parts))
		for _, head := range list {
			for _, part := range parts {
				next = append(next, head+part)
			}
		}
		list = next
		return nil
	}
	for s != "" {
		before, rest, found := strings.Cut(s, "{")
		inside, after, closed := strings.Cut(rest, "}")
		if !found || !closed {
			return list, extend([]string{s})
		}
		if err := extend([]string{before}); err != nil {
			return nil, err
		}
		s = after
		parts, err := choices(inside, most)
		if err != nil {
			return nil, err
		}
		if err := extend(parts); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// choices returns what braces around s stand for: themselves where it is neither a range nor a list.
func choices(s string, most int) ([]string, error) {
	from, to, isRange := strings.Cut(s, "..")
	switch {
	case strings.Contains(s, "{"):
		return nil, fmt.Errorf("braces in braces: {%s}", s)
	case strings.Contains(s, ","):
		return strings.Split(s, ","), nil
	case !isRange:
		return []string{"{" + s + "}"}, nil
	}
	a, errA := strconv.ParseUint(from, 10, 62)
	b, errB := strconv.ParseUint(to, 10, 62)
	if errA != nil || errB != nil {
		return nil, fmt.Errorf("range {%s}: want two numbers, such as {000000..000113}", s)
	}
	width := 0
	if len(from) > 1 && from[0] == '0' || len(to) > 1 && to[0] == '0' {
		width = max(len(from), len(to))
	}
	low, high := min(a, b), max(a, b)
	if high-low >= uint64(most) {
		return nil, fmt.Errorf("range {%s}: more than %d files", s, mostFiles)
	}
	list := make([]string, high-low+1)
	for i := range list {
		n := low + uint64(i)
		if a > b {
			n = high - uint64(i)
		}
		list[i] = fmt.Sprintf("%0*d", width, n)
	}
	return list, nil
}

// Absolute returns the name of a data set with absolute paths: of all files that are joined in it.
func Absolute(spec string) (string, error) {
	parts := []string{spec}
	if _, err := os.Lstat(spec); err != nil {
		parts = strings.Split(spec, "::")
	}
	for i, part := range parts {
		absolute, err := filepath.Abs(part)
		if err != nil {
			return "", fmt.Errorf("formats: %w", err)
		}
		parts[i] = absolute
	}
	return strings.Join(parts, "::"), nil
}

// Stem is a short name for a data set, which a file may have: that of its first file without the ending, or of the
// folder.
func Stem(spec string) string {
	first, _, _ := strings.Cut(spec, "::")
	if absolute, err := filepath.Abs(first); err == nil {
		first = absolute // "." has no name of its own
	}
	base := filepath.Base(first)
	for _, ending := range []string{".gz", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".parquet", ".tar"} {
		if stem := strings.TrimSuffix(base, ending); stem != "" {
			base = stem
		}
	}
	stem := strings.Trim(strings.Map(func(r rune) rune {
		if strings.ContainsRune(`{}*?:"<>|\/`, r) || r < ' ' {
			return '-'
		}
		return r
	}, base), "-")
	if stem == "" || stem == "." {
		return "data"
	}
	return stem
}
