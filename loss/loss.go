package loss

import (
	"errors"
	"fmt"
	"math"

	"relsim/graph"
	"relsim/kernel"
	"relsim/nn"
)

// Kind is a loss.
type Kind string

// The losses, over logits l = s·img·txtᵀ (B, B), s the inverse temperature, and
// targets t whose rows (columns) are uniform over the positives. Neither is ever
// in memory as a whole: see [kernel.Contrast].
const (
	// InfoNCE is the mean over rows of Σ_c t·(logsumexp(l) - l).
	InfoNCE Kind = "infonce"
	// Symmetric is the mean of that over rows and over columns.
	Symmetric Kind = "symmetric"
	// Sigmoid is -1/B Σ log σ(z·(l + bias)), z = 1 for a positive, else -1.
	Sigmoid Kind = "sigmoid"
)

// Kinds lists the losses.
func Kinds() []Kind { return []Kind{InfoNCE, Symmetric, Sigmoid} }

// Positives says which captions of the batch are right for a picture, and
// which are no negatives.
type Positives string

// The rules. A picture's own caption is always a positive.
const (
	// Diagonal takes the own caption for right and all others for wrong.
	Diagonal Positives = "diagonal"
	// SameCaption takes every equal caption for right.
	SameCaption Positives = "caption"
	// SameRelation takes every caption of the same relation for right.
	SameRelation Positives = "relation"
	// MaskCaption leaves equal captions out of the negatives.
	MaskCaption Positives = "mask-caption"
	// MaskRelation leaves captions of the same relation out of the negatives.
	MaskRelation Positives = "mask-relation"
)

// Rules lists the rules for positives.
func Rules() []Positives {
	return []Positives{Diagonal, SameCaption, SameRelation, MaskCaption, MaskRelation}
}

// Config are the settings of a [Loss].
type Config struct {
	Kind      Kind      `json:"kind"`
	Positives Positives `json:"positives"`
	// Temperature τ divides the similarities where it is not learned.
	Temperature float64 `json:"temperature"`
	// Bias is added to the logits of the sigmoid loss where it is not learned.
	Bias float64 `json:"bias"`
}

// Validate reports the first field that makes no sense.
func (c Config) Validate() error {
	switch c.Kind {
	case InfoNCE, Symmetric, Sigmoid:
	default:
		return fmt.Errorf("loss: kind %q: unknown; there are %q", c.Kind, Kinds())
	}
	switch c.Positives {
	case Diagonal, SameCaption, SameRelation, MaskCaption, MaskRelation:
	default:
		return fmt.Errorf("loss: positives %q: unknown; there are %q", c.Positives, Rules())
	}
	switch {
	case !(c.Temperature >= 1/MaxScale && c.Temperature <= 100):
		return fmt.Errorf("loss: temperature %v, want %v to 100", c.Temperature, 1/MaxScale)
	case math.IsNaN(c.Bias) || math.Abs(c.Bias) > 1000:
		return fmt.Errorf("loss: bias %v, want -1000 to 1000", c.Bias)
	}
	return nil
}

// MaxScale bounds the inverse of a learned temperature (arXiv:2103.00020,
// section 2.5).
const MaxScale = 100.0

// Loss compares two sets of embeddings. It is for one goroutine.
type Loss struct {
	// GradImg and GradTxt (B, E) are the gradients of the loss by the
	// embeddings, written by each Run. On a GPU they are resident, and Enqueue writes
	// them there.
	GradImg, GradTxt []float32

	config      Config
	batch, dim  int
	program     *graph.Program
	img, txt    *graph.Node
	value       *graph.Node
	hits        *graph.Node
	labels      []int32       // (B) the first row with the same number, -1: none
	first       map[int]int32 // that row, of each number
	scale, bias *nn.Param

	in        [2][]float32 // of the run that is under way: img and txt
	gpu       *graph.GPU   // nil: none
	residents []*graph.Resident
	result    []float32 // value and hits, the last of residents
}

// New compiles a loss over batch pairs of embeddings of width dim, to run on
// backend (nil: the CPU, one thread). With scale, the logarithm of the inverse
// temperature, the temperature is learned, with bias the bias of the sigmoid
// loss; nil takes the fixed value of c.
func New(c Config, batch, dim int, backend graph.Backend, scale, bias *nn.Param) (*Loss, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	switch {
	case batch < 1 || dim < 1:
		return nil, fmt.Errorf("loss: batch %d of embeddings of %d: want at least 1", batch, dim)
	case bias != nil && c.Kind != Sigmoid:
		return nil, fmt.Errorf("loss: a learned bias goes with kind %q, not %q", Sigmoid, c.Kind)
	}
	l := &Loss{
		GradImg: make([]float32, batch*dim), GradTxt: make([]float32, batch*dim),
		config: c, batch: batch, dim: dim, scale: scale, bias: bias,
		labels: make([]int32, batch), first: make(map[int]int32), result: make([]float32, 2),
	}
	b := graph.NewBuilder()
	labels := b.InputIDs("labels", batch)
	bound := l.build(b, labels)
	if err := b.Err(); err != nil {
		return nil, fmt.Errorf("loss: %w", err)
	}
	wrt := []*graph.Node{l.img, l.txt}
	for _, leaf := range bound {
		if leaf.grad != nil {
			wrt = append(wrt, leaf.node)
		}
	}
	var err error
	l.program, err = graph.Compile(b, graph.Config{
		Backend: backend, Outputs: []*graph.Node{l.hits}, Loss: l.value, Wrt: wrt, Training: true,
	})
	if err != nil {
		return nil, fmt.Errorf("loss: %w", err)
	}
	if err := l.settle(backend); err != nil {
		l.Close()
		return nil, fmt.Errorf("loss: %w", err)
	}
	err = l.program.SetIDs(labels, l.labels)
	bound = append(bound, leaf{l.img, nil, l.GradImg}, leaf{l.txt, nil, l.GradTxt})
	for _, leaf := range bound {
		if err == nil && leaf.data != nil {
			err = l.program.SetFloats(leaf.node, leaf.data)
		}
		if err == nil && leaf.grad != nil {
			err = l.program.SetGrad(leaf.node, leaf.grad)
		}
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("loss: %w", err)
		}
	}
	return l, nil
}

// ForModel compiles the loss of a model: the temperature and the bias, learned
// or not, are the model's, whatever c says.
func ForModel(m *nn.Model, c Config, batch int, backend graph.Backend) (*Loss, error) {
	c.Temperature, c.Bias = m.Config.Temperature, m.Config.LogitBias
	bias := m.LogitBias
	if c.Kind != Sigmoid {
		bias = nil
	}
	return New(c, batch, m.Config.EmbedDim, backend, m.LogitScale, bias)
}

// leaf is an input or parameter of the graph with its value and where its
// gradient goes.
type leaf struct {
	node       *graph.Node
	data, grad []float32
}

// build adds the graph to b and returns the learned scalars.
func (l *Loss) build(b *graph.Builder, labels *graph.Node) []leaf {
	l.img = b.Input("images", l.batch, l.dim)
	l.txt = b.Input("texts", l.batch, l.dim)
	c := graph.ContrastConfig{Scale: 1 / l.config.Temperature}
	switch l.config.Kind {
	case InfoNCE:
		c.Kind = kernel.ContrastRows
	case Symmetric:
		c.Kind = kernel.ContrastBoth
	case Sigmoid:
		c.Kind, c.Bias = kernel.ContrastPairs, l.config.Bias
	}
	switch l.config.Positives {
	case SameCaption, SameRelation:
		c.Equal = kernel.EqualPositive
	case MaskCaption, MaskRelation:
		c.Equal = kernel.EqualMasked
	}
	var leaves []leaf
	learned := func(p *nn.Param) *graph.Node {
		if p == nil {
			return nil
		}
		n := b.Param(p.Name, 1)
		leaves = append(leaves, leaf{n, p.Data, p.Grad})
		return n
	}
	scale, bias := learned(l.scale), learned(l.bias)
	l.value, l.hits = b.Contrast(l.img, l.txt, labels, scale, bias, c)
	return leaves
}

// Run compares img with txt, both (B, E) with rows of length one; row i of
// one belongs to row i of the other. relations and captions (B) tell equal
// relations and equal captions by equal numbers; a negative number equals none
// but itself in place. A rule that does not look at one takes nil for it.
//
// It returns the loss, and the share of pictures whose nearest caption that is
// not masked is a positive; it writes GradImg, GradTxt and the gradients of the
// learned scale and bias. A learned scale above ln [MaxScale] is first set to that.
//
// Run panics if a length does not fit.
func (l *Loss) Run(img, txt []float32, relations, captions []int) (value, accuracy float64, err error) {
	if len(img) != l.batch*l.dim || len(txt) != l.batch*l.dim {
		panic(fmt.Sprintf("loss: %d and %d values for %d embeddings of %d", len(img), len(txt), l.batch, l.dim))
	}
	l.setLabels(relations, captions)
	l.in = [2][]float32{img, txt}
	if l.gpu == nil {
		if err := l.run(); err != nil {
			return 0, 0, fmt.Errorf("loss: %w", err)
		}
		return l.values(l.result)
	}
	p, err := l.enqueue()
	if err != nil {
		return 0, 0, err
	}
	if value, accuracy, err = p.Wait(); err != nil {
		return value, accuracy, err
	}
	for _, r := range l.residents[:2] {
		if err := r.Download(); err != nil {
			return value, accuracy, fmt.Errorf("loss: %w", err)
		}
	}
	return value, accuracy, nil
}

// settle gives gradients and results a place on the GPU, if backend is one.
func (l *Loss) settle(backend graph.Backend) error {
	g, ok := backend.(*graph.GPU)
	if !ok {
		return nil
	}
	l.gpu = g
	for _, host := range [][]float32{l.GradImg, l.GradTxt, l.result} {
		r, err := g.Resident(host)
		if err != nil {
			return err
		}
		l.residents = append(l.residents, r)
	}
	return nil
}

// Value is where Enqueue leaves the loss: one element, resident on the GPU that the Loss runs on.
func (l *Loss) Value() []float32 { return l.result[:1:1] }

// Pending is a comparison whose result is on its way.
type Pending struct {
	loss   *Loss
	read   *graph.Readback // nil: the result is there
	result []float32
	err    error
}

// Enqueue is [Loss.Run] without the wait, where it runs on a GPU: inside of [graph.GPU.Together], and with embeddings that are
// resident, nothing waits for the device. The gradients are on the GPU then, and not on the host.
//
// Enqueue panics if a length does not fit.
func (l *Loss) Enqueue(img, txt []float32, relations, captions []int) (*Pending, error) {
	if len(img) != l.batch*l.dim || len(txt) != l.batch*l.dim {
		panic(fmt.Sprintf("loss: %d and %d values for %d embeddings of %d", len(img), len(txt), l.batch, l.dim))
	}
	l.setLabels(relations, captions)
	l.in = [2][]float32{img, txt}
	if l.gpu != nil {
		return l.enqueue()
	}
	if err := l.run(); err != nil {
		return nil, fmt.Errorf("loss: %w", err)
	}
	return &Pending{loss: l, result: []float32{l.result[0], l.result[1]}}, nil
}

func (l *Loss) enqueue() (*Pending, error) {
	p := &Pending{loss: l}
	err := l.gpu.Together(func() (err error) {
		if err := l.run(); err != nil {
			return err
		}
		p.read, err = l.gpu.Read(l.residents[2], 0, 2)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("loss: %w", err)
	}
	return p, nil
}

// run compares what is in l.in.
func (l *Loss) run() error {
	if err := l.bound(); err != nil {
		return err
	}
	if err := l.program.SetFloats(l.img, l.in[0]); err != nil {
		return err
	}
	if err := l.program.SetFloats(l.txt, l.in[1]); err != nil {
		return err
	}
	if err := l.program.Forward(); err != nil {
		return err
	}
	if err := l.program.CopyValue(l.value, l.result[:1]); err != nil {
		return err
	}
	if err := l.program.CopyValue(l.hits, l.result[1:]); err != nil {
		return err
	}
	return l.program.Backward(nil)
}

// values are the loss and the accuracy of a result.
func (l *Loss) values(result []float32) (value, accuracy float64, err error) {
	return float64(result[0]), float64(result[1]) / float64(l.batch), nil
}

// Wait waits for the result and returns what [Loss.Run] does.
func (p *Pending) Wait() (value, accuracy float64, err error) {
	if p.read != nil {
		p.result, p.err = p.read.Wait()
		p.read = nil
	}
	if p.err != nil {
		return 0, 0, fmt.Errorf("loss: %w", p.err)
	}
	return p.loss.values(p.result)
}

// bound bounds a learned scale.
func (l *Loss) bound() error {
	if l.scale == nil {
		return nil
	}
	most := float32(math.Log(MaxScale))
	if l.gpu != nil && l.gpu.Holds(l.scale.Data) {
		return l.gpu.Launch("clamp_above", 1, 32, l.scale.Data, most, int64(1))
	}
	l.scale.Data[0] = min(l.scale.Data[0], most)
	return nil
}

// setLabels fills labels for a batch.
func (l *Loss) setLabels(relations, captions []int) {
	same := captions
	switch l.config.Positives {
	case Diagonal:
		return // all are zero, and not looked at
	case SameRelation, MaskRelation:
		same = relations
	}
	if len(same) != l.batch {
		panic(fmt.Sprintf("loss: positives %q: %d numbers for a batch of %d", l.config.Positives, len(same), l.batch))
	}
	clear(l.first)
	for r, number := range same {
		l.labels[r] = -1
		if number < 0 {
			continue
		}
		first, ok := l.first[number]
		if !ok {
			first = int32(r)
			l.first[number] = first
		}
		l.labels[r] = first
	}
}

// Close frees the program, and what is on a GPU.
func (l *Loss) Close() error {
	errs := []error{l.program.Close()}
	for _, r := range l.residents {
		errs = append(errs, r.Close())
	}
	l.residents = nil
	return errors.Join(errs...)
}
