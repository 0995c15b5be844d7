package report

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"relsim/judge"
	"relsim/metrics"
)

//go:embed judge.html
var judgeHTML string

var judgeTemplate = newPage(judgeHTML)

// WriteJudge writes what a vision model thinks of what was retrieved into dir, which it makes if it is not there:
//
//	judge.html             one page that needs nothing else
//	judge.json             the [judge.Result], indented
//	judge.png, judge.svg   the score of every method, beside those that the paper's authors published
func WriteJudge(dir string, r *judge.Result) error {
	if r == nil {
		return errors.New("report: write: no result")
	}
	fail := func(name string, err error) error {
		return fmt.Errorf("report: write %s: %w", filepath.Join(dir, name), err)
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fail("judge.json", err)
	}
	files := map[string][]byte{"judge.json": append(data, '\n')}
	f := judgeFigure(r)
	if files["judge.png"], err = f.PNG(); err != nil {
		return fail("judge.png", err)
	}
	if files["judge.svg"], err = f.SVG(); err != nil {
		return fail("judge.svg", err)
	}
	if files["judge.html"], err = renderJudge(r, f); err != nil {
		return fail("judge.html", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: write: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := writeFile(filepath.Join(dir, name), files[name]); err != nil {
			return fail(name, err)
		}
	}
	return nil
}

// judgePage is what judge.html shows.
type judgePage struct {
	Title, Lead string
	CSS         template.CSS
	Figure      *shownFigure
	Summary     []string
	Warnings    []string
	Methods     table
	Facts       []Fact
	Prompt      string
}

func renderJudge(r *judge.Result, f *figure) ([]byte, error) {
	w, err := f.Inline(wide, "fig wide")
	if err != nil {
		return nil, err
	}
	n, err := f.Inline(narrow, "fig narrow")
	if err != nil {
		return nil, err
	}
	p := judgePage{
		Title:   "Retrieval, judged by " + r.Model,
		Lead:    fmt.Sprintf("%s · %s · %s of %s queries with every score · %s questions", r.Where(), firstPictures(r.Top), count(r.Complete), count(r.Queries), count(r.Questions)),
		CSS:     styleSheet(),
		Figure:  &shownFigure{f, w, n},
		Summary: judgeSummary(r), Warnings: judgeWarnings(r),
		Methods: judgeTable(r), Facts: judgeFacts(r), Prompt: r.PromptText,
	}
	var b bytes.Buffer
	if err := judgeTemplate.Execute(&b, &p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func firstPictures(top int) string {
	if top == 1 {
		return "the first picture of each query"
	}
	return fmt.Sprintf("the first %d pictures of each query", top)
}

// judgeSummary says who is best, and where the difference is one.
func judgeSummary(r *judge.Result) []string {
	if r.Complete == 0 {
		return []string{"No query has a score for every method: nothing can be compared."}
	}
	first := r.Methods[0]
	out := []string{fmt.Sprintf("What %s finds scores %s on average.", first.Name, scoreText(*first.Score))}
	var above, below, open []string
	for i, d := range r.Difference {
		name := fmt.Sprintf("%s (%s)", d.Other, scoreText(*r.Methods[i+1].Score))
		switch {
		case d.Score.Low > 0:
			below = append(below, name)
		case d.Score.High < 0:
			above = append(above, name)
		default:
			open = append(open, name)
		}
	}
	for _, part := range []struct {
		list []string
		text string
	}{{below, "It scores higher than %s."}, {above, "It scores lower than %s."}, {open, "No difference is shown to %s."}} {
		if len(part.list) > 0 {
			out = append(out, fmt.Sprintf(part.text, strings.Join(part.list, ", ")))
		}
	}
	return out
}

func scoreText(v metrics.Interval) string {
	if reach := scoreReach(v); reach != "" {
		return signed(v.Mean) + " " + reach
	}
	return signed(v.Mean)
}

// scoreReach is the interval of a score in brackets, or nothing where it is a point.
func scoreReach(v metrics.Interval) string {
	if v.Low == v.High {
		return ""
	}
	return "[" + signed(v.Low) + ",\u00a0" + signed(v.High) + "]"
}

// signed writes a score, or a difference of two.
func signed(v float64) string { return strings.Replace(fmt.Sprintf("%.2f", v), "-", "−", 1) }

// judgeWarnings say what to keep in mind.
func judgeWarnings(r *judge.Result) []string {
	var out []string
	if others := r.OtherModels(); len(others) > 0 {
		out = append(out, fmt.Sprintf("%s was asked, and %s answered.", r.Model, strings.Join(others, ", ")))
	}
	if left := r.Queries - r.Complete; left > 0 {
		out = append(out, fmt.Sprintf("%s of %s queries lack a score for some method, and are left out of all.", count(left), count(r.Queries)))
	}
	var failures []string
	for _, reason := range slices.Sorted(maps.Keys(r.Failures)) {
		failures = append(failures, fmt.Sprintf("%s %s", count(r.Failures[reason]), reason))
	}
	if len(failures) > 0 {
		out = append(out, "Answers without a score: "+strings.Join(failures, ", ")+".")
	}
	if r.Unanswered > 0 {
		out = append(out, fmt.Sprintf("%s of %s questions have no answer.", count(r.Unanswered), count(r.Questions)))
	}
	return out
}

func judgeTable(r *judge.Result) table {
	t := table{Label: "Scores of all methods", Corner: "method", Columns: []column{{"score", "mean over queries and ranks, 0 to 10"}}}
	if r.Top > 1 {
		for k := range r.Top {
			t.Columns = append(t.Columns, column{fmt.Sprintf("rank %d", k+1), ""})
		}
	}
	if len(r.Methods) > 1 {
		t.Columns = append(t.Columns, column{r.Methods[0].Name + " − this", "query by query"})
	}
	t.Columns = append(t.Columns, column{"pairs without", "a score"})
	of := func(v metrics.Interval) cell { return cell{Value: signed(v.Mean), Reach: scoreReach(v)} }
	best := -1
	for i, m := range r.Methods {
		if m.Score != nil && (best < 0 || m.Score.Mean > r.Methods[best].Score.Mean) {
			best = i
		}
	}
	for i, m := range r.Methods {
		row := tableRow{Name: m.Name, Kind: m.Kind}
		if m.Score == nil {
			for range len(t.Columns) - 1 {
				row.Cells = append(row.Cells, cell{Value: "–"})
			}
		} else {
			row.Cells = append(row.Cells, of(*m.Score))
			row.Cells[0].Best = i == best
			if r.Top > 1 {
				for _, v := range m.Ranks {
					row.Cells = append(row.Cells, of(v))
				}
			}
			switch {
			case i > 0:
				row.Cells = append(row.Cells, of(r.Difference[i-1].Score))
			case len(r.Methods) > 1:
				row.Cells = append(row.Cells, cell{})
			}
		}
		row.Cells = append(row.Cells, cell{Value: count(m.Missing)})
		t.Rows = append(t.Rows, row)
	}
	return t
}

func judgeFacts(r *judge.Result) []Fact {
	temperature := "the endpoint's own"
	if r.Temperature != nil {
		temperature = fmt.Sprint(*r.Temperature)
	}
	var by []string
	for _, name := range slices.Sorted(maps.Keys(r.AnsweredBy)) {
		by = append(by, fmt.Sprintf("%s (%s)", name, count(r.AnsweredBy[name])))
	}
	facts := []Fact{
		{"Data", r.Where()}, {"Model asked", r.Model}, {"Model that answered", strings.Join(by, ", ")}, {"Endpoint", r.Endpoint},
		{"Prompt", r.Prompt}, {"Temperature", temperature}, {"Detail", r.Detail}, {"Pictures", fmt.Sprintf("longer side %d pixels at most", r.MaxSide)},
		{"Pairs", fmt.Sprintf("%s, of which %s questions are distinct", count(r.Pairs), count(r.Questions))},
		{"Tokens", fmt.Sprintf("%s of questions, %s of answers", count(r.Usage.Input), count(r.Usage.Output))},
	}
	if r.Price != nil {
		facts = append(facts, Fact{"Cost", fmt.Sprintf("%.4g, at %v and %v for a million tokens", r.Cost, r.Price.Input, r.Price.Output)})
	}
	if r.BothOrders {
		facts = append(facts, Fact{"Order of pictures", "both, averaged"})
	} else {
		facts = append(facts, Fact{"Order of pictures", "the query first"})
	}
	if p := r.Position; p != nil {
		facts = append(facts, Fact{"What the order does", fmt.Sprintf("the query first scores %s higher than second, over %s pairs; the two are %.2f apart on average", scoreText(p.Difference), count(p.Pairs), p.Absolute.Mean)})
	}
	facts = append(facts, Fact{"Intervals", fmt.Sprintf("the middle 95 %% of %s resamples of queries (seed %d)", count(r.Resamples), r.Seed)})
	return slices.DeleteFunc(facts, func(f Fact) bool { return f.Value == "" })
}
