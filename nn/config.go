package nn

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"relsim/kernel"
)

// Config describes a two-tower model, of which one tower may be absent: see
// [Config.Has]. It is saved with every checkpoint; in JSON, unknown keys are
// refused.
type Config struct {
	Vision VisionConfig `json:"vision"`
	Text   TextConfig   `json:"text"`
	// EmbedDim is the width E of the embeddings of both towers.
	EmbedDim int `json:"embed_dim"`
	// Temperature τ divides the similarities in the loss; if it is learned, it
	// is the first value.
	Temperature      float64 `json:"temperature"`
	LearnTemperature bool    `json:"learn_temperature"`
	// LogitBias is added to the logits of the sigmoid loss; if it is learned,
	// it is the first value.
	LogitBias      float64 `json:"logit_bias"`
	LearnLogitBias bool    `json:"learn_logit_bias"`
	// LoRA are low-rank adapters; nil: none.
	LoRA *LoRA `json:"lora,omitempty"`
}

// VisionConfig describes an image encoder: a stem that turns the picture into
// a grid of tokens, a position table, encoder layers, a norm, pooling and a
// head.
type VisionConfig struct {
	// ImageSize is the side S of the pictures.
	ImageSize int `json:"image_size"`
	// Stem is "patch", one convolution over patches that do not overlap, or
	// "conv", the layers of Convs, each with a GELU. "none" says that the model
	// has no image encoder; then all else is zero.
	Stem        Stem         `json:"stem"`
	PatchSize   int          `json:"patch_size,omitempty"`    // of stem "patch"
	NoPatchBias bool         `json:"no_patch_bias,omitempty"` // of stem "patch": its convolution has no bias
	Convs       []ConvConfig `json:"convs,omitempty"`         // of stem "conv"
	BlockConfig
	// Pool is "cls", a class token before the others, or "mean".
	Pool Pool `json:"pool"`
	// Projection, if not 0, is the width of a linear layer without bias between the
	// pooled row and the head: CLIP's own, where another head follows it.
	Projection int `json:"projection,omitempty"`
	// Head is what follows the pooled row, or the projection.
	Head Head `json:"head,omitempty"`
}

// ConvConfig is one layer of a convolutional stem: windows of 3×3 with padding 1.
type ConvConfig struct {
	Channels int `json:"channels"`
	Stride   int `json:"stride"`
}

// BlockConfig describes the encoder layers of a tower.
type BlockConfig struct {
	Width  int `json:"width"`
	Layers int `json:"layers"`
	Heads  int `json:"heads,omitempty"`
	MLP    int `json:"mlp,omitempty"` // width between the two matrices
	// NormEps is the epsilon of the layer norms.
	NormEps float64 `json:"norm_eps,omitempty"`
	GELU    GELU    `json:"gelu,omitempty"`
	Dropout float64 `json:"dropout,omitempty"`
	Init    Init    `json:"init"`
	// InputNorm puts a norm between the positions and the first layer, as CLIP's
	// image encoder and BERT do.
	InputNorm bool `json:"input_norm,omitempty"`
	// PostNorm puts the norms of a layer behind its sums, and none behind the last
	// layer (arXiv:1706.03762; BERT): of a text transformer.
	PostNorm bool `json:"post_norm,omitempty"`
	// LayerScale multiplies what each half of a layer adds by a learned gain per
	// column (arXiv:2103.17239; DINOv2).
	LayerScale bool `json:"layer_scale,omitempty"`
	// SwiGLU gates the MLP in the place of a GELU (arXiv:2002.05202): the first
	// matrix makes [gate|value], each MLP wide, and the second one reads
	// silu(gate)·value. GELU is empty then.
	SwiGLU bool `json:"swiglu,omitempty"`
}

// TextConfig describes a text encoder.
type TextConfig struct {
	// Kind is "bag", the sum of the word vectors over the root of their number,
	// or "transformer", encoder layers over word vectors and positions. "none" says
	// that the model has no text encoder; then all else is zero.
	Kind TextKind `json:"kind"`
	// Length is the number of words of a caption that are read.
	Length int `json:"length"`
	BlockConfig
	// Pool, of a transformer, is "mean" over the words, "max" over them, or "cls",
	// the first one. The others are of causal attention: "last", the last word;
	// "eos", the first word that is EOS, and the first one of all where there is
	// none; "max-id", the first of those with the largest id.
	Pool Pool `json:"pool,omitempty"`
	// EOS is the id that ends a caption, of pool "eos".
	EOS int `json:"eos,omitempty"`
	// TokenTypes is the number of rows of a table whose first row is added to every
	// word: BERT's table of segments. 0: none.
	TokenTypes int `json:"token_types,omitempty"`
	// Head is what follows the pooled row.
	Head Head `json:"head,omitempty"`
}

// causal says that a word sees only itself and those before it.
func (c TextConfig) causal() bool {
	return c.Pool == PoolLast || c.Pool == PoolEOS || c.Pool == PoolMaxID
}

// Has reports whether the model has a tower.
func (c Config) Has(t Tower) bool {
	switch t {
	case VisionTower:
		return c.Vision.Stem != NoVision
	case TextTower:
		return c.Text.Kind != NoText
	}
	return false
}

// The choices of a configuration.
type (
	Stem     string // how a picture becomes tokens
	Pool     string // how tokens become one vector
	TextKind string // which text encoder
	GELU     string // which GELU
	Init     string // how matrices are drawn
	Head     string // how the pooled vector becomes the embedding
)

// The values of the choices.
const (
	PatchStem Stem = "patch"
	ConvStem  Stem = "conv"
	NoVision  Stem = "none" // there is no image encoder

	PoolCLS   Pool = "cls"
	PoolMean  Pool = "mean"
	PoolMax   Pool = "max"
	PoolLast  Pool = "last"
	PoolEOS   Pool = "eos"
	PoolMaxID Pool = "max-id"

	Bag         TextKind = "bag"
	Transformer TextKind = "transformer"
	NoText      TextKind = "none" // there is no text encoder

	HeadLinear     Head = ""           // a linear layer
	HeadProjection Head = "projection" // a linear layer without bias
	HeadNone       Head = "none"       // the pooled row is the embedding

	GELUErf   GELU = "erf"
	GELUTanh  GELU = "tanh"
	GELUQuick GELU = "quick"

	// InitViT draws matrices from a truncated normal with std .02, as
	// timm and Hugging Face do.
	InitViT Init = "vit"
	// InitFanIn draws them with std .8/√fan_in, and half of that where a layer
	// writes to the residual stream: for small models that train from scratch.
	InitFanIn Init = "fan-in"
)

// linear returns the initialisers of matrices inside a block, and of those
// that write to the residual stream.
func (i Init) linear() (inner, outer Initializer) {
	if i == InitFanIn {
		return FanIn(.8), Scaled(FanIn(.8), .5)
	}
	return TruncatedNormal(.02), TruncatedNormal(.02)
}

func (g GELU) kernel() kernel.GELUKind {
	switch g {
	case GELUTanh:
		return kernel.GELUTanh
	case GELUQuick:
		return kernel.GELUQuick
	}
	return kernel.GELUErf
}

// Bounds that keep a hostile configuration from asking for absurd work.
const (
	maxImageSize = 4096
	maxWidth     = 1 << 14
	maxLayers    = 256
	maxLength    = 4096
	maxTokens    = 1 << 16
	maxVocab     = 1 << 22
	maxTypes     = 1 << 10
	maxParams    = 1 << 31
)

// UnmarshalJSON reads a configuration and refuses unknown keys. It does not
// validate.
func (c *Config) UnmarshalJSON(data []byte) error {
	type plain Config
	var p plain
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return fmt.Errorf("nn: config: %w", err)
	}
	*c = Config(p)
	return nil
}

// Validate reports the first field that makes no sense, by its JSON name.
func (c Config) Validate() error {
	if err := c.Vision.validate(); err != nil {
		return err
	}
	if err := c.Text.validate(); err != nil {
		return err
	}
	switch {
	case !c.Has(VisionTower) && !c.Has(TextTower):
		return fmt.Errorf("nn: config: vision.stem is %q and text.kind is %q: a model has a tower", NoVision, NoText)
	case c.Has(VisionTower) && c.Vision.Head == HeadNone && c.Vision.Width != c.EmbedDim:
		return fmt.Errorf("nn: config: vision.head is %q: embed_dim %d, want the width %d", HeadNone, c.EmbedDim, c.Vision.Width)
	case c.Has(TextTower) && c.Text.Head == HeadNone && c.Text.Width != c.EmbedDim:
		return fmt.Errorf("nn: config: text.head is %q: embed_dim %d, want the width %d", HeadNone, c.EmbedDim, c.Text.Width)
	case c.EmbedDim < 1 || c.EmbedDim > maxWidth:
		return fmt.Errorf("nn: config: embed_dim %d, want 1 to %d", c.EmbedDim, maxWidth)
	case !(c.Temperature >= .01 && c.Temperature <= 100):
		return fmt.Errorf("nn: config: temperature %v, want .01 to 100", c.Temperature)
	case math.IsNaN(c.LogitBias) || math.Abs(c.LogitBias) > 1000:
		return fmt.Errorf("nn: config: logit_bias %v, want -1000 to 1000", c.LogitBias)
	}
	if c.LoRA != nil {
		return c.LoRA.Validate()
	}
	return nil
}

func (c VisionConfig) validate() error {
	if c.Stem == NoVision {
		if c.Convs != nil || c.ImageSize != 0 || c.PatchSize != 0 || c.NoPatchBias || c.BlockConfig != (BlockConfig{}) || c.Pool != "" || c.Projection != 0 || c.Head != "" {
			return fmt.Errorf("nn: config: vision: stem %q has nothing else", NoVision)
		}
		return nil
	}
	if c.ImageSize < 1 || c.ImageSize > maxImageSize {
		return fmt.Errorf("nn: config: vision.image_size %d, want 1 to %d", c.ImageSize, maxImageSize)
	}
	switch c.Stem {
	case PatchStem:
		if c.PatchSize < 1 || c.ImageSize%c.PatchSize != 0 {
			return fmt.Errorf("nn: config: vision.patch_size %d does not divide image_size %d", c.PatchSize, c.ImageSize)
		}
		if len(c.Convs) > 0 {
			return fmt.Errorf("nn: config: vision.convs go with stem %q, not %q", ConvStem, c.Stem)
		}
	case ConvStem:
		if len(c.Convs) < 1 || len(c.Convs) > maxLayers {
			return fmt.Errorf("nn: config: vision.convs: %d layers, want 1 to %d", len(c.Convs), maxLayers)
		}
		if c.PatchSize != 0 {
			return fmt.Errorf("nn: config: vision.patch_size goes with stem %q, not %q", PatchStem, c.Stem)
		}
		if c.NoPatchBias {
			return fmt.Errorf("nn: config: vision.no_patch_bias goes with stem %q, not %q", PatchStem, c.Stem)
		}
		if c.SwiGLU {
			return fmt.Errorf("nn: config: vision.swiglu goes with stem %q, not %q", PatchStem, c.Stem)
		}
		for i, conv := range c.Convs {
			if conv.Channels < 1 || conv.Channels > maxWidth {
				return fmt.Errorf("nn: config: vision.convs[%d].channels %d, want 1 to %d", i, conv.Channels, maxWidth)
			}
			if conv.Stride < 1 || conv.Stride > 3 {
				return fmt.Errorf("nn: config: vision.convs[%d].stride %d, want 1 to 3", i, conv.Stride)
			}
		}
		if last := c.Convs[len(c.Convs)-1].Channels; last != c.Width {
			return fmt.Errorf("nn: config: vision.convs end with %d channels, width is %d", last, c.Width)
		}
	default:
		return unknownChoice("vision.stem", c.Stem, PatchStem, ConvStem, NoVision)
	}
	if n := c.Tokens(); n > maxTokens {
		return fmt.Errorf("nn: config: vision: %d tokens, at most %d are allowed", n, maxTokens)
	}
	if err := c.BlockConfig.validateWidth("vision"); err != nil {
		return err
	}
	if err := c.BlockConfig.validateLayers("vision"); err != nil {
		return err
	}
	if c.Pool != PoolCLS && c.Pool != PoolMean {
		return unknownChoice("vision.pool", c.Pool, PoolCLS, PoolMean)
	}
	if c.PostNorm {
		return fmt.Errorf("nn: config: vision.post_norm: only a text transformer has it")
	}
	switch {
	case c.Projection < 0 || c.Projection > maxWidth:
		return fmt.Errorf("nn: config: vision.projection %d, want 0 to %d", c.Projection, maxWidth)
	case c.Projection > 0 && c.Head == HeadNone:
		return fmt.Errorf("nn: config: vision.projection goes before a head; by itself it is head %q", HeadProjection)
	}
	return c.Head.validate("vision")
}

func (h Head) validate(tower string) error {
	if h != HeadLinear && h != HeadProjection && h != HeadNone {
		return unknownChoice(tower+".head", h, HeadLinear, HeadProjection, HeadNone)
	}
	return nil
}

// Grid returns the side of the grid of tokens that the stem makes.
func (c VisionConfig) Grid() int {
	if c.Stem == PatchStem {
		return c.ImageSize / c.PatchSize
	}
	side := c.ImageSize
	for _, conv := range c.Convs {
		side = (side+2-3)/conv.Stride + 1
	}
	return side
}

// Tokens returns the number of tokens of a picture, the class token among
// them.
func (c VisionConfig) Tokens() int {
	n := c.Grid() * c.Grid()
	if c.Pool == PoolCLS {
		n++
	}
	return n
}

func (c TextConfig) validate() error {
	if c.Kind == NoText {
		if c != (TextConfig{Kind: NoText}) {
			return fmt.Errorf("nn: config: text: kind %q has nothing else", NoText)
		}
		return nil
	}
	if c.Length < 1 || c.Length > maxLength {
		return fmt.Errorf("nn: config: text.length %d, want 1 to %d", c.Length, maxLength)
	}
	switch c.Kind {
	case Bag:
		if c != (TextConfig{Kind: Bag, Length: c.Length, Head: c.Head, BlockConfig: BlockConfig{Width: c.Width, Init: c.Init}}) {
			return fmt.Errorf("nn: config: text: kind %q has width, length, init and head only", Bag)
		}
	case Transformer:
		pools := []Pool{PoolMean, PoolMax, PoolCLS, PoolLast, PoolEOS, PoolMaxID}
		switch {
		case !slices.Contains(pools, c.Pool):
			return unknownChoice("text.pool", c.Pool, pools...)
		case c.EOS < 0 || c.EOS >= maxVocab || c.EOS != 0 && c.Pool != PoolEOS:
			return fmt.Errorf("nn: config: text.eos %d, want an id, with pool %q only", c.EOS, PoolEOS)
		case c.TokenTypes < 0 || c.TokenTypes > maxTypes:
			return fmt.Errorf("nn: config: text.token_types %d, want 0 to %d", c.TokenTypes, maxTypes)
		}
	default:
		return unknownChoice("text.kind", c.Kind, Bag, Transformer, NoText)
	}
	if err := c.Head.validate("text"); err != nil {
		return err
	}
	if err := c.BlockConfig.validateWidth("text"); err != nil || c.Kind == Bag {
		return err
	}
	return c.BlockConfig.validateLayers("text")
}

func (c BlockConfig) validateWidth(tower string) error {
	if c.Width < 1 || c.Width > maxWidth {
		return fmt.Errorf("nn: config: %s.width %d, want 1 to %d", tower, c.Width, maxWidth)
	}
	if c.Init != InitViT && c.Init != InitFanIn {
		return unknownChoice(tower+".init", c.Init, InitViT, InitFanIn)
	}
	return nil
}

func (c BlockConfig) validateLayers(tower string) error {
	switch {
	case c.Layers < 0 || c.Layers > maxLayers:
		return fmt.Errorf("nn: config: %s.layers %d, want 0 to %d", tower, c.Layers, maxLayers)
	case c.Layers > 0 && (c.Heads < 1 || c.Width%c.Heads != 0):
		return fmt.Errorf("nn: config: %s.heads %d do not divide the width %d", tower, c.Heads, c.Width)
	case c.Layers > 0 && (c.MLP < 1 || c.MLP > 8*maxWidth):
		return fmt.Errorf("nn: config: %s.mlp %d, want 1 to %d", tower, c.MLP, 8*maxWidth)
	case !(c.NormEps > 0 && c.NormEps <= 1):
		return fmt.Errorf("nn: config: %s.norm_eps %v, want above 0, at most 1", tower, c.NormEps)
	case !(c.Dropout >= 0 && c.Dropout < 1):
		return fmt.Errorf("nn: config: %s.dropout %v, want 0 to below 1", tower, c.Dropout)
	case c.SwiGLU:
		if c.GELU != "" {
			return fmt.Errorf("nn: config: %s.gelu %q, want none with swiglu", tower, c.GELU)
		}
	case c.GELU != GELUErf && c.GELU != GELUTanh && c.GELU != GELUQuick:
		return unknownChoice(tower+".gelu", c.GELU, GELUErf, GELUTanh, GELUQuick)
	}
	return nil
}

func unknownChoice[T ~string](field string, got T, known ...T) error {
	return fmt.Errorf("nn: config: %s %q, want one of %q", field, got, known)
}

// vit returns a vision transformer with its text tower.
func vit(size, patch, width, layers, heads int, text TextConfig) Config {
	return Config{
		Vision: VisionConfig{
			ImageSize: size, Stem: PatchStem, PatchSize: patch, Pool: PoolCLS,
			BlockConfig: encoder(width, layers, heads),
		},
		Text:        text,
		EmbedDim:    text.Width,
		Temperature: .07,
	}
}

// encoder returns layers as in arXiv:2010.11929: the MLP is four times as wide.
func encoder(width, layers, heads int) BlockConfig {
	return BlockConfig{Width: width, Layers: layers, Heads: heads, MLP: 4 * width, NormEps: 1e-6, GELU: GELUErf, Init: InitViT}
}

// words returns a text transformer over 77 words, as long as CLIP's text.
func words(width, layers, heads int) TextConfig {
	return TextConfig{Kind: Transformer, Length: 77, Pool: PoolMean, BlockConfig: encoder(width, layers, heads)}
}

// scenes returns the model of the embedded benchmark, with a convolutional
// stem of the given channels and no batch statistics: the loss of one picture
// does not depend on its batch but through the logits.
func scenes(c1, c2, width, layers, heads int) Config {
	return Config{
		Vision: VisionConfig{
			ImageSize: 64, Stem: ConvStem, Pool: PoolMean,
			Convs:       []ConvConfig{{c1, 2}, {c2, 2}, {c2, 1}, {width, 2}, {width, 1}},
			BlockConfig: BlockConfig{Width: width, Layers: layers, Heads: heads, MLP: 2 * width, NormEps: 1e-6, GELU: GELUErf, Init: InitFanIn},
		},
		Text:        TextConfig{Kind: Bag, Length: 32, BlockConfig: BlockConfig{Width: width, Init: InitFanIn}},
		EmbedDim:    width,
		Temperature: .07,
	}
}

// presets is the table of named models. τ = .07 is that of arXiv:2512.07833.
var presets = []struct {
	name   string
	config func() Config
}{
	// The recipe of the embedded benchmark: 0.32 M parameters, 64×64 pictures.
	{"scenes", func() Config { return scenes(24, 48, 96, 2, 4) }},
	// A quarter of its work, for quick trials.
	{"scenes-small", func() Config { return scenes(12, 24, 48, 2, 4) }},
	// The recipe with a small text transformer in the place of the bag of words.
	{"scenes-transformer", func() Config {
		c := scenes(24, 48, 96, 2, 4)
		c.Text.Kind, c.Text.Pool = Transformer, PoolMean
		c.Text.BlockConfig = c.Vision.BlockConfig
		return c
	}},
	// Ti: arXiv:2012.12877, table 1. Patches of 8 on the pictures of the benchmark.
	{"vit-ti/8", func() Config { return vit(64, 8, 192, 12, 3, words(192, 4, 3)) }},
	{"vit-ti/16", func() Config { return vit(224, 16, 192, 12, 3, words(192, 4, 3)) }},
	// S: arXiv:2012.12877, table 1.
	{"vit-s/16", func() Config { return vit(224, 16, 384, 12, 6, words(384, 6, 6)) }},
	// B and L: arXiv:2010.11929, table 1, with text towers as wide and deep as
	// those of CLIP B and L (arXiv:2103.00020, table 20).
	{"vit-b/32", func() Config { return vit(224, 32, 768, 12, 12, words(512, 12, 8)) }},
	{"vit-b/16", func() Config { return vit(224, 16, 768, 12, 12, words(512, 12, 8)) }},
	{"vit-l/16", func() Config { return vit(224, 16, 1024, 24, 16, words(768, 12, 12)) }},
}

// Presets lists the names that [Preset] knows.
func Presets() []string {
	names := make([]string, len(presets))
	for i, p := range presets {
		names[i] = p.name
	}
	return names
}

// Preset returns the configuration of that name, and an error that lists the
// names for any other.
func Preset(name string) (Config, error) {
	i := slices.Index(Presets(), name)
	if i < 0 {
		return Config{}, fmt.Errorf("nn: preset %q: unknown; there are %q", name, Presets())
	}
	return presets[i].config(), nil
}
