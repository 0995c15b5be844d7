package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"relsim/command"
	"relsim/dataloader"
	"relsim/formats"
	"relsim/phash"
)

const splitUsage = `usage: data split --from SPEC --out DIR [--val SHARE] [--test SHARE] [flags]

Divides a data set into DIR/train, DIR/val and, with --test, DIR/test, by a hash of each picture's ID: adding rows later
moves none. The rows refer to the same pictures, by a link DIR/images; --copy writes the pictures, too.

`

// splitKeys are what may be kept together.
var splitKeys = []string{"id", "group", "relation", "caption", "phash"}

// splitSummary is what "data split" prints.
type splitSummary struct {
	By     string                     `json:"by"`
	Seed   uint64                     `json:"seed"`
	Parts  map[string]formats.Written `json:"parts"`
	Shared map[string]int             `json:"shared"`           // groups and captions that stand in more than one part
	Broken int                        `json:"broken,omitempty"` // pictures that --by phash could not read
}

// split runs "data split".
func split(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("split", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, splitUsage)
		flags.PrintDefaults()
	}
	var source formats.Options
	var o outputFlags
	var rule dataloader.Rule
	from := flags.String("from", "", "data `set` to read")
	out := flags.String("out", "", "`folder` to write")
	sourceFlags(flags, &source)
	flags.Float64Var(&rule.Val, "val", 0.1, "`share` to validate on; the same as that of \"train --val-share\" takes the same pictures")
	flags.Float64Var(&rule.Test, "test", 0, "`share` to test on")
	by := flags.String("by", "id", "`what` stands in one part only: "+strings.Join(splitKeys, ", ")+" (a picture always does)")
	distance := flags.Int("distance", 0, "by phash: pictures are alike whose hashes differ in at most so many `bits` of 64")
	flags.Uint64Var(&rule.Seed, "seed", 0, "another `number` divides otherwise")
	copies := flags.Bool("copy", false, "write the pictures, too, instead of a link to them")
	flags.StringVar(&o.Format, "format", "", "`format` to write with --copy: "+strings.Join(formats.FormatNames(), ", ")+" (default: that of the rows)")
	o.add(flags)
	if err := parse(flags, args); err != nil {
		return err
	}
	switch {
	case *from == "" || *out == "":
		return command.Usagef("split: --from and --out are needed")
	case !(rule.Val >= 0 && rule.Test >= 0 && rule.Val+rule.Test < 1 && rule.Val+rule.Test > 0):
		return command.Usagef("split: --val %v and --test %v: want shares of more than 0 and less than 1 together", rule.Val, rule.Test)
	case !slices.Contains(splitKeys, *by):
		return command.Usagef("split: --by %q: want one of %s", *by, strings.Join(splitKeys, ", "))
	case *distance < 0 || *distance > 64 || *distance > 0 && *by != "phash":
		return command.Usagef("split: --distance %d: want 0 to 64, with --by phash", *distance)
	case o.Format != "" && !slices.Contains(formats.FormatNames(), o.Format):
		return command.Usagef("split: --format %q: want one of %s", o.Format, strings.Join(formats.FormatNames(), ", "))
	case o.encode.Encode != "" && !*copies:
		return command.Usagef("split: --encode is for --copy")
	case o.Format != "" && !*copies:
		return command.Usagef("split: --format is for --copy: rows that refer to their pictures stay what they are")
	}
	if err := errors.Join(o.finish("split"), source.Validate()); err != nil {
		return command.Usage(err)
	}
	kind, paths, err := formats.Identify(*from)
	if err != nil {
		return err
	}
	source.Bare = !*copies && *by != "phash"
	ds, err := formats.Open(ctx, *from, source)
	if err != nil {
		return err
	}
	notes(ds, stderr)
	sum := splitSummary{By: *by, Seed: rule.Seed, Parts: map[string]formats.Written{}}
	finish := o.progress("hashing", stderr)
	sum.Broken, err = together(ctx, ds, *by, *distance, &o, &rule)
	finish()
	if err != nil {
		return err
	}
	train, val, test, err := rule.Divide(ds)
	if err != nil {
		return err
	}
	var parts []formats.Part
	sides := make([]string, ds.Len())
	for _, p := range []struct {
		name    string
		share   float64
		indices []int
	}{{"train", 1, train}, {"val", rule.Val, val}, {"test", rule.Test, test}} {
		if p.share == 0 {
			continue
		}
		if len(p.indices) == 0 {
			return fmt.Errorf("split: no row of %d goes to %s: want another share, --by or --seed", ds.Len(), p.name)
		}
		parts = append(parts, formats.Part{Name: p.name, Data: dataloader.Subset(ds, p.name, p.indices)})
		for _, i := range p.indices {
			sides[i] = p.name
		}
	}
	sum.Shared = shared(ds, sides)
	o.target(ds, kind, paths[0], *copies)
	finish = o.progress("writing", stderr)
	list, err := formats.WriteParts(ctx, *out, parts, o.WriteOptions)
	finish()
	if err != nil {
		return hint(err)
	}
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.Name
		sum.Parts[p.Name] = list[i]
	}
	if sum.Broken > 0 {
		fmt.Fprintf(stderr, "data: split: %s could not be read, and went by their IDs\n", count(sum.Broken, "picture"))
	}
	if o.json {
		if err := o.report(list, names, io.Discard, stderr); err != nil {
			return err
		}
		lines := json.NewEncoder(stdout)
		lines.SetIndent("", "  ")
		lines.SetEscapeHTML(false)
		return lines.Encode(sum)
	}
	if err := o.report(list, names, stdout, stderr); err != nil {
		return err
	}
	for _, what := range []string{"group", "caption"} {
		if n := sum.Shared[what]; n > 0 {
			if _, err := fmt.Fprintf(stdout, "%s in more than one part; --by %s keeps each in one\n", count(n, what), what); err != nil {
				return err
			}
		}
	}
	if images := list[0].Images; images != "" && !strings.HasPrefix(images, filepath.Clean(*out)) {
		_, err = fmt.Fprintf(stdout, "the pictures are in %s: say so with --images\n", images)
	}
	return err
}

// target decides in which format the parts are written, and how they come by their pictures.
func (o *outputFlags) target(ds dataloader.Dataset, kind *formats.Format, path string, copies bool) {
	if o.Format == "" {
		o.Format = formats.FormatAt(path)
	}
	if copies {
		if o.Format == "" {
			o.Format = formats.JSONL
		}
		return
	}
	folder := formats.PictureFolder(ds)
	if folder == "" { // they are inside of the files
		return
	}
	o.NoImages = true
	if info, err := os.Stat(folder); err == nil && info.IsDir() { // else nobody has the pictures yet
		o.Refer = folder
	}
	switch {
	case o.Format == formats.JSONL || o.Format == formats.CSV || o.Format == formats.TSV || o.Format == formats.Groups:
	case strings.HasPrefix(kind.Name, "seed groups"):
		o.Format = formats.Groups
	case kind.Rows && kind.Name == "CSV":
		o.Format = formats.CSV
	default: // names of pictures, in one folder or below it
		o.Format = formats.JSONL
		for i := range ds.Len() {
			if filepath.Dir(ds.Item(i).Path) != folder {
				o.Format = formats.CSV
				break
			}
		}
	}
}

// together sets what must not be torn apart, and returns how many pictures could not be read for it.
func together(ctx context.Context, ds dataloader.Dataset, by string, distance int, o *outputFlags, rule *dataloader.Rule) (broken int, err error) {
	one := func(get func(it dataloader.Item) string) func(int) []string {
		return func(i int) []string {
			if key := get(ds.Item(i)); key != "" {
				return []string{key}
			}
			return nil
		}
	}
	switch by {
	case "group":
		rule.Keys = one(func(it dataloader.Item) string { return it.Group })
	case "relation":
		rule.Keys = one(func(it dataloader.Item) string { return it.Relation })
	case "caption":
		rule.Keys = func(i int) []string { return captionsOf(ds.Item(i)) }
	case "phash":
		hashes, known, err := hashAll(ctx, ds, o)
		if err != nil {
			return 0, err
		}
		rule.Keys = func(i int) []string {
			if !known[i] {
				return nil
			}
			return []string{hashes[i].String()}
		}
		var good []int
		var list []phash.Hash
		for i, ok := range known {
			if ok {
				good, list = append(good, i), append(list, hashes[i])
			}
		}
		if distance > 0 {
			rule.Alike = func(same func(i, k int)) {
				for _, group := range phash.Groups(list, distance) {
					for _, k := range group[1:] {
						same(good[group[0]], good[k])
					}
				}
			}
		}
		return ds.Len() - len(good), nil
	}
	return 0, nil
}

// captionsOf are the captions of an item without what differs in writing alone: capital letters and white space.
func captionsOf(it dataloader.Item) []string {
	list := it.Captions
	if len(list) == 0 && it.Caption != "" {
		list = []string{it.Caption}
	}
	keys := make([]string, len(list))
	for i, s := range list {
		keys[i] = strings.ToLower(strings.Join(strings.Fields(s), " "))
	}
	return keys
}

// hashAll hashes all pictures perceptually. known says which could be read.
func hashAll(ctx context.Context, ds dataloader.Dataset, o *outputFlags) (hashes []phash.Hash, known []bool, err error) {
	n := ds.Len()
	hashes, known = make([]phash.Hash, n), make([]bool, n)
	workers := o.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	var next, done atomic.Int64
	var bar sync.Mutex
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if im, err := ds.Image(ctx, i); err == nil {
					hashes[i], known[i] = phash.Of(im), true
				}
				if o.Progress != nil {
					bar.Lock()
					o.Progress(int(done.Add(1)), n)
					bar.Unlock()
				}
			}
		})
	}
	group.Wait()
	return hashes, known, ctx.Err()
}

// shared counts groups and captions that stand on more than one side.
func shared(ds dataloader.Dataset, sides []string) map[string]int {
	counts := map[string]int{}
	tell := func(what string, keys func(it dataloader.Item) []string) {
		side, torn := map[string]string{}, map[string]bool{}
		for i := range ds.Len() {
			for _, key := range keys(ds.Item(i)) {
				if old, ok := side[key]; ok && old != sides[i] {
					torn[key] = true
				}
				side[key] = sides[i]
			}
		}
		counts[what] = len(torn)
	}
	tell("caption", captionsOf)
	tell("group", func(it dataloader.Item) []string {
		if it.Group == "" {
			return nil
		}
		return []string{it.Group}
	})
	return counts
}
