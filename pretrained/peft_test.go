package pretrained

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relsim/checkpoints"
	"relsim/graph"
	"relsim/nn"
)

// adapted opens the model and the adapters of a fixture, and returns the image tower
// with both.
func adapted(t testing.TB, dir string) (*Model, *Adapter, *nn.Model) {
	t.Helper()
	m, err := Open(dir)
	check(t, err)
	a, err := OpenAdapter(filepath.Join(dir, "adapter"), m)
	check(t, err)
	m.Config.Text = nn.TextConfig{Kind: nn.NoText}
	m.Config.LoRA = &a.LoRA
	return m, a, declared(t, m, a, m.Config)
}

// declared returns the image tower of a configuration with the weights of a fixture.
func declared(t testing.TB, m *Model, a *Adapter, c nn.Config) *nn.Model {
	t.Helper()
	n, err := nn.Declare(c, 0)
	check(t, err)
	check(t, n.Params.Allocate())
	check(t, m.Weights(n.Params, nn.VisionTower))
	check(t, a.Weights(n.Params))
	return n
}

// projected returns the model of lora_clip with the head that upstream puts behind CLIP's
// own projection.
func projected(t testing.TB, m *Model, a *Adapter) *nn.Model {
	t.Helper()
	c := m.Config
	c.Vision.Projection, c.Vision.Head, c.EmbedDim = c.EmbedDim, nn.HeadLinear, 384
	n := declared(t, m, a, c)
	f, err := checkpoints.Open("testdata/lora_clip/projection.safetensors")
	check(t, err)
	defer f.Close()
	check(t, f.ReadFloat32("projection.weight", n.Images.Head.Weight.Data, 0))
	check(t, f.ReadFloat32("projection.bias", n.Images.Head.Bias.Data, 0))
	return n
}

// sameAs fails the test unless got is the golden tensor within the tolerance of
// another, for tensors whose deviation is not stated.
func (g *golden) sameAs(t *testing.T, name, like string, got []float32) {
	t.Helper()
	stats := g.Stats[name]
	stats.Dev = g.Stats[like].Dev
	g.Stats[name] = stats
	g.near(t, name, got, nil)
}

func TestAdapterCLIP(t *testing.T) {
	dir := "testdata/lora_clip"
	g := openGolden(t, dir)
	m, a, n := adapted(t, dir)
	if want := (AdapterConfig{
		Base: "openai/clip-vit-large-patch14", Class: "CLIPVisionTransformer", Rank: 4, Alpha: 8, Dropout: .05, Targets: []string{"q_proj", "v_proj"},
	}); !jsonEqual(t, a.Config, want) {
		t.Errorf("%+v, want %+v", a.Config, want)
	}
	head := projected(t, m, a)
	_, base := load(t, dir, func(c *nn.Config) { c.Text = nn.TextConfig{Kind: nn.NoText} })
	pixels, shape := g.floats("in.pixel_values")
	onTiers(t, func(t *testing.T) {
		for _, batch := range []int{shape[0], 1} {
			g.sameAs(t, "base.image_features", "lora.image_features", visionValues(t, base, pixels, batch)["features"])
			g.near(t, "lora.image_features", visionValues(t, n, pixels, batch)["features"], nil)
			checkGradients(t, g, a, head, pixels, batch)
		}
		before := slices.Clone(n.Params.Data())
		restore := n.Merge(nil)
		for i, layer := range n.Images.Blocks {
			width := n.Config.Vision.Width
			for part, name := range map[int]string{0: "q_proj", 2: "v_proj"} {
				name = "merged_weight.vision_model.encoder.layers." + string(rune('0'+i)) + ".self_attn." + name + ".weight"
				g.near(t, name, layer.Attn.QKV.Weight.Data[part*width*width:(part+1)*width*width], nil)
			}
		}
		for _, batch := range []int{shape[0], 1} {
			g.sameAs(t, "merged.image_features", "lora.image_features", visionValues(t, n, pixels, batch)["features"])
		}
		restore()
		if !slices.Equal(n.Params.Data(), before) {
			t.Error("the weights are not restored")
		}
	})
}

func jsonEqual(t *testing.T, a, b any) bool {
	t.Helper()
	x, err := json.Marshal(a)
	check(t, err)
	y, err := json.Marshal(b)
	check(t, err)
	return string(x) == string(y)
}

// checkGradients compares the loss of projected embeddings, and its gradients, some
// pictures at a time: embeddings of all first, then the loss, then their gradients.
func checkGradients(t *testing.T, g *golden, a *Adapter, n *nn.Model, pixels []float32, batch int) {
	t.Helper()
	b := graph.NewBuilder()
	side := n.Config.Vision.ImageSize
	images, emb := n.Vision(b, batch)
	var wrt []*graph.Node
	for _, p := range b.Params() {
		if !n.Params.Lookup(p.Name()).Frozen {
			wrt = append(wrt, p)
		}
	}
	check(t, b.Err())
	p, err := graph.Compile(b, graph.Config{Embedding: emb, Wrt: wrt})
	check(t, err)
	defer p.Close()
	for _, param := range p.Params() {
		check(t, p.SetFloats(param, n.Params.Lookup(param.Name()).Data))
	}
	grads := map[string][]float32{}
	for _, node := range wrt {
		grads[node.Name()] = make([]float32, node.Shape().TotalSize())
		check(t, p.SetGrad(node, grads[node.Name()]))
	}
	size, dim := batch*3*side*side, n.Config.EmbedDim
	total := len(pixels) / size * batch
	var embedded []float32
	for at := 0; at < len(pixels); at += size {
		check(t, p.SetFloats(images, pixels[at:at+size]))
		check(t, p.Forward())
		embedded = append(embedded, p.Value(emb)...)
	}
	g.near(t, "lora.projected_normalized", embedded, nil)

	lb := graph.NewBuilder()
	e, texts, targets := lb.Input("e", total, dim), lb.Input("t", total, dim), lb.Input("y", total, total)
	logits := lb.Scale(lb.Linear(e, texts, nil), 1/.07)
	loss := lb.CrossEntropy(logits, targets)
	check(t, lb.Err())
	lp, err := graph.Compile(lb, graph.Config{Outputs: []*graph.Node{logits}, Loss: loss, Wrt: []*graph.Node{e}})
	check(t, err)
	defer lp.Close()
	identity := make([]float32, total*total)
	for i := range total {
		identity[i*(total+1)] = 1
	}
	text, _ := g.floats("in.text_normalized")
	upstream := make([]float32, len(embedded))
	check(t, lp.SetFloats(e, embedded))
	check(t, lp.SetFloats(texts, text))
	check(t, lp.SetFloats(targets, identity))
	check(t, lp.SetGrad(e, upstream))
	check(t, lp.Forward())
	g.near(t, "logits", lp.Value(logits), nil)
	g.near(t, "loss", lp.Value(loss), nil)
	check(t, lp.Backward(nil))

	for i := 0; i*size < len(pixels); i++ {
		check(t, p.SetFloats(images, pixels[i*size:(i+1)*size]))
		check(t, p.Forward())
		p.SetAccumulate(i > 0)
		check(t, p.Backward(upstream[i*batch*dim:(i+1)*batch*dim]))
	}
	g.near(t, "grad.projection.weight", grads["vision.head.weight"], nil)
	g.near(t, "grad.projection.bias", grads["vision.head.bias"], nil)
	if len(a.tensors) != 8 || len(grads) != 10 {
		t.Fatalf("%d tensors of adapters, want 8; %d gradients, want 10", len(a.tensors), len(grads))
	}
	for _, tensor := range a.tensors {
		g.near(t, "grad."+tensor.name, grads[tensor.param], nil)
	}
}

func TestAdapterDINOv2(t *testing.T) {
	dir := "testdata/lora_dinov2"
	g := openGolden(t, dir)
	_, a, n := adapted(t, dir)
	pixels, shape := g.floats("in.pixel_values")
	cotangent, _ := g.floats("in.cotangent")
	onTiers(t, func(t *testing.T) {
		for _, batch := range []int{shape[0], 1} {
			g.near(t, "lora.cls", visionValues(t, n, pixels, batch)["pooled"], nil)

			b := graph.NewBuilder()
			side := n.Config.Vision.ImageSize
			images := b.Input("images", batch, 3, side, side)
			cls := n.Images.Forward(b, images, batch)
			check(t, b.Err())
			p, err := graph.Compile(b, graph.Config{Embedding: cls, Wrt: n.Wrt(b)})
			check(t, err)
			defer p.Close()
			check(t, n.Bind(p))
			size, dim, scalar := batch*3*side*side, n.Config.EmbedDim, 0.0
			for i := 0; i*size < len(pixels); i++ {
				upstream := cotangent[i*batch*dim : (i+1)*batch*dim]
				check(t, p.SetFloats(images, pixels[i*size:(i+1)*size]))
				check(t, p.Forward())
				for j, v := range p.Value(cls) {
					scalar += float64(v) * float64(upstream[j])
				}
				p.SetAccumulate(i > 0)
				check(t, p.Backward(upstream))
			}
			g.near(t, "scalar", []float32{float32(scalar)}, nil)
			if len(a.tensors) != 8 || len(p.Wrt()) != 8 {
				t.Fatalf("%d tensors and %d gradients, want 8", len(a.tensors), len(p.Wrt()))
			}
			for _, tensor := range a.tensors {
				g.near(t, "grad."+tensor.name, n.Params.Lookup(tensor.param).Grad, nil)
			}
		}
		n.Merge(nil)
		for _, batch := range []int{shape[0], 1} {
			g.near(t, "lora.cls", visionValues(t, n, pixels, batch)["pooled"], nil)
		}
		_, _, n = adapted(t, dir) // read again
	})
}

// What is written is what was read: the same tensors, bit for bit, under the same names,
// and a configuration with the same settings.
func TestWriteAdapter(t *testing.T) {
	for _, dir := range []string{"testdata/lora_clip", "testdata/lora_dinov2"} {
		m, a, n := adapted(t, dir)
		out := filepath.Join(t.TempDir(), "adapter")
		check(t, WriteAdapter(out, m, nn.VisionTower, n, a.Config.Base))
		again, err := OpenAdapter(out, m)
		check(t, err)
		if !jsonEqual(t, again.Config, a.Config) || !jsonEqual(t, again.LoRA, a.LoRA) {
			t.Errorf("%+v\n%+v, want\n%+v\n%+v", again.Config, again.LoRA, a.Config, a.LoRA)
		}
		want, got := tensors(t, filepath.Join(dir, "adapter", adapterWeightsFile)), tensors(t, filepath.Join(out, adapterWeightsFile))
		if !maps.EqualFunc(got, want, slices.Equal) || len(want) != 8 {
			t.Errorf("tensors %v, want %v", sortedKeys(got), sortedKeys(want))
		}
		var published, written map[string]any
		for file, into := range map[string]*map[string]any{filepath.Join(dir, "adapter", adapterConfigFile): &published, filepath.Join(out, adapterConfigFile): &written} {
			data, err := os.ReadFile(file)
			check(t, err)
			check(t, json.Unmarshal(data, into))
		}
		for key, value := range written {
			if theirs, ok := published[key]; !ok || !jsonEqual(t, theirs, value) {
				t.Errorf("%s is %v, PEFT wrote %v", key, value, theirs)
			}
		}
		restore := n.Merge(nil)
		if err := WriteAdapter(out, m, nn.VisionTower, n, ""); err == nil || !strings.Contains(err.Error(), "merged") {
			t.Errorf("merged adapters are written: %v", err)
		}
		restore()
	}
}

func tensors(t *testing.T, path string) map[string][]float32 {
	t.Helper()
	f, err := checkpoints.Open(path)
	check(t, err)
	defer f.Close()
	all := map[string][]float32{}
	for _, name := range f.Names() {
		v, _, err := f.Float32(name)
		check(t, err)
		all[name] = v
	}
	return all
}

// edited copies an adapter with a changed configuration and other tensors.
func edited(t testing.TB, dir string, config map[string]any, edit func(map[string]checkpoints.Tensor)) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, adapterConfigFile))
	check(t, err)
	keys := map[string]any{}
	check(t, json.Unmarshal(data, &keys))
	for k, v := range config {
		keys[k] = v
	}
	data, err = json.Marshal(keys)
	check(t, err)
	out := t.TempDir()
	check(t, os.WriteFile(filepath.Join(out, adapterConfigFile), data, 0o644))
	f, err := checkpoints.Open(filepath.Join(dir, adapterWeightsFile))
	check(t, err)
	defer f.Close()
	all := map[string]checkpoints.Tensor{}
	for _, name := range f.Names() {
		all[name], err = f.Tensor(name)
		check(t, err)
	}
	if edit != nil {
		edit(all)
	}
	var list []checkpoints.Tensor
	for name, tensor := range all {
		tensor.Name = name
		list = append(list, tensor)
	}
	check(t, checkpoints.Write(filepath.Join(out, adapterWeightsFile), list, nil))
	return out
}

const clipAdapter = "testdata/lora_clip/adapter"

// An adapter is refused with the key, the tensor or the module that is wrong.
func TestAdapterErrors(t *testing.T) {
	const q0 = "base_model.model.encoder.layers.0.self_attn.q_proj"
	m, err := Open("testdata/lora_clip")
	check(t, err)
	for _, tt := range []struct {
		want   string
		config map[string]any
		edit   func(map[string]checkpoints.Tensor)
	}{
		{"adapter_model.safetensors: of 8 tensors that adapter_config.json asks for: 1 missing (" + q0 + ".lora_A.weight)", nil,
			func(all map[string]checkpoints.Tensor) { delete(all, q0+".lora_A.weight") }},
		{"1 unexpected (base_model.model.visual_projection.weight)", nil, func(all map[string]checkpoints.Tensor) {
			all["base_model.model.visual_projection.weight"] = checkpoints.FromFloat32("", []int{1}, []float32{1})
		}},
		{"1 missing (" + q0 + ".lora_B.weight); 1 unexpected (" + q0 + ".lora_magnitude_vector)", nil, func(all map[string]checkpoints.Tensor) {
			all[q0+".lora_magnitude_vector"] = all[q0+".lora_B.weight"]
			delete(all, q0+".lora_B.weight")
		}},
		{"1 different (" + q0 + ".lora_B.weight: [4 32] in the file, [32 4] by adapter_config.json)", nil, func(all map[string]checkpoints.Tensor) {
			all[q0+".lora_B.weight"] = all[q0+".lora_A.weight"]
		}},
		{"1 different (" + q0 + ".lora_A.weight: type I8, want F32, F16, BF16 or F64)", nil, func(all map[string]checkpoints.Tensor) {
			all[q0+".lora_A.weight"] = checkpoints.Tensor{DType: checkpoints.I8, Shape: []int{4, 32}, Data: make([]byte, 128)}
		}},
		{"8 different (" + q0 + ".lora_A.weight: [4 32] in the file, [5 32] by adapter_config.json", map[string]any{"r": 5}, nil},
		{"4 missing (base_model.model.encoder.layers.0.self_attn.k_proj.lora_A.weight", map[string]any{"target_modules": []string{"q_proj", "k_proj", "v_proj"}}, nil},
		{"4 unexpected (base_model.model.encoder.layers.0.self_attn.v_proj.lora_A.weight", map[string]any{"target_modules": []string{"q_proj"}}, nil},
		{"target_modules [\"query\"] of adapter_config.json name no linear layer of the model; names are such as encoder.layers.0.mlp.fc1", map[string]any{"target_modules": []string{"query"}}, nil},
		{"target_modules: null: want a list of names or a regular expression", map[string]any{"target_modules": nil}, nil},
		{"target_modules: []: want", map[string]any{"target_modules": []string{}}, nil},
		{`nn: lora: pattern "(?=x)": error parsing regexp`, map[string]any{"target_modules": "(?=x)"}, nil},
		{`peft_type "IA3": want LORA`, map[string]any{"peft_type": "IA3"}, nil},
		{`bias "all": want none`, map[string]any{"bias": "all"}, nil},
		{"fan_in_fan_out true: want false", map[string]any{"fan_in_fan_out": true}, nil},
		{"use_dora is true: not supported", map[string]any{"use_dora": true}, nil},
		{"lora_bias is true: not supported", map[string]any{"lora_bias": true}, nil},
		{`modules_to_save is ["classifier"]: not supported`, map[string]any{"modules_to_save": []string{"classifier"}}, nil},
		{"layer_replication is [[0,2]]: not supported", map[string]any{"layer_replication": [][]int{{0, 2}}}, nil},
		{"layers_to_transform is [0]: not supported", map[string]any{"layers_to_transform": []int{0}}, nil},
		{`exclude_modules is ["x"]: not supported`, map[string]any{"exclude_modules": []string{"x"}}, nil},
		{`something_new is "yes": not supported`, map[string]any{"something_new": "yes"}, nil},
		{`init_lora_weights: "pissa": not supported`, map[string]any{"init_lora_weights": "pissa"}, nil},
		{"init_lora_weights: 3: want true, false or a name", map[string]any{"init_lora_weights": 3}, nil},
		{"nn: lora: rank 0, want 1 to 4096", map[string]any{"r": 0}, nil},
		{"nn: lora: rank 100000000, want 1 to 4096", map[string]any{"r": 100000000}, nil},
		{"r: json: cannot unmarshal", map[string]any{"r": 1e300}, nil},
		{"nn: lora: alpha -1", map[string]any{"lora_alpha": -1}, nil},
		{"nn: lora: dropout 1, want", map[string]any{"lora_dropout": 1}, nil},
		{`rank_pattern: "q_proj": rank 0, want 1 to 4096`, map[string]any{"rank_pattern": map[string]int{"q_proj": 0}}, nil},
		{`rank_pattern: nn: lora: pattern "(?:.*\\.)?(?:()": error parsing`, map[string]any{"rank_pattern": map[string]int{"(": 1}}, nil},
		{`alpha_pattern: [1]: want an object`, map[string]any{"alpha_pattern": []int{1}}, nil},
		{`alpha_pattern: "q": alpha -2, want above 0`, map[string]any{"alpha_pattern": map[string]int{"q": -2}}, nil},
	} {
		dir := edited(t, clipAdapter, tt.config, tt.edit)
		_, err := OpenAdapter(dir, m)
		if err == nil || !strings.HasPrefix(err.Error(), "pretrained: adapter "+dir+": ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v,\nwant %s", err, tt.want)
		}
	}

	dir := edited(t, clipAdapter, nil, nil)
	check(t, os.Remove(filepath.Join(dir, adapterWeightsFile)))
	if _, err := OpenAdapter(dir, m); err == nil || !strings.Contains(err.Error(), "adapter_model.safetensors is not there") {
		t.Errorf("no weights: %v", err)
	}
	check(t, os.Symlink("/etc/hostname", filepath.Join(dir, adapterWeightsFile)))
	if _, err := OpenAdapter(dir, m); err == nil || !strings.Contains(err.Error(), "a link out of the folder") {
		t.Errorf("a link to somewhere: %v", err)
	}
}

// Parameters that are not those of the adapters are an error, and so is a file that
// has changed.
func TestAdapterWeightsErrors(t *testing.T) {
	m, err := Open("testdata/lora_clip")
	check(t, err)
	dir := edited(t, clipAdapter, nil, nil)
	a, err := OpenAdapter(dir, m)
	check(t, err)
	m.Config.Text = nn.TextConfig{Kind: nn.NoText}
	declare := func(l *nn.LoRA, allocate bool) *nn.Params {
		m.Config.LoRA = l
		n, err := nn.Declare(m.Config, 0)
		check(t, err)
		if allocate {
			check(t, n.Params.Allocate())
		}
		return n.Params
	}
	for want, p := range map[string]*nn.Params{
		"no parameter vision.blocks.0.attn.q.lora_A.weight for base_model.model.encoder.layers.0.self_attn.q_proj.lora_A.weight": declare(nil, true),
		"parameter vision.blocks.0.attn.q.lora_A.weight has no memory":                                                           declare(&a.LoRA, false),
		"parameter vision.blocks.0.attn.q.lora_A.weight is [3 32], base_model":                                                   declare(&nn.LoRA{Rank: 3, Alpha: 1, Pattern: a.LoRA.Pattern}, true),
		"nothing is in the adapter for parameter vision.blocks.0.attn.k.lora_A.weight":                                           declare(&nn.LoRA{Rank: 4, Alpha: 1, Targets: []string{"q", "k", "v"}}, true),
	} {
		if err := a.Weights(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v,\nwant %s", err, want)
		}
	}
	p := declare(&a.LoRA, true)
	check(t, a.Weights(p))
	check(t, checkpoints.Write(filepath.Join(dir, adapterWeightsFile), nil, nil))
	if err := a.Weights(p); err == nil || !strings.Contains(err.Error(), "the file has changed") {
		t.Errorf("a changed file: %v", err)
	}
}

// The names in a file tell what the adapters were put on, and ranks and scales may be
// those of single modules, by the first pattern that matches.
func TestAdapterParts(t *testing.T) {
	m, err := Open("testdata/lora_clip")
	check(t, err)
	rename := func(from, to string) func(map[string]checkpoints.Tensor) {
		return func(all map[string]checkpoints.Tensor) {
			for _, name := range sortedKeys(all) {
				tensor := all[name]
				delete(all, name)
				all[strings.Replace(name, from, to, 1)] = tensor
			}
		}
	}
	const pattern = `vision\.blocks\.[0-9]+\.(attn\.q|attn\.v)`
	for _, tt := range []struct {
		what   string
		config map[string]any
		edit   func(map[string]checkpoints.Tensor)
		want   nn.LoRA
	}{
		{"a tower, by its class", nil, nil, nn.LoRA{Rank: 4, Alpha: 8, Dropout: .05, Pattern: pattern}},
		{"a tower, by its shapes", map[string]any{"auto_mapping": nil, "use_rslora": true}, nil,
			nn.LoRA{Rank: 4, Alpha: 8, Dropout: .05, RSLoRA: true, Pattern: pattern}},
		{"both towers", map[string]any{"auto_mapping": nil, "target_modules": `vision_model\..*\.[qv]_proj`},
			rename("model.encoder.", "model.vision_model.encoder."), nn.LoRA{Rank: 4, Alpha: 8, Dropout: .05, Pattern: pattern}},
		{"a pattern", map[string]any{"target_modules": `encoder\.layers\.[01]\.self_attn\.(q|v)_proj`}, nil,
			nn.LoRA{Rank: 4, Alpha: 8, Dropout: .05, Pattern: pattern}},
		{"ranks", map[string]any{
			"r": 2, "rank_pattern": json.RawMessage(`{"self_attn.[qv]_proj": 4, "q_proj": 9}`),
			"alpha_pattern": json.RawMessage(`{"layers.1.self_attn.q_proj": 3}`),
		}, nil, nn.LoRA{Rank: 2, Alpha: 8, Dropout: .05, Pattern: pattern,
			Ranks:  map[string]int{"vision.blocks.0.attn.q": 4, "vision.blocks.0.attn.v": 4, "vision.blocks.1.attn.q": 4, "vision.blocks.1.attn.v": 4},
			Alphas: map[string]float64{"vision.blocks.1.attn.q": 3},
		}},
		{"one layer", map[string]any{"target_modules": []string{"layers.1.self_attn.q_proj", "layers.1.self_attn.v_proj"}},
			func(all map[string]checkpoints.Tensor) {
				for name := range all {
					if strings.Contains(name, "layers.0") {
						delete(all, name)
					}
				}
			}, nn.LoRA{Rank: 4, Alpha: 8, Dropout: .05, Targets: []string{"vision.blocks.1.attn.q", "vision.blocks.1.attn.v"}}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			a, err := OpenAdapter(edited(t, clipAdapter, tt.config, tt.edit), m)
			check(t, err)
			if !jsonEqual(t, a.LoRA, tt.want) {
				t.Errorf("%+v,\nwant %+v", a.LoRA, tt.want)
			}
			// What is written is read back as the same.
			c := m.Config
			c.LoRA = &a.LoRA
			n, err := nn.Declare(c, m.Vocab)
			check(t, err)
			check(t, n.Params.Allocate())
			check(t, a.Weights(n.Params))
			out := t.TempDir()
			check(t, WriteAdapter(out, m, nn.VisionTower, n, "base"))
			again, err := OpenAdapter(out, m)
			check(t, err)
			if !jsonEqual(t, again.LoRA, tt.want) {
				t.Errorf("written and read: %+v,\nwant %+v", again.LoRA, tt.want)
			}
			if err := WriteAdapter(out, m, nn.TextTower, n, "base"); err == nil || !strings.Contains(err.Error(), "the text tower has no adapters") {
				t.Errorf("the other tower: %v", err)
			}
		})
	}
	// Two towers of one width and depth cannot be told apart by shapes.
	twins := *m
	twins.names = slices.Clone(m.names)
	for _, n := range m.names {
		if strings.HasPrefix(n.Published, "vision_model.encoder.") {
			n.Published = strings.Replace(n.Published, "vision", "text", 1)
			twins.names = append(twins.names, n)
		}
	}
	if _, err := OpenAdapter(edited(t, clipAdapter, map[string]any{"auto_mapping": nil}, nil), &twins); err == nil ||
		!strings.Contains(err.Error(), "more than one tower") {
		t.Errorf("adapters that fit both towers: %v", err)
	}
}

// Settings in published names become those of package nn.
func TestTranslateLoRA(t *testing.T) {
	m, err := Open("testdata/lora_clip")
	check(t, err)
	l, err := m.LoRA(nn.TextTower, nn.LoRA{Rank: 16, Alpha: 32, Dropout: .05, Targets: []string{"q_proj", "mlp.fc2"}, Alphas: map[string]float64{"q_proj": 5}})
	check(t, err)
	if want := (nn.LoRA{Rank: 16, Alpha: 32, Dropout: .05, Pattern: `text\.blocks\.[0-9]+\.(attn\.q|mlp\.fc2)`,
		Alphas: map[string]float64{"text.blocks.0.attn.q": 5}}); !jsonEqual(t, *l, want) {
		t.Errorf("%+v, want %+v", *l, want)
	}
	for want, l := range map[string]nn.LoRA{
		`pretrained: lora for the vision tower of testdata/lora_clip: target "query" names no linear layer; names are such as encoder.layers.0.mlp.fc1`: {Rank: 1, Alpha: 1, Targets: []string{"q_proj", "query"}},
		`pattern "q_proj" matches the name of no linear layer`: {Rank: 1, Alpha: 1, Pattern: "q_proj"},
		`target "embeddings.patch_embedding" names no linear`:  {Rank: 1, Alpha: 1, Targets: []string{"embeddings.patch_embedding"}},
		`nn: lora: rank 0, want`:                               {Alpha: 1, Pattern: "q_proj"},
	} {
		if _, err := m.LoRA(nn.VisionTower, l); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// Any bytes are a configuration or an error; what is read is written and read as the
// same.
func FuzzAdapterConfig(f *testing.F) {
	data, err := os.ReadFile(filepath.Join(clipAdapter, adapterConfigFile))
	check(f, err)
	f.Add(data)
	f.Add([]byte(`{"peft_type":"LORA","r":1,"lora_alpha":1,"target_modules":".*q","rank_pattern":{"a|b":2},"alpha_pattern":{"(x?){9}":1e5}}`))
	f.Add([]byte(`{"peft_type":"LORA","r":1e9,"lora_alpha":null,"target_modules":["",{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseAdapterConfig(data)
		if err != nil {
			return
		}
		resolve, err := c.resolver()
		check(t, err)
		if rank, alpha, ok := resolve("encoder.layers.0.self_attn.q_proj"); ok && (rank < 1 || rank > maxAdapterRank || !(alpha > 0)) {
			t.Errorf("rank %d, alpha %v", rank, alpha)
		}
		text, err := c.Encode()
		check(t, err)
		again, err := ParseAdapterConfig(text)
		check(t, err)
		slices.Sort(c.Targets)
		if peftClasses[c.Class] == "" {
			c.Class = ""
		}
		if !jsonEqual(t, again, c) {
			t.Errorf("%+v, written and read %+v", c, again)
		}
	})
}
