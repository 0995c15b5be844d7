package kernel

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

func sortHits(hits []Hit) []Hit {
	slices.SortFunc(hits, func(a, b Hit) int {
		if a.Query != b.Query {
			return int(a.Query - b.Query)
		}
		return int(a.Row - b.Row)
	})
	return hits
}

// TestAbove compares with float64 dot products, for one query to several panels, a
// few rows to several blocks, and widths on both sides of a sum's part.
func TestAbove(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		rng := newRand(11)
		for _, n := range []int{1, 7, 8, 9, 128, 131, 300} {
			for _, m := range []int{1, 3, 8, 17, 48, 49, 95, 200} {
				for _, dim := range []int{1, 5, 64, 256, 384, 390} {
					rows, queries := nanGuarded(rng, n*dim), nanGuarded(rng, m*dim)
					low := newGuarded(m)
					for j := range low.x {
						low.x[j] = float32(math.Sqrt(float64(dim)))
					}
					hits := PackQueries(queries, dim).Above(nil, rows, low.x)
					low.check(t, "thresholds")
					sortHits(hits)
					name := fmt.Sprintf("%d rows, %d queries of width %d", n, m, dim)
					tol := 1e-5 * math.Sqrt(float64(dim))
					at := 0
					for j := range m {
						for r := range n {
							want := dot64(rows[r*dim:(r+1)*dim], queries[j*dim:(j+1)*dim])
							found := at < len(hits) && hits[at].Query == int32(j) && hits[at].Row == int32(r)
							if found {
								if d := math.Abs(float64(hits[at].Score) - want); d > tol {
									t.Fatalf("%s: query %d, row %d: score %v, want %v", name, j, r, hits[at].Score, want)
								}
								at++
							}
							if edge := want - float64(low.x[j]); math.Abs(edge) > tol && found != (edge > 0) {
								t.Fatalf("%s: query %d, row %d: score %v, threshold %v, found %v", name, j, r, want, low.x[j], found)
							}
						}
					}
					if at != len(hits) {
						t.Fatalf("%s: hit %v is out of place", name, hits[at])
					}
				}
			}
		}
	})
}

// TestAboveSpecial: a score equal to its threshold is a hit, as is NaN, and an
// infinite threshold lets through what it says.
func TestAboveSpecial(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	eachTier(t, func(t *testing.T) {
		q := PackQueries([]float32{1, 1, 1, 1, -1}, 1)
		got := sortHits(q.Above(nil, []float32{2, nan, inf}, []float32{2, 2.5, inf, -inf, -2}))
		want := []Hit{{0, 0, 2}, {0, 1, nan}, {0, 2, inf}, {1, 1, nan}, {1, 2, inf}, {2, 1, nan}, {2, 2, inf},
			{3, 0, 2}, {3, 1, nan}, {3, 2, inf}, {4, 0, -2}, {4, 1, nan}}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("hits %v, want %v", got, want)
		}
		if got := q.Above(nil, nil, make([]float32, 5)); len(got) != 0 {
			t.Errorf("no rows: %v", got)
		}
		if got := PackQueries(nil, 3).Above(nil, make([]float32, 6), nil); len(got) != 0 {
			t.Errorf("no queries: %v", got)
		}
	})
}

// TestAboveAlone: the bits of a score depend on its row and its query only.
func TestAboveAlone(t *testing.T) {
	const n, m, dim = 150, 70, 400
	eachTier(t, func(t *testing.T) {
		rng := newRand(12)
		rows, queries := randomGuarded(rng, n*dim).x, randomGuarded(rng, m*dim).x
		low := slices.Repeat([]float32{float32(math.Inf(-1))}, m)
		all := sortHits(PackQueries(queries, dim).Above(nil, rows, low))
		for j := range m {
			for _, r := range []int{0, 1, 77, 127, 128, 149} {
				alone := PackQueries(queries[j*dim:(j+1)*dim], dim).Above(nil, rows[r*dim:(r+1)*dim], low[:1])
				if len(alone) != 1 || math.Float32bits(alone[0].Score) != math.Float32bits(all[j*n+r].Score) {
					t.Fatalf("query %d, row %d: %v alone, %v among others", j, r, alone, all[j*n+r])
				}
			}
		}
	})
}

func TestAboveAllocs(t *testing.T) {
	const n, m, dim = 200, 60, 96
	rng := newRand(13)
	rows, q := randomGuarded(rng, n*dim).x, PackQueries(randomGuarded(rng, m*dim).x, dim)
	low, hits := make([]float32, m), make([]Hit, 0, n*m)
	noAllocs(t, "Above", func() { hits = q.Above(hits[:0], rows, low) })
}

func TestAbovePanics(t *testing.T) {
	q := PackQueries(make([]float32, 6), 3)
	for name, f := range map[string]func(){
		"width":      func() { PackQueries(make([]float32, 5), 3) },
		"no width":   func() { PackQueries(nil, 0) },
		"rows":       func() { q.Above(nil, make([]float32, 4), make([]float32, 2)) },
		"thresholds": func() { q.Above(nil, make([]float32, 3), make([]float32, 3)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestScanMasks(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		rng := newRand(14)
		for _, n := range []int{8, 16, 24, 32, 48, 64} {
			for _, rows := range []int{0, 1, 5} {
				scores, low := newGuarded(rows*n), newGuarded(n)
				for i := range scores.x {
					scores.x[i] = float32(rng.IntN(5))
				}
				for i := range low.x {
					low.x[i] = float32(rng.IntN(5))
				}
				masks := slices.Repeat([]uint64{1 << 63}, rows+1)
				scanKernel.get()(masks[:rows], scores.x, low.x)
				for r := range rows {
					for c := range n {
						if got, want := masks[r]>>c&1 == 1, scores.x[r*n+c] >= low.x[c]; got != want {
							t.Fatalf("n %d, row %d, column %d: %v with threshold %v is %v", n, r, c, scores.x[r*n+c], low.x[c], got)
						}
					}
					if n < 64 && masks[r]>>n != 0 {
						t.Fatalf("n %d, row %d: mask %x", n, r, masks[r])
					}
				}
				if masks[rows] != 1<<63 {
					t.Fatalf("n %d, %d rows: wrote past the masks", n, rows)
				}
			}
		}
	})
}

func TestXor(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		rng := newRand(15)
		for _, n := range []int{0, 1, 31, 32, 33, 63, 64, 65, 200, xorPiece - 1, 2*xorPiece + 77} {
			all := make([]uint64, n+2)
			var want uint64
			for i := range all {
				all[i] = rng.Uint64()
				if i > 0 && i <= n {
					want ^= all[i]
				}
			}
			pool := NewPool(3)
			for _, p := range []*Pool{nil, pool} {
				if got := Xor(p, all[1:n+1]); got != want {
					t.Errorf("%d words, %d threads: %x, want %x", n, p.Threads(), got, want)
				}
			}
			pool.Close()
		}
	})
	x := make([]uint64, 3*xorPiece)
	noAllocs(t, "Xor", func() { Xor(nil, x) })
}

// BenchmarkAbove is exact search without its selection: 4096 rows of width 384.
func BenchmarkAbove(b *testing.B) {
	const n, dim = 4096, 384
	rows := benchSlice(n * dim)
	benchTiers(b, func(b *testing.B) {
		for _, m := range []int{1, 16, 48, 1000} {
			b.Run(fmt.Sprintf("queries=%d", m), func(b *testing.B) {
				q, low := PackQueries(benchSlice(m*dim), dim), slices.Repeat([]float32{80}, m)
				var hits []Hit
				benchFlops(b, 2*n*float64(m)*dim, func() { hits = q.Above(hits[:0], rows, low) })
			})
		}
	})
}

// BenchmarkRead reads 1 GiB with one thread.
func BenchmarkRead(b *testing.B) {
	x := make([]uint64, 1<<27)
	for i := range x {
		x[i] = uint64(i)
	}
	b.SetBytes(int64(len(x)) * 8)
	for b.Loop() {
		Xor(nil, x)
	}
}
