package baseline_test

import (
	"context"
	"fmt"

	"relsim/baseline"
	"relsim/dataloader"
	"relsim/lpips"
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

// The files are torchvision's AlexNet and LPIPS's head for it, in one folder.
func ExampleLPIPS() {
	net, err := lpips.Open("../lpips/testdata/pth")
	if err != nil {
		fmt.Println(err)
		return
	}
	pictures := []*dataloader.Image{plain(200, 30, 30), plain(210, 40, 30), plain(20, 30, 200)}
	m := baseline.LPIPS(net, baseline.LPIPSConfig{Memory: 100 << 20})
	if err := m.Prepare(context.Background(), pictures); err != nil {
		fmt.Println(err)
		return
	}
	scores := make([]float32, len(pictures))
	if err := m.Scores(0, scores); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Name(), scores[1] > scores[2])
	fmt.Println(m.Mode())
	// Output:
	// lpips-alex true
	// whole gallery: features of 3 pictures at 64×64 pixels cached in half precision, 0 MiB
}
