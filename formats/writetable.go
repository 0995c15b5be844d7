package formats

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"relsim/dataloader"
)

// tableSink writes rows as a table of text (RFC 4180; TSV with tabs, and quotes as there). It has columns for the
// fields that a row uses. Several captions are a list in JSON.
type tableSink struct {
	l      *layout
	w      *Written
	file   *rowFile
	csv    *csv.Writer
	fields []rowField
	open   bool // the caption's column is called title, as open_clip has it
	paths  bool // there is a column filepath
	prefix string
	row    []string
	room   bytes.Buffer
}

func (l *layout) openTable(part Part, o WriteOptions, w *Written) (sink, error) {
	staged, final := l.rowsFile(part)
	w.Path, w.Images = final, l.images
	f, err := createRows(staged, final)
	if err != nil {
		return nil, err
	}
	s := &tableSink{l: l, w: w, file: f, csv: csv.NewWriter(f), fields: usedFields(part.Data), open: o.OpenCLIP}
	if l.format == TSV {
		s.csv.Comma = '\t'
	}
	if l.store != nil {
		s.prefix = imagesName + "/"
	}
	if s.paths = s.open || l.refer != ""; s.paths {
		s.row = append(s.row, DefaultImageKey)
	}
	for _, f := range s.fields {
		if s.open && f.name == "caption" {
			f.name = DefaultCaptionKey
		}
		s.row = append(s.row, f.name)
	}
	return s, s.csv.Write(s.row)
}

func (s *tableSink) add(it dataloader.Item, p loaded) error {
	s.room.Reset()
	if err := appendRow(&s.room, &it); err != nil {
		return unfit{err}
	}
	var name string
	var err error
	if s.l.refer != "" {
		if name, err = s.l.referTo(&it); err == nil && checkHash(it.ID) != nil && it.ID == stem(name) {
			it.ID = "" // it comes of the path
		}
	} else {
		name, err = s.l.keep(&it, p, s.w)
	}
	if err != nil {
		return err
	}
	s.row = s.row[:0]
	if s.paths {
		if name == "" {
			name = it.ID
		}
		s.row = append(s.row, s.prefix+filepath.ToSlash(name))
	}
	for _, f := range s.fields {
		cell := ""
		if f.has(&it) {
			if cell, err = cellOf(f.get(&it)); err != nil {
				return err
			}
		}
		s.row = append(s.row, cell)
	}
	return s.csv.Write(s.row)
}

// cellOf writes a value as the text of a cell.
func cellOf(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	case bool:
		return strconv.FormatBool(v), nil
	case []string:
		var b bytes.Buffer
		err := appendJSON(&b, v)
		return b.String(), err
	}
	return "", fmt.Errorf("a cell of type %T", v)
}

func (s *tableSink) close() error {
	s.csv.Flush()
	return errors.Join(s.csv.Error(), s.file.close())
}
