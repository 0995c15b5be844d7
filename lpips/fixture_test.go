package lpips

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relsim/checkpoints"
	"relsim/graph"
	"relsim/kernel"
)

// fixture is a folder of testdata.
type fixture struct {
	net    *Net
	golden *checkpoints.File
	Net    Kind   `json:"net"`
	Seed   uint64 `json:"seed"`
	Stats  map[string]struct {
		MaxAbs float64 `json:"max_abs"`
		Dev    float64 `json:"dev_from_float64"`
	} `json:"stats"`
	Weights map[string]struct {
		Shape []int     `json:"shape"`
		First []float64 `json:"first"`
		Sum   float64   `json:"sum_float64"`
	} `json:"weights"`
}

func openFixture(t *testing.T, name string) *fixture {
	t.Helper()
	f := &fixture{}
	raw, err := os.ReadFile(filepath.Join("testdata", name, "golden.json"))
	if err == nil {
		err = json.Unmarshal(raw, f)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.golden, err = checkpoints.Open(filepath.Join("testdata", name, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.golden.Close() })
	if f.Weights == nil {
		f.net, err = Open(filepath.Join("testdata", name, "model.safetensors"))
	} else {
		f.net, err = assemble("", []*source{f.byRule(t)}, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if f.net.Kind() != f.Net {
		t.Fatalf("%s: the net is taken for %s, want %s", name, f.net.Kind(), f.Net)
	}
	return f
}

// byRule is a file whose values are computed, see testdata/README.md.
func (f *fixture) byRule(t *testing.T) *source {
	s := &source{path: "rule", names: map[string]string{}}
	for name := range f.Weights {
		s.names[name] = name
	}
	s.shape = func(name string) []int { return f.Weights[name].Shape }
	s.float32 = func(name string) ([]float32, []int, error) {
		h := fnv.New64a()
		h.Write([]byte(name))
		const golden = 0x9E3779B97F4A7C15
		start := h.Sum64() + f.Seed*golden
		shape := f.Weights[name].Shape
		n := 1
		for _, d := range shape {
			n *= d
		}
		values, sum := make([]float32, n), 0.0
		for i := range values {
			z := start + uint64(i+1)*golden
			z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
			z = (z ^ z>>27) * 0x94D049BB133111EB
			z ^= z >> 31
			u := float64(z>>40) / (1 << 24)
			switch {
			case strings.HasPrefix(name, "lin"):
			case len(shape) == 4:
				u = (2*u - 1) * math.Sqrt(6/float64(shape[1]*shape[2]*shape[3]))
			default:
				u = (2*u - 1) * 0.1
			}
			values[i] = float32(u)
			sum += float64(values[i])
		}
		want := f.Weights[name]
		for i, v := range want.First {
			if values[i] != float32(v) {
				t.Errorf("rule: %s[%d] is %v, want %v", name, i, values[i], v)
			}
		}
		if math.Abs(sum-want.Sum) > 1e-6 {
			t.Errorf("rule: %s adds up to %v, want %v", name, sum, want.Sum)
		}
		return values, shape, nil
	}
	return s
}

// tensor reads a tensor of golden.safetensors.
func (f *fixture) tensor(t *testing.T, name string) ([]float32, []int) {
	t.Helper()
	values, shape, err := f.golden.Float32(name)
	if err != nil {
		t.Fatal(err)
	}
	return values, shape
}

// near compares with a tensor of golden.safetensors, in its tolerance.
func (f *fixture) near(t *testing.T, name string, got []float32) {
	t.Helper()
	want, _ := f.tensor(t, name)
	s, ok := f.Stats[name]
	if !ok || len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d with a tolerance", name, len(got), len(want))
	}
	tol := 10*s.Dev + 1e-5*s.MaxAbs
	worst := 0.0
	for i, v := range want {
		worst = max(worst, math.Abs(float64(got[i])-float64(v)))
		if d := math.Abs(float64(got[i]) - float64(v)); !(d <= tol) {
			t.Errorf("%s[%d] = %v, want %v ± %.2g", name, i, got[i], v, tol)
			return
		}
	}
	t.Logf("%s: largest difference %.2g of %.2g", name, worst, tol)
}

// pixels scales a picture (B, 3, H, W) in [-1, 1]; the result is (B·H·W, 3).
func pixels(x []float32, batch, h, w int) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		b, c, at := i/(3*h*w), i/(h*w)%3, i%(h*w)
		out[(b*h*w+at)*3+c] = scaled(v, c)
	}
	return out
}

// ran is a graph that has run.
type ran struct {
	distance, scaled []float32
	layers, features [][]float32 // features (B·h·w, C)
	grad             []float32   // of the sum of the distances, with respect to the unscaled a
}

// runRaw computes everything of pictures in [-1, 1], (B, 3, H, W).
func runRaw(t *testing.T, n *Net, x, y []float32, batch, h, w int, backward bool) ran {
	t.Helper()
	b := graph.NewBuilder()
	a, o := b.Input("a", batch*h*w, 3), b.Input("b", batch*h*w, 3)
	layers, err := n.distances(b, a, o, batch, h, w)
	if err != nil {
		t.Fatal(err)
	}
	features := n.features(b, a, batch, h, w)
	total := layers[0]
	for _, d := range layers[1:] {
		total = b.Add(total, d)
	}
	pool := kernel.NewPool(2)
	defer pool.Close()
	config := graph.Config{Backend: graph.NewCPU(pool), Outputs: append(append([]*graph.Node{}, layers...), features...), Embedding: total}
	if backward {
		config.Wrt = []*graph.Node{a}
	}
	p, err := graph.Compile(b, config)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, leaf := range p.Params() {
		must(t, p.SetFloats(leaf, n.weights[leaf.Name()].data))
	}
	r := ran{scaled: pixels(x, batch, h, w)}
	must(t, p.SetFloats(a, r.scaled))
	must(t, p.SetFloats(o, pixels(y, batch, h, w)))
	must(t, p.Forward())
	copied := func(n *graph.Node) []float32 { return append([]float32{}, p.Value(n)...) }
	r.distance = copied(total)
	for _, d := range layers {
		r.layers = append(r.layers, copied(d))
	}
	for _, f := range features {
		r.features = append(r.features, copied(f))
	}
	if backward {
		grad, ones := make([]float32, len(x)), make([]float32, batch)
		for i := range ones {
			ones[i] = 1
		}
		must(t, p.SetGrad(a, grad))
		must(t, p.Backward(ones))
		r.grad = make([]float32, len(x))
		for i := range r.grad {
			b, c, at := i/(3*h*w), i/(h*w)%3, i%(h*w)
			r.grad[i] = grad[(b*h*w+at)*3+c] / scale[c]
		}
	}
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestFixtures compares with the reference: distances, their summands, what goes in, features, and gradients.
func TestFixtures(t *testing.T) {
	for _, name := range []string{"alex", "vgg", "squeeze", "alex_full", "vgg_full", "squeeze_full"} {
		t.Run(name, func(t *testing.T) {
			f := openFixture(t, name)
			for _, tier := range kernel.Tiers() {
				if tier.BF16() {
					continue
				}
				t.Run(tier.String(), func(t *testing.T) {
					restore, err := kernel.SetTier(tier)
					must(t, err)
					defer restore()
					f.check(t)
				})
			}
		})
	}
}

func (f *fixture) check(t *testing.T) {
	for _, pair := range []string{"a", "b", "far"} {
		if _, ok := f.golden.Info("in." + pair + ".in0"); !ok {
			continue
		}
		x, shape := f.tensor(t, "in."+pair+".in0")
		y, _ := f.tensor(t, "in."+pair+".in1")
		batch, h, w := shape[0], shape[2], shape[3]
		r := runRaw(t, f.net, x, y, batch, h, w, pair == "b")
		f.near(t, pair+".distance", r.distance)
		for k, d := range r.layers {
			f.near(t, fmt.Sprintf("%s.per_layer.%d", pair, k), d)
		}
		switch pair {
		case "a":
			planar := make([]float32, len(x))
			for i := range planar {
				b, c, at := i/(3*h*w), i/(h*w)%3, i%(h*w)
				planar[i] = r.scaled[(b*h*w+at)*3+c]
			}
			f.near(t, "a.scaled_in0", planar)
			for k, values := range r.features {
				c := f.net.taps[k]
				positions := len(values) / c / batch
				mean := make([]float32, batch*c)
				for b := range batch {
					for j := range c {
						var sum float64
						for at := range positions {
							sum += math.Abs(float64(values[(b*positions+at)*c+j]))
						}
						mean[b*c+j] = float32(sum / float64(positions))
					}
				}
				f.near(t, fmt.Sprintf("a.feature_mean_abs.%d", k), mean)
			}
			// The option that takes [0, 1].
			unit := func(x []float32) []float32 {
				u := make([]float32, len(x))
				for i, v := range x {
					u[i] = 2*((v+1)/2) - 1
				}
				return u
			}
			f.near(t, "a.distance_normalize_true", runRaw(t, f.net, unit(x), unit(y), batch, h, w, false).distance)
			// One by one, to the same bits.
			for b := range batch {
				if batch == 1 {
					break
				}
				one := runRaw(t, f.net, x[b*3*h*w:(b+1)*3*h*w], y[b*3*h*w:(b+1)*3*h*w], 1, h, w, false)
				if one.distance[0] != r.distance[b] {
					t.Errorf("pair %d alone: %v, in a batch %v", b, one.distance[0], r.distance[b])
				}
			}
		case "b":
			f.near(t, "b.grad_in0", r.grad)
		}
	}
}
