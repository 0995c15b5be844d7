package report

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"relsim/dataloader"
	"relsim/metrics"
	"relsim/retrieval"
)

// fullReport writes the full report once for all tests that only read it.
var fullReport = sync.OnceValues(func() (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "report")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := Write(dir, fullInput()); err != nil {
		return nil, err
	}
	return readAll(dir)
})

func readAll(dir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func write(t *testing.T, in Input) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	if err := Write(dir, in); err != nil {
		t.Fatal(err)
	}
	files, err := readAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func full(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := fullReport()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// parse walks the page and fails on a tag that is not closed.
func parse(t *testing.T, page []byte) []xml.Token {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var tokens []xml.Token
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return tokens
		}
		if err != nil {
			t.Fatalf("the page does not parse: %v", err)
		}
		tokens = append(tokens, xml.CopyToken(tok))
	}
}

func attributes(e xml.StartElement) map[string]string {
	out := make(map[string]string)
	for _, a := range e.Attr {
		out[a.Name.Local] = a.Value
	}
	return out
}

// checkPage holds what is true of every page.
func checkPage(t *testing.T, page []byte) {
	t.Helper()
	if len(page) >= 4<<20 {
		t.Errorf("the page has %d bytes, want less than 4 MB", len(page))
	}
	text := withoutData(string(page))
	for _, bad := range []string{"NaN", "Inf", "ZgotmplZ", "<no value>", "%!", "http://", "https://", "url(", "@import"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	ids := make(map[string]bool)
	var links []string
	level, csp, viewport := 0, false, false
	for _, tok := range parse(t, page) {
		e, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		a := attributes(e)
		switch e.Name.Local {
		case "script", "link", "iframe", "object", "embed", "base", "form":
			t.Errorf("the page has a <%s>", e.Name.Local)
		case "img":
			if a["alt"] == "" {
				t.Errorf("img %s has no alternative text", a["title"])
			}
		case "svg":
			if a["role"] != "img" || a["aria-label"] == "" {
				t.Error("an svg has no label")
			}
		case "th":
			if a["scope"] != "col" && a["scope"] != "row" {
				t.Error("a th has no scope")
			}
		case "html":
			if a["lang"] == "" {
				t.Error("the page has no language")
			}
		case "meta":
			if a["http-equiv"] == "Content-Security-Policy" {
				csp = strings.Contains(a["content"], "default-src 'none'")
			}
			viewport = viewport || a["name"] == "viewport"
		case "h1", "h2", "h3", "h4":
			n := int(e.Name.Local[1] - '0')
			if n > level+1 {
				t.Errorf("h%d follows h%d", n, level)
			}
			level = n
		}
		for name, v := range a {
			switch {
			case strings.HasPrefix(name, "on"):
				t.Errorf("<%s> has %s=%q", e.Name.Local, name, v)
			case name == "src" && !strings.HasPrefix(v, "data:image/"):
				t.Errorf("src=%q is not in the page", v)
			case name == "href":
				links = append(links, v)
			case name == "id":
				if ids[v] {
					t.Errorf("two elements have the id %s", v)
				}
				ids[v] = true
			}
		}
	}
	for _, l := range links {
		if !strings.HasPrefix(l, "#") || !ids[l[1:]] {
			t.Errorf("href=%q leads nowhere", l)
		}
	}
	if !csp || !viewport {
		t.Error("no content security policy, or no viewport")
	}
}

// withoutData takes the pictures out of a page.
func withoutData(page string) string {
	var b strings.Builder
	for {
		before, data, ok := strings.Cut(page, ";base64,")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		page = data[max(0, strings.IndexByte(data, '"')):]
	}
}

func TestWriteFull(t *testing.T) {
	files := full(t)
	for _, name := range []string{"index.html", "metrics.json", "bars.png", "bars.svg", "recall.png", "recall.svg", "families.png", "families.svg",
		"space.png", "space.svg", "training.png", "training.svg"} {
		if len(files[name]) == 0 {
			t.Errorf("%s is missing or empty", name)
		}
	}
	if len(files) != 12 {
		t.Errorf("%d files, want 12", len(files))
	}
	page := files["index.html"]
	checkPage(t, page)
	in := fullInput()
	text := string(page)
	for _, methods := range [][]retrieval.MethodResult{in.Result.Methods, in.Result.HeldOut} {
		for _, m := range methods {
			if !strings.Contains(text, m.Name) {
				t.Errorf("the page does not name %s", m.Name)
			}
			for _, group := range []retrieval.Metrics{m.ImageToImage, m.Triplets, m.ImageToCaption, m.CaptionToImage} {
				for name, v := range group {
					c := metricCell(name, v)
					if !strings.Contains(text, c.Value) || !strings.Contains(text, c.Reach) {
						t.Errorf("%s %s: the page does not have %s %s", m.Name, name, c.Value, c.Reach)
					}
				}
			}
		}
	}
	for _, want := range []string{"Not understood: 4 of 6", "Of 6 relations tested with near misses, 2 are understood. Not counted as learned: <b>rotate, odd_color, mirror, odd_size</b>.", "<b>odd_color</b> (38 %), <b>odd_size</b> (41 %, never trained)", "95 % of the near misses, which lack the relation, are still named so", "A picture is named by its nearest caption.", "drawn at random", "a failure of relsim", "3 pictures could not be used",
		"truncated PNG", "and 1 more", "go run ./cmd/train --data scenes", "4m51s", "never trained", "by those nothing can be found", "not told from chance",
		"321\u202f000", "700 pictures a second", "clusters of queries that share a profile"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	// Every relation has a row, in the table as in the heat map.
	for _, name := range append(append([]string{}, seenFamilies...), heldOutFamilies...) {
		if n := strings.Count(text, ">"+name); n < 3 { // two drawings and the table
			t.Errorf("%s is there %d times, want 3 or more", name, n)
		}
	}
}

func TestMetricsFile(t *testing.T) {
	var got retrieval.Result
	if err := json.Unmarshal(full(t)["metrics.json"], &got); err != nil {
		t.Fatal(err)
	}
	want := fullInput().Result
	if len(got.Methods) != len(want.Methods) || len(got.HeldOut) != len(want.HeldOut) || len(got.Examples) != len(want.Examples) || len(got.Space.Points) != len(want.Space.Points) {
		t.Fatalf("metrics.json lost something")
	}
	a, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("metrics.json is not the result")
	}
}

func TestWriteSmall(t *testing.T) {
	files := write(t, smallInput())
	page := string(files["index.html"])
	checkPage(t, files["index.html"])
	for _, id := range []string{"triplets", "captions", "heldout", "relations", "near", "space", "examples", "training", "skipped"} {
		if strings.Contains(page, `id="`+id+`"`) || strings.Contains(page, `href="#`+id+`"`) {
			t.Errorf("the page has a section %s without data", id)
		}
	}
	for _, id := range []string{"summary", "methods", "facts"} {
		if !strings.Contains(page, `id="`+id+`"`) {
			t.Errorf("the page has no section %s", id)
		}
	}
	if len(files) != 6 {
		t.Errorf("%d files, want 6", len(files))
	}
	for _, want := range []string{"has the query’s caption", "The intervals overlap: no difference is shown.", "does not show that relsim does better than chance", "finds the same caption"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// Own pictures with captions of their own, some without one: no picture matches another, so the captions are all there
// is to measure. Nothing is drawn or printed as zero.
func TestDistinctCaptions(t *testing.T) {
	s := &retrieval.Set{Name: "mine.jsonl", Split: "val"}
	for i := range 8 {
		it := dataloader.Item{ID: fmt.Sprint("p", i), Family: -1, Profile: -1}
		if i < 6 {
			it.Caption = fmt.Sprint("caption ", i)
		}
		s.Items = append(s.Items, it)
	}
	pictures, captions := make([]float32, 8*8), make([]float32, 6*8)
	for i := range 8 {
		pictures[9*i] = 1
		if i < 6 {
			captions[9*i] = 1
		}
	}
	c := retrieval.Default()
	c.Resamples = 100
	r, err := retrieval.Evaluate(context.Background(), s,
		[]retrieval.Method{retrieval.Embedded("relsim", retrieval.Trained, pictures, captions, 8), retrieval.Chance(s)}, c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Queries != 6 || r.Gallery != 8 || len(r.Examples) != 6 {
		t.Errorf("%d queries, gallery of %d, %d examples", r.Queries, r.Gallery, len(r.Examples))
	}
	for _, m := range r.Methods {
		if len(m.ImageToImage) != 0 || len(m.Triplets) != 0 || len(m.Families) != 0 {
			t.Errorf("%s: measured from image to image: %v, %v, %v", m.Name, m.ImageToImage, m.Triplets, m.Families)
		}
	}
	for _, e := range r.Examples {
		for _, row := range e.Rows {
			for _, h := range row.Hits {
				if h.Mark != retrieval.Unjudged {
					t.Errorf("%s: %s is marked %s where nothing can be right", e.Query, h.ID, h.Mark)
				}
			}
		}
	}
	if got, chance := r.Methods[0].ImageToCaption["recall@1"].Mean, r.Methods[1].ImageToCaption["recall@1"].Mean; got != 1 || math.Abs(chance-1./6) > 1e-12 {
		t.Errorf("image to caption %v, chance %v", got, chance)
	}
	files := write(t, Input{Result: r, Training: []Curve{{Name: "relsim", Steps: []Step{{Step: 1, Loss: 2, LR: 1e-3}, {Step: 2, Loss: 1, LR: 1e-3}}}}})
	checkPage(t, files["index.html"])
	page := string(files["index.html"])
	for _, want := range []string{"No two pictures share a caption", "the first caption that <b>relsim</b> finds", "Chance is .167", `id="captions"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, absent := range []string{`id="methods"`, `id="triplets"`, `id="relations"`, "✕</span>", "NaN", "validation"} {
		if strings.Contains(page, absent) {
			t.Errorf("the page has %q", absent)
		}
	}
	for _, name := range []string{"bars.png", "recall.png", "families.png", "space.png"} {
		if files[name] != nil {
			t.Errorf("%s is drawn without data", name)
		}
	}
}

// A report over an earlier one leaves nothing of it behind.
func TestWriteOver(t *testing.T) {
	dir := t.TempDir()
	in := fullInput()
	in.Result.Examples = nil
	if err := Write(dir, in); err != nil {
		t.Fatal(err)
	}
	keep := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(keep, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, smallInput()); err != nil {
		t.Fatal(err)
	}
	files, err := readAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	if files["space.png"] != nil || files["families.svg"] != nil || files["training.png"] != nil {
		t.Error("a figure of the earlier report is still there")
	}
	if _, ok := files["notes.txt"]; !ok || len(files) != 7 {
		t.Errorf("%d files, want the 6 of the report and the one that is not its own", len(files))
	}
}

func TestWriteTwice(t *testing.T) {
	again := write(t, fullInput())
	for name, data := range full(t) {
		if !bytes.Equal(data, again[name]) {
			t.Errorf("%s differs between two runs", name)
		}
	}
}

func TestEscapes(t *testing.T) {
	const hostile = `<script>alert(1)</script>"'><img src=x onerror=alert(2)>&amp;{{.}}` + "\x00\u202e"
	in := fullInput()
	in.Title = hostile
	in.Facts.Command, in.Facts.Model = hostile, hostile
	in.Facts.More = []Fact{{hostile, hostile}}
	in.Skipped.List = []SkippedItem{{hostile, hostile}}
	in.Training[0].Name = hostile
	in.Images = func(id string) (*dataloader.Image, error) { return nil, errors.New(hostile) }
	r := in.Result
	r.Data, r.Split = hostile, hostile
	r.Space.Attribute, r.Space.Relational = hostile, hostile
	for _, methods := range [][]retrieval.MethodResult{r.Methods, r.HeldOut} {
		for i := range methods[:2] {
			m := &methods[i]
			m.Name += hostile
			m.Families[hostile] = retrieval.Family{Queries: 1}
			for j := range m.NearMiss {
				m.NearMiss[j].Relation = hostile
				m.NearMiss[j].Called = []retrieval.Name{{Relation: hostile, Count: 1}}
				m.NearMiss[j].Verdict, m.NearMiss[j].NamedBy = hostile, hostile
			}
		}
	}
	for i := range r.Examples {
		e := &r.Examples[i]
		e.Query, e.Relation, e.Caption, e.Why = hostile, hostile, hostile, hostile
		for j := range e.Rows {
			e.Rows[j].Method = hostile
			for k := range e.Rows[j].Hits {
				e.Rows[j].Hits[k].ID, e.Rows[j].Hits[k].Relation, e.Rows[j].Hits[k].Mark = hostile, hostile, hostile
			}
		}
	}
	files := write(t, in)
	checkPage(t, bytes.ReplaceAll(files["index.html"], []byte{0xef, 0xbf, 0xbd}, nil))
	if bytes.Contains(files["index.html"], []byte("<script")) || bytes.Contains(files["index.html"], []byte("<img src=x")) {
		t.Error("the page has a hostile caption unescaped")
	}
	for name, data := range files {
		if strings.HasSuffix(name, ".svg") {
			checkSVG(t, name, data)
		}
	}
}

func checkSVG(t *testing.T, name string, data []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(data))
	elements := 0
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if e, ok := tok.(xml.StartElement); ok {
			elements++
			if e.Name.Local == "script" || e.Name.Local == "image" {
				t.Errorf("%s has a <%s>", name, e.Name.Local)
			}
			for _, a := range e.Attr {
				if a.Name.Local == "href" || strings.HasPrefix(a.Name.Local, "on") {
					t.Errorf("%s has %s=%q", name, a.Name.Local, a.Value)
				}
			}
		}
	}
	if elements < 20 {
		t.Errorf("%s has %d elements: nothing is drawn", name, elements)
	}
}

// The files parse, and nothing is cut at their edges: the outermost 8 points
// are white.
func TestFiguresFit(t *testing.T) {
	long := fullInput()
	long.Result.Methods[0].Name = "a-method-with-a-name-that-nobody-would-want-to-type"
	long.Result.HeldOut[0].Name = long.Result.Methods[0].Name
	long.Result.Methods[3].Families["a_relation_with_a_very_long_name"] = retrieval.Family{Queries: 2, Recall1: 1}
	long.Training[0].Name = long.Result.Methods[0].Name
	long.Result.Examples = nil
	for kind, files := range map[string]map[string][]byte{"full": full(t), "long": write(t, long)} {
		for name, data := range files {
			switch filepath.Ext(name) {
			case ".svg":
				checkSVG(t, name, data)
			case ".png":
				im, err := png.Decode(bytes.NewReader(data))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				b := im.Bounds()
				const edge = 8 * dpi / 72
				ink := 0
				pix, ok := im.(*image.RGBA)
				if !ok {
					t.Fatalf("%s is a %T", name, im)
				}
			scan:
				for y := range b.Max.Y {
					for x := range b.Max.X {
						if p := pix.Pix[y*pix.Stride+4*x:]; p[0] == 255 && p[1] == 255 && p[2] == 255 {
							continue
						}
						ink++
						if x < edge || y < edge || x >= b.Max.X-edge || y >= b.Max.Y-edge {
							t.Errorf("%s %s: something is drawn at (%d, %d) of %v, at the edge", kind, name, x, y, b.Max)
							break scan
						}
					}
				}
				if ink < 1000 {
					t.Errorf("%s %s: %d pixels are drawn", kind, name, ink)
				}
			}
		}
	}
}

func TestUnwritable(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{file, filepath.Join(file, "deeper")} {
		err := Write(bad, smallInput())
		if err == nil || !strings.Contains(err.Error(), file) || !strings.HasPrefix(err.Error(), "report: ") {
			t.Errorf("Write(%s) = %v, want an error that names it", bad, err)
		}
	}
	// A folder in the place of a file; what was written beside it is cleared away.
	taken := t.TempDir()
	if err := os.MkdirAll(filepath.Join(taken, "index.html", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	err := Write(taken, smallInput())
	if err == nil || !strings.Contains(err.Error(), filepath.Join(taken, "index.html")) {
		t.Errorf("Write over a folder = %v, want an error that names index.html", err)
	}
	left, _ := filepath.Glob(filepath.Join(taken, ".*"))
	if len(left) > 0 {
		t.Errorf("%v is left behind", left)
	}
	if runtime.GOOS == "linux" {
		if _, err := os.Stat("/dev/full"); err == nil && Write("/dev/full", smallInput()) == nil {
			t.Error("Write into a device succeeded")
		}
	}
	if err := Write(t.TempDir(), Input{}); err == nil || !strings.Contains(err.Error(), "no result") {
		t.Errorf("Write without a result = %v", err)
	}
}

func TestNotFinite(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	bad := metrics.Interval{Mean: nan, Low: -inf, High: inf}
	in := fullInput()
	in.Images = nil
	r := in.Result
	r.Methods[1].ImageToImage["recall@1"] = bad
	r.Methods[2].ImageToImage = retrieval.Metrics{"recall@1": bad, "recall@5": bad}
	r.Methods[0].Triplets["conflict"] = bad
	r.Methods[0].ImageToCaption["recall@1"] = bad
	r.Methods[0].NearMiss[0].AUC = bad
	r.Methods[0].Families["growth"] = retrieval.Family{Recall1: nan}
	r.Methods[0].Families["fade"] = retrieval.Family{Recall1: .5, Conflict: &nan, Intervals: retrieval.Metrics{"recall@1": bad}}
	r.HeldOut[0].ImageToImage["recall@1"] = bad
	r.Differences[0].ImageToImage["recall@1"] = bad
	r.Space.Points[0].Attribute, r.Space.Points[1].Relational = nan, inf
	r.Examples[0].Rows[0].Hits[0].Score = nan
	for i := range in.Training[0].Steps {
		in.Training[0].Steps[i].Accuracy = nan
		if i%3 == 0 {
			in.Training[0].Steps[i].Loss = inf
		}
	}
	files := write(t, in)
	checkPage(t, files["index.html"])
	for name, data := range files {
		if strings.HasSuffix(name, ".svg") && (bytes.Contains(data, []byte("NaN")) || bytes.Contains(data, []byte("Inf"))) {
			t.Errorf("%s has a number that is none", name)
		}
	}
	if !math.IsNaN(r.Methods[0].Triplets["conflict"].Mean) {
		t.Error("Write changed its input")
	}
}

func TestEmpty(t *testing.T) {
	for name, in := range map[string]Input{
		"nothing":     {Result: &retrieval.Result{}},
		"empty parts": {Result: &retrieval.Result{Methods: []retrieval.MethodResult{{}}, HeldOut: []retrieval.MethodResult{{}}, Space: &retrieval.Space{}, Examples: []retrieval.Example{{}}}, Training: []Curve{{}}},
		"one of each": {Result: &retrieval.Result{Methods: []retrieval.MethodResult{{Name: "a", Kind: retrieval.Baseline, ImageToImage: retrieval.Metrics{"recall@1": {}}}},
			Space: &retrieval.Space{Points: []retrieval.Point{{}}}}, Training: []Curve{{Steps: []Step{{}}, Evaluations: []Evaluation{{}}}}},
		"held out only": {Result: &retrieval.Result{HeldOut: []retrieval.MethodResult{{Name: "a", ImageToImage: retrieval.Metrics{"recall@1": {}}}}}},
	} {
		t.Run(name, func(t *testing.T) { checkPage(t, write(t, in)["index.html"]) })
	}
}

// What the page claims follows from the intervals.
func TestClaims(t *testing.T) {
	at := func(low, high float64) metrics.Interval {
		return metrics.Interval{Mean: (low + high) / 2, Low: low, High: high}
	}
	tests := []struct {
		name       string
		ours, base metrics.Interval
		difference *metrics.Interval
		chance     float64
		want       string
		not        string
	}{
		{"apart", at(.7, .8), at(.1, .2), nil, .03, "The intervals lie apart.", "no difference"},
		{"overlap", at(.1, .3), at(.2, .4), nil, .03, "no difference is shown", "lie apart"},
		{"overlap, higher mean", at(.2, .4), at(.1, .3), nil, .03, "no difference is shown", "lie apart"},
		{"worse", at(.1, .2), at(.7, .8), nil, .03, "relsim does worse than hog", "clear of zero"},
		{"pairs decide for", at(.1, .3), at(.05, .25), &metrics.Interval{Mean: .05, Low: .01, High: .09}, .03, "clear of zero", "overlap"},
		{"pairs decide against", at(.7, .8), at(.1, .2), &metrics.Interval{Mean: .6, Low: -.01, High: 1}, .03, "No difference is shown", "clear of zero"},
		{"pairs say worse", at(.1, .3), at(.1, .4), &metrics.Interval{Mean: -.1, Low: -.2, High: -.05}, .03, "relsim does worse than hog", "clear of zero"},
		{"chance", at(.01, .05), at(.01, .05), nil, .03, "does not show that relsim does better than chance", "Chance is .030."},
		{"above chance", at(.7, .8), at(.1, .2), nil, .03, "Chance is .030.", "better than chance"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &retrieval.Result{Methods: []retrieval.MethodResult{
				{Name: "relsim", Kind: retrieval.Trained, ImageToImage: retrieval.Metrics{"recall@1": tt.ours}},
				{Name: "hog", Kind: retrieval.Baseline, ImageToImage: retrieval.Metrics{"recall@1": tt.base}},
				{Name: "chance", Kind: retrieval.ChanceKind, ImageToImage: retrieval.Metrics{"recall@1": {Mean: tt.chance, Low: tt.chance, High: tt.chance}}},
			}}
			if tt.difference != nil {
				r.Differences = []retrieval.Difference{{Method: "relsim", Against: "hog", ImageToImage: retrieval.Metrics{"recall@1": *tt.difference}}}
			}
			got := fmt.Sprint(summarise(r).Paragraphs)
			if !strings.Contains(got, tt.want) || strings.Contains(got, tt.not) {
				t.Errorf("%s\nwant %q, not %q", got, tt.want, tt.not)
			}
		})
	}
}

func TestThumbnails(t *testing.T) {
	in := fullInput()
	in.Images = func(id string) (*dataloader.Image, error) {
		if strings.HasSuffix(id, "0") {
			return nil, errors.New("gone")
		}
		im := &dataloader.Image{Width: 120, Height: 100, Pix: make([]byte, 120*100*3)}
		state := uint32(len(id))
		for i := range im.Pix { // noise, which compresses worst
			state = state*1664525 + 1013904223
			im.Pix[i] = byte(state >> 24)
		}
		return im, nil
	}
	for i := range in.Result.Examples {
		for j := range in.Result.Examples[i].Rows {
			row := &in.Result.Examples[i].Rows[j]
			row.Hits = append(append(append([]retrieval.Hit{}, row.Hits...), row.Hits...), row.Hits...)
		}
	}
	ex, left := examples(&in)
	size := 0
	named := 0
	for _, e := range ex {
		for _, row := range append(append([]exampleRow{}, e.Rows...), e.More...) {
			for _, h := range row.Hits {
				size += len(h.Src)
				if h.Src == "" {
					named++
				}
			}
		}
	}
	if size > maxThumbs || left == 0 || len(ex)+left != len(in.Result.Examples) {
		t.Errorf("%d bytes in %d examples, %d left out; want at most %d bytes", size, len(ex), left, maxThumbs)
	}
	if named == 0 {
		t.Error("no picture that failed is named")
	}
	page, err := render(&in, nil)
	if err != nil {
		t.Fatal(err)
	}
	checkPage(t, page)
	if !bytes.Contains(page, []byte("more examples are in metrics.json")) {
		t.Error("the page does not say that examples are left out")
	}
	for _, im := range []*dataloader.Image{nil, {}, {Width: 2, Height: 2}, {Width: -1, Height: 4}} {
		if src, err := thumbnail(im); err == nil {
			t.Errorf("thumbnail(%v) = %s", im, src)
		}
	}
	if _, err := thumbnail(&dataloader.Image{Width: 10_000, Height: 1, Pix: make([]byte, 30_000)}); err != nil {
		t.Errorf("a thin picture: %v", err)
	}
}

// Text stands out from what it is printed on by 4.5, lines by 3 (WCAG 2.2,
// 1.4.3 and 1.4.11), on light and on dark paper.
func TestContrast(t *testing.T) {
	check := func(what string, a, b role, want float64) {
		if c := contrast(a.light, b.light); c < want {
			t.Errorf("%s: %s on %s has contrast %.2f on light paper, want %.1f", what, a.name, b.name, c, want)
		}
		if c := contrast(a.dark, b.dark); c < want {
			t.Errorf("%s: %s on %s has contrast %.2f on dark paper, want %.1f", what, a.name, b.name, c, want)
		}
	}
	check("text", roleInk, rolePaper, 7)
	check("text", roleMuted, rolePaper, 4.5)
	check("text on a missing picture", roleMuted, roleGrid, 4.5)
	for i := range 101 {
		cell, ink := heat(float64(i) / 100)
		check("heat map", ink, cell, 4.5)
	}
	lines := append([]role{roleTwin, roleChance, roleKind}, roleTrained...)
	for _, r := range append(lines, roleBaseline...) {
		check("line", r, rolePaper, 3)
	}
	if c := contrast(rgb(0), rgb(0xFFFFFF)); math.Abs(c-21) > 1e-9 {
		t.Errorf("contrast of black and white is %v, want 21", c)
	}
}
