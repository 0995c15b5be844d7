package kernel

import (
	"fmt"
	"testing"
)

// BenchmarkRows runs each row kernel on every tier, on operands of 1 MB (in the
// second-level cache or near it) unless the name says otherwise. Bytes are those
// that must be read and written once.
func BenchmarkRows(b *testing.B) {
	const n = 1 << 17
	x, y, z, g := benchSlice(n), make([]float32, n), benchSlice(n), benchSlice(n)
	y2 := make([]float32, n)
	gain, bias := benchSlice(768), benchSlice(768)
	dgain, dbias := make([]float32, 768), make([]float32, 768)
	targets := make([]float32, n)
	for i := 0; i < n; i += 256 {
		targets[i+i/256%256] = 1
	}
	loss := make([]float32, n/256)
	m, v := make([]float32, n), make([]float32, n)
	ids := make([]int32, n/128)
	for i := range ids {
		ids[i] = int32(i * 7 % 500)
	}
	table := make([]float32, 512*128)
	step := AdamWStep{LR: 1e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.01, Correction1: 0.1, Correction2: 0.001, GradScale: 1}
	tests := []struct {
		name  string
		bytes int // per element
		f     func()
	}{
		{"Add", 12, func() { Add(nil, y, x, z) }},
		{"Mul", 12, func() { Mul(nil, y, x, z) }},
		{"Axpy", 12, func() { Axpy(nil, y, 1e-9, x) }},
		{"Scale", 8, func() { Scale(nil, y, 2, x) }},
		{"Exp", 8, func() { Exp(nil, y, x) }},
		{"Sum", 4, func() { Sum(nil, x) }},
		{"SumSquares", 4, func() { SumSquares(nil, x) }},
		{"Dot", 8, func() { Dot(nil, x, z) }},
		{"AllFinite", 4, func() { AllFinite(x) }},
		{"ColSum/cols=256", 4, func() { ColSum(nil, y[:256], x, n/256, 256) }},
		{"GELU/kind=gelu", 8, func() { GELU(nil, GELUErf, y, x) }},
		{"GELU/kind=gelu_tanh", 8, func() { GELU(nil, GELUTanh, y, x) }},
		{"GELU/kind=quick_gelu", 8, func() { GELU(nil, GELUQuick, y, x) }},
		{"GELUGrad/kind=gelu", 12, func() { GELUGrad(nil, GELUErf, y, x, z) }},
		{"GELUGrad/kind=gelu_tanh", 12, func() { GELUGrad(nil, GELUTanh, y, x, z) }},
		{"GELUGrad/kind=quick_gelu", 12, func() { GELUGrad(nil, GELUQuick, y, x, z) }},
		{"Softmax/cols=64", 8, func() { Softmax(nil, y, x, n/64, 64) }},
		{"Softmax/cols=256", 8, func() { Softmax(nil, y, x, n/256, 256) }},
		{"Softmax/cols=257", 8, func() { Softmax(nil, y[:n/257*257], x[:n/257*257], n/257, 257) }},
		{"CrossEntropy/cols=256", 8, func() { CrossEntropy(nil, loss, x, targets, n/256, 256) }},
		{"CrossEntropyGrad/cols=256", 12, func() { CrossEntropyGrad(nil, y, x, targets, 0.1, n/256, 256) }},
		{"SigmoidLossGrad", 12, func() { SigmoidLossGrad(nil, y, x, targets, 0.1, n/256, 256) }},
		{"LayerNorm/cols=192", 8, func() {
			LayerNorm(nil, y[:n/192*192], x[:n/192*192], gain[:192], bias[:192], n/192, 192, 1e-6)
		}},
		{"LayerNorm/cols=384", 8, func() {
			LayerNorm(nil, y[:n/384*384], x[:n/384*384], gain[:384], bias[:384], n/384, 384, 1e-6)
		}},
		{"LayerNormGrad/cols=192", 12, func() {
			k := n / 192 * 192
			LayerNormGrad(nil, y[:k], dgain[:192], dbias[:192], z[:k], x[:k], gain[:192], n/192, 192, 1e-6)
		}},
		{"LayerNormGrad/cols=384", 12, func() {
			k := n / 384 * 384
			LayerNormGrad(nil, y[:k], dgain[:384], dbias[:384], z[:k], x[:k], gain[:384], n/384, 384, 1e-6)
		}},
		{"L2Normalize/cols=256", 8, func() { L2Normalize(nil, y, x, n/256, 256, 1e-12) }},
		{"L2NormalizeGrad/cols=256", 12, func() { L2NormalizeGrad(nil, y, z, x, n/256, 256, 1e-12) }},
		{"Dropout", 8, func() { Dropout(nil, y, x, 0.1, 1, 2) }},
		{"AdamW", 28, func() { AdamW(nil, y2, g, m, v, step) }},
		{"Embedding/dim=128", 8, func() { Embedding(nil, y, table, ids, 128) }},
		{"EmbeddingGrad/dim=128", 8, func() { EmbeddingGrad(nil, table, x, ids, 128) }},
		{"PoolMean/tokens=64", 4, func() { PoolMean(nil, y[:n/64], x, n/64/64, 64, 64) }},
	}
	for _, tt := range tests {
		b.Run("kernel="+tt.name, func(b *testing.B) {
			for _, tier := range Tiers() {
				if tier.BF16() {
					continue
				}
				b.Run("tier="+tier.String(), func(b *testing.B) {
					restore, err := SetTier(tier)
					if err != nil {
						b.Fatal(err)
					}
					defer restore()
					b.SetBytes(int64(n * tt.bytes))
					for b.Loop() {
						tt.f()
					}
				})
			}
		})
	}
}

// BenchmarkAdamWMemory is one step over 22 million weights, which no cache holds.
func BenchmarkAdamWMemory(b *testing.B) {
	const n = 22_000_000
	w, g, m, v := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	copy(g, benchSlice(1<<16))
	step := AdamWStep{LR: 1e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.01, Correction1: 0.1, Correction2: 0.001, GradScale: 1}
	benchTiers(b, func(b *testing.B) {
		b.SetBytes(28 * n)
		for b.Loop() {
			AdamW(nil, w, g, m, v, step)
		}
	})
}

func BenchmarkResizeRGB(b *testing.B) {
	src := make([]byte, 640*480*3)
	for i := range src {
		src[i] = byte(i * i >> 3)
	}
	dst := make([]byte, 448*448*3)
	for _, f := range []Filter{Bilinear, Bicubic, Lanczos} {
		b.Run(fmt.Sprintf("filter=%v/size=640x480to448x448", f), func(b *testing.B) {
			b.SetBytes(int64(len(src) + len(dst)))
			for b.Loop() {
				ResizeRGB(dst, 448, 448, src, 640, 480, f)
			}
		})
	}
}
