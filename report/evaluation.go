package report

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"relsim/kernel"
	"relsim/training"
)

// FromEvaluation returns the report of an evaluation of trained models, the
// main one first. command is what repeats it, "train" or "eval" with its flags;
// took is how long it ran.
func FromEvaluation(e *training.Evaluation, command string, took time.Duration) Input {
	in := Input{Result: e.Result, Images: e.Image}
	for _, run := range e.Runs {
		if len(run.Log) == 0 {
			continue
		}
		curve := Curve{Name: run.Name}
		for _, row := range run.Log {
			if row.Validation != nil {
				curve.Evaluations = append(curve.Evaluations, Evaluation{Step: row.Step, Recall1: row.Validation["recall@1"]})
				continue
			}
			curve.Steps = append(curve.Steps, Step{
				Step: row.Step, Loss: row.Loss, Accuracy: row.Accuracy, LR: row.LearningRate, ImagesPerSecond: row.ImagesPerSecond,
			})
		}
		in.Training = append(in.Training, curve)
	}
	for _, b := range e.Broken {
		in.Skipped.List = append(in.Skipped.List, SkippedItem{ID: b.ID, Reason: b.Reason})
	}
	in.Skipped.Count = len(in.Skipped.List)
	if len(e.Runs) == 0 {
		return in
	}
	main := e.Runs[0]
	c := main.Config
	in.Title = main.Name + ", trained on " + c.Captions + " captions"
	in.Facts = Facts{
		Data:       main.Source.Data,
		Model:      fmt.Sprintf("%d px, %s stem, %d layers of width %d; text: %s", c.Model.Vision.ImageSize, c.Model.Vision.Stem, c.Model.Vision.Layers, c.Model.Vision.Width, c.Model.Text.Kind),
		Captions:   c.Captions,
		Parameters: main.Parameters,
		Steps:      c.Steps,
		Pictures:   c.Steps * c.Batch,
		Seed:       c.Seed,
		Command:    "go run ./cmd/" + command,
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
