package dataloader

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Split divides ds into a part to train on and one to validate on. An item goes
// to the second when the hash of its ID, read as a fraction, lies below valShare:
// rows with the same picture stay together, and adding rows moves none.
//
// Split panics if valShare is not in [0, 1].
func Split(ds Dataset, valShare float64) (train, val Dataset) {
	if !(valShare >= 0 && valShare <= 1) {
		panic(fmt.Sprintf("dataloader: Split: share %v, want 0 to 1", valShare))
	}
	var trainIndices, valIndices []int
	for i := range ds.Len() {
		if fraction(ds.Item(i).ID, 0) < valShare {
			valIndices = append(valIndices, i)
		} else {
			trainIndices = append(trainIndices, i)
		}
	}
	return Subset(ds, ds.Name()+" (train)", trainIndices), Subset(ds, ds.Name()+" (val)", valIndices)
}

// fraction is the SHA-256 of key as a number in [0, 1). A seed other than 0 goes before it.
func fraction(key string, seed uint64) float64 {
	b := []byte(key)
	if seed != 0 {
		b = append(binary.BigEndian.AppendUint64(nil, seed), b...)
	}
	sum := sha256.Sum256(b)
	// 53 bits make an exact float64 in [0, 1).
	return float64(binary.BigEndian.Uint64(sum[:])>>11) / (1 << 53)
}

// Rule says how [Rule.Divide] divides a data set.
type Rule struct {
	Val, Test float64 // shares of the two smaller parts; the rest is trained on
	Seed      uint64  // another one deals otherwise; 0: as [Split] does

	// Keys are what an item must not share with an item of another part, the name of its group for example; nil or
	// none: nothing but its ID, which never stands on two sides.
	Keys func(i int) []string
	// Alike, when set, calls same with items that must not stand on two sides.
	Alike func(same func(i, k int))
}

// Divide divides the items of ds into three parts, by their indices. Items that share an ID or a key stay together, and
// so do all that others join. What decides is the hash of the key, of the least where there are several, and of the ID
// where there is none: adding rows moves none, unless they join what was apart. With no keys and no test set it is [Split].
func (r Rule) Divide(ds Dataset) (train, val, test []int, err error) {
	if !(r.Val >= 0 && r.Test >= 0 && r.Val+r.Test <= 1) {
		return nil, nil, nil, fmt.Errorf("dataloader: divide: shares %v and %v: want 0 or more, and 1 together at most", r.Val, r.Test)
	}
	n := ds.Len()
	parent := make([]int, n)
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
	join := func(i, k int) { parent[root(k)] = root(i) }
	first := make(map[string]int) // the first item of an ID or a key
	note := func(name string, i int) {
		if k, ok := first[name]; ok {
			join(k, i)
		} else {
			first[name] = i
		}
	}
	keys := func(int) []string { return nil }
	if r.Keys != nil {
		keys = r.Keys
	}
	for i := range n {
		note("i"+ds.Item(i).ID, i)
		for _, key := range keys(i) {
			note("k"+key, i)
		}
	}
	if r.Alike != nil {
		r.Alike(func(i, k int) {
			if i < 0 || i >= n || k < 0 || k >= n {
				panic(fmt.Sprintf("dataloader: Divide: items %d and %d of %d", i, k, n))
			}
			join(i, k)
		})
	}
	least := make(map[int]string, n) // what decides, by root: a key goes before an ID
	has := make(map[int]bool)        // it is a key
	for i := range n {
		at := root(i)
		for _, key := range keys(i) {
			if !has[at] || key < least[at] {
				least[at], has[at] = key, true
			}
		}
		if id := ds.Item(i).ID; !has[at] {
			if old, ok := least[at]; !ok || id < old {
				least[at] = id
			}
		}
	}
	for i := range n {
		switch f := fraction(least[root(i)], r.Seed); {
		case f < r.Val:
			val = append(val, i)
		case f < r.Val+r.Test:
			test = append(test, i)
		default:
			train = append(train, i)
		}
	}
	return train, val, test, nil
}
