package viewer

import (
	"strings"
	"testing"

	"relsim/dataloader"
)

// Whatever stands in a row, it is one line of each column.
func FuzzColumns(f *testing.F) {
	f.Add("{Subject} growing", "id", "https://example.org/", "1")
	f.Add("<script>\u202e{\n}\r\x00\x1f", "\n\r\x00", "\u2028\u2029", "\x1f")
	f.Add("\xff\xfe{", "{}{ }", "javascript:alert(1)", "-0")
	f.Fuzz(func(t *testing.T, caption, id, url, group string) {
		items := []dataloader.Item{{ID: id, Caption: caption, URL: url, Group: group}, {ID: "b", Captions: []string{caption, url}, Relation: group}, {ID: "c"}}
		c, m, err := columns(dataloader.NewRows("x", "f", items, nil), map[string]Download{id: {Status: group, Reason: caption}})
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Split(c.Text, "\n")
		if len(text) != 4 || strings.Count(text[1], between) != 1 || text[2] != "" || text[3] != "" {
			t.Errorf("lines %q", text)
		}
		for _, column := range []string{m.IDs, m.URLs, m.Places} {
			if strings.Count(column, "\n") != 3 || strings.ContainsAny(column, "\r\x00") {
				t.Errorf("column %q", column)
			}
		}
		for _, f := range c.Facets {
			if n := len(f.Codes); f.Starts == nil && n != 3 || f.Starts != nil && (len(f.Starts) != 4 || int(f.Starts[3]) != n) {
				t.Errorf("%s: codes %v, starts %v", f.Name, f.Codes, f.Starts)
			}
			for _, value := range f.Values {
				if strings.ContainsAny(value, "\n\r\x00\x1f") {
					t.Errorf("%s has the value %q", f.Name, value)
				}
			}
		}
	})
}
