package formats_test

import (
	"os"
	"path/filepath"
	"testing"

	"relsim/formats"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rows.jsonl")
	if err := os.WriteFile(path, []byte(`{"image_hash":"a","caption":"{Subject} growing"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "images"), 0o777); err != nil {
		t.Fatal(err)
	}
	ds, err := formats.Open(t.Context(), path, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if it := ds.Item(0); ds.Len() != 1 || it.ID != "a" || it.Row() != "rows.jsonl:1" {
		t.Errorf("%d items, the first %+v", ds.Len(), it)
	}
}
