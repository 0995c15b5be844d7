package judge

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"relsim/metrics"
)

// Table is the result as text.
func (r *Result) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: judged by %s, prompt %s; %s of each query and method, %d of %d queries have every score\n\n", r.Where(), r.Model, r.Prompt, firstOf(r.Top), r.Complete, r.Queries)
	ranks := r.Top > 1
	width := len("method")
	for _, m := range r.Methods {
		width = max(width, len([]rune(m.Name)))
	}
	name := func(s string) { b.WriteString(s + strings.Repeat(" ", width-len([]rune(s)))) }
	name("method")
	fmt.Fprintf(&b, "  %-21s  %-21s", "score, 0 to 10", "first − this")
	for k := range r.Top {
		if ranks {
			fmt.Fprintf(&b, "  %-8s", fmt.Sprintf("rank %d", k+1))
		}
	}
	b.WriteString("  pairs without\n")
	for i, m := range r.Methods {
		name(m.Name)
		score, difference := "–", ""
		if m.Score != nil {
			score = bracketed(*m.Score)
			if i > 0 {
				difference = bracketed(r.Difference[i-1].Score)
			}
		}
		fmt.Fprintf(&b, "  %-21s  %-21s", score, difference)
		for k := range r.Top {
			if !ranks {
				break
			}
			text := "–"
			if m.Score != nil {
				text = fmt.Sprintf("%.2f", m.Ranks[k].Mean)
			}
			fmt.Fprintf(&b, "  %-8s", text)
		}
		fmt.Fprintf(&b, "  %d\n", m.Missing)
	}
	fmt.Fprintf(&b, "\n%d pairs, %d questions: %d answered", r.Pairs, r.Questions, r.Answered)
	for _, reason := range slices.Sorted(maps.Keys(r.Failures)) {
		fmt.Fprintf(&b, ", %d of these %s", r.Failures[reason], reason)
	}
	if r.Unanswered > 0 {
		fmt.Fprintf(&b, ", %d not", r.Unanswered)
	}
	fmt.Fprintf(&b, "; %d and %d tokens", r.Usage.Input, r.Usage.Output)
	if r.Price != nil {
		fmt.Fprintf(&b, ", %.4g", r.Cost)
	}
	b.WriteString("\n")
	if p := r.Position; p != nil {
		fmt.Fprintf(&b, "the query first scores %s higher than second, over %d pairs; the two are %.2f apart\n", bracketed(p.Difference), p.Pairs, p.Absolute.Mean)
	}
	return b.String()
}

// bracketed writes a score with its interval.
func bracketed(v metrics.Interval) string {
	return fmt.Sprintf("%.2f [%.2f, %.2f]", v.Mean, v.Low, v.High)
}

// firstOf says how many pictures of a query are judged.
func firstOf(top int) string {
	if top == 1 {
		return "the first picture"
	}
	return fmt.Sprintf("the first %d pictures", top)
}
