package graph

import "slices"

// Checkpoint marks x, the input of a block: a Program of [Config].Checkpoint
// keeps it for Backward, and computes what lies between the marks again.
func (b *Builder) Checkpoint(x *Node) {
	if b.ready("checkpoint", []int{-1}, x) && !slices.Contains(b.marks, x) {
		b.marks = append(b.marks, x)
	}
}

// cheap says whether Backward computes the values of a kind again from operands
// that it reads anyway, or that are cheap themselves, whatever [Config].Checkpoint
// says: a pass over memory each, and half of what a transformer block would keep.
// What enters a low-rank adapter is a norm and the adapter's own dropout of it.
func cheap(k kind) bool {
	switch k.(type) {
	case gelu, swiGLU, layerNorm, columnScale, dropout:
		return true
	}
	return false
}

// recomputer rewrites the backward phase of a plan so that it computes values of
// the forward phase again.
type recomputer struct {
	*planner
	gone  []bool      // slots of the forward phase that do not outlive it
	again map[int]int // of those, the slots of the values computed again
	steps []step      // the backward phase, rewritten
}

// recompute lets values of the forward phase die there, and runs the steps that
// make them once more right before the first step of the backward phase that
// reads them. The same kernels run on the same operands: no bit of a result
// depends on it. marks are the slots that were marked; without any, only what is
// cheap is computed again.
//
// Source: Chen, Xu, Zhang, Guestrin, arXiv:1604.06174.
func (p *planner) recompute(marks []int) {
	r := &recomputer{planner: p, gone: p.goners(marks), again: map[int]int{}}
	for _, s := range p.steps[p.forward:] {
		s.in = r.ensure(s.in)
		r.steps = append(r.steps, s)
	}
	p.steps = append(p.steps[:p.forward:p.forward], r.steps...)
	p.trace()
}

// goners finds the values of the forward phase that the backward phase does not
// find there: what it does not read itself; what is cheap and made of operands
// that it does read, or that are such; and all before the last mark but the marks.
func (p *planner) goners(marks []int) []bool {
	read := make([]bool, len(p.slots))
	for _, s := range p.steps[p.forward:] {
		for _, in := range s.in {
			read[in] = true
		}
	}
	last := -1 // step that makes the last mark
	for _, m := range marks {
		if p.def[m] < p.forward {
			last = max(last, p.def[m])
		}
	}
	gone, light := make([]bool, len(p.slots)), make([]bool, len(p.slots))
	for i, s := range p.steps[:p.forward] {
		again := cheap(s.kind)
		for _, in := range s.in {
			again = again && (p.slots[in].leaf >= 0 || p.keep[in] || read[in] || light[in])
		}
		for _, out := range s.out {
			light[out] = again
			gone[out] = (i <= last || again || !read[out]) && !p.keep[out] && !slices.Contains(marks, out)
		}
	}
	return gone
}

// ensure returns where the operands of a step of the backward phase are, after it
// added the steps that compute those again which are gone.
func (r *recomputer) ensure(operands []int) []int {
	there := slices.Clone(operands)
	for i, in := range operands {
		if !r.gone[in] {
			continue
		}
		if _, done := r.again[in]; !done {
			from := r.planner.steps[r.def[in]]
			s := step{kind: from.kind, in: r.ensure(from.in)}
			for _, out := range from.out {
				r.again[out] = len(r.slots)
				s.out = append(s.out, len(r.slots))
				r.addSlot(slot{size: r.slots[out].size, leaf: -1})
			}
			r.steps = append(r.steps, s)
		}
		there[i] = r.again[in]
	}
	return there
}
