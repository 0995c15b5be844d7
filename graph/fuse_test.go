package graph

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"relsim/kernel"
)

// stepNames lists the ops of a phase.
func stepNames(p *Program, backward bool) (names []string) {
	for i, s := range p.plan.steps {
		if (i >= p.plan.forward) == backward {
			names = append(names, opName(s.kind))
		}
	}
	return names
}

func countOf(names []string, name string) int {
	return len(names) - len(slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name }))
}

// A block is made of fused steps, in training and in inference.
func TestFuseBlocks(t *testing.T) {
	const depth = 3
	for _, tt := range []struct {
		train            bool
		dropout          float64
		forward, removed map[string]int
		backward         map[string]int
	}{
		{
			false, 0.1,
			map[string]int{"linearGELU": depth, "linearAdd": 2 * depth, "linear": depth + 1},
			map[string]int{"gelu": 0, "add": 0, "dropout": 0}, nil,
		},
		{
			true, 0.1,
			map[string]int{"linearGELU": depth, "linearDropoutAdd": 2 * depth, "linear": depth + 1},
			map[string]int{"gelu": 0, "add": 0, "dropout": 0},
			map[string]int{"linearGradXGELU": depth, "geluGrad": 0, "linearGradX": 3*depth + 1, "dropout": 2 * depth},
		},
		{
			true, 0,
			map[string]int{"linearGELU": depth, "linearAdd": 2 * depth, "linear": depth + 1},
			map[string]int{"gelu": 0, "add": 0},
			map[string]int{"linearGradXGELU": depth, "geluGrad": 0, "linearGradX": 3*depth + 1},
		},
	} {
		tw := newTower(2, depth, tt.dropout)
		c := Config{Embedding: tw.emb, Training: tt.train}
		if tt.train {
			c.Wrt = tw.b.Params()
		}
		p := mustCompile(t, tw.b, c)
		forward, backward := stepNames(p, false), stepNames(p, true)
		for _, want := range []map[string]int{tt.forward, tt.removed} {
			for name, n := range want {
				if got := countOf(forward, name); got != n {
					t.Errorf("train=%v, dropout %v: forward runs %s %d times, want %d: %v", tt.train, tt.dropout, name, got, n, forward)
				}
			}
		}
		for name, n := range tt.backward {
			if got := countOf(backward, name); got != n {
				t.Errorf("train=%v, dropout %v: backward runs %s %d times, want %d: %v", tt.train, tt.dropout, name, got, n, backward)
			}
		}
	}
}

// Fused steps give the bits of one step after the other, on every tier, with and without checkpoints, and take no more
// memory.
func TestFuseBits(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	for _, dropout := range []float64{0, 0.2} {
		for _, checkpoint := range []bool{false, true} {
			tw := newTextTower(5, 3, dropout, false)
			upstream := uniform(rand.New(rand.NewPCG(1, 1)), operandOf(tw.emb).size())
			eachTier(t, func(t *testing.T) {
				var want *values
				var apart int
				for _, c := range []Config{{apart: true}, {}} {
					c.Embedding, c.Wrt, c.Training, c.Checkpoint, c.Backend = tw.emb, tw.b.Params(), true, checkpoint, NewCPU(pool)
					p := mustCompile(t, tw.b, c)
					p.SetSeed(3)
					v := newValues(tw.b, 1)
					v.bindText(t, tw, p)
					must(t, p.Forward())
					v.data["embeddings"] = slices.Clone(p.Value(tw.emb))
					must(t, p.Backward(upstream))
					if want == nil {
						want, apart = v, p.ArenaBytes()
						continue
					}
					sameBits(t, "embeddings", v.data["embeddings"], want.data["embeddings"])
					for name, g := range want.grad {
						sameBits(t, fmt.Sprintf("dropout %v, checkpoint %v: gradient of %s", dropout, checkpoint, name), v.grad[name], g)
					}
					if p.ArenaBytes() > apart {
						t.Errorf("dropout %v, checkpoint %v: %d bytes, %d with a step for each op", dropout, checkpoint, p.ArenaBytes(), apart)
					}
				}
			})
		}
	}
}

// Inference takes no more memory: what it holds at most is the input and output of an MLP's first layer either way.
func TestFuseArena(t *testing.T) {
	bytes := func(apart bool) int {
		tw := newTower(64, 2, 0)
		return mustCompile(t, tw.b, Config{Embedding: tw.emb, apart: apart}).ArenaBytes()
	}
	if fused, apart := bytes(false), bytes(true); fused > apart {
		t.Errorf("inference takes %d bytes, %d with a step for each op", fused, apart)
	}
}

// What may not be fused: values that are outputs, gradients, or read by others, operands used twice, other phases.
func TestFuseHazards(t *testing.T) {
	b := NewBuilder()
	x, r := b.Input("x", 3, 4), b.Input("r", 3, 4)
	w, bias := b.Param("w", 4, 4), b.Param("bias", 4)
	h := b.Linear(x, w, bias)
	g := b.GELU(h, kernel.GELUErf)
	both := b.Add(h, b.Linear(g, w, nil))            // h is read three times
	twice := b.Add(b.Linear(r, w, bias), h)          // two layers meet
	own := b.Add(r, b.Linear(r, w, nil))             // the residual is the operand of the layer
	same := b.Linear(b.Scale(x, 2), w, bias)         // read twice by one op
	sameTwice := b.Add(same, same)                   //
	dropped := b.Dropout(b.Linear(both, w, nil), .5) // read twice
	mixed := b.Add(dropped, b.Scale(dropped, 3))
	forms := b.Add(b.GELU(same, kernel.GELUTanh), b.GELU(same, kernel.GELUErf))
	last := b.Add(b.Add(b.Add(both, twice), b.Add(own, sameTwice)), b.Add(mixed, forms))
	for _, training := range []bool{false, true} {
		for _, outputs := range [][]*Node{nil, {h}, {g, h, last}, {same, dropped}, {both, own, forms, x}} {
			checkPlan(t, b, Config{Outputs: outputs, Embedding: last, Wrt: []*Node{x, r, w, bias}, Training: training})
			checkPlan(t, b, Config{Outputs: append(slices.Clone(outputs), last)})
		}
	}
	// The gradient of r is the one between linearGradX and geluGrad as well.
	c := NewBuilder()
	s, v := c.Param("s", 3, 4), c.Param("v", 4, 4)
	y := c.Linear(c.GELU(s, kernel.GELUErf), v, nil)
	checkPlan(t, c, Config{Embedding: y, Wrt: []*Node{s}})
	checkPlan(t, c, Config{Embedding: c.Add(s, c.GELU(y, kernel.GELUQuick)), Wrt: []*Node{s, v}})
}

// The gradients of fused steps against central differences of the loss.
func TestFuseGradients(t *testing.T) {
	tw := newTower(2, 2, 0.2)
	loss := tw.b.Dot(tw.emb, tw.b.Input("weights", tw.emb.Shape()...))
	p := mustCompile(t, tw.b, Config{Loss: loss, Wrt: tw.b.Params(), Training: true})
	p.SetSeed(5) // one mask throughout
	v := newValues(tw.b, 1)
	v.bind(t, tw.b, p)
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
