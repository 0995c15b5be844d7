package training

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"

	"relsim/checkpoints"
	"relsim/dataloader"
	"relsim/nn"
)

// sourceFile is the file of a checkpoint that says what it was trained on.
const sourceFile = "data.json"

// state is state.json: where a run stands.
type state struct {
	Step   int              `json:"step"`
	Epoch  int              `json:"epoch"`
	Loader dataloader.State `json:"loader"`
	Val    string           `json:"val"` // fingerprint of the validation set
}

// weightsPrefix marks, in optimizer.safetensors, the weights that training goes on with where model.safetensors holds
// averaged ones.
const weightsPrefix = "weights."

// averagePrefix marks averaged weights there, as package optim names them.
const averagePrefix = "ema.avg."

// saving is a checkpoint that is written.
type saving struct {
	step  int
	best  bool // by validation
	score float64
	// arrived is closed when the numbers have left the buffers of the host, done when all is over.
	arrived, done chan struct{}

	dir string // once it is done
	err error
}

// save writes a checkpoint of the last whole step, marks it when it is the best by validation, and removes old ones. On a
// GPU that is under way when save returns: see settle.
func (t *trainer) save() error {
	if err := t.settle(); err != nil {
		return err
	}
	if t.savedStep == t.step && t.saved != "" {
		return t.markBest()
	}
	if err := t.journal.flush(); err != nil {
		return err
	}
	files, err := t.describe()
	if err != nil {
		return err
	}
	tensors, err := t.snapshot()
	if err != nil {
		return err
	}
	s := &saving{step: t.step, best: t.better(), score: t.score, arrived: make(chan struct{}), done: make(chan struct{})}
	out := t.options.Out
	write := func() {
		defer close(s.done)
		snapshot := *files
		snapshot.Model, snapshot.Optimizer, s.err = tensors()
		close(s.arrived)
		if s.err == nil {
			s.dir, s.err = checkpoints.Save(out, s.step, snapshot)
		}
	}
	t.saving = s
	if t.gpu != nil {
		go write()
		return nil
	}
	write()
	return t.saveDone()
}

// saveDone waits for the checkpoint that is under way, if there is one.
func (t *trainer) saveDone() error {
	s := t.saving
	if s == nil {
		return nil
	}
	<-s.done
	t.saving = nil
	if s.err != nil {
		return s.err
	}
	t.saved, t.savedStep = s.dir, s.step
	if s.best {
		if err := checkpoints.MarkBest(t.options.Out, s.dir, s.score); err != nil {
			return err
		}
		t.best, t.bestScore = s.dir, s.score
	}
	if t.watch.Saved != nil {
		t.watch.Saved(s.dir, s.step)
	}
	return checkpoints.Prune(t.options.Out, t.options.Keep)
}

// settle waits for all that is under way: steps in the queue, whose rows are logged, and a checkpoint.
func (t *trainer) settle() error {
	if err := t.collect(); err != nil {
		return err
	}
	return t.saveDone()
}

// snapshot takes the numbers of a checkpoint as they are now, and returns what makes tensors of them: on a GPU when they have
// come from there.
func (t *trainer) snapshot() (func() (model, optimizer []checkpoints.Tensor, err error), error) {
	arrived := func() error { return nil }
	if t.gpu != nil {
		s, err := t.gpu.Snapshot(t.residents.state(t)...)
		if err != nil {
			return nil, fmt.Errorf("training: save step %d: %w", t.step, err)
		}
		arrived = s.Wait
	}
	moments := t.optimizer.Later()
	var averages func() []checkpoints.Tensor
	if t.average != nil {
		averages = t.average.Later()
	}
	step := t.step
	return func() (model, optimizer []checkpoints.Tensor, err error) {
		if err := arrived(); err != nil {
			return nil, nil, fmt.Errorf("training: save step %d: %w", step, err)
		}
		model, optimizer = t.kept(), moments()
		if averages == nil {
			return model, optimizer, nil
		}
		averaged := averages()
		optimizer = append(optimizer, averaged...)
		byName := make(map[string]checkpoints.Tensor)
		for _, tensor := range averaged {
			byName[tensor.Name] = tensor
		}
		for i, tensor := range model {
			if average, ok := byName[averagePrefix+tensor.Name]; ok {
				average.Name = tensor.Name
				model[i] = average
			}
			tensor.Name = weightsPrefix + tensor.Name
			optimizer = append(optimizer, tensor)
		}
		return model, optimizer, nil
	}, nil
}

// describe makes the files of a checkpoint that hold no weights.
func (t *trainer) describe() (*checkpoints.Snapshot, error) {
	now := state{Step: t.step, Epoch: t.epoch, Loader: t.position, Val: t.data.Val.Fingerprint()}
	snapshot := &checkpoints.Snapshot{Files: maps.Clone(t.words.files)}
	if len(t.bases) > 0 {
		text, err := json.MarshalIndent(t.bases, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("training: save step %d: %w", t.step, err)
		}
		snapshot.Files[baseFile] = text
	}
	for _, file := range []struct {
		value any
		set   func([]byte)
	}{
		{now, func(b []byte) { snapshot.State = b }},
		{t.config, func(b []byte) { snapshot.Config = b }},
		{t.data.Source, func(b []byte) { snapshot.Files[sourceFile] = b }},
	} {
		text, err := json.MarshalIndent(file.value, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("training: save step %d: %w", t.step, err)
		}
		file.set(text)
	}
	return snapshot, nil
}

// kept returns the parameters that a checkpoint holds: all but those that are not trained and that a published model
// gives again.
func kept(params *nn.Params, given map[string]bool) []checkpoints.Target {
	var list []checkpoints.Target
	for _, p := range params.All() {
		if !p.Frozen || !given[p.Name] {
			list = append(list, checkpoints.Target{Name: p.Name, Shape: p.Shape, Data: p.Data})
		}
	}
	return list
}

// kept returns the values of those parameters.
func (t *trainer) kept() []checkpoints.Tensor {
	var list []checkpoints.Tensor
	for _, p := range kept(t.model.Params, t.given) {
		list = append(list, checkpoints.FromFloat32(p.Name, p.Shape, p.Data))
	}
	return list
}

// markBest marks the last checkpoint if its weights are the best yet by validation.
func (t *trainer) markBest() error {
	if t.savedStep != t.step || !t.better() {
		return nil
	}
	if err := checkpoints.MarkBest(t.options.Out, t.saved, t.score); err != nil {
		return err
	}
	t.best, t.bestScore = t.saved, t.score
	return nil
}

// resume continues from the last checkpoint of the run folder, as the options ask for, and opens the log.
func (t *trainer) resume() error {
	dir, err := checkpoints.Latest(t.options.Out)
	switch {
	case errors.Is(err, checkpoints.ErrNoCheckpoint):
		if t.options.Resume == ResumeMust {
			return fmt.Errorf("training: resume %s: %w", t.options.Out, err)
		}
		dir = ""
	case err != nil:
		return err
	case t.options.Resume == ResumeNever:
		return fmt.Errorf("training: %s holds a run already (%s): choose another folder, or resume it", t.options.Out, dir)
	}
	if dir != "" {
		if err := t.restore(dir); err != nil {
			return fmt.Errorf("training: resume %s: %w", t.options.Out, err)
		}
	}
	rows, err := trimLog(t.options.Out, t.step)
	if err != nil {
		return err
	}
	if n := len(rows); t.step > 0 && n > 0 && rows[n-1].Step == t.step && rows[n-1].Validation != nil {
		t.score, t.validated = scoreOf(rows[n-1].Validation), true
	}
	t.journal, err = openJournal(t.options.Out)
	return err
}

// restore reads a checkpoint into the run.
func (t *trainer) restore(dir string) error {
	snapshot, err := checkpoints.Load(dir)
	if err != nil {
		return err
	}
	if snapshot.Config == nil || snapshot.State == nil {
		return fmt.Errorf("%s: no config.json or state.json: not the checkpoint of a training run", dir)
	}
	theirs, err := parseConfig(snapshot.Config)
	if err != nil {
		return err
	}
	bases, err := parseBases(snapshot.Files[baseFile])
	if err != nil {
		return err
	}
	if err := t.bases.differ(bases); err != nil {
		return err
	}
	if field, mine, saved, differs := t.config.diff(theirs); differs {
		return fmt.Errorf("config differs: %s %v in the checkpoint, %v asked for", field, saved, mine)
	}
	var was state
	if err := json.Unmarshal(snapshot.State, &was); err != nil {
		return fmt.Errorf("%s: state.json: %w", dir, err)
	}
	if was.Step < 0 || was.Step > t.config.Steps || was.Step != was.Loader.Step {
		return fmt.Errorf("%s: state.json: step %d of %d, loader at %d", dir, was.Step, t.config.Steps, was.Loader.Step)
	}
	if err := t.loader.Restore(was.Loader); err != nil {
		var source Source
		if json.Unmarshal(snapshot.Files[sourceFile], &source) == nil {
			if field, mine, saved, differs := diffValue("", reflect.ValueOf(t.data.Source), reflect.ValueOf(source)); differs {
				return fmt.Errorf("data differ: %s %v in the checkpoint, %v asked for: %w", field, saved, mine, err)
			}
		}
		return err
	}
	t.position = was.Loader
	if val := t.data.Val.Fingerprint(); val != was.Val {
		return fmt.Errorf("the validation set differs: fingerprint %s in the checkpoint, %s of %s", was.Val, val, t.data.Val.Name())
	}
	if err := t.optimizer.Restore(snapshot.Optimizer); err != nil {
		return err
	}
	if t.optimizer.Steps() != was.Step {
		return fmt.Errorf("%s: optimiser at step %d, state.json at %d", dir, t.optimizer.Steps(), was.Step)
	}
	weights := snapshot.Model
	if t.average != nil { // the model's file holds the averaged ones
		if err := t.average.Restore(snapshot.Optimizer); err != nil {
			return err
		}
		weights = nil
		for _, tensor := range snapshot.Optimizer {
			if name, ok := strings.CutPrefix(tensor.Name, weightsPrefix); ok {
				tensor.Name = name
				weights = append(weights, tensor)
			}
		}
	}
	if err := checkpoints.AssignTensors(kept(t.model.Params, t.given), dir, weights); err != nil {
		return err
	}
	t.step, t.epoch = was.Step, was.Epoch
	t.saved, t.savedStep, t.resumed, t.resumedAt = dir, was.Step, dir, was.Step
	if best, score, err := checkpoints.Best(t.options.Out); err == nil && best != "" {
		t.best, t.bestScore = best, score
	}
	return nil
}
