package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// contrastCase is a shape with operands.
type contrastCase struct {
	ContrastShape
	img, txt    []float32
	labels      []int32
	scale, bias float32
}

func (c contrastCase) String() string {
	return fmt.Sprintf("%d×%d/kind %d/equal %d", c.Rows, c.Dim, c.Kind, c.Equal)
}

// contrastCases has every kind and rule for each size: one pair, few, rows that are no whole vectors, and with
// more than 1,024 rows several blocks.
func contrastCases(sizes ...[2]int) []contrastCase {
	var cases []contrastCase
	for _, s := range sizes {
		n, e := s[0], s[1]
		rng := newRand(uint64(n))
		labels := make([]int32, n)
		for i := range labels {
			labels[i] = int32(rng.IntN(max(1, n/3))) - 1
		}
		for kind := range ContrastPairs + 1 {
			for equal := range EqualMasked + 1 {
				c := contrastCase{
					ContrastShape{n, e, kind, equal}, nanGuarded(rng, n*e), nanGuarded(rng, n*e), labels, 1.7, 0,
				}
				if kind == ContrastPairs {
					c.bias = -0.8
				}
				cases = append(cases, c)
			}
		}
	}
	return cases
}

func (c contrastCase) forward(p *Pool) (loss float64, hits int, stats []float32) {
	stats = make([]float32, c.Stats())
	loss, hits = Contrast(p, stats, c.img, c.txt, c.labels, c.scale, c.bias, c.ContrastShape)
	return loss, hits, stats
}

// dense is the definition in float64, from the dense matrices of logits, targets and pairs that count. g is the
// gradient by the logits.
func (c contrastCase) dense(img, txt []float64, scale, bias float64) (loss float64, hits int, l, g []float64) {
	n, e := c.Rows, c.Dim
	l, g = make([]float64, n*n), make([]float64, n*n)
	same := func(r, k int) bool { return c.labels[r] >= 0 && c.labels[r] == c.labels[k] }
	positive := func(r, k int) bool { return r == k || c.Equal == EqualPositive && same(r, k) }
	counts := func(r, k int) bool { return r == k || c.Equal != EqualMasked || !same(r, k) }
	for r := range n {
		best, hit := math.Inf(-1), false
		for k := range n {
			for i := range e {
				l[r*n+k] += scale * img[r*e+i] * txt[k*e+i]
			}
			l[r*n+k] += bias
			if counts(r, k) && l[r*n+k] > best {
				best, hit = l[r*n+k], positive(r, k)
			}
		}
		if hit {
			hits++
		}
	}
	if c.Kind == ContrastPairs {
		for r := range n {
			for k := range n {
				z := -1.
				if positive(r, k) {
					z = 1
				}
				if counts(r, k) {
					loss += math.Log1p(math.Exp(-z*l[r*n+k])) / float64(n)
					g[r*n+k] = -z / (1 + math.Exp(z*l[r*n+k])) / float64(n)
				}
			}
		}
		return loss, hits, l, g
	}
	side := func(at func(r, k int) (int, int), weight float64) {
		for r := range n {
			var sum, count float64
			for k := range n {
				if i, j := at(r, k); counts(i, j) {
					sum += math.Exp(l[i*n+j])
				}
				if i, j := at(r, k); positive(i, j) {
					count++
				}
			}
			for k := range n {
				i, j := at(r, k)
				if counts(i, j) {
					g[i*n+j] += weight * math.Exp(l[i*n+j]) / sum
				}
				if positive(i, j) {
					loss += weight * (math.Log(sum) - l[i*n+j]) / count
					g[i*n+j] -= weight / count
				}
			}
		}
	}
	weight := 1 / float64(n)
	if c.Kind == ContrastBoth {
		weight /= 2
		side(func(r, k int) (int, int) { return k, r }, weight)
	}
	side(func(r, k int) (int, int) { return r, k }, weight)
	return loss, hits, l, g
}

// gradients64 are those of the dense definition: of img, txt, the logarithm of the scale and the bias.
func (c contrastCase) gradients64() (loss float64, hits int, dimg, dtxt []float64, dscale, dbias float64) {
	n, e := c.Rows, c.Dim
	img, txt, scale := wide(c.img), wide(c.txt), float64(c.scale)
	loss, hits, l, g := c.dense(img, txt, scale, float64(c.bias))
	dimg, dtxt = make([]float64, n*e), make([]float64, n*e)
	for r := range n {
		for k := range n {
			for i := range e {
				dimg[r*e+i] += scale * g[r*n+k] * txt[k*e+i]
				dtxt[k*e+i] += scale * g[r*n+k] * img[r*e+i]
			}
			dscale += g[r*n+k] * (l[r*n+k] - float64(c.bias))
			dbias += g[r*n+k]
		}
	}
	return loss, hits, dimg, dtxt, dscale, dbias
}

// The dense gradients, which the others are held to, are the differences of the dense loss.
func TestContrastOracle(t *testing.T) {
	for _, c := range contrastCases([2]int{7, 3}) {
		img, txt, free := wide(c.img), wide(c.txt), []float64{math.Log(float64(c.scale)), float64(c.bias)}
		value := func() float64 {
			loss, _, _, _ := c.dense(img, txt, math.Exp(free[0]), free[1])
			return loss
		}
		_, _, dimg, dtxt, dscale, dbias := c.gradients64()
		for name, pair := range map[string][2][]float64{
			"img": {slope(img, value), dimg}, "txt": {slope(txt, value), dtxt}, "scale and bias": {slope(free, value), {dscale, dbias}},
		} {
			for i, want := range pair[0] {
				if d := math.Abs(pair[1][i] - want); !(d <= 1e-8) {
					t.Fatalf("%v: gradient of %s %d: %v, differences %v", c, name, i, pair[1][i], want)
				}
			}
		}
	}
}

func TestContrast(t *testing.T) {
	pool := NewPool(3)
	defer pool.Close()
	for _, c := range contrastCases([2]int{1, 1}, [2]int{2, 5}, [2]int{33, 16}, [2]int{70, 96}, [2]int{1100, 4}) {
		wantLoss, wantHits, wantImg, wantTxt, wantScale, wantBias := c.gradients64()
		const upstream = 3
		for _, x := range [][]float64{wantImg, wantTxt} {
			for i := range x {
				x[i] *= upstream * float64(c.Rows)
			}
		}
		t.Run(c.String(), func(t *testing.T) {
			eachTier(t, func(t *testing.T) {
				stats, dimg, dtxt := newGuarded(c.Stats()), newGuarded(len(c.img)), newGuarded(len(c.txt))
				loss, hits := Contrast(pool, stats.x, c.img, c.txt, c.labels, c.scale, c.bias, c.ContrastShape)
				if !(math.Abs(loss-wantLoss) <= 1e-6*max(1, math.Abs(wantLoss))) {
					t.Errorf("loss %v, want %v", loss, wantLoss)
				}
				if hits != wantHits {
					t.Errorf("%d hits, want %d", hits, wantHits)
				}
				dscale, dbias := ContrastGrad(pool, dimg.x, dtxt.x, stats.x, c.img, c.txt, c.labels, c.scale, c.bias, upstream, c.ContrastShape)
				for i := range dimg.x { // as if it were the sum, so that the values are of one size
					dimg.x[i] *= float32(c.Rows)
					dtxt.x[i] *= float32(c.Rows)
				}
				closeTo(t, "dimg", dimg.x, wantImg, 3e-6)
				closeTo(t, "dtxt", dtxt.x, wantTxt, 3e-6)
				if !(math.Abs(dscale-upstream*wantScale) <= 1e-5*max(1, math.Abs(wantScale))) {
					t.Errorf("gradient of the scale %v, want %v", dscale, upstream*wantScale)
				}
				if c.Kind == ContrastPairs && !(math.Abs(dbias-upstream*wantBias) <= 1e-5*max(1, math.Abs(wantBias))) {
					t.Errorf("gradient of the bias %v, want %v", dbias, upstream*wantBias)
				}
				stats.check(t, "stats")
				dimg.check(t, "dimg")
				dtxt.check(t, "dtxt")
			})
		})
	}
}

// Logits at the ends of what a temperature allows: nothing overflows, and what is far below the largest counts nothing.
func TestContrastOfLargeLogits(t *testing.T) {
	for _, c := range contrastCases([2]int{1100, 4}) {
		if int(c.Kind) != int(c.Equal) { // the oracle is slow
			continue
		}
		rng := newRand(4)
		for r := range c.Rows { // rows of length one
			for _, x := range [][]float32{c.img[r*4:][:4], c.txt[r*4:][:4]} {
				var sum float64
				for i := range x {
					x[i] = float32(rng.NormFloat64())
					sum += float64(x[i]) * float64(x[i])
				}
				for i := range x {
					x[i] /= float32(math.Sqrt(sum))
				}
			}
		}
		c.scale = 100
		want, _, wantImg, wantTxt, _, _ := c.gradients64()
		for i := range wantImg {
			wantImg[i] *= float64(c.Rows)
			wantTxt[i] *= float64(c.Rows)
		}
		t.Run(c.String(), func(t *testing.T) {
			eachTier(t, func(t *testing.T) {
				loss, _, stats := c.forward(nil)
				if !(math.Abs(loss-want) <= 1e-4+1e-7*want) {
					t.Errorf("loss %v, want %v", loss, want)
				}
				dimg, dtxt := make([]float32, len(c.img)), make([]float32, len(c.txt))
				ContrastGrad(nil, dimg, dtxt, stats, c.img, c.txt, c.labels, 100, c.bias, float32(c.Rows), c.ContrastShape)
				closeTo(t, "dimg", dimg, wantImg, 3e-5)
				closeTo(t, "dtxt", dtxt, wantTxt, 3e-5)
			})
		})
	}
}

// A row of one label with all others has no negatives: its loss and its gradient are zero, not nearly.
func TestContrastAllMasked(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		for _, kind := range []ContrastKind{ContrastRows, ContrastBoth} {
			rng := newRand(8)
			c := contrastCase{ContrastShape{65, 6, kind, EqualMasked}, nanGuarded(rng, 65*6), nanGuarded(rng, 65*6), make([]int32, 65), 20, 0}
			loss, hits, stats := c.forward(nil)
			if loss != 0 || hits != 65 {
				t.Errorf("kind %d: loss %v, %d hits, want 0 and 65", kind, loss, hits)
			}
			dimg, dtxt := make([]float32, len(c.img)), make([]float32, len(c.txt))
			ContrastGrad(nil, dimg, dtxt, stats, c.img, c.txt, c.labels, c.scale, 0, 1, c.ContrastShape)
			if !zeroRow(dimg) || !zeroRow(dtxt) {
				t.Errorf("kind %d: the gradient is not zero", kind)
			}
		}
	})
}

func TestContrastThreadsDoNotMatter(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		for _, c := range contrastCases([2]int{70, 96}, [2]int{1100, 5}) {
			if c.Rows > 1000 && int(c.Kind) != int(c.Equal) {
				continue
			}
			eachThreads(t, func(p *Pool) []float32 {
				loss, hits, stats := c.forward(p)
				dimg, dtxt := make([]float32, len(c.img)), make([]float32, len(c.txt))
				dscale, dbias := ContrastGrad(p, dimg, dtxt, stats, c.img, c.txt, c.labels, c.scale, c.bias, 1, c.ContrastShape)
				return slices.Concat([]float32{float32(loss), float32(hits), float32(dscale), float32(dbias)}, stats, dimg, dtxt)
			})
		}
	})
}

// A pool of another precision for its products makes no difference.
func TestContrastIsInFloat32(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	for _, c := range contrastCases([2]int{70, 96}) {
		run := func(p *Pool) []float32 {
			loss, _, stats := c.forward(p)
			dimg, dtxt := make([]float32, len(c.img)), make([]float32, len(c.txt))
			ContrastGrad(p, dimg, dtxt, stats, c.img, c.txt, c.labels, c.scale, c.bias, 1, c.ContrastShape)
			return slices.Concat([]float32{float32(loss)}, stats, dimg, dtxt)
		}
		want := run(nil)
		sameBits(t, c.String(), run(pool.With(BF16)), want)
		var none *Pool
		sameBits(t, c.String(), run(none.With(BF16)), want)
	}
}

func TestContrastNaN(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		for _, c := range contrastCases([2]int{70, 5}) {
			c.img[33*5+2] = float32(math.NaN())
			loss, _, stats := c.forward(nil)
			if !math.IsNaN(loss) {
				t.Errorf("%v: loss %v of a picture that is NaN", c, loss)
			}
			dimg, dtxt := make([]float32, len(c.img)), make([]float32, len(c.txt))
			ContrastGrad(nil, dimg, dtxt, stats, c.img, c.txt, c.labels, c.scale, c.bias, 1, c.ContrastShape)
			for i, v := range dtxt {
				alone := c.Kind == ContrastPairs && c.Equal == EqualMasked && c.labels[i/5] == c.labels[33] && c.labels[33] >= 0
				if v == v && !(alone && i/5 != 33) { // a pair that does not count
					t.Fatalf("%v: gradient %v of text value %d", c, v, i)
				}
			}
			if g := dimg[33*5]; g == g {
				t.Errorf("%v: gradient %v of the picture that is NaN", c, g)
			}
		}
	})
}

func TestContrastAllocatesNothing(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	for _, c := range contrastCases([2]int{70, 8}) {
		stats := make([]float32, c.Stats())
		dimg, dtxt := make([]float32, len(c.img)), make([]float32, len(c.txt))
		noAllocs(t, c.String(), func() {
			Contrast(pool, stats, c.img, c.txt, c.labels, c.scale, c.bias, c.ContrastShape)
			ContrastGrad(pool, dimg, dtxt, stats, c.img, c.txt, c.labels, c.scale, c.bias, 1, c.ContrastShape)
		})
	}
}

// The logits of a block take the memory that Contrast says, however large the batch is.
func TestContrastMemory(t *testing.T) {
	for _, n := range []int{1, 64, 1024, 1025, 4096, 20000, 1 << 17} {
		if rows := contrastBlock(n); rows < 1 || rows > n || rows*n > max(contrastPanel, contrastRows*n) {
			t.Errorf("%d rows of %d logits in a block", rows, n)
		}
	}
}

func TestContrastPanics(t *testing.T) {
	good := contrastCases([2]int{6, 2})[1]
	for want, change := range map[string]func(c *contrastCase){
		"img: length 11, want 12":         func(c *contrastCase) { c.img = c.img[:11] },
		"txt: length 11, want 12":         func(c *contrastCase) { c.txt = c.txt[:11] },
		"labels: length 5, want 6":        func(c *contrastCase) { c.labels = c.labels[:5] },
		"label 2 is 6, want below 6":      func(c *contrastCase) { c.labels = []int32{0, -9, 6, 0, 0, 0} },
		"shape {Rows:0 Dim:2":             func(c *contrastCase) { c.Rows = 0 },
		"Kind:3":                          func(c *contrastCase) { c.Kind = 3 },
		"Equal:-1":                        func(c *contrastCase) { c.Equal = -1 },
		"kernel: Contrast: stats: length": nil,
	} {
		func() {
			defer func() {
				if r := fmt.Sprint(recover()); !strings.Contains(r, want) || !strings.HasPrefix(r, "kernel: Contrast") {
					t.Errorf("panic %q, want %q", r, want)
				}
			}()
			c := good
			if change == nil {
				Contrast(nil, nil, c.img, c.txt, c.labels, 1, 0, c.ContrastShape)
				return
			}
			change(&c)
			c.forward(nil)
		}()
	}
}

// BenchmarkContrast times the loss and its gradient; see also loss.BenchmarkDense.
func BenchmarkContrast(b *testing.B) {
	pool := NewPool(2)
	defer pool.Close()
	for _, kind := range []ContrastKind{ContrastRows, ContrastBoth, ContrastPairs} {
		for _, n := range []int{64, 1024, 8192, 32768} {
			const e = 96
			rng := rand.New(rand.NewPCG(1, 2))
			img, txt := make([]float32, n*e), make([]float32, n*e)
			for i := range img {
				img[i], txt[i] = float32(rng.NormFloat64()/10), float32(rng.NormFloat64()/10)
			}
			labels := make([]int32, n)
			for i := range labels {
				labels[i] = int32(i % min(n, 24))
			}
			s := ContrastShape{n, e, kind, EqualPositive}
			stats, dimg, dtxt := make([]float32, s.Stats()), make([]float32, n*e), make([]float32, n*e)
			b.Run(fmt.Sprintf("kind=%d/batch=%d", kind, n), func(b *testing.B) {
				for b.Loop() {
					Contrast(pool, stats, img, txt, labels, 14, 0, s)
					ContrastGrad(pool, dimg, dtxt, stats, img, txt, labels, 14, 0, 1, s)
				}
				b.ReportMetric(8*float64(n)*float64(n)*e*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}

// TestContrastTies: of equal logits the first counts, also where a positive is among the others.
func TestContrastTies(t *testing.T) {
	const e = 4
	img := []float32{1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0}
	txt := []float32{2, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0} // rows 0 and 1 have equal logits in columns 0 and 1
	for _, tt := range []struct {
		equal ContrastEqual
		hits  int
	}{{EqualNegative, 2}, {EqualPositive, 3}, {EqualMasked, 3}} {
		for kind := range ContrastPairs + 1 {
			s := ContrastShape{Rows: 3, Dim: e, Kind: kind, Equal: tt.equal}
			stats := make([]float32, s.Stats())
			if _, hits := Contrast(nil, stats, img, txt, []int32{0, 0, 2}, 1, 0, s); hits != tt.hits {
				t.Errorf("kind %d, equal %d: %d hits, want %d", kind, tt.equal, hits, tt.hits)
			}
		}
	}
}
