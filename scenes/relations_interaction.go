package scenes

import "math"

// peek hides the lower half of objects behind the straight edge of a barrier. Broken: they stand clear of it.
func peek(s *scene) {
	n := max(3, s.profile.n-2)
	width := .6 + .3*s.rng.Float64()
	length := 1.9*float64(n) + .4 + 2*s.rng.Float64()
	for i := range n {
		o := s.kind(i, (float64(i)-float64(n-1)/2)*1.9, -width/2-.15-.2*s.rng.Float64(), .95)
		o.rot = s.rng.Float64() * 2 * math.Pi
		s.paint(&o, i%3) // slot 3 is the barrier's
		if s.broken {
			o.y = -width/2 - 1.15*o.extent()
		}
		s.add(o)
	}
	s.add(s.bar(3, -length/2, 0, length/2, 0, width))
}

// stack rests objects on each other in a tower on the ground. Broken: they stand beside each other on the ground.
func stack(s *scene) {
	n := s.profile.n - 1
	g := s.varied(n, .7)
	y := 0.0
	for i := range g {
		g[i].rot = 0
		g[i].r *= 1.1 - .06*float64(i)
		if i > 0 {
			g[i].x = (s.rng.Float64() - .5) * .2
			y -= contact(&g[i-1], &g[i], -math.Pi/2) * .97
			g[i].y = y
		}
	}
	floor := g[0].lowest()
	reach := 1.4 + 1.8*s.rng.Float64()
	if s.broken {
		x := 0.0
		for i := range g {
			if i > 0 {
				x += g[i-1].extent() + g[i].extent()
			}
			g[i].x, g[i].y = x, floor-g[i].lowest()
		}
		for i := range g {
			g[i].x -= x / 2
		}
		reach = x/2 + 1.2
	}
	s.add(s.bar(3, -reach, floor+.13, reach, floor+.13, .3))
	s.add(g...)
}

// blocked stands a barrier across the dotted way between two objects. Broken: it stands beside the way.
func blocked(s *scene) {
	far := 2.8 + 1.2*s.rng.Float64()
	radius := .6 + .25*s.rng.Float64()
	a, b := s.kind(0, -far, 0, radius), s.kind(1, far, 0, radius)
	a.rot, b.rot = s.rng.Float64()*2*math.Pi, s.rng.Float64()*2*math.Pi
	width := .4 + .4*s.rng.Float64()
	wall := s.bar(3, 0, -1, 0, 1, width)
	wall.sx *= .9 + .9*s.rng.Float64()
	wall.rot += (s.rng.Float64() - .5) * 70 * math.Pi / 180
	from, to := .75*width+.3, far-radius-.3
	dots := 2 + s.rng.IntN(2)
	for i := range dots {
		for side := -1.0; side <= 1; side += 2 {
			o := s.kind(2, side*(from+(to-from)*float64(i)/float64(dots-1)), 0, .17)
			o.shape, o.texture, o.sx, o.sy, o.aux = circle, plain, 1, 1, true
			s.add(o)
		}
	}
	if s.broken {
		wall.y, wall.rot = s.plusMinus(1.3, 1.7), 0
	}
	s.add(a, b, wall)
}
