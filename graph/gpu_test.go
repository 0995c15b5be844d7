//go:build linux && amd64 && !nogpu

package graph

import (
	"math/rand/v2"
	"slices"
	"testing"

	"relsim/cuda"
	"relsim/cuda/fake"
	"relsim/kernel"
)

// openGPU opens a GPU, or a driver that runs on the host where none is named. seeds are the orders in which that one
// runs threads, one after the other: set chooses.
func openGPU(t *testing.T) (g *GPU, seeds int, set func(seed int)) {
	t.Helper()
	seeds, set = fake.Orders(t, "../cuda/kernels")
	d, err := cuda.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	g, err = NewGPU(d, GPUConfig{Warn: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g, seeds, set
}

// anotherGPU is one of other settings on the same device.
func anotherGPU(t *testing.T, g *GPU, c GPUConfig) *GPU {
	t.Helper()
	another, err := NewGPU(g.device, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := another.Close(); err != nil {
			t.Error(err)
		}
	})
	return another
}

// The ops and whole towers on a GPU. It is one test because a process opens one driver.
func TestGPU(t *testing.T) {
	g, seeds, set := openGPU(t)
	t.Run("ops", func(t *testing.T) { testOpsOnGPU(t, g, seeds, set) })
	t.Run("attention", func(t *testing.T) { testAttentionOnGPU(t, g, seeds, set) })
	t.Run("contrast", func(t *testing.T) { testContrastOnGPU(t, g, seeds, set) })
	t.Run("profile", func(t *testing.T) { testProfile(t, g) })
	t.Run("products", func(t *testing.T) { testProductsOnGPU(t, g, seeds, set) })
	t.Run("refused products", func(t *testing.T) { testRefusedOnGPU(t, g) })
	t.Run("convolutions", func(t *testing.T) { testConvolutionsOnGPU(t, g, set) })
	t.Run("towers by kernels", func(t *testing.T) { testTowerByKernels(t, g, set) })
	t.Run("no cublasLt", func(t *testing.T) { testNoCublasLt(t, g) })
	t.Run("towers", func(t *testing.T) { testTowerOnGPU(t, g, seeds, set) })
	half := anotherGPU(t, g, GPUConfig{Precision: kernel.BF16})
	t.Run("norms by few blocks", func(t *testing.T) { testNormByFewBlocks(t, g, min(seeds, 2), set) })
	t.Run("towers in bf16", func(t *testing.T) { testTowerInHalves(t, half, seeds, set) })
	t.Run("ops in bf16", func(t *testing.T) { testOpsInHalves(t, half, seeds, set) })
	t.Run("residents", func(t *testing.T) { testResidents(t, g, seeds, set) })
	t.Run("residents in bf16", func(t *testing.T) { testResidents(t, half, min(seeds, 2), set) })
	if seeds > 1 { // to the byte; a real driver rounds, and other processes take memory meanwhile
		t.Run("memory", func(t *testing.T) { testMemoryFor(t, g) })
	}
	t.Run("queue", func(t *testing.T) { testQueue(t, g, seeds, set) })
	t.Run("reads", func(t *testing.T) { testReads(t, g, seeds, set) })
	t.Run("residents that change", func(t *testing.T) { testResidentChanges(t, g, set) })
	t.Run("pixels", func(t *testing.T) { testPixels(t, g, seeds, set) })
	t.Run("pixels in turns", func(t *testing.T) { testPixelsInTurns(t, g, seeds, set) })
	t.Run("pixels in bf16", func(t *testing.T) { testPixelsInTurns(t, half, min(seeds, 2), set) })
	t.Run("errors of residents", func(t *testing.T) { testResidentErrors(t, g, seeds > 1) })
	if seeds > 1 {
		t.Run("lost", func(t *testing.T) { testLost(t, set) })
	}
}

// testOpsOnGPU compares every op with its definition, as TestOps does on the host.
func testOpsOnGPU(t *testing.T, g *GPU, seeds int, set func(int)) {
	for _, c := range slices.Concat(opCases(), wideCases()) {
		t.Run(c.name, func(t *testing.T) {
			d := draw(t, c)
			d.check(t, g, expect(c, d), func(run int) bool { set(run); return run < seeds })
		})
	}
}

// testTowerOnGPU runs steps of a transformer with dropout, two micro-batches each, and compares embeddings and gradients with
// those of the host, in every way to lay memory out. Every seed has to give the same bits.
func testTowerOnGPU(t *testing.T, g *GPU, seeds int, set func(int)) {
	compareTowers(t, g, min(seeds, 3), set, func(t *testing.T, what string, got, want []float32) {
		near(t, what, got, widened(want), map[bool]float64{true: 1e-5, false: 5e-5}[what == "embedding"])
	})
}

// compareTowers runs towers on a GPU and on the host. close compares what the two give.
func compareTowers(t *testing.T, g *GPU, seeds int, set func(int), close func(t *testing.T, what string, got, want []float32)) {
	tw := newTower(8, 2, 0.1)
	upstream := uniform(rand.New(rand.NewPCG(1, 1)), operandOf(tw.emb).size())
	step := func(c Config) (map[string][]float32, []float32) {
		c.Embedding, c.Wrt, c.Training = tw.emb, tw.b.Params(), true
		p := mustCompile(t, tw.b, c)
		defer p.Close()
		v := newValues(tw.b, 1)
		for name, n := range tw.b.leaves {
			must(t, p.SetFloats(n, v.data[name]))
		}
		for i, n := range p.Wrt() {
			if c.Lent != nil {
				v.grad[n.Name()] = c.Lent[c.LentAt[i]:][:operandOf(n).size()]
			} else {
				must(t, p.SetGrad(n, v.grad[n.Name()]))
			}
		}
		for i := range 2 {
			p.SetSeed(uint64(i))
			p.SetAccumulate(i > 0 && c.Lent == nil)
			must(t, p.Forward())
			must(t, p.Backward(upstream))
		}
		return v.grad, slices.Clone(p.Value(tw.emb))
	}
	lend := func(c Config) Config {
		for _, n := range tw.b.Params() {
			c.LentAt = append(c.LentAt, len(c.Lent))
			c.Lent = append(c.Lent, make([]float32, operandOf(n).size())...)
		}
		return c
	}
	for _, tt := range []struct {
		name   string
		config func() Config
	}{
		{"plain", func() Config { return Config{} }},
		{"checkpoints", func() Config { return Config{Checkpoint: true} }},
		{"lent", func() Config { return lend(Config{}) }},
		{"one op a step", func() Config { return Config{apart: true} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set(0)
			wantGrads, wantEmbedding := step(tt.config())
			var firstGrads map[string][]float32
			var firstEmbedding []float32
			for seed := range seeds {
				set(seed)
				c := tt.config()
				c.Backend = g
				grads, embedding := step(c)
				close(t, "embedding", embedding, wantEmbedding)
				for name := range grads {
					close(t, "gradient of "+name, grads[name], wantGrads[name])
				}
				if seed == 0 {
					firstGrads, firstEmbedding = grads, embedding
					continue
				}
				sameBits(t, "embedding", embedding, firstEmbedding)
				for name := range grads {
					sameBits(t, "gradient of "+name, grads[name], firstGrads[name])
				}
			}
		})
	}
}

func widened(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}
