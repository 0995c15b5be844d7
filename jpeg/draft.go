package jpeg

import "relsim/kernel"

// draft makes n×n samples of a block, n 1 or 2, from its n×n lowest frequencies:
//
//	dst[y,x] = 128 + 1/4·Σ C(u)·C(v)·F(v,u)·cos((2x+1)uπ/2n)·cos((2y+1)vπ/2n), u, v < n
//
// rounded, with C(0) = √½ and C = 1 elsewhere: the transform at fewer places, without
// what they could not show. coefficients are 0 afterwards. (4×4 samples take longer
// than all 8×8 take the vector kernel.)
func draft(dst []byte, stride, n int, coefficients, steps *[64]int16) {
	at := func(v, u int) int32 {
		i := kernel.IDCTOrder[8*v+u]
		return int32(coefficients[i] * steps[i])
	}
	clip := func(v int32) byte { return byte(min(max((v+4)>>3+128, 0), 255)) }
	if n == 1 {
		dst[0] = clip(at(0, 0))
	} else { // every cosine is √½
		a, b, c, d := at(0, 0), at(0, 1), at(1, 0), at(1, 1)
		dst[0], dst[1] = clip(a+b+c+d), clip(a-b+c-d)
		dst[stride], dst[stride+1] = clip(a+b-c-d), clip(a-b-c+d)
	}
	*coefficients = [64]int16{}
}
