// Package baseline holds measures of how alike two pictures look, to compare a trained model with: pixels, a grey
// thumbnail, colour histograms, structural similarity, histograms of oriented gradients, random convolutions; and the
// dot product of embeddings computed elsewhere.
package baseline

import (
	"context"

	"relsim/dataloader"
)

// Measure gives the similarity (higher = nearer) of every picture of a list to one of them.
type Measure interface {
	// Name is a short unique name such as "pixel-l2".
	Name() string

	// Prepare computes what Scores needs of the pictures and forgets what it had. It does not keep or change them; nil
	// frees the memory of a measure of pixels. Pictures of different sizes
	// are brought to a common one.
	Prepare(ctx context.Context, images []*dataloader.Image) error

	// Scores writes the similarity of picture query to the first len(dst) pictures, itself perhaps included, to dst, in
	// the order given to Prepare. It may be called from several goroutines. It errs before Prepare, if query is not one
	// of the pictures, and if dst is longer than their number.
	Scores(query int, dst []float32) error
}
