package scenes

import (
	"math"
	"slices"
)

// mirror reflects one half of the picture onto the other. Broken: the reflected objects trade their places, shift
// and turn.
func mirror(s *scene) {
	n := 2 + s.profile.n/6
	g := s.varied(n, .5*s.profile.size)
	first := s.rng.IntN(4)
	at := spread(s.rng, n, 1.15)
	left := math.Inf(1)
	for _, p := range at {
		left = math.Min(left, p.x)
	}
	const off = .72
	twins := make([]object, n)
	for i := range g {
		s.paint(&g[i], first+i) // every pair has its own colour
		g[i].x, g[i].y = at[i].x-left+off, at[i].y
		m := g[i]
		m.x, m.rot, m.flip = -m.x, -m.rot, true
		twins[i] = m
	}
	if s.broken {
		places := slices.Clone(twins)
		for i := range twins {
			to := places[(i+1)%n]
			twins[i].x, twins[i].y = to.x+s.plusMinus(.25, .5), to.y+s.plusMinus(.25, .5)
			twins[i].rot = s.edit.Float64() * 2 * math.Pi
		}
	}
	s.add(g...)
	s.add(twins...)
}

// turnSymmetry repeats a small group around a centre by turning it. Broken: every group has an order of its own.
func turnSymmetry(s *scene) {
	times := 3 + s.profile.n%2
	g := s.varied(2, .5*s.profile.size)
	lean := (.1 + .35*s.rng.Float64()) * (2 * math.Pi / float64(times)) * (1 - 2*float64(s.rng.IntN(2)))
	radius := (.6 + .3*s.rng.Float64()) / math.Sin(math.Pi/float64(times))
	step := .95 + .3*s.rng.Float64()
	for i := range times {
		turn := 2 * math.Pi * float64(i) / float64(times)
		for j, o := range g {
			at := point{radius + float64(j)*step, 0}.spin(turn + float64(j)*lean)
			o.x, o.y, o.rot = at.x, at.y, o.rot+turn
			if s.broken {
				o.x, o.y = o.x+s.plusMinus(.2, .55), o.y+s.plusMinus(.2, .55)
				o.rot = s.edit.Float64() * 2 * math.Pi
			}
			s.add(o)
		}
	}
}
