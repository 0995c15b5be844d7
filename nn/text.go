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
	// Types, Pos, InputNorm, Blocks and Norm are of a transformer only.
	Types     *Param     // (types, D), nil: none
	Pos       *Param     // (1, L, D)
	InputNorm *LayerNorm // nil: none
	Blocks    []Block
	Norm      *LayerNorm // nil where the norms follow the sums of a layer
	Head      *Linear    // (E, D), nil: none
}

// TextInput are the inputs of a text encoder for a batch, filled by
// [Text.Fill].
type TextInput struct {
	IDs     *graph.Node // (B·L) ids of words, -1 for none
	Weights *graph.Node // (B, L) what each word counts
	Length  int         // L
}

// NewText declares a text encoder of a vocabulary for embeddings of width
// embed: token_embedding.weight, token_type_embedding.weight, pos_embed,
// norm_pre.weight, blocks.0.norm1.weight …, norm.weight and head.weight, behind
// prefix. The configuration is valid.
func NewText(s *Params, prefix string, c TextConfig, vocab, embed int) *Text {
	t := &Text{config: c}
	vectors := Normal(1)
	if c.Kind == Transformer {
		vectors = TruncatedNormal(.02)
	}
	t.Words = s.Declare(prefix+"token_embedding.weight", WordVectors, vectors, vocab, c.Width)
	if c.Kind == Transformer {
		if c.TokenTypes > 0 {
			t.Types = s.Declare(prefix+"token_type_embedding.weight", Position, TruncatedNormal(.02), c.TokenTypes, c.Width)
		}
		t.Pos = s.Declare(prefix+"pos_embed", Position, TruncatedNormal(.02), 1, c.Length, c.Width)
		t.InputNorm = newInputNorm(s, prefix, c.BlockConfig)
		t.Blocks = newBlocks(s, prefix+"blocks", c.BlockConfig)
		if !c.PostNorm {
			norm := NewLayerNorm(s, prefix+"norm", c.Width, c.NormEps)
			t.Norm = &norm
		}
	}
	t.Head = newHead(s, prefix+"head", c.Head, c.BlockConfig, embed)
	return t
}

// Forward maps captions to embeddings (B, E), not normalised:
//
//	bag           head(Σ_t words[id_t] / √n), n the number of words known
//	transformer   head(pool(norm(x))), pool as [TextConfig] says, x the last layer
//	              over words[id_t] + types[0] + position_t
func (t *Text) Forward(b *graph.Builder, in TextInput, batch int) *graph.Node {
	row := t.row(b, in)
	x := forwardBlocks(b, t.Blocks, t.Tokens(b, in), t.Sequence(in, batch), row)
	if row != nil {
		x = t.norm(b, x)
	} else {
		x = t.Pool(b, x, in)
	}
	return forwardHead(b, t.Head, x)
}

// row returns what takes the one row of each sequence that is pooled, nil where several are.
func (t *Text) row(b *graph.Builder, in TextInput) func(*graph.Node) *graph.Node {
	switch t.config.Pool {
	case PoolCLS:
		return func(x *graph.Node) *graph.Node { return b.PoolFirst(x, in.Length) }
	case PoolEOS, PoolMaxID, PoolLast: // one weight is 1, the others are 0
		return func(x *graph.Node) *graph.Node { return b.PoolWeighted(x, in.Weights) }
	}
	return nil
}

// Sequence says how the words of a batch follow on one another, and who sees
// whom.
func (t *Text) Sequence(in TextInput, batch int) Sequence {
	s := Sequence{Batch: batch, Tokens: in.Length, KeyMask: in.Weights}
	if t.config.causal() {
		s.KeyMask, s.Causal = nil, true
	}
	return s
}

// Tokens maps ids to what the first layer reads, (B·L, D).
func (t *Text) Tokens(b *graph.Builder, in TextInput) *graph.Node {
	x := b.Embedding(t.Words.node(b, t.Words.Shape...), in.IDs)
	if t.config.Kind == Bag {
		return x
	}
	if t.Types != nil {
		types := t.Types.node(b, t.Types.Shape...)
		x = b.AddPosition(x, b.PoolFirst(types, t.config.TokenTypes)) // a table of one row
	}
	x = b.AddPosition(x, t.Pos.node(b, in.Length, t.config.Width))
	if t.InputNorm != nil {
		x = t.InputNorm.Forward(b, x)
	}
	return dropout(b, x, t.config.Dropout)
}

// Pool maps what the last layer makes, (B·L, D), to the rows (B, D) that the head
// reads.
func (t *Text) Pool(b *graph.Builder, x *graph.Node, in TextInput) *graph.Node {
	if row := t.row(b, in); row != nil {
		return t.norm(b, row(x)) // row by row: only these need it
	}
	switch t.config.Pool {
	case PoolMean:
		return b.PoolMaskedMean(t.norm(b, x), in.Weights)
	case PoolMax:
		return b.PoolMax(t.norm(b, x), in.Weights)
	}
	return b.PoolWeighted(t.norm(b, x), in.Weights)
}

// norm is the norm behind the last layer, where there is one.
func (t *Text) norm(b *graph.Builder, x *graph.Node) *graph.Node {
	if t.Norm == nil {
		return x
	}
	return t.Norm.Forward(b, x)
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
// transformer that is not causal 1 there; for one that is 1 at the word that is
// pooled. A transformer reads a caption without a word it knows as one empty
// word; a bag as zero.
//
// Fill panics if the lengths do not fit.
func (t *Text) Fill(ids []int32, weights []float32, captions [][]int32, rng *rand.Rand, drop float64) {
	t.fill(ids, weights, captions, t.config.Length, rng, drop)
}

// fill is [Text.Fill] for a graph of captions of length words at most.
func (t *Text) fill(ids []int32, weights []float32, captions [][]int32, length int, rng *rand.Rand, drop float64) {
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
	n, last, largest, end := 0, 0, 0, -1
	for i, id := range row {
		if id >= 0 {
			n, last = n+1, i
		}
		if id > row[largest] {
			largest = i
		}
		if end < 0 && int(id) == t.config.EOS {
			end = i
		}
	}
	switch {
	case t.config.Pool == PoolEOS:
		weights[max(end, 0)] = 1
	case t.config.Pool == PoolMaxID:
		weights[largest] = 1
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
