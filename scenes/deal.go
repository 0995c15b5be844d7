package scenes

import (
	"math/rand/v2"
	"slices"
)

// deal gives every profile of a split its relations: perProfile different ones out of the pool, all relations equally
// often. It works in blocks of blockProfiles profiles, each a function of the seed and the block's number alone, so
// that a picture's relation does not depend on the size of the split.
//
// A block is a sequence of permutations of the pool, cut into profiles. Where a profile takes the end of one
// permutation and the beginning of the next, the next is rearranged so that nothing is dealt twice.
type deal struct {
	seed       uint64
	pool       int // number of relations
	perProfile int // at most pool
}

// blockProfiles returns after how many profiles the cut between permutations falls on the cut between profiles.
func (d deal) blockProfiles() int { return d.pool / gcd(d.pool, d.perProfile) }

// block returns the positions in the pool that block b deals, profile after profile.
func (d deal) block(b int) []int {
	n := d.blockProfiles() * d.perProfile
	rng := rand.New(rand.NewPCG(d.seed, uint64(b)))
	out := make([]int, 0, n)
	for len(out) < n {
		next := rng.Perm(d.pool)
		if open := len(out) % d.perProfile; open > 0 { // the profile that the last permutation left unfinished
			taken := out[len(out)-open:]
			need := d.perProfile - open
			free := slices.DeleteFunc(slices.Clone(next), func(k int) bool { return slices.Contains(taken, k) })
			// At least pool - open ≥ need relations are free. They go first, the others stay in their order.
			first := free[:need]
			rest := slices.DeleteFunc(next, func(k int) bool { return slices.Contains(first, k) })
			next = append(slices.Clone(first), rest...)
		}
		out = append(out, next...)
	}
	return out
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// mix turns a seed and the numbers of a position into a new seed, by the finaliser of SplitMix64 (Steele, Lea, Flood,
// OOPSLA 2014) applied after each.
func mix(seed uint64, position ...uint64) uint64 {
	for _, p := range position {
		seed += p*0xd1342543de82ef95 + 0x9e3779b97f4a7c15
		seed = (seed ^ seed>>30) * 0xbf58476d1ce4e5b9
		seed = (seed ^ seed>>27) * 0x94d049bb133111eb
		seed ^= seed >> 31
	}
	return seed
}
