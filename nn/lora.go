package nn

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"relsim/graph"
	"relsim/kernel"
)

// LoRA are the settings of low-rank adapters (arXiv:2106.09685). An adapter adds to
// what a linear layer makes of x, or to some columns of it,
//
//	s · (dropout(x) Aᵀ) Bᵀ,   s = α/r, or α/√r with RSLoRA (arXiv:2312.03732),
//
// A of shape (r, in) and B (out, r). The layer itself, and all of its tower but the
// head, is frozen. Adapters are parameters "MODULE.lora_A.weight" and
// "MODULE.lora_B.weight", A drawn uniformly from ±1/√in and B zero, as PEFT does.
// Each adapter draws a dropout mask of its own.
type LoRA struct {
	Rank    int     `json:"rank"`  // r
	Alpha   float64 `json:"alpha"` // α
	Dropout float64 `json:"dropout,omitempty"`
	RSLoRA  bool    `json:"rslora,omitempty"`
	// Targets or Pattern say which of [Model.Modules] have adapters, by the rules of
	// [MatchModules].
	Targets []string `json:"targets,omitempty"`
	Pattern string   `json:"pattern,omitempty"`
	// Ranks and Alphas are those of single modules, by their whole names, where they
	// are not Rank and Alpha.
	Ranks  map[string]int     `json:"ranks,omitempty"`
	Alphas map[string]float64 `json:"alphas,omitempty"`
}

// Bounds of hostile settings.
const (
	maxRank    = 1 << 12
	maxAlpha   = 1e6
	maxTargets = 1 << 14
	maxPattern = 1 << 12 // bytes
	maxProgram = 1 << 13 // instructions: (x?){1000} has thousands in ten bytes
)

// Validate reports the first setting that makes no sense.
func (l *LoRA) Validate() error {
	if !(l.Dropout >= 0 && l.Dropout < 1) {
		return fmt.Errorf("nn: lora: dropout %v, want 0 to below 1", l.Dropout)
	}
	if err := checkSize("", l.Rank, l.Alpha); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(l.Ranks)) {
		if err := checkSize(name+": ", l.Ranks[name], l.Alpha); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Alphas)) {
		if err := checkSize(name+": ", l.Rank, l.Alphas[name]); err != nil {
			return err
		}
	}
	_, err := MatchModules(l.Targets, l.Pattern)
	return err
}

func checkSize(of string, rank int, alpha float64) error {
	switch {
	case rank < 1 || rank > maxRank:
		return fmt.Errorf("nn: lora: %srank %d, want 1 to %d", of, rank, maxRank)
	case !(alpha > 0 && alpha <= maxAlpha):
		return fmt.Errorf("nn: lora: %salpha %v, want above 0, at most %v", of, alpha, float64(maxAlpha))
	}
	return nil
}

// MatchModules returns the rule by which PEFT chooses modules: those whose name is one
// of targets, or ends with a dot and one of them; or, where there are no targets, those
// whose whole name the regular expression matches. It is RE2: what Python has beyond
// that is an error.
func MatchModules(targets []string, pattern string) (func(name string) bool, error) {
	switch {
	case (len(targets) > 0) == (pattern != ""):
		return nil, fmt.Errorf("nn: lora: %d targets and the pattern %q: want one of the two", len(targets), pattern)
	case len(targets) > maxTargets:
		return nil, fmt.Errorf("nn: lora: %d targets, at most %d are allowed", len(targets), maxTargets)
	case slices.Contains(targets, ""):
		return nil, fmt.Errorf("nn: lora: target %d is empty", slices.Index(targets, ""))
	case len(pattern) > maxPattern:
		return nil, fmt.Errorf("nn: lora: a pattern of %d bytes, at most %d are allowed", len(pattern), maxPattern)
	case pattern != "":
		return matchWhole(pattern)
	}
	known := make(map[string]bool, len(targets))
	for _, t := range targets {
		known[t] = true
	}
	return func(name string) bool {
		for {
			if known[name] {
				return true
			}
			_, rest, more := strings.Cut(name, ".")
			if !more {
				return false
			}
			name = rest
		}
	}, nil
}

// matchWhole returns the rule that a regular expression matches all of a name. Its time
// is bounded by the length of the name and the size of the expression.
func matchWhole(pattern string) (func(name string) bool, error) {
	expr := `\A(?:` + pattern + `)\z`
	fail := func(err error) (func(string) bool, error) {
		return nil, fmt.Errorf("nn: lora: pattern %q: %w", pattern, err)
	}
	if _, err := regexp.Compile(pattern); err != nil { // it may not close the group
		return fail(err)
	}
	parsed, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return fail(err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return fail(err)
	}
	if n := len(program.Inst); n > maxProgram {
		return fail(fmt.Errorf("%d instructions, at most %d are allowed", n, maxProgram))
	}
	whole, err := regexp.Compile(expr)
	if err != nil {
		return fail(err)
	}
	return whole.MatchString, nil
}

// Module is a linear layer of a model, or those rows of a layer that are a layer of
// their own where it is published.
type Module struct {
	// Name is the name of the layer: "vision.blocks.0.attn.proj", ….attn.qkv,
	// ….mlp.fc1, ….mlp.fc2, "vision.head". The thirds of an attn.qkv are ….attn.q,
	// ….attn.k and ….attn.v.
	Name   string
	Weight *Param // (out, in)
	At     int    // the first of its rows
	Rows   int

	layer *Linear
}

// Modules lists the linear layers of both towers: those of the blocks, then the heads.
func (m *Model) Modules() []Module {
	var list []Module
	add := func(l *Linear) {
		list = append(list, Module{Name: strings.TrimSuffix(l.Weight.Name, ".weight"), Weight: l.Weight, Rows: l.Weight.Shape[0], layer: l})
	}
	blocks := func(blocks []Block) {
		for i := range blocks {
			b := &blocks[i]
			add(&b.Attn.QKV)
			whole := list[len(list)-1]
			for part, name := range []string{"q", "k", "v"} {
				third := whole
				third.Name = strings.TrimSuffix(whole.Name, "qkv") + name
				third.Rows = whole.Rows / 3
				third.At = part * third.Rows
				list = append(list, third)
			}
			add(&b.Attn.Proj)
			add(&b.MLP.FC1)
			add(&b.MLP.FC2)
		}
	}
	if m.Images != nil {
		blocks(m.Images.Blocks)
	}
	if m.Words != nil {
		blocks(m.Words.Blocks)
	}
	for _, l := range m.heads() {
		add(l)
	}
	return list
}

// heads lists the heads that there are.
func (m *Model) heads() []*Linear {
	var list []*Linear
	if m.Images != nil && m.Images.Head != nil {
		list = append(list, m.Images.Head)
	}
	if m.Words != nil && m.Words.Head != nil {
		list = append(list, m.Words.Head)
	}
	return list
}

// Adapter is a low-rank addition to some rows of the weight of a linear layer: see
// [LoRA].
type Adapter struct {
	Module  Module
	A, B    *Param // (r, in), (Module.Rows, r)
	Scale   float64
	Dropout float64
	merged  bool
}

// Adapters lists the adapters in the order of their modules.
func (m *Model) Adapters() []*Adapter { return m.adapters }

// adapt declares the adapters of c, and freezes what is not trained beside them.
func (m *Model) adapt(c *LoRA) error {
	match, err := MatchModules(c.Targets, c.Pattern)
	if err != nil {
		return err
	}
	used := make(map[string]bool)
	for _, module := range m.Modules() {
		if !match(module.Name) {
			continue
		}
		used[module.Name] = true
		rank, alpha := c.Rank, c.Alpha
		if r, ok := c.Ranks[module.Name]; ok {
			rank = r
		}
		if a, ok := c.Alphas[module.Name]; ok {
			alpha = a
		}
		scale := alpha / float64(rank)
		if c.RSLoRA {
			scale = alpha / math.Sqrt(float64(rank))
		}
		a := &Adapter{
			Module:  module,
			A:       m.Params.Declare(module.Name+".lora_A.weight", Matrix, UniformFanIn(), rank, module.Weight.Shape[1]),
			B:       m.Params.Declare(module.Name+".lora_B.weight", Matrix, Constant(0), module.Rows, rank),
			Scale:   scale,
			Dropout: c.Dropout,
		}
		module.layer.Adapters = append(module.layer.Adapters, a)
		m.adapters = append(m.adapters, a)
	}
	if len(used) == 0 {
		return fmt.Errorf("nn: lora: no module is named as in %q%s; names are such as %s", c.Targets, c.Pattern, m.Modules()[0].Name)
	}
	for _, name := range slices.Concat(slices.Sorted(maps.Keys(c.Ranks)), slices.Sorted(maps.Keys(c.Alphas))) {
		if !used[name] {
			return fmt.Errorf("nn: lora: a rank or alpha of %s, which has no adapter", name)
		}
	}
	m.freezeBase()
	return nil
}

// freezeBase freezes the towers that have adapters but for these and the head, and the
// head too if it has an adapter.
func (m *Model) freezeBase() {
	learned, adapted := make(map[*Param]bool), make(map[Tower]bool)
	for _, l := range m.heads() {
		if len(l.Adapters) == 0 {
			learned[l.Weight], learned[l.Bias] = true, true
		}
	}
	for _, a := range m.adapters {
		learned[a.A], learned[a.B] = true, true
		if VisionTower.Has(a.A.Name) {
			adapted[VisionTower] = true
		} else {
			adapted[TextTower] = true
		}
	}
	for _, p := range m.Params.All() {
		for t := range adapted {
			p.Frozen = p.Frozen || t.Has(p.Name) && !learned[p]
		}
	}
}

// adapt adds what the adapters of a layer make of x (N, in) to y (N, out).
func (l *Linear) adapt(b *graph.Builder, y, x *graph.Node) *graph.Node {
	for _, a := range l.Adapters {
		if a.merged {
			continue
		}
		h := b.Linear(dropout(b, x, a.Dropout), a.A.node(b, a.A.Shape...), nil)
		h = b.Linear(b.Scale(h, a.Scale), a.B.node(b, a.B.Shape...), nil)
		if a.Module.Rows == l.Weight.Shape[0] {
			y = b.Add(y, h)
		} else {
			y = b.AddColumns(y, h, a.Module.At)
		}
	}
	return y
}

// Merge adds the adapters to the weights of their layers, W += s·BA, so that a graph
// that is built from now on has the layers only. The B are zero meanwhile: a graph with
// the adapters stays right. The function that Merge returns brings the weights and the
// B back, bit for bit, and may be dropped. While adapters are merged, the model is not
// to be trained or saved.
func (m *Model) Merge(pool *kernel.Pool) (restore func()) {
	type saved struct {
		a       *Adapter
		rows, b []float32
	}
	var undo []saved
	for _, a := range m.adapters {
		if a.merged {
			continue
		}
		in, rank := a.A.Shape[1], a.A.Shape[0]
		w := a.Module.Weight.Data[a.Module.At*in:][:a.Module.Rows*in]
		undo = append(undo, saved{a, slices.Clone(w), slices.Clone(a.B.Data)})
		product := make([]float32, len(w))
		kernel.LinearGradX(pool, product, a.B.Data, a.A.Data, a.Module.Rows, in, rank)
		kernel.Axpy(pool, w, float32(a.Scale), product)
		clear(a.B.Data)
		a.merged = true
	}
	return func() {
		for _, s := range slices.Backward(undo) {
			in := s.a.A.Shape[1]
			copy(s.a.Module.Weight.Data[s.a.Module.At*in:], s.rows)
			copy(s.a.B.Data, s.b)
			s.a.merged = false
		}
		undo = nil
	}
}

// Merged reports whether the adapters are merged; without any it is false.
func (m *Model) Merged() bool { return len(m.adapters) > 0 && m.adapters[0].merged }
