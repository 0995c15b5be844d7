package scenes

import (
	"math"
	"sync"
)

// oddSilhouette is the [unlikeness] from which on two shapes read as different at a radius of four pixels.
const oddSilhouette = .30

// figure sorts the shapes by what is left of them at a few pixels: blobs, spikes, wedges, and the two that are unlike
// any other.
var figure = [shapeCount]int{circle: 0, square: 0, hexagon: 0, heart: 0, drop: 0, pentagon: 0, star: 1, cross: 1,
	triangle: 2, arrow: 2, diamond: 3, crescent: 4}

// unlikeness is one minus the intersection over union of two unit shapes of different figure, at the turn that fits
// best: towards 1 for shapes that share little. Shapes of one figure have 0.
func unlikeness(a, b int) float64 {
	if figure[a] == figure[b] {
		return 0
	}
	return overlapTable()[a][b]
}

// overlapTable holds one minus the best intersection over union of every two shapes.
var overlapTable = sync.OnceValue(func() (table [shapeCount][shapeCount]float64) {
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
