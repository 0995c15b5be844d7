package report

import (
	"strings"
	"testing"
	"time"

	"relsim/dataloader"
	"relsim/training"
)

func TestFromEvaluation(t *testing.T) {
	c := training.Default()
	e := &training.Evaluation{
		Result: smallInput().Result,
		Runs: []training.EvaluatedRun{
			{Name: "relsim", Config: c, Source: training.Source{Data: "mine.jsonl"}, Parameters: 1234, Log: []training.Row{
				{Step: 1, Loss: 4, Accuracy: .1, LearningRate: 1e-3, ImagesPerSecond: 500},
				{Step: 2, Loss: 3, Accuracy: .2, LearningRate: 9e-4, ImagesPerSecond: 510},
				{Step: 2, Validation: map[string]float64{"recall@1": .25}},
				{Step: 3, Validation: map[string]float64{"image_to_caption.recall@1": .5}}, // no two pictures match
			}, Skipped: []dataloader.Broken{
				{ID: "a17", Line: 3, Reason: "truncated"}, {ID: "b20", Line: 4, Reason: "gone"}, {ID: "b20", Line: 5, Reason: "gone"},
			}},
			{Name: training.LiteralTwin, Config: c}, // a lone checkpoint: no log
		},
		Broken:  []dataloader.Broken{{ID: "a17", Reason: "truncated"}},
		Threads: 2,
	}
	in := FromEvaluation(e, []string{"train", "--data", "mine.jsonl"}, 90*time.Second)
	if len(in.Training) != 1 || len(in.Training[0].Steps) != 2 || len(in.Training[0].Evaluations) != 1 {
		t.Fatalf("curves %+v, want one with two steps and one evaluation", in.Training)
	}
	if s := in.Training[0].Steps[1]; s != (Step{2, 3, .2, 9e-4, 510}) {
		t.Errorf("step 2 is %+v", s)
	}
	if v := in.Training[0].Evaluations[0]; v != (Evaluation{2, .25}) {
		t.Errorf("evaluation %+v", v)
	}
	if s := in.Skipped; s.Count != 2 || len(s.List) != 2 {
		t.Errorf("skipped %+v, want each picture once", s)
	}
	page := string(write(t, in)["index.html"])
	for _, want := range []string{"relsim, trained on anonymous captions", "mine.jsonl", "1\u202f234", "go run ./cmd/train --data mine.jsonl", "1m30s", "2 pictures could not be used", "kernels"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if in := FromEvaluation(&training.Evaluation{Result: e.Result}, []string{"eval"}, 0); in.Result == nil || len(in.Training) != 0 {
		t.Errorf("without runs: %+v", in)
	}
}

func TestShellWords(t *testing.T) {
	got := shellWords([]string{"train", "--images", "my pictures", "--out=it's", ""})
	if want := `train --images 'my pictures' '--out=it'\''s' ''`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
