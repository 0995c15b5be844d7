package baseline

import (
	"math"

	"relsim/dataloader"
)

// HOG is the measure "hog": the cosine of histograms of oriented gradients of the luma of 64×64 pixels. Gradients are
// central differences; each pixel votes with its magnitude for the two nearest of 9 unsigned orientations in its cell
// of 8×8 pixels; blocks of 2×2 cells, one cell apart, are normalised to length 1, clipped at 0.2 and normalised again.
//
// Source: Dalal, Triggs, Histograms of Oriented Gradients for Human Detection, CVPR 2005.
func HOG() Measure {
	const (
		side         = 64
		cell         = 8
		cells        = side / cell
		orientations = 9
		block        = 4 * orientations
		blocks       = cells - 1
	)
	return &features{vectors: vectors{name: "hog"}, side: side, width: blocks * blocks * block,
		extract: func(dst []float32, im *dataloader.Image) {
			g := grey(im)
			var votes [cells][cells][orientations]float32
			for y := range side {
				for x := range side {
					dx := g[y*side+min(x+1, side-1)] - g[y*side+max(x-1, 0)]
					dy := g[min(y+1, side-1)*side+x] - g[max(y-1, 0)*side+x]
					magnitude := math.Hypot(float64(dx), float64(dy))
					if magnitude == 0 {
						continue
					}
					// Orientation o has its centre at (o+½)·180°/9.
					angle := math.Mod(math.Atan2(float64(dy), float64(dx))+math.Pi, math.Pi)
					at := angle/math.Pi*orientations - 0.5 + orientations
					low := int(at)
					share := at - float64(low)
					c := &votes[y/cell][x/cell]
					c[low%orientations] += float32(magnitude * (1 - share))
					c[(low+1)%orientations] += float32(magnitude * share)
				}
			}
			for by := range blocks {
				for bx := range blocks {
					out := dst[(by*blocks+bx)*block:][:block]
					for i := range 4 {
						copy(out[i*orientations:], votes[by+i/2][bx+i%2][:])
					}
					normalize(out)
					for i := range out {
						out[i] = min(out[i], 0.2)
					}
					normalize(out)
				}
			}
			normalize(dst)
		}}
}
