package graph

import (
	"math"

	"gorgonia.org/gorgonia"

	"relsim/kernel"
)

// Embedding looks the rows ids (N) of table (V, D) up: the result is (N, D). A
// negative id gives a row of zeros; Forward refuses one of V or more.
func (b *Builder) Embedding(table, ids *Node) *Node {
	if !b.ready("embedding", []int{2, 1}, table, ids) {
		return nil
	}
	return b.add(embedding{table.Shape()[0], table.Shape()[1], ids.Shape()[0]}, table, ids)
}

type embedding struct{ rows, dim, n int }

func (k embedding) operands() []operand { return []operand{floats(k.rows, k.dim), indices(k.n)} }
func (k embedding) results() []dims     { return []dims{dimsOf(k.n, k.dim)} }
func (k embedding) run(c *call) {
	kernel.Embedding(c.pool, c.out[0], c.in[0], c.ids[1], k.dim)
}
func (k embedding) idRange() (operand, low, high int) { return 1, math.MinInt32, k.rows }
func (k embedding) wrt() []bool                       { return []bool{true, false} }
func (k embedding) diff(in gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	dtable, err := apply(embeddingGrad(k), dy, in[1])
	return gorgonia.Nodes{dtable, nil}, err
}

// embeddingGrad gives dtable from dy and ids.
type embeddingGrad struct{ rows, dim, n int }

func (k embeddingGrad) operands() []operand { return []operand{floats(k.n, k.dim), indices(k.n)} }
func (k embeddingGrad) results() []dims     { return []dims{dimsOf(k.rows, k.dim)} }
func (k embeddingGrad) run(c *call) {
	kernel.EmbeddingGrad(c.pool, c.out[0], c.in[0], c.ids[1], k.dim)
}
func (k embeddingGrad) idRange() (operand, low, high int) { return 1, math.MinInt32, k.rows }
