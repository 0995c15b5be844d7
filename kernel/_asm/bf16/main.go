// Command bf16 generates the assembly of the products of bfloat16: what rounds and
// packs float32 matrices, and the micro-kernels on AVX512_BF16 and on AMX.
//
//	go run ./bf16 -out ../bf16_amd64.s -stubs ../bf16_stubs_amd64.go -pkg kernel
//
// generate.sh in the folder above runs every generator. Registers are physical
// throughout, because avo cannot see those of the instructions that are emitted as
// bytes; encode.go has their encodings.
package main

import (
	"encoding/binary"
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of kernel.bf16Tile. A micro-kernel takes the address of the
// first.
const (
	offSteps   = 8 * iota // row steps to do
	offConfig             // shapes of the tiles, 64 bytes (AMX)
	offA                  // first tile of A
	offATile              // bytes from one row tile of A to the next
	offB                  // first tile of B
	offBTile              // bytes from one column tile of B to the next
	offK                  // tiles along the sum
	offC                  // first element of C
	offCRow               // bytes from one row of C to the next
	offInit               // what the sums start from: C, a bias, or nil for zero
	offInitRow            // bytes from one row of it to the next
	offRows               // rows of a step (AVX512_BF16)
	offMask               // lanes of the last vector (AVX512_BF16)
	offAhead              // bytes from B to what is fetched ahead (AMX)
)

// ahead is what is fetched with each tile along the sum, kernel.bf16Ahead.
const ahead = 256

// tileBytes is the size of a packed tile: 16 rows of A by 32 products, or 16 pairs of
// products by 16 columns of B.
const tileBytes = 1024

var zmm = []reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15, reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31}

// gpr are the registers with the numbers of encode.go.
var gpr = map[int]reg.GPPhysical{
	rAX: reg.RAX, rCX: reg.RCX, rDX: reg.RDX, rBX: reg.RBX, rSI: reg.RSI, rDI: reg.RDI,
	r8: reg.R8, r9: reg.R9, r10: reg.R10, r11: reg.R11,
}

// emit writes the bytes of an instruction, four, two and one at a time.
func emit(code []byte) {
	for _, d := range []struct {
		name string
		size int
	}{{"LONG", 4}, {"WORD", 2}, {"BYTE", 1}} {
		for len(code) >= d.size {
			var value Constant
			switch d.size {
			case 4:
				value = U32(binary.LittleEndian.Uint32(code))
			case 2:
				value = U16(binary.LittleEndian.Uint16(code))
			default:
				value = U8(code[0])
			}
			Instruction(&ir.Instruction{Opcode: d.name, Operands: []Op{value}})
			code = code[d.size:]
		}
	}
}

// interleave is the order that brings two rows of 16 together pair by pair.
func interleave() Mem {
	order := GLOBL("bf16Interleave", attr.RODATA|attr.NOPTR)
	for i := range 32 {
		DATA(2*i, U16(i/2+i%2*16))
	}
	return order
}

// pack generates what rounds n tiles to bfloat16. With pairs a tile is 32 rows by 16
// columns at src, the rows brought together in pairs: 16 pairs by 16 columns. The next
// tile is 16 columns further. Without, it is 16 rows by 32 columns, and the next one 32
// columns further. With transpose, the tile of 16×16 words of two values each is turned
// round. Tiles are step bytes apart in dst; rows lds floats apart in src.
func pack(name string, pairs, transpose bool, order Mem) {
	TEXT(name, NOSPLIT, "func(n int, src *float32, lds int, dst *uint16, step int)")
	Pragma("noescape")
	n, src, lds, dst, step, p := reg.RCX, reg.RSI, reg.RDX, reg.RDI, reg.R8, reg.RAX
	Load(Param("n"), n)
	Load(Param("src"), src)
	Load(Param("lds"), lds)
	Load(Param("dst"), dst)
	Load(Param("step"), step)
	SHLQ(Imm(2), lds)
	advance := 128 // bytes of a row that a tile takes
	if pairs {
		advance = 64
	}
	if pairs && !transpose {
		VMOVDQU16(order, zmm[31])
	}
	Label("tile")
	if pairs && transpose { // which needs all registers
		VMOVDQU16(order, zmm[31])
	}
	MOVQ(src, p)
	for i := range 16 {
		low, high := zmm[16+i%4*2], zmm[17+i%4*2]
		VMOVUPS(Mem{Base: p}, low)
		if pairs {
			PREFETCHT0(Mem{Base: p, Disp: 4 * advance})
			VMOVUPS(Mem{Base: p, Index: lds, Scale: 1}, high)
			PREFETCHT0(Mem{Base: p, Index: lds, Scale: 1, Disp: 4 * advance})
			LEAQ(Mem{Base: p, Index: lds, Scale: 2}, p)
		} else {
			VMOVUPS(Mem{Base: p, Disp: 64}, high)
			ADDQ(lds, p)
		}
		Comment(fmt.Sprintf("VCVTNE2PS2BF16 Z%d, Z%d, Z%d", 16+i%4*2, 17+i%4*2, i))
		emit(vcvtne2ps2bf16(i, 17+i%4*2, 16+i%4*2))
		if pairs {
			VPERMW(zmm[i], zmm[31], zmm[i])
		}
		if !transpose {
			VMOVDQU64(zmm[i], Mem{Base: dst, Disp: 64 * i})
		}
	}
	if transpose {
		for i, r := range transpose16() {
			VMOVDQU64(r, Mem{Base: dst, Disp: 64 * i})
		}
	}
	ADDQ(Imm(uint64(advance)), src)
	ADDQ(step, dst)
	DECQ(n)
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// transpose16 turns the 16×16 words of Z0 … Z15 round; it returns the registers of the
// rows of the result. Words of pairs of rows are brought together, pairs of those, and
// then the quarters of registers are dealt out.
func transpose16() [16]reg.VecPhysical {
	a, b := zmm[:16], zmm[16:]
	for i := 0; i < 16; i += 2 {
		VPUNPCKLDQ(a[i+1], a[i], b[i])
		VPUNPCKHDQ(a[i+1], a[i], b[i+1])
	}
	for i := 0; i < 16; i += 4 {
		VPUNPCKLQDQ(b[i+2], b[i], a[i])
		VPUNPCKHQDQ(b[i+2], b[i], a[i+1])
		VPUNPCKLQDQ(b[i+3], b[i+1], a[i+2])
		VPUNPCKHQDQ(b[i+3], b[i+1], a[i+3])
	}
	// Quarter L of a[4g+j] is column 4L+j of the rows 4g … 4g+3.
	const even, odd = 0x88, 0xdd // quarters of the first operand, then of the second
	for j := range 4 {
		for h := range 2 {
			VSHUFI32X4(Imm(even), a[8*h+4+j], a[8*h+j], b[8*h+j])
			VSHUFI32X4(Imm(odd), a[8*h+4+j], a[8*h+j], b[8*h+4+j])
		}
	}
	var rows [16]reg.VecPhysical
	for j := range 4 {
		VSHUFI32X4(Imm(even), b[8+j], b[j], a[j])
		VSHUFI32X4(Imm(odd), b[8+j], b[j], a[8+j])
		VSHUFI32X4(Imm(even), b[12+j], b[4+j], a[4+j])
		VSHUFI32X4(Imm(odd), b[12+j], b[4+j], a[12+j])
	}
	copy(rows[:], a)
	return rows
}

// dot generates the micro-kernel of AVX512_BF16: up to 8 rows by nt tiles of columns.
// A is half a row tile.
func dot(nt int) {
	const mr, unroll = 8, 4
	TEXT(fmt.Sprintf("bf16Dot8x%d", 16*nt), NOSPLIT, "func(t *int)")
	Pragma("noescape")
	t, rows, p, row, last := reg.RDI, reg.RCX, reg.RAX, reg.RDX, nt-1
	a, b, bTile, k, n := reg.RSI, reg.RBX, reg.R8, reg.R9, reg.R10
	Load(Param("t"), t)
	field := func(off int) Mem { return Mem{Base: t, Disp: off} }
	acc := func(i, j int) int { return i*nt + j }
	bs, brs := zmm[24:24+nt], []int{27, 28, 29, 30}
	for i := range mr * nt {
		VPXORD(zmm[i], zmm[i], zmm[i])
	}
	MOVQ(field(offRows), rows)
	KMOVW(field(offMask), reg.K1)
	MOVQ(field(offInit), p)
	TESTQ(p, p)
	JZ(LabelRef("start"))
	MOVQ(field(offInitRow), row)
	for i := range mr {
		for j := range nt {
			if m := (Mem{Base: p, Disp: 64 * j}); j == last {
				VMOVUPS_Z(m, reg.K1, zmm[acc(i, j)])
			} else {
				VMOVUPS(m, zmm[acc(i, j)])
			}
		}
		if i+1 < mr {
			CMPQ(rows, Imm(uint64(i+1)))
			JE(LabelRef("start"))
			ADDQ(row, p)
		}
	}
	Label("start")
	MOVQ(field(offA), a)
	MOVQ(field(offB), b)
	MOVQ(field(offBTile), bTile)
	MOVQ(field(offK), k)
	TESTQ(k, k)
	JZ(LabelRef("store"))
	Label("tile")
	MOVQ(U32(16/unroll), n)
	Label("pairs")
	for q := range unroll {
		for j := range nt {
			m := Mem{Base: b, Disp: 64 * q}
			if j > 0 {
				m.Index, m.Scale = bTile, uint8(j)
			}
			VMOVDQU64(m, bs[j])
		}
		for i := range mr {
			r := brs[i%len(brs)]
			VPBROADCASTD(Mem{Base: a, Disp: 64*i + 4*q}, zmm[r])
			for j := range nt {
				Comment(fmt.Sprintf("VDPBF16PS Z%d, Z%d, Z%d", 24+j, r, acc(i, j)))
				emit(vdpbf16ps(acc(i, j), r, 24+j))
			}
		}
	}
	ADDQ(Imm(4*unroll), a)
	ADDQ(U32(64*unroll), b)
	DECQ(n)
	JNZ(LabelRef("pairs"))
	ADDQ(U32(tileBytes-64), a)
	DECQ(k)
	JNZ(LabelRef("tile"))
	Label("store")
	MOVQ(field(offC), p)
	MOVQ(field(offCRow), row)
	for i := range mr {
		for j := range nt {
			if m := (Mem{Base: p, Disp: 64 * j}); j == last {
				VMOVUPS(zmm[acc(i, j)], reg.K1, m)
			} else {
				VMOVUPS(zmm[acc(i, j)], m)
			}
		}
		if i+1 < mr {
			CMPQ(rows, Imm(uint64(i+1)))
			JE(LabelRef("done"))
			ADDQ(row, p)
		}
	}
	Label("done")
	VZEROUPPER()
	RET()
}

// tiles generates the micro-kernel of AMX: steps of mt row tiles by nt column tiles.
// Tile registers 0 … 3 are C, row by row, 4 and 5 A, 6 and 7 B. The shapes are loaded
// and given up within the call, since a goroutine may go on in another thread.
func tiles(mt, nt int) {
	TEXT(fmt.Sprintf("bf16Tiles%dx%d", mt, nt), NOSPLIT, "func(t *int)")
	Pragma("noescape")
	const t, a, b, aNext, bNext, step, k, c, cRow, c1 = rDI, rSI, rBX, r8, r9, r10, rCX, rAX, rDX, r11
	Load(Param("t"), gpr[t])
	field := func(off int) Mem { return Mem{Base: gpr[t], Disp: off} }
	acc := func(i, j int) int { return 2*i + j }
	MOVQ(field(offConfig), gpr[c])
	Comment("LDTILECFG (AX)")
	emit(ldtilecfg(c))
	MOVQ(U32(64), gpr[step])
	fetch := reg.R12 // what is fetched into the level-2 cache meanwhile
	MOVQ(field(offB), fetch)
	ADDQ(field(offAhead), fetch)

	// matrix points c and c1 at the rows of the row tiles of C or of what it starts from.
	matrix := func(ptr, row int) {
		MOVQ(field(ptr), gpr[c])
		MOVQ(field(row), gpr[cRow])
		if mt > 1 {
			MOVQ(gpr[cRow], gpr[c1])
			SHLQ(Imm(4), gpr[c1])
			ADDQ(gpr[c], gpr[c1])
		}
	}
	each := func(f func(i, j, base int)) {
		for i := range mt {
			for j := range nt {
				f(i, j, []int{c, c1}[i])
			}
		}
	}
	Label("step")
	CMPQ(field(offInit), Imm(0))
	JE(LabelRef("zero"))
	matrix(offInit, offInitRow)
	each(func(i, j, base int) {
		Comment(fmt.Sprintf("TILELOADD init[%d,%d], T%d", i, j, acc(i, j)))
		emit(tileloadd(acc(i, j), base, cRow, 64*j))
	})
	JMP(LabelRef("start"))
	Label("zero")
	each(func(i, j, _ int) {
		Comment(fmt.Sprintf("TILEZERO T%d", acc(i, j)))
		emit(tilezero(acc(i, j)))
	})
	Label("start")
	MOVQ(field(offA), gpr[a])
	MOVQ(field(offB), gpr[b])
	if mt > 1 {
		MOVQ(field(offATile), gpr[aNext])
		ADDQ(gpr[a], gpr[aNext])
	}
	if nt > 1 {
		MOVQ(field(offBTile), gpr[bNext])
		ADDQ(gpr[b], gpr[bNext])
	}
	MOVQ(field(offK), gpr[k])
	TESTQ(gpr[k], gpr[k])
	JZ(LabelRef("store"))
	Label("loop")
	load := func(tile, base int) {
		Comment(fmt.Sprintf("TILELOADD T%d", tile))
		emit(tileloadd(tile, base, step, 0))
	}
	product := func(i, j int) {
		Comment(fmt.Sprintf("TDPBF16PS T%d, T%d, T%d", 6+j, 4+i, acc(i, j)))
		emit(tdpbf16ps(acc(i, j), 4+i, 6+j))
	}
	for i := 0; i < ahead; i += 64 {
		PREFETCHT1(Mem{Base: fetch, Disp: i})
	}
	ADDQ(U32(ahead), fetch)
	load(6, b)
	load(4, a)
	product(0, 0)
	if nt > 1 {
		load(7, bNext)
		product(0, 1)
	}
	if mt > 1 {
		load(5, aNext)
		for j := range nt {
			product(1, j)
		}
	}
	for i, r := range []int{a, b, aNext, bNext} {
		if i < 2 || i == 2 && mt > 1 || i == 3 && nt > 1 {
			ADDQ(U32(tileBytes), gpr[r])
		}
	}
	DECQ(gpr[k])
	JNZ(LabelRef("loop"))
	Label("store")
	matrix(offC, offCRow)
	each(func(i, j, base int) {
		Comment(fmt.Sprintf("TILESTORED T%d, C[%d,%d]", acc(i, j), i, j))
		emit(tilestored(acc(i, j), base, cRow, 64*j))
	})
	DECQ(field(offSteps))
	JZ(LabelRef("done"))
	// On to the next rows.
	next := func(ptr, distance, shift int) {
		MOVQ(field(distance), gpr[c])
		SHLQ(Imm(uint64(shift+mt-1)), gpr[c])
		ADDQ(gpr[c], field(ptr))
	}
	next(offA, offATile, 0)
	next(offC, offCRow, 4)
	CMPQ(field(offInit), Imm(0))
	JE(LabelRef("zero"))
	next(offInit, offInitRow, 4)
	JMP(LabelRef("step"))
	Label("done")
	Comment("TILERELEASE")
	emit(tilerelease())
	RET()
}

// peaks generate n rounds of independent products, for benchmarks to compare with.
func peaks() {
	TEXT("peakBF16Dot", NOSPLIT, "func(n int)")
	Load(Param("n"), reg.RCX)
	for i := range 26 {
		VPXORD(zmm[i], zmm[i], zmm[i])
	}
	Label("loop")
	for i := range 24 {
		emit(vdpbf16ps(i, 24, 25))
	}
	DECQ(reg.RCX)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()

	TEXT("peakBF16Tiles", NOSPLIT, "func(n int, config *uint8)")
	Pragma("noescape")
	Load(Param("n"), reg.RCX)
	Load(Param("config"), reg.RDI)
	emit(ldtilecfg(rDI))
	for i := range 8 {
		emit(tilezero(i))
	}
	Label("loop")
	for i := range 2 {
		for j := range 2 {
			emit(tdpbf16ps(2*i+j, 4+i, 6+j))
		}
	}
	DECQ(reg.RCX)
	JNZ(LabelRef("loop"))
	emit(tilerelease())
	RET()
}

func main() {
	ConstraintExpr("amd64,!noasm")
	order := interleave()
	pack("packBF16Rows", false, false, order)
	pack("packBF16RowsT", false, true, order)
	pack("packBF16Pairs", true, false, order)
	pack("packBF16PairsT", true, true, order)
	for nt := 1; nt <= 3; nt++ {
		dot(nt)
	}
	for _, mt := range []int{1, 2} {
		for _, nt := range []int{1, 2} {
			tiles(mt, nt)
		}
	}
	peaks()
	Generate()
}
