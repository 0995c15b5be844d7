package nn

import (
	"errors"
	"math"
	"slices"
	"testing"

	"relsim/graph"
)

// Where one row of each sequence is pooled, the last layer computes no others, and embeddings and gradients are what they are when it
// computes all.
func TestOneRowOfLastLayer(t *testing.T) {
	list := variants(t)
	for pool, base := range map[Pool]string{PoolCLS: "gated", PoolEOS: "clip"} {
		c := list[base]
		if c.Text.Pool = pool; pool == PoolEOS {
			c.Text.EOS = 2
		}
		list[base+" "+string(pool)] = c
	}
	none := list["clip"]
	none.Vision.Layers, none.Text.Layers = 1, 1
	list["one layer"] = none
	const batch, words = 3, 20
	for name, c := range list {
		m, err := New(c, words, source(5))
		check(t, err)
		Normal(.3)(source(6), m.Params.Data(), nil) // attention that is not flat
		run := func(build func(b *graph.Builder) (bind func(p *graph.Program) error, emb *graph.Node)) (embedding, grad []float32, values int) {
			t.Helper()
			b := graph.NewBuilder()
			bind, emb := build(b)
			for _, n := range b.Graph().AllNodes() {
				values += n.Shape().TotalSize()
			}
			p, err := graph.Compile(b, graph.Config{Embedding: emb, Wrt: b.Params()})
			check(t, err)
			defer p.Close()
			clear(m.Params.Grad())
			upstream := make([]float32, batch*c.EmbedDim)
			Normal(1)(source(8), upstream, nil)
			check(t, errors.Join(m.Bind(p), bind(p), p.Forward()))
			embedding = slices.Clone(p.Value(emb))
			check(t, p.Backward(upstream))
			return embedding, slices.Clone(m.Params.Grad()), values
		}
		compare := func(tower string, fewer bool, forward, all func(b *graph.Builder) (func(p *graph.Program) error, *graph.Node)) {
			t.Helper()
			embedding, grad, values := run(forward)
			wantEmbedding, wantGrad, wantValues := run(all)
			largest := 0.0
			for _, g := range wantGrad {
				largest = max(largest, math.Abs(float64(g)))
			}
			near(t, name+": embeddings of the "+tower, embedding, wantEmbedding, 1e-6)
			near(t, name+": gradients of the "+tower, grad, wantGrad, 2e-6*largest)
			if (values < wantValues) != fewer {
				t.Errorf("%s: the %s tower has %d values, %d with all rows", name, tower, values, wantValues)
			}
		}
		pixels := make([]float32, batch*3*c.Vision.ImageSize*c.Vision.ImageSize)
		Normal(1)(source(7), pixels, nil)
		images := func(emb func(b *graph.Builder, in *graph.Node) *graph.Node) func(b *graph.Builder) (func(*graph.Program) error, *graph.Node) {
			return func(b *graph.Builder) (func(*graph.Program) error, *graph.Node) {
				in := b.Input(ImagesInput, batch, 3, c.Vision.ImageSize, c.Vision.ImageSize)
				return func(p *graph.Program) error { return p.SetFloats(in, pixels) }, emb(b, in)
			}
		}
		compare("vision", c.Vision.Pool == PoolCLS,
			images(func(b *graph.Builder, in *graph.Node) *graph.Node { return m.Images.Forward(b, in, batch) }),
			images(func(b *graph.Builder, in *graph.Node) *graph.Node {
				x := m.Images.Tokens(b, in, batch)
				for i := range m.Images.Blocks {
					x = m.Images.Blocks[i].Forward(b, x, m.Images.Sequence(batch))
				}
				return forwardHead(b, m.Images.Head, forwardHead(b, m.Images.Projection, m.Images.Pool(b, x)))
			}))
		if c.Text.Kind == Bag {
			continue
		}
		ids, weights := make([]int32, batch*c.Text.Length), make([]float32, batch*c.Text.Length)
		m.FillText(ids, weights, [][]int32{{1, 5, 2}, {4, 2}, {7, 8, 9, 10, 2, 3}}, nil, 0)
		texts := func(emb func(b *graph.Builder, in TextInput) *graph.Node) func(b *graph.Builder) (func(*graph.Program) error, *graph.Node) {
			return func(b *graph.Builder) (func(*graph.Program) error, *graph.Node) {
				in := TextInput{b.InputIDs(IDsInput, len(ids)), b.Input(WeightsInput, batch, c.Text.Length), c.Text.Length}
				return func(p *graph.Program) error {
					return errors.Join(p.SetIDs(in.IDs, ids), p.SetFloats(in.Weights, weights))
				}, emb(b, in)
			}
		}
		compare("text", slices.Contains([]Pool{PoolCLS, PoolEOS, PoolMaxID, PoolLast}, c.Text.Pool),
			texts(func(b *graph.Builder, in TextInput) *graph.Node { return m.Words.Forward(b, in, batch) }),
			texts(func(b *graph.Builder, in TextInput) *graph.Node {
				x := m.Words.Tokens(b, in)
				for i := range m.Words.Blocks {
					x = m.Words.Blocks[i].Forward(b, x, m.Words.Sequence(in, batch))
				}
				return forwardHead(b, m.Words.Head, m.Words.Pool(b, x, in))
			}))
	}
}
