//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"math"

	"relsim/cuda"
	"relsim/kernel"
)

// Elements.

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
	factor, threshold, key := kernel.DropoutMask(k.rate, *c.seed, uint64(k.index))
	q.each("dropout", k.dims.size(), q.args(c.out[0], c.in[0]).Int64(int64(key)).Int32(int(int32(threshold))).Float32(factor).Int64(int64(k.dims.size())))
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

// Linear layers.

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
	m, n, k                    int
	transA, transB             bool
	then                       int
	form                       kernel.GELUKind
	factor                     float32
	threshold                  uint32
	key                        uint64
}

func (q *gpuQueue) multiply(p product) {
	flag := map[bool]int{true: 1}
	q.launch("gemm", cuda.Dim{X: (p.n + 63) / 64, Y: (p.m + 63) / 64}, cuda.Dim{X: 256}, 0,
		q.args(p.c, p.a, p.b, p.bias, p.other, p.keep).Int32(p.m).Int32(p.n).Int32(p.k).Int32(flag[p.transA]).Int32(flag[p.transB]).
			Int32(p.then).Int32(int(p.form)).Int64(int64(p.key)).Int32(int(int32(p.threshold))).Float32(p.factor))
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
	p.factor, p.threshold, p.key = kernel.DropoutMask(k.rate, *c.seed, uint64(k.index))
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

// Normalisation.

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

// Attention.

// attentionTile is how many tokens a block of the kernels has.
const attentionTile = 32

// attentionLaunch puts a kernel of attention into the queue; tiles are the 32 × (dim+1) tiles in shared memory, scores those of
// 32 × 33. args are the pointers.
func attentionLaunch(q *gpuQueue, name string, s kernel.AttentionShape, tiles, scores int, args cuda.Args) {
	causal := 0
	if s.Causal {
		causal = 1
	}
	q.launch(name, cuda.Dim{X: (s.Tokens + attentionTile - 1) / attentionTile, Y: s.Heads, Z: s.Batch}, cuda.Dim{X: 128},
		4*attentionTile*(tiles*(s.HeadDim+1)+scores*(attentionTile+1)),
		args.Int32(s.Tokens).Int32(s.Heads).Int32(s.HeadDim).Int32(causal).Float32(float32(1/math.Sqrt(float64(s.HeadDim)))))
}

func (k attention) enqueue(q *gpuQueue, c *gpuCall) {
	var mask cuda.Pointer
	if k.masked {
		mask = c.in[1]
	}
	attentionLaunch(q, "attention", k.shape, 3, 1, q.args(c.out[0], c.out[1], c.in[0], mask))
}

func (k attentionGrad) enqueue(q *gpuQueue, c *gpuCall) {
	var mask cuda.Pointer
	if k.masked {
		mask = c.in[4]
	}
	s := k.shape
	n := s.Batch * s.Heads * s.Tokens
	delta := q.temporary(n)
	q.each("attention_delta", n, q.args(delta, c.in[0], c.in[1]).Int32(s.Batch).Int32(s.Tokens).Int32(s.Heads).Int32(s.HeadDim))
	attentionLaunch(q, "attention_grad_q", s, 4, 1, q.args(c.out[0], c.in[0], delta, c.in[2], c.in[3], mask))
	attentionLaunch(q, "attention_grad_kv", s, 4, 2, q.args(c.out[0], c.in[0], delta, c.in[2], c.in[3], mask))
}

// Sequences.

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
	q.columns("col_sum", n, q.args(c.out[0], c.in[0]).Int64(int64(k.batch)).Int64(int64(n)).Int64(int64(n)))
}

func (k prependToken) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("prepend_token", k.batch*(k.tokens+1)*k.dim, q.args(c.out[0], c.in[0], c.in[1]).Int64(int64(k.batch)).Int32(k.tokens).Int32(k.dim))
}

func (k prependTokenGrad) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("drop_token", k.batch*k.tokens*k.dim, q.args(c.out[0], c.in[0]).Int64(int64(k.batch)).Int32(k.tokens).Int32(k.dim))
	q.columns("col_sum", k.dim, q.args(c.out[1], c.in[0]).Int64(int64(k.batch)).Int64(int64(k.dim)).Int64(int64((k.tokens+1)*k.dim)))
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

// Pictures.

func convArgs(a cuda.Args, s kernel.ConvShape) cuda.Args {
	first := 0
	if s.ChannelsFirst {
		first = 1
	}
	for _, n := range []int{s.Batch, s.InC, s.InH, s.InW, s.OutC, s.KH, s.KW, s.StrideH, s.StrideW, s.PadH, s.PadW, s.OutH(), s.OutW(), first} {
		a = a.Int32(n)
	}
	return a
}

func (k conv2D) enqueue(q *gpuQueue, c *gpuCall) {
	var bias cuda.Pointer
	if k.bias {
		bias = c.in[2]
	}
	q.each("conv2d", k.y().size(), convArgs(q.args(c.out[0], c.in[0], c.in[1], bias), k.shape))
}

func (k conv2DGradX) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("conv2d_grad_x", k.forward().x().size(), convArgs(q.args(c.out[0], c.in[0], c.in[1]), k.shape))
}

func (k conv2DGradW) enqueue(q *gpuQueue, c *gpuCall) {
	y := conv2D(k).y()
	q.rows("conv2d_grad_w", conv2D(k).w().size(), y.d[0], convArgs(q.args(c.out[0], c.in[0], c.in[1]), k.shape))
	if k.bias {
		q.columns("col_sum", y.d[1], q.args(c.out[1], c.in[0]).Int64(int64(y.d[0])).Int64(int64(y.d[1])).Int64(int64(y.d[1])))
	}
}

func poolArgs(a cuda.Args, s kernel.PoolShape) cuda.Args {
	for _, n := range []int{s.Batch, s.InH, s.InW, s.C, s.K, s.Stride, s.OutH(), s.OutW()} {
		a = a.Int32(n)
	}
	return a
}

func (k maxPool2D) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("max_pool2d", k.y().size(), poolArgs(q.args(c.out[0], c.in[0]), k.shape))
}

func (k maxPool2DGrad) enqueue(q *gpuQueue, c *gpuCall) {
	q.each("max_pool2d_grad", maxPool2D(k).x().size(), poolArgs(q.args(c.out[0], c.in[0], c.in[1]), k.shape))
}

// Losses.

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
	pooled(q, "squared_distance_grad_x", k.batch*k.tokens*k.dim, k.batch, k.tokens, k.dim, c.out[0], c.in[0], c.in[1], c.in[2], c.in[3])
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
