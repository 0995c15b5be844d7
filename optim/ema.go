package optim

import (
	"fmt"

	"relsim/graph"
	"relsim/kernel"
	"relsim/nn"
)

// EMA is an exponential moving average of the weights that are not frozen,
//
//	avg = d·avg + (1-d)·w        d = min(Decay, (1+n)/(10+n))
//
// after step n = 0, 1, …: the first steps are forgotten faster. It often ranks
// better than the last weights, and costs no training.
//
// Source: Polyak and Juditsky, 1992; the warm-up of the decay is that of
// TensorFlow's ExponentialMovingAverage.
type EMA struct {
	params  *nn.Params
	decay   float64
	pool    *kernel.Pool
	avg     []float32
	updates int
	swapped bool

	// On a GPU; nil and 0 on the host.
	gpu       *graph.GPU
	resident  *graph.Resident
	optimizer *AdamW
	behind    int   // updates less steps of the optimiser
	err       error // that nobody has been told
}

// NewEMA starts an average at the values of params. It runs on pool, which may
// be nil.
func NewEMA(params *nn.Params, decay float64, pool *kernel.Pool) (*EMA, error) {
	if !(decay > 0 && decay < 1) {
		return nil, fmt.Errorf("optim: ema: decay %v, want between 0 and 1", decay)
	}
	if len(params.Grad()) == 0 {
		return nil, fmt.Errorf("optim: ema: the parameters are empty, frozen, or not initialised")
	}
	e := &EMA{params: params, decay: decay, pool: pool}
	e.avg = append(e.avg, params.Learned()...)
	return e, nil
}

// Update takes the values of the parameters, after a step, into the average.
// On a GPU it goes into the queue, behind the step; what goes wrong is told by
// [EMA.Fetch]. It panics between Apply and restore.
func (e *EMA) Update() {
	if e.swapped {
		panic("optim: ema: Update while the average is applied")
	}
	e.count()
	n := float64(e.updates)
	d := min(e.decay, (1+n)/(10+n))
	if e.resident != nil {
		e.launch("average", e.optimizer.device.control, float32(d), float32(1-d))
		e.updates++
		return
	}
	kernel.Scale(e.pool, e.avg, float32(d), e.avg)
	kernel.Axpy(e.pool, e.avg, float32(1-d), e.params.Learned())
	e.updates++
}

// Apply puts the average in the place of the weights, for evaluation. The
// function it returns puts the weights back, bit for bit; it may be called
// twice. On a GPU it changes the resident values, not those of the host. Apply panics when the average is applied already.
func (e *EMA) Apply() (restore func()) {
	if e.swapped {
		panic("optim: ema: Apply while the average is applied")
	}
	e.swap()
	return func() {
		if e.swapped {
			e.swap()
		}
	}
}

func (e *EMA) swap() {
	e.swapped = !e.swapped
	if e.resident != nil {
		e.launch("exchange_floats")
		return
	}
	for i, w := range e.params.Learned() {
		e.params.Learned()[i], e.avg[i] = e.avg[i], w
	}
}
