package kernel

import (
	"fmt"
	"math"
)

// CodeWidth is what the length of a row of codes is a multiple of; the codes behind
// the values of a vector stand for zero.
const CodeWidth = 64

// maxCodes bounds a row, so that sums of products of codes fit in 32 bits.
const maxCodes = 1 << 16

// zeroCode is the code of zero: codes are unsigned, offset by it.
const zeroCode = 128

// CodeStride returns the length of a row of codes for vectors of the given width.
func CodeStride(dim int) int { return ceilDiv(dim, CodeWidth) * CodeWidth }

// Encode8 writes x as a row of 8-bit codes and returns their scale:
//
//	scale = max|x|/127,  codes[d] = 128 + round(x[d]/scale),  128 from len(x) on
//
// so that scale·(codes[d]-128) is within scale·0.50002 of x[d]. Where the scale
// would be zero or nearly so (max|x| < 1e-36), it is 0, and all codes are 128. The
// values have to be finite. The result is the same on every tier.
//
// Encode8 panics if codes are fewer than the values.
func Encode8(codes []byte, x []float32) (scale float32) {
	if len(codes) < len(x) {
		panic(fmt.Sprintf("kernel: Encode8: %d codes for %d values", len(codes), len(x)))
	}
	var most float32
	for _, v := range x {
		most = max(most, float32(math.Abs(float64(v))))
	}
	n := 0
	if most >= 1e-36 {
		scale = most / 127
		inverse := 127 / most
		for i, v := range x {
			// The conversion cuts, so the half makes it round; the sum is positive. The inner
			// conversion keeps the compiler from fusing.
			codes[i] = byte(int32(float32(v*inverse) + (zeroCode + 0.5)))
		}
		n = len(x)
	}
	for i := range codes[n:] {
		codes[n+i] = zeroCode
	}
	return scale
}

// CodeQueries are rows of codes packed to be compared with many others, as [Queries]
// are for vectors.
type CodeQueries struct {
	n, stride int
	impl      *codeProduct
	rows      []int8  // (n, stride)
	wide      []int16 // the same, if the tier wants words
	packed    []int8  // (panels, stride/4, panel8, 4), if the tier has tiles and there are enough queries
	offsets   []int32 // -128·Σ_d rows[j,d], with zeros up to a whole panel
}

const (
	panel8   = 48 // queries of a panel of codes
	fewCodes = 8  // queries up to which rows are compared with them one by one
)

// codeProduct is what a tier has for products of codes.
type codeProduct struct {
	wide bool // dots take words
	most int  // most queries of one call of dots
	// dots writes scores (count, scanRows) of queries first … first+count-1.
	dots func(dst []float32, codes []byte, scales []float32, q *CodeQueries, first, count int)
	// tiles writes scores (len(scales), panel8) of queries first … first+count-1; nil where dots are as good.
	tiles func(dst []float32, codes []byte, scales []float32, q *CodeQueries, first, count int)
}

var codeProducts = newDispatch(&codeProduct{most: 4, dots: codeDotsGeneric})

// PackCodes packs codes (n, stride) for the active tier.
//
// PackCodes panics if stride is no multiple of [CodeWidth] from there to 65536, or
// the length is no multiple of stride.
func PackCodes(codes []byte, stride int) *CodeQueries {
	if stride < CodeWidth || stride > maxCodes || stride%CodeWidth != 0 || len(codes)%stride != 0 {
		panic(fmt.Sprintf("kernel: PackCodes: %d codes are no rows of %d", len(codes), stride))
	}
	q := &CodeQueries{n: len(codes) / stride, stride: stride, impl: codeProducts.get(), rows: make([]int8, len(codes))}
	q.offsets = make([]int32, ceilDiv(q.n, panel8)*panel8)
	for i, c := range codes {
		v := int8(c ^ zeroCode)
		q.rows[i] = v
		q.offsets[i/stride] -= zeroCode * int32(v)
	}
	if q.impl.wide {
		q.wide = make([]int16, len(codes))
		for i, v := range q.rows {
			q.wide[i] = int16(v)
		}
	}
	if q.tiled() {
		q.packed = make([]int8, len(q.offsets)*stride)
		for j := range q.n {
			panel := q.packed[j/panel8*panel8*stride:]
			for d, v := range q.rows[j*stride : (j+1)*stride] {
				panel[(d/4*panel8+j%panel8)*4+d%4] = v
			}
		}
	}
	return q
}

func (q *CodeQueries) tiled() bool { return q.impl.tiles != nil && q.n > fewCodes }

// Len returns the number of queries.
func (q *CodeQueries) Len() int { return q.n }

// Above appends to hits what does not lie below its query's threshold among
//
//	s[r,j] = scales[r]·Σ_d (codes[r,d]-128)·(query[j,d]-128)
//
// and every score that is NaN. codes is (n, stride), scales (n), thresholds has one
// value for each query. The sum is exact; it is rounded to float32, and so is the
// product, so that scores are the same on every tier. The order of the hits is not
// specified.
//
// Above panics if a length does not fit.
func (q *CodeQueries) Above(hits []Hit, codes []byte, scales, thresholds []float32) []Hit {
	if len(codes) != len(scales)*q.stride || len(thresholds) != q.n {
		panic(fmt.Sprintf("kernel: Above: %d codes in rows of %d, %d scales, %d thresholds for %d queries",
			len(codes), q.stride, len(scales), len(thresholds), q.n))
	}
	w := scanWorks.get()
	w.scores = room(w.scores, scanRows*panel8)
	for r := 0; r < len(scales); r += scanRows {
		end := min(len(scales), r+scanRows)
		part, scale := codes[r*q.stride:end*q.stride], scales[r:end]
		if q.tiled() {
			for j := 0; j < q.n; j += panel8 {
				count := min(panel8, q.n-j)
				q.impl.tiles(w.scores, part, scale, q, j, count)
				hits = w.sift(hits, len(scale), count, panel8, r, j, thresholds[j:j+count])
			}
			continue
		}
		for j := 0; j < q.n; j += q.impl.most {
			count := min(q.impl.most, q.n-j)
			q.impl.dots(w.scores, part, scale, q, j, count)
			for i := range count {
				hits = w.siftRow(hits, w.scores[i*scanRows:][:len(scale)], r, j+i, thresholds[j+i])
			}
		}
	}
	scanWorks.put(w)
	return hits
}

// codeDot returns the product of a row with a query.
func codeDot(codes []byte, query []int8, offset int32) int32 {
	query = query[:len(codes)]
	var s0, s1 int32
	for i := 0; i+1 < len(codes); i += 2 {
		s0 += int32(codes[i]) * int32(query[i])
		s1 += int32(codes[i+1]) * int32(query[i+1])
	}
	return s0 + s1 + offset
}

func codeDotsGeneric(dst []float32, codes []byte, scales []float32, q *CodeQueries, first, count int) {
	for r, scale := range scales {
		for j := range count {
			query := q.rows[(first+j)*q.stride : (first+j+1)*q.stride]
			dst[j*scanRows+r] = scale * float32(codeDot(codes[r*q.stride:(r+1)*q.stride], query, q.offsets[first+j]))
		}
	}
}
