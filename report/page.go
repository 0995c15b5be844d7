package report

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"relsim/metrics"
	"relsim/retrieval"
)

// partsHTML is what the pages share: the head, figures and tables.
//
//go:embed parts.html
var partsHTML string

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

var pageTemplate = newPage(pageHTML)

// newPage reads the template of a page, which has a title, a lead and the CSS, in the words of partsHTML.
func newPage(html string) *template.Template {
	return template.Must(template.Must(template.New("page").Parse(partsHTML)).Parse(html))
}

var errNoPixels = errors.New("no pixels")

// maxThumbs bounds the thumbnails of a page in bytes, so that the page stays
// below 4 MB.
const maxThumbs = 2_800_000

// page is what page.html shows. Empty parts are left out.
type page struct {
	Title   string
	CSS     template.CSS
	Lead    string
	Summary summary

	Bars, Recall, Families, Space, Training *shownFigure

	Same         string // "relation" or "caption"
	Methods      table  // image to image
	Recalls      table  // recall@k for every k
	Differences  table
	Triplets     table
	Captions     table
	HeldOut      table
	HeldOutK     table
	HeldOutText  string
	HeldOutWords template.HTML
	HeldOutTrip  table
	HeldOutCapts table
	ByFamily     table
	NearMethod   string
	NearNamedBy  string // how pictures get their names
	Near         []nearRow
	NearOthers   table
	NotLearned   int
	LooksLearned []nearRow // found, but for the wrong reason
	NotFound     []nearRow
	NearCount    int
	SpaceText    string
	SpaceAttr    string
	SpaceRel     string

	Examples     []example
	ExamplesLeft int
	Skipped      Skipped
	SkippedMore  int
	Facts        []Fact
	Command      string
	Intervals    string
	Terms        []Fact
}

type shownFigure struct {
	*figure
	Wide, Narrow template.HTML
}

// A table is shown in a box of its own that scrolls.
type table struct {
	Caption string // printed above; empty: the section's heading says it
	Label   string // for those who do not see where the table stands
	Corner  string
	Columns []column
	Rows    []tableRow
}

type column struct{ Name, Note string }

type tableRow struct {
	Name  string
	Kind  string // css class
	Cells []cell
}

type cell struct {
	Value, Reach string
	Best         bool
}

type nearRow struct {
	Relation            string
	HeldOut             bool
	True, Near, AUC     cell
	Verdict, Class, Why string
	Called, NamedBy     string
}

type example struct {
	Query      pictured
	Relation   string
	Caption    string
	Why        string
	Rows, More []exampleRow
}

type exampleRow struct {
	Method string
	Kind   string
	Hits   []hit
}

type pictured struct {
	ID, Alt string
	Src     template.HTMLAttr // src="data:…", or nothing
}

type hit struct {
	pictured
	Rank   int
	Mark   string // css class: right, twin, wrong
	Symbol string
	Label  string
}

// render makes the page.
func render(in *Input, figs map[string]*figure) ([]byte, error) {
	r := in.Result
	p := page{
		Title:   in.Title,
		CSS:     styleSheet(),
		Summary: summarise(r),
		Same:    sameWord(r),
		Skipped: in.Skipped,
		Command: in.Facts.Command,
	}
	if p.Title == "" {
		p.Title = "relsim report"
	}
	p.Skipped.Count = max(p.Skipped.Count, len(p.Skipped.List))
	p.SkippedMore = p.Skipped.Count - len(p.Skipped.List)
	p.Lead = lead(r)
	for name, to := range map[string]**shownFigure{"bars": &p.Bars, "recall": &p.Recall, "families": &p.Families, "space": &p.Space, "training": &p.Training} {
		f := figs[name]
		if f == nil {
			continue
		}
		w, err := f.Inline(wide, "fig wide")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		n, err := f.Inline(narrow, "fig narrow")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		*to = &shownFigure{f, w, n}
	}

	p.Methods = metricTable("Image to image, all methods", "", r.Methods, imageMetrics, mainColumns)
	p.Recalls = metricTable("Recall at k, all methods", "", r.Methods, imageMetrics, recallColumns)
	p.Triplets = metricTable("Triplets, all methods", "", r.Methods, func(m *retrieval.MethodResult) retrieval.Metrics { return m.Triplets }, mainColumns)
	p.Captions = captionTable("Captions, all methods", "", r.Methods)
	p.Differences = differenceTable(r.Differences)
	if len(r.HeldOut) > 0 {
		p.HeldOut = metricTable("Image to image, relations never trained on", "Image to image", r.HeldOut, imageMetrics, mainColumns)
		p.HeldOutK = metricTable("Recall at k, relations never trained on", "", r.HeldOut, imageMetrics, recallColumns)
		p.HeldOutTrip = metricTable("Triplets, relations never trained on", "Relation or look-alike", r.HeldOut, func(m *retrieval.MethodResult) retrieval.Metrics { return m.Triplets }, mainColumns)
		p.HeldOutCapts = captionTable("Captions of relations never trained on", "Pictures and captions", r.HeldOut)
		p.HeldOutText, p.HeldOutWords = heldOutText(r), heldOutWords(r)
	}
	p.ByFamily = familyTable(r)
	if ours := mainMethod(r.Methods); ours != nil {
		p.NearMethod = ours.Name
		for _, n := range nearMisses(r, ours.Name) {
			row := nearRowOf(n)
			p.Near = append(p.Near, row)
			switch verdictOf(n) {
			case retrieval.Understood:
				continue
			case retrieval.Unlearned:
				p.NotFound = append(p.NotFound, row)
			default:
				p.LooksLearned = append(p.LooksLearned, row)
			}
			p.NotLearned++
		}
		p.NearCount = len(p.Near)
		p.NearNamedBy = namedBy(p.Near)
		p.NearOthers = nearTable(r, ours.Name)
	}
	if r.Space != nil {
		p.SpaceText, p.SpaceAttr, p.SpaceRel = spaceSentence(r.Space), r.Space.Attribute, r.Space.Relational
	}
	p.Examples, p.ExamplesLeft = examples(in)
	p.Facts = facts(in)
	p.Intervals = intervals(r)
	p.Terms = terms(r, p.Same)

	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, &p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// styleSheet returns the page's style with the colours of the figures.
func styleSheet() template.CSS {
	var light, dark strings.Builder
	for _, r := range roles {
		fmt.Fprintf(&light, "--%s:%s;", r.name, hex(r.light))
		fmt.Fprintf(&dark, "--%s:%s;", r.name, hex(r.dark))
	}
	return template.CSS(":root{color-scheme:light dark;" + light.String() + "}\n" +
		"@media screen and (prefers-color-scheme:dark){:root{" + dark.String() + "}}\n" + pageCSS)
}

func lead(r *retrieval.Result) string {
	var parts []string
	if r.Data != "" {
		parts = append(parts, r.Data)
	}
	if r.Split != "" && !strings.HasSuffix(r.Data, r.Split) {
		parts = append(parts, "split “"+r.Split+"”")
	}
	parts = append(parts, count(r.Queries)+" queries", "gallery of "+count(r.Gallery)+" pictures")
	if r.Captions > 0 {
		parts = append(parts, count(r.Captions)+" captions")
	}
	return strings.Join(parts, " · ")
}

func intervals(r *retrieval.Result) string {
	what := "queries"
	if r.Clusters != "" && r.Clusters != "query" {
		what = "clusters of queries that share a " + r.Clusters
	}
	n := ""
	if r.Resamples > 0 {
		n = count(r.Resamples) + " resamples of "
	}
	return "Numbers in brackets are 95 % intervals: the middle 95 % of the values that a bootstrap of " + n + what + " gives; differences are paired, query by query."
}

func imageMetrics(m *retrieval.MethodResult) retrieval.Metrics { return m.ImageToImage }

// order of the metrics in tables; others follow by name.
var metricOrder = []string{"recall@1", "recall@5", "recall@10", "map", "ndcg@10", "mrr", "median_rank", "twin@1", "conflict", "aligned", "control"}

// mainColumns chooses every metric but the recalls at unusual k.
func mainColumns(name string) bool {
	return !strings.HasPrefix(name, "recall@") || slices.Contains(metricOrder, name)
}

func recallColumns(name string) bool { return strings.HasPrefix(name, "recall@") }

// metricTitle is how a metric is headed, and what it means.
func metricTitle(name string) column {
	if k, ok := strings.CutPrefix(name, "recall@"); ok {
		return column{"R@" + k, "share of queries with a right picture among the first " + k}
	}
	switch name {
	case "map":
		return column{"mAP", "mean average precision: are all right pictures near the top?"}
	case "ndcg@10":
		return column{"nDCG@10", "normalised discounted gain of the first ten"}
	case "mrr":
		return column{"MRR", "mean of one over the rank of the first right picture"}
	case "median_rank":
		return column{"median rank", "of the first right picture; lower is better"}
	case "twin@1":
		return column{"twin@1", "share of queries whose nearest picture is a look-alike; lower is better"}
	}
	return column{name, ""}
}

func lowerIsBetter(name string) bool { return name == "median_rank" || name == "twin@1" }

func metricCell(name string, v metrics.Interval) cell {
	if name != "median_rank" {
		return cell{Value: num3(v.Mean), Reach: reach(v)}
	}
	c := cell{Value: plain(v.Mean)}
	if v.Low < v.High {
		c.Reach = "[" + plain(v.Low) + ",\u00a0" + plain(v.High) + "]"
	}
	return c
}

// plain writes a number with one decimal where it has one.
func plain(v float64) string { return trimZeros(strconv.FormatFloat(v, 'f', 1, 64)) }

// metricTable puts the metrics that any method has into columns.
func metricTable(label, caption string, methods []retrieval.MethodResult, of func(*retrieval.MethodResult) retrieval.Metrics, keep func(string) bool) table {
	t := table{Label: label, Caption: caption, Corner: "Method"}
	var names []string
	for i := range methods {
		for name := range of(&methods[i]) {
			if keep(name) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return table{}
	}
	place := func(name string) int {
		if k, err := strconv.Atoi(strings.TrimPrefix(name, "recall@")); err == nil {
			return k
		}
		if i := slices.Index(metricOrder, name); i >= 0 {
			return 1e6 + i
		}
		return 2e6
	}
	sort.Slice(names, func(i, j int) bool {
		if a, b := place(names[i]), place(names[j]); a != b {
			return a < b
		}
		return names[i] < names[j]
	})
	for _, name := range names {
		t.Columns = append(t.Columns, metricTitle(name))
	}
	for i := range methods {
		row := tableRow{Name: methods[i].Name, Kind: methods[i].Kind}
		for _, name := range names {
			c := cell{Value: "–"}
			if v, ok := of(&methods[i])[name]; ok {
				c = metricCell(name, v)
				c.Best = methods[i].Kind != retrieval.ChanceKind && i == bestOf(methods, of, name)
			}
			row.Cells = append(row.Cells, c)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// bestOf returns the index of the method with the best mean, chance left out;
// -1 if several share it or only one was measured.
func bestOf(methods []retrieval.MethodResult, of func(*retrieval.MethodResult) retrieval.Metrics, name string) int {
	best, measured, shared := -1, 0, false
	for i := range methods {
		v, ok := of(&methods[i])[name]
		if !ok || methods[i].Kind == retrieval.ChanceKind {
			continue
		}
		measured++
		switch {
		case best < 0:
			best = i
		case v.Mean == of(&methods[best])[name].Mean:
			shared = true
		case (v.Mean > of(&methods[best])[name].Mean) != lowerIsBetter(name):
			best, shared = i, false
		}
	}
	if shared || measured < 2 {
		return -1
	}
	return best
}

// captionTable has both directions side by side, for the methods that know
// captions.
func captionTable(label, caption string, methods []retrieval.MethodResult) table {
	to := metricTable("", "", methods, func(m *retrieval.MethodResult) retrieval.Metrics { return m.ImageToCaption }, mainColumns)
	from := metricTable("", "", methods, func(m *retrieval.MethodResult) retrieval.Metrics { return m.CaptionToImage }, mainColumns)
	t := table{Label: label, Caption: caption, Corner: "Method"}
	for _, c := range to.Columns {
		t.Columns = append(t.Columns, column{"image→caption " + c.Name, c.Note})
	}
	for _, c := range from.Columns {
		t.Columns = append(t.Columns, column{"caption→image " + c.Name, c.Note})
	}
	for i, m := range methods {
		if len(m.ImageToCaption) == 0 && len(m.CaptionToImage) == 0 {
			continue
		}
		row := tableRow{Name: m.Name, Kind: m.Kind}
		if to.Rows != nil {
			row.Cells = append(row.Cells, to.Rows[i].Cells...)
		}
		if from.Rows != nil {
			row.Cells = append(row.Cells, from.Rows[i].Cells...)
		}
		t.Rows = append(t.Rows, row)
	}
	if len(t.Rows) == 0 {
		return table{}
	}
	return t
}

func differenceTable(ds []retrieval.Difference) table {
	if len(ds) == 0 {
		return table{}
	}
	// The tables of methods know how to order metrics: a difference is a row
	// with two groups of them.
	rows := make([]retrieval.MethodResult, len(ds))
	for i, d := range ds {
		all := make(retrieval.Metrics)
		for name, v := range d.ImageToImage {
			all[name] = v
		}
		for name, v := range d.Triplets {
			all[name] = v
		}
		rows[i] = retrieval.MethodResult{Name: d.Method + " − " + d.Against, ImageToImage: all}
	}
	t := metricTable("Paired differences", "", rows, imageMetrics, mainColumns)
	t.Corner = "Difference"
	for i := range t.Rows {
		for j := range t.Rows[i].Cells {
			t.Rows[i].Cells[j].Best = false
		}
	}
	return t
}

func heldOutText(r *retrieval.Result) string {
	s := ""
	if r.HeldOutQueries > 0 {
		s = count(r.HeldOutQueries) + " queries show relations that no method was trained on; "
	}
	return s + "the gallery is the full one, so pictures of the trained relations compete."
}

// heldOutWords says that new words cannot be searched by, and what was
// measured.
func heldOutWords(r *retrieval.Result) template.HTML {
	s := "<b>What does not carry over: words.</b> A caption of a relation never trained holds words never trained, and by those nothing can be found; " +
		"only words that it shares with trained captions can help."
	ours := mainMethod(r.HeldOut)
	for _, d := range []struct {
		name string
		of   func(*retrieval.MethodResult) retrieval.Metrics
	}{
		{"From picture to caption", func(m *retrieval.MethodResult) retrieval.Metrics { return m.ImageToCaption }},
		{"From caption to picture", func(m *retrieval.MethodResult) retrieval.Metrics { return m.CaptionToImage }},
	} {
		v, ok := d.of(ours)[r1]
		if !ok {
			continue
		}
		s += fmt.Sprintf(" %s, %s has R@1 %s", d.name, template.HTMLEscapeString(ours.Name), bracket(v))
		if chance := byKind(r.HeldOut, retrieval.ChanceKind); chance != nil {
			if c, ok := d.of(chance)[r1]; ok {
				s += " (chance " + num3(c.Mean) + ")"
				switch {
				case v.High < c.Mean:
					s += ", below chance"
				case v.Low <= c.Mean:
					s += ", not told from chance"
				}
			}
		}
		s += "."
	}
	return template.HTML(s)
}

// familyTable has one row per relation: every figure of the main method, and
// recall@1 of the others.
func familyTable(r *retrieval.Result) table {
	groups := [][]retrieval.MethodResult{withFamilies(r.Methods), withFamilies(r.HeldOut)}
	var t table
	ours := ""
	for g, methods := range groups {
		names := familyNames(methods)
		if len(names) == 0 {
			continue
		}
		if ours == "" {
			t = table{Label: "Figures by relation", Corner: "Relation"}
			ours = mainMethod(methods).Name
			for _, c := range []string{"queries", ours + " R@1", ours + " R@10", ours + " mAP", ours + " twin@1", ours + " conflict"} {
				t.Columns = append(t.Columns, column{Name: c})
			}
			for _, m := range methods {
				if m.Name != ours {
					t.Columns = append(t.Columns, column{Name: m.Name + " R@1"})
				}
			}
		}
		main := byName(methods, ours)
		if main == nil {
			continue
		}
		for _, name := range names {
			row := tableRow{Name: name}
			if g == 1 {
				row.Name, row.Kind = name+" (never trained)", "heldout"
			}
			f, ok := main.Families[name]
			if !ok {
				continue
			}
			value := func(f retrieval.Family, metric string, v float64) cell {
				c := cell{Value: num3(v)}
				if i, ok := f.Intervals[metric]; ok {
					c.Reach = reach(i)
				}
				return c
			}
			optional := func(metric string, v *float64) cell {
				if v == nil {
					return cell{Value: "–"}
				}
				return value(f, metric, *v)
			}
			row.Cells = append(row.Cells, cell{Value: count(f.Queries)}, value(f, "recall@1", f.Recall1), value(f, "recall@10", f.Recall10),
				value(f, "map", f.MAP), optional("twin@1", f.Twin1), optional("conflict", f.Conflict))
			for _, c := range t.Columns[6:] {
				other := byName(methods, strings.TrimSuffix(c.Name, " R@1"))
				if other == nil {
					row.Cells = append(row.Cells, cell{Value: "–"})
				} else if of, ok := other.Families[name]; ok {
					row.Cells = append(row.Cells, value(of, "recall@1", of.Recall1))
				} else {
					row.Cells = append(row.Cells, cell{Value: "–"})
				}
			}
			t.Rows = append(t.Rows, row)
		}
	}
	return t
}

func nearRowOf(n retrieval.NearMiss) nearRow {
	row := nearRow{
		Relation: n.Relation,
		HeldOut:  n.HeldOut,
		True:     cell{Value: num3(n.TrueNamed.Mean), Reach: reach(n.TrueNamed)},
		Near:     cell{Value: num3(n.NearNamed.Mean), Reach: reach(n.NearNamed)},
		AUC:      cell{Value: num3(n.AUC.Mean), Reach: reach(n.AUC)},
		Verdict:  verdictOf(n),
	}
	switch row.Verdict {
	case retrieval.Understood:
		row.Class, row.Why = "right", "found, and told from its near misses"
	case retrieval.Shortcut:
		row.Class, row.Why = "twin", fmt.Sprintf("looks learned, but %s of the near misses, which lack the relation, are still named so", percent(n.NearNamed.Mean))
	case retrieval.Blurred:
		row.Class, row.Why = "twin", fmt.Sprintf("found, but a true picture is nearer to the relation than a near miss only %s of the time", percent(n.AUC.Mean))
	case retrieval.Unlearned:
		row.Class, row.Why = "wrong", percent(n.TrueNamed.Mean)
	}
	var called []string
	for i, c := range n.Called {
		if i == 3 {
			break
		}
		called = append(called, fmt.Sprintf("%s %d", c.Relation, c.Count))
	}
	row.Called = strings.Join(called, ", ")
	switch n.NamedBy {
	case "caption":
		row.NamedBy = "nearest caption"
	case "centroid":
		row.NamedBy = "nearest mean of pictures"
	case "neighbours":
		row.NamedBy = "nearest pictures"
	default:
		row.NamedBy = n.NamedBy
	}
	return row
}

// namedBy says how the pictures get their names: in one way, in one for trained
// relations and another for the rest, or in ways that the rows tell apart.
func namedBy(rows []nearRow) string {
	var ways [2][]string
	for _, r := range rows {
		g := 0
		if r.HeldOut {
			g = 1
		}
		if r.NamedBy != "" && !slices.Contains(ways[g], r.NamedBy) {
			ways[g] = append(ways[g], r.NamedBy)
		}
	}
	seen, held := strings.Join(ways[0], " or "), strings.Join(ways[1], " or ")
	switch {
	case seen == "" && held == "":
		return ""
	case seen == held || held == "":
		return "A picture is named by its " + seen + "."
	case seen == "":
		return "A picture is named by its " + held + "."
	}
	return "Among trained relations a picture is named by its " + seen + ", among the others by its " + held + "."
}

func percent(v float64) string { return strconv.FormatFloat(100*v, 'f', 0, 64) + " %" }

// nearTable has the AUC of every other method that was tested.
func nearTable(r *retrieval.Result, ours string) table {
	var t table
	var names []string
	for _, m := range r.Methods {
		if m.Name != ours && len(nearMisses(r, m.Name)) > 0 {
			names = append(names, m.Name)
		}
	}
	if len(names) == 0 {
		return t
	}
	t = table{Corner: "Relation", Label: "Near misses, other methods"}
	rows := make(map[string]*tableRow)
	var order []string
	for _, name := range names {
		t.Columns = append(t.Columns, column{name + " still named so", ""}, column{name + " AUC", ""})
	}
	for i, name := range names {
		for _, n := range nearMisses(r, name) {
			row := rows[n.Relation]
			if row == nil {
				row = &tableRow{Name: n.Relation, Cells: make([]cell, 2*len(names))}
				for j := range row.Cells {
					row.Cells[j].Value = "–"
				}
				rows[n.Relation], order = row, append(order, n.Relation)
			}
			x := nearRowOf(n)
			row.Cells[2*i], row.Cells[2*i+1] = x.Near, x.AUC
		}
	}
	for _, name := range order {
		t.Rows = append(t.Rows, *rows[name])
	}
	return t
}

// examples returns the example retrievals that fit on the page, and how many
// did not.
func examples(in *Input) (out []example, left int) {
	r := in.Result
	used := 0
	cache := make(map[string]template.HTMLAttr)
	show := func(id string) template.HTMLAttr {
		if in.Images == nil {
			return ""
		}
		src, ok := cache[id]
		if !ok {
			if im, err := in.Images(id); err == nil {
				src, _ = thumbnail(im) // what cannot be shown is named
			}
			cache[id] = src
		}
		used += len(src)
		return src
	}
	kinds := make(map[string]string)
	for _, m := range r.Methods {
		kinds[m.Name] = m.Kind
	}
	ours := ""
	if m := mainMethod(r.Methods); m != nil {
		ours = m.Name
	}
	first := []string{ours, literalTwin}
	if b := bestBaseline(r.Methods); b != nil {
		first = append(first, b.Name)
	}
	if m := mostFooled(r.Methods, ours); m != nil {
		first = append(first, m.Name)
	}
	for i, e := range r.Examples {
		x := example{Relation: e.Relation, Caption: e.Caption}
		switch e.Why {
		case "failure":
			x.Why = "a failure of " + ours
		case "drawn":
			x.Why = "drawn at random"
		case "held out":
			x.Why = "relation never trained on, drawn at random"
		default:
			x.Why = e.Why
		}
		x.Query = pictured{ID: e.Query, Src: show(e.Query), Alt: "query" + named(e.Relation)}
		for _, row := range e.Rows {
			er := exampleRow{Method: row.Method, Kind: kinds[row.Method]}
			for rank, h := range row.Hits {
				y := hit{pictured: pictured{ID: h.ID, Src: show(h.ID)}, Rank: rank + 1, Mark: h.Mark, Label: h.Relation}
				word := "wrong"
				switch h.Mark {
				case retrieval.Right:
					y.Symbol, word = "✓", "right"
				case retrieval.Twin:
					y.Symbol, word = "≈", "look-alike"
				case retrieval.Unjudged:
					word = "not judged"
				default:
					y.Mark, y.Symbol = retrieval.Wrong, "✕"
				}
				y.Alt = fmt.Sprintf("rank %d, %s%s", rank+1, word, named(h.Relation))
				er.Hits = append(er.Hits, y)
			}
			if er.Kind == retrieval.Trained || slices.Contains(first, row.Method) {
				x.Rows = append(x.Rows, er)
			} else {
				x.More = append(x.More, er)
			}
		}
		if used > maxThumbs && i > 0 {
			return out, len(r.Examples) - i
		}
		out = append(out, x)
	}
	return out, 0
}

func named(relation string) string {
	if relation == "" {
		return ""
	}
	return ": " + relation
}

func facts(in *Input) []Fact {
	f, r := in.Facts, in.Result
	var out []Fact
	add := func(name, value string) {
		if value != "" {
			out = append(out, Fact{name, value})
		}
	}
	number := func(name string, n int) {
		if n != 0 {
			add(name, count(n))
		}
	}
	add("Trained on", f.Data)
	add("Captions", f.Captions)
	add("Model", f.Model)
	number("Parameters", f.Parameters)
	number("Steps", f.Steps)
	number("Pictures seen", f.Pictures)
	if f.Duration > 0 {
		add("The command took", f.Duration.Round(time.Second).String())
	}
	if n := speed(in.Training); n > 0 {
		add("Speed", fmt.Sprintf("%s pictures a second (median of the steps)", count(n)))
	}
	number("Threads", f.Threads)
	add("Machine", f.Machine)
	if f.Seed != 0 {
		add("Seed of the training", strconv.FormatUint(f.Seed, 10))
	}
	if strings.HasSuffix(r.Data, r.Split) {
		add("Evaluated on", r.Data)
	} else {
		add("Evaluated on", r.Data+", split "+r.Split)
	}
	add("Seed of the evaluation", strconv.FormatUint(r.Seed, 10))
	number("Queries", r.Queries)
	if r.HeldOutQueries > 0 {
		number("… of trained relations", r.SeenQueries)
		number("… of relations never trained", r.HeldOutQueries)
	}
	number("Gallery", r.Gallery)
	number("Distinct captions", r.Captions)
	if r.Positives != "" {
		add("A picture is right if it has the query’s", r.Positives)
	}
	add("Version", f.Version)
	return append(out, f.More...)
}

// speed is the median of images per second over the first run's steps.
func speed(curves []Curve) int {
	if len(curves) == 0 {
		return 0
	}
	var v []float64
	for _, s := range curves[0].Steps {
		if finite(s.ImagesPerSecond) && s.ImagesPerSecond > 0 {
			v = append(v, s.ImagesPerSecond)
		}
	}
	if len(v) == 0 {
		return 0
	}
	sort.Float64s(v)
	return int(v[len(v)/2] + .5)
}

// terms explains the words of the tables.
func terms(r *retrieval.Result, same string) []Fact {
	has := func(name string) bool {
		for _, m := range r.Methods {
			if _, ok := m.ImageToImage[name]; ok {
				return true
			}
			if _, ok := m.Triplets[name]; ok {
				return true
			}
		}
		return false
	}
	out := []Fact{{"right picture", "one with the query’s " + same + "; the query itself is left out of the gallery."}}
	if has("twin@1") || has("conflict") {
		out = append(out, Fact{"look-alike, attribute twin", "a picture with the query’s colours, shapes, textures and count, in another relation."})
	}
	out = append(out,
		Fact{"R@k, recall@k", "share of queries with a right picture among the first k."},
		Fact{"mAP", "mean average precision: 1 if every right picture comes before every wrong one. One near copy is enough for R@1, not for mAP."})
	for _, name := range []string{"ndcg@10", "mrr", "median_rank", "twin@1"} {
		if has(name) {
			c := metricTitle(name)
			out = append(out, Fact{c.Name, c.Note + "."})
		}
	}
	return append(out, Fact{"ties", "count as the mean over their orders, so a measure that cannot tell pictures apart gets chance."})
}
