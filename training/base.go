package training

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"

	"relsim/dataloader"
	"relsim/hub"
	"relsim/nn"
	"relsim/pretrained"
	"relsim/tokenizer"
)

// baseFile is the file of a checkpoint that names the published models that it is made of.
const baseFile = "base.json"

// Base is a published model that a tower begins with.
type Base struct {
	// Name is a folder, as an absolute path, or a model of the hub.
	Name string
	// Revision is the commit of a model of the hub.
	Revision string
	*pretrained.Model
}

// OpenBase opens a published model by its folder, or by its name on the hub: see [hub.Resolve]. No weights are read yet.
func OpenBase(ctx context.Context, name string, o hub.Options) (*Base, error) {
	dir, err := hub.Resolve(ctx, name, o)
	if err != nil {
		return nil, err
	}
	m, err := pretrained.Open(dir)
	if err != nil {
		return nil, err
	}
	if m.Config.Has(nn.VisionTower) && m.Transform.Size == 0 {
		return nil, fmt.Errorf("training: %s does not say how pictures are prepared: want preprocessor_config.json, or pretrained_cfg in config.json", name)
	}
	b := &Base{Name: dir, Model: m}
	if dir != name { // of the hub: dir is CACHE/…/snapshots/COMMIT
		named, err := hub.Parse(name)
		if err != nil {
			return nil, fmt.Errorf("training: %w", err)
		}
		b.Name, b.Revision = named.Repo, filepath.Base(dir)
	} else if b.Name, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("training: %w", err)
	}
	return b, nil
}

// vocabulary returns the tokenizer of a base with a text tower.
func (b *Base) vocabulary() (vocabulary, error) {
	t, ok := b.Tokenizer.(*tokenizer.Subwords)
	if !ok {
		return vocabulary{}, fmt.Errorf("training: %s has no tokenizer: want tokenizer.json, or vocab.txt, or vocab.json and merges.txt", b.Name)
	}
	return vocabulary{Tokenizer: t, rows: b.Vocab, files: t.Files()}, nil
}

// headOf reports whether a parameter is of the head of a tower.
func headOf(t nn.Tower, name string) bool { return strings.HasPrefix(name, string(t)+".head.") }

// keepsHead reports whether a tower of m has the head that the base was published with.
func (b *Base) keepsHead(m nn.Config, t nn.Tower) bool {
	mine, published := m.Vision.Head, b.Config.Vision.Head
	if t == nn.TextTower {
		mine, published = m.Text.Head, b.Config.Text.Head
	}
	return mine == published && m.EmbedDim == b.Config.EmbedDim && (t == nn.TextTower || m.Vision.Projection == 0)
}

// fits returns an error that names the first setting in which a tower of m differs from the base, but for what may be
// chosen: the size of pictures, dropout and head.
func (b *Base) fits(m nn.Config, t nn.Tower) error {
	var mine, theirs any
	if t == nn.TextTower {
		text := b.Config.Text
		text.Dropout, text.Init, text.Head = m.Text.Dropout, m.Text.Init, m.Text.Head
		mine, theirs = m.Text, text
	} else {
		vision := b.Config.Vision
		vision.ImageSize, vision.Dropout, vision.Init, vision.Head = m.Vision.ImageSize, m.Vision.Dropout, m.Vision.Init, m.Vision.Head
		vision.Projection = b.projection(m)
		mine, theirs = m.Vision, vision
	}
	if field, there, here, differs := diffValue(string(t), reflect.ValueOf(theirs), reflect.ValueOf(mine)); differs {
		return fmt.Errorf("the published model %s does not fit: %s is %v there, %v here", b.Name, field, there, here)
	}
	return nil
}

// projection is the width of the published projection of the image tower, where m has another head behind it.
func (b *Base) projection(m nn.Config) int {
	if b.Config.Vision.Head == nn.HeadProjection && m.Vision.Projection > 0 {
		return b.Config.EmbedDim
	}
	return 0
}

// given returns the parameters of a tower of m that the base fills.
func (b *Base) given(m *nn.Model, t nn.Tower) map[string]bool {
	names := make(map[string]bool)
	if t == nn.VisionTower && b.projection(m.Config) > 0 {
		names["vision.projection.weight"] = true
	}
	for _, n := range b.Names() {
		if n.Tower == t && (!headOf(t, n.Param) || b.keepsHead(m.Config, t)) {
			names[n.Param] = true
		}
	}
	return names
}

// Bases are the published models of the towers; nil: a tower begins with none.
type Bases struct {
	Vision, Text *Base
}

// of returns the base of a tower, or nil.
func (b Bases) of(t nn.Tower) *Base {
	switch t {
	case nn.VisionTower:
		return b.Vision
	case nn.TextTower:
		return b.Text
	}
	return nil
}

// towers are both, in the order of their parameters.
var towers = []nn.Tower{nn.VisionTower, nn.TextTower}

// Configure puts the published towers into the model of a configuration. Pictures come as the image tower wants them,
// imageSize pixels wide (0: as published).
//
// The width of the embeddings is the text tower's, or, where that is not a published one, the image tower's. A tower
// keeps its published projection where both are of one folder, or where there is but one of them; else the image tower
// has a new linear head, on its pooled row or, as the paper's authors have it, behind CLIP's own projection.
//
// Targets name the modules that have adapters, where c.Model.LoRA asks for such: by the names that they are published
// under, or by those of package nn, and by their last parts, as PEFT does. Those of a tower that is frozen have none.
func (b Bases) Configure(c *Config, imageSize int, targets []string) error {
	for _, t := range towers {
		if base := b.of(t); base != nil && !base.Config.Has(t) {
			return fmt.Errorf("training: %s has no %s tower", base.Name, t)
		}
	}
	m := &c.Model
	if b.Text != nil {
		m.Text, m.EmbedDim = b.Text.Config.Text, b.Text.Config.EmbedDim
		c.WordDropout = 0 // it would drop [CLS] and the like
	}
	if b.Vision != nil {
		m.Vision = b.Vision.Config.Vision
		c.Geometry, c.Normalize = b.Vision.Transform.Geometry, b.Vision.Transform.Normalize
		switch {
		case b.Text == nil:
			m.EmbedDim = b.Vision.Config.EmbedDim
		case b.Text.Dir != b.Vision.Dir:
			if m.Vision.Head == nn.HeadProjection {
				m.Vision.Projection = b.Vision.Config.EmbedDim
			}
			m.Vision.Head = nn.HeadLinear
		}
		m.Vision.ImageSize = b.Vision.Transform.Size
		if published := m.Vision.ImageSize; imageSize > 0 && imageSize != published {
			m.Vision.ImageSize = imageSize
			c.Geometry = scaled(c.Geometry, imageSize, published)
		}
	}
	if err := b.adapt(c, targets); err != nil {
		return err
	}
	return b.checkFrozen(c)
}

// scaled returns a geometry for pictures of size pixels in the place of published ones: what is cut out stays as large a
// part of the picture.
func scaled(g dataloader.Geometry, size, published int) dataloader.Geometry {
	for _, side := range []*int{&g.Side, &g.Height, &g.Width} {
		*side = (*side*size + published/2) / published
	}
	return g
}

// adapt names the modules that have adapters.
func (b Bases) adapt(c *Config, targets []string) error {
	if c.Model.LoRA == nil {
		return nil
	}
	if b.Vision == nil && b.Text == nil {
		return errors.New("training: adapters (LoRA) are for published towers, and there is none")
	}
	lora := *c.Model.LoRA
	c.Model.LoRA = nil // for the model below, that has no adapters yet
	plain, err := nn.Declare(c.Model, 1)
	if err != nil {
		return err
	}
	lora.Targets, err = b.modules(plain, c.Freeze, targets)
	c.Model.LoRA = &lora
	return err
}

// checkFrozen returns an error if what is to be frozen leaves no sense. A tower that has nothing new beside its base is
// frozen as a whole.
func (b Bases) checkFrozen(c *Config) error {
	if base := b.of(c.Freeze); base != nil && !base.keepsHead(c.Model, c.Freeze) {
		return fmt.Errorf("training: freeze %s: its head is new, and would stay as it is drawn: freeze the base only", c.Freeze)
	}
	var bases []nn.Tower
	for _, t := range c.FreezeBase {
		base := b.of(t)
		switch {
		case base == nil:
			return fmt.Errorf("training: freeze the base of the %s tower: it is no published one", t)
		case !base.keepsHead(c.Model, t) || c.Model.LoRA != nil && slices.ContainsFunc(c.Model.LoRA.Targets, t.Has):
			bases = append(bases, t)
		case c.Freeze == "" || c.Freeze == t:
			c.Freeze = t
		default:
			return errors.New("training: both towers are frozen, heads and all: there is nothing to train")
		}
	}
	c.FreezeBase = bases
	return nil
}

// modules returns the names, in package nn, of the modules that targets name, in the published towers that are not
// frozen.
func (b Bases) modules(m *nn.Model, frozen nn.Tower, targets []string) ([]string, error) {
	rules := make([]func(string) bool, len(targets))
	for i, target := range targets {
		var err error
		if rules[i], err = nn.MatchModules([]string{target}, ""); err != nil {
			return nil, err
		}
	}
	used := make([]bool, len(targets))
	var list, last []string
	for _, t := range towers {
		base := b.of(t)
		if base == nil || t == frozen {
			continue
		}
		published := base.moduleNames(m)
		for _, module := range m.Modules() {
			if !t.Has(module.Name) || headOf(t, module.Name+".") {
				continue
			}
			name, ok := published[module.Name]
			if ok {
				last = append(last, name[strings.LastIndexByte(name, '.')+1:])
			}
			matches := false
			for i, rule := range rules {
				if rule(name) || rule(module.Name) {
					matches, used[i] = true, true
				}
			}
			if matches {
				list = append(list, module.Name)
			}
		}
	}
	if len(last) == 0 {
		return nil, errors.New("training: no published tower is left for adapters (LoRA): it is frozen")
	}
	if i := slices.Index(used, false); i >= 0 {
		slices.Sort(last)
		return nil, fmt.Errorf("training: no module is named as the target %q of the adapters (LoRA); there are %s",
			targets[i], strings.Join(slices.Compact(last), ", "))
	}
	return list, nil
}

// moduleNames maps modules of m to the names that they are published under.
func (b *Base) moduleNames(m *nn.Model) map[string]string {
	type place struct {
		param string
		low   int
	}
	published := make(map[place]string)
	for _, n := range b.Names() {
		if module, ok := strings.CutSuffix(n.Published, ".weight"); ok {
			published[place{n.Param, n.Low}] = module
		}
	}
	names := make(map[string]string)
	for _, module := range m.Modules() {
		name, ok := published[place{module.Weight.Name, module.At}]
		if whole := module.Rows == module.Weight.Shape[0]; ok && whole == !b.split(module.Weight.Name) {
			names[module.Name] = name
		}
	}
	return names
}

// split reports whether a parameter is published in parts.
func (b *Base) split(param string) bool {
	return slices.ContainsFunc(b.Names(), func(n pretrained.Name) bool { return n.Param == param && n.High > 0 })
}

// load fills the parameters that the bases give, and returns their names and what a checkpoint says of the bases.
func (b Bases) load(m *nn.Model) (map[string]bool, baseRecords, error) {
	given, records := make(map[string]bool), baseRecords{}
	for _, t := range towers {
		base := b.of(t)
		if base == nil {
			continue
		}
		if err := base.Weights(m.Params, t); err != nil {
			return nil, nil, err
		}
		mine := base.given(m, t)
		maps.Copy(given, mine)
		records[t] = baseRecord{Name: base.Name, Revision: base.Revision, Weights: fingerprint(m.Params, mine)}
	}
	return given, records, nil
}

// fingerprint is a hash of the names, shapes and values of parameters.
func fingerprint(params *nn.Params, names map[string]bool) string {
	var list []*nn.Param
	for _, p := range params.All() {
		if names[p.Name] {
			list = append(list, p)
		}
	}
	sums := make([][sha256.Size]byte, len(list))
	var group sync.WaitGroup
	limit := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, p := range list {
		limit <- struct{}{}
		group.Go(func() {
			sums[i] = hashOf(p.Data)
			<-limit
		})
	}
	group.Wait()
	h := sha256.New()
	for i, p := range list {
		fmt.Fprintf(h, "%s %v %x\n", p.Name, p.Shape, sums[i])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// hashOf is the SHA-256 of numbers, little-endian.
func hashOf(values []float32) [sha256.Size]byte {
	h := sha256.New()
	buffer := make([]byte, 1<<16)
	for part := range slices.Chunk(values, len(buffer)/4) {
		for i, v := range part {
			binary.LittleEndian.PutUint32(buffer[4*i:], math.Float32bits(v))
		}
		h.Write(buffer[:4*len(part)])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// baseRecord is what a checkpoint says of a base.
type baseRecord struct {
	Name     string `json:"name"`
	Revision string `json:"revision,omitempty"`
	Weights  string `json:"weights"` // fingerprint of what the tower took from it
}

// baseRecords is base.json.
type baseRecords map[nn.Tower]baseRecord

// parseBases reads base.json; nil data is none.
func parseBases(data []byte) (baseRecords, error) {
	if data == nil {
		return nil, nil
	}
	var r baseRecords
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return nil, fmt.Errorf("%s: %w", baseFile, err)
	}
	for _, t := range slices.Sorted(maps.Keys(r)) {
		switch record := r[t]; {
		case !slices.Contains(towers, t):
			return nil, fmt.Errorf("%s: tower %q: want %q or %q", baseFile, t, nn.VisionTower, nn.TextTower)
		case record.Name == "" || record.Weights == "":
			return nil, fmt.Errorf("%s: %s: name %q, weights %q: want both", baseFile, t, record.Name, record.Weights)
		}
	}
	return r, nil
}

// differ returns an error if the weights of a base are not those that a checkpoint was made with.
func (r baseRecords) differ(saved baseRecords) error {
	for _, t := range towers {
		mine, was := r[t], saved[t]
		if mine.Weights != was.Weights && mine.Weights != "" && was.Weights != "" {
			return fmt.Errorf("the %s tower of the checkpoint is made of %s, whose weights had the fingerprint %s; those of %s have %s: "+
				"they were changed, or are of another model", t, was, was.Weights, mine, mine.Weights)
		}
	}
	return nil
}

// String names the model.
func (r baseRecord) String() string {
	if r.Revision != "" {
		return r.Name + "@" + r.Revision
	}
	return r.Name
}
