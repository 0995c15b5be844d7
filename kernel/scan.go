package kernel

import (
	"fmt"
	"math/bits"
)

// Hit is one score that a scan let through.
type Hit struct {
	Query int32
	Row   int32 // counted from the first row of the call
	Score float32
}

// Queries are vectors packed to be compared with many others. A scan computes the
// scores block by block in cache and keeps only those that reach a threshold, so
// that the matrix of all scores is never stored. Queries do not change and may be
// used by several goroutines at once.
type Queries struct {
	n, dim int
	micro  *microKernel
	packed []float32 // panel after panel, each (dim, micro.nr)
}

// PackQueries packs x (n, dim) for the active tier.
//
// PackQueries panics if dim is not positive or the length is no multiple of it.
func PackQueries(x []float32, dim int) *Queries {
	if dim < 1 || len(x)%dim != 0 {
		panic(fmt.Sprintf("kernel: PackQueries: %d values are no vectors of width %d", len(x), dim))
	}
	u := microKernels.get()
	q := &Queries{n: len(x) / dim, dim: dim, micro: u}
	q.packed = make([]float32, u.panelCount(q.n)*u.nr*dim)
	for j := 0; j < q.n; j += u.nr {
		u.packT(min(u.nr, q.n-j), dim, x[j*dim:], dim, q.packed[j*dim:], u.nr)
	}
	return q
}

// Len returns the number of queries.
func (q *Queries) Len() int { return q.n }

const (
	scanRows  = 128 // rows of a block, whose scores with a panel of queries stay in the level-1 cache
	scanReuse = 4   // panels from which on it pays to pack the rows
)

// scanWork is the scratch memory of one scan.
type scanWork struct {
	t      tile
	a      []float32
	scores []float32
	masks  [scanRows]uint64
	level  [64]float32
}

var scanWorks freelist[scanWork]

// Above appends to hits what does not lie below its query's threshold among the
// scores
//
//	s[r,j] = Σ_d rows[r,d]·query[j,d]
//
// and every score that is NaN. rows is (n, dim), row-major, thresholds has one value
// for each query. Sums run in float32 in the order of d; a score does not depend on what
// else is in the call. The order of the hits is not
// specified.
//
// Above panics if a length does not fit.
func (q *Queries) Above(hits []Hit, rows, thresholds []float32) []Hit {
	if len(rows)%q.dim != 0 || len(thresholds) != q.n {
		panic(fmt.Sprintf("kernel: Above: %d values of width %d, %d thresholds for %d queries", len(rows), q.dim, len(thresholds), q.n))
	}
	w := scanWorks.get()
	w.scores = room(w.scores, scanRows*q.micro.nr)
	for n, r := len(rows)/q.dim, 0; r < n; r += scanRows {
		hits = q.block(w, hits, rows[r*q.dim:min(n, r+scanRows)*q.dim], r, thresholds)
	}
	w.t = tile{}
	scanWorks.put(w)
	return hits
}

// block scans at most scanRows rows, of which the first has the number first.
func (q *Queries) block(w *scanWork, hits []Hit, rows []float32, first int, thresholds []float32) []Hit {
	u, dim := q.micro, q.dim
	n, mr, nr := len(rows)/dim, u.mr, u.nr
	kc := dim
	if most := gemmBlocking.kc; dim > most {
		kc = (ceilDiv(dim, ceilDiv(dim, most)) + 3) &^ 3
	}
	panels := u.panelCount(q.n)
	pack := panels >= scanReuse || panels > 1 && dim%256 == 0
	if pack {
		w.a = room(w.a, ceilDiv(n, mr)*mr*dim)
		for k := 0; k < dim; k += kc {
			part := w.a[k*ceilDiv(n, mr)*mr:]
			size := min(kc, dim-k)
			for r := 0; r < n; r += mr {
				u.packT(min(mr, n-r), size, rows[r*dim+k:], dim, part[r*size:], mr)
			}
		}
	}
	t := &w.t
	for j := 0; j < q.n; j += nr {
		cols := min(nr, q.n-j)
		for k := 0; k < dim; k += kc {
			t.kc, t.segs = min(kc, dim-k), 1
			if pack {
				t.a, t.aRow, t.aStep, t.aNext = &w.a[k*ceilDiv(n, mr)*mr], wordSize, mr*wordSize, mr*t.kc*wordSize
			} else {
				t.a, t.aRow, t.aStep, t.aNext = &rows[k], dim*wordSize, wordSize, mr*dim*wordSize
			}
			t.b, t.bStep = &q.packed[j*dim+k*nr], nr*wordSize
			t.c, t.cRow = &w.scores[0], nr*wordSize
			t.init, t.initRow = nil, 0
			if k > 0 {
				t.init, t.initRow = t.c, t.cRow
			}
			u.panel(t, n, cols)
		}
		hits = w.sift(hits, n, cols, nr, first, j, thresholds[j:j+cols])
	}
	return hits
}

// sift appends the hits among the scores (rows, cols), which lie nr apart.
func (w *scanWork) sift(hits []Hit, rows, cols, nr, row, query int, thresholds []float32) []Hit {
	level := w.level[:nr]
	copy(level, thresholds)
	clear(level[cols:])
	scanKernel.get()(w.masks[:rows], w.scores, level)
	inside := uint64(1)<<cols - 1
	for r, mask := range w.masks[:rows] {
		for mask &= inside; mask != 0; mask &= mask - 1 {
			c := bits.TrailingZeros64(mask)
			hits = append(hits, Hit{int32(query + c), int32(row + r), w.scores[r*nr+c]})
		}
	}
	return hits
}

// siftRow appends the hits among the scores of one query with the rows from row on. The
// room for scores goes on to a multiple of 16.
func (w *scanWork) siftRow(hits []Hit, scores []float32, row, query int, threshold float32) []Hit {
	const lanes = 16
	level := w.level[:lanes]
	for i := range level {
		level[i] = threshold
	}
	n := ceilDiv(len(scores), lanes)
	scanKernel.get()(w.masks[:n], scores[:n*lanes], level)
	for i, mask := range w.masks[:n] {
		if left := len(scores) - i*lanes; left < lanes {
			mask &= 1<<left - 1
		}
		for ; mask != 0; mask &= mask - 1 {
			r := i*lanes + bits.TrailingZeros64(mask)
			hits = append(hits, Hit{int32(query), int32(row + r), scores[r]})
		}
	}
	return hits
}

// scanKernel sets bit c of masks[r] where scores[r·n+c] is not below thresholds[c],
// n = len(thresholds), which is a multiple of 16 and at most 48.
var scanKernel = newDispatch(scanMasksGeneric)

func scanMasksGeneric(masks []uint64, scores, thresholds []float32) {
	n := len(thresholds)
	for r := range masks {
		var mask uint64
		row := scores[r*n : (r+1)*n]
		for c, t := range thresholds {
			if !(row[c] < t) {
				mask |= 1 << c
			}
		}
		masks[r] = mask
	}
}
