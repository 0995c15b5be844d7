package formats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"relsim/dataloader"
)

// Names of the formats that [Write] knows.
const (
	JSONL      = "jsonl"      // a file of rows as JSON objects, and the folder images
	CSV        = "csv"        // a table, and the folder images
	TSV        = "tsv"        // the same with tabs
	Parquet    = "parquet"    // a table that holds the pictures
	WebDataset = "webdataset" // shards: tar files of pictures, captions and rows
	Folder     = "folder"     // pictures, each with its captions beside it
	Groups     = "groups"     // seed_group.json, and the pictures in a folder for each group
)

// FormatNames are the formats that [Write] knows.
func FormatNames() []string { return []string{JSONL, CSV, TSV, Parquet, WebDataset, Folder, Groups} }

// WriteOptions say how [Write] works. The zero value has the defaults.
type WriteOptions struct {
	Format    string // of FormatNames; "": by the destination
	NoImages  bool   // write the rows alone, where the format allows it
	Refer     string // with NoImages: the folder of the pictures, to which the output gets a link that is called images
	OpenCLIP  bool   // call the columns of a table as open_clip does: filepath and title
	ShardSize int64  // WebDataset, Parquet: begin a new shard beyond so many bytes of pictures; 0: DefaultShardSize
	ShardRows int    // WebDataset, Parquet: begin a new shard after so many rows; 0: DefaultShardRows
	Force     bool   // replace an earlier output
	Strict    bool   // stop at the first picture that is broken
	Trust     bool   // carry pictures over without decoding them, to see whether they are whole
	Workers   int    // goroutines that read and decode; 0: one for each core

	// Encode makes another picture of a file, a smaller one for example; nil: files stay as they are, byte for byte.
	// It is called from several goroutines.
	Encode func(data []byte) ([]byte, error)
	// Progress, when set, is called after every row with the number of rows that were dealt with and that there are.
	Progress func(done, total int)
}

// Bounds of a shard that are not said.
const (
	DefaultShardSize = 1 << 30
	DefaultShardRows = 10_000 // as img2dataset has it
)

// Written says what [Write] has written.
type Written struct {
	Format   string              `json:"format"`
	Path     string              `json:"path"`             // the file or folder; of rows with pictures, the file
	Images   string              `json:"images,omitempty"` // the folder of the pictures
	Rows     int                 `json:"rows"`
	Pictures int                 `json:"pictures"` // files, or members of shards
	Bytes    int64               `json:"bytes"`    // of the pictures
	Shards   int                 `json:"shards,omitempty"`
	Groups   int                 `json:"groups,omitempty"`
	Renamed  int                 `json:"renamed,omitempty"`  // IDs that could not stay, since the format makes file names of them
	Unquoted int                 `json:"unquoted,omitempty"` // rows that lost the quotes around a caption
	Lost     map[string]int      `json:"lost,omitempty"`     // fields that the format does not hold, and in how many rows they stood
	Broken   []dataloader.Broken `json:"broken,omitempty"`   // rows that were left out
}

// Write writes a data set to dst in another format; [Open] opens it again. dst says the format by its end, or
// o.Format does:
//
//	rows.jsonl, rows.csv, rows.tsv (or packed: rows.jsonl.gz)   rows, and the pictures in the folder images beside
//	rows.parquet                                                rows with the pictures in them
//	DIR/{000000..}.tar                                          shards; a.tar is a single one
//	DIR/seed_group.json                                         groups
//	DIR                                                         with o.Format, any: DIR/rows.jsonl, DIR/000000.tar, …
//
// Rows alone (o.NoImages) may refer to the pictures where they are (o.Refer).
//
// Pictures are carried over byte for byte, with the ending of what they are. One that cannot be read or decoded is
// left out with its row, counted and listed; when all are, or o.Strict says so, it is an error. What a format cannot
// hold is counted, too. Quotes that stood around captions are not written again.
//
// An output is made beside, synced and moved to its place when it is whole: whatever happens before, a full disk or
// the end of ctx, leaves nothing. One that is there already is refused with [ErrExists], or replaced by o.Force; a
// folder that holds anything but what Write has written is refused all the same, with [ErrNotOurs]. The same data set
// gives the same bytes.
func Write(ctx context.Context, dst string, ds dataloader.Dataset, o WriteOptions) (Written, error) {
	w, err := WriteParts(ctx, dst, []Part{{Data: ds}}, o)
	if err != nil {
		return Written{}, err
	}
	return w[0], nil
}

// Part is a data set that is written beside others.
type Part struct {
	Name string // of its file or folder, without an ending
	Data dataloader.Dataset
}

// sink takes the rows of a data set in order.
type sink interface {
	add(it dataloader.Item, p loaded) error // p is empty where rows are written alone
	close() error
}

// unfit is an error that concerns one row alone: it is left out, as one with a broken picture is.
type unfit struct{ error }

// WriteParts is [Write] for several data sets in one folder, dst: with the format JSONL the files NAME.jsonl with the
// folder images for all of them, with Groups, WebDataset or Folder the folders NAME.
func WriteParts(ctx context.Context, dst string, parts []Part, o WriteOptions) (_ []Written, err error) {
	fail := func(err error) error { return fmt.Errorf("formats: write %s: %w", dst, err) }
	if err := o.check(); err != nil {
		return nil, fail(err)
	}
	l, err := layoutOf(dst, o, len(parts) > 1)
	if err != nil {
		return nil, fail(err)
	}
	p := &staging{force: o.Force}
	defer func() {
		if e := p.discard(); e != nil {
			err = errors.Join(err, e)
		}
	}()
	if err := l.stage(p, o); err != nil {
		return nil, fail(err)
	}
	total := 0
	for _, part := range parts {
		total += part.Data.Len()
	}
	var list []Written
	done := 0
	for _, part := range parts {
		w, err := writePart(ctx, l, part, o, func() {
			done++
			if o.Progress != nil {
				o.Progress(done, total)
			}
		})
		if err != nil {
			return nil, fail(err)
		}
		list = append(list, w)
	}
	if ctx.Err() != nil {
		return nil, fail(context.Cause(ctx))
	}
	if err := p.commit(); err != nil {
		return nil, fail(err)
	}
	return list, nil
}

// writePart writes one data set into what is staged.
func writePart(ctx context.Context, l *layout, part Part, o WriteOptions, step func()) (Written, error) {
	ds := part.Data
	w := Written{Format: l.format, Lost: map[string]int{}}
	s, err := l.open(part, o, &w)
	if err != nil {
		return w, err
	}
	closed := false
	defer func() {
		if !closed {
			s.close() // to let go of its files; they are removed
		}
	}()
	add := func(i int, p loaded) error {
		defer step()
		it := ds.Item(i)
		makeValid(&it)
		err := p.err
		if err == nil {
			err = s.add(it, p)
			if no := (unfit{}); err != nil && !errors.As(err, &no) {
				return err
			}
		}
		if err == nil {
			w.Rows++
			if it.Quoted {
				w.Unquoted++
			}
			return nil
		}
		if o.Strict {
			return fmt.Errorf("item %d (%s): %w", i, it.ID, err)
		}
		w.Broken = append(w.Broken, dataloader.Broken{Index: i, ID: it.ID, Path: it.Path, Member: it.Member, Line: it.Line, Reason: err.Error()})
		return nil
	}
	if o.NoImages {
		for i := 0; i < ds.Len() && err == nil; i++ {
			if err = ctx.Err(); err == nil {
				err = add(i, loaded{})
			}
		}
	} else {
		err = eachPicture(ctx, ds, &o, add)
	}
	if err != nil {
		return w, err
	}
	if w.Rows == 0 && ds.Len() > 0 {
		return w, fmt.Errorf("none of %d rows could be written; the first: %s", ds.Len(), w.Broken[0].Reason)
	}
	closed = true
	return w, s.close()
}

// check returns an error that says which option cannot be.
func (o *WriteOptions) check() error {
	switch {
	case o.Format != "" && !slices.Contains(FormatNames(), o.Format):
		return fmt.Errorf("there is no format %q: want one of %s", o.Format, strings.Join(FormatNames(), ", "))
	case o.Refer != "" && !o.NoImages:
		return errors.New("the pictures are copied or referred to, not both")
	case o.ShardSize < 0 || o.ShardRows < 0:
		return fmt.Errorf("shards of %d bytes and %d rows: want positive numbers", o.ShardSize, o.ShardRows)
	case o.Workers < 0:
		return fmt.Errorf("%d workers: less than 0", o.Workers)
	}
	return nil
}
