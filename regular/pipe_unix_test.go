//go:build unix

package regular_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"relsim/regular"
)

// TestPipe opens a pipe that nobody writes to: it must not wait.
func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := regular.Read(path, 1); err == nil || !strings.Contains(err.Error(), "pipe: not a regular file") {
		t.Errorf("a pipe: %v", err)
	}
}
