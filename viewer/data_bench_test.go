package viewer_test

import (
	"crypto/md5"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"relsim/dataloader"
	"relsim/viewer/browsertest"
)

// paperRows is the number of rows of the paper's captions.
const paperRows = 114_881

// captionSet is a data set of n rows like the paper's: captions of 8 to 25 words of a skewed vocabulary with one to three
// placeholders, hashes, addresses of some hundred letters. Every picture is the file of that path; "": all are missing.
func captionSet(n int, path string) dataloader.Dataset {
	rng := rand.New(rand.NewPCG(1, 2))
	word := func(letters int) string {
		b := make([]byte, letters)
		for i := range b {
			b[i] = "etaoinshrdlucmfwypvbgk"[min(int(rng.ExpFloat64()*6), 21)]
		}
		return string(b)
	}
	vocabulary := []string{"the", "of", "a", "and", "to", "in", "with", "that", "form", "growing", "creative", "arranged", "transformation", "step", "by"}
	for len(vocabulary) < 6000 {
		vocabulary = append(vocabulary, word(3+rng.IntN(9)))
	}
	var names []string
	for len(names) < 800 {
		names = append(names, strings.ToUpper(word(1))+word(3+rng.IntN(8)))
	}
	skewed := func(list []string) string { return list[min(int(rng.ExpFloat64()*float64(len(list))/8), len(list)-1)] }
	items := make([]dataloader.Item, n)
	for i := range items {
		words := make([]string, 8+rng.IntN(18))
		for k := range words {
			words[k] = skewed(vocabulary)
		}
		for range 1 + rng.IntN(3) {
			words[rng.IntN(len(words))] = "{" + skewed(names) + "}"
		}
		items[i] = dataloader.Item{
			ID: fmt.Sprintf("%x", md5.Sum(fmt.Append(nil, i))), Caption: strings.Join(words, " ") + ".",
			URL:  "https://" + word(9) + ".example/wp-content/uploads/" + word(20) + "/" + word(25) + "-" + word(12) + ".jpg",
			File: "rows.jsonl", Line: i + 1, Path: "/none/" + word(3), Family: -1, Profile: -1,
		}
		if path != "" {
			items[i].Path = path
		}
	}
	return dataloader.NewRows("rows.jsonl", "f", items, nil)
}

// BenchmarkDataInBrowser measures the page of a data set of the paper's size, as a user has it: from the address to the
// first paint and to the first rows, from a key to the paint that shows its result, and memory.
func BenchmarkDataInBrowser(b *testing.B) {
	ds := captionSet(paperRows, "")
	before := heap()
	begin := time.Now()
	address := served(b, ds)
	built := time.Since(begin)
	tab := browsertest.Start(b).Tab(b, browsertest.Options{Noisy: true})
	var keys []float64
	for b.Loop() {
		tab.Goto("about:blank")
		tab.Goto(address)
		rows := tab.Number(`new Promise(done => { const look = () => document.querySelector(".card") ? done(performance.now()) : requestAnimationFrame(look); look() })`)
		b.ReportMetric(tab.Number(`performance.getEntriesByName("first-contentful-paint")[0].startTime`), "first-paint-ms")
		b.ReportMetric(rows, "rows-ms")
		tab.Wait(`document.querySelectorAll(".card").length === 500`)
		tab.Wait(`document.querySelector(".card .meta a")`)
		tab.Eval(`(() => {
			window.keys = [];
			new PerformanceObserver(list => { for (const e of list.getEntries()) if (e.name === "keydown") keys.push(e.duration) }).observe({type: "event", durationThreshold: 16});
			window.handled = [];
			const q = document.getElementById("q");
			let from = 0;
			addEventListener("input", () => { from = performance.now() }, true);
			addEventListener("input", () => { handled.push(performance.now() - from) });
		})()`, nil)
		tab.Press("/")
		for _, query := range []string{"e", "growing step", "the transformation of {", "zzzz", "-the", "a b c"} {
			for _, key := range query {
				tab.Press(string(key))
				time.Sleep(60 * time.Millisecond) // a quick typist
			}
			tab.Press(browsertest.Escape)
			time.Sleep(200 * time.Millisecond)
		}
		var now, handled []float64
		tab.Eval("keys", &now)
		tab.Eval("handled", &handled)
		keys = append(keys, now...)
		slices.Sort(handled)
		b.ReportMetric(handled[len(handled)/2], "script-median-ms")
		b.ReportMetric(handled[len(handled)-1], "script-max-ms")
		tab.Eval(`document.getElementById("q").blur()`, nil)
		for _, sort := range []string{"caption", "length", "id"} {
			b.ReportMetric(tab.Number(fmt.Sprintf(`(() => { const from = performance.now(), s = document.getElementById("sort"); s.value = %q; s.dispatchEvent(new Event("change")); return performance.now() - from })()`, sort)), "sort-"+sort+"-ms")
		}
		tab.Eval(`location.hash = "#row=5"`, nil)
		from := time.Now()
		tab.Wait(`document.querySelector("#similar .similar a")`)
		b.ReportMetric(float64(time.Since(from).Milliseconds()), "first-similar-ms")
		b.ReportMetric(tab.Number("performance.memory.usedJSHeapSize / 1048576"), "tab-MiB")
	}
	slices.Sort(keys)
	if len(keys) == 0 {
		keys = []float64{16} // none took as long as the shortest that is reported
	}
	b.ReportMetric(keys[len(keys)/2], "key-median-ms")
	b.ReportMetric(keys[len(keys)*95/100], "key-p95-ms")
	b.ReportMetric(keys[len(keys)-1], "key-max-ms")
	b.ReportMetric(float64(built.Milliseconds()), "build-ms")
	b.ReportMetric(float64(heap()-before)/(1<<20), "server-MiB")
}

// heap is what is in use after a collection, in bytes.
func heap() int64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}
