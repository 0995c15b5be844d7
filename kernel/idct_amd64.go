//go:build amd64 && !noasm

package kernel

func init() {
	idctKernel.add(AVX2, func(dst []byte, stride int, coefficients, steps *[64]int16) {
		idctAVX2(&dst[0], stride, &coefficients[0], &steps[0])
	})
}
