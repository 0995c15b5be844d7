package training

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"relsim/checkpoints"
	"relsim/dataloader"
	"relsim/graph"
	"relsim/hub"
	"relsim/kernel"
	"relsim/nn"
)

// Bounds of what an [Embedder] runs at a time: the number of pictures or captions, the input values of so many pictures,
// 64 MiB, and the tokens of these, beyond which matrix products gain nothing.
const (
	embedBatch  = 64
	embedValues = 1 << 24
	embedTokens = 1 << 12

	embedBatchGPU  = 256 // and on a GPU, which takes more to be busy
	embedValuesGPU = 1 << 26
	embedTokensGPU = 1 << 17
)

// Embedder turns pictures and captions into embeddings of length one: the dot product of two is their similarity.
// It is for one goroutine.
type Embedder struct {
	config  Config
	words   vocabulary
	model   *nn.Model
	encoder *nn.Encoder // of pictures
	texts   *nn.Encoder // of captions
	batch   int         // of pictures
	workers int
	pixels  []float32    // one batch of network input
	pool    *kernel.Pool // nil when it is the trainer's
	dir     string
	source  *Source
}

// OpenOptions say how a model is opened.
type OpenOptions struct {
	Threads int // of the kernels
	// Precision of the matrix products on the CPU, whatever the model was trained in.
	Precision kernel.Precision
	// GPU runs the model, in its own precision; nil: the CPU does. It stays the caller's.
	GPU *graph.GPU
	// Vision and Text are folders of the published models that a tower of the checkpoint is made of, where they are not
	// where they were when it was written. Their weights must be the same.
	Vision, Text string
	// Hub is for published models that have names.
	Hub hub.Options
}

// Open opens a model for inference in float32: see [OpenWith].
func Open(path string, threads int) (*Embedder, error) {
	return OpenWith(context.Background(), path, OpenOptions{Threads: threads})
}

// OpenIn is [Open] with another precision of the model's matrix products than float32, whatever it was trained in.
func OpenIn(path string, threads int, precision kernel.Precision) (*Embedder, error) {
	return OpenWith(context.Background(), path, OpenOptions{Threads: threads, Precision: precision})
}

// OpenWith opens a model for inference. path is a run folder (its best checkpoint is taken), a checkpoint folder, or a
// published model by its folder or its name on the hub. Of that, pictures or captions alone can be embedded where it has
// one tower only, or no tokenizer. A checkpoint that holds adapters needs the published model that they were trained on,
// with the same weights; the adapters are merged into these. Close frees the model.
func OpenWith(ctx context.Context, path string, o OpenOptions) (*Embedder, error) {
	if o.Threads < 1 {
		return nil, fmt.Errorf("training: open %s: %d threads: want at least 1", path, o.Threads)
	}
	if o.GPU == nil {
		if err := kernel.CheckPrecision(o.Precision); err != nil {
			return nil, fmt.Errorf("training: open %s in %v: %w", path, o.Precision, err)
		}
	}
	if isPublished(path) || isName(path) {
		return openPublished(ctx, path, o)
	}
	dir, err := checkpoints.Resolve(path)
	if err != nil {
		return nil, err
	}
	snapshot, err := checkpoints.Load(dir)
	if err != nil {
		return nil, err
	}
	e, err := openSnapshot(ctx, dir, snapshot, o)
	if err != nil {
		return nil, fmt.Errorf("training: open %s: %w", dir, err)
	}
	return e, nil
}

// openSnapshot makes the model of a checkpoint ready for inference.
func openSnapshot(ctx context.Context, dir string, snapshot *checkpoints.Snapshot, o OpenOptions) (*Embedder, error) {
	m, err := readSnapshot(ctx, dir, snapshot, o, Config.leansOn)
	if err != nil {
		return nil, err
	}
	e, err := openEmbedder(m.Config, m.Model, m.words, o)
	if err != nil {
		return nil, err
	}
	e.dir, e.source = dir, m.Source
	return e, nil
}

// readSnapshot makes the model of a checkpoint, with the published models of the towers that need says.
func readSnapshot(ctx context.Context, dir string, snapshot *checkpoints.Snapshot, o OpenOptions, need func(Config, nn.Tower) bool) (*Trained, error) {
	if snapshot.Config == nil {
		return nil, errNoConfig
	}
	c, err := parseConfig(snapshot.Config)
	if err != nil {
		return nil, err
	}
	bases, records, err := openBases(ctx, c, snapshot, o, need)
	if err != nil {
		return nil, err
	}
	var words vocabulary
	if c.Model.Has(nn.TextTower) {
		if words, err = readVocabulary(snapshot.Files, rowsOf(snapshot.Model, bases)); err != nil {
			return nil, err
		}
	}
	model, err := nn.Declare(c.Model, words.rows)
	if err != nil {
		return nil, err
	}
	c.freeze(model, bases)
	given := make(map[string]bool)
	for _, t := range towers {
		if base := bases.of(t); base != nil {
			maps.Copy(given, base.given(model, t))
		}
	}
	if err := checkSize(model.Params, given, snapshot.Model); err != nil {
		return nil, err
	}
	if err := model.Params.Allocate(); err != nil {
		return nil, err
	}
	_, mine, err := bases.load(model)
	if err != nil {
		return nil, err
	}
	if err := mine.differ(records); err != nil {
		return nil, err
	}
	if err := checkpoints.AssignTensors(kept(model.Params, given), dir, snapshot.Model); err != nil {
		return nil, err
	}
	m := &Trained{Model: model, Config: c, Bases: bases, Checkpoint: dir, words: words, records: records}
	if data, ok := snapshot.Files[sourceFile]; ok {
		source, err := parseSource(data)
		if err != nil {
			return nil, err
		}
		m.Source = &source
	}
	return m, nil
}

// openBases opens the published models of the towers that need says: those whose weights a checkpoint does not hold, or
// all.
func openBases(ctx context.Context, c Config, snapshot *checkpoints.Snapshot, o OpenOptions, need func(Config, nn.Tower) bool) (Bases, baseRecords, error) {
	var bases Bases
	records, err := parseBases(snapshot.Files[baseFile])
	if err != nil {
		return bases, nil, err
	}
	for _, t := range towers {
		record, ok := records[t]
		if !ok || !need(c, t) {
			continue
		}
		place, flag := record.String(), o.Text
		if t == nn.VisionTower {
			flag = o.Vision
		}
		base, err := OpenBase(ctx, cmp.Or(flag, place), o.Hub)
		if err != nil {
			return bases, nil, fmt.Errorf("the %s tower is made of the published model %s: %w; say where it is", t, place, err)
		}
		if err := base.fits(c.Model, t); err != nil {
			return bases, nil, err
		}
		if t == nn.VisionTower {
			bases.Vision = base
		} else {
			bases.Text = base
		}
	}
	return bases, records, nil
}

// leansOn reports whether a checkpoint leaves out weights of a tower that a published model gives.
func (c Config) leansOn(t nn.Tower) bool {
	if c.Freeze == t || slices.Contains(c.FreezeBase, t) {
		return true
	}
	return c.Model.LoRA != nil && slices.ContainsFunc(c.Model.LoRA.Targets, t.Has)
}

// rowsOf is the number of rows of the table of words, 0 where it is not known.
func rowsOf(tensors []checkpoints.Tensor, bases Bases) int {
	for _, t := range tensors {
		if t.Name == "text.token_embedding.weight" && len(t.Shape) == 2 {
			return t.Shape[0]
		}
	}
	if bases.Text != nil {
		return bases.Text.Vocab
	}
	return 0
}

// isPublished reports whether a path is a folder with a published model, and no checkpoint of ours.
func isPublished(path string) bool {
	if _, err := os.Stat(filepath.Join(path, "modules.json")); err == nil { // of sentence-transformers
		return true
	}
	file, err := os.Open(filepath.Join(path, "config.json"))
	if err != nil {
		return false
	}
	defer file.Close()
	var keys map[string]json.RawMessage
	const most = 4 << 20
	if json.NewDecoder(io.LimitReader(file, most)).Decode(&keys) != nil {
		return false
	}
	for _, key := range []string{"model_type", "architectures", "architecture"} { // the last one is of timm
		if _, ok := keys[key]; ok {
			return true
		}
	}
	return false
}

// isName reports whether a path is the name of a model of the hub. Where there is a folder ORG, ORG/NAME is a path in it:
// a mistake in the name of a run is not looked for on the hub.
func isName(path string) bool {
	if _, err := os.Lstat(filepath.Dir(path)); err == nil {
		return false
	}
	_, err := hub.Parse(path)
	return err == nil
}

// config is how a published model is used as it is, without a text tower where it has no tokenizer.
func (b *Base) config() Config {
	c := Config{Model: b.Config, Geometry: b.Transform.Geometry, Normalize: b.Transform.Normalize}
	if c.Model.Has(nn.VisionTower) {
		c.Model.Vision.ImageSize = b.Transform.Size
		if b.Tokenizer == nil {
			c.Model.Text = nn.TextConfig{Kind: nn.NoText}
		}
	}
	return c
}

// openPublished makes a model of all towers of a published one.
func openPublished(ctx context.Context, path string, o OpenOptions) (*Embedder, error) {
	base, err := OpenBase(ctx, path, o.Hub)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*Embedder, error) { return nil, fmt.Errorf("training: open %s: %w", path, err) }
	c := base.config()
	var bases Bases
	var words vocabulary
	if c.Model.Has(nn.VisionTower) {
		bases.Vision = base
	}
	if c.Model.Has(nn.TextTower) {
		bases.Text = base
		if words, err = base.vocabulary(); err != nil {
			return fail(err)
		}
	}
	model, err := nn.Declare(c.Model, words.rows)
	if err != nil {
		return fail(err)
	}
	model.Params.Freeze("") // no gradient
	if err := model.Params.Allocate(); err != nil {
		return fail(err)
	}
	for _, t := range towers {
		if b := bases.of(t); b != nil {
			if err := b.Weights(model.Params, t); err != nil {
				return nil, err
			}
		}
	}
	e, err := openEmbedder(c, model, words, o)
	if err != nil {
		return fail(err)
	}
	e.dir = path
	return e, nil
}

// openEmbedder makes an embedder that owns its threads, with merged adapters.
func openEmbedder(c Config, model *nn.Model, words vocabulary, o OpenOptions) (*Embedder, error) {
	pool := kernel.NewPool(o.Threads)
	model.Merge(pool)
	var backend graph.Backend = o.GPU
	if o.GPU == nil {
		backend = graph.NewCPU(pool.With(o.Precision))
	}
	e, err := newEmbedder(c, model, words, backend, o.Threads)
	if err != nil {
		pool.Close()
		return nil, err
	}
	e.pool = pool
	return e, nil
}

// checkSize returns an error if the parameters that a configuration asks for, but for those that published models give,
// are not as many as the file holds: memory for them is only taken afterwards.
func checkSize(params *nn.Params, given map[string]bool, tensors []checkpoints.Tensor) error {
	var asked, held float64
	for _, p := range params.All() {
		if p.Frozen && given[p.Name] {
			continue
		}
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
	e := &Embedder{config: c, words: words, model: model, batch: 1, workers: workers}
	if c.Model.Has(nn.VisionTower) {
		size := c.transform().Len()
		e.batch = max(1, min(embedBatch, embedValues/size, embedTokens/c.Model.Vision.Tokens()))
		if _, ok := backend.(*graph.GPU); ok {
			e.batch = max(1, min(embedBatchGPU, embedValuesGPU/size, embedTokensGPU/c.Model.Vision.Tokens()))
		}
		e.pixels = make([]float32, e.batch*size)
	}
	captions := embedBatch
	if _, ok := backend.(*graph.GPU); ok {
		captions = embedBatchGPU
	}
	var err error
	if e.encoder, err = nn.NewEncoder(model, backend, e.batch); err != nil {
		return nil, err
	}
	e.texts, err = nn.NewEncoder(model, backend, captions)
	return e, err
}

// release frees the programs.
func (e *Embedder) release() {
	e.encoder.Close()
	e.texts.Close()
}

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

// Has reports whether the model has a tower: that of pictures, or that of captions.
func (e *Embedder) Has(t nn.Tower) bool { return e.config.Model.Has(t) }

// Dim is the width of the embeddings.
func (e *Embedder) Dim() int { return e.config.Model.EmbedDim }

// Parameters is the number of learned numbers.
func (e *Embedder) Parameters() int { return len(e.model.Params.Data()) }

// Images returns the embeddings of pictures, (len(images), Dim()), row-major. Pictures are cropped and resized to the
// network's input. It is an error if the model has no image tower.
func (e *Embedder) Images(ctx context.Context, images []*dataloader.Image) ([]float32, error) {
	if !e.Has(nn.VisionTower) {
		return nil, fmt.Errorf("training: embed pictures: the model of %s is one of captions only", e.dir)
	}
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
// model was trained on has the embedding that training gave to no words at all. It is an error if the model has no text
// tower.
func (e *Embedder) Captions(captions []string) ([]float32, error) {
	if !e.Has(nn.TextTower) {
		return nil, fmt.Errorf("training: embed captions: the model of %s is one of pictures only", e.dir)
	}
	encoded := make([][]int32, len(captions))
	for i, caption := range captions {
		encoded[i] = e.words.encode(caption, e.config.Model.Text.Length)
	}
	out := make([]float32, len(captions)*e.Dim())
	if err := e.texts.Texts(out, encoded); err != nil {
		return nil, err
	}
	return out, nil
}

// Dataset returns the embeddings of the pictures of a data set, (ds.Len(), Dim()), row-major. A picture that cannot be
// read is an error: drop such ones first, as [Evaluate] does.
func (e *Embedder) Dataset(ctx context.Context, ds dataloader.Dataset, progress func(done int)) ([]float32, error) {
	if !e.Has(nn.VisionTower) {
		return nil, fmt.Errorf("training: embed %s: the model of %s is one of captions only", ds.Name(), e.dir)
	}
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
