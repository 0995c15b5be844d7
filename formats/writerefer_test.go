package formats

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relsim/dataloader"
)

// Parts of a data set refer to its pictures by a link, in the format that it has.
func TestWriteRefers(t *testing.T) {
	for _, tt := range []struct {
		dst string
		o   WriteOptions
	}{{"rows.jsonl", WriteOptions{}}, {"rows.csv", WriteOptions{}}, {"rows.tsv", WriteOptions{OpenCLIP: true}}, {"seed_group.json", WriteOptions{}}, {"set", WriteOptions{Format: Folder}}} {
		t.Run(tt.dst, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "a", tt.dst), groupedSet(t), tt.o)
			spec := filepath.Join(dir, "a", tt.dst)
			ds, err := Open(t.Context(), spec, Options{})
			if err != nil {
				t.Fatal(err)
			}
			o := WriteOptions{Format: FormatAt(spec), NoImages: true, Refer: PictureFolder(ds), OpenCLIP: tt.o.OpenCLIP}
			if o.Format == "" {
				o.Format = JSONL
			}
			even, odd := dataloader.Subset(ds, "even", []int{0, 2, 4, 6, 8, 10, 12, 14, 16}), dataloader.Subset(ds, "odd", []int{1, 13, 15})
			list, err := WriteParts(t.Context(), filepath.Join(dir, "a", "parts"), []Part{{"even", even}, {"odd", odd}}, o)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range []dataloader.Dataset{even, odd} {
				got, err := Open(t.Context(), list[i].Path, Options{})
				if err != nil {
					t.Fatal(err)
				}
				equalSets(t, got, want)
				if len(list[i].Broken) > 0 || list[i].Pictures != 0 {
					t.Errorf("%+v", list[i])
				}
			}
			target, err := os.Readlink(filepath.Join(dir, "a", "parts", "images"))
			if err != nil || filepath.IsAbs(target) {
				t.Errorf("images leads to %q, %v", target, err)
			}
			// The link goes along when all is moved.
			if err := os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "b")); err != nil {
				t.Fatal(err)
			}
			moved, err := Open(t.Context(), strings.Replace(list[0].Path, dir+"/a", dir+"/b", 1), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := dataloader.Bytes(t.Context(), moved, 0); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestReferRefuses(t *testing.T) {
	dir := t.TempDir()
	item := func(id, path string) dataloader.Item {
		return dataloader.Item{ID: id, Path: filepath.Join(dir, path), Caption: "c", Family: -1, Profile: -1}
	}
	set := func(items ...dataloader.Item) dataloader.Dataset { return dataloader.NewRows("x", "", items, nil) }
	inside := item("a", "a.tar")
	inside.Member = "a.png"
	for _, tt := range []struct {
		ds     dataloader.Dataset
		format string
		want   string
	}{
		{set(item("a", "sub/a.png")), JSONL, "is not called by its ID"},
		{set(item("a", "b.png")), JSONL, "is not called by its ID"},
		{set(item("a", "../a.png")), JSONL, "is no file in"},
		{set(item("a", "../a.png")), CSV, "is no file in"},
		{set(inside), CSV, "is no file in"},
		{set(item("a", "a.png")), Groups, `its group "" is not a number`},
	} {
		_, err := Write(t.Context(), filepath.Join(dir, "out"), tt.ds, WriteOptions{Format: tt.format, NoImages: true, Refer: dir})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.format, err, tt.want)
		}
	}
	for _, tt := range []struct {
		dst string
		o   WriteOptions
	}{{"a.jsonl", WriteOptions{NoImages: true, Refer: dir}}, {"out", WriteOptions{Format: JSONL, Refer: dir}}, {"out", WriteOptions{Format: JSONL, NoImages: true, Refer: filepath.Join(dir, "none")}}} {
		if _, err := Write(t.Context(), filepath.Join(dir, tt.dst), set(item("a", "a.png")), tt.o); err == nil {
			t.Errorf("%+v: no error", tt)
		}
	}
	if PictureFolder(set(inside)) != "" || PictureFolder(set(item("a", "x/a.png"), item("b", "y/z/b.png"))) != dir || PictureFolder(set()) != "" {
		t.Error("PictureFolder is wrong")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}
