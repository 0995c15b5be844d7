package scenes

import (
	"math"
	"math/rand/v2"
)

// point is a place in scene units, where neighbouring objects stand about 1 apart.
type point struct{ x, y float64 }

// line gives n places on a straight line at unit spacing.
func line(n int) []point {
	q := make([]point, n)
	for i := range q {
		q[i].x = float64(i)
	}
	return q
}

// ring gives n places on a circle, neighbours at unit distance.
func ring(n int) []point {
	radius := 1 / (2 * math.Sin(math.Pi/float64(n)))
	q := make([]point, n)
	for i := range q {
		s, c := math.Sincos(2 * math.Pi * float64(i) / float64(n))
		q[i] = point{radius * c, radius * s}
	}
	return q
}

// grid gives the cells of a rectangular grid at unit spacing, row by row.
func grid(rows, cols int) []point {
	q := make([]point, 0, rows*cols)
	for i := range rows {
		for j := range cols {
			q = append(q, point{float64(j), float64(i)})
		}
	}
	return q
}

// course gives n places at about unit spacing on an open course: straight, bow or wave.
func (s *scene) course(n int) []point {
	q := make([]point, n)
	switch s.rng.IntN(3) {
	case 0:
		return line(n)
	case 1:
		arc := (100 + 130*s.rng.Float64()) * math.Pi / 180
		radius := 1 / (2 * math.Sin(arc/float64(n-1)/2))
		for i := range q {
			sin, cos := math.Sincos(arc * float64(i) / float64(n-1))
			q[i] = point{radius * cos, radius * sin}
		}
	default:
		height := .9 + .5*s.rng.Float64()
		x, y := 0.0, 0.0
		for i := range q {
			q[i] = point{x, y}
			y = height * math.Sin(float64(i+1)*2*math.Pi/float64(n))
			d := y - q[i].y
			x += math.Sqrt(math.Max(.2, 1-d*d))
		}
	}
	return q
}

// spread gives n places at mutual distances of at least 1 in a square of side about √n·slack.
func spread(rng *rand.Rand, n int, slack float64) []point {
	side := math.Sqrt(float64(n)) * slack
	q := make([]point, 0, n)
	for {
		q = q[:0]
		for try := 0; try < 300 && len(q) < n; try++ {
			if c := (point{rng.Float64() * side, rng.Float64() * side}); apart(q, c, 1) {
				q = append(q, c)
			}
		}
		if len(q) == n {
			return q
		}
		side *= 1.06
	}
}

// anyLayout gives about n places, at least 4, in one of the arrangements that the same/different families share:
// two fifths are courses, so that copies on a course do not give away the families that change them along one.
func (s *scene) anyLayout(n int) []point {
	switch s.rng.IntN(5) {
	case 0:
		return ring(max(n, 5))
	case 1:
		return grid(gridSides(n))
	case 2:
		return spread(s.rng, n, 1.35)
	}
	return s.course(n)
}

// gridSides gives rows and columns of a grid of about n cells, 4 ≤ n ≤ 8.
func gridSides(n int) (rows, cols int) {
	d := [][2]int{{2, 2}, {2, 3}, {2, 3}, {2, 4}, {3, 3}}[n-4]
	return d[0], d[1]
}

// apart reports whether c keeps the distance from every place.
func apart(q []point, c point, distance float64) bool {
	for _, d := range q {
		if (c.x-d.x)*(c.x-d.x)+(c.y-d.y)*(c.y-d.y) < distance*distance {
			return false
		}
	}
	return true
}

// centroid returns the mean of the places.
func centroid(q []point) (c point) {
	for _, p := range q {
		c.x += p.x / float64(len(q))
		c.y += p.y / float64(len(q))
	}
	return c
}

// spin returns the point turned around the origin.
func (p point) spin(angle float64) point {
	sin, cos := math.Sincos(angle)
	return point{cos*p.x - sin*p.y, sin*p.x + cos*p.y}
}
