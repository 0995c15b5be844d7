package main

import "fmt"

// The instructions that neither avo nor Go's assembler know, as bytes.
//
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2,
// sections 2.3 (VEX), 2.7 (EVEX) and the pages of the instructions.

// prefix is the mandatory prefix of an opcode, as VEX and EVEX encode it.
type prefix byte

const (
	none prefix = iota
	p66
	pF3
	pF2
)

const map0F38 = 2 // the opcodes behind 0F 38

// inverted returns bit i of n inverted, as the prefixes hold the high bits of registers.
func inverted(n, i int) byte { return byte(n>>i&1) ^ 1 }

// evex512 encodes an instruction of three ZMM registers, dst = op(src1, src2), with an
// opcode behind 0F 38 and W = 0:
//
//	62 | R̄ X̄ B̄ R̄' 0 m m m | W v̄ v̄ v̄ v̄ 1 p p | z L' L b V̄' a a a | opcode | 11 reg r/m
//
// dst is R'R:reg, src1 is V'vvvv and src2 is XB:r/m; L'L = 10 is 512 bits.
func evex512(p prefix, opcode byte, dst, src1, src2 int) []byte {
	for _, r := range []int{dst, src1, src2} {
		if r < 0 || r > 31 {
			panic(fmt.Sprintf("no register zmm%d", r))
		}
	}
	return []byte{
		0x62,
		inverted(dst, 3)<<7 | inverted(src2, 4)<<6 | inverted(src2, 3)<<5 | inverted(dst, 4)<<4 | map0F38,
		byte(^src1&15)<<3 | 1<<2 | byte(p),
		2<<5 | inverted(src1, 4)<<3,
		opcode,
		3<<6 | byte(dst&7)<<3 | byte(src2&7),
	}
}

// vdpbf16ps adds to each float32 of dst the two products of the pairs of bfloat16 in a
// and b.
func vdpbf16ps(dst, a, b int) []byte { return evex512(pF3, 0x52, dst, a, b) }

// vcvtne2ps2bf16 rounds 16 float32 of high and 16 of low to the halves of dst.
func vcvtne2ps2bf16(dst, high, low int) []byte { return evex512(pF2, 0x72, dst, high, low) }

// vex encodes the prefix of a tile instruction, 128 bits, W = 0, behind 0F 38:
//
//	C4 | R̄ X̄ B̄ m m m m m | W v̄ v̄ v̄ v̄ L p p
//
// Tiles have numbers below 8, so R is never needed.
func vex(p prefix, vvvv, index, base int) []byte {
	return []byte{0xC4, 1<<7 | inverted(index, 3)<<6 | inverted(base, 3)<<5 | map0F38, byte(^vvvv&15)<<3 | byte(p)}
}

func checkTile(tiles ...int) {
	for _, t := range tiles {
		if t < 0 || t > 7 {
			panic(fmt.Sprintf("no register tmm%d", t))
		}
	}
}

// Numbers of general registers in an encoding. SP, BP and those 8 above
// them are not used: as a base they need other encodings.
const (
	rAX = iota
	rCX
	rDX
	rBX
	_
	_
	rSI
	rDI
	r8
	r9
	r10
	r11
)

// ldtilecfg loads the shapes of the tiles from [base].
func ldtilecfg(base int) []byte {
	if base&7 == 4 || base&7 == 5 {
		panic(fmt.Sprintf("register %d needs more than a ModRM byte", base))
	}
	return append(vex(none, 0, 0, base), 0x49, byte(base&7))
}

// tilerelease gives the tiles up.
func tilerelease() []byte { return append(vex(none, 0, 0, 0), 0x49, 0xC0) }

// tilezero clears a tile.
func tilezero(tile int) []byte {
	checkTile(tile)
	return append(vex(pF2, 0, 0, 0), 0x49, 3<<6|byte(tile)<<3)
}

// sib encodes a tile in ModRM.reg and the memory [base + index + disp], whose index is
// the distance of two rows of the tile.
func sib(opcode byte, tile, base, index, disp int) []byte {
	checkTile(tile)
	if base&7 == 5 || index == 4 || disp < -128 || disp > 127 {
		panic(fmt.Sprintf("no address %d + %d + %d", base, index, disp))
	}
	code := []byte{opcode, byte(tile)<<3 | 4, byte(index&7)<<3 | byte(base&7)}
	if disp != 0 {
		code[1] |= 1 << 6
		code = append(code, byte(disp))
	}
	return code
}

// tileloadd reads the rows of a tile from base + disp, index bytes apart.
func tileloadd(tile, base, index, disp int) []byte {
	return append(vex(pF2, 0, index, base), sib(0x4B, tile, base, index, disp)...)
}

// tilestored writes the rows of a tile.
func tilestored(tile, base, index, disp int) []byte {
	return append(vex(pF3, 0, index, base), sib(0x4B, tile, base, index, disp)...)
}

// tdpbf16ps adds to the float32 of dst the products of the rows of a, pairs of bfloat16,
// with the columns of b, whose rows are pairs of rows.
func tdpbf16ps(dst, a, b int) []byte {
	checkTile(dst, a, b)
	return append(vex(pF3, b, 0, 0), 0x5C, 3<<6|byte(dst)<<3|byte(a))
}
