package inspection

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Characters that a line of the table shows of a caption, and of another text.
const (
	shownCaption = 90
	shownName    = 40
)

// WriteText writes the report as a table for a terminal, with at most examples rows that show a finding.
func (r *Report) WriteText(w io.Writer, examples int) error {
	t := &table{examples: examples}
	t.title(Shown(r.Data, shownName))
	t.row("rows", r.Rows.Rows)
	t.row("distinct ids", r.Rows.IDs)
	t.part("without a caption", r.Rows.WithoutCaption, r.Rows.Rows)
	t.part("several captions", r.Rows.SeveralCaptions, r.Rows.Rows)
	t.part("without an address", r.Rows.WithoutURL, r.Rows.Rows)
	t.part("captions in quotes", r.Rows.Quoted, r.Rows.Rows)
	for _, s := range r.Splits {
		t.part("split "+Shown(s.Name, shownName), s.Count, r.Rows.Rows)
	}
	for _, g := range r.Groups {
		t.text(g.Of, fmt.Sprintf("%s, of %s rows, the middle one of %s", plural(g.Sizes.Count, g.Of), span(g.Sizes), number(g.Sizes.Median)))
	}

	if c := r.Captions; c.Distinct > 0 {
		t.title("Captions")
		t.text("captions", fmt.Sprintf("%s, %s of them distinct", count(c.Captions), count(c.Distinct)))
		t.distribution("words", c.Words)
		t.distribution("characters", c.Characters)
		t.part("with a placeholder", c.Placeholders.With, c.Distinct)
		t.text("placeholders", fmt.Sprintf("%s distinct: %s", count(c.Placeholders.Distinct), list(c.Placeholders.Names, true)))
		t.part("malformed braces", c.Placeholders.Faulty, c.Distinct)
		t.counts(c.Placeholders.Faults)
		t.noted(c.Placeholders.Examples)
		t.part("not anonymous enough", c.Anonymous.Captions, c.Distinct)
		t.counts(c.Anonymous.Reasons)
		if len(c.Anonymous.Names) > 0 {
			t.text("  names", list(c.Anonymous.Names, false))
		}
		if len(c.Anonymous.Colours) > 0 {
			t.text("  colours", list(c.Anonymous.Colours, false))
		}
		t.noted(c.Anonymous.Examples)
		t.part("with digits", c.Anonymous.Numbers, c.Distinct)
		t.text("languages", list(c.Languages, false))
	}

	if p := r.Pictures; p != nil {
		t.title("Pictures")
		t.row("files", p.Files)
		t.part("broken or missing", p.Broken, p.Files)
		t.counts(p.Reasons)
		t.noted(p.Examples)
		if p.Good > 0 {
			t.text("formats", list(p.Formats, false))
			t.text("bytes", fmt.Sprintf("%s in all, each %s to %s, the middle one %s", bytesOf(float64(p.Total)), bytesOf(p.Bytes.Min), bytesOf(p.Bytes.Max), bytesOf(p.Bytes.Median)))
			t.text("pixels", fmt.Sprintf("%s wide, %s high, the middle one %s × %s", span(p.Width), span(p.Height), number(p.Width.Median), number(p.Height.Median)))
			t.part("of one colour", p.Flat, p.Good)
			t.part("animated", p.Animated, p.Good)
		}
	}

	t.title("Duplicates")
	t.groups("same id", r.Duplicates.ID, "rows")
	t.groups("same address", r.Duplicates.URL, "rows")
	if r.Pictures != nil {
		t.groups("same bytes", r.Duplicates.Bytes, "files")
		t.groups(fmt.Sprintf("within %d bits", r.Limits.Distance), r.Duplicates.Look, "files")
	}
	t.groups("near captions", r.Duplicates.Captions, "captions")

	for _, l := range r.Leaks {
		t.title(fmt.Sprintf("Leaks: %s (%s rows) and %s (%s rows)", Shown(l.A, shownName), count(l.RowsA), Shown(l.B, shownName), count(l.RowsB)))
		t.leak("same id", l.ID, l)
		t.leak("same address", l.URL, l)
		if r.Pictures != nil {
			t.leak("same bytes", l.Bytes, l)
			t.leak(fmt.Sprintf("within %d bits", r.Limits.Distance), l.Look, l)
		}
		t.leak("same caption", l.Caption, l)
		t.leak("near caption", l.Captions, l)
	}

	if h := r.Hosts; h != nil {
		t.title("Addresses")
		if h.Hosts > 0 {
			t.text("hosts", fmt.Sprintf("%s: %s", count(h.Hosts), list(h.Most, false)))
		}
		if h.Invalid > 0 {
			t.row("not http or https", h.Invalid)
		}
	}
	if d := r.Downloads; d != nil {
		t.title("Download")
		t.counts(d.Status)
		if len(d.Reasons) > 0 {
			t.text("reasons", list(d.Reasons, false))
		}
		for _, h := range d.Hosts {
			t.text("  "+Shown(h.Host, shownName), fmt.Sprintf("%s there, %s failed, %s gone, %s pending", count(h.Done), count(h.Failed), count(h.Gone), count(h.Pending)))
		}
	}
	return t.write(w)
}

// table is lines of a name and a value.
type table struct {
	lines    [][2]string // the name is "" for a title
	examples int
}

func (t *table) text(name, value string)     { t.lines = append(t.lines, [2]string{name, value}) }
func (t *table) row(name string, n int)      { t.text(name, count(n)) }
func (t *table) title(s string)              { t.lines = append(t.lines, [2]string{"", s}) }
func (t *table) part(name string, n, of int) { t.text(name, withShare(n, of)) }

func (t *table) counts(list []Count) {
	for _, c := range list {
		t.row("  "+Shown(c.Name, 60), c.Count)
	}
}

func (t *table) distribution(name string, d Distribution) {
	t.text(name, fmt.Sprintf("%s, the middle one %s, 90 %% within %s to %s", span(d), number(d.Median), number(d.P5), number(d.P95)))
}

func (t *table) noted(rows []Noted) {
	for _, n := range rows[:min(len(rows), t.examples)] {
		t.text("    "+Shown(n.Row.Row, shownName), Shown(strings.Join(n.Notes, "; "), shownCaption)+quoted(n.Caption))
	}
}

func (t *table) groups(name string, g Groups, what string) {
	s := "0"
	if g.Groups > 0 {
		s = fmt.Sprintf("%s of %s %s, the largest of %s", plural(g.Groups, "group"), count(g.Members), what, count(g.Largest))
	}
	if g.Incomplete {
		s += " (at least: too much to compare)"
	}
	t.text(name, s)
	for _, group := range g.List[:min(len(g.List), t.examples)] {
		t.text("    "+Shown(group.Rows[0].Row, shownName), group.line())
	}
}

func (t *table) leak(name string, l Leak, of Leaks) {
	s := "0"
	if l.B > 0 {
		s = fmt.Sprintf("%s and %s", withShare(l.A, of.RowsA), withShare(l.B, of.RowsB))
	}
	if l.Incomplete {
		s += " (at least: too much to compare)"
	}
	t.text(name, s)
	for _, p := range l.Pairs[:min(len(l.Pairs), t.examples)] {
		t.text("    "+Shown(p.A.Row, shownName), Shown(p.B.Row, shownName)+quoted(p.B.Caption))
	}
}

// line names the members of a group but the first.
func (g Group) line() string {
	var others []string
	for _, r := range g.Rows[1:min(len(g.Rows), 4)] {
		others = append(others, Shown(r.Row, shownName))
	}
	if more := g.Size - 1 - len(others); more > 0 {
		others = append(others, fmt.Sprintf("and %s more", count(more)))
	}
	return strings.Join(others, ", ") + quoted(g.Rows[0].Caption)
}

// write writes titles and lines, the values below each other.
func (t *table) write(w io.Writer) error {
	width := 0
	for _, l := range t.lines {
		width = max(width, min(utf8.RuneCountInString(l[0]), 34))
	}
	var b strings.Builder
	for i, l := range t.lines {
		switch {
		case l[0] != "":
			fmt.Fprintf(&b, "  %s%s  %s\n", l[0], strings.Repeat(" ", max(width-utf8.RuneCountInString(l[0]), 0)), l[1])
		case i > 0:
			fmt.Fprintf(&b, "\n%s\n", l[1])
		default:
			fmt.Fprintf(&b, "%s\n", l[1])
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func quoted(caption string) string {
	if caption == "" {
		return ""
	}
	return "  “" + Shown(caption, shownCaption) + "”"
}

// list is "a 12, b 3".
func list(counts []Count, braces bool) string {
	var parts []string
	for _, c := range counts[:min(len(counts), 8)] {
		name := Shown(c.Name, shownName)
		if braces {
			name = "{" + name + "}"
		}
		parts = append(parts, name+" "+count(c.Count))
	}
	if len(counts) > 8 {
		parts = append(parts, "…")
	}
	return strings.Join(parts, ", ")
}

// span is "2 to 19", or "3".
func span(d Distribution) string {
	if d.Min == d.Max {
		return number(d.Min)
	}
	return number(d.Min) + " to " + number(d.Max)
}

// withShare is "12 (3.4 %)".
func withShare(n, of int) string {
	if n == 0 || of == 0 {
		return count(n)
	}
	return fmt.Sprintf("%s (%.1f %%)", count(n), 100*float64(n)/float64(of))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if s, ok := strings.CutSuffix(what, "y"); ok {
		return count(n) + " " + s + "ies"
	}
	return count(n) + " " + what + "s"
}

// count writes 114881 as 114,881.
func count(n int) string { return number(float64(n)) }

func number(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// bytesOf writes an amount of memory.
func bytesOf(v float64) string {
	for _, unit := range []string{"bytes", "KiB", "MiB", "GiB"} {
		if v < 1024 || unit == "GiB" {
			if unit == "bytes" || v >= 100 {
				return fmt.Sprintf("%.0f %s", v, unit)
			}
			return fmt.Sprintf("%.1f %s", v, unit)
		}
		v /= 1024
	}
	return ""
}
