package training

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"relsim/graph"
	"relsim/kernel"
	"relsim/nn"
	"relsim/optim"
)

// blockFlops are the operations of a block's matrix products on one sequence.
func blockFlops(c nn.BlockConfig, tokens int) float64 {
	t, d, m := float64(tokens), float64(c.Width), float64(c.MLP)
	return float64(c.Layers) * (2*t*d*(4*d+2*m) + 4*t*t*d)
}

// stepFlops are the operations of the matrix products of a training step, for each picture with its caption.
func stepFlops(c nn.Config) float64 {
	v, t := c.Vision, c.Text
	patches := float64(v.Grid() * v.Grid())
	pixels := float64(3 * v.PatchSize * v.PatchSize)
	once := 2 * patches * pixels * float64(v.Width) * 2 // no gradient of the pictures
	return once + 3*(blockFlops(v.BlockConfig, v.Tokens())+blockFlops(t.BlockConfig, t.Length))
}

// BenchmarkTowers times forward, backward and AdamW of whole models on random pictures and captions, without loading and
// loss. GFLOP/s counts the matrix products; compare with BenchmarkPeak of package kernel.
func BenchmarkTowers(b *testing.B) {
	for _, m := range []struct {
		preset string
		batch  int
	}{{"vit-ti/8", 256}, {"vit-s/16", 16}, {"vit-b/16", 8}} {
		for _, threads := range []int{1, runtime.GOMAXPROCS(0)} {
			b.Run(fmt.Sprintf("model=%s/batch=%d/threads=%d", m.preset, m.batch, threads), func(b *testing.B) {
				c, err := nn.Preset(m.preset)
				if err != nil {
					b.Fatal(err)
				}
				const vocab = 1000
				rng := rand.New(rand.NewPCG(1, 2))
				model, err := nn.New(c, vocab, rng)
				if err != nil {
					b.Fatal(err)
				}
				pool := kernel.NewPool(threads)
				defer pool.Close()
				var programs []*graph.Program
				var upstream [][]float32
				arena := 0
				tower := func(build func(*graph.Builder) *graph.Node, bind func(*graph.Program) error) {
					gb := graph.NewBuilder()
					emb := build(gb)
					p, err := graph.Compile(gb, graph.Config{Backend: graph.NewCPU(pool), Embedding: emb, Wrt: gb.Params(), Training: true})
					if err != nil {
						b.Fatal(err)
					}
					if err := model.Bind(p); err != nil {
						b.Fatal(err)
					}
					if err := bind(p); err != nil {
						b.Fatal(err)
					}
					up := make([]float32, m.batch*c.EmbedDim)
					for i := range up {
						up[i] = float32(rng.NormFloat64())
					}
					programs, upstream = append(programs, p), append(upstream, up)
					arena += p.ArenaBytes()
				}
				var images *graph.Node
				var text nn.TextInput
				tower(func(gb *graph.Builder) (emb *graph.Node) {
					images, emb = model.Vision(gb, m.batch)
					return emb
				}, func(p *graph.Program) error {
					pictures := make([]float32, m.batch*3*c.Vision.ImageSize*c.Vision.ImageSize)
					for i := range pictures {
						pictures[i] = float32(rng.NormFloat64())
					}
					return p.SetFloats(images, pictures)
				})
				tower(func(gb *graph.Builder) (emb *graph.Node) {
					text, emb = model.Text(gb, m.batch)
					return emb
				}, func(p *graph.Program) error {
					ids, weights := make([]int32, m.batch*text.Length), make([]float32, m.batch*text.Length)
					for i := range ids {
						ids[i], weights[i] = rng.Int32N(vocab), 1
					}
					if err := p.SetIDs(text.IDs, ids); err != nil {
						return err
					}
					return p.SetFloats(text.Weights, weights)
				})
				optimizer, err := optim.NewAdamW(model.Params, optim.Default(), pool)
				if err != nil {
					b.Fatal(err)
				}
				var spent [3]time.Duration
				step := func() {
					start := time.Now()
					for _, p := range programs {
						if err := p.Forward(); err != nil {
							b.Fatal(err)
						}
					}
					spent[0] += time.Since(start)
					start = time.Now()
					for i, p := range programs {
						if err := p.Backward(upstream[i]); err != nil {
							b.Fatal(err)
						}
					}
					spent[1] += time.Since(start)
					start = time.Now()
					if _, err := optimizer.Step(1e-4); err != nil {
						b.Fatal(err)
					}
					spent[2] += time.Since(start)
				}
				step()
				clear(spent[:])
				for b.Loop() {
					step()
				}
				b.ReportMetric(stepFlops(c)*float64(m.batch)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				for i, what := range []string{"forward", "backward", "adamw"} {
					b.ReportMetric(spent[i].Seconds()*1e3/float64(b.N), what+"-ms")
				}
				b.ReportMetric(float64(arena)/(1<<20), "arena-MiB")
			})
		}
	}
}
