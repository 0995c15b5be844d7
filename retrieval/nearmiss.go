package retrieval

import (
	"context"
	"math/rand/v2"
	"slices"
	"sort"

	"relsim/kernel"
	"relsim/metrics"
)

// nearest is the number of a relation's pictures whose mean similarity is the similarity to the relation.
const nearest = 5

// naming is what a method says about one picture whose relation (real, or removed) has near misses.
type naming struct {
	applies bool
	own     float32 // similarity to the relation's pictures
	share   float64 // 1 if the picture is named so, 1/n if n relations tie with it, 0 if not
	called  int     // the name; -1 if several tie
	by      string
}

// namer names pictures by one method.
type namer struct {
	e         *evaluation
	asked     []bool // of each group: it has near misses
	text      *Text
	centroids []float32 // (groups, dim), sums of vectors; with text
}

func (e *evaluation) newNamer(m Method) *namer {
	n := &namer{e: e, asked: make([]bool, len(e.truth.groups)), text: m.Text}
	for i := range e.set.NearMiss {
		if g := e.truth.group[len(e.set.Items)+i]; g >= 0 {
			n.asked[g] = true
		}
	}
	if t := n.text; t != nil {
		n.centroids = make([]float32, len(e.truth.groups)*t.Dim)
		for i := range e.set.Items {
			if g := e.truth.group[i]; g >= 0 {
				kernel.Axpy(nil, n.centroids[g*t.Dim:(g+1)*t.Dim], 1, t.Pictures[i*t.Dim:(i+1)*t.Dim])
			}
		}
	}
	return n
}

// name fills in out for picture i with these scores of the gallery.
func (n *namer) name(out *naming, i int, scores []float32) {
	t := n.e.truth
	g := t.group[i]
	if g < 0 || !n.asked[g] {
		return
	}
	out.applies = true
	skip := n.skip(i)
	out.own = similarity(scores, t.members[g], skip)
	votes := make([]float32, len(t.groups))
	valid := make([]bool, len(t.groups))
	switch {
	case n.text != nil && !t.heldOut[g] && len(n.e.captions) > 0:
		out.by = "caption"
		x := n.vector(i)
		for c, cap := range n.e.captions {
			if cap.group < 0 || cap.HeldOut {
				continue
			}
			s := float32(kernel.Dot(nil, x, n.text.Captions[c*n.text.Dim:(c+1)*n.text.Dim]))
			if !valid[cap.group] || s > votes[cap.group] {
				votes[cap.group], valid[cap.group] = s, true
			}
		}
	case n.text != nil:
		out.by = "centroid"
		x := n.vector(i)
		for o := range votes {
			center := slices.Clone(n.centroids[o*n.text.Dim : (o+1)*n.text.Dim])
			left := len(t.members[o])
			for _, j := range t.members[o] {
				if skip(j) {
					kernel.Axpy(nil, center, -1, n.vector(j))
					left--
				}
			}
			if left == 0 {
				continue
			}
			kernel.L2Normalize(nil, center, center, 1, len(center), 1e-12)
			votes[o], valid[o] = float32(kernel.Dot(nil, x, center)), true
		}
	default:
		out.by = "neighbours"
		for o := range votes {
			if slices.ContainsFunc(t.members[o], func(j int) bool { return !skip(j) }) {
				votes[o], valid[o] = similarity(scores, t.members[o], skip), true
			}
		}
	}
	best, tied := -1, 0
	for o, v := range votes {
		switch {
		case !valid[o]:
		case best < 0 || v > votes[best]:
			best, tied = o, 1
		case v == votes[best]:
			tied++
		}
	}
	out.called = best
	if tied > 1 {
		out.called = -1
	}
	if best >= 0 && valid[g] && votes[g] == votes[best] {
		out.share = 1 / float64(tied)
	}
}

func (n *namer) vector(i int) []float32 { return n.text.Pictures[i*n.text.Dim : (i+1)*n.text.Dim] }

// skip returns what picture i must not be compared with: itself, the pictures of its profile, which look like it whatever
// they show, and the true picture of a near miss.
func (n *namer) skip(i int) func(j int) bool {
	items := n.e.set.Items
	it := n.e.set.Item(i)
	return func(j int) bool {
		return j == i || it.Profile >= 0 && items[j].Profile == it.Profile || it.Pair != "" && items[j].ID == it.Pair
	}
}

// similarity returns the mean of the highest scores of members, without those skipped; 0 without any.
func similarity(scores []float32, members []int, skip func(int) bool) float32 {
	var best [nearest]float32
	n := 0
	for _, i := range members {
		s := scores[i]
		if n == nearest && s <= best[n-1] || skip(i) {
			continue
		}
		if n < nearest {
			n++
		}
		at := n - 1
		for at > 0 && best[at-1] < s {
			best[at] = best[at-1]
			at--
		}
		best[at] = s
	}
	if n == 0 {
		return 0
	}
	var sum float32
	for _, s := range best[:n] {
		sum += s
	}
	return sum / float32(n)
}

// summarizeNearMisses returns the entries of the relations that are held out or not.
func (e *evaluation) summarizeNearMisses(ctx context.Context, v *values, heldOut bool) ([]NearMiss, error) {
	if v.named == nil {
		return nil, nil
	}
	t, n := e.truth, len(e.queries)
	type side struct {
		own      []float32
		share    []float64
		clusters []int
	}
	clusters, _ := t.clusters(e.queries)
	trues, nears := make([]side, len(t.groups)), make([]side, len(t.groups))
	by := make([]string, len(t.groups))
	called := make([]map[int]int, len(t.groups))
	for j, x := range v.named {
		if !x.applies {
			continue
		}
		if j < n {
			g := t.group[e.queries[j]]
			s := &trues[g]
			s.own, s.share, s.clusters = append(s.own, x.own), append(s.share, x.share), append(s.clusters, clusters[j])
			by[g] = x.by
			continue
		}
		i := len(e.set.Items) + j - n
		g := t.group[i]
		s := &nears[g]
		cluster := e.set.Item(i).Profile
		if cluster < 0 {
			cluster = -1 - i
		}
		s.own, s.share, s.clusters = append(s.own, x.own), append(s.share, x.share), append(s.clusters, cluster)
		if called[g] == nil {
			called[g] = make(map[int]int)
		}
		if x.called >= 0 {
			called[g][x.called]++
		}
	}
	var groups []int
	for g := range t.groups {
		if t.heldOut[g] == heldOut && len(trues[g].own) > 0 && len(nears[g].own) > 0 {
			groups = append(groups, g)
		}
	}
	list := make([]NearMiss, len(groups))
	err := parallel(ctx, len(groups), e.cfg.Workers, func(_, at int) error {
		g := groups[at]
		auc, err := metrics.BootstrapAUC(trues[g].own, nears[g].own, e.cfg.Resamples, e.bootstrap())
		if err != nil {
			return err
		}
		x := NearMiss{
			Relation:  t.groups[g],
			HeldOut:   heldOut,
			True:      len(trues[g].own),
			Near:      len(nears[g].own),
			NamedBy:   by[g],
			TrueNamed: metrics.Bootstrap(trues[g].share, trues[g].clusters, e.cfg.Resamples, e.bootstrap()),
			NearNamed: metrics.Bootstrap(nears[g].share, nears[g].clusters, e.cfg.Resamples, e.bootstrap()),
			AUC:       auc,
		}
		x.Verdict = x.Judge()
		for o, count := range called[g] {
			x.Called = append(x.Called, Name{t.groups[o], count})
		}
		sort.Slice(x.Called, func(i, j int) bool {
			a, b := x.Called[i], x.Called[j]
			return a.Count > b.Count || a.Count == b.Count && a.Relation < b.Relation
		})
		list[at] = x
		return nil
	})
	return list, err
}

// bootstrap returns the generator of an interval. Every interval starts from the same state, so that figures of the same
// queries see the same resamples.
func (e *evaluation) bootstrap() *rand.Rand {
	return rand.New(rand.NewPCG(e.cfg.Seed, streamBootstrap))
}
