// Command export writes one tower of a trained model as a folder that other programs read:
//
//	export --checkpoint runs/mine --out mine
//	export --checkpoint runs/mine --out merged --merge
//
// A tower that was tuned by adapters becomes a folder of PEFT (adapter_config.json, adapter_model.safetensors); one that
// was trained as a whole, or with --merge, a folder of transformers, or of timm (config.json, model.safetensors). A head
// that was trained lies beside it in head.safetensors, and README.md is a model card: the base and the fingerprint of its
// weights, the data, the settings, and the figures of the run's report with their intervals. `export --help` lists the
// flags.
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
	"os"
	"path/filepath"
	"slices"
	"strings"

	"relsim/command"
	"relsim/hub"
	"relsim/nn"
	"relsim/pretrained"
	"relsim/report"
	"relsim/retrieval"
	"relsim/training"
)

const usageText = `export: write a tower of a trained model for PEFT, transformers or timm

  export --checkpoint runs/mine --out mine

  --checkpoint DIR     run folder (its best checkpoint), RUN/best, RUN/latest or a checkpoint folder
  --out DIR            folder to make; it must not be there
  --tower NAME         vision or text (vision)
  --merge              add the adapters to the weights, and write these
  --vision DIR|NAME    where the published models are that the towers began as (where they were in training)
  --text DIR|NAME
  --base-name NAME     what the files call the published model: its name on the hub (as training called it)
  --title TEXT         of the model card (the name of --out)
  --metrics FILE       figures for the card (RUN/report/metrics.json, where it is)
  --json               print one JSON object: the folder and its files

One dash or two. Exit status: 0 done, 1 failed, 2 usage, 130 interrupted.
`

func main() { command.Main(run) }

// run executes the command line and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return command.Status(ctx, "export", execute(ctx, args, stdout), stderr)
}

type options struct {
	checkpoint, out, tower, vision, text, name, title, metrics string
	merge, json                                                bool
}

func parse(args []string, stdout io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("export", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	for name, into := range map[string]*string{
		"checkpoint": &o.checkpoint, "out": &o.out, "tower": &o.tower, "vision": &o.vision, "text": &o.text,
		"base-name": &o.name, "title": &o.title, "metrics": &o.metrics,
	} {
		flags.StringVar(into, name, "", "")
	}
	flags.BoolVar(&o.merge, "merge", false, "")
	flags.BoolVar(&o.json, "json", false, "")
	err := flags.Parse(args)
	o.tower = cmp.Or(o.tower, string(nn.VisionTower))
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usageText)
		return o, err
	case err != nil:
		return o, command.Usage(err)
	case flags.NArg() > 0:
		return o, command.Usagef("unexpected argument %q", flags.Arg(0))
	case o.checkpoint == "":
		return o, command.Usagef("--checkpoint is missing")
	case o.out == "":
		return o, command.Usagef("--out is missing")
	case o.tower != string(nn.VisionTower) && o.tower != string(nn.TextTower):
		return o, command.Usagef("--tower is %q: want vision or text", o.tower)
	}
	return o, nil
}

func execute(ctx context.Context, args []string, stdout io.Writer) error {
	o, err := parse(args, stdout)
	if err != nil {
		return err
	}
	m, err := training.OpenTrained(ctx, o.checkpoint, training.OpenOptions{Vision: o.vision, Text: o.text, Hub: hub.Options{}})
	if err != nil {
		return err
	}
	result, err := readMetrics(o)
	if err != nil {
		return err
	}
	tower := nn.Tower(o.tower)
	t := pretrained.Trained{Model: m.Model, Tower: tower, Merge: o.merge}
	base, partner := m.Bases.Vision, m.Bases.Text
	if tower == nn.TextTower {
		base, partner = partner, base
	}
	if base != nil {
		t.Base, t.Name = base.Model, cmp.Or(o.name, base.Name)
	}
	card := report.Card{
		Title: cmp.Or(o.title, filepath.Base(filepath.Clean(o.out))), Tower: o.tower, Adapters: t.Adapters(), Head: t.NewHead(),
		Base: t.Name, Fingerprint: m.Fingerprint(tower), Dim: m.Config.Model.EmbedDim, Facts: facts(m), Result: result,
	}
	switch {
	case card.Adapters:
		card.Library, card.Part = "peft", t.Class()
	case base == nil || base.Family == pretrained.ViT:
		card.Library = "timm"
	default:
		card.Library = "transformers"
	}
	if tower == nn.VisionTower {
		card.ImageSize = m.Config.Model.Vision.ImageSize
	}
	if partner != nil {
		card.Partner = partner.Name
	}
	t.Card = card.Markdown()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := pretrained.Export(o.out, t); err != nil {
		return err
	}
	return printFiles(o, stdout)
}

// facts are lines of the card on how a model was trained.
func facts(m *training.Trained) []report.Fact {
	c := m.Config
	var list []report.Fact
	say := func(name, format string, args ...any) {
		list = append(list, report.Fact{Name: name, Value: fmt.Sprintf(format, args...)})
	}
	if m.Source != nil {
		say("Data", "%s", filepath.Base(m.Source.Data))
	}
	say("Captions", "%s", c.Captions)
	say("Loss", "%s, temperature %g, positives: %s", c.Loss.Kind, c.Model.Temperature, c.Loss.Positives)
	say("Steps", "%d of %d pictures", c.Steps, c.Batch)
	say("Optimiser", "AdamW, peak learning rate %g, weight decay %g, gradient norm clipped at %g, cosine to 0", c.LearningRate, c.Optimizer.WeightDecay, c.Optimizer.ClipNorm)
	if l := c.Model.LoRA; l != nil {
		say("Adapters", "rank %d, alpha %g, dropout %g, %d modules", l.Rank, l.Alpha, l.Dropout, len(m.Model.Adapters()))
	}
	if c.Freeze != "" {
		say("Frozen", "the %s tower", c.Freeze)
	}
	say("Seed", "%d", c.Seed)
	return list
}

// maxMetrics bounds the file of figures.
const maxMetrics = 256 << 20

// readMetrics reads the figures: of the file asked for, or of the run's report where there is one.
func readMetrics(o options) (*retrieval.Result, error) {
	path := o.metrics
	if path == "" {
		path = filepath.Join(o.checkpoint, "report", "metrics.json")
	}
	file, err := os.Open(path)
	if o.metrics == "" && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxMetrics+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxMetrics {
		return nil, fmt.Errorf("%s: more than %d bytes", path, maxMetrics)
	}
	var result retrieval.Result
	if err := json.Unmarshal(data, &result); err != nil {
		return nil, fmt.Errorf("%s: not the metrics.json of a report: %w", path, err)
	}
	return &result, nil
}

// printFiles names what was written.
func printFiles(o options, stdout io.Writer) error {
	var names []string
	err := filepath.WalkDir(o.out, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(o.out, path)
			names = append(names, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.Sort(names)
	if o.json {
		out := json.NewEncoder(stdout)
		out.SetIndent("", "  ")
		return out.Encode(map[string]any{"out": o.out, "files": names})
	}
	_, err = fmt.Fprintf(stdout, "%s: %s\n", o.out, strings.Join(names, ", "))
	return err
}
