package endpoint

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"relsim/judge"
	"relsim/judge/judgetest"
)

// TestRun: every question is asked once, of the right pictures in the right order, and a second run asks nothing.
func TestRun(t *testing.T) {
	pictures := judgetest.Pictures(6)
	s := judgetest.New(judgetest.BySize)
	defer s.Close()
	p := newPlan(t, judgetest.Rankings(6, 2), config(func(c *judge.Config) { c.Top = 2 }), pictures)
	// 6 queries, 2 methods, 2 ranks: the neighbours of i are i±1 and i±2, each pair in both directions.
	if len(p.Questions) != 24 {
		t.Fatalf("%d questions, want 24", len(p.Questions))
	}
	store := openStore(t)
	e := p.Estimate(store, quick(func(o *judge.RunOptions) { o.Price = judge.Price{Input: 1, Output: 10} }))
	// A picture of 8 to 18 pixels is one tile of 85+170; the texts are 0.25 tokens a byte and 20.
	text := p.Config.Prompt
	input := 24 * (2*255 + (len(text.Ask)+len(text.First)+len(text.Second)+len(text.End)+3)/4 + 20)
	if want := (judge.Estimate{Pairs: 24, Questions: 24, ToAsk: 24, Input: input, Output: 24 * 64, Cost: float64(input+10*24*64) / 1e6}); e != want {
		t.Errorf("estimate %+v, want %+v", e, want)
	}
	outcome, err := judge.Run(t.Context(), p, store, newClient(t, s.URL), sourceOf(pictures), quick(func(o *judge.RunOptions) { o.Price = judge.Price{Input: 10} }))
	if err != nil || outcome.Answered != 24 || outcome.Retries != 0 || outcome.Usage != (judge.Usage{Input: 2400, Output: 24}) || outcome.Cost < .0239999 || outcome.Cost > .0240001 {
		t.Fatalf("%+v, %v", outcome, err)
	}
	asked := make(map[string]int)
	for _, pair := range s.Answered() {
		first, second := index(pictures, pair.First), index(pictures, pair.Second)
		asked[fmt.Sprint(first, second)]++
		if pair.Key != testKey || pair.Model != "gpt-4o" || pair.Kinds != [2]string{"image/png", "image/png"} {
			t.Errorf("asked with %q, %q, %v", pair.Key, pair.Model, pair.Kinds)
		}
		if d := (second - first + 6) % 6; d == 0 || d == 3 {
			t.Errorf("asked about %d and %d", first, second)
		}
	}
	if len(asked) != 24 || s.Requests() != 24 {
		t.Errorf("%d questions in %d requests, want 24", len(asked), s.Requests())
	}
	for _, q := range p.Questions {
		a, ok := store.Get(q.Key)
		x, y := float64(len(pictures[q.Items[0]])), float64(len(pictures[q.Items[1]]))
		if want := 10 * min(x, y) / max(x, y); !ok || a.Score == nil || *a.Score < want-.006 || *a.Score > want+.006 {
			t.Errorf("%v: %+v, want %v", q.Items, a.Score, want)
		}
	}
	if again, err := judge.Run(t.Context(), p, store, newClient(t, s.URL), sourceOf(pictures), quick()); err != nil || again.Total != 0 || s.Requests() != 24 {
		t.Errorf("again: %+v, %v, %d requests", again, err, s.Requests())
	}
	// What is kept under other settings is asked anew.
	for _, change := range []func(*judge.Config){
		func(c *judge.Config) { c.Model = "other" }, func(c *judge.Config) { c.Temperature = nil }, func(c *judge.Config) { c.Detail = "low" }, func(c *judge.Config) { c.MaxSide = 512 },
		func(c *judge.Config) { c.Prompt.Version = "x" },
	} {
		c := config(func(c *judge.Config) { c.Top = 2 }, change)
		if e := newPlan(t, judgetest.Rankings(6, 2), c, pictures).Estimate(store, quick()); e.ToAsk != 24 {
			t.Errorf("%+v: %+v", c, e)
		}
	}
	// Both orders of these are there already: i and its neighbours are queries of each other.
	if e := newPlan(t, judgetest.Rankings(6, 2), config(func(c *judge.Config) { c.Top, c.BothOrders = 2, true }), pictures).Estimate(store, quick()); e.Questions != 24 || e.ToAsk != 0 {
		t.Errorf("both orders: %+v", e)
	}
}

// TestFaults: what passes is asked again, what does not is counted, and nothing is scored twice or by guess.
func TestFaults(t *testing.T) {
	pictures := judgetest.Pictures(40)
	p := newPlan(t, judgetest.Rankings(40, 1), config(), pictures) // 80 questions
	s := judgetest.New(judgetest.Always("Score: 7/10"))
	defer s.Close()
	seen := make(chan string, 10000)
	var hard atomic.Int64
	tries := make(map[string]*atomic.Int64)
	for _, q := range p.Questions {
		tries[fmt.Sprint(q.Items)] = new(atomic.Int64)
	}
	s.Fail(func(w http.ResponseWriter, r *http.Request, pair judgetest.Pair) bool {
		name := fmt.Sprint([2]int{index(pictures, pair.First), index(pictures, pair.Second)})
		first, try := index(pictures, pair.First), tries[name].Add(1)
		if try > 2 {
			return false
		}
		seen <- name
		switch first % 10 {
		case 0:
			judgetest.Limit(w, "0.01")
		case 1:
			judgetest.Refuse(w, 500, "", "The server had an error")
		case 2:
			judgetest.BreakOff(w)
		case 3:
			io.WriteString(w, "garbage")
		case 4:
			panic(http.ErrAbortHandler) // the connection is reset
		case 5:
			judgetest.Reply(w, judgetest.Completion{Model: "another", Text: "I think they are alike."})
		case 6:
			judgetest.Reply(w, judgetest.Completion{Model: pair.Model, Refusal: "No."})
		case 7:
			judgetest.Reply(w, judgetest.Completion{Model: pair.Model, Text: "7", Finish: "length"})
		case 8:
			hard.Add(1)
			judgetest.Refuse(w, 400, "content_policy_violation", "This picture is not allowed")
		default:
			return false
		}
		return true
	})
	store := openStore(t)
	outcome, err := judge.Run(t.Context(), p, store, newClient(t, s.URL), sourceOf(pictures), quick(func(o *judge.RunOptions) { o.Workers = 8 }))
	if err != nil {
		t.Fatal(err)
	}
	// Of ten first pictures, five answer in the end, three give no score at once, one is refused, and one is well.
	want := judge.Progress{Done: 80, Total: 80, Answered: 72, Unparsed: 24, Failed: 8, Retries: 80}
	got := outcome.Progress
	got.Usage, got.Cost = judge.Usage{}, 0
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	reason := "the endpoint answers 400 Bad Request: This picture is not allowed (content_policy_violation)"
	if len(outcome.Reasons) != 1 || outcome.Reasons[reason] != 8 || hard.Load() != 8 {
		t.Errorf("%v, %d refused", outcome.Reasons, hard.Load())
	}
	result := p.Tally(store, 100)
	if f := result.Failures; f[judge.FailureNoScore] != 8 || f[judge.FailureRefused] != 8 || f[judge.FailureCutOff] != 8 || result.Unanswered != 8 || result.Answered != 72 {
		t.Errorf("%v, %d answered, %d not", f, result.Answered, result.Unanswered)
	}
	if m := result.OtherModels(); len(m) != 1 || m[0] != "another" || result.AnsweredBy["another"] != 8 || result.AnsweredBy["gpt-4o"] != 64 {
		t.Errorf("other models %v of %v", m, result.AnsweredBy)
	}
	// The next run asks what has no answer, or no score too.
	before := s.Requests()
	s.Fail(nil)
	if _, err := judge.Run(t.Context(), p, store, newClient(t, s.URL), sourceOf(pictures), quick()); err != nil || s.Requests() != before+8 {
		t.Errorf("%v, %d requests, want 8", err, s.Requests()-before)
	}
	if _, err := judge.Run(t.Context(), p, store, newClient(t, s.URL), sourceOf(pictures), quick(func(o *judge.RunOptions) { o.Again = true })); err != nil || s.Requests() != before+32 {
		t.Errorf("%v, %d requests, want 24 more", err, s.Requests()-before)
	}
	if result := p.Tally(store, 100); len(result.Failures) != 0 || result.Complete != 40 || result.Methods[0].Score.Mean != 7 {
		t.Errorf("%+v", result)
	}
}

// TestEnds: what no question can pass ends the run at once, and says why.
func TestEnds(t *testing.T) {
	pictures := judgetest.Pictures(30)
	p := newPlan(t, judgetest.Rankings(30, 1), config(), pictures)
	refuse := func(status int, code, message string) judgetest.Fault {
		return func(w http.ResponseWriter, _ *http.Request, _ judgetest.Pair) bool {
			judgetest.Refuse(w, status, code, message)
			return true
		}
	}
	for _, tt := range []struct {
		name     string
		fault    judgetest.Fault
		requests int // at most
		want     string
	}{
		{"key", refuse(401, "invalid_api_key", "Incorrect API key"), 1, "401 Unauthorized: Incorrect API key (invalid_api_key)"},
		{"model", refuse(404, "model_not_found", "The model does not exist"), 1, "404 Not Found: The model does not exist"},
		{"vision", refuse(400, "", "This model does not take pictures"), 3, "400 Bad Request: This model does not take pictures"},
		{"quota", refuse(429, "insufficient_quota", "You exceeded your quota"), 1, "You exceeded your quota (insufficient_quota)"},
		{"patience", func(w http.ResponseWriter, _ *http.Request, _ judgetest.Pair) bool {
			judgetest.Limit(w, "7200")
			return true
		}, 1, "429 Too Many Requests"},
		{"down", refuse(503, "", "overloaded"), 6 * 10, "10 questions in a row have no answer, the last: endpoint: ask"},
	} {
		s := judgetest.New(judgetest.Always("7"))
		s.Fail(tt.fault)
		store := openStore(t)
		_, err := judge.Run(t.Context(), p, store, newClient(t, s.URL), sourceOf(pictures), quick(func(o *judge.RunOptions) { o.Workers = 1 }))
		if err == nil || !strings.Contains(err.Error(), tt.want) || s.Requests() > tt.requests || store.Len() > 0 {
			t.Errorf("%s: %v after %d requests, want %s after %d", tt.name, err, s.Requests(), tt.want, tt.requests)
		}
		s.Close()
		if _, err := judge.Run(t.Context(), p, store, newClient(t, s.URL), sourceOf(pictures), quick()); err == nil || !strings.Contains(err.Error(), "connect") {
			t.Errorf("nobody there: %v", err)
		}
	}
	// TLS asked of a server without it.
	s := judgetest.New(judgetest.Always("7"))
	defer s.Close()
	_, err := judge.Run(t.Context(), p, openStore(t), newClient(t, strings.Replace(s.URL, "http:", "https:", 1)), sourceOf(pictures), quick())
	if err == nil || !strings.Contains(err.Error(), "HTTP response to HTTPS client") {
		t.Errorf("https to http: %v", err)
	}
}
