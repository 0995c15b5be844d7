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

// SwiGLU maps x (R, 2M), [gate|value], to silu(gate)·value, (R, M).
func (b *Builder) SwiGLU(x *Node) *Node {
	if !b.ready("swiGLU", []int{2}, x) {
		return nil
	}
	if cols := x.Shape()[1]; cols%2 != 0 {
		return b.fail("graph: swiGLU[%v]: %d columns are not [gate|value]", operandOf(x), cols)
	}
	return b.add(swiGLU{x.Shape()[0], x.Shape()[1] / 2}, x)
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

type swiGLU struct{ rows, cols int }

func (k swiGLU) operands() []operand { return []operand{floats(k.rows, 2*k.cols)} }
func (k swiGLU) results() []dims     { return []dims{dimsOf(k.rows, k.cols)} }
func (k swiGLU) run(c *call)         { kernel.SwiGLU(c.pool, c.out[0], c.in[0], k.rows, k.cols) }
func (k swiGLU) wrt() []bool         { return []bool{true} }
func (k swiGLU) diff(in gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	return one(apply(swiGLUGrad(k), in[0], dy))
}

// swiGLUGrad gives dx from x and dy.
type swiGLUGrad struct{ rows, cols int }

func (k swiGLUGrad) operands() []operand {
	return []operand{floats(k.rows, 2*k.cols), floats(k.rows, k.cols)}
}
func (k swiGLUGrad) results() []dims { return []dims{dimsOf(k.rows, 2*k.cols)} }
func (k swiGLUGrad) run(c *call) {
	kernel.SwiGLUGrad(c.pool, c.out[0], c.in[0], c.in[1], k.rows, k.cols)
}
func (k swiGLUGrad) inPlace() []int { return []int{0} }
