package graph

import (
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"strings"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"relsim/kernel"
)

// Node is a node of a Gorgonia graph.
type Node = gorgonia.Node

// dims is a comparable shape of up to four dimensions; none is a scalar.
type dims struct {
	n int
	d [4]int
}

// dimsOf makes a shape.
func dimsOf(shape ...int) dims {
	var s dims
	s.n = copy(s.d[:], shape)
	return s
}

// size is the number of elements, 1 for a scalar.
func (s dims) size() int {
	size := 1
	for _, d := range s.d[:s.n] {
		size *= d
	}
	return size
}

func (s dims) shape() tensor.Shape { return append(tensor.Shape{}, s.d[:s.n]...) }

// String gives the shape as in "(2, 3)", and "()" for a scalar.
func (s dims) String() string {
	words := make([]string, s.n)
	for i, d := range s.d[:s.n] {
		words[i] = fmt.Sprint(d)
	}
	return "(" + strings.Join(words, ", ") + ")"
}

// operand is the type of an input of an op: float32, or int32 when ids is set.
type operand struct {
	dims
	ids bool
}

func floats(shape ...int) operand  { return operand{dims: dimsOf(shape...)} }
func indices(shape ...int) operand { return operand{dims: dimsOf(shape...), ids: true} }

func (o operand) hmType() hm.Type {
	of := tensor.Float32
	if o.ids {
		of = tensor.Int32
	}
	if o.n == 0 {
		return of
	}
	return gorgonia.TensorType{Dims: o.n, Of: of}
}

// operandOf describes a node.
func operandOf(n *Node) operand {
	return operand{dims: dimsOf(n.Shape()...), ids: n.Dtype() == tensor.Int32}
}

// kind is what an op computes. Implementations are comparable structs whose
// fields are all the attributes of the op, sizes included: two ops are the same
// op exactly if their kinds are equal.
type kind interface {
	// operands gives the types of the inputs, in order.
	operands() []operand
	// results gives the shapes of the outputs. A kind with several makes a packed
	// node, whose outputs are read through [part].
	results() []dims
	// run computes c.out from c.in. No operand is changed.
	run(c *call)
}

// differentiable is a kind with a gradient.
type differentiable interface {
	kind
	// wrt says which inputs have a gradient.
	wrt() []bool
	// diff returns the gradient of each input, nil where wrt is false, given the
	// inputs, the output and its gradient. Of a packed node the gradient is that of
	// its first output.
	diff(in gorgonia.Nodes, out, grad *Node) (gorgonia.Nodes, error)
}

// inPlacer is a kind whose first output may take the memory of an input.
type inPlacer interface {
	kind
	// inPlace lists the inputs that the first output may overwrite, best first.
	inPlace() []int
}

// ranged is a kind that reads an operand of indices.
type ranged interface {
	kind
	// idRange gives the operand and the bounds low ≤ id < high.
	idRange() (operand, low, high int)
}

// call is one op about to run: its operands and the state of the machine.
type call struct {
	out  [][]float32
	in   [][]float32 // nil where the operand holds indices
	ids  [][]int32   // nil where the operand holds floats
	pool *kernel.Pool
	seed *uint64 // of the Program, for dropout
}

func newCall(operands, results int, pool *kernel.Pool, seed *uint64) *call {
	return &call{
		out:  make([][]float32, results),
		in:   make([][]float32, operands),
		ids:  make([][]int32, operands),
		pool: pool,
		seed: seed,
	}
}

// op is a kind as a Gorgonia op.
type op struct{ kind kind }

var _ gorgonia.SDOp = (*op)(nil)

// opName is the name of a kind in messages.
func opName(k kind) string {
	name := fmt.Sprintf("%T", k)
	return name[strings.LastIndexByte(name, '.')+1:]
}

// resultDims is the shape of the node: that of the only output, or of all
// outputs packed in a vector.
func resultDims(k kind) dims {
	results := k.results()
	if len(results) == 1 {
		return results[0]
	}
	size := 0
	for _, r := range results {
		size += r.size()
	}
	return dimsOf(size)
}

func (o *op) Arity() int { return len(o.kind.operands()) }

func (o *op) Type() hm.Type {
	var types []hm.Type
	for _, in := range o.kind.operands() {
		types = append(types, in.hmType())
	}
	types = append(types, operand{dims: resultDims(o.kind)}.hmType())
	return hm.NewFnType(types...)
}

func (o *op) InferShape(inputs ...gorgonia.DimSizer) (tensor.Shape, error) {
	shapes, err := gorgonia.DimSizersToShapes(inputs)
	if err != nil {
		return nil, err
	}
	if want := o.Arity(); len(shapes) != want {
		return nil, fmt.Errorf("graph: %s: %d operands, want %d", opName(o.kind), len(shapes), want)
	}
	for i, want := range o.kind.operands() {
		if got := dimsOf(shapes[i]...); got != want.dims {
			return nil, fmt.Errorf("graph: %s: operand %d is %v, want %v", opName(o.kind), i, got, want)
		}
	}
	return resultDims(o.kind).shape(), nil
}

// Do runs the op on the host, for Gorgonia's own machines; dropout has seed 0.
func (o *op) Do(inputs ...gorgonia.Value) (gorgonia.Value, error) {
	result := resultDims(o.kind)
	if result.n == 0 {
		var out [1]float32
		if err := o.do(out[:], inputs); err != nil {
			return nil, err
		}
		return gorgonia.NewF32(out[0]), nil
	}
	out := tensor.New(tensor.WithShape(result.shape()...), tensor.Of(tensor.Float32))
	return out, o.do(out.Data().([]float32), inputs)
}

func (o *op) do(out []float32, inputs []gorgonia.Value) error {
	operands, results := o.kind.operands(), o.kind.results()
	if len(inputs) != len(operands) {
		return fmt.Errorf("graph: %s: %d operands, want %d", opName(o.kind), len(inputs), len(operands))
	}
	c := newCall(len(operands), len(results), nil, new(uint64))
	for i, v := range inputs {
		size := 0
		switch data := v.Data().(type) {
		case []float32:
			c.in[i], size = data, len(data)
		case float32:
			c.in[i], size = []float32{data}, 1
		case []int32:
			c.ids[i], size = data, len(data)
		}
		if want := operands[i]; size != want.size() || (c.ids[i] != nil) != want.ids {
			return fmt.Errorf("graph: %s: operand %d is %v of %v, want %v", opName(o.kind), i, v.Shape(), v.Dtype(), want)
		}
	}
	for i, r := range results {
		c.out[i], out = out[:r.size():r.size()], out[r.size():]
	}
	o.kind.run(c)
	return nil
}

func (o *op) ReturnsPtr() bool     { return false }
func (o *op) CallsExtern() bool    { return false }
func (o *op) OverwritesInput() int { return -1 }

// WriteHash writes the kind with all its attributes. Gorgonia takes two nodes
// whose hashes agree for one.
func (o *op) WriteHash(h hash.Hash) { fmt.Fprintf(h, "%#v", o.kind) }

func (o *op) Hashcode() uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}

func (o *op) String() string { return opName(o.kind) }

func (o *op) DiffWRT(inputs int) []bool {
	if d, ok := o.kind.(differentiable); ok {
		return d.wrt()
	}
	return make([]bool, inputs)
}

func (o *op) SymDiff(inputs gorgonia.Nodes, output, grad *Node) (gorgonia.Nodes, error) {
	d, ok := o.kind.(differentiable)
	if !ok {
		return nil, fmt.Errorf("graph: %s: has no gradient", opName(o.kind))
	}
	return d.diff(inputs, output, grad)
}

// describe names an op and its operands: "add[(2, 3) (2, 4)]".
func describe(k kind, in []*Node) string {
	shapes := make([]string, len(in))
	for i, n := range in {
		shapes[i] = operandOf(n).String()
	}
	return fmt.Sprintf("%s[%s]", opName(k), strings.Join(shapes, " "))
}

// apply adds an op to the graph of its operands, or returns the node that is
// there already for the same op on the same operands. It is an error if Gorgonia
// takes another op, or the same on other operands, for this one.
func apply(k kind, in ...*Node) (*Node, error) {
	for i, n := range in {
		if n == nil {
			return nil, fmt.Errorf("graph: %s: operand %d is nil", opName(k), i)
		}
	}
	operands := k.operands()
	if len(in) != len(operands) {
		return nil, fmt.Errorf("graph: %s: %d operands, want %d", describe(k, in), len(in), len(operands))
	}
	for i, want := range operands {
		got := operandOf(in[i])
		if got.dims != want.dims {
			return nil, fmt.Errorf("graph: %s: operand %d is %v, want %v", describe(k, in), i, got, want)
		}
		if got.ids != want.ids {
			return nil, fmt.Errorf("graph: %s: operand %d has elements %v, want %v", describe(k, in), i, elements(got.ids), elements(want.ids))
		}
	}
	o := &op{kind: k}
	n, err := gorgonia.ApplyOp(o, in...)
	if err != nil {
		return nil, fmt.Errorf("graph: %s: %w", describe(k, in), err)
	}
	if n.Op() == gorgonia.Op(o) {
		return n, nil
	}
	same, _ := n.Op().(*op)
	there := children(n)
	merged := same != nil && same.kind == k && len(there) == len(in)
	for i := 0; merged && i < len(in); i++ {
		merged = there[i] == in[i]
	}
	if !merged {
		return nil, fmt.Errorf("graph: %s: %w: taken for %s (%v); rename an input",
			describe(k, in), errCollision, describeNode(n), n)
	}
	return n, nil
}

// errCollision is the cause when two nodes have one 32-bit hash.
var errCollision = errors.New("two nodes have the same hash")

func elements(ids bool) tensor.Dtype {
	if ids {
		return tensor.Int32
	}
	return tensor.Float32
}

// describeNode names a node: an input by its name, an op by its operands.
func describeNode(n *Node) string {
	if o, ok := n.Op().(*op); ok {
		if _, view := o.kind.(part); view {
			return describeNode(children(n)[0])
		}
		return describe(o.kind, children(n))
	}
	if n.Op() == nil {
		return fmt.Sprintf("%q", n.Name())
	}
	return n.String()
}

// children lists the operands of a node in order, repeated ones included.
func children(n *Node) []*Node {
	it := n.Graph().From(n.ID())
	if it == nil {
		return nil
	}
	var nodes []*Node
	for it.Next() {
		nodes = append(nodes, it.Node().(*Node))
	}
	return nodes
}

// part is one output of a packed node: a window of it, not a copy.
type part struct {
	packed int // elements of the packed node
	index  int
	offset int
	shape  dims
}

// partOf reads output i of a packed node.
func partOf(packed *Node, i int) (*Node, error) {
	if packed == nil {
		return nil, errors.New("graph: part: operand 0 is nil")
	}
	o, ok := packed.Op().(*op)
	if !ok {
		return nil, fmt.Errorf("graph: part %d: %v is not packed", i, packed)
	}
	results := o.kind.results()
	if len(results) == 1 {
		return packed, nil
	}
	offset := 0
	for _, r := range results[:i] {
		offset += r.size()
	}
	return apply(part{packed: resultDims(o.kind).size(), index: i, offset: offset, shape: results[i]}, packed)
}

// parts reads all outputs of a packed node.
func parts(packed *Node, err error) (gorgonia.Nodes, error) {
	if err != nil {
		return nil, err
	}
	var nodes gorgonia.Nodes
	for i := range packed.Op().(*op).kind.results() {
		n, err := partOf(packed, i)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

func (k part) operands() []operand { return []operand{floats(k.packed)} }
func (k part) results() []dims     { return []dims{k.shape} }

// run copies: only Gorgonia's machines run it, a Program reads in place.
func (k part) run(c *call) { copy(c.out[0], c.in[0][k.offset:]) }

func (k part) wrt() []bool { return []bool{k.index == 0} }
func (k part) diff(_ gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
	return gorgonia.Nodes{grad}, nil
}

// one wraps the gradient of a single input.
func one(n *Node, err error) (gorgonia.Nodes, error) { return gorgonia.Nodes{n}, err }
