package training

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"relsim/checkpoints"
	"relsim/dataloader"
	"relsim/embeddings"
	"relsim/retrieval"
)

const lpipsWeights = "../lpips/testdata/alex/model.safetensors" // a small AlexNet with its head

func TestParseBaseline(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x=y.npz")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(file)
	for text, want := range map[string]BaselineSpec{
		"embeddings:theirs=" + file: {Name: "theirs", Kind: EmbeddingsBaseline, Path: file},
		"lpips:vgg=" + folder:       {Name: "lpips-vgg", Kind: LPIPSBaseline, Net: "vgg", Path: folder},
		"clip=openai/clip":          {Name: "clip", Kind: CLIPBaseline, Path: "openai/clip"},
		"clip-text:L=" + folder:     {Name: "L", Kind: CLIPTextBaseline, Path: folder},
		"dino=" + folder:            {Name: "dino", Kind: DINOBaseline, Path: folder},
	} {
		if got, err := ParseBaseline(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                               "no such kind: want clip, dino, clip-text, lpips, embeddings",
		"dreamsim=x":                     "no such kind",
		"minilm=" + folder:               "a text encoder has no embedding of a picture",
		"hog":                            "it is always compared with",
		"clip":                           "no path: want clip=PATH",
		"clip:=" + folder:                "no name after the colon",
		"clip=none":                      "no such file or directory, and it is no name on the hub (org/name)",
		"clip:hog=" + folder:             "another method is called hog",
		"lpips=" + folder:                "no such net: want lpips:alex, lpips:vgg, lpips:squeeze",
		"lpips:alex=" + folder + "/none": "no such file",
		"embeddings=" + file:             "no name: want embeddings:NAME=FILE",
		"embeddings:x=" + folder:         "the ending says no format",
	} {
		if _, err := ParseBaseline(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

// The embeddings of a model, exported and compared with as those of another program, have its figures; LPIPS says how it
// ranked.
func TestBaselines(t *testing.T) {
	s, c := tiny()
	c.Steps = 2
	o := options(t)
	mustRun(t, c, o, tinyData(t, s))
	ctx := context.Background()
	file := filepath.Join(t.TempDir(), "own.npz")
	evaluate := func(export string, baselines ...BaselineSpec) (*Evaluation, error) {
		e := EvaluateOptions{
			Source:    Source{Data: ScenesName, Scenes: &s},
			Models:    []Evaluated{{Name: "relsim", Kind: retrieval.Trained, Path: o.Out}},
			Retrieval: retrieval.Default(), Threads: 1, Workers: 2, Export: export, Baselines: baselines,
		}
		e.Retrieval.Resamples, e.Retrieval.Points, e.Retrieval.Examples = 5, 0, 1
		return Evaluate(ctx, e)
	}
	if _, err := evaluate(file); err != nil {
		t.Fatal(err)
	}
	table, err := embeddings.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if table.URLs != nil || len(table.Captions) != len(table.IDs) {
		t.Errorf("%d captions, %d urls for %d pictures", len(table.Captions), len(table.URLs), len(table.IDs))
	}
	for i := range table.Vectors { // a cosine does not depend on lengths
		table.Vectors[i] *= float32(1 + i/table.Dim%3)
	}
	if err := embeddings.Write(file, table); err != nil {
		t.Fatal(err)
	}
	own := BaselineSpec{Name: "own", Kind: EmbeddingsBaseline, Path: file}
	perceptual := BaselineSpec{Name: "lpips-alex", Kind: LPIPSBaseline, Net: "alex", Path: lpipsWeights}
	e, err := evaluate("", perceptual, own)
	if err != nil {
		t.Fatal(err)
	}
	methods := e.Result.Methods
	if methods[1].Name != "lpips-alex" || methods[2].Name != "own" || methods[3].Name != "pixel-l2" {
		t.Fatalf("methods %s, %s, %s", methods[1].Name, methods[2].Name, methods[3].Name)
	}
	checkRanked(t, e)
	for name, want := range methods[0].ImageToImage {
		if got := methods[2].ImageToImage[name]; !(math.Abs(got.Mean-want.Mean) <= 1e-3) { // a rounding may turn a near tie
			t.Errorf("%s: %v of the exported embeddings, %v of the model", name, got.Mean, want.Mean)
		}
	}
	if len(methods[2].NearMiss) == 0 || methods[2].ImageToCaption != nil {
		t.Errorf("%d near misses, captions %v", len(methods[2].NearMiss), methods[2].ImageToCaption)
	}
	if want := (&retrieval.About{Kind: EmbeddingsBaseline, Path: file, How: "cosine of embeddings of width 24 computed elsewhere"}); !reflect.DeepEqual(methods[2].About, want) {
		t.Errorf("about %+v, want %+v", methods[2].About, want)
	}
	if a := methods[1].About; a == nil || a.Kind != "lpips" || a.Path != lpipsWeights || !strings.Contains(a.How, "negative perceptual distance; whole gallery: features of") || !strings.Contains(a.How, "half precision") {
		t.Errorf("about %+v", a)
	}
	if methods[0].About != nil {
		t.Errorf("about the model: %+v", methods[0].About)
	}

	// A picture without a row, and rows without ids.
	for want, change := range map[string]func(table embeddings.Table) embeddings.Table{
		"1 of ": func(table embeddings.Table) embeddings.Table {
			table.IDs, table.Captions, table.Vectors = table.IDs[1:], table.Captions[1:], table.Vectors[table.Dim:]
			return table
		},
		"has no image_ids": func(table embeddings.Table) embeddings.Table {
			table.IDs = nil
			return table
		},
		"so that there is no cosine": func(table embeddings.Table) embeddings.Table {
			table.Vectors = append(make([]float32, table.Dim), table.Vectors[table.Dim:]...)
			return table
		},
	} {
		changed := change(*table)
		if err := embeddings.Write(file, &changed); err != nil {
			t.Fatal(err)
		}
		_, err := evaluate("", own)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "training: baseline own") || !strings.Contains(err.Error(), file) {
			t.Errorf("error %v, want %q", err, want)
		}
		if want == "1 of " && err != nil && !strings.Contains(err.Error(), table.IDs[0]) {
			t.Errorf("error %v names no picture", err)
		}
	}
}

// clipFolder is a copy of a tiny CLIP with the tokenizer of another one, and rows for its ids.
func clipFolder(t *testing.T) string {
	t.Helper()
	const ids, table = 834, "text_model.embeddings.token_embedding.weight"
	folder := copyFolder(t, published("clip"))
	tokenizer := filepath.Join("..", "tokenizer", "testdata", "clip_bpe")
	for _, name := range []string{"tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"} {
		data, err := os.ReadFile(filepath.Join(tokenizer, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(folder, "config.json")
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, []byte(strings.Replace(string(data), `"vocab_size": 120`, `"vocab_size": 834`, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "model.safetensors")
	file, err := checkpoints.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	var tensors []checkpoints.Tensor
	for _, name := range file.Names() {
		tensor, err := file.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		if name == table {
			values := make([]float32, ids*tensor.Shape[1])
			for i := range values {
				values[i] = float32(rng.NormFloat64())
			}
			tensor = checkpoints.FromFloat32(name, []int{ids, tensor.Shape[1]}, values)
		}
		tensors = append(tensors, tensor)
	}
	if err := checkpoints.Write(path, tensors, map[string]string{"format": "pt"}); err != nil {
		t.Fatal(err)
	}
	return folder
}

// CLIP and DINOv2 compare pictures by their embeddings, and CLIP-T the caption of a query with pictures.
func TestPublishedBaselines(t *testing.T) {
	ctx := context.Background()
	clip := clipFolder(t)
	s, _ := tiny()
	s.TestProfiles = 2
	gallery, nearMiss, split, err := OpenGallery(ctx, Source{Data: ScenesName, Scenes: &s})
	if err != nil {
		t.Fatal(err)
	}
	set := retrieval.NewSet("scenes", split, gallery, nearMiss)
	o := EvaluateOptions{Threads: 2, Workers: 1, Baselines: []BaselineSpec{
		{Name: "clip-text", Kind: CLIPTextBaseline, Path: clip},
		{Name: "clip", Kind: CLIPBaseline, Path: clip},
		{Name: "dino", Kind: DINOBaseline, Path: published("dinov2")},
	}}
	var last float64
	methods, err := baselines(ctx, set, gallery, nearMiss, o, func(done float64) {
		if done < last || done > 1 {
			t.Errorf("progress %v after %v", done, last)
		}
		last = done
	})
	if err != nil {
		t.Fatal(err)
	}
	// The same from single pictures and captions.
	for n, folder := range []string{clip, clip, published("dinov2")} {
		m := methods[n]
		model, err := Open(folder, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer model.Close()
		embed := func(i int) []float32 {
			image, err := set.Image(ctx, i)
			if err != nil {
				t.Fatal(err)
			}
			v, err := model.Images(ctx, []*dataloader.Image{image})
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		scores := make([]float32, len(set.Items))
		for _, q := range []int{0, len(set.Items) - 1} {
			if err := m.Images.Scores(q, scores); err != nil {
				t.Fatal(err)
			}
			query := embed(q)
			if m.ByCaption {
				if query, err = model.Captions([]string{set.Items[q].Caption}); err != nil {
					t.Fatal(err)
				}
			}
			for _, i := range []int{1, 7} {
				var want float64
				for j, x := range embed(i) {
					want += float64(x) * float64(query[j])
				}
				if got := float64(scores[i]); !(math.Abs(got-want) <= 1e-5) {
					t.Errorf("%s: score(%d, %d) = %v, want %v", m.Name, q, i, got, want)
				}
			}
		}
		if m.ByCaption != (n == 0) || (m.Text != nil) != (n == 1) || m.About == nil || !strings.Contains(m.About.How, []string{"caption", "(clip, ", "(dinov2, "}[n]) {
			t.Errorf("%s: by caption %v, text %v, %+v", m.Name, m.ByCaption, m.Text != nil, m.About)
		}
	}

	for want, b := range map[string]BaselineSpec{
		"is a model of the family dinov2, which does not go with the kind clip": {Kind: CLIPBaseline, Path: published("dinov2")},
		"is a model of the family clip, which does not go with the kind dino":   {Kind: DINOBaseline, Path: clip},
		"or no tokenizer for it": {Kind: CLIPTextBaseline, Path: published("clip")},
	} {
		o.Baselines = []BaselineSpec{b}
		if _, err := baselines(ctx, set, gallery, nearMiss, o, func(float64) {}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	set.Items[3].Caption = ""
	o.Baselines = []BaselineSpec{{Name: "clip-text", Kind: CLIPTextBaseline, Path: clip}}
	if _, err := baselines(ctx, set, gallery, nearMiss, o, func(float64) {}); err == nil || !strings.Contains(err.Error(), "1 of "+strconv.Itoa(len(set.Items))+" pictures have no caption") || !strings.Contains(err.Error(), set.Items[3].ID) {
		t.Errorf("a query without a caption: %v", err)
	}
}
