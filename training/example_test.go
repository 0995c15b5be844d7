package training_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"relsim/dataloader"
	"relsim/scenes"
	"relsim/training"
)

// A trained model is a measure of relational similarity: embed pictures, take dot products. Here a small one is trained
// for a few steps first.
func ExampleOpen() {
	ctx := context.Background()
	run, err := os.MkdirTemp("", "run")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(run)
	settings := scenes.Default()
	settings.Size, settings.TrainProfiles, settings.ValProfiles = 32, 8, 4
	data, err := training.OpenData(ctx, training.Source{Data: training.ScenesName, Scenes: &settings})
	if err != nil {
		log.Fatal(err)
	}
	config := training.Default()
	config.Model.Vision.ImageSize = settings.Size
	config.Batch, config.MicroBatch, config.Steps = 16, 16, 3
	options := training.Options{Out: run, Resume: training.ResumeNever, Threads: 2, Workers: 2, Keep: 1}
	if _, err := training.Run(ctx, config, options, data, training.Observer{}); err != nil {
		log.Fatal(err)
	}

	model, err := training.Open(run, 2)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	images, _, err := dataloader.LoadAll(ctx, data.Val, []int{0, 1, 0}, 2)
	if err != nil {
		log.Fatal(err)
	}
	vectors, err := model.Images(ctx, images)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d numbers for each picture\n", model.Dim())
	fmt.Printf("a picture and itself: %.2f\n", dot(vectors, model.Dim(), 0, 2))
	fmt.Println("two pictures are less similar:", dot(vectors, model.Dim(), 0, 1) < dot(vectors, model.Dim(), 0, 2))
	// Output:
	// 96 numbers for each picture
	// a picture and itself: 1.00
	// two pictures are less similar: true
}

// dot returns the similarity of pictures i and j.
func dot(vectors []float32, dim, i, j int) (sum float32) {
	for k := range dim {
		sum += vectors[i*dim+k] * vectors[j*dim+k]
	}
	return sum
}
