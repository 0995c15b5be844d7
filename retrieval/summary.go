package retrieval

import (
	"context"
	"math"
	"sync"

	"relsim/metrics"
)

// newResult fills in what does not depend on a method.
func (e *evaluation) newResult() *Result {
	r := &Result{
		Data: e.set.Name, Split: e.set.Split, Queries: len(e.queries), Gallery: len(e.set.Items), Seed: e.cfg.Seed,
		Positives: e.truth.by, K: e.k, Resamples: e.cfg.Resamples,
	}
	for _, q := range e.queries {
		if e.truth.isHeldOut(q) {
			r.HeldOutQueries++
		} else {
			r.SeenQueries++
		}
	}
	for _, c := range e.captions {
		if !c.HeldOut {
			r.Captions++
		}
	}
	_, r.Clusters = e.truth.clusters(e.queries)
	return r
}

// estimate is one figure to compute.
type estimate struct {
	to       *Metrics
	name     string
	values   []float64 // NaN: left out
	clusters []int
	keep     func(i int) bool
	against  []float64 // if not nil: the figure is values - against; NaN: left out
}

// estimate computes the figures in parallel; one without a value stays absent.
func (e *evaluation) estimate(ctx context.Context, list []estimate) error {
	var mu sync.Mutex
	return parallel(ctx, len(list), e.cfg.Workers, func(_, i int) error {
		x := list[i]
		var kept, against []float64
		var of []int
		for j, value := range x.values {
			if math.IsNaN(value) || x.against != nil && math.IsNaN(x.against[j]) || !x.keep(j) {
				continue
			}
			kept, of = append(kept, value), append(of, x.clusters[j])
			if x.against != nil {
				against = append(against, x.against[j])
			}
		}
		if len(kept) == 0 {
			return nil
		}
		var interval metrics.Interval
		switch rng := e.bootstrap(); {
		case x.against != nil:
			interval = metrics.BootstrapDifference(kept, against, of, e.cfg.Resamples, rng)
		case x.name == "median_rank":
			interval = metrics.BootstrapMedian(kept, of, e.cfg.Resamples, rng)
		default:
			interval = metrics.Bootstrap(kept, of, e.cfg.Resamples, rng)
		}
		mu.Lock()
		defer mu.Unlock()
		if *x.to == nil {
			*x.to = make(Metrics)
		}
		(*x.to)[x.name] = interval
		return nil
	})
}

// summarize turns values into estimates with intervals, for the queries of seen or of held-out relations.
func (e *evaluation) summarize(ctx context.Context, m Method, v *values, heldOut bool) (MethodResult, error) {
	r := MethodResult{Name: m.Name, Kind: m.Kind, About: m.About, ImageToImage: Metrics{}}
	clusters, _ := e.truth.clusters(e.queries)
	ofCaption := make([]int, len(e.captions))
	for c, cap := range e.captions {
		ofCaption[c] = cap.group
		if cap.group < 0 {
			ofCaption[c] = -1 - c
		}
	}
	keep := func(j int) bool { return e.truth.isHeldOut(e.queries[j]) == heldOut }
	keepCaption := func(c int) bool { return e.captions[c].HeldOut == heldOut }
	var list []estimate
	for name, values := range v.image {
		list = append(list, estimate{&r.ImageToImage, name, values, clusters, keep, nil})
	}
	for kind, values := range v.triplets {
		list = append(list, estimate{&r.Triplets, tripletNames[kind], values, clusters, keep, nil})
	}
	for name, values := range v.toText {
		list = append(list, estimate{&r.ImageToCaption, name, values, clusters, keep, nil})
	}
	for name, values := range v.toImage {
		list = append(list, estimate{&r.CaptionToImage, name, values, ofCaption, keepCaption, nil})
	}
	families := make([]Metrics, len(e.truth.groups))
	counts := make([]int, len(e.truth.groups))
	for j, q := range e.queries {
		if keep(j) {
			r.Queries++
			if g := e.truth.group[q]; g >= 0 {
				counts[g]++
			}
		}
	}
	if e.truth.by == "relation" {
		for g := range families {
			inFamily := func(j int) bool { return keep(j) && e.truth.group[e.queries[j]] == g }
			for _, name := range []string{recallName(1), recallName(10), "map", "twin@1"} {
				list = append(list, estimate{&families[g], name, v.image[name], clusters, inFamily, nil})
			}
			list = append(list, estimate{&families[g], tripletNames[conflict], v.triplets[conflict], clusters, inFamily, nil})
		}
	}
	if err := e.estimate(ctx, list); err != nil {
		return MethodResult{}, err
	}
	for g, m := range families {
		if _, ok := m["map"]; !ok {
			continue
		}
		if r.Families == nil {
			r.Families = make(map[string]Family)
		}
		f := Family{Queries: counts[g], Recall1: m["recall@1"].Mean, Recall10: m["recall@10"].Mean, MAP: m["map"].Mean, Intervals: m}
		if x, ok := m["twin@1"]; ok {
			f.Twin1 = &x.Mean
		}
		if x, ok := m[tripletNames[conflict]]; ok {
			f.Conflict = &x.Mean
		}
		r.Families[e.truth.groups[g]] = f
	}
	var err error
	r.NearMiss, err = e.summarizeNearMisses(ctx, v, heldOut)
	return r, err
}

// difference compares the values of two methods on the seen queries. A figure enters where both have it.
func (e *evaluation) difference(ctx context.Context, method, against string, a, b *values) (Difference, error) {
	d := Difference{Method: method, Against: against, ImageToImage: Metrics{}}
	clusters, _ := e.truth.clusters(e.queries)
	keep := func(j int) bool { return !e.truth.isHeldOut(e.queries[j]) }
	var list []estimate
	for name := range a.image {
		if name != "median_rank" {
			list = append(list, estimate{&d.ImageToImage, name, a.image[name], clusters, keep, b.image[name]})
		}
	}
	for kind := range a.triplets {
		list = append(list, estimate{&d.Triplets, tripletNames[kind], a.triplets[kind], clusters, keep, b.triplets[kind]})
	}
	err := e.estimate(ctx, list)
	return d, err
}
