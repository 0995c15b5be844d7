package kernel

import (
	"fmt"
	"math"
	"testing"
)

// attentionOracle is [Attention] and [AttentionGrad] in float64 from their
// definitions.
func attentionOracle(do, qkv, keyMask []float32, s AttentionShape) (o, lse, dqkv []float64) {
	T, H, d := s.Tokens, s.Heads, s.HeadDim
	D := H * d
	o, lse, dqkv = make([]float64, s.Batch*T*D), make([]float64, s.Batch*H*T), make([]float64, s.Batch*T*3*D)
	scale := 1 / math.Sqrt(float64(d))
	for b := range s.Batch {
		for h := range H {
			at := func(t, part int) int { return (b*T+t)*3*D + part*D + h*d }
			for i := range T {
				p := make([]float64, T)
				sum, top := 0.0, math.Inf(-1)
				sees := func(j int) bool {
					return (!s.Causal || j <= i) && (keyMask == nil || keyMask[b*T+j] != 0)
				}
				for j := range T {
					if sees(j) {
						p[j] = dot64(qkv[at(i, 0):][:d], qkv[at(j, 1):]) * scale
						top = math.Max(top, p[j])
					}
				}
				for j := range T {
					if sees(j) {
						p[j] = math.Exp(p[j] - top)
						sum += p[j]
					}
				}
				lse[(b*H+h)*T+i] = top + math.Log(sum)
				if sum == 0 {
					lse[(b*H+h)*T+i] = math.Inf(-1)
					continue
				}
				oi := (b*T+i)*D + h*d
				for j := range T {
					p[j] /= sum
					for c := range d {
						o[oi+c] += p[j] * float64(qkv[at(j, 2)+c])
					}
				}
				delta := 0.0
				for c := range d {
					delta += o[oi+c] * float64(do[oi+c])
				}
				for j := range T {
					ds := p[j] * (dot64(do[oi:][:d], qkv[at(j, 2):]) - delta) * scale
					for c := range d {
						dqkv[at(i, 0)+c] += ds * float64(qkv[at(j, 1)+c])
						dqkv[at(j, 1)+c] += ds * float64(qkv[at(i, 0)+c])
						dqkv[at(j, 2)+c] += p[j] * float64(do[oi+c])
					}
				}
			}
		}
	}
	return o, lse, dqkv
}

type attentionCase struct {
	AttentionShape
	mask string // "", "tail", "holes", "all"
}

func attentionCases() []attentionCase {
	var cs []attentionCase
	for _, causal := range []bool{false, true} {
		for _, mask := range []string{"", "tail", "holes", "all"} {
			cs = append(cs,
				attentionCase{AttentionShape{2, 64, 4, 24, causal}, mask},
				attentionCase{AttentionShape{3, 13, 2, 5, causal}, mask},
				attentionCase{AttentionShape{1, 197, 1, 64, causal}, mask},
				attentionCase{AttentionShape{1, 330, 1, 20, causal}, mask})
		}
	}
	return append(cs,
		attentionCase{AttentionShape{2, 1, 1, 1, false}, ""}, attentionCase{AttentionShape{0, 4, 1, 8, false}, ""},
		attentionCase{AttentionShape{2, 0, 1, 8, false}, ""}, attentionCase{AttentionShape{1, 17, 3, 72, true}, ""},
		attentionCase{AttentionShape{1, 70, 2, 33, false}, "holes"}, attentionCase{AttentionShape{1, 600, 1, 8, true}, "holes"},
		attentionCase{AttentionShape{2, 256, 1, 16, false}, ""},
		// Lengths and head widths of vision transformers, and lengths that take many blocks of rows.
		attentionCase{AttentionShape{2, 1, 2, 16, true}, ""}, attentionCase{AttentionShape{2, 7, 2, 24, true}, "holes"},
		attentionCase{AttentionShape{1, 64, 2, 32, false}, ""}, attentionCase{AttentionShape{1, 50, 2, 64, false}, ""},
		attentionCase{AttentionShape{1, 77, 2, 64, true}, "tail"}, attentionCase{AttentionShape{1, 197, 1, 80, true}, "tail"},
		attentionCase{AttentionShape{1, 130, 1, 128, false}, "holes"}, attentionCase{AttentionShape{1, 577, 1, 64, true}, ""},
		attentionCase{AttentionShape{1, 1500, 1, 16, true}, "holes"})
}

// keys returns the mask.
func (c attentionCase) keys() []float32 {
	if c.mask == "" {
		return nil
	}
	m := make([]float32, c.Batch*c.Tokens)
	for i := range m {
		b, t := i/c.Tokens, i%c.Tokens
		if c.mask == "tail" && t <= c.Tokens/(b+2) || c.mask == "holes" && (t+b)%3 != 0 {
			m[i] = 1
		}
	}
	return m
}

func TestAttention(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		pool := NewPool(2)
		defer pool.Close()
		for i, tt := range attentionCases() {
			name := fmt.Sprintf("%+v/%s", tt.AttentionShape, tt.mask)
			s, mask, rng := tt.AttentionShape, tt.keys(), newRand(uint64(i))
			n := s.Batch * s.Tokens * s.Heads * s.HeadDim
			qkv, do := nanGuarded(rng, 3*n), nanGuarded(rng, n)
			o, lse, dqkv := newGuarded(n), newGuarded(s.Batch*s.Heads*s.Tokens), newGuarded(3*n)
			wantO, wantLSE, wantD := attentionOracle(do, qkv, mask, s)
			Attention(pool, o.x, lse.x, qkv, mask, s)
			closeTo(t, name+": o", o.x, wantO, 2e-6)
			closeTo(t, name+": lse", lse.x, wantLSE, 1e-6)
			AttentionGrad(pool, dqkv.x, do, o.x, lse.x, qkv, mask, s)
			closeTo(t, name+": dqkv", dqkv.x, wantD, 4e-6)
			o.check(t, name+": o")
			lse.check(t, name+": lse")
			dqkv.check(t, name+": dqkv")
		}
	})
}

// TestAttentionScratch runs a long sequence: no item holds scores of all pairs of tokens, but those of a block of rows.
func TestAttentionScratch(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		s := AttentionShape{1, 1200, 1, 8, false}
		n := s.Tokens * s.HeadDim
		qkv, o, lse := nanGuarded(newRand(1), 3*n), make([]float32, n), make([]float32, s.Tokens)
		attentionWorks = freelist[attentionWork]{}
		Attention(nil, o, lse, qkv, nil, s)
		AttentionGrad(nil, make([]float32, 3*n), o, o, lse, qkv, nil, s)
		w := attentionWorks.get()
		most := max(attentionBlock, microKernels.get().mr*(s.Tokens+32))
		if len(w.scores) == 0 || cap(w.scores) > most || cap(w.dps) > most {
			t.Errorf("%d and %d scores are held at once, want at most %d", cap(w.scores), cap(w.dps), most)
		}
	})
}

func TestAttentionThreads(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		tt := attentionCase{AttentionShape{3, 64, 4, 24, true}, "holes"}
		s, mask, rng := tt.AttentionShape, tt.keys(), newRand(9)
		n, rows := s.Batch*s.Tokens*s.Heads*s.HeadDim, s.Batch*s.Heads*s.Tokens
		qkv, do := nanGuarded(rng, 3*n), nanGuarded(rng, n)
		eachThreads(t, func(p *Pool) []float32 {
			out := make([]float32, 4*n+rows)
			o, dqkv, lse := out[:n], out[n:4*n], out[4*n:]
			Attention(p, o, lse, qkv, mask, s)
			AttentionGrad(p, dqkv, do, o, lse, qkv, mask, s)
			return out
		})
	})
}

// TestAttentionNaN makes one value of q NaN: the token that asks with it becomes NaN
// in that head, and nothing else does. Then one of v: its column becomes NaN.
func TestAttentionNaN(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		s := AttentionShape{2, 20, 2, 24, false}
		D := s.Heads * s.HeadDim
		n := s.Batch * s.Tokens * D
		qkv, o, lse := nanGuarded(newRand(1), 3*n), make([]float32, n), make([]float32, s.Batch*s.Heads*s.Tokens)
		check := func(what string, want func(b, t, c int) bool) {
			t.Helper()
			Attention(nil, o, lse, qkv, nil, s)
			for i, v := range o {
				if (v != v) != want(i/(s.Tokens*D), i/D%s.Tokens, i%D) {
					t.Fatalf("%s: o[%d] = %v", what, i, v)
				}
			}
		}
		at := 7*3*D + 3 // token 7 of picture 0, head 0
		kept := qkv[at]
		qkv[at] = float32(math.NaN())
		check("NaN in q", func(b, t, c int) bool { return b == 0 && t == 7 && c < s.HeadDim })
		qkv[at] = kept
		qkv[at+2*D] = float32(math.NaN())
		check("NaN in v", func(b, _, c int) bool { return b == 0 && c == 3 })
	})
}

func TestAttentionGradients(t *testing.T) {
	for _, causal := range []bool{false, true} {
		s := AttentionShape{1, 5, 2, 3, causal}
		mask := []float32{1, 1, 0, 1, 1}
		n := s.Tokens * s.Heads * s.HeadDim
		rng := newRand(2)
		qkv, do := nanGuarded(rng, 3*n), nanGuarded(rng, n)
		o, lse, dqkv := make([]float32, n), make([]float32, s.Heads*s.Tokens), make([]float32, 3*n)
		Attention(nil, o, lse, qkv, mask, s)
		AttentionGrad(nil, dqkv, do, o, lse, qkv, mask, s)
		finiteDifferences(t, fmt.Sprintf("causal %v: dqkv", causal), qkv, dqkv, func() float64 {
			Attention(nil, o, lse, qkv, mask, s)
			return dot64(o, do)
		}, 1e-2, 5e-4)
	}
}

func TestAttentionAllocs(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	s := AttentionShape{8, 64, 4, 24, false}
	n := s.Batch * s.Tokens * s.Heads * s.HeadDim
	qkv, o, lse := make([]float32, 3*n), make([]float32, n), make([]float32, s.Batch*s.Heads*s.Tokens)
	noAllocs(t, "Attention", func() { Attention(p, o, lse, qkv, nil, s) })
	noAllocs(t, "AttentionGrad", func() { AttentionGrad(p, qkv, o, o, lse, qkv, nil, s) })
}

// TestAttentionFixture compares with PyTorch: q (2, 3, 6, 8) with k and v (2, 3, 7, 8).
// Here that is 7 tokens, the last of which asks nothing that counts.
func TestAttentionFixture(t *testing.T) {
	f := readFixture(t, "primitives/golden.safetensors")
	s := AttentionShape{Batch: 2, Tokens: 7, Heads: 3, HeadDim: 8}
	D := s.Heads * s.HeadDim
	// rows calls f with the indices of each value of a (2, 3, tokens, 8) tensor, there
	// and in rows of the given length.
	rows := func(tokens, rowLen, offset int, f func(there, here int)) {
		for i := range s.Batch * s.Heads * tokens * s.HeadDim {
			c, t, h, b := i%s.HeadDim, i/s.HeadDim%tokens, i/s.HeadDim/tokens%s.Heads, i/s.HeadDim/tokens/s.Heads
			f(i, (b*s.Tokens+t)*rowLen+offset+h*s.HeadDim+c)
		}
	}
	eachTier(t, func(t *testing.T) {
		n := s.Batch * s.Tokens * D
		qkv, dqkv, o, do, lse := make([]float32, 3*n), make([]float32, 3*n), make([]float32, n), make([]float32, n), make([]float32, s.Batch*s.Heads*s.Tokens)
		for part, tokens := range []int{6, 7, 7} {
			in := f[fmt.Sprintf("in.attention.%d", part)].data
			rows(tokens, 3*D, part*D, func(there, here int) { qkv[here] = in[there] })
		}
		rows(6, D, 0, func(there, here int) { do[here] = f["attention.cotangent"].data[there] })
		Attention(nil, o, lse, qkv, nil, s)
		AttentionGrad(nil, dqkv, do, o, lse, qkv, nil, s)
		got := make([]float32, len(f["attention.out"].data))
		rows(6, D, 0, func(there, here int) { got[there] = o[here] })
		byRow(t, "o", got, f["attention.out"])
		for part, tokens := range []int{6, 7, 7} {
			want := f[fmt.Sprintf("attention.grad%d", part)]
			got := make([]float32, len(want.data))
			rows(tokens, 3*D, part*D, func(there, here int) { got[there] = dqkv[here] })
			byRow(t, fmt.Sprintf("grad%d", part), got, want)
		}
	})
}
