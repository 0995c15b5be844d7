package kernel

import "math"

// The kernels in this file work on one row: contiguous elements, few enough that
// assembly may run over them without a preemption point. Each function calls the
// implementation of the active tier; the ...Generic function beside it says in Go
// what every implementation computes. Slices of one call have equal lengths,
// which may be zero, and may be the same slice unless said otherwise.

var (
	addKernel           = newDispatch(addGeneric)
	mulKernel           = newDispatch(mulGeneric)
	mulAddKernel        = newDispatch(mulAddGeneric)
	axpyKernel          = newDispatch(axpyGeneric)
	scaleKernel         = newDispatch(scaleGeneric)
	addScalarKernel     = newDispatch(addScalarGeneric)
	combineKernel       = newDispatch(combineGeneric)
	expKernel           = newDispatch(expGeneric)
	maxKernel           = newDispatch(maxGeneric)
	expSumKernel        = newDispatch(expSumGeneric)
	sumExpKernel        = newDispatch(sumExpGeneric)
	softmaxKernel       = newDispatch(softmaxGeneric)
	softmaxGradKernel   = newDispatch(softmaxGradGeneric)
	sumKernel           = newDispatch(sumGeneric)
	dotKernel           = newDispatch(dotGeneric)
	finiteKernel        = newDispatch(finiteGeneric)
	colSumKernel        = newDispatch(colSumGeneric)
	accumulateKernel    = newDispatch(accumulateGeneric)
	momentsKernel       = newDispatch(momentsGeneric)
	normalizeKernel     = newDispatch(normalizeGeneric)
	normGradSumsKernel  = newDispatch(normGradSumsGeneric)
	normGradKernel      = newDispatch(normGradGeneric)
	geluErfKernel       = newDispatch(geluErfGeneric)
	geluTanhKernel      = newDispatch(geluTanhGeneric)
	geluQuickKernel     = newDispatch(geluQuickGeneric)
	geluErfGradKernel   = newDispatch(geluErfGradGeneric)
	geluTanhGradKernel  = newDispatch(geluTanhGradGeneric)
	geluQuickGradKernel = newDispatch(geluQuickGradGeneric)
	dropoutKernel       = newDispatch(dropoutGeneric)
	adamWKernel         = newDispatch(adamWGeneric)
)

// addRow: y = a + b.
func addRow(y, a, b []float32) { addKernel.get()(y, a, b) }

func addGeneric(y, a, b []float32) {
	a, b = a[:len(y)], b[:len(y)]
	for i := range y {
		y[i] = a[i] + b[i]
	}
}

// mulRow: y = a * b.
func mulRow(y, a, b []float32) { mulKernel.get()(y, a, b) }

func mulGeneric(y, a, b []float32) {
	a, b = a[:len(y)], b[:len(y)]
	for i := range y {
		y[i] = a[i] * b[i]
	}
}

// mulAddRow: y += a * b.
func mulAddRow(y, a, b []float32) { mulAddKernel.get()(y, a, b) }

func mulAddGeneric(y, a, b []float32) {
	a, b = a[:len(y)], b[:len(y)]
	for i := range y {
		y[i] += a[i] * b[i]
	}
}

// axpyRow: y += alpha * x.
func axpyRow(y, x []float32, alpha float32) { axpyKernel.get()(y, x, alpha) }

func axpyGeneric(y, x []float32, alpha float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] += alpha * x[i]
	}
}

// scaleRow: y = alpha * x.
func scaleRow(y, x []float32, alpha float32) { scaleKernel.get()(y, x, alpha) }

func scaleGeneric(y, x []float32, alpha float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] = alpha * x[i]
	}
}

// addScalarRow: y = x + alpha.
func addScalarRow(y, x []float32, alpha float32) { addScalarKernel.get()(y, x, alpha) }

func addScalarGeneric(y, x []float32, alpha float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] = x[i] + alpha
	}
}

// combineRow: y = alpha * a + beta * b.
func combineRow(y, a, b []float32, alpha, beta float32) { combineKernel.get()(y, a, b, alpha, beta) }

func combineGeneric(y, a, b []float32, alpha, beta float32) {
	a, b = a[:len(y)], b[:len(y)]
	for i := range y {
		y[i] = alpha*a[i] + beta*b[i]
	}
}

// expRow: y = exp(x).
func expRow(y, x []float32) { expKernel.get()(y, x) }

func expGeneric(y, x []float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] = float32(exp64(float64(x[i])))
	}
}

// exp64 is the exponential to within 1e-8 relative where the result is a float32.
// Beyond, it may be zero or infinite already. It is NaN for NaN.
func exp64(x float64) float64 {
	if !(x < 150) {
		return x * math.Inf(1)
	}
	if x < -150 {
		return 0
	}
	const up = 1 << 10 // makes the truncation round down
	n := int64(x*math.Log2E+(up+0.5)) - up
	r := x - float64(n)*math.Ln2
	square := r * r
	e := (1 + r) + square*((1./2+r*(1./6))+square*((1./24+r*(1./120))+square*(1./720+r*(1./5040))))
	return e * math.Float64frombits(uint64(n+1023)<<52)
}

// maxRow is the largest element, -Inf for an empty row. A NaN in the row may or
// may not be the result: those who subtract the result from the row meet it.
func maxRow(x []float32) float32 { return maxKernel.get()(x) }

func maxGeneric(x []float32) float32 {
	m := float32(math.Inf(-1))
	for _, v := range x {
		if v > m {
			m = v
		}
	}
	return m
}

// expSumRow: dst = exp(scale*src - max); it returns the sum of dst, added in
// float32. What is below 2e-38 may be zero, and what is above 2e38 infinite. A dst
// of thousands should be cut, for the sum's sake.
func expSumRow(dst, src []float32, scale, max float32) float32 {
	return expSumKernel.get()(dst, src, scale, max)
}

func expSumGeneric(dst, src []float32, scale, max float32) float32 {
	src = src[:len(dst)]
	var sum float64
	for i := range dst {
		e := float32(exp64(float64(scale*src[i] - max)))
		dst[i] = e
		sum += float64(e)
	}
	return float32(sum)
}

// sumExpRow returns the sum of exp(x - max), with the limits of expSumRow.
func sumExpRow(x []float32, max float32) float32 { return sumExpKernel.get()(x, max) }

func sumExpGeneric(x []float32, max float32) float32 {
	var sum float64
	for _, v := range x {
		sum += exp64(float64(v - max))
	}
	return float32(sum)
}

// softmaxRow: y = exp(x - max(x)) / Σ exp(x - max(x)), with the limits of expSumRow.
func softmaxRow(y, x []float32) { softmaxKernel.get()(y, x) }

func softmaxGeneric(y, x []float32) {
	scaleGeneric(y, y, 1/expSumGeneric(y, x, 1, maxGeneric(x)))
}

// softmaxGradRow: ds = p * (dp - dot) * scale.
func softmaxGradRow(ds, p, dp []float32, scale, dot float32) {
	softmaxGradKernel.get()(ds, p, dp, scale, dot)
}

func softmaxGradGeneric(ds, p, dp []float32, scale, dot float32) {
	p, dp = p[:len(ds)], dp[:len(ds)]
	for i := range ds {
		ds[i] = p[i] * (dp[i] - dot) * scale
	}
}

// sumRow returns the sum of x, added in float64.
func sumRow(x []float32) float64 { return sumKernel.get()(x) }

func sumGeneric(x []float32) float64 {
	var s0, s1, s2, s3 float64
	for ; len(x) >= 4; x = x[4:] {
		s0 += float64(x[0])
		s1 += float64(x[1])
		s2 += float64(x[2])
		s3 += float64(x[3])
	}
	for _, v := range x {
		s0 += float64(v)
	}
	return (s0 + s1) + (s2 + s3)
}

// dotRow returns the inner product of a and b, multiplied and added in float64.
func dotRow(a, b []float32) float64 { return dotKernel.get()(a, b) }

func dotGeneric(a, b []float32) float64 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float64
	for ; len(a) >= 4 && len(b) >= 4; a, b = a[4:], b[4:] {
		s0 += float64(a[0]) * float64(b[0])
		s1 += float64(a[1]) * float64(b[1])
		s2 += float64(a[2]) * float64(b[2])
		s3 += float64(a[3]) * float64(b[3])
	}
	for i, v := range a {
		s0 += float64(v) * float64(b[i])
	}
	return (s0 + s1) + (s2 + s3)
}

// finiteRow reports whether x has neither NaN nor an infinity.
func finiteRow(x []float32) bool { return finiteKernel.get()(x) }

func finiteGeneric(x []float32) bool {
	for _, v := range x {
		if math.Float32bits(v)&0x7f800000 == 0x7f800000 {
			return false
		}
	}
	return true
}

// colSumRows: dst = the sum over the rows of x (rows, len(dst)). dst and x must
// not overlap.
func colSumRows(dst, x []float32, rows int) { colSumKernel.get()(dst, x, rows) }

func colSumGeneric(dst, x []float32, rows int) {
	clear(dst)
	for r := range rows {
		addGeneric(dst, dst, x[r*len(dst):(r+1)*len(dst)])
	}
}

// accumulateRow: sum += x.
func accumulateRow(sum []float64, x []float32) { accumulateKernel.get()(sum, x) }

func accumulateGeneric(sum []float64, x []float32) {
	x = x[:len(sum)]
	for i := range sum {
		sum[i] += float64(x[i])
	}
}

// momentsRow returns a rough mean of x, and the sum of the distances from it and
// of their squares: with n elements the mean is shift + sum/n, and the variance
// squares/n - (sum/n)². The errors of sum and squares are relative to the spread
// of x, however large its mean.
func momentsRow(x []float32) (shift, sum, squares float32) { return momentsKernel.get()(x) }

func momentsGeneric(x []float32) (shift, sum, squares float32) {
	shift = float32(sumGeneric(x) / float64(len(x)))
	var s, q float64
	for _, v := range x {
		d := float64(v - shift)
		s += d
		q += d * d
	}
	return shift, float32(s), float32(q)
}

// normalizeRow: y = (x - mean - rest) * rstd * gain + bias.
func normalizeRow(y, x, gain, bias []float32, mean, rest, rstd float32) {
	normalizeKernel.get()(y, x, gain, bias, mean, rest, rstd)
}

func normalizeGeneric(y, x, gain, bias []float32, mean, rest, rstd float32) {
	x, gain, bias = x[:len(y)], gain[:len(y)], bias[:len(y)]
	for i := range y {
		y[i] = (x[i]-mean-rest)*rstd*gain[i] + bias[i]
	}
}

// normGradSumsRow, with x̂ = (x - mean - rest) * rstd: dgain += dy * x̂ and
// dbias += dy; it returns Σ dy·gain and Σ dy·gain·x̂. dgain and dbias
// must not overlap anything.
func normGradSumsRow(dgain, dbias, dy, x, gain []float32, mean, rest, rstd float32) (sum, dot float64) {
	return normGradSumsKernel.get()(dgain, dbias, dy, x, gain, mean, rest, rstd)
}

func normGradSumsGeneric(dgain, dbias, dy, x, gain []float32, mean, rest, rstd float32) (sum, dot float64) {
	n := len(dy)
	dgain, dbias, x, gain = dgain[:n], dbias[:n], x[:n], gain[:n]
	for i, d := range dy {
		h := (x[i] - mean - rest) * rstd
		dgain[i] += d * h
		dbias[i] += d
		d *= gain[i]
		sum += float64(d)
		dot += float64(d) * float64(h)
	}
	return sum, dot
}

// normGradRow, with x̂ = (x - mean - rest) * rstd:
// dx = rstd * (dy*gain - a - x̂*b).
func normGradRow(dx, dy, x, gain []float32, mean, rest, rstd, a, b float32) {
	normGradKernel.get()(dx, dy, x, gain, mean, rest, rstd, a, b)
}

func normGradGeneric(dx, dy, x, gain []float32, mean, rest, rstd, a, b float32) {
	dy, x, gain = dy[:len(dx)], x[:len(dx)], gain[:len(dx)]
	for i := range dx {
		dx[i] = rstd * (dy[i]*gain[i] - a - (x[i]-mean-rest)*rstd*b)
	}
}

// Beyond these limits the forms of GELU are 0 or x in float32 with all but the
// sign; the argument is held within them so that no 0·Inf arises.
const geluLimit = 30

// upperTail is ½erfc(z/√2) for z ≥ 0, given exp(-z²/2): exp(-z²/2)·t·P(t) with
// t = 1/(1+0.3z), where P is minimax in relative error, 1.5e-7, for z ≤ 14.
func upperTail(z, e float64) float64 {
	t := 1 / (1 + 0.3*z)
	p := 0.128561613075 + t*(-0.0536836166216+t*(0.206353474398+t*(-0.157203063244+t*0.0356747692945)))
	return e * t * (0.119629298862 + t*(0.120753955485+t*(0.0999134958672+t*p)))
}

// geluErfRow: y = x·Φ(x).
func geluErfRow(y, x []float32) { geluErfKernel.get()(y, x) }

func geluErfGeneric(y, x []float32) {
	x = x[:len(y)]
	for i, v := range x {
		z := max(float64(v), -geluLimit)
		phi := upperTail(math.Abs(z), exp64(-z*z/2))
		if z > 0 {
			phi = 1 - phi
		}
		y[i] = float32(z * phi)
	}
}

// geluErfGradRow: dx = dy * (Φ(x) + x·φ(x)).
func geluErfGradRow(dx, x, dy []float32) { geluErfGradKernel.get()(dx, x, dy) }

func geluErfGradGeneric(dx, x, dy []float32) {
	x, dy = x[:len(dx)], dy[:len(dx)]
	for i := range dx {
		z := min(max(float64(x[i]), -geluLimit), geluLimit)
		e := exp64(-z * z / 2)
		phi := upperTail(math.Abs(z), e)
		if z > 0 {
			phi = 1 - phi
		}
		dx[i] = dy[i] * float32(phi+z*e*(1/math.Sqrt(2*math.Pi)))
	}
}

// The tanh form as x·σ(u), u = x·(geluTanhA + geluTanhB·x²).
const (
	geluTanhA = 1.5957691216057308 // 2·√(2/π)
	geluTanhB = 0.044715 * geluTanhA
)

// geluTanhRow: y = x·½(1 + tanh(√(2/π)(x + 0.044715x³))).
func geluTanhRow(y, x []float32) { geluTanhKernel.get()(y, x) }

func geluTanhGeneric(y, x []float32) {
	x = x[:len(y)]
	for i, v := range x {
		z := max(float64(v), -geluLimit)
		y[i] = float32(z / (1 + exp64(-z*(geluTanhA+geluTanhB*z*z))))
	}
}

// geluTanhGradRow: dx = dy times the derivative of geluTanhRow at x.
func geluTanhGradRow(dx, x, dy []float32) { geluTanhGradKernel.get()(dx, x, dy) }

func geluTanhGradGeneric(dx, x, dy []float32) {
	x, dy = x[:len(dx)], dy[:len(dx)]
	for i := range dx {
		z := min(max(float64(x[i]), -geluLimit), geluLimit)
		e := exp64(min(-z*(geluTanhA+geluTanhB*z*z), 80))
		sig := 1 / (1 + e)
		dx[i] = dy[i] * float32(sig+z*sig*sig*e*(geluTanhA+3*geluTanhB*z*z))
	}
}

// geluQuickFactor is the factor of the quick form.
const geluQuickFactor = 1.702

// geluQuickRow: y = x·σ(1.702x).
func geluQuickRow(y, x []float32) { geluQuickKernel.get()(y, x) }

func geluQuickGeneric(y, x []float32) {
	x = x[:len(y)]
	for i, v := range x {
		z := max(float64(v), -100)
		y[i] = float32(z / (1 + exp64(-geluQuickFactor*z)))
	}
}

// geluQuickGradRow: dx = dy * σ(u)·(1 + u·(1-σ(u))), u = 1.702x.
func geluQuickGradRow(dx, x, dy []float32) { geluQuickGradKernel.get()(dx, x, dy) }

func geluQuickGradGeneric(dx, x, dy []float32) {
	x, dy = x[:len(dx)], dy[:len(dx)]
	for i := range dx {
		u := min(max(geluQuickFactor*float64(x[i]), -80), 80)
		e := exp64(-u)
		sig := 1 / (1 + e)
		dx[i] = dy[i] * float32(sig+u*sig*sig*e)
	}
}

// dropoutRow: y = x * (scale if the random number of the element is at least
// threshold, else 0). The elements have the numbers first, first+1, ….
func dropoutRow(y, x []float32, scale float32, threshold, first, key0, key1 uint32) {
	dropoutKernel.get()(y, x, scale, threshold, first, key0, key1)
}

func dropoutGeneric(y, x []float32, scale float32, threshold, first, key0, key1 uint32) {
	x = x[:len(y)]
	for i := range y {
		h := (first+uint32(i))*0x9e3779b1 ^ key0
		h = (h ^ h>>16) * 0x7feb352d
		h = (h^h>>15)*0x846ca68b + key1
		h = (h ^ h>>16) * 0x7feb352d
		h ^= h >> 15
		f := scale
		if h < threshold {
			f = 0
		}
		y[i] = x[i] * f
	}
}

// adamWRow updates w, m and v; see [AdamW].
func adamWRow(w, g, m, v []float32, c *adamWCoef) { adamWKernel.get()(w, g, m, v, c) }

func adamWGeneric(w, g, m, v []float32, c *adamWCoef) {
	g, m, v = g[:len(w)], m[:len(w)], v[:len(w)]
	for i := range w {
		d := c.scale * g[i]
		mi := c.beta1*m[i] + c.rest1*d
		vi := c.beta2*v[i] + c.rest2*d*d
		m[i], v[i] = mi, vi
		w[i] = w[i]*c.keep - c.rate*(mi/(float32(math.Sqrt(float64(vi)))*c.root+c.eps))
	}
}
