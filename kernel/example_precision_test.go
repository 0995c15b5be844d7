package kernel_test

import (
	"fmt"

	"relsim/kernel"
)

// A third has no exact value in bfloat16: it is rounded to 0.333984375 on its way into
// the product.
func ExamplePool_With() {
	pool := kernel.NewPool(1)
	defer pool.Close()
	x, w, y := []float32{1, 1. / 3}, []float32{2, 3}, make([]float32, 1)
	for _, precision := range []kernel.Precision{kernel.Float32, kernel.BF16} {
		kernel.Linear(pool.With(precision), y, x, w, nil, 1, 2, 1)
		fmt.Println(precision, y)
	}
	// Output:
	// float32 [3]
	// bf16 [3.0019531]
}
