package kernel

import (
	"fmt"
	"image"
	"math"
)

// Filter is a resampling filter.
type Filter int

// The filters, by Pillow's definitions.
const (
	Box      Filter = iota // mean of the covered pixels
	Bilinear               // triangle of radius 1
	Bicubic                // Keys' cubic with a = -0.5, radius 2
	Lanczos                // sinc windowed by sinc, radius 3
	Nearest                // the pixel in which the middle of the new one lies
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
	case Nearest:
		return "nearest"
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

// View is a part of a resized picture: the pixels of Part of the Width×Height that
// the whole picture would have.
type View struct {
	Width, Height int
	Part          image.Rectangle // not empty, 0 ≤ x < Width, 0 ≤ y < Height
}

// Whole is the view of all of a resized picture.
func Whole(width, height int) View { return View{width, height, image.Rect(0, 0, width, height)} }

// Reach returns the pixels that the view depends on, of a picture of sw×sh that is
// resized by f.
func (v View) Reach(sw, sh int, f Filter) image.Rectangle {
	v.check("Reach", sw, sh, f)
	x, y := v.axes(sw, sh, f)
	return image.Rect(x.lo, y.lo, x.hi, y.hi)
}

func (v View) axes(sw, sh int, f Filter) (x, y *axis) {
	return axisFor(axisKey{sw, v.Width, v.Part.Min.X, v.Part.Max.X, f}), axisFor(axisKey{sh, v.Height, v.Part.Min.Y, v.Part.Max.Y, f})
}

// check panics if there is no such view of a picture of sw×sh.
func (v View) check(op string, sw, sh int, f Filter) {
	if v.Width <= 0 || v.Height <= 0 || sw <= 0 || sh <= 0 {
		panic(fmt.Sprintf("kernel: %s: %d×%d to %d×%d: a size is not positive", op, sw, sh, v.Width, v.Height))
	}
	if v.Part.Empty() || !v.Part.In(image.Rect(0, 0, v.Width, v.Height)) {
		panic(fmt.Sprintf("kernel: %s: part %v of %d×%d", op, v.Part, v.Width, v.Height))
	}
	if f < Box || f > Nearest {
		panic(fmt.Sprintf("kernel: %s: unknown filter %d", op, int(f)))
	}
}

// axisKey names the weights of pixels first ≤ o < end of an axis of in pixels
// resized to out.
type axisKey struct {
	in, out, first, end int
	filter              Filter
}

// axis has the weights of one axis.
type axis struct {
	lo, hi  int     // the source pixels that outputs depend on
	start   []int32 // first source pixel of each output pixel
	count   []int32 // number of weights of each output pixel
	taps    int     // room for weights of each output pixel
	real    []float64
	weights []int32 // (outputs, taps), fixed point
}

// axes keeps weights: their sines cost more than resampling a plane.
var axes = newCache[axisKey, *axis](64)

// axisFor returns the weights of an axis, by Pillow's precompute_coeffs and
// normalize_coeffs_8bpc. An axis that keeps its size has one weight for each pixel.
func axisFor(k axisKey) *axis {
	return axes.get(k, newAxis)
}

func newAxis(k axisKey) *axis {
	a := new(axis)
	if k.filter == Nearest || k.in == k.out {
		a.fillNearest(k)
	} else {
		a.fill(k)
	}
	a.lo = k.in
	for o, start := range a.start {
		a.lo, a.hi = min(a.lo, int(start)), max(a.hi, int(start+a.count[o]))
	}
	return a
}

// make makes room for n outputs of up to taps weights.
func (a *axis) make(n, taps int) {
	a.start, a.count, a.taps = make([]int32, n), make([]int32, n), taps
	a.real, a.weights = make([]float64, n*taps), make([]int32, n*taps)
}

func (a *axis) fill(k axisKey) {
	f := k.filter
	scale := float64(k.in) / float64(k.out)
	shrink := max(scale, 1)
	support := f.support() * shrink
	taps := int(math.Ceil(support))*2 + 1
	a.make(k.end-k.first, taps)
	for o := range a.start {
		center := float64((float64(k.first+o) + 0.5) * scale)
		lo := max(int(center-support+0.5), 0)
		n := min(int(center+support+0.5), k.in) - lo
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
}

// fillNearest gives each output the pixel that its middle lies in. Pillow adds the
// scale up from output to output (ImagingScaleAffine), and so do we.
func (a *axis) fillNearest(k axisKey) {
	a.make(k.end-k.first, 1)
	scale := float64(k.in) / float64(k.out)
	at := float64(scale * 0.5)
	for o := range k.end {
		if o >= k.first {
			i := o - k.first
			a.start[i], a.count[i] = int32(min(int(at), k.in-1)), 1
			a.real[i], a.weights[i] = 1, 1<<resamplePrecision
		}
		at += scale
	}
}

// A resampler has the weights of the axis in work and the buffers of a resize,
// for reuse.
type resampler struct {
	*axis
	first int // row of the picture that the rows of the second pass begin with
	rows  []byte
	sums  []int32
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
	const op = "ResizeRGB"
	Whole(dw, dh).check(op, sw, sh, f)
	needLen(op, "src", len(src), sw*sh*3)
	needLen(op, "dst", len(dst), dw*dh*3)
	ResizeRGBView(dst, Whole(dw, dh), src, 3*sw, sw, sh, f)
}

// ResizeRGBView is a part of what [ResizeRGB] makes of a part of a picture, and no
// more work than that part is. Rows of the source, of sw pixels, begin stride bytes
// apart, the first one at src[0]; as with Image.crop before Image.resize, pixels
// around them play no role. dst is (to.Part.Dy(), to.Part.Dx(), 3), the pixels of
// Image.crop(to.Part) after Image.resize.
//
// ResizeRGBView panics as ResizeRGB does, and if to.Part is not a part of the resized
// picture, stride is less than 3·sw or src ends before the last row does.
func ResizeRGBView(dst []byte, to View, src []byte, stride, sw, sh int, f Filter) {
	const op = "ResizeRGBView"
	to.check(op, sw, sh, f)
	dw, dh := to.Part.Dx(), to.Part.Dy()
	needLen(op, "dst", len(dst), dw*dh*3)
	if need := (sh-1)*stride + 3*sw; stride < 3*sw || len(src) < need {
		panic(fmt.Sprintf("kernel: %s: src of %d bytes with rows of 3·%d every %d, want at least %d", op, len(src), sw, stride, need))
	}
	x, y := to.axes(sw, sh, f)
	r := resamplers.get()
	rows := dst
	if to.Height != sh {
		r.rows = grow(r.rows, dw*(y.hi-y.lo)*3)
		rows = r.rows
	}
	r.axis = x
	for i := y.lo; i < y.hi; i++ {
		row, from := rows[(i-y.lo)*dw*3:][:dw*3], src[i*stride:][:sw*3]
		if to.Width == sw {
			copy(row, from[3*x.lo:])
		} else {
			r.horizontal(row, from)
		}
	}
	if to.Height != sh {
		r.axis, r.first = y, y.lo
		r.sums = grow(r.sums, dw*3)
		for i := range dh {
			r.vertical(dst[i*dw*3:][:dw*3], rows, i)
		}
	}
	resamplers.put(r)
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
		row := src[(int(r.start[y])-r.first+t)*n:][lo:n]
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
