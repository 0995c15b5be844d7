package loss

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"relsim/graph"
	"relsim/kernel"
	"relsim/nn"
)

// dense is the loss as a graph of plain ops over the whole matrix of logits, with dense targets and masks.
type dense struct {
	program          *graph.Program
	img, txt, value  *graph.Node
	gradImg, gradTxt []float32
	targets, mask    []float32
	config           Config
	batch            int
}

func newDense(t testing.TB, c Config, n, dim int, backend graph.Backend, scale, bias *nn.Param) *dense {
	t.Helper()
	d := &dense{
		gradImg: make([]float32, n*dim), gradTxt: make([]float32, n*dim),
		targets: make([]float32, n*n), mask: make([]float32, n*n), config: c, batch: n,
	}
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	b := graph.NewBuilder()
	d.img, d.txt = b.Input("images", n, dim), b.Input("texts", n, dim)
	type leaf struct {
		node       *graph.Node
		data, grad []float32
	}
	leaves := []leaf{{d.img, nil, d.gradImg}, {d.txt, nil, d.gradTxt}}
	learned := func(p *nn.Param) *graph.Node {
		leaves = append(leaves, leaf{b.Param(p.Name, 1), p.Data, p.Grad})
		return leaves[len(leaves)-1].node
	}
	x := b.Linear(d.img, d.txt, nil)
	if scale != nil {
		x = b.ScaleExp(x, learned(scale))
	} else {
		x = b.Scale(x, 1/c.Temperature)
	}
	targets := b.Input("targets", n, n)
	leaves = append(leaves, leaf{targets, d.targets, nil})
	if c.Kind == Sigmoid {
		d.value = b.SigmoidLoss(b.AddScalar(x, learned(bias)), targets)
	} else {
		if c.Positives == MaskCaption || c.Positives == MaskRelation {
			mask := b.Input("mask", n, n)
			leaves = append(leaves, leaf{mask, d.mask, nil})
			x = b.Add(x, mask)
		}
		d.value = b.CrossEntropy(x, targets)
		if c.Kind == Symmetric {
			d.value = b.Scale(b.Add(d.value, b.CrossEntropy(b.Transpose(x), targets)), .5)
		}
	}
	var wrt []*graph.Node
	for _, l := range leaves {
		if l.grad != nil {
			wrt = append(wrt, l.node)
		}
	}
	fail(b.Err())
	var err error
	d.program, err = graph.Compile(b, graph.Config{Backend: backend, Loss: d.value, Wrt: wrt, Training: true})
	fail(err)
	t.Cleanup(func() { d.program.Close() })
	for _, l := range leaves {
		if l.data != nil {
			fail(d.program.SetFloats(l.node, l.data))
		}
		if l.grad != nil {
			fail(d.program.SetGrad(l.node, l.grad))
		}
	}
	return d
}

// run returns the loss and leaves the gradients.
func (d *dense) run(t testing.TB, img, txt []float32, numbers []int) float64 {
	n := d.batch
	many := d.config.Positives == SameCaption || d.config.Positives == SameRelation
	masks := d.config.Positives == MaskCaption || d.config.Positives == MaskRelation
	for r := range n {
		count := 0
		row, mask := d.targets[r*n:][:n], d.mask[r*n:][:n]
		for c := range row {
			equal := r == c || d.config.Positives != Diagonal && numbers[r] >= 0 && numbers[r] == numbers[c]
			positive, masked := r == c || many && equal, masks && equal && r != c
			row[c], mask[c] = 0, 0
			if positive {
				row[c] = 1
				count++
			}
			if masked {
				mask[c] = -1e9
			}
			if d.config.Kind == Sigmoid && !positive && !masked {
				row[c] = -1
			}
		}
		if d.config.Kind != Sigmoid {
			for c := range row {
				row[c] /= float32(count)
			}
		}
	}
	for _, err := range []error{d.program.SetFloats(d.img, img), d.program.SetFloats(d.txt, txt), d.program.Forward(), d.program.Backward(nil)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return float64(d.program.Value(d.value)[0])
}

// TestAgreesWithDense holds the loss in blocks to the graph of plain ops, gradients of all that is learned included.
func TestAgreesWithDense(t *testing.T) {
	const n, dim = 150, 96
	rng := rand.New(rand.NewPCG(7, 8))
	img, txt := narrow(unit(rng, n, dim)), narrow(unit(rng, n, dim))
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = 1000*rng.IntN(24) - 1000
	}
	onTiers(t, func(t *testing.T) {
		for _, kind := range Kinds() {
			for _, rule := range Rules() {
				t.Run(fmt.Sprintf("%s/%s", kind, rule), func(t *testing.T) {
					c := Config{Kind: kind, Positives: rule, Temperature: .07}
					type learned struct{ scale, bias *nn.Param }
					params := func() learned {
						p := learned{scale: scalar(t, "logit_scale", nn.Temperature, 2.7)}
						if kind == Sigmoid {
							p.bias = scalar(t, "logit_bias", nn.Bias, -3)
						}
						return p
					}
					a, b := params(), params()
					l, err := New(c, n, dim, nil, a.scale, a.bias)
					check(t, err)
					defer l.Close()
					d := newDense(t, c, n, dim, nil, b.scale, b.bias)
					got, _, err := l.Run(img, txt, numbers, numbers)
					check(t, err)
					if want := d.run(t, img, txt, numbers); math.Abs(got-want) > 2e-6*math.Abs(want) {
						t.Errorf("loss %v, want %v", got, want)
					}
					agree := func(name string, got, want []float32) {
						t.Helper()
						var size float64
						for _, w := range want {
							size = max(size, math.Abs(float64(w)))
						}
						for i, w := range want {
							if math.Abs(float64(got[i]-w)) > 1e-5*size || size == 0 {
								t.Fatalf("gradient of %s[%d]: %v, want %v", name, i, got[i], w)
							}
						}
					}
					agree("images", l.GradImg, d.gradImg)
					agree("texts", l.GradTxt, d.gradTxt)
					agree("scale", a.scale.Grad, b.scale.Grad)
					if kind == Sigmoid {
						agree("bias", a.bias.Grad, b.bias.Grad)
					}
				})
			}
		}
	})
}

// TestMemory: what a loss holds grows with the batch, not with its square.
func TestMemory(t *testing.T) {
	for _, kind := range Kinds() {
		for _, n := range []int{64, 32768} {
			l, err := New(Config{Kind: kind, Positives: SameRelation, Temperature: .07}, n, 96, nil, nil, nil)
			check(t, err)
			// Nothing but the statistics of rows and columns, and the gradients before they are handed out.
			if got := l.program.ArenaBytes(); got > 4*n*(4+2*96)+1024 {
				t.Errorf("%s: %d bytes for a batch of %d", kind, got, n)
			}
			l.Close()
		}
	}
}

// TestRunAllocatesNothing in steady state.
func TestRunAllocatesNothing(t *testing.T) {
	const n, dim = 64, 16
	rng := rand.New(rand.NewPCG(7, 8))
	img, txt := narrow(unit(rng, n, dim)), narrow(unit(rng, n, dim))
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i % 9
	}
	for _, kind := range Kinds() {
		l, err := New(Config{Kind: kind, Positives: SameRelation, Temperature: .07}, n, dim, nil, nil, nil)
		check(t, err)
		defer l.Close()
		run := func() {
			_, _, err := l.Run(img, txt, numbers, nil)
			check(t, err)
		}
		run()
		if got := testing.AllocsPerRun(10, run); got != 0 {
			t.Errorf("%s: %v allocations", kind, got)
		}
	}
}

// BenchmarkLoss times a loss with its gradient, in blocks and as a graph of plain ops, which take turns.
func BenchmarkLoss(b *testing.B) {
	const dim = 96
	pool := kernel.NewPool(2)
	defer pool.Close()
	for _, kind := range []Kind{Symmetric, Sigmoid} {
		for _, n := range []int{64, 256, 1024} {
			rng := rand.New(rand.NewPCG(7, 8))
			img, txt := narrow(unit(rng, n, dim)), narrow(unit(rng, n, dim))
			numbers := make([]int, n)
			for i := range numbers {
				numbers[i] = rng.IntN(24)
			}
			c := Config{Kind: kind, Positives: SameRelation, Temperature: .07}
			params := new(nn.Params)
			scale := params.Declare("logit_scale", nn.Temperature, nn.Constant(2.7))
			bias := params.Declare("logit_bias", nn.Bias, nn.Constant(0))
			if err := params.Init(nil); err != nil {
				b.Fatal(err)
			}
			if kind != Sigmoid {
				bias = nil
			}
			l, err := New(c, n, dim, graph.NewCPU(pool), scale, bias)
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			d := newDense(b, c, n, dim, graph.NewCPU(pool), scale, bias)
			for range 3 {
				b.Run(fmt.Sprintf("kind=%s/batch=%d/impl=blocks", kind, n), func(b *testing.B) {
					for b.Loop() {
						if _, _, err := l.Run(img, txt, numbers, nil); err != nil {
							b.Fatal(err)
						}
					}
				})
				b.Run(fmt.Sprintf("kind=%s/batch=%d/impl=dense", kind, n), func(b *testing.B) {
					for b.Loop() {
						d.run(b, img, txt, numbers)
					}
				})
			}
		}
	}
}
