package formats

import (
	"bytes"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"relsim/dataloader"
)

// written are the outputs of Write; all says that they hold every field of every row, and once that they are like
// another, and paired with JSON lines alone.
var written = []struct {
	dst       string
	o         WriteOptions
	all, once bool
}{
	{"rows.jsonl", WriteOptions{}, true, false},
	{"rows.csv", WriteOptions{}, true, false},
	{"rows.tsv", WriteOptions{OpenCLIP: true}, true, false},
	{"rows.parquet", WriteOptions{}, true, false},
	{"set/{0000..}.tar", WriteOptions{ShardRows: 5}, true, false},
	{"set", WriteOptions{Format: Folder}, false, false},
	{"seed_group.json", WriteOptions{}, false, false},
	{"rows.jsonl.gz", WriteOptions{}, true, true},
	{"set", WriteOptions{Format: JSONL}, true, true},
	{"rows.csv", WriteOptions{OpenCLIP: true}, true, true},
	{"set", WriteOptions{Format: Parquet, ShardRows: 4}, true, true},
	{"one.tar", WriteOptions{}, true, true},
	{"set", WriteOptions{Format: Groups}, false, true},
}

// writtenAs writes a data set and opens it again.
func writtenAs(t testing.TB, ds dataloader.Dataset, dst string, o WriteOptions) dataloader.Dataset {
	t.Helper()
	dst, o.Trust = filepath.Join(t.TempDir(), filepath.FromSlash(dst)), true
	w, err := Write(t.Context(), dst, ds, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(w.Broken) > 0 {
		t.Fatalf("%s: left out: %+v", dst, w.Broken)
	}
	if strings.Contains(dst, "{") {
		dst = filepath.Dir(dst)
	}
	back, err := Open(t.Context(), dst, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return back
}

// equalSets fails if two data sets have other items, or pictures of other bytes.
func equalSets(t *testing.T, got, want dataloader.Dataset) {
	t.Helper()
	if got.Len() != want.Len() {
		t.Fatalf("%d items, want %d", got.Len(), want.Len())
	}
	for i := range got.Len() {
		g, w := placeless(got.Item(i)), placeless(want.Item(i))
		if !reflect.DeepEqual(g, w) {
			t.Errorf("item %d:\n%.500q\nwant\n%.500q", i, fmt.Sprintf("%+v", g), fmt.Sprintf("%+v", w))
		}
		a, errA := dataloader.Bytes(t.Context(), got, i)
		b, errB := dataloader.Bytes(t.Context(), want, i)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("item %d (%s): other bytes: %v, %v", i, w.ID, errA, errB)
		}
	}
}

// From each format to each and back: the same items, and the pictures byte for byte.
func TestRoundTrip(t *testing.T) {
	hostile, _, _ := hostileSet(t)
	grouped := groupedSet(t)
	for i, a := range written {
		for _, b := range written {
			if a.once || b.once && i > 0 {
				continue
			}
			name := strings.NewReplacer("{0000..}", "N", "/", "-").Replace(a.dst + a.o.Format + " " + b.dst + b.o.Format)
			t.Run(name, func(t *testing.T) {
				source := grouped
				if a.all && b.all {
					source = hostile
				}
				first := writtenAs(t, source, a.dst, a.o)
				equalSets(t, first, source)
				second := writtenAs(t, first, b.dst, b.o)
				equalSets(t, second, source)
				equalSets(t, writtenAs(t, second, a.dst, a.o), source)
			})
		}
	}
}

// groupedSet is one that every format holds: with addresses, groups, and IDs in the order of their names.
func groupedSet(t testing.TB) dataloader.Dataset {
	t.Helper()
	var items []dataloader.Item
	var files [][]byte
	for _, s := range samples(t) {
		items = append(items, dataloader.Item{ID: s.ID, URL: s.URL, Group: s.Group, Caption: s.Captions[0], Family: -1, Profile: -1})
		files = append(files, s.File)
	}
	return inMemory(items, files)
}

// A folder holds every field, and hostile rows too, but that it has one row for a picture, in the order of names.
func TestFolderHolds(t *testing.T) {
	hostile, items, _ := hostileSet(t)
	got := writtenAs(t, hostile, "set", WriteOptions{Format: Folder})
	var want []int
	for i, it := range items {
		if i == 0 || items[i-1].ID != it.ID {
			want = append(want, i)
		}
	}
	slices.SortFunc(want, func(a, b int) int { return strings.Compare(items[a].ID+".", items[b].ID+".") })
	if got.Len() != len(want) {
		t.Fatalf("%d items, want %d", got.Len(), len(want))
	}
	for k, i := range want {
		w := items[i]
		if w.ID == "dup" {
			w.Captions = []string{"first caption of it", "second caption of it"}
		}
		if g := placeless(got.Item(k)); !reflect.DeepEqual(g, w) {
			t.Errorf("item %d:\n%.500q\nwant\n%.500q", k, fmt.Sprintf("%+v", g), fmt.Sprintf("%+v", w))
		}
	}
}

// What is written gives the samples of JSON lines, in their order, for a seed.
func TestWrittenSamples(t *testing.T) {
	list := samples(t)
	reference, o := layouts[0].write(t, list)
	want, err := Open(t.Context(), reference, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range written {
		if !format.once {
			t.Run(format.o.Format+filepath.Ext(format.dst), func(t *testing.T) { same(t, writtenAs(t, want, format.dst, format.o), want) })
		}
	}
}
