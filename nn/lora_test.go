package nn

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"relsim/graph"
	"relsim/kernel"
)

// adaptedConfig is a small model of two transformers, with adapters.
func adaptedConfig(l LoRA) Config {
	block := BlockConfig{Width: 12, Layers: 2, Heads: 3, MLP: 20, NormEps: 1e-6, GELU: GELUErf, Init: InitFanIn}
	return Config{
		Vision:   VisionConfig{ImageSize: 8, Stem: PatchStem, PatchSize: 4, Pool: PoolCLS, BlockConfig: block},
		Text:     TextConfig{Kind: Transformer, Length: 5, Pool: PoolMean, BlockConfig: block},
		EmbedDim: 7, Temperature: .07, LearnTemperature: true, LoRA: &l,
	}
}

// fillB draws what starts as zero.
func fillB(m *Model) {
	rng := source(9)
	for _, a := range m.Adapters() {
		Normal(.3)(rng, a.B.Data, a.B.Shape)
	}
}

// mergedByHand is a model without adapters whose weights are W + s·BA, in float64,
// rounded once.
func mergedByHand(t *testing.T, m *Model) *Model {
	t.Helper()
	c := m.Config
	c.LoRA = nil
	plain, err := New(c, m.Vocab, source(1))
	check(t, err)
	for _, p := range plain.Params.All() {
		copy(p.Data, m.Params.Lookup(p.Name).Data)
	}
	for _, a := range m.Adapters() {
		w := plain.Params.Lookup(a.Module.Weight.Name)
		rank, in := a.A.Shape[0], a.A.Shape[1]
		for i := range a.Module.Rows {
			for j := range in {
				sum := 0.0
				for r := range rank {
					sum += float64(a.B.Data[i*rank+r]) * float64(a.A.Data[r*in+j])
				}
				at := (a.Module.At+i)*in + j
				w.Data[at] = float32(float64(w.Data[at]) + a.Scale*sum)
			}
		}
	}
	return plain
}

var loraCases = map[string]LoRA{
	"q and v":    {Rank: 4, Alpha: 8, Targets: []string{"attn.q", "v"}},
	"everything": {Rank: 3, Alpha: 2, RSLoRA: true, Pattern: `.*\.(q|k|qkv|proj|fc1|fc2|head)`},
	"one matrix": {Rank: 2, Alpha: 1, Targets: []string{"vision.blocks.1.mlp.fc2"}},
	"ranks": {Rank: 4, Alpha: 8, Targets: []string{"q", "fc1"}, Ranks: map[string]int{"text.blocks.0.attn.q": 1},
		Alphas: map[string]float64{"vision.blocks.1.mlp.fc1": 3}},
}

// Adapters add s·(x Aᵀ)Bᵀ to the rows that they are of: the embeddings are those of a
// model whose weights are W + s·BA, before merging, merged, and after. Restoring brings
// every bit back, and an encoder that was compiled before stays right.
func TestLoRA(t *testing.T) {
	captions := [][]int32{{3, 1, 4}, {1, 5, -1, 9, 2}, {6}}
	for name, l := range loraCases {
		t.Run(name, func(t *testing.T) {
			m, err := New(adaptedConfig(l), 10, source(2))
			check(t, err)
			fresh, err := New(func() Config { c := m.Config; c.LoRA = nil; return c }(), 10, source(2))
			check(t, err)
			for _, p := range fresh.Params.All() {
				if got := m.Params.Lookup(p.Name); !slices.Equal(got.Data, p.Data) {
					t.Errorf("%s is drawn otherwise than without adapters", p.Name)
				}
			}
			fillB(m)
			const n = 3
			dim := m.Config.EmbedDim
			pictures := make([]float32, n*3*8*8)
			Normal(1)(source(3), pictures, nil)
			embed := func(t *testing.T, e *Encoder) []float32 {
				t.Helper()
				emb := make([]float32, 2*n*dim)
				check(t, e.Images(emb[:n*dim], pictures, n))
				check(t, e.Texts(emb[n*dim:], captions))
				return emb
			}
			encoder := func(t *testing.T, m *Model) *Encoder {
				t.Helper()
				e, err := NewEncoder(m, nil, 2)
				check(t, err)
				t.Cleanup(func() { e.Close() })
				return e
			}
			onTiers(t, func(t *testing.T) {
				want := embed(t, encoder(t, mergedByHand(t, m)))
				without := embed(t, encoder(t, fresh))
				before := slices.Clone(m.Params.Data())
				first := encoder(t, m)
				near(t, "adapters beside", embed(t, first), want, 2e-5)
				if slices.Equal(want, without) {
					t.Error("the adapters change nothing")
				}
				pool := kernel.NewPool(2)
				defer pool.Close()
				restore := m.Merge(pool)
				if !m.Merged() {
					t.Error("Merged says no")
				}
				second := encoder(t, m)
				near(t, "merged", embed(t, second), want, 2e-5)
				near(t, "merged, compiled before", embed(t, first), want, 2e-5)
				again := m.Merge(pool) // changes nothing
				near(t, "merged twice", embed(t, second), want, 2e-5)
				again()
				if !m.Merged() {
					t.Error("what the second Merge returned undid the first")
				}
				restore()
				if m.Merged() || !slices.Equal(m.Params.Data(), before) {
					t.Error("the weights are not restored")
				}
				near(t, "restored", embed(t, first), want, 2e-5)
				if err := second.Images(make([]float32, dim), pictures[:3*64], 1); err == nil || !strings.Contains(err.Error(), "restored since") {
					t.Errorf("an encoder of merged adapters after they were restored: %v", err)
				}
				if err := second.Texts(make([]float32, dim), captions[:1]); err == nil || !strings.Contains(err.Error(), "restored since") {
					t.Errorf("an encoder of merged adapters after they were restored: %v", err)
				}
			})
		})
	}
}

// backward returns the gradients of Σ emb ⊙ upstream of the image encoder.
func backward(t *testing.T, m *Model, training bool, seed uint64) (emb []float32) {
	t.Helper()
	b := graph.NewBuilder()
	images, out := m.Vision(b, 2)
	check(t, b.Err())
	p, err := graph.Compile(b, graph.Config{Embedding: out, Wrt: m.Wrt(b), Training: training})
	check(t, err)
	defer p.Close()
	check(t, m.Bind(p))
	pictures := make([]float32, 2*3*8*8)
	Normal(1)(source(3), pictures, nil)
	check(t, p.SetFloats(images, pictures))
	p.SetSeed(seed)
	check(t, p.Forward())
	emb = slices.Clone(p.Value(out))
	upstream := make([]float32, len(emb))
	Normal(1)(source(4), upstream, nil)
	check(t, p.Backward(upstream))
	return emb
}

// The gradients follow from that of the merged weights by the chain rule:
// dB = s·dW Aᵀ and dA = s·Bᵀ dW, of the rows of the adapter.
func TestLoRAGradients(t *testing.T) {
	for name, l := range loraCases {
		t.Run(name, func(t *testing.T) {
			onTiers(t, func(t *testing.T) {
				m, err := New(adaptedConfig(l), 10, source(2))
				check(t, err)
				fillB(m)
				plain := mergedByHand(t, m)
				backward(t, m, true, 1)
				backward(t, plain, true, 1)
				for _, a := range m.Adapters() {
					if !VisionTower.Has(a.A.Name) {
						continue
					}
					rank, in := a.A.Shape[0], a.A.Shape[1]
					dw := plain.Params.Lookup(a.Module.Weight.Name).Grad[a.Module.At*in:]
					da, db := make([]float32, rank*in), make([]float32, a.Module.Rows*rank)
					for r := range rank {
						for j := range in {
							sum := 0.0
							for i := range a.Module.Rows {
								sum += float64(a.B.Data[i*rank+r]) * float64(dw[i*in+j])
							}
							da[r*in+j] = float32(a.Scale * sum)
						}
						for i := range a.Module.Rows {
							sum := 0.0
							for j := range in {
								sum += float64(dw[i*in+j]) * float64(a.A.Data[r*in+j])
							}
							db[i*rank+r] = float32(a.Scale * sum)
						}
					}
					near(t, "gradient of "+a.A.Name, a.A.Grad, da, 5e-5)
					near(t, "gradient of "+a.B.Name, a.B.Grad, db, 5e-5)
				}
			})
		})
	}
}

// Adapters, heads and the temperature are learned, in towers with adapters; elsewhere
// everything is.
func TestLoRAFreezes(t *testing.T) {
	m, err := New(adaptedConfig(LoRA{Rank: 4, Alpha: 8, Pattern: `vision\.blocks\.[0-9]+\.attn\.[qv]`}), 10, source(2))
	check(t, err)
	var learned []string
	size := 0
	for _, p := range m.Params.All() {
		if p.Frozen != (p.Grad == nil) {
			t.Errorf("%s: frozen is %v, a gradient of %d", p.Name, p.Frozen, len(p.Grad))
		}
		if !p.Frozen && !TextTower.Has(p.Name) {
			learned = append(learned, fmt.Sprint(p.Name, p.Shape))
		}
		if !p.Frozen {
			size += p.Size()
		} else if TextTower.Has(p.Name) {
			t.Errorf("%s is frozen: the text tower has no adapter", p.Name)
		}
	}
	want := []string{"vision.head.weight[7 12]", "vision.head.bias[7]", "logit_scale[]"}
	for i := range 2 {
		for _, part := range []string{"q", "v"} {
			name := fmt.Sprintf("vision.blocks.%d.attn.%s.lora_", i, part)
			want = append(want, name+"A.weight[4 12]", name+"B.weight[12 4]")
		}
	}
	slices.Sort(want)
	slices.Sort(learned)
	if !slices.Equal(learned, want) {
		t.Errorf("learned: %q,\nwant %q", learned, want)
	}
	if len(m.Params.Grad()) != size || len(m.Params.Learned()) != size {
		t.Errorf("gradients of %d values, want %d", len(m.Params.Grad()), size)
	}
	// As PEFT: A uniform from ±1/√in, B zero.
	for _, a := range m.Adapters() {
		most := 0.0
		for _, v := range a.A.Data {
			most = max(most, math.Abs(float64(v)))
		}
		if bound := 1 / math.Sqrt(12); most > bound || most < .8*bound {
			t.Errorf("%s: values up to %v, want ±%v", a.A.Name, most, bound)
		}
		if slices.ContainsFunc(a.B.Data, func(v float32) bool { return v != 0 }) {
			t.Errorf("%s is not zero", a.B.Name)
		}
	}

	text, err := New(adaptedConfig(LoRA{Rank: 1, Alpha: 1, Targets: []string{"text.head"}}), 10, source(2))
	check(t, err)
	if p := text.Params.Lookup("text.head.weight"); !p.Frozen {
		t.Error("the head has an adapter and is not frozen")
	}
	if p := text.Params.Lookup("vision.head.weight"); p.Frozen {
		t.Error("the head of the other tower is frozen")
	}
}

// Dropout of adapters is for training, each adapter has a mask of its own, and the seed
// decides them.
func TestLoRADropout(t *testing.T) {
	m, err := New(adaptedConfig(LoRA{Rank: 4, Alpha: 8, Dropout: .5, Targets: []string{"q", "v"}}), 10, source(2))
	check(t, err)
	fillB(m)
	still := backward(t, m, false, 1)
	one := backward(t, m, true, 1)
	same := backward(t, m, true, 1)
	two := backward(t, m, true, 2)
	if !slices.Equal(one, same) || slices.Equal(one, two) || slices.Equal(one, still) || !slices.Equal(still, backward(t, m, false, 2)) {
		t.Error("embeddings do not depend on the seed in training, and only there")
	}
	// With one adapter of q and the same of v, equal masks would make equal products x Aᵀ;
	// the gradients of A would vanish together. Columns of A where a mask hides all rows
	// tell them apart: at batch 1 and rate close to 1 most are hidden.
	l := LoRA{Rank: 1, Alpha: 1, Dropout: .9, Targets: []string{"vision.blocks.1.attn.q", "vision.blocks.1.attn.v"}}
	m, err = New(adaptedConfig(l), 10, source(2))
	check(t, err)
	fillB(m)
	backward(t, m, true, 3)
	hidden := func(a *Adapter) (cols []int) {
		for i, v := range a.A.Grad {
			if v == 0 {
				cols = append(cols, i)
			}
		}
		return cols
	}
	q, v := hidden(m.Adapters()[0]), hidden(m.Adapters()[1])
	if len(q)+len(v) == 0 || slices.Equal(q, v) {
		t.Errorf("columns without a gradient: %v and %v, want some, and not the same", q, v)
	}
}

// The rules of PEFT's check_target_module_exists.
func TestMatchModules(t *testing.T) {
	for _, tt := range []struct {
		targets []string
		pattern string
		match   []string
		not     []string
	}{
		{[]string{"q_proj", "mlp.fc1"}, "",
			[]string{"q_proj", "encoder.layers.0.self_attn.q_proj", "mlp.fc1", "layers.1.mlp.fc1"},
			[]string{"eq_proj", "layers.0.eq_proj", "q_proj.0", "fc1", "xmlp.fc1", "layers.0.xmlp.fc1", ""}},
		{[]string{"layers.1.q"}, "", []string{"layers.1.q", "a.layers.1.q"}, []string{"layers.11.q", "xlayers.1.q"}},
		{nil, `.*layers\.[01]\..*q_proj`, []string{"layers.0.q_proj", "encoder.layers.1.self_attn.q_proj"},
			[]string{"layers.0.q_proj.x", "layers.2.q_proj", "q_proj"}},
		{nil, `a|b`, []string{"a", "b"}, []string{"ab", "xa", "bx"}},
	} {
		match, err := MatchModules(tt.targets, tt.pattern)
		check(t, err)
		for _, name := range tt.match {
			if !match(name) {
				t.Errorf("%q%s does not match %q", tt.targets, tt.pattern, name)
			}
		}
		for _, name := range tt.not {
			if match(name) {
				t.Errorf("%q%s matches %q", tt.targets, tt.pattern, name)
			}
		}
	}
}

func TestLoRAErrors(t *testing.T) {
	ok := LoRA{Rank: 4, Alpha: 8, Targets: []string{"q"}}
	for want, change := range map[string]func(l *LoRA){
		"nn: lora: rank 0, want 1 to 4096":                                                            func(l *LoRA) { l.Rank = 0 },
		"nn: lora: rank 5000, want 1 to 4096":                                                         func(l *LoRA) { l.Rank = 5000 },
		"nn: lora: alpha NaN, want above 0, at most 1e+06":                                            func(l *LoRA) { l.Alpha = math.NaN() },
		"nn: lora: dropout 1, want 0 to below 1":                                                      func(l *LoRA) { l.Dropout = 1 },
		"nn: lora: 1 targets and the pattern \"q\": want one of the two":                              func(l *LoRA) { l.Pattern = "q" },
		"nn: lora: 0 targets and the pattern \"\": want one of the two":                               func(l *LoRA) { l.Targets = nil },
		"nn: lora: target 1 is empty":                                                                 func(l *LoRA) { l.Targets = []string{"q", ""} },
		"nn: lora: pattern \"(?!x)\": error parsing regexp":                                           func(l *LoRA) { l.Targets, l.Pattern = nil, "(?!x)" },
		"nn: lora: pattern \"a)(b\": error parsing regexp":                                            func(l *LoRA) { l.Targets, l.Pattern = nil, "a)(b" },
		"nn: lora: pattern \"(abcdefghij?){1000}\": 13004 instructions, at":                           func(l *LoRA) { l.Targets, l.Pattern = nil, "(abcdefghij?){1000}" },
		"nn: lora: a pattern of 20000 bytes, at most 4096 are allowed":                                func(l *LoRA) { l.Targets, l.Pattern = nil, strings.Repeat("x", 20000) },
		"nn: lora: 20000 targets, at most 16384 are allowed":                                          func(l *LoRA) { l.Targets = make([]string, 20000) },
		"nn: lora: vision.blocks.0.attn.q: rank -1, want 1 to 4096":                                   func(l *LoRA) { l.Ranks = map[string]int{"vision.blocks.0.attn.q": -1} },
		"nn: lora: vision.blocks.0.attn.q: alpha 0, want":                                             func(l *LoRA) { l.Alphas = map[string]float64{"vision.blocks.0.attn.q": 0} },
		"nn: lora: a rank or alpha of q, which has no adapter":                                        func(l *LoRA) { l.Ranks = map[string]int{"q": 1} },
		"nn: lora: a rank or alpha of vision.head, which has no adapter":                              func(l *LoRA) { l.Alphas = map[string]float64{"vision.head": 1} },
		"nn: lora: no module is named as in [\"q_proj\"]; names are such as vision.blocks.0.attn.qkv": func(l *LoRA) { l.Targets = []string{"q_proj"} },
	} {
		l := ok
		change(&l)
		if _, err := Declare(adaptedConfig(l), 10); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// A configuration with adapters is read back as it was written.
func TestLoRAJSON(t *testing.T) {
	c := adaptedConfig(loraCases["ranks"])
	text, err := json.Marshal(c)
	check(t, err)
	var back Config
	check(t, json.Unmarshal(text, &back))
	again, err := json.Marshal(back)
	check(t, err)
	if string(again) != string(text) || back.LoRA == nil || back.LoRA.Ranks["text.blocks.0.attn.q"] != 1 {
		t.Errorf("%s, want %s", again, text)
	}
	if err := json.Unmarshal([]byte(strings.Replace(string(text), `"rank":`, `"rang":`, 1)), &back); err == nil {
		t.Error("an unknown key of lora is no error")
	}
}

// The fingerprint of a tower tells other scales of its adapters apart, and not those of
// the other tower.
func TestLoRAFingerprint(t *testing.T) {
	l := LoRA{Rank: 4, Alpha: 8, Targets: []string{"q"}}
	print := func(change func(l *LoRA)) (vision, text [32]byte) {
		l := l
		change(&l)
		m, err := New(adaptedConfig(l), 10, source(2))
		check(t, err)
		return m.Fingerprint(VisionTower), m.Fingerprint(TextTower)
	}
	vision, text := print(func(*LoRA) {})
	v, x := print(func(l *LoRA) { l.Alphas = map[string]float64{"vision.blocks.0.attn.q": 9} })
	if v == vision || x != text {
		t.Error("another scale in the image encoder")
	}
}
