package training

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"relsim/tokenizer"
)

// wordsFile is the file of a checkpoint that holds a vocabulary of words.
const wordsFile = "vocabulary.json"

// vocabulary is what turns captions into ids, with the files that it is saved as. Of a model without a text tower it is
// empty.
type vocabulary struct {
	tokenizer.Tokenizer
	rows  int // of the table of words: the tokenizer may have fewer ids
	files map[string][]byte
}

// newWords returns the vocabulary of the words of captions.
func newWords(words *tokenizer.Words) (vocabulary, error) {
	text, err := json.MarshalIndent(words, "", "  ")
	if err != nil {
		return vocabulary{}, fmt.Errorf("training: vocabulary: %w", err)
	}
	return vocabulary{words, words.Size(), map[string][]byte{wordsFile: text}}, nil
}

// readVocabulary reads what a [vocabulary] was saved as from the files of a checkpoint, for a table of so many rows; 0:
// as many as there are words.
func readVocabulary(files map[string][]byte, rows int) (vocabulary, error) {
	if text, ok := files[wordsFile]; ok {
		words, err := tokenizer.ReadWords(bytes.NewReader(text))
		if err != nil {
			return vocabulary{}, fmt.Errorf("%s: %w", wordsFile, err)
		}
		return vocabulary{words, words.Size(), map[string][]byte{wordsFile: text}}, nil
	}
	t, err := tokenizer.Open(files)
	if err != nil {
		return vocabulary{}, fmt.Errorf("no %s, and %w", wordsFile, err)
	}
	v := vocabulary{t, cmp.Or(rows, t.Size()), t.Files()}
	return v, v.check()
}

// check returns an error if the tokenizer has ids that the table of words has no row for.
func (v vocabulary) check() error {
	if v.Size() > v.rows {
		return fmt.Errorf("the tokenizer has %d ids, the table of words %d rows", v.Size(), v.rows)
	}
	return nil
}

// encode returns the ids of a caption for a tower that reads length of them: between the special tokens of a published
// tokenizer.
func (v vocabulary) encode(caption string, length int) []int32 {
	if t, ok := v.Tokenizer.(interface {
		EncodeSpecial(text string, max int) []int32
	}); ok {
		return t.EncodeSpecial(caption, length)
	}
	return v.Encode(caption)
}

// knows reports whether a caption has a word of the vocabulary.
func (v vocabulary) knows(caption string) bool {
	return slices.ContainsFunc(v.Encode(caption), func(id int32) bool { return id >= 0 })
}
