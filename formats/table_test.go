package formats

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"relsim/dataloader"
)

func TestFields(t *testing.T) {
	for _, tt := range []struct {
		text  string
		want  [][]string
		lines []int // where the records begin
	}{
		{"a,b\nc,d\n", [][]string{{"a", "b"}, {"c", "d"}}, []int{1, 2}},
		{"\xef\xbb\xbfa,b\r\n\r\n\nc,d", [][]string{{"a", "b"}, {"c", "d"}}, []int{1, 4}},
		{"\"a,\"\"b\"\"\r\nc\",\"\"\nd,\n", [][]string{{"a,\"b\"\r\nc", ""}, {"d", ""}}, []int{1, 3}},
		{"a 5\" b,it's\n", [][]string{{"a 5\" b", "it's"}}, []int{1}},
		{",\n", [][]string{{"", ""}}, []int{1}},
		{"\"\"", [][]string{{""}}, []int{1}},
		{"a\rb,c", [][]string{{"a\rb", "c"}}, []int{1}},
		{"é,\u202e\n", [][]string{{"é", "\u202e"}}, []int{1}},
	} {
		f := newFields(bufio.NewReader(strings.NewReader(tt.text)), ',')
		for i, want := range tt.want {
			got, err := f.next(nil)
			if err != nil || !slices.Equal(got, want) || f.start != tt.lines[i] {
				t.Errorf("%q: record %d at line %d: %q, %v; want %q at line %d", tt.text, i, f.start, got, err, want, tt.lines[i])
			}
		}
		if got, err := f.next(nil); err != io.EOF {
			t.Errorf("%q: then %q, %v", tt.text, got, err)
		}
	}
}

func TestTable(t *testing.T) {
	picture := string(encodePNG(t, noise(2, 2, 1)))
	dir := writeFiles(t, map[string]string{
		"rows.csv": "image_hash,filepath,relation,family,profile,pair,split,count,ink,held_out,gravity,literal_caption,caption,group\n" +
			"aa,sub/a.jpg,growth,3,7,bb,test,4,0.25,true,1,\"\"\"red, round\"\"\",{Thing} growing,5\n" +
			",sub/b,,,,,,,,,,,,\n",
		"sub/a.jpg": picture, "sub/b.webp": picture,
	})
	ds, err := Open(t.Context(), filepath.Join(dir, "rows.csv"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []dataloader.Item{
		{ID: "aa", Relation: "growth", Family: 3, Profile: 7, Pair: "bb", Split: "test", Count: 4, Ink: 0.25, HeldOut: true, Gravity: true,
			Literal: "red, round", Caption: "{Thing} growing", Group: "5", File: "rows.csv", Line: 2, Path: filepath.Join(dir, "sub", "a.jpg")},
		{ID: "sub/b", Family: -1, Profile: -1, File: "rows.csv", Line: 3, Path: filepath.Join(dir, "sub", "b.webp")},
	}
	for i := range want {
		if got := ds.Item(i); !itemsEqual(got, want[i]) {
			t.Errorf("item %d: %+v, want %+v", i, got, want[i])
		}
		if _, err := ds.Image(t.Context(), i); err != nil {
			t.Error(err)
		}
	}

	// An absolute path is one of the image folder.
	inside := filepath.Join(dir, "sub", "a.jpg")
	for name, text := range map[string]string{"absolute.csv": "filepath,title\n" + inside + ",x\n", "outside.csv": "filepath,title\n" + inside + ",x\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	ds, err = Open(t.Context(), filepath.Join(dir, "absolute.csv"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if it := ds.Item(0); it.ID != "sub/a" || it.Path != inside {
		t.Errorf("%+v", it)
	}
	if err := os.Mkdir(filepath.Join(dir, "other"), 0o777); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), filepath.Join(dir, "outside.csv"), Options{Images: filepath.Join(dir, "other")})
	if err == nil || !strings.HasPrefix(err.Error(), "formats: outside.csv:2: ") || !strings.Contains(err.Error(), "outside of the image folder") {
		t.Error(err)
	}
}

func itemsEqual(a, b dataloader.Item) bool {
	same := slices.Equal(a.Captions, b.Captions)
	a.Captions, b.Captions = nil, nil
	return same && a.ID == b.ID && placeful(a) == placeful(b)
}

// placeful is an item as something that compares.
func placeful(it dataloader.Item) [17]any {
	return [17]any{it.URL, it.Caption, it.Literal, it.Relation, it.Pair, it.Split, it.Family, it.Profile, it.Count, it.Ink,
		it.HeldOut, it.Gravity, it.Group, it.File, it.Line, it.Path, it.Member}
}

func TestMalformedTables(t *testing.T) {
	for _, tt := range []struct {
		text, separator string
		o               Options
		want            string
	}{
		{"", ",", Options{}, "formats: x.csv: no rows: want a line that names the columns"},
		{"filepath,title\n\n", ",", Options{}, "formats: x.csv: no rows below the names of the columns"},
		{"path,title\na,b\n", ",", Options{}, `formats: x.csv:1: missing column "filepath": the columns are "path" "title"`},
		{"filepath,title\na,b\n", ",", Options{ImageKey: "file"}, `formats: x.csv:1: missing column "file"`},
		{"filepath,title\na,b\n", ",", Options{CaptionKey: "text"}, `formats: x.csv:1: missing column "text"`},
		{"filepath,filepath\na,b\n", ",", Options{}, `formats: x.csv:1: two columns are called "filepath"`},
		{"filepath,title\na,b\nc\n", ",", Options{}, "formats: x.csv:3: 1 fields between ',', want 2"},
		{"filepath,title\na,b\nc,d,e\n", ",", Options{}, "formats: x.csv:3: 3 fields"},
		{"filepath,title\n\"a\nb\",c\n,b\n", ",", Options{}, "formats: x.csv:2: \"filepath\" \"a\\nb\" holds a control character"},
		{"filepath,title\na,\"b\nc\"\n,b\n", ",", Options{}, `formats: x.csv:4: missing "filepath"`},
		{"filepath,title\na,\"b\" c\n", ",", Options{}, "formats: x.csv:2: field 2: ' ' behind the closing quote"},
		{"filepath,title\na,\"b\n", ",", Options{}, "formats: x.csv:2: the file ends inside of quotes"},
		{"filepath,title\na,\xff\n", ",", Options{}, "formats: x.csv:2: not UTF-8"},
		{"filepath,title\n../a.png,b\n", ",", Options{}, "leads out of the image folder"},
		{"filepath,title\na/../../b.png,b\n", ",", Options{}, "leads out of the image folder"},
		{"filepath,title\n..\\a.png,b\n", ",", Options{}, "leads out of the image folder"},
		{"filepath,title\n./,b\n", ",", Options{}, `"./" is a folder`},
		{"image_hash,title\na/b,c\n", ",", Options{}, "holds a path separator"},
		{"image_hash,title\n,c\n", ",", Options{}, `missing "image_hash"`},
		{"filepath,family\na,x\n", ",", Options{}, `formats: x.csv:2: "family" is "x", want a whole number`},
		{"filepath,held_out\na,perhaps\n", ",", Options{}, `"held_out" is "perhaps", want true or false`},
		{"filepath,captions\na,\"[1]\"\n", ",", Options{}, `"captions" holds other things than strings`},
		{"filepath,captions\na,b\n", ",", Options{}, `"captions" is no JSON`},
		{strings.Repeat(",", maxFields+1) + "\n", ",", Options{}, "formats: x.csv:1: more than 4096 fields"},
	} {
		tt.o.Separator = tt.separator
		_, err := readTable(t.Context(), strings.NewReader(tt.text), "x.csv", tt.o)
		if err == nil || !strings.HasPrefix(err.Error(), "formats: x.csv:") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60q: %v, want %q", tt.text, err, tt.want)
		}
	}
}

func TestSeparators(t *testing.T) {
	for _, tt := range []struct {
		head string
		o    Options
		name string
		want string
	}{
		{"filepath\ttitle\n", Options{}, "a.csv", "\t"},
		{"filepath,title\n", Options{}, "a.tsv", ","},
		{"filepath;title\n", Options{}, "a.csv", ";"},
		{"\"a, b\";filepath\n", Options{}, "a.csv", ";"},
		{"a\tb\tfilepath, x,image_hash\n", Options{}, "a.csv", ","},
		{"a;b,c;d\n", Options{}, "a.csv", ";"},
		{"a;b,picture\n", Options{ImageKey: "picture"}, "a.csv", ","},
		{"filepath\n", Options{}, "a.csv", ","},
		{"filepath\n", Options{}, "a.tsv", "\t"},
		{"filepath|title\n", Options{Separator: "|"}, "a.csv", "|"},
		{"filepath,title\n", Options{Separator: "tab"}, "a.csv", "\t"},
		{"filepath,title\n", Options{Separator: `\t`}, "a.csv", "\t"},
	} {
		if got := separatorOf([]byte(tt.head), tt.o, tt.name); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.head, got, tt.want)
		}
	}
	for _, s := range []string{"ab", "\"", "\n", "\r", "\xff", "\x00"} {
		if err := (Options{Separator: s}).Validate(); err == nil {
			t.Errorf("separator %q is taken", s)
		}
	}
}

// endless is a text of one byte without end.
type endless struct {
	head io.Reader
	b    byte
	read int
}

func (e *endless) Read(p []byte) (int, error) {
	n, err := e.head.Read(p)
	if err == io.EOF {
		for i := range p {
			p[i] = e.b
		}
		n, err = len(p), nil
	}
	if e.read += n; e.read > 1<<30 {
		return 0, errors.New("a gigabyte was read")
	}
	return n, err
}

// What has no end is refused when it is longer than it may be, with little memory.
func TestEndless(t *testing.T) {
	for _, tt := range []struct {
		name, head string
		b          byte
		read       func(io.Reader) error
		want       string
	}{
		{"CSV/quotes", "filepath,title\na,\"", 'x', func(r io.Reader) error {
			_, err := readTable(t.Context(), r, "x", Options{Separator: ","})
			return err
		}, "formats: x:2: row longer than 1048576 bytes"},
		{"CSV/plain", "filepath,title\na,", 'x', func(r io.Reader) error {
			_, err := readTable(t.Context(), r, "x", Options{Separator: ","})
			return err
		}, "formats: x:2: row longer than 1048576 bytes"},
		{"CSV/separators", "filepath,title\n", ',', func(r io.Reader) error {
			_, err := readTable(t.Context(), r, "x", Options{Separator: ","})
			return err
		}, "formats: x:2: more than 4096 fields"},
		{"JSON lines", `{"image_hash":"`, 'x', func(r io.Reader) error {
			_, err := readRows(t.Context(), r, "x")
			return err
		}, "formats: x:1: line longer than 1048576 bytes"},
		{"groups/caption", `[{"anonymous_caption":"`, 'x', func(r io.Reader) error {
			_, err := readGroups(t.Context(), r, "x")
			return err
		}, "formats: x:1: group 0: a group longer than 4194304 bytes"},
		{"groups/blank", `[`, ' ', func(r io.Reader) error {
			_, err := readGroups(t.Context(), r, "x")
			return err
		}, "a group longer than 4194304 bytes"},
		{"groups/deep", `[{"other":`, '[', func(r io.Reader) error {
			_, err := readGroups(t.Context(), r, "x")
			return err
		}, "formats: x:1: group 0: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := tt.read(&endless{head: strings.NewReader(tt.head), b: tt.b})
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if taken := after.TotalAlloc - before.TotalAlloc; taken > 64<<20 {
				t.Errorf("%d MiB of memory were taken", taken>>20)
			}
		})
	}
}

func FuzzTable(f *testing.F) {
	for _, s := range []string{
		"filepath,title\na.png,b\n", "image_hash\tcaption\na\t\"b\"\"c\"\n", "\xef\xbb\xbffilepath;captions\na;\"[\"\"x\"\"]\"\n",
		"filepath,family,ink\n../a,1,2\n", "filepath,\n.png,", "filepath\n./\n", "filepath\n\"a\n", "filepath,title\n/etc/passwd,x\n",
	} {
		f.Add(s, byte(','))
	}
	f.Fuzz(func(t *testing.T, s string, separator byte) {
		o := Options{Separator: string(rune(separator))}
		if o.Validate() != nil {
			return
		}
		rows, err := readTable(t.Context(), strings.NewReader(s), "x.csv", o)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "formats: x.csv:") {
				t.Fatal(err)
			}
			return
		}
		for i, it := range rows.items {
			if it.Line < 1 || it.ID == "" {
				t.Fatalf("%+v", it)
			}
			if rows.files != nil && !filepath.IsLocal(rows.files[i]) && !filepath.IsAbs(rows.files[i]) {
				t.Fatalf("path %q", rows.files[i])
			}
		}
	})
}
