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
	if p.lent != nil {
		return nil, errors.New("graph: replica: the memory of the gradients is lent to one Program")
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
	if q.engine, err = backend.load(p.plan, nil, &q.seed); err != nil {
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
// Gradients are added up from the last micro-batch to the first: the number of Programs
// and of workers changes no bit. One Program takes the memory of one micro-batch, and
// forwards all but the last twice.
//
// Replicas are for one goroutine. In a steady state they allocate nothing.
type Replicas struct {
	programs []*Program
	workers  int
	pools    []*kernel.Pool // that Close closes
	holds    []int          // the micro-batch whose activations a Program has, or -1
	size     int            // of an embedding

	grads   [][]float32   // where the sums go, in the order of Wrt
	private [][][]float32 // of each worker that needs a copy to itself
	sinks   [][][]float32 // where the Programs of each worker write: grads or private

	accumulate bool
	order      turnstile
	add        turnstile

	// The call that is under way, for the workers.
	backward bool
	n        int
	load     func(p *Program, i int) error
	values   []float32 // embeddings to write, or their gradient
	begin    []chan struct{}
	ended    sync.WaitGroup
	mu       sync.Mutex
	err      error
	failure  any // what a worker panicked with
}

// CompileReplicas compiles c once and returns n Programs of it as Replicas. As many of the
// threads of pool as there are Programs work at a time, each with an equal part of the
// threads and in the precision of pool, which c.Backend gives way to. Bind binds
// parameters, and where gradients go, in each Program.
func CompileReplicas(b *Builder, c Config, n int, pool *kernel.Pool, bind func(p *Program, i int) error) (*Replicas, error) {
	if n < 1 {
		return nil, fmt.Errorf("graph: replicas: %d Programs: want at least one", n)
	}
	workers := min(pool.Threads(), n)
	var owned []*kernel.Pool
	pools := []*kernel.Pool{pool}
	if workers > 1 {
		pools = nil
		for range workers {
			p := kernel.NewPool(pool.Threads() / workers)
			owned, pools = append(owned, p), append(pools, p.With(pool.Precision()))
		}
	}
	var programs []*Program
	fail := func(err error) (*Replicas, error) {
		r := Replicas{programs: programs, pools: owned}
		return nil, errors.Join(err, r.Close())
	}
	for i := range n {
		var p *Program
		var err error
		if backend := NewCPU(pools[i%workers]); i > 0 {
			p, err = programs[0].Replica(backend)
		} else {
			c.Backend = backend
			p, err = Compile(b, c)
		}
		if err != nil {
			return fail(err)
		}
		programs = append(programs, p)
		if err := bind(p, i); err != nil {
			return fail(err)
		}
	}
	r, err := NewReplicas(programs, workers)
	if err != nil {
		return fail(err)
	}
	r.pools = owned
	return r, nil
}

// NewReplicas returns Replicas of programs, which are of one plan with an embedding;
// parameters are bound in all of them. Workers run at a time, each the Programs whose
// number it has, modulo workers. Gradients go where [Program.SetGrad] sent those of the
// first Program.
func NewReplicas(programs []*Program, workers int) (*Replicas, error) {
	switch {
	case len(programs) == 0 || workers < 1 || workers > len(programs):
		return nil, fmt.Errorf("graph: replicas: %d Programs and %d workers: want at least one Program for each worker", len(programs), workers)
	case programs[0].embedding == nil:
		return nil, errors.New("graph: replicas: the Program has no embedding")
	}
	r := &Replicas{programs: programs, workers: workers, grads: slices.Clone(programs[0].grads)}
	for i, p := range programs {
		if p.plan != programs[0].plan {
			return nil, fmt.Errorf("graph: replicas: Program %d is of another plan", i)
		}
		r.holds = append(r.holds, -1)
	}
	first := programs[0]
	r.size = first.plan.slots[first.outputs[len(first.outputs)-1].slot].size
	r.order.ready.L, r.add.ready.L = &r.order.mu, &r.add.mu
	for w := 1; w < workers; w++ {
		begin := make(chan struct{})
		r.begin = append(r.begin, begin)
		go func() {
			for range begin {
				r.run(w)
				r.ended.Done()
			}
		}()
	}
	r.private, r.sinks = make([][][]float32, workers), make([][][]float32, workers)
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
	clear(r.sinks) // to be set anew
	return nil
}

// route lets the Programs of each worker write to the sums, where no other worker adds
// to them before, or else to a copy of the worker's own.
func (r *Replicas) route(n int) error {
	last := (n - 1) % len(r.programs) % r.workers // the worker that begins
	alone := r.workers == 1 || n <= len(r.programs) && (n-1)%len(r.programs) < r.workers
	for w := range r.workers {
		to := r.grads
		if r.workers > 1 && !(w == last && alone) {
			if r.private[w] == nil {
				for _, n := range r.programs[0].wrt {
					r.private[w] = append(r.private[w], make([]float32, operandOf(n).size()))
				}
			}
			to = r.private[w]
		}
		if len(to) == 0 || r.sinks[w] != nil && &r.sinks[w][0] == &to[0] {
			continue
		}
		r.sinks[w] = to
		for i := w; i < len(r.programs); i += r.workers {
			for j, n := range r.programs[i].wrt {
				if err := r.programs[i].SetGrad(n, to[j]); err != nil {
					return err
				}
			}
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
	r.backward, r.n, r.load, r.values = false, n, load, dst
	return r.each()
}

func (r *Replicas) forwardAll(worker int) error {
	for i := range r.n {
		at := i % len(r.programs)
		if at%r.workers != worker {
			continue
		}
		p := r.programs[at]
		if err := r.loadNext(p, i, false); err != nil {
			return err
		}
		if err := p.Forward(); err != nil {
			return err
		}
		r.holds[at] = i
		if err := p.engine.copyValue(p.outputs[len(p.outputs)-1].slot, r.values[i*r.size:(i+1)*r.size]); err != nil {
			return fmt.Errorf("graph: replicas: %w", err)
		}
	}
	return nil
}

// loadNext loads micro-batch i when it is its turn, unless it is held.
func (r *Replicas) loadNext(p *Program, i int, held bool) error {
	if err := r.order.enter(i); err != nil {
		return err
	}
	if !held {
		if err := r.load(p, i); err != nil {
			r.order.stop() // nobody loads what follows
			return err
		}
	}
	r.order.leave()
	return nil
}

// BackwardEach follows ForwardEach, with nothing run in between: it computes the
// gradients of the whole batch from upstream, the gradient of all embeddings. Load is
// called in descending order, and only for micro-batches whose activations are gone;
// it must bind the same inputs and seeds again. The gradients overwrite what is there,
// or add to it if SetAccumulate says so.
//
// Source: gradient caching, Gao et al., arXiv:2101.06983.
func (r *Replicas) BackwardEach(n int, load func(p *Program, i int) error, upstream []float32) error {
	if n < 1 || len(upstream) != n*r.size {
		return fmt.Errorf("graph: replicas: %d micro-batches have embeddings of %d elements, got %d", n, n*r.size, len(upstream))
	}
	for i, dst := range r.grads {
		if dst == nil {
			return fmt.Errorf("graph: replicas: no place set for the gradient of %s", describeNode(r.programs[0].wrt[i]))
		}
	}
	if err := r.route(n); err != nil {
		return err
	}
	r.order.start(n-1, -1)
	r.add.start(n-1, -1)
	r.backward, r.n, r.load, r.values = true, n, load, upstream
	return r.each()
}

func (r *Replicas) backwardAll(worker int) error {
	for i := r.n - 1; i >= 0; i-- {
		at := i % len(r.programs)
		if at%r.workers != worker {
			continue
		}
		p, held := r.programs[at], r.holds[at] == i
		if err := r.loadNext(p, i, held); err != nil {
			return err
		}
		if !held {
			if err := p.Forward(); err != nil {
				return err
			}
		}
		r.holds[at] = -1
		first := i == r.n-1 && !r.accumulate
		direct := len(r.grads) == 0 || &r.sinks[worker][0] == &r.grads[0]
		p.SetAccumulate(direct && !first)
		if err := p.Backward(r.values[i*r.size : (i+1)*r.size]); err != nil {
			return err
		}
		if err := r.add.enter(i); err != nil {
			return err
		}
		if !direct {
			r.addUp(r.private[worker], first)
		}
		r.add.leave()
	}
	return nil
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

// each lets every worker do its part and returns when all are done, with the first
// error. A panic of a worker goes on in the caller.
func (r *Replicas) each() error {
	r.err, r.failure = nil, nil
	r.ended.Add(len(r.begin))
	for _, begin := range r.begin {
		begin <- struct{}{}
	}
	r.run(0)
	r.ended.Wait()
	r.load, r.values = nil, nil
	if r.failure != nil {
		panic(r.failure)
	}
	return r.err
}

// run does one worker's part and keeps what went wrong.
func (r *Replicas) run(worker int) {
	err := errPanic
	defer func() {
		if err == nil {
			return
		}
		r.mu.Lock()
		if v := recover(); v != nil {
			r.failure = v
		} else if r.err == nil && !errors.Is(err, errStopped) {
			r.err = err
		}
		r.mu.Unlock()
		r.order.stop()
		r.add.stop()
	}()
	if r.backward {
		err = r.backwardAll(worker)
	} else {
		err = r.forwardAll(worker)
	}
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

// enter waits for the turn of i. It is over with leave.
func (t *turnstile) enter(i int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.next != i && !t.stopped {
		t.ready.Wait()
	}
	if t.stopped {
		return errStopped
	}
	return nil
}

// leave gives the turn to the next micro-batch.
func (t *turnstile) leave() {
	t.mu.Lock()
	t.next += t.by
	t.ready.Broadcast()
	t.mu.Unlock()
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

// Close ends the workers and closes all Programs.
func (r *Replicas) Close() error {
	for _, begin := range r.begin {
		close(begin)
	}
	r.begin = nil
	var errs []error
	for _, p := range r.programs {
		errs = append(errs, p.Close())
	}
	for _, pool := range r.pools {
		pool.Close()
	}
	return errors.Join(errs...)
}
