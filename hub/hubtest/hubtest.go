// Package hubtest is a hub of published models on the local machine, for tests: it answers
// as the Hugging Face Hub does, and misbehaves where a test asks for that.
package hubtest

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is a hub, and the storage that it sends large files from. The storage has a name
// of its own: what is meant for the hub alone must not reach it.
type Server struct {
	// URL is the address of the hub.
	URL string
	// Storage is the address of the storage.
	Storage string

	hub, storage *httptest.Server

	mu       sync.Mutex
	models   map[string]*Model
	requests []Request
	answer   func(w http.ResponseWriter, r Request) bool
}

// Request is one that has reached the server.
type Request struct {
	*http.Request
	// Storage tells whether it reached the storage, not the hub.
	Storage bool
	// Body is what the server sends if nothing goes wrong: a file's content, or nil.
	Body []byte
}

// Model is a repository at one commit.
type Model struct {
	// Commit has 40 hexadecimal digits.
	Commit string
	// Files has contents by path. Those whose names end in .safetensors or .bin lie in the storage.
	Files map[string][]byte
	// Token, where set, is asked for. Error is then the code of the refusal: GatedRepo or RepoNotFound.
	Token, Error string
	// Refs has the names of the commit, "main" if nil.
	Refs []string
	// Plain leaves sizes and hashes out of the list of files, as some mirrors do.
	Plain bool
}

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	s := &Server{models: make(map[string]*Model)}
	s.hub = httptest.NewServer(s.handler(false, s.serveHub))
	t.Cleanup(s.hub.Close)
	s.storage = httptest.NewServer(s.handler(true, s.serveStorage))
	t.Cleanup(s.storage.Close)
	s.URL = s.hub.URL
	s.Storage = strings.Replace(s.storage.URL, "127.0.0.1", "localhost", 1)
	return s
}

// Add publishes a model under a name, and gives it a commit if it has none.
func (s *Server) Add(name string, m *Model) *Model {
	if m.Commit == "" {
		sum := sha1.New()
		for _, path := range slices.Sorted(maps.Keys(m.Files)) {
			fmt.Fprintf(sum, "%s %x\n", path, sha256.Sum256(m.Files[path]))
		}
		m.Commit = hex.EncodeToString(sum.Sum(nil))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.models[name] = m
	return m
}

// Intercept lets f see every request first; where it returns true, it has answered. It may
// be called from several goroutines.
func (s *Server) Intercept(f func(w http.ResponseWriter, r Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

// Requests returns those that came since the last call.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.requests
	s.requests = nil
	return r
}

// Close ends both servers before the test does.
func (s *Server) Close() {
	s.hub.Close()
	s.storage.Close()
}

// BlobID returns the hash that git gives a file: the name of a small one in caches.
func BlobID(content []byte) string {
	sum := sha1.New()
	fmt.Fprintf(sum, "blob %d\x00", len(content))
	sum.Write(content)
	return hex.EncodeToString(sum.Sum(nil))
}

// SHA256 returns the hash of a large file: its name in caches.
func SHA256(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Large tells whether a file of this path lies in the storage.
func Large(path string) bool {
	return strings.HasSuffix(path, ".safetensors") || strings.HasSuffix(path, ".bin")
}

// ETag returns the hash by which a file is known.
func ETag(path string, content []byte) string {
	if Large(path) {
		return SHA256(content)
	}
	return BlobID(content)
}

// BreakOff sends the first n bytes of a content, from where the request asks, and breaks the connection.
func BreakOff(w http.ResponseWriter, r Request, n int) {
	from, status := 0, http.StatusOK
	if start, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		from, _ = strconv.Atoi(strings.TrimSuffix(start, "-"))
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(r.Body)-1, len(r.Body)))
		status = http.StatusPartialContent
	}
	body := r.Body[from:]
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body[:min(n, len(body))])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func (s *Server) handler(storage bool, serve func(w http.ResponseWriter, r *http.Request) (body []byte, answer func())) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, answer := serve(w, r)
		request := Request{Request: r, Storage: storage, Body: body}
		s.mu.Lock()
		s.requests = append(s.requests, request)
		intercept := s.answer
		s.mu.Unlock()
		if intercept == nil || !intercept(w, request) {
			answer()
		}
	})
}

// serveHub finds what the hub has to say.
func (s *Server) serveHub(w http.ResponseWriter, r *http.Request) ([]byte, func()) {
	parts := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	for i := range parts {
		parts[i], _ = url.PathUnescape(parts[i])
	}
	var name, revision, path string
	switch {
	case len(parts) == 6 && parts[0] == "api" && parts[1] == "models" && parts[4] == "revision":
		name, revision = parts[2]+"/"+parts[3], parts[5]
	case len(parts) >= 5 && parts[2] == "resolve":
		name, revision, path = parts[0]+"/"+parts[1], parts[3], strings.Join(parts[4:], "/")
	default:
		return nil, func() { refuse(w, http.StatusNotFound, "", "no such address") }
	}
	s.mu.Lock()
	m := s.models[name]
	s.mu.Unlock()
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case m == nil && token == "":
		return nil, func() { refuse(w, http.StatusUnauthorized, "RepoNotFound", "Invalid username or password.") }
	case m == nil:
		return nil, func() { refuse(w, http.StatusNotFound, "RepoNotFound", "Repository not found") }
	case m.Token != "" && token == "":
		return nil, func() { refuse(w, http.StatusUnauthorized, m.Error, "Access is restricted.") }
	case m.Token != token && m.Token != "":
		return nil, func() { refuse(w, http.StatusForbidden, m.Error, "You are not in the authorized list.") }
	}
	refs := m.Refs
	if refs == nil {
		refs = []string{"main"}
	}
	if revision != m.Commit && !slices.Contains(refs, revision) {
		return nil, func() { refuse(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+revision) }
	}
	w.Header().Set("X-Repo-Commit", m.Commit)
	if path == "" {
		list := m.list(r.URL.Query().Get("blobs") == "true")
		return list, func() {
			w.Header().Set("Content-Type", "application/json")
			w.Write(list)
		}
	}
	body, ok := m.Files[path]
	if !ok {
		return nil, func() { refuse(w, http.StatusNotFound, "EntryNotFound", "Entry not found") }
	}
	etag := `"` + ETag(path, body) + `"`
	if !Large(path) {
		return body, func() {
			w.Header().Set("ETag", etag)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
		}
	}
	return nil, func() {
		w.Header().Set("X-Linked-Etag", etag)
		w.Header().Set("X-Linked-Size", strconv.Itoa(len(body)))
		w.Header().Set("Location", s.Storage+"/"+name+"/"+path+"?Signature=secret")
		w.WriteHeader(http.StatusFound)
	}
}

// serveStorage finds a large file. Its ETag is not the hash of the file, as on the real storage.
func (s *Server) serveStorage(w http.ResponseWriter, r *http.Request) ([]byte, func()) {
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/"), "/", 3)
	if len(parts) == 3 {
		s.mu.Lock()
		m := s.models[parts[0]+"/"+parts[1]]
		s.mu.Unlock()
		if m != nil && m.Files[parts[2]] != nil {
			body := m.Files[parts[2]]
			return body, func() {
				w.Header().Set("ETag", `"`+BlobID(body)+`-1"`)
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
			}
		}
	}
	return nil, func() { http.Error(w, "no such key", http.StatusNotFound) }
}

func (m *Model) list(blobs bool) []byte {
	type lfs struct {
		SHA256 string `json:"sha256"`
		Size   int    `json:"size"`
	}
	type file struct {
		Name   string `json:"rfilename"`
		Size   *int   `json:"size,omitempty"`
		BlobID string `json:"blobId,omitempty"`
		LFS    *lfs   `json:"lfs,omitempty"`
	}
	var files []file
	for _, path := range slices.Sorted(maps.Keys(m.Files)) {
		f := file{Name: path}
		if blobs && !m.Plain {
			size := len(m.Files[path])
			f.Size, f.BlobID = &size, BlobID(m.Files[path])
			if Large(path) {
				f.BlobID = strings.Repeat("a", 40) // that of the pointer file
				f.LFS = &lfs{SHA256(m.Files[path]), size}
			}
		}
		files = append(files, f)
	}
	text, err := json.Marshal(map[string]any{"id": "x", "sha": m.Commit, "private": false, "siblings": files})
	if err != nil {
		panic(err)
	}
	return text
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	if code != "" {
		w.Header().Set("X-Error-Code", code)
	}
	w.Header().Set("X-Error-Message", message)
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": message})
}
