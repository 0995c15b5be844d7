package main

import (
	"math"
	"testing"
)

// TestValues holds the numbers against those of bench/peer.py, as NumPy 1.24 computes them.
func TestValues(t *testing.T) {
	for name, want := range map[string][]uint32{
		"images":             {2994904027, 1198302005, 3085440101, 1821269766},
		"vision.norm.weight": {4112382367, 1252483300, 3212305863},
	} {
		for i, w := range want {
			if got := hash(seedOf(name), i); got != w {
				t.Errorf("number %d of %s is %d, want %d", i, name, got, w)
			}
		}
	}
	var x [4]float32
	fill(x[:], "images", 2, 1)
	for i, want := range []float32{1.7892215251922607, .11600565910339355, 1.873539924621582, .6961896419525146} {
		if math.Abs(float64(x[i]-want)) > 3e-7 {
			t.Errorf("value %d is %v, want %v", i, x[i], want)
		}
	}
	if got := numbers[int]("images", 2, 10); got[0] != 7 || got[1] != 5 {
		t.Errorf("numbers below 10: %v, want [7 5]", got)
	}
}

// TestPatches cuts patches out of small pictures whose order is easy to see.
func TestPatches(t *testing.T) {
	j := stockJob("stock")
	j.Batch = 2
	c := *j.Config
	c.Vision.ImageSize, c.Vision.PatchSize = 4, 2
	j.Config = &c
	images, got := pictures(j), patches(j)
	if len(got) != len(images) {
		t.Fatalf("%d values of %d", len(got), len(images))
	}
	for n := range 2 {
		for token := range 4 {
			for channel := range 3 {
				for y := range 2 {
					for x := range 2 {
						row, column := token/2*2+y, token%2*2+x
						want := images[n*48+channel*16+row*4+column]
						if v := got[(n*4+token)*12+channel*4+y*2+x]; v != want {
							t.Errorf("picture %d, token %d, channel %d, (%d, %d): %v, want %v", n, token, channel, x, y, v, want)
						}
					}
				}
			}
		}
	}
}
