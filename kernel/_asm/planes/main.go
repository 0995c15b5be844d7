// Command planes generates the assembly that resamples pictures in planes, for
// AVX2.
//
//	go run ./planes -out ../planes_amd64.s -stubs ../planes_stubs_amd64.go -pkg kernel
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const (
	matrixBits  = 14
	rowFraction = 6
)

func field(s string) reg.Register { return Load(Param(s), GP64()) }

func fill(name string, n int, v uint32) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := range n {
		DATA(4*i, U32(v))
	}
	return m
}

func pair(low, high int) uint32 {
	return uint32(uint16(int16(low))) | uint32(uint16(int16(high)))<<16
}

// rounding sets half to 1<<(shift-1) in each lane and returns the vector count.
func rounding() (half, count reg.VecVirtual) {
	half, count = YMM(), XMM()
	shift := field("shift")
	one := GP64()
	MOVQ(shift, reg.RCX)
	MOVQ(U32(1), one)
	SHLQ(reg.CL, one)
	SHRQ(Imm(1), one)
	VMOVQ(shift, count)
	x := XMM()
	VMOVQ(one, x)
	VPBROADCASTD(x, half)
	return half, count
}

// columns computes n numbers of a row of the vertical pass, n a multiple of 16.
func columns() {
	TEXT("planeColumnsAVX2", NOSPLIT, "func(dst *int16, src *byte, n, stride int, weights *int16, taps, shift int)")
	Pragma("noescape")
	half, count := rounding()
	dst, src, n := field("dst"), field("src"), field("n")
	stride, weights, taps := field("stride"), field("weights"), field("taps")
	Label("columns")
	CMPQ(n, Imm(0))
	JLE(LabelRef("done"))
	low, high := YMM(), YMM()
	VMOVDQA(half, low)
	VMOVDQA(half, high)
	p, w, t := GP64(), GP64(), GP64()
	MOVQ(src, p)
	MOVQ(weights, w)
	MOVQ(taps, t)
	// Two rows at a time, their bytes side by side as 16-bit numbers.
	both := func(a, b, weight reg.VecVirtual) {
		l, h := XMM(), XMM()
		VPUNPCKLBW(b, a, l)
		VPUNPCKHBW(b, a, h)
		for i, s := range []reg.VecVirtual{low, high} {
			v := YMM()
			VPMOVZXBW([]reg.VecVirtual{l, h}[i], v)
			VPMADDWD(weight, v, v)
			VPADDD(v, s, s)
		}
	}
	Label("pairs")
	CMPQ(t, Imm(2))
	JL(LabelRef("last"))
	a, b, weight := XMM(), XMM(), YMM()
	VMOVDQU(Mem{Base: p}, a)
	VMOVDQU(Mem{Base: p, Index: stride, Scale: 1}, b)
	VPBROADCASTD(Mem{Base: w}, weight)
	both(a, b, weight)
	LEAQ(Mem{Base: p, Index: stride, Scale: 2}, p)
	ADDQ(Imm(4), w)
	SUBQ(Imm(2), t)
	JMP(LabelRef("pairs"))
	Label("last")
	CMPQ(t, Imm(0))
	JE(LabelRef("store"))
	a, b, weight = XMM(), XMM(), YMM()
	VMOVDQU(Mem{Base: p}, a)
	VPXOR(b, b, b)
	VPBROADCASTW(Mem{Base: w}, weight)
	both(a, b, weight)
	Label("store")
	VPSRAD(count, low, low)
	VPSRAD(count, high, high)
	// low has numbers 0…7, high 8…15; packing works within halves of 128 bits.
	VPACKSSDW(high, low, low)
	VPERMQ(Imm(0xd8), low, low)
	VMOVDQU(low, Mem{Base: dst})
	ADDQ(Imm(32), dst)
	ADDQ(Imm(16), src)
	SUBQ(Imm(16), n)
	JMP(LabelRef("columns"))
	Label("done")
	VZEROUPPER()
	RET()
}

// pixels computes n numbers of a row of the horizontal pass, n a multiple of 8,
// from 16·blocks weights each.
func pixels() {
	TEXT("planePixelsAVX2", NOSPLIT, "func(dst, src *int16, n int, near *int32, weights *int16, blocks, shift int)")
	Pragma("noescape")
	half, count := rounding()
	dst, src, n := field("dst"), field("src"), field("n")
	near, weights, blocks := field("near"), field("weights"), field("blocks")
	Label("pixels")
	CMPQ(n, Imm(0))
	JLE(LabelRef("done"))
	// Four outputs at a time: their sums of eight lanes are added across at the end.
	four := func(prefix string) reg.VecVirtual {
		sums := make([]reg.VecVirtual, 4)
		for i := range sums {
			sums[i] = YMM()
			p, t := GP64(), GP64()
			MOVLQSX(Mem{Base: near, Disp: 4 * i}, p)
			LEAQ(Mem{Base: src, Index: p, Scale: 2}, p)
			VMOVDQU(Mem{Base: p}, sums[i])
			VPMADDWD(Mem{Base: weights}, sums[i], sums[i])
			ADDQ(Imm(32), weights)
			MOVQ(blocks, t)
			again, end := prefix+string(rune('a'+i)), prefix+string(rune('a'+i))+"end"
			Label(again)
			DECQ(t)
			JZ(LabelRef(end))
			ADDQ(Imm(32), p)
			v := YMM()
			VMOVDQU(Mem{Base: p}, v)
			VPMADDWD(Mem{Base: weights}, v, v)
			VPADDD(v, sums[i], sums[i])
			ADDQ(Imm(32), weights)
			JMP(LabelRef(again))
			Label(end)
		}
		VPHADDD(sums[1], sums[0], sums[0])
		VPHADDD(sums[3], sums[2], sums[2])
		VPHADDD(sums[2], sums[0], sums[0])
		ADDQ(Imm(16), near)
		return sums[0]
	}
	a := four("low")
	b := four("high")
	// Halves of a and b have partial sums of the same outputs.
	x, y := YMM(), YMM()
	VPERM2I128(Imm(0x20), b, a, x)
	VPERM2I128(Imm(0x31), b, a, y)
	VPADDD(y, x, x)
	VPADDD(half, x, x)
	VPSRAD(count, x, x)
	high := XMM()
	VEXTRACTI128(Imm(1), x, high)
	VPACKSSDW(high, x.AsX(), high)
	VMOVDQU(high, Mem{Base: dst})
	ADDQ(Imm(16), dst)
	SUBQ(Imm(8), n)
	JMP(LabelRef("pixels"))
	Label("done")
	VZEROUPPER()
	RET()
}

// interleave holds the byte shuffles that spread 16 values of channel c over the
// three vectors of 16 pixels.
func interleave(c int) (m [3]Mem) {
	for i := range m {
		m[i] = GLOBL("planes_spread"+string(rune('0'+c))+string(rune('0'+i)), RODATA|NOPTR)
		for j := range 16 {
			v := uint8(0x80)
			if at := 16*i + j; at%3 == c {
				v = uint8(at / 3)
			}
			DATA(j, U8(v))
		}
	}
	return m
}

var spread [3][3]Mem

func storeRGB(dst reg.Register, channels []reg.VecVirtual) {
	for i := range 3 {
		out := XMM()
		VPSHUFB(spread[0][i], channels[0], out)
		for c := 1; c < 3; c++ {
			v := XMM()
			VPSHUFB(spread[c][i], channels[c], v)
			VPOR(v, out, out)
		}
		VMOVDQU(out, Mem{Base: dst, Disp: 16 * i})
	}
	ADDQ(Imm(48), dst)
}

// toRGB makes n pixels from three planes, n a multiple of 16.
func toRGB() {
	middle := fill("planes_middle", 8, pair(128<<rowFraction, 128<<rowFraction))
	yCr := fill("planes_y_cr", 8, pair(1<<matrixBits, 22970))
	yCb := fill("planes_y_cb", 8, pair(1<<matrixBits, 29032))
	// Green adds luma to Cb, and Cr to the rounding.
	yGreen := fill("planes_y_green", 8, pair(1<<matrixBits, -5638))
	crGreen := fill("planes_cr_green", 8, pair(-11700, 0))
	round := fill("planes_round", 8, 1<<(matrixBits+rowFraction-1))
	TEXT("planesToRGBAVX2", NOSPLIT, "func(dst *byte, n int, luma, blue, red *int16)")
	Pragma("noescape")
	dst, n := field("dst"), field("n")
	luma, blue, red := field("luma"), field("blue"), field("red")
	Label("loop")
	CMPQ(n, Imm(0))
	JLE(LabelRef("done"))
	y, cb, cr := YMM(), YMM(), YMM()
	VMOVDQU(Mem{Base: luma}, y)
	VMOVDQU(Mem{Base: blue}, cb)
	VMOVDQU(Mem{Base: red}, cr)
	VPSUBSW(middle, cb, cb)
	VPSUBSW(middle, cr, cr)
	interleaved := func(a, b reg.VecVirtual) [2]reg.VecVirtual {
		low, high := YMM(), YMM()
		VPUNPCKLWD(b, a, low)
		VPUNPCKHWD(b, a, high)
		return [2]reg.VecVirtual{low, high}
	}
	finish := func(v [2]reg.VecVirtual) reg.VecVirtual {
		for _, x := range v {
			VPADDD(round, x, x)
			VPSRAD(Imm(matrixBits+rowFraction), x, x)
		}
		out := YMM()
		VPACKSSDW(v[1], v[0], out)
		high := XMM()
		VEXTRACTI128(Imm(1), out, high)
		VPACKUSWB(high, out.AsX(), high)
		return high
	}
	withCr, withCb, crAlone := interleaved(y, cr), interleaved(y, cb), interleaved(cr, cr)
	var r, g, b [2]reg.VecVirtual
	for i := range 2 {
		r[i], g[i], b[i] = YMM(), YMM(), YMM()
		VPMADDWD(yCr, withCr[i], r[i])
		VPMADDWD(yGreen, withCb[i], g[i])
		VPMADDWD(yCb, withCb[i], b[i])
		more := YMM()
		VPMADDWD(crGreen, crAlone[i], more)
		VPADDD(more, g[i], g[i])
	}
	storeRGB(dst, []reg.VecVirtual{finish(r), finish(g), finish(b)})
	for _, p := range []reg.Register{luma, blue, red} {
		ADDQ(Imm(32), p)
	}
	SUBQ(Imm(16), n)
	JMP(LabelRef("loop"))
	Label("done")
	VZEROUPPER()
	RET()
}

func main() {
	ConstraintExpr("amd64,!noasm")
	for c := range spread {
		spread[c] = interleave(c)
	}
	columns()
	pixels()
	toRGB()
	Generate()
}
