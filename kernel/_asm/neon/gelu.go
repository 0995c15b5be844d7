package main

import (
	"math"

	. "relsim/kernel/asm/common"
)

// exponential has the constants of exp in registers.
type exponential struct {
	f                                *function
	most, least, log2E, high, low, k V
}

func newExponential(f *function, least float64) exponential {
	return exponential{f, f.float(ExpMax), f.float(least), f.float(math.Log2E), f.float(Ln2High), f.float(Ln2Low), f.bits(127)}
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
	p = f.poly(x, ExpPoly)
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

// errorFunction has the constants of Φ in registers.
type errorFunction struct {
	f                *function
	e                exponential
	one, scale, half V
}

func newErrorFunction(f *function) errorFunction {
	return errorFunction{f, newExponential(f, ExpMinNormal), f.float(1), f.float(ErfcScale), f.float(-0.5)}
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
	p := f.poly(t, ErfcPoly)
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
		k, least := newErrorFunction(f), f.float(-GELULimit)
		return func(x V) V {
			f.do(fmax, x, x, least)
			phi, _ := k.phi(x)
			f.do(fmul, phi, phi, x)
			return phi
		}
	})
	backward("geluErfGrad", func(f *function) func(V) V {
		k, least, most, density := newErrorFunction(f), f.float(-GELULimit), f.float(GELULimit), f.float(InvSqrt2Pi)
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
		e, least, one := newExponential(f, ExpMinNormal), f.float(-GELULimit), f.float(1)
		return func(x V) V {
			f.do(fmax, x, x, least)
			square := f.vec()
			f.do(fmul, square, x, x)
			u := f.poly(square, []float64{-GELUTanhB, -GELUTanhA})
			f.do(fmul, u, u, x)
			e.flush(u)
			f.do(fadd, u, u, one)
			f.do(fdiv, x, x, u)
			return x
		}
	})
	backward("geluTanhGrad", func(f *function) func(V) V {
		e, least, most, one, logit := newExponential(f, ExpMinNormal), f.float(-GELULimit), f.float(GELULimit), f.float(1), f.float(LogitLimit)
		return func(x V) V {
			f.do(fmax, x, x, least)
			f.do(fmin, x, x, most)
			square := f.vec()
			f.do(fmul, square, x, x)
			u := f.poly(square, []float64{-GELUTanhB, -GELUTanhA})
			f.do(fmul, u, u, x)
			f.do(fmin, u, u, logit)
			e.flush(u)
			slope := f.poly(square, []float64{3 * GELUTanhB, GELUTanhA})
			f.do(fmul, slope, slope, x)
			return sigmoidGrad(f, one, u, slope)
		}
	})

	forward("geluQuick", func(f *function) func(V) V {
		e, least, one, factor := newExponential(f, ExpMinNormal), f.float(-QuickLimit), f.float(1), f.float(-GELUQuick)
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
		e, least, most, one, factor := newExponential(f, ExpMinNormal), f.float(-LogitLimit), f.float(LogitLimit), f.float(1), f.float(GELUQuick)
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
