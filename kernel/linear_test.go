package kernel

import (
	"fmt"
	"math"
	"testing"
)

func TestLinear(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		pool := NewPool(2)
		defer pool.Close()
		for i, s := range []struct{ rows, in, out int }{
			{1, 1, 1}, {5, 3, 7}, {64, 96, 288}, {33, 192, 96}, {19, 50, 49}, {3, 5, 0}, {0, 5, 3}, {4, 0, 3},
			{10, 2500, 24}, // a long sum
			{2600, 9, 24},  // a long sum in the weights' gradient
			{200, 70, 130},
		} {
			name := fmt.Sprintf("%d×%d→%d", s.rows, s.in, s.out)
			rng := newRand(uint64(i))
			x, w := nanGuarded(rng, s.rows*s.in), nanGuarded(rng, s.out*s.in)
			bias, dy := nanGuarded(rng, s.out), nanGuarded(rng, s.rows*s.out)
			y, dx := newGuarded(s.rows*s.out), newGuarded(s.rows*s.in)
			dw, dbias := newGuarded(s.out*s.in), newGuarded(s.out)
			wantY, wantX := make([]float64, s.rows*s.out), make([]float64, s.rows*s.in)
			wantW, wantB := make([]float64, s.out*s.in), make([]float64, s.out)
			for r := range s.rows {
				for o := range s.out {
					g := float64(dy[r*s.out+o])
					wantY[r*s.out+o] = float64(bias[o]) + dot64(x[r*s.in:][:s.in], w[o*s.in:])
					wantB[o] += g
					for i := range s.in {
						wantX[r*s.in+i] += g * float64(w[o*s.in+i])
						wantW[o*s.in+i] += g * float64(x[r*s.in+i])
					}
				}
			}
			Linear(pool, y.x, x, w, bias, s.rows, s.in, s.out)
			closeTo(t, name+": y", y.x, wantY, 3e-6)
			LinearGradX(pool, dx.x, dy, w, s.rows, s.in, s.out)
			closeTo(t, name+": dx", dx.x, wantX, 3e-6)
			LinearGradW(pool, dw.x, dbias.x, dy, x, s.rows, s.in, s.out)
			closeTo(t, name+": dw", dw.x, wantW, 3e-6)
			closeTo(t, name+": dbias", dbias.x, wantB, 3e-6)
			for i := range wantY {
				wantY[i] -= float64(bias[i%s.out])
			}
			Linear(pool, y.x, x, w, nil, s.rows, s.in, s.out)
			closeTo(t, name+": y without bias", y.x, wantY, 3e-6)
			LinearGradW(pool, dw.x, nil, dy, x, s.rows, s.in, s.out)
			closeTo(t, name+": dw without dbias", dw.x, wantW, 3e-6)
			y.check(t, name+": y")
			dx.check(t, name+": dx")
			dw.check(t, name+": dw")
			dbias.check(t, name+": dbias")
		}
	})
}

func TestLinearThreads(t *testing.T) {
	rows, in, out := 3000, 24, 40
	rng := newRand(1)
	x, w, bias, dy := nanGuarded(rng, rows*in), nanGuarded(rng, out*in), nanGuarded(rng, out), nanGuarded(rng, rows*out)
	eachTier(t, func(t *testing.T) {
		eachThreads(t, func(p *Pool) []float32 {
			all := make([]float32, rows*out+rows*in+out*in+out)
			y, dx := all[:rows*out], all[rows*out:][:rows*in]
			dw, dbias := all[rows*(out+in):][:out*in], all[rows*(out+in)+out*in:]
			Linear(p, y, x, w, bias, rows, in, out)
			LinearGradX(p, dx, dy, w, rows, in, out)
			LinearGradW(p, dw, dbias, dy, x, rows, in, out)
			return all
		})
	})
}

// TestLinearNaN puts NaN into the bias of one column, and into one row of x.
func TestLinearNaN(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		rows, in, out := 9, 10, 50
		rng := newRand(3)
		x, w, bias := nanGuarded(rng, rows*in), nanGuarded(rng, out*in), nanGuarded(rng, out)
		x[4*in+9], bias[33] = float32(math.NaN()), float32(math.NaN())
		y := make([]float32, rows*out)
		Linear(nil, y, x, w, bias, rows, in, out)
		for i, v := range y {
			if (v != v) != (i/out == 4 || i%out == 33) {
				t.Fatalf("y[%d,%d] = %v", i/out, i%out, v)
			}
		}
	})
}

func TestLinearAllocs(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	rows, in, out := 4096, 96, 192
	x, w, bias, y := make([]float32, rows*in), make([]float32, in*out), make([]float32, out), make([]float32, rows*out)
	noAllocs(t, "Linear", func() { Linear(p, y, x, w, bias, rows, in, out) })
	noAllocs(t, "LinearGradX", func() { LinearGradX(p, x, y, w, rows, in, out) })
	noAllocs(t, "LinearGradW", func() { LinearGradW(p, w, bias, y, x, rows, in, out) })
}

func TestLengthPanics(t *testing.T) {
	x := make([]float32, 24)
	s, c := AttentionShape{1, 2, 1, 4, false}, ConvShape{1, 1, 4, 6, 1, 1, 1, 1, 1, 0, 0, false}
	for name, f := range map[string]func(){
		"kernel: Linear: y: length 24, want 18":                       func() { Linear(nil, x, x, x, nil, 6, 4, 3) },
		"kernel: Linear: bias: length 24, want 4":                     func() { Linear(nil, x, x, x[:16], x, 6, 4, 4) },
		"kernel: LinearGradX: dx: length 23, want 24":                 func() { LinearGradX(nil, x[1:], x, x[:16], 6, 4, 4) },
		"kernel: LinearGradW: dw: length 24, want 16":                 func() { LinearGradW(nil, x, nil, x, x, 6, 4, 4) },
		"kernel: Attention: qkv: length 23, want 24":                  func() { Attention(nil, x[:8], x[:2], x[1:], nil, s) },
		"kernel: Attention: keyMask: length 3, want 2":                func() { Attention(nil, x[:8], x[:2], x, x[:3], s) },
		"kernel: AttentionGrad: do: length 7, want 8":                 func() { AttentionGrad(nil, x, x[:7], x[:8], x[:2], x, nil, s) },
		"kernel: Conv2D: w or dw: length 2, want 1":                   func() { Conv2D(nil, x, x, x[:2], nil, c) },
		"kernel: Conv2DGradX: x or dx: length 23, want 24":            func() { Conv2DGradX(nil, x[1:], x, x[:1], c) },
		"kernel: Conv2DGradW: dbias: length 2, want 1":                func() { Conv2DGradW(nil, x[:1], x[:2], x, x, c) },
		"kernel: Linear: rows, in, out = -1, 4, 4":                    func() { Linear(nil, x, x, x, nil, -1, 4, 4) },
		"kernel: Gemm: A: 24 values for 7×4 with leading dimension 4": func() { Gemm(nil, false, false, 7, 1, 4, x, 4, x, 1, x, 1, false) },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); got != name {
					t.Errorf("panic %q, want %q", got, name)
				}
			}()
			f()
		}()
	}
}
