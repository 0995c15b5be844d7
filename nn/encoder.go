package nn

import (
	"errors"
	"fmt"
	"maps"
	"slices"

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
	texts   map[int]*tower // by the length of the captions
	padded  []float32      // the last pictures, where they fill no batch
}

// tower is one compiled encoder.
type tower struct {
	program *graph.Program
	images  *graph.Node
	text    TextInput
	ids     []int32 // of text
	weights []float32
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

// Prepare compiles the program of pictures, so that its memory is taken now, if the model has an image tower.
func (e *Encoder) Prepare() error {
	if e.images != nil || !e.model.Config.Has(VisionTower) {
		return nil
	}
	t, err := e.compile(func(b *graph.Builder, t *tower) { t.images, t.emb = e.model.Vision(b, e.batch) })
	e.images = t
	return err
}

// Images writes the embeddings of n pictures to dst (n, E). src is
// (n, 3, S, S), already normalised.
func (e *Encoder) Images(dst, src []float32, n int) error {
	if !e.model.Config.Has(VisionTower) {
		return fmt.Errorf("nn: encoder: the model has no image encoder")
	}
	side := e.model.Config.Vision.ImageSize
	size, dim := 3*side*side, e.model.Config.EmbedDim
	if n < 0 || len(src) != n*size || len(dst) != n*dim {
		panic(fmt.Sprintf("nn: encoder: %d values of %d pictures of %d, %d of embeddings of %d", len(src), n, size, len(dst), dim))
	}
	if err := e.Prepare(); err != nil {
		return err
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

// shortest is the least length that captions are padded to.
const shortest = 16

// lengthFor returns what a caption of n words is padded to: the least power of
// two from 16 on that has room for it, or the tower's own length, beyond which
// words are cut off. It depends on nothing but the caption, and so do the bits of
// its embedding.
func (e *Encoder) lengthFor(n int) int {
	c := e.model.Config.Text
	if c.Kind == Bag { // padding costs nothing there
		return c.Length
	}
	length := shortest
	for length < n && length < c.Length {
		length *= 2
	}
	return min(length, c.Length)
}

// Texts writes the embeddings of captions, as ids of words, to dst (n, E). No
// word is dropped. Captions of about one length run together, so that short ones
// do not pay for the longest that the tower can read.
func (e *Encoder) Texts(dst []float32, captions [][]int32) error {
	if !e.model.Config.Has(TextTower) {
		return fmt.Errorf("nn: encoder: the model has no text encoder")
	}
	dim := e.model.Config.EmbedDim
	if len(dst) != len(captions)*dim {
		panic(fmt.Sprintf("nn: encoder: %d captions, %d values for embeddings of %d", len(captions), len(dst), dim))
	}
	byLength := make(map[int][]int) // the captions of each length
	for i, caption := range captions {
		length := e.lengthFor(len(caption))
		byLength[length] = append(byLength[length], i)
	}
	rows := make([]float32, e.batch*dim)
	part := make([][]int32, 0, e.batch)
	for _, length := range slices.Sorted(maps.Keys(byLength)) {
		t, err := e.textsOf(length)
		if err != nil {
			return err
		}
		if err := e.current(t); err != nil {
			return err
		}
		for chunk := range slices.Chunk(byLength[length], e.batch) {
			part = part[:0]
			for _, i := range chunk {
				part = append(part, captions[i])
			}
			e.model.Words.fill(t.ids, t.weights, part, length, nil, 0)
			if err := t.run(rows[:len(chunk)*dim]); err != nil {
				return err
			}
			for k, i := range chunk {
				copy(dst[i*dim:(i+1)*dim], rows[k*dim:(k+1)*dim])
			}
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

// textsOf returns the program for captions of a length.
func (e *Encoder) textsOf(length int) (*tower, error) {
	if t := e.texts[length]; t != nil {
		return t, nil
	}
	t, err := e.compile(func(b *graph.Builder, t *tower) { t.text, t.emb = e.model.text(b, e.batch, length) })
	if err != nil {
		return nil, err
	}
	t.ids = make([]int32, e.batch*length)
	t.weights = make([]float32, e.batch*length)
	if err := errors.Join(t.program.SetIDs(t.text.IDs, t.ids), t.program.SetFloats(t.text.Weights, t.weights)); err != nil {
		return nil, fmt.Errorf("nn: encoder: %w", errors.Join(err, t.program.Close()))
	}
	if e.texts == nil {
		e.texts = make(map[int]*tower)
	}
	e.texts[length] = t
	return t, nil
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
	var errs []error
	for _, length := range slices.Sorted(maps.Keys(e.texts)) {
		errs = append(errs, e.texts[length].program.Close())
	}
	if e.images != nil {
		errs = append(errs, e.images.program.Close())
	}
	e.images, e.texts = nil, nil
	return errors.Join(errs...)
}
