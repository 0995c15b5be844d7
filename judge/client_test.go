package judge

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relsim/judge/judgetest"
)

const testKey = "sk-very-secret"

func newClient(t *testing.T, endpoint string) *Client {
	t.Helper()
	c, err := NewClient(ClientOptions{Endpoint: endpoint, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// question is one with two small pictures.
func question() Request {
	return Request{Model: "gpt-4o", Prompt: DefaultPrompt(), Pictures: [2]Picture{{Kind: "png", Data: []byte("a")}, {Kind: "png", Data: []byte("b")}}}
}

// TestOfficialRequests: what is sent is what OpenAI's own client sends.
func TestOfficialRequests(t *testing.T) {
	var want map[string]struct {
		Method, Path, Authorization, ContentType string
		Body                                     any
	}
	readJSON(t, "testdata/official/requests.json", &want)
	for name, request := range map[string]Request{
		"plain": {Model: "gpt-4o"},
		"full":  {Model: "gpt-4o", Temperature: new(float64), Detail: "low", MaxTokens: 64},
	} {
		request.Prompt = Prompt{Version: "test", Ask: "ask <&>", First: "first", Second: "second", End: "end"}
		request.Pictures = [2]Picture{{Kind: "png", Data: []byte{0, 1, 2, 3}}, {Kind: "jpeg", Data: []byte{0xff, 0xd8, 0xff}}}
		var got http.Request
		var body any
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = *r
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
			judgetest.Reply(w, judgetest.Completion{Text: "7"})
		}))
		c, err := NewClient(ClientOptions{Endpoint: server.URL + "/v1", Key: "sk-test"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Ask(t.Context(), request); err != nil {
			t.Error(err)
		}
		server.Close()
		w := want[name]
		if got.Method != w.Method || got.URL.Path != w.Path || got.Header.Get("Authorization") != w.Authorization || got.Header.Get("Content-Type") != w.ContentType {
			t.Errorf("%s: %s %s %v, want %s %s, %s, %s", name, got.Method, got.URL.Path, got.Header, w.Method, w.Path, w.Authorization, w.ContentType)
		}
		if w.Body == nil || !reflect.DeepEqual(body, w.Body) {
			t.Errorf("%s: body\n%v\nwant\n%v", name, body, w.Body)
		}
	}
}

// TestOfficialReplies: what is read is what OpenAI's own client reads.
func TestOfficialReplies(t *testing.T) {
	var want map[string]struct {
		Sent                             json.RawMessage
		ID, Model, Text, Refusal, Finish string
		Input, Output                    int
	}
	readJSON(t, "testdata/official/replies.json", &want)
	if len(want) < 2 {
		t.Fatalf("%d replies", len(want))
	}
	for name, w := range want {
		got, err := parseReply(w.Sent)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if r := (Reply{w.ID, w.Model, w.Text, w.Refusal, w.Finish, Usage{w.Input, w.Output}}); *got != r {
			t.Errorf("%s: %+v, want %+v", name, *got, r)
		}
	}
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestNewClient(t *testing.T) {
	for endpoint, want := range map[string]string{
		"https://api.openai.com/v1": "https://api.openai.com/v1", "https://api.openai.com/v1/": "https://api.openai.com/v1",
		"https://host/v1/chat/completions": "https://host/v1", "https://host/x?api-version=1": "https://host/x?api-version=1",
		"http://127.0.0.1:8000/v1": "http://127.0.0.1:8000/v1", "http://[::1]:1": "http://[::1]:1", "http://localhost/v1": "http://localhost/v1", "http://127.9.9.9": "http://127.9.9.9",
	} {
		c, err := NewClient(ClientOptions{Endpoint: endpoint})
		if err != nil || c.Endpoint() != want {
			t.Errorf("%s: %v, want %s", endpoint, err, want)
		}
	}
	for endpoint, want := range map[string]string{
		"": "want an address such as", "api.openai.com/v1": "want an address", "ftp://host/v1": "want an address", "https://": "want an address", "https://host:port": "want an address",
		"https://me:" + testKey + "@host/v1": "with a name or password", "https://me:" + testKey + "@host:port": "want an address",
		"http://host/v1": "would show key and pictures", "http://localhost.evil.com/v1": "would show", "http://10.0.0.1/v1": "would show", "http://127.0.0.1.evil.com": "would show",
		"https://host/v1#x": "fragment",
	} {
		_, err := NewClient(ClientOptions{Endpoint: endpoint})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), testKey) {
			t.Errorf("%s: %v, want %s", endpoint, err, want)
		}
	}
	if _, err := NewClient(ClientOptions{Endpoint: "http://host/v1", AllowHTTP: true}); err != nil {
		t.Error(err)
	}
	for _, key := range []string{"sk secret", "sk\nsecret", "secrét"} {
		if _, err := NewClient(ClientOptions{Endpoint: "https://host", Key: key}); err == nil || strings.Contains(err.Error(), "sk") {
			t.Errorf("key %q: %v", key, err)
		}
	}
}

func TestAskErrors(t *testing.T) {
	status := func(code int, body string) judgetest.Fault {
		return func(w http.ResponseWriter, _ *http.Request, _ judgetest.Pair) bool {
			w.WriteHeader(code)
			io.WriteString(w, body)
			return true
		}
	}
	ok := func(body string) judgetest.Fault { return status(200, body) }
	for _, tt := range []struct {
		name  string
		fault judgetest.Fault
		want  string
	}{
		{"key", func(w http.ResponseWriter, _ *http.Request, p judgetest.Pair) bool {
			judgetest.Refuse(w, 401, "invalid_api_key", "Incorrect API key provided: "+p.Key+"\x1b[31m.")
			return true
		}, "answers 401 Unauthorized: Incorrect API key provided: [key][31m. (invalid_api_key)"},
		{"text", status(503, "come again"), "answers 503 Service Unavailable: come again"},
		{"html", status(502, "<!DOCTYPE html><html><body>bad gateway</body></html>"), "answers 502 Bad Gateway"},
		{"error is a word", status(400, `{"error":"no vision"}`), "answers 400 Bad Request: no vision"},
		{"code is a number", status(404, `{"error":{"message":"no such model","code":404}}`), "answers 404 Not Found: no such model"},
		{"redirect", func(w http.ResponseWriter, r *http.Request, _ judgetest.Pair) bool {
			http.Redirect(w, r, "http://127.0.0.1:1/else", http.StatusTemporaryRedirect)
			return true
		}, `answers 307 Temporary Redirect, and leads to "http://127.0.0.1:1/else": redirects are not followed`},
		{"garbage", ok("<html>"), "the endpoint's answer: not the JSON of a chat completion"},
		{"list", ok("[]"), "not the JSON of a chat completion"},
		{"empty", ok("{}"), "no choices[0].message"},
		{"null", ok("null"), "no choices[0].message"},
		{"number", ok(`{"choices":[{"message":{"content":7}}]}`), "neither a text nor a list of parts"},
		{"broken off", func(w http.ResponseWriter, _ *http.Request, _ judgetest.Pair) bool {
			judgetest.BreakOff(w)
			return true
		}, "the endpoint's answer: unexpected EOF"},
	} {
		s := judgetest.New(judgetest.Always("7"))
		s.Fail(tt.fault)
		_, err := newClient(t, s.URL).Ask(t.Context(), question())
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), testKey) {
			t.Errorf("%s: the key is in %v", tt.name, err)
		}
		s.Close()
	}
}

// TestContentForms: what compatible servers send in the place of a text.
func TestContentForms(t *testing.T) {
	for content, want := range map[string]string{`"7"`: "7", `null`: "", `[{"type":"text","text":"7"},{"type":"text","text":".5"},{"type":"x"}]`: "7.5", `[]`: ""} {
		got, err := parseReply([]byte(`{"choices":[{"message":{"content":` + content + `}}]}`))
		if err != nil || got.Text != want {
			t.Errorf("%s: %v, %v", content, got, err)
		}
	}
}

// TestHugeAnswers: an answer of 1 GB, of success or failure, plain or packed, costs a MiB.
func TestHugeAnswers(t *testing.T) {
	for _, code := range []int{200, 500} {
		var sent atomic.Int64
		done := make(chan bool)
		s := judgetest.New(judgetest.Always("7"))
		s.Fail(func(w http.ResponseWriter, _ *http.Request, _ judgetest.Pair) bool {
			if code != 200 {
				w.WriteHeader(code)
			}
			sent.Store(judgetest.Flood(w, 1<<30))
			close(done)
			return true
		})
		_, err := newClient(t, s.URL).Ask(t.Context(), question())
		<-done
		if code == 200 && !errors.Is(err, errTooLong) || code != 200 && (err == nil || !strings.Contains(err.Error(), "500")) {
			t.Errorf("%d: %v", code, err)
		}
		if n := sent.Load(); n > 64<<20 {
			t.Errorf("%d: %d MiB were taken", code, n>>20)
		}
		s.Close()
	}
}

func TestAskEnds(t *testing.T) {
	s := judgetest.New(judgetest.Always("7"))
	defer s.Close()
	s.Fail(func(w http.ResponseWriter, r *http.Request, _ judgetest.Pair) bool { <-r.Context().Done(); return true })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := newClient(t, s.URL).Ask(ctx, question()); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		ms, value string
		want      time.Duration
	}{
		{"", "", -1}, {"", "3", 3 * time.Second}, {"", "0", 0}, {"", "1.5", 1500 * time.Millisecond}, {"250", "7", 250 * time.Millisecond},
		{"", "Fri, 02 Jan 2026 03:04:15 GMT", 10 * time.Second}, {"", "Fri, 02 Jan 2026 03:04:00 GMT", 0}, {"", "-3", -1}, {"", "NaN", -1}, {"", "soon", -1},
		{"", "1e300", 24 * time.Hour}, {"", "Inf", 24 * time.Hour},
	} {
		h := http.Header{}
		if tt.ms != "" {
			h.Set("Retry-After-Ms", tt.ms)
		}
		h.Set("Retry-After", tt.value)
		if got := retryAfter(h, now); got != tt.want {
			t.Errorf("%s %s: %v, want %v", tt.ms, tt.value, got, tt.want)
		}
	}
}

// FuzzParseReply: no answer breaks the reader, and what it reads is bounded by what came.
func FuzzParseReply(f *testing.F) {
	f.Add([]byte(`{"id":"a","model":"m","choices":[{"finish_reason":"stop","message":{"content":"7","refusal":null}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`))
	f.Add([]byte(`{"choices":[{"message":{"content":[{"type":"text","text":"7"}]}}],"usage":{"prompt_tokens":-1}}`))
	f.Add([]byte(`{"choices":[null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseReply(data)
		if err != nil {
			return
		}
		if len(r.Text)+len(r.Refusal) > 3*len(data) || r.Usage.Input < 0 || r.Usage.Output < 0 {
			t.Errorf("%q gives %+v", data, r)
		}
	})
}
