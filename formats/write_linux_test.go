package formats

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"relsim/dataloader"
)

// On a file system that runs full nothing is left, and the error says why.
func TestWriteFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=128k"); err != nil {
		t.Skipf("NOT RUN: no file system of its own here: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	files := pictureFiles(t)
	var items []dataloader.Item
	var list [][]byte
	for i := range 100 {
		items = append(items, dataloader.Item{ID: fmt.Sprint(i), Caption: "c", Family: -1, Profile: -1})
		list = append(list, files[3])
	}
	for format, dst := range map[string]string{JSONL: "rows.jsonl", WebDataset: "d", Parquet: "a.parquet", Folder: "d", CSV: "d", Groups: "seed_group.json"} {
		_, err := Write(t.Context(), filepath.Join(dir, "new", dst), inMemory(items, list), WriteOptions{Format: format})
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: error %v", format, err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("%s: left behind %v", format, entries)
		}
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(t.Context(), filepath.Join(dir, "a.tar"), inMemory(items, list), WriteOptions{}); !errors.Is(err, syscall.EROFS) {
		t.Errorf("read-only: error %v", err)
	}
}
