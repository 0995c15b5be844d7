package nn

import (
	"fmt"
	"math"
	"math/rand/v2"

	"relsim/graph"
)

// Names of the inputs of the graphs that [Model] builds.
const (
	ImagesInput  = "images"
	IDsInput     = "ids"
	WeightsInput = "weights"
)

// normEps bounds the norm of an embedding from below, as F.normalize does.
const normEps = 1e-12

// Model is a two-tower model: an image encoder and a text encoder into one
// space, as CLIP (arXiv:2103.00020) and relsim (arXiv:2512.07833).
type Model struct {
	// Config is what the model was made from, Vocab the number of words.
	Config Config
	Vocab  int
	// Params holds all parameters, those of the image encoder behind
	// "vision.", those of the text encoder behind "text.".
	Params *Params
	Images *Vision // nil where the model has no image encoder
	Words  *Text   // nil where it has no text encoder
	// LogitScale is ln(1/τ), "logit_scale", and LogitBias the bias of the
	// sigmoid loss, "logit_bias". They are nil where they are not learned.
	LogitScale, LogitBias *Param

	adapters []*Adapter
}

// New returns a model with fresh parameters drawn from rng, for a vocabulary of
// the given size. An empty vocabulary counts as one word that never occurs.
func New(c Config, vocab int, rng *rand.Rand) (*Model, error) {
	m, err := Declare(c, vocab)
	if err != nil {
		return nil, err
	}
	if err := m.Params.Init(rng); err != nil {
		return nil, err
	}
	return m, nil
}

// Declare is [New] without values: the parameters have names and shapes, and
// take no memory until [Params.Init]. A reader of checkpoints compares them
// with a file first.
func Declare(c Config, vocab int) (*Model, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if vocab < 0 || vocab > maxVocab {
		return nil, fmt.Errorf("nn: model: vocabulary of %d words, want 0 to %d", vocab, maxVocab)
	}
	s := new(Params)
	m := &Model{Config: c, Vocab: vocab, Params: s}
	if c.Has(VisionTower) {
		m.Images = NewVision(s, VisionTower.prefix(), c.Vision, c.EmbedDim)
	}
	if c.Has(TextTower) {
		m.Words = NewText(s, TextTower.prefix(), c.Text, max(vocab, 1), c.EmbedDim)
	}
	if c.LearnTemperature {
		m.LogitScale = s.Declare("logit_scale", Temperature, Constant(-math.Log(c.Temperature)))
	}
	if c.LearnLogitBias {
		m.LogitBias = s.Declare("logit_bias", Bias, Constant(c.LogitBias))
	}
	if c.LoRA != nil {
		if err := m.adapt(c.LoRA); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Vision adds the image encoder to b: images is an input (B, 3, S, S), emb
// (B, E) has rows of length one. It panics if the model has none.
func (m *Model) Vision(b *graph.Builder, batch int) (images, emb *graph.Node) {
	m.need(VisionTower)
	side := m.Config.Vision.ImageSize
	images = b.Input(ImagesInput, batch, 3, side, side)
	return images, b.L2Normalize(m.Images.Forward(b, images, batch), normEps)
}

// Text adds the text encoder to b: emb (B, E) has rows of length one. It panics
// if the model has none.
func (m *Model) Text(b *graph.Builder, batch int) (in TextInput, emb *graph.Node) {
	return m.text(b, batch, m.Config.Text.Length)
}

// text is [Model.Text] for captions of length words at most.
func (m *Model) text(b *graph.Builder, batch, length int) (in TextInput, emb *graph.Node) {
	m.need(TextTower)
	in = TextInput{
		IDs:     b.InputIDs(IDsInput, batch*length),
		Weights: b.Input(WeightsInput, batch, length),
		Length:  length,
	}
	return in, b.L2Normalize(m.Words.Forward(b, in, batch), normEps)
}

// need panics if the model lacks a tower.
func (m *Model) need(t Tower) {
	if !m.Config.Has(t) {
		panic(fmt.Sprintf("nn: model: there is no %s tower", t))
	}
}

// FillText is [Text.Fill] of the text encoder.
func (m *Model) FillText(ids []int32, weights []float32, captions [][]int32, rng *rand.Rand, drop float64) {
	m.Words.Fill(ids, weights, captions, rng, drop)
}

// Bind binds every parameter that the program reads to its Data, and the
// gradient of every parameter that the program differentiates by to its Grad.
// The program reads the values at each Forward, so that they may change between.
func (m *Model) Bind(p *graph.Program) error { return m.Params.Bind(p) }

// Bind is [Model.Bind] for any set of parameters. Of a position table, a program
// may read the first rows only.
func (s *Params) Bind(p *graph.Program) error {
	for _, n := range p.Params() {
		param := s.byName[n.Name()]
		if param == nil || param.Data == nil {
			return fmt.Errorf("nn: bind: parameter %s is not in the set", n.Name())
		}
		data := param.Data
		if size := n.Shape().TotalSize(); param.Kind == Position && size < len(data) {
			data = data[:size]
		}
		if err := p.SetFloats(n, data); err != nil {
			return fmt.Errorf("nn: bind: parameter %s: %w", n.Name(), err)
		}
	}
	for _, n := range p.Wrt() {
		param := s.byName[n.Name()]
		if param == nil {
			continue // an input
		}
		if err := p.SetGrad(n, param.Grad); err != nil {
			return fmt.Errorf("nn: bind: gradient of %s: %w", n.Name(), err)
		}
	}
	return nil
}

// Lend lends the flat buffer of gradients to a Program that computes all of those of wrt at
// once, parameters that are not frozen: see [graph.Config].Lent. Each Program may be lent
// the gradients of parameters that no other one has.
func (s *Params) Lend(c *graph.Config, wrt []*graph.Node) error {
	c.Wrt, c.Lent, c.LentAt = wrt, s.grad, make([]int, len(wrt))
	for i, n := range wrt {
		param := s.byName[n.Name()]
		if param == nil || param.Grad == nil {
			return fmt.Errorf("nn: lend: %s has no gradient in the set", n.Name())
		}
		c.LentAt[i], _ = s.Range(param)
	}
	return nil
}
