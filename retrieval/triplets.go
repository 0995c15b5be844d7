package retrieval

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode"
)

// Margins of the attribute overlap that sort triplets; see [Evaluate].
const (
	overlapApart = 0.15 // at least so much between the two candidates of an aligned (or conflict) triplet
	overlapLevel = 0.03 // at most so much between those of a control triplet
)

// Kinds of triplets, as indices.
const (
	conflict = iota
	aligned
	control
	tripletKinds
)

var tripletNames = [tripletKinds]string{"conflict", "aligned", "control"}

// triplet is a positive and a negative of a query.
type triplet struct{ positive, negative int32 }

// triplets are those of one query, by kind. exact[conflict] is said by positives and twins instead.
type triplets struct {
	drawn     [tripletKinds][]triplet
	positives []int // of other profiles, for the exact conflict accuracy
	twins     []int // nil: conflict triplets are drawn
}

// overlaps computes the attribute overlap of pictures: the Jaccard index of the word sets of their literal captions,
//
//	|words(a) ∩ words(b)| / |words(a) ∪ words(b)|
//
// Words are runs of letters and digits, lower-cased; those of more than half of the captions ("on", "background") say
// nothing and are left out.
type overlaps struct {
	words    [][]int32 // of each gallery picture, distinct
	postings [][]int32 // gallery pictures of each word
}

// newOverlaps returns nil if no picture has a literal caption.
func newOverlaps(s *Set) *overlaps {
	o := &overlaps{words: make([][]int32, len(s.Items))}
	ids := make(map[string]int32)
	for i, it := range s.Items {
		seen := make(map[int32]bool)
		for _, w := range strings.FieldsFunc(strings.ToLower(it.Literal), func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsDigit(r)
		}) {
			id, ok := ids[w]
			if !ok {
				id = int32(len(o.postings))
				ids[w] = id
				o.postings = append(o.postings, nil)
			}
			if !seen[id] {
				seen[id] = true
				o.words[i] = append(o.words[i], id)
				o.postings[id] = append(o.postings[id], int32(i))
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	common := func(w int32) bool { return 2*len(o.postings[w]) > len(s.Items) }
	for i := range o.words {
		o.words[i] = slices.DeleteFunc(o.words[i], common)
	}
	return o
}

// with writes the overlap of picture q with every gallery picture to dst, 0 where one has no words.
func (o *overlaps) with(q int, dst []float32) {
	clear(dst)
	for _, w := range o.words[q] {
		for _, i := range o.postings[w] {
			dst[i]++
		}
	}
	for i, common := range dst {
		if common > 0 {
			dst[i] = common / (float32(len(o.words[q])+len(o.words[i])) - common)
		}
	}
}

// drawTriplets draws at most n triplets of each kind for every query. The draw of a query depends on seed and on its
// index alone.
func drawTriplets(ctx context.Context, t *truth, o *overlaps, queries []int, n int, seed uint64, workers int) ([]triplets, error) {
	list := make([]triplets, len(queries))
	gallery := len(t.set.Items)
	buffers := make([][]float32, workers)
	err := parallel(ctx, len(queries), workers, func(worker, j int) error {
		q := queries[j]
		tr := &list[j]
		var positives []int
		for _, i := range t.positives(q) {
			if i != q && (t.set.Items[i].Profile < 0 || t.set.Items[i].Profile != t.set.Items[q].Profile) {
				positives = append(positives, i)
			}
		}
		if len(positives) == 0 || len(t.positives(q)) == gallery {
			return nil
		}
		tr.positives, tr.twins = positives, t.twins(q)
		if o == nil || n == 0 {
			return nil
		}
		if buffers[worker] == nil {
			buffers[worker] = make([]float32, gallery)
		}
		overlap := buffers[worker]
		o.with(q, overlap)
		rng := rand.New(rand.NewPCG(seed, uint64(q)))
		kinds := []int{aligned, control}
		if tr.twins == nil && t.set.Items[q].Profile < 0 {
			kinds = append(kinds, conflict)
		}
		for tries := 0; tries < 40*n && len(kinds) > 0; tries++ {
			p, x := positives[rng.IntN(len(positives))], rng.IntN(gallery)
			if t.group[x] == t.group[q] || x == q || len(o.words[p]) == 0 || len(o.words[x]) == 0 {
				continue
			}
			d := overlap[p] - overlap[x]
			for at, kind := range kinds {
				ok := false
				switch kind {
				case conflict:
					ok = d <= -overlapApart
				case aligned:
					ok = d >= overlapApart
				case control:
					ok = d <= overlapLevel && d >= -overlapLevel
				}
				if !ok {
					continue
				}
				tr.drawn[kind] = append(tr.drawn[kind], triplet{int32(p), int32(x)})
				if len(tr.drawn[kind]) == n {
					kinds = append(kinds[:at], kinds[at+1:]...)
				}
				break
			}
		}
		return nil
	})
	return list, err
}
