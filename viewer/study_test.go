package viewer_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relsim/study"
	"relsim/viewer"
	"relsim/viewer/browsertest"
)

// newStudy is a site that asks about two methods against a third, with names that occur nowhere else.
func newStudy(t testing.TB, n int) (*viewer.Site, *study.Collection, string) {
	t.Helper()
	r, _, ds := ranked()
	for i, name := range []string{"ZebraOne", "ZebraTwo", "ZebraSix"} {
		r.Methods[i].Name = name
	}
	plan, err := study.New(r, study.Options{N: n, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "votes.jsonl")
	c, err := study.Open(path, plan)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	site := viewer.NewSite()
	if err := site.AddStudy("/", c, viewer.NewPictures(ds, 1<<20)); err != nil {
		t.Fatal(err)
	}
	return site, c, path
}

// post sends an answer as the page does.
func post(site http.Handler, body string, header ...string) *http.Response {
	r := httptest.NewRequest("POST", "/answer", strings.NewReader(body))
	r.Host = "localhost:8018"
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	site.ServeHTTP(w, r)
	return w.Result()
}

// TestStudyIsBlind fetches all that a rater's page gets in a whole study. Nothing in it names a method, a query or a
// relation, and the first method's picture is on either side.
func TestStudyIsBlind(t *testing.T) {
	site, c, path := newStudy(t, 60)
	r, _, _ := ranked()
	var seen strings.Builder
	look := func(response *http.Response) string {
		for name, values := range response.Header {
			fmt.Fprintf(&seen, "%s: %s\n", name, strings.Join(values, ", "))
		}
		text := body(t, response)
		if response.StatusCode != 200 {
			t.Fatalf("%d: %s", response.StatusCode, text)
		}
		return text
	}
	seen.WriteString(look(request(site, "GET", "/")))
	var tasks []string
	next := look(request(site, "GET", "/question?rater=anna"))
	for {
		seen.WriteString(next + "\n")
		var q study.Question
		decoder := json.NewDecoder(strings.NewReader(next))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&q); err != nil {
			t.Fatal(err)
		}
		if q.Task == "" {
			break
		}
		tasks = append(tasks, q.Task)
		for _, side := range []string{"q", "a", "b"} {
			look(request(site, "GET", "/picture/"+q.Task+"/"+side+"?rater=anna"))
		}
		next = look(post(site, fmt.Sprintf(`{"rater":"anna","task":%q,"answer":"a","revision":0,"seconds":1}`, q.Task)))
	}
	if len(tasks) != 120 {
		t.Fatalf("%d tasks", len(tasks))
	}
	for _, m := range []string{"Zebra", "trained", "baseline"} {
		if strings.Contains(strings.ToLower(seen.String()), strings.ToLower(m)) {
			t.Errorf("what a rater gets has %q", m)
		}
	}
	for _, it := range r.Items {
		for _, text := range []string{`"` + it.ID, it.Caption} {
			if strings.Contains(seen.String(), text) {
				t.Fatalf("what a rater gets has %q", text)
			}
		}
	}
	for _, s := range []struct{ target, want string }{
		{"/blocks/head", "404"}, {"/rows/0", "404"}, {"/picture/0", "404"}, {"/picture/" + tasks[0] + "/c?rater=anna", "404"},
		{"/picture/" + tasks[0] + "/a?rater=ben", "404"}, {"/question", "400"}, {"/question?rater=anna&place=120", "400"}, {"/question?rater=anna&place=x", "400"},
	} {
		if got := fmt.Sprint(request(site, "GET", s.target).StatusCode); got != s.want {
			t.Errorf("%s: %s, want %s", s.target, got, s.want)
		}
	}
	// The tasks' names do not sort the questions: their order by name has both methods and both sides mixed.
	v, err := study.ReadVotes(path)
	if err != nil {
		t.Fatal(err)
	}
	votes := slices.Clone(v.List)
	slices.SortFunc(votes, func(a, b study.Vote) int { return strings.Compare(a.Task, b.Task) })
	for _, order := range [][]study.Vote{v.List, votes} {
		oursIsA, two := 0, 0
		for _, x := range order[:60] {
			if x.A == "ZebraOne" {
				oursIsA++
			}
			if x.A == "ZebraTwo" || x.B == "ZebraTwo" {
				two++
			}
		}
		if oursIsA < 15 || oursIsA > 45 || two < 15 || two > 45 { // 30 ± 4 standard deviations
			t.Errorf("of the first 60 questions %d have ours as A and %d are about ZebraTwo", oursIsA, two)
		}
	}
	// Answers that are none, and from other pages.
	for _, tt := range []struct {
		body   string
		header []string
		want   int
	}{
		{"no", nil, 400}, {`{"rater":"anna","task":"x","answer":"a"}`, nil, 400},
		{fmt.Sprintf(`{"rater":"anna","task":%q,"answer":"b"}`, tasks[0]), nil, 409},
		{fmt.Sprintf(`{"rater":"anna","task":%q,"answer":"a"}`, tasks[0]), []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{fmt.Sprintf(`{"rater":"anna","task":%q,"answer":"a"}`, tasks[0]), nil, 200},
		{`{"rater":"` + strings.Repeat("a", 2<<20), nil, 400},
	} {
		response := post(site, tt.body, tt.header...)
		if response.StatusCode != tt.want {
			t.Errorf("%.40s: %d, want %d", tt.body, response.StatusCode, tt.want)
		}
		if text, _ := io.ReadAll(response.Body); strings.Contains(string(text), "Zebra") {
			t.Errorf("%.40s: %s", tt.body, text)
		}
	}
	if n, _ := c.Counts(); n != 120 {
		t.Errorf("%d votes", n)
	}
}

func TestStudyInBrowser(t *testing.T) {
	site, c, path := newStudy(t, 3)
	server := httptest.NewServer(site)
	defer server.Close()
	b := browsertest.Start(t)
	tab := b.Tab(t, browsertest.Options{Still: true})
	const ready = "!document.getElementById('ask').hidden && !document.getElementById('a').disabled"
	counted := func(n int) {
		t.Helper()
		tab.Wait(fmt.Sprintf("document.getElementById('count').textContent === '%d of 6 answered'", n))
		tab.Wait(ready)
	}
	tab.Goto(server.URL + "/")
	tab.Wait("!document.getElementById('who').hidden")
	tab.Screenshot(os.Getenv("SCREENSHOTS"), "study-who")
	tab.Press(" anna b. " + browsertest.Enter)
	counted(0)
	tab.Screenshot(os.Getenv("SCREENSHOTS"), "study-wide")
	if got := tab.Text("[...document.querySelectorAll('img')].map(i => i.alt).join()"); got != "The picture,Picture A,Picture B" {
		t.Errorf("alternative texts %q", got)
	}
	if tab.True("[...document.querySelectorAll('#ask img')].some(i => i.naturalWidth === 0)") {
		t.Error("a picture is not there")
	}
	if tab.True(`[...document.querySelectorAll('.frame')].some(f => { const i = f.querySelector('img').getBoundingClientRect(), b = f.getBoundingClientRect();
		return i.top < b.top || i.bottom > b.bottom || i.left < b.left || i.right > b.right })`) {
		t.Error("a picture is cut off")
	}
	tab.Press(browsertest.ArrowLeft)
	counted(1)
	tab.Click("#b")
	counted(2)
	tab.Press("0")
	counted(3)
	// Back: the answer stands, and can be changed.
	tab.Press(browsertest.Backspace)
	tab.Wait("document.getElementById('same').getAttribute('aria-pressed') === 'true' && !document.getElementById('a').disabled")
	tab.Press("2")
	counted(3)
	// Gone on with, by the address alone, on a phone in the dark.
	link := tab.Text("location.href")
	tab = b.Tab(t, browsertest.Options{Phone: true, Dark: true, Still: true})
	tab.Goto(link)
	counted(3)
	if tab.True("document.documentElement.scrollWidth > innerWidth || document.querySelector('.answers').getBoundingClientRect().bottom > innerHeight") {
		t.Error("the page does not fit on a phone")
	}
	tab.Screenshot(os.Getenv("SCREENSHOTS"), "study-phone")
	for n := 4; n < 6; n++ {
		tab.Press("1")
		counted(n)
	}
	tab.Press("1")
	tab.Wait("!document.getElementById('end').hidden")
	tab.Screenshot(os.Getenv("SCREENSHOTS"), "study-end")
	if got := tab.Text("document.getElementById('end-count').textContent"); got != "6 of 6 answered." {
		t.Errorf("at the end: %q", got)
	}
	v, err := study.ReadVotes(path)
	if err != nil {
		t.Fatal(err)
	}
	var answers []string
	for _, x := range v.List {
		answers = append(answers, fmt.Sprint(x.Answer, x.Revision))
		if x.Rater != "anna b." || x.Seconds <= 0 || x.Seconds > 60 {
			t.Errorf("%+v", x)
		}
	}
	if got := strings.Join(answers, " "); got != "a0 b0 b1 a0 a0 a0" {
		t.Errorf("votes %s", got)
	}
	// Another rater, while the server is away: the page says that it does not know.
	tab = b.Tab(t, browsertest.Options{Noisy: true, Still: true})
	tab.Goto(server.URL + "/#rater=ben")
	counted(0)
	server.CloseClientConnections()
	server.Listener.Close()
	tab.Press("1")
	tab.Wait("document.querySelector('[role=alert]')?.textContent.startsWith('The server does not answer.')")
	if n, raters := c.Counts(); n != 6 || raters != 1 {
		t.Errorf("%d votes of %d raters", n, raters)
	}
}
