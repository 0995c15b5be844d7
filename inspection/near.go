package inspection

import (
	"cmp"
	"context"
	"maps"
	"math/bits"
	"slices"
)

// workBudget bounds the comparisons of near: hostile captions would otherwise take hours. What real captions take is
// some thousand times less.
const workBudget = 3_000_000_000

// similar calls yield for all pairs a < b of sets whose Jaccard index, the size of what they share by that of what
// either has, is at least percent/100. The sets are ascending, without repetitions, not empty, and differ. It is false
// where the work was more than budget, and pairs are missing.
//
// Two sets that are so alike share one of their first elements when these are in the order of rarity, so only such
// pairs are compared, and of these only those whose signatures differ in few bits.
//
// Source: Bayardo, Ma, Srikant, Scaling up all pairs similarity search, WWW 2007; Xiao et al., PPJoin, WWW 2008; the
// signatures are the bitmap filter of Sandes et al., arXiv:1711.07295.
func similar(ctx context.Context, sets [][]uint32, percent int, budget int64, yield func(a, b int, jaccard float64)) (bool, error) {
	p := percent
	order := make([]int, len(sets))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(len(sets[a]), len(sets[b])), cmp.Compare(a, b)) })
	sets, elements := byRarity(sets)
	signatures := make([]signature, len(sets))
	for i, s := range sets {
		signatures[i] = sign128(s)
	}
	posting := make([][]int32, elements) // sets that have the element in front, shortest first
	met := make([]int32, len(sets))      // 1 + the last set that this one was compared with
	for done, x := range order {
		if done%64 == 0 && ctx.Err() != nil {
			return false, ctx.Err()
		}
		set, n := sets[x], len(sets[x])
		shortest := (p*n + 99) / 100
		for _, e := range set[:n-shortest+1] {
			list := posting[e]
			for len(list) > 0 && len(sets[list[0]]) < shortest {
				list = list[1:]
			}
			posting[e] = list // sets to come are not shorter
			budget -= int64(len(list))
			for _, y := range list {
				if met[y] == int32(x)+1 {
					continue
				}
				met[y] = int32(x) + 1
				total := n + len(sets[y])
				least := (p*total + 99 + p) / (100 + p) // elements that both must have
				if total-signatures[x].distance(signatures[y]) < 2*least {
					continue
				}
				budget -= int64(n)
				if both := common(set, sets[y], least); both >= least {
					yield(min(x, int(y)), max(x, int(y)), float64(both)/float64(total-both))
				}
			}
		}
		if budget < 0 {
			return false, nil
		}
		for _, e := range set[:n-(2*p*n+99+p)/(100+p)+1] {
			posting[e] = append(posting[e], int32(x))
		}
	}
	return true, nil
}

// byRarity returns the sets with other elements, below n, of which a lower one is in fewer sets.
func byRarity(sets [][]uint32) (ranked [][]uint32, n int) {
	count := make(map[uint32]int)
	total := 0
	for _, s := range sets {
		total += len(s)
		for _, e := range s {
			count[e]++
		}
	}
	elements := slices.Collect(maps.Keys(count))
	slices.SortFunc(elements, func(a, b uint32) int { return cmp.Or(cmp.Compare(count[a], count[b]), cmp.Compare(a, b)) })
	rank := make(map[uint32]uint32, len(elements))
	for i, e := range elements {
		rank[e] = uint32(i)
	}
	ranked = make([][]uint32, len(sets))
	room := make([]uint32, 0, total)
	for i, s := range sets {
		from := len(room)
		for _, e := range s {
			room = append(room, rank[e])
		}
		ranked[i] = room[from:len(room):len(room)]
		slices.Sort(ranked[i])
	}
	return ranked, len(elements)
}

// signature has a bit for each element, which others may have too: two sets differ in no fewer elements than their
// signatures in bits.
type signature [2]uint64

func sign128(set []uint32) (s signature) {
	for _, e := range set {
		h := e * 0x9e3779b1 >> 25
		s[h>>6] |= 1 << (h & 63)
	}
	return s
}

func (s signature) distance(other signature) int {
	return bits.OnesCount64(s[0]^other[0]) + bits.OnesCount64(s[1]^other[1])
}

// common is the number of elements that two ascending sets share, or fewer than least where that is not reached.
func common(a, b []uint32, least int) int {
	n := 0
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			a = a[1:]
		case a[0] > b[0]:
			b = b[1:]
		default:
			n++
			a, b = a[1:], b[1:]
		}
		if n+min(len(a), len(b)) < least {
			return n
		}
	}
	return n
}
