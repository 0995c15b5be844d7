package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"relsim/kernel"
	"relsim/retrieval"
)

// codes searches 8-bit codes of many vectors, re-ranked exactly, and compares the
// codes it reads in a second with what the same threads read of memory when they
// do nothing else. Its recall is that of some queries against exact search.
type codes struct {
	ctx     context.Context
	pool    *kernel.Pool
	index   *retrieval.Quantized
	vectors *cloud
	queries []float32
	truth   [][]retrieval.Neighbor // of the first queries
	k       int
	words   []uint64
	last    []part
}

// judged is the number of queries whose recall is measured.
const judged = 64

func newCodes(ctx context.Context, j job) (worker, error) {
	c := &codes{
		ctx: ctx, pool: kernel.NewPool(j.Threads), vectors: newCloud(j.Dim), k: j.K,
		queries: make([]float32, j.Queries*j.Dim), truth: make([][]retrieval.Neighbor, judged),
		words: make([]uint64, min(j.N*j.Dim, 1<<30)/8),
	}
	for i := range c.words {
		c.words[i] = uint64(i)
	}
	for q := range j.Queries { // from the same cloud, and none of the vectors
		if err := c.vectors.Original(j.N+q, c.queries[q*j.Dim:][:j.Dim]); err != nil {
			return nil, err
		}
	}
	var err error
	if c.index, err = retrieval.NewQuantized(j.Dim, j.N); err != nil {
		return nil, err
	}
	const most = 16384
	block := make([]float32, min(most, j.N)*j.Dim)
	for first := 0; first < j.N; first += most {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		count := min(most, j.N-first)
		part := block[:count*j.Dim]
		if err := each(j.Threads, count, func(i int) error { return c.vectors.Original(first+i, part[i*j.Dim:][:j.Dim]) }); err != nil {
			return nil, err
		}
		if err := c.index.Add(part); err != nil {
			return nil, err
		}
		exact, err := retrieval.NewIndex(part, j.Dim)
		if err != nil {
			return nil, err
		}
		found, err := exact.Search(ctx, c.queries[:judged*j.Dim], j.K, nil, j.Threads)
		if err != nil {
			return nil, err
		}
		for q := range c.truth {
			for _, n := range found[q] {
				c.truth[q] = append(c.truth[q], retrieval.Neighbor{Index: first + n.Index, Score: n.Score})
			}
			slices.SortFunc(c.truth[q], func(a, b retrieval.Neighbor) int { return cmp.Compare(b.Score, a.Score) })
			c.truth[q] = c.truth[q][:min(j.K, len(c.truth[q]))]
		}
	}
	return c, nil
}

func (c *codes) once() error {
	c.last = c.last[:0]
	dim, bytes := c.index.Dim(), float64(c.index.Len()*c.index.Dim())
	for _, m := range []int{1, 16, len(c.queries) / dim} {
		read := 8 * float64(len(c.words)) / timed(0, func() { kernel.Xor(c.pool, c.words) })
		begin := time.Now()
		found, err := c.index.Search(c.ctx, c.queries[:m*dim], retrieval.QuantizedSearch{K: c.k, Originals: c.vectors, Workers: c.pool.Threads()})
		if err != nil {
			return err
		}
		seconds := time.Since(begin).Seconds()
		name := fmt.Sprintf("%s vectors, queries: %d", number(float64(c.index.Len())), m)
		c.last = append(c.last,
			part{Name: name, Pass: "codes, share of reading", Speed: bytes / seconds, Limit: read, Unit: "B/s"},
			part{Name: name, Pass: "queries", Speed: float64(m) / seconds, Unit: "queries/s"},
		)
		if m >= judged {
			c.last = append(c.last, part{Name: name, Pass: fmt.Sprintf("recall@%d", c.k), Speed: c.recall(found)})
		}
	}
	return nil
}

// recall is the share of the true neighbours that were found.
func (c *codes) recall(found []retrieval.Found) float64 {
	hits, all := 0, 0
	for q, want := range c.truth {
		all += len(want)
		for _, w := range want {
			if slices.ContainsFunc(found[q].Neighbors, func(n retrieval.Neighbor) bool { return n.Index == w.Index }) {
				hits++
			}
		}
	}
	return float64(hits) / float64(all)
}

func (c *codes) parts() []part { return c.last }
func (c *codes) ready() ready  { return ready{Path: kernel.Active().String()} }
func (c *codes) close()        { c.pool.Close() }

// cloud is a stream of vectors of length one around 4,096 centres, as embeddings
// lie, each of which can be made again.
type cloud struct {
	dim     int
	centers []float32
}

const cloudCenters = 4096

func newCloud(dim int) *cloud { return &cloud{dim, unit("centres", cloudCenters, dim)} }

// Original writes vector i. It makes the cloud [retrieval.Originals].
func (c *cloud) Original(i int, dst []float32) error {
	seed := hash(seedOf("cloud"), i)
	center := c.centers[int(seed%cloudCenters)*c.dim:][:c.dim]
	width := float32(1.5 / math.Sqrt(float64(c.dim)) / (1 << 31))
	for d := range dst {
		dst[d] = center[d] + width*float32(int32(hash(seed, d)))
	}
	kernel.L2Normalize(nil, dst, dst, 1, c.dim, 1e-12)
	return nil
}
