package pretrained

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"relsim/checkpoints"
	"relsim/nn"
)

// The files of an adapter, and what PEFT puts before the names of modules.
const (
	adapterConfigFile  = "adapter_config.json"
	adapterWeightsFile = "adapter_model.safetensors"
	adapterPrefix      = "base_model.model."
)

// Adapter is a folder that PEFT wrote: low-rank adapters for a published model
// (arXiv:2106.09685), before any weight is read.
type Adapter struct {
	Dir string
	// Config is what adapter_config.json says, in published names.
	Config AdapterConfig
	// LoRA are the same settings in the names of package nn, for [nn.Config].LoRA.
	LoRA nn.LoRA

	tensors []adapterTensor
}

// adapterTensor is a tensor of an adapter, and the parameter that it fills.
type adapterTensor struct {
	name, param string
	shape       []int
}

// linear is a linear layer of a published model: its name there, that of [nn.Module],
// and its shape.
type linear struct {
	published, module string
	tower             nn.Tower
	out, in           int
}

// linears lists the linear layers that may have adapters: those of the encoder
// layers, and the projection.
func (m *Model) linears() []linear {
	var list []linear
	for _, n := range m.names {
		published, isWeight := strings.CutSuffix(n.Published, ".weight")
		module := strings.TrimSuffix(n.Param, ".weight")
		if !isWeight || len(n.Shape) != 2 || !strings.Contains(n.Param, ".blocks.") && !isHead(n.Param) {
			continue
		}
		if n.High > 0 {
			third := "qkv"[n.Low/n.Shape[0]:]
			module = strings.TrimSuffix(module, "qkv") + third[:1]
		}
		list = append(list, linear{published, module, n.Tower, n.Shape[0], n.Shape[1]})
	}
	return list
}

// part is what adapters were put on: a model, or one tower of it.
type part struct {
	class string // of transformers
	root  string // of published names, which are not part of the names in the adapter
	extra string // before the names in the adapter
}

// parts lists what adapters for a model can be on, towers first. Where a tower is the
// model, it has no root.
func (m *Model) parts() []part {
	if m.Family == CLIP {
		return []part{
			{class: "CLIPVisionTransformer", root: "vision_model."}, {class: "CLIPTextTransformer", root: "text_model."}, {class: "CLIPModel"},
		}
	}
	list := []part{{class: map[string]string{DINOv2: "Dinov2Model", BERT: "BertModel"}[m.Family]}}
	if prefix := families[m.Family].prefix; prefix != "" {
		list = append(list, part{extra: prefix}) // a model with a head
	}
	return list
}

// partOf is the part that adapters of a tower are written for.
func (m *Model) partOf(tower nn.Tower) part {
	if m.Family == CLIP && tower == nn.TextTower {
		return m.parts()[1]
	}
	return m.parts()[0]
}

// within lists the linear layers of a part, by their names in an adapter.
func (m *Model) within(p part) map[string]linear {
	names := make(map[string]linear)
	for _, l := range m.linears() {
		if name, ok := strings.CutPrefix(l.published, p.root); ok {
			names[p.extra+name] = l
		}
	}
	return names
}

// OpenAdapter reads a folder of adapters for m: adapter_config.json, and the header of
// adapter_model.safetensors. The names and shapes of its tensors are compared with
// what the configuration asks of the model; no memory is taken for them.
//
// The names say which part of the model the adapters were put on: all of it, or one
// tower.
func OpenAdapter(dir string, m *Model) (*Adapter, error) {
	a, err := openAdapter(dir, m)
	if err != nil {
		return nil, fmt.Errorf("pretrained: adapter %s: %w", dir, err)
	}
	return a, nil
}

func openAdapter(dir string, m *Model) (*Adapter, error) {
	f, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	data, err := f.read(adapterConfigFile, maxAdapterConfig)
	if err != nil {
		return nil, err
	}
	a := &Adapter{Dir: dir}
	if a.Config, err = parseAdapterConfig(data); err != nil {
		return nil, fmt.Errorf("%s: %w", adapterConfigFile, err)
	}
	if !f.has(adapterWeightsFile) {
		return nil, fmt.Errorf("%s is not there: want the weights as safetensors", adapterWeightsFile)
	}
	path, err := f.path(adapterWeightsFile)
	if err != nil {
		return nil, err
	}
	file, err := checkpoints.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := a.compare(m, file); err != nil {
		return nil, fmt.Errorf("%s: %w", adapterWeightsFile, err)
	}
	return a, nil
}

// loraName is the name of a tensor of an adapter.
var loraName = regexp.MustCompile(`\A` + regexp.QuoteMeta(adapterPrefix) + `(.+)\.lora_([AB])\.weight\z`)

// compare finds the part of the model that the adapters are for, and fills LoRA and the
// list of tensors.
func (a *Adapter) compare(m *Model, file *checkpoints.File) error {
	part, err := a.choosePart(m, file)
	if err != nil {
		return err
	}
	resolve, err := a.Config.resolver()
	if err != nil {
		return err
	}
	var faults [3][]string // missing, unexpected, different
	asked := make(map[string]bool)
	layers := m.within(part)
	var adapted []sized
	for _, name := range sortedKeys(layers) {
		rank, alpha, ok := resolve(name)
		if !ok {
			continue
		}
		l := layers[name]
		adapted = append(adapted, sized{l.module, rank, alpha})
		for _, t := range []adapterTensor{
			{adapterPrefix + name + ".lora_A.weight", l.module + ".lora_A.weight", []int{rank, l.in}},
			{adapterPrefix + name + ".lora_B.weight", l.module + ".lora_B.weight", []int{l.out, rank}},
		} {
			asked[t.name] = true
			a.tensors = append(a.tensors, t)
			info, there := file.Info(t.name)
			switch {
			case !there:
				faults[0] = append(faults[0], t.name)
			case !slices.Equal(info.Shape, t.shape):
				faults[2] = append(faults[2], fmt.Sprintf("%s: %v in the file, %v by %s", t.name, info.Shape, t.shape, adapterConfigFile))
			case !isFloat(info.DType):
				faults[2] = append(faults[2], fmt.Sprintf("%s: type %s, want F32, F16, BF16 or F64", t.name, info.DType))
			}
		}
	}
	for _, name := range file.Names() {
		if !asked[name] {
			faults[1] = append(faults[1], name)
		}
	}
	var list []string
	for i, kind := range []string{"missing", "unexpected", "different"} {
		if names := faults[i]; len(names) > 0 {
			list = append(list, fmt.Sprintf("%d %s (%s)", len(names), kind, firstOf(names)))
		}
	}
	switch {
	case len(adapted) == 0:
		return fmt.Errorf("target_modules %q%s of %s name no linear layer of the model; names are such as %s",
			a.Config.Targets, a.Config.Pattern, adapterConfigFile, sortedKeys(layers)[0])
	case len(list) > 0:
		return fmt.Errorf("of %d tensors that %s asks for: %s", len(a.tensors), adapterConfigFile, strings.Join(list, "; "))
	}
	a.LoRA = m.settings(nn.LoRA{Rank: a.Config.Rank, Alpha: a.Config.Alpha, Dropout: a.Config.Dropout, RSLoRA: a.Config.RSLoRA}, adapted)
	return nil
}

// choosePart finds the part of the model that has the modules in the file: the one that
// the configuration names, or else the only one that has as many of them as any.
func (a *Adapter) choosePart(m *Model, file *checkpoints.File) (part, error) {
	parts := m.parts()
	if i := slices.IndexFunc(parts, func(p part) bool { return p.class != "" && p.class == a.Config.Class }); i >= 0 {
		return parts[i], nil
	}
	best, most, ties := parts[0], -1, 0
	for _, p := range parts {
		layers, n := m.within(p), 0
		for _, name := range file.Names() {
			info, _ := file.Info(name)
			match := loraName.FindStringSubmatch(name)
			if match == nil || len(info.Shape) != 2 {
				continue
			}
			if l, ok := layers[match[1]]; ok && (match[2] == "A" && info.Shape[1] == l.in || match[2] == "B" && info.Shape[0] == l.out) {
				n++
			}
		}
		switch {
		case n > most:
			best, most, ties = p, n, 0
		case n == most && n > 0:
			ties++
		}
	}
	if ties > 0 {
		return part{}, errors.New("the tensors fit more than one tower of the model: auto_mapping.base_model_class of " +
			adapterConfigFile + " may say which")
	}
	return best, nil
}

// sized is a module of nn that has an adapter.
type sized struct {
	module string
	rank   int
	alpha  float64
}

// settings completes l by the modules that have adapters.
func (m *Model) settings(l nn.LoRA, adapted []sized) nn.LoRA {
	for _, s := range adapted {
		l.Targets = append(l.Targets, s.module)
		if s.rank != l.Rank {
			if l.Ranks == nil {
				l.Ranks = make(map[string]int)
			}
			l.Ranks[s.module] = s.rank
		}
		if s.alpha != l.Alpha {
			if l.Alphas == nil {
				l.Alphas = make(map[string]float64)
			}
			l.Alphas[s.module] = s.alpha
		}
	}
	slices.Sort(l.Targets)
	if pattern, ok := m.sameInAllLayers(l.Targets); ok {
		l.Targets, l.Pattern = nil, pattern
	}
	return l
}

// inLayer takes the name of a module of an encoder layer apart.
var inLayer = regexp.MustCompile(`\A(vision|text)\.blocks\.[0-9]+\.(.+)\z`)

// sameInAllLayers returns a short pattern for modules that are the same ones in all
// layers of a tower.
func (m *Model) sameInAllLayers(modules []string) (pattern string, ok bool) {
	var tower string
	var names []string
	for _, module := range modules {
		match := inLayer.FindStringSubmatch(module)
		if match == nil || tower != "" && match[1] != tower {
			return "", false
		}
		tower = match[1]
		names = append(names, regexp.QuoteMeta(match[2]))
	}
	slices.Sort(names)
	pattern = tower + `\.blocks\.[0-9]+\.(` + strings.Join(slices.Compact(names), "|") + `)`
	matches, err := nn.MatchModules(nil, pattern)
	if err != nil {
		return "", false
	}
	n := 0
	for _, l := range m.linears() {
		if matches(l.module) {
			n++
		}
	}
	return pattern, n == len(modules)
}

// Weights fills the parameters of the adapters from the file. p is declared by package
// nn with LoRA, and has its memory.
func (a *Adapter) Weights(p *nn.Params) error {
	if err := a.weights(p); err != nil {
		return fmt.Errorf("pretrained: adapter %s: %w", a.Dir, err)
	}
	return nil
}

func (a *Adapter) weights(p *nn.Params) error {
	f, err := openFolder(a.Dir)
	if err != nil {
		return err
	}
	path, err := f.path(adapterWeightsFile)
	if err != nil {
		return err
	}
	file, err := checkpoints.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	filled, towers := make(map[string]bool), make(map[string]bool)
	for _, t := range a.tensors {
		param := p.Lookup(t.param)
		switch info, ok := file.Info(t.name); {
		case !ok || !slices.Equal(info.Shape, t.shape):
			return fmt.Errorf("tensor %s is not what it was: the file has changed", t.name)
		case param == nil:
			return fmt.Errorf("there is no parameter %s for %s: the model was not declared with these adapters", t.param, t.name)
		case !slices.Equal(param.Shape, t.shape):
			return fmt.Errorf("parameter %s is %v, %s is %v", t.param, param.Shape, t.name, t.shape)
		case param.Data == nil:
			return fmt.Errorf("parameter %s has no memory: allocate the parameters first", t.param)
		}
		filled[t.param], towers[towerOf(t.param)] = true, true
	}
	for _, param := range p.All() {
		if isAdapter(param.Name) && towers[towerOf(param.Name)] && !filled[param.Name] {
			return fmt.Errorf("nothing is in the adapter for parameter %s", param.Name)
		}
	}
	for _, t := range a.tensors {
		if err := file.ReadFloat32(t.name, p.Lookup(t.param).Data, 0); err != nil {
			return err
		}
	}
	return nil
}

// isAdapter says that a parameter is of an adapter.
func isAdapter(param string) bool {
	return strings.HasSuffix(param, ".lora_A.weight") || strings.HasSuffix(param, ".lora_B.weight")
}

// towerOf is the first part of the name of a parameter.
func towerOf(param string) string {
	tower, _, _ := strings.Cut(param, ".")
	return tower
}

// LoRA translates settings whose modules have the published names, such as q_proj, for
// a tower of m, to those that [nn.Config] takes. Names are those in the tower, as PEFT
// sees them when it gets the tower: of CLIP, encoder.layers.0.self_attn.q_proj.
func (m *Model) LoRA(tower nn.Tower, l nn.LoRA) (*nn.LoRA, error) {
	translated, err := m.translate(tower, l)
	if err != nil {
		return nil, fmt.Errorf("pretrained: lora for the %s tower of %s: %w", tower, m.Dir, err)
	}
	return translated, nil
}

func (m *Model) translate(tower nn.Tower, l nn.LoRA) (*nn.LoRA, error) {
	if !m.published.Has(tower) {
		return nil, errors.New("the model has no such tower")
	}
	if err := l.Validate(); err != nil {
		return nil, err
	}
	c := AdapterConfig{Rank: l.Rank, Alpha: l.Alpha, Targets: l.Targets, Pattern: l.Pattern}
	for _, name := range sortedKeys(l.Ranks) {
		c.Ranks = append(c.Ranks, PatternValue[int]{regexp.QuoteMeta(name), l.Ranks[name]})
	}
	for _, name := range sortedKeys(l.Alphas) {
		c.Alphas = append(c.Alphas, PatternValue[float64]{regexp.QuoteMeta(name), l.Alphas[name]})
	}
	resolve, err := c.resolver()
	if err != nil {
		return nil, err
	}
	var adapted []sized
	layers := m.within(m.partOf(tower))
	names := slices.DeleteFunc(sortedKeys(layers), func(name string) bool { return layers[name].tower != tower })
	for _, name := range names {
		if rank, alpha, ok := resolve(name); ok {
			adapted = append(adapted, sized{layers[name].module, rank, alpha})
		}
	}
	for _, target := range l.Targets {
		if matches, err := nn.MatchModules([]string{target}, ""); err != nil || !slices.ContainsFunc(names, matches) {
			return nil, fmt.Errorf("target %q names no linear layer; names are such as %s", target, names[0])
		}
	}
	if len(adapted) == 0 {
		return nil, fmt.Errorf("pattern %q matches the name of no linear layer; names are such as %s", l.Pattern, names[0])
	}
	out := m.settings(nn.LoRA{Rank: l.Rank, Alpha: l.Alpha, Dropout: l.Dropout, RSLoRA: l.RSLoRA}, adapted)
	return &out, nil
}

// WriteAdapter writes the adapters of a tower of n, whose weights are those of m, as a
// folder that PEFT reads: adapter_config.json and adapter_model.safetensors. Base names
// the published model there. The names are those of the tower alone, as PEFT sees them
// when it gets CLIPModel.vision_model, or a Dinov2Model. The folder is made if it is
// not there.
func WriteAdapter(dir string, m *Model, tower nn.Tower, n *nn.Model, base string) error {
	if err := writeAdapter(dir, m, tower, n, base); err != nil {
		return fmt.Errorf("pretrained: write adapter %s: %w", dir, err)
	}
	return nil
}

func writeAdapter(dir string, m *Model, tower nn.Tower, n *nn.Model, base string) error {
	if n.Merged() {
		return errors.New("the adapters are merged: restore them first")
	}
	config, tensors, err := m.adapterOf(tower, n)
	if err != nil {
		return err
	}
	config.Base = base
	text, err := config.Encode()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := checkpoints.Write(filepath.Join(dir, adapterWeightsFile), tensors, map[string]string{"format": "pt"}); err != nil {
		return err
	}
	return writeText(filepath.Join(dir, adapterConfigFile), text)
}

// writeText writes a file all or nothing.
func writeText(path string, text []byte) error {
	return checkpoints.WriteFile(path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// adapterOf returns the configuration and the tensors of the adapters of a tower.
func (m *Model) adapterOf(tower nn.Tower, n *nn.Model) (AdapterConfig, []checkpoints.Tensor, error) {
	part := m.partOf(tower)
	c := AdapterConfig{Class: part.class}
	if n.Config.LoRA == nil {
		return c, nil, errors.New("the model has no adapters")
	}
	c.Rank, c.Alpha, c.Dropout, c.RSLoRA = n.Config.LoRA.Rank, n.Config.LoRA.Alpha, n.Config.LoRA.Dropout, n.Config.LoRA.RSLoRA
	layers := m.within(part)
	names := make(map[string]string) // published ones of modules
	for name, l := range layers {
		names[l.module] = name
	}
	var tensors []checkpoints.Tensor
	var adapted []string
	for _, a := range n.Adapters() {
		module := a.Module.Name
		if !tower.Has(module) {
			continue
		}
		name, ok := names[module]
		if !ok {
			return c, nil, fmt.Errorf("%s has an adapter and is no module of the published tower", module)
		}
		adapted = append(adapted, name)
		for part, p := range map[string]*nn.Param{"A": a.A, "B": a.B} {
			tensors = append(tensors, checkpoints.FromFloat32(adapterPrefix+name+".lora_"+part+".weight", p.Shape, p.Data))
		}
		if rank, ok := n.Config.LoRA.Ranks[module]; ok {
			c.Ranks = append(c.Ranks, PatternValue[int]{name, rank})
		}
		if alpha, ok := n.Config.LoRA.Alphas[module]; ok {
			c.Alphas = append(c.Alphas, PatternValue[float64]{name, alpha})
		}
	}
	if len(adapted) == 0 {
		return c, nil, fmt.Errorf("the %s tower has no adapters", tower)
	}
	c.Targets = shortTargets(adapted, sortedKeys(layers))
	return c, tensors, nil
}

// shortTargets returns the last parts of the names of modules, q_proj, where these name
// no other module, and the whole names elsewhere.
func shortTargets(names, all []string) []string {
	var last []string
	for _, name := range names {
		last = append(last, name[strings.LastIndexByte(name, '.')+1:])
	}
	slices.Sort(last)
	last = slices.Compact(last)
	match, err := nn.MatchModules(last, "")
	if err != nil {
		return names
	}
	for _, name := range all {
		if match(name) && !slices.Contains(names, name) {
			return names
		}
	}
	return last
}
