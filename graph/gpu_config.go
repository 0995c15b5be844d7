package graph

import (
	"relsim/cuda"
	"relsim/kernel"
)

// GPUConfig are the settings of a GPU.
type GPUConfig struct {
	// Precision is that of matrix products and attention; see [kernel.Precision]. In BF16, values between these are stored
	// in bfloat16 where nothing but such ops reads them.
	Precision kernel.Precision
	// Cache keeps compiled kernels; nil: nobody does.
	Cache *cuda.CodeCache
	// Warn is told what is worth to know; it may be nil.
	Warn func(string)
}
