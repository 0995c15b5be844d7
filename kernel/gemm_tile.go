package kernel

import "unsafe"

// tile is the work of a micro-kernel: a panel of C, some rows by few columns,
//
//	C[i,j] = init[i,j] + Σ_s Σ_q A[i,s,q]·B[s,q,j],  s < segs, q < kc
//
// computed row tile by row tile with the sums in registers. Distances are in bytes,
// so that one kernel reads packed panels, matrices in place, transposed ones, and
// the windows of a convolution. The assembly knows the order of the fields and
// advances tiles, a, c and init from one row tile to the next; the pointers stay
// within their arrays.
type tile struct {
	tiles    int      // row tiles to do
	a        *float32 // A[0,0,0]
	aRow     int      // from one row of A to the next
	aStep    int      // from one q to the next
	aSeg     int      // added to a after a segment
	aNext    int      // from one row tile to the next
	b        *float32 // B[0,0,0]
	bStep    int      // from one q to the next
	bSeg     int      // added to b after a segment
	kc       int      // products in a segment
	segs     int      // segments
	c        *float32 // C[0,0]
	cRow     int      // from one row of C to the next
	cNext    int      // from one row tile to the next
	init     *float32 // what the sums start from; nil is zero
	initRow  int      // from one row of it to the next, 0 for a bias
	initNext int      // from one row tile to the next
	mask     uintptr  // lanes of the last vector
}

// The generator in _asm/gemm counts on these offsets.
var (
	_ = [1]struct{}{}[unsafe.Offsetof(tile{}.aNext)-5*8]
	_ = [1]struct{}{}[unsafe.Offsetof(tile{}.kc)-9*8]
	_ = [1]struct{}{}[unsafe.Offsetof(tile{}.cNext)-13*8]
	_ = [1]struct{}{}[unsafe.Offsetof(tile{}.mask)-17*8]
)

// panel does rows rows: whole tiles of mr with one kernel, the rest with another.
func (t *tile) panel(rows, mr int, whole, rest func(*int)) {
	t.cNext, t.initNext = mr*t.cRow, mr*t.initRow
	if t.init == nil {
		t.initNext = 0
	}
	if n := rows / mr; n > 0 {
		a, c, init := t.a, t.c, t.init
		t.tiles = n
		whole(&t.tiles)
		if rows == n*mr {
			return
		}
		t.a, t.c = at(a, n*t.aNext), at(c, n*t.cNext)
		if init != nil {
			t.init = at(init, n*t.initNext)
		}
	}
	t.tiles = 1
	rest(&t.tiles)
}

// microKernel is one implementation of the innermost loops.
type microKernel struct {
	mr, nr int // rows of a tile, most columns of a panel
	vector int // columns of a vector
	// panel does rows rows of cols ≤ nr columns; it sets the fields that follow from
	// those, and leaves a, c and init anywhere.
	panel func(t *tile, rows, cols int)
	// packT writes the (rows, k) block at src transposed, dst[q*ldd+i] = src[i*lds+q].
	packT func(rows, k int, src []float32, lds int, dst []float32, ldd int)
	// packCopy writes the (k, cols) block at src, dst[q*ldd+i] = src[q*lds+i].
	packCopy func(cols, k int, src []float32, lds int, dst []float32, ldd int)
}

var microKernels = newDispatch(&microKernel{2, 16, 0, panelGeneric, packTGeneric, packCopyGeneric})

const wordSize = 4 // bytes of a float32

func at(p *float32, offset int) *float32 {
	return (*float32)(unsafe.Add(unsafe.Pointer(p), offset))
}

// panelGeneric takes two rows by four columns at a time.
func panelGeneric(t *tile, rows, cols int) {
	for i := 0; i < rows; i += 2 {
		// The second of two rows is the first one again where there is no second.
		second := min(1, rows-1-i)
		for j := 0; j < cols; j += 4 {
			w := min(4, cols-j)
			var s [8]float32
			if t.init != nil {
				for r := range 2 {
					for l := range w {
						s[r*4+l] = *at(t.init, (i+r*second)*t.initRow+(j+l)*wordSize)
					}
				}
			}
			if t.segs == 0 {
				// A and B may be nil.
			} else if a0, a1, b := unsafe.Pointer(at(t.a, i/2*t.aNext)), second*t.aRow, unsafe.Pointer(at(t.b, j*wordSize)); w == 4 {
				block2x4(t, a0, a1, b, &s)
			} else {
				ao, bo := 0, 0
				for range t.segs {
					for range t.kc {
						x, y := *(*float32)(unsafe.Add(a0, ao)), *(*float32)(unsafe.Add(a0, ao+a1))
						for l := range w {
							v := *(*float32)(unsafe.Add(b, bo+l*wordSize))
							s[l] += x * v
							s[4+l] += y * v
						}
						ao += t.aStep
						bo += t.bStep
					}
					ao += t.aSeg
					bo += t.bSeg
				}
			}
			for r := range 1 + second {
				for l := range w {
					*at(t.c, (i+r)*t.cRow+(j+l)*wordSize) = s[r*4+l]
				}
			}
		}
	}
}

func block2x4(t *tile, a unsafe.Pointer, second int, b unsafe.Pointer, s *[8]float32) {
	s0, s1, s2, s3 := s[0], s[1], s[2], s[3]
	s4, s5, s6, s7 := s[4], s[5], s[6], s[7]
	ao, bo := 0, 0
	for range t.segs {
		for range t.kc {
			x, y := *(*float32)(unsafe.Add(a, ao)), *(*float32)(unsafe.Add(a, ao+second))
			v := (*[4]float32)(unsafe.Add(b, bo))
			s0 += x * v[0]
			s1 += x * v[1]
			s2 += x * v[2]
			s3 += x * v[3]
			s4 += y * v[0]
			s5 += y * v[1]
			s6 += y * v[2]
			s7 += y * v[3]
			ao += t.aStep
			bo += t.bStep
		}
		ao += t.aSeg
		bo += t.bSeg
	}
	*s = [8]float32{s0, s1, s2, s3, s4, s5, s6, s7}
}

func packTGeneric(rows, k int, src []float32, lds int, dst []float32, ldd int) {
	for i := range rows {
		for q, v := range src[i*lds : i*lds+k] {
			dst[q*ldd+i] = v
		}
	}
}

func packCopyGeneric(cols, k int, src []float32, lds int, dst []float32, ldd int) {
	for q := range k {
		copy(dst[q*ldd:q*ldd+cols], src[q*lds:])
	}
}
