package kernel

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// fixtureTensor is one float32 tensor of a safetensors file.
type fixtureTensor struct {
	shape []int
	data  []float32
}

// cols is the size of the last axis.
func (x fixtureTensor) cols() int { return x.shape[len(x.shape)-1] }

// readFixture reads the float32 tensors of testdata/name.
func readFixture(t *testing.T, name string) map[string]fixtureTensor {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(raw)
	var header map[string]struct {
		DType   string
		Shape   []int
		Offsets [2]int `json:"data_offsets"`
	}
	if err := json.Unmarshal(raw[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	tensors := map[string]fixtureTensor{}
	for name, h := range header {
		if h.DType != "F32" {
			continue
		}
		b := raw[8+n:][h.Offsets[0]:h.Offsets[1]]
		x := fixtureTensor{h.Shape, make([]float32, len(b)/4)}
		for i := range x.data {
			x.data[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
		tensors[name] = x
	}
	return tensors
}

// byRow compares each row relative to its largest value.
func byRow(t *testing.T, what string, got []float32, want fixtureTensor) {
	t.Helper()
	cols := 1
	if len(want.shape) > 0 {
		cols = want.cols()
	}
	for r := 0; r < len(want.data); r += cols {
		row := want.data[r : r+cols]
		size := 0.0
		for _, v := range row {
			size = max(size, math.Abs(float64(v)))
		}
		for c, v := range row {
			if d := math.Abs(float64(got[r+c]) - float64(v)); !(d <= 1e-5*size+1e-7) {
				t.Errorf("%s: row %d, column %d: %v, want %v (the row's largest is %v)", what, r/cols, c, got[r+c], v, size)
				return
			}
		}
	}
}

func TestPrimitives(t *testing.T) {
	f := readFixture(t, "primitives/golden.safetensors")
	pool := NewPool(2)
	defer pool.Close()
	eachTier(t, func(t *testing.T) {
		for name, kind := range map[string]GELUKind{"gelu_erf": GELUErf, "gelu_tanh": GELUTanh, "quick_gelu": GELUQuick} {
			x := f["in."+name+".0"].data
			y, dx := make([]float32, len(x)), make([]float32, len(x))
			GELU(pool, kind, y, x)
			GELUGrad(pool, kind, dx, x, f[name+".cotangent"].data)
			// Element by element: the arguments go up to 1000.
			nearAll(t, name, y, wide(f[name+".out"].data), 1e-6, 1e-6)
			nearAll(t, name+" gradient", dx, wide(f[name+".grad0"].data), 5e-6, 1e-6)
		}
		for _, eps := range []string{"1e-05", "1e-06", "1e-12"} {
			name := "layer_norm.eps" + eps
			x, gain, bias := f["in."+name+".0"], f["in."+name+".1"].data, f["in."+name+".2"].data
			e, err := strconv.ParseFloat(eps, 32)
			if err != nil {
				t.Fatal(err)
			}
			cols := x.cols()
			rows := len(x.data) / cols
			y, dx := make([]float32, rows*cols), make([]float32, rows*cols)
			dgain, dbias := make([]float32, cols), make([]float32, cols)
			LayerNorm(pool, y, x.data, gain, bias, rows, cols, float32(e))
			LayerNormGrad(pool, dx, dgain, dbias, f[name+".cotangent"].data, x.data, gain, rows, cols, float32(e))
			byRow(t, name, y, f[name+".out"])
			byRow(t, name+" dx", dx, f[name+".grad0"])
			byRow(t, name+" dgain", dgain, f[name+".grad1"])
			byRow(t, name+" dbias", dbias, f[name+".grad2"])
		}
		{
			const name = "l2_normalize.eps1e-12"
			x := f["in."+name+".0"]
			cols := x.cols()
			rows := len(x.data) / cols
			y, dx := make([]float32, rows*cols), make([]float32, rows*cols)
			L2Normalize(pool, y, x.data, rows, cols, 1e-12)
			L2NormalizeGrad(pool, dx, f[name+".cotangent"].data, x.data, rows, cols, 1e-12)
			byRow(t, name, y, f[name+".out"])
			byRow(t, name+" dx", dx, f[name+".grad0"])
		}
		{
			x := f["in.softmax.0"]
			cols := x.cols()
			rows := len(x.data) / cols
			y, dx := make([]float32, rows*cols), make([]float32, rows*cols)
			Softmax(pool, y, x.data, rows, cols)
			SoftmaxGrad(pool, dx, f["softmax.cotangent"].data, y, rows, cols)
			byRow(t, "softmax", y, f["softmax.out"])
			nearAll(t, "softmax gradient", dx, wide(f["softmax.grad0"].data), 2e-7, 1e-5)
		}
		{
			x := f["in.cross_entropy.0"]
			cols := x.cols()
			rows := len(x.data) / cols
			targets := make([]float32, rows*cols)
			for r := range rows {
				targets[r*cols+r] = 1
			}
			loss, dx := make([]float32, rows), make([]float32, rows*cols)
			CrossEntropy(pool, loss, x.data, targets, rows, cols)
			mean := float32(Sum(pool, loss) / float64(rows))
			byRow(t, "cross_entropy", []float32{mean}, f["cross_entropy.out"])
			CrossEntropyGrad(pool, dx, x.data, targets, f["cross_entropy.cotangent"].data[0]/float32(rows), rows, cols)
			byRow(t, "cross_entropy gradient", dx, f["cross_entropy.grad0"])
		}
	})
}

func wide(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

func TestAdamWTrace(t *testing.T) {
	f := readFixture(t, "adamw/golden.safetensors")
	model := readFixture(t, "adamw/model.safetensors")
	eachTier(t, func(t *testing.T) {
		for name, first := range model {
			n := len(first.data)
			w := append([]float32(nil), first.data...)
			m, v := make([]float32, n), make([]float32, n)
			beta1, beta2 := 1.0, 1.0
			for step := range len(f["lr"].data) {
				beta1, beta2 = beta1*0.9, beta2*0.999
				AdamW(nil, w, f["clipped_grad."+name].data[step*n:(step+1)*n], m, v, AdamWStep{
					LR: float64(f["lr"].data[step]), Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.01,
					Correction1: 1 - beta1, Correction2: 1 - beta2, GradScale: 1,
				})
				// Each step moves a weight by about 0.01.
				nearAll(t, fmt.Sprintf("%s after step %d", name, step+1), w, wide(f["param."+name].data[step*n:(step+1)*n]), 3e-7, 0)
			}
			nearAll(t, name+" m", m, wide(f["final_exp_avg."+name].data), 1e-7, 1e-6)
			nearAll(t, name+" v", v, wide(f["final_exp_avg_sq."+name].data), 1e-10, 2e-6)
		}
	})
}

// picture is an 8-bit RGB picture.
type picture struct {
	w, h int
	pix  []byte
}

func readPNG(t *testing.T, name string) picture {
	t.Helper()
	r, err := os.Open(filepath.Join("testdata", "resize", name))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	im, err := png.Decode(r)
	if err != nil {
		t.Fatal(err)
	}
	b := im.Bounds()
	p := picture{b.Dx(), b.Dy(), nil}
	for y := range p.h {
		for x := range p.w {
			switch im := im.(type) {
			case *image.RGBA:
				c := im.RGBAAt(x, y)
				p.pix = append(p.pix, c.R, c.G, c.B)
			case *image.NRGBA:
				c := im.NRGBAAt(x, y)
				p.pix = append(p.pix, c.R, c.G, c.B)
			default:
				t.Fatalf("%s: %T", name, im)
			}
		}
	}
	return p
}

func (p picture) crop(w, h int) picture {
	left, top := (p.w-w)/2, (p.h-h)/2
	q := picture{w, h, nil}
	for y := range h {
		q.pix = append(q.pix, p.pix[3*((top+y)*p.w+left):][:3*w]...)
	}
	return q
}

func (p picture) resize(w, h int, f Filter) picture {
	q := picture{w, h, make([]byte, 3*w*h)}
	ResizeRGB(q.pix, w, h, p.pix, p.w, p.h, f)
	return q
}

func TestResizeRGB(t *testing.T) {
	shortest := func(p picture, side int) picture {
		w, h := side, side*p.h/p.w
		if p.h < p.w {
			w, h = side*p.w/p.h, side
		}
		return p.resize(w, h, Bicubic).crop(224, 224)
	}
	tests := []struct {
		file, golden string
		make         func(p picture) picture
	}{
		{"rgb_square_small.png", "relsim448", func(p picture) picture { return p.resize(448, 448, Lanczos) }},
		{"rgb_wide.png", "relsim448", func(p picture) picture { s := min(p.w, p.h); return p.crop(s, s).resize(448, 448, Lanczos) }},
		{"rgb_wide.png", "clip224", func(p picture) picture { return shortest(p, 224) }},
		{"rgb_wide.png", "dinov2224", func(p picture) picture { return shortest(p, 256) }},
		{"rgb_large.png", "clip224", func(p picture) picture { return shortest(p, 224) }},
	}
	for _, tt := range tests {
		t.Run(tt.file+"/"+tt.golden, func(t *testing.T) {
			eachTier(t, func(t *testing.T) {
				got, want := tt.make(readPNG(t, tt.file)), readPNG(t, tt.file+"."+tt.golden+".png")
				for i, v := range want.pix {
					if got.pix[i] != v {
						t.Fatalf("pixel (%d, %d), channel %d: %d, want %d", i/3%want.w, i/3/want.w, i%3, got.pix[i], v)
					}
				}
			})
		})
	}
}

// TestResizeRGBPart cuts a part out on the way, and leaves all around it alone.
func TestResizeRGBPart(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		rng := newRand(4)
		for _, c := range []struct{ w, h, left, top, sw, sh, dw, dh int }{
			{30, 20, 5, 3, 12, 9, 7, 5}, {30, 20, 5, 3, 12, 9, 12, 5}, {30, 20, 18, 11, 12, 9, 20, 9}, {30, 20, 0, 0, 12, 9, 12, 9}, {9, 9, 8, 8, 1, 1, 3, 2},
		} {
			p := picture{c.w, c.h, make([]byte, 3*c.w*c.h)}
			for i := range p.pix {
				p.pix[i] = byte(rng.Uint32())
			}
			part := picture{c.sw, c.sh, nil}
			for y := range c.sh {
				part.pix = append(part.pix, p.pix[3*((c.top+y)*c.w+c.left):][:3*c.sw]...)
			}
			want := part.resize(c.dw, c.dh, Lanczos)
			dst := make([]byte, 3*c.dw*c.dh+2)
			dst[0], dst[len(dst)-1] = 0xa5, 0xa5
			begin, end := 3*(c.top*c.w+c.left), 3*((c.top+c.sh-1)*c.w+c.left+c.sw)
			ResizeRGBView(dst[1:len(dst)-1:len(dst)-1], Whole(c.dw, c.dh), p.pix[begin:end:end], 3*c.w, c.sw, c.sh, Lanczos)
			if dst[0] != 0xa5 || dst[len(dst)-1] != 0xa5 {
				t.Fatalf("%v: wrote outside of dst", c)
			}
			if !bytes.Equal(dst[1:len(dst)-1], want.pix) {
				t.Fatalf("%v: other pixels than those of the part alone", c)
			}
		}
	})
}

// viewCases are pictures of w×h, resized to dw×dh, and parts of that.
var viewCases = []struct {
	w, h, dw, dh int
	part         image.Rectangle
}{
	{61, 43, 31, 22, image.Rect(4, 3, 26, 20)},
	{61, 43, 31, 22, image.Rect(0, 0, 31, 22)},
	{61, 43, 130, 97, image.Rect(17, 0, 114, 97)},
	{61, 43, 61, 97, image.Rect(3, 60, 58, 96)}, // one axis keeps its size
	{61, 43, 17, 43, image.Rect(1, 5, 16, 43)},
	{61, 43, 61, 43, image.Rect(60, 42, 61, 43)},
	{1, 300, 7, 2100, image.Rect(0, 1046, 7, 1053)},
	{200, 3, 5, 9, image.Rect(2, 4, 3, 5)},
}

// TestResizeRGBView compares parts of a resized picture with the whole one. Pixels
// that they do not depend on are changed in between.
func TestResizeRGBView(t *testing.T) {
	rng := newRand(6)
	for _, f := range []Filter{Box, Bilinear, Bicubic, Lanczos, Nearest} {
		for _, c := range viewCases {
			p := picture{c.w, c.h, make([]byte, 3*c.w*c.h)}
			for i := range p.pix {
				p.pix[i] = byte(rng.Uint32())
			}
			to := View{c.dw, c.dh, c.part}
			reach := to.Reach(c.w, c.h, f)
			eachTier(t, func(t *testing.T) {
				whole := p.resize(c.dw, c.dh, f)
				var want []byte
				for y := c.part.Min.Y; y < c.part.Max.Y; y++ {
					want = append(want, whole.pix[3*(y*c.dw+c.part.Min.X):3*(y*c.dw+c.part.Max.X)]...)
				}
				other := bytes.Clone(p.pix)
				for i := range other {
					if !image.Pt(i/3%c.w, i/3/c.w).In(reach) {
						other[i] ^= 0xff
					}
				}
				const guard = 8
				dst := bytes.Repeat([]byte{0xa5}, len(want)+2*guard)
				ResizeRGBView(dst[guard:guard+len(want):guard+len(want)], to, other, 3*c.w, c.w, c.h, f)
				if !bytes.Equal(dst[guard:guard+len(want)], want) {
					t.Fatalf("%v of %d×%d by %v: not the pixels of the whole", to, c.w, c.h, f)
				}
				for i := range guard {
					if dst[i] != 0xa5 || dst[len(dst)-1-i] != 0xa5 {
						t.Fatalf("%v of %d×%d by %v: wrote outside of dst", to, c.w, c.h, f)
					}
				}
			})
		}
	}
}

// TestResizeRGBFilters compares with both passes in float64, each rounded to bytes.
// Where a sum lies on the border between two of them, which happens with weights that
// are simple fractions, the fixed-point weights decide.
func TestResizeRGBFilters(t *testing.T) {
	rng := newRand(7)
	round := func(v []float64) []float64 {
		for i := range v {
			v[i] = min(max(math.Floor(v[i]+0.5), 0), 255)
		}
		return v
	}
	for _, f := range []Filter{Box, Bilinear, Bicubic, Lanczos, Nearest} {
		for _, c := range viewCases {
			p := picture{c.w, c.h, make([]byte, 3*c.w*c.h)}
			for i := range p.pix {
				p.pix[i] = byte(rng.Uint32())
			}
			want := make([]float64, 3*c.dw*c.dh)
			for ch := range 3 {
				rows := make([][]float64, c.h)
				for y := range rows {
					row := make([]float64, c.w)
					for x := range row {
						row[x] = float64(p.pix[3*(y*c.w+x)+ch])
					}
					rows[y] = round(axisOracle(row, c.dw, f))
				}
				for x := range c.dw {
					column := make([]float64, c.h)
					for y := range column {
						column[y] = rows[y][x]
					}
					for y, v := range round(axisOracle(column, c.dh, f)) {
						want[3*(y*c.dw+x)+ch] = v
					}
				}
			}
			eachTier(t, func(t *testing.T) {
				got, others := p.resize(c.dw, c.dh, f), 0
				for i, v := range got.pix {
					d := math.Abs(float64(v) - want[i])
					if d > 1 {
						t.Fatalf("%v to %d×%d: value %d is %d, want %v", f, c.dw, c.dh, i, v, want[i])
					}
					others += int(d)
				}
				if others > 1+len(want)/100 {
					t.Errorf("%v, %d×%d to %d×%d: %d of %d values are off by one", f, c.w, c.h, c.dw, c.dh, others, len(want))
				}
			})
		}
	}
}

// TestResizeNearest has positions that are known: the pixel below the middle, and
// the later one of two where the middle is a border.
func TestResizeNearest(t *testing.T) {
	for _, tt := range []struct {
		in   int
		want []byte
	}{{5, []byte{0, 2, 4}}, {6, []byte{1, 3, 5}}, {2, []byte{0, 0, 1, 1, 1}}, {4, []byte{2}}} {
		src, dst := make([]byte, 3*tt.in), make([]byte, 3*len(tt.want))
		for i := range src {
			src[i] = byte(i / 3)
		}
		ResizeRGB(dst, len(tt.want), 1, src, tt.in, 1, Nearest)
		for i, want := range tt.want {
			if dst[3*i] != want {
				t.Errorf("%d to %d: pixel %d is of %d, want %d", tt.in, len(tt.want), i, dst[3*i], want)
			}
		}
	}
}
