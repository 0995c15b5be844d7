package kernel

import (
	"math"
	"testing"
)

// idctOracle is the definition (ITU-T T.81, A.3.3) in float64, not yet rounded.
func idctOracle(coefficients *[64]float64) (out [64]float64) {
	c := func(u int) float64 {
		if u == 0 {
			return math.Sqrt2 / 2
		}
		return 1
	}
	for y := range 8 {
		for x := range 8 {
			for v := range 8 {
				for u := range 8 {
					out[8*y+x] += c(u) * c(v) / 4 * coefficients[8*v+u] *
						math.Cos(float64(2*x+1)*float64(u)*math.Pi/16) * math.Cos(float64(2*y+1)*float64(v)*math.Pi/16)
				}
			}
			out[8*y+x] += 128
		}
	}
	return out
}

// TestIDCT compares blocks with the definition, and looks around them.
func TestIDCT(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		rng := newRand(5)
		var worst float64
		for n := range 500 {
			var coefficients, steps [64]int16
			var exact [64]float64
			for i := range 64 {
				steps[IDCTOrder[i]] = int16(1 + rng.IntN(40))
				if n > 0 && (i == 0 || rng.IntN(1+n%20) == 0) {
					c := int16(math.Round(rng.NormFloat64() * 200 / float64(steps[IDCTOrder[i]]) / float64(1+i/8+i%8)))
					coefficients[IDCTOrder[i]] = c
					exact[i] = float64(c) * float64(steps[IDCTOrder[i]])
				}
			}
			const stride, before = 11, 5
			dst := make([]byte, before+7*stride+8+before)
			for i := range dst {
				dst[i] = 0xa5
			}
			IDCT(dst[before:len(dst)-before], stride, &coefficients, &steps)
			if coefficients != [64]int16{} {
				t.Fatal("coefficients are not 0 afterwards")
			}
			want := idctOracle(&exact)
			for i, v := range dst {
				y, x := (i-before+stride)/stride-1, (i-before+stride)%stride
				if y < 0 || y > 7 || x > 7 {
					if v != 0xa5 {
						t.Fatalf("byte %d outside of the block was written", i-before)
					}
					continue
				}
				worst = max(worst, math.Abs(float64(v)-min(max(want[8*y+x], 0), 255)))
			}
		}
		// Half for rounding; the rest is what 13-bit constants and two rounded passes add.
		if worst > 0.6 {
			t.Errorf("a sample is %v from the definition", worst)
		}
	})
}

// TestIDCTTiers feeds what no encoder writes: the bits are the same on every tier.
func TestIDCTTiers(t *testing.T) {
	rng := newRand(6)
	for range 2000 {
		var coefficients, steps [64]int16
		for i := range 64 {
			coefficients[i], steps[i] = int16(rng.Uint32()), int16(rng.Uint32())
			if rng.IntN(3) == 0 {
				coefficients[i] = [...]int16{0, -32768, 32767}[rng.IntN(3)]
				steps[i] = 1
			}
		}
		var want [64]byte
		kept := coefficients
		idctGeneric(want[:], 8, &kept, &steps)
		eachTier(t, func(t *testing.T) {
			var got [64]byte
			kept := coefficients
			IDCT(got[:], 8, &kept, &steps)
			if got != want {
				t.Fatalf("%v, want %v", got, want)
			}
		})
	}
}
