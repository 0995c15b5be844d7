package dataloader

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// plan says which items an epoch consists of, and in which order: a pure function of (seed, epoch), the data set, and
// these settings.
type plan struct {
	seed    uint64
	shuffle int // items of the buffer; 0: the whole order is random
	batch   int // of a rank
	rank    int
	ranks   int // 1 or more

	items  int       // of the data set
	strata []stratum // nil: an epoch is each item once
	groups []int32   // of each item; nil: it has none
	all    int       // items of an epoch, of all ranks
	times  int       // how often an item comes in an epoch, at most

	scratch []int32
}

func newPlan(ds Dataset, c Config) *plan {
	p := &plan{seed: c.Seed, shuffle: c.Shuffle, batch: c.Batch, rank: c.Rank, ranks: c.Ranks, items: ds.Len(), times: 1}
	p.all, p.strata = p.items, strataOf(ds)
	if p.strata != nil {
		p.all = 0
		for _, s := range p.strata {
			n := s.epoch()
			p.all += n
			if len(s.items) > 0 {
				p.times = max(p.times, (n+len(s.items)-1)/len(s.items))
			}
		}
	}
	if p.shuffle > 0 {
		p.groups = groupsOf(ds)
	}
	return p
}

// steps is the number of batches of an epoch.
func (p *plan) steps() int { return p.all / (p.batch * p.ranks) }

// own is the number of items of an epoch that are this rank's: its parts of the batches, and of what is left of a batch,
// which takes the place of broken pictures.
func (p *plan) own() int { return p.steps()*p.batch + p.rest()/p.ranks }

func (p *plan) rest() int { return p.all - p.steps()*p.batch*p.ranks }

// fill sets order, of own items, to that of an epoch.
func (p *plan) fill(order []int32, epoch int) {
	all := order
	if p.ranks > 1 {
		if p.scratch == nil {
			p.scratch = make([]int32, p.all)
		}
		all = p.scratch
	}
	p.global(all, epoch)
	if p.ranks == 1 {
		return
	}
	n := p.batch * p.ranks
	for b := range p.steps() {
		copy(order[b*p.batch:], all[b*n+p.rank*p.batch:][:p.batch])
	}
	rest := p.rest() / p.ranks
	copy(order[p.steps()*p.batch:], all[p.steps()*n+p.rank*rest:][:rest])
}

// global sets order to that of all ranks.
func (p *plan) global(order []int32, epoch int) {
	if p.strata == nil && p.groups == nil {
		permute(order, p.seed, epoch)
		return
	}
	if p.strata == nil {
		for i := range order {
			order[i] = int32(i)
		}
	} else {
		at := 0
		for k, s := range p.strata {
			at += s.choose(order[at:], p.seed, epoch, k)
		}
	}
	var src rand.PCG
	seedFor(&src, p.seed, epoch, 0, streamOrder)
	if p.groups == nil {
		shuffle(order, &src)
		return
	}
	buffered(order, p.stream(order, &src), p.shuffle, &src)
}

// stream lays the items of an epoch out group by group, in random order of the groups and in their own inside of one.
// Where an item comes several times, a group does.
func (p *plan) stream(items []int32, src *rand.PCG) []int32 {
	type place struct{ time, group, item int32 }
	places := make([]place, len(items))
	for i, item := range items {
		places[i] = place{group: p.groups[item], item: item}
	}
	compare := func(a, b place) int {
		return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.group, b.group), cmp.Compare(a.item, b.item))
	}
	slices.SortFunc(places, compare)
	if p.times > 1 {
		for i := 1; i < len(places); i++ {
			if places[i].item == places[i-1].item {
				places[i].time = places[i-1].time + 1
			}
		}
		slices.SortFunc(places, compare)
	}
	var units [][]place
	for begin, i := 0, 1; i <= len(places); i++ {
		if i == len(places) || places[i].group != places[begin].group || places[i].time != places[begin].time {
			units = append(units, places[begin:i])
			begin = i
		}
	}
	shuffle(units, src)
	list := make([]int32, 0, len(items))
	for _, unit := range units {
		for _, at := range unit {
			list = append(list, at.item)
		}
	}
	return list
}

// stratum is a part of a data set whose items count alike.
type stratum struct {
	weight float64 // how often an item comes in an epoch, on average
	items  []int32
}

// epoch is how many items of the stratum an epoch has.
func (s stratum) epoch() int { return int(math.Round(s.weight * float64(len(s.items)))) }

// choose writes the items of an epoch to dst, and returns how many. They are taken in turn from a list in random order,
// which begins again at its end: so an item comes as often as another, give or take one, over any epochs.
func (s stratum) choose(dst []int32, seed uint64, epoch, k int) int {
	n := s.epoch()
	if n == 0 {
		return 0
	}
	turn := slices.Clone(s.items)
	if n%len(turn) != 0 {
		var src rand.PCG
		seedFor(&src, seed, 0, k, streamWeight)
		shuffle(turn, &src)
	}
	at := int(uint64(epoch) % uint64(len(turn)) * uint64(n) % uint64(len(turn)))
	for i := range n {
		dst[i] = turn[(at+i)%len(turn)]
	}
	return n
}

// strataOf returns the parts of a data set whose items count alike; nil where all count once.
func strataOf(ds Dataset) []stratum {
	switch d := ds.(type) {
	case *mixed:
		var list []stratum
		for k, set := range d.sets {
			inner := strataOf(set)
			if inner == nil {
				inner = []stratum{{1, identity(set.Len())}}
			}
			for _, s := range inner {
				items := make([]int32, len(s.items))
				for i, item := range s.items {
					items[i] = item + int32(d.starts[k])
				}
				list = append(list, stratum{s.weight * d.weights[k], items})
			}
		}
		return list
	case *subset:
		inner := strataOf(d.ds)
		if inner == nil {
			return nil
		}
		of := make([]int32, d.ds.Len())
		list := make([]stratum, len(inner))
		for k, s := range inner {
			list[k].weight = s.weight
			for _, item := range s.items {
				of[item] = int32(k)
			}
		}
		for i, item := range d.indices {
			s := &list[of[item]]
			s.items = append(s.items, int32(i))
		}
		return list
	case *squared:
		return strataOf(d.Dataset)
	case View:
		return strataOf(d.Unwrap())
	}
	return nil
}

func identity(n int) []int32 {
	list := make([]int32, n)
	for i := range list {
		list[i] = int32(i)
	}
	return list
}

// Grouped is a data set whose items lie in groups that are read best one after the other: shards, row groups.
type Grouped interface {
	// Groups returns the number of each item's group, not negative; nil: there are none. It must not be changed.
	Groups() []int32
}

// groupsOf returns the group of each item of a data set; nil where it has none.
func groupsOf(ds Dataset) []int32 {
	switch d := ds.(type) {
	case *mixed:
		return d.groups()
	case *subset:
		inner := groupsOf(d.ds)
		if inner == nil {
			return nil
		}
		list := make([]int32, len(d.indices))
		for i, item := range d.indices {
			list[i] = inner[item]
		}
		return list
	case *squared:
		return groupsOf(d.Dataset)
	case Grouped:
		groups := d.Groups()
		if groups != nil && len(groups) != ds.Len() {
			panic(fmt.Sprintf("dataloader: %s: groups of %d items, and it has %d", ds.Name(), len(groups), ds.Len()))
		}
		return groups
	case View:
		return groupsOf(d.Unwrap())
	}
	return nil
}
