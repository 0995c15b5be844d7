package nn

import (
	"fmt"
	"math"
	"math/rand/v2"

	"relsim/graph"
)

// Text is a text encoder over the ids of words: a bag of words, or a
// transformer.
//
// A word that is not in the vocabulary (id -1) is treated like one that
// training dropped: it is not seen, and it does not count among the words. So
// the encoder meets in use only what it has met in training.
type Text struct {
	config TextConfig
	Words  *Param // (V, D)
	// Pos, Blocks and Norm are of a transformer only.
	Pos    *Param // (1, L, D)
	Blocks []Block
	Norm   LayerNorm
	Head   Linear // (E, D)
}

// TextInput are the inputs of a text encoder for a batch, filled by
// [Text.Fill].
type TextInput struct {
	IDs     *graph.Node // (B·L) ids of words, -1 for none
	Weights *graph.Node // (B, L) what each word counts
	Length  int         // L
}

// NewText declares a text encoder of a vocabulary for embeddings of width
// embed: token_embedding.weight, pos_embed, blocks.0.norm1.weight …,
// norm.weight and head.weight, behind prefix. The configuration is valid.
func NewText(s *Params, prefix string, c TextConfig, vocab, embed int) *Text {
	t := &Text{config: c}
	vectors := Normal(1)
	if c.Kind == Transformer {
		vectors = TruncatedNormal(.02)
	}
	t.Words = s.Declare(prefix+"token_embedding.weight", WordVectors, vectors, vocab, c.Width)
	if c.Kind == Transformer {
		t.Pos = s.Declare(prefix+"pos_embed", Position, TruncatedNormal(.02), 1, c.Length, c.Width)
		t.Blocks = newBlocks(s, prefix+"blocks", c.BlockConfig)
		t.Norm = NewLayerNorm(s, prefix+"norm", c.Width, c.NormEps)
	}
	inner, _ := c.Init.linear()
	t.Head = NewLinear(s, prefix+"head", c.Width, embed, inner)
	return t
}

// Forward maps captions to embeddings (B, E), not normalised:
//
//	bag           head(Σ_t words[id_t] / √n), n the number of words known
//	transformer   head(mean over the words known, or the last one, of norm(x)),
//	              x the last layer over words[id_t] + position_t
func (t *Text) Forward(b *graph.Builder, in TextInput, batch int) *graph.Node {
	x := b.Embedding(t.Words.node(b, t.Words.Shape...), in.IDs)
	if t.config.Kind == Transformer {
		x = b.AddPosition(x, t.Pos.node(b, in.Length, t.config.Width))
		x = dropout(b, x, t.config.Dropout)
		s := Sequence{Batch: batch, Tokens: in.Length, KeyMask: in.Weights}
		if t.config.Pool == PoolLast {
			s.KeyMask, s.Causal = nil, true
		}
		for i := range t.Blocks {
			b.Checkpoint(x)
			x = t.Blocks[i].Forward(b, x, s)
		}
		x = t.Norm.Forward(b, x)
		if t.config.Pool == PoolMean {
			return t.Head.Forward(b, b.PoolMaskedMean(x, in.Weights))
		}
	}
	return t.Head.Forward(b, b.PoolWeighted(x, in.Weights))
}

// Fill writes captions, as ids of words, into the buffers of the inputs IDs
// and Weights, each of B·L. Words behind the first L of a caption are cut off.
// Buffers may have room for more captions; those rows are empty.
//
// With rng, each word known is dropped with probability drop, but never all
// of a caption; nil drops none. The number of draws depends on the captions: for
// a run that can be resumed, rng is a function of the step.
//
// Weights holds, for a bag, 1/√n at the n words that are left; for a
// transformer with mean pooling 1 there; with last pooling 1 at the last of
// them. A transformer reads a caption without a word it knows as one empty
// word; a bag as zero.
//
// Fill panics if the lengths do not fit.
func (t *Text) Fill(ids []int32, weights []float32, captions [][]int32, rng *rand.Rand, drop float64) {
	length := t.config.Length
	if len(ids) != len(weights) || len(ids)%length != 0 || len(captions)*length > len(ids) {
		panic(fmt.Sprintf("nn: text: %d ids and %d weights for %d captions of length %d", len(ids), len(weights), len(captions), length))
	}
	for i := range ids {
		ids[i] = -1
	}
	clear(weights)
	for r := range len(ids) / length {
		var caption []int32
		if r < len(captions) {
			caption = captions[r]
		}
		row := ids[r*length:][:length]
		copy(row, caption)
		if rng != nil && drop > 0 {
			dropWords(row, rng, drop)
		}
		t.weigh(weights[r*length:][:length], row)
	}
}

// dropWords sets each id of row that is not negative to -1 with probability
// drop. If none would be left, one of them stays.
func dropWords(row []int32, rng *rand.Rand, drop float64) {
	var words, left int
	keep := int32(-1) // a word drawn uniformly among those dropped so far
	at := 0
	for i, id := range row {
		if id < 0 {
			continue
		}
		words++
		if rng.Float64() >= drop {
			left++
			continue
		}
		if rng.IntN(words) == 0 {
			keep, at = id, i
		}
		row[i] = -1
	}
	if words > 0 && left == 0 {
		row[at] = keep
	}
}

// weigh fills the weights, all zero, of a row of ids.
func (t *Text) weigh(weights []float32, row []int32) {
	n, last := 0, 0
	for i, id := range row {
		if id >= 0 {
			n, last = n+1, i
		}
	}
	switch {
	case t.config.Kind == Transformer && (n == 0 || t.config.Pool == PoolLast):
		weights[last] = 1
	case n > 0:
		w := float32(1)
		if t.config.Kind == Bag {
			w = float32(1 / math.Sqrt(float64(n)))
		}
		for i, id := range row {
			if id >= 0 {
				weights[i] = w
			}
		}
	}
}
