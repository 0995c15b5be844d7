package training

import (
	"bytes"
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
	files map[string][]byte
}

// newWords returns the vocabulary of the words of captions.
func newWords(words *tokenizer.Words) (vocabulary, error) {
	text, err := json.MarshalIndent(words, "", "  ")
	if err != nil {
		return vocabulary{}, fmt.Errorf("training: vocabulary: %w", err)
	}
	return vocabulary{words, map[string][]byte{wordsFile: text}}, nil
}

// readVocabulary reads what [vocabulary] was saved as from the files of a checkpoint.
func readVocabulary(files map[string][]byte) (vocabulary, error) {
	text, ok := files[wordsFile]
	if !ok {
		return vocabulary{}, fmt.Errorf("no %s", wordsFile)
	}
	words, err := tokenizer.ReadWords(bytes.NewReader(text))
	if err != nil {
		return vocabulary{}, fmt.Errorf("%s: %w", wordsFile, err)
	}
	return vocabulary{words, map[string][]byte{wordsFile: text}}, nil
}

// size is the number of ids, 0 where there is no text tower.
func (v vocabulary) size() int {
	if v.Tokenizer == nil {
		return 0
	}
	return v.Size()
}

// knows reports whether a caption has a word of the vocabulary.
func (v vocabulary) knows(caption string) bool {
	return slices.ContainsFunc(v.Encode(caption), func(id int32) bool { return id >= 0 })
}
