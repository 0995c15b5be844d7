package baseline_test

import (
	"context"
	"fmt"

	"relsim/baseline"
	"relsim/dataloader"
)

// plain returns a picture of one colour.
func plain(r, g, b byte) *dataloader.Image {
	im := &dataloader.Image{Width: 48, Height: 32}
	for range im.Width * im.Height {
		im.Pix = append(im.Pix, r, g, b)
	}
	return im
}

func Example() {
	pictures := []*dataloader.Image{plain(200, 30, 30), plain(210, 40, 30), plain(20, 30, 200)}
	for _, m := range []baseline.Measure{baseline.Pixels(), baseline.Histogram()} {
		if err := m.Prepare(context.Background(), pictures); err != nil {
			fmt.Println(err)
			return
		}
		scores := make([]float32, len(pictures))
		if err := m.Scores(0, scores); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s: red to red %.2f, red to blue %.2f\n", m.Name(), scores[1], scores[2])
	}
	// Output:
	// pixel-l2: red to red -1.77, red to blue -31.07
	// color-histogram: red to red 0.56, red to blue 0.00
}
