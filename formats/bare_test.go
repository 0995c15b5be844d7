package formats_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"relsim/formats"
)

// Rows of which nothing is on the disk but they themselves are a data set for those who only read captions.
func TestBare(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"rows.jsonl":      `{"image_hash":"a","caption":"{Subject} growing","url_link":"https://example.org/a.png"}`,
		"rows.csv":        "image_hash,caption\na,{Subject} growing\n",
		"seed_group.json": `[{"anonymous_caption":"{Subject} growing","image_urls":["https://example.org/a.png"]}]`,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := formats.Open(t.Context(), path, formats.Options{}); err == nil {
			t.Errorf("%s: no folder of pictures, and no error", name)
		}
		ds, err := formats.Open(t.Context(), path, formats.Options{Bare: true})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if it := ds.Item(0); ds.Len() != 1 || it.Caption != "{Subject} growing" {
			t.Errorf("%s: %d rows, the first %+v", name, ds.Len(), it)
		}
		if _, err := ds.Image(t.Context(), 0); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: its picture: %v", name, err)
		}
		if _, err := formats.Open(t.Context(), path, formats.Options{Bare: true, Images: filepath.Join(dir, "none")}); err == nil {
			t.Errorf("%s: a folder that was named is not there, and no error", name)
		}
	}
}
