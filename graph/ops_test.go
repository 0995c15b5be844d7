package graph

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"relsim/kernel"
)

// eachTier runs f with the kernels of every tier that this machine has.
func eachTier(t *testing.T, f func(t *testing.T)) {
	for _, tier := range kernel.Tiers() {
		if tier.BF16() {
			continue
		}
		t.Run(tier.String(), func(t *testing.T) {
			restore, err := kernel.SetTier(tier)
			if err != nil {
				t.Fatal(err)
			}
			defer restore()
			f(t)
		})
	}
}

// drawn is a case with values.
type drawn struct {
	b        *Builder
	in       []*Node
	out      *Node
	floats   [][]float32
	ids      [][]int32
	exact    [][]float64
	upstream []float32
	wrt      []*Node
}

func draw(t *testing.T, c opCase) *drawn {
	r := rand.New(rand.NewPCG(1, 2))
	d := &drawn{b: NewBuilder()}
	for i, in := range c.inputs {
		name := fmt.Sprintf("in%d", i)
		var floats []float32
		var ids []int32
		exact := make([]float64, in.size())
		if in.ids != nil {
			d.in = append(d.in, d.b.InputIDs(name, in.shape[0]))
			ids = in.ids(r)
			for j, id := range ids {
				exact[j] = float64(id)
			}
		} else {
			d.in = append(d.in, d.b.Input(name, in.shape...))
			if in.draw == nil {
				in.draw = uniform
			}
			floats = in.draw(r, in.size())
			for j, v := range floats {
				exact[j] = float64(v)
			}
		}
		d.floats, d.ids, d.exact = append(d.floats, floats), append(d.ids, ids), append(d.exact, exact)
		if in.wrt {
			d.wrt = append(d.wrt, d.in[i])
		}
	}
	d.out = c.build(d.b, d.in)
	if err := d.b.Err(); err != nil {
		t.Fatal(err)
	}
	d.upstream = uniform(r, operandOf(d.out).size())
	return d
}

func (d *drawn) config() Config {
	c := Config{Wrt: d.wrt, Embedding: d.out}
	if d.out.IsScalar() {
		c.Embedding, c.Loss = nil, d.out
	}
	return c
}

func (d *drawn) bind(t *testing.T, p *Program) {
	for i, n := range d.in {
		var err error
		if d.ids[i] != nil {
			err = p.SetIDs(n, d.ids[i])
		} else {
			err = p.SetFloats(n, d.floats[i])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// expected are an op's value and gradients by its definition, in float64: these by central differences, at some places.
type expected struct {
	value     []float64
	gradients map[*Node][]float64
	tol       float64
}

func expect(c opCase, d *drawn) expected {
	e := expected{c.oracle(d.exact), map[*Node][]float64{}, cmp.Or(c.tol, 2e-5)}
	for i, n := range d.in {
		if c.inputs[i].wrt {
			e.gradients[n] = numericGradient(c.oracle, d.exact, i, d.upstream, sample(len(d.exact[i])))
		}
	}
	return e
}

// check runs the op on a backend, once for each call of again that returns true, and compares with what is expected.
func (d *drawn) check(t *testing.T, b Backend, e expected, again func(run int) bool) {
	config := d.config()
	config.Backend = b
	p := mustCompile(t, d.b, config)
	defer p.Close()
	d.bind(t, p)
	got := map[*Node][]float32{}
	for _, n := range d.wrt {
		got[n] = make([]float32, operandOf(n).size())
		must(t, p.SetGrad(n, got[n]))
	}
	for run := 0; again(run); run++ {
		must(t, p.Forward())
		near(t, "value", p.Value(d.out), e.value, e.tol)
		must(t, p.Backward(d.upstream))
		for _, n := range d.wrt {
			var picked []float32
			for _, i := range sample(len(got[n])) {
				picked = append(picked, got[n][i])
			}
			near(t, "gradient of "+n.Name(), picked, e.gradients[n], e.tol)
		}
	}
}

// Every op's value against its definition, and its gradients against central
// differences of the definition, both in float64, on every tier and with several
// threads.
func TestOps(t *testing.T) {
	pool := kernel.NewPool(3)
	defer pool.Close()
	for _, c := range opCases() {
		t.Run(c.name, func(t *testing.T) {
			d := draw(t, c)
			e := expect(c, d)
			eachTier(t, func(t *testing.T) {
				for _, pool := range []*kernel.Pool{nil, pool} {
					d.check(t, NewCPU(pool), e, func(run int) bool { return run == 0 })
				}
			})
		})
	}
}

// The ops run under Gorgonia's own tape machine, with gradients by gorgonia.Grad,
// to the same result.
func TestOpsOnTapeMachine(t *testing.T) {
	for _, c := range opCases() {
		t.Run(c.name, func(t *testing.T) {
			d := draw(t, c)
			let := func(n *Node, data any) {
				t.Helper()
				if err := gorgonia.Let(n, tensor.New(tensor.WithShape(n.Shape()...), tensor.WithBacking(data))); err != nil {
					t.Fatal(err)
				}
			}
			for i, n := range d.in {
				if d.ids[i] != nil {
					let(n, d.ids[i])
				} else {
					let(n, d.floats[i])
				}
			}
			cost := d.out
			if !cost.IsScalar() {
				weights := d.b.Input("weights", d.out.Shape()...)
				let(weights, d.upstream)
				cost = d.b.Dot(d.out, weights)
			}
			p, err := Compile(d.b, Config{Loss: cost, Wrt: d.wrt})
			if err != nil {
				t.Fatal(err)
			}
			got := make([][]float32, len(d.wrt))
			for i, n := range d.wrt {
				got[i] = make([]float32, operandOf(n).size())
				if err := p.SetGrad(n, got[i]); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.RunAll(); err != nil {
				t.Fatal(err)
			}
			value := float64(p.Value(cost)[0])

			gradients, err := gorgonia.Grad(cost, d.wrt...)
			if err != nil {
				t.Fatal(err)
			}
			tape := gorgonia.NewTapeMachine(d.b.Graph())
			defer tape.Close()
			if err := tape.RunAll(); err != nil {
				t.Fatal(err)
			}
			near(t, "cost", []float32{cost.Value().Data().(float32)}, []float64{value}, 1e-6)
			for i, g := range gradients {
				want := make([]float64, len(got[i]))
				for j, v := range g.Value().Data().([]float32) {
					want[j] = float64(v)
				}
				near(t, "gradient of "+d.wrt[i].Name(), got[i], want, 1e-6)
			}
		})
	}
}
