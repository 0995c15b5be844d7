// Command view shows data and results in a browser.
//
//	view data SPEC [--images DIR] [--export FILE.html]
//	view retrieval RUN|rankings.jsonl.gz|retrieved_images.json [--images DIR] [--export FILE.html]
//	view study RUN|rankings.jsonl.gz [--methods OURS,OTHER,…] [--n N] [--votes FILE]
//	view study --tally votes.jsonl… [--out DIR] [--json]
//
// "view data" shows the rows and pictures of a data set, which is what train takes as --data: a file of rows, a folder
// of pictures, shards. The page searches in captions as one types; it filters by placeholder, relation, family, group, split
// and by whether a picture is there; it sorts, shows groups together and the captions most similar to one; its address holds
// all of that. Pictures that are missing or broken are counted, which --check says how. A page that --export writes has small
// copies of the pictures in it (--embed thumbs, up to --embed-max of them, and links to the files of the others), relative
// links alone (--embed links) or no pictures (--embed none). In the folder of a download, the ledger's states are shown and
// filtered by. Pictures belong to their owners: a file that embeds copies of
// them passes these on.
//
// "view retrieval" shows what every method of an evaluation finds for every query: a query, the methods side by side, what
// is right, wrong or a look-alike, the figures of metrics.json; searched in captions, filtered by relation, and by what one
// method gets right and another one wrong. The rankings are those of a run's report, or of a report's folder. The pictures
// are read from where they were; --images names their folder if that has moved. The reference implementation's
// retrieved_images.json is shown too, with its pictures below --images (below its own folder).
//
// "view study" asks people, blind: a picture, and what two methods find first for it, on sides and in an order drawn at
// random for each rater. Which one's parts relate in the same way: A, B, or the same? Raters give a name, and go on under
// it. A vote is on the disk before the page says so, each once. Queries at which both methods find the same picture are
// not asked about, but counted. --tally counts the votes: shares with intervals over queries, how well raters agree, and
// the stacked bars as a figure, with the counts published with the paper as marks.
//
// A server listens on this machine only, until it is interrupted; --export writes a page that needs none.
//
// Flags take one dash or two. Exit status: 0 done, 1 failed, 2 usage, 130 interrupted.
package main

import (
	"context"
	"io"

	"relsim/command"
)

func main() { command.Main(run) }

// commands are the subcommands by name.
var commands = map[string]func(ctx context.Context, args []string, stdout, stderr io.Writer) error{
	"data":      viewData,
	"retrieval": viewRetrieval,
	"study":     viewStudy,
}

const usage = `usage: view <command> [flags]

Commands:
  data       the rows and pictures of a data set
  retrieval  what each method of an evaluation finds for every query
  study      ask people which of two methods' pictures is related in the same way, and count their votes

"view <command> --help" describes the flags.
`

// run executes the command line and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return command.Several{Name: "view", Usage: usage, Commands: commands}.Run(ctx, args, stdout, stderr)
}
