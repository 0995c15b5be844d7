package kernel

import "fmt"

// Linear is the forward pass of a dense layer:
//
//	y[r,o] = Σ_i x[r,i]·w[o,i] + bias[o]
//
// y is (rows, out), x (rows, in), w (out, in) and bias (out) or nil. y must not
// overlap x or w. It panics if a length does not fit.
func Linear(p *Pool, y, x, w, bias []float32, rows, in, out int) {
	checkLinear("Linear", "y", y, "x", x, "w", w, rows, in, out)
	checkBias("Linear", bias, out)
	gemm(p, false, true, rows, out, in, x, in, w, in, y, out, false, bias, epilogue{})
}

// LinearGradX is the gradient of [Linear] with respect to x:
//
//	dx[r,i] = Σ_o dy[r,o]·w[o,i]
//
// dx is (rows, in), dy (rows, out) and w (out, in). dx must not overlap dy or w.
func LinearGradX(p *Pool, dx, dy, w []float32, rows, in, out int) {
	checkLinear("LinearGradX", "dy", dy, "dx", dx, "w", w, rows, in, out)
	Gemm(p, false, false, rows, in, out, dy, out, w, in, dx, in, false)
}

// LinearGradW is the gradient of [Linear] with respect to w and bias:
//
//	dw[o,i] = Σ_r dy[r,o]·x[r,i]
//	dbias[o] = Σ_r dy[r,o]
//
// dw is (out, in), dbias (out) or nil, dy (rows, out) and x (rows, in).
func LinearGradW(p *Pool, dw, dbias, dy, x []float32, rows, in, out int) {
	checkLinear("LinearGradW", "dy", dy, "x", x, "dw", dw, rows, in, out)
	Gemm(p, true, false, out, in, rows, dy, out, x, in, dw, in, false)
	if dbias == nil {
		return
	}
	checkLen("LinearGradW", "dbias", dbias, out)
	ColSum(p, dbias, dy, rows, out)
}

func checkLinear(op, yn string, y []float32, xn string, x []float32, wn string, w []float32, rows, in, out int) {
	if rows < 0 || in < 0 || out < 0 {
		panic(fmt.Sprintf("kernel: %s: rows, in, out = %d, %d, %d", op, rows, in, out))
	}
	checkLen(op, ""+yn, y, rows*out)
	checkLen(op, ""+xn, x, rows*in)
	checkLen(op, ""+wn, w, out*in)
}
