// Package command is what the commands have in common: how they hear signals, and which
// exit status an error stands for.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// ErrUsage is wrapped by errors of the command line.
var ErrUsage = errors.New("usage")

// Usage makes an error of the command line.
func Usage(err error) error { return fmt.Errorf("%w: %w", ErrUsage, err) }

// Usagef is [Usage] with a format.
func Usagef(format string, args ...any) error { return Usage(fmt.Errorf(format, args...)) }

// Main runs a command and exits with the status that it returns. An interrupt or a
// request to terminate ends its context; a second one ends the process at once.
func Main(run func(ctx context.Context, args []string, stdout, stderr io.Writer) int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Status tells stderr what err means for the command called name, and returns the exit
// status: 0 for none and for help that was asked for, 2 for one that wraps [ErrUsage],
// 130 where ctx ended and err comes of that, else 1.
func Status(ctx context.Context, name string, err error, stderr io.Writer) int {
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, ErrUsage):
		text := strings.TrimPrefix(err.Error(), ErrUsage.Error()+": ")
		fmt.Fprintf(stderr, "%s: %s\nRun '%s --help' for the flags.\n", name, text, name)
		return 2
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintf(stderr, "%s: interrupted\n", name)
		return 130
	}
	fmt.Fprintf(stderr, "%s: %v\n", name, err)
	return 1
}
