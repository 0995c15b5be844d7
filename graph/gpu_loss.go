//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"relsim/cuda"
	"relsim/kernel"
)

func (k crossEntropy) enqueue(q *gpuQueue, c *gpuCall) {
	counts := q.temporary(k.rows)
	q.rows("cross_entropy", k.rows, k.cols, q.args(c.out[1], counts, c.in[0], c.in[1]).Int32(k.cols))
	q.one("mean_counted", q.args(c.out[0], c.out[1], counts).Int32(k.rows))
}

func (k crossEntropyGrad) enqueue(q *gpuQueue, c *gpuCall) {
	counts, number := q.temporary(k.rows), q.temporary(1)
	q.rows("count_rows", k.rows, k.cols, q.args(counts, c.in[1]).Int32(k.cols))
	q.one("sum_all", q.args(number, counts).Float32(1).Int64(int64(k.rows)))
	q.rows("cross_entropy_grad", k.rows, k.cols, q.args(c.out[0], c.in[0], c.in[1], c.in[2], number).Int32(k.cols))
}

func (k sigmoidLoss) enqueue(q *gpuQueue, c *gpuCall) {
	q.rows("sigmoid_loss", k.rows, k.cols, q.args(c.out[1], c.in[0], c.in[1]).Int32(k.cols))
	q.one("mean_counted", q.args(c.out[0], c.out[1], 0).Int32(k.rows))
}

func (k sigmoidLossGrad) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("sigmoid_loss_grad", k.rows*k.cols, q.args(c.out[0], c.in[0], c.in[1], c.in[2]).Int64(int64(k.rows)).Int32(k.cols))
}

func (k squaredDistance) enqueue(q *gpuQueue, c *gpuCall) {
	q.rows("squared_distance", k.batch, k.tokens*k.dim, q.args(c.out[0], c.in[0], c.in[1], c.in[2]).Int32(k.tokens).Int32(k.dim))
}

func (k squaredDistanceGrad) enqueue(q *gpuQueue, c *gpuCall) {
	// dw first: dx may take the memory of x or y.
	q.columns("squared_distance_grad_w", k.dim, q.args(c.out[1], c.in[0], c.in[1], c.in[2]).Int64(int64(k.batch)).Int32(k.tokens).Int32(k.dim))
	q.each("squared_distance_grad_x", k.batch*k.tokens*k.dim,
		q.args(c.out[0], c.in[0], c.in[1], c.in[2], c.in[3]).Int64(int64(k.batch)).Int32(k.tokens).Int32(k.dim))
}

// contrastThreads is the block of the kernels of the contrastive loss.
const contrastThreads = 256

// learned returns where the scale's logarithm and the bias are, 0 where they are constants.
func (k contrast) learned(c *gpuCall) (logScale, bias cuda.Pointer) {
	next := 3
	if k.learnScale {
		logScale = c.in[next]
		next++
	}
	if k.learnBias {
		bias = c.in[next]
	}
	return logScale, bias
}

func (k contrast) enqueue(q *gpuQueue, c *gpuCall) {
	n := k.shape.Rows
	logScale, bias := k.learned(c)
	pairs := 0
	var stats cuda.Pointer
	if k.shape.Kind == kernel.ContrastPairs {
		pairs = 1
	} else {
		stats = c.out[2]
	}
	loss, hits := q.temporary(2*n), q.temporary(n)
	run := func(stats, loss, hits, x, other cuda.Pointer) {
		q.launch("contrast", cuda.Dim{X: n}, cuda.Dim{X: contrastThreads}, 0,
			q.args(stats, loss, hits, x, other, c.in[2], logScale, bias).Float32(k.scale).Float32(k.bias).
				Int32(n).Int32(k.shape.Dim).Int32(int(k.shape.Equal)).Int32(pairs))
	}
	run(stats, loss, hits, c.in[0], c.in[1])
	rows := n
	if k.shape.Kind == kernel.ContrastBoth {
		run(stats.Add(8*n), loss.Add(4*n), 0, c.in[1], c.in[0])
		rows = 2 * n
	}
	q.one("sum_all", q.args(c.out[0], loss).Float32(1/float32(rows)).Int64(int64(rows)))
	q.one("sum_all", q.args(c.out[1], hits).Float32(1).Int64(int64(n)))
}

func (k contrastGrad) enqueue(q *gpuQueue, c *gpuCall) {
	n := k.shape.Rows
	logScale, bias := contrast(k).learned(c)
	upstream := c.in[len(c.in)-1]
	var rowStats, colStats cuda.Pointer
	share := float32(1)
	if k.shape.Kind != kernel.ContrastPairs {
		rowStats = c.in[len(c.in)-2]
	}
	if k.shape.Kind == kernel.ContrastBoth {
		colStats, share = rowStats.Add(8*n), 0.5
	}
	sums := q.temporary(2 * n)
	run := func(dx, sums, x, other, rowStats, colStats cuda.Pointer) {
		q.launch("contrast_grad", cuda.Dim{X: n}, cuda.Dim{X: contrastThreads}, 4*k.shape.Dim,
			q.args(dx, sums, x, other, c.in[2], rowStats, colStats, upstream, logScale, bias).Float32(k.scale).Float32(k.bias).Float32(share).
				Int32(n).Int32(k.shape.Dim).Int32(int(k.shape.Equal)))
	}
	run(c.out[0], sums, c.in[0], c.in[1], rowStats, colStats)
	run(c.out[1], 0, c.in[1], c.in[0], colStats, rowStats)
	next := 2
	if k.learnScale {
		q.one("sum_all", q.args(c.out[next], sums).Float32(1).Int64(int64(n)))
		next++
	}
	if k.learnBias {
		q.one("sum_all", q.args(c.out[next], sums.Add(4*n)).Float32(1).Int64(int64(n)))
	}
}
