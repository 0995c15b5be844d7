package training

import (
	"context"
	"errors"
	"fmt"
	"math"

	"relsim/cuda"
	"relsim/dataloader"
	"relsim/graph"
	"relsim/loss"
	"relsim/optim"
)

// residents are the buffers of a run that stay on the GPU.
type residents struct {
	learned *graph.Resident // the parameters that are trained
	all     []*graph.Resident
}

// state are those that a checkpoint is made of.
func (r *residents) state(t *trainer) []*graph.Resident {
	list := append([]*graph.Resident{r.learned}, t.optimizer.Residents()...)
	if t.average != nil {
		list = append(list, t.average.Resident())
	}
	return list
}

func (t *trainer) resident(host []float32) (*graph.Resident, error) {
	r, err := t.gpu.Resident(host)
	if err != nil {
		return nil, fmt.Errorf("training: %w", err)
	}
	t.residents.all = append(t.residents.all, r)
	return r, nil
}

// moveWeights brings parameters and gradients to the GPU, before the towers are compiled: they may lie in what is lent.
func (t *trainer) moveWeights() (err error) {
	t.residents = &residents{}
	t.closeables = append(t.closeables, func() {
		for _, r := range t.residents.all {
			r.Close()
		}
	})
	params := t.model.Params
	if t.residents.learned, err = t.resident(params.Learned()); err != nil {
		return err
	}
	if rest := params.Data()[len(params.Learned()):]; len(rest) > 0 {
		if _, err = t.resident(rest); err != nil {
			return err
		}
	}
	_, err = t.resident(params.Grad())
	return err
}

// moveState brings the rest there, once the checkpoint that the run goes on from is read: weights, embeddings and the states of
// optimiser and average.
func (t *trainer) moveState() error {
	for _, r := range t.residents.all {
		if err := r.Upload(); err != nil {
			return fmt.Errorf("training: %w", err)
		}
	}
	buffers := [][]float32{t.images}
	if t.text != nil { // else they are made on the host
		buffers = append(buffers, t.texts)
	}
	for _, host := range buffers {
		if _, err := t.resident(host); err != nil {
			return err
		}
	}
	if err := t.embedder.encoder.Prepare(); err != nil { // memory is found at the start, or not at all
		return err
	}
	if err := t.optimizer.On(t.gpu, t.loss.Value()); err != nil {
		return err
	}
	if t.average != nil {
		return t.average.On(t.gpu, t.optimizer)
	}
	return nil
}

// pendingStep is a step whose results are not read yet.
type pendingStep struct {
	row       Row // what is known of it
	loss      *loss.Pending
	optimizer *optim.Pending
}

// enqueue puts a step into the GPU's queue, and logs the one before. When ctx ends between two micro-batches, the step
// counts for nothing.
func (t *trainer) enqueue(ctx context.Context, batch *dataloader.Batch) error {
	t.batch = batch
	next := &pendingStep{row: Row{Step: t.step + 1, Epoch: batch.Epoch, LearningRate: t.schedule.At(t.step)}}
	err := t.gpu.Together(func() (err error) {
		if err := t.forward(ctx, batch); err != nil {
			return err
		}
		if next.loss, err = t.loss.Enqueue(t.images, t.texts, t.relations, t.captions); err != nil {
			return err
		}
		if err := t.backward(ctx); err != nil {
			return err
		}
		if next.optimizer, err = t.optimizer.Enqueue(next.row.LearningRate); err != nil {
			return err
		}
		if t.average != nil {
			t.average.Update()
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.advance(batch)
	t.pending = append(t.pending, next)
	for len(t.pending) > 1 && !t.arriving() || len(t.pending) > mostPending {
		if err := t.collectOne(); err != nil {
			return err
		}
	}
	return nil
}

// mostPending bounds the steps whose results are not read: one but while a checkpoint comes from the GPU.
const mostPending = 16

// arriving says whether a checkpoint is on its way from the GPU to the host's buffers: they are not to be touched.
func (t *trainer) arriving() bool {
	if t.saving == nil {
		return false
	}
	select {
	case <-t.saving.arrived:
		return false
	default:
		return true
	}
}

// collect waits for all steps whose results are not read.
func (t *trainer) collect() error {
	for len(t.pending) > 0 {
		if err := t.collectOne(); err != nil {
			return err
		}
	}
	return nil
}

// collectOne waits for the first step whose results are not read, and logs it. A loss or a gradient that is not finite has
// changed nothing, and neither has any step after it.
func (t *trainer) collectOne() error {
	p := t.pending[0]
	t.pending = t.pending[1:]
	if t.saving != nil {
		<-t.saving.arrived
	}
	var err error
	if p.row.Loss, p.row.Accuracy, err = p.loss.Wait(); err != nil {
		return err
	}
	p.row.GradNorm, err = p.optimizer.Wait()
	switch bad := math.IsNaN(p.row.Loss) || math.IsInf(p.row.Loss, 0); {
	case bad && !errors.Is(err, cuda.ErrLost):
		if err := t.gpu.Fetch(t.model.Params.Learned()); err != nil {
			return fmt.Errorf("training: step %d: the loss is %v: %w", p.row.Step, p.row.Loss, err)
		}
		return t.nonFinite(p.row.Step, fmt.Errorf("the loss is %v", p.row.Loss), false)
	case err != nil && !math.IsNaN(p.row.GradNorm) && !math.IsInf(p.row.GradNorm, 0):
		return fmt.Errorf("training: %w", err)
	case err != nil:
		return t.nonFinite(p.row.Step, err, true)
	}
	return t.record(p.row)
}

// explain says of an error that ended a run what is left, where the GPU was lost.
func (t *trainer) explain(err error) error {
	if !errors.Is(err, cuda.ErrLost) {
		return err
	}
	t.saveDone() // one that had come from the GPU is written all the same
	if t.saved == "" {
		return fmt.Errorf("training: the GPU was lost at step %d of %d, before the first checkpoint: %w", t.step, t.config.Steps, err)
	}
	return fmt.Errorf("training: the GPU was lost at step %d of %d; the last checkpoint is %s: %w", t.step, t.config.Steps, t.saved, err)
}

// roomFor says, where a run does not fit into the memory of a GPU, with which micro-batch it would: it tries.
func roomFor(err error, c Config, o Options, d *Data) error {
	asked := c.MicroBatch
	if o.GPU == nil || !errors.Is(err, cuda.ErrOutOfMemory) {
		return err
	}
	other := "a smaller model"
	if !o.Checkpoint {
		other = "--grad-checkpointing"
	}
	for micro := c.MicroBatch - 1; micro > 0; micro-- {
		if c.Batch%micro != 0 || c.Shards > 0 && micro%c.Shards != 0 {
			continue
		}
		c.MicroBatch = micro
		failed := tryMemory(c, o, d)
		if failed != nil && !errors.Is(failed, cuda.ErrOutOfMemory) {
			return err // the other would only come later
		}
		if failed == nil {
			return fmt.Errorf("%w; %d pictures at once do not fit, %d would (--micro-batch %d)", err, asked, micro, micro)
		}
	}
	return fmt.Errorf("%w; no smaller micro-batch than %d would fit: %s might", err, asked, other)
}

// tryMemory takes the memory that a run begins with, and gives it back.
func tryMemory(c Config, o Options, d *Data) error {
	t, err := newTrainer(c, o, d, Observer{})
	if err != nil {
		return err
	}
	defer t.close()
	return t.moveState()
}
