package dataloader

import (
	"math/bits"
	"math/rand/v2"
)

// mix is a bijection of 64-bit words whose every output bit depends on every
// input bit (the finaliser of SplitMix64).
//
// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
// OOPSLA 2014, figure 14 (constants: Stafford's variant 13).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Streams of random numbers, so that the order of an epoch and the augmentation
// of its items share none.
const (
	streamOrder   = 1
	streamAugment = 2
)

// seedFor sets src to the start of the sequence that belongs to (seed, epoch,
// index, stream).
func seedFor(src *rand.PCG, seed uint64, epoch, index int, stream uint64) {
	a := mix(seed ^ mix(uint64(epoch)^mix(stream)))
	src.Seed(a, mix(a^mix(uint64(index))))
}

// permute fills order with a permutation of 0 … len(order)-1 that is a pure
// function of (seed, epoch): a Fisher–Yates shuffle of its own, so that it does
// not change with the standard library.
func permute(order []int32, seed uint64, epoch int) {
	var src rand.PCG
	seedFor(&src, seed, epoch, 0, streamOrder)
	for i := range order {
		order[i] = int32(i)
	}
	for i := len(order) - 1; i > 0; i-- {
		j := below(&src, uint64(i)+1)
		order[i], order[j] = order[j], order[i]
	}
}

// below draws a uniform number in [0, n), n > 0.
//
// Source: Lemire, "Fast random integer generation in an interval",
// arXiv:1805.10941, algorithm 5.
func below(src *rand.PCG, n uint64) uint64 {
	hi, lo := bits.Mul64(src.Uint64(), n)
	if lo < n {
		for threshold := -n % n; lo < threshold; {
			hi, lo = bits.Mul64(src.Uint64(), n)
		}
	}
	return hi
}
