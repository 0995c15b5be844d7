package kernel

import "fmt"

// The constants of the inverse transform, in idctBits bits of fraction.
const (
	idctBits = 13
	idctPass = 2 // more bits between the passes

	fix0298631336 = 2446
	fix0390180644 = 3196
	fix0541196100 = 4433
	fix0765366865 = 6270
	fix0899976223 = 7373
	fix1175875602 = 9633
	fix1501321110 = 12299
	fix1847759065 = 15137
	fix1961570560 = 16069
	fix2053119869 = 16819
	fix2562915447 = 20995
	fix3072711026 = 25172
)

// IDCTOrder is where [IDCT] wants coefficients: that of row v and column u of a
// block (frequencies, vertical and horizontal) at IDCTOrder[8·v+u]. Rows 0 and 4, 2
// and 6, 7 and 1, and 5 and 3 lie interleaved, because the transform adds products
// of these pairs.
var IDCTOrder = func() (order [64]uint8) {
	for pair, rows := range [4][2]int{{0, 4}, {2, 6}, {7, 1}, {5, 3}} {
		for member, v := range rows {
			for u := range 8 {
				order[8*v+u] = uint8(16*pair + 2*u + member)
			}
		}
	}
	return order
}()

// IDCT makes a block of 8×8 samples from its coefficients, bit for bit as the
// accurate integer method of libjpeg-turbo does, in its vector form: products with
// steps of quantisation wrap around at 16 bits, and rows between the passes are
// clipped to 16. Both happen only in files that no encoder writes.
//
// coefficients and steps are in the order of [IDCTOrder]. Row y of the block goes
// to dst[y·stride:][:8]. coefficients are 0 afterwards, ready for the next block.
//
// IDCT panics if dst is too short.
//
// Source: Loeffler, Ligtenberg, Moschytz, ICASSP 1989, with 12 multiplications;
// libjpeg-turbo 2.1, jidctint.c.
func IDCT(dst []byte, stride int, coefficients, steps *[64]int16) {
	if stride < 8 || len(dst) < 7*stride+8 {
		panic(fmt.Sprintf("kernel: IDCT: dst of %d samples with rows every %d, want 8 rows of 8", len(dst), stride))
	}
	idctKernel.get()(dst, stride, coefficients, steps)
}

var idctKernel = newDispatch(idctGeneric)

func idctGeneric(dst []byte, stride int, coefficients, steps *[64]int16) {
	var rows [8][8]int16
	var in [8]int32
	for u := range 8 {
		for v := range 8 {
			i := IDCTOrder[8*v+u]
			in[v] = int32(coefficients[i] * steps[i])
		}
		for v, x := range idct8(&in) {
			const shift = idctBits - idctPass
			rows[v][u] = sat16((x + 1<<(shift-1)) >> shift)
		}
	}
	for y := range rows {
		for u, x := range rows[y] {
			in[u] = int32(x)
		}
		d := dst[y*stride:][:8]
		for x, s := range idct8(&in) {
			const shift = idctBits + idctPass + 3
			d[x] = clampByte((s+1<<(shift-1))>>shift + 128)
		}
	}
	*coefficients = [64]int16{}
}

// idct8 is the transform of one row or column, in idctBits more bits. With inputs
// of 16 bits, no sum passes 32.
func idct8(in *[8]int32) (out [8]int32) {
	e0, e1 := (in[0]+in[4])<<idctBits, (in[0]-in[4])<<idctBits
	e2 := in[2]*fix0541196100 + in[6]*(fix0541196100-fix1847759065)
	e3 := in[2]*(fix0541196100+fix0765366865) + in[6]*fix0541196100
	const (
		a = fix0298631336 - fix0899976223 - fix1961570560 + fix1175875602
		b = fix1175875602 - fix0899976223
		c = fix1175875602 - fix1961570560
		d = fix2053119869 - fix2562915447 + fix1175875602 - fix0390180644
		e = fix1175875602 - fix2562915447
		f = fix1175875602 - fix0390180644
		g = fix3072711026 - fix2562915447 - fix1961570560 + fix1175875602
		h = fix1501321110 - fix0899976223 - fix0390180644 + fix1175875602
	)
	o0 := in[7]*a + in[1]*b + in[5]*fix1175875602 + in[3]*c
	o1 := in[7]*fix1175875602 + in[1]*f + in[5]*d + in[3]*e
	o2 := in[7]*c + in[1]*fix1175875602 + in[5]*e + in[3]*g
	o3 := in[7]*b + in[1]*h + in[5]*f + in[3]*fix1175875602
	s0, s1, s2, s3 := e0+e3, e1+e2, e1-e2, e0-e3
	return [8]int32{s0 + o3, s1 + o2, s2 + o1, s3 + o0, s3 - o0, s2 - o1, s1 - o2, s0 - o3}
}
