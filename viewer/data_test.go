package viewer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"image/color"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relsim/dataloader"
	"relsim/viewer"
)

// hostile is a caption that would run, hide or turn around what stands beside it, if it were more than text.
const hostile = `<img src=x onerror="window.bad=1"><script>window.bad=1</script></script> & {Subject} "quoted" ` + "\u202eright to left\u202c עברית \x00\n</bdi>"

// mixedSet is a data set with everything that a page has to show: 1,204 rows; pictures in a folder, of which some are
// missing and one is broken; groups, relations, splits, several captions, ids that occur twice, hostile text.
func mixedSet(t testing.TB) (ds dataloader.Dataset, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "my pictures #1")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	var items []dataloader.Item
	add := func(it dataloader.Item) {
		it.Path = filepath.Join(dir, it.ID+".png")
		it.File, it.Line = "rows.jsonl", len(items)+1
		if it.Family == 0 {
			it.Family = -1
		}
		it.Profile = -1
		items = append(items, it)
	}
	subjects := []string{"Subject", "Object", "Animal"}
	for i := range 1200 {
		add(dataloader.Item{ID: fmt.Sprintf("%08x", 7919*i), URL: fmt.Sprintf("https://example.org/%d.png", i),
			Caption:  fmt.Sprintf("{%s} number %d growing step by step", subjects[i%3], i),
			Relation: []string{"growing", "stacked"}[i%2], Split: "train"})
	}
	items[0].Caption, items[0].URL = hostile, "javascript:window.bad=1"
	items[1].Captions = []string{items[1].Caption, "Another view of a {Crème Brûlée}"}
	items[2].ID = items[3].ID
	items[4].Caption = ""
	items[13].Caption = items[16].Caption
	for i := range 4 { // two groups of two
		add(dataloader.Item{ID: fmt.Sprintf("seed%d", i), Caption: fmt.Sprintf("A seed of group {Letter%d}", i/2), Group: fmt.Sprint(i / 2), Split: "seed"})
	}
	for i, it := range items {
		if i%10 != 9 { // every tenth is missing
			if i < 40 || i >= 1200 {
				writePNG(t, it.Path, 60+i%7, 50, color.NRGBA{R: byte(37 * i), G: 120, B: byte(91 * i), A: 255})
			} else if err := os.Link(items[20].Path, it.Path); err != nil {
				t.Fatal(err)
			}
		}
	}
	os.Remove(items[5].Path)
	if err := os.WriteFile(items[5].Path, []byte("\x89PNG\r\n\x1a\nbroken"), 0o666); err != nil {
		t.Fatal(err)
	}
	return dataloader.NewRows("rows.jsonl", "f", items, nil), dir
}

// The counts of mixedSet: rows 9, 19, … are missing; 5 is broken.
const (
	mixedRows    = 1204
	mixedMissing = 120
	mixedBroken  = 1
)

func TestPlaceholders(t *testing.T) {
	for caption, want := range map[string]string{
		"{Subject} growing":         "Subject",
		"{ A } then {B}, {A} again": "A|B",
		"none":                      "", "{}": "", "{ }": "", "{a": "", "a}": "",
		"{{x}}":                             "x",
		"{" + strings.Repeat("x", 65) + "}": "",
	} {
		if got := strings.Join(viewer.Placeholders(caption), "|"); got != want {
			t.Errorf("%q has %q, want %q", caption, got, want)
		}
	}
}

// facetsOf decodes a page's first block.
func facetsOf(t *testing.T, ds dataloader.Dataset, downloads map[string]viewer.Download) (facets map[string]map[string]int, text []string) {
	t.Helper()
	page, err := viewer.NewDataPage(ds, downloads)
	if err != nil {
		t.Fatal(err)
	}
	site := viewer.NewSite()
	if err := page.Add(site, "/"); err != nil {
		t.Fatal(err)
	}
	var core struct {
		Rows   int
		Text   string
		Facets []struct {
			Name   string
			Values []string
			Codes  []int
			Starts []int
		}
	}
	if err := json.Unmarshal([]byte(body(t, request(site, "GET", "/blocks/core"))), &core); err != nil {
		t.Fatal(err)
	}
	if core.Rows != ds.Len() {
		t.Errorf("%d rows, want %d", core.Rows, ds.Len())
	}
	facets = make(map[string]map[string]int)
	for _, f := range core.Facets {
		counts := make(map[string]int)
		for _, code := range f.Codes {
			counts[f.Values[code]]++
		}
		facets[f.Name] = counts
		if f.Starts == nil && len(f.Codes) != ds.Len() || f.Starts != nil && (len(f.Starts) != ds.Len()+1 || f.Starts[ds.Len()] != len(f.Codes)) {
			t.Errorf("%s: %d codes, %d starts of %d rows", f.Name, len(f.Codes), len(f.Starts), ds.Len())
		}
	}
	return facets, strings.Split(strings.TrimSuffix(core.Text, "\n"), "\n")
}

// What the page knows of each row, counted by hand.
func TestColumns(t *testing.T) {
	ds, _ := mixedSet(t)
	facets, text := facetsOf(t, ds, map[string]viewer.Download{"00000000": {Status: "failed", Reason: "404"}})
	if len(text) != mixedRows {
		t.Fatalf("%d lines of captions, want %d: a line break in a caption must not make a row", len(text), mixedRows)
	}
	if !strings.HasPrefix(text[0], `<img src=x onerror="window.bad=1">`) || strings.ContainsAny(text[0], "\x00\n") {
		t.Errorf("the hostile caption is %q", text[0])
	}
	if want := "{Object} number 1 growing step by step\x1fAnother view of a {Crème Brûlée}"; text[1] != want {
		t.Errorf("two captions are %q, want %q", text[1], want)
	}
	for _, tt := range []struct {
		facet, value string
		n            int
	}{
		{"placeholder", "Subject", 400}, {"placeholder", "Object", 399}, {"placeholder", "Animal", 400}, {"placeholder", "Crème Brûlée", 1},
		{"placeholder", "Letter0", 2}, {"relation", "growing", 600}, {"relation", "stacked", 600}, {"relation", "", 4},
		{"group", "0", 2}, {"group", "1", 2}, {"group", "", 1200}, {"split", "train", 1200}, {"split", "seed", 4},
		{"note", "id occurs more than once", 2}, {"note", "several captions", 1}, {"note", "no caption", 1}, {"note", "no source", 4},
		{"note", "caption occurs more than once", 2}, {"download", "failed", 1}, {"download", "pending", 1203},
	} {
		if got := facets[tt.facet][tt.value]; got != tt.n {
			t.Errorf("%s %q: %d rows, want %d", tt.facet, tt.value, got, tt.n)
		}
	}
	if facets["family"] != nil {
		t.Errorf("no row has a family, and the facet has %v", facets["family"])
	}
	if facets, _ := facetsOf(t, ds, nil); facets["download"] != nil {
		t.Error("the page speaks of downloads that nobody told it of")
	}
}

// Pictures are looked at while the page is served; a page learns what is new.
func TestCheck(t *testing.T) {
	ds, dir := mixedSet(t)
	page, err := viewer.NewDataPage(ds, nil)
	if err != nil {
		t.Fatal(err)
	}
	site := viewer.NewSite()
	if err := page.Add(site, "/"); err != nil {
		t.Fatal(err)
	}
	states := func(since int) (c struct {
		Version, Checked int
		Rows, States     []int
		Reasons          map[string]string
		Done             bool
	}) {
		if err := json.Unmarshal([]byte(body(t, request(site, "GET", fmt.Sprintf("/states?since=%d", since)))), &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := states(0); c.Done || len(c.Rows) != 0 {
		t.Errorf("before anybody looked: %+v", c)
	}
	if err := page.Check(t.Context(), viewer.Check{Decode: true, Workers: 4}); err != nil {
		t.Fatal(err)
	}
	c := states(0)
	counts := make(map[int]int)
	for _, s := range c.States {
		counts[s]++
	}
	if !c.Done || c.Checked != mixedRows || counts[int(viewer.Missing)] != mixedMissing || counts[int(viewer.Broken)] != mixedBroken ||
		counts[int(viewer.Good)] != mixedRows-mixedMissing-mixedBroken {
		t.Errorf("done %v, %d checked, states %v", c.Done, c.Checked, counts)
	}
	if why := c.Reasons["5"]; why == "" || strings.Contains(why, dir) {
		t.Errorf("row 5 is broken because %q", why)
	}
	if again := states(c.Version); len(again.Rows) != 0 || !again.Done {
		t.Errorf("nothing new: %+v", again)
	}
	for _, since := range []string{"-1", "99999999"} {
		if r := request(site, "GET", "/states?since="+since); r.StatusCode != 200 {
			t.Errorf("since %s: status %d", since, r.StatusCode)
		}
	}
	if r := request(site, "GET", "/states"); r.StatusCode != 400 {
		t.Errorf("without a version: status %d", r.StatusCode)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	other, _ := viewer.NewDataPage(ds, nil)
	if err := other.Check(ended, viewer.Check{Decode: true}); err == nil || other.Counts()[viewer.Broken] != 0 {
		t.Errorf("a check that was interrupted: %v, %v", err, other.Counts())
	}
	files, _ := viewer.NewDataPage(ds, nil)
	if err := files.Check(t.Context(), viewer.Check{}); err != nil {
		t.Fatal(err)
	}
	if n := files.Counts(); n[viewer.Missing] != mixedMissing || n[viewer.Present] != mixedRows-mixedMissing || n[viewer.Broken] != 0 {
		t.Errorf("files alone: %v", n)
	}
}

// A file has what it is asked to have, up to its limit.
func TestExport(t *testing.T) {
	ds, dir := mixedSet(t)
	good := mixedRows - mixedMissing - mixedBroken
	for _, tt := range []struct {
		embed         string
		limit         int64
		thumbs, links int
	}{
		{viewer.EmbedThumbs, 1 << 30, good, 0},
		{viewer.EmbedLinks, 1 << 30, 0, good},
		{viewer.EmbedNone, 1 << 30, 0, 0},
		{viewer.EmbedThumbs, 0, 0, good},
	} {
		page, err := viewer.NewDataPage(ds, nil)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		got, err := page.Export(t.Context(), &b, viewer.Export{Dir: filepath.Dir(dir), Embed: tt.embed, Side: 96, Limit: tt.limit, Check: viewer.Check{Decode: true, Workers: 2}})
		if err != nil || got.Thumbs != tt.thumbs || got.Links != tt.links || got.Rows != mixedRows {
			t.Errorf("%s up to %d: %+v, %v; want %d thumbs and %d links", tt.embed, tt.limit, got, err, tt.thumbs, tt.links)
		}
		if n := page.Counts(); n[viewer.Broken] != mixedBroken || n[viewer.Missing] != mixedMissing {
			t.Errorf("%s: states %v", tt.embed, n)
		}
		if strings.Contains(b.String(), filepath.Dir(dir)) {
			t.Errorf("%s: the file names a folder of the machine", tt.embed)
		}
	}
	page, _ := viewer.NewDataPage(ds, nil)
	const limit = 2000
	got, err := page.Export(t.Context(), new(strings.Builder), viewer.Export{Dir: dir, Embed: viewer.EmbedThumbs, Side: 96, Limit: limit})
	if err != nil || got.Bytes > limit || got.Bytes < limit/2 || got.Thumbs == 0 || got.Thumbs+got.Links != mixedRows-mixedMissing-mixedBroken {
		t.Errorf("up to %d bytes: %+v, %v", limit, got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := page.Export(ctx, new(strings.Builder), viewer.Export{Embed: viewer.EmbedNone}); err == nil {
		t.Error("an export that was interrupted is none")
	}
}

// served serves the page of a data set until the test ends, and returns its address.
func served(t testing.TB, ds dataloader.Dataset) string {
	t.Helper()
	page, err := viewer.NewDataPage(ds, nil)
	if err != nil {
		t.Fatal(err)
	}
	site := viewer.NewSite()
	if err := page.Add(site, "/"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	checked := make(chan error, 1)
	go func() { checked <- page.Check(ctx, viewer.Check{Decode: true}) }()
	server := httptest.NewServer(site)
	t.Cleanup(func() {
		server.Close()
		cancel()
		select {
		case <-checked:
		case <-time.After(10 * time.Second):
			t.Error("the check does not end")
		}
	})
	return server.URL + "/"
}
