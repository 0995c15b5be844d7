package main

import "relsim/nn"

// stepFLOPs counts the floating-point operations of the matrix products,
// convolutions and attention of a training step as it is done: forward, and twice that
// backward, but that nobody needs the gradient of the pictures. What is computed
// again (attention's probabilities) does not count, and neither does anything
// that is done element by element.
func stepFLOPs(c nn.Config, batch int) float64 {
	b := float64(batch)
	stem, vision := visionFLOPs(c)
	loss := 2 * b * b * float64(c.EmbedDim)
	return b*(2*stem.first+3*(stem.rest+vision-unreadFLOPs(c)+textFLOPs(c))) + 3*loss
}

// unreadFLOPs are those that one picture's forward pass saves where the class token alone is pooled: nothing that comes after the last
// layer's attention is computed for the other tokens. (Captions are pooled by their mean in what is measured.)
func unreadFLOPs(c nn.Config) float64 {
	v := c.Vision
	if v.Pool != nn.PoolCLS || v.Layers == 0 {
		return 0
	}
	return 2 * float64(v.Tokens()-1) * float64(v.Width) * float64(v.Width+2*v.MLP)
}

// stemFLOPs are those of the layers before the encoder; the first one's input has
// no gradient.
type stemFLOPs struct{ first, rest float64 }

// visionFLOPs counts one picture's forward pass, all tokens through all layers.
func visionFLOPs(c nn.Config) (stem stemFLOPs, rest float64) {
	v := c.Vision
	width := float64(v.Width)
	if v.Stem == nn.PatchStem {
		stem.first = 2 * float64(v.Grid()*v.Grid()*3*v.PatchSize*v.PatchSize) * width
	} else {
		side, in := v.ImageSize, 3
		for i, conv := range v.Convs {
			side = (side-1)/conv.Stride + 1
			n := 2 * float64(side*side*9*in*conv.Channels)
			if in = conv.Channels; i == 0 {
				stem.first = n
			} else {
				stem.rest += n
			}
		}
	}
	return stem, blockFLOPs(v.BlockConfig, v.Tokens()) + 2*width*float64(c.EmbedDim)
}

// textFLOPs counts one caption's forward pass.
func textFLOPs(c nn.Config) float64 {
	head := 2 * float64(c.Text.Width*c.EmbedDim)
	if c.Text.Kind == nn.Bag {
		return head
	}
	return blockFLOPs(c.Text.BlockConfig, c.Text.Length) + head
}

// blockFLOPs counts the encoder layers over one sequence: four projections' worth
// of width², the MLP, and the two products of attention.
func blockFLOPs(c nn.BlockConfig, tokens int) float64 {
	t, d, m := float64(tokens), float64(c.Width), float64(c.MLP)
	return float64(c.Layers) * (2*t*(4*d*d+2*d*m) + 4*t*t*d)
}
