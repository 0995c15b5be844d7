package training

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"relsim/dataloader"
	"relsim/graph"
	"relsim/kernel"
	"relsim/loss"
	"relsim/nn"
	"relsim/optim"
)

// Captions that a model can be trained on.
const (
	Anonymous = "anonymous" // what the elements do: "{Subject} growing step by step"
	Literal   = "literal"   // what is seen: "five red circles"; the control of the experiment
	Shuffled  = "shuffled"  // anonymous ones, dealt to other pictures: what is left is what the method itself brings
)

// AutoPositives stands for [loss.SameRelation] where captions are anonymous and every row names its relation, and for
// [loss.SameCaption] elsewhere.
const AutoPositives loss.Positives = "auto"

// Config is everything that the weights of a run depend on, besides the data. It is saved in every checkpoint, and a
// run is resumed only under an equal one.
type Config struct {
	Model    nn.Config `json:"model"`
	Captions string    `json:"captions"` // Anonymous, Literal or Shuffled

	// Loss.Positives may be [AutoPositives]; [Run] then chooses by the data and saves its choice.
	Loss loss.Config `json:"loss"`

	Steps      int `json:"steps"`
	Batch      int `json:"batch"`
	MicroBatch int `json:"micro_batch"` // images in memory at once; divides Batch
	// Shards is the number of equal parts of a micro-batch that threads take one by one; it divides MicroBatch. Zero lets
	// [Run] choose by the model's size, not by the machine: gradients are added up part by part, which decides their
	// last bits. A GPU takes a micro-batch as a whole, whatever this says.
	Shards int `json:"shards"`

	LearningRate float64 `json:"learning_rate"` // peak
	Warmup       float64 `json:"warmup"`        // steps with a rising rate, below 1 as a share of Steps; then a cosine to 0
	// LayerDecay is the factor of the learning rate from one block to the one below it (arXiv:1905.05583, section 5.3.4):
	// block i of L trains at the rate times LayerDecay^(L-i), what lies before the blocks at LayerDecay^(L+1), what lies
	// behind them at the rate itself. 0: none.
	LayerDecay float64      `json:"layer_decay,omitempty"`
	Optimizer  optim.Config `json:"optimizer"`
	Average    float64      `json:"average"` // decay of the averaged weights that are evaluated and saved; 0: none

	// Shuffle is the number of pictures of the buffer that data in shards are shuffled through, shard by shard; 0: the
	// order is random as a whole. See [dataloader.Config].
	Shuffle int `json:"shuffle,omitempty"`

	WordDropout float64              `json:"word_dropout"`
	Flip        bool                 `json:"flip"` // augment by left-right flips
	Turn        bool                 `json:"turn"` // augment by quarter turns, gravity permitting
	Normalize   dataloader.Normalize `json:"normalize"`
	Geometry    dataloader.Geometry  `json:"geometry,omitzero"` // how pictures are cropped and resized
	Pictures    dataloader.Pictures  `json:"pictures"`          // how files become pixels

	// Precision of the matrix products of the towers. The loss, the optimiser and the weights that it updates are float32,
	// and so are, on CPUs, all embeddings for validation.
	Precision kernel.Precision `json:"precision"`

	// Freeze is a tower that is not trained; empty: none. No word is dropped where it is the text tower.
	Freeze nn.Tower `json:"freeze,omitempty"`
	// FreezeBase are towers of published models of which only what is new is trained: a head, adapters. A tower with
	// adapters is one of them without being named.
	FreezeBase []nn.Tower `json:"freeze_base,omitempty"`
	// VisionInit and TextInit are the fingerprints of the weights that a tower took from a published model, or from
	// another run: see [Options].Bases and [Options].VisionFrom. [Run] fills them in.
	VisionInit string `json:"vision_init,omitempty"`
	TextInit   string `json:"text_init,omitempty"`

	Seed uint64 `json:"seed"`
}

// Default returns the recipe of the demo.
func Default() Config {
	model, err := nn.Preset("scenes")
	if err != nil {
		panic(err) // the preset is part of the program
	}
	return Config{
		Model:        model,
		Captions:     Anonymous,
		Loss:         loss.Config{Kind: loss.Symmetric, Positives: AutoPositives, Temperature: model.Temperature},
		Steps:        2813,
		Batch:        64,
		MicroBatch:   64,
		LearningRate: 2.5e-3,
		Warmup:       0.06,
		Optimizer:    optim.Default(),
		WordDropout:  0.1,
		Flip:         true,
		Turn:         true,
		Seed:         1,
	}
}

// Validate returns an error that names the first field that makes no sense.
func (c Config) Validate() error {
	if err := c.Model.Validate(); err != nil {
		return err
	}
	if err := c.Optimizer.Validate(); err != nil {
		return err
	}
	checked := c.Loss
	if checked.Positives == AutoPositives {
		checked.Positives = loss.SameCaption
	}
	if err := checked.Validate(); err != nil {
		return err
	}
	if !slices.Contains([]string{Anonymous, Literal, Shuffled}, c.Captions) {
		return fmt.Errorf("training: captions %q: want %q, %q or %q", c.Captions, Anonymous, Literal, Shuffled)
	}
	if _, err := c.Precision.MarshalText(); err != nil {
		return fmt.Errorf("training: %w", err)
	}
	if c.Freeze != "" && !slices.Contains(towers, c.Freeze) {
		return fmt.Errorf("training: freeze %q: want %q or %q", c.Freeze, nn.VisionTower, nn.TextTower)
	}
	if t := c.transform(); t.Size > 0 { // else there is no image tower
		if err := t.Validate(); err != nil {
			return fmt.Errorf("training: %w", err)
		}
	}
	for _, t := range c.FreezeBase {
		if !slices.Contains(towers, t) {
			return fmt.Errorf("training: freeze the base of %q: want %q or %q", t, nn.VisionTower, nn.TextTower)
		}
	}
	for _, f := range []struct {
		name string
		ok   bool
		got  any
		want string
	}{
		{"batch", c.Batch >= 2, c.Batch, "at least 2: a contrastive loss compares the pictures of a batch"},
		{"micro_batch", c.MicroBatch >= 1 && c.MicroBatch <= c.Batch && c.Batch%max(c.MicroBatch, 1) == 0, c.MicroBatch,
			fmt.Sprintf("a divisor of the batch, %d", c.Batch)},
		{"shards", c.Shards == 0 || c.Shards >= 1 && c.MicroBatch%c.Shards == 0, c.Shards,
			fmt.Sprintf("a divisor of the micro-batch, %d, or 0", c.MicroBatch)},
		{"steps", c.Steps >= 1, c.Steps, "at least 1"},
		{"learning_rate", c.LearningRate > 0 && c.LearningRate <= 10, c.LearningRate, "above 0, at most 10"},
		{"warmup", c.Warmup >= 0 && c.warmupSteps() < c.Steps, c.Warmup, "fewer steps than the run has, or a share of them"},
		{"layer_decay", c.LayerDecay >= 0 && c.LayerDecay <= 1, c.LayerDecay, "above 0, at most 1, or 0 for none"},
		{"average", c.Average >= 0 && c.Average < 1, c.Average, "0 to below 1"},
		{"shuffle", c.Shuffle >= 0, c.Shuffle, "0 or more pictures"},
		{"word_dropout", c.WordDropout >= 0 && c.WordDropout < 1, c.WordDropout, "0 to below 1"},
	} {
		if !f.ok {
			return fmt.Errorf("training: %s is %v: want %s", f.name, f.got, f.want)
		}
	}
	return nil
}

// resolve replaces [AutoPositives] and shards that are left open, and settles what a frozen tower leaves no choice of.
func (c Config) resolve(ds dataloader.Dataset) Config {
	if c.Shards == 0 {
		c.Shards = ShardsFor(c.Model, c.MicroBatch)
	}
	if c.Freeze == nn.TextTower {
		c.WordDropout = 0
	}
	if c.Loss.Positives != AutoPositives {
		return c
	}
	c.Loss.Positives = loss.SameRelation
	if c.Captions == Literal {
		c.Loss.Positives = loss.SameCaption
	}
	for i := 0; i < ds.Len() && c.Loss.Positives == loss.SameRelation; i++ {
		if ds.Item(i).Relation == "" {
			c.Loss.Positives = loss.SameCaption
		}
	}
	return c
}

// freeze marks the parameters that are not trained.
func (c Config) freeze(m *nn.Model, bases Bases) {
	if c.Freeze != "" {
		m.Freeze(c.Freeze)
	}
	for _, t := range c.FreezeBase {
		if base := bases.of(t); base != nil {
			given := base.given(m, t)
			for _, p := range m.Params.All() {
				p.Frozen = p.Frozen || given[p.Name]
			}
		}
	}
}

// factor returns what the learning rate is multiplied by for a parameter.
func (c Config) factor(m *nn.Model, p *nn.Param) float64 {
	depth, layers := m.Depth(p)
	if c.LayerDecay == 0 || layers == 0 {
		return 1
	}
	return math.Pow(c.LayerDecay, float64(layers+1-depth))
}

// warmupSteps returns the length of the warm-up.
func (c Config) warmupSteps() int { return optim.WarmupSteps(c.Warmup, c.Steps) }

// transform returns how pictures enter the network, without augmentation.
func (c Config) transform() dataloader.Transform {
	return dataloader.Transform{Size: c.Model.Vision.ImageSize, Geometry: c.Geometry, Normalize: c.Normalize, Pictures: c.Pictures}
}

// caption returns the caption of an item that the model learns.
func (c Config) caption(item dataloader.Item) string {
	if c.Captions == Literal {
		return item.Literal
	}
	return item.Caption
}

// allCaptions returns every caption of an item that the model may learn.
func (c Config) allCaptions(item dataloader.Item) []string {
	if c.Captions != Literal && len(item.Captions) > 1 {
		return item.Captions
	}
	return []string{c.caption(item)}
}

// diff names the first field in which two configurations differ, by its path in JSON, with both values.
func (c Config) diff(other Config) (field string, mine, theirs any, differs bool) {
	return diffValue("", reflect.ValueOf(c), reflect.ValueOf(other))
}

func diffValue(path string, a, b reflect.Value) (string, any, any, bool) {
	if a.Kind() == reflect.Struct {
		for i := range a.NumField() {
			name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
			if name == "" {
				name = a.Type().Field(i).Name
			}
			switch {
			case a.Type().Field(i).Anonymous:
				name = path
			case path != "":
				name = path + "." + name
			}
			if field, x, y, differs := diffValue(name, a.Field(i), b.Field(i)); differs {
				return field, x, y, true
			}
		}
		return "", nil, nil, false
	}
	if reflect.DeepEqual(a.Interface(), b.Interface()) {
		return "", nil, nil, false
	}
	return path, a.Interface(), b.Interface(), true
}

// parseConfig reads the configuration of a checkpoint. Unknown keys are errors: a newer program wrote them.
func parseConfig(data []byte) (Config, error) {
	var c Config
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("training: config.json: %w", err)
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("training: config.json: %w", err)
	}
	return c, nil
}

// Options are the settings of a run that its weights do not depend on.
type Options struct {
	Out    string // run folder
	Resume Resume // what to do when Out holds checkpoints
	// GPU runs towers, loss and embeddings, in the precision of the configuration; nil: the CPU does. It stays the caller's.
	GPU       *graph.GPU
	Threads   int     // of the kernels
	Workers   int     // that decode pictures
	SaveEvery int     // steps between checkpoints; 0: only at the end
	EvalEvery int     // steps between validations; 0: only at the end
	Keep      int     // checkpoints kept besides the best
	MaxBroken float64 // share of unreadable pictures that stops the run

	// Bases are published models that towers begin with: [Bases.Configure] puts them into a configuration.
	Bases Bases
	// VisionFrom and TextFrom are runs or checkpoints that a tower takes its weights from; empty: they are drawn. The
	// text tower brings its vocabulary along.
	VisionFrom, TextFrom string
	// RowCache is the folder that keeps the embeddings of a frozen text tower from run to run; empty: none does.
	RowCache string
	// Checkpoint keeps, of the activations, only the inputs of blocks, and computes the others again.
	Checkpoint bool
	// PictureSeconds is how long a picture takes to decode, by all workers together: see [Look]. Only [Estimate] depends
	// on it.
	PictureSeconds float64

	keepPictures int // bytes of pictures kept for the second pass over micro-batches; 0: the loader's default
}

// Resume says what to do when the run folder holds checkpoints.
type Resume string

// The choices of [Resume].
const (
	ResumeAuto  Resume = "auto"  // continue if there is a checkpoint, else start
	ResumeNever Resume = "never" // start; refuse a folder with checkpoints
	ResumeMust  Resume = "must"  // continue; refuse a folder without
)

// Validate returns an error that names the first option that makes no sense.
func (o Options) Validate() error {
	switch {
	case o.Out == "":
		return fmt.Errorf("training: no run folder")
	case o.Resume != ResumeAuto && o.Resume != ResumeNever && o.Resume != ResumeMust:
		return fmt.Errorf("training: resume %q: want auto, never or must", o.Resume)
	case o.Threads < 1 || o.Threads > 1024:
		return fmt.Errorf("training: threads is %d: want 1 to 1024", o.Threads)
	case o.Workers < 1 || o.Workers > 1024:
		return fmt.Errorf("training: workers is %d: want 1 to 1024", o.Workers)
	case o.SaveEvery < 0:
		return fmt.Errorf("training: save-every is %d: want 0 or more", o.SaveEvery)
	case o.EvalEvery < 0:
		return fmt.Errorf("training: eval-every is %d: want 0 or more", o.EvalEvery)
	case o.Keep < 1:
		return fmt.Errorf("training: keep is %d: want at least 1", o.Keep)
	case !(o.MaxBroken >= 0 && o.MaxBroken <= 1):
		return fmt.Errorf("training: max-broken is %v: want a share, 0 to 1", o.MaxBroken)
	}
	return nil
}
