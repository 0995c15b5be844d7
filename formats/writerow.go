package formats

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"relsim/dataloader"
)

// maxRow bounds a row that is written, as JSON and in bytes: what is longer, no reader takes.
const maxRow = maxLine - 2

// rowField is what a row says of a picture.
type rowField struct {
	name string
	zero any                            // of the type that the values have: string, int64, float64, bool or []string
	get  func(it *dataloader.Item) any  // of that type
	has  func(it *dataloader.Item) bool // false: the row does not say it
}

// rowFields are the fields of rows in the order in which they are written.
var rowFields = []rowField{
	textField("image_hash", func(it *dataloader.Item) string { return it.ID }),
	captionField("caption", func(it *dataloader.Item) string { return it.Caption }),
	{"captions", []string(nil), func(it *dataloader.Item) any {
		list := make([]string, len(it.Captions))
		for i, s := range it.Captions {
			list[i] = protected(s)
		}
		return list
	}, func(it *dataloader.Item) bool { return len(it.Captions) > 1 }},
	textField("url_link", func(it *dataloader.Item) string { return it.URL }),
	textField("group", func(it *dataloader.Item) string { return it.Group }),
	textField("relation", func(it *dataloader.Item) string { return it.Relation }),
	numberField("family", -1, func(it *dataloader.Item) int { return it.Family }),
	captionField("literal_caption", func(it *dataloader.Item) string { return it.Literal }),
	numberField("profile", -1, func(it *dataloader.Item) int { return it.Profile }),
	textField("split", func(it *dataloader.Item) string { return it.Split }),
	numberField("count", 0, func(it *dataloader.Item) int { return it.Count }),
	{"ink", float64(0), func(it *dataloader.Item) any { return it.Ink },
		func(it *dataloader.Item) bool { return it.Ink != 0 && !math.IsNaN(it.Ink) && !math.IsInf(it.Ink, 0) }},
	boolField("held_out", func(it *dataloader.Item) bool { return it.HeldOut }),
	boolField("gravity", func(it *dataloader.Item) bool { return it.Gravity }),
	textField("pair", func(it *dataloader.Item) string { return it.Pair }),
}

func textField(name string, get func(it *dataloader.Item) string) rowField {
	return rowField{name, "", func(it *dataloader.Item) any { return get(it) }, func(it *dataloader.Item) bool { return get(it) != "" }}
}

func captionField(name string, get func(it *dataloader.Item) string) rowField {
	return rowField{name, "", func(it *dataloader.Item) any { return protected(get(it)) }, func(it *dataloader.Item) bool { return get(it) != "" }}
}

func numberField(name string, none int, get func(it *dataloader.Item) int) rowField {
	return rowField{name, int64(0), func(it *dataloader.Item) any { return int64(get(it)) }, func(it *dataloader.Item) bool { return get(it) != none }}
}

func boolField(name string, get func(it *dataloader.Item) bool) rowField {
	return rowField{name, false, func(it *dataloader.Item) any { return get(it) }, get}
}

// usedFields returns the fields that an item of ds has, and those that are always written.
func usedFields(ds dataloader.Dataset) []rowField {
	used := make([]bool, len(rowFields))
	used[0], used[1] = true, true
	for i := range ds.Len() {
		it := ds.Item(i)
		for k, f := range rowFields {
			used[k] = used[k] || f.has(&it)
		}
	}
	var list []rowField
	for k, f := range rowFields {
		if used[k] {
			list = append(list, f)
		}
	}
	return list
}

// protected returns a caption so that [unquote] gives it back: one that would lose quotes of its own stands in quotes.
func protected(s string) string {
	if unquote(s) == s {
		return s
	}
	for _, q := range captionQuotes {
		if t := q[0] + s + q[1]; unquote(t) == s {
			return t
		}
	}
	return s
}

// appendRow writes a row as a JSON object, and says when readers would not take it.
func appendRow(b *bytes.Buffer, it *dataloader.Item) error {
	begin := b.Len()
	sep := byte('{')
	for _, f := range rowFields {
		if !f.has(it) {
			continue
		}
		b.WriteByte(sep)
		sep = ','
		fmt.Fprintf(b, "%q:", f.name)
		if err := appendJSON(b, f.get(it)); err != nil {
			return err
		}
	}
	if sep == '{' {
		b.WriteByte('{')
	}
	b.WriteByte('}')
	if n := b.Len() - begin; n > maxRow {
		b.Truncate(begin)
		return fmt.Errorf("a row of %d bytes: no reader takes more than %d", n, maxRow)
	}
	return nil
}

// appendJSON writes a value of a row. Markup stays readable.
func appendJSON(b *bytes.Buffer, v any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the line end
	return nil
}

// countLost counts the fields of an item that a format which holds only some of them leaves out.
func countLost(counts map[string]int, it *dataloader.Item, holds func(field string, it *dataloader.Item) bool) {
	for _, f := range rowFields {
		if f.has(it) && !holds(f.name, it) {
			counts[f.name]++
		}
	}
}

// makeValid makes the texts of an item UTF-8, as every format wants them.
func makeValid(it *dataloader.Item) {
	fix := func(s *string) { *s = strings.ToValidUTF8(*s, "\uFFFD") }
	for _, s := range []*string{&it.URL, &it.Caption, &it.Literal, &it.Relation, &it.Pair, &it.Split, &it.Group} {
		fix(s)
	}
	for i, s := range it.Captions {
		if t := strings.ToValidUTF8(s, "\uFFFD"); t != s {
			it.Captions = append([]string(nil), it.Captions...)
			it.Captions[i] = t
		}
	}
}
