//go:build arm64 && !noasm

package kernel

func init() {
	gatherKernel.add(NEON, gatherNEON)
	interleave3Kernel.add(NEON, interleaveNEON)
}

func gatherNEON(n, run int, src []float32, from int, dst []float32, to int) {
	if run < 8 || run > 16 || n == 0 {
		gatherGeneric(n, run, src, from, dst, to)
		return
	}
	_, _ = src[(n-1)*from+run-1], dst[(n-1)*to+run-1]
	gatherRunsNEON(n, run, &src[0], from, &dst[0], to)
}

func interleaveNEON(n int, src []float32, plane int, dst []float32) {
	_, _ = src[2*plane+n-1], dst[3*n-1]
	fours := n / 4
	if fours > 0 {
		interleave3NEON(fours, &src[0], plane, &dst[0])
	}
	interleave3Generic(n-4*fours, src[4*fours:], plane, dst[12*fours:])
}
