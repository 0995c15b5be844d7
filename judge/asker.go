package judge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Request is one question to an endpoint.
type Request struct {
	Model    string
	Prompt   Prompt
	Pictures [2]Picture
	// Temperature is left to the endpoint where it is nil.
	Temperature *float64
	// Detail says how closely the model looks: low, high or auto; empty: the endpoint's default.
	Detail string
	// MaxTokens bounds the answer; 0: the endpoint's default.
	MaxTokens int
}

// Usage is what a question took, as the endpoint says.
type Usage struct {
	Input  int `json:"input"`  // tokens of prompt and pictures
	Output int `json:"output"` // tokens of the answer, with those of reasoning
}

// Reply is what an endpoint answered.
type Reply struct {
	ID      string // of the answer
	Model   string // that answered
	Text    string
	Refusal string // why it does not answer; empty: it does
	Finish  string // why the text ends: stop, length, content_filter
	Usage   Usage
	// Raw is all that came, byte for byte: the JSON around Text.
	Raw string
}

// Asker answers questions: package judge/endpoint has one. It is called from several goroutines at once.
type Asker interface {
	Ask(ctx context.Context, r Request) (*Reply, error)
}

// StatusError says that an endpoint answered with a status of HTTP other than 200.
type StatusError struct {
	Status int
	// Code and Message are the endpoint's own words, empty where it has none.
	Code, Message string
	// RetryAfter is how long the endpoint wants to be left alone; negative: it does not say.
	RetryAfter time.Duration
	// Location is where a redirect leads.
	Location string
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("the endpoint answers %d %s", e.Status, http.StatusText(e.Status))
	if e.Location != "" {
		s += ", and leads to " + strconv.Quote(e.Location) + ": redirects are not followed"
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Code != "" {
		s += " (" + e.Code + ")"
	}
	return s
}

// ReplyError says that an endpoint answered with something that is no answer.
type ReplyError struct{ Err error }

func (e *ReplyError) Error() string { return "the endpoint's answer: " + e.Err.Error() }
func (e *ReplyError) Unwrap() error { return e.Err }

// ErrTooLong is wrapped by the error of an answer that is longer than anybody reads.
var ErrTooLong = errors.New("too long")

// shortened is the beginning of s, n bytes at most.
func shortened(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
