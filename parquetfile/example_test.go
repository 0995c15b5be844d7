package parquetfile_test

import (
	"fmt"
	"os"

	"relsim/parquetfile"
)

// The pictures of a file are read page by page, in any order.
func ExampleColumn_Chunk() {
	r, err := os.Open("testdata/rust_pages.parquet")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		fmt.Println(err)
		return
	}
	f, err := parquetfile.Open(r, info.Size(), 1<<20)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f.NumRows(), "rows", f.Names())
	chunk, err := f.Member("image", "bytes").Chunk(0)
	if err != nil {
		fmt.Println(err)
		return
	}
	page, at := chunk.Page(3)
	b, err := chunk.Read(page)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("row 3: page %d, value %d: %q…\n", page, at, b.Values[at][:4])
	// Output:
	// 7 rows [image captions url]
	// row 3: page 1, value 1: "\x89PNG"…
}
