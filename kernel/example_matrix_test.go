package kernel_test

import (
	"fmt"
	"math"

	"relsim/kernel"
)

func ExampleGemm() {
	a := []float32{1, 2, 3, 4, 5, 6} // (2, 3)
	b := []float32{1, 0, 2, 1, 0, 1} // (2, 3), used as its transpose (3, 2)
	c := make([]float32, 4)
	kernel.Gemm(nil, false, true, 2, 2, 3, a, 3, b, 3, c, 2, false)
	fmt.Println(c)
	// Output: [7 4 16 10]
}

func ExampleLinear() {
	pool := kernel.NewPool(2)
	defer pool.Close()
	x := []float32{1, 2, 3, 4} // two rows of two
	w := []float32{1, 1, 1, -1, 0, 2}
	bias := []float32{0, 10, 100}
	y := make([]float32, 6)
	kernel.Linear(pool, y, x, w, bias, 2, 2, 3)
	fmt.Println(y)
	// Output: [3 9 104 7 9 108]
}

func ExampleLinearGradW() {
	x := []float32{1, 2, 3, 4}
	dy := []float32{1, 0, 1, 1}
	dw, dbias := make([]float32, 4), make([]float32, 2)
	kernel.LinearGradW(nil, dw, dbias, dy, x, 2, 2, 2)
	fmt.Println(dw, dbias)
	// Output: [4 6 3 4] [2 1]
}

func ExampleLinearGradX() {
	w := []float32{1, 2, 3, 4}
	dy := []float32{1, 0, 1, 1}
	dx := make([]float32, 4)
	kernel.LinearGradX(nil, dx, dy, w, 2, 2, 2)
	fmt.Println(dx)
	// Output: [1 2 4 6]
}

func ExampleConv2D() {
	// Horizontal differences of one 3×3 picture of one channel.
	c := kernel.ConvShape{Batch: 1, InC: 1, InH: 3, InW: 3, OutC: 1, KH: 1, KW: 2, StrideH: 1, StrideW: 1}
	x := []float32{
		0, 1, 3,
		0, 2, 6,
		5, 5, 5,
	}
	y := make([]float32, c.OutH()*c.OutW())
	kernel.Conv2D(nil, y, x, []float32{-1, 1}, nil, c)
	fmt.Println(y)
	// Output: [1 2 2 4 0 0]
}

func ExampleConv2DGradX() {
	c := kernel.ConvShape{Batch: 1, InC: 1, InH: 1, InW: 3, OutC: 1, KH: 1, KW: 2, StrideH: 1, StrideW: 1}
	dx := make([]float32, 3)
	kernel.Conv2DGradX(nil, dx, []float32{1, 10}, []float32{-1, 1}, c)
	fmt.Println(dx)
	// Output: [-1 -9 10]
}

func ExampleConv2DGradW() {
	c := kernel.ConvShape{Batch: 1, InC: 1, InH: 1, InW: 3, OutC: 1, KH: 1, KW: 2, StrideH: 1, StrideW: 1}
	dw, dbias := make([]float32, 2), make([]float32, 1)
	kernel.Conv2DGradW(nil, dw, dbias, []float32{1, 10}, []float32{3, 4, 5}, c)
	fmt.Println(dw, dbias)
	// Output: [43 54] [11]
}

func ExampleAttention() {
	// One head of width 1; with all scores equal, each token sees the mean of the
	// values up to its own.
	s := kernel.AttentionShape{Batch: 1, Tokens: 3, Heads: 1, HeadDim: 1, Causal: true}
	qkv := []float32{ // q, k, v
		0, 1, 2,
		0, 1, 4,
		0, 1, 9,
	}
	o, lse := make([]float32, 3), make([]float32, 3)
	kernel.Attention(nil, o, lse, qkv, nil, s)
	fmt.Println(o)
	// Output: [2 3 5]
}

func ExampleAttentionGrad() {
	s := kernel.AttentionShape{Batch: 1, Tokens: 2, Heads: 1, HeadDim: 1}
	qkv := []float32{0, 1, 2, 0, 1, 4}
	o, lse, dqkv := make([]float32, 2), make([]float32, 2), make([]float32, 6)
	kernel.Attention(nil, o, lse, qkv, nil, s)
	kernel.AttentionGrad(nil, dqkv, []float32{1, 1}, o, lse, qkv, nil, s)
	fmt.Println("dv:", math.Round(float64(dqkv[2])*1e5)/1e5, math.Round(float64(dqkv[5])*1e5)/1e5)
	// Output: dv: 1 1
}

func ExamplePool() {
	pool := kernel.NewPool(2)
	defer pool.Close()
	squares := make([]int, 5)
	pool.Run(len(squares), func(i int) { squares[i] = i * i })
	fmt.Println(squares)
	// Output: [0 1 4 9 16]
}

func ExampleSetTier() {
	restore, err := kernel.SetTier(kernel.Generic)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer restore()
	fmt.Println(kernel.Active())
	// Output: generic
}

func ExampleLinearGELU() {
	x := []float32{1, 2}
	w := []float32{3, -4, 0.5, 0.25} // two outputs
	y, h := make([]float32, 2), make([]float32, 2)
	kernel.LinearGELU(nil, kernel.GELUErf, y, h, x, w, nil, 1, 2, 2)
	fmt.Printf("%.3f of %v\n", y, h)
	// Output: [-0.000 0.841] of [-5 1]
}

func ExampleLinearAdd() {
	x := []float32{10, 20, 30} // the residual stream, one row
	branch := []float32{1, 2}
	w := []float32{1, 0, 0, 1, 1, 1}
	kernel.LinearAdd(nil, x, branch, w, []float32{0.5, 0.5, 0.5}, x, 1, 2, 3)
	fmt.Println(x)
	// Output: [11.5 22.5 33.5]
}

func ExampleLinearDropoutAdd() {
	x, y := []float32{10, 20, 30, 40}, make([]float32, 4)
	w := []float32{1, 1, 1, 1}
	kernel.LinearDropoutAdd(nil, y, []float32{1}, w, nil, x, 0.5, 7, 9, 1, 1, 4)
	fmt.Println(y)
	// Output: [10 20 32 40]
}

func ExampleLinearGradXGELU() {
	h := []float32{0, 100} // of one row; the activation's slope there is a half, and one
	dy := []float32{1}
	w := []float32{3, 5}
	dh := make([]float32, 2)
	kernel.LinearGradXGELU(nil, kernel.GELUErf, dh, dy, w, h, 1, 2, 1)
	fmt.Printf("%.3f\n", dh)
	// Output: [1.500 5.000]
}
