package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Limits of a vocabulary file.
const (
	maxWords = 1 << 20
	maxFile  = 64 << 20
	format   = "relsim words 1"
)

// Words is a vocabulary of whole words, as [Split] finds them. Ids follow the
// words in byte order, so the same captions give the same ids in any order.
//
// It is immutable. The zero value knows no word.
type Words struct {
	words []string
	ids   map[string]int32
}

var _ Tokenizer = (*Words)(nil)

// TrainWords returns the vocabulary of all words that occur at least minCount
// times in captions. A minCount below 1 is 1. If there are more than 2²⁰ such
// words, the most frequent are kept; of equally frequent ones, the first in
// byte order.
func TrainWords(captions []string, minCount int) *Words {
	count := make(map[string]int)
	for _, c := range captions {
		for _, w := range Split(c) {
			count[w]++
		}
	}
	var words []string
	for w, n := range count {
		if n >= minCount {
			words = append(words, w)
		}
	}
	if len(words) > maxWords {
		slices.SortFunc(words, func(a, b string) int {
			if d := count[b] - count[a]; d != 0 {
				return d
			}
			return strings.Compare(a, b)
		})
		words = words[:maxWords]
	}
	slices.Sort(words)
	return newWords(words)
}

// newWords returns the vocabulary of sorted, distinct words.
func newWords(words []string) *Words {
	ids := make(map[string]int32, len(words))
	for i, w := range words {
		ids[w] = int32(i)
	}
	return &Words{words: words, ids: ids}
}

// Encode returns one id per word of text, in order; a word that is not in the
// vocabulary is [Unknown].
func (v *Words) Encode(text string) []int32 {
	words := Split(text)
	ids := make([]int32, len(words))
	for i, w := range words {
		id, ok := v.ids[w]
		if !ok {
			id = Unknown
		}
		ids[i] = id
	}
	return ids
}

// Size is the number of words.
func (v *Words) Size() int { return len(v.words) }

// Word returns the word of an id, and "" for an id that is not in [0, Size).
func (v *Words) Word(id int32) string {
	if id < 0 || int(id) >= len(v.words) {
		return ""
	}
	return v.words[id]
}

// file is the JSON form of a vocabulary.
type file struct {
	Format string   `json:"format"`
	Words  []string `json:"words"`
}

// MarshalJSON writes the words in the order of their ids, and the name of the
// format.
func (v *Words) MarshalJSON() ([]byte, error) {
	words := v.words
	if words == nil {
		words = []string{}
	}
	return json.Marshal(file{Format: format, Words: words})
}

// UnmarshalJSON reads what [Words.MarshalJSON] wrote. It refuses other formats,
// unknown keys, words that [Split] would not return, words out of order or
// twice, and more than 2²⁰ words; v is unchanged then.
func (v *Words) UnmarshalJSON(data []byte) error {
	if len(data) > maxFile {
		return fmt.Errorf("tokenizer: vocabulary: more than %d bytes", maxFile)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var f file
	if err := dec.Decode(&f); err != nil {
		return fmt.Errorf("tokenizer: vocabulary: %w", err)
	}
	if dec.More() {
		return fmt.Errorf("tokenizer: vocabulary: data behind the object")
	}
	if f.Format != format {
		return fmt.Errorf("tokenizer: vocabulary: format %q, want %q", cut(f.Format, MaxWord), format)
	}
	if len(f.Words) > maxWords {
		return fmt.Errorf("tokenizer: vocabulary: %d words, at most %d are allowed", len(f.Words), maxWords)
	}
	for i, w := range f.Words {
		if i > 0 && w <= f.Words[i-1] {
			return fmt.Errorf("tokenizer: vocabulary: word %d: %q does not come after %q", i, cut(w, MaxWord), f.Words[i-1])
		}
		if s := Split(w); len(s) != 1 || s[0] != w {
			return fmt.Errorf("tokenizer: vocabulary: word %d: %q is not one normalised word", i, cut(w, MaxWord))
		}
	}
	*v = *newWords(f.Words)
	return nil
}

// ReadWords reads a vocabulary in JSON from r, up to its end. At most 64 MiB
// are read.
func ReadWords(r io.Reader) (*Words, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("tokenizer: vocabulary: %w", err)
	}
	v := new(Words)
	if err := v.UnmarshalJSON(data); err != nil {
		return nil, err
	}
	return v, nil
}
