package dataloader

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// takeMicro returns the next n batches put together from their micro-batches, after it has seen that a second pass, in
// reverse order, has the same pictures; and how often a batch began again.
func takeMicro(t testing.TB, l *Loader, n int) (list []Batch, restarts int) {
	t.Helper()
	for range n {
		b := next(t, l)
		var images []float32
		for i := 0; i < l.micros; i++ {
			err := l.Load(context.Background(), b, i)
			if err == ErrRestart {
				restarts++
				images, i = nil, -1
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			images = append(images, valuesOf(t, b)...)
		}
		size := l.cfg.Micro * l.cfg.Transform.Len()
		for i := l.micros - 1; i >= 0; i-- {
			if err := l.Load(context.Background(), b, i); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(valuesOf(t, b), images[i*size:(i+1)*size]) {
				t.Fatalf("step %d: micro-batch %d has other pictures in the second pass", b.Step, i)
			}
		}
		c := *b
		c.Images, c.Items, c.Index = images, slices.Clone(b.Items), slices.Clone(b.Index)
		c.Pixels, c.Tables = nil, nil
		list = append(list, c)
		l.Recycle(b)
	}
	return list, restarts
}

// tailBroken are pictures near the end of the first epoch, too many for the last batch of it to be full: that is found
// out when a part of it has been handed out.
func tailBroken(n int, seed uint64) map[int]string {
	order := make([]int32, n)
	permute(order, seed, 0)
	broken := make(map[int]string)
	for _, i := range order[n-9 : n-3] {
		broken[int(i)] = "broken on purpose"
	}
	return broken
}

// Batches in parts are the batches in one piece, whatever is kept, whoever decodes, and also when a batch has to begin
// again for want of pictures that can be read. So are those of pixels.
func TestMicroBatches(t *testing.T) {
	const batches = 20
	for name, broken := range map[string]map[int]string{"whole": nil, "broken": {3: "x", 33: "panic"}, "tail": tailBroken(60, 11)} {
		ds := &faulty{Dataset: numbered(60), slow: true, broken: broken}
		c := Config{Batch: 8, Seed: 11, Workers: 3, MaxBroken: 1}
		whole := newLoader(t, ds, c)
		want := take(t, whole, batches)
		for _, tt := range []struct {
			micro, keep, workers, prefetch int
			pixels                         bool
		}{
			{8, 1, 2, 0, false}, {4, 1, 1, 1, false}, {2, 1, 3, 0, false}, {2, 3 * 2 * 4 * small.Len(), 2, 0, false},
			{1, 1, 5, 1, false}, {1, 0, 2, 0, false},
			{8, 1, 2, 0, true}, {4, 1, 1, 1, true}, {2, 3 * 2 * (small.Len() + 3*256*4), 2, 0, true}, {1, 1, 5, 1, true}, {1, 0, 2, 0, true},
		} {
			c := c
			c.Micro, c.Keep, c.Workers, c.Prefetch, c.Pixels = tt.micro, tt.keep, tt.workers, tt.prefetch, tt.pixels
			l := newLoader(t, ds, c)
			got, restarts := takeMicro(t, l, batches)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v: batches differ from those in one piece", name, tt)
			}
			if !reflect.DeepEqual(l.State(), whole.State()) {
				t.Errorf("%s: %+v: state %+v, want %+v", name, tt, l.State(), whole.State())
			}
			if want := name == "tail" && tt.micro < 8; (restarts > 0) != want {
				t.Errorf("%s: %+v: %d batches began again, want some: %v", name, tt, restarts, want)
			}
		}
	}
}

// A loader continues in the middle of an epoch where another one was, which had loaded a part of the next batch.
func TestRestoreMicroBatches(t *testing.T) {
	ds := &faulty{Dataset: numbered(60), slow: true, broken: map[int]string{7: "x", 20: "y"}}
	c := Config{Batch: 8, Micro: 2, Keep: 1, Workers: 3, Seed: 11}
	want, _ := takeMicro(t, newLoader(t, ds, c), 20)
	for _, at := range []int{0, 1, 6, 7, 13} {
		c.Pixels = at%2 == 1
		l := newLoader(t, ds, c)
		takeMicro(t, l, at)
		b := next(t, l)
		for i := range at % 4 {
			if err := l.Load(context.Background(), b, i); err != nil {
				t.Fatal(err)
			}
		}
		s := l.State()
		if s.Step != at {
			t.Fatalf("state of step %d while batch %d is being loaded", s.Step, at)
		}
		c.Pixels = !c.Pixels // a state says nothing of it
		resumed := newLoader(t, ds, c)
		if err := resumed.Restore(s); err != nil {
			t.Fatal(err)
		}
		if got, _ := takeMicro(t, resumed, 20-at); !reflect.DeepEqual(got, want[at:]) {
			t.Errorf("resumed after %d batches: batches differ", at)
		}
		// So does the loader itself: a batch that was not loaded to its end begins again.
		if got, _ := takeMicro(t, l, 20-at); !reflect.DeepEqual(got, want[at:]) {
			t.Errorf("left after %d batches: batches differ", at)
		}
	}
}

// Pictures are read again only where they are not kept.
func TestKeptPicturesAreReadOnce(t *testing.T) {
	for _, tt := range []struct{ keep, reads int }{
		{0, 16}, {8 * 2 * 4 * small.Len(), 16}, {5 * 2 * 4 * small.Len(), 16 + 6}, {1, 16 + 12},
	} {
		ds := &faulty{Dataset: numbered(16)}
		l := newLoader(t, ds, Config{Batch: 16, Micro: 2, Keep: tt.keep, Prefetch: 2})
		takeMicro(t, l, 1)
		ahead := len(l.slots)
		l.Close()
		if n := int(ds.reads.Load()) - tt.reads; n < 0 || n > ahead {
			t.Errorf("keep %d: %d reads and up to %d ahead, want %d", tt.keep, ds.reads.Load(), ahead, tt.reads)
		}
	}
}

// What a loader holds depends on the micro-batch, not on the batch.
func TestMemoryDoesNotGrowWithTheBatch(t *testing.T) {
	ds := numbered(1024)
	var first int
	for _, batch := range []int{64, 256, 1024} {
		l := newLoader(t, ds, Config{Batch: batch, Micro: 16, Keep: 1, Workers: 2})
		b := next(t, l)
		floats := cap(b.Images)
		for i := range l.slots {
			floats += cap(l.slots[i].data.values)
		}
		floats += cap(l.current.places.values)
		if first == 0 {
			first = floats
		}
		if floats != first {
			t.Errorf("batch %d: %d values held, %d with a batch of 64", batch, floats, first)
		}
	}
}

// once is a data set whose pictures can be read once.
type once struct {
	Dataset
	read []atomic.Bool
}

func (o *once) Image(ctx context.Context, i int) (*Image, error) {
	if o.read[i].Swap(true) {
		return nil, errors.New("gone")
	}
	return o.Dataset.Image(ctx, i)
}

func TestSecondReadFails(t *testing.T) {
	noLeak(t, func() {
		ds := &once{numbered(16), make([]atomic.Bool, 16)}
		l := newLoader(t, ds, Config{Batch: 16, Micro: 2, Keep: 1})
		b := next(t, l)
		var err error
		for i := 0; i < 8 && err == nil; i++ {
			err = l.Load(context.Background(), b, i)
		}
		for i := 7; i >= 0 && err == nil; i-- {
			err = l.Load(context.Background(), b, i)
		}
		if err == nil || !strings.Contains(err.Error(), "cannot be read again: gone") || !strings.Contains(err.Error(), "dataloader: numbered: picture ") {
			t.Fatalf("error %v", err)
		}
		if _, again := l.Next(context.Background()); again != err {
			t.Errorf("the next error is %v", again)
		}
	})
}

// A context that ends anywhere in a batch leaves no goroutine, and the loader goes on with a whole batch.
func TestCancelMicroBatches(t *testing.T) {
	ds := &faulty{Dataset: numbered(60), slow: true}
	c := Config{Batch: 12, Micro: 2, Keep: 1, Workers: 4, Seed: 2}
	want, _ := takeMicro(t, newLoader(t, ds, c), 3)
	for at := range 12 {
		noLeak(t, func() {
			l := newLoader(t, ds, c)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			b, err := l.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 12 {
				if i == at {
					cancel()
				}
				if err = l.Load(ctx, b, min(i, 11-i)); err != nil {
					break
				}
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("ended at load %d: error %v", at, err)
			}
			if err := l.Load(context.Background(), b, 0); err == nil {
				t.Error("a batch that was given up can be loaded")
			}
			first := l.State().Step
			if want := at / 6; first != want {
				t.Errorf("ended at load %d: the next batch is %d, want %d", at, first, want)
			}
			if got, _ := takeMicro(t, l, 3-first); !reflect.DeepEqual(got, want[first:]) {
				t.Errorf("ended at load %d: other batches follow", at)
			}
			l.Close()
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	l := newLoader(t, numbered(20), Config{Batch: 8, Micro: 2})
	ctx := context.Background()
	b := next(t, l)
	for _, err := range []error{l.Load(ctx, b, 2), l.Load(ctx, b, -1), l.Load(ctx, nil, 0), l.Load(ctx, new(Batch), 0)} {
		if err == nil || !strings.HasPrefix(err.Error(), "dataloader: load: micro-batch") {
			t.Errorf("error %v", err)
		}
	}
	if err := l.Load(ctx, b, 1); err != nil {
		t.Error(err)
	}
	for want, c := range map[string]Config{
		"micro-batch 3, want a divisor of the batch, 8":  {Batch: 8, Micro: 3},
		"micro-batch -2, want a divisor of the batch, 8": {Batch: 8, Micro: -2},
		"micro-batch 16, want a divisor of the batch, 8": {Batch: 8, Micro: 16},
		"-1 bytes to keep": {Batch: 8, Keep: -1},
	} {
		c.Transform = small
		if _, err := New(numbered(20), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// In steady state micro-batches cost no memory, also where pictures are read again.
func TestMicroBatchAllocations(t *testing.T) {
	for _, batch := range []int{32, 256} {
		l := newLoader(t, numbered(batch*4), Config{Batch: batch, Micro: 8, Keep: 1, Workers: 2, Pixels: batch == 256})
		pass := func() {
			b := next(t, l)
			for i := range 2 * l.micros {
				if err := l.Load(context.Background(), b, min(i, 2*l.micros-1-i)); err != nil {
					t.Fatal(err)
				}
			}
			l.Recycle(b)
		}
		pass()
		if n := testing.AllocsPerRun(10, pass); n > 4 {
			t.Errorf("%v allocations for a batch of %d", n, batch)
		}
	}
}

// A batch in four parts, each of which a network sees twice.
func ExampleLoader_Load() {
	l, err := New(numbered(100), Config{Batch: 32, Micro: 8, Transform: Transform{Size: 8}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	b, err := l.Next(context.Background())
	for i := 0; i < 4 && err == nil; i++ {
		err = l.Load(context.Background(), b, i) // forward
	}
	for i := 3; i >= 0 && err == nil; i-- {
		err = l.Load(context.Background(), b, i) // backward
	}
	fmt.Println(len(b.Items), len(b.Images)/(3*8*8), err)
	// Output: 32 8 <nil>
}

// After the first pass, micro-batches come again in any order, also one that jumps over what is kept.
func TestMicroBatchesInAnyOrder(t *testing.T) {
	l := newLoader(t, numbered(60), Config{Batch: 12, Micro: 2, Keep: 1, Workers: 2, Seed: 11})
	b := next(t, l)
	want := make([][]float32, l.micros)
	for i := range want {
		if err := l.Load(context.Background(), b, i); err != nil {
			t.Fatal(err)
		}
		want[i] = slices.Clone(b.Images)
	}
	for _, i := range []int{0, 4, 1, 1, 5, 2, 0, 3, 5, 4, 3, 0} {
		if err := l.Load(context.Background(), b, i); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(b.Images, want[i]) {
			t.Errorf("micro-batch %d has other pictures", i)
		}
	}
}
