//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"relsim/cuda"
	"relsim/kernel"
)

// convolution is one as products of matrices, with a patch of the input in each row of one of them.
type convolution struct {
	kernel.ConvShape
	q *gpuQueue
	t gpuType // of the operands of products
}

func (q *gpuQueue) convolution(s kernel.ConvShape) convolution {
	t := gpuFloat32
	if q.gpu.config.Precision == kernel.BF16 {
		t = gpuBF16
	}
	return convolution{s, q, t}
}

// patch is the number of values that each value sees, rows that of values of a picture, but for channels.
func (v convolution) patch() int { return v.InC * v.KH * v.KW }
func (v convolution) rows() int  { return v.OutH() * v.OutW() }

// plain says that the input is the matrix of patches.
func (v convolution) plain() bool {
	return v.KH*v.KW == 1 && v.StrideH*v.StrideW == 1 && v.PadH+v.PadW == 0 && (!v.ChannelsFirst || v.InH*v.InW == 1)
}

// turned says that patches have their channels last, and kernels have them first.
func (v convolution) turned() bool { return !v.ChannelsFirst && v.KH*v.KW > 1 }

// pictures calls f with a few pictures at a time, so that their patches take some memory and no more: with the first, and with how
// many. Scratch memory of one call is free for the next.
func (v convolution) pictures(f func(first, n int)) {
	few := v.Batch
	if !v.plain() {
		few = min(few, max(1, v.q.gpu.patchBytes/(v.rows()*v.patch()*v.t.size())))
	}
	used := v.q.used
	for first := 0; first < v.Batch; first += few {
		v.q.used = used
		f(first, min(few, v.Batch-first))
	}
}

// from returns the place of a picture's values, of which each has n.
func (p stored) from(picture, n int) stored {
	p.at = p.at.Add(picture * n * p.of.size())
	return p
}

func (v convolution) args(a cuda.Args) cuda.Args {
	first := 0
	if v.ChannelsFirst {
		first = 1
	}
	for _, n := range []int{v.InC, v.InH, v.InW, v.KH, v.KW, v.StrideH, v.StrideW, v.PadH, v.PadW, v.OutH(), v.OutW(), first} {
		a = a.Int32(n)
	}
	return a
}

// patches returns the patches (n·rows, patch) of n pictures.
func (v convolution) patches(x stored, first, n int) stored {
	x = x.from(first, v.InC*v.InH*v.InW)
	if v.plain() {
		return x
	}
	size := n * v.rows() * v.patch()
	y := stored{v.q.scratchOf(v.t, size), v.t}
	v.q.packs("patches", size, v.args(v.q.args(y.at, x.at).Int32(typesOf(y, x)).Int64(int64(n*v.rows()))))
	return y
}

// kernels returns the kernels w (OutC, InC, KH, KW) as (OutC, patch).
func (v convolution) kernels(w stored) stored {
	if !v.turned() {
		return v.q.as(w, v.t, v.OutC*v.patch())
	}
	y := stored{v.q.scratchOf(v.t, v.OutC*v.patch()), v.t}
	v.turn(y, w, v.InC, v.KH*v.KW)
	return y
}

// turn transposes a matrix (rows, cols) for each output channel.
func (v convolution) turn(y, x stored, rows, cols int) {
	n := v.OutC * rows * cols
	v.q.each("turn", n, v.q.args(y.at, x.at).Int32(typesOf(y, x)).Int64(int64(n)).Int32(rows).Int32(cols))
}

// Pictures are leaves mostly, whose patches are made in the type that is needed; so are the kernels.
func (k conv2D) halves() (in, out []bool) { return flags(true), flags(true) }

func (k conv2D) enqueue(q *gpuQueue, c *gpuCall) {
	v := q.convolution(k.shape)
	w, bias := v.kernels(c.input(1)), stored{}
	if k.bias {
		bias = c.input(2)
	}
	v.pictures(func(first, n int) {
		q.multiply(product{c: c.output(0).from(first, v.rows()*v.OutC), a: v.patches(c.input(0), first, n), b: w, bias: bias,
			m: n * v.rows(), n: v.OutC, k: v.patch(), transB: true})
	})
}

func (k conv2DGradX) halves() (in, out []bool) { return flags(true), flags(true) }

func (k conv2DGradX) enqueue(q *gpuQueue, c *gpuCall) {
	v := q.convolution(k.shape)
	w := v.kernels(c.input(1))
	v.pictures(func(first, n int) {
		dx := c.output(0).from(first, v.InC*v.InH*v.InW)
		d := dx
		if !v.plain() {
			d = stored{q.scratchOf(v.t, n*v.rows()*v.patch()), v.t}
		}
		q.multiply(product{c: d, a: c.input(0).from(first, v.rows()*v.OutC), b: w, m: n * v.rows(), n: v.patch(), k: v.OutC})
		if !v.plain() {
			size := n * v.InC * v.InH * v.InW
			q.packs("patches_grad", size, v.args(q.args(dx.at, d.at).Int32(typesOf(dx, d)).Int64(int64(size))))
		}
	})
}

func (k conv2DGradW) halves() (in, out []bool) { return flags(true, true), nil }

func (k conv2DGradW) enqueue(q *gpuQueue, c *gpuCall) {
	v := q.convolution(k.shape)
	dw := c.output(0)
	if v.turned() {
		dw = stored{q.scratchOf(gpuFloat32, v.OutC*v.patch()), gpuFloat32}
	}
	v.pictures(func(first, n int) {
		p := product{c: dw, a: c.input(0).from(first, v.rows()*v.OutC), b: v.patches(c.input(1), first, n),
			m: v.OutC, n: v.patch(), k: n * v.rows(), transA: true}
		if first > 0 {
			p.then, p.other = thenAdd, dw
		}
		q.multiply(p)
	})
	if v.turned() {
		v.turn(c.output(0), dw, v.KH*v.KW, v.InC)
	}
	if k.bias {
		q.columnSum(c.out[1], c.in[0], c.inType[0], v.Batch*v.rows(), v.OutC, v.OutC)
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
