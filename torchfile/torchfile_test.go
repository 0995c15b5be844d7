package torchfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"relsim/checkpoints"
)

// torchTypes are PyTorch's names of types.
var torchTypes = map[string]checkpoints.DType{
	"float64": checkpoints.F64, "float32": checkpoints.F32, "float16": checkpoints.F16, "bfloat16": checkpoints.BF16,
	"int64": checkpoints.I64, "int32": checkpoints.I32, "int16": checkpoints.I16, "int8": checkpoints.I8, "uint8": checkpoints.U8, "bool": checkpoints.Bool,
}

// TestGolden reads what PyTorch wrote, in all layouts.
func TestGolden(t *testing.T) {
	raw, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string]map[string]struct {
		Shape  []int
		DType  string
		Values []float64
	}
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	for name, tensors := range golden {
		for _, suffix := range []string{".pth", ".p4.pth", ".legacy.pth"} {
			t.Run(name+suffix, func(t *testing.T) {
				path := filepath.Join("testdata", name+suffix)
				if _, err := os.Stat(path); err != nil {
					t.Fatal(err)
				}
				f, err := Open(path)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if len(f.Names()) != len(tensors) || !slices.IsSorted(f.Names()) {
					t.Errorf("tensors %q, want %d", f.Names(), len(tensors))
				}
				for name, want := range tensors {
					info, ok := f.Info(name)
					if !ok || info.DType != torchTypes[want.DType] || !slices.Equal(info.Shape, want.Shape) {
						t.Errorf("%s: %v %v, want %s %v", name, info, ok, want.DType, want.Shape)
						continue
					}
					values, shape, err := f.Float32(name)
					if err != nil || !slices.Equal(shape, want.Shape) || len(values) != len(want.Values) {
						t.Errorf("%s: %d values of %v, %v", name, len(values), shape, err)
						continue
					}
					for i, v := range want.Values {
						if values[i] != float32(v) {
							t.Errorf("%s[%d] = %v, want %v", name, i, values[i], v)
							break
						}
					}
				}
				if _, err := f.Tensor("nothing"); err == nil || !strings.Contains(err.Error(), `no tensor "nothing"`) {
					t.Errorf("a tensor that is not there: %v", err)
				}
			})
		}
	}
}

func TestRefused(t *testing.T) {
	for name, want := range map[string]string{
		"refused.system.pth":         `"posix.system": only tensors are read`,
		"refused.system.legacy.pth":  `"posix.system": only tensors are read`,
		"refused.eval.pth":           `"__builtin__.eval": only tensors are read`,
		"refused.eval.legacy.pth":    `"__builtin__.eval": only tensors are read`,
		"refused.getattr.pth":        `"__builtin__.getattr": only tensors are read`,
		"refused.getattr.legacy.pth": `"__builtin__.getattr": only tensors are read`,
		"refused.model.pth":          `"torch.nn.modules.activation.ReLU": only tensors are read`,
		"refused.model.legacy.pth":   `"torch.nn.modules.activation.ReLU": only tensors are read`,
		"refused.complex.pth":        `"torch.ComplexFloatStorage": only tensors are read`,
		"refused.script.pth":         "a TorchScript program",
	} {
		_, err := Open(filepath.Join("testdata", name))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "torchfile: open "+filepath.Join("testdata", name)+": ") {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	// The place of the name.
	_, err := Open("testdata/refused.system.pth")
	raw, _ := os.ReadFile("testdata/refused.system.pth")
	start := bytes.Index(raw, []byte("\x80\x02}"))
	if at := fmt.Sprintf("data.pkl: byte %d: GLOBAL", bytes.Index(raw, []byte("cposix\nsystem\n"))-start); err == nil || !strings.Contains(err.Error(), at) {
		t.Errorf("%v, want %s", err, at)
	}
}

// archive makes a zip archive of names and contents in turn.
func archive(t testing.TB, method uint16, parts ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(parts); i += 2 {
		e, err := w.CreateHeader(&zip.FileHeader{Name: parts[i], Method: method})
		if err == nil {
			_, err = e.Write([]byte(parts[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Pieces of pickles.
const (
	proto = "\x80\x02"
	rv2   = "ctorch._utils\n_rebuild_tensor_v2\n"
	hooks = "\x89ccollections\nOrderedDict\n)R"
)

func text(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

func integer(v int64) string {
	return "\x8a\x08" + string(binary.LittleEndian.AppendUint64(nil, uint64(v)))
}

// stored is a reference to a storage.
func stored(class, key string, n int64) string {
	return "(" + text("storage") + "ctorch\n" + class + "\n" + text(key) + text("cpu") + integer(n) + "tQ"
}

func integers(list ...int64) string {
	s := "("
	for _, v := range list {
		s += integer(v)
	}
	return s + "t"
}

// tensor is a call that makes one.
func tensor(storage string, offset int64, shape, stride string) string {
	return rv2 + "(" + storage + integer(offset) + shape + stride + hooks + "tR"
}

// one is a state dict of one tensor.
func one(tensor string) string { return proto + "}" + text("w") + tensor + "s." }

func good() string {
	return one(tensor(stored("FloatStorage", "0", 6), 0, integers(2, 3), integers(3, 1)))
}

var six = func() string {
	var b []byte
	for i := range 6 {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(i)))
	}
	return string(b)
}()

func read(raw []byte) (*File, error) { return NewFile(bytes.NewReader(raw), int64(len(raw))) }

func TestHandmade(t *testing.T) {
	for _, order := range []string{"", "little", "big\n"} {
		parts := []string{"a/data.pkl", good(), "a/data/0", six}
		want := []float32{0, 1, 2, 3, 4, 5}
		if order != "" {
			parts = append(parts, "a/byteorder", order)
		}
		f, err := read(archive(t, zip.Store, parts...))
		if err != nil {
			t.Fatal(err)
		}
		values, shape, err := f.Float32("w")
		if strings.HasPrefix(order, "big") {
			for i, v := range values {
				bits := math.Float32bits(v)
				values[i] = math.Float32frombits(bits<<24 | bits>>24 | bits<<8&0xff0000 | bits>>8&0xff00)
			}
		}
		if err != nil || !slices.Equal(values, want) || !slices.Equal(shape, []int{2, 3}) {
			t.Errorf("byte order %q: %v %v %v", order, values, shape, err)
		}
	}
}

// TestHostile gives archives and pickles that lie; none may be read, and none may take much memory.
func TestHostile(t *testing.T) {
	pickled := func(p string) []byte { return archive(t, zip.Store, "a/data.pkl", p, "a/data/0", six) }
	st := stored("FloatStorage", "0", 6)
	raw := pickled(good())
	deep := proto
	for range 40 {
		deep += "}" + text("k")
	}
	deep += "N" + strings.Repeat("s", 40) + "."
	// Each dict holds the one before twice: 2⁴⁰ values, if they were walked.
	shared := proto + "}q\x00" + text("a") + "Ns"
	for i := range 14 {
		shared += "}(" + text("a") + "h" + string(rune(i)) + text("b") + "h" + string(rune(i)) + text("c") + "h" + string(rune(i)) + "uq" + string(rune(i+1))
	}
	shared = strings.Replace(shared+".", proto, proto+"(", 1)
	shared = shared[:len(shared)-1] + "l."
	cycle := proto + "}q\x00" + text("a") + "h\x00s."
	for _, tt := range []struct {
		name string
		raw  []byte
		want string
	}{
		{"nothing", nil, "too short"},
		{"a picture", []byte("\x89PNG\r\n\x1a\n…"), "neither a zip archive nor the older layout"},
		{"half an archive", raw[:len(raw)/2], "not a whole zip archive"},
		{"without its end", raw[:len(raw)-1], "not a whole zip archive"},
		{"no pickle", archive(t, zip.Store, "a/data/0", six), "no NAME/data.pkl"},
		{"two pickles", archive(t, zip.Store, "a/data.pkl", good(), "b/data.pkl", good()), "both "},
		{"compressed", archive(t, zip.Deflate, "a/data.pkl", good(), "a/data/0", six), "is compressed"},
		{"a bomb", archive(t, zip.Deflate, "a/data.pkl", strings.Repeat("\x00", 1<<20)), "is compressed"},
		{"an entry twice", archive(t, zip.Store, "a/data.pkl", good(), "a/data/0", six, "a/data/0", six), "stands twice in the archive"},
		{"no storage", archive(t, zip.Store, "a/data.pkl", good()), "no a/data/0"},
		{"a short storage", archive(t, zip.Store, "a/data.pkl", good(), "a/data/0", six[:20]), "has 20 bytes, want 24"},
		{"a long storage", archive(t, zip.Store, "a/data.pkl", good(), "a/data/0", six+six), "has 48 bytes, want 24"},
		{"another byte order", archive(t, zip.Store, "a/data.pkl", good(), "a/data/0", six, "a/byteorder", "middle"), "byteorder is \"middle\""},
		{"a program", archive(t, zip.Store, "a/data.pkl", good(), "a/constants.pkl", ""), "TorchScript"},

		{"an empty pickle", pickled(""), "byte 0: unexpected EOF"},
		{"no end", pickled(good()[:len(good())-1]), "unexpected EOF"},
		{"no value", pickled(proto + "."), "byte 2: the stack is empty"},
		{"values left", pickled(proto + "NN."), "1 values are left on the stack"},
		{"a mark as value", pickled(proto + "(."), "a mark where a value is wanted"},
		{"no mark", pickled(proto + "}u."), "no mark on the stack"},
		{"no dict", pickled(proto + "]NNs."), "items are set in a list"},
		{"half an item", pickled(proto + "}(Nu."), "a key without a value"},
		{"not a dict of tensors", pickled(proto + "N."), "None where a dict of tensors is wanted"},
		{"a lone tensor", pickled(proto + tensor(st, 0, integers(2, 3), integers(3, 1)) + "."), "a tensor where a dict of tensors is wanted"},
		{"protocol 9", pickled("\x80\x09N."), "pickle protocol 9"},
		{"no instruction", pickled(proto + "\xff."), "0xff is no instruction"},
		{"a tensor twice", pickled(proto + "}(" + text("w") + tensor(st, 0, integers(6), integers(1)) + text("w") + tensor(st, 0, integers(6), integers(1)) + "u."), `tensor "w" stands twice`},
		{"too deep", pickled(deep), "more than 16 deep"},
		{"shared dicts", pickled(strings.Replace(shared, proto+"(", proto+"}"+text("x")+"(", 1)[:len(shared)+7-1] + "s."), "more than 1048576 values"},
		{"a dict in itself", pickled(cycle), "more than 16 deep"},
		{"a long text", pickled(proto + "X\xff\xff\xff\x7f."), "a text of 2147483647 bytes"},
		{"a text of 2⁶³", pickled(proto + "\x8d\xff\xff\xff\xff\xff\xff\xff\x7f."), "a text of 9223372036854775807 bytes"},
		{"a long name", pickled(one(tensor(st, 0, integers(6), integers(1)))[:3] + text(strings.Repeat("n", 1025)) + "Ns."), "a name of 1025 bytes"},
		{"a number not kept", pickled(proto + "h\x07."), "no value was kept as number 7"},
		{"kept too far", pickled(proto + "Nr\xff\xff\xff\xff."), "value kept as number 4294967295"},
		{"a full stack", pickled(proto + strings.Repeat("N", maxStack+2)), "more than 1048576 values on the stack"},
		{"too many instructions", pickled(proto + strings.Repeat("N0", maxInstructions/2+1)), "more than 2097152 instructions"},

		{"os.system", pickled(proto + "cos\nsystem\n" + text("true") + "\x85R."), `byte 2: GLOBAL "os.system": only tensors are read`},
		{"eval by STACK_GLOBAL", pickled(proto + text("builtins") + text("eval") + "\x93" + text("1") + "\x85R."), `STACK_GLOBAL "builtins.eval": only tensors are read`},
		{"getattr", pickled(proto + "c__builtin__\ngetattr\n."), `GLOBAL "__builtin__.getattr": only tensors are read`},
		{"a name within an allowed module", pickled(proto + "ctorch._utils\n_import_dotted_name\n."), `"torch._utils._import_dotted_name": only tensors are read`},
		{"a dotted name", pickled(proto + "ctorch\ncuda.os.system\n."), `"torch.cuda.os.system": only tensors are read`},
		{"the legacy instruction", pickled("(ios\nsystem\n."), `INST "os.system": only tensors are read`},
		{"OBJ", pickled("(ccollections\nOrderedDict\no."), "instruction OBJ: only tensors are read"},
		{"NEWOBJ", pickled(proto + "ccollections\nOrderedDict\n)\x81."), "instruction NEWOBJ: only tensors are read"},
		{"EXT1", pickled(proto + "\x82\x01."), "instruction EXT1: only tensors are read"},
		{"BUILD of a tensor", pickled(proto + tensor(st, 0, integers(6), integers(1)) + "}b."), "BUILD of a tensor: only tensors are read"},
		{"BUILD of a class", pickled(proto + "ccollections\nOrderedDict\n}b."), "BUILD of collections.OrderedDict: only tensors are read"},
		{"a call of a number", pickled(proto + "K\x01)R."), "REDUCE of 1 with a tuple of 0: only tensors are read"},
		{"a call of a class of storages", pickled(proto + "ctorch\nFloatStorage\n)R."), "REDUCE of torch.FloatStorage"},

		{"a huge storage", pickled(one(tensor(stored("FloatStorage", "0", 1<<62), 0, integers(2), integers(1)))), "4611686018427387904 elements of F32 in a file of"},
		{"a negative storage", pickled(one(tensor(stored("FloatStorage", "0", -1), 0, integers(2), integers(1)))), "-1 elements"},
		{"a storage of two types", pickled(proto + "}(" + text("a") + tensor(st, 0, integers(2), integers(1)) + text("b") + tensor(stored("IntStorage", "0", 6), 0, integers(2), integers(1)) + "u."),
			"storage 0 is 6 elements of I32, and 6 of F32 before"},
		{"a storage elsewhere", pickled(one(tensor(stored("FloatStorage", "../0", 6), 0, integers(2), integers(1)))), `a storage with the key the text "../0"`},
		{"a huge shape", pickled(one(tensor(st, 0, integers(1<<62, 1<<62), integers(1, 1)))), "in a storage of 6 elements"},
		{"a shape that wraps", pickled(one(tensor(st, 0, integers(1<<32, 1<<32), integers(0, 0)))), "in a storage of 6 elements"},
		{"an expanded tensor", pickled(one(tensor(st, 0, integers(7), integers(0)))), "shape [7] in a storage of 6 elements"},
		{"beyond the storage", pickled(one(tensor(st, 1, integers(2, 3), integers(3, 1)))), "reaches beyond a storage of 6 elements"},
		{"a far stride", pickled(one(tensor(st, 0, integers(2), integers(math.MaxInt64)))), "reaches beyond a storage of 6 elements"},
		{"strides that wrap", pickled(one(tensor(st, 0, integers(3, 2), integers(1<<62, 1<<62)))), "reaches beyond a storage of 6 elements"},
		{"a negative side", pickled(one(tensor(st, 0, integers(-2), integers(1)))), "-2, want an integer, 0 or more"},
		{"a negative stride", pickled(one(tensor(st, 5, integers(6), integers(-1)))), "-1, want an integer, 0 or more"},
		{"a negative offset", pickled(one(tensor(st, -1, integers(6), integers(1)))), "offset -1"},
		{"an offset at the end", pickled(one(tensor(st, 6, integers(1), integers(1)))), "reaches beyond a storage of 6 elements"},
		{"too many sides", pickled(one(tensor(st, 0, integers(slices.Repeat([]int64{1}, 65)...), integers(1)))), "65 dimensions"},
		{"a side without stride", pickled(one(tensor(st, 0, integers(2, 3), integers(3)))), "2 sides and 1 strides"},
		{"too few arguments", pickled(proto + rv2 + "(" + st + "tR."), "with 1 arguments"},
		{"a tensor of no storage", pickled(one(tensor("N", 0, integers(1), integers(1)))), "of None, want a storage"},
		{"a parameter of no tensor", pickled(proto + "ctorch._utils\n_rebuild_parameter\n(N\x89NtR."), "of None, want a tensor"},
		{"another persistent object", pickled(proto + "(" + text("module") + "NNNNtQ."), "a tuple of 5, want a storage"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := read(tt.raw)
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 256<<20 {
				t.Errorf("took %d MiB for %d bytes", used>>20, len(tt.raw))
			}
		})
	}
}

// TestDamaged changes bytes of an archive's storages and of its directory.
func TestDamaged(t *testing.T) {
	raw := archive(t, zip.Store, "a/data.pkl", good(), "a/data/0", six)
	at := bytes.Index(raw, []byte(six))
	raw[at+5] ^= 1
	f, err := read(raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Tensor("w"); !errors.Is(err, errChecksum) || !strings.Contains(err.Error(), `tensor "w": storage 0`) {
		t.Errorf("a damaged storage: %v", err)
	}
	raw[at+5] ^= 1

	// A part of a storage is checked with all of it.
	part := archive(t, zip.Store, "a/data.pkl", one(tensor(stored("FloatStorage", "0", 6), 0, integers(2), integers(1))), "a/data/0", six)
	if f, err = read(part); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Tensor("w"); err != nil {
		t.Error(err)
	}
	part[bytes.Index(part, []byte(six))+20] ^= 1
	if _, err := f.Tensor("w"); !errors.Is(err, errChecksum) {
		t.Errorf("a damaged storage, beside the tensor: %v", err)
	}

	pickle := archive(t, zip.Store, "a/data.pkl", good(), "a/data/0", six)
	pickle[bytes.Index(pickle, []byte(proto))+4] ^= 1
	if _, err := read(pickle); !errors.Is(err, errChecksum) {
		t.Errorf("a damaged pickle: %v", err)
	}

	// Two entries of the directory that lead to one place, and to places that overlap.
	directory := func(change func(d []byte)) []byte {
		raw := archive(t, zip.Store, "a/data.pkl", good(), "a/data/0", six, "a/data/1", six)
		change(raw[bytes.Index(raw, []byte("PK\x01\x02")):])
		return raw
	}
	second := func(d []byte) []byte { return d[4+bytes.Index(d[4:], []byte("PK\x01\x02")):] }
	for _, tt := range []struct {
		want string
		raw  []byte
	}{
		{"overlap", directory(func(d []byte) {
			b := second(d)
			c := second(b)
			copy(c[42:46], b[42:46])
		})},
		{"overlap", directory(func(d []byte) { // the first reaches into the second
			n := binary.LittleEndian.Uint32(d[24:]) + 60
			binary.LittleEndian.PutUint32(d[20:], n)
			binary.LittleEndian.PutUint32(d[24:], n)
		})},
		{"bytes from", directory(func(d []byte) {
			binary.LittleEndian.PutUint32(d[20:], 1<<31)
			binary.LittleEndian.PutUint32(d[24:], 1<<31)
		})},
		{"zip: not a valid zip file", directory(func(d []byte) { binary.LittleEndian.PutUint32(second(d)[42:], 3) })},
	} {
		if _, err := read(tt.raw); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

// claims is an archive's end whose wide record claims that many entries, in a file of the given size that is zero otherwise.
type claims struct {
	size int64
	tail []byte
}

func (c claims) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	if off == 0 && len(b) >= 4 {
		copy(b, "PK\x03\x04")
	}
	from := c.size - int64(len(c.tail))
	if end := off + int64(len(b)); end > from {
		if off >= from {
			copy(b, c.tail[off-from:])
		} else {
			copy(b[from-off:], c.tail)
		}
	}
	return len(b), nil
}

// TestManyEntries claims a number of entries for which a list alone would take gigabytes.
func TestManyEntries(t *testing.T) {
	const size = 1 << 44
	record := make([]byte, 56)
	copy(record, "PK\x06\x06")
	binary.LittleEndian.PutUint64(record[4:], 44)
	binary.LittleEndian.PutUint64(record[24:], 1<<36)
	binary.LittleEndian.PutUint64(record[32:], 1<<36)
	locator := make([]byte, 20)
	copy(locator, "PK\x06\x07")
	binary.LittleEndian.PutUint64(locator[8:], size-22-20-56)
	end := make([]byte, 22)
	copy(end, "PK\x05\x06")
	for i := 8; i < 20; i++ {
		end[i] = 0xff
	}
	_, err := NewFile(claims{size, slices.Concat(record, locator, end)}, size)
	if err == nil || !strings.Contains(err.Error(), "claims 68719476736 entries, more than 262144") {
		t.Errorf("%v", err)
	}
}

// older is a file of the older layout.
func older(system, object, keys string, storages ...string) []byte {
	magic := "\x8a\x0a" + string(legacyMagic)
	return []byte(proto + magic + "." + proto + "M\xe9\x03." + proto + system + "." + proto + object + "." + proto + keys + "." + strings.Join(storages, ""))
}

func TestHostileLegacy(t *testing.T) {
	little := "}" + text("little_endian") + "\x88s"
	st := "(" + text("storage") + "ctorch\nFloatStorage\n" + text("7") + text("cpu") + integer(6) + "NtQ"
	object := "}" + text("w") + tensor(st, 0, integers(2, 3), integers(3, 1)) + "s"
	keys := "]" + text("7") + "a"
	data := string(binary.LittleEndian.AppendUint64(nil, 6)) + six
	f, err := read(older(little, object, keys, data))
	if err != nil {
		t.Fatal(err)
	}
	if values, _, err := f.Float32("w"); err != nil || !slices.Equal(values, []float32{0, 1, 2, 3, 4, 5}) {
		t.Errorf("%v %v", values, err)
	}
	// As Python 2 wrote it: byte strings, and the first form of tensors and dicts.
	short := func(s string) string { return "U" + string(rune(len(s))) + s }
	python2 := "ccollections\nOrderedDict\n]]" + short("w") + "actorch._utils\n_rebuild_tensor\n(" +
		"(" + short("storage") + "ctorch.cuda\nFloatStorage\n" + short("7") + short("0") + "K\x06NtQ" + "K\x00K\x03K\x02\x86K\x02K\x01\x86tRaa\x85R"
	if f, err = read(older(little, python2, keys, data)); err != nil {
		t.Fatal(err)
	}
	if values, shape, err := f.Float32("w"); err != nil || !slices.Equal(values, []float32{0, 1, 2, 3, 4, 5}) || !slices.Equal(shape, []int{3, 2}) {
		t.Errorf("%v %v %v", values, shape, err)
	}
	for _, tt := range []struct {
		name string
		raw  []byte
		want string
	}{
		{"code", older(little, "cos\nsystem\n"+text("true")+"\x85R", keys, data), `GLOBAL "os.system": only tensors are read`},
		{"code in the keys", older(little, object, "cos\nsystem\n"+text("true")+"\x85R", data), `GLOBAL "os.system": only tensors are read`},
		{"no byte order", older("}", object, keys, data), "want a dict with little_endian"},
		{"no keys", older(little, object, "N", data), "keys of storages: None, want a list"},
		{"another key", older(little, object, "]"+text("8")+"a", data), `keys of storages: the text "8", which no tensor has`},
		{"a number as key", older(little, object, "]K\x07a", data), "keys of storages: 7, which no tensor has"},
		{"a key twice", older(little, object, "]("+text("7")+text("7")+"e", data, data), `"7" stands twice`},
		{"a key missing", older(little, object, "]", data), "storage 7 is not in the file"},
		{"another size", older(little, object, keys, string(binary.LittleEndian.AppendUint64(nil, 7))+six), "storage 7 has 7 elements where its tensors say 6"},
		{"cut off", older(little, object, keys, data[:20]), "24 bytes from"},
		{"no data", older(little, object, keys), "unexpected EOF"},
		{"a view", older(little, strings.Replace(object, "NtQ", "("+text("7")+"K\x00K\x02ttQ", 1), keys, data), "a view of another one"},
		{"another version", bytes.Replace(older(little, object, keys, data), []byte("M\xe9\x03"), []byte("M\xe8\x03"), 1), "version 1000, want 1001"},
		{"another number", bytes.Replace(older(little, object, keys, data), []byte(legacyMagic), []byte("0123456789"), 1), "neither a zip archive nor the older layout"},
	} {
		if _, err := read(tt.raw); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none.pth")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
}

// FuzzRead reads anything, and all tensors of what can be read: no panic, and no tensor larger than the file.
func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/*.pth")
	if err != nil || len(files) < 20 {
		f.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add(archive(f, zip.Store, "a/data.pkl", good(), "a/data/0", six))
	f.Fuzz(func(t *testing.T, raw []byte) { readAll(t, raw) })
}

func readAll(t *testing.T, raw []byte) {
	file, err := read(raw)
	if err != nil {
		return
	}
	for _, name := range file.Names() {
		info, ok := file.Info(name)
		if !ok {
			t.Fatalf("%q has no shape", name)
		}
		values, err := file.Tensor(name)
		if err != nil {
			continue
		}
		n := info.DType.Size()
		for _, d := range info.Shape {
			n *= d
		}
		if len(values.Data) != n || n > len(raw) {
			t.Fatalf("%q: %d bytes for shape %v of %s in a file of %d", name, len(values.Data), info.Shape, info.DType, len(raw))
		}
	}
}

// FuzzPickle reads anything as the pickle of a whole archive.
func FuzzPickle(f *testing.F) {
	f.Add([]byte(good()))
	files, err := filepath.Glob("testdata/*.pth")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			continue
		}
		for _, e := range z.File {
			if strings.HasSuffix(e.Name, "/data.pkl") {
				r, err := e.Open()
				if err != nil {
					f.Fatal(err)
				}
				var b bytes.Buffer
				if _, err := b.ReadFrom(r); err != nil {
					f.Fatal(err)
				}
				f.Add(b.Bytes())
			}
		}
	}
	f.Fuzz(func(t *testing.T, pickle []byte) {
		readAll(t, archive(t, zip.Store, "a/data.pkl", string(pickle), "a/data/0", six, "a/data/1", six))
	})
}
