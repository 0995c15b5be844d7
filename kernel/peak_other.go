//go:build !(amd64 || arm64) || noasm

package kernel

import "math"

// peakRounds has no loop to measure without assembly.
func peakRounds(Tier) (run func(n int), flops float64) { return nil, math.NaN() }

func peakBF16(Tier) (run func(n int), flops float64) { return nil, math.NaN() }
