//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import "relsim/kernel"

// product is x wᵀ + bias.
func (k linear) product(c *gpuCall) product {
	p := product{c: c.output(0), a: c.input(0), b: c.input(1), m: k.rows, n: k.out, k: k.in, transB: true}
	if k.bias {
		p.bias = c.input(2)
	}
	return p
}

func (k linear) halves() (in, out []bool) { return []bool{true, true, true}, []bool{true, true} }

func (k linear) enqueue(q *gpuQueue, c *gpuCall) { q.multiply(k.product(c)) }

func (k linearGELU) enqueue(q *gpuQueue, c *gpuCall) {
	p := k.linear.product(c)
	p.then, p.form, p.c = thenGELU, k.form, c.output(len(c.out)-1)
	if k.keep {
		p.keep = c.output(0)
	}
	q.multiply(p)
}

// The residual stream and what is added to it are in float32.
func (k linearAdd) halves() (in, out []bool) { return []bool{true, true}, nil }

func (k linearAdd) enqueue(q *gpuQueue, c *gpuCall) {
	p := k.linear.product(c)
	p.then, p.other = thenAdd, c.input(len(c.in)-1)
	q.multiply(p)
}

func (k linearDropoutAdd) halves() (in, out []bool) { return linearAdd{k.linear}.halves() }

func (k linearDropoutAdd) enqueue(q *gpuQueue, c *gpuCall) {
	p := k.linear.product(c)
	p.then, p.other = thenDropoutAdd, c.input(len(c.in)-1)
	p.factor, p.threshold, _ = kernel.DropoutMask(k.rate, 0, 0) // the kernel makes the key
	p.seed, p.op = c.seed, k.index
	q.multiply(p)
}

// product is dy w.
func (k linearGradX) product(c *gpuCall) product {
	return product{c: c.output(0), a: c.input(0), b: c.input(1), m: k.rows, n: k.in, k: k.out}
}

func (k linearGradX) halves() (in, out []bool) { return []bool{true, true, true}, []bool{true} }

func (k linearGradX) enqueue(q *gpuQueue, c *gpuCall) { q.multiply(k.product(c)) }

func (k linearGradXGELU) enqueue(q *gpuQueue, c *gpuCall) {
	p := k.linearGradX.product(c)
	p.then, p.form, p.other = thenGELUGrad, k.form, c.input(2)
	q.multiply(p)
}

func (k linearGradW) halves() (in, out []bool) { return []bool{true, true}, nil }

func (k linearGradW) enqueue(q *gpuQueue, c *gpuCall) {
	p := product{c: c.output(0), a: c.input(0), b: c.input(1), m: k.out, n: k.in, k: k.rows, transA: true}
	if k.bias {
		p.sums = c.output(1)
	}
	q.multiply(p)
}
