package endpoint

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relsim/judge"
	"relsim/judge/judgetest"
)

// TestRequests: what is sent is what the newest version of the library sends, and no more.
func TestRequests(t *testing.T) {
	var want map[string]struct {
		Method, Path, Authorization, ContentType string
		Body                                     any
	}
	text, err := os.ReadFile("testdata/requests.json")
	if err == nil {
		err = json.Unmarshal(text, &want)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, request := range map[string]judge.Request{
		"plain": {Model: "gpt-4o"},
		"full":  {Model: "gpt-4o", Temperature: new(float64), Detail: "low", MaxTokens: 64},
	} {
		request.Prompt = judge.Prompt{Version: "test", Ask: "ask <&>", First: "first", Second: "second", End: "end"}
		request.Pictures = [2]judge.Picture{{Kind: "png", Data: []byte{0, 1, 2, 3}}, {Kind: "jpeg", Data: []byte{0xff, 0xd8, 0xff}}}
		var got *http.Request
		var body any
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = r
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
			judgetest.Reply(w, judgetest.Completion{Text: "7"})
		}))
		c, err := New(Options{Endpoint: server.URL + "/v1", Key: "sk-test"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Ask(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		server.Close()
		w := want[name]
		if got.Method != w.Method || got.URL.Path != w.Path || got.Header.Get("Authorization") != w.Authorization || got.Header.Get("Content-Type") != w.ContentType {
			t.Errorf("%s: %s %s %v, want %s %s, %s, %s", name, got.Method, got.URL.Path, got.Header, w.Method, w.Path, w.Authorization, w.ContentType)
		}
		if w.Body == nil || !reflect.DeepEqual(body, w.Body) {
			t.Errorf("%s: body\n%v\nwant\n%v", name, body, w.Body)
		}
		headers := slices.Sorted(maps.Keys(got.Header))
		if !slices.Equal(headers, []string{"Accept", "Accept-Encoding", "Authorization", "Content-Length", "Content-Type", "User-Agent"}) || got.UserAgent() != "relsim" {
			t.Errorf("%s: headers %v", name, got.Header)
		}
	}
}

// TestEnvironment: the variables that OpenAI's clients read change nothing.
func TestEnvironment(t *testing.T) {
	trap := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Error("asked where a variable says") }))
	defer trap.Close()
	for name, value := range map[string]string{
		"OPENAI_BASE_URL": trap.URL, "OPENAI_API_KEY": "sk-of-the-environment", "OPENAI_ADMIN_KEY": "sk-admin-of-the-environment", "OPENAI_ORG_ID": "org-1",
		"OPENAI_PROJECT_ID": "proj-1", "OPENAI_WEBHOOK_SECRET": "whsec-1", "OPENAI_CUSTOM_HEADERS": "X-Custom: 1", "OPENAI_LOG": "debug",
		"AZURE_OPENAI_ENDPOINT": trap.URL, "AZURE_OPENAI_API_KEY": "azure",
	} {
		t.Setenv(name, value)
	}
	var got http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		judgetest.Reply(w, judgetest.Completion{Text: "7"})
	}))
	defer server.Close()
	c, err := New(Options{Endpoint: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Ask(t.Context(), question()); err != nil {
		t.Fatal(err)
	}
	if headers := slices.Sorted(maps.Keys(got)); !slices.Equal(headers, []string{"Accept", "Accept-Encoding", "Content-Length", "Content-Type", "User-Agent"}) {
		t.Errorf("headers %v, want no key, organization or project", got)
	}
}

// TestAddresses: where requests go, by the base address.
func TestAddresses(t *testing.T) {
	var at, key string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at, key = r.URL.RequestURI(), r.Header.Get("Authorization")
		judgetest.Reply(w, judgetest.Completion{Text: "7"})
	}))
	defer server.Close()
	for base, want := range map[string]string{
		"": "/chat/completions", "/": "/chat/completions", "/v1": "/v1/chat/completions", "/v1/": "/v1/chat/completions",
		"/v1/chat/completions": "/v1/chat/completions", "/v1/chat/completions/": "/v1/chat/completions", "/api/openai/v1": "/api/openai/v1/chat/completions",
		"/openai/deployments/mine?api-version=2024-10-21": "/openai/deployments/mine/chat/completions?api-version=2024-10-21",
		"?a=1&b=x%20y": "/chat/completions?a=1&b=x+y", "/a%20b": "/a%20b/chat/completions",
	} {
		c, err := New(Options{Endpoint: server.URL + base})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Ask(t.Context(), question()); err != nil || at != want || key != "" {
			t.Errorf("%s: %v, asked %s with the key %q, want %s", base, err, at, key, want)
		}
		c.Close()
	}
}

func TestNew(t *testing.T) {
	for address, want := range map[string]string{
		"https://api.openai.com/v1": "https://api.openai.com/v1", "https://api.openai.com/v1/": "https://api.openai.com/v1",
		"https://host/v1/chat/completions": "https://host/v1", "https://host/x?api-version=1": "https://host/x?api-version=1",
		"http://127.0.0.1:8000/v1": "http://127.0.0.1:8000/v1", "http://[::1]:1": "http://[::1]:1", "http://localhost/v1": "http://localhost/v1", "http://127.9.9.9": "http://127.9.9.9",
	} {
		c, err := New(Options{Endpoint: address})
		if err != nil || c.Endpoint() != want {
			t.Errorf("%s: %v, want %s", address, err, want)
		}
	}
	for address, want := range map[string]string{
		"": "want an address such as", "api.openai.com/v1": "want an address such as", "ftp://host/v1": "want an address such as", "https://": "want an address such as", "https://host:port": "want an address such as",
		"https://:443/v1":                    "want an address such as",
		"https://me:" + testKey + "@host/v1": "with a name or password", "https://me:" + testKey + "@host:port": "want an address such as",
		"http://host/v1": "would show key and pictures", "http://localhost.evil.com/v1": "would show", "http://10.0.0.1/v1": "would show", "http://127.0.0.1.evil.com": "would show",
		"https://host/v1#x": "fragment",
	} {
		_, err := New(Options{Endpoint: address})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), testKey) {
			t.Errorf("%s: %v, want %s", address, err, want)
		}
	}
	if _, err := New(Options{Endpoint: "http://host/v1", AllowHTTP: true}); err != nil {
		t.Error(err)
	}
	for _, key := range []string{"sk secret", "sk\nsecret", "secrét"} {
		if _, err := New(Options{Endpoint: "https://host", Key: key}); err == nil || strings.Contains(err.Error(), "sk") {
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
		{"nothing", status(500, ""), "answers 500 Internal Server Error"},
		{"no content", status(204, ""), "answers 204 No Content"},
		{"error is a word", status(400, `{"error":"no vision"}`), "answers 400 Bad Request: no vision"},
		{"code is a number", status(404, `{"error":{"message":"no such model","code":404}}`), "answers 404 Not Found: no such model"},
		{"vLLM", status(404, `{"object":"error","message":"The model m does not exist.","type":"NotFoundError","param":null,"code":404}`), "answers 404 Not Found: The model m does not exist."},
		{"FastAPI", status(404, `{"detail":"Not Found"}`), "answers 404 Not Found: Not Found"},
		{"FastAPI, a list", status(422, `{"detail":[{"msg":"field required"}]}`), `answers 422 Unprocessable Entity: {"detail":[{"msg":"field required"}]}`},
		{"llama.cpp", status(500, `{"error":{"code":500,"message":"image input is not supported","type":"server_error"}}`), "answers 500 Internal Server Error: image input is not supported"},
		{"broken off in a refusal", func(w http.ResponseWriter, _ *http.Request, _ judgetest.Pair) bool {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(503)
			io.WriteString(w, "come again")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "answers 503 Service Unavailable: come again"},
		{"redirect", func(w http.ResponseWriter, r *http.Request, _ judgetest.Pair) bool {
			http.Redirect(w, r, "http://127.0.0.1:1/else", http.StatusTemporaryRedirect)
			return true
		}, `answers 307 Temporary Redirect, and leads to "http://127.0.0.1:1/else": redirects are not followed`},
		{"redirect to nowhere", func(w http.ResponseWriter, _ *http.Request, _ judgetest.Pair) bool {
			w.Header().Set("Location", "%0X")
			w.WriteHeader(303)
			return true
		}, "answers 303 See Other"},
		{"garbage", ok("<html>"), "the endpoint's answer: not the JSON of a chat completion"},
		{"list", ok("[]"), "not the JSON of a chat completion"},
		{"empty", ok("{}"), "no choices[0].message"},
		{"null", ok("null"), "not the JSON of a chat completion"},
		{"two", ok(`{"choices":[{"message":{"content":"7"}}]} {}`), "not the JSON of a chat completion"},
		{"null message", ok(`{"choices":[{"message":null}]}`), "no choices[0].message"},
		{"word for a message", ok(`{"choices":[{"message":"7"}]}`), "no choices[0].message"},
		{"number", ok(`{"choices":[{"message":{"content":7}}]}`), "neither a text nor a list of parts"},
		{"broken off", func(w http.ResponseWriter, _ *http.Request, _ judgetest.Pair) bool {
			judgetest.BreakOff(w)
			return true
		}, "the endpoint's answer: error reading response body: unexpected EOF"},
	} {
		s := judgetest.New(judgetest.Always("7"))
		s.Fail(tt.fault)
		_, err := newClient(t, s.URL).Ask(t.Context(), question())
		if err == nil || !strings.HasSuffix(err.Error(), tt.want) && !strings.Contains(err.Error(), tt.want+": ") {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), testKey) {
			t.Errorf("%s: the key is in %v", tt.name, err)
		}
		if n := s.Requests(); n != 1 {
			t.Errorf("%s: %d requests", tt.name, n)
		}
		s.Close()
	}
	// What may be missing from an address.
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	_, err := newClient(t, server.URL).Ask(t.Context(), question())
	if err == nil || !strings.HasSuffix(err.Error(), "404 Not Found: 404 page not found\n; most servers want an address that ends in /v1") {
		t.Errorf("no /v1: %v", err)
	}
}

// TestNoRetries: a try is one request, whatever the endpoint wants.
func TestNoRetries(t *testing.T) {
	for _, code := range []int{408, 409, 429, 500, 503} {
		s := judgetest.New(judgetest.Always("7"))
		s.Fail(func(w http.ResponseWriter, _ *http.Request, _ judgetest.Pair) bool {
			w.Header().Set("X-Should-Retry", "true")
			w.Header().Set("Retry-After", "1.5")
			judgetest.Refuse(w, code, "busy", "later")
			return true
		})
		began := time.Now()
		_, err := newClient(t, s.URL).Ask(t.Context(), question())
		var status *judge.StatusError
		want := judge.StatusError{Status: code, Code: "busy", Message: "later", RetryAfter: 1500 * time.Millisecond}
		if !errors.As(err, &status) || *status != want || s.Requests() != 1 || time.Since(began) > time.Second {
			t.Errorf("%d: %+v after %d requests, %v", code, err, s.Requests(), time.Since(began))
		}
		s.Close()
	}
}

// TestRedirects: key and pictures go nowhere else.
func TestRedirects(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("%s was followed, with %q", r.URL, r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	for _, code := range []int{301, 302, 303, 307, 308} {
		for _, to := range []string{elsewhere.URL + "/v1/chat/completions", "/else"} {
			s := judgetest.New(judgetest.Always("7"))
			s.Fail(func(w http.ResponseWriter, r *http.Request, _ judgetest.Pair) bool {
				w.Header().Set("Location", to)
				w.WriteHeader(code)
				return true
			})
			_, err := newClient(t, s.URL).Ask(t.Context(), question())
			var status *judge.StatusError
			if !errors.As(err, &status) || status.Status != code || status.Location != to || s.Requests() != 1 {
				t.Errorf("%d to %s: %v after %d requests", code, to, err, s.Requests())
			}
			s.Close()
		}
	}
}

// TestHugeAnswers: an answer of 1 GB, of success or failure, plain or packed, costs a MiB.
func TestHugeAnswers(t *testing.T) {
	for _, code := range []int{200, 307, 500} {
		for _, packed := range []bool{false, true} {
			var sent atomic.Int64
			done := make(chan bool)
			s := judgetest.New(judgetest.Always("7"))
			s.Fail(func(w http.ResponseWriter, _ *http.Request, _ judgetest.Pair) bool {
				defer close(done)
				to := w
				if packed {
					w.Header().Set("Content-Encoding", "gzip")
					z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
					if err != nil {
						t.Error(err)
					}
					to = writerTo{w, z}
				}
				if code != 200 {
					w.WriteHeader(code)
				}
				most := int64(1 << 30)
				if packed {
					most = 64 << 20 // 300 kB on the wire, which may all be in buffers
				}
				sent.Store(judgetest.Flood(to, most))
				return true
			})
			var before, after memory
			before.read()
			_, err := newClient(t, s.URL).Ask(t.Context(), question())
			after.read()
			<-done
			if code == 200 && !errors.Is(err, judge.ErrTooLong) || code != 200 && (err == nil || !strings.Contains(err.Error(), fmt.Sprint(code))) {
				t.Errorf("%d: %v", code, err)
			}
			if n := sent.Load(); !packed && n > 64<<20 {
				t.Errorf("%d: %d MiB were taken", code, n>>20)
			}
			if n := after.total - before.total; n > 24<<20 {
				t.Errorf("%d, packed %v: %d MiB were allocated", code, packed, n>>20)
			}
			s.Close()
		}
	}
}

// writerTo is a ResponseWriter whose body is written elsewhere.
type writerTo struct {
	http.ResponseWriter
	to io.Writer
}

func (w writerTo) Write(p []byte) (int, error) { return w.to.Write(p) }

// TestAskEnds: a time limit ends a try, before an answer and within a body that comes byte by byte.
func TestAskEnds(t *testing.T) {
	for name, fault := range map[string]judgetest.Fault{
		"silent": func(w http.ResponseWriter, r *http.Request, _ judgetest.Pair) bool { <-r.Context().Done(); return true },
		"slow": func(w http.ResponseWriter, r *http.Request, _ judgetest.Pair) bool {
			for r.Context().Err() == nil {
				io.WriteString(w, " ")
				w.(http.Flusher).Flush()
				time.Sleep(time.Millisecond)
			}
			return true
		},
	} {
		s := judgetest.New(judgetest.Always("7"))
		s.Fail(fault)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		began := time.Now()
		if _, err := newClient(t, s.URL).Ask(ctx, question()); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 5*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(began))
		}
		cancel()
		s.Close()
	}
}

// TestCauses: what a run decides by is found in the errors of connections.
func TestCauses(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	_, err := newClient(t, server.URL).Ask(t.Context(), question())
	var certificate *tls.CertificateVerificationError
	if !errors.As(err, &certificate) {
		t.Errorf("unknown certificate: %v", err)
	}
	_, err = newClient(t, strings.Replace(server.URL, "https:", "http:", 1)).Ask(t.Context(), question())
	var status *judge.StatusError
	if !errors.As(err, &status) || status.Status != 400 || !strings.Contains(status.Message, "HTTPS server") {
		t.Errorf("http to https: %v", err)
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
