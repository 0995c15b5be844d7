package viewer_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"relsim/viewer/browsertest"
)

// A page shows its data from a server and from a file.
func TestPageInBrowser(t *testing.T) {
	server := httptest.NewServer(newSite(t))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "page.html")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := smallPage().Export(f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	b := browsertest.Start(t)
	for _, address := range []string{server.URL + "/", "file://" + filepath.ToSlash(file)} {
		tab := b.Tab(t, browsertest.Options{})
		tab.Goto(address)
		tab.Wait("document.getElementById('out').textContent === '1,2'")
		if title := tab.Text("document.title"); title != `<T> & "q"` {
			t.Errorf("%s: title %q", address, title)
		}
		if tab.True("relsim.source('javascript:alert(1)') || relsim.source('no address') || relsim.source('data:text/html,x')") {
			t.Error("an address that runs a script is a link")
		}
		if got := tab.Text("relsim.source('https://example.org/a b').outerHTML"); got != `<a href="https://example.org/a%20b" rel="noopener noreferrer" target="_blank" referrerpolicy="no-referrer">example.org</a>` {
			t.Error(got)
		}
	}
	// The policy refuses handlers in markup and scripts that nobody has written here.
	tab := b.Tab(t, browsertest.Options{Noisy: true})
	tab.Goto(server.URL + "/")
	for _, attack := range []string{
		`const i = document.createElement("img"); i.setAttribute("onerror", "window.bad = 1"); i.src = "data:,"; document.body.append(i)`,
		`const s = document.createElement("script"); s.textContent = "window.bad = 1"; document.body.append(s)`,
		`document.body.innerHTML = "<img src=data:, onerror='window.bad = 1'>"`,
		`setTimeout("window.bad = 1")`,
	} {
		tab.Eval(`(() => { try { `+attack+` } catch {} return new Promise(done => setTimeout(done, 50)) })()`, nil)
		if tab.True("window.bad") {
			t.Errorf("this ran: %s", attack)
		}
	}
	if len(tab.Console()) == 0 {
		t.Error("the console says nothing of what was refused")
	}
}
