package judge

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relsim/dataloader"

	"relsim/judge/judgetest"
)

func TestNewPicture(t *testing.T) {
	grey := image.NewGray(image.Rect(0, 0, 20, 10))
	clear := image.NewNRGBA(image.Rect(0, 0, 20, 10)) // nothing but transparency
	palette := image.NewPaletted(image.Rect(0, 0, 20, 10), color.Palette{color.Black, color.White})
	holes := image.NewPaletted(image.Rect(0, 0, 20, 10), color.Palette{color.Transparent, color.White})
	turned, err := os.ReadFile(filepath.Join("..", "dataloader", "testdata", "jpeg_exif6.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	webp, err := os.ReadFile(filepath.Join("..", "dataloader", "testdata", "lossy.webp"))
	if err != nil {
		t.Fatal(err)
	}
	small := pngOf(t, judgetest.Drawn(20, 10, 1))
	for _, tt := range []struct {
		name          string
		data          []byte
		kind          string
		width, height int
		stored        bool
	}{
		{"png", small, "png", 20, 10, true},
		{"grey png", pngOf(t, grey), "png", 20, 10, true},
		{"palette", pngOf(t, palette), "png", 20, 10, true},
		{"jpeg", jpegOf(t, judgetest.Drawn(32, 16, 1)), "jpeg", 32, 16, true},
		{"as large as it may be", pngOf(t, judgetest.Drawn(64, 10, 1)), "png", 64, 10, true},
		{"large png", pngOf(t, judgetest.Drawn(128, 64, 1)), "", 64, 32, false},
		{"large jpeg", jpegOf(t, judgetest.Drawn(640, 3, 1)), "", 64, 1, false},
		{"transparent png", pngOf(t, clear), "", 20, 10, false},
		{"transparent palette", pngOf(t, holes), "", 20, 10, false},
		{"animated png", withChunk(small, "acTL", make([]byte, 8)), "", 20, 10, false},
		{"colour key", withChunk(small, "tRNS", make([]byte, 6)), "", 20, 10, false},
		{"turned jpeg", turned, "", 0, 0, false},
		{"webp", webp, "", 0, 0, false},
	} {
		p, err := NewPicture(tt.data, 64)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		im, err := dataloader.Decode(p.Data, dataloader.DefaultLimits)
		if err != nil || im.Width != p.Width || im.Height != p.Height || max(p.Width, p.Height) > 64 {
			t.Errorf("%s: %d×%d, %v", tt.name, p.Width, p.Height, err)
			continue
		}
		if bytes.Equal(p.Data, tt.data) != tt.stored || tt.kind != "" && p.Kind != tt.kind || tt.width > 0 && (p.Width != tt.width || p.Height != tt.height) {
			t.Errorf("%s: a %s of %d×%d, as stored: %v; want a %s of %d×%d, %v", tt.name, p.Kind, p.Width, p.Height, bytes.Equal(p.Data, tt.data), tt.kind, tt.width, tt.height, tt.stored)
		}
		if dataloader.Orientation(p.Data) != 1 {
			t.Errorf("%s is turned", tt.name)
		}
		// What is sent looks like what was stored.
		want, err := dataloader.Decode(tt.data, dataloader.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := mean(im.Pix), mean(want.Pix); math.Abs(a-b) > 3 {
			t.Errorf("%s: mean %v, want %v", tt.name, a, b)
		}
		if (want.Width > want.Height) != (im.Width > im.Height) {
			t.Errorf("%s: %d×%d of %d×%d", tt.name, im.Width, im.Height, want.Width, want.Height)
		}
	}
	if p, err := NewPicture(small, 64); err != nil || !strings.HasPrefix(p.DataURI(), "data:image/png;base64,iVBORw0KGgo") {
		t.Errorf("%v", err)
	}
	for name, data := range map[string][]byte{"empty": nil, "text": []byte("hello"), "truncated": small[:len(small)-20], "gif": []byte("GIF89a")} {
		if _, err := NewPicture(data, 64); err == nil || !strings.HasPrefix(err.Error(), "judge: picture: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func mean(pix []byte) float64 {
	sum := 0
	for _, v := range pix {
		sum += int(v)
	}
	return float64(sum) / float64(len(pix))
}

// withChunk puts a chunk behind the header of a PNG file.
func withChunk(png []byte, kind string, data []byte) []byte {
	chunk := append([]byte(kind), data...)
	sum := crc32.ChecksumIEEE(chunk)
	chunk = slices.Concat(binary.BigEndian.AppendUint32(nil, uint32(len(data))), chunk, binary.BigEndian.AppendUint32(nil, sum))
	return slices.Concat(png[:33], chunk, png[33:])
}
