package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What is read of a hostile server or a damaged cache at most.
const (
	maxList   = 32 << 20 // bytes of a list of files
	maxFiles  = 100_000  // files in a list
	maxPath   = 512      // bytes of a path in it
	maxIndex  = 16 << 20 // bytes of model.safetensors.index.json
	maxShards = 1_000    // files that it names
	maxSide   = 256 << 20
)

const (
	weightsFile = "model.safetensors"
	indexFile   = "model.safetensors.index.json"
	adapterFile = "adapter_model.safetensors"
)

// file is one of a model, as the list of its commit has it.
type file struct {
	// size is in bytes, -1 where the list does not say.
	size int64
	// hash is the SHA-256 of a large file (64 digits), or the hash that git gives a small
	// one (40 digits). It is the file's name in the cache. "" where the list does not say.
	hash string
	// pointer is git's hash of what stands for a large file in the repository.
	pointer string
}

// list has the files of a model at a commit.
type list struct {
	commit string
	files  map[string]file
}

var (
	hash1   = regexp.MustCompile(`^[0-9a-f]{40}$`)
	hash256 = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

func isHash(s string) bool { return hash1.MatchString(s) || hash256.MatchString(s) }

// parseList reads the answer to /api/models/{name}/revision/{revision}?blobs=true.
func parseList(text []byte) (*list, error) {
	var answer struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name   string `json:"rfilename"`
			Size   *int64 `json:"size"`
			BlobID string `json:"blobId"`
			LFS    *struct {
				SHA256 string `json:"sha256"`
				Size   *int64 `json:"size"`
			} `json:"lfs"`
		} `json:"siblings"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("list of files: %w", err)
	}
	if !commitForm.MatchString(answer.SHA) {
		return nil, fmt.Errorf(`list of files: "sha" is %.80q, a commit of 40 hexadecimal digits was expected`, answer.SHA)
	}
	if len(answer.Siblings) > maxFiles {
		return nil, fmt.Errorf("list of files: %d files, at most %d are read", len(answer.Siblings), maxFiles)
	}
	l := &list{commit: answer.SHA, files: make(map[string]file, len(answer.Siblings))}
	for _, s := range answer.Siblings {
		f := file{size: -1}
		switch {
		case s.LFS != nil && s.LFS.Size != nil && s.LFS.SHA256 != "":
			f = file{size: *s.LFS.Size, hash: s.LFS.SHA256, pointer: s.BlobID}
			if !hash256.MatchString(f.hash) {
				return nil, fmt.Errorf("list of files: %.80q: sha256 is %.80q", s.Name, f.hash)
			}
		case s.LFS == nil && s.Size != nil && s.BlobID != "":
			f = file{size: *s.Size, hash: s.BlobID}
			if !hash1.MatchString(f.hash) {
				return nil, fmt.Errorf("list of files: %.80q: blobId is %.80q", s.Name, f.hash)
			}
		}
		if err := l.add(s.Name, f); err != nil {
			return nil, fmt.Errorf("list of files: %w", err)
		}
	}
	return l, nil
}

func (l *list) add(path string, f file) error {
	if err := checkPath(path); err != nil {
		return err
	}
	if _, ok := l.files[path]; ok {
		return fmt.Errorf("%q is there twice", path)
	}
	if f.hash != "" && f.size < 0 {
		return fmt.Errorf("%q: a size of %d", path, f.size)
	}
	l.files[path] = f
	return nil
}

// checkPath refuses a path that could leave the folder it is put into, on any system.
func checkPath(path string) error {
	switch {
	case path == "" || len(path) > maxPath || !utf8.ValidString(path):
		return fmt.Errorf("%.80q is no path of a file", path)
	case strings.ContainsFunc(path, func(r rune) bool { return r == '\\' || unicode.IsControl(r) }):
		return fmt.Errorf("%q has characters that paths have not", path)
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("%q is not a path inside the model's folder", path)
		}
	}
	return nil
}

// Trees are lists of files in the form in which huggingface_hub keeps them, trees/<commit>.json.
type tree struct {
	Version int                 `json:"format_version"`
	Files   map[string]treeFile `json:"files"`
}

type treeFile struct {
	Size    int64  `json:"size"`
	BlobID  string `json:"blob_id"`
	SHA256  string `json:"lfs_sha256,omitempty"`
	LFSSize *int64 `json:"lfs_size,omitempty"`
}

const treeVersion = 1

func parseTree(commit string, text []byte) (*list, error) {
	var t tree
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, err
	}
	if t.Version != treeVersion || len(t.Files) > maxFiles {
		return nil, fmt.Errorf("version %d, %d files", t.Version, len(t.Files))
	}
	l := &list{commit: commit, files: make(map[string]file, len(t.Files))}
	for path, e := range t.Files {
		f := file{size: e.Size, hash: e.BlobID}
		if e.SHA256 != "" {
			if e.LFSSize == nil {
				return nil, fmt.Errorf("%q has no size", path)
			}
			f = file{size: *e.LFSSize, hash: e.SHA256, pointer: e.BlobID}
		}
		if !isHash(f.hash) {
			return nil, fmt.Errorf("%q: hash %.80q", path, f.hash)
		}
		if err := l.add(path, f); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// tree returns the list to be kept, or nil where sizes or hashes are unknown.
func (l *list) tree() []byte {
	t := tree{treeVersion, make(map[string]treeFile, len(l.files))}
	for path, f := range l.files {
		switch {
		case f.hash == "":
			return nil
		case f.pointer == "" && len(f.hash) == 64:
			return nil
		case f.pointer == "":
			t.Files[path] = treeFile{Size: f.size, BlobID: f.hash}
		default:
			t.Files[path] = treeFile{f.size, f.pointer, f.hash, &f.size}
		}
	}
	text, err := json.MarshalIndent(t, "", " ")
	if err != nil {
		panic(err) // strings and numbers
	}
	return text
}

// side has the files beside weights that a model is made of. Nothing else is downloaded.
var side = regexp.MustCompile(`^(` + strings.Join([]string{
	`config\.json`,
	`preprocessor_config\.json`,
	`processor_config\.json`,
	`tokenizer[A-Za-z0-9_.-]*\.json`,
	`vocab[A-Za-z0-9_-]*\.[A-Za-z0-9]+`,
	`merges\.txt`,
	`special_tokens_map\.json`,
	`added_tokens\.json`,
	`modules\.json`,
	`sentence_bert_config\.json`,
	`config_sentence_transformers\.json`,
	`[0-9]{1,3}_[A-Za-z]{1,64}/config\.json`, // modules of sentence-transformers
	`adapter_config\.json`,
}, "|") + `)$`)

// plan returns the files that the model needs, the small ones first: index is what
// model.safetensors.index.json holds, where [list.indexed] says that it is needed.
func (l *list) plan(name Name, index []byte) ([]string, error) {
	var paths, weights []string
	for path, f := range l.files {
		if side.MatchString(path) {
			if f.size > maxSide {
				return nil, fmt.Errorf("%s has %d bytes, at most %d are read", path, f.size, maxSide)
			}
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	if _, ok := l.files[adapterFile]; ok {
		weights = append(weights, adapterFile)
	}
	if _, ok := l.files[weightsFile]; ok {
		weights = append(weights, weightsFile)
	} else if l.indexed() {
		shards, err := parseIndex(index)
		if err != nil {
			return nil, err
		}
		for _, shard := range shards {
			if _, ok := l.files[shard]; !ok {
				return nil, fmt.Errorf("%s names %s, which the model has not", indexFile, shard)
			}
		}
		paths = append(paths, indexFile)
		weights = append(weights, shards...)
	}
	if weights == nil {
		return nil, fmt.Errorf("no weights in safetensors (%s, %s or %s)%s", weightsFile, indexFile, adapterFile, l.others(name))
	}
	return append(paths, weights...), nil
}

// indexed tells whether the weights lie in several files, which the index names.
func (l *list) indexed() bool {
	_, whole := l.files[weightsFile]
	_, index := l.files[indexFile]
	return index && !whole
}

// others tells of weights in formats that are not read.
func (l *list) others(name Name) string {
	var found []string
	for _, path := range slices.Sorted(maps.Keys(l.files)) {
		if !strings.Contains(path, "/") && (strings.HasSuffix(path, ".bin") || strings.HasSuffix(path, ".h5") ||
			strings.HasSuffix(path, ".msgpack") || strings.HasSuffix(path, ".pt") || strings.HasSuffix(path, ".pth")) {
			found = append(found, path)
		}
	}
	if found == nil {
		return ""
	}
	return fmt.Sprintf("; it has %s, which is not read. Its page may have a pull request that converts it: %s@refs/pr/NUMBER",
		strings.Join(found[:min(len(found), 3)], ", "), name.Repo)
}

// shardName is the form of what an index may name: a file beside it.
var shardName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}\.safetensors$`)

// parseIndex returns the files that model.safetensors.index.json names, sorted.
func parseIndex(text []byte) ([]string, error) {
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return nil, fmt.Errorf("%s: %w", indexFile, err)
	}
	if len(index.WeightMap) == 0 {
		return nil, errors.New(indexFile + `: "weight_map" is empty`)
	}
	shards := make(map[string]bool)
	for tensor, shard := range index.WeightMap {
		if !shardName.MatchString(shard) {
			return nil, fmt.Errorf("%s: %.80q lies in %.80q, a file beside the index was expected", indexFile, tensor, shard)
		}
		shards[shard] = true
		if len(shards) > maxShards {
			return nil, fmt.Errorf("%s names more than %d files", indexFile, maxShards)
		}
	}
	return slices.Sorted(maps.Keys(shards)), nil
}
