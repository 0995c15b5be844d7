package pretrained

import (
	"encoding/json"
	"fmt"
	"strings"

	"relsim/nn"
)

// clipTower are the keys of either tower of a CLIP configuration.
type clipTower struct {
	ProjectionDim int     `json:"projection_dim"`
	Width         int     `json:"hidden_size"`
	MLP           int     `json:"intermediate_size"`
	Layers        int     `json:"num_hidden_layers"`
	Heads         int     `json:"num_attention_heads"`
	Activation    string  `json:"hidden_act"`
	NormEps       float64 `json:"layer_norm_eps"`

	Channels  int `json:"num_channels"`
	ImageSize int `json:"image_size"`
	PatchSize int `json:"patch_size"`

	Vocab  int `json:"vocab_size"`
	Length int `json:"max_position_embeddings"`
	EOS    int `json:"eos_token_id"`
}

// The defaults of transformers, CLIPVisionConfig and CLIPTextConfig: files leave
// out what is equal to them.
var (
	clipVision = clipTower{
		ProjectionDim: 512, Width: 768, MLP: 3072, Layers: 12, Heads: 12, Activation: "quick_gelu", NormEps: 1e-5,
		Channels: 3, ImageSize: 224, PatchSize: 32,
	}
	clipText = clipTower{
		ProjectionDim: 512, Width: 512, MLP: 2048, Layers: 12, Heads: 8, Activation: "quick_gelu", NormEps: 1e-5,
		Vocab: 49408, Length: 77, EOS: 49407,
	}
)

// legacyEOS is the eos_token_id of the first published configurations. It is not
// the id that ends a caption, and says that the row of the largest id is pooled.
const legacyEOS = 2

// parseCLIP reads the configuration of both towers, or of one of them.
func parseCLIP(m *Model, _ folder, config []byte) error {
	var c struct {
		ModelType     string          `json:"model_type"`
		Architectures []string        `json:"architectures"`
		ProjectionDim *int            `json:"projection_dim"`
		Vision        json.RawMessage `json:"vision_config"`
		VisionDict    json.RawMessage `json:"vision_config_dict"`
		Text          json.RawMessage `json:"text_config"`
		TextDict      json.RawMessage `json:"text_config_dict"`
	}
	if err := decode(config, &c); err != nil {
		return fmt.Errorf("config.json: %w", err)
	}
	m.Config = absent()
	vision, text := clipVision, clipText
	head := nn.HeadProjection
	switch c.ModelType {
	case "clip":
		// The first published files have the keys of a tower twice; those of the _dict win.
		if err := merge("vision_config", &vision, c.Vision, c.VisionDict); err != nil {
			return err
		}
		if err := merge("text_config", &text, c.Text, c.TextDict); err != nil {
			return err
		}
		m.Config.EmbedDim = 512
		if c.ProjectionDim != nil {
			m.Config.EmbedDim = *c.ProjectionDim
		}
		scale, err := m.files.scalar("logit_scale")
		if err != nil {
			return err
		}
		m.LogitScale = scale
		m.Config.Temperature = temperature(scale)
	case "clip_vision_model":
		if err := merge("vision model", &vision, config); err != nil {
			return err
		}
		if m.Config.EmbedDim = vision.ProjectionDim; !projects(c.Architectures, m.files.has("visual_projection.weight")) {
			head, m.Config.EmbedDim = nn.HeadNone, vision.Width
		}
	case "clip_text_model":
		if err := merge("text model", &text, config); err != nil {
			return err
		}
		if m.Config.EmbedDim = text.ProjectionDim; !projects(c.Architectures, m.files.has("text_projection.weight")) {
			head, m.Config.EmbedDim = nn.HeadNone, text.Width
		}
	}
	if c.ModelType != "clip_text_model" {
		if vision.Channels != 3 {
			return fmt.Errorf("config.json: vision_config: num_channels %d: want 3", vision.Channels)
		}
		block, err := vision.block("vision_config")
		if err != nil {
			return err
		}
		block.InputNorm = true
		m.Config.Vision = nn.VisionConfig{
			ImageSize: vision.ImageSize, Stem: nn.PatchStem, PatchSize: vision.PatchSize, NoPatchBias: true,
			BlockConfig: block, Pool: nn.PoolCLS, Head: head,
		}
	}
	if c.ModelType != "clip_vision_model" {
		block, err := text.block("text_config")
		if err != nil {
			return err
		}
		m.Config.Text = nn.TextConfig{
			Kind: nn.Transformer, Length: text.Length, BlockConfig: block, Pool: nn.PoolEOS, EOS: text.EOS, Head: head,
		}
		if text.EOS == legacyEOS {
			m.Config.Text.Pool, m.Config.Text.EOS = nn.PoolMaxID, 0
		}
		m.Vocab = text.Vocab
	}
	return nil
}

// projects says whether a model of one tower has a projection: its class says so,
// or, where the configuration names none, its weights.
func projects(architectures []string, weights bool) bool {
	if len(architectures) == 0 {
		return weights
	}
	return strings.Contains(architectures[0], "WithProjection")
}

func (c clipTower) block(field string) (nn.BlockConfig, error) {
	gelu, err := activation(field+".hidden_act", c.Activation)
	return nn.BlockConfig{
		Width: c.Width, Layers: c.Layers, Heads: c.Heads, MLP: c.MLP, NormEps: c.NormEps, GELU: gelu, Init: nn.InitViT,
	}, err
}

var clipLayer = layerNames{
	norm1: "layer_norm1", query: "self_attn.q_proj", key: "self_attn.k_proj", value: "self_attn.v_proj",
	proj: "self_attn.out_proj", norm2: "layer_norm2", fc1: "mlp.fc1", fc2: "mlp.fc2",
}

func clipNames(m *Model) []Name {
	var names []Name
	if m.Config.Has(nn.VisionTower) {
		c, t := m.Config.Vision, table{tower: nn.VisionTower}
		t.whole("vision_model.embeddings.class_embedding", "cls_token", c.Width)
		t.whole("vision_model.embeddings.patch_embedding.weight", "patch_embed.proj.weight", c.Width, 3, c.PatchSize, c.PatchSize)
		t.whole("vision_model.embeddings.position_embedding.weight", "pos_embed", c.Tokens(), c.Width)
		t.norm("vision_model.pre_layrnorm", "norm_pre", c.Width) // sic
		t.layers("vision_model.encoder.layers", clipLayer, c.BlockConfig)
		t.norm("vision_model.post_layernorm", "norm", c.Width)
		if c.Head == nn.HeadProjection {
			t.whole("visual_projection.weight", "head.weight", m.Config.EmbedDim, c.Width)
		}
		names = append(names, t.names...)
	}
	if m.Config.Has(nn.TextTower) {
		c, t := m.Config.Text, table{tower: nn.TextTower}
		t.whole("text_model.embeddings.token_embedding.weight", "token_embedding.weight", m.Vocab, c.Width)
		t.whole("text_model.embeddings.position_embedding.weight", "pos_embed", c.Length, c.Width)
		t.layers("text_model.encoder.layers", clipLayer, c.BlockConfig)
		t.norm("text_model.final_layer_norm", "norm", c.Width)
		if c.Head == nn.HeadProjection {
			t.whole("text_projection.weight", "head.weight", m.Config.EmbedDim, c.Width)
		}
		names = append(names, t.names...)
	}
	return names
}
