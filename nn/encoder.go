package nn

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"relsim/cuda"
	"relsim/graph"
)

// Encoder turns pictures and captions into embeddings with the weights of a
// model as they are at the time of the call. It is for one goroutine, and not
// while a step changes the weights.
type Encoder struct {
	model   *Model
	backend graph.Backend
	batch   int
	most    int            // pictures of a program: batch, or less where the memory of a GPU has no room for that
	images  map[int]*tower // by the number of pictures
	texts   map[textShape]*tower
	padded  []float32 // the last pictures, where they fill no batch
}

// textShape is that of the captions of a program.
type textShape struct{ length, rows int }

// fewest is the least number of pictures or captions of a program on a GPU.
const fewest = 8

// part is how many of n pictures or captions run next, at most most, and in a program for how many. The host has one program, that is filled
// up. A GPU would be idle for what is filled up, so it has programs of half the size, a quarter and so on, too.
func (e *Encoder) part(n, most int) (rows, size int) {
	size = most
	if _, ok := e.backend.(*graph.GPU); ok {
		for size > n && size/2 >= fewest {
			size /= 2
		}
	}
	return min(n, size), size
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
	return &Encoder{
		model: m, backend: backend, batch: batch, most: batch, images: make(map[int]*tower), texts: make(map[textShape]*tower),
	}, nil
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

// Prepare compiles the largest program of pictures, so that its memory is taken now, if the model has an image tower. Where a
// GPU has too little, a smaller one does.
func (e *Encoder) Prepare() error {
	if !e.model.Config.Has(VisionTower) {
		return nil
	}
	_, err := e.imagesOf(e.most)
	for errors.Is(err, cuda.ErrOutOfMemory) && e.most/2 >= fewest {
		e.most /= 2
		_, err = e.imagesOf(e.most)
	}
	return err
}

// imagesOf returns the program for a number of pictures.
func (e *Encoder) imagesOf(size int) (*tower, error) {
	if t := e.images[size]; t != nil {
		return t, nil
	}
	t, err := e.compile(func(b *graph.Builder, t *tower) { t.images, t.emb = e.model.Vision(b, size) })
	if err == nil {
		e.images[size] = t
	}
	return t, err
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
	if n > 0 && len(e.images) == 0 {
		if err := e.Prepare(); err != nil {
			return err
		}
	}
	for at := 0; at < n; {
		rows, batch := e.part(n-at, e.most)
		t, err := e.imagesOf(batch)
		if err == nil {
			err = e.current(t)
		}
		if err != nil {
			return err
		}
		in := src[at*size : (at+rows)*size]
		if rows < batch {
			if len(e.padded) < batch*size {
				e.padded = make([]float32, batch*size)
			}
			in = e.padded[:batch*size]
			clear(in[copy(in, src[at*size:(at+rows)*size]):])
		}
		if err := t.program.SetFloats(t.images, in); err != nil {
			return fmt.Errorf("nn: encoder: %w", err)
		}
		if err := t.run(dst[at*dim : (at+rows)*dim]); err != nil {
			return err
		}
		at += rows
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
		for left := byLength[length]; len(left) > 0; {
			n, size := e.part(len(left), e.batch)
			var chunk []int
			chunk, left = left[:n], left[n:]
			t, err := e.textsOf(textShape{length, size})
			if err == nil {
				err = e.current(t)
			}
			if err != nil {
				return err
			}
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
func (e *Encoder) textsOf(shape textShape) (*tower, error) {
	if t := e.texts[shape]; t != nil {
		return t, nil
	}
	t, err := e.compile(func(b *graph.Builder, t *tower) { t.text, t.emb = e.model.text(b, shape.rows, shape.length) })
	if err != nil {
		return nil, err
	}
	t.ids = make([]int32, shape.rows*shape.length)
	t.weights = make([]float32, shape.rows*shape.length)
	if err := errors.Join(t.program.SetIDs(t.text.IDs, t.ids), t.program.SetFloats(t.text.Weights, t.weights)); err != nil {
		return nil, fmt.Errorf("nn: encoder: %w", errors.Join(err, t.program.Close()))
	}
	e.texts[shape] = t
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
	for _, t := range e.texts {
		errs = append(errs, t.program.Close())
	}
	for _, t := range e.images {
		errs = append(errs, t.program.Close())
	}
	clear(e.images)
	clear(e.texts)
	return errors.Join(errs...)
}
