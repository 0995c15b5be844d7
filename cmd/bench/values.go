package main

import (
	"math"
	"strings"

	"relsim/nn"
)

// hash returns 32-bit number i of the sequence with a name: FNV-1a of the name,
// mixed with the position as MurmurHash3 ends. bench/peer.py has the same.
func hash(seed uint32, i int) uint32 {
	h := uint32(i)*2654435761 + seed
	h ^= h >> 16
	h *= 0x85ebca6b
	h ^= h >> 13
	h *= 0xc2b2ae35
	return h ^ h>>16
}

// seedOf is the hash of a name.
func seedOf(name string) uint32 {
	seed := uint32(2166136261)
	for _, c := range []byte(name) {
		seed = (seed ^ uint32(c)) * 16777619
	}
	return seed
}

// fill sets dst to the numbers of a name, uniform in offset ± scale.
func fill(dst []float32, name string, scale, offset float64) {
	seed, factor, low := seedOf(name), float32(scale/(1<<23)), float32(offset-scale)
	for i := range dst {
		dst[i] = float32(hash(seed, i)>>8)*factor + low
	}
}

// numbers returns n numbers of a name below limit.
func numbers[T int | int32](name string, n, limit int) []T {
	seed := seedOf(name)
	out := make([]T, n)
	for i := range out {
		out[i] = T(hash(seed, i) % uint32(limit))
	}
	return out
}

// fillParams gives every parameter the numbers of its name, at the scale that its
// place asks for.
func fillParams(params *nn.Params) {
	for _, p := range params.All() {
		switch {
		case len(p.Shape) == 1 && strings.HasSuffix(p.Name, "weight"):
			fill(p.Data, p.Name, .1, 1)
		case len(p.Shape) == 1:
			fill(p.Data, p.Name, .02, 0)
		case strings.HasSuffix(p.Name, "token_embedding.weight"), strings.HasSuffix(p.Name, "pos_embed"), strings.HasSuffix(p.Name, "cls_token"):
			fill(p.Data, p.Name, .05, 0)
		default:
			fill(p.Data, p.Name, 1/math.Sqrt(float64(p.Size()/p.Shape[0])), 0)
		}
	}
}
