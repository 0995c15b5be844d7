package report

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relsim/metrics"
	"relsim/study"
)

// tally is one of three methods, the last without votes.
func tally() *study.Tally {
	share := func(x float64) *metrics.Interval { return &metrics.Interval{Mean: x, Low: x - .06, High: x + .06} }
	return &study.Tally{
		Data: "scenes", Ours: "relsim", Votes: 260, Raters: []string{"anna", "ben"},
		Pairs: []study.Pair{
			{Against: "clip", Ours: 100, Tie: 30, Theirs: 30, OursShare: share(.625), TheirsShare: share(.1875)},
			{Against: "pixel-l2 <&>", Ours: 1, Tie: 94, Theirs: 5, OursShare: share(.1), TheirsShare: share(.05)},
			{Against: "none"},
		},
	}
}

func TestStudyFigure(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	if err := WriteStudy(dir, tally()); err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(filepath.Join(dir, "study.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{">clip<", ">pixel-l2 &lt;&amp;&gt;<", ">160 votes<", ">100<", ">30<", ">DreamSim<", ">427<", ">880 votes<", ">800 votes<",
		"Reference: counts published in arXiv:2512.07833", "clip: 100 for relsim, 30 ties, 30 for it."} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("the figure has no %q", want)
		}
	}
	for _, not := range []string{">none<", ">1<"} { // no votes; no room for the number
		if strings.Contains(string(svg), not) {
			t.Errorf("the figure has %q", not)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "study.png"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := png.Decode(bytes.NewReader(data)); err != nil {
		t.Error(err)
	}
	if folder := os.Getenv("SCREENSHOTS"); folder != "" {
		os.WriteFile(filepath.Join(folder, "study-figure.png"), data, 0o666)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "study.json")); err != nil || !strings.Contains(string(data), `"against": "clip"`) {
		t.Errorf("study.json: %v", err)
	}
	if err := WriteStudy(dir, &study.Tally{Pairs: []study.Pair{{Against: "clip"}}}); err == nil || !strings.Contains(err.Error(), "no votes") {
		t.Errorf("no votes: %v", err)
	}
	// Of every published row, the counts are those of 880 or 800 votes.
	for _, p := range publishedStudy {
		if n := p.ours + p.tie + p.theirs; n != 880 && n != 800 {
			t.Errorf("%s: %d votes", p.against, n)
		}
	}
}
