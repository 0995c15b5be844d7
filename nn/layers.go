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
	Weight, Bias *Param // (out, in), (out)
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
	return b.Linear(x, l.Weight.node(b, l.Weight.Shape...), l.Bias.node(b, l.Bias.Shape...))
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
	x = b.Attention(l.QKV.Forward(b, x), s.KeyMask, graph.AttentionConfig{
		Batch: s.Batch, Tokens: s.Tokens, Heads: l.Heads, Causal: s.Causal,
	})
	return l.Proj.Forward(b, x)
}

// MLP is two linear layers with a GELU between them.
type MLP struct {
	FC1, FC2 Linear // (M, D), (D, M)
	GELU     kernel.GELUKind
}

// Forward maps x (N, D) to (N, D).
func (l *MLP) Forward(b *graph.Builder, x *graph.Node) *graph.Node {
	return l.FC2.Forward(b, b.GELU(l.FC1.Forward(b, x), l.GELU))
}

// Block is one pre-norm encoder layer (arXiv:2010.11929, eq. 2 and 3).
type Block struct {
	Norm1, Norm2 LayerNorm
	Attn         Attention
	MLP          MLP
	Dropout      float64 // of what each half adds, while training
}

// NewBlock declares the parameters of one layer of an encoder: name.norm1,
// name.attn.qkv, name.attn.proj, name.norm2, name.mlp.fc1 and name.mlp.fc2.
func NewBlock(s *Params, name string, c BlockConfig) Block {
	inner, outer := c.Init.linear()
	return Block{
		Norm1: NewLayerNorm(s, name+".norm1", c.Width, c.NormEps),
		Attn: Attention{
			QKV:   NewLinear(s, name+".attn.qkv", c.Width, 3*c.Width, inner),
			Proj:  NewLinear(s, name+".attn.proj", c.Width, c.Width, outer),
			Heads: c.Heads,
		},
		Norm2: NewLayerNorm(s, name+".norm2", c.Width, c.NormEps),
		MLP: MLP{
			FC1:  NewLinear(s, name+".mlp.fc1", c.Width, c.MLP, inner),
			FC2:  NewLinear(s, name+".mlp.fc2", c.MLP, c.Width, outer),
			GELU: c.GELU.kernel(),
		},
		Dropout: c.Dropout,
	}
}

// Forward maps x (B·T, D) to (B·T, D).
func (l *Block) Forward(b *graph.Builder, x *graph.Node, s Sequence) *graph.Node {
	x = b.Add(x, dropout(b, l.Attn.Forward(b, l.Norm1.Forward(b, x), s), l.Dropout))
	x = b.Add(x, dropout(b, l.MLP.Forward(b, l.Norm2.Forward(b, x)), l.Dropout))
	return x
}

func dropout(b *graph.Builder, x *graph.Node, rate float64) *graph.Node {
	if rate == 0 {
		return x
	}
	return b.Dropout(x, rate)
}

// Conv is a convolution of square windows, with bias.
type Conv struct {
	Weight, Bias         *Param // (out, in, K, K), (out)
	Kernel, Stride, Pad  int
	InChannels, Channels int
}

// NewConv declares name.weight and name.bias, both drawn uniformly from
// ±1/√(in·K²).
func NewConv(s *Params, name string, in, out, size, stride, pad int) Conv {
	bound := 1 / math.Sqrt(float64(in*size*size))
	return Conv{
		Weight: s.Declare(name+".weight", Kernel, Uniform(bound), out, in, size, size),
		Bias:   s.Declare(name+".bias", Bias, Uniform(bound), out),
		Kernel: size, Stride: stride, Pad: pad, InChannels: in, Channels: out,
	}
}

// side returns the side of the output for an input of the given side.
func (l *Conv) side(in int) int { return (in+2*l.Pad-l.Kernel)/l.Stride + 1 }

// Forward maps x, square pictures of the given side, to (B·S'·S', out), where
// S' = (S + 2·pad - K)/stride + 1. Pictures with channels first are (B, in, S, S), else
// (B·S·S, in).
func (l *Conv) Forward(b *graph.Builder, x *graph.Node, batch, side int, channelsFirst bool) *graph.Node {
	return b.Conv2D(x, l.Weight.node(b, l.Weight.Shape...), l.Bias.node(b, l.Bias.Shape...), kernel.ConvShape{
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
