package formats

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relsim/dataloader"
)

// pictureFiles are pictures as cameras and programs write them.
func pictureFiles(t testing.TB) [][]byte {
	t.Helper()
	var list [][]byte
	for _, name := range []string{"grey.png", "jpeg420.jpg", "lossy.webp", "rgb_wide.png", "jpeg_exif6.jpg", "lossless_alpha.webp"} {
		data, err := os.ReadFile(filepath.Join("..", "dataloader", "testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, data)
	}
	return list
}

// inMemory is a data set whose pictures are files in memory; item i has file i.
func inMemory(items []dataloader.Item, files [][]byte) dataloader.Dataset {
	return dataloader.NewRows("memory", "0", items, func(_ context.Context, i int, _ []byte) ([]byte, error) {
		if files[i] == nil {
			return nil, fmt.Errorf("picture %d: gone", i)
		}
		return files[i], nil
	})
}

// hostileItems are rows that formats find hard.
func hostileItems() []dataloader.Item {
	item := func(id, caption string, more ...string) dataloader.Item {
		it := dataloader.Item{ID: id, Caption: caption, Family: -1, Profile: -1}
		if len(more) > 0 {
			it.Captions = append([]string{caption}, more...)
		}
		return it
	}
	full := item("0cd15aefad84d78777c0a58e1d7a1267", "{Subject} growing step by step")
	full.URL, full.Literal, full.Relation, full.Split = "https://example.org/a.png?b=c&d=<e>", "red, \"circles\"\tgrowing", "growth", "train"
	full.Family, full.Profile, full.Pair, full.Count, full.Ink, full.HeldOut, full.Gravity, full.Group = 0, 7, "other", 5, 0.1, true, true, "12"
	return []dataloader.Item{
		full,
		item("two", "one of two", "two of two, with a comma", "'three'", "four\nlines"),
		item("with.dots.and.more", "tab\there, line\nthere, \"quotes\", a bell\a and \u202eright to left"),
		item("space and ünïcode", "שלום עולם <b>markup</b> & {Thing}"),
		item("cell", "=1+1"),
		item("dup", "first caption of it"),
		item("dup", "second caption of it"),
		item("dup-2", "not a duplicate"),
		item("long", strings.Repeat("very long ", 10_000)+"end"),
		item("__meta__", "{Subject} — ‘and’ “so on”"),
		item("-rf", `"a" and "b"`),
		item("none", ""),
		item("quotes", `"he said"`),
		item("comment", "# no comment"),
		item("null", "null"),
		item("07", "007"),
	}
}

func hostileSet(t testing.TB) (dataloader.Dataset, []dataloader.Item, [][]byte) {
	items, files := hostileItems(), pictureFiles(t)
	list := make([][]byte, len(items))
	for i, it := range items {
		list[i] = files[i%len(files)]
		if it.ID == "dup" {
			list[i] = files[0]
		}
	}
	return inMemory(items, list), items, list
}

func write(t testing.TB, dst string, ds dataloader.Dataset, o WriteOptions) Written {
	t.Helper()
	w, err := Write(t.Context(), dst, ds, o)
	if err != nil {
		t.Fatal(err)
	}
	noRubbish(t, filepath.Dir(dst))
	return w
}

// noRubbish checks that nothing was left beside.
func noRubbish(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), ".partial-") || strings.Contains(e.Name(), ".old-") {
			t.Errorf("left behind: %s", filepath.Join(dir, e.Name()))
		}
	}
}

func TestWriteJSONL(t *testing.T) {
	ds, items, files := hostileSet(t)
	dir := filepath.Join(t.TempDir(), "new", "set")
	w := write(t, filepath.Join(dir, "rows.jsonl"), ds, WriteOptions{})
	if w.Rows != len(items) || w.Pictures != len(items)-1 || w.Renamed != 0 || len(w.Lost) != 0 || w.Format != JSONL {
		t.Errorf("%+v", w)
	}
	text, err := os.ReadFile(filepath.Join(dir, "rows.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) != len(items) {
		t.Fatalf("%d lines for %d items", len(lines), len(items))
	}
	want := `{"image_hash":"0cd15aefad84d78777c0a58e1d7a1267","caption":"{Subject} growing step by step",` +
		`"url_link":"https://example.org/a.png?b=c&d=<e>","group":"12","relation":"growth","family":0,` +
		`"literal_caption":"red, \"circles\"\tgrowing","profile":7,"split":"train","count":5,"ink":0.1,"held_out":true,` +
		`"gravity":true,"pair":"other"}`
	if lines[0] != want {
		t.Errorf("the first row is\n%s, want\n%s", lines[0], want)
	}
	for i, line := range lines {
		var row struct {
			ImageHash, Caption string
			Hash               string `json:"image_hash"`
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("row %d: %v", i, err)
		}
		if want := items[i]; row.Hash != want.ID || row.Caption != want.Caption && row.Caption != "'"+want.Caption+"'" {
			t.Errorf("row %d: %+v, want %+v", i, row, want)
		}
	}
	sameFile(t, filepath.Join(dir, "images", "two.jpg"), files[1])
	sameFile(t, filepath.Join(dir, "images", "with.dots.and.more.webp"), files[2])
	sameFile(t, filepath.Join(dir, "images", "dup.png"), files[0])
}

func sameFile(t testing.TB, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	} else if !bytes.Equal(got, want) {
		t.Errorf("%s has other bytes", path)
	}
}

func TestWriteTables(t *testing.T) {
	ds, items, _ := hostileSet(t)
	for _, tt := range []struct {
		name  string
		comma rune
		o     WriteOptions
	}{{"rows.csv", ',', WriteOptions{}}, {"rows.tsv", '\t', WriteOptions{OpenCLIP: true}}, {"alone.csv", ',', WriteOptions{NoImages: true}}} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			w := write(t, filepath.Join(dir, tt.name), ds, tt.o)
			f, err := os.Open(filepath.Join(dir, tt.name))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			r := csv.NewReader(f)
			r.Comma = tt.comma
			rows, err := r.ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			at := map[string]int{}
			for i, name := range rows[0] {
				at[name] = i
			}
			caption := "caption"
			if tt.o.OpenCLIP {
				caption = "title"
			}
			if len(rows) != len(items)+1 || w.Rows != len(items) {
				t.Fatalf("%d rows", len(rows))
			}
			for i, row := range rows[1:] {
				if row[at["image_hash"]] != items[i].ID || row[at[caption]] != items[i].Caption && items[i].ID != "quotes" {
					t.Errorf("row %d: %q, want %+v", i, row, items[i])
				}
				if tt.o.OpenCLIP {
					if _, err := os.Stat(filepath.Join(dir, row[at["filepath"]])); err != nil {
						t.Error(err)
					}
				}
			}
			if got := rows[1][at["family"]] + rows[1][at["ink"]] + rows[1][at["held_out"]] + rows[2][at["family"]]; got != "00.1true" {
				t.Errorf("fields are %q", got)
			}
			if got := rows[2][at["captions"]]; got != `["one of two","two of two, with a comma","\"'three'\"","four\nlines"]` {
				t.Errorf("captions are %s", got)
			}
			if _, err := os.Stat(filepath.Join(dir, "images")); tt.o.NoImages != errors.Is(err, fs.ErrNotExist) {
				t.Errorf("images: %v", err)
			}
		})
	}
}

// members reads a tar file with the standard library.
func members(t testing.TB, path string) (names []string, data map[string][]byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data = map[string][]byte{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			return names, data
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.Unix() != 0 || h.Uid != 0 || h.Format != tar.FormatUSTAR || h.Typeflag != tar.TypeReg {
			t.Errorf("%s: %+v", path, h)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if data[h.Name] != nil {
			t.Errorf("%s: %s is there twice", path, h.Name)
		}
		names, data[h.Name] = append(names, h.Name), b
	}
}

func TestWriteShards(t *testing.T) {
	ds, items, files := hostileSet(t)
	dir := filepath.Join(t.TempDir(), "shards")
	w := write(t, filepath.Join(dir, "train-{000..}.tar"), ds, WriteOptions{ShardRows: 5})
	if w.Shards != 4 || w.Pictures != len(items) || w.Path != dir {
		t.Errorf("%+v", w)
	}
	i := 0
	for n := range w.Shards {
		names, data := members(t, filepath.Join(dir, fmt.Sprintf("train-%03d.tar", n)))
		for k := 0; k < len(names); k += 3 {
			key, ext, _ := strings.Cut(names[k], ".")
			if names[k+1] != key+".txt" || names[k+2] != key+".json" || "."+ext != extensionOf(files[i]) {
				t.Errorf("sample %d: %q", i, names[k:k+3])
			}
			var row struct {
				Hash    string `json:"image_hash"`
				Caption string
			}
			if err := json.Unmarshal(data[names[k+2]], &row); err != nil || row.Hash != items[i].ID {
				t.Errorf("sample %d: %v %+v", i, err, row)
			}
			if !bytes.Equal(data[names[k]], files[i]) {
				t.Errorf("sample %d: other bytes", i)
			}
			if got := string(data[names[k+1]]); got != items[i].Caption && got != "'"+items[i].Caption+"'" {
				t.Errorf("sample %d: caption %q, want %q", i, got, items[i].Caption)
			}
			i++
		}
	}
	if i != len(items) {
		t.Errorf("%d samples, want %d", i, len(items))
	}
	// By size: two pictures fit, not three.
	small := inMemory(items[:5], [][]byte{files[0], files[0], files[0], files[0], files[0]})
	if w := write(t, filepath.Join(t.TempDir(), "s", "{0..}.tar"), small, WriteOptions{ShardSize: int64(2*len(files[0]) + 1)}); w.Shards != 3 {
		t.Errorf("%d shards, want 3", w.Shards)
	}
	one := filepath.Join(t.TempDir(), "one.tar")
	if w := write(t, one, ds, WriteOptions{ShardRows: 1}); w.Shards != 1 {
		t.Errorf("%d shards in one file", w.Shards)
	}
	if names, _ := members(t, one); len(names) != 3*len(items) {
		t.Errorf("%d members", len(names))
	}
}

func TestWriteGroups(t *testing.T) {
	files := pictureFiles(t)
	item := func(url, caption, group string) dataloader.Item {
		sum := md5.Sum([]byte(url))
		return dataloader.Item{ID: hex.EncodeToString(sum[:]), URL: url, Caption: caption, Group: group, Family: -1, Profile: -1}
	}
	items := []dataloader.Item{
		item("https://x/0/0.png", "{A} in a {B}", "0"), item("https://x/1/0.png", "{A} \"in\"\n{B}", "1"),
		item("https://x/0/1.png", "{A} in a {B}", "0"), item("https://x/2/0.png", "no group", ""), item("https://x/2/1.png", "no group", ""),
		{ID: "mine", Caption: "no group", Family: -1, Profile: -1, Relation: "r"},
		{ID: "alone", Family: -1, Profile: -1},
	}
	dir := filepath.Join(t.TempDir(), "groups")
	w := write(t, filepath.Join(dir, "seed_group.json"), inMemory(items, append(files, files[0])), WriteOptions{})
	if w.Groups != 3 || w.Rows != 6 || w.Pictures != 6 || len(w.Broken) != 1 || w.Broken[0].ID != "alone" || w.Lost["relation"] != 1 || w.Lost["image_hash"] != 1 {
		t.Errorf("%+v", w)
	}
	text, err := os.ReadFile(filepath.Join(dir, "seed_group.json"))
	if err != nil {
		t.Fatal(err)
	}
	var groups []struct {
		Caption string   `json:"anonymous_caption"`
		URLs    []string `json:"image_urls"`
	}
	if err := json.Unmarshal(text, &groups); err != nil {
		t.Fatal(err)
	}
	if len(groups) != 3 || groups[1].Caption != items[1].Caption || !slices.Equal(groups[0].URLs, []string{items[0].URL, items[2].URL}) || len(groups[2].URLs) != 3 {
		t.Errorf("%+v", groups)
	}
	sameFile(t, filepath.Join(dir, "images", "group_0", items[2].ID+".webp"), files[2])
	sameFile(t, filepath.Join(dir, "images", "group_2", items[4].ID+".jpg"), files[4])
}

func TestWriteFolder(t *testing.T) {
	ds, items, files := hostileSet(t)
	dir := filepath.Join(t.TempDir(), "folder")
	w := write(t, dir, ds, WriteOptions{Format: Folder})
	if w.Rows != len(items) || w.Pictures != len(items)-1 || len(w.Lost) != 0 {
		t.Errorf("%+v", w)
	}
	sameFile(t, filepath.Join(dir, "two.jpg"), files[1])
	sameFile(t, filepath.Join(dir, "dup.txt"), []byte("first caption of it\nsecond caption of it\n"))
	sameFile(t, filepath.Join(dir, items[0].ID+".txt"), []byte(items[0].Caption+"\n"))
	for name, there := range map[string]bool{"two.txt": false, "two.json": true, "none.txt": false, "none.json": false, items[0].ID + ".json": true, "dup.json": false} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != there {
			t.Errorf("%s: %v", name, err)
		}
	}
	paths := []dataloader.Item{{ID: "a/b"}, {ID: "../up"}, {ID: "/root"}, {ID: ".hidden"}, {ID: "a/b.png"}, {ID: "a\\b"}, {ID: ""}, {ID: "nul\x00"}, {ID: "\xff"}, {ID: strings.Repeat("ü", 300)}}
	list := make([][]byte, len(paths))
	for i := range list {
		list[i] = files[0]
	}
	dir = filepath.Join(t.TempDir(), "paths")
	if w := write(t, dir, inMemory(paths, list), WriteOptions{Format: Folder}); w.Renamed != len(paths)-2 {
		t.Errorf("%+v", w)
	}
	for _, name := range []string{"a/b.png", "a/b.png.png", "%2E%2E/up.png", "%2Froot.png", "%2Ehidden.png", "a%5Cb.png", "%.png", "nul%00.png", "%FF.png"} {
		sameFile(t, filepath.Join(dir, filepath.FromSlash(name)), files[0])
	}
}

// The same data set gives the same bytes, whatever the number of goroutines.
func TestWriteTwice(t *testing.T) {
	ds, _, _ := hostileSet(t)
	for _, dst := range []string{"a.jsonl", "a.jsonl.gz", "a.csv", "a.parquet", "a.tar", "seed_group.json", "DIR"} {
		one, two := t.TempDir(), t.TempDir()
		o := WriteOptions{Workers: 1}
		if dst == "DIR" {
			o.Format = Folder
		}
		write(t, filepath.Join(one, dst), ds, o)
		o.Workers = 5
		write(t, filepath.Join(two, dst), ds, o)
		a, b := tree(t, one), tree(t, two)
		if len(a) == 0 || !slices.Equal(a, b) {
			t.Errorf("%s: the trees differ:\n%s\n%s", dst, strings.Join(a, "\n"), strings.Join(b, "\n"))
		}
	}
}

// tree lists files and hashes of their content.
func tree(t testing.TB, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		list = append(list, rel+" "+hashHex(string(data)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestWriteBroken(t *testing.T) {
	files := pictureFiles(t)
	items := make([]dataloader.Item, 5)
	for i := range items {
		items[i] = dataloader.Item{ID: fmt.Sprint("id", i), Caption: "c", Family: -1, Profile: -1, Path: "there", Member: fmt.Sprint("m", i)}
	}
	items[4].Caption = strings.Repeat("x", maxRow)
	list := [][]byte{files[0], nil, []byte("<html>not found</html>"), files[1][:len(files[1])/2], files[2]}
	for format, dst := range map[string]string{JSONL: "rows.jsonl", WebDataset: "a.tar", Parquet: "a.parquet", Folder: "d", CSV: "d", Groups: "seed_group.json"} {
		dst := filepath.Join(t.TempDir(), "out", dst)
		w := write(t, dst, inMemory(items, list), WriteOptions{Format: format})
		var broken []string
		for _, b := range w.Broken {
			broken = append(broken, b.ID+": "+b.Reason)
		}
		text := strings.Join(broken, "\n")
		for i, want := range []string{"id1: picture 1: gone", "id2: there:m2: not a PNG, JPEG or WebP picture", "id3: there:m3: ", "id4: a row of "} {
			if format == Groups && i == 3 {
				continue
			}
			if len(broken) <= i || !strings.HasPrefix(broken[i], want) {
				t.Errorf("%s: broken:\n%s\nwant %s", format, text, want)
			}
		}
		if format != Groups && w.Rows != 1 {
			t.Errorf("%s: %d rows", format, w.Rows)
		}
		if format == JSONL { // decoding left out, the half picture passes
			if w := write(t, dst, inMemory(items, list), WriteOptions{Trust: true, Force: true}); w.Rows != 2 {
				t.Errorf("trusting: %+v", w)
			}
		}
		strict := filepath.Join(t.TempDir(), "made", "for", "it")
		_, err := Write(t.Context(), filepath.Join(strict, filepath.Base(dst)), inMemory(items, list), WriteOptions{Format: format, Strict: true})
		if err == nil || !strings.Contains(err.Error(), "item 1 (id1): picture 1: gone") {
			t.Errorf("%s, strict: %v", format, err)
		}
		if _, err := os.Stat(filepath.Dir(filepath.Dir(strict))); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s, strict: folders are left: %v", format, err)
		}
		_, err = Write(t.Context(), filepath.Join(strict, filepath.Base(dst)), inMemory(items[1:3], list[1:3]), WriteOptions{Format: format})
		if err == nil || !strings.Contains(err.Error(), "none of 2 rows could be written; the first: picture 0: ") && !strings.Contains(err.Error(), "the first: there:m2") && !strings.Contains(err.Error(), "not a PNG") {
			t.Errorf("%s, all broken: %v", format, err)
		}
	}
}

// An output that is there is refused, and with Force replaced if Write has made it; nothing foreign goes.
func TestWriteOver(t *testing.T) {
	files := pictureFiles(t)
	set := func(n int) dataloader.Dataset {
		items := make([]dataloader.Item, n)
		for i := range items {
			items[i] = dataloader.Item{ID: fmt.Sprint("id", i), Caption: "c", Family: -1, Profile: -1}
		}
		return inMemory(items, files[:n])
	}
	put := func(t *testing.T, path, text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		format, dst string
		inside      string // of what is replaced: a folder whose content counts
	}{
		{"", "rows.jsonl", "images"}, {"", "rows.csv", "images"}, {"", "a.parquet", ""}, {"", "one.tar", ""}, {"", "seed_group.json", "images"},
		{Folder, "set", "set"}, {WebDataset, "set", "set"}, {JSONL, "set", "set/images"}, {Parquet, "set", "set"}, {Groups, "set", "set"},
	} {
		t.Run(tt.format+tt.dst, func(t *testing.T) {
			dir := t.TempDir()
			dst := filepath.Join(dir, tt.dst)
			o := WriteOptions{Format: tt.format}
			write(t, dst, set(3), o)
			first := tree(t, dir)
			if _, err := Write(t.Context(), dst, set(2), o); !errors.Is(err, ErrExists) {
				t.Errorf("error %v, want %v", err, ErrExists)
			}
			if now := tree(t, dir); !slices.Equal(now, first) {
				t.Errorf("refused, and changed to %v", now)
			}
			o.Force = true
			write(t, dst, set(2), o)
			second := tree(t, dir)
			if slices.Equal(first, second) {
				t.Error("nothing was replaced")
			}
			if tt.inside == "" {
				return
			}
			mine := filepath.Join(dir, tt.inside, "mine.png")
			put(t, mine, "mine")
			with := tree(t, dir)
			if _, err := Write(t.Context(), dst, set(3), o); !errors.Is(err, ErrNotOurs) {
				t.Errorf("error %v, want %v", err, ErrNotOurs)
			}
			if now := tree(t, dir); !slices.Equal(now, with) {
				t.Errorf("a foreign file: changed to %v", now)
			}
			if err := os.Remove(mine); err != nil {
				t.Fatal(err)
			}
			// A move that fails is taken back.
			for fails := range 4 {
				calls := 0
				rename = func(from, to string) error {
					if calls++; calls == fails+1 {
						return errors.New("no moving today")
					}
					return os.Rename(from, to)
				}
				_, err := Write(t.Context(), dst, set(3), o)
				rename = os.Rename
				if calls <= fails { // there are fewer moves
					if err != nil {
						t.Error(err)
					}
					break
				}
				if err == nil || !strings.Contains(err.Error(), "no moving today") {
					t.Errorf("move %d fails: %v", fails, err)
				}
				if now := tree(t, dir); !slices.Equal(now, second) {
					t.Errorf("move %d fails: changed to %v", fails, now)
				}
				noRubbish(t, dir)
			}
		})
	}
	t.Run("foreign", func(t *testing.T) {
		dir := t.TempDir()
		put(t, filepath.Join(dir, "set", "mine.txt"), "mine")
		put(t, filepath.Join(dir, "a", manifestFile), "{}")
		put(t, filepath.Join(dir, "images", "mine.png"), "mine")
		before := tree(t, dir)
		for dst, format := range map[string]string{"set": Folder, "a": WebDataset, "rows.jsonl": "", "seed_group.json": ""} {
			if _, err := Write(t.Context(), filepath.Join(dir, dst), set(2), WriteOptions{Format: format, Force: true}); !errors.Is(err, ErrNotOurs) {
				t.Errorf("%s: error %v, want %v", dst, err, ErrNotOurs)
			}
		}
		if err := os.Symlink("set", filepath.Join(dir, "link.csv")); err != nil {
			t.Fatal(err)
		}
		if _, err := Write(t.Context(), filepath.Join(dir, "link.csv"), set(2), WriteOptions{Force: true, NoImages: true}); err == nil {
			t.Error("a link was replaced")
		}
		os.Remove(filepath.Join(dir, "link.csv"))
		if now := tree(t, dir); !slices.Equal(now, before) {
			t.Errorf("changed to %v", now)
		}
		noRubbish(t, dir)
	})
	t.Run("an empty folder", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "set")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, dir, set(2), WriteOptions{Format: Folder})
		sameFile(t, filepath.Join(dir, "id0.png"), files[0])
	})
}

// The end of the context at any row leaves nothing, and an earlier output as it was.
func TestWriteInterrupted(t *testing.T) {
	ds, items, _ := hostileSet(t)
	for format, dst := range map[string]string{JSONL: "rows.jsonl", WebDataset: "d", Parquet: "a.parquet", Folder: "d", CSV: "d", Groups: "seed_group.json"} {
		for _, at := range []int{0, 1, len(items) / 2, len(items)} {
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			o := WriteOptions{Format: format, Workers: 2, Progress: func(done, total int) {
				if done == at {
					cancel()
				}
				if total != len(items) {
					t.Errorf("%d of %d", done, total)
				}
			}}
			if at == 0 {
				cancel()
			}
			_, err := Write(ctx, filepath.Join(dir, "new", dst), ds, o)
			cancel()
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s at %d: error %v", format, at, err)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
				t.Errorf("%s at %d: left behind %v", format, at, entries)
			}
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	ds := inMemory([]dataloader.Item{{ID: "a"}}, pictureFiles(t)[:1])
	dir := t.TempDir()
	for _, tt := range []struct {
		dst, want string
		o         WriteOptions
	}{
		{"", "the destination has no name", WriteOptions{}},
		{"new", "a folder may have several formats: say which one of jsonl, csv", WriteOptions{}},
		{"a.jsonl", "the name is that of the format jsonl, and csv is asked for", WriteOptions{Format: CSV}},
		{"a.txt", "want an ending such as .csv, or a folder", WriteOptions{Format: CSV}},
		{"a.jsonl", `there is no format "json"`, WriteOptions{Format: "json"}},
		{"new", "the format webdataset has no rows without pictures", WriteOptions{Format: WebDataset, NoImages: true}},
		{"a.jsonl", "open_clip's columns are those of the formats csv and tsv, not of jsonl", WriteOptions{OpenCLIP: true}},
		{"d/{000..113}.tar", "the number of shards comes of their size: want {000..}", WriteOptions{}},
		{"d/{1..}.tar", "want shards to be called like {000000..}.tar", WriteOptions{}},
		{"d/{0..}.jsonl", "the format jsonl has no shards", WriteOptions{}},
		{".", "want a folder that can be moved", WriteOptions{Format: Folder}},
		{"{0..}.tar", "want a folder that can be moved", WriteOptions{}},
		{"a.tar", "shards of -1 bytes", WriteOptions{ShardSize: -1}},
		{"a.tar", "-1 workers", WriteOptions{Workers: -1}},
		{"file/a.tar", "not a ", WriteOptions{}},
	} {
		t.Chdir(dir)
		if err := os.WriteFile("file", nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Write(t.Context(), tt.dst, ds, tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q %+v: error %v, want %q", tt.dst, tt.o, err, tt.want)
		}
		if entries, _ := os.ReadDir("."); len(entries) != 1 {
			t.Errorf("%q: left behind %v", tt.dst, entries)
		}
	}
}

func TestWriteEmpty(t *testing.T) {
	for _, dst := range []string{"a.jsonl", "a.csv", "a.parquet", "a.tar", "seed_group.json"} {
		dst := filepath.Join(t.TempDir(), dst)
		if w := write(t, dst, inMemory(nil, nil), WriteOptions{}); w.Rows != 0 {
			t.Errorf("%+v", w)
		}
		if strings.HasSuffix(dst, ".tar") {
			if names, _ := members(t, dst); len(names) != 0 {
				t.Errorf("members %q", names)
			}
		}
	}
}

// A second picture of one ID gets an ID of its own, and so does one whose name would be another's.
func TestWriteNames(t *testing.T) {
	files := pictureFiles(t)
	items := []dataloader.Item{{ID: "a"}, {ID: "a"}, {ID: "a.png"}, {ID: "a"}, {ID: "a-2"}, {ID: "b.JPG"}, {ID: "b"}}
	list := [][]byte{files[0], files[1], files[3], files[0], files[4], files[1], files[2]}
	dir := t.TempDir()
	w := write(t, filepath.Join(dir, "rows.jsonl"), inMemory(items, list), WriteOptions{})
	if w.Renamed != 4 || w.Pictures != 6 {
		t.Errorf("%+v", w)
	}
	ds, err := Open(t.Context(), filepath.Join(dir, "rows.jsonl"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range items {
		got, err := dataloader.Bytes(t.Context(), ds, i)
		if err != nil || !bytes.Equal(got, list[i]) {
			t.Errorf("item %d, now %s: %v, or another picture", i, ds.Item(i).ID, err)
		}
	}
}

func TestProtected(t *testing.T) {
	for _, s := range []string{"", "plain", `"a"`, `'a'`, "“a”", "‘a’", `"a" and "b"`, `''`, `"`, `it's`, `"it's"`, `'"“a”"'`, `"a".`, `“a.”.`} {
		if got := unquote(protected(s)); got != s {
			t.Errorf("%q is read as %q", s, got)
		}
		if unquote(s) == s && protected(s) != s {
			t.Errorf("%q gets quotes without need", s)
		}
	}
}
