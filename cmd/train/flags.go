package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"relsim/checkpoints"
	"relsim/command"
	"relsim/dataloader"
	"relsim/hub"
	"relsim/loss"
	"relsim/nn"
	"relsim/scenes"
	"relsim/training"
)

// options are the flags. A configuration file has the same names as keys.
type options struct {
	data, images   []string
	weights        []float64
	val            string
	columns        columns
	shuffle        int
	valShare       float64
	scenesSize     int
	scenesProfiles int
	scenesGallery  int
	scenesSeed     uint64

	preset     string
	vision     string
	text       string
	lora       int
	loraAlpha  float64
	loraDrop   float64
	loraTarget string
	recipe     *training.Recipe // of preset; nil: none
	bases      training.Bases   // of vision and text, once they are opened
	runsOn     *training.Device // once it is opened
	hub        hub.Options

	model      string
	imageSize  int
	captions   string
	loss       string
	positives  string
	tau        float64
	learnTau   bool
	flip, turn bool
	epochs     float64
	steps      int
	batch      int
	microBatch int
	shards     int
	device     string
	precision  string
	lr         float64
	layerDecay float64
	warmup     float64
	decay      float64
	average    float64
	seed       uint64

	out       string
	resume    string
	saveEvery int
	evalEvery int
	keep      int
	maxBroken float64
	threads   int
	workers   int
	jpeg      string
	draft     bool
	convert   string
	cache     string
	cacheSize string

	textFrom       string
	visionFrom     string
	freeze         string
	checkpoint     bool
	embeddingCache string

	noTwin   bool
	noReport bool
	config   string
	json     bool
	quiet    bool
}

// columns are those of tables, and what separates them.
type columns struct {
	image, caption, separator string
}

// defaultEpochs is the budget of the demo in passes over its data.
const defaultEpochs = 7.5

// maxSteps bounds the steps that --epochs stands for.
const maxSteps = 1e9

const usageText = `train: train a model of relational visual similarity, evaluate it, write a report

  train --data scenes --out runs/scenes
  train --data captions.jsonl --images DIR --out runs/mine
  train --data pictures/ --steps 1000

Data
  --data scenes|FILE|DIR the embedded benchmark, or data of your own; the content says which:
                           rows {"image_hash","caption","url_link"}, one JSON object a line; CSV whose first line names the
                           columns; seed groups [{"anonymous_caption","image_urls"}]; each packed by gzip, too
                           Parquet, with the pictures in it or beside it, one file or several
                           shards of WebDataset: "DIR/{000000..000113}.tar", "a.tar::b.tar", a folder of them
                           a folder of pictures, with a.txt or a.json beside a.jpg
                         May be repeated: the sets are mixed
  --data-weights W,W…    how often a row of each --data comes in an epoch: 2 is twice, 0.5 every other time (1 each)
  --images DIR           folder of the pictures: DIR/<image_hash>[.png|.jpg|.webp] (the folder images beside the rows);
                         of several --data the one of all, or repeated, one for each
  --csv-img-key NAME     column of CSV or Parquet with the path of the picture in that folder (filepath, or image_hash)
  --csv-caption-key NAME column with the caption (title, or caption)
  --csv-separator CHAR   between the fields; tab is a tab (found out)
  --shuffle-buffer N     read shards one after the other, in random order, and shuffle their pictures through a buffer of
                         N (0: any picture of any shard may be next)
  --val FILE|DIR         data to validate and evaluate on; without it a part of --data is split off by hash,
                         groups as a whole
  --val-share P          that part (0.1)
  --scenes-size N        side of the generated pictures in pixels (64)
  --scenes-profiles N    attribute profiles of the generated training set, ten pictures each (2400)
  --scenes-gallery N     attribute profiles of the gallery to evaluate on, eight pictures each (200)
  --scenes-seed N        seed of the generated pictures (1)
  --max-broken P         share of unreadable pictures that stops the run (0.05); fewer are skipped and listed

Published towers
  --vision DIR|NAME      image tower: the folder of a published model (CLIP, DINOv2, ViT of timm), or its name on the hub,
                         such as openai/clip-vit-large-patch14
  --text DIR|NAME        text tower, with its tokenizer: CLIP, or a sentence encoder such as
                         sentence-transformers/all-MiniLM-L6-v2. The width of the embeddings is its own; an image tower of
                         another model has a new linear head: on its pooled row, or behind CLIP's own projection
  --lora R               adapters of rank R (LoRA) in the published towers that are not frozen. They and the heads are all
                         that is trained and saved; the published weights are needed again to resume and to evaluate
  --lora-alpha A         their scale is A/R (2·R)
  --lora-dropout P       of what enters them (0)
  --lora-targets LIST    modules that have them, by the published names or the ends of these, with commas (q,v: queries
                         and values of any model)
  --preset NAME          the settings that the paper's models are tuned with: %s. They are CLIP ViT-L/14 and
                         DINOv2-L with adapters, a linear head, frozen MiniLM, InfoNCE, three epochs; flags win over them

Model and loss
  --model NAME           towers that are not published ones, a preset: %s (scenes)
  --image-size N         side of the network's input in pixels (the preset's, or as published; positions are interpolated)
  --captions KIND        anonymous; literal: the control that learns what pictures show; shuffled: anonymous captions
                         dealt to other pictures, which must teach nothing (anonymous)
  --loss KIND            symmetric, infonce (image to text, the paper's) or sigmoid (symmetric)
  --positives KIND       what counts as a match in a batch: diagonal, caption, relation, mask-caption, mask-relation;
                         auto: relation where every row names one, else caption (auto)
  --text-from RUN        run or checkpoint whose text tower, with its vocabulary, the run begins with
  --vision-from RUN      the same for the image tower
  --freeze LIST          text or vision: do not train it. A frozen text tower is run once for each distinct caption.
                         text-base or vision-base: train only what is new in a published tower, its head
  --temperature T        of the logits (0.07)
  --learn-temperature    learn it
  --flip                 augment by left-right flips (true; --flip=false: none)
  --turn                 augment by quarter turns, save where a row says that gravity matters (true for scenes, false for
                         a file of rows: captions such as "stacked" and "falling" are not true of a turned picture)

Optimisation
  --epochs N             passes over the data, fractions too (%v)
  --steps N              steps; wins over --epochs
  --batch N              pictures of a step (64)
  --micro-batch N        pictures in memory at once; the gradient stays that of the whole batch (the batch)
  --shards N             parts of a micro-batch that threads take one by one; decides last bits, so it is chosen by the
                         model's size, not by the machine (0: chosen); a GPU takes a micro-batch as a whole
  --device D             what trains and evaluates: cpu, cuda (an NVIDIA GPU, the first that is free), cuda:N, or auto: a
                         GPU where one can be used, else the CPU (auto)
  --precision P          of the layers' matrix products: auto, float32, tf32 or bf16 (auto: that of the run that is continued;
                         else bf16 on GPUs that have it, float32 elsewhere); tf32 takes a GPU of compute capability 8.0, bf16
                         such a GPU or a processor with AMX or AVX512_BF16. Weights, optimiser, norms, softmax and loss
                         are float32
  --grad-checkpointing   keep, of the activations, only what enters the blocks, and compute the others again: the same
                         weights bit for bit, in a quarter of their memory, for about a seventh more time
  --lr R                 peak learning rate (0.0025)
  --layer-decay X        factor of the learning rate from a block to the one below it, 1 or less (0: none)
  --warmup N             steps with a rising rate, then a cosine to 0; below 1 a share of the steps (0.06)
  --weight-decay W       decoupled, on matrices, kernels and word vectors (0.05)
  --average D            decay of the averaged weights that are saved, 0 for none (%v)
  --seed N               of everything random (1)

Run
  --out DIR              run folder (runs/<name of the data>)
  --resume WHEN          auto, never or must (auto)
  --save-every N         steps between checkpoints (500; 0: at the end)
  --eval-every N         steps between validations (500; 0: at the end)
  --keep N               checkpoints kept besides the best (2)
  --threads N            of the kernels (all cores)
  --workers N            that decode pictures (all cores)
  --jpeg HOW             JPEG decoder: go; turbo, which is libturbojpeg (RELSIM_TURBOJPEG names its file); reference, the
                         standard library and imaging (slow); auto: go (auto)
  --jpeg-draft           decode large JPEG at 1/4 or 1/8, where that is not below the network's input: faster, less exact
  --convert HOW          to RGB: relsim, which lays transparent pixels over white and turns pictures by EXIF; pillow, which does
                         neither and clips 16-bit grey, as published models are given their pictures (relsim)
  --cache DIR            keep decoded and resized pictures in a folder (no)
  --cache-size SIZE      bytes of it at most, such as 500MiB (20GiB)
  --embedding-cache DIR  keeps the embeddings of frozen text towers from run to run (in the user's cache; "": none)
  --no-twin              scenes: do not train the control on literal captions
  --no-report            train only
  --config FILE          JSON object of these names; flags win over it
  --json                 print the evaluation as one JSON object; with --no-report, where the checkpoints are
  --quiet                no progress

One dash or two. Exit status: 0 done, 1 failed, 2 usage, 130 interrupted (a checkpoint is saved; the same command resumes).
`

// parse reads flags and configuration file. It returns flag.ErrHelp when the help was asked for and printed.
func parse(args []string, stdout io.Writer) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("train", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	d := training.Default()
	cores := runtime.GOMAXPROCS(0)
	fs.Func("data", "", func(s string) error { o.data = append(o.data, s); return nil })
	fs.Func("data-weights", "", func(s string) (err error) { o.weights, err = parseWeights(s); return err })
	fs.Func("images", "", func(s string) error { o.images = append(o.images, s); return nil })
	fs.StringVar(&o.columns.image, "csv-img-key", "", "")
	fs.StringVar(&o.columns.caption, "csv-caption-key", "", "")
	fs.StringVar(&o.columns.separator, "csv-separator", "", "")
	fs.IntVar(&o.shuffle, "shuffle-buffer", 0, "")
	fs.StringVar(&o.val, "val", "", "")
	fs.Float64Var(&o.valShare, "val-share", 0.1, "")
	fs.IntVar(&o.scenesSize, "scenes-size", scenes.Default().Size, "")
	fs.IntVar(&o.scenesProfiles, "scenes-profiles", scenes.Default().TrainProfiles, "")
	fs.IntVar(&o.scenesGallery, "scenes-gallery", scenes.Default().TestProfiles, "")
	fs.Uint64Var(&o.scenesSeed, "scenes-seed", scenes.Default().Seed, "")
	fs.StringVar(&o.preset, "preset", "", "")
	fs.StringVar(&o.vision, "vision", "", "")
	fs.StringVar(&o.text, "text", "", "")
	fs.IntVar(&o.lora, "lora", 0, "")
	fs.Float64Var(&o.loraAlpha, "lora-alpha", 0, "")
	fs.Float64Var(&o.loraDrop, "lora-dropout", 0, "")
	fs.StringVar(&o.loraTarget, "lora-targets", "q,v", "")
	fs.StringVar(&o.model, "model", "scenes", "")
	fs.IntVar(&o.imageSize, "image-size", 0, "")
	fs.StringVar(&o.captions, "captions", d.Captions, "")
	fs.StringVar(&o.loss, "loss", string(d.Loss.Kind), "")
	fs.StringVar(&o.positives, "positives", string(d.Loss.Positives), "")
	fs.Float64Var(&o.tau, "temperature", 0.07, "")
	fs.BoolVar(&o.learnTau, "learn-temperature", false, "")
	fs.BoolVar(&o.flip, "flip", d.Flip, "")
	fs.BoolVar(&o.turn, "turn", d.Turn, "")
	fs.Float64Var(&o.epochs, "epochs", defaultEpochs, "")
	fs.IntVar(&o.steps, "steps", 0, "")
	fs.IntVar(&o.batch, "batch", d.Batch, "")
	fs.IntVar(&o.microBatch, "micro-batch", 0, "")
	fs.StringVar(&o.device, "device", training.AutoDevice, "")
	fs.StringVar(&o.precision, "precision", training.AutoPrecision, "")
	fs.IntVar(&o.shards, "shards", 0, "")
	fs.Float64Var(&o.lr, "lr", d.LearningRate, "")
	fs.Float64Var(&o.layerDecay, "layer-decay", d.LayerDecay, "")
	fs.Float64Var(&o.warmup, "warmup", d.Warmup, "")
	fs.Float64Var(&o.decay, "weight-decay", d.Optimizer.WeightDecay, "")
	fs.Float64Var(&o.average, "average", d.Average, "")
	fs.Uint64Var(&o.seed, "seed", d.Seed, "")
	fs.StringVar(&o.out, "out", "", "")
	fs.StringVar(&o.resume, "resume", string(training.ResumeAuto), "")
	fs.IntVar(&o.saveEvery, "save-every", 500, "")
	fs.IntVar(&o.evalEvery, "eval-every", 500, "")
	fs.IntVar(&o.keep, "keep", 2, "")
	fs.Float64Var(&o.maxBroken, "max-broken", 0.05, "")
	fs.IntVar(&o.threads, "threads", cores, "")
	fs.IntVar(&o.workers, "workers", cores, "")
	fs.StringVar(&o.jpeg, "jpeg", dataloader.JPEGAuto, "")
	fs.BoolVar(&o.draft, "jpeg-draft", false, "")
	fs.StringVar(&o.convert, "convert", "relsim", "")
	fs.StringVar(&o.cache, "cache", "", "")
	fs.StringVar(&o.cacheSize, "cache-size", "20GiB", "")
	fs.StringVar(&o.textFrom, "text-from", "", "")
	fs.StringVar(&o.visionFrom, "vision-from", "", "")
	fs.StringVar(&o.freeze, "freeze", "", "")
	fs.BoolVar(&o.checkpoint, "grad-checkpointing", false, "")
	fs.StringVar(&o.embeddingCache, "embedding-cache", embeddingCache(), "")
	fs.BoolVar(&o.noTwin, "no-twin", false, "")
	fs.BoolVar(&o.noReport, "no-report", false, "")
	fs.StringVar(&o.config, "config", "", "")
	fs.BoolVar(&o.json, "json", false, "")
	fs.BoolVar(&o.quiet, "quiet", false, "")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintf(stdout, usageText, strings.Join(training.Recipes(), ", "), strings.Join(nn.Presets(), ", "), defaultEpochs, d.Average)
			return nil, flag.ErrHelp
		}
		return nil, command.Usage(err)
	}
	if fs.NArg() > 0 {
		return nil, command.Usagef("unexpected argument %q", fs.Arg(0))
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if o.config != "" {
		if err := readConfig(fs, given, o.config); err != nil {
			return nil, err
		}
	}
	if o.preset != "" {
		if err := o.applyPreset(given); err != nil {
			return nil, err
		}
	}
	if err := o.checkLoRA(given); err != nil {
		return nil, err
	}
	if len(o.data) == 0 || slices.Contains(o.data, "") {
		return nil, command.Usagef("--data is missing: scenes, a file of rows or a folder")
	}
	if n := len(o.weights); n > 0 && n != len(o.data) {
		return nil, command.Usagef("--data-weights has %d weights: want one for each --data, %d", n, len(o.data))
	}
	if n := len(o.images); n > 1 && n != len(o.data) {
		return nil, command.Usagef("--images is there %d times: want it once, or as often as --data, %d", n, len(o.data))
	}
	if !given["turn"] && o.recipe == nil && !o.scenes() { // rows need not say where gravity matters
		o.turn = false
	}
	for _, f := range []struct {
		name  string
		value int
	}{{"steps", o.steps}, {"micro-batch", o.microBatch}, {"shards", o.shards}} {
		if given[f.name] && f.value < 1 {
			return nil, command.Usagef("--%s is %d: want at least 1", f.name, f.value)
		}
	}
	if !(o.epochs > 0) || math.IsInf(o.epochs, 0) {
		return nil, command.Usagef("--epochs is %v: want a positive number", o.epochs)
	}
	return o, nil
}

// applyPreset takes the settings of --preset for the flags that are not given.
func (o *options) applyPreset(given map[string]bool) error {
	r, err := training.RecipeOf(o.preset)
	if err != nil {
		return command.Usagef("--preset: %w", err)
	}
	o.recipe = &r
	c := r.Config
	for name, set := range map[string]func(){
		"vision":            func() { o.vision = r.Vision },
		"text":              func() { o.text = r.Text },
		"lora":              func() { o.lora = c.Model.LoRA.Rank },
		"lora-alpha":        func() { o.loraAlpha = c.Model.LoRA.Alpha },
		"lora-dropout":      func() { o.loraDrop = c.Model.LoRA.Dropout },
		"lora-targets":      func() { o.loraTarget = strings.Join(r.Targets, ",") },
		"captions":          func() { o.captions = c.Captions },
		"loss":              func() { o.loss = string(c.Loss.Kind) },
		"positives":         func() { o.positives = string(c.Loss.Positives) },
		"temperature":       func() { o.tau = c.Model.Temperature },
		"learn-temperature": func() { o.learnTau = c.Model.LearnTemperature },
		"flip":              func() { o.flip = c.Flip },
		"turn":              func() { o.turn = c.Turn },
		"freeze":            func() { o.freeze = string(c.Freeze) },
		"epochs":            func() { o.epochs = r.Epochs },
		"batch":             func() { o.batch = c.Batch },
		"lr":                func() { o.lr = c.LearningRate },
		"layer-decay":       func() { o.layerDecay = c.LayerDecay },
		"warmup":            func() { o.warmup = c.Warmup },
		"weight-decay":      func() { o.decay = c.Optimizer.WeightDecay },
		"average":           func() { o.average = c.Average },
		"seed":              func() { o.seed = c.Seed },
	} {
		if !given[name] {
			set()
		}
	}
	return nil
}

// checkLoRA looks at the flags of adapters by themselves.
func (o *options) checkLoRA(given map[string]bool) error {
	switch {
	case given["lora"] && o.lora < 1:
		return command.Usagef("--lora is %d: want a rank of at least 1", o.lora)
	case given["lora-alpha"] && !(o.loraAlpha > 0):
		return command.Usagef("--lora-alpha is %v: want a number above 0", o.loraAlpha)
	case o.lora > 0 && o.vision == "" && o.text == "":
		return command.Usagef("--lora puts adapters into published towers: --vision or --text is missing")
	}
	for _, name := range []string{"lora-alpha", "lora-dropout", "lora-targets"} {
		if given[name] && o.lora == 0 {
			return command.Usagef("--%s goes with --lora", name)
		}
	}
	return nil
}

// openBases opens the published models of --vision and --text, once.
func (o *options) openBases(ctx context.Context) error {
	for _, f := range []struct {
		flag, name string
		base       **training.Base
	}{{"vision", o.vision, &o.bases.Vision}, {"text", o.text, &o.bases.Text}} {
		if f.name == "" {
			continue
		}
		base, err := training.OpenBase(ctx, f.name, o.hub)
		if err != nil {
			return fmt.Errorf("--%s: %w", f.flag, err)
		}
		*f.base = base
	}
	return nil
}

// embeddingCache is the default of --embedding-cache: none where the system has no place for such.
func embeddingCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "relsim", "embeddings")
}

// repeated are the flags that may be given several times: in a configuration file they may be lists.
var repeated = map[string]bool{"data": true, "images": true}

// readConfig sets the flags that a JSON object names and the command line does not.
func readConfig(fs *flag.FlagSet, given map[string]bool, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return command.Usagef("--config: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var values map[string]any
	if err := decoder.Decode(&values); err != nil {
		return command.Usagef("--config: %s: %w", path, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return command.Usagef("--config: %s: text after the JSON object", path)
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if name == "config" || fs.Lookup(name) == nil {
			return command.Usagef("--config: %s: unknown key %q", path, name)
		}
		if given[name] {
			continue
		}
		list, ok := values[name].([]any)
		if !ok || !repeated[name] {
			list = []any{values[name]}
		}
		for _, value := range list {
			var text string
			switch value := value.(type) {
			case string:
				text = value
			case json.Number:
				text = value.String()
			case bool:
				text = strconv.FormatBool(value)
			default:
				return command.Usagef("--config: %s: %q: want a string, a number or a boolean", path, name)
			}
			if err := fs.Set(name, text); err != nil {
				return command.Usagef("--config: %s: %q: %w", path, name, err)
			}
		}
		given[name] = true
	}
	return nil
}

// scenes reports whether the data are the embedded benchmark.
func (o *options) scenes() bool { return len(o.data) == 1 && o.data[0] == training.ScenesName }

// parseWeights reads --data-weights.
func parseWeights(s string) ([]float64, error) {
	var list []float64
	for text := range strings.SplitSeq(s, ",") {
		w, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil || !(w > 0) || math.IsInf(w, 0) {
			return nil, fmt.Errorf("%q: want numbers above 0, such as 2,1", text)
		}
		list = append(list, w)
	}
	return list, nil
}

// source returns the data that the flags ask for.
func (o *options) source() (training.Source, error) {
	images := func(i int) string {
		switch len(o.images) {
		case 0:
			return ""
		case 1:
			return o.images[0]
		}
		return o.images[i]
	}
	s := training.Source{
		Data: o.data[0], Images: images(0), Val: o.val, Weights: o.weights,
		ImageKey: o.columns.image, CaptionKey: o.columns.caption, Separator: o.columns.separator,
	}
	for i, data := range o.data[1:] {
		s.More = append(s.More, training.Part{Data: data, Images: images(1 + i)})
	}
	if o.scenes() {
		c := scenes.Default()
		c.Size, c.TrainProfiles, c.TestProfiles, c.Seed = o.scenesSize, o.scenesProfiles, o.scenesGallery, o.scenesSeed
		if err := c.Validate(); err != nil {
			return s, command.Usage(err)
		}
		s.Scenes = &c
	} else if o.val == "" {
		s.Share = o.valShare
	}
	if err := s.Validate(); err != nil {
		return s, command.Usage(err)
	}
	return s.Absolute()
}

// training returns the configuration of a run over n pictures; 0: as many as it takes, where they are not known yet.
func (o *options) training(n int) (training.Config, error) {
	c := training.Default()
	if o.recipe != nil {
		c = o.recipe.Config
	}
	model, err := nn.Preset(o.model)
	if err != nil {
		return c, command.Usagef("--model: %w", err)
	}
	if o.imageSize != 0 {
		model.Vision.ImageSize = o.imageSize
	} else if o.scenes() {
		model.Vision.ImageSize = o.scenesSize
	}
	model.Temperature, model.LearnTemperature = o.tau, o.learnTau
	if o.lora > 0 {
		model.LoRA = &nn.LoRA{Rank: o.lora, Alpha: cmp.Or(o.loraAlpha, 2*float64(o.lora)), Dropout: o.loraDrop}
	}
	c.Model = model
	c.Captions = o.captions
	c.Loss.Kind, c.Loss.Positives = loss.Kind(o.loss), loss.Positives(o.positives)
	c.Batch, c.MicroBatch, c.Shards = o.batch, o.microBatch, o.shards
	if o.microBatch == 0 {
		c.MicroBatch = o.batch
	}
	c.Steps = o.steps
	if c.Steps == 0 && o.batch > 0 {
		steps := math.Round(o.epochs * float64(max(n, 1)) / float64(o.batch))
		switch {
		case steps > maxSteps:
			return c, command.Usagef("--epochs is %v: %.3g steps, want at most %.0e", o.epochs, steps, maxSteps)
		case n == 0:
			steps = maxSteps
		}
		c.Steps = max(1, int(steps))
	}
	c.LearningRate, c.Warmup, c.Average, c.Seed = o.lr, o.warmup, o.average, o.seed
	c.LayerDecay = o.layerDecay
	c.Shuffle = o.shuffle
	c.Optimizer.WeightDecay = o.decay
	c.Flip, c.Turn = o.flip, o.turn
	c.Freeze, c.FreezeBase = "", nil
	for _, part := range strings.FieldsFunc(o.freeze, func(r rune) bool { return r == ',' }) {
		switch tower, base := strings.CutSuffix(part, "-base"); {
		case base:
			c.FreezeBase = append(c.FreezeBase, nn.Tower(tower))
		case c.Freeze != "":
			return c, command.Usagef("--freeze %s: with both towers frozen there is nothing to train", o.freeze)
		default:
			c.Freeze = nn.Tower(tower)
		}
	}
	if err := o.bases.Configure(&c, o.imageSize, strings.Split(o.loraTarget, ",")); err != nil {
		return c, command.Usage(err)
	}
	if o.runsOn != nil {
		c.Precision = o.runsOn.Precision
	}
	if c.Pictures, err = dataloader.ChoosePictures(o.jpeg); err != nil {
		return c, command.Usagef("--jpeg: %w", err)
	}
	c.Pictures.Draft = o.draft
	if c.Pictures.Convert, err = dataloader.ChooseConvert(o.convert); err != nil {
		return c, command.Usagef("--convert: %w", err)
	}
	if err := c.Validate(); err != nil {
		return c, command.Usage(err)
	}
	return c, nil
}

// openDevice opens what --device and --precision name. A run that is continued keeps its precision, unless another is asked
// for. Warnings go to stderr.
func (o *options) openDevice(ctx context.Context, stderr io.Writer) error {
	precision := o.precision
	if precision == training.AutoPrecision && o.resume != string(training.ResumeNever) {
		if dir, err := checkpoints.Latest(o.out); err == nil {
			if was, err := training.Describe(ctx, dir, hub.Options{}); err == nil { // else resuming says why
				precision = was.Config.Precision.String()
			}
		}
	}
	var err error
	o.runsOn, err = command.Device(o.device, precision, func(text string) { fmt.Fprintf(stderr, "train: %s\n", text) })
	var wrong *training.PrecisionError
	if precision != o.precision && errors.As(err, &wrong) {
		return fmt.Errorf("%s was begun in %s: %w", o.out, precision, wrong)
	}
	return err
}

// openCache opens the folder of --cache; nil without one. Its warnings go to stderr from any goroutine.
func (o *options) openCache(stderr io.Writer) (*dataloader.Cache, error) {
	size, err := dataloader.ParseBytes(o.cacheSize)
	if err != nil {
		return nil, command.Usagef("--cache-size: %w", err)
	}
	if o.cache == "" {
		return nil, nil
	}
	return dataloader.OpenCache(o.cache, size, func(text string) { fmt.Fprintf(stderr, "train: %s\n", text) }), nil
}

// options returns the settings of the run in folder out.
func (o *options) options(out string) (training.Options, error) {
	r := training.Options{
		Out: out, Resume: training.Resume(o.resume), Threads: o.threads, Workers: o.workers,
		SaveEvery: o.saveEvery, EvalEvery: o.evalEvery, Keep: o.keep, MaxBroken: o.maxBroken,
		Bases: o.bases, TextFrom: o.textFrom, VisionFrom: o.visionFrom, RowCache: o.embeddingCache, Checkpoint: o.checkpoint,
	}
	if o.runsOn != nil {
		r.GPU = o.runsOn.GPU
	}
	if err := r.Validate(); err != nil {
		return r, command.Usage(err)
	}
	return r, nil
}
