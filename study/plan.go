// Package study compares methods by people's judgement, blind: a query, and the pictures that two methods find first for
// it, on sides drawn at random. Which is more like the query in how its parts relate: A, B, or are they the same?
//
// A [Plan] draws the triplets from [retrieval.Rankings]. A [Collection] asks raters and keeps their votes in a file, one
// line each, synced before it is acknowledged. [Count] tallies files of votes.
//
// Everything drawn is a pure function of the plan's seed: the queries, and for each rater the order of the triplets and
// the sides. Task numbers are hashes of it, so that nothing that a rater's page receives names a method or orders them.
package study

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"relsim/retrieval"
)

// Bounds of a study. They are what a file of votes may make a reader hold.
const (
	maxTriplets = 100_000
	maxMethods  = 100
	maxName     = 300 // bytes of a method's name
	maxRater    = 64  // characters of a rater's name
)

// Options say what to ask.
type Options struct {
	Ours   string   // the method that all others are compared with; "": the first trained one
	Others []string // nil: all other ones
	N      int      // triplets for each other method
	Seed   uint64
}

// Plan is what a study asks. Every rater is asked all of it, in an own order.
type Plan struct {
	Data     string   `json:"data"`
	Rankings string   `json:"rankings"` // hash of the rankings that the triplets are drawn from
	Ours     string   `json:"ours"`
	Others   []string `json:"others"`
	N        int      `json:"n"`
	Seed     uint64   `json:"seed"`

	// Identical says for each of Others how many queries were drawn at which it finds the same picture as Ours. These are
	// not asked: nobody could prefer one to the other.
	Identical []int `json:"identical"`
	// Asked says how many triplets there are for each of Others: N, or as many as there are queries for.
	Asked []int `json:"asked"`

	triplets []triplet
}

// triplet is a question: indices of items.
type triplet struct {
	query, ours, theirs int
	other               int // index in Others
	id                  string
}

// New draws a plan. The queries are drawn in one random order, the same for every pair of methods; those at which both
// find the same picture are passed by and counted.
func New(r *retrieval.Rankings, o Options) (*Plan, error) {
	if o.N < 1 || o.N > maxTriplets {
		return nil, fmt.Errorf("study: %d triplets for each method: want 1 to %d", o.N, maxTriplets)
	}
	at := func(name string) (int, error) {
		var names []string
		for i, m := range r.Methods {
			if m.Name == name {
				return i, nil
			}
			names = append(names, m.Name)
		}
		return 0, fmt.Errorf("study: no method %q: want some of %s", name, strings.Join(names, ", "))
	}
	p := &Plan{Data: r.Data, Ours: o.Ours, Others: slices.Clone(o.Others), N: o.N, Seed: o.Seed}
	if p.Ours == "" && len(r.Methods) > 0 {
		p.Ours = r.Methods[max(0, slices.IndexFunc(r.Methods, func(m retrieval.RankedMethod) bool { return m.Kind == retrieval.Trained }))].Name
	}
	ours, err := at(p.Ours)
	if err != nil {
		return nil, err
	}
	if p.Others == nil {
		for _, m := range r.Methods {
			if m.Name != p.Ours {
				p.Others = append(p.Others, m.Name)
			}
		}
	}
	p.Rankings = hashOf(r)
	order := rand.New(rand.NewPCG(o.Seed, streamQueries)).Perm(len(r.Queries))
	for k, name := range p.Others {
		if name == p.Ours || slices.Contains(p.Others[:k], name) {
			return nil, fmt.Errorf("study: method %q is there twice", name)
		}
		theirs, err := at(name)
		if err != nil {
			return nil, err
		}
		identical, asked := 0, 0
		for _, q := range order {
			query := &r.Queries[q]
			if asked == o.N {
				break
			}
			if len(query.Rows[ours]) == 0 || len(query.Rows[theirs]) == 0 {
				continue
			}
			a, b := query.Rows[ours][0].Item, query.Rows[theirs][0].Item
			if a == b {
				identical++
				continue
			}
			asked++
			p.triplets = append(p.triplets, triplet{query.Item, a, b, k, r.Items[query.Item].ID})
		}
		p.Identical, p.Asked = append(p.Identical, identical), append(p.Asked, asked)
	}
	if len(p.triplets) == 0 {
		return nil, errors.New("study: no query at which two methods find different pictures")
	}
	if len(p.triplets) > maxTriplets {
		return nil, fmt.Errorf("study: %d triplets: want at most %d", len(p.triplets), maxTriplets)
	}
	return p, p.check()
}

// check checks what a file could say of a plan.
func (p *Plan) check() error {
	if len(p.Others) == 0 || len(p.Others) > maxMethods || len(p.Identical) != len(p.Others) || len(p.Asked) != len(p.Others) {
		return fmt.Errorf("study: plan: %d methods to compare with, %d and %d counts: want as many of each, 1 to %d",
			len(p.Others), len(p.Identical), len(p.Asked), maxMethods)
	}
	names := make(map[string]bool)
	for _, name := range append([]string{p.Ours}, p.Others...) {
		if name == "" || len(name) > maxName || names[name] {
			return fmt.Errorf("study: plan: method %.40q: want distinct names of up to %d bytes", name, maxName)
		}
		names[name] = true
	}
	for k := range p.Others {
		if p.Asked[k] < 0 || p.Asked[k] > maxTriplets || p.Identical[k] < 0 {
			return fmt.Errorf("study: plan: %d triplets, %d identical ones", p.Asked[k], p.Identical[k])
		}
	}
	return nil
}

// Len is the number of triplets.
func (p *Plan) Len() int { return len(p.triplets) }

// same returns an error that says how two plans differ.
func (p *Plan) same(other *Plan) error {
	switch {
	case p.Rankings != other.Rankings:
		return fmt.Errorf("of other rankings (%.12s, not %.12s)", other.Rankings, p.Rankings)
	case p.Ours != other.Ours || !slices.Equal(p.Others, other.Others):
		return fmt.Errorf("of other methods (%s against %s)", other.Ours, strings.Join(other.Others, ", "))
	case p.N != other.N:
		return fmt.Errorf("of %d triplets for each method, not %d", other.N, p.N)
	case p.Seed != other.Seed:
		return fmt.Errorf("of seed %d, not %d", other.Seed, p.Seed)
	}
	return nil
}

// hashOf returns a hash of what a plan is drawn from: the ids of the items, and who finds what first.
func hashOf(r *retrieval.Rankings) string {
	h := sha256.New()
	var b [8]byte
	number := func(n int) {
		binary.LittleEndian.PutUint64(b[:], uint64(n))
		h.Write(b[:])
	}
	text := func(s string) {
		number(len(s))
		h.Write([]byte(s))
	}
	number(len(r.Methods))
	for _, m := range r.Methods {
		text(m.Name)
	}
	number(len(r.Items))
	for _, it := range r.Items {
		text(it.ID)
	}
	for _, q := range r.Queries {
		number(q.Item)
		for _, row := range q.Rows {
			if len(row) == 0 {
				number(-1)
				continue
			}
			number(row[0].Item)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Streams of the seeded generators.
const streamQueries = 1

// draw returns 32 bytes that are a pure function of the plan and some words.
func (p *Plan) draw(words ...string) [32]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s", p.Seed, p.Rankings)
	for _, w := range words {
		fmt.Fprintf(h, " %q", w)
	}
	return [32]byte(h.Sum(nil))
}

// order returns the triplets in the order in which a rater is asked.
func (p *Plan) order(rater string) []int {
	sum := p.draw("order", rater)
	rng := rand.New(rand.NewPCG(binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])))
	return rng.Perm(len(p.triplets))
}

// task returns the name of a question to a rater.
func (p *Plan) task(rater string, i int) string {
	sum := p.draw("task", rater, fmt.Sprint(i))
	return hex.EncodeToString(sum[:12])
}

// flipped reports whether a rater sees the picture of ours as B.
func (p *Plan) flipped(rater string, i int) bool {
	return p.draw("side", rater, fmt.Sprint(i))[0]&1 == 1
}

// checkRater returns the name as it is kept.
func checkRater(name string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "" || !utf8.ValidString(name):
		return "", errors.New("study: rater: want a name")
	case utf8.RuneCountInString(name) > maxRater:
		return "", fmt.Errorf("study: rater: want a name of up to %d characters", maxRater)
	case strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == utf8.RuneError
	}):
		return "", errors.New("study: rater: the name has control characters")
	}
	return name, nil
}
