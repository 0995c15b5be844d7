package lpips_test

import (
	"context"
	"fmt"

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
