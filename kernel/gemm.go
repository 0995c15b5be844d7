package kernel

import "fmt"

// Gemm computes C = op(A)·op(B), or C += op(A)·op(B) if accumulate is set:
//
//	C[i,j] = Σ_p op(A)[i,p]·op(B)[p,j],  i < m, j < n, p < k
//
// op(A) is (m, k): A itself, or with transA the transpose of A, which is stored
// (k, m). op(B) is (k, n), or with transB stored (n, k). lda, ldb and ldc are the
// distances between stored rows. C must not overlap A or B. Sums run in float32.
//
// Gemm panics if a leading dimension or a length does not fit.
func Gemm(p *Pool, transA, transB bool, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, accumulate bool) {
	checkGemm(transA, transB, m, n, k, a, lda, b, ldb, c, ldc)
	gemm(p, transA, transB, m, n, k, a, lda, b, ldb, c, ldc, accumulate, nil, epilogue{})
}

// gemm is [Gemm] without its checks; with bias (n) instead of accumulate, sums start
// from bias. An epilogue takes the sums from C, or from scratch memory if c is nil.
func gemm(p *Pool, transA, transB bool, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, accumulate bool, bias []float32, e epilogue) {
	if m == 0 || n == 0 {
		return
	}
	if p.Precision() == BF16 {
		gemmBF16(p, transA, transB, m, n, k, a, lda, b, ldb, c, ldc, accumulate, bias, e)
		return
	}
	g := gemmJobs.get()
	g.transA, g.transB, g.m, g.n, g.k = transA, transB, m, n, k
	g.a, g.lda, g.b, g.ldb, g.c, g.ldc = a, lda, b, ldb, c, ldc
	g.accumulate, g.bias, g.epilogue = accumulate, bias, e
	g.run(p)
	g.a, g.b, g.c, g.bias, g.epilogue = nil, nil, nil, nil, epilogue{}
	gemmJobs.put(g)
}

// gemmCut is how large the blocks of a product are. It changes no bit of the result: a
// sum that is stored and taken up again goes on as it was.
type gemmCut struct {
	kc int // products that a sum takes up before it is stored
	mc int // most rows of A in a block, which stays in the level-2 cache
}

// gemmCutFor chooses by the size of the level-2 cache in bytes. Sums twice as long spare
// a pass over C, where twice the panel of B still leaves room for the block of A.
func gemmCutFor(level2 int) gemmCut {
	if level2 >= 2<<20 {
		return gemmCut{768, 384}
	}
	return gemmCut{384, 208}
}

var gemmBlocking = gemmCutFor(level2Cache())

// How else a product is cut. The numbers are for level-1 caches of 32 KiB and level-2
// caches of 512 KiB and more.
const (
	gemmFewRows  = 416     // most rows of C whose sum is cut
	gemmPackedB  = 1 << 22 // most values of B that are packed at once
	gemmPackedK  = 1 << 14 // most rows of B that are packed at once
	gemmLargeB   = 1 << 21 // values of B that are far from the processor
	gemmRoundB   = 1 << 20 // values of B above which a long sum is done in rounds, so that what is packed stays near
	gemmPackRows = 128     // rows of B that an item packs
	gemmRows     = 16      // rows that are packed together, so that each is read in order
	gemmItems    = 8       // least blocks wanted, so that several threads have work
	gemmSplitK   = 1024    // least products of a piece when the sum itself is cut
	gemmPieces   = 16      // most pieces of a sum
	gemmFewTiles = 256     // tiles of C below which the sum is cut
)

var (
	gemmJobs  freelist[gemmJob]
	gemmWorks freelist[gemmWork]
)

// gemmJob is one matrix product. Its items are, by phase, the panels or rows of B to
// pack, the blocks of C, the pieces of the sum, or the rows of C to add pieces to.
type gemmJob struct {
	transA, transB bool
	m, n, k        int
	a, b, c        []float32
	lda, ldb, ldc  int
	accumulate     bool
	bias           []float32 // (n) or nil; not with accumulate
	epilogue       epilogue

	micro        *microKernel
	phase        gemmPhase
	packA, packB bool
	kc           int // products before a sum is stored
	k0, k1       int // the part of the sum in this round
	j0, j1       int // the columns of this round
	mBlock       int // rows of a block
	mBlocks      int
	panels       int // panels between j0 and j1
	nBlock       int // panels of a block
	packed       []float32
	piece        int       // products of a piece
	partial      []float32 // the pieces' sums, (pieces, m, n)
}

type gemmPhase int

const (
	gemmPack gemmPhase = iota
	gemmBlocks
	gemmPieceSums
	gemmAddPieces
)

// gemmWork is the scratch memory of one item.
type gemmWork struct {
	t       tile
	a, b, c []float32
}

// room returns x with at least n values, the same memory if it has them.
func room(x []float32, n int) []float32 {
	if cap(x) < n {
		x = make([]float32, n)
		AdviseHuge(x)
	}
	return x[:n]
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// panelCount returns how many panels n columns make.
func (u *microKernel) panelCount(n int) int { return ceilDiv(n, u.nr) }

// panelAt returns the first column and the width of panel i of n columns. A last
// panel of a single vector would be slow: the one before gives a vector to it.
func (u *microKernel) panelAt(n, i int) (start, width int) {
	last := u.panelCount(n) - 1
	start, end := i*u.nr, min(n, (i+1)*u.nr)
	if rest := n - last*u.nr; rest <= u.vector && last > 0 {
		switch i {
		case last:
			start -= u.vector
		case last - 1:
			end -= u.vector
		}
	}
	return start, end - start
}

func (g *gemmJob) run(p *Pool) {
	u := microKernels.get()
	g.micro = u
	panels, tiles := u.panelCount(g.n), ceilDiv(g.m, u.mr)
	g.kc = max(1, g.k)
	if kc := gemmBlocking.kc; g.k > kc {
		g.kc = (ceilDiv(g.k, ceilDiv(g.k, kc)) + 3) &^ 3
	}
	// Rows whose distance is a multiple of a large power of two fall into the same
	// cache sets.
	if g.transA {
		g.packA = panels > 2 || g.lda%256 == 0 && panels > 1
	} else {
		g.packA = panels > 16 || g.lda%256 == 0 && panels > 1
	}
	g.packB = g.transB || g.m > 6*u.mr
	if pieces := min(gemmPieces, g.k/gemmSplitK); g.m <= gemmFewRows && tiles*panels < gemmFewTiles && pieces > 1 {
		g.runPieces(p, pieces)
		return
	}

	// Blocks are made smaller for the threads' sake, but every block reads all of B.
	least := 3 * u.mr
	if g.k*g.n > gemmLargeB {
		least = 12 * u.mr
	}
	want := max(gemmItems, 2*p.Threads())
	blocks := max(ceilDiv(g.m, gemmBlocking.mc), min(want, g.m/least), 1)
	if even := ceilDiv(blocks, p.Threads()) * p.Threads(); g.m/even >= least {
		blocks = even // all threads end together
	}
	g.mBlock = ceilDiv(ceilDiv(g.m, blocks), u.mr) * u.mr
	g.mBlocks = ceilDiv(g.m, g.mBlock)
	kRound, nRound := g.k, g.n
	if g.packB && g.k*g.n > gemmPackedB {
		if g.c != nil { // else nothing holds the sums from round to round
			kRound = min(g.k, gemmPackedK/g.kc*g.kc)
		}
		nRound = min(g.n, max(1, gemmPackedB/kRound/u.nr)*u.nr)
	}
	if g.packB && g.transA && g.k*g.n > gemmRoundB {
		kRound = g.kc
	}
	for g.k0 = 0; g.k0 == 0 || g.k0 < g.k; g.k0 = g.k1 {
		g.k1 = min(g.k, g.k0+kRound)
		for g.j0 = 0; g.j0 < g.n; g.j0 = g.j1 {
			g.j1 = min(g.n, g.j0+nRound)
			g.panels = u.panelCount(g.j1 - g.j0)
			if g.packB {
				g.packed = room(g.packed, g.panels*u.nr*(g.k1-g.k0))
				g.phase = gemmPack
				if g.transB {
					p.run(g.panels, g)
				} else {
					p.run(ceilDiv(g.k1-g.k0, gemmPackRows), g)
				}
			}
			g.nBlock = ceilDiv(g.panels, min(g.panels, ceilDiv(want, g.mBlocks)))
			g.phase = gemmBlocks
			p.run(g.mBlocks*ceilDiv(g.panels, g.nBlock), g)
		}
		if g.k == 0 {
			break
		}
	}
}

// runPieces does a product with a long sum and few results: the pieces of the sum
// are independent and added up in order.
func (g *gemmJob) runPieces(p *Pool, pieces int) {
	g.piece = (ceilDiv(g.k, pieces) + 3) &^ 3
	pieces = ceilDiv(g.k, g.piece)
	g.partial = room(g.partial, pieces*g.m*g.n)
	g.phase = gemmPieceSums
	p.run(pieces, g)
	g.phase = gemmAddPieces
	p.run(g.m, g)
}

func (g *gemmJob) item(i int) {
	if g.phase == gemmAddPieces {
		g.addPieces(i)
		return
	}
	w := gemmWorks.get()
	switch g.phase {
	case gemmPack:
		if g.transB {
			g.packPanelOf(i, g.k0, g.k1)
			break
		}
		// A few rows at a time, all along, as they lie in memory.
		last := min(g.k1, g.k0+(i+1)*gemmPackRows)
		for q := g.k0 + i*gemmPackRows; q < last; q += gemmRows {
			for panel := range g.panels {
				g.packPanelOf(panel, q, min(last, q+gemmRows))
			}
		}
	case gemmBlocks:
		first := i / g.mBlocks * g.nBlock
		r0 := i % g.mBlocks * g.mBlock
		g.block(w, r0, min(g.m, r0+g.mBlock), first, min(g.panels, first+g.nBlock))
	case gemmPieceSums:
		g.pieceSum(w, i)
	}
	w.t = tile{}
	gemmWorks.put(w)
}

// packPanelOf packs rows q0 … q1-1 of a panel of this round.
func (g *gemmJob) packPanelOf(panel, q0, q1 int) {
	nr := g.micro.nr
	start, width := g.micro.panelAt(g.j1-g.j0, panel)
	g.packPanel(g.packed[(panel*(g.k1-g.k0)+q0-g.k0)*nr:], g.j0+start, width, q0, q1)
}

// packPanel writes columns j … j+width-1 of rows q0 … q1-1 of op(B) to dst, rows of
// micro.nr.
func (g *gemmJob) packPanel(dst []float32, j, width, q0, q1 int) {
	nr := g.micro.nr
	if g.transB {
		g.micro.packT(width, q1-q0, g.b[j*g.ldb+q0:], g.ldb, dst, nr)
		return
	}
	g.micro.packCopy(width, q1-q0, g.b[q0*g.ldb+j:], g.ldb, dst, nr)
}

// packRows writes rows r0 … r1-1 of op(A), columns q0 … q1-1, to dst: one tile of
// micro.mr rows after another, each column by column.
func (g *gemmJob) packRows(dst []float32, r0, r1, q0, q1 int) {
	mr, kc := g.micro.mr, q1-q0
	if !g.transA {
		for r := r0; r < r1; r += mr {
			g.micro.packT(min(mr, r1-r), kc, g.a[r*g.lda+q0:], g.lda, dst[(r-r0)*kc:], mr)
		}
		return
	}
	for q := q0; q < q1; q += gemmRows {
		for r := r0; r < r1; r += mr {
			g.micro.packCopy(min(mr, r1-r), min(gemmRows, q1-q), g.a[q*g.lda+r:], g.lda, dst[(r-r0)*kc+(q-q0)*mr:], mr)
		}
	}
}

// setA points t at rows r0 … r1-1 of op(A), columns q0 … q1-1, packed if that pays.
func (g *gemmJob) setA(w *gemmWork, r0, r1, q0, q1 int) {
	t, mr := &w.t, g.micro.mr
	t.kc, t.segs, t.aSeg, t.bSeg = q1-q0, 1, 0, 0
	switch {
	case q1 == q0:
		t.a, t.segs = nil, 0
	case g.packA:
		w.a = room(w.a, ceilDiv(r1-r0, mr)*mr*(q1-q0))
		g.packRows(w.a, r0, r1, q0, q1)
		t.a, t.aRow, t.aStep, t.aNext = &w.a[0], wordSize, mr*wordSize, mr*(q1-q0)*wordSize
	case g.transA:
		t.a, t.aRow, t.aStep, t.aNext = &g.a[q0*g.lda+r0], wordSize, g.lda*wordSize, mr*wordSize
	default:
		t.a, t.aRow, t.aStep, t.aNext = &g.a[r0*g.lda+q0], g.lda*wordSize, wordSize, mr*g.lda*wordSize
	}
}

// columns returns the first column of panel i of this round and that of the next.
func (g *gemmJob) columns(i int) (start, end int) {
	start, width := g.micro.panelAt(g.j1-g.j0, i)
	return g.j0 + start, g.j0 + start + width
}

// block computes rows r0 … r1-1 of the panels p0 … p1-1, for this round's part of
// the sum.
func (g *gemmJob) block(w *gemmWork, r0, r1, p0, p1 int) {
	t, u := &w.t, g.micro
	first, _ := g.columns(p0)
	c, ldc := g.c, g.ldc
	at := r0*ldc + first // of the block in c
	if c == nil {
		_, last := g.columns(p1 - 1)
		at, ldc = 0, (last-first+lineFloats-1)&^(lineFloats-1)
		w.c = room(w.c, (r1-r0)*ldc)
		c = w.c
	}
	for q0 := g.k0; q0 == g.k0 || q0 < g.k1; q0 += g.kc {
		q1 := min(g.k1, q0+g.kc)
		g.setA(w, r0, r1, q0, q1)
		a, ready := t.a, first
		for i := p0; i < p1; i++ {
			j, end := g.columns(i)
			t.a = a
			switch {
			case q1 == q0:
				t.b = nil
			case g.packB:
				t.b, t.bStep = &g.packed[i*u.nr*(g.k1-g.k0)+(q0-g.k0)*u.nr], u.nr*wordSize
			default:
				t.b, t.bStep = &g.b[q0*g.ldb+j], g.ldb*wordSize
			}
			t.c, t.cRow = &c[at+j-first], ldc*wordSize
			t.init, t.initRow = nil, 0
			switch {
			case q0 > 0 || g.accumulate:
				t.init, t.initRow = t.c, t.cRow
			case g.bias != nil:
				t.init = &g.bias[j]
			}
			u.panel(t, r1-r0, end-j)
			if q1 == g.k && (end-ready >= epilogueCols || i == p1-1) {
				g.epilogue.apply(c[at+ready-first:], ldc, r0, r1, ready, end)
				ready = end
			}
		}
	}
}

// pieceSum computes piece i of the sum for all of C.
func (g *gemmJob) pieceSum(w *gemmWork, i int) {
	t, u := &w.t, g.micro
	first, last := i*g.piece, min(g.k, (i+1)*g.piece)
	c := g.partial[i*g.m*g.n:]
	for q0 := first; q0 < last; q0 += g.kc {
		q1 := min(last, q0+g.kc)
		g.setA(w, 0, g.m, q0, q1)
		a := t.a
		for j := range u.panelCount(g.n) {
			start, width := u.panelAt(g.n, j)
			t.a = a
			if g.packB {
				w.b = room(w.b, u.nr*(q1-q0))
				g.packPanel(w.b, start, width, q0, q1)
				t.b, t.bStep = &w.b[0], u.nr*wordSize
			} else {
				t.b, t.bStep = &g.b[q0*g.ldb+start], g.ldb*wordSize
			}
			t.c, t.cRow = &c[start], g.n*wordSize
			t.init, t.initRow = nil, 0
			if q0 > first {
				t.init, t.initRow = t.c, t.cRow
			}
			u.panel(t, g.m, width)
		}
	}
}

// addPieces adds the pieces of row r up.
func (g *gemmJob) addPieces(r int) {
	row := g.partial[r*g.n:][:g.n]
	if g.c != nil {
		row = g.c[r*g.ldc : r*g.ldc+g.n]
	}
	addPieces(row, g.partial[r*g.n:], g.m, g.bias, g.accumulate)
	g.epilogue.apply(row, g.n, r, r+1, 0, g.n)
}

// addPieces adds one row of a product up, from its pieces, which lie m rows apart in
// partial: on top of bias, or of what row holds. Without accumulate row may be the first
// piece.
func addPieces(row, partial []float32, m int, bias []float32, accumulate bool) {
	n := len(row)
	next := func() { partial = partial[min(len(partial), m*n):] }
	if !accumulate {
		copy(row, partial)
		if bias != nil {
			Add(nil, row, row, bias)
		}
		next()
	}
	for len(partial) >= n {
		Add(nil, row, row, partial[:n])
		next()
	}
}

func checkGemm(transA, transB bool, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int) {
	if m < 0 || n < 0 || k < 0 {
		panic(fmt.Sprintf("kernel: Gemm: m, n, k = %d, %d, %d", m, n, k))
	}
	ar, ac, br, bc := m, k, k, n
	if transA {
		ar, ac = k, m
	}
	if transB {
		br, bc = n, k
	}
	checkMatrix("Gemm: A", a, ar, ac, lda)
	checkMatrix("Gemm: B", b, br, bc, ldb)
	checkMatrix("Gemm: C", c, m, n, ldc)
}

// checkMatrix panics unless x holds rows rows of cols columns at distance ld.
func checkMatrix(what string, x []float32, rows, cols, ld int) {
	if ld < cols || rows > 0 && cols > 0 && len(x) < (rows-1)*ld+cols {
		panic(fmt.Sprintf("kernel: %s: %d values for %d×%d with leading dimension %d", what, len(x), rows, cols, ld))
	}
}

// checkLen panics unless x has n values.
func checkLen(op, what string, x []float32, n int) {
	if len(x) != n {
		panic(fmt.Sprintf("kernel: %s: %s: length %d, want %d", op, what, len(x), n))
	}
}
