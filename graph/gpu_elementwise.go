//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"relsim/cuda"
	"relsim/kernel"
)

// typed begins the parameters of a kernel of an op: the results and operands given, and their types.
func (q *gpuQueue) typed(c *gpuCall, out int, in ...int) cuda.Args {
	a, mask := q.args(c.out[out]), typeMask(c.outType[out])
	for i, j := range in {
		a, mask = a.Pointer(c.in[j]), mask|typeMask(c.inType[j])<<(i+1)
	}
	return a.Int32(mask)
}

func (k add) enqueue(q *gpuQueue, c *gpuCall) {
	q.packs("add", k.dims.size(), q.typed(c, 0, 0, 1).Int64(int64(k.dims.size())))
}

// halves: sums of gradients and the residual stream are float32.
func (k add) halves() (in, out []bool) { return flags(true, true), nil }

func (k scale) enqueue(q *gpuQueue, c *gpuCall) {
	q.packs("scale", k.dims.size(), q.typed(c, 0, 0).Float32(k.by).Int64(int64(k.dims.size())))
}
func (k scale) halves() (in, out []bool) { return flags(true), flags(true) }

// byScalar launches a kernel that takes x and a scalar in memory.
func byScalar(q *gpuQueue, name string, c *gpuCall, n int) {
	q.each(name, n, q.args(c.out[0], c.in[0], c.in[1]).Int64(int64(n)))
}

func (k scaleExp) enqueue(q *gpuQueue, c *gpuCall)  { byScalar(q, "scale_exp", c, k.dims.size()) }
func (k addScalar) enqueue(q *gpuQueue, c *gpuCall) { byScalar(q, "add_scalar", c, k.dims.size()) }
func (k times) enqueue(q *gpuQueue, c *gpuCall)     { byScalar(q, "times", c, k.dims.size()) }

func (k sum) enqueue(q *gpuQueue, c *gpuCall) {
	q.one("sum_all", q.args(c.out[0], c.in[0]).Float32(1).Int64(int64(k.dims.size())))
}

func (k dot) enqueue(q *gpuQueue, c *gpuCall) {
	q.one("dot", q.args(c.out[0], c.in[0], c.in[1]).Int64(int64(k.dims.size())))
}

func (k part) enqueue(q *gpuQueue, c *gpuCall) {
	q.copy(c.out[0], c.in[0].Add(4*k.offset), resultDims(k).size())
}

func (k relu) enqueue(q *gpuQueue, c *gpuCall) {
	q.packs("relu", k.dims.size(), q.typed(c, 0, 0).Int64(int64(k.dims.size())))
}
func (k relu) halves() (in, out []bool) { return flags(true), flags(true) }

func (k reluGrad) enqueue(q *gpuQueue, c *gpuCall) {
	q.packs("relu_grad", k.dims.size(), q.typed(c, 0, 0, 1).Int64(int64(k.dims.size())))
}
func (k reluGrad) halves() (in, out []bool) { return flags(true, true), flags(true) }

func (k gelu) enqueue(q *gpuQueue, c *gpuCall) {
	q.packs("gelu", k.dims.size(), q.typed(c, 0, 0).Int32(int(k.form)).Int64(int64(k.dims.size())))
}
func (k gelu) halves() (in, out []bool) { return flags(true), flags(true) }

func (k geluGrad) enqueue(q *gpuQueue, c *gpuCall) {
	q.packs("gelu_grad", k.dims.size(), q.typed(c, 0, 0, 1).Int32(int(k.form)).Int64(int64(k.dims.size())))
}
func (k geluGrad) halves() (in, out []bool) { return flags(true, true), flags(true) }

func (k swiGLU) enqueue(q *gpuQueue, c *gpuCall) {
	q.packs("swiglu", k.rows*k.cols, q.typed(c, 0, 0).Int64(int64(k.rows)).Int32(k.cols))
}
func (k swiGLU) halves() (in, out []bool) { return flags(true), flags(true) }

func (k swiGLUGrad) enqueue(q *gpuQueue, c *gpuCall) {
	q.packs("swiglu_grad", k.rows*k.cols, q.typed(c, 0, 0, 1).Int64(int64(k.rows)).Int32(k.cols))
}
func (k swiGLUGrad) halves() (in, out []bool) { return flags(true, true), flags(true) }

func (k dropout) enqueue(q *gpuQueue, c *gpuCall) {
	factor, threshold, _ := kernel.DropoutMask(k.rate, 0, 0) // the kernel makes the key
	n := k.dims.size()
	q.packs("dropout", n, q.args(c.out[0], c.in[0], c.seed).Int32(typeMask(c.outType[0], c.inType[0])).
		Int64(int64(k.index)).Int32(int(int32(threshold))).Float32(factor).Int64(int64(n)))
}
func (k dropout) halves() (in, out []bool) { return flags(true), flags(true) }

// columnScaled launches y = x·gain, for results and operands 0.
func columnScaled(q *gpuQueue, c *gpuCall, gain cuda.Pointer, rows, cols int) {
	q.packs("column_scale", rows*cols,
		q.args(c.out[0], c.in[0], gain).Int32(typeMask(c.outType[0], c.inType[0])).Int64(int64(rows)).Int32(cols))
}

func (k columnScale) enqueue(q *gpuQueue, c *gpuCall) { columnScaled(q, c, c.in[1], k.rows, k.cols) }
func (k columnScale) halves() (in, out []bool)        { return flags(true), flags(true) }

func (k columnScaleGrad) enqueue(q *gpuQueue, c *gpuCall) {
	// dgain first: dx may take the memory of dy.
	q.columnSums("col_dot", c.out[1], k.rows, k.cols, func(y cuda.Pointer) cuda.Args {
		return q.args(y, c.in[0], c.in[1]).Int32(typeMask(c.inType[0], c.inType[1])).Int64(int64(k.rows)).Int64(int64(k.cols))
	})
	columnScaled(q, c, c.in[2], k.rows, k.cols)
}
func (k columnScaleGrad) halves() (in, out []bool) { return flags(true, true), flags(true) }

func (k addColumns) enqueue(q *gpuQueue, c *gpuCall) {
	q.packs("add_columns", k.rows*k.cols, q.typed(c, 0, 0, 1).Int64(int64(k.rows)).Int32(k.cols).Int32(k.at).Int32(k.width))
}
func (k addColumns) halves() (in, out []bool) { return flags(true, true), flags(true) }

// someColumns launches get_columns or put_columns.
func someColumns(q *gpuQueue, name string, c *gpuCall, out, in, rows, cols, at, width int) {
	q.packs(name, rows*width, q.typed(c, out, in).Int64(int64(rows)).Int32(cols).Int32(at).Int32(width))
}

func (k columns) enqueue(q *gpuQueue, c *gpuCall) {
	someColumns(q, "get_columns", c, 0, 0, k.rows, k.cols, k.at, k.width)
}
func (k columns) halves() (in, out []bool) { return flags(true), flags(true) }

func (k joinColumns) enqueue(q *gpuQueue, c *gpuCall) {
	someColumns(q, "put_columns", c, 0, 0, k.rows, k.m+k.n, 0, k.m)
	someColumns(q, "put_columns", c, 0, 1, k.rows, k.m+k.n, k.m, k.n)
}
func (k joinColumns) halves() (in, out []bool) { return flags(true, true), flags(true) }

func (k splitColumns) enqueue(q *gpuQueue, c *gpuCall) {
	someColumns(q, "get_columns", c, 0, 0, k.rows, k.m+k.n, 0, k.m)
	someColumns(q, "get_columns", c, 1, 0, k.rows, k.m+k.n, k.m, k.n)
}
func (k splitColumns) halves() (in, out []bool) { return flags(true), flags(true, true) }

func (k transpose) enqueue(q *gpuQueue, c *gpuCall) {
	q.launch("transpose", cuda.Dim{X: (k.cols + 31) / 32, Y: (k.rows + 31) / 32}, cuda.Dim{X: 32, Y: 8}, 0,
		q.typed(c, 0, 0).Int32(k.rows).Int32(k.cols))
}
func (k transpose) halves() (in, out []bool) { return flags(true), flags(true) }
