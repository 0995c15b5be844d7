package kernel

import "math"

// ToFloat16 rounds x to IEEE 754 binary16, to nearest and to even between two. What is beyond 65504 by half a
// step or more becomes an infinity; NaN stays NaN.
//
// ToFloat16 panics if the lengths differ.
func ToFloat16(dst []uint16, x []float32) {
	needLen("ToFloat16", "x", len(x), len(dst))
	for i, v := range x {
		bits := math.Float32bits(v)
		sign := uint16(bits >> 16 & 0x8000)
		bits &= 1<<31 - 1
		switch {
		case bits > 0x7f800000: // NaN
			dst[i] = sign | 0x7e00
		case bits >= 0x47800000: // 2¹⁶ and more
			dst[i] = sign | 0x7c00
		case bits >= 0x38800000: // 2⁻¹⁴ and more: normal
			bits += 0xfff + bits>>13&1
			dst[i] = sign | uint16(bits>>13-(127-15)<<10)
		default: // a multiple of 2⁻²⁴: adding ½ rounds it to one
			dst[i] = sign | uint16(math.Float32bits(math.Float32frombits(bits)+0.5)-0x3f000000)
		}
	}
}

// FromFloat16 widens IEEE 754 binary16 values, exactly. A NaN stays one.
//
// FromFloat16 panics if the lengths differ.
func FromFloat16(dst []float32, x []uint16) {
	needLen("FromFloat16", "x", len(x), len(dst))
	for i, h := range x {
		magnitude := uint32(h&0x7fff) << 13
		if magnitude-0x00800000 < 0x0f800000-0x00800000 { // normal: another bias of the exponent
			dst[i] = math.Float32frombits(uint32(h&0x8000)<<16 | magnitude + (127-15)<<23)
			continue
		}
		dst[i] = oddHalf(h)
	}
}

// oddHalf widens zeros, subnormal values, infinities and NaN.
func oddHalf(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	if h&0x7c00 != 0 {
		return math.Float32frombits(sign | 0x7f800000 | uint32(h&0x3ff)<<13)
	}
	return math.Float32frombits(math.Float32bits(float32(h&0x3ff)*0x1p-24) | sign)
}
