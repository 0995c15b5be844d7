package graph

import (
	"fmt"
	"slices"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Config says what a Program computes.
type Config struct {
	Backend   Backend // nil: the CPU, one thread
	Outputs   []*Node // readable after Forward
	Loss      *Node   // the scalar to differentiate, or
	Embedding *Node   // the value whose gradient Backward is given
	Wrt       []*Node // inputs and parameters whose gradient is wanted; none for inference
	Training  bool    // dropout is active

	// Checkpoint keeps, for Backward, the values that [Builder.Checkpoint] marked,
	// and computes those before the last of them again: less memory, and about one
	// more Forward. The results have the same bits.
	Checkpoint bool

	// Lent, if not nil, is a buffer of the caller with room for the gradients, that of
	// Wrt[i] from LentAt[i] on; [Program.SetGrad] need not be called. Until a gradient is
	// computed, other values lie in its place, which makes the arena smaller: Forward
	// destroys what is there, Backward cannot accumulate, and the Program has no
	// [Program.Replica]. The results have the same bits.
	Lent   []float32
	LentAt []int

	apart bool // each op is a step of its own, for tests
}

// Program is a part of a graph made ready to run. It is for one goroutine; its
// ops share the threads of the Backend.
type Program struct {
	graph  *gorgonia.ExprGraph // of the Builder
	plan   *plan
	engine engine

	nodes    []*Node       // the builder's leaves, as in plan.leaves; nil for the upstream
	leaf     map[*Node]int // in plan.leaves
	bound    []bool        // leaves that have a value
	ids      [][]int32     // the values of leaves of indices
	upstream int           // leaf of the gradient given to Backward, or -1
	unit     []float32     // the gradient of a loss

	params  []*Node
	outputs []output
	slot    map[*Node]int // of leaves and outputs

	embedding  *Node
	wrt        []*Node
	sink       map[*Node]int // in plan.sinks
	grads      [][]float32   // where the sinks write
	lent       []float32     // Config.Lent
	accumulate bool

	seed  uint64
	state state
}

// output is a readable node with its name in messages.
type output struct {
	name string
	node *Node
	slot int
}

// state is how far a step has come.
type state int

const (
	stateNew      state = iota // no Forward yet
	stateForward               // after Forward: Backward may follow
	stateBackward              // after Backward: only outputs are left
)

var _ gorgonia.VM = (*Program)(nil)

// upstreamName is the leaf that holds the gradient given to Backward. No leaf of
// a Builder has it.
const upstreamName = "\x00upstream"

// Compile makes a Program of what the outputs, the loss or embedding, and the
// gradients in c.Wrt need. Nothing else is computed: no gradient of an input that
// is not in Wrt. The graph of the Builder stays as it is.
//
// It is an error if the Builder has one, if a node is not of its graph, if a
// gradient is asked of something that the loss does not depend on, and if two
// nodes have the same hash.
func Compile(b *Builder, c Config) (*Program, error) {
	if b.err != nil {
		return nil, b.err
	}
	if err := c.check(b); err != nil {
		return nil, fmt.Errorf("graph: compile: %w", err)
	}
	var marks []*Node
	if c.Checkpoint {
		marks = b.marks
	}
	results, gradients, marks, err := c.build(marks)
	if err != nil {
		return nil, fmt.Errorf("graph: compile: %w", err)
	}
	backend := c.Backend
	if backend == nil {
		backend = NewCPU(nil)
	}
	var store func(*plan)
	if b, ok := backend.(storer); ok {
		store = b.store
	}
	plan := newPlan(results, gradients, marks, c.apart, c.LentAt, len(c.Lent), store)
	p := &Program{
		graph:    b.g,
		plan:     plan,
		nodes:    make([]*Node, len(plan.leaves)),
		leaf:     map[*Node]int{},
		bound:    make([]bool, len(plan.leaves)),
		ids:      make([][]int32, len(plan.leaves)),
		upstream: -1,
		unit:     []float32{1},
		slot:     map[*Node]int{},

		embedding: c.Embedding,
		wrt:       slices.Clone(c.Wrt),
		sink:      map[*Node]int{},
		grads:     make([][]float32, len(c.Wrt)),
		lent:      c.Lent,
	}
	p.index(b, c)
	p.engine, err = backend.load(plan, c.Lent, &p.seed)
	if err != nil {
		return nil, fmt.Errorf("graph: compile: %s: %w", backend.Name(), err)
	}
	for i, at := range c.LentAt {
		p.grads[i] = c.Lent[at : at+operandOf(c.Wrt[i]).size()]
		p.engine.bindSink(i, p.grads[i])
	}
	return p, nil
}

// check looks for nodes that cannot be compiled.
func (c *Config) check(b *Builder) error {
	mine := func(what string, n *Node) error {
		switch {
		case n == nil:
			return fmt.Errorf("%s is nil", what)
		case n.Graph() != b.g:
			return fmt.Errorf("%s is of another graph: %s", what, describeNode(n))
		}
		return nil
	}
	for i, n := range c.Outputs {
		if err := mine(fmt.Sprintf("output %d", i), n); err != nil {
			return err
		}
	}
	for i, n := range c.Wrt {
		if err := mine(fmt.Sprintf("gradient %d", i), n); err != nil {
			return err
		}
		if n.Op() != nil || n.Dtype() != tensor.Float32 {
			return fmt.Errorf("gradient %d: %s is not an input of float32", i, describeNode(n))
		}
		if slices.Contains(c.Wrt[:i], n) {
			return fmt.Errorf("gradient %d: %s is asked for twice", i, describeNode(n))
		}
	}
	if err := c.checkLent(); err != nil {
		return err
	}
	switch {
	case c.Loss != nil && c.Embedding != nil:
		return fmt.Errorf("both a loss and an embedding")
	case c.Loss != nil:
		if err := mine("loss", c.Loss); err != nil {
			return err
		}
		if !c.Loss.IsScalar() {
			return fmt.Errorf("loss %s is %v, not a scalar", describeNode(c.Loss), operandOf(c.Loss))
		}
	case c.Embedding != nil:
		if err := mine("embedding", c.Embedding); err != nil {
			return err
		}
	case len(c.Wrt) > 0:
		return fmt.Errorf("gradients of neither a loss nor an embedding")
	case len(c.Outputs) == 0:
		return fmt.Errorf("no outputs")
	}
	return nil
}

// checkLent looks for gradients that do not lie in the buffer, each for itself.
func (c *Config) checkLent() error {
	if c.Lent == nil && c.LentAt == nil {
		return nil
	}
	if len(c.LentAt) != len(c.Wrt) {
		return fmt.Errorf("%d places in the buffer lent for %d gradients", len(c.LentAt), len(c.Wrt))
	}
	order := make([]int, len(c.Wrt))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return c.LentAt[i] - c.LentAt[j] })
	end := 0
	for _, i := range order {
		low, size := c.LentAt[i], operandOf(c.Wrt[i]).size()
		if low < end || low > len(c.Lent)-size {
			return fmt.Errorf("gradient %d of %d elements at %d of the buffer lent, which has %d and others up to %d", i, size, low, len(c.Lent), end)
		}
		end = low + size
	}
	return nil
}

// target is the loss or the embedding, nil if there is neither.
func (c *Config) target() *Node {
	if c.Loss != nil {
		return c.Loss
	}
	return c.Embedding
}

// results are the outputs and, last, the target.
func (c *Config) results() []*Node {
	if t := c.target(); t != nil {
		return append(slices.Clone(c.Outputs), t)
	}
	return slices.Clone(c.Outputs)
}

// build makes the graph to run, with gradients, in a graph of its own. It returns
// the nodes there of the results, of the gradients, and of those marks that the
// results need.
func (c *Config) build(marks []*Node) (results, gradients, marked []*Node, err error) {
	g := gorgonia.NewGraph()
	to, err := replay(g, slices.Concat(c.results(), c.Wrt), c.Training)
	if err != nil {
		return nil, nil, nil, err
	}
	translate := func(list []*Node) []*Node {
		moved := make([]*Node, len(list))
		for i, n := range list {
			moved[i] = to[n]
		}
		return moved
	}
	if len(c.Wrt) > 0 {
		gradients, err = differentiate(g, to[c.target()], translate(c.Wrt))
		if err != nil {
			return nil, nil, nil, err
		}
	}
	for _, n := range g.AllNodes() {
		if _, known := kindOf(n); !known {
			return nil, nil, nil, fmt.Errorf("no kernel for %v", n)
		}
	}
	marks = slices.DeleteFunc(slices.Clone(marks), func(n *Node) bool { return to[n] == nil })
	return translate(c.results()), gradients, translate(marks), checkHashes(g)
}

// replay builds what nodes need once more in g, without the dropout where it is
// not active. The map leads from the old nodes to the new.
func replay(g *gorgonia.ExprGraph, nodes []*Node, training bool) (map[*Node]*Node, error) {
	to := map[*Node]*Node{}
	for _, n := range ancestors(nodes) {
		if n.Op() == nil {
			to[n] = newLeaf(g, n.Name(), n.Dtype(), n.Shape())
			continue
		}
		o, ok := n.Op().(*op)
		if !ok {
			return nil, fmt.Errorf("%v is not an op of a Builder", n)
		}
		var in []*Node
		for _, c := range children(n) {
			in = append(in, to[c])
		}
		if _, drop := o.kind.(dropout); drop && !training {
			to[n] = in[0]
			continue
		}
		m, err := apply(o.kind, in...)
		if err != nil {
			return nil, err
		}
		to[n] = m
	}
	return to, nil
}

// differentiate adds the gradients of target with respect to wrt, given a new
// leaf with the gradient of the target itself.
func differentiate(g *gorgonia.ExprGraph, target *Node, wrt []*Node) ([]*Node, error) {
	reached := differentiableAncestors(target)
	for _, n := range wrt {
		if !reached[n] {
			return nil, fmt.Errorf("the gradient of %s does not depend on %s", describeNode(target), describeNode(n))
		}
	}
	var upstream *Node
	if target.IsScalar() {
		upstream = gorgonia.NewScalar(g, tensor.Float32, gorgonia.WithName(upstreamName))
	} else {
		upstream = newLeaf(g, upstreamName, tensor.Float32, target.Shape())
	}
	if target.Op() == nil { // the target itself is the only leaf that is reached
		return []*Node{upstream}, nil
	}
	return gorgonia.Backpropagate(gorgonia.Nodes{target}, gorgonia.Nodes{upstream}, wrt)
}

// differentiableAncestors are the nodes that a gradient of n reaches.
func differentiableAncestors(n *Node) map[*Node]bool {
	seen := map[*Node]bool{}
	stack := []*Node{n}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[n] {
			continue
		}
		seen[n] = true
		o, ok := n.Op().(*op)
		if !ok {
			continue
		}
		in := children(n)
		for i, wrt := range o.DiffWRT(len(in)) {
			if wrt {
				stack = append(stack, in[i])
			}
		}
	}
	return seen
}

// checkHashes looks for two nodes with one hash: Gorgonia would take an op on the
// one for the same op on the other.
func checkHashes(g *gorgonia.ExprGraph) error {
	byHash := map[uint32]*Node{}
	for _, n := range g.AllNodes() {
		if other, ok := byHash[n.Hashcode()]; ok && other != n {
			return fmt.Errorf("%w: %s and %s; rename an input", errCollision, describeNode(other), describeNode(n))
		}
		byHash[n.Hashcode()] = n
	}
	return nil
}

// index finds the slots and leaves of the builder's nodes.
func (p *Program) index(b *Builder, c Config) {
	byName := map[string]int{}
	for i, l := range p.plan.leaves {
		byName[l.name] = i
	}
	if i, used := byName[upstreamName]; used {
		p.upstream = i
	}
	for name, n := range b.leaves {
		if i, used := byName[name]; used {
			p.leaf[n] = i
			p.slot[n] = p.plan.leaves[i].slot
			p.nodes[i] = n
			p.plan.leaves[i].param = b.isParam[n]
		}
	}
	for _, n := range b.params {
		if _, used := p.leaf[n]; used {
			p.params = append(p.params, n)
		}
	}
	for i, n := range c.results() {
		name := fmt.Sprintf("output %d", i)
		switch {
		case i < len(c.Outputs):
		case n == c.Loss:
			name = "loss"
		default:
			name = "embedding"
		}
		p.slot[n] = p.plan.outputs[i]
		p.outputs = append(p.outputs, output{name + " " + describeNode(n), n, p.plan.outputs[i]})
	}
	for i, n := range c.Wrt {
		p.sink[n] = i
	}
}
