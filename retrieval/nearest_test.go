package retrieval

import (
	"context"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"

	"relsim/kernel"
)

// TestSearchSpans takes more rows than a work item has, or more queries than a batch, with few distinct scores: ties
// run across items, batches and workers.
func TestSearchSpans(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, tt := range []struct{ n, m, dim, k int }{
		{9000, 70, 20, 30},
		{3000, 3, 200, 2999},
		{3000, 60, 200, 3100},
		{90, 2000, 3, 4},
		{700, 1, 1000, 10},
	} {
		draw := func(count int) []float32 {
			v := make([]float32, count*tt.dim)
			for i := range v {
				v[i] = float32(rng.IntN(3) - 1)
			}
			return v
		}
		vectors, queries := draw(tt.n), draw(tt.m)
		exclude := make([]int, tt.m)
		for q := range exclude {
			exclude[q] = rng.IntN(tt.n+1) - 1
		}
		index, err := NewIndex(vectors, tt.dim)
		if err != nil {
			t.Fatal(err)
		}
		var first [][]Neighbor
		for _, workers := range []int{1, 2, 3, 9} {
			got, err := index.Search(context.Background(), queries, tt.k, exclude, workers)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = got
			} else if !reflect.DeepEqual(got, first) {
				t.Fatalf("%+v: %d workers find something else than one", tt, workers)
			}
		}
		for q := 0; q < tt.m; q += 1 + tt.m/20 {
			want := []Neighbor{}
			for i := range tt.n {
				if i == exclude[q] {
					continue
				}
				var dot float32
				for d := range tt.dim {
					dot += queries[q*tt.dim+d] * vectors[i*tt.dim+d]
				}
				want = append(want, Neighbor{i, dot})
			}
			sort.SliceStable(want, func(i, j int) bool { return want[i].Score > want[j].Score })
			if want = want[:min(tt.k, len(want))]; !slices.Equal(first[q], want) {
				t.Fatalf("%+v: query %d: %v, want %v", tt, q, first[q], want)
			}
		}
	}
}

// TestSearchOverflow: products that overflow to +Inf, or to infinities of both signs, make no score; -Inf ranks last.
func TestSearchOverflow(t *testing.T) {
	const big = math.MaxFloat32
	vectors := slices.Repeat([]float32{0, 1}, 500)
	copy(vectors[2*400:], []float32{big, -big})
	index, err := NewIndex(vectors, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, tier := range kernel.Tiers() {
		restore, err := kernel.SetTier(tier)
		if err != nil {
			t.Fatal(err)
		}
		for _, query := range [][]float32{{big, big}, {big, 0}} {
			_, err = index.Search(context.Background(), append([]float32{0, 3}, query...), 1, nil, 2)
			if err == nil || !strings.Contains(err.Error(), "query 1 ") || !strings.Contains(err.Error(), "vector 400") {
				t.Errorf("%v: query %v: %v", tier, query, err)
			}
		}
		found, err := index.Search(context.Background(), []float32{-big, 0}, 500, nil, 2)
		if err != nil || found[0][499].Index != 400 || !math.IsInf(float64(found[0][499].Score), -1) {
			t.Errorf("%v: negative overflow: %v, %v", tier, found, err)
		}
		restore()
	}
}

func TestTop(t *testing.T) {
	scores := []float32{1, 5, 3, 5, 2}
	for k, want := range map[int][]Neighbor{
		1: {{1, 5}},
		2: {{1, 5}, {2, 3}},
		9: {{1, 5}, {2, 3}, {4, 2}, {0, 1}},
	} {
		if got := top(scores, k, 3); !reflect.DeepEqual(got, want) {
			t.Errorf("k = %d: %v, want %v", k, got, want)
		}
	}
	if got := top(nil, 3, -1); len(got) != 0 {
		t.Errorf("no scores: %v", got)
	}
}
