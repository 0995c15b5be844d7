package retrieval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"

	"relsim/baseline"
	"relsim/dataloader"
	"relsim/metrics"
)

// Evaluate measures the methods on the set.
//
// Image to image: every query ranks the gallery with itself left out; its positives are the pictures of its relation
// (of its caption, where no picture of the set has a relation). Ties count as the mean over the tied orders
// ([metrics.TieMean]). recall@k is the share of queries with a positive among the first k; twin@1 the share whose
// nearest picture is an attribute twin: of the query's profile, but not its relation.
//
// Triplets: the share of triplets (query, positive, negative) with sim(query, positive) > sim(query, negative), ties ½,
// averaged over queries.
//
//	conflict  positive of another profile, negative a twin, all of them: appearance speaks for the negative
//	aligned   the positive's literal caption overlaps the query's by at least 0.15 more than the negative's
//	control   the overlaps differ by at most 0.03: appearance says nothing
//
// The overlap is the Jaccard index of the captions' words; at most Config.Triplets of aligned and control are drawn for a
// query, the same for every method. A query without a profile draws conflict triplets by overlap as well: the negative's
// is at least 0.15 higher.
//
// Captions, for methods with [Text]: image_to_caption ranks the distinct captions of the seen relations; those of the
// query's relation are its positives (where no picture has a relation, all captions of the pictures with its first one).
// caption_to_image ranks the gallery for every distinct caption. For held-out relations the captions of all relations
// are candidates.
//
// Near misses: see [NearMiss]. A picture is compared with the gallery without itself, the pictures of its profile and, if
// it is a near miss, its true picture; similarity to a relation is the mean of the five highest.
//
// Intervals are percentile bootstrap 95 % intervals over profiles (over queries where there are none), caption_to_image
// over relations, AUC over pictures.
//
// Methods are taken one after another, so only one measure's features are in memory at a time, and the scores of a block
// of queries for each worker. The result depends on set, methods and Config, not on Workers (and in the last bits of a
// score on the kernels that the processor has). A score that is not finite
// is an error that names the method and the pictures, as is everything that does not fit in set or cfg. Evaluate stops
// with ctx's error when it is cancelled.
func Evaluate(ctx context.Context, set *Set, methods []Method, cfg Config) (*Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := set.check(methods); err != nil {
		return nil, err
	}
	t := newTruth(set)
	queries := t.queries(cfg.Queries, rand.New(rand.NewPCG(cfg.Seed, streamQueries)))
	if len(queries) == 0 {
		return nil, errors.New("retrieval: evaluate: no picture has a caption or shares its relation with another one")
	}
	e := &evaluation{cfg: cfg, set: set, truth: t, queries: queries, overlaps: newOverlaps(set)}
	e.k = slices.Concat(cfg.K, []int{1, 5, 10})
	slices.Sort(e.k)
	e.k = slices.Compact(e.k)
	for _, c := range set.Captions() {
		key := c.Text
		if t.by == "relation" {
			key = c.Relation
		}
		g, ok := t.index[key]
		if !ok && t.by == "caption" { // one of several captions
			g, ok = t.index[c.first]
		}
		if !ok {
			g = -1
		}
		e.captions = append(e.captions, caption{Caption: c, group: g})
	}
	var err error
	if e.triplets, err = drawTriplets(ctx, t, e.overlaps, queries, cfg.Triplets, cfg.Seed, cfg.Workers); err != nil {
		return nil, err
	}
	e.drawPairs(methods)
	images, err := e.load(ctx, methods)
	if err != nil {
		return nil, err
	}

	var first *values
	r := e.newResult()
	e.ranks = e.newRanks(methods, cfg.Rankings)
	for n, m := range methods {
		report := func(done float64) {
			if cfg.Progress != nil {
				cfg.Progress((float64(n) + done) / float64(len(methods)))
			}
		}
		pixels := images
		if !baseline.NeedsPixels(m.Images) {
			pixels = nil
		}
		if err := m.Images.Prepare(ctx, pixels); err != nil {
			return nil, fmt.Errorf("retrieval: evaluate: method %q: %w", m.Name, err)
		}
		if moded, ok := m.Images.(interface{ Mode() string }); ok && m.About != nil { // known of the pictures only
			about := *m.About
			about.How += "; " + moded.Mode()
			m.About = &about
		}
		v, err := e.measure(ctx, n, m, e.axis(n, m.Name), report)
		if err != nil {
			return nil, err
		}
		if first == nil {
			first = v
			e.chooseExamples(v)
		}
		if err := e.showExamples(m); err != nil {
			return nil, err
		}
		if baseline.NeedsPixels(m.Images) {
			if err := m.Images.Prepare(ctx, nil); err != nil {
				return nil, err
			}
		}
		seen, err := e.summarize(ctx, m, v, false)
		if err != nil {
			return nil, err
		}
		r.Methods = append(r.Methods, seen)
		if r.HeldOutQueries > 0 {
			heldOut, err := e.summarize(ctx, m, v, true)
			if err != nil {
				return nil, err
			}
			r.HeldOut = append(r.HeldOut, heldOut)
		}
		if n > 0 {
			d, err := e.difference(ctx, methods[0].Name, m.Name, first, v)
			if err != nil {
				return nil, err
			}
			r.Differences = append(r.Differences, d)
		}
	}
	r.Space = e.space(methods)
	r.Examples = e.examples
	if e.ranks != nil {
		r.Rankings = e.ranks.Rankings
	}
	return r, nil
}

// Streams of the seeded generators, so that a change of one draw leaves the others alone.
const (
	streamQueries = iota + 1
	streamBootstrap
	streamPairs
	streamExamples
)

type caption struct {
	Caption
	group int
}

// evaluation is the state that the methods share.
type evaluation struct {
	cfg      Config
	set      *Set
	truth    *truth
	queries  []int
	k        []int
	captions []caption
	overlaps *overlaps
	triplets []triplets
	pairs    []pair
	pairsOf  map[int][]int // of each picture A
	chosen   []int         // example queries
	examples []Example
	ranks    *ranks // nil: none are asked for
}

// values are the figures of one method by query, NaN where one does not apply.
type values struct {
	image    map[string][]float64 // by metric, by query
	triplets [tripletKinds][]float64
	toText   map[string][]float64 // image to caption, by query
	toImage  map[string][]float64 // caption to image, by caption
	named    []naming             // of queries, then near misses
}

func nan(n int) []float64 {
	list := make([]float64, n)
	for i := range list {
		list[i] = math.NaN()
	}
	return list
}

func recallName(k int) string { return "recall@" + strconv.Itoa(k) }

// record writes the figures of a ranking to element j.
func (e *evaluation) record(to map[string][]float64, j int, r *metrics.Ranking) {
	for _, k := range e.k {
		to[recallName(k)][j] = r.Hit(k)
	}
	to["map"][j] = r.AP()
	to["mrr"][j] = r.ReciprocalRank()
	to["median_rank"][j] = r.FirstRank()
	if to["ndcg@10"] != nil {
		to["ndcg@10"][j] = r.NDCG(10)
	}
}

func (e *evaluation) columns(n int, more ...string) map[string][]float64 {
	to := make(map[string][]float64)
	for _, k := range e.k {
		to[recallName(k)] = nan(n)
	}
	for _, name := range append([]string{"map", "mrr", "median_rank"}, more...) {
		to[name] = nan(n)
	}
	return to
}

// load returns the pictures at Config.Side, or nil if no method looks at pixels.
func (e *evaluation) load(ctx context.Context, methods []Method) ([]*dataloader.Image, error) {
	if !slices.ContainsFunc(methods, func(m Method) bool { return baseline.NeedsPixels(m.Images) }) {
		return nil, nil
	}
	if e.set.Image == nil {
		return nil, errors.New("retrieval: evaluate: the methods need pixels and the set has no pictures")
	}
	images := make([]*dataloader.Image, e.set.Len())
	err := parallel(ctx, len(images), e.cfg.Workers, func(_, i int) error {
		im, err := e.set.Image(ctx, i)
		if err == nil {
			images[i], err = baseline.Fit(im, e.cfg.Side)
		}
		if err != nil {
			return fmt.Errorf("retrieval: evaluate: picture %q: %w", e.set.Item(i).ID, err)
		}
		return nil
	})
	return images, err
}

// block is the number of queries whose scores a worker holds at a time. A matrix product packs the gallery once for each.
const block = 128

// measure computes all values of one method that is prepared, the one given as number.
func (e *evaluation) measure(ctx context.Context, number int, m Method, axis func(*pair) *float64, report func(done float64)) (*values, error) {
	n := len(e.queries)
	v := &values{image: e.columns(n, "ndcg@10", "twin@1")}
	for kind := range v.triplets {
		v.triplets[kind] = nan(n)
	}
	// Rows to score: the queries, and the near misses for their names.
	rows := slices.Clone(e.queries)
	var namer *namer
	if len(e.set.NearMiss) > 0 && !m.ByCaption {
		for i := range e.set.NearMiss {
			rows = append(rows, len(e.set.Items)+i)
		}
		namer = e.newNamer(m)
		v.named = make([]naming, len(rows))
	}
	blocks := (len(rows) + block - 1) / block
	workers := make([]*scorer, e.cfg.Workers)
	done := progress{report: report, of: blocks}
	err := parallel(ctx, blocks, e.cfg.Workers, func(worker, b int) error {
		if workers[worker] == nil {
			workers[worker] = newScorer(e.set)
		}
		w := workers[worker]
		first, last := b*block, min((b+1)*block, len(rows))
		if err := w.score(ctx, m.Images, rows[first:last]); err != nil {
			return fmt.Errorf("retrieval: evaluate: method %q: %w", m.Name, err)
		}
		for j := first; j < last; j++ {
			row := w.row(j - first)
			if i := slices.IndexFunc(row, func(s float32) bool { return !(math.Abs(float64(s)) <= math.MaxFloat32) }); i >= 0 {
				return fmt.Errorf("retrieval: evaluate: method %q: picture %q has the score %v with %q: every score must be finite",
					m.Name, e.set.Item(rows[j]).ID, row[i], e.set.Items[i].ID)
			}
			if j < n {
				if err := e.query(v, j, row, w); err != nil {
					return fmt.Errorf("retrieval: evaluate: method %q: query %q: %w", m.Name, e.set.Item(rows[j]).ID, err)
				}
				e.scorePairs(axis, j, row)
				e.keep(number, j, row)
			}
			if namer != nil {
				namer.name(&v.named[j], rows[j], row)
			}
		}
		done.step()
		return nil
	})
	if err != nil {
		return nil, err
	}
	if m.Text != nil && len(e.captions) > 0 {
		if err := e.measureCaptions(ctx, m, v); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// query fills in the image-to-image values of query j from its scores of the gallery.
func (e *evaluation) query(v *values, j int, scores []float32, w *scorer) error {
	q, t := e.queries[j], e.truth
	if positives := t.positives(q); len(positives) > 1 {
		if err := w.ranking.RankPositives(scores, positives, q, metrics.TieMean); err != nil {
			return err
		}
		e.record(v.image, j, &w.ranking)
	}
	tr := e.triplets[j]
	if twins := t.twins(q); len(twins) > 0 {
		for _, i := range twins {
			w.member[i] = true
		}
		share, err := metrics.TopShare(scores, w.member, q)
		for _, i := range twins {
			w.member[i] = false
		}
		if err != nil {
			return err
		}
		v.image["twin@1"][j] = share
	}
	if len(tr.positives) > 0 && len(tr.twins) > 0 {
		accuracy, err := metrics.AUC(pick(&w.a, scores, tr.positives), pick(&w.b, scores, tr.twins))
		if err != nil {
			return err
		}
		v.triplets[conflict][j] = accuracy
	}
	for kind, drawn := range tr.drawn {
		if len(drawn) == 0 {
			continue
		}
		var sum float64
		for _, x := range drawn {
			sum += metrics.Triplet(scores[x.positive], scores[x.negative])
		}
		v.triplets[kind][j] = sum / float64(len(drawn))
	}
	return nil
}

// scorer is the memory of one worker.
type scorer struct {
	gallery int
	scores  []float32 // (block, gallery)
	ranking metrics.Ranking
	member  []bool
	a, b    []float32
}

func newScorer(s *Set) *scorer {
	return &scorer{gallery: len(s.Items), scores: make([]float32, block*len(s.Items)), member: make([]bool, len(s.Items))}
}

// score computes the scores of at most block pictures.
func (w *scorer) score(ctx context.Context, m baseline.Measure, pictures []int) error {
	if b, ok := m.(baseline.SlowMeasure); ok {
		return b.ScoresContext(ctx, pictures, w.scores[:len(pictures)*w.gallery])
	}
	if b, ok := m.(baseline.BlockMeasure); ok {
		return b.ScoresBlock(pictures, w.scores[:len(pictures)*w.gallery])
	}
	for r, q := range pictures {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := m.Scores(q, w.row(r)); err != nil {
			return err
		}
	}
	return nil
}

// row returns the scores of the gallery for picture r of the block.
func (w *scorer) row(r int) []float32 { return w.scores[r*w.gallery:][:w.gallery] }

// pick gathers scores into a buffer that it grows.
func pick(buffer *[]float32, scores []float32, at []int) []float32 {
	list := (*buffer)[:0]
	for _, i := range at {
		list = append(list, scores[i])
	}
	*buffer = list
	return list
}
