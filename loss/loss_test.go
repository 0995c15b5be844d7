package loss

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"relsim/checkpoints"
	"relsim/graph"
	"relsim/kernel"
	"relsim/nn"
)

// onTiers runs a test on every tier of the kernels.
func onTiers(t *testing.T, f func(t *testing.T)) {
	for _, tier := range kernel.Tiers() {
		if tier.BF16() {
			continue
		}
		t.Run(tier.String(), func(t *testing.T) {
			restore, err := kernel.SetTier(tier)
			if err != nil {
				t.Fatal(err)
			}
			defer restore()
			f(t)
		})
	}
}

// golden holds the reference values of testdata/heads.
type golden struct {
	Stats map[string]struct {
		MaxAbs float64 `json:"max_abs"`
		Dev    float64 `json:"dev_from_float64"`
	} `json:"stats"`
	file *checkpoints.File
}

func openGolden(t *testing.T) *golden {
	t.Helper()
	data, err := os.ReadFile("testdata/heads/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	g := new(golden)
	if err := json.Unmarshal(data, g); err != nil {
		t.Fatal(err)
	}
	if g.file, err = checkpoints.Open("testdata/heads/golden.safetensors"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.file.Close() })
	return g
}

func (g *golden) tensor(t *testing.T, name string) []float32 {
	t.Helper()
	x, _, err := g.file.Float32(name)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// near checks a value within the tolerance of testdata/README.md.
func (g *golden) near(t *testing.T, name string, got []float32) {
	t.Helper()
	want := g.tensor(t, name)
	stat, ok := g.Stats[name]
	if !ok || len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d; statistics %v", name, len(got), len(want), ok)
	}
	limit := 10*stat.Dev + 1e-5*stat.MaxAbs
	for i := range want {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= limit) {
			t.Errorf("%s[%d] = %v, want %v: off by %.3g, allowed %.3g", name, i, got[i], want[i], d, limit)
			return
		}
	}
}

// head is the projection of the fixture, and the norm of its texts.
type head struct {
	params         *nn.Params
	linear         nn.Linear
	program, texts *graph.Program
	hidden         *graph.Node
	gradHidden     []float32
	gradEmb        []float32
	gradText       []float32
	raw, emb, txt  *graph.Node
	// second half of the image side: from the embedding on
	normalize *graph.Program
	normed    *graph.Node
}

const (
	batch = 8
	width = 40
	dim   = 384
)

func newHead(t *testing.T, g *golden) *head {
	t.Helper()
	h := &head{params: new(nn.Params), gradHidden: make([]float32, batch*width), gradEmb: make([]float32, batch*dim), gradText: make([]float32, batch*dim)}
	h.linear = nn.NewLinear(h.params, "projection", width, dim, nn.Constant(0))
	if err := h.params.Init(nil); err != nil {
		t.Fatal(err)
	}
	copy(h.linear.Weight.Data, g.tensor(t, "in.projection.weight"))
	copy(h.linear.Bias.Data, g.tensor(t, "in.projection.bias"))

	b := graph.NewBuilder()
	h.hidden = b.Input("hidden", batch, width)
	h.raw = h.linear.Forward(b, h.hidden)
	h.emb = b.L2Normalize(h.raw, 1e-12)
	h.program = compile(t, b, graph.Config{Outputs: []*graph.Node{h.raw}, Embedding: h.emb, Wrt: append(b.Params(), h.hidden)})
	check(t, h.params.Bind(h.program))
	check(t, h.program.SetFloats(h.hidden, g.tensor(t, "in.hidden")))
	check(t, h.program.SetGrad(h.hidden, h.gradHidden))
	check(t, h.program.Forward())

	b = graph.NewBuilder()
	raw := b.Input("embedding", batch, dim)
	h.normed = b.L2Normalize(raw, 1e-12)
	h.normalize = compile(t, b, graph.Config{Embedding: h.normed, Wrt: []*graph.Node{raw}})
	check(t, h.normalize.SetFloats(raw, slices.Clone(h.program.Value(h.raw))))
	check(t, h.normalize.SetGrad(raw, h.gradEmb))
	check(t, h.normalize.Forward())

	b = graph.NewBuilder()
	text := b.Input("text", batch, dim)
	h.txt = b.L2Normalize(text, 1e-12)
	h.texts = compile(t, b, graph.Config{Embedding: h.txt, Wrt: []*graph.Node{text}})
	check(t, h.texts.SetFloats(text, g.tensor(t, "in.text")))
	check(t, h.texts.SetGrad(text, h.gradText))
	check(t, h.texts.Forward())
	return h
}

func compile(t *testing.T, b *graph.Builder, c graph.Config) *graph.Program {
	t.Helper()
	check(t, b.Err())
	c.Training = true
	p, err := graph.Compile(b, c)
	check(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// scalar returns a set with one learned scalar.
func scalar(t *testing.T, name string, kind nn.Kind, value float32) *nn.Param {
	t.Helper()
	s := new(nn.Params)
	p := s.Declare(name, kind, nn.Constant(float64(value)))
	check(t, s.Init(nil))
	return p
}

func TestHeadsFollowTheReference(t *testing.T) {
	onTiers(t, func(t *testing.T) {
		g := openGolden(t)
		tests := []struct {
			prefix      string
			kind        Kind
			scale, bias *nn.Param
		}{
			{"infonce", InfoNCE, nil, nil},
			{"clip", Symmetric, scalar(t, "logit_scale", nn.Temperature, g.tensor(t, "in.clip_logit_scale")[0]), nil},
			{"siglip", Sigmoid, scalar(t, "logit_scale", nn.Temperature, g.tensor(t, "in.siglip_log_t")[0]),
				scalar(t, "logit_bias", nn.Bias, g.tensor(t, "in.siglip_bias")[0])},
		}
		for _, tt := range tests {
			t.Run(tt.prefix, func(t *testing.T) {
				h := newHead(t, g)
				l, err := New(Config{Kind: tt.kind, Positives: Diagonal, Temperature: .07}, batch, dim, nil, tt.scale, tt.bias)
				check(t, err)
				defer l.Close()
				value, accuracy, err := l.Run(h.program.Value(h.emb), h.texts.Value(h.txt), nil, nil)
				check(t, err)
				g.near(t, tt.prefix+".loss", []float32{float32(value)})
				check(t, h.program.Backward(l.GradImg))
				check(t, h.normalize.Backward(l.GradImg))
				check(t, h.texts.Backward(l.GradTxt))
				g.near(t, tt.prefix+".grad_embedding", h.gradEmb)
				g.near(t, tt.prefix+".grad_text", h.gradText)
				switch tt.kind {
				case InfoNCE:
					g.near(t, "infonce.accuracy", []float32{float32(accuracy)})
					g.near(t, "infonce.grad_image_normalized", l.GradImg)
					g.near(t, "infonce.grad_hidden", h.gradHidden)
					g.near(t, "infonce.grad_projection_weight", h.linear.Weight.Grad)
					g.near(t, "infonce.grad_projection_bias", h.linear.Bias.Grad)
				case Symmetric:
					g.near(t, "clip.grad_logit_scale", tt.scale.Grad)
				case Sigmoid:
					g.near(t, "siglip.grad_log_t", tt.scale.Grad)
					g.near(t, "siglip.grad_bias", tt.bias.Grad)
				}
			})
		}
	})
}

// oracle computes a loss in float64, straight from its definition.
func oracle(c Config, img, txt []float64, n, d int, relations, captions []int) (value, accuracy float64) {
	logit := func(r, k int) float64 {
		var dot float64
		for i := range d {
			dot += img[r*d+i] * txt[k*d+i]
		}
		x := dot / c.Temperature
		if c.Kind == Sigmoid {
			x += c.Bias
		}
		return x
	}
	equal := func(ids []int, r, k int) bool { return r == k || ids[r] >= 0 && ids[r] == ids[k] }
	positive := func(r, k int) bool {
		switch c.Positives {
		case SameCaption:
			return equal(captions, r, k)
		case SameRelation:
			return equal(relations, r, k)
		}
		return r == k
	}
	counts := func(r, k int) bool {
		switch c.Positives {
		case MaskCaption:
			return r == k || !equal(captions, r, k)
		case MaskRelation:
			return r == k || !equal(relations, r, k)
		}
		return true
	}
	for r := range n {
		best, hit := math.Inf(-1), false
		for k := range n {
			if counts(r, k) && logit(r, k) > best {
				best, hit = logit(r, k), positive(r, k)
			}
		}
		if hit {
			accuracy += 1 / float64(n)
		}
	}
	if c.Kind == Sigmoid {
		for r := range n {
			for k := range n {
				switch {
				case positive(r, k):
					value += math.Log1p(math.Exp(-logit(r, k))) / float64(n)
				case counts(r, k):
					value += math.Log1p(math.Exp(logit(r, k))) / float64(n)
				}
			}
		}
		return value, accuracy
	}
	side := func(at func(r, k int) (int, int)) (sum float64) {
		for r := range n {
			var z, hits float64
			for k := range n {
				if i, j := at(r, k); counts(i, j) {
					z += math.Exp(logit(i, j))
				}
				if i, j := at(r, k); positive(i, j) {
					hits++
				}
			}
			for k := range n {
				if i, j := at(r, k); positive(i, j) {
					sum += (math.Log(z) - logit(i, j)) / hits / float64(n)
				}
			}
		}
		return sum
	}
	value = side(func(r, k int) (int, int) { return r, k })
	if c.Kind == Symmetric {
		value = (value + side(func(r, k int) (int, int) { return k, r })) / 2
	}
	return value, accuracy
}

// TestRules compares every loss under every rule with its definition in
// float64, and the gradients with central differences of that.
func TestRules(t *testing.T) {
	const n, d = 7, 5
	relations := []int{0, 1, 0, 2, 1, -1, -1}
	captions := []int{3, 4, 3, 5, 6, -1, 3}
	rng := rand.New(rand.NewPCG(3, 4))
	img, txt := unit(rng, n, d), unit(rng, n, d)
	onTiers(t, func(t *testing.T) {
		for _, kind := range Kinds() {
			for _, rule := range Rules() {
				t.Run(fmt.Sprintf("%s/%s", kind, rule), func(t *testing.T) {
					c := Config{Kind: kind, Positives: rule, Temperature: .2, Bias: -1.5}
					l, err := New(c, n, d, nil, nil, nil)
					check(t, err)
					defer l.Close()
					img32, txt32 := narrow(img), narrow(txt)
					value, accuracy, err := l.Run(img32, txt32, relations, captions)
					check(t, err)
					want, wantAccuracy := oracle(c, img, txt, n, d, relations, captions)
					if math.Abs(value-want) > 1e-5*want {
						t.Errorf("loss %v, want %v", value, want)
					}
					if math.Abs(accuracy-wantAccuracy) > 1e-9 {
						t.Errorf("accuracy %v, want %v", accuracy, wantAccuracy)
					}
					for side, x := range map[string][]float64{"image": img, "text": txt} {
						got := l.GradImg
						if side == "text" {
							got = l.GradTxt
						}
						for i, at := range x {
							const step = 1e-5
							x[i] = at + step
							high, _ := oracle(c, img, txt, n, d, relations, captions)
							x[i] = at - step
							low, _ := oracle(c, img, txt, n, d, relations, captions)
							x[i] = at
							if want := (high - low) / (2 * step); math.Abs(float64(got[i])-want) > 2e-6 {
								t.Fatalf("gradient of %s %d: %v, want %v", side, i, got[i], want)
							}
						}
					}
				})
			}
		}
	})
}

// unit returns n rows of length one, exact in float32.
func unit(rng *rand.Rand, n, d int) []float64 {
	x := make([]float64, n*d)
	for r := range n {
		var sum float64
		row := x[r*d:][:d]
		for i := range row {
			row[i] = rng.NormFloat64()
			sum += row[i] * row[i]
		}
		for i := range row {
			row[i] = float64(float32(row[i] / math.Sqrt(sum)))
		}
	}
	return x
}

func narrow(x []float64) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
	}
	return y
}

// TestAllMasked: a batch of one caption has no negatives and no gradient.
func TestAllMasked(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	img, txt := narrow(unit(rng, 4, 3)), narrow(unit(rng, 4, 3))
	for _, kind := range []Kind{InfoNCE, Symmetric} {
		l, err := New(Config{Kind: kind, Positives: MaskCaption, Temperature: .01}, 4, 3, nil, nil, nil)
		check(t, err)
		value, accuracy, err := l.Run(img, txt, nil, []int{1, 1, 1, 1})
		check(t, err)
		if value != 0 || accuracy != 1 {
			t.Errorf("%s: loss %v, accuracy %v, want 0 and 1", kind, value, accuracy)
		}
		for _, g := range append(l.GradImg, l.GradTxt...) {
			if g != 0 {
				t.Fatalf("%s: gradient %v, want 0", kind, g)
			}
		}
		l.Close()
	}
}

// TestAccuracyPassesMaskedBy: the nearest caption is one that does not count.
func TestAccuracyPassesMaskedBy(t *testing.T) {
	img := []float32{1, 0, 0, 1}
	txt := []float32{.8, .6, 1, 0} // the first picture is nearest to the second caption
	for _, kind := range Kinds() {
		for rule, want := range map[Positives]float64{Diagonal: 0, MaskCaption: 1, SameCaption: 1} {
			l, err := New(Config{Kind: kind, Positives: rule, Temperature: .07}, 2, 2, nil, nil, nil)
			check(t, err)
			_, accuracy, err := l.Run(img, txt, nil, []int{1, 1})
			check(t, err)
			if accuracy != want {
				t.Errorf("%s/%s: accuracy %v, want %v", kind, rule, accuracy, want)
			}
			l.Close()
		}
	}
}

func TestScaleIsClamped(t *testing.T) {
	scale := scalar(t, "logit_scale", nn.Temperature, 9)
	l, err := New(Config{Kind: Symmetric, Positives: Diagonal, Temperature: .07}, 2, 2, nil, scale, nil)
	check(t, err)
	defer l.Close()
	if _, _, err := l.Run([]float32{1, 0, 0, 1}, []float32{0, 1, 1, 0}, nil, nil); err != nil {
		t.Fatal(err)
	}
	if want := float32(math.Log(100)); scale.Data[0] != want {
		t.Errorf("scale %v, want %v", scale.Data[0], want)
	}
	if scale.Grad[0] == 0 {
		t.Error("the clamped scale has no gradient")
	}
}

func TestNewRefuses(t *testing.T) {
	good := Config{Kind: InfoNCE, Positives: Diagonal, Temperature: .07}
	check(t, good.Validate())
	bias := scalar(t, "logit_bias", nn.Bias, 0)
	tests := []struct {
		want       string
		change     func(c *Config)
		batch, dim int
		bias       *nn.Param
	}{
		{`kind "triplet": unknown`, func(c *Config) { c.Kind = "triplet" }, 2, 2, nil},
		{`positives "all": unknown`, func(c *Config) { c.Positives = "all" }, 2, 2, nil},
		{"temperature 0", func(c *Config) { c.Temperature = 0 }, 2, 2, nil},
		{"temperature NaN", func(c *Config) { c.Temperature = math.NaN() }, 2, 2, nil},
		{"bias +Inf", func(c *Config) { c.Bias = math.Inf(1) }, 2, 2, nil},
		{"batch 0", func(*Config) {}, 0, 2, nil},
		{"embeddings of -1", func(*Config) {}, 2, -1, nil},
		{"a learned bias", func(*Config) {}, 2, 2, bias},
	}
	for _, tt := range tests {
		c := good
		tt.change(&c)
		if _, err := New(c, tt.batch, tt.dim, nil, nil, tt.bias); err == nil || !strings.HasPrefix(err.Error(), "loss: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
}

func TestRunPanicsOnLengths(t *testing.T) {
	l, err := New(Config{Kind: InfoNCE, Positives: SameRelation, Temperature: .07}, 2, 3, nil, nil, nil)
	check(t, err)
	defer l.Close()
	six := make([]float32, 6)
	for what, f := range map[string]func(){
		"images":    func() { l.Run(six[:5], six, []int{1, 2}, nil) },
		"texts":     func() { l.Run(six, six[:3], []int{1, 2}, nil) },
		"relations": func() { l.Run(six, six, []int{1}, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", what)
				}
			}()
			f()
		}()
	}
}

// Two pictures and their captions; the second picture lies nearer to the wrong
// one.
func Example() {
	l, err := New(Config{Kind: InfoNCE, Positives: Diagonal, Temperature: .07}, 2, 2, nil, nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	pictures := []float32{1, 0, .8, .6}
	captions := []float32{1, 0, 0, 1}
	value, accuracy, err := l.Run(pictures, captions, nil, nil)
	fmt.Printf("loss %.2f, accuracy %.1f, error %v\n", value, accuracy, err)
	// Output:
	// loss 1.46, accuracy 0.5, error <nil>
}
