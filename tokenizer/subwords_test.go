package tokenizer

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/bits"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/unicode/rangetable"
)

// Small tokenizers of each kind, for what the fixtures do not show.
const (
	tinyBERT = `{"version":"1.0","truncation":null,"padding":null,
"added_tokens":[{"id":0,"content":"[UNK]","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true},
"pre_tokenizer":{"type":"BertPreTokenizer"},
"post_processor":{"type":"BertProcessing","sep":["[SEP]",2],"cls":["[CLS]",1]},
"decoder":{"type":"WordPiece","prefix":"##","cleanup":true},
"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,
"vocab":{"[UNK]":0,"[CLS]":1,"[SEP]":2,"a":3,"##b":4,"##bc":5,"##":6,"ab":7}}}`
	tinyBPE = `{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],
"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Replace","pattern":{"Regex":"\\s+"},"content":" "},{"type":"Lowercase"}]},
"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"},"behavior":"Removed","invert":true},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true}]},
"post_processor":{"type":"RobertaProcessing","sep":["<e>",0],"cls":["<s>",1],"trim_offsets":false,"add_prefix_space":false},
"decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},
"model":{"type":"BPE","dropout":null,"unk_token":"<e>","continuing_subword_prefix":"","end_of_word_suffix":"</w>","fuse_unk":false,
"vocab":{"<e>":0,"<s>":1,"a":2,"b":3,"a</w>":4,"b</w>":5,"ab":6,"ab</w>":7,"aba":8},
"merges":["a b",["a","b</w>"],["ab","a"]]}}`
)

func openJSON(t testing.TB, text string) *Subwords {
	t.Helper()
	return open(t, map[string][]byte{"tokenizer.json": []byte(text)})
}

// change returns text with one piece of it replaced, which has to be there.
func change(t *testing.T, text, from, to string) string {
	t.Helper()
	if !strings.Contains(text, from) {
		t.Fatalf("%q is not in the file", from)
	}
	return strings.Replace(text, from, to, 1)
}

func TestWordPiece(t *testing.T) {
	tok := openJSON(t, tinyBERT)
	for _, tt := range []struct {
		text string
		want []int32
	}{
		{"a", []int32{3}},
		{"abc", []int32{0}}, // ab is the longest, and nothing has c
		{"abbc", []int32{7, 5}},
		{"ab bc", []int32{7, 0}},
		{"##", []int32{0, 0}}, // punctuation, each alone
		{"abab", []int32{0}},  // there is no ##a
		{"[UNK]a", []int32{0, 3}},
		// Private use is dropped at the ends of its areas only; what came after
		// Unicode 8.0 is neither a mark, a format character nor punctuation.
		{"a\uf8ffb", []int32{7}}, {"a\ue001b", []int32{0}},
		{"a\u0301b", []int32{7}}, {"a\U00011a01b", []int32{0}},
		{"a\u061cb", []int32{7}}, {"a\u08e2b", []int32{0}},
		{"a\u2e40", []int32{3, 0}}, {"a\u2e44", []int32{0}},
	} {
		if got := tok.Encode(tt.text); !slices.Equal(got, tt.want) {
			t.Errorf("Encode(%q) = %d, want %d", tt.text, got, tt.want)
		}
	}
	long := "a" + strings.Repeat("b", 99)
	if got := tok.Encode(long); len(got) != 99 || got[0] != 7 {
		t.Errorf("a word of 100 characters: %d", got)
	}
	if got := tok.Encode(long + "b"); !slices.Equal(got, []int32{0}) {
		t.Errorf("a word of 101 characters: %d", got)
	}
}

func TestEncodeSpecialBounds(t *testing.T) {
	tok := openJSON(t, tinyBERT)
	for _, tt := range []struct {
		max  int
		want []int32
	}{
		{0, []int32{1, 3, 7, 3, 2}}, {-1, []int32{1, 3, 7, 3, 2}}, {5, []int32{1, 3, 7, 3, 2}}, {9, []int32{1, 3, 7, 3, 2}},
		{4, []int32{1, 3, 7, 2}}, {3, []int32{1, 3, 2}}, {2, []int32{1, 2}}, {1, []int32{2}},
	} {
		if got := tok.EncodeSpecial("a ab a", tt.max); !slices.Equal(got, tt.want) {
			t.Errorf("at most %d: %d, want %d", tt.max, got, tt.want)
		}
	}
	left := openJSON(t, change(t, tinyBERT, `"truncation":null`, `"truncation":{"direction":"Left","max_length":128,"strategy":"LongestFirst","stride":0}`))
	if got, want := left.EncodeSpecial("a ab a", 4), []int32{1, 7, 3, 2}; !slices.Equal(got, want) {
		t.Errorf("cut on the left: %d, want %d", got, want)
	}
	none := openJSON(t, change(t, tinyBERT, `{"type":"BertProcessing","sep":["[SEP]",2],"cls":["[CLS]",1]}`, "null"))
	if got, want := none.EncodeSpecial("a ab a", 2), []int32{3, 7}; !slices.Equal(got, want) {
		t.Errorf("without special tokens: %d, want %d", got, want)
	}
}

// TestSettings: what the fixtures leave at its default.
func TestSettings(t *testing.T) {
	vocab := []byte("[UNK]\n[CLS]\n[SEP]\nA\na\né\ne\n中\n##中\r\n国中\n")
	for _, tt := range []struct {
		config, text string
		want         []int32
	}{
		{`{}`, "A é 中中", []int32{4, 6, 7, 7}},
		{`{"do_lower_case":false}`, "A é 中中", []int32{3, 5, 7, 7}},
		{`{"do_lower_case":true}`, "A é 中中", []int32{4, 6, 7, 7}},
		{`{"do_lower_case":true,"strip_accents":null}`, "A é 中中", []int32{4, 6, 7, 7}},
		{`{"strip_accents":false}`, "A É", []int32{4, 5}},
		{`{"do_lower_case":false,"strip_accents":true}`, "A é", []int32{3, 6}},
		{`{"tokenize_chinese_chars":false}`, "中中 国中", []int32{7, 8, 9}},
		{`{"unk_token":"e"}`, "zz", []int32{6}},
	} {
		tok := open(t, map[string][]byte{"vocab.txt": vocab, "tokenizer_config.json": []byte(tt.config)})
		if got := tok.Encode(tt.text); !slices.Equal(got, tt.want) {
			t.Errorf("%s: Encode(%q) = %d, want %d", tt.config, tt.text, got, tt.want)
		}
		// What tokenizer.json says does not count where the settings say something.
		cased := change(t, change(t, tinyBERT, `"[UNK]":0,"[CLS]":1,"[SEP]":2,"a":3,"##b":4,"##bc":5,"##":6,"ab":7`,
			`"[UNK]":0,"[CLS]":1,"[SEP]":2,"A":3,"a":4,"é":5,"e":6,"中":7,"##中":8,"国中":9`), `"strip_accents":null`, `"strip_accents":true`)
		if strings.Contains(tt.config, "unk_token") {
			cased = change(t, cased, `"unk_token":"[UNK]"`, `"unk_token":"e"`)
		}
		tok = open(t, map[string][]byte{"tokenizer.json": []byte(cased), "tokenizer_config.json": []byte(tt.config)})
		if got := tok.Encode(tt.text); !slices.Equal(got, tt.want) {
			t.Errorf("tokenizer.json, %s: Encode(%q) = %d, want %d", tt.config, tt.text, got, tt.want)
		}
	}
}

// TestAddedTokens follows the rules of the published code for the flags.
func TestAddedTokens(t *testing.T) {
	added := func(flags string) *Subwords {
		return openJSON(t, change(t, tinyBERT, `"added_tokens":[`, `"added_tokens":[{"id":8,"content":"<A>"`+flags+`},{"id":9,"content":"<A><A>","normalized":false},`))
	}
	for _, tt := range []struct {
		flags, text string
		want        []int32
	}{
		{`,"normalized":false`, "a<A>a", []int32{3, 8, 3}},
		{`,"normalized":false`, "a<A><A><A>", []int32{3, 9, 8}}, // the longest
		{`,"normalized":false`, "<a>", []int32{0, 3, 0}},
		{`,"normalized":true`, "a<a>a<A>", []int32{3, 8, 3, 8}},
		{`,"normalized":false,"single_word":true`, "a<A> <A>a <A> (<A>)", []int32{3, 0, 3, 0, 0, 3, 0, 3, 8, 0, 8, 0}},
	} {
		tok := added(tt.flags)
		if got := tok.Encode(tt.text); !slices.Equal(got, tt.want) {
			t.Errorf("%s: Encode(%q) = %d, want %d", tt.flags, tt.text, got, tt.want)
		}
		if tok.Size() != 10 || tok.Token(8) != "<A>" {
			t.Errorf("%s: %d ids, the last but one %q", tt.flags, tok.Size(), tok.Token(8))
		}
	}
	// White space goes with the token: it is seen where blanks are kept.
	gpt := func(flags string) *Subwords {
		return openJSON(t, `{"version":"1.0","added_tokens":[{"id":2,"content":"<A>","normalized":false`+flags+`}],
			"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":true},"model":{"vocab":{"a":0,"Ġ":1},"merges":[]}}`)
	}
	for flags, want := range map[string][]int32{
		``:                                   {0, 1, 1, 2, 1, 0},
		`,"lstrip":true`:                     {0, 2, 1, 0},
		`,"rstrip":true`:                     {0, 1, 1, 2, 0},
		`,"lstrip":true,"rstrip":true`:       {0, 2, 0},
		`,"single_word":true,"special":true`: {0, 1, 1, 2, 1, 0},
	} {
		if got := gpt(flags).Encode("a  <A> a"); !slices.Equal(got, want) {
			t.Errorf("%s: %d, want %d", flags, got, want)
		}
	}
}

func TestBPE(t *testing.T) {
	tok := openJSON(t, tinyBPE)
	for _, tt := range []struct {
		text string
		want []int32
	}{
		{"a", []int32{4}}, {"ab", []int32{7}}, {"AB  ab", []int32{7, 7}}, {"aba", []int32{6, 4}},
		{"abab", []int32{6, 7}},   // "a b" joins the first two, ["a","b</w>"] the last two; ["ab","a"] finds no a
		{"aab", []int32{2, 7}},    // "a b" does not join the end of a word
		{"azb", []int32{2, 0, 5}}, // z is unknown
		{"zz", []int32{0, 0}},     // each
		{"<e>", []int32{0, 0, 0}}, // not an added token here: < is unknown, e too, > too
		{"", []int32{}}, {" \n", []int32{}},
	} {
		if got := tok.Encode(tt.text); !slices.Equal(got, tt.want) {
			t.Errorf("Encode(%q) = %d, want %d", tt.text, got, tt.want)
		}
	}
	fused := openJSON(t, change(t, tinyBPE, `"fuse_unk":false`, `"fuse_unk":true`))
	if got, want := fused.Encode("azzb zz"), []int32{2, 0, 5, 0}; !slices.Equal(got, want) {
		t.Errorf("fused: %d, want %d", got, want)
	}
	dropped := openJSON(t, change(t, tinyBPE, `"unk_token":"<e>"`, `"unk_token":null`))
	if got, want := dropped.Encode("azzb zz"), []int32{7}; !slices.Equal(got, want) {
		t.Errorf("without an unknown token: %d, want %d", got, want)
	}
	whole := openJSON(t, change(t, tinyBPE, `"fuse_unk":false`, `"fuse_unk":false,"ignore_merges":true`))
	if got, want := whole.Encode("aba"), []int32{8}; !slices.Equal(got, want) {
		t.Errorf("ignore_merges: %d, want %d", got, want)
	}
}

func TestInvalidText(t *testing.T) {
	for _, name := range fixtures {
		tok := open(t, folder(t, filepath.Join("testdata", name)))
		for _, tt := range []struct{ text, same string }{
			{"a\xffb", "a\ufffdb"}, {"\xe2\x82", "\ufffd\ufffd"}, {"\xed\xa0\x80", "\ufffd\ufffd\ufffd"},
		} {
			if got, want := tok.Encode(tt.text), tok.Encode(tt.same); !slices.Equal(got, want) {
				t.Errorf("%s: %q is %d, %q %d", name, tt.text, got, tt.same, want)
			}
		}
	}
	tok := openJSON(t, tinyBERT)
	long := strings.Repeat("[UNK]", MaxInput/5+2)
	if got, want := len(tok.Encode(long)), MaxInput/5+2; got != want { // "[" and "unk" of the last
		t.Errorf("%d ids of a text that is too long, want %d", got, want)
	}
}

// TestLinear counts the steps of encoding lines of 1 MB that are one word, and
// others that are hard in some way: at most n log n, and for twice the text
// about twice as many.
func TestLinear(t *testing.T) {
	lines := map[string]string{
		"one letter":  "a",
		"letters":     "thequickbrownfoxjumpsoverthelazydog",
		"a merge":     "in",
		"marks":       "e\u0301\u0323",
		"only marks":  "\u0301\u0323",
		"ideographs":  "日本の写真",
		"digits":      "0123456789",
		"punctuation": "#!?",
		"blanks":      " ",
		"lines":       "\n ",
		"apostrophes": "'s",
		"special":     "<|im_start|",
		"brackets":    "[CLS",
		"emoji":       "👩\u200d",
		"not UTF-8":   "\xff",
	}
	const short, long = 1 << 14, 1 << 20
	for _, name := range fixtures {
		tok := open(t, folder(t, filepath.Join("testdata", name)))
		for what, unit := range lines {
			count := func(n int) int {
				_, steps := tok.encode(strings.Repeat(unit, n/len(unit)), -1)
				return steps
			}
			limit := func(n int) int { return 16 * n * bits.Len(uint(n)) }
			few := count(short)
			if few > limit(short) {
				t.Errorf("%s: %s: %d steps for %d bytes", name, what, few, short)
			}
			if double := count(2 * short); double > 5*few/2+short {
				t.Errorf("%s: %s: %d steps for %d bytes, %d for twice as many", name, what, few, short, double)
			}
			if what != "letters" && what != "a merge" && what != "only marks" {
				continue // a second each with the race detector
			}
			if many := count(long); many > limit(long) {
				t.Errorf("%s: %s: %d steps for %d bytes", name, what, many, long)
			}
		}
	}
}

// TestLinearStrip: tokens that are white space themselves, and take white space
// along, do not look at it again and again.
func TestLinearStrip(t *testing.T) {
	tok := openJSON(t, `{"added_tokens":[{"id":1,"content":" ","lstrip":true,"rstrip":true,"normalized":false}],"model":{"vocab":{"a":0},"merges":[]}}`)
	const n = 1 << 16
	ids, steps := tok.encode(strings.Repeat(" ", n)+"a", -1)
	if want := append(slices.Repeat([]int32{1}, n), 0); !slices.Equal(ids, want) {
		t.Errorf("%d ids, want %d", len(ids), len(want))
	}
	if steps > 10*n {
		t.Errorf("%d steps for %d bytes", steps, n)
	}
}

// TestConcurrent: one tokenizer serves many goroutines.
func TestConcurrent(t *testing.T) {
	for _, name := range fixtures {
		g := readGolden(t, filepath.Join("testdata", name, "golden.json"))
		tok := open(t, folder(t, filepath.Join("testdata", name)))
		var wait sync.WaitGroup
		for range 4 {
			wait.Go(func() {
				for _, c := range g.Cases {
					if got := tok.EncodeSpecial(c.Text, 0); !slices.Equal(got, c.IDs) {
						t.Errorf("%s: %q: %d, want %d", name, c.Text, got, c.IDs)
					}
				}
			})
		}
		wait.Wait()
	}
}

func TestOpenFolderMissing(t *testing.T) {
	write := func(names ...string) string {
		dir := t.TempDir()
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	file := filepath.Join(write("x"), "x")
	pipe := t.TempDir()
	if err := os.Mkdir(filepath.Join(pipe, "tokenizer.json"), 0o777); err != nil {
		t.Fatal(err)
	}
	large := t.TempDir()
	if err := os.WriteFile(filepath.Join(large, "vocab.json"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(large, "vocab.json"), 200<<20); err != nil { // as ten million tokens take
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, dir, want string }{
		{"no folder", filepath.Join(t.TempDir(), "none"), "no such file"},
		{"a file", file, "not a folder"},
		{"nothing", write(), "want tokenizer.json, or vocab.txt (BERT), or vocab.json and merges.txt (CLIP, Qwen2)"},
		{"no merges", write("vocab.json"), "vocab.json is there, but merges.txt or tokenizer.json is missing"},
		{"no vocabulary", write("merges.txt"), "merges.txt is there, but vocab.json or tokenizer.json is missing"},
		{"not a file", pipe, "tokenizer.json: not a regular file"},
		{"too large", large, "vocab.json: 209715200 bytes, at most 33554432 are allowed"},
	} {
		_, err := OpenFolder(tt.dir)
		if err == nil || !strings.HasPrefix(err.Error(), "tokenizer: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v does not name %q", tt.name, err, tt.want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	bert := func(from, to string) map[string][]byte {
		return map[string][]byte{"tokenizer.json": []byte(change(t, tinyBERT, from, to))}
	}
	bpe := func(from, to string) map[string][]byte {
		return map[string][]byte{"tokenizer.json": []byte(change(t, tinyBPE, from, to))}
	}
	file := func(name, text string) map[string][]byte {
		return map[string][]byte{name: []byte(text)}
	}
	with := func(files map[string][]byte, name, text string) map[string][]byte {
		files = maps.Clone(files)
		files[name] = []byte(text)
		return files
	}
	nested := func(n int) string {
		return strings.Repeat(`{"type":"Sequence","normalizers":[`, n) + `{"type":"NFC"}` + strings.Repeat("]}", n)
	}
	const bertNormal = `{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true}`
	const bertPre = `{"type":"BertPreTokenizer"}`
	const bertPost = `{"type":"BertProcessing","sep":["[SEP]",2],"cls":["[CLS]",1]}`
	txt := file("vocab.txt", "[UNK]\n[CLS]\n[SEP]\na\n")
	pairs := map[string][]byte{"vocab.json": []byte(`{"a":0,"b":1,"ab":2}`), "merges.txt": []byte("#version: 0.2\na b\n"), "tokenizer_config.json": []byte(`{"tokenizer_class":"Qwen2Tokenizer"}`)}
	if _, err := Open(pairs); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(txt); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(bert(bertNormal, nested(8))); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		files map[string][]byte
		want  string
	}{
		{"empty", file("tokenizer.json", ""), "unexpected EOF"},
		{"not JSON", file("tokenizer.json", "tokens"), "invalid character"},
		{"a list", file("tokenizer.json", "[]"), "a list, want an object"},
		{"truncated", file("tokenizer.json", tinyBERT[:len(tinyBERT)-3]), "unexpected EOF"},
		{"data behind", file("tokenizer.json", tinyBERT+"{}"), "data behind"},
		{"no model", file("tokenizer.json", `{"version":"1.0"}`), `"model" is missing`},
		{"null model", file("tokenizer.json", `{"model":null}`), "tokenizer.json.model: null"},
		{"key twice", bert(`"version":"1.0"`, `"version":"1.0","version":"1.0"`), `"version" is there twice`},
		{"unknown key", bert(`"version":"1.0"`, `"version":"1.0","x":1`), `"x" is not known`},
		{"version", bert(`"version":"1.0"`, `"version":"2.0"`), `"2.0", want "1.0"`},
		{"other model", bert(`"type":"WordPiece","unk`, `"type":"Unigram","unk`), `model.type: "Unigram" is not supported`},
		{"id twice", bert(`"ab":7`, `"ab":3`), `"a" and "ab" have the same id, 3`},
		{"token twice", bert(`"ab":7`, `"a":7`), `"a" is there twice, with the ids 3 and 7`},
		{"id too large", bert(`"ab":7`, `"ab":1048576`), `"ab" has the id 1.04858e+06; want 0 to 1048575`},
		{"id negative", bert(`"ab":7`, `"ab":-1`), `"ab" has the id -1`},
		{"id huge", bert(`"ab":7`, `"ab":1e300`), `"ab" has the id 1e+300`},
		{"id not whole", bert(`"ab":7`, `"ab":1.5`), `"ab" has the id 1.5`},
		{"id a string", bert(`"ab":7`, `"ab":"7"`), `"ab" has the id 7; want an integer`},
		{"id a list", bert(`"ab":7`, `"ab":[7]`), `"ab" has the id [`},
		{"empty token", bert(`"ab":7`, `"":7`), "an empty token"},
		{"long token", bert(`"ab":7`, `"`+strings.Repeat("x", 5000)+`":7`), "a token of 5000 bytes, at most 4096"},
		{"empty vocabulary", bert(`{"[UNK]":0,"[CLS]":1,"[SEP]":2,"a":3,"##b":4,"##bc":5,"##":6,"ab":7}`, `{}`), "vocab: empty"},
		{"vocabulary a list", bert(`{"[UNK]":0,"[CLS]":1,"[SEP]":2,"a":3,"##b":4,"##bc":5,"##":6,"ab":7}`, `[]`), "vocab: a list, want an object"},
		{"unknown token", bert(`"unk_token":"[UNK]"`, `"unk_token":"[X]"`), `unk_token: "[X]" is not in the vocabulary`},
		{"characters", bert(`"max_input_chars_per_word":100`, `"max_input_chars_per_word":1000000000`), "1000000000, want 1 to 256"},
		{"characters a string", bert(`"max_input_chars_per_word":100`, `"max_input_chars_per_word":"100"`), "max_input_chars_per_word: a string, want an integer"},
		{"added id", bert(`{"id":0,"content":"[UNK]"`, `{"id":4,"content":"[UNK]"`), `added_tokens[0]: "[UNK]" has the id 4, but 0 in the vocabulary`},
		{"added id taken", bert(`{"id":0,"content":"[UNK]"`, `{"id":3,"content":"[X]"`), `"a" and "[X]" have the same id, 3`},
		{"added id too large", bert(`{"id":0,"content":"[UNK]"`, `{"id":2000000000,"content":"[X]"`), "the id 2000000000; want 0 to"},
		{"added empty", bert(`{"id":0,"content":"[UNK]"`, `{"id":8,"content":""`), "added_tokens[0].content: empty"},
		{"added twice", bert(`"added_tokens":[`, `"added_tokens":[{"id":0,"content":"[UNK]"},`), `"[UNK]" is added twice`},
		{"added long", bert(`{"id":0,"content":"[UNK]"`, `{"id":8,"content":"`+strings.Repeat("x", 300)+`"`), "300 bytes, at most 256"},
		{"added vanishes", bert(`{"id":0,"content":"[UNK]","single_word":false,"lstrip":false,"rstrip":false,"normalized":false`, `{"id":8,"content":"\u0001","normalized":true`), "nothing is left"},
		{"normalizer", bert(`"BertNormalizer"`, `"Precompiled"`), `tokenizer.json.normalizer.type: "Precompiled" is not supported; want BertNormalizer`},
		{"normalizer inside", bpe(`{"type":"Lowercase"}`, `{"type":"Nmt"}`), `normalizer.normalizers[2].type: "Nmt" is not supported`},
		{"normalizer without type", bert(`{"type":"BertNormalizer",`, `{`), `normalizer: "type" is missing`},
		{"normalizer with more", bert(`"lowercase":true}`, `"lowercase":true,"x":1}`), `normalizer: "x" is not known`},
		{"nested", bert(bertNormal, nested(9)), "more than 8 levels of Sequence"},
		{"nested far", bert(bertNormal, nested(20000)), "exceeded max depth"},
		{"many", bert(bertNormal, `{"type":"Sequence","normalizers":[`+strings.Repeat(`{"type":"NFC"},`, 40)+`{"type":"NFC"}]}`), "more than 32 normalizers"},
		{"replace pattern", bpe(`{"Regex":"\\s+"}`, `{"Regex":"(a+)+$"}`), `pattern: "(a+)+$" is not supported`},
		{"replace nothing", bpe(`{"Regex":"\\s+"}`, `{"String":""}`), "not empty"},
		{"replace grows", bpe(`{"Regex":"\\s+"},"content":" "`, `{"String":"a"},"content":"aa"`), "longer than what it replaces"},
		{"pre-tokenizer", bert(bertPre, `{"type":"Metaspace"}`), `pre_tokenizer.type: "Metaspace" is not supported`},
		{"split pattern", bpe(`[^\\s\\p{L}\\p{N}]+"},"behavior"`, `.+"},"behavior"`), "want that of GPT-2, Qwen2 or CLIP"},
		{"split behaviour", bpe(`"Removed"`, `"MergedWithNext"`), `"MergedWithNext" is not supported`},
		{"bytes twice", bert(bertPre, `{"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"ByteLevel"}]}`), "a second ByteLevel"},
		{"post-processor", bert(`"BertProcessing"`, `"Other"`), `post_processor.type: "Other" is not supported`},
		{"post id", bert(`["[SEP]",2]`, `["[SEP]",3]`), `post_processor.sep: "[SEP]" has the id 3, but 2`},
		{"post token", bert(`["[SEP]",2]`, `["[X]",2]`), `post_processor.sep: "[X]" is not in the vocabulary`},
		{"post list", bert(`["[SEP]",2]`, `["[SEP]"]`), "want a token and its id"},
		{"post twice", bert(bertPost, `{"type":"Sequence","processors":[`+bertPost+`,`+bertPost+`]}`), "a second post-processor"},
		{"template text", bert(bertPost, `{"type":"TemplateProcessing","single":[],"pair":[],"special_tokens":{}}`), "the text is there 0 times"},
		{"template B", bert(bertPost, `{"type":"TemplateProcessing","single":[{"Sequence":{"id":"B","type_id":0}}],"special_tokens":{}}`), `"B", want "A"`},
		{"template token", bert(bertPost, `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"[CLS]","type_id":0}}],"special_tokens":{}}`), `"[CLS]" is not in special_tokens`},
		{"template id", bert(bertPost, `{"type":"TemplateProcessing","single":[],"special_tokens":{"[CLS]":{"id":"[CLS]","ids":[2],"tokens":["[CLS]"]}}}`), `"[CLS]" has the id 2, but 1`},
		{"template ids", bert(bertPost, `{"type":"TemplateProcessing","single":[],"special_tokens":{"[CLS]":{"id":"[CLS]","ids":[1,2],"tokens":["[CLS]"]}}}`), "2 ids and 1 tokens"},
		{"decoder", bert(`"decoder":{"type":"WordPiece"`, `"decoder":{"type":"CTC"`), `decoder.type: "CTC" is not supported`},
		{"truncation", bert(`"truncation":null`, `"truncation":{"direction":"Up"}`), `"Up", want Left or Right`},
		{"padding", bert(`"padding":null`, `"padding":{"pad_id":3,"pad_token":"[UNK]"}`), `"[UNK]" has not the id 3`},
		{"merge of an unknown token", bpe(`"a b"`, `"a x"`), `model.merges[0]: "x" is not in the vocabulary`},
		{"merge into an unknown token", bpe(`"a b"`, `"b a"`), `model.merges[0]: "ba" is not in the vocabulary`},
		{"merge of one", bpe(`"a b"`, `"ab"`), `merges[0]: "ab", want two tokens`},
		{"merge of three", bpe(`["a","b</w>"]`, `["a","b","a"]`), "merges[1]: want two strings"},
		{"merge of numbers", bpe(`["a","b</w>"]`, `[1,2]`), "merges[1]: want two strings"},
		{"merge nested", bpe(`["a","b</w>"]`, `[["a"],"b"]`), "merges[1]: want two strings"},
		{"merge a number", bpe(`"a b"`, `7`), "merges[0]: want a string or a list of two"},
		{"merges missing", bpe(`"merges"`, `"x"`), `"merges" is missing`},
		{"dropout", bpe(`"dropout":null`, `"dropout":0.1`), "must not be random"},
		{"prefix", bpe(`"continuing_subword_prefix":""`, `"continuing_subword_prefix":"##"`), "only an empty one"},
		{"bytes", bpe(`"fuse_unk":false`, `"byte_fallback":true`), "byte_fallback: true is not supported"},
		{"config not JSON", with(txt, "tokenizer_config.json", "x"), "tokenizer_config.json: invalid"},
		{"config type", with(txt, "tokenizer_config.json", `{"do_lower_case":"yes"}`), "tokenizer_config.json.do_lower_case: a string, want true or false"},
		{"config token", with(txt, "tokenizer_config.json", `{"pad_token":"[P]"}`), `tokenizer_config.json.pad_token: "[P]" is not in the vocabulary`},
		{"config token type", with(txt, "tokenizer_config.json", `{"pad_token":7}`), "a number, want a string or an object"},
		{"special map", with(txt, "special_tokens_map.json", `{"mask_token":{"content":"[M]"}}`), `special_tokens_map.json.mask_token: "[M]" is not in the vocabulary`},
		{"never split", with(txt, "tokenizer_config.json", `{"never_split":["a"]}`), "never_split: not supported"},
		{"basic", with(txt, "tokenizer_config.json", `{"do_basic_tokenize":false}`), "do_basic_tokenize: false is not supported"},
		{"line twice", file("vocab.txt", "[UNK]\na\na\n"), `vocab.txt:3: "a" is there twice, with the ids 1 and 2`},
		{"empty line", file("vocab.txt", "[UNK]\n\na\n"), "vocab.txt:2: an empty token"},
		{"not UTF-8", file("vocab.txt", "[UNK]\n\xff\n"), "is not UTF-8"},
		{"no tokens", file("vocab.txt", ""), "vocab.txt: empty"},
		{"no unknown token", file("vocab.txt", "a\n"), `unk_token: "[UNK]" is not in the vocabulary`},
		{"no class", with(pairs, "tokenizer_config.json", "{}"), "tokenizer_config.json.tokenizer_class is missing"},
		{"other class", with(pairs, "tokenizer_config.json", `{"tokenizer_class":"T5Tokenizer"}`), `"T5Tokenizer" is not supported`},
		{"merge line", with(pairs, "merges.txt", "a b\nab\n"), `merges.txt:2: "ab", want two tokens`},
		{"merge line unknown", with(pairs, "merges.txt", "a x\n"), `merges[0]: "x" is not in the vocabulary`},
		{"added", with(pairs, "added_tokens.json", `{"x":-1}`), `added_tokens.json: "x": want an id`},
		{"added conflict", with(pairs, "added_tokens.json", `{"x":1}`), `"b" and "x" have the same id, 1`},
		{"added decoder", with(pairs, "tokenizer_config.json", `{"tokenizer_class":"Qwen2Tokenizer","added_tokens_decoder":{"x":{"content":"y"}}}`), `the key "x", want an id`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(tt.files)
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.HasPrefix(err.Error(), "tokenizer: ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not name %q", err, tt.want)
			}
		})
	}
}

// TestOpenBoundsMemory: a vocabulary of millions is refused when the limit is
// reached, whatever comes behind.
func TestOpenBoundsMemory(t *testing.T) {
	const most = 1 << 30 // bytes, all that are allocated on the way together
	allocated := func(files map[string][]byte, want string) {
		t.Helper()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Open(files)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %q", err, want)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > most {
			t.Errorf("%s: %d bytes", want, got)
		}
	}
	data := []byte(`{"model":{"type":"WordPiece","vocab":{"0":0`)
	count := 1
	for ; len(data) < maxVocabularyFile-64; count++ {
		data = fmt.Appendf(data, `,"%x":%d`, count, count)
	}
	data = append(data, "}}}"...)
	if count < 2*MaxTokens {
		t.Fatalf("only %d tokens", count)
	}
	allocated(map[string][]byte{"tokenizer.json": data}, `"100000" has the id 1.04858e+06; want 0 to 1048575`)
	data = data[:0]
	for i := range 2 * MaxTokens {
		data = fmt.Appendf(data, "%x\n", i)
	}
	allocated(map[string][]byte{"vocab.txt": data}, "vocab.txt: 2097152 tokens, at most 1048576 are allowed")
	allocated(map[string][]byte{"merges.txt": make([]byte, maxVocabularyFile+1)}, "at most 33554432 are allowed")
}

// TestDecomposition holds decompose and nfc against package norm, for every
// character alone and with marks.
func TestDecomposition(t *testing.T) {
	text := func(marks []mark) string {
		var b strings.Builder
		for _, m := range marks {
			b.WriteRune(m.rune())
		}
		return b.String()
	}
	check := func(s string) {
		t.Helper()
		if got, want := text(decompose(s)), norm.NFD.String(s); got != want {
			t.Fatalf("decompose(%+q) = %+q, want %+q", s, got, want)
		}
		if got, want := text(compose(decompose(s))), norm.NFC.String(s); got != want {
			t.Fatalf("compose(%+q) = %+q, want %+q", s, got, want)
		}
	}
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if utf8.ValidRune(r) {
			check(string(r))
			if r < 0x3400 || r >= 0xf900 && r < 0x20000 {
				check("a" + string(r) + "\u0301\u0323" + string(r))
			}
		}
	}
	for _, s := range []string{"\u1100\u1161\u11a8", "\uac00\u11a8\u11a8", "a\u0323\u0301\u0302", "\u0041\u030a", "\u09c7\u09be\u09d7", "q\u0307\u0323", "\u0958", "\u2126\u212a"} {
		check(s)
	}
	// Package norm would put U+034F here; Unicode's algorithm does not.
	many := "e" + strings.Repeat("\u0301\u0323", 40)
	if got, want := nfc(many), "\u1eb9"+strings.Repeat("\u0323", 39)+strings.Repeat("\u0301", 40); got != want {
		t.Errorf("nfc of 80 marks: %+q, want %+q", got, want)
	}
}

// TestRepair has the examples of the Unicode standard, table 3-8 and after it.
func TestRepair(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""}, {"aé€😀", "aé€😀"},
		{"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82A", strings.Repeat("\ufffd", 8) + "A"},
		{"\xed\xa0\x80\xed\xbf\xbf\xed\xafA", strings.Repeat("\ufffd", 8) + "A"},
		{"\xf4\x91\x92\x93\xffA\x80\xbfB", strings.Repeat("\ufffd", 5) + "A" + strings.Repeat("\ufffd", 2) + "B"},
		{"\xe1\x80\xe2\xf0\x91\x92\xf1\xbfA", strings.Repeat("\ufffd", 4) + "A"},
	} {
		if got := repair([]byte(tt.in)); got != tt.want {
			t.Errorf("repair(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

// Oracles: the same tokenizers, slow and simple, on Go's regexp and maps.

// white is \s of the patterns inside brackets: White_Space of Unicode.
const white = `\t-\r\x{85}\p{Z}`

func alternatives(patterns ...string) []*regexp.Regexp {
	var all []*regexp.Regexp
	for _, p := range patterns {
		all = append(all, regexp.MustCompile(`^(?:`+strings.ReplaceAll(p, `\s`, white)+`)`))
	}
	return all
}

var (
	lookahead    = regexp.MustCompile(`^[` + white + `]+`)
	oracleGPT2   = alternatives(`'s|'t|'re|'ve|'m|'ll|'d`, ` ?\p{L}+`, ` ?\p{N}+`, ` ?[^\s\p{L}\p{N}]+`, `LOOK`, `[\s]+`)
	oracleQwen2  = alternatives(`(?i:'s|'t|'re|'ve|'m|'ll|'d)`, `[^\r\n\p{L}\p{N}]?\p{L}+`, `\p{N}`, ` ?[^\s\p{L}\p{N}]+[\r\n]*`, `[\s]*[\r\n]+`, `LOOK`, `[\s]+`)
	oracleCLIP   = alternatives(`'s|'t|'re|'ve|'m|'ll|'d`, `[\p{L}]+`, `[\p{N}]`, `[^\s\p{L}\p{N}]+`)
	lookaheadRow = regexp.MustCompile(`^(?:LOOK)`).String()
)

// pieces splits s by the first alternative that matches at each place; what
// none matches is left out.
func pieces(all []*regexp.Regexp, s string) []string {
	var out []string
	for s != "" {
		n := 0
		for _, re := range all {
			if re.String() == lookaheadRow { // \s+(?!\S)
				n = len(lookahead.FindString(s))
				for n > 0 && n < len(s) && !lookahead.MatchString(s[n:]) {
					_, last := utf8.DecodeLastRuneInString(s[:n])
					n -= last
				}
			} else {
				n = len(re.FindString(s))
			}
			if n > 0 {
				break
			}
		}
		if n > 0 {
			out = append(out, s[:n])
			s = s[n:]
			continue
		}
		_, n = utf8.DecodeRuneInString(s)
		s = s[n:]
	}
	return out
}

// oracle is a tokenizer of the fixtures.
type oracle struct {
	tok    *Subwords
	vocab  map[string]int32
	ranks  map[[2]string]int
	plain  *regexp.Regexp // added tokens in the text
	normal *regexp.Regexp // in the normalised text
	ids    map[string]int32
	encode func(o *oracle, text string) []int32 // without added tokens
	before func(string) string
}

func newOracle(t testing.TB, name string) *oracle {
	dir := filepath.Join("testdata", name)
	o := &oracle{tok: open(t, folder(t, dir)), ids: make(map[string]int32)}
	var file struct {
		Added []struct {
			ID         int32
			Content    string
			Normalized bool
		} `json:"added_tokens"`
		Model struct{ Vocab map[string]int32 }
	}
	data, err := os.ReadFile(filepath.Join(dir, "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	o.vocab = file.Model.Vocab
	slices.SortFunc(file.Added, func(a, b struct {
		ID         int32
		Content    string
		Normalized bool
	}) int {
		return len(b.Content) - len(a.Content)
	})
	var plain, normal []string
	for _, a := range file.Added {
		o.ids[a.Content] = a.ID
		if a.Normalized {
			normal = append(normal, regexp.QuoteMeta(a.Content))
		} else {
			plain = append(plain, regexp.QuoteMeta(a.Content))
		}
	}
	o.plain = regexp.MustCompile(strings.Join(plain, "|"))
	if normal != nil {
		o.normal = regexp.MustCompile(strings.Join(normal, "|"))
	}
	if name != "bert_wordpiece" {
		text, err := os.ReadFile(filepath.Join(dir, "merges.txt"))
		if err != nil {
			t.Fatal(err)
		}
		o.ranks = make(map[[2]string]int)
		for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			a, b, _ := strings.Cut(line, " ")
			o.ranks[[2]string{a, b}] = i
		}
	}
	lower := func(s string) string {
		return strings.Map(unicode.ToLower, strings.ReplaceAll(s, "\u0130", "i\u0307"))
	}
	early := rangetable.Assigned("8.0.0")
	later := func(c string) bool { return !unicode.In([]rune(c)[0], early, unicode.Co) }
	switch name {
	case "bert_wordpiece":
		o.before = func(s string) string {
			s = regexp.MustCompile(`[\x{fffd}\p{Cc}\p{Cf}\x{e000}\x{f8ff}\x{f0000}\x{ffffd}\x{100000}\x{10fffd}]`).ReplaceAllStringFunc(s, func(c string) string {
				if strings.Contains("\t\r\n", c) || later(c) {
					return c
				}
				return ""
			})
			s = regexp.MustCompile(`[\x{4e00}-\x{9fff}\x{3400}-\x{4dbf}\x{20000}-\x{2a6df}\x{2a700}-\x{2b73f}\x{2b740}-\x{2b81f}\x{2b920}-\x{2ceaf}\x{f900}-\x{faff}\x{2f800}-\x{2fa1f}]`).ReplaceAllString(s, " $0 ")
			return lower(regexp.MustCompile(`\p{Mn}`).ReplaceAllStringFunc(norm.NFD.String(s), func(c string) string {
				if later(c) {
					return c
				}
				return ""
			}))
		}
		punctuation := regexp.MustCompile("[!-/:-@\\[-`{-~\\p{P}]")
		o.encode = func(o *oracle, text string) []int32 {
			text = punctuation.ReplaceAllStringFunc(text, func(c string) string {
				if later(c) {
					return c
				}
				return " " + c + " "
			})
			var ids []int32
			for _, word := range strings.Fields(text) {
				ids = append(ids, o.greedy(word)...)
			}
			return ids
		}
	case "clip_bpe":
		o.before = func(s string) string {
			return lower(regexp.MustCompile(`[`+white+`]+`).ReplaceAllString(norm.NFC.String(s), " "))
		}
		o.encode = func(o *oracle, text string) []int32 {
			var ids []int32
			for _, piece := range pieces(oracleCLIP, text) {
				for _, word := range pieces(oracleGPT2, piece) {
					ids = append(ids, o.scan(word, "</w>")...)
				}
			}
			return ids
		}
	case "qwen2_bpe":
		o.before = norm.NFC.String
		o.encode = func(o *oracle, text string) []int32 {
			var ids []int32
			for _, word := range pieces(oracleQwen2, text) {
				ids = append(ids, o.scan(word, "")...)
			}
			return ids
		}
	}
	return o
}

// greedy is WordPiece.
func (o *oracle) greedy(word string) []int32 {
	if utf8.RuneCountInString(word) > 100 {
		return []int32{o.vocab["[UNK]"]}
	}
	var ids []int32
	for prefix := ""; word != ""; prefix = "##" {
		n := len(word)
		for ; n > 0; n-- {
			if id, ok := o.vocab[prefix+word[:n]]; ok && utf8.ValidString(word[:n]) {
				ids = append(ids, id)
				break
			}
		}
		if n == 0 {
			return []int32{o.vocab["[UNK]"]}
		}
		word = word[n:]
	}
	return ids
}

// scan is byte-pair encoding: look through all pairs for the best, join it, and
// begin again.
func (o *oracle) scan(word, suffix string) []int32 {
	var parts []string
	for i := range len(word) {
		parts = append(parts, string(byteRunes[word[i]]))
	}
	if len(parts) > 0 {
		parts[len(parts)-1] += suffix
	}
	for {
		best, at := -1, 0
		for i := 0; i+1 < len(parts); i++ {
			if rank, ok := o.ranks[[2]string{parts[i], parts[i+1]}]; ok && (best < 0 || rank < best) {
				best, at = rank, i
			}
		}
		if best < 0 {
			break
		}
		parts[at] += parts[at+1]
		parts = slices.Delete(parts, at+1, at+2)
	}
	var ids []int32
	for _, p := range parts {
		ids = append(ids, o.vocab[p])
	}
	return ids
}

// cutOut encodes what is between the matches of re by rest.
func (o *oracle) cutOut(re *regexp.Regexp, text string, rest func(string) []int32) []int32 {
	var ids []int32
	begin := 0
	if re != nil {
		for _, m := range re.FindAllStringIndex(text, -1) {
			ids = append(ids, rest(text[begin:m[0]])...)
			ids = append(ids, o.ids[text[m[0]:m[1]]])
			begin = m[1]
		}
	}
	return append(ids, rest(text[begin:])...)
}

func (o *oracle) all(text string) []int32 {
	return o.cutOut(o.plain, text, func(s string) []int32 {
		return o.cutOut(o.normal, o.before(s), func(s string) []int32 { return o.encode(o, s) })
	})
}

// TestOracle holds the oracle against the fixtures, so that the fuzz target
// compares with something.
func TestOracle(t *testing.T) {
	for _, name := range fixtures {
		o := newOracle(t, name)
		for _, c := range readGolden(t, filepath.Join("testdata", name, "golden.json")).Cases {
			if got := o.all(c.Text); !slices.Equal(got, c.IDsNoSpecial) {
				t.Errorf("%s: %q:\n got %d\nwant %d", name, c.Text, got, c.IDsNoSpecial)
			}
		}
	}
}

// FuzzSubwordsEncode compares with the oracle.
func FuzzSubwordsEncode(f *testing.F) {
	for _, s := range []string{
		"{Subject} is arranged like {Object}", "don't WE'VE 'ſ", "naïve cafe\u0301 İ", "a\u00a0b \r\n\t c  d", "日本 한국어 \u1100\u1161",
		"<|endoftext|><|STARTOFTEXT|>[SEP]<|im_end|>", "1,000 ½ ²", "😀👩\u200d👧", "bad\xff\xe2\x82", "  \n \n  x", "x" + strings.Repeat("\u0301\u0323", 10),
	} {
		f.Add(s)
	}
	var oracles []*oracle
	for _, name := range fixtures {
		oracles = append(oracles, newOracle(f, name))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 2000 {
			text = text[:2000] // the oracle is slow
		}
		valid := string([]rune(text))
		for i, o := range oracles {
			got := o.tok.Encode(text)
			for _, id := range got {
				if id < 0 || int(id) >= o.tok.Size() || o.tok.Token(id) == "" {
					t.Fatalf("%s: %q: id %d", fixtures[i], text, id)
				}
			}
			if strings.Count(norm.NFD.String(valid), "\u034f") == strings.Count(valid, "\u034f") { // else package norm has put some there
				if want := o.all(valid); !slices.Equal(got, want) {
					t.Fatalf("%s: %q:\n got %d\nwant %d", fixtures[i], text, got, want)
				}
			}
			for _, max := range []int{1, 2, 3, 8} {
				all, some := o.tok.EncodeSpecial(text, 0), o.tok.EncodeSpecial(text, max)
				if len(some) != min(max, len(all)) {
					t.Fatalf("%s: %q: %d ids of %d, at most %d", fixtures[i], text, len(some), len(all), max)
				}
			}
			decoded := o.tok.Decode(got, false)
			if !utf8.ValidString(decoded) {
				t.Fatalf("%s: %q decodes to %q", fixtures[i], text, decoded)
			}
			if fixtures[i] == "qwen2_bpe" && len(o.plain.FindString(valid)) == 0 && decoded != nfc(valid) {
				t.Fatalf("%q decodes to %q", text, decoded)
			}
		}
	})
}

// checkOpened tries a tokenizer that a fuzz target has opened.
func checkOpened(t *testing.T, tok *Subwords, text string) {
	for _, text := range []string{text, "a ab aba 'S \u00e9e\u0301 中 <e> [UNK]\n\n 12"} {
		ids := tok.Encode(text)
		for _, id := range ids {
			if id < 0 || int(id) >= tok.Size() || tok.Token(id) == "" {
				t.Fatalf("%q: id %d of %d", text, id, tok.Size())
			}
		}
		if got := tok.EncodeSpecial(text, 3); len(got) > 3 {
			t.Fatalf("%q: %d, at most 3 ids", text, got)
		}
		if s := tok.Decode(ids, true); !utf8.ValidString(s) {
			t.Fatalf("%d decodes to %q", ids, s)
		}
		again, err := Open(tok.Files())
		if err != nil {
			t.Fatal(err)
		}
		if got := again.Encode(text); !slices.Equal(got, ids) || again.Special() != tok.Special() {
			t.Fatalf("%q: %d, of its own files %d", text, ids, got)
		}
	}
}

// FuzzOpenTokenizer: any tokenizer.json gives an error or a tokenizer that works.
func FuzzOpenTokenizer(f *testing.F) {
	f.Add([]byte(tinyBERT), "ab")
	f.Add([]byte(tinyBPE), "ab")
	f.Add([]byte(`{"added_tokens":[{"id":3,"content":"<A>","lstrip":true,"rstrip":true,"single_word":true,"normalized":true}],"pre_tokenizer":{"type":"ByteLevel"},"model":{"vocab":{"a":0,"Ġ":1,"Ġa":2},"merges":["Ġ a"]}}`), " a <A> a")
	f.Add([]byte(`{"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"special_tokens":{"x":{"id":"x","ids":[0],"tokens":["a"]}}},"model":{"unk_token":"a","vocab":{"a":0}}}`), "a")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		tok, err := Open(map[string][]byte{"tokenizer.json": data})
		if err != nil {
			if !strings.HasPrefix(err.Error(), "tokenizer: ") {
				t.Fatal(err)
			}
			return
		}
		checkOpened(t, tok, cut(text, 1000))
	})
}

// FuzzOpenVocabulary does so for the files of before tokenizer.json.
func FuzzOpenVocabulary(f *testing.F) {
	f.Add([]byte("[UNK]\n[CLS]\n[SEP]\na\n##b\n"), []byte(nil), []byte(`{"do_lower_case":false,"mask_token":{"content":"a"}}`), []byte(`{"x":5}`), "ab")
	f.Add([]byte(`{"a":0,"b":1,"ab":2}`), []byte("#version: 0.2\na b\n"), []byte(`{"tokenizer_class":"Qwen2Tokenizer","additional_special_tokens":["ab"]}`), []byte(`{"<x>":3}`), "ab<x>")
	f.Add([]byte(`{"a</w>":0,"b":1,"<|startoftext|>":2,"<|endoftext|>":3,"ba</w>":4}`), []byte("b a</w>\n"), []byte(`{"added_tokens_decoder":{"5":{"content":"y","special":true}}}`), []byte(nil), "ba y")
	f.Fuzz(func(t *testing.T, vocab, merges, config, added []byte, text string) {
		for _, files := range []map[string][]byte{
			{"vocab.txt": vocab, "tokenizer_config.json": config, "added_tokens.json": added},
			{"vocab.txt": vocab, "special_tokens_map.json": config},
			{"vocab.json": vocab, "merges.txt": merges, "tokenizer_config.json": config, "added_tokens.json": added},
		} {
			tok, err := Open(files)
			if err != nil {
				if !strings.HasPrefix(err.Error(), "tokenizer: ") {
					t.Fatal(err)
				}
				continue
			}
			checkOpened(t, tok, cut(text, 1000))
		}
	})
}

// A BERT folder: lower-cased, cut into word pieces, between [CLS] and [SEP].
func ExampleOpenFolder() {
	bert, err := OpenFolder("testdata/bert_wordpiece")
	if err != nil {
		fmt.Println(err)
		return
	}
	ids := bert.EncodeSpecial("The Cat is SLEEPING", 256)
	fmt.Println(ids)
	fmt.Println(bert.Decode(ids, true))
	// Output:
	// [6 120 219 122 203 7]
	// the cat is sleeping
}

// CLIP's text tower reads at most 77 ids, and finds the last one by its value.
func ExampleSubwords_EncodeSpecial() {
	clip, err := OpenFolder("testdata/clip_bpe")
	if err != nil {
		fmt.Println(err)
		return
	}
	ids := clip.EncodeSpecial(strings.Repeat("a cat ", 100), 77)
	fmt.Println(len(ids), ids[0], ids[len(ids)-1] == clip.Special().End)
	// Output:
	// 77 832 true
}

// Qwen2's tokenizer finds its added tokens in a text, and loses nothing.
func ExampleSubwords_Decode() {
	qwen, err := OpenFolder("testdata/qwen2_bpe")
	if err != nil {
		fmt.Println(err)
		return
	}
	ids := qwen.Encode("<|im_start|>Two  birds\n")
	fmt.Println(qwen.Token(ids[0]))
	fmt.Printf("%q\n", qwen.Decode(ids, false))
	// Output:
	// <|im_start|>
	// "<|im_start|>Two  birds\n"
}

// A checkpoint keeps the files of its tokenizer, and reads it from them.
func ExampleOpen() {
	clip, err := OpenFolder("testdata/clip_bpe")
	if err != nil {
		fmt.Println(err)
		return
	}
	saved := clip.Files()
	again, err := Open(saved)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(again.Fingerprint() == clip.Fingerprint())
	// Output:
	// true
}
