package lpips

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"relsim/dataloader"
	"relsim/graph"
	"relsim/kernel"
)

// Pair is two pictures of one size.
type Pair struct{ A, B *dataloader.Image }

// Distances returns the distance of each pair, computed in batches by at most threads
// goroutines (0: as many as there are processors). No bit of a distance depends on the
// other pairs or on threads.
//
// It errs if the pictures of a pair differ in size, or are too small for the net.
func (n *Net) Distances(ctx context.Context, pairs []Pair, threads int) ([]float32, error) {
	layers, err := n.Layers(ctx, pairs, threads)
	if err != nil {
		return nil, err
	}
	d := make([]float32, len(pairs))
	for i, list := range layers {
		var sum float64
		for _, v := range list {
			sum += float64(v)
		}
		d[i] = float32(sum)
	}
	return d, nil
}

// Layers returns the summands of each pair's distance, one for each layer that the
// distance looks at. It errs as [Net.Distances] does.
func (n *Net) Layers(ctx context.Context, pairs []Pair, threads int) ([][]float32, error) {
	images := make([]*dataloader.Image, 0, 2*len(pairs))
	for i, p := range pairs {
		if err := errors.Join(check(p.A), check(p.B)); err != nil {
			return nil, fmt.Errorf("lpips: distances: pair %d: %w", i, err)
		}
		if p.A.Width != p.B.Width || p.A.Height != p.B.Height {
			return nil, fmt.Errorf("lpips: distances: pair %d: pictures of %d×%d and %d×%d: want one size, since positions are compared",
				i, p.A.Width, p.A.Height, p.B.Width, p.B.Height)
		}
		images = append(images, p.A, p.B)
	}
	result := make([][]float32, len(pairs))
	err := n.run(ctx, 2, images, threads, func(h, w, batch int, backend graph.Backend) (*machine, error) {
		b := graph.NewBuilder()
		x, y := b.Input("a", batch*h*w, 3), b.Input("b", batch*h*w, 3)
		layers, err := n.distances(b, x, y, batch, h, w)
		if err != nil {
			return nil, err
		}
		m := &machine{inputs: []*graph.Node{x, y}, outputs: layers}
		return m, m.compile(n, b, backend)
	}, func(m *machine, at []int) error {
		for row, i := range at {
			list := make([]float32, len(m.outputs))
			for k := range m.outputs {
				list[k] = m.program.Value(m.outputs[k])[row]
			}
			if !kernel.AllFinite(list) {
				return fmt.Errorf("pair %d: the distances %v are not finite", i, list)
			}
			result[i] = list
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("lpips: distances: %w", err)
	}
	return result, nil
}

// Vectors calls f with the vector of each picture; the squared Euclidean distance of two of
// them is the pictures' LPIPS, up to rounding. All pictures have one size; a vector has
// [Net.Width] values, none of them negative. f is called from at most threads goroutines at
// once (0: as many as there are processors), in any order; it may change v, which is another
// picture's when it has returned. The first error of f ends the work.
//
// It errs if the sizes of the pictures differ or they are too small for the net, and if a
// weight of the head is negative.
func (n *Net) Vectors(ctx context.Context, images []*dataloader.Image, threads int, f func(i int, v []float32) error) error {
	for i, im := range images {
		err := check(im)
		if err == nil && (im.Width != images[0].Width || im.Height != images[0].Height) {
			err = fmt.Errorf("a picture of %d×%d where the first is one of %d×%d: want one size", im.Width, im.Height, images[0].Width, images[0].Height)
		}
		if err != nil {
			return fmt.Errorf("lpips: vectors: picture %d: %w", i, err)
		}
	}
	err := n.run(ctx, 1, images, threads, func(h, w, batch int, backend graph.Backend) (*machine, error) {
		b := graph.NewBuilder()
		x := b.Input("a", batch*h*w, 3)
		parts, leaves, factors, err := n.vectors(b, x, batch, h, w)
		if err != nil {
			return nil, err
		}
		m := &machine{inputs: []*graph.Node{x}, outputs: parts}
		if err := m.compile(n, b, backend); err != nil {
			return nil, err
		}
		for k, leaf := range leaves {
			if err := m.program.SetFloats(leaf, factors[k]); err != nil {
				return nil, err
			}
		}
		return m, nil
	}, func(m *machine, at []int) error {
		for row, i := range at {
			m.vector = m.vector[:0]
			for _, out := range m.outputs {
				values := m.program.Value(out)
				size := len(values) / m.batch
				m.vector = append(m.vector, values[row*size:(row+1)*size]...)
			}
			if !kernel.AllFinite(m.vector) {
				return fmt.Errorf("picture %d: its vector is not finite", i)
			}
			if err := f(i, m.vector); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("lpips: vectors: %w", err)
	}
	return nil
}

func check(im *dataloader.Image) error {
	if im == nil || im.Width < 1 || im.Height < 1 || len(im.Pix) != 3*im.Width*im.Height {
		return errors.New("not an RGB picture")
	}
	return nil
}

// table has the value that each byte of a channel becomes: v/127.5 - 1, rounded, then
// shifted and scaled in float32 as the reference does.
var table = sync.OnceValue(func() *[256][3]float32 {
	var t [256][3]float32
	for v := range t {
		for c := range 3 {
			t[v][c] = scaled(float32(float64(v)/127.5-1), c)
		}
	}
	return &t
})

// scaled brings a value of channel c from [-1, 1] to the range of the nets.
func scaled(v float32, c int) float32 { return (v - shift[c]) / scale[c] }

// fill writes the scaled pixels of a picture, (H·W, 3).
func fill(dst []float32, im *dataloader.Image) {
	t := table()
	for i := 0; i < len(im.Pix); i += 3 {
		p, d := im.Pix[i:i+3], dst[i:i+3]
		d[0], d[1], d[2] = t[p[0]][0], t[p[1]][1], t[p[2]][2]
	}
}

// batchPixels is the number of pixels of a batch, and maxBatch that of its pictures, at most: more would
// not be faster.
const (
	batchPixels = 1 << 16
	maxBatch    = 16
)

// machine is a compiled graph with its inputs.
type machine struct {
	program *graph.Program
	batch   int
	inputs  []*graph.Node
	outputs []*graph.Node
	buffers [][]float32 // of the inputs, (B·H·W, 3)
	vector  []float32
}

// compile makes the program and binds weights and inputs.
func (m *machine) compile(n *Net, b *graph.Builder, backend graph.Backend) error {
	p, err := graph.Compile(b, graph.Config{Backend: backend, Outputs: m.outputs})
	if err != nil {
		return err
	}
	m.program = p
	for _, leaf := range p.Params() {
		if err := p.SetFloats(leaf, n.weights[leaf.Name()].data); err != nil {
			return err
		}
	}
	for _, leaf := range m.inputs {
		buffer := make([]float32, leaf.Shape().TotalSize())
		m.buffers = append(m.buffers, buffer)
		if err := p.SetFloats(leaf, buffer); err != nil {
			return err
		}
	}
	return nil
}

func (m *machine) close() {
	if m != nil && m.program != nil {
		m.program.Close()
	}
}

// work is a batch: the numbers of its items, and the batch that its machine is made for.
type work struct {
	h, w, batch int
	items       []int
}

// run brings groups of size pictures, which have one size, through machines, and calls done with the items of
// each batch.
func (n *Net) run(ctx context.Context, group int, images []*dataloader.Image, threads int,
	build func(h, w, batch int, backend graph.Backend) (*machine, error), done func(m *machine, items []int) error) error {
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	works := batches(images, group, threads)
	workers := min(threads, len(works))
	if workers == 0 {
		return ctx.Err()
	}
	errs := make([]error, len(works))
	var next atomic.Int64
	var failed atomic.Bool
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			var pool *kernel.Pool
			if each := threads / workers; each > 1 { // fewer batches than threads
				pool = kernel.NewPool(each)
				defer pool.Close()
			}
			var m *machine
			var last work
			defer func() { m.close() }()
			for i := int(next.Add(1)) - 1; i < len(works) && !failed.Load() && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				w := works[i]
				errs[i] = func() error {
					if m == nil || w.h != last.h || w.w != last.w || w.batch != last.batch {
						m.close()
						var err error
						if m, err = build(w.h, w.w, w.batch, graph.NewCPU(pool)); err != nil {
							return err
						}
						m.batch, last = w.batch, w
					}
					for row, item := range w.items {
						for g := range group {
							fill(m.buffers[g][row*3*w.h*w.w:(row+1)*3*w.h*w.w], images[item*group+g])
						}
					}
					if err := m.program.Forward(); err != nil {
						return err
					}
					return done(m, w.items)
				}()
				if errs[i] != nil {
					failed.Store(true)
				}
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// batches cuts the groups into batches of one size: no more pixels than batchPixels, and
// no fewer batches than threads if there are as many groups.
func batches(images []*dataloader.Image, group, threads int) []work {
	type size struct{ h, w int }
	var order []size
	items := map[size][]int{}
	for i := 0; i < len(images); i += group {
		s := size{images[i].Height, images[i].Width}
		if items[s] == nil {
			order = append(order, s)
		}
		items[s] = append(items[s], i/group)
	}
	var list []work
	for _, s := range order {
		all := items[s]
		most := max(1, min(maxBatch, batchPixels/(s.h*s.w), len(images)/group/threads))
		count := (len(all) + most - 1) / most
		batch := (len(all) + count - 1) / count
		for len(all) > 0 {
			k := min(batch, len(all))
			list = append(list, work{s.h, s.w, batch, all[:k]})
			all = all[k:]
		}
	}
	return list
}
