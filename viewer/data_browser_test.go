package viewer_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relsim/viewer"
	"relsim/viewer/browsertest"
)

const (
	status  = `document.getElementById("status").textContent`
	cards   = `document.querySelectorAll("#results .card").length`
	captOf  = `document.querySelector("#results .card .caption").textContent`
	rowsOf  = `[...document.querySelectorAll("#results .card")].slice(0, 5).map(c => +c.dataset.row).join()`
	focused = `document.activeElement.closest(".card")?.dataset.row`
)

// The page of a data set, as a user has it: every line of what it can do.
func TestDataInBrowser(t *testing.T) {
	ds, dir := mixedSet(t)
	address := served(t, ds)
	shots := os.Getenv("SCREENSHOTS")
	b := browsertest.Start(t)
	tab := b.Tab(t, browsertest.Options{Noisy: true}) // what is missing is asked for, before the page knows
	whole := tab
	begin := func(hash string) {
		t.Helper()
		tab.Goto("about:blank")
		tab.Goto(address + hash)
		tab.Wait(cards + " > 0")
	}
	equal := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	wait := func(want string) {
		t.Helper()
		tab.Wait(fmt.Sprintf("%s === %q", status, want))
	}

	run := func(name string, f func(t *testing.T)) {
		t.Run(name, func(sub *testing.T) {
			outer := t
			t, tab = sub, whole.For(sub)
			defer func() { t, tab = outer, whole }()
			f(sub)
		})
	}

	run("first", func(t *testing.T) {
		begin("")
		wait("1,204 rows, 1 to 500")
		tab.Wait(cards + " === 500")
		tab.Wait(`[...document.querySelectorAll(".pic img")].some(i => i.complete && i.naturalWidth > 0)`)
		if n := tab.Number(`document.querySelectorAll("img:not([alt]), a:not([href]), button:not([type]):not(dialog button)").length`); n != 0 {
			t.Errorf("%v elements have no alternative text, address or type", n)
		}
		if tab.True(`[...document.querySelectorAll('a[target]')].some(a => a.rel !== "noopener noreferrer" || !a.href.startsWith("https://example.org/"))`) {
			t.Error("a link to a source is not one of https without an opener")
		}
		tab.Screenshot(shots, "wide")
	})

	run("hostile caption", func(t *testing.T) {
		begin("#row=1")
		tab.Wait(`document.querySelector("#detail .caption")`)
		for _, where := range []string{`document.querySelector('.card[data-row="0"] .caption')`, `document.querySelector("#detail .caption")`} {
			if text := tab.Text(where + ".textContent"); !strings.Contains(text, `<img src=x onerror="window.bad=1"><script>window.bad=1</script></script> & {Subject}`) {
				t.Errorf("it is shown as %q", text)
			}
			if tab.True(where + `.querySelector("img, script")`) {
				t.Error("its markup has become elements")
			}
			if got := tab.Text(`getComputedStyle(` + where + `.querySelector("bdi")).unicodeBidi`); got != "isolate" {
				t.Errorf("text from right to left is not kept apart: %s", got)
			}
		}
		tab.Wait(`document.querySelector("#similar .similar a, #similar p:not(:empty)")`)
		if tab.True("window.bad") || tab.True(`document.querySelector('a[href^="javascript"]')`) {
			t.Error("a caption or an address ran, or can be clicked to run")
		}
		tab.Press(browsertest.Escape)
		tab.Wait(`!document.getElementById("detail").open`)
	})

	run("search", func(t *testing.T) {
		begin("")
		tab.Press("/")
		tab.Press("step  NUMBER 11")
		count := 0
		for i := range 1200 {
			if strings.Contains(fmt.Sprint(i), "11") && i > 4 {
				count++
			}
		}
		wait(fmt.Sprintf("%d of 1,204 rows", count))
		equal("marked", tab.Text(`[...document.querySelector(".card .caption").querySelectorAll("mark")].map(m => m.textContent).join()`), "number,11,step,step")
		tab.Press(browsertest.Escape)
		wait("1,204 rows, 1 to 500")
		for query, want := range map[string]string{
			"creme brulee":           "1 of 1,204 rows",
			`"number 7 growing"`:     "1 of 1,204 rows",
			"growing -step":          "0 of 1,204 rows",
			"{animal} -number":       "0 of 1,204 rows",
			"seed -letter1":          "2 of 1,204 rows",
			"id:seed3":               "1 of 1,204 rows",
			"<script>":               "1 of 1,204 rows",
			"עברית":                  "1 of 1,204 rows",
			"- \"\"":                 "1,204 rows, 1 to 500",
			"animal number zzz step": "0 of 1,204 rows",
		} {
			tab.Eval(fmt.Sprintf(`(() => { const q = document.getElementById("q"); q.value = %q; q.dispatchEvent(new Event("input")) })()`, query), nil)
			tab.Wait("document.getElementById('q').value === " + fmt.Sprintf("%q", query))
			equal("search for "+query, tab.Text(status), want)
		}
	})

	run("facets", func(t *testing.T) {
		begin("")
		equal("facets", tab.Text(`[...document.querySelectorAll("#facets fieldset:not([hidden])")].map(f => f.dataset.facet).join()`), "placeholder,relation,group,split,note,state")
		tab.Click(`[data-facet=relation] input[value=stacked]`)
		wait("600 of 1,204 rows, 1 to 500")
		equal("others of the facet keep their counts", tab.Text(`document.querySelector("[data-facet=relation] input[value=growing]").closest("label").querySelector(".n").textContent`), "600")
		tab.Click(`[data-facet=placeholder] input[value=Animal]`)
		wait("200 of 1,204 rows")
		tab.Click(`[data-facet=relation] input[value=growing]`)
		wait("400 of 1,204 rows")
		tab.Reload() // the address holds all of it
		wait("400 of 1,204 rows")
		equal("chips", tab.Text(`[...document.querySelectorAll("#chips button")].map(b => b.textContent).join()`), "Relation: stacked ×,Relation: growing ×,Placeholder: {Animal} ×,Clear filters")
		tab.Eval("history.back()", nil)
		wait("200 of 1,204 rows")
		tab.Eval("history.back()", nil)
		wait("600 of 1,204 rows, 1 to 500")
		tab.Eval("history.forward()", nil)
		wait("200 of 1,204 rows")
		tab.Click("#chips li:last-child button")
		wait("1,204 rows, 1 to 500")
		tab.Goto(address + "#placeholder=Nobody")
		wait("0 of 1,204 rows")
		equal("a value that is none", tab.Text(`document.querySelector("#chips").textContent`), "Placeholder: Nobody (none) ×")
		tab.Click("#results .empty a")
		wait("1,204 rows, 1 to 500")
	})

	run("broken and missing", func(t *testing.T) {
		begin("")
		tab.Wait(`document.getElementById("states").textContent === "1,204 rows · 120 missing · 1 broken"`)
		equal("a missing one", tab.Text(`document.querySelector('.card[data-row="9"] .nopic').textContent`), "picture missing")
		equal("a broken one", tab.Text(`document.querySelector('.card[data-row="5"] .nopic').textContent`), "picture broken")
		tab.Click("#states a:last-of-type")
		wait("1 of 1,204 rows")
		tab.Click(".card .pic")
		tab.Wait(`document.querySelector("#detail .fields")?.textContent.includes("Why broken")`)
	})

	run("sort and pages", func(t *testing.T) {
		begin("#sort=caption&relation=growing&q=e")
		equal("by caption", tab.Text(captOf), hostileShown)
		begin("#sort=id&order=down")
		tab.Wait(cards + " >= 12")
		equal("by id, down", tab.Text(rowsOf), "1203,1202,1201,1200,1199")
		begin("")
		tab.Eval(`(() => { const s = document.getElementById("sort"); s.value = "length"; s.dispatchEvent(new Event("change")) })()`, nil)
		tab.Wait(`location.hash === "#sort=length"`)
		tab.Click("#order")
		tab.Wait(`location.hash === "#sort=length&order=down"`)
		if tab.Text(rowsOf)[:2] != "0," {
			t.Errorf("the longest captions are of rows %s", tab.Text(rowsOf))
		}
		begin("#page=2")
		wait("1,204 rows, 501 to 1,000")
		tab.Press("n")
		wait("1,204 rows, 1,001 to 1,204")
		tab.Press("n") // there is no further one
		tab.Press("p")
		wait("1,204 rows, 501 to 1,000")
		tab.Click("#pages-top .previous")
		wait("1,204 rows, 1 to 500")
		begin("#page=99")
		wait("1,204 rows, 1,001 to 1,204")
	})

	run("groups", func(t *testing.T) {
		begin("#sort=group&order=down")
		tab.Wait(`document.querySelectorAll("#results .group").length === 2`)
		equal("a group", tab.Text(`document.querySelector("#results .group").textContent.slice(0, 42)`), "Group 1 · 2 picturesA seed of group {Lette")
		equal("its rows", tab.Text(rowsOf), "1203,1202,1201,1200,1199")
		tab.Click("#groups")
		tab.Wait(`document.querySelectorAll("#results .group").length === 0`)
		begin("#q=id:seed2")
		tab.Wait(`document.querySelector("#results .group h2")?.textContent === "Group 1 · 1 of 2 pictures"`)
	})

	run("keys", func(t *testing.T) {
		begin("")
		tab.Press("jjj")
		equal("after jjj", tab.Text(focused), "2")
		tab.Press("k" + browsertest.ArrowRight + browsertest.ArrowLeft)
		equal("and k", tab.Text(focused), "1")
		tab.Press(browsertest.ArrowDown)
		columns := tab.Text(`String(getComputedStyle(document.querySelector(".grid")).gridTemplateColumns.split(" ").length + 1)`)
		equal("below", tab.Text(focused), columns)
		tab.Press(browsertest.ArrowUp + browsertest.Enter)
		tab.Wait(`document.getElementById("detail").open && location.hash === "#row=2"`)
		equal("several captions", tab.Text(`[...document.querySelectorAll("#detail .caption")].map(c => c.textContent).join("|")`), "{Object} number 1 growing step by step|Another view of a {Crème Brûlée}")
		tab.Press("j")
		tab.Wait(`location.hash === "#row=3" && document.getElementById("detail").dataset.row === "2"`)
		if !tab.True(`document.getElementById("detail").textContent.includes("id occurs more than once")`) {
			t.Error("a row whose id occurs twice does not say so")
		}
		tab.Screenshot(shots, "detail")
		tab.Press(browsertest.Escape)
		tab.Wait(`!document.getElementById("detail").open && location.hash === ""`)
		equal("the focus is back", tab.Text(focused), "2")
		tab.Press("?")
		tab.Wait(`document.getElementById("help").open`)
		tab.Screenshot(shots, "help")
		tab.Press(browsertest.Escape)
		tab.Wait(`!document.getElementById("help").open`)
	})

	run("similar captions", func(t *testing.T) {
		// A seed. The rows of the other group have all of its words but one: "a" and "of", which five rows have, "seed" and
		// "group", which four have. Two words that two rows have each are in one caption only.
		begin("#row=1201")
		tab.Wait(`document.querySelectorAll("#similar .similar a").length >= 2`)
		equal("nearest", tab.Text(`[...document.querySelectorAll("#similar .similar a")].slice(0, 2).map(a => a.dataset.row).join()`), "1202,1203")
		weight := func(rows float64) float64 { return math.Log(1 + mixedRows/rows) }
		shared := 2*weight(5) + 2*weight(4)
		equal("their score", tab.Text(`document.querySelector("#similar .score").textContent`), fmt.Sprintf("%.2f · row 1,203", shared/(shared+2*weight(2))))
		tab.Click("#similar .similar a")
		tab.Wait(`document.getElementById("detail").dataset.row === "1202"`)
		tab.Eval("history.back()", nil)
		tab.Wait(`document.getElementById("detail").dataset.row === "1200"`)
	})

	run("typing is one step back", func(t *testing.T) {
		begin("#relation=growing")
		before := tab.Number("history.length")
		tab.Press("/")
		tab.Press("step")
		tab.Wait(`location.hash === "#q=step&relation=growing"`)
		if n := tab.Number("history.length") - before; n > 1 {
			t.Errorf("four letters are %v entries of the history", n)
		}
		tab.Eval("history.back()", nil)
		tab.Wait(`location.hash === "#relation=growing" && document.getElementById("q").value === ""`)
	})

	if lines := strings.Join(tab.Console(), "\n"); strings.Contains(lines, "Content") || strings.Contains(lines, "Error") || strings.Contains(lines, "violat") {
		t.Errorf("the console:\n%s", lines)
	}

	run("dark", func(t *testing.T) {
		tab := b.Tab(t, browsertest.Options{Dark: true, Still: true, Noisy: true})
		tab.Goto(address + "#q=number+1")
		tab.Wait(cards + " >= 12")
		equal("paper", tab.Text("getComputedStyle(document.body).backgroundColor"), "rgb(20, 23, 27)")
		tab.Wait(`[...document.querySelectorAll(".pic img")].slice(0, 3).every(i => i.complete)`)
		tab.Screenshot(shots, "dark")
		if tab.True(`getComputedStyle(document.documentElement).scrollBehavior === "smooth"`) {
			t.Error("it moves where the user wants it still")
		}
		contrast(t, tab)
		tab.Click("#theme")
		equal("light paper", tab.Text("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)")
		contrast(t, tab)
		tab.Reload()
		tab.Wait(cards + " > 0")
		equal("light paper is kept", tab.Text("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)")
	})

	run("phone", func(t *testing.T) {
		tab := b.Tab(t, browsertest.Options{Phone: true, Width: 360, Height: 740, Noisy: true})
		for _, hash := range []string{"", "#sort=group&order=down", "#row=1"} {
			tab.Goto("about:blank")
			tab.Goto(address + hash)
			tab.Wait(cards + " > 0")
			if hash == "#row=1" {
				tab.Wait(`document.querySelector("#similar ul, #similar p:not(.muted)") || document.querySelector("#similar").textContent`)
			}
			if w := tab.Number("Math.max(document.documentElement.scrollWidth, document.getElementById('detail').scrollWidth)"); w > 360 {
				t.Errorf("%s is %v wide on a phone of 360", hash, w)
			}
			tab.Wait(`[...document.querySelectorAll(".pic img")].slice(0, 3).every(i => i.complete)`)
			tab.Screenshot(shots, "phone"+strings.NewReplacer("#", "-", "=", "-", "&", "-").Replace(hash))
		}
		tab.Goto("about:blank")
		tab.Goto(address)
		tab.Wait(cards + " > 0")
		tab.Click("#filters summary")
		tab.Wait(`document.querySelector("[data-facet=relation] input")`)
		tab.Screenshot(shots, "phone-filters")
	})

	run("file", func(t *testing.T) {
		for _, embed := range []string{viewer.EmbedThumbs, viewer.EmbedLinks} {
			file := filepath.Join(filepath.Dir(dir), embed+".html")
			page, err := viewer.NewDataPage(ds, nil)
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.Create(file)
			if err != nil {
				t.Fatal(err)
			}
			e := viewer.Export{Dir: filepath.Dir(file), Embed: embed, Side: 96, Limit: 1 << 20, Check: viewer.Check{Decode: true, Workers: 2}}
			if _, err := page.Export(t.Context(), f, e); err != nil {
				t.Fatal(err)
			}
			f.Close()
			tab := b.Tab(t, browsertest.Options{}) // of a file, the console is empty
			tab.Goto("file://" + filepath.ToSlash(file) + "#q=step&relation=growing&page=2")
			tab.Wait(status + ` === "598 of 1,204 rows, 501 to 598"`)
			tab.Wait(`document.getElementById("states").textContent === "1,204 rows · 120 missing · 1 broken"`)
			tab.Wait(`[...document.querySelectorAll(".pic img")].some(i => i.complete && i.naturalWidth > 0)`)
			tab.Press("p")
			tab.Wait(status + ` === "598 of 1,204 rows, 1 to 500"`)
			tab.Eval("history.back()", nil)
			tab.Wait(status + ` === "598 of 1,204 rows, 501 to 598"`)
			if tab.True("window.bad") {
				t.Error("a caption ran")
			}
		}
	})
}

// hostileShown is the hostile caption as the page shows it.
var hostileShown = strings.NewReplacer("\x00", " ", "\n", " ").Replace(hostile)

// contrast measures every text that is shown against what it stands on: WCAG asks for 4.5.
func contrast(t *testing.T, tab *browsertest.Tab) {
	t.Helper()
	var low []string
	tab.Eval(`(() => {
		const parse = c => (c.match(/[\d.]+/g) || []).map(Number);
		const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
		const low = new Set();
		const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		for (let node; (node = walk.nextNode());) {
			const e = node.parentElement;
			if (!node.textContent.trim() || !e.checkVisibility() || e.closest("script, style, noscript, :disabled")) continue;
			let back = [0, 0, 0, 0];
			for (let p = e; p && back[3] === 0; p = p.parentElement) { back = parse(getComputedStyle(p).backgroundColor); if (back.length === 3) back.push(1); }
			const [a, b] = [luminance(parse(getComputedStyle(e).color)), luminance(back)].sort((x, y) => y - x);
			if ((a + 0.05) / (b + 0.05) < 4.5) low.add(e.className + "/" + e.tagName + " " + ((a + 0.05) / (b + 0.05)).toFixed(2));
		}
		return [...low];
	})()`, &low)
	if len(low) > 0 {
		t.Errorf("too little contrast: %v", low)
	}
}
