package kernel

// Sum adds up a vector:
//
//	Σ_i x[i]
//
// It adds in float64, within pieces of fixed length that are then added in
// order: the result does not depend on the number of threads. Its error is at
// most len(x)·2⁻⁵³·Σ|x|.
func Sum(p *Pool, x []float32) float64 {
	s := newSweep()
	s.a = x
	r := s.reduce(p, len(x), sumPiece)
	s.free()
	return r
}

func sumPiece(s *sweep, i int) {
	lo, hi := piece(i, len(s.a))
	s.f64[i] = sumRow(s.a[lo:hi])
}

// SumSquares adds up the squares of a vector:
//
//	Σ_i x[i]²
//
// It squares and adds in float64, so that nothing overflows, with the order and
// the error of [Sum].
func SumSquares(p *Pool, x []float32) float64 {
	s := newSweep()
	s.a = x
	r := s.reduce(p, len(x), sumSquaresPiece)
	s.free()
	return r
}

func sumSquaresPiece(s *sweep, i int) {
	lo, hi := piece(i, len(s.a))
	s.f64[i] = dotRow(s.a[lo:hi], s.a[lo:hi])
}

// Dot is the inner product of two vectors:
//
//	Σ_i a[i]·b[i]
//
// It multiplies and adds in float64, with the order and the error of [Sum].
//
// Dot panics if the lengths differ.
func Dot(p *Pool, a, b []float32) float64 {
	needLen("Dot", "b", len(b), len(a))
	s := newSweep()
	s.a, s.b = a, b
	r := s.reduce(p, len(a), dotPiece)
	s.free()
	return r
}

func dotPiece(s *sweep, i int) {
	lo, hi := piece(i, len(s.a))
	s.f64[i] = dotRow(s.a[lo:hi], s.b[lo:hi])
}

// reduce runs op, which leaves one partial sum per piece in s.f64, and adds
// those in order.
func (s *sweep) reduce(p *Pool, n int, op func(s *sweep, i int)) float64 {
	k := pieces(n)
	part := s.scratch64(k)
	s.over(p, k, op)
	var sum float64
	for _, v := range part {
		sum += v
	}
	return sum
}

// AllFinite reports whether x has neither NaN nor an infinity.
func AllFinite(x []float32) bool {
	for len(x) > pieceLen {
		if !finiteRow(x[:pieceLen]) {
			return false
		}
		x = x[pieceLen:]
	}
	return finiteRow(x)
}

// ColSum adds up the rows of a matrix:
//
//	dst[c] = Σ_r x[r,c]
//
// x is (rows, cols), row-major; dst is (cols) and is overwritten. The rows are
// added in float32 within fixed blocks of at least 64 rows, and the blocks in
// float64: the result does not depend on the number of threads, and its error is
// below (64 + rows/128)·2⁻²⁴·Σ_r|x[r,c]|.
//
// ColSum panics if a length does not fit.
func ColSum(p *Pool, dst, x []float32, rows, cols int) {
	needShape("ColSum", rows, cols)
	needLen("ColSum", "dst", len(dst), cols)
	needLen("ColSum", "x", len(x), rows*cols)
	s := newSweep()
	n := s.byBlocks(rows, cols)
	s.a = x
	s.d = s.scratch32(n * cols)
	s.over(p, n, colSumItem)
	s.combine(p, dst, s.d, n, cols)
	s.free()
}

func colSumItem(s *sweep, i int) {
	lo, hi := s.span(i)
	colSumRows(s.d[i*s.cols:(i+1)*s.cols], s.a[lo*s.cols:hi*s.cols], hi-lo)
}

// combineCols is the number of columns that one item of combine adds up.
const combineCols = 256

// combine adds the n rows of part (n, cols) up in float64 and writes them to
// dst. It uses the sweep's operands y, c and rows, cols.
func (s *sweep) combine(p *Pool, dst, part []float32, n, cols int) {
	s.y, s.d, s.rows, s.cols = dst, part, n, cols
	s.f64 = s.scratch64(cols)
	s.over(p, (cols+combineCols-1)/combineCols, combineItem)
}

func combineItem(s *sweep, i int) {
	lo, hi := i*combineCols, min((i+1)*combineCols, s.cols)
	sum := s.f64[lo:hi]
	clear(sum)
	for r := range s.rows {
		accumulateRow(sum, s.d[r*s.cols+lo:r*s.cols+hi])
	}
	for c, v := range sum {
		s.y[lo+c] = float32(v)
	}
}

// RowSum adds up the columns of a matrix:
//
//	dst[r] = Σ_c x[r,c]
//
// x is (rows, cols), row-major; dst is (rows). The sums run in float64.
//
// RowSum panics if a length does not fit.
func RowSum(p *Pool, dst, x []float32, rows, cols int) {
	needShape("RowSum", rows, cols)
	needLen("RowSum", "dst", len(dst), rows)
	needLen("RowSum", "x", len(x), rows*cols)
	s := newSweep()
	s.y, s.a = dst, x
	s.over(p, s.byRows(rows, cols), rowSumItem)
	s.free()
}

func rowSumItem(s *sweep, i int) {
	lo, hi := s.span(i)
	for r := lo; r < hi; r++ {
		s.y[r] = float32(sumRow(s.a[r*s.cols : (r+1)*s.cols]))
	}
}
