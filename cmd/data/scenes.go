package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"relsim/command"
	"relsim/scenes"
)

const scenesUsage = `usage: data scenes --out DIR [flags]

Writes the embedded benchmark of relational scenes: DIR/train.jsonl, val.jsonl, test.jsonl and near_miss.jsonl, and
the pictures as DIR/images/<image_hash>.png. An earlier output in DIR is replaced; any other content is refused.

`

// writeScenes runs "data scenes".
func writeScenes(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg := scenes.Default()
	flags := flag.NewFlagSet("scenes", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, scenesUsage)
		flags.PrintDefaults()
	}
	out := flags.String("out", "", "`folder` to write")
	n := flags.Int("n", cfg.TrainProfiles*cfg.Twins, "`number` of training pictures")
	flags.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "seed of the benchmark")
	flags.IntVar(&cfg.Size, "size", cfg.Size, "side of a picture in `pixels`")
	flags.IntVar(&cfg.Twins, "twins", cfg.Twins, "training pictures of every attribute profile")
	flags.IntVar(&cfg.ValProfiles, "val-profiles", cfg.ValProfiles, "attribute profiles for validation, 8 pictures each")
	flags.IntVar(&cfg.TestProfiles, "test-profiles", cfg.TestProfiles, "attribute profiles of the test gallery, 8 pictures each")
	workers := flags.Int("workers", 0, "goroutines that draw and encode (default one for each core)")
	asJSON := flags.Bool("json", false, "print the summary as JSON")
	if err := parse(flags, args); err != nil {
		return err
	}
	if *out == "" {
		return command.Usagef("scenes: --out is missing")
	}
	if *n < 1 || cfg.Twins < 1 {
		return command.Usagef("scenes: -n and --twins have to be at least 1")
	}
	if *workers < 0 {
		return command.Usagef("scenes: --workers %d: less than 0", *workers)
	}
	cfg.TrainProfiles = (*n + cfg.Twins - 1) / cfg.Twins
	if err := cfg.Validate(); err != nil {
		return command.Usage(err)
	}
	options := scenes.Options{Workers: *workers, TrainPictures: *n}
	finish := func() {}
	if f, ok := stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		bar := progressbar.NewOptions(-1, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription("drawing"),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("pictures"),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
		options.Progress = func(done, total int) {
			bar.ChangeMax(total)
			bar.Set(done)
		}
		finish = func() { bar.Finish() }
	}
	sum, err := scenes.Write(ctx, *out, cfg, options)
	finish()
	if err != nil {
		return err
	}
	if *asJSON {
		lines := json.NewEncoder(stdout)
		lines.SetIndent("", "  ")
		return lines.Encode(sum)
	}
	for _, split := range scenes.Splits() {
		if _, err := fmt.Fprintf(stdout, "%-9s  %6d pictures  %s.jsonl\n", split, sum.Pictures[split], split); err != nil {
			return err
		}
	}
	return nil
}
