// Command gemm generates the assembly of the matrix products: the micro-kernels,
// the transposing pack and the loops that measure the peak.
//
//	go run ./gemm -out ../gemm_amd64.s -stubs ../gemm_stubs_amd64.go -pkg kernel
//
// generate.sh in the folder above runs every generator.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "relsim/kernel/asm/common"
)

// vectors returns the registers of the given size in bytes.
func vectors(size int) []reg.VecPhysical {
	if size == 64 {
		return []reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15, reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31}
	}
	return []reg.VecPhysical{reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7, reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15, reg.Y16, reg.Y17, reg.Y18, reg.Y19, reg.Y20, reg.Y21, reg.Y22, reg.Y23, reg.Y24, reg.Y25, reg.Y26, reg.Y27, reg.Y28, reg.Y29, reg.Y30, reg.Y31}
}

// kernel is one micro-kernel: mr rows of nv vectors of the given size in bytes, the
// last vector masked or not, with AVX-512 or with AVX2 instructions.
type kernel struct {
	name   string
	size   int
	mr, nv int
	masked bool
	avx512 bool
}

func (k kernel) generate() {
	TEXT(k.name, NOSPLIT, "func(t *int)")
	Pragma("noescape")
	v := vectors(k.size)
	acc := func(i, j int) reg.VecPhysical { return v[i*k.nv+j] }
	var bs, brs []reg.VecPhysical // columns of B, broadcast rows of A
	var maskReg reg.VecPhysical
	if k.avx512 {
		bs, brs = v[24:24+k.nv], v[24+k.nv:min(32, 24+k.nv+4)]
	} else {
		bs, brs, maskReg = v[12:12+k.nv], v[15:16], v[15]
	}
	last := k.nv - 1

	t := Load(Param("t"), GP64())
	field := func(off int) Mem { return Mem{Base: t, Disp: off} }
	load := func(off int) reg.Register { r := GP64(); MOVQ(field(off), r); return r }
	aRow, aStep, bStep := load(OffARow), load(OffAStep), load(OffBStep)
	maskPtr := reg.Register(nil)
	if k.masked {
		if k.avx512 {
			KMOVW(field(OffMask), reg.K1)
		} else {
			maskPtr = load(OffMask)
		}
	}
	// loadMask brings the AVX2 mask into the register that broadcasts use.
	loadMask := func() {
		if k.masked && !k.avx512 {
			VMOVUPS(Mem{Base: maskPtr}, maskReg)
		}
	}
	loadVec := func(m Mem, j int, dst reg.VecPhysical) {
		switch {
		case !k.masked || j != last:
			VMOVUPS(m, dst)
		case k.avx512:
			VMOVUPS_Z(m, reg.K1, dst)
		default:
			VMASKMOVPS(m, maskReg, dst)
		}
	}

	Label("tile")
	p, q := GP64(), GP64()
	crow := load(OffCRow)
	MOVQ(field(OffC), p)
	ADDQ(field(OffCNext), p)
	for i := range k.mr { // the next tile reads and writes there
		for d := 0; d < k.nv*k.size; d += 64 {
			PREFETCHT0(Mem{Base: p, Disp: d})
		}
		if i+1 < k.mr {
			ADDQ(crow, p)
		}
	}
	MOVQ(field(OffInit), p)
	TESTQ(p, p)
	JZ(LabelRef("zero"))
	MOVQ(field(OffInitRow), q)
	loadMask()
	for i := range k.mr {
		for j := range k.nv {
			loadVec(Mem{Base: p, Disp: j * k.size}, j, acc(i, j))
		}
		if i+1 < k.mr {
			ADDQ(q, p)
		}
	}
	JMP(LabelRef("start"))
	Label("zero")
	for i := range k.mr {
		for j := range k.nv {
			if k.avx512 {
				VPXORD(acc(i, j), acc(i, j), acc(i, j))
			} else {
				VXORPS(acc(i, j), acc(i, j), acc(i, j))
			}
		}
	}
	Label("start")

	// Row i is at base[i/3] + aRow*{0,1,2}, or two bases before with aRow*4 where that
	// spares a base: rows 0 1 2 | 3 | 4 = 0+4 | 5 = 3+2 | 6 | 7 = 3+4.
	b := load(OffB)
	var bases []reg.Register
	for i := 0; i < k.mr && i <= 6; i += 3 {
		if i == 3 && k.mr < 4 || i == 6 && k.mr < 7 {
			break
		}
		r := GP64()
		if i == 0 {
			MOVQ(field(OffA), r)
		} else {
			LEAQ(Mem{Base: bases[i/3-1], Index: aRow, Scale: 2}, r)
			ADDQ(aRow, r)
		}
		bases = append(bases, r)
	}
	row := func(i int) Mem {
		switch i {
		case 0, 3, 6:
			return Mem{Base: bases[i/3]}
		case 1, 2:
			return Mem{Base: bases[0], Index: aRow, Scale: uint8(i)}
		case 4:
			return Mem{Base: bases[0], Index: aRow, Scale: 4}
		case 5:
			return Mem{Base: bases[1], Index: aRow, Scale: 2}
		case 7:
			return Mem{Base: bases[1], Index: aRow, Scale: 4}
		}
		panic("more than 8 rows")
	}
	step := func() {
		loadMask()
		for j := range k.nv {
			loadVec(Mem{Base: b, Disp: j * k.size}, j, bs[j])
		}
		ADDQ(bStep, b)
		for i := range k.mr {
			r := brs[i%len(brs)]
			VBROADCASTSS(row(i), r)
			for j := range k.nv {
				VFMADD231PS(r, bs[j], acc(i, j))
			}
		}
		for _, r := range bases {
			ADDQ(aStep, r)
		}
	}
	segs, n := load(OffSegs), GP64()
	TESTQ(segs, segs)
	JZ(LabelRef("store"))
	Label("segment")
	MOVQ(field(OffKC), n)
	SHRQ(Imm(1), n)
	JZ(LabelRef("odd"))
	Label("loop")
	step()
	step()
	DECQ(n)
	JNZ(LabelRef("loop"))
	Label("odd")
	MOVQ(field(OffKC), n)
	TESTQ(U32(1), n)
	JZ(LabelRef("next"))
	step()
	Label("next")
	for _, r := range bases {
		ADDQ(field(OffASeg), r)
	}
	ADDQ(field(OffBSeg), b)
	DECQ(segs)
	JNZ(LabelRef("segment"))

	Label("store")
	MOVQ(field(OffC), p)
	loadMask()
	for i := range k.mr {
		for j := range k.nv {
			m := Mem{Base: p, Disp: j * k.size}
			switch {
			case !k.masked || j != last:
				VMOVUPS(acc(i, j), m)
			case k.avx512:
				VMOVUPS(acc(i, j), reg.K1, m)
			default:
				VMASKMOVPS(acc(i, j), maskReg, m)
			}
		}
		if i+1 < k.mr {
			ADDQ(crow, p)
		}
	}
	DECQ(field(OffTiles))
	JZ(LabelRef("done"))
	for _, f := range [][2]int{{OffANext, OffA}, {OffCNext, OffC}, {OffInitNext, OffInit}} {
		MOVQ(field(f[0]), p)
		ADDQ(p, field(f[1]))
	}
	JMP(LabelRef("tile"))
	Label("done")
	VZEROUPPER()
	RET()
}

// packed generates the micro-kernel of whole tiles of 8 by 48 whose operands are both packed: A in columns of 8, B in
// rows of 48. Their distances are known, so that the loop needs no addition for each row of B and each base of A: those
// would compete with the multiply-adds for their ports.
func packed() {
	TEXT("gemm512Packed8x48", NOSPLIT, "func(t *int)")
	Pragma("noescape")
	const mr, nv, unroll = 8, 3, 4
	v := vectors(64)
	acc := func(i, j int) reg.VecPhysical { return v[i*nv+j] }
	bs, brs := v[24:27], v[27:32]
	t := Load(Param("t"), GP64())
	field := func(off int) Mem { return Mem{Base: t, Disp: off} }
	a, b, c, n, crow, q := GP64(), GP64(), GP64(), GP64(), GP64(), GP64()

	Label("tile")
	MOVQ(field(OffCRow), crow)
	MOVQ(field(OffC), c)
	ADDQ(field(OffCNext), c)
	for i := range mr { // the next tile reads and writes there
		for d := 0; d < nv*64; d += 64 {
			PREFETCHT0(Mem{Base: c, Disp: d})
		}
		if i+1 < mr {
			ADDQ(crow, c)
		}
	}
	MOVQ(field(OffInit), c)
	TESTQ(c, c)
	JZ(LabelRef("zero"))
	MOVQ(field(OffInitRow), q)
	for i := range mr {
		for j := range nv {
			VMOVUPS(Mem{Base: c, Disp: 64 * j}, acc(i, j))
		}
		if i+1 < mr {
			ADDQ(q, c)
		}
	}
	JMP(LabelRef("start"))
	Label("zero")
	for i := range mr * nv {
		VPXORD(v[i], v[i], v[i])
	}
	Label("start")
	MOVQ(field(OffA), a)
	MOVQ(field(OffB), b)
	step := func(k int) {
		for j := range nv {
			VMOVUPS(Mem{Base: b, Disp: (k*nv + j) * 64}, bs[j])
		}
		for i := range mr {
			r := brs[i%len(brs)]
			VBROADCASTSS(Mem{Base: a, Disp: (k*mr + i) * 4}, r)
			for j := range nv {
				VFMADD231PS(r, bs[j], acc(i, j))
			}
		}
	}
	MOVQ(field(OffKC), n)
	SHRQ(Imm(2), n)
	JZ(LabelRef("rest"))
	Label("loop")
	for k := range unroll {
		step(k)
	}
	ADDQ(Imm(unroll*mr*4), a)
	ADDQ(U32(unroll*nv*64), b)
	DECQ(n)
	JNZ(LabelRef("loop"))
	Label("rest")
	MOVQ(field(OffKC), n)
	ANDQ(Imm(unroll-1), n)
	JZ(LabelRef("store"))
	Label("one")
	step(0)
	ADDQ(Imm(mr*4), a)
	ADDQ(U32(nv*64), b)
	DECQ(n)
	JNZ(LabelRef("one"))

	Label("store")
	MOVQ(field(OffC), c)
	for i := range mr {
		for j := range nv {
			VMOVUPS(acc(i, j), Mem{Base: c, Disp: 64 * j})
		}
		if i+1 < mr {
			ADDQ(crow, c)
		}
	}
	DECQ(field(OffTiles))
	JZ(LabelRef("done"))
	for _, f := range [][2]int{{OffANext, OffA}, {OffCNext, OffC}, {OffInitNext, OffInit}} {
		MOVQ(field(f[0]), q)
		ADDQ(q, field(f[1]))
	}
	JMP(LabelRef("tile"))
	Label("done")
	VZEROUPPER()
	RET()
}

// packT writes a (4, k) block transposed: dst[q*ldd+i] = src[i*lds+q]. Distances in
// floats.
func packT() {
	TEXT("packT4", NOSPLIT, "func(k int, src *float32, lds int, dst *float32, ldd int)")
	Pragma("noescape")
	x, y := []reg.VecPhysical{reg.X0, reg.X1, reg.X2, reg.X3, reg.X4, reg.X5, reg.X6, reg.X7, reg.X8, reg.X9, reg.X10, reg.X11}, vectors(32)
	k, s, lds := Load(Param("k"), GP64()), Load(Param("src"), GP64()), Load(Param("lds"), GP64())
	d, ldd := Load(Param("dst"), GP64()), Load(Param("ldd"), GP64())
	SHLQ(Imm(2), lds)
	SHLQ(Imm(2), ldd)
	s2, q, d4, ldd3 := GP64(), GP64(), GP64(), GP64()
	LEAQ(Mem{Base: s, Index: lds, Scale: 2}, s2)
	LEAQ(Mem{Base: ldd, Index: ldd, Scale: 2}, ldd3)
	MOVQ(k, q)
	SHRQ(Imm(3), q)
	JZ(LabelRef("rest"))
	Label("loop")
	VMOVUPS(Mem{Base: s}, y[0])
	VMOVUPS(Mem{Base: s, Index: lds, Scale: 1}, y[1])
	VMOVUPS(Mem{Base: s2}, y[2])
	VMOVUPS(Mem{Base: s2, Index: lds, Scale: 1}, y[3])
	VUNPCKLPS(y[1], y[0], y[4])
	VUNPCKHPS(y[1], y[0], y[5])
	VUNPCKLPS(y[3], y[2], y[6])
	VUNPCKHPS(y[3], y[2], y[7])
	VUNPCKLPD(y[6], y[4], y[8])
	VUNPCKHPD(y[6], y[4], y[9])
	VUNPCKLPD(y[7], y[5], y[10])
	VUNPCKHPD(y[7], y[5], y[11])
	LEAQ(Mem{Base: d, Index: ldd, Scale: 4}, d4)
	rows := func(base reg.Register) [4]Mem {
		return [4]Mem{{Base: base}, {Base: base, Index: ldd, Scale: 1}, {Base: base, Index: ldd, Scale: 2}, {Base: base, Index: ldd3, Scale: 1}}
	}
	for i, m := range rows(d) {
		VMOVUPS(x[8+i], m)
	}
	for i, m := range rows(d4) {
		VEXTRACTF128(Imm(1), y[8+i], m)
	}
	ADDQ(Imm(32), s)
	ADDQ(Imm(32), s2)
	LEAQ(Mem{Base: d4, Index: ldd, Scale: 4}, d)
	DECQ(q)
	JNZ(LabelRef("loop"))
	Label("rest")
	ANDQ(Imm(7), k)
	JZ(LabelRef("done"))
	Label("one")
	VMOVSS(Mem{Base: s}, x[0])
	VINSERTPS(Imm(0x10), Mem{Base: s, Index: lds, Scale: 1}, x[0], x[0])
	VINSERTPS(Imm(0x20), Mem{Base: s2}, x[0], x[0])
	VINSERTPS(Imm(0x30), Mem{Base: s2, Index: lds, Scale: 1}, x[0], x[0])
	VMOVUPS(x[0], Mem{Base: d})
	ADDQ(Imm(4), s)
	ADDQ(Imm(4), s2)
	ADDQ(ldd, d)
	DECQ(k)
	JNZ(LabelRef("one"))
	Label("done")
	VZEROUPPER()
	RET()
}

// packCopy copies k rows of width floats: dst[q*ldd+i] = src[q*lds+i].
func packCopy(width int) {
	TEXT(fmt.Sprintf("packCopy%d", width), NOSPLIT, "func(k int, src *float32, lds int, dst *float32, ldd int)")
	Pragma("noescape")
	v := []reg.VecPhysical{reg.X0, reg.X1, reg.X2, reg.X3}
	size := 4
	if width >= 8 {
		v, size = vectors(32), 8
	}
	k, s, lds := Load(Param("k"), GP64()), Load(Param("src"), GP64()), Load(Param("lds"), GP64())
	d, ldd := Load(Param("dst"), GP64()), Load(Param("ldd"), GP64())
	SHLQ(Imm(2), lds)
	SHLQ(Imm(2), ldd)
	row := func(v []reg.VecPhysical) {
		for i := range width / size {
			VMOVUPS(Mem{Base: s, Disp: i * size * 4}, v[i])
		}
		ADDQ(lds, s)
		for i := range width / size {
			VMOVUPS(v[i], Mem{Base: d, Disp: i * size * 4})
		}
		ADDQ(ldd, d)
	}
	q := GP64()
	MOVQ(k, q)
	SHRQ(Imm(1), q)
	JZ(LabelRef("rest"))
	Label("loop")
	row(v)
	row(v[width/size:])
	DECQ(q)
	JNZ(LabelRef("loop"))
	Label("rest")
	ANDQ(Imm(1), k)
	JZ(LabelRef("done"))
	row(v)
	Label("done")
	VZEROUPPER()
	RET()
}

// prefetchRows fetches n rows of cols floats, ld floats apart, into the level-2 cache.
func prefetchRows() {
	TEXT("prefetchRowsAVX2", NOSPLIT, "func(n int, x *float32, ld int, cols int)")
	Pragma("noescape")
	n, x, ld, cols := Load(Param("n"), GP64()), Load(Param("x"), GP64()), Load(Param("ld"), GP64()), Load(Param("cols"), GP64())
	SHLQ(Imm(2), ld)
	SHLQ(Imm(2), cols)
	DECQ(cols) // the offset of the last byte
	i := GP64()
	Label("row")
	XORQ(i, i)
	Label("line")
	PREFETCHT1(Mem{Base: x, Index: i, Scale: 1})
	ADDQ(Imm(64), i)
	CMPQ(i, cols)
	JLT(LabelRef("line"))
	PREFETCHT1(Mem{Base: x, Index: cols, Scale: 1})
	ADDQ(ld, x)
	DECQ(n)
	JNZ(LabelRef("row"))
	RET()
}

// gatherRuns copies n runs of 8 to 16 values, run i from src[i*from] to dst[i*to].
func gatherRuns() {
	TEXT("gatherRunsAVX2", NOSPLIT, "func(n int, run int, src *float32, from int, dst *float32, to int)")
	Pragma("noescape")
	n, run := Load(Param("n"), GP64()), Load(Param("run"), GP64())
	s, from := Load(Param("src"), GP64()), Load(Param("from"), GP64())
	d, to := Load(Param("dst"), GP64()), Load(Param("to"), GP64())
	SHLQ(Imm(2), from)
	SHLQ(Imm(2), to)
	y := vectors(32)
	Label("loop")
	last := func(base reg.Register) Mem { return Mem{Base: base, Index: run, Scale: 4, Disp: -32} }
	VMOVUPS(Mem{Base: s}, y[0])
	VMOVUPS(last(s), y[1])
	VMOVUPS(y[0], Mem{Base: d})
	VMOVUPS(y[1], last(d))
	ADDQ(from, s)
	ADDQ(to, d)
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// interleave brings 4n values of three planes together: dst[3*i+c] = src[c*plane+i].
// It writes one value more.
func interleave() {
	TEXT("interleave3AVX2", NOSPLIT, "func(n int, src *float32, plane int, dst *float32)")
	Pragma("noescape")
	n, s, plane, d := Load(Param("n"), GP64()), Load(Param("src"), GP64()), Load(Param("plane"), GP64()), Load(Param("dst"), GP64())
	SHLQ(Imm(2), plane)
	x := []reg.VecPhysical{reg.X0, reg.X1, reg.X2, reg.X3, reg.X4, reg.X5, reg.X6, reg.X7, reg.X8, reg.X9, reg.X10}
	Label("loop")
	VMOVUPS(Mem{Base: s}, x[0])
	VMOVUPS(Mem{Base: s, Index: plane, Scale: 1}, x[1])
	VMOVUPS(Mem{Base: s, Index: plane, Scale: 2}, x[2])
	VUNPCKLPS(x[1], x[0], x[3])
	VUNPCKHPS(x[1], x[0], x[4])
	VUNPCKLPS(x[2], x[2], x[5])
	VUNPCKHPS(x[2], x[2], x[6])
	VUNPCKLPD(x[5], x[3], x[7])
	VUNPCKHPD(x[5], x[3], x[8])
	VUNPCKLPD(x[6], x[4], x[9])
	VUNPCKHPD(x[6], x[4], x[10])
	for i := range 4 {
		VMOVUPS(x[7+i], Mem{Base: d, Disp: 12 * i})
	}
	ADDQ(Imm(16), s)
	ADDQ(Imm(48), d)
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// peak does n rounds of independent multiply-adds in as many registers as the
// micro-kernels have accumulators.
func peak(name string, size, accs int) {
	TEXT(name, NOSPLIT, "func(n int)")
	v := vectors(size)
	n := Load(Param("n"), GP64())
	for i := range accs + 2 {
		if size == 64 {
			VPXORD(v[i], v[i], v[i])
		} else {
			VXORPS(v[i], v[i], v[i])
		}
	}
	Label("loop")
	for i := range accs {
		VFMADD231PS(v[accs], v[accs+1], v[i])
	}
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func main() {
	ConstraintExpr("amd64,!noasm")
	for _, masked := range []bool{false, true} {
		suffix := ""
		if masked {
			suffix = "m"
		}
		for mr := 1; mr <= 8; mr++ {
			for nv := 1; nv <= 3; nv++ {
				if mr < 8 && !masked {
					continue
				}
				kernel{fmt.Sprintf("gemm512_%dx%d%s", mr, nv*16, suffix), 64, mr, nv, masked, true}.generate()
			}
			if mr == 8 || masked {
				kernel{fmt.Sprintf("gemm512_%dx8%s", mr, suffix), 32, mr, 1, masked, true}.generate()
				kernel{fmt.Sprintf("gemm512_%dx24%s", mr, suffix), 32, mr, 3, masked, true}.generate()
			}
		}
		for mr := 1; mr <= 4; mr++ {
			for nv := 1; nv <= 3; nv++ {
				if mr == 4 || masked {
					kernel{fmt.Sprintf("gemm256_%dx%d%s", mr, nv*8, suffix), 32, mr, nv, masked, false}.generate()
				}
			}
		}
	}
	packed()
	packT()
	for _, width := range []int{4, 8, 16, 24, 32, 48} {
		packCopy(width)
	}
	prefetchRows()
	gatherRuns()
	interleave()
	peak("peak512", 64, 24)
	peak("peak256", 32, 12)
	Generate()
}
