package retrieval

import (
	"testing"

	"relsim/dataloader"
)

// All captions of a picture count: as candidates, as positives of the picture, and as queries.
func TestSeveralCaptions(t *testing.T) {
	s := &Set{Name: "three", Split: "test"}
	for i, list := range [][]string{{"a1", "a2"}, {"b1"}, {"c1", "a2"}} {
		it := dataloader.Item{ID: string(rune('a' + i)), Caption: list[0], Family: -1, Profile: -1}
		if len(list) > 1 {
			it.Captions = list
		}
		s.Items = append(s.Items, it)
	}
	var texts []string
	for _, c := range s.Captions() {
		texts = append(texts, c.Text)
	}
	if len(texts) != 4 || texts[0] != "a1" || texts[1] != "a2" || texts[2] != "b1" || texts[3] != "c1" {
		t.Fatalf("captions %q", texts)
	}
	pictures := []float32{1, 0, 0, 0, 1, 0, 0, 0, 1}
	captions := []float32{0, 1, 0, 1, 0, 0, 0, .8, .6, 0, 0, 1} // a1 looks like picture b, and a2 like picture a
	cfg := Default()
	cfg.Resamples = 1
	r, err := Evaluate(t.Context(), s, []Method{Embedded("m", Trained, pictures, captions, 3)}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	// Picture a finds a2, its second caption; b finds a1, which is a's; c finds c1.
	if got := r.Methods[0].ImageToCaption["recall@1"].Mean; got != 2./3 {
		t.Errorf("image to caption: recall@1 %v, want 2/3", got)
	}
	// a1 finds b, wrongly; a2 finds a, b1 finds b and c1 finds c. The mean is one over captions.
	if got := r.Methods[0].CaptionToImage["recall@1"].Mean; got != 3./4 {
		t.Errorf("caption to image: recall@1 %v, want 3/4", got)
	}
}
