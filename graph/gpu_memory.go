//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"errors"

	"relsim/cuda"
)

// MemoryFor returns how many bytes of the device a Program would take that is compiled and run so, beyond what is taken now: all
// but its parameters and their gradients, which may be resident. It takes none of them. Inputs are taken to be bound to
// values: one that is bound to pixels takes less, unless its pictures are tiny.
func (g *GPU) MemoryFor(b *Builder, c Config) (int, error) {
	bytes := 0
	c.Backend = counter{g, &bytes}
	_, err := Compile(b, c)
	if !errors.Is(err, errCounted) {
		return 0, err
	}
	return bytes, nil
}

// Free returns how many bytes of the device are free, and how many it has.
func (g *GPU) Free() (free, total int64, err error) {
	err = g.do(func(t *cuda.Thread) (err error) {
		free, total, err = t.Memory()
		return err
	})
	return free, total, err
}

// counter is a Backend that only counts what a plan takes.
type counter struct {
	*GPU
	bytes *int
}

var errCounted = errors.New("the memory of a plan was counted")

func (c counter) load(p *plan, lent []float32, seed *uint64) (engine, error) {
	e, err := c.newEngine(p, seed)
	if err != nil {
		return nil, err
	}
	e.counts = true
	if err := c.do(func(t *cuda.Thread) error { return e.place(t, lent) }); err != nil {
		return nil, err
	}
	*c.bytes = e.bytes
	for i, l := range p.leaves { // the stages of inputs: two, with what goes beside indices
		if l.param || l.name == upstreamName || l.size == 1 && !l.ids {
			continue
		}
		n := l.size
		if e.leaves[i].order != 0 {
			n *= 2
		}
		*c.bytes += len(e.leaves[i].stages.both) * 4 * n
	}
	return nil, errCounted
}
