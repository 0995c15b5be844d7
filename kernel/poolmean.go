package kernel

import "math"

// PoolMean averages the tokens of each sequence:
//
//	y[b,c] = 1/tokens * Σ_t x[b,t,c]
//
// x is (batch·tokens, dim), y (batch, dim). The sum runs over t in float64.
//
// PoolMean panics if a length does not fit.
func PoolMean(p *Pool, y, x []float32, batch, tokens, dim int) {
	poolWeighted(p, "PoolMean", y, x, nil, batch, tokens, dim)
}

// PoolWeighted adds the tokens of each sequence, weighted:
//
//	y[b,c] = Σ_t weights[b,t] * x[b,t,c]
//
// x is (batch·tokens, dim), weights (batch, tokens), y (batch, dim). A token of
// weight zero is left out, whatever its value. The sum runs over t in float32
// with error below (tokens+1)·2⁻²⁴·Σ_t|w·x|.
//
// PoolWeighted panics if a length does not fit.
func PoolWeighted(p *Pool, y, x, weights []float32, batch, tokens, dim int) {
	needShape("PoolWeighted", batch, tokens)
	needLen("PoolWeighted", "weights", len(weights), batch*tokens)
	if weights == nil {
		weights = []float32{}
	}
	poolWeighted(p, "PoolWeighted", y, x, weights, batch, tokens, dim)
}

func poolWeighted(p *Pool, op string, y, x, weights []float32, batch, tokens, dim int) {
	needShape(op, batch*tokens, dim)
	needLen(op, "x", len(x), batch*tokens*dim)
	needLen(op, "y", len(y), batch*dim)
	s := newSweep()
	s.y, s.a, s.b = y, x, weights
	s.tokens, s.cols = tokens, dim
	s.over(p, batch, poolItem)
	s.free()
}

func poolItem(s *sweep, b int) {
	n := s.cols
	y, x := s.y[b*n:(b+1)*n], s.a[b*s.tokens*n:(b+1)*s.tokens*n]
	if s.b == nil {
		colSumRows(y, x, s.tokens)
		scaleRow(y, y, float32(1/float64(s.tokens)))
		return
	}
	clear(y)
	for t, w := range s.b[b*s.tokens : (b+1)*s.tokens] {
		if w != 0 {
			axpyRow(y, x[t*n:(t+1)*n], w)
		}
	}
}

// PoolMeanGrad is the gradient of [PoolMean]:
//
//	dx[b,t,c] = dy[b,c] / tokens
//
// The shapes are those of PoolMean.
//
// PoolMeanGrad panics if a length does not fit.
func PoolMeanGrad(p *Pool, dx, dy []float32, batch, tokens, dim int) {
	poolGrad(p, "PoolMeanGrad", dx, dy, nil, batch, tokens, dim)
}

// PoolWeightedGrad is the gradient of [PoolWeighted] with respect to x:
//
//	dx[b,t,c] = weights[b,t] * dy[b,c]
//
// The shapes are those of PoolWeighted.
//
// PoolWeightedGrad panics if a length does not fit.
func PoolWeightedGrad(p *Pool, dx, dy, weights []float32, batch, tokens, dim int) {
	needShape("PoolWeightedGrad", batch, tokens)
	needLen("PoolWeightedGrad", "weights", len(weights), batch*tokens)
	if weights == nil {
		weights = []float32{}
	}
	poolGrad(p, "PoolWeightedGrad", dx, dy, weights, batch, tokens, dim)
}

func poolGrad(p *Pool, op string, dx, dy, weights []float32, batch, tokens, dim int) {
	needShape(op, batch*tokens, dim)
	needLen(op, "dx", len(dx), batch*tokens*dim)
	needLen(op, "dy", len(dy), batch*dim)
	s := newSweep()
	s.y, s.a, s.b = dx, dy, weights
	s.tokens, s.cols = tokens, dim
	s.over(p, batch, poolGradItem)
	s.free()
}

func poolGradItem(s *sweep, b int) {
	n := s.cols
	dy := s.a[b*n : (b+1)*n]
	w := float32(1 / float64(s.tokens))
	for t := b * s.tokens; t < (b+1)*s.tokens; t++ {
		if s.b != nil {
			w = s.b[t]
		}
		scaleRow(s.y[t*n:(t+1)*n], dy, w)
	}
}

// MeanWeights turns a mask into the weights of a mean over the tokens it keeps:
//
//	weights[b,t] = mask[b,t] / max(Σ_t mask[b,t], 1e-9)
//
// mask and weights are (batch, tokens), and may be the same slice. With
// [PoolWeighted] this is the masked mean of sentence encoders (Reimers,
// Gurevych, arXiv:1908.10084).
//
// MeanWeights panics if a length does not fit.
func MeanWeights(weights, mask []float32, batch, tokens int) {
	needShape("MeanWeights", batch, tokens)
	needLen("MeanWeights", "weights", len(weights), batch*tokens)
	needLen("MeanWeights", "mask", len(mask), batch*tokens)
	for b := range batch {
		m := mask[b*tokens : (b+1)*tokens]
		sum := math.Max(sumRow(m), 1e-9)
		for t, v := range m {
			weights[b*tokens+t] = float32(float64(v) / sum)
		}
	}
}
