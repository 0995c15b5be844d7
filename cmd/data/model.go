package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"

	"relsim/command"
	"relsim/hub"
)

// model prints the folder of a published model, and downloads it if need be.
func model(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("data model", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, "usage: data model [flags] NAME\n\nNAME is org/name or org/name@revision. Flags:\n")
		flags.PrintDefaults()
	}
	update := flags.Bool("update", false, "ask the hub which commit the branch has now")
	offline := flags.Bool("offline", false, "look into the cache alone")
	gigabytes := flags.Float64("max-size", hub.DefaultMaxBytes/1e9, "download `GB` at most")
	quiet := flags.Bool("quiet", false, "no notices, no progress bar")
	names, err := command.ParseFlags(flags, args)
	switch {
	case err != nil:
		return err
	case len(names) == 0:
		return command.Usagef("data model: the name of a model is missing")
	case len(names) > 1:
		return command.Usagef("data model: unexpected argument %q", names[1])
	}
	if !(*gigabytes > 0 && *gigabytes*1e9 < math.MaxInt64) {
		return command.Usagef("data model: --max-size is %v, a positive number of GB was expected", *gigabytes)
	}
	o := hub.Options{Update: *update, Offline: *offline, MaxBytes: int64(*gigabytes * 1e9)}
	if *quiet {
		o.Notice = func(string, ...any) {}
		o.Progress = func(hub.Progress) {}
	}
	dir, err := command.Model(ctx, names[0], o, stderr)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, dir)
	return err
}
