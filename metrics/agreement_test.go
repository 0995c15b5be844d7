package metrics

import (
	"math"
	"testing"
)

// TestAgree has the worked examples of Krippendorff (2011): two observers and ten units (A: α = 0.095), two observers with
// five categories (B: 0.692), and four observers with missing values (C: 0.743).
func TestAgree(t *testing.T) {
	const none = -1
	for _, tt := range []struct {
		name       string
		observers  [][]int
		categories int
		alpha      float64
		units      int
	}{
		{"A", [][]int{{0, 1, 0, 0, 0, 0, 0, 0, 1, 0}, {1, 1, 1, 0, 0, 1, 0, 0, 0, 0}}, 2, 0.095, 10},
		{"B", [][]int{ // a a b b d c c c e d d a; b a b b b c c c e d d d
			{0, 0, 1, 1, 3, 2, 2, 2, 4, 3, 3, 0}, {1, 0, 1, 1, 1, 2, 2, 2, 4, 3, 3, 3},
		}, 5, 0.692, 12},
		{"C", [][]int{
			{1, 2, 3, 3, 2, 1, 4, 1, 2, none, none, none},
			{1, 2, 3, 3, 2, 2, 4, 1, 2, 5, none, 3},
			{none, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, none},
			{1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, none},
		}, 6, 0.743, 11},
	} {
		ratings := make([][]int, len(tt.observers[0]))
		for _, o := range tt.observers {
			for u, c := range o {
				if c != none {
					ratings[u] = append(ratings[u], c)
				}
			}
		}
		a := Agree(ratings, tt.categories)
		if math.Abs(a.Alpha-tt.alpha) > 0.0005 || a.Units != tt.units {
			t.Errorf("%s: α = %.4f of %d units, want %.3f of %d", tt.name, a.Alpha, a.Units, tt.alpha, tt.units)
		}
	}
	// Three ratings a a b: of the three pairs one is equal.
	if a := Agree([][]int{{0, 0, 1}}, 2); math.Abs(a.Pairs-1.0/3) > 1e-12 {
		t.Errorf("equal pairs %v", a.Pairs)
	}
	if a := Agree([][]int{{1}, {}, {0}}, 2); a != (Agreement{}) {
		t.Errorf("units with one rating: %+v", a)
	}
	if a := Agree([][]int{{1, 1}, {1, 1, 1}}, 2); !math.IsNaN(a.Alpha) || a.Pairs != 1 {
		t.Errorf("one category: %+v", a)
	}
	if a := Agree([][]int{{0, 0}, {1, 1}, {0, 0}}, 2); a.Alpha != 1 {
		t.Errorf("agreement: %+v", a)
	}
}
