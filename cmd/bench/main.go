// Command bench measures how fast relsim is on this machine, beside what the machine could do and beside PyTorch:
//
//	bench [--peer python3] [--only REGEXP] [--rounds N] [--threads N] [--time-limit DURATION] [--json]
//	bench --list
//	bench gpu --out DIR [--peer python3] [--rounds N] [--limit DURATION]
//
// It measures the multiply-add peak and the bandwidth of memory; every kernel as a share of the limit that binds it;
// whole training steps (forward, loss, backward, clipping, AdamW; the batch is in memory) as a share of the peak, on one
// thread and on all; embedding, decoding and loading of JPEG files; and exact search. `bench --list` names all of it,
// --only selects by name.
//
// With --peer, a Python with PyTorch does the same work: the same architecture, weights, batch and threads. Each side
// is a process of its own, set up and warmed up once; then they work in turns, A B A B, and what counts is the median
// of the ratios of each pair of turns. Before that, the losses of the first steps (the embeddings, the neighbours …)
// of both sides are held against each other. The peak of a process's memory is what the system reports at its end.
//
// On machines that others use, too, times drift; ratios taken in turns and shares of a peak that was measured just
// before and after hold. A run of everything with a peer takes about eight minutes on two cores. Work that is too long for that
// is measured only where --only holds its whole name.
//
// `bench gpu` measures a GPU: the bandwidth of its memory and its products in bfloat16, every kernel as a share of these,
// products and attention beside PyTorch's, training steps and embedding of three models beside PyTorch, eager and compiled.
// DIR gets report.md and report.json; `bench gpu --help` has the flags. scripts/gpu-check.sh runs it after the tests.
//
// A table in Markdown, or JSON, goes to standard output, diagnostics and progress to standard error. The exit status is
// 0 when all was measured, 1 when something could not be measured or the time limit came first, 2 on wrong usage, and
// 130 when interrupted; what was measured until then is printed all the same.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"relsim/command"
	"relsim/kernel"
)

func main() { command.Main(run) }

// options are the flags.
type options struct {
	peer    string
	only    string
	rounds  int
	threads int
	limit   time.Duration
	list    bool
	json    bool
}

// serveCommand is the hidden first argument of a child.
const serveCommand = "serve"

// run is the command. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 2 && args[0] == serveCommand {
		if err := serve(ctx, args[1], os.Stdin, stdout); err != nil {
			fmt.Fprintf(stderr, "bench: %v\n", err)
			return 1
		}
		return 0
	}
	if len(args) > 0 && args[0] == gpuCommand {
		return runGPU(ctx, args[1:], stdout, stderr)
	}
	o, chosen, err := parse(args, stdout)
	if err == nil && o.list {
		return list(stdout, chosen)
	}
	var report *report
	if err == nil {
		report, err = o.measure(ctx, chosen, stderr)
	}
	if report != nil {
		if failed := report.write(stdout, o.json); failed != nil {
			err = cmp.Or(err, fmt.Errorf("standard output: %w", failed))
		}
	}
	if err != nil && ctx.Err() != nil { // whatever ended first
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return command.Status(ctx, "bench", err, stderr)
}

// parse reads the flags and returns the work that they choose.
func parse(args []string, stdout io.Writer) (o options, chosen []work, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	cores := runtime.NumCPU()
	flags.StringVar(&o.peer, "peer", "", "Python with PyTorch that does the same work in turn; none: only ours is measured")
	flags.StringVar(&o.only, "only", "", "regular expression of the names to measure (--list)")
	flags.IntVar(&o.rounds, "rounds", 5, "turns of each side")
	flags.IntVar(&o.threads, "threads", cores, "threads of both sides, at most the cores of this machine")
	flags.DurationVar(&o.limit, "time-limit", 0, "end after this time and print what there is; 0: no limit")
	flags.BoolVar(&o.list, "list", false, "list the names and end")
	flags.BoolVar(&o.json, "json", false, "print JSON instead of Markdown")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, "usage: bench [flags]\n\nMeasures the speed of relsim on this machine, beside its limits and, with --peer, beside PyTorch.\n\n")
			flags.SetOutput(stdout)
			flags.PrintDefaults()
			return o, nil, err
		}
		return o, nil, command.Usage(err)
	}
	switch {
	case flags.NArg() > 0:
		return o, nil, command.Usagef("unexpected argument %q", flags.Arg(0))
	case o.threads < 1 || o.threads > cores:
		return o, nil, command.Usagef("--threads %d: want 1 to %d, the cores of this machine", o.threads, cores)
	case o.rounds < 1:
		return o, nil, command.Usagef("--rounds %d: want at least 1", o.rounds)
	case o.limit < 0:
		return o, nil, command.Usagef("--time-limit %v: want a positive time, or 0 for none", o.limit)
	}
	only, err := regexp.Compile(o.only)
	if err != nil {
		return o, nil, command.Usagef("--only: %w", err)
	}
	if err := kernel.Init(); err != nil {
		return o, nil, command.Usage(err)
	}
	for _, w := range works(o.threads) {
		if only.MatchString(w.name) && (!w.explicit || o.list || strings.Contains(o.only, w.name)) {
			chosen = append(chosen, w)
		}
	}
	if len(chosen) == 0 {
		return o, nil, command.Usagef("--only %q: no work has such a name; 'bench --list' lists them", o.only)
	}
	return o, chosen, nil
}

// list prints the names of work.
func list(stdout io.Writer, chosen []work) int {
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	for _, w := range chosen {
		note := ""
		if w.explicit {
			note = " (only where its whole name is given)"
		}
		fmt.Fprintf(table, "%s\t%s%s\n", w.name, w.about, note)
	}
	if err := table.Flush(); err != nil {
		return 1
	}
	return 0
}

// measure measures the work chosen. The report has what was measured before an error.
func (o options) measure(ctx context.Context, chosen []work, stderr io.Writer) (_ *report, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program, to start it again: %w", err)
	}
	folder, err := os.MkdirTemp("", "relsim-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	limited := ctx
	if o.limit > 0 {
		var stop context.CancelFunc
		limited, stop = context.WithTimeout(ctx, o.limit)
		defer stop()
	}
	m := &measurer{self: self, python: o.peer, rounds: o.rounds, threads: o.threads, folder: folder, stderr: stderr, begin: time.Now()}
	r := &report{
		Machine: machine(), Cores: runtime.NumCPU(), Threads: o.threads, Rounds: o.rounds,
		Tier: kernel.Active().String(), Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if o.peer != "" {
		if r.Peer, err = m.probe(limited); err != nil {
			return nil, err
		}
	}
	var failed []error
	for i, w := range chosen {
		result, err := m.measure(limited, w)
		if limited.Err() != nil {
			var left []string
			for _, w := range chosen[i:] {
				left = append(left, w.name)
			}
			failed = append(failed, fmt.Errorf("ended after %.0f s; not measured: %s", time.Since(m.begin).Seconds(), strings.Join(left, ", ")))
			break
		}
		if err != nil {
			m.note("%v", err)
			failed = append(failed, err)
			continue
		}
		r.Results = append(r.Results, result)
	}
	r.Seconds = time.Since(m.begin).Seconds()
	if ctx.Err() != nil {
		fmt.Fprintf(stderr, "bench: %v\n", errors.Join(failed...))
	}
	return r, errors.Join(failed...)
}

// write prints the report.
func (r *report) write(w io.Writer, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", " ")
		return encoder.Encode(r)
	}
	_, err := io.WriteString(w, r.markdown())
	return err
}
