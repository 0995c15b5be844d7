package graph

import (
	"gorgonia.org/gorgonia"

	"relsim/kernel"
)

// GELU applies the Gaussian error linear unit to every element.
func (b *Builder) GELU(x *Node, form kernel.GELUKind) *Node {
	if !b.ready("gelu", []int{-1}, x) {
		return nil
	}
	if form != kernel.GELUErf && form != kernel.GELUTanh && form != kernel.GELUQuick {
		return b.fail("graph: gelu[%v]: form %d is unknown", operandOf(x), int(form))
	}
	return b.add(gelu{operandOf(x).dims, form}, x)
}

type gelu struct {
	dims dims
	form kernel.GELUKind
}

func (k gelu) operands() []operand { return []operand{{dims: k.dims}} }
func (k gelu) results() []dims     { return []dims{k.dims} }
func (k gelu) run(c *call)         { kernel.GELU(c.pool, k.form, c.out[0], c.in[0]) }
func (k gelu) inPlace() []int      { return []int{0} }
func (k gelu) wrt() []bool         { return []bool{true} }
func (k gelu) diff(in gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	return one(apply(geluGrad(k), in[0], dy))
}

// geluGrad gives dx from x and dy.
type geluGrad struct {
	dims dims
	form kernel.GELUKind
}

func (k geluGrad) operands() []operand { return []operand{{dims: k.dims}, {dims: k.dims}} }
func (k geluGrad) results() []dims     { return []dims{k.dims} }
func (k geluGrad) run(c *call)         { kernel.GELUGrad(c.pool, k.form, c.out[0], c.in[0], c.in[1]) }
func (k geluGrad) inPlace() []int      { return []int{1, 0} }
