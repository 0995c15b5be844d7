package kernel

import "math"

// Softmax turns each row into a distribution:
//
//	y[r,c] = exp(x[r,c] - max_c x[r]) / Σ_c exp(x[r,c] - max_c x[r])
//
// x and y are (rows, cols), row-major, and may be the same slice. y is within
// (1e-6 + 6e-8·|x-max|)·exact, except that what is below 2e-38 may be zero. An
// element of -Inf gives zero; a row with a NaN or +Inf, or of -Inf only, becomes
// NaN.
//
// Softmax panics if a length does not fit.
func Softmax(p *Pool, y, x []float32, rows, cols int) {
	needShape("Softmax", rows, cols)
	needLen("Softmax", "y", len(y), rows*cols)
	needLen("Softmax", "x", len(x), rows*cols)
	if cols == 0 {
		return
	}
	s := newSweep()
	s.y, s.a = y, x
	s.over(p, s.byRows(rows, cols), softmaxItem)
	s.free()
}

func softmaxItem(s *sweep, i int) {
	lo, hi := s.span(i)
	n := s.cols
	for r := lo; r < hi; r++ {
		x, y := s.a[r*n:(r+1)*n], s.y[r*n:(r+1)*n]
		if n <= expSumLen {
			softmaxRow(y, x)
			continue
		}
		scaleRow(y, y, float32(1/expSum(y, x, maxRow(x))))
	}
}

// expSumLen is the number of exponentials that are added in float32, in a fixed
// number of lanes; longer rows add such sums in float64.
const expSumLen = 1024

// expSum writes exp(x-m) to y and returns the sum.
func expSum(y, x []float32, m float32) float64 {
	var sum float64
	for len(x) > expSumLen {
		sum += float64(expSumRow(y[:expSumLen], x[:expSumLen], 1, m))
		y, x = y[expSumLen:], x[expSumLen:]
	}
	return sum + float64(expSumRow(y, x, 1, m))
}

// SoftmaxGrad is the gradient of [Softmax], from its output:
//
//	dx[r,c] = y[r,c] * (dy[r,c] - Σ_c dy[r,c]·y[r,c])
//
// y, dx and dy are (rows, cols), row-major; dx may be dy or y. The sum runs in
// float64.
//
// SoftmaxGrad panics if a length does not fit.
func SoftmaxGrad(p *Pool, dx, dy, y []float32, rows, cols int) {
	needShape("SoftmaxGrad", rows, cols)
	needLen("SoftmaxGrad", "dx", len(dx), rows*cols)
	needLen("SoftmaxGrad", "dy", len(dy), rows*cols)
	needLen("SoftmaxGrad", "y", len(y), rows*cols)
	s := newSweep()
	s.y, s.a, s.b = dx, dy, y
	s.over(p, s.byRows(rows, cols), softmaxGradItem)
	s.free()
}

func softmaxGradItem(s *sweep, i int) {
	lo, hi := s.span(i)
	n := s.cols
	for r := lo; r < hi; r++ {
		dy, y := s.a[r*n:(r+1)*n], s.b[r*n:(r+1)*n]
		softmaxGradRow(s.y[r*n:(r+1)*n], y, dy, 1, float32(dotRow(dy, y)))
	}
}

// LogSumExp gives the logarithm of the sum of each row's exponentials:
//
//	dst[r] = log Σ_c exp(x[r,c])
//
// x is (rows, cols), row-major; dst is (rows). The result is within
// 1e-6·max(1, |exact|). A row of -Inf only gives
// -Inf, a row with +Inf and no NaN gives +Inf, a row with a NaN gives NaN.
//
// LogSumExp panics if a length does not fit.
func LogSumExp(p *Pool, dst, x []float32, rows, cols int) {
	needShape("LogSumExp", rows, cols)
	needLen("LogSumExp", "dst", len(dst), rows)
	needLen("LogSumExp", "x", len(x), rows*cols)
	s := newSweep()
	s.y, s.a = dst, x
	s.over(p, s.byRows(rows, cols), logSumExpItem)
	s.free()
}

func logSumExpItem(s *sweep, i int) {
	lo, hi := s.span(i)
	for r := lo; r < hi; r++ {
		s.y[r] = float32(logSumExpRow(s.a[r*s.cols : (r+1)*s.cols]))
	}
}

// logSumExpRow gives log Σ exp(x) of one row.
func logSumExpRow(x []float32) float64 {
	m := maxRow(x)
	if math.IsInf(float64(m), 0) { // x-m is not defined
		return math.Log(sumExpOfExtremes(x))
	}
	var sum float64
	for len(x) > expSumLen {
		sum += float64(sumExpRow(x[:expSumLen], m))
		x = x[expSumLen:]
	}
	sum += float64(sumExpRow(x, m))
	return float64(m) + math.Log(sum)
}

// sumExpOfExtremes is Σ exp(x) where the largest element is infinite or x empty.
func sumExpOfExtremes(x []float32) float64 {
	var sum float64
	for _, v := range x {
		switch {
		case v != v:
			return math.NaN()
		case float64(v) > math.MaxFloat32:
			sum = math.Inf(1)
		}
	}
	return sum
}

// CrossEntropy gives each row's cross entropy between a target distribution and
// the softmax of its logits:
//
//	rowLoss[r] = Σ_c targets[r,c] * (logsumexp(logits[r]) - logits[r,c])
//
// logits and targets are (rows, cols), row-major; rowLoss is (rows). A target of
// zero counts nothing, even where its logit is -Inf; a row of zero targets only
// is thus ignored: its loss is zero, whatever its logits. The result is within
// 1e-6·max(Σt, |exact|).
//
// CrossEntropy panics if a length does not fit.
func CrossEntropy(p *Pool, rowLoss, logits, targets []float32, rows, cols int) {
	needShape("CrossEntropy", rows, cols)
	needLen("CrossEntropy", "rowLoss", len(rowLoss), rows)
	needLen("CrossEntropy", "logits", len(logits), rows*cols)
	needLen("CrossEntropy", "targets", len(targets), rows*cols)
	s := newSweep()
	s.y, s.a, s.b = rowLoss, logits, targets
	s.over(p, s.byRows(rows, cols), crossEntropyItem)
	s.free()
}

func crossEntropyItem(s *sweep, i int) {
	lo, hi := s.span(i)
	n := s.cols
	for r := lo; r < hi; r++ {
		x, t := s.a[r*n:(r+1)*n], s.b[r*n:(r+1)*n]
		mass := sumRow(t)
		if mass == 0 && zeroRow(t) {
			s.y[r] = 0
			continue
		}
		lse := logSumExpRow(x)
		loss := lse*mass - dotRow(t, x)
		if loss != loss { // 0·Inf, or a NaN that is there
			loss = 0
			for c, v := range t {
				if v != 0 {
					loss += float64(v) * (lse - float64(x[c]))
				}
			}
		}
		s.y[r] = float32(loss)
	}
}

// CrossEntropyGrad is the gradient of the sum of [CrossEntropy] over the rows,
// times upstream:
//
//	dlogits[r,c] = upstream * (softmax(logits[r])[c] * Σ_c targets[r,c] - targets[r,c])
//
// logits, targets and dlogits are (rows, cols), row-major; dlogits may be
// logits. A row of zero targets only has the gradient zero, whatever its logits.
// The result is within 1e-6·|upstream|·Σt.
//
// CrossEntropyGrad panics if a length does not fit.
func CrossEntropyGrad(p *Pool, dlogits, logits, targets []float32, upstream float32, rows, cols int) {
	needShape("CrossEntropyGrad", rows, cols)
	needLen("CrossEntropyGrad", "dlogits", len(dlogits), rows*cols)
	needLen("CrossEntropyGrad", "logits", len(logits), rows*cols)
	needLen("CrossEntropyGrad", "targets", len(targets), rows*cols)
	s := newSweep()
	s.y, s.a, s.b, s.alpha = dlogits, logits, targets, upstream
	s.over(p, s.byRows(rows, cols), crossEntropyGradItem)
	s.free()
}

func crossEntropyGradItem(s *sweep, i int) {
	lo, hi := s.span(i)
	n := s.cols
	for r := lo; r < hi; r++ {
		x, t, dx := s.a[r*n:(r+1)*n], s.b[r*n:(r+1)*n], s.y[r*n:(r+1)*n]
		mass := sumRow(t)
		if mass == 0 && zeroRow(t) {
			clear(dx)
			continue
		}
		sum := expSum(dx, x, maxRow(x))
		combineRow(dx, dx, t, float32(float64(s.alpha)*mass/sum), -s.alpha)
	}
}

// zeroRow reports whether every element is zero.
func zeroRow(x []float32) bool {
	for _, v := range x {
		if v != 0 {
			return false
		}
	}
	return true
}

// SigmoidLoss gives each row's pairwise logistic loss:
//
//	rowLoss[r] = -Σ_c log σ(labels[r,c] * logits[r,c])
//
// logits and labels are (rows, cols), row-major; rowLoss is (rows). Labels are +1
// for a pair that belongs together and -1 for one that does not; 0 leaves a pair
// out. It computes in float64.
//
// SigmoidLoss panics if a length does not fit.
//
// Source: Zhai et al., arXiv:2303.15343, section 3.2.
func SigmoidLoss(p *Pool, rowLoss, logits, labels []float32, rows, cols int) {
	needShape("SigmoidLoss", rows, cols)
	needLen("SigmoidLoss", "rowLoss", len(rowLoss), rows)
	needLen("SigmoidLoss", "logits", len(logits), rows*cols)
	needLen("SigmoidLoss", "labels", len(labels), rows*cols)
	s := newSweep()
	s.y, s.a, s.b = rowLoss, logits, labels
	s.over(p, s.byRows(rows, cols), sigmoidLossItem)
	s.free()
}

func sigmoidLossItem(s *sweep, i int) {
	lo, hi := s.span(i)
	n := s.cols
	for r := lo; r < hi; r++ {
		var sum float64
		for c, l := range s.b[r*n : (r+1)*n] {
			if l == 0 {
				continue
			}
			// -log σ(z) = max(-z, 0) + log(1 + exp(-|z|))
			z := float64(l) * float64(s.a[r*n+c])
			sum += max(-z, 0) + math.Log1p(math.Exp(-math.Abs(z)))
		}
		s.y[r] = float32(sum)
	}
}

// SigmoidLossGrad is the gradient of the sum of [SigmoidLoss] over the rows,
// times upstream:
//
//	dlogits[r,c] = -upstream * labels[r,c] * σ(-labels[r,c] * logits[r,c])
//
// logits, labels and dlogits are (rows, cols), row-major; dlogits may be logits.
// It computes in float64.
//
// SigmoidLossGrad panics if a length does not fit.
func SigmoidLossGrad(p *Pool, dlogits, logits, labels []float32, upstream float32, rows, cols int) {
	needShape("SigmoidLossGrad", rows, cols)
	needLen("SigmoidLossGrad", "dlogits", len(dlogits), rows*cols)
	needLen("SigmoidLossGrad", "logits", len(logits), rows*cols)
	needLen("SigmoidLossGrad", "labels", len(labels), rows*cols)
	s := newSweep()
	s.y, s.a, s.b, s.alpha = dlogits, logits, labels, upstream
	s.over(p, pieces(len(dlogits)), sigmoidLossGradPiece)
	s.free()
}

func sigmoidLossGradPiece(s *sweep, i int) {
	lo, hi := piece(i, len(s.y))
	for c, l := range s.b[lo:hi] {
		if l == 0 {
			s.y[lo+c] = 0
			continue
		}
		z := float64(l) * float64(s.a[lo+c])
		s.y[lo+c] = float32(-float64(s.alpha) * float64(l) / (1 + math.Exp(z)))
	}
}
