package dataloader

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestListPictures(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.PNG", "a.webp", "c.txt", ".d.png", "e.jpeg"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "f.png"), 0o755); err != nil {
		t.Fatal(err)
	}
	got, err := ListPictures(dir)
	want := []string{filepath.Join(dir, "a.webp"), filepath.Join(dir, "b.PNG"), filepath.Join(dir, "e.jpeg")}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if _, err := ListPictures(filepath.Join(dir, "none")); err == nil {
		t.Error("no folder: no error")
	}

	ds := Files("some", got)
	if ds.Len() != 3 || ds.Item(1).Path != want[1] || ds.Item(1).ID != want[1] || ds.Name() != "some" {
		t.Errorf("%d items, the second %+v", ds.Len(), ds.Item(1))
	}
	if ds.Fingerprint() == Files("some", got[:2]).Fingerprint() || ds.Fingerprint() != Files("some", want).Fingerprint() {
		t.Error("the fingerprint does not go with the files")
	}
	if _, err := ds.Image(context.Background(), 0); err == nil {
		t.Error("an empty file is a picture")
	}
}
