//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"relsim/cuda"
)

func (k embedding) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("embedding", k.n*k.dim, q.args(c.out[0], c.in[0], c.in[1]).Int64(int64(k.n)).Int32(k.dim))
}

func (k embeddingGrad) enqueue(q *gpuQueue, c *gpuCall) {
	q.clear(c.out[0], k.rows*k.dim)
	q.rows("embedding_grad", k.n, k.dim, q.args(c.out[0], c.in[0], c.in[1], c.order).Int32(k.n).Int32(k.dim))
}

func (k addPosition) enqueue(q *gpuQueue, c *gpuCall) {
	n := k.batch * k.tokens * k.dim
	q.each("add_rows", n, q.args(c.out[0], c.in[0], c.in[1]).Int64(int64(n)).Int64(int64(k.tokens*k.dim)))
}

func (k sumSequences) enqueue(q *gpuQueue, c *gpuCall) {
	n := k.tokens * k.dim
	q.columnSum(c.out[0], c.in[0], c.inType[0], k.batch, n, n)
}

func (k prependToken) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("prepend_token", k.batch*(k.tokens+1)*k.dim, q.args(c.out[0], c.in[0], c.in[1]).Int64(int64(k.batch)).Int32(k.tokens).Int32(k.dim))
}

func (k prependTokenGrad) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("drop_token", k.batch*k.tokens*k.dim, q.args(c.out[0], c.in[0]).Int64(int64(k.batch)).Int32(k.tokens).Int32(k.dim))
	q.columnSum(c.out[1], c.in[0], c.inType[0], k.batch, k.dim, (k.tokens+1)*k.dim)
}

// pooled launches a kernel with a thread for each element of n, and the shape of the sequences.
func pooled(q *gpuQueue, name string, n, batch, tokens, dim int, pointers ...cuda.Pointer) {
	q.each(name, n, q.args(pointers...).Int64(int64(batch)).Int32(tokens).Int32(dim))
}

func (k poolFirst) enqueue(q *gpuQueue, c *gpuCall) {
	pooled(q, "pool_at", k.batch*k.dim, k.batch, k.tokens, k.dim, c.out[0], c.in[0], 0)
}
func (k poolFirstGrad) enqueue(q *gpuQueue, c *gpuCall) {
	pooled(q, "pool_at_grad", k.batch*k.tokens*k.dim, k.batch, k.tokens, k.dim, c.out[0], c.in[0], 0)
}
func (k poolAt) enqueue(q *gpuQueue, c *gpuCall) {
	pooled(q, "pool_at", k.batch*k.dim, k.batch, k.tokens, k.dim, c.out[0], c.in[0], c.in[1])
}
func (k poolAtGrad) enqueue(q *gpuQueue, c *gpuCall) {
	pooled(q, "pool_at_grad", k.batch*k.tokens*k.dim, k.batch, k.tokens, k.dim, c.out[0], c.in[0], c.in[1])
}
func (k poolMean) enqueue(q *gpuQueue, c *gpuCall) {
	pooled(q, "pool_mean", k.batch*k.dim, k.batch, k.tokens, k.dim, c.out[0], c.in[0])
}
func (k poolMeanGrad) enqueue(q *gpuQueue, c *gpuCall) {
	pooled(q, "pool_mean_grad", k.batch*k.tokens*k.dim, k.batch, k.tokens, k.dim, c.out[0], c.in[0])
}
func (k meanWeights) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("mean_weights", k.batch, q.args(c.out[0], c.in[0]).Int64(int64(k.batch)).Int32(k.tokens))
}
func (k poolWeighted) enqueue(q *gpuQueue, c *gpuCall) {
	pooled(q, "pool_weighted", k.batch*k.dim, k.batch, k.tokens, k.dim, c.out[0], c.in[0], c.in[1])
}
func (k poolWeightedGrad) enqueue(q *gpuQueue, c *gpuCall) {
	pooled(q, "pool_weighted_grad", k.batch*k.tokens*k.dim, k.batch, k.tokens, k.dim, c.out[0], c.in[0], c.in[1])
}
func (k poolMax) enqueue(q *gpuQueue, c *gpuCall) {
	pooled(q, "pool_max", k.batch*k.dim, k.batch, k.tokens, k.dim, c.out[0], c.in[0], c.in[1])
}
func (k poolMaxGrad) enqueue(q *gpuQueue, c *gpuCall) {
	pooled(q, "pool_max_grad", k.batch*k.dim, k.batch, k.tokens, k.dim, c.out[0], c.in[0], c.in[1], c.in[2])
}
