//go:build amd64 && !noasm

package kernel

import "math"

// peakRounds returns a function that does n rounds of multiply-adds as the
// micro-kernels of tier t do them, and the floating-point operations of a round.
func peakRounds(t Tier) (run func(n int), flops float64) {
	switch t {
	case AVX512, AVX512BF16, AMX:
		return peak512, 24 * 16 * 2
	case AVX2:
		return peak256, 12 * 8 * 2
	}
	return nil, math.NaN()
}

// peakBF16 is [peakRounds] for products of bfloat16.
func peakBF16(t Tier) (run func(n int), flops float64) {
	switch t {
	case AVX512BF16:
		return peakBF16Dot, 24 * 16 * 4
	case AMX:
		config := new([64]byte)
		setTiles(config, 2*bf16Side, 2*bf16Side)
		return func(n int) { peakBF16Tiles(n, &config[0]) }, 4 * 2 * bf16Side * bf16Side * bf16Depth
	}
	return nil, math.NaN()
}
