package inspection

import (
	"cmp"
	"context"
	"slices"
	"strings"
)

// Captions are statistics of captions. Each counts once, however many rows it has, but where rows are named.
type Captions struct {
	Captions     int          `json:"captions"` // of all rows
	Distinct     int          `json:"distinct"`
	Words        Distribution `json:"words"` // placeholders are words
	Characters   Distribution `json:"characters"`
	Placeholders Placeholders `json:"placeholders"`
	Anonymous    Anonymous    `json:"not_anonymous"`
	Languages    []Count      `json:"languages"` // or scripts; all of them
	Titles       int          `json:"titles"`    // mostly capitalised, so that names cannot be told
	Shared       []Shared     `json:"shared"`    // captions of several rows, the most frequent
}

// Placeholders are words such as {Subject}.
type Placeholders struct {
	With     int          `json:"with"` // captions that have one
	Each     Distribution `json:"each"` // how many a caption has
	Distinct int          `json:"distinct"`
	Names    []Count      `json:"names"`    // captions by placeholder, the most frequent
	Faulty   int          `json:"faulty"`   // captions with malformed braces
	Faults   []Count      `json:"faults"`   // captions by fault; all faults
	Examples []Noted      `json:"examples"` // of faults
}

// Anonymous are captions that are not anonymous enough: see [Analyse].
type Anonymous struct {
	Captions int     `json:"captions"`
	Rows     int     `json:"rows"`
	Reasons  []Count `json:"reasons"` // captions by reason; one may have several
	Numbers  int     `json:"numbers"` // captions with digits, which are no reason by themselves
	Names    []Count `json:"names"`   // the most frequent words
	Colours  []Count `json:"colours"`
	Examples []Noted `json:"examples"` // those with a name or a colour first
}

// Noted is a row with what was noted about its caption.
type Noted struct {
	Row
	Notes []string `json:"notes"`
}

// Shared is a caption that several rows have.
type Shared struct {
	Caption string `json:"caption"`
	Rows    int    `json:"rows"`
}

// captionStatistics looks at each caption of the set once.
func (in *inspector) captionStatistics() Captions {
	c := Captions{Languages: []Count{}}
	var words, characters, each []int
	var (
		names, faults, reasons    = map[string]int{}, map[string]int{}, map[string]int{}
		proper, colour, languages = map[string]int{}, map[string]int{}, map[string]int{}
		bare                      []Noted // no placeholder, and nothing else
		rows                      = make(map[int32]bool)
	)
	for k := range in.captions {
		d := &in.captions[k]
		own := in.ownRows(d.rows)
		if len(own) == 0 {
			continue
		}
		c.Captions += len(own)
		c.Distinct++
		if len(own) > 1 {
			c.Shared = append(c.Shared, Shared{d.text, len(own)})
		}
		a := Analyse(d.text)
		words, characters, each = append(words, a.Words), append(characters, a.Characters), append(each, len(a.Placeholders))
		languages[a.Language]++
		if a.Title {
			c.Titles++
		}
		if len(a.Placeholders) > 0 {
			c.Placeholders.With++
		}
		for _, name := range unique(slices.Clone(a.Placeholders)) {
			names[name]++
		}
		noted := func(notes []string) Noted {
			row := in.example(int(own[0]))
			row.Caption = d.text
			return Noted{row, notes}
		}
		if len(a.Faults) > 0 {
			c.Placeholders.Faulty++
			for _, f := range a.Faults {
				faults[f]++
			}
			if len(c.Placeholders.Examples) < in.Top {
				c.Placeholders.Examples = append(c.Placeholders.Examples, noted(a.Faults))
			}
		}
		if len(a.Numbers) > 0 {
			c.Anonymous.Numbers++
		}
		why := a.Reasons()
		if len(why) == 0 {
			continue
		}
		c.Anonymous.Captions++
		for _, row := range own {
			rows[row] = true
		}
		var notes []string
		for _, r := range why {
			reasons[r.Kind]++
			notes = append(notes, r.String())
			for _, w := range r.Words {
				map[string]map[string]int{ProperName: proper, Colour: colour}[r.Kind][w]++
			}
		}
		if only := len(why) == 1 && why[0].Kind == NoPlaceholder; only && len(bare) < in.Top {
			bare = append(bare, noted(notes))
		} else if !only && len(c.Anonymous.Examples) < in.Top {
			c.Anonymous.Examples = append(c.Anonymous.Examples, noted(notes))
		}
	}
	c.Words, c.Characters = linear(words), linear(characters)
	c.Placeholders.Each = linear(each)
	c.Placeholders.Distinct, c.Placeholders.Names = len(names), in.top(names, in.Top)
	c.Placeholders.Faults = in.top(faults, 0)
	c.Anonymous.Rows, c.Anonymous.Reasons = len(rows), in.top(reasons, 0)
	c.Anonymous.Names, c.Anonymous.Colours = in.top(proper, in.Top), in.top(colour, in.Top)
	c.Anonymous.Examples = append(c.Anonymous.Examples, bare...)
	c.Anonymous.Examples = c.Anonymous.Examples[:min(len(c.Anonymous.Examples), in.Top)]
	c.Languages = in.top(languages, 0)
	slices.SortStableFunc(c.Shared, func(a, b Shared) int { return cmp.Compare(b.Rows, a.Rows) })
	c.Shared = c.Shared[:min(len(c.Shared), in.Top)]
	return c
}

// ownRows returns those of ascending rows that are of the set that is inspected.
func (in *inspector) ownRows(rows []int32) []int32 {
	n, _ := slices.BinarySearch(rows, int32(in.own()))
	return rows[:n]
}

// nearSets are the sets of words of captions, and which of them are close.
type nearSets struct {
	captions [][]int32 // set: its captions
	pairs    []nearPair
}

type nearPair struct {
	a, b    int32 // sets
	jaccard float32
}

// mostPairs bounds the pairs of near captions that are kept.
const mostPairs = 4_000_000

// nearCaptions finds the captions that say nearly the same: those of the same set of words after [Normal], and those whose
// sets are similar. It is false where there was too much to compare, so that some are missing.
func (in *inspector) nearCaptions(ctx context.Context) (near nearSets, complete bool, err error) {
	var (
		ids   = make(map[string]uint32)
		known = make(map[string]int32)
		sets  [][]uint32
		key   []byte
	)
	for k := range in.captions {
		if k%1024 == 0 && ctx.Err() != nil {
			return near, false, ctx.Err()
		}
		d := &in.captions[k]
		var set []uint32
		for w := range strings.FieldsSeq(Normal(d.text)) {
			id, ok := ids[w]
			if !ok {
				id = uint32(len(ids))
				ids[strings.Clone(w)] = id
			}
			set = append(set, id)
		}
		slices.Sort(set)
		set = slices.Compact(set)
		if d.set = -1; len(set) == 0 {
			continue
		}
		key = key[:0]
		for _, id := range set {
			key = append(key, byte(id), byte(id>>8), byte(id>>16), byte(id>>24))
		}
		n, ok := known[string(key)]
		if !ok {
			n = int32(len(sets))
			known[string(key)] = n
			sets, near.captions = append(sets, set), append(near.captions, nil)
		}
		d.set = n
		near.captions[n] = append(near.captions[n], int32(k))
	}
	complete, err = similar(ctx, sets, in.Similar, workBudget, func(a, b int, jaccard float64) {
		if len(near.pairs) < mostPairs {
			near.pairs = append(near.pairs, nearPair{int32(a), int32(b), float32(jaccard)})
		}
	})
	slices.SortFunc(near.pairs, func(a, b nearPair) int { return cmp.Or(cmp.Compare(a.a, b.a), cmp.Compare(a.b, b.b)) })
	return near, complete && len(near.pairs) < mostPairs, err
}
