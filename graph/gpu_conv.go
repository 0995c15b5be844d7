//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"relsim/cuda"
	"relsim/kernel"
)

func convArgs(a cuda.Args, s kernel.ConvShape) cuda.Args {
	first := 0
	if s.ChannelsFirst {
		first = 1
	}
	for _, n := range []int{s.Batch, s.InC, s.InH, s.InW, s.OutC, s.KH, s.KW, s.StrideH, s.StrideW, s.PadH, s.PadW, s.OutH(), s.OutW(), first} {
		a = a.Int32(n)
	}
	return a
}

func (k conv2D) enqueue(q *gpuQueue, c *gpuCall) {
	var bias cuda.Pointer
	if k.bias {
		bias = c.in[2]
	}
	q.each("conv2d", k.y().size(), convArgs(q.args(c.out[0], c.in[0], c.in[1], bias), k.shape))
}

func (k conv2DGradX) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("conv2d_grad_x", k.forward().x().size(), convArgs(q.args(c.out[0], c.in[0], c.in[1]), k.shape))
}

func (k conv2DGradW) enqueue(q *gpuQueue, c *gpuCall) {
	y := conv2D(k).y()
	q.rows("conv2d_grad_w", conv2D(k).w().size(), y.d[0], convArgs(q.args(c.out[0], c.in[0], c.in[1]), k.shape))
	if k.bias {
		q.columnSum(c.out[1], c.in[0], c.inType[0], y.d[0], y.d[1], y.d[1])
	}
}

func poolArgs(a cuda.Args, s kernel.PoolShape) cuda.Args {
	for _, n := range []int{s.Batch, s.InH, s.InW, s.C, s.K, s.Stride, s.OutH(), s.OutW()} {
		a = a.Int32(n)
	}
	return a
}

func (k maxPool2D) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("max_pool2d", k.y().size(), poolArgs(q.args(c.out[0], c.in[0]), k.shape))
}

func (k maxPool2DGrad) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("max_pool2d_grad", maxPool2D(k).x().size(), poolArgs(q.args(c.out[0], c.in[0], c.in[1]), k.shape))
}
