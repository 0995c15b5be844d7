package kernel

import (
	"bytes"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"testing"
)

// planesCase is a picture in planes and a view of it.
type planesCase struct {
	width, height, subX, subY int
	crop                      image.Rectangle
	to                        View
	filter                    Filter
	grey                      bool
}

func (c planesCase) String() string {
	return fmt.Sprintf("%d×%d sub %d×%d grey %t, %v to %v by %v", c.width, c.height, c.subX, c.subY, c.grey, c.crop, c.to, c.filter)
}

// squareCase is the square of side pixels at (left, top), resized to size.
func squareCase(width, height, subX, subY, left, top, side, size int, grey bool) planesCase {
	return planesCase{width, height, subX, subY, image.Rect(left, top, left+side, top+side), Whole(size, size), Lanczos, grey}
}

// make draws the picture: smooth, with noise and hard edges. Rows have room behind
// them, filled with noise that must play no role.
func (c planesCase) make(rng *rand.Rand) *YCbCr {
	p := &YCbCr{Width: c.width, Height: c.height, SubX: c.subX, SubY: c.subY, YStride: c.width + 7}
	draw := func(w, h, stride int) []byte {
		b := make([]byte, stride*h)
		a, k, l := rng.Float64()*6, rng.Float64()/5, rng.Float64()/5
		for i := range b {
			x, y := i%stride, i/stride
			v := 128 + 90*math.Sin(a+k*float64(x)+l*float64(y)) + 8*rng.NormFloat64()
			if (x/9+y/7)%5 == 0 {
				v = 255 * float64(x/9%2)
			}
			b[i] = byte(min(max(v, 0), 255))
			if x >= w {
				b[i] = byte(rng.Uint32())
			}
		}
		return b[:stride*(h-1)+w]
	}
	p.Y = draw(c.width, c.height, p.YStride)
	if !c.grey {
		w, h := p.ChromaSize()
		p.CStride = w + 3
		p.Cb, p.Cr = draw(w, h, p.CStride), draw(w, h, p.CStride)
	}
	return p
}

// axisOracle resamples one axis in float64, by the definitions of the filters.
func axisOracle(in []float64, out int, f Filter) []float64 {
	y := make([]float64, out)
	scale := float64(len(in)) / float64(out)
	at := scale / 2
	for o := range y {
		middle := (float64(o) + 0.5) * scale
		if f == Nearest { // Pillow, Geometry.c: added up, which decides where the middle falls on a border
			y[o] = in[int(at)]
			at += scale
			continue
		}
		var sum, weight float64
		for i, v := range in {
			signed := float64((float64(i) - middle + 0.5) * (1 / max(scale, 1)))
			x := math.Abs(signed)
			w := 0.0
			switch {
			case f == Box && -0.5 < signed && signed <= 0.5 && i >= int(middle-max(scale, 1)/2+0.5): // Pillow, Resample.c, on borders too
				w = 1
			case f == Bilinear && x < 1:
				w = 1 - x
			case f == Bicubic && x < 1: // Keys 1981, eq. 15, a = -1/2
				w = 1.5*x*x*x - 2.5*x*x + 1
			case f == Bicubic && x < 2:
				w = -0.5*x*x*x + 2.5*x*x - 4*x + 2
			case f == Lanczos && x == 0:
				w = 1
			case f == Lanczos && x < 3:
				w = 3 * math.Sin(math.Pi*x) * math.Sin(math.Pi*x/3) / (math.Pi * math.Pi * x * x)
			}
			sum += w * v
			weight += w
		}
		y[o] = sum / weight
	}
	return y
}

// oracle follows the formula of ResizeYCbCr in float64: interpolate, cut, resample,
// convert.
func (c planesCase) oracle(p *YCbCr) []float64 {
	at := func(plane []byte, stride, sub, x, y, w, h, subY int) float64 {
		one := func(i, sub, n int) (a, b int, wa, wb float64) {
			if sub == 1 {
				return i, i, 1, 0
			}
			return i / 2, min(max(i/2-1+i%2*2, 0), n-1), 0.75, 0.25
		}
		xa, xb, wa, wb := one(x, sub, w)
		ya, yb, va, vb := one(y, subY, h)
		v := func(x, y int) float64 { return float64(plane[y*stride+x]) }
		return va*(wa*v(xa, ya)+wb*v(xb, ya)) + vb*(wa*v(xa, yb)+wb*v(xb, yb))
	}
	plane := func(b []byte, stride, subX, subY, w, h int) []float64 {
		middle := make([][]float64, c.crop.Dy())
		for y := range middle {
			row := make([]float64, c.crop.Dx())
			for x := range row {
				row[x] = at(b, stride, subX, c.crop.Min.X+x, c.crop.Min.Y+y, w, h, subY)
			}
			middle[y] = axisOracle(row, c.to.Width, c.filter)
		}
		part := c.to.Part
		out := make([]float64, part.Dx()*part.Dy())
		for x := range part.Dx() {
			column := make([]float64, len(middle))
			for y := range column {
				column[y] = middle[y][part.Min.X+x]
			}
			for y, v := range axisOracle(column, c.to.Height, c.filter)[part.Min.Y:part.Max.Y] {
				out[y*part.Dx()+x] = v
			}
		}
		return out
	}
	luma := plane(p.Y, p.YStride, 1, 1, c.width, c.height)
	out := make([]float64, 3*len(luma))
	if c.grey {
		for i, v := range luma {
			out[3*i], out[3*i+1], out[3*i+2] = v, v, v
		}
		return out
	}
	w, h := p.ChromaSize()
	cb, cr := plane(p.Cb, p.CStride, c.subX, c.subY, w, h), plane(p.Cr, p.CStride, c.subX, c.subY, w, h)
	for i, y := range luma {
		b, r := cb[i]-128, cr[i]-128
		out[3*i], out[3*i+1], out[3*i+2] = y+1.402*r, y-0.344136*b-0.714136*r, y+1.772*b
	}
	return out
}

func TestResizeYCbCr(t *testing.T) {
	cases := []planesCase{
		squareCase(64, 48, 2, 2, 8, 0, 48, 22, false),
		squareCase(64, 48, 2, 2, 8, 0, 48, 48, false), // not resized
		squareCase(63, 47, 2, 2, 8, 0, 47, 16, false), // odd sizes, odd squares
		squareCase(63, 49, 2, 2, 7, 0, 49, 33, false),
		squareCase(40, 90, 2, 1, 0, 25, 40, 17, false),
		squareCase(40, 91, 1, 2, 0, 25, 40, 64, false),
		squareCase(33, 33, 1, 1, 0, 0, 33, 7, false),
		squareCase(33, 33, 2, 2, 0, 0, 33, 100, false),
		squareCase(50, 30, 1, 1, 10, 0, 30, 20, true),
		squareCase(200, 200, 2, 2, 0, 0, 200, 3, false),
		squareCase(1, 1, 2, 2, 0, 0, 1, 5, false),
		squareCase(2, 3, 2, 2, 0, 1, 2, 1, false),
		squareCase(5, 9, 2, 1, 1, 2, 3, 4, true),
	}
	for _, f := range []Filter{Box, Bilinear, Bicubic, Lanczos, Nearest} {
		cases = append(cases,
			planesCase{91, 64, 2, 2, image.Rect(0, 0, 91, 64), View{33, 23, image.Rect(5, 1, 26, 22)}, f, false}, // shrunk, from the middle
			planesCase{64, 91, 2, 1, image.Rect(0, 0, 64, 91), View{33, 47, image.Rect(0, 8, 33, 40)}, f, false},
			planesCase{41, 30, 1, 2, image.Rect(0, 0, 41, 30), View{111, 81, image.Rect(15, 0, 96, 81)}, f, false}, // enlarged
			planesCase{41, 30, 2, 2, image.Rect(3, 1, 40, 30), View{37, 50, image.Rect(4, 40, 37, 50)}, f, false},  // one axis, to the corner
			planesCase{50, 30, 1, 1, image.Rect(0, 0, 50, 30), View{17, 90, image.Rect(16, 89, 17, 90)}, f, true},  // stretched, the last pixel
		)
	}
	rng := newRand(11)
	for _, c := range cases {
		p := c.make(rng)
		want := c.oracle(p)
		var first []byte
		eachTier(t, func(t *testing.T) {
			const guard = 16
			dst := bytes.Repeat([]byte{0xa5}, len(want)+2*guard)
			got := dst[guard : len(dst)-guard : len(dst)-guard]
			ResizeYCbCr(got, c.to, p, c.crop, c.filter)
			for i := range guard {
				if dst[i] != 0xa5 || dst[len(dst)-1-i] != 0xa5 {
					t.Fatalf("%v: wrote outside of dst", c)
				}
			}
			shrink := max(float64(c.crop.Dx())/float64(c.to.Width), float64(c.crop.Dy())/float64(c.to.Height))
			bound := 0.5 + 0.06*max(1, shrink/8)
			for i, v := range got {
				if d := math.Abs(float64(v) - min(max(want[i], 0), 255)); d > bound {
					t.Fatalf("%v: value %d is %d, want %v: off by %v, more than %v", c, i, v, want[i], d, bound)
				}
			}
			if first == nil {
				first = bytes.Clone(got)
			} else if !bytes.Equal(got, first) {
				t.Fatalf("%v: another tier gives other bits", c)
			}
		})
	}
}

// TestResizeYCbCrFlat holds a plane of one value to it: weights add up to 1.
func TestResizeYCbCrFlat(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		for v := range 256 {
			p := &YCbCr{Width: 90, Height: 70, Y: bytes.Repeat([]byte{byte(v)}, 90*70), YStride: 90}
			dst := make([]byte, 3*31*31)
			ResizeYCbCr(dst, Whole(31, 31), p, image.Rect(10, 0, 80, 70), Lanczos)
			for i, got := range dst {
				if got != byte(v) {
					t.Fatalf("value %d of a plane of %d is %d", i, v, got)
				}
			}
		}
	})
}

func TestResizeYCbCrPanics(t *testing.T) {
	good := func() *YCbCr {
		return &YCbCr{Width: 4, Height: 4, SubX: 2, SubY: 2, Y: make([]byte, 16), Cb: make([]byte, 4), Cr: make([]byte, 4), YStride: 4, CStride: 2}
	}
	resize := func(n, size int, p *YCbCr, left int) {
		ResizeYCbCr(make([]byte, n), Whole(size, size), p, image.Rect(left, 0, left+4, 4), Lanczos)
	}
	for name, f := range map[string]func(){
		"square": func() { resize(12, 2, good(), 1) },
		"dst":    func() { resize(11, 2, good(), 0) },
		"view": func() {
			ResizeYCbCr(make([]byte, 12), View{2, 2, image.Rect(1, 0, 3, 2)}, good(), image.Rect(0, 0, 4, 4), Lanczos)
		},
		"luma":   func() { p := good(); p.Y = p.Y[1:]; resize(12, 2, p, 0) },
		"chroma": func() { p := good(); p.Cr = p.Cr[1:]; resize(12, 2, p, 0) },
		"sub":    func() { p := good(); p.SubX = 3; resize(12, 2, p, 0) },
		"stride": func() { p := good(); p.YStride = 3; resize(12, 2, p, 0) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestResizeYCbCrAllocates(t *testing.T) {
	c := squareCase(64, 48, 2, 2, 8, 0, 48, 22, false)
	p, dst := c.make(newRand(1)), make([]byte, 3*22*22)
	noAllocs(t, "ResizeYCbCr", func() { ResizeYCbCr(dst, c.to, p, c.crop, c.filter) })
}

func BenchmarkResizeYCbCr(b *testing.B) {
	c := squareCase(640, 480, 2, 2, 80, 0, 480, 224, false)
	p, dst := c.make(newRand(1)), make([]byte, 3*224*224)
	for b.Loop() {
		ResizeYCbCr(dst, c.to, p, c.crop, c.filter)
	}
}

func BenchmarkIDCT(b *testing.B) {
	var c, s [64]int16
	var d [64]byte
	for b.Loop() {
		IDCT(d[:], 8, &c, &s)
	}
}
