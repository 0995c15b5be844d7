package graph

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"relsim/kernel"
)

// newTextTower is a small text transformer with masks, dropout and, with shared, one
// set of parameters for all blocks. The inputs of its blocks are marked.
func newTextTower(batch, depth int, dropout float64, shared bool) *tower {
	const width, heads, tokens, vocab = 16, 2, 5, 11
	b := NewBuilder()
	t := &tower{b: b, batch: batch, tokens: tokens}
	linear := func(x *Node, name string, in, out int) *Node {
		return b.Linear(x, b.Param(name+".weight", out, in), b.Param(name+".bias", out))
	}
	norm := func(x *Node, name string) *Node {
		return b.LayerNorm(x, b.Param(name+".weight", width), b.Param(name+".bias", width), 1e-6)
	}
	ids, mask := b.InputIDs("ids", batch*tokens), b.Input("mask", batch, tokens)
	x := b.Embedding(b.Param("words", vocab, width), ids)
	x = b.Dropout(b.AddPosition(x, b.Param("pos", tokens, width)), dropout)
	for l := range depth {
		b.Checkpoint(x)
		name := fmt.Sprintf("block%d.", l)
		if shared {
			name = "block."
		}
		h := linear(norm(x, name+"norm1"), name+"qkv", width, 3*width)
		h = b.Attention(h, mask, AttentionConfig{Batch: batch, Tokens: tokens, Heads: heads})
		h = b.ColumnScale(linear(h, name+"out", width, width), b.Param(name+"scale", width))
		x = b.Add(x, b.Dropout(h, dropout))
		h = b.GELU(linear(norm(x, name+"norm2"), name+"fc1", width, 4*width), kernel.GELUErf)
		x = b.Add(x, b.Dropout(linear(h, name+"fc2", 4*width, width), dropout))
	}
	t.emb = b.L2Normalize(b.PoolMaskedMean(norm(x, "norm"), mask), 1e-12)
	return t
}

func (v *values) bindText(t testing.TB, tw *tower, p *Program) {
	t.Helper()
	v.bind(t, tw.b, p)
	ids := make([]int32, tw.batch*tw.tokens)
	for i := range ids {
		ids[i] = int32(i*7%12) - 1
		v.data["mask"][i] = float32(min(i%3, 1))
	}
	must(t, p.SetIDs(tw.b.leaves["ids"], ids))
}

// Values that are computed again change no bit of an embedding or gradient: with
// dropout, masks, shared parameters, micro-batches, and any number of threads.
func TestCheckpointBits(t *testing.T) {
	three := kernel.NewPool(3)
	defer three.Close()
	for _, dropout := range []float64{0, 0.2} {
		for _, shared := range []bool{false, true} {
			tw := newTextTower(4, 3, dropout, shared)
			upstream := uniform(rand.New(rand.NewPCG(1, 1)), 2*operandOf(tw.emb).size())
			var want *values
			for _, c := range []Config{
				{},
				{Checkpoint: true},
				{Checkpoint: true, Backend: NewCPU(three)},
			} {
				c.Embedding, c.Wrt, c.Training = tw.emb, tw.b.Params(), true
				p := mustCompile(t, tw.b, c)
				v := newValues(tw.b, 1)
				v.bindText(t, tw, p)
				load := func(i int) error { p.SetSeed(uint64(i)); return nil }
				embeddings := make([]float32, len(upstream))
				must(t, forwardEach(p, 2, load, embeddings))
				must(t, backwardEach(p, 2, load, upstream))
				v.data["embeddings"] = embeddings
				if want == nil {
					want = v
					continue
				}
				sameBits(t, "embeddings", embeddings, want.data["embeddings"])
				for name, g := range want.grad {
					sameBits(t, fmt.Sprintf("dropout %v, shared %v: gradient of %s", dropout, shared, name), v.grad[name], g)
				}
			}
		}
	}
}

// A step that computes values again allocates nothing.
func TestCheckpointNoAllocations(t *testing.T) {
	tw := newTextTower(4, 3, 0.1, false)
	p := mustCompile(t, tw.b, Config{Embedding: tw.emb, Wrt: tw.b.Params(), Training: true, Checkpoint: true})
	newValues(tw.b, 1).bindText(t, tw, p)
	upstream := uniform(rand.New(rand.NewPCG(1, 1)), operandOf(tw.emb).size())
	if n := testing.AllocsPerRun(20, func() {
		if p.Forward() != nil || p.Backward(upstream) != nil {
			t.Error("the step failed")
		}
	}); n != 0 {
		t.Errorf("%v allocations per step", n)
	}
}

// A checkpointed graph's gradients against central differences of its own loss.
func TestCheckpointGradients(t *testing.T) {
	tw := newTextTower(2, 3, 0, false)
	weights := tw.b.Input("weights", tw.emb.Shape()...)
	loss := tw.b.Dot(tw.emb, weights)
	p := mustCompile(t, tw.b, Config{Loss: loss, Wrt: tw.b.Params(), Checkpoint: true})
	v := newValues(tw.b, 1)
	v.bindText(t, tw, p)
	must(t, p.Forward())
	must(t, p.Backward(nil))
	for _, n := range tw.b.Params() {
		data, grad := v.data[n.Name()], v.grad[n.Name()]
		for _, i := range []int{0, len(data) / 2, len(data) - 1} {
			const h = 1e-2
			at := func(x float32) float64 {
				was := data[i]
				data[i] = x
				must(t, p.Forward())
				data[i] = was
				return float64(p.Value(loss)[0])
			}
			want := (at(data[i]+h) - at(data[i]-h)) / (2 * h)
			if d := float64(grad[i]) - want; d > 5e-3 || d < -5e-3 {
				t.Errorf("d loss / d %s[%d] = %v, differences say %v", n.Name(), i, grad[i], want)
			}
		}
	}
}

// With checkpoints, memory grows with depth by one activation a block; without, by
// those that the gradients of a block read, its norms and GELUs not among them.
func TestCheckpointArena(t *testing.T) {
	const rows, width = 64 * 5, 16
	bytes := func(depth int, checkpoint bool) int {
		tw := newTextTower(64, depth, 0.1, false)
		p := mustCompile(t, tw.b, Config{Embedding: tw.emb, Wrt: tw.b.Params(), Training: true, Checkpoint: checkpoint})
		return p.ArenaBytes()
	}
	for _, tt := range []struct {
		checkpoint bool
		most       int // activations a block, in hundredths of (R, D)
	}{{true, 100}, {false, 1130}} { // 3 of qkv, o, out, x, 4 of fc1, x, and 2 numbers a head
		shallow, deep := bytes(4, tt.checkpoint), bytes(12, tt.checkpoint)
		if got, most := (deep-shallow)/8, 4*rows*width*tt.most/100; got > most {
			t.Errorf("checkpoint=%v: %d bytes a block, at most %d", tt.checkpoint, got, most)
		}
	}
}

// What Backward runs twice: nothing of the last block but what is cheap, and of the
// others no value that only the forward phase reads.
func TestCheckpointSteps(t *testing.T) {
	tw := newTextTower(2, 3, 0, false)
	for _, tt := range []struct {
		checkpoint bool
		want       map[string]int
	}{
		{false, map[string]int{"layerNorm": 6, "gelu": 3}},
		{true, map[string]int{"layerNorm": 6, "gelu": 3, "linear": 2 * 3, "columnScale": 2, "attention": 2}},
	} {
		p := mustCompile(t, tw.b, Config{Embedding: tw.emb, Wrt: tw.b.Params(), Checkpoint: tt.checkpoint, apart: true})
		forward, got := map[kind]bool{}, map[string]int{}
		for i, s := range p.plan.steps {
			if i < p.plan.forward {
				forward[s.kind] = true
			} else if forward[s.kind] {
				got[opName(s.kind)]++
			}
		}
		delete(got, "add") // those of gradients, where a residual branches off, are the same kind
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("checkpoint=%v: runs again %v, want %v", tt.checkpoint, got, tt.want)
		}
	}
}

// What is cheap is kept all the same where Backward does not read its operand: the linear layer before it would have to
// run again.
func TestCheapOfNothingRead(t *testing.T) {
	b := NewBuilder()
	h := b.Linear(b.Input("x", 6, 4), b.Param("fixed", 8, 4), nil)
	learned := b.Param("learned", 3, 8)
	emb := b.Linear(b.GELU(h, kernel.GELUErf), learned, nil)
	p := mustCompile(t, b, Config{Embedding: emb, Wrt: []*Node{learned}, apart: true})
	for _, s := range p.plan.steps[p.plan.forward:] {
		if name := opName(s.kind); name == "linear" || name == "gelu" {
			t.Errorf("Backward runs %s", name)
		}
	}
}

// What enters a low-rank adapter, dropout of a norm, is computed again from the norm's operand; with the bits that it has
// where it is kept.
func TestDropoutOfANormIsNotKept(t *testing.T) {
	b := NewBuilder()
	x := b.Linear(b.Input("x", 6, 4), b.Param("first", 8, 4), nil)
	dropped := b.Dropout(b.LayerNorm(x, b.Param("gain", 8), b.Param("shift", 8), 1e-6), 0.3)
	learned := b.Param("learned", 3, 8)
	emb := b.Linear(b.Add(b.Linear(dropped, learned, nil), b.Linear(x, b.Param("last", 3, 8), nil)), b.Param("head", 5, 3), nil)
	wrt := []*Node{b.leaves["first"], learned}
	upstream := uniform(rand.New(rand.NewPCG(3, 1)), operandOf(emb).size())
	var want *values
	for _, kept := range []bool{true, false} {
		c := Config{Embedding: emb, Wrt: wrt, Training: true, apart: true}
		if kept {
			c.Outputs = []*Node{dropped}
		}
		p := mustCompile(t, b, c)
		v := newValues(b, 1)
		v.bind(t, b, p)
		p.SetSeed(5)
		must(t, p.Forward())
		must(t, p.Backward(upstream))
		runs := make(map[string]int)
		for _, s := range p.plan.steps[p.plan.forward:] {
			runs[opName(s.kind)]++
		}
		if kept {
			if want = v; runs["dropout"] != 1 || runs["layerNorm"] != 0 { // dropout's gradient is one
				t.Errorf("what is kept is computed again: %v", runs)
			}
			continue
		}
		if runs["dropout"] != 2 || runs["layerNorm"] != 1 {
			t.Errorf("Backward runs %v, want the dropout and the layerNorm again", runs)
		}
		for _, n := range wrt {
			sameBits(t, n.Name(), v.grad[n.Name()], want.grad[n.Name()])
		}
	}
}
