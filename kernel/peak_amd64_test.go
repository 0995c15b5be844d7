//go:build amd64 && !noasm

package kernel

import "math"

// peakRounds returns a function that does n rounds of multiply-adds as the
// micro-kernels of tier t do them, and the floating-point operations of a round, for
// benchmarks to compare with.
func peakRounds(t Tier) (run func(n int), flops float64) {
	switch t {
	case AVX512:
		return peak512, 24 * 16 * 2
	case AVX2:
		return peak256, 12 * 8 * 2
	}
	return nil, math.NaN()
}
