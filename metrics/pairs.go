package metrics

import (
	"fmt"
	"math"
	"slices"
)

// TopShare returns the expected share of members at rank 1: the share of members among the candidates that have the
// highest score. exclude is left out, or -1. It returns 0 without a candidate, and an error for a score that is not
// finite; it panics if the lengths differ.
func TopShare(scores []float32, member []bool, exclude int) (float64, error) {
	if len(scores) != len(member) {
		panic(fmt.Sprintf("metrics: top share: %d scores and %d members", len(scores), len(member)))
	}
	best, tied, hits := math.Inf(-1), 0, 0
	for i, v := range scores {
		s := float64(v)
		if !(math.Abs(s) <= math.MaxFloat32) {
			return 0, fmt.Errorf("metrics: top share: candidate %d has the score %v: every score must be finite", i, v)
		}
		if i == exclude || s < best {
			continue
		}
		if s > best {
			best, tied, hits = s, 0, 0
		}
		tied++
		if member[i] {
			hits++
		}
	}
	if tied == 0 {
		return 0, nil
	}
	return float64(hits) / float64(tied), nil
}

// Triplet returns the outcome of one triplet: 1 if the positive is more similar than the negative, ½ if they tie, 0
// otherwise. A similarity that is not a number counts as wrong.
func Triplet(positive, negative float32) float64 {
	switch {
	case positive > negative:
		return 1
	case positive == negative:
		return 0.5
	}
	return 0
}

// AUC returns the area under the ROC curve: the probability that a score drawn from positives is above one drawn from
// negatives, ties counted ½ (the Mann-Whitney statistic over the number of pairs). It sorts copies, n·log n. It is also
// the accuracy over all triplets of one query with these positives and negatives.
//
// An empty side or a score that is not finite is an error.
func AUC(positives, negatives []float32) (float64, error) {
	if len(positives) == 0 || len(negatives) == 0 {
		return 0, fmt.Errorf("metrics: auc: %d positives and %d negatives: both are needed", len(positives), len(negatives))
	}
	for _, side := range [][]float32{positives, negatives} {
		for i, s := range side {
			if !(math.Abs(float64(s)) <= math.MaxFloat32) {
				return 0, fmt.Errorf("metrics: auc: score %d is %v: every score must be finite", i, s)
			}
		}
	}
	p, n := slices.Clone(positives), slices.Clone(negatives)
	slices.Sort(p)
	slices.Sort(n)
	var twice, below, notAbove int // 2 × (wins + ties/2)
	for _, s := range p {
		for below < len(n) && n[below] < s {
			below++
		}
		for notAbove < len(n) && n[notAbove] <= s {
			notAbove++
		}
		twice += below + notAbove
	}
	return float64(twice) / 2 / float64(len(p)) / float64(len(n)), nil
}
