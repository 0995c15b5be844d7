// Command int8 generates the assembly of products of 8-bit codes: rows of unsigned
// codes, offset by 128, with signed queries.
//
//	go run ./int8 -out ../int8_amd64.s -stubs ../int8_stubs_amd64.go -pkg kernel
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const (
	scoreRows = 128 // rows of a block of scores; kernel.scanRows
	panel     = 48  // queries of a panel; kernel.panel8

	// ahead is how far from the codes in use memory is asked for, in bytes: the processor does not look over page borders
	// by itself, nor past the instructions that it holds.
	ahead = 4096
)

// dpbusd adds the products of four unsigned bytes of u with four signed ones of s to
// each lane of acc, without saturation (AVX512_VNNI, which avo does not know).
func dpbusd(s Op, u, acc reg.VecVirtual) {
	Instruction(&ir.Instruction{
		Opcode:   "VPDPBUSD",
		Operands: []Op{s, u, acc},
		Inputs:   []Op{s, u, acc},
		Outputs:  []Op{acc},
		ISA:      []string{"AVX512_VNNI"},
	})
}

func param(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }

// dots compares groups of four rows with a few queries:
//
//	dst[j·scoreRows+r] = scale[r]·(offset[j] + Σ_d codes[r,d]·query[j,d])
//
// A chunk is 64 codes with AVX-512 (VNNI), where queries are bytes, and 16 with AVX2,
// where they are words. Rows are stride bytes apart, queries as many elements.
func dots(name string, queries int, avx512 bool) {
	TEXT(name, NOSPLIT, "func(dst *float32, codes *byte, scales *float32, query *byte, offsets *int32, groups, chunks, stride int)")
	Pragma("noescape")
	dst, codes, scales := param("dst"), param("codes"), param("scales")
	query, offsets := param("query"), param("offsets")
	groups, chunks, stride := param("groups"), param("chunks"), param("stride")
	stride3 := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	next := GP64()
	MOVQ(stride, next)
	if !avx512 {
		ADDQ(next, next)
	}
	next3 := GP64()
	LEAQ(Mem{Base: next, Index: next, Scale: 2}, next3)
	// at returns the address of row or query i.
	at := func(base, one, three reg.Register, i int) Mem {
		switch i {
		case 0:
			return Mem{Base: base}
		case 3:
			return Mem{Base: base, Index: three, Scale: 1}
		}
		return Mem{Base: base, Index: one, Scale: uint8(i)}
	}
	offset := make([]reg.VecVirtual, queries)
	for j := range offset {
		offset[j] = XMM()
		VPBROADCASTD(Mem{Base: offsets, Disp: 4 * j}, offset[j])
	}
	Label("group")
	acc := make([][4]reg.VecVirtual, queries)
	for j := range acc {
		for i := range 4 {
			if avx512 {
				acc[j][i] = ZMM()
				VPXORD(acc[j][i], acc[j][i], acc[j][i])
			} else {
				acc[j][i] = YMM()
				VPXOR(acc[j][i], acc[j][i], acc[j][i])
			}
		}
	}
	p, q, n := GP64(), GP64(), GP64()
	MOVQ(codes, p)
	MOVQ(query, q)
	MOVQ(chunks, n)
	Label("chunk")
	if avx512 {
		qs := make([]reg.VecVirtual, queries)
		for j := range qs {
			qs[j] = ZMM()
			VMOVDQU64(at(q, next, next3, j), qs[j])
		}
		for i := range 4 {
			row, m := ZMM(), at(p, stride, stride3, i)
			VMOVDQU64(m, row)
			m.Disp = ahead
			PREFETCHT0(m)
			for j := range qs {
				dpbusd(qs[j], row, acc[j][i])
			}
		}
		ADDQ(Imm(64), p)
		ADDQ(Imm(64), q)
	} else {
		for i := range 4 {
			row := YMM()
			VPMOVZXBW(at(p, stride, stride3, i), row)
			for j := range queries {
				product := YMM()
				VPMADDWD(at(q, next, next3, j), row, product)
				VPADDD(product, acc[j][i], acc[j][i])
			}
		}
		ADDQ(Imm(16), p)
		ADDQ(Imm(32), q)
	}
	DECQ(n)
	JNZ(LabelRef("chunk"))
	scale := XMM()
	VMOVUPS(Mem{Base: scales}, scale)
	for j := range acc {
		// VPHADDD knows the first sixteen registers only.
		half := []reg.Register{reg.Y0, reg.Y1, reg.Y2, reg.Y3}
		for i, a := range acc[j] {
			if avx512 {
				VEXTRACTI64X4(Imm(1), a, half[i])
				VPADDD(a.AsY(), half[i], half[i])
			} else {
				half[i] = a
			}
		}
		VPHADDD(half[1], half[0], half[0])
		VPHADDD(half[3], half[2], half[2])
		VPHADDD(half[2], half[0], half[0])
		sum := reg.X1
		VEXTRACTI128(Imm(1), half[0], sum)
		VPADDD(half[0].(reg.Vec).AsX(), sum, sum)
		VPADDD(offset[j], sum, sum)
		VCVTDQ2PS(sum, sum)
		VMULPS(scale, sum, sum)
		VMOVUPS(sum, Mem{Base: dst, Disp: 4 * scoreRows * j})
	}
	ADDQ(Imm(16), dst)
	ADDQ(Imm(16), scales)
	LEAQ(Mem{Base: codes, Index: stride, Scale: 4}, codes)
	DECQ(groups)
	JNZ(LabelRef("group"))
	VZEROUPPER()
	RET()
}

// tiles compares tiles of eight rows with a panel of up to 16·nv queries:
//
//	dst[r·panel+j] = scale[r]·(offset[j] + Σ_d codes[r,d]·query[j,d])
//
// The panel holds four bytes of each of its queries after another, (d/4, panel, 4).
func tiles(name string, nv int) {
	const mr = 8
	TEXT(name, NOSPLIT, "func(dst *float32, codes *byte, scales *float32, packed *byte, offsets *int32, tiles, quads, stride int)")
	Pragma("noescape")
	dst, codes, scales := param("dst"), param("codes"), param("scales")
	packed, offsets := param("packed"), param("offsets")
	count, quads, stride := param("tiles"), param("quads"), param("stride")
	stride3 := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	Label("tile")
	var acc [mr][]reg.VecVirtual
	for i := range acc {
		acc[i] = make([]reg.VecVirtual, nv)
		for j := range acc[i] {
			acc[i][j] = ZMM()
			VMOVDQU32(Mem{Base: offsets, Disp: 64 * j}, acc[i][j])
		}
	}
	b, n, next := GP64(), GP64(), GP64()
	MOVQ(codes, next)
	MOVQ(packed, b)
	MOVQ(quads, n)
	base := [3]reg.GPVirtual{GP64(), GP64(), GP64()} // rows 0, 3 and 6
	MOVQ(codes, base[0])
	LEAQ(Mem{Base: codes, Index: stride3, Scale: 1}, base[1])
	LEAQ(Mem{Base: codes, Index: stride3, Scale: 2}, base[2])
	const unroll = 4
	Label("quad")
	for step := range unroll {
		bs := make([]reg.VecVirtual, nv)
		for j := range bs {
			bs[j] = ZMM()
			VMOVDQU32(Mem{Base: b, Disp: 4*panel*step + 64*j}, bs[j])
		}
		for i := range acc {
			row := ZMM()
			m := Mem{Base: base[i/3], Disp: 4 * step}
			if i%3 > 0 {
				m.Index, m.Scale = stride, uint8(i%3)
			}
			VPBROADCASTD(m, row)
			for j := range bs {
				dpbusd(bs[j], row, acc[i][j])
			}
		}
	}
	for line := 0; line < mr*4*unroll; line += 64 {
		PREFETCHT0(Mem{Base: next, Disp: ahead + line})
	}
	ADDQ(U32(mr*4*unroll), next)
	ADDQ(U32(4*panel*unroll), b)
	for _, r := range base {
		ADDQ(Imm(4*unroll), r)
	}
	SUBQ(Imm(unroll), n)
	JNZ(LabelRef("quad"))
	for i := range acc {
		scale := ZMM()
		VBROADCASTSS(Mem{Base: scales, Disp: 4 * i}, scale)
		for j, a := range acc[i] {
			VCVTDQ2PS(a, a)
			VMULPS(scale, a, a)
			VMOVUPS(a, Mem{Base: dst, Disp: 4*panel*i + 64*j})
		}
	}
	ADDQ(U32(4*panel*mr), dst)
	ADDQ(Imm(4*mr), scales)
	LEAQ(Mem{Base: codes, Index: stride, Scale: 8}, codes)
	DECQ(count)
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

func main() {
	ConstraintExpr("amd64,!noasm")
	for _, n := range []int{1, 2, 4} {
		dots(fmt.Sprintf("dots8x%dVNNI", n), n, true)
	}
	for _, n := range []int{1, 2} {
		dots(fmt.Sprintf("dots8x%dAVX2", n), n, false)
	}
	for nv := 1; nv <= 3; nv++ {
		tiles(fmt.Sprintf("tiles8x%dVNNI", 16*nv), nv)
	}
	Generate()
}
