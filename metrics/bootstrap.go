package metrics

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Bootstrap returns the mean of values with its percentile bootstrap 95 % interval. Values that share a cluster are not
// independent (pictures of one attribute profile, captions of one relation), so whole clusters are drawn with
// replacement and the mean is taken over all values drawn. clusters names the cluster of each value by any integers;
// nil makes each value its own cluster.
//
// One resample costs one draw per cluster. The same values, clusters and state of rng give the same interval. A value
// that is not finite gives NaN. No value at all gives NaN.
//
// Bootstrap panics if the lengths differ, resamples < 1 or rng is nil.
//
// Source: Efron, Tibshirani, An Introduction to the Bootstrap, 1993, §13.3; Cameron, Gelbach, Miller, Review of
// Economics and Statistics 90 (2008), pairs cluster bootstrap.
func Bootstrap(values []float64, clusters []int, resamples int, rng *rand.Rand) Interval {
	checkBootstrap(len(values), clusters, resamples, rng)
	mean := Mean(values)
	if math.IsNaN(mean) || math.IsInf(mean, 0) {
		return Interval{math.NaN(), math.NaN(), math.NaN()}
	}
	sums, counts := clusterSums(values, clusters)
	means := make([]float64, resamples)
	for s := range means {
		var sum, count float64
		for range sums {
			c := rng.IntN(len(sums))
			sum += sums[c]
			count += counts[c]
		}
		means[s] = sum / count
	}
	slices.Sort(means)
	return Interval{mean, quantile(means, 0.025), quantile(means, 0.975)}
}

// BootstrapDifference returns the mean of a[i]-b[i], two methods on the same queries, with its interval as in
// [Bootstrap]. Pairing removes what the queries have in common, so the interval is the one to judge a difference by.
func BootstrapDifference(a, b []float64, clusters []int, resamples int, rng *rand.Rand) Interval {
	if len(a) != len(b) {
		panic(fmt.Sprintf("metrics: bootstrap difference: %d and %d values", len(a), len(b)))
	}
	d := make([]float64, len(a))
	for i := range d {
		d[i] = a[i] - b[i]
	}
	return Bootstrap(d, clusters, resamples, rng)
}

// BootstrapMedian is [Bootstrap] for the median.
func BootstrapMedian(values []float64, clusters []int, resamples int, rng *rand.Rand) Interval {
	checkBootstrap(len(values), clusters, resamples, rng)
	median := Median(values)
	if math.IsNaN(median) {
		return Interval{math.NaN(), math.NaN(), math.NaN()}
	}
	// Values become ranks in the sorted list of distinct values, so that a resample is a counting sort.
	distinct := slices.Clone(values)
	slices.Sort(distinct)
	distinct = slices.Compact(distinct)
	members := make([][]int, 0)
	for _, of := range clusterMembers(len(values), clusters) {
		at := make([]int, len(of))
		for i, v := range of {
			at[i], _ = slices.BinarySearch(distinct, values[v])
		}
		members = append(members, at)
	}
	counts := make([]int, len(distinct))
	medians := make([]float64, resamples)
	for s := range medians {
		clear(counts)
		n := 0
		for range members {
			of := members[rng.IntN(len(members))]
			for _, at := range of {
				counts[at]++
			}
			n += len(of)
		}
		medians[s] = countedMedian(distinct, counts, n)
	}
	slices.Sort(medians)
	return Interval{median, quantile(medians, 0.025), quantile(medians, 0.975)}
}

// countedMedian returns the median of n values of which counts[i] equal distinct[i].
func countedMedian(distinct []float64, counts []int, n int) float64 {
	low, seen := math.NaN(), 0
	for i, c := range counts {
		seen += c
		if math.IsNaN(low) && seen >= (n+1)/2 {
			low = distinct[i]
		}
		if seen >= n/2+1 {
			return (low + distinct[i]) / 2
		}
	}
	return low
}

// BootstrapAUC returns the area under the ROC curve of [AUC] with its percentile bootstrap 95 % interval, drawing
// positives and negatives apart. It needs len(positives)·len(negatives) operations for each resample and errs as AUC
// does.
func BootstrapAUC(positives, negatives []float32, resamples int, rng *rand.Rand) (Interval, error) {
	auc, err := AUC(positives, negatives)
	if err != nil {
		return Interval{}, err
	}
	checkBootstrap(len(positives), nil, resamples, rng)
	p, n := slices.Clone(positives), slices.Clone(negatives)
	slices.Sort(p)
	slices.Sort(n)
	// below[i] and notAbove[i] count the sorted negatives under and not over p[i]; a resample weighs the negatives and
	// needs the two prefix sums of the weights.
	below, notAbove := make([]int, len(p)), make([]int, len(p))
	for i, s := range p {
		below[i], _ = slices.BinarySearch(n, s)
		notAbove[i] = below[i]
		for notAbove[i] < len(n) && n[notAbove[i]] == s {
			notAbove[i]++
		}
	}
	prefix := make([]int, len(n)+1)
	values := make([]float64, resamples)
	for s := range values {
		clear(prefix)
		for range n {
			prefix[rng.IntN(len(n))+1]++
		}
		for i := range n {
			prefix[i+1] += prefix[i]
		}
		twice := 0
		for range p {
			i := rng.IntN(len(p))
			twice += prefix[below[i]] + prefix[notAbove[i]]
		}
		values[s] = float64(twice) / 2 / float64(len(p)) / float64(len(n))
	}
	slices.Sort(values)
	return Interval{auc, quantile(values, 0.025), quantile(values, 0.975)}, nil
}

func checkBootstrap(n int, clusters []int, resamples int, rng *rand.Rand) {
	if clusters != nil && len(clusters) != n {
		panic(fmt.Sprintf("metrics: bootstrap: %d values and %d clusters", n, len(clusters)))
	}
	if resamples < 1 {
		panic(fmt.Sprintf("metrics: bootstrap: %d resamples", resamples))
	}
	if rng == nil {
		panic("metrics: bootstrap: no source of randomness")
	}
}

// clusterMembers returns the indices of each cluster, clusters in order of first appearance.
func clusterMembers(n int, clusters []int) [][]int {
	var members [][]int
	at := make(map[int]int)
	for i := range n {
		if clusters == nil {
			members = append(members, []int{i})
			continue
		}
		c, ok := at[clusters[i]]
		if !ok {
			c = len(members)
			at[clusters[i]] = c
			members = append(members, nil)
		}
		members[c] = append(members[c], i)
	}
	return members
}

// clusterSums returns the sum and the number of the values of each cluster, in order of first appearance.
func clusterSums(values []float64, clusters []int) (sums, counts []float64) {
	for _, of := range clusterMembers(len(values), clusters) {
		var sum float64
		for _, i := range of {
			sum += values[i]
		}
		sums = append(sums, sum)
		counts = append(counts, float64(len(of)))
	}
	return sums, counts
}

// Mean returns the arithmetic mean, NaN of nothing.
func Mean(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// Median returns the middle value, or the mean of the middle two; NaN of nothing or if a value is NaN.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted) // NaN first
	if math.IsNaN(sorted[0]) {
		return math.NaN()
	}
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// quantile interpolates linearly between the order statistics of a sorted, non-empty list (type 7 of Hyndman and Fan,
// the default of NumPy and R).
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
