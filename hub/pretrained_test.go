package hub_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"relsim/hub"
	"relsim/hub/hubtest"
	"relsim/pretrained"
)

// TestPretrained: what is downloaded can be opened.
func TestPretrained(t *testing.T) {
	server := hubtest.New(t)
	for _, name := range []string{"clip", "dinov2", "minilm"} {
		dir := filepath.Join("..", "pretrained", "testdata", name)
		files := make(map[string][]byte)
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			rel, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			files[filepath.ToSlash(rel)], err = os.ReadFile(path)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		server.Add("org/"+name, &hubtest.Model{Files: files})
		want, err := pretrained.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		cache := t.TempDir()
		found, err := hub.Resolve(context.Background(), "org/"+name, hub.Options{Endpoint: server.URL, Cache: cache, Token: "hf_none"})
		if err != nil {
			t.Fatal(err)
		}
		got, err := pretrained.Open(found)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Family != want.Family || got.Dir != found {
			t.Errorf("%s: opened a %s in %s, want a %s", name, got.Family, got.Dir, want.Family)
		}
		if err := share(cache, filepath.Join(found, "model.safetensors")); err != nil {
			t.Fatal(err)
		}
		if _, err := pretrained.Open(found); err != nil {
			t.Errorf("%s, with a store that models share: %v", name, err)
		}
	}
}

// share moves a large file into the store that huggingface_hub has since 2.0: the blob is a link there.
func share(cache, path string) error {
	blob, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	const hash = "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789"
	store := filepath.Join(cache, "blobs", hash[:2])
	if err := os.MkdirAll(store, 0o755); err != nil {
		return err
	}
	if err := os.Rename(blob, filepath.Join(store, hash)); err != nil {
		return err
	}
	return os.Symlink(filepath.Join("..", "..", "blobs", hash[:2], hash), blob)
}
