package kernel

import "fmt"

// pieceLen is the number of elements one work item of an elementwise kernel
// covers. It bounds how long assembly runs without a preemption point, and it
// is where partial sums are cut, so that results do not depend on the number
// of threads.
const pieceLen = 8192

// A sweep is one call of a kernel: its operands, and the function that works
// on item i. Sweeps are pooled together with their scratch memory, so that a
// call allocates nothing in steady state; a closure handed to [Pool.Run] would.
type sweep struct {
	op func(s *sweep, i int)

	y, a, b, c, d, e []float32
	ids              []int32
	alpha            float32
	eps              float64
	rows, cols       int // shape, for row kernels
	block            int // rows of one item
	tokens           int
	low              int // first column, for kernels of some columns
	kind             GELUKind
	adam             adamWCoef
	mask             dropoutMask

	f32 []float32 // scratch, kept between calls
	f64 []float64
}

var sweeps freelist[sweep]

func newSweep() *sweep { return sweeps.get() }

func (s *sweep) item(i int) { s.op(s, i) }

// over runs op for items 0 to n-1 on p.
func (s *sweep) over(p *Pool, n int, op func(s *sweep, i int)) {
	s.op = op
	p.run(n, s)
}

// free gives s back. Its scratch stays with it; its operands do not.
func (s *sweep) free() {
	*s = sweep{f32: s.f32, f64: s.f64}
	sweeps.put(s)
}

// scratch32 gives n floats of undefined value; s.f32 is the same slice.
func (s *sweep) scratch32(n int) []float32 {
	if cap(s.f32) < n {
		s.f32 = make([]float32, n)
	}
	s.f32 = s.f32[:n]
	return s.f32
}

// scratch64 gives n floats of undefined value; s.f64 is the same slice.
func (s *sweep) scratch64(n int) []float64 {
	if cap(s.f64) < n {
		s.f64 = make([]float64, n)
	}
	s.f64 = s.f64[:n]
	return s.f64
}

// pieces is the number of items an elementwise kernel over n elements has.
func pieces(n int) int { return (n + pieceLen - 1) / pieceLen }

// piece gives the bounds of item i of n elements.
func piece(i, n int) (lo, hi int) {
	return i * pieceLen, min((i+1)*pieceLen, n)
}

// byRows sets s up for items of whole rows, about pieceLen elements each, and
// returns the number of items.
func (s *sweep) byRows(rows, cols int) int {
	s.rows, s.cols = rows, cols
	s.block = max(1, pieceLen/max(1, cols))
	return (rows + s.block - 1) / s.block
}

// byBlocks sets s up for items of at least 64 whole rows, at most 128 items, as
// kernels that reduce over rows need; it returns the number of items.
func (s *sweep) byBlocks(rows, cols int) int {
	s.rows, s.cols = rows, cols
	s.block = max(64, (rows+127)/128)
	return (rows + s.block - 1) / s.block
}

// span gives the rows of item i.
func (s *sweep) span(i int) (lo, hi int) {
	return i * s.block, min((i+1)*s.block, s.rows)
}

// needLen panics unless operand name of op has the length want.
func needLen(op, name string, got, want int) {
	if got != want {
		panic(fmt.Sprintf("kernel: %s: len(%s) = %d, want %d", op, name, got, want))
	}
}

// needShape panics unless the sizes are not negative.
func needShape(op string, rows, cols int) {
	if rows < 0 || cols < 0 {
		panic(fmt.Sprintf("kernel: %s: shape (%d, %d) is negative", op, rows, cols))
	}
}
