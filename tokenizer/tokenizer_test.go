package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSplit(t *testing.T) {
	tests := []struct {
		text string
		want []string
	}{
		{"", nil},
		{"{Subject} growing step by step", []string{"{subject}", "growing", "step", "by", "step"}},
		{"{Object1} just touching {Object2}", []string{"{object}", "just", "touching", "{object}"}},
		{"Two {Objects}, edge-to-edge.", []string{"two", "{objects}", "edge", "to", "edge"}},
		{"{Food Item}s inside a {ANIMAL_1}", []string{"{food item}", "s", "inside", "a", "{animal}"}},
		{"{1} and {2}", []string{"{}", "and", "{}"}},
		{"3 dogs, 4th floor, 2nd", []string{"dogs", "th", "floor", "nd"}},
		{"it's the girls' ‘box’ don’t", []string{"it's", "the", "girls", "box", "don't"}},
		{"open { brace} and close } brace {", []string{"open", "{brace}", "and", "close", "brace"}},
		{"{a {b} c}", []string{"a", "{b}", "c"}},
		{"unclosed {Object", []string{"unclosed", "object"}},
		{"É e\u0301 É", []string{"é", "é", "é"}},
		{"e1\u0301", []string{"é"}},
		{"日本 の 猫", []string{"日本", "の", "猫"}},
		{"bad\xffbytes\xc3", []string{"bad", "bytes"}},
		{"a\x00b\nc\td", []string{"a", "b", "c", "d"}},
		{"'''", nil},
		{"{'}", []string{"{}"}},
		{strings.Repeat("x", 1000), []string{strings.Repeat("x", MaxWord)}},
		{"{" + strings.Repeat("y", 1000) + "}", []string{"{" + strings.Repeat("y", MaxWord-2) + "}"}},
	}
	for _, tt := range tests {
		if got := Split(tt.text); !slices.Equal(got, tt.want) {
			t.Errorf("Split(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestSplitBoundsText(t *testing.T) {
	long := strings.Repeat("ab ", MaxText)
	if got, want := len(Split(long)), (MaxText+2)/3; got != want {
		t.Errorf("%d words of a caption of %d bytes, want %d", got, len(long), want)
	}
}

func TestTrainWords(t *testing.T) {
	captions := []string{"{Object1} beside {Object2}", "a {Object} above a box", "{Items} above"}
	v := TrainWords(captions, 1)
	want := []string{"a", "above", "beside", "box", "{items}", "{object}"}
	if !slices.Equal(v.words, want) {
		t.Fatalf("words %q, want %q", v.words, want)
	}
	if got, want := v.Encode("the {Object9} ABOVE a tree"), []int32{Unknown, 5, 1, 0, Unknown}; !slices.Equal(got, want) {
		t.Errorf("Encode = %d, want %d", got, want)
	}
	for id := range v.Size() {
		if got := v.Encode(v.Word(int32(id))); !slices.Equal(got, []int32{int32(id)}) {
			t.Errorf("Encode(Word(%d)) = %d", id, got)
		}
	}
	if v.Word(-1) != "" || v.Word(6) != "" {
		t.Error("an id outside the vocabulary has a word")
	}

	slices.Reverse(captions)
	if again := TrainWords(captions, 1); !slices.Equal(again.words, v.words) {
		t.Errorf("the order of the captions matters: %q and %q", again.words, v.words)
	}
	if got, want := TrainWords(captions, 2).words, []string{"a", "above", "{object}"}; !slices.Equal(got, want) {
		t.Errorf("minCount 2: words %q, want %q", got, want)
	}
	if n := TrainWords(nil, 0).Size(); n != 0 {
		t.Errorf("no captions: %d words", n)
	}
}

func TestZeroValue(t *testing.T) {
	var v Words
	if got := v.Encode("two words"); !slices.Equal(got, []int32{Unknown, Unknown}) {
		t.Errorf("Encode = %d", got)
	}
	data, err := json.Marshal(&v)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadWords(bytes.NewReader(data)); err != nil {
		t.Error(err)
	}
}

func TestJSONRoundTrip(t *testing.T) {
	v := TrainWords([]string{"{Object1} <beside> {Food Item} & it's é"}, 1)
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadWords(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.words, v.words) {
		t.Errorf("words %q, want %q", got.words, v.words)
	}
	text := "{Object2} beside it's"
	if a, b := got.Encode(text), v.Encode(text); !slices.Equal(a, b) {
		t.Errorf("Encode after reading %d, before %d", a, b)
	}
}

func TestReadWordsRefuses(t *testing.T) {
	tests := []struct{ name, file, want string }{
		{"empty", "", "EOF"},
		{"not JSON", "words", "invalid"},
		{"truncated", `{"format":"relsim words 1","words":["a"`, "unexpected EOF"},
		{"other format", `{"format":"bpe","words":[]}`, `format "bpe"`},
		{"no format", `{"words":["a"]}`, `format ""`},
		{"unknown key", `{"format":"relsim words 1","words":[],"merges":[]}`, "merges"},
		{"trailing data", `{"format":"relsim words 1","words":[]} {}`, "behind"},
		{"twice", `{"format":"relsim words 1","words":["a","a"]}`, "does not come after"},
		{"unsorted", `{"format":"relsim words 1","words":["b","a"]}`, "does not come after"},
		{"upper case", `{"format":"relsim words 1","words":["A"]}`, "normalised"},
		{"empty word", `{"format":"relsim words 1","words":[""]}`, "normalised"},
		{"two words", `{"format":"relsim words 1","words":["a b"]}`, "normalised"},
		{"digits", `{"format":"relsim words 1","words":["{object1}"]}`, "normalised"},
		{"long word", `{"format":"relsim words 1","words":["` + strings.Repeat("a", 65) + `"]}`, "normalised"},
		{"not strings", `{"format":"relsim words 1","words":[1]}`, "number"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := ReadWords(strings.NewReader(tt.file))
			if err == nil {
				t.Fatalf("accepted: %q", v.words)
			}
			if !strings.HasPrefix(err.Error(), "tokenizer: vocabulary: ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not name %q", err, tt.want)
			}
		})
	}
}

func TestReadWordsTooLarge(t *testing.T) {
	if _, err := ReadWords(endless{}); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("an endless file: %v", err)
	}
}

// endless is a file of spaces.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// FuzzSplit: words are bounded, normalised, and splitting is idempotent.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"{Object1} touching {Object2}", "it's é e1\u0301", "{a {b} c}", "bad\xff", "{'1 '}", "ΑΣ ǅ İ K"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		words := Split(text)
		if len(words) > len(text) {
			t.Fatalf("%d words of %d bytes", len(words), len(text))
		}
		for _, w := range words {
			if w == "" || len(w) > MaxWord || !utf8.ValidString(w) {
				t.Fatalf("Split(%q): word %q", text, w)
			}
			if again := Split(w); len(again) != 1 || again[0] != w {
				t.Fatalf("Split(%q) = %q, of the word itself %q", text, w, again)
			}
		}
		v := TrainWords([]string{text}, 1)
		if slices.Contains(v.Encode(text), Unknown) {
			t.Fatalf("%q has unknown words in its own vocabulary", text)
		}
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ReadWords(bytes.NewReader(data)); err != nil {
			t.Fatalf("%q: own vocabulary refused: %v", text, err)
		}
	})
}

// FuzzReadWords: any file gives an error or a vocabulary that works.
func FuzzReadWords(f *testing.F) {
	f.Add([]byte(`{"format":"relsim words 1","words":["a","{object}"]}`))
	f.Add([]byte(`{"format":"relsim words 1","words":["b","a"]}`))
	f.Add([]byte(`{"format":`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := ReadWords(bytes.NewReader(data))
		if err != nil {
			return
		}
		for id := range v.Size() {
			if got := v.Encode(v.Word(int32(id))); len(got) != 1 || got[0] != int32(id) {
				t.Fatalf("word %d, %q, encodes to %d", id, v.Word(int32(id)), got)
			}
		}
	})
}

func Example() {
	words := TrainWords([]string{"{Subject} growing step by step", "{Object1} touching {Object2}"}, 1)
	fmt.Println(words.Size())
	fmt.Println(words.Encode("{Object} growing fast"))
	// Output:
	// 6
	// [4 1 -1]
}
