package nn

import "testing"

func TestDepth(t *testing.T) {
	c := preset(t, "vit-ti/8")
	c.Vision.Layers, c.Text.Layers, c.LearnTemperature = 3, 2, true
	m, err := Declare(c, 5)
	check(t, err)
	for name, want := range map[string][2]int{
		"vision.cls_token":               {0, 3},
		"vision.pos_embed":               {0, 3},
		"vision.patch_embed.proj.weight": {0, 3},
		"vision.blocks.0.norm1.weight":   {1, 3},
		"vision.blocks.2.mlp.fc2.bias":   {3, 3},
		"vision.norm.bias":               {4, 3},
		"vision.head.weight":             {4, 3},
		"text.token_embedding.weight":    {0, 2},
		"text.blocks.1.attn.qkv.weight":  {2, 2},
		"text.head.bias":                 {3, 2},
		"logit_scale":                    {0, 0},
	} {
		p := m.Params.Lookup(name)
		if p == nil {
			t.Errorf("no parameter %s", name)
			continue
		}
		if depth, layers := m.Depth(p); depth != want[0] || layers != want[1] {
			t.Errorf("%s: depth %d of %d, want %d of %d", name, depth, layers, want[0], want[1])
		}
	}
	bag := preset(t, "scenes")
	m, err = Declare(bag, 5)
	check(t, err)
	if depth, layers := m.Depth(m.Params.Lookup("text.token_embedding.weight")); depth != 1 || layers != 0 {
		t.Errorf("a bag of words: depth %d of %d, want 1 of 0", depth, layers)
	}
}
