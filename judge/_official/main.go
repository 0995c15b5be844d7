// Official records what OpenAI's own Go client sends and what it understands, for the tests of package judge: each request
// as the client puts it on the wire, and what the client reads in an answer. It is a module of its own, so that the client
// is not built with relsim.
//
//	cd judge/_official && go run . ../testdata/official
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// answer is one in the form of the published reference of the API.
const answer = `{
 "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG", "object": "chat.completion", "created": 1741570283, "model": "gpt-4o-2024-08-06",
 "choices": [{"index": 0, "message": {"role": "assistant", "content": "7.5", "refusal": null, "annotations": []}, "logprobs": null, "finish_reason": "stop"}],
 "usage": {"prompt_tokens": 1117, "completion_tokens": 46, "total_tokens": 1163, "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0}},
 "service_tier": "default", "system_fingerprint": "fp_fc9f1d7035"
}`

// refusal is one where the model does not answer.
const refusal = `{
 "id": "chatcmpl-1", "object": "chat.completion", "created": 1741570283, "model": "gpt-4o-2024-08-06",
 "choices": [{"index": 0, "message": {"role": "assistant", "content": null, "refusal": "I cannot help with that."}, "finish_reason": "stop"}],
 "usage": {"prompt_tokens": 81, "completion_tokens": 11, "total_tokens": 92}
}`

type request struct {
	Method, Path, Authorization, ContentType string
	Body                                     json.RawMessage
}

type reply struct {
	Sent                             json.RawMessage
	ID, Model, Text, Refusal, Finish string
	Input, Output                    int64
}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir string) error {
	var last request
	var next string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		last = request{r.Method, r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), body}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, next)
	}))
	defer server.Close()
	chat := openai.NewChatCompletionService(option.WithBaseURL(server.URL+"/v1"), option.WithAPIKey("sk-test"), option.WithMaxRetries(0))
	requests := make(map[string]request)
	for _, q := range []struct {
		name, detail string
		temperature  *float64
		maxTokens    int64
	}{{"plain", "", nil, 0}, {"full", "low", new(float64), 64}} {
		text := openai.TextContentPart
		picture := func(uri string) openai.ChatCompletionContentPartUnionParam {
			return openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: uri, Detail: q.detail})
		}
		params := openai.ChatCompletionNewParams{
			Model: "gpt-4o",
			Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{
				text("ask <&>"), text("first"), picture("data:image/png;base64,AAECAw=="), text("second"), picture("data:image/jpeg;base64,/9j/"), text("end"),
			})},
		}
		if q.temperature != nil {
			params.Temperature = openai.Float(*q.temperature)
		}
		if q.maxTokens > 0 {
			params.MaxCompletionTokens = openai.Int(q.maxTokens)
		}
		next = answer
		if _, err := chat.New(context.Background(), params); err != nil {
			return err
		}
		requests[q.name] = last
	}
	replies := make(map[string]reply)
	for name, sent := range map[string]string{"answer": answer, "refusal": refusal} {
		next = sent
		got, err := chat.New(context.Background(), openai.ChatCompletionNewParams{Model: "gpt-4o"})
		if err != nil {
			return err
		}
		c := got.Choices[0]
		replies[name] = reply{json.RawMessage(sent), got.ID, string(got.Model), c.Message.Content, c.Message.Refusal, string(c.FinishReason),
			got.Usage.PromptTokens, got.Usage.CompletionTokens}
	}
	for name, v := range map[string]any{"requests.json": requests, "replies.json": replies} {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", " ")
		if err := e.Encode(v); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.TrimSpace(b.String())+"\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}
