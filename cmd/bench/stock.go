package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"relsim/nn"
)

// source is where initialisers draw from, though their values are replaced.
func source() *rand.Rand { return rand.New(rand.NewPCG(1, 1)) }

// stock is the step of an image encoder written with the ops that come with
// Gorgonia, run by its TapeMachine on gonum's BLAS: forward, InfoNCE, backward.
// The patches of the pictures are cut beforehand, so that no convolution is
// needed. Its loss is right; gradients around Reshape are not (ARCHITECTURE.md,
// section 2), which takes no less time.
type stock struct {
	machine    gorgonia.VM
	loss       *gorgonia.Node
	parameters int
	check      []float64
	last       float64 // seconds of the last step of these
}

func newStock(_ context.Context, j job) (worker, error) {
	m, err := nn.New(*j.Config, j.Vocab, source())
	if err != nil {
		return nil, err
	}
	fillParams(m.Params)
	s := new(stock)
	b := &stockBuilder{g: gorgonia.NewGraph(), params: m.Params, leaves: map[string]*gorgonia.Node{}}
	if s.loss, err = b.build(j); err != nil {
		return nil, err
	}
	for _, leaf := range b.order {
		s.parameters += leaf.Shape().TotalSize()
	}
	if _, err := gorgonia.Grad(s.loss, b.order...); err != nil {
		return nil, fmt.Errorf("stock Gorgonia: %w", err)
	}
	s.machine = gorgonia.NewTapeMachine(b.g)
	for range j.Steps {
		begin := time.Now()
		if err := s.once(); err != nil {
			return nil, err
		}
		s.last = time.Since(begin).Seconds()
		value, ok := s.loss.Value().Data().(float32)
		if !ok {
			return nil, fmt.Errorf("stock Gorgonia: the loss is a %T", s.loss.Value().Data())
		}
		s.check = append(s.check, float64(value))
	}
	return s, nil
}

func (s *stock) once() error {
	s.machine.Reset()
	if err := s.machine.RunAll(); err != nil {
		return fmt.Errorf("stock Gorgonia: %w", err)
	}
	return nil
}

func (s *stock) ready() ready {
	return ready{Parameters: s.parameters, Check: s.check, Seconds: s.last, Path: "TapeMachine, gonum BLAS"}
}

func (s *stock) close() { s.machine.Close() }

// stockBuilder makes the graph. B batch, T tokens, D width, H heads.
type stockBuilder struct {
	g      *gorgonia.ExprGraph
	params *nn.Params
	leaves map[string]*gorgonia.Node
	order  gorgonia.Nodes
}

// leaf returns a parameter of the image encoder in the shape asked for.
func (b *stockBuilder) leaf(name string, shape ...int) *gorgonia.Node {
	if n := b.leaves[name]; n != nil {
		return n
	}
	n := b.input(name, b.params.Lookup("vision."+name).Data, shape...)
	b.leaves[name] = n
	b.order = append(b.order, n)
	return n
}

func (b *stockBuilder) input(name string, data []float32, shape ...int) *gorgonia.Node {
	value := tensor.New(tensor.WithShape(shape...), tensor.WithBacking(data))
	return gorgonia.NewTensor(b.g, tensor.Float32, len(shape), gorgonia.WithShape(shape...), gorgonia.WithName(name), gorgonia.WithValue(value))
}

// build returns the loss. Errors of the ops panic inside and are returned.
func (b *stockBuilder) build(j job) (loss *gorgonia.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("stock Gorgonia: %v", r)
		}
	}()
	v, must := j.Config.Vision, gorgonia.Must
	tokens, patch := v.Tokens(), 3*v.PatchSize*v.PatchSize
	x := b.linear(b.input("patches", patches(j), j.Batch*tokens, patch), "patch_embed.proj", patch, v.Width)
	x = must(gorgonia.Reshape(x, tensor.Shape{j.Batch, tokens * v.Width}))
	x = must(gorgonia.BroadcastAdd(x, b.leaf("pos_embed", 1, tokens*v.Width), nil, []byte{0}))
	x = must(gorgonia.Reshape(x, tensor.Shape{j.Batch * tokens, v.Width}))
	for i := range v.Layers {
		name := fmt.Sprintf("blocks.%d.", i)
		x = must(gorgonia.Add(x, b.attention(b.norm(x, name+"norm1", v.BlockConfig), name+"attn", j.Batch, tokens, v.BlockConfig)))
		h := b.linear(b.norm(x, name+"norm2", v.BlockConfig), name+"mlp.fc1", v.Width, v.MLP)
		x = must(gorgonia.Add(x, b.linear(gelu(h), name+"mlp.fc2", v.MLP, v.Width)))
	}
	x = must(gorgonia.Reshape(b.norm(x, "norm", v.BlockConfig), tensor.Shape{j.Batch, tokens, v.Width}))
	x = b.linear(must(gorgonia.Mean(x, 1)), "head", v.Width, j.Config.EmbedDim)
	norm := must(gorgonia.Reshape(must(gorgonia.Sqrt(must(gorgonia.Sum(must(gorgonia.Square(x)), 1)))), tensor.Shape{j.Batch, 1}))
	x = must(gorgonia.BroadcastHadamardDiv(x, norm, nil, []byte{1}))

	texts := b.input("texts", fixedTexts(j), j.Batch, j.Config.EmbedDim)
	logits := must(gorgonia.HadamardProd(must(gorgonia.Mul(x, must(gorgonia.Transpose(texts, 1, 0)))), constant(1/j.Config.Temperature)))
	eye := make([]float32, j.Batch*j.Batch)
	for i := range j.Batch {
		eye[i*(j.Batch+1)] = 1
	}
	right := must(gorgonia.HadamardProd(must(gorgonia.Log(must(gorgonia.SoftMax(logits, 1)))), b.input("targets", eye, j.Batch, j.Batch)))
	return must(gorgonia.HadamardProd(must(gorgonia.Sum(right)), constant(-1/float64(j.Batch)))), nil
}

func constant(v float64) *gorgonia.Node {
	return gorgonia.NewConstant(float32(v), gorgonia.WithName(fmt.Sprintf("constant %g", v)))
}

// linear maps x (N, in) to (N, out).
func (b *stockBuilder) linear(x *gorgonia.Node, name string, in, out int) *gorgonia.Node {
	w := gorgonia.Must(gorgonia.Transpose(b.leaf(name+".weight", out, in), 1, 0))
	return gorgonia.Must(gorgonia.BroadcastAdd(gorgonia.Must(gorgonia.Mul(x, w)), b.leaf(name+".bias", 1, out), nil, []byte{0}))
}

// norm normalises the rows of x (N, D).
func (b *stockBuilder) norm(x *gorgonia.Node, name string, c nn.BlockConfig) *gorgonia.Node {
	must, column := gorgonia.Must, tensor.Shape{x.Shape()[0], 1}
	x = must(gorgonia.BroadcastSub(x, must(gorgonia.Reshape(must(gorgonia.Mean(x, 1)), column)), nil, []byte{1}))
	variance := must(gorgonia.Reshape(must(gorgonia.Mean(must(gorgonia.Square(x)), 1)), column))
	x = must(gorgonia.BroadcastHadamardDiv(x, must(gorgonia.Sqrt(must(gorgonia.Add(variance, constant(c.NormEps))))), nil, []byte{1}))
	x = must(gorgonia.BroadcastHadamardProd(x, b.leaf(name+".weight", 1, c.Width), nil, []byte{0}))
	return must(gorgonia.BroadcastAdd(x, b.leaf(name+".bias", 1, c.Width), nil, []byte{0}))
}

// gelu is the tanh form of GELU.
func gelu(x *gorgonia.Node) *gorgonia.Node {
	must := gorgonia.Must
	inner := must(gorgonia.Add(x, must(gorgonia.HadamardProd(must(gorgonia.Cube(x)), constant(.044715)))))
	inner = must(gorgonia.Tanh(must(gorgonia.HadamardProd(inner, constant(math.Sqrt(2/math.Pi))))))
	return must(gorgonia.HadamardProd(must(gorgonia.HadamardProd(x, constant(.5))), must(gorgonia.Add(inner, constant(1)))))
}

// attention maps x (B·T, D) to (B·T, D).
func (b *stockBuilder) attention(x *gorgonia.Node, name string, batch, tokens int, c nn.BlockConfig) *gorgonia.Node {
	must, dim := gorgonia.Must, c.Width/c.Heads
	qkv := b.linear(x, name+".qkv", c.Width, 3*c.Width)
	heads := func(i int) *gorgonia.Node { // (B·H, T, D/H)
		part := must(gorgonia.Slice(qkv, nil, gorgonia.S(i*c.Width, (i+1)*c.Width)))
		part = must(gorgonia.Reshape(part, tensor.Shape{batch, tokens, c.Heads, dim}))
		return must(gorgonia.Reshape(must(gorgonia.Transpose(part, 0, 2, 1, 3)), tensor.Shape{batch * c.Heads, tokens, dim}))
	}
	scores := must(gorgonia.BatchedMatMul(heads(0), heads(1), false, true))
	scores = must(gorgonia.HadamardProd(scores, constant(1/math.Sqrt(float64(dim)))))
	scores = must(gorgonia.Reshape(scores, tensor.Shape{batch * c.Heads * tokens, tokens}))
	shares := must(gorgonia.Reshape(must(gorgonia.SoftMax(scores, 1)), tensor.Shape{batch * c.Heads, tokens, tokens}))
	o := must(gorgonia.Reshape(must(gorgonia.BatchedMatMul(shares, heads(2))), tensor.Shape{batch, c.Heads, tokens, dim}))
	o = must(gorgonia.Reshape(must(gorgonia.Transpose(o, 0, 2, 1, 3)), tensor.Shape{batch * tokens, c.Width}))
	return b.linear(o, name+".proj", c.Width, c.Width)
}

// patches returns the pictures of a job as the rows of a matrix, (B·T, 3·P·P),
// each in the order of a convolution's weights.
func patches(j job) []float32 {
	images, v := pictures(j), j.Config.Vision
	side, p, grid := v.ImageSize, v.PatchSize, v.Grid()
	out := make([]float32, 0, len(images))
	for n := range j.Batch {
		for t := range grid * grid {
			for c := range 3 {
				for y := range p {
					at := ((n*3+c)*side+t/grid*p+y)*side + t%grid*p
					out = append(out, images[at:at+p]...)
				}
			}
		}
	}
	return out
}

// stockJob is the smallest fair configuration for stock ops: ViT-Ti/8 with four
// layers and mean pooling, which needs neither convolution nor concatenation.
func stockJob(kind string) job {
	j := modelJob(kind, "vit-ti/8", 32)
	v := &j.Config.Vision
	v.Layers, v.Pool, v.GELU = 4, nn.PoolMean, nn.GELUTanh
	return j
}
