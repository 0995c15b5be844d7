package formats

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"relsim/dataloader"
)

// isTable takes what is a table by its name, and text whose first line has separators.
func isTable(name string, head []byte) bool {
	switch filepath.Ext(name) {
	case ".csv", ".tsv":
		return true
	}
	return hasFields(head, separators)
}

// hasFields reports whether the first line of a file is text with one of some separators.
func hasFields(head []byte, separators string) bool {
	line, _, whole := bytes.Cut(head, []byte{'\n'})
	if !whole && len(head) == headBytes || !utf8.Valid(line) || bytes.IndexByte(line, 0) >= 0 {
		return false
	}
	return bytes.ContainsAny(line, separators)
}

// separators are those that are looked for, the likeliest first.
const separators = "\t;,"

// Columns of a table by their names in the header, where no other name is given: the first that is there.
var (
	imageKeys   = []string{hashKey, DefaultImageKey, "file_name"}
	pathKeys    = []string{DefaultImageKey, "file_name"}
	captionKeys = []string{DefaultCaptionKey, "caption", "text"}
	urlKeys     = []string{"url_link", "url", "URL"}
)

const hashKey = "image_hash"

// openTable opens a table whose first line names the columns, as open_clip reads it. A picture is named by the column
// filepath (or file_name, or [Options].ImageKey), as a path in the image folder, with or without an ending, or by
// image_hash as in JSON lines; with both, image_hash is its ID. Without image_hash the ID is the path without its
// ending. A caption is in the column title (or caption, or text, or [Options].CaptionKey), several are a JSON list in the column
// captions, and all other columns of JSON lines are read when they are there.
//
// The image folder is [Options].Images. Without it, names by image_hash are looked for in the folder images beside the
// table, and paths there or beside the table itself, wherever more of the first are.
func openTable(ctx context.Context, paths []string, o Options) (dataloader.Dataset, error) {
	f, err := openFile(paths[0])
	if err != nil {
		return nil, fmt.Errorf("formats: open %s: %w", paths[0], err)
	}
	defer f.Close()
	name, hash := filepath.Base(paths[0]), sha256.New()
	head, err := f.head()
	if err != nil {
		return nil, fmt.Errorf("formats: %s: %w", name, err)
	}
	o.Separator = separatorOf(head, o, plainName(paths[0]))
	rows, err := readTable(ctx, io.TeeReader(f, hash), name, o)
	if err != nil {
		return nil, err
	}
	if err := rows.find(paths[0], o.Images, o.Bare); err != nil {
		return nil, err
	}
	fmt.Fprintf(hash, "\n%q %q %q", o.Separator, o.ImageKey, o.CaptionKey)
	return dataloader.NewRows(name, hex.EncodeToString(hash.Sum(nil)[:16]), rows.items, nil), nil
}

// separatorOf finds out what separates the fields of a table whose first bytes are head: what makes the first line name
// a column of pictures, else what makes the most of it.
func separatorOf(head []byte, o Options, name string) string {
	if s := o.separator(); s != "" {
		return s
	}
	best, most := ",", 0
	if filepath.Ext(name) == ".tsv" {
		best = "\t"
	}
	for _, r := range separators {
		columns, err := newFields(bufio.NewReader(bytes.NewReader(head)), r).next(nil)
		if err != nil {
			continue
		}
		n := len(columns)
		for i, c := range columns {
			columns[i] = strings.TrimSpace(c)
		}
		if n > 1 && (slices.Contains(columns, o.ImageKey) || o.ImageKey == "" && columnOf(columns, imageKeys) >= 0) {
			n += maxFields
		}
		if n > max(most, 1) {
			best, most = string(r), n
		}
	}
	return best
}

// columnOf returns the place of the first of the names that is a column, -1 for none.
func columnOf(columns, names []string) int {
	for _, name := range names {
		if i := slices.Index(columns, name); i >= 0 {
			return i
		}
	}
	return -1
}

// table are the rows of a table.
type table struct {
	items []dataloader.Item
	files []string // paths of pictures, with slashes; nil: they are named by image_hash
}

// readTable reads a table; name stands for the file in errors.
func readTable(ctx context.Context, r io.Reader, name string, o Options) (*table, error) {
	separator, _ := utf8.DecodeRuneInString(o.Separator)
	f := newFields(bufio.NewReaderSize(r, 64<<10), separator)
	fail := func(err error) (*table, error) { return nil, fmt.Errorf("formats: %s:%d: %w", name, f.start, err) }
	columns, err := f.next(nil)
	if err == io.EOF {
		return nil, fmt.Errorf("formats: %s: no rows: want a line that names the columns", name)
	}
	if err != nil {
		return fail(err)
	}
	p, err := newColumns(columns, o)
	if err != nil {
		return fail(err)
	}
	t := new(table)
	var row []string
	for n := 1; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if row, err = f.next(row); err == io.EOF {
			break
		}
		if err != nil {
			return fail(err)
		}
		if len(row) != len(columns) {
			return fail(fmt.Errorf("%d fields between %q, want %d as in the first line", len(row), separator, len(columns)))
		}
		it, file, err := p.item(row)
		if err != nil {
			return fail(err)
		}
		it.File, it.Line = name, f.start
		t.items = append(t.items, it)
		if p.path >= 0 {
			t.files = append(t.files, file)
		}
	}
	if len(t.items) == 0 {
		return nil, fmt.Errorf("formats: %s: no rows below the names of the columns", name)
	}
	return t, nil
}

// columns are the places of what is known of a picture; -1: not in the table.
type columns struct {
	hash, path, caption, captions, url int
	names                              []string
	text                               map[string]int // by the names of JSON lines
}

func newColumns(names []string, o Options) (*columns, error) {
	names = slices.Clone(names)
	seen := make(map[string]bool, len(names))
	for i := range names {
		names[i] = strings.Clone(strings.TrimSpace(names[i]))
		if names[i] != "" && seen[names[i]] {
			return nil, fmt.Errorf("two columns are called %q", names[i])
		}
		seen[names[i]] = true
	}
	p := &columns{names: names, text: make(map[string]int)}
	p.hash, p.path = columnOf(names, []string{hashKey}), columnOf(names, pathKeys)
	if o.ImageKey != "" {
		if p.path = columnOf(names, []string{o.ImageKey}); p.path < 0 {
			return nil, fmt.Errorf("missing column %q", o.ImageKey)
		}
		if o.ImageKey == hashKey {
			p.path = -1
		}
	}
	if p.hash < 0 && p.path < 0 {
		return nil, fmt.Errorf("missing column %q: the columns are %s", DefaultImageKey, quoted(names))
	}
	if p.caption = columnOf(names, captionKeys); o.CaptionKey != "" {
		if p.caption = columnOf(names, []string{o.CaptionKey}); p.caption < 0 {
			return nil, fmt.Errorf("missing column %q: the columns are %s", o.CaptionKey, quoted(names))
		}
	}
	p.captions, p.url = columnOf(names, []string{"captions"}), columnOf(names, urlKeys)
	if p.captions == p.caption {
		p.caption = -1
	}
	for _, name := range []string{"literal_caption", "relation", "split", "family", "profile", "pair", "count", "ink", "held_out", "gravity", "group"} {
		p.text[name] = columnOf(names, []string{name})
	}
	return p, nil
}

// quoted lists names for an error, not more than a few.
func quoted(names []string) string {
	const most = 12
	var b strings.Builder
	for i, name := range names {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(names)-most)
			break
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%.40q", name)
	}
	return b.String()
}

// item returns what a row says, and the path of its picture where that has a column.
func (p *columns) item(row []string) (it dataloader.Item, file string, err error) {
	at := func(i int) string {
		if i < 0 {
			return ""
		}
		return strings.Clone(strings.TrimSpace(row[i])) // the row may be long, and lives as long as a part of it
	}
	it = dataloader.Item{
		ID:       at(p.hash),
		URL:      at(p.url),
		Literal:  unquote(at(p.text["literal_caption"])),
		Relation: at(p.text["relation"]),
		Split:    at(p.text["split"]),
		Pair:     at(p.text["pair"]),
		Group:    at(p.text["group"]),
		Family:   -1,
		Profile:  -1,
	}
	if p.hash >= 0 && it.ID == "" && p.path < 0 {
		return it, "", fmt.Errorf("missing %q", hashKey)
	}
	if it.ID != "" {
		if err := checkHash(it.ID); err != nil {
			return it, "", err
		}
	}
	if p.path >= 0 {
		if file = at(p.path); file == "" {
			return it, "", fmt.Errorf("missing %q", p.names[p.path])
		}
		if file, err = checkPath(file); err != nil {
			return it, "", fmt.Errorf("%q %w", p.names[p.path], err)
		}
		it.ID = cmp.Or(it.ID, withoutEnding(file))
	}
	var list []string
	if p.captions >= 0 && at(p.captions) != "" {
		var many captions
		if text := []byte(at(p.captions)); json.Valid(text) {
			if err := many.UnmarshalJSON(text); err != nil {
				return it, "", err
			}
			if many.err != nil {
				return it, "", fmt.Errorf("%q %w", "captions", many.err)
			}
		} else {
			return it, "", errors.New(`"captions" is no JSON: want a list such as ["one","two"]`)
		}
		list = many.list
	}
	setCaptions(&it, slices.Concat([]string{at(p.caption)}, list))
	for _, f := range []struct {
		name, want string
		set        func(string) error
	}{
		{"family", "a whole number", func(s string) (err error) { it.Family, err = strconv.Atoi(s); return err }},
		{"profile", "a whole number", func(s string) (err error) { it.Profile, err = strconv.Atoi(s); return err }},
		{"count", "a whole number", func(s string) (err error) { it.Count, err = strconv.Atoi(s); return err }},
		{"ink", "a number", func(s string) (err error) { it.Ink, err = strconv.ParseFloat(s, 64); return err }},
		{"held_out", "true or false", func(s string) (err error) { it.HeldOut, err = strconv.ParseBool(s); return err }},
		{"gravity", "true or false", func(s string) (err error) { it.Gravity, err = strconv.ParseBool(s); return err }},
	} {
		if s := at(p.text[f.name]); s != "" && f.set(s) != nil {
			return it, "", fmt.Errorf("%q is %.40q, want %s", f.name, s, f.want)
		}
	}
	return it, file, nil
}

// find sets the paths of the pictures of the table at path.
func (t *table) find(path, images string, bare bool) error {
	if t.files == nil {
		folder, err := imageFolder(path, images, bare)
		if err != nil {
			return err
		}
		return findPictures(t.items, folder)
	}
	if images == "" {
		images = betterFolder(t.files, filepath.Dir(path), filepath.Join(filepath.Dir(path), "images"))
	}
	return findFiles(t.items, t.files, images)
}
