package kernel

import "math"

// LayerNorm normalises each row of x to zero mean and unit variance, then
// scales and shifts it:
//
//	y[r,c] = (x[r,c] - mean[r]) * rstd[r] * gain[c] + bias[c]
//	rstd[r] = 1/√(variance[r] + eps)
//
// x and y are (rows, cols), row-major, and may be the same slice; gain and bias
// are (cols). The variance is the biased one, taken in a second pass around the
// mean, so that a mean far larger than the spread does no harm. y is within 2e-6·max(1, |exact|) for gain and bias
// up to 1. A row with a NaN or an infinity becomes NaN.
//
// LayerNorm panics if a length does not fit.
//
// Source: Ba, Kiros, Hinton, arXiv:1607.06450, eq. 3 and 4.
func LayerNorm(p *Pool, y, x, gain, bias []float32, rows, cols int, eps float32) {
	needShape("LayerNorm", rows, cols)
	needLen("LayerNorm", "y", len(y), rows*cols)
	needLen("LayerNorm", "x", len(x), rows*cols)
	needLen("LayerNorm", "gain", len(gain), cols)
	needLen("LayerNorm", "bias", len(bias), cols)
	s := newSweep()
	s.y, s.a, s.b, s.c, s.eps = y, x, gain, bias, float64(eps)
	s.over(p, s.byRows(rows, cols), layerNormItem)
	s.free()
}

func layerNormItem(s *sweep, i int) {
	lo, hi := s.span(i)
	n := s.cols
	for r := lo; r < hi; r++ {
		x := s.a[r*n : (r+1)*n]
		mean, rest, rstd := moments(x, s.eps)
		normalizeRow(s.y[r*n:(r+1)*n], x, s.b, s.c, mean, rest, rstd)
	}
}

// moments gives the mean of x as the sum of two float32, and 1/√(variance+eps).
// The second part of the mean matters where the spread of a row is small beside
// its mean.
func moments(x []float32, eps float64) (mean, rest, rstd float32) {
	n := float64(len(x))
	shift, sum, squares := momentsRow(x)
	d := float64(sum) / n
	m := float64(shift) + d
	mean = float32(m)
	rest = float32(m - float64(mean))
	return mean, rest, float32(1 / math.Sqrt(max(float64(squares)/n-d*d, 0)+eps))
}

// LayerNormGrad is the gradient of [LayerNorm], from its input:
//
//	x̂[r,c]  = (x[r,c] - mean[r]) * rstd[r]
//	h[r,c]   = dy[r,c] * gain[c]
//	dx[r,c]  = rstd[r] * (h[r,c] - mean_c(h) - x̂[r,c] * mean_c(h·x̂))
//	dgain[c] = Σ_r dy[r,c] * x̂[r,c]
//	dbias[c] = Σ_r dy[r,c]
//
// x, dx and dy are (rows, cols), row-major; dx may be dy or x; gain, dgain and
// dbias are (cols) and are overwritten. dgain and dbias may be nil together, and
// are then left out. The row statistics are computed anew as LayerNorm does.
// Sums over rows run in float32 within fixed blocks of at least 64 rows and in
// float64 over the blocks, and so do not depend on the number of threads. dx is
// within 5e-6·rstd[r]·max_c|h[r]| for rows of up to 4096 columns.
//
// LayerNormGrad panics if a length does not fit.
func LayerNormGrad(p *Pool, dx, dgain, dbias, dy, x, gain []float32, rows, cols int, eps float32) {
	needShape("LayerNormGrad", rows, cols)
	needLen("LayerNormGrad", "dx", len(dx), rows*cols)
	needLen("LayerNormGrad", "dy", len(dy), rows*cols)
	needLen("LayerNormGrad", "x", len(x), rows*cols)
	needLen("LayerNormGrad", "gain", len(gain), cols)
	columns := dgain != nil || dbias != nil
	if columns {
		needLen("LayerNormGrad", "dgain", len(dgain), cols)
		needLen("LayerNormGrad", "dbias", len(dbias), cols)
	}
	s := newSweep()
	n := s.byBlocks(rows, cols)
	s.y, s.a, s.b, s.c, s.eps = dx, dy, x, gain, float64(eps)
	// Without anyone to read them the column sums go to a buffer per block too.
	part := s.scratch32(2 * n * cols)
	s.d, s.e = part[:n*cols], part[n*cols:]
	s.over(p, n, layerNormGradItem)
	if columns {
		dbiasPart := s.e
		s.combine(p, dgain, s.d, n, cols)
		s.combine(p, dbias, dbiasPart, n, cols)
	}
	s.free()
}

func layerNormGradItem(s *sweep, i int) {
	lo, hi := s.span(i)
	n := s.cols
	dgain, dbias := s.d[i*n:(i+1)*n], s.e[i*n:(i+1)*n]
	clear(dgain)
	clear(dbias)
	for r := lo; r < hi; r++ {
		dx, dy, x := s.y[r*n:(r+1)*n], s.a[r*n:(r+1)*n], s.b[r*n:(r+1)*n]
		mean, rest, rstd := moments(x, s.eps)
		sum, dot := normGradSumsRow(dgain, dbias, dy, x, s.c, mean, rest, rstd)
		normGradRow(dx, dy, x, s.c, mean, rest, rstd, float32(sum/float64(n)), float32(dot/float64(n)))
	}
}

// L2Normalize scales each row to length one:
//
//	y[r,c] = x[r,c] / max(‖x[r]‖, eps)
//
// x and y are (rows, cols), row-major, and may be the same slice. The norm runs
// in float64; y is within 2.4e-7·|exact|. A row with a NaN becomes NaN; an
// infinity becomes NaN, and the finite elements beside it zero.
//
// L2Normalize panics if a length does not fit.
func L2Normalize(p *Pool, y, x []float32, rows, cols int, eps float32) {
	needShape("L2Normalize", rows, cols)
	needLen("L2Normalize", "y", len(y), rows*cols)
	needLen("L2Normalize", "x", len(x), rows*cols)
	s := newSweep()
	s.y, s.a, s.eps = y, x, float64(eps)
	s.over(p, s.byRows(rows, cols), l2NormalizeItem)
	s.free()
}

func l2NormalizeItem(s *sweep, i int) {
	lo, hi := s.span(i)
	n := s.cols
	for r := lo; r < hi; r++ {
		x, y := s.a[r*n:(r+1)*n], s.y[r*n:(r+1)*n]
		norm := math.Sqrt(dotRow(x, x))
		if norm < s.eps { // false for NaN, which goes on
			norm = s.eps
		}
		if inv := 1 / norm; inv <= math.MaxFloat32 {
			scaleRow(y, x, float32(inv))
			continue
		}
		for c, v := range x {
			y[c] = float32(float64(v) / norm)
		}
	}
}

// L2NormalizeGrad is the gradient of [L2Normalize], from its input:
//
//	ŷ[r,c]  = x[r,c] / ‖x[r]‖
//	dx[r,c] = (dy[r,c] - ŷ[r,c] * Σ_c dy[r,c]·ŷ[r,c]) / ‖x[r]‖   where ‖x[r]‖ ≥ eps
//	dx[r,c] = dy[r,c] / eps                                    elsewhere
//
// x, dx and dy are (rows, cols), row-major; dx may be dy or x. Sums run in
// float64; each row of dx is within 1e-6·max|dy[r]|/max(‖x[r]‖, eps).
//
// L2NormalizeGrad panics if a length does not fit.
func L2NormalizeGrad(p *Pool, dx, dy, x []float32, rows, cols int, eps float32) {
	needShape("L2NormalizeGrad", rows, cols)
	needLen("L2NormalizeGrad", "dx", len(dx), rows*cols)
	needLen("L2NormalizeGrad", "dy", len(dy), rows*cols)
	needLen("L2NormalizeGrad", "x", len(x), rows*cols)
	s := newSweep()
	s.y, s.a, s.b, s.eps = dx, dy, x, float64(eps)
	s.over(p, s.byRows(rows, cols), l2NormalizeGradItem)
	s.free()
}

func l2NormalizeGradItem(s *sweep, i int) {
	lo, hi := s.span(i)
	n := s.cols
	for r := lo; r < hi; r++ {
		dx, dy, x := s.y[r*n:(r+1)*n], s.a[r*n:(r+1)*n], s.b[r*n:(r+1)*n]
		square := dotRow(x, x)
		norm := math.Sqrt(square)
		if norm < s.eps {
			scaleRow(dx, dy, float32(1/s.eps))
			continue
		}
		along := dotRow(dy, x) / square / norm
		inv := 1 / norm
		if inv <= math.MaxFloat32 && math.Abs(along) <= math.MaxFloat32 {
			combineRow(dx, dy, x, float32(inv), float32(-along))
			continue
		}
		for c, v := range dy {
			dx[c] = float32(float64(v)*inv - float64(x[c])*along)
		}
	}
}
