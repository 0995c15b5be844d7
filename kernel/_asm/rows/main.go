// Command rows generates the assembly of the row kernels: elementwise functions,
// reductions, softmax, layer norm, GELU, dropout and AdamW.
//
//	go run ./rows -out ../rows_amd64.s -stubs ../rows_stubs_amd64.go -pkg kernel
//
// Every kernel takes slices of any length. It runs over whole vectors and then
// over one partial vector with a mask, and never touches memory beyond the slices.
package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "relsim/kernel/asm/common"
)

// width is the number of float32 in a vector of the tier being generated: 8 for
// AVX2, 16 for AVX-512.
var width int

func avx512() bool { return width == 16 }

// name is the kernel's name with the tier.
func name(s string) string {
	if avx512() {
		return s + "AVX512"
	}
	return s + "AVX2"
}

// vec is a new vector register.
func vec() reg.VecVirtual {
	if avx512() {
		return ZMM()
	}
	return YMM()
}

// half is the lower half of a vector.
func half(v reg.Vec) reg.Register {
	if avx512() {
		return v.AsY()
	}
	return v.AsX()
}

func zero(v Op) {
	if avx512() {
		VPXORD(v, v, v)
	} else {
		VXORPS(v, v, v)
	}
}

var constants = map[uint32]Mem{}

// bits32 is a vector of a 32-bit constant in memory.
func bits32(b uint32) Mem {
	m, ok := constants[b]
	if !ok {
		m = GLOBL(fmt.Sprintf("rows_%08x", b), RODATA|NOPTR)
		for i := range 16 {
			DATA(i*4, U32(b))
		}
		constants[b] = m
	}
	return m
}

// consts gives constants as operands. They are declared before the loop: the first
// ones are held in registers, as many as the limits say, the others are read from
// memory.
type consts struct {
	ops          map[uint32]Op
	avx2, avx512 int
}

// newConsts holds at most so many constants in registers, by tier.
func newConsts(avx2, avx512 int) consts { return consts{map[uint32]Op{}, avx2, avx512} }

func (k consts) limit() int {
	if avx512() {
		return k.avx512
	}
	return k.avx2
}

func (k consts) bits(bs ...uint32) consts {
	for _, b := range bs {
		if _, ok := k.ops[b]; ok {
			continue
		}
		if len(k.ops) < k.limit() {
			v := vec()
			VMOVUPS(bits32(b), v)
			k.ops[b] = v
		} else {
			k.ops[b] = bits32(b)
		}
	}
	return k
}

func (k consts) add(fs ...float64) consts {
	for _, f := range fs {
		k.bits(math.Float32bits(float32(f)))
	}
	return k
}

func (k consts) at(f float64) Op { return k.raw(math.Float32bits(float32(f))) }

func (k consts) raw(b uint32) Op {
	op, ok := k.ops[b]
	if !ok {
		panic(fmt.Sprintf("constant %08x (%v) is not declared", b, math.Float32frombits(b)))
	}
	return op
}

// inReg gives the constant in a register, a new one if need be.
func (k consts) inReg(f float64) Op {
	op := k.at(f)
	if _, ok := op.(reg.Register); ok {
		return op
	}
	v := vec()
	VMOVUPS(op, v)
	return v
}

// minimum is min(v, c), NaN where v is: the instruction gives its second source,
// which Go writes first, if one of the two is NaN.
func (k consts) minimum(v Op, c float64) { VMINPS(v, k.inReg(c), v) }

// maximum is max(v, c), NaN where v is.
func (k consts) maximum(v Op, c float64) { VMAXPS(v, k.inReg(c), v) }

func (k consts) forExp() consts {
	k.add(ExpMax, ExpMin, math.Log2E, Ln2High, Ln2Low)
	return k.add(ExpPoly...).add(1)
}

// forExpFlush declares what expFlush needs.
func (k consts) forExpFlush() consts {
	if avx512() {
		return k.forExp()
	}
	k.add(ExpMax, ExpMinNormal, math.Log2E, Ln2High, Ln2Low)
	return k.add(ExpPoly...).bits(127)
}

// exp is x = exp(x), for every x.
func (k consts) exp(x Op) {
	n, p := k.expParts(x, ExpMin)
	if avx512() {
		VSCALEFPS(n, p, x)
		return
	}
	// 2ⁿ as the product of two powers that are normal numbers.
	m := vec()
	VCVTPS2DQ(n, n)
	VPSRAD(Imm(1), n, m)
	VPSUBD(m, n, n)
	VPSLLD(Imm(23), m, m)
	VPSLLD(Imm(23), n, n)
	VPADDD(k.at(1), m, m)
	VPADDD(k.at(1), n, n)
	VMULPS(m, p, p)
	VMULPS(n, p, x)
}

// expFlush is exp where results below the normal numbers may be zero, and those
// above exp(88.37) infinite. It is faster with AVX2, and the same with AVX-512.
func (k consts) expFlush(x Op) {
	if avx512() {
		k.exp(x)
		return
	}
	n, p := k.expParts(x, ExpMinNormal)
	VCVTPS2DQ(n, n)
	VPADDD(k.raw(127), n, n)
	VPSLLD(Imm(23), n, n)
	VMULPS(n, p, x)
}

// expParts gives n and p with exp(x) = p·2ⁿ. It changes x.
func (k consts) expParts(x Op, least float64) (n, p reg.VecVirtual) {
	k.minimum(x, ExpMax)
	k.maximum(x, least)
	n, p = vec(), vec()
	VMULPS(k.at(math.Log2E), x, n)
	if avx512() {
		VRNDSCALEPS(Imm(8), n, n)
	} else {
		VROUNDPS(Imm(8), n, n)
	}
	VFNMADD231PS(k.at(Ln2High), n, x)
	VFNMADD231PS(k.at(Ln2Low), n, x)
	VMOVUPS(k.at(ExpPoly[0]), p)
	for _, c := range ExpPoly[1:] {
		VFMADD213PS(k.at(c), x, p)
	}
	return n, p
}

// An at is a place in the loop: the vector to work on, and how much of it.
type at struct {
	index reg.Register
	disp  int // bytes
	mask  Op  // nil for a whole vector
	u     int // number of the unrolled copy
}

func (a at) mem(p reg.Register) Mem { return Mem{Base: p, Index: a.index, Scale: 4, Disp: a.disp} }

// load reads a vector; lanes beyond the row are zero.
func (a at) load(p reg.Register) reg.VecVirtual {
	v := vec()
	switch {
	case a.mask == nil:
		VMOVUPS(a.mem(p), v)
	case avx512():
		VMOVUPS_Z(a.mem(p), a.mask, v)
	default:
		VMASKMOVPS(a.mem(p), a.mask, v)
	}
	return v
}

func (a at) store(v Op, p reg.Register) {
	switch {
	case a.mask == nil:
		VMOVUPS(v, a.mem(p))
	case avx512():
		VMOVUPS(v, a.mask, a.mem(p))
	default:
		VMASKMOVPS(v, a.mask, a.mem(p))
	}
}

// drop zeroes the lanes of v beyond the row.
func (a at) drop(v Op) {
	switch {
	case a.mask == nil:
	case avx512():
		VMOVAPS_Z(v, a.mask, v)
	default:
		VANDPS(a.mask, v, v)
	}
}

var tailMasks Mem

// labels is a prefix for the labels of a loop, for kernels with more than one.
var labels string

// loop runs body over n elements: unroll vectors at a time, then one, then a
// masked one. step is the number of elements of a vector: width, or half of it for
// loops that widen to float64 (whose AVX2 masks have four lanes).
func loop(n reg.Register, step, unroll int, body func(a at)) {
	i, end := GP64(), GP64()
	XORQ(i, i)
	stage := func(label string, unroll int) {
		label = labels + label
		MOVQ(n, end)
		SUBQ(Imm(uint64(step*unroll)), end)
		Label(label)
		CMPQ(i, end)
		JG(LabelRef(label + "done"))
		for u := range unroll {
			body(at{index: i, disp: u * step * 4, u: u})
		}
		ADDQ(Imm(uint64(step*unroll)), i)
		JMP(LabelRef(label))
		Label(label + "done")
	}
	if unroll > 1 {
		stage("many", unroll)
	}
	stage("one", 1)
	MOVQ(n, end)
	SUBQ(i, end)
	JZ(LabelRef(labels + "finish"))
	var mask Op
	if avx512() {
		ones := GP32()
		MOVL(Imm(0xffffffff), ones)
		BZHIL(end.As32(), ones, ones)
		k := K()
		KMOVW(ones, k)
		mask = k
	} else {
		table, v := GP64(), YMM()
		LEAQ(tailMasks, table)
		SHLQ(Imm(2), end)
		SUBQ(end, table)
		if step == width {
			VMOVDQU(Mem{Base: table, Disp: 32}, v)
			mask = v
		} else {
			VMOVDQU(Mem{Base: table, Disp: 32}, v.AsX())
			mask = v.AsX()
		}
	}
	body(at{index: i, mask: mask})
	Label(labels + "finish")
}

// function begins a kernel.
func function(s, signature string) {
	TEXT(name(s), NOSPLIT, signature)
	Pragma("noescape")
}

func end() {
	VZEROUPPER()
	RET()
}

func ptr(s string) reg.Register { return Load(Param(s).Base(), GP64()) }
func length(s string) reg.Register {
	return Load(Param(s).Len(), GP64())
}

// scalar is a float32 parameter in every lane.
func scalar(s string) reg.VecVirtual {
	c, err := Param(s).Resolve()
	if err != nil {
		panic(err)
	}
	v := vec()
	VBROADCASTSS(c.Addr, v)
	return v
}

// result stores the lowest lane of v as result i.
func result(v reg.Vec, i int) { Store(v.AsX(), ReturnIndex(i)) }

// accumulators are n zero registers.
func accumulators(n int) []reg.VecVirtual {
	vs := make([]reg.VecVirtual, n)
	for i := range vs {
		vs[i] = vec()
		zero(vs[i])
	}
	return vs
}

// fold combines vectors pairwise into the first.
func fold(vs []reg.VecVirtual, op func(...Op)) reg.VecVirtual {
	for n := len(vs) / 2; n > 0; n /= 2 {
		for i := range n {
			op(vs[i+n], vs[i], vs[i])
		}
	}
	return vs[0]
}

// across combines the float32 lanes of v into the lowest.
func across(v reg.VecVirtual, op func(...Op)) {
	t := vec()
	if avx512() {
		VEXTRACTF64X4(Imm(1), v, t.AsY())
		op(t.AsY(), v.AsY(), v.AsY())
	}
	VEXTRACTF128(Imm(1), v.AsY(), t.AsX())
	op(t.AsX(), v.AsX(), v.AsX())
	VPERMILPS(Imm(0x4e), v.AsX(), t.AsX())
	op(t.AsX(), v.AsX(), v.AsX())
	VPERMILPS(Imm(0xb1), v.AsX(), t.AsX())
	op(t.AsX(), v.AsX(), v.AsX())
}

// across64 adds the float64 lanes of v into the lowest.
func across64(v reg.VecVirtual) {
	t := vec()
	if avx512() {
		VEXTRACTF64X4(Imm(1), v, t.AsY())
		VADDPD(t.AsY(), v.AsY(), v.AsY())
	}
	VEXTRACTF128(Imm(1), v.AsY(), t.AsX())
	VADDPD(t.AsX(), v.AsX(), v.AsX())
	VPERMILPD(Imm(1), v.AsX(), t.AsX())
	VADDPD(t.AsX(), v.AsX(), v.AsX())
}

func addps(o ...Op) { VADDPS(o[0], o[1], o[2]) }
func addpd(o ...Op) { VADDPD(o[0], o[1], o[2]) }
func maxps(o ...Op) { VMAXPS(o[0], o[1], o[2]) }

// widen reads half a vector of float32 and converts it to float64.
func (a at) widen(p reg.Register) reg.VecVirtual {
	v := vec()
	switch {
	case a.mask == nil:
		VCVTPS2PD(a.mem(p), v)
	case avx512():
		VCVTPS2PD_Z(a.mem(p), a.mask, v)
	default:
		VMASKMOVPS(a.mem(p), a.mask, v.AsX())
		VCVTPS2PD(v.AsX(), v)
	}
	return v
}

func elementwise() {
	function("add", "func(y, a, b []float32)")
	y, a, b := ptr("y"), ptr("a"), ptr("b")
	loop(length("y"), width, 4, func(at at) {
		v := at.load(a)
		VADDPS(at.load(b), v, v)
		at.store(v, y)
	})
	end()

	function("mul", "func(y, a, b []float32)")
	y, a, b = ptr("y"), ptr("a"), ptr("b")
	loop(length("y"), width, 4, func(at at) {
		v := at.load(a)
		VMULPS(at.load(b), v, v)
		at.store(v, y)
	})
	end()

	function("mulAdd", "func(y, a, b []float32)")
	y, a, b = ptr("y"), ptr("a"), ptr("b")
	loop(length("y"), width, 4, func(at at) {
		v := at.load(y)
		VFMADD231PS(at.load(a), at.load(b), v)
		at.store(v, y)
	})
	end()

	function("axpy", "func(y, x []float32, alpha float32)")
	y, x := ptr("y"), ptr("x")
	alpha := scalar("alpha")
	loop(length("y"), width, 4, func(at at) {
		v := at.load(y)
		VFMADD231PS(at.load(x), alpha, v)
		at.store(v, y)
	})
	end()

	function("scale", "func(y, x []float32, alpha float32)")
	y, x = ptr("y"), ptr("x")
	alpha = scalar("alpha")
	loop(length("y"), width, 4, func(at at) {
		v := at.load(x)
		VMULPS(alpha, v, v)
		at.store(v, y)
	})
	end()

	function("addScalar", "func(y, x []float32, alpha float32)")
	y, x = ptr("y"), ptr("x")
	alpha = scalar("alpha")
	loop(length("y"), width, 4, func(at at) {
		v := at.load(x)
		VADDPS(alpha, v, v)
		at.store(v, y)
	})
	end()

	function("combine", "func(y, a, b []float32, alpha, beta float32)")
	y, a, b = ptr("y"), ptr("a"), ptr("b")
	alpha = scalar("alpha")
	beta := scalar("beta")
	loop(length("y"), width, 4, func(at at) {
		v := at.load(a)
		VMULPS(alpha, v, v)
		VFMADD231PS(at.load(b), beta, v)
		at.store(v, y)
	})
	end()

	function("exp", "func(y, x []float32)")
	y, x = ptr("y"), ptr("x")
	k := newConsts(9, 24).forExp()
	loop(length("y"), width, 2, func(at at) {
		v := at.load(x)
		k.exp(v)
		at.store(v, y)
	})
	end()
}

func reductions() {
	function("sum", "func(x []float32) float64")
	x := ptr("x")
	acc := accumulators(4)
	loop(length("x"), width/2, 4, func(at at) {
		VADDPD(at.widen(x), acc[at.u], acc[at.u])
	})
	s := fold(acc, addpd)
	across64(s)
	result(s, 0)
	end()

	if !avx512() { // on Zen 4, conversion to 512 bits makes it slower
		dot()
	}

	// 0·x is zero for a finite x, else NaN, which stays in the sum.
	function("zeroTimes", "func(x []float32) float32")
	x = ptr("x")
	acc = accumulators(4)
	nought := vec()
	zero(nought)
	loop(length("x"), width, 4, func(at at) {
		VFMADD231PS(at.load(x), nought, acc[at.u])
	})
	s = fold(acc, addps)
	across(s, addps)
	result(s, 0)
	end()

	function("max", "func(x []float32) float32")
	x = ptr("x")
	result(largest(x, length("x")), 0)
	end()

	// Rows are taken four at a time, so that dst is read and written a quarter as
	// often.
	function("colSum", "func(dst, x []float32, rows int)")
	dst, n := ptr("dst"), length("dst")
	x = ptr("x")
	rows := Load(Param("rows"), GP64())
	stride := GP64()
	MOVQ(n, stride)
	SHLQ(Imm(2), stride)
	colSum(n, dst, x, rows, stride)
	end()

	function("accumulate", "func(sum []float64, x []float32)")
	sum, n := ptr("sum"), length("sum")
	x = ptr("x")
	loop(n, width/2, 2, func(at at) {
		v := at.widen(x)
		m := Mem{Base: sum, Index: at.index, Scale: 8, Disp: 2 * at.disp}
		switch {
		case at.mask == nil:
			VADDPD(m, v, v)
			VMOVUPD(v, m)
		case avx512():
			VADDPD(m, v, at.mask, v)
			VMOVUPD(v, at.mask, m)
		default:
			wide, t := YMM(), YMM()
			VPMOVSXDQ(at.mask, wide)
			VMASKMOVPD(m, wide, t)
			VADDPD(t, v, v)
			VMASKMOVPD(v, wide, m)
		}
	})
	end()
}

// largest gives the largest of n elements in the lowest lane.
func largest(x, n reg.Register) reg.VecVirtual {
	acc := make([]reg.VecVirtual, 4)
	for i := range acc {
		acc[i] = vec()
		VMOVUPS(bits32(math.Float32bits(float32(math.Inf(-1)))), acc[i])
	}
	loop(n, width, 4, func(at at) {
		v := at.load(x)
		switch {
		case at.mask == nil:
			VMAXPS(v, acc[at.u], acc[at.u])
		case avx512():
			VMAXPS(v, acc[at.u], at.mask, acc[at.u])
		default:
			least := vec()
			VMOVUPS(bits32(math.Float32bits(float32(math.Inf(-1)))), least)
			VBLENDVPS(at.mask, v, least, v)
			VMAXPS(v, acc[at.u], acc[at.u])
		}
	})
	m := fold(acc, maxps)
	across(m, maxps)
	return m
}

func dot() {
	function("dot", "func(a, b []float32) float64")
	a, b := ptr("a"), ptr("b")
	acc := accumulators(4)
	loop(length("a"), width/2, 4, func(at at) {
		VFMADD231PD(at.widen(a), at.widen(b), acc[at.u])
	})
	s := fold(acc, addpd)
	across64(s)
	result(s, 0)
	end()
}

// colSum adds the rows of x to dst, which the caller has zeroed. It has loops of
// its own, because the loop over rows is outside.
func colSum(n, dst, x, rows, stride reg.Register) {
	for _, group := range []int{4, 1} {
		outer := fmt.Sprintf("rows%d", group)
		Label(outer)
		CMPQ(rows, Imm(uint64(group)))
		JL(LabelRef(outer + "done"))
		row := []reg.Register{x}
		for range group - 1 {
			p := GP64()
			MOVQ(row[len(row)-1], p)
			ADDQ(stride, p)
			row = append(row, p)
		}
		labels = outer
		loop(n, width, 2, func(at at) {
			v := at.load(dst)
			for _, p := range row {
				VADDPS(at.load(p), v, v)
			}
			at.store(v, dst)
		})
		labels = ""
		MOVQ(row[len(row)-1], x)
		ADDQ(stride, x)
		SUBQ(Imm(uint64(group)), rows)
		JMP(LabelRef(outer))
		Label(outer + "done")
	}
}

func softmax() {
	function("softmax", "func(y, x []float32)")
	y, x, n := ptr("y"), ptr("x"), length("y")
	labels = "max"
	top := largest(x, n)
	VBROADCASTSS(top.AsX(), top)
	kept := newConsts(5, 20).forExpFlush()
	sums := accumulators(2)
	labels = "exp"
	loop(n, width, 2, func(at at) {
		v := at.load(x)
		VSUBPS(top, v, v)
		kept.expFlush(v)
		at.drop(v)
		VADDPS(v, sums[at.u], sums[at.u])
		at.store(v, y)
	})
	sum := fold(sums, addps)
	across(sum, addps)
	one := XMM()
	VMOVUPS(bits32(0x3f800000), one)
	VDIVSS(sum.AsX(), one, one)
	VBROADCASTSS(one, sum)
	labels = "scale"
	loop(n, width, 4, func(at at) {
		v := at.load(y)
		VMULPS(sum, v, v)
		at.store(v, y)
	})
	labels = ""
	end()

	function("expSum", "func(dst, src []float32, scale, max float32) float32")
	dst, src := ptr("dst"), ptr("src")
	scale, max := scalar("scale"), scalar("max")
	k := newConsts(9, 24).forExpFlush()
	acc := accumulators(2)
	loop(length("dst"), width, 2, func(at at) {
		v := at.load(src)
		VFMSUB213PS(max, scale, v)
		k.expFlush(v)
		at.drop(v)
		VADDPS(v, acc[at.u], acc[at.u])
		at.store(v, dst)
	})
	s := fold(acc, addps)
	across(s, addps)
	result(s, 0)
	end()

	function("sumExp", "func(x []float32, max float32) float32")
	x = ptr("x")
	max = scalar("max")
	k = newConsts(9, 24).forExpFlush()
	acc = accumulators(2)
	loop(length("x"), width, 2, func(at at) {
		v := at.load(x)
		VSUBPS(max, v, v)
		k.expFlush(v)
		at.drop(v)
		VADDPS(v, acc[at.u], acc[at.u])
	})
	s = fold(acc, addps)
	across(s, addps)
	result(s, 0)
	end()

	function("softmaxGrad", "func(ds, p, dp []float32, scale, dot float32)")
	ds, p, dp := ptr("ds"), ptr("p"), ptr("dp")
	scale = scalar("scale")
	dot := scalar("dot")
	loop(length("ds"), width, 4, func(at at) {
		v := at.load(dp)
		VSUBPS(dot, v, v)
		VMULPS(at.load(p), v, v)
		VMULPS(scale, v, v)
		at.store(v, ds)
	})
	end()
}

func norm() {
	// The first pass finds the mean roughly; the second adds up the distances from
	// it and their squares, whose errors are relative to the spread.
	function("moments", "func(x []float32) (shift, sum, squares float32)")
	x, n := ptr("x"), length("x")
	acc := accumulators(4)
	labels = "mean"
	loop(n, width, 4, func(at at) {
		VADDPS(at.load(x), acc[at.u], acc[at.u])
	})
	shift := fold(acc, addps)
	across(shift, addps)
	count := XMM()
	VXORPS(count, count, count)
	VCVTSI2SSQ(n, count, count)
	VDIVSS(count, shift.AsX(), shift.AsX())
	result(shift, 0)
	VBROADCASTSS(shift.AsX(), shift)
	sum, squares := accumulators(4), accumulators(4)
	labels = "spread"
	loop(n, width, 4, func(at at) {
		v := at.load(x)
		VSUBPS(shift, v, v)
		at.drop(v)
		VADDPS(v, sum[at.u], sum[at.u])
		VFMADD231PS(v, v, squares[at.u])
	})
	labels = ""
	s, q := fold(sum, addps), fold(squares, addps)
	across(s, addps)
	across(q, addps)
	result(s, 1)
	result(q, 2)
	end()

	// x̂ is (x-mean)*rstd - rest*rstd in one multiplication and one addition.
	function("normalize", "func(y, x, gain, bias []float32, mean, rest, rstd float32)")
	y, x := ptr("y"), ptr("x")
	gain, bias := ptr("gain"), ptr("bias")
	mean, rest, rstd := scalar("mean"), scalar("rest"), scalar("rstd")
	VMULPS(rstd, rest, rest)
	loop(length("y"), width, 4, func(at at) {
		v := at.load(x)
		VSUBPS(mean, v, v)
		VFMSUB213PS(rest, rstd, v)
		b := at.load(bias)
		VFMADD231PS(at.load(gain), v, b)
		at.store(b, y)
	})
	end()

	function("normGradSums", "func(dgain, dbias, dy, x, gain []float32, mean, rest, rstd float32) (sum, dot float64)")
	dgain, dbias, dy := ptr("dgain"), ptr("dbias"), ptr("dy")
	x, gain = ptr("x"), ptr("gain")
	mean, rest, rstd = scalar("mean"), scalar("rest"), scalar("rstd")
	VMULPS(rstd, rest, rest)
	sum, dot := accumulators(2), accumulators(2)
	loop(length("dy"), width, 2, func(at at) {
		v := at.load(x)
		VSUBPS(mean, v, v)
		VFMSUB213PS(rest, rstd, v)
		at.drop(v)
		d := at.load(dy)
		t := at.load(dbias)
		VADDPS(d, t, t)
		at.store(t, dbias)
		u := at.load(dgain)
		VFMADD231PS(v, d, u)
		at.store(u, dgain)
		VMULPS(at.load(gain), d, d)
		VADDPS(d, sum[at.u], sum[at.u])
		VFMADD231PS(v, d, dot[at.u])
	})
	s, q = fold(sum, addps), fold(dot, addps)
	across(s, addps)
	across(q, addps)
	VCVTSS2SD(s.AsX(), s.AsX(), s.AsX())
	VCVTSS2SD(q.AsX(), q.AsX(), q.AsX())
	result(s, 0)
	result(q, 1)
	end()

	function("normGrad", "func(dx, dy, x, gain []float32, mean, rest, rstd, a, b float32)")
	dx, dy := ptr("dx"), ptr("dy")
	x, gain = ptr("x"), ptr("gain")
	mean, rest, rstd = scalar("mean"), scalar("rest"), scalar("rstd")
	a, b := scalar("a"), scalar("b")
	VMULPS(rstd, rest, rest)
	loop(length("dx"), width, 2, func(at at) {
		v := at.load(x)
		VSUBPS(mean, v, v)
		VFMSUB213PS(rest, rstd, v)
		d := at.load(dy)
		VFMSUB132PS(at.load(gain), a, d)
		VFNMADD231PS(v, b, d)
		VMULPS(rstd, d, d)
		at.store(d, dx)
	})
	end()
}

const (
	signBit      = 0x80000000
	absoluteBits = 0x7fffffff
)

func (k consts) forErf() consts {
	k.forExpFlush().add(GELULimit, -GELULimit, 1, ErfcScale, -0.5, InvSqrt2Pi).bits(absoluteBits)
	return k.add(ErfcPoly...)
}

// erf gives Φ(x) and exp(-x²/2).
func (k consts) erf(x Op) (phi, e Op) {
	z, t, p, q := vec(), vec(), vec(), vec()
	if avx512() {
		VPANDD(k.raw(absoluteBits), x, z)
	} else {
		VANDPS(k.raw(absoluteBits), x, z)
	}
	VMOVUPS(k.at(ErfcScale), t)
	VFMADD213PS(k.at(1), z, t)
	VDIVPS(t, k.inReg(1), t)
	VMULPS(x, x, q)
	VMULPS(k.at(-0.5), q, q)
	k.expFlush(q)
	VMOVUPS(k.at(ErfcPoly[0]), p)
	for _, c := range ErfcPoly[1:] {
		VFMADD213PS(k.at(c), t, p)
	}
	VMULPS(t, p, p)
	VMULPS(q, p, p) // ½erfc(|x|/√2)
	upper := vec()
	VSUBPS(p, k.inReg(1), upper)
	if avx512() {
		negative := K()
		VPMOVD2M(x, negative)
		VMOVAPS(p, negative, upper)
	} else {
		VBLENDVPS(x, p, upper, upper)
	}
	return upper, q
}

func gelu() {
	// forward is y = f(x), backward dx = dy * f'(x); f replaces its argument.
	forward := func(s string, k func() consts, f func(k consts, x Op) Op) {
		function(s, "func(y, x []float32)")
		y, x := ptr("y"), ptr("x")
		kk := k()
		loop(length("y"), width, 1, func(at at) {
			at.store(f(kk, at.load(x)), y)
		})
		end()
	}
	backward := func(s string, k func() consts, f func(k consts, x Op) Op) {
		function(s, "func(dx, x, dy []float32)")
		dx, x, dy := ptr("dx"), ptr("x"), ptr("dy")
		kk := k()
		loop(length("dx"), width, 1, func(at at) {
			v := f(kk, at.load(x))
			VMULPS(at.load(dy), v, v)
			at.store(v, dx)
		})
		end()
	}

	erf := func() consts { return newConsts(4, 20).forErf() }
	forward("geluErf", erf, func(k consts, x Op) Op {
		k.maximum(x, -GELULimit)
		phi, _ := k.erf(x)
		VMULPS(x, phi, phi)
		return phi
	})
	backward("geluErfGrad", erf, func(k consts, x Op) Op {
		k.maximum(x, -GELULimit)
		k.minimum(x, GELULimit)
		phi, e := k.erf(x)
		VMULPS(k.at(InvSqrt2Pi), e, e)
		VFMADD231PS(x, e, phi)
		return phi
	})

	tanh := func() consts {
		return newConsts(6, 24).forExpFlush().add(GELULimit, -GELULimit, 1, -GELUTanhA, -GELUTanhB, GELUTanhA, 3*GELUTanhB, LogitLimit)
	}
	forward("geluTanh", tanh, func(k consts, x Op) Op {
		k.maximum(x, -GELULimit)
		u, v := vec(), vec()
		VMULPS(x, x, v)
		VMOVUPS(k.at(-GELUTanhB), u)
		VFMADD213PS(k.at(-GELUTanhA), v, u)
		VMULPS(x, u, u)
		k.expFlush(u)
		VADDPS(k.at(1), u, u)
		VDIVPS(u, x, x)
		return x
	})
	backward("geluTanhGrad", tanh, func(k consts, x Op) Op {
		k.maximum(x, -GELULimit)
		k.minimum(x, GELULimit)
		e, square, slope := vec(), vec(), vec()
		VMULPS(x, x, square)
		VMOVUPS(k.at(-GELUTanhB), e)
		VFMADD213PS(k.at(-GELUTanhA), square, e)
		VMULPS(x, e, e)
		k.minimum(e, LogitLimit)
		k.expFlush(e)
		VMOVUPS(k.at(3*GELUTanhB), slope)
		VFMADD213PS(k.at(GELUTanhA), square, slope)
		VMULPS(x, slope, slope)
		return k.sigmoidGrad(e, slope)
	})

	quick := func() consts {
		return newConsts(6, 24).forExpFlush().add(-QuickLimit, 1, GELUQuick, -GELUQuick, LogitLimit, -LogitLimit)
	}
	forward("geluQuick", quick, func(k consts, x Op) Op {
		k.maximum(x, -QuickLimit)
		u := vec()
		VMULPS(k.at(-GELUQuick), x, u)
		k.expFlush(u)
		VADDPS(k.at(1), u, u)
		VDIVPS(u, x, x)
		return x
	})
	backward("geluQuickGrad", quick, func(k consts, x Op) Op {
		VMULPS(k.at(GELUQuick), x, x)
		k.maximum(x, -LogitLimit)
		k.minimum(x, LogitLimit)
		e := vec()
		zero(e)
		VSUBPS(x, e, e)
		k.expFlush(e)
		return k.sigmoidGrad(e, x)
	})
}

// sigmoidGrad is σ + slope·σ·(1-σ) for σ = 1/(1+e), where 1-σ = e·σ keeps the
// digits that a subtraction would lose.
func (k consts) sigmoidGrad(e, slope Op) Op {
	s := vec()
	VADDPS(k.at(1), e, s)
	VDIVPS(s, k.inReg(1), s)
	VMULPS(e, s, e)
	VMULPS(e, slope, slope)
	VFMADD213PS(s, s, slope)
	return slope
}

func dropout() {
	function("dropout", "func(y, x []float32, scale float32, threshold, first, key0, key1 uint32)")
	y, x := ptr("y"), ptr("x")
	scale, threshold, first := scalar("scale"), scalar("threshold"), scalar("first")
	key0, key1 := scalar("key0"), scalar("key1")
	const step = 0x9e3779b1
	count := vec()
	iota := GLOBL(name("rows_index"), RODATA|NOPTR)
	for i := range width {
		DATA(4*i, U32(uint32(i)*step&0xffffffff))
	}
	stepVec := vec()
	VMOVUPS(bits32(step), stepVec)
	VPMULLD(stepVec, first, count)
	VPADDD(iota, count, count)
	k := newConsts(2, 8).bits(uint32(uint64(step)*uint64(width)&0xffffffff), 0x7feb352d, 0x846ca68b)
	if !avx512() {
		k.bits(signBit)
		VPXOR(k.raw(signBit), threshold, threshold)
	}
	xor := func(a, b, c Op) {
		if avx512() {
			VPXORD(a, b, c)
		} else {
			VPXOR(a, b, c)
		}
	}
	loop(length("y"), width, 2, func(at at) {
		h, t := vec(), vec()
		mix := func(shift int, factor uint32) {
			VPSRLD(Imm(uint64(shift)), h, t)
			xor(t, h, h)
			if factor != 0 {
				VPMULLD(k.raw(factor), h, h)
			}
		}
		xor(key0, count, h)
		VPADDD(k.raw(uint32(uint64(step)*uint64(width)&0xffffffff)), count, count)
		mix(16, 0x7feb352d)
		mix(15, 0x846ca68b)
		VPADDD(key1, h, h)
		mix(16, 0x7feb352d)
		mix(15, 0)
		v := at.load(x)
		f := vec()
		if avx512() {
			keep := K()
			VPCMPUD(Imm(5), threshold, h, keep) // h >= threshold
			VMOVAPS_Z(scale, keep, f)
		} else {
			VPXOR(k.raw(signBit), h, h)
			VPCMPGTD(h, threshold, f) // threshold > h
			VPANDN(scale, f, f)
		}
		VMULPS(f, v, v)
		at.store(v, y)
	})
	end()
}

func adamW() {
	function("adamW", "func(w, grad, m, v []float32, c *float32)")
	w, g, m, v := ptr("w"), ptr("grad"), ptr("m"), ptr("v")
	c := Load(Param("c"), GP64())
	var coef [9]Op
	for i := range coef {
		r := vec()
		VBROADCASTSS(Mem{Base: c, Disp: 4 * i}, r)
		coef[i] = r
	}
	scale, beta1, rest1, beta2, rest2, root, eps, rate, keep := coef[0], coef[1], coef[2], coef[3], coef[4], coef[5], coef[6], coef[7], coef[8]
	loop(length("w"), width, 1, func(at at) {
		d := at.load(g)
		VMULPS(scale, d, d)
		mi, vi := at.load(m), at.load(v)
		VMULPS(beta1, mi, mi)
		VFMADD231PS(d, rest1, mi)
		at.store(mi, m)
		VMULPS(d, d, d)
		VMULPS(beta2, vi, vi)
		VFMADD231PS(d, rest2, vi)
		at.store(vi, v)
		VSQRTPS(vi, vi)
		VFMADD213PS(eps, root, vi)
		VDIVPS(vi, mi, mi)
		wi := at.load(w)
		VMULPS(keep, wi, wi)
		VFNMADD231PS(mi, rate, wi)
		at.store(wi, w)
	})
	end()
}

func main() {
	ConstraintExpr("amd64,!noasm")
	tailMasks = GLOBL("rows_tail", RODATA|NOPTR)
	for i := range 16 {
		m := uint32(0)
		if i < 8 {
			m = 0xffffffff
		}
		DATA(4*i, U32(m))
	}
	for _, width = range []int{8, 16} {
		elementwise()
		reductions()
		softmax()
		norm()
		gelu()
		dropout()
		adamW()
	}
	Generate()
}
