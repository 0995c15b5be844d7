package main

import "fmt"

// Go's assembler knows few of the vector instructions on floats. The others are
// written as words, each with the instruction in the comment as GNU tools print it.
// Operands are in the order of the architecture manual (Arm ARM, C7.2): the
// destination first.

// V is a vector register.
type V uint32

// R is a general register.
type R uint32

// The arrangements of a vector register.
const (
	s4 = "4s" // four float32 or uint32
	s2 = "2s"
	d2 = "2d" // two float64
)

// instruction is one that has its own word.
type instruction struct {
	name        string
	word        uint32 // with all registers 0
	to, from    string // arrangements of the result and of the operands
	operands    int    // source registers
	scalar      bool   // the result is a scalar
	scalarWidth string
}

// The instructions in use.
var (
	fadd  = instruction{name: "fadd", word: 0x4e20d400, to: s4, from: s4, operands: 2}
	fsub  = instruction{name: "fsub", word: 0x4ea0d400, to: s4, from: s4, operands: 2}
	fmul  = instruction{name: "fmul", word: 0x6e20dc00, to: s4, from: s4, operands: 2}
	fdiv  = instruction{name: "fdiv", word: 0x6e20fc00, to: s4, from: s4, operands: 2}
	fmax  = instruction{name: "fmax", word: 0x4e20f400, to: s4, from: s4, operands: 2}
	fmin  = instruction{name: "fmin", word: 0x4ea0f400, to: s4, from: s4, operands: 2}
	fmla  = instruction{name: "fmla", word: 0x4e20cc00, to: s4, from: s4, operands: 2}
	fmls  = instruction{name: "fmls", word: 0x4ea0cc00, to: s4, from: s4, operands: 2}
	faddp = instruction{name: "faddp", word: 0x6e20d400, to: s4, from: s4, operands: 2}

	fadd64 = instruction{name: "fadd", word: 0x4e60d400, to: d2, from: d2, operands: 2}
	fmla64 = instruction{name: "fmla", word: 0x4e60cc00, to: d2, from: d2, operands: 2}

	fabs   = instruction{name: "fabs", word: 0x4ea0f800, to: s4, from: s4, operands: 1}
	fneg   = instruction{name: "fneg", word: 0x6ea0f800, to: s4, from: s4, operands: 1}
	fsqrt  = instruction{name: "fsqrt", word: 0x6ea1f800, to: s4, from: s4, operands: 1}
	frintn = instruction{name: "frintn", word: 0x4e218800, to: s4, from: s4, operands: 1}
	fcvtzs = instruction{name: "fcvtzs", word: 0x4ea1b800, to: s4, from: s4, operands: 1}
	fcvtl  = instruction{name: "fcvtl", word: 0x0e617800, to: d2, from: s2, operands: 1}
	fcvtl2 = instruction{name: "fcvtl2", word: 0x4e617800, to: d2, from: s4, operands: 1}

	fmaxv   = instruction{name: "fmaxv", word: 0x6e30f800, from: s4, operands: 1, scalar: true, scalarWidth: "s"}
	faddps  = instruction{name: "faddp", word: 0x7e30d800, from: s2, operands: 1, scalar: true, scalarWidth: "s"}
	faddp64 = instruction{name: "faddp", word: 0x7e70d800, from: d2, operands: 1, scalar: true, scalarWidth: "d"}

	mul  = instruction{name: "mul", word: 0x4ea09c00, to: s4, from: s4, operands: 2}
	cmhs = instruction{name: "cmhs", word: 0x6ea03c00, to: s4, from: s4, operands: 2}
)

// encode gives the word and the text of op with result d and sources n and m.
func encode(op instruction, d V, sources ...V) (word uint32, text string) {
	if len(sources) != op.operands {
		panic(fmt.Sprintf("%s takes %d registers, not %d", op.name, op.operands, len(sources)))
	}
	word = op.word | register(d)
	if op.scalar {
		text = fmt.Sprintf("%s %s%d", op.name, op.scalarWidth, d)
	} else {
		text = fmt.Sprintf("%s v%d.%s", op.name, d, op.to)
	}
	for i, v := range sources {
		word |= register(v) << []int{5, 16}[i]
		text += fmt.Sprintf(", v%d.%s", v, op.from)
	}
	return word, text
}

func register(v V) uint32 {
	if v > 31 {
		panic(fmt.Sprintf("there is no v%d", v))
	}
	return uint32(v)
}

func general(r R) uint32 {
	if r > 30 {
		panic(fmt.Sprintf("there is no x%d", r))
	}
	return uint32(r)
}

// fmlaLane is d += n * m[lane].
func fmlaLane(d, n, m V, lane int) (word uint32, text string) {
	if lane < 0 || lane > 3 {
		panic(fmt.Sprintf("there is no lane %d", lane))
	}
	l := uint32(lane)
	word = 0x4f801000 | register(m)<<16 | register(n)<<5 | register(d) | l&1<<21 | l>>1<<11
	return word, fmt.Sprintf("fmla v%d.4s, v%d.4s, v%d.s[%d]", d, n, m, lane)
}

// sshr shifts the integers of n right by shift bits with their signs.
func sshr(d, n V, shift int) (word uint32, text string) {
	if shift < 1 || shift > 32 {
		panic(fmt.Sprintf("shift by %d", shift))
	}
	return 0x4f000400 | uint32(64-shift)<<16 | register(n)<<5 | register(d), fmt.Sprintf("sshr v%d.4s, v%d.4s, #%d", d, n, shift)
}

// ldrQ loads d from base + index, in bytes.
func ldrQ(d V, base, index R) (word uint32, text string) {
	return 0x3ce06800 | general(index)<<16 | general(base)<<5 | register(d), fmt.Sprintf("ldr q%d, [x%d, x%d]", d, base, index)
}

// strQ stores d to base + index, in bytes.
func strQ(d V, base, index R) (word uint32, text string) {
	return 0x3ca06800 | general(index)<<16 | general(base)<<5 | register(d), fmt.Sprintf("str q%d, [x%d, x%d]", d, base, index)
}
