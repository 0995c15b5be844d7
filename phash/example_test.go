package phash_test

import (
	"fmt"

	"relsim/dataloader"
	"relsim/phash"
)

// A picture, the same one brighter, and another one.
func ExampleOf() {
	draw := func(brighter, period int) *dataloader.Image {
		im := &dataloader.Image{Width: 60, Height: 40}
		for y := range 40 {
			for x := range 60 {
				v := byte(brighter + (x*x+3*x*y+y*y*y/9)/period%200)
				im.Pix = append(im.Pix, v, v, v)
			}
		}
		return im
	}
	a, b, c := phash.Of(draw(0, 70)), phash.Of(draw(40, 70)), phash.Of(draw(0, 30))
	fmt.Println(a.Distance(b) <= 6, a.Distance(c) > 6)
	// Output: true true
}

func ExampleGroups() {
	fmt.Println(phash.Groups([]phash.Hash{0x00ff, 0xabcd00000000, 0x01ff, 0x03ff}, 1))
	// Output: [[0 2 3]]
}
