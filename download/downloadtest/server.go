// Package downloadtest is a part of the web on the local machine, for tests of downloads: thousands of addresses on many
// hosts, some with pictures, most of the others with what goes wrong out there. It counts what it is asked for.
package downloadtest

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Server has the addresses.
type Server struct {
	Rows []Row
	// RootCAs are those that its valid certificate is signed by; it is valid for example.com.
	RootCAs *x509.CertPool

	plain, secure, foreign *httptest.Server
	pause                  time.Duration // what a "slow" address waits

	mu        sync.Mutex
	requests  map[string]int // by path
	delivered map[string]int // whole pictures, by path
	paused    map[string]time.Time
	early     int
	active    atomic.Int64
	most      atomic.Int64
	bombs     []byte
}

// Row is an address, and what is to become of it.
type Row struct {
	ID, URL string
	Kind    string
	Status  string // as in the ledger
	Reason  string // what its reason begins with
	Picture []byte // what is stored; nil: nothing, or what was encoded anew
}

// Resolver finds the hosts of a server: all names that end in .test, and example.com, are this machine; others, and those that begin
// with "nx", do not exist.
type Resolver struct{}

// LookupNetIP looks a host up.
func (Resolver) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if host == "example.com" || strings.HasSuffix(host, ".test") && !strings.HasPrefix(host, "nx") {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// kind is what an address does. Of weight/1000 of the addresses; at least one of each.
type kind struct {
	name           string
	weight         int
	status, reason string
	hosts          int // that share these addresses; 0: all
}

const (
	done   = "done"
	failed = "failed"
	gone   = "gone"
)

// kinds of addresses. The rest are pictures.
var kinds = []kind{
	{"slow", 10, done, "", 0},
	{"shuts", 25, done, "", 0}, // breaks off in the middle, once
	{"shuts-always", 2, failed, "connection broken off", 0},
	{"wrong-length", 5, failed, "connection broken off", 0}, // says that it is longer
	{"cut", 5, failed, "broken picture", 0},                 // the file itself is cut off
	{"404", 40, gone, "HTTP 404", 0},
	{"410", 20, gone, "HTTP 410", 0},
	{"403", 10, failed, "HTTP 403", 0},
	{"429", 5, done, "", 5},      // asks to come back in a second, then is fine
	{"429-date", 1, done, "", 2}, // with a date
	{"500", 10, done, "", 0},     // once
	{"503", 10, done, "", 0},
	{"502-always", 2, failed, "HTTP 502", 0},
	{"redirect", 20, done, "", 0},
	{"redirect-host", 20, done, "", 0},
	{"redirect-loop", 5, failed, "redirect loop: ", 0},
	{"redirect-far", 2, failed, "more than 10 redirects", 0},
	{"redirect-ftp", 1, failed, "redirect to address of another kind than http or https: ftp", 0},
	{"html", 30, failed, "not an image: text/html", 0},
	{"json", 2, failed, "not an image: application/json", 0},
	{"empty", 5, failed, "empty", 0},
	{"bomb-pixels", 5, failed, "too many pixels: 50000×50000", 0},
	{"bomb-gzip", 2, failed, "larger than", 0},
	{"gzip", 5, done, "", 0},
	{"endless", 1, failed, "larger than", 0},
	{"huge", 2, failed, "larger than", 0},
	{"drip", 2, failed, "timeout: slow", 0}, // a byte a second
	{"mute", 2, failed, "timeout: first byte", 0},
	{"noai", 5, failed, "opted out: X-Robots-Tag noai", 0},
	{"noindex", 5, failed, "opted out: X-Robots-Tag noindex", 0},
	{"noai-others", 5, done, "", 0}, // for another robot
	{"avif", 5, failed, "unsupported format AVIF", 0},
	{"svg", 2, failed, "unsupported format SVG", 0},
	{"gif", 5, done, "GIF stored as PNG, its first frame", 0},
	{"tls", 5, done, "", 0},
	{"tls-foreign", 5, failed, "TLS: certificate not valid", 0},
	{"tls-none", 2, failed, "TLS: ", 0},
	{"refused", 1, failed, "connection refused", 5},
	{"nx", 5, failed, "no such host", 0},
	{"ftp", 1, failed, "address of another kind than http or https: ftp", 0},
	{"garbage", 1, failed, "address not valid", 0},
}

// New starts a server of n addresses on hosts that share them. It ends with the test.
func New(t testing.TB, n int) *Server {
	s := &Server{requests: make(map[string]int), delivered: make(map[string]int), paused: make(map[string]time.Time), pause: 30 * time.Millisecond}
	quiet := log.New(io.Discard, "", 0)
	start := func(tls bool) *httptest.Server {
		h := httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
		h.Config.ErrorLog = quiet
		h.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.most.Store(max(s.most.Load(), s.active.Add(1)))
			case http.StateClosed, http.StateHijacked:
				s.active.Add(-1)
			}
		}
		if tls {
			h.StartTLS()
		} else {
			h.Start()
		}
		t.Cleanup(func() {
			h.CloseClientConnections()
			h.Close()
		})
		return h
	}
	s.plain, s.secure, s.foreign = start(false), start(true), start(true)
	s.RootCAs = x509.NewCertPool()
	s.RootCAs.AddCert(s.secure.Certificate())
	s.bombs = bomb()
	pictures()
	s.fill(n)
	return s
}

// fill makes the addresses.
func (s *Server) fill(n int) {
	left := n
	counts := make([]int, len(kinds))
	for i, k := range kinds {
		counts[i] = max(1, n*k.weight/1000)
		left -= counts[i]
	}
	hosts := max(3, n/100)
	for i := range n {
		var k kind
		// Kinds come in turns, so that none stands together.
		switch at := i % (len(kinds) + 1); {
		case at < len(kinds) && counts[at] > 0:
			counts[at]--
			k = kinds[at]
		case left > 0:
			left--
			k = kind{name: "picture", status: done}
		default:
			for at := range kinds {
				if counts[at] > 0 {
					counts[at]--
					k = kinds[at]
					break
				}
			}
		}
		s.Rows = append(s.Rows, s.row(i, k, hosts))
	}
}

func (s *Server) port(h *httptest.Server) string {
	_, port, _ := net.SplitHostPort(h.Listener.Addr().String())
	return port
}

func (s *Server) row(i int, k kind, hosts int) Row {
	r := Row{ID: fmt.Sprintf("%032x", uint64(i+1)*0x9e3779b97f4a7c15), Kind: k.name, Status: k.status, Reason: k.reason}
	host := fmt.Sprintf("h%d.test", i%hosts)
	if k.hosts > 0 { // these must not hold up the others of their host
		host = fmt.Sprintf("%s%d.test", k.name, i%k.hosts)
	}
	path := fmt.Sprintf("/%s/%d", k.name, i)
	r.URL = "http://" + host + ":" + s.port(s.plain) + path
	if k.status == done && k.name != "gif" {
		r.Picture = Picture(i)
	}
	switch k.name {
	case "tls":
		r.URL = "https://example.com:" + s.port(s.secure) + path
	case "tls-foreign":
		r.URL = "https://" + host + ":" + s.port(s.foreign) + path
	case "tls-none":
		r.URL = "https://" + host + ":" + s.port(s.plain) + path
	case "refused":
		r.URL = "http://" + host + ":1" + path
	case "nx":
		r.URL = "http://nx" + strconv.Itoa(i) + ".test" + path
	case "ftp":
		r.URL = "ftp://" + host + path
	case "garbage":
		r.URL = "http//" + host + path
	}
	return r
}

// Only returns the rows of some kinds.
func (s *Server) Only(kinds ...string) (rows []Row) {
	for _, r := range s.Rows {
		if slices.Contains(kinds, r.Kind) {
			rows = append(rows, r)
		}
	}
	return rows
}

// Fast returns the rows whose answers take no time.
func (s *Server) Fast() (rows []Row) {
	for _, r := range s.Rows {
		if !slices.Contains([]string{"429", "429-date", "drip", "mute"}, r.Kind) {
			rows = append(rows, r)
		}
	}
	return rows
}

// JSONL writes rows as a file of JSON lines.
func JSONL(rows []Row) []byte {
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	for _, r := range rows {
		lines.Encode(map[string]string{"image_hash": r.ID, "caption": "{Subject} number " + r.ID, "url_link": r.URL})
	}
	return b.Bytes()
}

// Counts are what has been asked for.
type Counts struct {
	Requests    int            // all of them
	Delivered   map[string]int // whole pictures, by path
	Early       int            // requests to a host that had asked for a pause, in that pause
	Connections int64          // at the same time, at most
}

// Counts returns what has been asked for since the last call.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := Counts{Delivered: s.delivered, Early: s.early, Connections: s.most.Load()}
	for _, n := range s.requests {
		c.Requests += n
	}
	s.delivered, s.early = make(map[string]int), 0
	s.requests = make(map[string]int)
	return c
}

// Path returns the path of an address of the server.
func Path(address string) string {
	_, rest, _ := strings.Cut(address, "//")
	return rest[strings.IndexByte(rest, '/'):]
}

// bomb is a picture that 100 MB of zeros follow, compressed.
var bomb = sync.OnceValue(func() []byte { return gzipped(append(bytes.Clone(Picture(0)), make([]byte, 100<<20)...)) })

func gzipped(b []byte) []byte {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(b)
	w.Close()
	return z.Bytes()
}

// Delivered returns how many whole pictures have been sent since the last call of Counts.
func (s *Server) Delivered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, k := range s.delivered {
		n += k
	}
	return n
}
