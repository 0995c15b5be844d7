package kernel

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// shapes has rows below, at and above the borders of vectors and of row blocks.
var shapes = [][2]int{{0, 5}, {1, 1}, {1, 2}, {3, 7}, {2, 8}, {5, 15}, {4, 16}, {3, 17}, {64, 33}, {65, 31}, {130, 64}, {7, 257}, {2, 1000}, {8300, 3}, {3, 9001}}

func TestReductions(t *testing.T) {
	pool := NewPool(3)
	defer pool.Close()
	eachTier(t, func(t *testing.T) {
		rng := newRand(3)
		for _, n := range lengths {
			a, b := input(normal(rng, n, 2)), input(normal(rng, n, 1e10))
			var sum, squares, dot, size float64
			for i := range a {
				sum += float64(a[i])
				squares += float64(b[i]) * float64(b[i])
				dot += float64(a[i]) * float64(b[i])
				size += math.Abs(float64(a[i]))
			}
			tol := float64(n+1) * 0x1p-52
			if got := Sum(pool, a); !(math.Abs(got-sum) <= tol*size) {
				t.Errorf("length %d: sum %v, want %v", n, got, sum)
			}
			if got := SumSquares(pool, b); !(math.Abs(got-squares) <= tol*squares) {
				t.Errorf("length %d: sum of squares %v, want %v", n, got, squares)
			}
			if got := Dot(pool, a, b); !(math.Abs(got-dot) <= tol*1e11*size) {
				t.Errorf("length %d: dot %v, want %v", n, got, dot)
			}
		}
		huge := []float32{3e38, 3e38, -3e38, 1}
		if got := Sum(nil, huge); got != float64(float32(3e38))+1 && math.Abs(got-3e38) > 1e31 {
			t.Errorf("sum of large numbers: %v", got)
		}
		if got := SumSquares(nil, huge); math.IsInf(got, 0) || got < 2e77 {
			t.Errorf("squares of large numbers: %v", got)
		}
	})
}

func TestAllFinite(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	eachTier(t, func(t *testing.T) {
		for _, n := range lengths {
			x := input(make([]float32, n))
			for i := range x {
				x[i] = math.MaxFloat32 * float32(1-2*(i%2))
			}
			if !AllFinite(x) {
				t.Fatalf("length %d: a finite vector is said not to be", n)
			}
			for _, at := range []int{0, 1, n / 2, n - 2, n - 1} {
				if at < 0 || at >= n {
					continue
				}
				for _, v := range []float32{nan, inf, -inf} {
					old := x[at]
					x[at] = v
					if AllFinite(x) {
						t.Fatalf("length %d: %v at %d is not seen", n, v, at)
					}
					x[at] = old
				}
			}
		}
	})
}

// eachShape runs f on every tier for every shape.
func eachShape(t *testing.T, f func(t *testing.T, what string, rows, cols int)) {
	t.Helper()
	eachTier(t, func(t *testing.T) {
		for _, s := range shapes {
			f(t, fmt.Sprintf("(%d, %d)", s[0], s[1]), s[0], s[1])
		}
	})
}

func TestColumnSums(t *testing.T) {
	pool := NewPool(3)
	defer pool.Close()
	eachShape(t, func(t *testing.T, what string, rows, cols int) {
		rng := newRand(4)
		x := input(normal(rng, rows*cols, 1))
		cs, rs := newGuarded(cols), newGuarded(rows)
		ColSum(pool, cs.x, x, rows, cols)
		RowSum(pool, rs.x, x, rows, cols)
		wantC, wantR := make([]float64, cols), make([]float64, rows)
		for i, v := range x {
			wantC[i%cols] += float64(v)
			wantR[i/cols] += float64(v)
		}
		nearAll(t, what+" columns", cs.x, wantC, 1e-5*math.Sqrt(float64(rows+1)), 1e-6)
		nearAll(t, what+" rows", rs.x, wantR, 1e-6, 1e-6)
		cs.check(t, what)
		rs.check(t, what)
	})
}

// layerNormOracle is the definition in float64.
func layerNormOracle(x, gain, bias []float64, eps float64) []float64 {
	n := float64(len(x))
	var mean, variance float64
	for _, v := range x {
		mean += v / n
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / n
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = (v-mean)/math.Sqrt(variance+eps)*gain[i] + bias[i]
	}
	return y
}

func l2NormalizeOracle(x []float64, eps float64) []float64 {
	var sum float64
	for _, v := range x {
		sum += v * v
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = v / max(math.Sqrt(sum), eps)
	}
	return y
}

func logSumExpOracle(x []float64) float64 {
	m := slices.Max(x)
	var sum float64
	for _, v := range x {
		sum += math.Exp(v - m)
	}
	return m + math.Log(sum)
}

func softmaxOracle(x []float64) []float64 {
	lse := logSumExpOracle(x)
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = math.Exp(v - lse)
	}
	return y
}

// slope is the derivative of f at the elements of x by central differences, with
// the error of second order removed. f reads x.
func slope(x []float64, f func() float64) []float64 {
	d := make([]float64, len(x))
	for i, v := range x {
		diff := func(h float64) float64 {
			x[i] = v + h
			up := f()
			x[i] = v - h
			down := f()
			x[i] = v
			return (up - down) / (2 * h)
		}
		h := 1e-3 * max(math.Abs(v), 0.1)
		d[i] = (4*diff(h/2) - diff(h)) / 3
	}
	return d
}

func inner(a []float64, b []float32) float64 {
	var sum float64
	for i, v := range a {
		sum += v * float64(b[i])
	}
	return sum
}

func largest(x []float64) float64 {
	m := 0.0
	for _, v := range x {
		m = max(m, math.Abs(v))
	}
	return m
}

func TestLayerNorm(t *testing.T) {
	pool := NewPool(3)
	defer pool.Close()
	eachShape(t, func(t *testing.T, what string, rows, cols int) {
		if cols < 3 {
			return // two values have the variance of their difference only
		}
		for _, offset := range []float32{0, -300, 1e5} {
			rng := newRand(5)
			raw := normal(rng, rows*cols, 1)
			for i := range raw {
				raw[i] = raw[i]*float32(1+i/cols%3) + offset
			}
			x, gain, bias := input(raw), input(normal(rng, cols, 0.5)), input(normal(rng, cols, 0.5))
			y := newGuarded(rows * cols)
			LayerNorm(pool, y.x, x, gain, bias, rows, cols, 1e-6)
			y.check(t, what)
			for r := range rows {
				want := layerNormOracle(wide(x[r*cols:(r+1)*cols]), wide(gain), wide(bias), 1e-6)
				for c, w := range want {
					if d := math.Abs(float64(y.x[r*cols+c]) - w); !(d <= 2e-6*max(1, math.Abs(w))) {
						t.Fatalf("%s offset %v: [%d, %d] = %v, want %v", what, offset, r, c, y.x[r*cols+c], w)
					}
				}
			}
			LayerNorm(pool, x, x, gain, bias, rows, cols, 1e-6)
			sameBits(t, what+" in place", x, y.x)
		}
	})
}

func TestLayerNormGrad(t *testing.T) {
	eachShape(t, func(t *testing.T, what string, rows, cols int) {
		if rows*cols > 3000 || cols < 3 {
			return // differences are slow; other tests cover long rows
		}
		rng := newRand(6)
		const eps = 1e-5
		x, dy, gain := input(normal(rng, rows*cols, 2)), input(normal(rng, rows*cols, 1)), input(normal(rng, cols, 1))
		bias := make([]float64, cols)
		dx, dgain, dbias := newGuarded(rows*cols), newGuarded(cols), newGuarded(cols)
		LayerNormGrad(nil, dx.x, dgain.x, dbias.x, dy, x, gain, rows, cols, eps)
		dx.check(t, what)
		dgain.check(t, what)
		dbias.check(t, what)
		wantBias, wantGain := make([]float64, cols), make([]float64, cols)
		ones := make([]float64, cols)
		for c := range ones {
			ones[c] = 1
		}
		g64 := wide(gain)
		for r := range rows {
			row, up := wide(x[r*cols:(r+1)*cols]), dy[r*cols:(r+1)*cols]
			want := slope(row, func() float64 { return inner(layerNormOracle(row, g64, bias, eps), up) })
			nearAll(t, fmt.Sprintf("%s dx row %d", what, r), dx.x[r*cols:(r+1)*cols], want, 1e-5*max(1, largest(want)), 0)
			for c, v := range layerNormOracle(row, ones, bias, eps) {
				wantGain[c] += v * float64(up[c])
				wantBias[c] += float64(up[c])
			}
		}
		nearAll(t, what+" dgain", dgain.x, wantGain, 1e-5, 1e-6)
		nearAll(t, what+" dbias", dbias.x, wantBias, 1e-5, 1e-6)

		alone := newGuarded(rows * cols)
		LayerNormGrad(nil, alone.x, nil, nil, dy, x, gain, rows, cols, eps)
		sameBits(t, what+" without gain and bias", alone.x, dx.x)
		for _, in := range [][]float32{x, dy} {
			old := slices.Clone(in)
			LayerNormGrad(nil, in, dgain.x, dbias.x, dy, x, gain, rows, cols, eps)
			sameBits(t, what+" in place", in, dx.x)
			copy(in, old)
		}
	})
}

// TestLayerNormLong compares the gradient of long rows with the formula in float64.
func TestLayerNormLong(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		rng := newRand(7)
		const rows, cols, eps = 3, 4096, 1e-6
		x, dy, gain := normal(rng, rows*cols, 1), normal(rng, rows*cols, 1), normal(rng, cols, 1)
		for i := range x {
			x[i] += 5
		}
		dx, dgain, dbias := make([]float32, rows*cols), make([]float32, cols), make([]float32, cols)
		LayerNormGrad(nil, dx, dgain, dbias, dy, x, gain, rows, cols, eps)
		for r := range rows {
			row := wide(x[r*cols : (r+1)*cols])
			ones, zeros := make([]float64, cols), make([]float64, cols)
			for c := range ones {
				ones[c] = 1
			}
			hat := layerNormOracle(row, ones, zeros, eps)
			var variance, a, b, top float64
			mean := 0.0
			for _, v := range row {
				mean += v / cols
			}
			for _, v := range row {
				variance += (v - mean) * (v - mean) / cols
			}
			h := make([]float64, cols)
			for c := range h {
				h[c] = float64(dy[r*cols+c]) * float64(gain[c])
				a += h[c] / cols
				b += h[c] * hat[c] / cols
				top = max(top, math.Abs(h[c]))
			}
			rstd := 1 / math.Sqrt(variance+eps)
			for c := range h {
				want := rstd * (h[c] - a - hat[c]*b)
				if d := math.Abs(float64(dx[r*cols+c]) - want); !(d <= 5e-6*rstd*top) {
					t.Fatalf("[%d, %d] = %v, want %v", r, c, dx[r*cols+c], want)
				}
			}
		}
	})
}

func TestL2Normalize(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	for _, scale := range []float64{1, 1e-20, 1e18, 1e-30} {
		eachShape(t, func(t *testing.T, what string, rows, cols int) {
			rng := newRand(8)
			const eps = 1e-25
			x, dy := input(normal(rng, rows*cols, scale)), input(normal(rng, rows*cols, 1e-3))
			y, dx := newGuarded(rows*cols), newGuarded(rows*cols)
			L2Normalize(pool, y.x, x, rows, cols, eps)
			L2NormalizeGrad(pool, dx.x, dy, x, rows, cols, eps)
			y.check(t, what)
			dx.check(t, what)
			for r := range rows {
				row := wide(x[r*cols : (r+1)*cols])
				nearAll(t, what, y.x[r*cols:(r+1)*cols], l2NormalizeOracle(row, eps), 1e-45, 2.4e-7)
				if rows*cols > 3000 || scale != 1 {
					continue
				}
				up := dy[r*cols : (r+1)*cols]
				want := slope(row, func() float64 { return inner(l2NormalizeOracle(row, eps), up) })
				norm := math.Sqrt(SumSquares(nil, x[r*cols:(r+1)*cols]))
				nearAll(t, what+" gradient", dx.x[r*cols:(r+1)*cols], want, 1e-6*largest(wide(up))/norm, 0)
			}
			for _, in := range [][]float32{x, dy} {
				old := slices.Clone(in)
				L2NormalizeGrad(pool, in, dy, x, rows, cols, eps)
				sameBits(t, what+" gradient in place", in, dx.x)
				copy(in, old)
			}
			L2Normalize(pool, x, x, rows, cols, eps)
			sameBits(t, what+" in place", x, y.x)
		})
	}
}

// TestNormExtremes checks that NaN and infinities come out, and in their row only.
func TestNormExtremes(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		const rows, cols = 3, 21
		gain, bias := make([]float32, cols), make([]float32, cols)
		ones := make([]float32, rows*cols)
		for i := range ones {
			ones[i] = 1
		}
		copy(gain, ones)
		for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			for at := range cols {
				x := normal(newRand(18), rows*cols, 1)
				x[cols+at] = float32(v)
				y, columns := make([]float32, rows*cols), make([]float32, 2*cols)
				check := func(what string, y []float32, undefined func(c int) bool) {
					t.Helper()
					for i, got := range y {
						if want := i/cols == 1 && undefined(i%cols); want != (got != got) {
							t.Fatalf("%s, %v at %d: [%d, %d] = %v, want NaN: %v", what, v, at, i/cols, i%cols, got, want)
						}
					}
				}
				every := func(int) bool { return true }
				LayerNorm(nil, y, x, gain, bias, rows, cols, 1e-6)
				check("LayerNorm", y, every)
				LayerNormGrad(nil, y, columns[:cols], columns[cols:], ones, x, gain, rows, cols, 1e-6)
				check("LayerNormGrad", y, every)
				L2Normalize(nil, y, x, rows, cols, 1e-6)
				check("L2Normalize", y, func(c int) bool { return math.IsNaN(v) || c == at })
			}
		}
	})
}

func TestSoftmaxAndCrossEntropy(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	eachShape(t, func(t *testing.T, what string, rows, cols int) {
		rng := newRand(9)
		x, dy := input(normal(rng, rows*cols, 5)), input(normal(rng, rows*cols, 1))
		targets := make([]float32, rows*cols)
		for r := range rows {
			switch row := targets[r*cols : (r+1)*cols]; r % 3 {
			case 0:
				row[r%cols] = 1
			case 1:
				row[r%cols] += 0.25
				row[cols-1] += 0.75
			}
		}
		targets = input(targets)
		y, dx, lse := newGuarded(rows*cols), newGuarded(rows*cols), newGuarded(rows)
		loss, dlogits := newGuarded(rows), newGuarded(rows*cols)
		const upstream = 0.3
		Softmax(pool, y.x, x, rows, cols)
		SoftmaxGrad(pool, dx.x, dy, y.x, rows, cols)
		LogSumExp(pool, lse.x, x, rows, cols)
		CrossEntropy(pool, loss.x, x, targets, rows, cols)
		CrossEntropyGrad(pool, dlogits.x, x, targets, upstream, rows, cols)
		for _, g := range []guarded{y, dx, lse, loss, dlogits} {
			g.check(t, what)
		}
		for r := range rows {
			row, up, target := wide(x[r*cols:(r+1)*cols]), dy[r*cols:(r+1)*cols], targets[r*cols:(r+1)*cols]
			want := softmaxOracle(row)
			top := slices.Max(row)
			for c, w := range want {
				if !near(y.x[r*cols+c], w, 1e-37, 1e-6+6e-8*(top-row[c])) {
					t.Fatalf("%s softmax: [%d, %d] = %v, want %v", what, r, c, y.x[r*cols+c], w)
				}
			}
			nearAll(t, what+" logsumexp", lse.x[r:r+1], []float64{logSumExpOracle(row)}, 1e-6, 1e-6)
			entropy := func() float64 {
				sum, l := 0.0, logSumExpOracle(row)
				for c, v := range row {
					sum += float64(target[c]) * (l - v)
				}
				return sum
			}
			nearAll(t, what+" cross entropy", loss.x[r:r+1], []float64{entropy()}, 1e-6, 1e-6)
			if rows*cols > 1200 {
				continue
			}
			nearAll(t, what+" softmax gradient", dx.x[r*cols:(r+1)*cols], slope(row, func() float64 { return inner(softmaxOracle(row), up) }), 2e-6, 0)
			nearAll(t, what+" cross entropy gradient", dlogits.x[r*cols:(r+1)*cols], slope(row, func() float64 { return upstream * entropy() }), 1e-6, 0)
		}
		old := slices.Clone(x)
		CrossEntropyGrad(pool, x, x, targets, upstream, rows, cols)
		sameBits(t, what+" gradient in place", x, dlogits.x)
		copy(x, old)
		Softmax(pool, x, x, rows, cols)
		sameBits(t, what+" softmax in place", x, y.x)
	})
}

func TestSoftmaxExtremes(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	eachTier(t, func(t *testing.T) {
		for _, n := range []int{3, 16, 21, 40} {
			row := func(rest float32, at map[int]float32) []float32 {
				x := make([]float32, n)
				for i := range x {
					x[i] = rest
				}
				for i, v := range at {
					x[i] = v
				}
				return x
			}
			allNaN := func(what string, y []float32) {
				for i, v := range y {
					if v == v {
						t.Errorf("%s: [%d] = %v, want NaN", what, i, v)
					}
				}
			}
			y, lse := make([]float32, n), make([]float32, 1)
			for at := range n {
				x := row(1, map[int]float32{at: nan})
				Softmax(nil, y, x, 1, n)
				allNaN(fmt.Sprintf("NaN at %d of %d", at, n), y)
				LogSumExp(nil, lse, x, 1, n)
				allNaN("logsumexp with NaN", lse)
			}
			x := row(-inf, map[int]float32{1: 900, 2: 900})
			Softmax(nil, y, x, 1, n)
			want := make([]float64, n)
			want[1], want[2] = 0.5, 0.5
			nearAll(t, "two of -Inf", y, want, 0, 1e-6)
			LogSumExp(nil, lse, x, 1, n)
			nearAll(t, "logsumexp of them", lse, []float64{900 + math.Ln2}, 0, 1e-6)
			Softmax(nil, y, row(-inf, nil), 1, n)
			allNaN("-Inf only", y)
			LogSumExp(nil, lse, row(-inf, nil), 1, n)
			nearAll(t, "logsumexp of -Inf", lse, []float64{math.Inf(-1)}, 0, 0)
			LogSumExp(nil, lse, row(1, map[int]float32{n - 1: inf}), 1, n)
			nearAll(t, "logsumexp with +Inf", lse, []float64{math.Inf(1)}, 0, 0)

			// A target of zero beside a logit of -Inf, and an ignored row of NaN.
			targets := row(0, map[int]float32{1: 1})
			CrossEntropy(nil, lse, x, targets, 1, n)
			nearAll(t, "masked cross entropy", lse, []float64{math.Ln2}, 1e-6, 0)
			CrossEntropyGrad(nil, y, x, targets, 1, 1, n)
			want[1], want[2] = -0.5, 0.5
			nearAll(t, "its gradient", y, want, 1e-6, 0)
			CrossEntropy(nil, lse, row(nan, nil), row(0, nil), 1, n)
			CrossEntropyGrad(nil, y, row(nan, nil), row(0, nil), 1, 1, n)
			nearAll(t, "ignored row", append(y, lse...), make([]float64, n+1), 0, 0)
			CrossEntropy(nil, lse, row(1, map[int]float32{0: nan}), targets, 1, n)
			allNaN("cross entropy with NaN", lse)
		}
	})
}

func TestSigmoidLoss(t *testing.T) {
	const rows, cols = 3, 17
	rng := newRand(10)
	x := normal(rng, rows*cols, 20)
	x[0], x[1] = 300, -300
	labels := make([]float32, rows*cols)
	for i := range labels {
		labels[i] = float32(1 - i%3) // 1, 0, -1
	}
	loss, dx := newGuarded(rows), newGuarded(rows*cols)
	SigmoidLoss(nil, loss.x, x, labels, rows, cols)
	SigmoidLossGrad(nil, dx.x, x, labels, 0.5, rows, cols)
	loss.check(t, "loss")
	dx.check(t, "gradient")
	for r := range rows {
		row, label := wide(x[r*cols:(r+1)*cols]), labels[r*cols:(r+1)*cols]
		f := func() float64 {
			sum := 0.0
			for c, v := range row {
				if z := float64(label[c]) * v; label[c] != 0 {
					sum += math.Log(1+math.Exp(-math.Abs(z))) + max(-z, 0)
				}
			}
			return sum
		}
		nearAll(t, "loss", loss.x[r:r+1], []float64{f()}, 0, 1e-6)
		want := slope(row, f)
		for c := range want {
			want[c] *= 0.5
		}
		nearAll(t, "gradient", dx.x[r*cols:(r+1)*cols], want, 1e-6, 1e-6)
	}
}

func TestRowsOfTables(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		rng := newRand(11)
		const batch, tokens, dim = 3, 5, 19
		x, pos, gain := input(normal(rng, batch*tokens*dim, 1)), input(normal(rng, tokens*dim, 1)), input(normal(rng, dim, 1))
		dy := input(normal(rng, batch*tokens*dim, 1))
		y := newGuarded(batch * tokens * dim)
		check := func(what string, got guarded, tol float64, want func(b, t, c int) float64) {
			t.Helper()
			got.check(t, what)
			n := len(got.x) / batch / dim
			for i, v := range got.x {
				if w := want(i/dim/n, i/dim%n, i%dim); !near(v, w, tol, 0) {
					t.Fatalf("%s: [%d] = %v, want %v", what, i, v, w)
				}
			}
		}
		at := func(x []float32, b, t, c int) float64 { return float64(x[(b*tokens+t)*dim+c]) }

		AddRows(nil, y.x, x, pos, batch*tokens, dim)
		check("AddRows", y, 1e-6, func(b, t, c int) float64 { return at(x, b, t, c) + at(pos, 0, t, c) })

		ColumnScale(nil, y.x, x, gain, batch*tokens, dim)
		check("ColumnScale", y, 1e-6, func(b, t, c int) float64 { return at(x, b, t, c) * float64(gain[c]) })
		dgain := newGuarded(dim)
		ColumnScaleGrad(nil, y.x, dgain.x, dy, x, gain, batch*tokens, dim)
		check("ColumnScaleGrad dx", y, 1e-6, func(b, t, c int) float64 { return at(dy, b, t, c) * float64(gain[c]) })
		want := make([]float64, dim)
		for i, v := range x {
			want[i%dim] += float64(v) * float64(dy[i])
		}
		nearAll(t, "ColumnScaleGrad dgain", dgain.x, want, 3e-6, 0)
		dgain.check(t, "dgain")
		ColumnScaleGrad(nil, nil, dgain.x, dy, x, gain, batch*tokens, dim)
		ColumnScaleGrad(nil, y.x, nil, dy, x, gain, batch*tokens, dim)

		longer := newGuarded(batch * (tokens + 1) * dim)
		PrependToken(nil, longer.x, x, gain, batch, tokens, dim)
		check("PrependToken", longer, 0, func(b, t, c int) float64 {
			if t == 0 {
				return float64(gain[c])
			}
			return at(x, b, t-1, c)
		})
		dtoken := newGuarded(dim)
		PrependTokenGrad(nil, y.x, dtoken.x, longer.x, batch, tokens, dim)
		sameBits(t, "PrependTokenGrad dx", y.x, x)
		for c, v := range gain {
			want[c] = batch * float64(v)
		}
		nearAll(t, "PrependTokenGrad dtoken", dtoken.x, want, 0, 1e-7)
		dtoken.check(t, "dtoken")

		weights := input(normal(rng, batch*tokens, 1))
		weights[2], weights[7] = 0, 0
		x[2*dim] = float32(math.NaN()) // has no weight
		pooled := newGuarded(batch * dim)
		PoolWeighted(nil, pooled.x, x, weights, batch, tokens, dim)
		check("PoolWeighted", pooled, 3e-6, func(b, _, c int) float64 {
			sum := 0.0
			for t := range tokens {
				if w := float64(weights[b*tokens+t]); w != 0 {
					sum += w * at(x, b, t, c)
				}
			}
			return sum
		})
		x[2*dim] = 1
		PoolWeightedGrad(nil, y.x, pooled.x, weights, batch, tokens, dim)
		check("PoolWeightedGrad", y, 1e-6, func(b, t, c int) float64 {
			return float64(weights[b*tokens+t]) * float64(pooled.x[b*dim+c])
		})
		PoolMean(nil, pooled.x, x, batch, tokens, dim)
		check("PoolMean", pooled, 1e-6, func(b, _, c int) float64 {
			sum := 0.0
			for t := range tokens {
				sum += at(x, b, t, c)
			}
			return sum / tokens
		})
		PoolMeanGrad(nil, y.x, pooled.x, batch, tokens, dim)
		check("PoolMeanGrad", y, 1e-6, func(b, t, c int) float64 { return float64(pooled.x[b*dim+c]) / tokens })

		mask := []float32{1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1}
		MeanWeights(mask, mask, batch, tokens)
		nearAll(t, "MeanWeights", mask, []float64{0.5, 0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0.2, 0.2, 0.2, 0.2, 0.2}, 0, 1e-7)
	})
}

func TestColumns(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	eachTier(t, func(t *testing.T) {
		rng := newRand(13)
		for _, s := range [][4]int{{0, 5, 1, 2}, {1, 1, 0, 1}, {3, 7, 0, 7}, {5, 15, 3, 9}, {4, 48, 16, 16}, {9, 33, 33, 0}, {9, 33, 31, 2}, {4200, 6, 2, 3}} {
			rows, cols, at, width := s[0], s[1], s[2], s[3]
			x, z := input(normal(rng, rows*cols, 1)), input(normal(rng, rows*width, 1))
			want := slices.Clone(x)
			for i, v := range z {
				want[i/width*cols+at+i%width] += v
			}
			y := newGuarded(rows * cols)
			AddColumns(pool, y.x, x, z, rows, cols, at, width)
			y.check(t, fmt.Sprint("AddColumns ", s))
			sameBits(t, fmt.Sprint("AddColumns ", s), y.x, want)
			copy(y.x, x)
			AddColumns(pool, y.x, y.x, z, rows, cols, at, width)
			sameBits(t, fmt.Sprint("AddColumns in place ", s), y.x, want)

			part := newGuarded(rows * width)
			Columns(pool, part.x, x, rows, cols, at, width)
			part.check(t, fmt.Sprint("Columns ", s))
			for i, got := range part.x {
				if v := x[i/width*cols+at+i%width]; got != v {
					t.Fatalf("Columns %v: element %d: %v, want %v", s, i, got, v)
				}
			}
		}
	})
}

func TestTranspose(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	for _, s := range append(shapes, [2]int{100, 70}) {
		rows, cols := s[0], s[1]
		x, y := normal(newRand(12), rows*cols, 1), newGuarded(rows*cols)
		Transpose(pool, y.x, x, rows, cols)
		y.check(t, fmt.Sprint(s))
		for i, v := range x {
			if got := y.x[i%cols*rows+i/cols]; got != v {
				t.Fatalf("%v: element %d: %v, want %v", s, i, got, v)
			}
		}
	}
}

func TestEmbedding(t *testing.T) {
	pool := NewPool(3)
	defer pool.Close()
	eachTier(t, func(t *testing.T) {
		for _, dim := range []int{1, 7, 16, 65, 200} {
			rng := newRand(13)
			const n = 40
			table, y := input(normal(rng, n*dim, 1)), newGuarded(300*dim)
			ids := make([]int32, 300)
			for i := range ids {
				ids[i] = int32(rng.IntN(n/2)) - 1
			}
			Embedding(pool, y.x, table, ids, dim)
			y.check(t, "y")
			for i, v := range y.x {
				want := float32(0)
				if id := int(ids[i/dim]); id >= 0 {
					want = table[id*dim+i%dim]
				}
				if v != want {
					t.Fatalf("dim %d: [%d] = %v, want %v", dim, i, v, want)
				}
			}
			dy, dtable := input(normal(rng, 300*dim, 1)), newGuarded(n*dim)
			for i := range dtable.x {
				dtable.x[i] = 99 // is overwritten
			}
			EmbeddingGrad(pool, dtable.x, dy, ids, dim)
			dtable.check(t, "dtable")
			want := make([]float64, n*dim)
			for i, v := range dy {
				if id := int(ids[i/dim]); id >= 0 {
					want[id*dim+i%dim] += float64(v)
				}
			}
			nearAll(t, "dtable", dtable.x, want, 2e-5, 0)
		}
	})
}

func TestDropout(t *testing.T) {
	const n = 3*pieceLen + 101
	ones := make([]float32, n)
	for i := range ones {
		ones[i] = 1
	}
	pool := NewPool(2)
	defer pool.Close()
	mask := func(rate float32, seed, stream uint64) []float32 {
		y := newGuarded(n)
		Dropout(pool, y.x, ones, rate, seed, stream)
		y.check(t, "y")
		return y.x
	}
	var generic []float32
	eachTier(t, func(t *testing.T) {
		for _, rate := range []float32{0, 0.1, 0.5, 0.9} {
			y := mask(rate, 1, 2)
			keep := float32(1 / (1 - float64(rate)))
			dropped := 0
			for i, v := range y {
				if v == 0 {
					dropped++
				} else if v != keep {
					t.Fatalf("rate %v: [%d] = %v, want 0 or %v", rate, i, v, keep)
				}
			}
			// Five standard deviations of the binomial distribution.
			expected := float64(rate) * n
			if d := math.Abs(float64(dropped) - expected); d > 5*math.Sqrt(expected*(1-float64(rate))) {
				t.Errorf("rate %v: %d of %d dropped, want about %.0f", rate, dropped, n, expected)
			}
		}
		y := mask(0.5, 1, 2)
		if Active() == Generic {
			generic = y
		}
		sameBits(t, "mask of the generic tier", y, generic)
		sameBits(t, "again", mask(0.5, 1, 2), y)
		// A mask agrees with an independent one, and with itself moved, in half of
		// the places: within five standard deviations.
		others := map[string][]float32{"seed": mask(0.5, 2, 2), "stream": mask(0.5, 1, 3), "swapped": mask(0.5, 2, 1)}
		for _, by := range []int{1, 2, 3, 4, 8, 16, 64, 256, pieceLen} {
			others[fmt.Sprintf("moved by %d", by)] = append(slices.Clone(y[by:]), y[:by]...)
		}
		for name, o := range others {
			same := 0
			for i, v := range o {
				if v == y[i] {
					same++
				}
			}
			if d := math.Abs(float64(same) - n/2); d > 5*math.Sqrt(n)/2 {
				t.Errorf("%s: %d of %d places agree, want about half", name, same, n)
			}
		}
		x := normal(newRand(14), n, 1)
		got := make([]float32, n)
		Dropout(nil, got, x, 0.5, 1, 2)
		for i, v := range y {
			if got[i] != x[i]*v {
				t.Fatalf("[%d]: %v of %v, mask %v", i, got[i], x[i], v)
			}
		}
		x[3], x[4] = float32(math.NaN()), float32(math.NaN())
		Dropout(nil, x, x, 0.5, 1, 2)
		if x[3] == x[3] || x[4] == x[4] {
			t.Errorf("NaN gives %v and %v, want NaN", x[3], x[4])
		}
	})
}

// TestDropoutIsStable pins the mask, which resumed runs rely on.
func TestDropoutIsStable(t *testing.T) {
	x := make([]float32, 2*pieceLen)
	for i := range x {
		x[i] = 1
	}
	Dropout(nil, x, x, 0.5, 7, 9)
	var words [2]uint64
	for i := range 64 {
		for w := range words {
			if x[w*pieceLen+i] != 0 {
				words[w] |= 1 << i
			}
		}
	}
	// From a separate program in another language.
	if want := [2]uint64{0xc88cbc45c8839404, 0xd99aa27b49430ae0}; words != want {
		t.Errorf("mask %#x, want %#x", words, want)
	}
}

func TestAdamW(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		for _, n := range lengths {
			rng := newRand(15)
			w, g, m, v := guardedCopy(normal(rng, n, 1)), input(normal(rng, n, 0.1)), guardedCopy(make([]float32, n)), guardedCopy(make([]float32, n))
			w64, m64, v64 := wide(w.x), make([]float64, n), make([]float64, n)
			const lr, b1, b2, eps, wd, scale = 1e-2, 0.9, 0.999, 1e-8, 0.05, 0.5
			for step := 1; step <= 3; step++ {
				c1, c2 := 1-math.Pow(b1, float64(step)), 1-math.Pow(b2, float64(step))
				AdamW(nil, w.x, g, m.x, v.x, AdamWStep{lr, b1, b2, eps, wd, c1, c2, scale})
				for i := range w64 {
					d := float64(g[i]) * scale
					m64[i] = b1*m64[i] + (1-b1)*d
					v64[i] = b2*v64[i] + (1-b2)*d*d
					w64[i] -= lr * (wd*w64[i] + m64[i]/c1/(math.Sqrt(v64[i]/c2)+eps))
				}
			}
			what := fmt.Sprintf("length %d", n)
			nearAll(t, what+" w", w.x, w64, 5e-8, 3e-7)
			nearAll(t, what+" m", m.x, m64, 1e-12, 5e-7)
			nearAll(t, what+" v", v.x, v64, 1e-15, 5e-7)
			w.check(t, what)
			m.check(t, what)
			v.check(t, what)
		}
		x := []float32{1, 1, 1}
		AdamW(nil, x, []float32{0, float32(math.NaN()), float32(math.Inf(1))}, make([]float32, 3), make([]float32, 3), AdamWStep{0.1, 0.9, 0.999, 1e-8, 0, 0.1, 0.001, 1})
		if x[0] != 1 || x[1] == x[1] || x[2] == x[2] {
			t.Errorf("gradients 0, NaN and Inf give %v, want 1, NaN, NaN", x)
		}
	})
}

// rowCalls has a call of every kernel of these files; what it writes comes back.
func rowCalls(p *Pool) map[string]func() []float32 {
	const rows, cols = 700, 50
	const n = rows * cols
	rng := newRand(16)
	a, b, gain, bias := normal(rng, n, 1), normal(rng, n, 1), normal(rng, cols, 1), normal(rng, cols, 1)
	targets := make([]float32, n)
	for r := range rows {
		targets[r*cols+r%cols] = 1
	}
	ids := make([]int32, rows)
	for i := range ids {
		ids[i] = int32(i*31%99 - 1)
	}
	y, y2, y3, y4 := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	row, small, small2 := make([]float32, rows), make([]float32, cols), make([]float32, cols)
	table := make([]float32, 99*cols)
	longer := make([]float32, n+rows/7*cols)
	weights := normal(rng, rows, 1)
	out := make([]float32, 4)
	f64 := func(v float64) []float32 {
		bits := math.Float64bits(v)
		out[0], out[1] = math.Float32frombits(uint32(bits)), math.Float32frombits(uint32(bits>>32))
		return out[:2]
	}
	return map[string]func() []float32{
		"Add":             func() []float32 { Add(p, y, a, b); return y },
		"Mul":             func() []float32 { Mul(p, y, a, b); return y },
		"Axpy":            func() []float32 { clear(y); Axpy(p, y, 2, b); return y },
		"Scale":           func() []float32 { Scale(p, y, 3, a); return y },
		"AddScalar":       func() []float32 { AddScalar(p, y, 3, a); return y },
		"Exp":             func() []float32 { Exp(p, y, a); return y },
		"AddRows":         func() []float32 { AddRows(p, y, a, b[:7*cols], rows, cols); return y },
		"AddColumns":      func() []float32 { AddColumns(p, y, a, b[:rows*9], rows, cols, 7, 9); return y },
		"Columns":         func() []float32 { Columns(p, y[:rows*9], a, rows, cols, 7, 9); return y[:rows*9] },
		"ColumnScale":     func() []float32 { ColumnScale(p, y, a, gain, rows, cols); return y },
		"ColumnScaleGrad": func() []float32 { ColumnScaleGrad(p, y, small, a, b, gain, rows, cols); return small },
		"PrependToken":    func() []float32 { PrependToken(p, longer, a, gain, rows/7, 7, cols); return longer },
		"PrependTokenGrad": func() []float32 {
			PrependTokenGrad(p, y, small, longer, rows/7, 7, cols)
			return small
		},
		"Transpose":    func() []float32 { Transpose(p, y, a, rows, cols); return y },
		"Sum":          func() []float32 { return f64(Sum(p, a)) },
		"SumSquares":   func() []float32 { return f64(SumSquares(p, a)) },
		"Dot":          func() []float32 { return f64(Dot(p, a, b)) },
		"ColSum":       func() []float32 { ColSum(p, small, a, rows, cols); return small },
		"RowSum":       func() []float32 { RowSum(p, row, a, rows, cols); return row },
		"GELU":         func() []float32 { GELU(p, GELUErf, y, a); return y },
		"GELUGrad":     func() []float32 { GELUGrad(p, GELUTanh, y, a, b); return y },
		"LayerNorm":    func() []float32 { LayerNorm(p, y, a, gain, bias, rows, cols, 1e-6); return y },
		"L2Normalize":  func() []float32 { L2Normalize(p, y, a, rows, cols, 1e-6); return y },
		"Softmax":      func() []float32 { Softmax(p, y, a, rows, cols); return y },
		"SoftmaxGrad":  func() []float32 { SoftmaxGrad(p, y, a, b, rows, cols); return y },
		"LogSumExp":    func() []float32 { LogSumExp(p, row, a, rows, cols); return row },
		"CrossEntropy": func() []float32 { CrossEntropy(p, row, a, targets, rows, cols); return row },
		"CrossEntropyGrad": func() []float32 {
			CrossEntropyGrad(p, y, a, targets, 2, rows, cols)
			return y
		},
		"SigmoidLoss":     func() []float32 { SigmoidLoss(p, row, a, targets, rows, cols); return row },
		"SigmoidLossGrad": func() []float32 { SigmoidLossGrad(p, y, a, targets, 2, rows, cols); return y },
		"LayerNormGrad/dgain": func() []float32 {
			LayerNormGrad(p, y, small, small2, b, a, gain, rows, cols, 1e-6)
			return small
		},
		"LayerNormGrad/dbias": func() []float32 {
			LayerNormGrad(p, y, small, small2, b, a, gain, rows, cols, 1e-6)
			return small2
		},
		"LayerNormGrad/dx": func() []float32 {
			LayerNormGrad(p, y, nil, nil, b, a, gain, rows, cols, 1e-6)
			return y
		},
		"L2NormalizeGrad": func() []float32 { L2NormalizeGrad(p, y, b, a, rows, cols, 1e-6); return y },
		"Dropout":         func() []float32 { Dropout(p, y, a, 0.2, 3, 4); return y },
		"AdamW": func() []float32 {
			copy(y2, a)
			clear(y3)
			clear(y4)
			AdamW(p, y2, b, y3, y4, AdamWStep{0.1, 0.9, 0.999, 1e-8, 0.1, 0.1, 0.001, 1})
			return y2
		},
		"Embedding":        func() []float32 { Embedding(p, y, a[:99*cols], ids, cols); return y },
		"EmbeddingGrad":    func() []float32 { EmbeddingGrad(p, table, a, ids, cols); return table },
		"PoolMean":         func() []float32 { PoolMean(p, y[:100*cols], a, 100, 7, cols); return y[:100*cols] },
		"PoolMeanGrad":     func() []float32 { PoolMeanGrad(p, y, a[:100*cols], 100, 7, cols); return y },
		"PoolWeighted":     func() []float32 { PoolWeighted(p, y[:100*cols], a, weights, 100, 7, cols); return y[:100*cols] },
		"PoolWeightedGrad": func() []float32 { PoolWeightedGrad(p, y, a[:100*cols], weights, 100, 7, cols); return y },
		"PoolMax":          func() []float32 { PoolMax(p, y[:100*cols], a, weights, 100, 7, cols); return y[:100*cols] },
		"PoolMaxGrad":      func() []float32 { PoolMaxGrad(p, y, a, weights, b[:100*cols], 100, 7, cols); return y },
		"SwiGLU":           func() []float32 { SwiGLU(p, y[:rows/2*cols], a[:rows/2*2*cols], rows/2, cols); return y[:rows/2*cols] },
		"SwiGLUGrad": func() []float32 {
			SwiGLUGrad(p, y[:rows/2*2*cols], a[:rows/2*2*cols], b[:rows/2*cols], rows/2, cols)
			return y
		},
	}
}

func TestRowsThreads(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		want := map[string][]float32{}
		for name, f := range rowCalls(nil) {
			want[name] = slices.Clone(f())
		}
		for _, threads := range []int{1, 2, 3, 5} {
			p := NewPool(threads)
			for name, f := range rowCalls(p) {
				if name == "PrependTokenGrad" {
					continue // reads what PrependToken has written
				}
				sameBits(t, fmt.Sprintf("%s, %d threads", name, threads), f(), want[name])
			}
			p.Close()
		}
	})
}

func TestRowsAllocs(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	for name, f := range rowCalls(p) {
		noAllocs(t, name, func() { f() })
	}
	dst, src := make([]byte, 20*30*3), make([]byte, 50*40*3)
	noAllocs(t, "ResizeRGB", func() { ResizeRGB(dst, 20, 30, src, 50, 40, Lanczos) })
}

func TestRowsPanics(t *testing.T) {
	x := func(n int) []float32 { return make([]float32, n) }
	tests := []struct {
		want string
		f    func()
	}{
		{"kernel: Add: len(a) = 3, want 4", func() { Add(nil, x(4), x(3), x(4)) }},
		{"kernel: Add: len(b) = 5, want 4", func() { Add(nil, x(4), x(4), x(5)) }},
		{"kernel: Mul: len(b) = 5, want 4", func() { Mul(nil, x(4), x(4), x(5)) }},
		{"kernel: Axpy: len(x) = 5, want 4", func() { Axpy(nil, x(4), 1, x(5)) }},
		{"kernel: Scale: len(x) = 5, want 4", func() { Scale(nil, x(4), 1, x(5)) }},
		{"kernel: Exp: len(x) = 5, want 4", func() { Exp(nil, x(4), x(5)) }},
		{"kernel: Dot: len(b) = 5, want 4", func() { Dot(nil, x(4), x(5)) }},
		{"kernel: ColSum: len(x) = 5, want 6", func() { ColSum(nil, x(3), x(5), 2, 3) }},
		{"kernel: ColSum: shape (-1, 3) is negative", func() { ColSum(nil, x(3), x(3), -1, 3) }},
		{"kernel: AddRows: len(table) = 4, want 6", func() { AddRows(nil, x(6), x(6), x(4), 2, 3) }},
		{"kernel: AddColumns: len(z) = 3, want 4", func() { AddColumns(nil, x(6), x(6), x(3), 2, 3, 1, 2) }},
		{"kernel: AddColumns: 2 columns from 2 of 3", func() { AddColumns(nil, x(6), x(6), x(4), 2, 3, 2, 2) }},
		{"kernel: Columns: 2 columns from -1 of 3", func() { Columns(nil, x(4), x(6), 2, 3, -1, 2) }},
		{"kernel: LayerNorm: len(gain) = 2, want 3", func() { LayerNorm(nil, x(6), x(6), x(2), x(3), 2, 3, 1) }},
		{"kernel: LayerNormGrad: len(dbias) = 0, want 3", func() { LayerNormGrad(nil, x(6), x(3), nil, x(6), x(6), x(3), 2, 3, 1) }},
		{"kernel: GELU: unknown kind 3", func() { GELU(nil, 3, x(1), x(1)) }},
		{"kernel: Softmax: len(x) = 5, want 6", func() { Softmax(nil, x(6), x(5), 2, 3) }},
		{"kernel: CrossEntropy: len(rowLoss) = 3, want 2", func() { CrossEntropy(nil, x(3), x(6), x(6), 2, 3) }},
		{"kernel: Embedding: ids[1] = 2, want below 2", func() { Embedding(nil, x(6), x(6), []int32{0, 2}, 3) }},
		{"kernel: Embedding: len(table) = 7 is no multiple of dim = 3", func() { Embedding(nil, x(6), x(7), []int32{0, 1}, 3) }},
		{"kernel: Dropout: rate = 1, want 0 <= rate < 1", func() { Dropout(nil, x(1), x(1), 1, 0, 0) }},
		{"kernel: AdamW: len(v) = 2, want 1", func() { AdamW(nil, x(1), x(1), x(1), x(2), AdamWStep{}) }},
		{"kernel: PoolWeighted: len(weights) = 0, want 2", func() { PoolWeighted(nil, x(3), x(6), nil, 1, 2, 3) }},
		{"kernel: PoolMax: len(mask) = 1, want 2", func() { PoolMax(nil, x(3), x(6), x(1), 1, 2, 3) }},
		{"kernel: PoolMaxGrad: len(dx) = 5, want 6", func() { PoolMaxGrad(nil, x(5), x(6), x(2), x(3), 1, 2, 3) }},
		{"kernel: SwiGLU: len(x) = 6, want 12", func() { SwiGLU(nil, x(6), x(6), 2, 3) }},
		{"kernel: SwiGLUGrad: len(dy) = 12, want 6", func() { SwiGLUGrad(nil, x(12), x(12), x(12), 2, 3) }},
		{"kernel: ResizeRGB: len(src) = 1, want 12", func() { ResizeRGB(make([]byte, 3), 1, 1, make([]byte, 1), 2, 2, Box) }},
		{"kernel: ResizeRGB: unknown filter 9", func() { ResizeRGB(make([]byte, 3), 1, 1, make([]byte, 12), 2, 2, 9) }},
		{"kernel: ResizeRGBView: src of 11 bytes with rows of 3·2 every 6, want at least 12", func() {
			ResizeRGBView(make([]byte, 3), Whole(1, 1), make([]byte, 11), 6, 2, 2, Box)
		}},
		{"a size is not positive", func() { ResizeRGB(nil, 0, 1, make([]byte, 12), 2, 2, Box) }},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			defer func() {
				if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), tt.want) {
					t.Errorf("panic %v, want %q", r, tt.want)
				}
			}()
			tt.f()
		})
	}
}

// TestResizeFilters compares small pictures with the definition: a weighted mean
// per axis, each rounded to a byte.
func TestResizeFilters(t *testing.T) {
	window := map[Filter]func(x float64) float64{
		Box: func(x float64) float64 {
			if x > -0.5 && x <= 0.5 {
				return 1
			}
			return 0
		},
		Bilinear: func(x float64) float64 { return max(0, 1-math.Abs(x)) },
		Bicubic: func(x float64) float64 {
			switch x = math.Abs(x); {
			case x < 1:
				return 1.5*x*x*x - 2.5*x*x + 1
			case x < 2:
				return -0.5*x*x*x + 2.5*x*x - 4*x + 2
			}
			return 0
		},
		Lanczos: func(x float64) float64 {
			switch {
			case x == 0:
				return 1
			case math.Abs(x) >= 3:
				return 0
			}
			return 3 * math.Sin(math.Pi*x) * math.Sin(math.Pi*x/3) / (math.Pi * math.Pi * x * x)
		},
	}
	axis := func(in []float64, out int, f Filter) []float64 {
		y := make([]float64, out)
		scale := float64(len(in)) / float64(out)
		for o := range y {
			var sum, weight float64
			for i, v := range in {
				w := window[f]((float64(i) + 0.5 - (float64(o)+0.5)*scale) / max(scale, 1))
				sum += w * v
				weight += w
			}
			y[o] = min(max(math.Floor(sum/weight+0.5), 0), 255)
		}
		return y
	}
	eachTier(t, func(t *testing.T) {
		rng := newRand(17)
		for f := Box; f <= Lanczos; f++ {
			for _, size := range [][4]int{{1, 1, 3, 4}, {5, 7, 5, 7}, {9, 6, 9, 3}, {9, 6, 4, 6}, {13, 11, 5, 30}, {40, 3, 7, 2}, {6, 6, 1, 1}} {
				sw, sh, dw, dh := size[0], size[1], size[2], size[3]
				src, dst := make([]byte, 3*sw*sh), make([]byte, 3*dw*dh+8)
				for i := range src {
					src[i] = byte(rng.IntN(256))
				}
				for i := range dst {
					dst[i] = 0xa5
				}
				ResizeRGB(dst[4:len(dst)-4], dw, dh, src, sw, sh, f)
				for _, i := range []int{0, 3, len(dst) - 4, len(dst) - 1} {
					if dst[i] != 0xa5 {
						t.Fatalf("%v %v: wrote outside of dst", f, size)
					}
				}
				for c := range 3 {
					middle := make([][]float64, sh)
					for y := range middle {
						in := make([]float64, sw)
						for x := range in {
							in[x] = float64(src[3*(y*sw+x)+c])
						}
						middle[y] = axis(in, dw, f)
					}
					for x := range dw {
						in := make([]float64, sh)
						for y := range in {
							in[y] = middle[y][x]
						}
						for y, want := range axis(in, dh, f) {
							// Fixed point may decide a tie otherwise.
							if got := float64(dst[4+3*(y*dw+x)+c]); math.Abs(got-want) > 1 {
								t.Fatalf("%v %v: (%d, %d) = %v, want %v", f, size, x, y, got, want)
							}
						}
					}
				}
			}
		}
	})
}
