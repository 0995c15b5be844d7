//go:build linux && amd64 && !nogpu

package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// nearestBF16 is the nearest of the numbers whose lower 16 bits are 0, the even one of two, found by trying both.
func nearestBF16(x float32) float32 {
	if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
		return x
	}
	low := math.Float32bits(x) &^ 0xffff
	value := func(bits uint32) float64 { // the one above the largest is 2^128, where infinity is
		if bits&0x7f80_0000 == 0x7f80_0000 {
			return math.Copysign(0x1p128, float64(x))
		}
		return float64(math.Float32frombits(bits))
	}
	below, above := math.Abs(float64(x)-value(low)), math.Abs(float64(x)-value(low+0x10000))
	if above < below || above == below && low&0x10000 != 0 {
		low += 0x10000
	}
	return math.Float32frombits(low)
}

// TestHalves rounds to bfloat16 and back, in every way that kernels do.
func TestHalves(t *testing.T) {
	x := []float32{0, float32(math.Copysign(0, -1)), 1, 1 + 0x1p-8, 1 + 3*0x1p-8, 1 + 0x1p-8 + 0x1p-23, -1 - 0x1p-8, 0x1.fep127, 0x1.ffp127, 0x1.fefffep127,
		math.MaxFloat32, -math.MaxFloat32, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), math.Float32frombits(0x7f800001),
		math.Float32frombits(0xffffffff), math.SmallestNonzeroFloat32, 0x1p-134, 3 * 0x1p-134, 0x1p-133 + 0x1p-140, 0x1.fffffep-127}
	r := rand.New(rand.NewPCG(1, 2))
	for len(x) < 1024 {
		x = append(x, math.Float32frombits(r.Uint32()))
	}
	for _, by := range []int{1, 2, 8} {
		do(t, openDevice(t, 1), func(th *Thread) error {
			y, z := must(th.Alloc(2*len(x))), must(th.Alloc(4*len(x)))
			s := must(th.NewStream())
			must(0, s.Launch(kernel(th, "halves"), Dim{}, Dim{X: 32}, 0, th.Args().Pointer(y).Pointer(z).Pointer(upload(th, x)).Int32(len(x)).Int32(by)))
			must(0, s.Sync())
			got := download(th, z, len(x))
			packed := download(th, y, len(x)/2)
			for i, v := range x {
				want := nearestBF16(v)
				half := math.Float32frombits(math.Float32bits(packed[i/2]) >> (16 * (i % 2)) << 16)
				if math.IsNaN(float64(want)) {
					if !math.IsNaN(float64(got[i])) || !math.IsNaN(float64(half)) {
						return fmt.Errorf("%d at once: %#08x, a NaN, gives %v", by, math.Float32bits(v), got[i])
					}
					continue
				}
				if math.Float32bits(got[i]) != math.Float32bits(want) || math.Float32bits(half) != math.Float32bits(want) {
					return fmt.Errorf("%d at once: %v gives %v, in memory %v; want %v", by, v, got[i], half, want)
				}
			}
			return nil
		})
	}
}
