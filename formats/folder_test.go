package formats

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relsim/dataloader"
)

func TestFolder(t *testing.T) {
	picture := string(encodePNG(t, noise(2, 2, 1)))
	dir := writeFiles(t, map[string]string{
		"b.png": picture, "b.txt": "\xef\xbb\xbf{Thing} in a row\r\n\n \"{Thing} in line\" \n",
		"a/z.JPG": picture, "a/z.json": `{"caption": "from JSON", "url": "https://example.org/z", "key": "0001", "width": 2, "status": "success"}`,
		"a/b.webp": picture, "a/b.txt": "\n", "a/b.json": `{"captions": ["one", "two"], "relation": "growth"}`,
		"c.png": picture, "c.jpg": picture, "c.txt": "of both",
		".hidden.png": picture, ".hidden/d.png": picture, "notes.txt": "\xff", "e.gif": "",
	})
	ds, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []dataloader.Item{
		{ID: "a/b", Caption: "one", Captions: []string{"one", "two"}, Relation: "growth", File: "a/b.webp"},
		{ID: "a/z", Caption: "from JSON", URL: "https://example.org/z", File: "a/z.JPG"},
		{ID: "b", Caption: "{Thing} in a row", Captions: []string{"{Thing} in a row", "{Thing} in line"}, File: "b.png"},
		{ID: "c.jpg", Caption: "of both", File: "c.jpg"},
		{ID: "c.png", Caption: "of both", File: "c.png"},
	}
	if ds.Len() != len(want) || ds.Name() != filepath.Base(dir) {
		t.Fatalf("%d items of %s", ds.Len(), ds.Name())
	}
	for i, w := range want {
		w.Family, w.Profile, w.Path = -1, -1, filepath.Join(dir, filepath.FromSlash(w.File))
		if got := ds.Item(i); !itemsEqual(got, w) {
			t.Errorf("item %d: %+v, want %+v", i, got, w)
		}
		if _, err := ds.Image(t.Context(), i); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "b.txt"), []byte("another"), 0o666); err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), dir, Options{})
	if err != nil || again.Fingerprint() == ds.Fingerprint() {
		t.Errorf("%v: the fingerprint does not go with the captions", err)
	}
}

func TestFolderErrors(t *testing.T) {
	for _, tt := range []struct{ file, text, want string }{
		{"a.txt", "fine\n\xff", "formats: a.txt:2: not UTF-8"},
		{"a.txt", strings.Repeat("x", maxLine+1), "a.txt: 1048577 bytes, at most 1048576 are allowed"},
		{"a.json", `{"caption":7}`, `formats: a.json: "caption" is a number, want a string`},
		{"a.json", `[]`, "formats: a.json: not a JSON object"},
		{"a.json", ``, "formats: a.json: not a JSON object"},
	} {
		_, err := Open(t.Context(), writeFiles(t, map[string]string{"a.png": "", tt.file: tt.text}), Options{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %.20q: %v, want %q", tt.file, tt.text, err, tt.want)
		}
	}
	if _, err := Open(t.Context(), t.TempDir(), Options{}); err == nil || !strings.Contains(err.Error(), "no pictures in the folder") {
		t.Error(err)
	}
	dir := writeFiles(t, map[string]string{"train.jsonl": "", "test.csv": "", "images/a.png": ""})
	if _, err := Open(t.Context(), dir, Options{}); err == nil || !strings.Contains(err.Error(), "several files of rows: test.csv, train.jsonl: name one") {
		t.Error(err)
	}
}

// Links stay in the folder.
func TestFolderLinks(t *testing.T) {
	picture := string(encodePNG(t, noise(2, 2, 1)))
	outside := writeFiles(t, map[string]string{"secret.png": picture, "secret.txt": "secret"})
	link := func(t *testing.T, target, path string) {
		if err := os.Symlink(target, path); err != nil {
			t.Skipf("NOT RUN: the system makes no links: %v", err)
		}
	}
	for _, name := range []string{"a.png", "a.txt"} {
		dir := writeFiles(t, map[string]string{"b.png": picture, "real/x.png": picture})
		link(t, filepath.Join(outside, "secret"+filepath.Ext(name)), filepath.Join(dir, name))
		if _, err := Open(t.Context(), dir, Options{}); err == nil || !strings.Contains(err.Error(), name+": a link that leads out of the folder") {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := writeFiles(t, map[string]string{"b.png": picture, "real/x.png": picture})
	link(t, outside, filepath.Join(dir, "elsewhere"))
	link(t, "..", filepath.Join(dir, "real", "up"))
	link(t, "real/x.png", filepath.Join(dir, "same.png"))
	link(t, "nothing", filepath.Join(dir, "dangling.png"))
	link(t, filepath.Join(outside, "gone.png"), filepath.Join(dir, "gone.png"))
	ds, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i := range ds.Len() {
		ids = append(ids, ds.Item(i).ID)
	}
	if want := []string{"b", "dangling", "gone", "real/x", "same"}; !slices.Equal(ids, want) {
		t.Errorf("%q, want %q", ids, want)
	}
	root := filepath.Join(t.TempDir(), "pictures") // a folder that is a link itself
	link(t, dir, root)
	if ds, err := Open(t.Context(), root, Options{}); err != nil || ds.Len() != 5 {
		t.Error(err)
	}
}

func FuzzSidecar(f *testing.F) {
	for _, s := range []string{`{"caption":"a","url":"b"}`, `{"url":7}`, "a\nb", "\xef\xbb\xbf{}", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if it, err := parseSidecar([]byte(s)); err == nil && (it.ID != "" || it.Caption == "" && it.Captions != nil) {
			t.Fatalf("%+v", it)
		}
		if list, err := parseCaptions([]byte(s)); err == nil && slices.Contains(list, "") {
			t.Fatalf("%q", list)
		}
	})
}
