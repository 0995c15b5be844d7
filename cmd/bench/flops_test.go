package main

import (
	"math"
	"testing"

	"relsim/nn"
)

// TestVisionFLOPs compares with the published costs of a picture's forward pass, in multiply-adds: timm's model table
// (July 2022) for its classifiers of 224 pixels.
func TestVisionFLOPs(t *testing.T) {
	for preset, giga := range map[string]float64{"vit-ti/16": 1.26, "vit-s/16": 4.61, "vit-b/16": 17.58, "vit-b/32": 4.41, "vit-l/16": 61.6} {
		c, err := nn.Preset(preset)
		if err != nil {
			t.Fatal(err)
		}
		stem, rest := visionFLOPs(c)
		if got := (stem.first + stem.rest + rest) / 2e9; math.Abs(got-giga) > .02*giga {
			t.Errorf("%s: %.2f G multiply-adds, want %.2f", preset, got, giga)
		}
	}
}

// TestStepFLOPs counts a small model by hand.
func TestStepFLOPs(t *testing.T) {
	c := nn.Config{
		Vision: nn.VisionConfig{
			ImageSize: 8, Stem: nn.ConvStem, Convs: []nn.ConvConfig{{Channels: 2, Stride: 2}, {Channels: 4, Stride: 1}}, Pool: nn.PoolMean,
			BlockConfig: nn.BlockConfig{Width: 4, Layers: 1, Heads: 1, MLP: 8},
		},
		Text:     nn.TextConfig{Kind: nn.Bag, BlockConfig: nn.BlockConfig{Width: 4}},
		EmbedDim: 4,
	}
	const (
		first  = 2 * 16 * 27 * 2                                 // 4×4 places, windows of 3·3·3, 2 channels
		second = 2 * 16 * 18 * 4                                 // windows of 3·3·2, 4 channels
		block  = 2*16*(12*4+4*4+8*4+4*8) + 2*16*16*4 + 2*16*16*4 // qkv, proj, fc1, fc2; scores and mix
		heads  = 2*4*4 + 2*4*4
		loss   = 2 * 3 * 3 * 4
	)
	if got, want := stepFLOPs(c, 3), 3.*(2*first+3*(second+block+heads))+3*loss; got != want {
		t.Errorf("%v operations, want %v", got, want)
	}
	// With a class token: 17 tokens, of which one goes through the projection and the MLP.
	c.Vision.Pool = nn.PoolCLS
	const row = 2 * (4*4 + 8*4 + 4*8)
	const tokens = 17*(2*12*4) + row + 2*17*17*4 + 2*17*17*4
	if got, want := stepFLOPs(c, 3), 3.*(2*first+3*(second+tokens+heads))+3*loss; got != want {
		t.Errorf("with a class token %v operations, want %v", got, want)
	}
}
