package scenes

import "math"

// outline lets many small equal parts trace a large polygon: triangles of six or nine parts, squares and oblongs
// of twelve (eight on a square would be a 3×3 grid without its centre), pentagons of ten. Broken: the parts leave it.
func outline(s *scene) {
	sides := [][2]int{{3, 2}, {3, 2}, {3, 2}, {3, 3}, {4, 3}, {5, 2}}[s.rng.IntN(6)]
	corners, perSide := sides[0], sides[1]
	squeeze := 1.0
	if corners == 4 {
		squeeze = .7 + .3*s.rng.Float64()
	}
	radius := float64(perSide) / (2 * math.Sin(math.Pi/float64(corners)))
	var at []point
	for i := range corners {
		y0, x0 := math.Sincos(2 * math.Pi * (float64(i) + .5) / float64(corners))
		y1, x1 := math.Sincos(2 * math.Pi * (float64(i) + 1.5) / float64(corners))
		for j := range perSide {
			f := float64(j) / float64(perSide)
			at = append(at, point{radius * (x0*(1-f) + x1*f), squeeze * radius * (y0*(1-f) + y1*f)})
		}
	}
	if s.broken {
		at = spread(s.edit, len(at), 1.2)
	}
	s.put(s.copies(len(at), 0, .36), at)
}

// halves cuts a whole in two and moves the halves apart. Broken: the whole stays whole.
func halves(s *scene) {
	s.instances(1+s.profile.n/3, 3, func() []object {
		slot := s.rng.IntN(2)
		a := s.kind(slot, 0, 0, 1)
		a.shape, a.sx, a.sy = s.holder(slot), 1, 1
		a.halfAngle = s.rng.Float64() * 2 * math.Pi
		b := a
		a.half, b.half = 1, -1
		sin, cos := math.Sincos(a.halfAngle)
		gap := .20 + .14*s.rng.Float64()
		slip := (s.rng.Float64() - .5) * .5
		a.x, a.y, b.x, b.y = gap*cos-slip*sin, gap*sin+slip*cos, -gap*cos, -gap*sin
		if s.broken {
			a.half = 0
			return []object{a}
		}
		return []object{a, b}
	})
}

// crowd returns n objects, either copies or varied ones.
func (s *scene) crowd(n int) []object {
	if s.rng.IntN(2) == 0 {
		return s.varied(n, s.cell())
	}
	return s.copies(n, 0, s.cell())
}

// outsider stands one object far from a group: two or more steps from its nearest member, where members are about
// one step apart. Broken: it stands one step from it.
func outsider(s *scene) {
	n := s.profile.n - 1
	at := spread(s.rng, n, 1.1)
	sin, cos := math.Sincos(s.rng.Float64() * 2 * math.Pi)
	away := 2.1 + .5*s.rng.Float64()
	if s.broken {
		away = 1
	}
	c := centroid(at)
	d := 0.0 // along the direction from the centroid, to where all members are away or farther
	for _, q := range at {
		along, across := (q.x-c.x)*cos+(q.y-c.y)*sin, (q.x-c.x)*sin-(q.y-c.y)*cos
		if math.Abs(across) < away {
			d = math.Max(d, along+math.Sqrt(away*away-across*across))
		}
	}
	s.put(s.crowd(n+1), append(at, point{c.x + d*cos, c.y + d*sin}))
}

// clusters gathers objects in two groups with a gap between. Broken: the groups stand side by side without one.
func clusters(s *scene) {
	n := 2 + s.profile.n/4
	a, b := spread(s.rng, n-n/3, 1.08), spread(s.rng, n, 1.08)
	ca, cb := centroid(a), centroid(b)
	d := 1.9 + math.Sqrt(float64(n))*1.15
	if s.broken {
		d = 0 // the distance at which the nearest two of different groups stand 1 apart
		for _, p := range a {
			for _, q := range b {
				if dy := (p.y - ca.y) - (q.y - cb.y); math.Abs(dy) < 1 {
					d = math.Max(d, math.Sqrt(1-dy*dy)+(p.x-ca.x)-(q.x-cb.x))
				}
			}
		}
	}
	var at []point
	for _, q := range a {
		at = append(at, point{q.x - ca.x - d/2, q.y - ca.y})
	}
	for _, q := range b {
		at = append(at, point{q.x - cb.x + d/2, q.y - cb.y})
	}
	s.put(s.crowd(len(at)), at)
}

// tree links one root to several leaves on one side. Broken: there are no links.
func tree(s *scene) {
	n := s.profile.n - 1
	fan := (75 + 60*s.rng.Float64()) * math.Pi / 180
	root := s.kind(0, 0, 0, .62)
	const length = 2.6
	leaves := make([]object, n)
	for i := range leaves {
		at := point{length, 0}.spin(-fan/2 + fan*float64(i)/float64(n-1))
		if !s.broken {
			link := s.bar(3, 0, 0, at.x, at.y, .16)
			link.link = true
			s.add(link)
		}
		leaves[i] = s.kind(1, at.x, at.y, math.Min(.45, length*fan/float64(n-1)*.42))
	}
	s.add(root)
	s.add(leaves...)
}
