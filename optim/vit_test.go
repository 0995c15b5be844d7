package optim

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relsim/checkpoints"
	"relsim/graph"
	"relsim/loss"
	"relsim/nn"
)

// TestTrainingFollowsTheReference trains a small vision transformer for ten
// whole steps: encoder, normalisation, loss, both phases of the gradient,
// clipping, AdamW and schedule.
func TestTrainingFollowsTheReference(t *testing.T) {
	onTiers(t, func(t *testing.T) {
		for _, micro := range []int{8, 4} {
			t.Run(fmt.Sprintf("micro-batch=%d", micro), func(t *testing.T) { followViT(t, micro) })
		}
	})
}

func followViT(t *testing.T, micro int) {
	g := openGolden(t, "vit_train")
	data, err := os.ReadFile("testdata/vit_train/config.json")
	if err != nil {
		t.Fatal(err)
	}
	var shape struct {
		Size   int     `json:"image_size"`
		Patch  int     `json:"patch_size"`
		Width  int     `json:"hidden_size"`
		Layers int     `json:"num_layers"`
		Heads  int     `json:"num_heads"`
		MLP    int     `json:"mlp_size"`
		Out    int     `json:"output_dim"`
		Eps    float64 `json:"layer_norm_eps"`
	}
	if err := json.Unmarshal(data, &shape); err != nil {
		t.Fatal(err)
	}
	params := new(nn.Params)
	vision := nn.NewVision(params, "", nn.VisionConfig{
		ImageSize: shape.Size, Stem: nn.PatchStem, PatchSize: shape.Patch, Pool: nn.PoolCLS,
		BlockConfig: nn.BlockConfig{
			Width: shape.Width, Layers: shape.Layers, Heads: shape.Heads, MLP: shape.MLP,
			NormEps: shape.Eps, GELU: nn.GELUErf, Init: nn.InitViT,
		},
	}, shape.Out)
	if err := params.Init(rng()); err != nil {
		t.Fatal(err)
	}
	if err := checkpoints.Assign(params.Targets(), open(t, filepath.Join("testdata", "vit_train", "model.safetensors"))); err != nil {
		t.Fatal(err)
	}

	b := graph.NewBuilder()
	images := b.Input("images", micro, 3, shape.Size, shape.Size)
	raw := vision.Forward(b, images, micro)
	emb := b.L2Normalize(raw, 1e-12)
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	p, err := graph.Compile(b, graph.Config{Outputs: []*graph.Node{raw}, Embedding: emb, Wrt: b.Params(), Training: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := params.Bind(p); err != nil {
		t.Fatal(err)
	}
	criterion, err := loss.New(loss.Config{Kind: loss.InfoNCE, Positives: loss.Diagonal, Temperature: g.Temperature}, g.Batch, shape.Out, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer criterion.Close()
	config, schedule := g.settings()
	config.ClipNorm = g.MaxNorm
	adamw, err := NewAdamW(params, config, nil)
	if err != nil {
		t.Fatal(err)
	}

	pictures, texts := g.tensor(t, "in.images"), g.tensor(t, "in.text_embeddings")
	perImage, perBatch := 3*shape.Size*shape.Size, g.Batch*shape.Out
	wantAccuracy, wantRaw := g.tensor(t, "accuracy"), make([]float32, perBatch)
	out := make([]float32, perBatch)
	forward := func(batch, at int) {
		if err := p.SetFloats(images, pictures[(batch*g.Batch+at)*perImage:][:micro*perImage]); err != nil {
			t.Fatal(err)
		}
		if err := p.Forward(); err != nil {
			t.Fatal(err)
		}
		copy(out[at*shape.Out:], p.Value(emb))
		copy(wantRaw[at*shape.Out:], p.Value(raw))
	}
	for s := range g.Steps {
		for at := 0; at < g.Batch; at += micro {
			forward(s%2, at)
		}
		if s == 0 {
			g.near(t, "step0.embedding", -1, wantRaw)
		}
		value, accuracy, err := criterion.Run(out, texts[s%2*perBatch:][:perBatch], nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := g.Losses[s]; math.Abs(value-want) > 1e-4*want {
			t.Errorf("step %d: loss %v, want %v", s, value, want)
		}
		if want := float64(wantAccuracy[s]); math.Abs(accuracy-want) > 1e-6 {
			t.Errorf("step %d: accuracy %v, want %v", s, accuracy, want)
		}
		for at := 0; at < g.Batch; at += micro {
			forward(s%2, at)
			p.SetAccumulate(at > 0)
			if err := p.Backward(criterion.GradImg[at*shape.Out:][:micro*shape.Out]); err != nil {
				t.Fatal(err)
			}
		}
		if s == 0 {
			for _, param := range params.All() {
				g.near(t, "step0.grad."+param.Name, -1, param.Grad)
			}
		}
		if _, err := adamw.Step(schedule.At(s)); err != nil {
			t.Fatal(err)
		}
		if s == 0 {
			compare(t, g, "after_step1.", params)
		}
	}
	compare(t, g, "final.", params)
	for at := 0; at < g.Batch; at += micro {
		forward(0, at)
	}
	g.near(t, "final_embedding", -1, wantRaw)
}

// compare checks the parameters, but the biases of the keys.
func compare(t *testing.T, g *golden, prefix string, params *nn.Params) {
	t.Helper()
	for _, p := range params.All() {
		want, got := g.tensor(t, prefix+p.Name), slices.Clone(p.Data)
		if strings.HasSuffix(p.Name, "attn.qkv.bias") {
			d := len(got) / 3
			copy(got[d:2*d], want[d:2*d])
		}
		within(t, prefix+p.Name, got, want, 2e-4)
	}
}
