package nn

import (
	"fmt"
	"math"
)

// ResizePositions maps a table of positions src (fromH·fromW, width) on a grid to one
// on another grid, dst (toH·toW, width), by bicubic interpolation:
//
//	dst[y,x] = Σ_{j,i=-1..2} w(j-v)·w(i-u)·src[⌊sy⌋+j, ⌊sx⌋+i]
//
// with sy = (y+½)·fromH/toH - ½ = ⌊sy⌋+v, and sx, u alike. w is the cubic convolution
// kernel with a = -0.75, and places outside the grid are those at its border:
// PyTorch's bicubic without antialiasing and with align_corners false, as transformers
// resizes the positions of DINOv2 and CLIP. Sums run in float64.
//
// ResizePositions panics if a length does not fit.
//
// Source: Keys, Cubic Convolution Interpolation for Digital Image Processing, 1981, eq. 15.
func ResizePositions(dst, src []float32, width, fromH, fromW, toH, toW int) {
	if width < 1 || min(fromH, fromW, toH, toW) < 1 || len(src) != fromH*fromW*width || len(dst) != toH*toW*width {
		panic(fmt.Sprintf("nn: positions: tables of %d and %d values for grids of %d×%d and %d×%d, width %d",
			len(src), len(dst), fromH, fromW, toH, toW, width))
	}
	if fromH == toH && fromW == toW {
		copy(dst, src)
		return
	}
	rows, columns := taps(fromH, toH), taps(fromW, toW)
	sum := make([]float64, width)
	for y, ty := range rows {
		for x, tx := range columns {
			clear(sum)
			for j, wy := range ty.weight {
				for i, wx := range tx.weight {
					w := wy * wx
					for c, v := range src[(ty.at[j]*fromW+tx.at[i])*width:][:width] {
						sum[c] += w * float64(v)
					}
				}
			}
			for c, v := range sum {
				dst[(y*toW+x)*width+c] = float32(v)
			}
		}
	}
}

// tap says of which four places along one side a new one is made.
type tap struct {
	at     [4]int
	weight [4]float64
}

func taps(from, to int) []tap {
	list := make([]tap, to)
	for i := range list {
		place := (float64(i)+.5)*float64(from)/float64(to) - .5
		low := math.Floor(place)
		for k := range 4 {
			list[i].at[k] = min(max(int(low)+k-1, 0), from-1)
			list[i].weight[k] = cubic(math.Abs(place - low - float64(k-1)))
		}
	}
	return list
}

// cubic is the cubic convolution kernel, a = -0.75, at distance d ≥ 0.
func cubic(d float64) float64 {
	const a = -.75
	switch {
	case d <= 1:
		return ((a+2)*d-(a+3))*d*d + 1
	case d < 2:
		return ((a*d-5*a)*d+8*a)*d - 4*a
	}
	return 0
}
