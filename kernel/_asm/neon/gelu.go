package main

import "math"

// The largest and the smallest argument of exp that matter: beyond them the result
// is infinite or zero.
const (
	expMax       = 89
	expMin       = -104
	expMinNormal = -88
)

// Coefficients of exp(r) = 1 + r + r²·P(r) on |r| ≤ ln2/2, highest power first
// (Cephes, expf.c).
var expPoly = []float64{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1, 1}

// ln2 in two float32.
var (
	ln2High = float64(float32(math.Ln2))
	ln2Low  = math.Ln2 - ln2High
)

// exponential has the constants of exp in registers.
type exponential struct {
	f                                *function
	most, least, log2E, high, low, k V
}

func newExponential(f *function, least float64) exponential {
	return exponential{f, f.float(expMax), f.float(least), f.float(math.Log2E), f.float(ln2High), f.float(ln2Low), f.bits(127)}
}

// poly is the polynomial with these coefficients, highest power first, at x. The
// coefficients are read where they are needed: one is the sum that it is added to.
func (f *function) poly(x V, coefficients []float64) V {
	p := f.float(coefficients[0])
	for _, c := range coefficients[1:] {
		q := f.float(c)
		f.do(fmla, q, p, x)
		f.free(p)
		p = q
	}
	return p
}

// parts gives n and p with exp(x) = p·2ⁿ. It changes x. Minimum and maximum are NaN
// where x is.
func (e exponential) parts(x V) (n, p V) {
	f := e.f
	f.do(fmin, x, x, e.most)
	f.do(fmax, x, x, e.least)
	n = f.vec()
	f.do(fmul, n, x, e.log2E)
	f.do(frintn, n, n)
	f.do(fmls, x, n, e.high)
	f.do(fmls, x, n, e.low)
	p = f.poly(x, expPoly)
	f.do(fcvtzs, n, n)
	return n, p
}

// power is n = 2ⁿ, for n from -127 (zero) to 128 (infinite).
func (e exponential) power(n V) {
	e.f.line("VADD V%d.S4, V%d.S4, V%d.S4", e.k, n, n)
	e.f.line("VSHL $23, V%d.S4, V%d.S4", n, n)
}

// full is x = exp(x) for every x. 2ⁿ is the product of two powers that are normal
// numbers.
func (e exponential) full(x V) {
	f := e.f
	n, p := e.parts(x)
	m := f.vec()
	f.word(sshr(m, n, 1))
	f.line("VSUB V%d.S4, V%d.S4, V%d.S4", m, n, n)
	e.power(m)
	e.power(n)
	f.do(fmul, p, p, m)
	f.do(fmul, x, p, n)
	f.free(n, p, m)
}

// flush is full where results below the normal numbers are zero, and those above
// exp(88.37) infinite.
func (e exponential) flush(x V) {
	n, p := e.parts(x)
	e.power(n)
	e.f.do(fmul, x, p, n)
	e.f.free(n, p)
}

// The half of erfc in ½erfc(z/√2) = exp(-z²/2)·t·P(t), t = 1/(1+0.3z): minimax
// in relative error, 1.5e-7, for 0 ≤ z ≤ 14. Highest power first.
var erfcPoly = []float64{0.0356747692945, -0.157203063244, 0.206353474398, -0.0536836166216, 0.128561613075, 0.0999134958672, 0.120753955485, 0.119629298862}

const (
	erfcScale  = 0.3
	geluLimit  = 30
	geluQuick  = 1.702
	geluTanhA  = 1.5957691216057308 // 2·√(2/π)
	geluTanhB  = 0.044715 * geluTanhA
	quickLimit = 100
	logitLimit = 80
	invSqrt2Pi = 0.3989422804014327
)

// errorFunction has the constants of Φ in registers.
type errorFunction struct {
	f                *function
	e                exponential
	one, scale, half V
}

func newErrorFunction(f *function) errorFunction {
	return errorFunction{f, newExponential(f, expMinNormal), f.float(1), f.float(erfcScale), f.float(-0.5)}
}

// phi gives Φ(x) and exp(-x²/2).
func (k errorFunction) phi(x V) (phi, e V) {
	f := k.f
	t, u := f.vec(), f.vec()
	f.do(fabs, u, x)
	f.mov(t, k.one)
	f.do(fmla, t, u, k.scale)
	f.do(fdiv, t, k.one, t)
	e = u
	f.do(fmul, e, x, x)
	f.do(fmul, e, e, k.half)
	k.e.flush(e)
	p := f.poly(t, erfcPoly)
	f.do(fmul, p, p, t)
	f.do(fmul, p, p, e) // ½erfc(|x|/√2)
	negative := t
	phi = f.vec()
	f.do(fsub, phi, k.one, p)
	f.word(sshr(negative, x, 31))
	f.line("VBIT V%d.B16, V%d.B16, V%d.B16", negative, p, phi)
	f.free(p, t)
	return phi, e
}

// sigmoidGrad is σ + slope·σ·(1-σ) for σ = 1/(1+e), where 1-σ = e·σ keeps the
// digits that a subtraction would lose. The result is in the register it gives.
func sigmoidGrad(f *function, one, e, slope V) V {
	s := f.vec()
	f.do(fadd, s, e, one)
	f.do(fdiv, s, one, s)
	f.do(fmul, e, e, s)
	f.do(fmul, slope, slope, e)
	r := e
	f.mov(r, s)
	f.do(fmla, r, slope, s)
	return r
}

func gelu(o *output) {
	// forward is y = f(x), backward dx = dy * f'(x). What prepare gives may change its
	// argument.
	forward := func(name string, prepare func(f *function) func(x V) V) {
		elements(o, name, "func(y, x []float32)", "y", []string{"x"}, 2, func(f *function) func(place, []R) V {
			g := prepare(f)
			return func(at place, in []R) V { return g(at.load(in[1])) }
		})
	}
	backward := func(name string, prepare func(f *function) func(x V) V) {
		elements(o, name, "func(dx, x, dy []float32)", "dx", []string{"x", "dy"}, 2, func(f *function) func(place, []R) V {
			g := prepare(f)
			return func(at place, in []R) V {
				v := g(at.load(in[1]))
				f.do(fmul, v, v, at.load(in[2]))
				return v
			}
		})
	}

	forward("geluErf", func(f *function) func(V) V {
		k, least := newErrorFunction(f), f.float(-geluLimit)
		return func(x V) V {
			f.do(fmax, x, x, least)
			phi, _ := k.phi(x)
			f.do(fmul, phi, phi, x)
			return phi
		}
	})
	backward("geluErfGrad", func(f *function) func(V) V {
		k, least, most, density := newErrorFunction(f), f.float(-geluLimit), f.float(geluLimit), f.float(invSqrt2Pi)
		return func(x V) V {
			f.do(fmax, x, x, least)
			f.do(fmin, x, x, most)
			phi, e := k.phi(x)
			f.do(fmul, e, e, density)
			f.do(fmla, phi, e, x)
			return phi
		}
	})

	forward("geluTanh", func(f *function) func(V) V {
		e, least, one := newExponential(f, expMinNormal), f.float(-geluLimit), f.float(1)
		return func(x V) V {
			f.do(fmax, x, x, least)
			square := f.vec()
			f.do(fmul, square, x, x)
			u := f.poly(square, []float64{-geluTanhB, -geluTanhA})
			f.do(fmul, u, u, x)
			e.flush(u)
			f.do(fadd, u, u, one)
			f.do(fdiv, x, x, u)
			return x
		}
	})
	backward("geluTanhGrad", func(f *function) func(V) V {
		e, least, most, one, logit := newExponential(f, expMinNormal), f.float(-geluLimit), f.float(geluLimit), f.float(1), f.float(logitLimit)
		return func(x V) V {
			f.do(fmax, x, x, least)
			f.do(fmin, x, x, most)
			square := f.vec()
			f.do(fmul, square, x, x)
			u := f.poly(square, []float64{-geluTanhB, -geluTanhA})
			f.do(fmul, u, u, x)
			f.do(fmin, u, u, logit)
			e.flush(u)
			slope := f.poly(square, []float64{3 * geluTanhB, geluTanhA})
			f.do(fmul, slope, slope, x)
			return sigmoidGrad(f, one, u, slope)
		}
	})

	forward("geluQuick", func(f *function) func(V) V {
		e, least, one, factor := newExponential(f, expMinNormal), f.float(-quickLimit), f.float(1), f.float(-geluQuick)
		return func(x V) V {
			f.do(fmax, x, x, least)
			u := f.vec()
			f.do(fmul, u, x, factor)
			e.flush(u)
			f.do(fadd, u, u, one)
			f.do(fdiv, x, x, u)
			return x
		}
	})
	backward("geluQuickGrad", func(f *function) func(V) V {
		e, least, most, one, factor := newExponential(f, expMinNormal), f.float(-logitLimit), f.float(logitLimit), f.float(1), f.float(geluQuick)
		return func(x V) V {
			f.do(fmul, x, x, factor)
			f.do(fmax, x, x, least)
			f.do(fmin, x, x, most)
			u := f.vec()
			f.do(fneg, u, x)
			e.flush(u)
			return sigmoidGrad(f, one, u, x)
		}
	})
}
