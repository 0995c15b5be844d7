package training

import (
	"context"
	"slices"

	"relsim/dataloader"
)

// Readable returns the embeddings of the pictures of a data set that can be read, (len(good), Dim()), row-major, which
// they are, and those that cannot be read.
func (e *Embedder) Readable(ctx context.Context, ds dataloader.Dataset, progress func(done int)) (vectors []float32, good []int, broken []dataloader.Broken, err error) {
	ds = e.config.transform().Square(ds)
	all := make([]int, ds.Len())
	for i := range all {
		all[i] = i
	}
	images := make([]*dataloader.Image, 0, e.batch)
	for indices := range slices.Chunk(all, e.batch) {
		images = images[:0]
		bad, err := dataloader.ForEach(ctx, ds, indices, e.workers, func(k int, image *dataloader.Image) error {
			images, good = append(images, image), append(good, indices[k])
			return nil
		})
		if err != nil {
			return nil, nil, nil, err
		}
		broken = append(broken, bad...)
		more, err := e.Images(ctx, images)
		if err != nil {
			return nil, nil, nil, err
		}
		vectors = append(vectors, more...)
		if progress != nil {
			progress(len(good) + len(broken))
		}
	}
	return vectors, good, broken, nil
}
