package training

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"relsim/dataloader"
)

// Estimate is how long a run will take, in seconds. It leaves out the loss, the optimiser and the checkpoints, and what
// follows on the training.
type Estimate struct {
	Steps       int     `json:"steps"`       // that are left
	Step        float64 `json:"step"`        // of the towers, forward and backward, measured
	Pictures    float64 `json:"pictures"`    // to decode those of a step, by [Options].PictureSeconds
	Validations int     `json:"validations"` // that are left
	Validation  float64 `json:"validation"`  // of each
	Seconds     float64 `json:"seconds"`     // in all
}

// estimate times the towers on one micro-batch of blank pictures and the first captions, before the first step. It
// changes no bit of what follows: gradients are overwritten by the step that comes, and dropout is seeded by it.
func (t *trainer) estimate(ctx context.Context) error {
	if t.watch.Estimate == nil || t.step >= t.config.Steps {
		return nil
	}
	micro, length, width := t.config.MicroBatch, t.config.Model.Text.Length, t.config.Model.EmbedDim
	values := micro * t.config.transform().Len()
	if t.gpu != nil {
		t.batch = &dataloader.Batch{Pixels: make([]byte, values), Tables: make([]float32, micro*3*256)}
	} else {
		t.batch = &dataloader.Batch{Images: make([]float32, values)}
	}
	defer func() { t.batch = nil }()
	if t.text != nil {
		encoded := make([][]int32, micro)
		for i := range encoded {
			encoded[i] = t.words.encode(t.config.caption(t.data.Train.Item(i%t.data.Train.Len())), length)
		}
		rng := rand.New(rand.NewPCG(t.config.Seed, streamWords<<48))
		t.model.FillText(t.ids[:micro*length], t.weights[:micro*length], encoded, rng, 0)
	}

	loaded := func(int) error { return ctx.Err() }
	images, texts := t.images[:micro*width], t.texts[:micro*width]
	var forward, backward time.Duration
	const warm = 2 * time.Second // a step that takes as long is measured as it is, and a shorter one again: memory is there then
	for range 2 {
		began := time.Now()
		if err := t.vision.forward(1, loaded, images); err != nil {
			return fmt.Errorf("training: %w", err)
		}
		if t.text != nil {
			if err := t.text.forward(1, loaded, texts); err != nil {
				return fmt.Errorf("training: %w", err)
			}
		}
		forward = time.Since(began)
		if !t.vision.frozen {
			if err := t.vision.backward(1, loaded, images); err != nil {
				return fmt.Errorf("training: %w", err)
			}
		}
		if t.text != nil {
			if err := t.text.backward(1, loaded, texts); err != nil {
				return fmt.Errorf("training: %w", err)
			}
		}
		backward = time.Since(began) - forward
		if forward+backward > warm {
			break
		}
	}
	passes := float64(t.config.Batch / micro) // all but the last micro-batch are forwarded twice
	e := Estimate{
		Steps: t.config.Steps - t.step,
		Step:  (2*passes-1)*forward.Seconds() + passes*backward.Seconds(),
	}
	each := t.options.PictureSeconds
	e.Pictures = each * float64(t.config.Batch)
	step := max(e.Step, e.Pictures)
	if t.options.Threads+t.options.Workers > runtime.GOMAXPROCS(0) { // they share the cores
		step = e.Step + e.Pictures
	}
	e.Validations = 1
	if every := t.options.EvalEvery; every > 0 {
		e.Validations += (t.config.Steps-1)/every - t.step/every
	}
	e.Validation = float64(t.val.Len()) * (forward.Seconds()/float64(micro) + each)
	e.Seconds = float64(e.Steps)*step + float64(e.Validations)*e.Validation
	t.watch.Estimate(e)
	return nil
}
