// Package inspection finds out what a data set consists of and what is wrong with it: counts, sizes, duplicates, leaks
// between parts, captions that are not anonymous enough, and broken pictures.
//
// [Inspect] reads every picture once, in parallel, and keeps some hundred bytes of each. The same data gives the same
// report, whatever the number of workers.
package inspection

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"relsim/dataloader"
	"relsim/download"
)

// Options say what to look for. The zero value looks at rows, captions and pictures.
type Options struct {
	NoPictures bool                      // rows and captions only
	Against    dataloader.Dataset        // another set, to find what is in both; nil: none
	Distance   int                       // bits between perceptual hashes of one picture; 0: DefaultDistance, -1: none
	Similar    int                       // near captions share so many percent of their words; 0: DefaultSimilar
	Top        int                       // entries of each list; 0: DefaultTop
	Workers    int                       // that read pictures; 0: one for each core
	States     map[string]download.State // of the rows by ID, where the pictures were downloaded; nil: not known

	// Progress is called now and then, from several goroutines, with the number of pictures read. nil: it is not.
	Progress func(done, total int)
}

// The defaults of [Options].
const (
	DefaultDistance = 6
	DefaultSimilar  = 80
	DefaultTop      = 20
)

// Validate returns an error that says which option cannot be.
func (o Options) Validate() error {
	switch {
	case o.Distance < -1 || o.Distance > 16:
		return fmt.Errorf("inspection: distance of %d bits: want 0 to 16", o.Distance)
	case o.Similar != 0 && (o.Similar < 50 || o.Similar > 100):
		return fmt.Errorf("inspection: %d %% of the words: want 50 to 100", o.Similar)
	case o.Top < 0 || o.Top > 1000:
		return fmt.Errorf("inspection: lists of %d: want 0 to 1000", o.Top)
	case o.Workers < 0:
		return fmt.Errorf("inspection: %d workers", o.Workers)
	}
	return nil
}

// Report is what was found. Lists hold the first or the most frequent entries, Options.Top at most; numbers count all.
type Report struct {
	Data        string `json:"data"`
	Fingerprint string `json:"fingerprint"`
	Against     string `json:"against,omitempty"`

	Rows       Rows       `json:"rows"`
	Splits     []Count    `json:"splits,omitempty"`
	Captions   Captions   `json:"captions"`
	Pictures   *Pictures  `json:"pictures,omitempty"` // nil: they were not read
	Duplicates Duplicates `json:"duplicates"`
	Leaks      []Leaks    `json:"leaks,omitempty"` // for each two parts
	Groups     []Sizes    `json:"groups,omitempty"`
	Hosts      *Hosts     `json:"hosts,omitempty"`
	Downloads  *Downloads `json:"downloads,omitempty"`

	Limits Limits `json:"limits"`
}

// Limits are the options that the numbers depend on.
type Limits struct {
	Distance int `json:"distance"` // bits
	Similar  int `json:"similar"`  // percent
	Top      int `json:"top"`
}

// Rows are counts of rows.
type Rows struct {
	Rows            int `json:"rows"`
	IDs             int `json:"distinct_ids"`
	WithoutCaption  int `json:"without_caption"`
	SeveralCaptions int `json:"several_captions"` // more than one
	WithoutURL      int `json:"without_url"`
	Quoted          int `json:"quoted"` // rows whose captions stood in quotes
}

// Count is how often something occurs.
type Count struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// Row is a row that is an example of something.
type Row struct {
	Index   int    `json:"index"`             // in its set, from 0
	Against bool   `json:"against,omitempty"` // of the other set
	Row     string `json:"row"`               // file and line, or member
	ID      string `json:"id"`
	Caption string `json:"caption,omitempty"`
	URL     string `json:"url,omitempty"`
}

// Inspect looks at all rows of ds.
func Inspect(ctx context.Context, ds dataloader.Dataset, o Options) (*Report, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.Distance, o.Similar, o.Top = cmp.Or(o.Distance, DefaultDistance), cmp.Or(o.Similar, DefaultSimilar), cmp.Or(o.Top, DefaultTop)
	in := &inspector{Options: o, sets: []dataloader.Dataset{ds}}
	r := &Report{Data: ds.Name(), Fingerprint: ds.Fingerprint(), Limits: Limits{max(o.Distance, 0), o.Similar, o.Top}}
	if o.Against != nil {
		in.sets = append(in.sets, o.Against)
		r.Against = o.Against.Name()
	}
	if err := in.load(ctx); err != nil {
		return nil, err
	}
	r.Rows = in.countRows()
	r.Splits = in.top(in.tally(func(it *dataloader.Item) string { return it.Split }), 0)
	r.Groups = in.groupSizes()
	r.Hosts = in.hosts()
	r.Downloads = in.downloads()
	r.Captions = in.captionStatistics()
	near, complete, err := in.nearCaptions(ctx)
	if err != nil {
		return nil, err
	}
	var files []picture
	if !o.NoPictures {
		if files, err = in.readPictures(ctx); err != nil {
			return nil, err
		}
		r.Pictures = in.pictureStatistics(files)
	}
	content := in.contents(files)
	r.Duplicates = in.duplicates(content, near, complete)
	r.Leaks = in.leaks(content, near, complete)
	return r, ctx.Err()
}

// inspector holds what is known of the rows of one set, and of the other one behind them.
type inspector struct {
	Options
	sets     []dataloader.Dataset
	rows     []rowOf
	captions []distinct
}

// rowOf is a row of one of the sets. Rows have one numbering over both.
type rowOf struct {
	set, index int
	captions   []int32 // of inspector.captions
}

// distinct is a caption, with its rows.
type distinct struct {
	text string
	rows []int32
	set  int32 // of words, that other captions may have too: see nearCaptions; -1: it has none
}

// load numbers rows and captions.
func (in *inspector) load(ctx context.Context) error {
	known := make(map[string]int32)
	for set, ds := range in.sets {
		for i := range ds.Len() {
			if i%4096 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			it := ds.Item(i)
			row := rowOf{set: set, index: i}
			list := it.Captions
			if len(list) == 0 && it.Caption != "" {
				list = []string{it.Caption}
			}
			for _, text := range list {
				k, ok := known[text]
				if !ok {
					k = int32(len(in.captions))
					known[text] = k
					in.captions = append(in.captions, distinct{text: text})
				}
				row.captions = append(row.captions, k)
				in.captions[k].rows = append(in.captions[k].rows, int32(len(in.rows)))
			}
			in.rows = append(in.rows, row)
		}
	}
	return nil
}

func (in *inspector) item(row int) dataloader.Item {
	r := &in.rows[row]
	return in.sets[r.set].Item(r.index)
}

// own is the number of rows of the set that is inspected; those of the other one follow.
func (in *inspector) own() int { return in.sets[0].Len() }

// example is a row as reports show it.
func (in *inspector) example(row int) Row {
	it := in.item(row)
	r := Row{Index: in.rows[row].index, Against: in.rows[row].set > 0, Row: it.Row(), ID: it.ID, Caption: it.Caption, URL: it.URL}
	if r.Row == "" {
		r.Row = fmt.Sprintf("item %d", r.Index)
	}
	return r
}

func (in *inspector) countRows() Rows {
	n := Rows{Rows: in.own()}
	ids := make(map[string]bool, n.Rows)
	for row := range n.Rows {
		it := in.item(row)
		ids[it.ID] = true
		switch len(in.rows[row].captions) {
		case 0:
			n.WithoutCaption++
		case 1:
		default:
			n.SeveralCaptions++
		}
		if it.URL == "" {
			n.WithoutURL++
		}
		if it.Quoted {
			n.Quoted++
		}
	}
	n.IDs = len(ids)
	return n
}

// tally counts the rows by a name; those without one do not count.
func (in *inspector) tally(name func(*dataloader.Item) string) map[string]int {
	n := make(map[string]int)
	for row := range in.own() {
		it := in.item(row)
		if s := name(&it); s != "" {
			n[s]++
		}
	}
	return n
}

// top returns the most frequent names, at most limit of them; 0: all.
func (in *inspector) top(n map[string]int, limit int) []Count {
	var list []Count
	for name, count := range n {
		list = append(list, Count{name, count})
	}
	slices.SortFunc(list, func(a, b Count) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name)) })
	if limit > 0 && len(list) > limit {
		list = list[:limit]
	}
	return list
}
