package kernel

import "fmt"

// Dropout zeroes elements at random and scales the others up:
//
//	y[i] = x[i] * m[i],   m[i] = 0 with probability rate, else 1/(1-rate)
//
// m is a pure function of (seed, stream, i) and of rate: the same call with the
// gradient of y gives the gradient of x. y may be x. NaN and infinite elements
// that are dropped give NaN.
//
// Dropout panics if the lengths differ or rate is not in [0, 1).
//
// Source: Srivastava et al., JMLR 15 (2014); the mask is counter-based as in
// Salmon et al., SC11: one key per 8192 elements by SplitMix64, and the 32-bit
// mixer lowbias32 of Wellons on the index within them.
func Dropout(p *Pool, y, x []float32, rate float32, seed, stream uint64) {
	needLen("Dropout", "x", len(x), len(y))
	s := newSweep()
	s.y, s.a, s.mask = y, x, newDropoutMask("Dropout", rate, seed, stream)
	s.over(p, pieces(len(y)), dropoutPiece)
	s.free()
}

func dropoutPiece(s *sweep, i int) {
	lo, hi := piece(i, len(s.y))
	s.mask.apply(s.y[lo:hi], s.a[lo:hi], lo)
}

// dropoutMask is the mask of one call.
type dropoutMask struct {
	scale     float32
	threshold uint32
	key       uint64
}

// newDropoutMask panics in the name of op if rate is not in [0, 1).
func newDropoutMask(op string, rate float32, seed, stream uint64) dropoutMask {
	if !(rate >= 0 && rate < 1) {
		panic(fmt.Sprintf("kernel: %s: rate = %v, want 0 <= rate < 1", op, rate))
	}
	return dropoutMask{
		scale:     float32(1 / (1 - float64(rate))),
		threshold: uint32(float64(rate) * (1 << 32)),
		key:       splitMix64(splitMix64(seed) ^ stream),
	}
}

// DropoutMask returns what the mask of [Dropout] is made of, for devices with kernels of their own: element i is kept,
// and multiplied by scale, where its random bits, a function of key and i, are not below threshold.
//
// DropoutMask panics if rate is not in [0, 1).
func DropoutMask(rate float32, seed, stream uint64) (scale float32, threshold uint32, key uint64) {
	m := newDropoutMask("DropoutMask", rate, seed, stream)
	return m.scale, m.threshold, m.key
}

// apply writes elements at, at+1, … of a masked vector to y, given those of the
// vector; y may be x.
func (m *dropoutMask) apply(y, x []float32, at int) {
	for len(y) > 0 {
		i, first := at/pieceLen, at%pieceLen
		n := min(len(y), pieceLen-first)
		key := splitMix64(m.key + uint64(i))
		dropoutRow(y[:n], x[:n], m.scale, m.threshold, uint32(first), uint32(key), uint32(key>>32))
		y, x, at = y[n:], x[n:], at+n
	}
}

// splitMix64 is the output function of SplitMix64 (Steele, Lea, Flood, OOPSLA
// 2014) at state x.
func splitMix64(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
