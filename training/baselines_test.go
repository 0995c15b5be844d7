package training

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

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
