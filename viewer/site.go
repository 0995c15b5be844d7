package viewer

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// maxBody bounds what a request may carry, in bytes.
const maxBody = 1 << 20

// Site is what a server shows: pages, the pictures in them, and what else they talk to. It takes requests for this
// machine only (a page of somebody else's, whose name was made to point here, has another Host), and requests that change
// something only from its own pages.
type Site struct {
	mux    *http.ServeMux
	cross  *http.CrossOriginProtection
	public bool   // it listens on an address of the network, and may be called by that
	host   string // another name that it may be called by

	// Trouble, if not nil, is told of errors that only who runs the server can do something about.
	Trouble func(error)
}

// NewSite returns an empty site.
func NewSite() *Site {
	return &Site{mux: http.NewServeMux(), cross: http.NewCrossOriginProtection()}
}

// AddPage shows p at a path that begins and ends with a slash, and its blocks below it, at blocks/NAME.
//
// AddPage panics if the path does not fit or has a page already.
func (s *Site) AddPage(path string, p *Page) error {
	checkPath(path)
	html, err := p.HTML()
	if err != nil {
		return err
	}
	policy := p.policy(false)
	s.mux.Handle("GET "+path+"{$}", content("text/html; charset=utf-8", html, policy))
	for _, b := range p.Blocks {
		s.mux.Handle("GET "+path+"blocks/"+b.Name, content("application/json", b.JSON, ""))
	}
	return nil
}

func checkPath(path string) {
	if !strings.HasPrefix(path, "/") || !strings.HasSuffix(path, "/") || strings.ContainsAny(path, "{} ") {
		panic(fmt.Sprintf("viewer: path %q: want one that begins and ends with a slash", path))
	}
}

// AddPictures answers GET path+"picture/{row}?side=N" with the pictures of p. A picture that is missing is status 404, a
// broken one 422.
func (s *Site) AddPictures(path string, p *Pictures) {
	checkPath(path)
	s.mux.HandleFunc("GET "+path+"picture/{row}", func(w http.ResponseWriter, r *http.Request) {
		row, err := strconv.Atoi(r.PathValue("row"))
		if err != nil || row < 0 || row >= p.Len() {
			http.Error(w, "no such row", http.StatusNotFound)
			return
		}
		side := Sides[0]
		if text := r.URL.Query().Get("side"); text != "" {
			if side, err = strconv.Atoi(text); err != nil || !isSide(side) {
				http.Error(w, fmt.Sprintf("side %q: want one of %v", text, Sides), http.StatusBadRequest)
				return
			}
		}
		thumb, err := p.Get(r.Context(), row, side)
		if err != nil {
			status := http.StatusUnprocessableEntity
			switch {
			case r.Context().Err() != nil:
				return // nobody waits for it
			case StateOf(err) == Missing:
				status = http.StatusNotFound
			}
			http.Error(w, StateOf(err).String(), status) // no paths: the page says more than a stranger is to hear
			return
		}
		h := w.Header()
		h.Set("Cache-Control", "private, max-age=300")
		serve(w, r, thumb.Type, thumb.Data, thumb.etag)
	})
}

// Handle answers requests of a pattern of [http.ServeMux] by h. Requests that come from pages of other origins do not
// reach it unless they are GET or HEAD, and bodies end after 1 MiB.
//
// Handle panics if the pattern is not valid, or taken.
func (s *Site) Handle(pattern string, h http.Handler) { s.mux.Handle(pattern, h) }

// ServeHTTP answers a request.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for name, value := range map[string]string{
		"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'", // a page sets its own
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Permissions-Policy":           "camera=(), geolocation=(), microphone=()",
		"Referrer-Policy":              "no-referrer",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
		"Cache-Control":                "no-store",
	} {
		h.Set(name, value)
	}
	if !s.called(r.Host) {
		http.Error(w, "this server is for this machine: open it as http://localhost", http.StatusMisdirectedRequest)
		return
	}
	if err := s.cross.Check(r); err != nil {
		http.Error(w, "this request comes from another page", http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.mux.ServeHTTP(w, r)
}

// called reports whether a Host header names this server. A name that an attacker owns may resolve to this machine; an
// address cannot be made to.
func (s *Site) called(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if strings.EqualFold(name, "localhost") || s.host != "" && strings.EqualFold(name, s.host) {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && (ip.IsLoopback() || s.public)
}

// content answers by some bytes that do not change.
func content(kind string, data []byte, policy string) http.Handler {
	etag := etagOf(data)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if policy != "" {
			w.Header().Set("Content-Security-Policy", policy)
		}
		w.Header().Set("Cache-Control", "no-cache") // kept, and asked for again
		serve(w, r, kind, data, etag)
	})
}

func etagOf(data []byte) string {
	sum := sha256.Sum256(data)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}

// serve writes data, or says that the client has it.
func serve(w http.ResponseWriter, r *http.Request, kind string, data []byte, etag string) {
	h := w.Header()
	h.Set("ETag", etag)
	h.Set("Content-Type", kind)
	for given := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if strings.TrimPrefix(strings.TrimSpace(given), "W/") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(data)))
	if r.Method == http.MethodHead {
		return
	}
	w.Write(data) // who went away is nobody's error
}
