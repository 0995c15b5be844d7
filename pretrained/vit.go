package pretrained

import (
	"fmt"
	"math"
	"regexp"
	"strconv"

	"relsim/nn"
)

// vitArchitecture is the name of a plain vision transformer of timm: a size, a patch, and the
// image size or, with layer scale, "dinov2".
var vitArchitecture = regexp.MustCompile(`^vit_([a-z0-9]+)_patch([0-9]{1,3})_([0-9]{2,4}(_in21k|_dino)?|dinov2)$`)

// vitHeads are the heads of the sizes of timm's vision transformers, by their
// width. Tensors do not tell.
var vitHeads = map[string]map[int]int{
	"tiny": {192: 3}, "small": {384: 6}, "medium": {512: 8}, "base": {768: 12}, "large": {1024: 16},
	"huge": {1280: 16}, "giant": {1408: 16, 1536: 24}, "gigantic": {1664: 16},
}

// parseViT reads the configuration of a vision transformer of timm. It names an
// architecture; sizes are those of the tensors.
func parseViT(m *Model, _ folder, config []byte) error {
	c := struct {
		Architecture string `json:"architecture"`
		Pool         string `json:"global_pool"`
		Args         struct {
			Heads int `json:"num_heads"`
			Patch int `json:"patch_size"`
		} `json:"model_args"`
	}{Pool: "token"}
	if err := decode(config, &c); err != nil {
		return fmt.Errorf("config.json: %w", err)
	}
	parts := vitArchitecture.FindStringSubmatch(c.Architecture)
	if parts == nil {
		return fmt.Errorf("config.json: architecture %q: want vit_SIZE_patchN_PIXELS or vit_SIZE_patchN_dinov2", c.Architecture)
	}
	if c.Pool != "token" {
		return fmt.Errorf("config.json: global_pool %q: want token", c.Pool)
	}
	patch, err := strconv.Atoi(parts[2])
	if err != nil {
		return fmt.Errorf("config.json: architecture %q: %w", c.Architecture, err)
	}
	if c.Args.Patch != 0 {
		patch = c.Args.Patch
	}
	position, err := m.files.shape("pos_embed", 3)
	if err != nil {
		return err
	}
	fc1, err := m.files.shape("blocks.0.mlp.fc1.weight", 2)
	if err != nil {
		return err
	}
	fc2, err := m.files.shape("blocks.0.mlp.fc2.weight", 2)
	if err != nil {
		return err
	}
	grid := int(math.Sqrt(float64(position[1] - 1)))
	if position[1] < 2 || grid*grid != position[1]-1 || grid > 4096 {
		return fmt.Errorf("tensor pos_embed: %v: want a square grid of positions and one of the class token", position)
	}
	width, heads := position[2], c.Args.Heads
	if heads == 0 {
		if heads = vitHeads[parts[1]][width]; heads == 0 {
			return fmt.Errorf("config.json: architecture %q: the number of heads at width %d is not known; want it as model_args.num_heads", c.Architecture, width)
		}
	}
	layers := 0
	for m.files.has(fmt.Sprintf("blocks.%d.norm1.weight", layers)) {
		layers++
	}
	block := nn.BlockConfig{
		Width: width, Layers: layers, Heads: heads, MLP: fc2[1], NormEps: 1e-6, GELU: nn.GELUErf, Init: nn.InitViT,
		LayerScale: m.files.has("blocks.0.ls1.gamma"),
	}
	if fc1[0] == 2*fc2[1] {
		block.SwiGLU, block.GELU = true, ""
	}
	m.Config = absent()
	m.Config.EmbedDim = width
	m.Config.Vision = nn.VisionConfig{
		ImageSize: grid * patch, Stem: nn.PatchStem, PatchSize: patch, BlockConfig: block, Pool: nn.PoolCLS, Head: nn.HeadNone,
	}
	return nil
}

func vitNames(m *Model) []Name {
	c, t := m.Config.Vision, table{tower: nn.VisionTower}
	t.whole("cls_token", "cls_token", 1, 1, c.Width)
	t.whole("pos_embed", "pos_embed", 1, c.Tokens(), c.Width)
	t.whole("patch_embed.proj.weight", "patch_embed.proj.weight", c.Width, 3, c.PatchSize, c.PatchSize)
	t.whole("patch_embed.proj.bias", "patch_embed.proj.bias", c.Width)
	t.layers("blocks", layerNames{
		norm1: "norm1", qkv: "attn.qkv", proj: "attn.proj", norm2: "norm2", fc1: "mlp.fc1", fc2: "mlp.fc2",
		scale1: "ls1.gamma", scale2: "ls2.gamma",
	}, c.BlockConfig)
	t.norm("norm", "norm", c.Width)
	return t.names
}
