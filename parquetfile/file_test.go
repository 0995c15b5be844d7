package parquetfile

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	codec "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// written is a row of the files in testdata, by the program that wrote them.
type written struct {
	Picture  []byte   `json:"picture"`
	Path     string   `json:"path"`
	Hash     string   `json:"hash"`
	Captions []string `json:"captions"`
	URL      *string  `json:"url"`
	Family   int      `json:"family"`
}

func rows(t testing.TB) []written {
	t.Helper()
	data, err := os.ReadFile("testdata/pictures.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []written
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func open(t testing.TB, name string) *File {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(bytes.NewReader(data), int64(len(data)), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Files of three programs have the pictures and strings that were put into them, however they are divided into row
// groups and pages, and in any order of the pages.
func TestPictures(t *testing.T) {
	want := rows(t)
	for _, name := range []string{
		"duckdb_gzip", "duckdb_plain", "duckdb_snappy", "duckdb_zstd", "js_plain", "rust_groups_v2", "rust_pages", "rust_snappy",
	} {
		f := open(t, name+".parquet")
		column := f.Member("image", "bytes")
		if column == nil {
			column, _ = f.Find("jpg")
		}
		if column == nil || f.NumRows() != int64(len(want)) {
			t.Fatalf("%s: %d rows, column %v", name, f.NumRows(), column)
		}
		var all [][]byte
		for g, group := range f.RowGroups() {
			k, err := column.Chunk(g)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			part := make([][]byte, group.NumRows())
			for row := group.NumRows() - 1; row >= 0; row-- {
				i, at := k.Page(row)
				b, err := k.Read(i)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				part[row] = b.Values[at]
			}
			all = append(all, part...)
		}
		for i := range want {
			if !bytes.Equal(all[i], want[i].Picture) || (all[i] == nil) != (want[i].Picture == nil) {
				t.Errorf("%s: picture %d is %x, want %x", name, i, all[i], want[i].Picture)
			}
		}
		var urls []*string
		column, err := f.Find("url")
		if err != nil {
			t.Fatal(err)
		}
		if err := column.Each(func(v parquet.Value) error {
			if v.IsNull() {
				urls = append(urls, nil)
			} else {
				s := string(v.ByteArray())
				urls = append(urls, &s)
			}
			return nil
		}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range want {
			if !reflect.DeepEqual(urls[i], want[i].URL) {
				t.Errorf("%s: url %d differs", name, i)
			}
		}
	}
}

func TestFind(t *testing.T) {
	f := open(t, "rust_snappy.parquet")
	if got, want := f.Names(), []string{"image", "captions", "url"}; !slices.Equal(got, want) {
		t.Errorf("columns %q, want %q", got, want)
	}
	if c, err := f.Find("image"); err == nil || !strings.Contains(err.Error(), "a group of several columns") {
		t.Errorf("a group: %v, %v", c, err)
	}
	if c, err := f.Find("none", "captions"); err != nil || c == nil || !c.IsList() {
		t.Errorf("a list: %v, %v", c, err)
	} else if _, err := c.Chunk(0); err == nil || !strings.Contains(err.Error(), "want one byte array in each row") {
		t.Errorf("pages of lists: %v", err)
	}
	if c, err := f.Find("none"); c != nil || err != nil {
		t.Errorf("a column that is not there: %v, %v", c, err)
	}
	if f.Member("image", "none") != nil || f.Member("url", "bytes") != nil || f.Member("image", "path") == nil {
		t.Error("members of groups: others, or none")
	}
	if _, err := open(t, "rust_delta.parquet").Member("image", "bytes").Chunk(0); err == nil || !strings.Contains(err.Error(), "encoding DELTA_BYTE_ARRAY: want plain") {
		t.Errorf("delta encoding: %v", err)
	}
}

// changed returns a file with another footer.
func changed(t testing.TB, name string, change func(meta *format.FileMetaData)) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	n := len(data) - 8 - int(binary.LittleEndian.Uint32(data[len(data)-8:]))
	var meta format.FileMetaData
	if err := codec.Unmarshal(&codec.CompactProtocol{}, data[n:len(data)-8], &meta); err != nil {
		t.Fatal(err)
	}
	change(&meta)
	footer, err := codec.Marshal(&codec.CompactProtocol{}, &meta)
	if err != nil {
		t.Fatal(err)
	}
	data = append(slices.Clone(data[:n]), footer...)
	return append(binary.LittleEndian.AppendUint32(data, uint32(len(footer))), "PAR1"...)
}

// Counts that are not those of the pages are errors, and take no memory.
func TestLyingCounts(t *testing.T) {
	for _, tt := range []struct {
		want   string
		change func(meta *format.FileMetaData)
	}{
		{"8 rows, and 7 in the row groups", func(m *format.FileMetaData) { m.NumRows++ }},
		{"row group 0 has -1 rows", func(m *format.FileMetaData) { m.RowGroups[0].NumRows = -1 }},
		{"want at most 2147483647 in all", func(m *format.FileMetaData) { m.RowGroups[0].NumRows = 1 << 40 }},
		{"row group 0: 7 values in 8 rows", func(m *format.FileMetaData) { m.NumRows, m.RowGroups[0].NumRows = 8, 8 }},
		{"pages of 7 values, and 1000000000 in the footer", func(m *format.FileMetaData) {
			m.NumRows, m.RowGroups[0].NumRows = 1e9, 1e9
			for i := range m.RowGroups[0].Columns {
				m.RowGroups[0].Columns[i].MetaData.NumValues = 1e9
			}
		}},
		{"where the pages end at", func(m *format.FileMetaData) { m.RowGroups[0].Columns[0].MetaData.TotalCompressedSize = 1 << 50 }},
		{"where the pages end at", func(m *format.FileMetaData) { m.RowGroups[0].Columns[0].MetaData.DataPageOffset = -5 }},
		{"where the pages end at", func(m *format.FileMetaData) { m.RowGroups[0].Columns[0].MetaData.DataPageOffset = 1 << 60 }},
		{"does not have enough columns", func(m *format.FileMetaData) { m.RowGroups[0].Columns = m.RowGroups[0].Columns[:0] }},
	} {
		data := changed(t, "duckdb_snappy.parquet", tt.change)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var err error
		if f, bad := Open(bytes.NewReader(data), int64(len(data)), 1<<20); bad != nil {
			err = bad
		} else if _, bad := f.Member("image", "bytes").Chunk(0); bad != nil {
			err = bad
			if each := f.Member("image", "bytes").Each(func(parquet.Value) error { return nil }); each == nil {
				t.Errorf("%s: no error from Each", tt.want)
			}
		}
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 8<<20 {
			t.Errorf("%s: %d bytes of memory", tt.want, took)
		}
	}
	// A list says by its levels how many rows there are.
	data := changed(t, "rust_snappy.parquet", func(m *format.FileMetaData) { m.NumRows, m.RowGroups[0].NumRows = 8, 8 })
	f, err := Open(bytes.NewReader(data), int64(len(data)), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.Find("captions")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Each(func(parquet.Value) error { return nil }); err == nil || !strings.Contains(err.Error(), "row group 0: 7 rows, and 8 in the footer") {
		t.Errorf("lists: %v", err)
	}
}

// readAll reads everything of a file, and reports how many bytes came.
func readAll(data []byte) (n int, err error) {
	f, err := Open(bytes.NewReader(data), int64(len(data)), 1<<22)
	if err != nil {
		return 0, err
	}
	var leaves func(c *parquet.Column) error
	leaves = func(c *parquet.Column) error {
		for _, child := range c.Columns() {
			if err := leaves(child); err != nil {
				return err
			}
		}
		if !c.Leaf() {
			return nil
		}
		column := &Column{c, f}
		for g := range f.RowGroups() {
			if c.Type().Kind() != parquet.ByteArray || column.IsList() {
				break
			}
			k, err := column.Chunk(g)
			if err != nil {
				return err
			}
			for i := range k.pages {
				b, err := k.Read(i)
				if err != nil {
					return err
				}
				for _, v := range b.Values {
					n += len(v)
				}
			}
		}
		return column.Each(func(v parquet.Value) error { return nil })
	}
	return n, leaves(f.Root())
}

// One byte changed anywhere is an error or other values, in bounded memory.
func TestDamaged(t *testing.T) {
	for _, name := range []string{"rust_snappy", "duckdb_gzip"} {
		whole, err := os.ReadFile("testdata/" + name + ".parquet")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readAll(whole); err != nil {
			t.Fatal(err)
		}
		for at := range whole {
			data := bytes.Clone(whole)
			data[at] ^= [...]byte{0x01, 0xff, 0x80}[at%3]
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := readAll(data)
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
				t.Errorf("%s: byte %d: %d bytes of memory (%v)", name, at, took, err)
			}
		}
		for n := range whole {
			if _, err := readAll(whole[:n]); err == nil {
				t.Fatalf("%s: the first %d of %d bytes: no error", name, n, len(whole))
			}
		}
	}
}

func FuzzFile(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.parquet")
	if err != nil || len(paths) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { readAll(data) })
}

// Runs and packed groups by hand, after the example of the format's page: 0 … 7 of three bits are 88 c6 fa.
func TestHybrid(t *testing.T) {
	for _, tt := range []struct {
		data  []byte
		width int
		want  []uint32
		err   string
	}{
		{[]byte{3, 0x88, 0xc6, 0xfa}, 3, []uint32{0, 1, 2, 3, 4, 5, 6, 7}, ""},
		{[]byte{3, 0x88, 0xc6}, 3, []uint32{0, 1, 2, 3, 4}, ""},                // cut short
		{[]byte{0xff, 0xff, 3, 0x88, 0xc6}, 3, []uint32{0, 1, 2, 3, 4}, ""},    // more than are asked for
		{[]byte{6, 5, 3, 0x88, 0xc6, 0xfa}, 3, []uint32{5, 5, 5, 0, 1, 2}, ""}, // a run first
		{[]byte{4, 1, 2, 3, 4}, 32, []uint32{0x04030201, 0x04030201}, ""},      // whole words
		{[]byte{9, 0, 1, 2, 3, 4, 5, 6, 7}, 8, []uint32{0, 1, 2, 3, 4, 5, 6, 7}, ""},
		{[]byte{4}, 0, []uint32{0, 0}, ""},
		{[]byte{3}, 0, []uint32{0, 0}, ""},
		{[]byte{3, 0x88}, 3, make([]uint32, 8), "beyond the page"},
		{[]byte{1, 0x88}, 3, make([]uint32, 8), "a run of no numbers"},
		{[]byte{0, 0x88}, 3, make([]uint32, 8), "or of none"},
		{[]byte{4}, 3, make([]uint32, 2), "beyond the page"},
		{nil, 3, make([]uint32, 2), "end 2 before their count"},
		{bytes.Repeat([]byte{0xff}, 11), 3, make([]uint32, 2), "end 2 before their count"},
	} {
		var got []uint32
		err := hybrid(tt.data, tt.width, len(tt.want), func(v uint32) error {
			got = append(got, v)
			return nil
		})
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%x: error %v, want %q", tt.data, err, tt.err)
			}
		} else if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%x: %v, %v, want %v", tt.data, got, err, tt.want)
		}
	}
}

// A page that unpacks to more than its header says is not given to the library, which would make room for it all.
func TestPackedPages(t *testing.T) {
	var zeros bytes.Buffer
	z := gzip.NewWriter(&zeros)
	if _, err := z.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unpacks(format.Gzip, zeros.Bytes(), 100); err == nil || !strings.Contains(err.Error(), "unpacks to 101 bytes, and its header says 100") {
		t.Errorf("gzip: %v", err)
	}
	if err := unpacks(format.Snappy, binary.AppendUvarint(nil, 1<<31), 100); err == nil || !strings.Contains(err.Error(), "unpacks to 2147483648") {
		t.Errorf("snappy: %v", err)
	}
	if err := unpacks(format.Gzip, zeros.Bytes(), 1<<20); err != nil {
		t.Errorf("gzip: %v", err)
	}
}
