package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"relsim/dataloader"
	"relsim/metrics"
	"relsim/retrieval"
)

// The inputs below are invented. Their sizes are those of a real evaluation.

var (
	seenFamilies = []string{"contain", "touch", "overlap", "line", "ring", "grid", "scatter", "growth", "fade", "rotate", "complete", "odd_color",
		"odd_shape", "alternate", "blocks", "missing", "mirror", "outline", "halves", "outsider", "tree", "peek", "stack", "same"}
	heldOutFamilies = []string{"nested", "zigzag", "count_up", "odd_size", "sandwich", "turn_symmetry", "clusters", "blocked"}
)

func around(v, half float64) metrics.Interval {
	return metrics.Interval{Mean: v, Low: math.Max(0, v-half), High: math.Min(1, v+half)}
}

type invented struct {
	name, kind                string
	r1, r10, mAP, twin, confl float64
}

var inventedMethods = []invented{
	{"relsim", retrieval.Trained, .7813, .9542, .7057, .0034, .9688},
	{"literal-twin", retrieval.Baseline, .0667, .4958, .0691, .6342, .1624},
	{"hog", retrieval.Baseline, .1083, .3892, .0453, .0050, .5047},
	{"grey-thumbnail", retrieval.Baseline, .0992, .4108, .0395, .0508, .3403},
	{"ssim", retrieval.Baseline, .0458, .3000, .0380, .0933, .1736},
	{"random-conv", retrieval.Baseline, .0325, .2458, .0350, .2675, .0583},
	{"pixel-l2", retrieval.Baseline, .0208, .2192, .0341, .3200, .0292},
	{"color-histogram", retrieval.Baseline, .0025, .1133, .0327, .9492, .0023},
	{"chance", retrieval.ChanceKind, .0306, .2690, .0349, .0044, .5},
}

var kOfRecall = []int{1, 2, 3, 5, 10, 20, 50, 100}

func methodsOf(families []string, scale float64, heldOut bool, rng *rand.Rand) []retrieval.MethodResult {
	var out []retrieval.MethodResult
	for _, m := range inventedMethods {
		trained := m.kind == retrieval.Trained
		half := .021
		if m.kind == retrieval.ChanceKind {
			half = 0
		}
		r1 := m.r1
		if trained {
			r1 *= scale
		}
		i2i := retrieval.Metrics{
			"map":         around(m.mAP, half*.8),
			"ndcg@10":     around((m.mAP+r1)/2, half),
			"mrr":         around((r1+m.r10)/2, half),
			"median_rank": {Mean: 1 / (r1 + .02), Low: 1 / (r1 + .04), High: 1 / (r1 + .01)},
			"twin@1":      around(m.twin, half*m.twin*2),
		}
		for _, k := range kOfRecall {
			slope := math.Log(math.Max(m.r10, r1+.01)/r1) / math.Log(10)
			i2i[fmt.Sprintf("recall@%d", k)] = around(math.Min(.995, r1*math.Pow(float64(k), slope)), half)
		}
		x := retrieval.MethodResult{
			Name: m.name, Kind: m.kind, Queries: 50 * len(families), ImageToImage: i2i,
			Triplets: retrieval.Metrics{"conflict": around(m.confl, half/2), "aligned": around(math.Max(.5, .98-m.twin/4), half/3), "control": around(math.Max(.5, m.confl*.98), half/2)},
			Families: map[string]retrieval.Family{},
		}
		for _, name := range families {
			v := r1
			if trained {
				v = math.Min(1, math.Max(.2, r1+rng.NormFloat64()*.2))
			} else if half > 0 {
				v = math.Max(0, r1+rng.NormFloat64()*.08)
			}
			conflict, twin := m.confl, m.twin
			x.Families[name] = retrieval.Family{Queries: 50, Recall1: v, Recall10: math.Min(1, v*1.2+.05), MAP: v * .8, Conflict: &conflict, Twin1: &twin,
				Intervals: retrieval.Metrics{"recall@1": around(v, .1), "map": around(v*.8, .08)}}
		}
		if trained || m.name == literalTwin || m.kind == retrieval.ChanceKind {
			c := .8733
			switch {
			case m.kind == retrieval.ChanceKind, heldOut:
				c = .0211
			case !trained:
				c = .0917
			}
			x.ImageToCaption = retrieval.Metrics{"recall@1": around(c, half), "map": around(c*.95, half)}
			x.CaptionToImage = retrieval.Metrics{"recall@1": around(c*.98, half*4), "map": around(c*.9, half)}
		}
		if half > 0 && (trained || m.name == "hog") {
			near := []retrieval.NearMiss{
				{Relation: "growth", TrueNamed: around(.88, .09), NearNamed: around(0, .02), AUC: around(1, .001), Called: []retrieval.Name{{Relation: "same", Count: 18}, {Relation: "rotate", Count: 9}}},
				{Relation: "rotate", TrueNamed: around(.98, .03), NearNamed: around(.953, .05), AUC: around(.486, .1), Called: []retrieval.Name{{Relation: "rotate", Count: 41}, {Relation: "same", Count: 1}}},
				{Relation: "odd_color", TrueNamed: around(.38, .12), NearNamed: around(.05, .05), AUC: around(.542, .1), Called: []retrieval.Name{{Relation: "same", Count: 23}}},
				{Relation: "mirror", TrueNamed: around(.82, .1), NearNamed: around(.31, .12), AUC: around(.674, .1), Called: []retrieval.Name{{Relation: "mirror", Count: 13}}},
				{Relation: "halves", TrueNamed: around(.96, .05), NearNamed: around(0, .02), AUC: around(.987, .01), Called: []retrieval.Name{{Relation: "overlap", Count: 22}, {Relation: "contain", Count: 21}}},
			}
			if heldOut {
				near = []retrieval.NearMiss{{Relation: "odd_size", HeldOut: true, TrueNamed: around(.41, .1), NearNamed: around(.2, .1), AUC: around(.355, .1), Called: []retrieval.Name{{Relation: "same", Count: 28}}}}
			}
			for _, n := range near {
				n.True, n.Near, n.NamedBy = 50, 44, "caption"
				n.Verdict = n.Judge()
				x.NearMiss = append(x.NearMiss, n)
			}
		}
		out = append(out, x)
	}
	return out
}

// fullInput has data for every section of the page.
func fullInput() Input {
	rng := rand.New(rand.NewPCG(1, 2))
	r := &retrieval.Result{
		Data: "scenes, seed 1", Split: "test", Queries: 1600, Gallery: 1600, Seed: 1,
		Methods:     methodsOf(seenFamilies, 1, false, rng),
		HeldOut:     methodsOf(heldOutFamilies, .73, true, rng),
		SeenQueries: 1200, HeldOutQueries: 400, Captions: 48, Positives: "relation", K: kOfRecall, Resamples: 1000, Clusters: "profile",
		Space: &retrieval.Space{Attribute: "literal captions", Relational: "relsim"},
	}
	for _, m := range inventedMethods[1:] {
		d := inventedMethods[0].r1 - m.r1
		r.Differences = append(r.Differences, retrieval.Difference{Method: "relsim", Against: m.name,
			ImageToImage: retrieval.Metrics{"recall@1": around(d, .03), "map": around(inventedMethods[0].mAP-m.mAP, .02)}})
	}
	for i := range 600 {
		p := retrieval.Point{A: fmt.Sprint(i), B: fmt.Sprint(i + 1), Label: retrieval.Other, Attribute: .1 + .12*rng.NormFloat64(), Relational: .05 + .15*rng.NormFloat64()}
		switch i % 3 {
		case 0:
			p.Label, p.Relational = retrieval.SameRelation, .72+.14*rng.NormFloat64()
		case 1:
			p.Label, p.Attribute = retrieval.SameTwin, .75+.1*rng.NormFloat64()
		}
		r.Space.Points = append(r.Space.Points, p)
	}
	all := append(append([]string{}, seenFamilies...), heldOutFamilies...)
	for i, why := range []string{"drawn", "drawn", "drawn", "held out", "held out", "failure", "failure", "failure"} {
		f := rng.IntN(len(all))
		e := retrieval.Example{Query: fmt.Sprintf("%s-%d", all[f], i), Index: i, Relation: all[f], Caption: "{Objects} arranged so that one " + all[f] + " shows", Why: why}
		for _, m := range inventedMethods {
			if m.kind == retrieval.ChanceKind {
				continue
			}
			row := retrieval.ExampleRow{Method: m.name}
			for j := range 6 {
				g, mark := rng.IntN(len(all)), retrieval.Wrong
				switch u := rng.Float64(); {
				case m.kind == retrieval.Trained && u < .8 && why != "failure":
					g, mark = f, retrieval.Right
				case u > 1-m.twin:
					mark = retrieval.Twin
				}
				row.Hits = append(row.Hits, retrieval.Hit{ID: fmt.Sprintf("%s-%d", all[g], 10*i+j), Relation: all[g], Score: 1 - float64(j)/10, Mark: mark})
			}
			e.Rows = append(e.Rows, row)
		}
		r.Examples = append(r.Examples, e)
	}
	var training []Curve
	for i, name := range []string{"relsim", literalTwin} {
		c := Curve{Name: name}
		for s := 1; s <= 2344; s += 2 {
			t := float64(s) / 2344
			c.Steps = append(c.Steps, Step{Step: s, Loss: 1.1 + float64(i)*.3 + 3*math.Exp(-4*t) + .12*rng.NormFloat64(), Accuracy: clamp01(.85*(1-math.Exp(-4*t)) - .1*float64(i) + .05*rng.NormFloat64()),
				LR: 1.5e-3 * math.Min(t/.06, .5+.5*math.Cos(math.Pi*t)), ImagesPerSecond: 700 + 10*rng.NormFloat64()})
		}
		for s := 250; s <= 2344; s += 250 {
			c.Evaluations = append(c.Evaluations, Evaluation{s, (.79 - .7*float64(i)) * (1 - math.Exp(-5*float64(s)/2344))})
		}
		training = append(training, c)
	}
	return Input{
		Title: "Trained on anonymous captions", Result: r, Training: training, Images: inventedPicture,
		Facts: Facts{Data: "scenes, 24 000 pictures", Model: "scenes: convolutional stem, 2 blocks of width 96", Captions: "anonymous", Parameters: 321_000, Steps: 2344, Pictures: 150_000, Seed: 7,
			Command: "go run ./cmd/train --data scenes --out runs/scenes --seed 7", Duration: 291 * time.Second, Threads: 2, Machine: "linux/amd64, AVX-512", Version: "relsim v0.1.0, go1.26.0"},
		Skipped: Skipped{Count: 3, List: []SkippedItem{{"a17", "truncated PNG"}, {"b20", "not found"}}},
	}
}

// inventedPicture draws a noisy picture that depends on the id.
func inventedPicture(id string) (*dataloader.Image, error) {
	h := uint64(14695981039346656037)
	for _, b := range []byte(id) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	rng := rand.New(rand.NewPCG(h, 1))
	im := &dataloader.Image{Width: 64, Height: 64, Pix: make([]byte, 64*64*3)}
	base := [3]int{rng.IntN(200), rng.IntN(200), rng.IntN(200)}
	for i := range im.Pix {
		im.Pix[i] = byte(base[i%3] + rng.IntN(20))
	}
	for range 6 {
		x, y, c := rng.IntN(50), rng.IntN(50), byte(rng.IntN(256))
		for dy := range 12 {
			for dx := range 12 {
				im.Pix[3*((y+dy)*64+x+dx)] = c
			}
		}
	}
	return im, nil
}

// smallInput has what one's own pictures without relations give.
func smallInput() Input {
	return Input{Result: &retrieval.Result{
		Data: "mine.jsonl", Split: "val", Queries: 40, SeenQueries: 40, Gallery: 40, Seed: 1, Positives: "caption", Clusters: "query", Resamples: 1000, K: []int{1, 5, 10},
		Methods: []retrieval.MethodResult{
			{Name: "relsim", Kind: retrieval.Trained, Queries: 40, ImageToImage: retrieval.Metrics{"recall@1": around(.1, .09), "recall@5": around(.3, .1), "map": around(.2, .1)}},
			{Name: "hog", Kind: retrieval.Baseline, Queries: 40, ImageToImage: retrieval.Metrics{"recall@1": around(.08, .08), "recall@5": around(.2, .1), "map": around(.1, .1)}},
			{Name: "chance", Kind: retrieval.ChanceKind, Queries: 40, ImageToImage: retrieval.Metrics{"recall@1": around(.05, 0), "recall@5": around(.22, 0), "map": around(.07, 0)}},
		},
	}}
}
