package nn

import (
	"fmt"

	"relsim/graph"
)

// Encoder turns pictures and captions into embeddings with the weights of a
// model as they are at the time of the call. It is for one goroutine, and not
// while a step changes the weights.
type Encoder struct {
	model   *Model
	backend graph.Backend
	batch   int
	images  *tower
	texts   *tower
	padded  []float32 // the last pictures, where they fill no batch
	ids     []int32
	weights []float32
}

// tower is one compiled encoder.
type tower struct {
	program *graph.Program
	images  *graph.Node
	text    TextInput
	emb     *graph.Node
	merged  bool // the program was made without adapters, which were merged
}

// NewEncoder returns an encoder that runs batch pictures or captions at a time
// on backend (nil: the CPU, one thread). A program is compiled when first
// needed.
func NewEncoder(m *Model, backend graph.Backend, batch int) (*Encoder, error) {
	if batch < 1 {
		return nil, fmt.Errorf("nn: encoder: batch %d, want at least 1", batch)
	}
	return &Encoder{model: m, backend: backend, batch: batch}, nil
}

// compile makes the program of one tower for inference.
func (e *Encoder) compile(build func(b *graph.Builder, t *tower)) (*tower, error) {
	b := graph.NewBuilder()
	t := &tower{merged: e.model.Merged()}
	build(b, t)
	if err := b.Err(); err != nil {
		return nil, fmt.Errorf("nn: encoder: %w", err)
	}
	program, err := graph.Compile(b, graph.Config{Backend: e.backend, Outputs: []*graph.Node{t.emb}})
	if err != nil {
		return nil, fmt.Errorf("nn: encoder: %w", err)
	}
	t.program = program
	if err := e.model.Bind(program); err != nil {
		program.Close()
		return nil, err
	}
	return t, nil
}

// Images writes the embeddings of n pictures to dst (n, E). src is
// (n, 3, S, S), already normalised.
func (e *Encoder) Images(dst, src []float32, n int) error {
	side := e.model.Config.Vision.ImageSize
	size, dim := 3*side*side, e.model.Config.EmbedDim
	if n < 0 || len(src) != n*size || len(dst) != n*dim {
		panic(fmt.Sprintf("nn: encoder: %d values of %d pictures of %d, %d of embeddings of %d", len(src), n, size, len(dst), dim))
	}
	if e.images == nil {
		if !e.model.Config.Has(VisionTower) {
			return fmt.Errorf("nn: encoder: the model has no image encoder")
		}
		t, err := e.compile(func(b *graph.Builder, t *tower) { t.images, t.emb = e.model.Vision(b, e.batch) })
		if err != nil {
			return err
		}
		e.images = t
	}
	if err := e.current(e.images); err != nil {
		return err
	}
	for at := 0; at < n; at += e.batch {
		rows := min(e.batch, n-at)
		in := src[at*size : (at+rows)*size]
		if rows < e.batch {
			if e.padded == nil {
				e.padded = make([]float32, e.batch*size)
			}
			clear(e.padded[copy(e.padded, in):])
			in = e.padded
		}
		if err := e.images.program.SetFloats(e.images.images, in); err != nil {
			return fmt.Errorf("nn: encoder: %w", err)
		}
		if err := e.images.run(dst[at*dim : (at+rows)*dim]); err != nil {
			return err
		}
	}
	return nil
}

// Texts writes the embeddings of captions, as ids of words, to dst (n, E). No
// word is dropped.
func (e *Encoder) Texts(dst []float32, captions [][]int32) error {
	dim, length := e.model.Config.EmbedDim, e.model.Config.Text.Length
	if len(dst) != len(captions)*dim {
		panic(fmt.Sprintf("nn: encoder: %d captions, %d values for embeddings of %d", len(captions), len(dst), dim))
	}
	if e.texts == nil {
		if !e.model.Config.Has(TextTower) {
			return fmt.Errorf("nn: encoder: the model has no text encoder")
		}
		t, err := e.compile(func(b *graph.Builder, t *tower) { t.text, t.emb = e.model.Text(b, e.batch) })
		if err != nil {
			return err
		}
		e.ids = make([]int32, e.batch*length)
		e.weights = make([]float32, e.batch*length)
		if err := t.program.SetIDs(t.text.IDs, e.ids); err != nil {
			return fmt.Errorf("nn: encoder: %w", err)
		}
		if err := t.program.SetFloats(t.text.Weights, e.weights); err != nil {
			return fmt.Errorf("nn: encoder: %w", err)
		}
		e.texts = t
	}
	if err := e.current(e.texts); err != nil {
		return err
	}
	for at := 0; at < len(captions); at += e.batch {
		rows := min(e.batch, len(captions)-at)
		e.model.FillText(e.ids, e.weights, captions[at:at+rows], nil, 0)
		if err := e.texts.run(dst[at*dim : (at+rows)*dim]); err != nil {
			return err
		}
	}
	return nil
}

// current returns an error if a tower was compiled without adapters that are not
// merged any more.
func (e *Encoder) current(t *tower) error {
	if t.merged && !e.model.Merged() {
		return fmt.Errorf("nn: encoder: it was compiled with merged adapters, which were restored since; make a new one")
	}
	return nil
}

// run runs the program and copies the first rows of its output to dst.
func (t *tower) run(dst []float32) error {
	if err := t.program.Forward(); err != nil {
		return fmt.Errorf("nn: encoder: %w", err)
	}
	copy(dst, t.program.Value(t.emb))
	return nil
}

// Close frees the programs.
func (e *Encoder) Close() error {
	var first error
	for _, t := range []*tower{e.images, e.texts} {
		if t == nil {
			continue
		}
		if err := t.program.Close(); err != nil && first == nil {
			first = err
		}
	}
	e.images, e.texts = nil, nil
	return first
}
