package report

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
	"unicode"

	"relsim/dataloader"
	"relsim/kernel"
	"relsim/training"
)

// FromEvaluation returns the report of an evaluation of trained models, the
// main one first. command is what repeats it, "train" or "eval" and its
// arguments; took is how long it ran.
func FromEvaluation(e *training.Evaluation, command []string, took time.Duration) Input {
	in := Input{Result: e.Result, Images: e.Image}
	for _, run := range e.Runs {
		if len(run.Log) == 0 {
			continue
		}
		curve := Curve{Name: run.Name}
		for _, row := range run.Log {
			if row.Validation != nil {
				// Where no two pictures match, there is no recall@1 among pictures to draw.
				if recall, ok := row.Validation["recall@1"]; ok {
					curve.Evaluations = append(curve.Evaluations, Evaluation{Step: row.Step, Recall1: recall})
				}
				continue
			}
			curve.Steps = append(curve.Steps, Step{
				Step: row.Step, Loss: row.Loss, Accuracy: row.Accuracy, LR: row.LearningRate, ImagesPerSecond: row.ImagesPerSecond,
			})
		}
		in.Training = append(in.Training, curve)
	}
	listed := make(map[string]bool)
	skip := func(list []dataloader.Broken) {
		for _, b := range list {
			if !listed[b.ID] {
				listed[b.ID] = true
				in.Skipped.List = append(in.Skipped.List, SkippedItem{ID: b.ID, Reason: b.Reason})
			}
		}
		in.Skipped.Count = len(in.Skipped.List)
	}
	for _, m := range e.Result.Methods {
		if m.About != nil {
			in.Facts.More = append(in.Facts.More, Fact{"Baseline " + m.Name, m.About.How + "; " + m.About.Path})
		}
	}
	// One picture may be in the gallery and in the list of the run, and in that with several captions.
	skip(e.Broken)
	if len(e.Runs) == 0 {
		return in
	}
	main := e.Runs[0]
	skip(main.Skipped)
	c := main.Config
	in.Title = main.Name + ", trained on " + c.Captions + " captions"
	in.Facts = Facts{
		More:       in.Facts.More,
		Data:       main.Source.Data,
		Model:      fmt.Sprintf("%d px, %s stem, %d layers of width %d; text: %s", c.Model.Vision.ImageSize, c.Model.Vision.Stem, c.Model.Vision.Layers, c.Model.Vision.Width, c.Model.Text.Kind),
		Captions:   c.Captions,
		Parameters: main.Parameters,
		Steps:      c.Steps,
		Pictures:   c.Steps * c.Batch,
		Seed:       c.Seed,
		Command:    "go run ./cmd/" + shellWords(command),
		Duration:   took,
		Threads:    e.Threads,
		Machine:    fmt.Sprintf("%s/%s, %d cores, %s kernels", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), kernel.Active()),
		Version:    version(),
	}
	return in
}

// version names the program and the Go it was built with.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return runtime.Version()
	}
	return fmt.Sprintf("%s %s, %s", info.Main.Path, info.Main.Version, info.GoVersion)
}

// shellWords joins words so that a POSIX shell reads them back: those with
// other than plain characters are quoted.
func shellWords(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		plain := w != "" && !strings.ContainsFunc(w, func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_./=:,+%@", r)
		})
		if quoted[i] = w; !plain {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
