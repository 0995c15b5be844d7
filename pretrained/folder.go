package pretrained

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Bounds of what is read besides weights.
const (
	maxConfig = 4 << 20  // bytes of a configuration
	maxIndex  = 32 << 20 // bytes of model.safetensors.index.json
	maxShards = 1024
)

// folder is a folder that files are read from.
type folder struct {
	dir  string // as the caller wrote it
	real string // absolute, without symbolic links
}

func openFolder(dir string) (folder, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return folder{}, err
	}
	if real, err = filepath.Abs(real); err != nil {
		return folder{}, err
	}
	info, err := os.Stat(real)
	if err != nil {
		return folder{}, err
	}
	if !info.IsDir() {
		return folder{}, fmt.Errorf("%s: not a folder", dir)
	}
	return folder{dir: dir, real: real}, nil
}

// plain says that name is that of a file or folder right inside a folder.
func plain(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\\:\x00")
}

// sub is a folder right inside f.
func (f folder) sub(name string) (folder, error) {
	if !plain(name) {
		return folder{}, fmt.Errorf("folder %q: want a plain name", name)
	}
	s, err := openFolder(filepath.Join(f.dir, name))
	if err != nil {
		return folder{}, err
	}
	if s.real != filepath.Join(f.real, name) {
		return folder{}, fmt.Errorf("%s: a link out of the folder", filepath.Join(f.dir, name))
	}
	return s, nil
}

// path is where a regular file of f is, links followed. A link may not leave f, with
// one exception: the files of a hub cache, models--org--name/snapshots/REVISION/…,
// are links to models--org--name/blobs/HASH, which may be links to blobs/XX/HASH, the
// store that the models of a cache share since huggingface_hub 2.0.
func (f folder) path(name string) (string, error) {
	if !plain(name) {
		return "", fmt.Errorf("file %q: want a plain name", name)
	}
	shown := filepath.Join(f.dir, name)
	real, err := filepath.EvalSymlinks(filepath.Join(f.real, name))
	if err != nil {
		return "", err
	}
	if !inside(f.real, real) && !isBlob(f.real, real) {
		return "", fmt.Errorf("%s: a link out of the folder", shown)
	}
	info, err := os.Stat(real) // before it is opened: a named pipe would block
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: not a regular file", shown)
	}
	return real, nil
}

func inside(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// blobName is what a hub cache calls a blob: the hash that is its ETag.
var blobName = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// isBlob says that path is a blob of the hub cache that dir, or the folder that it is
// right inside, is a snapshot of: the model's own, or one that models share.
func isBlob(dir, path string) bool {
	for _, d := range []string{dir, filepath.Dir(dir)} {
		snapshots := filepath.Dir(d)
		model := filepath.Dir(snapshots)
		if filepath.Base(snapshots) != "snapshots" || !strings.HasPrefix(filepath.Base(model), "models--") ||
			!blobName.MatchString(filepath.Base(path)) {
			continue
		}
		shared := filepath.Join(filepath.Dir(model), "blobs", filepath.Base(path)[:2])
		if in := filepath.Dir(path); in == filepath.Join(model, "blobs") || in == shared {
			return true
		}
	}
	return false
}

// has says that there is a file or a link of that name.
func (f folder) has(name string) bool {
	_, err := os.Lstat(filepath.Join(f.real, name))
	return err == nil
}

// read returns a file of at most limit bytes.
func (f folder) read(name string, limit int64) ([]byte, error) {
	path, err := f.path(name)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes", filepath.Join(f.dir, name), limit)
	}
	return data, nil
}

// json reads a file into v, and leaves what the file does not name as it is. Keys
// that v does not have are passed by.
func (f folder) json(name string, limit int64, v any) error {
	data, err := f.read(name, limit)
	if err != nil {
		return err
	}
	if err := decode(data, v); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(f.dir, name), err)
	}
	return nil
}

// optional is json for a file that need not be there; it says whether it is.
func (f folder) optional(name string, limit int64, v any) (bool, error) {
	err := f.json(name, limit, v)
	if errors.Is(err, fs.ErrNotExist) && !f.has(name) {
		return false, nil
	}
	return err == nil, err
}

// decode reads one JSON value.
func decode(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(v); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("an empty file, want JSON")
		}
		return fmt.Errorf("not the JSON that is expected: %w", err)
	}
	if rest := bytes.TrimSpace(data[d.InputOffset():]); len(rest) > 0 {
		return errors.New("the file goes on after its JSON value")
	}
	return nil
}
