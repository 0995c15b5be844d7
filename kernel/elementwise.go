package kernel

import "fmt"

// Add adds two vectors:
//
//	y[i] = a[i] + b[i]
//
// y may be a or b. The result is the correctly rounded sum.
//
// Add panics if the lengths differ.
func Add(p *Pool, y, a, b []float32) {
	needLen("Add", "a", len(a), len(y))
	needLen("Add", "b", len(b), len(y))
	s := newSweep()
	s.y, s.a, s.b = y, a, b
	s.over(p, pieces(len(y)), addPiece)
	s.free()
}

func addPiece(s *sweep, i int) {
	lo, hi := piece(i, len(s.y))
	addRow(s.y[lo:hi], s.a[lo:hi], s.b[lo:hi])
}

// Mul multiplies two vectors element by element:
//
//	y[i] = a[i] * b[i]
//
// y may be a or b. The result is the correctly rounded product.
//
// Mul panics if the lengths differ.
func Mul(p *Pool, y, a, b []float32) {
	needLen("Mul", "a", len(a), len(y))
	needLen("Mul", "b", len(b), len(y))
	s := newSweep()
	s.y, s.a, s.b = y, a, b
	s.over(p, pieces(len(y)), mulPiece)
	s.free()
}

func mulPiece(s *sweep, i int) {
	lo, hi := piece(i, len(s.y))
	mulRow(s.y[lo:hi], s.a[lo:hi], s.b[lo:hi])
}

// Axpy adds a multiple of x to y:
//
//	y[i] += alpha * x[i]
//
// y may be x. The result has at most two roundings (one where the tier has
// fused multiply-add).
//
// Axpy panics if the lengths differ.
func Axpy(p *Pool, y []float32, alpha float32, x []float32) {
	needLen("Axpy", "x", len(x), len(y))
	s := newSweep()
	s.y, s.a, s.alpha = y, x, alpha
	s.over(p, pieces(len(y)), axpyPiece)
	s.free()
}

func axpyPiece(s *sweep, i int) {
	lo, hi := piece(i, len(s.y))
	axpyRow(s.y[lo:hi], s.a[lo:hi], s.alpha)
}

// Scale multiplies a vector by a number:
//
//	y[i] = alpha * x[i]
//
// y may be x. The result is the correctly rounded product.
//
// Scale panics if the lengths differ.
func Scale(p *Pool, y []float32, alpha float32, x []float32) {
	needLen("Scale", "x", len(x), len(y))
	s := newSweep()
	s.y, s.a, s.alpha = y, x, alpha
	s.over(p, pieces(len(y)), scalePiece)
	s.free()
}

func scalePiece(s *sweep, i int) {
	lo, hi := piece(i, len(s.y))
	scaleRow(s.y[lo:hi], s.a[lo:hi], s.alpha)
}

// AddScalar adds a number to a vector:
//
//	y[i] = x[i] + alpha
//
// y may be x. The result is the correctly rounded sum.
//
// AddScalar panics if the lengths differ.
func AddScalar(p *Pool, y []float32, alpha float32, x []float32) {
	needLen("AddScalar", "x", len(x), len(y))
	s := newSweep()
	s.y, s.a, s.alpha = y, x, alpha
	s.over(p, pieces(len(y)), addScalarPiece)
	s.free()
}

func addScalarPiece(s *sweep, i int) {
	lo, hi := piece(i, len(s.y))
	addScalarRow(s.y[lo:hi], s.a[lo:hi], s.alpha)
}

// Exp takes the exponential of a vector:
//
//	y[i] = exp(x[i])
//
// y may be x. The result is within 2 ulp of the exact one (2.4e-7 relative for
// normal numbers, and subnormal ones are not flushed). NaN gives NaN, +Inf and
// everything above 88.723 +Inf, -Inf and everything below -103.98 zero.
//
// Exp panics if the lengths differ.
//
// Source: range reduction of Cody and Waite with the polynomial of Moshier's
// Cephes library, expf.c.
func Exp(p *Pool, y, x []float32) {
	needLen("Exp", "x", len(x), len(y))
	s := newSweep()
	s.y, s.a = y, x
	s.over(p, pieces(len(y)), expPiece)
	s.free()
}

func expPiece(s *sweep, i int) {
	lo, hi := piece(i, len(s.y))
	expRow(s.y[lo:hi], s.a[lo:hi])
}

// AddRows adds the rows of a table over and over, as a position embedding does:
//
//	y[r,c] = x[r,c] + table[r mod tokens, c]
//
// x and y are (rows, dim), and may be the same slice; table is (tokens, dim),
// with tokens = len(table)/dim. The gradient of x is that of y. The gradient of
// table is the sum over the batch, which is [ColSum] of dy taken as a matrix of
// (rows/tokens, tokens·dim).
//
// AddRows panics if a length does not fit or rows is not a multiple of tokens.
func AddRows(p *Pool, y, x, table []float32, rows, dim int) {
	needShape("AddRows", rows, dim)
	needLen("AddRows", "y", len(y), rows*dim)
	needLen("AddRows", "x", len(x), rows*dim)
	if len(y) == 0 {
		return
	}
	if len(table) == 0 || len(y)%len(table) != 0 || len(table)%dim != 0 {
		needLen("AddRows", "table", len(table), len(y))
	}
	s := newSweep()
	s.y, s.a, s.b = y, x, table
	s.over(p, s.byRows(len(y)/dim, dim), addRowsItem)
	s.free()
}

func addRowsItem(s *sweep, i int) {
	lo, hi := s.span(i)
	lo, hi = lo*s.cols, hi*s.cols
	for lo < hi {
		t := lo % len(s.b)
		n := min(hi-lo, len(s.b)-t)
		addRow(s.y[lo:lo+n], s.a[lo:lo+n], s.b[t:t+n])
		lo += n
	}
}

// ColumnScale multiplies each column by its own number:
//
//	y[r,c] = x[r,c] * gain[c]
//
// x and y are (rows, cols), row-major, and may be the same slice; gain is
// (cols). The result is the correctly rounded product.
//
// ColumnScale panics if a length does not fit.
func ColumnScale(p *Pool, y, x, gain []float32, rows, cols int) {
	needShape("ColumnScale", rows, cols)
	needLen("ColumnScale", "y", len(y), rows*cols)
	needLen("ColumnScale", "x", len(x), rows*cols)
	needLen("ColumnScale", "gain", len(gain), cols)
	s := newSweep()
	s.y, s.a, s.b = y, x, gain
	s.over(p, s.byRows(rows, cols), columnScaleItem)
	s.free()
}

func columnScaleItem(s *sweep, i int) {
	lo, hi := s.span(i)
	for r := lo; r < hi; r++ {
		mulRow(s.y[r*s.cols:(r+1)*s.cols], s.a[r*s.cols:(r+1)*s.cols], s.b)
	}
}

// ColumnScaleGrad is the gradient of [ColumnScale]:
//
//	dx[r,c]  = dy[r,c] * gain[c]
//	dgain[c] = Σ_r dy[r,c] * x[r,c]
//
// x, dx and dy are (rows, cols); dx may be dy; dgain is (cols). dx or dgain may
// be nil, and is then left out. The sums run over fixed blocks of rows, which
// are added up in float64: they do not depend on the number of threads.
//
// ColumnScaleGrad panics if a length does not fit.
func ColumnScaleGrad(p *Pool, dx, dgain, dy, x, gain []float32, rows, cols int) {
	needShape("ColumnScaleGrad", rows, cols)
	needLen("ColumnScaleGrad", "dy", len(dy), rows*cols)
	needLen("ColumnScaleGrad", "x", len(x), rows*cols)
	needLen("ColumnScaleGrad", "gain", len(gain), cols)
	if dx != nil {
		needLen("ColumnScaleGrad", "dx", len(dx), rows*cols)
	}
	if dgain != nil {
		needLen("ColumnScaleGrad", "dgain", len(dgain), cols)
	}
	s := newSweep()
	n := s.byBlocks(rows, cols)
	s.y, s.a, s.b, s.c = dx, dy, x, gain
	if dgain != nil {
		s.d = s.scratch32(n * cols)
	}
	s.over(p, n, columnScaleGradItem)
	if dgain != nil {
		s.combine(p, dgain, s.d, n, cols)
	}
	s.free()
}

func columnScaleGradItem(s *sweep, i int) {
	lo, hi := s.span(i)
	var part []float32
	if s.d != nil {
		part = s.d[i*s.cols : (i+1)*s.cols]
		clear(part)
	}
	for r := lo; r < hi; r++ {
		dy := s.a[r*s.cols : (r+1)*s.cols]
		if part != nil {
			mulAddRow(part, dy, s.b[r*s.cols:(r+1)*s.cols])
		}
		if s.y != nil {
			mulRow(s.y[r*s.cols:(r+1)*s.cols], dy, s.c)
		}
	}
}

// AddColumns adds a matrix to some of the columns of a wider one:
//
//	y[r,c] = x[r,c] + z[r,c-at]   for at ≤ c < at+width
//	y[r,c] = x[r,c]               elsewhere
//
// x and y are (rows, cols), row-major, and may be the same slice, whose other
// columns are then not touched; z is (rows, width). The result is the correctly
// rounded sum. The gradient of x is that of y, and the gradient of z is what
// [Columns] takes of it.
//
// AddColumns panics if a length does not fit or the columns are not there.
func AddColumns(p *Pool, y, x, z []float32, rows, cols, at, width int) {
	needColumns("AddColumns", rows, cols, at, width)
	needLen("AddColumns", "y", len(y), rows*cols)
	needLen("AddColumns", "x", len(x), rows*cols)
	needLen("AddColumns", "z", len(z), rows*width)
	if len(y) == 0 {
		return
	}
	s := newSweep()
	s.y, s.a, s.b = y, x, z
	n := s.byRows(rows, cols)
	s.low, s.tokens = at, width
	s.over(p, n, addColumnsItem)
	s.free()
}

func addColumnsItem(s *sweep, i int) {
	lo, hi := s.span(i)
	inPlace := &s.y[0] == &s.a[0]
	for r := lo; r < hi; r++ {
		y, x := s.y[r*s.cols:(r+1)*s.cols], s.a[r*s.cols:(r+1)*s.cols]
		high := s.low + s.tokens
		if !inPlace {
			copy(y[:s.low], x)
			copy(y[high:], x[high:])
		}
		addRow(y[s.low:high], x[s.low:high], s.b[r*s.tokens:(r+1)*s.tokens])
	}
}

// Columns takes some of the columns of a matrix:
//
//	y[r,c] = x[r,at+c]   for 0 ≤ c < width
//
// x is (rows, cols), y (rows, width), row-major. The slices must not overlap.
//
// Columns panics if a length does not fit or the columns are not there.
func Columns(p *Pool, y, x []float32, rows, cols, at, width int) {
	needColumns("Columns", rows, cols, at, width)
	needLen("Columns", "y", len(y), rows*width)
	needLen("Columns", "x", len(x), rows*cols)
	s := newSweep()
	s.y, s.a = y, x
	n := s.byRows(rows, width)
	s.cols, s.low, s.tokens = cols, at, width
	s.over(p, n, columnsItem)
	s.free()
}

func columnsItem(s *sweep, i int) {
	lo, hi := s.span(i)
	for r := lo; r < hi; r++ {
		copy(s.y[r*s.tokens:(r+1)*s.tokens], s.a[r*s.cols+s.low:])
	}
}

// needColumns panics unless columns at to at+width are there.
func needColumns(op string, rows, cols, at, width int) {
	needShape(op, rows, cols)
	if at < 0 || width < 0 || at > cols-width {
		panic(fmt.Sprintf("kernel: %s: %d columns from %d of %d", op, width, at, cols))
	}
}

// PrependToken puts one learned row before the rows of every sequence:
//
//	y[b,0,:]   = token
//	y[b,1+t,:] = x[b,t,:]
//
// x is (batch·tokens, dim), y (batch·(tokens+1), dim), token (dim). The slices
// must not overlap.
//
// PrependToken panics if a length does not fit.
func PrependToken(p *Pool, y, x, token []float32, batch, tokens, dim int) {
	needShape("PrependToken", batch, tokens)
	needLen("PrependToken", "x", len(x), batch*tokens*dim)
	needLen("PrependToken", "y", len(y), batch*(tokens+1)*dim)
	needLen("PrependToken", "token", len(token), dim)
	s := newSweep()
	s.y, s.a, s.b = y, x, token
	s.tokens, s.cols = tokens, dim
	s.over(p, batch, prependTokenItem)
	s.free()
}

func prependTokenItem(s *sweep, b int) {
	n := s.tokens * s.cols
	y := s.y[b*(n+s.cols) : (b+1)*(n+s.cols)]
	copy(y, s.b)
	copy(y[s.cols:], s.a[b*n:(b+1)*n])
}

// PrependTokenGrad is the gradient of [PrependToken]:
//
//	dx[b,t,:] = dy[b,1+t,:]
//	dtoken    = Σ_b dy[b,0,:]
//
// The shapes are those of PrependToken. dx or dtoken may be nil, and is then
// left out. The sum runs over b in order, in float64.
//
// PrependTokenGrad panics if a length does not fit.
func PrependTokenGrad(p *Pool, dx, dtoken, dy []float32, batch, tokens, dim int) {
	needShape("PrependTokenGrad", batch, tokens)
	needLen("PrependTokenGrad", "dy", len(dy), batch*(tokens+1)*dim)
	if dx != nil {
		needLen("PrependTokenGrad", "dx", len(dx), batch*tokens*dim)
	}
	if dtoken != nil {
		needLen("PrependTokenGrad", "dtoken", len(dtoken), dim)
	}
	s := newSweep()
	s.y, s.a = dx, dy
	s.tokens, s.cols = tokens, dim
	if dx != nil {
		s.over(p, batch, prependTokenGradItem)
	}
	if dtoken != nil {
		sum := s.scratch64(dim)
		clear(sum)
		for b := range batch {
			o := b * (tokens + 1) * dim
			accumulateRow(sum, dy[o:o+dim])
		}
		for i, v := range sum {
			dtoken[i] = float32(v)
		}
	}
	s.free()
}

func prependTokenGradItem(s *sweep, b int) {
	n := s.tokens * s.cols
	copy(s.y[b*n:(b+1)*n], s.a[b*(n+s.cols)+s.cols:(b+1)*(n+s.cols)])
}

// Transpose turns a matrix over:
//
//	y[c,r] = x[r,c]
//
// x is (rows, cols), y (cols, rows). The slices must not overlap.
//
// Transpose panics if a length does not fit.
func Transpose(p *Pool, y, x []float32, rows, cols int) {
	needShape("Transpose", rows, cols)
	needLen("Transpose", "y", len(y), rows*cols)
	needLen("Transpose", "x", len(x), rows*cols)
	s := newSweep()
	s.y, s.a = y, x
	s.rows, s.cols, s.block = rows, cols, 32
	s.over(p, (rows+31)/32, transposeItem)
	s.free()
}

func transposeItem(s *sweep, i int) {
	lo, hi := s.span(i)
	for c0 := 0; c0 < s.cols; c0 += 32 {
		c1 := min(c0+32, s.cols)
		for c := c0; c < c1; c++ {
			y := s.y[c*s.rows+lo : c*s.rows+hi]
			x := s.a[lo*s.cols+c:]
			for r := range y {
				y[r] = x[r*s.cols]
			}
		}
	}
}
