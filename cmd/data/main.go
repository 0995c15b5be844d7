// Command data makes and shows data sets, and fetches published models.
//
//	data scenes --out DIR [-n N] [--seed S] [--size PIXELS] [--workers W] [--json]
//	data sheet --out FILE.png [--seed S] [--size PIXELS] [--near]
//	data model [--update] [--offline] [--max-size GB] [--quiet] NAME
//	data convert --from SPEC --to SPEC [--format NAME] [--images DIR] [--no-images] [--shard-size N] [--force] [--json]
//	data split --from SPEC --out DIR [--val P] [--test P] [--by WHAT] [--seed N] [--copy] [--force] [--json]
//	data inspect --data SPEC [--images DIR] [--against SPEC] [--no-pictures] [--out FILE.html] [--fail-on NAMES] [--json]
//	data download --from ROWS --out DIR [--retry failed|timeouts|all] [--fallback ADDRESS] [--json] [flags]
//
// "data scenes" writes the embedded benchmark of relational scenes as files: DIR/train.jsonl, val.jsonl, test.jsonl
// and near_miss.jsonl, one picture a line, and the pictures as DIR/images/<image_hash>.png. The folder is made beside
// its place and moved there when it is whole, so an interrupt leaves nothing half done.
//
// "data sheet" draws a labelled sheet of all relations.
//
// "data model" prints the folder of a published model, named "org/name" or "org/name@revision" as on the Hugging Face
// Hub. What the cache has not is downloaded: the configuration, the tokenizer and the weights as safetensors, each checked
// against the size and hash that the model's list of files says. A download that is broken off goes on at the next call.
// The cache is that of huggingface_hub, and so are the variables HF_HUB_CACHE, HF_HOME, HF_TOKEN, HF_ENDPOINT,
// HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT and HF_HUB_DISABLE_PROGRESS_BARS.
//
// "data convert" writes a data set in another format: jsonl, csv or tsv (rows, and the folder images beside), parquet (with
// the pictures in the column image, as Hugging Face's exports have it), webdataset (tar files of key.jpg, key.txt and
// key.json), folder (pictures with .txt and .json beside them) or groups (seed_group.json, images/group_N). The name of the
// output says which, or --format. Pictures go over byte for byte, each decoded once to see whether it is whole (--trust
// leaves that out). A broken one is left out with its row, named on standard error and in --skipped FILE; --strict stops
// at it. IDs that cannot be what the format makes of them, the name of a file, are changed and counted, and so is what a
// format does not hold. --no-images writes rows alone. The output is made beside its place and moved there when it is
// whole. One that is there is refused; --force replaces it, but never a folder that holds anything else. --encode and --resize
// make the pictures anew instead.
//
// "data split" divides a data set into DIR/train, DIR/val and DIR/test in the format that it has. A picture goes where the
// hash of its ID falls, so that rows added later move none, and to val exactly when "train --val-share" of the same share
// would take it. --by group, relation or caption keeps what shares one in one part, and goes by its hash; --by phash keeps
// pictures together that look alike, --distance N those whose perceptual hashes differ in up to N bits of 64. How many
// groups and captions stand in several parts is said. DIR/images is a link to the pictures; sets that hold their pictures
// are written with them, and --copy does that for all.
//
// "data inspect" says what a data set consists of and what is wrong with it: rows, captions (lengths, placeholders, braces,
// languages), pictures (sizes, formats, broken ones by reason), duplicates (by ID, address, bytes, look, and captions that say
// nearly the same) and leaks, by the same, between its splits and, with --against, into another set. Pictures look the same
// when their perceptual hashes, those of Python's imagehash, differ in at most --distance bits; captions are near when they
// share --similar percent of their words, but for case, punctuation and the names of placeholders. A caption is not anonymous
// enough when it has no placeholder, a capitalised word inside of a sentence, or a word for a colour: rules of thumb, and the
// words are named. What a download left behind in the folder (ledger.jsonl) is counted by reason and host. --no-pictures
// reads rows alone, --out writes a page with figures and small pictures, --json everything. The exit status is 0 whatever is
// found, but 1 with --fail-on broken,flat,duplicates,near-captions,leaks,caption-leaks,uncaptioned,quotes,braces,not-anonymous
// (any of them).
//
// "data download" brings the pictures of a file of rows into DIR/images/<image_hash>.png, .jpg or .webp (of seed groups
// into DIR/images/group_N), and copies the rows beside them, so that "train --data DIR/ROWS" works. Each picture is
// decoded once to see that it is whole, and stored as it was received; GIF, BMP and TIFF become PNG. DIR/ledger.jsonl has
// a line for what became of each row, with reason, tries, size, SHA-256 and perceptual hash: done, failed, gone (404,
// 410), or pending. The same command goes on after an interrupt or a crash, and looks after new rows, rows whose address
// has changed and pictures that have vanished; --retry takes up what was given up. What answers 408, 429, 5xx, too slowly
// or not at all is asked again with growing pauses, as Retry-After says where it is sent; a host that asks for more than
// --max-wait or does not answer is left to the next run. No host gets more than --per-host requests at a time. Only http
// and https, only public addresses, at every redirect: see --allow-private. Pictures whose X-Robots-Tag says noai,
// noimageai, noindex, noimageindex or none are left alone: see --ignore-opt-out. The summary counts by reason and by
// host; a picture that cannot be had is no failure of the command.
//
// Results go to standard output, diagnostics and the progress bar (on terminals only) to standard error. The exit
// status is 0 when done, 1 on failure, 2 on wrong usage and 130 when interrupted. Flags take one dash or two.
package main

import (
	"context"
	"flag"
	"io"

	"relsim/command"
)

func main() { command.Main(run) }

// commands are the subcommands by name.
var commands = map[string]func(ctx context.Context, args []string, stdout, stderr io.Writer) error{
	"scenes":   writeScenes,
	"sheet":    sheet,
	"model":    model,
	"convert":  convert,
	"split":    split,
	"inspect":  inspect,
	"download": downloadPictures,
}

const usage = `usage: data <command> [flags]

Commands:
  scenes   write the embedded benchmark of relational scenes as PNG and JSONL files
  sheet    draw a labelled sheet of all its relations
  model    print the folder of a published model, downloaded if need be
  convert  write a data set in another format
  split    divide a data set into parts to train, validate and test on
  inspect  say what a data set consists of, and what is wrong with it
  download bring the pictures of a file of rows from their addresses into a folder

"data <command> --help" describes the flags.
`

// run executes the command line and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return command.Several{Name: "data", Usage: usage, Commands: commands}.Run(ctx, args, stdout, stderr)
}

// parse parses flags and refuses positional arguments.
func parse(flags *flag.FlagSet, args []string) error {
	rest, err := command.ParseFlags(flags, args)
	if err == nil && len(rest) > 0 {
		err = command.Usagef("%s: unexpected argument %q", flags.Name(), rest[0])
	}
	return err
}
