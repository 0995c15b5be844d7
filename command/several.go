package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
)

// Several is a command that consists of others, each with flags of its own.
type Several struct {
	Name     string
	Usage    string // the manual that is printed without a command, and for help
	Commands map[string]func(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

// errPrinted marks an error that the flag package has printed already.
var errPrinted = errors.New("printed")

// Run runs the command that args names, with the arguments behind its name, and returns the exit status: see [Status].
func (s Several) Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, s.Usage)
		return 2
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, s.Usage)
		return 0
	}
	do, ok := s.Commands[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "%s: unknown command %q\n%s", s.Name, args[0], s.Usage)
		return 2
	}
	err := do(ctx, args[1:], stdout, stderr)
	if errors.Is(err, errPrinted) {
		return 2
	}
	return Status(ctx, s.Name, err, stderr)
}

// ParseFlags parses flags, for commands of [Several], wherever they stand among the positional arguments, which it
// returns. Its error has been printed, or is [flag.ErrHelp].
func ParseFlags(flags *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, errPrinted
		}
		if args = flags.Args(); len(args) == 0 {
			return rest, nil
		}
		rest, args = append(rest, args[0]), args[1:]
	}
}
