package graph

import (
	"fmt"
	"strings"
	"time"
)

// OpTime is what the ops of a Program take that are alike: of one kind and shape, in one phase.
type OpTime struct {
	Op       string // such as "linear[(50432, 768), (2304, 768), (2304)]"
	Backward bool
	Count    int             // how many there are
	Times    []time.Duration // of one of them, in each pass
	Kernels  []string        // what one of them launches, in that order; products of a library have none
	// Bytes are the least that one of them moves through memory: what it reads, once, and what it writes. FLOPs are the
	// floating-point operations of its products; those of elements by themselves do not count.
	Bytes, FLOPs float64
}

// Profiler is an engine that can be timed.
type profiler interface {
	profile(passes int) ([]OpTime, error)
}

// Profile times each op of the Program on its device, in a number of passes over all of them. What Forward and Backward read has
// to be there, which is to say that they have run; values and gradients are not to be used afterwards. CPUs cannot be timed
// so: kernels there share caches and threads.
func (p *Program) Profile(passes int) ([]OpTime, error) {
	e, ok := p.engine.(profiler)
	if !ok {
		return nil, fmt.Errorf("graph: profile: ops are timed on GPUs only")
	}
	if passes < 1 || p.state == stateNew {
		return nil, fmt.Errorf("graph: profile: %d passes: want 1 or more, and a forward before them", passes)
	}
	times, err := e.profile(passes)
	if err != nil {
		return nil, fmt.Errorf("graph: profile: %w", err)
	}
	p.state = stateNew
	return times, nil
}

// describeStep names a step of a plan by its kind and its operands.
func describeStep(k kind) string {
	var in []string
	for _, o := range k.operands() {
		in = append(in, fmt.Sprint(o.dims))
	}
	return opName(k) + "[" + strings.Join(in, ", ") + "]"
}

// work counts the floating-point operations of the products of a kind.
func work(k kind) float64 {
	product := func(rows, in, out int) float64 { return 2 * float64(rows) * float64(in) * float64(out) }
	switch k := k.(type) {
	case linear:
		return product(k.rows, k.in, k.out)
	case linearGELU:
		return product(k.rows, k.in, k.out)
	case linearAdd:
		return product(k.rows, k.in, k.out)
	case linearDropoutAdd:
		return product(k.rows, k.in, k.out)
	case linearGradX:
		return product(k.rows, k.in, k.out)
	case linearGradXGELU:
		return product(k.rows, k.in, k.out)
	case linearGradW:
		return product(k.rows, k.in, k.out)
	case attention:
		return 2 * attentionProduct(k)
	case attentionGrad: // the probabilities are computed again
		return 5 * attentionProduct(attention(k))
	case conv2D:
		return product(k.y().size(), k.shape.InC*k.shape.KH*k.shape.KW, 1)
	case conv2DGradX:
		return work(k.forward())
	case conv2DGradW:
		return work(conv2D(k))
	case contrast:
		return product(k.shape.Rows, k.shape.Dim, k.shape.Rows)
	case contrastGrad: // the logits are computed again
		return 3 * product(k.shape.Rows, k.shape.Dim, k.shape.Rows)
	}
	return 0
}

func attentionProduct(k attention) float64 {
	s := k.shape
	n := 2 * float64(s.Batch) * float64(s.Heads) * float64(s.Tokens) * float64(s.Tokens) * float64(s.HeadDim)
	if s.Causal { // the other half is nothing
		n /= 2
	}
	return n
}

// touched is how many elements of operand i a kind reads at least: those of a table that indices name.
func touched(k kind, i, size int) int {
	if e, ok := k.(embedding); ok && i == 0 {
		return min(size, e.n*e.dim)
	}
	return size
}
