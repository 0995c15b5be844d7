package judge

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"relsim/retrieval"
)

// Config says what is asked, and how.
type Config struct {
	Model  string
	Prompt Prompt
	// Top pictures of each query and method are judged, from the first.
	Top int
	// Methods are judged, by name; nil: all.
	Methods []string
	// Queries are drawn by Seed; 0: all.
	Queries int
	Seed    uint64
	// BothOrders asks every pair twice, the second time with the pictures the other way round.
	BothOrders bool
	// Temperature is left to the endpoint where it is nil.
	Temperature *float64
	Detail      string // low, high, auto; empty: the endpoint's default
	MaxTokens   int    // of an answer
	MaxSide     int    // of a picture, in pixels
}

// DefaultConfig is what the paper does, as far as it says: the first picture of every query, at temperature 0.
func DefaultConfig() Config {
	return Config{Prompt: DefaultPrompt(), Top: 1, Seed: 1, Temperature: new(float64), MaxTokens: 64, MaxSide: DefaultMaxSide}
}

// Validate returns an error that names what cannot be used.
func (c Config) Validate() error {
	switch {
	case strings.TrimSpace(c.Model) == "" || len(c.Model) > 200:
		return fmt.Errorf("judge: model %s: want a name of 1 to 200 bytes", quoted(c.Model))
	case c.Prompt.Version == "":
		return fmt.Errorf("judge: no prompt")
	case c.Top < 1:
		return fmt.Errorf("judge: Top is %d: want 1 or more", c.Top)
	case c.Queries < 0:
		return fmt.Errorf("judge: Queries is %d: want 0 for all, or more", c.Queries)
	case c.Temperature != nil && !(*c.Temperature >= 0 && *c.Temperature <= 2):
		return fmt.Errorf("judge: Temperature is %v: want 0 to 2, or none", *c.Temperature)
	case c.Detail != "" && c.Detail != "low" && c.Detail != "high" && c.Detail != "auto":
		return fmt.Errorf("judge: Detail is %q: want low, high or auto", c.Detail)
	case c.MaxTokens < 0 || c.MaxTokens > 1<<20:
		return fmt.Errorf("judge: MaxTokens is %d: want 0 to %d", c.MaxTokens, 1<<20)
	case c.MaxSide < 16 || c.MaxSide > 1<<14:
		return fmt.Errorf("judge: MaxSide is %d pixels: want 16 to %d", c.MaxSide, 1<<14)
	}
	return nil
}

// Source returns the file of a picture of the gallery as it is stored.
type Source func(ctx context.Context, item int) ([]byte, error)

// Question is one to be asked: does a relation hold in both of two pictures of the gallery, shown in this order?
type Question struct {
	Key
	Items [2]int
}

// picture is what a plan knows of a picture of the gallery.
type picture struct {
	hash          string
	width, height int
	err           error // the file cannot be read
}

// Plan is what there is to ask.
type Plan struct {
	Config  Config
	Methods []retrieval.RankedMethod
	// Queries are those judged, by their place in the rankings, ascending.
	Queries []int
	// Questions are those of pictures that can be read, each once, in the order of queries, ranks and methods.
	Questions []Question

	rankings *retrieval.Rankings
	columns  []int // of Methods, in the rankings
	pictures map[int]picture
	broken   int
}

// NewPlan lists the questions of rankings. It reads every picture once, by some goroutines, for its hash and size. A
// picture that cannot be read is no error: its pairs are left out and counted.
func NewPlan(ctx context.Context, r *retrieval.Rankings, c Config, source Source, workers int) (*Plan, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	p := &Plan{Config: c, rankings: r, pictures: make(map[int]picture)}
	if err := p.chooseMethods(); err != nil {
		return nil, err
	}
	if c.Top > r.Top {
		return nil, fmt.Errorf("judge: Top is %d: the rankings hold the first %d of each query", c.Top, r.Top)
	}
	if len(r.Queries) == 0 {
		return nil, fmt.Errorf("judge: the rankings have no queries")
	}
	if c.Queries > len(r.Queries) {
		return nil, fmt.Errorf("judge: Queries is %d: the rankings have %d", c.Queries, len(r.Queries))
	}
	rng := rand.New(rand.NewPCG(c.Seed, 0x6a756467))
	p.Queries = rng.Perm(len(r.Queries))[:cmp.Or(c.Queries, len(r.Queries))]
	slices.Sort(p.Queries)
	if err := p.readPictures(ctx, source, workers); err != nil {
		return nil, err
	}
	seen := make(map[Key]bool)
	p.pairs(func(_, _, _, query, found int) {
		for _, q := range p.questions(query, found) {
			if seen[q.Key] {
				continue
			}
			seen[q.Key] = true
			if p.readable(q.Items[0]) && p.readable(q.Items[1]) {
				p.Questions = append(p.Questions, q)
			} else {
				p.broken++
			}
		}
	})
	return p, nil
}

// chooseMethods finds the methods of the configuration.
func (p *Plan) chooseMethods() error {
	names := make([]string, len(p.rankings.Methods))
	for i, m := range p.rankings.Methods {
		names[i] = m.Name
	}
	wanted := p.Config.Methods
	if wanted == nil {
		wanted = names
	}
	for i, name := range wanted {
		column := slices.Index(names, name)
		if column < 0 {
			return fmt.Errorf("judge: the rankings have no method %q: want %s", name, strings.Join(names, ", "))
		}
		if slices.Contains(wanted[:i], name) {
			return fmt.Errorf("judge: method %q is named twice", name)
		}
		p.columns = append(p.columns, column)
		p.Methods = append(p.Methods, p.rankings.Methods[column])
	}
	if len(p.Methods) == 0 {
		return fmt.Errorf("judge: no methods")
	}
	return nil
}

// pairs calls f for every pair: the place of the query in p.Queries, the rank from 0 and the method's place in p.Methods,
// and the items of the query and of the picture found.
func (p *Plan) pairs(f func(query, rank, method, queryItem, found int)) {
	for i, q := range p.Queries {
		query := p.rankings.Queries[q]
		for rank := range p.Config.Top {
			for m, column := range p.columns {
				if column < len(query.Rows) && rank < len(query.Rows[column]) {
					f(i, rank, m, query.Item, query.Rows[column][rank].Item)
				}
			}
		}
	}
}

// questions are those about a pair: one, or two with both orders.
func (p *Plan) questions(query, found int) []Question {
	q := []Question{p.question(query, found)}
	if p.Config.BothOrders {
		q = append(q, p.question(found, query))
	}
	return q
}

func (p *Plan) question(first, second int) Question {
	k := Key{
		Model: p.Config.Model, Prompt: p.Config.Prompt.Version, First: p.pictures[first].hash, Second: p.pictures[second].hash,
		Temperature: -1, Detail: p.Config.Detail, MaxSide: p.Config.MaxSide,
	}
	if t := p.Config.Temperature; t != nil {
		k.Temperature = *t
	}
	return Question{k, [2]int{first, second}}
}

func (p *Plan) readable(item int) bool { return p.pictures[item].err == nil }

// readPictures reads the picture of every item once.
func (p *Plan) readPictures(ctx context.Context, source Source, workers int) error {
	var items []int
	p.pairs(func(_, _, _, query, found int) { items = append(items, query, found) })
	slices.Sort(items)
	items = slices.Compact(items)
	read := make([]picture, len(items))
	var group errgroup.Group
	group.SetLimit(max(1, workers))
	for i, item := range items {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			data, err := source(ctx, item)
			if err := ctx.Err(); err != nil {
				return err
			}
			sum := sha256.Sum256(data)
			read[i] = picture{hash: hex.EncodeToString(sum[:]), err: err}
			if err != nil {
				return nil
			}
			config, _, err := image.DecodeConfig(bytes.NewReader(data))
			read[i].width, read[i].height = fit(config.Width, config.Height, p.Config.MaxSide)
			read[i].err = err
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("judge: read the pictures: %w", err)
	}
	for i, item := range items {
		p.pictures[item] = read[i]
	}
	return nil
}

// Broken returns what is wrong with the pictures that cannot be read, by item.
func (p *Plan) Broken() map[int]error {
	broken := make(map[int]error)
	for item, picture := range p.pictures {
		if picture.err != nil {
			broken[item] = picture.err
		}
	}
	return broken
}

// tokens estimates what a question takes.
func (p *Plan) tokens(q Question, rule ImageTokens) Usage {
	u := Usage{Input: textTokens(p.Config.Prompt), Output: p.Config.MaxTokens}
	for _, item := range q.Items {
		u.Input += rule(p.pictures[item].width, p.pictures[item].height, p.Config.Detail)
	}
	return u
}

// Estimate says what it takes to ask the questions that [Run] would, with a keeping the answers.
func (p *Plan) Estimate(a Answers, o RunOptions) Estimate {
	e := Estimate{Questions: len(p.Questions) + p.broken, Broken: p.broken, Answered: len(p.Questions)}
	p.pairs(func(_, _, _, _, _ int) { e.Pairs++ })
	for _, q := range p.toAsk(a, o.Again) {
		e.ToAsk++
		u := p.tokens(q, o.ImageTokens)
		e.Input += u.Input
		e.Output += u.Output
	}
	e.Answered -= e.ToAsk
	e.Cost = o.Price.Of(Usage{e.Input, e.Output})
	return e
}

// toAsk are the questions without an answer, and with again those without a score.
func (p *Plan) toAsk(a Answers, again bool) []Question {
	var list []Question
	for _, q := range p.Questions {
		if have, ok := a.Get(q.Key); !ok || again && have.Score == nil {
			list = append(list, q)
		}
	}
	return list
}

// Session describes a run that asks so many questions.
func (p *Plan) Session(endpoint string, questions int, when time.Time) Session {
	c := p.Config
	return Session{
		Endpoint: endpoint, Model: c.Model, Prompt: c.Prompt.Version, PromptText: c.Prompt.Text(), Data: p.rankings.Data, Questions: questions,
		When: when.UTC().Truncate(time.Second),
	}
}
