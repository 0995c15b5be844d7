package script

import (
	"context"
	"os"

	"relsim/nn"
	"relsim/scenes"
	"relsim/training"
)

// TinyRun is a program of scripts: tinyrun DIR CAPTIONS trains a few steps of a small model into a folder, on these
// captions of a small benchmark.
func TinyRun() {
	s := scenes.Default()
	s.Size, s.TrainProfiles, s.ValProfiles, s.TestProfiles = 32, 6, 4, 12
	c := training.Default()
	c.Model.Vision.ImageSize = s.Size
	c.Model.Vision.Convs = []nn.ConvConfig{{Channels: 8, Stride: 2}, {Channels: 16, Stride: 2}, {Channels: 24, Stride: 2}}
	c.Model.Vision.Width, c.Model.Vision.Layers, c.Model.Vision.Heads, c.Model.Vision.MLP = 24, 1, 2, 48
	c.Model.Text.Width, c.Model.EmbedDim = 24, 24
	c.Batch, c.MicroBatch, c.Steps = 16, 16, 2
	c.Captions = os.Args[2]
	ctx := context.Background()
	data, err := training.OpenData(ctx, training.Source{Data: training.ScenesName, Scenes: &s})
	if err == nil {
		o := training.Options{Out: os.Args[1], Resume: training.ResumeNever, Threads: 1, Workers: 1, Keep: 1}
		_, err = training.Run(ctx, c, o, data, training.Observer{})
	}
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
}
