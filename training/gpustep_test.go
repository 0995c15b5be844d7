//go:build linux && amd64 && !nogpu && !race

package training

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"relsim/graph"
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
