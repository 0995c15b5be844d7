package report

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"math"
	"net/url"
	"strconv"
	"strings"

	"relsim/dataloader"
	"relsim/inspection"
)

//go:embed inspection.html
var inspectionHTML string

//go:embed inspection.css
var inspectionCSS string

var inspectionTemplate = newPage(inspectionHTML)

// Inspection is what the page of an inspection is made of. Only Report is required.
type Inspection struct {
	Title   string // of the page; empty: the name of the data
	Report  *inspection.Report
	Images  func(r inspection.Row) (*dataloader.Image, error) // nil, or an error: the page shows no picture
	Command []string                                          // "data" and its arguments, which repeat it
	Facts   []Fact
}

// WriteInspection writes the page of an inspection to a file, all or nothing: one that needs no other file, no script
// and no network.
func WriteInspection(path string, in Inspection) error {
	if in.Report == nil {
		return errors.New("report: write inspection: no report")
	}
	page, err := renderInspection(in)
	if err != nil {
		return fmt.Errorf("report: write inspection: %w", err)
	}
	if err := writeFile(path, page); err != nil {
		return fmt.Errorf("report: write inspection: %w", err)
	}
	return nil
}

// Bounds of the page.
const (
	shownCaption = 400 // characters of a caption
	shownID      = 80  // characters of an ID or a name
	mostThumbs   = 400 // pictures of a page
	mostCards    = 6   // rows of a group
)

type inspectionPage struct {
	Title      string
	CSS        template.CSS
	Lead       string
	Tiles      []tile
	Paragraphs []string

	Rows         []Fact
	Sizes        *shownFigure
	CaptionFacts []Fact
	Words, Names *shownFigure
	Languages    *shownFigure
	Reasons      *shownFigure
	Anonymous    notedTable
	AnonymousSum string
	Faults       notedTable
	FaultsSum    string
	Shared       []Fact

	Pictures     []Fact
	PictureSizes *shownFigure
	BrokenBy     *shownFigure
	Broken       notedTable
	Flat         *foundGroups

	Duplicates []*foundGroups
	Leaks      []leakPart

	Sources         []Fact
	Hosts, Failures *shownFigure
	LostHosts       []inspection.HostResult

	Facts   []Fact
	Command string
}

// card is a row, with its picture or without.
type card struct {
	Where, ID, Text, Part, Alt string
	Link                       string            // address of the source; "": none that can be followed
	Src                        template.HTMLAttr // src="data:…", or nothing
}

type notedTable struct {
	Label string
	Rows  []notedRow
}

type notedRow struct {
	card
	Notes []string
}

// foundGroups are groups of rows that are the same in some way.
type foundGroups struct {
	Title, Sum, Note, More string
	List                   []foundGroup
	Rest                   []foundGroup // folded away
}

// fold leaves the first groups in sight.
func (f *foundGroups) fold() *foundGroups {
	const sight = 6
	if len(f.List) > sight+1 {
		f.List, f.Rest = f.List[:sight], f.List[sight:]
	}
	return f
}

type foundGroup struct {
	Label string
	Cards []card
}

type leakPart struct {
	Title, A, B string
	Table       []leakRow
	Kinds       []*foundGroups
}

type leakRow struct{ Name, A, B string }

// cards makes cards, and pictures for them within bounds.
type cards struct {
	images       func(inspection.Row) (*dataloader.Image, error)
	made         map[[2]int]template.HTMLAttr
	bytes, count int
}

// of returns the card of a row.
func (m *cards) of(r inspection.Row, pictured bool) card {
	c := card{Where: inspection.Shown(r.Row, shownID), ID: inspection.Shown(r.ID, shownID), Text: inspection.Shown(r.Caption, shownCaption), Link: followed(r.URL)}
	if !pictured {
		return c
	}
	c.Alt = "picture " + c.ID
	key := [2]int{r.Index, 0}
	if r.Against {
		key[1] = 1
	}
	src, ok := m.made[key]
	if !ok && m.images != nil && m.count < mostThumbs && m.bytes < maxThumbs {
		m.count++
		if im, err := m.images(r); err == nil {
			src, _ = thumbnail(im) // what cannot be shown is named
		}
		m.made[key] = src
		m.bytes += len(src)
	}
	c.Src = src
	return c
}

// followed returns an address that a reader may follow; "": it is not http or https.
func followed(address string) string {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || len(address) > 4096 {
		return ""
	}
	return u.String()
}

func renderInspection(in Inspection) ([]byte, error) {
	r := in.Report
	p := &inspectionPage{Title: in.Title, CSS: styleSheet() + template.CSS(inspectionCSS), Facts: in.Facts}
	if len(in.Command) > 0 {
		p.Command = "go run ./cmd/" + shellWords(in.Command)
	}
	if p.Title == "" {
		p.Title = "Inspection of " + inspection.Shown(r.Data, shownID)
	}
	p.Lead = count(r.Rows.Rows) + " rows"
	if c := r.Captions; c.Distinct > 0 {
		p.Lead += " · " + count(c.Distinct) + " distinct captions"
	}
	if r.Pictures != nil {
		p.Lead += " · " + count(r.Pictures.Files) + " picture files"
	}
	if r.Against != "" {
		p.Lead += " · compared with " + inspection.Shown(r.Against, shownID)
	}
	m := &cards{images: in.Images, made: make(map[[2]int]template.HTMLAttr)}
	p.summarise(r)
	var figures [9]*figure
	p.rowsPart(r)
	figures[0] = sizesFigure(r)
	figures[1], figures[2], figures[3], figures[4] = p.captionsPart(r, m)
	figures[5], figures[6] = p.picturesPart(r, m)
	p.duplicatesPart(r, m)
	for i := range r.Leaks {
		p.Leaks = append(p.Leaks, leaksPart(&r.Leaks[i], r, m))
	}
	figures[7], figures[8] = p.sourcesPart(r)
	for i, to := range []**shownFigure{&p.Sizes, &p.Words, &p.Names, &p.Languages, &p.Reasons, &p.PictureSizes, &p.BrokenBy, &p.Hosts, &p.Failures} {
		if err := show(figures[i], to); err != nil {
			return nil, err
		}
	}
	p.Facts = append(p.Facts, Fact{"Pictures look alike", fmt.Sprintf("within %d bits of their perceptual hashes", r.Limits.Distance)},
		Fact{"Captions say nearly the same", fmt.Sprintf("sharing %d %% of their words or more, without case, punctuation and names of placeholders", r.Limits.Similar)},
		Fact{"Fingerprint of the data", r.Fingerprint})
	var b bytes.Buffer
	if err := inspectionTemplate.Execute(&b, p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// show draws a figure for the page in both widths; nil draws none.
func show(f *figure, to **shownFigure) error {
	if f == nil {
		return nil
	}
	w, err := f.Inline(wide, "fig wide")
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	n, err := f.Inline(narrow, "fig narrow")
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	*to = &shownFigure{f, w, n}
	return nil
}

// share is "12 (3.4 %)".
func share(n, of int) string {
	if n == 0 || of == 0 {
		return count(n)
	}
	return fmt.Sprintf("%s (%.1f %%)", count(n), 100*float64(n)/float64(of))
}

// several is "1 row" or "12 rows".
func several(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return count(n) + " " + what + "s"
}

func whole(v float64) string { return count(int(v)) }

// kib writes a bound of file sizes.
func kib(v float64) string {
	unit := 0
	for v >= 1024 && unit < 3 {
		v /= 1024
		unit++
	}
	decimals := 0
	if v < 10 && v != math.Trunc(v) {
		decimals = 1
	}
	return strconv.FormatFloat(v, 'f', decimals, 64) + []string{" B", " KiB", " MiB", " GiB"}[unit]
}
