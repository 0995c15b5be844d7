package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"relsim/command"
	"relsim/dataloader"
	"relsim/download"
	"relsim/formats"
)

const convertUsage = `usage: data convert --from SPEC --to SPEC [flags]

Writes a data set in another format, with its pictures byte for byte. SPEC is a file of rows (.jsonl, .csv, .tsv,
seed_group.json), a .parquet file, tar files ("DIR/{000000..000113}.tar" to read, "DIR/{000000..}.tar" to write), or a
folder, whose format --format says when it is written.

`

// sourceFlags are the flags that say how to read a data set.
func sourceFlags(flags *flag.FlagSet, o *formats.Options) {
	flags.StringVar(&o.Images, "images", "", "`folder` of the pictures (default: beside the rows)")
	columnFlags(flags, o)
}

// columnFlags are those of tables, as train and eval call them.
func columnFlags(flags *flag.FlagSet, o *formats.Options) {
	flags.StringVar(&o.ImageKey, "csv-img-key", "", "CSV, TSV, Parquet: `column` that names the picture (default filepath, or image_hash)")
	flags.StringVar(&o.CaptionKey, "csv-caption-key", "", "CSV, TSV, Parquet: `column` of the caption (default title, or caption)")
	flags.StringVar(&o.Separator, "csv-separator", "", "CSV: `character` between the fields (default: found out)")
}

// outputFlags are the flags that say how to write one.
type outputFlags struct {
	formats.WriteOptions
	size    string
	encode  download.Options // Encode, Resize and Quality
	skipped string
	json    bool
	quiet   bool
}

func (o *outputFlags) add(flags *flag.FlagSet) {
	flags.StringVar(&o.size, "shard-size", "1GiB", "webdataset, parquet: begin a new file beyond so many `bytes` of pictures, such as 500MiB")
	flags.IntVar(&o.ShardRows, "shard-rows", formats.DefaultShardRows, "webdataset, parquet: begin a new file after so many `rows`")
	o.encode = download.Default()
	flags.StringVar(&o.encode.Encode, "encode", "", "encode the pictures anew, in a `format`: png, jpeg or webp (default: byte for byte)")
	flags.IntVar(&o.encode.Resize, "resize", 0, "with --encode: make shorter sides that are longer `N` pixels long")
	flags.IntVar(&o.encode.Quality, "quality", o.encode.Quality, "`quality` of --encode jpeg and webp, 1 to 100")
	flags.BoolVar(&o.Force, "force", false, "replace an earlier output")
	flags.BoolVar(&o.Strict, "strict", false, "stop at the first picture that is broken")
	flags.BoolVar(&o.Trust, "trust", false, "do not decode the pictures to see whether they are whole")
	flags.IntVar(&o.Workers, "workers", 0, "goroutines that read and decode (default one for each core)")
	flags.StringVar(&o.skipped, "skipped", "", "list the rows that were left out in this `file`, as JSON lines")
	flags.BoolVar(&o.json, "json", false, "print the summary as JSON")
	flags.BoolVar(&o.quiet, "quiet", false, "no progress bar")
}

// finish checks the flags.
func (o *outputFlags) finish(name string) error {
	var err error
	if o.ShardSize, err = dataloader.ParseBytes(o.size); err != nil {
		return command.Usagef("%s: --shard-size: %v", name, err)
	}
	if o.ShardRows < 1 {
		return command.Usagef("%s: --shard-rows %d: want 1 or more", name, o.ShardRows)
	}
	if o.Workers < 0 {
		return command.Usagef("%s: --workers %d: less than 0", name, o.Workers)
	}
	if err := o.encode.ValidateEncode(); err != nil {
		return command.Usagef("%s: %v", name, err)
	}
	if o.encode.Encode != "" {
		o.Encode = o.encode.Reencode
	}
	return nil
}

// progress shows a bar on terminals, until the returned function is called.
func (o *outputFlags) progress(what string, stderr io.Writer) (finish func()) {
	f, ok := stderr.(*os.File)
	if !ok || o.quiet || !term.IsTerminal(int(f.Fd())) {
		return func() {}
	}
	bar := progressbar.NewOptions(-1, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("rows"),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	o.Progress = func(done, total int) {
		bar.ChangeMax(total)
		bar.Set(done)
	}
	return func() { bar.Finish() }
}

// convert runs "data convert".
func convert(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("convert", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, convertUsage)
		flags.PrintDefaults()
	}
	var source formats.Options
	var o outputFlags
	from := flags.String("from", "", "data `set` to read")
	to := flags.String("to", "", "`file` or folder to write")
	sourceFlags(flags, &source)
	flags.StringVar(&o.Format, "format", "", "`format` to write: "+strings.Join(formats.FormatNames(), ", ")+" (default: by the name)")
	flags.BoolVar(&o.NoImages, "no-images", false, "write the rows alone, without their pictures")
	flags.BoolVar(&o.OpenCLIP, "open-clip", false, "csv, tsv: call the columns filepath and title, as open_clip does")
	o.add(flags)
	if err := parse(flags, args); err != nil {
		return err
	}
	if *from == "" || *to == "" {
		return command.Usagef("convert: --from and --to are needed")
	}
	if o.Format != "" && !slices.Contains(formats.FormatNames(), o.Format) {
		return command.Usagef("convert: --format %q: want one of %s", o.Format, strings.Join(formats.FormatNames(), ", "))
	}
	if err := errors.Join(o.finish("convert"), source.Validate()); err != nil {
		return command.Usage(err)
	}
	source.Bare = o.NoImages
	ds, err := formats.Open(ctx, *from, source)
	if err != nil {
		return err
	}
	notes(ds, stderr)
	finish := o.progress("converting", stderr)
	w, err := formats.Write(ctx, *to, ds, o.WriteOptions)
	finish()
	if err != nil {
		return hint(err)
	}
	return o.report([]formats.Written{w}, []string{""}, stdout, stderr)
}

// notes says what was passed by when the rows were listed.
func notes(ds dataloader.Dataset, stderr io.Writer) {
	for _, note := range dataloader.Notes(ds) {
		fmt.Fprintf(stderr, "data: %s: %s\n", ds.Name(), note)
	}
}

// hint adds what to do about an output that is there.
func hint(err error) error {
	switch {
	case !errors.Is(err, formats.ErrExists):
		return err
	case strings.Contains(err.Error(), "images: "+formats.ErrExists.Error()):
		return fmt.Errorf("%w; --no-images writes rows for the pictures that are there, --force replaces an earlier output", err)
	}
	return fmt.Errorf("%w; --force replaces it", err)
}

// most bounds the rows that are named on the terminal.
const most = 20

// report prints what was written, and what was left out.
func (o *outputFlags) report(list []formats.Written, names []string, stdout, stderr io.Writer) error {
	var broken []dataloader.Broken
	for _, w := range list {
		broken = append(broken, w.Broken...)
	}
	if o.skipped != "" {
		if err := dataloader.WriteSkipped(o.skipped, broken); err != nil {
			return err
		}
	}
	for i, b := range broken {
		if i == most {
			fmt.Fprintf(stderr, "data: left out: %d more\n", len(broken)-most)
			break
		}
		fmt.Fprintf(stderr, "data: left out: %.80q: %s\n", b.ID, strings.ReplaceAll(b.Reason, "\n", " "))
	}
	if o.json {
		lines := json.NewEncoder(stdout)
		lines.SetIndent("", "  ")
		lines.SetEscapeHTML(false)
		if len(list) == 1 {
			return lines.Encode(list[0])
		}
		byName := map[string]formats.Written{}
		for i, w := range list {
			byName[names[i]] = w
		}
		return lines.Encode(byName)
	}
	var b strings.Builder
	for i, w := range list {
		if names[i] != "" {
			fmt.Fprintf(&b, "%s: ", names[i])
		}
		fmt.Fprintf(&b, "%s in %s", count(w.Rows, "row"), w.Path)
		if w.Groups > 0 {
			fmt.Fprintf(&b, ", %s", count(w.Groups, "group"))
		}
		if w.Pictures > 0 {
			fmt.Fprintf(&b, ", %s of %s", count(w.Pictures, "picture"), size(w.Bytes))
		}
		if w.Shards > 1 {
			fmt.Fprintf(&b, " in %s", count(w.Shards, "file"))
		}
		b.WriteByte('\n')
		if len(w.Broken) > 0 {
			fmt.Fprintf(&b, "  left out: %s\n", count(len(w.Broken), "row"))
		}
		if w.Renamed > 0 {
			fmt.Fprintf(&b, "  other IDs, since the format makes names of files of them: %s\n", count(w.Renamed, "row"))
		}
		if w.Unquoted > 0 {
			fmt.Fprintf(&b, "  quotes around captions taken off: %s\n", count(w.Unquoted, "row"))
		}
		for _, field := range slices.Sorted(maps.Keys(w.Lost)) {
			fmt.Fprintf(&b, "  not held by the format: %s of %s\n", field, count(w.Lost[field], "row"))
		}
	}
	_, err := io.WriteString(stdout, b.String())
	return err
}

// count is a number of things: "1 row", "2 rows".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// size is a number of bytes in a unit that suits it.
func size(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	v, i := float64(n), 0
	for v >= 999.5 && i < len(units)-1 {
		v /= 1000
		i++
	}
	if i == 0 || v >= 99.5 {
		return fmt.Sprintf("%.0f %s", v, units[i])
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
