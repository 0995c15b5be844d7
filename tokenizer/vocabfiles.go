package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// settingsFiles is what tokenizer_config.json and special_tokens_map.json say.
type settingsFiles struct {
	config *object               // tokenizer_config.json; without keys where there is none
	named  map[string]addedToken // "pad_token" …
	extra  []addedToken          // additional_special_tokens; without ids
}

// roleNames are the keys of special tokens, in the order in which transformers
// adds them: of equal tokens the last one's flags count.
var roleNames = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

// readSettings reads the settings of a tokenizer, as far as they are there.
// Keys that have nothing to do with ids are not looked at.
func readSettings(files map[string][]byte) (*settingsFiles, error) {
	s := &settingsFiles{config: newObject(fileConfig, []byte("{}")), named: make(map[string]addedToken)}
	for _, name := range []string{fileConfig, fileSpecial} {
		data, ok := files[name]
		if !ok {
			continue
		}
		o := newObject(name, data)
		if o.err != nil {
			return nil, o.err
		}
		if name == fileConfig {
			s.config = o
		}
		for _, role := range roleNames {
			if _, ok := s.named[role]; ok {
				continue
			}
			if raw := o.raw(role); raw != nil {
				token, err := readRole(name+"."+role, raw)
				if err != nil {
					return nil, err
				}
				s.named[role] = token
			}
		}
		if raw := o.raw("additional_special_tokens"); raw != nil && s.extra == nil {
			at := name + ".additional_special_tokens"
			err := eachItem(at, raw, func(i int, dec *json.Decoder) error {
				var raw json.RawMessage
				if err := dec.Decode(&raw); err != nil {
					return fmt.Errorf("%s[%d]: %w", at, i, noEOF(err))
				}
				token, err := readRole(fmt.Sprintf("%s[%d]", at, i), raw)
				s.extra = append(s.extra, token)
				return err
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// readRole reads a special token: a string, or an object with its flags.
func readRole(at string, raw json.RawMessage) (addedToken, error) {
	token := addedToken{at: at, special: true}
	if json.Unmarshal(raw, &token.content) == nil {
		if token.content == "" {
			return token, fmt.Errorf("%s: empty", at)
		}
		return token, nil
	}
	o := newObject(at, raw)
	if o.err != nil {
		return token, fmt.Errorf("%s: %s, want a string or an object", at, kind(raw))
	}
	o.ignore("__type")
	token = readAdded(o, 0, true)
	token.special = true
	return token, o.done()
}

// readBERT reads vocab.txt, a token on each line, in the order of the ids.
func (t *Subwords) readBERT(files map[string][]byte, s *settingsFiles) error {
	tokens := lines(files[fileVocabTxt])
	if len(tokens) > MaxTokens {
		return fmt.Errorf("%s: %d tokens, at most %d are allowed", fileVocabTxt, len(tokens), MaxTokens)
	}
	for i, token := range tokens {
		if err := t.add(token, i); err != nil {
			return fmt.Errorf("%s:%d: %w", fileVocabTxt, i+1, err)
		}
	}
	if len(t.tokens) == 0 {
		return fmt.Errorf("%s: empty", fileVocabTxt)
	}
	c := s.config
	if !c.flag("do_basic_tokenize", true) {
		c.fail(".do_basic_tokenize: false is not supported")
	}
	var never []string
	if c.decode("never_split", &never, "a list of strings"); len(never) > 0 {
		c.fail(".never_split: not supported; want null")
	}
	n := bertNormalizer{clean: true, chinese: true, accents: true, lower: true}
	n.override(c)
	if c.err != nil {
		return c.err
	}
	for role, token := range map[string]string{"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"} {
		_, named := s.named[role]
		if _, known := t.ids[token]; !named && (known || role != "pad_token" && role != "mask_token") {
			s.named[role] = addedToken{at: fileVocabTxt, content: token, special: true}
		}
	}
	if err := t.setWordPiece(fileVocabTxt, s.named["unk_token"].content, "##", 100); err != nil {
		return err
	}
	t.normalize = []func(string) string{n.normalize}
	t.split = []splitter{splitBERT}
	t.decode = decodeWordPiece("##", true)
	if err := t.addNamed(files, s); err != nil {
		return err
	}
	return t.surround(s, "cls_token", "sep_token")
}

// surround makes EncodeSpecial put two named tokens around a text.
func (t *Subwords) surround(s *settingsFiles, begin, end string) error {
	for _, side := range []struct {
		role string
		ids  *[]int32
	}{{begin, &t.prefix}, {end, &t.suffix}} {
		token := s.named[side.role]
		id, err := t.id(token.at+": "+side.role, token.content)
		if err != nil {
			return err
		}
		*side.ids = []int32{id}
	}
	return nil
}

// readBPE reads vocab.json and merges.txt. tokenizer_config.json says whose
// they are; without it, CLIP's are told by their end-of-word marks.
func (t *Subwords) readBPE(files map[string][]byte, s *settingsFiles) error {
	if err := t.readVocabulary(fileVocabJSON, files[fileVocabJSON]); err != nil {
		return err
	}
	var pairs [][2]string
	for i, line := range lines(files[fileMerges]) {
		if i == 0 && strings.HasPrefix(line, "#version") || strings.TrimSpace(line) == "" {
			continue
		}
		p, ok := splitMerge(line)
		if !ok {
			return fmt.Errorf("%s:%d: %q, want two tokens and a blank between", fileMerges, i+1, cut(line, MaxWord))
		}
		if len(pairs) >= MaxTokens {
			return fmt.Errorf("%s: more than %d merges", fileMerges, MaxTokens)
		}
		pairs = append(pairs, p)
	}
	class := s.config.text("tokenizer_class", "")
	if s.config.err != nil {
		return s.config.err
	}
	if _, ok := t.ids["a</w>"]; ok && class == "" {
		class = "CLIPTokenizer"
	}
	switch strings.TrimSuffix(class, "Fast") {
	case "CLIPTokenizer":
		for _, role := range []struct{ name, token string }{
			{"bos_token", "<|startoftext|>"}, {"eos_token", "<|endoftext|>"}, {"unk_token", "<|endoftext|>"}, {"pad_token", "<|endoftext|>"},
		} {
			if _, ok := s.named[role.name]; !ok {
				s.named[role.name] = addedToken{at: fileVocabJSON, content: role.token, special: true}
			}
		}
		if err := t.setBPE(fileVocabJSON, bpe{suffix: "</w>"}, s.named["unk_token"].content, pairs); err != nil {
			return err
		}
		t.normalize = []func(string) string{nfc, collapse(" "), lowercase}
		t.split = []splitter{splitPattern(scanCLIP, true, false), splitBytes(false, true)}
		t.decode = decodeBytes
		if err := t.addNamed(files, s); err != nil {
			return err
		}
		return t.surround(s, "bos_token", "eos_token")
	case "Qwen2Tokenizer":
		if err := t.setBPE(fileVocabJSON, bpe{}, "", pairs); err != nil {
			return err
		}
		t.normalize = []func(string) string{nfc}
		t.split = []splitter{splitPattern(scanQwen2, true, true), splitBytes(false, false)}
		t.decode = decodeBytes
		return t.addNamed(files, s)
	case "":
		return fmt.Errorf("%s.tokenizer_class is missing: %s and %s do not say how text is split; want CLIPTokenizer or Qwen2Tokenizer",
			fileConfig, fileVocabJSON, fileMerges)
	}
	return fmt.Errorf("%s.tokenizer_class: %q is not supported with %s and %s; want CLIPTokenizer or Qwen2Tokenizer",
		fileConfig, cut(class, MaxWord), fileVocabJSON, fileMerges)
}

// addNamed adds the tokens that files beside a vocabulary name: those of
// added_tokens_decoder in tokenizer_config.json; without it, those of
// added_tokens.json and the special tokens.
func (t *Subwords) addNamed(files map[string][]byte, s *settingsFiles) error {
	var added []addedToken
	if raw := s.config.raw("added_tokens_decoder"); raw != nil {
		at := fileConfig + ".added_tokens_decoder"
		err := eachField(at, raw, func(key string, dec *json.Decoder) error {
			var raw json.RawMessage
			if err := dec.Decode(&raw); err != nil {
				return fmt.Errorf("%s: %w", at, noEOF(err))
			}
			id, err := strconv.Atoi(key)
			if err != nil {
				return fmt.Errorf("%s: the key %q, want an id", at, cut(key, MaxWord))
			}
			o := newObject(at+"."+key, raw)
			o.ignore("__type")
			o.need("content")
			added = append(added, readAdded(o, id, true))
			return o.done()
		})
		if err != nil {
			return err
		}
		return t.setAdded(byID(added))
	}
	place := make(map[string]int) // in added
	put := func(a addedToken) {
		if i, ok := place[a.content]; ok {
			a.id = added[i].id
			added[i] = a
			return
		}
		place[a.content] = len(added)
		added = append(added, a)
	}
	if data, ok := files[fileAdded]; ok {
		err := eachField(fileAdded, data, func(token string, dec *json.Decoder) error {
			var id int
			if err := dec.Decode(&id); err != nil || id < 0 || id >= MaxTokens {
				return fmt.Errorf("%s: %q: want an id from 0 to %d", fileAdded, cut(token, MaxWord), MaxTokens-1)
			}
			if _, ok := place[token]; ok || token == "" {
				return fmt.Errorf("%s: %q is empty or there twice", fileAdded, cut(token, MaxWord))
			}
			put(addedToken{at: fileAdded, content: token, id: int32(id)})
			return nil
		})
		if err != nil {
			return err
		}
	}
	named := slices.Clone(s.extra)
	for _, role := range roleNames {
		if token, ok := s.named[role]; ok {
			named = append(named, token)
		}
	}
	for _, token := range named {
		if _, ok := place[token.content]; !ok {
			id, err := t.id(token.at, token.content)
			if err != nil {
				return err
			}
			token.id = id
		}
		put(token)
	}
	return t.setAdded(byID(added))
}

// byID sorts added tokens by their ids.
func byID(added []addedToken) []addedToken {
	slices.SortStableFunc(added, func(a, b addedToken) int { return int(a.id) - int(b.id) })
	return added
}
