// Command train trains a model of relational visual similarity, evaluates it against measures of appearance, and writes
// a report:
//
//	train --data scenes --out runs/scenes
//	train --data captions.jsonl --images DIR --out runs/mine
//	train --data pictures/ --steps 1000
//
// The first form generates the embedded benchmark, trains on its anonymous captions, and trains the control: the same
// model on literal captions (the "literal twin", in OUT/literal-twin). The second trains on rows
// {"image_hash","caption","url_link"} and the pictures of a folder, the third on pictures with captions in files of text
// beside them. What --data names may also be CSV, seed groups, or several sets that are mixed; the content says which.
//
// Before training starts, the data are counted, a sample of the pictures is decoded, and the towers are timed: what is
// missing, what cannot be read, and how long the run will take is said first. None of it changes a bit of the run.
//
// A run folder holds checkpoints, metrics.jsonl with every step, skipped.jsonl with the pictures that could not be read,
// report/index.html, and report/rankings.jsonl.gz, which "view retrieval" shows. An interrupted run (SIGINT or SIGTERM) saves a checkpoint and exits with status 130; the same
// command resumes it. `train --help` lists the flags.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"relsim/checkpoints"
	"relsim/command"
	"relsim/dataloader"
	"relsim/formats"
	"relsim/hub"
	"relsim/kernel"
	"relsim/report"
	"relsim/retrieval"
	"relsim/training"
)

func main() { command.Main(run) }

// run is the command. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var results bytes.Buffer // written at the end, in one go: what a reader gets is whole
	o, err := parse(args, &results)
	if err == nil {
		if err = kernel.Init(); err != nil {
			err = command.Usage(err)
		}
	}
	if err == nil {
		if warning := kernel.Crowded(o.threads); warning != "" {
			fmt.Fprintf(stderr, "train: %s\n", warning)
		}
		err = o.train(ctx, args, &results, stderr)
	}
	if (err == nil || errors.Is(err, flag.ErrHelp)) && results.Len() > 0 {
		if _, failed := stdout.Write(results.Bytes()); failed != nil {
			err = fmt.Errorf("standard output: %w", failed)
		}
	}
	if errors.Is(err, training.ErrInterrupted) { // with a checkpoint
		fmt.Fprintf(stderr, "%v\nRun the same command again to continue.\n", err)
		return 130
	}
	status := command.Status(ctx, "train", err, stderr)
	if status == 130 {
		fmt.Fprintln(stderr, "Run the same command again to continue.")
	}
	return status
}

// train does what the flags ask for.
func (o *options) train(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	began := time.Now()
	source, err := o.source()
	if err != nil {
		return err
	}
	if o.out == "" {
		o.out = filepath.Join("runs", formats.Stem(o.data[0]))
	}
	if _, err := o.options(o.out); err != nil { // flags first: published models and data may take a while
		return err
	}
	if err := command.CheckDevice(o.device, o.precision); err != nil {
		return err
	}
	plain := *o
	if o.vision != "" || o.text != "" { // then it is for these that adapters and frozen bases are
		plain.lora, plain.freeze = 0, ""
	}
	if _, err := plain.training(0); err != nil {
		return err
	}
	if err := o.openDevice(ctx, stderr); err != nil {
		return err
	}
	defer o.runsOn.Close()
	show := newProgress(stderr, o.quiet)
	defer show.clear()
	show.note("%s", o.runsOn)
	o.hub = hub.Options{Progress: show.download, Notice: show.note}
	if err := o.openBases(ctx); err != nil {
		return err
	}
	if _, err := o.training(0); err != nil {
		return err
	}
	run, err := o.options(o.out)
	if err != nil {
		return err
	}
	cache, err := o.openCache(stderr)
	if err != nil {
		return err
	}
	show.note("data: %s", strings.Join(o.data, " and "))
	data, err := training.OpenData(ctx, source)
	if err != nil {
		return err
	}
	notes := slices.Concat(dataloader.Notes(data.Train), dataloader.Notes(data.Val)) // the same twice where Val is a part
	slices.Sort(notes)
	for _, note := range slices.Compact(notes) {
		show.note("data: %s", note)
	}
	data.Train, data.Val = dataloader.WithCache(data.Train, cache), dataloader.WithCache(data.Val, cache)
	config, err := o.training(max(data.Epoch(), 1))
	if err != nil {
		return err
	}
	show.note("%d rows to train on, %d to validate on (%.1f s)", data.Train.Len(), data.Val.Len(), time.Since(began).Seconds())
	var facts facts
	watch := show.observer("train")
	if !o.quiet || o.json {
		if facts.Data, err = training.Look(ctx, data, config, o.workers); err != nil {
			return err
		}
		show.survey(facts.Data)
		run.PictureSeconds = facts.Data.Each
		watch.Estimate = func(e training.Estimate) {
			facts.Estimate = &e
			show.estimate("train", e)
		}
	}

	control := config.Captions == training.Anonymous && o.scenes() && !o.noTwin
	controlFolder := filepath.Join(o.out, training.LiteralTwin)
	if control && run.Resume == training.ResumeNever { // it would only be refused after the model is trained
		if dir, err := checkpoints.Latest(controlFolder); err == nil {
			return fmt.Errorf("training: %s holds a run already (%s): choose another folder, or resume it", controlFolder, dir)
		}
	}
	summary, err := training.Run(ctx, config, run, data, bounded(watch))
	if err != nil {
		return err
	}
	reportSkipped(stderr, "train", summary.Skipped, o.out)
	models := []training.Evaluated{{Name: "relsim", Kind: retrieval.Trained, Path: o.out}}
	if config.Captions == training.Literal {
		models[0] = training.Evaluated{Name: training.LiteralTwin, Kind: retrieval.Baseline, Path: o.out}
	} else if control {
		twin := config
		twin.Captions = training.Literal
		run.Out = controlFolder
		if run.Resume == training.ResumeMust { // the run is there; its control may not have begun
			run.Resume = training.ResumeAuto
		}
		watch := show.observer(training.LiteralTwin)
		if !o.quiet {
			watch.Estimate = func(e training.Estimate) { show.estimate(training.LiteralTwin, e) }
		}
		twinSummary, err := training.Run(ctx, twin, run, data, bounded(watch))
		if err != nil {
			return err
		}
		reportSkipped(stderr, training.LiteralTwin, twinSummary.Skipped, run.Out)
		models = append(models, training.Evaluated{Name: training.LiteralTwin, Kind: retrieval.Baseline, Path: run.Out})
	}
	if o.noReport {
		if o.json {
			return writeJSON(stdout, outcome{
				summary.Checkpoint, summary.Best, summary.Steps, summary.Seen, summary.Skipped, summary.Seconds, facts,
			})
		}
		fmt.Fprintf(stdout, "%s\n", summary.Checkpoint)
		return nil
	}
	data = nil // the pictures to train on are the largest thing in memory
	evaluation, err := training.Evaluate(ctx, training.EvaluateOptions{
		Source: source, Models: models, Retrieval: retrieval.Default(), Threads: o.threads, Workers: o.workers,
		MaxBroken: cmp.Or(o.maxBroken, -1), Progress: show.share("evaluate"), // -1: none may be broken
		Cache: cache, GPU: o.runsOn.GPU,
	})
	if err != nil {
		return err
	}
	folder := filepath.Join(o.out, "report")
	if err := report.Write(folder, report.FromEvaluation(evaluation, append([]string{"train"}, args...), time.Since(began))); err != nil {
		return err
	}
	if o.json {
		return writeJSON(stdout, evaluation.Result)
	}
	fmt.Fprint(stdout, evaluation.Table())
	fmt.Fprintf(stdout, "\n%s after %s\n", filepath.Join(folder, "index.html"), time.Since(began).Round(time.Second))
	return nil
}

// outcome is what --json prints of a run that is not evaluated.
type outcome struct {
	Checkpoint string  `json:"checkpoint"` // folder of the last one
	Best       string  `json:"best"`       // folder of the best one by validation
	Steps      int     `json:"steps"`
	Seen       int     `json:"seen"`    // pictures
	Skipped    int     `json:"skipped"` // pictures that could not be read
	Seconds    float64 `json:"seconds"`
	facts
}

// facts are what is known before training starts.
type facts struct {
	Data     *training.Survey   `json:"data,omitempty"`
	Estimate *training.Estimate `json:"estimate,omitempty"` // nil: nothing was left to do
}

func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", " ")
	return encoder.Encode(value)
}

// reportSkipped says how many pictures a run could not read. It is no progress: --quiet does not silence it.
func reportSkipped(stderr io.Writer, name string, n int, out string) {
	if n > 0 {
		fmt.Fprintf(stderr, "%s: %d pictures could not be read and were skipped; they are listed in %s\n",
			name, n, filepath.Join(out, training.SkippedFile))
	}
}
