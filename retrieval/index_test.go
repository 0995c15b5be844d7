package retrieval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"sort"
	"strings"
	"testing"
)

// TestSearch compares with a sort of all dot products, which are small integers and therefore exact and full of ties.
func TestSearch(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 40 {
		n, m, dim := 1+rng.IntN(80), 1+rng.IntN(70), 1+rng.IntN(20)
		draw := func(count int) []float32 {
			v := make([]float32, count*dim)
			for i := range v {
				v[i] = float32(rng.IntN(5) - 2)
			}
			return v
		}
		vectors, queries := draw(n), draw(m)
		index, err := NewIndex(vectors, dim)
		if err != nil {
			t.Fatal(err)
		}
		var exclude []int
		if rng.IntN(2) == 0 {
			for range m {
				exclude = append(exclude, rng.IntN(n+1)-1)
			}
		}
		k := 1 + rng.IntN(12)
		got, err := index.Search(context.Background(), queries, k, exclude, 1+rng.IntN(3))
		if err != nil {
			t.Fatal(err)
		}
		for q := range m {
			want := []Neighbor{}
			for i := range n {
				if exclude != nil && exclude[q] == i {
					continue
				}
				var dot float32
				for d := range dim {
					dot += queries[q*dim+d] * vectors[i*dim+d]
				}
				want = append(want, Neighbor{i, dot})
			}
			sort.SliceStable(want, func(i, j int) bool { return want[i].Score > want[j].Score })
			want = want[:min(k, len(want))]
			if !reflect.DeepEqual(got[q], want) {
				t.Fatalf("query %d of %d, n %d, dim %d, k %d: %v, want %v", q, m, n, dim, k, got[q], want)
			}
		}
	}
}

func TestSearchRefuses(t *testing.T) {
	ctx := context.Background()
	index, err := NewIndex([]float32{1, 0, 0, 1}, 2)
	if err != nil || index.Len() != 2 {
		t.Fatal(index, err)
	}
	nan := float32(math.NaN())
	if _, err := NewIndex([]float32{1, 0, nan, 1}, 2); err == nil || !strings.Contains(err.Error(), "vector 1") {
		t.Errorf("NaN in the index: %v", err)
	}
	if _, err := NewIndex([]float32{1, 0, 1}, 2); err == nil {
		t.Error("3 values of width 2: no error")
	}
	for name, f := range map[string]func() error{
		"nan":     func() error { _, err := index.Search(ctx, []float32{nan, 0}, 1, nil, 1); return err },
		"width":   func() error { _, err := index.Search(ctx, []float32{1}, 1, nil, 1); return err },
		"k":       func() error { _, err := index.Search(ctx, []float32{1, 0}, 0, nil, 1); return err },
		"workers": func() error { _, err := index.Search(ctx, []float32{1, 0}, 1, nil, 0); return err },
		"exclude": func() error { _, err := index.Search(ctx, []float32{1, 0}, 1, []int{1, 1}, 1); return err },
	} {
		if err := f(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	if _, err := index.Search(stopped, []float32{1, 0}, 1, nil, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if got, err := index.Search(ctx, nil, 1, nil, 1); err != nil || len(got) != 0 {
		t.Errorf("no queries: %v, %v", got, err)
	}
}

func TestParallelError(t *testing.T) {
	err := parallel(context.Background(), 1000, 4, func(_, i int) error {
		if i >= 3 {
			return fmt.Errorf("item %d", i)
		}
		return nil
	})
	if err == nil {
		t.Error("no error")
	}
}
