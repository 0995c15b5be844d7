package dataloader

import (
	"os"
	"testing"
)

// The size of a picture is that of its pixels, turned by EXIF where it says so.
func TestMeasure(t *testing.T) {
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	measured := 0
	for _, e := range entries {
		if e.IsDir() || !IsPictureName(e.Name()) {
			continue
		}
		data := readFile(t, e.Name())
		im, err := Decode(data, DefaultLimits)
		if err != nil {
			continue // an animated one
		}
		measured++
		if w, h, err := Measure(data, DefaultLimits); err != nil || w != im.Width || h != im.Height {
			t.Errorf("%s: %d×%d (%v), decoded it has %d×%d", e.Name(), w, h, err, im.Width, im.Height)
		}
	}
	if measured < 15 {
		t.Errorf("only %d pictures measured", measured)
	}
	for name, data := range map[string][]byte{"nothing": nil, "text": []byte("not a picture"), "cut": readFile(t, "jpeg420.jpg")[:20]} {
		if w, h, err := Measure(data, DefaultLimits); err == nil {
			t.Errorf("%s has %d×%d pixels", name, w, h)
		}
	}
	if _, _, err := Measure(readFile(t, "jpeg420.jpg"), Limits{Bytes: 1 << 20, Pixels: 10}); err == nil {
		t.Error("a picture above the limit of pixels is measured")
	}
}
