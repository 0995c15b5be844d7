package training

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func mustRows(t *testing.T, folder string, model rowKey, width int) *rowCache {
	t.Helper()
	c, err := openRows(folder, model, width)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Rows come back bit for bit, to their model and width alone.
func TestRowCache(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "new")
	model := sha256.Sum256([]byte("a"))
	c := mustRows(t, folder, model, 2)
	if c.get("x") != nil {
		t.Error("a row in an empty cache")
	}
	c.put("x", []float32{1, -2})
	c.put("", []float32{0, 3e-40})
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	again := mustRows(t, folder, model, 2)
	if !slices.Equal(again.get("x"), []float32{1, -2}) || !slices.Equal(again.get(""), []float32{0, 3e-40}) || again.get("y") != nil {
		t.Errorf("rows %v", again.rows)
	}
	if other := mustRows(t, folder, sha256.Sum256([]byte("b")), 2); other.get("x") != nil {
		t.Error("a row of another model")
	}
	if _, err := openRows(folder, model, 3); err == nil || !strings.Contains(err.Error(), "2 rows of 2 numbers") {
		t.Errorf("another width: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(folder, ".tmp*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// Every byte of the file counts: whichever is changed or cut off, the file is refused and made anew.
func TestRowCacheDamaged(t *testing.T) {
	folder, model := t.TempDir(), sha256.Sum256([]byte("a"))
	c := mustRows(t, folder, model, 2)
	c.put("x", []float32{1, -2})
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(c.path)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, data []byte) {
		t.Helper()
		if err := os.WriteFile(c.path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		damaged, err := openRows(folder, model, 2)
		if err == nil || !strings.Contains(err.Error(), c.path) || damaged.get("x") != nil {
			t.Fatalf("%s: %v, rows %v", what, err, damaged.rows)
		}
		damaged.put("x", []float32{3, 4})
		if err := damaged.save(); err != nil {
			t.Fatal(err)
		}
		if again := mustRows(t, folder, model, 2); !slices.Equal(again.get("x"), []float32{3, 4}) {
			t.Fatalf("%s: rows %v after it was made anew", what, again.rows)
		}
	}
	for i := range whole {
		bad := slices.Clone(whole)
		bad[i] ^= 0x40
		refused(fmt.Sprintf("byte %d", i), bad)
		refused(fmt.Sprintf("%d bytes", i), whole[:i])
	}
	refused("a byte more", append(slices.Clone(whole), 0))
	c.limit = int64(len(whole)) - 1
	if err := os.WriteFile(c.path, whole, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := c.read(); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("too large: %v", err)
	}
}

// The file is bounded: rows that this process used stay before those that it did not. Files of other models go when
// the folder is too large, the oldest first.
func TestRowCacheBounds(t *testing.T) {
	folder, model := t.TempDir(), sha256.Sum256([]byte("a"))
	c := mustRows(t, folder, model, 1)
	for i := range 10 {
		c.put(fmt.Sprint(i), []float32{float32(i)})
	}
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	c = mustRows(t, folder, model, 1)
	c.get("4")
	c.put("new", []float32{42})
	c.limit = int64(rowHeading+sha256.Size) + 2*c.entry() + c.entry()/2
	before, _ := os.Stat(c.path)
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(c.path); info.Size() > c.limit || info.Size() >= before.Size() {
		t.Errorf("%d bytes, at most %d", info.Size(), c.limit)
	}
	if c = mustRows(t, folder, model, 1); len(c.rows) != 2 || c.get("4") == nil || c.get("new") == nil {
		t.Errorf("rows %v, want those of 4 and new", c.rows)
	}

	for i, name := range []string{"old", "older"} {
		path := filepath.Join(folder, name+rowSuffix)
		if err := os.WriteFile(path, make([]byte, 100), 0o666); err != nil {
			t.Fatal(err)
		}
		if at := time.Now().Add(-time.Duration(i+1) * time.Hour); os.Chtimes(path, at, at) != nil {
			t.Fatal("no times")
		}
	}
	info, _ := os.Stat(c.path)
	trimFolder(folder, filepath.Base(c.path), info.Size()+100)
	names, _ := filepath.Glob(filepath.Join(folder, "*"))
	if want := []string{c.path, filepath.Join(folder, "old"+rowSuffix)}; !slices.Equal(names, want) {
		t.Errorf("left are %v, want %v", names, want)
	}
	trimFolder(folder, filepath.Base(c.path), 0)
	if _, err := os.Stat(c.path); err != nil {
		t.Errorf("the file in use is gone: %v", err)
	}
}

// Processes that save at one time leave a whole file, and what is saved one after another adds up.
func TestRowCacheTogether(t *testing.T) {
	folder, model := t.TempDir(), sha256.Sum256([]byte("a"))
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			c, err := openRows(folder, model, 64)
			if err != nil {
				t.Error(err)
			}
			for j := range 50 {
				c.put(fmt.Sprint(i, j), slices.Repeat([]float32{float32(i)}, 64))
			}
			if err := c.save(); err != nil {
				t.Error(err)
			}
			if c, err = openRows(folder, model, 64); err != nil || len(c.rows) < 50 {
				t.Errorf("%v, %d rows", err, len(c.rows))
			}
		})
	}
	group.Wait()
	one, two := mustRows(t, folder, model, 64), mustRows(t, folder, model, 64)
	n := len(one.rows)
	one.put("one", make([]float32, 64))
	two.put("two", make([]float32, 64))
	for _, c := range []*rowCache{one, two} {
		if err := c.save(); err != nil {
			t.Fatal(err)
		}
	}
	if c := mustRows(t, folder, model, 64); len(c.rows) != n+2 {
		t.Errorf("%d rows, want %d", len(c.rows), n+2)
	}
}

func FuzzRowCache(f *testing.F) {
	c := &rowCache{model: sha256.Sum256([]byte("a")), width: 2}
	f.Add([]byte(rowMagic))
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := sha256.Sum256(body) // a forger knows how to add up
		rows, err := c.parse(append(slices.Clone(body), sum[:]...))
		for _, row := range rows {
			if err != nil || len(row) != 2 {
				t.Errorf("row %v, %v", row, err)
			}
		}
	})
}
