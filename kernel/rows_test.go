package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// lengths has the borders of vectors, of unrolled loops and of pieces.
var lengths = []int{0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 1000, 8191, 8192, 8193, 20011}

// guardedCopy is a copy of x between guard words.
func guardedCopy(x []float32) guarded {
	g := newGuarded(len(x))
	copy(g.x, x)
	return g
}

// input is a copy of x between NaN.
func input(x []float32) []float32 {
	g := nanGuarded(newRand(0), len(x))
	copy(g, x)
	return g
}

// normal draws n numbers of standard deviation scale.
func normal(rng *rand.Rand, n int, scale float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * scale)
	}
	return x
}

// near reports whether got is within abs + rel·|want| of want, or both are the
// same infinity or NaN.
func near(got float32, want, abs, rel float64) bool {
	g := float64(got)
	switch {
	case math.IsNaN(want):
		return math.IsNaN(g)
	case math.IsInf(want, 0) || math.IsInf(g, 0):
		return g == want || math.IsInf(float64(float32(want)), 0) && g == float64(float32(want))
	}
	return math.Abs(g-want) <= abs+rel*math.Abs(want)
}

// nearAll fails the test where got is not near want.
func nearAll(t *testing.T, what string, got []float32, want []float64, abs, rel float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i, w := range want {
		if !near(got[i], w, abs, rel) {
			t.Fatalf("%s: [%d] = %v, want %v (difference %.3g, bound %.3g + %.3g·|want|)", what, i, got[i], w, float64(got[i])-w, abs, rel)
		}
	}
}

// elementwiseCase is an elementwise kernel of one or two inputs.
type elementwiseCase struct {
	name     string
	run      func(p *Pool, y, a, b []float32)
	want     func(y, a, b float64) float64
	abs, rel float64
	readsY   bool
	spread   float64 // of the inputs, 3 if 0
}

const halfULP = 1.0 / (1 << 24)

func phi(x float64) float64 { return 0.5 * math.Erfc(-x/math.Sqrt2) }

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

var geluOracle = map[GELUKind]func(x float64) float64{
	GELUErf: func(x float64) float64 {
		if math.IsInf(x, -1) {
			return 0
		}
		return x * phi(x)
	},
	GELUTanh: func(x float64) float64 {
		if math.IsInf(x, -1) {
			return 0
		}
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	},
	GELUQuick: func(x float64) float64 {
		if math.IsInf(x, -1) {
			return 0
		}
		return x * sigmoid(1.702*x)
	},
}

// geluSlope is the derivative by central differences, with the error term of
// second order removed.
func geluSlope(kind GELUKind, x float64) float64 {
	if x > 100 {
		return 1 // where differences would be rounding
	}
	if x < -100 {
		return 0
	}
	f := geluOracle[kind]
	d := func(h float64) float64 { return (f(x+h) - f(x-h)) / (2 * h) }
	const h = 1e-3
	return (4*d(h/2) - d(h)) / 3
}

func elementwiseCases() []elementwiseCase {
	ks := []elementwiseCase{
		{"Add", func(p *Pool, y, a, b []float32) { Add(p, y, a, b) }, func(_, a, b float64) float64 { return a + b }, 0, halfULP, false, 0},
		{"Mul", func(p *Pool, y, a, b []float32) { Mul(p, y, a, b) }, func(_, a, b float64) float64 { return a * b }, 1e-45, halfULP, false, 0},
		{"Axpy", func(p *Pool, y, a, _ []float32) { Axpy(p, y, -1.7, a) }, func(y, a, _ float64) float64 { return y + float64(float32(-1.7))*a }, 2e-6, 0, true, 0},
		{"Scale", func(p *Pool, y, a, _ []float32) { Scale(p, y, 0.3, a) }, func(_, a, _ float64) float64 { return float64(float32(0.3)) * a }, 1e-45, halfULP, false, 0},
		{"AddScalar", func(p *Pool, y, a, _ []float32) { AddScalar(p, y, 0.3, a) }, func(_, a, _ float64) float64 { return float64(float32(0.3)) + a }, 0, halfULP, false, 0},
		{"Exp", func(p *Pool, y, a, _ []float32) { Exp(p, y, a) }, func(_, a, _ float64) float64 { return math.Exp(a) }, 2.9e-45, 2.4e-7, false, 40},
		{"mulAddRow", func(_ *Pool, y, a, b []float32) { mulAddRow(y, a, b) }, func(y, a, b float64) float64 { return y + a*b }, 1e-5, 0, true, 0},
		{"combineRow", func(_ *Pool, y, a, b []float32) { combineRow(y, a, b, 0.3, -2) }, func(_, a, b float64) float64 { return float64(float32(0.3))*a - 2*b }, 3e-6, 0, false, 0},
		{"softmaxGradRow", func(_ *Pool, y, a, b []float32) { softmaxGradRow(y, a, b, 0.125, 0.5) }, func(_, a, b float64) float64 { return a * (b - 0.5) * 0.125 }, 1e-45, 2e-7, false, 0},
	}
	for _, kind := range []GELUKind{GELUErf, GELUTanh, GELUQuick} {
		ks = append(ks,
			elementwiseCase{"GELU/" + kind.String(), func(p *Pool, y, a, _ []float32) { GELU(p, kind, y, a) }, func(_, a, _ float64) float64 { return geluOracle[kind](a) }, 3e-7, 5e-7, false, 4},
			elementwiseCase{"GELUGrad/" + kind.String(), func(p *Pool, y, a, b []float32) { GELUGrad(p, kind, y, a, b) }, func(_, a, b float64) float64 { return b * geluSlope(kind, a) }, 5e-6, 1e-6, false, 4})
	}
	return ks
}

func TestElementwise(t *testing.T) {
	pool := NewPool(3)
	defer pool.Close()
	for _, k := range elementwiseCases() {
		t.Run(k.name, func(t *testing.T) {
			eachTier(t, func(t *testing.T) {
				spread := k.spread
				if spread == 0 {
					spread = 3
				}
				rng := newRand(1)
				for _, n := range lengths {
					a, b, y := input(normal(rng, n, spread)), input(normal(rng, n, 1)), guardedCopy(normal(rng, n, 1))
					want := make([]float64, n)
					for i := range want {
						want[i] = k.want(float64(y.x[i]), float64(a[i]), float64(b[i]))
					}
					k.run(pool, y.x, a, b)
					what := fmt.Sprintf("length %d", n)
					nearAll(t, what, y.x, want, k.abs, k.rel)
					y.check(t, what)
					if k.readsY {
						continue
					}
					// y in the place of a, then of b
					a2, b2 := guardedCopy(a), guardedCopy(b)
					k.run(nil, a2.x, a2.x, b)
					k.run(nil, b2.x, a, b2.x)
					a2.check(t, what)
					b2.check(t, what)
					for i := range y.x {
						if a2.x[i] != y.x[i] || b2.x[i] != y.x[i] {
							t.Fatalf("length %d: [%d] = %v in the place of a, %v in that of b, %v elsewhere", n, i, a2.x[i], b2.x[i], y.x[i])
						}
					}
				}
			})
		})
	}
}

// TestElementwiseExtremes puts each special value at each position of a row.
func TestElementwiseExtremes(t *testing.T) {
	inf := math.Inf(1)
	specials := []float64{math.NaN(), inf, -inf, 0, math.Copysign(0, -1), 88.7, 89.5, 1000, -87.5, -90, -103, -104.5, -1000, 1e-45, -1e-40, 3e38, -3e38}
	for _, k := range elementwiseCases() {
		t.Run(k.name, func(t *testing.T) {
			eachTier(t, func(t *testing.T) {
				const n = 37
				for _, v := range specials {
					for _, at := range []int{0, 5, 15, 16, 31, 32, 35, 36} {
						a, b, y := make([]float32, n), make([]float32, n), make([]float32, n)
						for i := range a {
							a[i], b[i], y[i] = 0.5, 1, 0.25
						}
						a[at] = float32(v)
						want := make([]float64, n)
						for i := range want {
							want[i] = k.want(0.25, float64(a[i]), 1)
						}
						k.run(nil, y, a, b)
						nearAll(t, fmt.Sprintf("%v at %d", v, at), y, want, k.abs, max(k.rel, 3e-7))
					}
				}
			})
		})
	}
}

// TestExpEverywhere goes over the whole range in steps of a few hundred ulp.
func TestExpEverywhere(t *testing.T) {
	var x []float32
	for v := float32(-110); v < 95; v += 0.0037 {
		x = append(x, v)
	}
	for v := float32(1e-8); v < 1; v *= 1.01 {
		x = append(x, v, -v)
	}
	want := make([]float64, len(x))
	for i, v := range x {
		want[i] = math.Exp(float64(v))
	}
	eachTier(t, func(t *testing.T) {
		y := make([]float32, len(x))
		Exp(nil, y, x)
		for i, w := range want {
			f := float32(w)
			ulp := float64(math.Nextafter32(f, math.MaxFloat32) - f)
			if math.IsInf(float64(f), 0) {
				if y[i] != f {
					t.Fatalf("exp(%v) = %v, want %v", x[i], y[i], f)
				}
				continue
			}
			if e := math.Abs(float64(y[i])-w) / ulp; e > 2 {
				t.Fatalf("exp(%v) = %v, want %v: %.2f ulp", x[i], y[i], w, e)
			}
		}
	})
}

// TestGELUEverywhere checks the bounds that the comments promise.
func TestGELUEverywhere(t *testing.T) {
	var x []float32
	for v := float32(-16); v < 16; v += 0.00113 {
		x = append(x, v)
	}
	for v := float32(1e-20); v < 1e20; v *= 1.7 {
		x = append(x, v, -v)
	}
	ones := make([]float32, len(x))
	for i := range ones {
		ones[i] = 1
	}
	for kind, f := range geluOracle {
		want, slope := make([]float64, len(x)), make([]float64, len(x))
		for i, v := range x {
			want[i] = f(float64(v))
			slope[i] = geluSlope(kind, float64(v))
		}
		t.Run(kind.String(), func(t *testing.T) {
			eachTier(t, func(t *testing.T) {
				y := make([]float32, len(x))
				GELU(nil, kind, y, x)
				for i, w := range want {
					if !near(y[i], w, 1e-6, 0) && !near(y[i], w, 0, 1e-6) {
						t.Fatalf("gelu(%v) = %v, want %v", x[i], y[i], w)
					}
				}
				GELUGrad(nil, kind, y, x, ones)
				nearAll(t, "slope", y, slope, 2e-6, 0)
			})
		})
	}
}

func TestMaxRow(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		if m := maxRow(nil); !math.IsInf(float64(m), -1) {
			t.Errorf("of an empty row: %v, want -Inf", m)
		}
		for _, n := range lengths[1:18] {
			for at := range n {
				x := newGuarded(n)
				for i := range x.x {
					x.x[i] = -1e8 - float32(i)
				}
				x.x[at] = -9e7 // below the guard words
				if m := maxRow(x.x); m != -9e7 {
					t.Fatalf("length %d, largest at %d: %v, want -9e7", n, at, m)
				}
			}
		}
	})
}

func TestExpSumRow(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		rng := newRand(2)
		for _, n := range lengths {
			x, y := input(normal(rng, n, 20)), newGuarded(n)
			const scale, top = 0.125, 2.5
			want := make([]float64, n)
			var sum, sum1 float64
			for i, v := range x {
				want[i] = math.Exp(scale*float64(v) - top)
				sum += want[i]
				sum1 += math.Exp(float64(v) - 60)
			}
			got := expSumRow(y.x, x, scale, top)
			what := fmt.Sprintf("length %d", n)
			nearAll(t, what, y.x, want, 1e-12, 2e-6) // the argument is rounded
			y.check(t, what)
			if !near(got, sum, 0, 1e-6) {
				t.Fatalf("%s: sum %v, want %v", what, got, sum)
			}
			if got := sumExpRow(x, 60); !near(got, sum1, 1e-12, 3e-6) {
				t.Fatalf("%s: sumExpRow %v, want %v", what, got, sum1)
			}
		}
	})
}
