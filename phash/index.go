package phash

import (
	"cmp"
	"math/bits"
	"slices"
)

const (
	blocks    = 4
	blockBits = 64 / blocks
	buckets   = 1 << blockBits
)

// Index finds hashes that are close to a given one. It takes 64 bytes for each hash and 1 MiB.
//
// Two hashes that differ in no more than d bits differ in no more than d/4 of them in one of four blocks of 16 bits. So
// only the hashes are looked at that share a block but for that many bits: multi-index hashing.
//
// Source: Norouzi, Punjani, Fleet, arXiv:1307.2982, section 3.
type Index struct {
	hashes []Hash
	table  [blocks]table
}

// table lists hashes by the value of one block: those of value v are at start[v] up to start[v+1].
type table struct {
	start []int32
	items []entry
}

type entry struct {
	hash Hash
	item int32
}

// NewIndex returns an index of hashes. It keeps them; the caller must not change them. More than 2³¹-1 are refused
// with a panic.
func NewIndex(hashes []Hash) *Index {
	if len(hashes) > 1<<31-1 {
		panic("phash: NewIndex: more than 2147483647 hashes")
	}
	x := &Index{hashes: hashes}
	for b := range x.table {
		t := table{start: make([]int32, buckets+1), items: make([]entry, len(hashes))}
		for _, h := range hashes {
			t.start[h.block(b)+1]++
		}
		for v := range buckets {
			t.start[v+1] += t.start[v]
		}
		next := slices.Clone(t.start[:buckets])
		for i, h := range hashes {
			v := h.block(b)
			t.items[next[v]] = entry{h, int32(i)}
			next[v]++
		}
		x.table[b] = t
	}
	return x
}

func (h Hash) block(b int) int { return int(h>>(b*blockBits)) & (buckets - 1) }

// Match is a hash of an [Index] that is close to another.
type Match struct {
	Item     int // index of the hash
	Distance int // in bits
}

// Near calls yield for each hash of the index at a distance of at most d from h, in no particular order but the same
// every time, until yield returns false.
func (x *Index) Near(h Hash, d int, yield func(Match) bool) { x.near(h, d, 0, yield) }

// near leaves out hashes before item first.
func (x *Index) near(h Hash, d, first int, yield func(Match) bool) {
	if d < 0 {
		return
	}
	radius, ok := radii(d, len(x.hashes))
	if !ok {
		for i, other := range x.hashes[first:] {
			if n := h.Distance(other); n <= d && !yield(Match{first + i, n}) {
				return
			}
		}
		return
	}
	for b := range x.table {
		t := &x.table[b]
		more := within(h.block(b), radius[b], func(v int) bool {
		bucket:
			for _, e := range t.items[t.start[v]:t.start[v+1]] {
				n := h.Distance(e.hash)
				if n > d || int(e.item) < first {
					continue
				}
				for earlier := range b { // it has been met there
					if bits.OnesCount16(uint16(h.block(earlier)^e.hash.block(earlier))) <= radius[earlier] {
						continue bucket
					}
				}
				if !yield(Match{int(e.item), n}) {
					return false
				}
			}
			return true
		})
		if !more {
			return
		}
	}
}

// radii returns how far to look in each block: with d = 4·r + a, r bits in a+1 blocks, r-1 in the others. It is false
// where comparing with each of n hashes is less work.
func radii(d, n int) (r [blocks]int, ok bool) {
	probes := 0
	for b := range r {
		r[b] = d / blocks
		if b > d%blocks {
			r[b]--
		}
		if r[b] > blockBits {
			return r, false
		}
		choose, sum := 1, 0
		for k := range r[b] + 1 {
			sum += choose
			choose = choose * (blockBits - k) / (k + 1)
		}
		probes += sum
	}
	return r, probes < n
}

// within calls f with each value that differs from v in at most radius bits, v first, until f returns false.
func within(v, radius int, f func(int) bool) bool { return radius < 0 || flip(v, radius, 0, f) }

func flip(v, radius, from int, f func(int) bool) bool {
	if !f(v) {
		return false
	}
	if radius == 0 {
		return true
	}
	for b := from; b < blockBits; b++ {
		if !flip(v^1<<b, radius-1, b+1, f) {
			return false
		}
	}
	return true
}

// Pair is two hashes of a set, A < B.
type Pair struct {
	A, B     int
	Distance int // in bits
}

// Pairs returns all pairs of hashes at a distance of at most d, by A and then B. A set of n equal hashes has n·(n-1)/2
// of them: see [Groups].
func Pairs(hashes []Hash, d int) []Pair {
	x := NewIndex(hashes)
	var pairs []Pair
	for i, h := range hashes {
		from := len(pairs)
		x.near(h, d, i+1, func(m Match) bool {
			pairs = append(pairs, Pair{i, m.Item, m.Distance})
			return true
		})
		slices.SortFunc(pairs[from:], func(a, b Pair) int { return cmp.Compare(a.B, b.B) })
	}
	return pairs
}

// Groups returns the sets of two or more hashes that are linked by steps of at most d bits, each in ascending order,
// by their first members. Memory grows with the number of hashes only.
func Groups(hashes []Hash, d int) [][]int {
	if d < 0 {
		return nil
	}
	first := make(map[Hash]int, len(hashes)) // equal hashes are one
	var distinct []Hash
	for _, h := range hashes {
		if _, ok := first[h]; !ok {
			first[h] = len(distinct)
			distinct = append(distinct, h)
		}
	}
	parent := make([]int, len(distinct))
	for i := range parent {
		parent[i] = i
	}
	root := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	if d > 0 {
		x := NewIndex(distinct)
		for i, h := range distinct {
			x.near(h, d, i+1, func(m Match) bool {
				a, b := root(i), root(m.Item)
				parent[max(a, b)] = min(a, b)
				return true
			})
		}
	}
	members := make([][]int, len(distinct))
	for i, h := range hashes {
		r := root(first[h])
		members[r] = append(members[r], i)
	}
	groups := slices.DeleteFunc(members, func(g []int) bool { return len(g) < 2 })
	slices.SortFunc(groups, func(a, b []int) int { return cmp.Compare(a[0], b[0]) })
	return groups
}
