// Command resample generates the assembly of the integer picture resampler, for
// AVX2.
//
//	go run ./resample -out ../resample_amd64.s -stubs ../resample_stubs_amd64.go -pkg kernel
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// precision is the number of fraction bits of a weight.
const precision = 32 - 8 - 2

var half Mem

func field(s string) reg.Register { return Load(Param(s), GP64()) }

// vertical computes n bytes of one row, n a multiple of 16.
func vertical() {
	TEXT("resampleRowsAVX2", NOSPLIT, "func(dst, src *byte, n, stride int, weights *int32, taps int)")
	Pragma("noescape")
	dst, src, n := field("dst"), field("src"), field("n")
	stride, weights, taps := field("stride"), field("weights"), field("taps")
	Label("columns")
	CMPQ(n, Imm(0))
	JLE(LabelRef("done"))
	sum := []reg.VecVirtual{YMM(), YMM()}
	for _, s := range sum {
		VMOVDQU(half, s)
	}
	p, w, t := GP64(), GP64(), GP64()
	MOVQ(src, p)
	MOVQ(weights, w)
	MOVQ(taps, t)
	Label("taps")
	weight := YMM()
	VPBROADCASTD(Mem{Base: w}, weight)
	for i, s := range sum {
		v := YMM()
		VPMOVZXBD(Mem{Base: p, Disp: 8 * i}, v)
		VPMULLD(weight, v, v)
		VPADDD(v, s, s)
	}
	ADDQ(stride, p)
	ADDQ(Imm(4), w)
	DECQ(t)
	JNZ(LabelRef("taps"))
	for _, s := range sum {
		VPSRAD(Imm(precision), s, s)
	}
	// Packing clips at 0 and 255; it works within halves of 128 bits.
	VPACKSSDW(sum[1], sum[0], sum[0])
	VPERMQ(Imm(0xd8), sum[0], sum[0])
	high := XMM()
	VEXTRACTI128(Imm(1), sum[0], high)
	VPACKUSWB(high, sum[0].AsX(), high)
	VMOVDQU(high, Mem{Base: dst})
	ADDQ(Imm(16), dst)
	ADDQ(Imm(16), src)
	SUBQ(Imm(16), n)
	JMP(LabelRef("columns"))
	Label("done")
	VZEROUPPER()
	RET()
}

// horizontal computes one row of n pixels. It reads and writes four bytes for each
// pixel of three.
func horizontal() {
	TEXT("resamplePixelsAVX2", NOSPLIT, "func(dst, src *byte, n int, start, count, weights *int32, stride int)")
	Pragma("noescape")
	dst, src, n := field("dst"), field("src"), field("n")
	start, count, weights, stride := field("start"), field("count"), field("weights"), field("stride")
	SHLQ(Imm(2), stride)
	Label("pixels")
	CMPQ(n, Imm(0))
	JLE(LabelRef("done"))
	sum, other := XMM(), XMM()
	VMOVDQU(half, sum)
	VPXOR(other, other, other)
	p, w, t := GP64(), GP64(), GP64()
	MOVLQSX(Mem{Base: start}, p)
	LEAQ(Mem{Base: p, Index: p, Scale: 2}, p)
	ADDQ(src, p)
	MOVLQSX(Mem{Base: count}, t)
	MOVQ(weights, w)
	add := func(sum Op, i int) {
		v, weight := XMM(), XMM()
		VPMOVZXBD(Mem{Base: p, Disp: 3 * i}, v)
		VPBROADCASTD(Mem{Base: w, Disp: 4 * i}, weight)
		VPMULLD(weight, v, v)
		VPADDD(v, sum, sum)
	}
	Label("pairs")
	CMPQ(t, Imm(2))
	JL(LabelRef("last"))
	add(sum, 0)
	add(other, 1)
	ADDQ(Imm(6), p)
	ADDQ(Imm(8), w)
	SUBQ(Imm(2), t)
	JMP(LabelRef("pairs"))
	Label("last")
	CMPQ(t, Imm(0))
	JE(LabelRef("store"))
	add(sum, 0)
	Label("store")
	VPADDD(other, sum, sum)
	VPSRAD(Imm(precision), sum, sum)
	VPACKSSDW(sum, sum, sum)
	VPACKUSWB(sum, sum, sum)
	VMOVD(sum, Mem{Base: dst})
	ADDQ(Imm(3), dst)
	ADDQ(Imm(4), start)
	ADDQ(Imm(4), count)
	ADDQ(stride, weights)
	DECQ(n)
	JMP(LabelRef("pixels"))
	Label("done")
	VZEROUPPER()
	RET()
}

func main() {
	ConstraintExpr("amd64,!noasm")
	half = GLOBL("resample_half", RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(1<<(precision-1)))
	}
	vertical()
	horizontal()
	Generate()
}
