package graph

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"relsim/kernel"
)

// opCase is one op with its definition in float64, written from the formula.
type opCase struct {
	name   string
	inputs []input
	build  func(b *Builder, in []*Node) *Node
	oracle func(in [][]float64) []float64
	tol    float64 // of results and gradients, relative to the largest; 0: 2e-5
}

// input is one operand of a case: its shape, and how it is drawn.
type input struct {
	shape []int
	wrt   bool
	ids   func(r *rand.Rand) []int32
	draw  func(r *rand.Rand, n int) []float32 // nil: uniform in [-1, 1)
}

func (in input) size() int { return dimsOf(in.shape...).size() }

func uniform(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = 2*r.Float32() - 1
	}
	return v
}

func leafInput(shape ...int) input { return input{shape: shape, wrt: true} }

// keyMask shows some keys; the last sequence of three tokens or more sees none.
func keyMask(batch, tokens int) input {
	return input{shape: []int{batch, tokens}, draw: func(r *rand.Rand, n int) []float32 {
		v := make([]float32, n)
		for i := range v[:n-tokens] {
			v[i] = float32(r.IntN(2))
		}
		return v
	}}
}

// distributions draws rows that add up to 1, and a row of zeros.
func distributions(rows, cols int) input {
	return input{shape: []int{rows, cols}, draw: func(r *rand.Rand, n int) []float32 {
		v := make([]float32, n)
		for i := range rows - 1 {
			var sum float32
			for c := range cols {
				if v[i*cols+c] = r.Float32(); r.IntN(3) == 0 {
					v[i*cols+c] = 0
				}
				sum += v[i*cols+c]
			}
			if sum == 0 {
				v[i*cols], sum = 1, 1
			}
			for c := range cols {
				v[i*cols+c] /= sum
			}
		}
		return v
	}}
}

func drawIDs(n, low, high int) input {
	return input{shape: []int{n}, ids: func(r *rand.Rand) []int32 {
		ids := make([]int32, n)
		for i := range ids {
			ids[i] = int32(low + r.IntN(high-low))
		}
		return ids
	}}
}

func rowsOf(x []float64, cols int, f func(r int, row []float64)) {
	for r := 0; r*cols < len(x); r++ {
		f(r, x[r*cols:(r+1)*cols])
	}
}

func mapped(x []float64, f func(float64) float64) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = f(v)
	}
	return y
}

func linear64(rows, in, out int) func([][]float64) []float64 {
	return func(op [][]float64) []float64 {
		y := make([]float64, rows*out)
		for r := range rows {
			for o := range out {
				if len(op) > 2 {
					y[r*out+o] = op[2][o]
				}
				for i := range in {
					y[r*out+o] += op[0][r*in+i] * op[1][o*in+i]
				}
			}
		}
		return y
	}
}

func layerNorm64(cols int, eps float64) func([][]float64) []float64 {
	return func(op [][]float64) []float64 {
		y := make([]float64, len(op[0]))
		rowsOf(op[0], cols, func(r int, row []float64) {
			var mean, variance float64
			for _, v := range row {
				mean += v / float64(cols)
			}
			for _, v := range row {
				variance += (v - mean) * (v - mean) / float64(cols)
			}
			for c, v := range row {
				y[r*cols+c] = (v-mean)/math.Sqrt(variance+eps)*op[1][c] + op[2][c]
			}
		})
		return y
	}
}

func l2Normalize64(cols int, eps float64) func([][]float64) []float64 {
	return func(op [][]float64) []float64 {
		y := make([]float64, len(op[0]))
		rowsOf(op[0], cols, func(r int, row []float64) {
			var sum float64
			for _, v := range row {
				sum += v * v
			}
			for c, v := range row {
				y[r*cols+c] = v / math.Max(math.Sqrt(sum), eps)
			}
		})
		return y
	}
}

func gelu64(form kernel.GELUKind) func(float64) float64 {
	return func(x float64) float64 {
		switch form {
		case kernel.GELUErf:
			return x * 0.5 * math.Erfc(-x/math.Sqrt2)
		case kernel.GELUTanh:
			return x * 0.5 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		}
		return x / (1 + math.Exp(-1.702*x))
	}
}

func attention64(batch, tokens, heads, dim int, causal bool) func([][]float64) []float64 {
	width := heads * dim
	return func(op [][]float64) []float64 {
		o := make([]float64, batch*tokens*width)
		for b := range batch {
			for h := range heads {
				at := func(t, part, c int) float64 { return op[0][(b*tokens+t)*3*width+part*width+h*dim+c] }
				for i := range tokens {
					p, sum := make([]float64, tokens), 0.0
					for j := range tokens {
						if causal && j > i || len(op) > 1 && op[1][b*tokens+j] == 0 {
							continue
						}
						var s float64
						for c := range dim {
							s += at(i, 0, c) * at(j, 1, c)
						}
						p[j] = math.Exp(s / math.Sqrt(float64(dim)))
						sum += p[j]
					}
					for j := range tokens {
						for c := range dim {
							if sum > 0 {
								o[(b*tokens+i)*width+h*dim+c] += p[j] / sum * at(j, 2, c)
							}
						}
					}
				}
			}
		}
		return o
	}
}

func conv64(s kernel.ConvShape) func([][]float64) []float64 {
	return func(op [][]float64) []float64 {
		oh, ow := (s.InH+2*s.PadH-s.KH)/s.StrideH+1, (s.InW+2*s.PadW-s.KW)/s.StrideW+1
		y := make([]float64, s.Batch*oh*ow*s.OutC)
		for i := range y {
			co, ox, oy, b := i%s.OutC, i/s.OutC%ow, i/s.OutC/ow%oh, i/s.OutC/ow/oh
			if len(op) > 2 {
				y[i] = op[2][co]
			}
			for ci := range s.InC {
				for ky := range s.KH {
					for kx := range s.KW {
						iy, ix := oy*s.StrideH+ky-s.PadH, ox*s.StrideW+kx-s.PadW
						if iy < 0 || ix < 0 || iy >= s.InH || ix >= s.InW {
							continue
						}
						x := ((b*s.InH+iy)*s.InW+ix)*s.InC + ci
						if s.ChannelsFirst {
							x = ((b*s.InC+ci)*s.InH+iy)*s.InW + ix
						}
						y[i] += op[0][x] * op[1][((co*s.InC+ci)*s.KH+ky)*s.KW+kx]
					}
				}
			}
		}
		return y
	}
}

// pool64 is Σ_t weight(b,t)·x.
func pool64(batch, tokens, dim int, weight func(op [][]float64, b, t int) float64) func([][]float64) []float64 {
	return func(op [][]float64) []float64 {
		y := make([]float64, batch*dim)
		for b := range batch {
			for t := range tokens {
				for c := range dim {
					y[b*dim+c] += weight(op, b, t) * op[0][(b*tokens+t)*dim+c]
				}
			}
		}
		return y
	}
}

func logSumExp64(row []float64) float64 {
	top, sum := math.Inf(-1), 0.0
	for _, v := range row {
		top = math.Max(top, v)
	}
	for _, v := range row {
		sum += math.Exp(v - top)
	}
	return top + math.Log(sum)
}

// opCases lists every op of the Builder, with sizes that are no multiple of a
// vector's length.
func opCases() []opCase {
	var cases []opCase
	add := func(c opCase) { cases = append(cases, c) }

	for _, s := range [][3]int{{1, 1, 1}, {5, 7, 9}, {33, 20, 17}} {
		rows, in, out := s[0], s[1], s[2]
		add(opCase{
			name:   fmt.Sprintf("linear/%v", s),
			inputs: []input{leafInput(rows, in), leafInput(out, in), leafInput(out)},
			build:  func(b *Builder, in []*Node) *Node { return b.Linear(in[0], in[1], in[2]) },
			oracle: linear64(rows, in, out),
		})
	}
	add(opCase{
		name:   "linear/no bias",
		inputs: []input{leafInput(4, 6), leafInput(3, 6)},
		build:  func(b *Builder, in []*Node) *Node { return b.Linear(in[0], in[1], nil) },
		oracle: linear64(4, 6, 3),
	})
	add(opCase{
		name:   "layer norm",
		inputs: []input{leafInput(6, 19), leafInput(19), leafInput(19)},
		build:  func(b *Builder, in []*Node) *Node { return b.LayerNorm(in[0], in[1], in[2], 1e-5) },
		oracle: layerNorm64(19, 1e-5),
	})
	add(opCase{
		name:   "l2 normalize",
		inputs: []input{leafInput(6, 19)},
		build:  func(b *Builder, in []*Node) *Node { return b.L2Normalize(in[0], 1e-12) },
		oracle: l2Normalize64(19, 1e-12),
	})
	add(opCase{
		name:   "l2 normalize/below eps",
		inputs: []input{leafInput(3, 5)},
		build:  func(b *Builder, in []*Node) *Node { return b.L2Normalize(in[0], 100) },
		oracle: l2Normalize64(5, 100),
	})
	for _, form := range []kernel.GELUKind{kernel.GELUErf, kernel.GELUTanh, kernel.GELUQuick} {
		add(opCase{
			name:   "gelu/" + form.String(),
			inputs: []input{{shape: []int{5, 21}, wrt: true, draw: func(r *rand.Rand, n int) []float32 { return scaled(uniform(r, n), 5) }}},
			build:  func(b *Builder, in []*Node) *Node { return b.GELU(in[0], form) },
			oracle: func(in [][]float64) []float64 { return mapped(in[0], gelu64(form)) },
		})
	}
	for _, s := range [][2]int{{5, 21}, {2, 600}} { // a row longer than what is done at a time
		rows, cols := s[0], s[1]
		add(opCase{
			name:   fmt.Sprintf("swiglu/%v", s),
			inputs: []input{{shape: []int{rows, 2 * cols}, wrt: true, draw: func(r *rand.Rand, n int) []float32 { return scaled(uniform(r, n), 5) }}},
			build:  func(b *Builder, in []*Node) *Node { return b.SwiGLU(in[0]) },
			oracle: func(op [][]float64) []float64 {
				var y []float64
				rowsOf(op[0], 2*cols, func(_ int, row []float64) {
					for c, gate := range row[:cols] {
						y = append(y, gate/(1+math.Exp(-gate))*row[cols+c])
					}
				})
				return y
			},
		})
	}
	for _, causal := range []bool{false, true} {
		for _, s := range [][4]int{{2, 5, 3, 4}, {3, 17, 2, 16}, {1, 1, 1, 1}} {
			batch, tokens, heads, dim := s[0], s[1], s[2], s[3]
			c := AttentionConfig{Batch: batch, Tokens: tokens, Heads: heads, Causal: causal}
			add(opCase{
				name:   fmt.Sprintf("attention/%v causal=%v", s, causal),
				inputs: []input{leafInput(batch*tokens, 3*heads*dim)},
				build:  func(b *Builder, in []*Node) *Node { return b.Attention(in[0], nil, c) },
				oracle: attention64(batch, tokens, heads, dim, causal),
			})
			add(opCase{
				name:   fmt.Sprintf("attention/%v causal=%v masked", s, causal),
				inputs: []input{leafInput(batch*tokens, 3*heads*dim), keyMask(batch, tokens)},
				build:  func(b *Builder, in []*Node) *Node { return b.Attention(in[0], in[1], c) },
				oracle: attention64(batch, tokens, heads, dim, causal),
			})
		}
	}
	patch := kernel.ConvShape{Batch: 2, InC: 3, InH: 8, InW: 12, OutC: 5, KH: 4, KW: 4, StrideH: 4, StrideW: 4, ChannelsFirst: true}
	add(opCase{
		name:   "conv/patch",
		inputs: []input{leafInput(2, 3, 8, 12), leafInput(5, 3, 4, 4), leafInput(5)},
		build:  func(b *Builder, in []*Node) *Node { return b.Conv2D(in[0], in[1], in[2], patch) },
		oracle: conv64(patch),
	})
	stem := kernel.ConvShape{Batch: 2, InC: 3, InH: 7, InW: 6, OutC: 4, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadH: 1, PadW: 1}
	add(opCase{
		name:   "conv/stem",
		inputs: []input{leafInput(2, 7, 6, 3), leafInput(4, 3, 3, 3), leafInput(4)},
		build:  func(b *Builder, in []*Node) *Node { return b.Conv2D(in[0], in[1], in[2], stem) },
		oracle: conv64(stem),
	})
	add(opCase{
		name:   "conv/stem on a matrix, no bias",
		inputs: []input{leafInput(2*7*6, 3), leafInput(4, 3, 3, 3)},
		build:  func(b *Builder, in []*Node) *Node { return b.Conv2D(in[0], in[1], nil, stem) },
		oracle: conv64(stem),
	})
	odd := kernel.ConvShape{Batch: 1, InC: 2, InH: 5, InW: 9, OutC: 3, KH: 2, KW: 3, StrideH: 1, StrideW: 2, PadW: 2, ChannelsFirst: true}
	add(opCase{
		name:   "conv/odd",
		inputs: []input{leafInput(1, 2, 5, 9), leafInput(3, 2, 2, 3), leafInput(3)},
		build:  func(b *Builder, in []*Node) *Node { return b.Conv2D(in[0], in[1], in[2], odd) },
		oracle: conv64(odd),
	})
	add(opCase{
		name:   "embedding",
		inputs: []input{leafInput(6, 5), drawIDs(20, -2, 6)},
		build:  func(b *Builder, in []*Node) *Node { return b.Embedding(in[0], in[1]) },
		oracle: func(op [][]float64) []float64 {
			y := make([]float64, 20*5)
			rowsOf(y, 5, func(r int, row []float64) {
				if id := int(op[1][r]); id >= 0 {
					copy(row, op[0][id*5:])
				}
			})
			return y
		},
	})
	add(opCase{
		name:   "add position",
		inputs: []input{leafInput(3*4, 5), leafInput(4, 5)},
		build:  func(b *Builder, in []*Node) *Node { return b.AddPosition(in[0], in[1]) },
		oracle: func(op [][]float64) []float64 {
			y := make([]float64, len(op[0]))
			for i, v := range op[0] {
				y[i] = v + op[1][i%20]
			}
			return y
		},
	})
	add(opCase{
		name:   "prepend token",
		inputs: []input{leafInput(3*4, 5), leafInput(5)},
		build:  func(b *Builder, in []*Node) *Node { return b.PrependToken(in[0], in[1], 4) },
		oracle: func(op [][]float64) []float64 {
			var y []float64
			for b := range 3 {
				y = append(append(y, op[1]...), op[0][b*20:(b+1)*20]...)
			}
			return y
		},
	})
	add(opCase{
		name:   "pool first",
		inputs: []input{leafInput(3*4, 5)},
		build:  func(b *Builder, in []*Node) *Node { return b.PoolFirst(in[0], 4) },
		oracle: pool64(3, 4, 5, func(_ [][]float64, _, t int) float64 {
			if t == 0 {
				return 1
			}
			return 0
		}),
	})
	add(opCase{
		name:   "pool mean",
		inputs: []input{leafInput(3*4, 5)},
		build:  func(b *Builder, in []*Node) *Node { return b.PoolMean(in[0], 4) },
		oracle: pool64(3, 4, 5, func([][]float64, int, int) float64 { return 0.25 }),
	})
	add(opCase{
		name:   "pool masked mean",
		inputs: []input{leafInput(3*4, 5), keyMask(3, 4)},
		build:  func(b *Builder, in []*Node) *Node { return b.PoolMaskedMean(in[0], in[1]) },
		oracle: pool64(3, 4, 5, func(op [][]float64, b, t int) float64 {
			var sum float64
			for _, v := range op[1][b*4 : b*4+4] {
				sum += v
			}
			return op[1][b*4+t] / math.Max(sum, 1e-9)
		}),
	})
	add(opCase{
		name:   "pool weighted",
		inputs: []input{leafInput(3*4, 5), {shape: []int{3, 4}}},
		build:  func(b *Builder, in []*Node) *Node { return b.PoolWeighted(in[0], in[1]) },
		oracle: pool64(3, 4, 5, func(op [][]float64, b, t int) float64 { return op[1][b*4+t] }),
	})
	for _, dim := range []int{5, 300} { // 300: more columns than are done at a time
		add(opCase{
			name:   fmt.Sprintf("pool max/%d", dim),
			inputs: []input{leafInput(3*4, dim), keyMask(3, 4)}, // the last sequence keeps no row
			build:  func(b *Builder, in []*Node) *Node { return b.PoolMax(in[0], in[1]) },
			oracle: func(op [][]float64) []float64 {
				y := make([]float64, 3*dim)
				for i := range y {
					b, c, top := i/dim, i%dim, math.Inf(-1)
					for t := range 4 {
						if op[1][b*4+t] != 0 {
							top = math.Max(top, op[0][(b*4+t)*dim+c])
						}
					}
					if !math.IsInf(top, -1) {
						y[i] = top
					}
				}
				return y
			},
		})
	}
	add(opCase{
		name:   "pool at",
		inputs: []input{leafInput(3*4, 5), drawIDs(3, 0, 4)},
		build:  func(b *Builder, in []*Node) *Node { return b.PoolAt(in[0], in[1], 4) },
		oracle: pool64(3, 4, 5, func(op [][]float64, b, t int) float64 {
			if int(op[1][b]) == t {
				return 1
			}
			return 0
		}),
	})
	add(opCase{
		name:   "add",
		inputs: []input{leafInput(3, 11), leafInput(3, 11)},
		build:  func(b *Builder, in []*Node) *Node { return b.Add(in[0], in[1]) },
		oracle: func(op [][]float64) []float64 {
			y := append([]float64{}, op[0]...)
			for i, v := range op[1] {
				y[i] += v
			}
			return y
		},
	})
	add(opCase{
		name:   "scale",
		inputs: []input{leafInput(3, 11)},
		build:  func(b *Builder, in []*Node) *Node { return b.Scale(in[0], -1.5) },
		oracle: func(op [][]float64) []float64 { return mapped(op[0], func(v float64) float64 { return -1.5 * v }) },
	})
	add(opCase{
		name:   "scale exp",
		inputs: []input{leafInput(3, 11), leafInput(1)},
		build:  func(b *Builder, in []*Node) *Node { return b.ScaleExp(in[0], in[1]) },
		oracle: func(op [][]float64) []float64 {
			return mapped(op[0], func(v float64) float64 { return v * math.Exp(op[1][0]) })
		},
	})
	add(opCase{
		name:   "add scalar",
		inputs: []input{leafInput(3, 11), leafInput(1)},
		build:  func(b *Builder, in []*Node) *Node { return b.AddScalar(in[0], in[1]) },
		oracle: func(op [][]float64) []float64 { return mapped(op[0], func(v float64) float64 { return v + op[1][0] }) },
	})
	add(opCase{
		name:   "column scale",
		inputs: []input{leafInput(7, 11), leafInput(11)},
		build:  func(b *Builder, in []*Node) *Node { return b.ColumnScale(in[0], in[1]) },
		oracle: func(op [][]float64) []float64 {
			y := append([]float64{}, op[0]...)
			for i := range y {
				y[i] *= op[1][i%11]
			}
			return y
		},
	})
	for _, s := range [][4]int{{7, 11, 3, 5}, {7, 11, 0, 11}, {40, 24, 16, 8}} {
		rows, cols, at, width := s[0], s[1], s[2], s[3]
		add(opCase{
			name:   fmt.Sprintf("add columns/%v", s),
			inputs: []input{leafInput(rows, cols), leafInput(rows, width)},
			build:  func(b *Builder, in []*Node) *Node { return b.AddColumns(in[0], in[1], at) },
			oracle: func(op [][]float64) []float64 {
				y := append([]float64{}, op[0]...)
				for i, v := range op[1] {
					y[i/width*cols+at+i%width] += v
				}
				return y
			},
		})
	}
	// As low-rank adapters use it: two in a row on one product, in place, the second
	// over columns that the first has changed too.
	add(opCase{
		name:   "add columns/twice",
		inputs: []input{leafInput(6, 4), leafInput(9, 4), leafInput(6, 3), leafInput(6, 5)},
		build: func(b *Builder, in []*Node) *Node {
			y := b.AddColumns(b.Linear(in[0], in[1], nil), in[2], 6)
			return b.Scale(b.AddColumns(y, in[3], 2), 2)
		},
		oracle: func(op [][]float64) []float64 {
			y := linear64(6, 4, 9)(op[:2])
			for i, v := range op[2] {
				y[i/3*9+6+i%3] += v
			}
			for i, v := range op[3] {
				y[i/5*9+2+i%5] += v
			}
			return mapped(y, func(v float64) float64 { return 2 * v })
		},
	})
	add(opCase{
		name:   "transpose",
		inputs: []input{leafInput(7, 11)},
		build:  func(b *Builder, in []*Node) *Node { return b.Transpose(in[0]) },
		oracle: func(op [][]float64) []float64 {
			y := make([]float64, 77)
			for i, v := range op[0] {
				y[i%11*7+i/11] = v
			}
			return y
		},
	})
	add(opCase{
		name:   "dot",
		inputs: []input{leafInput(7, 11), leafInput(7, 11)},
		build:  func(b *Builder, in []*Node) *Node { return b.Dot(in[0], in[1]) },
		oracle: func(op [][]float64) []float64 {
			var sum float64
			for i, v := range op[0] {
				sum += v * op[1][i]
			}
			return []float64{sum}
		},
	})
	add(opCase{
		name:   "cross entropy",
		inputs: []input{leafInput(7, 11), distributions(7, 11)},
		build:  func(b *Builder, in []*Node) *Node { return b.CrossEntropy(in[0], in[1]) },
		oracle: func(op [][]float64) []float64 {
			var sum, n float64
			rowsOf(op[0], 11, func(r int, row []float64) {
				any := 0.0
				for c, v := range row {
					t := op[1][r*11+c]
					sum += t * (logSumExp64(row) - v)
					if t != 0 {
						any = 1
					}
				}
				n += any
			})
			return []float64{sum / n}
		},
	})
	add(opCase{
		name: "sigmoid loss",
		inputs: []input{leafInput(5, 6), {shape: []int{5, 6}, draw: func(r *rand.Rand, n int) []float32 {
			v := make([]float32, n)
			for i := range v {
				v[i] = float32(1 - 2*r.IntN(2))
			}
			return v
		}}},
		build: func(b *Builder, in []*Node) *Node { return b.SigmoidLoss(in[0], in[1]) },
		oracle: func(op [][]float64) []float64 {
			var sum float64
			for i, v := range op[0] {
				sum += math.Log1p(math.Exp(-op[1][i] * v))
			}
			return []float64{sum / 5}
		},
	})
	cases = append(cases, convnetOps()...)
	return append(cases, contrastOps()...)
}

func scaled(v []float32, by float32) []float32 {
	for i := range v {
		v[i] *= by
	}
	return v
}

// sample lists up to 200 indices spread over n elements: all of them if they are few.
func sample(n int) []int {
	var at []int
	for i := 0; i < n; i += 1 + n/200 {
		at = append(at, i)
	}
	return at
}

// numericGradient is the central difference of Σ f(in)·upstream in float64, at some
// elements of one input.
func numericGradient(f func([][]float64) []float64, in [][]float64, which int, upstream []float32, at []int) []float64 {
	cost := func() float64 {
		var sum float64
		for i, v := range f(in) {
			sum += v * float64(upstream[i])
		}
		return sum
	}
	const h = 1e-5
	var gradient []float64
	for _, i := range at {
		v := in[which][i]
		in[which][i] = v + h
		up := cost()
		in[which][i] = v - h
		down := cost()
		in[which][i] = v
		gradient = append(gradient, (up-down)/(2*h))
	}
	return gradient
}

// near fails the test unless got equals want up to tol of the largest element.
func near(t *testing.T, what string, got []float32, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	top := 1.0
	for _, v := range want {
		top = math.Max(top, math.Abs(v))
	}
	for i, v := range want {
		if !(math.Abs(float64(got[i])-v) <= tol*top) {
			t.Errorf("%s[%d] = %v, want %v ± %.1e", what, i, got[i], v, tol*top)
			return
		}
	}
}
