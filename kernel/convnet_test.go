package kernel

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// channelsLast brings (B, C, H, W) to (B, H, W, C).
func channelsLast(x fixtureTensor) []float32 {
	b, c, hw := x.shape[0], x.shape[1], x.shape[2]*x.shape[3]
	y := make([]float32, len(x.data))
	for i := range b {
		Transpose(nil, y[i*c*hw:(i+1)*c*hw], x.data[i*c*hw:(i+1)*c*hw], c, hw)
	}
	return y
}

// TestMaxPoolPrimitives compares with PyTorch's max_pool2d.
func TestMaxPoolPrimitives(t *testing.T) {
	f := readFixture(t, "primitives/golden.safetensors")
	for _, ceil := range []bool{false, true} {
		name := "max_pool2d.3.stride2.floor"
		if ceil {
			name = "max_pool2d.3.stride2.ceil"
		}
		in := f["in."+name+".0"]
		s := PoolShape{in.shape[0], in.shape[2], in.shape[3], in.shape[1], 3, 2, ceil}
		want := f[name+".out"]
		if s.OutH() != want.shape[2] || s.OutW() != want.shape[3] {
			t.Fatalf("%s: %d×%d, want %v", name, s.OutH(), s.OutW(), want.shape)
		}
		x, y := channelsLast(in), make([]float32, len(want.data))
		MaxPool2D(nil, y, x, s)
		if !slices.Equal(y, channelsLast(want)) {
			t.Errorf("%s: wrong values", name)
		}
		dx := make([]float32, len(x))
		MaxPool2DGrad(nil, dx, channelsLast(f[name+".cotangent"]), x, s)
		nearAll(t, name+" gradient", dx, wide(channelsLast(f[name+".grad0"])), 1e-7, 1e-6)
	}
}

// TestPoolSizes compares the number of windows with a count of those that begin in the picture and, without Ceil, end there.
func TestPoolSizes(t *testing.T) {
	for in := 1; in < 14; in++ {
		for k := 1; k < 5; k++ {
			for stride := 1; stride < 5; stride++ {
				floor, ceil := 0, 0
				for at := 0; at < in; at += stride {
					if at+k <= in {
						floor++
						ceil++
					} else if at-stride+k < in { // what the window before left over
						ceil++
					}
				}
				if k >= in+stride { // PyTorch has no output there
					ceil = 0
				}
				s := PoolShape{1, in, in, 1, k, stride, false}
				if got := s.OutH(); got != floor {
					t.Errorf("%d pixels, window %d, stride %d: %d, want %d", in, k, stride, got, floor)
				}
				s.Ceil = true
				if got := s.OutW(); got != ceil {
					t.Errorf("%d pixels, window %d, stride %d, ceil: %d, want %d", in, k, stride, got, ceil)
				}
			}
		}
	}
}

func TestMaxPool(t *testing.T) {
	pool := NewPool(3)
	defer pool.Close()
	nan := float32(math.NaN())
	for i, s := range []PoolShape{
		{2, 11, 9, 3, 3, 2, false}, {2, 12, 8, 70, 3, 2, true}, {1, 4, 4, 200, 2, 2, false}, {0, 3, 3, 2, 2, 1, false},
		{3, 7, 5, 1, 1, 3, true}, {1, 2, 2, 64, 3, 2, true}, {1, 9, 9, 5, 4, 1, false},
	} {
		rng := newRand(uint64(i))
		x := input(normal(rng, s.Batch*s.InH*s.InW*s.C, 1))
		for j := range x {
			x[j] = max(x[j], 0) // ties
		}
		oh, ow := s.OutH(), s.OutW()
		y, dx := newGuarded(s.Batch*oh*ow*s.C), newGuarded(len(x))
		dy := input(normal(rng, len(y.x), 1))
		want, wantX := make([]float32, len(y.x)), make([]float64, len(x))
		for b := range s.Batch {
			for j := range oh * ow * s.C {
				c, ox, oy := j%s.C, j/s.C%ow, j/s.C/ow
				first := -1
				for ky := range s.K {
					for kx := range s.K {
						iy, ix := oy*s.Stride+ky, ox*s.Stride+kx
						if iy >= s.InH || ix >= s.InW {
							continue
						}
						if at := ((b*s.InH+iy)*s.InW+ix)*s.C + c; first < 0 || x[at] > x[first] {
							first = at
						}
					}
				}
				want[b*oh*ow*s.C+j] = x[first]
				wantX[first] += float64(dy[b*oh*ow*s.C+j])
			}
		}
		MaxPool2D(pool, y.x, x, s)
		MaxPool2DGrad(pool, dx.x, dy, x, s)
		y.check(t, "y")
		dx.check(t, "dx")
		if !slices.Equal(y.x, want) {
			t.Errorf("%+v: wrong values", s)
		}
		nearAll(t, fmt.Sprintf("%+v: dx", s), dx.x, wantX, 1e-6, 1e-6)
		eachThreads(t, func(p *Pool) []float32 {
			MaxPool2D(p, y.x, x, s)
			MaxPool2DGrad(p, dx.x, dy, x, s)
			return slices.Concat(y.x, dx.x)
		})
		noAllocs(t, "MaxPool2D", func() { MaxPool2D(pool, y.x, x, s) })
		noAllocs(t, "MaxPool2DGrad", func() { MaxPool2DGrad(pool, dx.x, dy, x, s) })
		if len(x) > 0 { // NaN is larger than all
			x[0] = nan
			MaxPool2D(pool, y.x, x, s)
			if y.x[0] == y.x[0] {
				t.Errorf("%+v: NaN is lost", s)
			}
		}
	}
}

func TestReLU(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	x := []float32{-2, 3, 0, float32(math.Copysign(0, -1)), inf, -inf, nan}
	y, dx := newGuarded(len(x)), newGuarded(len(x))
	ReLU(nil, y.x, x)
	y.check(t, "y")
	if want := []float32{0, 3, 0, 0, inf, 0}; !slices.Equal(y.x[:6], want) || y.x[6] == y.x[6] {
		t.Errorf("%v, want %v and NaN", y.x, want)
	}
	ReLUGrad(nil, dx.x, y.x, []float32{nan, 2, inf, nan, 5, nan, 7})
	dx.check(t, "dx")
	if want := []float32{0, 2, 0, 0, 5, 0, 7}; !slices.Equal(dx.x, want) {
		t.Errorf("gradient %v, want %v: at 0 it is 0, whatever comes", dx.x, want)
	}
	for _, n := range lengths {
		rng := newRand(uint64(n))
		x, dy := input(normal(rng, n, 1)), input(normal(rng, n, 1))
		y, dx := newGuarded(n), newGuarded(n)
		ReLU(nil, y.x, x)
		ReLUGrad(nil, dx.x, y.x, dy)
		y.check(t, "y")
		dx.check(t, "dx")
		for i, v := range x {
			want, slope := float32(0), float32(0)
			if v > 0 {
				want, slope = v, dy[i]
			}
			if y.x[i] != want || dx.x[i] != slope {
				t.Fatalf("of %d values, [%d]: %v and %v, want %v and %v", n, i, y.x[i], dx.x[i], want, slope)
			}
		}
		eachThreads(t, func(p *Pool) []float32 {
			ReLU(p, y.x, x)
			ReLUGrad(p, dx.x, y.x, dy)
			return slices.Concat(y.x, dx.x)
		})
	}
}

func unitOracle(x []float64, eps float64) []float64 {
	var sum float64
	for _, v := range x {
		sum += v * v
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = v / (math.Sqrt(sum) + eps)
	}
	return y
}

func TestUnitRows(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	for _, scale := range []float64{1, 1e-10, 1e18, 1e-25} {
		eachShape(t, func(t *testing.T, what string, rows, cols int) {
			rng := newRand(8)
			eps := float32(1e-10)
			x, dy := input(normal(rng, rows*cols, scale)), input(normal(rng, rows*cols, 1e-3))
			y, dx := newGuarded(rows*cols), newGuarded(rows*cols)
			UnitRows(pool, y.x, x, rows, cols, eps)
			UnitRowsGrad(pool, dx.x, dy, x, rows, cols, eps)
			y.check(t, what)
			dx.check(t, what)
			for r := range rows {
				row := wide(x[r*cols : (r+1)*cols])
				nearAll(t, what, y.x[r*cols:(r+1)*cols], unitOracle(row, float64(eps)), 1e-45, 2.4e-7)
				if rows*cols > 3000 || scale != 1 {
					continue
				}
				up := dy[r*cols : (r+1)*cols]
				want := slope(row, func() float64 { return inner(unitOracle(row, float64(eps)), up) })
				length := math.Sqrt(SumSquares(nil, x[r*cols:(r+1)*cols])) + float64(eps)
				nearAll(t, what+" dx", dx.x[r*cols:(r+1)*cols], want, 1e-6*largest(wide(up))/length+1e-9, 1e-9)
			}
			inPlace := slices.Clone(x)
			UnitRows(pool, inPlace, inPlace, rows, cols, eps)
			sameBits(t, what+" in place", inPlace, y.x)
		})
	}
	// A row of zeros, with and without eps.
	y, dx := []float32{1, 1}, []float32{1, 1}
	for _, eps := range []float32{0, 0.5, 1e-42} {
		UnitRows(nil, y, []float32{0, 0}, 1, 2, eps)
		UnitRowsGrad(nil, dx, []float32{0.25, 0}, []float32{0, 0}, 1, 2, eps)
		want := float32(0)
		if eps > 0 {
			want = float32(0.25 / float64(eps))
		}
		if y[0] != 0 || y[1] != 0 || dx[0] != want || dx[1] != 0 {
			t.Errorf("zeros with eps %v: %v, gradient %v, want %v and 0", eps, y, dx, want)
		}
	}
}

func TestSquaredDistance(t *testing.T) {
	for i, s := range [][3]int{{1, 1, 1}, {3, 7, 11}, {2, 300, 33}, {0, 4, 4}, {5, 1, 2000}, {1, 9000, 3}} {
		batch, tokens, dim := s[0], s[1], s[2]
		what := fmt.Sprint(s)
		n := batch * tokens * dim
		eachTier(t, func(t *testing.T) {
			rng := newRand(uint64(i))
			x, y, w, g := input(normal(rng, n, 1)), input(normal(rng, n, 1)), input(normal(rng, dim, 1)), input(normal(rng, batch, 1))
			d, dx, dw := newGuarded(batch), newGuarded(n), newGuarded(dim)
			want, wantX, wantW := make([]float64, batch), make([]float64, n), make([]float64, dim)
			for j := range n {
				b, c := j/dim/tokens, j%dim
				e := float64(x[j]) - float64(y[j])
				want[b] += float64(w[c]) * e * e / float64(tokens)
				wantX[j] = 2 / float64(tokens) * float64(g[b]) * float64(w[c]) * e
				wantW[c] += float64(g[b]) * e * e / float64(tokens)
			}
			SquaredDistance(nil, d.x, x, y, w, batch, tokens, dim)
			SquaredDistanceGrad(nil, dx.x, dw.x, g, x, y, w, batch, tokens, dim)
			d.check(t, what)
			dx.check(t, what)
			dw.check(t, what)
			nearAll(t, what+" d", d.x, want, 1e-6, 1e-6)
			nearAll(t, what+" dx", dx.x, wantX, 1e-6, 1e-6)
			nearAll(t, what+" dw", dw.x, wantW, 1e-5, 1e-5)
			alone := slices.Clone(x)
			SquaredDistanceGrad(nil, alone, nil, g, alone, y, w, batch, tokens, dim)
			sameBits(t, what+" in place, without dw", alone, dx.x)
			eachThreads(t, func(p *Pool) []float32 {
				SquaredDistance(p, d.x, x, y, w, batch, tokens, dim)
				SquaredDistanceGrad(p, dx.x, dw.x, g, x, y, w, batch, tokens, dim)
				return slices.Concat(d.x, dx.x, dw.x)
			})
		})
	}
}

func TestJoinColumns(t *testing.T) {
	for _, s := range [][3]int{{0, 2, 3}, {1, 1, 1}, {7, 5, 9}, {900, 16, 33}, {4, 0, 3}} {
		rows, m, n := s[0], s[1], s[2]
		x, y := input(normal(newRand(1), rows*m, 1)), input(normal(newRand(2), rows*n, 1))
		z, x2, y2 := newGuarded(rows*(m+n)), newGuarded(rows*m), newGuarded(rows*n)
		eachThreads(t, func(p *Pool) []float32 {
			JoinColumns(p, z.x, x, y, rows, m, n)
			SplitColumns(p, x2.x, y2.x, z.x, rows, m, n)
			return slices.Concat(z.x, x2.x, y2.x)
		})
		for i, v := range z.x {
			r, c := i/(m+n), i%(m+n)
			if c < m && v != x[r*m+c] || c >= m && v != y[r*n+c-m] {
				t.Fatalf("%v: [%d, %d] = %v", s, r, c, v)
			}
		}
		sameBits(t, "x", x2.x, x)
		sameBits(t, "y", y2.x, y)
		z.check(t, "z")
		x2.check(t, "x")
		y2.check(t, "y")
	}
}

func TestConvnetPanics(t *testing.T) {
	x := func(n int) []float32 { return make([]float32, n) }
	for _, tt := range []struct {
		want string
		f    func()
	}{
		{"kernel: ReLU: len(x) = 5, want 4", func() { ReLU(nil, x(4), x(5)) }},
		{"kernel: ReLUGrad: len(dy) = 3, want 4", func() { ReLUGrad(nil, x(4), x(4), x(3)) }},
		{"kernel: MaxPool2D: shape", func() { MaxPool2D(nil, x(0), x(4), PoolShape{1, 2, 2, 1, 3, 2, false}) }},
		{"kernel: MaxPool2D: len(y or dy) = 2, want 1", func() { MaxPool2D(nil, x(2), x(4), PoolShape{1, 2, 2, 1, 2, 2, false}) }},
		{"kernel: MaxPool2DGrad: len(dx) = 3, want 4", func() { MaxPool2DGrad(nil, x(3), x(1), x(4), PoolShape{1, 2, 2, 1, 2, 2, false}) }},
		{"kernel: UnitRows: len(y) = 5, want 6", func() { UnitRows(nil, x(5), x(6), 2, 3, 0) }},
		{"kernel: SquaredDistance: len(w) = 2, want 3", func() { SquaredDistance(nil, x(1), x(6), x(6), x(2), 1, 2, 3) }},
		{"kernel: SquaredDistanceGrad: len(dw) = 2, want 3", func() { SquaredDistanceGrad(nil, x(6), x(2), x(1), x(6), x(6), x(3), 1, 2, 3) }},
		{"kernel: JoinColumns: len(z) = 4, want 6", func() { JoinColumns(nil, x(4), x(2), x(4), 2, 1, 2) }},
	} {
		t.Run(tt.want, func(t *testing.T) {
			defer func() {
				if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), tt.want) {
					t.Errorf("panic %v, want %q", r, tt.want)
				}
			}()
			tt.f()
		})
	}
}
