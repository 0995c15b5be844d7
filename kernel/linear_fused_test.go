package kernel

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// fusedShapes has odd sizes, a sum of no products, several blocks and groups of columns, and sums that are cut into
// pieces or stored in between.
var fusedShapes = []struct{ rows, in, out int }{
	{1, 1, 1}, {5, 3, 7}, {3, 0, 5}, {0, 3, 4}, {33, 40, 49}, {70, 50, 197}, {210, 30, 433}, {19, 900, 50},
	{10, 2500, 24}, {400, 24, 96}, {200, 385, 130},
}

// fusedCase is a fused product: with alias the result takes the place of the other operand.
type fusedCase struct {
	name  string
	fused func(p *Pool, f *fusedOperands, alias bool)
	apart func(p *Pool, f *fusedOperands) // the same by the kernels that it is made of
	exact func(f *fusedOperands, sum float64, i int) float64
	tol   float64
}

type fusedOperands struct {
	rows, in, out     int
	x, w, bias, other []float32
	y, h              guarded
}

const fusedRate, fusedSeed, fusedStream = 0.3, 5, 7

// otherOrY gives the other operand and the place of the result: one memory, which holds the other operand, or two.
func (f *fusedOperands) otherOrY(alias bool) (other, y []float32) {
	if alias {
		copy(f.y.x, f.other)
		return f.y.x, f.y.x
	}
	return f.other, f.y.x
}

func fusedCases() []fusedCase {
	mask := func(f *fusedOperands) []float32 {
		ones := slices.Repeat([]float32{1}, f.rows*f.out)
		Dropout(nil, ones, ones, fusedRate, fusedSeed, fusedStream)
		return ones
	}
	linear := func(p *Pool, f *fusedOperands, y []float32) { Linear(p, y, f.x, f.w, f.bias, f.rows, f.in, f.out) }
	cases := []fusedCase{
		{"LinearAdd", func(p *Pool, f *fusedOperands, alias bool) {
			other, y := f.otherOrY(alias)
			LinearAdd(p, y, f.x, f.w, f.bias, other, f.rows, f.in, f.out)
		}, func(p *Pool, f *fusedOperands) {
			linear(p, f, f.y.x)
			Add(p, f.y.x, f.y.x, f.other)
		}, func(f *fusedOperands, sum float64, i int) float64 { return sum + float64(f.other[i]) }, 3e-6},
		{"LinearDropoutAdd", func(p *Pool, f *fusedOperands, alias bool) {
			other, y := f.otherOrY(alias)
			LinearDropoutAdd(p, y, f.x, f.w, f.bias, other, fusedRate, fusedSeed, fusedStream, f.rows, f.in, f.out)
		}, func(p *Pool, f *fusedOperands) {
			linear(p, f, f.y.x)
			Dropout(p, f.y.x, f.y.x, fusedRate, fusedSeed, fusedStream)
			Add(p, f.y.x, f.y.x, f.other)
		}, func(f *fusedOperands, sum float64, i int) float64 {
			return sum*float64(mask(f)[i]) + float64(f.other[i])
		}, 3e-6},
	}
	for _, kind := range []GELUKind{GELUErf, GELUTanh, GELUQuick} {
		cases = append(cases, fusedCase{"LinearGELU/" + kind.String(), func(p *Pool, f *fusedOperands, alias bool) {
			h := f.h.x
			if alias {
				h = nil
			}
			LinearGELU(p, kind, f.y.x, h, f.x, f.w, f.bias, f.rows, f.in, f.out)
		}, func(p *Pool, f *fusedOperands) {
			linear(p, f, f.h.x)
			GELU(p, kind, f.y.x, f.h.x)
		}, func(f *fusedOperands, sum float64, i int) float64 { return geluOracle[kind](sum) }, 3e-6},
			fusedCase{"LinearGradXGELU/" + kind.String(), func(p *Pool, f *fusedOperands, alias bool) {
				// dy is (rows, in) here, w (in, out), and dh (rows, out).
				h, dh := f.otherOrY(alias)
				LinearGradXGELU(p, kind, dh, f.x, f.w, h, f.rows, f.out, f.in)
			}, func(p *Pool, f *fusedOperands) {
				LinearGradX(p, f.y.x, f.x, f.w, f.rows, f.out, f.in)
				GELUGrad(p, kind, f.y.x, f.other, f.y.x)
			}, func(f *fusedOperands, _ float64, i int) float64 {
				sum := 0.0
				for q := range f.in {
					sum += float64(f.x[i/f.out*f.in+q]) * float64(f.w[q*f.out+i%f.out])
				}
				return sum * geluSlope(kind, float64(f.other[i]))
			}, 1e-5})
	}
	return cases
}

func TestLinearFused(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		pool := NewPool(2)
		defer pool.Close()
		for i, s := range fusedShapes {
			for _, tt := range fusedCases() {
				rng := newRand(uint64(i))
				f := &fusedOperands{
					rows: s.rows, in: s.in, out: s.out,
					x: nanGuarded(rng, s.rows*s.in), w: nanGuarded(rng, s.out*s.in), bias: nanGuarded(rng, s.out),
					other: nanGuarded(rng, s.rows*s.out), y: newGuarded(s.rows * s.out), h: newGuarded(s.rows * s.out),
				}
				for _, withBias := range []bool{true, false} {
					name := fmt.Sprintf("%s/%d×%d→%d/bias=%v", tt.name, s.rows, s.in, s.out, withBias)
					want, wantH := make([]float64, s.rows*s.out), make([]float64, s.rows*s.out)
					if !withBias {
						f.bias = nil
					}
					for j := range want {
						if withBias {
							wantH[j] = float64(f.bias[j%s.out])
						}
						wantH[j] += dot64(f.x[j/s.out*s.in:][:s.in], f.w[j%s.out*s.in:])
						if s.rows*s.out <= 1700 || j%191 == 0 { // the oracles are slow
							want[j] = tt.exact(f, wantH[j], j)
						}
					}
					tt.apart(pool, f)
					apart, apartH := slices.Clone(f.y.x), slices.Clone(f.h.x)
					for j := range want {
						if s.rows*s.out > 1700 && j%191 != 0 {
							want[j] = float64(apart[j])
						}
					}
					for _, alias := range []bool{false, true} {
						clear(f.y.x)
						clear(f.h.x)
						tt.fused(pool, f, alias)
						closeTo(t, name, f.y.x, want, tt.tol)
						sameBits(t, name+": against one kernel after the other", f.y.x, apart)
						if strings.HasPrefix(tt.name, "LinearGELU") && !alias {
							closeTo(t, name+": h", f.h.x, wantH, 3e-6)
							sameBits(t, name+": h against one kernel after the other", f.h.x, apartH)
						}
						f.y.check(t, name)
						f.h.check(t, name+": h")
					}
				}
			}
		}
	})
}

func TestLinearFusedThreads(t *testing.T) {
	const rows, in, out = 700, 60, 500
	rng := newRand(1)
	f := &fusedOperands{
		rows: rows, in: in, out: out, x: nanGuarded(rng, rows*in), w: nanGuarded(rng, out*in), bias: nanGuarded(rng, out),
		other: nanGuarded(rng, rows*out), y: newGuarded(rows * out), h: newGuarded(rows * out),
	}
	eachTier(t, func(t *testing.T) {
		for _, tt := range fusedCases() {
			for _, alias := range []bool{false, true} {
				eachThreads(t, func(p *Pool) []float32 {
					tt.fused(p, f, alias)
					return slices.Concat(f.y.x, f.h.x)
				})
			}
		}
	})
}

// TestLinearFusedNaN puts NaN into one row of x, one bias and one place of the other operand.
func TestLinearFusedNaN(t *testing.T) {
	const rows, in, out = 9, 10, 50
	nan := float32(math.NaN())
	eachTier(t, func(t *testing.T) {
		rng := newRand(3)
		f := &fusedOperands{
			rows: rows, in: in, out: out, x: nanGuarded(rng, rows*in), w: nanGuarded(rng, out*in), bias: nanGuarded(rng, out),
			other: nanGuarded(rng, rows*out), y: newGuarded(rows * out), h: newGuarded(rows * out),
		}
		f.x[4*in+9], f.other[7*out+13] = nan, nan
		for _, tt := range fusedCases() {
			tt.fused(nil, f, false)
			gelu := strings.HasPrefix(tt.name, "LinearGELU")
			for i, v := range f.y.x {
				if want := i/out == 4 || !gelu && i == 7*out+13; (v != v) != want {
					t.Fatalf("%s: y[%d,%d] = %v", tt.name, i/out, i%out, v)
				}
			}
		}
	})
}

func TestLinearFusedAllocs(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	f := &fusedOperands{
		rows: 300, in: 60, out: 260, x: make([]float32, 300*60), w: make([]float32, 260*60), bias: make([]float32, 260),
		other: make([]float32, 300*260), y: newGuarded(300 * 260), h: newGuarded(300 * 260),
	}
	for _, tt := range fusedCases() {
		noAllocs(t, tt.name, func() { tt.fused(p, f, false) })
		noAllocs(t, tt.name+" in place", func() { tt.fused(p, f, true) })
	}
}

// TestLinearFusedLong has a sum that is too long to be packed at once, with the result in the place of the residual.
func TestLinearFusedLong(t *testing.T) {
	const rows, in, out = 100, gemmPackedK + 300, 260
	rng := newRand(9)
	x, w, residual := nanGuarded(rng, rows*in), nanGuarded(rng, out*in), nanGuarded(rng, rows*out)
	y, apart := newGuarded(rows*out), make([]float32, rows*out)
	Linear(nil, apart, x, w, nil, rows, in, out)
	Add(nil, apart, apart, residual)
	copy(y.x, residual)
	LinearAdd(nil, y.x, x, w, nil, y.x, rows, in, out)
	sameBits(t, "in place", y.x, apart)
	LinearAdd(nil, y.x, x, w, nil, residual, rows, in, out)
	sameBits(t, "apart", y.x, apart)
	y.check(t, "y")
}

func TestLinearFusedPanics(t *testing.T) {
	x := make([]float32, 24)
	for want, f := range map[string]func(){
		"kernel: LinearGELU: h: length 24, want 18":                func() { LinearGELU(nil, GELUErf, x[:18], x, x, x[:12], nil, 6, 4, 3) },
		"kernel: LinearGELU: unknown kind 3":                       func() { LinearGELU(nil, 3, x[:18], nil, x, x[:12], nil, 6, 4, 3) },
		"kernel: LinearGELU: bias: length 24, want 3":              func() { LinearGELU(nil, GELUErf, x[:18], nil, x, x[:12], x, 6, 4, 3) },
		"kernel: LinearAdd: residual: length 24, want 18":          func() { LinearAdd(nil, x[:18], x, x[:12], nil, x, 6, 4, 3) },
		"kernel: LinearDropoutAdd: rate = 1, want 0 <= rate < 1":   func() { LinearDropoutAdd(nil, x[:18], x, x[:12], nil, x[:18], 1, 0, 0, 6, 4, 3) },
		"kernel: LinearGradXGELU: h: length 18, want 24":           func() { LinearGradXGELU(nil, GELUErf, x, x[:18], x[:12], x[:18], 6, 4, 3) },
		"kernel: LinearGradXGELU: dy: length 24, want 18":          func() { LinearGradXGELU(nil, GELUErf, x, x, x[:12], x, 6, 4, 3) },
		"kernel: LinearGradXGELU: rows, in, out = -6, 4, 3":        func() { LinearGradXGELU(nil, GELUErf, x, x, x[:12], x, -6, 4, 3) },
		"kernel: LinearDropoutAdd: residual: length 17, want 18":   func() { LinearDropoutAdd(nil, x[:18], x, x[:12], nil, x[:17], 0, 0, 0, 6, 4, 3) },
		"kernel: LinearDropoutAdd: rate = NaN, want 0 <= rate < 1": func() { LinearDropoutAdd(nil, x[:18], x, x[:12], nil, x[:18], float32(math.NaN()), 0, 0, 6, 4, 3) },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); got != want {
					t.Errorf("panic %q, want %q", got, want)
				}
			}()
			f()
		}()
	}
}

// TestDropoutMask asks for parts of a mask, across its pieces.
func TestDropoutMask(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		const n = 4 * pieceLen
		x := nanGuarded(newRand(2), n)
		want := make([]float32, n)
		Dropout(nil, want, x, 0.4, 1, 2)
		m := newDropoutMask("Dropout", 0.4, 1, 2)
		for _, at := range []int{0, 1, 7, 100, pieceLen - 5, pieceLen, 2*pieceLen - 1, pieceLen + 4097} {
			for _, length := range []int{0, 1, 15, 33, 192, pieceLen + 3} {
				y := newGuarded(length)
				m.apply(y.x, x[at:at+length], at)
				sameBits(t, fmt.Sprintf("%d elements from %d", length, at), y.x, want[at:])
				y.check(t, "y")
			}
		}
	})
}
