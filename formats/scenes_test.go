package formats

import (
	"context"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"relsim/dataloader"
	"relsim/scenes"
)

func tinyScenes() scenes.Config {
	c := scenes.Default()
	c.Size = 32
	c.TrainProfiles, c.Twins = 8, 6
	c.ValProfiles, c.ValTwins = 2, 4
	c.TestProfiles, c.TestTwins = 4, 8
	return c
}

// The benchmark from memory and from the files that it writes is the same: items,
// pixels, and so every batch.
func TestScenesFromMemoryAndDisk(t *testing.T) {
	cfg := tinyScenes()
	dir := filepath.Join(t.TempDir(), "scenes")
	if _, err := scenes.Write(context.Background(), dir, cfg, scenes.Options{}); err != nil {
		t.Fatal(err)
	}
	pairs := 0
	for _, split := range scenes.Splits() {
		memory, err := dataloader.Scenes(cfg, split)
		if err != nil {
			t.Fatal(err)
		}
		disk, err := Open(t.Context(), filepath.Join(dir, split+".jsonl"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if memory.Len() != disk.Len() || memory.Name() != "scenes "+split {
			t.Fatalf("%s: %d and %d items, name %q", split, memory.Len(), disk.Len(), memory.Name())
		}
		for i := range memory.Len() {
			got, want := disk.Item(i), memory.Item(i)
			got.URL, got.File, got.Line, got.Path = "", "", 0, "" // only files have them
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s %d: %+v from disk, %+v from memory", split, i, got, want)
			}
			if want.Pair != "" {
				pairs++
			}
		}
		c := dataloader.Config{Batch: 8, Workers: 2, Seed: 3, Transform: dataloader.Transform{Size: 32, Flip: true, Turn: true}}
		a, b := batches(t, memory, c, 8), batches(t, disk, c, 8)
		for i := range a {
			if !slices.Equal(a[i].Images, b[i].Images) || !slices.Equal(a[i].Index, b[i].Index) {
				t.Fatalf("%s: batch %d differs", split, i)
			}
		}
	}
	if pairs == 0 {
		t.Error("no near miss names its true picture")
	}
}
