package kernel

import "fmt"

// Embedding looks rows of a table up:
//
//	y[i,:] = table[ids[i],:]
//
// table is (n, dim) with n = len(table)/dim, y is (len(ids), dim). A negative id
// gives a row of zeros. The slices must not overlap. With other tables it is the
// gathering of rows in general: with ids b·T + index[b] it picks one token of
// each sequence.
//
// Embedding panics if a length does not fit or an id is n or more.
func Embedding(p *Pool, y, table []float32, ids []int32, dim int) {
	needTable("Embedding", "table", len(table), ids, dim)
	needLen("Embedding", "y", len(y), len(ids)*dim)
	s := newSweep()
	s.y, s.a, s.ids = y, table, ids
	s.over(p, s.byRows(len(ids), dim), embeddingItem)
	s.free()
}

func embeddingItem(s *sweep, i int) {
	lo, hi := s.span(i)
	n := s.cols
	for r := lo; r < hi; r++ {
		y := s.y[r*n : (r+1)*n]
		if id := int(s.ids[r]); id >= 0 {
			copy(y, s.a[id*n:(id+1)*n])
		} else {
			clear(y)
		}
	}
}

// embeddingCols is the number of columns that one item of EmbeddingGrad adds up.
const embeddingCols = 64

// EmbeddingGrad is the gradient of [Embedding]:
//
//	dtable[v,:] = Σ_{i: ids[i]=v} dy[i,:]
//
// dtable is (n, dim) and is overwritten; dy is (len(ids), dim). Negative ids are
// passed by. Rows are added in float32 in the order of ids, whatever the number
// of threads.
//
// EmbeddingGrad panics if a length does not fit or an id is n or more.
func EmbeddingGrad(p *Pool, dtable, dy []float32, ids []int32, dim int) {
	needTable("EmbeddingGrad", "dtable", len(dtable), ids, dim)
	needLen("EmbeddingGrad", "dy", len(dy), len(ids)*dim)
	s := newSweep()
	s.y, s.a, s.ids, s.cols = dtable, dy, ids, dim
	s.over(p, pieces(len(dtable)), clearPiece)
	s.over(p, (dim+embeddingCols-1)/embeddingCols, embeddingGradItem)
	s.free()
}

func clearPiece(s *sweep, i int) {
	lo, hi := piece(i, len(s.y))
	clear(s.y[lo:hi])
}

func embeddingGradItem(s *sweep, i int) {
	lo, hi := i*embeddingCols, min((i+1)*embeddingCols, s.cols)
	n := s.cols
	for r, v := range s.ids {
		if id := int(v); id >= 0 {
			sum := s.y[id*n+lo : id*n+hi]
			addRow(sum, sum, s.a[r*n+lo:r*n+hi])
		}
	}
}

func needTable(op, name string, n int, ids []int32, dim int) {
	if dim <= 0 || n%dim != 0 {
		panic(fmt.Sprintf("kernel: %s: len(%s) = %d is no multiple of dim = %d", op, name, n, dim))
	}
	for i, id := range ids {
		if int(id) >= n/dim {
			panic(fmt.Sprintf("kernel: %s: ids[%d] = %d, want below %d", op, i, id, n/dim))
		}
	}
}
