package retrieval

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestReadRetrieved(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "retrieved_images.json")
	text := `{"Ours": [{"query_image_id": 3, "query_image_path": "img/a.png", "top_k_image_paths": ["img/a.png", "img/b.png", "/data/c.png"]}],
	 "CLIP": [{"query_image_id": "x", "query_image_path": "../../etc/d.png", "top_k_image_paths": ["img/b.png"]},
	          {"query_image_id": 3, "query_image_path": "img/a.png", "top_k_image_paths": []}]}`
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	r, err := ReadRetrieved(file, "")
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	want := &Rankings{
		Data: "retrieved_images.json", Positives: "caption", Top: 2,
		Methods: []RankedMethod{{"Ours", Baseline}, {"CLIP", Baseline}},
		Items: []RankedItem{{ID: "img/a.png", Path: at("img/a.png"), Profile: -1}, {ID: "img/b.png", Path: at("img/b.png"), Profile: -1},
			{ID: "/data/c.png", Path: at("c.png"), Profile: -1}, {ID: "../../etc/d.png", Path: at("d.png"), Profile: -1}},
		Queries: []RankedQuery{
			{0, [][]RankedHit{{{1, 0, Unjudged}, {2, 0, Unjudged}}, {}}},
			{3, [][]RankedHit{nil, {{1, 0, Unjudged}}}},
		},
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("%+v\nwant\n%+v", r, want)
	}
	if other, err := ReadRetrieved(file, "elsewhere"); err != nil || other.Items[1].Path != filepath.Join("elsewhere", "img", "b.png") {
		t.Errorf("%v: %+v", err, other)
	}
	for text, want := range map[string]string{
		``:                                   "byte 0: unexpected EOF",
		`[]`:                                 "want {",
		`{"a": 1}`:                           `method "a": byte 7: 1: want [`,
		`{}`:                                 "no queries",
		`{"a": [{}]}`:                        `method "a", query 0: missing "query_image_path"`,
		`{"a": [{"query_image_path": 1}]}`:   "cannot unmarshal number",
		`{"a": [{"query_image_path": ".."}]`: `path "..": want the file of a picture`,
		`{"a": [{"query_image_path": "x"}, {"query_image_path": "x"}]}`: `method "a", query 1: x was a query before`,
		`{"a": [{"query_image_path": "x"}], "a": []}`:                   `two methods are called "a"`,
		`{"a": [{"query_image_path": "x"}`:                              "unexpected EOF",
	} {
		if _, err := readRetrieved(strings.NewReader(text), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

func FuzzReadRetrieved(f *testing.F) {
	f.Add(`{"m":[{"query_image_path":"a","top_k_image_paths":["b","../c"]}],"n":[]}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := readRetrieved(strings.NewReader(text), "folder")
		if err != nil {
			return
		}
		for _, it := range r.Items {
			if rel, err := filepath.Rel("folder", it.Path); err != nil || !filepath.IsLocal(rel) || rel == "." {
				t.Errorf("%q leads to %q", it.ID, it.Path)
			}
		}
	})
}
