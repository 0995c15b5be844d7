package viewer_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"relsim/retrieval"
	"relsim/viewer"
	"relsim/viewer/browsertest"
)

// oddTexts has letters that change their number or their place when they are made small, line feeds, and words that are
// parts of others.
var oddTexts = []string{"", "a", "ab", "abab", "b a", "İstanbul ab", "ΑΣ ΑΣΑ", "one\nab two", "{Ab} ba", "ﬁne ab́", "🙂 ab 🙂", "ABBA", "\n", "a\x1fb"}

// edits is JavaScript: a generator of texts that somebody types who inserts, deletes, pastes and begins again, from a seed.
const edits = `function* edits(seed, n) {
	const draw = k => { seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0; return Math.floor(seed / 2 ** 32 * k); };
	const bits = ["a", "b", "a", "b", "a", "b", " ", " ", "ab", "1", "2", "step", "rel", "İ", "i", "σ", "ς", "{", "🙂", "id012"];
	for (let s = ""; n > 0; n--) {
		const at = draw(4) ? s.length : draw(s.length + 1), what = draw(14);
		if (what < 7) s = s.slice(0, at) + bits[draw(bits.length)] + s.slice(at);
		else if (what < 11) s = s.slice(0, Math.max(0, at - 1)) + s.slice(at);
		else if (what < 12) s = Array.from({length: draw(4)}, () => bits[draw(bits.length)]).join("");
		else s = "";
		if (s.length > 12) s = s.slice(0, draw(6));
		yield [s, draw];
	}
}`

// What a search finds in lines is what comparing them one by one finds, whatever was searched for before.
func TestLinesInBrowser(t *testing.T) {
	_, site, _ := newRetrieval(t)
	server := httptest.NewServer(site)
	defer server.Close()
	tab := browsertest.Start(t).Tab(t, browsertest.Options{})
	tab.Goto(server.URL + "/")
	var wrong []string
	var hits int
	tab.Eval(edits+`
	window.tried = (() => {
		const wrong = [];
		let hits = 0;
		for (const n of [1, 2, 40, 500]) {
			const texts = [];
			for (const [s] of edits(n, n)) texts.push(s.toLowerCase());
			const at = new Uint32Array(n + 1);
			for (let i = 0; i < n; i++) at[i + 1] = at[i] + texts[i].length + 1;
			const lines = relsim.lines(texts.map(t => t + "\n").join(""), at);
			for (const [s, draw] of edits(n + 7, 1000)) {
				const words = s.toLowerCase().split(" ").filter(Boolean), without = words.length > 1 && draw(3) === 0 ? words.splice(draw(words.length), 1) : [];
				if (draw(50) === 0) words.push("\n");
				const got = [...lines.find(words, without)];
				const want = [...texts.keys()].filter(i => words.every(w => texts[i].includes(w)) && !without.some(w => texts[i].includes(w)));
				hits += want.length;
				if (got.join() !== want.join()) wrong.push(n + " lines, " + JSON.stringify({words, without, got, want}));
			}
		}
		return {wrong, hits};
	})()`, nil)
	tab.Eval("tried.wrong.slice(0, 5)", &wrong)
	tab.Eval("tried.hits", &hits)
	if len(wrong) > 0 {
		t.Error(wrong)
	}
	if hits < 10_000 {
		t.Errorf("only %d lines were found: the test tests little", hits)
	}
}

// Queries that fit, their place, and the shares of those that the methods get right are what a plain search gives, through
// edits and filters in any order.
func TestSearchInBrowser(t *testing.T) {
	r, _, ds := ranked()
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range r.Items {
		if i%3 > 0 {
			r.Items[i].Caption = oddTexts[rng.IntN(len(oddTexts))] + fmt.Sprint(rng.IntN(4))
		}
		if i%7 == 0 {
			r.Items[i].Relation = oddTexts[rng.IntN(len(oddTexts))]
		}
	}
	for i := range r.Queries {
		if i%11 == 0 { // nothing could be right
			for _, row := range r.Queries[i].Rows {
				for k := range row {
					row[k].Mark = retrieval.Unjudged
				}
			}
		}
	}
	address := servePage(t, r, ds, viewer.RetrievalOptions{})
	tab := browsertest.Start(t).Tab(t, browsertest.Options{Still: true})
	tab.Goto(address + "#m=") // no method is shown: drawing takes the time
	tab.Wait("'ready' in document.documentElement.dataset")
	var tried struct {
		Wrong        []string
		Kinds, Tries int
	}
	tab.Eval(edits+`
	(async () => {
		const items = await relsim.data("items"), queries = await relsim.data("queries"), $ = id => document.getElementById(id);
		const methods = queries.right.length, total = queries.item.length, low = items.texts.map(t => t.toLowerCase());
		const first = (list, m, q) => list[m].charCodeAt(q) - 48;
		const does = {
			right: (m, q, k) => first(queries.right, m, q) > 0 && first(queries.right, m, q) <= k,
			wrong: (m, q, k) => queries.judged[q] === "1" && !does.right(m, q, k),
			twin: (m, q, k) => first(queries.twin, m, q) > 0 && first(queries.twin, m, q) <= k,
		};
		const number = new Intl.NumberFormat("en"), wrong = [], kinds = new Set();
		let keep = items.id[queries.item[0]], tries = 0;
		for (const [s, draw] of edits(5, 600)) {
			$("search").value = s;
			const changed = draw(4) === 0;
			if (changed) { // a filter, often back to that all pass
				const id = ["relation", "part", "a", "b", "ax", "bx", "k"][draw(7)], options = $(id).options;
				$(id).value = options[draw(3) ? 0 : draw(options.length)].value;
			}
			$(changed ? "relation" : "search").dispatchEvent(new Event(changed ? "change" : "input", {bubbles: true}));
			const words = s.toLowerCase().split(/\s+/).filter(Boolean), held = new Set(items.heldOut), k = Number($("k").value);
			const fits = [];
			for (let q = 0; q < total; q++) {
				const i = queries.item[q], has = t => words.every(w => low[t].includes(w));
				if (words.length && !has(items.caption[i]) && !has(items.relation[i]) && items.id[i] !== s.trim()) continue;
				if ($("relation").value && items.texts[items.relation[i]] !== $("relation").value) continue;
				if ($("part").value && held.has(i) !== ($("part").value === "held")) continue;
				if ($("a").value >= 0 && !does[$("ax").value](Number($("a").value), q, k)) continue;
				if ($("b").value >= 0 && !does[$("bx").value](Number($("b").value), q, k)) continue;
				fits.push(q);
			}
			const at = Math.max(0, fits.findIndex(q => items.id[queries.item[q]] === keep)), judged = fits.filter(q => queries.judged[q] === "1");
			if (fits.length) keep = items.id[queries.item[fits[at]]];
			const want = [fits.length === 0 ? "No query fits." : "Query " + number.format(at + 1) + " of " + number.format(fits.length) +
				(fits.length < total ? " that fit (" + number.format(total) + " in all)" : "")];
			for (let m = 0; m < methods; m++) {
				const right = judged.filter(q => does.right(m, q, k)).length;
				want.push(judged.length ? (100 * right / judged.length).toFixed(1) + " " + right + "/" + judged.length : "– 0/0");
			}
			const got = [$("position").textContent, ...[...document.querySelectorAll("td.now")].slice(-methods).map(c => c.textContent)];
			tries++;
			kinds.add(want.join());
			if (got.join("|") !== want.join("|")) wrong.push(JSON.stringify({search: s, got, want, hash: location.hash}));
			if (draw(8) === 0 && fits.length) { // another query is shown, which is to stay
				$("next").click();
				keep = items.id[queries.item[fits[(at + 1) % fits.length]]];
			}
		}
		window.tried = {wrong: wrong.slice(0, 5), kinds: kinds.size, tries};
	})()`, nil)
	tab.Eval("tried", &tried)
	if len(tried.Wrong) > 0 {
		t.Error(tried.Wrong)
	}
	if tried.Kinds < 80 {
		t.Errorf("only %d different answers in %d: the test tests little", tried.Kinds, tried.Tries)
	}
}

// While somebody types, a query that stays is not drawn again, and the pictures of one that is passed by are not asked for.
func TestTypingInBrowser(t *testing.T) {
	_, site, _ := newRetrieval(t)
	var mu sync.Mutex
	asked := make(map[string]bool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.Path] = true
		mu.Unlock()
		site.ServeHTTP(w, r)
	}))
	defer server.Close()
	tab := browsertest.Start(t).Tab(t, browsertest.Options{Still: true})
	tab.Goto(server.URL + "/")
	tab.Wait(shownRetrieval)
	tab.Eval(`document.querySelector(".hit").title = "first"`, nil)
	// Each result is drawn before the next key, though no time passes in which the browser could do anything else.
	drawn := tab.Text(`(async () => {
		const s = document.getElementById("search"), seen = [];
		for (const text of ["s", "step 0", "step 1", "step 2", "step 22", "step 4"]) {
			s.value = text;
			s.dispatchEvent(new Event("input"));
			for (let i = 0; i < 20; i++) await null;
			const hit = document.querySelector(".hit");
			seen.push(hit ? hit.title || hit.dataset.item : "none");
		}
		return seen.join();
	})()`)
	if want := "first,first,6,7,none,9"; drawn != want {
		t.Errorf("the first pictures are those of items %s, want %s", drawn, want)
	}
	tab.Wait(shownRetrieval)
	mu.Lock()
	defer mu.Unlock()
	// Of the queries 0 and 4, ours, theirs and twins find these. Queries 1 and 2 find 6, 8, 2 and 7, 9, 3.
	for row, want := range map[int]bool{0: true, 1: true, 2: false, 3: false, 4: true, 5: true, 6: false, 7: true, 8: false, 9: true, 11: true} {
		if path := fmt.Sprintf("/picture/%d", row); asked[path] != want {
			t.Errorf("%s was asked for: %t, want %t", path, asked[path], want)
		}
	}
}
