package baseline

import (
	"context"
	"math/rand/v2"
	"testing"

	"relsim/dataloader"
)

// noise returns n pictures of side×side random pixels.
func noise(n, side int, seed uint64) []*dataloader.Image {
	rng := rand.New(rand.NewPCG(seed, 1))
	list := make([]*dataloader.Image, n)
	for i := range list {
		list[i] = &dataloader.Image{Width: side, Height: side, Pix: make([]byte, 3*side*side)}
		for j := range list[i].Pix {
			list[i].Pix[j] = byte(rng.UintN(256))
		}
	}
	return list
}

func BenchmarkScores(b *testing.B) {
	images := noise(1600, 64, 1)
	for _, m := range All(1) {
		if err := m.Prepare(context.Background(), images); err != nil {
			b.Fatal(err)
		}
		queries := make([]int, 32)
		for i := range queries {
			queries[i] = 7 * i
		}
		dst := make([]float32, len(queries)*len(images))
		b.Run("measure="+m.Name(), func(b *testing.B) {
			for b.Loop() {
				if block, ok := m.(BlockMeasure); ok {
					if err := block.ScoresBlock(queries, dst); err != nil {
						b.Fatal(err)
					}
					continue
				}
				for r, q := range queries {
					if err := m.Scores(q, dst[r*len(images):(r+1)*len(images)]); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(dst)), "ns/pair")
		})
	}
}
