// Package judgetest is an OpenAI-compatible endpoint on the local machine, for tests: it scores pairs of pictures by a
// rule, and misbehaves where a test asks for that.
package judgetest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Pair is a question: the files of both pictures, in the order in which they are shown.
type Pair struct {
	First, Second []byte
	Kinds         [2]string // image/png, image/jpeg, image/webp
	// Body is the whole request, Key its bearer token, Number its place among all requests, from 0.
	Body   []byte
	Key    string
	Number int
	Model  string
}

// Rule says what the model answers to a question.
type Rule func(p Pair) string

// Always answers the same.
func Always(answer string) Rule { return func(Pair) string { return answer } }

// BySize scores a pair by the sizes of its files: 10 where they are equal, less the more they differ. It tells tests which
// pictures were shown.
func BySize(p Pair) string {
	a, b := float64(len(p.First)), float64(len(p.Second))
	return strconv.FormatFloat(10*min(a, b)/max(a, b), 'f', 2, 64)
}

// Fault answers a request in another way. It returns false where the server shall answer as it does.
type Fault func(w http.ResponseWriter, r *http.Request, p Pair) bool

// Server is an endpoint. Its address ends in /v1.
type Server struct {
	URL string

	server *httptest.Server
	rule   Rule

	mu       sync.Mutex
	fault    Fault
	requests int
	pairs    []Pair
}

// New starts an endpoint whose model answers by a rule.
func New(rule Rule) *Server {
	s := &Server{rule: rule}
	s.server = httptest.NewServer(s)
	s.URL = s.server.URL + "/v1"
	return s
}

// Close ends it.
func (s *Server) Close() { s.server.CloseClientConnections(); s.server.Close() }

// Fail lets f see every request first. It may be called from several goroutines.
func (s *Server) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Requests is the number of requests that came since the server began.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// Answered returns the questions that were answered by the rule.
func (s *Server) Answered() []Pair {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Pair(nil), s.pairs...)
}

// ServeHTTP answers as the endpoint does.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<20))
	s.mu.Lock()
	number, fault := s.requests, s.fault
	s.requests++
	s.mu.Unlock()
	if err != nil {
		Refuse(w, http.StatusRequestEntityTooLarge, "", err.Error())
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != "/v1/chat/completions" {
		Refuse(w, http.StatusNotFound, "", "Invalid URL ("+r.Method+" "+r.URL.Path+")")
		return
	}
	p, err := parse(body)
	if err != nil {
		Refuse(w, http.StatusBadRequest, "", err.Error())
		return
	}
	p.Number, p.Key = number, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if fault != nil && fault(w, r, p) {
		return
	}
	s.mu.Lock()
	s.pairs = append(s.pairs, p)
	s.mu.Unlock()
	Reply(w, Completion{Model: p.Model, Text: s.rule(p)})
}

// parse reads a question: one user's message whose pictures are data addresses.
func parse(body []byte) (Pair, error) {
	var q struct {
		Model    string `json:"model"`
		Messages []struct {
			Role    string `json:"role"`
			Content []struct {
				Type     string `json:"type"`
				Text     string `json:"text"`
				ImageURL struct {
					URL string `json:"url"`
				} `json:"image_url"`
			} `json:"content"`
		} `json:"messages"`
	}
	if err := json.Unmarshal(body, &q); err != nil {
		return Pair{}, fmt.Errorf("we could not parse the JSON body of your request: %w", err)
	}
	if q.Model == "" || len(q.Messages) != 1 || q.Messages[0].Role != "user" {
		return Pair{}, fmt.Errorf("want a model and one message of a user")
	}
	p := Pair{Body: body, Model: q.Model}
	n := 0
	for _, part := range q.Messages[0].Content {
		if part.Type != "image_url" {
			continue
		}
		head, data, ok := strings.Cut(part.ImageURL.URL, ";base64,")
		file, err := base64.StdEncoding.DecodeString(data)
		if kind, isData := strings.CutPrefix(head, "data:"); ok && isData && err == nil && n < 2 {
			p.Kinds[n] = kind
			if n == 0 {
				p.First = file
			} else {
				p.Second = file
			}
			n++
			continue
		}
		return Pair{}, fmt.Errorf("picture %d is no data address of a picture", n)
	}
	if n != 2 {
		return Pair{}, fmt.Errorf("%d pictures, want 2", n)
	}
	return p, nil
}

// Completion is what a model answers.
type Completion struct {
	Model, Text, Refusal, Finish string // Finish "" is stop
	Input, Output                int    // tokens; 0: 100 and 1
}

// Reply sends a completion.
func Reply(w http.ResponseWriter, c Completion) {
	if c.Finish == "" {
		c.Finish = "stop"
	}
	if c.Input == 0 {
		c.Input, c.Output = 100, 1
	}
	message := map[string]any{"role": "assistant", "content": c.Text, "refusal": nil}
	if c.Refusal != "" {
		message["content"], message["refusal"] = nil, c.Refusal
	}
	send(w, http.StatusOK, map[string]any{
		"id": "chatcmpl-1", "object": "chat.completion", "created": time.Now().Unix(), "model": c.Model,
		"choices": []any{map[string]any{"index": 0, "message": message, "logprobs": nil, "finish_reason": c.Finish}},
		"usage":   map[string]any{"prompt_tokens": c.Input, "completion_tokens": c.Output, "total_tokens": c.Input + c.Output},
	})
}

// Refuse sends an error.
func Refuse(w http.ResponseWriter, status int, code, message string) {
	detail := map[string]any{"message": message, "type": "invalid_request_error", "param": nil, "code": nil}
	if code != "" {
		detail["code"] = code
	}
	send(w, status, map[string]any{"error": detail})
}

func send(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// Limit answers 429. After is the header Retry-After, "": none.
func Limit(w http.ResponseWriter, after string) {
	if after != "" {
		w.Header().Set("Retry-After", after)
	}
	Refuse(w, http.StatusTooManyRequests, "rate_limit_exceeded", "Rate limit reached")
}

// BreakOff sends the beginning of an answer and breaks the connection.
func BreakOff(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", "1000")
	io.WriteString(w, `{"id":"chatcmpl-1","choices":[{"message":{"content":"7`)
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// Flood sends a JSON text of n bytes, and returns how many the other side took.
func Flood(w http.ResponseWriter, n int64) (sent int64) {
	w.Header().Set("Content-Type", "application/json")
	piece := bytes.Repeat([]byte("x"), 1<<16)
	io.WriteString(w, `{"choices":[{"message":{"content":"`)
	for sent < n {
		k, err := w.Write(piece)
		sent += int64(k)
		if err != nil {
			break
		}
	}
	return sent
}
