package baseline

import (
	"context"
	"math"

	"relsim/dataloader"
)

// Pixels is the measure "pixel-l2": the negative Euclidean distance of the colours, in 0..1, of 32×32 pixels.
func Pixels() Measure {
	return &features{vectors: vectors{name: "pixel-l2", euclidean: true}, side: 32, width: 3 * 32 * 32,
		extract: func(dst []float32, im *dataloader.Image) {
			for i, p := range im.Pix {
				dst[i] = float32(p) / 255
			}
		}}
}

// Thumbnail is the measure "grey-thumbnail": the correlation of the luma of 16×16 pixels,
//
//	(a - mean a)·(b - mean b) / (|a - mean a| |b - mean b|)
//
// A picture of one grey has the correlation 0 with everything.
func Thumbnail() Measure {
	return &features{vectors: vectors{name: "grey-thumbnail"}, side: 16, width: 16 * 16,
		extract: func(dst []float32, im *dataloader.Image) {
			copy(dst, grey(im))
			var mean float32
			for _, v := range dst {
				mean += v
			}
			mean /= float32(len(dst))
			for i := range dst {
				dst[i] -= mean
			}
			normalize(dst)
		}}
}

// features is a measure that makes one vector of each picture and compares the vectors.
type features struct {
	vectors
	side    int
	width   int
	extract func(dst []float32, im *dataloader.Image) // dst has width zeros
}

func (f *features) Prepare(ctx context.Context, images []*dataloader.Image) error {
	f.n, f.dim, f.data, f.norms = 0, f.width, nil, nil
	data := make([]float32, len(images)*f.width)
	if err := each(ctx, f.name, images, f.side, func(i int, im *dataloader.Image) {
		f.extract(data[i*f.width:(i+1)*f.width], im)
	}); err != nil {
		return err
	}
	f.n, f.data = len(images), data
	if f.euclidean {
		f.center()
	}
	return nil
}

// normalize scales x to length 1; a zero vector stays zero.
func normalize(x []float32) {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	if sum == 0 {
		return
	}
	s := float32(1 / math.Sqrt(sum))
	for i := range x {
		x[i] *= s
	}
}
