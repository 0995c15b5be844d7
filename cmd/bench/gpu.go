package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"time"

	"relsim/command"
	"relsim/nn"
)

// gpuCommand is the first argument of the measurement of a GPU.
const gpuCommand = "gpu"

// gpuOptions are its flags.
type gpuOptions struct {
	out    string
	peer   string
	rounds int
	limit  time.Duration // of a part
	begin  string
	tiny   bool
	checks string
	render bool
}

// gpuWork is a model that is trained and embeds.
type gpuWork struct {
	name         string
	job          job
	train, embed float64 // bars beside torch.compile
}

// gpuWorks are the models, and gpuTiny what stands for them where a driver without a GPU is measured.
func gpuWorks(tiny bool) []gpuWork {
	tower := func(preset string, batch int) job {
		j := modelJob("", preset, batch)
		j.Config.Text = nn.TextConfig{Kind: nn.NoText}
		j.Threads, j.BF16 = runtime.NumCPU(), true
		return j
	}
	if tiny {
		j := tower("vit-ti/8", 4)
		v := &j.Config.Vision
		v.ImageSize, v.Width, v.Heads, v.MLP, v.Layers = 16, 32, 2, 64, 1
		j.Config.EmbedDim = 16
		return []gpuWork{{name: "tiny", job: j}}
	}
	clip := clipJob("", 64)
	clip.Threads, clip.BF16 = runtime.NumCPU(), true
	return []gpuWork{
		{name: "ViT-B/16, batch 256", job: tower("vit-b/16", 256), train: .9, embed: 1},
		{name: "ViT-B/32, batch 512", job: tower("vit-b/32", 512)},
		{name: "ViT-L/14, batch 64", job: clip},
	}
}

// runGPU is the command `bench gpu`.
func runGPU(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseGPU(args, stdout)
	if err != nil {
		return command.Status(ctx, "bench gpu", err, stderr)
	}
	m := &gpuMeasurer{options: o, stderr: stderr, begin: time.Now()}
	if o.render {
		err = m.read()
	} else {
		err = m.measure(ctx)
	}
	if err == nil || m.report.Time != "" {
		err = errors.Join(err, m.write(), m.summary(stdout))
	}
	return command.Status(ctx, "bench gpu", err, stderr)
}

func parseGPU(args []string, stdout io.Writer) (o gpuOptions, err error) {
	flags := flag.NewFlagSet("bench gpu", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.out, "out", "", "folder that report.md and report.json go into")
	flags.StringVar(&o.peer, "peer", "", "Python with PyTorch that does the same work in turn; none: only ours is measured")
	flags.IntVar(&o.rounds, "rounds", 5, "turns of each side")
	flags.DurationVar(&o.limit, "limit", time.Minute, "time of each part; what takes longer is left out")
	flags.StringVar(&o.begin, "begin-when", "", "wait for this file before measuring; PyTorch compiles meanwhile")
	flags.StringVar(&o.checks, "checks", "", "file of lines of what was run before: name, status, seconds, note, between tabs")
	flags.BoolVar(&o.tiny, "tiny", false, "tiny sizes, to try this out without a GPU")
	flags.BoolVar(&o.render, "render", false, "measure nothing: write report.md again from report.json, with --checks")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, "usage: bench gpu --out DIR [flags]\n\nMeasures a GPU: its limits, every kernel, and models beside PyTorch. scripts/gpu-check.sh runs it.\n\n")
			flags.SetOutput(stdout)
			flags.PrintDefaults()
			return o, err
		}
		return o, command.Usage(err)
	}
	switch {
	case flags.NArg() > 0:
		return o, command.Usagef("unexpected argument %q", flags.Arg(0))
	case o.out == "":
		return o, command.Usagef("--out: want a folder")
	case o.rounds < 1:
		return o, command.Usagef("--rounds %d: want at least 1", o.rounds)
	case o.limit <= 0:
		return o, command.Usagef("--limit %v: want a positive time", o.limit)
	}
	return o, nil
}
