package checkpoints_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"relsim/checkpoints"
)

const dtypesDir = "testdata/safetensors_dtypes"

func open(t *testing.T, path string) *checkpoints.File {
	t.Helper()
	f, err := checkpoints.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestEveryTypeIsExact(t *testing.T) {
	model := open(t, filepath.Join(dtypesDir, "model.safetensors"))
	golden := open(t, filepath.Join(dtypesDir, "golden.safetensors"))
	if got, want := model.Metadata(), map[string]string{"format": "pt", "note": "dtype fixture"}; !reflect.DeepEqual(got, want) {
		t.Errorf("metadata %v, want %v", got, want)
	}
	names := golden.Names()
	if len(names) != 12 {
		t.Fatalf("%d golden tensors: %v", len(names), names)
	}
	if want := append(slices.Clone(names), "empty"); len(model.Names()) != len(want) {
		t.Errorf("names %v, want %v", model.Names(), want)
	}
	for _, name := range names {
		got, shape, err := model.Float32(name)
		if err != nil {
			t.Fatal(err)
		}
		want, wantShape, err := golden.Float32(name)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(shape, wantShape) {
			t.Errorf("%s: shape %v, want %v", name, shape, wantShape)
		}
		for i := range want {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
				t.Errorf("%s[%d]: %v, want %v", name, i, got[i], want[i])
			}
		}
		tensor, err := model.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := checkpoints.Float32s(tensor); err != nil || !slices.Equal(again, want) {
			t.Errorf("%s: Float32s %v (%v), want %v", name, again, err, want)
		}
	}
	empty, shape, err := model.Float32("empty")
	if err != nil || len(empty) != 0 || !slices.Equal(shape, []int{0, 4}) {
		t.Errorf("empty: %v of shape %v, %v", empty, shape, err)
	}
	if _, _, err := model.Float32("absent"); err == nil || !strings.Contains(err.Error(), `no tensor "absent"`) {
		t.Errorf("absent tensor: %v", err)
	}
}

func TestIntegersAreExact(t *testing.T) {
	model := open(t, filepath.Join(dtypesDir, "model.safetensors"))
	b, err := os.ReadFile(filepath.Join(dtypesDir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Int map[string][][]int64 `json:"int_exact"`
	}
	if err := json.Unmarshal(b, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Int) != 5 {
		t.Fatalf("%d integer tensors in golden.json", len(golden.Int))
	}
	for name, rows := range golden.Int {
		got, _, err := model.Int64(name)
		if err != nil {
			t.Fatal(err)
		}
		if want := slices.Concat(rows...); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if _, _, err := model.Int64("f32"); err == nil || !strings.Contains(err.Error(), "integers are asked for") {
		t.Errorf("Int64 of F32: %v", err)
	}
}

func TestUnsigned(t *testing.T) {
	le := binary.LittleEndian
	tensors := []checkpoints.Tensor{
		{Name: "u16", DType: checkpoints.U16, Shape: []int{2}, Data: le.AppendUint16(le.AppendUint16(nil, 65535), 7)},
		{Name: "u32", DType: checkpoints.U32, Shape: []int{1}, Data: le.AppendUint32(nil, 1<<32-1)},
		{Name: "u64", DType: checkpoints.U64, Shape: []int{1}, Data: le.AppendUint64(nil, 1<<64-1)},
	}
	f := roundTrip(t, tensors, nil)
	for name, want := range map[string]float32{"u16": 65535, "u32": 1 << 32, "u64": 1 << 64} {
		if got, _, err := f.Float32(name); err != nil || got[0] != want {
			t.Errorf("%s: %v (%v), want %v", name, got, err, want)
		}
	}
	if got, _, err := f.Int64("u32"); err != nil || got[0] != 1<<32-1 {
		t.Errorf("u32: %v, %v", got, err)
	}
	if _, _, err := f.Int64("u64"); err == nil {
		t.Error("2⁶⁴-1 fits in an int64")
	}
}

// Every binary16 value, against arithmetic on its three parts.
func TestHalf(t *testing.T) {
	data := make([]byte, 2<<16)
	for h := range 1 << 16 {
		binary.LittleEndian.PutUint16(data[2*h:], uint16(h))
	}
	got, err := checkpoints.Float32s(checkpoints.Tensor{Name: "h", DType: checkpoints.F16, Shape: []int{1 << 16}, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	for h := range 1 << 16 {
		sign, exponent, fraction := 1.0, h>>10&31, float64(h&1023)
		if h>>15 == 1 {
			sign = math.Copysign(1, -1)
		}
		want := sign * (1 + fraction/1024) * math.Pow(2, float64(exponent-15))
		switch {
		case exponent == 0:
			want = sign * fraction / 1024 * math.Pow(2, -14)
		case exponent == 31 && fraction == 0:
			want = sign * math.Inf(1)
		case exponent == 31:
			if !math.IsNaN(float64(got[h])) {
				t.Fatalf("%#04x: %v, want NaN", h, got[h])
			}
			continue
		}
		if math.Float64bits(float64(got[h])) != math.Float64bits(want) {
			t.Fatalf("%#04x: %v, want %v", h, got[h], want)
		}
	}
}

// The golden file was written by the reference implementation: writing its
// tensors gives its bytes, in whatever order they come.
func TestEncodeAsReference(t *testing.T) {
	want, err := os.ReadFile(filepath.Join(dtypesDir, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	f := open(t, filepath.Join(dtypesDir, "golden.safetensors"))
	var tensors []checkpoints.Tensor
	for _, name := range f.Names() {
		tensor, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, tensor)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(tensors), func(i, j int) { tensors[i], tensors[j] = tensors[j], tensors[i] })
	var b bytes.Buffer
	if err := checkpoints.Encode(&b, tensors, nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%d bytes differ from the reference's %d:\n%.300q\n%.300q", b.Len(), len(want), b.Bytes(), want)
	}
}

// Types come widest first, as the reference implementation orders them, so that
// every tensor is aligned to its type.
func TestOrderOfTypes(t *testing.T) {
	order := []checkpoints.DType{"U64", "I64", "F64", "F32", "U32", "I32", "BF16", "F16", "U16", "I16", "I8", "U8", "BOOL"}
	var tensors []checkpoints.Tensor
	for i, d := range order { // three values of each; names fall where types should rise
		tensors = append(tensors, checkpoints.Tensor{Name: string(rune('z' - i)), DType: d, Shape: []int{3}, Data: make([]byte, 3*d.Size())})
	}
	slices.Reverse(tensors)
	var b bytes.Buffer
	if err := checkpoints.Encode(&b, tensors, nil); err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(b.Bytes())
	if n%8 != 0 {
		t.Errorf("the data begins at %d", 8+n)
	}
	at := 0
	rest := string(b.Bytes()[8 : 8+n])
	for i, d := range order {
		want := fmt.Sprintf(`"%c":{"dtype":"%s","shape":[3],"data_offsets":[%d,%d]}`, 'z'-i, d, at, at+3*d.Size())
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("%s is not in %s", want, rest)
		}
		rest = after
		if at%d.Size() != 0 {
			t.Errorf("%s begins at %d", d, at)
		}
		at += 3 * d.Size()
	}
}

func roundTrip(t *testing.T, tensors []checkpoints.Tensor, metadata map[string]string) *checkpoints.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := checkpoints.Write(path, tensors, metadata); err != nil {
		t.Fatal(err)
	}
	return open(t, path)
}

func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var tensors []checkpoints.Tensor
	for _, d := range []checkpoints.DType{"BOOL", "U8", "I8", "I16", "U16", "F16", "BF16", "I32", "U32", "F32", "F64", "I64", "U64"} {
		for _, shape := range [][]int{{}, {0}, {3}, {2, 0, 5}, {2, 3, 5}} {
			n := d.Size()
			for _, s := range shape {
				n *= s
			}
			data := make([]byte, n)
			for i := range data {
				data[i] = byte(rng.Uint32())
			}
			tensors = append(tensors, checkpoints.Tensor{Name: fmt.Sprintf("%s<&>\"\\\u2028ü%v", d, shape), DType: d, Shape: shape, Data: data})
		}
	}
	metadata := map[string]string{"format": "pt", "schlüssel": "wert\n", "a": ""}
	f := roundTrip(t, tensors, metadata)
	if !reflect.DeepEqual(f.Metadata(), metadata) {
		t.Errorf("metadata %q, want %q", f.Metadata(), metadata)
	}
	if len(f.Names()) != len(tensors) || !slices.IsSorted(f.Names()) {
		t.Errorf("names %q", f.Names())
	}
	for _, want := range tensors {
		got, err := f.Tensor(want.Name)
		if err != nil {
			t.Fatal(err)
		}
		if got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	one := checkpoints.FromFloat32("a", []int{1}, []float32{1})
	for want, tensors := range map[string][]checkpoints.Tensor{
		"twice":                {one, one},
		"reserved":             {checkpoints.FromFloat32("__metadata__", []int{1}, []float32{1})},
		"not UTF-8":            {checkpoints.FromFloat32("\xff", []int{1}, []float32{1})},
		`unknown type "F8"`:    {{Name: "a", DType: "F8", Shape: []int{1}, Data: []byte{1}}},
		"with 4 bytes":         {{Name: "a", DType: "F32", Shape: []int{2}, Data: make([]byte, 4)}},
		"negative":             {{Name: "a", DType: "F32", Shape: []int{-1}, Data: make([]byte, 4)}},
		"more than 2⁶³-1":      {{Name: "a", DType: "U8", Shape: []int{1 << 40, 1 << 40, 0}}},
		"[4611686018427387904": {{Name: "a", DType: "F32", Shape: []int{1 << 62}}},
	} {
		err := checkpoints.Encode(&bytes.Buffer{}, tensors, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestInvalidFiles(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(dtypesDir, "invalid", "*.safetensors"))
	if err != nil || len(files) != 6 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	want := map[string]string{
		"bad_header_length_huge":    "header of 4611686018427387904 bytes",
		"bad_truncated_data":        "data_offsets [485 515] in 512 bytes of data",
		"bad_short_file":            "5 bytes, too short",
		"bad_header_not_json":       "does not begin with {",
		"bad_shape_offset_mismatch": "takes another number of bytes than",
		"bad_offsets_out_of_range":  "bytes of data",
	}
	for _, path := range files {
		_, err := checkpoints.Open(path)
		cause := want[strings.TrimSuffix(filepath.Base(path), ".safetensors")]
		if err == nil || cause == "" || !strings.Contains(err.Error(), cause) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", path, err, cause)
		}
	}
}

// container makes a file of a header and zeros for data.
func container(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func TestHeaders(t *testing.T) {
	const a = `"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`
	for _, tt := range []struct {
		header string
		data   int
		want   string // "" for accepted
	}{
		{`{}`, 0, ""},
		{`{` + a + `}`, 8, ""},
		{`{` + a + `}   ` + "\n", 8, ""},
		{`{"\u0061":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8, ""},
		{`{"a":{"dtype":"F32","note":{"x":[1]},"shape":[2],"data_offsets":[0,8]}}`, 8, ""},
		{`{"z":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},` + a + `,"e":{"dtype":"F32","shape":[0],"data_offsets":[8,8]}}`, 8, ""},

		{``, 0, "does not begin with {"},
		{` {}`, 0, "does not begin with {"},
		{`[]`, 0, "does not begin with {"},
		{`{`, 0, "not JSON"},
		{`{"a"`, 0, "not JSON"},
		{`{"a":1}`, 0, "wants an object"},
		{`{"a":[]}`, 0, "wants an object"},
		{`{"a":{}}`, 0, `missing "dtype"`},
		{`{` + a + `}{}`, 8, "goes on"},
		{`{` + a + `} x`, 8, "goes on"},
		{"{\"\xff\":1}", 0, "not UTF-8"},
		{`{` + a + `,` + a + `}`, 8, `"a" stands twice`},
		{`{` + a + `,"\u0061":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`, 8, `"a" stands twice`},
		{`{"__metadata__":{},"__metadata__":{}}`, 0, "stands twice"},
		{`{"__metadata__":{"x":"1","x":"2"}}`, 0, "stands twice"},
		{`{"__metadata__":{"x":1}}`, 0, "wants a string"},
		{`{"__metadata__":[]}`, 0, "wants an object"},
		{`{` + a + `}`, 9, "after the last tensor"},
		{`{` + a + `}`, 7, "in 7 bytes"},
		{`{"a":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}}`, 9, "before tensor"},
		{`{` + a + `,"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`, 12, "overlap"},
		{`{` + a + `,"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8, "overlap"},
		{`{` + a + `,"b":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}}`, 8, "overlap"},
		{`{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}`, 8, "data_offsets [8 0]"},
		{`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}`, 8, "data_offsets [0 8 8]"},
		{`{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}`, 8, "whole number"},
		{`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8.0]}}`, 8, "whole number"},
		{`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,99999999999999999999]}}`, 8, "whole number"},
		{`{"a":{"dtype":"F32","shape":[2],"data_offsets":[9223372036854775800,9223372036854775807]}}`, 8, "in 8 bytes"},
		{`{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}`, 8, "whole number"},
		{`{"a":{"dtype":"F32","shape":[4611686018427387906],"data_offsets":[0,8]}}`, 8, "another number of bytes"},
		{`{"a":{"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8]}}`, 8, "more than 2⁶³-1"},
		{`{"a":{"dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}}`, 0, "more than 2⁶³-1"},
		{`{"a":{"dtype":"F32","shape":"x","data_offsets":[0,8]}}`, 8, "wants an array"},
		{`{"a":{"dtype":"F32","shape":{},"data_offsets":[0,8]}}`, 8, "wants an array"},
		{`{"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}}`, 8, `unknown dtype "F33"`},
		{`{"a":{"DType":"F32","shape":[2],"data_offsets":[0,8]}}`, 8, `missing "dtype"`},
		{`{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8, `"dtype" stands twice`},
		{`{"a":{"dtype":"F32","shape":[2]}}`, 8, `missing "data_offsets"`},
		{strings.Repeat("[", 100000), 0, "does not begin with {"},
		{`{"a":{"x":` + strings.Repeat("[", 100000) + `}}`, 0, "a"},
	} {
		b := container(tt.header, tt.data)
		_, err := checkpoints.NewFile(bytes.NewReader(b), int64(len(b)))
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%.120s: %v", tt.header, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%.120s: %v, want %q", tt.header, err, tt.want)
		}
	}
}

// countingReader counts the bytes read from it.
type countingReader struct {
	data []byte
	read int
}

func (r *countingReader) ReadAt(b []byte, off int64) (int, error) {
	n, err := bytes.NewReader(r.data).ReadAt(b, off)
	r.read += n
	return n, err
}

func TestOpenReadsTheHeaderOnly(t *testing.T) {
	const side = 1 << 20
	header := fmt.Sprintf(`{"a":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}`, side, 4*side)
	r := &countingReader{data: container(header, 4*side)}
	f, err := checkpoints.NewFile(r, int64(len(r.data)))
	if err != nil {
		t.Fatal(err)
	}
	if r.read != 8+len(header) {
		t.Errorf("%d bytes read, want %d", r.read, 8+len(header))
	}
	if got, _, err := f.Float32("a"); err != nil || len(got) != side {
		t.Errorf("%d values, %v", len(got), err)
	}
	r.data = r.data[:len(r.data)-1] // the file shrinks while it is open
	if _, _, err := f.Float32("a"); err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
		t.Errorf("a file cut short: %v", err)
	}
}

// A header length that the file cannot hold costs no memory.
func TestHostileLengthCostsNothing(t *testing.T) {
	b := container(`{}`, 0)
	for _, n := range []uint64{99_000_000, 100_000_000, 100_000_001, 1 << 62, 1<<64 - 1} {
		binary.LittleEndian.PutUint64(b, n)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := checkpoints.NewFile(bytes.NewReader(b), int64(len(b)))
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Fatalf("a header of %d bytes is accepted", n)
		}
		if d := after.TotalAlloc - before.TotalAlloc; d > 1<<20 {
			t.Errorf("a header of %d bytes costs %d bytes of memory", n, d)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := checkpoints.Open(filepath.Join(dir, "none")); !os.IsNotExist(unwrapAll(err)) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := checkpoints.Open(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("folder: %v", err)
	}
}

func unwrapAll(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		next := u.Unwrap()
		if next == nil {
			return err
		}
		err = next
	}
}

func FuzzOpen(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(dtypesDir, "*", "*.safetensors"))
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(files, filepath.Join(dtypesDir, "model.safetensors"), filepath.Join(dtypesDir, "golden.safetensors")) {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := checkpoints.NewFile(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		// What is accepted can be read as a whole, and written again.
		total := 0
		var tensors []checkpoints.Tensor
		for _, name := range file.Names() {
			tensor, err := file.Tensor(name)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := file.Float32(name); err != nil {
				t.Fatal(err)
			}
			total += len(tensor.Data)
			tensors = append(tensors, tensor)
		}
		if total > len(b) {
			t.Fatalf("%d bytes of tensors in a file of %d", total, len(b))
		}
		var again bytes.Buffer
		if err := checkpoints.Encode(&again, tensors, file.Metadata()); err != nil {
			t.Fatal(err)
		}
		if _, err := checkpoints.NewFile(bytes.NewReader(again.Bytes()), int64(again.Len())); err != nil {
			t.Fatalf("written again: %v", err)
		}
	})
}
