package kernel

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
)

// benchFlops reports the speed of f, which does the given number of floating-point
// operations on one thread, and its share of the core's peak. The share compares the
// fastest call with the fastest peak of the same run, because other processes may
// share the machine.
func benchFlops(b *testing.B, flops float64, f func()) {
	f()
	best := math.Inf(1)
	for b.Loop() {
		start := time.Now()
		f()
		best = min(best, time.Since(start).Seconds())
	}
	speed := flops / best / 1e9
	b.ReportMetric(speed, "GFLOP/s")
	if peak := PeakFLOPS(nil, 20*time.Millisecond) / 1e9; !math.IsNaN(peak) {
		b.ReportMetric(100*speed/peak, "%peak")
	}
}

// benchTiers runs f on the tier that the environment names, else on the tiers with
// assembly, or on the generic one alone.
func benchTiers(b *testing.B, f func(b *testing.B)) {
	tiers := slices.DeleteFunc(Tiers(), Tier.BF16)
	if os.Getenv(TierEnv) != "" {
		tiers = []Tier{Active()}
	} else if len(tiers) > 1 {
		tiers = tiers[1:]
	}
	for _, tier := range tiers {
		b.Run("tier="+tier.String(), func(b *testing.B) {
			restore, err := SetTier(tier)
			if err != nil {
				b.Fatal(err)
			}
			defer restore()
			f(b)
		})
	}
}

func benchSlice(n int) []float32 {
	rng := newRand(uint64(n))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// BenchmarkLinear runs a dense layer's three products at the shapes of vision
// transformers (patches 16 of 224 pixels, 8 pictures) and of the small model.
func BenchmarkLinear(b *testing.B) {
	benchTiers(b, func(b *testing.B) {
		for _, s := range []struct {
			name          string
			rows, in, out int
		}{
			{"small-qkv", 4096, 96, 288}, {"small-proj", 4096, 96, 96}, {"small-fc1", 4096, 96, 192}, {"small-fc2", 4096, 192, 96},
			{"ViT-Ti-qkv", 1576, 192, 576}, {"ViT-Ti-fc1", 1576, 192, 768}, {"ViT-Ti-fc2", 1576, 768, 192},
			{"ViT-S-qkv", 1576, 384, 1152}, {"ViT-S-proj", 1576, 384, 384}, {"ViT-S-fc1", 1576, 384, 1536}, {"ViT-S-fc2", 1576, 1536, 384},
			{"ViT-B-qkv", 1576, 768, 2304}, {"ViT-B-proj", 1576, 768, 768}, {"ViT-B-fc1", 1576, 768, 3072}, {"ViT-B-fc2", 1576, 3072, 768},
		} {
			x, w, y, bias := benchSlice(s.rows*s.in), benchSlice(s.in*s.out), benchSlice(s.rows*s.out), benchSlice(s.out)
			dx, dw := make([]float32, len(x)), make([]float32, len(w))
			flops := 2 * float64(s.rows) * float64(s.in) * float64(s.out)
			name := fmt.Sprintf("layer=%s/shape=%dx%dx%d", s.name, s.rows, s.in, s.out)
			b.Run(name+"/pass=y", func(b *testing.B) {
				benchFlops(b, flops, func() { Linear(nil, y, x, w, bias, s.rows, s.in, s.out) })
			})
			b.Run(name+"/pass=dx", func(b *testing.B) {
				benchFlops(b, flops, func() { LinearGradX(nil, dx, y, w, s.rows, s.in, s.out) })
			})
			b.Run(name+"/pass=dw", func(b *testing.B) {
				benchFlops(b, flops, func() { LinearGradW(nil, dw, nil, y, x, s.rows, s.in, s.out) })
			})
		}
	})
}

// BenchmarkGemm runs products of the shapes that attention and convolution have.
func BenchmarkGemm(b *testing.B) {
	benchTiers(b, func(b *testing.B) {
		for _, s := range []struct {
			name           string
			transA, transB bool
			m, n, k        int
		}{
			{"scores", false, true, 64, 64, 24}, {"mix", false, false, 64, 24, 64}, {"mix-grad", true, false, 64, 24, 64},
			{"scores-ViT", false, true, 197, 197, 64}, {"mix-ViT", false, false, 197, 64, 197},
			{"conv", false, true, 16384, 24, 27}, {"conv", false, true, 16384, 48, 216}, {"conv", false, true, 4096, 96, 432}, {"conv", false, true, 4096, 96, 864},
			{"conv-dw", true, false, 24, 27, 65536}, {"conv-dw", true, false, 48, 216, 16384}, {"conv-dw", true, false, 96, 432, 4096},
			{"square", false, false, 512, 512, 512}, {"square", false, false, 1024, 1024, 1024},
		} {
			x, y, z := benchSlice(s.m*s.k), benchSlice(s.k*s.n), make([]float32, s.m*s.n)
			lda, ldb := s.k, s.n
			if s.transA {
				lda = s.m
			}
			if s.transB {
				ldb = s.k
			}
			b.Run(fmt.Sprintf("op=%s/shape=%dx%dx%d", s.name, s.m, s.n, s.k), func(b *testing.B) {
				benchFlops(b, 2*float64(s.m)*float64(s.n)*float64(s.k), func() {
					Gemm(nil, s.transA, s.transB, s.m, s.n, s.k, x, lda, y, ldb, z, s.n, false)
				})
			})
		}
	})
}

// BenchmarkConv2D runs the small model's stem, and the patches of a ViT.
func BenchmarkConv2D(b *testing.B) {
	benchTiers(b, func(b *testing.B) {
		for _, c := range []ConvShape{
			{64, 3, 64, 64, 24, 3, 3, 2, 2, 1, 1, true},
			{64, 24, 32, 32, 48, 3, 3, 2, 2, 1, 1, false},
			{64, 48, 16, 16, 96, 3, 3, 2, 2, 1, 1, false},
			{64, 96, 8, 8, 96, 3, 3, 1, 1, 1, 1, false},
			{64, 24, 32, 32, 24, 3, 3, 1, 1, 1, 1, false},
			{8, 3, 224, 224, 384, 16, 16, 16, 16, 0, 0, true},
		} {
			ny, nx, nw := c.sizes()
			x, w, dy, bias := benchSlice(nx), benchSlice(nw), benchSlice(ny), benchSlice(c.OutC)
			y, dx, dw, dbias := make([]float32, ny), make([]float32, nx), make([]float32, nw), make([]float32, c.OutC)
			flops := 2 * float64(ny) * float64(c.InC*c.KH*c.KW)
			name := fmt.Sprintf("in=%dx%dx%d/out=%d/kernel=%d/stride=%d", c.InC, c.InH, c.InW, c.OutC, c.KH, c.StrideH)
			b.Run(name+"/pass=y", func(b *testing.B) { benchFlops(b, flops, func() { Conv2D(nil, y, x, w, bias, c) }) })
			b.Run(name+"/pass=dx", func(b *testing.B) { benchFlops(b, flops, func() { Conv2DGradX(nil, dx, dy, w, c) }) })
			b.Run(name+"/pass=dw", func(b *testing.B) {
				benchFlops(b, flops, func() { Conv2DGradW(nil, dw, dbias, dy, x, c) })
			})
		}
	})
}

// BenchmarkAttention runs the small model's attention and a ViT's. The floating-point
// operations are those of the matrix products, two forward and five backward.
func BenchmarkAttention(b *testing.B) {
	benchTiers(b, func(b *testing.B) {
		for _, s := range []AttentionShape{{64, 64, 4, 24, false}, {8, 197, 3, 64, false}, {4, 384, 3, 64, false}, {8, 197, 3, 64, true}} {
			n := s.Batch * s.Tokens * s.Heads * s.HeadDim
			qkv, o, lse := benchSlice(3*n), benchSlice(n), make([]float32, s.Batch*s.Heads*s.Tokens)
			dqkv, do := make([]float32, 3*n), benchSlice(n)
			flops := 2 * float64(n) * float64(s.Tokens)
			name := fmt.Sprintf("batch=%d/tokens=%d/heads=%d/dim=%d/causal=%v", s.Batch, s.Tokens, s.Heads, s.HeadDim, s.Causal)
			b.Run(name+"/pass=o", func(b *testing.B) { benchFlops(b, 2*flops, func() { Attention(nil, o, lse, qkv, nil, s) }) })
			b.Run(name+"/pass=dqkv", func(b *testing.B) {
				benchFlops(b, 5*flops, func() { AttentionGrad(nil, dqkv, do, o, lse, qkv, nil, s) })
			})
		}
	})
}

// BenchmarkPeak measures what all kernels are compared with: the multiply-adds of one core, and of all together for
// longer, where they may be slower.
func BenchmarkPeak(b *testing.B) {
	benchTiers(b, func(b *testing.B) {
		run, flops := peakRounds(Active())
		if run == nil {
			b.Skip("NOT RUN: no tier with assembly here")
		}
		for _, threads := range []int{1, runtime.GOMAXPROCS(0)} {
			b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
				pool := NewPool(threads)
				defer pool.Close()
				const items, rounds = 100, 20000
				best := math.Inf(1)
				for b.Loop() {
					start := time.Now()
					pool.Run(items, func(int) { run(rounds) })
					best = min(best, time.Since(start).Seconds())
				}
				b.ReportMetric(items*rounds*flops/best/1e9, "GFLOP/s")
				b.ReportMetric(items*rounds*flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "mean-GFLOP/s")
			})
		}
	})
}
