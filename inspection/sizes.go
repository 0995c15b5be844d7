package inspection

import (
	"math"
	"slices"
	"strconv"

	"relsim/dataloader"
)

// Distribution describes some numbers.
type Distribution struct {
	Count  int     `json:"count"`
	Min    float64 `json:"min"`
	P5     float64 `json:"p5"` // the smallest number that 5 % of all do not exceed
	Median float64 `json:"median"`
	Mean   float64 `json:"mean"`
	P95    float64 `json:"p95"`
	Max    float64 `json:"max"`
	Bins   []Bin   `json:"bins"` // side by side, of equal widths or of equal ratios
}

// Bin counts the numbers Low ≤ v < High.
type Bin struct {
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	Count int     `json:"count"`
}

// mostBins bounds the bins of a distribution.
const mostBins = 40

// linear describes whole numbers in bins of one width, which is 1, 2 or 5 times a power of ten. What lies beyond four times
// the 99th percentile is in the last bin, so that one long caption does not squeeze the others into the first.
func linear(v []int) Distribution {
	d := describe(v)
	if d.Count == 0 {
		return d
	}
	low, high := v[0], v[len(v)-1] // sorted by describe
	high = min(high, max(4*quantile(v, .99), low))
	width := 1
	for k := 0; (high-low)/width+1 > mostBins; k++ {
		width = int(math.Pow10(k/3)) * [3]int{1, 2, 5}[k%3]
	}
	first := low / width * width
	for b := first; b <= high; b += width {
		d.Bins = append(d.Bins, Bin{Low: float64(b), High: float64(b + width)})
	}
	for _, x := range v {
		d.Bins[min((x-first)/width, len(d.Bins)-1)].Count++
	}
	d.Bins[len(d.Bins)-1].High = max(d.Bins[len(d.Bins)-1].High, d.Max+1)
	return d
}

// octaves describes positive numbers in bins whose bounds are 2^(k/2), as whole numbers.
func octaves(v []int) Distribution {
	d := describe(v)
	if d.Count == 0 {
		return d
	}
	k := 0
	bound := func() float64 { return math.Round(math.Exp2(float64(k) / 2)) }
	next := func(low float64) Bin {
		for bound() <= low {
			k++
		}
		return Bin{Low: low, High: bound()}
	}
	for k++; bound() <= float64(v[0]); k++ {
	}
	k--
	d.Bins = []Bin{next(bound())}
	for _, x := range v {
		for last := &d.Bins[len(d.Bins)-1]; float64(x) >= last.High; last = &d.Bins[len(d.Bins)-1] {
			d.Bins = append(d.Bins, next(last.High))
		}
		d.Bins[len(d.Bins)-1].Count++
	}
	return d
}

// describe sorts v and fills in all but the bins.
func describe(v []int) Distribution {
	if len(v) == 0 {
		return Distribution{}
	}
	slices.Sort(v)
	sum := 0.0
	for _, x := range v {
		sum += float64(x)
	}
	return Distribution{
		Count: len(v), Min: float64(v[0]), Max: float64(v[len(v)-1]), Mean: sum / float64(len(v)),
		P5: float64(quantile(v, .05)), Median: float64(quantile(v, .5)), P95: float64(quantile(v, .95)),
	}
}

// quantile is the smallest of the sorted numbers that a share q of all does not exceed.
func quantile(sorted []int, q float64) int {
	return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)]
}

// Sizes says how many rows share a group, a relation or a family.
type Sizes struct {
	Of      string       `json:"of"` // "group", "relation", "family"
	Sizes   Distribution `json:"sizes"`
	Largest []Count      `json:"largest"`
}

// groupSizes counts the rows of groups, relations and families, where rows have them.
func (in *inspector) groupSizes() []Sizes {
	var all []Sizes
	for _, of := range []struct {
		name string
		key  func(*dataloader.Item) string
	}{
		{"group", func(it *dataloader.Item) string { return it.Group }},
		{"relation", func(it *dataloader.Item) string { return it.Relation }},
		{"family", func(it *dataloader.Item) string {
			if it.Family < 0 {
				return ""
			}
			return strconv.Itoa(it.Family)
		}},
	} {
		n := in.tally(of.key)
		if len(n) == 0 {
			continue
		}
		var sizes []int
		for _, count := range n {
			sizes = append(sizes, count)
		}
		all = append(all, Sizes{of.name, linear(sizes), in.top(n, in.Top)})
	}
	return all
}
