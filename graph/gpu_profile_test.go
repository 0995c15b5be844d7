//go:build linux && amd64 && !nogpu

package graph

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// testProfile times a layer by its ops.
func testProfile(t *testing.T, g *GPU) {
	const rows, width = 12, 32
	build := func() (*Builder, *Node) {
		b := NewBuilder()
		x := b.Input("x", rows, width)
		for _, name := range []string{"a", "b"} {
			x = b.LayerNorm(x, b.Param(name+".gain", width), b.Param(name+".bias", width), 1e-6)
			x = b.Linear(x, b.Param(name+".w", width, width), b.Param(name+".c", width))
		}
		return b, b.L2Normalize(x, 1e-12)
	}
	b, y := build()
	p := mustCompile(t, b, Config{Backend: g, Embedding: y, Wrt: b.Params()})
	defer p.Close()
	if _, err := p.Profile(1); err == nil || !strings.Contains(err.Error(), "a forward before") {
		t.Errorf("before a forward: %v", err)
	}
	v := newValues(b, 1)
	for name, n := range b.leaves {
		must(t, p.SetFloats(n, v.data[name]))
	}
	for _, n := range b.Params() {
		must(t, p.SetGrad(n, v.grad[n.Name()]))
	}
	must(t, p.Forward())
	must(t, p.Backward(uniform(rand.New(rand.NewPCG(1, 1)), rows*width)))
	times, err := p.Profile(2)
	must(t, err)
	found := func(op string, backward bool) OpTime {
		t.Helper()
		i := slices.IndexFunc(times, func(o OpTime) bool { return strings.HasPrefix(o.Op, op) && o.Backward == backward })
		if i < 0 {
			t.Fatalf("no %s among %+v", op, times)
		}
		return times[i]
	}
	for _, o := range times {
		if len(o.Times) != 2 || o.Count < 1 || !(o.Bytes > 0) {
			t.Errorf("%+v", o)
		}
	}
	product := 2.0 * rows * width * width
	l := found("linear[", false)
	if l.Count != 2 || l.FLOPs != product || l.Op != "linear[(12, 32), (32, 32), (32)]" {
		t.Errorf("%+v, want two products of %v FLOP", l, product)
	}
	if g.config.Precision == 0 && l.Bytes != 4*(2*rows*width+width*width+width) {
		t.Errorf("linear moves %v bytes", l.Bytes)
	}
	if n := found("layerNorm[", false); n.Count != 2 || n.FLOPs != 0 || len(n.Kernels) == 0 || !strings.HasPrefix(n.Kernels[0], "layer_norm") {
		t.Errorf("%+v, want two norms", n)
	}
	if w := found("linearGradW[", true); w.FLOPs != product {
		t.Errorf("%+v, want %v FLOP", w, product)
	}
	if _, err := p.Profile(1); err == nil {
		t.Error("values of a profile are taken for those of a forward")
	}
	host := mustCompile(t, b, Config{Outputs: []*Node{y}})
	defer host.Close()
	if _, err := host.Profile(1); err == nil || !strings.Contains(err.Error(), "on GPUs only") {
		t.Errorf("on the host: %v", err)
	}
}
