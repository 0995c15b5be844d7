// Command eval evaluates trained models against measures of appearance, and writes a report:
//
//	eval --checkpoint runs/scenes
//	eval --checkpoint runs/mine --data test.jsonl --images DIR --compare runs/other
//	eval --checkpoint runs/mine --data pictures/
//	eval --checkpoint runs/mine --baseline lpips:alex=DIR --baseline clip=DIR --baseline embeddings:theirs=file.npz
//
// The checkpoint is a run folder (its best checkpoint is taken) or a checkpoint folder. The gallery is the test split of
// the embedded benchmark, or the validation rows that the run was trained with, unless --data names another: in any
// format that train takes. The control that `train --data scenes` trains beside the model is compared without being asked
// for. `eval --help` lists the flags.
//
// Measures of pixels are always compared with. --baseline adds a published model, LPIPS, or embeddings that another
// program computed; results say of each what it is. Embeddings are found by the ids of pictures, and have to be there for
// every one, near misses included, so that all methods are measured on one gallery. `--export-embeddings FILE` writes
// those of the model in the same form.
//
// The folder of the report holds index.html, its figures, metrics.json with the figures, and rankings.jsonl.gz with the
// first ten pictures that every method finds for every query.
//
//	eval judge --run runs/mine --model NAME --dry-run
//	eval judge --run runs/mine --model NAME --endpoint https://api.openai.com/v1
//
// "eval judge" lets a vision model behind an OpenAI-compatible endpoint score from 0 to 10 how far the same relation holds
// in a query and in what each method found first for it, as the paper does. A pair that several methods found is asked
// about once. The estimate comes first; --dry-run prints it, and ends. Answers go to judge.jsonl as they come, each on the
// disk before the next, and are never asked again; an interrupted run is continued by the same command. Averages, with
// intervals over queries, are printed and go to judge.html, judge.json and a figure. Questions go through OpenAI's own Go
// client, to OpenAI or any server that is compatible. The key is read from OPENAI_API_KEY, and is written nowhere; the address
// from OPENAI_BASE_URL, where --endpoint does not say it. No other variable of that client is read (OPENAI_ORG_ID,
// OPENAI_PROJECT_ID, OPENAI_CUSTOM_HEADERS …). `eval judge --help` lists the flags.
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"relsim/checkpoints"
	"relsim/command"
	"relsim/dataloader"
	"relsim/embeddings"
	"relsim/formats"
	"relsim/hub"
	"relsim/kernel"
	"relsim/report"
	"relsim/retrieval"
	"relsim/scenes"
	"relsim/training"
)

const usageText = `eval: evaluate trained models of relational visual similarity, write a report

  eval --checkpoint runs/scenes
  eval --checkpoint runs/mine --data test.jsonl --images DIR --compare runs/other
  eval --checkpoint runs/mine --baseline lpips:alex=DIR --baseline clip=DIR --baseline embeddings:theirs=file.npz

  --checkpoint DIR     run folder (its best checkpoint), RUN/best, RUN/latest or a checkpoint folder; or a published
                       model, its folder or its name on the hub
  --vision DIR         where the published model of the image tower is now, for models that were trained on one and hold
                       adapters only (where it was then); its weights must be the same
  --text DIR           the same for the text tower
  --compare DIR        another model to compare with; may be repeated; NAME=DIR gives it a name, unless it is a path
  --no-twin            leave out the control on literal captions in DIR/literal-twin
  --baseline KIND=PATH another measure to compare with; may be repeated:
                         clip=DIR, dino=DIR         cosine of a published model's embeddings of pictures; of a name on
                                                    the hub, org/name, too
                         clip-text=DIR              CLIP's embedding of the query's caption with those of pictures
                         lpips:alex=DIR             LPIPS, in alex, vgg or squeeze; folder or file of the weights
                         embeddings:NAME=FILE       computed elsewhere: .npz (embeddings, image_ids) or .parquet
                       clip:NAME=DIR and so on gives another name
  --lpips-memory SIZE  of features of LPIPS, in half precision (2GiB); they are computed again and again if they take more
  --export-embeddings FILE  write the embeddings of the model's gallery: .npz, .parquet, or .npy (vectors alone)
  --data scenes|FILE|DIR  what to evaluate on, in any format that train takes: rows, CSV, seed groups, a folder of pictures
                       (what the model was trained with: its test split or validation rows)
  --images DIR         folder of the pictures of --data FILE (the folder images beside it)
  --csv-img-key NAME, --csv-caption-key NAME, --csv-separator CHAR  of a CSV, as train has them
  --max-broken P       share of unreadable pictures that stops the evaluation (0.05); fewer are left out
  --queries N          queries, drawn by --seed (all)
  --resamples N        of the bootstrap that gives the intervals (1000)
  --seed N             of queries, intervals and examples (1)
  --out DIR            where the report goes (the run folder's report/)
  --no-report          print only
  --device D           of the models: auto, cpu, cuda or cuda:N (auto: an NVIDIA GPU where one can be used, else the CPU)
  --precision P        of the models' matrix products: auto, float32, tf32 or bf16 (auto: float32; bf16 on GPUs that have it)
  --threads N          (all cores)
  --jpeg HOW           JPEG decoder: auto, go, turbo or reference (as each model was trained)
  --convert HOW        conversion to RGB: relsim or pillow, see train (as each model was trained; relsim of published ones)
  --cache DIR          keep decoded and resized pictures in a folder (no)
  --cache-size SIZE    bytes of it at most, such as 500MiB (20GiB)
  --json               print one JSON object: what report/metrics.json holds
  --quiet              no progress

eval judge lets a vision model score what was retrieved: "eval judge --help" says how.

One dash or two. Exit status: 0 done, 1 failed, 2 usage, 130 interrupted.
`

func main() { command.Main(run) }

// run is the command. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var results bytes.Buffer // written at the end, in one go: what a reader gets is whole
	if len(args) > 0 && args[0] == "judge" {
		return finish(ctx, "eval judge", runJudge(ctx, args[1:], &results, stderr), &results, stdout, stderr)
	}
	o, err := parse(args, &results)
	if err == nil {
		if err = kernel.Init(); err != nil {
			err = command.Usage(err)
		}
	}
	if err == nil {
		if warning := kernel.Crowded(o.threads); warning != "" {
			fmt.Fprintf(stderr, "eval: %s\n", warning)
		}
		err = o.evaluate(ctx, args, &results, stderr)
	}
	return finish(ctx, "eval", err, &results, stdout, stderr)
}

// finish prints the results that there are, and returns the exit status.
func finish(ctx context.Context, name string, err error, results *bytes.Buffer, stdout, stderr io.Writer) int {
	if results.Len() > 0 {
		if _, failed := stdout.Write(results.Bytes()); failed != nil && (err == nil || errors.Is(err, flag.ErrHelp)) {
			err = fmt.Errorf("standard output: %w", failed)
		}
	}
	return command.Status(ctx, name, err, stderr)
}

// options are the flags.
type options struct {
	checkpoint   string
	compare      []string
	noTwin       bool
	data, images string
	columns      formats.Options
	maxBroken    float64
	out          string
	noReport     bool
	threads      int
	jpeg         string
	convert      *string // nil: as each model was trained
	cache        string
	cacheSize    string
	device       string
	precision    string
	json, quiet  bool
	baselines    []training.BaselineSpec
	lpipsMemory  string
	export       string
	vision, text string
	hub          hub.Options
	retrieval    retrieval.Config
}

// parse reads the flags. It returns flag.ErrHelp when the help was asked for and printed.
func parse(args []string, stdout io.Writer) (*options, error) {
	o := &options{retrieval: retrieval.Default()}
	fs := flag.NewFlagSet("eval", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.checkpoint, "checkpoint", "", "")
	fs.Func("compare", "", func(s string) error { o.compare = append(o.compare, s); return nil })
	fs.BoolVar(&o.noTwin, "no-twin", false, "")
	fs.Func("baseline", "", func(s string) error {
		b, err := training.ParseBaseline(s)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(o.baselines, func(have training.BaselineSpec) bool { return have.Name == b.Name }) {
			return fmt.Errorf("two baselines are called %s: %s:NAME=PATH gives another name", b.Name, b.Kind)
		}
		o.baselines = append(o.baselines, b)
		return nil
	})
	fs.StringVar(&o.lpipsMemory, "lpips-memory", "2GiB", "")
	fs.StringVar(&o.export, "export-embeddings", "", "")
	fs.StringVar(&o.vision, "vision", "", "")
	fs.StringVar(&o.text, "text", "", "")
	fs.StringVar(&o.data, "data", "", "")
	fs.StringVar(&o.images, "images", "", "")
	fs.StringVar(&o.columns.ImageKey, "csv-img-key", "", "")
	fs.StringVar(&o.columns.CaptionKey, "csv-caption-key", "", "")
	fs.StringVar(&o.columns.Separator, "csv-separator", "", "")
	fs.Float64Var(&o.maxBroken, "max-broken", 0.05, "")
	fs.IntVar(&o.retrieval.Queries, "queries", 0, "")
	fs.IntVar(&o.retrieval.Resamples, "resamples", o.retrieval.Resamples, "")
	fs.Uint64Var(&o.retrieval.Seed, "seed", o.retrieval.Seed, "")
	fs.StringVar(&o.out, "out", "", "")
	fs.BoolVar(&o.noReport, "no-report", false, "")
	fs.IntVar(&o.threads, "threads", runtime.GOMAXPROCS(0), "")
	fs.StringVar(&o.jpeg, "jpeg", "", "")
	fs.Func("convert", "", func(s string) error {
		convert, err := dataloader.ChooseConvert(s)
		o.convert = &convert
		return err
	})
	fs.StringVar(&o.cache, "cache", "", "")
	fs.StringVar(&o.cacheSize, "cache-size", "20GiB", "")
	fs.StringVar(&o.device, "device", training.AutoDevice, "")
	fs.StringVar(&o.precision, "precision", training.AutoPrecision, "")
	fs.BoolVar(&o.json, "json", false, "")
	fs.BoolVar(&o.quiet, "quiet", false, "")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, usageText)
			return nil, flag.ErrHelp
		}
		return nil, command.Usage(err)
	}
	switch {
	case fs.NArg() > 0:
		return nil, command.Usagef("unexpected argument %q", fs.Arg(0))
	case o.checkpoint == "":
		return nil, command.Usagef("--checkpoint is missing")
	case o.threads < 1 || o.threads > 1024:
		return nil, command.Usagef("--threads is %d: want 1 to 1024", o.threads)
	case !(o.maxBroken >= 0 && o.maxBroken <= 1):
		return nil, command.Usagef("--max-broken is %v: want a share, 0 to 1", o.maxBroken)
	case o.images != "" && (o.data == "" || o.data == training.ScenesName):
		return nil, command.Usagef("--images goes with --data FILE")
	case o.columns != (formats.Options{}) && (o.data == "" || o.data == training.ScenesName):
		return nil, command.Usagef("--csv-img-key, --csv-caption-key and --csv-separator go with --data FILE")
	}
	if o.export != "" {
		if err := embeddings.CheckPath(o.export); err != nil {
			return nil, command.Usagef("--export-embeddings: %w", err)
		}
	}
	o.retrieval.Workers = o.threads
	if err := o.retrieval.Validate(); err != nil {
		return nil, command.Usage(err)
	}
	return o, nil
}

// evaluate does what the flags ask for.
func (o *options) evaluate(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	began := time.Now()
	device, err := command.Device(o.device, o.precision, func(text string) { fmt.Fprintf(stderr, "eval: %s\n", text) })
	if err != nil {
		return err
	}
	defer device.Close()
	pictures, cache, err := o.pictures(stderr)
	if err != nil {
		return err
	}
	lpipsMemory, err := dataloader.ParseBytes(o.lpipsMemory)
	if err != nil {
		return command.Usagef("--lpips-memory: %w", err)
	}
	o.hub.Notice = func(format string, args ...any) {
		if !o.quiet {
			fmt.Fprintf(stderr, "evaluate: "+format+"\n", args...)
		}
	}
	models, source, err := o.models(ctx)
	if err != nil {
		return err
	}
	if !o.quiet {
		names := make([]string, len(models))
		for i, m := range models {
			names[i] = m.Name
		}
		for _, b := range o.baselines {
			names = append(names, b.Name)
		}
		fmt.Fprintf(stderr, "evaluate: %s on %s\n", strings.Join(names, ", "), source.Data)
		fmt.Fprintf(stderr, "evaluate: %s\n", device)
	}
	var last time.Time
	evaluation, err := training.Evaluate(ctx, training.EvaluateOptions{
		Source: source, Models: models, Retrieval: o.retrieval, Threads: o.threads, Workers: o.threads,
		Precision: device.Precision, GPU: device.GPU,
		MaxBroken: cmp.Or(o.maxBroken, -1), // -1: none may be broken
		Pictures:  pictures, Convert: o.convert, Cache: cache,
		Vision: o.vision, Text: o.text, Hub: o.hub,
		Baselines: o.baselines, LPIPSMemory: lpipsMemory, Export: o.export,
		Progress: func(done float64) {
			if now := time.Now(); !o.quiet && now.Sub(last) > 5*time.Second {
				if !last.IsZero() {
					fmt.Fprintf(stderr, "evaluate: %.0f %%\n", 100*done)
				}
				last = now
			}
		},
	})
	if err != nil {
		return err
	}
	folder := o.out
	if folder == "" {
		folder = filepath.Join(runFolder(o.checkpoint), "report")
	}
	if !o.noReport {
		if err := report.Write(folder, report.FromEvaluation(evaluation, append([]string{"eval"}, args...), time.Since(began))); err != nil {
			return err
		}
	}
	if o.json {
		return printJSON(stdout, evaluation.Result)
	}
	fmt.Fprint(stdout, evaluation.Table())
	if !o.noReport {
		fmt.Fprintf(stdout, "\n%s\n", filepath.Join(folder, "index.html"))
	}
	return nil
}

// pictures returns how to decode (nil: as each model was trained) and the folder of --cache (nil: none).
func (o *options) pictures(stderr io.Writer) (pictures *dataloader.Pictures, cache *dataloader.Cache, err error) {
	if o.jpeg != "" {
		p, err := dataloader.ChoosePictures(o.jpeg)
		if err != nil {
			return nil, nil, command.Usagef("--jpeg: %w", err)
		}
		pictures = &p
	}
	size, err := dataloader.ParseBytes(o.cacheSize)
	if err != nil {
		return nil, nil, command.Usagef("--cache-size: %w", err)
	}
	if o.cache != "" {
		cache = dataloader.OpenCache(o.cache, size, func(text string) { fmt.Fprintf(stderr, "eval: %s\n", text) })
	}
	return pictures, cache, nil
}

// models lists the models to compare, the main one first, and the data to compare them on.
func (o *options) models(ctx context.Context) ([]training.Evaluated, training.Source, error) {
	main, err := training.Describe(ctx, o.checkpoint, o.hub)
	if err != nil {
		return nil, training.Source{}, err
	}
	if main.Published && o.out == "" && !o.noReport {
		return nil, training.Source{}, command.Usagef("%s is a published model: --out says where its report goes, --no-report that there is none", o.checkpoint)
	}
	models := []training.Evaluated{{Name: "relsim", Kind: retrieval.Trained, Path: o.checkpoint}}
	if main.Config.Captions == training.Literal {
		models[0] = training.Evaluated{Name: training.LiteralTwin, Kind: retrieval.Baseline, Path: o.checkpoint}
	} else if twin := filepath.Join(runFolder(o.checkpoint), training.LiteralTwin); !o.noTwin {
		if _, err := checkpoints.Resolve(twin); err == nil {
			models = append(models, training.Evaluated{Name: training.LiteralTwin, Kind: retrieval.Baseline, Path: twin})
		}
	}
	for _, text := range o.compare {
		name, path, named := strings.Cut(text, "=")
		if exists(text) { // a path may have a '=' in it
			named = false
		}
		if !named {
			path = text
		}
		other, err := training.Describe(ctx, path, o.hub)
		if err != nil {
			return nil, training.Source{}, err
		}
		m := training.Evaluated{Name: name, Kind: retrieval.Trained, Path: path}
		literal := other.Config.Captions == training.Literal
		if literal {
			m.Kind = retrieval.Baseline
		}
		if !named {
			m.Name = filepath.Base(filepath.Clean(path))
			if literal {
				m.Name = training.LiteralTwin
			}
		}
		for i, have := range models { // an explicit model wins over the twin found beside
			if have.Name == m.Name && i > 0 && m.Name == training.LiteralTwin {
				models = append(models[:i], models[i+1:]...)
				break
			}
		}
		models = append(models, m)
	}
	for _, b := range o.baselines {
		if slices.ContainsFunc(models, func(m training.Evaluated) bool { return m.Name == b.Name }) {
			return nil, training.Source{}, command.Usagef("a model and a baseline are called %s: --baseline %s:NAME=PATH gives another name", b.Name, b.Kind)
		}
	}
	source := main.Source
	switch {
	case o.data == training.ScenesName:
		if source == nil || source.Scenes == nil { // a model of something else, tried on the benchmark
			c := scenes.Default()
			source = &training.Source{Data: o.data, Scenes: &c}
		}
	case o.data != "":
		source = &training.Source{
			Data: o.data, Images: o.images, Val: o.data,
			ImageKey: o.columns.ImageKey, CaptionKey: o.columns.CaptionKey, Separator: o.columns.Separator,
		}
		if err := source.Validate(); err != nil {
			return nil, training.Source{}, command.Usage(err)
		}
	case source == nil:
		return nil, training.Source{}, command.Usagef("the checkpoint does not say what it was trained on: --data is missing")
	}
	return models, *source, nil
}

// runFolder returns the run that a model belongs to, whichever way the path names it: the run folder, its checkpoints
// folder, a checkpoint, RUN/best or RUN/latest. A lone checkpoint is its own.
func runFolder(path string) string {
	dir, err := checkpoints.Resolve(path)
	if err != nil {
		return path
	}
	absolute, err := filepath.Abs(dir)
	if err != nil || filepath.Base(filepath.Dir(absolute)) != "checkpoints" {
		return path
	}
	return filepath.Join(dir, "..", "..")
}

// exists reports whether a path names a file, a folder, or a checkpoint as RUN/best does.
func exists(path string) bool {
	if _, err := os.Stat(path); err == nil {
		return true
	}
	_, err := checkpoints.Resolve(path)
	return err == nil
}
