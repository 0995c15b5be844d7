package main

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"relsim/dataloader"
	"relsim/lpips"
)

// The distances of many pictures, from features that are computed once for each, are those of pairs.
func TestPerceptual(t *testing.T) {
	net, err := lpips.OpenKind(lpips.Alex, "../../lpips/testdata/alex/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var items []dataloader.Item
	var images []*dataloader.Image
	for i := range fewPictures + 2 {
		im := &dataloader.Image{Width: 40, Height: 36, Pix: make([]byte, 3*40*36)}
		for j := range im.Pix {
			im.Pix[j] = byte(20*i + rng.IntN(60))
		}
		items, images = append(items, dataloader.Item{ID: string(rune('a' + i))}), append(images, im)
	}
	c := &perceptual{net: net, threads: 2}
	good, broken, err := c.prepare(context.Background(), dataloader.NewMemory("noise", items, images), func(int) {})
	if err != nil || len(good) != len(images) || broken != nil {
		t.Fatal(good, broken, err)
	}
	if c.exact != nil {
		t.Error("so many pictures are compared in pairs")
	}
	n := len(images)
	got := make([]float32, (n-3)*n)
	if err := c.rows(context.Background(), 3, n, got); err != nil {
		t.Fatal(err)
	}
	var pairs []lpips.Pair
	for i := 3; i < n; i++ {
		for j := range n {
			pairs = append(pairs, lpips.Pair{A: images[i], B: images[j]})
		}
	}
	want, err := net.Distances(context.Background(), pairs, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if !(math.Abs(float64(got[i]-want[i])) <= 1e-5*float64(want[i])+1e-9) {
			t.Errorf("pair %d: %v, want %v", i, got[i], want[i])
		}
	}
}

func TestNearest(t *testing.T) {
	scores := []float32{.5, 9, .7, .5, .1, .7}
	for _, tt := range []struct {
		k     int
		lower bool
		want  []int
	}{
		{3, false, []int{2, 5, 0}},
		{2, true, []int{4, 0}},
		{9, true, []int{4, 0, 3, 2, 5}},
	} {
		if got := nearest(scores, 1, tt.k, tt.lower); !slices.Equal(got, tt.want) {
			t.Errorf("k = %d, lower %v: %v, want %v", tt.k, tt.lower, got, tt.want)
		}
	}
}
