package report

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSpread(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		at := make([]float64, 1+rng.IntN(12))
		for i := range at {
			at[i] = math.Round(rng.Float64() * 100)
		}
		gap := 1 + 7*rng.Float64()
		got := spread(at, gap, 0, 100)
		order := argsort(at)
		for i := range order[1:] {
			a, b := order[i], order[i+1]
			if got[b]-got[a] < gap-1e-9 {
				t.Fatalf("spread(%v, %v) = %v: %v and %v are too close", at, gap, got, got[a], got[b])
			}
		}
		if lo, hi := slices.Min(got), slices.Max(got); lo < -1e-9 || hi > 100+1e-9 {
			t.Fatalf("spread(%v, %v) = %v leaves [0, 100]", at, gap, got)
		}
	}
	if got := spread([]float64{10, 50, 90}, 10, 0, 100); !slices.Equal(got, []float64{10, 50, 90}) {
		t.Errorf("spread moved %v, which is apart", got)
	}
	if got := spread([]float64{50, 50}, 10, 0, 100); !slices.Equal(got, []float64{45, 55}) {
		t.Errorf("spread of two equal places is %v, want 45 and 55", got)
	}
}

func TestNumbers(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{num3(.7525), ".752"}, {num3(1), "1.000"}, {num3(0), ".000"}, {num3(-.0314), "−.031"}, {num3(-1.5), "−1.500"}, {num3(12.25), "12.250"}, {num3(math.NaN()), "–"}, {num2(.999), "1.00"},
		{compact(0), "0"}, {compact(.25), ".25"}, {compact(-.5), "−.5"}, {compact(1), "1"}, {compact(2000), "2000"}, {compact(15000), "15k"}, {compact(2.5e6), "2.5M"}, {compact(.0005), "5e−4"}, {compact(-3), "−3"},
		{count(5), "5"}, {count(150000), "150\u202f000"}, {count(1234567), "1\u202f234\u202f567"}, {count(-123), "-123"}, {count(-1234), "-1\u202f234"},
		{plain(19), "19"}, {plain(1.25), "1.2"}, {plain(20), "20"},
		{outOf100(0), "no query"}, {outOf100(.001), "fewer than 1 query in 100"}, {outOf100(.01), "1 query in 100"}, {outOf100(.7525), "75 queries in 100"}, {outOf100(.999), "more than 99 queries in 100"}, {outOf100(1), "every query"},
		{shorten("abc", 3), "abc"}, {shorten("äbcd", 3), "äb…"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, tt := range []struct {
		low, high float64
		n         int
		want      []string
	}{
		{0, 1, 5, []string{"0", ".2", ".4", ".6", ".8", "1"}},
		{0, .8, 4, []string{"0", ".2", ".4", ".6", ".8"}},
		{-.6, 1.1, 4, []string{"−.5", "0", ".5", "1"}},
		{1, 2344, 4, []string{"1000", "2000"}},
		{0, 1.5e-3, 4, []string{"0", "5e−4", "1e−3", "1.5e−3"}},
		{3, 3, 4, []string{"3"}},
	} {
		var got []string
		for _, k := range roundTicks(tt.low, tt.high, tt.n, compact) {
			got = append(got, k.Label)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("roundTicks(%v, %v, %d) = %q, want %q", tt.low, tt.high, tt.n, got, tt.want)
		}
	}
}

func TestCurves(t *testing.T) {
	if got := moving([]float64{1, 2, 3, math.NaN(), 5}, 3); !slices.Equal(got, []float64{1.5, 2, 2.5, 4, 5}) {
		t.Errorf("moving mean %v", got)
	}
	long := make([]float64, 1001)
	for i := range long {
		long[i] = float64(i)
	}
	got := thin(long, 11)
	if len(got) != 11 || got[0] != 0 || got[10] != 1000 || got[5] != 500 {
		t.Errorf("thin = %v", got)
	}
}

// The scale runs from the paper's colour to a strong one without a step back.
func TestHeatScale(t *testing.T) {
	for i := 1; i < len(roleHeat); i++ {
		if luminance(roleHeat[i].light) >= luminance(roleHeat[i-1].light) || luminance(roleHeat[i].dark) <= luminance(roleHeat[i-1].dark) {
			t.Errorf("step %d of the heat map turns back", i)
		}
	}
}
