// Package lpips computes the perceptual distance LPIPS (version 0.1) of pictures in
// AlexNet, VGG-16 or SqueezeNet 1.1:
//
//	d(a, b) = Σ_k mean_hw( Σ_c lin_k[c] · (n(f_k(a)) - n(f_k(b)))² ),   n(f) = f / (√(Σ_c f²) + 1e-10)
//
// with f_k the features after some of the net's rectifiers and lin_k ≥ 0 learned. 0 is
// equal, and larger is farther.
//
// [Open] reads the published weights: torchvision's net and LPIPS's head, as .pth or
// safetensors. A [Net] takes pictures of 8-bit RGB and brings them to the range that the
// net wants by itself, so that no caller can give it the wrong one.
//
// # Sizes
//
// LPIPS compares position with position. The two pictures of a pair have one size, and
// [Net.Distances] says so if they have not: it never resizes. Different pairs may have
// different sizes, square or not. A distance depends on the size, so that only those of
// one size can be ranked.
//
// # Vectors
//
// Since lin_k ≥ 0, the distance is the squared Euclidean distance of the vectors of
// √(lin_k/(h·w))·n(f_k) over all k and positions. [Net.Vectors] gives these, for search.
//
// Source: Zhang, Isola, Efros, Shechtman, Wang, arXiv:1801.03924, eq. 1;
// https://github.com/richzhang/PerceptualSimilarity.
package lpips

import (
	"fmt"
	"math"
	"slices"

	"relsim/graph"
	"relsim/kernel"
)

// Kind says which net computes the features.
type Kind string

// The nets of LPIPS.
const (
	Alex    Kind = "alex"    // AlexNet, one weird trick: arXiv:1404.5997
	VGG     Kind = "vgg"     // VGG-16: arXiv:1409.1556
	Squeeze Kind = "squeeze" // SqueezeNet 1.1: arXiv:1602.07360
)

// Kinds lists the nets.
func Kinds() []Kind { return []Kind{Alex, VGG, Squeeze} }

// eps is added to the length of the features of a position.
const eps = 1e-10

// shift and scale bring the channels of pictures in [-1, 1] to the range of the nets.
var (
	shift = [3]float32{-.030, -.088, -.188}
	scale = [3]float32{.458, .448, .450}
)

type stage int

const (
	conv stage = iota // a convolution and ReLU
	pool              // the largest value of a window
	fire              // SqueezeNet's module: squeeze, then expand1x1 beside expand3x3
)

// layer is one line of a net's table.
type layer struct {
	stage          stage
	at             int // its number in torchvision's "features"
	k, stride, pad int
	tap            bool // the distance looks at what comes out
}

// nets are the layers of torchvision's models up to the last one that LPIPS looks at.
var nets = map[Kind][]layer{
	Alex: {
		{conv, 0, 11, 4, 2, true}, {pool, 2, 3, 2, 0, false},
		{conv, 3, 5, 1, 2, true}, {pool, 5, 3, 2, 0, false},
		{conv, 6, 3, 1, 1, true}, {conv, 8, 3, 1, 1, true}, {conv, 10, 3, 1, 1, true},
	},
	VGG: {
		{conv, 0, 3, 1, 1, false}, {conv, 2, 3, 1, 1, true}, {pool, 4, 2, 2, 0, false},
		{conv, 5, 3, 1, 1, false}, {conv, 7, 3, 1, 1, true}, {pool, 9, 2, 2, 0, false},
		{conv, 10, 3, 1, 1, false}, {conv, 12, 3, 1, 1, false}, {conv, 14, 3, 1, 1, true}, {pool, 16, 2, 2, 0, false},
		{conv, 17, 3, 1, 1, false}, {conv, 19, 3, 1, 1, false}, {conv, 21, 3, 1, 1, true}, {pool, 23, 2, 2, 0, false},
		{conv, 24, 3, 1, 1, false}, {conv, 26, 3, 1, 1, false}, {conv, 28, 3, 1, 1, true},
	},
	Squeeze: {
		{conv, 0, 3, 2, 0, true}, {pool, 2, 3, 2, 0, false},
		{fire, 3, 3, 1, 1, false}, {fire, 4, 3, 1, 1, true}, {pool, 5, 3, 2, 0, false},
		{fire, 6, 3, 1, 1, false}, {fire, 7, 3, 1, 1, true}, {pool, 8, 3, 2, 0, false},
		{fire, 9, 3, 1, 1, true}, {fire, 10, 3, 1, 1, true}, {fire, 11, 3, 1, 1, true}, {fire, 12, 3, 1, 1, true},
	},
}

// ceil says that windows of pools may end outside of the picture.
func (k Kind) ceil() bool { return k == Squeeze }

// convolution is one convolution of a layer: its name and its size along an axis.
type convolution struct {
	name           string
	k, stride, pad int
}

// convolutions lists those of a layer: one, or a fire module's three.
func (l layer) convolutions() []convolution {
	name := fmt.Sprintf("features.%d", l.at)
	switch l.stage {
	case conv:
		return []convolution{{name, l.k, l.stride, l.pad}}
	case fire:
		return []convolution{{name + ".squeeze", 1, 1, 0}, {name + ".expand1x1", 1, 1, 0}, {name + ".expand3x3", 3, 1, 1}}
	}
	return nil
}

// linName is the name of the weights of tap k.
func linName(k int) string { return fmt.Sprintf("lin%d.model.1.weight", k) }

// tensor is a parameter.
type tensor struct {
	shape []int
	data  []float32
}

// Net is a net with its head, read-only and safe for several goroutines.
type Net struct {
	kind    Kind
	files   []string
	weights map[string]tensor // by torchvision's and LPIPS's names; lin is (C)
	taps    []int             // channels
}

// Kind says which net it is.
func (n *Net) Kind() Kind { return n.kind }

// Files lists the files that the weights were read from: one, or the net's and the head's.
func (n *Net) Files() []string { return slices.Clone(n.files) }

// size is what a tap looks at.
type size struct{ h, w, c int }

func (s size) positions() int { return s.h * s.w }

// maxFloats bounds the values that one picture takes in the net: 8 GiB of them, which is VGG-16 at some 2,900×2,900.
const maxFloats = 2 << 30

// plan gives the sizes at the taps for pictures of h×w.
func (n *Net) plan(h, w int) ([]size, error) {
	var taps []size
	kept, largest := 0.0, 0.0 // the taps stay until they are compared, the rest is passed on
	fullH, fullW := h, w
	c := 3
	for _, l := range nets[n.kind] {
		switch {
		case l.stage == pool:
			s := kernel.PoolShape{InH: h, InW: w, C: c, K: l.k, Stride: l.stride, Ceil: n.kind.ceil()}
			h, w = s.OutH(), s.OutW()
		case h+2*l.pad < l.k || w+2*l.pad < l.k:
			h, w = 0, 0
		default:
			s := kernel.ConvShape{InH: h, InW: w, KH: l.k, KW: l.k, StrideH: l.stride, StrideW: l.stride, PadH: l.pad, PadW: l.pad}
			h, w, c = s.OutH(), s.OutW(), n.channels(l)
		}
		if min(h, w) < 1 {
			return nil, fmt.Errorf("pictures of %d×%d are too small for %s: nothing is left of them at features.%d", fullW, fullH, n.kind, l.at)
		}
		values := float64(h) * float64(w) * float64(c)
		largest = max(largest, values)
		if l.tap {
			kept += values
			taps = append(taps, size{h, w, c})
		}
	}
	if need := kept + 2*largest; need > maxFloats {
		return nil, fmt.Errorf("a picture of %d×%d takes %.0f MiB in %s, more than %d: make it smaller", fullW, fullH, 4*need/(1<<20), n.kind, 4*maxFloats>>20)
	}
	return taps, nil
}

// channels is what comes out of a layer with weights.
func (n *Net) channels(l layer) int {
	list := l.convolutions()
	if l.stage == fire {
		return n.weights[list[1].name+".weight"].shape[0] + n.weights[list[2].name+".weight"].shape[0]
	}
	return n.weights[list[0].name+".weight"].shape[0]
}

// Width is the number of values of the vector of a picture of h rows and w columns. It
// errs if the picture is too small for the net.
func (n *Net) Width(h, w int) (int, error) {
	taps, err := n.plan(h, w)
	if err != nil {
		return 0, fmt.Errorf("lpips: width: %w", err)
	}
	width := 0
	for _, t := range taps {
		width += t.positions() * t.c
	}
	return width, nil
}

// Peak is what no value of the vector of a picture of h rows and w columns exceeds: features of length one,
// times the largest weight. It errs if the picture is too small for the net.
func (n *Net) Peak(h, w int) (float64, error) {
	taps, err := n.plan(h, w)
	if err != nil {
		return 0, fmt.Errorf("lpips: peak: %w", err)
	}
	var peak float64
	for k, t := range taps {
		for _, v := range n.weights[linName(k)].data {
			peak = max(peak, math.Sqrt(float64(v)/float64(t.positions())))
		}
	}
	return peak, nil
}

// features builds the net on x (B·H·W, 3), which is scaled, and gives the taps, each (B·h·w, C).
func (n *Net) features(b *graph.Builder, x *graph.Node, batch, h, w int) []*graph.Node {
	var taps []*graph.Node
	c := 3
	one := func(x *graph.Node, v convolution) *graph.Node {
		shape := n.weights[v.name+".weight"].shape
		return b.ReLU(b.Conv2D(x, n.param(b, v.name+".weight"), n.param(b, v.name+".bias"), kernel.ConvShape{
			Batch: batch, InC: shape[1], InH: h, InW: w, OutC: shape[0], KH: v.k, KW: v.k,
			StrideH: v.stride, StrideW: v.stride, PadH: v.pad, PadW: v.pad,
		}))
	}
	for _, l := range nets[n.kind] {
		switch list := l.convolutions(); l.stage {
		case pool:
			s := kernel.PoolShape{Batch: batch, InH: h, InW: w, C: c, K: l.k, Stride: l.stride, Ceil: n.kind.ceil()}
			x = b.MaxPool2D(x, s)
			h, w = s.OutH(), s.OutW()
		case fire:
			x = one(x, list[0])
			x = b.JoinColumns(one(x, list[1]), one(x, list[2]))
			c = n.channels(l)
		default:
			x = one(x, list[0])
			h, w, c = (h+2*l.pad-l.k)/l.stride+1, (w+2*l.pad-l.k)/l.stride+1, n.channels(l)
		}
		if l.tap {
			taps = append(taps, x)
		}
	}
	return taps
}

// param adds a weight to the graph.
func (n *Net) param(b *graph.Builder, name string) *graph.Node {
	return b.Param(name, n.weights[name].shape...)
}

// unit normalises the features of a tap over the channels.
func unit(b *graph.Builder, f *graph.Node) *graph.Node { return b.UnitRows(f, eps) }

// distances builds the summands of the distance of x and y (B·H·W, 3), scaled pictures: (B) for each tap.
func (n *Net) distances(b *graph.Builder, x, y *graph.Node, batch, h, w int) ([]*graph.Node, error) {
	sizes, err := n.plan(h, w)
	if err != nil {
		return nil, err
	}
	var layers []*graph.Node
	fx, fy := n.features(b, x, batch, h, w), n.features(b, y, batch, h, w)
	for k := range fx {
		layers = append(layers, b.SquaredDistance(unit(b, fx[k]), unit(b, fy[k]), n.param(b, linName(k)), sizes[k].positions()))
	}
	return layers, b.Err()
}

// vectors builds the parts of the vectors of x, one for each tap: (B·h·w, C). The factor of each column of a
// part is a leaf, and factors gives its values.
func (n *Net) vectors(b *graph.Builder, x *graph.Node, batch, h, w int) (parts, leaves []*graph.Node, factors [][]float32, err error) {
	sizes, err := n.plan(h, w)
	if err != nil {
		return nil, nil, nil, err
	}
	for k, f := range n.features(b, x, batch, h, w) {
		lin := n.weights[linName(k)].data
		factor := make([]float32, len(lin))
		for c, v := range lin {
			if v < 0 {
				return nil, nil, nil, fmt.Errorf("%s[%d] is %v: the distance has vectors only where no weight is negative", linName(k), c, v)
			}
			factor[c] = float32(math.Sqrt(float64(v) / float64(sizes[k].positions())))
		}
		leaf := b.Input(fmt.Sprintf("factor%d", k), len(lin))
		parts = append(parts, b.ColumnScale(unit(b, f), leaf))
		leaves, factors = append(leaves, leaf), append(factors, factor)
	}
	return parts, leaves, factors, b.Err()
}
