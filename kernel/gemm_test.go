package kernel

import (
	"fmt"
	"math"
	"testing"
)

// gemmOracle is [Gemm] in float64 from its definition.
func gemmOracle(transA, transB bool, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, accumulate bool) []float64 {
	out := make([]float64, m*n)
	for i := range m {
		for j := range n {
			s := 0.0
			if accumulate {
				s = float64(c[i*ldc+j])
			}
			for q := range k {
				ia, ib := i*lda+q, q*ldb+j
				if transA {
					ia = q*lda + i
				}
				if transB {
					ib = j*ldb + q
				}
				s += float64(a[ia]) * float64(b[ib])
			}
			out[i*n+j] = s
		}
	}
	return out
}

type gemmCase struct{ m, n, k, padA, padB, padC int }

func (c gemmCase) String() string {
	return fmt.Sprintf("%dx%dx%d+%d+%d+%d", c.m, c.n, c.k, c.padA, c.padB, c.padC)
}

// gemmCases has every width and height of a tile, several blocks of each kind, and
// long sums.
func gemmCases() []gemmCase {
	var cs []gemmCase
	for n := 1; n <= 51; n++ {
		cs = append(cs, gemmCase{1 + n%9, n, 1 + n%7, n % 3, n % 2, n % 4})
	}
	for m := 1; m <= 19; m++ {
		cs = append(cs, gemmCase{m, 24 + m%3, 5, 0, 1, m % 2})
	}
	return append(cs,
		gemmCase{3, 4, 0, 0, 0, 0}, gemmCase{0, 4, 3, 0, 0, 0}, gemmCase{4, 0, 3, 0, 0, 0},
		gemmCase{64, 64, 24, 264, 264, 0}, gemmCase{64, 24, 64, 0, 264, 72},
		gemmCase{17, 97, 300, 0, 0, 0}, gemmCase{100, 112, 129, 3, 1, 2}, gemmCase{70, 50, 385, 1, 0, 0},
		gemmCase{33, 65, 900, 0, 3, 0}, gemmCase{9, 33, 256, 0, 0, 0}, gemmCase{9, 500, 13, 0, 0, 0},
		gemmCase{24, 27, 5000, 0, 0, 0}, gemmCase{8, 10, 2051, 1, 2, 3}, gemmCase{400, 40, 12, 0, 0, 0},
		gemmCase{65, 850, 20, 0, 0, 0},
	)
}

func TestGemm(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		pool := NewPool(2)
		defer pool.Close()
		for ci, tt := range gemmCases() {
			for variant := range 8 {
				transA, transB, accumulate := variant&1 != 0, variant&2 != 0, variant&4 != 0
				name := fmt.Sprintf("%v/A%v/B%v/acc%v", tt, transA, transB, accumulate)
				rng := newRand(uint64(ci))
				ar, ac, br, bc := tt.m, tt.k, tt.k, tt.n
				if transA {
					ar, ac = ac, ar
				}
				if transB {
					br, bc = bc, br
				}
				lda, ldb, ldc := ac+tt.padA, bc+tt.padB, tt.n+tt.padC
				a := nanGuarded(rng, max(0, ar*lda-tt.padA))
				b := nanGuarded(rng, max(0, br*ldb-tt.padB))
				c := randomGuarded(rng, max(0, tt.m*ldc-tt.padC))
				before := append([]float32(nil), c.x...)
				want := gemmOracle(transA, transB, tt.m, tt.n, tt.k, a, lda, b, ldb, c.x, ldc, accumulate)
				Gemm(pool, transA, transB, tt.m, tt.n, tt.k, a, lda, b, ldb, c.x, ldc, accumulate)
				c.check(t, name)
				got := make([]float32, 0, tt.m*tt.n)
				for i := range c.x {
					if i%ldc < tt.n {
						got = append(got, c.x[i])
					} else if c.x[i] != before[i] {
						t.Fatalf("%s: wrote between rows, at %d", name, i)
					}
				}
				if tt.m*tt.n > 0 {
					closeTo(t, name, got, want, 3e-7*math.Sqrt(float64(tt.k)+4))
				}
			}
		}
	})
}

// TestGemmLarge crosses the limits of what is packed at once.
func TestGemmLarge(t *testing.T) {
	for _, tt := range []gemmCase{{50, 49, gemmPackedK*5 + 77, 0, 0, 0}, {60, 300, gemmPackedK + 5, 0, 0, 0}} {
		rng := newRand(3)
		a, b := nanGuarded(rng, tt.m*tt.k), nanGuarded(rng, tt.k*tt.n)
		c := newGuarded(tt.m * tt.n)
		eachThreads(t, func(p *Pool) []float32 {
			Gemm(p, true, false, tt.m, tt.n, tt.k, a, tt.m, b, tt.n, c.x, tt.n, false)
			c.check(t, "C")
			return append([]float32(nil), c.x...)
		})
		for try := range 50 {
			i, j := try*7%tt.m, try*11%tt.n
			want := 0.0
			for q := range tt.k {
				want += float64(a[q*tt.m+i]) * float64(b[q*tt.n+j])
			}
			closeTo(t, fmt.Sprint(tt), c.x[i*tt.n+j:][:1], []float64{want}, 2e-3)
		}
	}
}

func TestGemmThreads(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		for _, tt := range []gemmCase{{24, 27, 9000, 0, 0, 0}, {300, 100, 500, 0, 0, 0}, {5, 1000, 64, 0, 0, 0}, {96, 288, 1500, 0, 0, 0}} {
			rng := newRand(5)
			a, b := nanGuarded(rng, tt.m*tt.k), nanGuarded(rng, tt.k*tt.n)
			for _, transA := range []bool{false, true} {
				eachThreads(t, func(p *Pool) []float32 {
					c := make([]float32, tt.m*tt.n)
					lda := tt.k
					if transA {
						lda = tt.m
					}
					Gemm(p, transA, false, tt.m, tt.n, tt.k, a, lda, b, tt.n, c, tt.n, false)
					return c
				})
			}
		}
	})
}

// TestGemmNaN puts one NaN into A and one into B: the row and the column that they
// belong to become NaN, and nothing else does.
func TestGemmNaN(t *testing.T) {
	nan := float32(math.NaN())
	eachTier(t, func(t *testing.T) {
		for _, n := range []int{7, 24, 31, 48, 75} {
			m, k := 13, 9
			rng := newRand(7)
			a, b := nanGuarded(rng, m*k), nanGuarded(rng, k*n)
			a[4*k+3], b[2*n+5] = nan, nan
			b[3*n+6] = 0 // NaN times zero is NaN
			c := make([]float32, m*n)
			Gemm(nil, false, false, m, n, k, a, k, b, n, c, n, false)
			for i, v := range c {
				if isNaN := v != v; isNaN != (i/n == 4 || i%n == 5) {
					t.Fatalf("n=%d: C[%d,%d] = %v", n, i/n, i%n, v)
				}
			}
		}
	})
}

func TestGemmPanics(t *testing.T) {
	x := make([]float32, 12)
	for name, f := range map[string]func(){
		"negative":  func() { Gemm(nil, false, false, -1, 3, 4, x, 4, x, 3, x, 3, false) },
		"short A":   func() { Gemm(nil, false, false, 4, 3, 4, x, 4, x, 3, x, 3, false) },
		"short B":   func() { Gemm(nil, false, true, 3, 4, 4, x, 4, x, 4, x, 4, false) },
		"short C":   func() { Gemm(nil, false, false, 3, 3, 4, x, 4, x, 3, x[:8], 3, false) },
		"small lda": func() { Gemm(nil, false, false, 3, 3, 4, x, 3, x, 3, x, 3, false) },
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

func TestGemmAllocs(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	a, b, c := make([]float32, 4096*96), make([]float32, 4096*96), make([]float32, 4096*96)
	noAllocs(t, "x·wᵀ", func() { Gemm(p, false, true, 4096, 96, 96, a, 96, b, 96, c, 96, false) })
	noAllocs(t, "dyᵀ·x", func() { Gemm(p, true, false, 96, 96, 4096, a, 96, b, 96, c, 96, false) })
}

// TestGemmCut multiplies with the blocks of every cache: the bits are the same.
func TestGemmCut(t *testing.T) {
	defer func(cut gemmCut) { gemmBlocking = cut }(gemmBlocking)
	const m, n, k = 431, 113, 1700
	rng := newRand(5)
	a, b := make([]float32, m*k), make([]float32, k*n)
	for _, x := range [][]float32{a, b} {
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
	}
	for _, trans := range [][2]bool{{false, false}, {false, true}, {true, false}} {
		lda, ldb := k, n
		if trans[0] {
			lda = m
		}
		if trans[1] {
			ldb = k
		}
		var want []float32
		for _, level2 := range []int{0, 1 << 20, 2 << 20, 4 << 20} {
			gemmBlocking = gemmCutFor(level2)
			got := make([]float32, m*n)
			Gemm(nil, trans[0], trans[1], m, n, k, a, lda, b, ldb, got, n, false)
			if want == nil {
				want = got
			}
			for i, w := range want {
				if got[i] != w {
					t.Fatalf("transposed %v, level-2 cache of %d: value %d is %v, was %v", trans, level2, i, got[i], w)
				}
			}
		}
	}
}
