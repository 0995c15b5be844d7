package graph

import (
	"gorgonia.org/gorgonia"

	"relsim/kernel"
)

// LayerNorm normalises the rows of x (R, D) to mean zero and variance one, and
// scales and shifts them by gain (D) and bias (D); see [kernel.LayerNorm].
func (b *Builder) LayerNorm(x, gain, bias *Node, eps float64) *Node {
	if !b.ready("layerNorm", []int{2, 1, 1}, x, gain, bias) {
		return nil
	}
	if !(eps >= 0) {
		return b.fail("graph: layerNorm[%v]: eps %v is negative", operandOf(x), eps)
	}
	return b.add(layerNorm{x.Shape()[0], x.Shape()[1], float32(eps)}, x, gain, bias)
}

// L2Normalize scales the rows of x (R, D) to length one: x / max(‖x‖, eps).
func (b *Builder) L2Normalize(x *Node, eps float64) *Node {
	if !b.ready("l2Normalize", []int{2}, x) {
		return nil
	}
	if !(eps >= 0) {
		return b.fail("graph: l2Normalize[%v]: eps %v is negative", operandOf(x), eps)
	}
	return b.add(l2Normalize{x.Shape()[0], x.Shape()[1], float32(eps)}, x)
}

type layerNorm struct {
	rows, cols int
	eps        float32
}

func (k layerNorm) operands() []operand {
	return []operand{floats(k.rows, k.cols), floats(k.cols), floats(k.cols)}
}
func (k layerNorm) results() []dims { return []dims{dimsOf(k.rows, k.cols)} }
func (k layerNorm) run(c *call) {
	kernel.LayerNorm(c.pool, c.out[0], c.in[0], c.in[1], c.in[2], k.rows, k.cols, k.eps)
}
func (k layerNorm) inPlace() []int { return []int{0} }
func (k layerNorm) wrt() []bool    { return []bool{true, true, true} }
func (k layerNorm) diff(in gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	return parts(apply(layerNormGrad(k), dy, in[0], in[1]))
}

// layerNormGrad gives dx, dgain and dbias from dy, x and gain.
type layerNormGrad struct {
	rows, cols int
	eps        float32
}

func (k layerNormGrad) operands() []operand {
	return []operand{floats(k.rows, k.cols), floats(k.rows, k.cols), floats(k.cols)}
}
func (k layerNormGrad) results() []dims {
	return []dims{dimsOf(k.rows, k.cols), dimsOf(k.cols), dimsOf(k.cols)}
}
func (k layerNormGrad) run(c *call) {
	kernel.LayerNormGrad(c.pool, c.out[0], c.out[1], c.out[2], c.in[0], c.in[1], c.in[2], k.rows, k.cols, k.eps)
}
func (k layerNormGrad) inPlace() []int { return []int{0, 1} }

// layerNormGradX is the dx of layerNormGrad alone.
type layerNormGradX struct {
	rows, cols int
	eps        float32
}

func (k layerNormGradX) operands() []operand { return layerNormGrad(k).operands() }
func (k layerNormGradX) results() []dims     { return []dims{dimsOf(k.rows, k.cols)} }
func (k layerNormGradX) run(c *call) {
	kernel.LayerNormGrad(c.pool, c.out[0], nil, nil, c.in[0], c.in[1], c.in[2], k.rows, k.cols, k.eps)
}
func (k layerNormGradX) inPlace() []int { return []int{0, 1} }

type l2Normalize struct {
	rows, cols int
	eps        float32
}

func (k l2Normalize) operands() []operand { return []operand{floats(k.rows, k.cols)} }
func (k l2Normalize) results() []dims     { return []dims{dimsOf(k.rows, k.cols)} }
func (k l2Normalize) run(c *call) {
	kernel.L2Normalize(c.pool, c.out[0], c.in[0], k.rows, k.cols, k.eps)
}
func (k l2Normalize) inPlace() []int { return []int{0} }
func (k l2Normalize) wrt() []bool    { return []bool{true} }
func (k l2Normalize) diff(in gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	return one(apply(l2NormalizeGrad(k), dy, in[0]))
}

// l2NormalizeGrad gives dx from dy and x.
type l2NormalizeGrad struct {
	rows, cols int
	eps        float32
}

func (k l2NormalizeGrad) operands() []operand {
	return []operand{floats(k.rows, k.cols), floats(k.rows, k.cols)}
}
func (k l2NormalizeGrad) results() []dims { return []dims{dimsOf(k.rows, k.cols)} }
func (k l2NormalizeGrad) run(c *call) {
	kernel.L2NormalizeGrad(c.pool, c.out[0], c.in[0], c.in[1], k.rows, k.cols, k.eps)
}
func (k l2NormalizeGrad) inPlace() []int { return []int{0, 1} }
