//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"relsim/cuda"
)

// rowPacks launches a kernel with a block for each row of cols columns, as far as blocks go, and eight columns in a thread.
func (q *gpuQueue) rowPacks(name string, blocks, cols int, a cuda.Args) {
	q.launch(name, cuda.Dim{X: blocks}, cuda.Dim{X: packThreads(cols)}, 0, a)
}

// packThreads is a block for a row.
func packThreads(cols int) int {
	if cols%8 == 0 {
		cols /= 8
	}
	return min((cols+31)/32*32, 1024)
}

func (k layerNorm) enqueue(q *gpuQueue, c *gpuCall) {
	q.rowPacks("layer_norm", k.rows, k.cols,
		q.args(c.out[0], c.in[0], c.in[1], c.in[2]).Int32(typeMask(c.outType[0], c.inType[0])).Int32(k.cols).Float32(k.eps))
}
func (k layerNorm) halves() (in, out []bool) { return flags(true), flags(true) }

// layerNormThreads is how many threads go over the rows of a gradient: all that fit on a device of 80 multiprocessors, 800
// each. More would leave more sums to add up. It is a variable for tests.
var layerNormThreads = 64000

// grad launches the gradient of x with what is added to it, and sums those of gain and bias if they are wanted.
func (k layerNormGrad) grad(q *gpuQueue, c *gpuCall, more cuda.Pointer, params bool) {
	blocks := min(k.rows, max(layerNormThreads/packThreads(k.cols), 1))
	var sums cuda.Pointer
	if params {
		sums = q.temporary(2 * blocks * k.cols)
	}
	q.rowPacks("layer_norm_grad", blocks, k.cols,
		q.args(c.out[0], sums, c.in[0], c.in[1], c.in[2], more).Int32(typeMask(c.outType[0], c.inType[0], c.inType[1])).
			Int64(int64(k.rows)).Int32(k.cols).Float32(k.eps))
	if params {
		q.columnSum(c.out[1], sums, gpuFloat32, blocks, k.cols, 2*k.cols)
		q.columnSum(c.out[2], sums.Add(4*k.cols), gpuFloat32, blocks, k.cols, 2*k.cols)
	}
}

func (k layerNormGrad) enqueue(q *gpuQueue, c *gpuCall)  { k.grad(q, c, 0, true) }
func (k layerNormGradX) enqueue(q *gpuQueue, c *gpuCall) { layerNormGrad(k).grad(q, c, 0, false) }

func (k layerNormGradAdd) enqueue(q *gpuQueue, c *gpuCall) { k.grad(q, c, c.in[3], true) }
func (k layerNormGradXAdd) enqueue(q *gpuQueue, c *gpuCall) {
	layerNormGrad(k.layerNormGradX).grad(q, c, c.in[3], false)
}

// halves: the gradient of the residual stream is float32.
func (k layerNormGradAdd) halves() (in, out []bool)  { return flags(true, true), nil }
func (k layerNormGradXAdd) halves() (in, out []bool) { return flags(true, true), nil }

func (k layerNormGrad) halves() (in, out []bool)  { return flags(true, true), flags(true) }
func (k layerNormGradX) halves() (in, out []bool) { return flags(true, true), flags(true) }

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
