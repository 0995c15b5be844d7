//go:build linux && amd64 && !nogpu && !race

package training

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ebitengine/purego"

	"relsim/checkpoints"
	"relsim/cuda"
	"relsim/cuda/fake"
	"relsim/dynlib"
	"relsim/graph"
	"relsim/kernel"
	"relsim/loss"
	"relsim/nn"
	"relsim/scenes"
)

// demoEnv is the environment variable that makes the test of the demo on a GPU run the demo's own model and size.
const demoEnv = "RELSIM_TEST_DEMO"

// small is a setting that the driver that runs on the host trains in seconds.
func small() (scenes.Config, Config) {
	s, c := tiny()
	s.Size, s.TrainProfiles, s.ValProfiles = 16, 6, 2
	c.Model.Vision.ImageSize = 16
	c.Model.Vision.Convs = c.Model.Vision.Convs[:2]
	c.Model.Vision.Width, c.Model.Vision.MLP, c.Model.Text.Width, c.Model.EmbedDim = 16, 32, 16, 16
	c.Batch, c.MicroBatch, c.Shards = 8, 8, 1
	return s, c
}

func steps(t *testing.T, o Options) []Row {
	t.Helper()
	rows, err := ReadLog(filepath.Join(o.Out, MetricsFile))
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// sameCurve compares the logs of a run on the CPU and of one on a GPU in float32.
func sameCurve(t *testing.T, cpu, gpu []Row, tolerance float64) {
	t.Helper()
	if len(cpu) != len(gpu) {
		t.Fatalf("%d rows on the CPU, %d on the GPU", len(cpu), len(gpu))
	}
	worst := 0.0
	for i, want := range cpu {
		got := gpu[i]
		if got.Step != want.Step || got.Epoch != want.Epoch || got.LearningRate != want.LearningRate || (got.Validation == nil) != (want.Validation == nil) {
			t.Fatalf("row %d: %+v on the GPU, %+v on the CPU", i, got, want)
		}
		if want.Validation != nil {
			continue
		}
		for _, pair := range [][2]float64{{got.Loss, want.Loss}, {got.GradNorm, want.GradNorm}} {
			worst = max(worst, math.Abs(pair[0]-pair[1])/pair[1])
		}
		if !(worst <= tolerance) {
			t.Fatalf("step %d: loss %v and norm %v on the GPU, %v and %v on the CPU", want.Step, got.Loss, got.GradNorm, want.Loss, want.GradNorm)
		}
	}
	t.Logf("losses and norms differ by %.1e at most", worst)
}

// The demo on a GPU follows the losses of the CPU for 20 steps.
func testDemoOnGPU(t *testing.T, g *graph.GPU) {
	s, c := small()
	if os.Getenv(demoEnv) != "" {
		s, c = scenes.Default(), Default()
		s.ValProfiles = 2
		c.Shards = 1
	}
	c.Steps = 20
	d := tinyData(t, s)
	cpu, gpu := options(t), options(t)
	cpu.Threads = 2
	gpu.GPU = g
	gpu.SaveEvery = 7 // in the background
	mustRun(t, c, cpu, d)
	mustRun(t, c, gpu, d)
	sameCurve(t, steps(t, cpu), steps(t, gpu), 1e-4)
}

// Runs of every kind follow those of the CPU.
func testKindsOnGPU(t *testing.T, g *graph.GPU) {
	for _, tt := range []struct {
		name   string
		config func(t *testing.T, c *Config, o *Options)
	}{
		{"micro-batches", func(_ *testing.T, c *Config, o *Options) {
			c.MicroBatch, c.Average, c.Loss.Kind, c.Model.LearnTemperature = 4, 0.9, loss.Sigmoid, true
		}},
		{"recomputed", func(_ *testing.T, c *Config, o *Options) { o.Checkpoint, c.LayerDecay = true, 0.5 }},
		{"frozen text", func(_ *testing.T, c *Config, o *Options) { c.Freeze = nn.TextTower }},
		{"frozen vision", func(_ *testing.T, c *Config, o *Options) { c.Freeze, c.MicroBatch = nn.VisionTower, 4 }},
		{"adapters", func(t *testing.T, c *Config, o *Options) {
			batch := c.Batch
			*c, *o = adapted(t, published("dinov2"), published("minilm"))
			c.Batch, c.MicroBatch, c.Shards, c.Model.LoRA.Dropout = batch, batch, 1, 0.05
			if err := o.Bases.Configure(c, 28, []string{"q", "v"}); err != nil { // four patches: threads of the driver on the host are slow
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := small()
			o := options(t)
			tt.config(t, &c, &o)
			c.Steps = 3
			d := tinyData(t, s)
			cpu, gpu := o, o
			gpu.Out, gpu.GPU = t.TempDir(), g
			first, second := mustRun(t, c, cpu, d), mustRun(t, c, gpu, d)
			sameCurve(t, steps(t, cpu), steps(t, gpu), 1e-4)
			want, got := values(t, first.Checkpoint), values(t, second.Checkpoint)
			if len(want) == 0 || len(got) != len(want) {
				t.Fatalf("%d tensors in the checkpoint of the GPU, %d in that of the CPU", len(got), len(want))
			}
			for name := range want {
				within(t, name, got[name], want[name], 3*c.LearningRate) // Adam's first steps are as long as the rate, whatever the gradient
			}
		})
	}
}

// Pictures that a GPU normalises are those of the host: steps on them have the same bits as steps on values.
func testPixelsOnGPU(t *testing.T, g *graph.GPU) {
	s, c := small()
	c.MicroBatch, c.Flip, c.Turn = 4, true, true
	d := tinyData(t, s)
	run := func(asValues bool) (weights []float32, last Row) {
		o := options(t)
		o.GPU, o.keepPictures = g, 1
		estimated := false
		tr, err := newTrainer(c.resolve(d.Train), o, d, Observer{Estimate: func(Estimate) { estimated = true }})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.close()
		if asValues {
			tr.vision.bind = func(p *graph.Program, i, shard int) error {
				p.SetSeed(tr.dropoutSeed(i, shard))
				plane := s.Size * s.Size
				values := make([]float32, len(tr.batch.Pixels))
				for j, v := range tr.batch.Pixels {
					values[j] = tr.batch.Tables[j/plane*256+int(v)]
				}
				return p.SetFloats(tr.vision.images, values)
			}
		}
		if err := errors.Join(tr.resume(), tr.moveState(), tr.openValidation(t.Context())); err != nil {
			t.Fatal(err)
		}
		if !asValues { // it changes nothing
			if err := tr.estimate(t.Context()); err != nil || !estimated {
				t.Fatalf("estimate: %v", err)
			}
		}
		tr.begin()
		for range 3 {
			if err := tr.iterate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(tr.collect(), g.Fetch(tr.model.Params.Learned())); err != nil {
			t.Fatal(err)
		}
		return slices.Clone(tr.model.Params.Learned()), tr.last
	}
	weights, row := run(false)
	want, wantRow := run(true)
	if !slices.Equal(weights, want) || row.Loss != wantRow.Loss || row.GradNorm != wantRow.GradNorm {
		t.Errorf("other weights, or loss %v and norm %v, want %v and %v", row.Loss, row.GradNorm, wantRow.Loss, wantRow.GradNorm)
	}
}

// A run that is interrupted on one device and goes on on the other ends near one that stays on the CPU. All rows are
// there, each once.
func testResumeAcrossDevices(t *testing.T, g *graph.GPU) {
	s, c := small()
	c.Steps, c.Average = 6, 0.9
	d := tinyData(t, s)
	plain := options(t)
	plain.EvalEvery = 4
	mustRun(t, c, plain, d)
	for _, first := range []*graph.GPU{nil, g} {
		o := plain
		o.Out, o.GPU = t.TempDir(), first
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Run(ctx, c, o, d, Observer{Step: func(row Row) {
			if row.Step == 2 {
				cancel()
			}
		}})
		if !errors.Is(err, ErrInterrupted) {
			t.Fatalf("interrupted: %v", err)
		}
		if o.GPU = g; first == g {
			o.GPU = nil
		}
		o.Resume = ResumeMust
		resumed := 0
		summary, err := Run(t.Context(), c, o, d, Observer{Start: func(s StartInfo) { resumed = s.Done }})
		if err != nil {
			t.Fatal(err)
		}
		if resumed < 2 || resumed > 3 || summary.Steps != c.Steps {
			t.Errorf("resumed at step %d, ended at step %d", resumed, summary.Steps)
		}
		sameCurve(t, steps(t, plain), steps(t, o), 1e-4)
	}
}

// A loss that is not finite stops the run with the step and the names of what holds it. Nothing is saved of it.
func testNonFiniteOnGPU(t *testing.T, g *graph.GPU) {
	s, c := small()
	d := tinyData(t, s)
	o := options(t)
	o.GPU = g
	tr, err := newTrainer(c.resolve(d.Train), o, d, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	p := tr.model.Params.All()[3]
	p.Data[0] = float32(math.NaN())
	good := slices.Clone(tr.model.Params.All()[0].Data)
	if err := errors.Join(tr.resume(), tr.moveState()); err != nil {
		t.Fatal(err)
	}
	tr.begin()
	for range 3 { // it comes to light a step later
		if err == nil {
			err = tr.iterate(t.Context())
		}
	}
	if err == nil || !strings.Contains(err.Error(), "step 1: ") || !strings.Contains(err.Error(), p.Name) {
		t.Errorf("error %v, want the step and %s in it", err, p.Name)
	}
	if err := g.Fetch(tr.model.Params.Learned()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(tr.model.Params.All()[0].Data, good) {
		t.Error("a step without a finite loss changed the weights")
	}
}

// bfloat16 follows float32 from afar.
func testBF16OnGPU(t *testing.T) {
	s, c := small()
	c.Steps = 3
	d := tinyData(t, s)
	cpu, gpu := options(t), options(t)
	mustRun(t, c, cpu, d)
	gpu.GPU, c.Precision = openGPU(t, "bf16"), kernel.BF16
	mustRun(t, c, gpu, d)
	sameCurve(t, steps(t, cpu), steps(t, gpu), 0.05)
	c.Precision = kernel.Float32
	gpu.Out = t.TempDir()
	if _, err := Run(t.Context(), c, gpu, d, Observer{}); err == nil || !strings.Contains(err.Error(), "the GPU was opened to run in bf16") {
		t.Errorf("a run in float32 on it: %v", err)
	}
}

// Of a run whose GPU is lost the last checkpoint is left, and the error says so in one line.
func testLostGPU(t *testing.T, g *graph.GPU) {
	if fake.Real() {
		t.Skip("NOT RUN: a GPU that is lost: only the driver that runs on the host can be asked for that")
	}
	lib, err := dynlib.Open(os.Getenv(cuda.DriverEnv))
	if err != nil {
		t.Fatal(err)
	}
	lose, err := lib.Function("fakeLoseAfter")
	if err != nil {
		t.Fatal(err)
	}
	s, c := small()
	d := tinyData(t, s)
	o := options(t)
	o.GPU, o.SaveEvery = g, 1
	_, err = Run(t.Context(), c, o, d, Observer{Saved: func(_ string, step int) {
		if step == 2 {
			purego.SyscallN(lose, 20)
		}
	}})
	if !errors.Is(err, cuda.ErrLost) || errors.Is(err, ErrInterrupted) || strings.Contains(err.Error(), "\n") ||
		!strings.Contains(err.Error(), "training: the GPU was lost at step ") {
		t.Fatalf("lost: %v", err)
	}
	last, latest := checkpoints.Latest(o.Out)
	if latest != nil || !strings.Contains(err.Error(), "the last checkpoint is "+last) {
		t.Fatalf("%v; the last checkpoint is %s, %v", err, last, latest)
	}
	if _, err := Open(last, 1); err != nil {
		t.Error(err)
	}
}
