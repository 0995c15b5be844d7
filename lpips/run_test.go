package lpips

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"relsim/dataloader"
	"relsim/kernel"
)

func noise(h, w int, seed uint64) *dataloader.Image {
	rng := rand.New(rand.NewPCG(seed, 1))
	im := &dataloader.Image{Width: w, Height: h, Pix: make([]byte, 3*h*w)}
	for i := range im.Pix {
		im.Pix[i] = byte(rng.UintN(256))
	}
	return im
}

// map64 is a feature map of the oracle: channels, rows, columns.
type map64 struct {
	c, h, w int
	v       []float64
}

func (m map64) at(c, y, x int) float64 { return m.v[(c*m.h+y)*m.w+x] }

// conv64 is a convolution and ReLU.
func conv64(n *Net, name string, x map64, k, stride, pad int) map64 {
	w, bias := n.weights[name+".weight"], n.weights[name+".bias"]
	y := map64{c: w.shape[0], h: (x.h+2*pad-k)/stride + 1, w: (x.w+2*pad-k)/stride + 1}
	for o := range y.c {
		for oy := range y.h {
			for ox := range y.w {
				sum := float64(bias.data[o])
				for i := range x.c {
					for ky := range k {
						for kx := range k {
							iy, ix := oy*stride+ky-pad, ox*stride+kx-pad
							if iy >= 0 && iy < x.h && ix >= 0 && ix < x.w {
								sum += x.at(i, iy, ix) * float64(w.data[((o*x.c+i)*k+ky)*k+kx])
							}
						}
					}
				}
				y.v = append(y.v, math.Max(sum, 0))
			}
		}
	}
	return y
}

func pool64(x map64, k int, ceil bool) map64 {
	size := func(n int) int {
		if ceil {
			return int(math.Ceil(float64(n-k)/2)) + 1
		}
		return (n-k)/2 + 1
	}
	y := map64{c: x.c, h: size(x.h), w: size(x.w)}
	for c := range y.c {
		for oy := range y.h {
			for ox := range y.w {
				top := math.Inf(-1)
				for iy := 2 * oy; iy < min(2*oy+k, x.h); iy++ {
					for ix := 2 * ox; ix < min(2*ox+k, x.w); ix++ {
						top = math.Max(top, x.at(c, iy, ix))
					}
				}
				y.v = append(y.v, top)
			}
		}
	}
	return y
}

// features64 follows the text of torchvision's models.
func features64(n *Net, im *dataloader.Image) []map64 {
	x := map64{c: 3, h: im.Height, w: im.Width}
	for c := range 3 {
		for i := range im.Width * im.Height {
			v := float64(im.Pix[3*i+c])/255*2 - 1
			x.v = append(x.v, (v-[]float64{-.030, -.088, -.188}[c])/[]float64{.458, .448, .450}[c])
		}
	}
	var taps []map64
	tap := func() { taps = append(taps, x) }
	conv := func(at, k, stride, pad int) { x = conv64(n, fmt.Sprintf("features.%d", at), x, k, stride, pad) }
	fire := func(at int) {
		name := fmt.Sprintf("features.%d", at)
		s := conv64(n, name+".squeeze", x, 1, 1, 0)
		a, b := conv64(n, name+".expand1x1", s, 1, 1, 0), conv64(n, name+".expand3x3", s, 3, 1, 1)
		x = map64{a.c + b.c, a.h, a.w, append(a.v, b.v...)}
	}
	switch n.Kind() {
	case Alex:
		conv(0, 11, 4, 2)
		tap()
		x = pool64(x, 3, false)
		conv(3, 5, 1, 2)
		tap()
		x = pool64(x, 3, false)
		for _, at := range []int{6, 8, 10} {
			conv(at, 3, 1, 1)
			tap()
		}
	case VGG:
		for i, block := range [][]int{{0, 2}, {5, 7}, {10, 12, 14}, {17, 19, 21}, {24, 26, 28}} {
			if i > 0 {
				x = pool64(x, 2, false)
			}
			for _, at := range block {
				conv(at, 3, 1, 1)
			}
			tap()
		}
	case Squeeze:
		conv(0, 3, 2, 0)
		tap()
		x = pool64(x, 3, true)
		fire(3)
		fire(4)
		tap()
		x = pool64(x, 3, true)
		fire(6)
		fire(7)
		tap()
		x = pool64(x, 3, true)
		for at := 9; at <= 12; at++ {
			fire(at)
			tap()
		}
	}
	return taps
}

// layers64 is the definition of the distance in float64.
func layers64(n *Net, a, b *dataloader.Image) []float64 {
	fa, fb := features64(n, a), features64(n, b)
	d := make([]float64, len(fa))
	for k, x := range fa {
		y, lin := fb[k], n.weights[linName(k)].data
		hw := x.h * x.w
		for i := range hw {
			var nx, ny float64
			for c := range x.c {
				nx += x.v[c*hw+i] * x.v[c*hw+i]
				ny += y.v[c*hw+i] * y.v[c*hw+i]
			}
			for c := range x.c {
				e := x.v[c*hw+i]/(math.Sqrt(nx)+1e-10) - y.v[c*hw+i]/(math.Sqrt(ny)+1e-10)
				d[k] += float64(lin[c]) * e * e / float64(hw)
			}
		}
	}
	return d
}

func open(t *testing.T, kind Kind) *Net {
	t.Helper()
	n, err := Open(fmt.Sprintf("testdata/%s/model.safetensors", kind))
	must(t, err)
	return n
}

// TestPictures compares distances and vectors of pictures of several sizes with the definition.
func TestPictures(t *testing.T) {
	sizes := [][2]int{{40, 40}, {35, 52}, {40, 40}, {64, 33}, {40, 40}, {35, 52}}
	var pairs []Pair
	for i, s := range sizes {
		pairs = append(pairs, Pair{noise(s[0], s[1], uint64(i)), noise(s[0], s[1], uint64(100+i))})
	}
	plain := &dataloader.Image{Width: 40, Height: 40, Pix: make([]byte, 3*40*40)}
	pairs = append(pairs, Pair{plain, pairs[0].B}, Pair{pairs[0].A, pairs[0].A})
	for _, kind := range Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			n := open(t, kind)
			ctx := context.Background()
			layers, err := n.Layers(ctx, pairs, 2)
			must(t, err)
			distances, err := n.Distances(ctx, pairs, 1)
			must(t, err)
			for i, p := range pairs {
				total := 0.0
				for k, want := range layers64(n, p.A, p.B) {
					total += want
					if d := math.Abs(float64(layers[i][k]) - want); !(d <= 1e-5*want+1e-8) {
						t.Errorf("pair %d, layer %d: %v, want %v", i, k, layers[i][k], want)
					}
				}
				if d := math.Abs(float64(distances[i]) - total); !(d <= 1e-5*total+1e-8) {
					t.Errorf("pair %d: %v, want %v", i, distances[i], total)
				}
			}
			if last := distances[len(distances)-1]; last != 0 {
				t.Errorf("a picture to itself: %v", last)
			}
			// No bit depends on threads, on order, or on what else there is.
			for threads := range 5 {
				again, err := n.Distances(ctx, pairs, threads)
				must(t, err)
				if !slices.Equal(again, distances) {
					t.Errorf("%d threads: %v, want %v", threads, again, distances)
				}
			}
			for i, p := range pairs[:3] {
				alone, err := n.Distances(ctx, []Pair{p}, 3)
				must(t, err)
				if alone[0] != distances[i] {
					t.Errorf("pair %d alone: %v, want %v", i, alone[0], distances[i])
				}
			}

			images := []*dataloader.Image{pairs[0].A, pairs[0].B, pairs[2].A, pairs[2].B, plain}
			vectors := make([][]float32, len(images))
			width, err := n.Width(40, 40)
			must(t, err)
			peak, err := n.Peak(40, 40)
			must(t, err)
			must(t, n.Vectors(ctx, images, 2, func(i int, v []float32) error {
				vectors[i] = slices.Clone(v)
				clear(v) // it is the callback's
				return nil
			}))
			for i, a := range vectors {
				if len(a) != width || slices.Min(a) < 0 || float64(slices.Max(a)) > peak*(1+1e-6) {
					t.Errorf("picture %d: %d values of %v … %v, want %d of 0 … %v", i, len(a), slices.Min(a), slices.Max(a), width, peak)
				}
				for j, b := range vectors {
					var got, want float64
					for c := range a {
						got += (float64(a[c]) - float64(b[c])) * (float64(a[c]) - float64(b[c]))
					}
					for _, d := range layers64(n, images[i], images[j]) {
						want += d
					}
					if !(math.Abs(got-want) <= 1e-5*want+1e-8) {
						t.Errorf("pictures %d and %d: vectors give %v, want %v", i, j, got, want)
					}
				}
			}
		})
	}
}

// TestTiers computes the same with the kernels of every tier.
func TestTiers(t *testing.T) {
	p := Pair{noise(48, 70, 1), noise(48, 70, 2)}
	for _, kind := range Kinds() {
		n := open(t, kind)
		want := layers64(n, p.A, p.B)
		for _, tier := range kernel.Tiers() {
			if tier.BF16() {
				continue
			}
			restore, err := kernel.SetTier(tier)
			must(t, err)
			got, err := n.Layers(context.Background(), []Pair{p}, 2)
			restore()
			must(t, err)
			for k, v := range want {
				if d := math.Abs(float64(got[0][k]) - v); !(d <= 1e-5*v+1e-8) {
					t.Errorf("%s, %s, layer %d: %v, want %v", kind, tier, k, got[0][k], v)
				}
			}
		}
	}
}

// TestSizes finds the smallest picture of each net by the sizes that torchvision's models have left.
func TestSizes(t *testing.T) {
	for _, tt := range []struct {
		kind  Kind
		least int
		width int // at 64×64
	}{
		// 64 → 15 (8 channels) → 7 (24) → 3 (48, 32, 32)
		{Alex, 31, 15*15*8 + 7*7*24 + 9*(48+32+32)},
		{VGG, 16, 64*64*8 + 32*32*16 + 16*16*32 + 8*8*64 + 4*4*64},
		// 64 → 31 → 15 → 7 → 3; 17 → 8 → 4 → 2 → 1, and of 1 PyTorch makes nothing
		{Squeeze, 17, 31*31*16 + 15*15*32 + 7*7*64 + 9*(96+96+128+128)},
	} {
		n := open(t, tt.kind)
		if width, err := n.Width(64, 64); err != nil || width != tt.width {
			t.Errorf("%s: width %d, %v, want %d", tt.kind, width, err, tt.width)
		}
		least := 1
		for {
			if _, err := n.Width(least, least); err == nil {
				break
			}
			least++
		}
		if least != tt.least {
			t.Errorf("%s: the smallest picture has a side of %d, want %d", tt.kind, least, tt.least)
		}
		small := noise(least, least, 1)
		if _, err := n.Distances(context.Background(), []Pair{{small, noise(least, least, 2)}}, 1); err != nil {
			t.Errorf("%s: %v", tt.kind, err)
		}
		small = noise(least-1, least+9, 1)
		_, err := n.Distances(context.Background(), []Pair{{small, small}}, 1)
		want := fmt.Sprintf("lpips: distances: pictures of %d×%d are too small for %s: nothing is left of them at features.", least+9, least-1, tt.kind)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", tt.kind, err, want)
		}
	}
}

// TestLarge asks for pictures that no memory would hold.
func TestLarge(t *testing.T) {
	for _, kind := range Kinds() {
		n := open(t, kind)
		if _, err := n.Width(1<<20, 1<<20); err == nil || !strings.Contains(err.Error(), "lpips: width: a picture of 1048576×1048576 takes") {
			t.Errorf("%s: %v", kind, err)
		}
		if _, err := n.Width(3000, 2000); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestRunErrors(t *testing.T) {
	n := open(t, Alex)
	a, b := noise(40, 40, 1), noise(40, 41, 2)
	ctx := context.Background()
	none := func(int, []float32) error { return nil }
	ended, cancel := context.WithCancel(ctx)
	cancel()
	cause := errors.New("enough")
	negative := open(t, Alex)
	negative.weights[linName(3)].data[2] = -1
	overflow := open(t, Alex)
	for i := range overflow.weights["features.0.weight"].data {
		overflow.weights["features.0.weight"].data[i] = 3e38
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{second(n.Distances(ctx, []Pair{{a, a}, {a, b}}, 1)), "lpips: distances: pair 1: pictures of 40×40 and 41×40: want one size"},
		{second(n.Distances(ctx, []Pair{{a, nil}}, 1)), "lpips: distances: pair 0: not an RGB picture"},
		{second(n.Distances(ctx, []Pair{{a, &dataloader.Image{Width: 1 << 32, Height: 1 << 31}}}, 1)), "not an RGB picture"},
		{n.Vectors(ctx, []*dataloader.Image{a, b}, 1, none), "lpips: vectors: picture 1: a picture of 41×40 where the first is one of 40×40"},
		{n.Vectors(ctx, []*dataloader.Image{a, a, a}, 1, func(int, []float32) error { return cause }), "enough"},
		{negative.Vectors(ctx, []*dataloader.Image{a}, 1, none), "lin3.model.1.weight[2] is -1"},
		{second(overflow.Distances(ctx, []Pair{{a, noise(40, 40, 3)}}, 1)), "are not finite"},
		{second(n.Distances(ended, []Pair{{a, a}}, 1)), context.Canceled.Error()},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%v, want %q", tt.err, tt.want)
		}
	}
	if d, err := n.Distances(ctx, nil, 0); err != nil || len(d) != 0 {
		t.Errorf("no pairs: %v %v", d, err)
	}
}

func second[T any](_ T, err error) error { return err }
