//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"relsim/cuda"
)

// GPU is the Backend of an NVIDIA GPU. Leaves are copied to the device at each run, outputs and
// gradients back from it. It is for one goroutine at a time.
type GPU struct {
	device  *cuda.Device
	config  GPUConfig
	kernels *cuda.Kernels
	stream  *cuda.Stream
}

// NewGPU makes the Backend of a device, which stays the caller's.
func NewGPU(d *cuda.Device, c GPUConfig) (*GPU, error) {
	g := &GPU{device: d, config: c}
	err := d.Do(func(t *cuda.Thread) (err error) {
		if g.kernels, err = t.LoadKernels(c.Cache, c.Warn); err != nil {
			return err
		}
		g.stream, err = t.NewStream()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("graph: GPU: %w", err)
	}
	return g, nil
}

// Name names the device in messages.
func (g *GPU) Name() string { return g.device.Info().String() }

// Close unloads the kernels. The Programs of the Backend have to be closed before.
func (g *GPU) Close() error {
	return g.device.Do(func(*cuda.Thread) error { return errors.Join(g.stream.Close(), g.kernels.Close()) })
}

// gpuKind is a kind with a kernel for GPUs.
type gpuKind interface {
	kind
	// enqueue puts the op into the queue. It is called once before any run, to find out how much scratch memory it takes.
	enqueue(q *gpuQueue, c *gpuCall)
}

// gpuCall is an op with the places of its operands on the device.
type gpuCall struct {
	out, in         []cuda.Pointer
	outType, inType []gpuType    // how they are stored
	order           cuda.Pointer // of the indices of embeddingGrad, by ascending index
	seed            *uint64
}

// gpuQueue is where ops put their kernels. The first error is kept, and later kernels are passed by.
type gpuQueue struct {
	thread  *cuda.Thread
	stream  *cuda.Stream
	kernels *cuda.Kernels
	dry     bool // nothing is launched
	scratch cuda.Pointer
	used    int // bytes of scratch memory of the op
	most    int // of any op
	err     error
}

// Sizes of blocks.
const (
	eachThreads = 256
	rowThreads  = 256
)

// launch puts a kernel into the queue.
func (q *gpuQueue) launch(name string, grid, block cuda.Dim, shared int, a cuda.Args) {
	if q.dry || q.err != nil {
		return
	}
	f, err := q.kernels.Function(name)
	if err == nil {
		err = q.stream.Launch(f, grid, block, shared, a)
	}
	q.err = err
}

// args begins the parameters of the next kernel: pointers first, in the order given.
func (q *gpuQueue) args(pointers ...cuda.Pointer) cuda.Args {
	a := q.thread.Args()
	for _, p := range pointers {
		a = a.Pointer(p)
	}
	return a
}

// each launches a kernel with a thread for each of n elements, as far as a grid of 65,536 blocks goes.
func (q *gpuQueue) each(name string, n int, a cuda.Args) {
	q.launch(name, cuda.Dim{X: min((n+eachThreads-1)/eachThreads, 1<<16)}, cuda.Dim{X: eachThreads}, 0, a)
}

// rows launches a kernel with a block for each row.
func (q *gpuQueue) rows(name string, rows, cols int, a cuda.Args) {
	q.launch(name, cuda.Dim{X: rows}, cuda.Dim{X: min((cols+31)/32*32, rowThreads)}, 0, a)
}

// columns launches a kernel with a block of 32 × 8 threads for 32 columns.
func (q *gpuQueue) columns(name string, cols int, a cuda.Args) {
	q.launch(name, cuda.Dim{X: (cols + 31) / 32}, cuda.Dim{X: 32, Y: 8}, 0, a)
}

// one launches a kernel of a single block.
func (q *gpuQueue) one(name string, a cuda.Args) {
	q.launch(name, cuda.Dim{}, cuda.Dim{X: 1024}, 0, a)
}

// fill sets n elements to zero.
func (q *gpuQueue) clear(p cuda.Pointer, n int) {
	if !q.dry && q.err == nil {
		q.err = q.stream.Fill(p, 0, n)
	}
}

// temporary returns memory for n elements until the op ends.
func (q *gpuQueue) temporary(n int) cuda.Pointer {
	p := q.scratch.Add(q.used)
	q.used += (4*n + 255) &^ 255
	q.most = max(q.most, q.used)
	return p
}

// gpuEngine is a plan on a GPU.
type gpuEngine struct {
	gpu    *GPU
	plan   *plan
	calls  []*gpuCall
	arena  cuda.Pointer
	lent   cuda.Pointer // where values lie before gradients
	at     []cuda.Pointer
	types  []gpuType
	memory []cuda.Pointer // all that is to be freed
	bytes  int

	leaves  [][]float32 // on the host
	ids     [][]int32
	orders  []cuda.Pointer // of leaves that embeddings' gradients read
	outputs map[int][]float32
	sinks   [][]float32 // on the host
	grads   []cuda.Pointer
	add     bool
	scratch cuda.Pointer
	seed    *uint64
}

func (g *GPU) load(p *plan, lent []float32, seed *uint64) (engine, error) {
	e := &gpuEngine{
		gpu: g, plan: p, seed: seed,
		at:      make([]cuda.Pointer, len(p.slots)),
		types:   p.storage(g.config.Precision),
		leaves:  make([][]float32, len(p.leaves)),
		ids:     make([][]int32, len(p.leaves)),
		orders:  make([]cuda.Pointer, len(p.leaves)),
		outputs: make(map[int][]float32),
		sinks:   make([][]float32, len(p.sinks)),
		grads:   make([]cuda.Pointer, len(p.sinks)),
	}
	for _, s := range p.steps {
		if _, ok := s.kind.(gpuKind); !ok {
			return nil, fmt.Errorf("no kernel for %s on GPUs", opName(s.kind))
		}
	}
	for _, s := range p.outputs {
		e.outputs[s] = make([]float32, p.slots[s].size)
	}
	err := g.device.Do(func(t *cuda.Thread) error {
		err := e.place(t)
		if err != nil {
			return errors.Join(err, e.free(t))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// take takes memory for n elements.
func (e *gpuEngine) take(t *cuda.Thread, n int) (cuda.Pointer, error) {
	p, err := t.Alloc(4 * max(n, 1))
	if err == nil {
		e.memory = append(e.memory, p)
		e.bytes += 4 * max(n, 1)
	}
	return p, err
}

// place takes the memory of all values and binds the ops to it.
func (e *gpuEngine) place(t *cuda.Thread) (err error) {
	p := e.plan
	if e.arena, err = e.take(t, p.words); err != nil {
		return err
	}
	if e.lent, err = e.take(t, p.lent); err != nil {
		return err
	}
	for i, s := range p.slots {
		switch {
		case s.leaf >= 0:
			if e.at[i], err = e.take(t, s.size); err != nil {
				return err
			}
		case s.lent:
			e.at[i] = e.lent.Add(4 * s.offset)
		default:
			e.at[i] = e.arena.Add(4 * s.offset)
		}
	}
	for i, s := range p.sinks {
		if p.lent > 0 {
			e.grads[i] = e.lent.Add(4 * s.offset)
		} else if e.grads[i], err = e.take(t, p.slots[s.slot].size); err != nil {
			return err
		}
	}
	q := e.queue(t)
	q.dry = true
	for _, s := range p.steps {
		c := &gpuCall{seed: e.seed}
		for _, in := range s.in {
			c.in, c.inType = append(c.in, e.at[in]), append(c.inType, e.types[in])
		}
		for _, out := range s.out {
			c.out, c.outType = append(c.out, e.at[out]), append(c.outType, e.types[out])
		}
		if k, ok := s.kind.(embeddingGrad); ok {
			leaf := p.slots[s.in[1]].leaf
			if leaf < 0 {
				return errors.New("the indices of an embedding are computed")
			}
			if e.orders[leaf] == 0 {
				if e.orders[leaf], err = e.take(t, k.n); err != nil {
					return err
				}
			}
			c.order = e.orders[leaf]
		}
		q.used = 0
		s.kind.(gpuKind).enqueue(q, c)
		e.calls = append(e.calls, c)
	}
	e.scratch, err = e.take(t, (q.most+3)/4)
	return err
}

func (e *gpuEngine) queue(t *cuda.Thread) *gpuQueue {
	return &gpuQueue{thread: t, stream: e.gpu.stream, kernels: e.gpu.kernels, scratch: e.scratch}
}

func (e *gpuEngine) bindFloats(leaf int, data []float32) { e.leaves[leaf] = data }

func (e *gpuEngine) bindIDs(leaf int, data []int32) { e.ids[leaf] = data }

func (e *gpuEngine) bindSink(sink int, data []float32) { e.sinks[sink] = data }

func (e *gpuEngine) accumulate(on bool) { e.add = on }

func (e *gpuEngine) floats(slot int) []float32 {
	if leaf := e.plan.slots[slot].leaf; leaf >= 0 {
		return e.leaves[leaf]
	}
	return e.outputs[slot]
}

// upload brings all leaves that are bound to the device.
func (e *gpuEngine) upload(t *cuda.Thread) error {
	for i, l := range e.plan.leaves {
		var err error
		switch {
		case l.ids:
			if err = cuda.Upload(t, e.at[l.slot], e.ids[i]); err == nil && e.orders[i] != 0 {
				err = cuda.Upload(t, e.orders[i], byIndex(e.ids[i]))
			}
		case e.leaves[i] != nil:
			err = cuda.Upload(t, e.at[l.slot], e.leaves[i])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// byIndex returns the places of ids by ascending id, those of one id in their order.
func byIndex(ids []int32) []int32 {
	order := make([]int32, len(ids))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(ids[a], ids[b]) })
	return order
}

func (e *gpuEngine) forward() error {
	return e.gpu.device.Do(func(t *cuda.Thread) error {
		if err := e.upload(t); err != nil {
			return err
		}
		q := e.queue(t)
		for i := range e.plan.forward {
			e.step(q, i)
		}
		if err := cmp.Or(q.err, q.stream.Sync()); err != nil {
			return err
		}
		for slot, to := range e.outputs {
			if err := cuda.Download(t, to, e.at[slot]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (e *gpuEngine) step(q *gpuQueue, i int) {
	q.used = 0
	e.plan.steps[i].kind.(gpuKind).enqueue(q, e.calls[i])
}

func (e *gpuEngine) backward() error {
	return e.gpu.device.Do(func(t *cuda.Thread) error {
		for i, l := range e.plan.leaves { // what Backward was given
			if l.name == upstreamName {
				if err := cuda.Upload(t, e.at[l.slot], e.leaves[i]); err != nil {
					return err
				}
			}
		}
		if e.add {
			for i := range e.plan.sinks {
				if err := cuda.Upload(t, e.grads[i], e.sinks[i]); err != nil {
					return err
				}
			}
		}
		q := e.queue(t)
		for i := e.plan.forward; i < len(e.calls); i++ {
			e.step(q, i)
			for _, s := range e.plan.steps[i].sinks {
				e.deliver(q, s)
			}
		}
		for i, s := range e.plan.sinks {
			if s.step < 0 {
				e.deliver(q, i)
			}
		}
		if err := cmp.Or(q.err, q.stream.Sync()); err != nil {
			return err
		}
		for i, to := range e.sinks {
			if err := cuda.Download(t, to, e.grads[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// deliver brings a gradient that is complete to its place.
func (e *gpuEngine) deliver(q *gpuQueue, i int) {
	s := e.plan.sinks[i]
	n := e.plan.slots[s.slot].size
	if e.add {
		q.each("axpy", n, q.args(e.grads[i], e.at[s.slot]).Float32(1).Int64(int64(n)))
	} else if e.grads[i] != e.at[s.slot] {
		q.each("copy", n, q.args(e.grads[i], e.at[s.slot]).Int64(int64(n)))
	}
}

func (e *gpuEngine) arenaBytes() int { return e.bytes }

func (e *gpuEngine) free(t *cuda.Thread) error {
	var errs []error
	for _, p := range e.memory {
		errs = append(errs, t.Free(p))
	}
	e.memory = nil
	return errors.Join(errs...)
}

func (e *gpuEngine) close() {
	e.gpu.device.Do(e.free) // a device that is lost has no memory to give back
}
