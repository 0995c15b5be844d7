package jpeg

import (
	"math"

	"relsim/kernel"
)

// draft makes n×n samples of a block, n 1, 2 or 4, from its n×n lowest frequencies:
//
//	dst[y,x] = 128 + 1/4·Σ C(u)·C(v)·F(v,u)·cos((2x+1)uπ/2n)·cos((2y+1)vπ/2n), u, v < n
//
// rounded, with C(0) = √½ and C = 1 elsewhere: the transform at fewer places, without
// what they could not show. coefficients are 0 afterwards.
func draft(dst []byte, stride, n int, coefficients, steps *[64]int16) {
	at := func(v, u int) int32 {
		i := kernel.IDCTOrder[8*v+u]
		return int32(coefficients[i] * steps[i])
	}
	clip := func(v int32) byte { return byte(min(max(v+128, 0), 255)) }
	switch n {
	case 1:
		dst[0] = clip((at(0, 0) + 4) >> 3)
	case 2:
		a, b, c, d := at(0, 0), at(0, 1), at(1, 0), at(1, 1)
		dst[0], dst[1] = clip((a+b+c+d+4)>>3), clip((a-b+c-d+4)>>3)
		dst[stride], dst[stride+1] = clip((a+b-c-d+4)>>3), clip((a-b-c+d+4)>>3)
	case 4:
		const shift, half = 2 * draftBits, 1 << (2*draftBits - 1)
		var rows [4][4]int64 // after the vertical pass
		for u := range 4 {
			even, odd := draft4(int64(at(0, u)), int64(at(1, u)), int64(at(2, u)), int64(at(3, u)))
			rows[0][u], rows[1][u], rows[2][u], rows[3][u] = even[0]+odd[0], even[1]+odd[1], even[1]-odd[1], even[0]-odd[0]
		}
		for y, r := range rows {
			even, odd := draft4(r[0], r[1], r[2], r[3])
			d := dst[y*stride:][:4]
			d[0], d[1] = clip(int32((even[0]+odd[0]+half)>>shift)), clip(int32((even[1]+odd[1]+half)>>shift))
			d[2], d[3] = clip(int32((even[1]-odd[1]+half)>>shift)), clip(int32((even[0]-odd[0]+half)>>shift))
		}
	}
	*coefficients = [64]int16{}
}

// draftBits is the fraction of the constants of draft4.
const draftBits = 13

// draftCos holds C(u)/2·cos(uπ/8) of u = 0 and 2, and cos(uπ/8)/2 of u = 1 and 3.
var draftCos = func() (c [4]int64) {
	for u, v := range [4]float64{math.Sqrt2 / 4, math.Cos(math.Pi/8) / 2, math.Sqrt2 / 4, math.Cos(3*math.Pi/8) / 2} {
		c[u] = int64(math.Round(v * (1 << draftBits)))
	}
	return c
}()

// draft4 is one pass over four frequencies: the sums of the even and of the odd ones
// at the first two places. The last two places have the odd sums subtracted.
func draft4(f0, f1, f2, f3 int64) (even, odd [2]int64) {
	a, b := f0*draftCos[0], f2*draftCos[2]
	return [2]int64{a + b, a - b}, [2]int64{f1*draftCos[1] + f3*draftCos[3], f1*draftCos[3] - f3*draftCos[1]}
}
