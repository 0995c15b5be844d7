package graph

import (
	"math"
	"slices"
	"testing"

	"gorgonia.org/gorgonia"

	"relsim/kernel"
)

// Each mistake gives its error and a nil node; the first error stays, and what
// follows passes by.
func TestBuilderErrors(t *testing.T) {
	conv := kernel.ConvShape{Batch: 2, InC: 3, InH: 4, InW: 4, OutC: 5, KH: 2, KW: 2, StrideH: 2, StrideW: 2, ChannelsFirst: true}
	large := conv
	large.KH = 5
	for _, tt := range []struct {
		want string
		op   func(b *Builder) *Node
	}{
		{`graph: input "x": the name is taken`, func(b *Builder) *Node { b.Input("x", 2); return b.Input("x", 2) }},
		{`graph: input "x": the name is taken`, func(b *Builder) *Node { b.Param("x", 2); return b.Input("x", 2) }},
		{`graph: input "x": the name is taken`, func(b *Builder) *Node { b.InputIDs("x", 2); return b.InputIDs("x", 2) }},
		{`graph: param "x": the name is taken by an input`, func(b *Builder) *Node { b.Input("x", 2); return b.Param("x", 2) }},
		{`graph: param "w": shape (2, 4) asked for, (2, 3) before`, func(b *Builder) *Node { b.Param("w", 2, 3); return b.Param("w", 2, 4) }},
		{`graph: param "w": shape (1, 2, 3, 4, 5) asked for, (1, 2, 3, 4) before`, func(b *Builder) *Node {
			b.Param("w", 1, 2, 3, 4)
			return b.Param("w", 1, 2, 3, 4, 5)
		}},
		{`graph: input "": not a name`, func(b *Builder) *Node { return b.Input("", 2) }},
		{`graph: input "x": shape [] has 0 dimensions, want 1 to 4`, func(b *Builder) *Node { return b.Input("x") }},
		{`graph: param "x": shape [1 1 1 1 1] has 5 dimensions, want 1 to 4`, func(b *Builder) *Node { return b.Param("x", 1, 1, 1, 1, 1) }},
		{`graph: input "x": shape [2 0] is empty`, func(b *Builder) *Node { return b.Input("x", 2, 0) }},
		{`graph: input "ids": shape [-1] is empty`, func(b *Builder) *Node { return b.InputIDs("ids", -1) }},
		{`graph: gelu: operand 0 is nil`, func(b *Builder) *Node { return b.GELU(nil, kernel.GELUErf) }},
		{`graph: linear: operand 1 is nil`, func(b *Builder) *Node { return b.Linear(b.Input("x", 2, 3), nil, nil) }},
		{`graph: scale: operand 0 is of another graph: "x"`, func(b *Builder) *Node { return b.Scale(NewBuilder().Input("x", 2), 1) }},
		{`graph: add[(2, 3, 4) (2, 3, 5)]: shapes differ`, func(b *Builder) *Node { return b.Add(b.Input("x", 2, 3, 4), b.Input("y", 2, 3, 5)) }},
		{`graph: add[(6) (6)]: operand 1 has elements int32, want float32`, func(b *Builder) *Node {
			return b.add(add{dimsOf(6)}, b.Input("x", 6), b.InputIDs("y", 6))
		}},
		{`graph: dot[(2, 3) (3, 2)]: shapes differ`, func(b *Builder) *Node { return b.Dot(b.Input("x", 2, 3), b.Input("y", 3, 2)) }},
		{`graph: linear[(4, 8) (16, 9)]: operand 1 is (16, 9), want (16, 8)`, func(b *Builder) *Node {
			return b.Linear(b.Input("x", 4, 8), b.Param("w", 16, 9), nil)
		}},
		{`graph: linear[(4, 8) (16, 8) (8)]: operand 2 is (8), want (16)`, func(b *Builder) *Node {
			return b.Linear(b.Input("x", 4, 8), b.Param("w", 16, 8), b.Param("b", 8))
		}},
		{`graph: linear: operand 0 is (4, 8, 1), want 2 dimensions`, func(b *Builder) *Node {
			return b.Linear(b.Input("x", 4, 8, 1), b.Param("w", 16, 8), nil)
		}},
		{`graph: layerNorm[(4, 8) (8) (7)]: operand 2 is (7), want (8)`, func(b *Builder) *Node {
			return b.LayerNorm(b.Input("x", 4, 8), b.Param("g", 8), b.Param("b", 7), 1e-5)
		}},
		{`graph: layerNorm[(4, 8)]: eps -1 is negative`, func(b *Builder) *Node {
			return b.LayerNorm(b.Input("x", 4, 8), b.Param("g", 8), b.Param("b", 8), -1)
		}},
		{`graph: l2Normalize[(4, 8)]: eps NaN is negative`, func(b *Builder) *Node { return b.L2Normalize(b.Input("x", 4, 8), math.NaN()) }},
		{`graph: gelu[(4)]: form 9 is unknown`, func(b *Builder) *Node { return b.GELU(b.Input("x", 4), 9) }},
		{`graph: attention[(6, 12)]: does not fit {Batch:2 Tokens:4 Heads:2 Causal:false}`, func(b *Builder) *Node {
			return b.Attention(b.Input("x", 6, 12), nil, AttentionConfig{Batch: 2, Tokens: 4, Heads: 2})
		}},
		{`graph: attention[(6, 12)]: does not fit {Batch:2 Tokens:3 Heads:3 Causal:true}`, func(b *Builder) *Node {
			return b.Attention(b.Input("x", 6, 12), nil, AttentionConfig{Batch: 2, Tokens: 3, Heads: 3, Causal: true})
		}},
		{`graph: attention[(6, 12) (3, 2)]: operand 1 is (3, 2), want (2, 3)`, func(b *Builder) *Node {
			return b.Attention(b.Input("x", 6, 12), b.Input("mask", 3, 2), AttentionConfig{Batch: 2, Tokens: 3, Heads: 2})
		}},
		{`graph: conv2D[(2, 4, 4, 3) (5, 3, 2, 2)]: operand 0 is (2, 4, 4, 3), want (2, 3, 4, 4)`, func(b *Builder) *Node {
			return b.Conv2D(b.Input("x", 2, 4, 4, 3), b.Param("w", 5, 3, 2, 2), nil, conv)
		}},
		{`graph: conv2D[(2, 3, 4, 4)]: no such convolution: {Batch:2 InC:3 InH:4 InW:4 OutC:5 KH:5 KW:2 StrideH:2 StrideW:2 PadH:0 PadW:0 ChannelsFirst:true}`,
			func(b *Builder) *Node {
				return b.Conv2D(b.Input("x", 2, 3, 4, 4), b.Param("w", 5, 3, 5, 2), nil, large)
			}},
		{`graph: embedding[(5, 4) (3)]: operand 1 has elements float32, want int32`, func(b *Builder) *Node {
			return b.Embedding(b.Param("w", 5, 4), b.Input("ids", 3))
		}},
		{`graph: addPosition[(6, 4) (4, 4)]: 6 rows are not sequences of 4`, func(b *Builder) *Node {
			return b.AddPosition(b.Input("x", 6, 4), b.Param("pos", 4, 4))
		}},
		{`graph: prependToken[(6, 4)]: 6 rows are not sequences of 0`, func(b *Builder) *Node {
			return b.PrependToken(b.Input("x", 6, 4), b.Param("token", 4), 0)
		}},
		{`graph: poolFirst[(6, 4)]: 6 rows are not sequences of 5`, func(b *Builder) *Node { return b.PoolFirst(b.Input("x", 6, 4), 5) }},
		{`graph: poolMean[(6, 4)]: 6 rows are not sequences of 5`, func(b *Builder) *Node { return b.PoolMean(b.Input("x", 6, 4), 5) }},
		{`graph: poolWeighted[(6, 4) (2, 4)]: operand 0 is (6, 4), want (8, 4)`, func(b *Builder) *Node {
			return b.PoolMaskedMean(b.Input("x", 6, 4), b.Input("mask", 2, 4))
		}},
		{`graph: poolMax[(6, 4) (2, 4)]: operand 0 is (6, 4), want (8, 4)`, func(b *Builder) *Node {
			return b.PoolMax(b.Input("x", 6, 4), b.Input("mask", 2, 4))
		}},
		{`graph: swiGLU[(6, 5)]: 5 columns are not [gate|value]`, func(b *Builder) *Node { return b.SwiGLU(b.Input("x", 6, 5)) }},
		{`graph: poolAt[(6, 4) (3)]: operand 1 is (3), want (2)`, func(b *Builder) *Node {
			return b.PoolAt(b.Input("x", 6, 4), b.InputIDs("at", 3), 3)
		}},
		{`graph: scaleExp[(6, 4) (2)]: operand 1 is (2), want (1)`, func(b *Builder) *Node { return b.ScaleExp(b.Input("x", 6, 4), b.Param("s", 2)) }},
		{`graph: columnScale[(6, 4) (6)]: operand 1 is (6), want (4)`, func(b *Builder) *Node { return b.ColumnScale(b.Input("x", 6, 4), b.Param("g", 6)) }},
		{`graph: addColumns[(6, 4) (6, 3)]: no 3 columns from 2`, func(b *Builder) *Node { return b.AddColumns(b.Input("x", 6, 4), b.Input("z", 6, 3), 2) }},
		{`graph: addColumns[(6, 4) (6, 3)]: no 3 columns from -1`, func(b *Builder) *Node { return b.AddColumns(b.Input("x", 6, 4), b.Input("z", 6, 3), -1) }},
		{`graph: addColumns[(6, 4) (5, 3)]: operand 1 is (5, 3), want (6, 3)`, func(b *Builder) *Node { return b.AddColumns(b.Input("x", 6, 4), b.Input("z", 5, 3), 0) }},
		{`graph: transpose: operand 0 is (6), want 2 dimensions`, func(b *Builder) *Node { return b.Transpose(b.Input("x", 6)) }},
		{`graph: dropout[(6)]: rate 1 is not in [0, 1)`, func(b *Builder) *Node { return b.Dropout(b.Input("x", 6), 1) }},
		{`graph: crossEntropy[(6, 4) (6, 3)]: operand 1 is (6, 3), want (6, 4)`, func(b *Builder) *Node {
			return b.CrossEntropy(b.Input("x", 6, 4), b.Input("t", 6, 3))
		}},
		{`graph: sigmoidLoss[(6, 4) (4, 6)]: operand 1 is (4, 6), want (6, 4)`, func(b *Builder) *Node {
			return b.SigmoidLoss(b.Input("x", 6, 4), b.Input("t", 4, 6))
		}},
	} {
		t.Run(tt.want, func(t *testing.T) {
			b := NewBuilder()
			if n := tt.op(b); n != nil {
				t.Errorf("got the node %v", n)
			}
			if b.Err() == nil || b.Err().Error() != tt.want {
				t.Fatalf("error %v, want %s", b.Err(), tt.want)
			}
			first := b.Err()
			if b.Input("later", 1) != nil || b.Param("p", 1) != nil || b.GELU(nil, kernel.GELUErf) != nil || b.Err() != first {
				t.Errorf("after it: %v", b.Err())
			}
			if _, err := Compile(b, Config{}); err != first {
				t.Errorf("Compile: %v, want the Builder's error", err)
			}
		})
	}
}

// A parameter asked for again is the same node, and the list is in the order of
// first use.
func TestParams(t *testing.T) {
	b := NewBuilder()
	w, v := b.Param("w", 2, 3), b.Param("v", 3)
	if b.Param("w", 2, 3) != w {
		t.Error("w is two nodes")
	}
	x := b.Input("x", 4, 3)
	if got := b.Params(); !slices.Equal(got, []*Node{w, v}) {
		t.Errorf("Params() = %v, want w and v", got)
	}
	y := b.Linear(x, w, nil)
	p := mustCompile(t, b, Config{Outputs: []*Node{y}})
	if got := p.Params(); !slices.Equal(got, []*Node{w}) {
		t.Errorf("the Program's Params() = %v, want w", got)
	}
	if b.Linear(x, w, nil) != y {
		t.Error("one op on the same operands is two nodes")
	}
	if b.Err() != nil {
		t.Error(b.Err())
	}
}

// The ops check what Gorgonia's machines bring.
func TestDoErrors(t *testing.T) {
	o := &op{add{dimsOf(3)}}
	for want, values := range map[string][]gorgonia.Value{
		"graph: add: 1 operands, want 2":                   {gorgonia.NewF32(1)},
		"graph: add: operand 0 is () of float32, want (3)": {gorgonia.NewF32(1), gorgonia.NewF32(1)},
		"graph: add: operand 0 is () of float64, want (3)": {gorgonia.NewF64(1), gorgonia.NewF32(1)},
		"graph: add: operand 0 is () of int, want (3)":     {gorgonia.NewI(1), gorgonia.NewF32(1)},
	} {
		if _, err := o.Do(values...); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
