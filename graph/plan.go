package graph

import (
	"cmp"
	"slices"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// plan is a Program without a device: steps in order, over slots of memory.
type plan struct {
	slots   []slot
	steps   []step
	forward int // steps[:forward] are the forward phase
	words   int // size of the arena in float32
	lent    int // size of the buffer of the gradients that values may lie in, 0 if none may
	leaves  []leaf
	outputs []int // slots that stay readable until the next Forward
	sinks   []sink
}

// slot is one value: a leaf that is bound by the caller, or a window of the arena or of
// the buffer of the gradients.
type slot struct {
	size   int
	leaf   int  // index in leaves, or -1
	offset int  // in the arena, or
	lent   bool // in the buffer of the gradients
	half   bool // elements are bfloat16, on a device that has such values
}

// words is the memory of a slot, in float32.
func (s slot) words() int {
	if s.half {
		return (s.size + 1) / 2
	}
	return s.size
}

// step is one op with the slots that it reads and writes.
type step struct {
	kind  kind
	in    []int
	out   []int
	sinks []int // gradients that are complete after this step, of the backward phase
}

// leaf is an input or parameter of the Program.
type leaf struct {
	name      string
	size      int
	ids       bool
	param     bool // a parameter of the Builder
	low, high int  // bounds of the indices: low ≤ id < high
	slot      int
}

// sink is a gradient on its way to the caller.
type sink struct {
	slot   int
	step   int  // that computes it, or -1 if the gradient is a leaf
	direct bool // only this sink reads the slot: the op may write there itself
	offset int  // in the buffer of the gradients, where one is lent
}

// value is one output of an op, the unit of memory.
type value struct {
	node *Node
	part int
}

// kindOf is the kind of a node, nil for a leaf. Gorgonia's own addition, which it
// makes where gradients meet, counts as ours.
func kindOf(n *Node) (kind, bool) {
	switch o := n.Op().(type) {
	case nil:
		return nil, true
	case *op:
		return o.kind, true
	case gorgonia.BinaryOp:
		if in := children(n); o.String() == "+ false" && len(in) == 2 &&
			operandOf(in[0]) == operandOf(n) && operandOf(in[1]) == operandOf(n) {
			return add{operandOf(n).dims}, true
		}
	}
	return nil, false
}

// planner builds a plan from the nodes of a graph.
type planner struct {
	plan
	at    map[value]int // slots
	last  []int         // step that uses a slot last
	def   []int         // step that writes a slot, -1 for leaves
	reads []int         // number of steps that read a slot
	keep  []bool        // slots that stay readable
}

// newPlan orders what outputs and gradients need, leaves out gradients that nothing
// wants, chooses what is computed twice and what is computed together, unless apart,
// and lays it out. marks are nodes that were marked by [Builder.Checkpoint]. Gradient i
// lies at places[i] of a buffer of lent words, which other values may lie in before;
// without places there is no such buffer. store, if not nil, chooses the values that are stored in bfloat16.
func newPlan(outputs, gradients, marks []*Node, apart bool, places []int, lent int, store func(*plan)) *plan {
	p := &planner{at: map[value]int{}}
	forward := ancestors(outputs)
	p.addNodes(forward)
	p.forward = len(p.steps)
	all := ancestors(slices.Concat(outputs, gradients))
	p.addNodes(slices.DeleteFunc(all, func(n *Node) bool {
		_, done := slices.BinarySearchFunc(forward, n, byID)
		return done
	}))
	for _, n := range outputs {
		s := p.slotOf(n)
		p.keep[s] = true
		p.outputs = append(p.outputs, s)
	}
	p.trace()
	p.narrow(gradients)
	kept := make([]int, len(marks))
	for i, n := range marks {
		kept[i] = p.slotOf(n)
	}
	p.recompute(kept)
	if !apart {
		p.fuse(gradients)
	}
	p.addSinks(gradients)
	for i, at := range places {
		p.sinks[i].offset, p.lent = at, lent
	}
	if store != nil {
		store(&p.plan)
	}
	p.layOut()
	return &p.plan
}

// addSinks finds where the gradients are computed.
func (p *planner) addSinks(gradients []*Node) {
	for _, n := range gradients {
		s := p.slotOf(n)
		p.sinks = append(p.sinks, sink{slot: s, step: p.def[s]})
	}
	for i, k := range p.sinks {
		alone := !slices.ContainsFunc(p.sinks[:i], func(o sink) bool { return o.slot == k.slot }) &&
			!slices.ContainsFunc(p.sinks[i+1:], func(o sink) bool { return o.slot == k.slot })
		p.sinks[i].direct = alone && k.step >= p.forward && p.reads[k.slot] == 0
		if k.step >= 0 {
			p.steps[k.step].sinks = append(p.steps[k.step].sinks, i)
		}
	}
}

func byID(a, b *Node) int { return cmp.Compare(a.ID(), b.ID()) }

// ancestors lists nodes and all they are computed from, in the order in which
// the graph was built: operands come before their ops.
func ancestors(nodes []*Node) []*Node {
	seen := map[*Node]bool{}
	var list []*Node
	stack := slices.Clone(nodes)
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[n] {
			continue
		}
		seen[n] = true
		list = append(list, n)
		stack = append(stack, children(n)...)
	}
	slices.SortFunc(list, byID)
	return list
}

// slotOf finds the slot of a node that is not packed; a part is the slot of the
// output that it reads.
func (p *planner) slotOf(n *Node) int {
	if k, _ := kindOf(n); k != nil {
		if view, ok := k.(part); ok {
			return p.at[value{children(n)[0], view.index}]
		}
	}
	return p.at[value{n, 0}]
}

// addNodes makes the slots and steps of nodes, operands first.
func (p *planner) addNodes(nodes []*Node) {
	for _, n := range nodes {
		k, _ := kindOf(n)
		if k == nil {
			l := leaf{name: n.Name(), size: operandOf(n).size(), ids: n.Dtype() == tensor.Int32, slot: len(p.slots)}
			l.low, l.high = -1<<31, 1<<31-1
			p.at[value{n, 0}] = len(p.slots)
			p.addSlot(slot{size: l.size, leaf: len(p.leaves)})
			p.leaves = append(p.leaves, l)
			continue
		}
		if _, view := k.(part); view {
			continue
		}
		s := step{kind: k}
		for _, c := range children(n) {
			s.in = append(s.in, p.slotOf(c))
		}
		if r, ok := k.(ranged); ok {
			operand, low, high := r.idRange()
			l := &p.leaves[p.slots[s.in[operand]].leaf]
			l.low, l.high = max(l.low, low), min(l.high, high)
		}
		for part, r := range k.results() {
			p.at[value{n, part}] = len(p.slots)
			s.out = append(s.out, len(p.slots))
			p.addSlot(slot{size: r.size(), leaf: -1})
		}
		p.steps = append(p.steps, s)
	}
}

func (p *planner) addSlot(s slot) {
	p.slots = append(p.slots, s)
	p.keep = append(p.keep, false)
}

// trace finds, for every slot, the step that writes it and those that read it.
func (p *planner) trace() {
	p.def = slices.Repeat([]int{-1}, len(p.slots))
	p.last = slices.Repeat([]int{-1}, len(p.slots))
	p.reads = make([]int, len(p.slots))
	for i, s := range p.steps {
		for _, in := range s.in {
			p.last[in] = i
			p.reads[in]++
		}
		for _, out := range s.out {
			p.def[out], p.last[out] = i, i
		}
	}
}

// layOut gives every slot of the arena its offset. A slot is free after the step
// that reads it last; one to keep is never free. Where the op allows it, the
// output takes the place of an input that ends there.
//
// What fits in the buffer of the gradients lies there: a slot that ends before the step
// which computes the first of the gradients in its place. Values that Backward reads
// begin at the front of the buffer, those of a few steps at its end.
func (p *planner) layOut() {
	var a arena
	l := newLent(p.sinks, p.slots, len(p.steps), p.lent)
	ends := func(slot, step int) bool {
		return p.slots[slot].leaf < 0 && !p.keep[slot] && p.last[slot] == step
	}
	until := func(slot int) int {
		if p.keep[slot] {
			return len(p.steps)
		}
		return p.last[slot]
	}
	release := func(slot int) {
		if s := p.slots[slot]; s.lent {
			l.free.release(s.offset, s.words())
		} else {
			a.release(s.offset, s.words())
		}
	}
	for i, s := range p.steps {
		taken := -1
		if k, ok := s.kind.(inPlacer); ok {
			for _, j := range k.inPlace() {
				in := s.in[j]
				at, out := p.slots[in], p.slots[s.out[0]]
				if !ends(in, i) || at.size != out.size || at.half != out.half || count(s.in, in) != 1 {
					continue
				}
				if !at.lent || l.fits(at.offset, at.words(), until(s.out[0])) {
					taken = in
					break
				}
			}
		}
		for j, out := range s.out {
			to := &p.slots[out]
			kept := i < p.forward && until(out) >= p.forward
			if j == 0 && taken >= 0 {
				to.offset, to.lent = p.slots[taken].offset, p.slots[taken].lent
			} else if to.offset, to.lent = l.alloc(to.words(), until(out), kept); !to.lent {
				to.offset = a.alloc(to.words())
			}
		}
		for j, in := range s.in {
			if in != taken && ends(in, i) && !slices.Contains(s.in[:j], in) {
				release(in)
			}
		}
		for _, out := range s.out {
			if ends(out, i) { // nothing reads it
				release(out)
			}
		}
	}
	p.words = a.top
}

func count(list []int, x int) int {
	n := 0
	for _, y := range list {
		if y == x {
			n++
		}
	}
	return n
}

// arena allocates windows of one growing range, best fit first. Windows start at
// multiples of a cache line.
type arena struct {
	top  int
	free []window // by offset, none adjacent
}

type window struct{ offset, size int }

const lineWords = 16 // float32 in 64 bytes

func roundUp(size int) int { return (size + lineWords - 1) / lineWords * lineWords }

// alloc returns the offset of a window of the smallest free range that holds
// size, or else grows the range, from its last free window if that ends it.
func (a *arena) alloc(size int) int {
	size = roundUp(size)
	best := -1
	for i, w := range a.free {
		if w.size >= size && (best < 0 || w.size < a.free[best].size) {
			best = i
		}
	}
	if best < 0 {
		if end := len(a.free) - 1; end >= 0 && a.free[end].offset+a.free[end].size == a.top {
			offset := a.free[end].offset
			a.free = a.free[:end]
			a.top = offset + size
			return offset
		}
		a.top += size
		return a.top - size
	}
	w := &a.free[best]
	offset := w.offset
	w.offset += size
	w.size -= size
	if w.size == 0 {
		a.free = slices.Delete(a.free, best, best+1)
	}
	return offset
}

// release gives a window back and joins it with its neighbours.
func (a *arena) release(offset, size int) {
	size = roundUp(size)
	i, _ := slices.BinarySearchFunc(a.free, offset, func(w window, offset int) int { return cmp.Compare(w.offset, offset) })
	a.free = slices.Insert(a.free, i, window{offset, size})
	if i+1 < len(a.free) && offset+size == a.free[i+1].offset {
		a.free[i].size += a.free[i+1].size
		a.free = slices.Delete(a.free, i+1, i+2)
	}
	if i > 0 && a.free[i-1].offset+a.free[i-1].size == offset {
		a.free[i-1].size += a.free[i].size
		a.free = slices.Delete(a.free, i, i+1)
	}
}
