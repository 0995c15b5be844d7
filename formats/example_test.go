package formats_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"relsim/formats"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "rows")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "captions.jsonl")
	rows := `{"image_hash":"4f0c","caption":"{Subject} growing step by step","url_link":"https://example.org/a.png"}
{"caption":"no picture"}`
	if err := os.WriteFile(path, []byte(rows), 0o666); err != nil {
		fmt.Println(err)
		return
	}
	_, err = formats.Open(context.Background(), path, formats.Options{Images: dir})
	fmt.Println(err)
	// Output:
	// formats: captions.jsonl:2: missing "image_hash"
}
