package scenes

import (
	"math"
	"slices"
)

// march lays copies of the leading object along a course, in two fifths of the scenes long ones.
func (s *scene) march(radius float64) (objects []object, at []point) {
	n := s.profile.n
	objects = s.copies(n, 0, radius)
	s.sometimesLengthen(objects)
	at = s.course(n)
	if s.rng.IntN(2) == 0 {
		slices.Reverse(at)
	}
	return objects, at
}

// growth lets copies get larger along a course. Broken: they are equal.
func growth(s *scene) {
	g, at := s.march(s.cell())
	if !s.broken {
		for i := range g {
			g[i].r = .15 + .40*float64(i)/float64(len(g)-1)
		}
	}
	s.put(g, at)
}

// fade lets copies lose strength along a course. Broken: they are equally weak.
func fade(s *scene) {
	g, at := s.march(s.cell())
	for i := range g {
		g[i].alpha = math.Pow(.1, float64(i)/float64(len(g)-1))
		if s.broken {
			g[i].alpha = .35
		}
	}
	s.put(g, at)
}

// rotate lets copies of a long object turn by a constant angle along a course. Broken: they are parallel.
func rotate(s *scene) {
	g, at := s.march(s.cell())
	s.lengthen(g)
	step := (30 + 20*s.rng.Float64()) * math.Pi / 180
	if s.rng.IntN(2) == 0 {
		step = -step
	}
	if s.broken {
		step = 0
	}
	for i := range g {
		g[i].rot += step * float64(i)
	}
	s.put(g, at)
}

// complete fills an object up piece by piece along a course. Broken: all have the same piece.
func complete(s *scene) {
	g, at := s.march(.47)
	shape := s.holder(0)
	for i := range g {
		g[i].shape = shape
		g[i].sector = float64(i+1) / float64(len(g))
		if s.broken {
			g[i].sector = .6
		}
	}
	s.put(g, at)
}
