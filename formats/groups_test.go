package formats

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestGroups(t *testing.T) {
	picture := string(encodePNG(t, noise(2, 2, 1)))
	dir := writeFiles(t, map[string]string{
		"seed_group.json": "\xef\xbb\xbf" + `[
  {"anonymous_caption": "\"{Subject} growing\"", "other": {"a": [1]}, "image_urls": [
    "https://example.org/0/1.png",
    "https://example.org/0/0.png"
  ]},
  {"image_urls": ["https://example.org/x?y"], "anonymous_caption": ["a", "'b'"]},
  {"anonymous_caption": "c", "image_urls": []}
]`,
		"images/group_0/1.png": picture,
		"images/group_1/a.txt": "",
	})
	ds, err := Open(t.Context(), filepath.Join(dir, "seed_group.json"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if ds.Len() != 3 {
		t.Fatalf("%d items", ds.Len())
	}
	for i, want := range []struct { // ids by md5sum
		id, caption, group, row, path string
		captions                      int
	}{
		{"89daffb1752df3dd8e7cea07e6fdbb44", "{Subject} growing", "0", "seed_group.json:3", "images/group_0/1.png", 0},
		{"1bc9a6029206832a6b7e2513cec09445", "{Subject} growing", "0", "seed_group.json:4", "images/group_0/ID.png", 0},
		{"6007e12777fbfbdc92fc27a484d34c41", "a", "1", "seed_group.json:6", "images/group_1/ID.png", 2},
	} {
		it := ds.Item(i)
		path := filepath.Join(dir, filepath.FromSlash(strings.ReplaceAll(want.path, "ID", it.ID)))
		if it.ID != want.id || it.Caption != want.caption || it.Group != want.group || it.Row() != want.row || it.Path != path || len(it.Captions) != want.captions {
			t.Errorf("item %d: %+v", i, it)
		}
	}
}

func TestMalformedGroups(t *testing.T) {
	const good = `{"anonymous_caption":"a","image_urls":["https://a/b.png"]}`
	for _, tt := range []struct{ text, want string }{
		{`[`, "x:1: the file ends before its groups do"},
		{`[` + good, "x:1: the file ends before its groups do"},
		{`[]`, "x: 0 groups without pictures"},
		{`[{"image_urls":[]}]`, "x: 1 groups without pictures"},
		{`{"a":1}`, `x:1: "{", want "["`},
		{"[\n" + good + ",\n7]", `x:3: group 1: a number, want "{"`},
		{"[\n" + good + ",\n{\"anonymous_caption\":\"a\"}]", `x:3: group 1: missing "image_urls"`},
		{`[{"image_urls":"a"}]`, `x:1: group 0: "image_urls": a string, want "["`},
		{"[{\"image_urls\":[\"a\",\n null]}]", `x:2: group 0: "image_urls": address 1 is null, want a string`},
		{`[{"image_urls":[""]}]`, `address 0 is an empty string, want a string`},
		{`[{"image_urls":["a"],"anonymous_caption":7}]`, `x:1: group 0: "anonymous_caption" is a number, want a string`},
		{`[{"image_urls":["a"],"image_urls":["b"]}]`, `"image_urls" is there twice`},
		{`[` + good + `] x`, "x:1: "},
		{`[` + good + `][]`, "x:1: text after the groups"},
		{"[{\"image_urls\":[\"\xff\"]}]", "x:1: not UTF-8"},
	} {
		_, err := readGroups(t.Context(), strings.NewReader(tt.text), "x")
		if err == nil || !strings.HasPrefix(err.Error(), "formats: x:") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.80s: %v, want %q", tt.text, err, tt.want)
		}
	}
}

// Names in addresses do not lead out of the folder of their group.
func TestGroupsStayInside(t *testing.T) {
	for address, want := range map[string]string{
		"https://a/b/1.png": "1", "https://a/b/1.JPG?x=/../y": "1", "https://a/%2e%2e%2fpasswd": "passwd", "https://a/..": "",
		"https://a/b%00.png": "", "https://a/": "", "%zz": "", `https://a/b\c.png`: "",
	} {
		if got := nameIn(address); got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
}

func FuzzGroups(f *testing.F) {
	for _, s := range []string{
		`[{"anonymous_caption":"\"a\"","image_urls":["https://a/b.png"]}]`, `[{"image_urls":["é"],"x":[{}]}]`, `[[]]`, `[{"image_urls":[1]}]`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		items, err := readGroups(t.Context(), strings.NewReader(s), "x.json")
		if err != nil {
			if !strings.HasPrefix(err.Error(), "formats: x.json:") {
				t.Fatal(err)
			}
			return
		}
		for _, it := range items {
			if len(it.ID) != 32 || it.Line < 1 || it.Line > 1+strings.Count(s, "\n") || it.Group == "" {
				t.Fatalf("%+v", it)
			}
			if name := nameIn(it.URL); name != "" && (!filepath.IsLocal(name) || strings.ContainsAny(name, `/\`)) {
				t.Fatalf("name %q", name)
			}
		}
	})
}
