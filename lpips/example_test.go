package lpips_test

import (
	"context"
	"fmt"
	"math"

	"relsim/dataloader"
	"relsim/lpips"
)

// plain returns a picture of one colour with a dot.
func plain(r, g, b byte, dot int) *dataloader.Image {
	im := &dataloader.Image{Width: 64, Height: 64}
	for range 64 * 64 {
		im.Pix = append(im.Pix, r, g, b)
	}
	for y := dot; y < dot+20; y++ {
		for x := dot; x < dot+20; x++ {
			copy(im.Pix[3*(64*y+x):], []byte{255, 255, 255})
		}
	}
	return im
}

// A folder with torchvision's net and LPIPS's head, which are found by their tensors.
func ExampleNet_Distances() {
	net, err := lpips.Open("testdata/pth")
	if err != nil {
		fmt.Println(err)
		return
	}
	red, moved, blue := plain(200, 30, 30, 10), plain(200, 30, 30, 12), plain(20, 30, 200, 30)
	d, err := net.Distances(context.Background(), []lpips.Pair{{A: red, B: red}, {A: red, B: moved}, {A: red, B: blue}}, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(net.Kind(), d[0] == 0, d[1] < d[2])
	// Output: alex true true
}

// The squared Euclidean distance of two pictures' vectors is their LPIPS.
func ExampleNet_Vectors() {
	net, err := lpips.Open("testdata/pth")
	if err != nil {
		fmt.Println(err)
		return
	}
	pictures := []*dataloader.Image{plain(200, 30, 30, 10), plain(20, 30, 200, 30)}
	vectors := make([][]float32, len(pictures))
	if err := net.Vectors(context.Background(), pictures, 1, func(i int, v []float32) error {
		vectors[i] = append([]float32(nil), v...)
		return nil
	}); err != nil {
		fmt.Println(err)
		return
	}
	var sum float64
	for i, a := range vectors[0] {
		sum += float64(a-vectors[1][i]) * float64(a-vectors[1][i])
	}
	d, err := net.Distances(context.Background(), []lpips.Pair{{A: pictures[0], B: pictures[1]}}, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(math.Abs(sum-float64(d[0])) < 1e-5)
	// Output: true
}
