package cuda

import (
	"bytes"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestCodeCacheDisk keeps code on a disk that is full, and on one that may only be read: what was there is used, what was not is
// made each time, and that is warned of once.
func TestCodeCacheDisk(t *testing.T) {
	dir := t.TempDir()
	mount := func(flags uintptr) error { return syscall.Mount("none", dir, "tmpfs", flags, "size=64k") }
	if err := mount(0); err != nil {
		t.Skip("NOT RUN: a full disk: mounting a small file system needs root: ", err)
	}
	defer syscall.Unmount(dir, 0)
	made := 0
	var warnings []string
	get := func(c *CodeCache, name string, size int) {
		t.Helper()
		want := bytes.Repeat([]byte("x"), size)
		code, err := c.Code([]string{name}, func() ([]byte, error) { made++; return want, nil })
		if err != nil || !bytes.Equal(code, want) {
			t.Fatalf("%d bytes, %v, want %d", len(code), err, size)
		}
	}
	open := func() *CodeCache {
		made, warnings = 0, nil
		return OpenCodeCache(dir, func(s string) { warnings = append(warnings, s) })
	}
	warned := func(want string) {
		t.Helper()
		if len(warnings) != 1 || !strings.Contains(warnings[0], want) || strings.Contains(warnings[0], "\n") {
			t.Errorf("warnings %q, want one line with %q", warnings, want)
		}
	}
	c := open()
	get(c, "small", 100)
	get(c, "large", 100<<10)
	get(c, "large", 100<<10)
	warned("no space left on device")
	if made != 3 {
		t.Errorf("full: made %d times, want 3", made)
	}
	if files, err := filepath.Glob(dir + "/*"); err != nil || len(files) != 1 {
		t.Errorf("full: files %v, %v, want the one that has room", files, err)
	}
	if hidden, err := filepath.Glob(dir + "/.*"); err != nil || len(hidden) != 0 {
		t.Errorf("full: files %v, %v are left behind", hidden, err)
	}
	if err := mount(syscall.MS_REMOUNT | syscall.MS_RDONLY); err != nil {
		t.Fatal(err)
	}
	c = open()
	get(c, "small", 100)
	if made != 0 || len(warnings) != 0 {
		t.Errorf("read-only: made %d times, warnings %q, want what is there", made, warnings)
	}
	get(c, "other", 100)
	get(c, "other", 100)
	warned("read-only file system")
	if made != 2 {
		t.Errorf("read-only: made %d times, want 2", made)
	}
}
