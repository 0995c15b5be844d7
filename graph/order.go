package graph

import (
	"cmp"
	"slices"
)

// order returns the places of ids by ascending id, those of one id in their order.
func order(ids []int32) []int32 {
	places := make([]int32, len(ids))
	if len(ids) == 0 {
		return places
	}
	low, high := slices.Min(ids), slices.Max(ids)
	if span := int(high) - int(low); span < 8*len(ids)+1<<16 {
		// Count them: next has where the next place of an id goes.
		next := make([]int32, span+2)
		for _, id := range ids {
			next[id-low+1]++
		}
		for i := range span {
			next[i+1] += next[i]
		}
		for i, id := range ids {
			places[next[id-low]] = int32(i)
			next[id-low]++
		}
		return places
	}
	for i := range places {
		places[i] = int32(i)
	}
	slices.SortStableFunc(places, func(a, b int32) int { return cmp.Compare(ids[a], ids[b]) })
	return places
}
