package retrieval

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"relsim/baseline"
	"relsim/dataloader"
)

// table is a measure that reads its scores from a matrix.
type table struct {
	name   string
	scores [][]float32
}

func (m *table) Name() string                                             { return m.name }
func (m *table) Prepare(ctx context.Context, _ []*dataloader.Image) error { return ctx.Err() }
func (m *table) Scores(q int, dst []float32) error                        { copy(dst, m.scores[q]); return nil }

// grid makes a set of relations × profiles pictures; picture r·profiles+p has relation r and profile p. The last heldOut
// relations are never trained on. Each relation has two captions, and near misses of its first `near` profiles.
func grid(relations, profiles, heldOut, near int) *Set {
	s := &Set{Name: "grid", Split: "test"}
	for r := range relations {
		for p := range profiles {
			s.Items = append(s.Items, dataloader.Item{
				ID: fmt.Sprintf("r%dp%d", r, p), Relation: fmt.Sprintf("rel%d", r), Profile: p, Family: r,
				Caption: fmt.Sprintf("caption %d of %d", p%2, r),
				Literal: fmt.Sprintf("color%d shape%d texture%d", p%4, p%3, p%5), HeldOut: r >= relations-heldOut,
			})
		}
	}
	for r := range relations {
		for p := range near {
			s.NearMiss = append(s.NearMiss, dataloader.Item{ID: fmt.Sprintf("near-r%dp%d", r, p), Relation: fmt.Sprintf("rel%d", r),
				Profile: p, Family: r, HeldOut: r >= relations-heldOut})
		}
	}
	// Pixels: red by relation, green by profile, and a little of the index, all plain.
	s.Image = func(ctx context.Context, i int) (*dataloader.Image, error) {
		it := s.Item(i)
		im := &dataloader.Image{Width: 20, Height: 18, Pix: make([]byte, 3*20*18)}
		for j := range 20 * 18 {
			im.Pix[3*j], im.Pix[3*j+1], im.Pix[3*j+2] = byte(30*it.Family+j%20), byte(9*it.Profile), byte(i)
		}
		return im, ctx.Err()
	}
	return s
}

// oracle returns a two-tower method whose vectors are 1 at the relation: it makes no mistake. Near misses point to nothing.
func oracle(s *Set, name string) Method {
	relations := newTruth(s).groups
	dim := len(relations) + 1
	unit := func(relation string) []float32 {
		v := make([]float32, dim)
		at := slices.Index(relations, relation)
		if at < 0 {
			at = dim - 1
		}
		v[at] = 1
		return v
	}
	var pictures, captions []float32
	for i := range s.Len() {
		if i < len(s.Items) {
			pictures = append(pictures, unit(s.Items[i].Relation)...)
		} else {
			pictures = append(pictures, unit("")...)
		}
	}
	for _, c := range s.Captions() {
		captions = append(captions, unit(c.Relation)...)
	}
	return Embedded(name, Trained, pictures, captions, dim)
}

// random returns a two-tower method of random vectors.
func random(s *Set, name string, seed uint64) Method {
	const dim = 16
	rng := rand.New(rand.NewPCG(seed, 1))
	draw := func(n int) []float32 {
		v := make([]float32, n*dim)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		return v
	}
	return Embedded(name, Trained, draw(s.Len()), draw(len(s.Captions())), dim)
}

func quick() Config {
	c := Default()
	c.Resamples = 100
	return c
}

func evaluate(t *testing.T, s *Set, c Config, methods ...Method) *Result {
	t.Helper()
	r, err := Evaluate(context.Background(), s, methods, c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %.9g, want %.9g", what, got, want)
	}
}

// TestByHand works one small set out on paper. Six pictures, relations a (0, 1, 2) and b (3, 4, 5), profiles 0 1 2 0 1 2.
//
//	query 0: order 3 1 4 2 5      positives 1, 2 at ranks 2 and 4; AP (1/2 + 2/4)/2 = 1/2; its twin 3 comes first
//	query 1: order 0, 2 = 4, 3, 5 positives 0 at 1, and 2 at 2½: AP (1 + (2/2 + 2/3)/2)/2 = 11/12; twin 4
//	query 2: all equal            5 candidates, 2 positives: chance; twin 5 first in 1/5
//	query 3: order 4 5 0 1 2      AP 1; twin 0
//	query 4: order 0 1 2 3 5      positives 3, 5 at 4 and 5: AP (1/4 + 2/5)/2; twin 1 after 0
//	query 5: order 2 = 3, 4 0 1   AP: 3 at 1 or 2, 4 at 3: ((1/1 + 1/2)/2 + 2/3)/2; twin 2 first in 1/2
func TestByHand(t *testing.T) {
	s := grid(2, 3, 0, 0)
	m := &table{"by hand", [][]float32{
		{99, 4, 2, 5, 3, 1},
		{5, 99, 4, 3, 4, 2},
		{7, 7, 7, 7, 7, 7},
		{3, 2, 1, 0, 5, 4}, // the self score is low on purpose: it must not matter
		{9, 8, 7, 6, 99, 5},
		{2, 1, 5, 5, 4, 99},
	}}
	c := quick()
	r := evaluate(t, s, c, Method{Name: m.name, Kind: Baseline, Images: m})
	got := r.Methods[0]
	// Chance of 2 positives among 5: AP is the mean over the 10 pairs of places.
	var chance float64
	for i := 1; i <= 5; i++ {
		for j := i + 1; j <= 5; j++ {
			chance += (1/float64(i) + 2/float64(j)) / 2 / 10
		}
	}
	i := got.ImageToImage
	near(t, "recall@1", i["recall@1"].Mean, (0+1+2.0/5+1+0+0.5)/6, 1e-12)
	near(t, "recall@2", i["recall@2"].Mean, (1+1+7.0/10+1+0+1)/6, 1e-12)
	near(t, "recall@5", i["recall@5"].Mean, 1, 1e-12)
	near(t, "map", i["map"].Mean, (1.0/2+11.0/12+chance+1+(1.0/4+2.0/5)/2+(0.75+2.0/3)/2)/6, 1e-12)
	near(t, "median_rank", i["median_rank"].Mean, (1.5+2)/2, 1e-12) // of 2 1 2 1 4 1½
	near(t, "mrr", i["mrr"].Mean, (0.5+1+(4.0/10+3.0/10/2+2.0/10/3+1.0/10/4)+1+0.25+0.75)/6, 1e-12)
	near(t, "twin@1", i["twin@1"].Mean, (1+0+0.2+0+0+0.5)/6, 1e-12)
	// Conflict: pairs (positive, twin) of each query: 0: 1<3 2<3; 1: 0>4 2=4; 2: = =; 3: 4>0 5>0; 4: 3<1 5<1; 5: 3=2 4<2.
	near(t, "conflict", got.Triplets["conflict"].Mean, (0+0.75+0.5+1+0+0.25)/6, 1e-12)
	if r.Queries != 6 || r.Gallery != 6 || r.SeenQueries != 6 || r.HeldOut != nil || r.Clusters != "profile" || r.Positives != "relation" {
		t.Errorf("result %+v", r)
	}
	a, b := got.Families["rel0"], got.Families["rel1"]
	near(t, "rel0", a.Recall1, (0+1+0.4)/3, 1e-12)
	near(t, "rel1", b.Recall1, 1.5/3, 1e-12)
	near(t, "rel1 twin@1", *b.Twin1, 0.5/3, 1e-12)
	if a.Queries != 3 || len(got.Families) != 2 {
		t.Errorf("families %+v", got.Families)
	}
	if got.ImageToCaption != nil || got.CaptionToImage != nil || got.NearMiss != nil {
		t.Errorf("a measure without captions and near misses has %+v", got)
	}
}

func TestPerfectMethod(t *testing.T) {
	s := grid(6, 20, 2, 5)
	r := evaluate(t, s, quick(), oracle(s, "oracle"), Chance(s))
	if r.SeenQueries != 80 || r.HeldOutQueries != 40 || r.Captions != 8 {
		t.Errorf("%d seen and %d held-out queries, %d captions", r.SeenQueries, r.HeldOutQueries, r.Captions)
	}
	for _, m := range []MethodResult{r.Methods[0], r.HeldOut[0]} {
		for name, want := range map[string]float64{"recall@1": 1, "recall@100": 1, "map": 1, "ndcg@10": 1, "mrr": 1, "median_rank": 1, "twin@1": 0} {
			// Equal scores: the first positive stands at the mean place of the first.
			near(t, name, m.ImageToImage[name].Mean, want, 1e-12)
			near(t, name+" low", m.ImageToImage[name].Low, want, 1e-12)
		}
		for _, name := range tripletNames {
			near(t, name, m.Triplets[name].Mean, 1, 1e-12)
		}
		near(t, "image to caption", m.ImageToCaption["recall@1"].Mean, 1, 1e-12)
		near(t, "caption to image", m.CaptionToImage["map"].Mean, 1, 1e-12)
		for _, n := range m.NearMiss {
			// Near misses that resemble nothing tie between the 4 seen relations, or between all 6.
			tied := 1.0 / 4
			if n.HeldOut {
				tied = 1.0 / 6
			}
			if n.Verdict != Understood || n.AUC.Mean != 1 || n.NearNamed.Mean != tied || len(n.Called) != 0 || n.TrueNamed.Mean != 1 || n.True != 20 || n.Near != 5 {
				t.Errorf("near misses %+v", n)
			}
			if want := map[bool]string{false: "caption", true: "centroid"}[n.HeldOut]; n.NamedBy != want {
				t.Errorf("%s is named by %s, want %s", n.Relation, n.NamedBy, want)
			}
		}
	}
	if len(r.Methods[0].NearMiss) != 4 || len(r.HeldOut[0].NearMiss) != 2 || r.Methods[0].NearMiss[0].Relation != "rel0" {
		t.Errorf("near misses %+v, held out %+v", r.Methods[0].NearMiss, r.HeldOut[0].NearMiss)
	}
	if d := r.Differences; len(d) != 1 || d[0].Method != "oracle" || d[0].Against != "chance" || d[0].ImageToImage["recall@1"].Low < 0.7 {
		t.Errorf("differences %+v", d)
	}
}

// TestChanceIsExact compares the row of chance with closed forms: 119 candidates, 19 positives; 8 captions, 2 positives.
func TestChanceIsExact(t *testing.T) {
	s := grid(6, 20, 2, 5)
	r := evaluate(t, s, quick(), Chance(s))
	for half, m := range []MethodResult{r.Methods[0], r.HeldOut[0]} {
		near(t, "recall@1", m.ImageToImage["recall@1"].Mean, 19.0/119, 1e-12)
		near(t, "median_rank", m.ImageToImage["median_rank"].Mean, 120.0/20, 1e-12)
		near(t, "twin@1", m.ImageToImage["twin@1"].Mean, 5.0/119, 1e-12)
		for _, name := range tripletNames {
			near(t, name, m.Triplets[name].Mean, 0.5, 1e-12)
		}
		near(t, "image to caption", m.ImageToCaption["recall@1"].Mean, []float64{2.0 / 8, 2.0 / 12}[half], 1e-12)
		near(t, "caption to image", m.CaptionToImage["recall@1"].Mean, 20.0/120, 1e-12)
		for _, n := range m.NearMiss {
			near(t, "auc", n.AUC.Mean, 0.5, 1e-12)
			if n.Verdict != Unlearned || len(n.Called) != 0 {
				t.Errorf("chance: %+v", n)
			}
		}
	}
}

// TestRandomVectorsAreChance: a method that knows nothing stays near the row of chance, and shuffled captions as well.
func TestRandomVectorsAreChance(t *testing.T) {
	s := grid(8, 40, 0, 0)
	m := oracle(s, "shuffled captions")
	rng := rand.New(rand.NewPCG(3, 3))
	shuffled := make([]float32, 0, len(m.Text.Captions))
	for _, at := range rng.Perm(len(s.Captions())) {
		shuffled = append(shuffled, m.Text.Captions[at*m.Text.Dim:(at+1)*m.Text.Dim]...)
	}
	m.Text.Captions = shuffled
	r := evaluate(t, s, quick(), random(s, "random", 4), m, Chance(s))
	chance := r.Methods[2].ImageToImage
	for name, x := range r.Methods[0].ImageToImage {
		if name != "median_rank" && math.Abs(x.Mean-chance[name].Mean) > 0.06 {
			t.Errorf("random vectors: %s %.3f, chance %.3f", name, x.Mean, chance[name].Mean)
		}
	}
	for name, x := range r.Methods[0].Triplets {
		if math.Abs(x.Mean-0.5) > 0.05 {
			t.Errorf("random vectors: %s %.3f", name, x.Mean)
		}
	}
	if x := r.Methods[1].ImageToCaption["recall@1"].Mean; x > 0.4 {
		t.Errorf("shuffled captions are found in %.3f", x)
	}
}

// TestLookAlikes: a method that sees only the profile has twins first and fails every conflict.
func TestLookAlikes(t *testing.T) {
	s := grid(6, 20, 2, 5)
	vectors := make([]float32, s.Len()*20)
	for i := range s.Len() {
		vectors[i*20+s.Item(i).Profile] = 1
	}
	r := evaluate(t, s, quick(), Embedded("appearance", Baseline, vectors, nil, 20))
	m := r.Methods[0]
	near(t, "twin@1", m.ImageToImage["twin@1"].Mean, 1, 0)
	near(t, "recall@1", m.ImageToImage["recall@1"].Mean, 0, 0)
	near(t, "conflict", m.Triplets["conflict"].Mean, 0, 0)
	if m.ImageToCaption != nil {
		t.Error("captions without a text tower")
	}
	if n := m.NearMiss[0]; n.NamedBy != "neighbours" {
		t.Errorf("named by %s", n.NamedBy)
	}
	if r.Space == nil || r.Space.Attribute != "literal captions" || r.Space.Relational != "appearance" {
		t.Fatalf("space %+v", r.Space)
	}
	counts := make(map[string]int)
	for _, p := range r.Space.Points {
		counts[p.Label]++
		if p.Label == SameTwin && (p.Attribute != 1 || p.Relational != 1) {
			t.Errorf("twins %+v", p)
		}
		if p.Label == SameRelation && p.Relational != 0 {
			t.Errorf("same relation %+v", p)
		}
		if strings.Split(p.A, "p")[0] == strings.Split(p.B, "p")[0] != (p.Label == SameRelation) {
			t.Errorf("label of %+v", p)
		}
	}
	if counts[SameTwin] != 300 || counts[SameRelation] != 300 || counts[Other] != 300 {
		t.Errorf("points %v", counts)
	}
}

// TestTripletsByOverlap: a method that scores by the overlap of the literal captions gets every aligned triplet right, and
// control triplets by little.
func TestTripletsByOverlap(t *testing.T) {
	s := grid(4, 30, 0, 0)
	rng := rand.New(rand.NewPCG(5, 5))
	word := func() int { return rng.IntN(6) }
	for i := range s.Items {
		s.Items[i].Literal = fmt.Sprintf("a%d b%d c%d d%d", word(), word(), word(), word())
	}
	o := newOverlaps(s)
	m := &table{name: "words"}
	for q := range s.Items {
		row := make([]float32, len(s.Items))
		o.with(q, row)
		m.scores = append(m.scores, row)
	}
	c := quick()
	r := evaluate(t, s, c, Method{Name: m.name, Kind: Baseline, Images: m})
	near(t, "aligned", r.Methods[0].Triplets["aligned"].Mean, 1, 0)
	near(t, "control", r.Methods[0].Triplets["control"].Mean, 0.5, 0.1)

	tr, err := drawTriplets(context.Background(), newTruth(s), o, []int{0, 7}, 5, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	for j, q := range []int{0, 7} {
		for kind, drawn := range tr[j].drawn {
			if kind != conflict && len(drawn) != 5 || kind == conflict && len(drawn) != 0 {
				t.Errorf("query %d: %d triplets of %s", q, len(drawn), tripletNames[kind])
			}
			for _, x := range drawn {
				p, n := s.Items[x.positive], s.Items[x.negative]
				if p.Relation != s.Items[q].Relation || int(x.positive) == q || n.Relation == s.Items[q].Relation {
					t.Errorf("query %d: triplet %s, %s", q, p.ID, n.ID)
				}
			}
		}
		if len(tr[j].positives) != 29 || len(tr[j].twins) != 3 {
			t.Errorf("query %d: %d positives and %d twins", q, len(tr[j].positives), len(tr[j].twins))
		}
	}
}

// TestSeenAndHeldOut: a method that is right on one half only shows it in that half, and in the difference of the seen one.
func TestSeenAndHeldOut(t *testing.T) {
	s := grid(4, 20, 2, 0)
	half := oracle(s, "half")
	for i, it := range s.Items {
		if it.HeldOut {
			clear(half.Text.Pictures[i*half.Text.Dim:][:half.Text.Dim])
		}
	}
	r := evaluate(t, s, quick(), half, Chance(s))
	seen, heldOut := r.Methods[0], r.HeldOut[0]
	near(t, "seen", seen.ImageToImage["recall@1"].Mean, 1, 0)
	if x := heldOut.ImageToImage["recall@1"].Mean; x > 0.3 {
		t.Errorf("held out: recall@1 %v", x)
	}
	near(t, "difference", r.Differences[0].ImageToImage["recall@1"].Mean, 1-19.0/79, 1e-12)
	if len(seen.Families) != 2 || len(heldOut.Families) != 2 || seen.Families["rel0"].Queries != 20 || heldOut.Families["rel3"].Queries != 20 {
		t.Errorf("families %v, %v", seen.Families, heldOut.Families)
	}
	if seen.Queries != 40 || heldOut.Queries != 40 {
		t.Errorf("%d and %d queries", seen.Queries, heldOut.Queries)
	}
}

// TestShortcut: a method that names near misses like true pictures understands nothing, whatever its recall.
func TestShortcut(t *testing.T) {
	s := grid(4, 20, 1, 10)
	m := oracle(s, "shortcut")
	for i := range s.NearMiss {
		v := m.Text.Pictures[(len(s.Items)+i)*m.Text.Dim:][:m.Text.Dim]
		clear(v)
		v[s.NearMiss[i].Family] = 1
	}
	r := evaluate(t, s, quick(), m)
	near(t, "recall@1", r.Methods[0].ImageToImage["recall@1"].Mean, 1, 0)
	for _, n := range append(r.Methods[0].NearMiss, r.HeldOut[0].NearMiss...) {
		if n.Verdict != Shortcut || n.NearNamed.Mean != 1 || n.AUC.Mean != 0.5 || !slices.Equal(n.Called, []Name{{n.Relation, 10}}) {
			t.Errorf("%+v", n)
		}
	}
	for _, tt := range []struct {
		true, near, auc float64
		want            string
	}{{0.9, 0.1, 0.9, Understood}, {0.4, 0, 1, Unlearned}, {0.9, 0.5, 1, Shortcut}, {0.9, 0.1, 0.79, Blurred}} {
		var n NearMiss
		n.TrueNamed.Mean, n.NearNamed.Mean, n.AUC.Mean = tt.true, tt.near, tt.auc
		if got := n.Judge(); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt, got, tt.want)
		}
	}
}

// TestOwnData: pictures with nothing but captions. Groups are captions, and what needs profiles, relations or literal
// captions is absent from the JSON.
func TestOwnData(t *testing.T) {
	s := &Set{Name: "mine", Split: "val"}
	for i := range 30 {
		s.Items = append(s.Items, dataloader.Item{ID: fmt.Sprint(i), Caption: fmt.Sprint("caption ", i/3), Family: -1, Profile: -1})
	}
	s.Items = append(s.Items, dataloader.Item{ID: "alone", Caption: "of its own", Family: -1, Profile: -1},
		dataloader.Item{ID: "bare", Family: -1, Profile: -1})
	r := evaluate(t, s, quick(), random(s, "model", 1), Chance(s))
	if r.Queries != 31 || r.Gallery != 32 || r.Positives != "caption" || r.Clusters != "query" || r.Captions != 11 {
		t.Errorf("result %+v", r)
	}
	near(t, "chance", r.Methods[1].ImageToImage["recall@1"].Mean, 2.0/31, 1e-12)
	near(t, "chance of captions", r.Methods[1].ImageToCaption["recall@1"].Mean, 1.0/11, 1e-12)
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, absent := range []string{"twin@1", "triplets", "families", "near_miss", "held_out_relations", "similarity_space", "NaN"} {
		if bytes.Contains(data, []byte(`"`+absent+`"`)) {
			t.Errorf("the result has %s", absent)
		}
	}
	if len(r.Examples) == 0 || len(r.Examples[0].Rows) != 1 {
		t.Errorf("examples %+v", r.Examples)
	}

	// Without a positive anywhere only captions remain.
	s = &Set{Items: s.Items[28:]}
	s.Items[1].Caption = "other"
	r = evaluate(t, s, quick(), random(s, "model", 1))
	if len(r.Methods[0].ImageToImage) != 0 || len(r.Methods[0].ImageToCaption) == 0 {
		t.Errorf("no positives: %+v", r.Methods[0])
	}
	// And without captions there is nothing to measure.
	s = &Set{Items: []dataloader.Item{{ID: "a", Profile: -1}, {ID: "b", Profile: -1}}}
	if _, err := Evaluate(context.Background(), s, []Method{Chance(s)}, quick()); err == nil {
		t.Error("no captions, no relations: no error")
	}
}

// TestConflictByOverlap: without profiles conflict triplets are drawn by the overlap of the literal captions.
func TestConflictByOverlap(t *testing.T) {
	s := grid(4, 12, 0, 0)
	for i := range s.Items {
		s.Items[i].Profile = -1
	}
	r := evaluate(t, s, quick(), oracle(s, "oracle"))
	near(t, "conflict", r.Methods[0].Triplets["conflict"].Mean, 1, 1e-12)
	if _, ok := r.Methods[0].ImageToImage["twin@1"]; ok {
		t.Error("twins without profiles")
	}
}

func TestOverlaps(t *testing.T) {
	s := &Set{}
	for _, l := range []string{"Red round, red", "red square", "blue square", "", "green"} {
		s.Items = append(s.Items, dataloader.Item{Literal: l})
	}
	o := newOverlaps(s)
	dst := make([]float32, len(s.Items))
	o.with(0, dst)
	for i, want := range []float32{1, 1.0 / 3, 0, 0, 0} {
		if math.Abs(float64(dst[i]-want)) > 1e-6 {
			t.Errorf("overlap(0, %d) = %v, want %v", i, dst[i], want)
		}
	}
	// A word of more than half of the captions says nothing.
	for i := range s.Items {
		s.Items[i].Literal += " picture"
	}
	common := make([]float32, len(s.Items))
	newOverlaps(s).with(0, common)
	if !slices.Equal(common, dst) {
		t.Errorf("with a common word %v, want %v", common, dst)
	}
	if newOverlaps(&Set{Items: []dataloader.Item{{}}}) != nil {
		t.Error("overlaps without literal captions")
	}
}

func measures(s *Set) []Method {
	methods := []Method{random(s, "model", 9)}
	for _, m := range baseline.All(1) {
		methods = append(methods, Method{Name: m.Name(), Kind: Baseline, Images: m})
	}
	return append(methods, Chance(s))
}

// TestDeterministic: the result depends on the set, the methods and the seed, and not on the number of workers.
func TestDeterministic(t *testing.T) {
	s := grid(5, 12, 1, 3)
	run := func(workers int, seed uint64) []byte {
		c := quick()
		c.Workers, c.Seed, c.Queries = workers, seed, 40
		data, err := json.Marshal(evaluate(t, s, c, measures(s)...))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	a := run(1, 1)
	if b := run(7, 1); !bytes.Equal(a, b) {
		t.Error("1 and 7 workers differ")
	}
	if b := run(3, 2); bytes.Equal(a, b) {
		t.Error("the seed changes nothing")
	}
	var r Result
	if err := json.Unmarshal(a, &r); err != nil {
		t.Fatal(err)
	}
	if r.Queries != 40 || r.SeenQueries+r.HeldOutQueries != 40 || r.Gallery != 60 {
		t.Errorf("%d queries of %d", r.Queries, r.Gallery)
	}
	if r.Space.Attribute != "color-histogram" || len(r.Space.Points) == 0 {
		t.Errorf("space by %s with %d points", r.Space.Attribute, len(r.Space.Points))
	}
}

func TestExamples(t *testing.T) {
	s := grid(6, 20, 2, 0)
	c := quick()
	r := evaluate(t, s, c, measures(s)...)
	if len(r.Examples) != c.Examples {
		t.Fatalf("%d examples", len(r.Examples))
	}
	why := make(map[string]int)
	for _, e := range r.Examples {
		why[e.Why]++
		q := s.Items[e.Index]
		if q.ID != e.Query || q.HeldOut != (e.Why == WhyHeldOut) {
			t.Errorf("%s example %s, held out %v", e.Why, e.Query, q.HeldOut)
		}
		if len(e.Rows) != 7 {
			t.Fatalf("%d rows", len(e.Rows))
		}
		for n, row := range e.Rows {
			if len(row.Hits) != c.Top {
				t.Errorf("%d pictures", len(row.Hits))
			}
			for i, h := range row.Hits {
				it := s.Items[h.Index]
				want := Wrong
				switch {
				case it.Relation == q.Relation:
					want = Right
				case it.Profile == q.Profile:
					want = Twin
				}
				if h.Mark != want || h.ID != it.ID || h.Index == e.Index || i > 0 && h.Score > row.Hits[i-1].Score {
					t.Errorf("%s, %s: hit %+v, want %s", e.Query, row.Method, h, want)
				}
			}
			if n == 0 && e.Why == WhyFailure && row.Hits[0].Mark == Right {
				t.Errorf("%s is called a failure", e.Query)
			}
		}
	}
	if why[WhyDrawn] != 4 || why[WhyHeldOut] != 2 || why[WhyFailure] != 2 {
		t.Errorf("examples %v", why)
	}
	// A perfect method has no failures to show.
	for _, e := range evaluate(t, s, c, oracle(s, "oracle")).Examples {
		if e.Why == WhyFailure {
			t.Errorf("the oracle fails on %s", e.Query)
		}
	}
}

// TestNearMissWithoutItsProfile: a near miss that resembles only the true picture of its own profile is not similar to
// the relation.
func TestNearMissWithoutItsProfile(t *testing.T) {
	s := grid(2, 8, 0, 8)
	// Every picture is its own direction, every near miss that of its twin in the relation.
	dim := len(s.Items)
	vectors := make([]float32, s.Len()*dim)
	for i := range s.Items {
		vectors[i*dim+i] = 1
	}
	for i := range s.NearMiss {
		vectors[(dim+i)*dim+i] = 1
	}
	r := evaluate(t, s, quick(), Embedded("pixels", Baseline, vectors, nil, dim))
	for _, n := range r.Methods[0].NearMiss {
		if n.AUC.Mean != 0.5 {
			t.Errorf("%s: AUC %v, want 0.5", n.Relation, n.AUC.Mean)
		}
	}
	// The same by the name of the true picture, and a near miss that names none is compared with all.
	for i := range s.NearMiss {
		s.NearMiss[i].Profile = -1
		if i < 8 {
			s.NearMiss[i].Pair = s.Items[i].ID
		}
	}
	r = evaluate(t, s, quick(), Embedded("pixels", Baseline, vectors, nil, dim))
	if a, b := r.Methods[0].NearMiss[0].AUC.Mean, r.Methods[0].NearMiss[1].AUC.Mean; a != 0.5 || b != 0 {
		t.Errorf("AUC %v and %v, want 0.5 and 0", a, b)
	}
}

func TestRefuses(t *testing.T) {
	s := grid(2, 3, 0, 1)
	good := oracle(s, "good")
	nanScores := Method{Name: "broken", Kind: Baseline, Images: &table{"broken", [][]float32{
		{1, 1, 1, 1, 1, 1}, {1, 1, float32(math.NaN()), 1, 1, 1}, {1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1},
	}}}
	nanCaption := oracle(s, "nan")
	nanCaption.Text.Captions[5] = float32(math.Inf(1))
	short := oracle(s, "short")
	short.Text.Captions = short.Text.Captions[1:]
	twice := grid(2, 3, 0, 0)
	twice.Items[4].ID = twice.Items[0].ID
	noPixels := grid(2, 3, 0, 0)
	noPixels.Image = nil
	broken := grid(2, 3, 0, 0)
	broken.Image = func(ctx context.Context, i int) (*dataloader.Image, error) { return nil, errors.New("truncated") }
	pixels := Method{Name: "pixels", Kind: Baseline, Images: baseline.Pixels()}
	with := func(f func(*Config)) Config { c := quick(); f(&c); return c }
	for _, tt := range []struct {
		name    string
		set     *Set
		methods []Method
		config  Config
		want    []string
	}{
		{"nan score", s, []Method{good, nanScores}, quick(), []string{"broken", "r0p1", "r0p2", "NaN"}},
		{"infinite caption", s, []Method{nanCaption}, quick(), []string{"nan", "captions"}},
		{"short captions", s, []Method{short}, quick(), []string{"short", "caption"}},
		{"no methods", s, nil, quick(), []string{"no methods"}},
		{"same name", s, []Method{good, good}, quick(), []string{"good"}},
		{"kind", s, []Method{{Name: "x", Kind: "y", Images: baseline.Chance()}}, quick(), []string{`"y"`}},
		{"no measure", s, []Method{{Name: "x", Kind: Baseline}}, quick(), []string{"no measure"}},
		{"one picture", &Set{Items: s.Items[:1]}, []Method{good}, quick(), []string{"gallery"}},
		{"same id", twice, []Method{Chance(twice)}, quick(), []string{"r0p0"}},
		{"no pixels", noPixels, []Method{pixels}, quick(), []string{"pixels"}},
		{"broken picture", broken, []Method{pixels}, quick(), []string{"r0p0", "truncated"}},
		{"vectors", s, []Method{Embedded("few", Baseline, make([]float32, 8), nil, 4)}, quick(), []string{"few"}},
		{"resamples", s, []Method{good}, with(func(c *Config) { c.Resamples = 0 }), []string{"Resamples"}},
		{"workers", s, []Method{good}, with(func(c *Config) { c.Workers = 0 }), []string{"Workers"}},
		{"k", s, []Method{good}, with(func(c *Config) { c.K = []int{0} }), []string{"K"}},
	} {
		_, err := Evaluate(context.Background(), tt.set, tt.methods, tt.config)
		if err == nil {
			t.Errorf("%s: no error", tt.name)
			continue
		}
		for _, want := range append(tt.want, "retrieval: ") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q lacks %q", tt.name, err, want)
			}
		}
	}
}

func TestCancel(t *testing.T) {
	s := grid(4, 20, 0, 0)
	ctx, cancel := context.WithCancel(context.Background())
	c := quick()
	steps := 0
	c.Progress = func(float64) { steps++; cancel() }
	if _, err := Evaluate(ctx, s, measures(s), c); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if steps == 0 || steps > 3 {
		t.Errorf("%d steps after the cancellation", steps)
	}
}

func TestProgress(t *testing.T) {
	s := grid(4, 20, 0, 0)
	c := quick()
	last := 0.0
	c.Progress = func(done float64) {
		if done < last || done > 1 {
			t.Errorf("progress %v after %v", done, last)
		}
		last = done
	}
	evaluate(t, s, c, measures(s)...)
	near(t, "progress", last, 1, 1e-12)
}

func TestNewSet(t *testing.T) {
	im := func(v byte) *dataloader.Image { return &dataloader.Image{Width: 1, Height: 1, Pix: []byte{v, v, v}} }
	gallery := dataloader.NewMemory("g", []dataloader.Item{{ID: "a"}, {ID: "a"}, {ID: "b"}}, []*dataloader.Image{im(1), im(2), im(3)})
	nearMiss := dataloader.NewMemory("n", []dataloader.Item{{ID: "b"}, {ID: "c"}}, []*dataloader.Image{im(4), im(5)})
	s := NewSet("name", "test", gallery, nearMiss)
	var ids []string
	var values []byte
	for i := range s.Len() {
		ids = append(ids, s.Item(i).ID)
		x, err := s.Image(context.Background(), i)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, x.Pix[0])
	}
	if !slices.Equal(ids, []string{"a", "b", "c"}) || !slices.Equal(values, []byte{1, 3, 5}) || len(s.Items) != 2 {
		t.Errorf("ids %v, values %v", ids, values)
	}
	if n := NewSet("name", "test", gallery, nil).Len(); n != 2 {
		t.Errorf("without near misses: %d", n)
	}
}

func TestRecalls(t *testing.T) {
	m := Metrics{"recall@10": {Mean: 3}, "map": {Mean: 9}, "recall@1": {Mean: 1}, "recall@5": {Mean: 2}}
	k, recall := m.Recalls()
	if !slices.Equal(k, []int{1, 5, 10}) || recall[0].Mean != 1 || recall[2].Mean != 3 {
		t.Errorf("%v %v", k, recall)
	}
}

// BenchmarkEvaluate takes all measures through a gallery of 1,600 pictures, each a query, and 1,500 near misses.
func BenchmarkEvaluate(b *testing.B) {
	s := grid(32, 50, 8, 0)
	for i := range 1500 {
		s.NearMiss = append(s.NearMiss, dataloader.Item{ID: fmt.Sprint("near", i), Relation: s.Items[i].Relation, Profile: s.Items[i].Profile})
	}
	for b.Loop() {
		if _, err := Evaluate(context.Background(), s, measures(s), Default()); err != nil {
			b.Fatal(err)
		}
	}
}

// moded is a measure that says how it compares.
type moded struct{ baseline.Measure }

func (moded) Mode() string { return "one by one" }

// A method that goes by the caption of a query says nothing of near misses, whose caption does not hold, and is not even
// asked about them.
func TestByCaption(t *testing.T) {
	s := grid(4, 6, 1, 3)
	want := oracle(s, "oracle")
	captions := make(map[string][]float32)
	for c, caption := range s.Captions() {
		captions[caption.Text] = want.Text.Captions[c*want.Text.Dim : (c+1)*want.Text.Dim]
	}
	var queries []float32
	for _, item := range s.Items {
		queries = append(queries, captions[item.Caption]...)
	}
	for range len(s.NearMiss) * want.Text.Dim {
		queries = append(queries, float32(math.NaN())) // an error, if it were scored
	}
	measure := moded{baseline.QueryEmbeddings("captions", queries, want.Text.Pictures, s.Len(), want.Text.Dim)}
	m := Method{Name: "captions", Kind: Baseline, Images: measure, ByCaption: true, About: &About{Kind: "clip-text", Path: "dir", How: "cosine"}}
	r := evaluate(t, s, quick(), oracle(s, "oracle"), m)
	got := r.Methods[1]
	near(t, "recall@1", got.ImageToImage["recall@1"].Mean, 1, 0)
	near(t, "recall@1 of held-out relations", r.HeldOut[1].ImageToImage["recall@1"].Mean, 1, 0)
	if got.NearMiss != nil || r.HeldOut[1].NearMiss != nil || r.Methods[0].NearMiss == nil {
		t.Errorf("near misses %+v, and of the oracle %+v", got.NearMiss, r.Methods[0].NearMiss)
	}
	if about := (About{"clip-text", "dir", "cosine; one by one"}); got.About == nil || *got.About != about {
		t.Errorf("about %+v, want %+v", got.About, about)
	}
	if m.About.How != "cosine" {
		t.Errorf("the caller's method was changed: %+v", m.About)
	}
}
