package inspection

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestDistributions counts what each bin should hold.
func TestDistributions(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for trial := range 300 {
		most := []int{1, 2, 40, 300, 100_000, 1 << 40}[trial%6]
		v := make([]int, 1+rng.IntN(200))
		for i := range v {
			v[i] = rng.IntN(most)
			if trial%2 == 1 {
				v[i]++
			}
		}
		if trial%7 == 0 {
			v[0] = 1 << 20 // far from all others
		}
		for kind, of := range map[string]func([]int) Distribution{"linear": linear, "octaves": octaves} {
			if kind == "octaves" && slices.Contains(v, 0) {
				continue // for positive numbers
			}
			d := of(slices.Clone(v))
			sorted := slices.Clone(v)
			slices.Sort(sorted)
			below := 0 // the numbers that the median is not below
			for _, x := range v {
				if float64(x) <= d.Median {
					below++
				}
			}
			if d.Count != len(v) || d.Min != float64(sorted[0]) || d.Max != float64(sorted[len(v)-1]) || 2*below < len(v) || !slices.Contains(v, int(d.Median)) {
				t.Fatalf("%s of %v: %+v", kind, sorted, d)
			}
			if len(d.Bins) > 85 || kind == "linear" && len(d.Bins) > mostBins+1 {
				t.Fatalf("%s of %v: %d bins", kind, sorted, len(d.Bins))
			}
			for k, b := range d.Bins {
				n := 0
				for _, x := range v {
					if b.Low <= float64(x) && float64(x) < b.High {
						n++
					}
				}
				if n != b.Count || k > 0 && b.Low != d.Bins[k-1].High {
					t.Fatalf("%s of %v: bin %d of %+v holds %d", kind, sorted, k, d.Bins, n)
				}
			}
		}
	}
	if d := linear(nil); d.Count != 0 || d.Bins != nil {
		t.Errorf("of nothing: %+v", d)
	}
}
