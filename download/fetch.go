package download

import (
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	maxHops    = 10       // redirections of one picture
	inMemory   = 1 << 20  // bytes of a body that are kept in memory; what is longer goes to a file
	maxHeaders = 64 << 10 // bytes of the headers of an answer
	minBytes   = 1 << 10  // of a body, in Options.Idle
)

// failure is why a request brought no picture.
type failure struct {
	reason    string
	gone      bool          // there is no such picture
	again     bool          // another try may help
	unheard   bool          // no server answered
	optedOut  bool          // no other address of the picture is to be asked either
	after     time.Duration // what the server asks us to wait
	afterSet  bool          // it did so
	pauseHost bool          // that goes for its other pictures too
	redirect  *url.URL      // to another host, which has limits of its own
	fatal     error         // this machine's fault; ends the run
}

func failed(format string, args ...any) *failure {
	return &failure{reason: fmt.Sprintf(format, args...)}
}

func transient(format string, args ...any) *failure {
	return &failure{reason: fmt.Sprintf(format, args...), again: true}
}

// client makes requests.
type client struct {
	o         *Options
	robot     string
	transport *http.Transport
	spool     func() (*os.File, error) // makes a file for a long body
	received  *atomic.Int64            // bytes of bodies
}

func newClient(o *Options, spool func() (*os.File, error), received *atomic.Int64) *client {
	d := &dialer{cache: newDNSCache(o.Resolver), allowPrivate: o.AllowPrivate, timeout: o.Connect}
	return &client{
		o:        o,
		robot:    robotName(o.UserAgent),
		spool:    spool,
		received: received,
		transport: &http.Transport{
			DialContext:            d.dial,
			TLSClientConfig:        &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    o.Connect,
			ResponseHeaderTimeout:  o.FirstByte,
			DisableCompression:     true, // an answer is stored as it was meant, and its size is bounded
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           4 * o.Workers,
			MaxIdleConnsPerHost:    o.PerHost,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: maxHeaders,
			ReadBufferSize:         16 << 10,
		},
	}
}

func (c *client) close() { c.transport.CloseIdleConnections() }

// body is the body of an answer: in memory, or in a file if it is long.
type body struct {
	data []byte
	file *os.File // the caller closes and removes it
	size int64
	url  string
}

func (b *body) discard() {
	if b != nil && b.file != nil {
		b.file.Close()
		os.Remove(b.file.Name())
		b.file = nil
	}
}

var (
	errWhole = errors.New("the request takes too long")
	errSlow  = errors.New("too little comes")
)

// get asks for a picture at u. It follows redirections within a host; *hops are the addresses so far, u the last of
// them. A redirection to another host is a failure that says so.
func (c *client) get(ctx context.Context, u *url.URL, hops *[]string) (*body, *failure) {
	ctx, stop := context.WithTimeoutCause(ctx, c.o.Whole, errWhole)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for {
		r, err := c.send(ctx, u)
		if err != nil {
			return nil, c.network(ctx, err)
		}
		b, next, f := c.answer(ctx, cancel, u, r)
		drain(r.Body)
		if next == nil {
			return b, f
		}
		if f := addHop(hops, next); f != nil {
			return nil, f
		}
		if hostOf(next) != hostOf(u) {
			return nil, &failure{redirect: next}
		}
		u = next
	}
}

// addHop notes a redirection, and refuses a loop and more than maxHops of them.
func addHop(hops *[]string, next *url.URL) *failure {
	to := next.String()
	for i, h := range *hops {
		if h == to {
			return failed("redirect loop: %s", strings.Join(append((*hops)[i:], to), " → "))
		}
	}
	if *hops = append(*hops, to); len(*hops) > maxHops+1 {
		return failed("more than %d redirects: the last to %s", maxHops, to)
	}
	return nil
}

// drain reads the little that may be left of a body, so that its connection can be used again.
func drain(r io.ReadCloser) {
	io.CopyN(io.Discard, r, 16<<10)
	r.Close()
}

// send makes one request. Nothing but what is set here is sent: no cookies, no name and password, no referrer.
func (c *client) send(ctx context.Context, u *url.URL) (*http.Response, error) {
	r := &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{
		"User-Agent":      {c.o.UserAgent},
		"Accept":          {"image/webp,image/png,image/jpeg,image/*;q=0.8,*/*;q=0.5"},
		"Accept-Encoding": {"identity"},
	}}
	return c.transport.RoundTrip(r.WithContext(ctx))
}

// answer takes an answer: a picture, a redirection or a failure.
func (c *client) answer(ctx context.Context, cancel context.CancelCauseFunc, u *url.URL, r *http.Response) (*body, *url.URL, *failure) {
	switch r.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		if f := c.optOut(r.Header); f != nil {
			return nil, nil, f
		}
		location := r.Header.Get("Location")
		if location == "" || len(location) > maxURL {
			return nil, nil, failed("HTTP %d without a valid address", r.StatusCode)
		}
		next, err := u.Parse(location)
		if err == nil {
			err = checkParts(next)
		}
		if err != nil {
			return nil, nil, failed("redirect to %v", errText(err))
		}
		return nil, next, nil
	case http.StatusOK, http.StatusNonAuthoritativeInfo:
		if f := c.optOut(r.Header); f != nil {
			return nil, nil, f
		}
		b, f := c.read(ctx, cancel, r)
		if b != nil {
			b.url = u.String()
		}
		return b, nil, f
	}
	return nil, nil, statusFailure(r, time.Now())
}

func errText(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		return "an address that is not valid"
	}
	return err.Error()
}

func (c *client) optOut(h http.Header) *failure {
	if c.o.IgnoreOptOut {
		return nil
	}
	if directive := optedOut(h.Values("X-Robots-Tag"), c.robot); directive != "" {
		f := failed("opted out: X-Robots-Tag %s", directive)
		f.optedOut = true
		return f
	}
	return nil
}

// statusFailure says what a status means that is neither success nor a redirection.
func statusFailure(r *http.Response, now time.Time) *failure {
	f := failed("HTTP %d", r.StatusCode)
	f.after, f.afterSet = retryAfter(r.Header.Get("Retry-After"), now)
	switch s := r.StatusCode; {
	case s == http.StatusNotFound || s == http.StatusGone:
		f.gone = true
	case s == http.StatusTooManyRequests:
		f.again, f.pauseHost = true, true
	case s == http.StatusServiceUnavailable:
		f.again, f.pauseHost = true, f.afterSet
	case s == http.StatusRequestTimeout || s == http.StatusTooEarly:
		f.again = true
	case s == http.StatusNotImplemented || s == http.StatusHTTPVersionNotSupported:
	case s/100 == 5:
		f.again = true
	}
	return f
}

// read reads the body of an answer. It gives up as soon as the first bytes are not those of a picture.
func (c *client) read(ctx context.Context, cancel context.CancelCauseFunc, r *http.Response) (_ *body, f *failure) {
	limit := c.o.MaxBytes
	if r.ContentLength > limit {
		return nil, failed("larger than %s: %s", sizeText(limit), sizeText(r.ContentLength))
	}
	w := newWatch(c.o.Idle, func() { cancel(errSlow) })
	defer w.stop()
	var in io.Reader = &counting{r.Body, w, c.received}
	switch coding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); coding {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(&bounded{in, limit})
		if err != nil {
			return nil, c.network(ctx, err)
		}
		in = z
	case "deflate":
		z, err := zlib.NewReader(&bounded{in, limit})
		if err != nil {
			return nil, c.network(ctx, err)
		}
		in = z
	default:
		return nil, failed("content encoding %.20q, which was not asked for", coding)
	}
	b := new(body)
	defer func() {
		if f != nil {
			b.discard()
		}
	}()
	size := 32 << 10
	if r.ContentLength >= 0 {
		size = int(min(r.ContentLength, inMemory)) + 1 // to meet the end without growing
	}
	b.data = make([]byte, 0, max(size, 512))
	sniffed := false
	var chunk []byte
	for {
		var n int
		var err error
		if b.file == nil {
			if len(b.data) == cap(b.data) {
				b.data = append(b.data, 0)[:len(b.data)]
			}
			n, err = in.Read(b.data[len(b.data):cap(b.data)])
			b.data = b.data[:len(b.data)+n]
		} else {
			n, err = in.Read(chunk)
			if _, werr := b.file.Write(chunk[:n]); werr != nil {
				return nil, &failure{fatal: werr}
			}
		}
		b.size += int64(n)
		if b.size > limit {
			return nil, failed("larger than %s", sizeText(limit))
		}
		if !sniffed && (b.size >= sniffBytes || err == io.EOF) {
			sniffed = true
			if k := sniff(b.data, r.Header.Get("Content-Type")); k.refused != "" {
				return nil, failed("%s", k.refused)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, c.network(ctx, err)
		}
		if b.file == nil && len(b.data) >= inMemory {
			if b.file, err = c.spool(); err == nil {
				_, err = b.file.Write(b.data)
			}
			if err != nil {
				return nil, &failure{fatal: err}
			}
			b.data, chunk = b.data[:sniffBytes:sniffBytes], make([]byte, 256<<10)
		}
	}
	return b, nil
}

// bounded ends with an error behind some bytes.
type bounded struct {
	r    io.Reader
	left int64
}

var errTooLong = errors.New("longer than allowed")

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// counting counts what comes.
type counting struct {
	r     io.Reader
	watch *watch
	total *atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.watch.got.Add(int64(n))
	c.total.Add(int64(n))
	return n, err
}

// watch calls slow when less than minBytes come within a while.
type watch struct {
	got   atomic.Int64
	timer *time.Timer
}

func newWatch(every time.Duration, slow func()) *watch {
	w := new(watch)
	ready := make(chan struct{})
	w.timer = time.AfterFunc(every, func() {
		<-ready
		if w.got.Swap(0) < minBytes {
			slow()
			return
		}
		w.timer.Reset(every)
	})
	close(ready)
	return w
}

func (w *watch) stop() { w.timer.Stop() }

// network says what went wrong on the way, without the address.
func (c *client) network(ctx context.Context, err error) *failure {
	var (
		dns         *net.DNSError
		op          *net.OpError
		certificate *tls.CertificateVerificationError
		unknownCA   x509.UnknownAuthorityError
		record      tls.RecordHeaderError
		alert       tls.AlertError
		timeout     net.Error
		corrupt     flate.CorruptInputError
	)
	text := err.Error()
	dialing := errors.As(err, &op) && op.Op == "dial"
	switch {
	case context.Cause(ctx) == errSlow:
		return transient("timeout: slow (less than %s in %v)", sizeText(minBytes), c.o.Idle)
	case context.Cause(ctx) == errWhole:
		return transient("timeout: not whole after %v", c.o.Whole)
	case ctx.Err() != nil:
		return &failure{fatal: ctx.Err()}
	case errors.Is(err, errForbidden):
		return failed("%v", strings.TrimPrefix(text[strings.Index(text, errForbidden.Error()):], " "))
	case errors.As(err, &dns) && dns.IsNotFound:
		return &failure{reason: "no such host", unheard: true}
	case errors.As(err, &dns) && dns.IsTimeout:
		return &failure{reason: "timeout: DNS", again: true, unheard: true}
	case errors.As(err, &dns):
		return &failure{reason: "DNS: the name server fails", again: true, unheard: true}
	case errors.As(err, &certificate), errors.As(err, &unknownCA):
		return failed("TLS: certificate not valid")
	case errors.As(err, &record):
		return failed("TLS: what comes is not TLS")
	case errors.As(err, &alert), strings.HasPrefix(text, "tls: "), strings.HasPrefix(text, "remote error: tls: "):
		return failed("TLS: %s", shorten(strings.TrimPrefix(strings.TrimPrefix(text, "remote error: "), "tls: "), 80))
	case errors.Is(err, errTooLong):
		return failed("larger than %s", sizeText(c.o.MaxBytes))
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.Is(err, zlib.ErrHeader), errors.Is(err, zlib.ErrChecksum), errors.As(err, &corrupt):
		return failed("broken content encoding")
	case strings.Contains(text, "TLS handshake timeout"):
		return &failure{reason: "timeout: TLS", again: true, unheard: true}
	case strings.Contains(text, "awaiting response headers"):
		return transient("timeout: first byte")
	case dialing && (errors.Is(err, context.DeadlineExceeded) || op.Timeout()), !dialing && errors.Is(err, context.DeadlineExceeded):
		return &failure{reason: "timeout: connect", again: true, unheard: true}
	case errors.As(err, &timeout) && timeout.Timeout():
		return transient("timeout: read")
	case dialing && (errors.Is(err, syscall.ECONNREFUSED) || strings.Contains(text, "refused")):
		return &failure{reason: "connection refused", again: true, unheard: true}
	case dialing:
		return &failure{reason: "host cannot be reached", again: true, unheard: true}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		strings.Contains(text, "reset"), strings.Contains(text, "closed"), strings.Contains(text, "aborted"), strings.Contains(text, "EOF"):
		return transient("connection broken off")
	case strings.Contains(text, "malformed"), strings.Contains(text, "transport connection broken"), strings.Contains(text, "exceeded"), strings.Contains(text, "invalid"):
		return failed("answer not valid: %s", shorten(text, 80))
	}
	return transient("network: %s", shorten(text, 80))
}

// sizeText writes a number of bytes for people: "1.7 MB".
func sizeText(n int64) string {
	const units = "kMGTPE"
	value, unit := float64(n), -1
	for value >= 999.5 && unit < len(units)-1 {
		value, unit = value/1000, unit+1
	}
	if unit < 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f %cB", value, units[unit])
}
