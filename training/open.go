package training

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"relsim/checkpoints"
	"relsim/dataloader"
	"relsim/graph"
	"relsim/kernel"
	"relsim/nn"
)

// Bounds of the pictures or captions that an [Embedder] runs at a time: their number, and the input values of so many
// pictures, 64 MiB.
const (
	embedBatch  = 64
	embedValues = 1 << 24
)

// Embedder turns pictures and captions into embeddings of length one: the dot product of two is their similarity.
// It is for one goroutine.
type Embedder struct {
	config  Config
	words   vocabulary
	model   *nn.Model
	encoder *nn.Encoder
	batch   int
	workers int
	pixels  []float32    // one batch of network input
	pool    *kernel.Pool // nil when it is the trainer's
	dir     string
	source  *Source
}

// Open opens a trained model for inference in float32. path is a run folder (its best checkpoint is taken) or a
// checkpoint folder. Close frees it.
func Open(path string, threads int) (*Embedder, error) { return OpenIn(path, threads, kernel.Float32) }

// OpenIn is [Open] with another precision of the model's matrix products than float32, whatever it was trained in.
func OpenIn(path string, threads int, precision kernel.Precision) (*Embedder, error) {
	if threads < 1 {
		return nil, fmt.Errorf("training: open %s: %d threads: want at least 1", path, threads)
	}
	if err := kernel.CheckPrecision(precision); err != nil {
		return nil, fmt.Errorf("training: open %s in %v: %w", path, precision, err)
	}
	dir, err := checkpoints.Resolve(path)
	if err != nil {
		return nil, err
	}
	snapshot, err := checkpoints.Load(dir)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*Embedder, error) { return nil, fmt.Errorf("training: open %s: %w", dir, err) }
	if snapshot.Config == nil {
		return fail(errors.New("no config.json: the checkpoint of another program"))
	}
	c, err := parseConfig(snapshot.Config)
	if err != nil {
		return fail(err)
	}
	words, err := readVocabulary(snapshot.Files)
	if err != nil {
		return fail(err)
	}
	model, err := nn.Declare(c.Model, words.size())
	if err != nil {
		return fail(err)
	}
	if err := checkSize(model.Params, snapshot.Model); err != nil {
		return fail(err)
	}
	if err := model.Params.Init(rand.New(rand.NewPCG(c.Seed, streamInit))); err != nil {
		return fail(err)
	}
	if err := checkpoints.AssignTensors(model.Params.Targets(), dir, snapshot.Model); err != nil {
		return nil, err
	}
	pool := kernel.NewPool(threads)
	e, err := newEmbedder(c, model, words, graph.NewCPU(pool.With(precision)), threads)
	if err != nil {
		pool.Close()
		return fail(err)
	}
	e.pool, e.dir = pool, dir
	if data, ok := snapshot.Files[sourceFile]; ok {
		source, err := parseSource(data)
		if err != nil {
			e.Close()
			return fail(err)
		}
		e.source = &source
	}
	return e, nil
}

// checkSize returns an error if the parameters that a configuration asks for are not as many as the file holds: memory
// for them is only taken afterwards.
func checkSize(params *nn.Params, tensors []checkpoints.Tensor) error {
	var asked, held float64
	for _, p := range params.All() {
		size := 1.0 // the shapes of a hostile file may overflow an int
		for _, n := range p.Shape {
			size *= float64(n)
		}
		asked += size
	}
	for _, t := range tensors {
		held += float64(len(t.Data) / t.DType.Size())
	}
	if asked != held {
		return fmt.Errorf("config.json asks for a model of %.0f numbers, model.safetensors holds %.0f", asked, held)
	}
	return nil
}

func newEmbedder(c Config, model *nn.Model, words vocabulary, backend graph.Backend, workers int) (*Embedder, error) {
	batch := max(1, min(embedBatch, embedValues/c.transform().Len()))
	encoder, err := nn.NewEncoder(model, backend, batch)
	if err != nil {
		return nil, err
	}
	return &Embedder{
		config: c, words: words, model: model, encoder: encoder, batch: batch, workers: workers,
		pixels: make([]float32, batch*c.transform().Len()),
	}, nil
}

// release frees the programs.
func (e *Embedder) release() { e.encoder.Close() }

// Close frees the model.
func (e *Embedder) Close() {
	e.release()
	if e.pool != nil {
		e.pool.Close()
		e.pool = nil
	}
}

// Config is what the model was trained with.
func (e *Embedder) Config() Config { return e.config }

// Source is the data that the model was trained on; nil if the checkpoint does not say.
func (e *Embedder) Source() *Source { return e.source }

// Checkpoint is the folder that the model was read from.
func (e *Embedder) Checkpoint() string { return e.dir }

// Dim is the width of the embeddings.
func (e *Embedder) Dim() int { return e.config.Model.EmbedDim }

// Parameters is the number of learned numbers.
func (e *Embedder) Parameters() int { return len(e.model.Params.Data()) }

// Images returns the embeddings of pictures, (len(images), Dim()), row-major. Pictures are cropped and
// resized to the network's input.
func (e *Embedder) Images(ctx context.Context, images []*dataloader.Image) ([]float32, error) {
	out := make([]float32, len(images)*e.Dim())
	transform := e.config.transform()
	for at := 0; at < len(images); at += e.batch {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		part := images[at:min(at+e.batch, len(images))]
		for i, image := range part {
			if image == nil {
				return nil, fmt.Errorf("training: embed: picture %d is nil", at+i)
			}
			image, err := transform.Fit(image)
			if err != nil {
				return nil, fmt.Errorf("training: embed: picture %d: %w", at+i, err)
			}
			transform.Apply(e.pixels[i*transform.Len():(i+1)*transform.Len()], image, nil)
		}
		if err := e.encoder.Images(out[at*e.Dim():(at+len(part))*e.Dim()], e.pixels[:len(part)*transform.Len()], len(part)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Captions returns the embeddings of captions, (len(captions), Dim()), row-major. A caption without a word that the
// model was trained on has the embedding that training gave to no words at all.
func (e *Embedder) Captions(captions []string) ([]float32, error) {
	encoded := make([][]int32, len(captions))
	for i, caption := range captions {
		encoded[i] = e.words.Encode(caption)
	}
	out := make([]float32, len(captions)*e.Dim())
	if err := e.encoder.Texts(out, encoded); err != nil {
		return nil, err
	}
	return out, nil
}

// Dataset returns the embeddings of the pictures of a data set, (ds.Len(), Dim()), row-major. A picture that cannot be
// read is an error: drop such ones first, as [Evaluate] does.
func (e *Embedder) Dataset(ctx context.Context, ds dataloader.Dataset, progress func(done int)) ([]float32, error) {
	ds = e.config.transform().Square(ds) // photographs of a whole batch are large
	out := make([]float32, ds.Len()*e.Dim())
	indices := make([]int, 0, e.batch)
	images := make([]*dataloader.Image, 0, e.batch)
	for at := 0; at < ds.Len(); at += e.batch {
		indices, images = indices[:0], images[:0]
		for i := at; i < min(at+e.batch, ds.Len()); i++ {
			indices = append(indices, i)
		}
		broken, err := dataloader.ForEach(ctx, ds, indices, e.workers, func(_ int, image *dataloader.Image) error {
			images = append(images, image)
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(broken) > 0 {
			return nil, fmt.Errorf("training: embed %s: %s: %s", ds.Name(), broken[0].ID, broken[0].Reason)
		}
		vectors, err := e.Images(ctx, images)
		if err != nil {
			return nil, err
		}
		copy(out[at*e.Dim():], vectors)
		if progress != nil {
			progress(at + len(images))
		}
	}
	return out, nil
}
