package inspection

import (
	"cmp"
	"slices"

	"relsim/dataloader"
	"relsim/phash"
)

// Duplicates are rows of the set that are there more than once, by what is the same.
type Duplicates struct {
	ID       Groups `json:"id"`
	URL      Groups `json:"url"`      // rows of different IDs with the same address
	Bytes    Groups `json:"bytes"`    // files of the same bytes, by SHA-256
	Look     Groups `json:"look"`     // files of other bytes whose perceptual hashes are close, but for those of one colour
	Captions Groups `json:"captions"` // captions that differ, and say nearly the same
}

// Groups are sets of rows that belong together.
type Groups struct {
	Groups     int     `json:"groups"`
	Members    int     `json:"members"` // of all groups: rows, files, or captions
	Largest    int     `json:"largest"`
	List       []Group `json:"list"`       // the largest first
	Incomplete bool    `json:"incomplete"` // there was too much to compare, and some are missing
}

// Group is one of [Groups].
type Group struct {
	Size  int     `json:"size"`
	Rows  []Row   `json:"rows"`            // the first ones
	Close float64 `json:"close,omitempty"` // of looks, the largest distance between a member and its nearest one in bits; of captions, the smallest share of words
}

// mostShown bounds the rows that a group shows.
const mostShown = 8

// add counts a group; rows makes what it shows.
func (g *Groups) add(top, size int, closeness float64, rows func() []Row) {
	g.Groups++
	g.Members += size
	g.Largest = max(g.Largest, size)
	at := 0
	for at < len(g.List) && g.List[at].Size >= size {
		at++
	}
	if at < top {
		g.List = slices.Insert(g.List, at, Group{size, rows(), closeness})
		g.List = g.List[:min(len(g.List), top)]
	}
}

// examples returns what makes the first of the rows.
func (in *inspector) examples(rows []int32) func() []Row {
	return func() []Row {
		var shown []Row
		for _, row := range rows[:min(len(rows), mostShown)] {
			shown = append(shown, in.example(int(row)))
		}
		return shown
	}
}

// duplicates finds what is in the set more than once.
func (in *inspector) duplicates(list []content, near nearSets, complete bool) Duplicates {
	var d Duplicates
	in.sameRows(&d.ID, func(it *dataloader.Item) string { return it.ID }, false)
	in.sameRows(&d.URL, func(it *dataloader.Item) string { return it.URL }, true)

	var own []content
	for _, c := range list {
		rows := in.ownRows(c.rows)
		if len(rows) == 0 {
			continue
		}
		c.files -= in.foreignFiles(c)
		c.rows = rows
		own = append(own, c)
		if c.files > 1 {
			d.Bytes.add(in.Top, c.files, 0, in.examples(in.onePerFile(c.rows)))
		}
	}
	in.looks(&d.Look, own)
	in.captionGroups(&d.Captions, near)
	d.Captions.Incomplete = !complete
	return d
}

// foreignFiles is how many files of c belong to the other set.
func (in *inspector) foreignFiles(c content) int {
	return len(in.onePerFile(c.rows[len(in.ownRows(c.rows)):]))
}

// onePerFile returns the first row of each file.
func (in *inspector) onePerFile(rows []int32) []int32 {
	seen := make(map[string]bool, len(rows))
	var first []int32
	for _, row := range rows {
		it := in.item(int(row))
		if name := it.Picture(); name == "" || !seen[name] {
			seen[name] = true
			first = append(first, row)
		}
	}
	return first
}

// sameRows groups rows by a key. With distinctIDs only the first row of each ID counts.
func (in *inspector) sameRows(g *Groups, key func(*dataloader.Item) string, distinctIDs bool) {
	rows := make(map[string][]int32)
	ids := make(map[string]bool)
	var order []string
	for row := range in.own() {
		it := in.item(row)
		k := key(&it)
		if k == "" || distinctIDs && ids[it.ID] {
			continue
		}
		ids[it.ID] = true
		if rows[k] == nil {
			order = append(order, k)
		}
		rows[k] = append(rows[k], int32(row))
	}
	for _, k := range order {
		if len(rows[k]) > 1 {
			g.add(in.Top, len(rows[k]), 0, in.examples(rows[k]))
		}
	}
}

// looks groups contents by their perceptual hashes.
func (in *inspector) looks(g *Groups, list []content) {
	if in.Distance < 0 {
		return
	}
	var hashes []phash.Hash
	var of []int
	for i, c := range list {
		if !c.flat && c.hash != phash.Flat {
			hashes, of = append(hashes, c.hash), append(of, i)
		}
	}
	for _, group := range phash.Groups(hashes, in.Distance) {
		var members []phash.Hash
		var rows []int32
		for _, m := range group {
			members = append(members, hashes[m])
			rows = append(rows, list[of[m]].rows[0])
		}
		g.add(in.Top, len(group), float64(farthest(members, in.Distance)), in.examples(rows))
	}
}

// farthest is the largest of the distances from each hash to the nearest of the others, which is at most d.
func farthest(hashes []phash.Hash, d int) int {
	far := 0
	if len(hashes) <= 500 {
		for i, h := range hashes {
			nearest := d
			for j, other := range hashes {
				if i != j {
					nearest = min(nearest, h.Distance(other))
				}
			}
			far = max(far, nearest)
		}
		return far
	}
	x := phash.NewIndex(hashes)
	for i, h := range hashes {
		nearest := d
		x.Near(h, d, func(m phash.Match) bool {
			if m.Item != i {
				nearest = min(nearest, m.Distance)
			}
			return nearest > 0
		})
		far = max(far, nearest)
	}
	return far
}

// captionGroups groups captions that say nearly the same, by steps.
func (in *inspector) captionGroups(g *Groups, near nearSets) {
	parent := make([]int32, len(near.captions))
	own := make([][]int32, len(near.captions)) // set: captions of rows of the set
	for s, captions := range near.captions {
		parent[s] = int32(s)
		for _, k := range captions {
			if len(in.ownRows(in.captions[k].rows)) > 0 {
				own[s] = append(own[s], k)
			}
		}
	}
	root := func(s int32) int32 {
		for parent[s] != s {
			parent[s] = parent[parent[s]]
			s = parent[s]
		}
		return s
	}
	least := make(map[int32]float32) // root: the smallest share of a step
	order := slices.Clone(near.pairs)
	slices.SortStableFunc(order, func(a, b nearPair) int { return cmp.Compare(b.jaccard, a.jaccard) })
	for _, p := range order { // the closest first, so that steps are as small as can be
		if len(own[p.a]) == 0 || len(own[p.b]) == 0 {
			continue
		}
		a, b := root(p.a), root(p.b)
		if a == b {
			continue
		}
		a, b = min(a, b), max(a, b)
		parent[b] = a
		least[a] = p.jaccard
		delete(least, b)
	}
	members := make(map[int32][]int32)
	var roots []int32
	for s := range own {
		r := root(int32(s))
		if members[r] == nil && len(own[s]) > 0 {
			roots = append(roots, r)
		}
		members[r] = append(members[r], own[s]...)
	}
	for _, r := range roots {
		captions := members[r]
		if len(captions) < 2 {
			continue
		}
		share, ok := least[r]
		if !ok {
			share = 1
		}
		slices.Sort(captions)
		g.add(in.Top, len(captions), float64(share), func() []Row {
			var shown []Row
			for _, k := range captions[:min(len(captions), mostShown)] {
				row := in.example(int(in.captions[k].rows[0]))
				row.Caption = in.captions[k].text // of several, the one that is meant
				shown = append(shown, row)
			}
			return shown
		})
	}
}
