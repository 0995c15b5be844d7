package training

import (
	"fmt"
	"slices"

	"relsim/loss"
	"relsim/nn"
	"relsim/optim"
)

// Recipe is how a published tower is tuned: what `train --preset` stands for.
type Recipe struct {
	// Vision and Text are names of models of the hub.
	Vision, Text string
	// Targets are the modules that have adapters, by the names that they are published under.
	Targets []string
	Epochs  float64
	// Config has all else; its model has LoRA and temperature only. The width of the embeddings is the text tower's.
	Config Config
}

// tuned returns the settings with which arXiv:2512.07833 tunes its models: LoRA of rank 16 on queries and values, a new
// linear head on the pooled output, a frozen sentence encoder, InfoNCE from picture to caption with each picture's own
// caption as the only right one, PyTorch's AdamW on every parameter alike, and a cosine without warm-up.
func tuned(vision string, targets ...string) Recipe {
	optimizer := optim.Config{
		Beta1: .9, Beta2: .999, Eps: 1e-8, // torch.optim.AdamW
		WeightDecay: .01, Decay: nn.Kinds(),
		ClipNorm: 1,
	}
	return Recipe{
		Vision: vision, Text: "sentence-transformers/all-MiniLM-L6-v2", // 384 numbers, mean-pooled, normalised
		Targets: targets,
		Epochs:  3,
		Config: Config{
			Model: nn.Config{
				Temperature: .07,
				LoRA:        &nn.LoRA{Rank: 16, Alpha: 32, Dropout: .05},
			},
			Captions:     Anonymous,
			Loss:         loss.Config{Kind: loss.InfoNCE, Positives: loss.Diagonal, Temperature: .07},
			Batch:        64,
			MicroBatch:   64,
			LearningRate: 1e-4,
			Optimizer:    optimizer,
			Freeze:       nn.TextTower,
			Seed:         1,
		},
	}
}

// recipes is the table of named recipes.
var recipes = []struct {
	name   string
	recipe func() Recipe
}{
	// arXiv:2512.07833, the tuned baselines: CLIP ViT-L/14 and DINOv2-L.
	{"relsim-clip", func() Recipe { return tuned("openai/clip-vit-large-patch14", "q_proj", "v_proj") }},
	{"relsim-dino", func() Recipe { return tuned("facebook/dinov2-large", "query", "value") }},
}

// Recipes lists the names that [RecipeOf] knows.
func Recipes() []string {
	names := make([]string, len(recipes))
	for i, r := range recipes {
		names[i] = r.name
	}
	return names
}

// RecipeOf returns the recipe of that name, and an error that lists the names for any other.
func RecipeOf(name string) (Recipe, error) {
	i := slices.Index(Recipes(), name)
	if i < 0 {
		return Recipe{}, fmt.Errorf("training: preset %q: unknown; there are %q", name, Recipes())
	}
	return recipes[i].recipe(), nil
}
