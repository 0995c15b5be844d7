package graph

import (
	"relsim/kernel"
)

// Backend is a device that Programs run on. It lays an arena out, has one kernel
// for every op, and moves values in and out. The backends are in this package.
type Backend interface {
	// Name names the device in messages.
	Name() string
	// load allocates the arena of a plan and binds its kernels. lent is the buffer of
	// the gradients, where the plan has values in it. The seed is read at each run.
	load(p *plan, lent []float32, seed *uint64) (engine, error)
}

// storer is a Backend that may store values in bfloat16.
type storer interface {
	Backend
	// store sets the slots of a plan that are: before its memory is laid out.
	store(p *plan)
}

// engine is a plan on a device.
type engine interface {
	// bindFloats and bindIDs set the memory of a leaf, by reference.
	bindFloats(leaf int, data []float32)
	bindIDs(leaf int, data []int32)
	// bindPixels sets a leaf that is no parameter to what stands for its values, by reference.
	bindPixels(leaf int, data pictures)
	// bindSink sets where a gradient goes.
	bindSink(sink int, data []float32)
	// accumulate says whether gradients are added to what is there.
	accumulate(on bool)
	// forward and backward run the phases. An error, which the host has none of, ends the Program.
	forward() error
	backward() error
	// floats is the memory of a slot, for the host to read.
	floats(slot int) []float32
	// fetch brings parameters and gradients to the memory that is bound, where the device has later values.
	fetch()
	// copyValue copies the value of a slot to memory of the caller.
	copyValue(slot int, dst []float32) error
	// arenaBytes is the size of the arena.
	arenaBytes() int
	// close gives the arena up.
	close()
}

// NewCPU returns the Backend of the host: the kernels of package kernel on the
// threads of pool. A nil pool is the calling goroutine alone. Several Programs
// may share a pool.
func NewCPU(pool *kernel.Pool) Backend { return cpu{pool} }

type cpu struct{ pool *kernel.Pool }

func (cpu) Name() string { return "cpu" }

func (b cpu) load(p *plan, lent []float32, seed *uint64) (engine, error) {
	e := &cpuEngine{
		plan:   p,
		pool:   b.pool,
		memory: kernel.NewMemory(p.words),
		lent:   lent,
		leaves: make([][]float32, len(p.leaves)),
		shown:  make([]cpuPictures, len(p.leaves)),
		sinks:  make([][]float32, len(p.sinks)),
		users:  make([][]use, len(p.leaves)),
		dirty:  true,
	}
	e.arena = e.memory.Floats
	for i, s := range p.steps {
		c := newCall(len(s.in), len(s.out), b.pool, seed)
		for j, in := range s.in {
			if l := p.slots[in].leaf; l >= 0 {
				e.users[l] = append(e.users[l], use{i, j})
			} else {
				c.in[j] = e.floats(in)
			}
		}
		for j, out := range s.out {
			c.out[j] = e.floats(out)
		}
		e.calls = append(e.calls, c)
	}
	return e, nil
}

// cpuEngine runs a plan on the host.
type cpuEngine struct {
	plan   *plan
	pool   *kernel.Pool
	memory *kernel.Memory // of the arena
	arena  []float32
	lent   []float32 // of the gradients, with other values before them
	calls  []*call   // of plan.steps
	leaves [][]float32
	shown  []cpuPictures // of each leaf
	users  [][]use       // of each leaf
	sinks  [][]float32
	add    bool
	dirty  bool // the outputs of the ops with direct sinks are to be set
}

// use is an operand of a step.
type use struct{ step, operand int }

// cpuPictures are what is bound to a leaf in place of values, if pixels is not nil, and memory for the values.
type cpuPictures struct {
	pictures
	values []float32 // nil: none yet
}

// look finds the values of a leaf that is bound to pixels.
func (e *cpuEngine) look(leaf int) {
	if s := &e.shown[leaf]; s.pixels != nil {
		s.expand(e.pool, s.values)
	}
}

func (e *cpuEngine) bindPixels(leaf int, data pictures) {
	s := &e.shown[leaf]
	if s.values == nil {
		s.values = make([]float32, len(data.pixels))
	}
	e.bindFloats(leaf, s.values)
	s.pictures = data
}

func (e *cpuEngine) bindFloats(leaf int, data []float32) {
	e.leaves[leaf], e.shown[leaf].pictures = data, pictures{}
	for _, u := range e.users[leaf] {
		e.calls[u.step].in[u.operand] = data
	}
}

func (e *cpuEngine) bindIDs(leaf int, data []int32) {
	for _, u := range e.users[leaf] {
		e.calls[u.step].ids[u.operand] = data
	}
}

func (e *cpuEngine) bindSink(sink int, data []float32) {
	e.sinks[sink] = data
	e.dirty = true
}

func (e *cpuEngine) accumulate(on bool) {
	e.dirty = e.dirty || e.add != on
	e.add = on
}

func (e *cpuEngine) floats(slot int) []float32 {
	s := e.plan.slots[slot]
	if s.leaf >= 0 {
		e.look(s.leaf)
		return e.leaves[s.leaf]
	}
	memory := e.arena
	if s.lent {
		memory = e.lent
	}
	return memory[s.offset : s.offset+s.size : s.offset+s.size]
}

func (e *cpuEngine) fetch() {}

func (e *cpuEngine) copyValue(slot int, dst []float32) error {
	copy(dst, e.floats(slot))
	return nil
}

func (e *cpuEngine) forward() error {
	for i := range e.shown {
		e.look(i)
	}
	for i, c := range e.calls[:e.plan.forward] {
		e.plan.steps[i].kind.run(c)
	}
	return nil
}

func (e *cpuEngine) backward() error {
	if e.dirty {
		e.route()
	}
	for i := e.plan.forward; i < len(e.calls); i++ {
		step := &e.plan.steps[i]
		step.kind.run(e.calls[i])
		for _, s := range step.sinks {
			e.deliver(s)
		}
	}
	for i := range e.plan.sinks {
		if e.plan.sinks[i].step < 0 {
			e.deliver(i)
		}
	}
	return nil
}

// route lets the ops of direct sinks write to the caller, or to the arena if
// gradients are added up.
func (e *cpuEngine) route() {
	for i, s := range e.plan.sinks {
		if !s.direct {
			continue
		}
		for j, out := range e.plan.steps[s.step].out {
			if out == s.slot {
				to := e.floats(out)
				if !e.add {
					to = e.sinks[i]
				}
				e.calls[s.step].out[j] = to
			}
		}
	}
	e.dirty = false
}

// deliver brings a gradient that is complete to the caller.
func (e *cpuEngine) deliver(i int) {
	s, dst := &e.plan.sinks[i], e.sinks[i]
	switch {
	case e.add:
		kernel.Axpy(e.pool, dst, 1, e.floats(s.slot))
	case !s.direct:
		copy(dst, e.floats(s.slot))
	}
}

func (e *cpuEngine) arenaBytes() int {
	n := len(e.arena)
	for i := range e.shown {
		n += len(e.shown[i].values)
	}
	return 4 * n
}

func (e *cpuEngine) close() {
	e.memory.Free()
	e.arena, e.lent, e.calls, e.leaves, e.shown, e.sinks = nil, nil, nil, nil, nil, nil
}
