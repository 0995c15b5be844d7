//go:build linux && amd64 && !nogpu

package optim

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"relsim/checkpoints"
	"relsim/cuda"
	"relsim/cuda/fake"
	"relsim/graph"
	"relsim/nn"
)

// openGPU opens a GPU, or a driver that runs on the host where none is named. seeds are the orders in which that one
// runs threads and copies, one after the other: set chooses.
func openGPU(t *testing.T) (g *graph.GPU, seeds int, set func(seed int)) {
	t.Helper()
	seeds, set = fake.Orders(t, "../cuda/kernels", "optim")
	d, err := cuda.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	g, err = graph.NewGPU(d, graph.GPUConfig{Warn: func(s string) { t.Log(s) }})
	must(t, err)
	t.Cleanup(func() { must(t, g.Close()) })
	return g, seeds, set
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestGPU is one test because a process opens one driver.
func TestGPU(t *testing.T) {
	g, seeds, set := openGPU(t)
	t.Run("steps", func(t *testing.T) { testStepsOnGPU(t, g, seeds, set) })
	t.Run("not finite", func(t *testing.T) { testNonFiniteOnGPU(t, g, set) })
	t.Run("state", func(t *testing.T) { testStateOnGPU(t, g, seeds, set) })
}

// run is an optimiser with its average and its parameters, of odd sizes, one of them frozen.
type run struct {
	params    *nn.Params
	adamw     *AdamW
	ema       *EMA
	loss      []float32
	residents []*graph.Resident
}

func newRun(t *testing.T, clip float64) *run {
	t.Helper()
	r := &run{params: new(nn.Params), loss: []float32{1}}
	for i, k := range nn.Kinds() {
		r.params.Declare(k.String(), k, nn.Normal(1), []int{2 * 5001, 7, 130, 3, 9, 4096, 1, 1}[i])
	}
	r.params.Declare("frozen", nn.Bias, nn.Normal(1), 5)
	r.params.Freeze("frozen")
	must(t, r.params.Init(rng()))
	c := Default()
	c.ClipNorm = clip
	var err error
	r.adamw, err = NewAdamW(r.params, c, nil)
	must(t, err)
	factors := map[string]float64{"kernel": 0.3, "norm": 0}
	must(t, r.adamw.SetFactors(func(p *nn.Param) float64 {
		if f, ok := factors[p.Name]; ok {
			return f
		}
		return 1
	}))
	r.ema, err = NewEMA(r.params, 0.9, nil)
	must(t, err)
	return r
}

func (r *run) on(t *testing.T, g *graph.GPU) {
	t.Helper()
	for _, host := range [][]float32{r.params.Data(), r.params.Grad(), r.loss} {
		resident, err := g.Resident(host)
		must(t, err)
		r.residents = append(r.residents, resident)
	}
	must(t, r.adamw.On(g, r.loss))
	must(t, r.ema.On(g, r.adamw))
}

// step takes a step with the gradient of its number, and does not wait if the run is on a GPU.
func (r *run) step(t *testing.T, number int) *Pending {
	t.Helper()
	noise(r.params, uint64(number))
	for i := range r.params.Grad() {
		r.params.Grad()[i] *= float32(number % 3)
	}
	for _, resident := range r.residents[min(1, len(r.residents)):] {
		must(t, resident.Upload())
	}
	p, err := r.adamw.Enqueue(0.01)
	must(t, err)
	r.ema.Update()
	return p
}

// fetch brings everything to the host and returns it.
func (r *run) fetch(t *testing.T) map[string][]float32 {
	t.Helper()
	if r.residents != nil {
		must(t, r.residents[0].Download())
		must(t, r.adamw.Fetch())
		must(t, r.ema.Fetch())
	}
	return map[string][]float32{
		"weights": slices.Clone(r.params.Data()), "mean": slices.Clone(r.adamw.m), "square": slices.Clone(r.adamw.v), "average": slices.Clone(r.ema.avg),
	}
}

func (r *run) close(t *testing.T) {
	t.Helper()
	must(t, errors.Join(r.ema.Close(), r.adamw.Close()))
	for _, resident := range r.residents {
		must(t, resident.Close())
	}
}

// testStepsOnGPU compares steps with those of the host: each rounds a few times.
func testStepsOnGPU(t *testing.T, g *graph.GPU, seeds int, set func(int)) {
	const steps = 5
	for _, clip := range []float64{0, 1, 1e9} {
		host := newRun(t, clip)
		var norms []float64
		for i := range steps {
			norm, err := host.step(t, i+1).Wait()
			must(t, err)
			norms = append(norms, norm)
		}
		want := host.fetch(t)
		var first map[string][]float32
		for seed := range min(seeds, 3) {
			set(seed)
			r := newRun(t, clip)
			r.on(t, g)
			var pending []*Pending
			for i := range steps {
				pending = append(pending, r.step(t, i+1))
			}
			for i, p := range pending {
				norm, err := p.Wait()
				if err != nil || !(math.Abs(norm-norms[i]) <= 1e-13*norms[i]) {
					t.Errorf("norm of step %d: %v, want %v; %v", i+1, norm, norms[i], err)
				}
			}
			got := r.fetch(t)
			for what := range want {
				within(t, what, got[what], want[what], steps*4e-7*5) // of values up to 5
			}
			if r.adamw.Steps() != steps || r.ema.updates != steps {
				t.Errorf("%d steps and %d updates, want %d", r.adamw.Steps(), r.ema.updates, steps)
			}
			restore := r.ema.Apply()
			must(t, r.residents[0].Download())
			same(t, "applied average", r.params.Learned(), got["average"])
			restore()
			for what, x := range r.fetch(t) {
				same(t, what+" after the average was applied", x, got[what])
			}
			r.close(t)
			if first == nil {
				first = got
			}
			for what := range first {
				same(t, what, got[what], first[what])
			}
		}
	}
}

func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s[%d] = %v, want %v", what, i, got[i], want[i])
		}
	}
}

// testNonFiniteOnGPU: a norm or a loss that is not finite changes nothing, nor do steps after it, until Continue.
func testNonFiniteOnGPU(t *testing.T, g *graph.GPU, set func(int)) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for i, tt := range []struct {
		name   string
		break_ func(r *run)
		want   string
	}{
		{"gradient", func(r *run) { r.params.Lookup("norm").Grad[1] = nan }, "optim: adamw: step 3: gradient norm NaN: grad of norm"},
		{"infinite gradient", func(r *run) { r.params.Lookup("bias").Grad[0] = inf }, "optim: adamw: step 3: gradient norm +Inf: grad of bias"},
		{"loss", func(r *run) { r.loss[0] = nan }, "optim: adamw: step 3: the loss is not finite"},
		{"infinite loss", func(r *run) { r.loss[0] = inf }, "optim: adamw: step 3: the loss is not finite"},
	} {
		set(i)
		r := newRun(t, 1)
		r.on(t, g)
		r.step(t, 1)
		r.step(t, 2)
		before := r.fetch(t)
		tt.break_(r)
		must(t, errors.Join(r.residents[1].Upload(), r.residents[2].Upload()))
		bad, err := r.adamw.Enqueue(0.01)
		must(t, err)
		r.ema.Update()
		r.loss[0] = 1
		must(t, r.residents[2].Upload())
		if _, err := bad.Wait(); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if _, again := bad.Wait(); again == nil {
			t.Errorf("%s: the second Wait has no error", tt.name)
		}
		later := r.step(t, 3)
		if _, err := later.Wait(); err == nil || !strings.Contains(err.Error(), "step 3: ") {
			t.Errorf("%s: the step after it: %v", tt.name, err)
		}
		for what, x := range r.fetch(t) {
			same(t, tt.name+": "+what, x, before[what])
		}
		must(t, r.adamw.Continue())
		if _, err := r.step(t, 3).Wait(); err != nil || r.adamw.Steps() != 3 {
			t.Errorf("%s: a step after Continue: %v, %d steps", tt.name, err, r.adamw.Steps())
		}
		got := r.fetch(t)
		if r.ema.updates != 3 {
			t.Errorf("%s: %d updates, want 3", tt.name, r.ema.updates)
		}
		r.close(t)
		whole := newRun(t, 1)
		whole.on(t, g)
		for i := range 3 {
			whole.step(t, i+1)
		}
		for what, x := range whole.fetch(t) {
			same(t, tt.name+": after Continue, "+what, got[what], x)
		}
		whole.close(t)
	}
}

// testStateOnGPU takes a snapshot while steps go on, and resumes from it, here and on the host.
func testStateOnGPU(t *testing.T, g *graph.GPU, seeds int, set func(int)) {
	for seed := range min(seeds, 4) {
		set(seed)
		r := newRun(t, 1)
		r.on(t, g)
		r.step(t, 1)
		r.step(t, 2)
		at2 := r.fetch(t)
		state := r.adamw.Later()
		average := r.ema.Later()
		snapshot, err := g.Snapshot(append(r.adamw.Residents(), r.residents[0], r.ema.Resident())...)
		must(t, err)
		r.step(t, 3)
		r.step(t, 4)
		must(t, snapshot.Wait())
		saved := append(state(), average()...)
		weights := slices.Clone(r.params.Data())
		same(t, "weights of the snapshot", weights, at2["weights"])
		same(t, "mean of the snapshot", r.adamw.m, at2["mean"])
		at4 := r.fetch(t)
		r.close(t)

		again := newRun(t, 1)
		copy(again.params.Data(), weights)
		must(t, errors.Join(again.adamw.Restore(saved), again.ema.Restore(saved)))
		again.on(t, g)
		again.step(t, 3)
		again.step(t, 4)
		for what, x := range again.fetch(t) {
			same(t, "resumed "+what, x, at4[what])
		}
		states := [2][]checkpoints.Tensor{append(again.adamw.State(), again.ema.State()...)}
		again.close(t)

		host := newRun(t, 1)
		copy(host.params.Data(), weights)
		must(t, errors.Join(host.adamw.Restore(saved), host.ema.Restore(saved)))
		host.step(t, 3)
		host.step(t, 4)
		for what, x := range host.fetch(t) {
			within(t, "on the host, "+what, at4[what], x, 5*4e-7*5)
		}
		states[1] = append(host.adamw.State(), host.ema.State()...)
		for i := range states[0] {
			a, b := states[0][i], states[1][i]
			if a.Name != b.Name || a.DType != b.DType || !slices.Equal(a.Shape, b.Shape) {
				t.Errorf("state of the GPU %s %s %v, of the host %s %s %v", a.Name, a.DType, a.Shape, b.Name, b.DType, b.Shape)
			}
		}
	}
}
