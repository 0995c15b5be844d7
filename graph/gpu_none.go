//go:build !((linux || windows) && (amd64 || arm64) && !android && !nogpu)

package graph

import (
	"fmt"

	"relsim/cuda"
)

// GPU is the Backend of an NVIDIA GPU; this build has none.
type GPU struct{ Backend }

// NewGPU returns an error that wraps [cuda.ErrUnavailable].
func NewGPU(*cuda.Device, GPUConfig) (*GPU, error) {
	return nil, fmt.Errorf("graph: GPU: %w: this build has no support for GPUs", cuda.ErrUnavailable)
}

// Close does nothing.
func (*GPU) Close() error { return nil }
