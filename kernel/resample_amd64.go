//go:build amd64 && !noasm

package kernel

func init() {
	resamplePixelsKernel.add(AVX2, resamplePixels)
	resampleRowsKernel.add(AVX2, resampleRows)
}

// resamplePixels leaves to Go the pixels whose reads of four bytes would pass the
// end of src, and the last one, whose write would pass the end of dst.
func resamplePixels(r *resampler, dst, src []byte) {
	n := len(dst)/3 - 1
	for n > 0 && int(r.start[n-1]+r.count[n-1])*3+1 > len(src) {
		n--
	}
	if n > 0 {
		resamplePixelsAVX2(&dst[0], &src[0], n, &r.start[0], &r.count[0], &r.weights[0], r.taps)
	}
	for x := max(n, 0); x < len(dst)/3; x++ {
		r.pixel(dst, src, x)
	}
}

func resampleRows(r *resampler, dst, src []byte, y int) {
	n := len(dst) &^ 15
	if n > 0 {
		resampleRowsAVX2(&dst[0], &src[(int(r.start[y])-r.first)*len(dst)], n, len(dst), &r.weights[y*r.taps], int(r.count[y]))
	}
	r.columns(dst, src, y, n)
}
