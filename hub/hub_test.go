package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relsim/hub/hubtest"
)

const model = "org/model"

// weights are larger than the buffers of a download and of a connection.
var weights = bytes.Repeat([]byte("0123456789abcdef"), 3<<16)

func clip() *hubtest.Model {
	return &hubtest.Model{Files: map[string][]byte{
		"config.json":              []byte(`{"model_type": "clip"}`),
		"preprocessor_config.json": []byte(`{"size": 224}`),
		"tokenizer.json":           []byte(`{"model": {}}`),
		"tokenizer_config.json":    []byte(`{}`),
		"vocab.json":               []byte(`{"a": 0}`),
		"merges.txt":               []byte("#version\n"),
		"special_tokens_map.json":  []byte(`{}`),
		"model.safetensors":        weights,
		"pytorch_model.bin":        []byte("not read"),
		"tf_model.h5":              []byte("not read"),
		"README.md":                []byte("not read"),
		".gitattributes":           []byte("not read"),
		"onnx/model.safetensors":   []byte("not read"),
	}}
}

// trial is a hub, a cache of its own and no waits.
type trial struct {
	*testing.T
	*hubtest.Server
	Options
	model   *hubtest.Model
	waits   []time.Duration
	notices []string
}

func newTrial(t *testing.T, m *hubtest.Model) *trial {
	for _, name := range []string{"HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN",
		"HF_TOKEN_PATH", "HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_DISABLE_IMPLICIT_TOKEN"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	tr := &trial{T: t, Server: hubtest.New(t), model: m}
	tr.Add(model, m)
	tr.Options = Options{
		Cache:    filepath.Join(t.TempDir(), "hub"),
		Endpoint: tr.URL,
		Notice:   func(format string, args ...any) { tr.notices = append(tr.notices, fmt.Sprintf(format, args...)) },
		sleep: func(ctx context.Context, d time.Duration) error {
			tr.waits = append(tr.waits, d)
			return ctx.Err()
		},
	}
	return tr
}

func (tr *trial) resolve(name string) (string, error) {
	return Resolve(context.Background(), name, tr.Options)
}

// must resolves the model and checks each of the paths.
func (tr *trial) must(paths ...string) string {
	tr.Helper()
	dir, err := tr.resolve(model)
	if err != nil {
		tr.Fatal(err)
	}
	for _, path := range paths {
		got, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil || !bytes.Equal(got, tr.model.Files[path]) {
			tr.Errorf("%s: %d bytes (%v), want the %d of the model", path, len(got), err, len(tr.model.Files[path]))
		}
	}
	return dir
}

// fails resolves a name and checks that the error says what it should, and that no file is
// there as if it were whole.
func (tr *trial) fails(name string, says ...string) error {
	tr.Helper()
	dir, err := tr.resolve(name)
	if err == nil {
		tr.Fatalf("Resolve(%s) = %s, an error was expected", name, dir)
	}
	for _, s := range append(says, "hub: ") {
		if !strings.Contains(err.Error(), s) {
			tr.Errorf("Resolve(%s): %v\nwant %q in it", name, err, s)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		tr.Errorf("Resolve(%s) tells a secret: %v", name, err)
	}
	tr.sound()
	return err
}

// sound checks that each blob has the content that its name says.
func (tr *trial) sound() {
	tr.Helper()
	blobs, err := filepath.Glob(filepath.Join(tr.Cache, "*", "blobs", "*"))
	if err != nil {
		tr.Fatal(err)
	}
	for _, path := range blobs {
		hash := filepath.Base(path)
		if strings.HasSuffix(hash, incomplete) {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			tr.Fatal(err)
		}
		if hash != hubtest.SHA256(text) && hash != hubtest.BlobID(text) {
			tr.Errorf("%s holds something else: %d bytes", path, len(text))
		}
	}
}

// times lets f answer the first n requests for a path, all if n is -1. Those for large files
// are the ones to the storage.
func (tr *trial) times(n int64, path string, f func(w http.ResponseWriter, r hubtest.Request)) {
	var left atomic.Int64
	left.Store(n)
	tr.Intercept(func(w http.ResponseWriter, r hubtest.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/"+path) || r.Storage != hubtest.Large(path) || n >= 0 && left.Add(-1) < 0 {
			return false
		}
		f(w, r)
		return true
	})
}

// repo is the model's folder in the cache.
func (tr *trial) repo() string { return filepath.Join(tr.Cache, "models--org--model") }

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	if got, err := Resolve(context.Background(), dir, Options{}); got != dir || err != nil {
		t.Errorf("Resolve(%s) = %s, %v", dir, got, err)
	}
	t.Chdir(dir)
	if err := os.MkdirAll("org/model", 0o755); err != nil {
		t.Fatal(err)
	}
	tr := newTrial(t, clip())
	if got, err := tr.resolve(model); got != model || err != nil || len(tr.Requests()) > 0 {
		t.Errorf("Resolve of a folder with the name of a model = %s, %v", got, err)
	}
	if err := os.WriteFile("model.bin", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	tr.fails("model.bin", "model.bin is a file")
	tr.fails("runs", `there is no folder "runs"`, `named "org/name"`)
	tr.fails("runs/a/b", `there is no folder "runs/a/b"`)
	tr.fails("../model", `there is no folder "../model"`)
	tr.fails("/runs/a", `there is no folder "/runs/a"`)
	tr.fails("", `there is no folder ""`)
	if r := tr.Requests(); len(r) > 0 {
		t.Errorf("%d requests for what cannot be names", len(r))
	}
}

func TestDownload(t *testing.T) {
	tr := newTrial(t, clip())
	var last Progress
	tr.Progress = func(p Progress) {
		if p.Done < last.Done || p.Total < last.Total || p.Done > p.Total || p.Model != model {
			t.Errorf("progress %v after %v", p, last)
		}
		last = p
	}
	wanted := []string{"config.json", "merges.txt", "model.safetensors", "preprocessor_config.json", "special_tokens_map.json",
		"tokenizer.json", "tokenizer_config.json", "vocab.json"}
	dir := tr.must(wanted...)
	total := int64(0)
	for _, path := range wanted {
		total += int64(len(tr.model.Files[path]))
	}
	if last.Done != total || last.Total != total {
		t.Errorf("progress ends with %v, want %d bytes", last, total)
	}

	// The layout is the one that huggingface_hub documents.
	repo := tr.repo()
	if want := filepath.Join(repo, "snapshots", tr.model.Commit); dir != want {
		t.Errorf("folder %s, want %s", dir, want)
	}
	if ref, err := os.ReadFile(filepath.Join(repo, "refs", "main")); err != nil || string(ref) != tr.model.Commit {
		t.Errorf("refs/main is %q, %v", ref, err)
	}
	var got []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		got = append(got, e.Name())
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if want := "../../blobs/" + hubtest.ETag(e.Name(), tr.model.Files[e.Name()]); runtime.GOOS != "windows" && (err != nil || target != want) {
			t.Errorf("%s links to %s (%v), want %s", e.Name(), target, err, want)
		}
	}
	if !slices.Equal(got, wanted) {
		t.Errorf("the folder has %q, want %q", got, wanted)
	}
	blobs, err := os.ReadDir(filepath.Join(repo, "blobs"))
	if err != nil || len(blobs) != len(wanted)-1 { // two files are "{}"
		t.Errorf("%d blobs (%v), want %d", len(blobs), err, len(wanted)-1)
	}
	var kept struct {
		Version int `json:"format_version"`
		Files   map[string]map[string]any
	}
	text, err := os.ReadFile(filepath.Join(repo, "trees", tr.model.Commit+".json"))
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	if err != nil || kept.Version != 1 || len(kept.Files) != len(tr.model.Files) ||
		kept.Files["config.json"]["blob_id"] != hubtest.BlobID(tr.model.Files["config.json"]) ||
		kept.Files["model.safetensors"]["lfs_sha256"] != hubtest.SHA256(weights) ||
		kept.Files["model.safetensors"]["lfs_size"] != float64(len(weights)) {
		t.Errorf("list of files: %v: %s", err, text)
	}

	// Then no request is made, and none is needed.
	tr.Requests()
	if again := tr.must(wanted...); again != dir || len(tr.Requests()) > 0 {
		t.Errorf("asked again: %s", again)
	}
	tr.Close()
	tr.Offline = true
	if again := tr.must(wanted...); again != dir {
		t.Errorf("offline: %s", again)
	}
	if got, err := tr.resolve(model + "@" + tr.model.Commit); got != dir || err != nil {
		t.Errorf("by commit: %s, %v", got, err)
	}
}

func TestRevisions(t *testing.T) {
	tr := newTrial(t, clip())
	tr.model.Refs = []string{"refs/pr/7", "v1.0"}
	for _, revision := range []string{"refs/pr/7", "v1.0", tr.model.Commit} {
		dir, err := tr.resolve(model + "@" + revision)
		if err != nil || filepath.Base(dir) != tr.model.Commit {
			t.Errorf("revision %s: %s, %v", revision, dir, err)
		}
	}
	if ref, err := os.ReadFile(filepath.Join(tr.repo(), "refs", "refs", "pr", "7")); string(ref) != tr.model.Commit || err != nil {
		t.Errorf("refs/refs/pr/7 is %q, %v", ref, err)
	}
	if err := tr.fails(model, "org/model has no revision main"); !errors.Is(err, errNotFound) {
		t.Error(err)
	}
	// Another commit with another name for it.
	_, err := tr.resolve(model + "@" + strings.Repeat("0", 40))
	if err == nil || !strings.Contains(err.Error(), "no revision 00000") {
		t.Errorf("a commit that is not there: %v", err)
	}
}

// TestUpdate: a branch moves. The cache's commit stays until an update is asked for; what the
// commits share is not downloaded again.
func TestUpdate(t *testing.T) {
	tr := newTrial(t, clip())
	first := tr.must("config.json")
	next := clip()
	next.Files["config.json"] = []byte(`{"model_type": "clip", "new": 1}`)
	tr.model = tr.Add(model, next)
	if dir, err := tr.resolve(model); dir != first || err != nil {
		t.Errorf("without an update: %s, %v", dir, err)
	}
	tr.Requests()
	tr.Options.Update = true
	if dir := tr.must("config.json", "model.safetensors"); dir == first {
		t.Errorf("after the update: %s", dir)
	}
	var files []string
	for _, r := range tr.Requests() {
		files = append(files, r.Method+" "+filepath.Base(r.URL.Path))
	}
	if want := []string{"GET main", "GET config.json"}; !slices.Equal(files, want) {
		t.Errorf("requests %q, want %q", files, want)
	}
	if text, err := os.ReadFile(filepath.Join(first, "config.json")); err != nil || !bytes.Equal(text, clip().Files["config.json"]) {
		t.Errorf("the former commit: %s, %v", text, err)
	}
	tr.Close()
	tr.fails(model, "list of files")
}

func TestSentenceTransformers(t *testing.T) {
	m := &hubtest.Model{Files: map[string][]byte{
		"config.json": []byte("{}"), "modules.json": []byte("[]"), "sentence_bert_config.json": []byte("{ }"), "vocab.txt": []byte("a\n"),
		"1_Pooling/config.json": []byte(`{"pooling_mode_mean_tokens": true}`), "model.safetensors": []byte("w"),
		"1_Pooling/more/config.json": []byte("no"), "openvino/config.json": []byte("no"), "data_config.json": []byte("no"),
	}}
	tr := newTrial(t, m)
	dir := tr.must("config.json", "modules.json", "sentence_bert_config.json", "vocab.txt", "1_Pooling/config.json", "model.safetensors")
	target, err := os.Readlink(filepath.Join(dir, "1_Pooling", "config.json"))
	if want := "../../../blobs/" + hubtest.BlobID(m.Files["1_Pooling/config.json"]); runtime.GOOS != "windows" && (err != nil || target != want) {
		t.Errorf("1_Pooling/config.json links to %s (%v), want %s", target, err, want)
	}
	for _, path := range []string{"1_Pooling/more", "openvino", "data_config.json"} {
		if _, err := os.Lstat(filepath.Join(dir, path)); err == nil {
			t.Errorf("%s was downloaded", path)
		}
	}
}

func TestShards(t *testing.T) {
	m := &hubtest.Model{Files: map[string][]byte{
		"config.json": []byte("{}"), indexFile: []byte(`{"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors", "c": "model-1-of-2.safetensors"}}`),
		"model-1-of-2.safetensors": []byte("one"), "model-2-of-2.safetensors": []byte("two"), "other.safetensors": []byte("no"),
	}}
	tr := newTrial(t, m)
	dir := tr.must("config.json", indexFile, "model-1-of-2.safetensors", "model-2-of-2.safetensors")
	if _, err := os.Lstat(filepath.Join(dir, "other.safetensors")); err == nil {
		t.Error("other.safetensors was downloaded")
	}
	tr.Requests()
	tr.must()
	if n := len(tr.Requests()); n > 0 {
		t.Errorf("%d requests for what is there", n)
	}
	// A shard goes missing.
	if err := os.Remove(filepath.Join(dir, "model-2-of-2.safetensors")); err != nil {
		t.Fatal(err)
	}
	tr.Offline = true
	tr.fails(model, "lacks model-2-of-2.safetensors", "HF_HUB_OFFLINE")
	tr.Offline = false
	tr.must("model-2-of-2.safetensors")
	if r := tr.Requests(); len(r) != 1 { // the blob is there
		t.Errorf("%d requests, want that of the list", len(r))
	}
}

func TestAdapter(t *testing.T) {
	tr := newTrial(t, &hubtest.Model{Files: map[string][]byte{
		"adapter_config.json": []byte("{}"), "adapter_model.safetensors": []byte("lora"), "adapter_model.bin": []byte("no"), "optimizer.pt": []byte("no"),
	}})
	dir := tr.must("adapter_config.json", "adapter_model.safetensors")
	if entries, err := os.ReadDir(dir); len(entries) != 2 || err != nil {
		t.Errorf("%d files, %v", len(entries), err)
	}
}

func TestNoWeights(t *testing.T) {
	tr := newTrial(t, &hubtest.Model{Files: map[string][]byte{"config.json": []byte("{}"), "pytorch_model.bin": []byte("pickle")}})
	tr.fails(model, "no weights in safetensors", "it has pytorch_model.bin", "org/model@refs/pr/NUMBER")
}

// TestBreakOff: the connection breaks in the middle of the weights, twice, and the download goes on.
func TestBreakOff(t *testing.T) {
	tr := newTrial(t, clip())
	tr.times(2, "model.safetensors", func(w http.ResponseWriter, r hubtest.Request) {
		w.Header().Set("ETag", `"storage"`)
		hubtest.BreakOff(w, r, 1<<20)
	})
	tr.must("model.safetensors")
	var ranges []string
	for _, r := range tr.Requests() {
		if r.Storage {
			ranges = append(ranges, r.Header.Get("Range")+" "+r.Header.Get("If-Range"))
		}
	}
	// The storage's own ETag is another than the intercepted one, so the third request gets all.
	if want := []string{" ", `bytes=1048576- "storage"`, `bytes=2097152- "storage"`}; !slices.Equal(ranges, want) {
		t.Errorf("asked for %q, want %q", ranges, want)
	}
	if len(tr.waits) != 2 || tr.waits[0] < firstWait || tr.waits[0] > 2*firstWait {
		t.Errorf("waits %v", tr.waits)
	}
	if !slices.ContainsFunc(tr.notices, func(s string) bool {
		return strings.Contains(s, "model.safetensors") && strings.Contains(s, "after 1048576 of 3145728 bytes")
	}) {
		t.Errorf("notices %q", tr.notices)
	}
}

// TestResume: a download ends with its process, and another goes on.
func TestResume(t *testing.T) {
	tr := newTrial(t, clip())
	ctx, cancel := context.WithCancel(context.Background())
	tr.Progress = func(p Progress) {
		if p.File == "model.safetensors" && p.Done > 2<<20 {
			cancel()
		}
	}
	dir, err := Resolve(ctx, model, tr.Options)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %s, %v", dir, err)
	}
	tr.sound()
	part := filepath.Join(tr.repo(), "blobs", hubtest.SHA256(weights)+incomplete)
	info, err := os.Stat(part)
	if err != nil || info.Size() < 1<<20 || info.Size() >= int64(len(weights)) {
		t.Fatalf("after the break: %v, %v", info, err)
	}
	tr.Progress = nil
	tr.Requests()
	tr.must("model.safetensors")
	found := false
	for _, r := range tr.Requests() {
		found = found || r.Storage && r.Header.Get("Range") == fmt.Sprintf("bytes=%d-", info.Size())
	}
	if !found {
		t.Error("nothing was asked from where the download had ended")
	}
	if _, err := os.Stat(part); err == nil {
		t.Error("the incomplete file is still there")
	}
}

// TestResumeOf: what is left of an earlier download, of whichever program.
func TestResumeOf(t *testing.T) {
	wrong := bytes.Clone(weights)
	wrong[1000]++
	for name, tt := range map[string]struct {
		left   []byte
		answer func(w http.ResponseWriter, r hubtest.Request)
		gets   int
	}{
		"half":              {weights[:1<<20], nil, 1},
		"all":               {weights, nil, 0},
		"all but damaged":   {wrong, nil, 1},
		"half but damaged":  {wrong[:1<<20], nil, 2},
		"too long":          {append(bytes.Clone(weights), 'x'), nil, 1},
		"empty":             {nil, nil, 1},
		"server sends all":  {weights[:1<<20], func(w http.ResponseWriter, r hubtest.Request) { w.Write(r.Body) }, 1},
		"range is refused":  {weights[:1<<20], func(w http.ResponseWriter, r hubtest.Request) { w.WriteHeader(416) }, 2},
		"range and breaks ": {weights[:1<<20], func(w http.ResponseWriter, r hubtest.Request) { hubtest.BreakOff(w, r, 100) }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTrial(t, clip())
			blobs := filepath.Join(tr.repo(), "blobs")
			if err := os.MkdirAll(blobs, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(blobs, hubtest.SHA256(weights)+incomplete), tt.left, 0o644); err != nil {
				t.Fatal(err)
			}
			if tt.answer != nil {
				tr.times(1, "model.safetensors", tt.answer)
			}
			tr.must("model.safetensors", "config.json")
			gets := 0
			for _, r := range tr.Requests() {
				if r.Storage {
					gets++
				}
			}
			if gets != tt.gets {
				t.Errorf("%d requests to the storage, want %d", gets, tt.gets)
			}
		})
	}
}

// TestLies: nothing that the server sends is taken when it is not the file of the list.
func TestLies(t *testing.T) {
	send := func(body []byte) func(w http.ResponseWriter, r hubtest.Request) {
		return func(w http.ResponseWriter, r hubtest.Request) { w.Write(body) }
	}
	wrong := bytes.Clone(weights)
	wrong[len(wrong)-1]++
	for name, tt := range map[string]struct {
		path   string
		answer func(w http.ResponseWriter, r hubtest.Request)
		says   string
	}{
		"other bytes":           {"model.safetensors", send(wrong), "its hash is not " + hubtest.SHA256(weights)},
		"other bytes, small":    {"config.json", send([]byte(`{"model_type": "evil"}`)), "its hash is not " + hubtest.BlobID(clip().Files["config.json"])},
		"less, as it says":      {"model.safetensors", send(weights[:100]), "sends 100 bytes, the list of files says 3145728"},
		"more, as it says":      {"config.json", send(make([]byte, 100)), "says that it has 100 bytes, the list of files 22"},
		"nothing":               {"model.safetensors", send(nil), "sends 0 bytes"},
		"more, without a count": {"config.json", func(w http.ResponseWriter, r hubtest.Request) { endless(w) }, "sends more than the 22 bytes"},
		"less, without a count": {"model.safetensors", func(w http.ResponseWriter, r hubtest.Request) {
			w.(http.Flusher).Flush()
			w.Write(weights[:10])
		}, "ends after 10 of 3145728 bytes"},
		"compressed": {"config.json", func(w http.ResponseWriter, r hubtest.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(r.Body)
		}, "sends it compressed"},
		"a page": {"config.json", func(w http.ResponseWriter, r hubtest.Request) {
			w.WriteHeader(http.StatusNoContent)
		}, "answers 204"},
		"another ETag": {"config.json", func(w http.ResponseWriter, r hubtest.Request) {
			w.Header().Set("ETag", `"`+strings.Repeat("b", 40)+`"`)
			w.Write(r.Body)
		}, "says that its hash is bbbb"},
		"another commit": {"config.json", func(w http.ResponseWriter, r hubtest.Request) {
			w.Header().Set("X-Repo-Commit", strings.Repeat("c", 40))
			w.Write(r.Body)
		}, "of commit \"cccc"},
		"another size": {"config.json", func(w http.ResponseWriter, r hubtest.Request) {
			w.Header().Set("X-Linked-Size", "23")
			w.Write(r.Body)
		}, "says that it has 23 bytes, the list of files 22"},
		"a part that nobody asked for": {"config.json", func(w http.ResponseWriter, r hubtest.Request) {
			w.Header().Set("Content-Range", "bytes 5-21/22")
			w.WriteHeader(http.StatusPartialContent)
			w.Write(r.Body[5:])
		}, `sends "bytes 5-21/22"`},
		"a part without a range": {"config.json", func(w http.ResponseWriter, r hubtest.Request) {
			w.WriteHeader(http.StatusPartialContent)
			w.Write(r.Body)
		}, `sends ""`},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTrial(t, clip())
			tr.times(-1, tt.path, tt.answer)
			tr.fails(model, tt.path, tt.says)
			if n := len(tr.Requests()); n > 30 {
				t.Errorf("%d requests", n)
			}
			if ref, err := os.ReadFile(filepath.Join(tr.repo(), "refs", "main")); err == nil {
				t.Errorf("refs/main is %s although the model is not whole", ref)
			}
			// The same cache, and a server that is honest again.
			tr.Intercept(nil)
			tr.must("config.json", "model.safetensors")
		})
	}
}

// endless sends until the client has enough.
func endless(w http.ResponseWriter) {
	w.(http.Flusher).Flush()
	for range 1 << 10 {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			return
		}
	}
}

// TestToken: the token reaches the hub and nothing else, wherever it is from.
func TestToken(t *testing.T) {
	const secret = "hf_secret"
	for name, set := range map[string]func(tr *trial){
		"options":  func(tr *trial) { tr.Token = secret },
		"HF_TOKEN": func(tr *trial) { tr.Setenv("HF_TOKEN", secret+"\n") },
		"file": func(tr *trial) {
			home := tr.TempDir()
			tr.Setenv("HF_HOME", home)
			if err := os.WriteFile(filepath.Join(home, "token"), []byte(secret+"\r\n"), 0o600); err != nil {
				tr.Fatal(err)
			}
		},
		"HF_TOKEN_PATH": func(tr *trial) {
			path := filepath.Join(tr.TempDir(), "mine")
			tr.Setenv("HF_TOKEN_PATH", path)
			if err := os.WriteFile(path, []byte(secret), 0o600); err != nil {
				tr.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := clip()
			m.Token, m.Error = secret, "GatedRepo"
			tr := newTrial(t, m)
			set(tr)
			tr.must("config.json", "model.safetensors")
			storage := 0
			for _, r := range tr.Requests() {
				got := r.Header.Get("Authorization")
				if r.Storage {
					storage++
					if got != "" || strings.Contains(r.URL.String(), secret) {
						t.Errorf("the storage gets %q", got)
					}
				} else if got != "Bearer "+secret {
					t.Errorf("%s: the hub gets %q", r.URL, got)
				}
			}
			if storage == 0 {
				t.Error("nothing came from the storage")
			}
		})
	}
	t.Run("detour", func(t *testing.T) {
		tr := newTrial(t, clip())
		tr.Token = secret
		var leaked []string
		away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			leaked = append(leaked, r.Header.Get("Authorization"))
			http.Redirect(w, r, tr.URL+r.URL.Path+"?back", http.StatusFound)
		}))
		defer away.Close()
		tr.Intercept(func(w http.ResponseWriter, r hubtest.Request) bool {
			switch {
			case strings.Contains(r.URL.RawQuery, "back"):
				if got := r.Header.Get("Authorization"); got != "" {
					t.Errorf("after a detour the token is sent again: %q", got)
				}
			case strings.HasSuffix(r.URL.Path, "/config.json"):
				http.Redirect(w, r.Request, away.URL+r.URL.Path, http.StatusFound)
				return true
			}
			return false
		})
		tr.must("config.json")
		if !slices.Equal(leaked, []string{""}) {
			t.Errorf("the other server got %q", leaked)
		}
	})
	t.Run("not a token", func(t *testing.T) {
		tr := newTrial(t, clip())
		tr.Setenv("HF_TOKEN", "hf_secret\nX-Evil: 1")
		tr.fails(model, "the token from HF_TOKEN has characters")
	})
	t.Run("not sent", func(t *testing.T) {
		tr := newTrial(t, clip())
		tr.Setenv("HF_TOKEN", secret)
		tr.Setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
		tr.must()
		for _, r := range tr.Requests() {
			if got := r.Header.Get("Authorization"); got != "" {
				t.Errorf("%s gets %q", r.URL, got)
			}
		}
	})
}

func TestRefusals(t *testing.T) {
	refuse := func(status int, header ...string) func(w http.ResponseWriter, r hubtest.Request) {
		return func(w http.ResponseWriter, r hubtest.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			w.Write([]byte("<html>…</html>"))
		}
	}
	for name, tt := range map[string]struct {
		token  string
		path   string
		answer func(w http.ResponseWriter, r hubtest.Request)
		tries  int
		is     error
		says   []string
	}{
		"401":              {"", "main", refuse(401), 1, errAccess, []string{"answers 401", "no such model, or it is private or gated", "HF_TOKEN", "/org/model"}},
		"401 gated":        {"", "main", refuse(401, "X-Error-Code", "GatedRepo", "X-Error-Message", "Access is\u009b2J restricted"), 1, errAccess, []string{"the model is gated", "accept its terms", `"Access is`}},
		"401 with a token": {"hf_secret", "main", refuse(401), 1, errAccess, []string{"the token from the options may not read org/model"}},
		"403 gated":        {"hf_secret", "main", refuse(403, "X-Error-Code", "GatedRepo"), 1, errAccess, []string{"answers 403", "may not read org/model", "accept the model's terms"}},
		"404":              {"", "main", refuse(404, "X-Error-Code", "RepoNotFound"), 1, errNotFound, []string{"no model org/model"}},
		"404 revision":     {"", "main", refuse(404, "X-Error-Code", "RevisionNotFound"), 1, errNotFound, []string{"org/model has no revision main"}},
		"404 file":         {"", "config.json", refuse(404, "X-Error-Code", "EntryNotFound"), 1, errNotFound, []string{"config.json", "the model has no such file"}},
		"400":              {"", "main", refuse(400), 1, nil, []string{"answers 400"}},
		"418":              {"", "main", refuse(418), 1, nil, []string{"answers 418"}},
		"302 to nowhere":   {"", "main", refuse(302), 1, nil, []string{"status 302 without a valid address"}},
		"302 to a file":    {"", "main", refuse(302, "Location", "file:///etc/passwd"), 1, nil, []string{"status 302 without a valid address"}},
		"302 to ftp":       {"", "main", refuse(302, "Location", "ftp://localhost/x"), 1, nil, []string{"another kind than http"}},
		"304":              {"", "main", refuse(304), 1, nil, []string{"answers 304"}},
		"429":              {"", "main", refuse(429, "Retry-After", "7"), maxTries, nil, []string{"answers 429", "too many requests", "HF_TOKEN", "given up after 5 tries"}},
		"429 for an hour":  {"", "main", refuse(429, "Retry-After", "3600"), 1, nil, []string{"it asks to wait for 1h0m0s"}},
		"500":              {"", "main", refuse(500), maxTries, nil, []string{"answers 500", "given up after 5 tries"}},
		"503":              {"", "config.json", refuse(503), maxTries, nil, []string{"config.json", "answers 503"}},
		"storage 403":      {"", "model.safetensors", refuse(403), maxTries, nil, []string{"model.safetensors", "answers 403"}},
		"storage 404":      {"", "model.safetensors", refuse(404), maxTries, nil, []string{"model.safetensors", "answers 404"}},
		"no list":          {"", "main", refuse(200), 1, nil, []string{"list of files", "HF_ENDPOINT"}},
		"endless list":     {"", "main", func(w http.ResponseWriter, r hubtest.Request) { endless(w) }, 1, nil, []string{"sends more than 33554432 bytes"}},
		"breaks":           {"", "main", func(w http.ResponseWriter, r hubtest.Request) { panic(http.ErrAbortHandler) }, maxTries, nil, []string{"given up after 5 tries", "EOF"}},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTrial(t, clip())
			tr.Token = tt.token
			var asked atomic.Int64
			tr.times(-1, tt.path, func(w http.ResponseWriter, r hubtest.Request) {
				asked.Add(1)
				tt.answer(w, r)
			})
			err := tr.fails(model, append(tt.says, model)...)
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v is not %v", err, tt.is)
			}
			if asked := int(asked.Load()); asked != tt.tries || len(tr.waits) != tt.tries-1 {
				t.Errorf("%d requests and waits %v, want %d requests", asked, tr.waits, tt.tries)
			}
			for i, wait := range tr.waits {
				if least := firstWait << i; wait < least || wait > maxWait || name == "429" && wait < 7*time.Second {
					t.Errorf("wait %d is %v", i, wait)
				}
			}
			if strings.Contains(err.Error(), "\u009b") {
				t.Errorf("the server writes to the terminal: %q", err)
			}
		})
	}
	t.Run("recovers", func(t *testing.T) {
		for _, path := range []string{"main", "config.json", "model.safetensors"} {
			for _, status := range []int{429, 500, 502, 503, 504} {
				tr := newTrial(t, clip())
				tr.times(maxTries-1, path, refuse(status))
				tr.must("config.json", "model.safetensors")
			}
		}
	})
	t.Run("not listening", func(t *testing.T) {
		tr := newTrial(t, clip())
		tr.Close()
		tr.fails(model, "given up after 5 tries", "connect")
	})
	t.Run("loop", func(t *testing.T) {
		tr := newTrial(t, clip())
		tr.times(-1, "config.json", func(w http.ResponseWriter, r hubtest.Request) {
			http.Redirect(w, r.Request, r.URL.Path, http.StatusFound)
		})
		tr.fails(model, "more than 10 redirections")
	})
	t.Run("from https to http", func(t *testing.T) {
		tr := newTrial(t, clip())
		safe := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, tr.URL+r.URL.String(), http.StatusFound)
		}))
		defer safe.Close()
		tr.Endpoint, tr.Transport = safe.URL, safe.Client().Transport
		tr.fails(model, "sends us from https to http")
		tr.Transport = nil
		tr.fails(model, "certificate")
	})
}

// TestRelativeRedirects: the hub sends small files from another path of its own, and knows
// models under former names.
func TestRelativeRedirects(t *testing.T) {
	m := clip()
	m.Token, m.Error = "hf_secret", "GatedRepo"
	tr := newTrial(t, m)
	tr.Token = "hf_secret"
	tr.Add("new/model", m)
	tr.Intercept(func(w http.ResponseWriter, r hubtest.Request) bool {
		if !r.Storage && strings.Contains(r.URL.Path, "org/model") {
			http.Redirect(w, r.Request, strings.Replace(r.URL.RequestURI(), "org/model", "new/model", 1), http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	dir := tr.must("config.json", "model.safetensors")
	if !strings.Contains(dir, "models--org--model") {
		t.Errorf("folder %s", dir)
	}
}

// TestStall: nothing comes any more, but the connection stays open.
func TestStall(t *testing.T) {
	for _, path := range []string{"main", "config.json", "model.safetensors"} {
		for _, sent := range []int{-1, 0, 10} { // bytes of the file, -1 is not even a header
			for _, times := range []int64{1, -1} {
				if times < 0 && sent != 0 {
					continue
				}
				tr := newTrial(t, clip())
				tr.Options.stall = 200 * time.Millisecond
				end := make(chan struct{})
				tr.times(times, path, func(w http.ResponseWriter, r hubtest.Request) {
					if sent >= 0 {
						w.Header().Set("Content-Length", strconv.Itoa(len(r.Body)))
						w.Write(r.Body[:sent])
						w.(http.Flusher).Flush()
					}
					<-end
				})
				if times == 1 {
					tr.must("config.json", "model.safetensors")
				} else {
					tr.fails(model, "nothing has come for 200ms")
				}
				if len(tr.waits) == 0 {
					t.Errorf("%s after %d bytes: no new try", path, sent)
				}
				close(end)
			}
		}
	}
}

func TestOffline(t *testing.T) {
	tr := newTrial(t, clip())
	tr.Setenv("HF_HUB_OFFLINE", "1")
	tr.fails(model, "org/model: not in the cache "+tr.Cache, "HF_HUB_OFFLINE", "HF_HUB_CACHE")
	tr.Setenv("HF_HUB_OFFLINE", "")
	tr.Setenv("TRANSFORMERS_OFFLINE", "Yes")
	tr.fails(model, "not in the cache")
	if n := len(tr.Requests()); n > 0 {
		t.Errorf("%d requests", n)
	}
	tr.Setenv("TRANSFORMERS_OFFLINE", "0")
	dir := tr.must()
	tr.Setenv("HF_HUB_OFFLINE", "true")
	if err := os.Remove(filepath.Join(dir, "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	tr.fails(model, dir+" lacks model.safetensors", "HF_HUB_OFFLINE")
}

// TestCacheOfPython: a cache as huggingface_hub leaves it.
func TestCacheOfPython(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	fill := func(tr *trial, paths ...string) {
		for _, path := range paths {
			body := tr.model.Files[path]
			blob := filepath.Join(tr.repo(), "blobs", hubtest.ETag(path, body))
			for _, dir := range []string{filepath.Dir(blob), filepath.Join(tr.repo(), "snapshots", commit), filepath.Join(tr.repo(), "refs")} {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					tr.Fatal(err)
				}
			}
			if hubtest.Large(path) { // since 2.0 large blobs are links into a store that models share
				store := filepath.Join(tr.Cache, "blobs", "ab", strings.Repeat("ab", 32))
				if err := os.MkdirAll(filepath.Dir(store), 0o755); err != nil {
					tr.Fatal(err)
				}
				if err := errors.Join(os.WriteFile(store, body, 0o444), os.Symlink("../../blobs/ab/"+filepath.Base(store), blob)); err != nil {
					tr.Fatal(err)
				}
			} else if err := os.WriteFile(blob, body, 0o644); err != nil {
				tr.Fatal(err)
			}
			if err := os.Symlink("../../blobs/"+filepath.Base(blob), filepath.Join(tr.repo(), "snapshots", commit, path)); err != nil {
				tr.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(tr.repo(), "refs", "main"), []byte(commit), 0o644); err != nil {
			tr.Fatal(err)
		}
	}
	m := clip()
	m.Commit = commit
	delete(m.Files, "pytorch_model.bin")
	delete(m.Files, "onnx/model.safetensors")
	all := slices.Collect(maps.Keys(m.Files))

	t.Run("model alone, offline", func(t *testing.T) {
		tr := newTrial(t, m)
		fill(tr, "config.json", "model.safetensors")
		tr.Offline = true
		tr.must("config.json", "model.safetensors")
	})
	t.Run("model alone, server away", func(t *testing.T) {
		tr := newTrial(t, m)
		fill(tr, "config.json", "model.safetensors")
		tr.Close()
		tr.must("config.json", "model.safetensors")
		if len(tr.notices) != 1 || !strings.Contains(tr.notices[0], "the files in the cache are taken") || len(tr.waits) > 0 {
			t.Errorf("notices %q, waits %v", tr.notices, tr.waits)
		}
	})
	t.Run("model alone", func(t *testing.T) {
		tr := newTrial(t, m)
		fill(tr, "config.json", "model.safetensors")
		tr.must("config.json", "model.safetensors", "tokenizer.json")
		for _, r := range tr.Requests() {
			if r.Storage || strings.HasSuffix(r.URL.Path, "/config.json") {
				t.Errorf("%s was there", r.URL.Path)
			}
		}
	})
	t.Run("configuration alone", func(t *testing.T) {
		tr := newTrial(t, m)
		fill(tr, "config.json")
		tr.Close()
		tr.fails(model, "list of files")
		tr.Offline = true
		tr.fails(model, "lacks model.safetensors")
	})
	t.Run("all, without a list", func(t *testing.T) {
		tr := newTrial(t, m)
		fill(tr, all...)
		tr.must("config.json", "model.safetensors")
		tr.must()
		if n := len(tr.Requests()); n != 1 {
			t.Errorf("%d requests, want one for the list, once", n)
		}
	})
	t.Run("cut off", func(t *testing.T) { // a blob that is not whole
		tr := newTrial(t, m)
		fill(tr, all...)
		blob := filepath.Join(tr.repo(), "blobs", hubtest.SHA256(weights))
		if err := errors.Join(os.Remove(blob), os.WriteFile(blob, weights[:5], 0o644)); err != nil {
			t.Fatal(err)
		}
		tr.must("model.safetensors")
		tr.sound()
	})
	t.Run("damaged", func(t *testing.T) {
		for _, ref := range []string{"", "../../etc", strings.Repeat("0", 2000), commit[1:], strings.ToUpper(commit)} {
			tr := newTrial(t, m)
			fill(tr, "config.json")
			path := filepath.Join(tr.repo(), "trees", commit+".json")
			if err := errors.Join(os.WriteFile(filepath.Join(tr.repo(), "refs", "main"), []byte(ref), 0o644),
				os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(`{"format_version": 1, "files": {"../x": {}}}`), 0o644)); err != nil {
				t.Fatal(err)
			}
			tr.must("config.json", "model.safetensors")
		}
	})
}

// TestPlain: a mirror that lists names only. Sizes and hashes are asked for, file by file.
func TestPlain(t *testing.T) {
	m := clip()
	m.Plain = true
	tr := newTrial(t, m)
	tr.must("config.json", "model.safetensors")
	for _, r := range tr.Requests() {
		if r.Method == http.MethodHead && r.Storage {
			t.Error("the storage is asked for what the hub knows")
		}
	}
	tr.Close()
	tr.must("config.json", "model.safetensors")
	t.Run("without hashes", func(t *testing.T) {
		tr := newTrial(t, m)
		tr.Intercept(func(w http.ResponseWriter, r hubtest.Request) bool {
			if r.Method == http.MethodHead {
				w.Header().Set("ETag", `W/"5e-1"`)
				return true
			}
			return false
		})
		tr.fails(model, "gives no size and hash", "cannot be checked")
	})
	t.Run("hash is a path", func(t *testing.T) {
		tr := newTrial(t, m)
		tr.Intercept(func(w http.ResponseWriter, r hubtest.Request) bool {
			if r.Method == http.MethodHead {
				w.Header().Set("ETag", `"../../../escaped"`)
				w.Header().Set("X-Linked-Size", "3")
				return true
			}
			return false
		})
		tr.fails(model, "gives no size and hash")
	})
}

// TestHostileLists: names from the server go nowhere.
func TestHostileLists(t *testing.T) {
	const sha = `"sha": "0123456789abcdef0123456789abcdef01234567"`
	file := func(name string) string {
		return `{` + sha + `, "siblings": [{"rfilename": ` + name + `, "size": 1, "blobId": "0123456789abcdef0123456789abcdef01234567"}]}`
	}
	var many strings.Builder
	many.WriteString(`{` + sha + `, "siblings": [{}`)
	for range maxFiles {
		many.WriteString(`,{}`)
	}
	many.WriteString("]}")
	for name, tt := range map[string]struct{ list, says string }{
		"up":               {file(`"../config.json"`), "is not a path inside"},
		"up, inside":       {file(`"a/../../config.json"`), "is not a path inside"},
		"absolute":         {file(`"/etc/config.json"`), "is not a path inside"},
		"backslash":        {file(`"..\\config.json"`), "has characters that paths have not"},
		"zero":             {file(`"config.json\u0000"`), "has characters that paths have not"},
		"newline":          {file(`"config\n.json"`), "has characters that paths have not"},
		"dot":              {file(`"./config.json"`), "is not a path inside"},
		"empty":            {file(`""`), "is no path"},
		"long":             {file(`"` + strings.Repeat("a", 600) + `"`), "is no path"},
		"no commit":        {`{"siblings": []}`, `"sha" is ""`},
		"commit is a path": {`{"sha": "../../../../../../../../../../../../etc", "siblings": []}`, `"sha" is "../`},
		"hash is a path":   {`{` + sha + `, "siblings": [{"rfilename": "config.json", "size": 1, "blobId": "../../x"}]}`, `blobId is "../../x"`},
		"LFS is a path":    {`{` + sha + `, "siblings": [{"rfilename": "config.json", "lfs": {"size": 1, "sha256": "../../x"}}]}`, `sha256 is "../../x"`},
		"negative":         {`{` + sha + `, "siblings": [{"rfilename": "config.json", "size": -5, "blobId": "0123456789abcdef0123456789abcdef01234567"}]}`, "a size of -5"},
		"huge":             {`{` + sha + `, "siblings": [{"rfilename": "model.safetensors", "lfs": {"size": 9223372036854775807, "sha256": "` + strings.Repeat("0", 64) + `"}}]}`, "the limit is 68.7 GB"},
		"huge on the side": {`{` + sha + `, "siblings": [{"rfilename": "model.safetensors"}, {"rfilename": "config.json", "size": 9223372036854775807, "blobId": "0123456789abcdef0123456789abcdef01234567"}]}`, "at most 268435456 are read"},
		"beyond 64 bits":   {`{` + sha + `, "siblings": [{"rfilename": "config.json", "size": 92233720368547758070, "blobId": "0"}]}`, "list of files"},
		"twice":            {`{` + sha + `, "siblings": [{"rfilename": "a"}, {"rfilename": "a"}]}`, "is there twice"},
		"many":             {many.String(), "at most 100000 are read"},
		"deep":             {strings.Repeat("[", 1<<20), "list of files"},
		"another shape":    {`[1, 2]`, "list of files"},
		"nothing":          {`{` + sha + `}`, "no weights"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTrial(t, clip())
			tr.times(-1, "main", func(w http.ResponseWriter, r hubtest.Request) { w.Write([]byte(tt.list)) })
			tr.fails(model, tt.says)
			found, err := filepath.Glob(filepath.Join(tr.Cache, "*", "*", "*"))
			if err != nil || len(found) > 0 {
				t.Errorf("files %q, %v", found, err)
			}
		})
	}
	for index, says := range map[string]string{
		`{"weight_map": {"a": "../model.safetensors"}}`:      "a file beside the index was expected",
		`{"weight_map": {"a": "/etc/x.safetensors"}}`:        "a file beside the index was expected",
		`{"weight_map": {"a": "x\\y.safetensors"}}`:          "a file beside the index was expected",
		`{"weight_map": {"a": "sub/model.safetensors"}}`:     "a file beside the index was expected",
		`{"weight_map": {"a": "config.json"}}`:               "a file beside the index was expected",
		`{"weight_map": {"a": "other-1-of-1.safetensors"}}`:  "which the model has not",
		`{"weight_map": {}}`:                                 "is empty",
		`{"weight_map": {"a": 1}}`:                           "cannot unmarshal",
		`{"weight_map": `:                                    "unexpected end",
		`{"weight_map": {"a": ".incomplete.safetensors"}}`:   "a file beside the index was expected",
		`{"weight_map": {"a": "model.safetensors\u0000.x"}}`: "a file beside the index was expected",
	} {
		tr := newTrial(t, &hubtest.Model{Files: map[string][]byte{"config.json": []byte("{}"), indexFile: []byte(index), "sub/model.safetensors": []byte("w")}})
		tr.fails(model, says, indexFile)
	}
}

// TestRoom: what does not fit is not begun, and a disk that runs full leaves nothing as if whole.
func TestRoom(t *testing.T) {
	t.Run("limit", func(t *testing.T) {
		tr := newTrial(t, clip())
		tr.MaxBytes = int64(len(weights))
		tr.fails(model, "the model has 3.1 MB and more, the limit is 3.1 MB")
		if _, err := os.Stat(filepath.Join(tr.repo(), "blobs")); err == nil {
			t.Error("a download was begun")
		}
	})
	t.Run("free", func(t *testing.T) {
		tr := newTrial(t, clip())
		free := int64(len(weights))
		tr.Options.free = func(string) (int64, bool) { return free, true }
		tr.fails(model, "3.1 MB are missing", tr.Cache+" has room for 3.1 MB", "HF_HUB_CACHE")
		if blobs, err := os.ReadDir(filepath.Join(tr.repo(), "blobs")); len(blobs) > 0 {
			t.Errorf("a download was begun: %v, %v", blobs, err)
		}
		// What is there already needs no room.
		if err := os.WriteFile(filepath.Join(tr.repo(), "blobs", hubtest.SHA256(weights)+incomplete), weights[:1000], 0o644); err != nil {
			t.Fatal(err)
		}
		tr.must("model.safetensors")
		// Nor does it when only the names are gone.
		free = 0
		if err := os.RemoveAll(filepath.Join(tr.repo(), "snapshots")); err != nil {
			t.Fatal(err)
		}
		tr.must("model.safetensors")
	})
	t.Run("full", func(t *testing.T) {
		if _, err := os.Stat("/dev/full"); err != nil {
			t.Skip("NOT RUN: no /dev/full, which is a disk that is full")
		}
		tr := newTrial(t, clip())
		blobs := filepath.Join(tr.repo(), "blobs")
		part := filepath.Join(blobs, hubtest.SHA256(weights)+incomplete)
		if err := errors.Join(os.MkdirAll(blobs, 0o755), os.Symlink("/dev/full", part)); err != nil {
			t.Fatal(err)
		}
		tr.Options.free = func(string) (int64, bool) { return 1 << 60, true }
		tr.fails(model, "model.safetensors", "no space left on device", blobs)
		if len(tr.waits) > 0 {
			t.Errorf("waits %v for room", tr.waits)
		}
		if err := os.Remove(part); err != nil {
			t.Fatal(err)
		}
		tr.must("model.safetensors")
	})
	t.Run("real", func(t *testing.T) {
		if free, ok := freeBytes(t.TempDir()); ok && free <= 0 {
			t.Errorf("the disk has %d bytes", free)
		} else if !ok && (runtime.GOOS == "linux" || runtime.GOOS == "darwin" || runtime.GOOS == "windows") {
			t.Error("the disk has no size")
		}
		if _, ok := freeBytes(filepath.Join(t.TempDir(), "none")); ok {
			t.Error("a folder that is not there has a size")
		}
	})
	t.Run("read-only", func(t *testing.T) {
		tr := newTrial(t, clip())
		if err := os.WriteFile(tr.Cache, nil, 0o644); err != nil { // a file where the folder should be
			t.Fatal(err)
		}
		tr.fails(model, tr.Cache)
	})
}

// TestTogether: many ask for one model at a time, and each file comes once.
func TestTogether(t *testing.T) {
	tr := newTrial(t, clip())
	o := tr.Options
	o.Notice = nil
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			dir, err := Resolve(context.Background(), model, o)
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := os.ReadFile(filepath.Join(dir, "model.safetensors")); err != nil || !bytes.Equal(got, weights) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	group.Wait()
	seen := make(map[string]int)
	for _, r := range tr.Requests() {
		if strings.Contains(r.URL.Path, "/resolve/") {
			seen[r.URL.Path]++
		}
	}
	for path, n := range seen {
		if n > 1 {
			t.Errorf("%s: %d times", path, n)
		}
	}
	tr.sound()
}

// TestMain also is the program of TestProcesses.
func TestMain(m *testing.M) {
	if name := os.Getenv("HUB_TEST_RESOLVE"); name != "" {
		dir, err := Resolve(context.Background(), name, Options{})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(dir)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestProcesses kills a process in the middle of a download; then several go on at once.
func TestProcesses(t *testing.T) {
	tr := newTrial(t, clip())
	program := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "HUB_TEST_RESOLVE="+model, "HF_ENDPOINT="+tr.URL, "HF_HUB_CACHE="+tr.Cache)
		return cmd
	}
	const sent = 1 << 20
	kill, end := make(chan struct{}), make(chan struct{})
	tr.times(1, "model.safetensors", func(w http.ResponseWriter, r hubtest.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(r.Body)))
		w.Write(r.Body[:sent])
		w.(http.Flusher).Flush()
		close(kill)
		<-end
	})
	first := program()
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	<-kill
	part := filepath.Join(tr.repo(), "blobs", hubtest.SHA256(weights)+incomplete)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if info, err := os.Stat(part); err == nil && info.Size() == sent {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("%v, %v", info, err)
		}
	}
	first.Process.Kill()
	if err := first.Wait(); err == nil {
		t.Fatal("the process was not killed")
	}
	close(end)
	tr.sound()
	tr.Requests()

	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			out, err := program().CombinedOutput()
			if want := filepath.Join(tr.repo(), "snapshots", tr.model.Commit) + "\n"; err != nil || string(out) != want {
				t.Errorf("%v: %s, want %s", err, out, want)
			}
		})
	}
	group.Wait()
	tr.sound()
	tr.must("model.safetensors", "config.json")
	var ranges []string
	for _, r := range tr.Requests() {
		if r.Storage {
			ranges = append(ranges, r.Header.Get("Range"))
		}
	}
	if want := []string{fmt.Sprintf("bytes=%d-", sent)}; !slices.Equal(ranges, want) {
		t.Errorf("asked the storage for %q, want %q", ranges, want)
	}
}

// TestWait: a process waits for another that has the lock, as huggingface_hub takes it.
func TestWait(t *testing.T) {
	tr := newTrial(t, clip())
	f := file{hash: hubtest.SHA256(weights)}
	s, err := tr.settings()
	if err != nil {
		t.Fatal(err)
	}
	n, err := Parse(model)
	if err != nil {
		t.Fatal(err)
	}
	other := &download{resolver: &resolver{Options: Options{}, settings: s, name: n}}
	unlock, err := other.lock(context.Background(), "model.safetensors", f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(tr.Cache, ".locks", "models--org--model", f.hash+".lock")); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if dir, err := Resolve(ctx, model, tr.Options); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with the lock held: %s, %v", dir, err)
	}
	if !slices.ContainsFunc(tr.notices, func(s string) bool {
		return strings.Contains(s, "waits for another process that downloads model.safetensors")
	}) {
		t.Errorf("notices %q", tr.notices)
	}
	unlock()
	tr.must("model.safetensors")
}

func TestEnvironment(t *testing.T) {
	home := t.TempDir()
	for _, tt := range []struct {
		set         map[string]string
		cache, says string
	}{
		{nil, filepath.Join(home, ".cache", "huggingface", "hub"), ""},
		{map[string]string{"XDG_CACHE_HOME": "/xdg"}, "/xdg/huggingface/hub", ""},
		{map[string]string{"XDG_CACHE_HOME": "/xdg", "HF_HOME": "~/hf"}, filepath.Join(home, "hf", "hub"), ""},
		{map[string]string{"HF_HOME": "/hf", "HUGGINGFACE_HUB_CACHE": "/old"}, "/old", ""},
		{map[string]string{"HF_HOME": "/hf", "HUGGINGFACE_HUB_CACHE": "/old", "HF_HUB_CACHE": "$HF_HOME/new"}, "/hf/new", ""},
		{map[string]string{"HF_ENDPOINT": "ftp://x"}, "", "HF_ENDPOINT is no address"},
		{map[string]string{"HF_ENDPOINT": "huggingface.co"}, "", "HF_ENDPOINT is no address"},
		{map[string]string{"HF_ENDPOINT": "https://user:secret@\x7f"}, "", "HF_ENDPOINT is no address"},
		{map[string]string{"HF_HUB_DOWNLOAD_TIMEOUT": "soon"}, "", "1 to 3600 seconds were expected"},
		{map[string]string{"HF_TOKEN_PATH": home}, "", "token: "},
	} {
		if runtime.GOOS == "windows" {
			t.Skip("NOT RUN: paths are those of other systems")
		}
		newTrial(t, clip()) // clears the environment
		t.Setenv("HOME", home)
		for name, value := range tt.set {
			t.Setenv(name, value)
		}
		s, err := Options{}.settings()
		if tt.says != "" {
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v: %v, want %q", tt.set, err, tt.says)
			}
			continue
		}
		if err != nil || s.cache != tt.cache || s.endpoint.String() != defaultEndpoint || s.token != "" || s.offline {
			t.Errorf("%v: %+v, %v; want the cache %s", tt.set, s, err, tt.cache)
		}
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		s    string
		want Name
	}{
		{"openai/clip-vit-large-patch14", Name{"openai/clip-vit-large-patch14", "main"}},
		{"sentence-transformers/all-MiniLM-L6-v2", Name{"sentence-transformers/all-MiniLM-L6-v2", "main"}},
		{"a/b@v1.0", Name{"a/b", "v1.0"}},
		{"a/b@refs/pr/12", Name{"a/b", "refs/pr/12"}},
		{"_a/b.c_", Name{"_a/b.c_", "main"}},
	} {
		got, err := Parse(tt.s)
		if err != nil || got != tt.want {
			t.Errorf("Parse(%q) = %v, %v", tt.s, got, err)
		}
		if again, err := Parse(got.String()); err != nil || again != got {
			t.Errorf("Parse(%q) = %v, %v", got, again, err)
		}
	}
	for _, s := range []string{"", "a", "a/b/c", "/a/b", "a//b", "a/", "/b", "a/b@", "a/b@/", "a/b@..", "a/b@a/../b", "a/b@.x", "a/b@a//b",
		"../b", "a/..", "./b", "a/.", "a\\b/c", "a/b\\c", "a--b/c", "a/b--c", "a/b..c", "a/b.git", "a/b.", "-a/b", "a/b-", "a/b c", "a/b\x00",
		"a/b@x y", "a/b@x\\y", "a/b@x.lock", "a/b@~1", "C:/b", "a/b:c", "é/b", "a/" + strings.Repeat("b", 97), "a/b@" + strings.Repeat("c", 129)} {
		if got, err := Parse(s); err == nil {
			t.Errorf("Parse(%q) = %v, an error was expected", s, got)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for s, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "x": 0, "99999999999999999999": 0, "1.5": 0,
		"Fri, 02 Jan 2026 03:04:35 GMT": 30 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": 0,
	} {
		if got := retryAfter(s, now); got != want {
			t.Errorf("retryAfter(%q) = %v, want %v", s, got, want)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 999: "999 bytes", 1000: "1.0 kB", 1_710_540_580: "1.7 GB", 99_960: "100 kB", 999_600: "1.0 MB", 1 << 62: "4.6 EB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %s, want %s", n, got, want)
		}
	}
}
