package endpoint_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"log"
	"os"
	"path/filepath"

	"relsim/judge"
	"relsim/judge/endpoint"
	"relsim/judge/judgetest"
	"relsim/retrieval"
)

// A fake endpoint on this machine judges what two methods retrieved for two queries. Pairs that both found are asked about
// once.
func Example() {
	server := judgetest.New(judgetest.Always("Score: 8/10"))
	defer server.Close()
	var pictures [3][]byte
	for i := range pictures {
		var b bytes.Buffer
		if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 16, 16+i))); err != nil {
			log.Fatal(err)
		}
		pictures[i] = b.Bytes()
	}
	hit := func(item int) []retrieval.RankedHit { return []retrieval.RankedHit{{Item: item}} }
	rankings := &retrieval.Rankings{
		Data: "example", Split: "test", Top: 1,
		Methods: []retrieval.RankedMethod{{Name: "relsim", Kind: retrieval.Trained}, {Name: "hog", Kind: retrieval.Baseline}},
		Items:   []retrieval.RankedItem{{ID: "a"}, {ID: "b"}, {ID: "c"}},
		Queries: []retrieval.RankedQuery{
			{Item: 0, Rows: [][]retrieval.RankedHit{hit(1), hit(2)}},
			{Item: 1, Rows: [][]retrieval.RankedHit{hit(2), hit(2)}},
		},
	}
	source := func(_ context.Context, item int) ([]byte, error) { return pictures[item], nil }

	dir, err := os.MkdirTemp("", "judge")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	config := judge.DefaultConfig()
	config.Model = "some-model"
	plan, err := judge.NewPlan(ctx, rankings, config, source, 2)
	if err != nil {
		log.Fatal(err)
	}
	client, err := endpoint.New(endpoint.Options{Endpoint: server.URL})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	store, err := judge.OpenStore(filepath.Join(dir, "judge.jsonl"))
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	outcome, err := judge.Run(ctx, plan, store, client, source, judge.DefaultRunOptions())
	if err != nil {
		log.Fatal(err)
	}
	result := plan.Tally(store, 1000)
	fmt.Println(result.Pairs, "pairs,", outcome.Answered, "questions")
	for _, m := range result.Methods {
		fmt.Printf("%s %.1f\n", m.Name, m.Score.Mean)
	}
	// Output:
	// 4 pairs, 3 questions
	// relsim 8.0
	// hog 8.0
}
