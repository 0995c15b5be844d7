package nn

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"relsim/checkpoints"
	"relsim/graph"
	"relsim/kernel"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func source(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

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

func TestParamsLayout(t *testing.T) {
	s := new(Params)
	var drawn []string
	draw := func(name string) Initializer {
		return func(_ *rand.Rand, dst []float32, _ []int) {
			drawn = append(drawn, name)
			for i := range dst {
				dst[i] = float32(len(drawn))
			}
		}
	}
	bias := s.Declare("bias", Bias, draw("bias"), 3)
	weight := s.Declare("weight", Matrix, draw("weight"), 2, 3)
	scale := s.Declare("scale", Temperature, draw("scale"))
	conv := s.Declare("conv", Kernel, draw("conv"), 1, 2, 3, 3)
	check(t, s.Init(nil))

	if want := []string{"bias", "weight", "scale", "conv"}; !slices.Equal(drawn, want) {
		t.Errorf("drawn in the order %q, want %q", drawn, want)
	}
	at := 0
	for _, p := range []*Param{weight, conv, bias, scale} { // in the order of their kinds
		low, high := s.Range(p)
		if low != at || high-low != p.Size() || &s.Data()[low] != &p.Data[0] || &s.Grad()[low] != &p.Grad[0] || cap(p.Data) != p.Size() {
			t.Errorf("%s is at [%d, %d) of the buffers, want it at %d", p.Name, low, high, at)
		}
		if l, h := s.Segment(p.Kind); l != low || h != high {
			t.Errorf("segment of %v: [%d, %d), want [%d, %d)", p.Kind, l, h, low, high)
		}
		at = high
	}
	if len(s.Data()) != 28 || len(s.Grad()) != 28 || at != 28 {
		t.Errorf("buffers of %d and %d, want 28", len(s.Data()), len(s.Grad()))
	}
	if l, h := s.Segment(Norm); l != h {
		t.Errorf("segment of norms is [%d, %d), there are none", l, h)
	}
	if s.Lookup("conv") != conv || s.Lookup("other") != nil || len(s.All()) != 4 {
		t.Error("Lookup or All is wrong")
	}

	conv.Data[5] = float32(math.NaN())
	bias.Grad[0] = float32(math.Inf(1))
	if got, want := s.NonFinite(), []string{"grad of bias", "conv"}; !slices.Equal(got, want) {
		t.Errorf("NonFinite = %q, want %q", got, want)
	}
}

func TestParamsErrors(t *testing.T) {
	zero := Constant(0)
	tests := map[string]func(s *Params){
		"a: declared twice":            func(s *Params) { s.Declare("a", Bias, zero, 1); s.Declare("a", Bias, zero, 2) },
		"b: shape [2 0]":               func(s *Params) { s.Declare("b", Bias, zero, 2, 0) },
		"at most":                      func(s *Params) { s.Declare("c", Matrix, zero, 1<<16, 1<<16) },
		"Init called twice":            func(s *Params) { s.Declare("d", Bias, zero, 1); check(t, s.Init(nil)) },
		"parameter f: declared after ": func(s *Params) { s.Declare("e", Bias, zero, 1); check(t, s.Init(nil)); s.Declare("f", Bias, zero, 1) },
	}
	for want, declare := range tests {
		s := new(Params)
		declare(s)
		if err := s.Init(nil); err == nil || !strings.HasPrefix(err.Error(), "nn: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestInitializers(t *testing.T) {
	const n = 40000
	tests := []struct {
		name       string
		init       Initializer
		std, bound float64 // of what is drawn
	}{
		{"normal", Normal(.02), .02, math.Inf(1)},
		{"truncated", TruncatedNormal(.02), .02, 2 * .02 / .8796},
		{"fan-in", FanIn(.8), .08, .16 / .8796},
		{"half", Scaled(FanIn(.8), .5), .04, .08 / .8796},
		{"uniform", UniformFanIn(), .1 / math.Sqrt(3), .1},
		{"constant", Constant(0), 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := make([]float32, n)
			tt.init(source(1), x, []int{n / 100, 4, 5, 5})
			var sum, squares, most float64
			for _, v := range x {
				sum += float64(v)
				squares += float64(v) * float64(v)
				most = max(most, math.Abs(float64(v)))
			}
			if std := math.Sqrt(squares / n); math.Abs(std-tt.std) > .02*tt.std {
				t.Errorf("standard deviation %v, want %v", std, tt.std)
			}
			if mean := sum / n; math.Abs(mean) > .02*tt.std {
				t.Errorf("mean %v", mean)
			}
			if most > tt.bound*1.0001 {
				t.Errorf("a value of %v, bound %v", most, tt.bound)
			}
		})
	}
}

func TestKindText(t *testing.T) {
	for _, k := range Kinds() {
		text, err := json.Marshal(k)
		check(t, err)
		var back Kind
		if err := json.Unmarshal(text, &back); err != nil || back != k {
			t.Errorf("%v comes back from %s as %v: %v", k, text, back, err)
		}
	}
	var k Kind
	if err := json.Unmarshal([]byte(`"gain"`), &k); err == nil {
		t.Error("an unknown kind is accepted")
	}
	if _, err := Kind(99).MarshalText(); err == nil || Kind(99).String() != "Kind(99)" {
		t.Error("a kind out of range has a name")
	}
}

func TestPresets(t *testing.T) {
	// Parameters of the image encoders without heads, from the papers (Ti and S:
	// arXiv:2012.12877, table 1, 5 M and 22 M; B and L: arXiv:2010.11929, table 1,
	// 86 M and 307 M; B/32 has larger patches and fewer positions; the recipe: 0.32 M with the text head).
	millions := map[string]float64{"vit-ti/16": 5.5, "vit-s/16": 21.7, "vit-b/32": 87.5, "vit-b/16": 85.8, "vit-l/16": 303.3, "scenes": .31}
	for _, name := range Presets() {
		t.Run(name, func(t *testing.T) {
			c, err := Preset(name)
			check(t, err)
			check(t, c.Validate())
			data, err := json.Marshal(c)
			check(t, err)
			var back Config
			check(t, json.Unmarshal(data, &back))
			again, err := json.Marshal(back)
			check(t, err)
			if string(again) != string(data) {
				t.Errorf("%s comes back as %s", data, again)
			}
			s := new(Params)
			NewVision(s, "", c.Vision, c.EmbedDim)
			n := 0
			for _, p := range s.All() {
				if !strings.HasPrefix(p.Name, "head.") {
					n += p.Size()
				}
			}
			if want, ok := millions[name]; ok && math.Abs(float64(n)/1e6-want) > .01*want {
				t.Errorf("%.4f M parameters, want %v M", float64(n)/1e6, want)
			}
		})
	}
	if _, err := Preset("vit-xl"); err == nil || !strings.Contains(err.Error(), "vit-l/16") {
		t.Errorf("unknown preset: %v", err)
	}
}

func TestConfigJSON(t *testing.T) {
	for want, data := range map[string]string{
		`unknown field "depth"`:    `{"depth":3}`,
		`unknown field "channels"`: `{"vision":{"channels":3}}`,
		"cannot unmarshal string":  `{"embed_dim":"96"}`,
		"unexpected end":           `{"vision":`,
	} {
		var c Config
		if err := json.Unmarshal([]byte(data), &c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", data, err, want)
		}
	}
}

func TestValidate(t *testing.T) {
	nan := math.NaN()
	tests := map[string]func(c *Config){
		"vision.image_size 0":          func(c *Config) { c.Vision.ImageSize = 0 },
		"vision.image_size 5000":       func(c *Config) { c.Vision.ImageSize = 5000 },
		`vision.stem "resnet"`:         func(c *Config) { c.Vision.Stem = "resnet" },
		"vision.patch_size 7 does not": func(c *Config) { c.Vision.Stem, c.Vision.Convs, c.Vision.PatchSize = PatchStem, nil, 7 },
		"vision.patch_size 0 does not": func(c *Config) { c.Vision.Stem, c.Vision.Convs = PatchStem, nil },
		"vision.convs go with":         func(c *Config) { c.Vision.Stem, c.Vision.PatchSize = PatchStem, 8 },
		"vision.patch_size goes with":  func(c *Config) { c.Vision.PatchSize = 8 },
		"vision.convs: 0 layers":       func(c *Config) { c.Vision.Convs = nil },
		"vision.convs[1].channels -1":  func(c *Config) { c.Vision.Convs[1].Channels = -1 },
		"vision.convs[2].stride 0":     func(c *Config) { c.Vision.Convs[2].Stride = 0 },
		"vision.convs end with 96":     func(c *Config) { c.Vision.Width = 100 },
		"tokens": func(c *Config) {
			c.Vision.Stem, c.Vision.Convs, c.Vision.PatchSize, c.Vision.ImageSize = PatchStem, nil, 1, 1024
		},
		`vision.pool "max"`:               func(c *Config) { c.Vision.Pool = "max" },
		"vision.layers 300":               func(c *Config) { c.Vision.Layers = 300 },
		"vision.heads 5 do not":           func(c *Config) { c.Vision.Heads = 5 },
		"vision.heads 0 do not":           func(c *Config) { c.Vision.Heads = 0 },
		"vision.mlp 0":                    func(c *Config) { c.Vision.MLP = 0 },
		"vision.norm_eps 0":               func(c *Config) { c.Vision.NormEps = 0 },
		"vision.dropout 1":                func(c *Config) { c.Vision.Dropout = 1 },
		`vision.gelu ""`:                  func(c *Config) { c.Vision.GELU = "" },
		`vision.init "xavier"`:            func(c *Config) { c.Vision.Init = "xavier" },
		`text.kind "lstm"`:                func(c *Config) { c.Text.Kind = "lstm" },
		"text.length 0":                   func(c *Config) { c.Text.Length = 0 },
		"text.width 0":                    func(c *Config) { c.Text.Width = 0 },
		`text: kind "bag" has`:            func(c *Config) { c.Text.Layers = 2 },
		`text.pool ""`:                    func(c *Config) { c.Text.Kind = Transformer },
		"text.norm_eps NaN":               func(c *Config) { c.Text.Kind, c.Text.Pool, c.Text.NormEps = Transformer, PoolMean, nan },
		`vision: stem "none" has`:         func(c *Config) { c.Vision.Stem = NoVision },
		`text: kind "none" has`:           func(c *Config) { c.Text.Kind = NoText },
		"a model has a tower":             func(c *Config) { c.Vision, c.Text = VisionConfig{Stem: NoVision}, TextConfig{Kind: NoText} },
		"vision.no_patch_bias goes with":  func(c *Config) { c.Vision.NoPatchBias = true },
		"vision.swiglu goes with":         func(c *Config) { c.Vision.SwiGLU = true },
		`text.gelu "erf", want none`:      func(c *Config) { c.Text = words(96, 1, 4); c.Text.SwiGLU = true },
		"vision.post_norm":                func(c *Config) { c.Vision.PostNorm = true },
		`vision.head "mlp"`:               func(c *Config) { c.Vision.Head = "mlp" },
		`text.head "mlp"`:                 func(c *Config) { c.Text.Head = "mlp" },
		"vision.projection -1":            func(c *Config) { c.Vision.Projection = -1 },
		"vision.projection goes before":   func(c *Config) { c.Vision.Projection, c.Vision.Head = 5, HeadNone },
		"vision.head is":                  func(c *Config) { c.Vision.Head, c.EmbedDim = HeadNone, 95 },
		"text.head is":                    func(c *Config) { c.Text.Head, c.EmbedDim = HeadNone, 95 },
		`text.pool "min"`:                 func(c *Config) { c.Text = words(96, 1, 4); c.Text.Pool = "min" },
		"text.eos 3":                      func(c *Config) { c.Text = words(96, 1, 4); c.Text.EOS = 3 },
		"text.eos -1":                     func(c *Config) { c.Text = words(96, 1, 4); c.Text.Pool, c.Text.EOS = PoolEOS, -1 },
		"text.token_types 2000":           func(c *Config) { c.Text = words(96, 1, 4); c.Text.TokenTypes = 2000 },
		"embed_dim 0":                     func(c *Config) { c.EmbedDim = 0 },
		"temperature 0":                   func(c *Config) { c.Temperature = 0 },
		"temperature NaN":                 func(c *Config) { c.Temperature = nan },
		"logit_bias +Inf":                 func(c *Config) { c.LogitBias = math.Inf(1) },
		"vision.convs: 300 layers, want ": func(c *Config) { c.Vision.Convs = make([]ConvConfig, 300) },
	}
	for want, change := range tests {
		c, err := Preset("scenes")
		check(t, err)
		change(&c)
		err = c.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), "nn: config: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if _, newErr := New(c, 10, source(1)); newErr == nil {
			t.Errorf("New accepts what Validate refuses: %v", err)
		}
	}
	c, err := Preset("scenes")
	check(t, err)
	for _, vocab := range []int{-1, 1 << 30} {
		if _, err := New(c, vocab, source(1)); err == nil {
			t.Errorf("New accepts a vocabulary of %d", vocab)
		}
	}
}

// TestParameterNames holds the names by which checkpoints are read.
func TestParameterNames(t *testing.T) {
	block := func(prefix string) []string {
		return []string{
			prefix + "norm1.weight", prefix + "norm1.bias", prefix + "attn.qkv.weight", prefix + "attn.qkv.bias", prefix + "attn.proj.weight", prefix + "attn.proj.bias",
			prefix + "norm2.weight", prefix + "norm2.bias", prefix + "mlp.fc1.weight", prefix + "mlp.fc1.bias", prefix + "mlp.fc2.weight", prefix + "mlp.fc2.bias",
		}
	}
	c, err := Preset("vit-ti/8")
	check(t, err)
	c.Vision.Layers, c.Text.Layers, c.LearnTemperature, c.LearnLogitBias = 1, 1, true, true
	m, err := New(c, 10, source(1))
	check(t, err)
	want := slices.Concat(
		[]string{"vision.patch_embed.proj.weight", "vision.patch_embed.proj.bias", "vision.cls_token", "vision.pos_embed"},
		block("vision.blocks.0."), []string{"vision.norm.weight", "vision.norm.bias", "vision.head.weight", "vision.head.bias"},
		[]string{"text.token_embedding.weight", "text.pos_embed"},
		block("text.blocks.0."), []string{"text.norm.weight", "text.norm.bias", "text.head.weight", "text.head.bias"},
		[]string{"logit_scale", "logit_bias"})
	var got []string
	for _, p := range m.Params.All() {
		got = append(got, p.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
	if got, want := m.LogitScale.Data[0], float32(math.Log(1/.07)); math.Abs(float64(got-want)) > 1e-6 {
		t.Errorf("scale %v, want %v", got, want)
	}

	m, err = New(preset(t, "scenes"), 353, source(1))
	check(t, err)
	shapes := map[string][]int{
		"vision.stem.0.weight": {24, 3, 3, 3}, "vision.stem.4.weight": {96, 96, 3, 3}, "vision.stem.2.bias": {48},
		"vision.pos_embed": {1, 64, 96}, "vision.blocks.1.attn.qkv.weight": {288, 96}, "vision.blocks.0.mlp.fc1.weight": {192, 96},
		"vision.head.weight": {96, 96}, "text.token_embedding.weight": {353, 96}, "text.head.bias": {96},
	}
	for name, shape := range shapes {
		if p := m.Params.Lookup(name); p == nil || !slices.Equal(p.Shape, shape) {
			t.Errorf("%s: %+v, want shape %v", name, p, shape)
		}
	}
	if m.LogitScale != nil || m.LogitBias != nil {
		t.Error("a fixed temperature is a parameter")
	}
}

func preset(t testing.TB, name string) Config {
	t.Helper()
	c, err := Preset(name)
	check(t, err)
	return c
}

// TestDeclareTakesNoMemory: a configuration that asks for about 2³¹ parameters costs their names and shapes, and too
// many of them are refused before they are allocated.
func TestDeclareTakesNoMemory(t *testing.T) {
	for _, layers := range []int{3, 256} { // 4.8e9 and 4e11 values
		c, err := Preset("vit-l/16")
		if err != nil {
			t.Fatal(err)
		}
		c.Vision.Width, c.Vision.MLP, c.Vision.Layers = maxWidth, maxWidth, layers
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := Declare(c, 100)
		if err != nil {
			t.Fatal(err)
		}
		values := 0
		for _, p := range m.Params.All() {
			values += p.Size()
		}
		if values < maxParams {
			t.Errorf("%d values, want a test of more than %d", values, maxParams)
		}
		err = m.Params.Init(rand.New(rand.NewPCG(1, 1)))
		if err == nil || !strings.Contains(err.Error(), "are allowed") {
			t.Errorf("%d values: %v", values, err)
		}
		runtime.ReadMemStats(&after)
		if bytes := after.TotalAlloc - before.TotalAlloc; bytes > 16<<20 {
			t.Errorf("%d values: %d bytes allocated", values, bytes)
		}
		for _, p := range m.Params.All() {
			if p.Data != nil || p.Grad != nil {
				t.Fatalf("%s has values", p.Name)
			}
		}
	}
}

func TestSameSeedSameModel(t *testing.T) {
	c := preset(t, "scenes-small")
	a, err := New(c, 20, source(1))
	check(t, err)
	b, err := New(c, 20, source(1))
	check(t, err)
	other, err := New(c, 20, source(2))
	check(t, err)
	if !slices.Equal(a.Params.Data(), b.Params.Data()) {
		t.Error("the same seed draws other weights")
	}
	if slices.Equal(a.Params.Data(), other.Params.Data()) {
		t.Error("another seed draws the same weights")
	}
	check(t, checkpoints.AssignTensors(other.Params.Targets(), "a", a.Params.State()))
	if !slices.Equal(a.Params.Data(), other.Params.Data()) {
		t.Error("the weights do not come back from their tensors")
	}
}

func TestFill(t *testing.T) {
	captions := [][]int32{{5, 2, 7}, {-1, 4, -1}, {}, {-1, -1}, {1, 2, 3, 4, 5, 6}}
	const half, third = float32(0.5), float32(0.57735026)
	ids := []int32{5, 2, 7, -1, -1, 4, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 1, 2, 3, 4, -1, -1, -1, -1}
	tests := []struct {
		name string
		kind TextKind
		pool Pool
		want []float32
	}{
		{"bag", Bag, "", []float32{third, third, third, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, half, half, half, half, 0, 0, 0, 0}},
		{"mean", Transformer, PoolMean, []float32{1, 1, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0}},
		{"last", Transformer, PoolLast, []float32{0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0}},
		{"cls", Transformer, PoolCLS, []float32{1, 1, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0}},
		{"max", Transformer, PoolMax, []float32{1, 1, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0}},
		{"eos", Transformer, PoolEOS, []float32{0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0}},
		{"max-id", Transformer, PoolMaxID, []float32{0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0}},
	}
	for _, tt := range tests {
		text := &Text{config: TextConfig{Kind: tt.kind, Pool: tt.pool, Length: 4, EOS: 2}}
		gotIDs, got := make([]int32, 24), make([]float32, 24)
		for i := range got {
			gotIDs[i], got[i] = 99, 99
		}
		text.Fill(gotIDs, got, captions, nil, .5)
		if !slices.Equal(gotIDs, ids) {
			t.Errorf("%s: ids %v, want %v", tt.name, gotIDs, ids)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: weights %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestFillDropsWords(t *testing.T) {
	const n, length, drop = 5000, 4, .3
	text := &Text{config: TextConfig{Kind: Bag, Length: length}}
	captions := make([][]int32, n)
	for i := range captions {
		captions[i] = []int32{0, -1, 1, 2}
	}
	ids, weights := make([]int32, n*length), make([]float32, n*length)
	text.Fill(ids, weights, captions, source(3), drop)
	var kept [3]int
	var alone [3]int
	for r := range n {
		left, sum := 0, 0.0
		last := int32(-1)
		for i, id := range ids[r*length:][:length] {
			w := float64(weights[r*length+i])
			if (id >= 0) != (w > 0) {
				t.Fatalf("id %d has weight %v", id, w)
			}
			if id >= 0 {
				kept[id]++
				left++
				last = id
			}
			sum += w * w
		}
		if left == 0 {
			t.Fatalf("caption %d lost all words", r)
		}
		if left == 1 {
			alone[last]++
		}
		if math.Abs(sum-1) > 1e-6 {
			t.Fatalf("squared weights of %d words add up to %v", left, sum)
		}
	}
	want := n * (1 - drop + drop*drop*drop/3)
	for id, k := range kept {
		if math.Abs(float64(k)-want) > 4*math.Sqrt(n*.21) {
			t.Errorf("word %d is kept %d times of %d, want about %.0f", id, k, n, want)
		}
	}
	for id, k := range alone {
		if want := n * (drop*drop*(1-drop) + drop*drop*drop/3); math.Abs(float64(k)-want) > 4*math.Sqrt(want) {
			t.Errorf("word %d is alone %d times, want about %.0f", id, k, want)
		}
	}

	again := make([]int32, n*length)
	text.Fill(again, weights, captions, source(3), drop)
	if !slices.Equal(ids, again) {
		t.Error("the same source drops other words")
	}
}

func TestFillPanics(t *testing.T) {
	text := &Text{config: TextConfig{Kind: Bag, Length: 4}}
	for name, f := range map[string]func(){
		"weights":  func() { text.Fill(make([]int32, 8), make([]float32, 4), nil, nil, 0) },
		"multiple": func() { text.Fill(make([]int32, 6), make([]float32, 6), nil, nil, 0) },
		"captions": func() { text.Fill(make([]int32, 4), make([]float32, 4), make([][]int32, 2), nil, 0) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

// variants are small models with every stem, pooling and text encoder.
func variants(t *testing.T) map[string]Config {
	conv := preset(t, "scenes-small")
	conv.Vision.ImageSize, conv.Vision.Dropout = 32, .1
	patch := preset(t, "vit-ti/8")
	patch.Vision.ImageSize, patch.Vision.Width, patch.Vision.MLP, patch.Vision.Layers = 16, 24, 48, 2
	patch.Text.Width, patch.Text.MLP, patch.Text.Layers, patch.Text.Length, patch.EmbedDim = 12, 24, 1, 6, 16
	last := patch
	last.Text.Pool, last.Vision.Pool = PoolLast, PoolMean
	// What CLIP is made of, and DINOv2's giant beside BERT.
	clip := patch
	clip.Vision.NoPatchBias, clip.Vision.InputNorm, clip.Vision.Head, clip.Vision.GELU = true, true, HeadProjection, GELUQuick
	clip.Text.Pool, clip.Text.Head = PoolMaxID, HeadProjection
	gated := patch
	gated.Vision.LayerScale, gated.Vision.SwiGLU, gated.Vision.GELU, gated.Vision.Head, gated.EmbedDim = true, true, "", HeadNone, 24
	gated.Text.InputNorm, gated.Text.PostNorm, gated.Text.TokenTypes, gated.Text.Pool = true, true, 2, PoolMax
	return map[string]Config{"conv-bag": conv, "patch-mean": patch, "patch-last": last, "clip": clip, "gated": gated}
}

// TestEncoder: what an embedding is does not depend on what shares its batch.
func TestEncoder(t *testing.T) {
	onTiers(t, func(t *testing.T) {
		for name, c := range variants(t) {
			t.Run(name, func(t *testing.T) {
				m, err := New(c, 20, source(5))
				check(t, err)
				// All that a bag without a word it knows gives is the bias.
				if bias := m.Params.Lookup("text.head.bias"); bias != nil {
					Normal(1)(source(7), bias.Data, nil)
				}
				const n = 7
				pixels := make([]float32, n*3*c.Vision.ImageSize*c.Vision.ImageSize)
				Normal(1)(source(6), pixels, nil)
				captions := [][]int32{{1, 2, 3}, {4}, {}, {-1, 5, 5}, {6, 7, 8, 9, 10, 11, 12, 13}, {-1}, {3, 2, 1}}
				var images, texts []float32
				for _, batch := range []int{1, 3, n, 16} {
					e, err := NewEncoder(m, nil, batch)
					check(t, err)
					img, txt := make([]float32, n*c.EmbedDim), make([]float32, n*c.EmbedDim)
					for range 2 { // again with used buffers
						check(t, e.Images(img, pixels, n))
						check(t, e.Texts(txt, captions))
					}
					if images == nil {
						images, texts = img, txt
						unitRows(t, img, c.EmbedDim)
						unitRows(t, txt, c.EmbedDim)
					}
					near(t, fmt.Sprintf("images in batches of %d", batch), img, images, 2e-6)
					near(t, fmt.Sprintf("texts in batches of %d", batch), txt, texts, 2e-6)
					check(t, e.Images(nil, nil, 0))
					check(t, e.Texts(nil, nil))
					check(t, e.Close())
				}
				// Order matters to a transformer, not to a bag of words.
				same := true
				for i := range c.EmbedDim {
					same = same && math.Abs(float64(texts[i]-texts[6*c.EmbedDim+i])) < 1e-5
				}
				if same != (c.Text.Kind == Bag) {
					t.Errorf("reversed words have the same embedding: %v", same)
				}
			})
		}
	})
}

func unitRows(t *testing.T, x []float32, dim int) {
	t.Helper()
	for r := range len(x) / dim {
		if n := math.Sqrt(kernel.SumSquares(nil, x[r*dim:][:dim])); math.Abs(n-1) > 1e-5 {
			t.Errorf("embedding %d has length %v", r, n)
		}
	}
}

func near(t *testing.T, what string, got, want []float32, limit float64) {
	t.Helper()
	for i := range want {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= limit) {
			t.Fatalf("%s: value %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

// TestPaddingIsNotSeen: nothing behind the last word changes an embedding.
func TestPaddingIsNotSeen(t *testing.T) {
	for name, c := range variants(t) {
		if c.Text.Kind == Bag {
			continue
		}
		m, err := New(c, 20, source(5))
		check(t, err)
		Normal(1)(source(6), m.Params.Data(), nil) // large weights: attention that is not flat
		e, err := NewEncoder(m, nil, 2)
		check(t, err)
		defer e.Close()
		captions := [][]int32{{1, 2, 3}, {4, 5}}
		before, after := make([]float32, 2*c.EmbedDim), make([]float32, 2*c.EmbedDim)
		check(t, e.Texts(before, captions))
		pos := m.Params.Lookup("text.pos_embed").Data
		for i := 3 * c.Text.Width; i < len(pos); i++ {
			pos[i] += 1
		}
		check(t, e.Texts(after, captions))
		near(t, name, after, before, 0)
		pos[2*c.Text.Width]++ // of a word that the first caption has
		check(t, e.Texts(after, captions))
		if slices.Equal(after[:c.EmbedDim], before[:c.EmbedDim]) {
			t.Errorf("%s: the position of a word does not matter", name)
		}
		near(t, name, after[c.EmbedDim:], before[c.EmbedDim:], 0)
	}
}

// TestEncoderUsesCurrentWeights: an encoder sees what training changed.
func TestEncoderUsesCurrentWeights(t *testing.T) {
	c := variants(t)["conv-bag"]
	m, err := New(c, 20, source(5))
	check(t, err)
	e, err := NewEncoder(m, nil, 2)
	check(t, err)
	defer e.Close()
	before, after := make([]float32, c.EmbedDim), make([]float32, c.EmbedDim)
	check(t, e.Texts(before, [][]int32{{1, 2}}))
	kernel.Scale(nil, m.Params.Lookup("text.head.bias").Data, 0, m.Params.Lookup("text.head.bias").Data)
	m.Params.Lookup("text.head.bias").Data[0] = 100
	check(t, e.Texts(after, [][]int32{{1, 2}}))
	if after[0] < .9 || before[0] > .9 {
		t.Errorf("first component %v before and %v after a large bias", before[0], after[0])
	}
}

func TestEncoderErrors(t *testing.T) {
	c := variants(t)["conv-bag"]
	m, err := New(c, 20, source(5))
	check(t, err)
	if _, err := NewEncoder(m, nil, 0); err == nil {
		t.Error("batch 0 is accepted")
	}
	e, err := NewEncoder(m, nil, 2)
	check(t, err)
	defer e.Close()
	if err := e.Texts(make([]float32, c.EmbedDim), [][]int32{{20}}); err == nil || !strings.HasPrefix(err.Error(), "nn: encoder: ") {
		t.Errorf("a word beyond the vocabulary: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic on a wrong length")
		}
	}()
	check(t, e.Images(make([]float32, c.EmbedDim), make([]float32, 5), 1))
}

func TestBindRefusesForeignParameters(t *testing.T) {
	b := graph.NewBuilder()
	x := b.Linear(b.Input("x", 2, 3), b.Param("other.weight", 4, 3), nil)
	p, err := graph.Compile(b, graph.Config{Outputs: []*graph.Node{x}})
	check(t, err)
	defer p.Close()
	m, err := New(variants(t)["conv-bag"], 20, source(5))
	check(t, err)
	if err := m.Bind(p); err == nil || !strings.Contains(err.Error(), "other.weight is not in the set") {
		t.Errorf("error %v", err)
	}
}

// TestDropoutIsForTraining: an inference program ignores it, a training one
// draws from the seed.
func TestDropoutIsForTraining(t *testing.T) {
	c := variants(t)["conv-bag"]
	m, err := New(c, 20, source(5))
	check(t, err)
	pixels := make([]float32, 3*32*32)
	Normal(1)(source(6), pixels, nil)
	run := func(training bool, seed uint64) []float32 {
		b := graph.NewBuilder()
		images, emb := m.Vision(b, 1)
		p, err := graph.Compile(b, graph.Config{Outputs: []*graph.Node{emb}, Training: training})
		check(t, err)
		defer p.Close()
		check(t, m.Bind(p))
		p.SetSeed(seed)
		check(t, p.SetFloats(images, pixels))
		check(t, p.Forward())
		return slices.Clone(p.Value(emb))
	}
	if !slices.Equal(run(false, 1), run(false, 2)) {
		t.Error("dropout is active in inference")
	}
	if slices.Equal(run(true, 1), run(true, 2)) || slices.Equal(run(true, 1), run(false, 1)) {
		t.Error("dropout is not active in training")
	}
	if !slices.Equal(run(true, 1), run(true, 1)) {
		t.Error("the same seed drops other values")
	}
}

func BenchmarkScenesForward(b *testing.B) {
	m, err := New(preset(b, "scenes"), 353, source(1))
	check(b, err)
	const batch = 64
	e, err := NewEncoder(m, nil, batch)
	check(b, err)
	defer e.Close()
	pixels, emb := make([]float32, batch*3*64*64), make([]float32, batch*96)
	Normal(1)(source(6), pixels, nil)
	for b.Loop() {
		check(b, e.Images(emb, pixels, batch))
	}
	b.ReportMetric(float64(b.N)*batch/b.Elapsed().Seconds(), "images/s")
}

// Frozen parameters lie behind the others, have no gradient, and are drawn as if they were not frozen. The fingerprint
// of a tower changes with its weights and its configuration, and with nothing else.
func TestFreeze(t *testing.T) {
	c, err := Preset("scenes-transformer")
	if err != nil {
		t.Fatal(err)
	}
	free, err := New(c, 7, source(1))
	if err != nil {
		t.Fatal(err)
	}
	m, err := Declare(c, 7)
	if err != nil {
		t.Fatal(err)
	}
	m.Freeze(TextTower)
	if err := m.Params.Init(source(1)); err != nil {
		t.Fatal(err)
	}
	learned, frozen := 0, 0
	for _, p := range m.Params.All() {
		low, high := m.Params.Range(p)
		if !slices.Equal(p.Data, free.Params.Lookup(p.Name).Data) || &m.Params.Data()[low] != &p.Data[0] || high-low != p.Size() {
			t.Errorf("%s: other values, or elsewhere", p.Name)
		}
		if p.Frozen != TextTower.Has(p.Name) {
			t.Errorf("%s: frozen is %v", p.Name, p.Frozen)
		}
		if p.Frozen {
			frozen += p.Size()
			if p.Grad != nil || low < len(m.Params.Grad()) {
				t.Errorf("%s has a gradient", p.Name)
			}
			continue
		}
		learned += p.Size()
		if &m.Params.Grad()[low] != &p.Grad[0] || len(p.Grad) != p.Size() {
			t.Errorf("%s has its gradient elsewhere", p.Name)
		}
	}
	if learned == 0 || frozen == 0 || len(m.Params.Grad()) != learned || len(m.Params.Learned()) != learned || len(m.Params.Data()) != learned+frozen {
		t.Errorf("%d learned, %d frozen: buffers of %d, %d and %d",
			learned, frozen, len(m.Params.Grad()), len(m.Params.Learned()), len(m.Params.Data()))
	}

	text, vision := free.Fingerprint(TextTower), free.Fingerprint(VisionTower)
	if m.Fingerprint(TextTower) != text || m.Fingerprint(VisionTower) != vision || text == vision {
		t.Error("fingerprints of equal towers differ, or of different ones do not")
	}
	m.Words.Head.Bias.Data[3] += 1e-3
	if m.Fingerprint(TextTower) == text || m.Fingerprint(VisionTower) != vision {
		t.Error("a weight of the text tower is not in its fingerprint, or in the other's")
	}
	free.Config.Text.Length++
	if free.Fingerprint(TextTower) == text || free.Fingerprint(VisionTower) != vision {
		t.Error("a setting of the text tower is not in its fingerprint, or in the other's")
	}
}

// TestLend: gradients in memory that was lent have the bits of others, and what has no gradient is refused.
func TestLend(t *testing.T) {
	c, err := Preset("scenes-small")
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(c, 5, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	images := make([]float32, 2*3*64*64)
	for i := range images {
		images[i] = float32(i%17)/8 - 1
	}
	upstream := make([]float32, 2*c.EmbedDim)
	for i := range upstream {
		upstream[i] = float32(i%5) - 2
	}
	var grads [2][]float32
	var arena [2]int
	for i := range grads {
		b := graph.NewBuilder()
		in, emb := m.Vision(b, 2)
		config := graph.Config{Embedding: emb, Wrt: b.Params()}
		if i == 1 {
			if err := m.Params.Lend(&config, b.Params()); err != nil {
				t.Fatal(err)
			}
		}
		p, err := graph.Compile(b, config)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(m.Bind(p), p.SetFloats(in, images), p.Forward(), p.Backward(upstream)); err != nil {
			t.Fatal(err)
		}
		grads[i], arena[i] = slices.Clone(m.Params.Grad()), p.ArenaBytes()
		p.Close()
	}
	if !slices.Equal(grads[0], grads[1]) {
		t.Error("gradients in memory that is lent differ")
	}
	if arena[1] >= arena[0] {
		t.Errorf("an arena of %d bytes, not smaller than %d", arena[1], arena[0])
	}

	frozen, err := Declare(c, 5)
	if err != nil {
		t.Fatal(err)
	}
	frozen.Freeze(VisionTower)
	if err := frozen.Params.Init(rand.New(rand.NewPCG(1, 2))); err != nil {
		t.Fatal(err)
	}
	b := graph.NewBuilder()
	frozen.Vision(b, 2)
	if err := frozen.Params.Lend(new(graph.Config), b.Params()); err == nil || !strings.Contains(err.Error(), "has no gradient") {
		t.Errorf("a frozen tower: error %v", err)
	}
}
