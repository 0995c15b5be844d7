package graph

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"relsim/kernel"
)

// newStemTower is an image encoder with a convolutional stem: pictures of 64×64,
// 64 tokens of width 96, two blocks.
func newStemTower(batch int) *tower {
	const width, tokens = 96, 64
	b := NewBuilder()
	t := &tower{b: b, batch: batch, tokens: tokens}
	t.images = b.Input("images", batch, 3, 64, 64)
	x, channels, size := t.images, 3, 64
	for i, l := range []struct{ out, stride int }{{24, 2}, {48, 2}, {48, 1}, {96, 2}, {96, 1}} {
		c := kernel.ConvShape{
			Batch: batch, InC: channels, InH: size, InW: size, OutC: l.out, KH: 3, KW: 3,
			StrideH: l.stride, StrideW: l.stride, PadH: 1, PadW: 1, ChannelsFirst: i == 0,
		}
		name := fmt.Sprintf("stem%d.", i)
		x = b.Conv2D(x, b.Param(name+"weight", l.out, channels, 3, 3), b.Param(name+"bias", l.out), c)
		x = b.GELU(x, kernel.GELUErf)
		channels, size = l.out, c.OutH()
	}
	linear := func(x *Node, name string, in, out int) *Node {
		return b.Linear(x, b.Param(name+".weight", out, in), b.Param(name+".bias", out))
	}
	norm := func(x *Node, name string) *Node {
		return b.LayerNorm(x, b.Param(name+".weight", width), b.Param(name+".bias", width), 1e-6)
	}
	x = b.AddPosition(x, b.Param("pos", tokens, width))
	for l := range 2 {
		name := fmt.Sprintf("block%d.", l)
		h := linear(norm(x, name+"norm1"), name+"qkv", width, 3*width)
		h = b.Attention(h, nil, AttentionConfig{Batch: batch, Tokens: tokens, Heads: 4})
		x = b.Add(x, linear(h, name+"out", width, width))
		h = b.GELU(linear(norm(x, name+"norm2"), name+"fc1", width, 2*width), kernel.GELUErf)
		x = b.Add(x, linear(h, name+"fc2", 2*width, width))
	}
	t.emb = b.L2Normalize(linear(b.PoolMean(norm(x, "norm"), tokens), "head", width, width), 1e-12)
	return t
}

// BenchmarkStep is one training step of an image encoder, 0.33 GFLOP a picture.
func BenchmarkStep(b *testing.B) {
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			pool := kernel.NewPool(threads)
			defer pool.Close()
			t := newStemTower(64)
			p := mustCompile(b, t.b, Config{Backend: NewCPU(pool), Embedding: t.emb, Wrt: t.b.Params(), Training: true})
			newValues(t.b, 1).bind(b, t.b, p)
			upstream := uniform(rand.New(rand.NewPCG(1, 1)), operandOf(t.emb).size())
			for b.Loop() {
				must(b, p.Forward())
				must(b, p.Backward(upstream))
			}
			b.ReportMetric(64*float64(b.N)/b.Elapsed().Seconds(), "pictures/s")
			b.ReportMetric(float64(p.ArenaBytes())/(1<<20), "arena-MiB")
		})
	}
}

// BenchmarkCompile builds and compiles a transformer of twelve blocks.
func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		t := newTower(2, 12, 0.1)
		mustCompile(b, t.b, Config{Embedding: t.emb, Wrt: t.b.Params(), Training: true})
	}
}
