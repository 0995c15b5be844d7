//go:build amd64 && !noasm

package kernel

func init() { prefetchKernel.add(AVX2, prefetch256) }

func prefetch256(n int, x []float32, ld, cols int) {
	if n > 0 && cols > 0 {
		prefetchRowsAVX2(n, &x[0], ld, cols)
	}
}
