package scenes

import "math"

// holder returns the first shape of the profile, from slot on, that has room for a disc inside.
func (s *scene) holder(slot int) int {
	for i := range 4 {
		if shape := s.profile.shape[(slot+i)&3]; inradius[shape] > .5 {
			return shape
		}
	}
	return circle // a profile has four shapes, and all four may be slim
}

// contain puts an item inside the boundary of a larger container. Broken: the item lies beside it.
func contain(s *scene) {
	s.instances(1+s.profile.n/3, 2.5, func() []object {
		c := s.kind(0, 0, 0, 1)
		c.shape, c.sx, c.sy = s.holder(0), 1, 1
		if c.texture == striped || c.texture == dotted { // an item would drown in them
			c.texture = hollow
		}
		room := inradius[c.shape]
		c.r = math.Min(1.35, .86/math.Sqrt(room))
		room *= c.r
		item := s.kind(1, (s.rng.Float64()-.5)*.3*room, (s.rng.Float64()-.5)*.3*room, 1)
		item.r = (.56 + .16*s.rng.Float64()) * room / item.extent()
		item.rot = s.rng.Float64() * 2 * math.Pi
		if s.broken {
			sin, cos := math.Sincos(s.edit.Float64() * 2 * math.Pi)
			away := c.extent() + item.extent()
			item.x, item.y = away*cos, away*sin
		}
		return []object{c, item}
	})
}

// pair returns two objects of radius 1 whose centres are k times as far apart as when they just touch. Broken: there
// is a gap of more than half a radius between them.
func (s *scene) pair(k float64) []object {
	g := s.varied(2, 1)
	d := contact(&g[0], &g[1], 0)
	if s.broken {
		g[1].x = d + .7
	} else {
		g[1].x = d * k
	}
	return g
}

// touch lets two objects meet at their boundary. Broken: there is a gap between them.
func touch(s *scene) {
	s.instances(1+s.profile.n/3, 4.6, func() []object { return s.pair(.97) })
}

// overlap draws one object partly over another of another colour. Broken: they lie apart.
func overlap(s *scene) {
	s.instances(1+s.profile.n/3, 4.2, func() []object {
		g := s.pair(.58)
		if g[1].texture != dotted { // the one on top has to hide what it covers
			g[1].texture = plain
		}
		if g[0].color == g[1].color {
			slot := 1
			if s.profile.color[1] == g[0].color {
				slot = 2
			}
			s.paint(&g[1], slot)
		}
		return g
	})
}

// nested lays layers of one shape around a common centre. Broken: every layer sticks out over the one around it.
func nested(s *scene) {
	shape := s.holder(0)
	s.instances(1+s.profile.n/5, 2.5, func() []object {
		n := 3 + s.profile.n%2
		g := make([]object, n)
		for i := range g {
			o := s.kind(i, 0, 0, 1-.9*float64(i)/float64(n))
			o.shape, o.sx, o.sy = shape, 1, 1
			if i > 0 {
				o.texture = plain
			}
			if s.broken && i > 0 {
				sin, cos := math.Sincos(s.edit.Float64() * 2 * math.Pi)
				o.x, o.y = g[i-1].x+g[i-1].r*.9*cos, g[i-1].y+g[i-1].r*.9*sin
			}
			g[i] = o
		}
		return g
	})
}
