package report

import (
	"fmt"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"relsim/inspection"
)

// A histogram is one panel of a figure of distributions.
type histogram struct {
	title string
	unit  func(float64) string // writes a bound of a bin
	d     inspection.Distribution
}

// alt says in words what the panel shows.
func (h *histogram) alt() string {
	return fmt.Sprintf("%s: %s to %s, the middle one %s.", h.title, h.unit(h.d.Min), h.unit(h.d.Max), h.unit(h.d.Median))
}

// histogramsFigure draws the distributions that have numbers, two beside each other where there is room.
func histogramsFigure(name, caption string, panels []histogram) *figure {
	alt := "Histograms."
	var kept []histogram
	for _, h := range panels {
		if h.d.Count > 0 {
			kept = append(kept, h)
			alt += " " + h.alt()
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return &figure{
		Name: name, Alt: alt, Caption: caption,
		layout: func(width vg.Length) (vg.Length, func(draw.Canvas)) {
			const gap, cell = 30, 180
			columns := 2
			if width < 500 || len(kept) == 1 {
				columns = 1
			}
			rows := (len(kept) + columns - 1) / columns
			w := (width - gap*vg.Length(columns-1)) / vg.Length(columns)
			return vg.Length(rows*cell + (rows-1)*gap), func(c draw.Canvas) {
				for i := range kept {
					x := c.Min.X + vg.Length(i%columns)*(w+gap)
					y := c.Max.Y - vg.Length(i/columns)*(cell+gap)
					kept[i].draw(draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{Min: vg.Point{X: x, Y: y - cell}, Max: vg.Point{X: x + w, Y: y}}})
				}
			}
		},
	}
}

// draw draws the bins side by side, as wide as each other, with the bound of every so many below.
func (h *histogram) draw(c draw.Canvas) {
	title := textStyle(sansBold, sizeText, roleInk, left, right)
	tick := textStyle(sans, sizeSmall, roleMuted, centre, right)
	side := textStyle(sans, sizeSmall, roleMuted, right, middle)
	c.FillText(title, vg.Point{X: c.Min.X, Y: c.Max.Y}, h.title)

	most := 0
	for _, b := range h.d.Bins {
		most = max(most, b.Count)
	}
	marks := roundTicks(0, float64(most), 3, compact)
	room := vg.Length(0)
	for _, m := range marks {
		room = max(room, side.Width(m.Label))
	}
	x0, x1 := c.Min.X+room+8, c.Max.X-6
	y0, y1 := c.Min.Y+24, c.Max.Y-26
	toY := func(v float64) vg.Length { return y0 + vg.Length(v/float64(most))*(y1-y0) }
	for _, m := range marks {
		if m.Value == math.Trunc(m.Value) { // half a caption is none
			c.StrokeLine2(draw.LineStyle{Color: roleGrid.light, Width: 1}, x0, toY(m.Value), x1, toY(m.Value))
			c.FillText(side, vg.Point{X: x0 - 6, Y: toY(m.Value)}, m.Label)
		}
	}
	n := len(h.d.Bins)
	w := (x1 - x0) / vg.Length(n)
	bar := min(w, 40)
	c.SetColor(roleTrained[0].light)
	for i, b := range h.d.Bins {
		if b.Count > 0 {
			x := x0 + w*vg.Length(i) + (w-bar)/2
			c.Fill(vg.Rectangle{Min: vg.Point{X: x + bar*.06, Y: y0}, Max: vg.Point{X: x + bar*.94, Y: max(toY(float64(b.Count)), y0+1)}}.Path())
		}
	}
	c.StrokeLine2(draw.LineStyle{Color: roleAxis.light, Width: 1}, x0, y0, x1, y0)
	end := x0 - 100
	for i := range n {
		// A bin of one whole number is named at its middle, others at their lower bound.
		x := x0 + w*vg.Length(i)
		if h.d.Bins[i].High-h.d.Bins[i].Low == 1 || n == 1 {
			x += w / 2
		}
		label := h.unit(h.d.Bins[i].Low)
		half := tick.Width(label) / 2
		if x-half > end+8 && x+half <= c.Max.X+2 {
			c.StrokeLine2(draw.LineStyle{Color: roleAxis.light, Width: 1}, x, y0, x, y0-4)
			c.FillText(tick, vg.Point{X: x, Y: y0 - 6}, label)
			end = x + half
		}
	}
}

// countsFigure draws one bar for each count, with the number at its end.
func countsFigure(name, title, caption string, list []inspection.Count) *figure {
	if len(list) == 0 {
		return nil
	}
	alt := "Bar chart of " + title + ":"
	names := make([]string, len(list))
	most := 0
	for i, n := range list {
		names[i] = inspection.Shown(n.Name, 30)
		most = max(most, n.Count)
		if i < 8 {
			alt += fmt.Sprintf(" %s %s;", names[i], count(n.Count))
		}
	}
	return &figure{
		Name: name, Alt: alt[:len(alt)-1] + ".", Caption: caption,
		layout: func(width vg.Length) (vg.Length, func(draw.Canvas)) {
			const row, head = 23, 26
			return head + row*vg.Length(len(list)), func(c draw.Canvas) {
				label := textStyle(sans, sizeText, roleInk, right, middle)
				value := textStyle(sans, sizeSmall, roleMuted, left, middle)
				c.FillText(textStyle(sansBold, sizeText, roleInk, left, right), vg.Point{X: c.Min.X, Y: c.Max.Y}, title)
				shown := make([]string, len(names))
				room := vg.Length(0)
				for i, name := range names {
					shown[i] = name
					for r := []rune(name); label.Width(shown[i]) > width*.45 && len(r) > 1; {
						r = r[:len(r)-1]
						shown[i] = string(r) + "…"
					}
					room = max(room, label.Width(shown[i]))
				}
				x0 := c.Min.X + room + 10
				x1 := c.Max.X - value.Width(count(most)) - 8
				for i, n := range list {
					y := c.Max.Y - head - row*(vg.Length(i)+.5)
					c.FillText(label, vg.Point{X: x0 - 8, Y: y}, shown[i])
					end := x0 + max(vg.Length(float64(n.Count)/float64(max(most, 1)))*(x1-x0), 1)
					c.SetColor(roleTrained[0].light)
					c.Fill(vg.Rectangle{Min: vg.Point{X: x0, Y: y - 7}, Max: vg.Point{X: end, Y: y + 7}}.Path())
					c.FillText(value, vg.Point{X: end + 6, Y: y}, count(n.Count))
				}
			}
		},
	}
}
