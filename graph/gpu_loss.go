//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

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
	q.packs("sigmoid_loss_grad", k.rows*k.cols, q.args(c.out[0], c.in[0], c.in[1], c.in[2]).Int64(int64(k.rows)).Int32(k.cols))
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
