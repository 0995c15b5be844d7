package kernel

import "unsafe"

// Packed operands are tiles of 512 values, 1 KiB: 16 rows of A by 32 products, or 16
// columns of B by 32 products, the latter as 16 rows of 16 pairs. The tiles of a row
// tile of A, or of a column tile of B, follow on one another along the sum, and what is
// not there is zero.
const (
	bf16Side   = 16                    // rows of a tile of A, columns of one of B
	bf16Depth  = 32                    // products of a tile
	bf16Values = bf16Side * bf16Depth  // of a tile
	bf16Bytes  = bf16Values * halfSize // of a tile
	halfSize   = 2                     // bytes of a bfloat16
)

// bf16Tile is the work of a micro-kernel of bfloat16: some row tiles by few column
// tiles,
//
//	C[i,j] = init[i,j] + Σ_q A[i,q]·B[q,j],  q < 32·k
//
// Distances are in bytes. The assembly knows the order of the fields, and changes the
// pointers, which stay within their arrays.
type bf16Tile struct {
	steps   int       // row steps to do
	config  *[64]byte // shapes of the tile registers
	a       *uint16   // first tile of A
	aTile   int       // from one row tile of A to the next
	b       *uint16   // first tile of B
	bTile   int       // from one column tile of B to the next
	k       int       // tiles along the sum
	c       *float32  // C[0,0]
	cRow    int       // from one row of C to the next
	init    *float32  // what the sums start from; nil is zero
	initRow int       // from one row of it to the next, 0 for a bias
	rows    int       // rows of a step
	mask    uintptr   // lanes of the last vector
	ahead   int       // from b to what each product of tiles fetches bf16Ahead bytes of
}

// bf16Ahead is what the micro-kernel of AMX fetches ahead with each tile along the sum:
// for 256 rows or more, all of the next panel of B.
const bf16Ahead = 256

// The generator in _asm/bf16 counts on these offsets.
var (
	_ = [1]struct{}{}[unsafe.Offsetof(bf16Tile{}.b)-4*8]
	_ = [1]struct{}{}[unsafe.Offsetof(bf16Tile{}.initRow)-10*8]
	_ = [1]struct{}{}[unsafe.Offsetof(bf16Tile{}.ahead)-13*8]
)

// bf16Pack rounds n tiles to bfloat16, from src with rows lds apart to dst with tiles
// step bytes apart.
type bf16Pack func(n int, src *float32, lds int, dst *uint16, step int)

// bf16Kernel is one implementation of the products of bfloat16.
type bf16Kernel struct {
	panel int // most column tiles of a panel
	// run does rows rows of cols columns; it sets the fields that follow from those, and
	// leaves the pointers anywhere.
	run func(t *bf16Tile, rows, cols int)
	// What the tiles of A and of B are packed from: 16 rows of 32 values, for n tiles
	// along the rows, where the sum runs along them; else 32 rows of 16 values.
	rowsA, colsA, rowsB, colsB bf16Pack
}

var bf16Kernels = newDispatch(&bf16Kernel{1, runBF16Generic, packBF16RowsGeneric, packBF16PairsTGeneric, packBF16RowsTGeneric, packBF16PairsGeneric})

// half returns the tile at an offset in bytes.
func half(p *uint16, offset int) *uint16 { return (*uint16)(unsafe.Add(unsafe.Pointer(p), offset)) }

// tileOf is a tile as an array.
func tileOf(p *uint16, offset int) *[bf16Values]uint16 {
	return (*[bf16Values]uint16)(unsafe.Add(unsafe.Pointer(p), offset))
}

func runBF16Generic(t *bf16Tile, rows, cols int) {
	for i := range rows {
		for j := range cols {
			var sum float32
			if t.init != nil {
				sum = *at(t.init, i*t.initRow+j*wordSize)
			}
			for s := range t.k {
				a := tileOf(t.a, i/bf16Side*t.aTile+s*bf16Bytes)[i%bf16Side*bf16Depth:][:bf16Depth]
				b := tileOf(t.b, j/bf16Side*t.bTile+s*bf16Bytes)[j%bf16Side*2:]
				for q, v := range a {
					sum += fromBF16(v) * fromBF16(b[q/2*2*bf16Side+q%2])
				}
			}
			*at(t.c, i*t.cRow+j*wordSize) = sum
		}
	}
}

// packBF16Generic packs with the place of value (row, col) of a source tile of rows by
// cols in the tile given.
func packBF16Generic(rows, cols, n int, src *float32, lds int, dst *uint16, step int, place func(row, col int) int) {
	for i := range n {
		to := tileOf(dst, i*step)
		for r := range rows {
			for c := range cols {
				to[place(r, c)] = roundBF16(*at(src, (r*lds+i*cols+c)*wordSize))
			}
		}
	}
}

func packBF16RowsGeneric(n int, src *float32, lds int, dst *uint16, step int) {
	packBF16Generic(bf16Side, bf16Depth, n, src, lds, dst, step, placeA)
}

func packBF16PairsTGeneric(n int, src *float32, lds int, dst *uint16, step int) {
	packBF16Generic(bf16Depth, bf16Side, n, src, lds, dst, step, func(q, i int) int { return placeA(i, q) })
}

func packBF16RowsTGeneric(n int, src *float32, lds int, dst *uint16, step int) {
	packBF16Generic(bf16Side, bf16Depth, n, src, lds, dst, step, func(j, q int) int { return placeB(q, j) })
}

func packBF16PairsGeneric(n int, src *float32, lds int, dst *uint16, step int) {
	packBF16Generic(bf16Depth, bf16Side, n, src, lds, dst, step, placeB)
}

// placeA and placeB are where row i of A and column j of B have product q.
func placeA(i, q int) int { return i*bf16Depth + q }
func placeB(q, j int) int { return q/2*2*bf16Side + 2*j + q%2 }
