// Package common is what the generators of amd64 and of arm64 share: where the fields of
// kernel.tile are, and the numbers of exp and of the GELUs.
package common

// Offsets of the fields of kernel.tile. A micro-kernel takes the address of the first.
const (
	OffTiles    = 8 * iota // row tiles to do
	OffA                   // first element of op(A)
	OffARow                // bytes from one row of op(A) to the next
	OffAStep               // bytes from one column of op(A) to the next
	OffASeg                // bytes added to a after a segment
	OffANext               // bytes from one row tile to the next
	OffB                   // first element of op(B)
	OffBStep               // bytes from one row of op(B) to the next
	OffBSeg                // bytes added to b after a segment
	OffKC                  // products per segment
	OffSegs                // segments
	OffC                   // first element of C
	OffCRow                // bytes from one row of C to the next
	OffCNext               // bytes from one row tile to the next
	OffInit                // what the sums start from: C, a bias, or nil for zero
	OffInitRow             // bytes from one row of it to the next
	OffInitNext            // bytes from one row tile to the next
	OffMask                // lanes of the last vector: bits (AVX-512), a pointer to 8 int32 (AVX2), or its offset in bytes (NEON)
)
