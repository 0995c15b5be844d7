// Command score says how similar pictures are:
//
//	score a.jpg b.jpg --model runs/mine
//	score --model lpips:alex=DIR a.jpg b.jpg
//	score --model hog -k 5 DIR
//
// It compares the pictures that are named, and those in the folders and data sets that are named, all with all, and prints a line for
// each pair: the score and the two paths. The first line says what a score is. With -k it prints the pictures nearest to
// each. `--json` and `--csv` are for other programs.
//
// --model is a run or a checkpoint (its best is taken), a published model with an encoder of pictures (a folder, or a name
// such as org/name), LPIPS, or a measure of pixels. Scores are similarities, and higher is nearer: of a model, the cosine of
// two embeddings. LPIPS is a distance: lower is nearer, and 0 is the same. Position is compared with position, so the
// pictures must have one size, or --side says to which square they are cut and resized.
//
// A picture that cannot be read is named on stderr and left out; the others are scored all the same, and the exit status
// is 1.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"relsim/command"
	"relsim/dataloader"
	"relsim/formats"
	"relsim/kernel"
	"relsim/training"
)

const usageText = `score: how similar pictures are

  score a.jpg b.jpg --model runs/mine
  score --model lpips:alex=DIR a.jpg b.jpg
  score --model hog -k 5 DIR

  PICTURE|DIR|DATA…    what to compare, all with all; of a folder its .png, .jpg, .jpeg and .webp; of data in any format that
                       train takes (rows, CSV, Parquet, shards, seed groups) the pictures
  --images DIR         folder of the pictures of rows (the folder images beside them)
  --model MODEL        what to compare by:
                         a run folder, a checkpoint, or a published model (folder or org/name): cosine, higher is nearer
                         lpips:alex=DIR, lpips:vgg=DIR, lpips:squeeze=DIR: LPIPS, a distance, lower is nearer
                         %s
  -k N                 of each picture the N nearest only (all pairs)
  --side N             LPIPS: cut and resize pictures to squares of N pixels (as they are, which takes one size)
  --json               print one JSON object
  --csv                print comma-separated values
  --device D           of a model: auto, cpu, cuda or cuda:N (auto: an NVIDIA GPU where one can be used, else the CPU);
                       LPIPS and measures of pixels run on the CPU
  --precision P        of a model's matrix products: auto, float32, tf32 or bf16 (auto: float32; bf16 on GPUs that have it)
  --threads N          (all cores)
  --quiet              no progress

One dash or two, before or after the pictures; -- ends the flags. Exit status: 0 done, 1 failed or some picture could not
be read, 2 usage, 130 interrupted.
`

func main() { command.Main(run) }

// run is the command. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var results bytes.Buffer // written at the end, in one go: what a reader gets is whole
	o, err := parse(args, &results)
	if err == nil {
		if err = kernel.Init(); err != nil {
			err = command.Usage(err)
		}
	}
	if err == nil {
		if warning := kernel.Crowded(o.threads); warning != "" {
			fmt.Fprintf(stderr, "score: %s\n", warning)
		}
		err = o.score(ctx, &results, stderr)
	}
	if results.Len() > 0 {
		if _, failed := stdout.Write(results.Bytes()); failed != nil {
			err = fmt.Errorf("standard output: %w", failed)
		}
	}
	return command.Status(ctx, "score", err, stderr)
}

// options are the flags.
type options struct {
	model     string
	images    string
	k, side   int
	json, csv bool
	device    string
	precision string
	threads   int
	quiet     bool
	paths     []string
}

// maxSide bounds --side: features of such a square fit in memory.
const maxSide = 4096

// parse reads the flags and paths. It returns flag.ErrHelp when the help was asked for and printed.
func parse(args []string, stdout io.Writer) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("score", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.model, "model", "", "")
	fs.StringVar(&o.images, "images", "", "")
	fs.IntVar(&o.k, "k", 0, "")
	fs.IntVar(&o.side, "side", 0, "")
	fs.BoolVar(&o.json, "json", false, "")
	fs.BoolVar(&o.csv, "csv", false, "")
	fs.StringVar(&o.device, "device", training.AutoDevice, "")
	fs.StringVar(&o.precision, "precision", training.AutoPrecision, "")
	fs.IntVar(&o.threads, "threads", runtime.GOMAXPROCS(0), "")
	fs.BoolVar(&o.quiet, "quiet", false, "")
	for rest := args; len(rest) > 0; { // flags may follow pictures
		if err := fs.Parse(rest); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				fmt.Fprintf(stdout, usageText, pixelNames())
				return nil, flag.ErrHelp
			}
			return nil, command.Usage(err)
		}
		if ended := len(rest) > fs.NArg() && rest[len(rest)-fs.NArg()-1] == "--"; ended {
			o.paths = append(o.paths, fs.Args()...)
			break
		}
		if rest = fs.Args(); len(rest) > 0 {
			o.paths, rest = append(o.paths, rest[0]), rest[1:]
		}
	}
	switch {
	case o.model == "":
		return nil, command.Usagef("--model is missing")
	case len(o.paths) == 0:
		return nil, command.Usagef("no pictures: name two or more, or a folder")
	case o.json && o.csv:
		return nil, command.Usagef("--json and --csv: want one of them")
	case o.k < 0:
		return nil, command.Usagef("-k is %d: want 1 or more", o.k)
	case o.side < 0 || o.side > maxSide:
		return nil, command.Usagef("--side is %d: want 1 to %d", o.side, maxSide)
	case o.threads < 1 || o.threads > 1024:
		return nil, command.Usagef("--threads is %d: want 1 to 1024", o.threads)
	}
	return o, nil
}

// pictures opens what is to compare, each picture once, and says how each is called. A path that is not there is kept, to be
// named among those that cannot be read.
func (o *options) pictures(ctx context.Context) (dataloader.Dataset, []string, error) {
	var sets []dataloader.Dataset
	var list, loose []string // all names, and files that are in no set yet
	seen := make(map[string]bool)
	add := func(name string) bool {
		if clean := filepath.Clean(name); !seen[clean] {
			seen[clean] = true
			list = append(list, name)
			return true
		}
		return false
	}
	gather := func() {
		if len(loose) > 0 {
			sets, loose = append(sets, dataloader.Files("pictures", loose)), nil
		}
	}
	for _, path := range o.paths {
		files, set, err := o.openPath(ctx, path)
		if err != nil {
			return nil, nil, err
		}
		for _, file := range files {
			if add(file) {
				loose = append(loose, file)
			}
		}
		if set == nil {
			continue
		}
		gather()
		set = dataloader.Distinct(set)
		var indices []int
		for i := range set.Len() {
			if add(set.Item(i).Picture()) {
				indices = append(indices, i)
			}
		}
		sets = append(sets, dataloader.Subset(set, set.Name(), indices))
	}
	gather()
	if len(list) < 2 {
		return nil, nil, command.Usagef("%d picture: want two or more", len(list))
	}
	const most = 5000
	if o.k == 0 && len(list) > most {
		return nil, nil, command.Usagef("all pairs of %d pictures: want at most %d, or -k N", len(list), most)
	}
	ds, err := dataloader.Mix(sets, slices.Repeat([]float64{1}, len(sets)))
	return ds, list, err
}

// openPath returns the files that a path names: itself, or those of a folder; or the data set that it names.
func (o *options) openPath(ctx context.Context, path string) (files []string, set dataloader.Dataset, err error) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		if files, err = dataloader.ListPictures(path); err != nil || len(files) > 0 {
			return files, nil, err
		}
	} else if _, _, none := formats.Identify(path); none != nil || dataloader.IsPictureName(path) { // also what is no picture
		return []string{path}, nil, nil
	}
	set, err = formats.Open(ctx, path, formats.Options{Images: o.images})
	return nil, set, err
}

// score does what the flags ask for.
func (o *options) score(ctx context.Context, stdout, stderr io.Writer) error {
	ds, list, err := o.pictures(ctx)
	if err != nil {
		return err
	}
	compare, err := o.open(ctx, stderr)
	if err != nil {
		return err
	}
	defer compare.close()
	var last time.Time
	progress := func(done int) {
		if now := time.Now(); !o.quiet && now.Sub(last) > 5*time.Second {
			if !last.IsZero() {
				fmt.Fprintf(stderr, "score: %d of %d pictures\n", done, len(list))
			}
			last = now
		}
	}
	good, broken, err := compare.prepare(ctx, ds, progress)
	if err != nil {
		return err
	}
	for _, b := range broken {
		fmt.Fprintf(stderr, "score: %s: cannot be read: %s\n", list[b.Index], b.Reason)
	}
	if len(good) < 2 {
		return fmt.Errorf("%d of %d pictures can be read: want two or more", len(good), len(list))
	}
	r := &result{Model: o.model, about: compare.about(), Broken: broken}
	for _, i := range good {
		r.Pictures = append(r.Pictures, list[i])
	}
	if err := r.collect(ctx, compare, o.k); err != nil {
		return err
	}
	if err := r.write(stdout, o); err != nil {
		return err
	}
	if len(broken) > 0 {
		return fmt.Errorf("%d of %d pictures could not be read; the others were scored", len(broken), len(list))
	}
	return nil
}
