//go:build linux && amd64 && !nogpu

package graph

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"relsim/kernel"
)

// halfTolerance is that of a case whose operands are bfloat16 and exact: results are rounded by up to 2⁻⁹ of them, and cases
// have up to four ops one after the other.
const halfTolerance = 4 * 0x1p-9

// exactHalves makes values that bfloat16 has, all different if they are to be: a maximum has no gradient where two are
// the largest.
func exactHalves(x []float32, different bool) {
	seen := map[uint32]bool{}
	for i, v := range x {
		bits := math.Float32bits(v) &^ 0xffff
		for different && seen[bits] {
			bits += 1 << 16
		}
		seen[bits] = true
		x[i] = math.Float32frombits(bits)
	}
}

// inHalves is a case whose operands come from an op and whose result goes to one, so that they may be stored in bfloat16.
func inHalves(c opCase) opCase {
	build := c.build
	c.build = func(b *Builder, in []*Node) *Node {
		moved := make([]*Node, len(in))
		for i, n := range in {
			if moved[i] = n; c.inputs[i].wrt {
				moved[i] = b.Scale(n, 1)
			}
		}
		out := build(b, moved)
		if out == nil || out.IsScalar() {
			return out
		}
		return b.Scale(out, 1)
	}
	return c
}

// testOpsInHalves compares every op with its definition, where values between ops are bfloat16.
func testOpsInHalves(t *testing.T, g *GPU, seeds int, set func(int)) {
	for _, c := range slices.Concat(opCases(), wideCases()) {
		t.Run(c.name, func(t *testing.T) {
			c := inHalves(c)
			c.tol = max(c.tol, halfTolerance)
			d := draw(t, c)
			for i, x := range d.floats {
				exactHalves(x, strings.Contains(c.name, "max"))
				for j, v := range x {
					d.exact[i][j] = float64(v)
				}
			}
			exactHalves(d.upstream, false)
			d.check(t, g, expect(c, d), func(run int) bool { set(run); return run < seeds })
		})
	}
}

// testTowerInHalves compares a transformer with the host's in float32, which other tests hold against oracles. Each product
// and each value that is stored rounds by up to 2⁻⁹, and these add up at random over the depth.
func testTowerInHalves(t *testing.T, g *GPU, seeds int, set func(int)) {
	compareTowers(t, g, min(seeds, 2), set, func(t *testing.T, what string, got, want []float32) {
		limit := 0x1p-5
		if what == "embedding" {
			limit = 0x1p-6
		}
		if what == "gradient of images" { // of no parameter
			return
		}
		if off := distance(got, want); !(off > 0 && off <= limit) {
			t.Errorf("%s: %.2g from that of float32", what, off)
		}
	})
	tw := newTower(8, 2, 0.1)
	p := mustCompile(t, tw.b, Config{Backend: g, Embedding: tw.emb, Wrt: tw.b.Params(), Training: true})
	defer p.Close()
	checkLayout(t, p.plan)
	seen := map[string]bool{}
	for i, s := range p.plan.steps {
		seen[opName(s.kind)] = true
		in := func(j int) bool { return p.plan.slots[s.in[j]].half }
		out := func(j int) bool { return p.plan.slots[s.out[j]].half }
		ok := true
		switch s.kind.(type) {
		case layerNorm:
			ok = !in(0) && out(0)
		case linearGELU:
			ok = in(0) && out(0) && out(1)
		case linearDropoutAdd:
			ok = in(0) && !out(0)
		case attention:
			ok = in(0) && out(0) && !out(1)
		case layerNormGradAdd:
			ok = in(0) && !in(1) && !in(3) && !out(0)
		case attentionGrad:
			ok = in(0) && in(1) && !in(2) && in(3) && out(0)
		}
		if !ok {
			t.Errorf("step %d, %s: operands %v and results %v are stored in the wrong type", i, opName(s.kind), s.in, s.out)
		}
	}
	for _, kind := range []string{"layerNorm", "linearGELU", "linearDropoutAdd", "attention", "layerNormGradAdd", "attentionGrad"} {
		if !seen[kind] {
			t.Errorf("no step is of kind %s: %v", kind, seen)
		}
	}
}

// halvesOnHost lays plans out as the GPU does in bfloat16. They do not run.
type halvesOnHost struct{}

func (halvesOnHost) Name() string { return "nowhere" }
func (halvesOnHost) load(*plan, []float32, *uint64) (engine, error) {
	return &cpuEngine{memory: kernel.NewMemory(0)}, nil
}
func (halvesOnHost) store(p *plan) { (&GPU{config: GPUConfig{Precision: kernel.BF16}}).store(p) }

// TestStorage says which values of blocks before and behind a norm are bfloat16: what an addition reads besides others is
// the residual stream, and is not.
func TestStorage(t *testing.T) {
	b := NewBuilder()
	param := func(name string) *Node { return b.Param(name, 8) }
	x := b.Add(b.Input("x", 4, 8), b.Input("y", 4, 8))
	branch := b.GELU(b.LayerNorm(x, param("gain0"), param("bias0"), 1e-5), kernel.GELUErf)
	x = b.Add(x, branch)
	behind := b.LayerNorm(x, param("gain1"), param("bias1"), 1e-5)
	x = b.Add(behind, b.GELU(behind, kernel.GELUErf))
	out := b.Scale(b.Scale(x, 2), 3)
	p := mustCompile(t, b, Config{Backend: halvesOnHost{}, Outputs: []*Node{out}, apart: true})
	defer p.Close()
	var got []string
	for _, s := range p.plan.steps {
		word := opName(s.kind)
		if p.plan.slots[s.out[0]].half {
			word += " half"
		}
		got = append(got, word)
	}
	want := []string{"add", "layerNorm half", "gelu half", "add", "layerNorm", "gelu half", "add", "scale half", "scale"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestLayoutInHalves lays random graphs out with values of both types.
func TestLayoutInHalves(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	halves, small := 0, 0
	for range 300 {
		data := make([]byte, 120)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		b, c := randomGraph(&choices{data})
		plain := mustCompile(t, b, c)
		c.Backend = halvesOnHost{}
		p := mustCompile(t, b, c)
		checkLayout(t, p.plan)
		for _, s := range p.plan.slots {
			if s.half {
				halves++
			}
		}
		if p.plan.words < plain.plan.words {
			small++
		}
		plain.Close()
		p.Close()
	}
	if halves == 0 || small == 0 {
		t.Errorf("%d values in bfloat16, %d arenas that are smaller", halves, small)
	}
}
