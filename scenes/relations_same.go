package scenes

// oddOne lays out copies of one thing and lets change alter a single interior one. Broken: it alters none, so the
// near misses of the three odd families are pictures of same.
func (s *scene) oddOne(change func(copies []object, odd int)) {
	at := s.anyLayout(s.profile.n)
	g := s.copies(len(at), 0, s.cell())
	s.sometimesLengthen(g)
	odd := 1 + s.rng.IntN(len(g)-2)
	if !s.broken {
		change(g, odd)
	}
	s.put(g, at)
}

// same shows copies of one thing in any layout.
func same(s *scene) { s.oddOne(func([]object, int) {}) }

// oddColor gives one copy another colour, far from the copies'.
func oddColor(s *scene) {
	s.oddOne(func(g []object, odd int) { s.paint(&g[odd], s.profile.oddColor) })
}

// oddShape gives one copy another shape, of a silhouette unlike the copies'.
func oddShape(s *scene) {
	s.oddOne(func(g []object, odd int) { g[odd].shape = s.profile.shape[s.profile.oddShape] })
}

// oddSize makes one copy much smaller than the others, or the others smaller than the one.
func oddSize(s *scene) {
	s.oddOne(func(g []object, odd int) {
		if s.profile.n%2 == 0 {
			g[odd].r *= .42
			return
		}
		for i := range g {
			g[i].r *= .68
		}
		g[odd].r *= 2.2
	})
}
