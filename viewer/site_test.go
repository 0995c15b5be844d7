package viewer_test

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"relsim/dataloader"
	"relsim/viewer"
)

// writePNG writes a picture of one colour, w×h pixels.
func writePNG(t testing.TB, path string, w, h int, c color.Color) {
	t.Helper()
	im := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			im.Set(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, im); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}

// request sends a request to a site, without a network.
func request(site http.Handler, method, target string, header ...string) *http.Response {
	r := httptest.NewRequest(method, target, strings.NewReader("{}"))
	r.Host = "localhost:8017"
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	site.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func smallPage() *viewer.Page {
	return &viewer.Page{
		Title: `<T> & "q"`, Style: "p{margin:0}", Body: `<main><p id="out"></p></main>`,
		Script: "relsim.data('numbers').then(n => { document.getElementById('out').textContent = n.join() });\n",
		Blocks: []viewer.Block{{Name: "numbers", JSON: []byte("[1,2]")}},
	}
}

// newSite is a site of one small page and three pictures: a good one, one that is missing, and a broken one.
func newSite(t *testing.T) *viewer.Site {
	t.Helper()
	dir := t.TempDir()
	writePNG(t, filepath.Join(dir, "a.png"), 700, 350, color.NRGBA{R: 200, A: 255})
	if err := os.WriteFile(filepath.Join(dir, "c.png"), []byte("\x89PNG\r\n\x1a\nno"), 0o666); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, name := range []string{"a.png", "b.png", "c.png"} {
		paths = append(paths, filepath.Join(dir, name))
	}
	site := viewer.NewSite()
	if err := site.AddPage("/", smallPage()); err != nil {
		t.Fatal(err)
	}
	site.AddPictures("/", viewer.NewPictures(dataloader.Files("files", paths), 1<<20))
	site.Handle("POST /votes", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		w.Write(data)
	}))
	return site
}

// Who may ask for what, and what it is answered.
func TestSite(t *testing.T) {
	site := newSite(t)
	for _, tt := range []struct {
		name, method, target string
		header               []string
		status               int
		holds                string
	}{
		{"the page", "GET", "/", nil, 200, "<title>&lt;T&gt; &amp; &#34;q&#34;</title>"},
		{"its block", "GET", "/blocks/numbers", nil, 200, "[1,2]"},
		{"another block", "GET", "/blocks/none", nil, 404, ""},
		{"by address", "GET", "/", []string{"Host", "127.0.0.1:8017"}, 200, "<title>"},
		{"by address of six", "GET", "/", []string{"Host", "[::1]:8017"}, 200, "<title>"},
		{"without a port", "GET", "/", []string{"Host", "localhost"}, 200, "<title>"},
		{"a name that was made to point here", "GET", "/", []string{"Host", "attacker.example:8017"}, 421, "localhost"},
		{"one that looks alike", "GET", "/picture/0", []string{"Host", "localhost.attacker.example"}, 421, "localhost"},
		{"an address of the network", "GET", "/", []string{"Host", "192.168.1.7:8017"}, 421, ""},
		{"no host", "GET", "/", []string{"Host", ""}, 421, ""},
		{"another method", "POST", "/", nil, 405, ""},
		{"a picture", "GET", "/picture/0", nil, 200, "\xff\xd8\xff"},
		{"a missing one", "GET", "/picture/1", nil, 404, "picture missing"},
		{"a broken one", "GET", "/picture/2?side=96", nil, 422, "picture broken"},
		{"beyond the last", "GET", "/picture/3", nil, 404, "no such row"},
		{"before the first", "GET", "/picture/-1", nil, 404, "no such row"},
		{"a path", "GET", "/picture/..%2f..%2fetc%2fpasswd", nil, 404, "no such row"},
		{"a path again", "GET", "/../site_test.go", nil, 307, ""},
		{"a file", "GET", "/a.png", nil, 404, ""},
		{"a size that is none", "GET", "/picture/0?side=100000", nil, 400, "want one of"},
		{"its own request", "POST", "/votes", []string{"Origin", "http://localhost:8017", "Sec-Fetch-Site", "same-origin"}, 200, "{}"},
		{"one of another page", "POST", "/votes", []string{"Origin", "http://attacker.example", "Sec-Fetch-Site", "cross-site"}, 403, "another page"},
		{"one of another page in an old browser", "POST", "/votes", []string{"Origin", "http://attacker.example"}, 403, "another page"},
	} {
		r := request(site, tt.method, tt.target, tt.header...)
		if text := body(t, r); r.StatusCode != tt.status || !strings.Contains(text, tt.holds) {
			t.Errorf("%s: status %d, want %d; %.80q, want %q in it", tt.name, r.StatusCode, tt.status, text, tt.holds)
		} else if strings.Contains(text, os.TempDir()) {
			t.Errorf("%s: the answer names a folder: %q", tt.name, text)
		}
		for header, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin", "X-Frame-Options": "DENY",
		} {
			if got := r.Header.Get(header); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s is %q", tt.name, header, got)
			}
		}
	}
}

// What a browser has already is not sent again.
func TestETag(t *testing.T) {
	site := newSite(t)
	for _, target := range []string{"/", "/blocks/numbers", "/picture/0?side=160"} {
		first := request(site, "GET", target)
		etag := first.Header.Get("ETag")
		if len(etag) < 10 {
			t.Errorf("%s: ETag %q", target, etag)
		}
		if again := request(site, "GET", target, "If-None-Match", `"other", W/`+etag); again.StatusCode != 304 || body(t, again) != "" {
			t.Errorf("%s: status %d with its ETag", target, again.StatusCode)
		}
		if other := request(site, "GET", target, "If-None-Match", `"other"`); other.StatusCode != 200 {
			t.Errorf("%s: status %d with another ETag", target, other.StatusCode)
		}
		if head := request(site, "HEAD", target); head.StatusCode != 200 || body(t, head) != "" || head.Header.Get("Content-Length") != strconv.Itoa(len(body(t, first))) {
			t.Errorf("%s: HEAD gives %d, %v", target, head.StatusCode, head.Header)
		}
	}
}

// A page admits its own script and style, by hash, and no other.
func TestPolicy(t *testing.T) {
	policy := request(newSite(t), "GET", "/").Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("%q is not in %s", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
		t.Error(policy)
	}
	for _, p := range []*viewer.Page{
		{Title: "x", Script: "'</SCRIPT >'"}, {Title: "x", Style: "</style>"},
		{Title: "x", Blocks: []viewer.Block{{Name: "../x"}}}, {Title: "x", Blocks: []viewer.Block{{Name: "a"}, {Name: "a"}}},
	} {
		if err := viewer.NewSite().AddPage("/", p); err == nil || !strings.Contains(err.Error(), `viewer: page "x": `) {
			t.Errorf("%+v: %v", p, err)
		}
		if err := p.Export(io.Discard); err == nil {
			t.Errorf("%+v is exported", p)
		}
	}
}

// A body that is too large ends.
func TestBody(t *testing.T) {
	r := httptest.NewRequest("POST", "/votes", strings.NewReader(strings.Repeat("x", 2<<20)))
	r.Host = "localhost"
	w := httptest.NewRecorder()
	newSite(t).ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d for 2 MiB", w.Code)
	}
}

// Pictures are as small as they are asked for, and keep their shape.
func TestPictures(t *testing.T) {
	site := newSite(t)
	for _, tt := range []struct{ side, w, h int }{{96, 96, 48}, {256, 256, 128}, {1280, 700, 350}} {
		r := request(site, "GET", "/picture/0?side="+strconv.Itoa(tt.side))
		c, kind, err := image.DecodeConfig(strings.NewReader(body(t, r)))
		if err != nil || c.Width != tt.w || c.Height != tt.h || r.Header.Get("Content-Type") != "image/"+kind {
			t.Errorf("side %d: %s of %d×%d as %s, %v", tt.side, kind, c.Width, c.Height, r.Header.Get("Content-Type"), err)
		}
	}
}

// counted counts how often pictures are read.
type counted struct {
	dataloader.Dataset
	mu sync.Mutex
	n  int
}

func (c *counted) Image(ctx context.Context, i int) (*dataloader.Image, error) {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	time.Sleep(20 * time.Millisecond) // so that others ask for it too
	return c.Dataset.Image(ctx, i)
}

func TestCache(t *testing.T) {
	items := make([]dataloader.Item, 100)
	images := make([]*dataloader.Image, len(items))
	for i := range images {
		images[i] = &dataloader.Image{Width: 8, Height: 8, Pix: make([]byte, 3*8*8)}
	}
	set := &counted{Dataset: dataloader.NewMemory("m", items, images)}
	const memory = 4000 // of some ten pictures
	p := viewer.NewPictures(set, memory)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, err := p.Get(t.Context(), 7, 96); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if set.n != 1 {
		t.Errorf("eight that ask at once have the picture read %d times", set.n)
	}
	if _, err := p.Get(t.Context(), 7, 96); err != nil || set.n != 1 {
		t.Errorf("a picture that is kept: %v, read %d times", err, set.n)
	}
	for i := range 40 {
		if _, err := p.Get(t.Context(), 20+i, 96); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Get(t.Context(), 7, 96); err != nil || set.n != 42 {
		t.Errorf("a picture that was given up: %v, read %d times, want 42", err, set.n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Get(ctx, 90, 96); viewer.StateOf(err) != viewer.Unchecked {
		t.Errorf("a context that has ended: %v", err)
	}
}

// The server says where it is, ends with its context, and says when its port is taken.
func TestServe(t *testing.T) {
	site := newSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	url, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- site.Serve(ctx, viewer.Listen{}, func(u string) { url <- u }) }()
	address := <-url
	r, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	if text := body(t, r); r.StatusCode != 200 || !strings.Contains(text, "<title>") {
		t.Errorf("%s: %d, %.80s", address, r.StatusCode, text)
	}
	r.Body.Close()
	_, port, _ := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(address, "http://"), "/"))
	number, _ := strconv.Atoi(port)
	err = viewer.NewSite().Serve(ctx, viewer.Listen{Port: number}, func(string) { t.Error("two servers have one port") })
	if err == nil || !strings.Contains(err.Error(), "port "+port+" of 127.0.0.1 is in use") {
		t.Errorf("a port in use: %v", err)
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the end of the context: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the server does not end")
	}
	if _, err := http.Get(address); err == nil {
		t.Error("it answers after its end")
	}
}

func TestLocal(t *testing.T) {
	for host, want := range map[string]bool{"": true, "localhost": true, "127.0.0.1": true, "127.8.8.8": true, "::1": true, "0.0.0.0": false, "::": false, "192.168.1.7": false, "example.org": false} {
		if got := (viewer.Listen{Host: host}).Local(); got != want {
			t.Errorf("%q is local: %v", host, got)
		}
	}
}
