package formats

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"relsim/dataloader"
)

// Whatever an ID is, the names that are made of it stay in their folder and are taken by readers.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"", "a", "a.b", "../a", "/etc/passwd", `c:\x`, ".", "..", "...", "a/../b", "__x__", "-rf", "\x00", "\xff\xfe", "a.png", "%41", "ü", strings.Repeat("é", 400), "a/b/c", "a//b", strings.Repeat("a/", 40)} {
		f.Add(s)
	}
	// As webdataset has it: the key is what stands before the first dot, and names between underscores are not samples.
	sample := regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	f.Fuzz(func(t *testing.T, id string) {
		name := fileID(id)
		if err := checkHash(name); err != nil || !utf8.ValidString(name) || len(name) > maxName || name == "" {
			t.Errorf("file %q of %q: %v", name, id, err)
		}
		if name != id && utf8.ValidString(id) && id != "" && len(id) <= maxName && checkHash(id) == nil && id != manifestFile {
			t.Errorf("%q became %q without need", id, name)
		}
		path := pathID(id)
		if !filepath.IsLocal(filepath.FromSlash(path)) || filepath.ToSlash(filepath.Clean(path)) != path || strings.HasPrefix(path, ".") || strings.Contains(path, "/.") {
			t.Errorf("path %q of %q", path, id)
		}
		key := sampleKey(id)
		if !sample.MatchString(key) || len(key) > maxKey || strings.HasPrefix(key, "__") || key[0] == '-' {
			t.Errorf("key %q of %q", key, id)
		}
	})
}

// Two IDs have two keys, and two keys of one ID differ.
func TestSampleKeys(t *testing.T) {
	keys := newSampleKeys()
	seen := map[string]string{}
	for _, id := range []string{"a", "a", "a-2", "a", "a.b", "a_b", "a.b", "a b", "", "", "__a", "-a", "a" + strings.Repeat("b", 100), "a" + strings.Repeat("b", 101)} {
		key := keys.of(id)
		if old, ok := seen[key]; ok {
			t.Errorf("%q and %q have the key %q", old, id, key)
		}
		seen[key] = id
	}
	if got := newSampleKeys().of("0cd15aefad84d78777c0a58e1d7a1267"); got != "0cd15aefad84d78777c0a58e1d7a1267" {
		t.Errorf("a hash became %q", got)
	}
}

// A caption that is written is read again: but for quotes inside of quotes of all kinds.
func FuzzProtected(f *testing.F) {
	for _, s := range []string{"a", `"a"`, `"a".`, `'"a"'`, "“a”", "‘it’s’", "a\nb", `"`, `""`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var it dataloader.Item
		setCaptions(&it, []string{s})
		if it.Caption == "" || strings.ContainsAny(it.Caption, `'"`) && strings.ContainsAny(it.Caption, "“”‘’") {
			return
		}
		was := it.Caption
		setCaptions(&it, []string{protected(was)})
		if it.Caption != was && !(strings.Contains(was, `"`) && strings.Contains(was, "'")) {
			t.Errorf("%q is read as %q", was, it.Caption)
		}
	})
}
