package common

import "math"

// The largest and the smallest argument of exp that matter: beyond them the result
// is infinite or zero. Below ExpMinNormal it is below the normal numbers.
const (
	ExpMax       = 89
	ExpMin       = -104
	ExpMinNormal = -88
)

// ExpPoly has the coefficients of exp(r) = 1 + r + r²·P(r) on |r| ≤ ln2/2, highest power
// first (Cephes, expf.c).
var ExpPoly = []float64{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1, 1}

// ln2 in two float32.
var (
	Ln2High = float64(float32(math.Ln2))
	Ln2Low  = math.Ln2 - Ln2High
)

// ErfcPoly is the half of erfc in ½erfc(z/√2) = exp(-z²/2)·t·P(t), t = 1/(1+ErfcScale·z):
// minimax in relative error, 1.5e-7, for 0 ≤ z ≤ 14. Highest power first.
var ErfcPoly = []float64{0.0356747692945, -0.157203063244, 0.206353474398, -0.0536836166216, 0.128561613075, 0.0999134958672, 0.120753955485, 0.119629298862}

// Numbers of the GELUs.
const (
	ErfcScale  = 0.3
	GELULimit  = 30
	GELUQuick  = 1.702
	GELUTanhA  = 1.5957691216057308 // 2·√(2/π)
	GELUTanhB  = 0.044715 * GELUTanhA
	QuickLimit = 100
	LogitLimit = 80
	InvSqrt2Pi = 0.3989422804014327
)
