package graph

import (
	"gorgonia.org/gorgonia"

	"relsim/kernel"
)

// AttentionConfig is the layout of multi-head self-attention.
type AttentionConfig struct {
	Batch, Tokens, Heads int
	Causal               bool // a token sees itself and those before it
}

// Attention maps qkv (B·T, 3·D), rows of queries, keys and values, each by head, to
// (B·T, D). keyMask (B, T) is 0 where a key is not to be seen; nil shows all.
// See [kernel.Attention].
func (b *Builder) Attention(qkv, keyMask *Node, c AttentionConfig) *Node {
	if !b.ready("attention", []int{2}, qkv) {
		return nil
	}
	rows, cols := qkv.Shape()[0], qkv.Shape()[1]
	if c.Batch < 1 || c.Tokens < 1 || c.Heads < 1 || rows != c.Batch*c.Tokens || cols%(3*c.Heads) != 0 {
		return b.fail("graph: attention[%v]: does not fit %+v", operandOf(qkv), c)
	}
	k := attention{
		shape: kernel.AttentionShape{
			Batch: c.Batch, Tokens: c.Tokens, Heads: c.Heads, HeadDim: cols / (3 * c.Heads), Causal: c.Causal,
		},
		masked: keyMask != nil,
	}
	if keyMask == nil {
		return b.add(k, qkv)
	}
	if !b.ready("attention", []int{2}, keyMask) {
		return nil
	}
	return b.add(k, qkv, keyMask)
}

// attention gives o and the log-sum-exp of the scores, which its gradient needs.
type attention struct {
	shape  kernel.AttentionShape
	masked bool
}

func (k attention) width() int { return k.shape.Heads * k.shape.HeadDim }

func (k attention) operands() []operand {
	in := []operand{floats(k.shape.Batch*k.shape.Tokens, 3*k.width())}
	if k.masked {
		in = append(in, floats(k.shape.Batch, k.shape.Tokens))
	}
	return in
}
func (k attention) results() []dims {
	return []dims{
		dimsOf(k.shape.Batch*k.shape.Tokens, k.width()),
		dimsOf(k.shape.Batch, k.shape.Heads, k.shape.Tokens),
	}
}
func (k attention) run(c *call) {
	var mask []float32
	if k.masked {
		mask = c.in[1]
	}
	kernel.Attention(c.pool, c.out[0], c.out[1], c.in[0], mask, k.shape)
}
func (k attention) wrt() []bool { return []bool{true, false}[:len(k.operands())] }
func (k attention) diff(in gorgonia.Nodes, out, do *Node) (gorgonia.Nodes, error) {
	forward, err := parts(out, nil)
	if err != nil {
		return nil, err
	}
	operands := append([]*Node{do, forward[0], forward[1]}, in...)
	dqkv, err := apply(attentionGrad(k), operands...)
	return gorgonia.Nodes{dqkv, nil}[:len(in)], err
}

// attentionGrad gives dqkv from do, o, lse, qkv and the mask.
type attentionGrad struct {
	shape  kernel.AttentionShape
	masked bool
}

func (k attentionGrad) operands() []operand {
	forward := attention(k)
	o, lse := forward.results()[0], forward.results()[1]
	return append([]operand{{dims: o}, {dims: o}, {dims: lse}}, forward.operands()...)
}
func (k attentionGrad) results() []dims { return []dims{attention(k).operands()[0].dims} }
func (k attentionGrad) run(c *call) {
	var mask []float32
	if k.masked {
		mask = c.in[4]
	}
	kernel.AttentionGrad(c.pool, c.out[0], c.in[0], c.in[1], c.in[2], c.in[3], mask, k.shape)
}
