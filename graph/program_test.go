package graph

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"relsim/kernel"
)

// tower is a small vision transformer.
type tower struct {
	b             *Builder
	images, emb   *Node
	batch, tokens int
}

func newTower(batch, depth int, dropout float64) *tower {
	const width, heads, embed = 16, 2, 8
	b := NewBuilder()
	shape := kernel.ConvShape{
		Batch: batch, InC: 3, InH: 8, InW: 8, OutC: width, KH: 4, KW: 4, StrideH: 4, StrideW: 4, ChannelsFirst: true,
	}
	patches := shape.OutH() * shape.OutW()
	t := &tower{b: b, batch: batch, tokens: patches + 1}
	linear := func(x *Node, name string, in, out int) *Node {
		return b.Linear(x, b.Param(name+".weight", out, in), b.Param(name+".bias", out))
	}
	norm := func(x *Node, name string) *Node {
		return b.LayerNorm(x, b.Param(name+".weight", width), b.Param(name+".bias", width), 1e-6)
	}
	t.images = b.Input("images", batch, 3, 8, 8)
	x := b.Conv2D(t.images, b.Param("patch.weight", width, 3, 4, 4), b.Param("patch.bias", width), shape)
	x = b.AddPosition(b.PrependToken(x, b.Param("cls", width), patches), b.Param("pos", t.tokens, width))
	for l := range depth {
		name := fmt.Sprintf("block%d.", l)
		h := linear(norm(x, name+"norm1"), name+"qkv", width, 3*width)
		h = b.Attention(h, nil, AttentionConfig{Batch: batch, Tokens: t.tokens, Heads: heads})
		x = b.Add(x, b.Dropout(linear(h, name+"out", width, width), dropout))
		h = b.GELU(linear(norm(x, name+"norm2"), name+"fc1", width, 4*width), kernel.GELUErf)
		x = b.Add(x, b.Dropout(linear(h, name+"fc2", 4*width, width), dropout))
	}
	t.emb = b.L2Normalize(linear(b.PoolMean(norm(x, "norm"), t.tokens), "head", width, embed), 1e-12)
	return t
}

// values are the data of a graph's leaves by name, and places for gradients.
type values struct{ data, grad map[string][]float32 }

func newValues(b *Builder, seed uint64) *values {
	v := &values{data: map[string][]float32{}, grad: map[string][]float32{}}
	r := rand.New(rand.NewPCG(seed, 0))
	for _, n := range b.g.AllNodes() {
		if n.Op() == nil && n.Dtype() == tensor.Float32 {
			v.data[n.Name()] = scaled(uniform(r, n.Shape().TotalSize()), 0.5)
			v.grad[n.Name()] = make([]float32, n.Shape().TotalSize())
		}
	}
	return v
}

func (v *values) bind(t testing.TB, b *Builder, p *Program) {
	t.Helper()
	for _, n := range b.leaves {
		if n.Dtype() == tensor.Float32 {
			must(t, p.SetFloats(n, v.data[n.Name()]))
		}
	}
	for _, n := range p.Wrt() {
		must(t, p.SetGrad(n, v.grad[n.Name()]))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustCompile(t testing.TB, b *Builder, c Config) *Program {
	t.Helper()
	p, err := Compile(b, c)
	must(t, err)
	return p
}

func (v *values) clone() *values {
	c := &values{data: map[string][]float32{}, grad: map[string][]float32{}}
	for name := range v.data {
		c.data[name], c.grad[name] = slices.Clone(v.data[name]), slices.Clone(v.grad[name])
	}
	return c
}

// A step of a transformer allocates nothing, on one thread and on two.
func TestNoAllocations(t *testing.T) {
	two := kernel.NewPool(2)
	defer two.Close()
	for _, pool := range []*kernel.Pool{nil, two} {
		eachTier(t, func(t *testing.T) {
			tw := newTower(8, 2, 0.1)
			p := mustCompile(t, tw.b, Config{Backend: NewCPU(pool), Embedding: tw.emb, Wrt: tw.b.Params(), Training: true})
			v := newValues(tw.b, 1)
			v.bind(t, tw.b, p)
			upstream := uniform(rand.New(rand.NewPCG(1, 1)), operandOf(tw.emb).size())
			accumulate := false
			step := func() {
				p.SetSeed(7)
				p.SetAccumulate(accumulate)
				accumulate = !accumulate
				if p.SetFloats(tw.images, v.data["images"]) != nil || p.Forward() != nil || p.Backward(upstream) != nil {
					t.Error("the step failed")
				}
			}
			if n := testing.AllocsPerRun(20, step); n != 0 {
				t.Errorf("%d threads: %v allocations per step", pool.Threads(), n)
			}
		})
	}
}

// Two compilations, any number of threads and any run give the same bits.
func TestDeterminism(t *testing.T) {
	three := kernel.NewPool(3)
	defer three.Close()
	tw := newTower(8, 2, 0.1)
	v := newValues(tw.b, 1)
	upstream := uniform(rand.New(rand.NewPCG(1, 1)), operandOf(tw.emb).size())
	var first *values
	var embedding []float32
	for _, pool := range []*kernel.Pool{nil, three, nil} {
		p := mustCompile(t, tw.b, Config{Backend: NewCPU(pool), Embedding: tw.emb, Wrt: tw.b.Params(), Training: true})
		p.SetSeed(3)
		v.bind(t, tw.b, p)
		for range 2 {
			must(t, p.Forward())
			must(t, p.Backward(upstream))
			if first == nil {
				first, embedding = v.clone(), slices.Clone(p.Value(tw.emb))
			}
			sameBits(t, "embedding", p.Value(tw.emb), embedding)
			for name, g := range first.grad {
				sameBits(t, "gradient of "+name, v.grad[name], g)
			}
		}
	}
}

// Programs are built and run side by side on one pool, each by its goroutine.
func TestSideBySide(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	embeddings := make([][]float32, 6)
	var group sync.WaitGroup
	for i := range embeddings {
		group.Go(func() {
			tw := newTower(4, 1, 0.1)
			p, err := Compile(tw.b, Config{Backend: NewCPU(pool), Embedding: tw.emb, Wrt: tw.b.Params(), Training: true})
			if err != nil {
				t.Error(err)
				return
			}
			v := newValues(tw.b, 1)
			for name, n := range tw.b.leaves {
				err = errors.Join(err, p.SetFloats(n, v.data[name]))
			}
			for _, n := range p.Wrt() {
				err = errors.Join(err, p.SetGrad(n, v.grad[n.Name()]))
			}
			err = errors.Join(err, p.Forward(), p.Backward(v.data["images"][:operandOf(tw.emb).size()]))
			if err != nil {
				t.Error(err)
			}
			embeddings[i] = slices.Concat(p.Value(tw.emb), v.grad["patch.weight"])
		})
	}
	group.Wait()
	for _, e := range embeddings {
		sameBits(t, "embedding and gradient", e, embeddings[0])
	}
}

// Only what is asked for is computed.
func TestPrune(t *testing.T) {
	tw := newTower(2, 1, 0)
	kinds := func(c Config) string {
		var names []string
		for _, s := range mustCompile(t, tw.b, c).plan.steps {
			names = append(names, opName(s.kind))
		}
		return strings.Join(names, " ")
	}
	head := []*Node{tw.b.Param("head.weight", 8, 16)}
	if got, want := kinds(Config{Outputs: []*Node{tw.emb}}), "conv2D prependToken addPosition "+
		"layerNorm linear attention linearAdd layerNorm linearGELU linearAdd layerNorm poolMean linear l2Normalize"; got != want {
		t.Errorf("inference runs %s, want %s", got, want)
	}
	if got, want := kinds(Config{Embedding: tw.emb, Wrt: head}), kinds(Config{Outputs: []*Node{tw.emb}})+
		" l2NormalizeGrad linearGradW"; got != want {
		t.Errorf("training the head runs %s, want %s", got, want)
	}
	if got := kinds(Config{Embedding: tw.emb, Wrt: tw.b.Params()}); strings.Contains(got, "conv2DGradX") || !strings.Contains(got, "conv2DGradW") {
		t.Errorf("training runs %s, with a gradient of the images or without one of the kernels", got)
	}
	if got := kinds(Config{Embedding: tw.emb, Wrt: []*Node{tw.images}}); !strings.Contains(got, "conv2DGradX") || strings.Contains(got, "GradW") {
		t.Errorf("the gradient of the images runs %s", got)
	}
}

// Memory of inference does not grow with depth, and that of training stays far
// below that of all values.
func TestArena(t *testing.T) {
	bytes := func(depth int, train bool) (arena, sum int) {
		tw := newTower(4, depth, 0)
		c := Config{Embedding: tw.emb}
		if train {
			c.Wrt = tw.b.Params()
		}
		p := mustCompile(t, tw.b, c)
		for _, s := range p.plan.slots {
			if s.leaf < 0 {
				sum += 4 * s.size
			}
		}
		return p.ArenaBytes(), sum
	}
	shallow, _ := bytes(2, false)
	if deep, _ := bytes(12, false); deep != shallow {
		t.Errorf("inference of 12 blocks takes %d bytes, of 2 blocks %d", deep, shallow)
	}
	if arena, sum := bytes(12, true); arena > sum*38/100 {
		t.Errorf("training takes %d bytes of %d for all values", arena, sum)
	}
}

// Ops write the gradients of a transformer to the caller themselves.
func TestDirectGradients(t *testing.T) {
	tw := newTower(2, 2, 0)
	p := mustCompile(t, tw.b, Config{Embedding: tw.emb, Wrt: tw.b.Params()})
	for i, s := range p.plan.sinks {
		if !s.direct {
			t.Errorf("the gradient of %s takes a detour", p.wrt[i].Name())
		}
	}
}

// An operand used twice, or again later, is not overwritten.
func TestInPlaceHazards(t *testing.T) {
	b := NewBuilder()
	x, w := b.Input("x", 3, 3), b.Param("w", 3, 3)
	h := b.Linear(x, w, nil)
	twice := b.Add(h, h)
	gelu := b.GELU(h, kernel.GELUErf)
	again := b.Add(b.Scale(h, 2), gelu)
	leaf := b.Scale(x, 3)
	for _, outputs := range [][]*Node{{twice, gelu, again, leaf, h}, {again, leaf}, {h, h, x}} {
		checkPlan(t, b, Config{Outputs: outputs, Embedding: b.Add(again, twice), Wrt: []*Node{x, w}})
	}
}

// Outputs that nobody reads have a place, and views live as long as they are read.
func TestViewsAndUnusedOutputs(t *testing.T) {
	b := NewBuilder()
	qkv, gain, bias := b.Input("qkv", 6, 12), b.Param("gain", 4), b.Param("bias", 4)
	o := b.Attention(b.Scale(qkv, 2), nil, AttentionConfig{Batch: 2, Tokens: 3, Heads: 2}) // o and lse
	h := b.LayerNorm(o, gain, bias, 1e-5)                                                  // in place, unless o is read again
	y := b.Add(b.GELU(h, kernel.GELUErf), o)
	checkPlan(t, b, Config{Outputs: []*Node{y}})
	checkPlan(t, b, Config{Outputs: []*Node{o, h, y}, Embedding: y, Wrt: []*Node{qkv}})
	checkPlan(t, b, Config{Outputs: []*Node{h}, Embedding: h, Wrt: []*Node{bias}}) // dx and dgain are unused
	checkPlan(t, b, Config{Embedding: y, Wrt: []*Node{gain, bias, qkv}})
}

// A gradient that is itself the upstream, or that of two leaves, or of a leaf that
// is the target.
func TestSharedGradients(t *testing.T) {
	b := NewBuilder()
	x, y := b.Param("x", 2, 3), b.Param("y", 2, 3)
	checkPlan(t, b, Config{Embedding: b.Add(x, y), Wrt: []*Node{x, y}})
	checkPlan(t, b, Config{Embedding: b.Scale(b.Add(x, y), 2), Wrt: []*Node{x, y}})
	checkPlan(t, b, Config{Embedding: x, Wrt: []*Node{x}})
	checkPlan(t, b, Config{Outputs: []*Node{y}, Embedding: b.Add(b.Add(x, x), b.Add(x, y)), Wrt: []*Node{x}})
}

// Training belongs to the Program: two Programs of one Builder do not meddle.
func TestDropoutMode(t *testing.T) {
	b := NewBuilder()
	x := b.Input("x", 100, 100)
	y, z := b.Dropout(x, 0.25), b.Dropout(x, 0.25)
	if y == z {
		t.Fatal("two dropouts are one node")
	}
	if b.Dropout(x, 0) != x {
		t.Error("dropout at rate 0 is not the input")
	}
	ones := slices.Repeat([]float32{1}, 10000)
	c := Config{Outputs: []*Node{y, z}, Embedding: y, Wrt: []*Node{x}, Training: true}
	train := mustCompile(t, b, c)
	c.Training = false
	eval := mustCompile(t, b, c)
	grad := make([]float32, 10000)
	for _, p := range []*Program{train, eval} {
		must(t, p.SetFloats(x, ones))
		must(t, p.SetGrad(x, grad))
		must(t, p.Forward())
	}
	sameBits(t, "evaluation", eval.Value(y), ones)
	dropped := func(v []float32) int {
		n := 0
		for _, v := range v {
			switch v {
			case 0:
				n++
			case 1 / float32(0.75):
			default:
				t.Fatalf("%v is neither 0 nor 4/3", v)
			}
		}
		return n
	}
	if n := dropped(train.Value(y)); n < 2300 || n > 2700 {
		t.Errorf("dropped %d of 10000 at rate 0.25", n)
	}
	if slices.Equal(train.Value(y), train.Value(z)) {
		t.Error("two dropouts draw one mask")
	}
	must(t, train.Backward(ones))
	sameBits(t, "gradient", grad, train.Value(y)) // both are the mask
	first := slices.Clone(train.Value(y))
	train.SetSeed(1)
	must(t, train.Forward())
	if slices.Equal(first, train.Value(y)) {
		t.Error("another seed draws the same mask")
	}
	train.SetSeed(0)
	must(t, train.Forward())
	sameBits(t, "same seed", train.Value(y), first)
}

// The micro-batches' gradient, with dropout, is that of holding all of them at
// once, bit for bit; without dropout it is that of the whole batch.
func TestMicroBatches(t *testing.T) {
	const micro, n = 3, 4
	images := uniform(rand.New(rand.NewPCG(9, 9)), micro*n*3*64)
	// the loss couples all rows: ½ Σ_{i,j} (e_i·e_j)²
	lossGradient := func(e []float32, dim int) []float32 {
		rows := len(e) / dim
		gram, up := make([]float32, rows*rows), make([]float32, len(e))
		kernel.Gemm(nil, false, true, rows, rows, dim, e, dim, e, dim, gram, rows, false)
		kernel.Gemm(nil, false, false, rows, dim, rows, gram, rows, e, dim, up, dim, false)
		return scaled(up, 2)
	}
	for _, dropout := range []float64{0, 0.2} {
		tw := newTower(micro, 2, dropout)
		size := operandOf(tw.emb).size()
		config := Config{Embedding: tw.emb, Wrt: tw.b.Params(), Training: true}
		v := newValues(tw.b, 1)
		load := func(p *Program) func(i int) error {
			return func(i int) error {
				p.SetSeed(uint64(100 + i))
				return p.SetFloats(tw.images, images[i*micro*192:(i+1)*micro*192])
			}
		}
		cached := mustCompile(t, tw.b, config)
		v.bind(t, tw.b, cached)
		embeddings := make([]float32, n*size)
		must(t, forwardEach(cached, n, load(cached), embeddings))
		upstream := lossGradient(embeddings, 8)
		must(t, backwardEach(cached, n, load(cached), upstream))
		got := v.clone()

		// all at once: a Program for each micro-batch
		var held []*Program
		for i := range n {
			p := mustCompile(t, tw.b, config)
			v.bind(t, tw.b, p)
			must(t, load(p)(i))
			must(t, p.Forward())
			sameBits(t, "embedding", embeddings[i*size:(i+1)*size], p.Value(tw.emb))
			held = append(held, p)
		}
		for i := n - 1; i >= 0; i-- {
			held[i].SetAccumulate(i < n-1)
			must(t, held[i].Backward(upstream[i*size:(i+1)*size]))
		}
		for name, g := range got.grad {
			if name != "images" {
				sameBits(t, "gradient of "+name, g, v.grad[name])
			}
		}

		// again, over what is there
		must(t, forwardEach(cached, n, load(cached), embeddings))
		must(t, backwardEach(cached, n, load(cached), upstream))
		for name, g := range got.grad {
			sameBits(t, "gradient of "+name+" again", v.grad[name], g)
		}

		// again on top, as SetAccumulate asks
		cached.SetAccumulate(true)
		must(t, forwardEach(cached, n, load(cached), embeddings))
		must(t, backwardEach(cached, n, load(cached), upstream))
		for name, g := range got.grad {
			near(t, "doubled gradient of "+name, v.grad[name], doubled(g), 1e-6)
		}

		if dropout > 0 {
			continue
		}
		whole := newTower(micro*n, 2, 0)
		p := mustCompile(t, whole.b, Config{Embedding: whole.emb, Wrt: whole.b.Params(), Training: true})
		v.data["images"] = images
		v.bind(t, whole.b, p)
		must(t, p.Forward())
		must(t, p.Backward(lossGradient(p.Value(whole.emb), 8)))
		for name, g := range got.grad {
			if name == "images" {
				continue
			}
			exact := make([]float64, len(g))
			for i, x := range v.grad[name] {
				exact[i] = float64(x)
			}
			near(t, "whole batch: gradient of "+name, g, exact, 1e-5)
		}
	}
}

func doubled(g []float32) []float64 {
	d := make([]float64, len(g))
	for i, v := range g {
		d[i] = 2 * float64(v)
	}
	return d
}

// A Builder may be compiled again for other gradients.
func TestCompileTwice(t *testing.T) {
	b := NewBuilder()
	x, w, v := b.Input("x", 2, 3), b.Param("w", 3, 3), b.Param("v", 3, 3)
	y := b.Linear(b.GELU(b.Linear(x, w, nil), kernel.GELUErf), v, nil)
	nodes := len(b.Graph().AllNodes())
	for _, wrt := range [][]*Node{{v}, {w}, {x, w, v}, {v}} {
		checkPlan(t, b, Config{Embedding: y, Wrt: wrt})
	}
	if n := len(b.Graph().AllNodes()); n != nodes {
		t.Errorf("compiling took the graph from %d nodes to %d", nodes, n)
	}
}

// collidingNames finds two names of inputs whose nodes have one hash.
func collidingNames(t *testing.T, shape ...int) (string, string) {
	t.Helper()
	g := gorgonia.NewGraph()
	n := newLeaf(g, "x", tensor.Float32, shape)
	prefix := fmt.Sprintf("%v%v", n.Type(), n.Shape())
	hash := func(name string) uint32 {
		h := fnv.New32a()
		h.Write(append([]byte(prefix+name), 0))
		return h.Sum32()
	}
	if hash("x") != n.Hashcode() {
		t.Fatal("the hash of a node is computed otherwise")
	}
	seen := map[uint32]string{}
	for i := range 1 << 20 {
		name := fmt.Sprintf("input-%d", i*2654435761)
		if other, ok := seen[hash(name)]; ok {
			return other, name
		}
		seen[hash(name)] = name
	}
	t.Fatal("no collision among a million names")
	return "", ""
}

// Two inputs with one hash: Gorgonia takes an op on the one for that on the other.
func TestHashCollision(t *testing.T) {
	one, two := collidingNames(t, 2, 3)
	b := NewBuilder()
	x, y := b.Input(one, 2, 3), b.Input(two, 2, 3)
	if x == y {
		t.Fatal("two inputs are one node")
	}
	sum := b.Add(x, y)
	must(t, b.Err())
	_, err := Compile(b, Config{Outputs: []*Node{sum}})
	if !errors.Is(err, errCollision) || !strings.Contains(err.Error(), one) || !strings.Contains(err.Error(), two) {
		t.Errorf("Compile: %v, want a collision of %q and %q", err, one, two)
	}
	b.Scale(x, 2)
	if b.Scale(y, 2); !errors.Is(b.Err(), errCollision) {
		t.Errorf("the same op on both: %v, want a collision", b.Err())
	}
}

// liar is an op whose hash leaves its attribute out.
type liar struct{ attribute int }

func (k liar) GoString() string    { return "liar" }
func (k liar) operands() []operand { return []operand{floats(2, 3)} }
func (k liar) results() []dims     { return []dims{dimsOf(2, 3)} }
func (k liar) run(*call)           {}

func TestOpCollision(t *testing.T) {
	b := NewBuilder()
	x := b.Input("x", 2, 3)
	b.add(liar{1}, x)
	b.add(liar{1}, x)
	must(t, b.Err())
	if b.add(liar{2}, x); !errors.Is(b.Err(), errCollision) {
		t.Errorf("another op of one hash: %v, want a collision", b.Err())
	}
}

// Every attribute of every op is in its hash.
func TestHashNamesAttributes(t *testing.T) {
	seen := map[uint32]kind{}
	for _, k := range []kind{
		linear{1, 2, 3, true}, linear{1, 2, 3, false}, linear{1, 3, 2, true}, linear{2, 2, 3, true}, linearGradW{1, 2, 3, true},
		layerNorm{2, 3, 1e-5}, layerNorm{2, 3, 1e-6}, layerNorm{2, 3, 1.0000001e-6}, l2Normalize{2, 3, 1e-5},
		gelu{dimsOf(2, 3), kernel.GELUErf}, gelu{dimsOf(2, 3), kernel.GELUTanh}, gelu{dimsOf(3, 2), kernel.GELUErf},
		dropout{dimsOf(2, 3), 0.1, 0}, dropout{dimsOf(2, 3), 0.5, 0}, dropout{dimsOf(2, 3), 0.1, 1},
		attention{shape: kernel.AttentionShape{Batch: 1, Tokens: 2, Heads: 3, HeadDim: 4}},
		attention{shape: kernel.AttentionShape{Batch: 1, Tokens: 2, Heads: 3, HeadDim: 4, Causal: true}},
		attention{shape: kernel.AttentionShape{Batch: 1, Tokens: 2, Heads: 3, HeadDim: 4}, masked: true},
		attention{shape: kernel.AttentionShape{Batch: 1, Tokens: 2, Heads: 4, HeadDim: 3}},
		part{10, 0, 0, dimsOf(5)}, part{10, 1, 5, dimsOf(5)}, part{10, 1, 5, dimsOf(1, 5)},
		unitRows{2, 3, 1e-10}, unitRows{2, 3, 1e-9}, relu{dimsOf(2, 3)}, relu{dimsOf(3, 2)},
		maxPool2D{kernel.PoolShape{Batch: 1, InH: 4, InW: 4, C: 2, K: 3, Stride: 2}},
		maxPool2D{kernel.PoolShape{Batch: 1, InH: 4, InW: 4, C: 2, K: 3, Stride: 2, Ceil: true}},
		maxPool2D{kernel.PoolShape{Batch: 1, InH: 4, InW: 4, C: 2, K: 2, Stride: 3}},
		joinColumns{3, 1, 2}, joinColumns{3, 2, 1}, squaredDistance{1, 2, 3}, squaredDistance{2, 1, 3},
		scale{dimsOf(2, 3), 1}, scale{dimsOf(2, 3), -1}, scale{dimsOf(2, 3), math.SmallestNonzeroFloat32},
	} {
		h := (&op{k}).Hashcode()
		if other, ok := seen[h]; ok {
			t.Errorf("%#v and %#v have one hash", other, k)
		}
		seen[h] = k
	}
}

// A Program runs as a gorgonia.VM, with values bound by gorgonia.Let.
func TestVM(t *testing.T) {
	b := NewBuilder()
	x, ids, w := b.Input("x", 3, 2), b.InputIDs("ids", 4), b.Param("w", 2, 2)
	y := b.Linear(b.Embedding(x, ids), w, nil)
	loss := b.Dot(y, y)
	p := mustCompile(t, b, Config{Outputs: []*Node{y}, Loss: loss, Wrt: []*Node{w}})
	let := func(n *Node, data any) {
		t.Helper()
		must(t, gorgonia.Let(n, tensor.New(tensor.WithShape(n.Shape()...), tensor.WithBacking(data))))
	}
	let(x, []float32{1, 2, 3, 4, 5, 6})
	let(ids, []int32{2, -1, 0, 2})
	let(w, []float32{1, 0, 0, 2})
	grad := make([]float32, 4)
	must(t, p.SetGrad(w, grad))
	var vm gorgonia.VM = p
	must(t, vm.RunAll())
	if got, want := y.Value().Data(), []float32{5, 12, 0, 0, 1, 4, 5, 12}; !slices.Equal(got.([]float32), want) {
		t.Errorf("y = %v, want %v", got, want)
	}
	if got, want := loss.Value().Data().(float32), float32(2*(25+144)+17); got != want {
		t.Errorf("loss = %v, want %v", got, want)
	}
	// dw = 2 yᵀ x
	if want := []float32{2 * (25 + 25 + 1), 2 * (30 + 30 + 2), 2 * (60 + 60 + 4), 2 * (72 + 72 + 8)}; !slices.Equal(grad, want) {
		t.Errorf("dw = %v, want %v", grad, want)
	}
	vm.Reset()
	if p.Value(y) != nil {
		t.Error("a value after Reset")
	}
	must(t, vm.Close())
	must(t, vm.Close())
	if p.Value(y) != nil || p.ArenaBytes() != 0 || p.NonFinite() != nil {
		t.Error("a closed Program has values")
	}
	for _, err := range []error{p.RunAll(), p.Forward(), p.Backward(nil), p.SetFloats(x, nil), p.SetGrad(w, grad)} {
		if !errors.Is(err, errClosed) {
			t.Errorf("closed: %v", err)
		}
	}
}

// The Lisp machine runs the ops forward.
func TestLispMachine(t *testing.T) {
	tw := newTower(2, 1, 0)
	v := newValues(tw.b, 1)
	p := mustCompile(t, tw.b, Config{Outputs: []*Node{tw.emb}})
	v.bind(t, tw.b, p)
	must(t, p.Forward())
	for name, n := range tw.b.leaves {
		must(t, gorgonia.Let(n, tensor.New(tensor.WithShape(n.Shape()...), tensor.WithBacking(v.data[name]))))
	}
	lisp := gorgonia.NewLispMachine(tw.b.Graph(), gorgonia.ExecuteFwdOnly())
	defer lisp.Close()
	must(t, lisp.RunAll())
	sameBits(t, "embedding", tw.emb.Value().Data().([]float32), p.Value(tw.emb))
}

func TestNonFinite(t *testing.T) {
	b := NewBuilder()
	x, w, v := b.Input("x", 1, 2), b.Param("w", 2, 2), b.Param("v", 2, 2)
	y := b.Linear(b.Linear(x, w, nil), v, nil)
	loss := b.Dot(y, y)
	p := mustCompile(t, b, Config{Outputs: []*Node{y, loss}, Loss: loss, Wrt: []*Node{w, v}})
	data := &values{
		data: map[string][]float32{"x": {1, 1}, "w": {1, 0, 0, 1}, "v": {1, 1, 1, 1}},
		grad: map[string][]float32{"w": make([]float32, 4), "v": make([]float32, 4)},
	}
	data.bind(t, b, p)
	step := func() {
		t.Helper()
		must(t, p.Forward())
		must(t, p.Backward(nil))
	}
	step()
	if names := p.NonFinite(); names != nil {
		t.Errorf("finite values: %q", names)
	}
	data.data["w"][0] = float32(math.Inf(1))
	step()
	want := []string{"w", "output 0 linear[(1, 2) (2, 2)]", "loss dot[(1, 2) (1, 2)]", "gradient of w", "gradient of v"}
	if got := p.NonFinite(); !slices.Equal(got, want) {
		t.Errorf("w is infinite: %q, want %q", got, want)
	}
}

func TestErrors(t *testing.T) {
	b := NewBuilder()
	x, ids, at := b.Input("x", 6, 4), b.InputIDs("ids", 3), b.InputIDs("at", 2)
	w := b.Param("w", 4, 4)
	h := b.Linear(b.Add(x, b.PrependToken(b.Embedding(x, ids), b.Param("token", 4), 1)), w, nil)
	emb := b.PoolAt(h, at, 3)
	other := NewBuilder()
	foreign := other.Input("foreign", 1)
	must(t, b.Err())
	grad := make([]float32, 16)
	fresh := func() *Program { return mustCompile(t, b, Config{Embedding: emb, Wrt: []*Node{w}}) }
	p := fresh()
	unusedLeaf := b.Input("unused", 3)
	must(t, p.SetFloats(unusedLeaf, make([]float32, 3)))
	setAll := func(p *Program) {
		must(t, p.SetFloats(x, make([]float32, 24)))
		must(t, p.SetFloats(w, make([]float32, 16)))
		must(t, p.SetFloats(b.Param("token", 4), make([]float32, 4)))
		must(t, p.SetIDs(ids, make([]int32, 3)))
		must(t, p.SetIDs(at, make([]int32, 2)))
	}
	compile := func(c Config) error { _, err := Compile(b, c); return err }
	for _, tt := range []struct {
		name, want string
		err        func() error
	}{
		{"unbound", `graph: forward: input "x" is not bound`, p.Forward},
		{"length", `graph: set floats: "x" has 24 elements (6, 4), got 23`, func() error { return p.SetFloats(x, make([]float32, 23)) }},
		{"ids length", `graph: set ids: "ids" has 3 elements (3), got 2`, func() error { return p.SetIDs(ids, make([]int32, 2)) }},
		{"floats for ids", `graph: set floats: "ids" has elements int32`, func() error { return p.SetFloats(ids, make([]float32, 3)) }},
		{"floats for an op", `graph: set floats: poolAt[(6, 4) (2)] is not an input`, func() error { return p.SetFloats(emb, make([]float32, 8)) }},
		{"floats for nil", `graph: set floats: node is nil`, func() error { return p.SetFloats(nil, nil) }},
		{"floats of another graph", `graph: set floats: "foreign" is of another graph`, func() error { return p.SetFloats(foreign, make([]float32, 1)) }},
		{"gradient not asked for", `graph: set grad: "x" is not among the gradients asked for`, func() error { return p.SetGrad(x, make([]float32, 24)) }},
		{"gradient of nil", `graph: set grad: node is nil`, func() error { return p.SetGrad(nil, nil) }},
		{"gradient length", `graph: set grad: "w" has 16 elements (4, 4), got 1`, func() error { return p.SetGrad(w, make([]float32, 1)) }},
		{"backward first", `graph: backward: no forward before it`, func() error {
			p := fresh()
			setAll(p)
			return p.Backward(make([]float32, 8))
		}},
		{"backward twice", `graph: backward: no forward before it`, func() error {
			p := fresh()
			setAll(p)
			must(t, p.SetGrad(w, grad))
			must(t, p.Forward())
			must(t, p.Backward(make([]float32, 8)))
			return p.Backward(make([]float32, 8))
		}},
		{"backward to nowhere", `graph: backward: no place set for the gradient of "w"`, func() error {
			p := fresh()
			setAll(p)
			must(t, p.Forward())
			return p.Backward(make([]float32, 8))
		}},
		{"upstream length", `graph: backward: gradient of poolAt[(6, 4) (2)] has 8 elements, got 0`, func() error {
			p := fresh()
			setAll(p)
			must(t, p.SetGrad(w, grad))
			must(t, p.Forward())
			return p.Backward(nil)
		}},
		{"backward of inference", `graph: backward: the Program was compiled without gradients`, func() error {
			p := mustCompile(t, b, Config{Outputs: []*Node{emb}})
			setAll(p)
			must(t, p.Forward())
			return p.Backward(nil)
		}},
		{"id too large", `graph: forward: input "ids": index 1 is 6, want -1 ≤ index < 6`, func() error {
			p := fresh()
			setAll(p)
			must(t, p.SetIDs(ids, []int32{-1, 6, 0}))
			return p.Forward()
		}},
		{"position too small", `graph: forward: input "at": index 0 is -1, want 0 ≤ index < 3`, func() error {
			p := fresh()
			setAll(p)
			must(t, p.SetIDs(at, []int32{-1, 0}))
			return p.Forward()
		}},
		{"nothing asked", `graph: compile: no outputs`, func() error { return compile(Config{}) }},
		{"nil output", `graph: compile: output 0 is nil`, func() error { return compile(Config{Outputs: []*Node{nil}}) }},
		{"foreign output", `graph: compile: output 1 is of another graph: "foreign"`, func() error { return compile(Config{Outputs: []*Node{emb, foreign}}) }},
		{"loss is no scalar", `graph: compile: loss poolAt[(6, 4) (2)] is (2, 4), not a scalar`, func() error { return compile(Config{Loss: emb}) }},
		{"two targets", `graph: compile: both a loss and an embedding`, func() error { return compile(Config{Loss: emb, Embedding: emb}) }},
		{"no target", `graph: compile: gradients of neither a loss nor an embedding`, func() error { return compile(Config{Wrt: []*Node{w}}) }},
		{"gradient of an op", `graph: compile: gradient 0: linear[(6, 4) (4, 4)] is not an input of float32`, func() error {
			return compile(Config{Embedding: emb, Wrt: []*Node{h}})
		}},
		{"gradient twice", `graph: compile: gradient 1: "w" is asked for twice`, func() error {
			return compile(Config{Embedding: emb, Wrt: []*Node{w, w}})
		}},
		{"gradient of a stranger", `graph: compile: the gradient of poolAt[(6, 4) (2)] does not depend on "unused"`, func() error {
			return compile(Config{Embedding: emb, Wrt: []*Node{unusedLeaf}})
		}},
		{"foreign op", `graph: compile: `, func() error {
			n, err := gorgonia.Tanh(h)
			must(t, err)
			return compile(Config{Outputs: []*Node{n}})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.err()
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}
