package baseline

import (
	"context"
	"fmt"
	"math"

	"relsim/dataloader"
	"relsim/kernel"
)

// BlockMeasure is a Measure that answers several queries at once for less than it answers them one by one.
type BlockMeasure interface {
	Measure

	// ScoresBlock writes the similarities of the picture queries[r] to row r of dst, (len(queries), n), for the first n
	// pictures. A value may differ from that of Scores in the last bits.
	ScoresBlock(queries []int, dst []float32) error
}

// SlowMeasure is a BlockMeasure whose scores may take so long that ctx has to end them.
type SlowMeasure interface {
	BlockMeasure

	// ScoresContext is ScoresBlock, ended by ctx with its error.
	ScoresContext(ctx context.Context, queries []int, dst []float32) error
}

// vectors is a list of n vectors compared by dot product or by Euclidean distance:
//
//	score(q, i) = x[q]·x[i]                                  dot
//	score(q, i) = -√max(0, |x[q]|² + |x[i]|² - 2·x[q]·x[i])  euclidean
//
// The products run in float32; the distance of equal vectors is exactly 0 only up to their rounding, about
// 1e-3·|x| at worst, which is why the mean of the list is taken off first (see center).
type vectors struct {
	name      string
	n, dim    int
	data      []float32 // (n, dim)
	norms     []float32 // squared; nil for the dot product
	euclidean bool
	asked     []float32 // (n, dim), what queries are compared by; nil: data
}

func (v *vectors) Name() string { return v.name }

// center subtracts the mean vector, which changes no distance and keeps the products small, and fills norms.
func (v *vectors) center() {
	mean := make([]float64, v.dim)
	for i := range v.n {
		for j, x := range v.row(i) {
			mean[j] += float64(x)
		}
	}
	for j := range mean {
		mean[j] /= float64(max(1, v.n))
	}
	v.norms = make([]float32, v.n)
	for i := range v.n {
		row := v.row(i)
		var sum float64
		for j := range row {
			row[j] -= float32(mean[j])
			sum += float64(row[j]) * float64(row[j])
		}
		v.norms[i] = float32(sum)
	}
}

func (v *vectors) row(i int) []float32 { return v.data[i*v.dim : (i+1)*v.dim] }

// query is the vector that picture i is compared by as a query.
func (v *vectors) query(i int) []float32 {
	if v.asked == nil {
		return v.row(i)
	}
	return v.asked[i*v.dim : (i+1)*v.dim]
}

func (v *vectors) Scores(query int, dst []float32) error {
	return v.ScoresBlock([]int{query}, dst)
}

func (v *vectors) ScoresBlock(queries []int, dst []float32) error {
	if err := checkQueries(v.name, queries, v.n, dst); err != nil || len(dst) == 0 {
		return err
	}
	n := len(dst) / len(queries)
	a := v.query(queries[0])
	if len(queries) > 1 {
		a = make([]float32, len(queries)*v.dim)
		for r, q := range queries {
			copy(a[r*v.dim:(r+1)*v.dim], v.query(q))
		}
	}
	kernel.Gemm(nil, false, true, len(queries), n, v.dim, a, v.dim, v.data, v.dim, dst, n, false)
	if !v.euclidean {
		return nil
	}
	for r, q := range queries {
		row := dst[r*n : (r+1)*n]
		for i, dot := range row {
			d := v.norms[q] + v.norms[i] - 2*dot
			row[i] = -float32(math.Sqrt(float64(max(d, 0))))
		}
		if q < n {
			row[q] = 0
		}
	}
	return nil
}

// checkQueries returns an error that names the measure if a query or the length of dst does not fit n pictures.
func checkQueries(name string, queries []int, n int, dst []float32) error {
	if n == 0 {
		return fmt.Errorf("baseline: %s: no pictures: call Prepare first", name)
	}
	for _, q := range queries {
		if q < 0 || q >= n {
			return fmt.Errorf("baseline: %s: query %d of %d pictures", name, q, n)
		}
	}
	if len(dst) > len(queries)*n || len(queries) > 0 && len(dst)%len(queries) != 0 {
		return fmt.Errorf("baseline: %s: room for %d scores of %d queries and %d pictures", name, len(dst), len(queries), n)
	}
	return nil
}

// Embeddings returns the measure of n vectors of width dim computed elsewhere, (n, dim) row-major: the dot product,
// which is the cosine if they are normalised. The vectors are used in place and belong to the pictures in their order;
// Prepare does nothing but check their number. It panics if the length does not fit.
func Embeddings(name string, data []float32, n, dim int) Measure {
	if n < 0 || dim < 1 || len(data) != n*dim {
		panic(fmt.Sprintf("baseline: embeddings %s: %d values for %d vectors of width %d", name, len(data), n, dim))
	}
	return &embeddings{vectors{name: name, n: n, dim: dim, data: data}}
}

// QueryEmbeddings is [Embeddings] where a query is compared by another vector than the one that it is found by, such as
// that of its caption:
//
//	score(q, i) = queries[q]·data[i]
//
// queries is (n, dim) too. It panics if a length does not fit.
func QueryEmbeddings(name string, queries, data []float32, n, dim int) Measure {
	if n < 0 || dim < 1 || len(queries) != n*dim || len(data) != n*dim {
		panic(fmt.Sprintf("baseline: embeddings %s: %d and %d values for %d vectors of width %d", name, len(queries), len(data), n, dim))
	}
	return &embeddings{vectors{name: name, n: n, dim: dim, data: data, asked: queries}}
}

type embeddings struct{ vectors }

func (e *embeddings) Prepare(ctx context.Context, images []*dataloader.Image) error {
	if images != nil && len(images) != e.n {
		return fmt.Errorf("baseline: %s: prepare: %d pictures for %d vectors", e.name, len(images), e.n)
	}
	return ctx.Err()
}

// NeedsPixels reports whether a measure looks at the pictures given to Prepare; [Embeddings] and [Chance] do not.
func NeedsPixels(m Measure) bool {
	switch m.(type) {
	case *embeddings, chance:
		return false
	}
	return true
}

// Chance returns the measure that gives every picture the score 0. With ties counted as the mean over the tied orders
// its figures are the exact expectation of a random ranking.
func Chance() Measure { return chance{} }

type chance struct{}

func (chance) Name() string                                             { return "chance" }
func (chance) Prepare(ctx context.Context, _ []*dataloader.Image) error { return ctx.Err() }
func (chance) Scores(_ int, dst []float32) error                        { clear(dst); return nil }
