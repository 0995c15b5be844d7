package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxHops    = 10
	maxTries   = 5               // in a row that bring little
	progressed = 1 << 20         // bytes that are not little
	maxWait    = 2 * time.Minute // what a server may ask us to wait
	firstWait  = 500 * time.Millisecond
)

// client speaks to the hub, and to where it sends large files from.
type client struct {
	settings
	name   Name
	http   *http.Client
	tries  int
	notice func(format string, args ...any)
	sleep  func(ctx context.Context, d time.Duration) error
}

func newClient(s settings, name Name, o Options) *client {
	transport := o.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	return &client{
		settings: s,
		name:     name,
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		tries:  maxTries,
		notice: o.notice,
		sleep:  o.wait,
	}
}

// transient is an error that may be gone at the next try.
type transient struct {
	error
	after time.Duration // what the server asks us to wait
}

func (e transient) Unwrap() error { return e.error }

// retry calls try until it succeeds or fails for good. try returns the bytes that it brought.
func (c *client) retry(ctx context.Context, what string, try func() (int64, error)) error {
	for tries := 1; ; tries++ {
		n, err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, ctx.Err())
		}
		var again transient
		if !errors.As(err, &again) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if n >= progressed {
			tries = 1
		}
		if tries >= c.tries {
			if tries > 1 {
				err = fmt.Errorf("given up after %d tries: %w", tries, err)
			}
			return fmt.Errorf("%s: %w", what, err)
		}
		wait := firstWait << (tries - 1)
		wait += rand.N(wait/4 + 1)
		if again.after > maxWait {
			return fmt.Errorf("%s: %w: it asks to wait for %v; try again then", what, err, again.after)
		}
		wait = max(wait, again.after)
		c.notice("%s: %v; again in %v", what, err, wait.Round(100*time.Millisecond))
		if err := c.sleep(ctx, wait); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// sleep waits, unless the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// answer is a response, and what the hub said of the file on the way there.
type answer struct {
	*http.Response
	commit string // X-Repo-Commit
	etag   string // the file's hash, where the hub gave one
	size   int64  // -1 where it gave none
	guard  *guard
}

// Read reads the body; a connection on which nothing comes for long is broken off.
func (a *answer) Read(p []byte) (int, error) {
	a.guard.touch()
	n, err := a.Body.Read(p)
	if err != nil && err != io.EOF {
		err = a.guard.network(err)
	}
	return n, err
}

func (a *answer) Close() {
	a.Body.Close()
	a.guard.stop()
}

// guard ends a request on which nothing comes.
type guard struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
}

var errStalled = errors.New("nothing comes")

func newGuard(ctx context.Context, stall time.Duration) *guard {
	g := &guard{stall: stall}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	g.timer = time.AfterFunc(stall, func() { g.cancel(errStalled) })
	return g
}

func (g *guard) touch() { g.timer.Reset(g.stall) }

func (g *guard) stop() {
	g.timer.Stop()
	g.cancel(nil)
}

// network says what went wrong with a connection, without the address: that of the storage is a secret.
func (g *guard) network(err error) error {
	if context.Cause(g.ctx) == errStalled {
		return transient{error: fmt.Errorf("nothing has come for %v", g.stall)}
	}
	var address *url.Error
	if errors.As(err, &address) {
		err = address.Err
	}
	var resolve *net.DNSError
	var certificate *tls.CertificateVerificationError
	if g.ctx.Err() != nil || errors.As(err, &certificate) || errors.As(err, &resolve) && resolve.IsNotFound {
		return err
	}
	return transient{error: err}
}

// send asks for the path below the endpoint, from a byte on. It follows redirections; the
// token goes to the endpoint alone, and not after a detour. A HEAD ends where the way leaves it.
func (c *client) send(ctx context.Context, method, path string, from int64, ifRange string) (_ *answer, err error) {
	u, err := url.Parse(c.endpoint.String() + path)
	if err != nil {
		return nil, err
	}
	a := &answer{size: -1, guard: newGuard(ctx, c.stall)}
	defer func() {
		if err != nil {
			a.guard.stop()
		}
	}()
	home := true
	for range maxHops {
		request, err := http.NewRequestWithContext(a.guard.ctx, method, u.String(), nil)
		if err != nil {
			return nil, fmt.Errorf("address of %s: not valid", u.Host)
		}
		request.Header.Set("User-Agent", "relsim")
		request.Header.Set("Accept-Encoding", "identity")
		if home && c.token != "" {
			request.Header.Set("Authorization", "Bearer "+c.token)
		}
		if from > 0 {
			request.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
			if ifRange != "" {
				request.Header.Set("If-Range", ifRange)
			}
		}
		a.guard.touch()
		response, err := c.http.Do(request)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", u.Host, a.guard.network(err))
		}
		if home {
			a.note(response)
		}
		next, err := location(response)
		if err != nil {
			response.Body.Close()
			return nil, fmt.Errorf("%s: %w", u.Host, err)
		}
		if next == nil {
			a.Response = response
			if response.StatusCode/100 != 2 {
				err := c.refusal(a, home)
				response.Body.Close()
				return nil, err
			}
			return a, nil
		}
		if home = home && next.Scheme == c.endpoint.Scheme && strings.EqualFold(next.Host, c.endpoint.Host); !home && method == http.MethodHead {
			a.Response = response
			return a, nil
		}
		response.Body.Close()
		u = next
	}
	return nil, fmt.Errorf("%s: more than %d redirections", u.Host, maxHops)
}

// note takes what the hub says of the file. Content-Length and ETag are those of the file
// where the hub sends it itself.
func (a *answer) note(r *http.Response) {
	if v := r.Header.Get("X-Repo-Commit"); v != "" {
		a.commit = v
	}
	etag, size := r.Header.Get("X-Linked-Etag"), r.Header.Get("X-Linked-Size")
	if r.StatusCode/100 == 2 && etag == "" && a.etag == "" {
		etag = r.Header.Get("ETag")
	}
	if r.StatusCode == http.StatusOK && size == "" && a.size < 0 {
		a.size = r.ContentLength
	}
	if etag != "" {
		a.etag = strings.Trim(strings.TrimPrefix(etag, "W/"), `"`)
	}
	if n, err := strconv.ParseInt(size, 10, 64); err == nil && n >= 0 {
		a.size = n
	}
}

// location returns where a response sends us, or nil.
func location(r *http.Response) (*url.URL, error) {
	switch r.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	next, err := r.Location()
	switch {
	case err != nil || next.Host == "":
		return nil, fmt.Errorf("status %d without a valid address", r.StatusCode)
	case next.Scheme != "http" && next.Scheme != "https":
		return nil, fmt.Errorf("sends us to an address of another kind than http: %.20q", next.Scheme)
	case r.Request.URL.Scheme == "https" && next.Scheme == "http":
		return nil, fmt.Errorf("sends us from https to http, at %s", next.Host)
	}
	return next, nil
}

// Errors of the hub that are told apart.
var (
	errAccess   = errors.New("access refused")
	errNotFound = errors.New("not found")
	errRange    = errors.New("range refused")
)

// refusal turns a status that is no success into an error which says what to do.
func (c *client) refusal(a *answer, home bool) error {
	host := a.Request.URL.Host
	status, code := a.StatusCode, a.Header.Get("X-Error-Code")
	said := fmt.Sprintf("%s answers %d", host, status)
	if message := a.Header.Get("X-Error-Message"); message != "" && home {
		said += fmt.Sprintf(" (%.200q)", message)
	}
	page := c.endpoint.Redacted() + "/" + c.name.Repo
	switch {
	case status == http.StatusTooManyRequests:
		if home && c.token == "" {
			said += ", too many requests; with a token (HF_TOKEN) more are allowed"
		}
		return transient{errors.New(said), retryAfter(a.Header.Get("Retry-After"), time.Now())}
	case status == http.StatusRequestTimeout || status/100 == 5:
		return transient{errors.New(said), retryAfter(a.Header.Get("Retry-After"), time.Now())}
	case status == http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("%w: %s", errRange, said)
	case !home: // an address of the storage is valid for some time only
		return transient{error: errors.New(said)}
	case (status == http.StatusUnauthorized || status == http.StatusForbidden) && c.token != "" && code != "RepoNotFound":
		return fmt.Errorf("%w: %s: the token from %s may not read %s; accept the model's terms at %s, or take another token", errAccess, said, c.from, c.name.Repo, page)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		cause := "no such model, or it is private or gated"
		if code == "GatedRepo" {
			cause = "the model is gated"
		}
		return fmt.Errorf("%w: %s: %s; look at %s, accept its terms there if it has some, and put a token into HF_TOKEN", errAccess, said, cause, page)
	case status == http.StatusNotFound && code == "RevisionNotFound":
		return fmt.Errorf("%w: %s: %s has no revision %s", errNotFound, said, c.name.Repo, c.name.Revision)
	case status == http.StatusNotFound && code == "EntryNotFound":
		return fmt.Errorf("%w: %s: the model has no such file", errNotFound, said)
	case status == http.StatusNotFound:
		return fmt.Errorf("%w: %s: no model %s", errNotFound, said, c.name.Repo)
	}
	return errors.New(said)
}

// retryAfter reads Retry-After: seconds or a date. 0 is none.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseInt(s, 10, 32); err == nil {
		return max(0, time.Duration(n)*time.Second)
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

// list asks for the files of the revision.
func (c *client) list(ctx context.Context, revision string) (*list, error) {
	path := "/api/models/" + c.name.Repo + "/revision/" + url.PathEscape(revision) + "?blobs=true"
	var l *list
	err := c.retry(ctx, "list of files", func() (int64, error) {
		a, err := c.send(ctx, http.MethodGet, path, 0, "")
		if err != nil {
			return 0, err
		}
		defer a.Close()
		text, err := io.ReadAll(io.LimitReader(a, maxList+1))
		if err != nil {
			return 0, err
		}
		if len(text) > maxList {
			return 0, fmt.Errorf("%s sends more than %d bytes", a.Request.URL.Host, maxList)
		}
		l, err = parseList(text)
		if err != nil {
			return 0, fmt.Errorf("%s: %w; if HF_ENDPOINT is set, see that it is the address of a hub", a.Request.URL.Host, err)
		}
		return 0, nil
	})
	if err == nil && commitForm.MatchString(revision) && l.commit != revision {
		err = fmt.Errorf("list of files: the server has commit %s, %s was asked for", l.commit, revision)
	}
	return l, err
}

// filePath returns the path of a file below the endpoint.
func (c *client) filePath(commit, path string) string {
	parts := strings.Split(path, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return "/" + c.name.Repo + "/resolve/" + commit + "/" + strings.Join(parts, "/")
}

// head asks for a file's hash and size, where the list of files has them not.
func (c *client) head(ctx context.Context, commit, path string) (file, error) {
	var f file
	err := c.retry(ctx, path, func() (int64, error) {
		a, err := c.send(ctx, http.MethodHead, c.filePath(commit, path), 0, "")
		if err != nil {
			return 0, err
		}
		defer a.Close()
		f = file{size: a.size, hash: a.etag}
		if a.commit != "" && a.commit != commit {
			return 0, fmt.Errorf("the server has it of commit %.80q, %s was asked for", a.commit, commit)
		}
		if f.size < 0 || !isHash(f.hash) {
			return 0, fmt.Errorf("the server gives no size and hash (X-Linked-Etag or ETag %.80q), so that it cannot be checked", a.etag)
		}
		return 0, nil
	})
	return f, err
}

// check compares what the hub says of a file on the way to it with what the list of files says.
func (a *answer) check(commit string, f file) error {
	if a.commit != "" && a.commit != commit {
		return fmt.Errorf("the server has it of commit %.80q, %s was asked for", a.commit, commit)
	}
	if isHash(a.etag) && a.etag != f.hash { // mirrors have ETags of other forms
		return fmt.Errorf("the server says that its hash is %s, the list of files %s", a.etag, f.hash)
	}
	if a.size >= 0 && a.size != f.size {
		return fmt.Errorf("the server says that it has %d bytes, the list of files %d", a.size, f.size)
	}
	return nil
}
