package pretrained_test

import (
	"fmt"
	"log"

	"relsim/nn"
	"relsim/pretrained"
)

// The image tower of a published CLIP, for pictures twice as large as it was trained on.
func Example() {
	published, err := pretrained.Open("testdata/clip")
	if err != nil {
		log.Fatal(err)
	}
	config := published.Config
	config.Vision.ImageSize = 112
	config.Text = nn.TextConfig{Kind: nn.NoText}
	model, err := nn.Declare(config, 0)
	if err != nil {
		log.Fatal(err)
	}
	if err := model.Params.Allocate(); err != nil {
		log.Fatal(err)
	}
	if err := published.Weights(model.Params, nn.VisionTower); err != nil {
		log.Fatal(err)
	}
	encoder, err := nn.NewEncoder(model, nil, 1)
	if err != nil {
		log.Fatal(err)
	}
	defer encoder.Close()
	embedding := make([]float32, config.EmbedDim)
	if err := encoder.Images(embedding, make([]float32, 3*112*112), 1); err != nil {
		log.Fatal(err)
	}
	fmt.Println(published.Family, "positions:", published.Config.Vision.Tokens(), "to", config.Vision.Tokens(), "embedding:", len(embedding))
	// Output:
	// clip positions: 17 to 65 embedding: 24
}

// Which parameter holds a published tensor: queries, keys and values are rows of one.
func ExampleModel_Names() {
	published, err := pretrained.Open("testdata/minilm")
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range published.Names() {
		if name.Param == "text.blocks.0.attn.qkv.weight" {
			fmt.Println(name.Published, name.Low, name.High)
		}
	}
	// Output:
	// encoder.layer.0.attention.self.query.weight 0 24
	// encoder.layer.0.attention.self.key.weight 24 48
	// encoder.layer.0.attention.self.value.weight 48 72
}
