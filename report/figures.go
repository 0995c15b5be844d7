package report

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"relsim/retrieval"
)

// figures returns the figures that the result and the curves have data for, by
// name.
func figures(in *Input) map[string]*figure {
	out := make(map[string]*figure)
	add := func(f *figure) {
		if f != nil {
			out[f.Name] = f
		}
	}
	add(recallFigure(in.Result))
	add(barsFigure(in.Result))
	add(trainingFigure(in.Training))
	add(familiesFigure(in.Result))
	add(spaceFigure(in.Result))
	return out
}

// shapes are given to baselines in turn, so that colour is never alone.
var shapes = []draw.GlyphDrawer{square{}, triangle{}, diamond{}, wedge{}, cross{}, plus{}}

// A look is how a method is drawn in every figure.
type look struct {
	role   role
	shape  draw.GlyphDrawer
	strong bool
	dashed bool
}

// looks gives every method its look: trained ones are thick and blue, the
// literal twin is vermilion, chance is a dashed grey line.
func looks(methods []retrieval.MethodResult) map[string]look {
	out := make(map[string]look)
	trained, other := 0, 0
	for _, m := range methods {
		if _, ok := out[m.Name]; ok {
			continue
		}
		switch {
		case m.Kind == retrieval.Trained:
			out[m.Name] = look{role: roleTrained[trained%len(roleTrained)], shape: disc{}, strong: true}
			trained++
		case m.Kind == retrieval.ChanceKind:
			out[m.Name] = look{role: roleChance, dashed: true}
		case m.Name == literalTwin:
			out[m.Name] = look{role: roleTwin, shape: disc{}}
		default:
			out[m.Name] = look{role: roleBaseline[other%len(roleBaseline)], shape: shapes[other%len(shapes)]}
			other++
		}
	}
	return out
}

// recallFigure draws recall@k over k, one line with its band per method.
func recallFigure(r *retrieval.Result) *figure {
	style := looks(r.Methods)
	var traces []*trace
	low, high := math.Inf(1), math.Inf(-1)
	for i := len(r.Methods) - 1; i >= 0; i-- { // the first method is drawn last, on top
		m := r.Methods[i]
		k, recall := m.ImageToImage.Recalls()
		if len(k) == 0 {
			continue
		}
		l := style[m.Name]
		t := &trace{Name: m.Name, Role: l.role, Strong: l.strong, Dashed: l.dashed, Shape: l.shape}
		for j, n := range k {
			if n < 1 {
				continue
			}
			t.X, t.Y = append(t.X, float64(n)), append(t.Y, recall[j].Mean)
			t.Low, t.High = append(t.Low, recall[j].Low), append(t.High, recall[j].High)
			low, high = math.Min(low, float64(n)), math.Max(high, float64(n))
		}
		traces = append(traces, t)
	}
	if len(traces) == 0 {
		return nil
	}
	caption := "Share of queries with a right picture among the first k. Bands are 95 % intervals."
	if k := legibleK(traces, high); k < high {
		high = k
		caption += " Larger k are in the table."
	}
	for _, t := range traces {
		t.upTo(high)
	}
	return &figure{
		Name:    "recall",
		Alt:     "Line chart of recall at k over k. " + listRecall(r),
		Caption: caption,
		layout: func(width vg.Length) (vg.Length, func(draw.Canvas)) {
			height := vg.Length(400)
			if width < 500 {
				height = 360
			}
			return height, func(c draw.Canvas) {
				p := newPlot()
				p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = low, high, 0, 1
				if high > low {
					p.X.Scale = plot.LogScale{}
				}
				p.X.Label.Text = "pictures looked at, k"
				p.X.Tick.Marker = kTicks(low, high)
				p.Y.Tick.Marker = roundTicks(0, 1, 5, compact)
				p.Title.Text = "recall@k"
				p.X.Padding, p.Y.Padding = 6, 6
				p.Add(rules{})
				for _, t := range traces {
					p.Add(t)
				}
				drawNamed(leftTitle(c, p), p, traces)
			}
		},
	}
}

// legibleK is the largest k to draw: beyond it most methods have nearly all
// queries right, and their lines and names run together. The table has every k.
func legibleK(traces []*trace, high float64) float64 {
	best := 0.0
	for _, t := range traces {
		for _, k := range t.X {
			below := 0
			for _, u := range traces {
				if j := slices.Index(u.X, k); j >= 0 && u.Y[j] < .7 {
					below++
				}
			}
			if 2*below >= len(traces) {
				best = math.Max(best, k)
			}
		}
	}
	if best < 5 {
		return high
	}
	return best
}

// listRecall says the recall at 1 of every method, for the figure's alt text.
func listRecall(r *retrieval.Result) string {
	s := "Recall at 1: "
	for i, m := range r.Methods {
		if i > 0 {
			s += ", "
		}
		if v, ok := m.ImageToImage["recall@1"]; ok {
			s += m.Name + " " + num3(v.Mean)
		} else {
			s += m.Name + " not measured"
		}
	}
	return s + "."
}

// kTicks labels 1, 2, 5, 10, 20, 50 … within the range.
func kTicks(low, high float64) plot.Ticker {
	var at []float64
	for scale := 1.0; scale <= high; scale *= 10 {
		for _, m := range []float64{1, 2, 5} {
			if v := m * scale; v >= low && v <= high {
				at = append(at, v)
			}
		}
	}
	if len(at) == 0 {
		at = []float64{low}
	}
	return ticks(compact, at...)
}

// leftTitle takes the title from the plot and writes it at the canvas' left
// edge, where the eye starts; it returns the canvas below.
func leftTitle(c draw.Canvas, p *plot.Plot) draw.Canvas {
	st := textStyle(sansBold, sizeText, roleInk, left, right)
	c.FillText(st, vg.Point{X: c.Min.X, Y: c.Max.Y}, p.Title.Text)
	p.Title.Text = ""
	return draw.Crop(c, 0, 0, 0, -(sizeText + 12))
}

// barsFigure draws recall@1 as one bar per method, the best on top.
func barsFigure(r *retrieval.Result) *figure {
	type bar struct {
		name, kind string
		v          [3]float64
	}
	var bars []bar
	for _, m := range r.Methods {
		if v, ok := m.ImageToImage["recall@1"]; ok {
			bars = append(bars, bar{m.Name, m.Kind, [3]float64{v.Mean, v.Low, v.High}})
		}
	}
	if len(bars) == 0 {
		return nil
	}
	sort.SliceStable(bars, func(i, j int) bool { return bars[i].v[0] > bars[j].v[0] })
	colour := func(kind string) role {
		switch kind {
		case retrieval.Trained:
			return roleTrained[0]
		case retrieval.ChanceKind:
			return roleChance
		}
		return roleKind
	}
	kinds := []struct {
		kind, name string
	}{{retrieval.Trained, "trained"}, {retrieval.Baseline, "baseline"}, {retrieval.ChanceKind, "chance"}}
	return &figure{
		Name:    "bars",
		Alt:     "Bar chart of recall at 1 with intervals, best first. " + listRecall(r),
		Caption: "Recall@1: is the first picture right? Whiskers are 95 % intervals.",
		layout: func(width vg.Length) (vg.Length, func(draw.Canvas)) {
			const row, head = 30, 28
			height := vg.Length(head + row*len(bars) + 30)
			return height, func(c draw.Canvas) {
				var (
					names    = textStyle(sans, sizeText, roleInk, right, middle)
					value    = textStyle(sans, sizeSmall, roleInk, left, middle)
					interval = textStyle(sans, sizeSmall, roleMuted, left, middle)
					bold     = textStyle(sansBold, sizeText, roleInk, right, middle)
					vbold    = textStyle(sansBold, sizeSmall, roleInk, left, middle)
					tick     = textStyle(sans, sizeSmall, roleMuted, centre, right)
				)
				// Title and the key of colours.
				x := c.Min.X
				top := c.Max.Y - sizeText*.6
				title := textStyle(sansBold, sizeText, roleInk, left, middle)
				c.FillText(title, vg.Point{X: x, Y: top}, "recall@1")
				x += title.Width("recall@1") + 18
				key := textStyle(sans, sizeSmall, roleMuted, left, middle)
				for _, k := range kinds {
					used := false
					for _, b := range bars {
						used = used || b.kind == k.kind
					}
					if !used {
						continue
					}
					c.DrawGlyphNoClip(draw.GlyphStyle{Color: colour(k.kind).light, Radius: 5, Shape: square{}}, vg.Point{X: x + 5, Y: top})
					c.FillText(key, vg.Point{X: x + 14, Y: top}, k.name)
					x += 14 + key.Width(k.name) + 14
				}

				room := vg.Length(0)
				for _, b := range bars {
					room = max(room, bold.Width(shorten(b.name, 20)))
				}
				x0 := c.Min.X + room + 10
				x1 := c.Max.X - interval.Width("[.000, .000]") - vbold.Width(".000") - 16
				high := .1
				for _, b := range bars {
					high = math.Max(high, math.Max(b.v[0], b.v[2]))
				}
				high = math.Min(1, math.Ceil(high*10)/10)
				toX := func(v float64) vg.Length { return x0 + vg.Length(v/high)*(x1-x0) }

				bottom := c.Max.Y - head - row*vg.Length(len(bars))
				for _, t := range roundTicks(0, high, 4, compact) {
					c.StrokeLine2(draw.LineStyle{Color: roleGrid.light, Width: 1}, toX(t.Value), bottom, toX(t.Value), c.Max.Y-head)
					c.FillText(tick, vg.Point{X: toX(t.Value), Y: bottom - 4}, t.Label)
				}
				for i, b := range bars {
					y := c.Max.Y - head - row*(vg.Length(i)+.5)
					n, v := names, value
					if b.kind == retrieval.Trained {
						n, v = bold, vbold
					}
					c.FillText(n, vg.Point{X: x0 - 10, Y: y}, shorten(b.name, 20))
					c.SetColor(colour(b.kind).light)
					c.Fill(vg.Rectangle{Min: vg.Point{X: x0, Y: y - 8}, Max: vg.Point{X: max(toX(b.v[0]), x0+1), Y: y + 8}}.Path())
					if b.v[2] > b.v[1] {
						w := draw.LineStyle{Color: roleInk.light, Width: 1.2}
						c.StrokeLine2(w, toX(b.v[1]), y, toX(b.v[2]), y)
						c.StrokeLine2(w, toX(b.v[1]), y-3.5, toX(b.v[1]), y+3.5)
						c.StrokeLine2(w, toX(b.v[2]), y-3.5, toX(b.v[2]), y+3.5)
					}
					c.FillText(v, vg.Point{X: x1 + 10, Y: y}, num3(b.v[0]))
					if low, high := num3(b.v[1]), num3(b.v[2]); low != high {
						c.FillText(interval, vg.Point{X: x1 + 10 + vbold.Width(".000") + 5, Y: y}, fmt.Sprintf("[%s, %s]", low, high))
					}
				}
				c.StrokeLine2(draw.LineStyle{Color: roleAxis.light, Width: 1}, x0, bottom, x0, c.Max.Y-head)
				if m := byKind(r.Methods, retrieval.ChanceKind); m != nil {
					x := toX(m.ImageToImage[r1].Mean)
					c.StrokeLine2(draw.LineStyle{Color: roleChance.light, Width: 1.2, Dashes: []vg.Length{4, 3}}, x, bottom, x, c.Max.Y-head)
				}
			}
		},
	}
}

// trainingFigure draws loss, in-batch accuracy, validation recall and learning
// rate over steps: four panels at most, one line per run in each.
func trainingFigure(curves []Curve) *figure {
	type panel struct {
		title  string
		traces []*trace
		unit   bool // values are shares: the axis is [0,1]
	}
	panels := []*panel{{title: "loss"}, {title: "in-batch accuracy", unit: true}, {title: "validation recall@1", unit: true}, {title: "learning rate"}}
	alt := "Training curves."
	for i, c := range curves {
		r := roleTrained[i%len(roleTrained)]
		if c.Name == literalTwin {
			r = roleTwin
		}
		steps := make([]float64, len(c.Steps))
		var loss, accuracy, rate []float64
		for j, s := range c.Steps {
			steps[j] = float64(s.Step)
			loss, accuracy, rate = append(loss, s.Loss), append(accuracy, s.Accuracy), append(rate, s.LR)
		}
		line := func(p *panel, v []float64, smooth bool) {
			t := &trace{Name: c.Name, Role: r, Strong: i == 0}
			if smooth {
				const points = 260
				t.X, t.Faint = thin(steps, points), thin(v, points)
				t.Y = thin(moving(v, max(1, len(v)/60)), points)
			} else {
				t.X, t.Y = thin(steps, 120), thin(v, 120)
			}
			if _, _, ok := t.last(); ok {
				p.traces = append(p.traces, t)
			}
		}
		line(panels[0], loss, true)
		line(panels[1], accuracy, true)
		if i == 0 || !slices.EqualFunc(c.Steps, curves[0].Steps, func(a, b Step) bool { return a.Step == b.Step && a.LR == b.LR }) {
			line(panels[3], rate, false)
		}
		if len(c.Evaluations) > 0 {
			t := &trace{Name: c.Name, Role: r, Strong: i == 0, Shape: disc{}}
			for _, e := range c.Evaluations {
				t.X, t.Y = append(t.X, float64(e.Step)), append(t.Y, e.Recall1)
			}
			if _, _, ok := t.last(); ok {
				panels[2].traces = append(panels[2].traces, t)
			}
		}
		if n := len(c.Steps); n > 0 {
			alt += fmt.Sprintf(" %s: loss from %s to %s over %s steps.", c.Name, num3(loss[0]), num3(loss[n-1]), count(c.Steps[n-1].Step))
		}
	}
	kept := panels[:0]
	for _, p := range panels {
		if len(p.traces) > 0 {
			kept = append(kept, p)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	first, last := math.Inf(1), math.Inf(-1) // of all panels, so that steps stand above each other
	for _, p := range kept {
		for _, t := range p.traces {
			for _, x := range t.X {
				first, last = math.Min(first, x), math.Max(last, x)
			}
		}
	}
	return &figure{
		Name:    "training",
		Alt:     alt,
		Caption: "Training. Bold lines are moving means over a sixtieth of the run; the faint lines behind them are single steps.",
		layout: func(width vg.Length) (vg.Length, func(draw.Canvas)) {
			columns := 2
			if width < 500 || len(kept) == 1 {
				columns = 1
			}
			rows := (len(kept) + columns - 1) / columns
			const gap = 26
			const cell = 210
			height := vg.Length(rows*cell + (rows-1)*gap)
			w := (width - gap*vg.Length(columns-1)) / vg.Length(columns)
			return height, func(c draw.Canvas) {
				for i, pn := range kept {
					x := c.Min.X + vg.Length(i%columns)*(w+gap)
					y := c.Max.Y - vg.Length(i/columns)*(cell+gap)
					area := draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{Min: vg.Point{X: x, Y: y - cell}, Max: vg.Point{X: x + w, Y: y}}}
					p := newPlot()
					low, high := 0.0, 0.0
					for _, t := range pn.traces {
						for _, y := range t.Y {
							if finite(y) {
								low, high = math.Min(low, y), math.Max(high, y)
							}
						}
					}
					if pn.unit {
						high = 1
					}
					p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = first, last, low, high
					p.Add(rules{})
					for j := len(pn.traces) - 1; j >= 0; j-- { // the main run on top
						p.Add(pn.traces[j])
					}
					p.Y.Tick.Marker = roundTicks(low, high, 4, compact)
					p.X.Tick.Marker = roundTicks(first, last, 4, compact)
					if i >= len(kept)-columns {
						p.X.Label.Text = "step"
					}
					p.Title.Text = pn.title
					drawNamed(leftTitle(area, p), p, pn.traces)
				}
			}
		},
	}
}

// moving returns the mean of every value and its neighbours, w in all, fewer
// at the ends; values that are not finite are left out.
func moving(v []float64, w int) []float64 {
	out := make([]float64, len(v))
	for i := range v {
		sum, n := 0.0, 0
		for j := max(0, i-w/2); j < min(len(v), i-w/2+w); j++ {
			if finite(v[j]) {
				sum, n = sum+v[j], n+1
			}
		}
		out[i] = sum / float64(n) // NaN where nothing is finite
	}
	return out
}

// thin keeps at most n values, evenly spread, the first and the last among
// them.
func thin(v []float64, n int) []float64 {
	if len(v) <= n {
		return v
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = v[i*(len(v)-1)/(n-1)]
	}
	return out
}

// familyNames returns the relations that the methods were measured on, those
// that the first method finds best first.
func familyNames(methods []retrieval.MethodResult) []string {
	if len(methods) == 0 {
		return nil
	}
	seen := make(map[string]bool)
	var names []string
	for _, m := range methods {
		for name := range m.Families {
			if !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	first := methods[0].Families
	sort.Slice(names, func(i, j int) bool {
		a, b := first[names[i]].Recall1, first[names[j]].Recall1
		if a != b {
			return a > b
		}
		return names[i] < names[j]
	})
	return names
}

// withFamilies returns the methods that have figures by relation; chance,
// which is the same everywhere, is left out.
func withFamilies(methods []retrieval.MethodResult) []retrieval.MethodResult {
	var out []retrieval.MethodResult
	for _, m := range methods {
		if len(m.Families) > 0 && m.Kind != retrieval.ChanceKind {
			out = append(out, m)
		}
	}
	return out
}

// familiesFigure draws recall@1 of every method on every relation as a heat
// map with its numbers.
func familiesFigure(r *retrieval.Result) *figure {
	type group struct {
		title   string
		methods []retrieval.MethodResult
		names   []string
	}
	var groups []group
	rows := 0
	var columns []string
	for i, methods := range [][]retrieval.MethodResult{withFamilies(r.Methods), withFamilies(r.HeldOut)} {
		names := familyNames(methods)
		if len(names) == 0 {
			continue
		}
		title := "relations trained on"
		if i == 1 {
			title = "relations never trained on"
		}
		groups = append(groups, group{title, methods, names})
		rows += len(names)
		if columns == nil {
			for _, m := range methods {
				columns = append(columns, m.Name)
			}
		}
	}
	if rows == 0 {
		return nil
	}
	return &figure{
		Name:    "families",
		Alt:     fmt.Sprintf("Heat map of recall at 1: %d relations by %d methods. The table below it has the numbers.", rows, len(columns)),
		Caption: "Recall@1 by relation and method; relations that the first method finds best are on top.",
		layout: func(width vg.Length) (vg.Length, func(draw.Canvas)) {
			const row, head = 21, 24
			label := textStyle(sans, sizeText, roleInk, right, middle)
			column := textStyle(sans, sizeSmall, roleInk, left, middle)
			room, tall := vg.Length(0), vg.Length(0)
			for _, g := range groups {
				for _, n := range g.names {
					room = max(room, label.Width(shorten(n, 18)))
				}
			}
			room += 10
			slant := 55 * math.Pi / 180
			if width < 500 {
				slant = 78 * math.Pi / 180
			}
			for _, n := range columns {
				tall = max(tall, column.Width(shorten(n, 20)))
			}
			lastWide := column.Width(shorten(columns[len(columns)-1], 20))
			over := lastWide*vg.Length(math.Cos(slant)) + 6 // what leans out on the right
			cell := min((width-room-over*.55)/vg.Length(len(columns)), 74)
			right := width - room - cell*vg.Length(len(columns))
			over = max(0, over-right-cell/2)
			cell -= over / vg.Length(len(columns))
			tall = tall*vg.Length(math.Sin(slant)) + 14
			height := tall + vg.Length(rows)*row + vg.Length(len(groups))*head
			size := min(sizeSmall, cell*.42)
			return height, func(c draw.Canvas) {
				column.Rotation = slant
				for j, n := range columns {
					c.FillText(column, vg.Point{X: c.Min.X + room + cell*(vg.Length(j)+.5), Y: c.Max.Y - tall + 7}, shorten(n, 20))
				}
				y := c.Max.Y - tall
				for _, g := range groups {
					c.FillText(textStyle(sansBold, sizeSmall, roleMuted, left, middle), vg.Point{X: c.Min.X + room, Y: y - head*.5}, g.title)
					y -= head
					for _, name := range g.names {
						c.FillText(label, vg.Point{X: c.Min.X + room - 8, Y: y - row/2}, shorten(name, 18))
						for j, col := range columns {
							for _, m := range g.methods {
								f, ok := m.Families[name]
								if m.Name != col || !ok {
									continue
								}
								bg, ink := heat(f.Recall1)
								x := c.Min.X + room + cell*vg.Length(j)
								c.SetColor(bg.light)
								c.Fill(vg.Rectangle{Min: vg.Point{X: x + .75, Y: y - row + .75}, Max: vg.Point{X: x + cell - .75, Y: y - .75}}.Path())
								c.FillText(textStyle(sans, size, ink, centre, middle), vg.Point{X: x + cell/2, Y: y - row/2}, num2(f.Recall1))
							}
						}
						y -= row
					}
				}
			}
		},
	}
}

// spaceFigure draws pairs of pictures in the plane of attribute similarity and
// relational similarity (arXiv:2512.07833, figure 7).
func spaceFigure(r *retrieval.Result) *figure {
	s := r.Space
	if s == nil || len(s.Points) == 0 {
		return nil
	}
	kinds := []struct {
		label, name string
		role        role
		shape       draw.GlyphDrawer
		n           int
	}{
		{retrieval.Other, "neither", roleChance, cross{}, 0},
		{retrieval.SameTwin, "same attributes, other relation", roleTwin, diamond{}, 0},
		{retrieval.SameRelation, "same relation, other attributes", roleTrained[0], disc{}, 0},
	}
	xs, ys := span{}, span{}
	for _, p := range s.Points {
		xs.add(p.Attribute)
		ys.add(p.Relational)
		for i := range kinds {
			if kinds[i].label == p.Label {
				kinds[i].n++
			}
		}
	}
	return &figure{
		Name: "space",
		Alt: fmt.Sprintf("Scatter plot of %d pairs of pictures: attribute similarity by %s across, relational similarity by %s upward. %s",
			len(s.Points), s.Attribute, s.Relational, spaceSentence(s)),
		Caption: "Pairs of pictures by how alike they look and by how alike their relations are held to be.",
		layout: func(width vg.Length) (vg.Length, func(draw.Canvas)) {
			key := textStyle(sans, sizeSmall, roleInk, left, middle)
			rowsOfKey := 1
			total := vg.Length(0)
			for _, k := range kinds {
				total += key.Width(k.name) + 34
			}
			if total > width {
				rowsOfKey = len(kinds)
			}
			height := min(width, 560)*.86 + vg.Length(rowsOfKey)*18 + 8
			return height, func(c draw.Canvas) {
				x, y := c.Min.X+2, c.Max.Y-8
				for i := len(kinds) - 1; i >= 0; i-- {
					k := kinds[i]
					if k.n == 0 {
						continue
					}
					c.DrawGlyphNoClip(draw.GlyphStyle{Color: k.role.light, Radius: 4, Shape: k.shape}, vg.Point{X: x + 4, Y: y})
					c.FillText(key, vg.Point{X: x + 14, Y: y}, k.name)
					if rowsOfKey == 1 {
						x += key.Width(k.name) + 34
					} else {
						y -= 18
					}
				}
				area := draw.Crop(c, 0, 0, 0, -(vg.Length(rowsOfKey)*18 + 8))
				p := newPlot()
				p.X.Min, p.X.Max = xs.padded()
				p.Y.Min, p.Y.Max = ys.padded()
				p.X.Label.Text = "attribute similarity (" + shorten(s.Attribute, 24) + ")"
				p.Y.Label.Text = "relational similarity (" + shorten(s.Relational, 24) + ")"
				p.X.Tick.Marker = roundTicks(p.X.Min, p.X.Max, 5, compact)
				p.Y.Tick.Marker = roundTicks(p.Y.Min, p.Y.Max, 5, compact)
				p.Add(rules{})
				for _, k := range kinds {
					p.Add(dots{s.Points, k.label, draw.GlyphStyle{Color: fade(k.role.light, .7), Radius: 2.4, Shape: k.shape}})
				}
				p.Draw(area)
			}
		},
	}
}

// dots draws the points of one label.
type dots struct {
	points []retrieval.Point
	label  string
	style  draw.GlyphStyle
}

func (d dots) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for _, pt := range d.points {
		if pt.Label == d.label && finite(pt.Attribute) && finite(pt.Relational) {
			c.DrawGlyph(d.style, vg.Point{X: x(pt.Attribute), Y: y(pt.Relational)})
		}
	}
}

// A span is a range that grows with what is added to it.
type span struct {
	low, high float64
	any       bool
}

func (s *span) add(v float64) {
	if !finite(v) {
		return
	}
	if !s.any {
		s.low, s.high, s.any = v, v, true
	}
	s.low, s.high = math.Min(s.low, v), math.Max(s.high, v)
}

// padded returns the range with a twenty-fifth more on each side, and never an
// empty one.
func (s *span) padded() (low, high float64) {
	pad := (s.high - s.low) / 25
	if pad == 0 {
		pad = math.Max(math.Abs(s.low)/10, .5)
	}
	return s.low - pad, s.high + pad
}

// num3 writes a share with three decimals and no leading zero: .752.
func num3(v float64) string { return short(v, 3) }

// num2 writes a share with two decimals and no leading zero: .75.
func num2(v float64) string { return short(v, 2) }

func short(v float64, digits int) string {
	if !finite(v) {
		return "–"
	}
	s := strconv.FormatFloat(v, 'f', digits, 64)
	switch {
	case len(s) > 1 && s[0] == '0':
		return s[1:]
	case len(s) > 2 && s[:2] == "-0":
		return "−" + s[2:]
	case s[0] == '-':
		return "−" + s[1:]
	}
	return s
}

// count writes a whole number with a thin space between thousands.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}
