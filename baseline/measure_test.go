package baseline

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"relsim/dataloader"
)

// blobs returns n smooth pictures of side×side pixels: sums of coloured waves, so that measures have something to see.
func blobs(n, side int, seed uint64) []*dataloader.Image {
	rng := rand.New(rand.NewPCG(seed, 2))
	list := make([]*dataloader.Image, n)
	for i := range list {
		im := &dataloader.Image{Width: side, Height: side, Pix: make([]byte, 3*side*side)}
		var base, gain, fx, fy, phase [3]float64
		for c := range 3 {
			base[c], gain[c] = 60+140*rng.Float64(), 20+30*rng.Float64()
			fx[c], fy[c], phase[c] = 6*rng.Float64(), 6*rng.Float64(), 7*rng.Float64()
		}
		for y := range side {
			for x := range side {
				for c := range 3 {
					v := base[c] + gain[c]*math.Sin(2*math.Pi*(fx[c]*float64(x)+fy[c]*float64(y))/float64(side)+phase[c])
					im.Pix[3*(y*side+x)+c] = byte(v)
				}
			}
		}
		list[i] = im
	}
	return list
}

// prepared returns the measure ready for the pictures.
func prepared(t *testing.T, m Measure, images []*dataloader.Image) Measure {
	t.Helper()
	if err := m.Prepare(context.Background(), images); err != nil {
		t.Fatal(err)
	}
	return m
}

func scores(t *testing.T, m Measure, query, n int) []float32 {
	t.Helper()
	dst := make([]float32, n)
	if err := m.Scores(query, dst); err != nil {
		t.Fatal(err)
	}
	return dst
}

// lumas returns the luma of a picture in float64.
func lumas(im *dataloader.Image) []float64 {
	out := make([]float64, im.Width*im.Height)
	for i := range out {
		out[i] = math.Floor((19595*float64(im.Pix[3*i])+38470*float64(im.Pix[3*i+1])+7471*float64(im.Pix[3*i+2]))/65536 + 0.5)
	}
	return out
}

// TestDefinitions compares every measure with a plain float64 program of its definition.
func TestDefinitions(t *testing.T) {
	distance := func(x, y []float64) float64 {
		var sum float64
		for i := range x {
			sum += (x[i] - y[i]) * (x[i] - y[i])
		}
		return -math.Sqrt(sum)
	}
	for _, tt := range []struct {
		measure   Measure
		side      int
		tolerance float64
		features  func(im *dataloader.Image) []float64
		score     func(a, b []float64) float64
	}{
		{Pixels(), 32, 2e-5, func(im *dataloader.Image) []float64 {
			var x []float64
			for _, v := range im.Pix {
				x = append(x, float64(v)/255)
			}
			return x
		}, distance},
		{Thumbnail(), 16, 1e-5, lumas, func(x, y []float64) float64 {
			var mx, my, xx, yy, xy float64
			for i := range x {
				mx, my = mx+x[i]/256, my+y[i]/256
			}
			for i := range x {
				xx += (x[i] - mx) * (x[i] - mx)
				yy += (y[i] - my) * (y[i] - my)
				xy += (x[i] - mx) * (y[i] - my)
			}
			return xy / math.Sqrt(xx*yy)
		}},
		{Histogram(), 64, 1e-4, func(im *dataloader.Image) []float64 {
			// A pixel's share of a bin is the product over the channels of the triangle function around its centre.
			h := make([]float64, 512)
			weight := func(v byte, bin int) float64 {
				at := math.Max(0, math.Min(7, (float64(v)+0.5)/32-0.5))
				return math.Max(0, 1-math.Abs(at-float64(bin)))
			}
			for i := 0; i < len(im.Pix); i += 3 {
				for bin := range h {
					h[bin] += weight(im.Pix[i], bin/64) * weight(im.Pix[i+1], bin/8%8) * weight(im.Pix[i+2], bin%8) / 4096
				}
			}
			return h
		}, func(x, y []float64) float64 {
			var sum float64
			for i := range x {
				sum += math.Min(x[i], y[i])
			}
			return sum
		}},
		{SSIM(), 32, 1e-4, lumas, func(x, y []float64) float64 {
			var total float64
			for wy := 0; wy <= 24; wy += 4 {
				for wx := 0; wx <= 24; wx += 4 {
					var mx, my, vx, vy, c float64
					for i := range 64 {
						at := (wy+i/8)*32 + wx + i%8
						mx, my = mx+x[at]/64, my+y[at]/64
					}
					for i := range 64 {
						at := (wy+i/8)*32 + wx + i%8
						vx += (x[at] - mx) * (x[at] - mx) / 63
						vy += (y[at] - my) * (y[at] - my) / 63
						c += (x[at] - mx) * (y[at] - my) / 63
					}
					const c1, c2 = 2.55 * 2.55, 7.65 * 7.65
					total += (2*mx*my + c1) * (2*c + c2) / ((mx*mx + my*my + c1) * (vx + vy + c2))
				}
			}
			return total / 49
		}},
		{HOG(), 64, 1e-5, hogFeatures, func(x, y []float64) float64 {
			var sum float64
			for i := range x {
				sum += x[i] * y[i]
			}
			return sum
		}},
		{RandomConv(7), 64, 1e-4, func(im *dataloader.Image) []float64 {
			return convFeatures(RandomConv(7).(*randomConv), im)
		}, distance},
	} {
		t.Run(tt.measure.Name(), func(t *testing.T) {
			images := slices.Concat(blobs(3, tt.side, 1), noise(1, tt.side, 3))
			m := prepared(t, tt.measure, images)
			var features [][]float64
			for _, im := range images {
				features = append(features, tt.features(im))
			}
			for q := range images {
				for i, got := range scores(t, m, q, len(images)) {
					if want := tt.score(features[q], features[i]); !(math.Abs(float64(got)-want) <= tt.tolerance) {
						t.Errorf("score(%d, %d) = %v, want %v", q, i, got, want)
					}
				}
			}
		})
	}
}

// hogFeatures computes the histograms block by block: every pixel of a block votes for each orientation with a triangle
// of width 20° around its centre.
func hogFeatures(im *dataloader.Image) []float64 {
	luma := lumas(im)
	at := func(x, y int) float64 { return luma[min(max(y, 0), 63)*64+min(max(x, 0), 63)] }
	unit := func(v []float64) {
		var sum float64
		for _, x := range v {
			sum += x * x
		}
		for i := range v {
			if sum > 0 {
				v[i] /= math.Sqrt(sum)
			}
		}
	}
	var all []float64
	for block := range 49 {
		v := make([]float64, 36)
		for p := range 256 {
			x, y := block%7*8+p%16, block/7*8+p/16
			dx, dy := at(x+1, y)-at(x-1, y), at(x, y+1)-at(x, y-1)
			degrees := math.Atan2(dy, dx) * 180 / math.Pi
			for o := range 9 {
				// Distance of the direction from the orientation's centre, modulo 180°.
				d := math.Abs(math.Mod(degrees-20*(float64(o)+0.5)+450, 180) - 90)
				v[(p/16/8*2+p%16/8)*9+o] += math.Max(0, 1-d/20) * math.Hypot(dx, dy)
			}
		}
		unit(v)
		for i := range v {
			v[i] = math.Min(v[i], 0.2)
		}
		unit(v)
		all = append(all, v...)
	}
	unit(all)
	return all
}

// convFeatures runs the network in float64 by the definition of a convolution.
func convFeatures(m *randomConv, im *dataloader.Image) []float64 {
	x := make([]float64, len(im.Pix))
	for i, p := range im.Pix {
		x[i] = (float64(p)/255 - 0.5) * 4
	}
	side, channels := 64, 3
	var features []float64
	for _, l := range m.layers {
		k, out := l.shape.KH, l.shape.OutC
		next := side / 2
		y := make([]float64, next*next*out)
		for o := range out {
			for r := range next {
				for c := range next {
					var sum float64
					for ch := range channels {
						for i := range k * k {
							sy, sx := 2*r+i/k-k/2, 2*c+i%k-k/2
							if sy >= 0 && sy < side && sx >= 0 && sx < side {
								sum += x[(sy*side+sx)*channels+ch] * float64(l.weights[(o*channels+ch)*k*k+i])
							}
						}
					}
					y[(r*next+c)*out+o] = math.Max(0, sum)
				}
			}
		}
		pooled := next / 2
		for p := range pooled * pooled {
			v := make([]float64, out)
			var norm float64
			for o := range v {
				for i := range 4 {
					v[o] += y[((p/pooled*2+i/2)*next+p%pooled*2+i%2)*out+o]
				}
				norm += v[o] * v[o]
			}
			for o := range v {
				if norm > 0 {
					v[o] /= math.Sqrt(norm) * float64(pooled)
				}
			}
			features = append(features, v...)
		}
		x, side, channels = y, next, out
	}
	return features
}

// change returns a copy of a picture with f applied to every value.
func change(im *dataloader.Image, f func(byte) byte) *dataloader.Image {
	out := &dataloader.Image{Width: im.Width, Height: im.Height, Pix: make([]byte, len(im.Pix))}
	for i, v := range im.Pix {
		out.Pix[i] = f(v)
	}
	return out
}

// TestInvariances says what a measure must not see.
func TestInvariances(t *testing.T) {
	a := blobs(1, 64, 5)[0]
	mixed := &dataloader.Image{Width: 64, Height: 64, Pix: make([]byte, len(a.Pix))}
	for i, at := range rand.New(rand.NewPCG(1, 1)).Perm(64 * 64) {
		copy(mixed.Pix[3*i:], a.Pix[3*at:3*at+3])
	}
	brighter := change(a, func(v byte) byte { return v + 5 })
	negative := change(a, func(v byte) byte { return 255 - v })
	other := blobs(1, 64, 6)[0]
	list := []*dataloader.Image{a, mixed, brighter, negative, other}
	for _, tt := range []struct {
		measure Measure
		blind   int // to list[blind]
		sees    int
		slack   float32
	}{
		{Histogram(), 1, 4, 1e-5},
		{Thumbnail(), 2, 3, 1e-3},
		{HOG(), 2, 1, 1e-3},
		{HOG(), 3, 1, 1e-2},
	} {
		s := scores(t, prepared(t, tt.measure, list), 0, len(list))
		if s[tt.blind] < s[0]-tt.slack {
			t.Errorf("%s: picture %d scores %v, the picture itself %v", tt.measure.Name(), tt.blind, s[tt.blind], s[0])
		}
		if s[tt.sees] > s[0]-10*tt.slack {
			t.Errorf("%s: picture %d scores %v, the picture itself %v: it sees no difference", tt.measure.Name(), tt.sees, s[tt.sees], s[0])
		}
	}
}

// TestHOGOrientation: a picture of vertical edges has all its votes in the orientation of 0°, split over the bins around
// 0°, and the same picture turned by 90° in other ones.
func TestHOGOrientation(t *testing.T) {
	bars := func(vertical bool) *dataloader.Image {
		im := &dataloader.Image{Width: 64, Height: 64, Pix: make([]byte, 3*64*64)}
		for i := range 64 * 64 {
			at := i / 64
			if vertical {
				at = i % 64
			}
			if at/4%2 == 0 {
				im.Pix[3*i], im.Pix[3*i+1], im.Pix[3*i+2] = 255, 255, 255
			}
		}
		return im
	}
	m := HOG().(*features)
	s := scores(t, prepared(t, m, []*dataloader.Image{bars(true), bars(false)}), 0, 2)
	if s[0] < 0.999 || s[1] > 1e-3 {
		t.Errorf("bars and bars turned by 90°: %v, want 1 and 0", s)
	}
	for i, v := range m.row(0) {
		if o := i % 9; (v > 1e-6) != (o == 0 || o == 8) {
			t.Fatalf("vertical edges: orientation %d has %v", o, v)
		}
	}
}

func TestEveryMeasure(t *testing.T) {
	ctx := context.Background()
	images := slices.Concat(blobs(6, 64, 8), noise(2, 64, 9))
	odd := slices.Concat(blobs(3, 97, 8), noise(2, 1, 9), []*dataloader.Image{{Width: 50, Height: 31, Pix: make([]byte, 3*50*31)}})
	names := make(map[string]bool)
	for _, m := range All(3) {
		if names[m.Name()] {
			t.Errorf("two measures are called %s", m.Name())
		}
		names[m.Name()] = true
		t.Run(m.Name(), func(t *testing.T) {
			if !NeedsPixels(m) {
				t.Error("it says that it needs no pixels")
			}
			dst := make([]float32, len(images))
			if err := m.Scores(0, dst); err == nil || !strings.Contains(err.Error(), m.Name()) {
				t.Errorf("before Prepare: error %v", err)
			}
			prepared(t, m, images)
			all := make([][]float32, len(images))
			for q := range images {
				all[q] = scores(t, m, q, len(images))
				for i, s := range all[q] {
					if !(s <= all[q][q]+1e-5) {
						t.Errorf("picture %d is nearer to %d (%v) than itself (%v)", i, q, s, all[q][q])
					}
					if i < q && math.Abs(float64(s-all[i][q])) > 1e-5 {
						t.Errorf("score(%d, %d) = %v and the other way round %v", q, i, s, all[i][q])
					}
				}
				prefix := scores(t, m, q, 3)
				for i, s := range prefix {
					if math.Abs(float64(s-all[q][i])) > 1e-5 {
						t.Errorf("prefix: score(%d, %d) = %v, want %v", q, i, s, all[q][i])
					}
				}
			}
			if b, ok := m.(BlockMeasure); ok {
				block := make([]float32, 3*len(images))
				if err := b.ScoresBlock([]int{4, 0, 4}, block); err != nil {
					t.Fatal(err)
				}
				for r, q := range []int{4, 0, 4} {
					for i, want := range all[q] {
						if got := block[r*len(images)+i]; math.Abs(float64(got-want)) > 1e-5 {
							t.Errorf("block: score(%d, %d) = %v, want %v", q, i, got, want)
						}
					}
				}
			}

			// The same from many goroutines.
			var wg sync.WaitGroup
			for q := range images {
				wg.Go(func() {
					got := make([]float32, len(images))
					if err := m.Scores(q, got); err != nil || !slices.Equal(got, all[q]) {
						t.Errorf("query %d among others: %v, want %v (%v)", q, got, all[q], err)
					}
				})
			}
			wg.Wait()

			for _, bad := range []struct{ query, n int }{{-1, 2}, {len(images), 2}, {0, len(images) + 1}} {
				if err := m.Scores(bad.query, make([]float32, bad.n)); err == nil {
					t.Errorf("query %d, %d scores: no error", bad.query, bad.n)
				}
			}

			// Pictures of any size; none of them may give a score that is not finite.
			prepared(t, m, odd)
			for q := range odd {
				for i, s := range scores(t, m, q, len(odd)) {
					if math.IsNaN(float64(s)) || math.IsInf(float64(s), 0) {
						t.Errorf("odd sizes: score(%d, %d) = %v", q, i, s)
					}
				}
			}

			if err := m.Prepare(ctx, []*dataloader.Image{images[0], {Width: 3, Height: 3}}); err == nil || !strings.Contains(err.Error(), "picture 1") {
				t.Errorf("a broken picture: error %v", err)
			}
			stopped, stop := context.WithCancel(ctx)
			stop()
			if err := m.Prepare(stopped, images); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: error %v", err)
			}
			prepared(t, m, nil)
			if err := m.Scores(0, dst[:1]); err == nil {
				t.Error("after Prepare(nil): no error")
			}
		})
	}
	if len(names) != 6 {
		t.Errorf("%d measures", len(names))
	}
}

func TestRandomConvSeed(t *testing.T) {
	images := blobs(4, 64, 10)
	a := scores(t, prepared(t, RandomConv(1), images), 0, 4)
	b := scores(t, prepared(t, RandomConv(1), images), 0, 4)
	c := scores(t, prepared(t, RandomConv(2), images), 0, 4)
	if !slices.Equal(a, b) {
		t.Errorf("the same seed gives %v and %v", a, b)
	}
	if slices.Equal(a, c) {
		t.Errorf("two seeds give the same scores %v", a)
	}
}

func TestEmbeddings(t *testing.T) {
	m := Embeddings("model", []float32{1, 0, 0.6, 0.8, 0, -1}, 3, 2)
	if NeedsPixels(m) || NeedsPixels(Chance()) {
		t.Error("vectors need no pixels")
	}
	prepared(t, m, nil)
	if got := scores(t, m, 1, 3); !slices.Equal(got, []float32{0.6, 1, -0.8}) {
		t.Errorf("scores %v", got)
	}
	if err := m.Prepare(context.Background(), noise(2, 8, 1)); err == nil {
		t.Error("2 pictures for 3 vectors: no error")
	}
	if got := scores(t, Chance(), 1, 3); !slices.Equal(got, []float32{0, 0, 0}) {
		t.Errorf("chance scores %v", got)
	}
	// Of a query that has another vector, such as a caption's.
	asked := QueryEmbeddings("captions", []float32{0, 2, 1, 1, 3, 0}, []float32{1, 0, 0.5, 0.75, 0, -1}, 3, 2)
	if NeedsPixels(asked) {
		t.Error("vectors need no pixels")
	}
	if got := scores(t, asked, 0, 3); !slices.Equal(got, []float32{0, 1.5, -2}) {
		t.Errorf("scores %v", got)
	}
	block := make([]float32, 4)
	if err := asked.(BlockMeasure).ScoresBlock([]int{2, 1}, block); err != nil || !slices.Equal(block, []float32{3, 1.5, 1, 1.25}) {
		t.Errorf("scores of a block %v, %v", block, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("5 values for 3 vectors of width 2: no panic")
		}
	}()
	Embeddings("model", make([]float32, 5), 3, 2)
}

func TestFit(t *testing.T) {
	// 8×4: the middle 4×4 is cut out, and each 2×2 of it becomes its mean.
	im := &dataloader.Image{Width: 8, Height: 4, Pix: make([]byte, 3*8*4)}
	for i := range 8 * 4 {
		x, y := i%8, i/8
		im.Pix[3*i] = byte(10 * x)
		im.Pix[3*i+1] = byte(20 * y)
		im.Pix[3*i+2] = 7
	}
	got, err := Fit(im, 2)
	if err != nil {
		t.Fatal(err)
	}
	want := []byte{25, 10, 7, 45, 10, 7, 25, 50, 7, 45, 50, 7}
	if got.Width != 2 || got.Height != 2 || !slices.Equal(got.Pix, want) {
		t.Errorf("got %v, want %v", got.Pix, want)
	}
	if same, err := Fit(got, 2); err != nil || same != got {
		t.Errorf("a picture of the size is not returned as it is: %v", err)
	}
	if large, err := Fit(got, 32); err != nil || len(large.Pix) != 3*32*32 || large.Pix[0] != 25 || large.Pix[3*31] != 45 {
		t.Errorf("growing: %v, %v", large, err)
	}
	if _, err := Fit(nil, 2); err == nil {
		t.Error("no picture: no error")
	}
}
