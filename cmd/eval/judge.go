package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"relsim/command"
	"relsim/dataloader"
	"relsim/judge"
	"relsim/judge/endpoint"
	"relsim/report"
	"relsim/retrieval"
	"relsim/training"
)

const judgeUsage = `eval judge: let a vision model score what was retrieved, from 0 to 10

  eval judge --run runs/mine --model NAME --dry-run
  eval judge --run runs/mine --model NAME --endpoint https://api.openai.com/v1 --queries 200 --max-cost 5 --price-in 2.5 --price-out 10
  eval judge --run runs/mine --model NAME --endpoint http://localhost:8000/v1 --top 3 --both-orders --methods relsim,hog

What is judged:
  --run RUN            a run that was evaluated: its report's rankings
  --rankings FILE      rankings.jsonl.gz of a report
  --images DIR         folder that the files of the pictures have moved to
  --top K              pictures of each query and method, from the first (1)
  --methods A,B        only these; the first is the one that others are compared with (all)
  --queries N          queries, drawn by --seed (all)
  --seed N             of queries and intervals (1)
  --both-orders        ask about every pair twice, with the pictures the other way round, and average
Who judges:
  --endpoint URL       base address of an OpenAI-compatible endpoint (OPENAI_BASE_URL). The key is OPENAI_API_KEY; no other
                       variable of OpenAI's clients is read
  --no-key             send no key; without it, one must be set, unless the endpoint is on this machine
  --allow-http         allow http: to other machines, which shows key and pictures on the way
  --model NAME         a model that sees pictures
  --temperature T      0 to 2, or none for the endpoint's own (0)
  --detail D           low, high or auto (the endpoint's own)
  --max-tokens N       of an answer; models that reason need more; 0: the endpoint's own (64)
  --max-side PIXELS    larger pictures are reduced to it (1024)
How fast, how often, for how much:
  --workers N          questions at once (4)
  --rate N             requests a minute at most, those that are tried again too (no bound)
  --tokens-per-minute N  the same of tokens, estimated (no bound)
  --timeout T          of a try (2m)
  --tries N            of a question (6)
  --price-in P, --price-out P  cost of a million tokens of questions and answers
  --image-tokens RULE  how a picture's tokens are estimated: tiles, patches, or a number for each (tiles)
  --max-cost C         ask nothing more that could take the cost above it
  --dry-run            print how many questions and tokens there are, and what they cost, and end
  --again              ask again what was answered, but with no score
  --tally              ask nothing: average the answers that are there
Results:
  --out FILE           answers, one a line; what is in there is not asked again (judge.jsonl beside the rankings)
  --report DIR         where judge.html, judge.json and the figure go (the folder of --out)
  --no-report          print only
  --resamples N        of the bootstrap that gives the intervals (1000)
  --json               print one JSON object: what judge.json holds, or the estimate of --dry-run
  --quiet              no progress

One dash or two. Exit status: 0 done, 1 failed or not every question has an answer, 2 usage, 130 interrupted. The same
command goes on where it ended.
`

// judgeOptions are the flags of "eval judge".
type judgeOptions struct {
	run, rankings, images string
	endpoint              string
	noKey, allowHTTP      bool
	dryRun, tally         bool
	out, report           string
	noReport              bool
	resamples             int
	json, quiet           bool
	config                judge.Config
	ask                   judge.RunOptions
}

// parseJudge reads the flags. It returns flag.ErrHelp when the help was asked for and printed.
func parseJudge(args []string, stdout io.Writer) (*judgeOptions, error) {
	o := &judgeOptions{config: judge.DefaultConfig(), ask: judge.DefaultRunOptions()}
	fs := flag.NewFlagSet("eval judge", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.run, "run", "", "")
	fs.StringVar(&o.rankings, "rankings", "", "")
	fs.StringVar(&o.images, "images", "", "")
	fs.IntVar(&o.config.Top, "top", o.config.Top, "")
	fs.Func("methods", "", func(s string) error {
		o.config.Methods = strings.Split(s, ",")
		return nil
	})
	fs.IntVar(&o.config.Queries, "queries", 0, "")
	fs.Uint64Var(&o.config.Seed, "seed", o.config.Seed, "")
	fs.BoolVar(&o.config.BothOrders, "both-orders", false, "")
	fs.StringVar(&o.endpoint, "endpoint", os.Getenv("OPENAI_BASE_URL"), "")
	fs.BoolVar(&o.noKey, "no-key", false, "")
	fs.BoolVar(&o.allowHTTP, "allow-http", false, "")
	fs.StringVar(&o.config.Model, "model", "", "")
	fs.Func("temperature", "", func(s string) error {
		o.config.Temperature = nil
		if s == "none" {
			return nil
		}
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return errors.New("want a number, or none")
		}
		o.config.Temperature = &v
		return nil
	})
	fs.StringVar(&o.config.Detail, "detail", "", "")
	fs.IntVar(&o.config.MaxTokens, "max-tokens", o.config.MaxTokens, "")
	fs.IntVar(&o.config.MaxSide, "max-side", o.config.MaxSide, "")
	fs.IntVar(&o.ask.Workers, "workers", o.ask.Workers, "")
	fs.Float64Var(&o.ask.PerMinute, "rate", 0, "")
	fs.IntVar(&o.ask.TokensPerMinute, "tokens-per-minute", 0, "")
	fs.DurationVar(&o.ask.Timeout, "timeout", o.ask.Timeout, "")
	fs.IntVar(&o.ask.Tries, "tries", o.ask.Tries, "")
	fs.Float64Var(&o.ask.Price.Input, "price-in", 0, "")
	fs.Float64Var(&o.ask.Price.Output, "price-out", 0, "")
	fs.Func("image-tokens", "", func(s string) (err error) {
		o.ask.ImageTokens, err = judge.ParseImageTokens(s)
		return err
	})
	fs.Float64Var(&o.ask.MaxCost, "max-cost", 0, "")
	fs.BoolVar(&o.dryRun, "dry-run", false, "")
	fs.BoolVar(&o.ask.Again, "again", false, "")
	fs.BoolVar(&o.tally, "tally", false, "")
	fs.StringVar(&o.out, "out", "", "")
	fs.StringVar(&o.report, "report", "", "")
	fs.BoolVar(&o.noReport, "no-report", false, "")
	fs.IntVar(&o.resamples, "resamples", 1000, "")
	fs.BoolVar(&o.json, "json", false, "")
	fs.BoolVar(&o.quiet, "quiet", false, "")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, judgeUsage)
			return nil, flag.ErrHelp
		}
		return nil, command.Usage(err)
	}
	switch {
	case fs.NArg() > 0:
		return nil, command.Usagef("unexpected argument %q", fs.Arg(0))
	case (o.run == "") == (o.rankings == ""):
		return nil, command.Usagef("want one of --run and --rankings")
	case o.config.Model == "":
		return nil, command.Usagef("--model is missing")
	case o.dryRun && o.tally:
		return nil, command.Usagef("--dry-run and --tally do not go together")
	case o.resamples < 1 || o.resamples > 10_000_000:
		return nil, command.Usagef("--resamples is %d: want 1 to 10000000", o.resamples)
	case o.noReport && o.report != "":
		return nil, command.Usagef("--report and --no-report do not go together")
	}
	if err := o.config.Validate(); err != nil {
		return nil, command.Usage(err)
	}
	if err := o.ask.Validate(); err != nil {
		return nil, command.Usage(err)
	}
	return o, nil
}

// client returns the judge, or what is missing to ask one.
func (o *judgeOptions) client() (*endpoint.Client, error) {
	if o.endpoint == "" {
		return nil, command.Usagef("--endpoint is missing, and OPENAI_BASE_URL is not set: --dry-run estimates without one")
	}
	key := strings.TrimSpace(os.Getenv("OPENAI_API_KEY"))
	if o.noKey {
		key = ""
	} else if u, err := url.Parse(o.endpoint); err == nil && key == "" && u.Host != "" && !endpoint.Loopback(u.Hostname()) {
		return nil, command.Usagef("OPENAI_API_KEY is not set (--no-key: the endpoint wants none)")
	}
	client, err := endpoint.New(endpoint.Options{Endpoint: o.endpoint, Key: key, AllowHTTP: o.allowHTTP})
	if err != nil {
		return nil, command.Usage(err)
	}
	return client, nil
}

// runJudge does what the flags ask for.
func runJudge(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseJudge(args, stdout)
	if err != nil {
		return err
	}
	var client *endpoint.Client
	if !o.dryRun && !o.tally {
		if client, err = o.client(); err != nil {
			return err
		}
		defer client.Close()
	}
	say := func(format string, args ...any) {
		if !o.quiet {
			fmt.Fprintf(stderr, "judge: "+format+"\n", args...)
		}
	}
	path, err := training.RankingsPath(cmp.Or(o.rankings, o.run))
	if err != nil {
		return err
	}
	rankings, err := retrieval.ReadRankings(path)
	if err != nil {
		return err
	}
	gallery, err := training.OpenRankedGallery(ctx, rankings, o.images)
	if err != nil {
		return err
	}
	source := func(ctx context.Context, item int) ([]byte, error) { return dataloader.Bytes(ctx, gallery, item) }
	plan, err := judge.NewPlan(ctx, rankings, o.config, source, o.ask.Workers)
	if err != nil {
		return err
	}
	if broken := plan.Broken(); len(broken) > 0 {
		first := slices.Min(slices.Collect(maps.Keys(broken)))
		say("%d pictures cannot be read, their pairs are left out; the first: %s: %v", len(broken), rankings.Items[first].ID, broken[first])
	}
	out := cmp.Or(o.out, filepath.Join(filepath.Dir(path), "judge.jsonl"))
	if o.dryRun || o.tally {
		answers, err := judge.ReadStore(out)
		if err != nil && !(errors.Is(err, fs.ErrNotExist) && o.dryRun) {
			return err
		}
		estimate := plan.Estimate(answers, o.ask)
		switch {
		case o.tally:
			return o.finish(plan, answers, "", out, stdout, say)
		case o.json:
			return printJSON(stdout, estimate)
		}
		fmt.Fprint(stdout, o.describe(plan, estimate), "\n", o.config.Prompt.Text(), "\n")
		return nil
	}
	store, err := judge.OpenStore(out)
	if err != nil {
		return err
	}
	defer store.Close()
	if store.Cut > 0 {
		say("%s ended within a line: %d bytes were cut off", out, store.Cut)
	}
	estimate := plan.Estimate(store, o.ask)
	for line := range strings.Lines(o.describe(plan, estimate)) {
		say("%s", strings.TrimSuffix(line, "\n"))
	}
	if o.ask.MaxCost > 0 && estimate.Cost > o.ask.MaxCost {
		say("that may be more than --max-cost %v: the run ends there", o.ask.MaxCost)
	}
	outcome, err := o.put(ctx, plan, store, client, source, estimate, say)
	if err != nil {
		if outcome.Answered > 0 {
			say("%d answers are in %s; the same command goes on", outcome.Answered, out)
		}
		return err
	}
	if err := o.finish(plan, store, client.Endpoint(), out, stdout, say); err != nil {
		return err
	}
	if outcome.Failed > 0 {
		return unanswered(outcome, out)
	}
	return nil
}

// put asks the questions.
func (o *judgeOptions) put(ctx context.Context, plan *judge.Plan, store *judge.Store, client *endpoint.Client, source judge.Source, estimate judge.Estimate, say func(string, ...any)) (judge.Outcome, error) {
	if estimate.ToAsk == 0 {
		return judge.Outcome{}, nil
	}
	if err := store.Begin(plan.Session(client.Endpoint(), estimate.ToAsk, time.Now())); err != nil {
		return judge.Outcome{}, err
	}
	o.ask.Notice = say
	last := time.Now()
	o.ask.Progress = func(p judge.Progress) {
		if now := time.Now(); now.Sub(last) >= 5*time.Second || p.Done == p.Total {
			last = now
			line := fmt.Sprintf("%d of %d", p.Done, p.Total)
			for _, part := range []struct {
				n    int
				what string
			}{{p.Unparsed, "no score"}, {p.Failed, "no answer"}, {p.Retries, "tried again"}} {
				if part.n > 0 {
					line += fmt.Sprintf(", %d %s", part.n, part.what)
				}
			}
			if o.ask.Price.Known() {
				line += fmt.Sprintf("; %.4g spent", p.Cost)
			}
			say("%s", line)
		}
	}
	return judge.Run(ctx, plan, store, client, source, o.ask)
}

// describe says what there is to ask, and what it takes.
func (o *judgeOptions) describe(plan *judge.Plan, e judge.Estimate) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s on %d queries, the first %d of %d methods: %d pairs, %d questions, %d answered, %d to ask\n",
		o.config.Model, len(plan.Queries), o.config.Top, len(plan.Methods), e.Pairs, e.Questions, e.Answered, e.ToAsk)
	fmt.Fprintf(&b, "about %d tokens of questions, %d of answers at most", e.Input, e.Output)
	if o.ask.Price.Known() {
		fmt.Fprintf(&b, ": %.4g at most, at %v and %v for a million", e.Cost, o.ask.Price.Input, o.ask.Price.Output)
	} else {
		b.WriteString(" (--price-in and --price-out give the cost)")
	}
	b.WriteString("\n")
	return b.String()
}

// finish averages the answers, and writes and prints what comes of it.
func (o *judgeOptions) finish(plan *judge.Plan, answers judge.Answers, endpoint, out string, stdout io.Writer, say func(string, ...any)) error {
	result := plan.Tally(answers, o.resamples)
	result.Endpoint = endpoint
	if o.ask.Price.Known() {
		result.Price, result.Cost = &o.ask.Price, o.ask.Price.Of(result.Usage)
	}
	if result.Answered == 0 {
		return fmt.Errorf("%s has no answer to any of the %d questions", out, result.Questions)
	}
	if others := result.OtherModels(); len(others) > 0 {
		say("warning: %s was asked, and %s answered", o.config.Model, strings.Join(others, ", "))
	}
	folder := cmp.Or(o.report, filepath.Dir(out))
	if !o.noReport {
		if err := report.WriteJudge(folder, result); err != nil {
			return err
		}
	}
	if o.json {
		return printJSON(stdout, result)
	}
	fmt.Fprint(stdout, result.Table())
	if !o.noReport {
		fmt.Fprintf(stdout, "\n%s\n", filepath.Join(folder, "judge.html"))
	}
	return nil
}

// unanswered is the error of a run that left questions without an answer, the most frequent reasons first.
func unanswered(outcome judge.Outcome, out string) error {
	reasons := slices.SortedFunc(maps.Keys(outcome.Reasons), func(a, b string) int {
		return cmp.Or(outcome.Reasons[b]-outcome.Reasons[a], strings.Compare(a, b))
	})
	var b strings.Builder
	for i, reason := range reasons {
		if i == 5 {
			fmt.Fprintf(&b, "\n  and %d other reasons", len(reasons)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %d: %s", outcome.Reasons[reason], reason)
	}
	return fmt.Errorf("%d of %d questions have no answer in %s; the same command asks them again%s", outcome.Failed, outcome.Total, out, &b)
}

func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", " ")
	return encoder.Encode(v)
}
