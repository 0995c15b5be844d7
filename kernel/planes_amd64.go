//go:build amd64 && !noasm

package kernel

func init() {
	planeColumnsKernel.add(AVX2, planeColumns)
	planePixelsKernel.add(AVX2, planePixels)
	planesToRGBKernel.add(AVX2, planesToRGB)
}

// planeColumns leaves to Go what whole vectors would read past the end of src.
func planeColumns(dst []int16, src []byte, stride int, weights []int16, shift int) {
	n := (len(dst) + 15) &^ 15
	if n > cap(dst) || (len(weights)-1)*stride+n > len(src) {
		n = len(dst) &^ 15
	}
	if n > 0 {
		planeColumnsAVX2(&dst[0], &src[0], n, stride, &weights[0], len(weights), shift)
	}
	if n < len(dst) {
		planeColumnsGeneric(dst[n:], src[n:], stride, weights, shift)
	}
}

// planePixels is for rows that have room for whole vectors.
func planePixels(dst, src []int16, a *planeAxis) {
	planePixelsAVX2(&dst[0], &src[0], len(a.near), &a.near[0], &a.wide[0], a.padded/tapPad, a.shift)
}

func planesToRGB(dst []byte, luma, blue, red []int16) {
	planesToRGBAVX2(&dst[0], len(luma), &luma[0], &blue[0], &red[0])
}
