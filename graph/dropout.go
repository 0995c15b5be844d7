package graph

import (
	"gorgonia.org/gorgonia"

	"relsim/kernel"
)

// Dropout zeroes elements with probability rate and scales the others by
// 1/(1-rate), in a Program that was compiled with Training; any other Program
// leaves it out. What is zeroed depends on [Program.SetSeed] and on the position
// of the op among the dropouts of the Builder, and on nothing else.
func (b *Builder) Dropout(x *Node, rate float64) *Node {
	if !b.ready("dropout", []int{-1}, x) {
		return nil
	}
	if !(rate >= 0 && rate < 1) {
		return b.fail("graph: dropout[%v]: rate %v is not in [0, 1)", operandOf(x), rate)
	}
	index := b.dropouts
	b.dropouts++
	if rate == 0 {
		return x
	}
	return b.add(dropout{operandOf(x).dims, float32(rate), index}, x)
}

// dropout is its own gradient: the mask is drawn again.
type dropout struct {
	dims  dims
	rate  float32
	index int
}

func (k dropout) operands() []operand { return []operand{{dims: k.dims}} }
func (k dropout) results() []dims     { return []dims{k.dims} }
func (k dropout) run(c *call) {
	kernel.Dropout(c.pool, c.out[0], c.in[0], k.rate, *c.seed, uint64(k.index))
}
func (k dropout) inPlace() []int { return []int{0} }
func (k dropout) wrt() []bool    { return []bool{true} }
func (k dropout) diff(_ gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	return one(apply(k, dy))
}
