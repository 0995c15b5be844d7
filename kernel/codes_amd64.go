//go:build amd64 && !noasm

package kernel

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// The kernels of the AVX-512 tier need VNNI besides; a processor of that tier without
// it takes those of AVX2.
func init() {
	codeProducts.add(AVX2, &codeProduct{wide: true, most: 2, dots: codeDotsAVX2})
	if cpu.X86.HasAVX512VNNI {
		codeProducts.add(AVX512, &codeProduct{most: 4, dots: codeDotsVNNI, tiles: codeTilesVNNI})
	}
}

// codeDots is the signature of the assembly, whose queries are rows of bytes or words.
type codeDots func(dst *float32, codes *byte, scales *float32, query *byte, offsets *int32, groups, chunks, stride int)

// inFours runs f on all rows: in groups of four, the last of which may overlap the one
// before.
func inFours(f codeDots, dst []float32, codes []byte, scales []float32, query *byte, offset *int32, chunks, stride int) {
	n := len(scales)
	f(&dst[0], &codes[0], &scales[0], query, offset, n/4, chunks, stride)
	if n%4 != 0 {
		f(&dst[n-4], &codes[(n-4)*stride], &scales[n-4], query, offset, 1, chunks, stride)
	}
}

func codeDotsVNNI(dst []float32, codes []byte, scales []float32, q *CodeQueries, first, count int) {
	if len(scales) < 4 {
		codeDotsGeneric(dst, codes, scales, q, first, count)
		return
	}
	for done := 0; done < count; {
		f, n := codeDots(dots8x1VNNI), 1
		switch {
		case count-done >= 4:
			f, n = dots8x4VNNI, 4
		case count-done >= 2:
			f, n = dots8x2VNNI, 2
		}
		query := (*byte)(unsafe.Pointer(&q.rows[(first+done)*q.stride]))
		inFours(f, dst[done*scanRows:], codes, scales, query, &q.offsets[first+done], q.stride/64, q.stride)
		done += n
	}
}

func codeDotsAVX2(dst []float32, codes []byte, scales []float32, q *CodeQueries, first, count int) {
	if len(scales) < 4 {
		codeDotsGeneric(dst, codes, scales, q, first, count)
		return
	}
	f := codeDots(dots8x1AVX2)
	if count == 2 {
		f = dots8x2AVX2
	}
	query := (*byte)(unsafe.Pointer(&q.wide[first*q.stride]))
	inFours(f, dst, codes, scales, query, &q.offsets[first], q.stride/16, q.stride)
}

// codeTilesVNNI works in tiles of eight rows, the last of which may overlap the one
// before.
func codeTilesVNNI(dst []float32, codes []byte, scales []float32, q *CodeQueries, first, count int) {
	n := len(scales)
	if n < 8 {
		for r, scale := range scales {
			for j := range count {
				query := q.rows[(first+j)*q.stride : (first+j+1)*q.stride]
				dst[r*panel8+j] = scale * float32(codeDot(codes[r*q.stride:(r+1)*q.stride], query, q.offsets[first+j]))
			}
		}
		return
	}
	f := tiles8x48VNNI
	switch {
	case count <= 16:
		f = tiles8x16VNNI
	case count <= 32:
		f = tiles8x32VNNI
	}
	packed := (*byte)(unsafe.Pointer(&q.packed[first*q.stride]))
	f(&dst[0], &codes[0], &scales[0], packed, &q.offsets[first], n/8, q.stride/4, q.stride)
	if r := n - 8; n%8 != 0 {
		f(&dst[r*panel8], &codes[r*q.stride], &scales[r], packed, &q.offsets[first], 1, q.stride/4, q.stride)
	}
}
