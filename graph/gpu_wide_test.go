//go:build linux && amd64 && !nogpu

package graph

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"relsim/kernel"
)

// wideCases are ops whose rows are multiples of eight, which kernels take at once, and rows that are longer than a block.
func wideCases() []opCase {
	var cases []opCase
	add := func(name string, build func(b *Builder, in []*Node) *Node, oracle func([][]float64) []float64, inputs ...input) {
		cases = append(cases, opCase{name: "wide " + name, inputs: inputs, build: build, oracle: oracle})
	}
	// each is the definition of an op by elements; i is the place.
	each := func(f func(in [][]float64, i int) float64) func([][]float64) []float64 {
		return func(in [][]float64) []float64 {
			y := make([]float64, len(in[0]))
			for i := range y {
				y[i] = f(in, i)
			}
			return y
		}
	}
	// picked is the definition of an op that moves elements.
	picked := func(n int, from func(i int) int) func([][]float64) []float64 {
		return func(in [][]float64) []float64 {
			y := make([]float64, n)
			for i := range y {
				y[i] = in[0][from(i)]
			}
			return y
		}
	}
	for _, s := range [][2]int{{5, 24}, {70, 264}, {4, 8208}, {4, 1030}} {
		rows, cols := s[0], s[1]
		add(fmt.Sprintf("layer norm/%v", s), func(b *Builder, in []*Node) *Node { return b.LayerNorm(in[0], in[1], in[2], 1e-5) },
			layerNorm64(cols, 1e-5), leafInput(rows, cols), leafInput(cols), leafInput(cols))
	}
	for _, form := range []kernel.GELUKind{kernel.GELUErf, kernel.GELUTanh, kernel.GELUQuick} {
		add("gelu/"+form.String(), func(b *Builder, in []*Node) *Node { return b.GELU(in[0], form) },
			func(in [][]float64) []float64 { return mapped(in[0], gelu64(form)) }, leafInput(5, 24))
	}
	add("swiglu", func(b *Builder, in []*Node) *Node { return b.SwiGLU(in[0]) }, func(in [][]float64) []float64 {
		var y []float64
		rowsOf(in[0], 32, func(_ int, row []float64) {
			for c, gate := range row[:16] {
				y = append(y, gate/(1+math.Exp(-gate))*row[16+c])
			}
		})
		return y
	}, leafInput(5, 32))
	add("add", func(b *Builder, in []*Node) *Node { return b.Add(in[0], in[1]) },
		each(func(in [][]float64, i int) float64 { return in[0][i] + in[1][i] }), leafInput(5, 24), leafInput(5, 24))
	add("scale", func(b *Builder, in []*Node) *Node { return b.Scale(in[0], 1.5) },
		each(func(in [][]float64, i int) float64 { return 1.5 * in[0][i] }), leafInput(5, 24))
	add("column scale", func(b *Builder, in []*Node) *Node { return b.ColumnScale(in[0], in[1]) },
		each(func(in [][]float64, i int) float64 { return in[0][i] * in[1][i%264] }), leafInput(130, 264), leafInput(264))
	add("add columns", func(b *Builder, in []*Node) *Node { return b.AddColumns(in[0], in[1], 8) }, each(func(in [][]float64, i int) float64 {
		if c := i%32 - 8; c >= 0 && c < 16 {
			return in[0][i] + in[1][i/32*16+c]
		}
		return in[0][i]
	}), leafInput(5, 32), leafInput(5, 16))
	add("transpose", func(b *Builder, in []*Node) *Node { return b.Transpose(in[0]) },
		picked(40*24, func(i int) int { return i%40*24 + i/40 }), leafInput(40, 24))
	add("embedding", func(b *Builder, in []*Node) *Node { return b.Embedding(in[0], in[1]) }, func(in [][]float64) []float64 {
		y := make([]float64, 20*16)
		rowsOf(y, 16, func(r int, row []float64) {
			if id := int(in[1][r]); id >= 0 {
				copy(row, in[0][id*16:])
			}
		})
		return y
	}, leafInput(6, 16), drawIDs(20, -2, 6))
	add("add position", func(b *Builder, in []*Node) *Node { return b.AddPosition(in[0], in[1]) },
		each(func(in [][]float64, i int) float64 { return in[0][i] + in[1][i%64] }), leafInput(70*4, 16), leafInput(4, 16))
	add("prepend token", func(b *Builder, in []*Node) *Node { return b.PrependToken(in[0], in[1], 4) }, func(in [][]float64) []float64 {
		var y []float64
		for b := range 3 {
			y = append(append(y, in[1]...), in[0][b*64:(b+1)*64]...)
		}
		return y
	}, leafInput(3*4, 16), leafInput(16))
	first := func(in [][]float64, b, t int) float64 {
		at := 0
		if len(in) > 1 {
			at = int(in[1][b])
		}
		if t == at {
			return 1
		}
		return 0
	}
	add("pool first", func(b *Builder, in []*Node) *Node { return b.PoolFirst(in[0], 4) }, pool64(3, 4, 16, first), leafInput(3*4, 16))
	add("pool at", func(b *Builder, in []*Node) *Node { return b.PoolAt(in[0], in[1], 4) }, pool64(3, 4, 16, first), leafInput(3*4, 16), drawIDs(3, 0, 4))
	add("pool mean", func(b *Builder, in []*Node) *Node { return b.PoolMean(in[0], 4) },
		pool64(3, 4, 16, func([][]float64, int, int) float64 { return 0.25 }), leafInput(3*4, 16))
	add("pool weighted", func(b *Builder, in []*Node) *Node { return b.PoolWeighted(in[0], in[1]) },
		pool64(3, 4, 16, func(in [][]float64, b, t int) float64 { return in[1][b*4+t] }), leafInput(3*4, 16), keyMask(3, 4))
	for _, cols := range []int{16, 2064} {
		add(fmt.Sprintf("cross entropy/%d", cols), func(b *Builder, in []*Node) *Node { return b.CrossEntropy(in[0], in[1]) }, func(in [][]float64) []float64 {
			var sum float64
			rowsOf(in[0], cols, func(r int, row []float64) {
				lse := logSumExp64(row)
				for c, v := range row {
					sum += in[1][r*cols+c] * (lse - v)
				}
			})
			return []float64{sum / 2}
		}, leafInput(3, cols), distributions(3, cols)) // the last row is no distribution
	}
	labels := func(r *rand.Rand, n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.IntN(3) - 1)
		}
		return v
	}
	add("sigmoid loss", func(b *Builder, in []*Node) *Node { return b.SigmoidLoss(in[0], in[1]) }, func(in [][]float64) []float64 {
		var sum float64
		for i, v := range in[0] {
			if z := in[1][i]; z != 0 {
				sum += math.Log1p(math.Exp(-z * v))
			}
		}
		return []float64{sum / 5}
	}, leafInput(5, 16), input{shape: []int{5, 16}, draw: labels})
	return cases
}

// testNormByFewBlocks gives the blocks of a norm's gradient several rows each.
func testNormByFewBlocks(t *testing.T, g *GPU, seeds int, set func(int)) {
	defer func(n int) { layerNormThreads = n }(layerNormThreads)
	for _, c := range wideCases() {
		if !strings.HasPrefix(c.name, "wide layer norm") {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			d := draw(t, c)
			layerNormThreads = 3 * packThreads(c.inputs[1].size())
			d.check(t, g, expect(c, d), func(run int) bool { set(run); return run < seeds })
		})
	}
}
