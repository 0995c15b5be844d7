package training

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"relsim/dataloader"
	"relsim/graph"
	"relsim/kernel"
	"relsim/loss"
	"relsim/nn"
	"relsim/optim"
)

// SkippedFile is the name of the list of unreadable pictures in a run folder.
const SkippedFile = "skipped.jsonl"

// Streams keep the random draws of a run apart: each is a function of (seed, stream, step).
const (
	streamInit uint64 = iota + 1
	streamWords
	streamDropout
	streamShuffle
	streamSurvey
)

// trainer is a run.
type trainer struct {
	config  Config
	options Options
	data    *Data
	watch   Observer

	pool       *kernel.Pool
	gpu        *graph.GPU // nil: the run is on the CPU
	residents  *residents // of the run on gpu
	pending    []*pendingStep
	saving     *saving // a checkpoint that is under way
	shards     int     // of a micro-batch
	words      vocabulary
	model      *nn.Model
	given      map[string]bool // parameters with the values of a published model
	bases      baseRecords
	vision     *tower
	text       *tower // nil: frozen
	frozen     frozenText
	loss       *loss.Loss
	optimizer  *optim.AdamW
	average    *optim.EMA // nil: none
	schedule   optim.Schedule
	loader     *dataloader.Loader
	embedder   *Embedder // with the weights of the run, to validate
	journal    *journal
	encoder    encoder
	batch      *dataloader.Batch
	position   dataloader.State // of the loader after the last whole step
	relations  []int
	captions   []int
	encoded    [][]int32
	ids        []int32
	weights    []float32
	images     []float32 // embeddings of the batch, (B, E)
	texts      []float32
	step       int // steps done
	epoch      int
	savedStep  int
	saved      string // folder of the last checkpoint
	best       string
	bestScore  float64
	val        dataloader.Dataset // what can be read of the validation set
	unreadable int                // pictures of it that cannot
	validated  bool               // since the last step
	score      float64            // by that validation
	began      time.Time
	resumed    string
	resumedAt  int
	recent     time.Time // of the end of the step before
	perSecond  float64   // smoothed
	last       Row
	closeables []func()
}

// newTrainer builds the model and everything around it, and touches no file.
func newTrainer(c Config, o Options, d *Data, watch Observer) (_ *trainer, err error) {
	if err := errors.Join(c.Validate(), o.Validate()); err != nil {
		return nil, err
	}
	if err := dataloader.RequireCaptions(d.Train, c.Captions == Literal); err != nil {
		return nil, err
	}
	if c.Captions == Shuffled {
		d = &Data{Source: d.Source, Train: newShuffled(d.Train, c.Seed), Val: d.Val}
	}
	if err := checkGallery(d.Val); err != nil {
		return nil, err
	}
	if o.GPU == nil {
		if err := kernel.CheckPrecision(c.Precision); err != nil {
			return nil, fmt.Errorf("training: precision %v: %w", c.Precision, err)
		}
	} else if got := o.GPU.Precision(); got != c.Precision {
		return nil, fmt.Errorf("training: the GPU was opened to run in %v, the configuration says %v", got, c.Precision)
	}
	c = c.resolve(d.Train)
	c.Loss.Temperature, c.Loss.Bias = c.Model.Temperature, c.Model.LogitBias
	t := &trainer{config: c, options: o, data: d, watch: watch, shards: c.Shards}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	t.pool = kernel.NewPool(o.Threads)
	t.closeables = append(t.closeables, t.pool.Close)
	backend := graph.NewCPU(t.pool)
	if o.GPU != nil {
		backend, t.gpu, t.shards = o.GPU, o.GPU, 1
	}

	if err := t.makeModel(); err != nil {
		return nil, err
	}
	if t.gpu != nil {
		if err := t.moveWeights(); err != nil {
			return nil, err
		}
	}
	t.encoder = newEncoder(t.words, c.Model.Text.Length)
	if t.vision, err = t.compile(nn.VisionTower, func(b *graph.Builder, w *tower, batch int) {
		w.images, w.emb = t.model.Vision(b, batch)
	}); err != nil {
		return nil, err
	}
	t.vision.bind = t.bindImages
	if c.Freeze != nn.TextTower {
		if t.text, err = t.compile(nn.TextTower, func(b *graph.Builder, w *tower, batch int) {
			w.text, w.emb = t.model.Text(b, batch)
		}); err != nil {
			return nil, err
		}
		t.text.bind = t.bindText
	}
	if t.loss, err = loss.ForModel(t.model, c.Loss, c.Batch, backend); err != nil {
		return nil, err
	}
	t.closeables = append(t.closeables, func() { t.loss.Close() })
	if t.optimizer, err = optim.NewAdamW(t.model.Params, c.Optimizer, t.pool); err != nil {
		return nil, err
	}
	t.closeables = append(t.closeables, func() { t.optimizer.Close() })
	if err := t.optimizer.SetFactors(func(p *nn.Param) float64 { return c.factor(t.model, p) }); err != nil {
		return nil, err
	}
	if c.Average > 0 {
		if t.average, err = optim.NewEMA(t.model.Params, c.Average, t.pool); err != nil {
			return nil, err
		}
		t.closeables = append(t.closeables, func() { t.average.Close() })
	}
	t.schedule = optim.Schedule{Peak: c.LearningRate, Warmup: c.warmupSteps(), Total: c.Steps}
	if err := t.schedule.Validate(); err != nil {
		return nil, err
	}
	transform := c.transform()
	transform.Flip, transform.Turn = c.Flip, c.Turn
	maxBroken := o.MaxBroken
	if maxBroken == 0 {
		maxBroken = -1 // the loader's zero is its default
	}
	if t.loader, err = dataloader.New(d.Train, dataloader.Config{
		Batch: c.Batch, Micro: c.MicroBatch, Keep: o.keepPictures, Workers: o.Workers, Seed: c.Seed, Transform: transform,
		MaxBroken: maxBroken, SkippedPath: t.loaderList(), Shuffle: c.Shuffle,
		Pixels: t.gpu != nil, // it normalises, and a quarter of the bytes goes there
	}); err != nil {
		return nil, err
	}
	t.closeables = append(t.closeables, t.loader.Close)
	t.position = t.loader.State()
	if t.embedder, err = newEmbedder(c, t.model, t.words, backend, o.Workers); err != nil {
		return nil, err
	}
	t.closeables = append(t.closeables, t.embedder.release)

	width, length := c.Model.EmbedDim, c.Model.Text.Length
	t.images, t.texts = make([]float32, c.Batch*width), make([]float32, c.Batch*width)
	t.ids, t.weights = make([]int32, c.Batch*length), make([]float32, c.Batch*length)
	t.relations, t.captions = make([]int, c.Batch), make([]int, c.Batch)
	t.encoded = make([][]int32, c.Batch)
	return t, nil
}

// close releases what the run holds, the last made first.
func (t *trainer) close() {
	if t.saving != nil {
		<-t.saving.done
	}
	if t.journal != nil {
		t.journal.close()
		t.journal = nil
	}
	for _, f := range slices.Backward(t.closeables) {
		f()
	}
	t.closeables = nil
}

// begin tells the observer what is about to happen.
func (t *trainer) begin() {
	t.began = time.Now()
	t.recent = t.began
	if t.watch.Start != nil {
		t.watch.Start(StartInfo{
			Steps: t.config.Steps, Done: t.step, Resumed: t.resumed,
			Parameters: len(t.model.Params.Data()), Learned: len(t.model.Params.Learned()), Words: t.words.Size(), Pictures: t.data.Train.Len(),
		})
	}
}

// update takes one step, towers forward, loss, towers backward, optimiser, and logs it. When ctx ends between two
// micro-batches, the step counts for nothing.
func (t *trainer) update(ctx context.Context, batch *dataloader.Batch) error {
	if t.gpu != nil {
		return t.enqueue(ctx, batch)
	}
	t.batch = batch
	if err := t.forward(ctx, batch); err != nil {
		return err
	}
	value, accuracy, err := t.loss.Run(t.images, t.texts, t.relations, t.captions)
	if err != nil {
		return err
	}
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return t.nonFinite(t.step+1, fmt.Errorf("the loss is %v", value), false)
	}
	if err := t.backward(ctx); err != nil {
		return err
	}
	rate := t.schedule.At(t.step)
	norm, err := t.optimizer.Step(rate)
	if err != nil {
		return t.nonFinite(t.step+1, err, true)
	}
	if t.average != nil {
		t.average.Update()
	}
	t.advance(batch)
	return t.record(Row{Step: t.step, Epoch: t.epoch, Loss: value, Accuracy: accuracy, LearningRate: rate, GradNorm: norm})
}

// forward computes the embeddings of a batch.
func (t *trainer) forward(ctx context.Context, batch *dataloader.Batch) error {
	passes := t.config.Batch / t.config.MicroBatch
	load := func(i int) error { return t.loadImages(ctx, i) }
	err := t.vision.forward(passes, load, t.images)
	for errors.Is(err, dataloader.ErrRestart) {
		err = t.vision.forward(passes, load, t.images)
	}
	if err != nil {
		return fmt.Errorf("training: %w", err)
	}
	t.fill(batch)
	if t.text == nil {
		t.frozen.rows(t.texts, t.captions)
	} else if err := t.text.forward(passes, func(i int) error { return t.loadText(ctx, i) }, t.texts); err != nil {
		return fmt.Errorf("training: %w", err)
	}
	return nil
}

// backward computes the gradients of the batch from those of its embeddings, which the loss left.
func (t *trainer) backward(ctx context.Context) error {
	passes := t.config.Batch / t.config.MicroBatch
	if !t.vision.frozen {
		if err := t.vision.backward(passes, func(i int) error { return t.loadImages(ctx, i) }, t.loss.GradImg); err != nil {
			return fmt.Errorf("training: %w", err)
		}
	}
	if t.text != nil {
		if err := t.text.backward(passes, func(i int) error { return t.loadText(ctx, i) }, t.loss.GradTxt); err != nil {
			return fmt.Errorf("training: %w", err)
		}
	}
	return nil
}

// advance counts a step that is taken, or in the queue.
func (t *trainer) advance(batch *dataloader.Batch) {
	t.position = t.loader.State()
	t.step++
	t.epoch = batch.Epoch
	t.loader.Recycle(batch)
	t.batch = nil
	t.validated = false
}

// record logs a step that is done now.
func (t *trainer) record(row Row) error {
	now := time.Now()
	rateNow := float64(t.config.Batch) / now.Sub(t.recent).Seconds()
	if t.perSecond == 0 {
		t.perSecond = rateNow
	}
	t.perSecond += (rateNow - t.perSecond) / 20
	t.recent = now
	row.ImagesPerSecond, row.Seconds = t.perSecond, now.Sub(t.began).Seconds()
	t.last = row
	if t.watch.Step != nil {
		t.watch.Step(t.last)
	}
	return t.journal.write(t.last)
}

// fill turns the captions of a batch into ids and labels.
func (t *trainer) fill(batch *dataloader.Batch) {
	for i, item := range batch.Items {
		t.encoded[i], t.captions[i] = t.encoder.caption(t.config.caption(item))
		t.relations[i] = t.encoder.relation(item.Relation)
	}
	if t.text == nil {
		return // the embeddings are there already
	}
	rng := rand.New(rand.NewPCG(t.config.Seed, streamWords<<48|uint64(t.step)))
	t.model.FillText(t.ids, t.weights, t.encoded, rng, t.config.WordDropout)
}

// loadImages brings the pictures of micro-batch i of the batch.
func (t *trainer) loadImages(ctx context.Context, i int) error { return t.loader.Load(ctx, t.batch, i) }

// bindImages binds the pictures of a shard of micro-batch i, which is loaded.
func (t *trainer) bindImages(p *graph.Program, i, shard int) error {
	p.SetSeed(t.dropoutSeed(i, shard))
	if t.gpu != nil {
		return p.SetPixels(t.vision.images, t.batch.Pixels, t.batch.Tables)
	}
	n := len(t.batch.Images) / t.shards
	return p.SetFloats(t.vision.images, t.batch.Images[shard*n:(shard+1)*n])
}

// loadText has nothing to bring: fill left the captions of the whole batch.
func (t *trainer) loadText(ctx context.Context, _ int) error {
	if t.config.MicroBatch < t.config.Batch {
		return ctx.Err()
	}
	return nil
}

// bindText binds the captions of a shard of micro-batch i.
func (t *trainer) bindText(p *graph.Program, i, shard int) error {
	n := t.config.MicroBatch / t.shards * t.config.Model.Text.Length
	at := (i*t.shards + shard) * n
	p.SetSeed(t.dropoutSeed(i, shard))
	if err := p.SetIDs(t.text.text.IDs, t.ids[at:at+n]); err != nil {
		return err
	}
	return p.SetFloats(t.text.text.Weights, t.weights[at:at+n])
}

// dropoutSeed is that of a shard of micro-batch i of this step, the same each time it is forwarded.
func (t *trainer) dropoutSeed(i, shard int) uint64 {
	part := uint64(i*t.shards + shard)
	return rand.NewPCG(t.config.Seed+part*0x9e3779b97f4a7c15, streamDropout<<48|uint64(t.step)).Uint64()
}

// nonFinite is the error of a step whose numbers went wrong. It names the tensors that hold NaN or infinity, gradients
// among them if they are of this step.
func (t *trainer) nonFinite(step int, cause error, gradients bool) error {
	const most = 12
	names := t.model.Params.NonFinite()
	if !gradients { // other values may lie in their place: see graph.Config.Lent
		names = slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, "grad of ") })
	}
	names = append(names, t.vision.nonFinite()...)
	if t.text != nil {
		names = append(names, t.text.nonFinite()...)
	}
	if !gradients { // on a GPU they follow before the loss is seen
		names = slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, "gradient of ") })
	}
	slices.Sort(names)
	names = slices.Compact(names)
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" and %d more", len(names)-most)
		names = names[:most]
	}
	where := "no tensor holds NaN or infinity"
	if len(names) > 0 {
		where = "not finite: " + strings.Join(names, ", ") + more
	}
	return fmt.Errorf("training: step %d: %w; %s; try a lower learning rate; the last checkpoint is as it was", step, cause, where)
}

// openValidation finds out which pictures of the validation set can be read, and lists the others with those that
// training had skipped when the checkpoint was written: what an earlier attempt had listed may have been repaired.
func (t *trainer) openValidation(ctx context.Context) error {
	val, broken, err := readable(ctx, t.data.Val, t.options.MaxBroken, t.options.Workers)
	if err != nil {
		return err
	}
	t.val, t.unreadable = val, len(broken)
	if len(broken) > 0 {
		t.notice("%d of %d pictures to validate on cannot be read: listed in %s", len(broken), t.data.Val.Len(), t.loaderList())
	}
	return dataloader.WriteSkipped(t.loaderList(), append(t.loader.State().Broken, broken...))
}

// loaderList is the file that lists skipped pictures.
func (t *trainer) loaderList() string { return filepath.Join(t.options.Out, SkippedFile) }

// validate embeds the validation pictures and logs how well they retrieve each other.
func (t *trainer) validate(ctx context.Context) error {
	if err := t.settle(); err != nil {
		return err
	}
	if t.average != nil {
		defer t.average.Apply()()
	}
	values, err := validation(ctx, t.embedder, t.val, t.options.Workers)
	if err != nil {
		return err
	}
	t.score, t.validated = scoreOf(values), true
	row := Row{Step: t.step, Epoch: t.epoch, Validation: values}
	if err := t.journal.write(row); err != nil {
		return err
	}
	if t.watch.Eval != nil {
		t.watch.Eval(row)
	}
	t.recent = time.Now()
	return t.journal.flush()
}
