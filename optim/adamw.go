package optim

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"relsim/kernel"
	"relsim/nn"
)

// Config are the settings of [AdamW].
type Config struct {
	Beta1 float64 `json:"beta1"` // of the mean of the gradient, [0, 1)
	Beta2 float64 `json:"beta2"` // of the mean of its square, [0, 1)
	Eps   float64 `json:"eps"`   // added to the root of the second, positive
	// WeightDecay pulls the parameters of the kinds in Decay to zero.
	WeightDecay float64   `json:"weight_decay"`
	Decay       []nn.Kind `json:"decay"`
	// ClipNorm bounds the L2 norm of the gradient of all parameters together;
	// 0 leaves it as it is.
	ClipNorm float64 `json:"clip_norm"`
}

// Default returns the settings of the small models: β .9 and .98, decay .05 of
// matrices, convolution kernels and word vectors, norm clipped at 1.
func Default() Config {
	return Config{
		Beta1: .9, Beta2: .98, Eps: 1e-8,
		WeightDecay: .05,
		Decay:       []nn.Kind{nn.Matrix, nn.Kernel, nn.WordVectors},
		ClipNorm:    1,
	}
}

// Validate reports the first field that makes no sense.
func (c Config) Validate() error {
	switch {
	case !(c.Beta1 >= 0 && c.Beta1 < 1):
		return fmt.Errorf("optim: beta1 %v, want 0 to below 1", c.Beta1)
	case !(c.Beta2 >= 0 && c.Beta2 < 1):
		return fmt.Errorf("optim: beta2 %v, want 0 to below 1", c.Beta2)
	case !(float32(c.Eps) > 0) || math.IsInf(c.Eps, 0):
		return fmt.Errorf("optim: eps %v, want a positive number", c.Eps)
	case !(c.WeightDecay >= 0) || math.IsInf(c.WeightDecay, 0):
		return fmt.Errorf("optim: weight decay %v, want 0 or more", c.WeightDecay)
	case !(c.ClipNorm >= 0) || math.IsInf(c.ClipNorm, 0):
		return fmt.Errorf("optim: clip norm %v, want 0 (no clipping) or more", c.ClipNorm)
	}
	for _, k := range c.Decay {
		if !slices.Contains(nn.Kinds(), k) {
			return fmt.Errorf("optim: decay of %v: no such kind of parameter", k)
		}
	}
	return nil
}

// AdamW changes those of a set of parameters that are not frozen by their gradient. In step t = 1, 2, …,
// with g the gradient, clipped if asked:
//
//	m = β₁·m + (1-β₁)·g        v = β₂·v + (1-β₂)·g²
//	w = w - lr·decay·w - lr · m/(1-β₁ᵗ) / (√(v/(1-β₂ᵗ)) + ε)
//
// as torch.optim.AdamW. Decay is zero for the kinds that are not in
// [Config].Decay. Clipping multiplies all gradients by min(1, c/(N+1e-6)),
// N their norm, as torch.nn.utils.clip_grad_norm_ does; the gradient buffer
// itself is not changed.
//
// Source: Loshchilov and Hutter, arXiv:1711.05101, algorithm 2.
type AdamW struct {
	params *nn.Params
	config Config
	pool   *kernel.Pool
	m, v   []float32
	step   int
	groups []group
	device *device // nil: the host
}

// group is a piece of the flat buffers that one kernel call handles.
type group struct {
	low, high int
	decay     float64
	factor    float64 // of the learning rate
}

// NewAdamW returns an optimiser of params, which are initialised. It runs on
// pool, which may be nil.
func NewAdamW(params *nn.Params, c Config, pool *kernel.Pool) (*AdamW, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	n := len(params.Grad())
	if n == 0 {
		return nil, fmt.Errorf("optim: adamw: the parameters are empty, frozen, or not initialised")
	}
	o := &AdamW{params: params, config: c, pool: pool, m: make([]float32, n), v: make([]float32, n)}
	kernel.AdviseHuge(o.m)
	kernel.AdviseHuge(o.v)
	for _, kind := range nn.Kinds() {
		low, high := params.Segment(kind)
		o.groups = addGroup(o.groups, group{low, high, c.decay(kind), 1})
	}
	return o, nil
}

// decay returns the weight decay of parameters of a kind.
func (c Config) decay(k nn.Kind) float64 {
	if slices.Contains(c.Decay, k) {
		return c.WeightDecay
	}
	return 0
}

// addGroup adds the piece behind the last one, to that one where both are
// treated alike.
func addGroup(list []group, g group) []group {
	if g.low == g.high {
		return list
	}
	if k := len(list) - 1; k >= 0 && list[k].decay == g.decay && list[k].factor == g.factor {
		list[k].high = g.high
		return list
	}
	return append(list, g)
}

// SetFactors multiplies the learning rate of each parameter by a factor of its
// own, in place of 1, as groups of parameters do in PyTorch. So decay becomes
// lr·factor·decay. It is an error if a factor is negative or not finite; nothing
// is changed then.
//
// SetFactors panics on a GPU: it comes before [AdamW.On].
func (o *AdamW) SetFactors(factor func(p *nn.Param) float64) error {
	if o.device != nil {
		panic("optim: adamw: SetFactors on a GPU")
	}
	var learned []*nn.Param
	for _, p := range o.params.All() {
		if !p.Frozen {
			learned = append(learned, p)
		}
	}
	slices.SortFunc(learned, func(p, q *nn.Param) int {
		low, _ := o.params.Range(p)
		other, _ := o.params.Range(q)
		return low - other
	})
	var groups []group
	for _, p := range learned {
		f := factor(p)
		if !(f >= 0) || math.IsInf(f, 0) {
			return fmt.Errorf("optim: adamw: factor %v of %s, want 0 or more", f, p.Name)
		}
		low, high := o.params.Range(p)
		groups = addGroup(groups, group{low, high, o.config.decay(p.Kind), f})
	}
	o.groups = groups
	return nil
}

// nonFinite is the error of a step whose gradient has no norm.
func (o *AdamW) nonFinite(step int, norm float64) error {
	names := o.params.NonFinite()
	if len(names) == 0 {
		names = []string{"the sum overflows"}
	}
	return fmt.Errorf("optim: adamw: step %d: gradient norm %v: %s", step, norm, strings.Join(names, ", "))
}

// Steps is the number of steps taken.
func (o *AdamW) Steps() int { return o.step }

// Step takes one step at the given learning rate and returns the norm of the
// gradient before clipping. If that is not finite, nothing is changed, and the
// error names the parameters that are to blame.
func (o *AdamW) Step(lr float64) (norm float64, err error) {
	if o.device != nil {
		p, err := o.Enqueue(lr)
		if err != nil {
			return 0, err
		}
		return p.Wait()
	}
	grad := o.params.Grad()
	norm = math.Sqrt(kernel.SumSquares(o.pool, grad))
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		return norm, o.nonFinite(o.step+1, norm)
	}
	scale := 1.0
	if o.config.ClipNorm > 0 {
		scale = min(1, o.config.ClipNorm/(norm+1e-6))
	}
	o.step++
	s := kernel.AdamWStep{
		LR:          lr,
		Beta1:       o.config.Beta1,
		Beta2:       o.config.Beta2,
		Eps:         o.config.Eps,
		Correction1: 1 - math.Pow(o.config.Beta1, float64(o.step)),
		Correction2: 1 - math.Pow(o.config.Beta2, float64(o.step)),
		GradScale:   scale,
	}
	data := o.params.Learned()
	for _, g := range o.groups {
		s.WeightDecay, s.LR = g.decay, lr*g.factor
		kernel.AdamW(o.pool, data[g.low:g.high], grad[g.low:g.high], o.m[g.low:g.high], o.v[g.low:g.high], s)
	}
	return norm, nil
}
