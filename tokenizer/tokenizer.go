// Package tokenizer turns captions into token ids.
//
// A [Tokenizer] is what a text encoder needs: ids and how many there are.
// [Words] is a vocabulary of whole words built from the training captions; it
// is what the small models use. [Subwords] is the tokenizer of a published
// model, read from its folder: BERT's WordPiece, CLIP's byte-pair encoding,
// Qwen2's byte-level one. Both are saved with the checkpoint.
package tokenizer

// Tokenizer maps a caption to token ids in [0, Size), or [Unknown].
//
// Implementations are safe for concurrent use and never fail: every string,
// valid UTF-8 or not, has an encoding, whose length is bounded.
type Tokenizer interface {
	// Encode returns the ids of the tokens of text, in order.
	Encode(text string) []int32
	// Size is the number of different ids.
	Size() int
}

// Unknown is the id of a word that is not in the vocabulary.
const Unknown int32 = -1
