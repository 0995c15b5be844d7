package main

import (
	"context"
	"fmt"

	"relsim/kernel"
)

// linear is the four layers of a block of ViT-B, forward and both gradients, one
// after the other.
type linear struct {
	pool, layers *kernel.Pool
	calls        []func()
	check        []float64
}

// The shape of a batch of 8 pictures of 224 pixels.
const linearRows, linearWidth, linearMLP = 1576, 768, 3072

// linearFLOPs are those of the twelve products.
const linearFLOPs = 3 * 2 * linearRows * linearWidth * (3*linearWidth + linearWidth + 2*linearMLP)

func linearJob(threads int) job { return job{Kind: "linear", Threads: threads} }

func newLinear(_ context.Context, j job) (worker, error) {
	l := &linear{pool: kernel.NewPool(j.Threads)}
	var err error
	if l.layers, err = j.pool(l.pool); err != nil {
		l.pool.Close()
		return nil, err
	}
	for _, s := range blockShapes(linearWidth, linearMLP) {
		x, w, bias, y := random(linearRows*s.in), random(s.in*s.out), random(s.out), make([]float32, linearRows*s.out)
		dy, dx, dw, dbias := random(len(y)), make([]float32, len(x)), make([]float32, len(w)), make([]float32, s.out)
		l.calls = append(l.calls,
			func() { kernel.Linear(l.layers, y, x, w, bias, linearRows, s.in, s.out) },
			func() { kernel.LinearGradX(l.layers, dx, dy, w, linearRows, s.in, s.out) },
			func() { kernel.LinearGradW(l.layers, dw, dbias, dy, x, linearRows, s.in, s.out) },
		)
		for _, call := range l.calls[len(l.calls)-3:] {
			call()
		}
		for _, z := range [][]float32{y, dx, dw} {
			l.check = append(l.check, kernel.SumSquares(nil, z))
		}
	}
	return l, nil
}

func (l *linear) once() error {
	for _, call := range l.calls {
		call()
	}
	return nil
}

func (l *linear) threads() *kernel.Pool { return l.layers }
func (l *linear) ready() ready {
	return ready{Path: fmt.Sprintf("%v, %v", kernel.Active(), l.layers.Precision()), Check: l.check}
}
func (l *linear) close() { l.pool.Close() }
