package graph

import (
	"gorgonia.org/gorgonia"

	"relsim/kernel"
)

// Linear maps x (R, I) to x wᵀ + bias (R, O), with w (O, I) and bias (O), which
// may be nil.
func (b *Builder) Linear(x, w, bias *Node) *Node {
	if !b.ready("linear", []int{2, 2}, x, w) {
		return nil
	}
	k := linear{rows: x.Shape()[0], in: x.Shape()[1], out: w.Shape()[0], bias: bias != nil}
	if bias == nil {
		return b.add(k, x, w)
	}
	return b.add(k, x, w, bias)
}

// linear is y = x wᵀ + bias.
type linear struct {
	rows, in, out int
	bias          bool
}

func (k linear) operands() []operand {
	in := []operand{floats(k.rows, k.in), floats(k.out, k.in)}
	if k.bias {
		in = append(in, floats(k.out))
	}
	return in
}
func (k linear) results() []dims { return []dims{dimsOf(k.rows, k.out)} }
func (k linear) run(c *call) {
	kernel.Linear(c.pool, c.out[0], c.in[0], c.in[1], k.biasOf(c), k.rows, k.in, k.out)
}
func (k linear) biasOf(c *call) []float32 {
	if k.bias {
		return c.in[2]
	}
	return nil
}
func (k linear) wrt() []bool { return []bool{true, true, true}[:len(k.operands())] }
func (k linear) diff(in gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	dw, err := parts(apply(linearGradW(k), dy, in[0]))
	if err != nil {
		return nil, err
	}
	dx, err := apply(linearGradX{k.rows, k.in, k.out}, dy, in[1])
	return append(gorgonia.Nodes{dx}, dw...), err
}

// linearGradX is dx = dy w.
type linearGradX struct{ rows, in, out int }

func (k linearGradX) operands() []operand {
	return []operand{floats(k.rows, k.out), floats(k.out, k.in)}
}
func (k linearGradX) results() []dims { return []dims{dimsOf(k.rows, k.in)} }
func (k linearGradX) run(c *call) {
	kernel.LinearGradX(c.pool, c.out[0], c.in[0], c.in[1], k.rows, k.in, k.out)
}

// linearGradW is dw = dyᵀ x and, with a bias, dbias = the column sums of dy.
type linearGradW struct {
	rows, in, out int
	bias          bool
}

func (k linearGradW) operands() []operand {
	return []operand{floats(k.rows, k.out), floats(k.rows, k.in)}
}
func (k linearGradW) results() []dims {
	out := []dims{dimsOf(k.out, k.in)}
	if k.bias {
		out = append(out, dimsOf(k.out))
	}
	return out
}
func (k linearGradW) run(c *call) {
	var dbias []float32
	if k.bias {
		dbias = c.out[1]
	}
	kernel.LinearGradW(c.pool, c.out[0], dbias, c.in[0], c.in[1], k.rows, k.in, k.out)
}
