package formats

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/parquet-go/parquet-go"
	codec "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"relsim/dataloader"
	"relsim/parquetfile"
)

const otherParquets = "../parquetfile/testdata/"

// Files of DuckDB, Arrow in Rust and hyparquet are read as they were written.
func TestParquetOfOthers(t *testing.T) {
	var rows []struct {
		Picture    []byte
		Path, Hash string
		Captions   []string
		URL        *string
	}
	text, err := os.ReadFile(otherParquets + "pictures.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &rows); err != nil || len(rows) != 7 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, name := range []string{"duckdb_gzip", "duckdb_plain", "duckdb_snappy", "duckdb_zstd", "js_plain", "rust_groups_v2", "rust_pages", "rust_snappy"} {
		ds := openSet(t, otherParquets+name+".parquet", Options{})
		if ds.Len() != len(rows) {
			t.Fatalf("%s: %d items, want %d", name, ds.Len(), len(rows))
		}
		for i, want := range rows {
			it := ds.Item(i)
			url, list := "", slices.Clone(want.Captions)
			if want.URL != nil {
				url = *want.URL
			}
			for k, c := range list {
				list[k] = strings.Trim(c, `"`)
			}
			if !strings.HasPrefix(name, "rust") && len(list) > 1 { // they hold the first caption
				list = list[:1]
			}
			caption := ""
			if len(list) > 0 {
				caption = list[0]
			}
			if len(list) < 2 {
				list = nil
			}
			row := fmt.Sprintf("%s.parquet:%d", name, i+1)
			if it.ID != want.Hash || it.URL != url || it.Caption != caption || !slices.Equal(it.Captions, list) || it.Row() != row {
				t.Errorf("%s: item %d is %+v, want %+v", name, i, it, want)
			}
			data, err := dataloader.Bytes(t.Context(), ds, i)
			if want.Picture == nil {
				if err == nil || err.Error() != "formats: read "+otherParquets+row+": the row has none" {
					t.Errorf("%s: picture %d, which is not there: %v", name, i, err)
				}
				continue
			}
			if err != nil || !bytes.Equal(data, want.Picture) {
				t.Errorf("%s: picture %d: %x, %v; want %x", name, i, data, err, want.Picture)
			}
			if im, err := ds.Image(t.Context(), i); err != nil || im.Width != 4 {
				t.Errorf("%s: picture %d: %v", name, i, err)
			}
		}
	}
	dir := writeFiles(t, map[string]string{"p3.png": "x"})
	ds := openSet(t, otherParquets+"rust_rows.parquet", Options{Images: dir})
	for i := range rows {
		if it := ds.Item(i); it.ID != rows[i].Hash || it.Family != i || it.Path != filepath.Join(dir, it.ID+".png") || it.Member != "" {
			t.Errorf("rows alone: item %d is %+v", i, it)
		}
	}
	if _, err := Open(t.Context(), otherParquets+"rust_rows.parquet", Options{}); err == nil || !strings.Contains(err.Error(), "open image folder") {
		t.Errorf("rows without a folder of pictures: %v", err)
	}
}

// writeParquet writes rows of one form into a file.
func writeRows[T any](t testing.TB, rows []T, options ...parquet.WriterOption) string {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b, options...)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Rows that cannot be are errors that name file and row; files that cannot be, the file.
func TestBrokenParquet(t *testing.T) {
	type hashes struct {
		Hash string `parquet:"image_hash,plain"`
	}
	type family struct {
		Image  []byte  `parquet:"image,plain"`
		Family float64 `parquet:"family,plain"`
	}
	type gravity struct {
		Image   []byte `parquet:"image,plain"`
		Gravity string `parquet:"gravity,plain"`
	}
	type lists struct {
		Image []byte   `parquet:"image,plain"`
		URL   []string `parquet:"url,list,plain"`
	}
	type pictures struct {
		Image [][]byte `parquet:"image,list,plain"`
	}
	type numbers struct {
		Image int64 `parquet:"image,plain"`
	}
	type words struct {
		Image []byte `parquet:"image,plain"`
		Text  string `parquet:"text,plain"`
	}
	type caption struct {
		Caption string `parquet:"caption,plain"`
	}
	good := words{[]byte("x"), "a"}
	for name, tt := range map[string]struct {
		data, want string
		o          Options
	}{
		"a path":         {writeRows(t, []hashes{{"a"}, {"../b"}}), `x.parquet:2: "image_hash" "../b" holds a path separator`, Options{}},
		"no picture":     {writeRows(t, []hashes{{"a"}, {""}}), "x.parquet:2: no picture: want one of the columns image, jpg", Options{}},
		"no pictures":    {writeRows(t, []caption{{"a"}}), "x.parquet:1: no picture", Options{}},
		"no number":      {writeRows(t, []family{{nil, 1}, {nil, 2}, {nil, 2.5}}), "x.parquet:3: column family: 2.5: want a whole number", Options{}},
		"no truth":       {writeRows(t, []gravity{{nil, "yes"}}), "x.parquet:1: column gravity: a value of BYTE_ARRAY: want true or false", Options{}},
		"lists":          {writeRows(t, []lists{{nil, []string{"a", "b"}}}), "x.parquet: column url: a column of lists: want one value in each row", Options{}},
		"list of images": {writeRows(t, []pictures{{[][]byte{{1}}}}), "x.parquet:1: no picture", Options{}},
		"numbers":        {writeRows(t, []numbers{{1}}), "x.parquet: column image: a column of", Options{}},
		"no UTF-8":       {writeRows(t, []words{good, {[]byte("x"), "\xff"}}), "x.parquet:2: column text: not UTF-8", Options{}},
		"long":           {writeRows(t, []words{good, {[]byte("x"), strings.Repeat("a", maxLine+1)}}), "x.parquet:2: column text: 1048577 bytes of text: want at most 1048576", Options{}},
		"no column":      {writeRows(t, []words{good}), `x.parquet: no column "photo" among ["image" "text"]`, Options{ImageKey: "photo"}},
		"no caption":     {writeRows(t, []words{good}), `x.parquet: no column "words" among ["image" "text"]`, Options{CaptionKey: "words"}},
		"no rows":        {writeRows(t, []words{}), "x.parquet: no rows", Options{}},
		"no Parquet":     {"PAR1 but no more than that", "x.parquet: not a Parquet file", Options{}},
		"short":          {"PAR1", "x.parquet: 4 bytes: too short for a Parquet file", Options{}},
	} {
		dir := writeFiles(t, map[string]string{"x.parquet": tt.data, "images/a.png": ""})
		_, err := Open(t.Context(), filepath.Join(dir, "x.parquet"), tt.o)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "formats: ") {
			t.Errorf("%s: error %v, want %q", name, err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := openParquet(ctx, []string{otherParquets + "duckdb_plain.parquet"}, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
}

// lying returns a file whose footer says other numbers.
func lying(t testing.TB, data string, change func(meta *format.FileMetaData)) string {
	t.Helper()
	n := len(data) - 8 - int(binary.LittleEndian.Uint32([]byte(data[len(data)-8:])))
	var meta format.FileMetaData
	if err := codec.Unmarshal(&codec.CompactProtocol{}, []byte(data[n:len(data)-8]), &meta); err != nil {
		t.Fatal(err)
	}
	change(&meta)
	footer, err := codec.Marshal(&codec.CompactProtocol{}, &meta)
	if err != nil {
		t.Fatal(err)
	}
	return data[:n] + string(footer) + string(binary.LittleEndian.AppendUint32(nil, uint32(len(footer)))) + "PAR1"
}

// Row counts that are not true are errors, in little memory.
func TestLyingParquet(t *testing.T) {
	type row struct {
		Image []byte `parquet:"image,plain"`
		Text  string `parquet:"text,plain"`
	}
	type alone struct {
		Image []byte `parquet:"image,plain"`
	}
	data := writeRows(t, []row{{[]byte("x"), "a"}, {[]byte("y"), "b"}})
	pictures := writeRows(t, []alone{{[]byte("x")}, {[]byte("y")}})
	claim := func(n int64, columns ...int) func(meta *format.FileMetaData) {
		return func(meta *format.FileMetaData) {
			meta.NumRows, meta.RowGroups[0].NumRows = n, n
			for _, c := range columns {
				meta.RowGroups[0].Columns[c].MetaData.NumValues = n
			}
		}
	}
	for name, tt := range map[string]struct{ data, want string }{
		"rows":         {lying(t, data, claim(1e9)), "x.parquet: column image: row group 0: 2 values in 1000000000 rows"},
		"texts":        {lying(t, data, claim(1e9, 0, 1)), "x.parquet: column text: row group 0: pages of 2 values, and 1000000000 in the footer"},
		"pictures":     {lying(t, data, claim(1e9, 0)), "x.parquet: column text: row group 0: 2 values in 1000000000 rows"},
		"all pictures": {lying(t, pictures, claim(1e9, 0)), "takes more than the 67108864 bytes of memory"},
		"the sum":      {lying(t, data, func(m *format.FileMetaData) { m.NumRows = 1 }), "1 rows, and 2 in the row groups"},
	} {
		path := filepath.Join(writeFiles(t, map[string]string{"x.parquet": tt.data}), "x.parquet")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Open(t.Context(), path, Options{})
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", name, err, tt.want)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 512<<20 {
			t.Errorf("%s: %d bytes of memory", name, took)
		}
	}
	// A few rows too many, where only the pictures could tell: these cannot be read.
	path := filepath.Join(writeFiles(t, map[string]string{"x.parquet": lying(t, pictures, claim(5, 0))}), "x.parquet")
	ds := openSet(t, path, Options{})
	if _, err := ds.Image(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "x.parquet:1: row group 0: pages of 2 values, and 5 in the footer") {
		t.Errorf("error %v", err)
	}
}

// Pictures are read page by page, whatever the order: memory is that of the pages that are kept, not that of the file.
func TestParquetMemory(t *testing.T) {
	type row struct {
		Image []byte `parquet:"image,plain"`
		Text  string `parquet:"text,plain"`
	}
	const rows, picture, limit = 256, 256 << 10, 4 << 20 // 64 MiB in 16 row groups
	want := make([][]byte, rows)
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b, parquet.Compression(&parquet.Snappy), parquet.PageBufferSize(1<<20), parquet.MaxRowsPerRowGroup(16),
		parquet.SkipPageBounds("image")) // the writer would put pictures into the footer
	for i := range rows {
		want[i] = bytes.Repeat([]byte{byte(i), byte(i >> 8), 3, 5}, picture/4)
		for k := 0; k < picture; k += 64 {
			binary.LittleEndian.PutUint64(want[i][k:], uint64(i*picture+k)*0x9e3779b97f4a7c15)
		}
		if _, err := w.Write([]row{{want[i], "a"}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(writeFiles(t, map[string]string{"x.parquet": b.String()}), "x.parquet")
	b = bytes.Buffer{}
	sums := make([]uint32, rows)
	for i := range want {
		sums[i] = binary.LittleEndian.Uint32(want[i][64:])
	}
	want = nil
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	base := heap()
	cache := newPageCache(limit, 8<<20)
	ds, err := openParquetWith(t.Context(), []string{path}, Options{}, cache)
	if err != nil {
		t.Fatal(err)
	}
	if took := heap() - base; took > 1<<20 {
		t.Errorf("opening takes %d bytes", took)
	}
	most := int64(0)
	var buf []byte
	for n := range rows {
		i := n * 77 % rows
		data, err := dataloader.Bytes(t.Context(), ds, i)
		if err != nil || len(data) != picture || binary.LittleEndian.Uint32(data[64:]) != sums[i] {
			t.Fatalf("picture %d: %d bytes, %v", i, len(data), err)
		}
		buf = data
		if n%32 == 31 {
			most = max(most, heap()-base)
		}
	}
	runtime.KeepAlive(buf)
	if most > limit+4<<20 {
		t.Errorf("reading takes %d bytes, want about the %d of the pages that are kept", most, limit)
	}
	if cache.used > limit+2<<20 || cache.last.Len() != len(cache.pages) {
		t.Errorf("%d bytes of pages are kept, %d pages in the list and %d by name", cache.used, cache.last.Len(), len(cache.pages))
	}
	runtime.KeepAlive(ds)
}

// A page that several goroutines ask for is read once; one that could not be read is tried again; the last one stays,
// however large.
func TestPageCache(t *testing.T) {
	c := newPageCache(100, 50)
	var reads atomic.Int64
	read := func(size int64) func() (*parquetfile.ByteArrays, error) {
		return func() (*parquetfile.ByteArrays, error) {
			reads.Add(1)
			return &parquetfile.ByteArrays{Size: size}, nil
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if p, err := c.get(t.Context(), pageKey{page: 1}, 1000, read(7)); err != nil || p.Size != 7 {
				t.Errorf("%v, %v", p, err)
			}
		})
	}
	wg.Wait()
	if reads.Load() != 1 {
		t.Errorf("a page is read %d times", reads.Load())
	}
	failed := errors.New("failed")
	for range 2 {
		if _, err := c.get(t.Context(), pageKey{page: 2}, 1, func() (*parquetfile.ByteArrays, error) { return nil, failed }); err != failed {
			t.Errorf("error %v", err)
		}
	}
	for n := range 3 {
		if _, err := c.get(t.Context(), pageKey{page: 3 + n%2}, 1, read(1e6)); err != nil {
			t.Error(err)
		}
	}
	if reads.Load() != 4 || c.last.Len() != 1 || len(c.pages) != 1 || c.used != 1e6+emptyPages {
		t.Errorf("%d reads, %d pages of %d bytes are kept", reads.Load(), c.last.Len(), c.used)
	}
}

// The order through a buffer keeps to row groups.
func TestParquetGroups(t *testing.T) {
	ds := openSet(t, writeFiles(t, parquetsOf(t, samples(t), 9, oursIn)), Options{}) // 4 4 1, 4 4
	groups := ds.(dataloader.Grouped).Groups()
	if want := []int32{0, 0, 0, 0, 1, 1, 1, 1, 2, 3, 3, 3, 3, 4, 4, 4, 4}; !slices.Equal(groups, want) {
		t.Errorf("groups %v, want %v", groups, want)
	}
	dir := writeFiles(t, withPictures(samples(t), "images", parquetsOf(t, samples(t), 9, rowsIn)))
	groups = openSet(t, dir, Options{}).(dataloader.Grouped).Groups()
	if want := []int32{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1}; !slices.Equal(groups, want) {
		t.Errorf("groups %v, want %v", groups, want)
	}
}

// IDs come from what names a picture, and are told apart where only the place does.
func TestIDsOfParquet(t *testing.T) {
	type row struct {
		Image hfImage `parquet:"image"`
	}
	dir := writeFiles(t, map[string]string{"a.parquet": writeRows(t, []row{
		{hfImage{[]byte("x"), "folder/one.png"}}, {hfImage{[]byte("x"), "/home/someone/two.jpg"}}, {hfImage{[]byte("x"), ""}}, {hfImage{[]byte("x"), "../.."}},
		{hfImage{[]byte("x"), "image.png"}}, {hfImage{[]byte("x"), "image.png"}}, {hfImage{[]byte("x"), `C:\pics\three.webp`}},
	})})
	ds := openSet(t, filepath.Join(dir, "a.parquet"), Options{})
	var ids []string
	for i := range ds.Len() {
		ids = append(ids, ds.Item(i).ID)
	}
	if want := []string{"folder/one", "two", "a-3", "a-4", "a/image", "a/image-2"}; !slices.Equal(ids[:6], want) || !strings.HasSuffix(ids[6], "three") {
		t.Errorf("IDs %q, want %q", ids, want)
	}
}

func FuzzParquetRows(f *testing.F) {
	paths, err := filepath.Glob(otherParquets + "*.parquet")
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
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.parquet")
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		ds, err := openParquet(t.Context(), []string{path}, Options{Images: dir})
		if err != nil {
			return
		}
		for i := range min(ds.Len(), 20) {
			if it := ds.Item(i); it.ID == "" || it.Path == "" || it.Line != i+1 {
				t.Fatalf("item %d: %+v", i, it)
			}
			dataloader.Bytes(t.Context(), ds, i)
		}
	})
}
