package kernel

// epilogue is what a product does with its sums s, a block of the (m, n) result at a
// time, while the block is in the cache. The zero value leaves them as they are.
// All it does is elementwise, with the kernels that do the same on a whole matrix:
// the result has the bits of one after the other.
type epilogue struct {
	kind epilogueKind
	form GELUKind
	mask dropoutMask
	n    int       // columns of y and x
	y    []float32 // (m, n), the result
	x    []float32 // (m, n), the other operand
}

type epilogueKind int

const (
	epilogueNone       epilogueKind = iota // nothing
	epilogueGELU                           // y = gelu(s)
	epilogueAdd                            // y = s + x
	epilogueDropoutAdd                     // y = dropout(s) + x, which overwrites s
	epilogueGELUGrad                       // y = s * gelu'(x)
)

const (
	epilogueCols = 192 // columns of a block that is ready, or more
	lineFloats   = 16  // float32 in a cache line
)

// apply does rows r0 … r1-1, columns j0 … j1-1. Their sums are in s, the first at
// s[0], rows at distance ld. s may be their place in y.
func (e *epilogue) apply(s []float32, ld, r0, r1, j0, j1 int) {
	if e.kind == epilogueNone {
		return
	}
	for r := r0; r < r1; r++ {
		at := r*e.n + j0
		y := e.y[at:][:j1-j0]
		sums := s[(r-r0)*ld:][:len(y)]
		switch e.kind {
		case epilogueGELU:
			e.form.row(y, sums)
		case epilogueAdd:
			addRow(y, sums, e.x[at:][:len(y)])
		case epilogueDropoutAdd:
			e.mask.apply(sums, sums, at)
			addRow(y, sums, e.x[at:][:len(y)])
		case epilogueGELUGrad:
			e.form.gradRow(y, e.x[at:][:len(y)], sums)
		}
	}
}

// sums returns where the product may leave its sums: in the place of the result, or
// nil if the other operand is there.
func (e *epilogue) sums() []float32 {
	if len(e.x) > 0 && len(e.y) > 0 && &e.x[0] == &e.y[0] {
		return nil
	}
	return e.y
}
