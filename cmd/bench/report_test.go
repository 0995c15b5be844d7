package main

import "testing"

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 1234.5: "1,234", 1234567: "1,234,567", .01234: "0.0123", -1234: "-1,234", 1e-9: "0.000000", 9.996: "10.00",
	} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %q, want %q", v, got, want)
		}
	}
}

func TestSpread(t *testing.T) {
	if got, want := spreadOf([]float64{3, 1, 2, 10}), (spread{2.5, 1, 10, 4}); got != want {
		t.Errorf("spread %v, want %v", got, want)
	}
	if got := spreadOf(nil); got != (spread{}) {
		t.Errorf("spread of nothing %v", got)
	}
}

func TestMarkdown(t *testing.T) {
	ratio, share, scaling := spread{1.5, 1.25, 1.75, 3}, spread{.8, .79, .81, 3}, spread{1.9, 1.8, 1.95, 3}
	r := &report{
		Machine: "Some CPU", OS: "linux/amd64", Tier: "avx512", Go: "go1", Threads: 2, Cores: 4, Rounds: 3, Peer: "PyTorch 2",
		Results: []result{
			{
				Name: "step/x", About: "training step", Bar: "1.2", Unit: "pictures", Units: 8, FLOPs: 1e12, Mallocs: 6,
				Ours:     &side{Seconds: spread{4, 3, 5, 3}, CPU: 7.5, PeakBytes: 3 << 30, BaseBytes: 1 << 30, Parameters: 86e6},
				Peer:     &side{Seconds: spread{6, 5, 7, 3}, CPU: 11, PeakBytes: 6 << 30, BaseBytes: 2 << 30, Path: "oneDNN"},
				PeerName: "PyTorch", Ratio: &ratio, Memory: .5, Share: &share, Scaling: &scaling,
			},
			{Name: "limits", Parts: []partResult{
				{Name: "adds", Threads: 1, Unit: "FLOP/s", Speed: spread{Median: 100e9}},
				{Name: "adds", Threads: 2, Unit: "FLOP/s", Speed: spread{Median: 200e9}},
			}},
			{Name: "kernel/y", Parts: []partResult{
				{Name: "a", Pass: forward, Threads: 2, Unit: "B/s", Speed: spread{Median: 20e9}, Share: &share},
				{Name: "b", Pass: gradX, Threads: 2, Unit: "B/s", Speed: spread{Median: 30e9}},
			}},
		},
	}
	const want = `Some CPU, linux/amd64, kernels avx512, go1, threads: 2 of 4, rounds: 3. Peer: PyTorch 2.

| work | times the peer's speed | bar | ours / peer | CPU s, ours / peer | peak memory, ours / peer |
|---|---|---|---|---|---|
| step/x: training step | **1.50** (1.25–1.75) | ≥ 1.2 | 2.00 pictures/s / 1.33 pictures/s (PyTorch, oneDNN) | 7.50 / 11.0 | 3,072 MiB / 6,144 MiB = 0.50 (0.50 without what the processes hold before) |

| step | GFLOP | share of the peak | 1 → 2 threads | parameters | allocations a step |
|---|---|---|---|---|---|
| step/x | 1,000 | 80 % (79–81) | 1.90 (1.80–1.95) | 86.0 M | 6.00 |

| limits | threads: 1 | threads: 2 |
|---|---|---|
| adds | 100 GFLOP/s | 200 GFLOP/s |

| kernel/y | forward | input gradient |
|---|---|---|
| a | 80 % (79–81), 20.0 GB/s |  |
| b |  | 30.0 GB/s |
`
	if got := r.markdown(); got != want {
		t.Errorf("the report is\n%s\nwant\n%s", got, want)
	}
}

// TestAgree gives each comparison results that are the same but for rounding, and others.
func TestAgree(t *testing.T) {
	near := ready{Parameters: 3, Check: []float64{2, 1}}
	for name, same := range map[string]func(a, b []float64) error{
		"losses": sameLosses, "direction": sameDirection,
	} {
		p := pair{same: same}
		if err := agree(p, near, ready{Parameters: 3, Check: []float64{2.001, 1.0005}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, other := range []ready{
			{Parameters: 4, Check: near.Check}, {Parameters: 3, Check: []float64{2}}, {Parameters: 3, Check: []float64{1, 2}}, {Parameters: 3, Check: []float64{0, 0}},
		} {
			if agree(p, near, other) == nil {
				t.Errorf("%s: %v and %v are taken for the same work", name, near, other)
			}
		}
	}
	if err := sameNeighbours([]float64{1, 2, 3}, []float64{3, 1, 4}); err != nil {
		t.Error(err)
	}
	if sameNeighbours([]float64{1, 2, 3}, []float64{3, 5, 4}) == nil {
		t.Error("other neighbours are taken for the same")
	}
	if err := sameColours([]float64{.5}, []float64{.505}); err != nil {
		t.Error(err)
	}
	if sameColours([]float64{.5}, []float64{.52}) == nil {
		t.Error("other colours are taken for the same")
	}
}
