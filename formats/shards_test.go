package formats

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"relsim/dataloader"
)

// keepIndices has the indices of shards kept in a folder of the test's own.
func keepIndices(t testing.TB) (dir string) {
	dir = filepath.Join(t.TempDir(), "indices")
	was := indexFolder
	indexFolder = func() string { return dir }
	t.Cleanup(func() { indexFolder = was })
	return dir
}

func openSet(t testing.TB, spec string, o Options) dataloader.Dataset {
	t.Helper()
	ds, err := Open(t.Context(), spec, o)
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

// The members of shards lie where Python's tarfile finds them, in every format of tar, and have the pictures and captions
// that it has put there.
func TestShardsOfPython(t *testing.T) {
	text, err := os.ReadFile("testdata/shards/members.json")
	if err != nil {
		t.Fatal(err)
	}
	var found map[string][]struct {
		Name     string
		At, Size int64
	}
	if err := json.Unmarshal(text, &found); err != nil || len(found) != 4 {
		t.Fatalf("%d files, %v", len(found), err)
	}
	for name, want := range found {
		data, err := os.ReadFile(filepath.Join("testdata", "shards", name+".tar"))
		if err != nil {
			t.Fatal(err)
		}
		x, err := readIndex(t.Context(), bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []member
		for _, m := range x.members {
			if m.text != nil && !bytes.Equal(m.text, data[m.at:m.at+m.size]) {
				t.Errorf("%s:%s: another text", name, m.name)
			}
			m.text = nil
			got = append(got, m)
		}
		var wanted []member
		for _, m := range want {
			if _, _, ok := keyAndEnding(m.Name); ok && filepath.IsLocal(m.Name) && !strings.Contains(m.Name, `\`) {
				wanted = append(wanted, member{name: m.Name, at: m.At, size: m.Size})
			}
		}
		if len(got) < 5 || !reflect.DeepEqual(got, wanted) {
			t.Errorf("%s: members %+v, want %+v", name, got, wanted)
		}
	}
	for _, name := range []string{"ustar", "gnu", "pax"} {
		ds := openSet(t, filepath.Join("testdata", "shards", name+".tar"), Options{})
		ids := []string{"000", "001", "002", strings.Repeat("a_long_name_", 15), "folder.d/ünï 名前"}
		if name == "ustar" {
			ids = ids[:3]
		}
		if ds.Len() != len(ids) {
			t.Fatalf("%s: %d items, want %d", name, ds.Len(), len(ids))
		}
		for n, id := range ids {
			it := ds.Item(n)
			if it.ID != id || it.Caption != fmt.Sprintf("{Subject} %d", n) || it.URL != fmt.Sprint("https://example.org/", n) || it.Row() != name+".tar:"+id+".png" {
				t.Errorf("%s: item %d is %+v", name, n, it)
			}
			im, err := ds.Image(t.Context(), n)
			if err != nil || im.Width != 4 || !slices.Equal(im.Pix[:3], []byte{byte(n), byte(2 * n), byte(3 * n)}) {
				t.Errorf("%s: picture %d: %+v, %v", name, n, im, err)
			}
		}
	}
}

// What is no file of the shard itself is passed by and counted.
func TestHostileShard(t *testing.T) {
	ds := openSet(t, "testdata/shards/hostile.tar", Options{})
	if ds.Len() != 2 || ds.Item(0).ID != "000" || ds.Item(1).ID != "010" {
		t.Errorf("%d items, %+v", ds.Len(), ds.Item(0))
	}
	want := []string{
		"2 members passed by: links", "3 members passed by: devices and pipes", "4 members passed by: names that lead out of the shard",
		"1 samples without a picture passed by, the first hostile.tar:001.txt",
	}
	if got := dataloader.Notes(ds); !slices.Equal(got, want) {
		t.Errorf("notes %q, want %q", got, want)
	}
	for _, name := range []string{"sparse_gnu", "sparse_pax"} {
		ds := openSet(t, "testdata/shards/"+name+".tar", Options{})
		if ds.Len() != 1 || ds.Item(0).ID != "001" || !slices.Equal(dataloader.Notes(ds), []string{"1 members passed by: sparse files"}) {
			t.Errorf("%s: %d items, %+v, notes %q", name, ds.Len(), ds.Item(0), dataloader.Notes(ds))
		}
		if im, err := ds.Image(t.Context(), 0); err != nil || !slices.Equal(im.Pix[:3], []byte{1, 2, 3}) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Shards that cannot be read are errors that name the shard, and the member where it is one.
func TestBrokenShards(t *testing.T) {
	picture := string(encodePNG(t, noise(3, 3, 1)))
	good := tarOf(t, entry{name: "a.png", content: picture}, entry{name: "a.txt", content: "x"})
	damaged := []byte(good)
	damaged[1024+150]++ // the sum of the second header
	for name, tt := range map[string]struct{ data, want string }{
		"gzip":         {packed(t, []byte(good)), "x.tar: it is compressed by gzip: unpack it first (gunzip)"},
		"bzip2":        {"BZh91AY&SY", "x.tar: it is compressed by bzip2"},
		"zstd":         {"\x28\xb5\x2f\xfd\x04\x00", "x.tar: it is compressed by zstd"},
		"no tar":       {strings.Repeat("no tar file ", 100), "x.tar: not a tar file, or a damaged header behind byte 0"},
		"damaged":      {string(damaged), "x.tar: not a tar file, or a damaged header behind byte 512"},
		"a header":     {good[:1024+100], "x.tar: the shard ends inside of a member or header behind byte 512"},
		"a text":       {good[:1024+512], "x.tar:a.txt: the shard ends inside of it: 0 bytes of 1 are there"},
		"empty":        {tarOf(t), "x.tar: no samples with a picture: want members such as 000.jpg with 000.txt"},
		"nothing":      {"", "x.tar: no samples with a picture"},
		"twice":        {tarOf(t, entry{name: "a.png", content: picture}, entry{name: "b.png", content: picture}, entry{name: "a.png", content: "x"}), "x.tar:a.png: a second member of this name, at byte 2560"},
		"twice, other": {tarOf(t, entry{name: "a.png", content: picture}, entry{name: "a.PNG", content: picture}), "x.tar:a.PNG: a second member of this sample with the ending .png"},
		"no JSON":      {tarOf(t, entry{name: "a.png", content: picture}, entry{name: "a.json", content: "[1]"}), "x.tar:a.json: not a JSON object"},
		"a field":      {tarOf(t, entry{name: "a.png", content: picture}, entry{name: "a.json", content: `{"family":"x"}`}), `x.tar:a.json: "family" is a string, want a whole number`},
		"a hash":       {tarOf(t, entry{name: "a.png", content: picture}, entry{name: "a.json", content: `{"image_hash":"../x"}`}), `x.tar:a.json: "image_hash" "../x" holds`},
		"no UTF-8":     {tarOf(t, entry{name: "a.png", content: picture}, entry{name: "a.txt", content: "one\n\xff"}), "x.tar:a.txt:2: not UTF-8"},
		"long":         {tarOf(t, entry{name: "a.txt", content: strings.Repeat("x", maxLine+1)}), "x.tar:a.txt: 1048577 bytes: want at most 1048576"},
	} {
		path := filepath.Join(writeFiles(t, map[string]string{"x.tar": tt.data}), "x.tar")
		_, err := Open(t.Context(), path, Options{})
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "formats: ") {
			t.Errorf("%s: error %v, want %q", name, err, tt.want)
		}
	}
	path := filepath.Join(writeFiles(t, map[string]string{"x.tar.gz": packed(t, []byte(good))}), "x.tar.gz")
	if _, err := Open(t.Context(), path, Options{}); err == nil || !strings.Contains(err.Error(), "compressed by gzip") {
		t.Errorf("x.tar.gz: error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := openShards(ctx, []string{"testdata/shards/gnu.tar"}, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
}

// A shard that breaks off inside of a picture, or that says so by a size that is not true, has one broken picture more: it
// is passed by and listed with shard and member.
func TestBrokenPicturesOfShards(t *testing.T) {
	var entries []entry
	for i := range 12 {
		entries = append(entries, entry{name: fmt.Sprintf("%02d.txt", i), content: "c"}, entry{name: fmt.Sprintf("%02d.png", i), content: string(encodePNG(t, noise(3, 3, uint64(i))))})
	}
	entries[3].content = "no picture"
	whole := tarOf(t, entries...)
	x, err := readIndex(t.Context(), strings.NewReader(whole), int64(len(whole)))
	if err != nil {
		t.Fatal(err)
	}
	last := x.members[len(x.members)-1]
	var lying bytes.Buffer
	w := tar.NewWriter(&lying)
	for _, e := range entries[:2] {
		if err := w.WriteHeader(&tar.Header{Name: e.name, Size: int64(len(e.content)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(e.content))
	}
	if err := w.WriteHeader(&tar.Header{Name: "99.png", Size: 1 << 40, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		data   string
		broken []string // member: reason
	}{
		"cut":   {whole[:last.at+20], []string{"01.png: decode", "11.png: the shard ends inside of it: 20 bytes of"}},
		"whole": {whole, []string{"01.png: decode"}},
		"lying": {lying.String() + strings.Repeat("\x00", 2048), []string{"99.png: 1099511627776 bytes: want at most"}},
	} {
		dir := writeFiles(t, map[string]string{"x.tar": tt.data})
		ds := openSet(t, filepath.Join(dir, "x.tar"), Options{})
		list := filepath.Join(dir, "skipped.jsonl")
		batches(t, ds, dataloader.Config{Batch: 1, MaxBroken: 1, SkippedPath: list, Transform: dataloader.Transform{Size: 4}}, 2*ds.Len())
		got, err := dataloader.ReadSkipped(list)
		if err != nil || len(got) != len(tt.broken) {
			t.Fatalf("%s: %d pictures listed, %v", name, len(got), err)
		}
		slices.SortFunc(got, func(a, b dataloader.Broken) int { return strings.Compare(a.Member, b.Member) })
		for i, b := range got {
			member, reason, _ := strings.Cut(tt.broken[i], ": ")
			if b.Member != member || b.Path != filepath.Join(dir, "x.tar") || !strings.Contains(b.Reason, reason) || !strings.Contains(b.Reason, "x.tar:"+member) {
				t.Errorf("%s: %+v, want %s", name, b, tt.broken[i])
			}
		}
	}
}

// Samples whose paths two shards have are told apart; those that say their own ID are not.
func TestIDsOfShards(t *testing.T) {
	picture := string(encodePNG(t, noise(3, 3, 1)))
	shard := func(key, row string) string {
		return tarOf(t, entry{name: key + ".png", content: picture}, entry{name: key + ".json", content: row}, entry{name: "x" + key + ".png", content: picture})
	}
	dir := writeFiles(t, map[string]string{"0.tar": shard("a", "{}"), "1.tar": shard("a", "{}"), "2.tar": shard("b", `{"image_hash":"h"}`), "3.tar": shard("c", `{"image_hash":"h"}`)})
	ds := openSet(t, dir, Options{})
	var ids []string
	for i := range ds.Len() {
		ids = append(ids, ds.Item(i).ID)
	}
	if want := []string{"0/a", "0/xa", "1/a", "1/xa", "h", "xb", "h", "xc"}; !slices.Equal(ids, want) {
		t.Errorf("IDs %q, want %q", ids, want)
	}
}

// Of several pictures of a sample the one is taken that open_clip takes, and captions of .txt win.
func TestSampleParts(t *testing.T) {
	file := func(n uint64) string { return string(encodePNG(t, noise(3, 3, n))) }
	ds := openSet(t, filepath.Join(writeFiles(t, map[string]string{"x.tar": tarOf(t,
		entry{name: "a.webp", content: file(1)}, entry{name: "a.png", content: file(2)}, entry{name: "a.jpeg", content: file(3)},
		entry{name: "b.txt", content: "one\r\n\n two \n"}, entry{name: "b.jpg", content: file(4)}, entry{name: "b.json", content: `{"caption":"three"}`},
		entry{name: "c.json", content: `{"captions":["four","five"]}`}, entry{name: "c.jpg", content: file(5)}, entry{name: "c.txt", content: `"four"` + "\n"},
		entry{name: "d.json", content: `{"caption":"six\nlines"}`}, entry{name: "d.jpg", content: file(6)}, entry{name: "d.txt", content: "six\nlines"},
	)}), "x.tar"), Options{})
	want := []struct {
		member string
		list   []string
	}{{"a.png", nil}, {"b.jpg", []string{"one", "two"}}, {"c.jpg", []string{"four", "five"}}, {"d.jpg", nil}}
	for i, w := range want {
		if it := ds.Item(i); it.Member != w.member || !slices.Equal(it.Captions, w.list) {
			t.Errorf("item %+v, want %+v", it, w)
		}
	}
	if got := ds.Item(3).Caption; got != "six\nlines" {
		t.Errorf("caption %q", got)
	}
}

// An index of many members is kept and used; one that is stale, damaged, or of another shard is not.
func TestKeptIndex(t *testing.T) {
	dir := keepIndices(t)
	picture := string(encodePNG(t, noise(3, 3, 1)))
	var entries []entry
	for i := range keepMembers / 2 {
		entries = append(entries, entry{name: fmt.Sprintf("%04d.png", i), content: picture}, entry{name: fmt.Sprintf("%04d.txt", i), content: fmt.Sprint("caption ", i)})
	}
	data := tarOf(t, entries...)
	path := filepath.Join(writeFiles(t, map[string]string{"x.tar": data, "small.tar": tarOf(t, entries[:100]...)}), "x.tar")
	openSet(t, filepath.Join(filepath.Dir(path), "small.tar"), Options{})
	if left, err := os.ReadDir(dir); err == nil && len(left) > 0 {
		t.Errorf("an index of few members is kept: %v", left)
	}
	want := openSet(t, path, Options{})
	kept, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept %q, %v", kept, err)
	}
	index, err := os.ReadFile(kept[0])
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	// The same shard, as far as path, size and time say: its headers are not read again.
	rewrite := func(data string, changed time.Time) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte(data), 0o666), os.Chtimes(path, changed, changed)); err != nil {
			t.Fatal(err)
		}
	}
	rewrite(strings.Repeat("x", len(data)), info.ModTime())
	if got := openSet(t, path, Options{}); got.Len() != want.Len() || got.Fingerprint() != want.Fingerprint() || !reflect.DeepEqual(got.Item(7), want.Item(7)) {
		t.Error("the kept index says other things")
	}
	rewrite(strings.Repeat("x", len(data)), info.ModTime().Add(time.Second))
	if _, err := Open(t.Context(), path, Options{}); err == nil || !strings.Contains(err.Error(), "not a tar file") {
		t.Errorf("a stale index is used: %v", err)
	}
	rewrite(data, info.ModTime())
	for _, damage := range []func(b []byte) []byte{
		func(b []byte) []byte { b[len(b)/2]++; return b },
		func(b []byte) []byte { return b[:len(b)/2] },
		func(b []byte) []byte { return nil },
		func(b []byte) []byte { return append(b, 0) },
	} {
		if err := os.WriteFile(kept[0], damage(slices.Clone(index)), 0o666); err != nil {
			t.Fatal(err)
		}
		if got := openSet(t, path, Options{}); got.Fingerprint() != want.Fingerprint() {
			t.Error("a damaged index is used")
		}
		if again, err := os.ReadFile(kept[0]); err != nil || !bytes.Equal(again, index) {
			t.Errorf("a damaged index is not made again: %v", err)
		}
	}
	// A folder that cannot be written to is no error.
	indexFolder = func() string { return path }
	if got := openSet(t, path, Options{}); got.Fingerprint() != want.Fingerprint() {
		t.Error("without a folder for indices the set is another")
	}
}

// A shard that is another one than when the set was opened is not read.
func TestChangedShard(t *testing.T) {
	path := filepath.Join(writeFiles(t, shardsOf(t, samples(t)[:2], 2, withText)), "000000.tar")
	ds := openSet(t, path, Options{})
	other := &openFiles{}
	if _, _, err := other.add(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("short"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := other.readAt(0, make([]byte, 1), 0); !errors.Is(err, errChanged) {
		t.Errorf("a file that is another: %v", err)
	}
	if _, err := ds.Image(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "000000.tar:"+ds.Item(1).Member) {
		t.Errorf("error %v", err)
	}
}

// More shards than may be open at a time are read from several goroutines, through a buffer, and stopped inside of one.
func TestManyShards(t *testing.T) {
	const shards, each = 80, 4
	files := make(map[string]string)
	picture := make([]string, 7)
	for i := range picture {
		picture[i] = string(encodePNG(t, noise(4, 4, uint64(i))))
	}
	for k := range shards {
		var entries []entry
		for i := range each {
			n := k*each + i
			entries = append(entries, entry{name: fmt.Sprintf("%05d.txt", n), content: "c"}, entry{name: fmt.Sprintf("%05d.png", n), content: picture[n%7]})
		}
		files[fmt.Sprintf("%03d.tar", k)] = tarOf(t, entries...)
	}
	ds := openSet(t, writeFiles(t, files)+"/{000..079}.tar", Options{})
	if ds.Len() != shards*each || ds.Name() != "000.tar and 79 more" {
		t.Fatalf("%s: %d items", ds.Name(), ds.Len())
	}
	c := dataloader.Config{Batch: 16, Workers: 6, Seed: 3, Shuffle: 24, Transform: dataloader.Transform{Size: 4}}
	want := batches(t, ds, c, 30)
	l, err := dataloader.New(ds, c)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 7 {
		if _, err := l.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	again, err := dataloader.New(ds, c)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.Restore(l.State()); err != nil {
		t.Fatal(err)
	}
	for i := 7; i < 30; i++ {
		b, err := again.Next(t.Context())
		if err != nil || !slices.Equal(b.Images, want[i].Images) || !slices.Equal(b.Index, want[i].Index) {
			t.Fatalf("batch %d differs (%v)", i, err)
		}
	}
	for i, b := range want[:10] { // the stream begins with whole shards, so that few have been opened
		opened := make(map[int]bool)
		for _, earlier := range want[:i+1] {
			for _, n := range earlier.Index {
				opened[n/each] = true
			}
		}
		if most := (16*(i+1)+c.Shuffle)/each + 1; len(opened) > most || b.Epoch != 0 {
			t.Errorf("%d shards have been opened after %d batches, want at most %d", len(opened), i+1, most)
		}
	}
}

// No more than some files stay open, whoever reads.
func TestOpenFiles(t *testing.T) {
	files := &openFiles{}
	dir := t.TempDir()
	for k := range 3 * mostOpen {
		path := filepath.Join(dir, fmt.Sprint(k))
		if err := os.WriteFile(path, []byte(fmt.Sprintf("%04d", k)), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, _, err := files.add(path); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			b := make([]byte, 4)
			for i := range 6 * mostOpen {
				k := (i*7 + w*13) % (3 * mostOpen)
				if err := files.readAt(k, b, 0); err != nil || string(b) != fmt.Sprintf("%04d", k) {
					t.Errorf("file %d: %q, %v", k, b, err)
				}
			}
		})
	}
	wg.Wait()
	open := 0
	for _, f := range files.files {
		if f.f != nil {
			open++
		}
	}
	if open == 0 || open > mostOpen || files.last.Len() != open {
		t.Errorf("%d files are open, %d in the list, want at most %d", open, files.last.Len(), mostOpen)
	}
	if err := files.readAt(0, make([]byte, 5), 0); err == nil {
		t.Error("bytes behind the end of a file: no error")
	}
}

func seedShards(f *testing.F) {
	paths, err := filepath.Glob("testdata/shards/*.tar")
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

// Whatever a shard is, its index is an error or has members that lie in it, and comes back as it is kept.
func FuzzShardIndex(f *testing.F) {
	seedShards(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		size := int64(len(data))
		x, err := readIndex(t.Context(), bytes.NewReader(data), size)
		if err != nil {
			return
		}
		for _, m := range x.members {
			if m.at < 0 || m.at > size || m.size < 0 || m.cut != (m.size > size-m.at) || !filepath.IsLocal(m.name) {
				t.Fatalf("member %+v in %d bytes", m, size)
			}
		}
		if again := parseIndex(x.bytes(), size); !reflect.DeepEqual(again, x) {
			t.Fatalf("%+v comes back as %+v", x, again)
		}
		s := &shardSet{hash: sha256.New()}
		if s.add(t.Context(), "x.tar", 0, x) == nil {
			s.distinct([]string{"x.tar"})
		}
	})
}

// A kept index with a hash that fits may still hold anything.
func FuzzKeptIndex(f *testing.F) {
	data, err := os.ReadFile("testdata/shards/gnu.tar")
	if err != nil {
		f.Fatal(err)
	}
	x, err := readIndex(context.Background(), bytes.NewReader(data), int64(len(data)))
	if err != nil {
		f.Fatal(err)
	}
	b := x.bytes()
	f.Add(b[len(indexMagic):len(b)-sha256.Size], int64(len(data)))
	f.Add([]byte{0, 0, 0, 0, 0, 1, 5, 'a', '.', 't', 'x', 't', 0, 1, 'x'}, int64(1024))
	f.Fuzz(func(t *testing.T, body []byte, size int64) {
		data := append([]byte(indexMagic), body...)
		sum := sha256.Sum256(data)
		x := parseIndex(append(data, sum[:]...), size)
		if x == nil {
			return
		}
		for _, m := range x.members {
			if m.at < 0 || m.at > size || m.size < 0 || m.cut != (m.size > size-m.at) {
				t.Fatalf("member %+v in %d bytes", m, size)
			}
		}
		if again := parseIndex(x.bytes(), size); !reflect.DeepEqual(again, x) {
			t.Fatalf("%+v comes back as %+v", x, again)
		}
	})
}

func FuzzBraces(f *testing.F) {
	for _, seed := range []string{"{000000..000113}.tar", "a{1..3}b{x,y}", "{3..1}", "{..}", "{{1..2}}", "{99999999999999999999..1}", "{", "a}b{"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		const most = 1000
		list, err := braces(spec, most)
		if err == nil && (len(list) < 1 || len(list) > most) {
			t.Fatalf("%q stands for %d files", spec, len(list))
		}
		if err == nil && !strings.Contains(spec, "{") && !slices.Equal(list, []string{spec}) {
			t.Fatalf("%q stands for %q", spec, list)
		}
	})
}
