package dataloader

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// warnings collects what a cache warns of.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

func (w *warnings) add(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, s)
}

// want checks that there is one warning for each text, in any order.
func (w *warnings) want(t *testing.T, texts ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.texts) != len(texts) {
		t.Errorf("warnings %q, want %d", w.texts, len(texts))
		return
	}
	for _, text := range texts {
		if !slices.ContainsFunc(w.texts, func(s string) bool { return strings.Contains(s, text) }) {
			t.Errorf("warnings %q, want %q", w.texts, text)
		}
	}
}

// entries lists the files of a cache's entries.
func entries(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

var cached = Transform{Size: 16}

// squares returns the pictures of ds, nil where one is broken.
func squares(t *testing.T, ds Dataset, tr Transform) (all []*Image) {
	t.Helper()
	for i := range ds.Len() {
		im, err := tr.Image(context.Background(), ds, i)
		if (err != nil) != (i == 3) {
			t.Fatalf("picture %d: %v", i, err)
		}
		all = append(all, im)
	}
	return all
}

func sameSquares(t *testing.T, got, want []*Image) {
	t.Helper()
	for i := range want {
		if want[i] != nil && !bytes.Equal(got[i].Pix, want[i].Pix) {
			t.Errorf("picture %d differs", i)
		}
	}
}

func TestCache(t *testing.T) {
	plain := jpegSet(t, 8)
	want := squares(t, plain, cached)
	dir := filepath.Join(t.TempDir(), "a", "cache")
	var w warnings
	c := OpenCache(dir, 1<<20, w.add)
	ds := WithCache(plain, c)
	for range 3 {
		sameSquares(t, squares(t, ds, cached), want)
	}
	const entry = cacheHeader + 3*16*16
	if s := c.Stats(); s != (CacheStats{Hits: 14, Misses: 7 + 3, Written: 7, Bytes: 7 * entry}) {
		t.Errorf("%+v", s) // the broken picture is asked for again
	}
	// Another process finds them; another size or way does not.
	c = OpenCache(dir, 1<<20, w.add)
	ds = WithCache(plain, c)
	sameSquares(t, squares(t, ds, cached), want)
	if s := c.Stats(); s != (CacheStats{Hits: 7, Misses: 1, Bytes: 7 * entry}) {
		t.Errorf("%+v", s)
	}
	for _, tr := range []Transform{{Size: 15}, {Size: 16, Pictures: Pictures{JPEG: JPEGReference}}, {Size: 16, Pictures: Pictures{Draft: true}}} {
		before := c.Stats().Hits
		sameSquares(t, squares(t, ds, tr), squares(t, plain, tr))
		if hits := c.Stats().Hits - before; hits != 0 {
			t.Errorf("%+v: %d entries of other settings were taken", tr, hits)
		}
	}
	// What does not change the square does not change the entry.
	before := c.Stats()
	squares(t, ds, Transform{Size: 16, Flip: true, Normalize: Normalize{Std: [3]float64{1, 1, 1}}})
	if s := c.Stats(); s.Hits-before.Hits != 7 {
		t.Errorf("%+v after %+v", s, before)
	}
	// A file that changes is another entry, whatever its name and times.
	path := plain.Item(1).Path
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, encodeJPEG(t, asImage{photo(50, 50, 77)}, 85), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	got, err := cached.Image(context.Background(), ds, 1)
	if err != nil || bytes.Equal(got.Pix, want[1].Pix) {
		t.Errorf("a changed file gives the old picture (%v)", err)
	}
	w.want(t)
}

// TestCacheLoader: a cache changes no value, for any number of workers, through views.
func TestCacheLoader(t *testing.T) {
	plain := jpegSet(t, 12)
	tr := Transform{Size: 16, Flip: true, Turn: true}
	want, _ := batches(t, plain, 1, tr, 7)
	c := OpenCache(t.TempDir(), 1<<20, func(s string) { t.Error(s) })
	all := make([]int, plain.Len())
	for i := range all {
		all[i] = i
	}
	for _, workers := range []int{3, 1} {
		for name, ds := range map[string]Dataset{
			"files":  WithCache(plain, c),
			"square": WithCache(tr.Square(plain), c),
		} {
			if got, broken := batches(t, ds, workers, tr, 7); !slices.Equal(got, want) || broken != 1 {
				t.Errorf("%s, %d workers: other values, or %d broken pictures", name, workers, broken)
			}
		}
	}
	if c.Stats().Hits == 0 {
		t.Error("nothing was found")
	}
	before := c.Stats().Hits
	squares(t, WithCache(Subset(plain, "all", all), c), cached)
	if hits := c.Stats().Hits - before; hits != 11 {
		t.Errorf("%d pictures of a subset were found, want 11", hits)
	}
	memory := NewMemory("m", []Item{{ID: "a"}}, []*Image{noise(3, 3, 1)})
	if WithCache(memory, c) != memory {
		t.Error("a set in memory is wrapped")
	}
}

// TestCacheDamaged writes over entries: they are found by their checksum, and made
// again.
func TestCacheDamaged(t *testing.T) {
	plain := jpegSet(t, 8)
	want := squares(t, plain, cached)
	dir := t.TempDir()
	squares(t, WithCache(plain, OpenCache(dir, 1<<20, nil)), cached)
	files := entries(t, dir)
	if len(files) != 7 {
		t.Fatalf("%d entries, want 7", len(files))
	}
	read := func(i int) []byte {
		b, err := os.ReadFile(files[i])
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := read(0)
	b[len(b)/2] ^= 1
	cut, magic, long := read(1)[:100], read(2), append(read(3), 0)
	magic[0] = 'X'
	for i, b := range [][]byte{b, cut, magic, long, {}, read(6)} { // the last: whole, and of another name
		if err := os.WriteFile(files[i], b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var w warnings
	c := OpenCache(dir, 1<<20, w.add)
	ds := WithCache(plain, c)
	sameSquares(t, squares(t, ds, cached), want)
	sameSquares(t, squares(t, ds, cached), want)
	if s := c.Stats(); s.Damaged != 6 || s.Written != 6 || s.Hits != 1+7 {
		t.Errorf("%+v", s)
	}
	w.want(t, "is damaged: it is made again")
}

func TestCacheFull(t *testing.T) {
	plain := jpegSet(t, 8)
	want := squares(t, plain, cached)
	const entry = cacheHeader + 3*16*16
	dir := t.TempDir()
	var w warnings
	c := OpenCache(dir, 3*entry+10, w.add)
	ds := WithCache(plain, c)
	for range 2 {
		sameSquares(t, squares(t, ds, cached), want)
	}
	if s := c.Stats(); s.Written != 3 || s.Hits != 3 || s.Bytes != 3*entry {
		t.Errorf("%+v", s)
	}
	w.want(t, "it is full")
	// With less room, the oldest entries go; other files stay.
	files := entries(t, dir)
	for i, file := range files {
		when := time.Now().Add(-time.Duration(10-i) * time.Hour)
		if err := os.Chtimes(file, when, when); err != nil {
			t.Fatal(err)
		}
	}
	note, left := filepath.Join(dir, "note.txt"), filepath.Join(filepath.Dir(files[0]), cachePrefix+"1")
	for _, file := range []string{note, left} {
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(left, old, old); err != nil {
		t.Fatal(err)
	}
	c = OpenCache(dir, entry, nil)
	if s := c.Stats(); s.Bytes != entry {
		t.Errorf("%+v", s)
	}
	for file, there := range map[string]bool{files[0]: false, files[1]: false, files[2]: true, note: true, left: false} {
		if _, err := os.Stat(file); (err == nil) != there {
			t.Errorf("%s: %v, want there: %t", file, err, there)
		}
	}
}

// TestCacheTrouble: what happens to the folder is warned of once and stops nothing.
func TestCacheTrouble(t *testing.T) {
	plain := jpegSet(t, 8)
	want := squares(t, plain, cached)
	check := func(name string, open func(w *warnings) *Cache, texts ...string) {
		t.Run(name, func(t *testing.T) {
			var w warnings
			ds := WithCache(plain, open(&w))
			for range 2 {
				sameSquares(t, squares(t, ds, cached), want)
			}
			w.want(t, texts...)
		})
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const ending = "what is there is used, other pictures are decoded every time"
	check("a file", func(w *warnings) *Cache { return OpenCache(file, 1<<20, w.add) }, ": pictures are decoded every time")
	check("below a file", func(w *warnings) *Cache { return OpenCache(filepath.Join(file, "x"), 1<<20, w.add) }, ": pictures are decoded every time")
	check("removed", func(w *warnings) *Cache {
		dir := filepath.Join(t.TempDir(), "c")
		c := OpenCache(dir, 1<<20, w.add)
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		return c
	})
	if runtime.GOOS == "linux" {
		if _, err := os.Stat("/proc/self"); err == nil {
			// No process may make files there, not even root.
			check("read-only", func(w *warnings) *Cache { return OpenCache("/proc/self/fd", 1<<20, w.add) }, ending)
		}
	}
}

// TestCacheTogether: several caches of one folder, as several processes have, hold to
// the bound and see each other's entries.
func TestCacheTogether(t *testing.T) {
	plain := jpegSet(t, 16)
	want := squares(t, plain, cached)
	dir := t.TempDir()
	var group sync.WaitGroup
	for range 4 {
		c := OpenCache(dir, 1<<20, func(s string) { t.Error(s) })
		ds := WithCache(plain, c)
		for range 2 {
			group.Go(func() {
				for range 3 {
					for i := range want {
						im, err := cached.Image(context.Background(), ds, i)
						if want[i] != nil && (err != nil || !bytes.Equal(im.Pix, want[i].Pix)) {
							t.Errorf("picture %d differs (%v)", i, err)
						}
					}
				}
			})
		}
	}
	group.Wait()
	if n := len(entries(t, dir)); n != 15 {
		t.Errorf("%d files, want 15", n)
	}
}

// TestCacheLooks: a cache notices what others have written before it has itself
// written much.
func TestCacheLooks(t *testing.T) {
	dir := t.TempDir()
	const side = 300
	const limit = 64 << 20
	a, b := OpenCache(dir, limit, nil), OpenCache(dir, limit, nil)
	im := &Image{Width: side, Height: side, Pix: make([]byte, 3*side*side)}
	for i := range 1000 {
		c := a
		if i%2 == 1 {
			c = b
		}
		var k cacheKey
		copy(k[:], fmt.Sprint(i))
		c.put(k, im)
	}
	var bytes int64
	for _, file := range entries(t, dir) {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		bytes += info.Size()
	}
	if bytes > limit*66/64 || bytes < limit*9/10 {
		t.Errorf("%d bytes of %d", bytes, limit)
	}
}

func TestParseBytes(t *testing.T) {
	for s, want := range map[string]int64{"4096": 4096, "1KiB": 1024, "1.5 MiB": 3 << 19, "20GiB": 20 << 30, " 2 TiB ": 2 << 40} {
		if got, err := ParseBytes(s); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "GiB", "0", "-1GiB", "1GB", "nan", "inf", "1e30TiB", "twenty"} {
		if _, err := ParseBytes(s); err == nil || !strings.Contains(err.Error(), "want an amount such as 20GiB") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func BenchmarkCache(b *testing.B) {
	dir := b.TempDir()
	file := filepath.Join(dir, "a.jpg")
	if err := os.WriteFile(file, encodeJPEG(b, asImage{photo(640, 480, 1)}, 85), 0o600); err != nil {
		b.Fatal(err)
	}
	plain := NewRows("one", "", []Item{{ID: "a", Path: file}}, nil)
	for name, ds := range map[string]Dataset{"none": plain, "hit": WithCache(plain, OpenCache(filepath.Join(dir, "cache"), 1<<30, nil))} {
		b.Run("cache="+name, func(b *testing.B) {
			for b.Loop() {
				if _, err := (Transform{Size: 224}).Image(context.Background(), ds, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
