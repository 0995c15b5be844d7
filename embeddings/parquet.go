package embeddings

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"relsim/checkpoints"
	"relsim/parquetfile"
)

// columnNames are the names that a column may have, the one that is written first.
var columnNames = [...][]string{
	{"embedding", "embeddings"},
	{"image_id", "image_ids", "image_hash"},
	{"caption", "captions"},
	{"url_link", "url_links"},
}

// readParquet reads the columns of a table.
func readParquet(r io.ReaderAt, size int64) (*Table, error) {
	f, err := parquetfile.Open(r, size, allowed(size))
	if err != nil {
		return nil, err
	}
	t := &Table{}
	for i, names := range columnNames {
		column, err := f.Find(names...)
		if err == nil && column == nil && i == 0 {
			err = fmt.Errorf("there is none of this name among %.200q", f.Names())
		}
		if err == nil && column != nil {
			switch i {
			case 0:
				err = readColumn(column, t)
			case 1:
				t.IDs, err = readTexts(f, column)
			case 2:
				t.Captions, err = readTexts(f, column)
			case 3:
				t.URLs, err = readTexts(f, column)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", names[0], err)
		}
	}
	return t, nil
}

// readColumn reads a column of lists of numbers into a table.
func readColumn(column *parquetfile.Column, t *Table) error {
	var number func(v parquet.Value) float32
	switch kind := column.Type().Kind(); {
	case kind == parquet.Float:
		number = parquet.Value.Float
	case kind == parquet.Double:
		number = func(v parquet.Value) float32 { return float32(v.Double()) }
	case kind == parquet.FixedLenByteArray && column.Type().Length() == 2 && column.Float16():
		half := func(b []byte) float32 { // always two bytes
			x, err := checkpoints.Float32s(checkpoints.Tensor{DType: checkpoints.F16, Shape: []int{1}, Data: b})
			if err != nil {
				panic(err)
			}
			return x[0]
		}
		number = func(v parquet.Value) float32 { return half(v.ByteArray()) }
	default:
		return fmt.Errorf("a column of %v: want lists of float16, float or double", column.Type())
	}
	if column.MaxRepetitionLevel() != 1 {
		return fmt.Errorf("lists %d deep: want one list of numbers in each row", column.MaxRepetitionLevel())
	}
	rows, width := 0, 0 // width of the row so far
	whole := func() error {
		if t.Dim == 0 {
			t.Dim = width
		}
		if width != t.Dim {
			return fmt.Errorf("row %d has %d numbers, and those before have %d", rows-1, width, t.Dim)
		}
		width = 0
		return nil
	}
	err := column.Each(func(v parquet.Value) error {
		if v.RepetitionLevel() == 0 {
			if rows > 0 {
				if err := whole(); err != nil {
					return err
				}
			}
			rows++
		}
		if rows == 0 {
			return errors.New("it begins inside a row")
		}
		if v.DefinitionLevel() != column.MaxDefinitionLevel() {
			return fmt.Errorf("row %d has no list, an empty one, or a number missing", rows-1)
		}
		width++
		t.Vectors = append(t.Vectors, number(v))
		return nil
	})
	if err != nil {
		return err
	}
	if rows == 0 {
		return errors.New("no rows")
	}
	return whole()
}

// readTexts reads a column of strings, or of integers. A value that is missing is "".
func readTexts(f *parquetfile.File, column *parquetfile.Column) ([]string, error) {
	var text func(v parquet.Value) string
	switch column.Type().Kind() {
	case parquet.ByteArray:
		text = func(v parquet.Value) string { return string(v.ByteArray()) }
	case parquet.Int32:
		text = func(v parquet.Value) string { return strconv.Itoa(int(v.Int32())) }
	case parquet.Int64:
		text = func(v parquet.Value) string { return strconv.FormatInt(v.Int64(), 10) }
	default:
		return nil, fmt.Errorf("a column of %v: want strings", column.Type())
	}
	if column.IsList() {
		return nil, errors.New("a column of lists: want one string in each row")
	}
	list := []string{}
	err := column.Each(func(v parquet.Value) error {
		s := ""
		if !v.IsNull() {
			s = text(v)
		}
		if err := f.Take(int64(len(s)) + 16); err != nil { // one entry of a dictionary may stand in many rows
			return err
		}
		list = append(list, s)
		return nil
	})
	return list, err
}

// writeParquet writes a table with pages compressed by Snappy, which every reader knows.
func writeParquet(w io.Writer, t *Table) error {
	group := parquet.Group{columnNames[0][0]: parquet.List(parquet.Encoded(parquet.Leaf(parquet.FloatType), &parquet.Plain))}
	columns := [][]string{nil, t.IDs, t.Captions, t.URLs}
	for i, list := range columns {
		if list != nil {
			group[columnNames[i][0]] = parquet.Encoded(parquet.String(), &parquet.Plain)
		}
	}
	schema := parquet.NewSchema("embeddings", group)
	at := make([]int, len(columns)) // in the file, where columns go by their names
	for i, names := range columnNames {
		path := []string{names[0]}
		if i == 0 {
			path = append(path, "list", "element")
		}
		if leaf, ok := schema.Lookup(path...); ok {
			at[i] = leaf.ColumnIndex
		}
	}
	out := parquet.NewWriter(w, schema, parquet.Compression(&parquet.Snappy), parquet.CreatedBy("relsim", "", ""))
	row := make(parquet.Row, 0, t.Dim+len(columns))
	for r := range t.Len() {
		row = row[:0]
		for place := range len(columns) { // in the order of the file
			for i, list := range columns {
				switch {
				case at[i] != place:
				case i == 0:
					for j, x := range t.Row(r) {
						row = append(row, parquet.FloatValue(x).Level(min(j, 1), 1, at[i]))
					}
				case list != nil:
					row = append(row, parquet.ByteArrayValue([]byte(list[r])).Level(0, 0, at[i]))
				}
			}
		}
		if _, err := out.WriteRows([]parquet.Row{row}); err != nil {
			return fmt.Errorf("row %d: %w", r, err)
		}
	}
	return out.Close()
}
