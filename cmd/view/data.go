package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"relsim/checkpoints"
	"relsim/command"
	"relsim/dataloader"
	"relsim/formats"
	"relsim/viewer"
)

const dataUsage = `usage: view data SPEC [flags]

  SPEC                 what train takes as --data: a file of rows, a folder of pictures, shards
  --images DIR         folder of the pictures (the folder images beside the rows)
  --csv-img-key NAME, --csv-caption-key NAME, --csv-separator CHAR  of a CSV, as train has them
  --download DIR       folder of a download, whose ledger says what became of each row (the folder of the rows, if it is one)
  --check HOW          which pictures are missing or broken: decode looks into each, while the page is shown already;
                       files sees only whether they are there (decode)
` + servingUsage + `
  --export FILE.html   write the page into a file, and serve nothing
  --embed HOW          its pictures: thumbs, small copies in the file; links, relative links to the files; none (thumbs)
  --embed-side N       longest side of small copies in pixels: 96, 160, 256, 512 (160)
  --embed-max AMOUNT   small copies up to that amount, then links (64MiB)
  --quiet              no progress

Exit status: 0 done, or served and ended by Ctrl-C; 1 failed, 2 usage, 130 interrupted while writing a file.
`

// dataOptions are the flags.
type dataOptions struct {
	serving
	spec          string
	columns       formats.Options
	download      string
	check         string
	export, embed string
	side          int
	most          int64
	quiet         bool
}

func parseData(args []string, stderr io.Writer) (*dataOptions, error) {
	o := &dataOptions{}
	fs := flag.NewFlagSet("view data", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {}
	o.flags(fs)
	most := fs.String("embed-max", "64MiB", "")
	o.columns.Bare = true // rows can be looked at without their pictures
	fs.StringVar(&o.columns.Images, "images", "", "")
	fs.StringVar(&o.columns.ImageKey, "csv-img-key", "", "")
	fs.StringVar(&o.columns.CaptionKey, "csv-caption-key", "", "")
	fs.StringVar(&o.columns.Separator, "csv-separator", "", "")
	fs.StringVar(&o.download, "download", "", "")
	fs.StringVar(&o.check, "check", "decode", "")
	fs.StringVar(&o.export, "export", "", "")
	fs.StringVar(&o.embed, "embed", viewer.EmbedThumbs, "")
	fs.IntVar(&o.side, "embed-side", 160, "")
	fs.BoolVar(&o.quiet, "quiet", false, "")
	rest, err := command.ParseFlags(fs, args)
	if err != nil {
		return nil, err
	}
	given := make(map[string]bool)
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	switch {
	case len(rest) == 0:
		return nil, command.Usagef("data: what to show is missing: want a file of rows, a folder of pictures or shards")
	case len(rest) > 1:
		return nil, command.Usagef("data: %q after %q: want one data set", rest[1], rest[0])
	}
	o.spec = rest[0]
	if err := cmp.Or(o.validate(), oneOf("check", o.check, "decode", "files"), oneOf("embed", o.embed, viewer.EmbedThumbs, viewer.EmbedLinks, viewer.EmbedNone)); err != nil {
		return nil, err
	}
	if !slices.Contains([]int{96, 160, 256, 512}, o.side) {
		return nil, command.Usagef("--embed-side is %d: want 96, 160, 256 or 512", o.side)
	}
	if o.most, err = dataloader.ParseBytes(*most); err != nil {
		return nil, command.Usagef("--embed-max: %w", err)
	}
	for _, name := range []string{"embed", "embed-side", "embed-max"} {
		if given[name] && o.export == "" {
			return nil, command.Usagef("--%s goes with --export", name)
		}
	}
	for _, name := range []string{"port", "host", "open"} {
		if given[name] && o.export != "" {
			return nil, command.Usagef("--%s does not go with --export, which serves nothing", name)
		}
	}
	return o, nil
}

// viewData is the subcommand "data".
func viewData(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseData(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, dataUsage)
		return nil
	}
	if err != nil {
		return err
	}
	ds, err := formats.Open(ctx, o.spec, o.columns)
	if err != nil {
		return err
	}
	known, err := downloads(o.download, o.spec)
	if err != nil {
		return err
	}
	page, err := viewer.NewDataPage(ds, known)
	if err != nil {
		return err
	}
	if o.export != "" {
		return o.write(ctx, page, stdout, stderr)
	}
	site := viewer.NewSite()
	if err := page.Add(site, "/"); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	checked := make(chan error, 1)
	go func() { checked <- page.Check(ctx, viewer.Check{Decode: o.check == "decode"}) }() // beside the server: it tells the page
	err = o.serve(ctx, site, stdout, stderr)
	cancel()
	<-checked // it ends only with its context
	return err
}

// write writes the page into a file.
func (o *dataOptions) write(ctx context.Context, page *viewer.DataPage, stdout, stderr io.Writer) error {
	var last time.Time
	progress := func(done int) {
		if now := time.Now(); !o.quiet && now.Sub(last) > 5*time.Second {
			if !last.IsZero() {
				fmt.Fprintf(stderr, "view: %d pictures\n", done)
			}
			last = now
		}
	}
	var got viewer.Exported
	err := checkpoints.WriteFile(o.export, func(w io.Writer) error {
		var err error
		got, err = page.Export(ctx, w, viewer.Export{
			Dir: filepath.Dir(o.export), Embed: o.embed, Side: o.side, Limit: o.most,
			Check: viewer.Check{Decode: o.check == "decode", Workers: runtime.GOMAXPROCS(0), Progress: progress},
		})
		return err
	})
	if err != nil {
		return err
	}
	counts := page.Counts()
	fmt.Fprintf(stdout, "%s: %d rows; pictures: %d embedded (%.1f MiB), %d linked, %d missing, %d broken\n",
		o.export, got.Rows, got.Thumbs, float64(got.Bytes)/(1<<20), got.Links, counts[viewer.Missing], counts[viewer.Broken])
	return nil
}

// oneOf returns a usage error unless value is one of the words.
func oneOf(name, value string, words ...string) error {
	if slices.Contains(words, value) {
		return nil
	}
	return command.Usagef("data: --%s %s: want %s", name, value, strings.Join(words, ", "))
}
