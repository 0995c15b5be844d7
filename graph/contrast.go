package graph

import (
	"math"

	"gorgonia.org/gorgonia"

	"relsim/kernel"
)

// ContrastConfig says how [Builder.Contrast] compares.
type ContrastConfig struct {
	Kind  kernel.ContrastKind
	Equal kernel.ContrastEqual
	Scale float64 // of the similarities, where it is not learned
	Bias  float64 // of the logits of kernel.ContrastPairs, where it is not learned
}

// Contrast is the scalar contrastive loss of img (B, E) and txt (B, E), whose
// pairs are of the same row, over the logits s·img·txtᵀ + bias, which are never in
// memory at once; and the number of rows whose nearest column is a positive, which
// has no gradient. labels (B), below B, say which rows are equal. logScale (1) is
// the logarithm of s, and bias (1) that of the logits of kernel.ContrastPairs; either
// may be nil for the constant of c. See [kernel.Contrast].
func (b *Builder) Contrast(img, txt, labels, logScale, bias *Node, c ContrastConfig) (loss, hits *Node) {
	if !b.ready("contrast", []int{2, 2, 1}, img, txt, labels) {
		return nil, nil
	}
	if c.Kind != kernel.ContrastPairs && (bias != nil || c.Bias != 0) {
		return b.fail("graph: contrast[%v]: a bias changes nothing in a softmax", operandOf(img)), nil
	}
	if c.Kind < 0 || c.Kind > kernel.ContrastPairs || c.Equal < 0 || c.Equal > kernel.EqualMasked {
		return b.fail("graph: contrast[%v]: unknown kind in %+v", operandOf(img), c), nil
	}
	k := contrast{
		shape: kernel.ContrastShape{Rows: img.Shape()[0], Dim: img.Shape()[1], Kind: c.Kind, Equal: c.Equal},
		scale: float32(c.Scale), bias: float32(c.Bias), learnScale: logScale != nil, learnBias: bias != nil,
	}
	in := []*Node{img, txt, labels}
	if k.learnScale {
		in, k.scale = append(in, logScale), 0
	}
	if k.learnBias {
		in, k.bias = append(in, bias), 0
	}
	packed, err := apply(k, in...)
	if err == nil {
		loss, err = partOf(packed, 0)
	}
	if err == nil {
		hits, err = partOf(packed, 1)
	}
	if err != nil {
		b.err = err
		return nil, nil
	}
	return loss, hits
}

// contrast gives the loss, the hits and, for a softmax, the statistics that its
// gradient needs.
type contrast struct {
	shape                 kernel.ContrastShape
	scale, bias           float32 // 0 where learned
	learnScale, learnBias bool
}

func (k contrast) operands() []operand {
	embeddings := floats(k.shape.Rows, k.shape.Dim)
	in := []operand{embeddings, embeddings, indices(k.shape.Rows)}
	if k.learnScale {
		in = append(in, floats(1))
	}
	if k.learnBias {
		in = append(in, floats(1))
	}
	return in
}
func (k contrast) results() []dims {
	out := []dims{dimsOf(), dimsOf()}
	if n := k.shape.Stats(); n > 0 {
		out = append(out, dimsOf(n))
	}
	return out
}
func (k contrast) run(c *call) {
	scale, bias := k.factors(c)
	loss, hits := kernel.Contrast(c.pool, k.stats(c.out, 2), c.in[0], c.in[1], c.ids[2], scale, bias, k.shape)
	c.out[0][0], c.out[1][0] = float32(loss), float32(hits)
}

// factors reads the scale and the bias of the logits.
func (k contrast) factors(c *call) (scale, bias float32) {
	scale, bias = k.scale, k.bias
	next := 3
	if k.learnScale {
		scale = float32(math.Exp(float64(c.in[next][0])))
		next++
	}
	if k.learnBias {
		bias = c.in[next][0]
	}
	return scale, bias
}

// stats is values[i], or none where the kind keeps none.
func (k contrast) stats(values [][]float32, i int) []float32 {
	if k.shape.Stats() == 0 {
		return nil
	}
	return values[i]
}
func (k contrast) idRange() (operand, low, high int) { return 2, math.MinInt32, k.shape.Rows }
func (k contrast) wrt() []bool {
	return []bool{true, true, false, true, true}[:len(k.operands())]
}
func (k contrast) diff(in gorgonia.Nodes, out, dy *Node) (gorgonia.Nodes, error) {
	operands := append([]*Node{}, in...)
	if k.shape.Stats() > 0 {
		stats, err := partOf(out, 2)
		if err != nil {
			return nil, err
		}
		operands = append(operands, stats)
	}
	d, err := parts(apply(contrastGrad(k), append(operands, dy)...))
	if err != nil {
		return nil, err
	}
	return append(gorgonia.Nodes{d[0], d[1], nil}, d[2:]...), nil
}

// contrastGrad gives the gradients of the embeddings, and those of the scale's
// logarithm and of the bias where they are learned, from the operands of contrast,
// its statistics and the gradient of the loss.
type contrastGrad contrast

func (k contrastGrad) operands() []operand {
	in := contrast(k).operands()
	if n := k.shape.Stats(); n > 0 {
		in = append(in, floats(n))
	}
	return append(in, floats())
}
func (k contrastGrad) results() []dims {
	var out []dims
	for i, in := range contrast(k).operands() {
		if i != 2 {
			out = append(out, in.dims)
		}
	}
	return out
}
func (k contrastGrad) run(c *call) {
	scale, bias := contrast(k).factors(c)
	stats, upstream := contrast(k).stats(c.in, len(c.in)-2), c.in[len(c.in)-1][0]
	dscale, dbias := kernel.ContrastGrad(c.pool, c.out[0], c.out[1], stats, c.in[0], c.in[1], c.ids[2], scale, bias, upstream, k.shape)
	next := 2
	if k.learnScale {
		c.out[next][0] = float32(dscale)
		next++
	}
	if k.learnBias {
		c.out[next][0] = float32(dbias)
	}
}
func (k contrastGrad) idRange() (operand, low, high int) { return contrast(k).idRange() }
