//go:build linux && amd64 && !nogpu

package graph

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// testPixels looks pixels up on a GPU: planes that are shorter and longer than a block takes, and of sizes that do not divide.
func testPixels(t *testing.T, g *GPU, seeds int, set func(int)) {
	for i, shape := range [][]int{{2, 3, 8, 8}, {1, 3, 1, 1}, {3, 3, 5, 7}, {1, 3, 64, 68}, {2, 3, 33, 129}, {1, 3, 64, 64}} {
		for seed := range min(seeds, 8) {
			set(seed)
			b := NewBuilder()
			x := b.Input("x", shape...)
			p := mustCompile(t, b, Config{Backend: g, Outputs: []*Node{b.Scale(x, 1)}})
			r := rand.New(rand.NewPCG(uint64(seed), uint64(i)))
			for range 3 {
				pixels, tables, values := drawnPixels(r, shape...)
				must(t, p.SetPixels(x, pixels, tables))
				must(t, p.Forward())
				got := make([]float32, len(values))
				must(t, p.CopyValue(x, got)) // of the device
				sameBits(t, fmt.Sprint(shape), got, values)
				sameBits(t, fmt.Sprint(shape, " on the host"), p.Value(x), values)
			}
			must(t, p.Close())
		}
	}
}

// testPixelsInTurns runs steps of a tower whose pictures are values and pixels in turns, all of them in the queue before
// anything is waited for, and compares all bits with those of values alone.
func testPixelsInTurns(t *testing.T, g *GPU, seeds int, set func(int)) {
	const steps = 6
	run := func(together bool, asPixels func(i int) bool) (embeddings, grads []float32) {
		f := newFlat(t, Config{}, false, g, true)
		defer f.close(t)
		n, m := len(f.embeddings), len(f.grad)
		embeddings, grads = make([]float32, steps*n), make([]float32, steps*m)
		all, err := g.Resident(embeddings)
		must(t, err)
		sums, err := g.Resident(grads)
		must(t, err)
		r := rand.New(rand.NewPCG(4, 4))
		forward := func(step, i int) error {
			pixels, tables, values := drawnPixels(r, 8, 3, 8, 8)
			ordinary(tables, values)
			bind := func() error { return f.p.SetFloats(f.tower.images, values) }
			if asPixels(2*step + i) {
				bind = func() error { return f.p.SetPixels(f.tower.images, pixels, tables) }
			}
			f.p.SetSeed(uint64(2*step + i))
			err := errors.Join(bind(), f.p.Forward())
			poison(values) // the run has read them
			poison(tables)
			clear(pixels)
			return errors.Join(err, f.p.CopyValue(f.emb, f.embeddings[i*n/2:(i+1)*n/2]))
		}
		recorded := [2]*gpuPhase{&f.p.engine.(*gpuEngine).phases[phaseForward], &f.p.engine.(*gpuEngine).phases[phaseBackward]}
		step := func(i int) error {
			err := errors.Join(forward(i, 0), forward(i, 1), f.backward(1, false))
			return errors.Join(err,
				g.Launch("copy", 4, 256, embeddings[i*n:(i+1)*n], f.embeddings, 0, int64(n)),
				g.Launch("copy", 4, 256, grads[i*m:(i+1)*m], f.grad, 0, int64(m)))
		}
		steps := func(from, to int) {
			must(t, g.Together(func() (err error) {
				for i := from; i < to && err == nil; i++ {
					if err = step(i); !together {
						err = errors.Join(err, g.stream.Sync())
					}
				}
				return err
			}))
		}
		steps(0, 2)
		first := [2]any{recorded[0].recorded, recorded[1].recorded}
		steps(2, 6)
		for i, phase := range recorded {
			if phase.recorded == nil || any(phase.recorded) != first[i] {
				t.Errorf("phase %d is recorded anew, or not at all", i)
			}
		}
		must(t, errors.Join(all.Download(), sums.Download(), all.Close(), sums.Close()))
		return slices.Clone(embeddings), slices.Clone(grads)
	}
	set(0)
	wantEmbeddings, wantGrads := run(false, func(int) bool { return false })
	for seed := range min(seeds, 8) {
		set(seed)
		asPixels := func(i int) bool { return true }
		if seed%2 == 1 {
			asPixels = func(i int) bool { return (i*seed+i/3)%3 != 1 }
		}
		embeddings, grads := run(true, asPixels)
		sameBits(t, "embedding", embeddings, wantEmbeddings)
		sameBits(t, "gradient", grads, wantGrads)
	}
}
