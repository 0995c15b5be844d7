package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// guard is the value of the words around guarded slices.
const guard = float32(-7.25e7)

// guarded is a slice with guard words on both sides.
type guarded struct {
	all []float32
	x   []float32
}

func newGuarded(n int) guarded {
	const words = 67 // odd, so that slices are not aligned
	g := guarded{all: make([]float32, n+2*words)}
	for i := range g.all {
		g.all[i] = guard
	}
	g.x = g.all[words : words+n : words+n]
	return g
}

// check fails the test if a guard word changed.
func (g guarded) check(t *testing.T, name string) {
	t.Helper()
	words := (len(g.all) - len(g.x)) / 2
	for i, v := range g.all {
		if (i < words || i >= words+len(g.x)) && v != guard {
			t.Fatalf("%s: wrote %v to index %d, length %d", name, v, i-words, len(g.x))
		}
	}
}

func randomGuarded(rng *rand.Rand, n int) guarded {
	g := newGuarded(n)
	for i := range g.x {
		g.x[i] = float32(rng.NormFloat64())
	}
	return g
}

// nanGuarded is for inputs: the words around it are NaN, so that a kernel that reads
// them is seen in the result.
func nanGuarded(rng *rand.Rand, n int) []float32 {
	g := randomGuarded(rng, n)
	for i, v := range g.all {
		if v == guard {
			g.all[i] = float32(math.NaN())
		}
	}
	return g.x
}

// eachTier runs f as a subtest on every tier of this machine that has kernels of its own
// for float32; eachBF16 is for the others.
func eachTier(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	for _, tier := range Tiers() {
		if tier.BF16() {
			continue
		}
		t.Run(tier.String(), func(t *testing.T) {
			restore, err := SetTier(tier)
			if err != nil {
				t.Fatal(err)
			}
			defer restore()
			f(t)
		})
	}
}

// closeTo fails the test unless got is within tol of want, relative to the largest
// magnitude of want or 1.
func closeTo(t *testing.T, name string, got []float32, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: length %d, want %d", name, len(got), len(want))
	}
	size := 1.0
	for _, w := range want {
		if !math.IsInf(w, 0) && !math.IsNaN(w) {
			size = math.Max(size, math.Abs(w))
		}
	}
	for i, w := range want {
		v := float64(got[i])
		if v == w || math.IsNaN(v) && math.IsNaN(w) {
			continue
		}
		if d := math.Abs(v - w); !(d <= tol*size) {
			t.Fatalf("%s[%d] = %v, want %v (difference %.2g, allowed %.2g)", name, i, v, w, d, tol*size)
		}
	}
}

// sameBits fails the test unless a and b are equal bit for bit.
func sameBits(t *testing.T, name string, a, b []float32) {
	t.Helper()
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			t.Fatalf("%s[%d]: %v and %v", name, i, a[i], b[i])
		}
	}
}

// eachThreads calls f with a nil pool and with pools of several sizes; f returns the
// results, which have to be the same bits every time.
func eachThreads(t *testing.T, f func(p *Pool) []float32) {
	t.Helper()
	want := f(nil)
	for _, n := range []int{1, 2, 3, 5} {
		p := NewPool(n)
		sameBits(t, fmt.Sprintf("%d threads: result", n), f(p), want)
		p.Close()
	}
}

// noAllocs fails the test if f allocates once it has its scratch memory.
func noAllocs(t *testing.T, name string, f func()) {
	t.Helper()
	for range 5 { // each thread gets its scratch memory
		f()
	}
	if n := testing.AllocsPerRun(20, f); n != 0 {
		t.Errorf("%s: %v allocations per call", name, n)
	}
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func dot64(a, b []float32) float64 {
	s := 0.0
	for i, v := range a {
		s += float64(v) * float64(b[i])
	}
	return s
}
