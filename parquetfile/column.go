package parquetfile

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// Column is a column of values: a leaf of the schema.
type Column struct {
	*parquet.Column
	file *File
}

// Find returns the column with one of these names, or nil where there is none. Lists have their values some levels
// below; a group of several columns is an error.
func (f *File) Find(names ...string) (*Column, error) {
	for _, column := range f.Root().Columns() {
		if !slices.Contains(names, column.Name()) {
			continue
		}
		for !column.Leaf() {
			if len(column.Columns()) != 1 {
				return nil, errors.New("a group of several columns")
			}
			column = column.Columns()[0]
		}
		return &Column{column, f}, nil
	}
	return nil, nil
}

// Member returns the column of this name inside of the group with that name, or nil where there is none.
func (f *File) Member(group, name string) *Column {
	for _, column := range f.Root().Columns() {
		if column.Name() != group || column.Leaf() {
			continue
		}
		for _, member := range column.Columns() {
			if member.Name() == name && member.Leaf() {
				return &Column{member, f}
			}
		}
	}
	return nil
}

// IsList reports whether a row has any number of values.
func (c *Column) IsList() bool { return c.MaxRepetitionLevel() > 0 }

// Float16 reports whether the values are of this type, which the library does not keep.
func (c *Column) Float16() bool {
	leaf := 0
	for _, element := range c.file.Metadata().Schema {
		if !element.Type.Valid { // a group
			continue
		}
		if leaf == c.Index() {
			_, ok := element.LogicalType.Value.(*format.Float16Type)
			return ok
		}
		leaf++
	}
	return false
}

// Each calls use with every value of the column, row group by row group, after it has checked the pages. A value with
// repetition level 0 begins a row. The memory of a value is gone when use returns.
func (c *Column) Each(use func(v parquet.Value) error) (err error) {
	defer caught(&err)
	values := make([]parquet.Value, 1024)
	for g, group := range c.file.RowGroups() {
		meta, err := c.chunk(g)
		if err != nil {
			return err
		}
		if err := c.check(meta, g); err != nil {
			return fmt.Errorf("row group %d: %w", g, err)
		}
		rows := int64(0)
		err = eachOf(group.ColumnChunks()[c.Index()], values, func(v parquet.Value) error {
			if v.RepetitionLevel() == 0 {
				rows++
			}
			return use(v)
		})
		if err == nil && rows != group.NumRows() {
			err = fmt.Errorf("%d rows, and %d in the footer", rows, group.NumRows())
		}
		if err != nil {
			return fmt.Errorf("row group %d: %w", g, err)
		}
	}
	return nil
}

// Check returns an error if the footer says of a row group that the column has another number of values than rows, or that it
// lies outside of the file. No page is read.
func (c *Column) Check() error {
	for g := range c.file.RowGroups() {
		meta, err := c.chunk(g)
		if err != nil {
			return err
		}
		if _, _, err := c.bounds(meta); err != nil {
			return fmt.Errorf("row group %d: %w", g, err)
		}
	}
	return nil
}

// chunk is what the footer says of the column in row group g.
func (c *Column) chunk(g int) (*format.ColumnMetaData, error) {
	groups, metas := c.file.RowGroups(), c.file.Metadata().RowGroups
	if g >= len(groups) || g >= len(metas) || c.Index() >= len(groups[g].ColumnChunks()) || c.Index() >= len(metas[g].Columns) {
		return nil, fmt.Errorf("row group %d has no such column", g)
	}
	meta := &metas[g].Columns[c.Index()].MetaData
	if !c.IsList() && meta.NumValues != metas[g].NumRows {
		return nil, fmt.Errorf("row group %d: %d values in %d rows", g, meta.NumValues, metas[g].NumRows)
	}
	return meta, nil
}

func eachOf(chunk parquet.ColumnChunk, values []parquet.Value, use func(v parquet.Value) error) error {
	pages := chunk.Pages()
	defer pages.Close()
	for {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for reader := page.Values(); ; {
			n, err := reader.ReadValues(values)
			for _, v := range values[:n] {
				if err := use(v); err != nil {
					return err
				}
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
		}
		parquet.Release(page)
	}
}
