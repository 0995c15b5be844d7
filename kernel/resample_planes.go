package kernel

import (
	"fmt"
	"image"
	"math"
)

// YCbCr is a picture in planes, as JPEG stores it: luma Y and the colour
// differences Cb and Cr, full range (ITU-R BT.601 as JFIF uses it). A grey picture
// has no Cb and Cr.
type YCbCr struct {
	Width, Height    int    // in luma samples
	SubX, SubY       int    // luma samples per sample of Cb and Cr, along each axis: 1 or 2
	Y, Cb, Cr        []byte // rows from the top
	YStride, CStride int    // samples from one row to the next
}

// ChromaSize is the size of Cb and Cr: ⌈Width/SubX⌉ × ⌈Height/SubY⌉.
func (p *YCbCr) ChromaSize() (w, h int) {
	return (p.Width + p.SubX - 1) / p.SubX, (p.Height + p.SubY - 1) / p.SubY
}

// ResizeYCbCr cuts a part out of a picture in planes, resamples it, and makes a view
// of the result 8-bit RGB, interleaved:
//
//	dst[y,x,·] = round(RGB(Σ v[Y+y,j]·h[X+x,i]·p(left+i, top+j)))
//
// where p is the picture with its chroma interpolated to full resolution as
// libjpeg does ("fancy upsampling": weights 3/4 and 1/4, borders repeated), left and
// top are the corner of crop and X and Y that of to.Part, h and v are the weights of
// [ResizeRGB] for crop resized to to.Width×to.Height, and RGB is the matrix of JFIF.
// Interpolation is folded into the weights, planes are resampled apart, and rounding
// and clipping to 0 … 255 come once, at the end. Along an axis that keeps its size the
// weights are 1, and only chroma is interpolated.
//
// Weights have at least 14 bits and rows between the passes 6 bits of fraction: a
// byte is within 0.5 + 0.06·max(1, s/8) of the formula in exact arithmetic, where s is
// how much the picture shrinks. Sums are of integers, so that the bits are the same on
// every tier.
//
// src is (Height, Width), crop a part of it, and dst (to.Part.Dy(), to.Part.Dx(), 3).
// Samples that no output depends on play no role: those outside of crop, or of to's
// [View.Reach] in it, and, for chroma, farther than one sample from there.
//
// ResizeYCbCr panics if a length or a number does not fit.
//
// Source: ITU-T T.871 (the matrix); Pillow 9.4, Resample.c (the weights);
// libjpeg-turbo 2.1, jdsample.c (the interpolation).
func ResizeYCbCr(dst []byte, to View, src *YCbCr, crop image.Rectangle, f Filter) {
	checkPlanes(dst, to, src, crop, f)
	work := planeWorks.get()
	work.resize(dst, to, src, crop, f)
	planeWorks.put(work)
}

func checkPlanes(dst []byte, to View, src *YCbCr, crop image.Rectangle, f Filter) {
	const op = "ResizeYCbCr"
	to.check(op, crop.Dx(), crop.Dy(), f)
	needLen(op, "dst", len(dst), 3*to.Part.Dx()*to.Part.Dy())
	if !crop.In(image.Rect(0, 0, src.Width, src.Height)) {
		panic(fmt.Sprintf("kernel: %s: part %v of %d×%d", op, crop, src.Width, src.Height))
	}
	plane := func(name string, p []byte, stride, w, h int) {
		if need := (h-1)*stride + w; stride < w || len(p) < need {
			panic(fmt.Sprintf("kernel: %s: %s of %d bytes with rows of %d every %d, want at least %d", op, name, len(p), w, stride, need))
		}
	}
	plane("Y", src.Y, src.YStride, src.Width, src.Height)
	if src.Cb == nil && src.Cr == nil {
		return
	}
	if src.SubX < 1 || src.SubX > 2 || src.SubY < 1 || src.SubY > 2 {
		panic(fmt.Sprintf("kernel: %s: subsampling %d×%d, want 1 or 2 each", op, src.SubX, src.SubY))
	}
	w, h := src.ChromaSize()
	plane("Cb", src.Cb, src.CStride, w, h)
	plane("Cr", src.Cr, src.CStride, w, h)
}

// rowFraction is the number of fraction bits of rows between the passes.
const rowFraction = 6

// Rows of the work have room for vectors: outputs in multiples of rowPad, weights
// of the horizontal pass in multiples of tapPad.
const (
	rowPad = 16
	tapPad = 16
)

// planeWork is the scratch of ResizeYCbCr.
type planeWork struct {
	middle  []int16    // one row after the vertical pass
	rows    [3][]int16 // one row of output of each plane
	rgb     []byte     // one row of output where dst has no room for whole vectors
	luma    planeAxes
	chroma  planeAxes
	request planeKey // the axes at hand; a set of pictures often has one size
	have    bool
}

type planeAxes struct{ x, y *planeAxis }

var planeWorks freelist[planeWork]

type planeKey struct {
	width, height, subX, subY int
	to                        View
	crop                      image.Rectangle
	filter                    Filter
}

func (k *planeWork) resize(dst []byte, to View, src *YCbCr, crop image.Rectangle, f Filter) {
	colour := src.Cb != nil
	request := planeKey{src.Width, src.Height, src.SubX, src.SubY, to, crop, f}
	if !colour {
		request.subX, request.subY = 1, 1
	}
	if !k.have || k.request != request {
		x, y := to.axes(crop.Dx(), crop.Dy(), f)
		k.luma = planeAxes{newPlaneAxis(x, src.Width, crop.Min.X, 1), newPlaneAxis(y, src.Height, crop.Min.Y, 1)}
		k.chroma = planeAxes{newPlaneAxis(x, src.Width, crop.Min.X, request.subX), newPlaneAxis(y, src.Height, crop.Min.Y, request.subY)}
		k.request, k.have = request, true
	}
	width := to.Part.Dx()
	padded := (width + rowPad - 1) / rowPad * rowPad
	for i := range k.rows {
		k.rows[i] = grow(k.rows[i], padded)
	}
	k.middle = grow(k.middle, max(k.luma.x.room(), k.chroma.x.room()))
	k.rgb = grow(k.rgb, 3*padded)
	rgb, grey, rows := planesToRGBKernel.get(), greyToRGBKernel.get(), &k.rows
	for y := range to.Part.Dy() {
		out := dst[3*y*width:]
		if len(out) < 3*padded {
			out = k.rgb
		}
		k.row(rows[0], src.Y, src.YStride, &k.luma, y)
		if colour {
			k.row(rows[1], src.Cb, src.CStride, &k.chroma, y)
			k.row(rows[2], src.Cr, src.CStride, &k.chroma, y)
			rgb(out[:3*padded], rows[0], rows[1], rows[2])
		} else {
			grey(out[:3*padded], rows[0])
		}
		if len(dst[3*y*width:]) < 3*padded {
			copy(dst[3*y*width:], out[:3*width])
		}
	}
}

// row computes row y of a plane's output, in rowFraction bits of fraction.
func (k *planeWork) row(dst []int16, src []byte, stride int, a *planeAxes, y int) {
	weights := a.y.weights[y*a.y.taps:][:a.y.taps]
	planeColumnsKernel.get()(k.middle[:a.x.hi-a.x.lo], src[int(a.y.start[y])*stride+a.x.lo:], stride, weights, a.y.shift-rowFraction)
	planePixelsKernel.get()(dst, k.middle, a.x)
}

// planeAxis has the weights of one axis of a plane.
type planeAxis struct {
	lo, hi  int     // the samples that outputs depend on
	start   []int32 // first sample of each output; of the horizontal pass, counted from lo
	taps    int     // weights of each output, most of them 0 at borders
	weights []int16 // (outputs, taps), in shift bits of fraction; those of an output add up to 1
	padded  int     // taps rounded up to tapPad
	wide    []int16 // weights again, (outputs rounded up to rowPad, padded)
	near    []int32 // start again, counted from lo, of as many outputs
	shift   int
}

// newPlaneAxis moves weights, those of a part, to where it begins in an axis of
// n luma samples, and for a plane of every second one folds the interpolation
// into them.
func newPlaneAxis(weights *axis, n, first, sub int) *planeAxis {
	out := len(weights.start)
	samples := (n + sub - 1) / sub
	real := weights.real
	taps := weights.taps
	start, count := make([]int, out), make([]int, out)
	for o := range out {
		start[o], count[o] = int(weights.start[o])+first, int(weights.count[o])
	}
	if sub == 2 {
		folded := taps/2 + 3
		real = make([]float64, out*folded)
		for o := range out {
			lo := max(start[o]/2-1, 0)
			hi := lo
			row := real[o*folded:]
			add := func(i int, w float64) {
				i = min(max(i, 0), samples-1)
				row[i-lo] += w
				hi = max(hi, i+1)
			}
			for t, w := range weights.real[o*taps:][:count[o]] {
				p := start[o] + t
				add(p/2, float64(0.75*w))
				add(p/2-1+p&1*2, float64(0.25*w))
			}
			start[o], count[o] = lo, hi-lo
		}
		taps = folded
	}
	a := &planeAxis{lo: samples, start: make([]int32, out)}
	for o := range out {
		a.taps = max(a.taps, count[o])
	}
	for o := range out {
		// Every output has as many weights: those near the end begin earlier.
		s := min(start[o], samples-a.taps)
		a.start[o] = int32(s)
		a.lo, a.hi = min(a.lo, s), max(a.hi, s+a.taps)
	}
	a.shift = planeShift(real, taps, count)
	a.weights = make([]int16, out*a.taps)
	for o := range out {
		quantise(a.weights[o*a.taps+start[o]-int(a.start[o]):], real[o*taps:][:count[o]], a.shift)
	}
	a.padded = (a.taps + tapPad - 1) / tapPad * tapPad
	padded := (out + rowPad - 1) / rowPad * rowPad
	a.wide, a.near = make([]int16, padded*a.padded), make([]int32, padded)
	for o := range out {
		copy(a.wide[o*a.padded:], a.weights[o*a.taps:][:a.taps])
		a.near[o] = a.start[o] - int32(a.lo)
	}
	return a
}

// room is the length of a row that the horizontal pass may read: whole vectors of
// weights, the last ones 0.
func (a *planeAxis) room() int { return a.hi - a.lo + a.padded + rowPad }

// planeShift returns the number of fraction bits of weights: as many as keep each
// within 16 bits with their sign, and the sum of their magnitudes below 2¹⁶, so
// that a sum of products with 16-bit numbers stays within 32 bits.
func planeShift(real []float64, taps int, count []int) int {
	most, sum := 0.0, 0.0
	for o, n := range count {
		all := 0.0
		for _, w := range real[o*taps:][:n] {
			all += math.Abs(w)
			most = max(most, math.Abs(w))
		}
		sum = max(sum, all)
	}
	shift := 16
	for shift > 0 && (most*float64(int(1)<<shift) > 32000 || sum*float64(int(1)<<shift) > 64000) {
		shift--
	}
	return shift
}

// quantise rounds weights to shift bits of fraction. What rounding takes from or
// adds to their sum, the largest gives back: a plane of one value stays so.
func quantise(dst []int16, real []float64, shift int) {
	one := int32(1) << shift
	largest, sum := 0, int32(0)
	for i, w := range real {
		v := int32(math.RoundToEven(float64(w * float64(one))))
		dst[i] = int16(v)
		sum += v
		if w > real[largest] {
			largest = i
		}
	}
	dst[largest] += int16(one - sum)
}

var (
	planeColumnsKernel = newDispatch(planeColumnsGeneric)
	planePixelsKernel  = newDispatch(planePixelsGeneric)
	planesToRGBKernel  = newDispatch(planesToRGBGeneric)
	greyToRGBKernel    = newDispatch(greyToRGBGeneric)
)

// planeColumnsGeneric computes one row of the vertical pass from rows of src that
// lie stride apart:
//
//	dst[i] = sat16((Σ weights[t]·src[t·stride+i] + 2^(shift-1)) >> shift)
func planeColumnsGeneric(dst []int16, src []byte, stride int, weights []int16, shift int) {
	for i := range dst {
		sum := int32(1) << shift >> 1
		for t, w := range weights {
			sum += int32(w) * int32(src[t*stride+i])
		}
		dst[i] = sat16(sum >> shift)
	}
}

// planePixelsGeneric computes one row of the horizontal pass:
//
//	dst[x] = sat16((Σ a.wide[x,t]·src[a.near[x]+t] + 2^(shift-1)) >> shift)
func planePixelsGeneric(dst, src []int16, a *planeAxis) {
	for x, start := range a.start {
		sum := int32(1) << a.shift >> 1
		p := src[int(start)-a.lo:][:a.taps]
		for t, w := range a.weights[x*a.taps:][:len(p)] {
			sum += int32(w) * int32(p[t])
		}
		dst[x] = sat16(sum >> a.shift)
	}
	clear(dst[len(a.start):])
}

func sat16(v int32) int16 { return int16(min(max(v, math.MinInt16), math.MaxInt16)) }

// The matrix of JFIF in 14 bits of fraction.
const (
	matrixBits = 14
	redCr      = 22970 // 1.402
	greenCb    = -5638 // -0.344136
	greenCr    = -11700
	blueCb     = 29032 // 1.772
)

// planesToRGBGeneric makes rows of planes, in rowFraction bits of fraction,
// interleaved RGB.
func planesToRGBGeneric(dst []byte, luma, blue, red []int16) {
	const shift = matrixBits + rowFraction
	blue, red = blue[:len(luma)], red[:len(luma)]
	for i, l := range luma {
		y := int32(l)<<matrixBits + 1<<(shift-1)
		cb, cr := int32(sat16(int32(blue[i])-128<<rowFraction)), int32(sat16(int32(red[i])-128<<rowFraction))
		d := dst[3*i : 3*i+3 : 3*i+3]
		d[0] = clampByte((y + redCr*cr) >> shift)
		d[1] = clampByte((y + greenCb*cb + greenCr*cr) >> shift)
		d[2] = clampByte((y + blueCb*cb) >> shift)
	}
}

// greyToRGBGeneric is planesToRGBGeneric of a picture without colour.
func greyToRGBGeneric(dst []byte, luma []int16) {
	for i, l := range luma {
		v := clampByte((int32(l) + 1<<(rowFraction-1)) >> rowFraction)
		dst[3*i], dst[3*i+1], dst[3*i+2] = v, v, v
	}
}

func clampByte(v int32) byte { return byte(min(max(v, 0), 255)) }
