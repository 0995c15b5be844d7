package kernel

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// planesCase is a picture in planes and a square of it.
type planesCase struct {
	width, height, subX, subY, left, top, side, size int
	grey                                             bool
}

func (c planesCase) String() string {
	return fmt.Sprintf("%d×%d sub %d×%d grey %t, %d at (%d, %d) to %d", c.width, c.height, c.subX, c.subY, c.grey, c.side, c.left, c.top, c.size)
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

// lanczosOracle resamples one axis in float64.
func lanczosOracle(in []float64, out int) []float64 {
	y := make([]float64, out)
	scale := float64(len(in)) / float64(out)
	for o := range y {
		var sum, weight float64
		for i, v := range in {
			x := (float64(i) + 0.5 - (float64(o)+0.5)*scale) / max(scale, 1)
			w := 0.0
			if math.Abs(x) < 3 {
				w = 1
				if x != 0 {
					w = 3 * math.Sin(math.Pi*x) * math.Sin(math.Pi*x/3) / (math.Pi * math.Pi * x * x)
				}
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
		middle := make([][]float64, c.side)
		for y := range middle {
			row := make([]float64, c.side)
			for x := range row {
				row[x] = at(b, stride, subX, c.left+x, c.top+y, w, h, subY)
			}
			middle[y] = lanczosOracle(row, c.size)
		}
		out := make([]float64, c.size*c.size)
		for x := range c.size {
			column := make([]float64, c.side)
			for y := range column {
				column[y] = middle[y][x]
			}
			for y, v := range lanczosOracle(column, c.size) {
				out[y*c.size+x] = v
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
		{64, 48, 2, 2, 8, 0, 48, 22, false},
		{64, 48, 2, 2, 8, 0, 48, 48, false}, // not resized
		{63, 47, 2, 2, 8, 0, 47, 16, false}, // odd sizes, odd squares
		{63, 49, 2, 2, 7, 0, 49, 33, false},
		{40, 90, 2, 1, 0, 25, 40, 17, false},
		{40, 91, 1, 2, 0, 25, 40, 64, false},
		{33, 33, 1, 1, 0, 0, 33, 7, false},
		{33, 33, 2, 2, 0, 0, 33, 100, false},
		{50, 30, 1, 1, 10, 0, 30, 20, true},
		{200, 200, 2, 2, 0, 0, 200, 3, false},
		{1, 1, 2, 2, 0, 0, 1, 5, false},
		{2, 3, 2, 2, 0, 1, 2, 1, false},
		{5, 9, 2, 1, 1, 2, 3, 4, true},
	}
	rng := newRand(11)
	for _, c := range cases {
		p := c.make(rng)
		want := c.oracle(p)
		var first []byte
		eachTier(t, func(t *testing.T) {
			const guard = 16
			dst := bytes.Repeat([]byte{0xa5}, 3*c.size*c.size+2*guard)
			got := dst[guard : len(dst)-guard : len(dst)-guard]
			ResizeYCbCr(got, c.size, p, c.left, c.top, c.side, Lanczos)
			for i := range guard {
				if dst[i] != 0xa5 || dst[len(dst)-1-i] != 0xa5 {
					t.Fatalf("%v: wrote outside of dst", c)
				}
			}
			bound := 0.5 + 0.06*max(1, float64(c.side)/float64(c.size)/8)
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
			ResizeYCbCr(dst, 31, p, 10, 0, 70, Lanczos)
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
	for name, f := range map[string]func(){
		"square": func() { ResizeYCbCr(make([]byte, 12), 2, good(), 1, 0, 4, Lanczos) },
		"dst":    func() { ResizeYCbCr(make([]byte, 11), 2, good(), 0, 0, 4, Lanczos) },
		"luma":   func() { p := good(); p.Y = p.Y[1:]; ResizeYCbCr(make([]byte, 12), 2, p, 0, 0, 4, Lanczos) },
		"chroma": func() { p := good(); p.Cr = p.Cr[1:]; ResizeYCbCr(make([]byte, 12), 2, p, 0, 0, 4, Lanczos) },
		"sub":    func() { p := good(); p.SubX = 3; ResizeYCbCr(make([]byte, 12), 2, p, 0, 0, 4, Lanczos) },
		"stride": func() { p := good(); p.YStride = 3; ResizeYCbCr(make([]byte, 12), 2, p, 0, 0, 4, Lanczos) },
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
	c := planesCase{64, 48, 2, 2, 8, 0, 48, 22, false}
	p, dst := c.make(newRand(1)), make([]byte, 3*22*22)
	noAllocs(t, "ResizeYCbCr", func() { ResizeYCbCr(dst, 22, p, 8, 0, 48, Lanczos) })
}

func BenchmarkResizeYCbCr(b *testing.B) {
	c := planesCase{640, 480, 2, 2, 80, 0, 480, 224, false}
	p, dst := c.make(newRand(1)), make([]byte, 3*224*224)
	for b.Loop() {
		ResizeYCbCr(dst, 224, p, 80, 0, 480, Lanczos)
	}
}

func BenchmarkIDCT(b *testing.B) {
	var c, s [64]int16
	var d [64]byte
	for b.Loop() {
		IDCT(d[:], 8, &c, &s)
	}
}
