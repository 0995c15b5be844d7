package viewer_test

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"relsim/retrieval"
	"relsim/viewer"
	"relsim/viewer/browsertest"
)

// BenchmarkRetrievalInBrowser measures the page of an evaluation of the paper's size, five methods with ten pictures each:
// from the address to the first paint and to the first query, and from a change of the search to the paint after its result.
func BenchmarkRetrievalInBrowser(b *testing.B) {
	const methods, top = 5, 10
	ds := captionSet(paperRows)
	r := &retrieval.Rankings{Data: "rows.jsonl", Split: "test", Positives: "caption", Top: top}
	for m := range methods {
		r.Methods = append(r.Methods, retrieval.RankedMethod{Name: fmt.Sprint("method ", m), Kind: retrieval.Baseline})
	}
	for i := range ds.Len() {
		it := ds.Item(i)
		r.Items = append(r.Items, retrieval.RankedItem{ID: it.ID, URL: it.URL, Caption: it.Caption, Profile: -1})
		q := retrieval.RankedQuery{Item: i}
		for m := range methods {
			var row []retrieval.RankedHit
			for k := range top {
				mark := retrieval.Wrong
				if (i+m+k)%7 == 0 {
					mark = retrieval.Right
				}
				row = append(row, retrieval.RankedHit{Item: (i + 1 + m*31 + k*977) % ds.Len(), Score: 1 - float64(k)/16, Mark: mark})
			}
			q.Rows = append(q.Rows, row)
		}
		r.Queries = append(r.Queries, q)
	}
	page, err := viewer.NewRetrieval(r, viewer.RetrievalOptions{})
	if err != nil {
		b.Fatal(err)
	}
	site := viewer.NewSite()
	if err := page.AddTo(site, "/", viewer.NewPictures(ds, 1<<20)); err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(site)
	defer server.Close()
	tab := browsertest.Start(b).Tab(b, browsertest.Options{Noisy: true})
	var keys []float64
	for b.Loop() {
		tab.Goto("about:blank")
		tab.Goto(server.URL + "/")
		tab.Wait(`'ready' in document.documentElement.dataset`)
		b.ReportMetric(tab.Number(`performance.now()`), "query-ms")
		b.ReportMetric(tab.Number(`performance.getEntriesByName("first-contentful-paint")[0].startTime`), "first-paint-ms")
		time.Sleep(time.Second)
		for _, search := range []string{"growing step", "the transformation of {", "zzz"} {
			for n := range search {
				ms := tab.Number(fmt.Sprintf(`new Promise(done => {
					const s = document.getElementById("search"), from = performance.now();
					new MutationObserver((_, o) => { o.disconnect(); requestAnimationFrame(() => setTimeout(() => done(performance.now() - from))) })
						.observe(document.getElementById("position"), {childList: true, characterData: true, subtree: true});
					s.value = %q;
					s.dispatchEvent(new Event("input"));
				})`, search[:n+1]))
				keys = append(keys, ms)
			}
		}
		b.ReportMetric(tab.Number("performance.memory.usedJSHeapSize / 1048576"), "tab-MiB")
	}
	slices.Sort(keys)
	b.ReportMetric(keys[len(keys)/2], "key-median-ms")
	b.ReportMetric(keys[len(keys)*95/100], "key-p95-ms")
	b.ReportMetric(keys[len(keys)-1], "key-max-ms")
}
