package scenes

import "slices"

// sequence lays two kinds, unlike in colour and silhouette, along a course; which gives the kind of a place.
// Broken: the same objects stand in an order that none of the sequence families has.
func (s *scene) sequence(which func(i, n int) int) {
	n := max(5, s.profile.n)
	a := s.copies(n, 0, s.cell())
	b := s.copies(n, 1, s.cell())
	s.sometimesLengthen(a)
	order := make([]int, n)
	for i := range order {
		order[i] = which(i, n)
	}
	at := s.course(n)
	if s.broken {
		for ordered(order) {
			s.edit.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
		}
	}
	for i := range a {
		if order[i] == 1 {
			b[i].shape = s.profile.shape[s.profile.oddShape]
			b[i].sx, b[i].sy = a[i].sx, a[i].sy
			a[i] = b[i]
		}
	}
	s.put(a, at)
}

// ordered reports whether a sequence of two kinds alternates, falls into two blocks or is a sandwich.
func ordered(order []int) bool {
	changes := 0
	for i := 1; i < len(order); i++ {
		if order[i] != order[i-1] {
			changes++
		}
	}
	return changes <= 2 || changes == len(order)-1
}

// alternate lets two kinds take turns: ABABAB.
func alternate(s *scene) { s.sequence(func(i, _ int) int { return i & 1 }) }

// blocks lets a run of one kind follow a run of another: AAABBB.
func blocks(s *scene) { s.sequence(func(i, n int) int { return i * 2 / n }) }

// sandwich lets two equal ends enclose a run of another kind: ABBBA.
func sandwich(s *scene) {
	s.sequence(func(i, n int) int {
		if i == 0 || i == n-1 {
			return 0
		}
		return 1
	})
}

// missing leaves one place of a regular series of copies empty. The place is never at the end of a course or the
// corner of a grid, where its absence would not show, and never the centre of a 3×3 grid, which would leave the
// outline of a square. Broken: the place is filled.
func missing(s *scene) {
	n := max(5, s.profile.n)
	var at []point
	var gaps []int
	switch s.rng.IntN(3) {
	case 0:
		at = ring(n + 1)
		for i := range at {
			gaps = append(gaps, i)
		}
	case 1:
		switch {
		case s.rng.IntN(4) == 0:
			at, gaps = grid(3, 4), []int{1, 2, 4, 5, 6, 7, 9, 10}
		case n < 7:
			at, gaps = grid(2, 4), []int{1, 2, 5, 6}
		default:
			at, gaps = grid(3, 3), []int{1, 3, 5, 7}
		}
	default:
		at = s.course(n + 1)
		for i := 2; i < len(at)-2; i++ {
			gaps = append(gaps, i)
		}
	}
	gap := gaps[s.rng.IntN(len(gaps))]
	g := s.copies(len(at), 0, s.cell())
	s.sometimesLengthen(g)
	if !s.broken {
		at, g = slices.Delete(at, gap, gap+1), g[1:]
	}
	s.put(g, at)
}
