package scenes

import (
	"math"
	"testing"
)

// TestInsideUnit compares the shapes with the area and extent of their definitions, on a fine grid, and the pentagon
// and star with their polar forms.
func TestInsideUnit(t *testing.T) {
	const grid = 600
	polygon := func(corners int, apothem float64) float64 { // area of a regular polygon
		return float64(corners) * apothem * apothem * math.Tan(math.Pi/float64(corners))
	}
	area := map[int]float64{
		circle:   math.Pi,
		square:   4 * squareHalf * squareHalf,
		triangle: 1.64 * 1.64 / 1.72,
		diamond:  2 * 1.05 * 1.05 / 1.25,
		cross:    2*.72*2 - .72*.72,
		hexagon:  polygon(6, .87),
		pentagon: polygon(5, .8),
	}
	for shape := range shapeCount {
		hits := 0
		for i := range grid {
			for j := range grid {
				u, v := (2*(float64(i)+.5)/grid-1)*1.3, (2*(float64(j)+.5)/grid-1)*1.3
				in := insideUnit(shape, u, v)
				if in {
					hits++
				}
				if r := math.Hypot(u, v); in && r > 1.22 {
					t.Fatalf("%s reaches (%.2f, %.2f)", shapeNames[shape], u, v)
				} else if !in && r < inradius[shape] {
					t.Fatalf("%s: (%.2f, %.2f) lies within the inradius and not inside", shapeNames[shape], u, v)
				}
				if in && (math.Abs(u) > 1.14 || math.Abs(v) > 1.14) {
					t.Fatalf("%s: (%.2f, %.2f) is beyond the reach of a stencil", shapeNames[shape], u, v)
				}
				if shape == pentagon {
					const fifth = 2 * math.Pi / 5
					a := math.Mod(math.Atan2(v, u)+math.Pi/2+2*math.Pi, fifth) - fifth/2
					if polar := math.Hypot(u, v) * math.Cos(a); math.Abs(polar-.8) > 1e-9 && in != (polar < .8) {
						t.Fatalf("pentagon at (%v, %v): %v, polar form %v", u, v, in, polar)
					}
				}
			}
		}
		got := float64(hits) * (2.6 / grid) * (2.6 / grid)
		if want, ok := area[shape]; ok && math.Abs(got-want) > .01*want {
			t.Errorf("%s has area %.4f, want %.4f", shapeNames[shape], got, want)
		}
		if got < .5 {
			t.Errorf("%s has area %.4f", shapeNames[shape], got)
		}
	}
}

func TestContact(t *testing.T) {
	for _, tt := range []struct {
		name  string
		a, b  object
		angle float64
		want  float64
	}{
		{"circles", object{shape: circle, r: 1, sx: 1, sy: 1}, object{shape: circle, r: .5, sx: 1, sy: 1}, 1.1, 1.5},
		{"squares", object{shape: square, r: 1, sx: 1, sy: 1}, object{shape: square, r: 1, sx: 1, sy: 1}, 0, 2 * squareHalf},
		{"stretched", object{shape: square, r: 1, sx: 2, sy: 1}, object{shape: square, r: 1, sx: 1, sy: 1}, 0, 3 * squareHalf},
		{"square on its corner", object{shape: square, r: 1, sx: 1, sy: 1, rot: math.Pi / 4}, object{shape: circle, r: 1, sx: 1, sy: 1}, 0, squareHalf*math.Sqrt2 + 1},
	} {
		if got := contact(&tt.a, &tt.b, tt.angle); math.Abs(got-tt.want) > .12 {
			t.Errorf("%s touch at %.3f, want %.3f", tt.name, got, tt.want)
		}
	}
}

func TestLowest(t *testing.T) {
	o := object{shape: square, r: 2, sx: 1, sy: .5}
	if got := o.lowest(); math.Abs(got-squareHalf) > .05 {
		t.Errorf("lowest point of a square is %.3f below its centre, want %.3f", got, squareHalf)
	}
}

func TestUnlikeness(t *testing.T) {
	for a := range shapeCount {
		clear := 0
		for b := range shapeCount {
			if d := unlikeness(a, b); d != unlikeness(b, a) || d < 0 || d > 1 {
				t.Errorf("unlikeness of %s and %s is %v one way and %v the other", shapeNames[a], shapeNames[b], d, unlikeness(b, a))
			} else if d >= oddSilhouette {
				clear++
			}
		}
		if clear < 4 {
			t.Errorf("%s is unlike %d shapes only: its profiles would lack variety", shapeNames[a], clear)
		}
	}
	if unlikeness(circle, hexagon) != 0 || unlikeness(circle, star) < oddSilhouette {
		t.Error("a circle reads as a hexagon, not as a star")
	}
}
