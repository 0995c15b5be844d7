package graph

import (
	"gorgonia.org/gorgonia"

	"relsim/kernel"
)

// AddPosition adds pos (T, D) to each sequence of x (B·T, D).
func (b *Builder) AddPosition(x, pos *Node) *Node {
	if !b.ready("addPosition", []int{2, 2}, x, pos) {
		return nil
	}
	rows, tokens := x.Shape()[0], pos.Shape()[0]
	if rows%tokens != 0 {
		return b.fail("graph: addPosition[%v %v]: %d rows are not sequences of %d", operandOf(x), operandOf(pos), rows, tokens)
	}
	return b.add(addPosition{rows / tokens, tokens, x.Shape()[1]}, x, pos)
}

// PrependToken puts token (D) before each sequence of x (B·T, D): the result is
// (B·(T+1), D).
func (b *Builder) PrependToken(x, token *Node, tokens int) *Node {
	if !b.ready("prependToken", []int{2, 1}, x, token) {
		return nil
	}
	batch, ok := b.sequences("prependToken", x, tokens)
	if !ok {
		return nil
	}
	return b.add(prependToken{batch, tokens, x.Shape()[1]}, x, token)
}

// sequences is the number of sequences of the given length that x (B·T, D) holds.
func (b *Builder) sequences(op string, x *Node, tokens int) (batch int, ok bool) {
	rows := x.Shape()[0]
	if tokens < 1 || rows%tokens != 0 {
		b.fail("graph: %s[%v]: %d rows are not sequences of %d", op, operandOf(x), rows, tokens)
		return 0, false
	}
	return rows / tokens, true
}

type addPosition struct{ batch, tokens, dim int }

func (k addPosition) operands() []operand {
	return []operand{floats(k.batch*k.tokens, k.dim), floats(k.tokens, k.dim)}
}
func (k addPosition) results() []dims { return []dims{dimsOf(k.batch*k.tokens, k.dim)} }
func (k addPosition) run(c *call) {
	kernel.AddRows(c.pool, c.out[0], c.in[0], c.in[1], k.batch*k.tokens, k.dim)
}
func (k addPosition) inPlace() []int { return []int{0} }
func (k addPosition) wrt() []bool    { return []bool{true, true} }
func (k addPosition) diff(_ gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	dpos, err := apply(sumSequences(k), dy)
	return gorgonia.Nodes{dy, dpos}, err
}

// sumSequences adds the sequences of dy (B·T, D) up to (T, D).
type sumSequences struct{ batch, tokens, dim int }

func (k sumSequences) operands() []operand { return []operand{floats(k.batch*k.tokens, k.dim)} }
func (k sumSequences) results() []dims     { return []dims{dimsOf(k.tokens, k.dim)} }
func (k sumSequences) run(c *call) {
	kernel.ColSum(c.pool, c.out[0], c.in[0], k.batch, k.tokens*k.dim)
}

type prependToken struct{ batch, tokens, dim int }

func (k prependToken) operands() []operand {
	return []operand{floats(k.batch*k.tokens, k.dim), floats(k.dim)}
}
func (k prependToken) results() []dims { return []dims{dimsOf(k.batch*(k.tokens+1), k.dim)} }
func (k prependToken) run(c *call) {
	kernel.PrependToken(c.pool, c.out[0], c.in[0], c.in[1], k.batch, k.tokens, k.dim)
}
func (k prependToken) wrt() []bool { return []bool{true, true} }
func (k prependToken) diff(_ gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	return parts(apply(prependTokenGrad(k), dy))
}

// prependTokenGrad gives dx and dtoken from dy.
type prependTokenGrad struct{ batch, tokens, dim int }

func (k prependTokenGrad) operands() []operand {
	return []operand{floats(k.batch*(k.tokens+1), k.dim)}
}
func (k prependTokenGrad) results() []dims {
	return []dims{dimsOf(k.batch*k.tokens, k.dim), dimsOf(k.dim)}
}
func (k prependTokenGrad) run(c *call) {
	kernel.PrependTokenGrad(c.pool, c.out[0], c.out[1], c.in[0], k.batch, k.tokens, k.dim)
}
