package scenes

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestDraw compares the coverage of the span rasteriser with testing every sample of every pixel.
func TestDraw(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for trial := range 400 {
		size := []int{16, 64, 100}[trial%3]
		scale := float64(size) / 64
		o := object{
			shape: rng.IntN(shapeCount), texture: rng.IntN(textureCount), rgb: rgbColor{1, 1, 1}, alpha: 1,
			x: 70 * scale * rng.Float64(), y: 70 * scale * rng.Float64(), r: (1 + 12*rng.Float64()) * scale,
			sx: .5 + rng.Float64(), sy: .5 + rng.Float64(), rot: 7 * rng.Float64(), flip: rng.IntN(2) == 0,
		}
		switch rng.IntN(4) {
		case 0:
			o.half, o.halfAngle = 1, 6*rng.Float64()
		case 1:
			o.sector = rng.Float64()
		case 2:
			o.shape, o.rot = square, float64(rng.IntN(2))*math.Pi/2 // an axis of the map is upright
		}
		c := newCanvas(size)
		c.draw(&o)
		side := samplesPerSide(size)
		s := o.prepare(scale)
		differ, covered := 0, 0.0
		for y := range size {
			for x := range size {
				hits := 0
				for i := range side * side {
					px := float64(x) + (float64(i%side)+.5)/float64(side)
					py := float64(y) + (float64(i/side)+.5)/float64(side)
					if s.covers(s.local(px, py)) {
						hits++
					}
				}
				want := float64(hits) / float64(side*side)
				covered += want
				if math.Abs(want-float64(c.coverage[y*size+x])) > 1e-6 {
					differ++
				}
				if math.Abs(float64(c.pixels[(y*size+x)*3])-want) > 1e-6 && math.Abs(want-float64(c.coverage[y*size+x])) <= 1e-6 {
					t.Fatalf("trial %d: pixel (%d, %d) is %v at coverage %v", trial, x, y, c.pixels[(y*size+x)*3], want)
				}
			}
		}
		if differ > 1 { // a sample on an edge may fall either way
			t.Fatalf("trial %d: %s %+v: %d pixels differ", trial, shapeNames[o.shape], o, differ)
		}
		if got := c.ink() * float64(size*size); math.Abs(got-covered) > 1 {
			t.Fatalf("trial %d: ink %v, want %v", trial, got, covered)
		}
	}
}

// TestEstimateInk holds the coarse estimate near the exact cover, on scenes.
func TestEstimateInk(t *testing.T) {
	s, err := Open(Default(), Test)
	if err != nil {
		t.Fatal(err)
	}
	sum, worst := 0.0, 0.0
	const n = 200
	for i := range n {
		scene, _ := s.scene(i)
		estimate := estimateInk(scene.objects, s.cfg.Size)
		exact := s.Picture(i).Ink
		off := math.Log(estimate / exact)
		sum += off
		worst = math.Max(worst, math.Abs(off))
	}
	if mean := sum / n; math.Abs(mean) > .03 || worst > .5 {
		t.Errorf("log of estimated over exact ink: mean %.3f, worst %.3f", mean, worst)
	}
}

func TestNoiseTable(t *testing.T) {
	sum, square := 0.0, 0.0
	for _, v := range noiseTable {
		sum += float64(v) / 256
		square += float64(v) * float64(v) / 256
	}
	if want := noiseDeviation * 255; math.Abs(sum) > 1e-5 || math.Abs(math.Sqrt(square)-want) > .02*want {
		t.Errorf("noise has mean %v and deviation %v, want 0 and %v", sum, math.Sqrt(square), want)
	}
}

// TestFill checks the backgrounds against their formulas.
func TestFill(t *testing.T) {
	const size = 48
	for style := range styleCount {
		p := profile{ground: rgbColor{.2, .4, .6}, second: rgbColor{.3, .3, .3}, style: style, phase: 1.3}
		c := newCanvas(size)
		c.coverage[5] = 1
		c.fill(&p)
		if c.coverage[5] != 0 {
			t.Fatal("fill keeps the coverage of the last picture")
		}
		sin, cos := math.Sincos(p.phase)
		for y := range size {
			for x := range size {
				fx, fy := float64(x)*64/size, float64(y)*64/size
				mix := 0.0
				switch style {
				case gradient:
					mix = clamp(.5 + ((fx-32)*cos+(fy-32)*sin)/80)
				case blobs:
					mix = .5 + .5*math.Sin(fx*.11+p.phase)*math.Sin(fy*.13+2*p.phase)
				case checks:
					if (int(fx/8)+int(fy/8))%2 == 0 {
						mix = .35
					}
				case bands:
					mix = .3 * (.5 + .5*math.Sin((fx*cos+fy*sin)*.55))
				}
				for ch := range 3 {
					want := p.ground[ch] + (p.second[ch]-p.ground[ch])*mix
					if got := c.pixels[(y*size+x)*3+ch]; math.Abs(float64(got)-want) > 1e-5 {
						t.Fatalf("%s at (%d, %d): %v, want %v", styleNames[style], x, y, got, want)
					}
				}
			}
		}
	}
}
