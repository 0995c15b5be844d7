package training

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"relsim/baseline"
	"relsim/dataloader"
	"relsim/embeddings"
	"relsim/graph"
	"relsim/hub"
	"relsim/kernel"
	"relsim/nn"
	"relsim/retrieval"
)

// LiteralTwin is the name of the control: the same model and recipe, trained on literal captions. It is also the name of
// its folder in the run that it belongs to.
const LiteralTwin = "literal-twin"

// Evaluated is a trained model to evaluate.
type Evaluated struct {
	Name string
	Kind string // retrieval.Trained or retrieval.Baseline
	Path string // run folder or checkpoint
}

// EvaluateOptions say what to evaluate on what.
type EvaluateOptions struct {
	Source    Source
	Models    []Evaluated // the first is the one that the others are compared with
	Retrieval retrieval.Config
	Threads   int
	Workers   int
	// Vision and Text are where the published models are that runs with adapters were trained on: see [OpenOptions].
	Vision, Text string
	Precision    kernel.Precision     // of the models' products on the CPU; not that of the runs, which train in theirs
	GPU          *graph.GPU           // runs the models, in its own precision; nil: the CPU does
	MaxBroken    float64              // share of unreadable pictures that is too many; 0: the 5 % of the loader, below 0: any is
	Progress     func(done float64)   // 0 to 1; may be nil
	Pictures     *dataloader.Pictures // how files become pixels, but for Convert; nil: as each model was trained
	Convert      *string              // of Pictures; nil: as each model was trained
	Cache        *dataloader.Cache    // of pictures; may be nil

	// Baselines are compared with beside the measures of pixels. LPIPSMemory is the memory that features of LPIPS may
	// take (0: baseline.DefaultLPIPSMemory); they are computed again and again where they take more.
	Baselines   []BaselineSpec
	LPIPSMemory int64
	Hub         hub.Options // for published models that have names

	// Export is a file for the embeddings of the first model, of the gallery and then of the near misses: see
	// [embeddings.Write]. "": none.
	Export string
}

// pictures returns how files become pixels, for a model that was trained with p.
func (o EvaluateOptions) pictures(p dataloader.Pictures) dataloader.Pictures {
	convert := p.Convert
	if o.Pictures != nil {
		p = *o.Pictures
	}
	if o.Convert != nil {
		convert = *o.Convert
	}
	p.Convert = convert
	return p
}

// Evaluation is the result with what a report says about the runs.
type Evaluation struct {
	Result *retrieval.Result
	Runs   []EvaluatedRun
	// Image returns a picture of the gallery by its id.
	Image func(id string) (*dataloader.Image, error)
	// Broken are the pictures of the gallery that could not be read. They take no part.
	Broken  []dataloader.Broken
	Threads int
}

// EvaluatedRun is one model of an [Evaluation].
type EvaluatedRun struct {
	Name       string
	Config     Config
	Source     Source
	Checkpoint string
	Parameters int
	// Log and Skipped are empty where the model is a lone checkpoint.
	Log     []Row
	Skipped []dataloader.Broken // pictures that training could not read
}

// Evaluate compares trained models with each other, with measures of appearance and with chance, on the gallery of a
// source.
func Evaluate(ctx context.Context, o EvaluateOptions) (*Evaluation, error) {
	if len(o.Models) == 0 {
		return nil, errors.New("training: evaluate: no model")
	}
	if o.Threads < 1 || o.Workers < 1 {
		return nil, fmt.Errorf("training: evaluate: %d threads, %d workers: want at least 1", o.Threads, o.Workers)
	}
	progress := o.Progress
	if progress == nil {
		progress = func(float64) {}
	}
	gallery, nearMiss, split, err := OpenGallery(ctx, o.Source)
	if err != nil {
		return nil, err
	}
	gallery = dataloader.WithCache(gallery, o.Cache)
	if nearMiss != nil {
		nearMiss = dataloader.WithCache(nearMiss, o.Cache)
	}
	fingerprint := gallery.Fingerprint() // of all of it, with what cannot be read
	e := &Evaluation{Threads: o.Threads}
	maxBroken := o.MaxBroken
	if maxBroken == 0 {
		maxBroken = dataloader.DefaultMaxBroken
	}
	if err := checkGallery(gallery); err != nil {
		return nil, err
	}
	if gallery, e.Broken, err = readable(ctx, gallery, maxBroken, o.Workers); err != nil {
		return nil, err
	}
	if nearMiss != nil {
		var broken []dataloader.Broken
		if nearMiss, broken, err = readable(ctx, nearMiss, maxBroken, o.Workers); err != nil {
			return nil, err
		}
		e.Broken = append(e.Broken, broken...)
	}
	set := retrieval.NewSet(gallery.Name(), split, gallery, nearMiss)
	e.Image = byID(set, gallery)

	const embedShare = 0.3 // of the bar
	stages := float64(len(o.Models))
	if len(o.Baselines) > 0 {
		stages++
	}
	others, err := baselines(ctx, set, gallery, nearMiss, o, func(part float64) { progress(embedShare * part / stages) })
	if err != nil {
		return nil, err
	}
	methods := make([]retrieval.Method, 0, len(o.Models)+len(others)+8)
	for i, m := range o.Models {
		file := ""
		if i == 0 {
			file = o.Export
		}
		method, run, err := embed(ctx, m, file, set, gallery, nearMiss, o, func(part float64) {
			progress(embedShare * (stages - float64(len(o.Models)-i) + part) / stages)
		})
		if err != nil {
			return nil, err
		}
		methods, e.Runs = append(methods, method), append(e.Runs, run)
	}
	methods = append(methods, others...)
	for _, measure := range baseline.All(1) {
		methods = append(methods, retrieval.Method{Name: measure.Name(), Kind: retrieval.Baseline, Images: measure})
	}
	methods = append(methods, retrieval.Chance(set))
	c := o.Retrieval
	c.Workers = o.Threads
	c.Progress = func(part float64) { progress(embedShare + (1-embedShare)*part) }
	if e.Result, err = retrieval.Evaluate(ctx, set, methods, c); err != nil {
		return nil, err
	}
	if r := e.Result.Rankings; r != nil {
		if err := keepSource(r, o.Source, fingerprint); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// embed returns the method of one trained model, and writes its embeddings to a file if one is named.
func embed(ctx context.Context, m Evaluated, file string, set *retrieval.Set, gallery, nearMiss dataloader.Dataset, o EvaluateOptions,
	progress func(float64)) (retrieval.Method, EvaluatedRun, error) {
	fail := func(err error) (retrieval.Method, EvaluatedRun, error) {
		return retrieval.Method{}, EvaluatedRun{}, err
	}
	model, err := OpenWith(ctx, m.Path, OpenOptions{
		Threads: o.Threads, Precision: o.Precision, GPU: o.GPU, Vision: o.Vision, Text: o.Text, Hub: o.Hub,
	})
	if err != nil {
		return fail(err)
	}
	defer model.Close()
	model.config.Pictures = o.pictures(model.config.Pictures)
	vectors, captions, err := vectorsOf(ctx, model, set, gallery, nearMiss, progress)
	if err != nil {
		return fail(err)
	}
	if file != "" {
		if err := export(file, set, vectors, model.Dim()); err != nil {
			return fail(err)
		}
	}
	run := EvaluatedRun{
		Name: m.Name, Config: model.Config(), Checkpoint: model.Checkpoint(), Parameters: model.Parameters(),
	}
	if source := model.Source(); source != nil {
		run.Source = *source
	}
	// A checkpoint lies in RUN/checkpoints/step-…; a lone one has no log and no list.
	folder := filepath.Join(model.Checkpoint(), "..", "..")
	if run.Log, err = ReadLog(filepath.Join(folder, MetricsFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	if run.Skipped, err = dataloader.ReadSkipped(filepath.Join(folder, SkippedFile)); err != nil {
		return fail(err)
	}
	return retrieval.Embedded(m.Name, m.Kind, vectors, captions, model.Dim()), run, nil
}

// vectorsOf returns the embeddings of all pictures of a set, and of its captions; nil where there are none, or the model
// has no text encoder.
func vectorsOf(ctx context.Context, model *Embedder, set *retrieval.Set, gallery, nearMiss dataloader.Dataset,
	progress func(done float64)) (pictures, captions []float32, err error) {
	pictures, err = model.Dataset(ctx, gallery, func(done int) { progress(float64(done) / float64(set.Len())) })
	if err != nil {
		return nil, nil, err
	}
	if nearMiss != nil {
		more, err := model.Dataset(ctx, nearMiss, func(done int) {
			progress(float64(gallery.Len()+done) / float64(set.Len()))
		})
		if err != nil {
			return nil, nil, err
		}
		pictures = append(pictures, more...)
	}
	var texts []string
	for _, caption := range set.Captions() {
		texts = append(texts, caption.Text)
	}
	if len(texts) > 0 && model.config.Model.Has(nn.TextTower) {
		captions, err = model.Captions(texts)
	}
	return pictures, captions, err
}

// export writes the embeddings of all pictures of a set.
func export(path string, set *retrieval.Set, vectors []float32, dim int) error {
	t := &embeddings.Table{Dim: dim, Vectors: vectors}
	for i := range set.Len() {
		item := set.Item(i)
		t.IDs, t.Captions, t.URLs = append(t.IDs, item.ID), append(t.Captions, item.Caption), append(t.URLs, item.URL)
	}
	for _, column := range []*[]string{&t.Captions, &t.URLs} {
		if !slices.ContainsFunc(*column, func(s string) bool { return s != "" }) {
			*column = nil
		}
	}
	return embeddings.Write(path, t)
}

// readable returns the pictures of ds that can be read, each once, and those that cannot. More than the share limit of
// the latter, or fewer than two of the former, are an error.
func readable(ctx context.Context, ds dataloader.Dataset, limit float64, workers int) (dataloader.Dataset, []dataloader.Broken, error) {
	ds = dataloader.Distinct(ds)
	var good []int
	broken, err := dataloader.ForEach(ctx, ds, nil, workers, func(k int, _ *dataloader.Image) error {
		good = append(good, k)
		return nil
	})
	if err != nil || len(broken) == 0 {
		return ds, nil, err
	}
	if share := float64(len(broken)) / float64(ds.Len()); share > limit || len(good) < 2 {
		return nil, broken, fmt.Errorf("training: %s: %d of %d pictures cannot be read, more than the limit of %.1f %%; the first: %s: %s",
			ds.Name(), len(broken), ds.Len(), 100*limit, broken[0].ID, broken[0].Reason)
	}
	return dataloader.Subset(ds, ds.Name(), good), broken, nil
}

// checkGallery returns an error if there is nothing to measure on a set: fewer than two pictures, or pictures without
// captions of which no two share a relation.
func checkGallery(ds dataloader.Dataset) error {
	ids, relations := make(map[string]bool), make(map[string]bool)
	measurable := false
	for i := range ds.Len() {
		item := ds.Item(i)
		if ids[item.ID] {
			continue
		}
		ids[item.ID] = true
		measurable = measurable || item.Caption != "" || (item.Relation != "" && relations[item.Relation])
		relations[item.Relation] = true
	}
	if len(ids) < 2 || !measurable {
		return fmt.Errorf("training: %s: %d pictures to evaluate on, none with a caption or a relation that two share: want at least 2 and something to measure", ds.Name(), len(ids))
	}
	return nil
}

func byID(set *retrieval.Set, gallery dataloader.Dataset) func(string) (*dataloader.Image, error) {
	index := make(map[string]int, len(set.Items))
	for i, item := range set.Items {
		index[item.ID] = i
	}
	return func(id string) (*dataloader.Image, error) {
		i, ok := index[id]
		if !ok {
			return nil, fmt.Errorf("training: no picture %q in the gallery", id)
		}
		return gallery.Image(context.Background(), i)
	}
}

// Table returns the main figures as text: a row for each method.
func (e *Evaluation) Table() string {
	var b strings.Builder
	r := e.Result
	fmt.Fprintf(&b, "%s, %s: %d queries in a gallery of %d\n\n", r.Data, r.Split, r.Queries, r.Gallery)
	columns := []struct {
		title, key string
		of         func(retrieval.MethodResult) retrieval.Metrics
	}{
		{"recall@1", "recall@1", func(m retrieval.MethodResult) retrieval.Metrics { return m.ImageToImage }},
		{"recall@10", "recall@10", func(m retrieval.MethodResult) retrieval.Metrics { return m.ImageToImage }},
		{"mAP", "map", func(m retrieval.MethodResult) retrieval.Metrics { return m.ImageToImage }},
		{"twin@1", "twin@1", func(m retrieval.MethodResult) retrieval.Metrics { return m.ImageToImage }},
		{"conflict", "conflict", func(m retrieval.MethodResult) retrieval.Metrics { return m.Triplets }},
		{"image→caption", "recall@1", func(m retrieval.MethodResult) retrieval.Metrics { return m.ImageToCaption }},
		{"caption→image", "recall@1", func(m retrieval.MethodResult) retrieval.Metrics { return m.CaptionToImage }},
	}
	for _, group := range []struct {
		title string
		rows  []retrieval.MethodResult
	}{{"method", r.Methods}, {"relations never trained", r.HeldOut}} {
		if len(group.rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%-24s", group.title)
		for _, c := range columns {
			fmt.Fprintf(&b, "  %-19s", c.title)
		}
		b.WriteString("\n")
		for _, row := range group.rows {
			fmt.Fprintf(&b, "%-24s", row.Name)
			for _, c := range columns {
				text := "–"
				if v, ok := c.of(row)[c.key]; ok {
					text = fmt.Sprintf("%.3f [%.3f, %.3f]", v.Mean, v.Low, v.High)
				}
				fmt.Fprintf(&b, "  %-19s", text)
			}
			b.WriteString("\n")
		}
		b.WriteString("\n")
	}
	if len(e.Broken) > 0 {
		fmt.Fprintf(&b, "%d pictures could not be read and take no part; the first: %s: %s\n", len(e.Broken), e.Broken[0].ID, e.Broken[0].Reason)
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// validation measures how well pictures of a set, each there once, retrieve each other and the captions.
func validation(ctx context.Context, e *Embedder, ds dataloader.Dataset, workers int) (map[string]float64, error) {
	vectors, err := e.Dataset(ctx, ds, nil)
	if err != nil {
		return nil, err
	}
	set := retrieval.NewSet(ds.Name(), "val", ds, nil)
	var texts []string
	for _, caption := range set.Captions() {
		texts = append(texts, caption.Text)
	}
	captions, err := e.Captions(texts)
	if err != nil {
		return nil, err
	}
	c := retrieval.Default()
	c.Resamples, c.Triplets, c.Points, c.Examples, c.Rankings, c.Workers = 1, 0, 0, 0, 0, workers
	methods := []retrieval.Method{retrieval.Embedded("model", retrieval.Trained, vectors, captions, e.Dim())}
	result, err := retrieval.Evaluate(ctx, set, methods, c)
	if err != nil {
		return nil, err
	}
	m := result.Methods[0]
	values := make(map[string]float64)
	for _, group := range []struct {
		prefix string
		of     retrieval.Metrics
	}{{"", m.ImageToImage}, {"image_to_caption.", m.ImageToCaption}, {"caption_to_image.", m.CaptionToImage}} {
		for _, key := range []string{"recall@1", "map", "twin@1"} {
			if v, ok := group.of[key]; ok {
				values[group.prefix+key] = v.Mean
			}
		}
	}
	return values, nil
}

// scoreOf returns the figure of a validation that the best checkpoint is chosen by: recall@1 among pictures, or, where
// no two match, of captions.
func scoreOf(values map[string]float64) float64 {
	if v, ok := values["recall@1"]; ok {
		return v
	}
	return values["image_to_caption.recall@1"]
}
