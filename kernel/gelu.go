package kernel

import "fmt"

// GELUKind says which form of the Gaussian error linear unit is meant.
type GELUKind int

// The forms of GELU (Hendrycks, Gimpel, arXiv:1606.08415).
const (
	GELUErf   GELUKind = iota // x·Φ(x), with the exact normal distribution
	GELUTanh                  // x·½(1 + tanh(√(2/π)(x + 0.044715x³)))
	GELUQuick                 // x·σ(1.702x), as in CLIP
)

// String names the form as configuration files do.
func (k GELUKind) String() string {
	switch k {
	case GELUErf:
		return "gelu"
	case GELUTanh:
		return "gelu_tanh"
	case GELUQuick:
		return "quick_gelu"
	}
	return fmt.Sprintf("GELUKind(%d)", int(k))
}

// GELU applies the activation to each element:
//
//	y[i] = gelu(x[i])
//
// y may be x. The result is within 1e-6·max(1, |exact|) of the exact one. NaN
// gives NaN, +Inf gives +Inf, -Inf gives zero.
//
// GELU panics if the lengths differ or kind is unknown.
//
// Source: Hendrycks, Gimpel, arXiv:1606.08415.
func GELU(p *Pool, kind GELUKind, y, x []float32) {
	needLen("GELU", "x", len(x), len(y))
	needKind("GELU", kind)
	s := newSweep()
	s.y, s.a, s.kind = y, x, kind
	s.over(p, pieces(len(y)), geluPiece)
	s.free()
}

func geluPiece(s *sweep, i int) {
	lo, hi := piece(i, len(s.y))
	s.kind.row(s.y[lo:hi], s.a[lo:hi])
}

// row: y = gelu(x).
func (k GELUKind) row(y, x []float32) {
	switch k {
	case GELUErf:
		geluErfRow(y, x)
	case GELUTanh:
		geluTanhRow(y, x)
	case GELUQuick:
		geluQuickRow(y, x)
	}
}

// GELUGrad is the gradient of [GELU]:
//
//	dx[i] = dy[i] * gelu'(x[i])
//
// dx may be dy or x. The derivative is within 2e-6 of the exact one; it is 0 at
// -Inf and 1 at +Inf.
//
// GELUGrad panics if the lengths differ or kind is unknown.
func GELUGrad(p *Pool, kind GELUKind, dx, x, dy []float32) {
	needLen("GELUGrad", "x", len(x), len(dx))
	needLen("GELUGrad", "dy", len(dy), len(dx))
	needKind("GELUGrad", kind)
	s := newSweep()
	s.y, s.a, s.b, s.kind = dx, x, dy, kind
	s.over(p, pieces(len(dx)), geluGradPiece)
	s.free()
}

func geluGradPiece(s *sweep, i int) {
	lo, hi := piece(i, len(s.y))
	s.kind.gradRow(s.y[lo:hi], s.a[lo:hi], s.b[lo:hi])
}

// gradRow: dx = dy * gelu'(x).
func (k GELUKind) gradRow(dx, x, dy []float32) {
	switch k {
	case GELUErf:
		geluErfGradRow(dx, x, dy)
	case GELUTanh:
		geluTanhGradRow(dx, x, dy)
	case GELUQuick:
		geluQuickGradRow(dx, x, dy)
	}
}

func needKind(op string, kind GELUKind) {
	if kind < GELUErf || kind > GELUQuick {
		panic(fmt.Sprintf("kernel: %s: unknown kind %d", op, int(kind)))
	}
}
