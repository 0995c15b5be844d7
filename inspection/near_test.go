package inspection

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSimilar compares with looking at all pairs.
func TestSimilar(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	known := make(map[string]bool)
	var sets [][]uint32
	for len(sets) < 700 {
		var set []uint32
		if len(sets) > 0 && rng.IntN(3) > 0 { // near another one
			set = slices.Clone(sets[rng.IntN(len(sets))])
			for range 1 + rng.IntN(3) {
				set[rng.IntN(len(set))] = uint32(rng.IntN(60))
			}
			if rng.IntN(2) == 0 {
				set = append(set, uint32(rng.IntN(60)))
			}
		} else {
			for range 1 + rng.IntN(15) {
				set = append(set, uint32(rng.IntN(60)))
			}
		}
		slices.Sort(set)
		if set = slices.Compact(set); !known[fmt.Sprint(set)] {
			known[fmt.Sprint(set)] = true
			sets = append(sets, set)
		}
	}
	for _, percent := range []int{50, 60, 67, 75, 80, 90, 100} {
		var got, want []string
		complete, err := similar(t.Context(), sets, percent, workBudget, func(a, b int, jaccard float64) {
			got = append(got, fmt.Sprintf("%d %d %.4f", a, b, jaccard))
		})
		if err != nil || !complete {
			t.Fatal(complete, err)
		}
		for a := range sets {
			for b := a + 1; b < len(sets); b++ {
				both := 0
				for _, e := range sets[a] {
					if slices.Contains(sets[b], e) {
						both++
					}
				}
				either := len(sets[a]) + len(sets[b]) - both
				if 100*both >= percent*either {
					want = append(want, fmt.Sprintf("%d %d %.4f", a, b, float64(both)/float64(either)))
				}
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) || len(want) == 0 && percent < 100 {
			t.Errorf("%d %%: %d pairs, want %d", percent, len(got), len(want))
		}
	}
	if complete, err := similar(t.Context(), sets, 50, 100, func(a, b int, jaccard float64) {}); complete || err != nil {
		t.Errorf("a budget of 100 was enough (%v)", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := similar(ctx, sets, 80, workBudget, nil); err == nil {
		t.Error("a cancelled context was not noticed")
	}
}
