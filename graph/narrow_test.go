package graph

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"relsim/kernel"
)

// adapted is a small encoder of two blocks whose layers have low-rank additions to q
// and v, as those of a frozen tower.
func adapted() (b *Builder, x, emb *Node) {
	const batch, tokens, width, heads, rank = 2, 5, 16, 2, 3
	b = NewBuilder()
	linear := func(x *Node, name string, out int) *Node {
		return b.Linear(x, b.Param(name+".weight", out, x.Shape()[1]), b.Param(name+".bias", out))
	}
	norm := func(x *Node, name string) *Node {
		return b.LayerNorm(x, b.Param(name+".weight", width), b.Param(name+".bias", width), 1e-6)
	}
	x = b.Input("x", batch*tokens, width)
	y := x
	for l := range 2 {
		b.Checkpoint(y)
		name := fmt.Sprintf("block%d.", l)
		h := norm(y, name+"norm1")
		qkv := linear(h, name+"qkv", 3*width)
		for i, part := range []string{"q", "v"} {
			a := b.Linear(b.Dropout(h, .2), b.Param(name+part+".lora_A", rank, width), nil)
			a = b.Linear(b.Scale(a, 2), b.Param(name+part+".lora_B", width, rank), nil)
			qkv = b.AddColumns(qkv, a, 2*i*width)
		}
		h = b.Attention(qkv, nil, AttentionConfig{Batch: batch, Tokens: tokens, Heads: heads})
		y = b.Add(y, b.ColumnScale(linear(h, name+"out", width), b.Param(name+"scale", width)))
		h = b.GELU(linear(norm(y, name+"norm2"), name+"fc1", 2*width), kernel.GELUErf)
		y = b.Add(y, linear(h, name+"fc2", width))
	}
	return b, x, linear(b.PoolMean(norm(y, "norm"), tokens), "head", width)
}

// isAdapter says whether a parameter is of a low-rank addition.
func isAdapter(n *Node) bool {
	name := n.Name()
	return len(name) > 7 && name[len(name)-7:len(name)-1] == ".lora_"
}

// Of a frozen layer nothing is computed but what leads to the layers below it: no
// gradient of a weight, a bias, a gain or a scale; below the first adapter nothing. The
// gradients of the adapters have the bits that they have where all is differentiated.
func TestFrozenLayers(t *testing.T) {
	b, x, emb := adapted()
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	params := b.Params()
	adapters := slices.DeleteFunc(slices.Clone(params), func(n *Node) bool { return !isAdapter(n) })
	if len(adapters) != 8 {
		t.Fatalf("%d adapter matrices, want 8", len(adapters))
	}
	for _, checkpoint := range []bool{false, true} {
		all := mustCompile(t, b, Config{Embedding: emb, Wrt: params, Training: true, Checkpoint: checkpoint})
		some := mustCompile(t, b, Config{Embedding: emb, Wrt: adapters, Training: true, Checkpoint: checkpoint})
		got := map[string]int{}
		for _, s := range some.plan.steps[some.plan.forward:] {
			got[opName(s.kind)]++
			if k, ok := s.kind.(linearGradW); ok && k.out != 3 && k.in != 3 {
				t.Errorf("checkpoint=%v: %#v: the gradient of a frozen matrix", checkpoint, k)
			}
		}
		// Two matrices each of two adapters in two blocks. The gradient reaches the first
		// layer's adapters through the norms of two blocks but one, with the residual stream's gradient, and the last.
		for name, want := range map[string]int{"linearGradW": 8, "layerNormGrad": 0, "layerNormGradAdd": 0, "layerNormGradXAdd": 3, "layerNormGradX": 1,
			"columnScaleGrad": 0, "attentionGrad": 2} {
			if got[name] != want {
				t.Errorf("checkpoint=%v: %d steps %s, want %d: %v", checkpoint, got[name], name, want, got)
			}
		}
		if some.ArenaBytes() >= all.ArenaBytes() {
			t.Errorf("checkpoint=%v: an arena of %d bytes, no less than the %d of training everything", checkpoint, some.ArenaBytes(), all.ArenaBytes())
		}

		r := rand.New(rand.NewPCG(8, 9))
		upstream := uniform(r, operandOf(emb).size())
		grads := map[*Program]map[*Node][]float32{all: {}, some: {}}
		values := map[*Node][]float32{x: uniform(r, operandOf(x).size())}
		for _, n := range params {
			values[n] = uniform(r, operandOf(n).size())
		}
		for p, grad := range grads {
			p.SetSeed(5)
			for n, v := range values {
				must(t, p.SetFloats(n, v))
			}
			for _, n := range p.Wrt() {
				grad[n] = make([]float32, operandOf(n).size())
				must(t, p.SetGrad(n, grad[n]))
			}
			must(t, p.Forward())
			must(t, p.Backward(upstream))
		}
		for _, n := range adapters {
			sameBits(t, "gradient of "+n.Name(), grads[some][n], grads[all][n])
			if slices.Max(grads[some][n]) == 0 {
				t.Errorf("the gradient of %s is zero", n.Name())
			}
		}
	}
}
