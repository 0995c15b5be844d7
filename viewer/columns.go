package viewer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"relsim/dataloader"
)

// MaxRows bounds the rows of a page: a browser's tab holds all their texts.
const MaxRows = 1 << 20

// Between is what stands between the captions of a row in its line of the column of captions.
const between = "\x1f"

// facet is what rows can be chosen by: the values that occur, and which of them each row has.
type facet struct {
	Name   string   `json:"name"`
	Title  string   `json:"title"`
	Values []string `json:"values"`
	Codes  []int32  `json:"codes"`            // places in Values; without Starts, one for each row
	Starts []int32  `json:"starts,omitempty"` // row i has Codes[Starts[i]:Starts[i+1]]
}

// core is what the page needs to show and search rows. Columns of text are lines, one for each row.
type core struct {
	Name   string  `json:"name"`
	Rows   int     `json:"rows"`
	Text   string  `json:"text"` // captions
	Facets []facet `json:"facets"`
	Places bool    `json:"places"` // rows have a file and a line or member
}

// more is what the page needs of the rows that it shows, and to sort by id.
type more struct {
	IDs      string            `json:"ids"`
	URLs     string            `json:"urls"`
	Places   string            `json:"places"`             // file:line, or file:member
	Literals string            `json:"literals,omitempty"` // nothing if there are none
	Reasons  map[string]string `json:"reasons,omitempty"`  // by row: why a download has failed
}

// Download is what is known of the download of a picture.
type Download struct {
	Status string // done, failed, gone or pending
	Reason string // why it has failed
}

// Of the facet of notes, a row has those that hold of it.
var notes = []string{"id occurs more than once", "caption occurs more than once", "several captions", "no caption",
	"no source", "relation held out of training", "near miss of another picture"}

const (
	noteTwice = iota
	noteSame
	noteSeveral
	noteNone
	noteSource
	noteHeldOut
	noteNearMiss
)

var placeholder = regexp.MustCompile(`\{([^{}\n]{1,64})\}`)

// Placeholders returns what stands in braces in a caption, as in "{Subject} growing", each once.
func Placeholders(caption string) []string {
	var found []string
	for _, m := range placeholder.FindAllStringSubmatch(caption, -1) {
		if name := strings.TrimSpace(m[1]); name != "" && !slices.Contains(found, name) {
			found = append(found, name)
		}
	}
	return found
}

// line makes a text one line: what would end it, and other control characters, are spaces.
func line(s string) string {
	control := func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' || r == '\u0085' }
	if strings.IndexFunc(s, control) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if control(r) {
			return ' '
		}
		return r
	}, s)
}

// occurrence says of a caption in which group it was seen last, and whether it occurs again, outside of that group: that
// the pictures of a group share one is no news.
type occurrence struct {
	group string
	again bool
}

// columns describes the items of ds for the page.
func columns(ds dataloader.Dataset, downloads map[string]Download) (*core, *more, error) {
	n := ds.Len()
	if n > MaxRows {
		return nil, nil, fmt.Errorf("viewer: %s has %d rows: a page holds %d at most", ds.Name(), n, MaxRows)
	}
	c, m := &core{Name: ds.Name(), Rows: n}, &more{}
	ids := make(map[string]int, n)
	captions := make(map[string]occurrence, n)
	for i := range n {
		it := ds.Item(i)
		ids[it.ID]++
		o, seen := captions[it.Caption]
		captions[it.Caption] = occurrence{it.Group, seen && (o.again || it.Group == "" || it.Group != o.group)}
	}
	var texts, idLines, urls, places, literals strings.Builder
	placeholders, noted := newMulti("placeholder", "Placeholder"), newMulti("note", "Of the row")
	relation, family, group := newSingle("relation", "Relation"), newSingle("family", "Family"), newSingle("group", "Group")
	split, download := newSingle("split", "Split"), newSingle("download", "Download")
	for i := range n {
		it := ds.Item(i)
		all := it.Captions
		if len(all) == 0 && it.Caption != "" {
			all = []string{it.Caption}
		}
		var found []string
		for k, caption := range all {
			if k > 0 {
				texts.WriteString(between)
			}
			texts.WriteString(line(caption))
			for _, name := range Placeholders(caption) {
				if !slices.Contains(found, name) {
					found = append(found, line(name))
				}
			}
		}
		if len(found) == 0 && len(all) > 0 {
			found = []string{""}
		}
		texts.WriteByte('\n')
		idLines.WriteString(line(it.ID) + "\n")
		urls.WriteString(line(it.URL) + "\n")
		literals.WriteString(line(it.Literal) + "\n")
		place := it.Row()
		c.Places = c.Places || place != ""
		places.WriteString(line(place) + "\n")

		placeholders.add(found...)
		relation.add(line(it.Relation))
		family.add(numeral(it.Family))
		group.add(line(it.Group))
		split.add(line(it.Split))
		var holds []string
		for k, ok := range [...]bool{noteTwice: ids[it.ID] > 1, noteSame: it.Caption != "" && captions[it.Caption].again,
			noteSeveral: len(all) > 1, noteNone: len(all) == 0, noteSource: it.URL == "", noteHeldOut: it.HeldOut, noteNearMiss: it.Pair != ""} {
			if ok {
				holds = append(holds, notes[k])
			}
		}
		noted.add(holds...)
		if downloads != nil {
			d, ok := downloads[it.ID]
			if !ok {
				d.Status = "pending"
			}
			download.add(line(d.Status))
			if d.Reason != "" {
				if m.Reasons == nil {
					m.Reasons = make(map[string]string)
				}
				m.Reasons[strconv.Itoa(i)] = line(d.Reason)
			}
		}
	}
	c.Text = texts.String()
	m.IDs, m.URLs, m.Places = idLines.String(), urls.String(), places.String()
	if strings.Trim(literals.String(), "\n") != "" {
		m.Literals = literals.String()
	}
	for _, b := range []*facetBuilder{placeholders, relation, family, group, split, download, noted} {
		if b.useful() {
			c.Facets = append(c.Facets, b.facet())
		}
	}
	return c, m, nil
}

func numeral(n int) string {
	if n < 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// encode returns v as JSON, as short as it can be.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // blocks are never part of markup
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("viewer: encode: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// facetBuilder collects the values of rows.
type facetBuilder struct {
	name, title string
	multi       bool
	place       map[string]int32
	values      []string
	counts      []int
	codes       []int32
	starts      []int32
}

func newSingle(name, title string) *facetBuilder {
	return &facetBuilder{name: name, title: title, place: make(map[string]int32)}
}

func newMulti(name, title string) *facetBuilder {
	b := newSingle(name, title)
	b.multi, b.starts = true, []int32{0}
	return b
}

// add adds a row with its values; without several, with one.
func (b *facetBuilder) add(values ...string) {
	for _, v := range values {
		code, ok := b.place[v]
		if !ok {
			code = int32(len(b.values))
			b.place[v] = code
			b.values, b.counts = append(b.values, v), append(b.counts, 0)
		}
		b.counts[code]++
		b.codes = append(b.codes, code)
	}
	if b.multi {
		b.starts = append(b.starts, int32(len(b.codes)))
	}
}

// useful reports whether some row has a value.
func (b *facetBuilder) useful() bool {
	return len(b.values) > 1 || len(b.values) == 1 && b.values[0] != ""
}

// facet returns the collected values: numbers in their order, others by how often they occur.
func (b *facetBuilder) facet() facet {
	order := make([]int32, len(b.values))
	numbers := true
	for i, v := range b.values {
		order[i] = int32(i)
		if _, err := strconv.Atoi(v); err != nil && v != "" {
			numbers = false
		}
	}
	slices.SortFunc(order, func(x, y int32) int {
		if numbers {
			p, _ := strconv.Atoi(b.values[x]) // "" first
			q, _ := strconv.Atoi(b.values[y])
			return cmp.Or(cmp.Compare(p, q), cmp.Compare(b.values[x], b.values[y]))
		}
		return cmp.Or(cmp.Compare(b.counts[y], b.counts[x]), cmp.Compare(b.values[x], b.values[y]))
	})
	f := facet{Name: b.name, Title: b.title, Codes: b.codes, Starts: b.starts}
	to := make([]int32, len(order))
	for k, old := range order {
		to[old] = int32(k)
		f.Values = append(f.Values, b.values[old])
	}
	for i, code := range f.Codes {
		f.Codes[i] = to[code]
	}
	return f
}
