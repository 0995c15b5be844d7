package embeddings

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A pipe that nobody writes to is refused, not waited for.
func TestReadPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npz")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "a.npz: not a regular file") {
		t.Errorf("error %v", err)
	}
}
