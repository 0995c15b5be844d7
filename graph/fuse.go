package graph

import (
	"slices"

	"relsim/kernel"
)

// fuse replaces chains of steps of a plan by one step each, where a kernel does
// them together while a block of the value between is in the cache:
//
//	linear → gelu             the value between stays if it is read again
//	linear → add
//	linear → dropout → add
//	linearGradX → geluGrad
//	layerNormGrad → add       of dx
//
// A value that goes has one reader, and is neither an output nor a gradient. The
// kernels give the bits of one step after the other. Graphs, and what Gorgonia
// differentiates, stay as they are: these kinds are made here alone.
func (p *planner) fuse(gradients []*Node) {
	f := fuser{planner: p, fixed: slices.Clone(p.keep), gone: make([]bool, len(p.steps))}
	for _, n := range gradients {
		f.fixed[p.slotOf(n)] = true
	}
	for i := range p.steps {
		f.visit(i)
	}
	var steps []step
	forward := 0
	for i, s := range p.steps {
		if f.gone[i] {
			continue
		}
		steps = append(steps, s)
		if i < p.forward {
			forward++
		}
	}
	p.steps, p.forward = steps, forward
	p.trace()
}

type fuser struct {
	*planner
	fixed []bool // slots that have to be written
	gone  []bool // steps that are part of another one
}

// visit makes step i the end of a chain, if it is one.
func (f *fuser) visit(i int) {
	s := f.steps[i]
	switch k := s.kind.(type) {
	case gelu:
		h := s.in[0]
		from, l, ok := before[linear](f, i, h)
		if !ok {
			return
		}
		// Where the linear layer was: there may be readers of h before the GELU.
		// What lives long comes first, so that it is laid out below what does not.
		fused := step{kind: linearGELU{l, k.form, !f.once(h)}, in: f.steps[from].in, out: []int{h, s.out[0]}}
		if f.once(h) {
			fused.out = s.out
		}
		f.steps[from], f.gone[i] = fused, true
	case add:
		for j, branch := range s.in {
			residual := s.in[1-j]
			if !f.once(branch) {
				continue
			}
			if from, l, ok := before[linear](f, i, branch); ok {
				f.replace(i, linearAdd{l}, append(slices.Clone(f.steps[from].in), residual), from)
				return
			}
			if f.fuseNormGrad(i, branch, residual) {
				return
			}
			drop, d, ok := before[dropout](f, i, branch)
			if !ok {
				continue
			}
			h := f.steps[drop].in[0]
			if from, l, ok := before[linear](f, drop, h); ok && f.once(h) {
				f.replace(i, linearDropoutAdd{l, d.rate, d.index}, append(slices.Clone(f.steps[from].in), residual), from, drop)
				return
			}
		}
	case geluGrad:
		h, dy := s.in[0], s.in[1]
		if from, l, ok := before[linearGradX](f, i, dy); ok && f.once(dy) {
			f.replace(i, linearGradXGELU{l, k.form}, append(slices.Clone(f.steps[from].in), h), from)
		}
	}
}

// fuseNormGrad makes the addition in step i a part of the gradient of a norm whose dx is branch. The gradients of gain
// and bias are then computed here, so nothing may read them before.
func (f *fuser) fuseNormGrad(i, branch, residual int) bool {
	from, k, ok := before[layerNormGrad](f, i, branch)
	if !ok {
		if from, k, ok := before[layerNormGradX](f, i, branch); ok {
			f.replace(i, layerNormGradXAdd{k}, append(slices.Clone(f.steps[from].in), residual), from)
			return true
		}
		return false
	}
	norm := f.steps[from]
	if norm.out[0] != branch {
		return false
	}
	for _, s := range f.steps[from+1 : i+1] {
		if slices.Contains(s.in, norm.out[1]) || slices.Contains(s.in, norm.out[2]) {
			return false
		}
	}
	out := []int{f.steps[i].out[0], norm.out[1], norm.out[2]}
	f.replace(i, layerNormGradAdd{k}, append(slices.Clone(norm.in), residual), from)
	f.steps[i].out = out
	for _, o := range out {
		f.def[o] = i
	}
	return true
}

// before finds the step that makes a slot, if it is of kind K and of the phase of
// step i.
func before[K kind](f *fuser, i, slot int) (from int, k K, ok bool) {
	from = f.def[slot]
	if from < 0 || (from < f.forward) != (i < f.forward) {
		return 0, k, false
	}
	k, ok = f.steps[from].kind.(K)
	return from, k, ok
}

// once says that a slot has one reader, and does not have to be written for
// another reason.
func (f *fuser) once(slot int) bool { return f.reads[slot] == 1 && !f.fixed[slot] }

// replace makes step i one of kind k, which does what the steps in parts did too.
func (f *fuser) replace(i int, k kind, in []int, parts ...int) {
	f.steps[i].kind, f.steps[i].in = k, in
	for _, part := range parts {
		f.gone[part] = true
	}
}

// linearGELU is gelu(linear), and before it, if kept, what it is taken of.
type linearGELU struct {
	linear
	form kernel.GELUKind
	keep bool
}

func (k linearGELU) results() []dims {
	d := k.linear.results()[0]
	if k.keep {
		return []dims{d, d}
	}
	return []dims{d}
}
func (k linearGELU) run(c *call) {
	var h []float32
	if k.keep {
		h = c.out[0]
	}
	kernel.LinearGELU(c.pool, k.form, c.out[len(c.out)-1], h, c.in[0], c.in[1], k.biasOf(c), k.rows, k.in, k.out)
}

// linearAdd is linear plus its last operand.
type linearAdd struct{ linear }

func (k linearAdd) operands() []operand {
	return append(k.linear.operands(), operand{dims: k.results()[0]})
}
func (k linearAdd) run(c *call) {
	kernel.LinearAdd(c.pool, c.out[0], c.in[0], c.in[1], k.biasOf(c), c.in[len(c.in)-1], k.rows, k.in, k.out)
}
func (k linearAdd) inPlace() []int { return []int{len(k.operands()) - 1} }

// linearDropoutAdd is the dropout of linear plus its last operand.
type linearDropoutAdd struct {
	linear
	rate  float32
	index int
}

func (k linearDropoutAdd) operands() []operand { return linearAdd{k.linear}.operands() }
func (k linearDropoutAdd) run(c *call) {
	kernel.LinearDropoutAdd(c.pool, c.out[0], c.in[0], c.in[1], k.biasOf(c), c.in[len(c.in)-1],
		k.rate, *c.seed, uint64(k.index), k.rows, k.in, k.out)
}
func (k linearDropoutAdd) inPlace() []int { return linearAdd{k.linear}.inPlace() }

// linearGradXGELU is the gradient of the pre-activation h, its last operand, of
// which the layer's input is the GELU. It could take the place of h, but the kernel
// would need scratch memory for its sums, and the arena would be no smaller.
type linearGradXGELU struct {
	linearGradX
	form kernel.GELUKind
}

func (k linearGradXGELU) operands() []operand {
	return append(k.linearGradX.operands(), operand{dims: k.results()[0]})
}
func (k linearGradXGELU) run(c *call) {
	kernel.LinearGradXGELU(c.pool, k.form, c.out[0], c.in[0], c.in[1], c.in[2], k.rows, k.in, k.out)
}

// layerNormGradAdd is layerNormGrad with its last operand added to dx.
type layerNormGradAdd struct{ layerNormGrad }

func (k layerNormGradAdd) operands() []operand {
	return append(k.layerNormGrad.operands(), operand{dims: k.results()[0]})
}
func (k layerNormGradAdd) run(c *call) {
	k.layerNormGrad.run(c)
	kernel.Add(c.pool, c.out[0], c.out[0], c.in[3])
}

// layerNormGradXAdd is layerNormGradX plus its last operand.
type layerNormGradXAdd struct{ layerNormGradX }

func (k layerNormGradXAdd) operands() []operand {
	return append(k.layerNormGradX.operands(), operand{dims: k.results()[0]})
}
func (k layerNormGradXAdd) run(c *call) {
	k.layerNormGradX.run(c)
	kernel.Add(c.pool, c.out[0], c.out[0], c.in[3])
}
