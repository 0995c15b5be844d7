package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"relsim/command"
	"relsim/download"
)

const downloadUsage = `usage: data download --from ROWS --out DIR [flags]

Brings the pictures that ROWS names by their addresses (url_link) into DIR/images, as they are received, and keeps a
ledger of what became of each row. The same command goes on where it was interrupted.

`

// garbage bounds the memory of the process, as far as the collector can: a soft limit, where the user has set none.
const garbage = 400 << 20

// downloadPictures runs "data download".
func downloadPictures(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o := download.Default()
	flags := flag.NewFlagSet("data download", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, downloadUsage)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.From, "from", "", "`file` of rows: .jsonl, .csv, .tsv, .parquet or seed groups (.json)")
	flags.StringVar(&o.Dir, "out", "", "`folder` to fill: images, ledger.jsonl and a copy of the rows")
	flags.StringVar(&o.Retry, "retry", "", "look again at `which` of those that earlier runs have given up: failed, timeouts or all (gone ones too)")
	flags.IntVar(&o.Limit, "limit", 0, "look after `N` pictures in this run (default all)")
	flags.StringVar(&o.Fallback, "fallback", "", "`address` to ask where a picture cannot be had, with {image_hash} in it")
	flags.IntVar(&o.Workers, "workers", o.Workers, "`N` requests at the same time")
	flags.IntVar(&o.PerHost, "per-host", o.PerHost, "`N` of them to one host")
	flags.IntVar(&o.Tries, "tries", o.Tries, "`N` requests for one address in a run, until it is given up")
	flags.StringVar(&o.Encode, "encode", "", "store pictures in a `format`: png, jpeg or webp (default as received)")
	flags.IntVar(&o.Resize, "resize", 0, "with --encode: make shorter sides that are longer `N` pixels long")
	flags.IntVar(&o.Quality, "quality", o.Quality, "`quality` of --encode jpeg and webp, 1 to 100")
	flags.StringVar(&o.UserAgent, "user-agent", o.UserAgent, "how to introduce ourselves; the `name` before the / is ours in X-Robots-Tag")
	flags.BoolVar(&o.IgnoreOptOut, "ignore-opt-out", false, "take pictures whose X-Robots-Tag says noai, noimageai, noindex, noimageindex or none")
	flags.BoolVar(&o.AllowPrivate, "allow-private", false, "connect to addresses that are not of the public internet (127.0.0.1, 10.0.0.1, …)")
	flags.DurationVar(&o.Connect, "connect-timeout", o.Connect, "longest `time` for a connection, and for its TLS handshake")
	flags.DurationVar(&o.FirstByte, "first-byte-timeout", o.FirstByte, "longest `time` from the request to the answer")
	flags.DurationVar(&o.Idle, "idle-timeout", o.Idle, "`time` in which at least 1 kB has to come")
	flags.DurationVar(&o.Whole, "timeout", o.Whole, "longest `time` for all of a request")
	flags.DurationVar(&o.MaxWait, "max-wait", o.MaxWait, "longest `time` that a host may ask to wait; its pictures are left to the next run if it is more")
	megabytes := flags.Float64("max-size", float64(o.MaxBytes)/1e6, "largest picture, in `MB`")
	megapixels := flags.Float64("max-pixels", float64(o.MaxPixels)/1e6, "largest picture, in `megapixels`")
	columnFlags(flags, &o.Rows)
	asJSON := flags.Bool("json", false, "print the summary as JSON")
	quiet := flags.Bool("quiet", false, "no notices, no progress")
	if err := parse(flags, args); err != nil {
		return err
	}
	if o.From == "" || o.Dir == "" {
		return command.Usagef("data download: --from and --out are needed")
	}
	for name, f := range map[string]float64{"max-size": *megabytes, "max-pixels": *megapixels} {
		if !(f > 0 && f*1e6 < math.MaxInt64) {
			return command.Usagef("data download: --%s is %v, a positive number was expected", name, f)
		}
	}
	o.MaxBytes, o.MaxPixels = int64(*megabytes*1e6), int64(*megapixels*1e6)
	if err := o.Validate(); err != nil {
		return command.Usage(err)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(garbage)
	}
	clear := func() {}
	if !*quiet {
		o.Progress, clear = showProgress(stderr)
		o.Notice = func(format string, args ...any) {
			clear()
			fmt.Fprintf(stderr, format+"\n", args...)
		}
	}
	s, err := download.Run(ctx, o)
	clear()
	if s.Rows == 0 {
		return err
	}
	if *asJSON {
		lines := json.NewEncoder(stdout)
		lines.SetIndent("", "  ")
		if err := lines.Encode(s); err != nil {
			return err
		}
	} else if err := printSummary(stdout, s); err != nil {
		return err
	}
	return err
}

// showProgress returns what shows progress: a bar on a terminal, else a line now and then.
func showProgress(stderr io.Writer) (show func(download.Progress), clear func()) {
	var last download.Progress
	rates := func(p download.Progress) (perSecond, megabytes float64) { // of the time since last
		seconds := max((p.Elapsed - last.Elapsed).Seconds(), 1e-3)
		return float64(p.Fetched-last.Fetched) / seconds, float64(p.Bytes-last.Bytes) / seconds / 1e6
	}
	share := func(p download.Progress) float64 {
		return 100 * float64(p.Done) / float64(max(1, p.Done+p.Failed+p.Gone))
	}
	file, ok := stderr.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return func(p download.Progress) {
			if p.Elapsed-last.Elapsed < 30*time.Second {
				return
			}
			perSecond, megabytes := rates(p)
			last = p
			fmt.Fprintf(stderr, "%d of %d: %d done (%.1f %%), %d failed, %d gone; %.0f images/s, %.1f MB/s\n",
				p.Done+p.Failed+p.Gone, p.Total, p.Done, share(p), p.Failed, p.Gone, perSecond, megabytes)
		}, func() {}
	}
	bar := progressbar.NewOptions(-1, progressbar.OptionSetWriter(file), progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	begun := false
	return func(p download.Progress) {
		if !begun && p.Total > 0 {
			begun = true
			bar.ChangeMax(p.Total)
		}
		if p.Elapsed-last.Elapsed >= time.Second {
			perSecond, megabytes := rates(p)
			last = p
			bar.Describe(fmt.Sprintf("%.1f %% ok, %.0f images/s, %.1f MB/s", share(p), perSecond, megabytes))
		}
		bar.Set(p.Done + p.Failed + p.Gone)
	}, func() { bar.Clear() }
}

// printSummary prints a summary for people.
func printSummary(w io.Writer, s download.Summary) error {
	const most = 12 // lines of a table
	share := func(n int) float64 { return 100 * float64(n) / float64(max(1, s.Pictures)) }
	seconds := max(s.Seconds, 1e-3)
	fmt.Fprintf(w, "%d rows, %d pictures: %d done (%.1f %%), %d failed, %d gone, %d pending\n", s.Rows, s.Pictures, s.Done, share(s.Done), s.Failed, s.Gone, s.Pending)
	fmt.Fprintf(w, "this run: %d settled, %d of them done; %.1f MB in %.1f s (%.0f images/s, %.1f MB/s)\n", s.Tried, s.Fetched, float64(s.Bytes)/1e6, s.Seconds, float64(s.Fetched)/seconds, float64(s.Bytes)/1e6/seconds)
	if s.Postponed > 0 {
		fmt.Fprintf(w, "left to the next run: %d, as their hosts do not answer or ask to wait\n", s.Postponed)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(s.Reasons) > 0 {
		fmt.Fprintf(t, "\npictures\tstate\treason\n")
		for i, r := range s.Reasons {
			if i == most {
				fmt.Fprintf(t, "\t\tand %d more reasons (--json has all)\n", len(s.Reasons)-most)
				break
			}
			fmt.Fprintf(t, "%d\t%s\t%s\n", r.Count, r.Status, r.Reason)
		}
		fmt.Fprintf(t, "\ndone\tfailed\tgone\tpending\thost\n")
		for i, h := range s.Hosts {
			if i == most || h.Failed+h.Gone+h.Pending == 0 {
				break
			}
			if h.Host == "" {
				h.Host = "(no host)"
			}
			fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%s\n", h.Done, h.Failed, h.Gone, h.Pending, h.Host)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nrows: %s\n", s.RowsFile)
	return err
}
