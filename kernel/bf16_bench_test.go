package kernel

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"
)

// BenchmarkLinearBF16 runs a dense layer's three products in float32 and in bfloat16 by
// turns, at the shapes of ViT-B/16 (8 pictures of 224 pixels), of ViT-S/16 and of the
// demo, on each tier with products of bfloat16. It reports the median ratio of times and
// the speed of the faster half of the calls.
func BenchmarkLinearBF16(b *testing.B) {
	for _, threads := range slices.Compact([]int{1, runtime.GOMAXPROCS(0)}) {
		pool := NewPool(threads)
		for _, tier := range Tiers() {
			if !tier.BF16() {
				continue
			}
			for _, s := range []struct {
				name          string
				rows, in, out int
			}{
				{"ViT-B-qkv", 1576, 768, 2304}, {"ViT-B-proj", 1576, 768, 768}, {"ViT-B-fc1", 1576, 768, 3072}, {"ViT-B-fc2", 1576, 3072, 768},
				{"ViT-S-qkv", 3152, 384, 1152}, {"ViT-S-fc1", 3152, 384, 1536}, {"ViT-S-fc2", 3152, 1536, 384},
				{"demo-qkv", 4096, 96, 288}, {"demo-proj", 4096, 96, 96}, {"demo-fc1", 4096, 96, 192}, {"demo-fc2", 4096, 192, 96},
			} {
				x, w, y, bias := benchSlice(s.rows*s.in), benchSlice(s.in*s.out), benchSlice(s.rows*s.out), benchSlice(s.out)
				dx, dw, z := make([]float32, len(x)), make([]float32, len(w)), make([]float32, len(y))
				flops := 2 * float64(s.rows) * float64(s.in) * float64(s.out)
				for _, pass := range []struct {
					name string
					run  func(p *Pool)
				}{
					{"y", func(p *Pool) { Linear(p, z, x, w, bias, s.rows, s.in, s.out) }},
					{"dx", func(p *Pool) { LinearGradX(p, dx, y, w, s.rows, s.in, s.out) }},
					{"dw", func(p *Pool) { LinearGradW(p, dw, nil, y, x, s.rows, s.in, s.out) }},
				} {
					b.Run(fmt.Sprintf("threads=%d/tier=%v/layer=%s/pass=%s", threads, tier, s.name, pass.name), func(b *testing.B) {
						restore, err := SetTier(tier)
						if err != nil {
							b.Fatal(err)
						}
						defer restore()
						inTurns(b, flops, func() { pass.run(pool) }, func() { pass.run(pool.With(BF16)) })
					})
				}
			}
		}
		pool.Close()
	}
}

// BenchmarkAttentionBF16 does the same for attention: ViT-B/16's, ViT-S/16's and the
// demo's.
func BenchmarkAttentionBF16(b *testing.B) {
	pool := NewPool(runtime.GOMAXPROCS(0))
	defer pool.Close()
	for _, tier := range Tiers() {
		if !tier.BF16() {
			continue
		}
		for _, s := range []AttentionShape{{8, 197, 12, 64, false}, {16, 197, 6, 64, false}, {64, 64, 4, 24, false}} {
			n := s.Batch * s.Tokens * s.Heads * s.HeadDim
			qkv, o, lse := benchSlice(3*n), benchSlice(n), make([]float32, s.Batch*s.Heads*s.Tokens)
			dqkv, do := make([]float32, 3*n), benchSlice(n)
			flops := 2 * float64(n) * float64(s.Tokens)
			name := fmt.Sprintf("tier=%v/batch=%d/tokens=%d/heads=%d/dim=%d", tier, s.Batch, s.Tokens, s.Heads, s.HeadDim)
			for _, pass := range []struct {
				name  string
				flops float64
				run   func(p *Pool)
			}{
				{"o", 2 * flops, func(p *Pool) { Attention(p, o, lse, qkv, nil, s) }},
				{"dqkv", 5 * flops, func(p *Pool) { AttentionGrad(p, dqkv, do, o, lse, qkv, nil, s) }},
			} {
				b.Run(name+"/pass="+pass.name, func(b *testing.B) {
					restore, err := SetTier(tier)
					if err != nil {
						b.Fatal(err)
					}
					defer restore()
					Attention(nil, o, lse, qkv, nil, s)
					inTurns(b, pass.flops, func() { pass.run(pool) }, func() { pass.run(pool.With(BF16)) })
				})
			}
		}
	}
}

// inTurns times f and g by turns.
func inTurns(b *testing.B, flops float64, f, g func()) {
	f()
	g()
	timed := func(f func()) float64 {
		start := time.Now()
		f()
		return time.Since(start).Seconds()
	}
	var ratios, seconds []float64
	for b.Loop() {
		x, y := timed(f), timed(g)
		ratios, seconds = append(ratios, x/y), append(seconds, y)
	}
	slices.Sort(ratios)
	slices.Sort(seconds)
	b.ReportMetric(ratios[len(ratios)/2], "×float32")
	b.ReportMetric(ratios[0], "×least")
	b.ReportMetric(flops/seconds[len(seconds)/4]/1e9, "GFLOP/s")
	b.ReportMetric(0, "ns/op") // leave it out
}

// BenchmarkPeakBF16 measures what a core has to offer in products of bfloat16 whose
// operands are in registers.
func BenchmarkPeakBF16(b *testing.B) {
	for _, tier := range Tiers() {
		run, flops := peakBF16(tier)
		if run == nil {
			continue
		}
		b.Run("tier="+tier.String(), func(b *testing.B) {
			const rounds = 20000
			best := math.Inf(1)
			for b.Loop() {
				start := time.Now()
				run(rounds)
				best = min(best, time.Since(start).Seconds())
			}
			b.ReportMetric(rounds*flops/best/1e9, "GFLOP/s")
		})
	}
}
