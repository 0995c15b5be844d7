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

// Search returns, for each of the queries (m, dim), the k vectors of the highest scores, best first, equal scores by
// lower index; fewer if there are not so many. exclude, if not nil, has one index for each query that is left out (the
// query itself), or -1.
//
// Scores are float32 sums; see [kernel.Queries.Above]. They are sifted in cache as they come, so that memory is what is
// returned, times workers at most. The result has the same bits for every number of workers. A score that
// overflows is an error, or ranks last if it is negative.
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
	s := &search{n: x.n, m: m, k: k, exclude: exclude, workers: workers, rowBytes: 4 * x.dim, open: func(first, last int) scan {
		return &exactScan{x, kernel.PackQueries(queries[first*x.dim:last*x.dim], x.dim)}
	}}
	return s.run(ctx)
}

// exactScan compares queries with an index.
type exactScan struct {
	index   *Index
	queries *kernel.Queries
}

func (s *exactScan) above(hits []kernel.Hit, first, last int, thresholds []float32) []kernel.Hit {
	return s.queries.Above(hits, s.index.vectors[first*s.index.dim:last*s.index.dim], thresholds)
}

// finite returns an error that names the first vector with a value that is NaN or infinite.
func finite(op string, vectors []float32, dim int) error {
	if kernel.AllFinite(vectors) {
		return nil
	}
	for i, v := range vectors {
		if !(math.Abs(float64(v)) <= math.MaxFloat32) {
			return fmt.Errorf("retrieval: %s: vector %d has the value %v at %d: every value must be finite", op, i/dim, v, i%dim)
		}
	}
	return nil
}

// top selects the k highest finite scores, best first, equal scores by lower index, without skip.
func top(scores []float32, k, skip int) []Neighbor {
	list := best{k, make([]Neighbor, 0, min(k, len(scores)))}
	for i, s := range scores {
		if i != skip {
			list.offer(Neighbor{i, s})
		}
	}
	return list.sorted()
}
