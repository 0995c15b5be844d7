package formats

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// The content says what format a file has, and the name where the content does not.
func TestIdentify(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"rows.jsonl", `{"image_hash":"a"}`, "JSON lines"},
		{"rows.txt", "\xef\xbb\xbf\n" + `{"image_hash":"a"}`, "JSON lines"},
		{"rows.csv", `{"image_hash":"a"}`, "JSON lines"},
		{"rows.jsonl", "", "JSON lines"},
		{"rows", "filepath,title\n", "CSV"},
		{"rows.csv", "filepath", "CSV"},
		{"rows.tsv", "", "CSV"},
		{"seed_group.json", "[\n{}]", "seed groups"},
		{"rows.jsonl", "[", "seed groups"},
	} {
		dir := writeFiles(t, map[string]string{tt.name: tt.text})
		for _, path := range []string{filepath.Join(dir, tt.name), ""} {
			if path == "" {
				path = filepath.Join(dir, tt.name+".gz")
				if err := os.WriteFile(path, []byte(packed(t, []byte(tt.text))), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			f, paths, err := Identify(path)
			if err != nil || f.Name != tt.want || !f.Rows || !slices.Equal(paths, []string{path}) {
				t.Errorf("%s %q: %v, %q, %v; want %s", filepath.Base(path), tt.text, f, paths, err, tt.want)
			}
		}
	}
	dir := writeFiles(t, map[string]string{"pictures/a.png": "", "noise.bin": "\x00\x01, and no text", "words.txt": "just words"})
	if f, _, err := Identify(filepath.Join(dir, "pictures")); err != nil || f.Name != "a folder of pictures" || f.Rows {
		t.Errorf("%v, %v", f, err)
	}
	if f, _, err := (Options{Separator: " "}).Identify(filepath.Join(dir, "words.txt")); err != nil || f.Name != "CSV" {
		t.Errorf("%v, %v", f, err)
	}
	for _, name := range []string{"noise.bin", "words.txt"} {
		if _, _, err := Identify(filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), "neither its name nor its first bytes are those of WebDataset, Parquet, seed groups, JSON lines, CSV") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := Identify(filepath.Join(dir, "a.jsonl") + "::" + filepath.Join(dir, "b.jsonl")); err == nil {
		t.Error("two files that are not there are a set")
	}
	if runtime.GOOS == "linux" {
		if _, _, err := Identify("/dev/null"); err == nil || !strings.Contains(err.Error(), "/dev/null: not a regular file") {
			t.Errorf("a device: %v", err)
		}
	}
}

func TestExpand(t *testing.T) {
	for spec, want := range map[string][]string{
		"a.tar":                      {"a.tar"},
		"a.tar::b.tar":               {"a.tar", "b.tar"},
		"d/{00..02}.tar":             {"d/00.tar", "d/01.tar", "d/02.tar"},
		"{8..10}":                    {"8", "9", "10"},
		"{008..10}":                  {"008", "009", "010"},
		"{2..1}-{a,b}":               {"2-a", "2-b", "1-a", "1-b"},
		"{train,val}.tar::x{5..5}.y": {"train.tar", "val.tar", "x5.y"},
		"a{b}.tar":                   {"a{b}.tar"},
		"a{b.tar":                    {"a{b.tar"},
	} {
		if got, err := Expand(spec); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", spec, got, err, want)
		}
	}
	for spec, want := range map[string]string{
		"":                           "the name of a data set is empty",
		"a::":                        `an empty name beside "::"`,
		"{a..c}":                     "want two numbers",
		"{-1..2}":                    "want two numbers",
		"{0..1048576}":               "more than 1048576 files",
		"{0..1023}{0..1023}{0..1}":   "more than 1048576 files",
		"{0..9999999999999999999}":   "want two numbers",
		"{0..4611686018427387903}":   "more than 1048576 files",
		"{a,{b,c}}":                  "braces in braces",
		"{0..1048575}::{0..1048575}": "more than 1048576 files",
	} {
		if got, err := Expand(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %d files, %v; want %q", spec, len(got), err, want)
		}
	}
	dir := writeFiles(t, map[string]string{"{0..1}.tar": ""})
	path := filepath.Join(dir, "{0..1}.tar")
	if got, err := Expand(path); err != nil || !slices.Equal(got, []string{path}) {
		t.Errorf("a file of that name: %q, %v", got, err)
	}
}

func FuzzExpand(f *testing.F) {
	for _, s := range []string{"{0..3}.tar", "a::b", "{a,b}{1..2}", "{{}}", "{..}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(s, "/") || len(s) > 40 {
			return
		}
		if paths, err := Expand(s); err == nil && (len(paths) == 0 || len(paths) > mostFiles) {
			t.Fatalf("%d files", len(paths))
		}
	})
}
