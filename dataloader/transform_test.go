package dataloader

import (
	"bytes"
	"context"
	"image"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/disintegration/imaging"
)

// oracle is Transform.Apply in float64, one pixel at a time, of a square picture
// that has the size already.
func oracle(im *Image, n Normalize, flip bool, turns int) []float64 {
	s := im.Width
	at := func(x, y, c int) float64 { return float64(im.Pix[3*(y*s+x)+c]) / 255 }
	mean, std := n.Mean, n.Std
	if n.PerPicture() {
		for c := range 3 {
			for y := range s {
				for x := range s {
					mean[c] += at(x, y, c) / float64(s*s)
				}
			}
		}
		sum := 0.0
		for c := range 3 {
			for y := range s {
				for x := range s {
					sum += math.Pow(at(x, y, c)-mean[c], 2)
				}
			}
		}
		d := math.Sqrt(sum/float64(3*s*s)) + 0.05
		std = [3]float64{d, d, d}
	}
	out := make([]float64, 3*s*s)
	for c := range 3 {
		for y := range s {
			for x := range s {
				v := (at(x, y, c) - mean[c]) / std[c]
				u, w := x, y
				if flip {
					u = s - 1 - u
				}
				for range turns { // counter-clockwise: the right column becomes the top row
					u, w = w, s-1-u
				}
				out[c*s*s+w*s+u] = v
			}
		}
	}
	return out
}

// bitsFor returns a generator whose first number has the wanted lowest bits.
func bitsFor(t *testing.T, want uint64) *rand.Rand {
	t.Helper()
	for seed := range uint64(10000) {
		if rand.NewPCG(seed, 0).Uint64()&7 == want {
			return rand.New(rand.NewPCG(seed, 0))
		}
	}
	t.Fatal("no seed")
	return nil
}

func TestApply(t *testing.T) {
	for _, side := range []int{1, 2, 5, 64} {
		im := noise(side, side, uint64(side))
		for _, n := range []Normalize{{}, {Mean: [3]float64{0.48, 0.46, 0.41}, Std: [3]float64{0.27, 0.26, 0.28}}} {
			for draw := range uint64(8) {
				tr := Transform{Size: side, Normalize: n, Flip: true, Turn: true}
				got := make([]float32, tr.Len())
				tr.Apply(got, im, bitsFor(t, draw))
				want := oracle(im, n, draw&1 == 1, int(draw>>1))
				for i := range want {
					if math.Abs(float64(got[i])-want[i]) > 1e-6*max(1, math.Abs(want[i])) {
						t.Fatalf("side %d, fixed %t, draw %d: value %d is %v, want %v", side, !n.PerPicture(), draw, i, got[i], want[i])
					}
				}
			}
		}
	}
}

// Pixels and their table are the values of Apply, bit for bit, whatever is made of a picture.
func TestApplyPixels(t *testing.T) {
	fixed := Normalize{Mean: [3]float64{0.48, 0.46, 0.41}, Std: [3]float64{0.27, 0.26, 0.28}}
	scaled := fixed
	scaled.Scale = 1.0 / 255
	for _, n := range []Normalize{{}, fixed, scaled} {
		for _, tr := range []Transform{
			{Size: 1}, {Size: 5}, {Size: 12, Pictures: Pictures{JPEG: JPEGReference}}, {Size: 33, Flip: true}, {Size: 8, Flip: true, Turn: true},
			{Size: 6, Width: 9, Flip: true, Geometry: Geometry{Resize: ResizeExact, Height: 7, Width: 9, Filter: "bicubic"}},
			{Size: 10, Width: 4, Geometry: Geometry{Resize: ResizeShortest, Side: 11, Filter: "bilinear", Middle: MiddleEven}},
			{Size: 20, Width: 16, Flip: true, Geometry: Geometry{Resize: ResizeNone}},
		} {
			tr.Normalize = n
			if err := tr.Validate(); err != nil {
				t.Fatal(err)
			}
			for _, size := range [][2]int{{5, 5}, {33, 33}, {9, 16}, {20, 12}, {8, 8}} {
				im := noise(size[0], size[1], 3)
				for draw := range uint64(8) {
					want, pixels, table := make([]float32, tr.Len()), make([]byte, tr.Len()), make([]float32, 3*256)
					tr.Apply(want, im, bitsFor(t, draw))
					tr.ApplyPixels(pixels, table, im, bitsFor(t, draw))
					for i, v := range looked(pixels, table) {
						if math.Float32bits(v) != math.Float32bits(want[i]) {
							t.Fatalf("%+v of %v, draw %d: value %d is %v, want %v", tr, size, draw, i, v, want[i])
						}
					}
				}
			}
		}
	}
}

func TestApplyKnownTurn(t *testing.T) {
	// Red right of black, on a row of green and blue: turned counter-clockwise,
	// the right column becomes the top row.
	im := &Image{Width: 2, Height: 2, Pix: []byte{0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255}}
	tr := Transform{Size: 2, Normalize: Normalize{Std: [3]float64{1, 1, 1}}, Turn: true}
	got := make([]float32, 12)
	tr.Apply(got, im, bitsFor(t, 2))
	if want := []float32{1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestAugmentationFollowsTheItem(t *testing.T) {
	im := noise(8, 8, 9)
	tr := Transform{Size: 8, Flip: true, Turn: true}
	plain := make([]float32, tr.Len())
	tr.Apply(plain, im, nil)
	Transform{Size: 8}.Apply(make([]float32, tr.Len()), im, nil)
	count := make(map[string]int)
	gravity := make(map[string]int)
	key := func(tr Transform, rng *rand.Rand) string {
		dst := make([]float32, tr.Len())
		tr.Apply(dst, im, rng)
		b := new(strings.Builder)
		for _, v := range dst {
			b.WriteByte(byte(math.Float32bits(v) >> 12))
		}
		return b.String()
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 4000 {
		count[key(tr, rng)]++
		gravity[key(tr.For(Item{Gravity: true}), rng)]++
	}
	if len(count) != 8 || len(gravity) != 2 {
		t.Fatalf("%d and %d forms, want 8 and 2", len(count), len(gravity))
	}
	for _, n := range count {
		if n < 400 || n > 600 {
			t.Errorf("a form comes %d times of 4000", n)
		}
	}
	for _, n := range gravity {
		if n < 1850 || n > 2150 {
			t.Errorf("a form comes %d times of 4000", n)
		}
	}
	// Turned or not, the same number is drawn: a set with gravity leaves the
	// sequence alone.
	a, b := rand.New(rand.NewPCG(3, 4)), rand.New(rand.NewPCG(3, 4))
	key(tr, a)
	key(tr.For(Item{Gravity: true}), b)
	if a.Uint64() != b.Uint64() {
		t.Error("the two forms draw different amounts")
	}
}

func TestCropAndResize(t *testing.T) {
	fixed := Normalize{Std: [3]float64{1, 1, 1}}
	for _, size := range [][2]int{{9, 5}, {5, 9}, {8, 5}, {5, 5}, {20, 33}, {1, 7}} {
		im := noise(size[0], size[1], 7)
		side := min(size[0], size[1])
		left, top := (size[0]-side)/2, (size[1]-side)/2
		crop := imaging.Crop(asImage{im}, image.Rect(left, top, left+side, top+side))
		for _, to := range []int{1, side, 12} {
			want := crop
			if to != side {
				want = imaging.Resize(crop, to, to, imaging.Lanczos)
			}
			tr := Transform{Size: to, Normalize: fixed, Pictures: Pictures{JPEG: JPEGReference}}
			got := make([]float32, tr.Len())
			tr.Apply(got, im, nil)
			for y := range to {
				for x := range to {
					for c := range 3 {
						if v, w := got[c*to*to+y*to+x], float32(float64(want.Pix[want.PixOffset(x, y)+c])/255); v != w {
							t.Fatalf("%v to %d: (%d, %d) channel %d is %v, want %v", size, to, x, y, c, v, w)
						}
					}
				}
			}
		}
	}
}

func TestSquare(t *testing.T) {
	var items []Item
	var images []*Image
	for i, size := range [][2]int{{9, 5}, {5, 9}, {6, 6}, {20, 33}, {1, 1}, {8, 6}} {
		items = append(items, Item{ID: string(rune('a' + i))})
		images = append(images, noise(size[0], size[1], uint64(i)))
	}
	ds := NewMemory("m", items, images)
	sq := Transform{Size: 6}.Square(ds)
	if sq.Fingerprint() != ds.Fingerprint() || sq.Len() != ds.Len() || !reflect.DeepEqual(sq.Item(1), ds.Item(1)) {
		t.Error("the view describes another set")
	}
	tr := Transform{Size: 6}
	for i := range images {
		im, err := sq.Image(context.Background(), i)
		if err != nil {
			t.Fatal(err)
		}
		if im.Width != 6 || im.Height != 6 || len(im.Pix) != 108 {
			t.Fatalf("picture %d: %d×%d, %d bytes", i, im.Width, im.Height, len(im.Pix))
		}
		got, want := make([]float32, tr.Len()), make([]float32, tr.Len())
		tr.Apply(got, im, nil)
		tr.Apply(want, images[i], nil)
		if !slices.Equal(got, want) {
			t.Errorf("picture %d: a transform of the square gives other values", i)
		}
	}
	if im, _ := sq.Image(context.Background(), 2); im != images[2] {
		t.Error("a square picture of the size is copied")
	}
	if _, err := (Transform{Size: 6}.Square(&faulty{Dataset: ds, broken: map[int]string{0: "x"}})).Image(context.Background(), 0); err == nil {
		t.Error("a broken picture is no error")
	}
}

// A flat picture has no deviation: the result is zero, not NaN.
func TestFlatPicture(t *testing.T) {
	im := &Image{Width: 4, Height: 4, Pix: bytes.Repeat([]byte{200, 3, 77}, 16)}
	tr := Transform{Size: 4}
	got := make([]float32, tr.Len())
	tr.Apply(got, im, nil)
	for _, v := range got {
		if math.Abs(float64(v)) > 1e-6 {
			t.Fatalf("%v", got)
		}
	}
}

func TestTransformValidate(t *testing.T) {
	nan := math.NaN()
	for _, tr := range []Transform{
		{}, {Size: -1}, {Size: 8193},
		{Size: 8, Normalize: Normalize{Mean: [3]float64{1, 1, 1}}},
		{Size: 8, Normalize: Normalize{Std: [3]float64{1, 0, 1}}},
		{Size: 8, Normalize: Normalize{Std: [3]float64{1, nan, 1}}},
		{Size: 8, Normalize: Normalize{Mean: [3]float64{nan}, Std: [3]float64{1, 1, 1}}},
	} {
		if err := tr.Validate(); err == nil || !strings.HasPrefix(err.Error(), "dataloader: transform: ") {
			t.Errorf("%+v: %v", tr, err)
		}
	}
	if err := (Transform{Size: 64}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestApplyPanics(t *testing.T) {
	for want, f := range map[string]func(){
		"dst of 11 values, want 3·2·2": func() { Transform{Size: 2}.Apply(make([]float32, 11), noise(2, 2, 1), nil) },
		"size 2×2 with 11 bytes, want 12": func() {
			Transform{Size: 2}.Apply(make([]float32, 12), &Image{Width: 2, Height: 2, Pix: make([]byte, 11)}, nil)
		},
		"ApplyPixels: dst of 13 values, want 3·2·2": func() {
			Transform{Size: 2}.ApplyPixels(make([]byte, 13), make([]float32, 768), noise(2, 2, 1), nil)
		},
		"table of 767 values, want 3·256": func() {
			Transform{Size: 2}.ApplyPixels(make([]byte, 12), make([]float32, 767), noise(2, 2, 1), nil)
		},
		"no image": func() { Transform{Size: 2}.Apply(make([]float32, 12), nil, nil) },
	} {
		func() {
			defer func() {
				if r, _ := recover().(string); !strings.Contains(r, want) {
					t.Errorf("panic %q, want %q", r, want)
				}
			}()
			f()
		}()
	}
}

func BenchmarkApply(b *testing.B) {
	for name, c := range map[string]struct {
		im   *Image
		size int
	}{"from=64/to=64": {noise(64, 64, 1), 64}, "from=512/to=224": {noise(512, 512, 1), 224}} {
		b.Run(name, func(b *testing.B) {
			tr := Transform{Size: c.size, Flip: true, Turn: true}
			dst := make([]float32, tr.Len())
			rng := rand.New(rand.NewPCG(1, 2))
			b.SetBytes(int64(len(c.im.Pix)))
			b.ReportAllocs()
			for b.Loop() {
				tr.Apply(dst, c.im, rng)
			}
		})
	}
}
