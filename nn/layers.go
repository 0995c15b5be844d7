package nn

import (
	"fmt"
	"math"

	"relsim/graph"
	"relsim/kernel"
)

// node returns the parameter as a node of b, in the shape the op wants. It has
// as many elements as Shape.
func (p *Param) node(b *graph.Builder, shape ...int) *graph.Node {
	return b.Param(p.Name, shape...)
}

// Linear is a dense layer, y = x Wᵀ + b.
type Linear struct {
	Weight, Bias *Param // (out, in), (out); Bias may be nil
	Adapters     []*Adapter
}

// NewLinear declares name.weight, drawn by init, and name.bias, zero.
func NewLinear(s *Params, name string, in, out int, init Initializer) Linear {
	return Linear{
		Weight: s.Declare(name+".weight", Matrix, init, out, in),
		Bias:   s.Declare(name+".bias", Bias, Constant(0), out),
	}
}

// Forward maps x (N, in) to (N, out).
func (l *Linear) Forward(b *graph.Builder, x *graph.Node) *graph.Node {
	var bias *graph.Node
	if l.Bias != nil {
		bias = l.Bias.node(b, l.Bias.Shape...)
	}
	return l.adapt(b, b.Linear(x, l.Weight.node(b, l.Weight.Shape...), bias), x)
}

// newHead declares what makes embeddings of width embed from pooled rows: name.weight and, for
// [HeadLinear], name.bias. [HeadNone] is nil.
func newHead(s *Params, name string, head Head, c BlockConfig, embed int) *Linear {
	inner, _ := c.Init.linear()
	switch head {
	case HeadNone:
		return nil
	case HeadProjection:
		return &Linear{Weight: s.Declare(name+".weight", Matrix, inner, embed, c.Width)}
	}
	l := NewLinear(s, name, c.Width, embed, inner)
	return &l
}

// forwardHead maps pooled rows (B, D) to embeddings (B, E); without a head they are these.
func forwardHead(b *graph.Builder, l *Linear, x *graph.Node) *graph.Node {
	if l == nil {
		return x
	}
	return l.Forward(b, x)
}

// LayerNorm normalises rows, then scales and shifts them (arXiv:1607.06450).
type LayerNorm struct {
	Gain, Bias *Param // (D)
	Eps        float64
}

// NewLayerNorm declares name.weight, ones, and name.bias, zeros.
func NewLayerNorm(s *Params, name string, width int, eps float64) LayerNorm {
	return LayerNorm{
		Gain: s.Declare(name+".weight", Norm, Constant(1), width),
		Bias: s.Declare(name+".bias", Bias, Constant(0), width),
		Eps:  eps,
	}
}

// Forward maps x (N, D) to (N, D).
func (l *LayerNorm) Forward(b *graph.Builder, x *graph.Node) *graph.Node {
	return b.LayerNorm(x, l.Gain.node(b, l.Gain.Shape...), l.Bias.node(b, l.Bias.Shape...), l.Eps)
}

// Sequence says how the rows of x (B·T, D) are grouped, and who sees whom.
type Sequence struct {
	Batch, Tokens int
	KeyMask       *graph.Node // (B, T), 0 hides a token from all; nil hides none
	Causal        bool        // a token sees only itself and those before it
}

// Attention is multi-head self-attention (arXiv:1706.03762, eq. 1) with one
// matrix for queries, keys and values.
type Attention struct {
	QKV, Proj Linear // (3D, D): [q|k|v], each head-major; (D, D)
	Heads     int
}

// Forward maps x (B·T, D) to (B·T, D).
func (l *Attention) Forward(b *graph.Builder, x *graph.Node, s Sequence) *graph.Node {
	return l.Proj.Forward(b, l.mix(b, x, s))
}

// mix is what the heads make, (B·T, D), before the projection.
func (l *Attention) mix(b *graph.Builder, x *graph.Node, s Sequence) *graph.Node {
	return b.Attention(l.QKV.Forward(b, x), s.KeyMask, graph.AttentionConfig{
		Batch: s.Batch, Tokens: s.Tokens, Heads: l.Heads, Causal: s.Causal,
	})
}

// MLP is two linear layers with a GELU between them, or gated: see
// [BlockConfig].SwiGLU.
type MLP struct {
	FC1, FC2 Linear // (M, D), or (2M, D) with SwiGLU; (D, M)
	GELU     kernel.GELUKind
	SwiGLU   bool
}

// Forward maps x (N, D) to (N, D).
func (l *MLP) Forward(b *graph.Builder, x *graph.Node) *graph.Node {
	x = l.FC1.Forward(b, x)
	if l.SwiGLU {
		x = b.SwiGLU(x)
	} else {
		x = b.GELU(x, l.GELU)
	}
	return l.FC2.Forward(b, x)
}

// Block is one encoder layer: pre-norm (arXiv:2010.11929, eq. 2 and 3) or
// post-norm (arXiv:1706.03762, section 3.1).
type Block struct {
	Norm1, Norm2   LayerNorm
	Attn           Attention
	MLP            MLP
	Scale1, Scale2 *Param  // (D) gains of what each half adds, nil: 1
	Dropout        float64 // of what each half adds, while training
	PostNorm       bool
}

// NewBlock declares the parameters of one layer of an encoder: name.norm1,
// name.attn.qkv, name.attn.proj, name.norm2, name.mlp.fc1 and name.mlp.fc2, and
// name.ls1.gamma and name.ls2.gamma, ones, with layer scale.
func NewBlock(s *Params, name string, c BlockConfig) Block {
	inner, outer := c.Init.linear()
	hidden := c.MLP
	if c.SwiGLU {
		hidden *= 2
	}
	l := Block{
		Norm1: NewLayerNorm(s, name+".norm1", c.Width, c.NormEps),
		Attn: Attention{
			QKV:   NewLinear(s, name+".attn.qkv", c.Width, 3*c.Width, inner),
			Proj:  NewLinear(s, name+".attn.proj", c.Width, c.Width, outer),
			Heads: c.Heads,
		},
		Norm2: NewLayerNorm(s, name+".norm2", c.Width, c.NormEps),
		MLP: MLP{
			FC1:    NewLinear(s, name+".mlp.fc1", c.Width, hidden, inner),
			FC2:    NewLinear(s, name+".mlp.fc2", c.MLP, c.Width, outer),
			GELU:   c.GELU.kernel(),
			SwiGLU: c.SwiGLU,
		},
		Dropout:  c.Dropout,
		PostNorm: c.PostNorm,
	}
	if c.LayerScale {
		l.Scale1 = s.Declare(name+".ls1.gamma", Norm, Constant(1), c.Width)
		l.Scale2 = s.Declare(name+".ls2.gamma", Norm, Constant(1), c.Width)
	}
	return l
}

// Forward maps x (B·T, D) to (B·T, D).
func (l *Block) Forward(b *graph.Builder, x *graph.Node, s Sequence) *graph.Node {
	return l.forwardRows(b, x, s, func(x *graph.Node) *graph.Node { return x })
}

// forwardRows is Forward for the rows alone that pick takes of (B·T, D). Rows meet in attention, and nowhere else: what
// comes after it is computed for these rows only, with the same result.
func (l *Block) forwardRows(b *graph.Builder, x *graph.Node, s Sequence, pick func(*graph.Node) *graph.Node) *graph.Node {
	seen := x
	if !l.PostNorm {
		seen = l.Norm1.Forward(b, x)
	}
	mixed := l.Attn.Proj.Forward(b, pick(l.Attn.mix(b, seen, s)))
	x = b.Add(pick(x), l.branch(b, mixed, l.Scale1))
	if l.PostNorm {
		x = l.Norm1.Forward(b, x)
		return l.Norm2.Forward(b, b.Add(x, l.branch(b, l.MLP.Forward(b, x), l.Scale2)))
	}
	return b.Add(x, l.branch(b, l.MLP.Forward(b, l.Norm2.Forward(b, x)), l.Scale2))
}

// forwardBlocks maps x (B·T, D) through layers, to (B·T, D). With pick, which takes one row of each sequence, it returns these, (B, D),
// and the last layer computes no other.
func forwardBlocks(b *graph.Builder, blocks []Block, x *graph.Node, s Sequence, pick func(*graph.Node) *graph.Node) *graph.Node {
	for i := range blocks {
		b.Checkpoint(x)
		if pick != nil && i == len(blocks)-1 {
			return blocks[i].forwardRows(b, x, s, pick)
		}
		x = blocks[i].Forward(b, x, s)
	}
	if pick != nil {
		x = pick(x)
	}
	return x
}

// branch is what one half of the layer adds, from what it computes.
func (l *Block) branch(b *graph.Builder, x *graph.Node, scale *Param) *graph.Node {
	if scale != nil {
		x = b.ColumnScale(x, scale.node(b, scale.Shape...))
	}
	return dropout(b, x, l.Dropout)
}

func dropout(b *graph.Builder, x *graph.Node, rate float64) *graph.Node {
	if rate == 0 {
		return x
	}
	return b.Dropout(x, rate)
}

// Conv is a convolution of square windows.
type Conv struct {
	Weight, Bias         *Param // (out, in, K, K), (out); Bias may be nil
	Kernel, Stride, Pad  int
	InChannels, Channels int
}

// NewConv declares name.weight and, with bias, name.bias, both drawn uniformly
// from ±1/√(in·K²).
func NewConv(s *Params, name string, in, out, size, stride, pad int, bias bool) Conv {
	bound := 1 / math.Sqrt(float64(in*size*size))
	l := Conv{
		Weight: s.Declare(name+".weight", Kernel, Uniform(bound), out, in, size, size),
		Kernel: size, Stride: stride, Pad: pad, InChannels: in, Channels: out,
	}
	if bias {
		l.Bias = s.Declare(name+".bias", Bias, Uniform(bound), out)
	}
	return l
}

// side returns the side of the output for an input of the given side.
func (l *Conv) side(in int) int { return (in+2*l.Pad-l.Kernel)/l.Stride + 1 }

// Forward maps x, square pictures of the given side, to (B·S'·S', out), where
// S' = (S + 2·pad - K)/stride + 1. Pictures with channels first are (B, in, S, S), else
// (B·S·S, in).
func (l *Conv) Forward(b *graph.Builder, x *graph.Node, batch, side int, channelsFirst bool) *graph.Node {
	var bias *graph.Node
	if l.Bias != nil {
		bias = l.Bias.node(b, l.Bias.Shape...)
	}
	return b.Conv2D(x, l.Weight.node(b, l.Weight.Shape...), bias, kernel.ConvShape{
		Batch: batch, InC: l.InChannels, InH: side, InW: side,
		OutC: l.Channels, KH: l.Kernel, KW: l.Kernel,
		StrideH: l.Stride, StrideW: l.Stride, PadH: l.Pad, PadW: l.Pad,
		ChannelsFirst: channelsFirst,
	})
}

// newBlocks declares prefix.0, prefix.1, ….
func newBlocks(s *Params, prefix string, c BlockConfig) []Block {
	blocks := make([]Block, c.Layers)
	for i := range blocks {
		blocks[i] = NewBlock(s, fmt.Sprintf("%s.%d", prefix, i), c)
	}
	return blocks
}
