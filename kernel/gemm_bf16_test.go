package kernel

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
)

// eachBF16 runs f as a subtest on every tier of this machine that has products of
// bfloat16 of its own, with a pool of two threads that multiplies in bfloat16.
func eachBF16(t *testing.T, f func(t *testing.T, p *Pool)) {
	t.Helper()
	for _, tier := range Tiers() {
		if tier != Generic && !tier.BF16() {
			continue
		}
		t.Run(tier.String(), func(t *testing.T) {
			restore, err := SetTier(tier)
			if err != nil {
				t.Fatal(err)
			}
			defer restore()
			p := NewPool(2)
			defer p.Close()
			f(t, p.With(BF16))
		})
	}
}

// TestTiersBF16 checks that the tiers of bfloat16 bring products of their own.
func TestTiersBF16(t *testing.T) {
	seen := map[*bf16Kernel]Tier{}
	for _, tier := range Tiers() {
		restore, err := SetTier(tier)
		if err != nil {
			t.Fatal(err)
		}
		unit := bf16Kernels.get()
		before, known := seen[unit]
		if own := tier == Generic || tier.BF16(); own == known {
			t.Errorf("tier %v: has the products of tier %v", tier, before)
		}
		seen[unit] = tier
		if err := CheckPrecision(Float32); err != nil {
			t.Errorf("tier %v: float32: %v", tier, err)
		}
		err = CheckPrecision(BF16)
		if missing := !tier.BF16(); missing != errors.Is(err, ErrBF16) {
			t.Errorf("tier %v: bf16: error %v", tier, err)
		}
		restore()
	}
}

func TestPoolWith(t *testing.T) {
	p := NewPool(3)
	bf16 := p.With(BF16)
	for _, tt := range []struct {
		name      string
		pool      *Pool
		threads   int
		precision Precision
	}{
		{"nil", nil, 1, Float32},
		{"pool", p, 3, Float32},
		{"bf16", bf16, 3, BF16},
		{"and back", bf16.With(Float32), 3, Float32},
		{"of nil", (*Pool)(nil).With(BF16), 1, BF16},
	} {
		if n, precision := tt.pool.Threads(), tt.pool.Precision(); n != tt.threads || precision != tt.precision {
			t.Errorf("%s: %d threads, %v; want %d, %v", tt.name, n, precision, tt.threads, tt.precision)
		}
		sum := make([]int, 20)
		tt.pool.Run(len(sum), func(i int) { sum[i] += i })
		for i, v := range sum {
			if v != i {
				t.Errorf("%s: item %d ran %d times", tt.name, i, v/max(i, 1))
			}
		}
	}
	bf16.Close() // does not close p
	p.Run(5, func(int) {})
	p.Close()
}

// specials are the numbers where rounding is special, and what they become. The middle
// between 1 and its neighbour 1.0078125 goes to the even one.
var specials = []struct{ from, to uint32 }{
	{0x3F800000, 0x3F80}, {0x3F807FFF, 0x3F80}, {0x3F808000, 0x3F80}, {0x3F808001, 0x3F81},
	{0x3F818000, 0x3F82}, {0xBF818000, 0xBF82}, {0x3FFFFFFF, 0x4000},
	{0, 0}, {0x80000000, 0x8000}, {1, 0}, {0x807FFFFF, 0x8000}, {0x00800000, 0x0080},
	{0x7F7F7FFF, 0x7F7F}, {0x7F7F8000, 0x7F80}, {0x7F800000, 0x7F80}, {0xFF800000, 0xFF80},
	{0x7FC00000, 0x7FC0}, {0x7F800001, 0x7FC0}, {0xFFFFFFFF, 0xFFFF},
}

// TestPackBF16 packs tiles of random and of special numbers, which have to be at the
// places that gemm_bf16.go says, rounded to the nearest.
func TestPackBF16(t *testing.T) {
	for _, tt := range specials {
		if got := roundBF16(math.Float32frombits(tt.from)); uint32(got) != tt.to {
			t.Errorf("%#x is rounded to %#x, want %#x", tt.from, got, tt.to)
		}
	}
	rng := newRand(1)
	for range 10000 {
		v := float32(rng.NormFloat64())
		got := float64(fromBF16(roundBF16(v)))
		ulp := math.Ldexp(1, math.Ilogb(float64(v))-7)
		if d := math.Abs(got - float64(v)); d > ulp/2 {
			t.Fatalf("%v is rounded to %v, %v of a unit away", v, got, d/ulp)
		}
	}
	eachBF16(t, func(t *testing.T, _ *Pool) {
		unit := bf16Kernels.get()
		for _, tt := range []struct {
			name       string
			pack       bf16Pack
			rows, cols int
			place      func(r, c int) int // in the tile
		}{
			{"rowsA", unit.rowsA, 16, 32, func(r, c int) int { return 32*r + c }},
			{"colsA", unit.colsA, 32, 16, func(r, c int) int { return 32*c + r }},
			{"rowsB", unit.rowsB, 16, 32, func(r, c int) int { return c/2*32 + 2*r + c%2 }},
			{"colsB", unit.colsB, 32, 16, func(r, c int) int { return r/2*32 + 2*c + r%2 }},
		} {
			const n, step = 3, 2 * bf16Values
			lds := n*tt.cols + 5
			src := nanGuarded(rng, (tt.rows-1)*lds+n*tt.cols)
			for i := range src {
				if s := specials[i%len(specials)]; i%3 == 0 {
					src[i] = math.Float32frombits(s.from)
				}
			}
			dst := make([]uint16, n*step+1)
			for i := range dst {
				dst[i] = 0xABCD
			}
			tt.pack(n, &src[0], lds, &dst[0], step*halfSize)
			want := make([]uint16, len(dst))
			for i := range want {
				want[i] = 0xABCD
			}
			for i := range n {
				for r := range tt.rows {
					for c := range tt.cols {
						want[i*step+tt.place(r, c)] = roundBF16(src[r*lds+i*tt.cols+c])
					}
				}
			}
			for i := range want {
				if dst[i] != want[i] {
					t.Fatalf("%s: tile %d, place %d: %#x, want %#x", tt.name, i/step, i%step, dst[i], want[i])
				}
			}
		}
	})
}

// rounded returns x as it enters a product.
func rounded(x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = fromBF16(roundBF16(v))
	}
	return y
}

func magnitudes(x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(math.Abs(float64(v)))
	}
	return y
}

// checkSums fails the test unless got is the float32 sum, in some order, of terms whose
// exact sum is want and whose magnitudes add up to size: each of the additions is off by
// at most 2⁻²⁴ of a partial sum, and no partial sum is larger than size (1 + 2⁻²⁴)ⁿ. The
// products of two bfloat16 have 16 bits and are exact.
func checkSums(t *testing.T, name string, got []float32, want, size []float64, terms int) {
	t.Helper()
	for i, w := range want {
		if d := math.Abs(float64(got[i]) - w); !(d <= float64(terms)*0x1p-24*1.001*size[i]) {
			t.Fatalf("%s[%d] = %v, want %v (difference %.2g, magnitudes %.3g, %d terms)", name, i, got[i], w, d, size[i], terms)
		}
	}
}

// bf16Cases are those of float32, and sizes around the tiles and what is packed at once.
func bf16Cases() []gemmCase {
	cs := gemmCases()
	for n := 1; n <= 70; n += 3 {
		cs = append(cs, gemmCase{(n*7)%37 + 1, n, (n*5)%67 + 1, n % 3, n % 2, n % 4})
	}
	return append(cs,
		gemmCase{32, 32, 32, 0, 0, 0}, gemmCase{33, 33, 33, 0, 0, 0}, gemmCase{48, 96, 64, 0, 0, 0}, gemmCase{1, 1, 4000, 0, 0, 0},
		gemmCase{65, 230, 2100, 1, 0, 0}, gemmCase{300, 33, 1030, 0, 0, 3},
	)
}

func TestGemmBF16(t *testing.T) {
	eachBF16(t, func(t *testing.T, pool *Pool) {
		for ci, tt := range bf16Cases() {
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
				ra, rb := rounded(a), rounded(b)
				want := gemmOracle(transA, transB, tt.m, tt.n, tt.k, ra, lda, rb, ldb, c.x, ldc, accumulate)
				size := gemmOracle(transA, transB, tt.m, tt.n, tt.k, magnitudes(ra), lda, magnitudes(rb), ldb, magnitudes(c.x), ldc, accumulate)
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
					checkSums(t, name, got, want, size, tt.k+1)
				}
			}
		}
	})
}

// TestGemmBF16Large crosses the limits of what is packed at once.
func TestGemmBF16Large(t *testing.T) {
	eachBF16(t, func(t *testing.T, pool *Pool) {
		cases := []gemmCase{{40, 3000, bf16Sum + 77, 0, 0, 0}, {600, 40, 3*bf16Sum - 5, 0, 0, 0}}
		if Active() == Generic {
			cases = cases[:1] // it takes seconds
		}
		for _, tt := range cases {
			rng := newRand(3)
			a, b := nanGuarded(rng, tt.m*tt.k), nanGuarded(rng, tt.k*tt.n)
			c := newGuarded(tt.m * tt.n)
			Gemm(pool, true, false, tt.m, tt.n, tt.k, a, tt.m, b, tt.n, c.x, tt.n, false)
			c.check(t, "C")
			ra, rb := rounded(a), rounded(b)
			for try := range 200 {
				i, j := try*7%tt.m, try*1009%tt.n
				want, size := 0.0, 0.0
				for q := range tt.k {
					product := float64(ra[q*tt.m+i]) * float64(rb[q*tt.n+j])
					want += product
					size += math.Abs(product)
				}
				checkSums(t, fmt.Sprint(tt), c.x[i*tt.n+j:][:1], []float64{want}, []float64{size}, tt.k)
			}
		}
	})
}

// TestLinearBF16 holds the fused layers against the kernels that they are made of, and
// the gradients against the sums that they are.
func TestLinearBF16(t *testing.T) {
	eachBF16(t, func(t *testing.T, pool *Pool) {
		for i, s := range fusedShapes {
			rng := newRand(uint64(i))
			rows, in, out := s.rows, s.in, s.out
			f := &fusedOperands{
				rows: rows, in: in, out: out,
				x: nanGuarded(rng, rows*in), w: nanGuarded(rng, out*in), bias: nanGuarded(rng, out),
				other: nanGuarded(rng, rows*out), y: newGuarded(rows * out), h: newGuarded(rows * out),
			}
			for _, tt := range fusedCases() {
				for _, alias := range []bool{false, true} {
					name := fmt.Sprintf("%s/%d×%d→%d/alias=%v", tt.name, rows, in, out, alias)
					tt.apart(pool, f)
					want := append([]float32(nil), f.y.x...)
					tt.fused(pool, f, alias)
					sameBits(t, name, f.y.x, want)
					f.y.check(t, name)
					f.h.check(t, name)
				}
			}
			name := fmt.Sprintf("%d×%d→%d", rows, in, out)
			x, w, dy := rounded(f.x), rounded(f.w), rounded(f.other)
			dx, dw, dbias := newGuarded(rows*in), newGuarded(out*in), newGuarded(out)
			LinearGradX(pool, dx.x, f.other, f.w, rows, in, out)
			LinearGradW(pool, dw.x, dbias.x, f.other, f.x, rows, in, out)
			sum := func(transA bool, m, n, k int, a []float32, lda int, b []float32, ldb int) []float64 {
				return gemmOracle(transA, false, m, n, k, a, lda, b, ldb, nil, n, false)
			}
			checkSums(t, name+": dx", dx.x, sum(false, rows, in, out, dy, out, w, in),
				sum(false, rows, in, out, magnitudes(dy), out, magnitudes(w), in), out)
			checkSums(t, name+": dw", dw.x, sum(true, out, in, rows, dy, out, x, in),
				sum(true, out, in, rows, magnitudes(dy), out, magnitudes(x), in), rows)
			// The gradient of the bias is a sum of float32.
			ones := make([]float32, rows)
			for i := range ones {
				ones[i] = 1
			}
			closeTo(t, name+": dbias", dbias.x, sum(false, 1, out, rows, ones, rows, f.other, out), 3e-6)
			dx.check(t, name+": dx")
			dw.check(t, name+": dw")
			dbias.check(t, name+": dbias")
		}
	})
}

// TestLinearBF16Slope compares the gradients with differences of the forward pass. Its
// operands, before and after a step of ¼, are bfloat16 themselves: the differences of a
// linear map are then exact but for the sums.
func TestLinearBF16Slope(t *testing.T) {
	eachBF16(t, func(t *testing.T, pool *Pool) {
		const rows, in, out, step = 21, 37, 18, 0.25
		rng := newRand(9)
		eighths := func(n int) []float32 {
			x := make([]float32, n)
			for i := range x {
				x[i] = float32(rng.IntN(33)-16) / 8
			}
			return x
		}
		x, w, bias, dy := eighths(rows*in), eighths(out*in), eighths(out), eighths(rows*out)
		dx, dw, dbias, y := make([]float32, len(x)), make([]float32, len(w)), make([]float32, out), make([]float32, len(dy))
		LinearGradX(pool, dx, dy, w, rows, in, out)
		LinearGradW(pool, dw, dbias, dy, x, rows, in, out)
		value := func() float64 {
			Linear(pool, y, x, w, bias, rows, in, out)
			return dot64(dy, y)
		}
		for name, operand := range map[string]struct{ x, grad []float32 }{"dx": {x, dx}, "dw": {w, dw}, "dbias": {bias, dbias}} {
			for range 40 {
				i := rng.IntN(len(operand.x))
				was := operand.x[i]
				operand.x[i] = was + step
				up := value()
				operand.x[i] = was - step
				down := value()
				operand.x[i] = was
				if slope := (up - down) / (2 * step); math.Abs(slope-float64(operand.grad[i])) > 1e-5*math.Max(1, math.Abs(slope)) {
					t.Fatalf("%s[%d] = %v, the slope is %v", name, i, operand.grad[i], slope)
				}
			}
		}
	})
}

func TestGemmBF16Threads(t *testing.T) {
	eachBF16(t, func(t *testing.T, _ *Pool) {
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
					Gemm(p.With(BF16), transA, false, tt.m, tt.n, tt.k, a, lda, b, tt.n, c, tt.n, false)
					return c
				})
			}
		}
	})
}

// TestGemmBF16NaN puts one NaN into A and one into B, and a number into each that is
// infinite in bfloat16: its row and column become infinite.
func TestGemmBF16NaN(t *testing.T) {
	nan := float32(math.NaN())
	eachBF16(t, func(t *testing.T, pool *Pool) {
		for _, n := range []int{7, 24, 31, 48, 75} {
			m, k := 43, 39
			rng := newRand(7)
			a, b := nanGuarded(rng, m*k), nanGuarded(rng, k*n)
			a[4*k+3], b[2*n+5] = nan, nan
			b[3*n+6] = 0 // NaN times zero is NaN
			a[40*k+38], b[37*n+1] = math.MaxFloat32, -math.MaxFloat32
			c := make([]float32, m*n)
			Gemm(pool, false, false, m, n, k, a, k, b, n, c, n, false)
			for i, v := range c {
				row, col := i/n, i%n
				if row == 40 && col == 1 {
					continue // both infinities may meet there
				}
				if isNaN := v != v; isNaN != (row == 4 || col == 5) {
					t.Fatalf("n=%d: C[%d,%d] = %v", n, row, col, v)
				}
				if row == 4 || col == 5 {
					continue
				}
				if inf := math.IsInf(float64(v), 0); inf != (row == 40 || col == 1) {
					t.Fatalf("n=%d: C[%d,%d] = %v", n, row, col, v)
				}
			}
		}
	})
}

func TestGemmBF16Allocs(t *testing.T) {
	eachBF16(t, func(t *testing.T, p *Pool) {
		rows := 2048
		if Active() == Generic {
			rows = 256 // it takes seconds
		}
		a, b, c := make([]float32, rows*96), make([]float32, rows*96), make([]float32, rows*96)
		noAllocs(t, "x·wᵀ", func() { Gemm(p, false, true, rows, 96, 96, a, 96, b, 96, c, 96, false) })
		noAllocs(t, "dyᵀ·x", func() { Gemm(p, true, false, 96, 96, rows, a, 96, b, 96, c, 96, false) })
	})
}

// TestGemmBF16Preemption multiplies in more goroutines than there are processors, while
// the garbage collector runs all the time and stops them: the tile registers of one must
// not get lost, nor into another.
func TestGemmBF16Preemption(t *testing.T) {
	eachBF16(t, func(t *testing.T, _ *Pool) {
		defer debug.SetGCPercent(debug.SetGCPercent(1))
		const m, n, k, goroutines = 96, 96, 512, 12
		rounds := 150
		if Active() == Generic {
			rounds = 2 // slow, and without registers of its own
		}
		var all sync.WaitGroup
		for id := range goroutines {
			rng := newRand(uint64(id))
			a, b := nanGuarded(rng, m*k), nanGuarded(rng, k*n)
			p := (*Pool)(nil).With(BF16)
			want := make([]float32, m*n)
			Gemm(p, false, false, m, n, k, a, k, b, n, want, n, false)
			all.Go(func() {
				c := make([]float32, m*n)
				for range rounds {
					clear(c)
					Gemm(p, false, false, m, n, k, a, k, b, n, c, n, false)
					for i := range c {
						if c[i] != want[i] {
							t.Errorf("C[%d] = %v, before %v", i, c[i], want[i])
							return
						}
					}
					garbage = make([]byte, 1<<16)
					if id == 0 {
						runtime.GC()
					}
				}
			})
		}
		all.Wait()
	})
}

var garbage []byte
