package kernel

import "math"

// UnitRows divides each row by its length:
//
//	y[r,c] = x[r,c] / (‖x[r]‖ + eps),   ‖x[r]‖ = √Σ_c x[r,c]²
//
// x and y are (rows, cols), row-major, and may be the same slice. A row of zeros stays.
// Sums run in float64; y is within 2.4e-7·|exact|.
//
// UnitRows panics if a length does not fit.
//
// Source: Zhang et al., arXiv:1801.03924; [L2Normalize] is the form with a maximum.
func UnitRows(p *Pool, y, x []float32, rows, cols int, eps float32) {
	needShape("UnitRows", rows, cols)
	needLen("UnitRows", "y", len(y), rows*cols)
	needLen("UnitRows", "x", len(x), rows*cols)
	s := newSweep()
	s.y, s.a, s.eps = y, x, float64(eps)
	s.over(p, s.byRows(rows, cols), unitRowsItem)
	s.free()
}

func unitRowsItem(s *sweep, i int) {
	lo, hi := s.span(i)
	n := s.cols
	for r := lo; r < hi; r++ {
		x, y := s.a[r*n:(r+1)*n], s.y[r*n:(r+1)*n]
		length := math.Sqrt(dotRow(x, x)) + s.eps
		if length == 0 { // eps is 0 too
			copy(y, x)
			continue
		}
		if inv := 1 / length; inv <= math.MaxFloat32 {
			scaleRow(y, x, float32(inv))
			continue
		}
		for c, v := range x {
			y[c] = float32(float64(v) / length)
		}
	}
}

// UnitRowsGrad is the gradient of [UnitRows], from its input:
//
//	dx[r,c] = dy[r,c]/(‖x‖+eps) - x[r,c] · Σ_c dy[r,c]·x[r,c] / (‖x‖·(‖x‖+eps)²)
//
// with ‖x‖ that of row r, and dy[r,c]/eps in a row of zeros, or 0 if eps is 0 too. x, dx
// and dy are (rows, cols); dx may be dy or x. Sums run in float64; each row of dx is
// within 1e-6·max|dy[r]|/(‖x[r]‖+eps).
//
// UnitRowsGrad panics if a length does not fit.
func UnitRowsGrad(p *Pool, dx, dy, x []float32, rows, cols int, eps float32) {
	needShape("UnitRowsGrad", rows, cols)
	needLen("UnitRowsGrad", "dx", len(dx), rows*cols)
	needLen("UnitRowsGrad", "dy", len(dy), rows*cols)
	needLen("UnitRowsGrad", "x", len(x), rows*cols)
	s := newSweep()
	s.y, s.a, s.b, s.eps = dx, dy, x, float64(eps)
	s.over(p, s.byRows(rows, cols), unitRowsGradItem)
	s.free()
}

func unitRowsGradItem(s *sweep, i int) {
	lo, hi := s.span(i)
	n := s.cols
	for r := lo; r < hi; r++ {
		dx, dy, x := s.y[r*n:(r+1)*n], s.a[r*n:(r+1)*n], s.b[r*n:(r+1)*n]
		norm := math.Sqrt(dotRow(x, x))
		length := norm + s.eps
		if length == 0 {
			clear(dx)
			continue
		}
		inv, along := 1/length, 0.0
		if norm > 0 || norm != norm {
			along = dotRow(dy, x) / norm / length / length
		}
		if inv <= math.MaxFloat32 && math.Abs(along) <= math.MaxFloat32 {
			combineRow(dx, dy, x, float32(inv), float32(-along))
			continue
		}
		for c, v := range dy {
			dx[c] = float32(float64(v)*inv - float64(x[c])*along)
		}
	}
}

// SquaredDistance is the weighted squared distance of sequences of rows, averaged over
// the rows:
//
//	d[b] = 1/tokens · Σ_t Σ_c w[c]·(x[b,t,c] - y[b,t,c])²
//
// x and y are (batch·tokens, dim), w is (dim), d (batch). The differences are rounded to
// float32; the sums run in float64 over pieces that the shape alone cuts.
//
// SquaredDistance panics if a length does not fit.
//
// Source: Zhang et al., arXiv:1801.03924, eq. 1.
func SquaredDistance(p *Pool, d, x, y, w []float32, batch, tokens, dim int) {
	needShape("SquaredDistance", batch*tokens, dim)
	needLen("SquaredDistance", "d", len(d), batch)
	needLen("SquaredDistance", "x", len(x), batch*tokens*dim)
	needLen("SquaredDistance", "y", len(y), batch*tokens*dim)
	needLen("SquaredDistance", "w", len(w), dim)
	s := newSweep()
	s.a, s.b, s.c, s.tokens = x, y, w, tokens
	// Items are pieces of one sequence each.
	s.rows, s.cols = tokens, dim
	s.block = max(1, pieceLen/max(1, dim))
	each := ceilDiv(tokens, s.block)
	sums := s.scratch64(batch * each)
	s.over(p, batch*each, squaredDistanceItem)
	for b := range d {
		var sum float64
		for _, v := range sums[b*each : (b+1)*each] {
			sum += v
		}
		d[b] = float32(sum / float64(tokens))
	}
	s.free()
}

func squaredDistanceItem(s *sweep, i int) {
	each := ceilDiv(s.tokens, s.block)
	lo, hi := s.span(i % each)
	lo, hi = lo+i/each*s.tokens, hi+i/each*s.tokens
	var sum float64
	for r := lo; r < hi; r++ {
		x, y, w := s.a[r*s.cols:(r+1)*s.cols], s.b[r*s.cols:(r+1)*s.cols], s.c
		x, y = x[:len(w)], y[:len(w)]
		for c, v := range w {
			d := float64(x[c] - y[c])
			sum += float64(v) * d * d
		}
	}
	s.f64[i] = sum
}

// SquaredDistanceGrad is the gradient of [SquaredDistance], given g, that of d:
//
//	dx[b,t,c] = 2/tokens · g[b]·w[c]·(x[b,t,c] - y[b,t,c])
//	dw[c]     = 1/tokens · Σ_b g[b]·Σ_t (x[b,t,c] - y[b,t,c])²
//
// g is (batch); the other shapes are those of SquaredDistance. The gradient of y is -dx. dx may be
// x or y. dw may be nil, and is then left out; its sums run over fixed blocks of rows,
// which are added up in float64.
//
// SquaredDistanceGrad panics if a length does not fit.
func SquaredDistanceGrad(p *Pool, dx, dw, g, x, y, w []float32, batch, tokens, dim int) {
	needShape("SquaredDistanceGrad", batch*tokens, dim)
	needLen("SquaredDistanceGrad", "dx", len(dx), batch*tokens*dim)
	needLen("SquaredDistanceGrad", "g", len(g), batch)
	needLen("SquaredDistanceGrad", "x", len(x), batch*tokens*dim)
	needLen("SquaredDistanceGrad", "y", len(y), batch*tokens*dim)
	needLen("SquaredDistanceGrad", "w", len(w), dim)
	if dw != nil {
		needLen("SquaredDistanceGrad", "dw", len(dw), dim)
	}
	s := newSweep()
	n := s.byBlocks(batch*tokens, dim)
	s.y, s.a, s.b, s.c, s.e, s.tokens = dx, x, y, w, g, tokens
	if dw != nil {
		s.d = s.scratch32(n * dim)
	}
	s.over(p, n, squaredDistanceGradItem)
	if dw != nil {
		s.combine(p, dw, s.d, n, dim)
	}
	s.free()
}

func squaredDistanceGradItem(s *sweep, i int) {
	lo, hi := s.span(i)
	w := s.c
	var part []float32
	if s.d != nil {
		part = s.d[i*s.cols : (i+1)*s.cols]
		clear(part)
	}
	for r := lo; r < hi; r++ {
		g := float32(float64(s.e[r/s.tokens]) / float64(s.tokens))
		dx, x, y := s.y[r*s.cols : (r+1)*s.cols][:len(w)], s.a[r*s.cols : (r+1)*s.cols][:len(w)], s.b[r*s.cols : (r+1)*s.cols][:len(w)]
		for c := range part { // none without dw
			d := x[c] - y[c]
			part[c] += g * d * d
		}
		for c, v := range w {
			dx[c] = 2 * g * v * (x[c] - y[c])
		}
	}
}

// JoinColumns puts the columns of two matrices beside one another:
//
//	z[r,:] = x[r,:], y[r,:]
//
// x is (rows, m), y (rows, n), z (rows, m+n). z overlaps neither.
//
// JoinColumns panics if a length does not fit.
func JoinColumns(p *Pool, z, x, y []float32, rows, m, n int) {
	columns("JoinColumns", z, x, y, rows, m, n)
	s := newSweep()
	items := s.byRows(rows, m+n)
	s.y, s.a, s.b, s.tokens = z, x, y, m
	s.over(p, items, joinColumnsItem)
	s.free()
}

func joinColumnsItem(s *sweep, i int) {
	lo, hi := s.span(i)
	m, n := s.tokens, s.cols-s.tokens
	for r := lo; r < hi; r++ {
		z := s.y[r*s.cols : (r+1)*s.cols]
		copy(z, s.a[r*m:(r+1)*m])
		copy(z[m:], s.b[r*n:(r+1)*n])
	}
}

// SplitColumns takes apart what [JoinColumns] put together; it is its gradient. It panics
// if a length does not fit.
func SplitColumns(p *Pool, x, y, z []float32, rows, m, n int) {
	columns("SplitColumns", z, x, y, rows, m, n)
	s := newSweep()
	items := s.byRows(rows, m+n)
	s.y, s.a, s.b, s.tokens = z, x, y, m
	s.over(p, items, splitColumnsItem)
	s.free()
}

func splitColumnsItem(s *sweep, i int) {
	lo, hi := s.span(i)
	m, n := s.tokens, s.cols-s.tokens
	for r := lo; r < hi; r++ {
		z := s.y[r*s.cols : (r+1)*s.cols]
		copy(s.a[r*m:(r+1)*m], z)
		copy(s.b[r*n:(r+1)*n], z[m:])
	}
}

func columns(op string, z, x, y []float32, rows, m, n int) {
	needShape(op, rows, m)
	needShape(op, rows, n)
	needLen(op, "x", len(x), rows*m)
	needLen(op, "y", len(y), rows*n)
	needLen(op, "z", len(z), rows*(m+n))
}
