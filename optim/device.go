package optim

import (
	"errors"
	"fmt"
	"math"

	"relsim/checkpoints"
	"relsim/graph"
)

// device is the state of [AdamW] on a GPU.
type device struct {
	gpu     *graph.GPU
	m, v    *graph.Resident
	values  []float32 // that have to be finite, nil: none
	scratch []*graph.Resident

	// The words of these are numbers of other types: see optim.cu.
	control []float32
	parts   []float32 // sums of squares, float64
	groups  []float32 // decay and factor, float64
	rates   []float32
	chunks  []float32

	state *graph.Resident // of control
}

// chunkElements is what a block of the kernel adamw changes.
const chunkElements = 4096

// Words of control: what stopped the steps, how many were taken, and the norm of the last.
const (
	wordStopped = 0
	wordSteps   = 1
	wordNorm    = 2 // two words
	words       = 6

	stoppedByNorm = 1
)

// On moves the state to a GPU, where the values and gradients of the parameters are resident ([graph.GPU.Resident] of
// Data and Grad). values, if not nil, is a part of a resident, such as the loss, that has to be finite for a step to change
// anything. From then on a step that stops stops all later ones, until [AdamW.Continue].
func (o *AdamW) On(g *graph.GPU, values []float32) error {
	if o.device != nil {
		return errors.New("optim: adamw: it is on a GPU already")
	}
	n := len(o.m)
	d := &device{
		gpu: g, values: values,
		control: make([]float32, words),
		parts:   make([]float32, 2*min(1024, g.Blocks(n, 4*256))),
		rates:   make([]float32, 2*len(o.groups)),
	}
	for i, group := range o.groups {
		d.groups = appendFloat64(appendFloat64(d.groups, group.decay), group.factor)
		for low := group.low; low < group.high; low += chunkElements {
			for _, word := range []int{i, min(chunkElements, group.high-low), low & math.MaxUint32, low >> 32} {
				d.chunks = append(d.chunks, math.Float32frombits(uint32(word)))
			}
		}
	}
	d.control[wordSteps] = math.Float32frombits(uint32(o.step))
	var err error
	for _, to := range []struct {
		host     []float32
		resident **graph.Resident
	}{{o.m, &d.m}, {o.v, &d.v}, {d.control, &d.state}, {d.parts, nil}, {d.groups, nil}, {d.rates, nil}, {d.chunks, nil}} {
		var r *graph.Resident
		if r, err = g.Resident(to.host); err != nil {
			break
		}
		d.scratch = append(d.scratch, r)
		if to.resident != nil {
			*to.resident = r
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("optim: adamw: %w", err), d.close())
	}
	o.device = d
	return nil
}

func appendFloat64(words []float32, v float64) []float32 {
	b := math.Float64bits(v)
	return append(words, math.Float32frombits(uint32(b)), math.Float32frombits(uint32(b>>32)))
}

func (d *device) close() error {
	var errs []error
	for _, r := range d.scratch {
		errs = append(errs, r.Close())
	}
	return errors.Join(errs...)
}

// Pending is a step that is under way.
type Pending struct {
	o      *AdamW
	number int
	read   *graph.Readback // nil: the step is done
	norm   float64
	err    error
}

// Enqueue puts a step into the queue of the GPU that the optimiser is on, and does not wait. On the host it is [AdamW.Step],
// whose error Wait returns.
func (o *AdamW) Enqueue(lr float64) (*Pending, error) {
	d := o.device
	if d == nil {
		p := &Pending{}
		p.norm, p.err = o.Step(lr)
		return p, nil
	}
	c := o.config
	o.step++
	p := &Pending{o: o, number: o.step}
	correction1, correction2 := 1-math.Pow(c.Beta1, float64(o.step)), 1-math.Pow(c.Beta2, float64(o.step))
	grad, parts := o.params.Grad(), len(d.parts)/2
	err := d.gpu.Together(func() (err error) {
		if err := d.gpu.Launch("square_parts", parts, 256, d.parts, grad, int64(len(grad))); err != nil {
			return err
		}
		if err := d.gpu.Launch("adamw_begin", 1, 256, d.control, d.rates, d.parts, parts, d.values, len(d.values),
			d.groups, len(o.groups), c.ClipNorm, lr, correction1); err != nil {
			return err
		}
		if err := d.gpu.Launch("adamw", len(d.chunks)/4, 256, o.params.Learned(), grad, o.m, o.v, d.control, d.rates, d.chunks,
			float32(c.Beta1), float32(1-c.Beta1), float32(c.Beta2), float32(1-c.Beta2), float32(1/math.Sqrt(correction2)), float32(c.Eps)); err != nil {
			return err
		}
		p.read, err = d.gpu.Read(d.state, 0, words)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("optim: adamw: step %d: %w", o.step, err)
	}
	return p, nil
}

// Wait waits for the step and returns what [AdamW.Step] does. When a step before it had stopped, the error is of that one.
func (p *Pending) Wait() (norm float64, err error) {
	if p.read == nil {
		return p.norm, p.err
	}
	values, err := p.read.Wait()
	p.read = nil
	if err != nil {
		p.err = fmt.Errorf("optim: adamw: step %d: %w", p.number, err)
		return p.norm, p.err
	}
	word := func(i int) uint32 { return math.Float32bits(values[i]) }
	p.norm = math.Float64frombits(uint64(word(wordNorm)) | uint64(word(wordNorm+1))<<32)
	if why := word(wordStopped); why != 0 {
		p.o.step = int(word(wordSteps)) // those since then changed nothing
		p.err = p.o.stopped(why, p.norm)
	}
	return p.norm, p.err
}

// stopped is the error of the first step that changed nothing.
func (o *AdamW) stopped(why uint32, norm float64) error {
	step := o.step + 1
	if why != stoppedByNorm {
		return fmt.Errorf("optim: adamw: step %d: the loss is not finite (gradient norm %v)", step, norm)
	}
	for _, part := range [][]float32{o.params.Learned(), o.params.Grad()} {
		if err := o.device.gpu.Fetch(part); err != nil {
			return fmt.Errorf("optim: adamw: step %d: gradient norm %v: %w", step, norm, err)
		}
	}
	return o.nonFinite(step, norm)
}

// Continue lets steps on a GPU change something again after one that stopped. What was put into the queue since then
// has changed nothing.
func (o *AdamW) Continue() error {
	if o.device == nil {
		return nil
	}
	d := o.device
	if err := d.state.Download(); err != nil {
		return fmt.Errorf("optim: adamw: %w", err)
	}
	d.control[wordStopped] = 0
	o.step = int(math.Float32bits(d.control[wordSteps]))
	if err := d.state.Upload(); err != nil {
		return fmt.Errorf("optim: adamw: %w", err)
	}
	return nil
}

// Residents are the copies of the moments on a GPU, for [graph.GPU.Snapshot]; none on the host.
func (o *AdamW) Residents() []*graph.Resident {
	if o.device == nil {
		return nil
	}
	return []*graph.Resident{o.device.m, o.device.v}
}

// Fetch brings the moments from the GPU, if the optimiser is on one, so that [AdamW.State] has those of now.
func (o *AdamW) Fetch() error {
	for _, r := range o.Residents() {
		if err := r.Download(); err != nil {
			return fmt.Errorf("optim: adamw: %w", err)
		}
	}
	return nil
}

// Later returns a function that does what [AdamW.State] would do now, with the number of steps of now, once the moments are on
// the host: after a Snapshot of Residents.
func (o *AdamW) Later() func() []checkpoints.Tensor {
	step := o.step
	return func() []checkpoints.Tensor { return o.stateAt(step) }
}

// Close gives the memory on a GPU back, with what is there. The state of the host is that of the last Fetch.
func (o *AdamW) Close() error {
	if o.device == nil {
		return nil
	}
	err := o.device.close()
	o.device = nil
	if err != nil {
		return fmt.Errorf("optim: adamw: %w", err)
	}
	return nil
}

// On moves the average to a GPU, where the values of the parameters are resident. o is the optimiser, on the same GPU: where
// it stops, the average stays as it is.
func (e *EMA) On(g *graph.GPU, o *AdamW) error {
	if e.resident != nil {
		return errors.New("optim: ema: it is on a GPU already")
	}
	if o.device == nil || o.device.gpu != g {
		return errors.New("optim: ema: the optimiser is not on that GPU")
	}
	if e.swapped {
		panic("optim: ema: On while the average is applied")
	}
	r, err := g.Resident(e.avg)
	if err != nil {
		return fmt.Errorf("optim: ema: %w", err)
	}
	e.gpu, e.resident, e.optimizer, e.behind = g, r, o, e.updates-o.step
	return nil
}

// launch puts a kernel over the average and the parameters into the queue.
func (e *EMA) launch(kernel string, args ...any) {
	n := len(e.avg)
	args = append(append([]any{e.avg, e.params.Learned()}, args...), int64(n))
	if err := e.gpu.Launch(kernel, e.gpu.Blocks(n, 4*256), 256, args...); err != nil && e.err == nil {
		e.err = fmt.Errorf("optim: ema: %w", err)
	}
}

// Resident is the average on a GPU, for [graph.GPU.Snapshot]; nil on the host.
func (e *EMA) Resident() *graph.Resident { return e.resident }

// Fetch brings the average from the GPU, if it is on one, so that [EMA.State] has that of now. It returns what has gone
// wrong there since the last Fetch. It panics between Apply and restore.
func (e *EMA) Fetch() error {
	if e.swapped {
		panic("optim: ema: Fetch while the average is applied")
	}
	if e.resident == nil {
		return nil
	}
	err := e.err
	e.err = nil
	if err == nil {
		err = e.resident.Download()
	}
	if err != nil {
		return fmt.Errorf("optim: ema: %w", err)
	}
	e.count()
	return nil
}

// count corrects the number of updates after steps that changed nothing.
func (e *EMA) count() {
	if e.resident != nil {
		e.updates = min(e.updates, e.optimizer.step+e.behind)
	}
}

// Later returns a function that does what [EMA.State] would do now, with the number of updates of now, once the average is on
// the host: after a Snapshot of Resident. It panics between Apply and restore.
func (e *EMA) Later() func() []checkpoints.Tensor {
	if e.swapped {
		panic("optim: ema: Later while the average is applied")
	}
	e.count()
	updates := e.updates
	return func() []checkpoints.Tensor { return e.stateAt(updates) }
}

// Close gives the memory on a GPU back, with what is there. The average of the host is that of the last Fetch.
func (e *EMA) Close() error {
	if e.resident == nil {
		return nil
	}
	err := e.resident.Close()
	e.gpu, e.resident, e.optimizer = nil, nil, nil
	if err != nil {
		return fmt.Errorf("optim: ema: %w", err)
	}
	return nil
}
