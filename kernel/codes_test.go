package kernel

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// guardedCodes is n random codes between bytes of 255, which would show in a sum.
func guardedCodes(n int, draw func() byte) []byte {
	all := slices.Repeat([]byte{255}, n+2*67)
	x := all[67 : 67+n : 67+n]
	for i := range x {
		x[i] = draw()
	}
	return x
}

// codeOracle is the score in integers, rounded twice.
func codeOracle(row, query []byte, scale float32) float32 {
	var sum int64
	for i, c := range row {
		sum += (int64(c) - 128) * (int64(query[i]) - 128)
	}
	return scale * float32(sum)
}

// TestCodesAbove compares every score with integer arithmetic, bit for bit: for random
// codes and for the extremes, rows short of a group and a tile, and every way to take
// the queries.
func TestCodesAbove(t *testing.T) {
	rng := newRand(21)
	draws := map[string]func() byte{
		"random":  func() byte { return byte(rng.IntN(256)) },
		"least":   func() byte { return 0 },
		"most":    func() byte { return 255 },
		"extreme": func() byte { return byte(255 * rng.IntN(2)) },
	}
	low := float32(math.Inf(-1))
	eachTier(t, func(t *testing.T) {
		for name, draw := range draws {
			for _, n := range []int{1, 3, 4, 5, 7, 8, 9, 15, 127, 128, 133} {
				for _, m := range []int{1, 2, 3, 4, 5, 8, 9, 16, 17, 33, 48, 49, 100} {
					stride := CodeWidth * (1 + rng.IntN(7))
					codes, queries := guardedCodes(n*stride, draw), guardedCodes(m*stride, draw)
					scales := nanGuarded(rng, n)
					hits := PackCodes(queries, stride).Above(nil, codes, scales, slices.Repeat([]float32{low}, m))
					if len(hits) != n*m {
						t.Fatalf("%s: %d rows, %d queries: %d hits", name, n, m, len(hits))
					}
					for _, h := range sortHits(hits) {
						want := codeOracle(codes[int(h.Row)*stride:int(h.Row+1)*stride], queries[int(h.Query)*stride:int(h.Query+1)*stride], scales[h.Row])
						if math.Float32bits(h.Score) != math.Float32bits(want) {
							t.Fatalf("%s: %d rows, %d queries of %d: row %d, query %d: %v, want %v", name, n, m, stride, h.Row, h.Query, h.Score, want)
						}
					}
				}
			}
		}
		// The largest sums there are.
		for _, c := range []byte{0, 255} {
			for _, m := range []int{1, 2, 4, 9} {
				codes, queries := slices.Repeat([]byte{0}, 9*maxCodes), slices.Repeat([]byte{c}, m*maxCodes)
				hits := PackCodes(queries, maxCodes).Above(nil, codes, slices.Repeat([]float32{1}, 9), slices.Repeat([]float32{low}, m))
				for _, h := range hits {
					if want := codeOracle(codes[:maxCodes], queries[:maxCodes], 1); h.Score != want || len(hits) != 9*m {
						t.Fatalf("%d hits, the first %v, want %v", len(hits), h, want)
					}
				}
			}
		}
	})
}

// TestCodesThresholds: exactly what is not below its threshold is a hit.
func TestCodesThresholds(t *testing.T) {
	const n, stride = 300, 64
	eachTier(t, func(t *testing.T) {
		rng := newRand(22)
		draw := func() byte { return byte(126 + rng.IntN(5)) }
		for _, m := range []int{1, 2, 3, 7, 20, 120} {
			codes, queries := guardedCodes(n*stride, draw), guardedCodes(m*stride, draw)
			scales, low := slices.Repeat([]float32{1}, n), make([]float32, m)
			for j := range low {
				low[j] = float32(10 + rng.IntN(20))
			}
			var want []Hit
			for j := range m {
				for r := range n {
					if s := codeOracle(codes[r*stride:(r+1)*stride], queries[j*stride:(j+1)*stride], 1); s >= low[j] {
						want = append(want, Hit{int32(j), int32(r), s})
					}
				}
			}
			q := PackCodes(queries, stride)
			if got := sortHits(q.Above(nil, codes, scales, low)); !slices.Equal(got, want) || len(want) < m {
				t.Fatalf("%d queries: %d hits, want %d", m, len(got), len(want))
			}
			hits := make([]Hit, 0, len(want))
			noAllocs(t, "Above", func() { hits = q.Above(hits[:0], codes, scales, low) })
		}
		if got := PackCodes(nil, stride).Above(nil, make([]byte, stride), []float32{1}, nil); len(got) != 0 {
			t.Errorf("no queries: %v", got)
		}
	})
}

func TestEncode8(t *testing.T) {
	rng := newRand(23)
	for _, n := range []int{1, 3, 64, 100} {
		for range 200 {
			x := make([]float32, n)
			size := math.Pow(10, float64(rng.IntN(40)-20))
			for i := range x {
				x[i] = float32(rng.NormFloat64() * size)
			}
			codes := slices.Repeat([]byte{7}, CodeStride(n)+1)
			scale := float64(Encode8(codes[:CodeStride(n)], x))
			most := 0.0
			for _, v := range x {
				most = max(most, math.Abs(float64(v)))
			}
			if math.Abs(scale*127/most-1) > 1e-6 {
				t.Fatalf("scale %v of values up to %v", scale, most)
			}
			for i, c := range codes[:CodeStride(n)] {
				switch {
				case i >= n && c != 128, i < n && c == 0:
					t.Fatalf("code %d of %d values is %d", i, n, c)
				case i < n && math.Abs(scale*(float64(c)-128)-float64(x[i])) > 0.50002*scale:
					t.Fatalf("code %d for %v, scale %v", c, x[i], scale)
				}
			}
			if codes[CodeStride(n)] != 7 {
				t.Fatal("wrote past the codes")
			}
		}
	}
	for _, x := range [][]float32{nil, {0, 0}, {1e-40, 0}, {-1e-45}} {
		codes := make([]byte, 64)
		if scale := Encode8(codes, x); scale != 0 || !slices.Equal(codes, slices.Repeat([]byte{128}, 64)) {
			t.Errorf("%v: scale %v, codes %v", x, scale, codes)
		}
	}
	codes := make([]byte, 64)
	if scale := Encode8(codes, []float32{math.MaxFloat32, -math.MaxFloat32}); math.IsInf(float64(scale), 0) || codes[0] != 255 || codes[1] != 1 {
		t.Errorf("largest values: scale %v, codes %v", scale, codes[:2])
	}
}

func TestCodesPanics(t *testing.T) {
	q := PackCodes(make([]byte, 128), 64)
	for name, f := range map[string]func(){
		"stride":     func() { PackCodes(make([]byte, 32), 32) },
		"too long":   func() { PackCodes(nil, maxCodes+CodeWidth) },
		"rows":       func() { PackCodes(make([]byte, 65), 64) },
		"codes":      func() { q.Above(nil, make([]byte, 64), make([]float32, 2), make([]float32, 2)) },
		"thresholds": func() { q.Above(nil, make([]byte, 64), make([]float32, 1), make([]float32, 1)) },
		"encode":     func() { Encode8(make([]byte, 1), make([]float32, 2)) },
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

// BenchmarkCodes compares 384-wide rows that are in the caches with few and many
// queries.
func BenchmarkCodes(b *testing.B) {
	const n, stride = 4096, 384
	rng := newRand(24)
	draw := func() byte { return byte(rng.IntN(256)) }
	codes, scales := guardedCodes(n*stride, draw), slices.Repeat([]float32{1}, n)
	benchTiers(b, func(b *testing.B) {
		for _, m := range []int{1, 4, 8, 16, 48, 1000} {
			b.Run(fmt.Sprintf("queries=%d", m), func(b *testing.B) {
				q, low := PackCodes(guardedCodes(m*stride, draw), stride), slices.Repeat([]float32{1e9}, m)
				var hits []Hit
				b.SetBytes(n * stride)
				for b.Loop() {
					hits = q.Above(hits[:0], codes, scales, low)
				}
				b.ReportMetric(float64(b.N)*n*stride*float64(m)/b.Elapsed().Seconds()/1e9, "GMAC/s")
			})
		}
	})
}
