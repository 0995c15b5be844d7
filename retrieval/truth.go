package retrieval

import (
	"math/rand/v2"
	"slices"
)

// truth is what the set says about its pictures, by index in the gallery.
type truth struct {
	set     *Set
	by      string         // "relation" or "caption": what makes pictures positives of each other
	groups  []string       // distinct relations (or captions), in order of first appearance
	group   []int          // of each picture of the set, near misses included; -1: none
	members [][]int        // gallery pictures of each group
	heldOut []bool         // of each group
	profile map[int][]int  // gallery pictures of each profile
	index   map[string]int // of groups
}

func newTruth(s *Set) *truth {
	t := &truth{set: s, by: "caption", profile: make(map[int][]int), index: make(map[string]int)}
	for _, it := range s.Items {
		if it.Relation != "" {
			t.by = "relation"
		}
	}
	for i := range s.Len() {
		it := s.Item(i)
		key := it.Caption
		if t.by == "relation" {
			key = it.Relation
		}
		g := -1
		if key != "" {
			at, ok := t.index[key]
			if !ok && i < len(s.Items) {
				at, ok = len(t.groups), true
				t.index[key] = at
				t.groups = append(t.groups, key)
				t.members = append(t.members, nil)
				t.heldOut = append(t.heldOut, it.HeldOut)
			}
			if ok {
				g = at
			}
		}
		t.group = append(t.group, g)
		if i < len(s.Items) {
			if g >= 0 {
				t.members[g] = append(t.members[g], i)
			}
			if it.Profile >= 0 {
				t.profile[it.Profile] = append(t.profile[it.Profile], i)
			}
		}
	}
	return t
}

// positives returns the gallery pictures of the query's group, itself among them.
func (t *truth) positives(q int) []int {
	if t.group[q] < 0 {
		return nil
	}
	return t.members[t.group[q]]
}

// twins returns the gallery pictures of the query's profile that are not of its group.
func (t *truth) twins(q int) []int {
	p := t.set.Item(q).Profile
	if p < 0 {
		return nil
	}
	var list []int
	for _, i := range t.profile[p] {
		if i != q && (t.group[i] != t.group[q] || t.group[q] < 0) {
			list = append(list, i)
		}
	}
	return list
}

// queries draws at most limit (0: all) of the pictures that have a positive or a caption, ascending.
func (t *truth) queries(limit int, rng *rand.Rand) []int {
	var list []int
	for i, it := range t.set.Items {
		if it.Caption != "" || len(t.positives(i)) > 1 {
			list = append(list, i)
		}
	}
	if limit > 0 && limit < len(list) {
		rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		list = list[:limit]
		slices.Sort(list)
	}
	return list
}

// isHeldOut reports whether a picture's relation was kept from training.
func (t *truth) isHeldOut(i int) bool { return t.set.Item(i).HeldOut }

// clusters returns the cluster of each query for the bootstrap: its profile, or itself where it has none. The second
// result names what they are.
func (t *truth) clusters(queries []int) ([]int, string) {
	list, name := make([]int, len(queries)), "query"
	for j, q := range queries {
		if p := t.set.Item(q).Profile; p >= 0 {
			list[j], name = p, "profile"
		} else {
			list[j] = -1 - q
		}
	}
	return list, name
}
