//go:build arm64 && !noasm

package kernel

func init() {
	microKernels.add(NEON, &microKernel{8, 12, 4, panelNEON, packTNEON, packCopyNEON})
}

// widthNEON is the set of micro-kernels for panels of one width: by rows, and for
// whole tiles whose rows of A follow one another.
type widthNEON struct {
	rows   [9]func(*int)
	packed func(*int)
}

// widthsNEON is indexed by the number of started vectors.
var widthsNEON = [4]widthNEON{
	{},
	{[9]func(*int){nil, gemmNEON1x4, gemmNEON2x4, gemmNEON3x4, gemmNEON4x4, gemmNEON5x4, gemmNEON6x4, gemmNEON7x4, gemmNEON8x4}, gemmNEON8x4p},
	{[9]func(*int){nil, gemmNEON1x8, gemmNEON2x8, gemmNEON3x8, gemmNEON4x8, gemmNEON5x8, gemmNEON6x8, gemmNEON7x8, gemmNEON8x8}, gemmNEON8x8p},
	{[9]func(*int){nil, gemmNEON1x12, gemmNEON2x12, gemmNEON3x12, gemmNEON4x12, gemmNEON5x12, gemmNEON6x12, gemmNEON7x12, gemmNEON8x12}, gemmNEON8x12p},
}

// narrowNEON is for fewer columns than a vector has, and indexed by them.
var narrowNEON = [4]widthNEON{
	{},
	{[9]func(*int){nil, gemmNEON1x1, gemmNEON2x1, gemmNEON3x1, gemmNEON4x1, gemmNEON5x1, gemmNEON6x1, gemmNEON7x1, gemmNEON8x1}, gemmNEON8x1},
	{[9]func(*int){nil, gemmNEON1x2, gemmNEON2x2, gemmNEON3x2, gemmNEON4x2, gemmNEON5x2, gemmNEON6x2, gemmNEON7x2, gemmNEON8x2}, gemmNEON8x2},
	{[9]func(*int){nil, gemmNEON1x3, gemmNEON2x3, gemmNEON3x3, gemmNEON4x3, gemmNEON5x3, gemmNEON6x3, gemmNEON7x3, gemmNEON8x3}, gemmNEON8x3},
}

func panelNEON(t *tile, rows, cols int) {
	const mr = 8
	w := &widthsNEON[(cols+3)/4]
	if cols < 4 {
		w = &narrowNEON[cols]
	}
	t.mask = uintptr(max(0, cols-4) * wordSize) // where the last vector starts
	whole := w.rows[mr]
	if t.aRow == wordSize {
		whole = w.packed
	}
	t.panel(rows, mr, whole, w.rows[rows%mr])
}

// packTNEON takes four rows at a time; the last four may overlap those before.
func packTNEON(rows, k int, src []float32, lds int, dst []float32, ldd int) {
	if rows < 4 || k == 0 {
		packTGeneric(rows, k, src, lds, dst, ldd)
		return
	}
	_, _ = src[(rows-1)*lds+k-1], dst[(k-1)*ldd+rows-1]
	for i := 0; i < rows; i += 4 {
		i := min(i, rows-4)
		packT4NEON(k, &src[i*lds], lds, &dst[i], ldd)
	}
}

func packCopyNEON(cols, k int, src []float32, lds int, dst []float32, ldd int) {
	if cols < 4 || cols > 12 || k == 0 {
		packCopyGeneric(cols, k, src, lds, dst, ldd)
		return
	}
	_, _ = src[(k-1)*lds+cols-1], dst[(k-1)*ldd+cols-1]
	f := [...]func(k, last int, src *float32, lds int, dst *float32, ldd int){packCopy4NEON, packCopy8NEON, packCopy12NEON}[(cols-1)/4]
	f(k, cols-4, &src[0], lds, &dst[0], ldd)
}
