// Command data makes and shows data sets.
//
//	data scenes --out DIR [-n N] [--seed S] [--size PIXELS] [--workers W] [--json]
//	data sheet --out FILE.png [--seed S] [--size PIXELS] [--near]
//
// "data scenes" writes the embedded benchmark of relational scenes as files: DIR/train.jsonl, val.jsonl, test.jsonl
// and near_miss.jsonl, one picture a line, and the pictures as DIR/images/<image_hash>.png. The folder is made beside
// its place and moved there when it is whole, so an interrupt leaves nothing half done.
//
// "data sheet" draws a labelled sheet of all relations.
//
// Results go to standard output, diagnostics and the progress bar (on terminals only) to standard error. The exit
// status is 0 when done, 1 on failure, 2 on wrong usage and 130 when interrupted. Flags take one dash or two.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// commands are the subcommands by name.
var commands = map[string]func(ctx context.Context, args []string, stdout, stderr io.Writer) error{
	"scenes": writeScenes,
	"sheet":  sheet,
}

const usage = `usage: data <command> [flags]

Commands:
  scenes   write the embedded benchmark of relational scenes as PNG and JSONL files
  sheet    draw a labelled sheet of all its relations

"data <command> --help" describes the flags.
`

// run executes the command line and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usage)
		return 0
	}
	command, ok := commands[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "data: unknown command %q\n%s", args[0], usage)
		return 2
	}
	err := command(ctx, args[1:], stdout, stderr)
	var wrong usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &wrong):
		if !errors.Is(err, errReported) {
			fmt.Fprintf(stderr, "data: %v\n", err)
		}
		return 2
	case ctx.Err() != nil:
		fmt.Fprintf(stderr, "data: %s: interrupted\n", args[0])
		return 130
	default:
		fmt.Fprintf(stderr, "data: %v\n", err)
		return 1
	}
}

// usageError is an error in the command line: exit status 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errReported marks an error that the flag package has printed already.
var errReported = errors.New("reported")

// parse parses flags and refuses positional arguments.
func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{errReported}
	}
	if flags.NArg() > 0 {
		return usagef("%s: unexpected argument %q", flags.Name(), flags.Arg(0))
	}
	return nil
}
