package judge

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"relsim/judge/judgetest"
	"relsim/retrieval"
)

func TestPlanRefuses(t *testing.T) {
	pictures := judgetest.Pictures(4)
	for _, tt := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Model = " " }, `model " ": want a name`},
		{func(c *Config) { c.Top = 0 }, "Top is 0: want 1 or more"},
		{func(c *Config) { c.Top = 3 }, "Top is 3: the rankings hold the first 2"},
		{func(c *Config) { c.Queries = 5 }, "Queries is 5: the rankings have 4"},
		{func(c *Config) { c.Queries = -1 }, "Queries is -1"},
		{func(c *Config) { c.Methods = []string{"ours", "lpips"} }, `no method "lpips": want ours, theirs`},
		{func(c *Config) { c.Methods = []string{"ours", "ours"} }, `"ours" is named twice`},
		{func(c *Config) { c.Methods = []string{} }, "no methods"},
		{func(c *Config) { v := 2.5; c.Temperature = &v }, "Temperature is 2.5"},
		{func(c *Config) { v := math.NaN(); c.Temperature = &v }, "Temperature is NaN"},
		{func(c *Config) { c.Detail = "medium" }, `Detail is "medium"`},
		{func(c *Config) { c.MaxSide = 1 }, "MaxSide is 1 pixels"},
		{func(c *Config) { c.MaxTokens = -1 }, "MaxTokens is -1"},
	} {
		_, err := NewPlan(t.Context(), judgetest.Rankings(4, 2), config(tt.change), sourceOf(pictures), 1)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "judge: ") {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewPlan(ended, judgetest.Rankings(4, 2), config(), sourceOf(pictures), 1); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
}

// TestPlanDraws: the queries are drawn by the seed, and in order.
func TestPlanDraws(t *testing.T) {
	pictures := judgetest.Pictures(40)
	r := judgetest.Rankings(40, 1)
	draw := func(n int, seed uint64) []int {
		return newPlan(t, r, config(func(c *Config) { c.Queries, c.Seed = n, seed }), pictures).Queries
	}
	a, b, c := draw(10, 1), draw(10, 1), draw(10, 2)
	if len(a) != 10 || !slices.IsSorted(a) || !slices.Equal(a, b) || slices.Equal(a, c) || len(slices.Compact(slices.Clone(a))) != 10 {
		t.Errorf("%v, %v, %v", a, b, c)
	}
	if all := draw(0, 1); len(all) != 40 {
		t.Errorf("%d of 40", len(all))
	}
}

// TestImageTokens: the examples of OpenAI's guide.
func TestImageTokens(t *testing.T) {
	for _, tt := range []struct {
		rule          string
		width, height int
		detail        string
		want          int
	}{
		{"tiles", 1024, 1024, "high", 765}, {"tiles", 2048, 4096, "high", 1105}, {"tiles", 4096, 8192, "low", 85}, {"tiles", 512, 512, "", 255}, {"tiles", 1, 1, "auto", 255},
		{"patches", 1024, 1024, "", 1024}, {"patches", 1800, 2400, "", 1452}, {"patches", 1, 33, "", 2}, {"patches", 100000, 1, "", 1536},
		{"300", 5, 5, "high", 300},
	} {
		rule, err := ParseImageTokens(tt.rule)
		if err != nil {
			t.Fatal(err)
		}
		if got := rule(tt.width, tt.height, tt.detail); got != tt.want {
			t.Errorf("%s of %d×%d %s: %d, want %d", tt.rule, tt.width, tt.height, tt.detail, got, tt.want)
		}
	}
	for _, name := range []string{"", "0", "-1", "many", "1e9", "10000000"} {
		if _, err := ParseImageTokens(name); err == nil {
			t.Errorf("%q is a rule", name)
		}
	}
}

// put scores a pair in one order.
func put(t *testing.T, p *Plan, s *Store, first, second int, score float64) {
	t.Helper()
	a := Answer{Key: p.question(first, second).Key, Text: "x", AnsweredBy: "gpt-4o-2024-08-06", Usage: Usage{10, 1}}
	if a.Score = &score; score < 0 {
		a.Score, a.Failure = nil, FailureNoScore
	}
	if err := s.Add(a); err != nil {
		t.Fatal(err)
	}
}

// TestTally compares with means by hand.
func TestTally(t *testing.T) {
	pictures := judgetest.Pictures(5)
	p := newPlan(t, judgetest.Rankings(5, 2), config(func(c *Config) { c.Top = 2 }), pictures)
	s := openStore(t)
	// Ours of query i: i+1, i+2; theirs: i-1, i-2. Query 4's (4, 1) is ours at rank 2, and 4's own only.
	for i := range 5 {
		put(t, p, s, i, (i+1)%5, float64(i+4)) // 4 5 6 7 8
		put(t, p, s, i, (i+2)%5, float64(i))   // 0 1 2 3 4
		put(t, p, s, i, (i+4)%5, 2)
		put(t, p, s, i, (i+3)%5, 1)
	}
	r := p.Tally(s, 2000)
	check := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	if r.Complete != 5 || r.Pairs != 20 || r.Questions != 20 || r.Answered != 20 || r.Unanswered != 0 || r.Usage != (Usage{200, 20}) {
		t.Fatalf("%+v", r)
	}
	check("ours", r.Methods[0].Score.Mean, 4)
	check("ours, rank 1", r.Methods[0].Ranks[0].Mean, 6)
	check("ours, rank 2", r.Methods[0].Ranks[1].Mean, 2)
	check("theirs", r.Methods[1].Score.Mean, 1.5)
	check("theirs, low", r.Methods[1].Score.Low, 1.5)
	check("theirs, high", r.Methods[1].Score.High, 1.5)
	check("difference", r.Difference[0].Score.Mean, 2.5)
	// The means of ours are 2 3 4 5 6: the mean of five draws has the standard error √2/√5.
	if d := r.Methods[0].Score; d.Low < 4-1.96*.6325-.15 || d.Low > 4-1.96*.6325+.15 || d.High < 4+1.96*.6325-.15 || d.High > 4+1.96*.6325+.15 {
		t.Errorf("interval %v", d)
	}
	if o := r.OtherModels(); len(o) != 0 {
		t.Errorf("other models %v", o)
	}
	// Where one method lacks a score, the query is left out of both.
	put(t, p, s, 4, 0, -1)
	r = p.Tally(s, 10)
	if r.Complete != 4 || r.Methods[0].Missing != 1 || r.Methods[1].Missing != 0 || r.Failures[FailureNoScore] != 1 {
		t.Errorf("%+v", r)
	}
	check("ours of four", r.Methods[0].Score.Mean, 3.5)
	check("theirs of four", r.Methods[1].Score.Mean, 1.5)
	// Nothing at all.
	r = p.Tally(openStore(t), 10)
	if r.Complete != 0 || r.Methods[0].Score != nil || r.Difference != nil || r.Unanswered != 20 {
		t.Errorf("%+v", r)
	}
}

// TestTallyBothOrders: the mean of both orders, and what the order does.
func TestTallyBothOrders(t *testing.T) {
	pictures := judgetest.Pictures(4)
	r := judgetest.Rankings(4, 1)
	r.Queries, r.Methods = r.Queries[:2], r.Methods[:1] // 0 finds 1, 1 finds 2
	for i := range r.Queries {
		r.Queries[i].Rows = r.Queries[i].Rows[:1]
	}
	p := newPlan(t, r, config(func(c *Config) { c.BothOrders = true }), pictures)
	s := openStore(t)
	put(t, p, s, 0, 1, 8)
	put(t, p, s, 1, 0, 6)
	put(t, p, s, 1, 2, 3)
	if got := p.Tally(s, 10); got.Complete != 1 || got.Methods[0].Score.Mean != 7 || got.Position.Pairs != 1 || got.Methods[0].Missing != 1 {
		t.Errorf("%+v", got)
	}
	put(t, p, s, 2, 1, 4)
	got := p.Tally(s, 100)
	if got.Complete != 2 || got.Methods[0].Score.Mean != 5.25 || got.Position.Pairs != 2 || got.Position.Difference.Mean != .5 || got.Position.Absolute.Mean != 1.5 {
		t.Errorf("%+v, %+v", got, got.Position)
	}
}

func TestGroup(t *testing.T) {
	r := &Result{Methods: []MethodScore{{Name: "relsim", Kind: retrieval.Trained}, {Name: "literal-twin", Kind: retrieval.Baseline}, {Name: "mine", Kind: retrieval.Trained}, {Name: "hog", Kind: retrieval.Baseline}}}
	var got []string
	for _, m := range r.Methods {
		got = append(got, r.Group(m))
	}
	if want := []string{"ours", "tuned", "tuned", "baselines"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
