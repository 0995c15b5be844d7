package study_test

import (
	"fmt"
	"os"
	"path/filepath"

	"relsim/retrieval"
	"relsim/study"
)

// A rater answers the only question of a study, always by the picture of the query's own relation.
func Example() {
	r := &retrieval.Rankings{
		Data: "three", Positives: "relation", Top: 1,
		Methods: []retrieval.RankedMethod{{Name: "relsim", Kind: retrieval.Trained}, {Name: "pixel-l2", Kind: retrieval.Baseline}},
		Items:   []retrieval.RankedItem{{ID: "dark ring", Relation: "ring"}, {ID: "light ring", Relation: "ring"}, {ID: "dark line", Relation: "line"}},
		Queries: []retrieval.RankedQuery{{Item: 0, Rows: [][]retrieval.RankedHit{
			{{Item: 1, Score: 0.75, Mark: retrieval.Right}},
			{{Item: 2, Score: 0.5, Mark: retrieval.Twin}},
		}}},
	}
	plan, err := study.New(r, study.Options{N: 10, Seed: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	dir, err := os.MkdirTemp("", "study")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "votes.jsonl")
	c, err := study.Open(file, plan)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	q, err := c.Ask("anna", study.Unanswered)
	for err == nil && q.Task != "" {
		answer := study.B
		if r.Items[c.Picture("anna", q.Task, study.SideA)].Relation == "ring" {
			answer = study.A
		}
		q, err = c.Answer("anna", q.Task, answer, q.Revision, 2.5)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	votes, err := study.ReadVotes(file)
	if err != nil {
		fmt.Println(err)
		return
	}
	tally, err := study.Count([]*study.Votes{votes}, 100, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	p := tally.Pairs[0]
	fmt.Printf("%s %d, tie %d, %s %d\n", tally.Ours, p.Ours, p.Tie, p.Against, p.Theirs)
	// Output: relsim 1, tie 0, pixel-l2 0
}
