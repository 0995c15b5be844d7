package kernel

// SwiGLU gates one half of each row by the other:
//
//	y[r,c] = silu(x[r,c]) * x[r,cols+c]        silu(g) = g·σ(g)
//
// x is (rows, 2·cols), [gate|value]; y is (rows, cols), another slice. silu is
// within 2e-6·max(1, |exact|) of the exact one; it is zero at -Inf.
//
// SwiGLU panics if a length does not fit.
//
// Source: Shazeer, arXiv:2002.05202, eq. 5.
func SwiGLU(p *Pool, y, x []float32, rows, cols int) {
	needShape("SwiGLU", rows, cols)
	needLen("SwiGLU", "y", len(y), rows*cols)
	needLen("SwiGLU", "x", len(x), 2*rows*cols)
	s := newSweep()
	s.y, s.a = y, x
	s.over(p, s.byRows(rows, cols), swiGLUItem)
	s.free()
}

// SwiGLUGrad is the gradient of [SwiGLU]:
//
//	dx[r,c]      = dy[r,c] * x[r,cols+c] * silu'(x[r,c])
//	dx[r,cols+c] = dy[r,c] * silu(x[r,c])
//
// dx and x are (rows, 2·cols), and may be the same slice; dy is (rows, cols). The
// derivative is within 4e-6 of the exact one.
//
// SwiGLUGrad panics if a length does not fit.
func SwiGLUGrad(p *Pool, dx, x, dy []float32, rows, cols int) {
	needShape("SwiGLUGrad", rows, cols)
	needLen("SwiGLUGrad", "dx", len(dx), 2*rows*cols)
	needLen("SwiGLUGrad", "x", len(x), 2*rows*cols)
	needLen("SwiGLUGrad", "dy", len(dy), rows*cols)
	s := newSweep()
	s.y, s.a, s.b = dx, x, dy
	items := s.byRows(rows, cols)
	s.scratch32(items * 2 * siluChunk)
	s.over(p, items, swiGLUGradItem)
	s.free()
}

// quickSlope is the factor inside GELUQuick: silu(g) = quickSlope·GELUQuick(g/quickSlope),
// and the derivatives of both at these places are equal.
const quickSlope = 1.702

// siluChunk is the number of columns whose gradient is worked on at a time.
const siluChunk = 512

func swiGLUItem(s *sweep, i int) {
	lo, hi := s.span(i)
	for r := lo; r < hi; r++ {
		y := s.y[r*s.cols : (r+1)*s.cols]
		siluRow(y, s.a[2*r*s.cols:][:s.cols])
		mulRow(y, y, s.a[(2*r+1)*s.cols:][:s.cols])
	}
}

// siluRow: y = silu(x).
func siluRow(y, x []float32) {
	scaleRow(y, x, 1/quickSlope)
	geluQuickRow(y, y)
	scaleRow(y, y, quickSlope)
}

func swiGLUGradItem(s *sweep, i int) {
	buffer, slope := s.f32[2*i*siluChunk:][:siluChunk], s.f32[(2*i+1)*siluChunk:][:siluChunk]
	lo, hi := s.span(i)
	for r := lo; r < hi; r++ {
		dy := s.b[r*s.cols : (r+1)*s.cols]
		gate, value := s.a[2*r*s.cols:][:s.cols], s.a[(2*r+1)*s.cols:][:s.cols]
		dgate, dvalue := s.y[2*r*s.cols:][:s.cols], s.y[(2*r+1)*s.cols:][:s.cols]
		for at := 0; at < s.cols; at += siluChunk {
			end := min(at+siluChunk, s.cols)
			t, d := buffer[:end-at], slope[:end-at]
			scaleRow(t, gate[at:end], 1/quickSlope)
			mulRow(d, dy[at:end], value[at:end])
			geluQuickGradRow(d, t, d)
			siluRow(t, gate[at:end])
			mulRow(dvalue[at:end], dy[at:end], t)
			copy(dgate[at:end], d)
		}
	}
}
