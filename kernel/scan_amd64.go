//go:build amd64 && !noasm

package kernel

func init() {
	scanKernel.add(AVX2, scanMasksAVX2)
	scanKernel.add(AVX512, scanMasksAVX512)
	xorKernel.add(AVX2, xorAVX2)
	xorKernel.add(AVX512, xorAVX512)
}

func scanMasksAVX2(masks []uint64, scores, thresholds []float32) {
	n := len(thresholds)
	if n%8 != 0 || n > 32 {
		scanMasksGeneric(masks, scores, thresholds)
		return
	}
	if len(masks) > 0 && n > 0 {
		_ = scores[len(masks)*n-1]
		scanMasks256(&masks[0], &scores[0], &thresholds[0], len(masks), n/8, n*wordSize)
	}
}

func scanMasksAVX512(masks []uint64, scores, thresholds []float32) {
	n := len(thresholds)
	if n%16 != 0 || n > 64 {
		scanMasksAVX2(masks, scores, thresholds)
		return
	}
	if len(masks) > 0 && n > 0 {
		_ = scores[len(masks)*n-1]
		scanMasks512(&masks[0], &scores[0], &thresholds[0], len(masks), n/16, n*wordSize)
	}
}

func xorAVX2(x []uint64) (sum uint64) {
	const block = 8 * 4
	var parts [4]uint64
	if n := len(x) / block; n > 0 {
		xor256(&parts[0], &x[0], n)
		x = x[n*block:]
	}
	return parts[0] ^ parts[1] ^ parts[2] ^ parts[3] ^ xorGeneric(x)
}

func xorAVX512(x []uint64) (sum uint64) {
	const block = 8 * 8
	var parts [8]uint64
	if n := len(x) / block; n > 0 {
		xor512(&parts[0], &x[0], n)
		x = x[n*block:]
	}
	return xorGeneric(parts[:]) ^ xorGeneric(x)
}
