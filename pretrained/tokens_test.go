package pretrained

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relsim/tokenizer"
)

// TestSentenceTokens: the tokenizer in the folder of a sentence encoder makes of
// sentences the ids that the reference pipeline gave its model, padded with [PAD].
func TestSentenceTokens(t *testing.T) {
	dir := filepath.Join("testdata", "minilm")
	m, err := Open(dir)
	check(t, err)
	words, ok := m.Tokenizer.(*tokenizer.Subwords)
	if !ok || m.Config.Text.Length != 256 {
		t.Fatalf("a tokenizer %T for %d words", m.Tokenizer, m.Config.Text.Length)
	}
	g := openGolden(t, dir)
	var about struct {
		Sentences []string
		BatchA    []int `json:"batch_a"`
		BatchLong []int `json:"batch_long"`
	}
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	check(t, err)
	check(t, json.Unmarshal(data, &about))
	for name, batch := range map[string][]int{"batch_a": about.BatchA, "batch_long": about.BatchLong} {
		want, shape := g.ints("in." + name + ".input_ids")
		if len(batch) == 0 || len(batch) != shape[0] {
			t.Fatalf("%s: %d sentences, ids %v", name, len(batch), shape)
		}
		for r, s := range batch {
			row := want[r*shape[1]:][:shape[1]]
			got := words.EncodeSpecial(strings.TrimSpace(about.Sentences[s]), m.Config.Text.Length)
			for i, id := range row {
				mine := words.Special().Pad
				if i < len(got) {
					mine = got[i]
				}
				if int64(mine) != id {
					t.Fatalf("%s: sentence %d: word %d has the id %d, want %d", name, s, i, mine, id)
				}
			}
			if len(got) > len(row) {
				t.Errorf("%s: sentence %d: %d ids, want %d", name, s, len(got), len(row))
			}
		}
	}
}
