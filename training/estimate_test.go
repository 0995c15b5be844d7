package training

import (
	"bytes"
	"context"
	"testing"

	"relsim/nn"
)

// Timing the towers before the first step changes no bit: in one piece (where activations lie in lent gradients), in
// micro-batches and shards, with dropout, with recomputed blocks, and with a frozen tower.
func TestEstimateChangesNothing(t *testing.T) {
	s, _ := tiny()
	d := tinyData(t, s)
	for name, set := range map[string]func(*Config, *Options){
		"whole":         func(*Config, *Options) {},
		"micro/shards":  func(c *Config, _ *Options) { c.MicroBatch, c.Shards = 8, 2 },
		"dropout":       func(c *Config, _ *Options) { c.Model.Vision.Dropout, c.Model.Text.Dropout = 0.1, 0.1 },
		"checkpointing": func(_ *Config, o *Options) { o.Checkpoint = true },
		"frozen":        func(c *Config, _ *Options) { c.Freeze = nn.TextTower },
	} {
		t.Run(name, func(t *testing.T) {
			c := tinyTransformers()
			c.Steps = 3
			var got [2][]byte
			for i := range got {
				o := options(t)
				set(&c, &o)
				o.PictureSeconds = 0.5
				watch := Observer{}
				var e *Estimate
				if i == 1 {
					watch.Estimate = func(told Estimate) { e = &told }
				}
				summary, err := Run(context.Background(), c, o, d, watch)
				if err != nil {
					t.Fatal(err)
				}
				got[i] = weights(t, summary.Checkpoint)
				if i == 0 {
					continue
				}
				if e == nil || e.Steps != 3 || e.Validations != 1 || e.Pictures != 0.5*float64(c.Batch) || !(e.Step > 0) ||
					e.Seconds < 3*e.Pictures+e.Validation || e.Validation < 0.5*float64(d.Val.Len()) {
					t.Errorf("estimate %+v", e)
				}
			}
			if !bytes.Equal(got[0], got[1]) {
				t.Error("the weights are not those of a run that is not timed")
			}
		})
	}
}

// A run that is resumed is timed for what is left of it; one that is over is not.
func TestEstimateOfTheRest(t *testing.T) {
	s, c := tiny()
	d := tinyData(t, s)
	c.Steps = 12
	o := options(t)
	o.EvalEvery = 5
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if _, err := Run(ctx, c, o, d, Observer{Step: func(r Row) {
		if r.Step == 7 {
			cancel()
		}
	}}); err == nil {
		t.Fatal("not interrupted")
	}
	var e []Estimate
	watch := Observer{Estimate: func(told Estimate) { e = append(e, told) }}
	for range 2 {
		if _, err := Run(context.Background(), c, o, d, watch); err != nil {
			t.Fatal(err)
		}
	}
	if len(e) != 1 || e[0].Steps != 5 || e[0].Validations != 2 { // after step 10, and at the end
		t.Errorf("%+v", e)
	}
}
