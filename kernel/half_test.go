package kernel

import (
	"math"
	"testing"
)

// half64 is the value of a binary16 by its definition.
func half64(h uint16) float64 {
	sign, e, f := 1.0, int(h>>10&31), float64(h&0x3ff)
	if h&0x8000 != 0 {
		sign = -1
	}
	switch e {
	case 0:
		return sign * math.Ldexp(f, -24)
	case 31:
		if f != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(1024+f, e-25)
}

// TestFloat16 goes through all halves, and through what lies between them.
func TestFloat16(t *testing.T) {
	one := func(v float32) uint16 {
		var h [1]uint16
		ToFloat16(h[:], []float32{v})
		return h[0]
	}
	for i := range 1 << 16 {
		h := uint16(i)
		var v [1]float32
		FromFloat16(v[:], []uint16{h})
		want := half64(h)
		if math.IsNaN(want) {
			if v[0] == v[0] || one(v[0])&0x7fff <= 0x7c00 {
				t.Fatalf("%#04x: %v, want NaN, and back", h, v[0])
			}
			continue
		}
		if float64(v[0]) != want || math.Signbit(float64(v[0])) != (h&0x8000 != 0) {
			t.Fatalf("%#04x: %v, want %v", h, v[0], want)
		}
		if got := one(v[0]); got != h {
			t.Fatalf("%v: %#04x, want %#04x", v[0], got, h)
		}
		if h&0x7fff >= 0x7c00 {
			continue
		}
		next := half64(h + 1)
		if h&0x7fff == 0x7bff { // the largest: the next would be 2¹⁶
			next = math.Copysign(65536, want)
		}
		middle := float32((want + next) / 2) // exact in float32
		even := h + h&1
		for v, want := range map[float32]uint16{
			middle:                                  even,
			math.Nextafter32(middle, v[0]):          h,
			math.Nextafter32(middle, float32(next)): h + 1,
		} {
			if got := one(v); got != want {
				t.Fatalf("%v: %#04x, want %#04x", v, got, want)
			}
		}
	}
	for v, want := range map[float32]uint16{3e38: 0x7c00, -65536: 0xfc00, 1e-30: 0, -1e-30: 0x8000, float32(math.Inf(1)): 0x7c00} {
		if got := one(v); got != want {
			t.Errorf("%v: %#04x, want %#04x", v, got, want)
		}
	}
}
