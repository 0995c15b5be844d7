package graph

import (
	"fmt"
	"math"
	"testing"

	"relsim/kernel"
)

// contrastOps are the cases of every kind and rule, with a scale and a bias that are learned or not.
func contrastOps() []opCase {
	var cases []opCase
	const rows, dim = 9, 5
	for kind := range kernel.ContrastPairs + 1 {
		for equal := range kernel.EqualMasked + 1 {
			for _, learned := range []bool{false, true} {
				c := ContrastConfig{Kind: kind, Equal: equal, Scale: 1.5}
				inputs := []input{leafInput(rows, dim), leafInput(rows, dim), drawIDs(rows, -1, 4)}
				if learned {
					inputs = append(inputs, leafInput(1))
				}
				if kind == kernel.ContrastPairs {
					if c.Bias = -0.5; learned {
						inputs = append(inputs, leafInput(1))
					}
				}
				cases = append(cases, opCase{
					name:   fmt.Sprintf("contrast/kind %d/equal %d/learned %v", kind, equal, learned),
					inputs: inputs,
					build: func(b *Builder, in []*Node) *Node {
						in = append(in, nil, nil)
						loss, _ := b.Contrast(in[0], in[1], in[2], in[3], in[4], c)
						return loss
					},
					oracle: contrast64(c, rows, dim),
				})
			}
		}
	}
	return cases
}

func contrast64(c ContrastConfig, rows, dim int) func([][]float64) []float64 {
	return func(op [][]float64) []float64 {
		scale, bias, labels := c.Scale, c.Bias, op[2]
		if len(op) > 3 {
			scale = math.Exp(op[3][0])
		}
		if len(op) > 4 {
			bias = op[4][0]
		}
		logit := func(r, k int) float64 {
			l := bias
			for i := range dim {
				l += scale * op[0][r*dim+i] * op[1][k*dim+i]
			}
			return l
		}
		same := func(r, k int) bool { return labels[r] >= 0 && labels[r] == labels[k] }
		positive := func(r, k int) bool { return r == k || c.Equal == kernel.EqualPositive && same(r, k) }
		masked := func(r, k int) bool { return r != k && c.Equal == kernel.EqualMasked && same(r, k) }
		var loss float64
		for r := range rows {
			var row, col, count, hits float64
			for k := range rows {
				z := -1.
				if positive(r, k) {
					z = 1
					count++
					hits += logit(r, k)/2 + logit(k, r)/2
					if c.Kind == kernel.ContrastRows {
						hits += logit(r, k)/2 - logit(k, r)/2
					}
				}
				if masked(r, k) {
					continue
				}
				row += math.Exp(logit(r, k))
				col += math.Exp(logit(k, r))
				if c.Kind == kernel.ContrastPairs {
					loss += math.Log1p(math.Exp(-z*logit(r, k))) / float64(rows)
				}
			}
			switch c.Kind {
			case kernel.ContrastRows:
				loss += (math.Log(row) - hits/count) / float64(rows)
			case kernel.ContrastBoth:
				loss += ((math.Log(row)+math.Log(col))/2 - hits/count) / float64(rows)
			}
		}
		return []float64{loss}
	}
}

func TestContrastRefuses(t *testing.T) {
	for want, op := range map[string]func(b *Builder) *Node{
		`graph: contrast[(6, 4) (6, 3) (6)]: operand 1 is (6, 3), want (6, 4)`: func(b *Builder) *Node {
			n, _ := b.Contrast(b.Input("x", 6, 4), b.Input("y", 6, 3), b.InputIDs("l", 6), nil, nil, ContrastConfig{})
			return n
		},
		`graph: contrast[(6, 4) (6, 4) (5)]: operand 2 is (5), want (6)`: func(b *Builder) *Node {
			n, _ := b.Contrast(b.Input("x", 6, 4), b.Input("y", 6, 4), b.InputIDs("l", 5), nil, nil, ContrastConfig{})
			return n
		},
		`graph: contrast[(6, 4)]: a bias changes nothing in a softmax`: func(b *Builder) *Node {
			n, _ := b.Contrast(b.Input("x", 6, 4), b.Input("y", 6, 4), b.InputIDs("l", 6), nil, b.Param("b", 1), ContrastConfig{})
			return n
		},
		`graph: contrast[(6, 4)]: unknown kind in {Kind:3 Equal:0 Scale:0 Bias:0}`: func(b *Builder) *Node {
			n, _ := b.Contrast(b.Input("x", 6, 4), b.Input("y", 6, 4), b.InputIDs("l", 6), nil, nil, ContrastConfig{Kind: 3})
			return n
		},
		`graph: contrast: operand 0 is (6), want 2 dimensions`: func(b *Builder) *Node {
			n, _ := b.Contrast(b.Input("x", 6), b.Input("y", 6, 4), b.InputIDs("l", 6), nil, nil, ContrastConfig{})
			return n
		},
	} {
		b := NewBuilder()
		if n := op(b); n != nil || b.Err() == nil || b.Err().Error() != want {
			t.Errorf("node %v, error %v, want %s", n, b.Err(), want)
		}
	}
}

// Labels out of range are found before a kernel reads them.
func TestContrastChecksLabels(t *testing.T) {
	b := NewBuilder()
	img, txt, labels := b.Input("img", 3, 2), b.Input("txt", 3, 2), b.InputIDs("labels", 3)
	loss, hits := b.Contrast(img, txt, labels, nil, nil, ContrastConfig{Equal: kernel.EqualPositive, Scale: 1})
	p, err := Compile(b, Config{Loss: loss, Outputs: []*Node{hits}})
	if err != nil {
		t.Fatal(err)
	}
	x := []float32{1, 0, 0, 1, .6, .8}
	for _, err := range []error{p.SetFloats(img, x), p.SetFloats(txt, x), p.SetIDs(labels, []int32{0, 3, 1})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Forward(); err == nil || err.Error() != `graph: forward: input "labels": index 1 is 3, want -1 ≤ index < 3` {
		t.Errorf("error %v", err)
	}
	if err := p.SetIDs(labels, []int32{0, -1, 1}); err != nil {
		t.Fatal(err)
	}
	if err := p.Forward(); err != nil || p.Value(hits)[0] != 3 {
		t.Errorf("%v hits, error %v; want 3", p.Value(hits), err)
	}
}
