package training

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Observer is told what happens in a run. Any function may be nil.
type Observer struct {
	Start func(StartInfo) // once, before the first step
	Step  func(Row)       // after each step
	Saved func(dir string, step int)
	Eval  func(Row) // after each validation
	// Estimate is told, before Start, how long the run will take; nil: nothing is measured.
	Estimate func(Estimate)
	Notice   func(format string, args ...any) // something the user should know
}

// StartInfo describes a run that is about to begin or continue.
type StartInfo struct {
	Steps      int    // of the whole run
	Done       int    // steps already done, when the run is resumed
	Resumed    string // checkpoint folder that it is resumed from, or ""
	Parameters int    // numbers of the model
	Learned    int    // those of them that are trained
	Words      int    // in the vocabulary
	Pictures   int    // to train on
}

// Summary is what a finished run reports.
type Summary struct {
	Checkpoint string  // folder of the last checkpoint
	Best       string  // folder of the best one by validation
	Steps      int     // done in all
	Seen       int     // pictures seen in all
	Skipped    int     // pictures that could not be read, those to validate on included
	Seconds    float64 // of this call, training alone
	TextRows   int     // captions that a frozen text tower was run on by this call: those that no cache held
	Last       Row
}

// ErrInterrupted is returned, wrapped, by [Run] when its context ends: the run is saved and can be resumed.
var ErrInterrupted = errors.New("interrupted")

// Run trains a model, or continues to, and leaves its checkpoints in the run folder.
//
// It returns an error that wraps [ErrInterrupted] when ctx ends; a checkpoint of the last whole step has then been
// saved. A loss or gradient that is not finite stops the run with an error that names the step and the tensors; the
// last checkpoint is left as it was.
func Run(ctx context.Context, c Config, o Options, d *Data, watch Observer) (*Summary, error) {
	t, err := newTrainer(c, o, d, watch)
	if err != nil {
		return nil, roomFor(err, c, o, d)
	}
	defer t.close()
	summary, err := t.run(ctx)
	if err != nil {
		err = t.explain(err)
		t.close() // its memory is that of the next
		return nil, roomFor(err, c, o, d)
	}
	return summary, nil
}

func (t *trainer) run(ctx context.Context) (*Summary, error) {
	if err := t.resume(); err != nil {
		return nil, err
	}
	if t.gpu != nil {
		if err := t.moveState(); err != nil {
			return nil, err
		}
	}
	if err := t.openValidation(ctx); err != nil {
		return nil, err
	}
	if err := t.embedCaptions(ctx); err != nil {
		return nil, err
	}
	if err := t.estimate(ctx); err != nil {
		return nil, t.stop(ctx, err)
	}
	t.begin()
	for t.step < t.config.Steps {
		if err := t.iterate(ctx); err != nil {
			return nil, err
		}
	}
	return t.finish(ctx)
}

// iterate takes one step, after the validation and the checkpoint that are due.
func (t *trainer) iterate(ctx context.Context) error {
	if t.due(t.options.EvalEvery) && !t.validated { // after a step, or before it in a resumed run that was stopped there
		if err := t.validate(ctx); err != nil {
			return t.stop(ctx, err)
		}
	}
	if t.due(t.options.SaveEvery) || t.better() {
		if err := t.save(); err != nil {
			return err
		}
	}
	if t.saving != nil { // a disk that is full stops the run when it is noticed
		select {
		case <-t.saving.done:
			if err := t.saveDone(); err != nil {
				return err
			}
		default:
		}
	}
	batch, err := t.loader.Next(ctx)
	if err != nil {
		return t.stop(ctx, err)
	}
	if err := t.update(ctx, batch); err != nil {
		return t.stop(ctx, err)
	}
	return nil
}

// due reports whether something that happens every n steps happens now. What happens at the last step is up to finish.
func (t *trainer) due(n int) bool {
	return n > 0 && t.step > 0 && t.step%n == 0
}

// better reports whether the weights are the best yet by validation.
func (t *trainer) better() bool {
	return t.validated && (t.best == "" || t.score > t.bestScore)
}

// stop ends a run early: when ctx ended, with a checkpoint.
func (t *trainer) stop(ctx context.Context, cause error) error {
	if ctx.Err() == nil || !errors.Is(cause, ctx.Err()) {
		return cause
	}
	err := t.save()
	if err == nil {
		err = t.saveDone()
	}
	if err != nil {
		return fmt.Errorf("training: interrupted at step %d, and the checkpoint could not be saved: %w", t.step, err)
	}
	return fmt.Errorf("training: %w at step %d of %d; the checkpoint is in %s", ErrInterrupted, t.step, t.config.Steps, t.saved)
}

// finish saves and validates after the last step, as far as a resumed run had not done so. It saves first: whatever
// comes of the validation, the weights are safe.
func (t *trainer) finish(ctx context.Context) (*Summary, error) {
	if err := t.settle(); err != nil {
		return nil, err
	}
	seconds := time.Since(t.began).Seconds()
	if err := t.save(); err != nil {
		return nil, err
	}
	if err := t.saveDone(); err != nil {
		return nil, err
	}
	if !t.validated {
		if err := t.validate(ctx); err != nil {
			return nil, t.stop(ctx, err)
		}
	}
	if err := t.markBest(); err != nil {
		return nil, err
	}
	if err := t.journal.flush(); err != nil {
		return nil, err
	}
	return &Summary{
		Checkpoint: t.saved,
		Best:       t.best,
		Steps:      t.step,
		Seen:       t.step * t.config.Batch,
		Skipped:    len(t.loader.State().Broken) + t.unreadable,
		Seconds:    seconds,
		TextRows:   t.frozen.computed,
		Last:       t.last,
	}, nil
}
