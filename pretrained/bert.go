package pretrained

import (
	"fmt"
	"strings"

	"relsim/nn"
)

// parseBERT reads the configuration of a BERT encoder. What is left out has the
// defaults of transformers' BertConfig. Without the layout of sentence-transformers
// it is pooled by the mean over the words.
func parseBERT(m *Model, _ folder, config []byte) error {
	c := struct {
		Vocab      int     `json:"vocab_size"`
		Width      int     `json:"hidden_size"`
		Layers     int     `json:"num_hidden_layers"`
		Heads      int     `json:"num_attention_heads"`
		MLP        int     `json:"intermediate_size"`
		Activation string  `json:"hidden_act"`
		Length     int     `json:"max_position_embeddings"`
		Types      int     `json:"type_vocab_size"`
		NormEps    float64 `json:"layer_norm_eps"`
		Positions  string  `json:"position_embedding_type"`
		Decoder    bool    `json:"is_decoder"`
	}{30522, 768, 12, 12, 3072, "gelu", 512, 2, 1e-12, "absolute", false}
	if err := decode(config, &c); err != nil {
		return fmt.Errorf("config.json: %w", err)
	}
	switch {
	case c.Positions != "absolute":
		return fmt.Errorf("config.json: position_embedding_type %q: want absolute", c.Positions)
	case c.Decoder:
		return fmt.Errorf("config.json: is_decoder is true: want an encoder")
	case c.Types < 1:
		return fmt.Errorf("config.json: type_vocab_size %d: want at least 1", c.Types)
	}
	gelu, err := activation("hidden_act", c.Activation)
	if err != nil {
		return err
	}
	m.Config = absent()
	m.Config.EmbedDim = c.Width
	m.Config.Text = nn.TextConfig{
		Kind: nn.Transformer, Length: c.Length, TokenTypes: c.Types, Pool: nn.PoolMean, Head: nn.HeadNone,
		BlockConfig: nn.BlockConfig{
			Width: c.Width, Layers: c.Layers, Heads: c.Heads, MLP: c.MLP, NormEps: c.NormEps, GELU: gelu, Init: nn.InitViT,
			InputNorm: true, PostNorm: true,
		},
	}
	m.Vocab, m.positionRows = c.Vocab, c.Length
	if s := m.sentence; s != nil {
		if s.width != 0 && s.width != c.Width {
			return fmt.Errorf("the pooling is of vectors of %d, the encoder makes such of %d", s.width, c.Width)
		}
		m.Normalize, m.Config.Text.Pool = s.normalize, s.pool
		if s.length > 0 {
			m.Config.Text.Length = min(s.length, c.Length)
		}
	}
	return nil
}

func bertNames(m *Model) []Name {
	c, t := m.Config.Text, table{tower: nn.TextTower}
	t.whole("embeddings.word_embeddings.weight", "token_embedding.weight", m.Vocab, c.Width)
	t.whole("embeddings.position_embeddings.weight", "pos_embed", m.positionRows, c.Width)
	t.whole("embeddings.token_type_embeddings.weight", "token_type_embedding.weight", c.TokenTypes, c.Width)
	t.norm("embeddings.LayerNorm", "norm_pre", c.Width)
	t.layers("encoder.layer", layerNames{
		norm1: "attention.output.LayerNorm", query: "attention.self.query", key: "attention.self.key", value: "attention.self.value",
		proj: "attention.output.dense", norm2: "output.LayerNorm", fc1: "intermediate.dense", fc2: "output.dense",
	}, c.BlockConfig)
	return t.names
}

// renameBERT gives gains and biases of norms their names of today: the first
// published files call them gamma and beta.
func renameBERT(name string) string {
	if rest, ok := strings.CutSuffix(name, "LayerNorm.gamma"); ok {
		return rest + "LayerNorm.weight"
	}
	if rest, ok := strings.CutSuffix(name, "LayerNorm.beta"); ok {
		return rest + "LayerNorm.bias"
	}
	return name
}
