//go:build linux || darwin

package kernel

import (
	"os"
	"syscall"
	"testing"
	"unsafe"
)

// fence is memory between two pages that cannot be touched.
type fence struct{ x []float32 }

func newFence(t *testing.T) fence {
	t.Helper()
	page := os.Getpagesize()
	size := 4 * page
	b, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(b); err != nil {
			t.Error(err)
		}
	})
	for _, outside := range [][]byte{b[:page], b[page+size:]} {
		if err := syscall.Mprotect(outside, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return fence{unsafe.Slice((*float32)(unsafe.Pointer(&b[page])), size/wordSize)}
}

// slice has n values, with a page that cannot be touched after them, or before.
func (f fence) slice(n int, before bool) []float32 {
	if before {
		return f.x[:n:n]
	}
	return f.x[len(f.x)-n:]
}

// TestFences runs kernels on operands that end, or begin, where memory does: a read
// beyond them, though it may not change the result, ends the test.
func TestFences(t *testing.T) {
	f := make([]fence, 5)
	for i := range f {
		f[i] = newFence(t)
	}
	eachTier(t, func(t *testing.T) {
		u := microKernels.get()
		for _, before := range []bool{false, true} {
			for n := 1; n <= 70; n++ {
				y, a, b, c, d := f[0].slice(n, before), f[1].slice(n, before), f[2].slice(n, before), f[3].slice(n, before), f[4].slice(n, before)
				addRow(y, a, b)
				mulRow(y, a, b)
				mulAddRow(y, a, b)
				axpyRow(y, a, 2)
				scaleRow(y, a, 2)
				addScalarRow(y, a, 2)
				combineRow(y, a, b, 2, 3)
				expRow(y, a)
				maxRow(a)
				expSumRow(y, a, 1, 0)
				sumExpRow(a, 0)
				softmaxRow(y, a)
				softmaxGradRow(y, a, b, 1, 0)
				sumRow(a)
				dotRow(a, b)
				finiteRow(a)
				colSumRows(y, f[1].slice(5*n, before), 5)
				accumulateRow(unsafe.Slice((*float64)(unsafe.Pointer(&f[0].slice(2*n, before)[0])), n), a)
				momentsRow(a)
				normalizeRow(y, a, b, c, 0, 0, 1)
				normGradSumsRow(y, a, b, c, d, 0, 0, 1)
				normGradRow(y, a, b, c, 0, 0, 1, 0, 0)
				for _, gelu := range []func(y, x []float32){geluErfRow, geluTanhRow, geluQuickRow} {
					gelu(y, a)
				}
				for _, gelu := range []func(dx, x, dy []float32){geluErfGradRow, geluTanhGradRow, geluQuickGradRow} {
					gelu(y, a, b)
				}
				dropoutRow(y, a, 2, 1<<31, 0, 1, 2)
				adamWRow(y, a, b, c, &adamWCoef{root: 1, eps: 1})
				interleave3Kernel.get()(n, f[1].slice(3*n, before), n, f[0].slice(3*n, before))
				gatherKernel.get()(3, n, f[1].slice(2+n, before), 1, f[0].slice(3*n, before), n)
			}
			const k = 5
			for cols := 1; cols <= u.nr; cols++ {
				for _, rows := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 17} {
					for _, aRow := range []int{1, k} {
						w := tile{
							a: &f[0].slice(rows*k, before)[0], aRow: aRow * wordSize,
							b: &f[1].slice(k*cols, before)[0], bStep: cols * wordSize, kc: k, segs: 1,
							c: &f[2].slice(rows*cols, before)[0], cRow: cols * wordSize,
							init: &f[3].slice(cols, before)[0],
						}
						w.aNext = u.mr * aRow * wordSize
						w.aStep = wordSize
						if aRow == 1 { // A is stored transposed
							w.aStep = rows * wordSize
						}
						u.panel(&w, rows, cols)
					}
				}
				u.packT(cols, k, f[0].slice(cols*k, before), k, f[1].slice(cols*k, before), cols)
				u.packCopy(cols, k, f[0].slice(cols*k, before), cols, f[1].slice(cols*k, before), cols)
			}
		}
	})
}
