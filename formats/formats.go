// Package formats opens data sets in the formats that users have them in: files of rows, folders of pictures.
//
// [Open] finds out by the content which format a file has. Whatever the format is, the same pictures and captions in the
// same order are the same [dataloader.Item]s, but for where they stand, and so give the same batches.
package formats

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unicode/utf8"

	"relsim/dataloader"
)

// Options say what the name of a data set does not. The zero value has the defaults.
type Options struct {
	Images     string `json:"images,omitempty"`      // folder of the pictures; "": beside the rows, as each format says
	ImageKey   string `json:"image_key,omitempty"`   // CSV, Parquet: column of the picture; "": DefaultImageKey, or image_hash
	CaptionKey string `json:"caption_key,omitempty"` // CSV, Parquet: column of the caption; "": DefaultCaptionKey, or caption
	Separator  string `json:"separator,omitempty"`   // CSV: between the fields, one character; "": found out
}

// The columns that a table has by default, as open_clip calls them.
const (
	DefaultImageKey   = "filepath"
	DefaultCaptionKey = "title"
)

// Validate returns an error that says which option cannot be.
func (o Options) Validate() error {
	if o.Separator != "" {
		switch r, n := utf8.DecodeRuneInString(o.Separator); {
		case n != len(o.Separator) || r == utf8.RuneError:
			return fmt.Errorf("formats: separator %q: want one character", o.Separator)
		case r == '"' || r == '\r' || r == '\n' || r == 0 || r == '\ufeff':
			return fmt.Errorf("formats: separator %q: quotes and ends of lines separate no fields", o.Separator)
		}
	}
	if !utf8.ValidString(o.ImageKey) || !utf8.ValidString(o.CaptionKey) {
		return fmt.Errorf("formats: keys %q and %q: want UTF-8", o.ImageKey, o.CaptionKey)
	}
	return nil
}

// reader is a format.
type reader struct {
	name string
	is   func(name string, head []byte) bool // by the lower-case name without .gz, and the first bytes, unpacked
	many bool                                // takes several files, which are read one after the other
	open func(ctx context.Context, paths []string, o Options) (dataloader.Dataset, error)
}

// readers are the formats of files. The first one that fits is taken.
var readers = []reader{
	{"JSON lines", isJSONL, false, openJSONL},
}

// headBytes is how much of a file is looked at to find out its format.
const headBytes = 4096

// Open opens the data set that spec names: a file of rows.
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
	paths := []string{spec}
	format, err := formatOf(paths[0])
	if err != nil {
		return nil, err
	}
	return format.open(ctx, paths, o)
}

// formatOf finds out which format a file has.
func formatOf(path string) (*reader, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("formats: open %s: %w", path, err)
	}
	defer f.Close()
	head, err := f.head()
	if err != nil {
		return nil, fmt.Errorf("formats: %s: %w", filepath.Base(path), err)
	}
	for i := range readers {
		if readers[i].is(plainName(path), head) {
			return &readers[i], nil
		}
	}
	return nil, fmt.Errorf("formats: %s: neither its name nor its first bytes are those of a format that is known: want JSON lines", path)
}
