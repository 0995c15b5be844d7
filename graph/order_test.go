package graph

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, span := range []int32{1, 2, 7, 1000, 100_000, math.MaxInt32} {
		for _, n := range []int{0, 1, 2, 33, 5000} {
			ids := make([]int32, n)
			for i := range ids {
				ids[i] = r.Int32N(span) - 1
			}
			places := order(ids)
			seen := slices.Sorted(slices.Values(places))
			for i := range seen {
				if seen[i] != int32(i) {
					t.Fatalf("span %d, %d ids: place %d is missing", span, n, i)
				}
			}
			for i := 1; i < n; i++ {
				a, b := places[i-1], places[i]
				if ids[a] > ids[b] || ids[a] == ids[b] && a > b {
					t.Fatalf("span %d, %d ids: place %d of id %d before %d of %d", span, n, a, ids[a], b, ids[b])
				}
			}
		}
	}
	if places := order([]int32{math.MaxInt32, math.MinInt32}); !slices.Equal(places, []int32{1, 0}) {
		t.Error(places)
	}
}
