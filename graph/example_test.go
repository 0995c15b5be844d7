package graph_test

import (
	"fmt"
	"log"

	"relsim/graph"
	"relsim/kernel"
)

// A net of two layers, its loss, and the gradient of its parameters.
func Example() {
	b := graph.NewBuilder()
	x := b.Input("x", 2, 2)
	target := b.Input("target", 2, 2)
	w1, w2 := b.Param("w1", 3, 2), b.Param("w2", 2, 3)
	hidden := b.GELU(b.Linear(x, w1, nil), kernel.GELUErf)
	loss := b.CrossEntropy(b.Linear(hidden, w2, nil), target)

	p, err := graph.Compile(b, graph.Config{Loss: loss, Wrt: b.Params()})
	if err != nil {
		log.Fatal(err)
	}
	weights1, weights2 := []float32{1, 0, 0, 1, 1, 1}, []float32{1, 0, -1, 0, 1, 0}
	grad1, grad2 := make([]float32, 6), make([]float32, 6)
	for _, err := range []error{
		p.SetFloats(x, []float32{1, 2, 3, 4}),
		p.SetFloats(target, []float32{1, 0, 0, 1}),
		p.SetFloats(w1, weights1),
		p.SetFloats(w2, weights2),
		p.SetGrad(w1, grad1),
		p.SetGrad(w2, grad2),
	} {
		if err != nil {
			log.Fatal(err)
		}
	}
	for range 100 { // gradient descent
		if err := p.Forward(); err != nil {
			log.Fatal(err)
		}
		if err := p.Backward(nil); err != nil {
			log.Fatal(err)
		}
		kernel.Axpy(nil, weights1, -0.1, grad1)
		kernel.Axpy(nil, weights2, -0.1, grad2)
	}
	if err := p.Forward(); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("loss below 0.5: %v\n", p.Value(loss)[0] < 0.5)
	// Output: loss below 0.5: true
}
