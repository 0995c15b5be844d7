package dataloader

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// numbered is a set of n small pictures.
func numbered(n int) Dataset {
	items, images := make([]Item, n), make([]*Image, n)
	for i := range n {
		items[i] = Item{ID: fmt.Sprint("p", i), Caption: fmt.Sprint("caption ", i), Gravity: i%5 == 0}
		images[i] = noise(8, 8, uint64(i))
	}
	return NewMemory("numbered", items, images)
}

// faulty wraps a set: the pictures of broken cannot be read, and reading takes
// an irregular time.
type faulty struct {
	Dataset
	broken map[int]string
	slow   bool
	reads  atomic.Int64 // of all pictures
	active atomic.Int64 // reads that have not ended

	mu     sync.Mutex
	failed map[int]int // reads of each broken picture
}

func (f *faulty) Image(ctx context.Context, i int) (*Image, error) {
	f.reads.Add(1)
	f.active.Add(1)
	defer f.active.Add(-1)
	if f.broken[i] != "" {
		f.mu.Lock()
		if f.failed == nil {
			f.failed = make(map[int]int)
		}
		f.failed[i]++
		f.mu.Unlock()
	}
	if f.slow {
		time.Sleep(time.Duration(mix(uint64(i))%2000) * time.Microsecond)
	}
	switch reason := f.broken[i]; reason {
	case "":
		return f.Dataset.Image(ctx, i)
	case "panic":
		panic("a panic of the data set")
	default:
		return nil, errors.New(reason)
	}
}

var small = Transform{Size: 8, Flip: true, Turn: true}

func newLoader(t testing.TB, ds Dataset, c Config) *Loader {
	t.Helper()
	if c.Transform == (Transform{}) {
		c.Transform = small
	}
	l, err := New(ds, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func next(t testing.TB, l *Loader) *Batch {
	t.Helper()
	b, err := l.Next(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// take returns copies of the next n batches.
func take(t testing.TB, l *Loader, n int) []Batch {
	t.Helper()
	var list []Batch
	for range n {
		b := next(t, l)
		c := *b
		c.Images, c.Items, c.Index = valuesOf(t, b), slices.Clone(b.Items), slices.Clone(b.Index)
		c.Pixels, c.Tables = nil, nil
		list = append(list, c)
		l.Recycle(b)
	}
	return list
}

// valuesOf returns what a network takes of the pictures of a batch: a copy, or what its pixels and tables say.
func valuesOf(t testing.TB, b *Batch) []float32 {
	t.Helper()
	if b.Pixels == nil {
		return slices.Clone(b.Images)
	}
	if b.Images != nil || len(b.Tables)%(3*256) != 0 || len(b.Tables) == 0 {
		t.Fatalf("%d values beside %d pixels, and %d in tables", len(b.Images), len(b.Pixels), len(b.Tables))
	}
	return looked(b.Pixels, b.Tables)
}

// looked finds pixels, planes of one size, in tables, one of 256 values for each plane.
func looked(pixels []byte, tables []float32) []float32 {
	values := make([]float32, len(pixels))
	plane := len(pixels) / (len(tables) / 256)
	for i, v := range pixels {
		values[i] = tables[i/plane*256+int(v)]
	}
	return values
}

// noLeak fails the test if goroutines are left after f.
func noLeak(t *testing.T, f func()) {
	t.Helper()
	before := runtime.NumGoroutine()
	f()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

func TestEpochs(t *testing.T) {
	ds := numbered(50)
	l := newLoader(t, ds, Config{Batch: 8, Workers: 3, Seed: 5})
	if l.Steps() != 6 {
		t.Errorf("%d steps, want 6", l.Steps())
	}
	var orders [][]int
	for epoch := range 3 {
		var order []int
		for range 6 {
			b := next(t, l)
			if b.Epoch != epoch || b.Step != epoch*6+len(order)/8 || b.Broken != 0 {
				t.Fatalf("epoch %d, step %d, broken %d", b.Epoch, b.Step, b.Broken)
			}
			for k, i := range b.Index {
				if !reflect.DeepEqual(b.Items[k], ds.Item(i)) {
					t.Fatalf("item %+v, want %+v", b.Items[k], ds.Item(i))
				}
			}
			order = append(order, b.Index...)
			l.Recycle(b)
		}
		sorted := slices.Sorted(slices.Values(order))
		if len(slices.Compact(sorted)) != 48 {
			t.Errorf("epoch %d: an item comes twice: %v", epoch, order)
		}
		orders = append(orders, order)
	}
	if slices.Equal(orders[0], orders[1]) || slices.Equal(orders[1], orders[2]) {
		t.Error("two epochs have the same order")
	}
}

// The order is uniform: over many epochs, every item comes at every place.
func TestOrderIsUniform(t *testing.T) {
	const n, epochs = 8, 16000
	var count [n][n]int
	order := make([]int32, n)
	for epoch := range epochs {
		permute(order, 3, epoch)
		for place, i := range order {
			count[i][place]++
		}
	}
	for i := range n {
		for place := range n {
			if c := count[i][place]; c < 1800 || c > 2200 { // 2000 ± 4.7 σ
				t.Errorf("item %d comes %d times at place %d, want about %d", i, c, place, epochs/n)
			}
		}
	}
}

// The order must not change from one version to the next, or resumed runs would
// go another way. The numbers come from a program of its own in Python.
func TestOrderIsStable(t *testing.T) {
	order := make([]int32, 10)
	permute(order, 1, 0)
	first := fmt.Sprint(order)
	permute(order, 1, 1)
	second := fmt.Sprint(order)
	permute(order, 2, 0)
	third := fmt.Sprint(order)
	if got, want := first+second+third, "[1 6 9 5 2 4 8 7 3 0][4 9 6 5 8 1 3 7 0 2][3 4 8 1 5 2 0 9 7 6]"; got != want {
		t.Errorf("orders %s, want %s", got, want)
	}
}

// Neither the number of workers nor the prefetch changes a bit.
func TestWorkersDoNotMatter(t *testing.T) {
	ds := &faulty{Dataset: numbered(60), slow: true, broken: map[int]string{7: "x", 33: "panic"}}
	var want []Batch
	for _, c := range []Config{{Workers: 1, Prefetch: 1}, {Workers: 2}, {Workers: 7, Prefetch: 3}, {Workers: 100}} {
		c.Batch, c.Seed = 8, 11
		got := take(t, newLoader(t, ds, c), 20)
		if want == nil {
			want = got
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%d workers, prefetch %d: batches differ", c.Workers, c.Prefetch)
		}
	}
	if reflect.DeepEqual(take(t, newLoader(t, ds, Config{Batch: 8, Seed: 12}), 1)[0].Index, want[0].Index) {
		t.Error("another seed gives the same order")
	}
}

// An item's values are those of its picture, augmented by (seed, epoch, index)
// and by nothing else.
func TestValuesOfABatch(t *testing.T) {
	ds := numbered(20)
	of := func(batch int) map[string][]float32 {
		values := make(map[string][]float32)
		for _, b := range take(t, newLoader(t, ds, Config{Batch: batch, Seed: 4}), 40/batch) {
			for k, i := range b.Index {
				values[fmt.Sprint(b.Epoch, " ", i)] = b.Images[k*small.Len() : (k+1)*small.Len()]
			}
		}
		return values
	}
	a, b := of(1), of(10)
	if len(a) != 40 || !reflect.DeepEqual(a, b) {
		t.Errorf("%d and %d items, or other values in larger batches", len(a), len(b))
	}
	changed := 0
	for i := range 20 {
		if !slices.Equal(a[fmt.Sprint("0 ", i)], a[fmt.Sprint("1 ", i)]) {
			changed++
		}
	}
	if changed < 10 {
		t.Errorf("only %d of 20 pictures are augmented otherwise in the next epoch", changed)
	}
}

// The loader never turns a picture with gravity: in every epoch it is the plain
// one or its mirror image.
func TestGravityInABatch(t *testing.T) {
	ds := numbered(20) // every fifth has gravity
	turned := 0
	for _, b := range take(t, newLoader(t, ds, Config{Batch: 20, Seed: 6}), 10) {
		for k, i := range b.Index {
			im, err := ds.Image(context.Background(), i)
			if err != nil {
				t.Fatal(err)
			}
			got := b.Images[k*small.Len() : (k+1)*small.Len()]
			upright := false
			for draw := range uint64(2) {
				want := make([]float32, small.Len())
				Transform{Size: 8, Flip: true}.Apply(want, im, bitsFor(t, draw))
				upright = upright || slices.Equal(got, want)
			}
			if !upright {
				turned++
				if b.Items[k].Gravity {
					t.Fatalf("epoch %d: picture %d has gravity and is turned", b.Epoch, i)
				}
			}
		}
	}
	if turned < 100 {
		t.Errorf("%d of 160 pictures are turned", turned)
	}
}

// Pictures from PNG files and from memory give the same bits.
func TestDiskAndMemory(t *testing.T) {
	dir := t.TempDir()
	ds := numbered(30)
	var items []Item
	for i := range ds.Len() {
		it := ds.Item(i)
		it.Path = filepath.Join(dir, it.ID+".png")
		items = append(items, it)
		im, err := ds.Image(context.Background(), i)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := png.Encode(&b, asImage{im}); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(it.Path, b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	disk := NewRows("files", "of TestDiskAndMemory", items, nil)
	for _, size := range []int{8, 6} {
		c := Config{Batch: 7, Workers: 2, Seed: 9, Transform: Transform{Size: size, Flip: true, Turn: true}}
		a, b := take(t, newLoader(t, ds, c), 10), take(t, newLoader(t, disk, c), 10)
		for i := range a {
			if !slices.Equal(a[i].Images, b[i].Images) || !slices.Equal(a[i].Index, b[i].Index) {
				t.Fatalf("size %d: batch %d differs", size, i)
			}
		}
	}
}

func TestRestore(t *testing.T) {
	ds := &faulty{Dataset: numbered(60), slow: true, broken: map[int]string{7: "x", 20: "y", 33: "z"}}
	c := Config{Batch: 8, Workers: 3, Seed: 11}
	want := take(t, newLoader(t, ds, c), 30)
	for _, at := range []int{0, 1, 3, 6, 7, 8, 13, 22} {
		l := newLoader(t, ds, c)
		take(t, l, at)
		text, err := json.Marshal(l.State())
		if err != nil {
			t.Fatal(err)
		}
		var s State
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		c := c
		c.Workers = 1 + at%3
		resumed := newLoader(t, ds, c)
		take(t, resumed, 2) // it has run already, elsewhere
		if err := resumed.Restore(s); err != nil {
			t.Fatal(err)
		}
		if got := take(t, resumed, 30-at); !reflect.DeepEqual(got, want[at:]) {
			t.Errorf("resumed after %d batches: batches differ", at)
		}
		if got := resumed.State(); !reflect.DeepEqual(got, func() State { take(t, l, 30-at); return l.State() }()) {
			t.Errorf("resumed after %d batches: another state: %+v", at, got)
		}
	}
}

func TestRestoreRefuses(t *testing.T) {
	l := newLoader(t, numbered(20), Config{Batch: 4, Seed: 1})
	good := l.State()
	for want, change := range map[string]func(*State){
		"another data set": func(s *State) { s.Dataset = "x" },
		"seed 2, not 1":    func(s *State) { s.Seed = 2 },
		"epoch -1":         func(s *State) { s.Epoch = -1 },
		"position 21":      func(s *State) { s.Position = 21 },
		"position -1":      func(s *State) { s.Position = -1 },
		"step -1":          func(s *State) { s.Step = -1 },
		"picture 20 of 20": func(s *State) { s.Broken = []Broken{{Index: 20}} },
		"or twice":         func(s *State) { s.Broken = []Broken{{Index: 2}, {Index: 2}} },
	} {
		s := good
		change(&s)
		if err := l.Restore(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := l.Restore(good); err != nil {
		t.Error(err)
	}
}

func TestBrokenPictures(t *testing.T) {
	for _, slow := range []bool{false, true} {
		list := filepath.Join(t.TempDir(), "skipped.jsonl")
		broken := map[int]string{3: "truncated", 17: "panic", 99: "no such file", 250: "gone"}
		ds := &faulty{Dataset: numbered(300), broken: broken, slow: slow}
		l := newLoader(t, ds, Config{Batch: 10, Workers: 4, SkippedPath: list})
		for _, b := range take(t, l, 29*3) {
			for _, i := range b.Index {
				if broken[i] != "" {
					t.Fatalf("broken picture %d is in a batch", i)
				}
			}
		}
		if s := l.State(); len(s.Broken) != 4 || s.Epoch != 2 {
			t.Errorf("%d broken pictures at epoch %d", len(s.Broken), s.Epoch)
		}
		got := readList(t, list)
		if len(got) != 4 {
			t.Fatalf("%d lines: %v", len(got), got)
		}
		for _, b := range got {
			reason := broken[b.Index]
			if b.ID != ds.Item(b.Index).ID || !strings.Contains(b.Reason, reason) {
				t.Errorf("%+v, want reason %q", b, reason)
			}
		}
		// A broken picture is read once, not in every epoch.
		l.Close()
		for i, n := range ds.failed {
			if n != 1 {
				t.Errorf("broken picture %d was read %d times", i, n)
			}
		}
	}
}

func readList(t *testing.T, path string) []Broken {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []Broken
	for line := range strings.Lines(string(b)) {
		var s Broken
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

// A resumed run, and one that was interrupted before its checkpoint, list every
// picture once.
func TestSkippedListAcrossRuns(t *testing.T) {
	list := filepath.Join(t.TempDir(), "skipped.jsonl")
	ds := &faulty{Dataset: numbered(100), broken: map[int]string{1: "a", 50: "b", 77: "c"}}
	run := func() string {
		l := newLoader(t, ds, Config{Batch: 10, SkippedPath: list})
		take(t, l, 12)
		l.Close()
		b, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	want := run()
	if n := len(readList(t, list)); n != 3 {
		t.Fatalf("%d lines", n)
	}
	if got := run(); got != want {
		t.Errorf("the second run made the list\n%s, want\n%s", got, want)
	}
	// A kill cuts the last line: it is written again, and the list can be read.
	if err := os.WriteFile(list, []byte(want[:len(want)-9]), 0o666); err != nil {
		t.Fatal(err)
	}
	if got := run(); got != want {
		t.Errorf("after a cut the list is\n%s, want\n%s", got, want)
	}
}

func TestTooManyBroken(t *testing.T) {
	list := filepath.Join(t.TempDir(), "skipped.jsonl")
	all := make(map[int]string)
	for i := range 1000 {
		all[i] = "no such file"
	}
	part := make(map[int]string)
	for i := 0; i < 1000; i += 12 { // 8.4 %
		part[i] = "truncated"
	}
	for _, tt := range []struct {
		name      string
		n, batch  int
		broken    map[int]string
		max       float64
		path      string
		want      string
		mostReads int64
	}{
		{"all", 1000, 10, all, 0, list, "dataloader: 23 of 23 pictures (100.0 %) cannot be read, more than the limit of 5.0 % of all 1000: listed in " + list, 60},
		{"all of few", 10, 4, all, 0, "", "1 of 1 pictures (100.0 %) cannot be read, more than the limit of 5.0 % of all 10: the last one: p", 10},
		{"too many", 1000, 10, part, 0, "", "more than the limit of 5.0 %", 1100},
		{"none allowed", 1000, 10, part, -1, "", "1 of ", 100},
		{"half a batch", 20, 16, map[int]string{1: "x", 2: "x", 3: "x", 4: "x", 5: "x"}, 1, "", "15 pictures that can be read, fewer than a batch of 16", 100},
		{"all allowed", 20, 16, all, 1, "", "0 pictures that can be read", 100},
	} {
		ds := &faulty{Dataset: numbered(tt.n), broken: tt.broken}
		noLeak(t, func() {
			l := newLoader(t, ds, Config{Batch: tt.batch, Workers: 2, MaxBroken: tt.max, SkippedPath: tt.path})
			var err error
			for range 1000 {
				if _, err = l.Next(context.Background()); err != nil {
					break
				}
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%s: %v, want %q", tt.name, err, tt.want)
			}
			if _, again := l.Next(context.Background()); again != err {
				t.Errorf("%s: the next error is %v", tt.name, again)
			}
		})
		if n := ds.reads.Load(); n > tt.mostReads {
			t.Errorf("%s: %d reads", tt.name, n)
		}
	}
	// Allowed: 8.4 % of 10 %.
	take(t, newLoader(t, &faulty{Dataset: numbered(1000), broken: part}, Config{Batch: 10, MaxBroken: 0.1}), 200)
}

func TestSkippedListCannotBeWritten(t *testing.T) {
	ds := &faulty{Dataset: numbered(100), broken: map[int]string{1: "x"}}
	l := newLoader(t, ds, Config{Batch: 100 - 1, SkippedPath: filepath.Join(t.TempDir(), "none", "skipped.jsonl")})
	if _, err := l.Next(context.Background()); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "list skipped picture") {
		t.Errorf("%v", err)
	}
	l = newLoader(t, ds, Config{Batch: 100 - 1, SkippedPath: t.TempDir()})
	if _, err := l.Next(context.Background()); err == nil || !strings.Contains(err.Error(), "skipped pictures") {
		t.Errorf("%v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	good := Config{Batch: 4, Transform: small}
	for want, change := range map[string]func(*Config){
		"batch 0, want 1 or more":                            func(c *Config) { c.Batch = 0 },
		"numbered has 20 pictures, fewer than a batch of 21": func(c *Config) { c.Batch = 21 },
		"-1 workers":  func(c *Config) { c.Workers = -1 },
		"-1 batches":  func(c *Config) { c.Prefetch = -1 },
		"pictures 2,": func(c *Config) { c.MaxBroken = 2 },
		"size 0":      func(c *Config) { c.Transform.Size = 0 },
	} {
		c := good
		change(&c)
		if _, err := New(numbered(20), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestCancel(t *testing.T) {
	ds := &faulty{Dataset: numbered(60), slow: true}
	c := Config{Batch: 8, Workers: 4, Seed: 2}
	want := take(t, newLoader(t, ds, c), 10)
	noLeak(t, func() {
		l := newLoader(t, ds, c)
		var got []Batch
		for step := 0; len(got) < 10; step++ {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(step%5)*time.Millisecond)
			b, err := l.Next(ctx)
			cancel()
			if err == nil {
				got = append(got, *b)
			} else if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			if step > 20 && len(got) < 10 {
				got = append(got, take(t, l, 1)...)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Error("batches differ after cancellations")
		}
		l.Close()
	})
	// A cancelled Next leaves none either, without Close.
	noLeak(t, func() {
		l, err := New(ds, Config{Batch: 8, Workers: 4, Transform: small})
		if err != nil {
			t.Fatal(err)
		}
		next(t, l)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := l.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		if n := ds.active.Load(); n != 0 {
			t.Errorf("%d pictures are still being read", n)
		}
	})
	noLeak(t, func() {
		l := newLoader(t, ds, c)
		next(t, l)
		l.Close()
		l.Close()
		if next(t, l).Step != 1 {
			t.Error("Next after Close does not continue")
		}
		l.Close()
	})
}

func TestRecycleFromOtherGoroutines(t *testing.T) {
	l := newLoader(t, numbered(60), Config{Batch: 8, Workers: 2})
	var wg sync.WaitGroup
	for range 50 {
		b := next(t, l)
		wg.Go(func() { l.Recycle(b) })
	}
	wg.Wait()
	l.Recycle(nil)
	l.Recycle(&Batch{Images: make([]float32, 1)})
	take(t, l, 8)
}

// In steady state a batch costs no memory beyond what decoding takes.
func TestAllocations(t *testing.T) {
	for _, pixels := range []bool{false, true} {
		l := newLoader(t, numbered(640), Config{Batch: 32, Workers: 2, Pixels: pixels})
		take(t, l, 5)
		if n := testing.AllocsPerRun(20, func() { l.Recycle(next(t, l)) }); n > 4 {
			t.Errorf("%v allocations for a batch, pixels: %t", n, pixels)
		}
	}
}

func TestLoadAll(t *testing.T) {
	ds := &faulty{Dataset: numbered(40), slow: true, broken: map[int]string{5: "x", 9: "panic"}}
	for _, workers := range []int{0, 1, 3, 100} {
		noLeak(t, func() {
			images, broken, err := LoadAll(context.Background(), ds, nil, workers)
			if err != nil {
				t.Fatal(err)
			}
			if len(broken) != 2 || broken[0].Index != 5 || broken[1].Index != 9 || broken[0].ID != "p5" {
				t.Errorf("broken %+v", broken)
			}
			for i, im := range images {
				if ds.broken[i] != "" {
					if im != nil {
						t.Errorf("broken picture %d is there", i)
					}
				} else if !reflect.DeepEqual(im, noise(8, 8, uint64(i))) {
					t.Errorf("picture %d is another one", i)
				}
			}
		})
	}
	images, broken, err := LoadAll(context.Background(), ds, []int{7, 5, 7}, 2)
	if err != nil || len(images) != 3 || images[0] != images[2] || images[1] != nil || len(broken) != 1 {
		t.Errorf("%v, %v, %v", images, broken, err)
	}
	if images, broken, err := LoadAll(context.Background(), ds, []int{}, 2); len(images) != 0 || broken != nil || err != nil {
		t.Errorf("%v, %v, %v", images, broken, err)
	}
}

func TestForEach(t *testing.T) {
	ds := &faulty{Dataset: numbered(200), slow: true}
	noLeak(t, func() {
		var order []int
		stop := errors.New("stop")
		_, err := ForEach(context.Background(), ds, nil, 3, func(k int, im *Image) error {
			if order = append(order, k); k == 20 {
				return stop
			}
			return nil
		})
		if err != stop || !slices.Equal(order, seq(21)) {
			t.Errorf("%v after %v", err, order)
		}
		if n := ds.active.Load(); n != 0 {
			t.Errorf("%d pictures are still being read", n)
		}
	})
	noLeak(t, func() {
		ctx, cancel := context.WithCancel(context.Background())
		_, err := ForEach(ctx, ds, nil, 3, func(k int, im *Image) error {
			if k == 10 {
				cancel()
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		if _, _, err := LoadAll(ctx, ds, nil, 3); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
	if n := ds.reads.Load(); n > 100 {
		t.Errorf("%d pictures were read for 30", n)
	}
}

func BenchmarkLoader(b *testing.B) {
	items, images := make([]Item, 2000), make([]*Image, 2000)
	for i := range items {
		items[i].ID = fmt.Sprint(i)
		images[i] = noise(64, 64, uint64(i))
	}
	ds := NewMemory("b", items, images)
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("size=64/batch=64/workers=%d", workers), func(b *testing.B) {
			l := newLoader(b, ds, Config{Batch: 64, Workers: workers, Transform: Transform{Size: 64, Flip: true, Turn: true}})
			b.ReportAllocs()
			for b.Loop() {
				l.Recycle(next(b, l))
			}
			b.ReportMetric(64*float64(b.N)/b.Elapsed().Seconds(), "images/s")
		})
	}
}
