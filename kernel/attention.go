package kernel

import (
	"fmt"
	"math"
)

// AttentionShape describes multi-head self-attention.
type AttentionShape struct {
	Batch, Tokens, Heads, HeadDim int
	Causal                        bool // token i sees the keys 0 … i only
}

func (s AttentionShape) check(op string, o, lse, qkv, keyMask []float32) {
	if min(s.Batch, s.Tokens) < 0 || min(s.Heads, s.HeadDim) < 1 {
		panic(fmt.Sprintf("kernel: %s: shape %+v", op, s))
	}
	bt, d := s.Batch*s.Tokens, s.Heads*s.HeadDim
	checkLen(op, "o", o, bt*d)
	checkLen(op, "lse", lse, bt*s.Heads)
	checkLen(op, "qkv", qkv, bt*3*d)
	if keyMask != nil {
		checkLen(op, "keyMask", keyMask, bt)
	}
}

// Attention is the forward pass of multi-head self-attention, for each picture b and
// head h:
//
//	s[i,j] = Σ_c q[i,c]·k[j,c] / √HeadDim
//	lse[i] = log Σ_j exp s[i,j]
//	o[i,c] = Σ_j exp(s[i,j] - lse[i])·v[j,c]
//
// where j runs over the keys that token i sees: those with keyMask[b,j] ≠ 0, and with
// Causal j ≤ i. A token that sees no key has o = 0 and lse = -Inf.
//
// qkv is (Batch·Tokens, 3·Heads·HeadDim), a row holding q, k and v, each by head;
// keyMask is (Batch, Tokens) or nil; o is (Batch·Tokens, Heads·HeadDim); lse is
// (Batch, Heads, Tokens), kept for [AttentionGrad].
//
// Source: Vaswani et al., arXiv:1706.03762, eq. 1; Dao et al., arXiv:2205.14135.
func Attention(p *Pool, o, lse, qkv, keyMask []float32, s AttentionShape) {
	s.check("Attention", o, lse, qkv, keyMask)
	T, H, d := s.Tokens, s.Heads, s.HeadDim
	D := H * d
	scale := 1 / math.Sqrt(float64(d))
	p.Run(s.Batch*H, func(bh int) {
		b, h := bh/H, bh%H
		row := func(t int) int { return (b*T+t)*3*D + h*d }
		w := make([]float64, T)
		for i := range T {
			q := qkv[row(i):][:d]
			top := math.Inf(-1)
			for j := range T {
				w[j] = math.Inf(-1)
				if s.Causal && j > i || keyMask != nil && keyMask[b*T+j] == 0 {
					continue
				}
				w[j] = dot64(q, qkv[row(j)+D:][:d]) * scale
				top = math.Max(top, w[j])
			}
			out := o[(b*T+i)*D+h*d:][:d]
			clear(out)
			if math.IsInf(top, -1) {
				lse[bh*T+i] = float32(top)
				continue
			}
			sum := 0.0
			for j := range w {
				w[j] = math.Exp(w[j] - top)
				sum += w[j]
			}
			lse[bh*T+i] = float32(top + math.Log(sum))
			for j := range w {
				if w[j] != 0 {
					for c, v := range qkv[row(j)+2*D:][:d] {
						out[c] += float32(w[j] / sum * float64(v))
					}
				}
			}
		}
	})
}

// AttentionGrad is the gradient of [Attention] with respect to qkv. do is the
// gradient of o; o and lse are the forward pass's results. dqkv is overwritten.
func AttentionGrad(p *Pool, dqkv, do, o, lse, qkv, keyMask []float32, s AttentionShape) {
	s.check("AttentionGrad", o, lse, qkv, keyMask)
	checkLen("AttentionGrad", "do", do, len(o))
	checkLen("AttentionGrad", "dqkv", dqkv, len(qkv))
	T, H, d := s.Tokens, s.Heads, s.HeadDim
	D := H * d
	scale := 1 / math.Sqrt(float64(d))
	p.Run(s.Batch*H, func(bh int) {
		b, h := bh/H, bh%H
		row := func(t int) int { return (b*T+t)*3*D + h*d }
		for i := range T {
			for part := range 3 {
				clear(dqkv[row(i)+part*D:][:d])
			}
		}
		for i := range T {
			if math.IsInf(float64(lse[bh*T+i]), -1) {
				continue
			}
			at := (b*T+i)*D + h*d
			delta := dot64(o[at:][:d], do[at:][:d])
			q, dq := qkv[row(i):][:d], dqkv[row(i):][:d]
			for j := range T {
				if s.Causal && j > i || keyMask != nil && keyMask[b*T+j] == 0 {
					continue
				}
				k, v := qkv[row(j)+D:][:d], qkv[row(j)+2*D:][:d]
				prob := math.Exp(dot64(q, k)*scale - float64(lse[bh*T+i]))
				ds := float32(prob * (dot64(do[at:][:d], v) - delta) * scale)
				dk, dv := dqkv[row(j)+D:][:d], dqkv[row(j)+2*D:][:d]
				for c := range d {
					dq[c] += ds * k[c]
					dk[c] += ds * q[c]
					dv[c] += float32(prob) * do[at+c]
				}
			}
		}
	})
}

func dot64(a, b []float32) float64 {
	s := 0.0
	for i, v := range a {
		s += float64(v) * float64(b[i])
	}
	return s
}
