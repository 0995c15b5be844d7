package endpoint

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3/option"

	"relsim/judge"
	"relsim/judge/judgetest"
)

// memory is what the process has allocated so far, in bytes.
type memory struct{ total uint64 }

func (m *memory) read() {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	m.total = s.TotalAlloc
}

// TestReplies: answers as the reference of OpenAI's API shows them, and in the forms of servers that are compatible. The raw
// answer is kept byte for byte.
func TestReplies(t *testing.T) {
	for _, tt := range []struct {
		name, kind, body string
		want             judge.Reply
	}{
		{"reference", "application/json", `{
 "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG", "object": "chat.completion", "created": 1741570283, "model": "gpt-4o-2024-08-06",
 "choices": [{"index": 0, "message": {"role": "assistant", "content": "7.5", "refusal": null, "annotations": []}, "logprobs": null, "finish_reason": "stop"}],
 "usage": {"prompt_tokens": 1117, "completion_tokens": 46, "total_tokens": 1163, "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0}},
 "service_tier": "default", "system_fingerprint": "fp_fc9f1d7035"
}
`, judge.Reply{ID: "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG", Model: "gpt-4o-2024-08-06", Text: "7.5", Finish: "stop", Usage: judge.Usage{Input: 1117, Output: 46}}},
		{"refusal", "application/json; charset=utf-8", `{
 "id": "chatcmpl-1", "object": "chat.completion", "created": 1741570283, "model": "gpt-4o-2024-08-06",
 "choices": [{"index": 0, "message": {"role": "assistant", "content": null, "refusal": "I cannot help with that."}, "finish_reason": "stop"}],
 "usage": {"prompt_tokens": 81, "completion_tokens": 11, "total_tokens": 92}
}`, judge.Reply{ID: "chatcmpl-1", Model: "gpt-4o-2024-08-06", Refusal: "I cannot help with that.", Finish: "stop", Usage: judge.Usage{Input: 81, Output: 11}}},
		{"vLLM", "application/json", `{"id":"chatcmpl-9","object":"chat.completion","created":1,"model":"Qwen/Qwen2.5-VL-7B-Instruct","choices":[{"index":0,"message":{"role":"assistant",` +
			`"content":"8","refusal":null,"annotations":null,"audio":null,"function_call":null,"tool_calls":[],"reasoning_content":null},"logprobs":null,"finish_reason":"stop",` +
			`"stop_reason":null,"token_ids":null}],"service_tier":null,"system_fingerprint":null,"usage":{"prompt_tokens":500,"total_tokens":502,"completion_tokens":2,` +
			`"prompt_tokens_details":null},"prompt_logprobs":null,"kv_transfer_params":null}`,
			judge.Reply{ID: "chatcmpl-9", Model: "Qwen/Qwen2.5-VL-7B-Instruct", Text: "8", Finish: "stop", Usage: judge.Usage{Input: 500, Output: 2}}},
		{"llama.cpp", "application/json; charset=utf-8", `{"choices":[{"finish_reason":"length","index":0,"message":{"role":"assistant","content":"The"}}],"created":1,"model":"gpt-4o",` +
			`"system_fingerprint":"b1-x","object":"chat.completion","usage":{"completion_tokens":1,"prompt_tokens":300,"total_tokens":301},"id":"chatcmpl-x",` +
			`"timings":{"prompt_n":1,"prompt_ms":1.5}}`,
			judge.Reply{ID: "chatcmpl-x", Model: "gpt-4o", Text: "The", Finish: "length", Usage: judge.Usage{Input: 300, Output: 1}}},
		{"Ollama", "application/json", `{"id":"chatcmpl-7","object":"chat.completion","created":1,"model":"llava","system_fingerprint":"fp_ollama","choices":[{"index":0,` +
			`"message":{"role":"assistant","content":" 6"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}` + "\n",
			judge.Reply{ID: "chatcmpl-7", Model: "llava", Text: " 6", Finish: "stop", Usage: judge.Usage{Input: 9, Output: 3}}},
		{"no kind, no usage", "", `{"choices":[{"message":{"content":"7"}}]}`, judge.Reply{Text: "7"}},
		{"called a text", "text/plain", `{"choices":[{"message":{"content":"7\n\u00e9\ud83d\ude00\u0007<"}}]}`, judge.Reply{Text: "7\né😀\a<"}},
		{"parts", "application/json", `{"choices":[{"message":{"content":[{"type":"text","text":"7"},{"type":"text","text":".5"},{"type":"x"}]}}]}`, judge.Reply{Text: "7.5"}},
		{"no parts", "application/json", `{"choices":[{"message":{"content":[]}}]}`, judge.Reply{}},
		{"no content", "application/json", `{"choices":[{"message":{}}]}`, judge.Reply{}},
		{"several", "application/json", `{"choices":[{"message":{"content":"1"}},{"message":{"content":"2"}}]}`, judge.Reply{Text: "1"}},
		{"numbers", "application/json", `{"choices":[{"message":{"content":"1"}}],"usage":{"prompt_tokens":-5,"completion_tokens":9e15}}`, judge.Reply{Text: "1", Usage: judge.Usage{Output: 1<<31 - 1}}},
		{"control characters", "application/json", `{"id":"\u001b[31m","model":"m\u0000","choices":[{"message":{"content":"1"},"finish_reason":"x\u001b"}]}`,
			judge.Reply{ID: "[31m", Model: "m", Text: "1", Finish: "x"}},
	} {
		s := judgetest.New(judgetest.Always(""))
		s.Fail(func(w http.ResponseWriter, _ *http.Request, _ judgetest.Pair) bool {
			w.Header()["Content-Type"] = nil
			if tt.kind != "" {
				w.Header().Set("Content-Type", tt.kind)
			}
			io.WriteString(w, tt.body)
			return true
		})
		tt.want.Raw = tt.body
		got, err := newClient(t, s.URL).Ask(t.Context(), question())
		if err != nil || *got != tt.want {
			t.Errorf("%s: %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
		s.Close()
	}
}

// TestKeyInAnswer: an endpoint that says the key does not bring it into the file of answers.
func TestKeyInAnswer(t *testing.T) {
	const key = `sk-"<\secret`
	s := judgetest.New(func(p judgetest.Pair) string { return "7 " + p.Key })
	defer s.Close()
	c, err := New(Options{Endpoint: s.URL, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	request := question()
	request.Model = key
	got, err := c.Ask(t.Context(), request)
	if err != nil || got.Text != "7 [key]" || got.Model != "[key]" || !strings.Contains(got.Raw, `"content":"7 [key]"`) || strings.Contains(got.Raw, "secret") {
		t.Errorf("%+v, %v", got, err)
	}
	if s.Answered()[0].Key != key {
		t.Errorf("asked with %q", s.Answered()[0].Key)
	}
}

// TestHostileReplies: a MiB of JSON takes a few of memory, whatever it holds.
func TestHostileReplies(t *testing.T) {
	fill := func(head, piece, tail string) []byte {
		return []byte(head + strings.Repeat(piece, (MaxReply-len(head)-len(tail))/len(piece)) + tail)
	}
	for name, body := range map[string][]byte{
		"choices":     fill(`{"choices":[{}`, `,{}`, `]}`),
		"tools":       fill(`{"choices":[{"message":{"content":"7","tool_calls":[0`, `,0`, `]}}]}`),
		"strings":     fill(`{"choices":[{"message":{"content":"7","annotations":[""`, `,""`, `]}}]}`),
		"deep":        fill(`{"choices":`, `[`, ``),
		"fields":      fill(`{"a":0`, `,"a":0`, `}`),
		"no JSON":     fill(``, `,`, ``),
		"open string": fill(`{"choices":[{"message":{"content":"`, `\`, ``),
	} {
		var before, after memory
		before.read()
		_, err := read(body)
		after.read()
		if err == nil || name != "open string" && !errors.Is(err, judge.ErrTooLong) {
			t.Errorf("%s: %v", name, err)
		}
		if n := after.total - before.total; n > 8<<20 {
			t.Errorf("%s: %d MiB", name, n>>20)
		}
	}
	// As many values as there may be.
	body := []byte(`{"choices":[{"message":{"content":"7"}}` + strings.Repeat(",{}", maxValues/2-10) + `]}`)
	var before, after memory
	before.read()
	got, err := read(body)
	after.read()
	if n := after.total - before.total; err != nil || got.Text != "7" || n > 16<<20 {
		t.Errorf("%d values: %v, %d MiB", maxValues, err, n>>20)
	}
	// A long text is one value.
	text := strings.Repeat("[{,", 1<<18)
	if got, err := read([]byte(`{"choices":[{"message":{"content":"` + text + `"}}]}`)); err != nil || got.Text != text {
		t.Errorf("a long text: %v", err)
	}
}

// canned answers every request by the same status and body.
type canned struct {
	status int
	kind   string
	body   []byte
}

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	io.Copy(io.Discard, r.Body)
	r.Body.Close()
	return &http.Response{
		StatusCode: c.status, Header: http.Header{"Content-Type": {c.kind}, "Location": {string(c.body)}, "Retry-After": {string(c.body)}},
		Body: io.NopCloser(bytes.NewReader(c.body)), Request: r,
	}, nil
}

// FuzzAsk: no answer breaks the library or what reads it, shows the key, or becomes more than came.
func FuzzAsk(f *testing.F) {
	f.Add(200, "application/json", []byte(`{"id":"a","model":"m","choices":[{"finish_reason":"stop","message":{"content":"7","refusal":null}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`))
	f.Add(200, "", []byte(`{"choices":[{"message":{"content":[{"type":"text","text":"sk-very-secret"}]}}],"usage":{"prompt_tokens":-1}}`))
	f.Add(200, "application/json", []byte(`{"choices":[null,[],{"message":{"tool_calls":[{"type":"function","function":{"arguments":1}}],"audio":{"data":0}}}]}`))
	f.Add(200, "application/json", []byte(`{"choices":[{"message":{"content":"7","annotations":[{"url_citation":{"end_index":"x"}}]},"logprobs":{"content":[{"bytes":[1,"2"],"top_logprobs":[{}]}]}}]}`))
	f.Add(401, "application/json", []byte(`{"error":{"message":"sk-very-secret","code":"x","param":[],"type":{}}}`))
	f.Add(404, "text/html", []byte(`{"error":"x"`))
	f.Add(500, "application/json", []byte(`{"message":"x","code":1}`))
	f.Add(307, "", []byte(`http://else`))
	f.Fuzz(func(t *testing.T, status int, kind string, body []byte) {
		if status < 200 || status > 599 {
			status = 200
		}
		c := newClient(t, "http://localhost/v1")
		c.chat.Options = append(c.chat.Options, option.WithHTTPClient(httpClient(canned{status, kind, body})))
		r, err := c.Ask(t.Context(), question())
		var refused *judge.StatusError
		var broken *judge.ReplyError
		switch {
		case err != nil && strings.Contains(err.Error(), testKey):
			t.Errorf("the key is in %v", err)
		case status != 200 && (!errors.As(err, &refused) || refused.Status != status || len(refused.Message) > 1300):
			t.Errorf("%d gives %v", status, err)
		case status == 200 && err != nil && !errors.As(err, &broken):
			t.Errorf("%q gives %v", body, err)
		case status == 200 && err == nil:
			if strings.Contains(r.Text+r.Refusal+r.Raw+r.ID+r.Model+r.Finish, testKey) || len(r.Text)+len(r.Refusal) > 3*len(body) || r.Usage.Input < 0 || r.Usage.Output < 0 {
				t.Errorf("%q gives %+v", body, r)
			}
		}
	})
}
