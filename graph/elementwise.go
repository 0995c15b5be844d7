package graph

import (
	"math"

	"gorgonia.org/gorgonia"

	"relsim/kernel"
)

// Add adds two values of one shape.
func (b *Builder) Add(x, y *Node) *Node {
	if !b.ready("add", []int{-1, -1}, x, y) {
		return nil
	}
	if operandOf(x) != operandOf(y) {
		return b.fail("graph: add[%v %v]: shapes differ", operandOf(x), operandOf(y))
	}
	return b.add(add{operandOf(x).dims}, x, y)
}

// Scale multiplies x by a constant.
func (b *Builder) Scale(x *Node, by float64) *Node {
	if !b.ready("scale", []int{-1}, x) {
		return nil
	}
	return b.add(scale{operandOf(x).dims, float32(by)}, x)
}

// ScaleExp multiplies x by exp(s), s (1): a temperature learnt by its logarithm.
func (b *Builder) ScaleExp(x, s *Node) *Node {
	if !b.ready("scaleExp", []int{-1, 1}, x, s) {
		return nil
	}
	return b.add(scaleExp{operandOf(x).dims}, x, s)
}

// AddScalar adds s (1) to every element of x.
func (b *Builder) AddScalar(x, s *Node) *Node {
	if !b.ready("addScalar", []int{-1, 1}, x, s) {
		return nil
	}
	return b.add(addScalar{operandOf(x).dims}, x, s)
}

// ColumnScale multiplies the columns of x (R, D) by gain (D).
func (b *Builder) ColumnScale(x, gain *Node) *Node {
	if !b.ready("columnScale", []int{2, 1}, x, gain) {
		return nil
	}
	return b.add(columnScale{x.Shape()[0], x.Shape()[1]}, x, gain)
}

// AddColumns adds z (R, W) to the columns at to at+W of x (R, C).
func (b *Builder) AddColumns(x, z *Node, at int) *Node {
	if !b.ready("addColumns", []int{2, 2}, x, z) {
		return nil
	}
	k := columns{x.Shape()[0], x.Shape()[1], at, z.Shape()[1]}
	if at < 0 || at > k.cols-k.width {
		return b.fail("graph: addColumns[%v %v]: no %d columns from %d", operandOf(x), operandOf(z), k.width, at)
	}
	return b.add(addColumns(k), x, z)
}

// Transpose maps x (R, C) to (C, R).
func (b *Builder) Transpose(x *Node) *Node {
	if !b.ready("transpose", []int{2}, x) {
		return nil
	}
	return b.add(transpose{x.Shape()[0], x.Shape()[1]}, x)
}

// Dot is the scalar Σ x ⊙ y of two values of one shape.
func (b *Builder) Dot(x, y *Node) *Node {
	if !b.ready("dot", []int{-1, -1}, x, y) {
		return nil
	}
	if operandOf(x) != operandOf(y) {
		return b.fail("graph: dot[%v %v]: shapes differ", operandOf(x), operandOf(y))
	}
	return b.add(dot{operandOf(x).dims, dims{}}, x, y)
}

type add struct{ dims dims }

func (k add) operands() []operand { return []operand{{dims: k.dims}, {dims: k.dims}} }
func (k add) results() []dims     { return []dims{k.dims} }
func (k add) run(c *call)         { kernel.Add(c.pool, c.out[0], c.in[0], c.in[1]) }
func (k add) inPlace() []int      { return []int{0, 1} }
func (k add) wrt() []bool         { return []bool{true, true} }
func (k add) diff(_ gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	return gorgonia.Nodes{dy, dy}, nil
}

type scale struct {
	dims dims
	by   float32
}

func (k scale) operands() []operand { return []operand{{dims: k.dims}} }
func (k scale) results() []dims     { return []dims{k.dims} }
func (k scale) run(c *call)         { kernel.Scale(c.pool, c.out[0], k.by, c.in[0]) }
func (k scale) inPlace() []int      { return []int{0} }
func (k scale) wrt() []bool         { return []bool{true} }
func (k scale) diff(_ gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	return one(apply(k, dy))
}

// scaleExp is x·exp(s).
type scaleExp struct{ dims dims }

func (k scaleExp) operands() []operand { return []operand{{dims: k.dims}, floats(1)} }
func (k scaleExp) results() []dims     { return []dims{k.dims} }
func (k scaleExp) run(c *call) {
	kernel.Scale(c.pool, c.out[0], float32(math.Exp(float64(c.in[1][0]))), c.in[0])
}
func (k scaleExp) inPlace() []int { return []int{0} }
func (k scaleExp) wrt() []bool    { return []bool{true, true} }
func (k scaleExp) diff(in gorgonia.Nodes, out, dy *Node) (gorgonia.Nodes, error) {
	ds, err := apply(dot{k.dims, dimsOf(1)}, dy, out)
	if err != nil {
		return nil, err
	}
	dx, err := apply(k, dy, in[1])
	return gorgonia.Nodes{dx, ds}, err
}

// addScalar is x + s.
type addScalar struct{ dims dims }

func (k addScalar) operands() []operand { return []operand{{dims: k.dims}, floats(1)} }
func (k addScalar) results() []dims     { return []dims{k.dims} }
func (k addScalar) run(c *call)         { kernel.AddScalar(c.pool, c.out[0], c.in[1][0], c.in[0]) }
func (k addScalar) inPlace() []int      { return []int{0} }
func (k addScalar) wrt() []bool         { return []bool{true, true} }
func (k addScalar) diff(_ gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	ds, err := apply(sum(k), dy)
	return gorgonia.Nodes{dy, ds}, err
}

// sum adds all elements up, to (1).
type sum struct{ dims dims }

func (k sum) operands() []operand { return []operand{{dims: k.dims}} }
func (k sum) results() []dims     { return []dims{dimsOf(1)} }
func (k sum) run(c *call)         { c.out[0][0] = float32(kernel.Sum(c.pool, c.in[0])) }

// dot is Σ x ⊙ y, as a scalar or, within gradients, as (1).
type dot struct{ dims, result dims }

func (k dot) operands() []operand { return []operand{{dims: k.dims}, {dims: k.dims}} }
func (k dot) results() []dims     { return []dims{k.result} }
func (k dot) run(c *call)         { c.out[0][0] = float32(kernel.Dot(c.pool, c.in[0], c.in[1])) }
func (k dot) wrt() []bool {
	differentiable := k.result.n == 0
	return []bool{differentiable, differentiable}
}
func (k dot) diff(in gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	dx, err := apply(times{k.dims}, in[1], dy)
	if err != nil {
		return nil, err
	}
	dz, err := apply(times{k.dims}, in[0], dy)
	return gorgonia.Nodes{dx, dz}, err
}

// times multiplies x by a scalar that is computed.
type times struct{ dims dims }

func (k times) operands() []operand { return []operand{{dims: k.dims}, floats()} }
func (k times) results() []dims     { return []dims{k.dims} }
func (k times) run(c *call)         { kernel.Scale(c.pool, c.out[0], c.in[1][0], c.in[0]) }
func (k times) inPlace() []int      { return []int{0} }

type columnScale struct{ rows, cols int }

func (k columnScale) operands() []operand {
	return []operand{floats(k.rows, k.cols), floats(k.cols)}
}
func (k columnScale) results() []dims { return []dims{dimsOf(k.rows, k.cols)} }
func (k columnScale) run(c *call) {
	kernel.ColumnScale(c.pool, c.out[0], c.in[0], c.in[1], k.rows, k.cols)
}
func (k columnScale) inPlace() []int { return []int{0} }
func (k columnScale) wrt() []bool    { return []bool{true, true} }
func (k columnScale) diff(in gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	return parts(apply(columnScaleGrad(k), dy, in[0], in[1]))
}

// columnScaleGrad gives dx and dgain from dy, x and gain.
type columnScaleGrad struct{ rows, cols int }

func (k columnScaleGrad) operands() []operand {
	return []operand{floats(k.rows, k.cols), floats(k.rows, k.cols), floats(k.cols)}
}
func (k columnScaleGrad) results() []dims { return []dims{dimsOf(k.rows, k.cols), dimsOf(k.cols)} }
func (k columnScaleGrad) run(c *call) {
	kernel.ColumnScaleGrad(c.pool, c.out[0], c.out[1], c.in[0], c.in[1], c.in[2], k.rows, k.cols)
}
func (k columnScaleGrad) inPlace() []int { return []int{0} }

// addColumns is x, with z added to some of its columns.
type addColumns struct{ rows, cols, at, width int }

func (k addColumns) operands() []operand {
	return []operand{floats(k.rows, k.cols), floats(k.rows, k.width)}
}
func (k addColumns) results() []dims { return []dims{dimsOf(k.rows, k.cols)} }
func (k addColumns) run(c *call) {
	kernel.AddColumns(c.pool, c.out[0], c.in[0], c.in[1], k.rows, k.cols, k.at, k.width)
}
func (k addColumns) inPlace() []int { return []int{0} }
func (k addColumns) wrt() []bool    { return []bool{true, true} }
func (k addColumns) diff(_ gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	dz, err := apply(columns(k), dy)
	return gorgonia.Nodes{dy, dz}, err
}

// columns is some of the columns of x.
type columns struct{ rows, cols, at, width int }

func (k columns) operands() []operand { return []operand{floats(k.rows, k.cols)} }
func (k columns) results() []dims     { return []dims{dimsOf(k.rows, k.width)} }
func (k columns) run(c *call) {
	kernel.Columns(c.pool, c.out[0], c.in[0], k.rows, k.cols, k.at, k.width)
}

type transpose struct{ rows, cols int }

func (k transpose) operands() []operand { return []operand{floats(k.rows, k.cols)} }
func (k transpose) results() []dims     { return []dims{dimsOf(k.cols, k.rows)} }
func (k transpose) run(c *call)         { kernel.Transpose(c.pool, c.out[0], c.in[0], k.rows, k.cols) }
func (k transpose) wrt() []bool         { return []bool{true} }
func (k transpose) diff(_ gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	return one(apply(transpose{k.cols, k.rows}, dy))
}
