package graph

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"relsim/kernel"
)

// Replica returns another Program of the same plan with an arena of its own, on
// backend (nil: the CPU, one thread). Nothing is bound in it yet. Programs of one plan
// may run at the same time; what they read they share.
func (p *Program) Replica(backend Backend) (*Program, error) {
	if p.engine == nil {
		return nil, errClosed
	}
	if backend == nil {
		backend = NewCPU(nil)
	}
	q := *p
	q.bound = make([]bool, len(p.bound))
	q.ids = make([][]int32, len(p.ids))
	q.grads = make([][]float32, len(p.grads))
	q.seed, q.state, q.accumulate = 0, stateNew, false
	var err error
	if q.engine, err = backend.load(p.plan, &q.seed); err != nil {
		return nil, fmt.Errorf("graph: replica: %s: %w", backend.Name(), err)
	}
	return &q, nil
}

// Replicas runs the micro-batches of a step on several Programs of one plan at a time.
// A thread that has a micro-batch to itself meets the others twice in it, where one
// that shares every kernel meets them hundreds of times. Micro-batch i belongs to
// Program i mod n; the activations of the last n stay until their backward pass, so that
// as many Programs as there are micro-batches forward each of them once.
//
// Gradients are added up in the order of [Program.BackwardEach], from the last
// micro-batch to the first: the number of Programs and of workers changes no bit.
//
// Replicas are for one goroutine.
type Replicas struct {
	programs []*Program
	workers  int
	holds    []int // the micro-batch whose activations a Program has, or -1
	size     int   // of an embedding

	grads   [][]float32   // where the sums go, in the order of Wrt
	private [][][]float32 // of each worker, if there are several

	accumulate bool
	order      turnstile
	add        turnstile
}

// NewReplicas returns Replicas of programs, which are of one plan with an embedding;
// parameters are bound in all of them. Workers run at a time, each the Programs whose
// number it has, modulo workers.
func NewReplicas(programs []*Program, workers int) (*Replicas, error) {
	switch {
	case len(programs) == 0 || workers < 1 || workers > len(programs):
		return nil, fmt.Errorf("graph: replicas: %d Programs and %d workers: want at least one Program for each worker", len(programs), workers)
	case programs[0].embedding == nil:
		return nil, errors.New("graph: replicas: the Program has no embedding")
	}
	r := &Replicas{programs: programs, workers: workers, grads: make([][]float32, len(programs[0].wrt))}
	for i, p := range programs {
		if p.plan != programs[0].plan {
			return nil, fmt.Errorf("graph: replicas: Program %d is of another plan", i)
		}
		r.holds = append(r.holds, -1)
	}
	first := programs[0]
	r.size = first.plan.slots[first.outputs[len(first.outputs)-1].slot].size
	r.order.ready.L, r.add.ready.L = &r.order.mu, &r.add.mu
	if workers == 1 || len(first.wrt) == 0 {
		return r, nil
	}
	for w := range workers {
		var mine [][]float32
		for _, n := range first.wrt {
			mine = append(mine, make([]float32, operandOf(n).size()))
		}
		r.private = append(r.private, mine)
		for i := w; i < len(programs); i += workers {
			for j, n := range first.wrt {
				if err := programs[i].SetGrad(n, mine[j]); err != nil {
					return nil, err
				}
			}
		}
	}
	return r, nil
}

// SetGrad sets where BackwardEach leaves the gradient with respect to n.
func (r *Replicas) SetGrad(n *Node, dst []float32) error {
	i := slices.Index(r.programs[0].wrt, n)
	if n == nil || i < 0 {
		return errors.New("graph: replicas: set grad: not among the gradients asked for")
	}
	if want := operandOf(n).size(); len(dst) != want {
		return fmt.Errorf("graph: replicas: set grad: %s has %d elements, got %d", describeNode(n), want, len(dst))
	}
	r.grads[i] = dst
	if r.private != nil {
		return nil
	}
	for _, p := range r.programs {
		if err := p.SetGrad(n, dst); err != nil {
			return err
		}
	}
	return nil
}

// SetAccumulate says whether BackwardEach adds to the gradients that are there.
func (r *Replicas) SetAccumulate(on bool) { r.accumulate = on }

// ForwardEach runs a batch as n micro-batches and writes their embeddings to dst. Load
// binds the inputs of micro-batch i in p and sets its seed. It is called for one
// micro-batch after the other, in ascending order, from any goroutine, and what it
// binds must stay as it is while p holds the micro-batch: each Program needs buffers
// of its own.
func (r *Replicas) ForwardEach(n int, load func(p *Program, i int) error, dst []float32) error {
	if n < 1 || len(dst) != n*r.size {
		return fmt.Errorf("graph: replicas: %d micro-batches have embeddings of %d elements, got %d", n, n*r.size, len(dst))
	}
	for i := range r.holds {
		r.holds[i] = -1
	}
	r.order.start(0, 1)
	return r.each(func(worker int) error {
		for i := range n {
			at := i % len(r.programs)
			if at%r.workers != worker {
				continue
			}
			p := r.programs[at]
			if err := r.order.pass(i, func() error { return load(p, i) }); err != nil {
				return err
			}
			if err := p.Forward(); err != nil {
				return err
			}
			r.holds[at] = i
			copy(dst[i*r.size:(i+1)*r.size], p.engine.floats(p.outputs[len(p.outputs)-1].slot))
		}
		return nil
	})
}

// BackwardEach follows ForwardEach, with nothing run in between: it computes the
// gradients of the whole batch from upstream, the gradient of all embeddings. Load is
// called in descending order, and only for micro-batches whose activations are gone;
// it must bind the same inputs and seeds again.
func (r *Replicas) BackwardEach(n int, load func(p *Program, i int) error, upstream []float32) error {
	if n < 1 || len(upstream) != n*r.size {
		return fmt.Errorf("graph: replicas: %d micro-batches have embeddings of %d elements, got %d", n, n*r.size, len(upstream))
	}
	for i, dst := range r.grads {
		if dst == nil {
			return fmt.Errorf("graph: replicas: no place set for the gradient of %s", describeNode(r.programs[0].wrt[i]))
		}
	}
	r.order.start(n-1, -1)
	r.add.start(n-1, -1)
	return r.each(func(worker int) error {
		for i := n - 1; i >= 0; i-- {
			at := i % len(r.programs)
			if at%r.workers != worker {
				continue
			}
			p, held := r.programs[at], r.holds[at] == i
			if err := r.order.pass(i, func() error {
				if held {
					return nil
				}
				return load(p, i)
			}); err != nil {
				return err
			}
			if !held {
				if err := p.Forward(); err != nil {
					return err
				}
			}
			r.holds[at] = -1
			first := i == n-1 && !r.accumulate
			p.SetAccumulate(r.private == nil && !first)
			if err := p.Backward(upstream[i*r.size : (i+1)*r.size]); err != nil {
				return err
			}
			if err := r.add.pass(i, func() error {
				if r.private != nil {
					r.addUp(r.private[worker], first)
				}
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// addUp adds the gradients of one micro-batch to the sums, or begins them.
func (r *Replicas) addUp(from [][]float32, first bool) {
	for i, dst := range r.grads {
		if first {
			copy(dst, from[i])
		} else {
			kernel.Axpy(nil, dst, 1, from[i])
		}
	}
}

// each runs f for every worker and returns when all are done, with the first error.
// A panic of a worker goes on in the caller.
func (r *Replicas) each(f func(worker int) error) error {
	if r.workers == 1 {
		return f(0)
	}
	var (
		all     sync.WaitGroup
		mu      sync.Mutex
		first   error
		failure any
	)
	run := func(worker int) {
		err := errPanic
		defer func() {
			if err == nil {
				return
			}
			mu.Lock()
			if v := recover(); v != nil {
				failure = v
			} else if first == nil && !errors.Is(err, errStopped) {
				first = err
			}
			mu.Unlock()
			r.order.stop()
			r.add.stop()
		}()
		err = f(worker)
	}
	for worker := 1; worker < r.workers; worker++ {
		all.Go(func() { run(worker) })
	}
	run(0)
	all.Wait()
	if failure != nil {
		panic(failure)
	}
	return first
}

var (
	errStopped = errors.New("graph: replicas: another worker failed")
	errPanic   = errors.New("graph: replicas: panic")
)

// turnstile lets the micro-batches through one by one, in order.
type turnstile struct {
	mu      sync.Mutex
	ready   sync.Cond
	next    int
	by      int
	stopped bool
}

func (t *turnstile) start(first, by int) { t.next, t.by, t.stopped = first, by, false }

// pass waits for the turn of i and calls f in it.
func (t *turnstile) pass(i int, f func() error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.next != i && !t.stopped {
		t.ready.Wait()
	}
	if t.stopped {
		return errStopped
	}
	if err := f(); err != nil {
		return err
	}
	t.next += t.by
	t.ready.Broadcast()
	return nil
}

func (t *turnstile) stop() {
	t.mu.Lock()
	t.stopped = true
	t.ready.Broadcast()
	t.mu.Unlock()
}

// NonFinite is [Program.NonFinite] of all Programs, and of the sums.
func (r *Replicas) NonFinite() []string {
	var names []string
	for _, p := range r.programs {
		names = append(names, p.NonFinite()...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ArenaBytes is the memory of all values that are not the caller's: the arenas, and
// the gradients that workers have to themselves.
func (r *Replicas) ArenaBytes() int {
	bytes := 0
	for _, p := range r.programs {
		bytes += p.ArenaBytes()
	}
	for _, mine := range r.private {
		for _, g := range mine {
			bytes += 4 * len(g)
		}
	}
	return bytes
}

// Close closes all Programs.
func (r *Replicas) Close() error {
	var errs []error
	for _, p := range r.programs {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
