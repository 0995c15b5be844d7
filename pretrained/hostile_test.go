package pretrained

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relsim/checkpoints"
	"relsim/nn"
)

// readJSON reads an object of a copied fixture.
func readJSON(t testing.TB, path string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(path)
	check(t, err)
	var v map[string]any
	check(t, json.Unmarshal(data, &v))
	return v
}

// refuses fails the test unless the folder is refused with such an error.
func refuses(t *testing.T, dir, want string) {
	t.Helper()
	_, err := Open(dir)
	if err == nil || !strings.HasPrefix(err.Error(), "pretrained: open "+dir+": ") || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

// What a configuration asks for and cannot have.
func TestConfigErrors(t *testing.T) {
	set := func(keys ...any) func(c map[string]any) {
		return func(c map[string]any) {
			for i := 0; i < len(keys); i += 2 {
				c[keys[i].(string)] = keys[i+1]
			}
		}
	}
	tower := func(name string, change func(map[string]any)) func(map[string]any) {
		return func(c map[string]any) { change(c[name].(map[string]any)) }
	}
	for _, tt := range []struct {
		model, want string
		change      func(c map[string]any)
	}{
		{"clip", `model_type "siglip": want one of bert, clip,`, set("model_type", "siglip")},
		{"clip", `model_type "": want`, set("model_type", "")},
		{"clip", "config.json: not the JSON that is expected: json: cannot unmarshal array", set("projection_dim", []int{3})},
		{"clip", `vision_config.hidden_act "relu": want gelu`, tower("vision_config", set("hidden_act", "relu"))},
		{"clip", `text_config.hidden_act ""`, tower("text_config", set("hidden_act", ""))},
		{"clip", "vision_config: num_channels 1: want 3", tower("vision_config", set("num_channels", 1))},
		{"clip", "vision.patch_size 0 does not divide", tower("vision_config_dict", set("patch_size", 0))},
		{"clip", "vision.image_size -5", tower("vision_config", set("image_size", -5))},
		{"clip", "vision.layers 1000", tower("vision_config_dict", set("num_hidden_layers", 1000))},
		{"clip", "config.json: text_config: json:", set("text_config", "text")},
		{"clip", "embed_dim 0", set("projection_dim", 0)},
		{"clip", "text_model.embeddings.token_embedding.weight: [120 32] in the file, [121 32] by config.json", tower("text_config", set("vocab_size", 121))},
		{"clip", "16 unexpected (vision_model.encoder.layers.2.layer_norm1.bias, ", tower("vision_config_dict", set("num_hidden_layers", 2))},
		{"clip", "16 missing (text_model.encoder.layers.3.layer_norm1.weight, ", tower("text_config_dict", set("num_hidden_layers", 4))},
		{"dinov2", "qkv_bias is false", set("qkv_bias", false)},
		{"dinov2", "mlp_ratio 1e+300", set("mlp_ratio", 1e300)},
		{"dinov2", "hidden_size -1", set("hidden_size", -1)},
		{"dinov2", "num_channels 4", set("num_channels", 4)},
		{"dinov2", `hidden_act "silu"`, set("hidden_act", "silu")},
		{"dinov2", "missing (encoder.layer.0.mlp.weights_in.weight, ", set("use_swiglu_ffn", true)},
		{"dinov2", "embeddings.position_embeddings: [1 26 36] in the file, [1 5 36] by config.json", set("image_size", 28)},
		{"dinov2", "vision.norm_eps 0", set("layer_norm_eps", 0)},
		{"minilm", `position_embedding_type "relative_key"`, set("position_embedding_type", "relative_key")},
		{"minilm", "is_decoder is true", set("is_decoder", true)},
		{"minilm", "type_vocab_size 0", set("type_vocab_size", 0)},
		{"minilm", "[389 24] in the file, [400 24] by config.json", set("vocab_size", 400)},
		{"minilm", "the pooling is of vectors of 24, the encoder makes such of 48", set("hidden_size", 48)},
		{"minilm", "a sentence encoder of family dinov2: want bert", set("model_type", "dinov2")},
	} {
		t.Run(tt.model+"/"+tt.want, func(t *testing.T) {
			dir := copyFolder(t, filepath.Join("testdata", tt.model))
			c := readJSON(t, filepath.Join(dir, "config.json"))
			tt.change(c)
			writeJSON(t, dir, "config.json", c)
			refuses(t, dir, tt.want)
		})
	}
	for text, want := range map[string]string{
		"":                        "config.json: an empty file",
		"{}{}":                    "goes on after its JSON value",
		"[]":                      "not the JSON that is expected",
		"{":                       "unexpected EOF",
		strings.Repeat(" ", 5e6):  "more than 4194304 bytes",
		`{"architecture": "vit"}`: `architecture "vit": want vit_SIZE_patchN`,
		`{"architecture": "vit_base_patch16_clip_224"}`:                           `architecture "vit_base_patch16_clip_224": want`,
		`{"architecture": "vit_base_patch16_224", "global_pool": "avg"}`:          `global_pool "avg": want token`,
		`{"architecture": "vit_base_patch16_224"}`:                                "tensor pos_embed is missing",
		`{"architecture": "vit_base_patch16_224", "model_args": {"num_heads":""}`: "config.json",
	} {
		dir := copyFolder(t, "testdata/dinov2")
		check(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o666))
		refuses(t, dir, want)
	}
}

// The layout of sentence-transformers.
func TestSentenceErrors(t *testing.T) {
	type module = map[string]string
	const kind = "sentence_transformers.models."
	encoder, pooling, normal := module{"path": "", "type": kind + "Transformer"}, module{"path": "1_Pooling", "type": kind + "Pooling"}, module{"path": "2_Normalize", "type": kind + "Normalize"}
	for name, tt := range map[string]struct {
		modules []module
		want    string
	}{
		"nothing":      {nil, "0 modules without a Pooling"},
		"no pooling":   {[]module{encoder}, "1 modules without a Pooling"},
		"order":        {[]module{pooling, encoder}, "module 0, sentence_transformers.models.Pooling: want Transformer, Pooling"},
		"dense":        {[]module{encoder, pooling, {"path": "2_Dense", "type": kind + "Dense"}}, "module 2, sentence_transformers.models.Dense: want"},
		"twice":        {[]module{encoder, pooling, normal, normal}, "module 3"},
		"other folder": {[]module{encoder, {"path": "../1_Pooling", "type": kind + "Pooling"}}, `folder "../1_Pooling": want a plain name`},
		"absolute":     {[]module{encoder, {"path": "/etc", "type": kind + "Pooling"}}, `folder "/etc": want a plain name`},
		"not there":    {[]module{encoder, {"path": "3_Pooling", "type": kind + "Pooling"}}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyFolder(t, "testdata/minilm")
			writeJSON(t, dir, "modules.json", tt.modules)
			refuses(t, dir, tt.want)
		})
	}
	for name, tt := range map[string]struct {
		file string
		c    map[string]any
		want string
	}{
		"two modes":  {"1_Pooling/config.json", map[string]any{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}, "want one of pooling_mode_cls_token"},
		"no mode":    {"1_Pooling/config.json", map[string]any{}, "want one of pooling_mode_cls_token"},
		"other mode": {"1_Pooling/config.json", map[string]any{"pooling_mode_mean_tokens": true, "pooling_mode_lasttoken": true}, "and no other mode"},
		"length":     {"sentence_bert_config.json", map[string]any{"max_seq_length": -1}, "max_seq_length -1"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyFolder(t, "testdata/minilm")
			writeJSON(t, dir, tt.file, tt.c)
			refuses(t, dir, tt.want)
		})
	}
	t.Run("a link out of the folder", func(t *testing.T) {
		dir := copyFolder(t, "testdata/minilm")
		check(t, os.Rename(filepath.Join(dir, "1_Pooling"), filepath.Join(t.TempDir(), "pooling")))
		link(t, copyFolder(t, "testdata/minilm/1_Pooling"), filepath.Join(dir, "1_Pooling"))
		refuses(t, dir, "a link out of the folder")
	})
	t.Run("no length", func(t *testing.T) {
		dir := copyFolder(t, "testdata/minilm")
		writeJSON(t, dir, "sentence_bert_config.json", map[string]any{"max_seq_length": nil})
		m, err := Open(dir)
		check(t, err)
		if m.Config.Text.Length != 512 {
			t.Errorf("length %d, want that of the table of positions", m.Config.Text.Length)
		}
	})
}

func link(t *testing.T, to, at string) {
	t.Helper()
	if err := os.Symlink(to, at); err != nil {
		t.Skip("NOT RUN: symbolic links: ", err)
	}
}

// shards splits the weights of a copied fixture in two files with an index.
func shards(t testing.TB, dir string) (names []string) {
	t.Helper()
	source, err := checkpoints.Open(filepath.Join(dir, weightsFile))
	check(t, err)
	defer source.Close()
	where := map[string]string{}
	var parts [2][]checkpoints.Tensor
	for i, name := range source.Names() {
		tensor, err := source.Tensor(name)
		check(t, err)
		parts[i%2] = append(parts[i%2], tensor)
		where[name] = fmt.Sprintf("model-%05d-of-00002.safetensors", i%2+1)
	}
	for i, part := range parts {
		names = append(names, fmt.Sprintf("model-%05d-of-00002.safetensors", i+1))
		check(t, checkpoints.Write(filepath.Join(dir, names[i]), part, nil))
	}
	check(t, os.Remove(filepath.Join(dir, weightsFile)))
	writeJSON(t, dir, indexFile, map[string]any{"metadata": map[string]any{"total_size": 1}, "weight_map": where})
	return names
}

// sameWeights fails the test unless both models have the same values.
func sameWeights(t *testing.T, got, want *nn.Model) {
	t.Helper()
	for i, p := range want.Params.All() {
		if q := got.Params.All()[i]; q.Name != p.Name || !slices.Equal(q.Data, p.Data) {
			t.Errorf("%s is not %s", q.Name, p.Name)
		}
	}
}

func TestShards(t *testing.T) {
	_, want := load(t, "testdata/clip", nil)
	dir := copyFolder(t, "testdata/clip")
	names := shards(t, dir)
	_, got := load(t, dir, nil)
	sameWeights(t, got, want)

	for _, tt := range []struct {
		want   string
		change func(dir string, where map[string]any)
	}{
		{"weight_map is empty", func(_ string, where map[string]any) { clear(where) }},
		{`shard "../` + names[0] + `": want the plain name`, func(_ string, where map[string]any) { where["logit_scale"] = "../" + names[0] }},
		{`shard "/etc/passwd": want the plain name`, func(_ string, where map[string]any) { where["logit_scale"] = "/etc/passwd" }},
		{`shard "..": want the plain name`, func(_ string, where map[string]any) { where["logit_scale"] = ".." }},
		{`shard "config.json": want the plain name of a .safetensors file`, func(_ string, where map[string]any) { where["logit_scale"] = "config.json" }},
		{`says that it is in "other.safetensors"`, func(_ string, where map[string]any) { where["logit_scale"] = "other.safetensors" }},
		{`tensor "more" is not in ` + names[0], func(_ string, where map[string]any) { where["more"] = names[0] }},
		{`model.safetensors.index.json says that it is in ""`, func(_ string, where map[string]any) { delete(where, "logit_scale") }},
		{"1025 shards, at most 1024", func(_ string, where map[string]any) {
			for i := range 1023 {
				where[fmt.Sprint(i)] = fmt.Sprintf("%d.safetensors", i)
			}
		}},
		{"no such file", func(dir string, _ map[string]any) { check(t, os.Remove(filepath.Join(dir, names[1]))) }},
		{"a link out of the folder", func(dir string, _ map[string]any) {
			other := filepath.Join(t.TempDir(), "x.safetensors")
			check(t, os.Rename(filepath.Join(dir, names[1]), other))
			link(t, other, filepath.Join(dir, names[1]))
		}},
		{"not a regular file", func(dir string, _ map[string]any) {
			check(t, os.Remove(filepath.Join(dir, names[1])))
			check(t, os.Mkdir(filepath.Join(dir, names[1]), 0o777))
		}},
	} {
		t.Run(tt.want, func(t *testing.T) {
			dir := copyFolder(t, "testdata/clip")
			shards(t, dir)
			index := readJSON(t, filepath.Join(dir, indexFile))
			tt.change(dir, index["weight_map"].(map[string]any))
			writeJSON(t, dir, indexFile, index)
			refuses(t, dir, tt.want)
		})
	}
}

// Links within the folder are followed, those of a hub cache into its folder of blobs, and no others.
func TestLinks(t *testing.T) {
	_, want := load(t, "testdata/minilm", nil)
	t.Run("within", func(t *testing.T) {
		dir := copyFolder(t, "testdata/minilm")
		check(t, os.Rename(filepath.Join(dir, weightsFile), filepath.Join(dir, "weights")))
		link(t, "weights", filepath.Join(dir, weightsFile))
		_, got := load(t, dir, nil)
		sameWeights(t, got, want)
	})
	t.Run("out", func(t *testing.T) {
		dir := copyFolder(t, "testdata/minilm")
		check(t, os.Remove(filepath.Join(dir, weightsFile)))
		link(t, filepath.Join(copyFolder(t, "testdata/minilm"), weightsFile), filepath.Join(dir, weightsFile))
		refuses(t, dir, "a link out of the folder")
	})
	t.Run("to nothing", func(t *testing.T) {
		dir := copyFolder(t, "testdata/minilm")
		check(t, os.Remove(filepath.Join(dir, weightsFile)))
		link(t, "nothing", filepath.Join(dir, weightsFile))
		refuses(t, dir, "no such file")
	})

	// cache lays the model out as a hub cache does; blobs of another model lie beside.
	cache := func(t *testing.T, model, blobs string, blob func(i int) string) string {
		root := t.TempDir()
		dir := filepath.Join(root, model, "snapshots", strings.Repeat("a", 40))
		check(t, os.MkdirAll(filepath.Join(root, blobs), 0o777))
		check(t, os.MkdirAll(filepath.Join(dir, "1_Pooling"), 0o777))
		for i, name := range []string{"config.json", "modules.json", "sentence_bert_config.json", "tokenizer.json", "tokenizer_config.json", weightsFile, "1_Pooling/config.json"} {
			data, err := os.ReadFile(filepath.Join("testdata/minilm", name))
			check(t, err)
			to := filepath.Join(root, blobs, blob(i))
			check(t, os.WriteFile(to, data, 0o666))
			rel, err := filepath.Rel(filepath.Dir(filepath.Join(dir, name)), to)
			check(t, err)
			link(t, rel, filepath.Join(dir, name))
		}
		return dir
	}
	hash := func(i int) string { return fmt.Sprintf("%064x", i) }
	t.Run("hub cache", func(t *testing.T) {
		_, got := load(t, cache(t, "models--a--b", "models--a--b/blobs", hash), nil)
		sameWeights(t, got, want)
	})
	t.Run("another model of the cache", func(t *testing.T) {
		refuses(t, cache(t, "models--a--b", "models--a--c/blobs", hash), "a link out of the folder")
	})
	t.Run("no hub cache", func(t *testing.T) {
		refuses(t, cache(t, "model", "model/blobs", hash), "a link out of the folder")
	})
	t.Run("no hash", func(t *testing.T) {
		refuses(t, cache(t, "models--a--b", "models--a--b/blobs", func(i int) string { return fmt.Sprint("file", i) }), "a link out of the folder")
	})
}

// rewrite changes the tensors of a copied fixture.
func rewrite(t testing.TB, dir string, change func(tensors map[string]checkpoints.Tensor)) {
	t.Helper()
	path := filepath.Join(dir, weightsFile)
	source, err := checkpoints.Open(path)
	check(t, err)
	tensors := map[string]checkpoints.Tensor{}
	for _, name := range source.Names() {
		tensor, err := source.Tensor(name)
		check(t, err)
		tensors[name] = tensor
	}
	check(t, source.Close())
	change(tensors)
	var list []checkpoints.Tensor
	for name, tensor := range tensors {
		tensor.Name = name
		list = append(list, tensor)
	}
	check(t, checkpoints.Write(path, list, nil))
}

// Weights that are missing, too many, of another shape or type; and no weights.
func TestWeightsErrors(t *testing.T) {
	const class = "vision_model.embeddings.class_embedding"
	for want, change := range map[string]func(m map[string]checkpoints.Tensor){
		"of 109 tensors that config.json asks for: 1 missing (" + class + ")": func(m map[string]checkpoints.Tensor) { delete(m, class) },
		"1 unexpected (vision_model.register_tokens)": func(m map[string]checkpoints.Tensor) {
			m["vision_model.register_tokens"] = checkpoints.FromFloat32("", []int{1}, []float32{1})
		},
		class + ": [2 24] in the file, [48] by config.json": func(m map[string]checkpoints.Tensor) {
			x := m[class]
			x.Shape = []int{2, 24}
			m[class] = x
		},
		class + ": type I32, want F32": func(m map[string]checkpoints.Tensor) {
			x := m[class]
			x.DType = checkpoints.I32
			m[class] = x
		},
		"tensor logit_scale is missing": func(m map[string]checkpoints.Tensor) { delete(m, "logit_scale") },
		"tensor logit_scale: [2] of F32, want one floating-point number": func(m map[string]checkpoints.Tensor) {
			m["logit_scale"] = checkpoints.FromFloat32("", []int{2}, []float32{1, 2})
		},
	} {
		dir := copyFolder(t, "testdata/clip")
		rewrite(t, dir, change)
		refuses(t, dir, want)
	}
	dir := copyFolder(t, "testdata/clip")
	check(t, os.Remove(filepath.Join(dir, weightsFile)))
	refuses(t, dir, "neither model.safetensors nor model.safetensors.index.json is there")
	check(t, os.WriteFile(filepath.Join(dir, weightsFile), []byte("\xff\xff\xff\xff\xff\xff\xff\x7f{}"), 0o666))
	refuses(t, dir, "header of 9223372036854775807 bytes")
	refuses(t, filepath.Join(dir, "none"), "no such file")

	m, err := Open("testdata/clip")
	check(t, err)
	for want, change := range map[string]func(c *nn.Config){
		"has no memory":                       func(*nn.Config) {},
		"no parameter vision.norm_pre.weight": func(c *nn.Config) { c.Vision.InputNorm = false },
		"nothing is published for parameter vision.blocks.0.ls1.gamma":                               func(c *nn.Config) { c.Vision.LayerScale = true },
		"parameter vision.blocks.0.mlp.fc1.weight is [96 48], published is":                          func(c *nn.Config) { c.Vision.MLP = 96 },
		"parameter text.pos_embed has 21 positions, 20 are published":                                func(c *nn.Config) { c.Text.Length = 21 },
		"parameter text.token_embedding.weight is [121 32], published is text_model.embeddings.toke": nil,
	} {
		c, vocab := m.Config, m.Vocab
		if change == nil {
			vocab++
		} else {
			change(&c)
		}
		n, err := nn.Declare(c, vocab)
		check(t, err)
		if want != "has no memory" {
			check(t, n.Params.Allocate())
		}
		vision, text := m.Weights(n.Params, nn.VisionTower), m.Weights(n.Params, nn.TextTower)
		if !strings.Contains(fmt.Sprint(vision, text), want) {
			t.Errorf("%v, %v: want %q", vision, text, want)
		}
	}
	text, n := load(t, "testdata/minilm", nil)
	if err := text.Weights(n.Params, nn.VisionTower); err == nil || !strings.Contains(err.Error(), "the model has no such tower") {
		t.Errorf("the image tower of MiniLM: %v", err)
	}
}

// A file that changes between Open and Weights.
func TestFileChanges(t *testing.T) {
	dir := copyFolder(t, "testdata/clip")
	m, err := Open(dir)
	check(t, err)
	n, err := nn.Declare(m.Config, m.Vocab)
	check(t, err)
	check(t, n.Params.Allocate())
	rewrite(t, dir, func(m map[string]checkpoints.Tensor) { delete(m, "visual_projection.weight") })
	if err := m.Weights(n.Params, nn.VisionTower); err == nil || !strings.Contains(err.Error(), "the file has changed") {
		t.Errorf("error %v", err)
	}
}

// The other ways in which the same models are published.
func TestVariants(t *testing.T) {
	t.Run("bert with prefix and old names", func(t *testing.T) {
		_, want := load(t, "testdata/minilm", nil)
		dir := copyFolder(t, "testdata/minilm")
		rewrite(t, dir, func(m map[string]checkpoints.Tensor) {
			old := strings.NewReplacer("LayerNorm.weight", "LayerNorm.gamma", "LayerNorm.bias", "LayerNorm.beta")
			for _, name := range slices.Sorted(maps.Keys(m)) {
				x := m[name]
				delete(m, name)
				m["bert."+old.Replace(name)] = x
			}
			m["cls.predictions.bias"] = checkpoints.FromFloat32("", []int{1}, []float32{1})
		})
		_, got := load(t, dir, nil)
		sameWeights(t, got, want)
		rewrite(t, dir, func(m map[string]checkpoints.Tensor) {
			m["embeddings.LayerNorm.weight"] = m["bert.embeddings.LayerNorm.gamma"]
		})
		refuses(t, dir, "is there twice")
	})
	t.Run("bert alone", func(t *testing.T) {
		_, want := load(t, "testdata/minilm", func(c *nn.Config) { c.Text.Length = 512 })
		dir := copyFolder(t, "testdata/minilm")
		check(t, os.Remove(filepath.Join(dir, "modules.json")))
		m, got := load(t, dir, nil)
		if m.Normalize || m.Config.Text.Pool != nn.PoolMean || m.Config.Text.Length != 512 {
			t.Errorf("normalize %v, %+v", m.Normalize, m.Config.Text)
		}
		sameWeights(t, got, want)
	})
	for _, tower := range []nn.Tower{nn.VisionTower, nn.TextTower} {
		for _, projection := range []bool{true, false} {
			t.Run(fmt.Sprintf("clip %s, projection %v", tower, projection), func(t *testing.T) {
				_, both := load(t, "testdata/clip", nil)
				dir := copyFolder(t, "testdata/clip")
				c := readJSON(t, filepath.Join(dir, "config.json"))[string(tower)+"_config"].(map[string]any)
				c["architectures"] = []string{"CLIPModel"}
				if projection {
					c["architectures"] = []string{"CLIPModelWithProjection"}
				}
				writeJSON(t, dir, "config.json", c)
				keep := map[nn.Tower]string{nn.VisionTower: "vis", nn.TextTower: "text"}[tower]
				rewrite(t, dir, func(m map[string]checkpoints.Tensor) {
					for _, name := range slices.Sorted(maps.Keys(m)) {
						if !strings.HasPrefix(name, keep) || !projection && strings.Contains(name, "_projection") {
							delete(m, name)
						}
					}
				})
				m, got := load(t, dir, nil)
				if want := map[bool]int{true: 24, false: map[nn.Tower]int{nn.VisionTower: 48, nn.TextTower: 32}[tower]}[projection]; m.Config.EmbedDim != want {
					t.Errorf("embeddings of %d, want %d", m.Config.EmbedDim, want)
				}
				for _, p := range got.Params.All() {
					if !tower.Has(p.Name) || !slices.Equal(p.Data, both.Params.Lookup(p.Name).Data) {
						t.Errorf("%s differs", p.Name)
					}
				}
			})
		}
	}
	// Halves: what their rounding leaves of the numbers.
	for dtype, bits := range map[checkpoints.DType]float64{checkpoints.F16: 11, checkpoints.BF16: 8} {
		t.Run(string(dtype), func(t *testing.T) {
			_, want := load(t, "testdata/dinov2", nil)
			dir := copyFolder(t, "testdata/dinov2")
			rewrite(t, dir, func(m map[string]checkpoints.Tensor) {
				for name, x := range m {
					v, err := checkpoints.Float32s(x)
					check(t, err)
					m[name] = halves(name, x.Shape, v, dtype)
				}
			})
			_, got := load(t, dir, nil)
			for i, p := range want.Params.All() {
				for j, v := range p.Data {
					if d, most := float64(got.Params.All()[i].Data[j]-v), max(float64(v), -float64(v))/math.Exp2(bits-1)+6.2e-5; !(max(d, -d) <= most) {
						t.Fatalf("%s[%d] = %v, want %v", p.Name, j, got.Params.All()[i].Data[j], v)
					}
				}
			}
		})
	}
}

// halves rounds numbers to 16 bits, toward zero. They are not too small for it.
func halves(name string, shape []int, v []float32, dtype checkpoints.DType) checkpoints.Tensor {
	x := checkpoints.Tensor{Name: name, DType: dtype, Shape: shape}
	for _, f := range v {
		bits := math.Float32bits(f)
		half := uint16(bits >> 16)
		if dtype == checkpoints.F16 {
			half = uint16(bits >> 16 & 0x8000)
			if exponent := int(bits>>23&0xff) - 127 + 15; exponent > 0 {
				half |= uint16(exponent<<10) | uint16(bits>>13&0x3ff)
			}
		}
		x.Data = binary.LittleEndian.AppendUint16(x.Data, half)
	}
	return x
}
