package retrieval

import (
	"context"
	"fmt"
	"math"

	"relsim/kernel"
)

// Index is exact search for the nearest of n vectors by dot product, which is the cosine if they are normalised. It is
// safe for concurrent use.
type Index struct {
	n, dim  int
	vectors []float32
}

// Neighbor is one vector found.
type Neighbor struct {
	Index int
	Score float32
}

// NewIndex indexes vectors (n, dim), row-major, in place. A value that is not finite is an error, as is a length that
// is no multiple of dim.
func NewIndex(vectors []float32, dim int) (*Index, error) {
	if dim < 1 || len(vectors)%dim != 0 {
		return nil, fmt.Errorf("retrieval: index: %d values are no vectors of width %d", len(vectors), dim)
	}
	if err := finite("index", vectors, dim); err != nil {
		return nil, err
	}
	return &Index{n: len(vectors) / dim, dim: dim, vectors: vectors}, nil
}

// Len returns the number of vectors.
func (x *Index) Len() int { return x.n }

// searchBlock is the number of queries whose scores are held at a time by one worker.
const searchBlock = 32

// Search returns, for each of the queries (m, dim), the k vectors of the highest scores, best first, equal scores by
// lower index; fewer if there are not so many. exclude, if not nil, has one index for each query that is left out (the
// query itself), or -1. Each worker holds the scores of 32 queries at a time.
func (x *Index) Search(ctx context.Context, queries []float32, k int, exclude []int, workers int) ([][]Neighbor, error) {
	if len(queries)%x.dim != 0 {
		return nil, fmt.Errorf("retrieval: search: %d values are no queries of width %d", len(queries), x.dim)
	}
	m := len(queries) / x.dim
	if k < 1 || workers < 1 {
		return nil, fmt.Errorf("retrieval: search: k = %d with %d workers: both must be at least 1", k, workers)
	}
	if exclude != nil && len(exclude) != m {
		return nil, fmt.Errorf("retrieval: search: %d exclusions for %d queries", len(exclude), m)
	}
	if err := finite("search", queries, x.dim); err != nil {
		return nil, err
	}
	found := make([][]Neighbor, m)
	scores := make([][]float32, workers)
	err := parallel(ctx, (m+searchBlock-1)/searchBlock, workers, func(worker, b int) error {
		first, last := b*searchBlock, min((b+1)*searchBlock, m)
		if scores[worker] == nil {
			scores[worker] = make([]float32, searchBlock*x.n)
		}
		s := scores[worker][:(last-first)*x.n]
		kernel.Gemm(nil, false, true, last-first, x.n, x.dim, queries[first*x.dim:last*x.dim], x.dim, x.vectors, x.dim, s, x.n, false)
		for q := first; q < last; q++ {
			skip := -1
			if exclude != nil {
				skip = exclude[q]
			}
			found[q] = top(s[(q-first)*x.n:(q-first+1)*x.n], k, skip)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// finite returns an error that names the first vector with a value that is NaN or infinite.
func finite(op string, vectors []float32, dim int) error {
	for i, v := range vectors {
		if !(math.Abs(float64(v)) <= math.MaxFloat32) {
			return fmt.Errorf("retrieval: %s: vector %d has the value %v at %d: every value must be finite", op, i/dim, v, i%dim)
		}
	}
	return nil
}

// top selects the k highest finite scores, best first, equal scores by lower index, without skip. It keeps a heap of k
// with the worst at the root: n candidates cost n + k·log k·log(n/k) on random scores.
func top(scores []float32, k, skip int) []Neighbor {
	heap := make([]Neighbor, 0, min(k, len(scores)))
	worse := func(a, b Neighbor) bool { return a.Score < b.Score || a.Score == b.Score && a.Index > b.Index }
	down := func(n int) {
		for i := 0; ; {
			c := 2*i + 1
			if c >= n {
				return
			}
			if c+1 < n && worse(heap[c+1], heap[c]) {
				c++
			}
			if !worse(heap[c], heap[i]) {
				return
			}
			heap[i], heap[c] = heap[c], heap[i]
			i = c
		}
	}
	for i, s := range scores {
		if i == skip {
			continue
		}
		n := Neighbor{i, s}
		if len(heap) < k {
			heap = append(heap, n)
			for c := len(heap) - 1; c > 0 && worse(heap[c], heap[(c-1)/2]); c = (c - 1) / 2 {
				heap[c], heap[(c-1)/2] = heap[(c-1)/2], heap[c]
			}
			continue
		}
		if worse(heap[0], n) {
			heap[0] = n
			down(k)
		}
	}
	for n := len(heap) - 1; n > 0; n-- {
		heap[0], heap[n] = heap[n], heap[0]
		down(n)
	}
	return heap
}
