package training

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relsim/checkpoints"
	"relsim/dataloader"
	"relsim/nn"
)

// tinyTransformers is tiny with a transformer of two blocks in each tower.
func tinyTransformers() Config {
	_, c := tiny()
	c.Model.Vision.Layers = 2
	c.Model.Text.Kind, c.Model.Text.Pool, c.Model.Text.Length = nn.Transformer, nn.PoolMean, 12
	c.Model.Text.BlockConfig = c.Model.Vision.BlockConfig
	c.Steps = 5
	return c
}

// runNoticed runs to the end and returns what the user was told.
func runNoticed(t *testing.T, c Config, o Options, d *Data) (*Summary, string) {
	t.Helper()
	var told strings.Builder
	s, err := Run(context.Background(), c, o, d, Observer{Notice: func(format string, args ...any) {
		fmt.Fprintf(&told, format+"\n", args...)
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s, told.String()
}

func distinctCaptions(c Config, d *Data) int {
	seen := map[string]bool{}
	for i := range d.Train.Len() {
		seen[c.caption(d.Train.Item(i))] = true
	}
	return len(seen)
}

// A frozen text tower stays as the other run left it, bit for bit, with its vocabulary, and without a gradient's mean
// and square in the checkpoint. It is run once for each distinct caption, and not at all by the next run; that run,
// and one that is interrupted and resumed, end with the same weights.
func TestFrozenText(t *testing.T) {
	s, _ := tiny()
	d, c := tinyData(t, s), tinyTransformers()
	first := mustRun(t, c, options(t), d)
	learned := values(t, first.Checkpoint)

	c.Freeze, c.Average, c.Seed, c.MicroBatch = nn.TextTower, 0.9, 2, 8
	cache := filepath.Join(t.TempDir(), "cache")
	var want []byte
	for i, rows := range []int{distinctCaptions(c, d), 0} {
		o := options(t)
		o.TextFrom, o.RowCache = first.Checkpoint, cache
		got := mustRun(t, c, o, d)
		if got.TextRows != rows {
			t.Errorf("run %d ran the text tower for %d captions, want %d", i, got.TextRows, rows)
		}
		for name, v := range values(t, got.Checkpoint) {
			same := slices.Equal(v, learned[name])
			if frozen := nn.TextTower.Has(name); frozen != same && (frozen || strings.HasSuffix(name, ".weight")) {
				t.Errorf("%s: the same as before is %v, frozen is %v", name, same, frozen)
			}
		}
		snapshot, err := checkpoints.Load(got.Checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		donor, err := checkpoints.Load(first.Checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(snapshot.Files[wordsFile], donor.Files[wordsFile]) {
			t.Error("the vocabulary is another")
		}
		for _, tensor := range snapshot.Optimizer {
			if strings.Contains(tensor.Name, "text.") && !strings.HasPrefix(tensor.Name, weightsPrefix) {
				t.Errorf("the optimiser holds %s", tensor.Name)
			}
		}
		if want == nil {
			want = weights(t, got.Checkpoint)
		} else if !bytes.Equal(weights(t, got.Checkpoint), want) {
			t.Error("rows from the cache lead to other weights")
		}
	}

	o := options(t)
	o.TextFrom, o.Threads = first.Checkpoint, 3 // and no cache
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Run(ctx, c, o, d, Observer{Step: func(row Row) {
		if row.Step == 2 {
			cancel()
		}
	}})
	if !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	if got := mustRun(t, c, o, d); !bytes.Equal(weights(t, got.Checkpoint), want) {
		t.Error("the resumed run ends with other weights")
	}
}

// With a tower frozen, the other's gradient is what it is when both are trained, and its own is none.
func TestFrozenGradients(t *testing.T) {
	s, _ := tiny()
	d, c := tinyData(t, s), tinyTransformers()
	c.WordDropout = 0
	c.Model.LearnTemperature = true
	both := start(t, c, options(t), d)
	if err := both.take(); err != nil {
		t.Fatal(err)
	}
	for _, tower := range []nn.Tower{nn.TextTower, nn.VisionTower} {
		c.Freeze = tower
		one := start(t, c, options(t), d)
		if err := one.embedCaptions(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := one.take(); err != nil {
			t.Fatal(err)
		}
		for _, p := range one.model.Params.All() {
			whole := both.model.Params.Lookup(p.Name)
			switch {
			case p.Frozen != tower.Has(p.Name):
				t.Errorf("%s frozen: %s frozen is %v", tower, p.Name, p.Frozen)
			case p.Frozen && p.Grad != nil:
				t.Errorf("%s frozen: %s has a gradient", tower, p.Name)
			case !p.Frozen && !slices.Equal(p.Grad, whole.Grad):
				t.Errorf("%s frozen: the gradient of %s differs", tower, p.Name)
			}
		}
	}
}

// A frozen image tower stays as it was; the text tower learns, in micro-batches too.
func TestFrozenVision(t *testing.T) {
	s, _ := tiny()
	d, c := tinyData(t, s), tinyTransformers()
	first := mustRun(t, c, options(t), d)
	learned := values(t, first.Checkpoint)
	c.Freeze, c.MicroBatch, c.Seed, c.Model.Vision.Dropout = nn.VisionTower, 8, 3, 0.5 // a frozen tower drops nothing
	o := options(t)
	o.VisionFrom = filepath.Dir(filepath.Dir(first.Checkpoint)) // the run
	got := mustRun(t, c, o, d)
	for name, v := range values(t, got.Checkpoint) {
		if nn.VisionTower.Has(name) && !slices.Equal(v, learned[name]) {
			t.Errorf("%s has changed", name)
		}
		if name == "text.head.weight" && slices.Equal(v, learned[name]) {
			t.Errorf("%s has not", name)
		}
	}
}

// A cache that is damaged is told of and made anew; one that cannot be written is told of once. The weights are the
// same.
func TestFrozenCacheTrouble(t *testing.T) {
	s, _ := tiny()
	d, c := tinyData(t, s), tinyTransformers()
	c.Freeze, c.Steps = nn.TextTower, 2
	plain, told := runNoticed(t, c, options(t), d)
	want, all := weights(t, plain.Checkpoint), plain.TextRows
	if told != fmt.Sprintf("text tower frozen: %d distinct captions, 0 of them from the cache\n", all) {
		t.Errorf("told: %s", told)
	}
	cache := t.TempDir()
	run := func(folder string) (int, string) {
		t.Helper()
		o := options(t)
		o.RowCache = folder
		got, told := runNoticed(t, c, o, d)
		if !bytes.Equal(weights(t, got.Checkpoint), want) {
			t.Error("other weights")
		}
		return got.TextRows, told
	}
	run(cache)
	files, _ := filepath.Glob(filepath.Join(cache, "*"))
	if len(files) != 1 {
		t.Fatalf("the cache holds %v", files)
	}
	if err := os.Truncate(files[0], 1000); err != nil {
		t.Fatal(err)
	}
	if rows, told := run(cache); rows != all || !strings.Contains(told, files[0]+": damaged") || !strings.Contains(told, "made anew") {
		t.Errorf("damaged: %d rows; told: %s", rows, told)
	}
	if rows, _ := run(cache); rows != 0 {
		t.Errorf("made anew: %d rows", rows)
	}
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if rows, told := run(filepath.Join(blocked, "cache")); rows != all || strings.Count(told, "going on without") != 1 {
		t.Errorf("no folder: %d rows; told: %s", rows, told)
	}
}

// renamed has captions of one word that nobody knows.
type renamed struct{ dataloader.Dataset }

func (r renamed) Item(i int) dataloader.Item {
	item := r.Dataset.Item(i)
	item.Caption = "floccinaucinihilipilification"
	return item
}

// Towers that do not fit, and vocabularies without a common word.
func TestDonorRefused(t *testing.T) {
	s, c := tiny()
	d := tinyData(t, s)
	c.Steps = 1
	from := mustRun(t, c, options(t), d).Checkpoint
	strange := *d
	strange.Train = renamed{d.Train}
	for _, tt := range []struct {
		name   string
		change func(*Config, *Options)
		want   string
	}{
		{"text width", func(c *Config, o *Options) { c.Model.Text.Width, o.TextFrom = 32, from }, "the text tower of " + from + " does not fit: text.width is 24 there, 32 here"},
		{"embedding", func(c *Config, o *Options) { c.Model.EmbedDim, o.VisionFrom = 32, from }, "the vision tower of " + from + " does not fit: embed_dim is 24 there, 32 here"},
		{"vision heads", func(c *Config, o *Options) { c.Model.Vision.Heads, o.VisionFrom = 4, from }, "vision.heads is 2 there, 4 here"},
		{"normalisation", func(c *Config, o *Options) {
			c.Normalize = dataloader.Normalize{Mean: [3]float64{0.5, 0.25, 0.5}, Std: [3]float64{1, 1, 1}}
			o.VisionFrom = from
		}, "normalize"},
		{"geometry", func(c *Config, o *Options) {
			c.Geometry = dataloader.Geometry{Resize: dataloader.ResizeNone}
			o.VisionFrom = from
		}, "geometry.resize"},
		{"no run", func(_ *Config, o *Options) { o.TextFrom = filepath.Join(t.TempDir(), "none") }, "none"},
		{"no common word", func(_ *Config, o *Options) { o.TextFrom = from }, "has no word of the captions"},
		{"tower", func(c *Config, _ *Options) { c.Freeze = "both" }, `freeze "both": want "vision" or "text"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, o := c, options(t)
			tt.change(&c, &o)
			data := d
			if tt.name == "no common word" {
				data = &strange
			}
			_, err := Run(context.Background(), c, o, data, Observer{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

// Checkpointing of activations changes no bit, and may be switched on when a run is resumed.
func TestCheckpointOption(t *testing.T) {
	s, _ := tiny()
	d, c := tinyData(t, s), tinyTransformers()
	c.Model.Vision.Dropout, c.Model.Text.Dropout = 0.1, 0.1
	o := options(t)
	plain := mustRun(t, c, o, d)
	on := options(t)
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := Run(ctx, c, on, d, Observer{Step: func(Row) { cancel() }}); !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	on.Checkpoint = true
	if got := mustRun(t, c, on, d); !bytes.Equal(weights(t, got.Checkpoint), weights(t, plain.Checkpoint)) {
		t.Error("other weights")
	}
	off, less := start(t, c, options(t), d), start(t, c, Options{
		Out: t.TempDir(), Resume: ResumeAuto, Threads: 1, Workers: 1, Keep: 1, Checkpoint: true,
	}, d)
	if a, b := off.vision.replicas.ArenaBytes(), less.vision.replicas.ArenaBytes(); b >= a {
		t.Errorf("%d bytes with checkpoints, %d without", b, a)
	}
}

// The learning rate falls from block to block towards the input of a tower: the first step of AdamW moves a weight by
// the rate times its factor.
func TestLayerDecay(t *testing.T) {
	s, _ := tiny()
	d, c := tinyData(t, s), tinyTransformers()
	c.Optimizer.WeightDecay, c.Optimizer.ClipNorm, c.WordDropout, c.Warmup = 0, 0, 0, 0
	moved := func(decay float64) map[string][]float64 {
		c.LayerDecay = decay
		r := start(t, c, options(t), d)
		before := make(map[string][]float32)
		for _, p := range r.model.Params.All() {
			before[p.Name] = slices.Clone(p.Data)
		}
		if err := r.take(); err != nil {
			t.Fatal(err)
		}
		by := make(map[string][]float64)
		for _, p := range r.model.Params.All() {
			for i, w := range p.Data {
				by[p.Name] = append(by[p.Name], float64(w)-float64(before[p.Name][i]))
			}
		}
		return by
	}
	plain, decayed := moved(0), moved(0.5)
	for name, factor := range map[string]float64{
		"vision.pos_embed": 1. / 8, "vision.stem.0.weight": 1. / 8, "vision.blocks.0.mlp.fc1.weight": 1. / 4,
		"vision.blocks.1.attn.qkv.weight": 1. / 2, "vision.norm.weight": 1, "vision.head.weight": 1,
		"text.token_embedding.weight": 1. / 8, "text.blocks.1.mlp.fc2.bias": 1. / 2, "text.head.weight": 1,
	} {
		if len(plain[name]) == 0 {
			t.Fatalf("no parameter %s", name)
		}
		for i, by := range plain[name] {
			if got, want := decayed[name][i], factor*by; math.Abs(got-want) > 1e-6 {
				t.Errorf("%s: value %d moved by %v, want %v times %v", name, i, got, factor, by)
				break
			}
		}
	}
}
