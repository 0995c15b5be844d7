//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"relsim/cuda"
)

// size is that of an element in bytes.
func (t gpuType) size() int {
	if t == gpuBF16 {
		return 2
	}
	return 4
}

// profile puts an event between all steps. The queue runs ahead of the device, so that what lies between two events is the
// kernels of a step, and about a microsecond.
func (e *gpuEngine) profile(passes int) ([]OpTime, error) {
	groups, of := e.alike()
	err := e.gpu.do(func(t *cuda.Thread) (err error) {
		if err := cmp.Or(e.told(), e.route(t), e.gpu.stream.Sync()); err != nil {
			return err
		}
		marks := make([]*cuda.Event, len(e.calls)+1)
		defer func() {
			for _, mark := range marks {
				if mark != nil {
					err = errors.Join(err, mark.Close())
				}
			}
		}()
		for i := range marks {
			if marks[i], err = t.NewEvent(true); err != nil {
				return err
			}
		}
		sums := make([]time.Duration, len(groups))
		for pass := range passes + 1 { // the first one warms up
			if err := e.timed(t, marks, of, groups, pass == 0); err != nil || pass == 0 {
				if err != nil {
					return err
				}
				continue
			}
			clear(sums)
			for i := range e.calls {
				between, err := marks[i+1].Since(marks[i])
				if err != nil {
					return err
				}
				sums[of[i]] += between
			}
			for i := range groups {
				groups[i].Times = append(groups[i].Times, sums[i]/time.Duration(groups[i].Count))
			}
		}
		return nil
	})
	e.fresh = false
	return groups, err
}

// alike groups the steps; of has the group of each.
func (e *gpuEngine) alike() (groups []OpTime, of []int) {
	index := make(map[string]int)
	for i, s := range e.plan.steps {
		c := e.calls[i]
		key := fmt.Sprint(i < e.plan.forward, describeStep(s.kind), c.inType, c.outType)
		g, ok := index[key]
		if !ok {
			g = len(groups)
			index[key] = g
			time := OpTime{Op: describeStep(s.kind), Backward: i >= e.plan.forward, FLOPs: work(s.kind)}
			for j, in := range s.in {
				time.Bytes += float64(touched(s.kind, j, e.plan.slots[in].size) * c.inType[j].size())
			}
			for j, out := range s.out {
				time.Bytes += float64(e.plan.slots[out].size * c.outType[j].size())
			}
			groups = append(groups, time)
		}
		groups[g].Count++
		of = append(of, g)
	}
	return groups, of
}

// timed runs all steps once. The first one of each group says which kernels it launches, if that is wanted.
func (e *gpuEngine) timed(t *cuda.Thread, marks []*cuda.Event, of []int, groups []OpTime, name bool) error {
	q := e.queue(t)
	var launched []string
	if name {
		q.trace = func(kernel string) { launched = append(launched, kernel) }
	}
	stream := e.gpu.stream
	if err := marks[0].Record(stream); err != nil {
		return err
	}
	for i, s := range e.plan.steps {
		launched = nil
		e.step(q, i)
		if g := &groups[of[i]]; g.Kernels == nil {
			g.Kernels = launched
		}
		for _, k := range s.sinks {
			if e.sinks[k].at != 0 {
				e.deliver(q, k)
			}
		}
		if err := cmp.Or(q.err, marks[i+1].Record(stream)); err != nil {
			return err
		}
	}
	return stream.Sync()
}
