//go:build arm64 && !noasm

package kernel

import "math"

// peakRounds returns a function that does n rounds of multiply-adds as the
// micro-kernels of tier t do them, and the floating-point operations of a round.
func peakRounds(t Tier) (run func(n int), flops float64) {
	if t == NEON {
		return peakNEON, 24 * 4 * 2
	}
	return nil, math.NaN()
}

func peakBF16(Tier) (run func(n int), flops float64) { return nil, math.NaN() }
