package study

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"relsim/metrics"
)

// Tally is what the votes of a study say.
type Tally struct {
	Data   string   `json:"data"`
	Ours   string   `json:"ours"`
	Votes  int      `json:"votes"`
	Raters []string `json:"raters"`
	Pairs  []Pair   `json:"pairs"` // in the order of the plan

	// Agreement of the raters about questions that several have answered; nil: there are none.
	Agreement *Agreement `json:"agreement,omitempty"`
	// SideA is the share of A among the votes for a picture. Sides are drawn at random: 0.5 but for chance and habit.
	SideA     *metrics.Interval `json:"side_a,omitempty"`
	Resamples int               `json:"resamples"`
}

// Pair is how one method fared against ours.
type Pair struct {
	Against string `json:"against"`
	Ours    int    `json:"ours"` // votes
	Tie     int    `json:"tie"`
	Theirs  int    `json:"theirs"`
	Queries int    `json:"queries"` // that were answered

	// Shares of the votes, and the share of ours less that of theirs. Absent without votes.
	OursShare   *metrics.Interval `json:"ours_share,omitempty"`
	TieShare    *metrics.Interval `json:"tie_share,omitempty"`
	TheirsShare *metrics.Interval `json:"theirs_share,omitempty"`
	Lead        *metrics.Interval `json:"lead,omitempty"`

	Asked     int `json:"asked"`     // triplets of the plan
	Identical int `json:"identical"` // queries drawn at which both find the same picture; nobody was asked
}

// Total is the number of votes.
func (p Pair) Total() int { return p.Ours + p.Tie + p.Theirs }

// Agreement is how well raters agree on ours, tie and theirs.
type Agreement struct {
	Alpha *float64 `json:"alpha,omitempty"` // Krippendorff's, nominal; absent where all votes are alike
	Pairs float64  `json:"pairs"`           // share of the pairs of answers to one question that are equal
	Units int      `json:"questions"`       // that several raters have answered
}

// Count tallies votes, of one file or of several of one plan. A rater's answer to a question counts once: in two files it
// is an error. Intervals are percentile bootstrap 95 % intervals over queries.
func Count(files []*Votes, resamples int, seed uint64) (*Tally, error) {
	if len(files) == 0 {
		return nil, errors.New("study: tally: no votes")
	}
	if resamples < 1 {
		return nil, fmt.Errorf("study: tally: %d resamples: want at least 1", resamples)
	}
	plan := files[0].Plan
	t := &Tally{Data: plan.Data, Ours: plan.Ours, Resamples: resamples}
	type unit struct {
		query string
		other int
	}
	seen := make(map[voteKey]bool)
	values := make([][3][]float64, len(plan.Others)) // of ours, tie, theirs
	clusters := make([][]int, len(plan.Others))
	queries := make(map[string]int)
	ratings := make(map[unit][]int)
	var units []unit
	var sideA []float64
	var sideOf []int
	for n, v := range files {
		if err := plan.same(v.Plan); err != nil {
			return nil, fmt.Errorf("study: tally: file %d is %w", n+1, err)
		}
		for _, x := range v.List {
			if key := (voteKey{x.Rater, x.Task}); seen[key] {
				return nil, fmt.Errorf("study: tally: file %d: rater %s has answered task %s in another file, too", n+1, x.Rater, x.Task)
			} else {
				seen[key] = true
			}
			if !slices.Contains(t.Raters, x.Rater) {
				t.Raters = append(t.Raters, x.Rater)
			}
			if _, ok := queries[x.Query]; !ok {
				queries[x.Query] = len(queries)
			}
			t.Votes++
			k, category := v.other(x), 1
			if x.Answer != Same {
				chosen := x.A
				a := 1.0
				if x.Answer == B {
					chosen, a = x.B, 0
				}
				category = 2
				if chosen == plan.Ours {
					category = 0
				}
				sideA, sideOf = append(sideA, a), append(sideOf, queries[x.Query])
			}
			for c := range 3 {
				value := 0.0
				if c == category {
					value = 1
				}
				values[k][c] = append(values[k][c], value)
			}
			clusters[k] = append(clusters[k], queries[x.Query])
			u := unit{x.Query, k}
			if len(ratings[u]) == 0 {
				units = append(units, u)
			}
			ratings[u] = append(ratings[u], category)
		}
	}
	slices.Sort(t.Raters)
	interval := func(values []float64, clusters []int) *metrics.Interval {
		if len(values) == 0 {
			return nil
		}
		x := metrics.Bootstrap(values, clusters, resamples, rand.New(rand.NewPCG(seed, 0)))
		return &x
	}
	for k, name := range plan.Others {
		ours, tie, theirs := values[k][0], values[k][1], values[k][2]
		p := Pair{Against: name, Ours: count(ours), Tie: count(tie), Theirs: count(theirs), Asked: plan.Asked[k], Identical: plan.Identical[k]}
		distinct := slices.Clone(clusters[k])
		slices.Sort(distinct)
		p.Queries = len(slices.Compact(distinct))
		p.OursShare, p.TieShare, p.TheirsShare = interval(ours, clusters[k]), interval(tie, clusters[k]), interval(theirs, clusters[k])
		lead := make([]float64, len(ours))
		for i := range lead {
			lead[i] = ours[i] - theirs[i]
		}
		p.Lead = interval(lead, clusters[k])
		t.Pairs = append(t.Pairs, p)
	}
	t.SideA = interval(sideA, sideOf)
	list := make([][]int, len(units))
	for i, u := range units {
		list[i] = ratings[u]
	}
	if a := metrics.Agree(list, 3); a.Units > 0 {
		t.Agreement = &Agreement{Pairs: a.Pairs, Units: a.Units}
		if !math.IsNaN(a.Alpha) {
			t.Agreement.Alpha = &a.Alpha
		}
	}
	return t, nil
}

// count is the number of ones.
func count(values []float64) int {
	n := 0
	for _, v := range values {
		n += int(v)
	}
	return n
}

// Table returns the tally as text.
func (t *Tally) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d votes of %d raters; %s against\n\n", t.Data, t.Votes, len(t.Raters), t.Ours)
	fmt.Fprintf(&b, "%-22s %6s  %-22s %-22s %-22s %s\n", "method", "votes", "for "+short(t.Ours, 16), "tie", "for the method", "lead")
	share := func(n int, x *metrics.Interval) string {
		if x == nil {
			return "–"
		}
		return fmt.Sprintf("%d  %.1f %% [%.1f, %.1f]", n, 100*x.Mean, 100*x.Low, 100*x.High)
	}
	for _, p := range t.Pairs {
		lead := "–"
		if p.Lead != nil {
			lead = fmt.Sprintf("%+.1f %% [%+.1f, %+.1f]", 100*p.Lead.Mean, 100*p.Lead.Low, 100*p.Lead.High)
		}
		fmt.Fprintf(&b, "%-22s %6d  %-22s %-22s %-22s %s\n", short(p.Against, 22), p.Total(), share(p.Ours, p.OursShare), share(p.Tie, p.TieShare),
			share(p.Theirs, p.TheirsShare), lead)
	}
	b.WriteString("\nIntervals: 95 %, bootstrap over queries.")
	for _, p := range t.Pairs {
		if p.Identical > 0 {
			fmt.Fprintf(&b, "\n%s finds the same picture as %s for %d more queries that were drawn: they were not asked and are not counted.", p.Against, t.Ours, p.Identical)
		}
	}
	if a := t.Agreement; a != nil {
		fmt.Fprintf(&b, "\nAgreement on %d questions with several answers: %.1f %% of pairs", a.Units, 100*a.Pairs)
		if a.Alpha != nil {
			fmt.Fprintf(&b, ", Krippendorff's α %.2f", *a.Alpha)
		}
		b.WriteString(".")
	}
	if s := t.SideA; s != nil {
		fmt.Fprintf(&b, "\nThe left picture has %.1f %% [%.1f, %.1f] of the votes for one.", 100*s.Mean, 100*s.Low, 100*s.High)
	}
	b.WriteString("\n")
	return b.String()
}

func short(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}
