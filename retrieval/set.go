package retrieval

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"relsim/baseline"
	"relsim/dataloader"
)

// Set is what methods are evaluated on: one gallery of pictures, each of which may be a query with itself left out, and
// near misses, which are only ever named. The pictures of the set are numbered gallery first, near misses after:
// measures and vectors cover Len() pictures in that order.
//
// A positive of a query is a picture of the same Relation; where no item has a relation, one of the same Caption, which
// is the first where there are several: the others are captions of these pictures, too. An attribute twin is a picture of the same Profile that is not a positive; Profile -1 is no profile.
type Set struct {
	Name     string            // of the data, for the result
	Split    string            // of the gallery, for the result
	Items    []dataloader.Item // the gallery
	NearMiss []dataloader.Item // their Relation is the one whose predicate was removed
	// Image returns picture i of Len(). It may be nil if no method needs pixels. It is called from several goroutines.
	Image func(ctx context.Context, i int) (*dataloader.Image, error)
}

// NewSet makes a Set of two data sets; nearMiss may be nil. A picture whose ID was there before (data with several
// captions for one picture) is left out, because it would be its own nearest neighbour.
func NewSet(name, split string, gallery, nearMiss dataloader.Dataset) *Set {
	s := &Set{Name: name, Split: split}
	seen := make(map[string]bool)
	add := func(ds dataloader.Dataset) (items []dataloader.Item, at []int) {
		for i := range ds.Len() {
			if it := ds.Item(i); !seen[it.ID] {
				seen[it.ID] = true
				items = append(items, it)
				at = append(at, i)
			}
		}
		return items, at
	}
	var inGallery, inNearMiss []int
	s.Items, inGallery = add(gallery)
	if nearMiss != nil {
		s.NearMiss, inNearMiss = add(nearMiss)
	}
	s.Image = func(ctx context.Context, i int) (*dataloader.Image, error) {
		if i < len(inGallery) {
			return gallery.Image(ctx, inGallery[i])
		}
		return nearMiss.Image(ctx, inNearMiss[i-len(inGallery)])
	}
	return s
}

// Len returns the number of pictures, gallery and near misses.
func (s *Set) Len() int { return len(s.Items) + len(s.NearMiss) }

// Item returns the item of picture i, gallery first, near misses after.
func (s *Set) Item(i int) dataloader.Item {
	if i < len(s.Items) {
		return s.Items[i]
	}
	return s.NearMiss[i-len(s.Items)]
}

// Caption is one distinct caption of the gallery. A caption that several relations share belongs to the one it occurs
// with first.
type Caption struct {
	Text     string
	Relation string
	HeldOut  bool

	first string // caption of the picture that it occurs with first
}

// Captions returns the distinct captions of the gallery in order of first appearance, all of a picture that has several.
// [Text].Captions has one vector for each.
func (s *Set) Captions() []Caption {
	var list []Caption
	seen := make(map[string]bool)
	for _, it := range s.Items {
		texts := it.Captions
		if len(texts) == 0 {
			texts = []string{it.Caption}
		}
		for _, text := range texts {
			if text == "" || seen[text] {
				continue
			}
			seen[text] = true
			list = append(list, Caption{Text: text, Relation: it.Relation, HeldOut: it.HeldOut, first: it.Caption})
		}
	}
	return list
}

// Kinds of a [Method].
const (
	Trained    = "trained"
	Baseline   = "baseline"
	ChanceKind = "chance"
)

// Method is one way to compare pictures, and pictures with captions.
type Method struct {
	Name   string
	Kind   string           // Trained, Baseline or ChanceKind
	Images baseline.Measure // similarity of pictures
	Text   *Text            // nil: the method knows no captions

	// ByCaption says that a query is compared by its caption. Near misses, whose caption does not hold, are then left out.
	ByCaption bool
	// About says what the method is; nil: the name says it.
	About *About
}

// Text holds the vectors of a two-tower model, row-major, L2-normalised: similarity is the dot product.
type Text struct {
	Dim      int
	Pictures []float32 // (Set.Len(), Dim)
	Captions []float32 // (len(Set.Captions()), Dim)
}

// Embedded returns the method of a two-tower model with these vectors: pictures (Set.Len(), dim), captions
// (len(Set.Captions()), dim) or nil for a model without a text tower.
func Embedded(name, kind string, pictures, captions []float32, dim int) Method {
	m := Method{Name: name, Kind: kind, Images: baseline.Embeddings(name, pictures, len(pictures)/dim, dim)}
	if captions != nil {
		m.Text = &Text{Dim: dim, Pictures: pictures, Captions: captions}
	}
	return m
}

// Chance returns the method that gives every pair one score. Since ties count as the mean over the tied orders, its
// figures are the exact expectation of a random ranking, such as recall@1 = positives/(gallery-1).
func Chance(s *Set) Method {
	return Method{
		Name:   "chance",
		Kind:   ChanceKind,
		Images: baseline.Chance(),
		Text:   &Text{Dim: 1, Pictures: make([]float32, s.Len()), Captions: make([]float32, len(s.Captions()))},
	}
}

// Config says how to evaluate.
type Config struct {
	Seed      uint64 // of the queries drawn, the intervals, the triplets and the samples shown
	Queries   int    // at most so many queries, drawn by Seed; 0: every picture of the gallery
	K         []int  // of recall@k; 1, 5 and 10 are always there
	Resamples int    // of the bootstrap
	Triplets  int    // aligned and control triplets drawn for each query, each kind
	Points    int    // pairs of each label in the similarity space; 0: none
	Examples  int    // example queries; 0: none
	Top       int    // pictures shown for each example
	Rankings  int    // first pictures of every query that Result.Rankings keeps; 0: none
	Workers   int    // goroutines; the processors that Go may use by default
	Side      int    // pictures are cropped and shrunk to Side×Side for measures of pixels
	// Progress, if not nil, is told the work done, from 0 to 1. It is called from one goroutine at a time.
	Progress func(done float64)
}

// Default returns the configuration of the reports.
func Default() Config {
	return Config{
		Seed:      1,
		K:         []int{1, 2, 3, 5, 10, 20, 50, 100},
		Resamples: 1000,
		Triplets:  64,
		Points:    300,
		Examples:  8,
		Top:       6,
		Rankings:  10,
		Workers:   runtime.GOMAXPROCS(0),
		Side:      64,
	}
}

// Validate returns an error that names the first field that makes no sense.
func (c Config) Validate() error {
	for _, f := range []struct {
		name       string
		value, min int
	}{
		{"Queries", c.Queries, 0}, {"Resamples", c.Resamples, 1}, {"Triplets", c.Triplets, 0}, {"Points", c.Points, 0},
		{"Examples", c.Examples, 0}, {"Top", c.Top, 1}, {"Rankings", c.Rankings, 0}, {"Workers", c.Workers, 1}, {"Side", c.Side, 16},
	} {
		if f.value < f.min {
			return fmt.Errorf("retrieval: config: %s is %d: must be at least %d", f.name, f.value, f.min)
		}
	}
	for _, k := range c.K {
		if k < 1 {
			return fmt.Errorf("retrieval: config: K has %d: must be at least 1", k)
		}
	}
	return nil
}

// check returns an error if the set or a method does not fit.
func (s *Set) check(methods []Method) error {
	if len(s.Items) < 2 {
		return fmt.Errorf("retrieval: evaluate: a gallery of %d pictures: at least 2 are needed", len(s.Items))
	}
	if len(methods) == 0 {
		return errors.New("retrieval: evaluate: no methods")
	}
	ids := make(map[string]int, len(s.Items))
	for i, it := range s.Items {
		if j, ok := ids[it.ID]; ok {
			return fmt.Errorf("retrieval: evaluate: pictures %d and %d have the id %q", j, i, it.ID)
		}
		ids[it.ID] = i
	}
	captions := len(s.Captions())
	var names []string
	for _, m := range methods {
		if slices.Contains(names, m.Name) {
			return fmt.Errorf("retrieval: evaluate: two methods are called %q", m.Name)
		}
		names = append(names, m.Name)
		if m.Images == nil {
			return fmt.Errorf("retrieval: evaluate: method %q has no measure", m.Name)
		}
		if !slices.Contains([]string{Trained, Baseline, ChanceKind}, m.Kind) {
			return fmt.Errorf("retrieval: evaluate: method %q: unknown kind %q", m.Name, m.Kind)
		}
		if t := m.Text; t != nil && (t.Dim < 1 || len(t.Pictures) != s.Len()*t.Dim || len(t.Captions) != captions*t.Dim) {
			return fmt.Errorf("retrieval: evaluate: method %q: %d picture and %d caption values of width %d for %d pictures and %d captions",
				m.Name, len(t.Pictures), len(t.Captions), t.Dim, s.Len(), captions)
		}
	}
	return nil
}
