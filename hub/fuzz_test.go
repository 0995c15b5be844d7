package hub

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// inside fails unless a path stays in the folder that it is put into.
func inside(t *testing.T, path string) {
	if !filepath.IsLocal(filepath.FromSlash(path)) || strings.ContainsAny(path, "\\\x00") {
		t.Errorf("%q leaves its folder", path)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"openai/clip-vit-large-patch14", "a/b@refs/pr/1", "a/b@../x", "../b", "a--b/c", "a/b.git", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := Parse(s)
		if err != nil {
			return
		}
		inside(t, n.folder())
		inside(t, n.Revision)
		if strings.Count(n.folder(), "--") != 2 || strings.ContainsAny(n.folder(), "/\\:") {
			t.Errorf("%q has the folder %q", s, n.folder())
		}
		if again, err := Parse(n.String()); err != nil || again != n {
			t.Errorf("Parse(%q) = %v, %v; want %v", n, again, err, n)
		}
	})
}

func FuzzList(f *testing.F) {
	const sha = "0123456789abcdef0123456789abcdef01234567"
	f.Add([]byte(`{"sha": "`+sha+`", "siblings": [{"rfilename": "config.json", "size": 2, "blobId": "`+sha+`"},
		{"rfilename": "model.safetensors", "size": 9, "blobId": "`+sha+`", "lfs": {"size": 9, "sha256": "`+strings.Repeat("ab", 32)+`"}},
		{"rfilename": "model.safetensors.index.json"}]}`), []byte(`{"weight_map": {"a": "model.safetensors"}}`))
	f.Add([]byte(`{"sha": "`+sha+`", "siblings": [{"rfilename": "../config.json"}]}`), []byte(`{"weight_map": {"a": "../x"}}`))
	f.Add([]byte(`{"format_version": 1, "files": {"config.json": {"size": 1, "blob_id": "`+sha+`"}}}`), []byte(nil))
	f.Fuzz(func(t *testing.T, text, index []byte) {
		if shards, err := parseIndex(index); err == nil {
			for _, shard := range shards {
				inside(t, shard)
			}
		}
		for _, parse := range []func() (*list, error){
			func() (*list, error) { return parseList(text) },
			func() (*list, error) { return parseTree(sha, text) },
		} {
			l, err := parse()
			if err != nil {
				continue
			}
			inside(t, l.commit)
			for path, f := range l.files {
				inside(t, path)
				if f.hash != "" && (!isHash(f.hash) || f.size < 0) {
					t.Errorf("%q: %+v", path, f)
				}
			}
			if paths, err := l.plan(Name{"a/b", "main"}, index); err == nil {
				for _, path := range paths {
					if _, ok := l.files[path]; !ok {
						t.Errorf("%q is not in the list", path)
					}
				}
			}
			// What is kept is read again as it was.
			kept := l.tree()
			if kept == nil {
				continue
			}
			again, err := parseTree(l.commit, kept)
			if err != nil || len(again.files) != len(l.files) {
				t.Errorf("%s\nis kept as\n%s\n%v", text, kept, err)
				continue
			}
			for path, f := range l.files {
				if got := again.files[path]; got.hash != f.hash || got.size != f.size {
					t.Errorf("%q: %+v is kept as %+v", path, f, got)
				}
			}
		}
	})
}

func FuzzHeaders(f *testing.F) {
	for _, s := range []string{"bytes 5-9/10", "bytes 0-0/*", "bytes 9-5/10", "7", "Fri, 02 Jan 2026 03:04:35 GMT", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if start, total, ok := contentRange(s); ok && (start < 0 || total >= 0 && start >= total) {
			t.Errorf("contentRange(%q) = %d, %d", s, start, total)
		}
		if d := retryAfter(s, time.Unix(1_800_000_000, 0)); d < 0 {
			t.Errorf("retryAfter(%q) = %v", s, d)
		}
	})
}

func TestContentRange(t *testing.T) {
	for s, want := range map[string][]int64{
		"bytes 5-9/10": {5, 10}, "bytes 0-0/1": {0, 1}, "bytes 5-9/*": {5, -1},
		"": nil, "bytes 9-5/10": nil, "bytes 5-10/10": nil, "bytes */10": nil, "items 5-9/10": nil, "bytes -5-9/10": nil, "bytes 5-9": nil,
		"bytes 99999999999999999999-99999999999999999999/*": nil,
	} {
		start, total, ok := contentRange(s)
		if ok != (want != nil) || ok && !slices.Equal(want, []int64{start, total}) {
			t.Errorf("contentRange(%q) = %d, %d, %v; want %v", s, start, total, ok, want)
		}
	}
}
