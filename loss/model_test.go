package loss

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"relsim/graph"
	"relsim/kernel"
	"relsim/nn"
)

// tiny returns small models that together have every part of a model.
func tiny() map[string]nn.Config {
	block := nn.BlockConfig{Width: 6, Layers: 1, Heads: 2, MLP: 5, NormEps: 1e-5, GELU: nn.GELUErf, Init: nn.InitFanIn}
	two := block
	two.Layers, two.GELU = 2, nn.GELUTanh
	conv := nn.VisionConfig{
		ImageSize: 8, Stem: nn.ConvStem, Pool: nn.PoolMean, BlockConfig: block,
		Convs: []nn.ConvConfig{{Channels: 4, Stride: 2}, {Channels: 4, Stride: 1}, {Channels: 6, Stride: 2}},
	}
	patch := nn.VisionConfig{ImageSize: 6, Stem: nn.PatchStem, PatchSize: 3, Pool: nn.PoolCLS, BlockConfig: two}
	bag := nn.TextConfig{Kind: nn.Bag, Length: 4, BlockConfig: nn.BlockConfig{Width: 5, Init: nn.InitFanIn}}
	mean := nn.TextConfig{Kind: nn.Transformer, Length: 4, Pool: nn.PoolMean, BlockConfig: block}
	last := nn.TextConfig{Kind: nn.Transformer, Length: 4, Pool: nn.PoolLast, BlockConfig: two}
	return map[string]nn.Config{
		"conv-bag":   {Vision: conv, Text: bag, EmbedDim: 4, Temperature: .5},
		"patch-mean": {Vision: patch, Text: mean, EmbedDim: 4, Temperature: .5, LearnTemperature: true},
		"patch-last": {Vision: patch, Text: last, EmbedDim: 4, Temperature: .5, LearnTemperature: true, LogitBias: -1, LearnLogitBias: true},
	}
}

// trainer is a model with the programs of one training step.
type trainer struct {
	model          *nn.Model
	vision, text   *graph.Program
	images, emb    *graph.Node
	in             nn.TextInput
	textEmb        *graph.Node
	loss           *Loss
	relations      []int
	embImg, embTxt []float32
}

func newTrainer(t *testing.T, config nn.Config, kind Kind, backend graph.Backend) *trainer {
	t.Helper()
	const n, vocab = 3, 7
	rng := rand.New(rand.NewPCG(11, 12))
	m, err := nn.New(config, vocab, rng)
	check(t, err)
	for i := range m.Params.Data() { // no weight where the loss bends within a small step
		m.Params.Data()[i] += float32(.4 * rng.NormFloat64())
	}
	tr := &trainer{model: m, relations: []int{0, 1, 0}, embImg: make([]float32, n*config.EmbedDim), embTxt: make([]float32, n*config.EmbedDim)}

	b := graph.NewBuilder()
	tr.images, tr.emb = m.Vision(b, n)
	tr.vision = compile(t, b, graph.Config{Backend: backend, Embedding: tr.emb, Wrt: b.Params()})
	check(t, m.Bind(tr.vision))
	side := config.Vision.ImageSize
	pixels := make([]float32, n*3*side*side)
	for i := range pixels {
		pixels[i] = float32(rng.NormFloat64())
	}
	check(t, tr.vision.SetFloats(tr.images, pixels))

	b = graph.NewBuilder()
	tr.in, tr.textEmb = m.Text(b, n)
	tr.text = compile(t, b, graph.Config{Backend: backend, Embedding: tr.textEmb, Wrt: b.Params()})
	check(t, m.Bind(tr.text))
	ids, weights := make([]int32, n*tr.in.Length), make([]float32, n*tr.in.Length)
	m.FillText(ids, weights, [][]int32{{3, -1, 3}, {1}, {0, 2, 6, 5, 4}}, nil, 0)
	check(t, tr.text.SetIDs(tr.in.IDs, ids))
	check(t, tr.text.SetFloats(tr.in.Weights, weights))

	tr.loss, err = ForModel(m, Config{Kind: kind, Positives: SameRelation}, n, backend)
	check(t, err)
	t.Cleanup(func() { tr.loss.Close() })
	return tr
}

// step returns the loss and, if asked, leaves all gradients in the parameters.
func (tr *trainer) step(t *testing.T, backward bool) float64 {
	t.Helper()
	check(t, tr.vision.Forward())
	check(t, tr.text.Forward())
	value, _, err := tr.loss.Run(tr.vision.Value(tr.emb), tr.text.Value(tr.textEmb), tr.relations, nil)
	check(t, err)
	if backward {
		check(t, tr.vision.Backward(tr.loss.GradImg))
		check(t, tr.text.Backward(tr.loss.GradTxt))
	}
	return value
}

// TestModelGradient compares every derivative of whole models with central
// differences, extrapolated to step zero.
func TestModelGradient(t *testing.T) {
	onTiers(t, func(t *testing.T) {
		for name, config := range tiny() {
			kind := Symmetric
			if config.LearnLogitBias {
				kind = Sigmoid
			}
			t.Run(name, func(t *testing.T) {
				tr := newTrainer(t, config, kind, nil)
				tr.step(t, true)
				grads := slices.Clone(tr.model.Params.Grad()) // Run writes that of the scale each time
				for _, p := range tr.model.Params.All() {
					low, high := tr.model.Params.Range(p)
					var sum float64
					for i, grad := range grads[low:high] {
						sum += math.Abs(float64(grad))
						at := p.Data[i]
						difference := func(h float32) float64 {
							p.Data[i] = at + h
							high := tr.step(t, false)
							width := float64(p.Data[i])
							p.Data[i] = at - h
							low := tr.step(t, false)
							width -= float64(p.Data[i])
							p.Data[i] = at
							return (high - low) / width
						}
						want := (4*difference(.01) - difference(.02)) / 3
						if d := math.Abs(float64(grad) - want); !(d <= 5e-4+.01*math.Abs(want)) {
							t.Fatalf("gradient of %s[%d]: %v, want %v", p.Name, i, grad, want)
						}
					}
					if sum == 0 {
						t.Errorf("%s has no gradient", p.Name)
					}
				}
			})
		}
	})
}

// TestGradientDoesNotDependOnThreads runs a step with several pools.
func TestGradientDoesNotDependOnThreads(t *testing.T) {
	for name, config := range tiny() {
		one := newTrainer(t, config, Symmetric, nil)
		want := one.step(t, true)
		for threads := 2; threads <= 3; threads++ {
			pool := kernel.NewPool(threads)
			defer pool.Close()
			many := newTrainer(t, config, Symmetric, graph.NewCPU(pool))
			if got := many.step(t, true); got != want {
				t.Errorf("%s: loss %v with %d threads, %v with one", name, got, threads, want)
			}
			for i, grad := range many.model.Params.Grad() {
				if grad != one.model.Params.Grad()[i] {
					t.Fatalf("%s: gradient %d is %v with %d threads, %v with one", name, i, grad, threads, one.model.Params.Grad()[i])
				}
			}
		}
	}
}
