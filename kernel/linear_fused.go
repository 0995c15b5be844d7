package kernel

// LinearGELU is [Linear] followed by [GELU]:
//
//	h[r,o] = Σ_i x[r,i]·w[o,i] + bias[o]
//	y[r,o] = gelu(h[r,o])
//
// y and h are (rows, out), x (rows, in), w (out, in) and bias (out) or nil. h is
// left out if it is nil. y and h must not overlap one another, x or w. The results
// have the bits of the two kernels. It panics if a length does not fit or kind is
// unknown.
func LinearGELU(p *Pool, kind GELUKind, y, h, x, w, bias []float32, rows, in, out int) {
	const op = "LinearGELU"
	checkLinear(op, "y", y, "x", x, "w", w, rows, in, out)
	needKind(op, kind)
	checkBias(op, bias, out)
	sums := y
	if h != nil {
		checkLen(op, "h", h, rows*out)
		sums = h
	}
	e := epilogue{kind: epilogueGELU, form: kind, n: out, y: y}
	gemm(p, false, true, rows, out, in, x, in, w, in, sums, out, false, bias, e)
}

// LinearAdd is [Linear] followed by [Add], as at the end of a residual branch:
//
//	y[r,o] = (Σ_i x[r,i]·w[o,i] + bias[o]) + residual[r,o]
//
// y and residual are (rows, out), and may be the same slice; x is (rows, in), w
// (out, in) and bias (out) or nil. y must not overlap x or w. The result has the
// bits of the two kernels. It panics if a length does not fit.
func LinearAdd(p *Pool, y, x, w, bias, residual []float32, rows, in, out int) {
	const op = "LinearAdd"
	checkLinear(op, "y", y, "x", x, "w", w, rows, in, out)
	checkLen(op, "residual", residual, rows*out)
	checkBias(op, bias, out)
	e := epilogue{kind: epilogueAdd, n: out, y: y, x: residual}
	gemm(p, false, true, rows, out, in, x, in, w, in, e.sums(), out, false, bias, e)
}

// LinearDropoutAdd is [Linear] followed by [Dropout] and [Add]:
//
//	y[r,o] = dropout(Σ_i x[r,i]·w[o,i] + bias[o]) + residual[r,o]
//
// The shapes are those of [LinearAdd]; y may be residual. The mask is that which
// Dropout draws for a vector of rows·out elements with the same rate, seed and
// stream, and the result has the bits of the three kernels. It panics if a length
// does not fit or rate is not in [0, 1).
func LinearDropoutAdd(p *Pool, y, x, w, bias, residual []float32, rate float32, seed, stream uint64, rows, in, out int) {
	const op = "LinearDropoutAdd"
	checkLinear(op, "y", y, "x", x, "w", w, rows, in, out)
	checkLen(op, "residual", residual, rows*out)
	checkBias(op, bias, out)
	e := epilogue{kind: epilogueDropoutAdd, n: out, y: y, x: residual, mask: newDropoutMask(op, rate, seed, stream)}
	gemm(p, false, true, rows, out, in, x, in, w, in, e.sums(), out, false, bias, e)
}

// LinearGradXGELU is [LinearGradX] followed by [GELUGrad], for a layer whose input x
// is gelu(h):
//
//	dh[r,i] = (Σ_o dy[r,o]·w[o,i]) · gelu'(h[r,i])
//
// dh and h are (rows, in), and may be the same slice; dy is (rows, out) and w (out,
// in). dh must not overlap dy or w. The result has the bits of the two kernels. It
// panics if a length does not fit or kind is unknown.
func LinearGradXGELU(p *Pool, kind GELUKind, dh, dy, w, h []float32, rows, in, out int) {
	const op = "LinearGradXGELU"
	checkLinear(op, "dy", dy, "dh", dh, "w", w, rows, in, out)
	checkLen(op, "h", h, rows*in)
	needKind(op, kind)
	e := epilogue{kind: epilogueGELUGrad, form: kind, n: in, y: dh, x: h}
	gemm(p, false, false, rows, in, out, dy, out, w, in, e.sums(), in, false, nil, e)
}

// checkBias panics unless bias is nil or has a value for each output.
func checkBias(op string, bias []float32, out int) {
	if bias != nil {
		checkLen(op, "bias", bias, out)
	}
}
