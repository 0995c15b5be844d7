package graph

import (
	"math"
	"math/rand/v2"
	"testing"

	"relsim/kernel"
)

// TestPrecision runs a step of a transformer on pools of both precisions. The embedding
// and every gradient that bf16 gives are near those of float32, which other tests hold
// against oracles, and not the same: each product rounds by up to 2⁻⁹, and they add up
// at random over the depth.
func TestPrecision(t *testing.T) {
	two := kernel.NewPool(2)
	defer two.Close()
	tw := newTower(8, 2, 0.1)
	upstream := uniform(rand.New(rand.NewPCG(1, 1)), operandOf(tw.emb).size())
	run := func(pool *kernel.Pool) (*values, []float32) {
		p := mustCompile(t, tw.b, Config{Backend: NewCPU(pool), Embedding: tw.emb, Wrt: tw.b.Params(), Training: true})
		v := newValues(tw.b, 1)
		v.bind(t, tw.b, p)
		p.SetSeed(7)
		must(t, p.Forward())
		embedding := append([]float32(nil), p.Value(tw.emb)...)
		must(t, p.Backward(upstream))
		return v, embedding
	}
	eachBF16(t, func(t *testing.T) {
		want, wantEmb := run(two)
		got, gotEmb := run(two.With(kernel.BF16))
		again, _ := run((*kernel.Pool)(nil).With(kernel.BF16))
		if off := distance(gotEmb, wantEmb); off == 0 || off > 0x1p-6 {
			t.Errorf("embedding: %.2g from that of float32", off)
		}
		for name, grad := range want.grad {
			if name == "images" {
				continue
			}
			if off := distance(got.grad[name], grad); off == 0 || off > 0x1p-5 {
				t.Errorf("gradient of %s: %.2g from that of float32", name, off)
			}
			if distance(again.grad[name], got.grad[name]) != 0 {
				t.Errorf("gradient of %s: one thread gives another than two", name)
			}
		}
	})
}

// eachBF16 runs f on every tier with products of bfloat16 of its own.
func eachBF16(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	for _, tier := range kernel.Tiers() {
		if tier != kernel.Generic && !tier.BF16() {
			continue
		}
		t.Run(tier.String(), func(t *testing.T) {
			restore, err := kernel.SetTier(tier)
			must(t, err)
			defer restore()
			f(t)
		})
	}
}

// distance is that of a from b, relative to the length of b.
func distance(a, b []float32) float64 {
	d, size := 0.0, 0.0
	for i, v := range b {
		d += (float64(a[i]) - float64(v)) * (float64(a[i]) - float64(v))
		size += float64(v) * float64(v)
	}
	return math.Sqrt(d / size)
}
