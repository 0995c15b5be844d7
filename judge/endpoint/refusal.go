package endpoint

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/openai/openai-go/v3"

	"relsim/judge"
)

// refusal is the error of an answer with another status than 200. body is what the library has read of it, err its error.
func (c *Client) refusal(response *http.Response, body []byte, err error) *judge.StatusError {
	e := &judge.StatusError{Status: response.StatusCode, RetryAfter: retryAfter(response.Header, time.Now())}
	if e.Status >= 300 && e.Status < 400 {
		e.Location = c.clean(shortened(response.Header.Get("Location"), 200))
	}
	if e.Status >= 400 { // the library has put it back; bounded lets nothing go wrong
		body, _ = io.ReadAll(io.LimitReader(response.Body, maxRefusal))
	}
	message, code := said(body, response.Header.Get("Content-Type"))
	var official *openai.Error
	if errors.As(err, &official) && official.Message != "" {
		message, code = official.Message, official.Code
	}
	if _, err := strconv.Atoi(code); err == nil { // vLLM and llama.cpp repeat the status
		code = ""
	}
	e.Message, e.Code = c.clean(shortened(message, 400)), c.clean(shortened(code, 64))
	return e
}

// said reads the errors of servers that do not send OpenAI's form: {"error": "words"}, {"message": "words"} and
// {"detail": "words"}. What is no JSON is shown by its beginning, unless it is a page.
func said(body []byte, kind string) (message, code string) {
	var from struct {
		Error, Message, Detail, Code json.RawMessage
	}
	if json.Unmarshal(body, &from) == nil {
		for _, raw := range []json.RawMessage{from.Error, from.Message, from.Detail} {
			if json.Unmarshal(raw, &message) == nil && message != "" {
				if json.Unmarshal(from.Code, &code) != nil {
					code = ""
				}
				return message, code
			}
		}
		if len(from.Error) > 0 {
			return "", ""
		}
	}
	if strings.Contains(kind, "html") {
		return "", ""
	}
	return string(body[:min(len(body), 400)]), ""
}

// retryAfter reads how long to wait: seconds, perhaps with a fraction, or a date. It returns -1 where that is not said.
func retryAfter(h http.Header, now time.Time) time.Duration {
	const most = 24 * time.Hour
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms >= 0 {
		return time.Duration(min(ms, float64(most/time.Millisecond)) * float64(time.Millisecond))
	}
	value := strings.TrimSpace(h.Get("Retry-After"))
	if s, err := strconv.ParseFloat(value, 64); err == nil && s >= 0 {
		return time.Duration(min(s, most.Seconds()) * float64(time.Second))
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), most)
	}
	return -1
}
