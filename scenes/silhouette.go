package scenes

import (
	"math"
	"sync"
)

// oddSilhouette is the [unlikeness] from which on two shapes read as different at a radius of four pixels.
const oddSilhouette = .30

// unlikeness is one minus the intersection over union of two unit shapes, at the turn that fits best: 0 for equal
// silhouettes, towards 1 for shapes that share little.
func unlikeness(a, b int) float64 { return unlikenessTable()[a][b] }

var unlikenessTable = sync.OnceValue(func() (table [shapeCount][shapeCount]float64) {
	const grid, turns = 24, 24
	at := func(i int) float64 { return (2*(float64(i)+.5)/grid - 1) * 1.15 }
	for a := range shapeCount {
		for b := range a {
			best := 0.0
			for t := range turns {
				s, c := math.Sincos(2 * math.Pi * float64(t) / turns)
				both, any := 0, 0
				for i := range grid {
					for j := range grid {
						u, v := at(i), at(j)
						inA, inB := insideUnit(a, u, v), insideUnit(b, c*u+s*v, c*v-s*u)
						if inA && inB {
							both++
						}
						if inA || inB {
							any++
						}
					}
				}
				best = math.Max(best, float64(both)/float64(any))
			}
			table[a][b], table[b][a] = 1-best, 1-best
		}
	}
	return table
})
