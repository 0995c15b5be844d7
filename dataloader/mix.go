package dataloader

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sort"
	"strings"
)

// maxWeight bounds how often a row may count.
const maxWeight = 1000

// Mix returns the data sets as one. It has all their items, one set behind the other; how often each comes in an epoch
// of a [Loader] is its set's weight: 2 is twice, 0.3 in three epochs of ten. Which of a set's rows an epoch has is a
// pure function of (seed, epoch), and the rows take turns: over any number of epochs one comes as often as another, give
// or take one. So an epoch of sets of n₁, n₂, … rows has round(w₁·n₁) + round(w₂·n₂) + … items.
//
// Weights stay with their rows through [Subset], [Split], [WithCache] and [Transform.Square]; what reads a data set in
// order, such as an evaluation, sees every item once.
func Mix(sets []Dataset, weights []float64) (Dataset, error) {
	if len(sets) == 0 || len(sets) != len(weights) {
		return nil, fmt.Errorf("dataloader: mix: %d data sets with %d weights: want a weight for each, and one set or more", len(sets), len(weights))
	}
	m := &mixed{sets: sets, weights: weights, starts: []int{0}}
	h := sha256.New()
	var names []string
	for k, ds := range sets {
		w := weights[k]
		if !(w > 0 && w <= maxWeight) {
			return nil, fmt.Errorf("dataloader: mix: weight %v of %s: want more than 0, and at most %d", w, ds.Name(), maxWeight)
		}
		m.starts = append(m.starts, m.starts[k]+ds.Len())
		fmt.Fprintf(h, "%q %v\n", ds.Fingerprint(), w)
		name := ds.Name()
		if w != 1 {
			name = fmt.Sprintf("%v × %s", w, name)
		}
		names = append(names, name)
	}
	if m.Len() > 1<<31-1 {
		return nil, errors.New("dataloader: mix: more than 2³¹-1 pictures")
	}
	m.name, m.fingerprint = strings.Join(names, " + "), hex.EncodeToString(h.Sum(nil)[:16])
	return m, nil
}

type mixed struct {
	name        string
	sets        []Dataset
	weights     []float64
	starts      []int // of each set, and the end of the last
	fingerprint string
}

// of returns the set that item i is of, and its number there.
func (m *mixed) of(i int) (Dataset, int) {
	k := sort.Search(len(m.sets), func(k int) bool { return m.starts[k+1] > i })
	return m.sets[k], i - m.starts[k]
}

func (m *mixed) Name() string        { return m.name }
func (m *mixed) Len() int            { return m.starts[len(m.sets)] }
func (m *mixed) Fingerprint() string { return m.fingerprint }

func (m *mixed) Item(i int) Item {
	ds, k := m.of(i)
	return ds.Item(k)
}

func (m *mixed) Image(ctx context.Context, i int) (*Image, error) {
	ds, k := m.of(i)
	return ds.Image(ctx, k)
}

func (m *mixed) SquareImage(ctx context.Context, i int, t Transform) (*Image, error) {
	ds, k := m.of(i)
	return t.Image(ctx, ds, k)
}

// groups are those of the sets. An item of a set without groups is a group of its own.
func (m *mixed) groups() []int32 {
	list, any := make([]int32, 0, m.Len()), false
	next := int32(0)
	for _, ds := range m.sets {
		groups := groupsOf(ds)
		if any = any || groups != nil; groups == nil {
			groups = identity(ds.Len())
		}
		first := next
		for _, g := range groups {
			list = append(list, first+g)
			next = max(next, first+g+1)
		}
	}
	if !any {
		return nil
	}
	return list
}
