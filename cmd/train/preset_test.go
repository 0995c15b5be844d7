package main

import (
	"context"
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"relsim/loss"
	"relsim/nn"
	"relsim/optim"
	"relsim/training"
)

// fixture is a folder with a tiny published model.
func fixture(name string) string { return filepath.Join("..", "..", "pretrained", "testdata", name) }

// configured returns what flags say, with tiny models in the place of those that a preset names.
func configured(t *testing.T, args ...string) (*options, training.Config) {
	t.Helper()
	o, err := parse(append([]string{"--data", "rows.jsonl", "--images", "pictures"}, args...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.openBases(context.Background()); err != nil {
		t.Fatal(err)
	}
	c, err := o.training(6400)
	if err != nil {
		t.Fatal(err)
	}
	return o, c
}

// The presets are the settings of arXiv:2512.07833 and of the code that was published with it: LoRA of rank 16, alpha 32
// and dropout .05 on queries and values, a linear head on image_features or the CLS row, frozen MiniLM, InfoNCE from pictures to
// captions with the diagonal as target, τ .07 fixed, PyTorch's AdamW at 1e-4 with decay .01, a cosine to 0, clipping at
// 1, batches of 64, three epochs.
func TestPresets(t *testing.T) {
	for _, tt := range []struct {
		preset, family, vision string
		targets                []string
		layers, projection     int
	}{
		{"relsim-clip", "clip", "openai/clip-vit-large-patch14", []string{"q_proj", "v_proj"}, 3, 24},
		{"relsim-dino", "dinov2", "facebook/dinov2-large", []string{"query", "value"}, 3, 0},
	} {
		t.Run(tt.preset, func(t *testing.T) {
			r, err := training.RecipeOf(tt.preset)
			if err != nil {
				t.Fatal(err)
			}
			if r.Vision != tt.vision || r.Text != "sentence-transformers/all-MiniLM-L6-v2" || !slices.Equal(r.Targets, tt.targets) {
				t.Errorf("models %s and %s, targets %q", r.Vision, r.Text, r.Targets)
			}
			o, c := configured(t, "--preset", tt.preset, "--vision", fixture(tt.family), "--text", fixture("minilm"))
			var adapters []string
			for i := range tt.layers {
				for _, part := range []string{"q", "v"} {
					adapters = append(adapters, "vision.blocks."+string(rune('0'+i))+".attn."+part)
				}
			}
			width := o.bases.Text.Config.EmbedDim // of the sentence encoder
			for _, f := range []struct {
				field     string
				got, want any
			}{
				{"lora.rank", c.Model.LoRA.Rank, 16},
				{"lora.alpha", c.Model.LoRA.Alpha, 32.},
				{"lora.dropout", c.Model.LoRA.Dropout, .05},
				{"lora.targets", c.Model.LoRA.Targets, adapters},
				{"lora.rslora", c.Model.LoRA.RSLoRA, false},
				{"vision.projection", c.Model.Vision.Projection, tt.projection},
				{"vision.head", c.Model.Vision.Head, nn.HeadLinear},
				{"vision.pool", c.Model.Vision.Pool, nn.PoolCLS},
				{"embed_dim", c.Model.EmbedDim, width},
				{"text.head", c.Model.Text.Head, nn.HeadNone},
				{"text.pool", c.Model.Text.Pool, nn.PoolMean},
				{"freeze", c.Freeze, nn.TextTower},
				{"loss.kind", c.Loss.Kind, loss.InfoNCE},
				{"loss.positives", c.Loss.Positives, loss.Diagonal},
				{"temperature", c.Model.Temperature, .07},
				{"learn_temperature", c.Model.LearnTemperature, false},
				{"learning_rate", c.LearningRate, 1e-4},
				{"warmup", c.Warmup, 0.},
				{"layer_decay", c.LayerDecay, 0.},
				{"optimizer", c.Optimizer, optim.Config{
					Beta1: .9, Beta2: .999, Eps: 1e-8, WeightDecay: .01, Decay: nn.Kinds(), ClipNorm: 1,
				}},
				{"batch", c.Batch, 64},
				{"micro_batch", c.MicroBatch, 64},
				{"steps", c.Steps, 300}, // three times 6400 pictures in batches of 64
				{"average", c.Average, 0.},
				{"word_dropout", c.WordDropout, 0.},
				{"flip", c.Flip, false},
				{"turn", c.Turn, false},
				{"captions", c.Captions, training.Anonymous},
			} {
				if !reflect.DeepEqual(f.got, f.want) {
					t.Errorf("%s is %v, want %v", f.field, f.got, f.want)
				}
			}
		})
	}
	if _, err := training.RecipeOf("relsim"); err == nil || !strings.Contains(err.Error(), `"relsim-clip" "relsim-dino"`) {
		t.Errorf("an unknown preset: %v", err)
	}
}

// Flags win over a preset.
func TestPresetAndFlags(t *testing.T) {
	_, c := configured(t, "--preset", "relsim-clip", "--vision", fixture("clip"), "--text", fixture("minilm"),
		"--lora", "8", "--lora-targets", "out_proj", "--lr", "0.01", "--epochs", "1", "--flip", "--positives", "caption",
		"--image-size", "28", "--batch", "32", "--freeze", "text-base,vision-base")
	for _, f := range []struct {
		field     string
		got, want any
	}{
		{"lora.rank", c.Model.LoRA.Rank, 8},
		{"lora.alpha", c.Model.LoRA.Alpha, 32.},
		{"lora.targets", c.Model.LoRA.Targets, []string{"vision.blocks.0.attn.proj", "vision.blocks.1.attn.proj", "vision.blocks.2.attn.proj"}},
		{"learning_rate", c.LearningRate, .01},
		{"steps", c.Steps, 200},
		{"flip", c.Flip, true},
		{"positives", c.Loss.Positives, loss.SameCaption},
		{"image_size", c.Model.Vision.ImageSize, 28},
		{"freeze", c.Freeze, nn.TextTower}, // it has no head to be trained
		{"freeze_base", c.FreezeBase, []nn.Tower{nn.VisionTower}},
	} {
		if !reflect.DeepEqual(f.got, f.want) {
			t.Errorf("%s is %v, want %v", f.field, f.got, f.want)
		}
	}
}
