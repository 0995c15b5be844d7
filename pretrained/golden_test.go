package pretrained

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"relsim/checkpoints"
	"relsim/graph"
	"relsim/kernel"
	"relsim/nn"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// onTiers runs a test on every tier of the kernels.
func onTiers(t *testing.T, f func(t *testing.T)) {
	for _, tier := range kernel.Tiers() {
		if tier.BF16() {
			continue
		}
		t.Run(tier.String(), func(t *testing.T) {
			restore, err := kernel.SetTier(tier)
			check(t, err)
			defer restore()
			f(t)
		})
	}
}

// golden is what the reference implementation made of a checkpoint.
type golden struct {
	t     *testing.T
	file  *checkpoints.File
	Stats map[string]struct {
		MaxAbs float64 `json:"max_abs"`
		Dev    float64 `json:"dev_from_float64"`
	} `json:"stats"`
}

func openGolden(t *testing.T, dir string) *golden {
	t.Helper()
	g := &golden{t: t}
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	check(t, err)
	check(t, json.Unmarshal(data, g))
	g.file, err = checkpoints.Open(filepath.Join(dir, "golden.safetensors"))
	check(t, err)
	t.Cleanup(func() { g.file.Close() })
	return g
}

func (g *golden) floats(name string) ([]float32, []int) {
	g.t.Helper()
	v, shape, err := g.file.Float32(name)
	check(g.t, err)
	return v, shape
}

func (g *golden) ints(name string) ([]int64, []int) {
	g.t.Helper()
	v, shape, err := g.file.Int64(name)
	check(g.t, err)
	return v, shape
}

// near fails the test unless the rows of got that keep names (nil: all) are those of a
// golden tensor, within the tolerance that the fixtures state for it.
func (g *golden) near(t *testing.T, name string, got []float32, keep func(row int) bool) {
	t.Helper()
	want, shape := g.floats(name)
	stats, ok := g.Stats[name]
	if !ok {
		t.Fatalf("%s: no statistics", name)
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %v", name, len(got), shape)
	}
	limit, width := 10*stats.Dev+1e-5*stats.MaxAbs, 1
	if len(shape) > 0 {
		width = shape[len(shape)-1]
	}
	worst, at, compared := 0.0, -1, 0
	for i := range want {
		if keep != nil && !keep(i/width) {
			continue
		}
		compared++
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= worst) {
			worst, at = d, i
		}
	}
	if compared == 0 {
		t.Fatalf("%s: nothing is compared", name)
	}
	if !(worst <= limit) {
		t.Errorf("%s[%d] = %v, want %v: off by %.3g, allowed %.3g", name, at, got[at], want[at], worst, limit)
	}
}

// load opens a model, lets edit change its configuration, and returns it with weights.
func load(t testing.TB, dir string, edit func(*nn.Config)) (*Model, *nn.Model) {
	t.Helper()
	m, err := Open(dir)
	check(t, err)
	if edit != nil {
		edit(&m.Config)
	}
	n, err := nn.Declare(m.Config, m.Vocab)
	check(t, err)
	check(t, n.Params.Allocate())
	for _, tower := range []nn.Tower{nn.VisionTower, nn.TextTower} {
		if m.Config.Has(tower) {
			check(t, m.Weights(n.Params, tower))
		}
	}
	return m, n
}

// values are nodes by their names in the golden file.
type values struct {
	b     *graph.Builder
	names []string
	nodes []*graph.Node
}

func (v *values) add(name string, n *graph.Node) {
	v.names, v.nodes = append(v.names, name), append(v.nodes, n)
}

// run compiles the values, sets the inputs and returns what comes out.
func (v *values) run(t *testing.T, m *nn.Model, set func(p *graph.Program) error) map[string][]float32 {
	t.Helper()
	check(t, v.b.Err())
	p, err := graph.Compile(v.b, graph.Config{Outputs: v.nodes})
	check(t, err)
	defer p.Close()
	check(t, m.Bind(p))
	check(t, set(p))
	check(t, p.Forward())
	out := map[string][]float32{}
	for i, n := range v.nodes {
		out[v.names[i]] = slices.Clone(p.Value(n))
	}
	return out
}

// visionValues runs the image tower, batch pictures at a time, and returns what is between its
// layers as hidden.0 …, and pooled, features and embedding.
func visionValues(t *testing.T, m *nn.Model, pixels []float32, batch int) map[string][]float32 {
	t.Helper()
	size := 3 * m.Config.Vision.ImageSize * m.Config.Vision.ImageSize
	if len(pixels)%(size*batch) != 0 {
		t.Fatalf("%d pixels are no pictures of %d", len(pixels), size)
	}
	all := map[string][]float32{}
	for at := 0; at < len(pixels); at += size * batch {
		v := values{b: graph.NewBuilder()}
		images, emb := m.Vision(v.b, batch)
		x := m.Images.Tokens(v.b, images, batch)
		for i := range m.Images.Blocks {
			v.add(fmt.Sprintf("hidden.%d", i), x)
			x = m.Images.Blocks[i].Forward(v.b, x, m.Images.Sequence(batch))
		}
		v.add(fmt.Sprintf("hidden.%d", len(m.Images.Blocks)), x)
		v.add("normed", m.Images.Norm.Forward(v.b, x))
		v.add("pooled", m.Images.Pool(v.b, x))
		v.add("features", m.Images.Forward(v.b, images, batch))
		v.add("embedding", emb)
		for name, values := range v.run(t, m, func(p *graph.Program) error { return p.SetFloats(images, pixels[at:at+size*batch]) }) {
			all[name] = append(all[name], values...)
		}
	}
	return all
}

// textValues is the same for the text tower.
func textValues(t *testing.T, m *nn.Model, captions [][]int32, batch int) map[string][]float32 {
	t.Helper()
	all := map[string][]float32{}
	for at := 0; at < len(captions); at += batch {
		v := values{b: graph.NewBuilder()}
		in, emb := m.Text(v.b, batch)
		x := m.Words.Tokens(v.b, in)
		for i := range m.Words.Blocks {
			v.add(fmt.Sprintf("hidden.%d", i), x)
			x = m.Words.Blocks[i].Forward(v.b, x, m.Words.Sequence(in, batch))
		}
		v.add(fmt.Sprintf("hidden.%d", len(m.Words.Blocks)), x)
		if m.Words.Norm != nil {
			v.add("normed", m.Words.Norm.Forward(v.b, x))
		}
		v.add("pooled", m.Words.Pool(v.b, x, in))
		v.add("features", m.Words.Forward(v.b, in, batch))
		v.add("embedding", emb)
		ids, weights := make([]int32, batch*in.Length), make([]float32, batch*in.Length)
		m.FillText(ids, weights, captions[at:min(at+batch, len(captions))], nil, 0)
		for name, values := range v.run(t, m, func(p *graph.Program) error {
			if err := p.SetIDs(in.IDs, ids); err != nil {
				return err
			}
			return p.SetFloats(in.Weights, weights)
		}) {
			all[name] = append(all[name], values...)
		}
	}
	return all
}

// captions splits ids (B, L) into rows; those that the mask hides are no word.
func captions(ids []int64, mask []int64, length int) [][]int32 {
	var rows [][]int32
	for at := 0; at < len(ids); at += length {
		row := make([]int32, length)
		for i := range row {
			row[i] = int32(ids[at+i])
			if mask != nil && mask[at+i] == 0 {
				row[i] = -1
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func TestCLIP(t *testing.T) {
	for _, name := range []string{"clip", "clip_gelu"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("testdata", name)
			g := openGolden(t, dir)
			m, n := load(t, dir, nil)
			pixels, shape := g.floats("in.pixel_values")
			ids, _ := g.ints("in.input_ids")
			mask, _ := g.ints("in.attention_mask")
			length := m.Config.Text.Length
			seen := func(row int) bool { return mask[row] != 0 }
			onTiers(t, func(t *testing.T) {
				for _, batch := range []int{shape[0], 1} {
					v := visionValues(t, n, pixels, batch)
					layers := m.Config.Vision.Layers
					for i := range layers + 1 {
						g.near(t, fmt.Sprintf("vision.hidden_states.%d", i), v[fmt.Sprintf("hidden.%d", i)], nil)
					}
					g.near(t, "vision.last_hidden_state", v[fmt.Sprintf("hidden.%d", layers)], nil)
					g.near(t, "vision.pooler_output", v["pooled"], nil)
					g.near(t, "image_features", v["features"], nil)
					g.near(t, "image_embeds", v["embedding"], nil)

					w := textValues(t, n, captions(ids, nil, length), batch)
					for i := range m.Config.Text.Layers + 1 {
						g.near(t, fmt.Sprintf("text.hidden_states.%d", i), w[fmt.Sprintf("hidden.%d", i)], seen)
					}
					g.near(t, "text_nomask.last_hidden_state", w["normed"], nil)
					g.near(t, "text.last_hidden_state", w["normed"], seen)
					g.near(t, "text_nomask.pooler_output", w["pooled"], nil)
					padded := textValues(t, n, captions(ids, mask, length), batch)
					for _, w := range []map[string][]float32{w, padded} {
						g.near(t, "text.pooler_output", w["pooled"], nil)
						g.near(t, "text_features", w["features"], nil)
						g.near(t, "text_embeds", w["embedding"], nil)
					}

					var logits []float32
					dim := m.Config.EmbedDim
					for i := range shape[0] {
						for j := range shape[0] {
							logits = append(logits, float32(math.Exp(m.LogitScale)*kernel.Dot(nil, v["embedding"][i*dim:(i+1)*dim], w["embedding"][j*dim:(j+1)*dim])))
						}
					}
					g.near(t, "logits_per_image", logits, nil)
				}
			})
		})
	}
}

// A new head keeps the values that were drawn for it.
func TestNewHead(t *testing.T) {
	m, err := Open("testdata/clip")
	check(t, err)
	m.Config.Vision.Head, m.Config.EmbedDim = nn.HeadLinear, 7
	m.Config.Text = nn.TextConfig{Kind: nn.NoText}
	n, err := nn.Declare(m.Config, 0)
	check(t, err)
	check(t, n.Params.Allocate())
	n.Params.Draw(rand.New(rand.NewPCG(1, 2)), func(p *nn.Param) bool { return isHead(p.Name) })
	head := slices.Clone(n.Images.Head.Weight.Data)
	check(t, m.Weights(n.Params, nn.VisionTower))
	if !slices.Equal(n.Images.Head.Weight.Data, head) || slices.Max(head) == 0 {
		t.Error("the new head is not what was drawn")
	}
	g := openGolden(t, "testdata/clip")
	pixels, _ := g.floats("in.pixel_values")
	g.near(t, "vision.pooler_output", visionValues(t, n, pixels, 3)["pooled"], nil)
}
