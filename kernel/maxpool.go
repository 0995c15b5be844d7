package kernel

import "fmt"

// PoolShape describes a pooling of square windows, without a border, of pictures
// (Batch, InH, InW, C).
type PoolShape struct {
	Batch, InH, InW, C int
	K, Stride          int
	// Ceil keeps the windows that begin in the picture and end outside; they have
	// the values that are there. Otherwise such a window is left out.
	Ceil bool
}

// OutH returns the number of output rows, 0 if no window fits.
func (s PoolShape) OutH() int { return s.out(s.InH) }

// OutW returns the number of output columns, 0 if no window fits.
func (s PoolShape) OutW() int { return s.out(s.InW) }

func (s PoolShape) out(in int) int {
	room := in - s.K
	if s.Ceil {
		room += s.Stride - 1
	}
	if room < 0 {
		return 0
	}
	n := room/s.Stride + 1
	if (n-1)*s.Stride >= in { // the window begins outside, since Stride > K
		n--
	}
	return n
}

func (s PoolShape) checkAll(op string, y, x []float32) {
	if s.Batch < 0 || min(s.InH, s.InW, s.C, s.K, s.Stride) < 1 || min(s.OutH(), s.OutW()) < 1 {
		panic(fmt.Sprintf("kernel: %s: shape %+v", op, s))
	}
	needLen(op, "y or dy", len(y), s.Batch*s.OutH()*s.OutW()*s.C)
	needLen(op, "x or dx", len(x), s.Batch*s.InH*s.InW*s.C)
}

// MaxPool2D takes the largest value of each window:
//
//	y[b,oy,ox,c] = max_{ky,kx < K} x[b, oy·Stride+ky, ox·Stride+kx, c]
//
// x is (Batch, InH, InW, C), y (Batch, OutH, OutW, C). A window with a NaN gives NaN.
//
// MaxPool2D panics if a length does not fit or no window fits into a picture.
func MaxPool2D(p *Pool, y, x []float32, s PoolShape) {
	s.checkAll("MaxPool2D", y, x)
	j := poolJobs.get()
	j.PoolShape, j.y, j.x, j.dy = s, y, x, nil
	p.run(s.Batch*s.OutH(), j)
	j.free()
}

// MaxPool2DGrad is the gradient of [MaxPool2D]. A dy goes to the largest value of its
// window, and to the first one in the order of rows if there are several:
//
//	dx[b,iy,ix,c] = Σ dy[b,oy,ox,c]   over the windows whose first largest value is x[b,iy,ix,c]
//
// dx has the shape of x and is overwritten, dy has that of y. No two may overlap.
//
// MaxPool2DGrad panics if a length does not fit or no window fits into a picture.
func MaxPool2DGrad(p *Pool, dx, dy, x []float32, s PoolShape) {
	s.checkAll("MaxPool2DGrad", dy, x)
	needLen("MaxPool2DGrad", "dx", len(dx), len(x))
	j := poolJobs.get()
	j.PoolShape, j.y, j.x, j.dy = s, dx, x, dy
	p.run(s.Batch*ceilDiv(s.C, poolColumns), j)
	j.free()
}

// poolColumns is the number of channels that one item of a gradient works on: windows
// overlap, so that a picture's rows cannot be shared out.
const poolColumns = 64

// poolJob is one call. Its items are rows of the output or, with dy, blocks of channels
// of a picture.
type poolJob struct {
	PoolShape
	y, x, dy []float32 // y is dx if there is a dy
}

var poolJobs freelist[poolJob]

func (j *poolJob) free() {
	j.y, j.x, j.dy = nil, nil, nil
	poolJobs.put(j)
}

func (j *poolJob) item(i int) {
	if j.dy != nil {
		blocks := ceilDiv(j.C, poolColumns)
		j.grad(i/blocks, i%blocks*poolColumns)
		return
	}
	b, oy := i/j.OutH(), i%j.OutH()
	ow, c := j.OutW(), j.C
	for ox := range ow {
		y := j.y[(i*ow+ox)*c:][:c]
		for iy := oy * j.Stride; iy < min(oy*j.Stride+j.K, j.InH); iy++ {
			for ix := ox * j.Stride; ix < min(ox*j.Stride+j.K, j.InW); ix++ {
				x := j.x[((b*j.InH+iy)*j.InW+ix)*c:][:len(y)]
				if iy == oy*j.Stride && ix == ox*j.Stride {
					copy(y, x)
					continue
				}
				for k, v := range x {
					y[k] = max(y[k], v)
				}
			}
		}
	}
}

// grad does channels first … of picture b.
func (j *poolJob) grad(b, first int) {
	var top [poolColumns]float32
	var at [poolColumns]int
	n := min(poolColumns, j.C-first)
	oh, ow := j.OutH(), j.OutW()
	for i := range j.InH * j.InW {
		clear(j.y[(b*j.InH*j.InW+i)*j.C+first:][:n])
	}
	for oy := range oh {
		for ox := range ow {
			for iy := oy * j.Stride; iy < min(oy*j.Stride+j.K, j.InH); iy++ {
				for ix := ox * j.Stride; ix < min(ox*j.Stride+j.K, j.InW); ix++ {
					pixel := ((b*j.InH+iy)*j.InW+ix)*j.C + first
					begin := iy == oy*j.Stride && ix == ox*j.Stride
					for k, v := range j.x[pixel:][:n] {
						if begin || v > top[k] || v != v {
							top[k], at[k] = v, pixel+k
						}
					}
				}
			}
			for k, d := range j.dy[((b*oh+oy)*ow+ox)*j.C+first:][:n] {
				j.y[at[k]] += d
			}
		}
	}
}
