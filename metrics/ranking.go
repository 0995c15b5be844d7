package metrics

import (
	"fmt"
	"math"
	"slices"
)

// TieRule says where candidates with equal scores stand.
type TieRule int

const (
	// TieMean takes every figure as its mean over all orders of the tied candidates, each equally likely: the
	// expectation under random tie breaking, in closed form. It does not depend on the order of the candidates, and a
	// method that gives everything one score gets exactly chance. It is the rule of every figure that relsim reports.
	TieMean TieRule = iota
	// LowerIndexFirst puts the candidate with the lower index first, as a stable sort by descending score does.
	LowerIndexFirst
)

// Ranking is where the positives of one query stand among its candidates. The zero value is an empty ranking; [Ranking.Rank]
// fills it and may be called again to reuse the memory.
//
// Candidates with one score form a tie group. A group with b candidates before it, m members and r positives among
// them enters the closed forms below; under LowerIndexFirst each positive is its own group with m = r = 1. All sums
// run in float64.
type Ranking struct {
	groups     []tieGroup // groups that hold a positive, best first
	positives  int
	candidates int
	optimistic int
	pessimist  int
	gains      []float64 // of the positives, descending: the ideal order
	order      []member
	starts     []float64 // descending scores of the groups
	counts     []int
}

// tieGroup is one group of equally scored candidates that holds at least one positive.
type tieGroup struct {
	before    int // candidates with a higher score
	size      int // candidates with this score
	positives int
	gain      float64 // sum of 2^grade - 1 over the positives
}

type member struct {
	score float64
	index int
	grade int
}

// Rank ranks the candidates of one query by descending score. grades[i] > 0 marks candidate i as a positive, and its
// size matters to nDCG only; exclude is the index of the query itself, left out, or -1.
//
// A score that is not finite is an error: a NaN has no rank, and infinities tie with each other by accident. A grade
// below 0 or above 60 is an error too. Rank panics if the lengths differ or exclude is not an index.
func (r *Ranking) Rank(scores []float32, grades []int, exclude int, rule TieRule) error {
	if len(scores) != len(grades) {
		panic(fmt.Sprintf("metrics: rank: %d scores and %d grades", len(scores), len(grades)))
	}
	if exclude < -1 || exclude >= len(scores) {
		panic(fmt.Sprintf("metrics: rank: exclude %d of %d candidates", exclude, len(scores)))
	}
	r.reset()
	for i, g := range grades {
		if g == 0 || i == exclude {
			continue
		}
		if g < 0 || g > 60 {
			return fmt.Errorf("metrics: rank: candidate %d: grade %d is not in 0..60", i, g)
		}
		r.order = append(r.order, member{score: float64(scores[i]), index: i, grade: g})
	}
	return r.rank(scores, exclude, rule)
}

// RankPositives is [Ranking.Rank] with the positives given by their indices, all of grade 1. An index that occurs
// twice counts once; exclude is no positive even if it is listed.
func (r *Ranking) RankPositives(scores []float32, positives []int, exclude int, rule TieRule) error {
	if exclude < -1 || exclude >= len(scores) {
		panic(fmt.Sprintf("metrics: rank: exclude %d of %d candidates", exclude, len(scores)))
	}
	r.reset()
	for _, i := range positives {
		if i != exclude {
			r.order = append(r.order, member{score: float64(scores[i]), index: i, grade: 1})
		}
	}
	return r.rank(scores, exclude, rule)
}

func (r *Ranking) reset() {
	r.groups, r.gains, r.order = r.groups[:0], r.gains[:0], r.order[:0]
	r.positives, r.candidates, r.optimistic, r.pessimist = 0, 0, 0, 0
}

// rank counts, for each of the p positives in r.order, the candidates before it: n candidates cost n·log p.
func (r *Ranking) rank(scores []float32, exclude int, rule TieRule) error {
	r.candidates = len(scores)
	if exclude >= 0 {
		r.candidates--
	}
	slices.SortFunc(r.order, func(a, b member) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		}
		return a.index - b.index
	})
	r.order = slices.CompactFunc(r.order, func(a, b member) bool { return a.index == b.index })
	r.positives = len(r.order)
	// Groups of equal score among the positives. counts[2i] counts the candidates between group i-1 and group i,
	// counts[2i+1] those that tie with group i.
	for i, m := range r.order {
		gain := math.Ldexp(1, m.grade) - 1
		r.gains = append(r.gains, gain)
		if i > 0 && m.score == r.order[i-1].score {
			g := &r.groups[len(r.groups)-1]
			g.positives++
			g.gain += gain
			continue
		}
		r.groups = append(r.groups, tieGroup{positives: 1, gain: gain})
	}
	slices.SortFunc(r.gains, func(a, b float64) int {
		switch {
		case a > b:
			return -1
		case a < b:
			return 1
		}
		return 0
	})
	r.counts = slices.Grow(r.counts[:0], 2*len(r.groups)+1)[:2*len(r.groups)+1]
	clear(r.counts)
	starts := r.starts[:0]
	for i, m := range r.order {
		if i == 0 || m.score != r.order[i-1].score {
			starts = append(starts, m.score)
		}
	}
	r.starts = starts
	for i, s := range scores {
		if !(math.Abs(float64(s)) <= math.MaxFloat32) { // also NaN
			return r.fail(i, s)
		}
		if i != exclude {
			r.counts[place(starts, float64(s))]++
		}
	}
	before := 0
	for i := range r.groups {
		before += r.counts[2*i]
		r.groups[i].before = before
		r.groups[i].size = r.counts[2*i+1]
		before += r.counts[2*i+1]
	}
	if len(r.groups) > 0 {
		first := r.groups[0]
		r.optimistic = first.before + 1
		r.pessimist = first.before + 1 + first.size - first.positives
	}
	if rule == LowerIndexFirst {
		r.breakTies(scores, exclude)
	}
	return nil
}

func (r *Ranking) fail(i int, s float32) error {
	r.reset()
	return fmt.Errorf("metrics: rank: candidate %d has the score %v: every score must be finite", i, s)
}

// place returns 2i+1 if s equals starts[i] and 2i if it lies between starts[i-1] and starts[i]; starts descends.
func place(starts []float64, s float64) int {
	lo, hi := 0, len(starts)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if starts[mid] > s {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(starts) && starts[lo] == s {
		return 2*lo + 1
	}
	return 2 * lo
}

// breakTies replaces the groups by one group for each positive, at the place that its index gives it.
func (r *Ranking) breakTies(scores []float32, exclude int) {
	var split []tieGroup
	at := 0
	for _, g := range r.groups {
		tied := r.order[at : at+g.positives]
		at += g.positives
		next, before := 0, g.before
		for i, s := range scores {
			if next == len(tied) {
				break
			}
			if i == exclude || float64(s) != tied[0].score {
				continue
			}
			for next < len(tied) && tied[next].index == i {
				split = append(split, tieGroup{before: before, size: 1, positives: 1, gain: math.Ldexp(1, tied[next].grade) - 1})
				next++
			}
			before++
		}
	}
	r.groups = append(r.groups[:0], split...)
}

// Positives returns the number of positives; the figures of a query without one are 0 and mean nothing: leave it out of
// every mean.
func (r *Ranking) Positives() int { return r.positives }

// Candidates returns the number of candidates, the query itself not among them.
func (r *Ranking) Candidates() int { return r.candidates }

// Optimistic returns the rank of the best positive if it came before the negatives that tie with it, 0 without a
// positive.
func (r *Ranking) Optimistic() int { return r.optimistic }

// Pessimistic returns the rank of the best positive if it came after the negatives that tie with it, 0 without a
// positive.
func (r *Ranking) Pessimistic() int { return r.pessimist }

// FirstRank returns the rank, from 1, of the first positive. With b candidates before the best group of m candidates
// and r positives its mean over the tied orders is
//
//	b + (m+1)/(r+1)
func (r *Ranking) FirstRank() float64 {
	if len(r.groups) == 0 {
		return 0
	}
	g := r.groups[0]
	return float64(g.before) + float64(g.size+1)/float64(g.positives+1)
}

// ReciprocalRank returns 1/rank of the first positive. Its mean over the tied orders is
//
//	Σ_{j=1..m-r+1} P(j)/(b+j),  P(j) = C(m-j, r-1)/C(m, r)
//
// where P(j) is the probability that the first of r positives stands at place j of m.
func (r *Ranking) ReciprocalRank() float64 {
	if len(r.groups) == 0 {
		return 0
	}
	g := r.groups[0]
	p := float64(g.positives) / float64(g.size) // P(1)
	var sum float64
	for j := 1; j <= g.size-g.positives+1; j++ {
		sum += p / float64(g.before+j)
		// P(j+1)/P(j) = (m-j-r+1)/(m-j)
		if j < g.size {
			p *= float64(g.size-j-g.positives+1) / float64(g.size-j)
		}
	}
	return sum
}

// Hit returns 1 if a positive is among the first k and 0 if not; its mean over the tied orders is
//
//	1 - C(m-r, t)/C(m, t),  t = k-b
//
// for the best group when 0 < t < m. Averaged over queries it is the R@k of the retrieval literature.
func (r *Ranking) Hit(k int) float64 {
	if len(r.groups) == 0 {
		return 0
	}
	g := r.groups[0]
	t := min(k-g.before, g.size)
	if t <= 0 {
		return 0
	}
	miss := 1.0
	for j := 0; j < t; j++ {
		rest := g.size - g.positives - j
		if rest <= 0 {
			return 1
		}
		miss *= float64(rest) / float64(g.size-j)
	}
	return 1 - miss
}

// found returns the mean number of positives among the first k: b < k groups give r·min(k-b, m)/m each.
func (r *Ranking) found(k int) float64 {
	var sum float64
	for _, g := range r.groups {
		t := min(k-g.before, g.size)
		if t <= 0 {
			break
		}
		sum += float64(g.positives) * float64(t) / float64(g.size)
	}
	return sum
}

// Recall returns the share of the positives that is among the first k. For queries with one positive it equals
// [Ranking.Hit].
func (r *Ranking) Recall(k int) float64 {
	if r.positives == 0 {
		return 0
	}
	return r.found(k) / float64(r.positives)
}

// Precision returns the share of the first k that is positive. It divides by k even if there are fewer candidates, and
// panics if k < 1.
func (r *Ranking) Precision(k int) float64 {
	if k < 1 {
		panic(fmt.Sprintf("metrics: precision: k = %d", k))
	}
	return r.found(k) / float64(k)
}

// AP returns the average precision: the mean over the positives of (positives up to its rank)/rank. A positive stands
// at place j of a tie group with probability r/m; the other r-1 are spread evenly over the other m-1 places, so a group
// with P positives before it adds
//
//	Σ_{j=1..m} r/m · (P + 1 + (j-1)(r-1)/(m-1)) / (b+j)
func (r *Ranking) AP() float64 { return r.precisionSum(r.candidates) / max(1, float64(r.positives)) }

// APAt returns the average precision limited to the first k: the same sum over ranks <= k, divided by the smaller of k
// and the number of positives.
func (r *Ranking) APAt(k int) float64 {
	if k < 1 {
		panic(fmt.Sprintf("metrics: average precision: k = %d", k))
	}
	return r.precisionSum(k) / max(1, float64(min(k, r.positives)))
}

func (r *Ranking) precisionSum(k int) float64 {
	var sum float64
	found := 0
	for _, g := range r.groups {
		if g.before >= k {
			break
		}
		share, slope := float64(g.positives)/float64(g.size), 0.0
		if g.size > 1 {
			slope = float64(g.positives-1) / float64(g.size-1)
		}
		for j := 1; j <= min(g.size, k-g.before); j++ {
			sum += share * (float64(found+1) + float64(j-1)*slope) / float64(g.before+j)
		}
		found += g.positives
	}
	return sum
}

// NDCG returns the normalised discounted cumulative gain of the first k, or of all candidates if k <= 0:
//
//	DCG = Σ (2^grade - 1)/log2(rank+1),  nDCG = DCG/DCG of the ideal order, both limited to k
//
// Each place of a tie group has the group's mean gain.
func (r *Ranking) NDCG(k int) float64 {
	if r.positives == 0 {
		return 0
	}
	if k <= 0 || k > r.candidates {
		k = r.candidates
	}
	var dcg, ideal float64
	for _, g := range r.groups {
		if g.before >= k {
			break
		}
		mean := g.gain / float64(g.size)
		for j := 1; j <= min(g.size, k-g.before); j++ {
			dcg += mean / math.Log2(float64(g.before+j+1))
		}
	}
	for i, gain := range r.gains[:min(k, len(r.gains))] {
		ideal += gain / math.Log2(float64(i+2))
	}
	return dcg / ideal
}
