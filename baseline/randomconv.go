package baseline

import (
	"context"
	"math"
	"math/rand/v2"

	"relsim/dataloader"
	"relsim/kernel"
)

// RandomConv is the measure "random-conv": the distance of LPIPS in a convolutional network that was never trained. Three
// convolutions with ReLU (3→16 5×5, 16→32 3×3, 32→64 3×3, each of stride 2, on 64×64 pixels) have weights drawn from seed,
// N(0, 2/fan-in), and no bias. Each layer is averaged over 2×2 positions and normalised over its channels:
//
//	score(a, b) = -√( Σ_layers mean_positions |â - b̂|² )
//
// It shows how much of a perceptual metric is the shape of the network and not what it has learned.
//
// Source: Zhang et al., arXiv:1801.03924, eq. 1, with w = 1.
func RandomConv(seed uint64) Measure {
	m := &randomConv{features: features{vectors: vectors{name: "random-conv", euclidean: true}, side: convSide}}
	rng := rand.New(rand.NewPCG(seed, 0x72616e646f6d))
	in, inC := convSide, 3
	for _, l := range []struct{ out, kernel int }{{16, 5}, {32, 3}, {64, 3}} {
		s := kernel.ConvShape{Batch: 1, InC: inC, InH: in, InW: in, OutC: l.out, KH: l.kernel, KW: l.kernel,
			StrideH: 2, StrideW: 2, PadH: l.kernel / 2, PadW: l.kernel / 2}
		w := make([]float32, l.out*inC*l.kernel*l.kernel)
		std := math.Sqrt(2 / float64(inC*l.kernel*l.kernel))
		for i := range w {
			w[i] = float32(rng.NormFloat64() * std)
		}
		m.layers = append(m.layers, convLayer{s, w})
		in, inC = s.OutH(), l.out
		m.width += in / 2 * in / 2 * inC
	}
	return m
}

const convSide = 64

type randomConv struct {
	features
	layers []convLayer
}

type convLayer struct {
	shape   kernel.ConvShape
	weights []float32 // (OutC, InC, KH, KW)
}

func (m *randomConv) Prepare(ctx context.Context, images []*dataloader.Image) error {
	m.extract = m.forward
	return m.features.Prepare(ctx, images)
}

// forward writes the scaled, normalised features of all layers.
func (m *randomConv) forward(dst []float32, im *dataloader.Image) {
	x := make([]float32, 3*convSide*convSide)
	for i, p := range im.Pix {
		x[i] = (float32(p)/255 - 0.5) / 0.25
	}
	for _, l := range m.layers {
		h, w, c := l.shape.OutH(), l.shape.OutW(), l.shape.OutC
		y := make([]float32, h*w*c)
		kernel.Conv2D(nil, y, x, l.weights, nil, l.shape)
		for i := range y {
			y[i] = max(y[i], 0)
		}
		ph, pw := h/2, w/2
		scale := float32(1 / math.Sqrt(float64(ph*pw)))
		for py := range ph {
			for px := range pw {
				out := dst[(py*pw+px)*c:][:c]
				for i := range 4 {
					in := y[((2*py+i/2)*w+2*px+i%2)*c:][:c]
					for j, v := range in {
						out[j] += v
					}
				}
				normalize(out)
				for j := range out {
					out[j] *= scale
				}
			}
		}
		dst = dst[ph*pw*c:]
		x = y
	}
}
