package graph

import (
	"fmt"
	"math"
	"math/rand/v2"

	"relsim/kernel"
)

// awayFromZero draws values whose size is between 0.1 and 1.1: finite differences
// cannot be taken at a kink.
func awayFromZero(r *rand.Rand, n int) []float32 {
	v := uniform(r, n)
	for i := range v {
		v[i] += float32(math.Copysign(0.1, float64(v[i])))
	}
	return v
}

// apart draws values that differ by 0.01 or more.
func apart(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i, at := range r.Perm(n) {
		v[i] = 0.01 * float32(at-n/2)
	}
	return v
}

func maxPool64(s kernel.PoolShape, oh, ow int) func([][]float64) []float64 {
	return func(op [][]float64) []float64 {
		var y []float64
		for b := range s.Batch {
			for oy := range oh {
				for ox := range ow {
					for c := range s.C {
						top := math.Inf(-1)
						for iy := oy * s.Stride; iy < oy*s.Stride+s.K && iy < s.InH; iy++ {
							for ix := ox * s.Stride; ix < ox*s.Stride+s.K && ix < s.InW; ix++ {
								top = math.Max(top, op[0][((b*s.InH+iy)*s.InW+ix)*s.C+c])
							}
						}
						y = append(y, top)
					}
				}
			}
		}
		return y
	}
}

// convnetOps lists the ops of convolutional nets and of perceptual distances.
func convnetOps() []opCase {
	cases := []opCase{
		{
			name:   "relu",
			inputs: []input{{shape: []int{5, 21}, wrt: true, draw: awayFromZero}},
			build:  func(b *Builder, in []*Node) *Node { return b.ReLU(in[0]) },
			oracle: func(op [][]float64) []float64 {
				return mapped(op[0], func(v float64) float64 { return math.Max(v, 0) })
			},
		},
		{
			name:   "relu/of a picture",
			inputs: []input{{shape: []int{2, 3, 4, 5}, wrt: true, draw: awayFromZero}},
			build:  func(b *Builder, in []*Node) *Node { return b.ReLU(in[0]) },
			oracle: func(op [][]float64) []float64 {
				return mapped(op[0], func(v float64) float64 { return math.Max(v, 0) })
			},
		},
		{
			name:   "join columns",
			inputs: []input{leafInput(7, 5), leafInput(7, 9)},
			build:  func(b *Builder, in []*Node) *Node { return b.JoinColumns(in[0], in[1]) },
			oracle: func(op [][]float64) []float64 {
				var y []float64
				for r := range 7 {
					y = append(append(y, op[0][r*5:(r+1)*5]...), op[1][r*9:(r+1)*9]...)
				}
				return y
			},
		},
	}
	for _, tt := range []struct {
		s      kernel.PoolShape
		oh, ow int
	}{
		{kernel.PoolShape{Batch: 2, InH: 11, InW: 9, C: 3, K: 3, Stride: 2}, 5, 4},
		{kernel.PoolShape{Batch: 2, InH: 10, InW: 8, C: 5, K: 3, Stride: 2}, 4, 3},
		{kernel.PoolShape{Batch: 2, InH: 10, InW: 8, C: 5, K: 3, Stride: 2, Ceil: true}, 5, 4},
		{kernel.PoolShape{Batch: 1, InH: 6, InW: 7, C: 65, K: 2, Stride: 2}, 3, 3},
		{kernel.PoolShape{Batch: 1, InH: 2, InW: 3, C: 4, K: 3, Stride: 2, Ceil: true}, 1, 1},
		{kernel.PoolShape{Batch: 3, InH: 5, InW: 5, C: 2, K: 1, Stride: 3, Ceil: true}, 2, 2},
	} {
		cases = append(cases, opCase{
			name:   fmt.Sprintf("max pool/%v", tt.s),
			inputs: []input{{shape: []int{tt.s.Batch * tt.s.InH * tt.s.InW, tt.s.C}, wrt: true, draw: apart}},
			build:  func(b *Builder, in []*Node) *Node { return b.MaxPool2D(in[0], tt.s) },
			oracle: maxPool64(tt.s, tt.oh, tt.ow),
		})
	}
	for _, eps := range []float64{1e-10, 0.5} {
		cases = append(cases, opCase{
			name:   fmt.Sprintf("unit rows/%v", eps),
			inputs: []input{leafInput(6, 19)},
			build:  func(b *Builder, in []*Node) *Node { return b.UnitRows(in[0], eps) },
			oracle: func(op [][]float64) []float64 {
				y := make([]float64, len(op[0]))
				rowsOf(op[0], 19, func(r int, row []float64) {
					var sum float64
					for _, v := range row {
						sum += v * v
					}
					for c, v := range row {
						y[r*19+c] = v / (math.Sqrt(sum) + eps)
					}
				})
				return y
			},
		})
	}
	for _, s := range [][3]int{{1, 1, 1}, {3, 7, 11}, {2, 300, 33}} {
		batch, tokens, dim := s[0], s[1], s[2]
		cases = append(cases, opCase{
			name:   fmt.Sprintf("squared distance/%v", s),
			inputs: []input{leafInput(batch*tokens, dim), leafInput(batch*tokens, dim), leafInput(dim)},
			build:  func(b *Builder, in []*Node) *Node { return b.SquaredDistance(in[0], in[1], in[2], tokens) },
			oracle: func(op [][]float64) []float64 {
				d := make([]float64, batch)
				for i, v := range op[0] {
					d[i/dim/tokens] += op[2][i%dim] * (v - op[1][i]) * (v - op[1][i]) / float64(tokens)
				}
				return d
			},
		})
	}
	for _, tt := range []struct {
		name string
		s    kernel.ConvShape
	}{
		{"11×11 of stride 4", kernel.ConvShape{Batch: 2, InC: 3, InH: 23, InW: 18, OutC: 5, KH: 11, KW: 11, StrideH: 4, StrideW: 4, PadH: 2, PadW: 2}},
		{"5×5 of pad 2", kernel.ConvShape{Batch: 1, InC: 6, InH: 7, InW: 6, OutC: 9, KH: 5, KW: 5, StrideH: 1, StrideW: 1, PadH: 2, PadW: 2}},
		{"1×1", kernel.ConvShape{Batch: 2, InC: 7, InH: 4, InW: 5, OutC: 3, KH: 1, KW: 1, StrideH: 1, StrideW: 1}},
	} {
		s := tt.s
		cases = append(cases, opCase{
			name:   "conv/" + tt.name,
			inputs: []input{leafInput(s.Batch*s.InH*s.InW, s.InC), leafInput(s.OutC, s.InC, s.KH, s.KW), leafInput(s.OutC)},
			build:  func(b *Builder, in []*Node) *Node { return b.Conv2D(in[0], in[1], in[2], s) },
			oracle: conv64(s),
		})
	}
	return cases
}
