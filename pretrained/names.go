package pretrained

import (
	"fmt"
	"path"

	"relsim/nn"
)

// Name says which parameter of package nn holds a published tensor. Queries, keys
// and values are published apart, and rows of one parameter here.
type Name struct {
	// Published is the name in the file, without the prefix that models with a head
	// put before it.
	Published string
	// Shape is the published shape.
	Shape []int
	// Tower is the tower that it is of.
	Tower nn.Tower
	// Param is the name of the parameter of nn.
	Param string
	// Low and High are the rows (the first dimension of its matrix) that the tensor
	// fills. Both are 0 where it is the whole parameter.
	Low, High int
}

// ignored lists tensors that files may have and models here do not.
var ignored = []struct{ family, pattern, why string }{
	{CLIP, "vision_model.embeddings.position_ids", "a buffer that counts 0, 1, 2 …"},
	{CLIP, "text_model.embeddings.position_ids", "a buffer that counts 0, 1, 2 …"},
	{CLIP, "logit_scale", "read by Open"},
	{DINOv2, "embeddings.mask_token", "stood for hidden patches in pre-training"},
	{DINOv2, "classifier.*", "names classes of ImageNet"},
	{BERT, "embeddings.position_ids", "a buffer that counts 0, 1, 2 …"},
	{BERT, "pooler.dense.*", "sentence encoders pool the words themselves"},
	{BERT, "cls.*", "guessed words and sentences in pre-training"},
	{ViT, "head.*", "names classes"},
}

// ignores says that a tensor of that name is passed by.
func ignores(family, name string) bool {
	for _, i := range ignored {
		if ok, err := path.Match(i.pattern, name); i.family == family && err == nil && ok {
			return true
		}
	}
	return false
}

// table collects the names of one tower.
type table struct {
	tower nn.Tower
	names []Name
}

// whole adds a tensor that is a parameter.
func (t *table) whole(published, param string, shape ...int) {
	t.names = append(t.names, Name{Published: published, Shape: shape, Tower: t.tower, Param: string(t.tower) + "." + param})
}

// rows adds a tensor that is rows of a parameter.
func (t *table) rows(published, param string, low int, shape ...int) {
	t.whole(published, param, shape...)
	n := &t.names[len(t.names)-1]
	n.Low, n.High = low, low+shape[0]
}

// linear adds weight and bias of a linear layer.
func (t *table) linear(published, param string, out, in int) {
	t.whole(published+".weight", param+".weight", out, in)
	t.whole(published+".bias", param+".bias", out)
}

// norm adds gain and bias of a norm.
func (t *table) norm(published, param string, width int) {
	t.whole(published+".weight", param+".weight", width)
	t.whole(published+".bias", param+".bias", width)
}

// layerNames are the published names of the parts of an encoder layer, within the
// layer. With qkv, queries, keys and values are one tensor.
type layerNames struct {
	norm1, qkv, query, key, value, proj, norm2, fc1, fc2, scale1, scale2 string
}

// layers adds the layers of a tower; the published name of layer i is that of
// prefix and the number.
func (t *table) layers(prefix string, l layerNames, c nn.BlockConfig) {
	hidden := c.MLP
	if c.SwiGLU {
		hidden *= 2
	}
	for i := range c.Layers {
		from, to := fmt.Sprintf("%s.%d.", prefix, i), fmt.Sprintf("blocks.%d.", i)
		t.norm(from+l.norm1, to+"norm1", c.Width)
		if l.qkv != "" {
			t.linear(from+l.qkv, to+"attn.qkv", 3*c.Width, c.Width)
		} else {
			for k, part := range []string{l.query, l.key, l.value} {
				t.rows(from+part+".weight", to+"attn.qkv.weight", k*c.Width, c.Width, c.Width)
				t.rows(from+part+".bias", to+"attn.qkv.bias", k*c.Width, c.Width)
			}
		}
		t.linear(from+l.proj, to+"attn.proj", c.Width, c.Width)
		if c.LayerScale {
			t.whole(from+l.scale1, to+"ls1.gamma", c.Width)
		}
		t.norm(from+l.norm2, to+"norm2", c.Width)
		t.linear(from+l.fc1, to+"mlp.fc1", hidden, c.Width)
		t.linear(from+l.fc2, to+"mlp.fc2", c.Width, c.MLP)
		if c.LayerScale {
			t.whole(from+l.scale2, to+"ls2.gamma", c.Width)
		}
	}
}
