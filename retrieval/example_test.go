package retrieval_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"relsim/baseline"
	"relsim/dataloader"
	"relsim/retrieval"
)

// Four pictures, two relations in two profiles of colour. The model's vectors tell the relations apart; the colours tell
// the profiles apart.
func ExampleEvaluate() {
	plain := func(v byte) *dataloader.Image { return &dataloader.Image{Width: 1, Height: 1, Pix: []byte{v, v, v}} }
	gallery := dataloader.NewMemory("four", []dataloader.Item{
		{ID: "dark ring", Relation: "ring", Caption: "{Objects} in a ring", Profile: 0},
		{ID: "light ring", Relation: "ring", Caption: "{Objects} in a ring", Profile: 1},
		{ID: "dark line", Relation: "line", Caption: "{Objects} in a line", Profile: 0},
		{ID: "light line", Relation: "line", Caption: "{Objects} in a line", Profile: 1},
	}, []*dataloader.Image{plain(10), plain(200), plain(20), plain(220)})
	set := retrieval.NewSet("four", "test", gallery, nil)

	pictures := []float32{1, 0, 1, 0, 0, 1, 0, 1}
	captions := []float32{1, 0, 0, 1} // in the order of set.Captions()
	methods := []retrieval.Method{
		retrieval.Embedded("model", retrieval.Trained, pictures, captions, 2),
		{Name: "pixel-l2", Kind: retrieval.Baseline, Images: baseline.Pixels()},
		retrieval.Chance(set),
	}
	result, err := retrieval.Evaluate(context.Background(), set, methods, retrieval.Default())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range result.Methods {
		fmt.Printf("%-8s R@1 %.2f, twin@1 %.2f, conflict %.2f\n", m.Name,
			m.ImageToImage["recall@1"].Mean, m.ImageToImage["twin@1"].Mean, m.Triplets["conflict"].Mean)
	}
	// Output:
	// model    R@1 1.00, twin@1 0.00, conflict 1.00
	// pixel-l2 R@1 0.00, twin@1 1.00, conflict 0.00
	// chance   R@1 0.33, twin@1 0.33, conflict 0.50
}

func ExampleIndex() {
	index, err := retrieval.NewIndex([]float32{1, 0, 0.8, 0.6, 0, 1}, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	found, err := index.Search(context.Background(), []float32{0, 1}, 2, nil, 1)
	fmt.Println(found, err)
	// Output: [[{2 1} {1 0.6}]] <nil>
}

// What a report keeps beside its metrics: here written, read, and asked for the pictures found first.
func ExampleReadRankings() {
	file := filepath.Join(os.TempDir(), fmt.Sprintf("example-%d-%s", os.Getpid(), retrieval.RankingsFile))
	defer os.Remove(file)
	made := &retrieval.Rankings{
		Data: "three", Split: "test", Positives: "relation", Top: 1,
		Methods: []retrieval.RankedMethod{{Name: "relsim", Kind: retrieval.Trained}, {Name: "pixel-l2", Kind: retrieval.Baseline}},
		Items:   []retrieval.RankedItem{{ID: "dark ring"}, {ID: "light ring"}, {ID: "dark line"}},
		Queries: []retrieval.RankedQuery{{Item: 0, Rows: [][]retrieval.RankedHit{
			{{Item: 1, Score: 0.75, Mark: retrieval.Right}},
			{{Item: 2, Score: 0.5, Mark: retrieval.Twin}},
		}}},
	}
	if err := made.Write(file); err != nil {
		fmt.Println(err)
		return
	}
	r, err := retrieval.ReadRankings(file)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, q := range r.Queries {
		for m, row := range q.Rows {
			fmt.Printf("%s: %s finds %s (%s)\n", r.Items[q.Item].ID, r.Methods[m].Name, r.Items[row[0].Item].ID, row[0].Mark)
		}
	}
	// Output:
	// dark ring: relsim finds light ring (right)
	// dark ring: pixel-l2 finds dark line (twin)
}
