package graph

import (
	"gorgonia.org/gorgonia"

	"relsim/kernel"
)

// PoolFirst takes the first row of each sequence of x (B·T, D): (B, D).
func (b *Builder) PoolFirst(x *Node, tokens int) *Node {
	if !b.ready("poolFirst", []int{2}, x) {
		return nil
	}
	batch, ok := b.sequences("poolFirst", x, tokens)
	if !ok {
		return nil
	}
	return b.add(poolFirst{batch, tokens, x.Shape()[1]}, x)
}

// PoolMean averages the rows of each sequence of x (B·T, D): (B, D).
func (b *Builder) PoolMean(x *Node, tokens int) *Node {
	if !b.ready("poolMean", []int{2}, x) {
		return nil
	}
	batch, ok := b.sequences("poolMean", x, tokens)
	if !ok {
		return nil
	}
	return b.add(poolMean{batch, tokens, x.Shape()[1]}, x)
}

// PoolMaskedMean averages the rows of each sequence of x (B·T, D) by the weights
// mask (B, T): Σ_t mask·x / max(Σ_t mask, 1e-9), (B, D). The mask has no gradient.
func (b *Builder) PoolMaskedMean(x, mask *Node) *Node {
	if !b.ready("poolMaskedMean", []int{2, 2}, x, mask) {
		return nil
	}
	return b.PoolWeighted(x, b.add(meanWeights{mask.Shape()[0], mask.Shape()[1]}, mask))
}

// PoolWeighted adds the rows of each sequence of x (B·T, D) by weights (B, T):
// Σ_t weights·x, (B, D). A row of weight zero is left out, whatever it holds.
func (b *Builder) PoolWeighted(x, weights *Node) *Node {
	if !b.ready("poolWeighted", []int{2, 2}, x, weights) {
		return nil
	}
	return b.add(poolWeighted{weights.Shape()[0], weights.Shape()[1], x.Shape()[1]}, x, weights)
}

// PoolMax takes, of each sequence of x (B·T, D), the largest value of each column
// among the rows whose mask (B, T) is not zero, and zero if there is none: (B, D).
// The mask has no gradient; that of x goes to the first row with the value.
func (b *Builder) PoolMax(x, mask *Node) *Node {
	if !b.ready("poolMax", []int{2, 2}, x, mask) {
		return nil
	}
	return b.add(poolMax{mask.Shape()[0], mask.Shape()[1], x.Shape()[1]}, x, mask)
}

// PoolAt takes row index[b] of each sequence of x (B·T, D): (B, D). Forward refuses
// an index outside 0 … tokens-1.
func (b *Builder) PoolAt(x, index *Node, tokens int) *Node {
	if !b.ready("poolAt", []int{2, 1}, x, index) {
		return nil
	}
	batch, ok := b.sequences("poolAt", x, tokens)
	if !ok {
		return nil
	}
	return b.add(poolAt{batch, tokens, x.Shape()[1]}, x, index)
}

type poolFirst struct{ batch, tokens, dim int }

func (k poolFirst) operands() []operand { return []operand{floats(k.batch*k.tokens, k.dim)} }
func (k poolFirst) results() []dims     { return []dims{dimsOf(k.batch, k.dim)} }
func (k poolFirst) run(c *call) {
	y, x, stride := c.out[0], c.in[0], k.tokens*k.dim
	for i := range k.batch {
		copy(y[i*k.dim:(i+1)*k.dim], x[i*stride:])
	}
}
func (k poolFirst) wrt() []bool { return []bool{true} }
func (k poolFirst) diff(_ gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	return one(apply(poolFirstGrad(k), dy))
}

type poolFirstGrad struct{ batch, tokens, dim int }

func (k poolFirstGrad) operands() []operand { return []operand{floats(k.batch, k.dim)} }
func (k poolFirstGrad) results() []dims     { return []dims{dimsOf(k.batch*k.tokens, k.dim)} }
func (k poolFirstGrad) run(c *call) {
	dx, dy, stride := c.out[0], c.in[0], k.tokens*k.dim
	clear(dx)
	for i := range k.batch {
		copy(dx[i*stride:], dy[i*k.dim:(i+1)*k.dim])
	}
}

type poolMean struct{ batch, tokens, dim int }

func (k poolMean) operands() []operand { return []operand{floats(k.batch*k.tokens, k.dim)} }
func (k poolMean) results() []dims     { return []dims{dimsOf(k.batch, k.dim)} }
func (k poolMean) run(c *call) {
	kernel.PoolMean(c.pool, c.out[0], c.in[0], k.batch, k.tokens, k.dim)
}
func (k poolMean) wrt() []bool { return []bool{true} }
func (k poolMean) diff(_ gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	return one(apply(poolMeanGrad(k), dy))
}

type poolMeanGrad struct{ batch, tokens, dim int }

func (k poolMeanGrad) operands() []operand { return []operand{floats(k.batch, k.dim)} }
func (k poolMeanGrad) results() []dims     { return []dims{dimsOf(k.batch*k.tokens, k.dim)} }
func (k poolMeanGrad) run(c *call) {
	kernel.PoolMeanGrad(c.pool, c.out[0], c.in[0], k.batch, k.tokens, k.dim)
}

// meanWeights makes the weights of a mean from a mask.
type meanWeights struct{ batch, tokens int }

func (k meanWeights) operands() []operand { return []operand{floats(k.batch, k.tokens)} }
func (k meanWeights) results() []dims     { return []dims{dimsOf(k.batch, k.tokens)} }
func (k meanWeights) run(c *call)         { kernel.MeanWeights(c.out[0], c.in[0], k.batch, k.tokens) }
func (k meanWeights) inPlace() []int      { return []int{0} }

type poolWeighted struct{ batch, tokens, dim int }

func (k poolWeighted) operands() []operand {
	return []operand{floats(k.batch*k.tokens, k.dim), floats(k.batch, k.tokens)}
}
func (k poolWeighted) results() []dims { return []dims{dimsOf(k.batch, k.dim)} }
func (k poolWeighted) run(c *call) {
	kernel.PoolWeighted(c.pool, c.out[0], c.in[0], c.in[1], k.batch, k.tokens, k.dim)
}
func (k poolWeighted) wrt() []bool { return []bool{true, false} }
func (k poolWeighted) diff(in gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	dx, err := apply(poolWeightedGrad(k), dy, in[1])
	return gorgonia.Nodes{dx, nil}, err
}

// poolWeightedGrad gives dx from dy and the weights.
type poolWeightedGrad struct{ batch, tokens, dim int }

func (k poolWeightedGrad) operands() []operand {
	return []operand{floats(k.batch, k.dim), floats(k.batch, k.tokens)}
}
func (k poolWeightedGrad) results() []dims { return []dims{dimsOf(k.batch*k.tokens, k.dim)} }
func (k poolWeightedGrad) run(c *call) {
	kernel.PoolWeightedGrad(c.pool, c.out[0], c.in[0], c.in[1], k.batch, k.tokens, k.dim)
}

type poolMax struct{ batch, tokens, dim int }

func (k poolMax) operands() []operand {
	return []operand{floats(k.batch*k.tokens, k.dim), floats(k.batch, k.tokens)}
}
func (k poolMax) results() []dims { return []dims{dimsOf(k.batch, k.dim)} }
func (k poolMax) run(c *call) {
	kernel.PoolMax(c.pool, c.out[0], c.in[0], c.in[1], k.batch, k.tokens, k.dim)
}
func (k poolMax) wrt() []bool { return []bool{true, false} }
func (k poolMax) diff(in gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	dx, err := apply(poolMaxGrad(k), in[0], in[1], dy)
	return gorgonia.Nodes{dx, nil}, err
}

// poolMaxGrad gives dx from x, the mask and dy.
type poolMaxGrad struct{ batch, tokens, dim int }

func (k poolMaxGrad) operands() []operand {
	return []operand{floats(k.batch*k.tokens, k.dim), floats(k.batch, k.tokens), floats(k.batch, k.dim)}
}
func (k poolMaxGrad) results() []dims { return []dims{dimsOf(k.batch*k.tokens, k.dim)} }
func (k poolMaxGrad) run(c *call) {
	kernel.PoolMaxGrad(c.pool, c.out[0], c.in[0], c.in[1], c.in[2], k.batch, k.tokens, k.dim)
}
func (k poolMaxGrad) inPlace() []int { return []int{0} }

type poolAt struct{ batch, tokens, dim int }

func (k poolAt) operands() []operand {
	return []operand{floats(k.batch*k.tokens, k.dim), indices(k.batch)}
}
func (k poolAt) results() []dims { return []dims{dimsOf(k.batch, k.dim)} }
func (k poolAt) run(c *call) {
	for i, at := range c.ids[1] {
		row := (i*k.tokens + int(at)) * k.dim
		copy(c.out[0][i*k.dim:(i+1)*k.dim], c.in[0][row:row+k.dim])
	}
}
func (k poolAt) idRange() (operand, low, high int) { return 1, 0, k.tokens }
func (k poolAt) wrt() []bool                       { return []bool{true, false} }
func (k poolAt) diff(in gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	dx, err := apply(poolAtGrad(k), dy, in[1])
	return gorgonia.Nodes{dx, nil}, err
}

// poolAtGrad gives dx from dy and the indices.
type poolAtGrad struct{ batch, tokens, dim int }

func (k poolAtGrad) operands() []operand { return []operand{floats(k.batch, k.dim), indices(k.batch)} }
func (k poolAtGrad) results() []dims     { return []dims{dimsOf(k.batch*k.tokens, k.dim)} }
func (k poolAtGrad) run(c *call) {
	clear(c.out[0])
	for i, at := range c.ids[1] {
		row := (i*k.tokens + int(at)) * k.dim
		copy(c.out[0][row:row+k.dim], c.in[0][i*k.dim:])
	}
}
func (k poolAtGrad) idRange() (operand, low, high int) { return 1, 0, k.tokens }
