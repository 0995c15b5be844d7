package kernel

import (
	"fmt"
	"math"
	"testing"
)

// eachProduct calls f for every product of the convolution with the indices in y, x
// and w.
func (c ConvShape) eachProduct(f func(y, x, w int)) {
	oh, ow := c.OutH(), c.OutW()
	for b := range c.Batch {
		for oy := range oh {
			for ox := range ow {
				for ky := range c.KH {
					for kx := range c.KW {
						iy, ix := oy*c.StrideH+ky-c.PadH, ox*c.StrideW+kx-c.PadW
						if iy < 0 || iy >= c.InH || ix < 0 || ix >= c.InW {
							continue
						}
						for ci := range c.InC {
							x := ((b*c.InH+iy)*c.InW+ix)*c.InC + ci
							if c.ChannelsFirst {
								x = ((b*c.InC+ci)*c.InH+iy)*c.InW + ix
							}
							for co := range c.OutC {
								f(((b*oh+oy)*ow+ox)*c.OutC+co, x, ((co*c.InC+ci)*c.KH+ky)*c.KW+kx)
							}
						}
					}
				}
			}
		}
	}
}

func (c ConvShape) sizes() (y, x, w int) {
	return c.Batch * c.OutH() * c.OutW() * c.OutC, c.Batch * c.InC * c.InH * c.InW, c.OutC * c.InC * c.KH * c.KW
}

func convCases() []ConvShape {
	cs := []ConvShape{
		{2, 3, 16, 16, 24, 3, 3, 2, 2, 1, 1, true}, {2, 24, 8, 8, 48, 3, 3, 2, 2, 1, 1, false},
		{1, 48, 8, 8, 96, 3, 3, 1, 1, 1, 1, false}, {2, 3, 32, 32, 20, 16, 16, 16, 16, 0, 0, true},
		{9, 5, 3, 4, 7, 2, 3, 1, 1, 0, 2, false}, {0, 3, 4, 4, 2, 3, 3, 1, 1, 1, 1, false},
		{1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, false}, {1, 40, 70, 50, 3, 3, 3, 1, 1, 1, 1, false},
		{2, 4, 9, 7, 5, 1, 1, 3, 2, 0, 0, true}, {1, 2, 2, 2, 3, 2, 2, 5, 5, 3, 3, true},
		{3, 3, 11, 5, 10, 5, 3, 4, 3, 2, 1, true}, {1, 30, 40, 60, 50, 3, 3, 2, 2, 1, 1, true},
		{2, 4, 6, 6, 26, 3, 3, 1, 1, 4, 5, false},
	}
	rng := newRand(11)
	for range 25 {
		c := ConvShape{1 + rng.IntN(3), 1 + rng.IntN(9), 1 + rng.IntN(12), 1 + rng.IntN(12), 1 + rng.IntN(60),
			1 + rng.IntN(4), 1 + rng.IntN(4), 1 + rng.IntN(3), 1 + rng.IntN(3), rng.IntN(3), rng.IntN(3), rng.IntN(2) == 0}
		if c.InH+2*c.PadH >= c.KH && c.InW+2*c.PadW >= c.KW {
			cs = append(cs, c)
		}
	}
	return cs
}

func TestConv2D(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		pool := NewPool(3)
		defer pool.Close()
		for i, c := range convCases() {
			name := fmt.Sprintf("%+v", c)
			rng := newRand(uint64(i))
			ny, nx, nw := c.sizes()
			x, w, bias, dy := nanGuarded(rng, nx), nanGuarded(rng, nw), nanGuarded(rng, c.OutC), nanGuarded(rng, ny)

			y, dx, dw, dbias := newGuarded(ny), newGuarded(nx), newGuarded(nw), newGuarded(c.OutC)
			wantY, wantX, wantW, wantB := make([]float64, ny), make([]float64, nx), make([]float64, nw), make([]float64, c.OutC)
			for i := range wantY {
				wantY[i] = float64(bias[i%c.OutC])
				wantB[i%c.OutC] += float64(dy[i])
			}
			c.eachProduct(func(i, j, k int) {
				wantY[i] += float64(x[j]) * float64(w[k])
				wantX[j] += float64(dy[i]) * float64(w[k])
				wantW[k] += float64(dy[i]) * float64(x[j])
			})
			Conv2D(pool, y.x, x, w, bias, c)
			closeTo(t, name+": y", y.x, wantY, 3e-6)
			Conv2DGradX(pool, dx.x, dy, w, c)
			closeTo(t, name+": dx", dx.x, wantX, 3e-6)
			Conv2DGradW(pool, dw.x, dbias.x, dy, x, c)
			closeTo(t, name+": dw", dw.x, wantW, 4e-6)
			closeTo(t, name+": dbias", dbias.x, wantB, 4e-6)

			for i := range wantY {
				wantY[i] -= float64(bias[i%c.OutC])
			}
			Conv2D(pool, y.x, x, w, nil, c)
			closeTo(t, name+": y without bias", y.x, wantY, 3e-6)
			Conv2DGradW(pool, dw.x, nil, dy, x, c)
			closeTo(t, name+": dw without dbias", dw.x, wantW, 4e-6)
			y.check(t, name+": y")
			dx.check(t, name+": dx")
			dw.check(t, name+": dw")
			dbias.check(t, name+": dbias")
		}
	})
}

func TestConv2DThreads(t *testing.T) {
	for _, c := range []ConvShape{
		{1, 3, 40, 30, 24, 3, 3, 2, 2, 1, 1, true}, {5, 24, 10, 12, 48, 3, 3, 1, 1, 1, 1, false}, {17, 6, 6, 6, 9, 3, 3, 2, 2, 1, 1, false},
	} {
		rng := newRand(1)
		ny, nx, nw := c.sizes()
		x, w, bias, dy := nanGuarded(rng, nx), nanGuarded(rng, nw), nanGuarded(rng, c.OutC), nanGuarded(rng, ny)
		eachTier(t, func(t *testing.T) {
			eachThreads(t, func(p *Pool) []float32 {
				out := make([]float32, ny+nx+nw+c.OutC)
				y, dx, dw, dbias := out[:ny], out[ny:ny+nx], out[ny+nx:ny+nx+nw], out[ny+nx+nw:]
				Conv2D(p, y, x, w, bias, c)
				Conv2DGradX(p, dx, dy, w, c)
				Conv2DGradW(p, dw, dbias, dy, x, c)
				return out
			})
		})
	}
}

// TestConv2DNaN puts a NaN into one input pixel: every output whose window holds it
// becomes NaN, and no other.
func TestConv2DNaN(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		c := ConvShape{2, 3, 9, 9, 10, 3, 3, 2, 2, 1, 1, true}
		ny, nx, nw := c.sizes()
		rng := newRand(2)
		x, w, y := nanGuarded(rng, nx), nanGuarded(rng, nw), make([]float32, ny)
		x[100] = float32(math.NaN())
		want := make([]bool, ny)
		c.eachProduct(func(i, j, _ int) { want[i] = want[i] || j == 100 })
		Conv2D(nil, y, x, w, nil, c)
		for i, v := range y {
			if (v != v) != want[i] {
				t.Fatalf("y[%d] = %v", i, v)
			}
		}
	})
}

// TestConv2DGradients compares both gradients with finite differences of the forward
// pass: the loss is Σ y·dy.
func TestConv2DGradients(t *testing.T) {
	c := ConvShape{1, 2, 5, 6, 3, 3, 2, 2, 1, 1, 1, false}
	rng := newRand(4)
	ny, nx, nw := c.sizes()
	x, w, dy, y := nanGuarded(rng, nx), nanGuarded(rng, nw), nanGuarded(rng, ny), make([]float32, ny)
	dx, dw := make([]float32, nx), make([]float32, nw)
	Conv2DGradX(nil, dx, dy, w, c)
	Conv2DGradW(nil, dw, nil, dy, x, c)
	loss := func() float64 {
		Conv2D(nil, y, x, w, nil, c)
		return dot64(y, dy)
	}
	finiteDifferences(t, "dx", x, dx, loss, 1e-2, 2e-4)
	finiteDifferences(t, "dw", w, dw, loss, 1e-2, 2e-4)
}

// finiteDifferences compares grad with central differences of loss over x.
func finiteDifferences(t *testing.T, name string, x, grad []float32, loss func() float64, step float32, tol float64) {
	t.Helper()
	for i := range x {
		v := x[i]
		x[i] = v + step
		up, width := loss(), x[i]
		x[i] = v - step
		down := loss()
		width -= x[i]
		x[i] = v
		if got := (up - down) / float64(width); math.Abs(got-float64(grad[i])) > tol*(1+math.Abs(got)) {
			t.Fatalf("%s[%d] = %v, finite differences %v", name, i, grad[i], got)
		}
	}
}

func TestConv2DAllocs(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	c := ConvShape{8, 24, 16, 16, 48, 3, 3, 2, 2, 1, 1, false}
	ny, nx, nw := c.sizes()
	x, w, y, bias := make([]float32, nx), make([]float32, nw), make([]float32, ny), make([]float32, c.OutC)
	noAllocs(t, "Conv2D", func() { Conv2D(p, y, x, w, bias, c) })
	noAllocs(t, "Conv2DGradX", func() { Conv2DGradX(p, x, y, w, c) })
	noAllocs(t, "Conv2DGradW", func() { Conv2DGradW(p, w, bias, y, x, c) })
}

// TestConv2DFixture compares with PyTorch. The outputs there are (B, OutC, OH, OW).
func TestConv2DFixture(t *testing.T) {
	f := readFixture(t, "primitives/golden.safetensors")
	const name = "conv2d.stride2x1.pad1x0"
	x, w, bias := f["in."+name+".0"], f["in."+name+".1"], f["in."+name+".2"]
	c := ConvShape{
		Batch: x.shape[0], InC: x.shape[1], InH: x.shape[2], InW: x.shape[3],
		OutC: w.shape[0], KH: w.shape[2], KW: w.shape[3],
		StrideH: 2, StrideW: 1, PadH: 1, PadW: 0, ChannelsFirst: true,
	}
	out := f[name+".out"]
	if want := []int{c.Batch, c.OutC, c.OutH(), c.OutW()}; fmt.Sprint(out.shape) != fmt.Sprint(want) {
		t.Fatalf("output of %v, want %v", want, out.shape)
	}
	pixels := c.OutH() * c.OutW()
	eachTier(t, func(t *testing.T) {
		y, dy := make([]float32, len(out.data)), make([]float32, len(out.data))
		for b := range c.Batch {
			Transpose(nil, dy[b*pixels*c.OutC:][:pixels*c.OutC], f[name+".cotangent"].data[b*pixels*c.OutC:][:pixels*c.OutC], c.OutC, pixels)
		}
		dx, dw, dbias := make([]float32, len(x.data)), make([]float32, len(w.data)), make([]float32, c.OutC)
		Conv2D(nil, y, x.data, w.data, bias.data, c)
		Conv2DGradX(nil, dx, dy, w.data, c)
		Conv2DGradW(nil, dw, dbias, dy, x.data, c)
		planes := make([]float32, len(y))
		for b := range c.Batch {
			Transpose(nil, planes[b*pixels*c.OutC:][:pixels*c.OutC], y[b*pixels*c.OutC:][:pixels*c.OutC], pixels, c.OutC)
		}
		byRow(t, "y", planes, out)
		byRow(t, "dx", dx, f[name+".grad0"])
		byRow(t, "dw", dw, f[name+".grad1"])
		byRow(t, "dbias", dbias, f[name+".grad2"])
	})
}
