package kernel

import (
	"math"
	"testing"
)

// TestPeakFLOPS checks what of a measurement does not depend on the machine: a tier with a loop has a finite speed
// above that of a calculator, one without has none, and a pool of several threads is accepted.
func TestPeakFLOPS(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	eachTier(t, func(t *testing.T) {
		for _, p := range []*Pool{nil, pool, pool.With(BF16)} {
			run, _ := peakRounds(Active())
			if p.Precision() == BF16 {
				run, _ = peakBF16(Active())
			}
			got := PeakFLOPS(p, 0)
			if run == nil && !math.IsNaN(got) {
				t.Errorf("%d threads, %v: %v FLOP/s without a loop, want NaN", p.Threads(), p.Precision(), got)
			}
			if run != nil && !(got > 1e6 && got < 1e15) {
				t.Errorf("%d threads, %v: %v FLOP/s", p.Threads(), p.Precision(), got)
			}
		}
	})
}
