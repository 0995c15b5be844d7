package training

import (
	"bytes"
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"relsim/dataloader"
	"relsim/nn"
)

// start returns a run that is about to take its first step.
func start(t testing.TB, c Config, o Options, d *Data) *trainer {
	t.Helper()
	tr, err := newTrainer(c, o, d, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.close)
	if err := tr.resume(); err != nil {
		t.Fatal(err)
	}
	return tr
}

// take takes one step.
func (t *trainer) take() error {
	batch, err := t.loader.Next(context.Background())
	if err != nil {
		return err
	}
	return t.update(context.Background(), batch)
}

// TestGradientOfMicroBatches holds the gradient of a batch in micro-batches, which are read twice, to that of the whole
// batch, with dropout off: it draws for each micro-batch anew.
func TestGradientOfMicroBatches(t *testing.T) {
	s, c := tiny()
	d := tinyData(t, s)
	c.Batch, c.MicroBatch = 48, 48
	whole := start(t, c, options(t), d)
	if err := whole.take(); err != nil {
		t.Fatal(err)
	}
	want := whole.model.Params.Grad()
	var norm float64
	for _, g := range want {
		norm += float64(g) * float64(g)
	}
	for _, cut := range []struct{ micro, shards int }{{24, 1}, {8, 1}, {1, 1}, {48, 4}, {24, 3}} {
		c.MicroBatch, c.Shards = cut.micro, cut.shards
		o := options(t)
		o.keepPictures = 1
		parts := start(t, c, o, d)
		if err := parts.take(); err != nil {
			t.Fatal(err)
		}
		var off float64
		for i, g := range parts.model.Params.Grad() {
			off += (float64(g) - float64(want[i])) * (float64(g) - float64(want[i]))
		}
		if !(off <= 1e-10*norm) || norm == 0 {
			t.Errorf("%+v: the gradient is off by %.3g of its norm", cut, math.Sqrt(off/norm))
		}
	}
}

// cancelling is a data set that ends a context when it is read for the n-th time.
type cancelling struct {
	dataloader.Dataset
	left   *atomic.Int64
	cancel context.CancelFunc
}

func (c cancelling) Image(ctx context.Context, i int) (*dataloader.Image, error) {
	if c.left.Add(-1) == 0 {
		c.cancel()
	}
	return c.Dataset.Image(ctx, i)
}

// TestShards holds runs on other numbers of threads, more and fewer than shards, to that on one: bit for bit.
func TestShards(t *testing.T) {
	s, c := tiny()
	d := tinyData(t, s)
	c.Batch, c.MicroBatch, c.Shards, c.Steps = 32, 16, 4, 3
	c.Model.Vision.Dropout = .1
	var want []float32
	for _, threads := range []int{1, 2, 3, 4, 9} {
		o := options(t)
		o.Threads = threads
		run := start(t, c, o, d)
		for range c.Steps {
			if err := run.take(); err != nil {
				t.Fatal(err)
			}
		}
		got := slices.Clone(run.model.Params.Data())
		if want == nil {
			want = got
		}
		for i, w := range want {
			if got[i] != w {
				t.Fatalf("%d threads: parameter %d is %v, %v on one thread", threads, i, got[i], w)
			}
		}
	}
}

// TestShardsChosen: by the model and the micro-batch.
func TestShardsChosen(t *testing.T) {
	for _, tt := range []struct {
		preset string
		micro  int
		want   int
	}{{"scenes", 64, 4}, {"scenes", 8, 1}, {"scenes", 48, 2}, {"scenes", 63, 1}, {"vit-ti/8", 256, 16}, {"vit-s/16", 16, 1}, {"vit-b/16", 8, 1}, {"vit-b/16", 64, 1}} {
		c := Default()
		var err error
		if c.Model, err = nn.Preset(tt.preset); err != nil {
			t.Fatal(err)
		}
		c.Batch, c.MicroBatch = 2*tt.micro, tt.micro
		if got := ShardsFor(c.Model, c.MicroBatch); got != tt.want {
			t.Errorf("%s, %d pictures: %d shards, want %d", tt.preset, tt.micro, got, tt.want)
		}
		if c.Shards = 5; c.Validate() == nil {
			t.Errorf("%s, %d pictures: 5 shards are taken", tt.preset, tt.micro)
		}
	}
}

// TestResumeMicroBatches interrupts runs in the middle of steps, in the first pass and in the second, and holds what
// comes of them to the uninterrupted run, bit for bit.
func TestResumeMicroBatches(t *testing.T) {
	s, c := tiny()
	c.Model.Vision.Dropout = 0.1
	c.Batch, c.MicroBatch, c.Steps = 32, 4, 7
	d := tinyData(t, s)
	o := options(t)
	o.keepPictures = 1
	want := weights(t, mustRun(t, c, o, d).Checkpoint)
	for _, reads := range []int64{3, 50, 77, 100, 131, 160, 222, 290} {
		o := o
		o.Out, o.Workers = t.TempDir(), 1+int(reads%3)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		left := new(atomic.Int64)
		left.Store(reads)
		_, err := Run(ctx, c, o, &Data{d.Source, cancelling{d.Train, left, cancel}, d.Val}, Observer{})
		if !errors.Is(err, ErrInterrupted) {
			t.Fatalf("interrupted after %d reads: %v", reads, err)
		}
		o.keepPictures = 0
		if got := mustRun(t, c, o, d); !bytes.Equal(weights(t, got.Checkpoint), want) {
			t.Errorf("interrupted after %d reads: the weights differ from the uninterrupted run's", reads)
		}
	}
}

// TestBrokenInMicroBatches trains on a data set with broken pictures in one piece and in parts: they skip the same
// pictures and see the same others.
func TestBrokenInMicroBatches(t *testing.T) {
	s, c := tiny()
	d := tinyData(t, s)
	d.Train = failing{d.Train, 9}
	c.Batch, c.MicroBatch, c.Steps = 32, 32, 6
	run := func(micro, keep int) (map[string][]float32, []dataloader.Broken) {
		c := c
		c.MicroBatch = micro
		o := options(t)
		o.MaxBroken, o.keepPictures = 0.5, keep
		summary := mustRun(t, c, o, d)
		list, err := dataloader.ReadSkipped(filepath.Join(o.Out, SkippedFile))
		if err != nil || len(list) != 9 || summary.Skipped != 9 {
			t.Errorf("micro-batch %d: %d pictures listed (%v), %d in the summary, want 9", micro, len(list), err, summary.Skipped)
		}
		return values(t, summary.Checkpoint), list
	}
	want, _ := run(32, 0)
	for _, micro := range []int{16, 4, 1} {
		got, _ := run(micro, 1)
		for name := range want {
			for i, w := range want[name] {
				if g := got[name][i]; math.Abs(float64(g-w)) > 5e-4 {
					t.Fatalf("micro-batch %d: %s[%d] = %v, want %v", micro, name, i, g, w)
				}
			}
		}
	}
}

// TestMemoryOfAStep: the towers take the memory of a micro-batch, and less where it is the whole batch: then values lie
// in the place of gradients.
func TestMemoryOfAStep(t *testing.T) {
	s, c := tiny()
	d := tinyData(t, s)
	c.Batch, c.MicroBatch = 8, 8
	whole := start(t, c, options(t), d)
	c.Batch = 16
	small := start(t, c, options(t), d)
	if a, b := whole.vision.replicas.ArenaBytes(), small.vision.replicas.ArenaBytes(); a >= b {
		t.Errorf("%d bytes for a batch in one piece, %d for one in two", a, b)
	}
	c.Batch = 96
	large := start(t, c, options(t), d)
	for i, p := range []struct{ small, large *tower }{{small.vision, large.vision}, {small.text, large.text}} {
		if a, b := p.small.replicas.ArenaBytes(), p.large.replicas.ArenaBytes(); a != b || a == 0 {
			t.Errorf("tower %d: %d bytes for a batch of 16, %d for one of 96", i, a, b)
		}
	}
}

// TestAllocationsOfAStep: a step allocates a few small things, such as its line in the log, and nothing that grows with
// the batch or with the depth of the model.
func TestAllocationsOfAStep(t *testing.T) {
	s, c := tiny()
	d := tinyData(t, s)
	count := func(batch, layers int) float64 {
		c := c
		c.Batch, c.MicroBatch, c.Steps = batch, 8, 1000
		c.Model.Vision.Layers = layers
		o := options(t)
		o.keepPictures = 1
		tr := start(t, c, o, d)
		step := func() {
			if err := tr.take(); err != nil {
				t.Fatal(err)
			}
		}
		for seen := 0; seen < 2*d.Train.Len(); seen += batch { // every caption
			step()
		}
		return testing.AllocsPerRun(20, step)
	}
	for _, tt := range []struct{ batch, layers int }{{8, 1}, {96, 1}, {8, 4}, {32, 4}} {
		if n := count(tt.batch, tt.layers); n > 8 {
			t.Errorf("batch %d, %d layers: %v allocations in a step, want at most 8", tt.batch, tt.layers, n)
		}
	}
}
