package retrieval_test

import (
	"bytes"
	"context"
	"fmt"

	"relsim/checkpoints"
	"relsim/retrieval"
)

// An index of 8-bit codes is built piece by piece, saved and read again; the original vectors, here in memory, settle the
// order of what it finds.
func ExampleQuantized() {
	vectors := []float32{1, 0, 0.8, 0.6, 0, 1}
	index, err := retrieval.NewQuantized(2, 3)
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range 3 {
		if err := index.Add(vectors[2*i : 2*i+2]); err != nil {
			fmt.Println(err)
			return
		}
	}
	var file bytes.Buffer // checkpoints.WriteFile(path, index.Encode) for one on disk
	if err := index.Encode(&file); err != nil {
		fmt.Println(err)
		return
	}
	tensors, err := checkpoints.NewFile(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		fmt.Println(err)
		return
	}
	if index, err = retrieval.ReadQuantized(tensors); err != nil {
		fmt.Println(err)
		return
	}
	found, err := index.Search(context.Background(), []float32{0, 1}, retrieval.QuantizedSearch{
		K: 2, Originals: retrieval.InMemory(vectors, 2), Workers: 1,
	})
	fmt.Println(found, err)
	// Output: [{[{2 1} {1 0.6}] true}] <nil>
}
