package report

import (
	"strings"
	"testing"

	"relsim/metrics"
	"relsim/retrieval"
)

func TestCard(t *testing.T) {
	interval := func(mean, low, high float64) metrics.Interval {
		return metrics.Interval{Mean: mean, Low: low, High: high}
	}
	c := Card{
		Title: "mine\n<b>", Tower: "vision", Adapters: true, Head: true, Library: "peft", Part: "CLIPVisionTransformer",
		Base: "openai/clip-vit-large-patch14", Fingerprint: "0123abcd", Partner: "/home/somebody/MiniLM", ImageSize: 224, Dim: 384,
		Facts: []Fact{{"Data", "rows.jsonl"}, {"Captions", "anonymous"}},
		Result: &retrieval.Result{
			Data: "/home/somebody/rows.jsonl", Split: "test", Queries: 100, Gallery: 200, Positives: "relation", Resamples: 1000, Clusters: "query",
			Methods: []retrieval.MethodResult{
				{Name: "mine|x", Kind: retrieval.Trained, ImageToImage: retrieval.Metrics{"recall@1": interval(.5, .4, .6), "twin@1": interval(.1, .05, .15)}},
				{Name: "chance", Kind: retrieval.ChanceKind, ImageToImage: retrieval.Metrics{"recall@1": interval(.01, .01, .01)}},
			},
			HeldOut: []retrieval.MethodResult{{Name: "mine", ImageToImage: retrieval.Metrics{"map": interval(.25, .2, .3)}}},
		},
	}
	got := string(c.Markdown())
	for _, want := range []string{
		"---\nlibrary_name: \"peft\"\nbase_model: \"openai/clip-vit-large-patch14\"\npipeline_tag: image-feature-extraction\ntags:\n- relational-visual-similarity\n- lora\n---\n",
		"\n# mine b\n",
		"for the image encoder (`CLIPVisionTransformer`) of `openai/clip-vit-large-patch14`, as PEFT writes them.",
		"* `head.safetensors`",
		"Pictures are 224 × 224 pixels. Embeddings have 384 numbers.",
		"has the fingerprint `0123abcd`.",
		"The other tower is `MiniLM`.",
		"They have not been loaded by peft itself.",
		"* Captions: anonymous\n",
		"rows.jsonl, split test: 100 queries in a gallery of 200 pictures; a pair is right if it shares its relation.",
		"| model | R@1 | look-alike first |\n|---|---|---|\n| minex | .500 [.400,\u00a0.600] | .100 [.050,\u00a0.150] |\n| chance | .010 | – |\n",
		"On relations that were never trained on:\n\n| model | mAP |\n|---|---|\n| mine | .250 [.200,\u00a0.300] |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "/home/") {
		t.Errorf("the path of a folder is in\n%s", got)
	}

	plain := string(Card{Title: "x", Tower: "text", Base: "/models/MiniLM", Dim: 12}.Markdown())
	for _, want := range []string{"pipeline_tag: sentence-similarity\n", "the whole text encoder", "Embeddings have 12 numbers.", "The base is `MiniLM`.", "None is recorded."} {
		if !strings.Contains(plain, want) {
			t.Errorf("no %q in\n%s", want, plain)
		}
	}
	for _, not := range []string{"base_model", "library_name", "lora", "adapter", "head.safetensors", "Training"} {
		if strings.Contains(plain, not) {
			t.Errorf("%q in\n%s", not, plain)
		}
	}
}
