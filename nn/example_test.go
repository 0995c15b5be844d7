package nn_test

import (
	"fmt"
	"log"
	"math/rand/v2"

	"relsim/kernel"
	"relsim/nn"
)

// A model of a preset, with fresh weights, and the similarity of two pictures.
func Example() {
	config, err := nn.Preset("scenes-small")
	if err != nil {
		log.Fatal(err)
	}
	model, err := nn.New(config, 100, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		log.Fatal(err)
	}
	encoder, err := nn.NewEncoder(model, nil, 8)
	if err != nil {
		log.Fatal(err)
	}
	defer encoder.Close()

	const pixels = 3 * 64 * 64
	pictures := make([]float32, 2*pixels) // the same picture twice
	for i := range pictures {
		pictures[i] = float32(i%pixels%9) - 4
	}
	emb := make([]float32, 2*config.EmbedDim)
	if err := encoder.Images(emb, pictures, 2); err != nil {
		log.Fatal(err)
	}
	a, b := emb[:config.EmbedDim], emb[config.EmbedDim:]
	fmt.Printf("%d dimensions, similarity %.3f\n", config.EmbedDim, kernel.Dot(nil, a, b))
	// Output:
	// 48 dimensions, similarity 1.000
}

func ExamplePreset() {
	config, err := nn.Preset("vit-b/16")
	if err != nil {
		log.Fatal(err)
	}
	v := config.Vision
	fmt.Println(v.Layers, v.Width, v.Heads, v.Tokens())
	_, err = nn.Preset("vit-h")
	fmt.Println(err)
	// Output:
	// 12 768 12 197
	// nn: preset "vit-h": unknown; there are ["scenes" "scenes-small" "scenes-transformer" "vit-ti/8" "vit-ti/16" "vit-s/16" "vit-b/32" "vit-b/16" "vit-l/16"]
}

// A frozen image encoder with low-rank adapters on the queries and values of its
// layers. Merging adds them to the weights, for inference.
func ExampleLoRA() {
	config, err := nn.Preset("scenes-small")
	if err != nil {
		log.Fatal(err)
	}
	config.LoRA = &nn.LoRA{Rank: 4, Alpha: 8, Dropout: .05, Targets: []string{"attn.q", "attn.v"}}
	model, err := nn.New(config, 100, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		log.Fatal(err)
	}
	first := model.Adapters()[0]
	fmt.Println(first.A.Name, first.A.Shape, first.B.Shape, first.Scale)
	fmt.Println("layer frozen:", first.Module.Weight.Frozen)
	model.Merge(nil)
	fmt.Println("merged:", model.Merged())
	// Output:
	// vision.blocks.0.attn.q.lora_A.weight [4 48] [48 4] 2
	// layer frozen: true
	// merged: true
}
