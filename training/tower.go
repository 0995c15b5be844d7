package training

import (
	"errors"
	"fmt"

	"relsim/graph"
	"relsim/nn"
)

// tower is one side of the model, compiled for the shards of a micro-batch. One that is frozen is not differentiated;
// the text tower has no programs then.
type tower struct {
	frozen   bool
	replicas *graph.Replicas
	program  *graph.Program // in place of replicas, on a GPU
	images   *graph.Node
	text     nn.TextInput
	emb      *graph.Node
	shards   int
	again    []float32 // embeddings of a micro-batch that is forwarded once more

	// bind binds shard of micro-batch i, which is loaded.
	bind    func(p *graph.Program, i, shard int) error
	current int // the micro-batch
	rebind  func(p *graph.Program, shard int) error
}

// Bounds of the choice of shards.
const (
	shardRows  = 1024 // least rows of a shard: below, matrix products lose more than threads gain
	shardShare = 24   // activations are this many times as large as the gradients, or there is one shard
)

// ShardsFor chooses the number of shards of a micro-batch: as many powers of two as leave each of them enough rows, where
// a copy of the gradients for each thread is small beside the activations.
func ShardsFor(model nn.Config, microBatch int) int {
	v := model.Vision
	rows := microBatch * v.Tokens()
	activations := 14 * rows * v.Width * max(v.Layers, 1) // of a layer, per row and column: norms, qkv, attention, MLP
	params := (4*v.Width + 2*v.MLP) * v.Width * v.Layers
	if t := model.Text; t.Kind == nn.Transformer {
		params += (4*t.Width + 2*t.MLP) * t.Width * t.Layers
	}
	shards := 1
	if shardShare*params > activations {
		return shards
	}
	for microBatch%(2*shards) == 0 && rows/(2*shards) >= shardRows {
		shards *= 2
	}
	return shards
}

// compile makes the training programs of one tower, one for each shard.
func (t *trainer) compile(which nn.Tower, build func(b *graph.Builder, w *tower, batch int)) (*tower, error) {
	b, w := graph.NewBuilder(), &tower{shards: t.shards, frozen: which == t.config.Freeze}
	w.rebind = func(p *graph.Program, shard int) error { return w.bind(p, w.current, shard) }
	build(b, w, t.config.MicroBatch/w.shards)
	if err := b.Err(); err != nil {
		return nil, fmt.Errorf("training: %w", err)
	}
	config := graph.Config{Embedding: w.emb}
	if !w.frozen {
		if len(t.model.Wrt(b)) == 0 {
			return nil, fmt.Errorf("training: nothing of the %s tower is trained: freeze it", which)
		}
		config.Wrt, config.Training, config.Checkpoint = t.model.Wrt(b), true, t.options.Checkpoint
		if w.shards == 1 && t.config.MicroBatch == t.config.Batch { // gradients are computed once, not added up
			if err := t.model.Params.Lend(&config, config.Wrt); err != nil {
				return nil, fmt.Errorf("training: %w", err)
			}
		}
	}
	var err error
	if t.gpu != nil {
		config.Backend = t.gpu
		w.program, err = compileOne(b, config, t.model)
	} else {
		w.replicas, err = graph.CompileReplicas(b, config, w.shards, t.pool.With(t.config.Precision),
			func(p *graph.Program, _ int) error { return t.model.Bind(p) })
	}
	if err != nil {
		return nil, fmt.Errorf("training: %w", err)
	}
	t.closeables = append(t.closeables, w.close)
	return w, nil
}

func (w *tower) close() {
	if w.program != nil {
		w.program.Close()
	} else {
		w.replicas.Close()
	}
}

// nonFinite names what holds NaN or infinity.
func (w *tower) nonFinite() []string {
	if w.program != nil {
		return w.program.NonFinite()
	}
	return w.replicas.NonFinite()
}

// compileOne makes a program on the backend of the configuration.
func compileOne(b *graph.Builder, config graph.Config, model *nn.Model) (*graph.Program, error) {
	program, err := graph.Compile(b, config)
	if err != nil {
		return nil, err
	}
	if err := model.Bind(program); err != nil {
		return nil, errors.Join(err, program.Close())
	}
	return program, nil
}

// forward writes the embeddings of n micro-batches to dst. Load brings one of them.
func (w *tower) forward(n int, load func(i int) error, dst []float32) error {
	size := len(dst) / n
	for i := range n {
		if err := w.forwardOne(i, load, dst[i*size:(i+1)*size]); err != nil {
			return err
		}
	}
	return nil
}

func (w *tower) forwardOne(i int, load func(i int) error, dst []float32) error {
	if err := load(i); err != nil {
		return err
	}
	w.current = i
	if w.program == nil {
		return w.replicas.ForwardEach(w.shards, w.rebind, dst)
	}
	if err := w.bind(w.program, i, 0); err != nil {
		return err
	}
	if err := w.program.Forward(); err != nil || dst == nil {
		return err
	}
	return w.program.CopyValue(w.emb, dst)
}

// backward follows forward: it computes the gradients of the batch from upstream, that of its embeddings, from the
// last micro-batch to the first, and forwards all but the last once more (arXiv:2101.06983).
func (w *tower) backward(n int, load func(i int) error, upstream []float32) error {
	size := len(upstream) / n
	for i := n - 1; i >= 0; i-- {
		if i < n-1 {
			if w.again == nil && w.program == nil {
				w.again = make([]float32, size)
			}
			if err := w.forwardOne(i, load, w.again); err != nil {
				return err
			}
		}
		part := upstream[i*size : (i+1)*size]
		if w.program != nil {
			w.program.SetAccumulate(i < n-1)
			if err := w.program.Backward(part); err != nil {
				return err
			}
			continue
		}
		w.replicas.SetAccumulate(i < n-1)
		if err := w.replicas.BackwardEach(w.shards, noReload, part); err != nil {
			return err
		}
	}
	return nil
}

// noReload stands for loading a shard again: the activations of all are there.
func noReload(*graph.Program, int) error {
	return errors.New("training: a shard was forwarded and is gone")
}
