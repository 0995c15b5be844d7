package main

import . "relsim/kernel/asm/common"

// Every row kernel takes slices of any length. It runs over whole vectors and then
// over the last elements one by one with the same instructions, so that an element's
// result does not depend on where it is.

// elements generates an elementwise kernel: y is the first slice, and body gives what
// to store there.
func elements(o *output, name, signature, y string, sources []string, unroll int, prepare func(f *function) func(at place, in []R) V) {
	f := newFunction(o, name+"NEON", signature)
	out, n := f.ptr(y), f.length(y)
	pointers := []R{out}
	for _, s := range sources {
		pointers = append(pointers, f.ptr(s))
	}
	body := prepare(f)
	f.loop("", n, unroll, pointers, nil, func(at place) { at.store(body(at, pointers), out) })
	f.ret()
}

func elementwise(o *output) {
	ab := []string{"a", "b"}
	x := []string{"x"}
	binary := func(name string, op instruction) {
		elements(o, name, "func(y, a, b []float32)", "y", ab, 4, func(f *function) func(place, []R) V {
			return func(at place, in []R) V {
				v := at.load(in[1])
				f.do(op, v, v, at.load(in[2]))
				return v
			}
		})
	}
	binary("add", fadd)
	binary("mul", fmul)
	elements(o, "mulAdd", "func(y, a, b []float32)", "y", ab, 4, func(f *function) func(place, []R) V {
		return func(at place, in []R) V {
			v := at.load(in[0])
			f.do(fmla, v, at.load(in[1]), at.load(in[2]))
			return v
		}
	})
	elements(o, "axpy", "func(y, x []float32, alpha float32)", "y", x, 4, func(f *function) func(place, []R) V {
		alpha := f.scalar("alpha")
		return func(at place, in []R) V {
			v := at.load(in[0])
			f.do(fmla, v, at.load(in[1]), alpha)
			return v
		}
	})
	scalar := func(name string, op instruction) {
		elements(o, name, "func(y, x []float32, alpha float32)", "y", x, 4, func(f *function) func(place, []R) V {
			alpha := f.scalar("alpha")
			return func(at place, in []R) V {
				v := at.load(in[1])
				f.do(op, v, v, alpha)
				return v
			}
		})
	}
	scalar("scale", fmul)
	scalar("addScalar", fadd)
	elements(o, "combine", "func(y, a, b []float32, alpha, beta float32)", "y", ab, 4, func(f *function) func(place, []R) V {
		alpha, beta := f.scalar("alpha"), f.scalar("beta")
		return func(at place, in []R) V {
			v := at.load(in[1])
			f.do(fmul, v, v, alpha)
			f.do(fmla, v, at.load(in[2]), beta)
			return v
		}
	})
	elements(o, "exp", "func(y, x []float32)", "y", x, 2, func(f *function) func(place, []R) V {
		e := newExponential(f, ExpMin)
		return func(at place, in []R) V {
			v := at.load(in[1])
			e.full(v)
			return v
		}
	})
	elements(o, "softmaxGrad", "func(ds, p, dp []float32, scale, dot float32)", "ds", []string{"p", "dp"}, 4, func(f *function) func(place, []R) V {
		scale, dot := f.scalar("scale"), f.scalar("dot")
		return func(at place, in []R) V {
			v := at.load(in[2])
			f.do(fsub, v, v, dot)
			f.do(fmul, v, v, at.load(in[1]))
			f.do(fmul, v, v, scale)
			return v
		}
	})
}

func reductions(o *output) {
	f := newFunction(o, "sumNEON", "func(x []float32) float64")
	x, n := f.ptr("x"), f.length("x")
	acc := f.zeros(8)
	f.loop("", n, 4, []R{x}, nil, func(at place) {
		for i, v := range at.widen(x) {
			f.do(fadd64, acc[2*at.u+i], acc[2*at.u+i], v)
		}
	})
	f.result("ret", f.sum64(acc))
	f.ret()

	f = newFunction(o, "dotNEON", "func(a, b []float32) float64")
	a, b, n := f.ptr("a"), f.ptr("b"), f.length("a")
	acc = f.zeros(8)
	f.loop("", n, 4, []R{a, b}, nil, func(at place) {
		va, vb := at.widen(a), at.widen(b)
		for i := range va {
			f.do(fmla64, acc[2*at.u+i], va[i], vb[i])
		}
	})
	f.result("ret", f.sum64(acc))
	f.ret()

	// 0·x is zero for a finite x, else NaN, which stays in the sum.
	f = newFunction(o, "zeroTimesNEON", "func(x []float32) float32")
	x, n = f.ptr("x"), f.length("x")
	acc = f.zeros(4)
	nought := f.zeros(1)[0]
	f.loop("", n, 4, []R{x}, nil, func(at place) {
		f.do(fmla, acc[at.u], at.load(x), nought)
	})
	f.result("ret", f.sum(acc))
	f.ret()

	f = newFunction(o, "maxNEON", "func(x []float32) float32")
	x, n = f.ptr("x"), f.length("x")
	f.result("ret", f.largest(x, n))
	f.ret()

	// Rows are taken four at a time, so that dst is read and written a quarter as
	// often.
	f = newFunction(o, "colSumNEON", "func(dst, x []float32, rows int)")
	dst, n := f.ptr("dst"), f.length("dst")
	x, left := f.ptr("x"), f.general("rows")
	to, row := f.gp(), []R{f.gp(), f.gp(), f.gp(), f.gp()}
	stride := f.gp()
	f.line("LSL $2, R%d, R%d", n, stride)
	for _, group := range []struct {
		name string
		rows int
	}{{"fours", 4}, {"ones", 1}} {
		f.label(group.name)
		f.line("SUBS $%d, R%d", group.rows, left)
		f.line("BLT %s_done", group.name)
		f.line("MOVD R%d, R%d", dst, to)
		for _, r := range row[:group.rows] {
			f.line("MOVD R%d, R%d", x, r)
			f.line("ADD R%d, R%d", stride, x)
		}
		f.loop(group.name, n, 2, append([]R{to}, row[:group.rows]...), nil, func(at place) {
			v := at.load(to)
			for _, r := range row[:group.rows] {
				f.do(fadd, v, v, at.load(r))
			}
			at.store(v, to)
		})
		f.line("B %s", group.name)
		f.label(group.name + "_done")
		f.line("ADD $%d, R%d", group.rows, left)
	}
	f.ret()

	f = newFunction(o, "accumulateNEON", "func(sum []float64, x []float32)")
	sum, n := f.ptr("sum"), f.length("sum")
	x = f.ptr("x")
	f.loop("", n, 2, []R{x}, []R{sum}, func(at place) {
		for i, v := range at.widen(x) {
			s := f.vec()
			offset, move := 32*at.u+16*i, "FMOVQ"
			if at.one {
				move = "FMOVD"
			}
			f.line("%s %d(R%d), F%d", move, offset, sum, s)
			f.do(fadd64, s, s, v)
			f.line("%s F%d, %d(R%d)", move, s, offset, sum)
		}
	})
	f.ret()
}

// largest gives the largest of n elements at x in the lowest lane. It changes x.
func (f *function) largest(x, n R) V {
	acc := make([]V, 4)
	for i := range acc {
		acc[i] = f.bits(0xff800000) // -Inf
	}
	f.loop("max", n, 4, []R{x}, nil, func(at place) {
		f.do(fmax, acc[at.u], acc[at.u], at.fill(x))
	})
	v := f.fold(fmax, acc)
	f.free(acc[1:]...)
	f.do(fmaxv, v, v)
	return v
}

func softmax(o *output) {
	f := newFunction(o, "softmaxNEON", "func(y, x []float32)")
	y, n, x := f.ptr("y"), f.length("y"), f.ptr("x")
	top := f.largest(x, n)
	f.line("VDUP V%d.S[0], V%d.S4", top, top)
	f.line("MOVD x_base+%d(FP), R%d", f.param("x").offset, x)
	e := newExponential(f, ExpMinNormal)
	sums := f.zeros(4)
	f.loop("exp", n, 4, []R{y, x}, nil, func(at place) {
		v := at.load(x)
		f.do(fsub, v, v, top)
		e.flush(v)
		at.drop(v)
		f.do(fadd, sums[at.u], sums[at.u], v)
		at.store(v, y)
	})
	sum, factor := f.sum(sums), f.float(1)
	f.do(fdiv, factor, factor, sum)
	f.line("VDUP V%d.S[0], V%d.S4", factor, factor)
	f.line("MOVD y_base+%d(FP), R%d", f.param("y").offset, y)
	f.loop("scale", n, 4, []R{y}, nil, func(at place) {
		v := at.load(y)
		f.do(fmul, v, v, factor)
		at.store(v, y)
	})
	f.ret()

	f = newFunction(o, "expSumNEON", "func(dst, src []float32, scale, max float32) float32")
	dst, n := f.ptr("dst"), f.length("dst")
	src := f.ptr("src")
	scale, max := f.scalar("scale"), f.scalar("max")
	f.do(fneg, max, max)
	e = newExponential(f, ExpMinNormal)
	sums = f.zeros(4)
	f.loop("", n, 4, []R{dst, src}, nil, func(at place) {
		v := f.vec()
		f.mov(v, max)
		f.do(fmla, v, at.load(src), scale)
		e.flush(v)
		at.drop(v)
		f.do(fadd, sums[at.u], sums[at.u], v)
		at.store(v, dst)
	})
	f.result("ret", f.sum(sums))
	f.ret()

	f = newFunction(o, "sumExpNEON", "func(x []float32, max float32) float32")
	x, n = f.ptr("x"), f.length("x")
	max = f.scalar("max")
	e = newExponential(f, ExpMinNormal)
	sums = f.zeros(4)
	f.loop("", n, 4, []R{x}, nil, func(at place) {
		v := at.load(x)
		f.do(fsub, v, v, max)
		e.flush(v)
		at.drop(v)
		f.do(fadd, sums[at.u], sums[at.u], v)
	})
	f.result("ret", f.sum(sums))
	f.ret()
}

func norm(o *output) {
	// The first pass finds the mean roughly; the second adds up the distances from
	// it and their squares, whose errors are relative to the spread. The many sums are
	// for the rounding of long rows.
	const sides = 8
	f := newFunction(o, "momentsNEON", "func(x []float32) (shift, sum, squares float32)")
	x, n := f.ptr("x"), f.length("x")
	acc := f.zeros(sides)
	f.loop("mean", n, sides, []R{x}, nil, func(at place) {
		f.do(fadd, acc[at.u], acc[at.u], at.load(x))
	})
	shift, count := f.sum(acc), f.vec()
	f.line("SCVTFS R%d, F%d", n, count)
	f.line("FDIVS F%d, F%d, F%d", count, shift, shift)
	f.result("shift", shift)
	f.line("VDUP V%d.S[0], V%d.S4", shift, shift)
	f.line("MOVD x_base+%d(FP), R%d", f.param("x").offset, x)
	f.free(acc[1:]...)
	sums, squares := f.zeros(sides), f.zeros(sides)
	f.loop("spread", n, sides, []R{x}, nil, func(at place) {
		v := at.load(x)
		f.do(fsub, v, v, shift)
		at.drop(v)
		f.do(fadd, sums[at.u], sums[at.u], v)
		f.do(fmla, squares[at.u], v, v)
	})
	f.result("sum", f.sum(sums))
	f.result("squares", f.sum(squares))
	f.ret()

	// normalized is x̂ = (x - mean - rest) * rstd.
	normalized := func(f *function) func(v V) {
		mean, rest, rstd := f.scalar("mean"), f.scalar("rest"), f.scalar("rstd")
		return func(v V) {
			f.do(fsub, v, v, mean)
			f.do(fsub, v, v, rest)
			f.do(fmul, v, v, rstd)
		}
	}
	elements(o, "normalize", "func(y, x, gain, bias []float32, mean, rest, rstd float32)", "y", []string{"x", "gain", "bias"}, 4, func(f *function) func(place, []R) V {
		hat := normalized(f)
		return func(at place, in []R) V {
			v, y := at.load(in[1]), at.load(in[3])
			hat(v)
			f.do(fmla, y, v, at.load(in[2]))
			return y
		}
	})

	f = newFunction(o, "normGradSumsNEON", "func(dgain, dbias, dy, x, gain []float32, mean, rest, rstd float32) (sum, dot float64)")
	dgain, dbias, dy, n := f.ptr("dgain"), f.ptr("dbias"), f.ptr("dy"), f.length("dy")
	x, gain := f.ptr("x"), f.ptr("gain")
	hat := normalized(f)
	sums, dots := f.zeros(4), f.zeros(4)
	f.loop("", n, 4, []R{dgain, dbias, dy, x, gain}, nil, func(at place) {
		v, d := at.load(x), at.load(dy)
		hat(v)
		t, u := at.load(dbias), at.load(dgain)
		f.do(fadd, t, t, d)
		f.do(fmla, u, v, d)
		at.store(t, dbias)
		at.store(u, dgain)
		f.do(fmul, d, d, at.load(gain))
		at.drop(v)
		f.do(fadd, sums[at.u], sums[at.u], d)
		f.do(fmla, dots[at.u], v, d)
	})
	for i, vs := range [][]V{sums, dots} {
		v := f.sum(vs)
		f.line("FCVTSD F%d, F%d", v, v)
		f.result([]string{"sum", "dot"}[i], v)
	}
	f.ret()

	elements(o, "normGrad", "func(dx, dy, x, gain []float32, mean, rest, rstd, a, b float32)", "dx", []string{"dy", "x", "gain"}, 2, func(f *function) func(place, []R) V {
		hat := normalized(f)
		rstd, a, b := f.scalar("rstd"), f.scalar("a"), f.scalar("b")
		f.do(fneg, a, a)
		return func(at place, in []R) V {
			v, d := at.load(in[2]), f.vec()
			hat(v)
			f.mov(d, a)
			f.do(fmla, d, at.load(in[1]), at.load(in[3]))
			f.do(fmls, d, v, b)
			f.do(fmul, d, d, rstd)
			return d
		}
	})
}

// dropoutStep is the distance of the hashed numbers of two elements.
const dropoutStep = 0x9e3779b1

func dropout(o *output) {
	f := newFunction(o, "dropoutNEON", "func(y, x []float32, scale float32, threshold, first, key0, key1 uint32)")
	y, n, x := f.ptr("y"), f.length("y"), f.ptr("x")
	scale, threshold, key0, key1 := f.scalar("scale"), f.scalar("threshold"), f.scalar("key0"), f.scalar("key1")
	count, step, steps := f.scalar("first"), f.bits(dropoutStep), f.bits(4*dropoutStep&0xffffffff)
	f.do(mul, count, count, step)
	f.scope(func() { // the lanes count on from the first
		v := f.zeros(1)[0]
		lane := f.gp()
		for i := range uint32(4) {
			f.line("MOVD $0x%08x, R%d", i*dropoutStep, lane)
			f.line("VMOV R%d, V%d.S[%d]", lane, v, i)
		}
		f.line("VADD V%d.S4, V%d.S4, V%d.S4", v, count, count)
	})
	factors := map[uint32]V{}
	for _, b := range []uint32{0x7feb352d, 0x846ca68b} {
		factors[b] = f.bits(b)
	}
	f.loop("", n, 2, []R{y, x}, nil, func(at place) {
		h, t := f.vec(), f.vec()
		mix := func(shift int, factor uint32) {
			f.line("VUSHR $%d, V%d.S4, V%d.S4", shift, h, t)
			f.line("VEOR V%d.B16, V%d.B16, V%d.B16", t, h, h)
			if factor != 0 {
				f.do(mul, h, h, factors[factor])
			}
		}
		f.line("VEOR V%d.B16, V%d.B16, V%d.B16", key0, count, h)
		next := steps
		if at.one {
			next = step
		}
		f.line("VADD V%d.S4, V%d.S4, V%d.S4", next, count, count)
		mix(16, 0x7feb352d)
		mix(15, 0x846ca68b)
		f.line("VADD V%d.S4, V%d.S4, V%d.S4", key1, h, h)
		mix(16, 0x7feb352d)
		mix(15, 0)
		f.do(cmhs, h, h, threshold)
		f.line("VAND V%d.B16, V%d.B16, V%d.B16", scale, h, h)
		v := at.load(x)
		f.do(fmul, v, v, h)
		at.store(v, y)
	})
	f.ret()
}

func adamW(o *output) {
	f := newFunction(o, "adamWNEON", "func(w, grad, m, v []float32, c *float32)")
	w, n, g, m, v := f.ptr("w"), f.length("w"), f.ptr("grad"), f.ptr("m"), f.ptr("v")
	c := f.general("c")
	coef := f.vecs(9)
	for _, k := range coef {
		f.line("VLD1R.P 4(R%d), [V%d.S4]", c, k)
	}
	scale, beta1, rest1, beta2, rest2, root, eps, rate, keep := coef[0], coef[1], coef[2], coef[3], coef[4], coef[5], coef[6], coef[7], coef[8]
	f.loop("", n, 2, []R{w, g, m, v}, nil, func(at place) {
		d, mi, vi, wi, s := at.load(g), at.load(m), at.load(v), at.load(w), f.vec()
		f.do(fmul, d, d, scale)
		f.do(fmul, mi, mi, beta1)
		f.do(fmla, mi, d, rest1)
		at.store(mi, m)
		f.do(fmul, d, d, d)
		f.do(fmul, vi, vi, beta2)
		f.do(fmla, vi, d, rest2)
		at.store(vi, v)
		f.do(fsqrt, vi, vi)
		f.mov(s, eps)
		f.do(fmla, s, vi, root)
		f.do(fdiv, mi, mi, s)
		f.do(fmul, wi, wi, keep)
		f.do(fmls, wi, mi, rate)
		at.store(wi, w)
	})
	f.ret()
}

func rows(o *output) {
	elementwise(o)
	reductions(o)
	softmax(o)
	norm(o)
	gelu(o)
	dropout(o)
	adamW(o)
}
