package checkpoints

import (
	"errors"
	"os"
	"slices"
	"syscall"
	"testing"
)

// On a real file system that is full, where the test may make one.
func TestFullFileSystem(t *testing.T) {
	run := t.TempDir()
	if err := syscall.Mount("tmpfs", run, "tmpfs", 0, "size=48k"); err != nil {
		t.Logf("NOT RUN: no file system of its own here (%v); TestFullDisk covers the same with a file that runs full", err)
		return
	}
	defer func() {
		if err := syscall.Unmount(run, 0); err != nil {
			t.Error(err)
		}
	}()
	save(t, run, 1)
	saved := 1
	for ; ; saved++ {
		_, err := Save(run, saved+1, snapshot(saved+1))
		if err == nil {
			if saved > 10 {
				t.Fatal("the file system does not run full")
			}
			continue
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		break
	}
	before := entries(t, run)
	if slices.ContainsFunc(before, func(name string) bool { return name[0] == '.' }) {
		t.Errorf("left behind: %v", before)
	}
	checkWhole(t, run, saved)
	if err := os.RemoveAll(run + "/checkpoints/step-00000001"); err != nil {
		t.Fatal(err)
	}
	save(t, run, saved+1)
	checkWhole(t, run, saved+1)
}
