package nn

import (
	"testing"

	"relsim/graph"
)

// arenaOf compiles the training step of a tower and returns the memory of its
// activations, in MiB.
func arenaOf(t *testing.T, build func(b *graph.Builder) *graph.Node, checkpoint bool) int {
	t.Helper()
	b := graph.NewBuilder()
	emb := build(b)
	p, err := graph.Compile(b, graph.Config{Embedding: emb, Wrt: b.Params(), Training: true, Checkpoint: checkpoint})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	return p.ArenaBytes() >> 20
}

// The activations of the steps that docs/performance.md compares, and of one that
// only checkpointing brings into the memory of a small machine. Nothing is run:
// memory that is not touched costs nothing.
func TestStepMemory(t *testing.T) {
	for _, tt := range []struct {
		preset       string
		batch        int
		checkpoint   bool
		vision, text int // most MiB
	}{
		{"vit-ti/8", 256, false, 1600, 720},
		{"vit-ti/8", 256, true, 360, 310},
		{"vit-s/16", 16, false, 610, 130},
		{"vit-s/16", 16, true, 140, 46},
		{"vit-b/16", 8, false, 620, 165},
		{"vit-b/16", 8, true, 150, 43},
		{"vit-b/16", 64, true, 1100, 290},
	} {
		c, err := Preset(tt.preset)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Declare(c, 1000)
		if err != nil {
			t.Fatal(err)
		}
		vision := arenaOf(t, func(b *graph.Builder) *graph.Node { _, emb := m.Vision(b, tt.batch); return emb }, tt.checkpoint)
		text := arenaOf(t, func(b *graph.Builder) *graph.Node { _, emb := m.Text(b, tt.batch); return emb }, tt.checkpoint)
		t.Logf("%s, batch %d, checkpoint=%v: vision %d MiB, text %d MiB", tt.preset, tt.batch, tt.checkpoint, vision, text)
		if vision > tt.vision || text > tt.text {
			t.Errorf("%s, batch %d, checkpoint=%v: vision %d MiB, text %d, want at most %d and %d",
				tt.preset, tt.batch, tt.checkpoint, vision, text, tt.vision, tt.text)
		}
	}
}
