//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"relsim/cuda"
	"relsim/kernel"
)

// gpuType is how the elements of a value are stored on a device.
type gpuType uint8

// The types.
const (
	gpuFloat32 gpuType = iota
	gpuBF16
)

// typeMask is what kernels take for the types of their operands: bit i is set where operand i is in bfloat16.
func typeMask(types ...gpuType) int {
	mask := 0
	for i, t := range types {
		if t == gpuBF16 {
			mask |= 1 << i
		}
	}
	return mask
}

// gpuHalf is a kind with kernels for operands in bfloat16.
type gpuHalf interface {
	gpuKind
	// halves says which operands and results may be stored in bfloat16, each for itself.
	halves() (in, out []bool)
}

// flags is a shorthand for halves.
func flags(f ...bool) []bool { return f }

// store chooses the types of the values of a plan.
func (g *GPU) store(p *plan) {
	for i, t := range p.storage(g.config.Precision) {
		p.slots[i].half = t == gpuBF16
	}
}

// storedAs returns the types of the slots.
func storedAs(p *plan) []gpuType {
	types := make([]gpuType, len(p.slots))
	for i, s := range p.slots {
		if s.half {
			types[i] = gpuBF16
		}
	}
	return types
}

// storage chooses the types of the slots. One is in bfloat16 if the op that writes it and all that read it say that it may
// be. Leaves, outputs and gradients of the caller are float32, and so is what an addition reads besides others: the residual
// stream of a transformer, whose roundings would add up over its depth.
func (p *plan) storage(precision kernel.Precision) []gpuType {
	types := make([]gpuType, len(p.slots))
	if precision != kernel.BF16 {
		return types
	}
	may := make([]bool, len(p.slots))
	readers := make([]int, len(p.slots))
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
		for _, in := range s.in {
			readers[in]++
		}
	}
	for _, s := range p.steps {
		var in, out []bool
		if k, ok := s.kind.(gpuHalf); ok {
			in, out = k.halves()
		}
		deny(s.in, in)
		deny(s.out, out)
		if _, ok := s.kind.(add); ok {
			for _, in := range s.in {
				may[in] = may[in] && readers[in] == 1
			}
		}
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

// readsCopies says whether an op reads leaves as copies in bfloat16, where it may: those that read each element often.
func readsCopies(k kind) bool {
	switch k.(type) {
	case linear, linearGELU, linearAdd, linearDropoutAdd, linearGradX, linearGradXGELU, linearGradW:
		return true
	}
	return false
}

// readsCopy says whether an operand of a step is the copy of a leaf in bfloat16.
func (e *gpuEngine) readsCopy(s step, operand int) bool {
	k, ok := s.kind.(gpuHalf)
	if e.gpu.config.Precision != kernel.BF16 || e.plan.slots[s.in[operand]].leaf < 0 || !ok || !readsCopies(k) {
		return false
	}
	in, _ := k.halves()
	return operand < len(in) && in[operand]
}

// round makes the copies in bfloat16: of the gradient that Backward is given, or of all else.
func (e *gpuEngine) round(q *gpuQueue, upstream bool) {
	for i, l := range e.plan.leaves {
		if half := e.leaves[i].half; half != 0 && upstream == (l.name == upstreamName) {
			q.cast(half, gpuBF16, e.at[l.slot], gpuFloat32, l.size)
		}
	}
}

// packs launches a kernel that has eight of n elements in a thread.
func (q *gpuQueue) packs(name string, n int, a cuda.Args) { q.each(name, (n+7)/8, a) }

// cast copies n elements, from one type to another.
func (q *gpuQueue) cast(y cuda.Pointer, yType gpuType, x cuda.Pointer, xType gpuType, n int) {
	q.packs("copy", n, q.args(y, x).Int32(typeMask(yType, xType)).Int64(int64(n)))
}

// Sums over columns are made by parts of so many rows, whose sums are added up after.
const (
	sumRows  = 64
	sumParts = 128
)

// columnSums launches a kernel that sums rows to (cols), and sums its parts. The kernel takes, after its pointers and types, the
// rows and what more adds; it is given where the sums go.
func (q *gpuQueue) columnSums(name string, y cuda.Pointer, rows, cols int, args func(y cuda.Pointer) cuda.Args) {
	parts := min(max(rows/sumRows, 1), sumParts)
	width := 32
	if cols%8 == 0 {
		width *= 8
	}
	grid := cuda.Dim{X: (cols + width - 1) / width, Y: parts}
	if parts == 1 {
		q.launch(name, grid, cuda.Dim{X: 32, Y: 8}, 0, args(y))
		return
	}
	sums := q.temporary(parts * cols)
	q.launch(name, grid, cuda.Dim{X: 32, Y: 8}, 0, args(sums))
	q.columnSum(y, sums, gpuFloat32, parts, cols, cols)
}

// columnSum sums the columns of x, (rows, cols) of rows that are stride apart.
func (q *gpuQueue) columnSum(y, x cuda.Pointer, t gpuType, rows, cols, stride int) {
	q.columnSums("col_sum", y, rows, cols, func(y cuda.Pointer) cuda.Args {
		return q.args(y, x).Int32(typeMask(t)).Int64(int64(rows)).Int64(int64(cols)).Int64(int64(stride))
	})
}
