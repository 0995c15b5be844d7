package baseline

import (
	"context"
	"fmt"
	"image"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/disintegration/imaging"

	"relsim/dataloader"
)

// Fit cuts the largest square out of the middle of a picture and resizes it to side×side with Pillow's box filter when
// it shrinks (each pixel the mean of what it covers) and bilinearly when it grows. A picture of that size is returned
// as it is.
func Fit(im *dataloader.Image, side int) (*dataloader.Image, error) {
	if im == nil || im.Width < 1 || im.Height < 1 || len(im.Pix) != 3*im.Width*im.Height {
		return nil, fmt.Errorf("baseline: fit: not an RGB picture")
	}
	if side < 1 {
		panic(fmt.Sprintf("baseline: fit: side %d", side))
	}
	if im.Width == side && im.Height == side {
		return im, nil
	}
	s := min(im.Width, im.Height)
	x0, y0 := (im.Width-s)/2, (im.Height-s)/2
	square := image.NewNRGBA(image.Rect(0, 0, s, s))
	for y := range s {
		src := im.Pix[3*((y0+y)*im.Width+x0):]
		dst := square.Pix[y*square.Stride:]
		for x := range s {
			dst[4*x], dst[4*x+1], dst[4*x+2], dst[4*x+3] = src[3*x], src[3*x+1], src[3*x+2], 255
		}
	}
	filter := imaging.Box
	if side > s {
		filter = imaging.Linear
	}
	small := imaging.Resize(square, side, side, filter)
	out := &dataloader.Image{Width: side, Height: side, Pix: make([]byte, 3*side*side)}
	for y := range side {
		row := small.Pix[y*small.Stride:]
		for x := range side {
			copy(out.Pix[3*(y*side+x):][:3], row[4*x:4*x+3])
		}
	}
	return out, nil
}

// grey returns the luma of a square picture as [PIL.Image.convert] rounds it: (19595 R + 38470 G + 7471 B + 2^15) >> 16,
// in 0..255.
//
// [PIL.Image.convert]: https://pillow.readthedocs.io/en/stable/reference/Image.html#PIL.Image.Image.convert
func grey(im *dataloader.Image) []float32 {
	out := make([]float32, im.Width*im.Height)
	for i := range out {
		p := im.Pix[3*i : 3*i+3]
		out[i] = float32((19595*uint32(p[0]) + 38470*uint32(p[1]) + 7471*uint32(p[2]) + 1<<15) >> 16)
	}
	return out
}

// each fits every picture to side×side and calls f with it, on at most GOMAXPROCS goroutines. The first error in the
// order of the pictures is returned.
func each(ctx context.Context, name string, images []*dataloader.Image, side int, f func(i int, im *dataloader.Image)) error {
	errs := make([]error, len(images))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(images)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(images); i = int(next.Add(1)) - 1 {
				if ctx.Err() != nil {
					return
				}
				im, err := Fit(images[i], side)
				if err != nil {
					errs[i] = fmt.Errorf("baseline: %s: picture %d: %w", name, i, err)
					continue
				}
				f(i, im)
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
