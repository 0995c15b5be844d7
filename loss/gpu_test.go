//go:build linux && amd64 && !nogpu

package loss

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"relsim/cuda"
	"relsim/cuda/fake"
	"relsim/graph"
	"relsim/nn"
)

// openGPU opens a GPU, or a driver that runs on the host where none is named; set chooses the order in which that one does things.
func openGPU(t *testing.T) (g *graph.GPU, set func(seed int)) {
	t.Helper()
	_, set = fake.Orders(t, "../cuda/kernels", "contrast", "elementwise", "gemm", "optim", "reduce")
	d, err := cuda.Open(0)
	check(t, err)
	t.Cleanup(d.Close)
	g, err = graph.NewGPU(d, graph.GPUConfig{Warn: func(s string) { t.Log(s) }})
	check(t, err)
	t.Cleanup(func() { check(t, g.Close()) })
	return g, set
}

// TestGPU compares losses on a GPU with those of the host: run, and put into the queue with everything resident. A learned scale
// is beyond its bound.
func TestGPU(t *testing.T) {
	g, set := openGPU(t)
	const n, dim = 37, 12
	r := rand.New(rand.NewPCG(3, 4))
	img, txt := units(r, n, dim), units(r, n, dim)
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i % 5
	}
	for seed, kind := range Kinds() {
		set(seed)
		c := Config{Kind: kind, Positives: SameCaption, Temperature: .07}
		learned := func() (scale, bias *nn.Param) {
			if kind == Sigmoid {
				bias = scalar(t, "logit_bias", nn.Bias, -3)
			}
			return scalar(t, "logit_scale", nn.Temperature, 5), bias
		}
		scale, bias := learned()
		host, err := New(c, n, dim, nil, scale, bias)
		check(t, err)
		value, accuracy, err := host.Run(img, txt, numbers, numbers)
		check(t, err)
		agree := func(what string, got, want []float32) {
			t.Helper()
			var size float64
			for _, w := range want {
				size = max(size, math.Abs(float64(w)))
			}
			for i, w := range want {
				if !(math.Abs(float64(got[i]-w)) <= 2e-5*size) {
					t.Fatalf("%s: %s[%d]: %v, want %v", kind, what, i, got[i], w)
				}
			}
		}
		for _, resident := range []bool{false, true} {
			gscale, gbias := learned()
			var residents []*graph.Resident
			keep := func(host []float32) {
				r, err := g.Resident(host)
				check(t, err)
				residents = append(residents, r)
			}
			x, y := slices.Clone(img), slices.Clone(txt)
			if resident {
				keep(x)
				keep(y)
				keep(gscale.Data)
				keep(gscale.Grad)
				clear(x) // what is on the GPU counts
				clear(gscale.Data)
			}
			l, err := New(c, n, dim, g, gscale, gbias)
			check(t, err)
			var got, share float64
			if resident {
				var p *Pending
				check(t, g.Together(func() (err error) {
					p, err = l.Enqueue(x, y, numbers, numbers)
					return err
				}))
				got, share, err = p.Wait()
				check(t, err)
				again, _, err := p.Wait()
				check(t, err)
				if again != got {
					t.Errorf("%s: the second Wait gives %v, not %v", kind, again, got)
				}
				for _, part := range [][]float32{l.GradImg, l.GradTxt, gscale.Data, gscale.Grad} {
					check(t, g.Fetch(part))
				}
				check(t, g.Fetch(l.Value()))
				if float64(l.Value()[0]) != got {
					t.Errorf("%s: the value on the GPU is %v, not %v", kind, l.Value()[0], got)
				}
			} else {
				got, share, err = l.Run(x, y, numbers, numbers)
				check(t, err)
			}
			if !(math.Abs(got-value) <= 1e-5*value) || share != accuracy {
				t.Errorf("%s: loss %v and accuracy %v, want %v and %v", kind, got, share, value, accuracy)
			}
			agree("gradient of images", l.GradImg, host.GradImg)
			agree("gradient of texts", l.GradTxt, host.GradTxt)
			agree("scale", gscale.Data, scale.Data)
			agree("gradient of the scale", gscale.Grad, scale.Grad)
			if bias != nil {
				agree("gradient of the bias", gbias.Grad, bias.Grad)
			}
			check(t, l.Close())
			for _, r := range residents {
				check(t, r.Close())
			}
		}
		check(t, host.Close())
	}
}

// units draws rows of length one.
func units(r *rand.Rand, n, dim int) []float32 {
	x := make([]float32, n*dim)
	for i := range n {
		var sum float64
		row := x[i*dim : (i+1)*dim]
		for j := range row {
			row[j] = float32(r.NormFloat64())
			sum += float64(row[j]) * float64(row[j])
		}
		for j := range row {
			row[j] /= float32(math.Sqrt(sum))
		}
	}
	return x
}
