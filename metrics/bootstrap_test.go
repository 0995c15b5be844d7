package metrics

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestBootstrapCoversTheMean draws many samples from a known distribution and counts how often the interval holds its
// mean: about 95 %. Values of a cluster are nearly equal, so an interval that ignores clusters is far too narrow.
func TestBootstrapCoversTheMean(t *testing.T) {
	const trials, clusters, each = 400, 60, 8
	rng := rand.New(rand.NewPCG(1, 1))
	covered, naive := 0, 0
	for range trials {
		var values []float64
		var of []int
		for c := range clusters {
			base := rng.NormFloat64()
			for range each {
				values = append(values, 3+base+0.1*rng.NormFloat64())
				of = append(of, 1000-c)
			}
		}
		holds := func(i Interval) bool { return i.Low <= 3 && 3 <= i.High }
		if holds(Bootstrap(values, of, 300, rng)) {
			covered++
		}
		if holds(Bootstrap(values, nil, 100, rng)) {
			naive++
		}
	}
	if share := float64(covered) / trials; share < 0.90 || share > 0.98 {
		t.Errorf("the cluster interval covers the mean in %.3f of the trials", share)
	}
	if share := float64(naive) / trials; share > 0.70 {
		t.Errorf("an interval without clusters covers the mean in %.3f of the trials: the test has no power", share)
	}
}

// TestBootstrapNormal compares the width with that of the normal approximation, ±1.96 σ/√n.
func TestBootstrapNormal(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	values := make([]float64, 500)
	for i := range values {
		values[i] = float64(i % 2)
	}
	got := Bootstrap(values, nil, 4000, rng)
	se := 0.5 / math.Sqrt(500)
	near(t, "mean", got.Mean, 0.5, 1e-15)
	near(t, "low", got.Low, 0.5-1.96*se, 0.1*se*1.96)
	near(t, "high", got.High, 0.5+1.96*se, 0.1*se*1.96)
}

func TestBootstrapIsDeterministic(t *testing.T) {
	values, clusters := []float64{1, 2, 3, 4, 5, 9}, []int{7, 7, -1, -1, 3, 3}
	run := func() []Interval {
		rng := rand.New(rand.NewPCG(9, 9))
		auc, err := BootstrapAUC([]float32{1, 2, 3}, []float32{2, 0}, 50, rng)
		if err != nil {
			t.Fatal(err)
		}
		return []Interval{Bootstrap(values, clusters, 50, rng), BootstrapMedian(values, clusters, 50, rng), auc}
	}
	if a, b := run(), run(); !slices.Equal(a, b) {
		t.Errorf("two runs differ: %v, %v", a, b)
	}
}

// TestBootstrapMedian compares with a plain implementation that draws the same clusters.
func TestBootstrapMedian(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	for range 30 {
		var values []float64
		var clusters []int
		for i := range 3 + rng.IntN(30) {
			values = append(values, float64(rng.IntN(9))/2)
			clusters = append(clusters, i/3)
		}
		n := clusters[len(clusters)-1] + 1
		plain := rand.New(rand.NewPCG(4, 4))
		medians := make([]float64, 40)
		for s := range medians {
			var drawn []float64
			for range n {
				c := plain.IntN(n)
				for i, v := range values {
					if clusters[i] == c {
						drawn = append(drawn, v)
					}
				}
			}
			medians[s] = Median(drawn)
		}
		slices.Sort(medians)
		got := BootstrapMedian(values, clusters, 40, rand.New(rand.NewPCG(4, 4)))
		want := Interval{Median(values), quantile(medians, 0.025), quantile(medians, 0.975)}
		if got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

// TestBootstrapAUC compares with AUC of the same draws.
func TestBootstrapAUC(t *testing.T) {
	p, n := []float32{3, 1, 2, 2, 5}, []float32{2, 0, 1, 3}
	slices.Sort(p)
	slices.Sort(n)
	plain := rand.New(rand.NewPCG(5, 5))
	aucs := make([]float64, 200)
	for s := range aucs {
		var a, b []float32
		for range n {
			b = append(b, n[plain.IntN(len(n))])
		}
		for range p {
			a = append(a, p[plain.IntN(len(p))])
		}
		v, err := AUC(a, b)
		if err != nil {
			t.Fatal(err)
		}
		aucs[s] = v
	}
	slices.Sort(aucs)
	mean, err := AUC(p, n)
	if err != nil {
		t.Fatal(err)
	}
	got, err := BootstrapAUC(p, n, 200, rand.New(rand.NewPCG(5, 5)))
	if err != nil {
		t.Fatal(err)
	}
	near(t, "auc", got.Mean, mean, 1e-15)
	near(t, "low", got.Low, quantile(aucs, 0.025), 1e-15)
	near(t, "high", got.High, quantile(aucs, 0.975), 1e-15)
	if _, err := BootstrapAUC(nil, n, 10, plain); err == nil {
		t.Error("no positives: no error")
	}
}

func TestBootstrapDifference(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 1))
	a, b := make([]float64, 200), make([]float64, 200)
	for i := range a {
		hard := 10 * rng.NormFloat64() // what the queries have in common
		a[i], b[i] = hard+0.5+0.1*rng.NormFloat64(), hard
	}
	d := BootstrapDifference(a, b, nil, 500, rng)
	if d.Low < 0.4 || d.High > 0.6 || d.Low > 0.5 || d.High < 0.5 {
		t.Errorf("paired difference %v, want about 0.5", d)
	}
	if x := Bootstrap(a, nil, 500, rng); x.High-x.Low < 10*(d.High-d.Low) {
		t.Errorf("pairing does not help: %v, %v", x, d)
	}
	panics(t, "lengths", func() { BootstrapDifference(a, b[1:], nil, 10, rng) })
}

func TestBootstrapEdges(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 1))
	if got := Bootstrap([]float64{2, 2, 2}, nil, 10, rng); got != (Interval{2, 2, 2}) {
		t.Errorf("equal values: %v", got)
	}
	for _, values := range [][]float64{nil, {1, math.NaN()}, {math.Inf(1), 1}} {
		if got := Bootstrap(values, nil, 10, rng); !math.IsNaN(got.Mean) || !math.IsNaN(got.Low) || !math.IsNaN(got.High) {
			t.Errorf("%v: %v, want NaN", values, got)
		}
	}
	if got := BootstrapMedian(nil, nil, 10, rng); !math.IsNaN(got.Mean) {
		t.Errorf("median of nothing: %v", got)
	}
	panics(t, "clusters", func() { Bootstrap([]float64{1}, []int{1, 2}, 10, rng) })
	panics(t, "resamples", func() { Bootstrap([]float64{1}, nil, 0, rng) })
	panics(t, "rng", func() { Bootstrap([]float64{1}, nil, 1, nil) })
}

func BenchmarkBootstrap(b *testing.B) {
	values, clusters := make([]float64, 1600), make([]int, 1600)
	for i := range values {
		values[i], clusters[i] = float64(i%3), i/8
	}
	rng := rand.New(rand.NewPCG(8, 1))
	for b.Loop() {
		Bootstrap(values, clusters, 1000, rng)
	}
}
