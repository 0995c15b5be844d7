package kernel

import (
	"math"
	"time"
)

// PeakFLOPS measures for about d, at least once, how many floating-point operations
// a second the threads of p do together in multiply-adds on registers: what the
// matrix products of the active tier could reach at most, in the precision of p
// (see [Pool.With]). A multiply-add is two operations. It returns the best of many
// short measurements, because other processes may share the machine, and NaN where
// a tier has no such loop, as the generic one.
func PeakFLOPS(p *Pool, d time.Duration) float64 {
	rounds := peakRounds
	if p.Precision() == BF16 {
		rounds = peakBF16
	}
	run, flops := rounds(Active())
	if run == nil {
		return math.NaN()
	}
	// An item takes some 100 µs; with 32 for each thread, a thread that begins late
	// costs little.
	const n = 20000
	items := 32 * p.Threads()
	loop := func(int) { run(n) }
	best := 0.0
	for begin := time.Now(); ; {
		start := time.Now()
		p.Run(items, loop)
		end := time.Now()
		best = max(best, float64(items)*n*flops/end.Sub(start).Seconds())
		if end.Sub(begin) >= d {
			return best
		}
	}
}
