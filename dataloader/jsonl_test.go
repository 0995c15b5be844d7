package dataloader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
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
		pictures = append(pictures, string(encodePNG(t, asImage{noise(2, 2, uint64(i))})))
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
	ds, err := OpenJSONL(filepath.Join(dir, "rows.jsonl"), images)
	if err != nil {
		t.Fatal(err)
	}
	want := []Item{
		{ID: "aa", Caption: "{Subject} growing", URL: "https://x/y", Line: 1, Path: "aa.png"},
		{ID: "b.jpg", Caption: "two {Objects}", Line: 3, Path: "b.jpg"},
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

func TestImagesBesideTheRows(t *testing.T) {
	dir := writeFiles(t, map[string]string{"rows.jsonl": `{"image_hash":"a"}`, "images/a.png": string(encodePNG(t, asImage{noise(1, 1, 1)}))})
	ds, err := OpenJSONL(filepath.Join(dir, "rows.jsonl"), "")
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
		{"none.jsonl", "images", "dataloader: open rows: open " + path("none.jsonl") + ": no such file"},
		{"images", "images", "is a folder, want a file of JSON lines"},
		{"empty.jsonl", "images", "dataloader: empty.jsonl: no rows"},
		{"blank.jsonl", "images", "dataloader: blank.jsonl: no rows"},
		{"rows.jsonl", "none", "dataloader: open image folder of " + path("rows.jsonl") + ": stat " + path("none") + ": no such file"},
		{"rows.jsonl", "rows.jsonl", "is not a folder"},
	} {
		_, err := OpenJSONL(path(tt.rows), path(tt.images))
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
		{`{"image_hash":"a","caption":["b"]}`, `"caption" is an array, want a string`},
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
		_, err := readRows(strings.NewReader(good+"\n\n"+tt.row+"\n"+good), "captions.jsonl")
		if err == nil || !strings.HasPrefix(err.Error(), "dataloader: captions.jsonl:3: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.80s: %v, want %q", tt.row, err, tt.want)
		}
	}
	if _, err := readRows(strings.NewReader(good), "x"); err != nil {
		t.Error(err)
	}
}

func TestUnquote(t *testing.T) {
	for in, want := range map[string]string{
		``: "", `a`: "a", `"`: `"`, `""`: "", `"a"`: "a", ` " a " `: "a", `'a'`: "a", `“a”`: "a", `‘a’`: "a",
		`"a`: `"a`, `a"`: `a"`, `"a" and "b"`: `"a" and "b"`, `'tis a bird's nest'`: `'tis a bird's nest'`, `"it's"`: "it's",
		`"'a'"`: `'a'`,
	} {
		if got := unquote(in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestRequireCaptions(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"rows.jsonl": `{"image_hash":"a","caption":"x","literal_caption":"y"}` + "\n" + `{"image_hash":"b","caption":"x"}` + "\n" + `{"image_hash":"c"}`,
		"images/x":   "",
	})
	ds, err := OpenJSONL(filepath.Join(dir, "rows.jsonl"), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := RequireCaptions(ds, false); err == nil || err.Error() != `dataloader: rows.jsonl:3: missing "caption", which training needs` {
		t.Error(err)
	}
	if err := RequireCaptions(ds, true); err == nil || err.Error() != `dataloader: rows.jsonl:2: missing "literal_caption", which training needs` {
		t.Error(err)
	}
	if err := RequireCaptions(Subset(ds, "part", []int{0, 1}), false); err != nil {
		t.Error(err)
	}
	m := NewMemory("m", []Item{{ID: "q"}}, []*Image{noise(1, 1, 1)})
	if err := RequireCaptions(m, false); err == nil || !strings.Contains(err.Error(), "item 0 (q)") {
		t.Error(err)
	}
}

func TestSplit(t *testing.T) {
	var items []Item
	var images []*Image
	for i := range 4000 {
		items = append(items, Item{ID: fmt.Sprint("picture ", i%2000)})
		images = append(images, noise(1, 1, uint64(i)))
	}
	ds := NewMemory("m", items, images)
	train, val := Split(ds, 0.1)
	if train.Len()+val.Len() != 4000 || val.Len() < 320 || val.Len() > 480 {
		t.Errorf("%d and %d items", train.Len(), val.Len())
	}
	in := make(map[string]bool)
	for i := range val.Len() {
		in[val.Item(i).ID] = true
	}
	for i := range train.Len() {
		if in[train.Item(i).ID] {
			t.Fatalf("%s is on both sides", train.Item(i).ID)
		}
	}
	// A larger share keeps what is there, and more rows move none.
	_, more := Split(ds, 0.2)
	_, fewer := Split(Subset(ds, "half", seq(2000)), 0.1)
	count := 0
	for i := range more.Len() {
		if in[more.Item(i).ID] {
			count++
		}
	}
	if count != val.Len() || fewer.Len() != val.Len()/2 {
		t.Errorf("%d of %d kept; %d of half the set", count, val.Len(), fewer.Len())
	}
	if train, val := Split(ds, 0); train.Len() != 4000 || val.Len() != 0 {
		t.Errorf("share 0: %d and %d", train.Len(), val.Len())
	}
	if train, val := Split(ds, 1); train.Len() != 0 || val.Len() != 4000 {
		t.Errorf("share 1: %d and %d", train.Len(), val.Len())
	}
	if train.Fingerprint() == ds.Fingerprint() || train.Fingerprint() == val.Fingerprint() {
		t.Error("fingerprints do not differ")
	}
	again, _ := Split(ds, 0.1)
	if again.Fingerprint() != train.Fingerprint() {
		t.Error("the fingerprint is not the same again")
	}
}

func seq(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func TestFingerprintOfMemory(t *testing.T) {
	of := func(caption string, seed uint64) string {
		return NewMemory("m", []Item{{ID: "a", Caption: caption}}, []*Image{noise(2, 2, seed)}).Fingerprint()
	}
	first, again, other, pixels := of("a", 1), of("a", 1), of("b", 1), of("a", 2)
	if first != again || first == other || first == pixels {
		t.Error("the fingerprint does not tell sets apart")
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
		items, err := readRows(strings.NewReader(s), "x.jsonl")
		if err != nil {
			if !strings.HasPrefix(err.Error(), "dataloader: x.jsonl:") {
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
