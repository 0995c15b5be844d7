package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"relsim/command"
	"relsim/report"
	"relsim/study"
	"relsim/training"
	"relsim/viewer"
)

const studyUsage = `usage: view study RUN|rankings.jsonl.gz [flags]
       view study --tally votes.jsonl… [flags]

The first form asks raters, blind: a picture, and what two methods find first for it. Which one's parts relate in the same
way: A, B, or the same? The second form counts.

  --votes FILE         where votes are kept, and gone on with (votes.jsonl beside the rankings)
  --methods A,B,…      the method that the others are compared with, then the others (the first trained one; all others)
  --n N                triplets for each of the others (100)
  --seed N             of queries, orders and sides (1)
  --images DIR         where the pictures are now (where they were)
` + servingUsage + `

  --tally              count the votes of the files named
  --out DIR            write study.json, study.png and study.svg, too
  --resamples N        of the bootstrap that gives the intervals (1000)
  --json               print one JSON object

A query at which two methods find the same picture is not asked about; it is counted, and the tally says how many there were.
Exit status: 0 done, or served and ended by Ctrl-C; 1 failed, 2 usage, 130 interrupted while writing a file.
`

// viewStudy is the subcommand "study".
func viewStudy(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("view study", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {}
	votes := flags.String("votes", "", "")
	methods := flags.String("methods", "", "")
	o := study.Options{}
	flags.IntVar(&o.N, "n", 100, "")
	flags.Uint64Var(&o.Seed, "seed", 1, "")
	images := flags.String("images", "", "")
	var server serving
	server.flags(flags)
	tally := flags.Bool("tally", false, "")
	out := flags.String("out", "", "")
	resamples := flags.Int("resamples", 1000, "")
	asJSON := flags.Bool("json", false, "")
	rest, err := command.ParseFlags(flags, args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, studyUsage)
		return nil
	}
	if err != nil {
		return err
	}
	// Which flags go with which form.
	only := map[string]bool{"votes": false, "methods": false, "n": false, "images": false, "port": false, "host": false, "open": false,
		"out": true, "resamples": true, "json": true}
	flags.Visit(func(f *flag.Flag) {
		if counts, ok := only[f.Name]; ok && counts != *tally && err == nil {
			err = command.Usagef("study: --%s goes with the form %s --tally", f.Name, map[bool]string{true: "with", false: "without"}[counts])
		}
	})
	switch {
	case err != nil:
		return err
	case *tally && len(rest) == 0:
		return command.Usagef("study: --tally: want files of votes")
	case *tally && *resamples < 1:
		return command.Usagef("study: --resamples is %d: want at least 1", *resamples)
	case *tally:
		return tallyVotes(rest, *out, *resamples, o.Seed, *asJSON, stdout)
	case len(rest) != 1:
		return command.Usagef("study: %d arguments: want a run, or a file of rankings", len(rest))
	case o.N < 1:
		return command.Usagef("study: --n is %d: want at least 1", o.N)
	}
	if err := server.validate(); err != nil {
		return err
	}
	for i, name := range strings.Split(*methods, ",") {
		switch name = strings.TrimSpace(name); {
		case *methods == "":
		case name == "":
			return command.Usagef("study: --methods %s: a name is missing", *methods)
		case i == 0:
			o.Ours = name
		default:
			o.Others = append(o.Others, name)
		}
	}
	r, gallery, _, err := openRankings(ctx, rest[0], *images, "")
	if err != nil {
		return err
	}
	plan, err := study.New(r, o)
	if err != nil {
		return err
	}
	path := *votes
	if path == "" {
		file, err := training.RankingsPath(rest[0])
		if err != nil {
			return err
		}
		path = filepath.Join(filepath.Dir(file), "votes.jsonl")
	}
	collection, err := study.Open(path, plan)
	if err != nil {
		return err
	}
	defer collection.Close()
	for k, name := range plan.Others {
		if plan.Asked[k] < plan.N || plan.Identical[k] > 0 {
			fmt.Fprintf(stderr, "view: %s and %s: %d triplets; %d queries drawn at which both find the same picture are left out\n",
				plan.Ours, name, plan.Asked[k], plan.Identical[k])
		}
	}
	n, raters := collection.Counts()
	site := viewer.NewSite()
	site.Trouble = func(err error) { fmt.Fprintf(stderr, "view: %v\n", err) }
	if err := site.AddStudy("/", collection, viewer.NewPictures(gallery, pictureMemory)); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "view: %d triplets; %d votes of %d raters so far in %s\n", plan.Len(), n, raters, path)
	return server.serve(ctx, site, stdout, stderr)
}

// tallyVotes prints what files of votes say, and writes the figure if out is not "".
func tallyVotes(paths []string, out string, resamples int, seed uint64, asJSON bool, stdout io.Writer) error {
	var files []*study.Votes
	for _, path := range paths {
		v, err := study.ReadVotes(path)
		if err != nil {
			return err
		}
		files = append(files, v)
	}
	t, err := study.Count(files, resamples, seed)
	if err != nil {
		return err
	}
	if out != "" {
		if err := report.WriteStudy(out, t); err != nil {
			return err
		}
	}
	if asJSON {
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", " ")
		return encoder.Encode(t)
	}
	fmt.Fprint(stdout, t.Table())
	if out != "" {
		fmt.Fprintf(stdout, "\n%s\n", filepath.Join(out, "study.png"))
	}
	return nil
}
