package kernel

import "math"

// AdamWStep holds the numbers of one step of AdamW.
type AdamWStep struct {
	LR, Beta1, Beta2, Eps, WeightDecay float64
	Correction1, Correction2           float64 // 1-Beta1^t and 1-Beta2^t at step t = 1, 2, …
	GradScale                          float64 // multiplies the gradient first: 1, or a clipping factor
}

// AdamW updates the weights w and the moments m and v from the gradient g:
//
//	g' = GradScale * g
//	m  = Beta1 * m + (1-Beta1) * g'
//	v  = Beta2 * v + (1-Beta2) * g'²
//	w  = w * (1 - LR*WeightDecay) - LR/Correction1 * m / (√v/√Correction2 + Eps)
//
// The four slices have equal lengths and must not overlap; g is not written. The
// numbers of the step are taken in float64 and rounded once, as PyTorch does;
// w is within 4 ulp of |w| plus 1e-6·|update| of the exact result.
//
// AdamW panics if the lengths differ.
//
// Source: Loshchilov, Hutter, arXiv:1711.05101, algorithm 2; the order of
// operations is that of torch.optim.AdamW.
func AdamW(p *Pool, w, g, m, v []float32, step AdamWStep) {
	needLen("AdamW", "g", len(g), len(w))
	needLen("AdamW", "m", len(m), len(w))
	needLen("AdamW", "v", len(v), len(w))
	s := newSweep()
	s.y, s.a, s.b, s.c = w, g, m, v
	s.adam = adamWCoef{
		scale: float32(step.GradScale),
		beta1: float32(step.Beta1), rest1: float32(1 - step.Beta1),
		beta2: float32(step.Beta2), rest2: float32(1 - step.Beta2),
		root: float32(1 / math.Sqrt(step.Correction2)), eps: float32(step.Eps),
		rate: float32(step.LR / step.Correction1), keep: float32(1 - step.LR*step.WeightDecay),
	}
	s.over(p, pieces(len(w)), adamWPiece)
	s.free()
}

func adamWPiece(s *sweep, i int) {
	lo, hi := piece(i, len(s.y))
	adamWRow(s.y[lo:hi], s.a[lo:hi], s.b[lo:hi], s.c[lo:hi], &s.adam)
}

// adamWCoef has the coefficients of one step, in the order that the assembly
// reads them.
type adamWCoef struct {
	scale, beta1, rest1, beta2, rest2, root, eps, rate, keep float32
}
