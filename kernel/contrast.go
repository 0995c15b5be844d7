package kernel

import (
	"fmt"
	"math"
	"slices"
)

// ContrastKind is how [Contrast] compares rows.
type ContrastKind int

// The kinds: the softmax over each row, over each row and each column, and the
// logistic loss of each pair by itself.
const (
	ContrastRows ContrastKind = iota
	ContrastBoth
	ContrastPairs
)

// ContrastEqual is what a pair of one label is that does not belong together: a
// negative like any other, a positive, or a pair that does not count.
type ContrastEqual int

// What pairs of one label may be.
const (
	EqualNegative ContrastEqual = iota
	EqualPositive
	EqualMasked
)

// ContrastShape describes a contrastive loss of B = Rows pairs of embeddings of
// width E = Dim.
type ContrastShape struct {
	Rows, Dim int
	Kind      ContrastKind
	Equal     ContrastEqual
}

// Stats is the number of values that [Contrast] keeps for [ContrastGrad]: two of
// each row, and of each column where the kind has them.
func (s ContrastShape) Stats() int {
	switch s.Kind {
	case ContrastRows:
		return 2 * s.Rows
	case ContrastBoth:
		return 4 * s.Rows
	}
	return 0
}

func (s ContrastShape) check(op string, stats, img, txt []float32, labels []int32) {
	if s.Rows < 1 || s.Dim < 1 || s.Kind < 0 || s.Kind > ContrastPairs || s.Equal < 0 || s.Equal > EqualMasked {
		panic(fmt.Sprintf("kernel: %s: shape %+v", op, s))
	}
	checkLen(op, "stats", stats, s.Stats())
	checkLen(op, "img", img, s.Rows*s.Dim)
	checkLen(op, "txt", txt, s.Rows*s.Dim)
	if len(labels) != s.Rows {
		panic(fmt.Sprintf("kernel: %s: labels: length %d, want %d", op, len(labels), s.Rows))
	}
	for i, l := range labels {
		if int(l) >= s.Rows {
			panic(fmt.Sprintf("kernel: %s: label %d is %d, want below %d", op, i, l, s.Rows))
		}
	}
}

// Contrast is the contrastive loss of img (B, E) and txt (B, E), of which row i of
// one belongs to row i of the other, over the logits
//
//	l[r,c] = scale·Σ_e img[r,e]·txt[c,e] + bias
//
// labels (B) are below B; pairs of one label that is not negative are what s.Equal
// says. Pairs that do not count have no logit. With P(r) the positives of row r, r
// itself among them, and lse the logarithm of a sum of exponentials,
//
//	row[r]  = lse_c l[r,c] - mean_{c∈P(r)} l[r,c]
//	col[c]  = lse_r l[r,c] - mean_{r∈P(c)} l[r,c]
//	pair[r] = Σ_c log(1 + exp(-z·l[r,c])),  z = 1 for a positive, else -1
//
// it returns the mean over the rows of row, of (row+col)/2, or of pair, by the kind.
// hits is the number of rows whose largest logit, the first of equal ones, is that
// of a positive. stats, of s.Stats() values, is kept for [ContrastGrad].
//
// Products are in float32 whatever the precision of p. There is no (B, B) in memory:
// logits are made for a block of rows at a time, which takes 4 MiB or 64 rows, whatever
// is more. They have to be above -1e9. The loss is within 1e-6·max(1, max|l|) of the exact one.
//
// Contrast panics if a length does not fit or a label is B or more.
//
// Source: van den Oord et al., arXiv:1807.03748, eq. 4; Radford et al.,
// arXiv:2103.00020, figure 3; Khosla et al., arXiv:2004.11362, eq. 2; Zhai et al.,
// arXiv:2303.15343, section 3.2.
func Contrast(p *Pool, stats, img, txt []float32, labels []int32, scale, bias float32, s ContrastShape) (loss float64, hits int) {
	s.check("Contrast", stats, img, txt, labels)
	p = p.inFloat32()
	j := contrastJobs.get()
	j.ContrastShape, j.img, j.txt, j.scale, j.bias = s, img, txt, scale, bias
	j.setStats(stats)
	j.group(labels)
	j.each(p, func() {})
	for r, l := range j.sums {
		loss += l
		hits += int(j.hits[r])
	}
	j.free()
	return loss / float64(s.Rows), hits
}

// ContrastGrad is the gradient of the loss of [Contrast] times upstream: with g the
// gradient of the logits, whose blocks are made once more,
//
//	dimg[r,e] = scale·Σ_c g[r,c]·txt[c,e]
//	dtxt[c,e] = scale·Σ_r g[r,c]·img[r,e]
//
// and it returns that by the logarithm of scale, and by bias. dimg and dtxt are
// (B, E) and overwritten; they must not overlap the operands, which are those of
// Contrast with the stats that it left.
//
// ContrastGrad panics if a length does not fit or a label is B or more.
func ContrastGrad(p *Pool, dimg, dtxt, stats, img, txt []float32, labels []int32, scale, bias, upstream float32, s ContrastShape) (dscale, dbias float64) {
	s.check("ContrastGrad", stats, img, txt, labels)
	p = p.inFloat32()
	checkLen("ContrastGrad", "dimg", dimg, len(img))
	checkLen("ContrastGrad", "dtxt", dtxt, len(txt))
	j := contrastJobs.get()
	j.ContrastShape, j.img, j.txt, j.scale, j.bias = s, img, txt, scale, bias
	j.setStats(stats)
	j.group(labels)
	j.backward, j.upstream = true, float32(float64(upstream)/float64(s.Rows))
	j.each(p, func() {
		d := dimg[j.r0*s.Dim : j.r1*s.Dim]
		Gemm(p, false, false, j.r1-j.r0, s.Dim, s.Rows, j.panel, j.ld, txt, s.Dim, d, s.Dim, false)
		Scale(p, d, scale, d)
		Gemm(p, true, false, s.Rows, s.Dim, j.r1-j.r0, j.panel, j.ld, j.scaled, s.Dim, dtxt, s.Dim, j.r0 > 0)
	})
	for _, g := range j.sums {
		dbias += g
	}
	j.free()
	return Dot(p, img, dimg), dbias
}

// inFloat32 returns p, or what it was before [Pool.With] gave it another precision.
func (p *Pool) inFloat32() *Pool {
	if p.Precision() == Float32 {
		return p
	}
	return p.owner
}

const (
	contrastPanel = 1 << 20 // most logits of a block
	contrastRows  = 64      // least rows of a block
	contrastCols  = 64      // columns of an item
	contrastChunk = 1024    // logits of a row that are worked on together
	contrastMask  = -1e9    // logit of a pair that does not count: its exponential is zero beside any other
)

// contrastJob is one call; its items are rows of a block, or some columns.
type contrastJob struct {
	ContrastShape
	img, txt                       []float32
	scale, bias, upstream          float32
	rowMax, rowInv, colMax, colInv []float32 // the stats: the largest logit, and one over the sum of exponentials
	backward, columns              bool

	member []int32 // the rows ordered by label
	start  []int32 // of each label in member, and the end
	label  []int32

	r0, r1, ld int
	rows       int       // of an item
	panel      []float32 // (r1-r0, ld) logits, then their gradient
	scaled     []float32 // (r1-r0, E) rows of img times scale
	sums       []float64 // losses of the rows, or of the gradient of their logits
	colSum     []float64 // sums of exponentials
	hits       []uint8   // rows whose largest logit is a positive
}

// contrastWork is the scratch memory of one item.
type contrastWork struct{ a, b []float32 }

var (
	contrastJobs  freelist[contrastJob]
	contrastWorks freelist[contrastWork]
)

func (j *contrastJob) free() {
	*j = contrastJob{
		member: j.member, start: j.start, panel: j.panel, scaled: j.scaled,
		sums: j.sums, colSum: j.colSum, hits: j.hits,
	}
	contrastJobs.put(j)
}

func (j *contrastJob) setStats(stats []float32) {
	n := j.Rows
	if j.Kind != ContrastPairs {
		j.rowMax, j.rowInv = stats[:n], stats[n:2*n]
	}
	if j.Kind == ContrastBoth {
		j.colMax, j.colInv = stats[2*n:3*n], stats[3*n:]
	}
}

// group orders the rows by label.
func (j *contrastJob) group(labels []int32) {
	j.label = labels
	if j.Equal == EqualNegative {
		return
	}
	n := j.Rows
	j.start, j.member = grow(j.start, n+1), grow(j.member, n)
	clear(j.start)
	for _, l := range labels {
		if l >= 0 {
			j.start[l+1]++
		}
	}
	for l := range n {
		j.start[l+1] += j.start[l]
	}
	for r, l := range labels { // moves each start to the next one
		if l >= 0 {
			j.member[j.start[l]] = int32(r)
			j.start[l]++
		}
	}
	copy(j.start[1:], j.start[:n])
	j.start[0] = 0
}

// equal lists the rows of the label of r, in order, r among them; nil where r has
// no other.
func (j *contrastJob) equal(r int) []int32 {
	if j.Equal == EqualNegative || j.label[r] < 0 {
		return nil
	}
	l := j.label[r]
	return j.member[j.start[l]:j.start[l+1]]
}

// contrastBlock is the number of rows of a block of n logits each.
func contrastBlock(n int) int {
	return min(n, max(contrastRows, contrastPanel/n/contrastRows*contrastRows))
}

// each goes through the blocks of rows: it makes the logits, turns them into the
// statistics or the gradient, and calls then.
func (j *contrastJob) each(p *Pool, then func()) {
	n, e := j.Rows, j.Dim
	block := contrastBlock(n)
	j.ld = (n + 15) &^ 15
	if j.ld%256 == 0 { // all rows would fall into the same cache sets
		j.ld += 16
	}
	j.panel, j.scaled = room(j.panel, block*j.ld), room(j.scaled, block*e)
	j.sums, j.hits = grow(j.sums, n), grow(j.hits, n)
	j.colSum = grow(j.colSum, n)
	j.rows = max(1, pieceLen/n)
	for j.r0 = 0; j.r0 < n; j.r0 = j.r1 {
		j.r1 = min(n, j.r0+block)
		x := j.scaled[:(j.r1-j.r0)*e]
		Scale(p, x, j.scale, j.img[j.r0*e:j.r1*e])
		Gemm(p, false, true, j.r1-j.r0, n, e, x, e, j.txt, e, j.panel, j.ld, false)
		j.columns = false
		p.run(ceilDiv(j.r1-j.r0, j.rows), j)
		if j.Kind == ContrastBoth && !j.backward {
			j.columns = true
			p.run(ceilDiv(n, contrastCols), j)
		}
		then()
	}
}

func (j *contrastJob) item(i int) {
	w := contrastWorks.get()
	if j.columns {
		j.columnStats(w, i*contrastCols, min(j.Rows, (i+1)*contrastCols))
	} else {
		for r := j.r0 + i*j.rows; r < min(j.r1, j.r0+(i+1)*j.rows); r++ {
			l := j.panel[(r-j.r0)*j.ld:][:j.Rows]
			if j.bias != 0 {
				addScalarRow(l, l, j.bias)
			}
			if j.Equal == EqualMasked {
				own := l[r]
				for _, c := range j.equal(r) {
					l[c] = contrastMask
				}
				l[r] = own
			}
			switch {
			case !j.backward:
				j.rowStats(w, l, r)
			case j.Kind == ContrastPairs:
				j.pairsGrad(w, l, r)
			default:
				j.softmaxGrad(w, l, r)
			}
		}
	}
	contrastWorks.put(w)
}

// positives lists the positives of row r; own is memory for one.
func (j *contrastJob) positives(r int, own *[1]int32) []int32 {
	if j.Equal == EqualPositive {
		if list := j.equal(r); list != nil {
			return list
		}
	}
	own[0] = int32(r)
	return own[:]
}

// rowStats gives the loss of row r, and its statistics, from its logits.
func (j *contrastJob) rowStats(w *contrastWork, l []float32, r int) {
	var own [1]int32
	positives := j.positives(r, &own)
	m := maxRow(l)
	j.hits[r] = 0
	for _, c := range positives {
		if l[c] == m {
			if !slices.Contains(l[:c], m) {
				j.hits[r] = 1
			}
			break
		}
	}
	if j.Kind == ContrastPairs {
		for _, c := range positives {
			l[c] = -l[c]
		}
		j.sums[r] = softplusSum(w, l)
		return
	}
	sum := sumExp(l, m)
	j.rowMax[r], j.rowInv[r] = m, float32(1/sum)
	lse := float64(m) + math.Log(sum)
	if j.Kind == ContrastBoth {
		lse /= 2
	}
	var mean float64
	for _, c := range positives {
		mean += float64(l[c])
	}
	j.sums[r] = lse - mean/float64(len(positives))
}

// sumExp is Σ exp(x-m).
func sumExp(x []float32, m float32) (sum float64) {
	for ; len(x) > expSumLen; x = x[expSumLen:] {
		sum += float64(sumExpRow(x[:expSumLen], m))
	}
	return sum + float64(sumExpRow(x, m))
}

// softplusSum is Σ log(1 + exp(x)) = Σ max(x, 0) + log Π (1 + exp(-|x|)): the
// factors are at most 2, and the products of hundreds of them far from an overflow.
func softplusSum(w *contrastWork, x []float32) (sum float64) {
	for len(x) > 0 {
		n := min(len(x), contrastChunk)
		e := room(w.a, n)
		w.a = e
		var s float64
		for i, v := range x[:n] {
			a := float32(math.Abs(float64(v)))
			e[i] = -a
			s += float64(v + a)
		}
		expRow(e, e)
		p0, p1, p2, p3 := 1., 1., 1., 1.
		for ; len(e) >= 4; e = e[4:] {
			p0 *= 1 + float64(e[0])
			p1 *= 1 + float64(e[1])
			p2 *= 1 + float64(e[2])
			p3 *= 1 + float64(e[3])
		}
		for _, v := range e {
			p0 *= 1 + float64(v)
		}
		sum += s/2 + math.Log(p0*p1) + math.Log(p2*p3)
		x = x[n:]
	}
	return sum
}

// columnStats takes this block's part of columns c0 … c1-1 into their statistics,
// and after the last block adds their losses to those of the rows.
func (j *contrastJob) columnStats(w *contrastWork, c0, c1 int) {
	rows := j.r1 - j.r0
	w.a = room(w.a, (c1-c0)*rows)
	microKernels.get().packT(rows, c1-c0, j.panel[c0:], j.ld, w.a, rows)
	for c := c0; c < c1; c++ {
		l := w.a[(c-c0)*rows:][:rows]
		m := maxRow(l)
		sum := sumExp(l, m)
		if j.r0 > 0 {
			mine, before := m, j.colMax[c]
			m = max(mine, before)
			sum = sum*math.Exp(float64(mine-m)) + j.colSum[c]*math.Exp(float64(before-m))
		}
		j.colMax[c], j.colSum[c] = m, sum
		if j.r1 == j.Rows {
			j.colInv[c] = float32(1 / sum)
			j.sums[c] += (float64(m) + math.Log(sum)) / 2
		}
	}
}

// softmaxGrad turns the logits of row r into their gradient.
func (j *contrastJob) softmaxGrad(w *contrastWork, l []float32, r int) {
	w.a, w.b = room(w.a, contrastChunk), room(w.b, contrastChunk)
	half := j.upstream
	if j.Kind == ContrastBoth {
		half /= 2
	}
	var own [1]int32
	positives := j.positives(r, &own)
	for c0 := 0; c0 < len(l); c0 += contrastChunk {
		c1 := min(len(l), c0+contrastChunk)
		x, a := l[c0:c1], w.a[:c1-c0]
		expSumRow(a, x, 1, j.rowMax[r])
		if j.Kind == ContrastRows {
			scaleRow(x, a, half*j.rowInv[r])
			continue
		}
		b := w.b[:c1-c0]
		combineRow(b, x, j.colMax[c0:c1], 1, -1)
		expRow(b, b)
		mulRow(b, b, j.colInv[c0:c1])
		combineRow(x, a, b, half*j.rowInv[r], half)
	}
	target := j.upstream / float32(len(positives))
	for _, c := range positives {
		l[c] -= target
	}
}

// pairsGrad turns the logits of row r into their gradient, upstream·σ(l) of a
// negative and -upstream·σ(-l) of a positive, and keeps its sum.
func (j *contrastJob) pairsGrad(w *contrastWork, l []float32, r int) {
	w.a = room(w.a, contrastChunk)
	var own [1]int32
	positives := j.positives(r, &own)
	for _, c := range positives {
		l[c] = -l[c]
	}
	for c0 := 0; c0 < len(l); c0 += contrastChunk {
		c1 := min(len(l), c0+contrastChunk)
		x, e := l[c0:c1], w.a[:c1-c0]
		scaleRow(e, x, -1)
		expRow(e, e)
		for i, v := range e {
			x[i] = j.upstream / (1 + v)
		}
	}
	for _, c := range positives {
		l[c] = -l[c]
	}
	j.sums[r] = sumRow(l)
}
