// Command idct generates the assembly of the inverse transform of JPEG, for AVX2.
//
//	go run ./idct -out ../idct_amd64.s -stubs ../idct_stubs_amd64.go -pkg kernel
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const (
	bits = 13 // fraction of the constants
	pass = 2  // more bits between the passes
)

func fix(x float64) int { return int(x*(1<<bits) + 0.5) }

var (
	f0298, f0390, f0541, f0765 = fix(0.298631336), fix(0.390180644), fix(0.541196100), fix(0.765366865)
	f0899, f1175, f1501, f1847 = fix(0.899976223), fix(1.175875602), fix(1.501321110), fix(1.847759065)
	f1961, f2053, f2562, f3072 = fix(1.961570560), fix(2.053119869), fix(2.562915447), fix(3.072711026)
)

// pairs holds a constant of two 16-bit numbers for each pair of inputs.
func pairs(name string, low, high int) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(uint32(uint16(int16(low)))|uint32(uint16(int16(high)))<<16))
	}
	return m
}

func dwords(name string, v int) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(uint32(int32(v))))
	}
	return m
}

// shuffle holds a byte shuffle for both halves.
func shuffle(name string, order [16]int) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 32 {
		DATA(i, U8(uint8(order[i%16])))
	}
	return m
}

func madd(c Mem, x reg.VecVirtual) reg.VecVirtual {
	y := YMM()
	VPMADDWD(c, x, y)
	return y
}

func add(a, b reg.VecVirtual) reg.VecVirtual {
	y := YMM()
	VPADDD(b, a, y)
	return y
}

func sub(a, b reg.VecVirtual) reg.VecVirtual {
	y := YMM()
	VPSUBD(b, a, y)
	return y
}

type constants struct {
	even, odd, e2, e3          Mem
	o0a, o0b, o1a, o1b         Mem
	o2a, o2b, o3a, o3b         Mem
	round1, round2, pack, turn Mem
}

// transform maps the pairs of inputs (0, 4), (2, 6), (7, 1), (5, 3), one pair a
// lane, to the eight outputs, shifted right.
func transform(k *constants, p []reg.VecVirtual, round Mem, shift int) (out []reg.VecVirtual) {
	e2, e3 := madd(k.e2, p[1]), madd(k.e3, p[1])
	e0, e1 := madd(k.even, p[0]), madd(k.odd, p[0])
	VPADDD(round, e0, e0)
	VPADDD(round, e1, e1)
	s0, s3 := add(e0, e3), sub(e0, e3)
	s1, s2 := add(e1, e2), sub(e1, e2)
	o0 := add(madd(k.o0a, p[2]), madd(k.o0b, p[3]))
	o1 := add(madd(k.o1a, p[2]), madd(k.o1b, p[3]))
	o2 := add(madd(k.o2a, p[2]), madd(k.o2b, p[3]))
	o3 := add(madd(k.o3a, p[2]), madd(k.o3b, p[3]))
	out = []reg.VecVirtual{add(s0, o3), add(s1, o2), add(s2, o1), add(s3, o0), sub(s3, o0), sub(s2, o1), sub(s1, o2), sub(s0, o3)}
	for _, v := range out {
		VPSRAD(Imm(uint64(shift)), v, v)
	}
	return out
}

func idct(k *constants) {
	TEXT("idctAVX2", NOSPLIT, "func(dst *byte, stride int, coefficients, steps *int16)")
	Pragma("noescape")
	dst, stride := Load(Param("dst"), GP64()), Load(Param("stride"), GP64())
	coefficients, steps := Load(Param("coefficients"), GP64()), Load(Param("steps"), GP64())
	p := make([]reg.VecVirtual, 4)
	zero := YMM()
	for i := range p {
		p[i] = YMM()
		VMOVDQU(Mem{Base: coefficients, Disp: 32 * i}, p[i])
		VPMULLW(Mem{Base: steps, Disp: 32 * i}, p[i], p[i])
	}
	VPXOR(zero, zero, zero)
	for i := range p {
		VMOVDQU(zero, Mem{Base: coefficients, Disp: 32 * i})
	}
	rows := transform(k, p, k.round1, bits-pass)
	// Rows y and y+4, of 16 bits each, as the halves of a vector, their numbers in
	// the order of pairs.
	q := make([]reg.VecVirtual, 4)
	for i := range q {
		q[i] = YMM()
		VPACKSSDW(rows[i+4], rows[i], q[i])
		VPERMQ(Imm(0xd8), q[i], q[i])
		VPSHUFB(k.pack, q[i], q[i])
	}
	// Transpose 4×4 pairs within halves: a vector for each pair, a lane for each row.
	low01, high01, low23, high23 := YMM(), YMM(), YMM(), YMM()
	VPUNPCKLDQ(q[1], q[0], low01)
	VPUNPCKHDQ(q[1], q[0], high01)
	VPUNPCKLDQ(q[3], q[2], low23)
	VPUNPCKHDQ(q[3], q[2], high23)
	for i := range p {
		p[i] = YMM()
	}
	VPUNPCKLQDQ(low23, low01, p[0])
	VPUNPCKHQDQ(low23, low01, p[1])
	VPUNPCKLQDQ(high23, high01, p[2])
	VPUNPCKHQDQ(high23, high01, p[3])
	columns := transform(k, p, k.round2, bits+pass+3)
	// Bytes of columns 0 to 3 and 4 to 7, rows 0 to 3 in the low half.
	half := func(c []reg.VecVirtual) reg.VecVirtual {
		a, b := YMM(), YMM()
		VPACKSSDW(c[1], c[0], a)
		VPACKSSDW(c[3], c[2], b)
		VPACKSSWB(b, a, a)
		VPSHUFB(k.turn, a, a)
		return a
	}
	left, right := half(columns[:4]), half(columns[4:])
	even, odd := YMM(), YMM()
	VPUNPCKLDQ(right, left, even) // rows 0, 1 and 4, 5
	VPUNPCKHDQ(right, left, odd)  // rows 2, 3 and 6, 7
	middle := YMM()
	VPCMPEQB(middle, middle, middle)
	VPSLLW(Imm(15), middle, middle)
	VPACKSSWB(middle, middle, middle) // -128 each
	VPADDB(middle, even, even)
	VPADDB(middle, odd, odd)
	store := func(v reg.VecVirtual) {
		VMOVQ(v.AsX(), Mem{Base: dst})
		VPEXTRQ(Imm(1), v.AsX(), Mem{Base: dst, Index: stride, Scale: 1})
		LEAQ(Mem{Base: dst, Index: stride, Scale: 2}, dst)
	}
	store(even)
	store(odd)
	for _, v := range []reg.VecVirtual{even, odd} {
		x := YMM()
		VEXTRACTI128(Imm(1), v, x.AsX())
		store(x)
	}
	VZEROUPPER()
	RET()
}

func main() {
	ConstraintExpr("amd64,!noasm")
	name := func(s string) string { return fmt.Sprintf("idct_%s", s) }
	a, b, c := f0298-f0899-f1961+f1175, f1175-f0899, f1175-f1961
	d, e, f := f2053-f2562+f1175-f0390, f1175-f2562, f1175-f0390
	g, h := f3072-f2562-f1961+f1175, f1501-f0899-f0390+f1175
	k := &constants{
		even: pairs(name("even"), 1<<bits, 1<<bits), odd: pairs(name("odd"), 1<<bits, -(1 << bits)),
		e2: pairs(name("e2"), f0541, f0541-f1847), e3: pairs(name("e3"), f0541+f0765, f0541),
		o0a: pairs(name("o0a"), a, b), o0b: pairs(name("o0b"), f1175, c),
		o1a: pairs(name("o1a"), f1175, f), o1b: pairs(name("o1b"), d, e),
		o2a: pairs(name("o2a"), c, f1175), o2b: pairs(name("o2b"), e, g),
		o3a: pairs(name("o3a"), b, h), o3b: pairs(name("o3b"), f, f1175),
		round1: dwords(name("round1"), 1<<(bits-pass-1)), round2: dwords(name("round2"), 1<<(bits+pass+3-1)),
		pack: shuffle(name("pack"), [16]int{0, 1, 8, 9, 4, 5, 12, 13, 14, 15, 2, 3, 10, 11, 6, 7}),
		turn: shuffle(name("turn"), [16]int{0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15}),
	}
	idct(k)
	Generate()
}
