package viewer_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relsim/dataloader"
	"relsim/metrics"
	"relsim/retrieval"
	"relsim/viewer"
	"relsim/viewer/browsertest"
)

// ranked has 150 queries in 5 relations by three methods. "ours" finds the picture 5 further first, which is right; "theirs"
// finds a wrong one first, and the right one second, but for every tenth query; "twins" finds a look-alike. The caption of
// query 3 is hostile, and the last picture cannot be read.
func ranked() (*retrieval.Rankings, *retrieval.Result, dataloader.Dataset) {
	const n = 150
	r := &retrieval.Rankings{
		Data: "rows.jsonl", Split: "val", Positives: "relation", Top: 3,
		Methods: []retrieval.RankedMethod{{Name: "ours", Kind: retrieval.Trained}, {Name: "theirs", Kind: retrieval.Baseline}, {Name: "<b>twins</b>", Kind: retrieval.Baseline}},
	}
	result := &retrieval.Result{Data: r.Data, Split: r.Split, Queries: n, Gallery: n}
	for i, m := range r.Methods {
		figure := func(x float64) retrieval.Metrics {
			return retrieval.Metrics{"recall@1": metrics.Interval{Mean: x, Low: x - 0.01, High: x + 0.01}}
		}
		result.Methods = append(result.Methods, retrieval.MethodResult{Name: m.Name, ImageToImage: figure(0.625 - 0.25*float64(i))})
		result.HeldOut = append(result.HeldOut, retrieval.MethodResult{Name: m.Name, ImageToImage: figure(0.5)})
	}
	var images []*dataloader.Image
	var items []dataloader.Item
	for i := range n {
		it := retrieval.RankedItem{ID: fmt.Sprintf("id%03d", i), Caption: fmt.Sprintf("{Subject} in step %d", i%5), Relation: fmt.Sprintf("rel%d", i%5), Profile: i / 5,
			HeldOut: i%5 == 4, URL: "https://example.org/" + fmt.Sprint(i)}
		if i == 3 {
			it.Caption = `</script><img src=x onerror="document.title='bad'"> ` + "\u202eright to left"
			it.URL = "javascript:alert(1)"
		}
		r.Items = append(r.Items, it)
		im := &dataloader.Image{Width: 40, Height: 30, Pix: make([]byte, 3*40*30)}
		for k := range im.Pix {
			im.Pix[k] = byte(40*(i%5) + i/5 + k%3*30)
		}
		images = append(images, im)
		items = append(items, dataloader.Item{ID: it.ID})
	}
	for i := range n {
		right, wrong, twin := (i+5)%n, (i+7)%n, i/5*5+(i+1)%5
		theirs := []retrieval.RankedHit{{Item: wrong, Score: 0.5, Mark: retrieval.Wrong}, {Item: right, Score: 0.25, Mark: retrieval.Right}}
		if i%10 == 0 {
			theirs = []retrieval.RankedHit{{Item: right, Score: 0.5, Mark: retrieval.Right}}
		}
		r.Queries = append(r.Queries, retrieval.RankedQuery{Item: i, Rows: [][]retrieval.RankedHit{
			{{Item: right, Score: 0.875, Mark: retrieval.Right}, {Item: wrong, Score: 0.5, Mark: retrieval.Wrong}, {Item: twin, Score: -0.5, Mark: retrieval.Twin}},
			theirs,
			{{Item: twin, Score: 0.75, Mark: retrieval.Twin}, {Item: wrong, Score: 0.125, Mark: retrieval.Wrong}},
		}})
	}
	return r, result, dataloader.NewMemory("rows.jsonl", items, images)
}

func newRetrieval(t testing.TB) (*viewer.Retrieval, *viewer.Site, *viewer.Pictures) {
	t.Helper()
	r, result, ds := ranked()
	page, err := viewer.NewRetrieval(r, viewer.RetrievalOptions{Result: result})
	if err != nil {
		t.Fatal(err)
	}
	pictures := viewer.NewPictures(ds, 1<<20)
	site := viewer.NewSite()
	if err := page.AddTo(site, "/", pictures); err != nil {
		t.Fatal(err)
	}
	return page, site, pictures
}

func TestRetrievalRefuses(t *testing.T) {
	r, result, ds := ranked()
	result.Queries--
	if _, err := viewer.NewRetrieval(r, viewer.RetrievalOptions{Result: result}); err == nil || !strings.Contains(err.Error(), "want those of one evaluation") {
		t.Errorf("figures of another evaluation: %v", err)
	}
	result.Queries++
	result.Methods[1].Name = "others"
	if _, err := viewer.NewRetrieval(r, viewer.RetrievalOptions{Result: result}); err == nil || !strings.Contains(err.Error(), `no method "theirs"`) {
		t.Errorf("other methods: %v", err)
	}
	page, err := viewer.NewRetrieval(r, viewer.RetrievalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	few := viewer.NewPictures(dataloader.Subset(ds, "few", []int{1, 2}), 1)
	if err := page.AddTo(viewer.NewSite(), "/", few); err == nil || !strings.Contains(err.Error(), "2 pictures for a gallery of 150") {
		t.Errorf("few pictures: %v", err)
	}
	r.Queries[0].Rows = nil
	if _, err := viewer.NewRetrieval(r, viewer.RetrievalOptions{}); err == nil || !strings.Contains(err.Error(), "rankings of 0 methods: want 3") {
		t.Errorf("no rows: %v", err)
	}
	r.Queries = nil
	if _, err := viewer.NewRetrieval(r, viewer.RetrievalOptions{}); err == nil || !strings.Contains(err.Error(), "no queries") {
		t.Errorf("no queries: %v", err)
	}
}

// The server's chunks of rankings are those given.
func TestRetrievalRows(t *testing.T) {
	_, site, _ := newRetrieval(t)
	r, _, _ := ranked()
	n := 0
	for c := range 3 {
		var rows [][][]any
		if err := json.Unmarshal([]byte(body(t, request(site, "GET", fmt.Sprintf("/rows/%d", c)))), &rows); err != nil {
			t.Fatal(err)
		}
		for _, query := range rows {
			for m, row := range r.Queries[n].Rows {
				items, scores, letters := query[m][0].([]any), query[m][1].([]any), query[m][2].(string)
				if len(items) != len(row) || len(scores) != len(row) || len(letters) != len(row) {
					t.Fatalf("query %d: %v", n, query[m])
				}
				for k, h := range row {
					if items[k] != float64(h.Item) || scores[k] != h.Score || letters[k:k+1] != h.Mark[:1] {
						t.Fatalf("query %d, rank %d: %v, %v, %v, want %+v", n, k+1, items[k], scores[k], letters, h)
					}
				}
			}
			n++
		}
	}
	if n != 150 {
		t.Errorf("%d queries", n)
	}
	for _, target := range []string{"/rows/3", "/rows/-1", "/rows/x", "/rows/99999999999999999999"} {
		if got := request(site, "GET", target).StatusCode; got != 404 {
			t.Errorf("%s: %d", target, got)
		}
	}
}

func TestRetrievalExport(t *testing.T) {
	page, _, pictures := newRetrieval(t)
	var a, b bytes.Buffer
	for _, w := range []*bytes.Buffer{&a, &b} {
		if n, err := page.Export(t.Context(), w, pictures, 20, 5); n != 0 || err != nil {
			t.Fatalf("%d unreadable, %v", n, err)
		}
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("the same seed gave another page")
	}
	if strings.Contains(a.String(), "onerror=\"document") {
		t.Error("a caption is markup")
	}
}

func TestRetrievalInBrowser(t *testing.T) {
	page, site, pictures := newRetrieval(t)
	server := httptest.NewServer(site)
	defer server.Close()
	file := filepath.Join(t.TempDir(), "page.html")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := page.Export(t.Context(), f, pictures, 0, 1); err != nil {
		t.Fatal(err)
	}
	f.Close()
	b := browsertest.Start(t)
	for _, address := range []string{server.URL + "/", "file://" + filepath.ToSlash(file)} {
		tryRetrieval(t, b, address)
	}
	for _, o := range []browsertest.Options{{Phone: true, Still: true}, {Dark: true, Still: true}, {Phone: true, Dark: true, Still: true, Width: 320, Height: 640}} {
		tab := b.Tab(t, o)
		tab.Goto(server.URL + "/#q=id003")
		tab.Wait(shownRetrieval)
		if tab.True("document.documentElement.scrollWidth > innerWidth") {
			t.Errorf("%+v: the page is wider than the screen: %v", o, tab.Number("document.documentElement.scrollWidth"))
		}
		tab.Screenshot(os.Getenv("SCREENSHOTS"), fmt.Sprintf("retrieval-phone=%t-%d-dark=%t", o.Phone, o.Width, o.Dark))
	}
}

// Rankings that nobody has judged have no marks to filter by, no parts, no relations, no scores.
func TestUnjudgedInBrowser(t *testing.T) {
	r, _, ds := ranked()
	for i := range r.Items {
		r.Items[i].Relation, r.Items[i].HeldOut = "", false
	}
	for _, q := range r.Queries {
		for _, row := range q.Rows {
			for k := range row {
				row[k] = retrieval.RankedHit{Item: row[k].Item, Mark: retrieval.Unjudged}
			}
		}
	}
	address := servePage(t, r, ds, viewer.RetrievalOptions{NoScores: true})
	tab := browsertest.Start(t).Tab(t, browsertest.Options{Still: true})
	tab.Goto(address)
	tab.Wait(shownRetrieval)
	for _, id := range []string{"conditions", "relation-label", "part-label"} {
		if tab.True("document.getElementById('" + id + "').getBoundingClientRect().width > 0") {
			t.Errorf("there is %s", id)
		}
	}
	if got := tab.Text("document.querySelector('.hit').textContent"); got != "1· not judged, rank 1" {
		t.Errorf("the first picture says %q", got)
	}
}

// shownRetrieval is true when the page shows a query with all its pictures.
const shownRetrieval = `'ready' in document.documentElement.dataset && document.querySelectorAll('.hit').length > 0 &&
	!document.querySelector('.frame:empty') && [...document.images].every(i => i.complete && i.naturalWidth > 0)`

// tryRetrieval does on the page what a user does.
func tryRetrieval(t *testing.T, b *browsertest.Browser, address string) {
	tab := b.Tab(t, browsertest.Options{Still: true})
	is := func(expression, want string) {
		t.Helper()
		for deadline := time.Now().Add(15 * time.Second); ; { // what is asked for comes with the next rankings
			got := tab.Text("String(" + expression + ")")
			if got == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %s is %q, want %q", address, expression, got, want)
			}
			tab.Eval("new Promise(done => setTimeout(done, 5))", nil)
		}
	}
	choose := func(id, value string) {
		t.Helper()
		tab.Eval(fmt.Sprintf("(() => { const s = document.getElementById(%q); s.value = %q; s.dispatchEvent(new Event('change', {bubbles: true})) })()", id, value), nil)
	}
	const position = "document.getElementById('position').textContent"
	const id = "document.querySelector('#query p.muted').textContent"
	tab.Goto(address)
	tab.Wait(shownRetrieval)
	is(position, "Query 1 of 150")
	is("document.querySelectorAll('#rows .method').length", "3")
	is("[...document.querySelectorAll('#rows h3')].map(h => h.firstChild.textContent).join()", "ours,theirs,<b>twins</b>")
	is("[...document.querySelectorAll('.method:first-child .hit b')].map(b => b.textContent).join()", "✓ right,✗ wrong,≈ twin")
	is("document.querySelector('#metrics tbody tr').cells[2].textContent", "62.5 61.5–63.5")
	is("document.querySelector('#metrics tbody tr:nth-child(2)').cells[1].textContent", "10.0 15/150")
	is("document.querySelector('.hit img').alt", "{Subject} in step 0")

	// A picture: what is known of it, by focus, by mouse, and in large.
	tab.Eval("document.querySelector('.strip').focus()", nil)
	tab.Press(browsertest.KeyTab)
	is("document.getElementById('tip').hidden + document.getElementById('tip').textContent", "falseours, rank 1: right, score 0.875rel0{Subject} in step 0")
	is("document.querySelectorAll('.hit.same').length", "2") // theirs finds it, too
	tab.Press(browsertest.Enter)
	is("document.getElementById('picture').open", "true")
	is("document.getElementById('picture-title').textContent", "{Subject} in step 0")
	tab.Click("#picture-body button")
	is(id, "id005")
	tab.Press(browsertest.ArrowRight)
	is(id, "id006")
	tab.Press("k")
	is(id, "id005")
	tab.Eval("history.back()", nil)
	is(id, "id006")

	// What ours finds and theirs does not.
	choose("a", "0")
	choose("b", "1")
	is(position, "Query 6 of 135 that fit (150 in all)")
	is("document.querySelector('#metrics tbody tr:nth-child(1)').cells[1].textContent", "100.0 135/135")
	choose("k", "2")
	is(position, "No query fits.")
	choose("bx", "right")
	choose("k", "1")
	is(position, "Query 1 of 15 that fit (150 in all)")
	choose("a", "2")
	choose("ax", "twin")
	choose("part", "held")
	is(position, "No query fits.") // theirs is right first for every tenth query: all of relation 0
	tab.Click("#reset")
	is(position, "Query 1 of 150")
	if strings.HasPrefix(address, "file:") {
		return // the script is the same
	}
	choose("part", "held")
	is(position, "Query 1 of 30 that fit (150 in all)")
	choose("part", "")
	choose("relation", "rel2")
	is(position, "Query 1 of 30 that fit (150 in all)")
	choose("relation", "")
	tab.Press("/")
	is("document.activeElement.id", "search")
	tab.Eval("document.activeElement.value = ''", nil) // the protocol types the character though the page has taken the key
	tab.Press("STEP 1")
	is("document.getElementById('search').value", "STEP 1")
	is(position, "Query 1 of 30 that fit (150 in all)")
	is(id, "id001")

	// An address holds it all: methods, filter, query.
	tab.Press(browsertest.Escape + "j")
	is(id, "id006")
	tab.Click("#method-1")
	is("document.querySelectorAll('#rows .method').length", "2")
	link := tab.Text("location.href")
	other := b.Tab(t, browsertest.Options{Still: true})
	other.Goto(link)
	other.Wait(shownRetrieval)
	for _, expression := range []string{position, id, "document.getElementById('search').value", "document.querySelectorAll('#rows .method').length + ''"} {
		if got, want := other.Text(expression), tab.Text(expression); got != want {
			t.Errorf("%s: the link shows %s = %q, the page %q", address, expression, got, want)
		}
	}
	tab.Press("r")
	tab.Wait(id + " !== 'id006'")

	// Markup of a caption stays text, and a script is no link.
	other.Goto("about:blank")
	other.Goto(address + "#q=id003&m=ours")
	other.Wait(shownRetrieval)
	if got := other.Text("document.querySelector('#query h2').textContent"); !strings.HasPrefix(got, "</script><img src=x onerror=") {
		t.Errorf("%s: caption %q", address, got)
	}
	if other.True("document.querySelector('#query a') || document.title !== 'Retrieval: rows.jsonl'") {
		t.Errorf("%s: the source of query 3 is a link, or its caption ran", address)
	}
	// Nonsense in the address shows the page all the same.
	other.Goto("about:blank")
	other.Goto(address + "#q=none&a=nobody&ax=__proto__&k=-7&p=%ff&m=ours&m=x")
	other.Wait(shownRetrieval)
	if got := other.Text(position); got != "Query 1 of 150" {
		t.Errorf("%s: %q", address, got)
	}
}

// servePage serves the page of rankings of a data set until the test ends, and returns its address.
func servePage(tb testing.TB, r *retrieval.Rankings, ds dataloader.Dataset, o viewer.RetrievalOptions) string {
	tb.Helper()
	page, err := viewer.NewRetrieval(r, o)
	if err != nil {
		tb.Fatal(err)
	}
	site := viewer.NewSite()
	if err := page.AddTo(site, "/", viewer.NewPictures(ds, 64<<20)); err != nil {
		tb.Fatal(err)
	}
	server := httptest.NewServer(site)
	tb.Cleanup(server.Close)
	return server.URL + "/"
}
