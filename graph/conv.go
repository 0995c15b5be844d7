package graph

import (
	"gorgonia.org/gorgonia"

	"relsim/kernel"
)

// Conv2D convolves x with the kernels w (OutC, InC, KH, KW) and adds bias (OutC),
// which may be nil. x is (B, InC, H, W) with c.ChannelsFirst, and otherwise
// (B, H, W, InC) or the matrix (B·H·W, InC), which is what a convolution makes:
// the result is (B·OH·OW, OutC).
func (b *Builder) Conv2D(x, w, bias *Node, c kernel.ConvShape) *Node {
	if !b.ready("conv2D", []int{-1, 4}, x, w) {
		return nil
	}
	if min(c.Batch, c.InC, c.InH, c.InW, c.OutC, c.KH, c.KW, c.StrideH, c.StrideW) < 1 || min(c.PadH, c.PadW) < 0 ||
		c.InH+2*c.PadH < c.KH || c.InW+2*c.PadW < c.KW {
		return b.fail("graph: conv2D[%v]: no such convolution: %+v", operandOf(x), c)
	}
	k := conv2D{shape: c, matrix: !c.ChannelsFirst && x.Shape().Dims() == 2, bias: bias != nil}
	if bias == nil {
		return b.add(k, x, w)
	}
	return b.add(k, x, w, bias)
}

type conv2D struct {
	shape  kernel.ConvShape
	matrix bool // x is (B·H·W, InC)
	bias   bool
}

func (k conv2D) x() dims {
	s := k.shape
	switch {
	case s.ChannelsFirst:
		return dimsOf(s.Batch, s.InC, s.InH, s.InW)
	case k.matrix:
		return dimsOf(s.Batch*s.InH*s.InW, s.InC)
	}
	return dimsOf(s.Batch, s.InH, s.InW, s.InC)
}
func (k conv2D) w() dims { return dimsOf(k.shape.OutC, k.shape.InC, k.shape.KH, k.shape.KW) }
func (k conv2D) y() dims {
	return dimsOf(k.shape.Batch*k.shape.OutH()*k.shape.OutW(), k.shape.OutC)
}

func (k conv2D) operands() []operand {
	in := []operand{{dims: k.x()}, {dims: k.w()}}
	if k.bias {
		in = append(in, floats(k.shape.OutC))
	}
	return in
}
func (k conv2D) results() []dims { return []dims{k.y()} }
func (k conv2D) run(c *call) {
	var bias []float32
	if k.bias {
		bias = c.in[2]
	}
	kernel.Conv2D(c.pool, c.out[0], c.in[0], c.in[1], bias, k.shape)
}
func (k conv2D) wrt() []bool { return []bool{true, true, true}[:len(k.operands())] }
func (k conv2D) diff(in gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	dw, err := parts(apply(conv2DGradW(k), dy, in[0]))
	if err != nil {
		return nil, err
	}
	dx, err := apply(conv2DGradX{k.shape, k.matrix}, dy, in[1])
	return append(gorgonia.Nodes{dx}, dw...), err
}

// conv2DGradX gives dx from dy and w.
type conv2DGradX struct {
	shape  kernel.ConvShape
	matrix bool
}

func (k conv2DGradX) forward() conv2D { return conv2D{shape: k.shape, matrix: k.matrix} }

func (k conv2DGradX) operands() []operand {
	return []operand{{dims: k.forward().y()}, {dims: k.forward().w()}}
}
func (k conv2DGradX) results() []dims { return []dims{k.forward().x()} }
func (k conv2DGradX) run(c *call) {
	kernel.Conv2DGradX(c.pool, c.out[0], c.in[0], c.in[1], k.shape)
}

// conv2DGradW gives dw and, with a bias, dbias from dy and x.
type conv2DGradW struct {
	shape  kernel.ConvShape
	matrix bool
	bias   bool
}

func (k conv2DGradW) operands() []operand {
	return []operand{{dims: conv2D(k).y()}, {dims: conv2D(k).x()}}
}
func (k conv2DGradW) results() []dims {
	out := []dims{conv2D(k).w()}
	if k.bias {
		out = append(out, dimsOf(k.shape.OutC))
	}
	return out
}
func (k conv2DGradW) run(c *call) {
	var dbias []float32
	if k.bias {
		dbias = c.out[1]
	}
	kernel.Conv2DGradW(c.pool, c.out[0], dbias, c.in[0], c.in[1], k.shape)
}
