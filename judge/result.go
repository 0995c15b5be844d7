package judge

import (
	"cmp"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"

	"relsim/metrics"
	"relsim/retrieval"
)

// Result is what the judge found; marshalled it is the file judge.json and the output of `eval judge --json`.
type Result struct {
	Data        string   `json:"data"`
	Split       string   `json:"split"`
	Model       string   `json:"model"` // asked for
	Endpoint    string   `json:"endpoint,omitempty"`
	Prompt      string   `json:"prompt"` // version
	PromptText  string   `json:"prompt_text"`
	Temperature *float64 `json:"temperature"` // null: the endpoint's own
	Detail      string   `json:"detail,omitempty"`
	MaxSide     int      `json:"max_side"`
	BothOrders  bool     `json:"both_orders"`
	Top         int      `json:"top"` // pictures judged of each query and method

	// Queries were drawn with Seed; Complete ones have a score for every method and rank, and nothing else counts.
	Queries  int    `json:"queries"`
	Complete int    `json:"complete_queries"`
	Seed     uint64 `json:"seed"`

	Pairs      int            `json:"pairs"`     // of a query and a picture, over methods and ranks
	Questions  int            `json:"questions"` // distinct ones, both orders counted
	Answered   int            `json:"answered"`
	Unanswered int            `json:"unanswered"`          // not yet, or never
	Broken     int            `json:"broken,omitempty"`    // of Unanswered: a picture cannot be read
	Failures   map[string]int `json:"failures,omitempty"`  // answers that are no score, by reason
	AnsweredBy map[string]int `json:"answered_by"`         // models, as the endpoint says
	Usage      Usage          `json:"usage"`               // of all these answers, also those of earlier runs
	Cost       float64        `json:"cost,omitempty"`      // of Usage, at Price
	Price      *Price         `json:"price,omitempty"`     // for a million tokens
	Resamples  int            `json:"resamples"`           // of every interval, of queries
	Methods    []MethodScore  `json:"methods"`             // in the order asked for
	Difference []Difference   `json:"differences"`         // of the first method and each other, query by query
	Position   *Position      `json:"position,omitempty"`  // with both orders
	Published  []Published    `json:"published,omitempty"` // to compare with, not measured here
}

// MethodScore is the score of a method over the complete queries. It is empty where there are none.
type MethodScore struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // as in the rankings
	// Score is the mean over queries and ranks, Ranks that of each rank.
	Score *metrics.Interval  `json:"score,omitempty"`
	Ranks []metrics.Interval `json:"ranks,omitempty"`
	// Missing pairs of this method have no score; their queries are left out of all methods.
	Missing int `json:"missing_pairs"`
}

// Difference is First minus Other, over the complete queries.
type Difference struct {
	First string           `json:"first"`
	Other string           `json:"other"`
	Score metrics.Interval `json:"score"`
}

// Position says what the order of the pictures does: the score with the query first minus that with the query second,
// over the pairs that have both.
type Position struct {
	Pairs      int              `json:"pairs"`
	Difference metrics.Interval `json:"difference"`
	Absolute   metrics.Interval `json:"absolute_difference"`
}

// Published is a score that the paper's authors published for a method.
type Published struct {
	Name  string  `json:"name"`
	Score float64 `json:"score"`
	Ours  bool    `json:"ours,omitempty"`  // the paper's own model
	Tuned bool    `json:"tuned,omitempty"` // tuned on the paper's data
}

// PublishedScores are those of the paper, of the first picture retrieved, over its own test set and by its own judge: they
// say where measures stood there, and are not to be compared number by number.
//
// Source: arXiv:2512.07833, the figure of baselines.
func PublishedScores() []Published {
	return []Published{
		{Name: "LPIPS", Score: 4.56}, {Name: "DINO", Score: 4.68}, {Name: "Qwen-T", Score: 4.86}, {Name: "CLIP-T", Score: 5.33},
		{Name: "DreamSim", Score: 5.76}, {Name: "CLIP-I", Score: 5.91},
		{Name: "Tuned DINO", Score: 5.62, Tuned: true}, {Name: "Tuned CLIP", Score: 6.02, Tuned: true}, {Name: "relsim", Score: 6.77, Ours: true},
	}
}

// Tally averages the answers in s. resamples is that of the intervals, over queries.
func (p *Plan) Tally(s Answers, resamples int) *Result {
	c := p.Config
	r := &Result{
		Data: p.rankings.Data, Split: p.rankings.Split, Model: c.Model, Prompt: c.Prompt.Version, PromptText: c.Prompt.Text(),
		Temperature: c.Temperature, Detail: c.Detail, MaxSide: c.MaxSide, BothOrders: c.BothOrders, Top: c.Top,
		Queries: len(p.Queries), Seed: c.Seed, Resamples: resamples, Broken: p.broken, Questions: len(p.Questions) + p.broken,
		Failures: make(map[string]int), AnsweredBy: make(map[string]int), Published: PublishedScores(),
	}
	for _, q := range p.Questions {
		a, ok := s.Get(q.Key)
		if !ok {
			continue
		}
		r.Answered++
		r.AnsweredBy[cmp.Or(a.AnsweredBy, c.Model)]++
		r.Usage.Input += a.Usage.Input
		r.Usage.Output += a.Usage.Output
		if a.Failure != "" {
			r.Failures[a.Failure]++
		}
	}
	r.Unanswered = r.Questions - r.Answered

	// scores[m][rank][query], and whether a query has all of them.
	scores := make([][][]float64, len(p.Methods))
	for m := range scores {
		scores[m] = make([][]float64, c.Top)
		for rank := range scores[m] {
			scores[m][rank] = make([]float64, len(p.Queries))
		}
	}
	missing := make([]int, len(p.Methods))
	have := make([]int, len(p.Queries))
	var both orders
	p.pairs(func(query, rank, method, queryItem, found int) {
		r.Pairs++
		score, ok := p.score(s, queryItem, found, query, &both)
		if !ok {
			missing[method]++
			return
		}
		scores[method][rank][query] = score
		have[query]++
	})
	var complete []int
	for query, n := range have {
		if n == c.Top*len(p.Methods) {
			complete = append(complete, query)
		}
	}
	r.Complete = len(complete)
	interval := func(values []float64, clusters []int) metrics.Interval {
		return metrics.Bootstrap(values, clusters, resamples, rand.New(rand.NewPCG(c.Seed, 2)))
	}
	means := make([][]float64, len(p.Methods)) // of each complete query, over ranks
	for m, method := range p.Methods {
		score := MethodScore{Name: method.Name, Kind: method.Kind, Missing: missing[m]}
		if len(complete) > 0 {
			means[m] = make([]float64, len(complete))
			for rank := range c.Top {
				values := at(scores[m][rank], complete)
				for i, v := range values {
					means[m][i] += v / float64(c.Top)
				}
				score.Ranks = append(score.Ranks, interval(values, nil))
			}
			all := interval(means[m], nil)
			score.Score = &all
			if m > 0 {
				r.Difference = append(r.Difference, Difference{p.Methods[0].Name, method.Name,
					metrics.BootstrapDifference(means[0], means[m], nil, resamples, rand.New(rand.NewPCG(c.Seed, 2)))})
			}
		}
		r.Methods = append(r.Methods, score)
	}
	if c.BothOrders && len(both.difference) > 0 {
		r.Position = &Position{len(both.difference), interval(both.difference, both.query), interval(both.absolute, both.query)}
	}
	return r
}

// orders are the differences that the order of the pictures makes, each pair once, by the query that has it first.
type orders struct {
	seen                 map[[2]string]bool
	difference, absolute []float64
	query                []int
}

// score is that of a pair: of one order, or the mean of both.
func (p *Plan) score(s Answers, queryItem, found, query int, both *orders) (float64, bool) {
	var sum float64
	var list []float64
	questions := p.questions(queryItem, found)
	for _, q := range questions {
		a, ok := s.Get(q.Key)
		if !ok || a.Score == nil || !p.readable(q.Items[0]) || !p.readable(q.Items[1]) {
			return 0, false
		}
		sum += *a.Score
		list = append(list, *a.Score)
	}
	if k := questions[0].Key; len(list) == 2 && k.First != k.Second {
		if both.seen == nil {
			both.seen = make(map[[2]string]bool)
		}
		if pair := [2]string{k.First, k.Second}; !both.seen[pair] {
			both.seen[pair] = true
			d := list[0] - list[1]
			both.difference, both.absolute, both.query = append(both.difference, d), append(both.absolute, max(d, -d)), append(both.query, query)
		}
	}
	return sum / float64(len(list)), true
}

// at returns the values at some places.
func at(values []float64, places []int) []float64 {
	out := make([]float64, len(places))
	for i, place := range places {
		out[i] = values[place]
	}
	return out
}

// dated is what endpoints add to the name of a model to say which state of it answered.
var dated = regexp.MustCompile(`^-\d{4}-\d{2}-\d{2}$`)

// OtherModels returns the models that answered, and are not what was asked for or a dated state of it.
func (r *Result) OtherModels() []string {
	var others []string
	for name := range r.AnsweredBy {
		if rest, ok := strings.CutPrefix(name, r.Model); !ok || rest != "" && !dated.MatchString(rest) {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	return others
}

// Where names the data and the split, once.
func (r *Result) Where() string {
	if r.Split == "" || strings.HasSuffix(r.Data, r.Split) {
		return r.Data
	}
	return r.Data + ", " + r.Split
}

// Group is what a method is shown with: "ours", "tuned" or "baselines". The first trained method is ours, other trained
// ones and the control on literal captions are tuned.
func (r *Result) Group(m MethodScore) string {
	if m.Kind == retrieval.Trained {
		for _, other := range r.Methods {
			if other.Kind == retrieval.Trained {
				if other.Name == m.Name {
					return "ours"
				}
				break
			}
		}
		return "tuned"
	}
	if m.Name == "literal-twin" {
		return "tuned"
	}
	return "baselines"
}
