package training

import (
	"errors"
	"strings"
	"testing"

	"relsim/cuda"
	"relsim/kernel"
)

func TestParseDevice(t *testing.T) {
	for name, want := range map[string]struct {
		kind   string
		number int
	}{
		"auto": {AutoDevice, -1}, "cpu": {CPUDevice, -1}, "cuda": {CUDADevice, -1}, "cuda:0": {CUDADevice, 0}, "cuda:12": {CUDADevice, 12},
	} {
		kind, number, err := ParseDevice(name)
		if kind != want.kind || number != want.number || err != nil {
			t.Errorf("%s: %s, %d, %v; want %s, %d", name, kind, number, err, want.kind, want.number)
		}
	}
	for _, name := range []string{"", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:+1", "cuda:x", "cuda:1:2", "cuda:70000", "cpu:0", "auto:1", " cuda"} {
		if _, _, err := ParseDevice(name); err == nil || !strings.Contains(err.Error(), "want auto, cpu, cuda or cuda:N") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// What a precision takes of a GPU.
func TestGPUPrecision(t *testing.T) {
	volta, ampere := cuda.Info{Name: "V", Major: 7}, cuda.Info{Name: "A", Major: 8}
	for _, tt := range []struct {
		info cuda.Info
		name string
		want kernel.Precision
		says string
	}{
		{volta, "auto", kernel.Float32, ""},
		{ampere, "auto", kernel.BF16, ""},
		{volta, "float32", kernel.Float32, ""},
		{ampere, "float32", kernel.Float32, ""},
		{ampere, "bf16", kernel.BF16, ""},
		{ampere, "tf32", kernel.TF32, ""},
		{volta, "tf32", 0, "no instructions for it: want compute capability 8.0 or more"},
		{volta, "bf16", 0, "no instructions for it: want compute capability 8.0 or more"},
		{ampere, "half", 0, "or auto"},
	} {
		got, err := gpuPrecision(tt.info, tt.name)
		if tt.says == "" && (got != tt.want || err != nil) || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s on %s: %v, %v; want %v, %q", tt.name, tt.info.Name, got, err, tt.want, tt.says)
		}
	}
}

// Several libraries that cannot be opened are one line.
func TestOneLine(t *testing.T) {
	err := oneLine{errors.Join(cuda.ErrNoDriver, errors.New("a"), errors.New("b"))}
	if text := err.Error(); strings.Contains(text, "\n") || !strings.HasSuffix(text, "; a; b") || !errors.Is(err, cuda.ErrUnavailable) {
		t.Errorf("%q", text)
	}
}
