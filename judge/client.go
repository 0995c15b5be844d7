package judge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// MaxReply is the size in bytes of an endpoint's answer at most. One that is longer is not read on.
const MaxReply = 1 << 20

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
}

// Asker answers questions. [Client] is one; it is called from several goroutines at once.
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

// errTooLong is what an answer of more than [MaxReply] bytes gives.
var errTooLong = fmt.Errorf("longer than %d bytes", MaxReply)

// ClientOptions say where an endpoint is.
type ClientOptions struct {
	// Endpoint is the base address, such as https://api.openai.com/v1.
	Endpoint string
	// Key is sent as a bearer token; empty: none is.
	Key string
	// AllowHTTP allows addresses that begin with http: and are not on this machine. Key and pictures are then sent as they
	// are.
	AllowHTTP bool
}

// Client asks the chat completions of an OpenAI-compatible endpoint. It follows no redirect, tries nothing again, and reads
// no more than [MaxReply] bytes. The key is in no error.
type Client struct {
	base *url.URL
	key  string
	http *http.Client
}

// NewClient returns a client. No request is made.
func NewClient(o ClientOptions) (*Client, error) {
	u, err := url.Parse(strings.TrimSpace(o.Endpoint))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("judge: endpoint %s: want an address such as https://api.openai.com/v1", quoted(redactURL(o.Endpoint)))
	}
	if u.User != nil {
		return nil, fmt.Errorf("judge: endpoint %s: an address with a name or password: the key goes into OPENAI_API_KEY", u.Redacted())
	}
	if u.Fragment != "" {
		return nil, fmt.Errorf("judge: endpoint %s: an address with a fragment", u)
	}
	if u.Scheme == "http" && !o.AllowHTTP && !Loopback(u.Hostname()) {
		return nil, fmt.Errorf("judge: endpoint %s: http: to another machine would show key and pictures to everybody on the way", u)
	}
	if strings.ContainsFunc(o.Key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("judge: the key has white space or characters other than ASCII in it")
	}
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/chat/completions")
	u.RawPath = ""
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = 64 << 10
	transport.MaxIdleConnsPerHost = 64
	return &Client{base: u, key: o.Key, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// redactURL hides what may be a password in a text that is not known to be an address.
func redactURL(s string) string {
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		return "…" + s[at:]
	}
	return s
}

// Loopback reports whether a host is this machine, by its name or address alone.
func Loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// Endpoint returns the base address.
func (c *Client) Endpoint() string { return c.base.String() }

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// chat is the body of a request.
type chat struct {
	Model       string    `json:"model"`
	Messages    []message `json:"messages"`
	Temperature *float64  `json:"temperature,omitempty"`
	MaxTokens   int       `json:"max_completion_tokens,omitempty"`
}

type message struct {
	Role    string `json:"role"`
	Content []part `json:"content"`
}

type part struct {
	Type     string    `json:"type"`
	Text     string    `json:"text,omitempty"`
	ImageURL *imageURL `json:"image_url,omitempty"`
}

type imageURL struct {
	URL    string `json:"url"`
	Detail string `json:"detail,omitempty"`
}

// body returns r as JSON.
func (r Request) body() ([]byte, error) {
	text := func(s string) part { return part{Type: "text", Text: s} }
	picture := func(p Picture) part {
		return part{Type: "image_url", ImageURL: &imageURL{URL: p.DataURI(), Detail: r.Detail}}
	}
	return json.Marshal(chat{
		Model: r.Model, Temperature: r.Temperature, MaxTokens: r.MaxTokens,
		Messages: []message{{Role: "user", Content: []part{
			text(r.Prompt.Ask), text(r.Prompt.First), picture(r.Pictures[0]), text(r.Prompt.Second), picture(r.Pictures[1]), text(r.Prompt.End),
		}}},
	})
}

// Ask sends a question and returns what the endpoint answers to it. An answer with another status is a [*StatusError],
// one that cannot be read a [*ReplyError].
func (c *Client) Ask(ctx context.Context, r Request) (*Reply, error) {
	body, err := r.body()
	if err != nil {
		return nil, fmt.Errorf("judge: ask: %w", err)
	}
	u := *c.base
	u.Path += "/chat/completions"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("judge: ask: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "relsim")
	if c.key != "" {
		request.Header.Set("Authorization", "Bearer "+c.key)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("judge: ask: %w", c.hide(err))
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, MaxReply+1))
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("judge: ask %s: %w", u.Redacted(), c.statusError(response, data))
	}
	if err == nil && len(data) > MaxReply {
		err = errTooLong
	}
	if err != nil {
		return nil, fmt.Errorf("judge: ask: %w", &ReplyError{err})
	}
	reply, err := parseReply(data)
	if err != nil {
		return nil, fmt.Errorf("judge: ask: %w", &ReplyError{err})
	}
	reply.Text, reply.Refusal = c.clean(reply.Text), c.clean(reply.Refusal)
	return reply, nil
}

// parseReply reads the body of an answer.
func parseReply(data []byte) (*Reply, error) {
	var from struct {
		ID      string `json:"id"`
		Model   string `json:"model"`
		Choices []struct {
			FinishReason string `json:"finish_reason"`
			Message      *struct {
				Content json.RawMessage `json:"content"`
				Refusal *string         `json:"refusal"`
			} `json:"message"`
		} `json:"choices"`
		Usage struct {
			PromptTokens     int `json:"prompt_tokens"`
			CompletionTokens int `json:"completion_tokens"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(data, &from); err != nil {
		return nil, fmt.Errorf("not the JSON of a chat completion: %w", err)
	}
	if len(from.Choices) == 0 || from.Choices[0].Message == nil {
		return nil, errors.New("the JSON has no choices[0].message")
	}
	choice := from.Choices[0]
	text, err := contentText(choice.Message.Content)
	if err != nil {
		return nil, err
	}
	reply := &Reply{
		ID: shortened(from.ID, 200), Model: shortened(from.Model, 200), Text: text, Finish: shortened(choice.FinishReason, 64),
		Usage: Usage{Input: max(from.Usage.PromptTokens, 0), Output: max(from.Usage.CompletionTokens, 0)},
	}
	if r := choice.Message.Refusal; r != nil {
		reply.Refusal = *r
	}
	return reply, nil
}

// contentText reads the content of a message: a text, null, or a list of parts whose texts are joined.
func contentText(raw json.RawMessage) (string, error) {
	var text *string
	if len(raw) == 0 || json.Unmarshal(raw, &text) == nil {
		if text == nil {
			return "", nil
		}
		return *text, nil
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if err := json.Unmarshal(raw, &parts); err != nil {
		return "", errors.New("choices[0].message.content is neither a text nor a list of parts")
	}
	var b strings.Builder
	for _, p := range parts {
		if p.Type == "text" {
			b.WriteString(p.Text)
		}
	}
	return b.String(), nil
}

// statusError reads the error of an answer. What is no JSON is shown by its beginning.
func (c *Client) statusError(response *http.Response, data []byte) *StatusError {
	e := &StatusError{Status: response.StatusCode, RetryAfter: retryAfter(response.Header, time.Now())}
	if e.Status >= 300 && e.Status < 400 {
		e.Location = c.clean(shortened(response.Header.Get("Location"), 200))
	}
	var from struct {
		Error json.RawMessage `json:"error"`
	}
	var detail struct {
		Message string `json:"message"`
		Code    any    `json:"code"` // a word, or a number
	}
	message := ""
	if json.Unmarshal(data, &from) == nil && len(from.Error) > 0 {
		if json.Unmarshal(from.Error, &message) != nil && json.Unmarshal(from.Error, &detail) == nil {
			message = detail.Message
			if code, ok := detail.Code.(string); ok {
				e.Code = c.clean(shortened(code, 64))
			}
		}
	} else if kind := response.Header.Get("Content-Type"); !strings.Contains(kind, "html") {
		message = string(data[:min(len(data), 400)])
	}
	e.Message = c.clean(shortened(message, 400))
	return e
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

// clean takes the key out of a text that came from the endpoint, and control characters other than line ends.
func (c *Client) clean(s string) string {
	if c.key != "" {
		s = strings.ReplaceAll(s, c.key, "[key]")
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// hide is err, without the key in its text.
func (c *Client) hide(err error) error {
	if c.key != "" && strings.Contains(err.Error(), c.key) {
		return errors.New(c.clean(err.Error()))
	}
	return err
}

// shortened is the beginning of s, n bytes at most.
func shortened(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// noSuchHost reports whether err says that the endpoint's name is not known.
func noSuchHost(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}
