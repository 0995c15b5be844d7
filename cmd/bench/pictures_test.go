package main

import (
	"context"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"testing"

	"relsim/formats"
)

// TestPhotographs checks that the files are what the work with JPEG says: of the size, the subsampling and about the
// length of photographs, and readable as a data set.
func TestPhotographs(t *testing.T) {
	dir := t.TempDir()
	if err := writePhotographs(context.Background(), dir, 2); err != nil {
		t.Fatal(err)
	}
	ds, err := formats.Open(t.Context(), filepath.Join(dir, rowsFile), formats.Options{Images: dir})
	if err != nil {
		t.Fatal(err)
	}
	if ds.Len() != 2 {
		t.Fatalf("%d rows, want 2", ds.Len())
	}
	for i := range ds.Len() {
		file, err := os.Open(ds.Item(i).Path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if info, err := file.Stat(); err != nil || info.Size() < 40e3 || info.Size() > 80e3 {
			t.Errorf("%s: %v bytes, %v: want 40 to 80 kB", file.Name(), info.Size(), err)
		}
		im, err := jpeg.Decode(file)
		if err != nil {
			t.Fatal(err)
		}
		planes, ok := im.(*image.YCbCr)
		if !ok || planes.SubsampleRatio != image.YCbCrSubsampleRatio420 || im.Bounds().Dx() != 640 || im.Bounds().Dy() != 480 {
			t.Errorf("%s: %T of %v, want 640×480 with 4:2:0", file.Name(), im, im.Bounds())
		}
	}
}
