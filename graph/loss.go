package graph

import (
	"gorgonia.org/gorgonia"

	"relsim/kernel"
)

// CrossEntropy is the scalar mean of Σ_c target·(logsumexp(logits) - logit) over
// the rows of logits (R, C) whose targets (R, C) are not all zero; it is 0 if
// there is no such row. A row of targets is a distribution. The targets have no
// gradient.
func (b *Builder) CrossEntropy(logits, targets *Node) *Node {
	if !b.ready("crossEntropy", []int{2, 2}, logits, targets) {
		return nil
	}
	return b.add(crossEntropy{logits.Shape()[0], logits.Shape()[1]}, logits, targets)
}

// SigmoidLoss is the scalar -1/R Σ log σ(label·logit) of logits (R, C) and labels
// (R, C), which are 1, -1, or 0 for a pair that does not count (arXiv:2303.15343).
// The labels have no gradient.
func (b *Builder) SigmoidLoss(logits, labels *Node) *Node {
	if !b.ready("sigmoidLoss", []int{2, 2}, logits, labels) {
		return nil
	}
	return b.add(sigmoidLoss{logits.Shape()[0], logits.Shape()[1]}, logits, labels)
}

// crossEntropy gives the mean and the loss of each row.
type crossEntropy struct{ rows, cols int }

func (k crossEntropy) operands() []operand {
	return []operand{floats(k.rows, k.cols), floats(k.rows, k.cols)}
}
func (k crossEntropy) results() []dims { return []dims{dimsOf(), dimsOf(k.rows)} }
func (k crossEntropy) run(c *call) {
	kernel.CrossEntropy(c.pool, c.out[1], c.in[0], c.in[1], k.rows, k.cols)
	c.out[0][0] = float32(kernel.Sum(c.pool, c.out[1]) / k.count(c.in[1]))
}

// count is the number of rows of targets that are not zero, at least 1.
func (k crossEntropy) count(targets []float32) float64 {
	n := 0
	for r := range k.rows {
		for _, t := range targets[r*k.cols : (r+1)*k.cols] {
			if t != 0 {
				n++
				break
			}
		}
	}
	return float64(max(n, 1))
}
func (k crossEntropy) wrt() []bool { return []bool{true, false} }
func (k crossEntropy) diff(in gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	dx, err := apply(crossEntropyGrad(k), in[0], in[1], dy)
	return gorgonia.Nodes{dx, nil}, err
}

// crossEntropyGrad gives dlogits from logits, targets and the gradient of the mean.
type crossEntropyGrad struct{ rows, cols int }

func (k crossEntropyGrad) operands() []operand {
	return append(crossEntropy(k).operands(), floats())
}
func (k crossEntropyGrad) results() []dims { return []dims{dimsOf(k.rows, k.cols)} }
func (k crossEntropyGrad) run(c *call) {
	upstream := float32(float64(c.in[2][0]) / crossEntropy(k).count(c.in[1]))
	kernel.CrossEntropyGrad(c.pool, c.out[0], c.in[0], c.in[1], upstream, k.rows, k.cols)
}
func (k crossEntropyGrad) inPlace() []int { return []int{0} }

// sigmoidLoss gives the mean and the loss of each row.
type sigmoidLoss struct{ rows, cols int }

func (k sigmoidLoss) operands() []operand {
	return []operand{floats(k.rows, k.cols), floats(k.rows, k.cols)}
}
func (k sigmoidLoss) results() []dims { return []dims{dimsOf(), dimsOf(k.rows)} }
func (k sigmoidLoss) run(c *call) {
	kernel.SigmoidLoss(c.pool, c.out[1], c.in[0], c.in[1], k.rows, k.cols)
	c.out[0][0] = float32(kernel.Sum(c.pool, c.out[1]) / float64(k.rows))
}
func (k sigmoidLoss) wrt() []bool { return []bool{true, false} }
func (k sigmoidLoss) diff(in gorgonia.Nodes, _, dy *Node) (gorgonia.Nodes, error) {
	dx, err := apply(sigmoidLossGrad(k), in[0], in[1], dy)
	return gorgonia.Nodes{dx, nil}, err
}

// sigmoidLossGrad gives dlogits from logits, labels and the gradient of the mean.
type sigmoidLossGrad struct{ rows, cols int }

func (k sigmoidLossGrad) operands() []operand { return append(sigmoidLoss(k).operands(), floats()) }
func (k sigmoidLossGrad) results() []dims     { return []dims{dimsOf(k.rows, k.cols)} }
func (k sigmoidLossGrad) run(c *call) {
	upstream := c.in[2][0] / float32(k.rows)
	kernel.SigmoidLossGrad(c.pool, c.out[0], c.in[0], c.in[1], upstream, k.rows, k.cols)
}
func (k sigmoidLossGrad) inPlace() []int { return []int{0} }
