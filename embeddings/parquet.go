package embeddings

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	codec "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"relsim/checkpoints"
)

// Bounds of a Parquet file.
const (
	maxFooter     = 4 << 20
	maxPageHeader = 1 << 16
	maxColumns    = 4096
	maxPage       = 1 << 30
)

// columnNames are the names that a column may have, the one that is written first.
var columnNames = [...][]string{
	{"embedding", "embeddings"},
	{"image_id", "image_ids", "image_hash"},
	{"caption", "captions"},
	{"url_link", "url_links"},
}

// readParquet reads the columns of a table. The library takes sizes in a file at their word, and panics over some that
// are wrong, so they are checked first; see [pages].
func readParquet(r io.ReaderAt, size int64) (t *Table, err error) {
	defer func() {
		if p := recover(); p != nil {
			t, err = nil, fmt.Errorf("damaged: %v", p)
		}
	}()
	end, err := checkFooter(r, size)
	if err != nil {
		return nil, err
	}
	f, err := parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, err
	}
	t = &Table{}
	read := &columnReader{file: f, r: r, end: end, left: allowed(size)}
	for i, names := range columnNames {
		column, err := read.find(names)
		if err == nil && column == nil && i == 0 {
			err = fmt.Errorf("there is none of this name among %.200q", fieldNames(f))
		}
		if err == nil && column != nil {
			switch i {
			case 0:
				err = read.vectors(column, t)
			case 1:
				t.IDs, err = read.strings(column)
			case 2:
				t.Captions, err = read.strings(column)
			case 3:
				t.URLs, err = read.strings(column)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", names[0], err)
		}
	}
	return t, nil
}

func fieldNames(f *parquet.File) []string {
	var names []string
	for _, column := range f.Root().Columns() {
		names = append(names, column.Name())
	}
	return names
}

// checkFooter checks the lengths in the footer, and returns where it begins.
func checkFooter(r io.ReaderAt, size int64) (begin int64, err error) {
	var head, tail [8]byte
	if size < 12 {
		return 0, fmt.Errorf("%d bytes: too short for a Parquet file", size)
	}
	if _, err := r.ReadAt(head[:4], 0); err != nil {
		return 0, short(err)
	}
	if _, err := r.ReadAt(tail[:], size-8); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if string(head[:4]) != "PAR1" || string(tail[4:]) != "PAR1" {
		return 0, fmt.Errorf("not a Parquet file: it begins with %q and ends with %q, not \"PAR1\"", head[:4], tail[4:])
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if n > maxFooter || n > size-12 {
		return 0, fmt.Errorf("a footer of %d bytes in %d: want at most %d", n, size, maxFooter)
	}
	footer := make([]byte, n)
	if _, err := r.ReadAt(footer, size-8-n); err != nil {
		return 0, short(err)
	}
	walk := &thrift{b: footer}
	if err := walk.structure(0); err != nil {
		return 0, fmt.Errorf("footer: %w", err)
	}
	if walk.at != len(footer) {
		return 0, fmt.Errorf("footer: %d bytes after its end", len(footer)-walk.at)
	}
	var meta format.FileMetaData
	if err := codec.Unmarshal(&codec.CompactProtocol{}, footer, &meta); err != nil {
		return 0, fmt.Errorf("footer: %w", err)
	}
	if len(meta.Schema) == 0 || len(meta.Schema) > maxColumns {
		return 0, fmt.Errorf("footer: %d columns: want 1 to %d", len(meta.Schema), maxColumns)
	}
	if meta.EncryptionAlgorithm.Value != nil {
		return 0, errors.New("an encrypted file")
	}
	return size - 8 - n, nil
}

// columnReader reads single columns of a file.
type columnReader struct {
	file *parquet.File
	r    io.ReaderAt
	end  int64 // of the pages
	left int64 // memory that may still be asked for
}

// find returns the values of the column with one of these names, or nil. Lists have them some levels below.
func (c *columnReader) find(names []string) (*parquet.Column, error) {
	for _, column := range c.file.Root().Columns() {
		if !slices.Contains(names, column.Name()) {
			continue
		}
		for !column.Leaf() {
			if len(column.Columns()) != 1 {
				return nil, errors.New("a group of several columns")
			}
			column = column.Columns()[0]
		}
		return column, nil
	}
	return nil, nil
}

// each calls use with every value of a column, row group by row group.
func (c *columnReader) each(column *parquet.Column, use func(v parquet.Value) error) error {
	values := make([]parquet.Value, 1024)
	for g, group := range c.file.RowGroups() {
		chunks, metas := group.ColumnChunks(), c.file.Metadata().RowGroups
		if column.Index() >= len(chunks) || g >= len(metas) || column.Index() >= len(metas[g].Columns) {
			return fmt.Errorf("row group %d has no such column", g)
		}
		chunk := chunks[column.Index()]
		if err := c.pages(&metas[g].Columns[column.Index()].MetaData); err != nil {
			return fmt.Errorf("row group %d: %w", g, err)
		}
		if err := eachOf(chunk, values, use); err != nil {
			return fmt.Errorf("row group %d: %w", g, err)
		}
	}
	return nil
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

// pages checks, before the library decodes them, that the pages of a column lie in the file, that they have the sizes
// that their headers say, and that these are allowed.
func (c *columnReader) pages(meta *format.ColumnMetaData) error {
	at := meta.DataPageOffset
	if d := meta.DictionaryPageOffset; d > 0 {
		at = min(at, d)
	}
	if at < 4 || meta.TotalCompressedSize < 0 || at > c.end || meta.TotalCompressedSize > c.end-at {
		return fmt.Errorf("%d bytes at %d, where the pages end at %d", meta.TotalCompressedSize, at, c.end)
	}
	var values int64
	for end := at + meta.TotalCompressedSize; at < end; {
		head := make([]byte, min(maxPageHeader, end-at))
		if _, err := c.r.ReadAt(head, at); err != nil {
			return short(err)
		}
		walk := &thrift{b: head}
		if err := walk.structure(0); err != nil {
			return fmt.Errorf("page at %d: %w", at, err)
		}
		var page format.PageHeader
		if err := codec.Unmarshal(&codec.CompactProtocol{}, head[:walk.at], &page); err != nil {
			return fmt.Errorf("page at %d: %w", at, err)
		}
		body := at + int64(walk.at)
		packed, unpacked := int64(page.CompressedPageSize), int64(page.UncompressedPageSize)
		n := int64(page.DataPageHeader.V.NumValues) + int64(page.DataPageHeaderV2.V.NumValues) + int64(page.DictionaryPageHeader.V.NumValues)
		if packed < 0 || packed > end-body || unpacked < 0 || unpacked > maxPage || n < 0 {
			return fmt.Errorf("page at %d: %d bytes that unpack to %d, of %d values, and %d bytes to the end of the column", at, packed, unpacked, n, end-body)
		}
		if c.left -= unpacked + 4*n; c.left < 0 {
			return fmt.Errorf("page at %d: unpacked, the table takes more than %d times its bytes", at, maxRatio)
		}
		if page.Type != format.DictionaryPage {
			values += n
		}
		for _, e := range []format.Encoding{page.DataPageHeader.V.Encoding, page.DataPageHeaderV2.V.Encoding, page.DictionaryPageHeader.V.Encoding} {
			// The library makes the room that a delta encoding says it takes. 0, of a header that is not there, is PLAIN.
			//lint:ignore SA1019 files of old have dictionaries by this name
			if !slices.Contains([]format.Encoding{format.Plain, format.PlainDictionary, format.RLEDictionary}, e) {
				return fmt.Errorf("page at %d: encoding %v: want plain or dictionary pages, such as those of pyarrow and pandas", at, e)
			}
		}
		data := make([]byte, packed)
		if _, err := c.r.ReadAt(data, body); err != nil {
			return short(err)
		}
		if err := unpacks(meta.Codec, &page, data); err != nil {
			return fmt.Errorf("page at %d: %w", at, err)
		}
		at = body + packed
	}
	if values != meta.NumValues {
		return fmt.Errorf("pages of %d values, and %d in the footer", values, meta.NumValues)
	}
	return nil
}

// unpacks returns an error if the body of a page does not unpack to the size in its header: the library makes room as
// it unpacks, however much comes.
func unpacks(c format.CompressionCodec, page *format.PageHeader, data []byte) error {
	want := int64(page.UncompressedPageSize)
	if v2 := page.DataPageHeaderV2; v2.Valid { // its levels are not compressed
		levels := int64(v2.V.RepetitionLevelsByteLength) + int64(v2.V.DefinitionLevelsByteLength)
		if v2.V.RepetitionLevelsByteLength < 0 || v2.V.DefinitionLevelsByteLength < 0 || levels > int64(len(data)) || levels > want {
			return fmt.Errorf("levels of %d bytes in %d", levels, len(data))
		}
		data, want = data[levels:], want-levels
		if compressed := v2.V.IsCompressed; compressed.Valid && !compressed.V {
			c = format.Uncompressed
		}
	}
	var got int64
	switch c {
	case format.Uncompressed:
		got = int64(len(data))
	case format.Snappy:
		if len(data) == 0 {
			break
		}
		n, err := snappy.DecodedLen(data)
		if err != nil {
			return err
		}
		got = int64(n)
	case format.Gzip, format.Zstd:
		if len(data) == 0 {
			break
		}
		var body io.Reader
		if c == format.Gzip {
			z, err := gzip.NewReader(bytes.NewReader(data))
			if err != nil {
				return err
			}
			body = z
		} else {
			z, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
			if err != nil {
				return err
			}
			defer z.Close()
			body = z
		}
		n, err := io.Copy(io.Discard, io.LimitReader(body, want+1))
		if err != nil {
			return err
		}
		got = n
	default:
		return fmt.Errorf("compressed by %v: want snappy, gzip, zstd or none", c)
	}
	if got != want {
		return fmt.Errorf("it unpacks to %d bytes, and its header says %d", got, want)
	}
	return nil
}

// vectors reads a column of lists of numbers into a table.
func (c *columnReader) vectors(column *parquet.Column, t *Table) error {
	var number func(v parquet.Value) float32
	switch kind := column.Type().Kind(); {
	case kind == parquet.Float:
		number = parquet.Value.Float
	case kind == parquet.Double:
		number = func(v parquet.Value) float32 { return float32(v.Double()) }
	case kind == parquet.FixedLenByteArray && column.Type().Length() == 2 && c.isHalf(column):
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
	err := c.each(column, func(v parquet.Value) error {
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

// isHalf reports whether a column is of float16. The library keeps no such type.
func (c *columnReader) isHalf(column *parquet.Column) bool {
	leaf := 0
	for _, element := range c.file.Metadata().Schema {
		if !element.Type.Valid { // a group
			continue
		}
		if leaf == column.Index() {
			_, ok := element.LogicalType.Value.(*format.Float16Type)
			return ok
		}
		leaf++
	}
	return false
}

// strings reads a column of strings, or of integers. A value that is missing is "".
func (c *columnReader) strings(column *parquet.Column) ([]string, error) {
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
	if column.MaxRepetitionLevel() != 0 {
		return nil, errors.New("a column of lists: want one string in each row")
	}
	list := []string{}
	err := c.each(column, func(v parquet.Value) error {
		s := ""
		if !v.IsNull() {
			s = text(v)
		}
		if c.left -= int64(len(s)) + 16; c.left < 0 { // one entry of a dictionary may stand in many rows
			return fmt.Errorf("the table takes more than %d times its bytes", maxRatio)
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
