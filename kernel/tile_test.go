package kernel

import (
	"fmt"
	"math"
	"testing"
)

// TestPanel runs the micro-kernel of each tier on tiles of every height and width, with
// the operands in every order and the sum in segments.
func TestPanel(t *testing.T) {
	const segs, kc, gap = 3, 5, 7
	eachTier(t, func(t *testing.T) {
		u := microKernels.get()
		for cols := 1; cols <= u.nr; cols++ {
			for _, rows := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 19} {
				for variant := range 6 {
					rng := newRand(uint64(cols))
					rowsFollow, start := variant%2 == 0, variant/2 // from zero, a bias, C itself
					aRow, aStep, aSeg := segs*(kc+gap), 1, kc+gap
					if rowsFollow {
						aRow, aStep, aSeg = 1, rows+2, kc*(rows+2)+gap
					}
					bStep, cRow := cols+start, cols+3
					bSeg := kc*bStep + gap
					a := nanGuarded(rng, (rows-1)*aRow+(kc-1)*aStep+(segs-1)*aSeg+1)
					b := nanGuarded(rng, (segs-1)*bSeg+(kc-1)*bStep+cols)
					bias := nanGuarded(rng, cols)
					c := randomGuarded(rng, (rows-1)*cRow+cols)
					before := append([]float32(nil), c.x...)
					w := tile{
						a: &a[0], aRow: aRow * wordSize, aStep: aStep * wordSize, aSeg: (aSeg - kc*aStep) * wordSize, aNext: u.mr * aRow * wordSize,
						b: &b[0], bStep: bStep * wordSize, bSeg: (bSeg - kc*bStep) * wordSize,
						kc: kc, segs: segs, c: &c.x[0], cRow: cRow * wordSize,
					}
					switch start {
					case 1:
						w.init = &bias[0]
					case 2:
						w.init, w.initRow = w.c, w.cRow
					}
					u.panel(&w, rows, cols)
					name := fmt.Sprintf("%d×%d, variant %d", rows, cols, variant)
					c.check(t, name)
					for i, got := range c.x {
						r, j := i/cRow, i%cRow
						if j >= cols {
							if got != before[i] {
								t.Fatalf("%s: wrote between rows, at %d", name, i)
							}
							continue
						}
						want := []float64{0, float64(bias[j]), float64(before[i])}[start]
						for s := range segs {
							for q := range kc {
								want += float64(a[r*aRow+q*aStep+s*aSeg]) * float64(b[q*bStep+s*bSeg+j])
							}
						}
						if !(math.Abs(float64(got)-want) <= 1e-5) {
							t.Fatalf("%s: C[%d,%d] = %v, want %v", name, r, j, got, want)
						}
					}
				}
			}
		}
	})
}

// TestPack moves blocks of every width and of some lengths.
func TestPack(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		u := microKernels.get()
		rng := newRand(1)
		for width := 1; width <= u.nr+1; width++ {
			for _, k := range []int{0, 1, 2, 3, 4, 5, 7, 8, 9, 17} {
				const gap = 3
				for _, transposed := range []bool{true, false} {
					lds, ldd, sources := k+gap, width+gap, width
					if !transposed {
						lds, sources = width+gap, k
					}
					n := (sources-1)*lds + k
					if !transposed {
						n = (sources-1)*lds + width
					}
					src := nanGuarded(rng, max(0, n))
					dst := newGuarded(max(0, (k-1)*ldd+width))
					if transposed {
						u.packT(width, k, src, lds, dst.x, ldd)
					} else {
						u.packCopy(width, k, src, lds, dst.x, ldd)
					}
					name := fmt.Sprintf("%d wide, %d long, transposed %v", width, k, transposed)
					dst.check(t, name)
					for at, got := range dst.x {
						q, i := at/ldd, at%ldd
						want := guard // between the rows
						if i < width && transposed {
							want = src[i*lds+q]
						} else if i < width {
							want = src[q*lds+i]
						}
						if got != want {
							t.Fatalf("%s: dst[%d,%d] = %v, want %v", name, q, i, got, want)
						}
					}
				}
			}
		}
	})
}

// TestGather copies runs of every length, from overlapping and from separate places.
func TestGather(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		rng := newRand(2)
		for run := 1; run <= 20; run++ {
			for _, n := range []int{0, 1, 2, 5} {
				for _, from := range []int{2, run + 3} {
					src := nanGuarded(rng, max(0, (n-1)*from+run))
					dst := newGuarded(n * run)
					gatherKernel.get()(n, run, src, from, dst.x, run)
					name := fmt.Sprintf("%d runs of %d, %d apart", n, run, from)
					dst.check(t, name)
					for i, got := range dst.x {
						if want := src[i/run*from+i%run]; got != want {
							t.Fatalf("%s: run %d, [%d] = %v, want %v", name, i/run, i%run, got, want)
						}
					}
				}
			}
		}
	})
}

// TestInterleave brings planes together that lie apart.
func TestInterleave(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		for n := 1; n <= 21; n++ {
			plane := n + 2
			src := nanGuarded(newRand(3), 2*plane+n)
			dst := newGuarded(3 * n)
			interleave3Kernel.get()(n, src, plane, dst.x)
			name := fmt.Sprintf("%d values", n)
			dst.check(t, name)
			for i, got := range dst.x {
				if want := src[i%3*plane+i/3]; got != want {
					t.Fatalf("%s: [%d] = %v, want %v", name, i, got, want)
				}
			}
		}
	})
}
