//go:build !((linux || windows) && (amd64 || arm64) && !android && !nogpu)

package graph

import (
	"fmt"

	"relsim/cuda"
	"relsim/kernel"
)

var errNoGPU = fmt.Errorf("graph: GPU: %w: this build has no support for GPUs", cuda.ErrUnavailable)

// GPU is the Backend of an NVIDIA GPU; this build has none.
type GPU struct{ Backend }

// NewGPU returns an error that wraps [cuda.ErrUnavailable].
func NewGPU(*cuda.Device, GPUConfig) (*GPU, error) { return nil, errNoGPU }

// Together returns an error that wraps [cuda.ErrUnavailable].
func (*GPU) Together(func() error) error { return errNoGPU }

// Precision is that of the products.
func (*GPU) Precision() kernel.Precision { return kernel.Float32 }

// Close does nothing.
func (*GPU) Close() error { return nil }

// Resident is a copy on the device of a slice of the host; this build has none.
type Resident struct{}

// Resident returns an error that wraps [cuda.ErrUnavailable].
func (*GPU) Resident([]float32) (*Resident, error) { return nil, errNoGPU }

// Upload returns an error that wraps [cuda.ErrUnavailable].
func (*Resident) Upload() error { return errNoGPU }

// Download returns an error that wraps [cuda.ErrUnavailable].
func (*Resident) Download() error { return errNoGPU }

// Close does nothing.
func (*Resident) Close() error { return nil }

// Launch returns an error that wraps [cuda.ErrUnavailable].
func (*GPU) Launch(string, int, int, ...any) error { return errNoGPU }

// Blocks is 0.
func (*GPU) Blocks(int, int) int { return 0 }

// Readback is a part of a resident on its way to the host; this build has none.
type Readback struct{}

// Read returns an error that wraps [cuda.ErrUnavailable].
func (*GPU) Read(*Resident, int, int) (*Readback, error) { return nil, errNoGPU }

// Wait returns an error that wraps [cuda.ErrUnavailable].
func (*Readback) Wait() ([]float32, error) { return nil, errNoGPU }

// Snapshot is a copy of residents on its way to the host; this build has none.
type Snapshot struct{}

// Snapshot returns an error that wraps [cuda.ErrUnavailable].
func (*GPU) Snapshot(...*Resident) (*Snapshot, error) { return nil, errNoGPU }

// Wait returns an error that wraps [cuda.ErrUnavailable].
func (*Snapshot) Wait() error { return errNoGPU }

// Fetch returns an error that wraps [cuda.ErrUnavailable].
func (*GPU) Fetch([]float32) error { return errNoGPU }

// Holds is false.
func (*GPU) Holds([]float32) bool { return false }

// MemoryFor returns an error that wraps [cuda.ErrUnavailable].
func (*GPU) MemoryFor(*Builder, Config) (int, error) { return 0, errNoGPU }

// Free returns an error that wraps [cuda.ErrUnavailable].
func (*GPU) Free() (free, total int64, err error) { return 0, 0, errNoGPU }
