package dataloader

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A cache on a real file system that runs full, where the test may make one: it is
// said once, no picture is lost, and nothing is left behind.
func TestFullCache(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=48k"); err != nil {
		t.Logf("NOT RUN: no file system of its own here (%v)", err)
		return
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	plain, tr := jpegSet(t, 16), Transform{Size: 48}
	want := squares(t, plain, tr)
	var w warnings
	c := OpenCache(dir, 1<<20, w.add)
	ds := WithCache(plain, c)
	for range 2 {
		sameSquares(t, squares(t, ds, tr), want)
	}
	w.want(t, "no space left on device: what is there is used")
	s := c.Stats()
	files := entries(t, dir)
	if s.Written < 2 || s.Written > 6 || s.Hits != s.Written || len(files) != s.Written || s.Bytes != int64(s.Written*(cacheHeader+3*48*48)) {
		t.Errorf("%+v with %d files", s, len(files))
	}
	for _, file := range files {
		if strings.HasPrefix(filepath.Base(file), cachePrefix) {
			t.Errorf("left behind: %s", file)
		}
	}
}
