package kernel

// How a product of bfloat16 is cut. Multiplying is so fast there that memory decides:
// each value of A is packed once, each of B read once for every block of rows, and
// fetched ahead; sums stay in the level-2 cache until they are complete.
const (
	bf16Rows    = 512     // most rows of a block
	bf16LeastR  = 64      // fewest rows that a block is cut to, to have work for all
	bf16LeastC  = 192     // the same of columns: each of its blocks packs A anew
	bf16Cols    = 192     // columns whose sums are held at once
	bf16BlockA  = 1 << 19 // most values of A that are packed at once, 1 MiB
	bf16PackedB = 1 << 22 // most values of B that are packed at once
	bf16Sum     = 2048    // most products of a round, where there are several
	bf16KC      = 12      // tiles along the sum that are taken up before it is stored
	bf16Piece   = 1024    // fewest products of a piece when the sum itself is cut
	bf16Few     = 4       // blocks that are few enough to cut the sum
	bf16Group   = 2       // column tiles that an item packs
)

var (
	gemmBF16Jobs  freelist[gemmBF16Job]
	gemmBF16Works freelist[gemmBF16Work]
)

// gemmBF16Job is one matrix product of bfloat16. Its items are, by phase, the tiles of
// B to pack, the blocks of C, the pieces of the sum, or the rows of C to add pieces to.
type gemmBF16Job struct {
	transA, transB bool
	m, n, k        int
	a, b, c        []float32
	lda, ldb, ldc  int
	accumulate     bool
	bias           []float32 // (n) or nil; not with accumulate
	epilogue       epilogue

	unit    *bf16Kernel
	phase   gemmPhase
	k0, k1  int // the part of the sum in this round
	j0, j1  int // the columns of this round
	mBlocks int
	nBlocks int
	packed  []uint16
	piece   int       // products of a piece
	partial []float32 // the pieces' sums, (pieces, m, n)
}

// gemmBF16Work is the scratch memory of one item.
type gemmBF16Work struct {
	t      bf16Tile
	config [64]byte
	a, b   []uint16
	c      []float32
	edge   [bf16Values]float32
}

// roomHalves is [room] for bfloat16.
func roomHalves(x []uint16, n int) []uint16 {
	if cap(x) < n {
		return make([]uint16, n)
	}
	return x[:n]
}

// gemmBF16 is [gemm] with op(A) and op(B) rounded to bfloat16, see [BF16].
func gemmBF16(p *Pool, transA, transB bool, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, accumulate bool, bias []float32, e epilogue) {
	g := gemmBF16Jobs.get()
	g.transA, g.transB, g.m, g.n, g.k = transA, transB, m, n, k
	g.a, g.lda, g.b, g.ldb, g.c, g.ldc = a, lda, b, ldb, c, ldc
	g.accumulate, g.bias, g.epilogue = accumulate, bias, e
	g.run(p)
	g.a, g.b, g.c, g.bias, g.epilogue = nil, nil, nil, nil, epilogue{}
	gemmBF16Jobs.put(g)
}

func (g *gemmBF16Job) run(p *Pool) {
	g.unit = bf16Kernels.get()
	rounds := 1
	if g.c != nil { // else nothing holds the sums from round to round
		rounds = max(1, ceilDiv(g.k, bf16Sum))
	}
	kRound := roundTo(ceilDiv(g.k, rounds), bf16Depth)
	panel := g.unit.panel * bf16Side
	nRound := min(g.n, max(1, bf16PackedB/max(1, kRound)/panel)*panel)

	if pieces := min(gemmPieces, g.k/bf16Piece); ceilDiv(g.m, bf16LeastR)*ceilDiv(g.n, bf16LeastC) < bf16Few && pieces > 1 {
		g.runPieces(p, pieces)
		return
	}
	// How C is cut does not change its sums, and may depend on the threads: two blocks for
	// each, and as many for one as for the other.
	rows := max(2*bf16Side, min(bf16Rows, bf16BlockA/max(1, kRound)))
	want := 2 * p.Threads()
	g.mBlocks = max(ceilDiv(g.m, rows), min(want, ceilDiv(g.m, bf16LeastR)))
	if g.mBlocks < 4*want {
		g.mBlocks = min(roundTo(g.mBlocks, p.Threads()), ceilDiv(g.m, 2*bf16Side))
	}
	g.nBlocks = max(1, min(ceilDiv(want, g.mBlocks), nRound/bf16LeastC))
	for g.k0 = 0; g.k0 == 0 || g.k0 < g.k; g.k0 = g.k1 {
		g.k1 = min(g.k, g.k0+kRound)
		for g.j0 = 0; g.j0 < g.n; g.j0 = g.j1 {
			g.j1 = min(g.n, g.j0+nRound)
			columns, depth := ceilDiv(g.j1-g.j0, bf16Side), ceilDiv(g.k1-g.k0, bf16Depth)
			g.packed = roomHalves(g.packed, columns*depth*bf16Values)
			g.phase = gemmPack
			if g.transB {
				p.run(ceilDiv(columns, bf16Group), g)
			} else {
				p.run(depth, g)
			}
			g.phase = gemmBlocks
			p.run(g.mBlocks*g.nBlocks, g)
		}
		if g.k == 0 {
			break
		}
	}
}

// roundTo returns the multiple of step that is not below n.
func roundTo(n, step int) int { return ceilDiv(n, step) * step }

// runPieces does a product with a long sum and few results: the pieces of the sum
// are independent and added up in order.
func (g *gemmBF16Job) runPieces(p *Pool, pieces int) {
	g.piece = roundTo(ceilDiv(g.k, pieces), bf16Depth)
	pieces = ceilDiv(g.k, g.piece)
	g.partial = room(g.partial, pieces*g.m*g.n)
	g.phase = gemmPieceSums
	p.run(pieces, g)
	g.phase = gemmAddPieces
	p.run(g.m, g)
}

func (g *gemmBF16Job) item(i int) {
	if g.phase == gemmAddPieces {
		g.addPieces(i)
		return
	}
	w := gemmBF16Works.get()
	w.t.config = &w.config
	switch g.phase {
	case gemmPack:
		depth := ceilDiv(g.k1-g.k0, bf16Depth)
		if g.transB {
			j := g.j0 + i*bf16Group*bf16Side
			g.packB(w, g.packed[i*bf16Group*depth*bf16Values:], depth, j, min(g.j1, j+bf16Group*bf16Side), g.k0, g.k1)
			break
		}
		q := g.k0 + i*bf16Depth
		g.packB(w, g.packed[i*bf16Values:], depth, g.j0, g.j1, q, min(g.k1, q+bf16Depth))
	case gemmBlocks:
		r0, r1 := cut(g.m, g.mBlocks, i%g.mBlocks, 2*bf16Side)
		j0, j1 := cut(g.j1-g.j0, g.nBlocks, i/g.mBlocks, g.unit.panel*bf16Side)
		g.block(w, r0, r1, g.j0+j0, g.j0+j1)
	case gemmPieceSums:
		g.pieceSum(w, i)
	}
	w.t = bf16Tile{}
	gemmBF16Works.put(w)
}

// cut returns where part i of n begins and ends, n cut into parts of much the same size
// at multiples of step.
func cut(n, parts, i, step int) (begin, end int) {
	steps := ceilDiv(n, step)
	return min(n, steps*i/parts*step), min(n, steps*(i+1)/parts*step)
}

// packA packs rows r0 … r1-1 of op(A), products q0 … q1-1.
func (g *gemmBF16Job) packA(w *gemmBF16Work, dst []uint16, r0, r1, q0, q1 int) {
	packBF16(&w.edge, dst, ceilDiv(q1-q0, bf16Depth), g.a, g.lda, !g.transA, g.unit.rowsA, g.unit.colsA, r0, r1, q0, q1)
}

// packB packs columns j0 … j1-1 of op(B), products q0 … q1-1, into columns of depth
// tiles.
func (g *gemmBF16Job) packB(w *gemmBF16Work, dst []uint16, depth, j0, j1, q0, q1 int) {
	packBF16(&w.edge, dst, depth, g.b, g.ldb, g.transB, g.unit.rowsB, g.unit.colsB, j0, j1, q0, q1)
}

// packBF16 packs rows or columns i0 … i1-1, products q0 … q1-1. The value of (i, q) is
// at x[i*ld+q] if the sum runs along the rows of x, else at x[q*ld+i]. The tiles of 16
// rows or columns follow on one another, and those of the next begin depth tiles later.
// A tile that is not full is brought into edge first.
func packBF16(edge *[bf16Values]float32, dst []uint16, depth int, x []float32, ld int, along bool, rows, cols bf16Pack, i0, i1, q0, q1 int) {
	if along {
		full := (q1 - q0) / bf16Depth
		for i := i0; i < i1; i += bf16Side {
			to := dst[(i-i0)/bf16Side*depth*bf16Values:]
			n := 0
			if i+bf16Side <= i1 && full > 0 {
				n = full
				rows(n, &x[i*ld+q0], ld, &to[0], bf16Bytes)
			}
			for q := q0 + n*bf16Depth; q < q1; q += bf16Depth {
				fillEdge(edge, bf16Depth, x[i*ld+q:], ld, min(bf16Side, i1-i), min(bf16Depth, q1-q))
				rows(1, &edge[0], bf16Depth, &to[(q-q0)/bf16Depth*bf16Values], 0)
			}
		}
		return
	}
	full := (i1 - i0) / bf16Side
	for q := q0; q < q1; q += bf16Depth {
		to := dst[(q-q0)/bf16Depth*bf16Values:]
		n := 0
		if q+bf16Depth <= q1 && full > 0 {
			n = full
			cols(n, &x[q*ld+i0], ld, &to[0], depth*bf16Bytes)
		}
		for i := i0 + n*bf16Side; i < i1; i += bf16Side {
			fillEdge(edge, bf16Side, x[q*ld+i:], ld, min(bf16Depth, q1-q), min(bf16Side, i1-i))
			cols(1, &edge[0], bf16Side, &to[(i-i0)/bf16Side*depth*bf16Values], 0)
		}
	}
}

// fillEdge copies rows by cols values to the beginning of a tile whose rows hold width,
// and clears the rest.
func fillEdge(edge *[bf16Values]float32, width int, x []float32, ld, rows, cols int) {
	*edge = [bf16Values]float32{}
	for r := range rows {
		copy(edge[r*width:][:cols], x[r*ld:])
	}
}

// sums computes a panel of rows by cols of C from packed operands of depth tiles along
// the sum, starting from init.
func (u *bf16Kernel) sums(t *bf16Tile, rows, cols int, a, b []uint16, depth int, c []float32, ldc int, init *float32, initRow int) {
	t.aTile, t.bTile = depth*bf16Bytes, depth*bf16Bytes
	fetched := rows / (2 * bf16Side) * bf16Ahead // for a tile along the sum
	kc := depth
	if parts := ceilDiv(depth, bf16KC); parts > 1 {
		kc = ceilDiv(depth, parts)
	}
	for s := 0; s == 0 || s < depth; s += kc {
		t.a, t.b, t.k = nil, nil, min(kc, depth-s)
		if depth > 0 {
			t.a, t.b = &a[s*bf16Values], &b[s*bf16Values]
		}
		t.ahead = (u.panel*depth-s)*bf16Bytes + s*fetched
		t.c, t.cRow = &c[0], ldc*wordSize
		t.init, t.initRow = init, initRow
		if s > 0 {
			t.init, t.initRow = t.c, t.cRow
		}
		u.run(t, rows, cols)
		if depth == 0 {
			break
		}
	}
}

// block computes rows r0 … r1-1 of the columns j0 … j1-1, for this round's part of the
// sum.
func (g *gemmBF16Job) block(w *gemmBF16Work, r0, r1, j0, j1 int) {
	if r0 == r1 || j0 == j1 {
		return
	}
	depth := ceilDiv(g.k1-g.k0, bf16Depth)
	w.a = roomHalves(w.a, ceilDiv(r1-r0, bf16Side)*depth*bf16Values)
	g.packA(w, w.a, r0, r1, g.k0, g.k1)
	// Sums that are taken up again and again stay in scratch memory until they are
	// complete: rows of C far apart fall into the same cache sets.
	inC := g.c != nil && depth <= bf16KC
	if !inC {
		w.c = room(w.c, (r1-r0)*bf16Cols)
	}
	step := g.unit.panel * bf16Side
	for j := j0; j < j1; j += bf16Cols {
		end := min(j1, j+bf16Cols)
		sums, ld := w.c, bf16Cols
		if inC {
			sums, ld = g.c[r0*g.ldc+j:], g.ldc
		}
		for at := j; at < end; at += step {
			var init *float32
			row := 0
			switch {
			case g.k0 > 0 || g.accumulate:
				init, row = &g.c[r0*g.ldc+at], g.ldc*wordSize
			case g.bias != nil:
				init = &g.bias[at]
			}
			g.unit.sums(&w.t, r1-r0, min(step, end-at), w.a, g.packed[(at-g.j0)/bf16Side*depth*bf16Values:], depth, sums[at-j:], ld, init, row)
		}
		g.finish(sums, ld, inC, r0, r1, j, end)
	}
}

// finish brings the sums of rows r0 … r1-1, columns j … end-1, rows ld apart, to where
// they belong, unless they are there. If they are complete, and what the epilogue makes of
// them takes their place, they are not written before.
func (g *gemmBF16Job) finish(sums []float32, ld int, inC bool, r0, r1, j, end int) {
	e, last := &g.epilogue, g.k1 == g.k
	overwritten := last && e.kind != epilogueNone && g.c != nil && &e.y[0] == &g.c[0]
	if inC || g.c == nil || overwritten {
		if last {
			e.apply(sums, ld, r0, r1, j, end)
		}
		return
	}
	for r := r0; r < r1; r++ {
		row := g.c[r*g.ldc+j:][:end-j]
		copy(row, sums[(r-r0)*ld:])
		if last {
			e.apply(row, len(row), r, r+1, j, end)
		}
	}
}

// pieceSum computes piece i of the sum for all of C.
func (g *gemmBF16Job) pieceSum(w *gemmBF16Work, i int) {
	q0, last := i*g.piece, min(g.k, (i+1)*g.piece)
	c := g.partial[i*g.m*g.n:][:g.m*g.n]
	for q := q0; q < last; q += bf16Piece {
		end := min(last, q+bf16Piece)
		depth := ceilDiv(end-q, bf16Depth)
		w.a = roomHalves(w.a, ceilDiv(g.m, bf16Side)*depth*bf16Values)
		g.packA(w, w.a, 0, g.m, q, end)
		step := g.unit.panel * bf16Side
		w.b = roomHalves(w.b, step/bf16Side*depth*bf16Values)
		for j := 0; j < g.n; j += step {
			cols := min(step, g.n-j)
			g.packB(w, w.b, depth, j, j+cols, q, end)
			var init *float32
			if q > q0 {
				init = &c[j]
			}
			g.unit.sums(&w.t, g.m, cols, w.a, w.b, depth, c[j:], g.n, init, g.n*wordSize)
		}
	}
}

// addPieces adds the pieces of row r up.
func (g *gemmBF16Job) addPieces(r int) {
	row := g.partial[r*g.n:][:g.n]
	if g.c != nil {
		row = g.c[r*g.ldc : r*g.ldc+g.n]
	}
	addPieces(row, g.partial[r*g.n:], g.m, g.bias, g.accumulate)
	g.epilogue.apply(row, g.n, r, r+1, 0, g.n)
}
