package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRunFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"runs/a/checkpoints/step-00000002", "lone/step-00000002"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "model.safetensors"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"latest": "step-00000002\n", "best": "step-00000002 0.5\n"} {
		if err := os.WriteFile(filepath.Join("runs/a/checkpoints", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ dir, path, want string }{
		{".", "runs/a", "runs/a"},
		{".", "runs/a/", "runs/a"},
		{".", "runs/a/best", "runs/a"},
		{".", "runs/a/latest", "runs/a"},
		{".", "runs/a/step-00000002", "runs/a"},
		{".", "runs/a/checkpoints", "runs/a"},
		{".", "runs/a/checkpoints/best", "runs/a"},
		{".", "runs/a/checkpoints/step-00000002", "runs/a"},
		{"runs/a", ".", "."},
		{"runs/a", "latest", "."},
		{"runs/a/checkpoints", ".", ".."},
		{"runs/a/checkpoints", "best", ".."},
		{"runs/a/checkpoints/step-00000002", ".", "../.."},
		{".", "lone/step-00000002", "lone/step-00000002"},
		{".", "none", "none"},
	} {
		t.Run(filepath.Join(tt.dir, tt.path), func(t *testing.T) {
			t.Chdir(tt.dir)
			if got := runFolder(filepath.FromSlash(tt.path)); got != filepath.FromSlash(tt.want) {
				t.Errorf("in %s: the run of %s is %s, want %s", tt.dir, tt.path, got, tt.want)
			}
		})
	}
}
