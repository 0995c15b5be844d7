package metrics_test

import (
	"fmt"
	"math/rand/v2"

	"relsim/metrics"
)

// Candidates 1 and 4 are positives; 3 and 4 tie for the second place.
func ExampleRanking() {
	scores := []float32{0.9, 0.2, 0.1, 0.5, 0.5}
	positives := []int{1, 4}

	var r metrics.Ranking
	if err := r.RankPositives(scores, positives, -1, metrics.TieMean); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("first positive at rank %.1f, hit@2 %.2f, recall@3 %.2f, AP %.3f\n", r.FirstRank(), r.Hit(2), r.Recall(3), r.AP())
	// Output: first positive at rank 2.5, hit@2 0.50, recall@3 0.50, AP 0.458
}

func ExampleBootstrap() {
	hits := []float64{1, 1, 0, 1, 1, 0, 1, 1}
	profiles := []int{0, 0, 1, 1, 2, 2, 3, 3}
	i := metrics.Bootstrap(hits, profiles, 1000, rand.New(rand.NewPCG(1, 2)))
	fmt.Printf("%.2f [%.2f, %.2f]\n", i.Mean, i.Low, i.High)
	// Output: 0.75 [0.50, 1.00]
}

func ExampleSSIM() {
	a, b := make([]float64, 16*16), make([]float64, 16*16)
	for i := range a {
		a[i] = float64(i % 16 * 16)
		b[i] = a[i] + 10
	}
	v, err := metrics.SSIM(a, b, 16, 16, 255, metrics.GaussianWindow(false))
	fmt.Printf("%.3f %v\n", v, err)
	// Output: 0.996 <nil>
}
