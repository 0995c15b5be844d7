package formats

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"relsim/dataloader"
)

// row is the form of a line. A pointer tells a missing key from a zero.
type row struct {
	ImageHash *string  `json:"image_hash"`
	Caption   captions `json:"caption"`
	Captions  captions `json:"captions"`
	URLLink   *string  `json:"url_link"`
	Literal   *string  `json:"literal_caption"`
	Relation  *string  `json:"relation"`
	Split     *string  `json:"split"`
	Family    *int     `json:"family"`
	Profile   *int     `json:"profile"`
	Pair      *string  `json:"pair"`
	Count     *int     `json:"count"`
	Ink       *float64 `json:"ink"`
	HeldOut   *bool    `json:"held_out"`
	Gravity   *bool    `json:"gravity"`
	Group     group    `json:"group"`
}

// group is the number of a seed group, or its name.
type group struct {
	name string
	err  error
}

func (g *group) UnmarshalJSON(b []byte) error {
	*g = group{}
	switch b[0] {
	case '"':
		return json.Unmarshal(b, &g.name)
	case 'n':
		return nil
	}
	var n int
	if json.Unmarshal(b, &n) != nil {
		g.err = fmt.Errorf("is %s, want a whole number or a string", jsonKind(b))
	}
	g.name = strconv.Itoa(n)
	return nil
}

// captions are those of a field that holds one, or a list.
type captions struct {
	list []string
	err  error // names no field yet
}

func (c *captions) UnmarshalJSON(b []byte) error {
	*c = captions{}
	var one *string
	if json.Unmarshal(b, &one) == nil {
		if one != nil {
			c.list = []string{*one}
		}
		return nil
	}
	var many []*string
	if json.Unmarshal(b, &many) != nil {
		if c.err = fmt.Errorf("is %s, want a string or a list of strings", jsonKind(b)); b[0] == '[' {
			c.err = errors.New("holds other things than strings")
		}
		return nil
	}
	for i, s := range many {
		if s == nil {
			c.err = fmt.Errorf("holds no string at place %d", i)
			return nil
		}
		c.list = append(c.list, *s)
	}
	return nil
}

// jsonKind says what a JSON value is.
func jsonKind(b []byte) string {
	switch bytes.TrimSpace(b)[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "a bool"
	}
	return "a number"
}

// parseRow reads a row that names its picture.
func parseRow(b []byte) (dataloader.Item, error) {
	it, err := parseObject(b)
	if err != nil {
		return dataloader.Item{}, err
	}
	if it.ID == "" {
		return dataloader.Item{}, errors.New(`missing "image_hash"`)
	}
	return it, checkHash(it.ID)
}

// parseObject reads what a JSON object says of a picture, which it need not name.
func parseObject(b []byte) (dataloader.Item, error) {
	if !utf8.Valid(b) {
		return dataloader.Item{}, errors.New("not UTF-8")
	}
	if len(b) == 0 || b[0] != '{' {
		return dataloader.Item{}, errors.New("not a JSON object")
	}
	var r row
	if err := json.Unmarshal(b, &r); err != nil {
		var typeErr *json.UnmarshalTypeError
		if errors.As(err, &typeErr) {
			return dataloader.Item{}, fmt.Errorf("%q is %s, want %s", typeErr.Field, article(typeErr.Value), kindName(typeErr.Type.Kind()))
		}
		return dataloader.Item{}, fmt.Errorf("not a JSON object: %w", err)
	}
	for _, f := range []struct {
		name string
		err  error
	}{{"caption", r.Caption.err}, {"captions", r.Captions.err}, {"group", r.Group.err}} {
		if f.err != nil {
			return dataloader.Item{}, fmt.Errorf("%q %w", f.name, f.err)
		}
	}
	it := dataloader.Item{
		ID:       deref(r.ImageHash, ""),
		URL:      deref(r.URLLink, ""),
		Literal:  unquote(deref(r.Literal, "")),
		Relation: deref(r.Relation, ""),
		Split:    deref(r.Split, ""),
		Family:   deref(r.Family, -1),
		Profile:  deref(r.Profile, -1),
		Pair:     deref(r.Pair, ""),
		Count:    deref(r.Count, 0),
		Ink:      deref(r.Ink, 0),
		HeldOut:  deref(r.HeldOut, false),
		Gravity:  deref(r.Gravity, false),
		Group:    r.Group.name,
	}
	setCaptions(&it, append(r.Caption.list, r.Captions.list...))
	return it, nil
}

// setCaptions gives an item its captions: without quotes around them, empty ones, and repeated ones.
func setCaptions(it *dataloader.Item, list []string) {
	it.Caption, it.Captions, it.Quoted = "", nil, false
	var kept []string
	seen := make(map[string]bool, len(list))
	for _, s := range list {
		bare := unquote(s)
		it.Quoted = it.Quoted || bare != strings.TrimSpace(s)
		if s = bare; s != "" && !seen[s] {
			seen[s] = true
			kept = append(kept, s)
		}
	}
	if len(kept) > 0 {
		it.Caption = kept[0]
	}
	if len(kept) > 1 {
		it.Captions = kept
	}
}

func deref[T any](p *T, missing T) T {
	if p == nil {
		return missing
	}
	return *p
}

// kindName says in words what a field of this kind takes.
func kindName(k reflect.Kind) string {
	switch k {
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	}
	return article(k.String())
}

func article(noun string) string {
	if strings.IndexByte("aeiou", noun[0]) >= 0 {
		return "an " + noun
	}
	return "a " + noun
}

// captionQuotes are the pairs of quotes that unquote takes off.
var captionQuotes = [...][2]string{{`"`, `"`}, {`'`, `'`}, {"“", "”"}, {"‘", "’"}}

// unquote takes one pair of quotes off that stands around the whole caption, as language models like to write it, also
// where a full stop follows the last one. Quotes that also occur inside belong to the caption.
func unquote(s string) string {
	s = strings.TrimSpace(s)
	text, stop := strings.CutSuffix(s, ".")
	for _, q := range captionQuotes {
		if len(text) < len(q[0])+len(q[1]) || !strings.HasPrefix(text, q[0]) || !strings.HasSuffix(text, q[1]) {
			continue
		}
		inside := text[len(q[0]) : len(text)-len(q[1])]
		if strings.Contains(inside, q[0]) || strings.Contains(inside, q[1]) {
			continue
		}
		if inside = strings.TrimSpace(inside); stop && !strings.HasSuffix(inside, ".") {
			inside += "."
		}
		return inside
	}
	return s
}
