//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"gorgonia.org/tensor"

	"relsim/graph"
	"relsim/kernel"
	"relsim/nn"
	"relsim/optim"
)

// gpuOps times the ops of Programs, one Program after the other.
type gpuOps struct {
	*gpu
	programs []gpuProgram
	params   int // of an optimiser to time, 0: none
	last     []gpuOp
}

// gpuProgram makes a Program: the towers of a job's model, or single ops.
type gpuProgram struct {
	name  string
	ids   int // indices are below
	build func(b *graph.Builder) (*graph.Node, error)
}

func newGPUOps(_ context.Context, j job) (worker, error) {
	g, err := openGPU(j)
	if err != nil {
		return nil, err
	}
	o := &gpuOps{gpu: g}
	if j.Config != nil {
		m, err := nn.New(*j.Config, j.Vocab, source())
		if err != nil {
			g.close()
			return nil, err
		}
		if j.Config.Has(nn.VisionTower) {
			o.programs = append(o.programs, gpuProgram{j.Group, 1, func(b *graph.Builder) (*graph.Node, error) {
				_, emb := m.Vision(b, j.Batch)
				return emb, b.Err()
			}})
		}
		if j.Config.Has(nn.TextTower) {
			o.programs = append(o.programs, gpuProgram{j.Group + ", text", j.Vocab, func(b *graph.Builder) (*graph.Node, error) {
				_, emb := m.Text(b, j.Batch)
				return emb, b.Err()
			}})
		}
	} else {
		o.programs, o.params = singleOps(j.N, j.Dim), j.Dim*j.N
	}
	return o, nil
}

// singleOps are ops that the towers of the models have not, or not in this form, over n rows or so of a width.
func singleOps(n, width int) []gpuProgram {
	const tokens = 16
	rows := max(n/tokens, 1) * tokens
	batch := rows / tokens
	channels, side := width/16, max(int(math.Sqrt(float64(rows)/8))&^1, 4)
	var list []gpuProgram
	plain := func(name string, ids int, f func(b *graph.Builder) *graph.Node) {
		list = append(list, gpuProgram{"single ops", ids, func(b *graph.Builder) (*graph.Node, error) {
			y := f(b)
			if err := b.Err(); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			return y, nil
		}})
	}
	add := func(name string, f func(b *graph.Builder, x *graph.Node) *graph.Node) {
		plain(name, tokens, func(b *graph.Builder) *graph.Node { return f(b, b.Param("x", rows, width)) })
	}
	add("scale", func(b *graph.Builder, x *graph.Node) *graph.Node { return b.Scale(x, 2) })
	add("add", func(b *graph.Builder, x *graph.Node) *graph.Node { return b.Add(x, b.Param("y", rows, width)) })
	add("scaleExp", func(b *graph.Builder, x *graph.Node) *graph.Node { return b.ScaleExp(x, b.Param("s", 1)) })
	add("addScalar", func(b *graph.Builder, x *graph.Node) *graph.Node { return b.AddScalar(x, b.Param("s", 1)) })
	add("columnScale", func(b *graph.Builder, x *graph.Node) *graph.Node { return b.ColumnScale(x, b.Param("gain", width)) })
	add("addColumns", func(b *graph.Builder, x *graph.Node) *graph.Node {
		return b.AddColumns(x, b.Param("z", rows, width/2), width/4)
	})
	add("transpose", func(b *graph.Builder, x *graph.Node) *graph.Node { return b.Transpose(x) })
	add("dot", func(b *graph.Builder, x *graph.Node) *graph.Node { return b.Dot(x, b.Param("y", rows, width)) })
	add("relu", func(b *graph.Builder, x *graph.Node) *graph.Node { return b.ReLU(x) })
	for _, form := range []kernel.GELUKind{kernel.GELUErf, kernel.GELUTanh, kernel.GELUQuick} {
		add("gelu", func(b *graph.Builder, x *graph.Node) *graph.Node { return b.GELU(x, form) })
	}
	add("swiglu", func(b *graph.Builder, x *graph.Node) *graph.Node { return b.SwiGLU(x) })
	add("dropout", func(b *graph.Builder, x *graph.Node) *graph.Node { return b.Dropout(x, .1) })
	add("layerNorm", func(b *graph.Builder, x *graph.Node) *graph.Node {
		return b.LayerNorm(x, b.Param("gain", width), b.Param("bias", width), 1e-6)
	})
	add("l2Normalize", func(b *graph.Builder, x *graph.Node) *graph.Node { return b.L2Normalize(x, 1e-12) })
	add("unitRows", func(b *graph.Builder, x *graph.Node) *graph.Node { return b.UnitRows(x, 1e-10) })
	add("joinColumns", func(b *graph.Builder, x *graph.Node) *graph.Node { return b.JoinColumns(x, b.Param("y", rows, width)) })
	add("squaredDistance", func(b *graph.Builder, x *graph.Node) *graph.Node {
		return b.SquaredDistance(x, b.Param("y", rows, width), b.Param("w", width), tokens)
	})
	add("poolMean", func(b *graph.Builder, x *graph.Node) *graph.Node { return b.PoolMean(x, tokens) })
	add("poolFirst", func(b *graph.Builder, x *graph.Node) *graph.Node { return b.PoolFirst(x, tokens) })
	add("poolAt", func(b *graph.Builder, x *graph.Node) *graph.Node {
		return b.PoolAt(x, b.InputIDs("index", batch), tokens)
	})
	add("poolWeighted", func(b *graph.Builder, x *graph.Node) *graph.Node {
		return b.PoolWeighted(x, b.Input("w", batch, tokens))
	})
	add("poolMaskedMean", func(b *graph.Builder, x *graph.Node) *graph.Node {
		return b.PoolMaskedMean(x, b.Input("w", batch, tokens))
	})
	add("poolMax", func(b *graph.Builder, x *graph.Node) *graph.Node { return b.PoolMax(x, b.Input("w", batch, tokens)) })
	add("addPosition", func(b *graph.Builder, x *graph.Node) *graph.Node {
		return b.AddPosition(x, b.Param("p", tokens, width))
	})
	add("prependToken", func(b *graph.Builder, x *graph.Node) *graph.Node {
		return b.PrependToken(x, b.Param("t", width), tokens)
	})
	plain("embedding", rows, func(b *graph.Builder) *graph.Node {
		return b.Embedding(b.Param("table", rows, width), b.InputIDs("ids", rows))
	})
	add("linear", func(b *graph.Builder, x *graph.Node) *graph.Node {
		return b.Linear(x, b.Param("w", width, width), b.Param("c", width))
	})
	add("crossEntropy", func(b *graph.Builder, x *graph.Node) *graph.Node { return b.CrossEntropy(x, b.Input("t", rows, width)) })
	add("sigmoidLoss", func(b *graph.Builder, x *graph.Node) *graph.Node { return b.SigmoidLoss(x, b.Input("t", rows, width)) })
	for kind := kernel.ContrastRows; kind <= kernel.ContrastPairs; kind++ {
		plain("contrast", tokens, func(b *graph.Builder) *graph.Node {
			rows := max(rows/8, tokens)
			loss, _ := b.Contrast(b.Param("x", rows, width), b.Param("y", rows, width), b.InputIDs("labels", rows), b.Param("s", 1), nil,
				graph.ContrastConfig{Kind: kind, Equal: kernel.EqualPositive})
			return loss
		})
	}
	pictures := func(b *graph.Builder) *graph.Node { return b.Param("pictures", 8*side*side, channels) }
	plain("conv2D", 1, func(b *graph.Builder) *graph.Node {
		return b.Conv2D(pictures(b), b.Param("w", channels, channels, 3, 3), b.Param("c", channels), kernel.ConvShape{
			Batch: 8, InC: channels, InH: side, InW: side, OutC: channels, KH: 3, KW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1,
		})
	})
	plain("maxPool2D", 1, func(b *graph.Builder) *graph.Node {
		return b.MaxPool2D(pictures(b), kernel.PoolShape{Batch: 8, InH: side, InW: side, C: channels, K: 2, Stride: 2})
	})
	return list
}

// profilePasses is how often all ops of a Program run in a round.
const profilePasses = 3

func (o *gpuOps) once() error {
	o.last = nil
	for _, p := range o.programs {
		if err := o.profile(p); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if o.params > 0 {
		return errors.Join(o.pixels(o.params), o.optimizer())
	}
	return nil
}

// optimizer times steps of AdamW with clipping, by the clock: many in the queue.
func (o *gpuOps) optimizer() (err error) {
	params := new(nn.Params)
	params.Declare("w", nn.Matrix, nn.Normal(1), o.params)
	if err := params.Init(source()); err != nil {
		return err
	}
	fill(params.Grad(), "grad", 1, 0)
	for _, host := range [][]float32{params.Data(), params.Grad()} {
		r, err := o.backend.Resident(host)
		if err != nil {
			return err
		}
		defer r.Close()
	}
	pool := kernel.NewPool(1)
	defer pool.Close()
	adamw, err := optim.NewAdamW(params, optim.Default(), pool)
	if err != nil {
		return err
	}
	if err := adamw.On(o.backend, nil); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, adamw.Close()) }()
	steps := func(n int) error {
		var last *optim.Pending
		for range n {
			if last, err = adamw.Enqueue(1e-9); err != nil {
				return err
			}
		}
		_, err := last.Wait()
		return err
	}
	if err := steps(1); err != nil {
		return err
	}
	op := gpuOp{
		Program: "optimiser", Op: fmt.Sprintf("AdamW with clipping[%d]", o.params), Count: 1, Backward: true,
		Kernels: []string{"square_parts", "adamw_begin", "adamw"}, Bytes: 4 * 8 * float64(o.params), // gradients twice
	}
	for range profilePasses {
		const n = 10
		begin := time.Now()
		if err := steps(n); err != nil {
			return err
		}
		op.Times = append(op.Times, time.Since(begin).Seconds()/n)
	}
	o.last = append(o.last, op)
	return nil
}

func (o *gpuOps) profile(p gpuProgram) error {
	b := graph.NewBuilder()
	y, err := p.build(b)
	if err != nil {
		return err
	}
	config := graph.Config{Backend: o.backend, Wrt: b.Params(), Training: true, Embedding: y}
	if y.IsScalar() {
		config.Embedding, config.Loss = nil, y
	}
	program, err := graph.Compile(b, config)
	if err != nil {
		return err
	}
	defer program.Close()
	if err := bindAll(b, program, config.Wrt, p.ids); err != nil {
		return err
	}
	var upstream []float32
	if config.Loss == nil {
		upstream = make([]float32, y.Shape().TotalSize())
		fill(upstream, "upstream", 1, 0)
	}
	if err := errors.Join(program.Forward(), program.Backward(upstream)); err != nil {
		return err
	}
	times, err := program.Profile(profilePasses)
	if err != nil {
		return err
	}
	for _, t := range times {
		var seconds []float64
		for _, d := range t.Times {
			seconds = append(seconds, d.Seconds())
		}
		o.last = append(o.last, gpuOp{
			Program: p.name, Op: t.Op, Backward: t.Backward, Count: t.Count, Kernels: t.Kernels, Bytes: t.Bytes, FLOPs: t.FLOPs, Times: seconds,
		})
	}
	return nil
}

// bindAll gives every leaf random values, and every gradient a place.
func bindAll(b *graph.Builder, p *graph.Program, wrt []*graph.Node, ids int) error {
	for _, n := range b.Graph().AllNodes() {
		if n.Op() != nil {
			continue
		}
		size := n.Shape().TotalSize()
		var err error
		if n.Dtype() == tensor.Int32 {
			err = p.SetIDs(n, numbers[int32](n.Name(), size, ids))
		} else {
			x := make([]float32, size)
			fill(x, n.Name(), 1, .01)
			err = p.SetFloats(n, x)
		}
		if err != nil {
			return err
		}
	}
	for _, n := range wrt {
		if err := p.SetGrad(n, make([]float32, n.Shape().TotalSize())); err != nil {
			return err
		}
	}
	return nil
}

func (o *gpuOps) ops() []gpuOp { return o.last }
