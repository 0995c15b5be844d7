package metrics

import (
	"fmt"
	"math"
)

// Agreement says how well raters agree who put units into categories.
type Agreement struct {
	Alpha float64 `json:"alpha"` // Krippendorff's, nominal: 1 is agreement, 0 what chance gives; NaN where only one category was used
	Pairs float64 `json:"pairs"` // share of the pairs of ratings of one unit that are equal
	Units int     `json:"units"` // with at least two ratings: others say nothing
}

// Agree measures agreement. ratings[u] are the categories, 0 to categories-1, that unit u was put into, by as many
// raters as have rated it, in any order. Without a unit that two have rated, it returns zero units.
//
// A unit with n ratings counts n in all, so that each of its pairs weighs 1/(n-1):
//
//	α = 1 - (N-1) · Σ_{c≠k} o_ck / Σ_{c≠k} n_c·n_k
//
// where o is the matrix of coincidences, n its margins and N its sum.
//
// Agree panics if a category is out of range.
//
// Source: Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), C.
func Agree(ratings [][]int, categories int) Agreement {
	var a Agreement
	margins := make([]float64, categories)
	var differ, all, equal, pairs float64
	counts := make([]float64, categories)
	for u, list := range ratings {
		if len(list) < 2 {
			continue
		}
		a.Units++
		clear(counts)
		for _, c := range list {
			if c < 0 || c >= categories {
				panic(fmt.Sprintf("metrics: Agree: unit %d: category %d of %d", u, c, categories))
			}
			counts[c]++
		}
		n := float64(len(list))
		var same float64 // ordered pairs of equal ratings
		for c, k := range counts {
			margins[c] += k
			same += k * (k - 1)
		}
		differ += (n*(n-1) - same) / (n - 1)
		all += n
		equal, pairs = equal+same, pairs+n*(n-1)
	}
	if a.Units == 0 {
		return a
	}
	a.Pairs = equal / pairs
	expected := all * all
	for _, m := range margins {
		expected -= m * m
	}
	if expected == 0 {
		a.Alpha = math.NaN()
		return a
	}
	a.Alpha = 1 - (all-1)*differ/expected
	return a
}
