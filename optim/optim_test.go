package optim

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relsim/checkpoints"
	"relsim/kernel"
	"relsim/nn"
)

// golden is a reference trace of testdata.
type golden struct {
	LR          float64    `json:"lr"`
	WeightDecay float64    `json:"weight_decay"`
	Betas       [2]float64 `json:"betas"`
	Eps         float64    `json:"eps"`
	TMax        int        `json:"T_max"`
	EtaMin      float64    `json:"eta_min"`
	MaxNorm     float64    `json:"max_norm"`
	Temperature float64    `json:"temperature"`
	Steps       int        `json:"steps"`
	Batch       int        `json:"batch"`
	LRs         []float64  `json:"lr_float64"`
	Norms       []float64  `json:"grad_norm_float64"`
	Losses      []float64  `json:"loss_float64"`
	Stats       map[string]struct {
		MaxAbs float64 `json:"max_abs"`
		Dev    float64 `json:"dev_from_float64"`
	} `json:"stats"`
	file *checkpoints.File
}

func openGolden(t *testing.T, name string) *golden {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	g := new(golden)
	if err := json.Unmarshal(data, g); err != nil {
		t.Fatal(err)
	}
	g.file = open(t, filepath.Join("testdata", name, "golden.safetensors"))
	return g
}

func open(t *testing.T, path string) *checkpoints.File {
	t.Helper()
	f, err := checkpoints.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func (g *golden) tensor(t *testing.T, name string) []float32 {
	t.Helper()
	x, _, err := g.file.Float32(name)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// settings returns the configuration of the optimiser and the schedule.
func (g *golden) settings() (Config, Schedule) {
	return Config{
			Beta1: g.Betas[0], Beta2: g.Betas[1], Eps: g.Eps,
			WeightDecay: g.WeightDecay, Decay: nn.Kinds(), ClipNorm: g.MaxNorm,
		},
		Schedule{Peak: g.LR, Floor: g.EtaMin, Total: g.TMax}
}

// near checks got against part of a tensor of the trace, within the tolerance
// of testdata/README.md.
func (g *golden) near(t *testing.T, name string, step int, got []float32) {
	t.Helper()
	want := g.tensor(t, name)
	if step >= 0 {
		want = want[step*len(got):][:len(got)]
	}
	stat, ok := g.Stats[name]
	if !ok || len(want) != len(got) {
		t.Fatalf("%s: %d values, want %d; statistics %v", name, len(got), len(want), ok)
	}
	within(t, fmt.Sprintf("%s, step %d", name, step), got, want, 10*stat.Dev+1e-5*stat.MaxAbs)
}

func within(t *testing.T, what string, got, want []float32, limit float64) {
	t.Helper()
	worst, at := 0.0, 0
	for i := range want {
		d := math.Abs(float64(got[i]) - float64(want[i]))
		if !(d <= worst) {
			worst, at = d, i
		}
	}
	if !(worst <= limit) {
		t.Errorf("%s: off by %.3g at %d (%v, want %v), allowed %.3g", what, worst, at, got[at], want[at], limit)
	}
}

// onTiers runs a test on every tier of the kernels.
func onTiers(t *testing.T, f func(t *testing.T)) {
	for _, tier := range kernel.Tiers() {
		if tier.BF16() {
			continue
		}
		t.Run(tier.String(), func(t *testing.T) {
			restore, err := kernel.SetTier(tier)
			if err != nil {
				t.Fatal(err)
			}
			defer restore()
			f(t)
		})
	}
}

// net is the small net of the traces.
type net struct {
	params             *nn.Params
	w1, b1, g, b       *nn.Param
	w2, b2             *nn.Param
	batch, in, mid, ou int
}

func newNet(t *testing.T, weights *checkpoints.File, batch int) *net {
	t.Helper()
	info, ok := weights.Info("fc1.weight")
	info2, ok2 := weights.Info("fc2.weight")
	if !ok || !ok2 {
		t.Fatal("weights are missing")
	}
	n := &net{params: new(nn.Params), batch: batch, mid: info.Shape[0], in: info.Shape[1], ou: info2.Shape[0]}
	zero := nn.Constant(0)
	n.w1 = n.params.Declare("fc1.weight", nn.Matrix, zero, n.mid, n.in)
	n.b1 = n.params.Declare("fc1.bias", nn.Bias, zero, n.mid)
	n.g = n.params.Declare("norm.weight", nn.Norm, zero, n.mid)
	n.b = n.params.Declare("norm.bias", nn.Bias, zero, n.mid)
	n.w2 = n.params.Declare("fc2.weight", nn.Matrix, zero, n.ou, n.mid)
	n.b2 = n.params.Declare("fc2.bias", nn.Bias, zero, n.ou)
	if err := n.params.Init(nil); err != nil {
		t.Fatal(err)
	}
	if err := checkpoints.Assign(n.params.Targets(), weights); err != nil {
		t.Fatal(err)
	}
	return n
}

// step writes the gradient of the mean squared error and returns it.
func (n *net) step(x, y []float32) (loss float64) {
	const eps = 1e-5
	mid, out := n.batch*n.mid, n.batch*n.ou
	h, normed, act, got := make([]float32, mid), make([]float32, mid), make([]float32, mid), make([]float32, out)
	kernel.Linear(nil, h, x, n.w1.Data, n.b1.Data, n.batch, n.in, n.mid)
	kernel.LayerNorm(nil, normed, h, n.g.Data, n.b.Data, n.batch, n.mid, eps)
	kernel.GELU(nil, kernel.GELUErf, act, normed)
	kernel.Linear(nil, got, act, n.w2.Data, n.b2.Data, n.batch, n.mid, n.ou)
	dgot := make([]float32, out)
	for i := range got {
		d := float64(got[i]) - float64(y[i])
		loss += d * d / float64(out)
		dgot[i] = float32(2 * d / float64(out))
	}
	d := make([]float32, mid)
	kernel.LinearGradW(nil, n.w2.Grad, n.b2.Grad, dgot, act, n.batch, n.mid, n.ou)
	kernel.LinearGradX(nil, d, dgot, n.w2.Data, n.batch, n.mid, n.ou)
	kernel.GELUGrad(nil, kernel.GELUErf, d, normed, d)
	dh := make([]float32, mid)
	kernel.LayerNormGrad(nil, dh, n.g.Grad, n.b.Grad, d, h, n.g.Data, n.batch, n.mid, eps)
	kernel.LinearGradW(nil, n.w1.Grad, n.b1.Grad, dh, x, n.batch, n.in, n.mid)
	return loss
}

func TestAdamWFollowsTheReference(t *testing.T) {
	for _, name := range []string{"adamw_cosine", "adamw_cosine_b"} {
		t.Run(name, func(t *testing.T) {
			onTiers(t, func(t *testing.T) {
				g := openGolden(t, name)
				n := newNet(t, open(t, filepath.Join("testdata", name, "model.safetensors")), g.Batch)
				config, schedule := g.settings()
				adamw, err := NewAdamW(n.params, config, nil)
				if err != nil {
					t.Fatal(err)
				}
				x, y := g.tensor(t, "in.x"), g.tensor(t, "in.y")
				for s := range g.Steps {
					loss := n.step(x[s*n.batch*n.in:][:n.batch*n.in], y[s*n.batch*n.ou:][:n.batch*n.ou])
					g.near(t, "loss", s, []float32{float32(loss)})
					lr := schedule.At(s)
					if math.Abs(lr-g.LRs[s]) > 1e-15 {
						t.Errorf("step %d: rate %v, want %v", s, lr, g.LRs[s])
					}
					norm, err := adamw.Step(lr)
					if err != nil {
						t.Fatal(err)
					}
					g.near(t, "grad_norm_before_clip", s, []float32{float32(norm)})
					for _, p := range n.params.All() {
						clipped := slices.Clone(p.Grad)
						kernel.Scale(nil, clipped, float32(min(1, g.MaxNorm/(norm+1e-6))), clipped)
						g.near(t, "clipped_grad."+p.Name, s, clipped)
						g.near(t, "param."+p.Name, s, p.Data)
					}
				}
				for _, p := range n.params.All() {
					low, high := n.params.Range(p)
					g.near(t, "final_exp_avg."+p.Name, -1, adamw.m[low:high])
					g.near(t, "final_exp_avg_sq."+p.Name, -1, adamw.v[low:high])
				}
			})
		})
	}
}

func TestScheduleWarmup(t *testing.T) {
	s := Schedule{Peak: 2, Floor: .5, Warmup: 4, Total: 12}
	want := map[int]float64{0: .5, 1: 1, 3: 2, 4: 2, 8: 1.25, 12: .5}
	for step, lr := range want {
		if got := s.At(step); math.Abs(got-lr) > 1e-12 {
			t.Errorf("rate of step %d: %v, want %v", step, got, lr)
		}
	}
	for step := 5; step < s.Total; step++ {
		if !(s.At(step) < s.At(step-1)) {
			t.Errorf("the rate does not fall from step %d to %d", step-1, step)
		}
	}
	if got := (Schedule{Peak: 1, Warmup: 3, Total: 3}).At(2); got != 1 {
		t.Errorf("only warm-up: last rate %v, want the peak", got)
	}
	for _, tt := range []struct {
		warmup float64
		total  int
		want   int
	}{{.06, 2344, 141}, {0, 100, 0}, {1, 100, 1}, {250, 1000, 250}, {.5, 3, 2}} {
		if got := WarmupSteps(tt.warmup, tt.total); got != tt.want {
			t.Errorf("WarmupSteps(%v, %d) = %d, want %d", tt.warmup, tt.total, got, tt.want)
		}
	}
}

func TestValidate(t *testing.T) {
	nan := math.NaN()
	schedules := map[string]Schedule{
		"peak rate": {Peak: 0, Total: 1}, "peak rate NaN": {Peak: nan, Total: 1}, "floor": {Peak: 1, Floor: 2, Total: 1},
		"0 steps": {Peak: 1}, "-1 steps of warm-up": {Peak: 1, Total: 1, Warmup: -1}, "2 steps of warm-up": {Peak: 1, Total: 1, Warmup: 2},
	}
	for want, s := range schedules {
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %q", s, err, want)
		}
	}
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	configs := map[string]func(*Config){
		"beta1":        func(c *Config) { c.Beta1 = 1 },
		"beta2":        func(c *Config) { c.Beta2 = nan },
		"eps":          func(c *Config) { c.Eps = 0 },
		"weight decay": func(c *Config) { c.WeightDecay = -1 },
		"clip norm":    func(c *Config) { c.ClipNorm = math.Inf(1) },
		"no such kind": func(c *Config) { c.Decay = []nn.Kind{99} },
	}
	for want, change := range configs {
		c := Default()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %q", c, err, want)
		}
		if _, err := NewAdamW(oneOfEach(), c, nil); err == nil {
			t.Errorf("NewAdamW accepts %+v", c)
		}
	}
	if _, err := NewAdamW(new(nn.Params), Default(), nil); err == nil {
		t.Error("NewAdamW accepts parameters that are not initialised")
	}
	for _, decay := range []float64{0, 1, nan} {
		if _, err := NewEMA(oneOfEach(), decay, nil); err == nil {
			t.Errorf("NewEMA accepts decay %v", decay)
		}
	}
}

// rng returns a source of initial values.
func rng() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// oneOfEach returns a parameter of each kind, all values 1 to 2.
func oneOfEach() *nn.Params {
	s := new(nn.Params)
	for _, k := range nn.Kinds() {
		s.Declare(k.String(), k, nn.Uniform(1), 3)
	}
	if err := s.Init(rng()); err != nil {
		panic(err)
	}
	return s
}

// TestDecayByKind: with a zero gradient only decay moves the weights.
func TestDecayByKind(t *testing.T) {
	onTiers(t, func(t *testing.T) {
		s := oneOfEach()
		before := slices.Clone(s.Data())
		adamw, err := NewAdamW(s, Default(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(adamw.groups) != 2 {
			t.Errorf("%d kernel calls for two groups of parameters", len(adamw.groups))
		}
		if _, err := adamw.Step(.1); err != nil {
			t.Fatal(err)
		}
		for _, p := range s.All() {
			low, _ := s.Range(p)
			keep := 1.0
			if p.Kind == nn.Matrix || p.Kind == nn.Kernel || p.Kind == nn.WordVectors {
				keep = 1 - .1*.05
			}
			for i, w := range p.Data {
				if want := keep * float64(before[low+i]); math.Abs(float64(w)-want) > 1e-7 {
					t.Errorf("%v: %v after decay of %v, want %v", p.Kind, w, before[low+i], want)
				}
			}
		}
	})
}

// TestFactors: a factor f of a parameter is a learning rate of f times the
// others', decay and step alike.
func TestFactors(t *testing.T) {
	factors := map[string]float64{"matrix": .5, "norm": 0, "bias": 2}
	factor := func(p *nn.Param) float64 {
		if f, ok := factors[p.Name]; ok {
			return f
		}
		return 1
	}
	config := Default()
	config.ClipNorm = 0
	after := func(lr float64, set bool) *nn.Params {
		s := oneOfEach()
		adamw, err := NewAdamW(s, config, nil)
		if err != nil {
			t.Fatal(err)
		}
		if set {
			if err := adamw.SetFactors(factor); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 3 {
			noise(s, uint64(i))
			if _, err := adamw.Step(lr); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	got := after(.01, true)
	for _, p := range got.All() {
		if want := after(.01*factor(p), false).Lookup(p.Name); !slices.Equal(p.Data, want.Data) {
			t.Errorf("%s: %v, want %v as at %v of the rate", p.Name, p.Data, want.Data, factor(p))
		}
	}

	s := oneOfEach()
	adamw, err := NewAdamW(s, config, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []float64{-1, math.NaN(), math.Inf(1)} {
		err := adamw.SetFactors(func(p *nn.Param) float64 {
			if p.Name == "bias" {
				return bad
			}
			return 1
		})
		if err == nil || !strings.Contains(err.Error(), "of bias, want 0 or more") {
			t.Errorf("factor %v: error %v", bad, err)
		}
	}
}

func TestStepRefusesNonFinite(t *testing.T) {
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(-1))} {
		s := oneOfEach()
		adamw, err := NewAdamW(s, Default(), nil)
		if err != nil {
			t.Fatal(err)
		}
		before := slices.Clone(s.Data())
		s.Lookup("norm").Grad[1] = bad
		if _, err := adamw.Step(.1); err == nil || !strings.Contains(err.Error(), "step 1: ") || !strings.HasSuffix(err.Error(), ": grad of norm") {
			t.Errorf("gradient %v: error %v", bad, err)
		}
		if !slices.Equal(before, s.Data()) || adamw.Steps() != 0 {
			t.Error("the weights or the step changed")
		}
	}
}

// noise fills the gradient for a step.
func noise(s *nn.Params, step uint64) {
	rng := rand.New(rand.NewPCG(7, step))
	for i := range s.Grad() {
		s.Grad()[i] = float32(rng.NormFloat64())
	}
}

func TestStateResumesBitForBit(t *testing.T) {
	run := func(from, to int, s *nn.Params, adamw *AdamW, ema *EMA) {
		for i := from; i < to; i++ {
			noise(s, uint64(i))
			if _, err := adamw.Step(.01); err != nil {
				t.Fatal(err)
			}
			ema.Update()
		}
	}
	make3 := func() (*nn.Params, *AdamW, *EMA) {
		s := oneOfEach()
		adamw, err := NewAdamW(s, Default(), nil)
		if err != nil {
			t.Fatal(err)
		}
		ema, err := NewEMA(s, .99, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s, adamw, ema
	}
	s, adamw, ema := make3()
	run(0, 5, s, adamw, ema)
	model, state := s.State(), append(adamw.State(), ema.State()...)
	run(5, 9, s, adamw, ema)

	again, adamw2, ema2 := make3()
	if err := checkpoints.AssignTensors(again.Targets(), "model", model); err != nil {
		t.Fatal(err)
	}
	if err := adamw2.Restore(state); err != nil {
		t.Fatal(err)
	}
	if err := ema2.Restore(state); err != nil {
		t.Fatal(err)
	}
	if adamw2.Steps() != 5 {
		t.Errorf("%d steps after restore, want 5", adamw2.Steps())
	}
	run(5, 9, again, adamw2, ema2)
	if !slices.Equal(s.Data(), again.Data()) || !slices.Equal(ema.avg, ema2.avg) {
		t.Error("the resumed run differs")
	}

	refused := map[string]func(state []checkpoints.Tensor) []checkpoints.Tensor{
		"adamw.step is missing": func(s []checkpoints.Tensor) []checkpoints.Tensor { return s[1:] },
		"missing":               func(s []checkpoints.Tensor) []checkpoints.Tensor { return slices.Delete(s, 1, 2) },
		"want a scalar I64": func(s []checkpoints.Tensor) []checkpoints.Tensor {
			s[0] = checkpoints.FromFloat32("adamw.step", nil, []float32{5})
			return s
		},
		"adamw.step is -1": func(s []checkpoints.Tensor) []checkpoints.Tensor { s[0] = counter("adamw.step", -1); return s },
		"unexpected": func(s []checkpoints.Tensor) []checkpoints.Tensor {
			return append(s, checkpoints.FromFloat32("adamw.exp_avg.other", nil, []float32{5}))
		},
	}
	for want, change := range refused {
		m := slices.Clone(adamw2.m)
		err := adamw2.Restore(change(slices.Clone(state)))
		if err == nil || !strings.HasPrefix(err.Error(), "optim: adamw: restore: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if adamw2.Steps() != 9 || !slices.Equal(m, adamw2.m) {
			t.Errorf("%s: the state changed", want)
		}
	}
	if err := ema2.Restore(adamw.State()); err == nil {
		t.Error("EMA restores without its tensors")
	}
}

func TestEMA(t *testing.T) {
	onTiers(t, func(t *testing.T) {
		s := oneOfEach()
		ema, err := NewEMA(s, .5, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := make([]float64, len(s.Data()))
		for i, w := range s.Data() {
			want[i] = float64(w)
		}
		for n := range 12 {
			for i := range s.Data() {
				s.Data()[i] += float32(i) * .1
			}
			ema.Update()
			d := min(.5, (1+float64(n))/(10+float64(n)))
			for i, w := range s.Data() {
				want[i] = d*want[i] + (1-d)*float64(w)
			}
		}
		weights := slices.Clone(s.Data())
		restore := ema.Apply()
		for i, got := range s.Data() {
			if math.Abs(float64(got)-want[i]) > 1e-5 {
				t.Errorf("average %d: %v, want %v", i, got, want[i])
			}
		}
		mustPanic(t, "Update", ema.Update)
		mustPanic(t, "Apply", func() { ema.Apply() })
		mustPanic(t, "State", func() { ema.State() })
		restore()
		restore()
		if !slices.Equal(weights, s.Data()) {
			t.Error("the weights did not come back")
		}
	})
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s does not panic while the average is applied", what)
		}
	}()
	f()
}

func TestStepDoesNotAllocate(t *testing.T) {
	s := oneOfEach()
	adamw, err := NewAdamW(s, Default(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ema, err := NewEMA(s, .99, nil)
	if err != nil {
		t.Fatal(err)
	}
	noise(s, 1)
	if n := testing.AllocsPerRun(20, func() { adamw.Step(.01); ema.Update() }); n > 0 {
		t.Errorf("%v allocations per step", n)
	}
}

// The weight w minimises (w-3)²/2.
func Example() {
	params := new(nn.Params)
	w := params.Declare("w", nn.Matrix, nn.Constant(0), 1)
	if err := params.Init(rand.New(rand.NewPCG(1, 1))); err != nil {
		fmt.Println(err)
		return
	}
	config := Default()
	config.WeightDecay = 0
	adamw, err := NewAdamW(params, config, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	schedule := Schedule{Peak: .1, Warmup: WarmupSteps(.06, 200), Total: 200}
	for step := range schedule.Total {
		w.Grad[0] = w.Data[0] - 3
		if _, err := adamw.Step(schedule.At(step)); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Printf("%.2f\n", w.Data[0])
	// Output:
	// 3.00
}
