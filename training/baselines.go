package training

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"relsim/baseline"
	"relsim/dataloader"
	"relsim/embeddings"
	"relsim/kernel"
	"relsim/lpips"
	"relsim/nn"
	"relsim/pretrained"
	"relsim/retrieval"
)

// Kinds of a [BaselineSpec].
const (
	CLIPBaseline       = "clip"       // cosine of CLIP's embeddings of pictures
	DINOBaseline       = "dino"       // the same of DINOv2, or of another model of pictures
	CLIPTextBaseline   = "clip-text"  // CLIP's embedding of the query's caption with those of pictures: CLIP-T of arXiv:2512.07833
	LPIPSBaseline      = "lpips"      // arXiv:1801.03924
	EmbeddingsBaseline = "embeddings" // computed elsewhere, cosine
)

var baselineKinds = []string{CLIPBaseline, DINOBaseline, CLIPTextBaseline, LPIPSBaseline, EmbeddingsBaseline}

// BaselineSpec is a measure to compare with, from files.
type BaselineSpec struct {
	Name string // in results
	Kind string
	Net  lpips.Kind // of LPIPSBaseline
	Path string     // a published model's folder or name, a folder or file of LPIPS weights, a file of embeddings
}

// ParseBaseline reads KIND=PATH or KIND:NAME=PATH. The name of LPIPS is its net, alex, vgg or squeeze, and may not be left
// out; neither may that of embeddings.
func ParseBaseline(text string) (BaselineSpec, error) {
	fail := func(format string, args ...any) (BaselineSpec, error) {
		return BaselineSpec{}, fmt.Errorf("baseline %q: %s", text, fmt.Sprintf(format, args...))
	}
	left, path, ok := strings.Cut(text, "=")
	kind, name, named := strings.Cut(left, ":")
	b := BaselineSpec{Name: name, Kind: kind, Path: path}
	switch {
	case slices.Contains([]string{"minilm", "bert", "text"}, kind):
		return fail("a text encoder has no embedding of a picture; want %s", strings.Join(baselineKinds, ", "))
	case isPixelMeasure(left):
		return fail("it is always compared with")
	case !slices.Contains(baselineKinds, kind):
		return fail("no such kind: want %s", strings.Join(baselineKinds, ", "))
	case !ok || path == "":
		return fail("no path: want %s=PATH", left)
	case named && name == "":
		return fail("no name after the colon")
	case kind == LPIPSBaseline:
		b.Net = lpips.Kind(name)
		if !slices.Contains(lpips.Kinds(), b.Net) {
			return fail("no such net: want %s", strings.Join(lpipsNames(), ", "))
		}
		b.Name = "lpips-" + name
	case kind == EmbeddingsBaseline && !named:
		return fail("no name: want embeddings:NAME=FILE")
	case !named:
		b.Name = kind
	}
	if isPixelMeasure(b.Name) || slices.Contains([]string{"relsim", "chance", LiteralTwin}, b.Name) {
		return fail("another method is called %s", b.Name)
	}
	if _, err := os.Stat(path); err != nil {
		switch {
		case !b.published():
			return fail("%v", err)
		case !isName(path):
			return fail("%v, and it is no name on the hub (org/name)", err)
		}
	}
	if kind == EmbeddingsBaseline {
		if err := embeddings.CheckPath(path); err != nil {
			return fail("%v", err)
		}
	}
	return b, nil
}

func lpipsNames() []string {
	var names []string
	for _, kind := range lpips.Kinds() {
		names = append(names, "lpips:"+string(kind))
	}
	return names
}

func isPixelMeasure(name string) bool {
	return slices.ContainsFunc(baseline.All(1), func(m baseline.Measure) bool { return m.Name() == name })
}

// published reports whether the path is that of a published model.
func (b BaselineSpec) published() bool {
	return b.Kind == CLIPBaseline || b.Kind == DINOBaseline || b.Kind == CLIPTextBaseline
}

// baselines makes the methods. What can fail at once comes first, however the list is ordered.
func baselines(ctx context.Context, set *retrieval.Set, gallery, nearMiss dataloader.Dataset, o EvaluateOptions,
	progress func(done float64)) ([]retrieval.Method, error) {
	methods := make([]retrieval.Method, len(o.Baselines))
	var published int
	for i, b := range o.Baselines {
		var err error
		switch {
		case b.published():
			published++
		case b.Kind == LPIPSBaseline:
			methods[i], err = b.lpips(o)
		default:
			methods[i], err = b.embeddings(set)
		}
		if b.Kind == CLIPTextBaseline && err == nil {
			err = captioned(set)
		}
		if err != nil {
			return nil, fmt.Errorf("training: baseline %s: %w", b.Name, err)
		}
	}
	done := 0
	for i, b := range o.Baselines {
		if !b.published() {
			continue
		}
		var err error
		methods[i], err = b.model(ctx, set, gallery, nearMiss, o, func(part float64) {
			progress((float64(done) + part) / float64(published))
		})
		if err != nil {
			return nil, fmt.Errorf("training: baseline %s: %w", b.Name, err)
		}
		done++
	}
	return methods, nil
}

// lpips is the method of a perceptual distance.
func (b BaselineSpec) lpips(o EvaluateOptions) (retrieval.Method, error) {
	net, err := lpips.OpenKind(b.Net, b.Path)
	if err != nil {
		return retrieval.Method{}, err
	}
	c := baseline.LPIPSConfig{Side: o.Retrieval.Side, Memory: o.LPIPSMemory, Recompute: true, Threads: o.Threads}
	return retrieval.Method{
		Name: b.Name, Kind: retrieval.Baseline, Images: baseline.LPIPS(net, c),
		About: b.about("negative perceptual distance"),
	}, nil
}

func (b BaselineSpec) about(how string) *retrieval.About {
	return &retrieval.About{Kind: b.Kind, Path: b.Path, How: how}
}

// listed is the number of pictures that an error lists.
const listed = 5

// list names some of many.
func list(names []string) string {
	text := strings.Join(names[:min(listed, len(names))], ", ")
	if len(names) > listed {
		text += ", …"
	}
	return text
}

// embeddings is the method of embeddings computed elsewhere. Every picture of the set has to have one, so that all methods
// are measured on the same gallery.
func (b BaselineSpec) embeddings(set *retrieval.Set) (retrieval.Method, error) {
	fail := func(err error) (retrieval.Method, error) { return retrieval.Method{}, err }
	table, err := embeddings.Read(b.Path)
	if err != nil {
		return fail(err)
	}
	if table.IDs == nil {
		return fail(fmt.Errorf("%s has no image_ids to find pictures by; save them beside the embeddings, as .npz or Parquet", b.Path))
	}
	ids := make([]string, set.Len())
	for i := range ids {
		ids[i] = set.Item(i).ID
	}
	vectors, missing, err := table.Select(ids)
	if err != nil {
		return fail(fmt.Errorf("%s: %w", b.Path, err))
	}
	if len(missing) > 0 {
		return fail(fmt.Errorf("%s: %d of %d pictures have no row among its %d (by image_ids): %s; want all of them, so that every method is measured on one gallery",
			b.Path, len(missing), len(ids), table.Len(), list(missing)))
	}
	for i := range ids {
		row := vectors[i*table.Dim : (i+1)*table.Dim]
		if sum := kernel.SumSquares(nil, row); !(sum > 0) || math.IsInf(sum, 0) {
			return fail(fmt.Errorf("%s: the embedding of %q has the length %v, so that there is no cosine", b.Path, ids[i], math.Sqrt(sum)))
		}
	}
	kernel.L2Normalize(nil, vectors, vectors, len(ids), table.Dim, 0)
	m := retrieval.Embedded(b.Name, retrieval.Baseline, vectors, nil, table.Dim)
	m.About = b.about(fmt.Sprintf("cosine of embeddings of width %d computed elsewhere", table.Dim))
	return m, nil
}

// captioned returns an error if a picture that may be a query has no caption.
func captioned(set *retrieval.Set) error {
	var without []string
	for _, item := range set.Items {
		if item.Caption == "" {
			without = append(without, item.ID)
		}
	}
	if len(without) > 0 {
		return fmt.Errorf("%d of %d pictures have no caption to be compared by: %s", len(without), len(set.Items), list(without))
	}
	return nil
}

// model is the method of a published model.
func (b BaselineSpec) model(ctx context.Context, set *retrieval.Set, gallery, nearMiss dataloader.Dataset, o EvaluateOptions,
	progress func(done float64)) (retrieval.Method, error) {
	fail := func(err error) (retrieval.Method, error) { return retrieval.Method{}, err }
	base, err := OpenBase(ctx, b.Path, o.Hub)
	if err != nil {
		return fail(err)
	}
	if isCLIP := base.Family == pretrained.CLIP; isCLIP != (b.Kind != DINOBaseline) {
		return fail(fmt.Errorf("%s is a model of the family %s, which does not go with the kind %s", b.Path, base.Family, b.Kind))
	}
	model, err := OpenWith(ctx, b.Path, OpenOptions{Threads: o.Threads, Precision: o.Precision, GPU: o.GPU, Hub: o.Hub})
	if err != nil {
		return fail(err)
	}
	defer model.Close()
	if !model.Has(nn.VisionTower) {
		return fail(fmt.Errorf("%s: the model has no encoder of pictures", b.Path))
	}
	if b.Kind == CLIPTextBaseline && !model.Has(nn.TextTower) {
		return fail(fmt.Errorf("%s: the model has no text encoder, or no tokenizer for it (tokenizer.json, or vocab.json and merges.txt)", b.Path))
	}
	model.config.Pictures = o.pictures(model.config.Pictures)
	pictures, captions, err := vectorsOf(ctx, model, set, gallery, nearMiss, progress)
	if err != nil {
		return fail(err)
	}
	if b.Kind != CLIPTextBaseline {
		m := retrieval.Embedded(b.Name, retrieval.Baseline, pictures, captions, model.Dim())
		m.About = b.about(fmt.Sprintf("cosine of the embeddings of pictures by %s", base.described()))
		return m, nil
	}
	return retrieval.Method{
		Name: b.Name, Kind: retrieval.Baseline, ByCaption: true,
		Images: baseline.QueryEmbeddings(b.Name, ofCaptions(set, captions, model.Dim()), pictures, set.Len(), model.Dim()),
		About:  b.about(fmt.Sprintf("cosine of the embedding of the query's caption with those of pictures by %s (CLIP-T)", base.described())),
	}, nil
}

// described says what a published model is, but for its name.
func (b *Base) described() string {
	text := fmt.Sprintf("a published model (%s, %d px", b.Family, b.Transform.Size)
	if b.Revision != "" {
		text += ", revision " + b.Revision
	}
	return text + ")"
}

// ofCaptions is the embedding of the caption of every picture of a set, (set.Len(), dim): captions are those of
// [retrieval.Set.Captions]. The rows of near misses are zero: what is said of them does not hold.
func ofCaptions(set *retrieval.Set, captions []float32, dim int) []float32 {
	at := make(map[string]int)
	for i, caption := range set.Captions() {
		at[caption.Text] = i
	}
	queries := make([]float32, set.Len()*dim)
	for i, item := range set.Items {
		k := at[item.Caption]
		copy(queries[i*dim:(i+1)*dim], captions[k*dim:(k+1)*dim])
	}
	return queries
}
