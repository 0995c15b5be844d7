package tokenizer

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goldenCase is a text with what the published tokenizer makes of it.
type goldenCase struct {
	Text               string
	IDs                []int32 `json:"ids"`
	Tokens             []string
	IDsNoSpecial       []int32 `json:"ids_no_special"`
	IDsTrunc77         []int32 `json:"ids_trunc_77"`
	IDsTrunc256        []int32 `json:"ids_trunc_256"`
	Decoded            *string
	DecodedSkipSpecial *string `json:"decoded_skip_special"`
}

type golden struct {
	VocabularySHA256 map[string]string `json:"vocabulary_sha256"`
	VocabSize        int               `json:"vocab_size"`
	Size             int
	Cases            []goldenCase
}

func readGolden(t *testing.T, path string) golden {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Cases) < 50 {
		t.Fatalf("%s: %d cases", path, len(g.Cases))
	}
	return g
}

// checkGolden holds a tokenizer against every case.
func checkGolden(t *testing.T, tok *Subwords, g golden) {
	t.Helper()
	if want := max(g.Size, g.VocabSize); want > 0 && tok.Size() != want {
		t.Errorf("Size %d, want %d", tok.Size(), want)
	}
	for _, c := range g.Cases {
		name := cut(c.Text, 60)
		if got := tok.Encode(c.Text); c.IDsNoSpecial != nil && !slices.Equal(got, c.IDsNoSpecial) {
			t.Errorf("%q: Encode\n got %d\nwant %d", name, got, c.IDsNoSpecial)
		}
		if got := tok.EncodeSpecial(c.Text, 0); !slices.Equal(got, c.IDs) {
			t.Errorf("%q: EncodeSpecial\n got %d\nwant %d", name, got, c.IDs)
		}
		if c.IDsTrunc77 != nil {
			if got := tok.EncodeSpecial(c.Text, 77); !slices.Equal(got, c.IDsTrunc77) {
				t.Errorf("%q: EncodeSpecial, at most 77\n got %d\nwant %d", name, got, c.IDsTrunc77)
			}
		}
		if c.IDsTrunc256 != nil {
			if got := tok.EncodeSpecial(strings.TrimSpace(c.Text), 256); !slices.Equal(got, c.IDsTrunc256) {
				t.Errorf("%q: EncodeSpecial, at most 256\n got %d\nwant %d", name, got, c.IDsTrunc256)
			}
		}
		for i := range c.Tokens {
			id := c.IDs[i]
			if got := tok.Token(id); got != c.Tokens[i] {
				t.Errorf("%q: Token(%d) = %q, want %q", name, id, got, c.Tokens[i])
			}
		}
		if got := tok.Decode(c.IDs, false); c.Decoded != nil && got != *c.Decoded {
			t.Errorf("%q: Decode\n got %q\nwant %q", name, got, *c.Decoded)
		}
		if got := tok.Decode(c.IDs, true); c.DecodedSkipSpecial != nil && got != *c.DecodedSkipSpecial {
			t.Errorf("%q: Decode without special tokens\n got %q\nwant %q", name, got, *c.DecodedSkipSpecial)
		}
	}
}

// folder reads the files of a folder.
func folder(t testing.TB, path string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(path, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = data
	}
	return files
}

func open(t testing.TB, files map[string][]byte) *Subwords {
	t.Helper()
	tok, err := Open(files)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

var fixtures = []string{"bert_wordpiece", "clip_bpe", "qwen2_bpe"}

func TestGolden(t *testing.T) {
	roles := map[string]Special{
		"bert_wordpiece": {Pad: 0, Begin: 6, End: 7, Unknown: 5},
		"clip_bpe":       {Pad: 833, Begin: 832, End: 833, Unknown: 833},
		"qwen2_bpe":      {Pad: 636, Begin: Unknown, End: 638, Unknown: Unknown},
	}
	for _, name := range fixtures {
		dir := filepath.Join("testdata", name)
		g := readGolden(t, filepath.Join(dir, "golden.json"))
		t.Run(name+"/tokenizer.json", func(t *testing.T) {
			tok, err := OpenFolder(dir)
			if err != nil {
				t.Fatal(err)
			}
			checkGolden(t, tok, g)
			if got := tok.Special(); got != roles[name] {
				t.Errorf("Special %+v, want %+v", got, roles[name])
			}
		})
		// The files of before tokenizer.json say the same.
		t.Run(name+"/vocab", func(t *testing.T) {
			files := folder(t, dir)
			delete(files, "tokenizer.json")
			tok := open(t, files)
			checkGolden(t, tok, g)
			if got := tok.Special(); got != roles[name] {
				t.Errorf("Special %+v, want %+v", got, roles[name])
			}
		})
		t.Run(name+"/saved", func(t *testing.T) {
			tok := open(t, folder(t, dir))
			again := open(t, tok.Files())
			checkGolden(t, again, g)
			if tok.Fingerprint() != again.Fingerprint() || len(tok.Fingerprint()) != 64 {
				t.Errorf("fingerprints %s and %s", tok.Fingerprint(), again.Fingerprint())
			}
			if _, ok := tok.Files()["golden.json"]; ok {
				t.Error("Files has what is no part of the tokenizer")
			}
			files := tok.Files()
			files["tokenizer_config.json"] = []byte("{ }")
			if other := open(t, files); other.Fingerprint() == tok.Fingerprint() {
				t.Error("other settings have the same fingerprint")
			}
		})
	}
}

// published finds the folder of published vocabularies, which are not part of
// the project: users get them with the checkpoints.
func published(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("RELSIM_VOCAB")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "vocab")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("NOT RUN: the published vocabularies of BERT, CLIP and Qwen2 are missing: neither RELSIM_VOCAB nor ../shared/vocab beside the repository has them")
	}
	return dir
}

func TestPublishedVocabularies(t *testing.T) {
	dir := published(t)
	read := func(t *testing.T, g golden, name string) []byte {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		if want, ok := g.VocabularySHA256[name]; ok && hex.EncodeToString(sum[:]) != want {
			t.Fatalf("%s: SHA-256 %x, want %s", name, sum, want)
		}
		return data
	}
	t.Run("bert", func(t *testing.T) {
		g := readGolden(t, "testdata/real_vocab/bert.json")
		tok := open(t, map[string][]byte{"vocab.txt": read(t, g, "bert/vocab.txt")})
		checkGolden(t, tok, g)
	})
	t.Run("clip", func(t *testing.T) {
		g := readGolden(t, "testdata/real_vocab/clip.json")
		vocab, merges := clipVocabulary(t, read(t, g, "clip/bpe_simple_vocab_16e6.txt.gz"))
		tok := open(t, map[string][]byte{"vocab.json": vocab, "merges.txt": merges})
		checkGolden(t, tok, g)
	})
	t.Run("qwen2", func(t *testing.T) {
		g := readGolden(t, "testdata/real_vocab/qwen2.json")
		var config map[string]any
		if err := json.Unmarshal(read(t, g, "qwen2/tokenizer_config.json"), &config); err != nil {
			t.Fatal(err)
		}
		config["added_tokens_decoder"].(map[string]any)["151665"] = map[string]any{"content": "<|query|>", "special": true, "normalized": false}
		data, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		tok := open(t, map[string][]byte{
			"vocab.json": read(t, g, "qwen2/vocab.json"), "merges.txt": read(t, g, "qwen2/merges.txt"), "tokenizer_config.json": data,
		})
		checkGolden(t, tok, g)
	})
}

// clipVocabulary makes vocab.json and merges.txt of the file that CLIP's own
// code reads: byte symbols, the same at the end of a word, 48,894 merges, and
// two special tokens.
func clipVocabulary(t *testing.T, data []byte) (vocab, merges []byte) {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	learnt := strings.Split(string(text), "\n")[1:48895]
	ids := make(map[string]int)
	add := func(token string) { ids[token] = len(ids) }
	for _, suffix := range []string{"", "</w>"} {
		for _, printable := range []bool{true, false} {
			for b := range 256 {
				if r := byteRunes[b]; (r < 256) == printable {
					add(string(r) + suffix)
				}
			}
		}
	}
	for _, line := range learnt {
		add(strings.Replace(line, " ", "", 1))
	}
	add("<|startoftext|>")
	add("<|endoftext|>")
	vocab, err = json.Marshal(ids)
	if err != nil {
		t.Fatal(err)
	}
	return vocab, fmt.Appendf(nil, "#version: 0.2\n%s\n", strings.Join(learnt, "\n"))
}
