package formats

import (
	"bufio"
	"bytes"
	"errors"
	"os"

	"github.com/parquet-go/parquet-go"

	"relsim/dataloader"
)

// A group of rows is held in memory until it is written.
const (
	groupBytes = 64 << 20
	groupRows  = 10_000
)

// parquetSink writes rows as a Parquet table in the layout of Hugging Face's exports: the column image is a struct of
// bytes and path, and the metadata huggingface says which feature each column is. Every column may be null there, and so
// here; encodings and Snappy are those that every reader knows.
type parquetSink struct {
	cutter
	pictures bool
	fields   []rowField
	schema   *parquet.Schema
	options  []parquet.WriterOption
	keys     *sampleKeys
	room     bytes.Buffer
	row      parquet.Row
	file     *os.File
	buf      *bufio.Writer
	out      *parquet.GenericWriter[any]
	rows     int // of the group
	bytes    int64
}

// imageColumn is the name of the pictures' column.
const imageColumn = "image"

func (l *layout) openParquet(part Part, o WriteOptions, w *Written) (sink, error) {
	cut, err := l.openCut(part, o, w)
	if err != nil {
		return nil, err
	}
	s := &parquetSink{cutter: cut, pictures: !o.NoImages, fields: usedFields(part.Data), keys: newSampleKeys()}
	group := parquet.Group{}
	features := orderedJSON{}
	str := func() parquet.Node { return parquet.Optional(parquet.Encoded(parquet.String(), &parquet.Plain)) }
	if s.pictures {
		group[imageColumn] = parquet.Optional(parquet.Group{
			"bytes": parquet.Optional(parquet.Encoded(parquet.Leaf(parquet.ByteArrayType), &parquet.Plain)),
			"path":  str(),
		})
		features.add(imageColumn, `{"_type":"Image"}`)
	}
	for _, f := range s.fields {
		switch f.zero.(type) {
		case string:
			group[f.name] = str()
			features.add(f.name, `{"dtype":"string","_type":"Value"}`)
		case []string:
			group[f.name] = parquet.Optional(parquet.List(str()))
			features.add(f.name, `{"feature":{"dtype":"string","_type":"Value"},"_type":"Sequence"}`)
		case int64:
			group[f.name] = parquet.Optional(parquet.Encoded(parquet.Int(64), &parquet.Plain))
			features.add(f.name, `{"dtype":"int64","_type":"Value"}`)
		case float64:
			group[f.name] = parquet.Optional(parquet.Encoded(parquet.Leaf(parquet.DoubleType), &parquet.Plain))
			features.add(f.name, `{"dtype":"float64","_type":"Value"}`)
		case bool:
			group[f.name] = parquet.Optional(parquet.Encoded(parquet.Leaf(parquet.BooleanType), &parquet.Plain))
			features.add(f.name, `{"dtype":"bool","_type":"Value"}`)
		}
	}
	s.schema = parquet.NewSchema("rows", group)
	s.options = []parquet.WriterOption{
		s.schema,
		parquet.Compression(&parquet.Snappy),
		parquet.CreatedBy("relsim", "", ""),
		parquet.DataPageVersion(1),
		parquet.KeyValueMetadata("huggingface", `{"info":{"features":`+features.String()+`}}`),
		parquet.SkipPageBounds(imageColumn, "bytes"),
	}
	return s, nil
}

// orderedJSON is an object that is written member by member.
type orderedJSON struct{ b bytes.Buffer }

func (o *orderedJSON) add(name, value string) {
	if o.b.Len() > 0 {
		o.b.WriteByte(',')
	}
	appendJSON(&o.b, name)
	o.b.WriteByte(':')
	o.b.WriteString(value)
}

func (o *orderedJSON) String() string { return "{" + o.b.String() + "}" }

func (s *parquetSink) add(it dataloader.Item, p loaded) error {
	if id := fileID(it.ID); id != it.ID { // a row without its picture names a file
		it.ID = id
		s.w.Renamed++
	}
	s.room.Reset()
	if err := appendRow(&s.room, &it); err != nil {
		return unfit{err}
	}
	if s.full(len(p.data)) {
		if err := s.finish(); err != nil {
			return err
		}
	}
	if s.out == nil {
		if err := s.begin(); err != nil {
			return err
		}
	}
	s.fill(&it, p)
	if _, err := s.out.WriteRows([]parquet.Row{s.row}); err != nil {
		return err
	}
	s.inRows++
	s.inSize += int64(len(p.data))
	if s.pictures {
		s.w.Pictures++
		s.w.Bytes += int64(len(p.data))
	}
	s.rows++
	if s.bytes += int64(len(p.data) + s.room.Len()); s.rows >= groupRows || s.bytes >= groupBytes {
		s.rows, s.bytes = 0, 0
		return s.out.Flush()
	}
	return nil
}

// fill makes the row of an item: its values in the order of the columns.
func (s *parquetSink) fill(it *dataloader.Item, p loaded) {
	columns := s.schema.Columns()
	cells := make([][]parquet.Value, len(columns))
	at := func(path ...string) int {
		leaf, _ := s.schema.Lookup(path...)
		return leaf.ColumnIndex
	}
	put := func(c int, v parquet.Value, repeated, defined int) {
		cells[c] = append(cells[c], v.Level(repeated, defined, c))
	}
	if s.pictures {
		put(at(imageColumn, "bytes"), parquet.ByteArrayValue(p.data), 0, 2)
		put(at(imageColumn, "path"), parquet.ByteArrayValue([]byte(s.keys.of(it.ID)+p.ext)), 0, 2)
	}
	for _, f := range s.fields {
		path := []string{f.name}
		if _, list := f.zero.([]string); list {
			path = append(path, "list", "element")
		}
		c := at(path...)
		if !f.has(it) {
			put(c, parquet.NullValue(), 0, 0)
			continue
		}
		switch v := f.get(it).(type) {
		case string:
			put(c, parquet.ByteArrayValue([]byte(v)), 0, 1)
		case []string:
			for i, s := range v {
				put(c, parquet.ByteArrayValue([]byte(s)), min(i, 1), 3)
			}
		case int64:
			put(c, parquet.Int64Value(v), 0, 1)
		case float64:
			put(c, parquet.DoubleValue(v), 0, 1)
		case bool:
			put(c, parquet.BooleanValue(v), 0, 1)
		}
	}
	s.row = s.row[:0]
	for _, list := range cells {
		s.row = append(s.row, list...)
	}
}

// begin opens the next file.
func (s *parquetSink) begin() error {
	f, err := s.create()
	if err != nil {
		return err
	}
	s.file, s.buf = f, bufio.NewWriterSize(f, 1<<16)
	s.out = parquet.NewGenericWriter[any](s.buf, s.options...)
	return nil
}

// finish ends a file.
func (s *parquetSink) finish() error {
	if s.out == nil {
		return nil
	}
	err := errors.Join(s.out.Close(), s.buf.Flush())
	if err == nil {
		err = s.file.Sync()
	}
	err = errors.Join(err, s.file.Close())
	s.out, s.rows, s.bytes = nil, 0, 0
	return err
}

func (s *parquetSink) close() error {
	if s.number == 0 { // no rows
		if err := s.begin(); err != nil {
			return err
		}
	}
	return s.finish()
}
