package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A run on a full disk fails with the reason, and continues once there is room.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	mount := func(flags uintptr, size string) error {
		return syscall.Mount("none", disk, "tmpfs", flags, "size="+size)
	}
	if err := mount(0, "6m"); err != nil { // room for one checkpoint
		t.Skipf("NOT RUN: a full disk: mounting a small file system needs root: %v", err)
	}
	defer syscall.Unmount(disk, 0)
	out := filepath.Join(disk, "run")
	args := []string{
		"--data", "scenes", "--scenes-size", "16", "--scenes-profiles", "10", "--steps", "12", "--save-every", "5",
		"--batch", "16", "--threads", "1", "--no-twin", "--no-report", "--quiet", "--out", out,
	}
	var stdout, stderr bytes.Buffer
	if status := run(context.Background(), args, &stdout, &stderr); status != 1 {
		t.Fatalf("exit status %d, want 1: %s%s", status, &stdout, &stderr)
	}
	if text := stderr.String(); !strings.Contains(text, "save step 10 ") || !strings.Contains(text, "no space left") {
		t.Fatalf("%q, want the step and the reason", text)
	}
	if stdout.Len() > 0 {
		t.Errorf("%q on standard output of a run that failed", &stdout)
	}

	if err := mount(syscall.MS_REMOUNT, "40m"); err != nil {
		t.Fatal(err)
	}
	stderr.Reset()
	if status := run(context.Background(), append(args, "--resume", "must"), &stdout, &stderr); status != 0 {
		t.Fatalf("with room: exit status %d: %s", status, &stderr)
	}
	if want := filepath.Join("checkpoints", "step-00000012") + "\n"; !strings.HasSuffix(stdout.String(), want) {
		t.Errorf("with room: %q, want a path that ends in %q", &stdout, want)
	}
}
