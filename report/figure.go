package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"regexp"
	"strconv"
	"strings"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A figure is one picture of the report. It lays itself out for a width, so
// that the page has a version for a desk and one for a phone, both with text of
// the same size, and the files have the wide one.
type figure struct {
	Name    string // file name without its suffix
	Alt     string // what the picture says, for those who do not see it
	Caption string

	// layout returns the height that the figure needs at this width, and what
	// draws it on a canvas of exactly that size.
	layout func(width vg.Length) (height vg.Length, paint func(draw.Canvas))
}

// The two widths of a figure, in points, which are CSS pixels on the page.
const (
	wide   vg.Length = 760
	narrow vg.Length = 340
	margin vg.Length = 16 // around the figure, in files
)

// dpi is the resolution of the PNG files: two pixels per point.
const dpi = 144

// PNG returns the figure as a PNG picture on white.
func (f *figure) PNG() ([]byte, error) {
	height, paint := f.layout(wide)
	c := vgimg.NewWith(vgimg.UseWH(wide+2*margin, height+2*margin), vgimg.UseDPI(dpi), vgimg.UseBackgroundColor(rolePaper.light))
	paint(draw.Crop(draw.New(c), margin, -margin, margin, -margin))
	var b bytes.Buffer
	_, err := vgimg.PngCanvas{Canvas: c}.WriteTo(&b)
	return b.Bytes(), err
}

// SVG returns the figure as an SVG document on white.
func (f *figure) SVG() ([]byte, error) {
	s, w, h, err := f.svg(wide)
	if err != nil {
		return nil, err
	}
	const m = float64(margin)
	var b bytes.Buffer
	fmt.Fprintf(&b, `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="%g" height="%g" viewBox="%g %g %g %g" role="img">
<title>`, w+2*m, h+2*m, -m, -m, w+2*m, h+2*m)
	xml.EscapeText(&b, []byte(f.Alt)) // a bytes.Buffer never fails
	fmt.Fprintf(&b, "</title>\n<rect x=\"%g\" y=\"%g\" width=\"100%%\" height=\"100%%\" fill=\"%s\"/>\n", -m, -m, hex(rolePaper.light))
	b.Write(s)
	b.WriteString("</svg>\n")
	return b.Bytes(), nil
}

// Inline returns the figure as an <svg> element of the page. Its colours are
// the page's custom properties, so that they follow light and dark.
func (f *figure) Inline(width vg.Length, class string) (template.HTML, error) {
	s, w, h, err := f.svg(width)
	if err != nil {
		return "", err
	}
	body := reHex.ReplaceAllStringFunc(string(s), func(s string) string {
		if name, ok := roleNames[s]; ok {
			return "var(--" + name + ")"
		}
		return s
	})
	return template.HTML(fmt.Sprintf(`<svg class="%s" viewBox="0 0 %g %g" width="%g" height="%g" role="img" aria-label="%s">`,
		class, w, h, w, h, template.HTMLEscapeString(f.Alt)) + body + "</svg>"), nil
}

var (
	reHex = regexp.MustCompile(`#[0-9A-F]{6}`)
	// reFont matches the description of a font that vgsvg writes with every
	// string; the page says it once, in its style sheet.
	reFont = regexp.MustCompile(`font-family:[^;"]*;font-variant:[a-z-]*;font-weight:(\w+);font-style:normal;font-size:([0-9.]+)px`)
	reSpan = regexp.MustCompile(`\s*\n\s*style=`)
)

// svg draws the figure and returns what stands between the <svg> tags.
func (f *figure) svg(width vg.Length) (body []byte, w, h float64, err error) {
	height, paint := f.layout(width)
	c := vgsvg.New(width, height)
	paint(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return nil, 0, 0, err
	}
	s := b.String()
	s = s[strings.Index(s, "xlink\">")+len("xlink\">"):]
	s = strings.TrimSuffix(strings.TrimSpace(s), "</svg>")
	s = reSpan.ReplaceAllString(s, " style=")
	s = reFont.ReplaceAllStringFunc(s, func(m string) string {
		p := reFont.FindStringSubmatch(m)
		return "font:" + p[1] + " " + p[2] + "px 'Liberation Sans',Arial,Helvetica,sans-serif"
	})
	return []byte(s), float64(width), float64(height), nil
}

// A role is a colour by its purpose, on light and on dark paper. No two roles
// share a light colour: the page finds them by it.
type role struct {
	name        string
	light, dark color.NRGBA
}

// Colours of data are those of Okabe and Ito (jfly.uni-koeln.de/color), which
// people with any of the common kinds of colour blindness tell apart; a shade
// lighter on dark paper, and darker where a light one is lost on white.
var (
	rolePaper = role{"paper", rgb(0xFFFFFF), rgb(0x14171B)}
	roleInk   = role{"ink", rgb(0x1A1D21), rgb(0xE9ECEF)}
	roleMuted = role{"muted", rgb(0x565E68), rgb(0xA9B1BB)}
	roleGrid  = role{"grid", rgb(0xE4E7EB), rgb(0x2B3138)}
	roleAxis  = role{"axis", rgb(0xA2AAB4), rgb(0x5C6670)}

	roleTrained  = []role{{"t0", rgb(0x0072B2), rgb(0x4DB2F0)}, {"t1", rgb(0x003F66), rgb(0xA8DBFF)}, {"t2", rgb(0x2C4BC4), rgb(0x93A8FF)}}
	roleTwin     = role{"twin", rgb(0xD55E00), rgb(0xFF8F45)}
	roleBaseline = []role{
		{"b0", rgb(0x009E73), rgb(0x34C99E)},
		{"b1", rgb(0xBF6496), rgb(0xE79BC6)},
		{"b2", rgb(0xC28500), rgb(0xF2B73A)},
		{"b3", rgb(0x3399D6), rgb(0x9AD5F7)},
		{"b4", rgb(0x8A7A00), rgb(0xE5DA55)},
		{"b5", rgb(0x6D4C9F), rgb(0xB79AE6)},
	}
	roleChance = role{"chance", rgb(0x7B838D), rgb(0x8B949E)}
	roleKind   = role{"kind", rgb(0x9C8F7B), rgb(0xA39782)} // bars of baselines

	// Text on a cell of the heat map is black or white, whichever stands out more
	// on the cell's light and on its dark colour.
	roleOnHeat = [2][2]role{
		{{"oll", rgb(0x030405), rgb(0x030405)}, {"old", rgb(0x040506), rgb(0xFFFFFF)}},
		{{"odl", rgb(0xFEFFFF), rgb(0x030405)}, {"odd", rgb(0xFFFEFF), rgb(0xFFFFFF)}},
	}
	roleHeat = heatScale()

	roles     = allRoles()
	roleNames = namesOf(roles)
)

func allRoles() []role {
	all := []role{rolePaper, roleInk, roleMuted, roleGrid, roleAxis, roleTwin, roleChance, roleKind}
	all = append(append(all, roleOnHeat[0][:]...), roleOnHeat[1][:]...)
	all = append(all, roleTrained...)
	all = append(all, roleBaseline...)
	return append(all, roleHeat...)
}

func namesOf(roles []role) map[string]string {
	names := make(map[string]string, len(roles))
	for _, r := range roles {
		if other, ok := names[hex(r.light)]; ok {
			panic(fmt.Sprintf("report: colours %s and %s are both %s", r.name, other, hex(r.light)))
		}
		names[hex(r.light)] = r.name
	}
	return names
}

// heatScale returns the steps of the heat map, from the paper's colour to a
// strong blue: dark on light paper, bright on dark paper.
func heatScale() []role {
	const steps = 21
	var (
		light = []color.NRGBA{rgb(0xF4F6F9), rgb(0xBBD7EA), rgb(0x4B97C9), rgb(0x00497A)}
		dark  = []color.NRGBA{rgb(0x1D2228), rgb(0x1F4A68), rgb(0x2F86BF), rgb(0xB9E2FF)}
	)
	scale := make([]role, steps)
	for i := range scale {
		t := float64(i) / (steps - 1)
		scale[i] = role{fmt.Sprintf("h%d", i), along(light, t), along(dark, t)}
	}
	return scale
}

// along returns the colour at t in [0,1] of a line through the stops.
func along(stops []color.NRGBA, t float64) color.NRGBA {
	x := t * float64(len(stops)-1)
	i := min(int(x), len(stops)-2)
	f := x - float64(i)
	mix := func(a, b uint8) uint8 { return uint8(math.Round(float64(a) + f*(float64(b)-float64(a)))) }
	a, b := stops[i], stops[i+1]
	return color.NRGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 255}
}

// heat returns the cell and text colour of a share in [0,1].
func heat(v float64) (cell, ink role) {
	cell = roleHeat[int(math.Round(clamp01(v)*float64(len(roleHeat)-1)))]
	onDark := func(c color.NRGBA) int {
		if contrast(c, rgb(0xFFFFFF)) > contrast(c, rgb(0x030405)) {
			return 1
		}
		return 0
	}
	return cell, roleOnHeat[onDark(cell.light)][onDark(cell.dark)]
}

// contrast is the ratio of two colours' luminances, 1 to 21 (WCAG 2.2).
func contrast(a, b color.NRGBA) float64 {
	la, lb := luminance(a), luminance(b)
	return (max(la, lb) + .05) / (min(la, lb) + .05)
}

func luminance(c color.NRGBA) float64 {
	lin := func(v uint8) float64 {
		if x := float64(v) / 255; x > .04045 {
			return math.Pow((x+.055)/1.055, 2.4)
		} else {
			return x / 12.92
		}
	}
	return .2126*lin(c.R) + .7152*lin(c.G) + .0722*lin(c.B)
}

func rgb(v uint32) color.NRGBA {
	return color.NRGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 255}
}

func hex(c color.NRGBA) string { return fmt.Sprintf("#%02X%02X%02X", c.R, c.G, c.B) }

func fade(c color.NRGBA, alpha float64) color.NRGBA {
	c.A = uint8(math.Round(alpha * 255))
	return c
}

func clamp01(v float64) float64 {
	if !(v > 0) { // NaN too
		return 0
	}
	return min(v, 1)
}

// Sizes of text in figures, in points.
const (
	sizeText  vg.Length = 12.5
	sizeSmall vg.Length = 11.5
)

var (
	sans     = font.Font{Typeface: "Liberation", Variant: "Sans"}
	sansBold = font.Font{Typeface: "Liberation", Variant: "Sans", Weight: xfont.WeightBold}
)

// textStyle returns a style with its anchor on the given side.
func textStyle(f font.Font, size vg.Length, r role, x, y float64) text.Style {
	return text.Style{Color: r.light, Font: font.From(f, size), XAlign: text.XAlignment(x), YAlign: text.YAlignment(y), Handler: plot.DefaultTextHandler}
}

const (
	left, centre, right = 0.0, -0.5, -1.0
	middle              = -0.36 // of the letters, not of the line box
)

// newPlot returns a plot with the report's look: no box, hairline grid, words
// in sans.
func newPlot() *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.LineStyle = draw.LineStyle{Color: roleAxis.light, Width: 1}
		a.Tick.LineStyle = draw.LineStyle{Color: roleAxis.light, Width: 1}
		a.Tick.Length = 4
		a.Tick.Label.Font = font.From(sans, sizeSmall)
		a.Tick.Label.Color = roleMuted.light
		a.Label.TextStyle.Font = font.From(sans, sizeText)
		a.Label.TextStyle.Color = roleMuted.light
		a.Label.Padding = 5
		a.Padding = 0
	}
	p.Y.LineStyle.Width = 0
	p.Y.Tick.LineStyle.Width = 0
	p.Y.Tick.Length = 0
	p.Title.TextStyle.Font = font.From(sansBold, sizeText)
	p.Title.TextStyle.Color = roleInk.light
	p.Title.Padding = 8
	return p
}

// rules draws a hairline at every labelled tick of the upright axis.
type rules struct{}

func (rules) Plot(c draw.Canvas, p *plot.Plot) {
	_, y := p.Transforms(&c)
	style := draw.LineStyle{Color: roleGrid.light, Width: 1}
	for _, t := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
		if t.IsMinor() || t.Value < p.Y.Min || t.Value > p.Y.Max {
			continue
		}
		c.StrokeLine2(style, c.Min.X, y(t.Value), c.Max.X, y(t.Value))
	}
}

// A trace is one line of a figure, with an optional band around it.
type trace struct {
	Name      string
	Role      role
	Strong    bool // drawn thicker, named in bold
	Dashed    bool
	Shape     draw.GlyphDrawer // nil: no marks
	X, Y      []float64
	Low, High []float64 // empty: no band
	Faint     []float64 // unsmoothed values behind the line; empty: none
}

// Plot draws the band, then the line, then the marks. A value that is not
// finite interrupts the line.
func (t *trace) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	at := func(i int, v []float64) (vg.Point, bool) {
		if !finite(v[i]) || !finite(t.X[i]) {
			return vg.Point{}, false
		}
		return vg.Point{X: x(t.X[i]), Y: y(v[i])}, true
	}
	if len(t.Low) == len(t.X) && len(t.High) == len(t.X) {
		var up, down []vg.Point
		for i := range t.X {
			l, ok1 := at(i, t.Low)
			h, ok2 := at(i, t.High)
			if ok1 && ok2 {
				up, down = append(up, h), append(down, l)
			}
		}
		if len(up) > 1 {
			for i := len(down) - 1; i >= 0; i-- {
				up = append(up, down[i])
			}
			c.FillPolygon(fade(t.Role.light, .16), c.ClipPolygonXY(up))
		}
	}
	lines := func(v []float64) (out [][]vg.Point) {
		var line []vg.Point
		for i := range t.X {
			if pt, ok := at(i, v); ok {
				line = append(line, pt)
			} else if len(line) > 0 {
				out, line = append(out, line), nil
			}
		}
		return append(out, line)
	}
	if len(t.Faint) == len(t.X) {
		c.StrokeLines(draw.LineStyle{Color: fade(t.Role.light, .28), Width: .8}, c.ClipLinesXY(lines(t.Faint)...)...)
	}
	style := draw.LineStyle{Color: t.Role.light, Width: 1.5}
	if t.Strong {
		style.Width = 2.6
	}
	if t.Dashed {
		style.Dashes = []vg.Length{5, 4}
	}
	c.StrokeLines(style, c.ClipLinesXY(lines(t.Y)...)...)
	if t.Shape == nil {
		return
	}
	glyph := draw.GlyphStyle{Color: t.Role.light, Radius: 3, Shape: t.Shape}
	if t.Strong {
		glyph.Radius = 3.8
	}
	for i := range t.X {
		if pt, ok := at(i, t.Y); ok {
			c.DrawGlyph(glyph, pt)
		}
	}
}

// upTo cuts the line after x.
func (t *trace) upTo(x float64) {
	n := len(t.X)
	for n > 0 && t.X[n-1] > x {
		n--
	}
	t.X, t.Y, t.Low, t.High = t.X[:n], t.Y[:n], t.Low[:n], t.High[:n]
}

// last returns the line's last finite point.
func (t *trace) last() (x, y float64, ok bool) {
	for i := len(t.X) - 1; i >= 0; i-- {
		if finite(t.X[i]) && finite(t.Y[i]) {
			return t.X[i], t.Y[i], true
		}
	}
	return 0, 0, false
}

// diamond is a square on its corner.
type diamond struct{}

func (diamond) DrawGlyph(c *draw.Canvas, s draw.GlyphStyle, pt vg.Point) {
	r := s.Radius * 1.25
	c.SetColor(s.Color)
	var p vg.Path
	p.Move(vg.Point{X: pt.X, Y: pt.Y + r})
	p.Line(vg.Point{X: pt.X + r, Y: pt.Y})
	p.Line(vg.Point{X: pt.X, Y: pt.Y - r})
	p.Line(vg.Point{X: pt.X - r, Y: pt.Y})
	p.Close()
	c.Fill(p)
}

// disc is a filled circle.
type disc = draw.CircleGlyph

// triangle and wedge are filled triangles, upward and downward.
type (
	triangle struct{}
	wedge    struct{}
)

func (triangle) DrawGlyph(c *draw.Canvas, s draw.GlyphStyle, pt vg.Point) { tri(c, s, pt, 1) }
func (wedge) DrawGlyph(c *draw.Canvas, s draw.GlyphStyle, pt vg.Point)    { tri(c, s, pt, -1) }

func tri(c *draw.Canvas, s draw.GlyphStyle, pt vg.Point, up vg.Length) {
	r := s.Radius * 1.2
	c.SetColor(s.Color)
	var p vg.Path
	p.Move(vg.Point{X: pt.X, Y: pt.Y + up*r})
	p.Line(vg.Point{X: pt.X + r*.95, Y: pt.Y - up*r*.75})
	p.Line(vg.Point{X: pt.X - r*.95, Y: pt.Y - up*r*.75})
	p.Close()
	c.Fill(p)
}

// square is a filled square.
type square struct{}

func (square) DrawGlyph(c *draw.Canvas, s draw.GlyphStyle, pt vg.Point) {
	r := s.Radius * .9
	c.SetColor(s.Color)
	c.Fill(vg.Rectangle{Min: vg.Point{X: pt.X - r, Y: pt.Y - r}, Max: vg.Point{X: pt.X + r, Y: pt.Y + r}}.Path())
}

// cross and plus are two thin bars.
type (
	cross struct{}
	plus  struct{}
)

func (cross) DrawGlyph(c *draw.Canvas, s draw.GlyphStyle, pt vg.Point) {
	r := s.Radius * .85
	style := draw.LineStyle{Color: s.Color, Width: s.Radius * .42}
	c.StrokeLine2(style, pt.X-r, pt.Y-r, pt.X+r, pt.Y+r)
	c.StrokeLine2(style, pt.X-r, pt.Y+r, pt.X+r, pt.Y-r)
}

func (plus) DrawGlyph(c *draw.Canvas, s draw.GlyphStyle, pt vg.Point) {
	r := s.Radius * 1.1
	style := draw.LineStyle{Color: s.Color, Width: s.Radius * .5}
	c.StrokeLine2(style, pt.X-r, pt.Y, pt.X+r, pt.Y)
	c.StrokeLine2(style, pt.X, pt.Y-r, pt.X, pt.Y+r)
}

// drawNamed draws the plot with every trace named at its right end: the names
// keep their distance from each other and a thin line leads from the end to
// the name where they had to move.
func drawNamed(c draw.Canvas, p *plot.Plot, traces []*trace) {
	const gap, lead = 6, 10
	var room vg.Length
	for _, t := range traces {
		room = max(room, t.nameStyle().Width(t.label()))
	}
	area := draw.Crop(c, 0, -(room + gap + lead), 0, 0)
	p.Draw(area)
	data := p.DataCanvas(area)
	toX, toY := p.Transforms(&data)

	type name struct {
		t    *trace
		x, y vg.Length // the line's end
		at   vg.Length // the name's height
	}
	var names []name
	for _, t := range traces {
		if x, y, ok := t.last(); ok {
			py := min(max(toY(y), data.Min.Y), data.Max.Y)
			names = append(names, name{t, toX(x), py, py})
		}
	}
	at := make([]float64, len(names))
	for i, n := range names {
		at[i] = float64(n.y)
	}
	for i, v := range spread(at, float64(sizeSmall)+2.5, float64(data.Min.Y), float64(data.Max.Y)) {
		names[i].at = vg.Length(v)
	}
	for _, n := range names {
		c.StrokeLines(draw.LineStyle{Color: fade(n.t.Role.light, .7), Width: 1}, []vg.Point{
			{X: n.x + 4, Y: n.y}, {X: data.Max.X + lead, Y: n.at}})
		c.FillText(n.t.nameStyle(), vg.Point{X: data.Max.X + lead + gap - 3, Y: n.at}, n.t.label())
	}
}

func (t *trace) nameStyle() text.Style {
	if t.Strong {
		return textStyle(sansBold, sizeSmall, roleInk, left, middle)
	}
	return textStyle(sans, sizeSmall, roleInk, left, middle)
}

func (t *trace) label() string { return shorten(t.Name, 22) }

// spread moves positions apart until neighbours are at least gap from each
// other, each as little as possible, within [low, high] where there is room.
// It keeps their order.
func spread(at []float64, gap, low, high float64) []float64 {
	order := argsort(at)
	// Pool adjacent violators: a block of names sits at the mean of the places
	// its members want.
	type block struct {
		sum  float64 // of (wanted - offset inside the block)
		n    int
		from int
	}
	var blocks []block
	for i, o := range order {
		blocks = append(blocks, block{at[o], 1, i})
		for len(blocks) > 1 {
			a, b := blocks[len(blocks)-2], blocks[len(blocks)-1]
			if a.sum/float64(a.n)+float64(a.n)*gap <= b.sum/float64(b.n) {
				break
			}
			blocks = blocks[:len(blocks)-1]
			blocks[len(blocks)-1] = block{a.sum + b.sum - float64(a.n*b.n)*gap, a.n + b.n, a.from}
		}
	}
	out := make([]float64, len(at))
	for _, b := range blocks {
		start := b.sum / float64(b.n)
		for j := range b.n {
			out[order[b.from+j]] = start + float64(j)*gap
		}
	}
	// Push back what left the area, from the top and then from the bottom.
	limit := high
	for i := len(order) - 1; i >= 0; i-- {
		out[order[i]] = min(out[order[i]], limit)
		limit = out[order[i]] - gap
	}
	limit = low
	for _, o := range order {
		out[o] = max(out[o], limit)
		limit = out[o] + gap
	}
	return out
}

func argsort(v []float64) []int {
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	// Insertion sort: stable, and the lists are as long as a legend.
	for i := 1; i < len(order); i++ {
		for j := i; j > 0 && v[order[j]] < v[order[j-1]]; j-- {
			order[j], order[j-1] = order[j-1], order[j]
		}
	}
	return order
}

// ticks returns labelled ticks at the given values.
func ticks(format func(float64) string, at ...float64) plot.ConstantTicks {
	out := make(plot.ConstantTicks, len(at))
	for i, v := range at {
		out[i] = plot.Tick{Value: v, Label: format(v)}
	}
	return out
}

// roundTicks returns about n ticks at round values within [low, high].
func roundTicks(low, high float64, n int, format func(float64) string) plot.ConstantTicks {
	if !finite(low) || !finite(high) || high <= low {
		return ticks(format, low)
	}
	raw := (high - low) / float64(n)
	step := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if m*step >= raw {
			step *= m
			break
		}
	}
	var at []float64
	for i := math.Ceil(low/step - 1e-9); i*step <= high+step*1e-9; i++ {
		at = append(at, i*step)
	}
	return ticks(format, at...)
}

// compact writes a tick's number: 0, .25, 1, 12k.
func compact(v float64) string {
	switch a := math.Abs(v); {
	case a == 0:
		return "0"
	case a >= 1e6:
		return trimZeros(strconv.FormatFloat(v/1e6, 'f', 1, 64)) + "M"
	case a >= 1e4:
		return trimZeros(strconv.FormatFloat(v/1e3, 'f', 1, 64)) + "k"
	case a < 1e-2:
		return strings.NewReplacer("e-0", "e−", "e-", "e−", "-", "−").Replace(strconv.FormatFloat(v, 'e', -1, 64))
	}
	s := trimZeros(strconv.FormatFloat(v, 'f', 4, 64))
	return strings.NewReplacer("-0.", "−.", "-", "−").Replace(strings.Replace(s, "0.", ".", 1))
}

func trimZeros(s string) string {
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// shorten cuts a name to n letters.
func shorten(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
