package formats

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"slices"
	"testing"

	"relsim/dataloader"
)

// noise is a picture of random pixels.
func noise(w, h int, seed uint64) *dataloader.Image {
	rng := rand.New(rand.NewPCG(seed, 1))
	im := &dataloader.Image{Width: w, Height: h, Pix: make([]byte, 3*w*h)}
	for i := range im.Pix {
		im.Pix[i] = byte(rng.Uint32())
	}
	return im
}

// encodePNG returns the file of a picture.
func encodePNG(t testing.TB, im *dataloader.Image) []byte {
	t.Helper()
	out := image.NewNRGBA(image.Rect(0, 0, im.Width, im.Height))
	for i := range im.Width * im.Height {
		p := im.Pix[3*i:]
		out.SetNRGBA(i%im.Width, i/im.Width, color.NRGBA{p[0], p[1], p[2], 255})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, out); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// batches returns the first n batches of a data set.
func batches(t testing.TB, ds dataloader.Dataset, c dataloader.Config, n int) []dataloader.Batch {
	t.Helper()
	l, err := dataloader.New(ds, c)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var list []dataloader.Batch
	for range n {
		b, err := l.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c := *b
		c.Images, c.Items, c.Index = slices.Clone(b.Images), slices.Clone(b.Items), slices.Clone(b.Index)
		list = append(list, c)
		l.Recycle(b)
	}
	return list
}
