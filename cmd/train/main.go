// Command train trains a model of relational visual similarity, evaluates it against measures of appearance, and writes
// a report:
//
//	train --data scenes --out runs/scenes
//	train --data captions.jsonl --images DIR --out runs/mine
//
// The first form generates the embedded benchmark, trains on its anonymous captions, and trains the control: the same
// model on literal captions (the "literal twin", in OUT/literal-twin). The second trains on rows
// {"image_hash","caption","url_link"} and the pictures of a folder.
//
// A run folder holds checkpoints, metrics.jsonl with every step, skipped.jsonl with the pictures that could not be read,
// and report/index.html. An interrupted run (SIGINT or SIGTERM) saves a checkpoint and exits with status 130; the same
// command resumes it. `train --help` lists the flags.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"relsim/kernel"
	"relsim/report"
	"relsim/retrieval"
	"relsim/training"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the command. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stdout)
	if err == nil {
		if err = kernel.Init(); err != nil {
			err = fmt.Errorf("%w: %w", errUsage, err)
		}
	}
	if err == nil {
		err = o.train(ctx, args, stdout, stderr)
	}
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		text := strings.TrimPrefix(err.Error(), errUsage.Error()+": ")
		fmt.Fprintf(stderr, "train: %s\nRun 'train --help' for the flags.\n", text)
		return 2
	case errors.Is(err, training.ErrInterrupted):
		fmt.Fprintf(stderr, "%v\nRun the same command again to continue.\n", err)
		return 130
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "train: interrupted; run the same command again to continue")
		return 130
	}
	fmt.Fprintf(stderr, "train: %v\n", err)
	return 1
}

// train does what the flags ask for.
func (o *options) train(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	began := time.Now()
	source, err := o.source()
	if err != nil {
		return err
	}
	if o.out == "" {
		name := filepath.Base(o.data)
		o.out = filepath.Join("runs", strings.TrimSuffix(name, filepath.Ext(name)))
	}
	run, err := o.options(o.out)
	if err != nil {
		return err
	}
	if _, err := o.training(math.MaxInt32); err != nil { // flags first: data may take a while
		return err
	}
	show := newProgress(stderr, o.quiet)
	show.note("data: %s", o.data)
	data, err := training.OpenData(ctx, source)
	if err != nil {
		return err
	}
	config, err := o.training(data.Train.Len())
	if err != nil {
		return err
	}
	show.note("%d pictures to train on, %d to validate on (%.1f s)", data.Train.Len(), data.Val.Len(), time.Since(began).Seconds())

	summary, err := training.Run(ctx, config, run, data, show.observer("train"))
	if err != nil {
		return err
	}
	models := []training.Evaluated{{Name: "relsim", Kind: retrieval.Trained, Path: o.out}}
	if config.Captions == training.Literal {
		models[0] = training.Evaluated{Name: training.LiteralTwin, Kind: retrieval.Baseline, Path: o.out}
	} else if config.Captions == training.Anonymous && o.data == training.ScenesName && !o.noTwin {
		twin := config
		twin.Captions = training.Literal
		run.Out = filepath.Join(o.out, training.LiteralTwin)
		if _, err := training.Run(ctx, twin, run, data, show.observer(training.LiteralTwin)); err != nil {
			return err
		}
		models = append(models, training.Evaluated{Name: training.LiteralTwin, Kind: retrieval.Baseline, Path: run.Out})
	}
	if o.noReport {
		fmt.Fprintf(stdout, "%s\n", summary.Checkpoint)
		return nil
	}
	data = nil // the pictures to train on are the largest thing in memory
	evaluation, err := training.Evaluate(ctx, training.EvaluateOptions{
		Source: source, Models: models, Retrieval: retrieval.Default(), Threads: o.threads, Workers: o.workers, Progress: show.share("evaluate"),
	})
	if err != nil {
		return err
	}
	folder := filepath.Join(o.out, "report")
	if err := report.Write(folder, report.FromEvaluation(evaluation, append([]string{"train"}, args...), time.Since(began))); err != nil {
		return err
	}
	if o.json {
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", " ")
		return encoder.Encode(evaluation.Result)
	}
	fmt.Fprint(stdout, evaluation.Table())
	fmt.Fprintf(stdout, "\n%s after %s\n", filepath.Join(folder, "index.html"), time.Since(began).Round(time.Second))
	return nil
}
