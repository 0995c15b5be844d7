package nn

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"relsim/graph"
	"relsim/kernel"
)

// The parameters that the options of published towers bring.
func TestPublishedParameters(t *testing.T) {
	for name, tt := range map[string]struct {
		there  map[string][]int
		absent []string
	}{
		"clip": {
			map[string][]int{"vision.norm_pre.weight": {24}, "vision.head.weight": {16, 24}, "text.head.weight": {16, 12}},
			[]string{"vision.patch_embed.proj.bias", "vision.head.bias", "text.head.bias", "text.norm_pre.weight", "vision.blocks.0.ls1.gamma"},
		},
		"gated": {
			map[string][]int{
				"vision.blocks.1.ls1.gamma": {24}, "vision.blocks.1.ls2.gamma": {24}, "vision.blocks.0.mlp.fc1.weight": {96, 24}, "vision.blocks.0.mlp.fc2.weight": {24, 48},
				"text.norm_pre.bias": {12}, "text.token_type_embedding.weight": {2, 12},
			},
			[]string{"vision.head.weight", "vision.head.bias", "text.norm.weight", "vision.norm_pre.weight"},
		},
	} {
		m, err := Declare(variants(t)[name], 20)
		check(t, err)
		for p, shape := range tt.there {
			if got := m.Params.Lookup(p); got == nil || !slices.Equal(got.Shape, shape) {
				t.Errorf("%s: %s is %+v, want shape %v", name, p, got, shape)
			}
		}
		for _, p := range tt.absent {
			if m.Params.Lookup(p) != nil {
				t.Errorf("%s: there is %s", name, p)
			}
		}
	}
}

// A configuration from before published towers is what it was, and is written as it was.
func TestOldConfigJSON(t *testing.T) {
	const old = `{"vision":{"image_size":64,"stem":"patch","patch_size":8,"width":192,"layers":12,"heads":3,"mlp":768,"norm_eps":0.000001,"gelu":"erf",` +
		`"init":"vit","pool":"cls"},"text":{"kind":"transformer","length":77,"width":192,"layers":4,"heads":3,"mlp":768,"norm_eps":0.000001,"gelu":"erf",` +
		`"init":"vit","pool":"mean"},"embed_dim":192,"temperature":0.07,"learn_temperature":false,"logit_bias":0,"learn_logit_bias":false}`
	var c Config
	check(t, json.Unmarshal([]byte(old), &c))
	check(t, c.Validate())
	data, err := json.Marshal(c)
	check(t, err)
	if string(data) != old {
		t.Errorf("%s\nis written as\n%s", old, data)
	}
	for name, c := range variants(t) {
		data, err := json.Marshal(c)
		check(t, err)
		var back Config
		check(t, json.Unmarshal(data, &back))
		again, err := json.Marshal(back)
		check(t, err)
		if string(again) != string(data) {
			t.Errorf("%s: %s comes back as %s", name, data, again)
		}
	}
}

// A model of one tower embeds what it can, and says what it cannot.
func TestAbsentTower(t *testing.T) {
	both := variants(t)["gated"]
	for _, tower := range []Tower{VisionTower, TextTower} {
		c := both
		if tower == VisionTower {
			c.Vision = VisionConfig{Stem: NoVision}
		} else {
			c.Text = TextConfig{Kind: NoText}
		}
		c.EmbedDim = 24
		check(t, c.Validate())
		data, err := json.Marshal(c)
		check(t, err)
		var back Config
		check(t, json.Unmarshal(data, &back))
		if back.Has(tower) || back.Has(VisionTower) == back.Has(TextTower) {
			t.Errorf("%s: towers %v, %v", data, back.Has(VisionTower), back.Has(TextTower))
		}
		m, err := New(c, 20, source(1))
		check(t, err)
		for _, p := range m.Params.All() {
			if tower.Has(p.Name) {
				t.Errorf("there is %s", p.Name)
			}
		}
		e, err := NewEncoder(m, nil, 2)
		check(t, err)
		defer e.Close()
		emb := make([]float32, 24)
		images, texts := e.Images(emb, make([]float32, 3*16*16), 1), e.Texts(emb, [][]int32{{1, 2}})
		if tower == TextTower {
			images, texts = texts, images
		}
		if images == nil || !strings.Contains(images.Error(), "the model has no") || texts != nil {
			t.Errorf("without %s: %v; the other one: %v", tower, images, texts)
		}
		func() {
			defer func() {
				if r := recover(); r == nil {
					t.Errorf("a graph of the %s tower that is not there", tower)
				}
			}()
			if tower == VisionTower {
				m.Vision(graph.NewBuilder(), 1)
			} else {
				m.Text(graph.NewBuilder(), 1)
			}
		}()
	}
}

// Parameters that are read from a file are not drawn; others are.
func TestAllocateAndDraw(t *testing.T) {
	m, err := Declare(variants(t)["patch-mean"], 20)
	check(t, err)
	check(t, m.Params.Allocate())
	m.Params.Draw(source(1), func(p *Param) bool { return strings.HasPrefix(p.Name, "vision.head.") })
	for _, p := range m.Params.All() {
		zero := slices.Max(p.Data) == 0 && slices.Min(p.Data) == 0
		if drawn := p.Name == "vision.head.weight"; zero == drawn {
			t.Errorf("%s is zero: %v", p.Name, zero)
		}
	}
	if err := m.Params.Init(source(1)); err == nil {
		t.Error("memory is taken twice")
	}
}

// The gradient of all parameters of a tower, along itself, against the difference of the cost in
// both directions.
func TestTowerGradients(t *testing.T) {
	for name, c := range variants(t) {
		for _, tower := range []Tower{VisionTower, TextTower} {
			t.Run(name+"/"+string(tower), func(t *testing.T) {
				c.Vision.Dropout = 0
				m, err := New(c, 20, source(5))
				check(t, err)
				for _, p := range m.Params.All() {
					for i := range p.Data { // norms and biases too
						p.Data[i] += .2 * float32(math.Sin(float64(i+len(p.Name))))
					}
				}
				const batch = 3
				b := graph.NewBuilder()
				var emb *graph.Node
				var set func(p *graph.Program) error
				if tower == VisionTower {
					var images *graph.Node
					images, emb = m.Vision(b, batch)
					pixels := make([]float32, batch*3*c.Vision.ImageSize*c.Vision.ImageSize)
					Normal(1)(source(6), pixels, nil)
					set = func(p *graph.Program) error { return p.SetFloats(images, pixels) }
				} else {
					var in TextInput
					in, emb = m.Text(b, batch)
					ids, weights := make([]int32, batch*in.Length), make([]float32, batch*in.Length)
					m.FillText(ids, weights, [][]int32{{1, 2, 3}, {4}, {7, 6, 5, 5}}, nil, 0)
					set = func(p *graph.Program) error {
						if err := p.SetIDs(in.IDs, ids); err != nil {
							return err
						}
						return p.SetFloats(in.Weights, weights)
					}
				}
				check(t, b.Err())
				p, err := graph.Compile(b, graph.Config{Embedding: emb, Wrt: b.Params(), Training: true})
				check(t, err)
				defer p.Close()
				check(t, m.Bind(p))
				check(t, set(p))
				upstream := make([]float32, batch*c.EmbedDim)
				Normal(1)(source(7), upstream, nil)
				cost := func() float64 {
					check(t, p.Forward())
					return kernel.Dot(nil, p.Value(emb), upstream)
				}
				cost()
				check(t, p.Backward(upstream))
				for _, q := range m.Params.All() {
					if tower.Has(q.Name) && kernel.SumSquares(nil, q.Grad) == 0 {
						t.Errorf("%s has no gradient", q.Name)
					}
				}
				slope := kernel.SumSquares(nil, m.Params.Grad())
				start := slices.Clone(m.Params.Data())
				at := func(step float64) float64 {
					copy(m.Params.Data(), start)
					kernel.Axpy(nil, m.Params.Data(), float32(step), m.Params.Grad())
					return cost()
				}
				h := 1e-3 / math.Sqrt(slope)
				if got := (at(h) - at(-h)) / (2 * h); math.Abs(got/slope-1) > .02 {
					t.Errorf("the cost changes by %v along the gradient, want %v", got, slope)
				}
			})
		}
	}
}
