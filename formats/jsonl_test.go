package formats

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"relsim/dataloader"
)

// writeFiles makes a folder of files.
func writeFiles(t testing.TB, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOpenJSONL(t *testing.T) {
	var pictures []string
	for i := range 6 {
		pictures = append(pictures, string(encodePNG(t, noise(2, 2, uint64(i)))))
	}
	dir := writeFiles(t, map[string]string{
		"rows.jsonl": "\xef\xbb\xbf" + `{"image_hash":"aa","caption":"\"{Subject} growing\"","url_link":"https://x/y"}` + "\r\n\n" +
			`  {"image_hash":"b.jpg","caption":"  “two {Objects}” ","extra":{"k":[1]}}  ` + "\n" +
			`{"image_hash":"cc","caption":"c","literal_caption":"'red circles'","relation":"growth","family":3,"profile":7,"pair":"aa","split":"test","count":4,"ink":0.25,"held_out":true,"gravity":true}` + "\n" +
			`{"image_hash":"dd"}` + "\n" +
			`{"image_hash":"v1.2","caption":null}` + "\n" +
			`{"image_hash":"missing"}` + "\n" +
			`{"image_hash":"missing.webp"}`,
		"pics/aa.webp":   pictures[5],
		"pics/aa.png":    pictures[0], // before .webp, and its content counts, not its ending
		"pics/b.jpg":     pictures[1],
		"pics/cc.JPEG":   pictures[2],
		"pics/dd":        pictures[3],
		"pics/v1.2.png":  pictures[4],
		"pics/other.txt": "",
	})
	images := filepath.Join(dir, "pics")
	ds, err := Open(t.Context(), filepath.Join(dir, "rows.jsonl"), Options{Images: images})
	if err != nil {
		t.Fatal(err)
	}
	want := []dataloader.Item{
		{ID: "aa", Caption: "{Subject} growing", URL: "https://x/y", Line: 1, Path: "aa.png", Quoted: true},
		{ID: "b.jpg", Caption: "two {Objects}", Line: 3, Path: "b.jpg", Quoted: true},
		{ID: "cc", Caption: "c", Literal: "red circles", Relation: "growth", Family: 3, Profile: 7, Pair: "aa", Split: "test",
			Count: 4, Ink: 0.25, HeldOut: true, Gravity: true, Line: 4, Path: "cc.JPEG"},
		{ID: "dd", Line: 5, Path: "dd"},
		{ID: "v1.2", Line: 6, Path: "v1.2.png"},
		{ID: "missing", Line: 7, Path: "missing.png"},
		{ID: "missing.webp", Line: 8, Path: "missing.webp"},
	}
	if ds.Len() != len(want) || ds.Name() != "rows.jsonl" || len(ds.Fingerprint()) != 32 {
		t.Fatalf("%d items, name %q, fingerprint %q", ds.Len(), ds.Name(), ds.Fingerprint())
	}
	for i, w := range want {
		if i != 2 {
			w.Family, w.Profile = -1, -1
		}
		w.File, w.Path = "rows.jsonl", filepath.Join(images, w.Path)
		if got := ds.Item(i); !reflect.DeepEqual(got, w) {
			t.Errorf("item %d: %+v, want %+v", i, got, w)
		}
		im, err := ds.Image(context.Background(), i)
		switch {
		case i >= 5:
			if !errors.Is(err, os.ErrNotExist) {
				t.Errorf("item %d: %v", i, err)
			}
		case err != nil:
			t.Error(err)
		case !reflect.DeepEqual(im, noise(2, 2, uint64(i))):
			t.Errorf("item %d is another picture", i)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := ds.Image(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestSeveralCaptions(t *testing.T) {
	for _, tt := range []struct {
		row  string
		want []string // the first is Caption
	}{
		{`{"image_hash":"a","captions":["b"," \"c\" ","b","","d"]}`, []string{"b", "c", "d"}},
		{`{"image_hash":"a","caption":["b","c"]}`, []string{"b", "c"}},
		{`{"image_hash":"a","caption":"c","captions":["b","c"]}`, []string{"c", "b"}},
		{`{"image_hash":"a","caption":["b"],"captions":null}`, []string{"b"}},
		{`{"image_hash":"a","captions":"b"}`, []string{"b"}},
		{`{"image_hash":"a","captions":[]}`, []string{""}},
	} {
		items, err := readRows(t.Context(), strings.NewReader(tt.row), "x")
		if err != nil {
			t.Fatal(err)
		}
		got := items[0].Captions
		if len(tt.want) == 1 && got == nil {
			got = []string{items[0].Caption}
		}
		if !slices.Equal(got, tt.want) || items[0].Caption != tt.want[0] {
			t.Errorf("%s: %q and %q, want %q", tt.row, items[0].Caption, items[0].Captions, tt.want)
		}
	}
}

func packed(t testing.TB, text []byte) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(text)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPackedRows(t *testing.T) {
	rows := []byte(`{"image_hash":"a","caption":"b"}` + "\n" + `{"image_hash":"c"}`)
	bomb := append(slices.Clone(rows), bytes.Repeat([]byte("\n"), freeBytes)...)
	whole := packed(t, rows)
	dir := writeFiles(t, map[string]string{
		"rows.jsonl": string(rows), "rows.jsonl.gz": whole, "images/a.png": "",
		"cut.jsonl.gz": whole[:len(whole)-9], "bomb.jsonl.gz": packed(t, bomb),
	})
	plain, err := Open(t.Context(), filepath.Join(dir, "rows.jsonl"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	ds, err := Open(t.Context(), filepath.Join(dir, "rows.jsonl.gz"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if ds.Len() != 2 || ds.Item(0).Path != plain.Item(0).Path || ds.Item(1).Row() != "rows.jsonl.gz:2" || ds.Fingerprint() != plain.Fingerprint() {
		t.Errorf("%d items: %+v", ds.Len(), ds.Item(1))
	}
	for name, want := range map[string]string{
		"cut.jsonl.gz":  "formats: cut.jsonl.gz: unpack: unexpected EOF",
		"bomb.jsonl.gz": "unpack: more than 67108864 bytes",
	} {
		if _, err := Open(t.Context(), filepath.Join(dir, name), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

func TestImagesBesideTheRows(t *testing.T) {
	dir := writeFiles(t, map[string]string{"rows.jsonl": `{"image_hash":"a"}`, "images/a.png": string(encodePNG(t, noise(1, 1, 1)))})
	ds, err := Open(t.Context(), filepath.Join(dir, "rows.jsonl"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ds.Image(context.Background(), 0); err != nil {
		t.Error(err)
	}
}

func TestOpenJSONLErrors(t *testing.T) {
	dir := writeFiles(t, map[string]string{"rows.jsonl": `{"image_hash":"a"}`, "empty.jsonl": "", "blank.jsonl": "\n \n", "images/a.png": ""})
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, tt := range []struct{ rows, images, want string }{
		{"none.jsonl", "images", "formats: open " + path("none.jsonl") + ": no such file"},
		{"empty.jsonl", "images", "formats: empty.jsonl: no rows"},
		{"blank.jsonl", "images", "formats: blank.jsonl: no rows"},
		{"rows.jsonl", "none", "formats: open image folder of " + path("rows.jsonl") + ": stat " + path("none") + ": no such file"},
		{"rows.jsonl", "rows.jsonl", "is not a folder"},
	} {
		_, err := Open(t.Context(), path(tt.rows), Options{Images: path(tt.images)})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s, %s: %v, want %q", tt.rows, tt.images, err, tt.want)
		}
	}
}

func TestMalformedRows(t *testing.T) {
	const good = `{"image_hash":"a","caption":"b"}`
	for _, tt := range []struct{ row, want string }{
		{`{"caption":"b"}`, `missing "image_hash"`},
		{`{"image_hash":"","caption":"b"}`, `missing "image_hash"`},
		{`{"image_hash":null}`, `missing "image_hash"`},
		{`{"image_hash":7}`, `"image_hash" is a number, want a string`},
		{`{"image_hash":"a","caption":7}`, `"caption" is a number, want a string or a list of strings`},
		{`{"image_hash":"a","caption":["b",7]}`, `"caption" holds other things than strings`},
		{`{"image_hash":"a","group":1.5}`, `"group" is a number, want a whole number or a string`},
		{`{"image_hash":"a","group":["1"]}`, `"group" is a list, want a whole number or a string`},
		{`{"image_hash":"a","captions":["b",null]}`, `"captions" holds no string at place 1`},
		{`{"image_hash":"a","family":1.5}`, `"family" is a number 1.5, want a whole number`},
		{`{"image_hash":"a","held_out":"yes"}`, `"held_out" is a string, want true or false`},
		{`{"image_hash":"a"`, "not a JSON object: unexpected end"},
		{`{"image_hash":"a"} {"image_hash":"b"}`, "not a JSON object"},
		{`["a"]`, "not a JSON object"},
		{`a,b`, "not a JSON object"},
		{"{\"image_hash\":\"a\",\"caption\":\"\xff\"}", "not UTF-8"},
		{`{"image_hash":"../../etc/passwd"}`, "holds a path separator"},
		{`{"image_hash":"/etc/passwd"}`, "holds a path separator"},
		{`{"image_hash":"sub/a"}`, "holds a path separator"},
		{`{"image_hash":"sub\\a"}`, "holds a path separator"},
		{`{"image_hash":"\u002fa"}`, "holds a path separator"},
		{`{"image_hash":".."}`, `holds ".."`},
		{`{"image_hash":"a..b"}`, `holds ".."`},
		{`{"image_hash":"."}`, "is a folder"},
		{`{"image_hash":"a\u0000"}`, "holds a control character"},
		{`{"image_hash":"a\n"}`, "holds a control character"},
		{`{"image_hash":"` + strings.Repeat("a", 256) + `"}`, "longer than 255 bytes"},
		{`{"image_hash":"a","caption":"` + strings.Repeat("b", maxLine) + `"}`, "line longer than 1048576 bytes"},
	} {
		_, err := readRows(t.Context(), strings.NewReader(good+"\n\n"+tt.row+"\n"+good), "captions.jsonl")
		if err == nil || !strings.HasPrefix(err.Error(), "formats: captions.jsonl:3: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.80s: %v, want %q", tt.row, err, tt.want)
		}
	}
	if _, err := readRows(t.Context(), strings.NewReader(good), "x"); err != nil {
		t.Error(err)
	}
}

func TestUnquote(t *testing.T) {
	for in, want := range map[string]string{
		``: "", `a`: "a", `"`: `"`, `""`: "", `"a"`: "a", ` " a " `: "a", `'a'`: "a", `“a”`: "a", `‘a’`: "a",
		`"a`: `"a`, `a"`: `a"`, `"a" and "b"`: `"a" and "b"`, `'tis a bird's nest'`: `'tis a bird's nest'`, `"it's"`: "it's",
		`"'a'"`: `'a'`, `"a.".`: "a.", `"a".`: "a.", `"a."`: "a.", `.`: ".", `"".`: ".", `a".`: `a".`, `"a".b`: `"a".b`, `"a" "b".`: `"a" "b".`,
	} {
		if got := unquote(in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestQuoted(t *testing.T) {
	for row, want := range map[string]bool{
		`{"image_hash":"a","caption":"b"}`:                         false,
		`{"image_hash":"a","caption":" b "}`:                       false,
		`{"image_hash":"a","caption":"\"b\""}`:                     true,
		`{"image_hash":"a","caption":"\"b\" and \"c\""}`:           false,
		`{"image_hash":"a","captions":["b","\u201cc\u201d"]}`:      true,
		`{"image_hash":"a","caption":"b","literal_caption":"'c'"}`: false,
	} {
		items, err := readRows(t.Context(), strings.NewReader(row), "x")
		if err != nil || items[0].Quoted != want {
			t.Errorf("%s: %+v, %v; want Quoted %t", row, items, err, want)
		}
	}
}

func FuzzRow(f *testing.F) {
	for _, s := range []string{
		`{"image_hash":"a","caption":"b","url_link":"c"}`, `{"image_hash":"../a"}`, `{"image_hash":7}`, `[]`, `{`,
		`{"image_hash":"a","family":1,"profile":2,"count":3,"ink":0.5,"held_out":true,"gravity":false,"pair":"b"}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		items, err := readRows(t.Context(), strings.NewReader(s), "x.jsonl")
		if err != nil {
			if !strings.HasPrefix(err.Error(), "formats: x.jsonl:") {
				t.Fatal(err)
			}
			return
		}
		for _, it := range items {
			if !filepath.IsLocal(it.ID) || filepath.Base(it.ID) != it.ID || strings.ContainsAny(it.ID, "/\\\x00") {
				t.Fatalf("image_hash %q", it.ID)
			}
			if it.Line < 1 {
				t.Fatalf("line %d", it.Line)
			}
		}
	})
}
