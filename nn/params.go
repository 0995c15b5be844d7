package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"relsim/checkpoints"
	"relsim/kernel"
)

// Kind says what a parameter is. Optimisers choose by it what to decay.
type Kind int

// The kinds of parameters.
const (
	Matrix      Kind = iota // weight of a linear layer, (out, in)
	Kernel                  // weight of a convolution, (out, in, height, width)
	WordVectors             // one row per word
	Position                // position table
	Token                   // a learned token, such as the class token
	Norm                    // gain of a normalisation
	Bias                    // anything that is added, of norms too
	Temperature             // logarithm of the scale of the logits
	kinds
)

var kindNames = [kinds]string{"matrix", "kernel", "word vectors", "position", "token", "norm", "bias", "temperature"}

// String returns the name of the kind.
func (k Kind) String() string {
	if k < 0 || k >= kinds {
		return fmt.Sprintf("Kind(%d)", int(k))
	}
	return kindNames[k]
}

// MarshalText writes the name of the kind.
func (k Kind) MarshalText() ([]byte, error) {
	if k < 0 || k >= kinds {
		return nil, fmt.Errorf("nn: %v: no such kind of parameter", k)
	}
	return []byte(kindNames[k]), nil
}

// UnmarshalText reads the name of a kind.
func (k *Kind) UnmarshalText(name []byte) error {
	i := slices.Index(kindNames[:], string(name))
	if i < 0 {
		return fmt.Errorf("nn: %q: no such kind of parameter; there are %s", name, strings.Join(kindNames[:], ", "))
	}
	*k = Kind(i)
	return nil
}

// Param is one learned tensor.
type Param struct {
	// Name is the name in a checkpoint, unique in its set.
	Name string
	// Shape is the shape in a checkpoint. A scalar has no dimension.
	Shape []int
	// Kind says what it is.
	Kind Kind
	// Data and Grad are the values and their gradient, row-major: views into
	// the flat buffers of the set, nil until [Params.Init]. What is Frozen has no
	// gradient.
	Data, Grad []float32
	// Frozen says that training does not change it: see [Params.Freeze].
	Frozen bool

	init Initializer
	low  int // where Data begins in the flat buffer
}

// Size is the number of values.
func (p *Param) Size() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// Params is an ordered set of parameters over two flat buffers, one with the
// values and one with the gradients.
//
// Parameters are declared first; [Params.Init] then allocates the buffers and
// draws the initial values in the order of declaration. Inside the buffers the
// parameters are sorted by [Kind], so that all values of one kind are one piece
// of memory: see [Params.Segment]. Frozen ones lie behind all others.
type Params struct {
	list    []*Param
	byName  map[string]*Param
	data    []float32
	grad    []float32
	segment [kinds + 1]int // segment[k] is where kind k begins
	err     error
}

// Declare adds a parameter. The first name that is used twice, or the first
// shape that has a dimension below one, is an error of [Params.Init].
func (s *Params) Declare(name string, kind Kind, init Initializer, shape ...int) *Param {
	p := &Param{Name: name, Shape: slices.Clone(shape), Kind: kind, init: init}
	if s.byName == nil {
		s.byName = make(map[string]*Param)
	}
	switch {
	case s.err != nil:
	case s.data != nil:
		s.err = fmt.Errorf("nn: parameter %s: declared after Init", name)
	case s.byName[name] != nil:
		s.err = fmt.Errorf("nn: parameter %s: declared twice", name)
	case len(shape) > 0 && slices.Min(shape) < 1:
		s.err = fmt.Errorf("nn: parameter %s: shape %v", name, shape)
	}
	s.byName[name] = p
	s.list = append(s.list, p)
	return p
}

// Freeze marks the parameters whose names begin with prefix: they have values,
// but no gradient and no state of an optimiser. It is for the time before
// [Params.Init], and panics later.
func (s *Params) Freeze(prefix string) {
	if s.data != nil {
		panic("nn: parameters: Freeze after Init")
	}
	for _, p := range s.list {
		p.Frozen = p.Frozen || strings.HasPrefix(p.Name, prefix)
	}
}

// Init allocates the buffers and draws the initial values from rng, parameter
// by parameter as they were declared. It returns the first error of
// [Params.Declare].
func (s *Params) Init(rng *rand.Rand) error {
	if err := s.Allocate(); err != nil {
		return err
	}
	kernel.AdviseHuge(s.data)
	s.Draw(rng, func(*Param) bool { return true })
	return nil
}

// Draw draws initial values for the parameters that want names, in the order of
// declaration.
func (s *Params) Draw(rng *rand.Rand, want func(*Param) bool) {
	for _, p := range s.list {
		if want(p) {
			p.init(rng, p.Data, p.Shape)
		}
	}
}

// Allocate is [Params.Init] without initial values: they are zero, and memory
// that is not written costs nothing. It is for parameters that are read from a
// file; [Params.Draw] is for the others. Values are not asked to lie in large
// pages: while a file fills the memory of the system, these take longer to find
// than the file to read.
func (s *Params) Allocate() error {
	if s.err == nil && s.data != nil {
		s.err = fmt.Errorf("nn: parameters: Init called twice")
	}
	if s.err != nil {
		return s.err
	}
	total, learned := 0, 0
	for _, p := range s.list {
		total += p.Size()
		if !p.Frozen {
			learned += p.Size()
		}
	}
	if total > maxParams {
		return fmt.Errorf("nn: parameters: %d values, at most %d are allowed", total, maxParams)
	}
	s.data = make([]float32, total)
	s.grad = make([]float32, learned)
	kernel.AdviseHuge(s.grad)
	at := 0
	place := func(p *Param) {
		p.low = at
		at += p.Size()
		p.Data = s.data[p.low:at:at]
		if !p.Frozen {
			p.Grad = s.grad[p.low:at:at]
		}
	}
	for kind := range kinds {
		s.segment[kind] = at
		for _, p := range s.list {
			if p.Kind == kind && !p.Frozen {
				place(p)
			}
		}
	}
	s.segment[kinds] = at
	for _, p := range s.list {
		if p.Frozen {
			place(p)
		}
	}
	return nil
}

// All returns the parameters in the order of declaration.
func (s *Params) All() []*Param { return s.list }

// Lookup returns the parameter of that name, or nil.
func (s *Params) Lookup(name string) *Param { return s.byName[name] }

// Data returns the values of all parameters, those that are frozen last.
func (s *Params) Data() []float32 { return s.data }

// Learned returns the values of the parameters that are not frozen: the head of
// [Params.Data].
func (s *Params) Learned() []float32 { return s.data[:len(s.grad):len(s.grad)] }

// Grad returns the gradients, laid out as [Params.Learned].
func (s *Params) Grad() []float32 { return s.grad }

// Segment returns where in [Params.Learned] and [Params.Grad] the parameters of
// one kind lie: [low, high).
func (s *Params) Segment(kind Kind) (low, high int) {
	return s.segment[kind], s.segment[kind+1]
}

// Range returns where in [Params.Data], and in [Params.Grad] if it is not frozen,
// a parameter of the set lies: [low, high).
func (s *Params) Range(p *Param) (low, high int) { return p.low, p.low + len(p.Data) }

// State returns a copy of all values as tensors of a checkpoint.
func (s *Params) State() []checkpoints.Tensor {
	state := make([]checkpoints.Tensor, len(s.list))
	for i, p := range s.list {
		state[i] = checkpoints.FromFloat32(p.Name, p.Shape, p.Data)
	}
	return state
}

// Targets returns what to fill from a checkpoint, for [checkpoints.Assign].
func (s *Params) Targets() []checkpoints.Target {
	dst := make([]checkpoints.Target, len(s.list))
	for i, p := range s.list {
		dst[i] = checkpoints.Target{Name: p.Name, Shape: p.Shape, Data: p.Data}
	}
	return dst
}

// Kinds returns all kinds, in the order of the buffers.
func Kinds() []Kind {
	all := make([]Kind, kinds)
	for k := range all {
		all[k] = Kind(k)
	}
	return all
}

// NonFinite returns the names of the parameters whose value or gradient is
// infinite or not a number, as "name" and "grad of name".
func (s *Params) NonFinite() []string {
	var names []string
	for _, p := range s.list {
		if !kernel.AllFinite(p.Data) {
			names = append(names, p.Name)
		}
		if !kernel.AllFinite(p.Grad) {
			names = append(names, "grad of "+p.Name)
		}
	}
	return names
}

// An Initializer fills dst, a tensor of the given shape, with its first values.
type Initializer func(rng *rand.Rand, dst []float32, shape []int)

// Constant fills with one value.
func Constant(value float64) Initializer {
	return func(_ *rand.Rand, dst []float32, _ []int) {
		for i := range dst {
			dst[i] = float32(value)
		}
	}
}

// Normal draws from N(0, std²).
func Normal(std float64) Initializer {
	return func(rng *rand.Rand, dst []float32, _ []int) {
		for i := range dst {
			dst[i] = float32(std * rng.NormFloat64())
		}
	}
}

// truncatedStd is the standard deviation of the standard normal distribution
// cut at ±2.
const truncatedStd = 0.8796256610342398

// TruncatedNormal draws from a normal distribution cut at two of its standard
// deviations, scaled so that what comes out has standard deviation std.
func TruncatedNormal(std float64) Initializer {
	return func(rng *rand.Rand, dst []float32, _ []int) {
		for i := range dst {
			x := rng.NormFloat64()
			for math.Abs(x) > 2 {
				x = rng.NormFloat64()
			}
			dst[i] = float32(std / truncatedStd * x)
		}
	}
}

// FanIn draws a weight of shape (out, in, …) from the truncated normal
// distribution with standard deviation gain/√fan_in, where fan_in is the
// product of all dimensions but the first.
func FanIn(gain float64) Initializer {
	return func(rng *rand.Rand, dst []float32, shape []int) {
		TruncatedNormal(gain/math.Sqrt(fanIn(shape)))(rng, dst, shape)
	}
}

// UniformFanIn draws a weight of shape (out, in, …) uniformly from ±1/√fan_in:
// PyTorch's initialisation of a convolution.
func UniformFanIn() Initializer {
	return func(rng *rand.Rand, dst []float32, shape []int) {
		Uniform(1/math.Sqrt(fanIn(shape)))(rng, dst, shape)
	}
}

// Uniform draws from ±bound.
func Uniform(bound float64) Initializer {
	return func(rng *rand.Rand, dst []float32, _ []int) {
		for i := range dst {
			dst[i] = float32(bound * (2*rng.Float64() - 1))
		}
	}
}

// Scaled multiplies what init draws by factor.
func Scaled(init Initializer, factor float64) Initializer {
	return func(rng *rand.Rand, dst []float32, shape []int) {
		init(rng, dst, shape)
		for i := range dst {
			dst[i] *= float32(factor)
		}
	}
}

func fanIn(shape []int) float64 {
	n := 1
	for _, d := range shape[1:] {
		n *= d
	}
	return float64(n)
}
