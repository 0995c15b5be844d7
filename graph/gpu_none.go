//go:build !((linux || windows) && (amd64 || arm64) && !android && !nogpu)

package graph

import (
	"fmt"

	"relsim/cuda"
)

var errNoGPU = fmt.Errorf("graph: GPU: %w: this build has no support for GPUs", cuda.ErrUnavailable)

// GPU is the Backend of an NVIDIA GPU; this build has none.
type GPU struct{ Backend }

// NewGPU returns an error that wraps [cuda.ErrUnavailable].
func NewGPU(*cuda.Device, GPUConfig) (*GPU, error) { return nil, errNoGPU }

// Together returns an error that wraps [cuda.ErrUnavailable].
func (*GPU) Together(func() error) error { return errNoGPU }

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
