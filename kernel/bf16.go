package kernel

import "math"

// Products of bfloat16 take float32 operands, round them to bfloat16 while they are
// packed, and sum in float32. A bfloat16 is the upper half of a float32: the same
// exponents, 8 bits of precision. Rounding is to nearest, ties to even; NaN stays NaN;
// what overflows is infinite. As the processors have it, subnormal numbers (below
// 2⁻¹²⁶) count as zero, in operands and in sums.

// roundBF16 returns v as bfloat16.
func roundBF16(v float32) uint16 {
	u := math.Float32bits(v)
	switch {
	case u&0x7F800000 == 0: // zero or subnormal
		return uint16(u>>16) & 0x8000
	case u&0x7FFFFFFF > 0x7F800000: // NaN
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7FFF + u>>16&1) >> 16)
}

// fromBF16 returns a bfloat16 as float32.
func fromBF16(v uint16) float32 { return math.Float32frombits(uint32(v) << 16) }
