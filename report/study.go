package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"relsim/study"
)

// publishedStudy are the votes that the paper's user study counted, for its model, for neither, and for the baseline
// (arXiv:2512.07833; of 880 or 800 votes each). They are of other pictures and other raters: a mark to look at, no figure
// to compare with.
var publishedStudy = []struct {
	against           string
	ours, tie, theirs int
}{
	{"DreamSim", 427, 150, 303},
	{"DINO", 477, 189, 214},
	{"CLIP-I", 340, 205, 255},
	{"CLIP-T", 525, 111, 244},
	{"Qwen-T", 534, 154, 192},
}

// WriteStudy writes what the votes of a study say into dir, which it makes if it is not there: study.json, and the
// stacked bars as study.png and study.svg, with the published counts of the paper's study below them.
func WriteStudy(dir string, t *study.Tally) error {
	f := studyFigure(t)
	if f == nil {
		return errors.New("report: write study: no votes")
	}
	png, err := f.PNG()
	if err != nil {
		return fmt.Errorf("report: write study: study.png: %w", err)
	}
	svg, err := f.SVG()
	if err != nil {
		return fmt.Errorf("report: write study: study.svg: %w", err)
	}
	data, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return fmt.Errorf("report: write study: study.json: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: write study: %w", err)
	}
	for _, file := range []struct {
		name string
		data []byte
	}{{"study.json", append(data, '\n')}, {"study.png", png}, {"study.svg", svg}} {
		if err := writeFile(filepath.Join(dir, file.name), file.data); err != nil {
			return fmt.Errorf("report: write study: %w", err)
		}
	}
	return nil
}

// studyBar is one row of the figure.
type studyBar struct {
	name   string
	counts [3]int     // ours, tie, theirs
	ours   [2]float64 // interval of the share of ours
	theirs [2]float64
	found  bool // there are intervals
}

func (b studyBar) total() int { return b.counts[0] + b.counts[1] + b.counts[2] }

// studyFigure draws, for each method, how the votes split: ours, tie, the method. It returns nil without votes.
func studyFigure(t *study.Tally) *figure {
	var bars, reference []studyBar
	alt := []string{fmt.Sprintf("Stacked bars: how raters voted between %s and each other method.", t.Ours)}
	for _, p := range t.Pairs {
		if p.Total() == 0 {
			continue
		}
		b := studyBar{name: p.Against, counts: [3]int{p.Ours, p.Tie, p.Theirs}}
		if p.OursShare != nil && p.TheirsShare != nil {
			b.ours, b.theirs, b.found = [2]float64{p.OursShare.Low, p.OursShare.High}, [2]float64{p.TheirsShare.Low, p.TheirsShare.High}, true
		}
		bars = append(bars, b)
		alt = append(alt, fmt.Sprintf("%s: %d for %s, %d ties, %d for it.", p.Against, p.Ours, t.Ours, p.Tie, p.Theirs))
	}
	if len(bars) == 0 {
		return nil
	}
	for _, p := range publishedStudy {
		reference = append(reference, studyBar{name: p.against, counts: [3]int{p.ours, p.tie, p.theirs}})
	}
	raters := count(len(t.Raters)) + " raters"
	if len(t.Raters) == 1 {
		raters = "1 rater"
	}
	return &figure{
		Name:    "study",
		Alt:     strings.Join(alt, " "),
		Caption: "Share of votes. Whiskers are 95 % intervals over queries. Thin bars: counts published with the paper, of other pictures and raters.",
		layout: func(width vg.Length) (vg.Length, func(draw.Canvas)) {
			const row, thin, head, note = 32, 21, 46, 40
			height := vg.Length(head + row*len(bars) + note + thin*len(reference) + 26)
			return height, func(c draw.Canvas) {
				var (
					names = textStyle(sans, sizeText, roleInk, right, middle)
					faint = textStyle(sans, sizeSmall, roleMuted, right, middle)
					title = textStyle(sansBold, sizeText, roleInk, left, middle)
					key   = textStyle(sans, sizeSmall, roleMuted, left, middle)
					tick  = textStyle(sans, sizeSmall, roleMuted, centre, right)
				)
				room := vg.Length(0)
				for _, b := range bars {
					room = max(room, names.Width(shorten(b.name, 18)))
				}
				for _, b := range reference {
					room = max(room, faint.Width(b.name))
				}
				x0, x1 := c.Min.X+room+10, c.Max.X-key.Width("0,000 votes")-8
				toX := func(v float64) vg.Length { return x0 + vg.Length(v)*(x1-x0) }

				top := c.Max.Y - sizeText*.6
				c.FillText(title, vg.Point{X: c.Min.X, Y: top}, fmt.Sprintf("%s against others, %s", shorten(t.Ours, 24), raters))
				x := x0
				for i, name := range []string{shorten(t.Ours, 18), "tie", "the other"} {
					c.DrawGlyphNoClip(draw.GlyphStyle{Color: studyRoles[i].light, Radius: 5, Shape: square{}}, vg.Point{X: x + 5, Y: top - 20})
					c.FillText(key, vg.Point{X: x + 14, Y: top - 20}, name)
					x += 14 + key.Width(name) + 14
				}
				bottom := c.Min.Y + 26
				for _, v := range []float64{0, .25, .5, .75, 1} {
					c.StrokeLine2(draw.LineStyle{Color: roleGrid.light, Width: 1}, toX(v), bottom, toX(v), c.Max.Y-head+4)
					c.FillText(tick, vg.Point{X: toX(v), Y: bottom - 4}, fmt.Sprintf("%.0f %%", 100*v))
				}
				y := c.Max.Y - head
				for _, b := range bars {
					drawStudyBar(c, b, y-row/2, 10, toX, true)
					c.FillText(names, vg.Point{X: x0 - 10, Y: y - row/2}, shorten(b.name, 18))
					c.FillText(key, vg.Point{X: x1 + 8, Y: y - row/2}, votesText(b.total()))
					y -= row
				}
				// The title stands over the lines of the scale: they must not run through it.
				c.SetColor(rolePaper.light)
				c.Fill(vg.Rectangle{Min: vg.Point{X: c.Min.X, Y: y - note + 6}, Max: vg.Point{X: c.Max.X, Y: y - 6}}.Path())
				words := "Reference: counts published in arXiv:2512.07833; other pictures, other raters"
				if width < 500 {
					words = "Reference: published in arXiv:2512.07833"
				}
				c.FillText(textStyle(sans, sizeSmall, roleMuted, left, middle), vg.Point{X: c.Min.X, Y: y - note/2 - 2}, words)
				y -= note
				for _, b := range reference {
					drawStudyBar(c, b, y-thin/2, 6.5, toX, false)
					c.FillText(faint, vg.Point{X: x0 - 10, Y: y - thin/2}, b.name)
					c.FillText(key, vg.Point{X: x1 + 8, Y: y - thin/2}, votesText(b.total()))
					y -= thin
				}
				half := draw.LineStyle{Color: roleInk.light, Width: 1, Dashes: []vg.Length{3, 3}}
				c.StrokeLine2(half, toX(.5), bottom, toX(.5), bottom+thin*vg.Length(len(reference)))
				c.StrokeLine2(half, toX(.5), c.Max.Y-head-row*vg.Length(len(bars)), toX(.5), c.Max.Y-head+4)
			}
		},
	}
}

// studyRoles are the colours of ours, tie and theirs.
var studyRoles = [3]role{roleTrained[0], roleAxis, roleTwin}

func votesText(n int) string {
	if n == 1 {
		return "1 vote"
	}
	return count(n) + " votes"
}

// drawStudyBar draws a bar of three parts with their counts, 2·half high; strong: not faded.
func drawStudyBar(c draw.Canvas, b studyBar, y, half vg.Length, toX func(float64) vg.Length, strong bool) {
	total := float64(b.total())
	from := 0.0
	for i, n := range b.counts {
		to := from + float64(n)/total
		fill := studyRoles[i].light
		if !strong {
			fill = fade(fill, .38)
		}
		c.SetColor(fill)
		c.Fill(vg.Rectangle{Min: vg.Point{X: toX(from), Y: y - half}, Max: vg.Point{X: toX(to), Y: y + half}}.Path())
		// The letters are the theme's ink where the part is faded; on a full colour, black or white, whichever is read better.
		style := textStyle(sans, sizeSmall, roleInk, centre, middle)
		if strong {
			style = textStyle(sansBold, sizeSmall, onColour(studyRoles[i]), centre, middle)
		}
		label := strconv.Itoa(n)
		if toX(to)-toX(from) > style.Width(label)+6 {
			c.FillText(style, vg.Point{X: (toX(from) + toX(to)) / 2, Y: y}, label)
		}
		from = to
	}
	if !b.found {
		return
	}
	w := draw.LineStyle{Color: roleInk.light, Width: 1.4}
	whisker := func(low, high float64, y vg.Length) {
		if high > low {
			c.StrokeLine2(w, toX(low), y, toX(high), y)
			c.StrokeLine2(w, toX(low), y-2.5, toX(low), y+2.5)
			c.StrokeLine2(w, toX(high), y-2.5, toX(high), y+2.5)
		}
	}
	whisker(b.ours[0], b.ours[1], y-half-3)
	whisker(1-b.theirs[1], 1-b.theirs[0], y-half-3)
}

// onColour returns the colour of letters on r: black or white, whichever stands out more on light paper.
func onColour(r role) role {
	if contrast(r.light, rgb(0xFFFFFF)) > contrast(r.light, rgb(0x030405)) {
		return roleOnHeat[1][1]
	}
	return roleOnHeat[0][0]
}
