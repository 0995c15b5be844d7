package retrieval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
)

// progress reports steps done of a whole, one goroutine at a time.
type progress struct {
	mu       sync.Mutex
	done, of int
	report   func(float64)
}

func (p *progress) step() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	p.report(float64(p.done) / float64(p.of))
}

// pair is a pair of the similarity space; at is the query A.
type pair struct {
	at, b                 int
	label                 string
	attribute, relational float64
}

// attributeMethod is the measure of the attribute axis, where it is among the methods.
const attributeMethod = "color-histogram"

// drawPairs draws at most Config.Points pairs of each label. A is always a query, so that the scores of the queries have
// them all.
func (e *evaluation) drawPairs(methods []Method) {
	hasAttribute := slices.ContainsFunc(methods[1:], func(m Method) bool { return m.Name == attributeMethod })
	if !hasAttribute && e.overlaps == nil || e.cfg.Points == 0 {
		return
	}
	rng := rand.New(rand.NewPCG(e.cfg.Seed, streamPairs))
	e.pairsOf = make(map[int][]int)
	drawn := make(map[[2]int]bool)
	for _, label := range []string{SameTwin, SameRelation, Other} {
		found := 0
		for tries := 0; tries < 20*e.cfg.Points && found < e.cfg.Points; tries++ {
			j := rng.IntN(len(e.queries))
			q := e.queries[j]
			var from []int
			switch label {
			case SameTwin:
				from = e.truth.twins(q)
			case SameRelation:
				from = e.truth.positives(q)
			}
			var b int
			if label == Other {
				b = rng.IntN(len(e.set.Items))
			} else if len(from) > 0 {
				b = from[rng.IntN(len(from))]
			} else {
				continue
			}
			if b == q || e.label(q, b) != label || drawn[[2]int{q, b}] || drawn[[2]int{b, q}] {
				continue
			}
			drawn[[2]int{q, b}] = true
			e.pairsOf[j] = append(e.pairsOf[j], len(e.pairs))
			e.pairs = append(e.pairs, pair{at: j, b: b, label: label, attribute: math.NaN(), relational: math.NaN()})
			found++
		}
	}
	if !hasAttribute {
		overlap := make([]float32, len(e.set.Items))
		for j, q := range e.queries {
			if len(e.pairsOf[j]) == 0 {
				continue
			}
			e.overlaps.with(q, overlap)
			for _, p := range e.pairsOf[j] {
				e.pairs[p].attribute = float64(overlap[e.pairs[p].b])
			}
		}
	}
}

// label says what picture b is to a.
func (e *evaluation) label(a, b int) string {
	ga, gb := e.truth.group[a], e.truth.group[b]
	pa, pb := e.set.Items[a].Profile, e.set.Items[b].Profile
	sameProfile := pa >= 0 && pa == pb
	switch {
	case ga >= 0 && ga == gb && !sameProfile:
		return SameRelation
	case sameProfile && (ga < 0 || ga != gb):
		return SameTwin
	case ga == gb:
		return "" // the same in both
	}
	return Other
}

// scorePairs keeps the scores of the pairs of query j. Each pair belongs to one query, so workers do not meet.
func (e *evaluation) scorePairs(axis func(*pair) *float64, j int, scores []float32) {
	if axis == nil {
		return
	}
	for _, p := range e.pairsOf[j] {
		*axis(&e.pairs[p]) = float64(scores[e.pairs[p].b])
	}
}

// axis says which coordinate of the pairs a method gives; nil if none.
func (e *evaluation) axis(method int, name string) func(*pair) *float64 {
	switch {
	case method == 0:
		return func(p *pair) *float64 { return &p.relational }
	case name == attributeMethod:
		return func(p *pair) *float64 { return &p.attribute }
	}
	return nil
}

// space returns the pairs drawn, nil without any.
func (e *evaluation) space(methods []Method) *Space {
	if len(e.pairs) == 0 {
		return nil
	}
	s := &Space{Attribute: "literal captions", Relational: methods[0].Name}
	if slices.ContainsFunc(methods[1:], func(m Method) bool { return m.Name == attributeMethod }) {
		s.Attribute = attributeMethod
	}
	for _, p := range e.pairs {
		s.Points = append(s.Points, Point{
			A: e.set.Items[e.queries[p.at]].ID, B: e.set.Items[p.b].ID, Label: p.label,
			Attribute: p.attribute, Relational: p.relational,
		})
	}
	return s
}

// Reasons of an [Example].
const (
	WhyDrawn   = "drawn"
	WhyHeldOut = "held out"
	WhyFailure = "failure"
)

// chooseExamples draws the example queries: a quarter of failures (the first method's nearest picture is wrong), a
// quarter of held-out relations, the rest from the seen ones whatever comes of them; no relation twice where there are
// enough. The values are those of the first method.
func (e *evaluation) chooseExamples(v *values) {
	rng := rand.New(rand.NewPCG(e.cfg.Seed, streamExamples))
	order := rng.Perm(len(e.queries))
	used := make(map[int]bool)
	taken := make(map[int]bool)
	take := func(why string, n int, fits func(j int) bool) {
		for _, fresh := range []bool{true, false} {
			for _, j := range order {
				if n == 0 {
					return
				}
				g := e.truth.group[e.queries[j]]
				if taken[j] || fresh && used[g] || !fits(j) {
					continue
				}
				taken[j], used[g] = true, true
				n--
				q := e.queries[j]
				it := e.set.Items[q]
				e.chosen = append(e.chosen, q)
				e.examples = append(e.examples, Example{Query: it.ID, Index: q, Relation: it.Relation, Caption: it.Caption, Why: why})
			}
		}
	}
	hit := v.image[recallName(1)]
	judged := func(j int) bool { return !math.IsNaN(hit[j]) }
	if !slices.ContainsFunc(hit, func(x float64) bool { return !math.IsNaN(x) }) {
		judged = func(int) bool { return true } // no positives at all: still show what comes first
	}
	heldOut := func(j int) bool { return e.truth.isHeldOut(e.queries[j]) }
	quarter := e.cfg.Examples / 4
	failures, others := 0, 0
	for j := range e.queries {
		if hit[j] == 0 && !heldOut(j) {
			failures++
		}
		if heldOut(j) && judged(j) {
			others++
		}
	}
	failures, others = min(failures, quarter), min(others, quarter)
	take(WhyDrawn, e.cfg.Examples-failures-others, func(j int) bool { return judged(j) && !heldOut(j) })
	take(WhyHeldOut, others, func(j int) bool { return judged(j) && heldOut(j) })
	take(WhyFailure, failures, func(j int) bool { return hit[j] == 0 && !heldOut(j) })
}

// showExamples adds the first pictures of one method, which is prepared, to every example. Chance shows none.
func (e *evaluation) showExamples(m Method) error {
	if m.Kind == ChanceKind || len(e.chosen) == 0 {
		return nil
	}
	scores := make([]float32, len(e.set.Items))
	for n, q := range e.chosen {
		if err := m.Images.Scores(q, scores); err != nil {
			return fmt.Errorf("retrieval: evaluate: method %q: %w", m.Name, err)
		}
		row := ExampleRow{Method: m.Name}
		for _, found := range top(scores, e.cfg.Top, q) {
			it := e.set.Items[found.Index]
			h := Hit{ID: it.ID, Index: found.Index, Relation: it.Relation, Score: float64(found.Score), Mark: e.mark(q, found.Index)}
			row.Hits = append(row.Hits, h)
		}
		e.examples[n].Rows = append(e.examples[n].Rows, row)
	}
	return nil
}
