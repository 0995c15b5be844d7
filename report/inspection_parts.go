package report

import (
	"fmt"
	"slices"
	"strings"

	"relsim/inspection"
)

// summarise fills in the tiles and sentences at the top.
func (p *inspectionPage) summarise(r *inspection.Report) {
	add := func(value, reach, what string, bad bool) {
		kind := ""
		if bad {
			kind = "trained"
		}
		p.Tiles = append(p.Tiles, tile{Value: value, Reach: reach, What: what, Kind: kind})
	}
	part := func(n, of int) string {
		if n == 0 || of == 0 {
			return ""
		}
		return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of))
	}
	if x := r.Pictures; x != nil {
		add(count(x.Good), part(x.Good, x.Files), "pictures that can be used", false)
		add(count(x.Broken), part(x.Broken, x.Files), "broken or missing", x.Broken > 0)
	}
	d := &r.Duplicates
	if n := d.ID.Groups + d.URL.Groups + d.Bytes.Groups + d.Look.Groups; true {
		add(count(n), "", "groups of duplicates", n > 0)
	}
	for i := range r.Leaks {
		if l := &r.Leaks[i]; i < 2 {
			n := max(l.Pictures(), l.Caption.B, l.Captions.B)
			add(count(n), part(n, l.RowsB), "rows of “"+inspection.Shown(l.B, 30)+"” that “"+inspection.Shown(l.A, 30)+"” has too", n > 0)
		}
	}
	if c := &r.Captions; c.Distinct > 0 {
		add(count(c.Anonymous.Captions), part(c.Anonymous.Captions, c.Distinct), "captions not anonymous enough", c.Anonymous.Captions > 0)
	}

	say := func(format string, args ...any) { p.Paragraphs = append(p.Paragraphs, fmt.Sprintf(format, args...)) }
	if r.Rows.WithoutCaption > 0 {
		say("%s of %s without a caption, which training passes by or refuses.", several(r.Rows.WithoutCaption, "row"), count(r.Rows.Rows))
	}
	if r.Rows.Quoted > 0 {
		say("The captions of %s stood in quotes; reading takes them off.", several(r.Rows.Quoted, "row"))
	}
	if n := len(r.Leaks); n > 0 {
		clean := true
		for i := range r.Leaks {
			l := &r.Leaks[i]
			clean = clean && l.Pictures() == 0 && l.Caption.B == 0 && l.Captions.B == 0
		}
		if clean {
			say("No picture and no caption was found in two parts.")
		}
	}
	if x := r.Pictures; x != nil && x.Flat > 0 {
		say("%s of one colour: some downloaders store these in place of what they could not get.", several(x.Flat, "picture"))
	}
	if r.Pictures == nil {
		say("The pictures were not looked at.")
	}
}

func (p *inspectionPage) rowsPart(r *inspection.Report) {
	n := r.Rows
	p.Rows = []Fact{{"Rows", count(n.Rows)}, {"Distinct IDs", share(n.IDs, n.Rows)}, {"Without a caption", share(n.WithoutCaption, n.Rows)},
		{"Several captions", share(n.SeveralCaptions, n.Rows)}, {"Without an address", share(n.WithoutURL, n.Rows)}, {"Captions in quotes", share(n.Quoted, n.Rows)}}
	for _, s := range r.Splits {
		p.Rows = append(p.Rows, Fact{"Split “" + inspection.Shown(s.Name, shownID) + "”", share(s.Count, n.Rows)})
	}
	for _, g := range r.Groups {
		p.Rows = append(p.Rows, Fact{"By " + g.Of, fmt.Sprintf("%s, of %s to %s rows each", count(g.Sizes.Count), whole(g.Sizes.Min), whole(g.Sizes.Max))})
	}
}

func sizesFigure(r *inspection.Report) *figure {
	var panels []histogram
	for _, g := range r.Groups {
		panels = append(panels, histogram{"rows of a " + g.Of, whole, g.Sizes})
	}
	return histogramsFigure("sizes", "How many rows share a group, a relation or a family.", panels)
}

func (p *inspectionPage) captionsPart(r *inspection.Report, m *cards) (words, names, languages, reasons *figure) {
	c := &r.Captions
	if c.Distinct == 0 {
		return nil, nil, nil, nil
	}
	p.CaptionFacts = []Fact{
		{"Captions", fmt.Sprintf("%s, %s of them distinct", count(c.Captions), count(c.Distinct))},
		{"Words", fmt.Sprintf("%s to %s, the middle one %s", whole(c.Words.Min), whole(c.Words.Max), whole(c.Words.Median))},
		{"Characters", fmt.Sprintf("%s to %s, the middle one %s", whole(c.Characters.Min), whole(c.Characters.Max), whole(c.Characters.Median))},
		{"With a placeholder", share(c.Placeholders.With, c.Distinct)},
		{"Names of placeholders", count(c.Placeholders.Distinct) + " distinct"},
		{"Malformed braces", share(c.Placeholders.Faulty, c.Distinct)},
		{"With digits", share(c.Anonymous.Numbers, c.Distinct)},
	}
	if len(c.Anonymous.Names) > 0 {
		p.CaptionFacts = append(p.CaptionFacts, Fact{"What look like names", listed(c.Anonymous.Names)})
	}
	if len(c.Anonymous.Colours) > 0 {
		p.CaptionFacts = append(p.CaptionFacts, Fact{"Colours", listed(c.Anonymous.Colours)})
	}
	p.AnonymousSum, p.FaultsSum = share(c.Anonymous.Captions, c.Distinct), share(c.Placeholders.Faulty, c.Distinct)
	p.Anonymous = notedRows("Captions that are not anonymous enough", c.Anonymous.Examples, m)
	p.Faults = notedRows("Captions with malformed braces", c.Placeholders.Examples, m)
	for _, s := range c.Shared {
		p.Shared = append(p.Shared, Fact{inspection.Shown(s.Caption, shownCaption), count(s.Rows)})
	}
	braced := make([]inspection.Count, len(c.Placeholders.Names))
	for i, n := range c.Placeholders.Names {
		braced[i] = inspection.Count{Name: "{" + inspection.Shown(n.Name, 28) + "}", Count: n.Count}
	}
	words = histogramsFigure("words", "Each distinct caption counts once. A placeholder is a word.",
		[]histogram{{"words of a caption", whole, c.Words}, {"characters of a caption", whole, c.Characters}, {"placeholders of a caption", whole, c.Placeholders.Each}})
	names = countsFigure("placeholders", "captions by placeholder", "The most frequent placeholders.", braced)
	languages = countsFigure("languages", "captions by language",
		"A guess by letters and frequent words; of a short caption it often names the script alone.", c.Languages[:min(len(c.Languages), 12)])
	reasons = countsFigure("reasons", "captions by reason", "A caption may have several.", c.Anonymous.Reasons)
	return words, names, languages, reasons
}

// listed is "Paris 3, Rome 1".
func listed(list []inspection.Count) string {
	var parts []string
	for _, c := range list[:min(len(list), 12)] {
		parts = append(parts, inspection.Shown(c.Name, 30)+" "+count(c.Count))
	}
	return strings.Join(parts, ", ")
}

func notedRows(label string, rows []inspection.Noted, m *cards) notedTable {
	t := notedTable{Label: label}
	for _, n := range rows {
		row := notedRow{card: m.of(n.Row, false)}
		for _, note := range n.Notes {
			row.Notes = append(row.Notes, inspection.Shown(note, 200))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func (p *inspectionPage) picturesPart(r *inspection.Report, m *cards) (sizes, broken *figure) {
	x := r.Pictures
	if x == nil {
		return nil, nil
	}
	p.Pictures = []Fact{{"Files", count(x.Files)}, {"Broken or missing", share(x.Broken, x.Files)}, {"Rows that have these", share(x.Rows, r.Rows.Rows)}}
	if x.Good > 0 {
		p.Pictures = append(p.Pictures, Fact{"Formats", listed(x.Formats)}, Fact{"Bytes in all", kib(float64(x.Total))},
			Fact{"Pixels", fmt.Sprintf("%s to %s wide, %s to %s high", whole(x.Width.Min), whole(x.Width.Max), whole(x.Height.Min), whole(x.Height.Max))},
			Fact{"Of one colour", share(x.Flat, x.Good)}, Fact{"Animated", share(x.Animated, x.Good)})
	}
	p.Broken = notedRows("Broken pictures", x.Examples, m)
	if len(x.FlatRows) > 0 {
		g := foundGroup{Label: "the first of them"}
		for _, row := range x.FlatRows[:min(len(x.FlatRows), mostCards)] {
			g.Cards = append(g.Cards, m.of(row, true))
		}
		p.Flat = &foundGroups{Title: "Of one colour", Sum: several(x.Flat, "picture"), Note: "Every pixel is the same. They are left out of what looks alike.", List: []foundGroup{g}}
	}
	sizes = histogramsFigure("picturesizes", "Sizes of the pictures that can be used; the bounds of the bins grow by the square root of two.",
		[]histogram{{"shorter side, pixels", whole, x.Side}, {"bytes of a file", kib, x.Bytes}})
	return sizes, countsFigure("broken", "broken pictures by reason", "", x.Reasons)
}

func (p *inspectionPage) duplicatesPart(r *inspection.Report, m *cards) {
	d := &r.Duplicates
	add := func(g *inspection.Groups, title, what, note string, pictured, each bool, label func(*inspection.Group) string) {
		if g.Groups == 0 {
			return
		}
		f := &foundGroups{Title: title, Sum: several(g.Groups, "group") + " of " + count(g.Members) + " " + what, Note: note}
		if g.Incomplete {
			f.Note += " There was too much to compare, so that some are missing."
		}
		for i := range g.List {
			group := &g.List[i]
			shown := foundGroup{Label: label(group)}
			for k, row := range group.Rows[:min(len(group.Rows), mostCards)] {
				shown.Cards = append(shown.Cards, m.of(row, pictured && (each || k == 0)))
			}
			if more := group.Size - len(shown.Cards); more > 0 {
				shown.Label += fmt.Sprintf("; %s more are not shown", count(more))
			}
			f.List = append(f.List, shown)
		}
		if more := g.Groups - len(g.List); more > 0 {
			f.More = several(more, "smaller group") + " more."
		}
		p.Duplicates = append(p.Duplicates, f.fold())
	}
	pictured := r.Pictures != nil
	size := func(what string) func(*inspection.Group) string {
		return func(g *inspection.Group) string { return several(g.Size, what) }
	}
	add(&d.ID, "The same ID", "rows", "Rows that name the same picture. Several captions of one picture may be meant.", pictured, false, size("row"))
	add(&d.URL, "The same address", "rows", "Rows of different IDs whose pictures come from one address.", pictured, false, size("row"))
	add(&d.Bytes, "The same bytes", "files", "Files of the same content, by SHA-256.", pictured, false, size("file"))
	add(&d.Look, "Looking the same", "files", fmt.Sprintf("Files of other bytes whose perceptual hashes differ in at most %d of 64 bits. Not all of them are the same picture: look at them.", r.Limits.Distance),
		pictured, true, func(g *inspection.Group) string {
			if g.Size == 2 {
				return several(int(g.Close), "bit") + " apart"
			}
			return several(g.Size, "file") + ", each " + several(int(g.Close), "bit") + " or less from another one"
		})
	add(&d.Captions, "Captions that say nearly the same", "captions", fmt.Sprintf("Without case, punctuation and the names of placeholders they share at least %d %% of their words.", r.Limits.Similar),
		false, false, func(g *inspection.Group) string {
			return several(g.Size, "caption") + fmt.Sprintf(", sharing %.0f %% or more", 100*g.Close)
		})
}

func leaksPart(l *inspection.Leaks, r *inspection.Report, m *cards) leakPart {
	a, b := inspection.Shown(l.A, 40), inspection.Shown(l.B, 40)
	p := leakPart{Title: a + " and " + b, A: a + ", " + several(l.RowsA, "row"), B: b + ", " + several(l.RowsB, "row")}
	pictured := r.Pictures != nil
	for _, kind := range []struct {
		name        string
		leak        *inspection.Leak
		pictures    bool // show them
		both        bool // of both rows
		onlyPicture bool // needs the pictures to have been read
		close       func(float64) string
	}{
		{"ID", &l.ID, true, false, false, nil},
		{"address", &l.URL, true, false, false, nil},
		{"bytes", &l.Bytes, true, false, true, nil},
		{fmt.Sprintf("look, within %d bits", r.Limits.Distance), &l.Look, true, true, true, func(v float64) string { return several(int(v), "bit") + " apart" }},
		{"caption", &l.Caption, false, false, false, nil},
		{"caption, nearly", &l.Captions, false, false, false, func(v float64) string { return fmt.Sprintf("sharing %.0f %%", 100*v) }},
	} {
		if kind.onlyPicture && !pictured {
			continue
		}
		row := leakRow{kind.name, share(kind.leak.A, l.RowsA), share(kind.leak.B, l.RowsB)}
		if kind.leak.Incomplete {
			row.Name += " (at least: too much to compare)"
		}
		p.Table = append(p.Table, row)
		if len(kind.leak.Pairs) == 0 {
			continue
		}
		f := &foundGroups{Title: "The same " + kind.name, Sum: several(kind.leak.B, "row") + " of " + b}
		for _, pair := range kind.leak.Pairs {
			g := foundGroup{Cards: []card{m.of(pair.A, pictured && kind.pictures), m.of(pair.B, pictured && kind.both)}}
			g.Cards[0].Part, g.Cards[1].Part = a, b
			if kind.close != nil {
				g.Label = kind.close(pair.Close)
			}
			f.List = append(f.List, g)
		}
		p.Kinds = append(p.Kinds, f.fold())
	}
	return p
}

func (p *inspectionPage) sourcesPart(r *inspection.Report) (hosts, failures *figure) {
	if h := r.Hosts; h != nil {
		p.Sources = append(p.Sources, Fact{"Hosts", count(h.Hosts)}, Fact{"Rows without an address", share(r.Rows.WithoutURL, r.Rows.Rows)},
			Fact{"Addresses that are not http or https", count(h.Invalid)})
		hosts = countsFigure("hosts", "rows by host", "The hosts of most rows.", h.Most)
	}
	if d := r.Downloads; d != nil {
		for _, s := range d.Status {
			p.Sources = append(p.Sources, Fact{"Download: " + inspection.Shown(s.Name, 20), share(s.Count, r.Rows.Rows)})
		}
		p.LostHosts = slices.Clone(d.Hosts)
		for i := range p.LostHosts {
			p.LostHosts[i].Host = inspection.Shown(p.LostHosts[i].Host, shownID)
		}
		failures = countsFigure("failures", "rows without a picture, by reason", "What the download says.", d.Reasons)
	}
	return hosts, failures
}
