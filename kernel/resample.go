package kernel

import (
	"fmt"
	"math"
)

// Filter is a resampling filter.
type Filter int

// The filters of [ResizeRGB], by Pillow's definitions.
const (
	Box      Filter = iota // mean of the covered pixels
	Bilinear               // triangle of radius 1
	Bicubic                // Keys' cubic with a = -0.5, radius 2
	Lanczos                // sinc windowed by sinc, radius 3
)

// String names the filter.
func (f Filter) String() string {
	switch f {
	case Box:
		return "box"
	case Bilinear:
		return "bilinear"
	case Bicubic:
		return "bicubic"
	case Lanczos:
		return "lanczos"
	}
	return fmt.Sprintf("Filter(%d)", int(f))
}

// support is the radius of the filter in output pixels.
func (f Filter) support() float64 {
	return [...]float64{Box: 0.5, Bilinear: 1, Bicubic: 2, Lanczos: 3}[f]
}

// at is the filter's value at x. Products are rounded explicitly, because Go may
// fuse them with additions on some processors, and Pillow's C does not.
func (f Filter) at(x float64) float64 {
	switch f {
	case Box:
		if x > -0.5 && x <= 0.5 {
			return 1
		}
	case Bilinear:
		if x = math.Abs(x); x < 1 {
			return 1 - x
		}
	case Bicubic:
		const a = -0.5
		x = math.Abs(x)
		if x < 1 {
			return float64(float64((float64((a+2)*x)-(a+3))*x)*x) + 1
		}
		if x < 2 {
			return (float64((float64((x-5)*x)+8)*x) - 4) * a
		}
	case Lanczos:
		if -3 <= x && x < 3 {
			return sinc(x) * sinc(x/3)
		}
	}
	return 0
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	x *= math.Pi
	return math.Sin(x) / x
}

// resamplePrecision is the number of fraction bits of a weight.
const resamplePrecision = 32 - 8 - 2

// axisKey names the weights of an axis of in pixels resized to out.
type axisKey struct {
	in, out int
	filter  Filter
}

// axis has the weights of one axis.
type axis struct {
	start   []int32 // first source pixel of each output pixel
	count   []int32 // number of weights of each output pixel
	taps    int     // room for weights of each output pixel
	real    []float64
	weights []int32 // (out, taps), fixed point
}

// axes keeps weights: their sines cost more than resampling a plane.
var axes = newCache[axisKey, *axis](64)

// axisFor returns the weights for an axis of in pixels resized to out, by
// Pillow's precompute_coeffs and normalize_coeffs_8bpc.
func axisFor(in, out int, f Filter) *axis {
	return axes.get(axisKey{in, out, f}, newAxis)
}

func newAxis(k axisKey) *axis {
	in, out, f := k.in, k.out, k.filter
	scale := float64(in) / float64(out)
	shrink := max(scale, 1)
	support := f.support() * shrink
	taps := int(math.Ceil(support))*2 + 1
	a := &axis{
		start: make([]int32, out), count: make([]int32, out), taps: taps,
		real: make([]float64, out*taps), weights: make([]int32, out*taps),
	}
	for o := range out {
		center := float64((float64(o) + 0.5) * scale)
		lo := max(int(center-support+0.5), 0)
		n := min(int(center+support+0.5), in) - lo
		a.start[o], a.count[o] = int32(lo), int32(n)
		real, weights := a.real[o*taps:][:n], a.weights[o*taps:][:n]
		var sum float64
		for i := range real {
			real[i] = f.at(float64((float64(i+lo) - center + 0.5) * (1 / shrink)))
			sum += real[i]
		}
		for i := range real {
			if sum != 0 {
				real[i] /= sum
			}
			w := float64(real[i] * (1 << resamplePrecision))
			if w < 0 {
				weights[i] = int32(w - 0.5)
			} else {
				weights[i] = int32(w + 0.5)
			}
		}
	}
	return a
}

// A resampler has the weights of the axis in work and the buffers of a resize,
// for reuse.
type resampler struct {
	*axis
	rows []byte
	sums []int32
}

var resamplers freelist[resampler]

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// ResizeRGB resamples a picture of 8-bit RGB pixels, interleaved, bit for bit as
// Pillow's Image.resize does: the horizontal pass, rounded to 8 bits, then the
// vertical one; filters widened when shrinking; weights in 22-bit fixed point.
//
// src is (sh, sw, 3), dst (dh, dw, 3). They must not overlap.
//
// ResizeRGB panics if a length does not fit, a size is not positive or the filter
// is unknown.
//
// Source: Pillow 9.4, src/libImaging/Resample.c.
func ResizeRGB(dst []byte, dw, dh int, src []byte, sw, sh int, f Filter) {
	checkResize("ResizeRGB", dw, dh, sw, sh, f)
	needLen("ResizeRGB", "src", len(src), sw*sh*3)
	ResizeRGBCrop(dst, dw, dh, src, 3*sw, sw, sh, f)
}

// ResizeRGBCrop is [ResizeRGB] of a part of a picture: its rows of sw pixels begin
// stride bytes apart, the first one at src[0]. As with Image.crop before
// Image.resize, pixels outside of the part play no role.
//
// ResizeRGBCrop panics as ResizeRGB does, and if stride is less than 3·sw or src
// ends before the last row does.
func ResizeRGBCrop(dst []byte, dw, dh int, src []byte, stride, sw, sh int, f Filter) {
	const op = "ResizeRGBCrop"
	checkResize(op, dw, dh, sw, sh, f)
	needLen(op, "dst", len(dst), dw*dh*3)
	if need := (sh-1)*stride + 3*sw; stride < 3*sw || len(src) < need {
		panic(fmt.Sprintf("kernel: %s: src of %d bytes with rows of 3·%d every %d, want at least %d", op, len(src), sw, stride, need))
	}
	r := resamplers.get()
	rows := dst
	if dh != sh {
		r.rows = grow(r.rows, dw*sh*3)
		rows = r.rows
	}
	if dw != sw {
		r.axis = axisFor(sw, dw, f)
		for y := range sh {
			r.horizontal(rows[y*dw*3:(y+1)*dw*3], src[y*stride:][:sw*3])
		}
	} else {
		for y := range sh {
			copy(rows[y*dw*3:(y+1)*dw*3], src[y*stride:])
		}
	}
	if dh != sh {
		r.axis = axisFor(sh, dh, f)
		r.sums = grow(r.sums, dw*3)
		for y := range dh {
			r.vertical(dst[y*dw*3:(y+1)*dw*3], rows, y)
		}
	}
	resamplers.put(r)
}

func checkResize(op string, dw, dh, sw, sh int, f Filter) {
	if dw <= 0 || dh <= 0 || sw <= 0 || sh <= 0 {
		panic(fmt.Sprintf("kernel: %s: %d×%d to %d×%d: a size is not positive", op, sw, sh, dw, dh))
	}
	if f < Box || f > Lanczos {
		panic(fmt.Sprintf("kernel: %s: unknown filter %d", op, int(f)))
	}
}

var (
	resamplePixelsKernel = newDispatch(resamplePixelsGeneric)
	resampleRowsKernel   = newDispatch(resampleRowsGeneric)
)

// horizontal computes one row of the first pass.
func (r *resampler) horizontal(dst, src []byte) { resamplePixelsKernel.get()(r, dst, src) }

func resamplePixelsGeneric(r *resampler, dst, src []byte) {
	for x := range len(dst) / 3 {
		r.pixel(dst, src, x)
	}
}

// pixel computes pixel x of a row.
func (r *resampler) pixel(dst, src []byte, x int) {
	weights := r.weights[x*r.taps:][:r.count[x]]
	p := src[r.start[x]*3:][:3*len(weights)]
	const half = 1 << (resamplePrecision - 1)
	var red, green, blue int32 = half, half, half
	for i, w := range weights {
		q := p[3*i : 3*i+3 : 3*i+3]
		red += int32(q[0]) * w
		green += int32(q[1]) * w
		blue += int32(q[2]) * w
	}
	d := dst[3*x : 3*x+3 : 3*x+3]
	d[0], d[1], d[2] = clip8(red), clip8(green), clip8(blue)
}

// vertical computes row y of the second pass.
func (r *resampler) vertical(dst, src []byte, y int) { resampleRowsKernel.get()(r, dst, src, y) }

func resampleRowsGeneric(r *resampler, dst, src []byte, y int) {
	r.columns(dst, src, y, 0)
}

// columns computes the bytes of row y from byte lo on.
func (r *resampler) columns(dst, src []byte, y, lo int) {
	n := len(dst)
	sums := r.sums[lo:n]
	for i := range sums {
		sums[i] = 1 << (resamplePrecision - 1)
	}
	for t, w := range r.weights[y*r.taps:][:r.count[y]] {
		row := src[(int(r.start[y])+t)*n:][lo:n]
		for i, v := range row {
			sums[i] += int32(v) * w
		}
	}
	for i, v := range sums {
		dst[lo+i] = clip8(v)
	}
}

// clip8 rounds a fixed-point sum down to a byte.
func clip8(v int32) byte { return byte(min(max(v>>resamplePrecision, 0), 255)) }
