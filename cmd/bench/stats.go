package main

import "slices"

// median returns the middle of values, the mean of the two middle ones if their
// number is even, 0 if there are none. It sorts them.
func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	slices.Sort(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// spread is the median of a few measurements with the least and the largest.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	N      int     `json:"n"`
}

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	sorted := slices.Clone(values)
	m := median(sorted)
	return spread{m, sorted[0], sorted[len(sorted)-1], len(sorted)}
}
