package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"relsim/command"
	"relsim/dataloader"
	"relsim/download"
	"relsim/formats"
	"relsim/inspection"
	"relsim/report"
)

const inspectUsage = `usage: data inspect --data SPEC [flags]

Says what a data set consists of and what is wrong with it: counts, sizes, captions, duplicates, broken pictures, and
leaks between its splits or into another set. A table goes to standard output.

`

// inspectOptions are the flags of "data inspect".
type inspectOptions struct {
	data, against          string
	format                 formats.Options
	againstImages          string
	out, failOn            string
	json, noPictures       bool
	distance, similar, top int
	workers                int
	topSet                 bool
}

// inspect runs "data inspect".
func inspect(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := inspectFlags(args, stderr)
	if err != nil {
		return err
	}
	ds, err := o.open(ctx, o.data, o.format.Images)
	if err != nil {
		return err
	}
	in := inspection.Options{NoPictures: o.noPictures, Distance: o.distance, Similar: o.similar, Top: o.top, Workers: o.workers}
	if o.distance == 0 {
		in.Distance = -1 // the bytes alone
	}
	if o.against != "" {
		if in.Against, err = o.open(ctx, o.against, o.againstImages); err != nil {
			return err
		}
	}
	if in.States, err = statesOf(o.data); err != nil {
		return err
	}
	finish := func() {}
	if f, ok := stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		bar := progressbar.NewOptions(-1, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription("reading"),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("pictures"),
			progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
		in.Progress = func(done, total int) {
			bar.ChangeMax(total)
			bar.Set(done)
		}
		finish = func() { bar.Finish() }
	}
	start := time.Now()
	r, err := inspection.Inspect(ctx, ds, in)
	finish()
	if err != nil {
		return err
	}
	if o.out != "" {
		page := report.Inspection{Report: r, Command: append([]string{"data", "inspect"}, args...), Images: func(row inspection.Row) (*dataloader.Image, error) {
			if row.Against {
				return in.Against.Image(ctx, row.Index)
			}
			return ds.Image(ctx, row.Index)
		}}
		page.Facts = []report.Fact{{Name: "Data", Value: inspection.Shown(o.data, 200)}, {Name: "Took", Value: time.Since(start).Round(time.Second / 10).String()}}
		if err := report.WriteInspection(o.out, page); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if o.json {
		lines := json.NewEncoder(stdout)
		lines.SetIndent("", "  ")
		err = lines.Encode(r)
	} else {
		examples := 3
		if o.topSet {
			examples = o.top
		}
		err = r.WriteText(stdout, examples)
	}
	if err != nil {
		return err
	}
	return o.judge(r)
}

// inspectFlags parses the command line.
func inspectFlags(args []string, stderr io.Writer) (*inspectOptions, error) {
	o := &inspectOptions{}
	flags := flag.NewFlagSet("inspect", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, inspectUsage)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.data, "data", "", "`data set`: rows, a folder or shards, as train takes it")
	sourceFlags(flags, &o.format)
	flags.StringVar(&o.against, "against", "", "another `data set`: find what is in both")
	flags.StringVar(&o.againstImages, "against-images", "", "`folder` of the pictures of --against (default images beside it)")
	flags.BoolVar(&o.noPictures, "no-pictures", false, "look at rows and captions only")
	flags.StringVar(&o.out, "out", "", "write a page to this `file`, such as report.html")
	flags.BoolVar(&o.json, "json", false, "print everything as JSON")
	flags.IntVar(&o.top, "top", inspection.DefaultTop, "`number` of entries of each list; the table shows 3 rows of each unless this is set")
	flags.IntVar(&o.distance, "distance", inspection.DefaultDistance, "perceptual hashes of one picture differ in at most so many `bits` of 64; 0: do not compare looks")
	flags.IntVar(&o.similar, "similar", inspection.DefaultSimilar, "near captions share at least so many `percent` of their words")
	flags.StringVar(&o.failOn, "fail-on", "", "exit with status 1 if one of these was found: `names` separated by commas, of\n"+strings.Join(inspection.FindingNames(), ", "))
	flags.IntVar(&o.workers, "workers", 0, "goroutines that read pictures (default one for each core)")
	if err := parse(flags, args); err != nil {
		return nil, err
	}
	if o.data == "" {
		return nil, command.Usagef("inspect: --data is missing")
	}
	flags.Visit(func(f *flag.Flag) { o.topSet = o.topSet || f.Name == "top" })
	switch {
	case o.top < 1:
		return nil, command.Usagef("inspect: --top %d: want 1 to 1000", o.top)
	case o.distance < 0:
		return nil, command.Usagef("inspect: --distance %d: want 0 to 16", o.distance)
	case o.similar < 1:
		return nil, command.Usagef("inspect: --similar %d: want 50 to 100", o.similar)
	case o.againstImages != "" && o.against == "":
		return nil, command.Usagef("inspect: --against-images without --against")
	case o.noPictures && (o.format.Images != "" || o.againstImages != ""):
		return nil, command.Usagef("inspect: --no-pictures and a folder of pictures")
	}
	for name := range strings.SplitSeq(o.failOn, ",") {
		if name != "" && !slices.Contains(inspection.FindingNames(), name) {
			return nil, command.Usagef("inspect: --fail-on %q: want some of %s", name, strings.Join(inspection.FindingNames(), ", "))
		}
	}
	if err := errors.Join(o.format.Validate(), (inspection.Options{Distance: o.distance, Similar: o.similar, Top: o.top, Workers: o.workers}).Validate()); err != nil {
		return nil, command.Usage(err)
	}
	return o, nil
}

// open opens a data set. Without pictures their folder need not be there.
func (o *inspectOptions) open(ctx context.Context, spec, images string) (dataloader.Dataset, error) {
	options := o.format
	options.Images, options.Bare = images, o.noPictures
	ds, err := formats.Open(ctx, spec, options)
	if err != nil && !o.noPictures && images == "" && errors.Is(err, fs.ErrNotExist) && strings.Contains(err.Error(), "image folder") {
		return nil, fmt.Errorf("%w (--images names it, --no-pictures looks at the rows alone)", err)
	}
	return ds, err
}

// statesOf reads the states of a download that wrote the data set, if there was one.
func statesOf(spec string) (map[string]download.State, error) {
	dir := spec
	if info, err := os.Stat(spec); err != nil || !info.IsDir() {
		dir = filepath.Dir(spec)
	}
	states, err := download.States(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return states, err
}

// judge returns an error if something was found that --fail-on names.
func (o *inspectOptions) judge(r *inspection.Report) error {
	asked := strings.Split(o.failOn, ",")
	var found []string
	for _, f := range r.Findings() {
		if f.Count > 0 && slices.Contains(asked, f.Name) {
			found = append(found, fmt.Sprintf("%s: %d %s", f.Name, f.Count, f.What))
		}
	}
	if len(found) == 0 {
		return nil
	}
	return fmt.Errorf("inspect: found %s", strings.Join(found, "; "))
}
