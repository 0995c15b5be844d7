package report

import (
	"bytes"
	"encoding/json"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relsim/judge"
	"relsim/metrics"
	"relsim/retrieval"
)

// judged is a result with every part. Its numbers are made up.
func judged() *judge.Result {
	at := func(mean float64) metrics.Interval {
		return metrics.Interval{Mean: mean, Low: mean - .31, High: min(10, mean+.29)}
	}
	r := &judge.Result{
		Data: "scenes", Split: "test", Model: "gpt-4o", Endpoint: "https://api.openai.com/v1", Prompt: "relation-1", PromptText: judge.DefaultPrompt().Text(), Temperature: new(float64), MaxSide: 1024,
		BothOrders: true, Top: 3, Queries: 200, Complete: 196, Seed: 1, Pairs: 4800, Questions: 7312, Answered: 7306, Unanswered: 6,
		Failures: map[string]int{judge.FailureRefused: 4, judge.FailureNoScore: 1}, AnsweredBy: map[string]int{"gpt-4o-2024-08-06": 7300, "gpt-4o-mini": 6},
		Usage: judge.Usage{Input: 5_200_000, Output: 14_600}, Cost: 13.146, Price: &judge.Price{Input: 2.5, Output: 10}, Resamples: 1000,
		Position: &judge.Position{Pairs: 3650, Difference: at(.12), Absolute: at(.8)}, Published: judge.PublishedScores(),
	}
	for i, m := range []struct {
		name, kind string
		mean       float64
	}{
		{"relsim", retrieval.Trained, 6.9}, {"literal-twin", retrieval.Baseline, 4.2}, {"clip-tuned-on-scenes", retrieval.Trained, 6.1}, {"lpips-alex", retrieval.Baseline, 3.4},
		{"clip", retrieval.Baseline, 5.5}, {"hog", retrieval.Baseline, 2.1}, {"pixels", retrieval.Baseline, 9.9}, {"random-conv <&>", retrieval.Baseline, 0.32},
	} {
		s := at(m.mean)
		r.Methods = append(r.Methods, judge.MethodScore{Name: m.name, Kind: m.kind, Score: &s, Ranks: []metrics.Interval{at(m.mean), at(m.mean), at(m.mean)}, Missing: i})
		if i > 0 {
			r.Difference = append(r.Difference, judge.Difference{First: "relsim", Other: m.name, Score: at(6.9 - m.mean)})
		}
	}
	return r
}

func writeJudged(t *testing.T, r *judge.Result) map[string][]byte {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "new")
	if err := WriteJudge(dir, r); err != nil {
		t.Fatal(err)
	}
	files, err := readAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestWriteJudge(t *testing.T) {
	files := writeJudged(t, judged())
	page := string(files["judge.html"])
	checkJudgePage(t, files["judge.html"])
	for _, want := range []string{
		"Retrieval, judged by gpt-4o", "scenes, test · the first 3 pictures of each query · 196 of 200 queries with every score · 7\u202f312 questions",
		"What relsim finds scores 6.90 [6.59,\u00a07.19] on average.", "It scores higher than literal-twin (4.20 [3.89,\u00a04.49])", "It scores lower than pixels",
		"gpt-4o was asked, and gpt-4o-mini answered.", "4 of 200 queries lack a score for some method", "Answers without a score: 1 no score, 4 refused.", "6 of 7\u202f312 questions have no answer.",
		"the query first scores 0.12 [−0.19,\u00a00.41] higher than second, over 3\u202f650 pairs", "random-conv &lt;&amp;&gt;", "relation-1", "told without naming any object",
		"13.15, at 2.5 and 10 for a million tokens", "rank 3", "<b>9.90</b>",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if im, err := png.Decode(bytes.NewReader(files["judge.png"])); err != nil || im.Bounds().Dx() != int((wide+2*margin)*dpi/72) {
		t.Errorf("judge.png: %v", err)
	}
	svg := string(files["judge.svg"])
	for _, want := range []string{"published: other data and judge", ">DreamSim<", ">literal-twin<", ">clip-tuned-on-sce…<", ">tuned<", "Published: Tuned CLIP 6.02."} {
		if !strings.Contains(svg, want) {
			t.Errorf("judge.svg does not say %q", want)
		}
	}
	if strings.Contains(svg, ">CLIP-I<") || strings.Contains(svg, ">LPIPS<") {
		t.Error("a published score that stands at a method of ours has a row of its own")
	}
	var back judge.Result
	if err := json.Unmarshal(files["judge.json"], &back); err != nil || back.Methods[0].Score.Mean != 6.9 || back.Complete != 196 {
		t.Errorf("judge.json: %v", err)
	}
}

// checkJudgePage: every tag is closed, and nothing is loaded.
func checkJudgePage(t *testing.T, page []byte) {
	t.Helper()
	parse(t, page)
	text := strings.ReplaceAll(string(page), "https://api.openai.com/v1", "")
	for _, bad := range []string{"NaN", "Inf", "ZgotmplZ", "<no value>", "%!", "http://", "https://", "url(", "@import", "<script", "<link"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
}

// TestWriteJudgeOfNothing: no query is complete, one method, nothing published.
func TestWriteJudgeOfNothing(t *testing.T) {
	r := judged()
	r.Complete, r.Difference, r.Position, r.Published, r.Price = 0, nil, nil, nil, nil
	r.Methods = []judge.MethodScore{{Name: "relsim", Kind: retrieval.Trained, Missing: 200}}
	files := writeJudged(t, r)
	checkJudgePage(t, files["judge.html"])
	if !strings.Contains(string(files["judge.html"]), "No query has a score for every method") {
		t.Error("the page does not say that there is nothing")
	}
	if err := WriteJudge(t.TempDir(), nil); err == nil {
		t.Error("a report of no result")
	}
	if bytes.Contains(files["judge.svg"], []byte("published")) {
		t.Error("a key of what is not there")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteJudge(file, r); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("into a file: %v", err)
	}
}
