package dataloader_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relsim/dataloader"
)

func TestSkippedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "skipped.jsonl")
	if list, err := dataloader.ReadSkipped(path); err != nil || len(list) != 0 {
		t.Fatalf("no file: %v, %v", list, err)
	}
	want := []dataloader.Broken{{Index: 3, ID: "a", Path: "a.png", Line: 4, Reason: "cut off"}, {Index: 5, ID: "b"}}
	if err := dataloader.WriteSkipped(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := dataloader.ReadSkipped(path)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%v, %v; want %v", got, err, want)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{1, 7} {
		if err := os.WriteFile(path, data[:len(data)-cut], 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := dataloader.ReadSkipped(path); err != nil || !slices.Equal(got, want[:1]) {
			t.Errorf("%d bytes cut off: %v, %v; want %v", cut, got, err, want[:1])
		}
	}
	for _, line := range []string{"{\n", "null\n", `{"index":1}` + "\n"} {
		if err := os.WriteFile(path, append([]byte("\n"+line), data...), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := dataloader.ReadSkipped(path); err == nil || !strings.Contains(err.Error(), "skipped.jsonl:2:") {
			t.Errorf("a broken line %q: %v", line, err)
		}
	}
	if err := dataloader.WriteSkipped(path, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("an empty list leaves a file: %v", err)
	}
}

func TestDistinct(t *testing.T) {
	im := &dataloader.Image{Width: 1, Height: 1, Pix: make([]byte, 3)}
	items := []dataloader.Item{{ID: "a", Caption: "x"}, {ID: "b", Caption: "y"}, {ID: "a", Caption: "z"}}
	ds := dataloader.NewMemory("several", items, []*dataloader.Image{im, im, im})
	got := dataloader.Distinct(ds)
	if got.Len() != 2 || got.Item(0).Caption != "x" || got.Item(1).ID != "b" {
		t.Errorf("%d items, %+v", got.Len(), got.Item(0))
	}
	if again := dataloader.Distinct(got); again != got {
		t.Error("a set without repeats is wrapped")
	}
}
