package pretrained

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relsim/nn"
)

func listed(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	check(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, err := filepath.Rel(dir, path)
			check(t, err)
			names = append(names, filepath.ToSlash(rel))
		}
		return err
	}))
	return names
}

// disturb changes all weights, as training does.
func disturb(p *nn.Params) {
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range p.Data() {
		p.Data()[i] += float32(.02 * rng.NormFloat64())
	}
}

// pictures returns the embeddings of two random pictures.
func pictures(t *testing.T, n *nn.Model) []float32 {
	t.Helper()
	e, err := nn.NewEncoder(n, nil, 2)
	check(t, err)
	defer e.Close()
	side := n.Config.Vision.ImageSize
	pixels := make([]float32, 2*3*side*side)
	rng := rand.New(rand.NewPCG(7, 8))
	for i := range pixels {
		pixels[i] = float32(rng.NormFloat64())
	}
	emb := make([]float32, 2*n.Config.EmbedDim)
	check(t, e.Images(emb, pixels, 2))
	return emb
}

func sentences(t *testing.T, n *nn.Model) []float32 {
	t.Helper()
	e, err := nn.NewEncoder(n, nil, 2)
	check(t, err)
	defer e.Close()
	emb := make([]float32, 2*n.Config.EmbedDim)
	check(t, e.Texts(emb, [][]int32{{1, 7, 3, 2}, {4, 11, 2}}))
	return emb
}

// only removes the other tower.
func only(tower nn.Tower) func(*nn.Config) {
	return func(c *nn.Config) {
		if tower == nn.VisionTower {
			c.Text = nn.TextConfig{Kind: nn.NoText}
		} else {
			c.Vision = nn.VisionConfig{Stem: nn.NoVision}
		}
	}
}

// Adapters with a new head are written as PEFT's folder, and read back with the published
// model to the same embeddings, bit for bit.
func TestExportAdapter(t *testing.T) {
	dir := "testdata/lora_clip"
	m, err := Open(dir)
	check(t, err)
	m.Config.Text = nn.TextConfig{Kind: nn.NoText}
	m.Config.Vision.Head, m.Config.EmbedDim = nn.HeadLinear, 9
	m.Config.LoRA, err = m.LoRA(nn.VisionTower, nn.LoRA{Rank: 3, Alpha: 6, Dropout: .05, Targets: []string{"k_proj", "mlp.fc1"}})
	check(t, err)
	declare := func(c nn.Config) *nn.Model {
		n, err := nn.Declare(c, 0)
		check(t, err)
		check(t, n.Params.Allocate())
		check(t, m.Weights(n.Params, nn.VisionTower))
		return n
	}
	trained := declare(m.Config)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range trained.Params.Learned() {
		trained.Params.Learned()[i] = float32(.1 * rng.NormFloat64())
	}
	out := filepath.Join(t.TempDir(), "out")
	check(t, Export(out, Trained{Model: trained, Tower: nn.VisionTower, Base: m, Name: "openai/clip-vit-large-patch14", Card: []byte("card")}))
	if got, want := listed(t, out), []string{"README.md", "adapter_config.json", "adapter_model.safetensors", "head.safetensors"}; !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
	head := tensors(t, filepath.Join(out, headFile))
	if !slices.Equal(head["projection.weight"], trained.Images.Head.Weight.Data) || !slices.Equal(head["projection.bias"], trained.Images.Head.Bias.Data) || len(head) != 2 {
		t.Errorf("the head has tensors %v, or other values", sortedKeys(head))
	}

	a, err := OpenAdapter(out, m)
	check(t, err)
	if a.Config.Base != "openai/clip-vit-large-patch14" || !slices.Equal(a.Config.Targets, []string{"fc1", "k_proj"}) {
		t.Errorf("%+v", a.Config)
	}
	c := m.Config
	c.LoRA = &a.LoRA
	again := declare(c)
	check(t, a.Weights(again.Params))
	check(t, ReadHead(out, again, nn.VisionTower))
	if got, want := pictures(t, again), pictures(t, trained); !slices.Equal(got, want) {
		t.Errorf("embeddings %v, want %v", got, want)
	}

	// Where pictures are as they are published, what says how they are prepared comes along.
	base, err := Open("testdata/dinov2")
	check(t, err)
	for size, want := range map[int]bool{base.Transform.Size: true, base.Transform.Size + 14: false} {
		base.Config.Vision.ImageSize = size
		n, err := nn.Declare(base.Config, 0)
		check(t, err)
		check(t, n.Params.Allocate())
		to := filepath.Join(t.TempDir(), "out")
		check(t, Export(to, Trained{Model: n, Tower: nn.VisionTower, Base: base}))
		if got := slices.Contains(listed(t, to), "preprocessor_config.json"); got != want {
			t.Errorf("pictures of %d, published are %d: preprocessor_config.json is there: %v", size, base.Transform.Size, got)
		}
	}

	if err := Export(out, Trained{Model: trained, Tower: nn.VisionTower, Base: m}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a folder that is there: %v", err)
	}
	for want, trained := range map[string]Trained{
		"no text tower":                              {Model: trained, Tower: nn.TextTower, Base: m},
		"adapters without a published model":         {Model: trained, Tower: nn.VisionTower},
		"is no plain vision transformer, and has no": {Model: trained, Tower: nn.VisionTower, Merge: true}, // CLIP's
	} {
		parent := t.TempDir()
		err := Export(filepath.Join(parent, "x"), trained)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
		if left := listed(t, parent); len(left) > 0 || trained.Model.Merged() {
			t.Errorf("%s: %q is left behind, merged %v", want, left, trained.Model.Merged())
		}
	}
	restore := trained.Merge(nil)
	if err := Export(filepath.Join(t.TempDir(), "x"), Trained{Model: trained, Tower: nn.VisionTower, Base: m}); err == nil || !strings.Contains(err.Error(), "are merged") {
		t.Errorf("merged: %v", err)
	}
	restore()
}

// A head behind CLIP's own projection leaves that where it was published.
func TestExportProjected(t *testing.T) {
	m, a, _ := adapted(t, "testdata/lora_clip")
	n := projected(t, m, a)
	for _, merge := range []bool{false, true} {
		out := filepath.Join(t.TempDir(), "out")
		check(t, Export(out, Trained{Model: n, Tower: nn.VisionTower, Base: m, Merge: merge}))
		base, c := m, n.Config
		if merge {
			var err error
			base, err = Open(out)
			check(t, err)
			if base.Config.Vision.Head != nn.HeadProjection || base.Config.EmbedDim != m.Config.EmbedDim {
				t.Errorf("the projection is not published: %+v", base.Config.Vision)
			}
			c.LoRA = nil
		}
		again, err := nn.Declare(c, 0)
		check(t, err)
		check(t, again.Params.Allocate())
		check(t, base.Weights(again.Params, nn.VisionTower))
		check(t, ReadHead(out, again, nn.VisionTower))
		restore := func() {}
		if merge {
			restore = n.Merge(nil)
		} else {
			b, err := OpenAdapter(out, m)
			check(t, err)
			check(t, b.Weights(again.Params))
		}
		if got, want := pictures(t, again), pictures(t, n); !slices.Equal(got, want) {
			t.Errorf("merged %v: embeddings %v, want %v", merge, got, want)
		}
		restore()
	}
}

// Whole towers are written under their published names, and Open reads them as the same
// model: other image sizes, shorter captions, merged adapters.
func TestExportTower(t *testing.T) {
	for _, tt := range []struct {
		name   string
		tower  nn.Tower
		edit   func(*nn.Config)
		files  []string
		config map[string]any
	}{
		{"clip", nn.VisionTower, nil, nil,
			map[string]any{"model_type": "clip_vision_model", "architectures": []string{"CLIPVisionModelWithProjection"}, "image_size": 56, "hidden_act": "quick_gelu"}},
		{"clip", nn.VisionTower, func(c *nn.Config) { c.Vision.Head, c.EmbedDim = nn.HeadNone, c.Vision.Width }, nil,
			map[string]any{"architectures": []string{"CLIPVisionModel"}}},
		{"clip", nn.TextTower, nil, nil,
			map[string]any{"model_type": "clip_text_model", "architectures": []string{"CLIPTextModelWithProjection"}, "vocab_size": 120, "eos_token_id": 2}},
		{"clip_gelu", nn.TextTower, func(c *nn.Config) { c.Text.Length = 9 }, nil, map[string]any{"max_position_embeddings": 9}},
		{"dinov2", nn.VisionTower, nil, nil, map[string]any{"architectures": []string{"Dinov2Model"}, "image_size": 70}},
		{"dinov2_swiglu", nn.VisionTower, func(c *nn.Config) { c.Vision.ImageSize = 70 }, nil, map[string]any{"image_size": 70}},
		{"minilm", nn.TextTower, nil, []string{"1_Pooling/config.json", "config_sentence_transformers.json", "modules.json", "sentence_bert_config.json"},
			map[string]any{"architectures": []string{"BertModel"}}},
	} {
		t.Run(tt.name+" "+string(tt.tower), func(t *testing.T) {
			dir := filepath.Join("testdata", tt.name)
			m, n := load(t, dir, func(c *nn.Config) {
				only(tt.tower)(c)
				if tt.edit != nil {
					tt.edit(c)
				}
			})
			disturb(n.Params)
			out := filepath.Join(t.TempDir(), "out")
			check(t, Export(out, Trained{Model: n, Tower: tt.tower, Base: m}))
			files := listed(t, out)
			for _, name := range append(tt.files, "config.json", "model.safetensors") {
				if !slices.Contains(files, name) {
					t.Errorf("files %q, want %s among them", files, name)
				}
			}
			var config map[string]any
			data, err := os.ReadFile(filepath.Join(out, "config.json"))
			check(t, err)
			check(t, json.Unmarshal(data, &config))
			for key, want := range tt.config {
				if !jsonEqual(t, config[key], want) {
					t.Errorf("config.json: %s is %v, want %v", key, config[key], want)
				}
			}
			again, back := load(t, out, nil)
			want := m.Config
			want.Temperature = again.Config.Temperature // of both towers together
			if !jsonEqual(t, again.Config, want) {
				t.Errorf("read as %+v,\nwant %+v", again.Config, want)
			}
			embed := pictures
			if tt.tower == nn.TextTower {
				embed = sentences
			}
			if got, want := embed(t, back), embed(t, n); !slices.Equal(got, want) {
				t.Errorf("embeddings %v, want %v", got, want)
			}
		})
	}
}

// Merged adapters are in the weights, and the model that they are of stays as it is.
func TestExportMerged(t *testing.T) {
	m, _, n := adapted(t, "testdata/lora_dinov2")
	before := slices.Clone(n.Params.Data())
	out := filepath.Join(t.TempDir(), "out")
	check(t, Export(out, Trained{Model: n, Tower: nn.VisionTower, Base: m, Merge: true}))
	if n.Merged() || !slices.Equal(n.Params.Data(), before) {
		t.Error("the model is changed")
	}
	_, back := load(t, out, nil)
	n.Merge(nil)
	if got, want := pictures(t, back), pictures(t, n); !slices.Equal(got, want) {
		t.Errorf("embeddings %v, want %v", got, want)
	}
}

// A vision transformer that began as no published model is written as one of timm.
func TestExportViT(t *testing.T) {
	c, err := nn.Preset("vit-ti/8")
	check(t, err)
	only(nn.VisionTower)(&c)
	c.Vision.Layers, c.Vision.Width, c.Vision.Heads, c.Vision.MLP, c.EmbedDim = 2, 24, 3, 48, 10
	n, err := nn.New(c, 0, rand.New(rand.NewPCG(1, 2)))
	check(t, err)
	out := filepath.Join(t.TempDir(), "out")
	check(t, Export(out, Trained{Model: n, Tower: nn.VisionTower}))
	if got, want := listed(t, out), []string{"config.json", "head.safetensors", "model.safetensors"}; !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
	_, back := load(t, out, func(b *nn.Config) { b.Vision.Head, b.EmbedDim = nn.HeadLinear, c.EmbedDim })
	check(t, ReadHead(out, back, nn.VisionTower))
	if got, want := pictures(t, back), pictures(t, n); !slices.Equal(got, want) {
		t.Errorf("embeddings %v, want %v", got, want)
	}
	if err := ReadHead(out, back, nn.TextTower); err == nil || !strings.Contains(err.Error(), "no head in its text tower") {
		t.Errorf("a head of no tower: %v", err)
	}

	c, err = nn.Preset("scenes-small")
	check(t, err)
	n, err = nn.New(c, 5, rand.New(rand.NewPCG(1, 2)))
	check(t, err)
	for tower, want := range map[nn.Tower]string{nn.VisionTower: "is no plain vision transformer", nn.TextTower: "has no published layout"} {
		if err := Export(filepath.Join(t.TempDir(), "x"), Trained{Model: n, Tower: tower}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
