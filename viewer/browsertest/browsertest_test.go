package browsertest_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relsim/viewer/browsertest"
)

const page = `<!doctype html><meta name=viewport content="width=device-width"><title>t</title><link rel=icon href="data:,">
<input id=in><p id=out></p><button id=b>b</button>
<script>
document.getElementById("in").oninput = e => { document.getElementById("out").textContent = e.target.value }
document.getElementById("b").onclick = () => { console.error("pressed", 1) }
</script>`

func TestTab(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write([]byte(page))
	}))
	defer server.Close()
	b := browsertest.Start(t)
	tab := b.Tab(t, browsertest.Options{Phone: true, Dark: true, Still: true, Noisy: true})
	tab.Goto(server.URL)
	if w := tab.Number("innerWidth"); w != 390 {
		t.Errorf("a phone is %v wide", w)
	}
	for _, query := range []string{"(prefers-color-scheme:dark)", "(prefers-reduced-motion:reduce)", "(pointer:coarse)"} {
		if !tab.True("matchMedia('" + query + "').matches") {
			t.Errorf("%s does not match", query)
		}
	}
	tab.Click("#in")
	tab.Press("abc" + browsertest.Backspace)
	tab.Wait("document.getElementById('out').textContent === 'ab'")
	tab.Click("#b")
	tab.Eval("Promise.resolve().then(() => { setTimeout(() => { throw new Error('loose') }) })", nil)
	for deadline := time.Now().Add(10 * time.Second); len(tab.Console()) < 2 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond) // what the page throws comes when it comes
	}
	if got := strings.Join(tab.Console(), "|"); !strings.Contains(got, "pressed") || !strings.Contains(got, "Error: loose") {
		t.Errorf("the console: %q", got)
	}
	dir := t.TempDir()
	tab.Screenshot("", "none")
	tab.Screenshot(dir, "shot")
	if data, err := os.ReadFile(filepath.Join(dir, "shot.png")); err != nil || !strings.HasPrefix(string(data), "\x89PNG") {
		t.Errorf("screenshot: %d bytes, %v", len(data), err)
	}
	before := tab.Work()
	tab.Eval("(() => { let x = 0; for (let i = 0; i < 1e8; i++) x = (x * 31 + i) | 0; return x })()", nil)
	if ms := tab.Work() - before; ms < 10 { // at most ten additions a nanosecond
		t.Errorf("a hundred million steps took %v ms of the processor", ms)
	}
	tab.Eval("new Promise(done => setTimeout(done, 300))", nil)
	if ms := tab.Work() - before; ms > 20_000 {
		t.Errorf("%v ms are no milliseconds", ms)
	}
	if wide := b.Tab(t, browsertest.Options{}); wide.Number("innerWidth") != 1280 || wide.True("matchMedia('(prefers-color-scheme:dark)').matches") {
		t.Error("a second tab has the first one's settings")
	}
}

func TestFind(t *testing.T) {
	t.Setenv("CHROME", filepath.Join(t.TempDir(), "none"))
	if _, err := browsertest.Find(); err == nil || !strings.Contains(err.Error(), "CHROME") {
		t.Errorf("a program that is not there: %v", err)
	}
	t.Setenv("CHROME", "")
	t.Setenv("PATH", t.TempDir())
	if path, err := browsertest.Find(); err == nil && !filepath.IsAbs(path) || err != nil && !strings.Contains(err.Error(), "chromium, ") {
		t.Errorf("an empty path: %q, %v", path, err)
	}
}
