package inspection

import (
	"slices"

	"relsim/dataloader"
	"relsim/phash"
)

// Leaks are rows of one part that are in another one too, by what is the same.
type Leaks struct {
	A        string `json:"a"` // name of a split, or of the set
	B        string `json:"b"`
	RowsA    int    `json:"rows_a"`
	RowsB    int    `json:"rows_b"`
	ID       Leak   `json:"id"`
	URL      Leak   `json:"url"`
	Bytes    Leak   `json:"bytes"`
	Look     Leak   `json:"look"`     // other bytes, near in perceptual hash, but for pictures of one colour
	Caption  Leak   `json:"caption"`  // the same caption
	Captions Leak   `json:"captions"` // other captions that say nearly the same
}

// Leak counts the rows of each part that the other has too.
type Leak struct {
	A          int    `json:"a"`
	B          int    `json:"b"`
	Pairs      []Both `json:"pairs"` // examples
	Incomplete bool   `json:"incomplete"`
}

// Both is a row of A and one of B that are the same.
type Both struct {
	A     Row     `json:"a"`
	B     Row     `json:"b"`
	Close float64 `json:"close,omitempty"` // bits between the hashes, or share of the words
}

// Pictures is the number of rows of B whose picture is in A, whichever way it was found; at least, where incomplete.
func (l *Leaks) Pictures() int { return max(l.ID.B, l.URL.B, l.Bytes.B, l.Look.B) }

// mostSplits bounds the splits that are compared with each other: the largest ones.
const mostSplits = 8

// part says of a row whether it belongs to a part.
type part struct {
	name string
	has  []bool // by row
	rows int
}

// leaks compares the splits of the set, and the set with the other one.
func (in *inspector) leaks(list []content, near nearSets, complete bool) []Leaks {
	var all []Leaks
	splits := in.top(in.tally(func(it *dataloader.Item) string { return it.Split }), mostSplits)
	parts := make([]part, len(splits))
	for i, s := range splits {
		parts[i] = in.part(s.Name, func(row int, it *dataloader.Item) bool { return row < in.own() && it.Split == s.Name })
	}
	for i := range parts {
		for j := i + 1; j < len(parts); j++ {
			all = append(all, in.compare(parts[i], parts[j], list, near, complete))
		}
	}
	if len(in.sets) > 1 {
		a := in.part(in.sets[0].Name(), func(row int, _ *dataloader.Item) bool { return row < in.own() })
		b := in.part(in.sets[1].Name(), func(row int, _ *dataloader.Item) bool { return row >= in.own() })
		all = append(all, in.compare(a, b, list, near, complete))
	}
	return all
}

func (in *inspector) part(name string, has func(row int, it *dataloader.Item) bool) part {
	p := part{name: name, has: make([]bool, len(in.rows))}
	for row := range in.rows {
		it := in.item(row)
		if has(row, &it) {
			p.has[row] = true
			p.rows++
		}
	}
	return p
}

// of returns those of the rows that belong to p.
func (p *part) of(rows []int32) []int32 {
	var own []int32
	for _, row := range rows {
		if p.has[row] {
			own = append(own, row)
		}
	}
	return own
}

func (in *inspector) compare(a, b part, list []content, near nearSets, complete bool) Leaks {
	l := Leaks{A: a.name, B: b.name, RowsA: a.rows, RowsB: b.rows}
	l.ID = in.sameKeys(a, b, func(it *dataloader.Item) string { return it.ID })
	l.URL = in.sameKeys(a, b, func(it *dataloader.Item) string { return it.URL })

	same := in.newTally(&l.Bytes)
	for _, c := range list {
		same.meet(a.of(c.rows), b.of(c.rows), 0)
	}
	in.looksAlike(&l.Look, a, b, list)

	equal := in.newTally(&l.Caption)
	for k := range in.captions {
		equal.say(in.captions[k].text, in.captions[k].text).meet(a.of(in.captions[k].rows), b.of(in.captions[k].rows), 0)
	}
	alike := in.newTally(&l.Captions)
	meet := func(setA, setB int32, share float64) {
		capsA, capsB := in.captionsOf(a, near.captions[setA]), in.captionsOf(b, near.captions[setB])
		// One other caption is enough for each.
		for _, k := range capsA {
			if other := otherThan(k, capsB); other >= 0 {
				in.meetCaptions(alike, a, b, k, other, share)
			}
		}
		for _, k := range capsB {
			if other := otherThan(k, capsA); other >= 0 {
				in.meetCaptions(alike, a, b, other, k, share)
			}
		}
	}
	for set := range near.captions {
		meet(int32(set), int32(set), 1)
	}
	for _, p := range near.pairs {
		meet(p.a, p.b, float64(p.jaccard))
		meet(p.b, p.a, float64(p.jaccard))
	}
	l.Captions.Incomplete = !complete
	return l
}

// captionsOf returns those of the captions that rows of p have.
func (in *inspector) captionsOf(p part, captions []int32) []int32 {
	var own []int32
	for _, k := range captions {
		if slices.ContainsFunc(in.captions[k].rows, func(row int32) bool { return p.has[row] }) {
			own = append(own, k)
		}
	}
	return own
}

// otherThan returns the first of the captions that is not k; -1: there is none.
func otherThan(k int32, captions []int32) int32 {
	for _, other := range captions[:min(len(captions), 2)] {
		if other != k {
			return other
		}
	}
	return -1
}

func (in *inspector) meetCaptions(t *tally, a, b part, k, other int32, share float64) {
	t.say(in.captions[k].text, in.captions[other].text).meet(a.of(in.captions[k].rows), b.of(in.captions[other].rows), share)
}

// sameKeys finds the rows of the parts that have the same key.
func (in *inspector) sameKeys(a, b part, key func(*dataloader.Item) string) Leak {
	type both struct{ a, b []int32 }
	rows := make(map[string]*both)
	var order []*both
	for row := range in.rows {
		if !a.has[row] && !b.has[row] {
			continue
		}
		it := in.item(row)
		k := key(&it)
		if k == "" {
			continue
		}
		e := rows[k]
		if e == nil {
			e = new(both)
			rows[k] = e
			order = append(order, e)
		}
		if a.has[row] {
			e.a = append(e.a, int32(row))
		} else {
			e.b = append(e.b, int32(row))
		}
	}
	var l Leak
	t := in.newTally(&l)
	for _, e := range order {
		t.meet(e.a, e.b, 0)
	}
	return l
}

// looksAlike finds the pictures of other bytes that look alike.
func (in *inspector) looksAlike(l *Leak, a, b part, list []content) {
	if in.Distance < 0 {
		return
	}
	var hashes []phash.Hash
	var of [][]int32
	type of2 struct {
		hash phash.Hash
		rows []int32
		own  int // place in hashes; -1: a has it not
	}
	var others []of2
	for _, c := range list {
		if c.flat || c.hash == phash.Flat {
			continue
		}
		own := -1
		if rows := a.of(c.rows); len(rows) > 0 {
			own = len(hashes)
			hashes, of = append(hashes, c.hash), append(of, rows)
		}
		if rows := b.of(c.rows); len(rows) > 0 {
			others = append(others, of2{c.hash, rows, own})
		}
	}
	x := phash.NewIndex(hashes)
	t := in.newTally(l)
	for _, o := range others {
		var found []phash.Match
		x.Near(o.hash, in.Distance, func(m phash.Match) bool {
			if m.Item != o.own {
				found = append(found, m)
			}
			return true
		})
		slices.SortFunc(found, func(m, n phash.Match) int { return m.Item - n.Item })
		for _, m := range found {
			t.meet(of[m.Item], o.rows, float64(m.Distance))
		}
	}
}

// tally counts the rows of a leak, each once.
type tally struct {
	in     *inspector
	leak   *Leak
	seen   map[int32]bool
	ca, cb string // captions to show, in place of the rows' first ones
}

func (in *inspector) newTally(l *Leak) *tally {
	return &tally{in: in, leak: l, seen: make(map[int32]bool)}
}

func (t *tally) say(a, b string) *tally {
	t.ca, t.cb = a, b
	return t
}

// meet notes that rows of a and rows of b are the same.
func (t *tally) meet(a, b []int32, closeness float64) {
	if len(a) == 0 || len(b) == 0 {
		return
	}
	fresh := false
	count := func(rows []int32, n *int) {
		for _, row := range rows {
			if !t.seen[row] {
				t.seen[row] = true
				*n++
				fresh = true
			}
		}
	}
	count(a, &t.leak.A)
	count(b, &t.leak.B)
	if fresh && len(t.leak.Pairs) < t.in.Top {
		both := Both{t.in.example(int(a[0])), t.in.example(int(b[0])), closeness}
		if t.ca != "" {
			both.A.Caption, both.B.Caption = t.ca, t.cb
		}
		t.leak.Pairs = append(t.leak.Pairs, both)
	}
}
