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

// Four pictures as two micro-batches: the gradient of a loss over all four
// embeddings, with the memory of two.
func ExampleReplicas() {
	b := graph.NewBuilder()
	x, w := b.Input("x", 2, 3), b.Param("w", 2, 3)
	embedding := b.Linear(x, w, nil)
	p, err := graph.Compile(b, graph.Config{Embedding: embedding, Wrt: b.Params()})
	if err != nil {
		log.Fatal(err)
	}
	pictures := []float32{1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1}
	grad := make([]float32, 6)
	if err := p.SetFloats(w, []float32{1, 2, 3, 4, 5, 6}); err != nil {
		log.Fatal(err)
	}
	if err := p.SetGrad(w, grad); err != nil {
		log.Fatal(err)
	}
	load := func(p *graph.Program, i int) error { return p.SetFloats(x, pictures[6*i:6*i+6]) }

	r, err := graph.NewReplicas([]*graph.Program{p}, 1)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	all := make([]float32, 4*2)
	if err := r.ForwardEach(2, load, all); err != nil {
		log.Fatal(err)
	}
	// The loss ½ Σ embedding² has the embeddings for its gradient.
	if err := r.BackwardEach(2, load, all); err != nil {
		log.Fatal(err)
	}
	fmt.Println(all)
	fmt.Println(grad)
	// Output:
	// [1 4 2 5 3 6 6 15]
	// [7 8 9 19 20 21]
}
