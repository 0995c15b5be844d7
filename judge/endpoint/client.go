// Package endpoint asks vision models for package judge, by OpenAI's own Go client (github.com/openai/openai-go): chat
// completions, of OpenAI or of any server that is compatible.
//
// What the client does by itself is left to the caller or switched off. It tries nothing again, since tries belong to the
// rate, the budget and the time limits of [judge.Run]. It follows no redirect, which would take key and pictures elsewhere. It
// reads no variable of the environment, so that nothing but [Options] decides where questions go, but for those of proxies
// (HTTPS_PROXY, HTTP_PROXY, NO_PROXY). It says nothing of the machine that it runs on. Of an answer it takes [MaxReply] bytes
// at most.
package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"unicode"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"relsim/judge"
)

// Options say where an endpoint is.
type Options struct {
	// Endpoint is the base address, such as https://api.openai.com/v1. Its query is part of every request.
	Endpoint string
	// Key is sent as a bearer token; empty: none is.
	Key string
	// AllowHTTP allows addresses that begin with http: and are not on this machine. Key and pictures are then sent as they
	// are.
	AllowHTTP bool
}

// Client asks an endpoint. It is a [judge.Asker]. The key is in no error and in no answer.
type Client struct {
	base      *url.URL
	hidden    *strings.Replacer // of the key; nil: there is none
	transport *http.Transport
	chat      openai.ChatCompletionService
}

// New returns a client. No request is made.
func New(o Options) (*Client, error) {
	u, err := parseBase(o)
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(o.Key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("endpoint: the key has white space or characters other than ASCII in it")
	}
	c := &Client{base: u, hidden: hiding(o.Key), transport: http.DefaultTransport.(*http.Transport).Clone()}
	c.transport.MaxResponseHeaderBytes = 64 << 10
	c.transport.MaxIdleConnsPerHost = 64
	// Unlike openai.NewClient, the constructor of a service looks at no variable of the environment.
	c.chat = openai.NewChatCompletionService(c.options(o.Key)...)
	return c, nil
}

// parseBase reads a base address. A path that names the chat completions already is cut to what is before them.
func parseBase(o Options) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(o.Endpoint))
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("endpoint: %q: want an address such as https://api.openai.com/v1", redact(o.Endpoint))
	}
	if u.User != nil {
		return nil, fmt.Errorf("endpoint: %s: an address with a name or password: the key goes into OPENAI_API_KEY", u.Redacted())
	}
	if u.Fragment != "" {
		return nil, fmt.Errorf("endpoint: %s: an address with a fragment", u)
	}
	if u.Scheme == "http" && !o.AllowHTTP && !Loopback(u.Hostname()) {
		return nil, fmt.Errorf("endpoint: %s: http: to another machine would show key and pictures to everybody on the way", u)
	}
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/chat/completions")
	u.RawPath = ""
	return u, nil
}

// redact hides what may be a password in a text that is not known to be an address.
func redact(s string) string {
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		s = "…" + s[at:]
	}
	return shortened(s, 200)
}

// Loopback reports whether a host is this machine, by its name or address alone.
func Loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// options are those of every request.
func (c *Client) options(key string) []option.RequestOption {
	base := *c.base
	base.RawQuery = ""
	list := []option.RequestOption{
		option.WithBaseURL(base.String()),
		option.WithMaxRetries(0),
		option.WithHTTPClient(httpClient(c.transport)),
		option.WithHeader("User-Agent", "relsim"),
		option.WithMiddleware(anonymous),
	}
	for name, values := range c.base.Query() { // the library would drop them
		for _, value := range values {
			list = append(list, option.WithQueryAdd(name, value))
		}
	}
	if key != "" { // with none, the library may send the word Bearer alone
		list = append(list, option.WithAPIKey(key))
	}
	return list
}

// httpClient follows no redirect, and its answers have an end.
func httpClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     bounded{transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// anonymous takes out of a request what the library says of the machine: system, architecture, version of Go.
func anonymous(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Stainless-") {
			delete(r.Header, name)
		}
	}
	return next(r)
}

// Endpoint returns the base address.
func (c *Client) Endpoint() string { return c.base.String() }

// Close gives idle connections back.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Ask sends a question and returns what the endpoint answers to it. An answer with another status is a
// [*judge.StatusError], one that cannot be read a [*judge.ReplyError].
func (c *Client) Ask(ctx context.Context, r judge.Request) (*judge.Reply, error) {
	var response *http.Response
	var body []byte
	// The body comes as it is: some servers do not say that it is JSON, and the library would refuse it.
	_, err := c.chat.New(ctx, params(r), option.WithResponseInto(&response), option.WithResponseBodyInto(&body))
	switch {
	case response == nil && err == nil:
		return nil, errors.New("endpoint: ask: no answer and no error")
	case response == nil:
		return nil, fmt.Errorf("endpoint: ask: %w", c.hide(err))
	case response.StatusCode != http.StatusOK:
		u := *c.base
		u.Path += "/chat/completions"
		return nil, fmt.Errorf("endpoint: ask %s: %w%s", u.Redacted(), c.refusal(response, body, err), c.hint(response.StatusCode))
	case err != nil:
		return nil, fmt.Errorf("endpoint: ask: %w", &judge.ReplyError{Err: err})
	}
	reply, err := read(body)
	if err != nil {
		return nil, fmt.Errorf("endpoint: ask: %w", &judge.ReplyError{Err: c.hide(err)})
	}
	for _, s := range []*string{&reply.ID, &reply.Model, &reply.Finish} {
		*s = c.clean(*s)
	}
	for _, s := range []*string{&reply.Text, &reply.Refusal, &reply.Raw} {
		*s = c.hideIn(*s)
	}
	return reply, nil
}

// hint is what may be wrong with the address when nothing is there.
func (c *Client) hint(status int) string {
	if status == http.StatusNotFound && c.base.Path == "" {
		return "; most servers want an address that ends in /v1"
	}
	return ""
}

// hiding replaces a key, also in the forms that it may have within JSON.
func hiding(key string) *strings.Replacer {
	if key == "" {
		return nil
	}
	quoted, err := json.Marshal(key)
	if err != nil {
		panic("endpoint: a text cannot be marshalled: " + err.Error())
	}
	plain := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key)
	return strings.NewReplacer(key, "[key]", string(quoted[1:len(quoted)-1]), "[key]", plain, "[key]")
}

// hideIn takes the key out of a text that came from the endpoint.
func (c *Client) hideIn(s string) string {
	if c.hidden == nil {
		return s
	}
	return c.hidden.Replace(s)
}

// clean is hideIn for what is printed: without control characters other than line ends.
func (c *Client) clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(c.hideIn(s), "\uFFFD"))
}

// hide is err, without the key in its text.
func (c *Client) hide(err error) error {
	if text := err.Error(); c.hideIn(text) != text {
		return errors.New(c.clean(text))
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
