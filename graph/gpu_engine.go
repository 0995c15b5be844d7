//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"relsim/cuda"
)

// gpuEngine is a plan on a GPU.
type gpuEngine struct {
	gpu    *GPU
	plan   *plan
	calls  []*gpuCall
	users  [][]use // of each leaf
	arena  cuda.Pointer
	lent   cuda.Pointer // where values lie before gradients
	lender *Resident    // whose memory that is, nil: the Program's own
	at     []cuda.Pointer
	types  []gpuType
	memory []cuda.Pointer // all that is to be freed
	bytes  int
	counts bool // memory is counted, not taken

	leaves  []gpuLeaf
	sinks   []gpuSink
	outputs map[int][]float32 // on the host
	fresh   bool              // they are those of the last run
	add     bool
	seed    *uint64
	seedAt  cuda.Pointer // of the last Forward
	err     error        // that nobody has been told

	dirty   bool // something was bound since route
	version int  // of the GPU at that time
	phases  [phases]gpuPhase
	places  []cuda.Pointer // of operands, in what phases have recorded
}

// The phases of a run.
const (
	phaseForward = iota
	phaseBackward
	phaseBackwardAdd
	phases
)

// gpuLeaf is a leaf: what is bound to it, and where that is on the device.
type gpuLeaf struct {
	floats   []float32
	ids      []int32
	pictures              // in place of floats, if pixels is not nil
	looked   []float32    // values of pictures, for the host
	own      cuda.Pointer // the Program's own place, 0: none yet
	half     cuda.Pointer // a copy in bfloat16, 0: nobody reads it
	order    cuda.Pointer // of ids that an embedding's gradient reads: their places, by ascending id
	stages   gpuStages
	bytes    gpuStages // of pictures
}

// gpuSink is a gradient on its way to the caller.
type gpuSink struct {
	floats   []float32
	own      cuda.Pointer // the Program's own place, 0: none yet
	from     cuda.Pointer // where the op leaves it
	at       cuda.Pointer // where it is added up: in a resident or in own
	to       cuda.Pointer // in a resident, where that is another place
	resident *Resident    // nil: it is copied to the host
}

func (g *GPU) newEngine(p *plan, seed *uint64) (*gpuEngine, error) {
	e := &gpuEngine{
		gpu: g, plan: p, seed: seed, dirty: true,
		users:   make([][]use, len(p.leaves)),
		at:      make([]cuda.Pointer, len(p.slots)),
		types:   storedAs(p),
		leaves:  make([]gpuLeaf, len(p.leaves)),
		sinks:   make([]gpuSink, len(p.sinks)),
		outputs: make(map[int][]float32),
	}
	for _, s := range p.steps {
		if _, ok := s.kind.(gpuKind); !ok {
			return nil, fmt.Errorf("no kernel for %s on GPUs", opName(s.kind))
		}
	}
	for _, s := range p.outputs {
		e.outputs[s] = make([]float32, p.slots[s].size)
	}
	return e, nil
}

func (g *GPU) load(p *plan, lent []float32, seed *uint64) (engine, error) {
	e, err := g.newEngine(p, seed)
	if err != nil {
		return nil, err
	}
	err = g.do(func(t *cuda.Thread) error {
		err := e.place(t, lent)
		if err != nil {
			return errors.Join(err, e.free(t))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	g.programs++
	return e, nil
}

// nowhere stands for the address of a parameter until it is bound, and 0 for an operand that is not there: what an op does, and
// how much scratch memory it takes, depends on the difference.
const nowhere cuda.Pointer = 256

// take takes memory for n elements.
func (e *gpuEngine) take(t *cuda.Thread, n int) (cuda.Pointer, error) {
	if e.counts {
		e.bytes += 4 * max(n, 1)
		return nowhere, nil
	}
	p, err := t.Alloc(4 * max(n, 1))
	if err == nil {
		e.memory = append(e.memory, p)
		e.bytes += 4 * max(n, 1)
	}
	return p, err
}

// place takes the memory of all values and binds the ops to it. Parameters get places of their own when they are bound to what
// is not resident.
func (e *gpuEngine) place(t *cuda.Thread, lent []float32) (err error) {
	p := e.plan
	if e.arena, err = e.take(t, p.words); err != nil {
		return err
	}
	if p.lent > 0 {
		if e.lent, e.lender, err = e.gpu.find(lent); err == nil && e.lent == 0 {
			e.lent, err = e.take(t, p.lent)
		}
		if err != nil {
			return err
		}
	}
	for i, s := range p.slots {
		switch {
		case s.leaf >= 0 && p.leaves[s.leaf].param:
			e.at[i] = nowhere
		case s.leaf >= 0:
			if e.at[i], err = e.take(t, s.size); err != nil {
				return err
			}
			e.leaves[s.leaf].own = e.at[i]
		case s.lent:
			e.at[i] = e.lent.Add(4 * s.offset)
		default:
			e.at[i] = e.arena.Add(4 * s.offset)
		}
	}
	if e.seedAt, err = e.take(t, 2); err != nil {
		return err
	}
	q := e.queue(t)
	q.dry = true
	for i, s := range p.steps {
		c := &gpuCall{seed: e.seedAt}
		for j, in := range s.in {
			at, copied := e.at[in], e.readsCopy(s, j)
			if l := p.slots[in].leaf; copied {
				if at, err = e.place1(t, &e.leaves[l].half, (p.slots[in].size+1)/2); err != nil {
					return err
				}
			} else if l >= 0 {
				e.users[l] = append(e.users[l], use{i, j})
			}
			c.in, c.inType = append(c.in, at), append(c.inType, e.types[in])
			if copied {
				c.inType[j] = gpuBF16
			}
		}
		for _, out := range s.out {
			c.out, c.outType = append(c.out, e.at[out]), append(c.outType, e.types[out])
		}
		if k, ok := s.kind.(embeddingGrad); ok {
			leaf := p.slots[s.in[1]].leaf
			if leaf < 0 {
				return errors.New("the indices of an embedding are computed")
			}
			if e.leaves[leaf].order == 0 {
				if e.leaves[leaf].order, err = e.take(t, k.n); err != nil {
					return err
				}
			}
			c.order = e.leaves[leaf].order
		}
		q.used = 0
		s.kind.(gpuKind).enqueue(q, c)
		e.calls = append(e.calls, c)
	}
	if q.err != nil { // what no kernel can do
		return q.err
	}
	if e.counts {
		e.bytes += max(0, q.most-e.gpu.most)
		return nil
	}
	return e.gpu.reserve(t, q.most)
}

func (e *gpuEngine) queue(t *cuda.Thread) *gpuQueue {
	return &gpuQueue{gpu: e.gpu, thread: t, stream: e.gpu.stream, kernels: e.gpu.kernels, scratch: e.gpu.scratch}
}

func (e *gpuEngine) bindFloats(leaf int, data []float32) {
	e.dirty = e.dirty || e.plan.leaves[leaf].param
	e.leaves[leaf].floats, e.leaves[leaf].pictures = data, pictures{}
}

func (e *gpuEngine) bindPixels(leaf int, data pictures) {
	e.leaves[leaf].floats, e.leaves[leaf].pictures = nil, data
}

func (e *gpuEngine) bindIDs(leaf int, data []int32) { e.leaves[leaf].ids = data }

func (e *gpuEngine) bindSink(sink int, data []float32) { e.sinks[sink].floats, e.dirty = data, true }

func (e *gpuEngine) accumulate(on bool) {
	e.dirty = e.dirty || e.add != on
	e.add = on
}

// route finds out which parameters and gradients are resident, and lets the ops read and write there.
func (e *gpuEngine) route(t *cuda.Thread) error {
	if !e.dirty && e.version == e.gpu.version {
		return nil
	}
	for i, l := range e.plan.leaves {
		if !l.param {
			continue
		}
		leaf := &e.leaves[i]
		at, _, err := e.gpu.find(leaf.floats)
		if err == nil && !aligned(at) {
			at, err = e.place1(t, &leaf.own, l.size)
		}
		if err != nil {
			return err
		}
		e.at[l.slot] = at
		for _, u := range e.users[i] {
			e.calls[u.step].in[u.operand] = at
		}
	}
	for i := range e.sinks {
		if err := e.routeSink(t, i); err != nil {
			return err
		}
	}
	e.dirty, e.version = false, e.gpu.version
	return e.forget()
}

// routeSink finds the place of a gradient. An op whose result nothing else reads writes there itself, if it is not added.
func (e *gpuEngine) routeSink(t *cuda.Thread, i int) (err error) {
	s, k := &e.sinks[i], e.plan.sinks[i]
	if s.floats == nil {
		return nil
	}
	if s.at, s.resident, err = e.gpu.find(s.floats); err != nil {
		return err
	}
	s.to = s.at
	if at := e.lent.Add(4 * k.offset); e.plan.lent > 0 {
		if s.at != 0 && s.at != at {
			return errors.New("the buffer that is lent has become resident, or was closed, since the Program was compiled")
		}
		s.at, s.to = at, at
	} else if !aligned(s.at) {
		if s.at, err = e.place1(t, &s.own, e.plan.slots[k.slot].size); err != nil {
			return err
		}
	}
	s.from = e.at[k.slot]
	if !k.direct {
		return nil
	}
	if !e.add && aligned(s.at) {
		s.from = s.at
	}
	step := e.plan.steps[k.step]
	e.calls[k.step].out[slices.Index(step.out, k.slot)] = s.from
	return nil
}

// aligned says whether a kernel may take 16 bytes at once at a place. A part of a resident may lie anywhere.
func aligned(p cuda.Pointer) bool { return p != 0 && p%16 == 0 }

// place1 takes memory once.
func (e *gpuEngine) place1(t *cuda.Thread, at *cuda.Pointer, n int) (_ cuda.Pointer, err error) {
	if *at == 0 {
		*at, err = e.take(t, n)
	}
	return *at, err
}

// upload brings a leaf to the device. What the host has is copied before upload returns.
func (e *gpuEngine) upload(t *cuda.Thread, i int) error {
	leaf, to := &e.leaves[i], e.at[e.plan.leaves[i].slot]
	stream := e.gpu.stream
	if e.plan.leaves[i].ids {
		if leaf.order == 0 {
			return stage(e, t, leaf, [][]int32{leaf.ids}, []cuda.Pointer{to})
		}
		return stage(e, t, leaf, [][]int32{leaf.ids, order(leaf.ids)}, []cuda.Pointer{to, leaf.order})
	}
	if leaf.pixels != nil {
		return e.stagePictures(t, leaf, to)
	}
	from, _, err := e.gpu.find(leaf.floats)
	switch {
	case err != nil || from == to || len(leaf.floats) == 0:
		return err
	case from != 0:
		return stream.Copy(to, from, 4*len(leaf.floats))
	case len(leaf.floats) == 1: // the queue has the number itself
		return stream.Fill(to, math.Float32bits(leaf.floats[0]), 1)
	case !e.plan.leaves[i].param:
		return stage(e, t, leaf, [][]float32{leaf.floats}, []cuda.Pointer{to})
	}
	return cmp.Or(stream.Sync(), cuda.Upload(t, to, leaf.floats))
}

// told returns an error that nobody has been told yet, once.
func (e *gpuEngine) told() error {
	err := e.err
	e.err = nil
	return err
}

func (e *gpuEngine) forward() error {
	return e.gpu.do(func(t *cuda.Thread) error {
		if err := cmp.Or(e.told(), e.route(t)); err != nil {
			return err
		}
		for i, l := range e.plan.leaves {
			if l.name == upstreamName {
				continue
			}
			if err := e.upload(t, i); err != nil {
				return err
			}
		}
		e.fresh = false
		if err := e.gpu.writes(e.lender); err != nil {
			return err
		}
		if err := e.plant(); err != nil {
			return err
		}
		err := e.run(t, &e.phases[phaseForward], func(q *gpuQueue) {
			e.round(q, false)
			for i := range e.plan.forward {
				e.step(q, i)
			}
		})
		if err != nil || e.gpu.together() {
			return err
		}
		return e.read(t)
	})
}

// plant brings the seed to the device: the queue has the number itself.
func (e *gpuEngine) plant() error {
	s := e.gpu.stream
	return cmp.Or(s.Fill(e.seedAt, uint32(*e.seed), 1), s.Fill(e.seedAt.Add(4), uint32(*e.seed>>32), 1))
}

// read waits and brings the outputs to the host.
func (e *gpuEngine) read(t *cuda.Thread) error {
	if err := e.gpu.stream.Sync(); err != nil {
		return err
	}
	for slot, to := range e.outputs {
		if err := cuda.Download(t, to, e.at[slot]); err != nil {
			return err
		}
	}
	e.fresh = true
	return nil
}

func (e *gpuEngine) step(q *gpuQueue, i int) {
	q.used = 0
	e.plan.steps[i].kind.(gpuKind).enqueue(q, e.calls[i])
}

func (e *gpuEngine) backward() error {
	return e.gpu.do(func(t *cuda.Thread) error {
		if err := cmp.Or(e.told(), e.route(t)); err != nil {
			return err
		}
		for i, l := range e.plan.leaves { // what Backward was given
			if l.name == upstreamName {
				if err := e.upload(t, i); err != nil {
					return err
				}
			}
		}
		host, err := e.begin(t)
		if err != nil {
			return err
		}
		phase := &e.phases[phaseBackward]
		if e.add {
			phase = &e.phases[phaseBackwardAdd]
		}
		if err := e.run(t, phase, e.differentiate); err != nil || e.gpu.together() && !host {
			return err
		}
		if err := e.gpu.stream.Sync(); err != nil {
			return err
		}
		for _, s := range e.sinks {
			if s.resident == nil {
				if err := cuda.Download(t, s.floats, s.at); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// differentiate puts the ops of the backward phase into the queue.
func (e *gpuEngine) differentiate(q *gpuQueue) {
	e.round(q, true)
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
}

// begin prepares the places of the gradients, and says whether one goes to the host.
func (e *gpuEngine) begin(t *cuda.Thread) (host bool, err error) {
	for _, s := range e.sinks {
		if err := e.gpu.writes(s.resident); err != nil {
			return false, err
		}
		switch {
		case s.resident == nil && e.add:
			err = cmp.Or(e.gpu.stream.Sync(), cuda.Upload(t, s.at, s.floats))
		case e.add && s.to != s.at:
			err = e.gpu.stream.Copy(s.at, s.to, 4*len(s.floats))
		}
		if err != nil {
			return false, err
		}
		host = host || s.resident == nil
	}
	return host, nil
}

// deliver brings a gradient that is complete to its place.
func (e *gpuEngine) deliver(q *gpuQueue, i int) {
	s := &e.sinks[i]
	n := len(s.floats)
	if e.add {
		q.packs("axpy", n, q.args(s.at, s.from).Float32(1).Int64(int64(n)))
	} else {
		q.copy(s.at, s.from, n)
	}
	if s.resident != nil {
		q.copy(s.to, s.at, n)
	}
}

// floats reads an output when it is asked for. What cannot be read is NaN, and the next run says why.
func (e *gpuEngine) floats(slot int) []float32 {
	if i := e.plan.slots[slot].leaf; i >= 0 {
		leaf := &e.leaves[i]
		if leaf.pixels == nil {
			return leaf.floats
		}
		if leaf.looked == nil {
			leaf.looked = make([]float32, len(leaf.pixels))
		}
		leaf.expand(nil, leaf.looked)
		return leaf.looked
	}
	if !e.fresh {
		if err := e.gpu.do(e.read); err != nil {
			e.err = err
			for i := range e.outputs[slot] {
				e.outputs[slot][i] = float32(math.NaN())
			}
		}
	}
	return e.outputs[slot]
}

// fetch passes by what cannot be read: the device is lost then, and every run says so.
func (e *gpuEngine) fetch() {
	for i, l := range e.plan.leaves {
		if l.param && e.gpu.Holds(e.leaves[i].floats) {
			e.gpu.Fetch(e.leaves[i].floats)
		}
	}
	for _, s := range e.sinks {
		if e.gpu.Holds(s.floats) {
			e.gpu.Fetch(s.floats)
		}
	}
}

func (e *gpuEngine) copyValue(slot int, dst []float32) error {
	return e.gpu.do(func(t *cuda.Thread) error {
		to, r, err := e.gpu.find(dst)
		if err == nil {
			err = e.gpu.writes(r)
		}
		if err != nil {
			return err
		}
		if to != 0 {
			return e.gpu.stream.Copy(to, e.at[slot], 4*len(dst))
		}
		return cmp.Or(e.gpu.stream.Sync(), cuda.Download(t, dst, e.at[slot]))
	})
}

func (e *gpuEngine) arenaBytes() int { return e.bytes }

func (e *gpuEngine) free(t *cuda.Thread) error {
	errs := []error{t.Sync(), e.closePhases(), e.closeStages(t)}
	for _, p := range e.memory {
		errs = append(errs, t.Free(p))
	}
	e.memory = nil
	return errors.Join(errs...)
}

func (e *gpuEngine) close() {
	e.gpu.programs--
	e.gpu.do(e.free) // a device that is lost has no memory to give back
}
