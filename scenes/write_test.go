package scenes

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func readRows(t *testing.T, path string) []Row {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows []Row
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var row Row
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(&row); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "scenes")
	cfg := tiny()
	sum, err := Write(context.Background(), dir, cfg, Options{TrainPictures: 10})
	if err != nil {
		t.Fatal(err)
	}
	images := 0
	for _, split := range Splits() {
		want := generate(t, cfg, split, 0)
		if split == Train {
			want = want[:10]
		}
		rows := readRows(t, filepath.Join(dir, split+".jsonl"))
		if len(rows) != len(want) || sum.Pictures[split] != len(want) {
			t.Fatalf("%s: %d rows, %d in the summary, want %d", split, len(rows), sum.Pictures[split], len(want))
		}
		truth := generate(t, cfg, Test, 0)
		for i, row := range rows {
			p := want[i]
			expected := rowOf(&p)
			if p.Pair >= 0 {
				expected.Pair = truth[p.Pair].Hash
			}
			if row != expected {
				t.Fatalf("%s row %d: %+v, want %+v", split, i, row, expected)
			}
			if pix := readPNG(t, filepath.Join(dir, row.URLLink), cfg.Size); !bytes.Equal(pix, p.Pix) {
				t.Fatalf("%s row %d: the file has other pixels", split, i)
			}
			images++
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, "images"))
	if err != nil || len(entries) != images {
		t.Errorf("%d images for %d rows, error %v", len(entries), images, err)
	}
	beside(t, dir)

	// An earlier output is replaced as a whole.
	cfg.Seed++
	if _, err := Write(context.Background(), dir, cfg, Options{}); err != nil {
		t.Fatal(err)
	}
	if rows := readRows(t, filepath.Join(dir, "train.jsonl")); len(rows) != 48 {
		t.Errorf("after the second Write there are %d rows", len(rows))
	}
	beside(t, dir)
}

// beside checks that nothing but dir is in its parent.
func beside(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(dir) {
			t.Errorf("Write left %s", e.Name())
		}
	}
}

func readPNG(t *testing.T, path string, size int) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	var pix []byte
	for y := range size {
		for x := range size {
			r, g, b, _ := img.At(x, y).RGBA()
			pix = append(pix, byte(r>>8), byte(g>>8), byte(b>>8))
		}
	}
	return pix
}

func TestWriteRefuses(t *testing.T) {
	ours := func(t *testing.T, dir string) {
		if _, err := Write(context.Background(), dir, tiny(), Options{TrainPictures: 1}); err != nil {
			t.Fatal(err)
		}
	}
	put := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, prepare := range map[string][]func(*testing.T, string){
		"foreign file":           {put("notes.txt", "mine")},
		"foreign scenes.json":    {put("scenes.json", `{"format":"film"}`)},
		"broken scenes.json":     {put("scenes.json", `{`)},
		"file added to ours":     {ours, put("notes.txt", "mine")},
		"picture added to ours":  {ours, put("images/holiday.png", "mine")},
		"a second train.jsonl":   {put("train.jsonl", "")},
		"hash with foreign type": {ours, put("images/0123456789abcdef0123456789abcdef.jpg", "mine")},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "out")
			for _, f := range prepare {
				f(t, dir)
			}
			before := listing(t, dir)
			if _, err := Write(context.Background(), dir, tiny(), Options{}); !errors.Is(err, ErrNotOurs) {
				t.Errorf("error %v, want %v", err, ErrNotOurs)
			}
			if after := listing(t, dir); !slices.Equal(before, after) {
				t.Errorf("the folder changed from %v to %v", before, after)
			}
			beside(t, dir)
		})
	}
	t.Run("empty folder", func(t *testing.T) { ours(t, t.TempDir()) })
	t.Run("a file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "out")
		put("out", "mine")(t, filepath.Dir(path))
		if _, err := Write(context.Background(), path, tiny(), Options{}); err == nil {
			t.Error("Write replaced a file")
		}
	})
	t.Run("too many", func(t *testing.T) {
		if _, err := Write(context.Background(), filepath.Join(t.TempDir(), "out"), tiny(), Options{TrainPictures: 49}); err == nil {
			t.Error("no error")
		}
	})
}

func listing(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		names = append(names, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestWriteInterrupted: when the context ends at any point nothing is left, and an earlier output stays.
func TestWriteInterrupted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	if _, err := Write(context.Background(), dir, tiny(), Options{}); err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	other := tiny()
	other.Seed++
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err := Write(ctx, dir, other, Options{Progress: func(done, total int) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want %v", err, context.Canceled)
	}
	if after := listing(t, dir); !slices.Equal(before, after) {
		t.Error("an interrupted Write changed the earlier output")
	}
	beside(t, dir)
	if !strings.Contains(err.Error(), "picture") {
		t.Errorf("error %q does not say where", err)
	}
}
