package report

import (
	"fmt"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"relsim/judge"
	"relsim/metrics"
)

// judgeBar is a row of the figure: a method, a published score, or both.
type judgeBar struct {
	name      string
	role      role
	strong    bool
	score     *metrics.Interval // nil: not measured here
	published float64           // 0: none
}

// judgeGroups are the headings of the figure, in order.
var judgeGroups = []struct{ group, title string }{{"baselines", "measures"}, {"tuned", "tuned"}, {"ours", "ours"}}

// publishedName is what the authors call a method of ours, as far as it is the same.
func publishedName(method string) string {
	switch m := strings.ToLower(method); {
	case m == "lpips" || strings.HasPrefix(m, "lpips-"):
		return "LPIPS"
	case m == "clip":
		return "CLIP-I"
	case m == "clip-text":
		return "CLIP-T"
	case m == "dino" || m == "dinov2":
		return "DINO"
	case m == "dreamsim":
		return "DreamSim"
	case m == "relsim":
		return "relsim"
	}
	return ""
}

// judgeBars are the rows of each group, the highest first, and published scores without a method of ours behind them.
func judgeBars(r *judge.Result) map[string][]judgeBar {
	published := make(map[string]judge.Published)
	for _, p := range r.Published {
		published[p.Name] = p
	}
	bars := make(map[string][]judgeBar)
	used := make(map[string]bool)
	for _, m := range r.Methods {
		group := r.Group(m)
		b := judgeBar{name: m.Name, role: roleKind, score: m.Score}
		switch {
		case m.Name == literalTwin:
			b.role = roleTwin
		case group == "ours":
			b.role, b.strong = roleTrained[0], true
		case group == "tuned":
			b.role = roleTrained[2]
		}
		if p, ok := published[publishedName(m.Name)]; ok && (p.Ours == (group == "ours")) {
			b.published = p.Score
			used[p.Name] = true
		}
		bars[group] = append(bars[group], b)
	}
	for _, p := range r.Published {
		if used[p.Name] {
			continue
		}
		group := "baselines"
		if p.Ours {
			group = "ours"
		} else if p.Tuned {
			group = "tuned"
		}
		bars[group] = append(bars[group], judgeBar{name: p.Name, published: p.Score})
	}
	height := func(b judgeBar) (measured int, v float64) {
		if b.score != nil {
			return 1, b.score.Mean
		}
		return 0, b.published
	}
	for _, list := range bars {
		slices.SortStableFunc(list, func(a, b judgeBar) int {
			ma, va := height(a)
			mb, vb := height(b)
			switch {
			case ma != mb:
				return mb - ma
			case va > vb:
				return -1
			case va < vb:
				return 1
			}
			return 0
		})
	}
	return bars
}

// judgeFigure draws the score of every method as a bar with its interval, in groups, and published scores as marks.
func judgeFigure(r *judge.Result) *figure {
	bars := judgeBars(r)
	alt := "Bar chart of the scores that " + r.Model + " gives, 0 to 10, with intervals."
	rows, heads := 0, 0
	for _, g := range judgeGroups {
		if len(bars[g.group]) > 0 {
			heads++
		}
		for _, b := range bars[g.group] {
			rows++
			switch {
			case b.score != nil:
				alt += fmt.Sprintf(" %s %.2f.", b.name, b.score.Mean)
			case b.published > 0:
				alt += fmt.Sprintf(" Published: %s %.2f.", b.name, b.published)
			}
		}
	}
	caption := "Score, 0 to 10, of " + firstPictures(r.Top) + ", by " + r.Model + ". Whiskers are 95 % intervals."
	if len(r.Published) > 0 {
		caption += " Diamonds are what the authors of arXiv:2512.07833 published: other data and another judge, so their heights are not to be compared with the bars."
	}
	return &figure{
		Name:    "judge",
		Alt:     alt,
		Caption: caption,
		layout: func(width vg.Length) (vg.Length, func(draw.Canvas)) {
			const row, groupHead, foot = 27, 26, 26
			key := textStyle(sans, sizeSmall, roleMuted, left, middle)
			title := textStyle(sansBold, sizeText, roleInk, left, middle)
			const titleText, keyText = "score, 0 to 10", "published: other data and judge"
			head := vg.Length(26)
			below := title.Width(titleText)+36+key.Width(keyText) > width // the key has a line of its own
			if below && len(r.Published) > 0 {
				head += 20
			}
			height := head + vg.Length(row*rows+groupHead*heads) + foot
			return height, func(c draw.Canvas) {
				top := c.Max.Y - sizeText*.6
				c.FillText(title, vg.Point{X: c.Min.X, Y: top}, titleText)
				if len(r.Published) > 0 {
					at := vg.Point{X: c.Min.X + title.Width(titleText) + 24, Y: top}
					if below {
						at = vg.Point{X: c.Min.X + 6, Y: top - 20}
					}
					hollow(c, at)
					c.FillText(key, vg.Point{X: at.X + 12, Y: at.Y}, keyText)
				}
				drawJudgeBars(c, bars, head, row, groupHead, foot)
			}
		},
	}
}

// hollow draws the mark of a published score.
func hollow(c draw.Canvas, at vg.Point) {
	c.DrawGlyphNoClip(draw.GlyphStyle{Color: roleInk.light, Radius: 5.2, Shape: diamond{}}, at)
	c.DrawGlyphNoClip(draw.GlyphStyle{Color: rolePaper.light, Radius: 3.6, Shape: diamond{}}, at)
}

// drawJudgeBars draws the rows below the head of the figure.
func drawJudgeBars(c draw.Canvas, bars map[string][]judgeBar, head, row, groupHead, foot vg.Length) {
	var (
		names    = textStyle(sans, sizeText, roleInk, right, middle)
		bold     = textStyle(sansBold, sizeText, roleInk, right, middle)
		muted    = textStyle(sans, sizeText, roleMuted, right, middle)
		value    = textStyle(sans, sizeSmall, roleInk, left, middle)
		vbold    = textStyle(sansBold, sizeSmall, roleInk, left, middle)
		interval = textStyle(sans, sizeSmall, roleMuted, left, middle)
		heading  = textStyle(sansBold, sizeSmall, roleMuted, left, middle)
		tick     = textStyle(sans, sizeSmall, roleMuted, centre, right)
	)
	const letters = 18
	room := vg.Length(0)
	for _, list := range bars {
		for _, b := range list {
			room = max(room, bold.Width(shorten(b.name, letters)))
		}
	}
	x0 := c.Min.X + room + 10
	x1 := c.Max.X - vbold.Width("10.00") - interval.Width("[10.00, 10.00]") - 14
	toX := func(v float64) vg.Length { return x0 + vg.Length(v/judge.MaxScore)*(x1-x0) }
	bottom := c.Min.Y + foot
	for _, v := range []float64{0, 2, 4, 6, 8, 10} {
		c.StrokeLine2(draw.LineStyle{Color: roleGrid.light, Width: 1}, toX(v), bottom, toX(v), c.Max.Y-head)
		c.FillText(tick, vg.Point{X: toX(v), Y: bottom - 4}, compact(v))
	}
	y := c.Max.Y - head
	for _, g := range judgeGroups {
		if len(bars[g.group]) == 0 {
			continue
		}
		// The heading stands on the grid, on a strip of paper.
		c.SetColor(rolePaper.light)
		c.Fill(vg.Rectangle{Min: vg.Point{X: c.Min.X, Y: y - groupHead + 4}, Max: vg.Point{X: c.Max.X, Y: y}}.Path())
		c.FillText(heading, vg.Point{X: c.Min.X, Y: y - groupHead*.55}, g.title)
		y -= groupHead
		for _, b := range bars[g.group] {
			mid := y - row/2
			n, v := names, value
			switch {
			case b.score == nil:
				n = muted
			case b.strong:
				n, v = bold, vbold
			}
			c.FillText(n, vg.Point{X: x0 - 10, Y: mid}, shorten(b.name, letters))
			if s := b.score; s != nil {
				c.SetColor(b.role.light)
				c.Fill(vg.Rectangle{Min: vg.Point{X: x0, Y: mid - 7.5}, Max: vg.Point{X: max(toX(s.Mean), x0+1), Y: mid + 7.5}}.Path())
				if s.High > s.Low {
					w := draw.LineStyle{Color: roleInk.light, Width: 1.2}
					c.StrokeLine2(w, toX(s.Low), mid, toX(s.High), mid)
					c.StrokeLine2(w, toX(s.Low), mid-3.5, toX(s.Low), mid+3.5)
					c.StrokeLine2(w, toX(s.High), mid-3.5, toX(s.High), mid+3.5)
				}
				c.FillText(v, vg.Point{X: x1 + 10, Y: mid}, fmt.Sprintf("%.2f", s.Mean))
				if s.High > s.Low {
					c.FillText(interval, vg.Point{X: x1 + 10 + vbold.Width("10.00") + 3, Y: mid}, fmt.Sprintf("[%.2f, %.2f]", s.Low, s.High))
				}
			} else if b.published > 0 {
				c.FillText(interval, vg.Point{X: x1 + 10, Y: mid}, fmt.Sprintf("%.2f", b.published))
			} else {
				c.FillText(interval, vg.Point{X: x1 + 10, Y: mid}, "–")
			}
			if b.published > 0 {
				hollow(c, vg.Point{X: toX(b.published), Y: mid})
			}
			y -= row
		}
	}
	c.StrokeLine2(draw.LineStyle{Color: roleAxis.light, Width: 1}, x0, bottom, x0, c.Max.Y-head)
}
