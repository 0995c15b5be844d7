//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"relsim/cuda"
)

func (k layerNorm) enqueue(q *gpuQueue, c *gpuCall) {
	q.rows("layer_norm", k.rows, k.cols, q.args(c.out[0], c.in[0], c.in[1], c.in[2]).Int32(k.cols).Float32(k.eps))
}

// moments makes those of the rows of x.
func (k layerNormGradX) moments(q *gpuQueue, x cuda.Pointer) cuda.Pointer {
	m := q.temporary(3 * k.rows)
	q.rows("layer_norm_moments", k.rows, k.cols, q.args(m, x).Int32(k.cols).Float32(k.eps))
	return m
}

func (k layerNormGradX) gradX(q *gpuQueue, c *gpuCall, moments cuda.Pointer) {
	q.rows("layer_norm_grad_x", k.rows, k.cols, q.args(c.out[0], c.in[0], c.in[1], c.in[2], moments).Int32(k.cols))
}

func (k layerNormGradX) enqueue(q *gpuQueue, c *gpuCall) { k.gradX(q, c, k.moments(q, c.in[1])) }

func (k layerNormGrad) enqueue(q *gpuQueue, c *gpuCall) {
	x := layerNormGradX(k)
	moments := x.moments(q, c.in[1])
	// The gain's gradient first: dx may take the memory of dy or x.
	q.columns("layer_norm_grad_gain", k.cols, q.args(c.out[1], c.out[2], c.in[0], c.in[1], moments).Int64(int64(k.rows)).Int32(k.cols))
	x.gradX(q, c, moments)
}

func (k l2Normalize) enqueue(q *gpuQueue, c *gpuCall) {
	q.rows("l2_normalize", k.rows, k.cols, q.args(c.out[0], c.in[0]).Int32(k.cols).Float32(k.eps))
}

func (k l2NormalizeGrad) enqueue(q *gpuQueue, c *gpuCall) {
	q.rows("l2_normalize_grad", k.rows, k.cols, q.args(c.out[0], c.in[0], c.in[1]).Int32(k.cols).Float32(k.eps))
}

func (k unitRows) enqueue(q *gpuQueue, c *gpuCall) {
	q.rows("unit_rows", k.rows, k.cols, q.args(c.out[0], c.in[0]).Int32(k.cols).Float32(k.eps))
}

func (k unitRowsGrad) enqueue(q *gpuQueue, c *gpuCall) {
	q.rows("unit_rows_grad", k.rows, k.cols, q.args(c.out[0], c.in[0], c.in[1]).Int32(k.cols).Float32(k.eps))
}
