//go:build amd64 && !noasm

package kernel

import "unsafe"

func init() {
	microKernels.add(AVX2, &microKernel{4, 24, 8, panel256, packT256, packCopy256})
	microKernels.add(AVX512, &microKernel{8, 48, 16, panel512, packT256, packCopy256})
}

// panelWidth is the set of micro-kernels for panels of one width: full for whole
// tiles of whole vectors, masked by rows for the rest.
type panelWidth struct {
	cols, lanes int // columns, columns of a vector
	full        func(*int)
	packed      func(*int) // the same for operands that are both packed, or nil
	masked      [9]func(*int)
}

func (w *panelWidth) run(t *tile, rows, cols, mr int, mask uintptr) {
	t.mask = mask
	whole := w.masked[mr]
	if cols == w.cols {
		whole = w.full
		if w.packed != nil && t.segs == 1 && t.aRow == wordSize && t.aStep == mr*wordSize && t.bStep == w.cols*wordSize {
			whole = w.packed
		}
	}
	t.panel(rows, mr, whole, w.masked[rows%mr])
}

// widths512 is indexed by the number of started groups of 8 columns.
var widths512 = func() (by8 [7]*panelWidth) {
	w8 := &panelWidth{8, 8, gemm512_8x8, nil, [9]func(*int){nil, gemm512_1x8m, gemm512_2x8m, gemm512_3x8m, gemm512_4x8m, gemm512_5x8m, gemm512_6x8m, gemm512_7x8m, gemm512_8x8m}}
	w16 := &panelWidth{16, 16, gemm512_8x16, nil, [9]func(*int){nil, gemm512_1x16m, gemm512_2x16m, gemm512_3x16m, gemm512_4x16m, gemm512_5x16m, gemm512_6x16m, gemm512_7x16m, gemm512_8x16m}}
	w24 := &panelWidth{24, 8, gemm512_8x24, nil, [9]func(*int){nil, gemm512_1x24m, gemm512_2x24m, gemm512_3x24m, gemm512_4x24m, gemm512_5x24m, gemm512_6x24m, gemm512_7x24m, gemm512_8x24m}}
	w32 := &panelWidth{32, 16, gemm512_8x32, nil, [9]func(*int){nil, gemm512_1x32m, gemm512_2x32m, gemm512_3x32m, gemm512_4x32m, gemm512_5x32m, gemm512_6x32m, gemm512_7x32m, gemm512_8x32m}}
	w48 := &panelWidth{48, 16, gemm512_8x48, gemm512Packed8x48, [9]func(*int){nil, gemm512_1x48m, gemm512_2x48m, gemm512_3x48m, gemm512_4x48m, gemm512_5x48m, gemm512_6x48m, gemm512_7x48m, gemm512_8x48m}}
	return [7]*panelWidth{nil, w8, w16, w24, w32, w48, w48}
}()

func panel512(t *tile, rows, cols int) {
	w := widths512[(cols+7)/8]
	last := cols - (w.cols - w.lanes)
	w.run(t, rows, cols, 8, 1<<last-1)
}

var widths256 = [4]*panelWidth{
	nil,
	{8, 8, gemm256_4x8, nil, [9]func(*int){nil, gemm256_1x8m, gemm256_2x8m, gemm256_3x8m, gemm256_4x8m}},
	{16, 8, gemm256_4x16, nil, [9]func(*int){nil, gemm256_1x16m, gemm256_2x16m, gemm256_3x16m, gemm256_4x16m}},
	{24, 8, gemm256_4x24, nil, [9]func(*int){nil, gemm256_1x24m, gemm256_2x24m, gemm256_3x24m, gemm256_4x24m}},
}

// lanes256 holds the mask of n lanes at 8-n.
var lanes256 = [16]int32{-1, -1, -1, -1, -1, -1, -1, -1}

func panel256(t *tile, rows, cols int) {
	w := widths256[(cols+7)/8]
	last := cols - (w.cols - w.lanes)
	w.run(t, rows, cols, 4, uintptr(unsafe.Pointer(&lanes256[8-last])))
}

func packT256(rows, k int, src []float32, lds int, dst []float32, ldd int) {
	i := 0
	for ; i+4 <= rows && k > 0; i += 4 {
		packT4(k, &src[i*lds], lds, &dst[i], ldd)
	}
	if i < rows {
		packTGeneric(rows-i, k, src[i*lds:], lds, dst[i:], ldd)
	}
}

func packCopy256(cols, k int, src []float32, lds int, dst []float32, ldd int) {
	f := packCopyWidths[cols%len(packCopyWidths)]
	if k == 0 || cols >= len(packCopyWidths) || f == nil {
		packCopyGeneric(cols, k, src, lds, dst, ldd)
		return
	}
	_, _ = src[(k-1)*lds+cols-1], dst[(k-1)*ldd+cols-1]
	f(k, &src[0], lds, &dst[0], ldd)
}

var packCopyWidths = [49]func(k int, src *float32, lds int, dst *float32, ldd int){
	4: packCopy4, 8: packCopy8, 16: packCopy16, 24: packCopy24, 32: packCopy32, 48: packCopy48,
}
