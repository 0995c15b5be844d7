package graph

import (
	"errors"
	"fmt"
	"slices"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"relsim/kernel"
)

// SetFloats binds an input or parameter to data, which the Program reads at each
// run and never copies or changes. Data of a leaf that the Program does not use
// is passed by.
func (p *Program) SetFloats(n *Node, data []float32) error {
	i, err := p.leafOf("set floats", n, len(data), tensor.Float32)
	if err != nil || i < 0 {
		return err
	}
	p.engine.bindFloats(i, data)
	p.bound[i] = true
	return nil
}

// SetIDs binds an input of indices to ids, as [Program.SetFloats] does. Forward
// checks their range.
func (p *Program) SetIDs(n *Node, ids []int32) error {
	i, err := p.leafOf("set ids", n, len(ids), tensor.Int32)
	if err != nil || i < 0 {
		return err
	}
	p.engine.bindIDs(i, ids)
	p.ids[i] = ids
	p.bound[i] = true
	return nil
}

// leafOf finds the leaf of a builder's node that is to hold length elements, -1 if
// the Program does not use it.
func (p *Program) leafOf(what string, n *Node, length int, of tensor.Dtype) (int, error) {
	if p.engine == nil {
		return 0, errClosed
	}
	if n == nil {
		return 0, fmt.Errorf("graph: %s: node is nil", what)
	}
	if n.Graph() != p.graph {
		return 0, fmt.Errorf("graph: %s: %s is of another graph", what, describeNode(n))
	}
	if n.Op() != nil {
		return 0, fmt.Errorf("graph: %s: %s is not an input", what, describeNode(n))
	}
	if n.Dtype() != of {
		return 0, fmt.Errorf("graph: %s: %s has elements %v", what, describeNode(n), n.Dtype())
	}
	i, used := p.leaf[n]
	var want int
	if used {
		want = p.plan.leaves[i].size
	} else {
		i, want = -1, operandOf(n).size()
	}
	if length != want {
		return 0, fmt.Errorf("graph: %s: %s has %d elements %v, got %d", what, describeNode(n), want, operandOf(n), length)
	}
	return i, nil
}

// SetSeed sets what dropout draws from: the same seed draws the same masks. Two
// Programs, or two micro-batches, that are to draw apart need seeds of their own.
func (p *Program) SetSeed(seed uint64) { p.seed = seed }

// SetGrad sets where Backward leaves the gradient with respect to n, which is in
// Config.Wrt.
func (p *Program) SetGrad(n *Node, dst []float32) error {
	if p.engine == nil {
		return errClosed
	}
	if n == nil {
		return errors.New("graph: set grad: node is nil")
	}
	i, ok := p.sink[n]
	if !ok {
		return fmt.Errorf("graph: set grad: %s is not among the gradients asked for", describeNode(n))
	}
	if want := operandOf(n).size(); len(dst) != want {
		return fmt.Errorf("graph: set grad: %s has %d elements %v, got %d", describeNode(n), want, operandOf(n), len(dst))
	}
	if p.lent != nil && &dst[0] != &p.grads[i][0] {
		return fmt.Errorf("graph: set grad: %s has its place in the buffer that is lent to the Program", describeNode(n))
	}
	p.grads[i] = dst
	p.engine.bindSink(i, dst)
	return nil
}

// SetAccumulate says whether Backward adds to the gradients that are there, as
// later micro-batches do, or overwrites them, as it does at first.
func (p *Program) SetAccumulate(on bool) {
	p.accumulate = on
	if p.engine != nil {
		p.engine.accumulate(on)
	}
}

// Forward computes the outputs, and the loss or embedding. It is an error if an
// input is not bound or an index out of range.
func (p *Program) Forward() error {
	if p.engine == nil {
		return errClosed
	}
	for i := range p.plan.leaves {
		l := &p.plan.leaves[i]
		if !p.bound[i] && i != p.upstream {
			return fmt.Errorf("graph: forward: input %q is not bound", l.name)
		}
		for j, id := range p.ids[i] {
			if int(id) < l.low || int(id) >= l.high {
				return fmt.Errorf("graph: forward: input %q: index %d is %d, want %d ≤ index < %d", l.name, j, id, max(l.low, -1), l.high)
			}
		}
	}
	if err := p.engine.forward(); err != nil {
		return fmt.Errorf("graph: forward: %w", err)
	}
	p.state = stateForward
	return nil
}

// Backward computes the gradients of what the last Forward computed and leaves
// them where SetGrad says. upstream is the gradient of the embedding; for a loss
// it is nil, which means 1, or one element. The activations are gone afterwards:
// each Backward has its own Forward.
func (p *Program) Backward(upstream []float32) error {
	if p.engine == nil {
		return errClosed
	}
	if len(p.wrt) == 0 {
		return errors.New("graph: backward: the Program was compiled without gradients")
	}
	if p.state != stateForward {
		return errors.New("graph: backward: no forward before it")
	}
	if p.lent != nil && p.accumulate {
		return errors.New("graph: backward: gradients whose memory is lent to the Program cannot be added to")
	}
	for i, dst := range p.grads {
		if dst == nil {
			return fmt.Errorf("graph: backward: no place set for the gradient of %s", describeNode(p.wrt[i]))
		}
	}
	target := p.outputs[len(p.outputs)-1]
	if upstream == nil && p.embedding == nil {
		upstream = p.unit
	}
	if want := p.plan.slots[target.slot].size; len(upstream) != want {
		return fmt.Errorf("graph: backward: gradient of %s has %d elements, got %d", describeNode(target.node), want, len(upstream))
	}
	if p.upstream >= 0 {
		p.engine.bindFloats(p.upstream, upstream)
	}
	if err := p.engine.backward(); err != nil {
		return fmt.Errorf("graph: backward: %w", err)
	}
	p.state = stateBackward
	return nil
}

var errClosed = errors.New("graph: the Program is closed")

// Value returns the value of a leaf, of an output, or of the loss or embedding:
// row-major, valid until the next Forward. It is nil for any other node and
// before the first Forward.
func (p *Program) Value(n *Node) []float32 {
	slot, ok := p.slot[n]
	if !ok || p.engine == nil || p.state == stateNew {
		return nil
	}
	return p.engine.floats(slot)
}

// CopyValue copies what [Program.Value] returns to dst. Where dst is resident on the device that the Program runs on
// ([GPU.Resident]), the host waits for nothing.
func (p *Program) CopyValue(n *Node, dst []float32) error {
	if p.engine == nil {
		return errClosed
	}
	slot, ok := p.slot[n]
	switch {
	case n == nil:
		return errors.New("graph: copy value: node is nil")
	case !ok:
		return fmt.Errorf("graph: copy value: %s is neither an input nor an output of the Program", describeNode(n))
	case p.state == stateNew:
		return errors.New("graph: copy value: no forward before it")
	}
	if want := p.plan.slots[slot].size; len(dst) != want {
		return fmt.Errorf("graph: copy value: %s has %d elements %v, got %d", describeNode(n), want, operandOf(n), len(dst))
	}
	if err := p.engine.copyValue(slot, dst); err != nil {
		return fmt.Errorf("graph: copy value: %w", err)
	}
	return nil
}

// Params lists the parameters of the Builder that the Program reads.
func (p *Program) Params() []*Node { return append([]*Node(nil), p.params...) }

// Wrt lists the nodes whose gradients Backward computes.
func (p *Program) Wrt() []*Node { return append([]*Node(nil), p.wrt...) }

// ArenaBytes is the memory of all values that are not the caller's.
func (p *Program) ArenaBytes() int {
	if p.engine == nil {
		return 0
	}
	return p.engine.arenaBytes()
}

// NonFinite names the inputs, parameters, outputs and gradients that hold a NaN or
// an infinity now, in that order.
func (p *Program) NonFinite() []string {
	if p.engine == nil {
		return nil
	}
	p.engine.fetch()
	var names []string
	for i, l := range p.plan.leaves {
		if p.bound[i] && !l.ids && !kernel.AllFinite(p.engine.floats(l.slot)) {
			names = append(names, l.name)
		}
	}
	if p.state != stateNew {
		for i, o := range p.outputs {
			again := slices.ContainsFunc(p.outputs[i+1:], func(later output) bool { return later.slot == o.slot })
			if !again && !kernel.AllFinite(p.engine.floats(o.slot)) {
				names = append(names, o.name)
			}
		}
	}
	if p.state == stateBackward {
		for i, g := range p.grads {
			if !kernel.AllFinite(g) {
				names = append(names, "gradient of "+p.wrt[i].Name())
			}
		}
	}
	return names
}

// RunAll runs forward and, if there is a loss with gradients, backward, as
// gorgonia.VM asks: it binds leaves that have no value yet to the one that
// gorgonia.Let gave them, and the outputs' nodes to their values.
func (p *Program) RunAll() error {
	if p.engine == nil {
		return errClosed
	}
	for i, n := range p.nodes {
		if n == nil || p.bound[i] || n.Value() == nil {
			continue
		}
		var err error
		switch data := n.Value().Data().(type) {
		case []float32:
			err = p.SetFloats(n, data)
		case []int32:
			err = p.SetIDs(n, data)
		}
		if err != nil {
			return err
		}
	}
	if err := p.Forward(); err != nil {
		return err
	}
	for _, o := range p.outputs {
		var value gorgonia.Value
		if data := p.engine.floats(o.slot); o.node.IsScalar() {
			value = gorgonia.NewF32(data[0])
		} else {
			value = tensor.New(tensor.WithShape(o.node.Shape()...), tensor.WithBacking(data))
		}
		if err := gorgonia.UnsafeLet(o.node, value); err != nil {
			return fmt.Errorf("graph: run all: %w", err)
		}
	}
	if len(p.wrt) > 0 && p.embedding == nil {
		return p.Backward(nil)
	}
	return nil
}

// Reset forgets the last step, as gorgonia.VM asks.
func (p *Program) Reset() { p.state = stateNew }

// Close gives the arena back to the system: values read before must not be touched
// any more. The Program cannot run again. One that is not closed keeps its arena.
func (p *Program) Close() error {
	if p.engine != nil {
		p.engine.close()
		p.engine = nil
	}
	return nil
}
