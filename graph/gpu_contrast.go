//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"relsim/cuda"
	"relsim/kernel"
)

// contrastThreads is the block of the kernels of the contrastive loss.
const contrastThreads = 256

// contrastLogits is how many logits are in memory at once: 64 MiB of them.
var contrastLogits = 1 << 24

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

// blocks makes the products of the embeddings, some rows of them at a time, and gives each block to do. The products are in
// float32 whatever the precision: a similarity of 1 is to be told from one of 0.999.
func (k contrast) blocks(q *gpuQueue, c *gpuCall, do func(dots stored, first, rows int)) {
	n, dim := k.shape.Rows, k.shape.Dim
	most := min(n, max(contrastLogits/n, 1))
	dots := stored{at: q.temporary(most * n)}
	used := q.used
	for first := 0; first < n; first += most {
		rows := min(most, n-first)
		img := c.input(0)
		img.at = img.at.Add(4 * first * dim)
		q.multiply(product{c: dots, a: img, b: c.input(1), m: rows, n: n, k: dim, transB: true, single: true})
		do(dots, first, rows)
		q.used = used // what the products took is free again
	}
}

func (k contrast) enqueue(q *gpuQueue, c *gpuCall) {
	n, equal := k.shape.Rows, int(k.shape.Equal)
	logScale, bias := k.learned(c)
	labels := c.in[2]
	loss, hits, state := q.temporary(2*n), q.temporary(n), q.temporary(4*n)
	k.blocks(q, c, func(dots stored, first, rows int) {
		grid, block := cuda.Dim{X: rows}, cuda.Dim{X: contrastThreads}
		if k.shape.Kind == kernel.ContrastPairs {
			q.launch("contrast_pairs", grid, block, 0, q.args(loss, hits, dots.at, labels, logScale, bias).
				Float32(k.scale).Float32(k.bias).Int32(first).Int32(n).Int32(equal))
			return
		}
		stats := c.out[2]
		q.launch("contrast", grid, block, 0, q.args(stats, loss, hits, dots.at, labels, logScale, bias).
			Float32(k.scale).Float32(k.bias).Int32(first).Int32(n).Int32(equal))
		if k.shape.Kind == kernel.ContrastBoth {
			q.columns("contrast_columns", n, q.args(stats.Add(8*n), loss.Add(4*n), state, dots.at, labels, logScale).
				Float32(k.scale).Int32(first).Int32(rows).Int32(n).Int32(equal))
		}
	})
	terms := n
	if k.shape.Kind == kernel.ContrastBoth {
		terms = 2 * n
	}
	q.one("sum_all", q.args(c.out[0], loss).Float32(1/float32(terms)).Int64(int64(terms)))
	q.one("sum_all", q.args(c.out[1], hits).Float32(1).Int64(int64(n)))
}

func (k contrastGrad) enqueue(q *gpuQueue, c *gpuCall) {
	n, dim := k.shape.Rows, k.shape.Dim
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
	contrast(k).blocks(q, c, func(dots stored, first, rows int) {
		q.launch("contrast_grad", cuda.Dim{X: rows}, cuda.Dim{X: contrastThreads}, 0,
			q.args(dots.at, sums, c.in[2], rowStats, colStats, upstream, logScale, bias).
				Float32(k.scale).Float32(k.bias).Float32(share).Int32(first).Int32(n).Int32(int(k.shape.Equal)))
		img, dimg := c.input(0), c.output(0)
		img.at, dimg.at = img.at.Add(4*first*dim), dimg.at.Add(4*first*dim)
		q.multiply(product{c: dimg, a: dots, b: c.input(1), m: rows, n: dim, k: n, single: true})
		more := product{c: c.output(1), a: dots, b: img, m: n, n: dim, k: rows, transA: true, single: true}
		if first > 0 {
			more.then, more.other = thenAdd, more.c
		}
		q.multiply(more)
	})
	next := 2
	if k.learnScale {
		q.one("sum_all", q.args(c.out[next], sums).Float32(1).Int64(int64(n)))
		next++
	}
	if k.learnBias {
		q.one("sum_all", q.args(c.out[next], sums.Add(4*n)).Float32(1).Int64(int64(n)))
	}
}
