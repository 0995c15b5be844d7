//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"relsim/cuda"
	"relsim/kernel"
)

// What follows the sum in the kernel gemm.
const (
	thenNothing = iota
	thenGELU
	thenAdd
	thenDropoutAdd
	thenGELUGrad
)

// product is C (m, n) = op(A)·op(B) + bias, and what follows it.
type product struct {
	c, a, b, bias, other, keep cuda.Pointer
	seed                       cuda.Pointer
	op                         int // its number, of a dropout
	m, n, k                    int
	transA, transB             bool
	then                       int
	form                       kernel.GELUKind
	factor                     float32
	threshold                  uint32
}

func (q *gpuQueue) multiply(p product) {
	flag := map[bool]int{true: 1}
	q.launch("gemm", cuda.Dim{X: (p.n + 63) / 64, Y: (p.m + 63) / 64}, cuda.Dim{X: 256}, 0,
		q.args(p.c, p.a, p.b, p.bias, p.other, p.keep, p.seed).Int32(p.m).Int32(p.n).Int32(p.k).Int32(flag[p.transA]).Int32(flag[p.transB]).
			Int32(p.then).Int32(int(p.form)).Int64(int64(p.op)).Int32(int(int32(p.threshold))).Float32(p.factor))
}

// product is x wᵀ + bias.
func (k linear) product(c *gpuCall) product {
	p := product{c: c.out[0], a: c.in[0], b: c.in[1], m: k.rows, n: k.out, k: k.in, transB: true}
	if k.bias {
		p.bias = c.in[2]
	}
	return p
}

func (k linear) enqueue(q *gpuQueue, c *gpuCall) { q.multiply(k.product(c)) }

func (k linearGELU) enqueue(q *gpuQueue, c *gpuCall) {
	p := k.linear.product(c)
	p.then, p.form, p.c = thenGELU, k.form, c.out[len(c.out)-1]
	if k.keep {
		p.keep = c.out[0]
	}
	q.multiply(p)
}

func (k linearAdd) enqueue(q *gpuQueue, c *gpuCall) {
	p := k.linear.product(c)
	p.then, p.other = thenAdd, c.in[len(c.in)-1]
	q.multiply(p)
}

func (k linearDropoutAdd) enqueue(q *gpuQueue, c *gpuCall) {
	p := k.linear.product(c)
	p.then, p.other = thenDropoutAdd, c.in[len(c.in)-1]
	p.factor, p.threshold, _ = kernel.DropoutMask(k.rate, 0, 0) // the kernel makes the key
	p.seed, p.op = c.seed, k.index
	q.multiply(p)
}

// product is dy w.
func (k linearGradX) product(c *gpuCall) product {
	return product{c: c.out[0], a: c.in[0], b: c.in[1], m: k.rows, n: k.in, k: k.out}
}

func (k linearGradX) enqueue(q *gpuQueue, c *gpuCall) { q.multiply(k.product(c)) }

func (k linearGradXGELU) enqueue(q *gpuQueue, c *gpuCall) {
	p := k.linearGradX.product(c)
	p.then, p.form, p.other = thenGELUGrad, k.form, c.in[2]
	q.multiply(p)
}

func (k linearGradW) enqueue(q *gpuQueue, c *gpuCall) {
	q.multiply(product{c: c.out[0], a: c.in[0], b: c.in[1], m: k.out, n: k.in, k: k.rows, transA: true})
	if k.bias {
		q.columns("col_sum", k.out, q.args(c.out[1], c.in[0]).Int64(int64(k.rows)).Int64(int64(k.out)).Int64(int64(k.out)))
	}
}
