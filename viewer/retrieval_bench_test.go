package viewer_test

import (
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"relsim/dataloader"
	"relsim/retrieval"
	"relsim/viewer"
	"relsim/viewer/browsertest"
)

// servedRankings serves the page of an evaluation of a data set, five methods with ten pictures each, and returns its
// address.
func servedRankings(tb testing.TB, ds dataloader.Dataset) string {
	tb.Helper()
	const methods, top = 5, 10
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
	return servePage(tb, r, ds, viewer.RetrievalOptions{})
}

// photo writes a JPEG of 640×480 and returns its path.
func photo(tb testing.TB) string {
	tb.Helper()
	im := image.NewRGBA(image.Rect(0, 0, 640, 480))
	for y := range 480 {
		for x := range 640 {
			im.SetRGBA(x, y, color.RGBA{uint8(x * y / 97), uint8(x*x/301 + y), uint8(x ^ y), 255})
		}
	}
	path := filepath.Join(tb.TempDir(), "photo.jpg")
	f, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if err := jpeg.Encode(f, im, nil); err != nil {
		tb.Fatal(err)
	}
	return path
}

// BenchmarkRetrievalInBrowser measures the page of an evaluation of the paper's size, five methods with ten pictures each,
// where all pictures are missing and where all are there: from the address to the first paint and to the first query; from
// a change of the search to the paint of its count, shares and place (key), to that of the rankings of the query that is
// shown then (rankings), and until all of its 51 pictures are there or known to be missing (pictures); and at a quick
// typist's pace, who waits for none of that, from a key of the keyboard to the next paint (typed) and the processor time of
// the page's main thread for each key, pictures with it (typed-work). script is the page's own part of key.
func BenchmarkRetrievalInBrowser(b *testing.B) {
	for _, pictures := range []string{"missing", "there"} {
		b.Run("pictures="+pictures, func(b *testing.B) {
			path := ""
			if pictures == "there" {
				path = photo(b)
			}
			address := servedRankings(b, captionSet(paperRows, path))
			benchmarkRetrieval(b, address)
		})
	}
}

func benchmarkRetrieval(b *testing.B, address string) {
	tab := browsertest.Start(b).Tab(b, browsertest.Options{Noisy: true})
	searches := []string{"growing step", "the transformation of {", "zzz"}
	times := make(map[string][]float64)
	// change changes the search and returns how long everything took, in ms.
	change := func(search string) map[string]float64 {
		var took map[string]float64
		tab.Eval(fmt.Sprintf(`new Promise(async done => {
			const $ = id => document.getElementById(id), from = performance.now(), took = {};
			const painted = () => new Promise(next => requestAnimationFrame(() => setTimeout(next)));
			const written = new Promise(next => new MutationObserver((_, o) => { o.disconnect(); next(); })
				.observe($("position"), {childList: true, characterData: true, subtree: true}));
			$("search").value = %q;
			$("search").dispatchEvent(new Event("input"));
			took.script = performance.now() - from;
			await written;
			await painted();
			took.key = performance.now() - from;
			while ($("main").ariaBusy === "true") await painted();
			took.rankings = performance.now() - from;
			const coming = i => !i.complete, frames = [...document.querySelectorAll(".frame")];
			while (frames.some(f => !f.firstChild) || [...document.images].some(coming)) await painted();
			took.pictures = performance.now() - from;
			done(took);
		})`, search), &took)
		return took
	}
	for b.Loop() {
		tab.Goto("about:blank")
		tab.Goto(address)
		tab.Wait(`'ready' in document.documentElement.dataset`)
		b.ReportMetric(tab.Number(`performance.now()`), "query-ms")
		b.ReportMetric(tab.Number(`performance.getEntriesByName("first-contentful-paint")[0].startTime`), "first-paint-ms")
		b.ReportMetric(change("g")["key"], "first-key-ms") // before there was time to prepare for it
		change("")
		time.Sleep(time.Second)
		for _, search := range searches {
			for n := range search {
				for name, ms := range change(search[:n+1]) {
					times[name] = append(times[name], ms)
				}
			}
		}
		tab.Eval(`(() => {
			document.getElementById("search").focus();
			window.typed = [];
			new PerformanceObserver(list => { for (const e of list.getEntries()) if (e.name === "keydown") typed.push(e.duration) }).observe({type: "event", durationThreshold: 16});
		})()`, nil)
		keys, work := 0, tab.Work()
		for _, search := range searches {
			tab.Eval(`document.getElementById("search").select()`, nil) // its first key replaces what was there
			for _, key := range search {
				tab.Press(string(key))
				keys++
				time.Sleep(60 * time.Millisecond)
			}
			time.Sleep(200 * time.Millisecond)
		}
		b.ReportMetric((tab.Work()-work)/float64(keys), "typed-work-ms")
		var typed []float64
		tab.Eval("typed", &typed)
		times["typed"] = append(times["typed"], typed...)
		b.ReportMetric(tab.Number("performance.memory.usedJSHeapSize / 1048576"), "tab-MiB")
	}
	for name, of := range times {
		slices.Sort(of)
		if len(of) == 0 {
			of = []float64{16} // none took as long as the shortest that is reported
		}
		b.ReportMetric(of[len(of)/2], name+"-median-ms")
		b.ReportMetric(of[len(of)*95/100], name+"-p95-ms")
		b.ReportMetric(of[len(of)-1], name+"-max-ms")
	}
}
