package kernel

import (
	"fmt"
	"math"
)

// AttentionShape describes multi-head self-attention.
type AttentionShape struct {
	Batch, Tokens, Heads, HeadDim int
	Causal                        bool // token i sees the keys 0 … i only
}

func (s AttentionShape) check(op string, o, lse, qkv, keyMask []float32) {
	if min(s.Batch, s.Tokens) < 0 || min(s.Heads, s.HeadDim) < 1 {
		panic(fmt.Sprintf("kernel: %s: shape %+v", op, s))
	}
	bt, d := s.Batch*s.Tokens, s.Heads*s.HeadDim
	checkLen(op, "o", o, bt*d)
	checkLen(op, "lse", lse, bt*s.Heads)
	checkLen(op, "qkv", qkv, bt*3*d)
	if keyMask != nil {
		checkLen(op, "keyMask", keyMask, bt)
	}
}

// Attention is the forward pass of multi-head self-attention, for each picture b and
// head h:
//
//	s[i,j] = Σ_c q[i,c]·k[j,c] / √HeadDim
//	lse[i] = log Σ_j exp s[i,j]
//	o[i,c] = Σ_j exp(s[i,j] - lse[i])·v[j,c]
//
// where j runs over the keys that token i sees: those with keyMask[b,j] ≠ 0, and with
// Causal j ≤ i. A token that sees no key has o = 0 and lse = -Inf. The k and v of
// keys that are not seen have to be finite all the same.
//
// qkv is (Batch·Tokens, 3·Heads·HeadDim), a row holding q, k and v, each by head;
// keyMask is (Batch, Tokens) or nil; o is (Batch·Tokens, Heads·HeadDim); lse is
// (Batch, Heads, Tokens), kept for [AttentionGrad].
//
// Source: Vaswani et al., arXiv:1706.03762, eq. 1; Dao et al., arXiv:2205.14135.
func Attention(p *Pool, o, lse, qkv, keyMask []float32, s AttentionShape) {
	s.check("Attention", o, lse, qkv, keyMask)
	a := attentionJobs.get()
	*a = attentionJob{AttentionShape: s, o: o, lse: lse, qkv: qkv, keyMask: keyMask}
	a.run(p)
}

// AttentionGrad is the gradient of [Attention] with respect to qkv, for each picture
// and head, with p[i,j] = exp(s[i,j] - lse[i]) recomputed:
//
//	dv[j,c] = Σ_i p[i,j]·do[i,c]
//	ds[i,j] = p[i,j]·(Σ_c do[i,c]·v[j,c] - Σ_c do[i,c]·o[i,c]) / √HeadDim
//	dq[i,c] = Σ_j ds[i,j]·k[j,c]
//	dk[j,c] = Σ_i ds[i,j]·q[i,c]
//
// do (Batch·Tokens, Heads·HeadDim) is the gradient of o; o and lse are the results of
// the forward pass. dqkv has the layout of qkv and is overwritten.
//
// Source: Dao et al., arXiv:2205.14135, appendix B.2.
func AttentionGrad(p *Pool, dqkv, do, o, lse, qkv, keyMask []float32, s AttentionShape) {
	s.check("AttentionGrad", o, lse, qkv, keyMask)
	checkLen("AttentionGrad", "do", do, len(o))
	checkLen("AttentionGrad", "dqkv", dqkv, len(qkv))
	a := attentionJobs.get()
	*a = attentionJob{AttentionShape: s, o: o, lse: lse, qkv: qkv, keyMask: keyMask, do: do, dqkv: dqkv}
	a.run(p)
}

const (
	attentionBlock     = 1 << 16 // most scores held at once
	attentionGradBlock = 3 << 14 // the same in the backward pass, which holds two per pair
	attentionFetch     = 1 << 14 // most values of q, k or v that are fetched ahead
)

// attentionJob is one call; its items are the pairs of picture and head.
type attentionJob struct {
	AttentionShape
	o, lse, qkv, keyMask []float32
	do, dqkv             []float32 // nil in the forward pass
	micro                *microKernel
	unit                 *bf16Kernel // nil for float32
	ahead                int         // items until a thread's next one
}

// attentionWork is the scratch memory of one item.
type attentionWork struct {
	t           tile
	keys, vals  []float32 // k and v transposed, in panels
	scores, dps []float32 // a block of scores, then probabilities, and its gradient
	sums        []float32 // of the rows of a block
	bf16        attentionBF16
}

var (
	attentionJobs  freelist[attentionJob]
	attentionWorks freelist[attentionWork]
)

func (a *attentionJob) run(p *Pool) {
	a.micro = microKernels.get()
	if p.Precision() == BF16 && a.HeadDim%bf16Depth == 0 {
		a.unit = bf16Kernels.get()
	}
	a.ahead = p.Threads()
	p.run(a.Batch*a.Heads, a)
	*a = attentionJob{}
	attentionJobs.put(a)
}

func (a *attentionJob) item(i int) {
	if a.Tokens == 0 {
		return
	}
	w := attentionWorks.get()
	w.bf16.unit = a.unit
	if a.dqkv == nil {
		a.forward(w, i/a.Heads, i%a.Heads)
	} else {
		a.backward(w, i/a.Heads, i%a.Heads)
	}
	w.t, w.bf16.t = tile{}, bf16Tile{}
	attentionWorks.put(w)
}

// scoreRow returns the distance of two rows of scores. A multiple of a large power
// of two would bring them all into the same cache sets.
func (a *attentionJob) scoreRow() int {
	n := (a.Tokens + 15) &^ 15
	if n%256 == 0 {
		n += 16
	}
	return n
}

// product computes C = A·B, or C += A·B, for A (m, k) and B (k, n) at any distances
// in floats, one of which is 1 for A. If packed is not zero, B is the first n of packed
// columns in the panels that [attentionWork.packT] makes.
func (w *attentionWork) product(u *microKernel, m, n, k int, a []float32, aRow, aStep int, b []float32, bStep, packed int, c []float32, cRow int, accumulate bool) {
	if m == 0 {
		return
	}
	if w.bf16.unit != nil {
		w.bf16.product(m, n, k, a, aRow, aStep, b, bStep, packed, c, cRow, accumulate)
		return
	}
	t := &w.t
	t.aRow, t.aStep, t.aSeg, t.aNext = aRow*wordSize, aStep*wordSize, 0, u.mr*aRow*wordSize
	t.kc, t.segs = k, 1
	t.bStep, t.bSeg = bStep*wordSize, 0
	t.cRow = cRow * wordSize
	for i := range u.panelCount(max(n, packed)) {
		start, width := u.panelAt(max(n, packed), i)
		if start >= n {
			break
		}
		width = min(width, n-start)
		t.a, t.c = &a[0], &c[start]
		if packed > 0 {
			t.b = &b[i*u.nr*k]
		} else {
			t.b = &b[start]
		}
		t.init, t.initRow = nil, 0
		if accumulate {
			t.init, t.initRow = t.c, t.cRow
		}
		u.panel(t, m, width)
	}
}

// packT packs src (n, k) transposed: for each panel of n, k rows of nr values; in bf16,
// tiles.
func (w *attentionWork) packT(u *microKernel, dst []float32, n, k int, src []float32, lds int) []float32 {
	if w.bf16.unit != nil {
		return w.bf16.packT(dst, n, k, src, lds)
	}
	dst = room(dst, u.panelCount(n)*u.nr*k)
	for i := range u.panelCount(n) {
		start, width := u.panelAt(n, i)
		u.packT(width, k, src[start*lds:], lds, dst[i*u.nr*k:], u.nr)
	}
	return dst
}

// hide replaces the scores of row i of picture b that it does not see by -Inf.
func (a *attentionJob) hide(row []float32, b, i int) {
	inf := float32(math.Inf(-1))
	if a.keyMask != nil {
		for j, m := range a.keyMask[b*a.Tokens:][:len(row)] {
			if m == 0 {
				row[j] = inf
			}
		}
	}
	if a.Causal {
		row = row[i+1:]
		for j := range row {
			row[j] = inf
		}
	}
}

// fetch brings what item i reads into the level-2 cache, if it is small. Its rows lie
// too far apart for the processor to see where they go on.
func (a *attentionJob) fetch(i int) {
	T, d := a.Tokens, a.HeadDim
	if i >= a.Batch*a.Heads || T*d > attentionFetch {
		return
	}
	fetch, D := prefetchKernel.get(), a.Heads*d
	row, col := i/a.Heads*T, i%a.Heads*d
	for part := range 3 {
		fetch(T, a.qkv[row*3*D+part*D+col:], 3*D, d)
	}
	if a.do != nil {
		fetch(T, a.do[row*D+col:], D, d)
	}
}

func (a *attentionJob) forward(w *attentionWork, b, h int) {
	u, T, d := a.micro, a.Tokens, a.HeadDim
	D := a.Heads * d
	q := a.qkv[b*T*3*D+h*d:]
	k, v := q[D:], q[2*D:]
	o, lse := a.o[b*T*D+h*d:], a.lse[(b*a.Heads+h)*T:][:T]
	scale := float32(1 / math.Sqrt(float64(d)))
	ld := a.scoreRow()
	rows := min(T, max(u.mr, attentionBlock/ld/u.mr*u.mr))
	a.fetch(b*a.Heads + h + a.ahead)
	w.keys = w.packT(u, w.keys, T, d, k, 3*D)
	w.scores = room(w.scores, rows*ld)
	for r0 := 0; r0 < T; r0 += rows {
		r1 := min(T, r0+rows)
		keys := T // that a row of the block may see
		if a.Causal {
			keys = r1
		}
		w.product(u, r1-r0, keys, d, q[r0*3*D:], 3*D, 1, w.keys, u.nr, T, w.scores, ld, false)
		// One thing for all rows after the other, as each waits for its result.
		w.sums = room(w.sums, r1-r0)
		for i := r0; i < r1; i++ {
			row := w.scores[(i-r0)*ld:][:keys]
			a.hide(row, b, i)
			lse[i] = maxRow(row) * scale
		}
		for i := r0; i < r1; i++ {
			row := w.scores[(i-r0)*ld:][:keys]
			if math.IsInf(float64(lse[i]), -1) && sumRow(row) == math.Inf(-1) { // sees no key, and no NaN
				clear(row)
				w.sums[i-r0] = 1
				continue
			}
			w.sums[i-r0] = expSumRow(row, row, scale, lse[i])
		}
		w.product(u, r1-r0, d, keys, w.scores, ld, 1, v, 3*D, 0, o[r0*D:], D, false)
		for i := r0; i < r1; i++ {
			sum := w.sums[i-r0]
			out := o[i*D:][:d]
			scaleRow(out, out, 1/sum)
			lse[i] += float32(math.Log(float64(sum)))
		}
	}
}

func (a *attentionJob) backward(w *attentionWork, b, h int) {
	u, T, d := a.micro, a.Tokens, a.HeadDim
	D := a.Heads * d
	at := b*T*3*D + h*d
	q, dq := a.qkv[at:], a.dqkv[at:]
	k, v, dk, dv := q[D:], q[2*D:], dq[D:], dq[2*D:]
	o, do, lse := a.o[b*T*D+h*d:], a.do[b*T*D+h*d:], a.lse[(b*a.Heads+h)*T:][:T]
	scale := float32(1 / math.Sqrt(float64(d)))
	ld := a.scoreRow()
	rows := min(T, max(u.mr, attentionGradBlock/ld/u.mr*u.mr))
	a.fetch(b*a.Heads + h + a.ahead)
	w.keys = w.packT(u, w.keys, T, d, k, 3*D)
	w.vals = w.packT(u, w.vals, T, d, v, 3*D)
	w.scores, w.dps = room(w.scores, rows*ld), room(w.dps, rows*ld)
	done := 0 // rows of dk and dv that hold a part of their sum
	for r0 := 0; r0 < T; r0 += rows {
		r1 := min(T, r0+rows)
		n, keys := r1-r0, T
		if a.Causal {
			keys = r1
		}
		w.product(u, n, keys, d, q[r0*3*D:], 3*D, 1, w.keys, u.nr, T, w.scores, ld, false)
		w.product(u, n, keys, d, do[r0*D:], D, 1, w.vals, u.nr, T, w.dps, ld, false)
		for i := r0; i < r1; i++ {
			prob, dp := w.scores[(i-r0)*ld:][:keys], w.dps[(i-r0)*ld:][:keys]
			if math.IsInf(float64(lse[i]), -1) { // sees no key
				clear(prob)
				clear(dp)
				continue
			}
			a.hide(prob, b, i)
			expSumRow(prob, prob, scale, lse[i])
			softmaxGradRow(dp, prob, dp, scale, float32(dotRow(o[i*D:][:d], do[i*D:][:d])))
		}
		w.product(u, n, d, keys, w.dps, ld, 1, k, 3*D, 0, dq[r0*3*D:], 3*D, false)
		for _, part := range [2]struct{ from, to int }{{0, done}, {done, keys}} {
			m := part.to - part.from
			if m == 0 {
				continue
			}
			w.product(u, m, d, n, w.dps[part.from:], 1, ld, q[r0*3*D:], 3*D, 0, dk[part.from*3*D:], 3*D, part.from < done)
			w.product(u, m, d, n, w.scores[part.from:], 1, ld, do[r0*D:], D, 0, dv[part.from*3*D:], 3*D, part.from < done)
		}
		done = keys
	}
}

// prefetchKernel fetches n rows of cols values, ld apart, into the cache, where the
// processor would not expect them by itself.
var prefetchKernel = newDispatch(func(n int, x []float32, ld, cols int) {})
