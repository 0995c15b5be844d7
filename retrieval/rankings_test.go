package retrieval

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"sort"
	"strings"
	"testing"
)

// TestRankingsByHand has the set of [TestByHand]. Ties stand by lower index: query 1 has 2 before 4, query 2 all in order.
func TestRankingsByHand(t *testing.T) {
	s := grid(2, 3, 0, 0)
	s.Items[4].Relation, s.Items[4].Caption = "alone", "" // no positive: what it finds cannot be right, but may be a twin
	s.Items[1].HeldOut = true
	m := &table{"by hand", [][]float32{
		{99, 4, 2, 5, 3, 1},
		{5, 99, 4, 3, 4, 2},
		{7, 7, 7, 7, 7, 7},
		{3, 2, 1, 0, 5, 4},
		{9, 8, 7, 6, 99, 5},
		{2, 1, 5, 5, 4, 99},
	}}
	s.Items[4].Caption = "only"
	c := quick()
	c.Rankings = 3
	r := evaluate(t, s, c, Method{Name: m.name, Kind: Baseline, Images: m}, Chance(s)).Rankings
	if want := []RankedMethod{{"by hand", Baseline}}; !reflect.DeepEqual(r.Methods, want) || r.Top != 3 || r.Positives != "relation" {
		t.Fatalf("rankings %+v", r)
	}
	want := [][]RankedHit{
		{{3, 5, Twin}, {1, 4, Right}, {4, 3, Wrong}},
		{{0, 5, Right}, {2, 4, Right}, {4, 4, Twin}},
		{{0, 7, Right}, {1, 7, Right}, {3, 7, Wrong}},
		{{4, 5, Wrong}, {5, 4, Right}, {0, 3, Twin}},
		{{0, 9, Unjudged}, {1, 8, Twin}, {2, 7, Unjudged}},
		{{2, 5, Twin}, {3, 5, Right}, {4, 4, Wrong}},
	}
	if len(r.Queries) != 6 {
		t.Fatalf("%d queries", len(r.Queries))
	}
	for q, row := range want {
		if got := r.Queries[q]; got.Item != q || !reflect.DeepEqual(got.Rows, [][]RankedHit{row}) {
			t.Errorf("query %d: %+v, want %+v", q, got, row)
		}
	}
	if it := r.Items[1]; it.ID != "r0p1" || it.Relation != "rel0" || it.Profile != 1 || !it.HeldOut {
		t.Errorf("item 1: %+v", it)
	}
}

// TestRankingsAgree compares rankings with sorting everything, and the recall that follows from them with the metrics.
// Scores of the second method tie often, which the mean over the tied orders hides from a single order.
func TestRankingsAgree(t *testing.T) {
	s := grid(6, 20, 2, 3)
	rng := rand.New(rand.NewPCG(7, 7))
	fine, coarse := &table{name: "fine"}, &table{name: "coarse"}
	for range s.Len() {
		a, b := make([]float32, len(s.Items)), make([]float32, len(s.Items))
		for i := range a {
			a[i], b[i] = rng.Float32(), float32(rng.IntN(4))-2
		}
		fine.scores, coarse.scores = append(fine.scores, a), append(coarse.scores, b)
	}
	c := quick()
	c.Rankings, c.Queries = 10, 100
	result := evaluate(t, s, c, Method{Name: "fine", Kind: Trained, Images: fine},
		Method{Name: "coarse", Kind: Baseline, Images: coarse, ByCaption: true}, Chance(s))
	r := result.Rankings
	if len(r.Methods) != 2 || len(r.Queries) != 100 || len(r.Items) != 120 {
		t.Fatalf("%d methods, %d queries, %d items", len(r.Methods), len(r.Queries), len(r.Items))
	}
	hits := map[bool]map[int]float64{false: {}, true: {}} // by held out, by k
	count := map[bool]float64{}
	for _, q := range r.Queries {
		for m, of := range []*table{fine, coarse} {
			var order []int
			for i := range s.Items {
				if i != q.Item {
					order = append(order, i)
				}
			}
			scores := of.scores[q.Item]
			sort.SliceStable(order, func(a, b int) bool { return scores[order[a]] > scores[order[b]] })
			first := 0
			for rank, h := range q.Rows[m] {
				if h.Item != order[rank] || h.Score != float64(scores[order[rank]]) {
					t.Fatalf("query %d, %s, rank %d: %+v, want %d with %v", q.Item, of.name, rank+1, h, order[rank], scores[order[rank]])
				}
				want := Wrong
				if s.Items[h.Item].Relation == s.Items[q.Item].Relation {
					want = Right
				} else if s.Items[h.Item].Profile == s.Items[q.Item].Profile {
					want = Twin
				}
				if h.Mark != want {
					t.Errorf("query %d, rank %d: %s, want %s", q.Item, rank+1, h.Mark, want)
				}
				if h.Mark == Right && first == 0 {
					first = rank + 1
				}
			}
			if len(q.Rows[m]) != 10 {
				t.Fatalf("%d hits", len(q.Rows[m]))
			}
			if m == 0 {
				heldOut := s.Items[q.Item].HeldOut
				count[heldOut]++
				for _, k := range []int{1, 2, 3, 5, 10} {
					if first > 0 && first <= k {
						hits[heldOut][k]++
					}
				}
			}
		}
	}
	for _, k := range []int{1, 2, 3, 5, 10} {
		near(t, fmt.Sprintf("recall@%d, seen", k), hits[false][k]/count[false], result.Methods[0].ImageToImage[recallName(k)].Mean, 1e-12)
		near(t, fmt.Sprintf("recall@%d, held out", k), hits[true][k]/count[true], result.HeldOut[0].ImageToImage[recallName(k)].Mean, 1e-12)
	}
}

// someRankings has two methods, several queries, and a row with fewer hits than the others.
func someRankings() *Rankings {
	return &Rankings{
		Data: "rows.jsonl", Split: "val", Positives: "caption", Top: 2, Fingerprint: "f00d", Source: json.RawMessage(`{"data":"rows.jsonl"}`),
		Methods: []RankedMethod{{"relsim", Trained}, {"<pixel>", Baseline}},
		Items: []RankedItem{
			{ID: "a", Path: "images/a.png", URL: "https://example.org/?a=1&b=2", Caption: "{Objects} </script> \u202e", Relation: "ring", Profile: 0},
			{ID: "b", Path: "0.tar", Member: "b.png", Group: "7", Profile: -1, HeldOut: true},
			{ID: "c", Profile: 12},
		},
		Queries: []RankedQuery{
			{0, [][]RankedHit{{{1, 0.5, Right}, {2, float64(float32(-1e-30)), Wrong}}, {{2, float64(float32(0.1)), Twin}}}},
			{2, [][]RankedHit{{{0, 1, Unjudged}, {1, 0, Unjudged}}, {}}},
		},
	}
}

func TestRankingsFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, RankingsFile)
	r := someRankings()
	if err := r.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := ReadRankings(path)
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%v\n%+v\nwant\n%+v", err, got, r)
	}
	again := filepath.Join(dir, "again")
	if err := got.Write(again); err != nil {
		t.Fatal(err)
	}
	a, _ := os.ReadFile(path)
	b, _ := os.ReadFile(again)
	if len(a) == 0 || !bytes.Equal(a, b) {
		t.Error("the same rankings gave other bytes")
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) != 2 {
		t.Errorf("files %v", names)
	}

	s := grid(6, 20, 2, 0)
	var files [][]byte
	for _, workers := range []int{1, 7} {
		c := quick()
		c.Workers, c.Resamples = workers, 2
		var b bytes.Buffer
		if err := evaluate(t, s, c, random(s, "random", 1), oracle(s, "ties")).Rankings.encode(&b); err != nil {
			t.Fatal(err)
		}
		files = append(files, b.Bytes())
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("the number of workers changed the file")
	}
}

func TestRankingsRefuse(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Rankings)
		want   string
	}{
		{"top", func(r *Rankings) { r.Top = 0 }, "top is 0: want 1 to 1000"},
		{"methods", func(r *Rankings) { r.Methods = nil }, "no methods"},
		{"names", func(r *Rankings) { r.Methods[1].Name = "relsim" }, `two methods are called "relsim"`},
		{"no name", func(r *Rankings) { r.Methods[1].Name = "" }, "method 1 has no name"},
		{"kind", func(r *Rankings) { r.Methods[1].Kind = ChanceKind }, `kind "chance": want "trained" or "baseline"`},
		{"ids", func(r *Rankings) { r.Items[2].ID = "a" }, `items 0 and 2 have the id "a"`},
		{"no id", func(r *Rankings) { r.Items[2].ID = "" }, "item 2 has no id"},
		{"query", func(r *Rankings) { r.Queries[1].Item = 3 }, "item 3 of 3"},
		{"twice", func(r *Rankings) { r.Queries = append(r.Queries, r.Queries[1]) }, "item 2 was a query before"},
		{"rows", func(r *Rankings) { r.Queries[0].Rows = r.Queries[0].Rows[:1] }, "rankings of 1 methods: want 2"},
		{"hits", func(r *Rankings) { r.Top = 1 }, `method "relsim": 2 hits: want at most 1`},
		{"item", func(r *Rankings) { r.Queries[0].Rows[1][0].Item = -1 }, `method "<pixel>", rank 1: item -1 of 3`},
		{"itself", func(r *Rankings) { r.Queries[0].Rows[0][1].Item = 0 }, `method "relsim", rank 2: the query itself`},
		{"score", func(r *Rankings) { r.Queries[0].Rows[0][1].Score = math.NaN() }, "score NaN: must be a finite float32"},
		{"mark", func(r *Rankings) { r.Queries[0].Rows[0][1].Mark = "fine" }, `unknown mark "fine"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := someRankings()
			tt.change(r)
			path := filepath.Join(t.TempDir(), "r")
			if err := r.Write(path); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("a file was left")
			}
		})
	}
}

// packed packs lines.
func packed(lines ...string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for _, line := range lines {
		z.Write([]byte(line + "\n"))
	}
	z.Close()
	return b.Bytes()
}

// lines are a whole file; replaced has element i replaced.
var lines = []string{
	`{"format":"relsim rankings 1","data":"d","split":"val","positives":"relation","top":2,"methods":[{"name":"m","kind":"trained"}],"items":2,"queries":1}`,
	`{"id":"a","profile":3}`,
	`{"id":"b"}`,
	`{"query":1,"rows":[{"items":[0],"scores":[0.25],"marks":"t"}]}`,
}

func replaced(i int, line string) []string {
	list := slices.Clone(lines)
	list[i] = line
	return list
}

func TestReadRankingsRefuses(t *testing.T) {
	if r, err := readRankings(bytes.NewReader(packed(lines...)), maxRankBytes); err != nil || r.Items[0].Profile != 3 ||
		r.Items[1].Profile != -1 || r.Queries[0].Rows[0][0] != (RankedHit{0, 0.25, Twin}) {
		t.Fatalf("%v: %+v", err, r)
	}
	head := func(old, new string) []string { return replaced(0, strings.Replace(lines[0], old, new, 1)) }
	for _, tt := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"empty", nil, "line 1: the file ends: want the head"},
		{"text", []string{"[]"}, "line 1: json"},
		{"format", head("rankings 1", "rankings 2"), `line 1: format is "relsim rankings 2": want "relsim rankings 1"`},
		{"top", head(`"top":2`, `"top":2000`), "line 1: top is 2000"},
		{"items", head(`"items":2`, `"items":99999999`), "line 1: 99999999 items: want at most 4194304"},
		{"negative", head(`"items":2`, `"items":-1`), "line 1: -1 items"},
		{"queries", head(`"queries":1`, `"queries":3`), "line 1: 3 queries of 2 items"},
		{"cut off", lines[:3], "line 4: the file ends: want query 1 of 1"},
		{"too few items", head(`"items":2`, `"items":4`), `line 5: the file ends: want item 4 of 4`},
		{"more", append(slices.Clone(lines), lines[3]), "line 5: follows the last of 1 queries"},
		{"id", replaced(2, `{"id":7}`), "line 3: json"},
		{"same id", replaced(2, `{"id":"a"}`), `items 0 and 1 have the id "a"`},
		{"lengths", replaced(3, `{"query":1,"rows":[{"items":[0],"scores":[],"marks":"t"}]}`), "line 4: row 0: 1 items, 0 scores, 1 marks"},
		{"mark", replaced(3, `{"query":1,"rows":[{"items":[0],"scores":[1],"marks":"x"}]}`), "line 4: method \"m\", rank 1: unknown mark"},
		{"score", replaced(3, `{"query":1,"rows":[{"items":[0],"scores":[1e99],"marks":"r"}]}`), "line 4: json"},
		{"item", replaced(3, `{"query":1,"rows":[{"items":[2],"scores":[1],"marks":"r"}]}`), "line 4: method \"m\", rank 1: item 2 of 2"},
		{"rows", replaced(3, `{"query":1,"rows":[]}`), "line 4: rankings of 0 methods: want 1"},
		{"line", replaced(1, strings.Repeat(" ", maxRankLine+10)), "line 2: longer than 4194304 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := readRankings(bytes.NewReader(packed(tt.lines...)), maxRankBytes)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, rankings %+v, want %q", err, r, tt.want)
			}
		})
	}
	whole := packed(lines...)
	if _, err := readRankings(bytes.NewReader(whole[:len(whole)-12]), maxRankBytes); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("half a file: %v", err)
	}
	if _, err := readRankings(strings.NewReader("plain text"), maxRankBytes); err == nil || !strings.Contains(err.Error(), "not packed by gzip") {
		t.Errorf("text: %v", err)
	}
	if _, err := readRankings(bytes.NewReader(whole), 100); err != errRankSize {
		t.Errorf("a file beyond the bound: %v", err)
	}
	if _, err := ReadRankings(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
}

// TestReadRankingsBounded reads 200 MiB of one item's spaces, packed into a few kilobytes.
func TestReadRankingsBounded(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(lines[0] + "\n" + lines[1]))
	space := bytes.Repeat([]byte(" "), 1<<20)
	for range 200 {
		z.Write(space)
	}
	z.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := readRankings(&b, maxRankBytes)
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("error %v", err)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
		t.Errorf("%d bytes were allocated", grown)
	}
}

func FuzzReadRankings(f *testing.F) {
	f.Add(strings.Join(lines, "\n"))
	f.Add(lines[0])
	f.Add("{}\n\n[")
	f.Add(strings.Join(replaced(3, `{"query":1,"rows":[{"items":[0,0],"scores":[-0,1e-40],"marks":"uw"}]}`), "\n"))
	f.Fuzz(func(t *testing.T, text string) {
		r, err := readRankLines(strings.NewReader(text), 1<<20)
		if err != nil {
			return
		}
		// What was read can be written, and is read again as it was.
		var b bytes.Buffer
		if err := r.encodeLines(&b); err != nil {
			t.Fatal(err)
		}
		again, err := readRankLines(&b, 8<<20)
		if err != nil {
			t.Fatal(err)
		}
		var x, y bytes.Buffer
		if r.encodeLines(&x) != nil || again.encodeLines(&y) != nil || !bytes.Equal(x.Bytes(), y.Bytes()) {
			t.Errorf("%+v became %+v", r, again)
		}
	})
}

// BenchmarkRankings measures what keeping rankings adds to an evaluation, and the size of their file.
func BenchmarkRankings(b *testing.B) {
	s := grid(32, 75, 8, 0)
	methods := []Method{random(s, "a", 1), random(s, "b", 2), random(s, "c", 3)}
	for _, top := range []int{0, 10} {
		b.Run(fmt.Sprintf("top=%d", top), func(b *testing.B) {
			c := Default()
			c.Rankings, c.Resamples = top, 1
			var size bytes.Buffer
			for b.Loop() {
				r, err := Evaluate(b.Context(), s, methods, c)
				if err != nil {
					b.Fatal(err)
				}
				if size.Reset(); r.Rankings != nil {
					if err := r.Rankings.encode(&size); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(size.Len()), "file-bytes")
		})
	}
}
