package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"relsim/graph"
	"relsim/kernel"
	"relsim/loss"
)

// kernels times a group of kernels, each beside the limit that binds it.
type kernels struct {
	pool  *kernel.Pool
	cases []kernelCase
	last  []part
	ends  []func()
}

// kernelCase is one kernel on one shape.
type kernelCase struct {
	name, pass string
	flops      float64 // of the matrix products, or
	bytes      float64 // read and written, each operand once
	run        func()
}

// groups are the kernels by name.
var groups = map[string]func(k *kernels) error{
	"linear-vit-b":  linearGroup(1576, 768, 3072),
	"linear-vit-s":  linearGroup(1576, 384, 1536),
	"linear-vit-ti": linearGroup(1576, 192, 768),
	"linear-demo":   linearGroup(4096, 96, 192),
	"conv":          convGroup,
	"attention":     attentionGroup,
	"rows":          rowGroup,
	"loss":          lossGroup,
}

func newKernels(_ context.Context, j job) (worker, error) {
	make, ok := groups[j.Group]
	if !ok {
		return nil, fmt.Errorf("kernels: unknown group %q", j.Group)
	}
	k := &kernels{pool: kernel.NewPool(j.Threads)}
	if err := make(k); err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}

// once measures the limit and the kernel, one after the other.
func (k *kernels) once() error {
	k.last = k.last[:0]
	for _, c := range k.cases {
		c.run() // its operands are as near as they get
		p := part{Name: c.name, Pass: c.pass, Unit: "FLOP/s"}
		amount := c.flops
		if c.flops > 0 {
			p.Limit = peakSpeed(k.pool, 10*time.Millisecond)
		} else {
			p.Unit, amount = "B/s", c.bytes
			p.Limit = copySpeed(k.pool, c.bytes)
			c.run()
		}
		p.Speed = amount / timed(25*time.Millisecond, c.run)
		if c.flops > 0 {
			p.Limit = max(p.Limit, peakSpeed(k.pool, 10*time.Millisecond))
		}
		k.last = append(k.last, p)
	}
	return nil
}

func (k *kernels) parts() []part { return k.last }
func (k *kernels) ready() ready  { return ready{Path: kernel.Active().String()} }
func (k *kernels) close() {
	for _, f := range slices.Backward(k.ends) {
		f()
	}
	k.pool.Close()
}

// copySpeed returns the bytes a second, read and written, of copying between
// operands that take as much memory as a kernel's.
func copySpeed(p *kernel.Pool, bytes float64) float64 {
	n := max(int(bytes)/8, 1024)
	a, b := make([]float32, n), make([]float32, n)
	copyAll(p, b, a)
	return 8 * float64(n) / timed(15*time.Millisecond, func() { copyAll(p, b, a) })
}

func (k *kernels) add(name, pass string, flops, bytes float64, run func()) {
	k.cases = append(k.cases, kernelCase{name, pass, flops, bytes, run})
}

// random returns n numbers in ±1.
func random(n int) []float32 {
	x := make([]float32, n)
	fill(x, fmt.Sprint(n), 1, 0)
	return x
}

// linearGroup is the four layers of a transformer's block, in three passes.
func linearGroup(rows, width, mlp int) func(k *kernels) error {
	return func(k *kernels) error {
		for _, l := range blockShapes(width, mlp) {
			x, w, y, bias := random(rows*l.in), random(l.in*l.out), random(rows*l.out), random(l.out)
			dx, dw, dbias := make([]float32, len(x)), make([]float32, len(w)), make([]float32, l.out)
			flops := 2 * float64(rows) * float64(l.in) * float64(l.out)
			name := fmt.Sprintf("%s %d→%d, %d rows", l.name, l.in, l.out, rows)
			k.add(name, forward, flops, 0, func() { kernel.Linear(k.pool, y, x, w, bias, rows, l.in, l.out) })
			k.add(name, gradX, flops, 0, func() { kernel.LinearGradX(k.pool, dx, y, w, rows, l.in, l.out) })
			k.add(name, gradW, flops, 0, func() { kernel.LinearGradW(k.pool, dw, dbias, y, x, rows, l.in, l.out) })
		}
		return nil
	}
}

// blockShape is a linear layer of a transformer's block.
type blockShape struct {
	name    string
	in, out int
}

// blockShapes are the layers of a block: width to three times that, width to
// width, and to and from the MLP.
func blockShapes(width, mlp int) []blockShape {
	return []blockShape{{"qkv", width, 3 * width}, {"proj", width, width}, {"fc1", width, mlp}, {"fc2", mlp, width}}
}

// The columns of the tables of kernels.
const (
	forward = "forward"
	gradX   = "input gradient"
	gradW   = "weight gradient"
)

// convGroup is the demo's stem, and the patches of a ViT.
func convGroup(k *kernels) error {
	for _, c := range []kernel.ConvShape{
		{Batch: 64, InC: 3, InH: 64, InW: 64, OutC: 24, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadH: 1, PadW: 1, ChannelsFirst: true},
		{Batch: 64, InC: 24, InH: 32, InW: 32, OutC: 48, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadH: 1, PadW: 1},
		{Batch: 64, InC: 48, InH: 16, InW: 16, OutC: 48, KH: 3, KW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1},
		{Batch: 64, InC: 48, InH: 16, InW: 16, OutC: 96, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadH: 1, PadW: 1},
		{Batch: 64, InC: 96, InH: 8, InW: 8, OutC: 96, KH: 3, KW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1},
		{Batch: 8, InC: 3, InH: 224, InW: 224, OutC: 768, KH: 16, KW: 16, StrideH: 16, StrideW: 16, ChannelsFirst: true},
	} {
		outH, outW := (c.InH+2*c.PadH-c.KH)/c.StrideH+1, (c.InW+2*c.PadW-c.KW)/c.StrideW+1
		window := c.InC * c.KH * c.KW
		x, w, bias := random(c.Batch*c.InC*c.InH*c.InW), random(c.OutC*window), random(c.OutC)
		y := random(c.Batch * outH * outW * c.OutC)
		dx, dw, dbias := make([]float32, len(x)), make([]float32, len(w)), make([]float32, c.OutC)
		flops := 2 * float64(len(y)) * float64(window)
		name := fmt.Sprintf("%d→%d, %d², window %d, stride %d, batch %d", c.InC, c.OutC, c.InH, c.KH, c.StrideH, c.Batch)
		k.add(name, forward, flops, 0, func() { kernel.Conv2D(k.pool, y, x, w, bias, c) })
		if !c.ChannelsFirst { // nobody needs the gradient of the pictures
			k.add(name, gradX, flops, 0, func() { kernel.Conv2DGradX(k.pool, dx, y, w, c) })
		}
		k.add(name, gradW, flops, 0, func() { kernel.Conv2DGradW(k.pool, dw, dbias, y, x, c) })
	}
	return nil
}

// attentionGroup counts two products forward and five backward, where the
// probabilities are computed again.
func attentionGroup(k *kernels) error {
	for _, s := range []kernel.AttentionShape{
		{Batch: 64, Tokens: 64, Heads: 4, HeadDim: 24},
		{Batch: 64, Tokens: 65, Heads: 3, HeadDim: 64},
		{Batch: 8, Tokens: 197, Heads: 12, HeadDim: 64},
		{Batch: 8, Tokens: 77, Heads: 8, HeadDim: 64},
		{Batch: 2, Tokens: 1025, Heads: 6, HeadDim: 64},
	} {
		n := s.Batch * s.Tokens * s.Heads * s.HeadDim
		qkv, o, lse := random(3*n), random(n), make([]float32, s.Batch*s.Heads*s.Tokens)
		do, dqkv := random(n), make([]float32, 3*n)
		product := 2 * float64(n) * float64(s.Tokens)
		name := fmt.Sprintf("%d tokens, %d heads of %d, batch %d", s.Tokens, s.Heads, s.HeadDim, s.Batch)
		k.add(name, forward, 2*product, 0, func() { kernel.Attention(k.pool, o, lse, qkv, nil, s) })
		k.add(name, gradX, 5*product, 0, func() { kernel.AttentionGrad(k.pool, dqkv, do, o, lse, qkv, nil, s) })
	}
	return nil
}

// rowGroup is what goes element by element or row by row, at the sizes of
// ViT-B/16 with a batch of 8.
func rowGroup(k *kernels) error {
	const rows, width, mlp, params = 1576, 768, 3072, 16 << 20
	x, y, dy := random(rows*mlp), random(rows*mlp), random(rows*mlp)
	gain, bias, dgain, dbias := random(width), random(width), make([]float32, width), make([]float32, width)
	k.add("GELU erf, 1,576 × 3,072", forward, 0, 2*4*rows*mlp, func() { kernel.GELU(k.pool, kernel.GELUErf, y, x) })
	k.add("GELU erf, 1,576 × 3,072", gradX, 0, 3*4*rows*mlp, func() { kernel.GELUGrad(k.pool, kernel.GELUErf, y, x, dy) })
	nx, ny, ndy := x[:rows*width], y[:rows*width], dy[:rows*width]
	k.add("layer norm, 1,576 × 768", forward, 0, 2*4*rows*width, func() { kernel.LayerNorm(k.pool, ny, nx, gain, bias, rows, width, 1e-6) })
	k.add("layer norm, 1,576 × 768", gradX, 0, 3*4*rows*width, func() {
		kernel.LayerNormGrad(k.pool, ny, dgain, dbias, ndy, nx, gain, rows, width, 1e-6)
	})
	k.add("softmax, 1,576 × 3,072", forward, 0, 2*4*rows*mlp, func() { kernel.Softmax(k.pool, y, x, rows, mlp) })
	k.add("softmax, 1,576 × 3,072", gradX, 0, 3*4*rows*mlp, func() { kernel.SoftmaxGrad(k.pool, y, dy, x, rows, mlp) })
	k.add("sum of two, 1,576 × 768", forward, 0, 3*4*rows*width, func() { kernel.Add(k.pool, ny, nx, ndy) })
	w, g, m, v := random(params), random(params), make([]float32, params), make([]float32, params)
	adam := kernel.AdamWStep{LR: 1e-6, Beta1: .9, Beta2: .98, Eps: 1e-8, WeightDecay: .05, Correction1: .1, Correction2: .02, GradScale: 1}
	k.add("AdamW, 16 Mi parameters", forward, 0, 7*4*params, func() { kernel.AdamW(k.pool, w, g, m, v, adam) })
	k.add("norm of the gradient, 16 Mi", forward, 0, 4*params, func() { kernel.SumSquares(k.pool, g) })
	return nil
}

// lossGroup is the contrastive loss with its gradients: three products.
func lossGroup(k *kernels) error {
	for _, s := range []struct{ batch, dim int }{{256, 192}, {1024, 512}, {4096, 512}} {
		l, err := loss.New(loss.Config{Kind: loss.Symmetric, Positives: loss.SameRelation, Temperature: .07}, s.batch, s.dim, graph.NewCPU(k.pool), nil, nil)
		if err != nil {
			return err
		}
		k.ends = append(k.ends, func() { l.Close() })
		images, texts := random(s.batch*s.dim), random(s.batch*s.dim)
		kernel.L2Normalize(nil, images, images, s.batch, s.dim, 1e-12)
		kernel.L2Normalize(nil, texts, texts, s.batch, s.dim, 1e-12)
		labels := numbers[int]("labels", s.batch, 24)
		var failed error
		k.add(fmt.Sprintf("InfoNCE, batch %d, width %d", s.batch, s.dim), "with gradients", 6*float64(s.batch)*float64(s.batch)*float64(s.dim), 0, func() {
			if _, _, err := l.Run(images, texts, labels, nil); err != nil {
				failed = err
			}
		})
		k.cases[len(k.cases)-1].run()
		if failed != nil {
			return failed
		}
	}
	return nil
}
