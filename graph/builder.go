package graph

import (
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Builder makes a graph. It keeps the first error; later ops pass by and return
// nil, so that a model is built straight through and [Builder.Err] checked once.
//
// All shapes are known while building. Every input and parameter has a name of
// its own.
type Builder struct {
	g        *gorgonia.ExprGraph
	err      error
	leaves   map[string]*Node
	isParam  map[*Node]bool
	params   []*Node
	dropouts int
	marks    []*Node // of Checkpoint
}

// NewBuilder returns a Builder of an empty graph.
func NewBuilder() *Builder {
	return &Builder{g: gorgonia.NewGraph(), leaves: map[string]*Node{}, isParam: map[*Node]bool{}}
}

// Graph returns the graph built so far.
func (b *Builder) Graph() *gorgonia.ExprGraph { return b.g }

// Err returns the first error, nil if there was none.
func (b *Builder) Err() error { return b.err }

// Params lists the parameters in the order of their first use.
func (b *Builder) Params() []*Node { return append([]*Node(nil), b.params...) }

// Input adds an input of float32 with a shape of one to four dimensions. The
// name must be new.
func (b *Builder) Input(name string, shape ...int) *Node {
	if b.err == nil && b.leaves[name] != nil {
		b.fail("graph: input %q: the name is taken", name)
	}
	return b.leaf("input", name, tensor.Float32, shape)
}

// InputIDs adds an input of n int32 indices. The name must be new.
func (b *Builder) InputIDs(name string, n int) *Node {
	if b.err == nil && b.leaves[name] != nil {
		b.fail("graph: input %q: the name is taken", name)
	}
	return b.leaf("input", name, tensor.Int32, []int{n})
}

// Param adds a parameter of float32, or returns the one of that name, whose
// shape must be the same.
func (b *Builder) Param(name string, shape ...int) *Node {
	if b.err != nil {
		return nil
	}
	if n := b.leaves[name]; n != nil {
		if !b.isParam[n] {
			return b.fail("graph: param %q: the name is taken by an input", name)
		}
		if got := operandOf(n).dims; got != dimsOf(shape...) || len(shape) != got.n {
			return b.fail("graph: param %q: shape %v asked for, %v before", name, tensor.Shape(shape), got)
		}
		return n
	}
	n := b.leaf("param", name, tensor.Float32, shape)
	if n != nil {
		b.isParam[n] = true
		b.params = append(b.params, n)
	}
	return n
}

func (b *Builder) leaf(what, name string, of tensor.Dtype, shape []int) *Node {
	if b.err != nil {
		return nil
	}
	if name == "" || name == upstreamName {
		return b.fail("graph: %s %q: not a name", what, name)
	}
	if len(shape) < 1 || len(shape) > 4 {
		return b.fail("graph: %s %q: shape %v has %d dimensions, want 1 to 4", what, name, shape, len(shape))
	}
	for _, d := range shape {
		if d < 1 {
			return b.fail("graph: %s %q: shape %v is empty", what, name, shape)
		}
	}
	n := newLeaf(b.g, name, of, shape)
	b.leaves[name] = n
	return n
}

func newLeaf(g *gorgonia.ExprGraph, name string, of tensor.Dtype, shape []int) *Node {
	return gorgonia.NewTensor(g, of, len(shape), gorgonia.WithShape(shape...), gorgonia.WithName(name))
}

// fail keeps an error and returns nil, as an op that failed does.
func (b *Builder) fail(format string, args ...any) *Node {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
	return nil
}

// ready reports whether an op may be added: no error so far, and every operand
// a node of this graph with the dimensions asked for (-1: any number).
func (b *Builder) ready(op string, ranks []int, in ...*Node) bool {
	if b.err != nil {
		return false
	}
	for i, n := range in {
		switch {
		case n == nil:
			b.fail("graph: %s: operand %d is nil", op, i)
		case n.Graph() != b.g:
			b.fail("graph: %s: operand %d is of another graph: %s", op, i, describeNode(n))
		case ranks[i] >= 0 && n.Shape().Dims() != ranks[i]:
			b.fail("graph: %s: operand %d is %v, want %d dimensions", op, i, operandOf(n), ranks[i])
		}
	}
	return b.err == nil
}

// add applies an op and reads its first output.
func (b *Builder) add(k kind, in ...*Node) *Node {
	if b.err != nil {
		return nil
	}
	n, err := apply(k, in...)
	if err == nil {
		n, err = partOf(n, 0)
	}
	if err != nil {
		b.err = err
		return nil
	}
	return n
}
