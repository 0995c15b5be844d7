// Package report writes what an evaluation found: one self-contained page that
// opens from disk without a network, the figures on it as PNG and SVG files,
// and the numbers as JSON.
//
// [Write] makes, in one folder:
//
//	index.html                     the page: no script, no link to load, light and dark, desk and phone
//	metrics.json                   the [retrieval.Result], indented
//	rankings.jsonl.gz              the [retrieval.Rankings]: what every method finds for every query
//	bars.png, bars.svg             recall@1 of every method, with intervals
//	recall.png, recall.svg         recall@k over k, with bands
//	families.png, families.svg     recall@1 by relation and method
//	space.png, space.svg           pairs of pictures by attribute and by relational similarity
//	training.png, training.svg     loss, accuracy, validation recall and learning rate over steps
//
// [Card.Markdown] is the README.md of a model that is published.
//
// A figure or a section that the data set has no figures for is left out:
// pictures without profiles have no attribute twins, pictures without relations
// no heat map. The same input gives the same bytes.
//
// The sentences at the top of the page are computed from the numbers. One
// method is called better than another only where the paired interval of their
// difference excludes zero.
package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"time"

	"relsim/checkpoints"
	"relsim/dataloader"
	"relsim/metrics"
	"relsim/retrieval"
	"relsim/training"
)

// literalTwin is the name of the model that is trained as ours is, but on
// captions that name objects and attributes.
const literalTwin = training.LiteralTwin

// Input is what a report is made of. Only Result is required.
type Input struct {
	Title  string // of the page; empty: "relsim report"
	Result *retrieval.Result

	// Training has the curves of the trained methods, the main one first.
	Training []Curve

	// Images returns the picture with this id, for the example retrievals. Nil,
	// or an error: the page names the picture instead of showing it.
	Images func(id string) (*dataloader.Image, error)

	Facts   Facts
	Skipped Skipped
}

// Curve is how one run learned.
type Curve struct {
	Name        string
	Steps       []Step
	Evaluations []Evaluation
}

// Step is one row of a training log. A value that was not measured is NaN.
type Step struct {
	Step            int
	Loss            float64
	Accuracy        float64 // share of the batch's pictures whose best caption is right
	LR              float64
	ImagesPerSecond float64
}

// Evaluation is one look at the validation part during training.
type Evaluation struct {
	Step    int
	Recall1 float64 // recall@1
}

// Facts say what was run and how to run it again. Zero values are left out.
type Facts struct {
	Data       string // what the model was trained on
	Model      string
	Captions   string // which captions it was trained on
	Parameters int
	Steps      int
	Pictures   int // seen in training, repetitions counted
	Seed       uint64
	Command    string        // repeats it
	Duration   time.Duration // of the command
	Threads    int
	Machine    string
	Version    string
	More       []Fact // printed after the others
}

// Fact is one further line of the facts.
type Fact struct{ Name, Value string }

// Skipped are the pictures that could not be used.
type Skipped struct {
	Count int // may exceed the length of List
	List  []SkippedItem
}

// SkippedItem is one picture that could not be used.
type SkippedItem struct{ ID, Reason string }

// Write writes the report into dir, which it makes if it is not there. Each
// file is written beside its place and then moved there, so that a reader sees
// the old file or the new one, never a half.
//
// Values that are not finite are left out of the page and of metrics.json.
func Write(dir string, in Input) error {
	if in.Result == nil {
		return errors.New("report: write: no result")
	}
	in.Result = clean(in.Result)
	figs := figures(&in)
	page, err := render(&in, figs)
	if err != nil {
		return fmt.Errorf("report: write: index.html: %w", err)
	}
	data, err := json.MarshalIndent(in.Result, "", "  ")
	if err != nil {
		return fmt.Errorf("report: write: metrics.json: %w", err)
	}
	files := map[string][]byte{"index.html": page, "metrics.json": append(data, '\n')}
	for name, f := range figs {
		if files[name+".png"], err = f.PNG(); err != nil {
			return fmt.Errorf("report: write: %s.png: %w", name, err)
		}
		if files[name+".svg"], err = f.SVG(); err != nil {
			return fmt.Errorf("report: write: %s.svg: %w", name, err)
		}
	}

	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: write: %w", err)
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if err := writeFile(filepath.Join(dir, name), files[name]); err != nil {
			return fmt.Errorf("report: write %s: %w", filepath.Join(dir, name), err)
		}
	}
	if err := writeRankings(filepath.Join(dir, retrieval.RankingsFile), in.Result.Rankings); err != nil {
		return err
	}
	// A figure of an earlier report that this one has no data for would be
	// taken for its own.
	for _, name := range []string{"bars", "recall", "families", "space", "training"} {
		if figs[name] != nil {
			continue
		}
		for _, suffix := range []string{".png", ".svg"} {
			if err := os.Remove(filepath.Join(dir, name+suffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("report: write: %w", err)
			}
		}
	}
	return nil
}

// writeFile makes the file at path hold data, all or nothing; one that does already is left alone. What is not a regular
// file, such as a device, is refused: it would be replaced.
func writeFile(path string, data []byte) error {
	if info, err := os.Stat(path); err == nil {
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is not a regular file", path)
		}
		if info.Size() == int64(len(data)) {
			if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
				return nil
			}
		}
	}
	return checkpoints.WriteFile(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// writeRankings makes the file at path hold r; without rankings there is no file, so that none of an earlier report is
// taken for this one's.
func writeRankings(path string, r *retrieval.Rankings) error {
	if r != nil {
		return r.Write(path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("report: write: %w", err)
	}
	return nil
}

// clean returns a copy of the result without the estimates that are not
// finite: JSON has no such numbers, and a page should not show them.
func clean(r *retrieval.Result) *retrieval.Result {
	c := *r
	c.Methods, c.HeldOut = cleanMethods(r.Methods), cleanMethods(r.HeldOut)
	c.Differences = nil
	for _, d := range r.Differences {
		d.ImageToImage, d.Triplets = cleanMetrics(d.ImageToImage), cleanMetrics(d.Triplets)
		c.Differences = append(c.Differences, d)
	}
	if r.Space != nil {
		s := *r.Space
		s.Points = nil
		for _, p := range r.Space.Points {
			if finite(p.Attribute) && finite(p.Relational) {
				s.Points = append(s.Points, p)
			}
		}
		c.Space = &s
	}
	c.Examples = nil
	for _, e := range r.Examples {
		rows := e.Rows
		e.Rows = nil
		for _, row := range rows {
			hits := row.Hits
			row.Hits = nil
			for _, h := range hits {
				if !finite(h.Score) {
					h.Score = 0
				}
				row.Hits = append(row.Hits, h)
			}
			e.Rows = append(e.Rows, row)
		}
		c.Examples = append(c.Examples, e)
	}
	return &c
}

func cleanMethods(methods []retrieval.MethodResult) []retrieval.MethodResult {
	var out []retrieval.MethodResult
	for _, m := range methods {
		m.ImageToImage, m.Triplets = cleanMetrics(m.ImageToImage), cleanMetrics(m.Triplets)
		m.ImageToCaption, m.CaptionToImage = cleanMetrics(m.ImageToCaption), cleanMetrics(m.CaptionToImage)
		families := m.Families
		m.Families = nil
		for name, f := range families {
			if !finite(f.Recall1) || !finite(f.Recall10) || !finite(f.MAP) {
				continue
			}
			f.Twin1, f.Conflict = cleanPointer(f.Twin1), cleanPointer(f.Conflict)
			f.Intervals = cleanMetrics(f.Intervals)
			if m.Families == nil {
				m.Families = make(map[string]retrieval.Family)
			}
			m.Families[name] = f
		}
		near := m.NearMiss
		m.NearMiss = nil
		for _, n := range near {
			if finiteInterval(n.TrueNamed) && finiteInterval(n.NearNamed) && finiteInterval(n.AUC) {
				m.NearMiss = append(m.NearMiss, n)
			}
		}
		out = append(out, m)
	}
	return out
}

func cleanMetrics(m retrieval.Metrics) retrieval.Metrics {
	var out retrieval.Metrics
	for name, v := range m {
		if finiteInterval(v) {
			if out == nil {
				out = make(retrieval.Metrics)
			}
			out[name] = v
		}
	}
	return out
}

func cleanPointer(v *float64) *float64 {
	if v != nil && !finite(*v) {
		return nil
	}
	return v
}

func finiteInterval(v metrics.Interval) bool {
	return finite(v.Mean) && finite(v.Low) && finite(v.High)
}
