// Package hub finds published models by their names: "openai/clip-vit-large-patch14" becomes
// the folder of its files.
//
// It keeps to the layout and the environment variables of huggingface_hub, so that both use
// one cache:
//
//	models--org--name/refs/main                the commit of a branch
//	models--org--name/snapshots/COMMIT/…       links to the files of a commit
//	models--org--name/blobs/HASH               the files; HASH.incomplete while one is on its way
//	models--org--name/trees/COMMIT.json        the list of files at a commit
//	.locks/models--org--name/HASH.lock         held while a file is on its way
//
// HF_HUB_CACHE or HF_HOME say where the cache is (~/.cache/huggingface/hub), HF_ENDPOINT where
// the hub is, HF_TOKEN or the file that "hf auth login" writes give the token, HF_HUB_OFFLINE
// forbids requests, and HF_HUB_DOWNLOAD_TIMEOUT is the number of seconds after which a
// connection on which nothing comes is broken off.
//
// What a server sends is not trusted: names, sizes and counts are bounded before use, a file
// counts as there only when its hash is that of the model's list, and the token is sent to the
// hub alone.
package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"relsim/regular"
)

// DefaultMaxBytes is what one model may take on the disk where [Options] do not say.
const DefaultMaxBytes = 64 << 30

// Options change what [Resolve] takes from the environment. The zero value changes nothing.
type Options struct {
	// Cache is the folder of the cache.
	Cache string
	// Endpoint is the address of the hub.
	Endpoint string
	// Token is the user's, for models that are private or gated.
	Token string
	// Offline forbids requests.
	Offline bool
	// Update asks the hub which commit a branch has now, even where the cache has one.
	Update bool
	// MaxBytes is what a model may have; 0 is [DefaultMaxBytes].
	MaxBytes int64
	// Progress hears of bytes as they arrive, in one goroutine.
	Progress func(Progress)
	// Notice hears of what a user wants to know and cannot see: downloads, retries, waits.
	Notice func(format string, args ...any)
	// Transport sends requests; nil is [http.DefaultTransport].
	Transport http.RoundTripper

	// Tests do not wait, and have disks of their own.
	sleep func(ctx context.Context, d time.Duration) error
	stall time.Duration
	free  func(dir string) (int64, bool)
}

func (o Options) notice(format string, args ...any) {
	if o.Notice != nil {
		o.Notice(format, args...)
	}
}

func (o Options) wait(ctx context.Context, d time.Duration) error {
	if o.sleep != nil {
		return o.sleep(ctx, d)
	}
	return sleep(ctx, d)
}

// Progress is how far a download is.
type Progress struct {
	// Model is the name, File the file that is on its way.
	Model, File string
	// Done and Total are bytes of all files that the download is to bring. Done has what an
	// earlier one left, too.
	Done, Total int64
}

// Resolve returns the folder that a name stands for. A folder stands for itself. "org/name"
// and "org/name@revision" are published models: they are looked up in the cache, and what the
// cache has not is downloaded into it. Only the files that a model needs are: configuration,
// tokenizer, preprocessing, and weights as safetensors, of an adapter too.
//
// A download that is broken off goes on where it was. Two processes may ask for one model.
// After an error the cache has whole files only, and those of earlier calls.
func Resolve(ctx context.Context, name string, o Options) (dir string, err error) {
	info, statErr := os.Stat(name)
	switch {
	case statErr == nil && info.IsDir():
		return name, nil
	case statErr == nil:
		return "", fmt.Errorf(`hub: %s is a file; a folder or the name of a published model, "org/name", was expected`, name)
	case errors.Is(statErr, fs.ErrPermission):
		return "", fmt.Errorf("hub: %w", statErr)
	}
	n, err := Parse(name)
	if err != nil {
		return "", fmt.Errorf("hub: there is no folder %w", err)
	}
	s, err := o.settings()
	if err != nil {
		return "", fmt.Errorf("hub: %w", err)
	}
	if o.stall > 0 {
		s.stall = o.stall
	}
	r := &resolver{Options: o, name: n, settings: s, client: newClient(s, n, o), repo: filepath.Join(s.cache, n.folder())}
	dir, err = r.resolve(ctx)
	if err != nil {
		return "", fmt.Errorf("hub: %s: %w", n, err)
	}
	return dir, nil
}

// resolver looks for one model.
type resolver struct {
	Options
	settings
	name   Name
	client *client
	repo   string // the model's folder in the cache
}

func (r *resolver) resolve(ctx context.Context) (string, error) {
	commit := r.cachedCommit()
	if commit != "" && (!r.Options.Update || r.settings.offline) {
		if l := r.cachedList(commit); l != nil && len(r.missing(l)) == 0 {
			return r.snapshot(commit), nil
		}
	}
	if r.settings.offline {
		return r.offlineAnswer(commit)
	}
	// Where no list was kept, the hub says whether the files are all. What makes a model will
	// do if it says nothing.
	enough := commit != "" && !r.Options.Update && r.lacks(commit) == nil
	if enough {
		r.client.tries = 1
	}
	l, err := r.client.list(ctx, r.name.Revision)
	if err != nil {
		if enough && ctx.Err() == nil {
			r.notice("%s: %v; the files in the cache are taken", r.name, err)
			return r.snapshot(commit), nil
		}
		return "", err
	}
	r.client.tries = maxTries
	if err := r.download(ctx, l); err != nil {
		return "", err
	}
	return r.snapshot(l.commit), nil
}

// offlineAnswer is what can be said without asking.
func (r *resolver) offlineAnswer(commit string) (string, error) {
	if commit == "" {
		return "", fmt.Errorf("not in the cache %s, and HF_HUB_OFFLINE forbids to download it; unset that, or set HF_HUB_CACHE to the cache that has it", r.settings.cache)
	}
	if lacks := r.lacks(commit); lacks != nil {
		return "", fmt.Errorf("%s lacks %s, and HF_HUB_OFFLINE forbids to download it", r.snapshot(commit), strings.Join(lacks, ", "))
	}
	return r.snapshot(commit), nil
}

func (r *resolver) snapshot(commit string) string { return filepath.Join(r.repo, "snapshots", commit) }

func (r *resolver) refPath() string {
	return filepath.Join(r.repo, "refs", filepath.FromSlash(r.name.Revision))
}

func (r *resolver) treePath(commit string) string {
	return filepath.Join(r.repo, "trees", commit+".json")
}

// cachedCommit returns the commit that the cache has for the revision, or "".
func (r *resolver) cachedCommit() string {
	commit := r.name.Revision
	if !commitForm.MatchString(commit) {
		text, err := regular.Read(r.refPath(), 1024)
		if err != nil {
			return ""
		}
		commit = strings.TrimSpace(string(text))
	}
	if info, err := os.Stat(r.snapshot(commit)); !commitForm.MatchString(commit) || err != nil || !info.IsDir() {
		return ""
	}
	return commit
}

// cachedList returns the list of files that the cache has for a commit, or nil.
func (r *resolver) cachedList(commit string) *list {
	text, err := regular.Read(r.treePath(commit), maxList)
	if err != nil {
		return nil
	}
	l, err := parseTree(commit, text)
	if err != nil {
		return nil // it is asked for again
	}
	return l
}

// missing returns the files of a list that the snapshot has not, or has with another size.
// A list that makes no sense misses all.
func (r *resolver) missing(l *list) []string {
	var index []byte
	if l.indexed() {
		index, _ = regular.Read(filepath.Join(r.snapshot(l.commit), indexFile), maxIndex)
	}
	paths, err := l.plan(r.name, index)
	if err != nil {
		return []string{indexFile}
	}
	var missing []string
	for _, path := range paths {
		if !r.there(l.commit, path, l.files[path].size) {
			missing = append(missing, path)
		}
	}
	return missing
}

// there tells whether a snapshot has a file of that size; -1 is any.
func (r *resolver) there(commit, path string, size int64) bool {
	info, err := os.Stat(filepath.Join(r.snapshot(commit), filepath.FromSlash(path)))
	return err == nil && info.Mode().IsRegular() && (size < 0 || info.Size() == size)
}

// lacks returns what a snapshot lacks to be a model at all, where no list says what it should have.
func (r *resolver) lacks(commit string) []string {
	var lacks []string
	if !r.there(commit, "config.json", -1) && !r.there(commit, "adapter_config.json", -1) {
		lacks = append(lacks, "config.json")
	}
	if r.there(commit, weightsFile, -1) || r.there(commit, adapterFile, -1) {
		return lacks
	}
	text, err := regular.Read(filepath.Join(r.snapshot(commit), indexFile), maxIndex)
	if err != nil {
		return append(lacks, weightsFile)
	}
	shards, err := parseIndex(text)
	if err != nil {
		return append(lacks, "a valid "+indexFile)
	}
	for _, shard := range shards {
		if !r.there(commit, shard, -1) {
			lacks = append(lacks, shard)
		}
	}
	return lacks
}
