package loss_test

import (
	"fmt"
	"log"
	"math/rand/v2"

	"relsim/graph"
	"relsim/loss"
	"relsim/nn"
)

// A step of training: both encoders forward, the loss over their embeddings,
// both encoders backward. The gradients are then in the parameters of the model.
func ExampleForModel() {
	config, err := nn.Preset("scenes-small")
	if err != nil {
		log.Fatal(err)
	}
	const batch, vocab = 2, 10
	model, err := nn.New(config, vocab, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		log.Fatal(err)
	}

	b := graph.NewBuilder()
	images, imageEmb := model.Vision(b, batch)
	vision, err := graph.Compile(b, graph.Config{Embedding: imageEmb, Wrt: b.Params(), Training: true})
	if err != nil {
		log.Fatal(err)
	}
	b = graph.NewBuilder()
	in, textEmb := model.Text(b, batch)
	text, err := graph.Compile(b, graph.Config{Embedding: textEmb, Wrt: b.Params(), Training: true})
	if err != nil {
		log.Fatal(err)
	}
	criterion, err := loss.ForModel(model, loss.Config{Kind: loss.Symmetric, Positives: loss.SameRelation}, batch, nil)
	if err != nil {
		log.Fatal(err)
	}

	pixels := make([]float32, batch*3*64*64)
	for i := range pixels {
		pixels[i] = float32(i%7) - 3
	}
	ids, weights := make([]int32, batch*in.Length), make([]float32, batch*in.Length)
	model.FillText(ids, weights, [][]int32{{1, 2, 3}, {4, 5}}, nil, 0)
	relations := []int{0, 1}
	for _, err := range []error{
		model.Bind(vision), vision.SetFloats(images, pixels),
		model.Bind(text), text.SetIDs(in.IDs, ids), text.SetFloats(in.Weights, weights),
		vision.Forward(), text.Forward(),
	} {
		if err != nil {
			log.Fatal(err)
		}
	}
	value, _, err := criterion.Run(vision.Value(imageEmb), text.Value(textEmb), relations, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, err := range []error{vision.Backward(criterion.GradImg), text.Backward(criterion.GradTxt)} {
		if err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(value > 0, len(model.Params.NonFinite()))
	// Output:
	// true 0
}
