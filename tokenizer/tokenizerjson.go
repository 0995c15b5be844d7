package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// object is a JSON object of a file. Its methods read one key each; the first
// error stays, and done reports it, or a key that nobody read.
type object struct {
	at     string // where it is, for errors
	fields map[string]json.RawMessage
	read   map[string]bool
	err    error
}

// maxFields bounds the keys of an object that is not a vocabulary.
const maxFields = 1 << 16

func newObject(at string, raw []byte) *object {
	o := &object{at: at, fields: make(map[string]json.RawMessage), read: make(map[string]bool)}
	o.err = eachField(at, raw, func(key string, dec *json.Decoder) error {
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return fmt.Errorf("%s.%s: %w", at, cut(key, MaxWord), err)
		}
		if _, ok := o.fields[key]; ok {
			return fmt.Errorf("%s: %q is there twice", at, cut(key, MaxWord))
		}
		if len(o.fields) >= maxFields {
			return fmt.Errorf("%s: more than %d keys", at, maxFields)
		}
		o.fields[key] = value
		return nil
	})
	return o
}

// eachField calls read for each key of a JSON object, in order; read takes the
// value from the decoder.
func eachField(at string, raw []byte, read func(key string, dec *json.Decoder) error) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	token, err := dec.Token()
	if err != nil {
		return fmt.Errorf("%s: %w", at, noEOF(err))
	}
	if token != json.Delim('{') {
		return fmt.Errorf("%s: %s, want an object", at, kind(raw))
	}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return fmt.Errorf("%s: %w", at, noEOF(err))
		}
		key, ok := token.(string)
		if !ok {
			return fmt.Errorf("%s: a key that is not a string", at)
		}
		if err := read(key, dec); err != nil {
			return err
		}
	}
	return closed(at, dec)
}

// eachItem calls read for each value of a JSON array.
func eachItem(at string, raw []byte, read func(i int, dec *json.Decoder) error) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	token, err := dec.Token()
	if err != nil {
		return fmt.Errorf("%s: %w", at, noEOF(err))
	}
	if token != json.Delim('[') {
		return fmt.Errorf("%s: %s, want a list", at, kind(raw))
	}
	for i := 0; dec.More(); i++ {
		if err := read(i, dec); err != nil {
			return err
		}
	}
	return closed(at, dec)
}

// closed reads the bracket at the end of an object or a list, and nothing more.
func closed(at string, dec *json.Decoder) error {
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("%s: %w", at, noEOF(err))
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("%s: data behind its end", at)
	}
	return nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// kind names what a JSON value is.
func kind(raw []byte) string {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// raw returns the value of key, and nil where it is null or missing.
func (o *object) raw(key string) json.RawMessage {
	o.read[key] = true
	if v := o.fields[key]; string(v) != "null" {
		return v
	}
	return nil
}

// decode reads the value of key, unless it is null or missing.
func (o *object) decode(key string, to any, want string) bool {
	v := o.raw(key)
	if v == nil || o.err != nil {
		return false
	}
	if err := json.Unmarshal(v, to); err != nil {
		o.err = fmt.Errorf("%s.%s: %s, want %s", o.at, key, kind(v), want)
		return false
	}
	return true
}

func (o *object) text(key, missing string) string {
	o.decode(key, &missing, "a string")
	return missing
}

func (o *object) flag(key string, missing bool) bool {
	o.decode(key, &missing, "true or false")
	return missing
}

func (o *object) number(key string, missing int) int {
	o.decode(key, &missing, "an integer")
	return missing
}

// need reports keys that are missing.
func (o *object) need(keys ...string) {
	for _, key := range keys {
		if _, ok := o.fields[key]; !ok && o.err == nil {
			o.err = fmt.Errorf("%s: %q is missing", o.at, key)
		}
	}
}

// ignore marks keys as read.
func (o *object) ignore(keys ...string) {
	for _, key := range keys {
		o.read[key] = true
	}
}

func (o *object) fail(format string, args ...any) {
	if o.err == nil {
		o.err = fmt.Errorf("%s"+format, append([]any{o.at}, args...)...)
	}
}

// done returns the first error; a key that was not read is one.
func (o *object) done() error {
	if o.err != nil {
		return o.err
	}
	for _, key := range slices.Sorted(maps.Keys(o.fields)) {
		if !o.read[key] {
			return fmt.Errorf("%s: %q is not known, so what it changes is not either", o.at, cut(key, MaxWord))
		}
	}
	return nil
}

// readTokenizer reads tokenizer.json.
func (t *Subwords) readTokenizer(files map[string][]byte, s *settingsFiles) error {
	o := newObject(fileTokenizer, files[fileTokenizer])
	o.need("model")
	if v := o.text("version", "1.0"); v != "1.0" {
		o.fail(".version: %q, want %q", cut(v, MaxWord), "1.0")
	}
	sections := make(map[string]json.RawMessage)
	for _, key := range []string{"truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model"} {
		sections[key] = o.raw(key)
	}
	if err := o.done(); err != nil {
		return err
	}
	at := func(key string) string { return fileTokenizer + "." + key }
	if err := t.readModel(at("model"), sections["model"]); err != nil {
		return err
	}
	c := components{config: s.config}
	if raw := sections["normalizer"]; raw != nil {
		if err := c.normalizers(at("normalizer"), raw, 0, &t.normalize); err != nil {
			return err
		}
	}
	if raw := sections["added_tokens"]; raw != nil {
		var added []addedToken
		err := eachItem(at("added_tokens"), raw, func(i int, dec *json.Decoder) error {
			if i >= MaxTokens {
				return fmt.Errorf("%s: more than %d tokens", at("added_tokens"), MaxTokens)
			}
			var raw json.RawMessage
			if err := dec.Decode(&raw); err != nil {
				return fmt.Errorf("%s[%d]: %w", at("added_tokens"), i, noEOF(err))
			}
			o := newObject(fmt.Sprintf("%s[%d]", at("added_tokens"), i), raw)
			o.need("id", "content")
			a := readAdded(o, o.number("id", -1), true)
			added = append(added, a)
			return o.done()
		})
		if err != nil {
			return err
		}
		if err := t.setAdded(added); err != nil {
			return err
		}
	}
	if raw := sections["pre_tokenizer"]; raw != nil {
		if err := c.preTokenizers(at("pre_tokenizer"), raw, 0, &t.split); err != nil {
			return err
		}
	}
	if raw := sections["post_processor"]; raw != nil {
		if err := t.readPostProcessor(at("post_processor"), raw, 0, &c); err != nil {
			return err
		}
	}
	if err := t.readDecoder(at("decoder"), sections["decoder"]); err != nil {
		return err
	}
	return t.readLengths(at("truncation"), sections["truncation"], at("padding"), sections["padding"])
}

// readAdded reads an added token. missing is what normalized is where it is not
// said.
func readAdded(o *object, id int, missing bool) addedToken {
	a := addedToken{
		at:         o.at,
		content:    o.text("content", ""),
		singleWord: o.flag("single_word", false),
		lstrip:     o.flag("lstrip", false),
		rstrip:     o.flag("rstrip", false),
		normalized: o.flag("normalized", missing),
		special:    o.flag("special", false),
	}
	if id < 0 || id >= MaxTokens {
		o.fail(": the id %d; want 0 to %d", id, MaxTokens-1)
		return a
	}
	a.id = int32(id)
	if a.content == "" {
		o.fail(".content: empty")
	}
	return a
}

// readModel reads the model section: the vocabulary and how it is used.
func (t *Subwords) readModel(at string, raw json.RawMessage) error {
	if raw == nil {
		return fmt.Errorf("%s: null, want an object", at)
	}
	o := newObject(at, raw)
	o.need("vocab")
	kind := o.text("type", "")
	if _, ok := o.fields["type"]; !ok { // old files have none
		kind = "WordPiece"
		if _, ok := o.fields["merges"]; ok {
			kind = "BPE"
		}
	}
	if o.err != nil {
		return o.err
	}
	vocab := o.raw("vocab")
	switch kind {
	case "WordPiece":
		unknown := o.text("unk_token", "[UNK]")
		prefix := o.text("continuing_subword_prefix", "##")
		chars := o.number("max_input_chars_per_word", 100)
		if err := o.done(); err != nil {
			return err
		}
		if err := t.readVocabulary(at+".vocab", vocab); err != nil {
			return err
		}
		return t.setWordPiece(at, unknown, prefix, chars)
	case "BPE":
		o.need("merges")
		var dropout float64
		if o.decode("dropout", &dropout, "null"); dropout != 0 {
			o.fail(".dropout: %g, want null: encoding must not be random", dropout)
		}
		if o.flag("byte_fallback", false) {
			o.fail(".byte_fallback: true is not supported")
		}
		if prefix := o.text("continuing_subword_prefix", ""); prefix != "" {
			o.fail(".continuing_subword_prefix: %q, only an empty one is supported", cut(prefix, MaxWord))
		}
		m := bpe{suffix: o.text("end_of_word_suffix", ""), fuse: o.flag("fuse_unk", false), whole: o.flag("ignore_merges", false)}
		unknown := o.text("unk_token", "")
		merges := o.raw("merges")
		if err := o.done(); err != nil {
			return err
		}
		if err := t.readVocabulary(at+".vocab", vocab); err != nil {
			return err
		}
		pairs, err := readMerges(at+".merges", merges)
		if err != nil {
			return err
		}
		return t.setBPE(at, m, unknown, pairs)
	}
	return fmt.Errorf("%s.type: %q is not supported; want WordPiece or BPE", at, cut(kind, MaxWord))
}

// readVocabulary reads a JSON object of tokens and their ids, one at a time:
// what is too large is refused before it is kept.
func (t *Subwords) readVocabulary(at string, raw json.RawMessage) error {
	err := eachField(at, raw, func(token string, dec *json.Decoder) error {
		value, err := dec.Token()
		if err != nil {
			return fmt.Errorf("%s: %w", at, noEOF(err))
		}
		id, ok := value.(float64)
		switch {
		case !ok || id != math.Trunc(id):
			return fmt.Errorf("%s: %q has the id %v; want an integer", at, cut(token, MaxWord), value)
		case id < 0 || id >= MaxTokens:
			return fmt.Errorf("%s: %q has the id %.6g; want 0 to %d", at, cut(token, MaxWord), id, MaxTokens-1)
		}
		if err := t.add(token, int(id)); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		return nil
	})
	if err == nil && len(t.ids) == 0 {
		return fmt.Errorf("%s: empty", at)
	}
	return err
}

// readMerges reads merges as published files have them: "a b" or ["a", "b"].
func readMerges(at string, raw json.RawMessage) ([][2]string, error) {
	var pairs [][2]string
	err := eachItem(at, raw, func(i int, dec *json.Decoder) error {
		if i >= MaxTokens {
			return fmt.Errorf("%s: more than %d merges", at, MaxTokens)
		}
		token, err := dec.Token()
		if err != nil {
			return fmt.Errorf("%s[%d]: %w", at, i, noEOF(err))
		}
		var p [2]string
		switch token := token.(type) {
		case string:
			var ok bool
			if p, ok = splitMerge(token); !ok {
				return fmt.Errorf("%s[%d]: %q, want two tokens and a blank between", at, i, cut(token, MaxWord))
			}
		case json.Delim:
			n := 0
			for token == '[' && n < 2 && dec.More() {
				item, err := dec.Token()
				s, ok := item.(string)
				if err != nil || !ok {
					return fmt.Errorf("%s[%d]: want two strings", at, i)
				}
				p[n] = s
				n++
			}
			if end, err := dec.Token(); n != 2 || err != nil || end != json.Delim(']') {
				return fmt.Errorf("%s[%d]: want two strings", at, i)
			}
		default:
			return fmt.Errorf("%s[%d]: want a string or a list of two", at, i)
		}
		pairs = append(pairs, p)
		return nil
	})
	return pairs, err
}

// splitMerge splits "a b".
func splitMerge(s string) ([2]string, bool) {
	a, b, ok := strings.Cut(s, " ")
	return [2]string{a, b}, ok && a != "" && b != "" && !strings.Contains(b, " ")
}

// setWordPiece makes WordPiece the model, over the vocabulary read so far.
func (t *Subwords) setWordPiece(at, unknown, prefix string, chars int) error {
	if chars < 1 || chars > maxWordChars {
		return fmt.Errorf("%s.max_input_chars_per_word: %d, want 1 to %d", at, chars, maxWordChars)
	}
	if len(prefix) > MaxWord {
		return fmt.Errorf("%s.continuing_subword_prefix: %d bytes, at most %d are allowed", at, len(prefix), MaxWord)
	}
	id, err := t.id(at+": unk_token", unknown)
	if err != nil {
		return err
	}
	t.roles.Unknown = id
	t.model = &wordPiece{lexicon: newLexicon(t.tokens), prefix: prefix, maxChars: chars, unknown: id}
	return nil
}

// setBPE makes m the model, over the vocabulary read so far. Of a pair that is
// there twice the last one counts, as in the published code.
func (t *Subwords) setBPE(at string, m bpe, unknown string, pairs [][2]string) error {
	if len(m.suffix) > MaxWord {
		return fmt.Errorf("%s.end_of_word_suffix: %d bytes, at most %d are allowed", at, len(m.suffix), MaxWord)
	}
	m.unknown = Unknown
	if unknown != "" {
		id, err := t.id(at+": unk_token", unknown)
		if err != nil {
			return err
		}
		m.unknown, t.roles.Unknown = id, id
	}
	m.ids = maps.Clone(t.ids) // without the added tokens
	m.merges = make(map[pair]merge, len(pairs))
	for i, p := range pairs {
		var ids [3]int32
		for j, token := range [3]string{p[0], p[1], p[0] + p[1]} {
			id, ok := t.ids[token]
			if !ok {
				return fmt.Errorf("%s.merges[%d]: %q is not in the vocabulary", at, i, cut(token, MaxWord))
			}
			ids[j] = id
		}
		m.merges[pair{ids[0], ids[1]}] = merge{int32(i), ids[2]}
	}
	t.model = &m
	return nil
}

// components counts what a pipeline consists of.
type components struct {
	config *object // tokenizer_config.json
	count  int
	bytes  bool // there is a byte-level pre-tokenizer
}

// open reads the type of a component; depth is how many Sequences it is in.
func (c *components) open(at string, raw json.RawMessage, depth int) (*object, string, error) {
	if depth > maxDepth {
		return nil, "", fmt.Errorf("%s: more than %d levels of Sequence", at, maxDepth)
	}
	if c.count++; c.count > maxComponents {
		return nil, "", fmt.Errorf("%s: more than %d normalizers, pre-tokenizers and post-processors", at, maxComponents)
	}
	o := newObject(at, raw)
	o.need("type")
	return o, o.text("type", ""), o.err
}

// sequence calls read for each item of the list under key.
func (c *components) sequence(o *object, key string, read func(at string, raw json.RawMessage) error) error {
	o.need(key)
	list := o.raw(key)
	if err := o.done(); err != nil {
		return err
	}
	at := o.at + "." + key
	return eachItem(at, list, func(i int, dec *json.Decoder) error {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return fmt.Errorf("%s[%d]: %w", at, i, noEOF(err))
		}
		return read(fmt.Sprintf("%s[%d]", at, i), raw)
	})
}

// normalizers appends what the normalizer at a place does.
func (c *components) normalizers(at string, raw json.RawMessage, depth int, to *[]func(string) string) error {
	o, kind, err := c.open(at, raw, depth)
	if err != nil {
		return err
	}
	switch kind {
	case "Sequence":
		return c.sequence(o, "normalizers", func(at string, raw json.RawMessage) error {
			return c.normalizers(at, raw, depth+1, to)
		})
	case "NFC":
		*to = append(*to, nfc)
	case "Lowercase":
		*to = append(*to, lowercase)
	case "BertNormalizer":
		n := bertNormalizer{clean: o.flag("clean_text", true), chinese: o.flag("handle_chinese_chars", true), lower: o.flag("lowercase", true)}
		n.accents = o.flag("strip_accents", n.lower)
		if depth == 0 {
			n.override(c.config)
			if err := c.config.err; err != nil {
				return err
			}
		}
		*to = append(*to, n.normalize)
	case "Replace":
		o.need("pattern", "content")
		content := o.text("content", "")
		literal, regex := readPattern(o)
		shortest := len(literal)
		switch {
		case o.err != nil:
		case literal != "":
			*to = append(*to, func(s string) string { return strings.ReplaceAll(s, literal, content) })
		case regex == `\s+`:
			shortest = 1
			*to = append(*to, collapse(content))
		default:
			o.fail(`.pattern: %q is not supported; want a string or \s+`, cut(regex, MaxWord))
		}
		if len(content) > shortest {
			o.fail(".content: longer than what it replaces, which is not supported")
		}
	default:
		return fmt.Errorf("%s.type: %q is not supported; want BertNormalizer, NFC, Lowercase, Replace or Sequence", at, cut(kind, MaxWord))
	}
	return o.done()
}

// readPattern reads {"String": …} or {"Regex": …} under the key pattern.
func readPattern(o *object) (literal, regex string) {
	raw := o.raw("pattern")
	if raw == nil || o.err != nil {
		o.fail(".pattern: want an object")
		return "", ""
	}
	p := newObject(o.at+".pattern", raw)
	literal, regex = p.text("String", ""), p.text("Regex", "")
	if (literal == "") == (regex == "") {
		p.fail(`: want either "String" or "Regex", not empty`)
	}
	o.err = p.done()
	return literal, regex
}

// preTokenizers appends what the pre-tokenizer at a place does.
func (c *components) preTokenizers(at string, raw json.RawMessage, depth int, to *[]splitter) error {
	o, kind, err := c.open(at, raw, depth)
	if err != nil {
		return err
	}
	switch kind {
	case "Sequence":
		return c.sequence(o, "pretokenizers", func(at string, raw json.RawMessage) error {
			return c.preTokenizers(at, raw, depth+1, to)
		})
	case "BertPreTokenizer":
		*to = append(*to, splitBERT)
	case "Split":
		o.need("pattern", "behavior")
		_, regex := readPattern(o)
		scan := scanners[regex]
		if scan == nil {
			o.fail(".pattern: %q is not supported; want that of GPT-2, Qwen2 or CLIP as a Regex", cut(regex, 4*MaxWord))
		}
		invert := o.flag("invert", false)
		switch behavior := o.text("behavior", ""); behavior {
		case "Isolated":
			*to = append(*to, splitPattern(scan, true, true))
		case "Removed":
			*to = append(*to, splitPattern(scan, invert, !invert))
		default:
			o.fail(".behavior: %q is not supported; want Isolated or Removed", cut(behavior, MaxWord))
		}
	case "ByteLevel":
		if c.bytes {
			o.fail(": a second ByteLevel is not supported")
		}
		c.bytes = true
		o.ignore("trim_offsets")
		*to = append(*to, splitBytes(o.flag("add_prefix_space", true), o.flag("use_regex", true)))
	default:
		return fmt.Errorf("%s.type: %q is not supported; want BertPreTokenizer, Split, ByteLevel or Sequence", at, cut(kind, MaxWord))
	}
	return o.done()
}

// readPostProcessor reads which special tokens are put around a text.
func (t *Subwords) readPostProcessor(at string, raw json.RawMessage, depth int, c *components) error {
	o, kind, err := c.open(at, raw, depth)
	if err != nil {
		return err
	}
	var prefix, suffix []int32
	switch kind {
	case "Sequence":
		return c.sequence(o, "processors", func(at string, raw json.RawMessage) error {
			return t.readPostProcessor(at, raw, depth+1, c)
		})
	case "ByteLevel":
		o.ignore("add_prefix_space", "trim_offsets", "use_regex")
	case "BertProcessing", "RobertaProcessing":
		if kind == "RobertaProcessing" {
			o.ignore("add_prefix_space", "trim_offsets")
		}
		prefix, suffix = []int32{t.readNamed(o, "cls")}, []int32{t.readNamed(o, "sep")}
	case "TemplateProcessing":
		prefix, suffix = t.readTemplate(o)
	default:
		return fmt.Errorf("%s.type: %q is not supported; want TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel or Sequence", at, cut(kind, MaxWord))
	}
	if err := o.done(); err != nil {
		return err
	}
	if len(prefix)+len(suffix) > 0 && len(t.prefix)+len(t.suffix) > 0 {
		return fmt.Errorf("%s: a second post-processor that adds tokens is not supported", at)
	}
	t.prefix, t.suffix = append(t.prefix, prefix...), append(t.suffix, suffix...)
	return nil
}

// readNamed reads ["[CLS]", 101].
func (t *Subwords) readNamed(o *object, key string) int32 {
	o.need(key)
	var both []json.RawMessage
	o.decode(key, &both, "a token and its id")
	var token string
	var id int32
	if o.err == nil && (len(both) != 2 || json.Unmarshal(both[0], &token) != nil || json.Unmarshal(both[1], &id) != nil) {
		o.fail(".%s: want a token and its id", key)
	}
	t.check(o, "."+key, token, id)
	return id
}

// check reports a token that has not the id that o says at a place.
func (t *Subwords) check(o *object, at, token string, id int32) {
	if o.err != nil {
		return
	}
	if want, ok := t.ids[token]; !ok {
		o.fail("%s: %q is not in the vocabulary", at, cut(token, MaxWord))
	} else if id != want {
		o.fail("%s: %q has the id %d, but %d in the vocabulary", at, token, id, want)
	}
}

// readTemplate reads TemplateProcessing: what is before $A in the template of a
// single text, and what is behind it.
func (t *Subwords) readTemplate(o *object) (prefix, suffix []int32) {
	o.need("single")
	o.ignore("pair")
	single, special := o.raw("single"), o.raw("special_tokens")
	if o.err != nil {
		return nil, nil
	}
	ids := make(map[string][]int32)
	if special != nil {
		at := o.at + ".special_tokens"
		o.err = eachField(at, special, func(name string, dec *json.Decoder) error {
			var raw json.RawMessage
			if err := dec.Decode(&raw); err != nil {
				return fmt.Errorf("%s: %w", at, noEOF(err))
			}
			token := newObject(at+"."+cut(name, MaxWord), raw)
			token.ignore("id")
			var numbers []int32
			var tokens []string
			token.need("ids", "tokens")
			token.decode("ids", &numbers, "a list of ids")
			token.decode("tokens", &tokens, "a list of tokens")
			if token.err == nil && (len(numbers) != len(tokens) || len(numbers) > maxSpecial) {
				token.fail(": %d ids and %d tokens; want as many, and at most %d", len(numbers), len(tokens), maxSpecial)
			}
			for i := range numbers {
				if token.err == nil {
					t.check(token, ".ids", tokens[i], numbers[i])
				}
			}
			ids[name] = numbers
			return token.done()
		})
	}
	texts := 0
	at := o.at + ".single"
	if o.err != nil {
		return nil, nil
	}
	o.err = eachItem(at, single, func(i int, dec *json.Decoder) error {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return fmt.Errorf("%s[%d]: %w", at, i, noEOF(err))
		}
		piece := newObject(fmt.Sprintf("%s[%d]", at, i), raw)
		if raw := piece.raw("Sequence"); raw != nil {
			s := newObject(piece.at+".Sequence", raw)
			s.ignore("type_id")
			if id := s.text("id", ""); id != "A" {
				s.fail(".id: %q, want %q", cut(id, MaxWord), "A")
			}
			texts++
			if err := s.done(); err != nil {
				return err
			}
		} else {
			piece.need("SpecialToken")
			if piece.err != nil {
				return piece.err
			}
			s := newObject(piece.at+".SpecialToken", piece.raw("SpecialToken"))
			s.ignore("type_id")
			name := s.text("id", "")
			numbers, ok := ids[name]
			if !ok {
				s.fail(".id: %q is not in special_tokens", cut(name, MaxWord))
			}
			if texts == 0 {
				prefix = append(prefix, numbers...)
			} else {
				suffix = append(suffix, numbers...)
			}
			if len(prefix)+len(suffix) > maxSpecial {
				s.fail(": more than %d special tokens around a text", maxSpecial)
			}
			if err := s.done(); err != nil {
				return err
			}
		}
		return piece.done()
	})
	if texts != 1 {
		o.fail(".single: the text is there %d times, want once", texts)
	}
	return prefix, suffix
}

// readDecoder reads how tokens become text; without one, they are joined with
// blanks.
func (t *Subwords) readDecoder(at string, raw json.RawMessage) error {
	if raw == nil {
		t.decode = func(tokens []string) string { return strings.Join(tokens, " ") }
		return nil
	}
	o := newObject(at, raw)
	o.need("type")
	switch kind := o.text("type", ""); kind {
	case "WordPiece":
		t.decode = decodeWordPiece(o.text("prefix", "##"), o.flag("cleanup", true))
	case "ByteLevel":
		o.ignore("add_prefix_space", "trim_offsets", "use_regex")
		t.decode = decodeBytes
	default:
		o.fail(".type: %q is not supported; want WordPiece or ByteLevel", cut(kind, MaxWord))
	}
	return o.done()
}

// readLengths checks the sections for truncation and padding. Of these only the
// side that is cut, and the padding token, are used.
func (t *Subwords) readLengths(truncationAt string, truncation json.RawMessage, paddingAt string, padding json.RawMessage) error {
	if truncation != nil {
		o := newObject(truncationAt, truncation)
		o.ignore("max_length", "strategy", "stride")
		switch side := o.text("direction", "Right"); side {
		case "Right":
		case "Left":
			t.left = true
		default:
			o.fail(".direction: %q, want Left or Right", cut(side, MaxWord))
		}
		if err := o.done(); err != nil {
			return err
		}
	}
	if padding != nil {
		o := newObject(paddingAt, padding)
		o.ignore("strategy", "direction", "pad_to_multiple_of", "pad_type_id")
		o.need("pad_id", "pad_token")
		id := o.number("pad_id", -1)
		token := o.text("pad_token", "")
		if o.err == nil {
			want, ok := t.ids[token]
			if !ok || int(want) != id {
				o.fail(": %q has not the id %d in the vocabulary", cut(token, MaxWord), id)
			}
			t.roles.Pad = want
		}
		return o.done()
	}
	if _, ok := t.model.(*wordPiece); ok {
		if id, ok := t.ids["[PAD]"]; ok {
			t.roles.Pad = id
		}
	}
	return nil
}
