package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"relsim/checkpoints"
	"relsim/command"
	"relsim/dataloader"
	"relsim/regular"
	"relsim/retrieval"
	"relsim/training"
	"relsim/viewer"
)

// pictureMemory is what the pictures that were asked for last may take, in bytes.
const pictureMemory = 64 << 20

const retrievalUsage = `usage: view retrieval RUN|rankings.jsonl.gz|retrieved_images.json [flags]

  RUN                  run folder or report folder: report/rankings.jsonl.gz, which eval and train write; or such a
                       file, or the retrieved_images.json of the reference implementation
  --images DIR         where the pictures are now (where they were; of retrieved_images.json: its own folder)
  --metrics FILE       figures of the same evaluation (metrics.json beside the rankings)
  --export FILE        write a page that needs no server, pictures in it, and end
  --queries N          queries of an exported page, drawn by --seed (all)
  --seed N             (1)
` + servingUsage + `

Exit status: 0 done, or served and ended by Ctrl-C; 1 failed, 2 usage, 130 interrupted while writing a file.
`

// viewRetrieval is the subcommand "retrieval".
func viewRetrieval(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("view retrieval", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {}
	images := flags.String("images", "", "")
	metrics := flags.String("metrics", "", "")
	var server serving
	server.flags(flags)
	export := flags.String("export", "", "")
	queries := flags.Int("queries", 0, "")
	seed := flags.Uint64("seed", 1, "")
	rest, err := command.ParseFlags(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, retrievalUsage)
		return nil
	case err != nil:
		return err
	case len(rest) != 1:
		return command.Usagef("retrieval: %d arguments: want a run, or a file of rankings", len(rest))
	case *queries < 0:
		return command.Usagef("retrieval: --queries is %d: want 0 (all) or more", *queries)
	case *queries > 0 && *export == "":
		return command.Usagef("retrieval: --queries goes with --export")
	}
	if err := server.validate(); err != nil {
		return err
	}
	r, gallery, options, err := openRankings(ctx, rest[0], *images, *metrics)
	if err != nil {
		return err
	}
	page, err := viewer.NewRetrieval(r, options)
	if err != nil {
		return err
	}
	pictures := viewer.NewPictures(gallery, pictureMemory)
	if *export != "" {
		var unreadable int
		err := checkpoints.WriteFile(*export, func(w io.Writer) (err error) {
			unreadable, err = page.Export(ctx, w, pictures, *queries, *seed)
			return err
		})
		if err != nil {
			return fmt.Errorf("export: %w", err)
		}
		if unreadable > 0 {
			fmt.Fprintf(stderr, "view: pictures that could not be read, and are not in the page: %d\n", unreadable)
		}
		fmt.Fprintln(stdout, *export)
		return nil
	}
	site := viewer.NewSite()
	if err := page.AddTo(site, "/", pictures); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "view: %d queries by %d methods\n", len(r.Queries), len(r.Methods))
	return server.serve(ctx, site, stdout, stderr)
}

// openRankings opens rankings, their gallery and what is known beside them.
func openRankings(ctx context.Context, path, images, metrics string) (*retrieval.Rankings, dataloader.Dataset, viewer.RetrievalOptions, error) {
	var o viewer.RetrievalOptions
	fail := func(err error) (*retrieval.Rankings, dataloader.Dataset, viewer.RetrievalOptions, error) {
		return nil, nil, o, err
	}
	file, err := training.RankingsPath(path)
	if err != nil {
		return fail(err)
	}
	var r *retrieval.Rankings
	var gallery dataloader.Dataset
	if strings.HasSuffix(file, ".json") {
		if r, err = retrieval.ReadRetrieved(file, images); err != nil {
			return fail(err)
		}
		o.NoScores = true
		items := make([]dataloader.Item, len(r.Items))
		for i, it := range r.Items {
			items[i] = dataloader.Item{ID: it.ID, Path: it.Path, Profile: -1, Family: -1}
		}
		gallery = dataloader.NewRows(r.Data, "", items, nil)
	} else {
		if r, err = retrieval.ReadRankings(file); err != nil {
			return fail(err)
		}
		if gallery, err = training.OpenRankedGallery(ctx, r, images); err != nil {
			return fail(err)
		}
	}
	if o.Result, err = readMetrics(file, metrics); err != nil {
		return fail(err)
	}
	return r, gallery, o, nil
}

// maxMetrics bounds a file of metrics, in bytes.
const maxMetrics = 64 << 20

// readMetrics reads the figures beside rankings, or those of another file; nil where there are none.
func readMetrics(rankings, path string) (*retrieval.Result, error) {
	named := path != ""
	if !named {
		path = filepath.Join(filepath.Dir(rankings), "metrics.json")
	}
	f, size, err := regular.Open(path)
	if !named && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	defer f.Close()
	if size > maxMetrics {
		return nil, fmt.Errorf("metrics: %s: %d bytes: want at most %d", path, size, maxMetrics)
	}
	var result retrieval.Result
	if err := json.NewDecoder(io.LimitReader(f, maxMetrics)).Decode(&result); err != nil {
		return nil, fmt.Errorf("metrics: %s: not the metrics.json of a report: %w", path, err)
	}
	return &result, nil
}
