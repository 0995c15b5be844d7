package pretrained

import (
	"fmt"

	"relsim/nn"
)

// parseDINOv2 reads the configuration of a DINOv2 model. What is left out has the
// defaults of transformers' Dinov2Config.
func parseDINOv2(m *Model, _ folder, config []byte) error {
	c := struct {
		Width      int     `json:"hidden_size"`
		Layers     int     `json:"num_hidden_layers"`
		Heads      int     `json:"num_attention_heads"`
		MLPRatio   float64 `json:"mlp_ratio"`
		Activation string  `json:"hidden_act"`
		NormEps    float64 `json:"layer_norm_eps"`
		ImageSize  int     `json:"image_size"`
		PatchSize  int     `json:"patch_size"`
		Channels   int     `json:"num_channels"`
		QKVBias    bool    `json:"qkv_bias"`
		SwiGLU     bool    `json:"use_swiglu_ffn"`
	}{768, 12, 12, 4, "gelu", 1e-6, 224, 14, 3, true, false}
	if err := decode(config, &c); err != nil {
		return fmt.Errorf("config.json: %w", err)
	}
	switch {
	case c.Channels != 3:
		return fmt.Errorf("config.json: num_channels %d: want 3", c.Channels)
	case !c.QKVBias:
		return fmt.Errorf("config.json: qkv_bias is false: want true")
	case c.Width < 1 || c.Width > 1<<20:
		return fmt.Errorf("config.json: hidden_size %d: want 1 to %d", c.Width, 1<<20)
	case !(c.MLPRatio > 0 && c.MLPRatio <= 64):
		return fmt.Errorf("config.json: mlp_ratio %v: want above 0, at most 64", c.MLPRatio)
	}
	block := nn.BlockConfig{
		Width: c.Width, Layers: c.Layers, Heads: c.Heads, MLP: int(float64(c.Width) * c.MLPRatio), NormEps: c.NormEps,
		Init: nn.InitViT, LayerScale: true, SwiGLU: c.SwiGLU,
	}
	if c.SwiGLU {
		block.MLP = (int(float64(block.MLP)*2/3) + 7) / 8 * 8
	} else {
		var err error
		if block.GELU, err = activation("hidden_act", c.Activation); err != nil {
			return err
		}
	}
	m.Config = absent()
	m.Config.EmbedDim = c.Width
	m.Config.Vision = nn.VisionConfig{
		ImageSize: c.ImageSize, Stem: nn.PatchStem, PatchSize: c.PatchSize,
		BlockConfig: block, Pool: nn.PoolCLS, Head: nn.HeadNone,
	}
	return nil
}

func dinov2Names(m *Model) []Name {
	c, t := m.Config.Vision, table{tower: nn.VisionTower}
	layer := layerNames{
		norm1: "norm1", query: "attention.attention.query", key: "attention.attention.key", value: "attention.attention.value",
		proj: "attention.output.dense", norm2: "norm2", fc1: "mlp.fc1", fc2: "mlp.fc2",
		scale1: "layer_scale1.lambda1", scale2: "layer_scale2.lambda1",
	}
	if c.SwiGLU {
		layer.fc1, layer.fc2 = "mlp.weights_in", "mlp.weights_out"
	}
	t.whole("embeddings.cls_token", "cls_token", 1, 1, c.Width)
	t.whole("embeddings.position_embeddings", "pos_embed", 1, c.Tokens(), c.Width)
	t.whole("embeddings.patch_embeddings.projection.weight", "patch_embed.proj.weight", c.Width, 3, c.PatchSize, c.PatchSize)
	t.whole("embeddings.patch_embeddings.projection.bias", "patch_embed.proj.bias", c.Width)
	t.layers("encoder.layer", layer, c.BlockConfig)
	t.norm("layernorm", "norm", c.Width)
	return t.names
}
