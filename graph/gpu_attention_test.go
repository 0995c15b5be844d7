//go:build linux && amd64 && !nogpu

package graph

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"relsim/cuda"
	"relsim/kernel"
)

// attentionWant is what attention gives, and for each value the sum of the magnitudes of what it is the sum of.
type attentionWant struct{ o, lse, dqkv, oBound, dqkvBound []float64 }

// attentionOracle is attention and its gradient in float64, from the definitions in package kernel.
func attentionOracle(do, qkv, mask []float64, s kernel.AttentionShape) attentionWant {
	T, H, d := s.Tokens, s.Heads, s.HeadDim
	D := H * d
	n := s.Batch * T * D
	w := attentionWant{make([]float64, n), make([]float64, s.Batch*H*T), make([]float64, 3*n), make([]float64, n), make([]float64, 3*n)}
	scale := 1 / math.Sqrt(float64(d))
	for b := range s.Batch {
		for h := range H {
			at := func(t, part int) int { return (b*T+t)*3*D + part*D + h*d }
			for i := range T {
				p, sum := make([]float64, T), 0.0
				for j := range T {
					if s.Causal && j > i || mask != nil && mask[b*T+j] == 0 {
						continue
					}
					for c := range d {
						p[j] += qkv[at(i, 0)+c] * qkv[at(j, 1)+c] * scale
					}
					p[j] = math.Exp(p[j])
					sum += p[j]
				}
				w.lse[(b*H+h)*T+i] = math.Log(sum)
				if sum == 0 {
					continue
				}
				oi := (b*T+i)*D + h*d
				for j := range T {
					p[j] /= sum
					for c := range d {
						w.o[oi+c] += p[j] * qkv[at(j, 2)+c]
						w.oBound[oi+c] += p[j] * math.Abs(qkv[at(j, 2)+c])
					}
				}
				delta, deltaBound := 0.0, 0.0
				for c := range d {
					delta += w.o[oi+c] * do[oi+c]
					deltaBound += math.Abs(w.o[oi+c] * do[oi+c])
				}
				for j := range T {
					dp, dpBound := 0.0, 0.0
					for c := range d {
						dp += do[oi+c] * qkv[at(j, 2)+c]
						dpBound += math.Abs(do[oi+c] * qkv[at(j, 2)+c])
					}
					ds, dsBound := p[j]*(dp-delta)*scale, p[j]*(dpBound+deltaBound)*scale
					for c := range d {
						for _, add := range []struct {
							at       int
							by, with float64
							bound    float64
						}{{at(i, 0) + c, ds, qkv[at(j, 1)+c], dsBound}, {at(j, 1) + c, ds, qkv[at(i, 0)+c], dsBound}, {at(j, 2) + c, p[j], do[oi+c], p[j]}} {
							w.dqkv[add.at] += add.by * add.with
							w.dqkvBound[add.at] += add.bound * math.Abs(add.with)
						}
					}
				}
			}
		}
	}
	return w
}

// within compares values with exact ones: the error is at most unit of what bound is, and 1e-6.
func within(t *testing.T, name string, got []float32, want, bound []float64, unit float64) {
	t.Helper()
	for i, v := range got {
		limit := unit*bound[i] + 1e-6
		if e := math.Abs(float64(v) - want[i]); !(e <= limit) && float64(v) != want[i] {
			t.Fatalf("%s: value %d is %v, want %v: the error is %.2g, at most %.2g", name, i, v, want[i], e, limit)
		}
	}
}

// bf16s rounds values to bfloat16, and returns them in float64, too.
func bf16s(x []float32) ([]float32, []float64) {
	exact := make([]float64, len(x))
	for i, v := range x {
		b := math.Float32bits(v)
		x[i] = math.Float32frombits((b + 0x7fff + b>>16&1) &^ 0xffff)
		exact[i] = float64(x[i])
	}
	return x, exact
}

// gpuValues are values on a device, of a type.
func gpuValues(t *cuda.Thread, x []float32, as gpuType) (cuda.Pointer, error) {
	if as == gpuFloat32 {
		p, err := t.Alloc(4 * len(x))
		if err == nil {
			err = cuda.Upload(t, p, x)
		}
		return p, err
	}
	words := make([]int32, (len(x)+1)/2)
	for i, v := range x {
		words[i/2] |= int32(math.Float32bits(v) >> 16 << (i % 2 * 16))
	}
	p, err := t.Alloc(2 * len(x))
	if err == nil && len(x)%2 == 0 {
		err = cuda.Upload(t, p, words)
	}
	return p, err
}

// hostValues reads n values of a type.
func hostValues(t *cuda.Thread, p cuda.Pointer, n int, as gpuType) ([]float32, error) {
	x := make([]float32, n)
	if as == gpuFloat32 {
		return x, cuda.Download(t, x, p)
	}
	words := make([]int32, n/2)
	err := cuda.Download(t, words, p)
	for i := range x {
		x[i] = math.Float32frombits(uint32(words[i/2]) >> (i % 2 * 16) << 16)
	}
	return x, err
}

// attentionOnGPU runs forward and backward with the kernels of a form.
func attentionOnGPU(g *GPU, form attentionForm, s kernel.AttentionShape, do, qkv, mask []float32) (o, lse, dqkv []float32, err error) {
	err = g.device.Do(func(t *cuda.Thread) error {
		var as gpuType
		if form == attentionBF16 {
			as = gpuBF16
		}
		n := s.Batch * s.Tokens * s.Heads * s.HeadDim
		var memory []cuda.Pointer
		defer func() {
			for _, p := range memory {
				t.Free(p)
			}
		}()
		take := func(x []float32, as gpuType) cuda.Pointer {
			p, e := gpuValues(t, x, as)
			if err == nil {
				err = e
			}
			memory = append(memory, p)
			return p
		}
		nan := func(n int) []float32 {
			x := make([]float32, n)
			for i := range x {
				x[i] = float32(math.NaN())
			}
			return x
		}
		stats := s.Batch * s.Heads * s.Tokens
		onQKV, onDO, onMask := take(qkv, as), take(do, as), cuda.Pointer(0)
		if mask != nil {
			onMask = take(mask, gpuFloat32)
		}
		onO, onLSE, onDelta, onDQKV := take(nan(n), as), take(nan(stats), gpuFloat32), take(nan(stats), gpuFloat32), take(nan(3*n), as)
		if err != nil {
			return err
		}
		q := &gpuQueue{gpu: g, thread: t, stream: g.stream, kernels: g.kernels}
		q.attention(form, attentionForward, s, q.args(onO, onLSE, onQKV, onMask))
		q.attention(form, attentionGradQ, s, q.args(onDQKV, onDelta, onDO, onO, onLSE, onQKV, onMask))
		q.attention(form, attentionGradKV, s, q.args(onDQKV, onDelta, onDO, onLSE, onQKV, onMask))
		if q.err != nil {
			return q.err
		}
		if err := g.stream.Sync(); err != nil {
			return err
		}
		if o, err = hostValues(t, onO, n, as); err != nil {
			return err
		}
		if lse, err = hostValues(t, onLSE, stats, gpuFloat32); err != nil {
			return err
		}
		dqkv, err = hostValues(t, onDQKV, 3*n, as)
		return err
	})
	return o, lse, dqkv, err
}

// testAttentionOnGPU compares the kernels of attention, all forms and widths of heads, with the definition. The inputs have the 8 bits of
// bfloat16, so the scores are exact in every form. A form rounds probabilities, their gradients, o and dqkv, each to half of unit.
func testAttentionOnGPU(t *testing.T, g *GPU, seeds int, set func(int)) {
	type test struct {
		tokens, dim int
		causal      bool
		mask        string
	}
	tests := []test{{1, 8, false, ""}, {5, 16, true, "holes"}, {17, 24, false, "tail"}, {64, 64, true, ""}, {65, 32, true, "all"}, {70, 72, false, "tail"},
		{81, 64, false, ""}, {130, 64, true, "holes"}, {66, 128, false, ""}, {99, 104, true, "tail"}, {50, 40, false, "holes"}}
	for _, f := range []struct {
		form attentionForm
		name string
		unit float64
	}{{attentionFloat32, "float32", 0x1p-19}, {attentionTF32, "TF32", 0x1p-10}, {attentionBF16, "BF16", 0x1p-7}} {
		more := tests
		if f.form == attentionFloat32 { // any width
			more = append(more[:len(more):len(more)], test{3, 1, false, ""}, test{67, 5, true, "holes"}, test{20, 31, false, "tail"}, test{18, 126, true, ""})
		}
		for i, tt := range more {
			t.Run(fmt.Sprintf("%s/%+v", f.name, tt), func(t *testing.T) {
				s := kernel.AttentionShape{Batch: 2, Tokens: tt.tokens, Heads: 2, HeadDim: tt.dim, Causal: tt.causal}
				if tt.tokens > 64 {
					s.Batch = 1
				}
				r := rand.New(rand.NewPCG(uint64(i), 7))
				n := s.Batch * s.Tokens * s.Heads * s.HeadDim
				qkv, qkv64 := bf16s(uniform(r, 3*n))
				do, do64 := bf16s(uniform(r, n))
				var mask []float32
				var mask64 []float64
				if tt.mask != "" {
					mask = make([]float32, s.Batch*s.Tokens)
					for i := range mask {
						if at := i % s.Tokens; tt.mask == "tail" && at < s.Tokens*2/3 || tt.mask == "holes" && at%3 != 0 {
							mask[i] = 1
						}
					}
					mask64 = widened(mask)
				}
				want := attentionOracle(do64, qkv64, mask64, s)
				var first []float32
				for seed := range min(seeds, 2) {
					set(seed * 3)
					o, lse, dqkv, err := attentionOnGPU(g, f.form, s, do, qkv, mask)
					must(t, err)
					if seed > 0 {
						sameBits(t, "dqkv", dqkv, first)
						continue
					}
					first = dqkv
					within(t, "o", o, want.o, want.oBound, f.unit)
					within(t, "lse", lse, want.lse, widened(ones(len(lse))), 4e-6)
					within(t, "dqkv", dqkv, want.dqkv, want.dqkvBound, 2*f.unit)
				}
			})
		}
	}
	t.Run("programs", func(t *testing.T) { testAttentionPrograms(t, g) })
	t.Run("NaN", func(t *testing.T) { testAttentionNaNOnGPU(t, g, set) })
}

func ones(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	return x
}

// testAttentionNaNOnGPU puts a NaN into a query: the token's o and lse are NaN, and no other's.
func testAttentionNaNOnGPU(t *testing.T, g *GPU, set func(int)) {
	s := kernel.AttentionShape{Batch: 1, Tokens: 20, Heads: 2, HeadDim: 32}
	D := s.Heads * s.HeadDim
	qkv, _ := bf16s(uniform(rand.New(rand.NewPCG(1, 2)), s.Tokens*3*D))
	qkv[7*3*D+3] = float32(math.NaN())
	for form := range attentionForms {
		set(1)
		o, lse, _, err := attentionOnGPU(g, attentionForm(form), s, make([]float32, s.Tokens*D), qkv, nil)
		must(t, err)
		for i, v := range o {
			if want := i/D == 7 && i%D < s.HeadDim; (v != v) != want {
				t.Fatalf("%s: o[%d] = %v", attentionForms[form].name, i, v)
			}
		}
		for i, v := range lse {
			if (v != v) != (i == 7) {
				t.Fatalf("%s: lse[%d] = %v", attentionForms[form].name, i, v)
			}
		}
	}
}

// testAttentionPrograms runs attention in Programs: with products in TF32, and with values that are stored in different types.
func testAttentionPrograms(t *testing.T, g *GPU) {
	mixed := func(c opCase) opCase { // its result is an output, hence float32
		build := c.build
		c.build = func(b *Builder, in []*Node) *Node {
			return build(b, append([]*Node{b.Scale(in[0], 1)}, in[1:]...))
		}
		return c
	}
	for _, tt := range []struct {
		precision kernel.Precision
		form      func(opCase) opCase
		tol       float64
	}{{kernel.TF32, func(c opCase) opCase { return c }, 4 * 0x1p-10}, {kernel.BF16, mixed, 4 * 0x1p-8}} {
		g := anotherGPU(t, g, GPUConfig{Precision: tt.precision})
		for _, c := range opCases() {
			if !strings.HasPrefix(c.name, "attention/") {
				continue
			}
			t.Run(tt.precision.String()+"/"+c.name, func(t *testing.T) {
				c := tt.form(c)
				c.tol = tt.tol
				d := draw(t, c)
				d.check(t, g, expect(c, d), func(run int) bool { return run == 0 })
			})
		}
	}
	b := NewBuilder()
	o := b.Attention(b.Input("qkv", 4, 3*136), nil, AttentionConfig{Batch: 1, Tokens: 4, Heads: 1})
	_, err := Compile(b, Config{Outputs: []*Node{o}, Backend: g})
	if want := "attention on GPUs: a head has 136 values: want 128 at most"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a head of 136 values: %v, want %q", err, want)
	}
}
