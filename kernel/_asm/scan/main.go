// Command scan generates the assembly of what a search does besides products:
// comparing scores with thresholds, and reading memory as fast as it comes.
//
//	go run ./scan -out ../scan_amd64.s -stubs ../scan_stubs_amd64.go -pkg kernel
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// notLess is the predicate "not less than, or not a number", quiet.
const notLess = 0x15

func vector(size int) reg.VecVirtual {
	if size == 64 {
		return ZMM()
	}
	return YMM()
}

// masks writes one word of bits for each row of up to four vectors of scores.
func masks(name string, size int) {
	TEXT(name, NOSPLIT, "func(masks *uint64, scores, thresholds *float32, rows, vectors, stride int)")
	Pragma("noescape")
	out, s, t := Load(Param("masks"), GP64()), Load(Param("scores"), GP64()), Load(Param("thresholds"), GP64())
	rows, vectors, stride := Load(Param("rows"), GP64()), Load(Param("vectors"), GP64()), Load(Param("stride"), GP64())
	for n := 1; n < 4; n++ {
		CMPQ(vectors, Imm(uint64(n)))
		JE(LabelRef(fmt.Sprintf("vectors%d", n)))
	}
	for _, n := range []int{4, 3, 2, 1} {
		Label(fmt.Sprintf("vectors%d", n))
		thresholds := make([]reg.VecVirtual, n)
		for i := range thresholds {
			thresholds[i] = vector(size)
			VMOVUPS(Mem{Base: t, Disp: i * size}, thresholds[i])
		}
		loop := fmt.Sprintf("rows%d", n)
		Label(loop)
		all := GP64()
		for i := n - 1; i >= 0; i-- {
			v, bits := vector(size), GP64()
			VMOVUPS(Mem{Base: s, Disp: i * size}, v)
			if size == 64 {
				k := K()
				VCMPPS(Imm(notLess), thresholds[i], v, k)
				KMOVW(k, bits.As32())
			} else {
				VCMPPS(Imm(notLess), thresholds[i], v, v)
				VMOVMSKPS(v, bits.As32())
			}
			if i == n-1 {
				MOVQ(bits, all)
				continue
			}
			SHLQ(Imm(uint64(size/4)), all)
			ORQ(bits, all)
		}
		MOVQ(all, Mem{Base: out})
		ADDQ(Imm(8), out)
		ADDQ(stride, s)
		DECQ(rows)
		JNZ(LabelRef(loop))
		VZEROUPPER()
		RET()
	}
}

// xor reads n blocks of 8 vectors and leaves the exclusive or of all in 8 words.
func xor(name string, size int) {
	TEXT(name, NOSPLIT, "func(dst, x *uint64, blocks int)")
	Pragma("noescape")
	dst, x, n := Load(Param("dst"), GP64()), Load(Param("x"), GP64()), Load(Param("blocks"), GP64())
	sums := make([]reg.VecVirtual, 8)
	for i := range sums {
		sums[i] = vector(size)
		if size == 64 {
			VPXORQ(sums[i], sums[i], sums[i])
		} else {
			VPXOR(sums[i], sums[i], sums[i])
		}
	}
	join := func(m Op, s reg.VecVirtual) {
		if size == 64 {
			VPXORQ(m, s, s)
		} else {
			VPXOR(m, s, s)
		}
	}
	Label("blocks")
	for i, s := range sums {
		join(Mem{Base: x, Disp: i * size}, s)
	}
	ADDQ(U32(8*size), x)
	DECQ(n)
	JNZ(LabelRef("blocks"))
	for step := 4; step > 0; step /= 2 {
		for i := range step {
			join(sums[i+step], sums[i])
		}
	}
	store(size, sums[0], dst)
	VZEROUPPER()
	RET()
}

// store stores a vector of words.
func store(size int, v reg.VecVirtual, dst reg.Register) {
	if size == 64 {
		VMOVDQU64(v, Mem{Base: dst})
		return
	}
	VMOVDQU(v, Mem{Base: dst})
}

func main() {
	ConstraintExpr("amd64,!noasm")
	masks("scanMasks512", 64)
	masks("scanMasks256", 32)
	xor("xor512", 64)
	xor("xor256", 32)
	Generate()
}
