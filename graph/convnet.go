package graph

import (
	"gorgonia.org/gorgonia"

	"relsim/kernel"
)

// ReLU applies max(x, 0) to every element.
func (b *Builder) ReLU(x *Node) *Node {
	if !b.ready("relu", []int{-1}, x) {
		return nil
	}
	return b.add(relu{operandOf(x).dims}, x)
}

// MaxPool2D takes the largest value of each window of the pictures x (B·H·W, C), as
// s says: (B·OH·OW, C). The gradient goes to the first of equal values.
func (b *Builder) MaxPool2D(x *Node, s kernel.PoolShape) *Node {
	if !b.ready("maxPool2D", []int{2}, x) {
		return nil
	}
	if min(s.Batch, s.InH, s.InW, s.C, s.K, s.Stride) < 1 || min(s.OutH(), s.OutW()) < 1 {
		return b.fail("graph: maxPool2D[%v]: no such pooling: %+v", operandOf(x), s)
	}
	return b.add(maxPool2D{s}, x)
}

// JoinColumns puts the columns of x (R, M) and y (R, N) beside one another: (R, M+N).
func (b *Builder) JoinColumns(x, y *Node) *Node {
	if !b.ready("joinColumns", []int{2, 2}, x, y) {
		return nil
	}
	return b.add(joinColumns{x.Shape()[0], x.Shape()[1], y.Shape()[1]}, x, y)
}

// UnitRows divides the rows of x (R, D) by their length: x / (‖x‖ + eps).
func (b *Builder) UnitRows(x *Node, eps float64) *Node {
	if !b.ready("unitRows", []int{2}, x) {
		return nil
	}
	if !(eps >= 0) {
		return b.fail("graph: unitRows[%v]: eps %v is negative", operandOf(x), eps)
	}
	return b.add(unitRows{x.Shape()[0], x.Shape()[1], float32(eps)}, x)
}

// SquaredDistance is 1/T · Σ_t Σ_c w·(x - y)² for each sequence of T rows of x and y
// (B·T, D), with the weights w (D): (B).
func (b *Builder) SquaredDistance(x, y, w *Node, tokens int) *Node {
	if !b.ready("squaredDistance", []int{2, 2, 1}, x, y, w) {
		return nil
	}
	batch, ok := b.sequences("squaredDistance", x, tokens)
	if !ok {
		return nil
	}
	return b.add(squaredDistance{batch, tokens, x.Shape()[1]}, x, y, w)
}

type relu struct{ dims dims }

func (k relu) operands() []operand { return []operand{{dims: k.dims}} }
func (k relu) results() []dims     { return []dims{k.dims} }
func (k relu) run(c *call)         { kernel.ReLU(c.pool, c.out[0], c.in[0]) }
func (k relu) inPlace() []int      { return []int{0} }
func (k relu) wrt() []bool         { return []bool{true} }
func (k relu) diff(_ gorgonia.Nodes, out, dy *Node) (gorgonia.Nodes, error) {
	return one(apply(reluGrad(k), out, dy))
}

// reluGrad gives dx from y and dy.
type reluGrad struct{ dims dims }

func (k reluGrad) operands() []operand { return []operand{{dims: k.dims}, {dims: k.dims}} }
func (k reluGrad) results() []dims     { return []dims{k.dims} }
func (k reluGrad) run(c *call)         { kernel.ReLUGrad(c.pool, c.out[0], c.in[0], c.in[1]) }
func (k reluGrad) inPlace() []int      { return []int{1, 0} }

type maxPool2D struct{ shape kernel.PoolShape }

func (k maxPool2D) x() dims { return dimsOf(k.shape.Batch*k.shape.InH*k.shape.InW, k.shape.C) }
func (k maxPool2D) y() dims {
	return dimsOf(k.shape.Batch*k.shape.OutH()*k.shape.OutW(), k.shape.C)
}
func (k maxPool2D) operands() []operand { return []operand{{dims: k.x()}} }
func (k maxPool2D) results() []dims     { return []dims{k.y()} }
func (k maxPool2D) run(c *call)         { kernel.MaxPool2D(c.pool, c.out[0], c.in[0], k.shape) }
func (k maxPool2D) wrt() []bool         { return []bool{true} }
func (k maxPool2D) diff(in gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	return one(apply(maxPool2DGrad(k), dy, in[0]))
}

// maxPool2DGrad gives dx from dy and x.
type maxPool2DGrad struct{ shape kernel.PoolShape }

func (k maxPool2DGrad) operands() []operand {
	return []operand{{dims: maxPool2D(k).y()}, {dims: maxPool2D(k).x()}}
}
func (k maxPool2DGrad) results() []dims { return []dims{maxPool2D(k).x()} }
func (k maxPool2DGrad) run(c *call) {
	kernel.MaxPool2DGrad(c.pool, c.out[0], c.in[0], c.in[1], k.shape)
}

type joinColumns struct{ rows, m, n int }

func (k joinColumns) operands() []operand { return []operand{floats(k.rows, k.m), floats(k.rows, k.n)} }
func (k joinColumns) results() []dims     { return []dims{dimsOf(k.rows, k.m+k.n)} }
func (k joinColumns) run(c *call) {
	kernel.JoinColumns(c.pool, c.out[0], c.in[0], c.in[1], k.rows, k.m, k.n)
}
func (k joinColumns) wrt() []bool { return []bool{true, true} }
func (k joinColumns) diff(_ gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	return parts(apply(splitColumns(k), dy))
}

// splitColumns gives the first m and the other n columns.
type splitColumns struct{ rows, m, n int }

func (k splitColumns) operands() []operand { return []operand{floats(k.rows, k.m+k.n)} }
func (k splitColumns) results() []dims     { return []dims{dimsOf(k.rows, k.m), dimsOf(k.rows, k.n)} }
func (k splitColumns) run(c *call) {
	kernel.SplitColumns(c.pool, c.out[0], c.out[1], c.in[0], k.rows, k.m, k.n)
}

type unitRows struct {
	rows, cols int
	eps        float32
}

func (k unitRows) operands() []operand { return []operand{floats(k.rows, k.cols)} }
func (k unitRows) results() []dims     { return []dims{dimsOf(k.rows, k.cols)} }
func (k unitRows) run(c *call) {
	kernel.UnitRows(c.pool, c.out[0], c.in[0], k.rows, k.cols, k.eps)
}
func (k unitRows) inPlace() []int { return []int{0} }
func (k unitRows) wrt() []bool    { return []bool{true} }
func (k unitRows) diff(in gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	return one(apply(unitRowsGrad(k), dy, in[0]))
}

// unitRowsGrad gives dx from dy and x.
type unitRowsGrad struct {
	rows, cols int
	eps        float32
}

func (k unitRowsGrad) operands() []operand {
	return []operand{floats(k.rows, k.cols), floats(k.rows, k.cols)}
}
func (k unitRowsGrad) results() []dims { return []dims{dimsOf(k.rows, k.cols)} }
func (k unitRowsGrad) run(c *call) {
	kernel.UnitRowsGrad(c.pool, c.out[0], c.in[0], c.in[1], k.rows, k.cols, k.eps)
}
func (k unitRowsGrad) inPlace() []int { return []int{0, 1} }

type squaredDistance struct{ batch, tokens, dim int }

func (k squaredDistance) operands() []operand {
	rows := k.batch * k.tokens
	return []operand{floats(rows, k.dim), floats(rows, k.dim), floats(k.dim)}
}
func (k squaredDistance) results() []dims { return []dims{dimsOf(k.batch)} }
func (k squaredDistance) run(c *call) {
	kernel.SquaredDistance(c.pool, c.out[0], c.in[0], c.in[1], c.in[2], k.batch, k.tokens, k.dim)
}
func (k squaredDistance) wrt() []bool { return []bool{true, true, true} }
func (k squaredDistance) diff(in gorgonia.Nodes, _, g *Node) (gorgonia.Nodes, error) {
	grads, err := parts(apply(squaredDistanceGrad(k), g, in[0], in[1], in[2]))
	if err != nil {
		return nil, err
	}
	dy, err := apply(scale{dimsOf(k.batch*k.tokens, k.dim), -1}, grads[0])
	return gorgonia.Nodes{grads[0], dy, grads[1]}, err
}

// squaredDistanceGrad gives dx and dw from the gradient of d, x, y and w.
type squaredDistanceGrad struct{ batch, tokens, dim int }

func (k squaredDistanceGrad) operands() []operand {
	return append([]operand{floats(k.batch)}, squaredDistance(k).operands()...)
}
func (k squaredDistanceGrad) results() []dims {
	return []dims{dimsOf(k.batch*k.tokens, k.dim), dimsOf(k.dim)}
}
func (k squaredDistanceGrad) run(c *call) {
	kernel.SquaredDistanceGrad(c.pool, c.out[0], c.out[1], c.in[0], c.in[1], c.in[2], c.in[3], k.batch, k.tokens, k.dim)
}
func (k squaredDistanceGrad) inPlace() []int { return []int{1, 2} }
