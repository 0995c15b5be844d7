package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"relsim/hub"
	"relsim/training"
)

// progress shows what happens on stderr: a bar on a terminal, a line every few seconds elsewhere.
type progress struct {
	out      io.Writer
	quiet    bool
	terminal bool
	bar      *progressbar.ProgressBar
	last     time.Time
}

// lineEvery is the time between lines where there is no terminal.
const lineEvery = 10 * time.Second

func newProgress(out io.Writer, quiet bool) *progress {
	file, ok := out.(*os.File)
	return &progress{out: out, quiet: quiet, terminal: ok && term.IsTerminal(int(file.Fd()))}
}

// note prints a line above the bar.
func (p *progress) note(format string, args ...any) {
	if p.quiet {
		return
	}
	if p.bar != nil {
		p.bar.Clear()
	}
	fmt.Fprintf(p.out, format+"\n", args...)
}

// survey says what there is to train on.
func (p *progress) survey(s *training.Survey) {
	captions := fmt.Sprintf("%d captions, %d of them distinct", s.Captions, s.Distinct)
	p.note("%d rows with %d pictures and %s", s.Rows, s.Pictures, captions)
	if s.There < s.Pictures {
		p.note("%d of %d pictures are there (%.1f %%); the first that is not: %s",
			s.There, s.Pictures, 100*float64(s.There)/float64(s.Pictures), s.Missing)
	}
	if s.Sampled == 0 {
		return
	}
	broken := "all of them can be read"
	if s.Broken > 0 {
		broken = fmt.Sprintf("%d cannot be read", s.Broken)
	}
	p.note("of %d pictures drawn %s, in %.2g ms each; %.1f %% of the pictures are usable", s.Sampled, broken, 1000*s.Each, 100*s.Usable())
	const most = 3
	for i, r := range s.Reasons {
		if i == most {
			p.note("  and %d other reasons", len(s.Reasons)-most)
			break
		}
		p.note("  %d: %s", r.Count, r.Text)
	}
}

// estimate says how long a run will take.
func (p *progress) estimate(name string, e training.Estimate) {
	decode, validations := "", "a validation"
	if e.Pictures > 0 {
		decode = fmt.Sprintf(" and %s to decode their pictures", length(e.Pictures))
	}
	if e.Validations > 1 {
		validations = fmt.Sprintf("%d validations", e.Validations)
	}
	p.note("%s: about %s to train: %d steps of %s%s, %s of %s",
		name, length(e.Seconds), e.Steps, length(e.Step), decode, validations, length(e.Validation))
}

// length is a time of so many seconds, for people.
func length(seconds float64) string {
	d := time.Duration(min(seconds, 1e9) * float64(time.Second))
	switch {
	case d >= 10*time.Minute:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

// download shows how far that of a published model is.
func (p *progress) download(d hub.Progress) {
	switch now := time.Now(); {
	case p.quiet:
	case p.terminal:
		if p.bar == nil {
			p.bar = progressbar.NewOptions64(d.Total,
				progressbar.OptionSetWriter(p.out),
				progressbar.OptionShowBytes(true),
				progressbar.OptionThrottle(100*time.Millisecond),
				progressbar.OptionClearOnFinish(),
				progressbar.OptionFullWidth(),
			)
		}
		p.bar.Describe(d.Model + " " + d.File)
		p.bar.Set64(d.Done)
		if d.Done >= d.Total {
			p.clear()
		}
	case now.Sub(p.last) >= lineEvery || d.Done >= d.Total:
		p.last = now
		p.note("%s: %d of %d MB", d.Model, d.Done/1e6, d.Total/1e6)
	}
}

// start begins a bar of n steps, done of which are over.
func (p *progress) start(name string, n, done int) {
	p.last = time.Now()
	if p.quiet || !p.terminal {
		return
	}
	p.bar = progressbar.NewOptions(n,
		progressbar.OptionSetWriter(p.out),
		progressbar.OptionSetDescription(name),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionFullWidth(),
	)
	p.bar.Set(done)
}

// finish ends the bar.
func (p *progress) finish() {
	if p.bar != nil {
		p.bar.Finish()
		p.bar = nil
	}
}

// clear takes the bar of work that did not end off the terminal, so that the error has its line to itself.
func (p *progress) clear() {
	if p.bar != nil {
		p.bar.Clear()
		p.bar = nil
	}
}

// observer shows a training run.
func (p *progress) observer(name string) training.Observer {
	var steps, done int
	return training.Observer{
		Start: func(s training.StartInfo) {
			steps, done = s.Steps, s.Done
			trained := ""
			if s.Learned < s.Parameters {
				trained = fmt.Sprintf(", %d of them trained", s.Learned)
			}
			p.note("%s: %d parameters%s, %d words, %d steps", name, s.Parameters, trained, s.Words, s.Steps)
			if s.Resumed != "" {
				p.note("%s: continues from step %d (%s)", name, s.Done, s.Resumed)
			}
			p.start(name, s.Steps, s.Done)
		},
		Step: func(row training.Row) {
			text := fmt.Sprintf("%s: loss %.3f accuracy %.2f lr %.1e %.0f images/s",
				name, row.Loss, row.Accuracy, row.LearningRate, row.ImagesPerSecond)
			if p.bar != nil {
				p.bar.Describe(text)
				p.bar.Set(row.Step)
			} else if now := time.Now(); now.Sub(p.last) >= lineEvery {
				p.last = now
				left := float64(steps-row.Step) * row.Seconds / float64(row.Step-done)
				p.note("step %d/%d %s, %s left", row.Step, steps, text, time.Duration(left*float64(time.Second)).Round(time.Second))
			}
			if row.Step == steps {
				p.finish()
			}
		},
		Eval: func(row training.Row) {
			for _, key := range []string{"recall@1", "image_to_caption.recall@1"} { // what the best checkpoint is chosen by
				if value, ok := row.Validation[key]; ok {
					p.note("%s: step %d: validation %s %.3f", name, row.Step, key, value)
					return
				}
			}
		},
		Notice: p.note,
	}
}

// share shows a piece of work by its done part.
func (p *progress) share(name string) func(done float64) {
	const units = 1000
	p.start(name, units, 0)
	return func(done float64) {
		if p.bar != nil {
			p.bar.Set(int(done * units))
			if done >= 1 {
				p.finish()
			}
		} else if now := time.Now(); now.Sub(p.last) >= lineEvery {
			p.last = now
			p.note("%s: %.0f %%", name, 100*done)
		}
	}
}
