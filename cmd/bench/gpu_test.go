package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestRated holds ops against ceilings of 100 bytes and 1,000 FLOP a second.
func TestRated(t *testing.T) {
	m := &gpuMeasurer{}
	m.report.Copy, m.report.Product = &spread{Median: 100}, &spread{Median: 1000}
	ops := m.rated([]gpuOp{
		{Op: "add", Bytes: 50, Times: []float64{1, 2, 1}},
		{Op: "linear", Bytes: 50, FLOPs: 4000, Times: []float64{5, 5, 8}},
		{Op: "thin linear", Bytes: 200, FLOPs: 100, Times: []float64{4}},
	})
	for i, want := range []struct {
		bound string
		share float64
	}{{"memory", .5}, {"products", .8}, {"memory", .5}} {
		if o := ops[i]; o.Bound != want.bound || o.Share != want.share || o.Times != nil {
			t.Errorf("%+v, want %v", o, want)
		}
	}
	if s := ops[0].Seconds; s != (spread{Median: 1, Min: 1, Max: 2, N: 3}) {
		t.Errorf("seconds %+v", s)
	}
}

// TestBars takes the least op of those that are no product and larger than a cache, and the ratios that were wanted.
func TestBars(t *testing.T) {
	m := &gpuMeasurer{}
	m.pair("train", "pictures/s", []float64{90, 100, 110}, map[string][]float64{"eager": {50, 50, 50}, "compile": {100, 100, 120}}, map[string]float64{"compile": .9})
	m.pair("alone", "pictures/s", []float64{1}, nil, map[string]float64{"compile": 1})
	m.report.Ops = []gpuOp{
		{Op: "add", Bytes: 1 << 29, Share: .9}, {Op: "norm", Bytes: 1 << 29, Share: .7, Backward: true}, {Op: "small", Bytes: 100, Share: .1},
		{Op: "linear", Bytes: 1 << 29, FLOPs: 1, Share: .2},
	}
	bars := m.report.bars()
	if len(bars) != 2 || bars[0].met || !strings.Contains(bars[0].got, "70 % or more; least: norm, backward") {
		t.Fatalf("%+v, want a bar that the norm misses, and one of training", bars)
	}
	if b := bars[1]; !b.met || b.got != "0.92" || b.want != "≥ 0.90" || b.what != "train, beside compile" {
		t.Errorf("%+v", b)
	}
	p := m.report.Beside[0]
	if r := p.Ratios["eager"]; r.Median != 2 || r.Min != 1.8 || r.Max != 2.2 {
		t.Errorf("ratios %+v", r)
	}
	page := m.report.markdown()
	for _, want := range []string{
		"# GPU check: no GPU was measured", "**Not everything was measured.**", "| missed |", "| met |",
		"| train | 100 (90.0–110) pictures/s | compile | 100 (100–120) pictures/s | **0.92** (0.90–1.00) |", "| alone | 1.00 (1.00–1.00) pictures/s |  |  |  |",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

// TestChecks reads what was run before, and finds lines that are not whole.
func TestChecks(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "checks")
	m := &gpuMeasurer{options: gpuOptions{out: dir, checks: file, render: true}}
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("tests of cuda\tpassed\t3.5\t\nmemcheck\tnot run\t0\tcompute-sanitizer is not there | really\n")
	if err := m.read(); err != nil {
		t.Fatal(err)
	}
	want := []gpuCheck{{Name: "tests of cuda", Status: "passed", Seconds: 3.5}, {Name: "memcheck", Status: "not run", Note: "compute-sanitizer is not there | really"}}
	if !slices.Equal(m.report.Checks, want) {
		t.Errorf("%+v, want %+v", m.report.Checks, want)
	}
	if err := m.write(); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "report.md"))
	if err != nil || !strings.Contains(string(page), `| memcheck | not run | 0 | compute-sanitizer is not there \| really |`) {
		t.Errorf("%v\n%s", err, page)
	}
	again := &gpuMeasurer{options: m.options}
	if err := again.read(); err != nil || again.report.Time != m.report.Time || again.report.Kernels != m.report.Kernels {
		t.Errorf("read again: %+v, %v", again.report, err)
	}
	for _, text := range []string{"name\tpassed\t1\n", "name\tpassed\tx\t\n"} {
		write(text)
		if err := m.read(); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := os.WriteFile(m.jsonPath(), []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := m.read(); err == nil {
		t.Error("half a report is no error")
	}
}

// TestSameWork lets results differ as far as 8 bits of precision do, and no further.
func TestSameWork(t *testing.T) {
	m := &gpuMeasurer{}
	for _, tt := range []struct {
		what         string
		ours, theirs []float64
		same         bool
	}{
		{"train", []float64{5, 4}, []float64{5.1, 4.05}, true},
		{"train", []float64{5, 4}, []float64{5, 4.2}, false},
		{"train", []float64{.004}, []float64{.0045}, true},
		{"train", []float64{5}, []float64{math.NaN()}, false},
		{"train", []float64{5, 4}, []float64{5}, false},
		{"embed", []float64{.6, .8}, []float64{.61, .79}, true},
		{"embed", []float64{.6, .8}, []float64{.8, .6}, false},
	} {
		if err := m.sameWork(tt.what, tt.ours, tt.theirs); (err == nil) != tt.same {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
