package main

import (
	"fmt"

	. "relsim/kernel/asm/common"
)

// microKernel is a micro-kernel of mr rows.
//
// With 4 lanes it has vectors vectors of columns. The last one starts where the
// caller says, and may overlap the one before: columns in both are computed twice,
// with the same result. So there is neither a mask nor a read beyond the columns.
// With fewer lanes it has that many columns.
//
// If packed is set, a row of op(A) follows the other (aRow is a float's size), so
// that the rows are read as vectors. Otherwise each is read by itself.
type microKernel struct {
	mr, vectors, lanes int
	packed             bool
}

func (k microKernel) name() string {
	cols := k.vectors * 4
	if k.lanes < 4 {
		cols = k.lanes
	}
	name := fmt.Sprintf("gemmNEON%dx%d", k.mr, cols)
	if k.packed {
		name += "p"
	}
	return name
}

// move loads or stores vector j of a row of columns at p.
func (k microKernel) move(f *function, store bool, v V, p, last, t R, j int) {
	switch {
	case k.lanes == 4 && j < k.vectors-1:
		if store {
			f.line("FMOVQ F%d, %d(R%d)", v, 16*j, p)
		} else {
			f.line("FMOVQ %d(R%d), F%d", 16*j, p, v)
		}
	case k.lanes == 4:
		if store {
			f.word(strQ(v, p, last))
		} else {
			f.word(ldrQ(v, p, last))
		}
	default:
		op := "FMOVD"
		if k.lanes == 1 {
			op = "FMOVS"
		}
		if store {
			f.line("%s F%d, (R%d)", op, v, p)
		} else {
			f.line("%s (R%d), F%d", op, p, v)
		}
		if k.lanes < 3 {
			return
		}
		f.line("ADD $8, R%d, R%d", p, t)
		if store {
			f.line("VST1 V%d.S[2], (R%d)", v, t)
		} else {
			f.line("VLD1 (R%d), V%d.S[2]", t, v)
		}
	}
}

func (k microKernel) generate(o *output) {
	f := newFunction(o, k.name(), "func(t *int)")
	acc := f.vecs(k.mr * k.vectors)
	b := f.vecs(k.vectors)
	a := f.vecs(min(5, len(f.vectors)))

	t := f.general("t")
	load := func(off int) R {
		r := f.gp()
		f.line("MOVD %d(R%d), R%d", off, t, r)
		return r
	}
	reload := func(off int, r R) { f.line("MOVD %d(R%d), R%d", off, t, r) }
	aStep, bStep, last := load(OffAStep), load(OffBStep), load(OffMask)
	p, q, u, n, segs, bp, at := f.gp(), f.gp(), f.gp(), f.gp(), f.gp(), f.gp(), f.gp()
	row := make([]R, k.mr)
	if !k.packed {
		for i := range row {
			row[i] = f.gp()
		}
	}

	f.label("tile")
	reload(OffInit, p)
	f.line("CBZ R%d, zero", p)
	reload(OffInitRow, q)
	for i := range k.mr {
		for j := range k.vectors {
			k.move(f, false, acc[i*k.vectors+j], p, last, u, j)
		}
		if i+1 < k.mr {
			f.line("ADD R%d, R%d", q, p)
		}
	}
	f.line("B start")
	f.label("zero")
	for _, v := range acc {
		f.zero(v)
	}
	f.label("start")

	reload(OffSegs, segs)
	f.line("CBZ R%d, store", segs)
	reload(OffB, bp)
	if k.packed {
		reload(OffA, at)
	} else { // row i is at row[i] + at
		reload(OffA, row[0])
		reload(OffARow, q)
		for i := 1; i < k.mr; i++ {
			f.line("ADD R%d, R%d, R%d", q, row[i-1], row[i])
		}
		f.line("MOVD $0, R%d", at)
	}
	step := func() {
		for j := range k.vectors {
			k.move(f, false, b[j], bp, last, u, j)
		}
		f.line("ADD R%d, R%d", bStep, bp)
		if k.packed {
			f.line("FLDPQ (R%d), (F%d, F%d)", at, a[0], a[1])
		}
		for i := range k.mr {
			x, lane := a[i%len(a)], 0
			if k.packed {
				x, lane = a[i/4], i%4
			} else {
				f.line("FMOVS (R%d)(R%d), F%d", row[i], at, x)
			}
			for j := range k.vectors {
				f.word(fmlaLane(acc[i*k.vectors+j], b[j], x, lane))
			}
		}
		f.line("ADD R%d, R%d", aStep, at)
	}
	f.label("segment")
	reload(OffKC, n)
	f.line("LSR $1, R%d", n)
	f.line("CBZ R%d, odd", n)
	f.label("loop")
	step()
	step()
	f.line("SUB $1, R%d", n)
	f.line("CBNZ R%d, loop", n)
	f.label("odd")
	reload(OffKC, n)
	f.line("TBZ $0, R%d, next", n)
	step()
	f.label("next")
	reload(OffASeg, q)
	f.line("ADD R%d, R%d", q, at)
	reload(OffBSeg, q)
	f.line("ADD R%d, R%d", q, bp)
	f.line("SUB $1, R%d", segs)
	f.line("CBNZ R%d, segment", segs)

	f.label("store")
	reload(OffC, p)
	reload(OffCRow, q)
	for i := range k.mr {
		for j := range k.vectors {
			k.move(f, true, acc[i*k.vectors+j], p, last, u, j)
		}
		if i+1 < k.mr {
			f.line("ADD R%d, R%d", q, p)
		}
	}
	reload(OffTiles, n)
	f.line("SUB $1, R%d", n)
	f.line("MOVD R%d, %d(R%d)", n, OffTiles, t)
	f.line("CBZ R%d, done", n)
	for _, x := range [][2]int{{OffANext, OffA}, {OffCNext, OffC}, {OffInitNext, OffInit}} {
		reload(x[0], p)
		reload(x[1], q)
		f.line("ADD R%d, R%d", p, q)
		f.line("MOVD R%d, %d(R%d)", q, x[1], t)
	}
	f.line("B tile")
	f.label("done")
	f.ret()
}

// packT writes a (4, k) block transposed: dst[q*ldd+i] = src[i*lds+q]. Distances in
// floats.
func packT(o *output) {
	f := newFunction(o, "packT4NEON", "func(k int, src *float32, lds int, dst *float32, ldd int)")
	k, s, lds, d, ldd := f.general("k"), f.general("src"), f.general("lds"), f.general("dst"), f.general("ldd")
	f.line("LSL $2, R%d", lds)
	f.line("LSL $2, R%d", ldd)
	row := []R{s}
	for i := 1; i < 4; i++ {
		row = append(row, f.gp())
		f.line("ADD R%d, R%d, R%d", lds, row[i-1], row[i])
	}
	x, y, z := f.vecs(4), f.vecs(4), f.vecs(4)
	f.line("SUBS $4, R%d", k)
	f.line("BLT rest")
	f.label("loop")
	for i, r := range row {
		f.line("FMOVQ.P 16(R%d), F%d", r, x[i])
	}
	for i := range 4 { // pairs of rows, then fours
		f.line("VTRN%d V%d.S4, V%d.S4, V%d.S4", 1+i%2, x[i/2*2+1], x[i/2*2], y[i])
	}
	for i := range 4 {
		f.line("VTRN%d V%d.D2, V%d.D2, V%d.D2", 1+i/2, y[i%2+2], y[i%2], z[i])
	}
	for _, v := range z {
		f.line("FMOVQ F%d, (R%d)", v, d)
		f.line("ADD R%d, R%d", ldd, d)
	}
	f.line("SUBS $4, R%d", k)
	f.line("BGE loop")
	f.label("rest")
	f.line("ADDS $4, R%d", k)
	f.line("BEQ done")
	f.label("one")
	for i, r := range row {
		f.line("VLD1.P 4(R%d), V%d.S[%d]", r, x[0], i)
	}
	f.line("FMOVQ F%d, (R%d)", x[0], d)
	f.line("ADD R%d, R%d", ldd, d)
	f.line("SUBS $1, R%d", k)
	f.line("BNE one")
	f.label("done")
	f.ret()
}

// packCopy copies k rows of 4·vectors floats: dst[q*ldd+i] = src[q*lds+i]. The last
// vector starts at float last, and may overlap the one before.
func packCopy(o *output, vectors int) {
	f := newFunction(o, fmt.Sprintf("packCopy%dNEON", 4*vectors), "func(k int, last int, src *float32, lds int, dst *float32, ldd int)")
	k, last := f.general("k"), f.general("last")
	s, lds, d, ldd := f.general("src"), f.general("lds"), f.general("dst"), f.general("ldd")
	for _, r := range []R{last, lds, ldd} {
		f.line("LSL $2, R%d", r)
	}
	v := f.vecs(vectors)
	w := microKernel{vectors: vectors, lanes: 4}
	f.label("loop")
	for j := range v {
		w.move(f, false, v[j], s, last, 0, j)
	}
	f.line("ADD R%d, R%d", lds, s)
	for j := range v {
		w.move(f, true, v[j], d, last, 0, j)
	}
	f.line("ADD R%d, R%d", ldd, d)
	f.line("SUBS $1, R%d", k)
	f.line("BNE loop")
	f.ret()
}

// gatherRuns copies n runs of 8 to 16 values, run i from src[i*from] to dst[i*to].
func gatherRuns(o *output) {
	f := newFunction(o, "gatherRunsNEON", "func(n int, run int, src *float32, from int, dst *float32, to int)")
	n, run := f.general("n"), f.general("run")
	s, from, d, to := f.general("src"), f.general("from"), f.general("dst"), f.general("to")
	end := f.gp()
	for _, r := range []R{run, from, to} {
		f.line("LSL $2, R%d", r)
	}
	f.line("SUB $32, R%d", run) // to the last eight values
	v := f.vecs(4)
	f.label("loop")
	f.line("ADD R%d, R%d, R%d", run, s, end)
	f.line("FLDPQ (R%d), (F%d, F%d)", s, v[0], v[1])
	f.line("FLDPQ (R%d), (F%d, F%d)", end, v[2], v[3])
	f.line("ADD R%d, R%d, R%d", run, d, end)
	f.line("FSTPQ (F%d, F%d), (R%d)", v[0], v[1], d)
	f.line("FSTPQ (F%d, F%d), (R%d)", v[2], v[3], end)
	f.line("ADD R%d, R%d", from, s)
	f.line("ADD R%d, R%d", to, d)
	f.line("SUBS $1, R%d", n)
	f.line("BNE loop")
	f.ret()
}

// interleave brings 4n values of three planes together: dst[3*i+c] = src[c*plane+i].
func interleave(o *output) {
	f := newFunction(o, "interleave3NEON", "func(n int, src *float32, plane int, dst *float32)")
	n, s, plane, d := f.general("n"), f.general("src"), f.general("plane"), f.general("dst")
	f.line("LSL $2, R%d", plane)
	row := []R{s, f.gp(), f.gp()}
	v := f.vecs(3)
	for i := 1; i < 3; i++ {
		f.line("ADD R%d, R%d, R%d", plane, row[i-1], row[i])
	}
	f.label("loop")
	for i, r := range row {
		f.line("FMOVQ.P 16(R%d), F%d", r, v[i])
	}
	f.line("VST3.P [V%d.S4, V%d.S4, V%d.S4], 48(R%d)", v[0], v[1], v[2], d)
	f.line("SUBS $1, R%d", n)
	f.line("BNE loop")
	f.ret()
}

// peak does n rounds of independent multiply-adds in as many registers as the largest
// micro-kernel has accumulators.
func peak(o *output) {
	f := newFunction(o, "peakNEON", "func(n int)")
	n := f.general("n")
	acc, x := f.zeros(24), f.zeros(2)
	f.label("loop")
	for _, v := range acc {
		f.word(fmlaLane(v, x[0], x[1], 0))
	}
	f.line("SUBS $1, R%d", n)
	f.line("BNE loop")
	f.ret()
}

func gemm(o *output) {
	for vectors := 1; vectors <= 3; vectors++ {
		microKernel{8, vectors, 4, true}.generate(o)
		for mr := 1; mr <= 8; mr++ {
			microKernel{mr, vectors, 4, false}.generate(o)
		}
	}
	for lanes := 1; lanes <= 3; lanes++ {
		for mr := 1; mr <= 8; mr++ {
			microKernel{mr, 1, lanes, false}.generate(o)
		}
	}
	packT(o)
	for vectors := 1; vectors <= 3; vectors++ {
		packCopy(o, vectors)
	}
	gatherRuns(o)
	interleave(o)
	peak(o)
}
