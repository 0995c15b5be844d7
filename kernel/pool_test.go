package kernel

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestPoolRunsEachItemOnce(t *testing.T) {
	for _, threads := range []int{0, 1, 2, 3, 8} {
		var p *Pool
		if threads > 0 {
			p = NewPool(threads)
			if p.Threads() != threads {
				t.Errorf("Threads() = %d, want %d", p.Threads(), threads)
			}
		}
		for _, n := range []int{0, 1, 2, 7, 1000} {
			counts := make([]atomic.Int32, n)
			p.Run(n, func(i int) { counts[i].Add(1) })
			for i := range counts {
				if c := counts[i].Load(); c != 1 {
					t.Fatalf("%d threads: item %d of %d ran %d times", threads, i, n, c)
				}
			}
		}
		p.Close()
		p.Close()
		ran := 0
		p.Run(1, func(int) { ran++ })
		if ran != 1 {
			t.Errorf("%d threads: Run after Close ran %d items", threads, ran)
		}
	}
}

// TestPoolShares needs two items to run at the same time.
func TestPoolShares(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	var both sync.WaitGroup
	both.Add(2)
	p.Run(2, func(int) {
		both.Done()
		both.Wait()
	})
}

func TestPoolNestedAndConcurrent(t *testing.T) {
	p := NewPool(3)
	defer p.Close()
	var total atomic.Int64
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for range 50 {
				p.Run(5, func(int) { p.Run(4, func(int) { total.Add(1) }) })
			}
		})
	}
	callers.Wait()
	if got := total.Load(); got != 4*50*5*4 {
		t.Errorf("%d items ran, want %d", got, 4*50*5*4)
	}
}

func TestPoolPanic(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	for range 20 {
		func() {
			defer func() {
				if r := recover(); r != "item 3" {
					t.Errorf("recovered %v, want the item's value", r)
				}
			}()
			p.Run(8, func(i int) {
				if i == 3 {
					panic("item 3")
				}
			})
		}()
		ran := atomic.Int32{}
		p.Run(8, func(int) { ran.Add(1) })
		if ran.Load() != 8 {
			t.Fatalf("%d of 8 items ran after a panic", ran.Load())
		}
	}
}

func TestPoolCloseEndsGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	p := NewPool(6)
	p.Run(100, func(int) {})
	p.Close()
	after := runtime.NumGoroutine()
	for range 1000 { // a goroutine that has said that it ends takes a moment to
		if after <= before {
			break
		}
		time.Sleep(time.Millisecond)
		after = runtime.NumGoroutine()
	}
	if after > before {
		t.Errorf("%d goroutines, %d before the pool", after, before)
	}
}

func TestCrowded(t *testing.T) {
	most := runtime.GOMAXPROCS(0)
	if got := Crowded(most); got != "" {
		t.Errorf("%d threads: %q", most, got)
	}
	if got, want := Crowded(most+1), fmt.Sprintf("%d threads on %d processors", most+1, most); !strings.HasPrefix(got, want) {
		t.Errorf("%d threads: %q, want %q", most+1, got, want)
	}
}

func TestNewPoolPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic for 0 threads")
		}
	}()
	NewPool(0)
}

func TestPoolAllocs(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	f := func(int) {}
	noAllocs(t, "Run", func() { p.Run(10, f) })
}

// TestFreelist hands structs round among goroutines: none is in two hands, and there
// are never more of them than hands.
func TestFreelist(t *testing.T) {
	type thing struct{ held atomic.Bool }
	var (
		list freelist[thing]
		made sync.Map
		all  sync.WaitGroup
	)
	const hands = 8
	for range hands {
		all.Go(func() {
			for range 5000 {
				x := list.get()
				made.Store(x, true)
				if x.held.Swap(true) {
					t.Error("a struct is in two hands")
				}
				x.held.Store(false)
				list.put(x)
			}
		})
	}
	all.Wait()
	n := 0
	made.Range(func(any, any) bool { n++; return true })
	if n > hands {
		t.Errorf("%d structs for %d hands", n, hands)
	}
	var many freelist[thing]
	for range 2 * freePlaces {
		many.put(new(thing)) // what has no place is forgotten
	}
	for i := range freePlaces {
		if many.get() == nil || many.ready.Load() != int64(freePlaces-1-i) {
			t.Fatalf("after %d structs %d are left of %d", i+1, many.ready.Load(), freePlaces)
		}
	}
}

// BenchmarkPool is the price of a call whose items do nothing.
func BenchmarkPool(b *testing.B) {
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			p := NewPool(threads)
			defer p.Close()
			f := func(int) {}
			for b.Loop() {
				p.Run(16, f)
			}
		})
	}
}
