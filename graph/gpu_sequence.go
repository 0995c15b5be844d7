//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"relsim/cuda"
)

func (k embedding) enqueue(q *gpuQueue, c *gpuCall) {
	q.packs("embedding", k.n*k.dim, q.args(c.out[0], c.in[0], c.in[1]).Int64(int64(k.n)).Int32(k.dim))
}

func (k embeddingGrad) enqueue(q *gpuQueue, c *gpuCall) {
	q.clear(c.out[0], k.rows*k.dim)
	q.rows("embedding_grad", k.n, k.dim, q.args(c.out[0], c.in[0], c.in[1], c.order).Int32(k.n).Int32(k.dim))
}

func (k addPosition) enqueue(q *gpuQueue, c *gpuCall) {
	n := k.batch * k.tokens * k.dim
	q.packs("add_rows", n, q.args(c.out[0], c.in[0], c.in[1]).Int64(int64(n)).Int64(int64(k.tokens*k.dim)))
}

func (k sumSequences) enqueue(q *gpuQueue, c *gpuCall) {
	n := k.tokens * k.dim
	q.columnSum(c.out[0], c.in[0], c.inType[0], k.batch, n, n)
}

// sequences launches a kernel that has eight of n elements in a thread: y from x, by more, if that is an operand.
func (c *gpuCall) sequences(q *gpuQueue, name string, n, batch, tokens, dim int, more ...cuda.Pointer) {
	a := q.args(c.out[0], c.in[0])
	for _, p := range more {
		a = a.Pointer(p)
	}
	q.packs(name, n, a.Int32(typeMask(c.outType[0], c.inType[0])).Int64(int64(batch)).Int32(tokens).Int32(dim))
}

func (k prependToken) enqueue(q *gpuQueue, c *gpuCall) {
	q.packs("prepend_token", k.batch*(k.tokens+1)*k.dim, q.args(c.out[0], c.in[0], c.in[1]).Int64(int64(k.batch)).Int32(k.tokens).Int32(k.dim))
}

func (k prependTokenGrad) enqueue(q *gpuQueue, c *gpuCall) {
	c.sequences(q, "drop_token", k.batch*k.tokens*k.dim, k.batch, k.tokens, k.dim)
	q.columnSum(c.out[1], c.in[0], c.inType[0], k.batch, k.dim, (k.tokens+1)*k.dim)
}
func (k prependTokenGrad) halves() (in, out []bool) { return nil, flags(true) }

func (k poolFirst) enqueue(q *gpuQueue, c *gpuCall) {
	c.sequences(q, "pool_at", k.batch*k.dim, k.batch, k.tokens, k.dim, 0)
}
func (k poolFirst) halves() (in, out []bool) { return flags(true), flags(true) }

func (k poolFirstGrad) enqueue(q *gpuQueue, c *gpuCall) {
	c.sequences(q, "pool_at_grad", k.batch*k.tokens*k.dim, k.batch, k.tokens, k.dim, 0)
}
func (k poolFirstGrad) halves() (in, out []bool) { return flags(true), flags(true) }

func (k poolAt) enqueue(q *gpuQueue, c *gpuCall) {
	c.sequences(q, "pool_at", k.batch*k.dim, k.batch, k.tokens, k.dim, c.in[1])
}
func (k poolAt) halves() (in, out []bool) { return flags(true), flags(true) }

func (k poolAtGrad) enqueue(q *gpuQueue, c *gpuCall) {
	c.sequences(q, "pool_at_grad", k.batch*k.tokens*k.dim, k.batch, k.tokens, k.dim, c.in[1])
}
func (k poolAtGrad) halves() (in, out []bool) { return flags(true), flags(true) }

func (k poolMean) enqueue(q *gpuQueue, c *gpuCall) {
	c.sequences(q, "pool_weighted", k.batch*k.dim, k.batch, k.tokens, k.dim, 0)
}
func (k poolMean) halves() (in, out []bool) { return flags(true), flags(true) }

func (k poolMeanGrad) enqueue(q *gpuQueue, c *gpuCall) {
	c.sequences(q, "pool_weighted_grad", k.batch*k.tokens*k.dim, k.batch, k.tokens, k.dim, 0)
}
func (k poolMeanGrad) halves() (in, out []bool) { return flags(true), flags(true) }

func (k meanWeights) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("mean_weights", k.batch, q.args(c.out[0], c.in[0]).Int64(int64(k.batch)).Int32(k.tokens))
}

func (k poolWeighted) enqueue(q *gpuQueue, c *gpuCall) {
	c.sequences(q, "pool_weighted", k.batch*k.dim, k.batch, k.tokens, k.dim, c.in[1])
}
func (k poolWeighted) halves() (in, out []bool) { return flags(true), flags(true) }

func (k poolWeightedGrad) enqueue(q *gpuQueue, c *gpuCall) {
	c.sequences(q, "pool_weighted_grad", k.batch*k.tokens*k.dim, k.batch, k.tokens, k.dim, c.in[1])
}
func (k poolWeightedGrad) halves() (in, out []bool) { return flags(true), flags(true) }

// Kernels of the largest value have a thread for each column of a sequence.
func (k poolMax) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("pool_max", k.batch*k.dim, q.args(c.out[0], c.in[0], c.in[1]).Int32(typeMask(c.outType[0], c.inType[0])).
		Int64(int64(k.batch)).Int32(k.tokens).Int32(k.dim))
}
func (k poolMax) halves() (in, out []bool) { return flags(true), flags(true) }

func (k poolMaxGrad) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("pool_max_grad", k.batch*k.dim, q.args(c.out[0], c.in[0], c.in[1], c.in[2]).Int32(typeMask(c.outType[0], c.inType[0], c.inType[2])).
		Int64(int64(k.batch)).Int32(k.tokens).Int32(k.dim))
}
func (k poolMaxGrad) halves() (in, out []bool) { return flags(true, false, true), flags(true) }
