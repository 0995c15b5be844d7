//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import "relsim/kernel"

// gpuType is how the elements of a value are stored on a device.
type gpuType uint8

// The types.
const (
	gpuFloat32 gpuType = iota
	gpuBF16
)

// gpuHalf is a kind with kernels for operands in bfloat16.
type gpuHalf interface {
	gpuKind
	// halves says which operands and results may be stored in bfloat16, each for itself.
	halves() (in, out []bool)
}

// storage chooses the types of the slots. One is in bfloat16 if the op that writes it and all that read it say that it may
// be. Leaves, outputs and gradients of the caller are float32.
func (p *plan) storage(precision kernel.Precision) []gpuType {
	types := make([]gpuType, len(p.slots))
	if precision != kernel.BF16 {
		return types
	}
	may := make([]bool, len(p.slots))
	deny := func(slots []int, flags []bool) {
		for i, s := range slots {
			if i >= len(flags) || !flags[i] {
				may[s] = false
			}
		}
	}
	for _, s := range p.steps {
		for _, out := range s.out {
			may[out] = true
		}
	}
	for _, s := range p.steps {
		var in, out []bool
		if k, ok := s.kind.(gpuHalf); ok {
			in, out = k.halves()
		}
		deny(s.in, in)
		deny(s.out, out)
	}
	deny(p.outputs, nil)
	for _, s := range p.sinks {
		may[s.slot] = false
	}
	for i, m := range may {
		if m {
			types[i] = gpuBF16
		}
	}
	return types
}
