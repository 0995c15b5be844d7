package graph

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"relsim/kernel"
)

// drawnPixels are pixels and tables for pictures of a shape, and the values that they stand for: any bits at all.
func drawnPixels(r *rand.Rand, shape ...int) (pixels []byte, tables, values []float32) {
	planes, plane := shape[0]*shape[1], shape[2]*shape[3]
	tables = make([]float32, 256*planes)
	for i := range tables {
		tables[i] = math.Float32frombits(r.Uint32())
	}
	for p := range planes {
		for range plane {
			v := byte(r.Uint32())
			pixels, values = append(pixels, v), append(values, tables[256*p+int(v)])
		}
	}
	return pixels, tables, values
}

// ordinary makes the values numbers of moderate size.
func ordinary(tables, values []float32) {
	for _, s := range [][]float32{tables, values} {
		for i, v := range s {
			s[i] = float32(math.Float32bits(v)%4096)/4096 - 0.5
		}
	}
}

// Pixels and their tables are their values to the bit, also between runs with others.
func TestSetPixels(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	for _, backend := range []Backend{nil, NewCPU(pool)} {
		tw := newTower(4, 1, 0)
		p := mustCompile(t, tw.b, Config{Backend: backend, Embedding: tw.emb, Wrt: tw.b.Params(), Training: true})
		v := newValues(tw.b, 1)
		for name, n := range tw.b.leaves {
			must(t, p.SetFloats(n, v.data[name]))
		}
		for _, n := range p.Wrt() {
			must(t, p.SetGrad(n, v.grad[n.Name()]))
		}
		arena := p.ArenaBytes()
		upstream := uniform(rand.New(rand.NewPCG(1, 1)), operandOf(tw.emb).size())
		run := func() (list [][]float32) {
			must(t, p.Forward())
			list = append(list, slices.Clone(p.Value(tw.emb)), slices.Clone(p.Value(tw.images)))
			must(t, p.Backward(upstream))
			for _, n := range p.Wrt() {
				list = append(list, slices.Clone(v.grad[n.Name()]))
			}
			return list
		}
		r := rand.New(rand.NewPCG(2, 0))
		for range 3 {
			pixels, tables, values := drawnPixels(r, 4, 3, 8, 8)
			ordinary(tables, values)
			must(t, p.SetFloats(tw.images, values))
			want := run()
			must(t, p.SetPixels(tw.images, pixels, tables))
			for i, got := range run() {
				sameBits(t, fmt.Sprint("result ", i), got, want[i])
			}
			if len(p.NonFinite()) != 0 {
				t.Errorf("not finite: %v", p.NonFinite())
			}
			// They are read at each run.
			pixels[0] ^= 0xff
			values[0] = tables[pixels[0]]
			got := run()
			must(t, p.SetFloats(tw.images, values))
			for i, want := range run() {
				sameBits(t, fmt.Sprint("result after a change ", i), got[i], want)
			}
			tables[pixels[0]] = float32(math.NaN())
			must(t, p.SetPixels(tw.images, pixels, tables))
			if names := p.NonFinite(); !slices.Contains(names, "images") {
				t.Errorf("not finite: %v, want the images among them", names)
			}
		}
		if got, want := p.ArenaBytes(), arena+4*4*3*8*8; got != want {
			t.Errorf("%d bytes with memory for the values, want %d", got, want)
		}
		must(t, p.Close())
		if err := p.SetPixels(tw.images, make([]byte, 4*3*8*8), make([]float32, 4*3*256)); err != errClosed {
			t.Errorf("closed: %v", err)
		}
	}
}

func TestSetPixelsRefuses(t *testing.T) {
	b := NewBuilder()
	images, other, four, w := b.Input("images", 2, 3, 4, 4), b.Input("other", 6, 16), b.Input("four", 2, 4, 4, 4), b.Param("w", 2, 3, 4, 4)
	unused, ids := b.Input("unused", 2, 3, 4, 4), b.InputIDs("ids", 96)
	sum := b.Add(images, w)
	p := mustCompile(t, b, Config{Outputs: []*Node{sum, b.Scale(other, 2), b.Scale(four, 2)}})
	pixels, tables := make([]byte, 96), make([]float32, 2*3*256)
	for _, tt := range []struct {
		n      *Node
		pixels []byte
		tables []float32
		want   string
	}{
		{images, pixels[:95], tables, "has 96 elements (2, 3, 4, 4), got 95"},
		{images, nil, tables, "has 96 elements (2, 3, 4, 4), got 0"},
		{images, pixels, tables[:767], "got tables of 767 values, want 2·3·256"},
		{images, pixels, nil, "got tables of 0 values, want 2·3·256"},
		{unused, pixels, nil, "got tables of 0 values, want 2·3·256"},
		{other, pixels, tables, "is (6, 16), want pictures (B, 3, H, W)"},
		{four, make([]byte, 128), tables, "is (2, 4, 4, 4), want pictures (B, 3, H, W)"},
		{w, pixels, tables, "is a parameter"},
		{ids, pixels, tables, "has elements int32"},
		{sum, pixels, tables, "is not an input"},
		{nil, pixels, tables, "node is nil"},
		{NewBuilder().Input("images", 2, 3, 4, 4), pixels, tables, "is of another graph"},
	} {
		err := p.SetPixels(tt.n, tt.pixels, tt.tables)
		if err == nil || !strings.HasPrefix(err.Error(), "graph: set pixels: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	must(t, p.SetPixels(unused, pixels, tables))
	if err := p.Forward(); err == nil || !strings.Contains(err.Error(), `input "images" is not bound`) {
		t.Errorf("%v, though nothing is bound", err)
	}
}
