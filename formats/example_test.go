package formats_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"

	"relsim/dataloader"
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

// A list of rows with its pictures becomes shards of WebDataset.
func ExampleWrite() {
	dir, err := os.MkdirTemp("", "rows")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	var file bytes.Buffer
	if err := png.Encode(&file, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		fmt.Println(err)
		return
	}
	rows := []dataloader.Item{
		{ID: "4f0c", Caption: "{Subject} growing step by step", Family: -1, Profile: -1},
		{ID: "77aa", Caption: "{Object} inside of itself", Family: -1, Profile: -1},
	}
	ds := dataloader.NewRows("rows", "", rows, func(context.Context, int, []byte) ([]byte, error) { return file.Bytes(), nil })
	w, err := formats.Write(context.Background(), filepath.Join(dir, "shards", "{000000..}.tar"), ds, formats.WriteOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	again, err := formats.Open(context.Background(), filepath.Join(dir, "shards"), formats.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	it := again.Item(1)
	fmt.Println(w.Rows, w.Shards, it.ID, it.Caption, it.Row())
	// Output: 2 1 77aa {Object} inside of itself 000000.tar:77aa.png
}
