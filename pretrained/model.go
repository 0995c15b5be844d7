package pretrained

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"relsim/dataloader"
	"relsim/nn"
	"relsim/tokenizer"
)

// The families of models.
const (
	CLIP   = "clip"   // arXiv:2103.00020
	DINOv2 = "dinov2" // arXiv:2304.07193
	BERT   = "bert"   // arXiv:1810.04805, as a sentence encoder: arXiv:1908.10084
	ViT    = "vit"    // arXiv:2010.11929, in the files of timm
)

// Model is a published model: what its folder says, before any weight is read.
type Model struct {
	// Dir is the folder.
	Dir string
	// Family is CLIP, DINOv2, BERT or ViT.
	Family string
	// Config describes the towers that the model has. It may be changed before the
	// parameters are declared; [Model.Weights] says what fits.
	Config nn.Config
	// Vocab is the number of rows of the table of words, 0 without a text tower.
	Vocab int
	// LogitScale is the logarithm of what CLIP multiplies similarities by. Its
	// inverse, within the bounds of nn, is Config.Temperature.
	LogitScale float64
	// Normalize says that a sentence encoder brings its embeddings to length one, as
	// nn always does.
	Normalize bool
	// Tokenizer makes ids of captions; nil without a text tower, and where the folder has no tokenizer.
	Tokenizer tokenizer.Tokenizer
	// Transform makes pictures the input of the image tower; zero where a model of timm does not say how. Its size need not be that of Config, which is the one
	// that the positions were trained for: DINOv2 was published for 518 pixels, and is fed 224.
	Transform dataloader.Transform

	published    nn.Config // as in config.json
	positionRows int       // of the table of a text tower
	sentence     *sentence // nil without the layout of sentence-transformers
	names        []Name
	files        *files
}

// family reads one kind of model.
type family struct {
	name string
	// parse fills Config, Vocab and what else config.json says.
	parse func(m *Model, f folder, config []byte) error
	// names lists the tensors of the published model.
	names func(m *Model) []Name
	// prefix may stand before all names, in files of models with a head.
	prefix string
	// rename gives an older name of a tensor the one of today; nil: there are none.
	rename func(name string) string
}

var families = map[string]family{
	CLIP:   {name: CLIP, parse: parseCLIP, names: clipNames},
	DINOv2: {name: DINOv2, parse: parseDINOv2, names: dinov2Names, prefix: "dinov2."},
	BERT:   {name: BERT, parse: parseBERT, names: bertNames, prefix: "bert.", rename: renameBERT},
	ViT:    {name: ViT, parse: parseViT, names: vitNames},
}

// modelTypes maps model_type of config.json to a family.
var modelTypes = map[string]string{
	"clip": CLIP, "clip_vision_model": CLIP, "clip_text_model": CLIP, "dinov2": DINOv2, "bert": BERT,
}

// Open reads a folder with a published model: its configuration and the headers
// of its weights. All names, shapes and types of the tensors are compared with what
// the configuration asks for; no memory is taken for them.
func Open(dir string) (*Model, error) {
	m, err := open(dir)
	if err != nil {
		return nil, fmt.Errorf("pretrained: open %s: %w", dir, err)
	}
	return m, nil
}

func open(dir string) (*Model, error) {
	f, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	m := &Model{Dir: dir}
	if m.sentence, f, err = openSentence(f); err != nil {
		return nil, err
	}
	config, err := f.read("config.json", maxConfig)
	if err != nil {
		return nil, err
	}
	kind, err := familyOf(config)
	if err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	if m.sentence != nil && kind.name != BERT {
		return nil, fmt.Errorf("config.json: a sentence encoder of family %s: want %s", kind.name, BERT)
	}
	m.Family = kind.name
	if m.files, err = openFiles(f, kind); err != nil {
		return nil, err
	}
	if err := kind.parse(m, f, config); err != nil {
		return nil, err
	}
	if err := m.Config.Validate(); err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	m.published = m.Config
	m.published.Vision.Convs = slices.Clone(m.Config.Vision.Convs)
	m.names = kind.names(m)
	if err := m.files.compare(kind.name, m.names); err != nil {
		return nil, err
	}
	if err := m.readInputs(f, config); err != nil {
		return nil, err
	}
	return m, nil
}

// familyOf finds the family that a configuration is of.
func familyOf(config []byte) (family, error) {
	var c struct {
		ModelType    string `json:"model_type"`
		Architecture string `json:"architecture"` // of timm, which has no model_type
	}
	if err := decode(config, &c); err != nil {
		return family{}, err
	}
	if c.ModelType == "" && c.Architecture != "" {
		return families[ViT], nil
	}
	name, ok := modelTypes[c.ModelType]
	if !ok {
		var known []string
		for k := range modelTypes {
			known = append(known, k)
		}
		slices.Sort(known)
		return family{}, fmt.Errorf("model_type %q: want one of %s", c.ModelType, strings.Join(known, ", "))
	}
	return families[name], nil
}

// Names lists the tensors of the published model in the order of the network, with
// the parameters of nn that hold them.
func (m *Model) Names() []Name { return slices.Clone(m.names) }

// absent returns a configuration without towers, for a parser to fill.
func absent() nn.Config {
	return nn.Config{
		Vision:      nn.VisionConfig{Stem: nn.NoVision},
		Text:        nn.TextConfig{Kind: nn.NoText},
		Temperature: 1,
	}
}

// activation reads hidden_act.
func activation(field, name string) (nn.GELU, error) {
	switch name {
	case "quick_gelu":
		return nn.GELUQuick, nil
	case "gelu":
		return nn.GELUErf, nil
	case "gelu_new", "gelu_fast", "gelu_pytorch_tanh":
		return nn.GELUTanh, nil
	}
	return "", fmt.Errorf("config.json: %s %q: want gelu, quick_gelu, gelu_new, gelu_fast or gelu_pytorch_tanh", field, name)
}

// temperature is 1/exp(scale), within the bounds of [nn.Config].
func temperature(scale float64) float64 { return min(max(math.Exp(-scale), .01), 100) }

// merge reads the keys of JSON objects into v, the later ones over the earlier. An
// empty one and null have none.
func merge(field string, v any, objects ...json.RawMessage) error {
	for _, object := range objects {
		if len(object) == 0 {
			continue
		}
		if err := json.Unmarshal(object, v); err != nil {
			return fmt.Errorf("config.json: %s: %w", field, err)
		}
	}
	return nil
}
