package optim

import (
	"encoding/binary"
	"fmt"
	"strings"

	"relsim/checkpoints"
	"relsim/nn"
)

// Names of the state in a checkpoint: that of a parameter behind a prefix, and
// a counter of type I64.
const (
	adamStep   = "adamw.step"
	adamMean   = "adamw.exp_avg."
	adamSquare = "adamw.exp_avg_sq."
	emaStep    = "ema.updates"
	emaMean    = "ema.avg."
)

// State returns a copy of the moments, "adamw.exp_avg.NAME" and
// "adamw.exp_avg_sq.NAME", and the number of steps, "adamw.step". On a GPU they are those of the last
// [AdamW.Fetch].
func (o *AdamW) State() []checkpoints.Tensor { return o.stateAt(o.step) }

func (o *AdamW) stateAt(step int) []checkpoints.Tensor {
	state := []checkpoints.Tensor{counter(adamStep, step)}
	for _, t := range o.targets() {
		state = append(state, checkpoints.FromFloat32(t.Name, t.Shape, t.Data))
	}
	return state
}

// Restore sets the state to what [AdamW.State] returned for the same
// parameters. Tensors of other owners may be among them. After an error nothing
// is changed. It panics on a GPU: it comes before [AdamW.On].
func (o *AdamW) Restore(state []checkpoints.Tensor) error {
	if o.device != nil {
		panic("optim: adamw: Restore on a GPU: it comes before On")
	}
	return restore("optim: adamw", "adamw.", adamStep, &o.step, o.targets(), state)
}

func (o *AdamW) targets() []checkpoints.Target {
	return append(targets(o.params, adamMean, o.m), targets(o.params, adamSquare, o.v)...)
}

// State returns a copy of the average, "ema.avg.NAME", and the number of
// updates, "ema.updates". On a GPU it is that of the last [EMA.Fetch]. It panics
// between Apply and restore.
func (e *EMA) State() []checkpoints.Tensor {
	if e.swapped {
		panic("optim: ema: State while the average is applied")
	}
	return e.stateAt(e.updates)
}

func (e *EMA) stateAt(updates int) []checkpoints.Tensor {
	state := []checkpoints.Tensor{counter(emaStep, updates)}
	for _, t := range targets(e.params, emaMean, e.avg) {
		state = append(state, checkpoints.FromFloat32(t.Name, t.Shape, t.Data))
	}
	return state
}

// Restore sets the average to what [EMA.State] returned for the same
// parameters. Tensors of other owners may be among them. After an error nothing
// is changed. It panics between Apply and restore, and on a GPU: it comes before
// [EMA.On].
func (e *EMA) Restore(state []checkpoints.Tensor) error {
	if e.swapped {
		panic("optim: ema: Restore while the average is applied")
	}
	if e.resident != nil {
		panic("optim: ema: Restore on a GPU: it comes before On")
	}
	return restore("optim: ema", "ema.", emaStep, &e.updates, targets(e.params, emaMean, e.avg), state)
}

// targets names the pieces of flat, laid out as the learned values of params.
func targets(params *nn.Params, prefix string, flat []float32) []checkpoints.Target {
	var list []checkpoints.Target
	for _, p := range params.All() {
		if p.Frozen {
			continue
		}
		low, high := params.Range(p)
		list = append(list, checkpoints.Target{Name: prefix + p.Name, Shape: p.Shape, Data: flat[low:high]})
	}
	return list
}

// restore fills dst and count from the tensors of state whose names begin with
// prefix.
func restore(what, prefix, countName string, count *int, dst []checkpoints.Target, state []checkpoints.Tensor) error {
	var own []checkpoints.Tensor
	n := int64(-1)
	for _, t := range state {
		switch {
		case t.Name == countName:
			if t.DType != checkpoints.I64 || len(t.Shape) != 0 || len(t.Data) != 8 {
				return fmt.Errorf("%s: restore: %s is %s %v, want a scalar I64", what, t.Name, t.DType, t.Shape)
			}
			n = int64(binary.LittleEndian.Uint64(t.Data))
			if n < 0 {
				return fmt.Errorf("%s: restore: %s is %d", what, t.Name, n)
			}
		case strings.HasPrefix(t.Name, prefix):
			own = append(own, t)
		}
	}
	if n < 0 {
		return fmt.Errorf("%s: restore: %s is missing", what, countName)
	}
	if err := checkpoints.AssignTensors(dst, "the optimizer's state", own); err != nil {
		return fmt.Errorf("%s: restore: %w", what, err)
	}
	*count = int(n)
	return nil
}

// counter returns a scalar of type I64.
func counter(name string, n int) checkpoints.Tensor {
	return checkpoints.Tensor{Name: name, DType: checkpoints.I64, Shape: []int{}, Data: binary.LittleEndian.AppendUint64(nil, uint64(n))}
}
