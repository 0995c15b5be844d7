package main

import (
	"context"
	"fmt"

	"relsim/kernel"
	"relsim/retrieval"
)

// search finds the nearest vectors of many queries.
type search struct {
	ctx     context.Context
	index   *retrieval.Index
	queries []float32
	k       int
	workers int
	found   [][]retrieval.Neighbor
}

func newSearch(ctx context.Context, j job) (worker, error) {
	vectors, queries := unit("vectors", j.N, j.Dim), unit("queries", j.Queries, j.Dim)
	index, err := retrieval.NewIndex(vectors, j.Dim)
	if err != nil {
		return nil, err
	}
	s := &search{ctx: ctx, index: index, queries: queries, k: j.K, workers: j.Threads}
	return s, s.once()
}

// unit returns n vectors of length one.
func unit(name string, n, dim int) []float32 {
	x := make([]float32, n*dim)
	fill(x, name, 1, 0)
	kernel.L2Normalize(nil, x, x, n, dim, 1e-12)
	return x
}

func (s *search) once() (err error) {
	s.found, err = s.index.Search(s.ctx, s.queries, s.k, nil, s.workers)
	return err
}

func (s *search) ready() ready {
	r := ready{Path: fmt.Sprintf("%s, %d workers", kernel.Active(), s.workers)}
	for _, n := range s.found[0] {
		r.Check = append(r.Check, float64(n.Index))
	}
	return r
}

func (s *search) close() {}
