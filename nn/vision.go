package nn

import (
	"fmt"

	"relsim/graph"
)

// Vision is an image encoder: a vision transformer (arXiv:2010.11929) whose
// tokens come from patches or from a convolutional stem (arXiv:2106.14881).
type Vision struct {
	config    VisionConfig
	Stem      []Conv     // one for patches, followed by nothing; else each by a GELU
	Class     *Param     // (1, 1, D), nil with mean pooling
	Pos       *Param     // (1, T, D)
	InputNorm *LayerNorm // nil: none
	Blocks    []Block
	Norm      LayerNorm
	// Projection (P, D) comes before the head; nil: none.
	Projection *Linear
	Head       *Linear // (E, D) or (E, P), nil: none
}

// NewVision declares an image encoder for embeddings of width embed. The names
// are those of timm, behind prefix: cls_token, pos_embed,
// patch_embed.proj.weight (stem.0.weight … with a convolutional stem),
// norm_pre.weight, blocks.0.norm1.weight …, norm.weight, head.weight; and
// projection.weight. The configuration is valid.
func NewVision(s *Params, prefix string, c VisionConfig, embed int) *Vision {
	v := &Vision{config: c}
	if c.Stem == PatchStem {
		v.Stem = []Conv{NewConv(s, prefix+"patch_embed.proj", 3, c.Width, c.PatchSize, c.PatchSize, 0, !c.NoPatchBias)}
	} else {
		in := 3
		for i, conv := range c.Convs {
			v.Stem = append(v.Stem, NewConv(s, fmt.Sprintf("%sstem.%d", prefix, i), in, conv.Channels, 3, conv.Stride, 1, true))
			in = conv.Channels
		}
	}
	if c.Pool == PoolCLS {
		v.Class = s.Declare(prefix+"cls_token", Token, TruncatedNormal(.02), 1, 1, c.Width)
	}
	v.Pos = s.Declare(prefix+"pos_embed", Position, TruncatedNormal(.02), 1, c.Tokens(), c.Width)
	v.InputNorm = newInputNorm(s, prefix, c.BlockConfig)
	v.Blocks = newBlocks(s, prefix+"blocks", c.BlockConfig)
	v.Norm = NewLayerNorm(s, prefix+"norm", c.Width, c.NormEps)
	pooled := c.BlockConfig
	if c.Projection > 0 {
		v.Projection = newHead(s, prefix+"projection", HeadProjection, pooled, c.Projection)
		pooled.Width = c.Projection
	}
	v.Head = newHead(s, prefix+"head", c.Head, pooled, embed)
	return v
}

// newInputNorm declares the norm before the first layer, if there is one.
func newInputNorm(s *Params, prefix string, c BlockConfig) *LayerNorm {
	if !c.InputNorm {
		return nil
	}
	l := NewLayerNorm(s, prefix+"norm_pre", c.Width, c.NormEps)
	return &l
}

// Forward maps pictures (B, 3, S, S) to embeddings (B, E), not normalised.
func (v *Vision) Forward(b *graph.Builder, images *graph.Node, batch int) *graph.Node {
	x := forwardBlocks(b, v.Blocks, v.Tokens(b, images, batch), v.Sequence(batch), v.row(b))
	if v.Class != nil {
		x = v.Norm.Forward(b, x)
	} else {
		x = v.Pool(b, x)
	}
	return forwardHead(b, v.Head, forwardHead(b, v.Projection, x))
}

// row returns what takes the one row of each sequence that is pooled, nil where all are.
func (v *Vision) row(b *graph.Builder) func(*graph.Node) *graph.Node {
	if v.Class == nil {
		return nil
	}
	return func(x *graph.Node) *graph.Node { return b.PoolFirst(x, v.config.Tokens()) }
}

// Sequence says how the tokens of a batch follow on one another.
func (v *Vision) Sequence(batch int) Sequence {
	return Sequence{Batch: batch, Tokens: v.config.Tokens()}
}

// Tokens maps pictures (B, 3, S, S) to what the first layer reads, (B·T, D).
func (v *Vision) Tokens(b *graph.Builder, images *graph.Node, batch int) *graph.Node {
	x := v.stem(b, images, batch)
	tokens := v.config.Tokens()
	if v.Class != nil {
		x = b.PrependToken(x, v.Class.node(b, v.config.Width), tokens-1)
	}
	x = b.AddPosition(x, v.Pos.node(b, tokens, v.config.Width))
	if v.InputNorm != nil {
		x = v.InputNorm.Forward(b, x)
	}
	return dropout(b, x, v.config.Dropout)
}

// Pool maps what the last layer makes, (B·T, D), to the rows (B, D) that the head
// reads.
func (v *Vision) Pool(b *graph.Builder, x *graph.Node) *graph.Node {
	if row := v.row(b); row != nil {
		return v.Norm.Forward(b, row(x)) // row by row: only these need it
	}
	return b.PoolMean(v.Norm.Forward(b, x), v.config.Tokens())
}

// stem maps pictures (B, 3, S, S) to tokens (B·T, D), without a class token.
func (v *Vision) stem(b *graph.Builder, x *graph.Node, batch int) *graph.Node {
	side := v.config.ImageSize
	for i := range v.Stem {
		conv := &v.Stem[i]
		x = conv.Forward(b, x, batch, side, i == 0)
		if v.config.Stem == ConvStem {
			x = b.GELU(x, v.config.GELU.kernel())
		}
		side = conv.side(side)
	}
	return x
}
