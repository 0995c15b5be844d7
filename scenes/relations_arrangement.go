package scenes

// plusMinus returns a number between low and high with a random sign, from the edit source.
func (s *scene) plusMinus(low, high float64) float64 {
	v := low + (high-low)*s.edit.Float64()
	if s.edit.IntN(2) == 0 {
		return -v
	}
	return v
}

// many is the number of elements of the larger arrangements: 5 to 8, in a sixth of the scenes 4 more, so that a
// high count is not the mark of one family.
func (s *scene) many() int {
	n := max(5, s.profile.n+s.profile.n/7)
	if s.rng.IntN(6) == 0 {
		n += 4
	}
	return n
}

// straightLine puts different objects on a line at equal steps. Broken: the interior ones step off it.
func straightLine(s *scene) {
	n := s.profile.n
	at := line(n)
	if s.broken {
		for i := 1; i < n-1; i++ {
			at[i].y = s.plusMinus(.5, 1.1)
		}
	}
	s.put(s.varied(n, s.cell()), at)
}

// closedRing puts different objects on a circle around an empty centre. Broken: they lie as densely without
// order.
func closedRing(s *scene) {
	n := s.many()
	at := ring(n)
	if s.broken {
		at = spread(s.edit, n, 1.15)
	}
	s.put(s.varied(n, s.cell()), at)
}

// regularGrid fills the cells of a grid with different objects. Broken: they leave their cells' centres.
func regularGrid(s *scene) {
	rows, cols := gridSides(max(5, s.profile.n))
	switch s.rng.IntN(8) {
	case 0:
		rows, cols = 3, 3
	case 1:
		rows, cols = 3, 4
	}
	at := grid(rows, cols)
	if s.broken {
		for i := range at {
			at[i].x += s.plusMinus(.2, .5)
			at[i].y += s.plusMinus(.2, .5)
		}
	}
	s.put(s.varied(rows*cols, s.cell()), at)
}

// scatter strews different objects without order.
func scatter(s *scene) {
	n := s.many()
	s.put(s.varied(n, s.cell()), spread(s.rng, n, 1.45))
}

// zigzag lets different objects step from side to side along a course. Broken: they do not step.
func zigzag(s *scene) {
	n := max(5, s.profile.n)
	height := .75 + .3*s.rng.Float64()
	at := make([]point, n)
	for i := range at {
		at[i] = point{float64(i) * .72, height * float64(i%2)}
		if s.broken {
			at[i] = point{float64(i), 0}
		}
	}
	s.put(s.varied(n, s.cell()), at)
}

// countUp makes groups of one, two, three, … copies. Broken: the groups are about equal.
func countUp(s *scene) {
	groups := 3 + s.profile.n/7
	total := groups * (groups + 1) / 2
	at := make([]point, 0, total)
	gap, align := 1.6+.5*s.rng.Float64(), s.rng.Float64() // groups are flush at one end, at the other, or in between
	for g := range groups {
		n := g + 1
		if s.broken {
			n = (total*(g+1))/groups - (total*g)/groups
		}
		for j := range n {
			at = append(at, point{gap * float64(g), float64(j) - align*float64(n-1)})
		}
	}
	s.put(s.copies(total, 0, s.cell()), at)
}
