package scenes

import (
	"math"
	"math/rand/v2"
)

// canvas is the reusable memory for drawing one picture.
type canvas struct {
	size     int
	pixels   []float32 // size·size·3, display space in [0, 1]
	coverage []float32 // size·size, the largest share of the pixel that one object covers
	waves    []float32 // rows and columns of the background's separable waves
	hits     []uint8   // samples of the current row that the object covers; all zero between rows
}

func newCanvas(size int) *canvas {
	return &canvas{size: size, pixels: make([]float32, size*size*3), coverage: make([]float32, size*size), waves: make([]float32, 4*size), hits: make([]uint8, size)}
}

// fill paints the background and clears the coverage. Every style is a mix of two colours by a weight that is a
// sum or product of functions of x and y, so waves cost a sine per row and column, not per pixel.
func (c *canvas) fill(p *profile) {
	clear(c.coverage)
	n := c.size
	k := 64 / float64(n)
	sin, cos := math.Sincos(p.phase)
	xs, ys, xc, yc := c.waves[:n], c.waves[n:2*n], c.waves[2*n:3*n], c.waves[3*n:]
	for i := range n {
		f := float64(i) * k
		switch p.style {
		case gradient:
			xs[i], ys[i] = float32(.5+(f-32)*cos/80), float32((f-32)*sin/80)
		case blobs:
			xs[i], ys[i] = float32(math.Sin(f*.11+p.phase)), float32(math.Sin(f*.13+2*p.phase))
		case bands: // sin(a+b) = sin a cos b + cos a sin b
			s, c := math.Sincos(f * cos * .55)
			xs[i], xc[i] = float32(s), float32(c)
			s, c = math.Sincos(f * sin * .55)
			ys[i], yc[i] = float32(s), float32(c)
		}
	}
	var base, step [3]float32
	for ch := range 3 {
		base[ch], step[ch] = float32(p.ground[ch]), float32(p.second[ch]-p.ground[ch])
	}
	for y := range n {
		row := c.pixels[y*n*3:][:n*3]
		dark := int(float64(y)*k/8) & 1
		for x := range n {
			var t float32
			switch p.style {
			case gradient:
				t = min(1, max(0, xs[x]+ys[y]))
			case blobs:
				t = .5 + .5*xs[x]*ys[y]
			case checks:
				if int(float64(x)*k/8)&1 == dark {
					t = .35
				}
			case bands:
				t = .15 + .15*(xs[x]*yc[y]+xc[x]*ys[y])
			}
			q := row[x*3:][:3]
			q[0], q[1], q[2] = base[0]+step[0]*t, base[1]+step[1]*t, base[2]+step[2]*t
		}
	}
}

// rowSpan returns the part of the row at height y, within [x0, x1], on which |u| < reachU and |v| < reachV.
func (t *stencil) rowSpan(y, x0, x1 float64) (from, to float64) {
	dy := y - t.y
	from, to = clip(t.ux, t.uy*dy, t.reachU, x0-t.x, x1-t.x)
	from, to = clip(t.vx, t.vy*dy, t.reachV, from, to)
	return from + t.x, to + t.x
}

// clip returns the part of [from, to] on which |slope·x + offset| < reach; from > to when it is empty.
func clip(slope, offset, reach, from, to float64) (float64, float64) {
	if math.Abs(slope) < 1e-9 {
		if math.Abs(offset) < reach {
			return from, to
		}
		return 1, 0
	}
	a, b := (-reach-offset)/slope, (reach-offset)/slope
	return math.Max(from, math.Min(a, b)), math.Min(to, math.Max(a, b))
}

// samplesPerSide is the number of samples across a pixel.
func samplesPerSide(size int) int {
	if size > 96 {
		return 2
	}
	return 3
}

// draw composites o over the picture, with 3×3 samples to a pixel, or 2×2 above 96 pixels.
func (c *canvas) draw(o *object) {
	n := c.size
	side := samplesPerSide(n)
	t := o.prepare(float64(n) / 64)
	e := o.extent()
	y0, y1 := max(0, int(o.y-e)), min(n-1, int(o.y+e))
	step := 1 / float64(side)
	weight := float32(o.alpha * step * step)
	r, g, b := float32(o.rgb[0]), float32(o.rgb[1]), float32(o.rgb[2])
	for y := y0; y <= y1; y++ {
		first, last := n, -1
		for sub := range side {
			py := float64(y) + (float64(sub)+.5)*step
			from, to := t.rowSpan(py, 0, float64(n))
			i0, i1 := int(math.Ceil(from/step-.5)), min(n*side-1, int(math.Floor(to/step-.5)))
			if i0 > i1 {
				continue
			}
			u, v := t.local((float64(i0)+.5)*step, py)
			for i := i0; i <= i1; i++ {
				if t.covers(u, v) {
					c.hits[i/side]++
				}
				u += t.ux * step
				v += t.vx * step
			}
			first, last = min(first, i0/side), max(last, i1/side)
		}
		for x := first; x <= last; x++ {
			if c.hits[x] == 0 {
				continue
			}
			a := float32(c.hits[x]) * weight
			c.hits[x] = 0
			q := c.pixels[(y*n+x)*3:][:3]
			q[0] += (r - q[0]) * a
			q[1] += (g - q[1]) * a
			q[2] += (b - q[2]) * a
			c.coverage[y*n+x] = max(c.coverage[y*n+x], a)
		}
	}
}

// ink returns the share of the picture that the objects cover.
func (c *canvas) ink() float64 {
	sum := 0.0
	for _, v := range c.coverage {
		sum += float64(v)
	}
	return sum / float64(len(c.coverage))
}

// noiseDeviation is the standard deviation of the pixel noise in display space.
const noiseDeviation = .012

// noiseTable holds the normal distribution at 256 evenly spaced quantiles, in steps of 1/255 of the display range.
var noiseTable = func() (table [256]float32) {
	for i := range table {
		table[i] = float32(math.Sqrt2 * math.Erfinv(2*(float64(i)+.5)/256-1) * noiseDeviation * 255)
	}
	return table
}()

// develop adds noise and writes the picture as 8-bit RGB to dst, which holds size·size·3 bytes. One random word
// serves eight values.
func (c *canvas) develop(dst []byte, rng *rand.PCG) {
	var word uint64
	for i, v := range c.pixels {
		if i&7 == 0 {
			word = rng.Uint64()
		}
		dst[i] = byte(min(255, max(0, v*255+noiseTable[word&255])) + .5)
		word >>= 8
	}
}

// inkGrid is the number of sample points across a picture when its ink is estimated.
const inkGrid = 32

// estimateInk estimates the share of the picture that the objects cover, from a coarse grid of points, each counted
// with the opacity of the first object over it.
func estimateInk(objects []object, size int) float64 {
	var seen [inkGrid]uint32 // a bit for each point
	step := float64(size) / inkGrid
	ink := 0.0
	for i := range objects {
		o := &objects[i]
		t := o.prepare(float64(size) / 64)
		e := o.extent()
		y0, y1 := max(0, int((o.y-e)/step)), min(inkGrid-1, int((o.y+e)/step))
		for y := y0; y <= y1; y++ {
			py := (float64(y) + .5) * step
			from, to := t.rowSpan(py, 0, float64(size))
			for x := max(0, int(math.Ceil(from/step-.5))); x < inkGrid; x++ {
				px := (float64(x) + .5) * step
				if px > to {
					break
				}
				if seen[y]&(1<<x) != 0 {
					continue
				}
				if u, v := t.local(px, py); t.covers(u, v) {
					seen[y] |= 1 << x
					ink += o.alpha
				}
			}
		}
	}
	return ink / (inkGrid * inkGrid)
}
