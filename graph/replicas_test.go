package graph

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"relsim/kernel"
)

// forwardEach runs n micro-batches one after the other, and backwardEach all of them
// again, from the last to the first: what Replicas do in other ways.
func forwardEach(p *Program, n int, load func(i int) error, dst []float32) error {
	for i := range n {
		if err := errors.Join(load(i), p.Forward()); err != nil {
			return err
		}
		copy(dst[i*len(dst)/n:], p.Value(p.embedding))
	}
	return nil
}

func backwardEach(p *Program, n int, load func(i int) error, upstream []float32) error {
	defer p.SetAccumulate(p.accumulate)
	for i := n - 1; i >= 0; i-- {
		up := upstream[i*len(upstream)/n : (i+1)*len(upstream)/n]
		if err := errors.Join(load(i), p.Forward(), p.Backward(up)); err != nil {
			return err
		}
		p.SetAccumulate(true)
	}
	return nil
}

// TestReplicas compares every number of Programs and workers with one Program that
// runs the micro-batches one after another: the bits are the same.
func TestReplicas(t *testing.T) {
	const micro, n = 3, 5
	images := uniform(rand.New(rand.NewPCG(9, 9)), micro*n*3*64)
	tw := newTower(micro, 2, 0.2)
	size := operandOf(tw.emb).size()
	config := Config{Embedding: tw.emb, Wrt: tw.b.Params(), Training: true}
	load := func(p *Program, i int) error {
		p.SetSeed(uint64(100 + i))
		return p.SetFloats(tw.images, images[i*micro*192:(i+1)*micro*192])
	}
	v := newValues(tw.b, 1)
	one := mustCompile(t, tw.b, config)
	v.bind(t, tw.b, one)
	embeddings := make([]float32, n*size)
	upstream := uniform(rand.New(rand.NewPCG(4, 2)), n*size)
	loadOne := func(i int) error { return load(one, i) }
	must(t, forwardEach(one, n, loadOne, embeddings))
	must(t, backwardEach(one, n, loadOne, upstream))
	want := v.clone()
	one.SetAccumulate(true)
	must(t, forwardEach(one, n, loadOne, embeddings))
	must(t, backwardEach(one, n, loadOne, upstream))
	twice := v.clone()

	for _, c := range []struct{ programs, workers int }{{1, 1}, {2, 1}, {2, 2}, {3, 2}, {4, 3}, {5, 2}, {5, 5}, {7, 4}} {
		pool := kernel.NewPool(c.workers)
		r, err := CompileReplicas(tw.b, config, c.programs, pool, func(p *Program, _ int) error {
			v.bind(t, tw.b, p)
			return nil
		})
		must(t, err)
		if r.workers != c.workers {
			t.Errorf("%d workers, want %d", r.workers, c.workers)
		}
		forwards := 0
		counted := func(p *Program, i int) error { forwards++; return load(p, i) }
		got := make([]float32, n*size)
		step := func() {
			must(t, r.ForwardEach(n, counted, got))
			must(t, r.BackwardEach(n, counted, upstream))
		}
		step()
		sameBits(t, "embeddings", embeddings, got)
		same := func(want *values) {
			t.Helper()
			for name, g := range want.grad {
				if name != "images" {
					sameBits(t, "gradient of "+name, g, v.grad[name])
				}
			}
		}
		same(want)
		if again := max(0, n-c.programs); forwards != n+again {
			t.Errorf("%+v: %d micro-batches were loaded, want %d and %d again", c, forwards, n, again)
		}
		r.SetAccumulate(true)
		step()
		same(twice)
		if r.ArenaBytes() < c.programs*one.ArenaBytes() {
			t.Errorf("%+v: %d bytes, less than the arenas", c, r.ArenaBytes())
		}
		must(t, r.Close())
		pool.Close()
	}
}

// TestReplicasErrors stops in the middle, and goes on after it.
func TestReplicasErrors(t *testing.T) {
	const n = 6
	tw := newTower(2, 1, 0)
	size := operandOf(tw.emb).size()
	config := Config{Embedding: tw.emb, Wrt: tw.b.Params(), Training: true}
	first := mustCompile(t, tw.b, config)
	second, err := first.Replica(nil)
	must(t, err)
	v := newValues(tw.b, 1)
	v.bind(t, tw.b, second)
	for _, n := range tw.b.Params() { // no places for gradients yet
		must(t, first.SetFloats(n, v.data[n.Name()]))
	}
	r, err := NewReplicas([]*Program{first, second}, 2)
	must(t, err)
	image := make([]float32, 2*192)
	bad := errors.New("bad")
	failAt := func(at int) func(p *Program, i int) error {
		return func(p *Program, i int) error {
			if i == at {
				return bad
			}
			return p.SetFloats(tw.images, image)
		}
	}
	emb := make([]float32, n*size)
	if err := r.BackwardEach(n, failAt(-1), emb); err == nil || !strings.Contains(err.Error(), "no place set") {
		t.Errorf("without places for gradients: %v", err)
	}
	for _, p := range tw.b.Params() {
		must(t, r.SetGrad(p, v.grad[p.Name()]))
	}
	for at := range n {
		if err := r.ForwardEach(n, failAt(at), emb); !errors.Is(err, bad) {
			t.Errorf("load of %d fails: %v", at, err)
		}
	}
	must(t, r.ForwardEach(n, failAt(-1), emb))
	if err := r.BackwardEach(n, failAt(1), emb); !errors.Is(err, bad) {
		t.Errorf("load of 1 fails in the second pass: %v", err)
	}
	func() {
		defer func() {
			if v := recover(); v != "broken" {
				t.Errorf("recovered %v", v)
			}
		}()
		_ = r.ForwardEach(n, func(*Program, int) error { panic("broken") }, emb)
	}()
	must(t, r.ForwardEach(n, failAt(-1), emb))
	must(t, r.BackwardEach(n, failAt(-1), emb))
	for _, err := range []error{r.ForwardEach(n, failAt(-1), emb[1:]), r.BackwardEach(n, failAt(-1), emb[1:]), r.ForwardEach(0, nil, nil)} {
		if err == nil || !strings.Contains(err.Error(), "elements, got") {
			t.Errorf("embeddings of the wrong length: %v", err)
		}
	}
	if names := r.NonFinite(); len(names) != 0 {
		t.Errorf("not finite: %v", names)
	}
	image[0] = float32(math.NaN())
	if names := r.NonFinite(); !slices.Contains(names, "images") {
		t.Errorf("not finite: %v, want images among them", names)
	}
	other := mustCompile(t, tw.b, config)
	for _, c := range []struct {
		programs []*Program
		workers  int
	}{{nil, 1}, {[]*Program{first}, 0}, {[]*Program{first}, 2}, {[]*Program{first, other}, 1}} {
		if _, err := NewReplicas(c.programs, c.workers); err == nil {
			t.Errorf("%d Programs, %d workers: no error", len(c.programs), c.workers)
		}
	}
	if _, err := CompileReplicas(tw.b, config, 2, nil, func(_ *Program, i int) error { return []error{nil, bad}[i] }); !errors.Is(err, bad) {
		t.Errorf("bind of the second fails: %v", err)
	}
	if _, err := CompileReplicas(tw.b, config, 0, nil, nil); err == nil {
		t.Error("no Programs, and no error")
	}
	must(t, r.Close())
	if _, err := first.Replica(nil); err == nil {
		t.Error("a replica of a closed Program")
	}
}

// TestLent: what a Program that the gradients' memory is lent to refuses, and that Replicas
// of it make the gradients of one micro-batch.
func TestLent(t *testing.T) {
	tw := newTower(2, 2, 0.1)
	c := Config{Embedding: tw.emb, Wrt: tw.b.Params(), Training: true}
	v := newValues(tw.b, 1)
	plain := mustCompile(t, tw.b, c)
	v.bind(t, tw.b, plain)
	out := make([]float32, operandOf(tw.emb).size())
	upstream := uniform(rand.New(rand.NewPCG(4, 2)), len(out))
	must(t, errors.Join(plain.Forward(), plain.Backward(upstream)))
	want := v.clone()

	lent := lend(c, false)
	r, err := CompileReplicas(tw.b, lent, 1, nil, func(p *Program, _ int) error {
		for n := range p.leaf {
			must(t, p.SetFloats(n, v.data[n.Name()]))
		}
		if p.ArenaBytes() >= plain.ArenaBytes() {
			t.Errorf("an arena of %d bytes, not smaller than %d", p.ArenaBytes(), plain.ArenaBytes())
		}
		return nil
	})
	must(t, err)
	defer r.Close()
	load := func(p *Program, _ int) error { return nil }
	for range 2 {
		must(t, errors.Join(r.ForwardEach(1, load, out), r.BackwardEach(1, load, upstream)))
		for i, n := range c.Wrt {
			g := lent.Lent[lent.LentAt[i]:][:operandOf(n).size()]
			sameBits(t, n.Name(), g, want.grad[n.Name()])
		}
	}

	refused := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	two := make([]float32, 2*len(out))
	must(t, r.ForwardEach(2, load, two))
	refused(r.BackwardEach(2, load, append(upstream, upstream...)), "lent")
	_, err = r.programs[0].Replica(nil)
	refused(err, "lent")
	refused(r.programs[0].SetGrad(c.Wrt[0], make([]float32, operandOf(c.Wrt[0]).size())), "lent")
	_, err = CompileReplicas(tw.b, lent, 2, nil, func(*Program, int) error { return nil })
	refused(err, "lent")
	for _, tt := range []struct {
		change func(c *Config)
		want   string
	}{
		{func(c *Config) { c.LentAt = c.LentAt[1:] }, "places"},
		{func(c *Config) { c.LentAt[0] = -1 }, "gradient 0"},
		{func(c *Config) { c.LentAt[1] = c.LentAt[0] }, "of the buffer lent"},
		{func(c *Config) { c.Lent = c.Lent[:len(c.Lent)-6] }, "of the buffer lent"},
	} {
		bad := lend(c, false)
		tt.change(&bad)
		_, err := Compile(tw.b, bad)
		refused(err, tt.want)
	}
}
