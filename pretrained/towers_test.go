package pretrained

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relsim/checkpoints"
	"relsim/graph"
	"relsim/kernel"
	"relsim/nn"
)

func TestDINOv2(t *testing.T) {
	for _, tt := range []struct {
		dir, of string
		size    int // 0: that of config.json
	}{{"dinov2", "native", 0}, {"dinov2", "larger", 98}, {"dinov2_swiglu", "native", 0}} {
		t.Run(tt.dir+"/"+tt.of, func(t *testing.T) {
			dir := filepath.Join("testdata", tt.dir)
			m, n := load(t, dir, func(c *nn.Config) {
				if tt.size != 0 {
					c.Vision.ImageSize = tt.size
				}
			})
			nearDINOv2(t, openGolden(t, dir), tt.of, m, n)
		})
	}
}

// nearDINOv2 compares all that the tower makes of the pictures of a case, alone and together.
func nearDINOv2(t *testing.T, g *golden, of string, m *Model, n *nn.Model) {
	pixels, shape := g.floats("in." + of + ".pixel_values")
	g.near(t, of+".position_embeddings", n.Images.Pos.Data, nil)
	onTiers(t, func(t *testing.T) {
		for _, batch := range []int{shape[0], 1} {
			v := visionValues(t, n, pixels, batch)
			for i := range m.Config.Vision.Layers + 1 {
				g.near(t, fmt.Sprintf("%s.hidden_states.%d", of, i), v[fmt.Sprintf("hidden.%d", i)], nil)
			}
			g.near(t, of+".last_hidden_state", v["normed"], nil)
			g.near(t, of+".pooler_output", v["pooled"], nil)
			g.near(t, of+".pooler_output", v["features"], nil)
			g.near(t, of+".cls_normalized", v["embedding"], nil)
		}
	})
}

// Pictures that are not square: nn takes none, but the positions for them, and what the layers make of
// them, are in the fixtures.
func TestDINOv2NotSquare(t *testing.T) {
	for _, tt := range []struct{ dir, of string }{{"dinov2", "nonsquare"}, {"dinov2_swiglu", "larger"}} {
		t.Run(tt.dir+"/"+tt.of, func(t *testing.T) {
			dir := filepath.Join("testdata", tt.dir)
			g := openGolden(t, dir)
			m, n := load(t, dir, nil)
			c := m.Config.Vision
			pixels, shape := g.floats("in." + tt.of + ".pixel_values")
			h, w := shape[2]/c.PatchSize, shape[3]/c.PatchSize
			table := n.Images.Pos.Data
			positions := make([]float32, (1+h*w)*c.Width)
			copy(positions, table[:c.Width])
			nn.ResizePositions(positions[c.Width:], table[c.Width:], c.Width, c.Grid(), c.Grid(), h, w)
			g.near(t, tt.of+".position_embeddings", positions, nil)
			onTiers(t, func(t *testing.T) {
				v := values{b: graph.NewBuilder()}
				images, pos := v.b.Input("images", shape...), v.b.Input("positions", 1+h*w, c.Width)
				param := func(p *nn.Param, shape ...int) *graph.Node { return v.b.Param(p.Name, shape...) }
				stem := n.Images.Stem[0]
				x := v.b.Conv2D(images, param(stem.Weight, stem.Weight.Shape...), param(stem.Bias, stem.Bias.Shape...), kernel.ConvShape{
					Batch: 1, InC: 3, InH: shape[2], InW: shape[3], OutC: c.Width, KH: c.PatchSize, KW: c.PatchSize,
					StrideH: c.PatchSize, StrideW: c.PatchSize, ChannelsFirst: true,
				})
				x = v.b.AddPosition(v.b.PrependToken(x, param(n.Images.Class, c.Width), h*w), pos)
				for i := range n.Images.Blocks {
					v.add(fmt.Sprintf("%s.hidden_states.%d", tt.of, i), x)
					x = n.Images.Blocks[i].Forward(v.b, x, nn.Sequence{Batch: 1, Tokens: 1 + h*w})
				}
				v.add(fmt.Sprintf("%s.hidden_states.%d", tt.of, c.Layers), x)
				v.add(tt.of+".last_hidden_state", n.Images.Norm.Forward(v.b, x))
				for name, got := range v.run(t, n, func(p *graph.Program) error {
					if err := p.SetFloats(pos, positions); err != nil {
						return err
					}
					return p.SetFloats(images, pixels)
				}) {
					g.near(t, name, got, nil)
				}
			})
		})
	}
}

// The weights of the DINOv2 fixtures under the names of timm.
func TestViT(t *testing.T) {
	for _, name := range []string{"dinov2", "dinov2_swiglu"} {
		t.Run(name, func(t *testing.T) {
			from := filepath.Join("testdata", name)
			heads := 3
			if name == "dinov2_swiglu" {
				heads = 4
			}
			dir := t.TempDir()
			writeJSON(t, dir, "config.json", map[string]any{
				"architecture": "vit_small_patch14_dinov2", "num_classes": 0, "global_pool": "token", "model_args": map[string]any{"num_heads": heads},
			})
			source, err := checkpoints.Open(filepath.Join(from, "model.safetensors"))
			check(t, err)
			defer source.Close()
			rename := strings.NewReplacer("embeddings.cls_token", "cls_token", "embeddings.position_embeddings", "pos_embed",
				"embeddings.patch_embeddings.projection", "patch_embed.proj", "encoder.layer", "blocks", "attention.output.dense", "attn.proj",
				"layer_scale1.lambda1", "ls1.gamma", "layer_scale2.lambda1", "ls2.gamma", "layernorm", "norm",
				"weights_in", "fc1", "weights_out", "fc2")
			var tensors []checkpoints.Tensor
			for _, n := range source.Names() {
				tensor, err := source.Tensor(n)
				check(t, err)
				switch {
				case strings.Contains(n, "mask_token"), strings.Contains(n, "attention.key"), strings.Contains(n, "attention.value"):
					continue
				case strings.Contains(n, "attention.query"):
					for _, other := range []string{"key", "value"} {
						more, err := source.Tensor(strings.Replace(n, "query", other, 1))
						check(t, err)
						tensor.Data = append(tensor.Data, more.Data...)
					}
					tensor.Shape[0] *= 3
					n = strings.Replace(n, "attention.attention.query", "attn.qkv", 1)
				}
				tensor.Name = rename.Replace(n)
				tensors = append(tensors, tensor)
			}
			check(t, checkpoints.Write(filepath.Join(dir, "model.safetensors"), tensors, nil))
			m, n := load(t, dir, nil)
			if m.Family != ViT {
				t.Errorf("family %s", m.Family)
			}
			nearDINOv2(t, openGolden(t, from), "native", m, n)

			m.Config.Vision.ImageSize += 14
			n, err = nn.Declare(m.Config, 0)
			check(t, err)
			check(t, n.Params.Allocate())
			if err := m.Weights(n.Params, nn.VisionTower); err == nil || !strings.Contains(err.Error(), "not interpolated") {
				t.Errorf("another image size: %v", err)
			}
		})
	}
}

func writeJSON(t testing.TB, dir, name string, v any) {
	t.Helper()
	data, err := json.Marshal(v)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, name), data, 0o666))
}

// Two sentences in one sequence: nn takes one, but what the layers make of rows of both types, and of a mask with
// holes, is in the fixture.
func TestMiniLMPair(t *testing.T) {
	const dir = "testdata/minilm"
	g := openGolden(t, dir)
	_, n := load(t, dir, nil)
	ids, shape := g.ints("in.pair.input_ids")
	kinds, _ := g.ints("in.pair.token_type_ids")
	mask, _ := g.floats("in.pair.attention_mask")
	batch, tokens, width := shape[0], shape[1], n.Config.Text.Width
	narrow := func(list []int64) []int32 {
		out := make([]int32, len(list))
		for i, v := range list {
			out[i] = int32(v)
		}
		return out
	}
	onTiers(t, func(t *testing.T) {
		v := values{b: graph.NewBuilder()}
		words, types := v.b.InputIDs("words", len(ids)), v.b.InputIDs("types", len(kinds))
		pos, seen := v.b.Input("positions", tokens, width), v.b.Input("mask", batch, tokens)
		table := func(p *nn.Param) *graph.Node { return v.b.Param(p.Name, p.Shape...) }
		x := v.b.Add(v.b.Embedding(table(n.Words.Words), words), v.b.Embedding(table(n.Words.Types), types))
		x = n.Words.InputNorm.Forward(v.b, v.b.AddPosition(x, pos))
		for i := range n.Words.Blocks {
			x = n.Words.Blocks[i].Forward(v.b, x, nn.Sequence{Batch: batch, Tokens: tokens, KeyMask: seen})
		}
		v.add("pair.last_hidden_state", x)
		for name, got := range v.run(t, n, func(p *graph.Program) error {
			return errors.Join(p.SetIDs(words, narrow(ids)), p.SetIDs(types, narrow(kinds)),
				p.SetFloats(pos, n.Words.Pos.Data[:tokens*width]), p.SetFloats(seen, mask))
		}) {
			g.near(t, name, got, nil)
		}
	})
}

func TestMiniLM(t *testing.T) {
	const dir = "testdata/minilm"
	g := openGolden(t, dir)
	for _, of := range []string{"batch_a", "batch_long"} {
		ids, shape := g.ints("in." + of + ".input_ids")
		mask, _ := g.ints("in." + of + ".attention_mask")
		seen := func(row int) bool { return mask[row] != 0 }
		for _, length := range []int{shape[1], 256} { // padded to the longest of the batch, and to all that is read
			t.Run(fmt.Sprintf("%s/%d", of, length), func(t *testing.T) {
				m, n := load(t, dir, func(c *nn.Config) {
					if c.Text.Length != 256 {
						t.Errorf("max_seq_length %d, want 256", c.Text.Length)
					}
					c.Text.Length = length
				})
				if !m.Normalize || m.Vocab != 389 {
					t.Errorf("normalize %v, vocabulary %d", m.Normalize, m.Vocab)
				}
				rows := captions(ids, mask, shape[1])
				onTiers(t, func(t *testing.T) {
					for _, batch := range []int{shape[0], 1} {
						v := textValues(t, n, rows, batch)
						if of == "batch_a" && length == shape[1] {
							for i := range m.Config.Text.Layers + 1 {
								g.near(t, fmt.Sprintf("batch_a.hidden_states.%d", i), v[fmt.Sprintf("hidden.%d", i)], seen)
							}
							g.near(t, "batch_a.last_hidden_state", v[fmt.Sprintf("hidden.%d", m.Config.Text.Layers)], seen)
						}
						g.near(t, of+".mean_pooled", v["features"], nil)
						g.near(t, of+".sentence_embedding", v["embedding"], nil)
					}
				})
			})
		}
	}
}

// The other poolings of sentence-transformers, over the hidden states of the reference.
func TestPoolings(t *testing.T) {
	const from = "testdata/minilm"
	g := openGolden(t, from)
	ids, shape := g.ints("in.batch_a.input_ids")
	mask, _ := g.ints("in.batch_a.attention_mask")
	hidden, _ := g.floats("batch_a.last_hidden_state")
	batch, length, width := shape[0], shape[1], 24
	want := map[string][]float32{"cls": make([]float32, batch*width), "max": make([]float32, batch*width)}
	for b := range batch {
		for c := range width {
			at := func(l int) float32 { return hidden[(b*length+l)*width+c] }
			want["cls"][b*width+c] = at(0)
			top := at(0)
			for l := range length {
				if mask[b*length+l] != 0 {
					top = max(top, at(l))
				}
			}
			want["max"][b*width+c] = top
		}
	}
	for pool, values := range want {
		t.Run(pool, func(t *testing.T) {
			dir := copyFolder(t, from)
			writeJSON(t, filepath.Join(dir, "1_Pooling"), "config.json", map[string]any{"word_embedding_dimension": width, "pooling_mode_" + pool + map[string]string{"cls": "_token", "max": "_tokens"}[pool]: true})
			m, n := load(t, dir, nil)
			if string(m.Config.Text.Pool) != pool {
				t.Fatalf("pool %q", m.Config.Text.Pool)
			}
			onTiers(t, func(t *testing.T) {
				got := textValues(t, n, captions(ids, mask, length), batch)["features"]
				stats := g.Stats["batch_a.last_hidden_state"]
				for i, v := range values {
					if d := float64(got[i] - v); !(max(d, -d) <= 10*stats.Dev+1e-5*stats.MaxAbs) {
						t.Fatalf("[%d] = %v, want %v", i, got[i], v)
					}
				}
			})
		})
	}
}

// copyFolder copies a folder of fixtures without the golden files.
func copyFolder(t testing.TB, from string) string {
	t.Helper()
	dir := t.TempDir()
	check(t, filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil || strings.HasPrefix(d.Name(), "golden.") {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, rel)
		if d.IsDir() {
			return os.MkdirAll(to, 0o777)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, data, 0o666)
	}))
	return dir
}

// Every tensor has its place: a parameter of the tower is filled once, and entirely.
func TestNamesCoverParameters(t *testing.T) {
	for _, dir := range []string{"clip", "clip_gelu", "dinov2", "dinov2_swiglu", "minilm"} {
		m, err := Open(filepath.Join("testdata", dir))
		check(t, err)
		if dir == "minilm" {
			m.Config.Text.Length = 512
		}
		n, err := nn.Declare(m.Config, m.Vocab)
		check(t, err)
		rows := map[string][]bool{}
		for _, p := range n.Params.All() {
			rows[p.Name] = make([]bool, p.Shape[0])
		}
		for _, name := range m.Names() {
			filled := rows[name.Param]
			if filled == nil {
				t.Fatalf("%s: %s goes to %s, which is no parameter", dir, name.Published, name.Param)
			}
			low, high := name.Low, name.High
			if high == 0 {
				high = len(filled)
			}
			for i := low; i < high; i++ {
				if filled[i] {
					t.Errorf("%s: row %d of %s is filled twice", dir, i, name.Param)
				}
				filled[i] = true
			}
		}
		for name, filled := range rows {
			if slices.Contains(filled, false) {
				t.Errorf("%s: not all of %s is filled", dir, name)
			}
		}
	}
}
