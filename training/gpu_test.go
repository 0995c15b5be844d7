//go:build linux && amd64 && !nogpu && !race

package training

import (
	"errors"
	"testing"

	"relsim/cuda"
	"relsim/cuda/fake"
	"relsim/dataloader"
	"relsim/graph"
	"relsim/kernel"
)

// openGPU opens a GPU, or the driver that runs on the host where none is named.
func openGPU(t *testing.T, precision string) *graph.GPU {
	t.Helper()
	fake.Use(t, "../cuda/kernels")
	d, err := OpenDevice(CUDADevice, precision, func(text string) { t.Log(text) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil && !errors.Is(err, cuda.ErrLost) { // as testLostGPU leaves it
			t.Error(err)
		}
	})
	return d.GPU
}

// What runs on a GPU. It is one test because the process opens one driver.
func TestGPU(t *testing.T) {
	fake.Use(t, "../cuda/kernels")
	t.Run("device", testDevice)
	g := openGPU(t, "float32")
	t.Run("embeddings", func(t *testing.T) { testEmbeddingsOnGPU(t, g) })
	t.Run("demo", func(t *testing.T) { testDemoOnGPU(t, g) })
	t.Run("kinds", func(t *testing.T) { testKindsOnGPU(t, g) })
	t.Run("pixels", func(t *testing.T) { testPixelsOnGPU(t, g) })
	t.Run("resume", func(t *testing.T) { testResumeAcrossDevices(t, g) })
	t.Run("not finite", func(t *testing.T) { testNonFiniteOnGPU(t, g) })
	t.Run("bf16", testBF16OnGPU)
	t.Run("lost", func(t *testing.T) { testLostGPU(t, g) })
}

func testDevice(t *testing.T) {
	for _, tt := range []struct {
		name, precision string
		want            kernel.Precision
	}{
		{"auto", "auto", kernel.BF16}, // of compute capability 8.0
		{"cuda", "float32", kernel.Float32},
		{"cuda:0", "bf16", kernel.BF16},
	} {
		d, err := OpenDevice(tt.name, tt.precision, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d.GPU == nil || d.Precision != tt.want || d.GPU.Precision() != tt.want || d.Missing != nil {
			t.Errorf("%s, %s: %v", tt.name, tt.precision, d)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if d, err := OpenDevice(CPUDevice, AutoPrecision, nil); err != nil || d.GPU != nil || d.Precision != kernel.Float32 || d.Missing != nil {
		t.Errorf("cpu: %v, %v", d, err)
	}
	if d, err := OpenDevice("cuda:7", AutoPrecision, nil); err == nil {
		t.Errorf("cuda:7: %v of a driver with one device", d)
	}
}

// Embeddings of pictures and captions are those of the CPU but for rounding.
func testEmbeddingsOnGPU(t *testing.T, g *graph.GPU) {
	s, c := tiny()
	c.Steps = 2
	d := tinyData(t, s)
	run := mustRun(t, c, options(t), d)
	host, err := Open(run.Checkpoint, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	device, err := OpenWith(t.Context(), run.Checkpoint, OpenOptions{Threads: 1, GPU: g})
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	indices := make([]int, 19) // programs of 16 and of 8 pictures
	for i := range indices {
		indices[i] = i
	}
	pictures := dataloader.Subset(d.Val, "some", indices)
	var vectors [2][]float32
	for i, e := range []*Embedder{host, device} {
		images, err := e.Dataset(t.Context(), pictures, nil)
		if err != nil {
			t.Fatal(err)
		}
		captions, err := e.Captions([]string{d.Val.Item(0).Caption, "of none of these words"})
		if err != nil {
			t.Fatal(err)
		}
		vectors[i] = append(images, captions...)
	}
	const tolerance = 1e-5 // of vectors of length one
	for i, want := range vectors[0] {
		if got := vectors[1][i]; !(got-want <= tolerance && want-got <= tolerance) {
			t.Fatalf("value %d of the embeddings is %v on the GPU, %v on the CPU", i, got, want)
		}
	}
}
