package pretrained

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"relsim/nn"
)

// AdapterConfig is what adapter_config.json says: LoRA as the library PEFT writes it.
// Names of modules are those of the published model, without the name of the part
// that the adapters were put on.
type AdapterConfig struct {
	// Base is base_model_name_or_path, the published model, and Revision which one.
	Base, Revision string
	// Class is auto_mapping.base_model_class, the part of the model that the adapters
	// were put on, such as CLIPVisionTransformer; empty where the file does not say.
	Class string
	// Rank, Alpha, Dropout and RSLoRA are as in [nn.LoRA].
	Rank    int
	Alpha   float64
	Dropout float64
	RSLoRA  bool
	// Targets or Pattern say which modules have adapters: see [nn.MatchModules].
	Targets []string
	Pattern string
	// Ranks and Alphas replace Rank and Alpha. The first entry whose pattern matches
	// the name of a module, or its end after a dot, counts.
	Ranks  []PatternValue[int]
	Alphas []PatternValue[float64]
}

// PatternValue is an entry of rank_pattern or alpha_pattern.
type PatternValue[V int | float64] struct {
	Pattern string
	Value   V
}

// Bounds of hostile adapters.
const (
	maxAdapterConfig = 1 << 20 // bytes
	maxAdapterRank   = 1 << 12 // as in nn
	maxPatterns      = 1 << 10
	maxPatternBytes  = 1 << 14 // of all patterns of a file
)

// unread are the keys of adapter_config.json that change nothing here.
var unread = []string{
	"auto_mapping", "task_type", "inference_mode", "megatron_core", "peft_version", "qalora_group_size",
}

// ParseAdapterConfig reads adapter_config.json. A setting that is not supported is an
// error that names its key; one that is unknown may be null, false or empty.
func ParseAdapterConfig(data []byte) (AdapterConfig, error) {
	c, err := parseAdapterConfig(data)
	if err != nil {
		return AdapterConfig{}, fmt.Errorf("pretrained: adapter_config.json: %w", err)
	}
	return c, nil
}

func parseAdapterConfig(data []byte) (AdapterConfig, error) {
	var c AdapterConfig
	if len(data) > maxAdapterConfig {
		return c, fmt.Errorf("%d bytes, at most %d are allowed", len(data), maxAdapterConfig)
	}
	var keys map[string]json.RawMessage
	if err := decode(data, &keys); err != nil {
		return c, err
	}
	if keys == nil {
		return c, errors.New("null, want an object")
	}
	var kind, bias string
	var mapping struct {
		Class string `json:"base_model_class"`
	}
	var plain bool // fan_in_fan_out
	for _, k := range []struct {
		name string
		into any
	}{
		{"peft_type", &kind}, {"r", &c.Rank}, {"lora_alpha", &c.Alpha}, {"lora_dropout", &c.Dropout},
		{"use_rslora", &c.RSLoRA}, {"bias", &bias}, {"fan_in_fan_out", &plain},
		{"base_model_name_or_path", &c.Base}, {"revision", &c.Revision}, {"auto_mapping", &mapping},
	} {
		if value, ok := keys[k.name]; ok {
			if err := json.Unmarshal(value, k.into); err != nil {
				return c, fmt.Errorf("%s: %w", k.name, err)
			}
		}
		if !slices.Contains(unread, k.name) {
			delete(keys, k.name)
		}
	}
	c.Class = mapping.Class
	switch {
	case kind != "LORA":
		return c, fmt.Errorf("peft_type %q: want LORA", kind)
	case bias != "" && bias != "none":
		return c, fmt.Errorf("bias %q: want none: biases are not trained beside adapters", bias)
	case plain:
		return c, errors.New("fan_in_fan_out true: want false: weights are (out, in)")
	}
	if err := c.parseTargets(keys["target_modules"]); err != nil {
		return c, fmt.Errorf("target_modules: %w", err)
	}
	var err error
	if c.Ranks, err = parsePatterns[int](keys["rank_pattern"]); err != nil {
		return c, fmt.Errorf("rank_pattern: %w", err)
	}
	if c.Alphas, err = parsePatterns[float64](keys["alpha_pattern"]); err != nil {
		return c, fmt.Errorf("alpha_pattern: %w", err)
	}
	if err := checkInit(keys["init_lora_weights"]); err != nil {
		return c, fmt.Errorf("init_lora_weights: %w", err)
	}
	for _, name := range append([]string{"target_modules", "rank_pattern", "alpha_pattern", "init_lora_weights"}, unread...) {
		delete(keys, name)
	}
	for _, name := range sortedKeys(keys) {
		if !blank(keys[name]) {
			return c, fmt.Errorf("%s is %s: not supported, want it null, false or empty", name, shortened(keys[name]))
		}
	}
	settings := nn.LoRA{Rank: c.Rank, Alpha: c.Alpha, Dropout: c.Dropout, RSLoRA: c.RSLoRA, Targets: c.Targets, Pattern: c.Pattern}
	if err := settings.Validate(); err != nil {
		return c, err
	}
	// Compiles all patterns.
	_, err = c.resolver()
	return c, err
}

// parseTargets reads a list of names or one regular expression.
func (c *AdapterConfig) parseTargets(value json.RawMessage) error {
	switch {
	case blank(value):
		return fmt.Errorf("%s: want a list of names or a regular expression", shortened(value))
	case value[0] == '[':
		return json.Unmarshal(value, &c.Targets)
	}
	return json.Unmarshal(value, &c.Pattern)
}

// parsePatterns reads an object in its order.
func parsePatterns[V int | float64](value json.RawMessage) ([]PatternValue[V], error) {
	if blank(value) {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(value))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("%s: want an object", shortened(value))
	}
	var list []PatternValue[V]
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		p := PatternValue[V]{Pattern: key.(string)} // a key of an object is a string
		if err := d.Decode(&p.Value); err != nil {
			return nil, fmt.Errorf("%q: %w", p.Pattern, err)
		}
		if len(list) == maxPatterns {
			return nil, fmt.Errorf("more than %d entries", maxPatterns)
		}
		list = append(list, p)
	}
	return list, nil
}

// checkInit refuses the ways of drawing adapters that change the weights of the model
// as well: the published ones are not what the adapters are for.
func checkInit(value json.RawMessage) error {
	var name string
	switch {
	case blank(value) || string(value) == "true":
		return nil
	case json.Unmarshal(value, &name) != nil:
		return fmt.Errorf("%s: want true, false or a name", shortened(value))
	case slices.Contains([]string{"gaussian", "eva", "orthogonal"}, strings.ToLower(name)):
		return nil
	}
	return fmt.Errorf("%q: not supported: it changes the weights of the model too", name)
}

// blank says that a value is missing, null, false, or empty.
func blank(value json.RawMessage) bool {
	return slices.Contains([]string{"", "null", "false", "{}", "[]", `""`}, string(bytes.Join(bytes.Fields(value), nil)))
}

// shortened is the beginning of a JSON value, for messages.
func shortened(value json.RawMessage) string {
	if len(value) == 0 {
		return "missing"
	}
	const most = 60
	if len(value) > most {
		return strings.ToValidUTF8(string(value[:most]), "") + "…"
	}
	return string(value)
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// resolver returns a function that says of each module whether it has an adapter, and
// of which rank and alpha.
func (c *AdapterConfig) resolver() (func(module string) (rank int, alpha float64, ok bool), error) {
	match, err := nn.MatchModules(c.Targets, c.Pattern)
	if err != nil {
		return nil, err
	}
	bytes := 0
	compile := func(pattern string) (func(string) bool, error) {
		if bytes += len(pattern); bytes > maxPatternBytes {
			return nil, fmt.Errorf("rank_pattern and alpha_pattern: more than %d bytes of patterns", maxPatternBytes)
		}
		return nn.MatchModules(nil, `(?:.*\.)?(?:`+pattern+`)`)
	}
	ranks, alphas := make([]func(string) bool, len(c.Ranks)), make([]func(string) bool, len(c.Alphas))
	for i, p := range c.Ranks {
		if p.Value < 1 || p.Value > maxAdapterRank {
			return nil, fmt.Errorf("rank_pattern: %q: rank %d, want 1 to %d", p.Pattern, p.Value, maxAdapterRank)
		}
		if ranks[i], err = compile(p.Pattern); err != nil {
			return nil, fmt.Errorf("rank_pattern: %w", err)
		}
	}
	for i, p := range c.Alphas {
		if !(p.Value > 0) || math.IsInf(p.Value, 0) {
			return nil, fmt.Errorf("alpha_pattern: %q: alpha %v, want above 0", p.Pattern, p.Value)
		}
		if alphas[i], err = compile(p.Pattern); err != nil {
			return nil, fmt.Errorf("alpha_pattern: %w", err)
		}
	}
	return func(module string) (rank int, alpha float64, ok bool) {
		if !match(module) {
			return 0, 0, false
		}
		rank, alpha = c.Rank, c.Alpha
		matches := func(m func(string) bool) bool { return m(module) }
		if i := slices.IndexFunc(ranks, matches); i >= 0 {
			rank = c.Ranks[i].Value
		}
		if i := slices.IndexFunc(alphas, matches); i >= 0 {
			alpha = c.Alphas[i].Value
		}
		return rank, alpha, true
	}, nil
}

// peftFile is adapter_config.json as PEFT writes it, keys in their order.
type peftFile struct {
	AlphaPattern    json.RawMessage   `json:"alpha_pattern"`
	AutoMapping     map[string]string `json:"auto_mapping"`
	Base            string            `json:"base_model_name_or_path"`
	Bias            string            `json:"bias"`
	FanInFanOut     bool              `json:"fan_in_fan_out"`
	InferenceMode   bool              `json:"inference_mode"`
	InitLoRAWeights bool              `json:"init_lora_weights"`
	LayerReplic     any               `json:"layer_replication"`
	LayersPattern   any               `json:"layers_pattern"`
	LayersTransform any               `json:"layers_to_transform"`
	LoftQ           struct{}          `json:"loftq_config"`
	Alpha           float64           `json:"lora_alpha"`
	Dropout         float64           `json:"lora_dropout"`
	ModulesToSave   any               `json:"modules_to_save"`
	Type            string            `json:"peft_type"`
	Rank            int               `json:"r"`
	RankPattern     json.RawMessage   `json:"rank_pattern"`
	Revision        *string           `json:"revision"`
	Targets         any               `json:"target_modules"`
	TaskType        any               `json:"task_type"`
	UseDoRA         bool              `json:"use_dora"`
	UseRSLoRA       bool              `json:"use_rslora"`
}

// peftClasses are the classes of transformers that auto_mapping may name, with the
// module that each is in.
var peftClasses = map[string]string{
	"CLIPModel":             "transformers.models.clip.modeling_clip",
	"CLIPVisionTransformer": "transformers.models.clip.modeling_clip",
	"CLIPTextTransformer":   "transformers.models.clip.modeling_clip",
	"Dinov2Model":           "transformers.models.dinov2.modeling_dinov2",
	"BertModel":             "transformers.models.bert.modeling_bert",
}

// Encode returns adapter_config.json as PEFT writes it.
func (c AdapterConfig) Encode() ([]byte, error) {
	f := peftFile{
		Base: c.Base, Bias: "none", InferenceMode: true, InitLoRAWeights: true,
		Alpha: c.Alpha, Dropout: c.Dropout, Type: "LORA", Rank: c.Rank, UseRSLoRA: c.RSLoRA,
	}
	if c.Revision != "" {
		f.Revision = &c.Revision
	}
	if library := peftClasses[c.Class]; library != "" {
		f.AutoMapping = map[string]string{"base_model_class": c.Class, "parent_library": library}
	}
	if c.Pattern != "" {
		f.Targets = c.Pattern
	} else {
		f.Targets = slices.Sorted(slices.Values(c.Targets))
	}
	f.RankPattern, f.AlphaPattern = encodePatterns(c.Ranks), encodePatterns(c.Alphas)
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("pretrained: adapter_config.json: %w", err)
	}
	if _, err := ParseAdapterConfig(data); err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

func encodePatterns[V int | float64](list []PatternValue[V]) json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, p := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		key, _ := json.Marshal(p.Pattern) // a string
		value, err := json.Marshal(p.Value)
		if err != nil {
			value = []byte("null") // not finite: refused when it is read back
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes()
}
