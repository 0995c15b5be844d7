package kernel

import (
	"fmt"
	"math"
	"testing"
)

// bf16AttentionCases are the shapes of the others with heads that are as wide as tiles.
func bf16AttentionCases() []attentionCase {
	cs := attentionCases()
	for i := range cs {
		cs[i].HeadDim = roundTo(cs[i].HeadDim, bf16Depth)
	}
	return cs
}

// TestAttentionBF16Narrow checks that heads that are no multiple of a tile stay float32.
func TestAttentionBF16Narrow(t *testing.T) {
	s, rng := AttentionShape{2, 30, 2, 24, false}, newRand(4)
	n := s.Batch * s.Tokens * s.Heads * s.HeadDim
	qkv, do := nanGuarded(rng, 3*n), nanGuarded(rng, n)
	o, lse, dqkv := [2][]float32{}, [2][]float32{}, [2][]float32{}
	for i, precision := range []Precision{Float32, BF16} {
		p := (*Pool)(nil).With(precision)
		o[i], lse[i], dqkv[i] = make([]float32, n), make([]float32, s.Batch*s.Heads*s.Tokens), make([]float32, 3*n)
		Attention(p, o[i], lse[i], qkv, nil, s)
		AttentionGrad(p, dqkv[i], do, o[i], lse[i], qkv, nil, s)
	}
	sameBits(t, "o", o[1], o[0])
	sameBits(t, "lse", lse[1], lse[0])
	sameBits(t, "dqkv", dqkv[1], dqkv[0])
}

// TestAttentionBF16 compares with the oracle on operands as they enter the products.
// Probabilities are off by 2⁻⁹ of themselves then, and o by 2⁻⁹ of the largest value.
// In the gradient two more roundings of that kind meet differences, which cancel: those
// of dp and of delta, each up to 2⁻⁹ Σ|do·v|, and of ds.
func TestAttentionBF16(t *testing.T) {
	eachBF16(t, func(t *testing.T, pool *Pool) {
		for i, tt := range bf16AttentionCases() {
			name := fmt.Sprintf("%+v/%s", tt.AttentionShape, tt.mask)
			s, mask, rng := tt.AttentionShape, tt.keys(), newRand(uint64(i))
			n := s.Batch * s.Tokens * s.Heads * s.HeadDim
			qkv, do := nanGuarded(rng, 3*n), nanGuarded(rng, n)
			o, lse, dqkv := newGuarded(n), newGuarded(s.Batch*s.Heads*s.Tokens), newGuarded(3*n)
			wantO, wantLSE, wantD := attentionOracle(do, rounded(qkv), mask, s)
			Attention(pool, o.x, lse.x, qkv, mask, s)
			largest := 0.0
			for _, v := range qkv {
				largest = math.Max(largest, math.Abs(float64(v)))
			}
			closeTo(t, name+": lse", lse.x, wantLSE, 1e-6)
			for j, want := range wantO {
				if d := math.Abs(float64(o.x[j]) - want); !(d <= 0x1p-9*1.1*largest) {
					t.Fatalf("%s: o[%d] = %v, want %v, values up to %v", name, j, o.x[j], want, largest)
				}
			}
			AttentionGrad(pool, dqkv.x, do, o.x, lse.x, qkv, mask, s)
			closeTo(t, name+": dqkv", dqkv.x, wantD, 0x1p-7)
			o.check(t, name+": o")
			lse.check(t, name+": lse")
			dqkv.check(t, name+": dqkv")
		}
	})
}

func TestAttentionBF16Threads(t *testing.T) {
	eachBF16(t, func(t *testing.T, _ *Pool) {
		tt := attentionCase{AttentionShape{3, 50, 4, 32, true}, "holes"}
		s, mask, rng := tt.AttentionShape, tt.keys(), newRand(9)
		n, rows := s.Batch*s.Tokens*s.Heads*s.HeadDim, s.Batch*s.Heads*s.Tokens
		qkv, do := nanGuarded(rng, 3*n), nanGuarded(rng, n)
		eachThreads(t, func(p *Pool) []float32 {
			p = p.With(BF16)
			out := make([]float32, 4*n+rows)
			o, dqkv, lse := out[:n], out[n:4*n], out[4*n:]
			Attention(p, o, lse, qkv, mask, s)
			AttentionGrad(p, dqkv, do, o, lse, qkv, mask, s)
			return out
		})
	})
}

// TestAttentionBF16Gradients compares with differences of the forward pass. It rounds q,
// k and v, so the step is a large one, and what the difference is off by comes from both
// ends: 2⁻⁸ of a sum of some products, over the step.
func TestAttentionBF16Gradients(t *testing.T) {
	eachBF16(t, func(t *testing.T, pool *Pool) {
		s := AttentionShape{1, 5, 2, 32, false}
		n := s.Tokens * s.Heads * s.HeadDim
		rng := newRand(2)
		qkv, do := nanGuarded(rng, 3*n), nanGuarded(rng, n)
		o, lse, dqkv := make([]float32, n), make([]float32, s.Heads*s.Tokens), make([]float32, 3*n)
		Attention(pool, o, lse, qkv, nil, s)
		AttentionGrad(pool, dqkv, do, o, lse, qkv, nil, s)
		finiteDifferences(t, "dqkv", qkv, dqkv, func() float64 {
			Attention(pool, o, lse, qkv, nil, s)
			return dot64(o, do)
		}, 0.25, 0.08)
	})
}

func TestAttentionBF16NaN(t *testing.T) {
	eachBF16(t, func(t *testing.T, pool *Pool) {
		s := AttentionShape{2, 20, 2, 32, false}
		D := s.Heads * s.HeadDim
		n := s.Batch * s.Tokens * D
		qkv, o, lse := nanGuarded(newRand(1), 3*n), make([]float32, n), make([]float32, s.Batch*s.Heads*s.Tokens)
		qkv[7*3*D+3] = float32(math.NaN()) // q of token 7 of picture 0, head 0
		Attention(pool, o, lse, qkv, nil, s)
		for i, v := range o {
			if want := i < s.Tokens*D && i/D == 7 && i%D < s.HeadDim; (v != v) != want {
				t.Fatalf("o[%d] = %v", i, v)
			}
		}
	})
}

func TestAttentionBF16Allocs(t *testing.T) {
	eachBF16(t, func(t *testing.T, p *Pool) {
		s := AttentionShape{8, 64, 4, 32, false}
		n := s.Batch * s.Tokens * s.Heads * s.HeadDim
		qkv, o, lse := make([]float32, 3*n), make([]float32, n), make([]float32, s.Batch*s.Heads*s.Tokens)
		noAllocs(t, "Attention", func() { Attention(p, o, lse, qkv, nil, s) })
		noAllocs(t, "AttentionGrad", func() { AttentionGrad(p, qkv, o, o, lse, qkv, nil, s) })
	})
}
