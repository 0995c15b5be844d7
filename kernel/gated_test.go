package kernel

import (
	"math"
	"testing"
)

// The gate against its definition, with values that saturate it, and its gradient
// against the derivative.
func TestSwiGLU(t *testing.T) {
	eachShape(t, func(t *testing.T, what string, rows, cols int) {
		rng := newRand(11)
		x := input(normal(rng, 2*rows*cols, 4))
		for i := range x {
			if i%17 == 0 {
				x[i] *= 50
			}
		}
		dy := input(normal(rng, rows*cols, 1))
		y, dx := newGuarded(rows*cols), newGuarded(2*rows*cols)
		want, slopes := make([]float64, rows*cols), make([]float64, 2*rows*cols)
		for i := range want {
			r, c := i/cols, i%cols
			gate, value := float64(x[2*r*cols+c]), float64(x[(2*r+1)*cols+c])
			sigmoid := 1 / (1 + math.Exp(-gate))
			want[i] = gate * sigmoid * value
			slopes[2*r*cols+c] = float64(dy[i]) * value * sigmoid * (1 + gate*(1-sigmoid))
			slopes[(2*r+1)*cols+c] = float64(dy[i]) * gate * sigmoid
		}
		SwiGLU(nil, y.x, x, rows, cols)
		nearAll(t, what+" SwiGLU", y.x, want, 2e-6, 1e-5)
		y.check(t, what)
		SwiGLUGrad(nil, dx.x, x, dy, rows, cols)
		nearAll(t, what+" SwiGLUGrad", dx.x, slopes, 4e-6, 1e-4)
		dx.check(t, what)
		copied := append([]float32(nil), x...)
		SwiGLUGrad(nil, copied, copied, dy, rows, cols)
		sameBits(t, what+" in place", copied, dx.x)
	})
}

func TestSwiGLUSpecial(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	eachTier(t, func(t *testing.T) {
		y := make([]float32, 4)
		SwiGLU(nil, y, []float32{nan, inf, -inf, 1, 1, 2, 3, nan}, 1, 4)
		if y[0] == y[0] || y[1] != inf || y[2] != 0 || y[3] == y[3] {
			t.Errorf("gates NaN, +Inf, -Inf, and a value NaN: %v", y)
		}
	})
}

// Equal values: the first one has the gradient. What the mask hides is not looked
// at; a sequence without a token is zero.
func TestPoolMax(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		const batch, tokens, dim = 3, 5, maxChunk + 33
		rng := newRand(12)
		x := input(normal(rng, batch*tokens*dim, 1))
		for i := range x {
			x[i] = float32(math.Round(float64(x[i]) * 2)) // many are equal
		}
		mask := []float32{1, 0, 1, 1, 0, 0, 1, .5, 1, 1, 0, 0, 0, 0, 0}
		dy := input(normal(rng, batch*dim, 1))
		want, slopes := make([]float64, batch*dim), make([]float64, batch*tokens*dim)
		for i := range want {
			b, c, first := i/dim, i%dim, -1
			for k := range tokens {
				at := (b*tokens+k)*dim + c
				if mask[b*tokens+k] == 0 {
					x[at] = float32(math.NaN())
				} else if first < 0 || x[at] > x[first] {
					first = at
				}
			}
			if first >= 0 {
				want[i], slopes[first] = float64(x[first]), float64(dy[i])
			}
		}
		y, dx := newGuarded(batch*dim), newGuarded(batch*tokens*dim)
		PoolMax(nil, y.x, x, mask, batch, tokens, dim)
		nearAll(t, "PoolMax", y.x, want, 0, 0)
		y.check(t, "y")
		PoolMaxGrad(nil, dx.x, x, mask, dy, batch, tokens, dim)
		nearAll(t, "PoolMaxGrad", dx.x, slopes, 0, 0)
		dx.check(t, "dx")
		PoolMaxGrad(nil, x, x, mask, dy, batch, tokens, dim)
		sameBits(t, "in place", x, dx.x)

		one := []float32{1, float32(math.NaN()), 2}
		if PoolMax(nil, y.x[:1], one, []float32{1, 1, 1}, 1, 3, 1); y.x[0] == y.x[0] {
			t.Errorf("the largest of %v is %v, want NaN", one, y.x[0])
		}
	})
}
