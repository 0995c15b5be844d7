package retrieval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"relsim/kernel"
)

// Quantized is search over vectors kept as 8-bit codes with one scale each, a quarter of their size. A search scans the
// codes for the best candidates and re-ranks those with the original vectors; see [Originals]. It is safe for concurrent
// use, except that nothing may run beside [Quantized.Add].
type Quantized struct {
	n, dim, stride int
	codes          []byte    // (n, stride)
	scales         []float32 // (n)
	// Over all vectors x with codes that stand for c: the largest |x - c|, and the largest |c|.
	maxError, maxNorm float64
}

// maxDim bounds the width of a quantised vector: sums of products of codes fit in 32 bits.
const maxDim = 1 << 16

// NewQuantized makes an empty index of vectors of width dim, with room for capacity of them; more may be added.
func NewQuantized(dim, capacity int) (*Quantized, error) {
	if dim < 1 || dim > maxDim || capacity < 0 {
		return nil, fmt.Errorf("retrieval: quantized: width %d, room for %d: want a width from 1 to %d", dim, capacity, maxDim)
	}
	x := &Quantized{dim: dim, stride: kernel.CodeStride(dim)}
	if capacity > math.MaxInt/x.stride {
		return nil, fmt.Errorf("retrieval: quantized: room for %d vectors of width %d is more than there is", capacity, dim)
	}
	x.codes = make([]byte, 0, capacity*x.stride)
	x.scales = make([]float32, 0, capacity)
	return x, nil
}

// Add quantises vectors (n, dim), row-major, and adds them at the end of the index. It keeps nothing of its argument. A
// value that is not finite is an error, and nothing is added then.
func (x *Quantized) Add(vectors []float32) error {
	if len(vectors)%x.dim != 0 {
		return fmt.Errorf("retrieval: quantized: %d values are no vectors of width %d", len(vectors), x.dim)
	}
	if err := finite("quantized", vectors, x.dim); err != nil {
		return err
	}
	n := len(vectors) / x.dim
	x.codes, x.scales = slices.Grow(x.codes, n*x.stride), slices.Grow(x.scales, n)
	for ; len(vectors) > 0; vectors = vectors[x.dim:] {
		codes := x.codes[len(x.codes) : len(x.codes)+x.stride]
		scale, distance, norm := encode(codes, vectors[:x.dim])
		x.codes, x.scales = x.codes[:len(x.codes)+x.stride], append(x.scales, scale)
		x.maxError, x.maxNorm = max(x.maxError, distance), max(x.maxNorm, norm)
		x.n++
	}
	return nil
}

// encode quantises v, and returns the scale of the codes, how far from v what they stand for is, and its norm.
func encode(codes []byte, v []float32) (scale float32, distance, norm float64) {
	scale = kernel.Encode8(codes, v)
	var apart, square float64
	for i, c := range codes[:len(v)] {
		stands := float64(scale) * float64(int(c)-128)
		apart += (float64(v[i]) - stands) * (float64(v[i]) - stands)
		square += stands * stands
	}
	return scale, math.Sqrt(apart), math.Sqrt(square)
}

// Len returns the number of vectors.
func (x *Quantized) Len() int { return x.n }

// Dim returns the width of the vectors.
func (x *Quantized) Dim() int { return x.dim }

// QuantizedSearch says what a search over codes does.
type QuantizedSearch struct {
	K          int       // neighbours wanted of each query
	Candidates int       // vectors re-ranked for each query; 0 means 10·K, and no less than 100
	Originals  Originals // what to re-rank with; nil: the neighbours are ranked and scored by codes alone
	Exclude    []int     // nil, or for each query an index that is left out, or -1
	Workers    int
}

// Found is what a search over codes found for one query.
type Found struct {
	Neighbors []Neighbor // best first, equal scores by lower index
	// Exact: no vector that was not re-ranked can belong among Neighbors, by the bound on what quantising may have
	// changed of a score. Without it, one may be missing.
	Exact bool
}

// Search returns the K best vectors for each of the queries (m, dim). The candidates are those of the best products of
// codes,
//
//	scale[i]·scale[q]·Σ_d codes[i,d]·codes[q,d]
//
// which are the same on every processor. Their final scores are products of the original float32 vectors, summed in
// float64 and rounded. With x the vector, q the query, and x', q' what their codes stand for,
//
//	|x·q - x'·q'| ≤ |x - x'|·|q| + |x'|·|q - q'|
//
// bounds the score of every vector that is no candidate; Found.Exact says that it stays below the last neighbour's. The
// result is the same for every number of workers.
func (x *Quantized) Search(ctx context.Context, queries []float32, o QuantizedSearch) ([]Found, error) {
	if len(queries)%x.dim != 0 {
		return nil, fmt.Errorf("retrieval: quantized search: %d values are no queries of width %d", len(queries), x.dim)
	}
	m := len(queries) / x.dim
	if o.K < 1 || o.Workers < 1 || o.Candidates < 0 {
		return nil, fmt.Errorf("retrieval: quantized search: K = %d, %d candidates, %d workers: K and workers must be at least 1, candidates 0 or more", o.K, o.Candidates, o.Workers)
	}
	if o.Exclude != nil && len(o.Exclude) != m {
		return nil, fmt.Errorf("retrieval: quantized search: %d exclusions for %d queries", len(o.Exclude), m)
	}
	if err := finite("quantized search", queries, x.dim); err != nil {
		return nil, err
	}
	if o.Candidates == 0 {
		o.Candidates = max(100, 10*min(o.K, x.n))
	}
	o.Candidates = max(o.K, o.Candidates)
	codes, scales := make([]byte, m*x.stride), make([]float32, m)
	distances, norms := make([]float64, m), make([]float64, m)
	for q := range m {
		v := queries[q*x.dim : (q+1)*x.dim]
		scales[q], distances[q], _ = encode(codes[q*x.stride:(q+1)*x.stride], v)
		norms[q] = math.Sqrt(kernel.Dot(nil, v, v))
	}
	s := &search{n: x.n, m: m, k: o.Candidates, exclude: o.Exclude, workers: o.Workers, rowBytes: x.stride, open: func(first, last int) scan {
		return &codeScan{x, kernel.PackCodes(codes[first*x.stride:last*x.stride], x.stride)}
	}}
	candidates, err := s.run(ctx)
	if err != nil {
		return nil, err
	}
	found := make([]Found, m)
	buffers := make([][]float32, o.Workers)
	err = parallel(ctx, m, o.Workers, func(worker, q int) error {
		list := candidates[q]
		candidates[q] = nil
		whole := len(list) < o.Candidates || o.Candidates >= x.n // no vector is left out but the excluded one
		last := math.Inf(-1)
		if !whole {
			last = float64(scales[q]) * float64(list[len(list)-1].Score)
		}
		if o.Originals == nil {
			list = list[:min(o.K, len(list))]
			for i := range list {
				list[i].Score *= scales[q]
			}
			found[q] = Found{Neighbors: slices.Clip(list)}
			return nil
		}
		if buffers[worker] == nil {
			buffers[worker] = make([]float32, x.dim)
		}
		ranked, err := x.rerank(list, o, queries[q*x.dim:(q+1)*x.dim], buffers[worker])
		if err != nil {
			return err
		}
		found[q] = Found{ranked, whole}
		if len(ranked) == o.K && !whole {
			// 2⁻²² covers the roundings of a product of codes and of two final scores.
			rounding := (math.Abs(last) + norms[q]*(x.maxNorm+x.maxError)) * 0x1p-22
			bound := last + x.maxError*norms[q] + x.maxNorm*distances[q] + rounding
			found[q].Exact = float64(ranked[o.K-1].Score) > bound
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// rerank returns the best of the candidates by their original vectors, which it reads in the order of the index.
func (x *Quantized) rerank(candidates []Neighbor, o QuantizedSearch, query, buffer []float32) ([]Neighbor, error) {
	slices.SortFunc(candidates, func(a, b Neighbor) int { return a.Index - b.Index })
	list := best{o.K, make([]Neighbor, 0, min(o.K, len(candidates)))}
	for _, c := range candidates {
		if err := o.Originals.Original(c.Index, buffer); err != nil {
			return nil, fmt.Errorf("retrieval: quantized search: original vector %d: %w", c.Index, err)
		}
		score := kernel.Dot(nil, query, buffer)
		if !(math.Abs(score) <= math.MaxFloat32) {
			return nil, fmt.Errorf("retrieval: quantized search: the original vector %d has the score %v: every score must be finite", c.Index, score)
		}
		list.offer(Neighbor{c.Index, float32(score)})
	}
	return list.sorted(), nil
}

// codeScan compares queries with an index.
type codeScan struct {
	index   *Quantized
	queries *kernel.CodeQueries
}

func (s *codeScan) above(hits []kernel.Hit, first, last int, thresholds []float32) []kernel.Hit {
	x := s.index
	return s.queries.Above(hits, x.codes[first*x.stride:last*x.stride], x.scales[first:last], thresholds)
}

var errNoOriginal = errors.New("there is no such vector")
