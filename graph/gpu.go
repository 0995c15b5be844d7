//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"errors"
	"fmt"

	"relsim/cuda"
	"relsim/kernel"
)

// GPU is the Backend of an NVIDIA GPU. What is bound to a Program is copied to the device at each run, and outputs and
// gradients back from it, but for what is resident ([GPU.Resident]). It is for one goroutine at a time.
type GPU struct {
	device  *cuda.Device
	config  GPUConfig
	kernels *cuda.Kernels
	stream  *cuda.Stream
	up      *cuda.Stream // of copies to the device that stream waits for
	back    *cuda.Stream // of copies from the device that it does not wait for
	pool    gpuPool
	blas    *cuda.BLAS // nil: kernels of ours multiply

	patchBytes int // of patches of pictures that are made at once

	thread    *cuda.Thread // of Together, while it runs
	residents []*Resident  // by address
	version   int          // counts the changes of residents and scratch
	scratch   cuda.Pointer // of the ops of all Programs: there is one queue
	most      int          // bytes of it
	programs  int          // that are not closed
	plain     bool         // nothing is recorded, for tests
	warned    bool         // that something cannot be
}

// NewGPU makes the Backend of a device, which stays the caller's.
func NewGPU(d *cuda.Device, c GPUConfig) (*GPU, error) {
	if i := d.Info(); c.Precision != kernel.Float32 && i.Arch() < 80 {
		return nil, fmt.Errorf("graph: GPU: products in %v take compute capability 8.0 or more: %v", c.Precision, i)
	}
	g := &GPU{device: d, config: c, patchBytes: 256 << 20}
	err := d.Do(func(t *cuda.Thread) error {
		if err := g.open(t); err != nil {
			return errors.Join(err, g.release(t))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("graph: GPU: %w", err)
	}
	return g, nil
}

func (g *GPU) open(t *cuda.Thread) (err error) {
	if g.kernels, err = t.LoadKernels(g.config.Cache, g.config.Warn); err != nil {
		return err
	}
	for _, s := range []**cuda.Stream{&g.stream, &g.up, &g.back} {
		if *s, err = t.NewStream(); err != nil {
			*s = nil
			return err
		}
	}
	return g.openBLAS(t)
}

// release gives up what open has opened. Nothing may be under way.
func (g *GPU) release(t *cuda.Thread) error {
	var errs []error
	if g.blas != nil {
		errs = append(errs, g.blas.Close())
	}
	for _, s := range []*cuda.Stream{g.stream, g.up, g.back} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	errs = append(errs, g.pool.free(t))
	if g.scratch != 0 {
		errs = append(errs, t.Free(g.scratch))
		g.scratch = 0
	}
	if g.kernels != nil {
		errs = append(errs, g.kernels.Close())
	}
	return errors.Join(errs...)
}

// Name names the device in messages.
func (g *GPU) Name() string { return g.device.Info().String() }

// Precision is that of the products.
func (g *GPU) Precision() kernel.Precision { return g.config.Precision }

// Together runs f on the device's goroutine and returns its error. What f runs, Programs of the GPU and all else, goes into
// the queue without a hand-over for each; runs return when their work is in the queue, and nothing waits but where
// something is read on the host, or a gradient goes to a slice that is not resident. Slices of the host that are bound to
// inputs are read before a run returns. Errors of kernels come to light when something waits, later.
func (g *GPU) Together(f func() error) error {
	if g.together() {
		return f()
	}
	return g.device.Do(func(t *cuda.Thread) error {
		g.thread = t
		defer func() { g.thread = nil }()
		return f()
	})
}

func (g *GPU) together() bool { return g.thread != nil }

// do runs f on the device's goroutine.
func (g *GPU) do(f func(*cuda.Thread) error) error {
	if g.together() {
		return f(g.thread)
	}
	return g.device.Do(f)
}

// reserve makes sure that the scratch memory has n bytes.
func (g *GPU) reserve(t *cuda.Thread, n int) error {
	if n <= g.most {
		return nil
	}
	at, err := t.Alloc(n)
	if err != nil {
		return err
	}
	if g.scratch != 0 {
		err = t.Free(g.scratch) // behind what is under way
	}
	g.scratch, g.most = at, n
	g.version++
	return err
}

// Close unloads the kernels. Programs and residents have to be closed before: it is an error if one is not.
func (g *GPU) Close() error {
	if g.programs > 0 || len(g.residents) > 0 {
		return fmt.Errorf("graph: GPU: close: %d Programs and %d residents are not closed", g.programs, len(g.residents))
	}
	return g.do(func(t *cuda.Thread) error { return errors.Join(t.Sync(), g.release(t)) })
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
	seed            cuda.Pointer // of the run's dropout, 64 bits
}

// gpuQueue is where ops put their kernels. The first error is kept, and later kernels are passed by.
type gpuQueue struct {
	gpu     *GPU
	thread  *cuda.Thread
	stream  *cuda.Stream
	kernels *cuda.Kernels
	dry     bool // nothing is launched
	scratch cuda.Pointer
	used    int                 // bytes of scratch memory of the op
	most    int                 // of any op
	trace   func(kernel string) // is told what is launched; may be nil
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
	if q.trace != nil {
		q.trace(name)
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

// clear sets n elements to zero.
func (q *gpuQueue) clear(p cuda.Pointer, n int) {
	if !q.dry && q.err == nil {
		q.err = q.stream.Fill(p, 0, n)
	}
}

// copy copies n elements, unless they are in their place.
func (q *gpuQueue) copy(to, from cuda.Pointer, n int) {
	if !q.dry && q.err == nil && to != from {
		q.err = q.stream.Copy(to, from, 4*n)
	}
}

// temporary returns memory for n elements until the op ends.
func (q *gpuQueue) temporary(n int) cuda.Pointer {
	p := q.scratch.Add(q.used)
	q.used += (4*n + 255) &^ 255
	q.most = max(q.most, q.used)
	return p
}
