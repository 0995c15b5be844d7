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
	streamCaption = 3
	streamWeight  = 4
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
	shuffle(order, &src)
}

func shuffle[T any](list []T, src *rand.PCG) {
	for i := len(list) - 1; i > 0; i-- {
		j := below(src, uint64(i)+1)
		list[i], list[j] = list[j], list[i]
	}
}

// buffered shuffles a stream: each item that comes takes the place of a random one among the n that wait, which leaves;
// at the end those that wait leave in random order.
func buffered(dst, stream []int32, n int, src *rand.PCG) {
	n = min(n, len(stream))
	waiting := append([]int32(nil), stream[:n]...)
	for i, item := range stream[n:] {
		j := below(src, uint64(n))
		dst[i], waiting[j] = waiting[j], item
	}
	shuffle(waiting, src)
	copy(dst[len(stream)-n:], waiting)
}

// drawn returns an item with one of its captions, which is a pure function of (seed, epoch, index).
func drawn(it Item, seed uint64, epoch, index int) Item {
	if len(it.Captions) > 1 {
		var src rand.PCG
		seedFor(&src, seed, epoch, index, streamCaption)
		it.Caption = it.Captions[below(&src, uint64(len(it.Captions)))]
	}
	return it
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
