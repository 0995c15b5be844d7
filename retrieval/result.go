package retrieval

import (
	"sort"
	"strconv"
	"strings"

	"relsim/metrics"
)

// Result is what [Evaluate] measures; marshalled it is the file metrics.json and the output of `eval --json`.
// Whatever does not apply to a data set (no profiles, no captions, no relations kept from training) is absent, never
// zero.
type Result struct {
	Data    string `json:"data"`
	Split   string `json:"split"`
	Queries int    `json:"queries"` // pictures used as queries, of seen and held-out relations
	Gallery int    `json:"gallery"`
	Seed    uint64 `json:"seed"`

	// Methods are scored on the queries whose relation was trained on, in the full gallery; HeldOut on the queries
	// whose relation was never trained on, in the same gallery. Both lists have the order of the methods given.
	Methods []MethodResult `json:"methods"`
	HeldOut []MethodResult `json:"held_out_relations,omitempty"`

	SeenQueries    int          `json:"seen_queries"`
	HeldOutQueries int          `json:"held_out_queries"`
	Captions       int          `json:"captions,omitempty"`    // distinct captions of the seen relations
	Positives      string       `json:"positives"`             // what makes a pair positive: "relation" or "caption"
	K              []int        `json:"k"`                     // the k of recall@k, ascending
	Resamples      int          `json:"resamples"`             // of every interval
	Clusters       string       `json:"clusters"`              // what is resampled: "profile" or "query"
	Differences    []Difference `json:"differences,omitempty"` // first method minus each other, on the seen queries
	Space          *Space       `json:"similarity_space,omitempty"`
	Examples       []Example    `json:"examples,omitempty"`

	// Rankings are kept in a file of their own; nil: none were asked for.
	Rankings *Rankings `json:"-"`
}

// Metrics are estimates by name. The names, in image_to_image:
//
//	recall@k     share of queries with a positive among the first k (R@k of the retrieval literature; hit@k)
//	map          mean average precision
//	ndcg@10      normalised discounted cumulative gain of the first ten
//	mrr          mean reciprocal rank of the first positive
//	median_rank  median over queries of the rank of the first positive
//	twin@1       share of queries whose nearest picture is an attribute twin
//
// in triplets: conflict, aligned, control (see [Evaluate]); in image_to_caption and caption_to_image: recall@k, map,
// mrr and median_rank.
type Metrics map[string]metrics.Interval

// Recalls returns the k of every recall@k present, ascending, with their estimates.
func (m Metrics) Recalls() (k []int, recall []metrics.Interval) {
	for name := range m {
		if s, ok := strings.CutPrefix(name, "recall@"); ok {
			if n, err := strconv.Atoi(s); err == nil {
				k = append(k, n)
			}
		}
	}
	sort.Ints(k)
	for _, n := range k {
		recall = append(recall, m["recall@"+strconv.Itoa(n)])
	}
	return k, recall
}

// MethodResult is one method on one group of queries.
type MethodResult struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"` // Trained, Baseline or ChanceKind
	About   *About `json:"about,omitempty"`
	Queries int    `json:"queries"`

	ImageToImage   Metrics `json:"image_to_image"`
	Triplets       Metrics `json:"triplets,omitempty"`
	ImageToCaption Metrics `json:"image_to_caption,omitempty"`
	CaptionToImage Metrics `json:"caption_to_image,omitempty"`

	// Families are the image-to-image figures by relation.
	Families map[string]Family `json:"families,omitempty"`

	// NearMiss has one entry for each relation of this group that has near misses, in the order of the relations.
	NearMiss []NearMiss `json:"near_miss,omitempty"`
}

// About says what a method is that was not there by itself.
type About struct {
	Kind string `json:"kind"`           // such as "clip" or "embeddings"
	Path string `json:"path,omitempty"` // of its files
	How  string `json:"how"`            // how it compares pictures
}

// Family is one relation's share of image_to_image.
type Family struct {
	Queries   int      `json:"queries"`
	Recall1   float64  `json:"recall@1"`
	Recall10  float64  `json:"recall@10"`
	MAP       float64  `json:"map"`
	Twin1     *float64 `json:"twin@1,omitempty"`
	Conflict  *float64 `json:"conflict,omitempty"`
	Intervals Metrics  `json:"intervals"` // the same figures with intervals
}

// NearMiss says whether a method understands a relation or only what usually comes with it. A near miss is a picture
// with the relation's predicate removed and all else kept.
type NearMiss struct {
	Relation string `json:"relation"`
	HeldOut  bool   `json:"held_out"`
	True     int    `json:"true"`        // true pictures looked at
	Near     int    `json:"near_misses"` // near misses looked at

	// NamedBy says how a picture gets a name: by the nearest "caption", by the nearest "centroid" of a relation's
	// pictures, or by the relation of the nearest "neighbours" where a method has no vectors.
	NamedBy   string           `json:"named_by"`
	TrueNamed metrics.Interval `json:"true_named"` // share of the true pictures named so
	NearNamed metrics.Interval `json:"near_named"` // share of the near misses still named so
	AUC       metrics.Interval `json:"auc"`        // of true against near miss, by similarity to the relation's pictures

	// Verdict is one of Understood, Shortcut, Blurred and Unlearned; see [NearMiss.Judge].
	Verdict string `json:"verdict"`
	Called  []Name `json:"near_called,omitempty"` // what the near misses are called, most frequent first
}

// Name is a relation and how often it was named.
type Name struct {
	Relation string `json:"relation"`
	Count    int    `json:"count"`
}

// Verdicts of [NearMiss.Judge]. Only Understood counts as learned.
const (
	Understood = "understood" // found, and told from its near misses
	Shortcut   = "shortcut"   // found, but at least half of its near misses are still named so
	Blurred    = "blurred"    // found, and near misses get other names, but similarity hardly orders them (AUC < 0.8)
	Unlearned  = "unlearned"  // fewer than half of the true pictures are named so
)

// Judge applies the rule by which a relation counts as understood: at least half of its true pictures are named so,
// fewer than half of its near misses are, and a true picture is more similar to the relation's pictures than a near
// miss is with probability at least 0.8 (AUC). A relation that only looks learned is a Shortcut or Blurred.
func (n NearMiss) Judge() string {
	switch {
	case n.TrueNamed.Mean < 0.5:
		return Unlearned
	case n.NearNamed.Mean >= 0.5:
		return Shortcut
	case n.AUC.Mean < 0.8:
		return Blurred
	}
	return Understood
}

// Difference is a paired comparison of two methods on the same queries: Method minus Against, with the interval of the
// difference. An interval that excludes 0 is a difference at the 5 % level.
type Difference struct {
	Method       string  `json:"method"`
	Against      string  `json:"against"`
	ImageToImage Metrics `json:"image_to_image"`
	Triplets     Metrics `json:"triplets,omitempty"`
}

// Space is a sample of pairs of pictures in the plane of attribute similarity and relational similarity
// (arXiv:2512.07833, figure 7).
type Space struct {
	Attribute  string  `json:"attribute"`  // the measure of Point.Attribute: a method's name, or "literal captions"
	Relational string  `json:"relational"` // the method of Point.Relational
	Points     []Point `json:"points"`
}

// Labels of a [Point] and marks of a [Hit].
const (
	SameTwin     = "twin"     // same attributes (profile), other relation
	SameRelation = "relation" // same relation, other attributes
	Other        = "other"    // neither
	Right        = "right"    // a positive of the query
	Wrong        = "wrong"    // neither positive nor twin
	Twin         = "twin"     // an attribute twin of the query that is not a positive
	Unjudged     = "unjudged" // the query has no positive: nothing could be right
)

// Point is one pair of pictures.
type Point struct {
	A          string  `json:"a"`
	B          string  `json:"b"`
	Label      string  `json:"label"` // SameTwin, SameRelation or Other
	Attribute  float64 `json:"attribute"`
	Relational float64 `json:"relational"`
}

// Example is one query with the first pictures that each method retrieves.
type Example struct {
	Query    string       `json:"query"` // id
	Index    int          `json:"index"` // in the gallery
	Relation string       `json:"relation,omitempty"`
	Caption  string       `json:"caption,omitempty"`
	Why      string       `json:"why"` // "drawn" at random, "held out" relation drawn at random, or a "failure" of the first method
	Rows     []ExampleRow `json:"rows"`
}

// ExampleRow is the ranking of one method.
type ExampleRow struct {
	Method string `json:"method"`
	Hits   []Hit  `json:"hits"` // rank 1 first
}

// Hit is one retrieved picture.
type Hit struct {
	ID       string  `json:"id"`
	Index    int     `json:"index"`
	Relation string  `json:"relation,omitempty"`
	Score    float64 `json:"score"`
	Mark     string  `json:"mark"` // Right, Wrong, Twin or Unjudged
}
