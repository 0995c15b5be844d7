package retrieval

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"relsim/kernel"
)

// benchVectors draws n normalised vectors of the given width.
func benchVectors(seed uint64, n, dim int) []float32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, n*dim)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	kernel.L2Normalize(nil, x, x, n, dim, 1e-12)
	return x
}

// BenchmarkSearchExact is the top 10 of 28,000 vectors of width 384; bench/search.sh compares it with NumPy.
func BenchmarkSearchExact(b *testing.B) {
	const n, dim = 28000, 384
	index, err := NewIndex(benchVectors(1, n, dim), dim)
	if err != nil {
		b.Fatal(err)
	}
	for _, m := range []int{1, 16, 1000} {
		queries := benchVectors(2, m, dim)
		for _, threads := range []int{1, runtime.NumCPU()} {
			b.Run(fmt.Sprintf("queries=%d/threads=%d", m, threads), func(b *testing.B) {
				for b.Loop() {
					if _, err := index.Search(context.Background(), queries, 10, nil, threads); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(m)*float64(b.N)/b.Elapsed().Seconds(), "queries/s")
			})
		}
	}
}
