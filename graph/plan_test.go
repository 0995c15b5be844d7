package graph

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gorgonia.org/tensor"

	"relsim/kernel"
)

// choices is a sequence of bytes read as decisions; after its end all are 0.
type choices struct{ data []byte }

func (c *choices) pick(n int) int {
	if len(c.data) == 0 {
		return 0
	}
	b := int(c.data[0])
	c.data = c.data[1:]
	return b % n
}

const randomBatch, randomTokens, randomDim = 2, 3, 4

// randomGraph builds a small graph as the choices say: every value is a matrix of
// (B·T, D), so that any op may follow any other.
func randomGraph(c *choices) (*Builder, Config) {
	const batch, tokens, dim = randomBatch, randomTokens, randomDim
	b := NewBuilder()
	values := []*Node{b.Input("x0", batch*tokens, dim), b.Input("x1", batch*tokens, dim)}
	ids, index, mask := b.InputIDs("ids", batch*tokens), b.InputIDs("index", batch), b.Input("mask", batch, tokens)
	any := func() *Node { return values[c.pick(len(values))] }
	param := func(name string, shape ...int) *Node {
		return b.Param(fmt.Sprintf("%s%d", name, c.pick(2)), shape...)
	}
	for range 3 + c.pick(20) {
		x := any()
		var y *Node
		switch c.pick(20) {
		case 0:
			y = b.Add(x, any())
		case 1:
			y = b.Add(x, x)
		case 2:
			y = b.Scale(x, 0.5)
		case 3:
			y = b.GELU(x, kernel.GELUKind(c.pick(3)))
		case 4:
			y = b.LayerNorm(x, param("gain", dim), param("bias", dim), 1e-5)
		case 5:
			y = b.Linear(x, param("w", dim, dim), param("bias", dim))
		case 6:
			y = b.Linear(x, param("w", dim, dim), nil)
		case 7:
			qkv := b.Linear(x, param("qkv", 3*dim, dim), nil)
			y = b.Attention(qkv, nil, AttentionConfig{Batch: batch, Tokens: tokens, Heads: 2, Causal: c.pick(2) == 0})
		case 8:
			y = b.Dropout(x, 0.4)
		case 9:
			y = b.L2Normalize(x, 1e-6)
		case 10:
			y = b.ColumnScale(x, param("gain", dim))
		case 11:
			y = b.AddPosition(x, param("pos", tokens, dim))
		case 12:
			y = b.Transpose(b.GELU(b.Transpose(x), kernel.GELUErf))
		case 13:
			y = b.ScaleExp(x, param("s", 1))
		case 14:
			y = b.AddScalar(x, param("s", 1))
		case 15:
			y = b.Embedding(x, ids)
		case 16: // a row of each sequence, added to all its rows
			row := []*Node{b.PoolFirst(x, tokens), b.PoolMean(x, tokens), b.PoolAt(x, index, tokens)}[c.pick(3)]
			y = b.Add(x, b.Embedding(row, spreadIDs(b)))
		case 17:
			y = b.Attention(b.Linear(x, param("qkv", 3*dim, dim), param("long", 3*dim)), mask, AttentionConfig{Batch: batch, Tokens: tokens, Heads: 1})
		case 18:
			y = b.AddPosition(b.Embedding(b.PoolMaskedMean(x, mask), spreadIDs(b)), param("pos", tokens, dim))
		case 19:
			y = b.AddColumns(x, b.Linear(any(), param("narrow", 2, dim), nil), c.pick(3))
		}
		values = append(values, y)
	}
	config := Config{Training: c.pick(2) == 0}
	for range c.pick(4) {
		config.Outputs = append(config.Outputs, any())
	}
	target := values[len(values)-1]
	switch c.pick(4) {
	case 0, 1:
		config.Embedding = target
	case 2:
		config.Loss = b.Dot(target, any())
	case 3:
		config.Loss = b.CrossEntropy(target, b.Input("targets", batch*tokens, dim))
	}
	target = config.target()
	for n := range differentiableAncestors(target) {
		if n.Op() == nil {
			config.Wrt = append(config.Wrt, n)
		}
	}
	slices.SortFunc(config.Wrt, byID)
	config.Wrt = slices.DeleteFunc(config.Wrt, func(*Node) bool { return c.pick(4) == 3 })
	for range c.pick(4) {
		b.Checkpoint(any())
	}
	config.Checkpoint = c.pick(2) == 0
	return b, config
}

// spreadIDs says for each row which sequence it is of.
func spreadIDs(b *Builder) *Node {
	if n := b.leaves["spread"]; n != nil {
		return n
	}
	return b.InputIDs("spread", randomBatch*randomTokens)
}

// naive runs nodes on memory of their own, one after another as they are asked
// for: an executor that has no plan.
type naive struct {
	leaf func(name string) ([]float32, []int32)
	seed uint64
	done map[*Node]*call
}

func (e *naive) value(n *Node) []float32 {
	k, _ := kindOf(n)
	if k == nil {
		floats, _ := e.leaf(n.Name())
		return floats
	}
	if view, ok := k.(part); ok {
		return e.run(children(n)[0]).out[view.index]
	}
	return e.run(n).out[0]
}

func (e *naive) run(n *Node) *call {
	if c := e.done[n]; c != nil {
		return c
	}
	k, _ := kindOf(n)
	c := newCall(len(k.operands()), len(k.results()), nil, &e.seed)
	for i, in := range children(n) {
		if in.Dtype() == tensor.Int32 {
			_, c.ids[i] = e.leaf(in.Name())
		} else {
			c.in[i] = slices.Clone(e.value(in))
		}
	}
	for i, r := range k.results() {
		c.out[i] = make([]float32, r.size())
	}
	k.run(c)
	e.done[n] = c
	return c
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s[%d] = %v, want %v", what, i, got[i], want[i])
		}
	}
}

// lend gives the gradients places in one buffer, with gaps between some of them, in the
// order of Wrt or against it.
func lend(c Config, backwards bool) Config {
	c.LentAt = make([]int, len(c.Wrt))
	end := 5
	for j := range c.Wrt {
		i := j
		if backwards {
			i = len(c.Wrt) - 1 - j
		}
		c.LentAt[i] = end
		end += operandOf(c.Wrt[i]).size() + j%3
	}
	c.Lent = make([]float32, end+3)
	return c
}

// checkPlan compares Programs with the naive executor, bit for bit: one with memory of its
// own, and two that the buffer of the gradients is lent to. It returns how many values
// lie there.
func checkPlan(t *testing.T, b *Builder, c Config) (lent int) {
	t.Helper()
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	checkProgram(t, b, c)
	if len(c.Wrt) == 0 {
		return 0
	}
	return checkProgram(t, b, lend(c, false)) + checkProgram(t, b, lend(c, true))
}

func checkProgram(t *testing.T, b *Builder, c Config) (lent int) {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	floats, ids := map[string][]float32{}, map[string][]int32{}
	p, err := Compile(b, c)
	if err != nil {
		t.Fatal(err)
	}
	checkLayout(t, p.plan)
	const seed = 99
	p.SetSeed(seed)
	for _, n := range b.g.AllNodes() {
		switch {
		case n.Op() != nil:
			continue
		case n.Name() == "spread":
			for i := range n.Shape()[0] {
				ids[n.Name()] = append(ids[n.Name()], int32(i/randomTokens))
			}
			err = p.SetIDs(n, ids[n.Name()])
		case n.Dtype() == tensor.Int32:
			for range n.Shape()[0] {
				ids[n.Name()] = append(ids[n.Name()], int32(r.IntN(randomTokens)))
			}
			err = p.SetIDs(n, ids[n.Name()])
		default:
			floats[n.Name()] = uniform(r, n.Shape().TotalSize())
			if n.Name() == "mask" {
				for i, v := range floats["mask"] {
					floats["mask"][i] = float32(math.Round(float64(v+1) / 2))
				}
			}
			err = p.SetFloats(n, floats[n.Name()])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if t := c.target(); t != nil {
		floats[upstreamName] = []float32{1}
		if c.Embedding != nil {
			floats[upstreamName] = uniform(r, operandOf(t).size())
		}
	}
	before := map[string][]float32{}
	for name, v := range floats {
		before[name] = slices.Clone(v)
	}

	results, gradients, _, err := c.build(nil)
	if err != nil {
		t.Fatal(err)
	}
	oracle := &naive{
		leaf: func(name string) ([]float32, []int32) { return floats[name], ids[name] },
		seed: seed,
		done: map[*Node]*call{},
	}
	checkOutputs := func(when string) {
		t.Helper()
		for i, n := range c.results() {
			sameBits(t, fmt.Sprintf("%s: output %d", when, i), p.Value(n), oracle.value(results[i]))
		}
	}
	grads := make([][]float32, len(c.Wrt))
	for i, n := range c.Wrt {
		if c.Lent != nil {
			grads[i] = c.Lent[c.LentAt[i]:][:operandOf(n).size()]
			continue
		}
		grads[i] = uniform(r, operandOf(n).size())
		if err := p.SetGrad(n, grads[i]); err != nil {
			t.Fatal(err)
		}
	}
	gaps := slices.Repeat([]bool{true}, len(c.Lent))
	for i, at := range c.LentAt {
		for j := range grads[i] {
			gaps[at+j] = false
		}
	}
	for _, accumulate := range []bool{false, true, false} {
		if c.Lent != nil && accumulate {
			continue
		}
		for _, memory := range [][]float32{p.engine.(*cpuEngine).arena, c.Lent} {
			for i := range memory {
				memory[i] = float32(math.NaN()) // nothing reads what was not written in this step
			}
		}
		p.SetAccumulate(accumulate)
		if err := p.Forward(); err != nil {
			t.Fatal(err)
		}
		checkOutputs("forward")
		if len(c.Wrt) == 0 {
			continue
		}
		var want [][]float32
		for i, g := range gradients {
			v := slices.Clone(oracle.value(g))
			for j := range v {
				if accumulate {
					v[j] += grads[i][j]
				}
			}
			want = append(want, v)
		}
		if err := p.Backward(floats[upstreamName]); err != nil {
			t.Fatal(err)
		}
		checkOutputs("backward")
		for i, n := range c.Wrt {
			sameBits(t, fmt.Sprintf("accumulate=%v: gradient of %s", accumulate, n.Name()), grads[i], want[i])
		}
	}
	for name, v := range floats {
		sameBits(t, "input "+name+" afterwards", v, before[name])
	}
	for i, gap := range gaps {
		if gap && !math.IsNaN(float64(c.Lent[i])) {
			t.Errorf("element %d of the buffer lent is of no gradient and has been written", i)
		}
	}
	for _, s := range p.plan.slots {
		if s.lent {
			lent++
		}
	}
	return lent
}

// checkLayout fails unless values that live at one time have memory of their own,
// but for an output that takes the place of an operand which the op may overwrite,
// which has its size and type, and which the op has once. A slot that no step writes, because
// fusing removed the step, is no value.
func checkLayout(t *testing.T, p *plan) {
	t.Helper()
	def, last := slices.Repeat([]int{-1}, len(p.slots)), make([]int, len(p.slots))
	for i, s := range p.steps {
		for _, in := range s.in {
			last[in] = i
		}
		for _, out := range s.out {
			def[out], last[out] = i, i
		}
	}
	for _, s := range p.outputs {
		last[s] = len(p.steps)
	}
	for a, x := range p.slots {
		for b, y := range p.slots[:a] {
			if x.leaf >= 0 || y.leaf >= 0 || def[a] < 0 || def[b] < 0 || x.lent != y.lent || x.offset >= y.offset+y.words() || y.offset >= x.offset+x.words() {
				continue
			}
			first, second := a, b
			if def[first] > def[second] {
				first, second = second, first
			}
			if last[first] < def[second] {
				continue
			}
			s := p.steps[def[second]]
			k, ok := s.kind.(inPlacer)
			operand := slices.Index(s.in, first)
			if last[first] != def[second] || def[first] == def[second] || !ok || operand < 0 ||
				!slices.Contains(k.inPlace(), operand) || count(s.in, first) != 1 || s.out[0] != second ||
				x.size != y.size || x.half != y.half || x.offset != y.offset {
				t.Errorf("%#v puts %+v over %+v, which lives from step %d to %d", s.kind, p.slots[second], p.slots[first], def[first], last[first])
			}
		}
	}
	for i, s := range p.slots {
		end := p.words
		if s.lent {
			end = p.lent
		}
		if s.leaf < 0 && (s.offset < 0 || s.offset%lineWords != 0 || s.offset+s.words() > end) {
			t.Errorf("slot %d %+v is out of its memory of %d", i, s, end)
		}
		if !s.lent {
			continue
		}
		for j, k := range p.sinks {
			low, high := k.offset, k.offset+p.slots[k.slot].size
			if s.offset < high && low < s.offset+s.words() && k.step >= 0 && k.step <= last[i] {
				t.Errorf("slot %d %+v lives to step %d in the place of gradient %d, computed by step %d", i, s, last[i], j, k.step)
			}
		}
	}
}

// The smallest window that fits is taken, neighbours join, and the arena grows from
// a free end.
func TestArenaWindows(t *testing.T) {
	var a arena
	for i, want := range []int{0, 112, 128, 192} { // 7 lines, 1, 4 and 1
		if got := a.alloc([]int{100, 16, 64, 1}[i]); got != want {
			t.Fatalf("window %d is at %d, want %d", i, got, want)
		}
	}
	a.release(0, 100)
	a.release(128, 64)
	if got := a.alloc(50); got != 128 {
		t.Errorf("64 words are at %d, want 128, the best fit", got)
	}
	a.release(112, 16)
	if got := a.alloc(128); got != 0 {
		t.Errorf("128 words are at %d, want 0, where two windows joined", got)
	}
	a.release(192, 1)
	if got := a.alloc(48); got != 192 || a.top != 240 {
		t.Errorf("48 words are at %d below %d, want 192 below 240: the end grows", got, a.top)
	}
	a.release(128, 50)
	a.release(0, 128)
	a.release(192, 48)
	if len(a.free) != 1 || a.free[0] != (window{0, 240}) {
		t.Errorf("all is free: %v", a.free)
	}
}

// An op that may overwrite an operand gives the same bits when it does, at sizes
// where kernels work piece by piece.
func TestInPlaceKinds(t *testing.T) {
	pool := kernel.NewPool(3)
	defer pool.Close()
	const rows, cols = 130, 300
	d := dimsOf(rows, cols)
	for _, k := range []inPlacer{
		layerNorm{rows, cols, 1e-5}, layerNormGrad{rows, cols, 1e-5}, layerNormGradX{rows, cols, 1e-5},
		layerNormGradAdd{layerNormGrad{rows, cols, 1e-5}}, layerNormGradXAdd{layerNormGradX{rows, cols, 1e-5}}, l2Normalize{rows, cols, 1e-5}, l2NormalizeGrad{rows, cols, 1e-5},
		gelu{d, kernel.GELUErf}, geluGrad{d, kernel.GELUErf}, gelu{d, kernel.GELUTanh}, geluGrad{d, kernel.GELUTanh},
		gelu{d, kernel.GELUQuick}, geluGrad{d, kernel.GELUQuick}, addPosition{rows / 10, 10, cols}, meanWeights{rows, cols},
		add{d}, scale{d, 3}, scaleExp{d}, addScalar{d}, times{d}, columnScale{rows, cols}, columnScaleGrad{rows, cols},
		addColumns{rows, cols, 0, cols}, dropout{d, 0.5, 1}, crossEntropyGrad{rows, cols}, sigmoidLossGrad{rows, cols},
		relu{d}, reluGrad{d}, unitRows{rows, cols, 1e-10}, unitRowsGrad{rows, cols, 1e-10}, squaredDistanceGrad{2, rows / 2, cols},
		linearAdd{linear{rows, 50, cols, true}}, linearDropoutAdd{linear{rows, 50, cols, false}, 0.5, 1},
	} {
		t.Run(opName(k), func(t *testing.T) {
			eachTier(t, func(t *testing.T) {
				fresh := func() *call {
					r := rand.New(rand.NewPCG(1, 2))
					c := newCall(len(k.operands()), len(k.results()), pool, new(uint64))
					for i, in := range k.operands() {
						c.in[i] = uniform(r, in.size())
					}
					for i, out := range k.results() {
						c.out[i] = make([]float32, out.size())
					}
					return c
				}
				want := fresh()
				k.run(want)
				for _, operand := range k.inPlace() {
					got := fresh()
					got.out[0] = got.in[operand]
					k.run(got)
					for i := range got.out {
						sameBits(t, fmt.Sprintf("over operand %d: result %d", operand, i), got.out[i], want.out[i])
					}
				}
			})
		})
	}
}

// Random graphs: the planned Program computes what the naive executor does.
func TestRandomPlans(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	lent := 0
	for i := range 400 {
		data := make([]byte, 200)
		for j := range data {
			data[j] = byte(r.Uint32())
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			b, c := randomGraph(&choices{data})
			lent += checkPlan(t, b, c)
		})
	}
	if lent < 400 {
		t.Errorf("%d values in the place of gradients: nothing is tested", lent)
	}
}

func FuzzPlan(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x05\x00\x07\x01\x02\x05\x03\x10\x04\x01\x08"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, c := randomGraph(&choices{data})
		checkPlan(t, b, c)
	})
}
