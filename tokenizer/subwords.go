package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"relsim/regular"
)

// Limits of a published tokenizer. A file beyond them is refused with an error
// that names the limit, before memory is taken for what it claims to hold.
const (
	// MaxInput is the number of bytes of a text that [Subwords] looks at; what
	// is behind them is cut off, at a character boundary.
	MaxInput = 4 << 20
	// MaxTokens bounds the ids of a vocabulary, and the number of its merges.
	MaxTokens = 1 << 20

	maxVocabularyFile = 32 << 20 // bytes of tokenizer.json, vocab.txt, vocab.json and merges.txt
	maxSettingsFile   = 4 << 20  // bytes of the other files
	maxPiece          = 4096     // bytes of a token
	maxWordChars      = 256      // the most that max_input_chars_per_word may be
	maxAddedToken     = 256      // bytes of a token that is cut out of the text
	maxAddedTokens    = 1 << 20  // bytes of all of them
	maxComponents     = 32       // normalizers, pre-tokenizers, post-processors
	maxDepth          = 8        // levels of Sequence in Sequence
	maxSpecial        = 64       // ids that the post-processor adds
)

// Names of the files that a published tokenizer consists of.
const (
	fileTokenizer = "tokenizer.json"
	fileVocabTxt  = "vocab.txt"
	fileVocabJSON = "vocab.json"
	fileMerges    = "merges.txt"
	fileConfig    = "tokenizer_config.json"
	fileSpecial   = "special_tokens_map.json"
	fileAdded     = "added_tokens.json"
)

// fileLimits has the files that Open looks at, and how large each may be.
var fileLimits = map[string]int{
	fileTokenizer: maxVocabularyFile,
	fileVocabTxt:  maxVocabularyFile,
	fileVocabJSON: maxVocabularyFile,
	fileMerges:    maxVocabularyFile,
	fileConfig:    maxSettingsFile,
	fileSpecial:   maxSettingsFile,
	fileAdded:     maxSettingsFile,
}

// Special has the ids of the tokens that are not text. One that the tokenizer
// does not have is [Unknown].
type Special struct {
	Pad     int32 // fills a batch
	Begin   int32 // comes first: [CLS], <|startoftext|>
	End     int32 // comes last: [SEP], <|endoftext|>
	Unknown int32 // stands for what the vocabulary cannot spell
}

// Subwords is a published tokenizer: the WordPiece of BERT, the byte-pair
// encoding of CLIP, or the byte-level one of Qwen2. Its ids are those of the
// tokenizers library of Hugging Face (the "fast" tokenizers), which the models
// were trained with.
//
// It is immutable. Bytes that are not UTF-8 are U+FFFD, one each. Encode takes
// n log n time for n bytes, however long the words are, and gives a few ids for
// each byte at most. Classes of characters are those of Go's Unicode version; for
// BERT's marks and punctuation, of Unicode 8.0, as in the published code.
type Subwords struct {
	files map[string][]byte

	tokens []string         // by id; "" where there is none
	ids    map[string]int32 // of all tokens

	plain      cutter // added tokens that are found in the text as it is
	normalized cutter // those found in the normalised text
	special    map[int32]bool

	normalize []func(string) string
	split     []splitter
	model     model
	prefix    []int32 // what EncodeSpecial puts before the text
	suffix    []int32 // and behind it
	left      bool    // a text that is too long loses its beginning
	decode    func(tokens []string) string
	roles     Special
}

var _ Tokenizer = (*Subwords)(nil)

// model turns a word, as the pre-tokenizers cut it out, into ids.
type model interface {
	encode(ids []int32, word string, w *work) []int32
}

// work is what one call of Encode needs besides the tokenizer.
type work struct {
	symbols []symbol
	queue   []candidate
	steps   int // steps of the inner loops, for tests of complexity
}

// OpenFolder reads the tokenizer of a model's folder in the layout of Hugging
// Face: tokenizer.json, or else vocab.txt (BERT), or else vocab.json and
// merges.txt (CLIP, Qwen2); with them tokenizer_config.json,
// special_tokens_map.json and added_tokens.json, where these are there.
func OpenFolder(dir string) (*Subwords, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: open: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("tokenizer: open %s: not a folder", dir)
	}
	files := make(map[string][]byte)
	for _, name := range slices.Sorted(maps.Keys(fileLimits)) {
		data, err := regular.Read(filepath.Join(dir, name), int64(fileLimits[name]))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("tokenizer: open: %w", err)
		}
		files[name] = data
	}
	t, err := Open(files)
	if err != nil {
		return nil, fmt.Errorf("%w (in %s)", err, dir)
	}
	return t, nil
}

// Open reads a tokenizer from its files, name to content, as [OpenFolder] finds
// them in a folder and [Subwords.Files] returns them. Files of other names are
// ignored.
func Open(files map[string][]byte) (*Subwords, error) {
	for name, limit := range fileLimits {
		if n := len(files[name]); n > limit {
			return nil, fmt.Errorf("tokenizer: %s: %d bytes or more, at most %d are allowed", name, n, limit)
		}
	}
	has := func(name string) bool { _, ok := files[name]; return ok }
	t := &Subwords{
		files:   make(map[string][]byte),
		ids:     make(map[string]int32),
		special: make(map[int32]bool),
		roles:   Special{Unknown, Unknown, Unknown, Unknown},
	}
	settings := []string{fileConfig, fileSpecial}
	var read func(map[string][]byte, *settingsFiles) error
	switch {
	case has(fileTokenizer):
		read = t.readTokenizer
		settings = append(settings, fileTokenizer)
	case has(fileVocabTxt):
		read = t.readBERT
		settings = append(settings, fileVocabTxt, fileAdded)
	case has(fileVocabJSON) && has(fileMerges):
		read = t.readBPE
		settings = append(settings, fileVocabJSON, fileMerges, fileAdded)
	case has(fileVocabJSON):
		return nil, fmt.Errorf("tokenizer: %s is there, but %s or %s is missing", fileVocabJSON, fileMerges, fileTokenizer)
	case has(fileMerges):
		return nil, fmt.Errorf("tokenizer: %s is there, but %s or %s is missing", fileMerges, fileVocabJSON, fileTokenizer)
	default:
		return nil, fmt.Errorf("tokenizer: no tokenizer: want %s, or %s (BERT), or %s and %s (CLIP, Qwen2)",
			fileTokenizer, fileVocabTxt, fileVocabJSON, fileMerges)
	}
	for _, name := range settings {
		if data, ok := files[name]; ok {
			t.files[name] = slices.Clone(data)
		}
	}
	s, err := readSettings(t.files)
	if err == nil {
		err = read(t.files, s)
	}
	if err == nil {
		err = t.setRoles(s)
	}
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return t, nil
}

// Files returns the files that the tokenizer was read from, name to content:
// [Open] makes the same tokenizer of them. They are what a checkpoint keeps.
func (t *Subwords) Files() map[string][]byte {
	files := make(map[string][]byte, len(t.files))
	for name, data := range t.files {
		files[name] = slices.Clone(data)
	}
	return files
}

// Fingerprint is the SHA-256, in hexadecimal, of the names and contents of
// [Subwords.Files]. Tokenizers with one fingerprint give the same ids; the same
// tokenizer in files that differ has another.
func (t *Subwords) Fingerprint() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(t.files)) {
		fmt.Fprintf(h, "%s %d\n", name, len(t.files[name]))
		h.Write(t.files[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Size is the largest id, plus one.
func (t *Subwords) Size() int { return len(t.tokens) }

// Special returns the ids of the special tokens.
func (t *Subwords) Special() Special { return t.roles }

// Token returns the token of an id as the vocabulary has it, and "" for an id
// without one.
func (t *Subwords) Token(id int32) string {
	if id < 0 || int(id) >= len(t.tokens) {
		return ""
	}
	return t.tokens[id]
}

// Encode returns the ids of text without the special tokens that a model
// expects around it. Where text itself has an added token ("[SEP]",
// "<|im_end|>"), its id is returned, as the published tokenizers do.
func (t *Subwords) Encode(text string) []int32 {
	ids, _ := t.encode(text, -1)
	return ids
}

// EncodeSpecial returns the ids of text between the special tokens of the
// published tokenizer: [CLS] … [SEP], <|startoftext|> … <|endoftext|>, none for
// Qwen2. If these are more than max, text is cut so that max are left, and the
// special tokens stay; where max is less than their number, the last max of
// them. A max of 0 or less sets no limit. The lengths that the tokenizer's own
// files have for truncation and padding are not applied.
func (t *Subwords) EncodeSpecial(text string, max int) []int32 {
	around := append(slices.Clone(t.prefix), t.suffix...)
	if max <= 0 {
		ids, _ := t.encode(text, -1)
		return slices.Insert(around, len(t.prefix), ids...)
	}
	room := max - len(around)
	if room <= 0 {
		return around[len(around)-max:]
	}
	limit := room
	if t.left {
		limit = -1 // the end of the text is what is kept
	}
	ids, _ := t.encode(text, limit)
	switch {
	case len(ids) <= room:
	case t.left:
		ids = ids[len(ids)-room:]
	default:
		ids = ids[:room]
	}
	return slices.Insert(around, len(t.prefix), ids...)
}

// encode returns the ids of text, and the number of steps that they took. With
// a limit that is not negative it may stop when it has so many ids.
func (t *Subwords) encode(text string, limit int) ([]int32, int) {
	text = cut(text, MaxInput)
	if !utf8.ValidString(text) {
		text = string([]rune(text))
	}
	w := new(work)
	ids := []int32{}
	for raw := range t.plain.segments(text, &w.steps) {
		if raw.id >= 0 {
			ids = append(ids, raw.id)
			continue
		}
		part := raw.text
		for _, normalize := range t.normalize {
			part = normalize(part)
		}
		for segment := range t.normalized.segments(part, &w.steps) {
			if segment.id >= 0 {
				ids = append(ids, segment.id)
				continue
			}
			words := []string{segment.text}
			for _, split := range t.split {
				var next []string
				for _, word := range words {
					next = split(next, word)
				}
				words = next
			}
			for _, word := range words {
				if limit >= 0 && len(ids) >= limit {
					return ids, w.steps
				}
				if word != "" {
					ids = t.model.encode(ids, word, w)
				}
			}
		}
	}
	return ids, w.steps
}

// Decode returns the text of ids, as the published tokenizer's decoder writes
// it: BERT's is lower-cased and has blanks that the text did not have; CLIP's
// has "</w>" where words end; Qwen2's is the text. With skipSpecial, special
// tokens are left out. Ids without a token are left out too.
func (t *Subwords) Decode(ids []int32, skipSpecial bool) string {
	var tokens []string
	for _, id := range ids {
		if token := t.Token(id); token != "" && !(skipSpecial && t.special[id]) {
			tokens = append(tokens, token)
		}
	}
	return t.decode(tokens)
}

// add gives token its id in the vocabulary.
func (t *Subwords) add(token string, id int) error {
	switch {
	case token == "":
		return fmt.Errorf("an empty token")
	case len(token) > maxPiece:
		return fmt.Errorf("a token of %d bytes, at most %d are allowed", len(token), maxPiece)
	case !utf8.ValidString(token):
		return fmt.Errorf("token %q is not UTF-8", token)
	case id < 0 || id >= MaxTokens:
		return fmt.Errorf("%q has the id %d; want 0 to %d", token, id, MaxTokens-1)
	}
	if old, ok := t.ids[token]; ok {
		return fmt.Errorf("%q is there twice, with the ids %d and %d", token, old, id)
	}
	if id < len(t.tokens) && t.tokens[id] != "" {
		return fmt.Errorf("%q and %q have the same id, %d", t.tokens[id], token, id)
	}
	for id >= len(t.tokens) {
		t.tokens = append(t.tokens, "")
	}
	t.tokens[id] = token
	t.ids[token] = int32(id)
	return nil
}

// id returns the id of a token that a file names; at says where.
func (t *Subwords) id(at, token string) (int32, error) {
	id, ok := t.ids[token]
	if !ok {
		return 0, fmt.Errorf("%s: %q is not in the vocabulary", at, cut(token, MaxWord))
	}
	return id, nil
}

// setAdded makes the added tokens known to the vocabulary and to Encode.
func (t *Subwords) setAdded(added []addedToken) error {
	total := 0
	seen := make(map[string]bool)
	var plain, normalized []addedToken
	for _, a := range added {
		if len(a.content) > maxAddedToken {
			return fmt.Errorf("%s: a token of %d bytes, at most %d are allowed", a.at, len(a.content), maxAddedToken)
		}
		if total += len(a.content); total > maxAddedTokens {
			return fmt.Errorf("%s: more than %d bytes of added tokens", a.at, maxAddedTokens)
		}
		if seen[a.content] {
			return fmt.Errorf("%s: %q is added twice", a.at, a.content)
		}
		seen[a.content] = true
		if id, ok := t.ids[a.content]; !ok {
			if err := t.add(a.content, int(a.id)); err != nil {
				return fmt.Errorf("%s: %w", a.at, err)
			}
		} else if id != a.id {
			return fmt.Errorf("%s: %q has the id %d, but %d in the vocabulary", a.at, a.content, a.id, id)
		}
		if a.special {
			t.special[a.id] = true
		}
		if !a.normalized {
			plain = append(plain, a)
			continue
		}
		for _, normalize := range t.normalize {
			a.content = normalize(a.content)
		}
		if a.content == "" {
			return fmt.Errorf("%s: nothing is left of the token when it is normalised", a.at)
		}
		normalized = append(normalized, a)
	}
	t.plain, t.normalized = newCutter(plain), newCutter(normalized)
	return nil
}

// setRoles finds the ids of the special tokens: by the settings where these
// name them, and else by what the tokenizer itself does.
func (t *Subwords) setRoles(s *settingsFiles) error {
	if t.roles.Begin == Unknown && len(t.prefix) > 0 {
		t.roles.Begin = t.prefix[0]
	}
	if t.roles.End == Unknown && len(t.suffix) > 0 {
		t.roles.End = t.suffix[len(t.suffix)-1]
	}
	for _, role := range []struct {
		id    *int32
		names []string
	}{
		{&t.roles.Pad, []string{"pad_token"}},
		{&t.roles.Begin, []string{"cls_token", "bos_token"}},
		{&t.roles.End, []string{"sep_token", "eos_token"}},
		{&t.roles.Unknown, []string{"unk_token"}},
	} {
		for _, name := range role.names {
			token, ok := s.named[name]
			if !ok {
				continue
			}
			id, err := t.id(token.at, token.content)
			if err != nil {
				return err
			}
			*role.id = id
			break
		}
	}
	return nil
}

// lines returns the lines of a text file, without their ends.
func lines(data []byte) []string {
	text := strings.TrimSuffix(string(data), "\n")
	if text == "" {
		return nil
	}
	all := strings.Split(text, "\n")
	for i, line := range all {
		all[i] = strings.TrimSuffix(line, "\r")
	}
	return all
}
