// Command data makes and shows data sets, and fetches published models.
//
//	data scenes --out DIR [-n N] [--seed S] [--size PIXELS] [--workers W] [--json]
//	data sheet --out FILE.png [--seed S] [--size PIXELS] [--near]
//	data model [--update] [--offline] [--max-size GB] [--quiet] NAME
//
// "data scenes" writes the embedded benchmark of relational scenes as files: DIR/train.jsonl, val.jsonl, test.jsonl
// and near_miss.jsonl, one picture a line, and the pictures as DIR/images/<image_hash>.png. The folder is made beside
// its place and moved there when it is whole, so an interrupt leaves nothing half done.
//
// "data sheet" draws a labelled sheet of all relations.
//
// "data model" prints the folder of a published model, named "org/name" or "org/name@revision" as on the Hugging Face
// Hub. What the cache has not is downloaded: the configuration, the tokenizer and the weights as safetensors, each checked
// against the size and hash that the model's list of files says. A download that is broken off goes on at the next call.
// The cache is that of huggingface_hub, and so are the variables HF_HUB_CACHE, HF_HOME, HF_TOKEN, HF_ENDPOINT,
// HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT and HF_HUB_DISABLE_PROGRESS_BARS.
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

	"relsim/command"
)

func main() { command.Main(run) }

// commands are the subcommands by name.
var commands = map[string]func(ctx context.Context, args []string, stdout, stderr io.Writer) error{
	"scenes": writeScenes,
	"sheet":  sheet,
	"model":  model,
}

const usage = `usage: data <command> [flags]

Commands:
  scenes   write the embedded benchmark of relational scenes as PNG and JSONL files
  sheet    draw a labelled sheet of all its relations
  model    print the folder of a published model, downloaded if need be

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
	do, ok := commands[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "data: unknown command %q\n%s", args[0], usage)
		return 2
	}
	err := do(ctx, args[1:], stdout, stderr)
	if errors.Is(err, errReported) {
		return 2
	}
	return command.Status(ctx, "data", err, stderr)
}

// errReported marks an error that the flag package has printed already.
var errReported = errors.New("reported")

// parse parses flags and refuses positional arguments.
func parse(flags *flag.FlagSet, args []string) error {
	if err := parseFlags(flags, args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return command.Usagef("%s: unexpected argument %q", flags.Name(), flags.Arg(0))
	}
	return nil
}

// parseFlags parses flags.
func parseFlags(flags *flag.FlagSet, args []string) error {
	err := flags.Parse(args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	return errReported
}
