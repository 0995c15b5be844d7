package retrieval

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
)

// RankingsFile is the name of the file that holds the [Rankings] of a report, in its folder.
const RankingsFile = "rankings.jsonl.gz"

// Bounds of [Rankings]. They are what a file of them may make a reader hold.
const (
	maxRankTop     = 1000    // hits of a query by a method
	maxRankMethods = 100     // methods
	maxRankItems   = 1 << 22 // pictures of the gallery
	maxRankHits    = 1 << 25 // hits in all, and queries × methods
)

// Rankings are the first pictures that every method retrieves for every query, as [Evaluate] finds them: without the
// query itself, by descending score, equal scores by lower index. [ChanceKind] ranks nothing and is left out.
type Rankings struct {
	Data, Split string
	Positives   string // what makes a pair positive: "relation" or "caption"
	Top         int    // hits for each query and method at most
	Methods     []RankedMethod
	Items       []RankedItem // the gallery
	Queries     []RankedQuery

	// Source says where the gallery was opened from, in JSON, and Fingerprint is what its data set had then. Package
	// training sets and reads them; empty: not known.
	Source      json.RawMessage
	Fingerprint string
}

// RankedMethod is a method of [Rankings].
type RankedMethod struct {
	Name string
	Kind string // Trained or Baseline
}

// RankedItem is a picture of the gallery.
type RankedItem struct {
	ID       string
	Path     string // file of the picture, or the shard that holds it; "": generated
	Member   string // name of the picture inside of Path
	URL      string
	Caption  string
	Relation string
	Group    string // number of the seed group
	Profile  int    // -1: none
	HeldOut  bool   // the relation was never trained on
}

// RankedQuery is a query with its rankings.
type RankedQuery struct {
	Item int           // index in Rankings.Items
	Rows [][]RankedHit // by method, in the order of Rankings.Methods; rank 1 first
}

// RankedHit is one retrieved picture.
type RankedHit struct {
	Item  int     // index in Rankings.Items
	Score float64 // of float32 precision
	Mark  string  // Right, Wrong, Twin or Unjudged
}

// Validate returns an error that names what does not fit together or exceeds a bound.
func (r *Rankings) Validate() error {
	if err := r.checkHead(len(r.Items), len(r.Queries)); err != nil {
		return err
	}
	ids := make(map[string]int, len(r.Items))
	for i := range r.Items {
		id := r.Items[i].ID
		if id == "" {
			return fmt.Errorf("item %d has no id", i)
		}
		if j, ok := ids[id]; ok {
			return fmt.Errorf("items %d and %d have the id %q", j, i, id)
		}
		ids[id] = i
	}
	asked := make([]bool, len(r.Items))
	hits := 0
	for n := range r.Queries {
		q := &r.Queries[n]
		if err := r.checkQuery(q); err != nil {
			return fmt.Errorf("query %d: %w", n, err)
		}
		if asked[q.Item] {
			return fmt.Errorf("query %d: item %d was a query before", n, q.Item)
		}
		asked[q.Item] = true
		for _, row := range q.Rows {
			hits += len(row)
		}
		if hits > maxRankHits {
			return fmt.Errorf("more than %d hits", maxRankHits)
		}
	}
	return nil
}

// checkHead checks what comes before so many items and queries.
func (r *Rankings) checkHead(items, queries int) error {
	if r.Top < 1 || r.Top > maxRankTop {
		return fmt.Errorf("top is %d: want 1 to %d", r.Top, maxRankTop)
	}
	if len(r.Methods) == 0 {
		return errors.New("no methods")
	}
	if len(r.Methods) > maxRankMethods {
		return fmt.Errorf("%d methods: want at most %d", len(r.Methods), maxRankMethods)
	}
	if items < 0 || items > maxRankItems {
		return fmt.Errorf("%d items: want at most %d", items, maxRankItems)
	}
	if queries < 0 || queries > items {
		return fmt.Errorf("%d queries of %d items", queries, items)
	}
	if queries*len(r.Methods) > maxRankHits {
		return fmt.Errorf("%d queries by %d methods: want at most %d in all", queries, len(r.Methods), maxRankHits)
	}
	names := make(map[string]bool)
	for i, m := range r.Methods {
		if m.Name == "" {
			return fmt.Errorf("method %d has no name", i)
		}
		if names[m.Name] {
			return fmt.Errorf("two methods are called %q", m.Name)
		}
		names[m.Name] = true
		if m.Kind != Trained && m.Kind != Baseline {
			return fmt.Errorf("method %q: kind %q: want %q or %q", m.Name, m.Kind, Trained, Baseline)
		}
	}
	return nil
}

// checkQuery checks one query against items, methods and top.
func (r *Rankings) checkQuery(q *RankedQuery) error {
	if q.Item < 0 || q.Item >= len(r.Items) {
		return fmt.Errorf("item %d of %d", q.Item, len(r.Items))
	}
	if len(q.Rows) != len(r.Methods) {
		return fmt.Errorf("rankings of %d methods: want %d", len(q.Rows), len(r.Methods))
	}
	for m, row := range q.Rows {
		if len(row) > r.Top {
			return fmt.Errorf("method %q: %d hits: want at most %d", r.Methods[m].Name, len(row), r.Top)
		}
		for rank, h := range row {
			switch {
			case h.Item < 0 || h.Item >= len(r.Items):
				return fmt.Errorf("method %q, rank %d: item %d of %d", r.Methods[m].Name, rank+1, h.Item, len(r.Items))
			case h.Item == q.Item:
				return fmt.Errorf("method %q, rank %d: the query itself", r.Methods[m].Name, rank+1)
			case !(math.Abs(h.Score) <= math.MaxFloat32):
				return fmt.Errorf("method %q, rank %d: score %v: must be a finite float32", r.Methods[m].Name, rank+1, h.Score)
			case !slices.Contains(marks, h.Mark):
				return fmt.Errorf("method %q, rank %d: unknown mark %q", r.Methods[m].Name, rank+1, h.Mark)
			}
		}
	}
	return nil
}

var marks = []string{Right, Wrong, Twin, Unjudged}

// ranks collects the rankings of all methods while they are measured.
type ranks struct {
	*Rankings
	of []int // number in Methods of each method given; -1: left out
}

// newRanks makes room for the first n of every query, fewer where so many would exceed the bounds of a file. It returns
// nil where n < 1, where there is nothing but chance, and beyond what one query a row could hold.
func (e *evaluation) newRanks(methods []Method, n int) *ranks {
	if n < 1 {
		return nil
	}
	r := &ranks{Rankings: &Rankings{Data: e.set.Name, Split: e.set.Split, Positives: e.truth.by}}
	for _, m := range methods {
		at := -1
		if m.Kind != ChanceKind {
			at = len(r.Methods)
			r.Methods = append(r.Methods, RankedMethod{m.Name, m.Kind})
		}
		r.of = append(r.of, at)
	}
	rows := len(e.queries) * len(r.Methods)
	if rows == 0 || rows > maxRankHits || len(r.Methods) > maxRankMethods || len(e.set.Items) > maxRankItems {
		return nil
	}
	r.Top = min(n, maxRankTop, maxRankHits/rows)
	for _, it := range e.set.Items {
		r.Items = append(r.Items, RankedItem{ID: it.ID, Path: it.Path, Member: it.Member, URL: it.URL, Caption: it.Caption,
			Relation: it.Relation, Group: it.Group, Profile: it.Profile, HeldOut: it.HeldOut})
	}
	r.Queries = make([]RankedQuery, len(e.queries))
	all := make([][]RankedHit, rows)
	for j, q := range e.queries {
		r.Queries[j] = RankedQuery{Item: q, Rows: all[j*len(r.Methods) : (j+1)*len(r.Methods) : (j+1)*len(r.Methods)]}
	}
	return r
}

// keep ranks the gallery for query j by one method's scores. Workers have queries of their own, and do not meet.
func (e *evaluation) keep(method, j int, scores []float32) {
	if e.ranks == nil || e.ranks.of[method] < 0 {
		return
	}
	q := e.queries[j]
	found := top(scores, e.ranks.Top, q)
	row := make([]RankedHit, len(found))
	for i, n := range found {
		row[i] = RankedHit{Item: n.Index, Score: float64(n.Score), Mark: e.mark(q, n.Index)}
	}
	e.ranks.Queries[j].Rows[e.ranks.of[method]] = row
}

// mark says what picture i is to query q.
func (e *evaluation) mark(q, i int) string {
	profile := e.set.Items[i].Profile
	switch g := e.truth.group[q]; {
	case g >= 0 && g == e.truth.group[i]:
		return Right
	case profile >= 0 && profile == e.set.Items[q].Profile:
		return Twin
	case len(e.truth.positives(q)) < 2:
		return Unjudged
	}
	return Wrong
}
