package embeddings_test

import (
	"fmt"
	"os"
	"path/filepath"

	"relsim/embeddings"
)

func Example() {
	dir, err := os.MkdirTemp("", "embeddings")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "pictures.npz") // .parquet holds the same
	err = embeddings.Write(path, &embeddings.Table{
		IDs:     []string{"match", "banana"},
		Dim:     2,
		Vectors: []float32{0.8, 0.6, 0.6, 0.8},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	table, err := embeddings.Read(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	vectors, missing, err := table.Select([]string{"banana", "peach"})
	fmt.Println(vectors, missing, err)
	// Output: [0.6 0.8 0 0] [peach] <nil>
}
