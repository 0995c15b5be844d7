package kernel_test

import (
	"fmt"

	"relsim/kernel"
)

func ExampleLayerNorm() {
	x := []float32{1, 2, 3, 4, -1, 0, 0, 1} // two rows of four
	gain, bias := []float32{1, 1, 1, 1}, []float32{0, 0, 0, 0}
	kernel.LayerNorm(nil, x, x, gain, bias, 2, 4, 1e-6)
	fmt.Printf("%.3f\n%.3f\n", x[:4], x[4:])
	// Output:
	// [-1.342 -0.447 0.447 1.342]
	// [-1.414 0.000 0.000 1.414]
}

func ExampleCrossEntropy() {
	logits := []float32{2, 1, 0, 0, 0, 0}
	targets := []float32{1, 0, 0, 0, 0.5, 0.5}
	loss := make([]float32, 2)
	kernel.CrossEntropy(nil, loss, logits, targets, 2, 3)
	fmt.Printf("%.4f\n", loss)
	// Output:
	// [0.4076 1.0986]
}

func ExampleDropout() {
	pool := kernel.NewPool(2)
	defer pool.Close()
	x := []float32{1, 1, 1, 1, 1, 1, 1, 1}
	y := make([]float32, len(x))
	kernel.Dropout(pool, y, x, 0.5, 1, 0)
	fmt.Println(y)
	kernel.Dropout(pool, y, x, 0.5, 1, 0) // the same seed and stream: the same mask
	fmt.Println(y)
	// Output:
	// [0 2 2 0 2 2 2 2]
	// [0 2 2 0 2 2 2 2]
}

func ExampleAdamW() {
	w, g := []float32{1, -1}, []float32{0.5, -0.25}
	m, v := make([]float32, 2), make([]float32, 2)
	kernel.AdamW(nil, w, g, m, v, kernel.AdamWStep{
		LR: 0.1, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8,
		Correction1: 1 - 0.9, Correction2: 1 - 0.999,
		GradScale: 1,
	})
	fmt.Printf("%.3f\n", w)
	// Output:
	// [0.900 -0.900]
}

func ExampleResizeRGB() {
	src := []byte{0, 0, 0, 255, 255, 255} // a black pixel and a white one
	dst := make([]byte, 4*3)
	kernel.ResizeRGB(dst, 4, 1, src, 2, 1, kernel.Bilinear)
	fmt.Println(dst)
	// Output:
	// [0 0 0 64 64 64 191 191 191 255 255 255]
}
