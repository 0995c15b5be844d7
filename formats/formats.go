// Package formats opens data sets in the formats that users have them in: files of rows, folders of pictures.
//
// [Open] finds out by the content which format a file has. Whatever the format is, the same pictures and captions in the
// same order are the same [dataloader.Item]s, but for where they stand, and so give the same batches.
package formats

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"relsim/dataloader"
)

// Options say what the name of a data set does not. The zero value has the defaults.
type Options struct {
	Images     string `json:"images,omitempty"`      // folder of the pictures; "": beside the rows, as each format says
	ImageKey   string `json:"image_key,omitempty"`   // column of the picture in a table; "": DefaultImageKey and others
	CaptionKey string `json:"caption_key,omitempty"` // column of the caption in a table; "": DefaultCaptionKey and others
	Separator  string `json:"separator,omitempty"`   // of the fields of CSV: one character, or "tab"; "": found out

	// Bare takes rows without a folder of pictures too: where there is none beside them, every picture is missing.
	Bare bool `json:"-"`
}

// The columns that a table has by default, as open_clip calls them.
const (
	DefaultImageKey   = "filepath"
	DefaultCaptionKey = "title"
)

// Validate returns an error that says which option cannot be.
func (o Options) Validate() error {
	if s := o.separator(); s != "" {
		switch r, n := utf8.DecodeRuneInString(s); {
		case n != len(s) || r == utf8.RuneError:
			return fmt.Errorf("formats: separator %q: want one character, or tab", o.Separator)
		case r == '"' || r == '\r' || r == '\n' || r == 0 || r == '\ufeff':
			return fmt.Errorf("formats: separator %q: want a character that separates fields, such as a comma", o.Separator)
		}
	}
	if !utf8.ValidString(o.ImageKey) || !utf8.ValidString(o.CaptionKey) {
		return fmt.Errorf("formats: columns %q and %q: want UTF-8", o.ImageKey, o.CaptionKey)
	}
	return nil
}

// separator is that of the fields; "" where it is to be found out. Shells make it hard to write a tab.
func (o Options) separator() string {
	switch o.Separator {
	case "tab", `\t`:
		return "\t"
	}
	return o.Separator
}

// Format is what a data set is stored as.
type Format struct {
	Name string
	// Rows says that it is a list, whose pictures lie in a folder of their own: [Options].Images.
	Rows bool
	// Table says that it has columns, which [Options] may name.
	Table bool

	is   func(name string, head []byte) bool // by the lower-case name without .gz, and the first bytes, unpacked
	many bool                                // takes several files, which are read one after the other
	open func(ctx context.Context, paths []string, o Options) (dataloader.Dataset, error)
}

// readers are the formats of files. The first one that fits is taken.
var readers = []*Format{
	{Name: "WebDataset", is: isShard, many: true, open: openShards},
	{Name: "Parquet", Rows: true, Table: true, is: isParquet, many: true, open: openParquet},
	{Name: "seed groups", Rows: true, is: isGroups, open: openGroups},
	{Name: "JSON lines", Rows: true, is: isJSONL, open: openJSONL},
	tables,
}

var tables = &Format{Name: "CSV", Rows: true, Table: true, is: isTable, open: openTable}

// folders is the format of folders.
var folders = &Format{Name: "a folder of pictures", open: openFolder}

// headBytes is how much of a file is looked at to find out its format.
const headBytes = 4096

// Open opens the data set that spec names:
//
//   - a file of rows: JSON lines, CSV with any separator, or seed groups; each may be packed by gzip;
//   - a folder of pictures with their captions in files of text or JSON beside them;
//   - a folder with one file of rows and a folder images;
//   - shards of WebDataset: a tar file, several ("{000000..000113}.tar", "a.tar::b.tar", "dir/*.tar"), a folder of them;
//   - Parquet, one file or several in the same ways, with the pictures in it or in a folder.
//
// A row that cannot be read is an error that names its place. A picture that is missing or broken is one only when it is
// asked for: see [dataloader.Loader]. The fingerprint of the set is one of the rows; the pictures are not part of it.
// The folder of [Options].Images is that of rows; other formats hold their pictures.
func Open(ctx context.Context, spec string, o Options) (dataloader.Dataset, error) {
	if err := errors.Join(ctx.Err(), o.Validate()); err != nil {
		return nil, err
	}
	if o.Images != "" {
		if info, err := os.Stat(o.Images); err != nil {
			return nil, fmt.Errorf("formats: open image folder of %s: %w", spec, err)
		} else if !info.IsDir() {
			return nil, fmt.Errorf("formats: open image folder of %s: %s is not a folder", spec, o.Images)
		}
	}
	format, paths, err := o.Identify(spec)
	if err != nil {
		return nil, err
	}
	return format.open(ctx, paths, o)
}

// Identify finds out the format of the data set that spec names, and the files or the folder that hold it.
func Identify(spec string) (*Format, []string, error) { return Options{}.Identify(spec) }

// Identify is the function of that name, but that a file which is nothing by itself is a table where o says what
// separates its fields.
func (o Options) Identify(spec string) (*Format, []string, error) {
	paths, err := Expand(spec)
	if err != nil {
		return nil, nil, err
	}
	if info, err := os.Stat(paths[0]); err == nil && info.IsDir() {
		if len(paths) > 1 {
			return nil, nil, fmt.Errorf("formats: %s: %s is a folder: want files only, where there are several", spec, paths[0])
		}
		if paths, err = inFolder(paths[0]); err != nil {
			return nil, nil, err
		}
		if paths == nil {
			return folders, []string{spec}, nil
		}
	}
	format, err := formatOf(paths[0], o)
	if err != nil {
		return nil, nil, err
	}
	if len(paths) > 1 && !format.many {
		return nil, nil, fmt.Errorf("formats: %s: %d files of %s: want one", spec, len(paths), format.Name)
	}
	return format, paths, nil
}

// inFolder returns the files that a folder is there for: its shards, by name, or the one file of rows beside its folder
// images. None: it is a folder of pictures.
func inFolder(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("formats: open folder: %w", err)
	}
	defer f.Close()
	var shards, tables, rows []string
	images := false
	for {
		entries, err := f.ReadDir(4096)
		for _, entry := range entries {
			name := entry.Name()
			if strings.HasPrefix(name, ".") {
				continue
			}
			switch plain := plainName(name); {
			case entry.IsDir():
				images = images || name == "images"
			case strings.HasSuffix(plain, ".tar"):
				shards = append(shards, filepath.Join(dir, name))
			case strings.HasSuffix(plain, ".parquet"):
				tables = append(tables, filepath.Join(dir, name))
			case hasRowsEnding(plain):
				rows = append(rows, filepath.Join(dir, name))
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("formats: list folder: %w", err)
		}
	}
	for _, list := range [][]string{shards, tables} {
		if len(list) > 0 {
			slices.Sort(list)
			return list, nil
		}
	}
	if images && len(rows) > 1 {
		slices.Sort(rows)
		for i, path := range rows {
			rows[i] = filepath.Base(path)
		}
		return nil, fmt.Errorf("formats: %s has several files of rows: %s: name one of them", dir, strings.Join(rows, ", "))
	}
	if images {
		return rows, nil
	}
	return nil, nil
}

// hasRowsEnding reports whether a file's name is one of a list of pictures.
func hasRowsEnding(plain string) bool {
	switch filepath.Ext(plain) {
	case ".jsonl", ".ndjson", ".csv", ".tsv":
		return true
	}
	return plain == "seed_group.json" || plain == "seed_groups.json"
}

// formatOf finds out which format a file has.
func formatOf(path string, o Options) (*Format, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("formats: open %s: %w", path, err)
	}
	defer f.Close()
	head, err := f.head()
	if err != nil {
		return nil, fmt.Errorf("formats: %s: %w", filepath.Base(path), err)
	}
	for _, r := range readers {
		if r.is(plainName(path), head) {
			return r, nil
		}
	}
	if s := o.separator(); s != "" && hasFields(head, s) {
		return tables, nil
	}
	names := make([]string, len(readers))
	for i, r := range readers {
		names[i] = r.Name
	}
	return nil, fmt.Errorf("formats: %s: neither its name nor its first bytes are those of %s", path, strings.Join(names, ", "))
}
