package scenes

import (
	"slices"
	"testing"
)

func TestDeal(t *testing.T) {
	for _, tt := range []struct{ pool, perProfile int }{{24, 10}, {32, 8}, {24, 24}, {24, 1}, {24, 23}, {7, 5}, {30, 6}, {1, 1}} {
		for seed := range uint64(20) {
			d := deal{seed: seed, pool: tt.pool, perProfile: tt.perProfile}
			for b := range 3 {
				out := d.block(b)
				if len(out)%tt.perProfile != 0 || len(out)%tt.pool != 0 {
					t.Fatalf("%+v: block of %d", d, len(out))
				}
				count := make([]int, tt.pool)
				for i, k := range out {
					count[k]++
					profile := out[i-i%tt.perProfile : i]
					if slices.Contains(profile, k) {
						t.Fatalf("%+v: block %d: profile %v has %d twice", d, b, out[i-i%tt.perProfile:i+1], k)
					}
					// At every cut the counts differ by one at most.
					if lo, hi := slices.Min(count), slices.Max(count); hi-lo > 1 {
						t.Fatalf("%+v: block %d: after %d pictures counts are %d to %d", d, b, i+1, lo, hi)
					}
				}
				if !slices.Equal(out, d.block(b)) {
					t.Fatalf("%+v: block %d differs from itself", d, b)
				}
			}
			if tt.pool > 2 && slices.Equal(d.block(0), d.block(1)) {
				t.Errorf("%+v: blocks are equal", d)
			}
		}
	}
}

func TestMix(t *testing.T) {
	seen := map[uint64][2]uint64{}
	for a := range uint64(200) {
		for b := range uint64(200) {
			v := mix(a, b)
			if other, ok := seen[v]; ok {
				t.Fatalf("mix(%d, %d) = mix(%d, %d)", a, b, other[0], other[1])
			}
			seen[v] = [2]uint64{a, b}
		}
	}
	if mix(1, 2, 3) == mix(1, 3, 2) {
		t.Error("the order of a position does not matter")
	}
}
