package scenes

import (
	"math"
	"slices"
	"testing"
)

// cueNames are the measures of what a picture gives away without its relation; each is a short vector.
var cueNames = []string{"count", "ink", "box", "centroid", "mean color", "spread", "axes"}

// cuesOf measures picture i of s.
func cuesOf(s *Set, i int, c *canvas) [][]float64 {
	size := s.cfg.Size
	pix := make([]byte, size*size*3)
	p := s.Draw(i, pix)
	scene, _ := s.scene(i)
	clear(c.coverage)
	for j := range scene.objects {
		c.draw(&scene.objects[j])
	}
	x0, y0, x1, y1 := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	var sum, sx, sy, sxx, syy, sxy float64
	for k, v := range c.coverage {
		if v == 0 {
			continue
		}
		x, y, w := float64(k%size), float64(k/size), float64(v)
		if v > .2 {
			x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x), max(y1, y)
		}
		sum, sx, sy, sxx, syy, sxy = sum+w, sx+w*x, sy+w*y, sxx+w*x*x, syy+w*y*y, sxy+w*x*y
	}
	mx, my := sx/sum, sy/sum
	vx, vy, vxy := sxx/sum-mx*mx, syy/sum-my*my, sxy/sum-mx*my
	var rgb [3]float64
	for k, v := range pix {
		rgb[k%3] += float64(v)
	}
	root := math.Sqrt((vx-vy)*(vx-vy)/4 + vxy*vxy)
	return [][]float64{
		{float64(p.Count)}, {p.Ink}, {x1 - x0, y1 - y0}, {mx, my}, rgb[:], {math.Sqrt(vx + vy)}, {math.Sqrt((vx+vy)/2 + root), math.Sqrt(max(0, (vx+vy)/2-root))},
	}
}

// probe fits a multinomial logistic regression on standardised cues, with their squares and products if quadratic,
// and returns its accuracy on the held-out pictures.
func probe(quadratic bool, trainX [][]float64, trainY []int, testX [][]float64, testY []int, classes int) float64 {
	expand := func(x []float64) []float64 {
		out := append([]float64{1}, x...)
		for i := 0; quadratic && i < len(x); i++ {
			for j := range i + 1 {
				out = append(out, x[i]*x[j])
			}
		}
		return out
	}
	dim := len(trainX[0])
	mean, dev := make([]float64, dim), make([]float64, dim)
	for _, x := range trainX {
		for k := range x {
			mean[k] += x[k] / float64(len(trainX))
		}
	}
	for _, x := range trainX {
		for k := range x {
			dev[k] += (x[k] - mean[k]) * (x[k] - mean[k]) / float64(len(trainX))
		}
	}
	features := func(xs [][]float64) [][]float64 {
		out := make([][]float64, len(xs))
		for i, x := range xs {
			z := make([]float64, dim)
			for k := range x {
				z[k] = (x[k] - mean[k]) / math.Sqrt(dev[k]+1e-12)
			}
			out[i] = expand(z)
		}
		return out
	}
	train, test := features(trainX), features(testX)
	width := len(train[0])
	w, grad, speed := make([]float64, classes*width), make([]float64, classes*width), make([]float64, classes*width)
	logits := make([]float64, classes)
	score := func(x []float64) {
		for c := range classes {
			logits[c] = 0
			for k, v := range x {
				logits[c] += w[c*width+k] * v
			}
		}
	}
	for range 80 {
		clear(grad)
		for i, x := range train {
			score(x)
			top, sum := math.Inf(-1), 0.0
			for _, v := range logits {
				top = max(top, v)
			}
			for c, v := range logits {
				logits[c] = math.Exp(v - top)
				sum += logits[c]
			}
			for c := range classes {
				d := logits[c] / sum
				if c == trainY[i] {
					d--
				}
				for k, v := range x {
					grad[c*width+k] += d * v
				}
			}
		}
		for k := range w {
			speed[k] = .9*speed[k] - .5/float64(len(train))*grad[k]
			w[k] += speed[k]
		}
	}
	right := 0
	for i, x := range test {
		score(x)
		best := 0
		for c, v := range logits {
			if v > logits[best] {
				best = c
			}
		}
		if best == testY[i] {
			right++
		}
	}
	return float64(right) / float64(len(test))
}

// balanceData holds the cues of pictures of seen relations.
type balanceData struct {
	cues  [][][]float64 // by picture and cue
	class []int         // position of the relation in pool(false)
	owner []int         // profile
}

func collectCues(t *testing.T, split string, limit int) (d balanceData) {
	t.Helper()
	s, err := Open(Default(), split)
	if err != nil {
		t.Fatal(err)
	}
	c := newCanvas(s.cfg.Size)
	seen := pool(false)
	for i := 0; i < s.Len() && len(d.class) < limit; i++ {
		if k := slices.Index(seen, s.Family(i)); k >= 0 {
			d.cues, d.class, d.owner = append(d.cues, cuesOf(s, i, c)), append(d.class, k), append(d.owner, i/s.deal.perProfile)
		}
	}
	return d
}

// column returns one cue of every picture, or all of them together.
func (d *balanceData) column(cue int) [][]float64 {
	out := make([][]float64, len(d.cues))
	for i, x := range d.cues {
		if cue < len(x) {
			out[i] = x[cue]
		} else {
			out[i] = slices.Concat(x...)
		}
	}
	return out
}

// TestBalance holds every trivial cue below twice chance over the 24 seen relations, for a probe that knows squares
// and products too. The spread of the drawn pixels and all cues together tell more, for layouts are relations; they
// are held near what they were when the benchmark was made.
func TestBalance(t *testing.T) {
	const chance = 1. / 24
	train, test := collectCues(t, Train, 2880), collectCues(t, Test, 1200)
	limits := []float64{2 * chance, 2 * chance, 2 * chance, 2 * chance, 2 * chance, .13, .27, .34}
	for cue, name := range append(slices.Clone(cueNames), "all") {
		quadratic := cue < len(cueNames)
		got := probe(quadratic, train.column(cue), train.class, test.column(cue), test.class, 24)
		t.Logf("%-10s accuracy %.3f, chance %.3f, limit %.3f", name, got, chance, limits[cue])
		if got >= limits[cue] {
			t.Errorf("%s: a probe tells the relation in %.3f of the pictures, limit %.3f", name, got, limits[cue])
		}
	}

	// The nearest neighbour in the cues that know no colour.
	x := test.column(len(cueNames))
	standardise(x)
	right := 0
	for i := range x {
		best, nearest := -1, math.Inf(1)
		for j := range x {
			d := 0.0
			for k := range x[i] {
				if k < 6 || k > 8 { // 6 to 8 is the mean colour
					d += (x[i][k] - x[j][k]) * (x[i][k] - x[j][k])
				}
			}
			if i != j && d < nearest {
				best, nearest = j, d
			}
		}
		if test.class[best] == test.class[i] {
			right++
		}
	}
	got := float64(right) / float64(len(x))
	t.Logf("nearest neighbour on statistics: R@1 %.3f", got)
	if got > .22 {
		t.Errorf("a nearest neighbour on scene statistics finds the relation in %.3f of the queries, limit .22", got)
	}
}

// standardise gives every column mean 0 and variance 1.
func standardise(x [][]float64) {
	for k := range x[0] {
		sum, square := 0.0, 0.0
		for i := range x {
			sum += x[i][k]
			square += x[i][k] * x[i][k]
		}
		mean := sum / float64(len(x))
		dev := math.Sqrt(square/float64(len(x)) - mean*mean)
		for i := range x {
			x[i][k] = (x[i][k] - mean) / dev
		}
	}
}
