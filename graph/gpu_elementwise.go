//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"relsim/cuda"
	"relsim/kernel"
)

func (k add) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("add", k.dims.size(), q.args(c.out[0], c.in[0], c.in[1]).Int64(int64(k.dims.size())))
}

func (k scale) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("scale", k.dims.size(), q.args(c.out[0], c.in[0]).Float32(k.by).Int64(int64(k.dims.size())))
}

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
	n := resultDims(k).size()
	q.each("copy", n, q.args(c.out[0], c.in[0].Add(4*k.offset)).Int64(int64(n)))
}

func (k relu) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("relu", k.dims.size(), q.args(c.out[0], c.in[0]).Int64(int64(k.dims.size())))
}

func (k reluGrad) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("relu_grad", k.dims.size(), q.args(c.out[0], c.in[0], c.in[1]).Int64(int64(k.dims.size())))
}

func (k gelu) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("gelu", k.dims.size(), q.args(c.out[0], c.in[0]).Int32(int(k.form)).Int64(int64(k.dims.size())))
}

func (k geluGrad) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("gelu_grad", k.dims.size(), q.args(c.out[0], c.in[0], c.in[1]).Int32(int(k.form)).Int64(int64(k.dims.size())))
}

func (k swiGLU) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("swiglu", k.rows*k.cols, q.args(c.out[0], c.in[0]).Int64(int64(k.rows)).Int32(k.cols))
}

func (k swiGLUGrad) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("swiglu_grad", k.rows*k.cols, q.args(c.out[0], c.in[0], c.in[1]).Int64(int64(k.rows)).Int32(k.cols))
}

func (k dropout) enqueue(q *gpuQueue, c *gpuCall) {
	factor, threshold, _ := kernel.DropoutMask(k.rate, 0, 0) // the kernel makes the key
	q.each("dropout", k.dims.size(), q.args(c.out[0], c.in[0], c.seed).Int64(int64(k.index)).Int32(int(int32(threshold))).Float32(factor).Int64(int64(k.dims.size())))
}

func (k columnScale) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("column_scale", k.rows*k.cols, q.args(c.out[0], c.in[0], c.in[1]).Int64(int64(k.rows)).Int32(k.cols))
}

func (k columnScaleGrad) enqueue(q *gpuQueue, c *gpuCall) {
	// dgain first: dx may take the memory of dy.
	q.columns("col_dot", k.cols, q.args(c.out[1], c.in[0], c.in[1]).Int64(int64(k.rows)).Int64(int64(k.cols)))
	q.each("column_scale", k.rows*k.cols, q.args(c.out[0], c.in[0], c.in[2]).Int64(int64(k.rows)).Int32(k.cols))
}

func (k addColumns) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("add_columns", k.rows*k.cols, q.args(c.out[0], c.in[0], c.in[1]).Int64(int64(k.rows)).Int32(k.cols).Int32(k.at).Int32(k.width))
}

// someColumns launches get_columns or put_columns.
func someColumns(q *gpuQueue, name string, y, x cuda.Pointer, rows, cols, at, width int) {
	q.each(name, rows*width, q.args(y, x).Int64(int64(rows)).Int32(cols).Int32(at).Int32(width))
}

func (k columns) enqueue(q *gpuQueue, c *gpuCall) {
	someColumns(q, "get_columns", c.out[0], c.in[0], k.rows, k.cols, k.at, k.width)
}

func (k joinColumns) enqueue(q *gpuQueue, c *gpuCall) {
	someColumns(q, "put_columns", c.out[0], c.in[0], k.rows, k.m+k.n, 0, k.m)
	someColumns(q, "put_columns", c.out[0], c.in[1], k.rows, k.m+k.n, k.m, k.n)
}

func (k splitColumns) enqueue(q *gpuQueue, c *gpuCall) {
	someColumns(q, "get_columns", c.out[0], c.in[0], k.rows, k.m+k.n, 0, k.m)
	someColumns(q, "get_columns", c.out[1], c.in[0], k.rows, k.m+k.n, k.m, k.n)
}

func (k transpose) enqueue(q *gpuQueue, c *gpuCall) {
	q.launch("transpose", cuda.Dim{X: (k.cols + 31) / 32, Y: (k.rows + 31) / 32}, cuda.Dim{X: 32, Y: 8}, 0,
		q.args(c.out[0], c.in[0]).Int32(k.rows).Int32(k.cols))
}
