package embeddings

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// What testdata/make_numpy.py and make_parquet.mjs put into their files.
var (
	ids      = []string{"a1b2", "c3", "ünï", "名前", "e"}
	captions = []string{"{Subject} growing", "", "two 🙂 faces", "x", "a longer caption than the others"}
	urls     = []string{"https://example.org/0", "https://example.org/1", "https://example.org/2", "https://example.org/3", "https://example.org/4"}
)

// numbers returns the values that the files were made of.
func numbers(t *testing.T) []float64 {
	t.Helper()
	data, err := os.ReadFile("testdata/values.f8")
	if err != nil {
		t.Fatal(err)
	}
	list := make([]float64, len(data)/8)
	for i := range list {
		list[i] = math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:]))
	}
	return list
}

func TestRead(t *testing.T) {
	exact := numbers(t)
	none := []string(nil)
	for _, tt := range []struct {
		file      string
		tolerance float64 // relative: half a unit of the type's last place
		ids       []string
		captions  []string
		urls      []string
	}{
		{"f2.npy", 0x1p-11, none, none, none},
		{"f2_big.npy", 0x1p-11, none, none, none},
		{"f4.npy", 0x1p-24, none, none, none},
		{"f4_big.npy", 0x1p-24, none, none, none},
		{"f8.npy", 0x1p-24, none, none, none},
		{"fortran.npy", 0x1p-24, none, none, none},
		{"version2.npy", 0x1p-24, none, none, none},
		{"version3.npy", 0x1p-24, none, none, none},
		{"paper.npz", 0x1p-24, ids, captions, urls},
		{"stored.npz", 0x1p-24, ids, captions, urls},
		{"odd.npz", 0x1p-11, []string{"-2", "-1", "0", "1", "2"}, []string{"a", "bc", "", "d", "e"}, none},
		{"big.npz", 0x1p-24, ids, []string{"0", "1", "2", "3", "4"}, none},
		{"f4.parquet", 0x1p-24, ids, captions, urls},
		{"f8_zstd.parquet", 0x1p-24, ids, captions, urls},
		{"f2_gzip.parquet", 0x1p-11, ids, captions, urls},
		{"v2_groups.parquet", 0x1p-24, ids, captions, urls},
		{"plain.parquet", 0x1p-24, ids, captions, urls},
	} {
		t.Run(tt.file, func(t *testing.T) {
			table, err := Read("testdata/" + tt.file)
			if err != nil {
				t.Fatal(err)
			}
			if table.Dim != 3 || table.Len() != 5 {
				t.Fatalf("%d rows of width %d, want 5 of 3", table.Len(), table.Dim)
			}
			for i, want := range exact {
				if got := float64(table.Vectors[i]); !(math.Abs(got-want) <= tt.tolerance*math.Abs(want)) {
					t.Errorf("value %d is %v, want %v", i, got, want)
				}
			}
			for _, column := range []struct {
				name      string
				got, want []string
			}{{"ids", table.IDs, tt.ids}, {"captions", table.Captions, tt.captions}, {"urls", table.URLs, tt.urls}} {
				if !reflect.DeepEqual(column.got, column.want) {
					t.Errorf("%s %q, want %q", column.name, column.got, column.want)
				}
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	for file, want := range map[string]string{
		"objects.npz":        "image_ids: header .*: an array of Python objects is a pickle.* Save strings as np.array",
		"object_vectors.npz": "embeddings: header .*pickle.*np.stack",
		"one_dimension.npy":  "shape [3]: want (pictures, width)",
		"integers.npy":       "values of kind 'i': want float16, 32 or 64",
		"records.npy":        "an array of records",
		"brotli.parquet":     "compressed by BROTLI: want snappy, gzip, zstd or none",
		"delta.parquet":      "encoding DELTA_BYTE_ARRAY: want plain or dictionary pages",
		"integers.parquet":   "want lists of float16, float or double",
		"values.f8":          "the ending says no format: want .npz, .npy, .parquet",
		"none.npz":           "no such file",
	} {
		_, err := Read("testdata/" + file)
		if err == nil {
			t.Errorf("%s: no error", file)
			continue
		}
		rest := err.Error()
		for part := range strings.SplitSeq(want, ".*") { // the parts in their order
			at := strings.Index(rest, part)
			if at < 0 {
				t.Errorf("%s: error %q, want %q", file, err, want)
				break
			}
			rest = rest[at+len(part):]
		}
		if !strings.HasPrefix(err.Error(), "embeddings: ") || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: error %q names package and file", file, err)
		}
	}
	if _, err := Read(t.TempDir() + "/"); err == nil {
		t.Error("a folder: no error")
	}
}

// npy returns an array with a header of one's own.
func npy(header string, body int) []byte {
	b := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
	return append(append(b, header...), make([]byte, body)...)
}

func TestHostileArrays(t *testing.T) {
	shape := func(descr, shape string) string {
		return "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }"
	}
	for _, tt := range []struct {
		data []byte
		want string
	}{
		{nil, "not a NumPy array: unexpected EOF"},
		{[]byte("\x93NUMPX\x01\x00\x00\x00"), "it begins with"},
		{[]byte("\x93NUMPY\x09\x00\x00\x00"), "version 9.0"},
		{[]byte("\x93NUMPY\x02\x00\xff\xff\xff\xff"), "a header of 4294967295 bytes in 12"},
		{npy(shape("<f4", "(9223372036854775808, 1)"), 4), "a side below 2⁶³"},
		{npy(shape("<f4", "(9223372036854775807, 4)"), 4), "too many values"},
		{npy(shape("<f4", "(4611686018427387904, 1)"), 4), "too many bytes"},
		{npy(shape("<f4", "(-1, 4)"), 4), "where a side"},
		{npy(shape("<f4", "(300000000, 4)"), 12), "asks for 4800000"},
		{npy(shape("<f4", "(1, 1)"), 8), "asks for"},
		{npy(shape("<f4", "(0, 4)"), 0), "shape [0 4]"},
		{npy(shape("<f4", "("+strings.Repeat("1,", 40)+")"), 4), "more than 32 dimensions"},
		{npy(shape("<c8", "(1, 1)"), 8), `descr "<c8": want`},
		{npy(shape("<f16", "(1, 1)"), 16), `descr "<f16": want`},
		{npy(shape("<U99999999", "(1,)"), 16), "strings of more than 1048576"},
		{npy(shape("", "(1, 1)"), 4), "no type"},
		{npy("{'descr': '<f4', 'descr': '<f4'}", 4), "is there twice"},
		{npy("{'descr': '<f4'}", 4), `no "fortran_order"`},
		{npy("{'descr': '<f4', 'x': 3}", 4), `unknown key "x"`},
		{npy(shape("<f4", "(1, 1)")+"x", 4), "after the end"},
		{npy("{'descr': __import__('os')}", 4), "where a string was expected"},
		{npy("{'descr': '<f4', 'fortran_order': 1}", 4), "neither True nor False"},
	} {
		_, err := ReadFrom(bytes.NewReader(tt.data), int64(len(tt.data)), ".npy")
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.80q: error %v, want %q", tt.data, err, tt.want)
		}
	}
	nan := npy(shape("<f4", "(1, 2)"), 8)
	binary.LittleEndian.PutUint32(nan[len(nan)-4:], math.Float32bits(float32(math.NaN())))
	if _, err := ReadFrom(bytes.NewReader(nan), int64(len(nan)), ".npy"); err == nil || !strings.Contains(err.Error(), "row 0 has the value NaN at 1") {
		t.Errorf("NaN: %v", err)
	}
	wide := npy(shape("<f8", "(1, 1)"), 8)
	binary.LittleEndian.PutUint64(wide[len(wide)-8:], math.Float64bits(1e300))
	if _, err := ReadFrom(bytes.NewReader(wide), int64(len(wide)), ".npy"); err == nil || !strings.Contains(err.Error(), "+Inf") {
		t.Errorf("1e300: %v", err)
	}
}

// archive returns a .npz of these members.
func archive(t *testing.T, method uint16, members ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		w, err := z.CreateHeader(&zip.FileHeader{Name: members[i].(string), Method: method})
		if err == nil {
			_, err = w.Write(members[i+1].([]byte))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestHostileArchives(t *testing.T) {
	vectors := npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1)}", 8)
	three := npy("{'descr': '<U1', 'fortran_order': False, 'shape': (3,)}", 12)
	lone := npy("{'descr': '<U1', 'fortran_order': False, 'shape': (2,)}", 8)
	lone[len(lone)-3] = 0xd8 // half of a pair
	cut := archive(t, zip.Store, "embeddings.npy", vectors)
	flipped := bytes.Clone(cut)
	flipped[bytes.Index(flipped, vectors)+len(vectors)-1] = 1
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"no archive":  {[]byte("PK"), "not a .npz archive"},
		"other names": {archive(t, zip.Store, "x.npy", vectors), `no array "embeddings"`},
		"twice":       {archive(t, zip.Store, "embeddings.npy", vectors, "embeddings", vectors), `two arrays "embeddings"`},
		"three ids":   {archive(t, zip.Store, "embeddings.npy", vectors, "image_ids.npy", three), "image_ids: shape [3]: want (2)"},
		"surrogate":   {archive(t, zip.Store, "embeddings.npy", vectors, "image_ids.npy", lone), "0xd800 is no character"},
		"no id":       {archive(t, zip.Store, "embeddings.npy", vectors, "image_ids.npy", npy("{'descr': '<U1', 'fortran_order': False, 'shape': (2,)}", 8)), "row 0 has no id"},
		"checksum":    {flipped, "checksum"},
		"numbers":     {archive(t, zip.Store, "embeddings.npy", vectors, "captions.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 8)), "captions: floating-point numbers"},
		"bomb":        {archive(t, zip.Deflate, "embeddings.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (100, 300000)}", 4*100*300000)), "more than 64 times"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := ReadFrom(bytes.NewReader(tt.data), int64(len(tt.data)), ".npz")
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", name, err, tt.want)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 8<<20 {
			t.Errorf("%s: an error took %d bytes", name, took)
		}
	}
}

// The arrays of an archive are byte for byte those that NumPy writes, and so is a lone array.
func TestWriteAsNumPy(t *testing.T) {
	table, err := Read("testdata/paper.npz")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := Write(filepath.Join(dir, "x.npz"), table); err != nil {
		t.Fatal(err)
	}
	got, want := members(t, filepath.Join(dir, "x.npz")), members(t, "testdata/paper.npz")
	delete(want, "model_type.npy")
	if len(got) != len(want) {
		t.Errorf("%d arrays, want %d", len(got), len(want))
	}
	for name := range want {
		if !bytes.Equal(got[name], want[name]) {
			t.Errorf("%s: %d bytes, and NumPy's %d differ:\n%.200q\n%.200q", name, len(got[name]), len(want[name]), got[name], want[name])
		}
	}
	if err := Write(filepath.Join(dir, "x.npy"), table); err != nil {
		t.Fatal(err)
	}
	mine, err := os.ReadFile(filepath.Join(dir, "x.npy"))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := os.ReadFile("testdata/f4.npy")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(mine, theirs) {
		t.Errorf("%q, and NumPy's %q", mine, theirs)
	}
}

func members(t *testing.T, path string) map[string][]byte {
	t.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	all := make(map[string][]byte)
	for _, f := range z.File {
		body, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if all[f.Name], err = io.ReadAll(body); err != nil {
			t.Fatal(err)
		}
		body.Close()
	}
	return all
}

func TestRoundTrip(t *testing.T) {
	large := &Table{Dim: 33} // several pages and buffers
	for i := range 33 * 3000 {
		large.Vectors = append(large.Vectors, float32(i)-0.5)
	}
	for i := range large.Len() {
		large.IDs = append(large.IDs, strings.Repeat("i", 1+i%7)+string(rune('a'+i%26)))
	}
	for _, table := range []*Table{
		large,
		{Dim: 2, Vectors: []float32{1, -2, math.MaxFloat32, math.SmallestNonzeroFloat32}, IDs: []string{"a", "b"}, Captions: []string{"", "ü\n\x00c"}},
		{Dim: 1, Vectors: []float32{1}, URLs: []string{"u"}},
		{Dim: 3, Vectors: []float32{1, 2, 3}},
	} {
		for _, format := range Formats {
			path := filepath.Join(t.TempDir(), "x"+format)
			if err := Write(path, table); err != nil {
				t.Fatal(err)
			}
			got, err := Read(path)
			if err != nil {
				t.Fatal(err)
			}
			want := *table
			if format == ".npy" {
				want = Table{Dim: want.Dim, Vectors: want.Vectors}
			}
			if !reflect.DeepEqual(got, &want) {
				t.Errorf("%s: %d rows of %d come back as %d of %d, or with other strings: %.80q", format, want.Len(), want.Dim, got.Len(), got.Dim, got.IDs)
			}
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	inf := float32(math.Inf(1))
	for want, table := range map[string]*Table{
		"0 values of width 1":                          {Dim: 1},
		"3 values of width 2":                          {Dim: 2, Vectors: []float32{1, 2, 3}},
		"1 embeddings with 2 image_ids":                {Dim: 2, Vectors: []float32{1, 2}, IDs: []string{"a", "b"}},
		"row 1 (b) has the value +Inf at 0":            {Dim: 1, Vectors: []float32{1, inf}, IDs: []string{"a", "b"}},
		"captions: row 0: \"\\xff\" is not UTF-8":      {Dim: 1, Vectors: []float32{1}, Captions: []string{"\xff"}},
		"row 0: \"a\\x00\" ends with a zero byte":      {Dim: 1, Vectors: []float32{1}, URLs: []string{"a\x00"}},
		"1 strings, the longest of 1048577 characters": {Dim: 1, Vectors: []float32{1}, URLs: []string{strings.Repeat("a", 1<<20+1)}},
	} {
		path := filepath.Join(t.TempDir(), "x.npz")
		if err := Write(path, table); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v (%v)", want, left, err)
		}
	}
}

func TestSelect(t *testing.T) {
	table := &Table{Dim: 2, Vectors: []float32{1, 2, 3, 4, 1, 2}, IDs: []string{"a", "b", "a"}}
	got, missing, err := table.Select([]string{"b", "x", "a"})
	if err != nil || !slices.Equal(got, []float32{3, 4, 0, 0, 1, 2}) || !slices.Equal(missing, []string{"x"}) {
		t.Errorf("%v, missing %q, %v", got, missing, err)
	}
	table.Vectors[5] = 3
	if _, _, err := table.Select([]string{"b"}); err == nil || !strings.Contains(err.Error(), `rows 0 and 2 both belong to "a"`) {
		t.Errorf("two embeddings of one picture: %v", err)
	}
	if _, _, err := (&Table{Dim: 1, Vectors: []float32{1}}).Select([]string{"b"}); err == nil || !strings.Contains(err.Error(), "no image ids") {
		t.Errorf("no ids: %v", err)
	}
}

// seeds adds the files of testdata with these endings.
func seeds(f *testing.F, ending string) {
	paths, err := filepath.Glob("testdata/*" + ending)
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
}

// read reads a fuzzed file: an error, or a table that fits together and comes back from a file.
func read(t *testing.T, data []byte, format string) {
	table, err := ReadFrom(bytes.NewReader(data), int64(len(data)), format)
	if err != nil {
		return
	}
	if err := table.check(); err != nil {
		t.Fatal(err)
	}
	if table.IDs != nil && table.Len()*table.Dim < 1<<16 {
		path := filepath.Join(t.TempDir(), "x.parquet")
		if err := Write(path, table); err != nil {
			t.Fatal(err)
		}
		again, err := Read(path)
		if err != nil || !reflect.DeepEqual(again, table) {
			t.Fatalf("a table of %d rows does not come back: %v", table.Len(), err)
		}
	}
}

func FuzzNPY(f *testing.F) {
	seeds(f, ".npy")
	f.Fuzz(func(t *testing.T, data []byte) { read(t, data, ".npy") })
}

func FuzzNPZ(f *testing.F) {
	seeds(f, ".npz")
	f.Fuzz(func(t *testing.T, data []byte) { read(t, data, ".npz") })
}

func FuzzParquet(f *testing.F) {
	seeds(f, ".parquet")
	f.Fuzz(func(t *testing.T, data []byte) { read(t, data, ".parquet") })
}

// One byte of a Parquet file changed, anywhere, is an error or other values, in bounded memory: the library's panics are
// caught, and the sizes that it would believe are checked.
func TestDamagedParquet(t *testing.T) {
	for _, file := range []string{"f8_zstd.parquet", "plain.parquet"} {
		whole, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for at := range whole {
			data := bytes.Clone(whole)
			for _, bits := range []byte{0x01, 0xff} {
				data[at] = whole[at] ^ bits
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, err := ReadFrom(bytes.NewReader(data), int64(len(data)), ".parquet")
				runtime.ReadMemStats(&after)
				if took := after.TotalAlloc - before.TotalAlloc; took > 2*freeSize {
					t.Errorf("%s: byte %d ^ %#x: %d bytes of memory (%v)", file, at, bits, took, err)
				}
			}
			data[at] = whole[at]
		}
		for n := range whole {
			if _, err := ReadFrom(bytes.NewReader(whole[:n]), int64(n), ".parquet"); err == nil {
				t.Fatalf("%s: the first %d of %d bytes: no error", file, n, len(whole))
			}
		}
	}
}
