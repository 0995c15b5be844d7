//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"errors"
	"fmt"
	"slices"

	"relsim/cuda"
)

// gpuPhase is a part of a run that is launched as one, once it has been recorded: the first run finds out what it needs (how
// libraries do a product, where shared memory is large enough), the second one is recorded, and the recording is
// launched from then on. It holds the places of all operands.
type gpuPhase struct {
	began    bool
	plain    bool // it cannot be recorded
	recorded *cuda.Graph
}

// run puts what f does into the queue, by a recording if there is one.
func (e *gpuEngine) run(t *cuda.Thread, phase *gpuPhase, f func(q *gpuQueue)) error {
	g := e.gpu
	plainly := func() error {
		q := e.queue(t)
		f(q)
		return q.err
	}
	switch {
	case phase.recorded != nil:
		return phase.recorded.Launch(g.stream)
	case !phase.began || phase.plain || g.plain:
		phase.began = true
		return plainly()
	}
	recorded, err := g.stream.Capture(plainly)
	if errors.Is(err, cuda.ErrLost) {
		return err
	}
	if err != nil { // nothing was done
		phase.plain = true
		if g.config.Warn != nil && !g.warned {
			g.config.Warn(fmt.Sprintf("graph: GPU: a run cannot be recorded, its ops are put into the queue one by one: %v", err))
		}
		g.warned = true
		return plainly()
	}
	phase.recorded = recorded
	return recorded.Launch(g.stream)
}

// forget drops what was recorded if it has other places of operands than those of now.
func (e *gpuEngine) forget() error {
	places := []cuda.Pointer{e.gpu.scratch}
	for i, l := range e.plan.leaves {
		if l.param {
			places = append(places, e.at[e.plan.leaves[i].slot])
		}
	}
	for _, s := range e.sinks {
		places = append(places, s.at, s.to)
	}
	if slices.Equal(places, e.places) {
		return nil
	}
	e.places = places
	return e.closePhases()
}

func (e *gpuEngine) closePhases() error {
	var errs []error
	for i := range e.phases {
		if recorded := e.phases[i].recorded; recorded != nil {
			if len(errs) == 0 {
				errs = append(errs, e.gpu.stream.Sync())
			}
			errs = append(errs, recorded.Close())
		}
		e.phases[i] = gpuPhase{}
	}
	return errors.Join(errs...)
}
