package retrieval

import (
	"context"
	"fmt"
	"math"
	"sync"

	"relsim/kernel"
)

// best holds the k best neighbours offered so far: the highest scores, equal scores by lower index. It is a heap with the
// worst at the root. n offers of random scores cost n + k·log k·log(n/k).
type best struct {
	k    int
	heap []Neighbor
}

// worse reports whether a comes after b. Two neighbours of one query never compare equal.
func worse(a, b Neighbor) bool { return a.Score < b.Score || a.Score == b.Score && a.Index > b.Index }

// offer takes a neighbour if it is among the k best.
func (b *best) offer(n Neighbor) {
	if len(b.heap) < b.k {
		b.heap = append(b.heap, n)
		for c := len(b.heap) - 1; c > 0 && worse(b.heap[c], b.heap[(c-1)/2]); c = (c - 1) / 2 {
			b.heap[c], b.heap[(c-1)/2] = b.heap[(c-1)/2], b.heap[c]
		}
		return
	}
	if worse(b.heap[0], n) {
		b.heap[0] = n
		b.down(b.k)
	}
}

// down moves the root of the first n to its place.
func (b *best) down(n int) {
	h := b.heap
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			return
		}
		if c+1 < n && worse(h[c+1], h[c]) {
			c++
		}
		if !worse(h[c], h[i]) {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}

// level is the least score that an offer may be taken with.
func (b *best) level() float32 {
	if len(b.heap) < b.k {
		return float32(math.Inf(-1))
	}
	return b.heap[0].Score
}

// sorted returns the neighbours, best first, and ends the heap.
func (b *best) sorted() []Neighbor {
	for n := len(b.heap) - 1; n > 0; n-- {
		b.heap[0], b.heap[n] = b.heap[n], b.heap[0]
		b.down(n)
	}
	return b.heap
}

// scan is a batch of queries, ready to be compared with rows of an index. It is used by several goroutines at once.
type scan interface {
	// above appends to hits what does not lie below its query's threshold among the scores of the rows first … last-1,
	// and every score that is NaN. Hits count rows from first.
	above(hits []kernel.Hit, first, last int, thresholds []float32) []kernel.Hit
}

const (
	panel        = 48      // batches are multiples of it, for the kernels' sake
	batchQueries = 960     // most queries of a batch
	batchHeld    = 1 << 20 // most neighbours that a worker holds at a time, for a batch of more than one panel
	spanBytes    = 1 << 19 // of rows in a work item
	spanStep     = 128     // rows between two looks at the thresholds
)

// search is one call that looks for the k best of n rows for each of m queries.
type search struct {
	n, m, k  int
	exclude  []int // nil, or of each query the row that is left out
	workers  int
	rowBytes int                        // of a row, to size work items
	open     func(first, last int) scan // packs the queries first … last-1

	batch, span int // queries of a batch, rows of a work item
	batches     []*batch
	found       [][]Neighbor
}

// batch is a range of queries. Workers hand in what they found, and the last one merges.
type batch struct {
	first, last int
	once        sync.Once
	scan        scan

	mu    sync.Mutex
	left  int // work items that are not handed in
	parts [][]best
}

// searcher is what a worker holds for the batch that it works on.
type searcher struct {
	batch      *batch
	lists      []best
	thresholds []float32
	items      int // done since the last hand-in
	hits       []kernel.Hit
}

// run returns the neighbours of each query. They do not depend on the number of workers: every score is computed alone,
// and the order of neighbours is total. A score that is NaN or +Inf is an error.
func (s *search) run(ctx context.Context) ([][]Neighbor, error) {
	s.found = make([][]Neighbor, s.m)
	s.k = min(s.k, s.n)
	if s.k == 0 || s.m == 0 {
		for q := range s.found {
			s.found[q] = []Neighbor{}
		}
		return s.found, ctx.Err()
	}
	most := min(batchQueries, max(panel, batchHeld/s.k))
	even := (s.m + most - 1) / most // batches, all of about one size
	s.batch = ((s.m+even-1)/even + panel - 1) / panel * panel
	s.span = max(spanStep, spanBytes/s.rowBytes/spanStep*spanStep)
	spans := (s.n + s.span - 1) / s.span
	for first := 0; first < s.m; first += s.batch {
		s.batches = append(s.batches, &batch{first: first, last: min(s.m, first+s.batch), left: spans})
	}
	workers := make([]searcher, s.workers)
	err := parallel(ctx, len(s.batches)*spans, s.workers, func(worker, i int) error {
		return s.item(&workers[worker], s.batches[i/spans], i%spans)
	})
	if err != nil {
		return nil, err
	}
	for i := range workers {
		s.handIn(&workers[i])
	}
	return s.found, nil
}

// item compares a batch with one span of rows.
func (s *search) item(w *searcher, b *batch, span int) error {
	if w.batch != b {
		s.handIn(w)
		b.once.Do(func() { b.scan = s.open(b.first, b.last) })
		w.start(b, s.k)
	}
	w.items++
	first, last := span*s.span, min(s.n, (span+1)*s.span)
	step := s.span
	if len(w.lists) > 8 {
		step = spanStep // so many hits are kept at a time, before there is a threshold
	}
	for ; first < last; first += step {
		w.hits = b.scan.above(w.hits[:0], first, min(last, first+step), w.thresholds)
		for _, h := range w.hits {
			row, q := first+int(h.Row), b.first+int(h.Query)
			if !(h.Score <= math.MaxFloat32) {
				return fmt.Errorf("retrieval: search: query %d has the score %v with vector %d: their values are too large", q, h.Score, row)
			}
			if s.exclude != nil && s.exclude[q] == row {
				continue
			}
			list := &w.lists[h.Query]
			list.offer(Neighbor{row, h.Score})
			w.thresholds[h.Query] = list.level()
		}
	}
	return nil
}

// start begins a batch.
func (w *searcher) start(b *batch, k int) {
	n := b.last - b.first
	w.batch, w.lists = b, make([]best, n)
	held := make([]Neighbor, n*k)
	w.thresholds = make([]float32, n)
	for q := range w.lists {
		w.lists[q] = best{k, held[q*k : q*k : (q+1)*k]}
		w.thresholds[q] = w.lists[q].level()
	}
}

// handIn gives the worker's lists to its batch, and merges them if the batch is done.
func (s *search) handIn(w *searcher) {
	b := w.batch
	if b == nil {
		return
	}
	b.mu.Lock()
	b.parts = append(b.parts, w.lists)
	b.left -= w.items
	done := b.left == 0
	b.mu.Unlock()
	w.batch, w.lists, w.items = nil, nil, 0
	if !done {
		return
	}
	for q := range b.parts[0] {
		list := &b.parts[0][q]
		for _, other := range b.parts[1:] {
			for _, n := range other[q].heap {
				list.offer(n)
			}
		}
		s.found[b.first+q] = list.sorted()
	}
	b.parts, b.scan = nil, nil
}
