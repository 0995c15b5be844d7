package main

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
)

// output collects the assembly, the declarations and the constants.
type output struct {
	asm, stubs bytes.Buffer
	constants  []uint32 // each fills a vector
}

// constantTable is the symbol of the constants.
const constantTable = "neonConstants<>"

// constant is the offset of the vector of b in the table.
func (o *output) constant(b uint32) int {
	i := slices.Index(o.constants, b)
	if i < 0 {
		i = len(o.constants)
		o.constants = append(o.constants, b)
	}
	return i * 16
}

// table writes the constants.
func (o *output) table() {
	if len(o.constants) == 0 {
		return
	}
	fmt.Fprintln(&o.asm)
	for i, b := range o.constants {
		for lane := range 4 {
			fmt.Fprintf(&o.asm, "DATA %s+%d(SB)/4, $0x%08x\n", constantTable, i*16+lane*4, b)
		}
	}
	fmt.Fprintf(&o.asm, "GLOBL %s(SB), RODATA|NOPTR, $%d\n", constantTable, len(o.constants)*16)
}

// parameter is a value in the frame: a parameter, or a result.
type parameter struct {
	name, typ string
	offset    int
}

// sizes of the types that signatures may have.
var sizes = map[string]int{"[]float32": 24, "[]float64": 24, "int": 8, "*int": 8, "*float32": 8, "float64": 8, "float32": 4, "uint32": 4}

// function is one function in the making. It has no frame and calls nothing. R16 and
// R17 are the linker's, R18 the system's, R27 the assembler's, and those above Go's.
type function struct {
	out      *output
	name     string
	params   []parameter
	results  []parameter
	vectors  []V // that are free
	generals []R
	table    *R // of the constants
	prefix   string
}

// newFunction begins a function with a signature such as
// "func(y, x []float32, alpha float32) float64".
func newFunction(o *output, name, signature string) *function {
	f := &function{out: o, name: name}
	in, results, _ := strings.Cut(strings.TrimPrefix(signature, "func("), ")")
	size := 0
	f.params = layout(in, &size)
	args := size
	if results = strings.Trim(results, " ()"); results != "" {
		size = (size + 7) &^ 7
		if !strings.Contains(results, " ") {
			results = "ret " + results
		}
		f.results = layout(results, &size)
		args = size
	}
	for i := V(0); i < 32; i++ {
		f.vectors = append(f.vectors, i)
	}
	for i := R(0); i <= 26; i++ {
		if i < 16 || i > 18 {
			f.generals = append(f.generals, i)
		}
	}
	fmt.Fprintf(&o.asm, "\n// %s\nTEXT ·%s(SB), NOSPLIT, $0-%d\n", strings.Replace(signature, "func", "func "+name, 1), name, args)
	fmt.Fprintf(&o.stubs, "\n//go:noescape\nfunc %s%s\n", name, strings.TrimPrefix(signature, "func"))
	return f
}

// layout places "a, b []float32, n int" one after the other, from *size on.
func layout(list string, size *int) []parameter {
	var ps []parameter
	named := 0
	for _, item := range strings.Split(list, ",") {
		name, typ, ok := strings.Cut(strings.TrimSpace(item), " ")
		ps = append(ps, parameter{name: name})
		if !ok {
			continue
		}
		n, known := sizes[typ]
		if !known {
			panic("type " + typ)
		}
		for ; named < len(ps); named++ {
			align := min(n, 8)
			*size = (*size + align - 1) / align * align
			ps[named].typ, ps[named].offset = typ, *size
			*size += n
		}
	}
	return ps
}

func (f *function) param(name string) parameter {
	for _, p := range append(f.params, f.results...) {
		if p.name == name {
			return p
		}
	}
	panic(f.name + " has no " + name)
}

// line writes an instruction.
func (f *function) line(format string, args ...any) {
	fmt.Fprintf(&f.out.asm, "\t"+format+"\n", args...)
}

// label writes a label.
func (f *function) label(name string) { fmt.Fprintf(&f.out.asm, "%s:\n", f.prefix+name) }

// word writes an instruction that Go's assembler lacks.
func (f *function) word(word uint32, text string) { f.line("WORD $0x%08x // %s", word, text) }

// do writes op with result d.
func (f *function) do(op instruction, d V, sources ...V) { f.word(encode(op, d, sources...)) }

func (f *function) ret() { f.line("RET") }

// vec takes a free vector register.
func (f *function) vec() V {
	if len(f.vectors) == 0 {
		panic(f.name + ": no vector register is left")
	}
	v := f.vectors[0]
	f.vectors = f.vectors[1:]
	return v
}

// vecs takes n free vector registers.
func (f *function) vecs(n int) []V {
	vs := make([]V, n)
	for i := range vs {
		vs[i] = f.vec()
	}
	return vs
}

// free gives registers back.
func (f *function) free(vs ...V) {
	f.vectors = append(slices.Clone(vs), f.vectors...)
}

// scope gives all registers back that body takes.
func (f *function) scope(body func()) {
	vectors, generals := slices.Clone(f.vectors), slices.Clone(f.generals)
	body()
	f.vectors, f.generals = vectors, generals
}

// gp takes a free general register.
func (f *function) gp() R {
	if len(f.generals) == 0 {
		panic(f.name + ": no general register is left")
	}
	r := f.generals[0]
	f.generals = f.generals[1:]
	return r
}

// ptr loads the address of a slice's elements.
func (f *function) ptr(name string) R {
	r := f.gp()
	f.line("MOVD %s_base+%d(FP), R%d", name, f.param(name).offset, r)
	return r
}

// length loads the length of a slice.
func (f *function) length(name string) R {
	r := f.gp()
	f.line("MOVD %s_len+%d(FP), R%d", name, f.param(name).offset+8, r)
	return r
}

// general loads an integer or a pointer.
func (f *function) general(name string) R {
	r := f.gp()
	f.line("MOVD %s+%d(FP), R%d", name, f.param(name).offset, r)
	return r
}

// scalar loads a value of four bytes into every lane.
func (f *function) scalar(name string) V {
	v := f.vec()
	f.line("FMOVS %s+%d(FP), F%d", name, f.param(name).offset, v)
	f.line("VDUP V%d.S[0], V%d.S4", v, v)
	return v
}

// result stores the lowest lane of v.
func (f *function) result(name string, v V) {
	p := f.param(name)
	move := map[string]string{"float32": "FMOVS", "float64": "FMOVD"}[p.typ]
	f.line("%s F%d, %s+%d(FP)", move, v, p.name, p.offset)
}

// zero clears v.
func (f *function) zero(v V) { f.line("VEOR V%d.B16, V%d.B16, V%d.B16", v, v, v) }

// zeros are n cleared registers.
func (f *function) zeros(n int) []V {
	vs := f.vecs(n)
	for _, v := range vs {
		f.zero(v)
	}
	return vs
}

// mov copies n to d.
func (f *function) mov(d, n V) { f.line("VMOV V%d.B16, V%d.B16", n, d) }

// bits loads a constant of 32 bits into every lane of a new register. The first use
// has to come before the loop, as it loads the table's address.
func (f *function) bits(b uint32) V {
	if f.table == nil {
		r := f.gp()
		f.line("MOVD $%s(SB), R%d", constantTable, r)
		f.table = &r
	}
	v := f.vec()
	f.line("FMOVQ %d(R%d), F%d", f.out.constant(b), *f.table, v)
	return v
}

// float is bits of a float32.
func (f *function) float(x float64) V { return f.bits(math.Float32bits(float32(x))) }
