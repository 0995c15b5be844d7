//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"fmt"
	"math"

	"relsim/cuda"
)

// Launch puts a kernel into the queue: blocks of threads threads, with args in the order of its parameters. A []float32 is the
// address of a part of a resident, or null if it is nil; an int is an int of C, an int64 a long long, a float32 a float, a
// float64 a double. It is for what packages above do to their residents, such as a step of an optimiser.
func (g *GPU) Launch(kernel string, blocks, threads int, args ...any) error {
	err := g.do(func(t *cuda.Thread) error {
		a := t.Args()
		for i, arg := range args {
			switch v := arg.(type) {
			case []float32:
				at, r, err := g.find(v)
				if err == nil && r == nil && v != nil {
					err = fmt.Errorf("a slice of %d elements is not resident", len(v))
				}
				if err == nil {
					err = g.writes(r)
				}
				if err != nil {
					return fmt.Errorf("parameter %d: %w", i, err)
				}
				a = a.Pointer(at)
			case int:
				a = a.Int32(v)
			case int64:
				a = a.Int64(v)
			case float32:
				a = a.Float32(v)
			case float64:
				a = a.Int64(int64(math.Float64bits(v)))
			default:
				return fmt.Errorf("parameter %d is a %T", i, arg)
			}
		}
		f, err := g.kernels.Function(kernel)
		if err != nil {
			return err
		}
		return g.stream.Launch(f, cuda.Dim{X: blocks}, cuda.Dim{X: threads}, 0, a)
	})
	if err != nil {
		return fmt.Errorf("graph: GPU: launch %s: %w", kernel, err)
	}
	return nil
}

// Blocks is how many blocks of threads a kernel needs that has a thread for each of n elements, as far as it pays.
func (g *GPU) Blocks(n, threads int) int {
	return max(1, min((n+threads-1)/threads, 1<<16))
}
